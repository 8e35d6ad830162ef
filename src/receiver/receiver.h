/* receiver.h - the receiver process: see README.md in this folder. */
#ifndef RECEIVER_RECEIVER_H
#define RECEIVER_RECEIVER_H

#include "ipc/process.h"

extern const struct process_ops receiver_ops;

#endif
