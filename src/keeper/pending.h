/* pending.h - questions that somebody outside of this process has, under numbers, with the time at which they are given up. */
#ifndef KEEPER_PENDING_H
#define KEEPER_PENDING_H

#include "keeper/directory.h"

#define PENDING_MAX 1024

struct pending {
    struct pending_slot {
        struct account_question *q; /* NULL: free */
        uint32_t id;
        int64_t until_ms;
        const void *who; /* has it */
        bool again;      /* was sent to somebody who went away */
    } slots[PENDING_MAX];
    uint32_t last;
    size_t count;
};

/* The question's number, from 1; 0: too many. A number is not given again soon. */
uint32_t pending_add(struct pending *p, struct account_question *q, int64_t until_ms, const void *who);
struct account_question *pending_take(struct pending *p, uint32_t id); /* NULL: no such (given up already) */
/* Takes one whose time is over; NULL: none. */
struct account_question *pending_expired(struct pending *p, int64_t now_ms);
/* Takes any that `who` has; NULL: none. */
struct account_question *pending_of(struct pending *p, const void *who);

#endif
