/* sender.h - the process that speaks SMTP and LMTP to other servers.
 *
 * Hears IPC_DELIVER for the next hops MX, SMTP and LMTP, resolves, connects (or reuses a connection), sends, and reports each recipient's
 * fate with IPC_RESULT. Reads no mail but what it is given; no file system after its start.
 */
#ifndef SENDER_SENDER_H
#define SENDER_SENDER_H

#include "ipc/process.h"

extern const struct process_ops sender_ops;

#endif
