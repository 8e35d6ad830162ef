/* hashing.h - jobs that cost processor time and memory (password hashes, signatures): a bounded number at a time, on worker threads. */
#ifndef KEEPER_HASHING_H
#define KEEPER_HASHING_H

#include "io/io.h"

#define HASHING_MAX    4   /* at a time (argon2id: 64 MiB each), fewer on fewer cores */
#define HASHING_QUEUED 512 /* passwords and tokens waiting for their turn */

struct hashing;
/* The owner's job begins with it. It belongs to the pool from hashing_submit to done. */
struct hashing_job {
    void (*work)(struct hashing_job *job); /* on a worker thread */
    void (*done)(struct hashing_job *job); /* in the loop; the job is the owner's again */
    bool abandoned; /* nobody waits any more: work is left out when it has not begun. Set in the loop */
    struct hashing *pool;
    struct hashing_job *next;
};

/* A line of its own: waiting_max jobs may wait in it. */
struct hashing *hashing_new(struct io *io, unsigned waiting_max);
/* False: too many wait. done may come before it returns only for a job that is abandoned. */
bool hashing_submit(struct hashing *h, struct hashing_job *job);
bool hashing_idle(const struct hashing *h);

#endif
