/* hashing.c - see hashing.h.
 *
 * Invariants: (1) a job is in the line, or running, or its owner's
 *             (2) at most running_max worker threads are taken, so one is always free for lookups
 * Tests:      tests/unit/keeper.c
 */
#include "keeper/hashing.h"

#include "io/env.h"

#include <assert.h>
#include <stdlib.h>

struct hashing {
    struct io *io;
    struct hashing_job *first, **last;
    unsigned waiting, waiting_max, running, running_max;
};

struct hashing *hashing_new(struct io *io, unsigned waiting_max)
{
    struct hashing *h = calloc(1, sizeof *h);
    assert(h != NULL);
    unsigned cores = io_core_count();
    h->io = io;
    h->waiting_max = waiting_max;
    h->last = &h->first;
    h->running_max = cores < HASHING_MAX ? cores : HASHING_MAX;
    return h;
}

bool hashing_idle(const struct hashing *h)
{
    return h->running == 0 && h->waiting == 0;
}

static void job_work(void *arg)
{
    struct hashing_job *job = arg;
    job->work(job);
}

static void jobs_start(struct hashing *h);

static void job_done(void *arg)
{
    struct hashing_job *job = arg;
    struct hashing *h = job->pool;
    h->running--;
    job->done(job);
    jobs_start(h);
}

static void jobs_start(struct hashing *h)
{
    while (h->first != NULL && h->running < h->running_max) {
        struct hashing_job *job = h->first;
        h->first = job->next;
        if (h->first == NULL)
            h->last = &h->first;
        h->waiting--;
        if (job->abandoned) {
            job->done(job);
            continue;
        }
        h->running++;
        io_work(h->io, job_work, job_done, job);
    }
}

bool hashing_submit(struct hashing *h, struct hashing_job *job)
{
    if (h->waiting >= h->waiting_max)
        return false;
    job->pool = h;
    job->next = NULL;
    *h->last = job;
    h->last = &job->next;
    h->waiting++;
    jobs_start(h);
    return true;
}
