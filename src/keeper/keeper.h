/* keeper.h - the process that keeps secrets: accounts, passwords, SASL; DKIM's private keys; it answers who may log in, who has a mailbox, who may send as
 * whom, and signs.
 *
 * The only one that reads <state>/accounts.db and <state>/dkim. Hears the frames IPC_SASL_*, IPC_MAILBOX_ASK, IPC_SENDER_ASK, IPC_SIGN* (ipc.h) from receivers and
 * the local process; never the network.
 */
#ifndef KEEPER_KEEPER_H
#define KEEPER_KEEPER_H

#include "ipc/process.h"

extern const struct process_ops keeper_ops;

#define KEEPER_DATABASE "accounts.db" /* in config.state; made by `veredus account add` */

#endif
