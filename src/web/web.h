/* web.h - the process that serves the MTA-STS policies of our own domains (RFC 8461 §3.2). */
#ifndef WEB_WEB_H
#define WEB_WEB_H

#include "ipc/process.h"

extern const struct process_ops web_ops;

#endif
