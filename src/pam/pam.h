/* pam.h - the process that asks PAM: see README.md in this folder. There is one only when an account comes from PAM. */
#ifndef PAM_PAM_H
#define PAM_PAM_H

#include "ipc/process.h"

extern const struct process_ops pam_ops;

#define PAM_RUNNING_MAX 16  /* questions to PAM at a time, each in a child of its own */
#define PAM_WAITING_MAX 512 /* behind them; beyond it: IPC_LATER */

#endif
