/* loop.c - the loop on libuv: turns, deferred work, watched descriptors, randomness, clocks, signals.
 *
 * Promise:    callbacks come from io_run only; an object closed inside any callback stays allocated until the turn's end.
 * Turn:       sleep → ready descriptors → libuv's (timers, jobs, signals) when one is due → later, hooks, flushes.
 * One wait:   we sleep in our own epoll_wait, in whose set libuv's descriptor is one of many. The other way around
 *             each event would cost two.
 * Tests:      tests/unit/io_loop.c
 */
#include "io/env.h"
#include "io/real/real.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_TURN 256
#define ROUNDS_PER_TURN                                                                                      \
    8 /* later ↔ hooks may wake each other; after so many the loop looks at the network again */
#define WORKERS_DEFAULT 4

/* ---- memory ---------------------------------------------------------------------------------------------- */

static void out_of_memory(void)
{
    static const char text[] = "veredus: out of memory: this process ends and is started again\n";
    (void)!write(2, text, sizeof text - 1);
    abort();
}

void *real_alloc(size_t n)
{
    void *p = calloc(1, n);
    if (p == NULL)
        out_of_memory();
    return p;
}

void real_add(struct vr_buf *b, struct vr_str bytes)
{
    if (!vr_buf_add(b, bytes))
        out_of_memory();
}

/* ---- deferred work --------------------------------------------------------------------------------------- */

static void list_init(struct io_task *head)
{
    head->next = head->prev = head;
}

static bool list_empty(const struct io_task *head)
{
    return head->next == head;
}

static void list_add(struct io_task *head, struct io_task *t)
{
    t->prev = head->prev;
    t->next = head;
    head->prev->next = t;
    head->prev = t;
}

void io_task_cancel(struct io_task *t)
{
    if (t->next == NULL)
        return;
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->next = t->prev = NULL;
}

/* Runs what is in the list now; what is added meanwhile waits for the next round. */
static void list_run(struct io_task *head)
{
    struct io_task now;
    if (list_empty(head))
        return;
    now = *head;
    now.next->prev = now.prev->next = &now;
    list_init(head);
    while (!list_empty(&now)) {
        struct io_task *t = now.next;
        io_task_cancel(t);
        t->run(t);
    }
}

void io_later(struct io *io, struct io_task *t)
{
    if (t->next == NULL)
        list_add(&io->later, t);
}

void io_flush_later(struct io *io, struct io_task *t)
{
    if (t->next == NULL)
        list_add(&io->flushes, t);
}

static void bury(struct io *io)
{
    while (io->dead != NULL) {
        struct io_watch *w = io->dead;
        io->dead = w->next_dead;
        w->release(w);
    }
}

static void turn_end(struct io *io)
{
    for (int round = 0; round < ROUNDS_PER_TURN; round++) {
        list_run(&io->later);
        for (size_t i = 0; i < io->hook_count; i++)
            if (io->hooks[i].run != NULL)
                io->hooks[i].run(io->hooks[i].arg);
        list_run(&io->flushes);
        if (list_empty(&io->later) && list_empty(&io->flushes))
            break;
    }
    bury(io);
}

/* ---- descriptors ----------------------------------------------------------------------------------------- */

int io_watch_set(struct io_watch *w, uint32_t events)
{
    if (events == w->events)
        return 0;
    int op = events == 0 ? EPOLL_CTL_DEL : w->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    struct epoll_event e = {.events = events, .data.ptr = w};
    if (epoll_ctl(w->io->epoll_fd, op, w->fd, &e) != 0)
        return -errno;
    w->events = events;
    return 0;
}

void io_watch_close(struct io_watch *w)
{
    assert(!w->dead);
    /* Taken out by name: a descriptor that another process holds too would stay in the set after close(). */
    io_watch_set(w, 0);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    w->dead = true;
    w->next_dead = w->io->dead;
    w->io->dead = w;
}

/* ---- turns ----------------------------------------------------------------------------------------------- */

/* libuv's descriptor is one of those that are ready: its timers, jobs and signals. */
static void uv_ready(struct io_watch *w, uint32_t events)
{
    (void)events;
    w->io->uv_due = true;
}

/* Sleeps until something is ready, and does it. */
static void turn(struct io *io)
{
    struct epoll_event ready[EVENTS_PER_TURN];
    bool work_left = !list_empty(&io->later) || !list_empty(&io->flushes);
    int n = epoll_wait(io->epoll_fd, ready, EVENTS_PER_TURN, work_left ? 0 : uv_backend_timeout(&io->uv));
    uv_update_time(&io->uv);
    for (int i = 0; i < n; i++) {
        struct io_watch *w = ready[i].data.ptr;
        if (!w->dead && w->events != 0)
            w->ready(w, ready[i].events);
    }
    if (io->uv_due || uv_backend_timeout(&io->uv) == 0) {
        io->uv_due = false;
        uv_run(&io->uv, UV_RUN_NOWAIT);
    }
}

/* ---- the loop -------------------------------------------------------------------------------------------- */

/* libuv with nothing to wait for would have us not wait at all. */
static void on_prepare(uv_prepare_t *prepare)
{
    (void)prepare;
}

struct io *io_new(unsigned worker_threads)
{
    char workers[16];
    snprintf(workers, sizeof workers, "%u", worker_threads != 0 ? worker_threads : WORKERS_DEFAULT);
    setenv("UV_THREADPOOL_SIZE", workers, 1); /* libuv reads it when the first job comes */
    setenv("UV_USE_IO_URING", "0", 1);        /* from 1.45 on it would make rings that nothing restricts */
    signal(SIGPIPE, SIG_IGN);                 /* a pipe whose reader left is an error value here */

    struct io *io = real_alloc(sizeof *io);
    list_init(&io->later);
    list_init(&io->flushes);
    io->scratch = malloc(IO_SCRATCH);
    io->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    io->passwd_fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    if (io->scratch == NULL || io->epoll_fd < 0 || uv_loop_init(&io->uv) != 0)
        out_of_memory(); /* or out of descriptors at the very start: nothing can be done here either */
    io->uv_watch = (struct io_watch){.io = io, .fd = uv_backend_fd(&io->uv), .ready = uv_ready};
    if (io_watch_set(&io->uv_watch, EPOLLIN) != 0)
        out_of_memory();
    uv_prepare_init(&io->uv, &io->prepare);
    uv_prepare_start(&io->prepare, on_prepare);
    return io;
}

void io_run(struct io *io)
{
    io->running = true;
    turn_end(io); /* of what was asked for before */
    while (!io->stopped) {
        turn(io);
        turn_end(io);
    }
    io->running = io->stopped = false;
}

void io_stop(struct io *io)
{
    io->stopped = true;
}

int64_t io_now_us(const struct io *io)
{
    struct timespec t;
    (void)io;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t io_monotonic_ms(const struct io *io)
{
    return (int64_t)uv_now(&io->uv);
}

void io_random(struct io *io, void *out, size_t n)
{
    (void)io;
    io_env_random(out, n);
}

void io_on_turn_end(struct io *io, void (*hook)(void *arg), void *arg)
{
    struct io_hook *more = realloc(io->hooks, (io->hook_count + 1) * sizeof *more);
    if (more == NULL)
        out_of_memory();
    io->hooks = more;
    io->hooks[io->hook_count++] = (struct io_hook){hook, arg};
}

void io_off_turn_end(struct io *io, void (*hook)(void *arg), void *arg)
{
    for (size_t i = 0; i < io->hook_count; i++) /* the place stays: turn_end may be walking over it */
        if (io->hooks[i].run == hook && io->hooks[i].arg == arg)
            io->hooks[i] = (struct io_hook){0};
}

const char *io_error_text(int negative_errno)
{
    const char *text = strerrordesc_np(-negative_errno);
    return text != NULL ? text : "unknown error";
}

/* ---- signals --------------------------------------------------------------------------------------------- */

struct caught {
    uv_signal_t uv;
    void (*run)(void *arg, int signum);
    void *arg;
};

static void on_signal(uv_signal_t *uv, int signum)
{
    struct caught *c = CONTAINER(uv, struct caught, uv);
    c->run(c->arg, signum);
}

void io_on_signal(struct io *io, int signum, void (*caught)(void *arg, int signum), void *arg)
{
    struct caught *c = real_alloc(sizeof *c);
    c->run = caught;
    c->arg = arg;
    uv_signal_init(&io->uv, &c->uv);
    uv_signal_start(&c->uv, on_signal, signum);
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static void free_signal(uv_handle_t *h)
{
    free(CONTAINER(h, struct caught, uv));
}

static void close_handle(uv_handle_t *h, void *arg)
{
    (void)arg;
    if (!uv_is_closing(h))
        uv_close(h,
                 h->type == UV_SIGNAL ? free_signal : NULL); /* a timer not freed by its owner is its leak */
}

void io_stream_close(struct io_stream *s);

void io_free(struct io *io)
{
    io->closing = true;
    while (io->finishing != NULL)
        io_stream_close(io->finishing);
    uv_walk(&io->uv, close_handle, NULL);
    /* until handles are closed and running jobs are through */
    while (uv_run(&io->uv, UV_RUN_DEFAULT) != 0)
        ;
    bury(io);
    if (io->tls_method != NULL)
        io->tls_method_free(io->tls_method);
    if (io->passwd_fd >= 0)
        close(io->passwd_fd);
    close(io->epoll_fd);
    uv_loop_close(&io->uv);
    free(io->plain);
    free(io->scratch);
    free(io->hooks);
    free(io);
}
