/* work.c - io_work on libuv's thread pool.
 *
 * Tests: tests/unit/io_loop.c
 */
#include "io/real/real.h"

#include <assert.h>

struct job {
    uv_work_t uv;
    struct io *io;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void on_work(uv_work_t *uv)
{
    struct job *j = CONTAINER(uv, struct job, uv);
    j->work(j->arg);
}

static void on_done(uv_work_t *uv, int status)
{
    struct job *j = CONTAINER(uv, struct job, uv);
    (void)status; /* jobs are never cancelled */
    if (!j->io->closing)
        j->done(j->arg);
    free(j);
}

void io_work(struct io *io, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct job *j = real_alloc(sizeof *j);
    j->io = io;
    j->work = work;
    j->done = done;
    j->arg = arg;
    int status = uv_queue_work(&io->uv, &j->uv, on_work, on_done);
    assert(status == 0); /* fails for a missing callback only */
    (void)status;
}
