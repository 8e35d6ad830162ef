/* queue.h - the queue process: see README.md in this folder. */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "ipc/process.h"

extern const struct process_ops queue_ops;

#endif
