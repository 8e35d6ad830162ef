/* resolver.h - the process that asks the DNS for those who may have no network. */
#ifndef RESOLVER_RESOLVER_H
#define RESOLVER_RESOLVER_H

#include "ipc/process.h"

#define RESOLVER_TIMEOUT_MS 20000 /* for a question; then it has failed */
#define RESOLVER_ASKS_MAX   8192  /* under way at a time; more have failed at once */

extern const struct process_ops resolver_ops;

#endif
