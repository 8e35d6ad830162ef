/* folders.h - the folders that the processes need, made with the right owners at each start. Internal to
 * src/supervisor/. */
#ifndef SUPERVISOR_FOLDERS_H
#define SUPERVISOR_FOLDERS_H

#include "config/config.h"

/* Makes spool, state, run and what lies below. foreground: all belong to the caller. `error` names the path
 * and what to do. Also makes the self-signed certificate <state>/self-signed.{pem,key} when no certificate is
 * configured: encryption with any certificate is better than none (RFC 7435), so STARTTLS is offered always.
 * With srs.domain and no srs.secret_file also <state>/srs.secret, when there is none. 0, or an exit code of sysexits: 78 (a user of the configuration does not exist), 73 (something cannot be made). */
int folders_prepare(const struct config *c, bool foreground, char error[512]);

#endif
