/* append.c - durable appends by io_uring, by a worker thread, or at once.
 *
 * Invariants: (1) a sync that failed is not tried again; what is done once more is a write that was short or interrupted, with the sync
 *                 that the kernel cancelled for it
 *             (2) the ring takes IORING_OP_WRITE and IORING_OP_FSYNC only, from its birth on: io_uring can make sockets past any seccomp
 *                 filter, so a ring without restrictions would be a hole in io_confine
 *             (3) a ring that did not take what it was given is given nothing any more
 * Ways:       idle -> ring [ring_start] -> idle, or thread [thread_start] when the ring did a part of it only
 *             idle -> thread -> idle;  idle -> done at once [here_start] -> idle with the next round of the turn
 * Tests:      tests/unit/io_append.c, tests/unit/queue_log.c
 */
#include "io/append.h"

#include "io/fs.h"
#include "io/real/real.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_ENTRIES    2u
#define UNKNOWN_US      1000 /* of a disk that was never asked: a dozen quick syncs prove it */
#define AVERAGE_OVER    8
#define NANOSECONDS_1US 1000u

/* In a worker. It outlives an appender that is freed meanwhile: libuv tells of its end later. */
struct append_job {
    uv_work_t uv;
    uv_sem_t ended;
    struct io_appender *owner; /* NULL: freed */
    int fd;
    const void *bytes;
    size_t n;
    uint64_t offset;
    int status;
    int64_t us;
};

struct io_appender {
    struct io_watch watch;  /* of the ring's descriptor (a copy: the ring closes its own) */
    struct io_task at_once; /* tells the end of what was done in the call */
    struct io_uring ring;
    bool has_ring;
    bool busy;
    unsigned awaited;    /* completions to come */
    unsigned submitted;  /* of the two */
    int written, synced; /* what they said */
    struct append_job *job;
    int fd;
    const void *bytes;
    size_t n;
    uint64_t offset;
    void (*done)(void *arg, int status);
    void *arg;
    int status;
    int64_t us; /* that it took at once */
    uint64_t began_ns;
    int64_t average_us; /* of a write and its sync; jumps up, goes down slowly */
};

enum { OF_WRITE = 1, OF_SYNC = 2 };

static int64_t us_since(uint64_t began_ns)
{
    return (int64_t)((uv_hrtime() - began_ns) / NANOSECONDS_1US);
}

static void finish(struct io_appender *a, int status, int64_t us)
{
    a->average_us = us > a->average_us ? us : a->average_us + (us - a->average_us) / AVERAGE_OVER;
    a->busy = false;
    a->done(a->arg, status); /* may free a */
}

static int write_and_sync(int fd, const void *bytes, size_t n, uint64_t offset)
{
    int status = io_fs_pwrite(fd, bytes, n, offset);
    if (status >= 0)
        status = io_fs_datasync(fd);
    return status < 0 ? status : 0;
}

/* ---- in a thread -------------------------------------------------------------------------------------------- */

static void job_work(uv_work_t *uv)
{
    struct append_job *j = CONTAINER(uv, struct append_job, uv);
    uint64_t began_ns = uv_hrtime();
    j->status = write_and_sync(j->fd, j->bytes, j->n, j->offset);
    j->us = us_since(began_ns);
    uv_sem_post(&j->ended);
}

static void job_done(uv_work_t *uv, int status)
{
    struct append_job *j = CONTAINER(uv, struct append_job, uv);
    struct io_appender *a = j->owner;
    (void)status; /* jobs are never cancelled */
    if (a != NULL) {
        a->job = NULL;
        if (!a->watch.io->closing)
            finish(a, j->status, j->us);
    }
    uv_sem_destroy(&j->ended);
    free(j);
}

static void thread_start(struct io_appender *a)
{
    struct append_job *j = real_alloc(sizeof *j);
    *j = (struct append_job){.owner = a, .fd = a->fd, .bytes = a->bytes, .n = a->n, .offset = a->offset};
    int status = uv_sem_init(&j->ended, 0);
    if (status == 0)
        status = uv_queue_work(&a->watch.io->uv, &j->uv, job_work, job_done);
    assert(status == 0); /* fails for a missing callback only */
    a->job = j;
}

/* ---- by the ring -------------------------------------------------------------------------------------------- */

/* By hand: the shared library of liburing 2.3 lacks its functions for restrictions. */
static int ring_register(const struct io_uring *ring, unsigned what, const void *arg, unsigned n)
{
    return syscall(SYS_io_uring_register, ring->ring_fd, what, arg, n) < 0 ? -errno : 0;
}

/* Invariant 2. 0 or a negative errno. */
static int ring_make(struct io_uring *ring)
{
    struct io_uring_restriction allowed[] = {
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE},
        {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
        {.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_IO_LINK},
    };
    struct io_uring_params p = {.flags = IORING_SETUP_R_DISABLED};
    int status = io_uring_queue_init_params(RING_ENTRIES, ring, &p);
    if (status < 0)
        return status;
    status = ring_register(ring, IORING_REGISTER_RESTRICTIONS, allowed, sizeof allowed / sizeof *allowed);
    if (status == 0)
        status = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (status < 0)
        io_uring_queue_exit(ring);
    return status < 0 ? status : 0;
}

static void ring_close(struct io_appender *a)
{
    io_watch_set(&a->watch, 0);
    io_uring_queue_exit(&a->ring);
    a->has_ring = false;
}

static void ring_collect(struct io_appender *a)
{
    struct io_uring_cqe *e;
    while (a->awaited > 0 && io_uring_peek_cqe(&a->ring, &e) == 0) {
        *(io_uring_cqe_get_data64(e) == OF_WRITE ? &a->written : &a->synced) = e->res;
        io_uring_cqe_seen(&a->ring, e);
        a->awaited--;
    }
}

static void ring_ready(struct io_watch *w, uint32_t events)
{
    struct io_appender *a = CONTAINER(w, struct io_appender, watch);
    (void)events;
    if (a->awaited == 0)
        return;
    ring_collect(a);
    if (a->awaited > 0)
        return;
    if (a->submitted < 2) { /* invariant 3 */
        ring_close(a);
        thread_start(a);
    } else if (a->written == -EAGAIN || a->written == -EINTR ||
               (a->written >= 0 && (size_t)a->written < a->n)) {
        thread_start(a); /* all of it once more: the same bytes at the same place */
    } else {
        finish(a, a->written < 0 ? a->written : a->synced < 0 ? a->synced : 0, us_since(a->began_ns));
    }
}

static void ring_start(struct io_appender *a)
{
    struct io_uring_sqe *w = io_uring_get_sqe(&a->ring), *s = io_uring_get_sqe(&a->ring);
    assert(w != NULL && s != NULL); /* one append at a time, and room for it */
    io_uring_prep_write(w, a->fd, a->bytes, (unsigned)a->n, a->offset);
    io_uring_sqe_set_flags(w, IOSQE_IO_LINK);
    io_uring_sqe_set_data64(w, OF_WRITE);
    io_uring_prep_fsync(s, a->fd, IORING_FSYNC_DATASYNC);
    io_uring_sqe_set_data64(s, OF_SYNC);
    a->submitted = 0;
    int n;
    do {
        n = io_uring_submit(&a->ring);
        a->submitted += n > 0 ? (unsigned)n : 0;
    } while ((n > 0 && a->submitted < 2) || n == -EINTR);
    a->awaited = a->submitted;
    if (a->submitted == 0) {
        ring_close(a);
        thread_start(a);
    }
}

/* ---- at once ------------------------------------------------------------------------------------------------ */

static void told(struct io_task *t)
{
    struct io_appender *a = CONTAINER(t, struct io_appender, at_once);
    finish(a, a->status, a->us);
}

static void here_start(struct io_appender *a)
{
    a->status = write_and_sync(a->fd, a->bytes, a->n, a->offset);
    a->us = us_since(a->began_ns);
    io_later(a->watch.io, &a->at_once);
}

/* ---- the interface ------------------------------------------------------------------------------------------ */

static void appender_release(struct io_watch *w)
{
    free(CONTAINER(w, struct io_appender, watch));
}

struct io_appender *io_appender_new(struct io *io, enum io_append_way way)
{
    struct io_appender *a = real_alloc(sizeof *a);
    a->watch = (struct io_watch){.io = io, .fd = -1, .ready = ring_ready, .release = appender_release};
    a->at_once.run = told;
    a->average_us = UNKNOWN_US;
    if (way == IO_APPEND_THREAD || ring_make(&a->ring) != 0)
        return a;
    a->has_ring = true;
    a->watch.fd = fcntl(a->ring.ring_fd, F_DUPFD_CLOEXEC, 0);
    if (a->watch.fd < 0 || io_watch_set(&a->watch, EPOLLIN) != 0)
        ring_close(a);
    return a;
}

void io_appender_free(struct io_appender *a)
{
    struct io_uring_cqe *e;
    if (a == NULL)
        return;
    while (a->awaited > 0) { /* the kernel still reads the caller's bytes */
        ring_collect(a);
        if (a->awaited > 0)
            (void)io_uring_wait_cqe(&a->ring, &e);
    }
    if (a->job != NULL) {
        uv_sem_wait(&a->job->ended);
        a->job->owner = NULL;
    }
    if (a->has_ring)
        ring_close(a);
    io_task_cancel(&a->at_once);
    io_watch_close(&a->watch); /* freed at the end of the turn */
}

const char *io_appender_kind(const struct io_appender *a)
{
    return a->has_ring ? "io_uring" : "thread";
}

void io_appender_write(struct io_appender *a, int fd, const void *bytes, size_t n, uint64_t offset,
                       bool may_block, void (*done)(void *arg, int status), void *arg)
{
    assert(!a->busy && n > 0 && n <= INT_MAX);
    a->busy = true;
    a->fd = fd;
    a->bytes = bytes;
    a->n = n;
    a->offset = offset;
    a->done = done;
    a->arg = arg;
    a->began_ns = uv_hrtime();
    if (may_block && a->average_us <= IO_APPEND_QUICK_US)
        here_start(a);
    else if (a->has_ring)
        ring_start(a);
    else
        thread_start(a);
}
