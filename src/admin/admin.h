/* admin.h - the admin process: see README.md in this folder. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "ipc/process.h"

extern const struct process_ops admin_ops;

#endif
