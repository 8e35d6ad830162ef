/* append.c - append.h on the simulated disk: the same calls of fs.h in a worker's fiber, which take their time, fail, and may be the last that
 * their process does; or, now and then, at once in the loop, where each of them is a step at which it may die.
 */
#include "io/append.h"

#include "io/fs.h"
#include "io/sim/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE_CHANCE 500000u /* in a million */

/* A copy of all that it needs: the appender may be freed meanwhile. */
struct append_job {
    struct io_appender *owner; /* NULL: freed */
    int fd;
    size_t n;
    uint64_t offset;
    int status;
    char bytes[];
};

struct io_appender {
    struct io *io;
    struct append_job *job;
    struct task at_once;
    void (*done)(void *arg, int status);
    void *arg;
};

static void job_work(void *arg)
{
    struct append_job *j = arg;
    j->status = io_fs_pwrite(j->fd, j->bytes, j->n, j->offset);
    if (j->status >= 0)
        j->status = io_fs_datasync(j->fd);
}

static void job_done(void *arg)
{
    struct append_job *j = arg;
    struct io_appender *a = j->owner;
    int status = j->status < 0 ? j->status : 0;
    io_fs_close(j->fd);
    free(j);
    if (a == NULL)
        return;
    a->job = NULL;
    a->done(a->arg, status);
}

static void at_once_task(struct task *t)
{
    job_done(CONTAINER(t, struct io_appender, at_once)->job);
}

struct io_appender *io_appender_new(struct io *io, enum io_append_way way)
{
    (void)way;
    struct io_appender *a = calloc(1, sizeof *a);
    assert(a != NULL);
    a->io = io;
    a->at_once.run = at_once_task;
    return a;
}

void io_appender_free(struct io_appender *a)
{
    if (a == NULL)
        return;
    if (a->job != NULL)
        a->job->owner = NULL;
    if (a->at_once.queued) {
        io_unpost(a->io, &a->at_once);
        job_done(a->job);
    }
    free(a);
}

const char *io_appender_kind(const struct io_appender *a)
{
    (void)a;
    return "thread";
}

void io_appender_write(struct io_appender *a, int fd, const void *bytes, size_t n, uint64_t offset,
                       bool may_block, void (*done)(void *arg, int status), void *arg)
{
    assert(a->job == NULL && n > 0);
    struct append_job *j = malloc(sizeof *j + n);
    assert(j != NULL);
    *j = (struct append_job){.owner = a, .fd = io_fs_dup(fd), .n = n, .offset = offset};
    assert(j->fd >= 0);
    memcpy(j->bytes, bytes, n);
    a->job = j;
    a->done = done;
    a->arg = arg;
    if (may_block && sim_chance(AT_ONCE_CHANCE)) {
        job_work(j);
        io_post(a->io, &a->at_once);
    } else {
        io_work(a->io, job_work, job_done, j);
    }
}
