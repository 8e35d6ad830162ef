/* asking.h - questions to another process that wait for an answer: each has a number, a time after which it is late, and is asked again of the successor
 * when who was asked dies. What a question is, and what its answer means, is the owner's (resolving.h, sts.h of the sender).
 *
 * Tests: tests/unit/resolver.c, tests/unit/sender_policies.c
 */
#ifndef IPC_ASKING_H
#define IPC_ASKING_H

#include "ipc/process.h"

#include <sys/queue.h>

/* One question; the first member of the owner's. */
struct asking_one {
    struct asking *asking;
    uint64_t number;         /* in frames: another one each time that it is asked */
    const struct peer *peer; /* who was asked; NULL: nobody yet */
    struct io_timer *timer;
    TAILQ_ENTRY(asking_one) entry;
};

/* All open questions of one kind. */
struct asking {
    struct process *process;
    enum ipc_role role; /* who is asked */
    enum ipc_type type; /* in this frame: u64 number, then what `pack` adds */
    void (*pack)(const struct asking_one *one, struct vr_buf *frame);
    void (*late)(void *one); /* its time is over: the owner ends it */
    TAILQ_HEAD(asking_list, asking_one) open;
    uint64_t last;
};

/* The fields before `open` are the owner's to set. */
void asking_init(struct asking *a);
/* Asks, or waits for somebody who can be asked. timeout_ms: 0 or less: late in the next turn. */
void asking_begin(struct asking *a, struct asking_one *one, int64_t timeout_ms);
void asking_end(
    struct asking_one *one); /* answered, late, or not wanted any more; the memory is the owner's */
/* Whose question an answer is to; NULL: it came too late. */
struct asking_one *asking_find(struct asking *a, uint64_t number);
void asking_attached(struct asking *a); /* somebody who can be asked */
void asking_lost(struct asking *a, const struct peer *gone);

#endif
