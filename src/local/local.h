/* local.h - the process that writes Maildirs: see README.md in this folder. */
#ifndef LOCAL_LOCAL_H
#define LOCAL_LOCAL_H

#include "ipc/process.h"

extern const struct process_ops local_ops;

#endif
