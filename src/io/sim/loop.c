/* loop.c - io.h and env.h in virtual time.
 *
 * A turn: what is ready runs, then the hooks of the turn's end, then what they wrote leaves. The processor takes some microseconds to come
 * around, more when chance wants it: so turns of different processes mix differently in each run.
 */
#include "io/env.h"
#include "io/sim/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define EPOCH_US        (1790000000ll * 1000000)
#define WORKERS_DEFAULT 4
#define WORKER_STACK    (256u << 10)
#define ROUNDS_PER_TURN 8

struct hook {
    void (*run)(void *arg);
    void *arg;
};

struct job {
    TAILQ_ENTRY(job) entry;
    struct io *io;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
    struct event start;
    struct task finished;
};

struct io {
    struct sim_actor *actor;
    struct task_list ready, running, flushes;
    struct hook *hooks;
    size_t hook_count;
    struct event wake;
    bool waiting, stopped;
    TAILQ_HEAD(, job) jobs;
    unsigned workers, busy;
};

struct sim_actor *io_actor(const struct io *io)
{
    return io->actor;
}

/* ---- tasks ------------------------------------------------------------------------------------------------------------------ */

static void schedule_turn(struct io *io)
{
    if (io->wake.heap_at == 0)
        event_start(&io->wake, 1 + (int64_t)sim_below(sim_chance(20000) ? 2000 : 20));
}

void io_post(struct io *io, struct task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    TAILQ_INSERT_TAIL(&io->ready, t, entry);
    if (io->waiting)
        schedule_turn(io);
}

void io_unpost(struct io *io, struct task *t)
{
    if (!t->queued)
        return;
    t->queued = false;
    struct task *o;
    TAILQ_FOREACH(o, &io->running, entry)
    if (o == t) {
        TAILQ_REMOVE(&io->running, t, entry);
        return;
    }
    TAILQ_FOREACH(o, &io->flushes, entry)
    if (o == t) {
        TAILQ_REMOVE(&io->flushes, t, entry);
        return;
    }
    TAILQ_REMOVE(&io->ready, t, entry);
}

void io_flush_later(struct io *io, struct task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    TAILQ_INSERT_TAIL(&io->flushes, t, entry);
}

static void list_run(struct io *io, struct task_list *list)
{
    struct task *t;
    assert(TAILQ_EMPTY(&io->running));
    TAILQ_CONCAT(&io->running, list, entry);
    while ((t = TAILQ_FIRST(&io->running)) != NULL) {
        TAILQ_REMOVE(&io->running, t, entry);
        t->queued = false;
        t->run(t);
    }
}

/* ---- the loop --------------------------------------------------------------------------------------------------------------- */

static void on_wake(void *arg)
{
    struct io *io = arg;
    if (io->waiting)
        fiber_resume(io->actor->main);
}

struct io *io_new(unsigned worker_threads)
{
    struct io *io = calloc(1, sizeof *io);
    assert(io != NULL);
    io->actor = actor_now();
    assert(io->actor->io == NULL); /* one per process */
    io->actor->io = io;
    TAILQ_INIT(&io->ready);
    TAILQ_INIT(&io->running);
    TAILQ_INIT(&io->flushes);
    TAILQ_INIT(&io->jobs);
    io->workers = worker_threads > 0 ? worker_threads : WORKERS_DEFAULT;
    io->wake = (struct event){.owner = io->actor, .run = on_wake, .arg = io};
    return io;
}

void io_free(struct io *io)
{
    event_stop(&io->wake);
    io->actor->io = NULL;
    free(io->hooks);
    free(io);
}

void loop_died(struct sim_actor *a)
{
    a->io = NULL; /* its memory goes with the actor's */
}

static void turn_end(struct io *io)
{
    for (int round = 0; round < ROUNDS_PER_TURN; round++) {
        for (size_t i = 0; i < io->hook_count; i++)
            if (io->hooks[i].run != NULL)
                io->hooks[i].run(io->hooks[i].arg);
        if (TAILQ_EMPTY(&io->flushes))
            break;
        list_run(io, &io->flushes);
    }
}

void io_run(struct io *io)
{
    assert(fiber_current() == io->actor->main);
    turn_end(io); /* of the start */
    while (!io->stopped) {
        io->waiting = true;
        if (!TAILQ_EMPTY(&io->ready) || !TAILQ_EMPTY(&io->flushes))
            schedule_turn(io);
        fiber_yield();
        io->waiting = false;
        list_run(io, &io->ready);
        turn_end(io);
    }
}

void io_stop(struct io *io)
{
    io->stopped = true;
}

int64_t io_now_us(const struct io *io)
{
    (void)io;
    return EPOCH_US + sim_now_us();
}

int64_t io_monotonic_ms(const struct io *io)
{
    (void)io;
    return 1000 + sim_now_us() / 1000;
}

void io_random(struct io *io, void *out, size_t n)
{
    (void)io;
    io_env_random(out, n);
}

void io_on_turn_end(struct io *io, void (*hook)(void *arg), void *arg)
{
    io->hooks = realloc(io->hooks, (io->hook_count + 1) * sizeof *io->hooks);
    assert(io->hooks != NULL);
    io->hooks[io->hook_count++] = (struct hook){hook, arg};
}

void io_off_turn_end(struct io *io, void (*hook)(void *arg), void *arg)
{
    for (size_t i = 0; i < io->hook_count; i++)
        if (io->hooks[i].run == hook && io->hooks[i].arg == arg)
            io->hooks[i].run = NULL;
}

/* ---- timers ------------------------------------------------------------------------------------------------------------------ */

struct io_timer {
    struct io *io;
    struct event event;
    struct task task;
    int64_t repeat_us;
    void (*fire)(void *arg);
    void *arg;
};

static void timer_task(struct task *t)
{
    struct io_timer *timer = CONTAINER(t, struct io_timer, task);
    timer->fire(timer->arg);
}

static void timer_due(void *arg)
{
    struct io_timer *t = arg;
    if (t->repeat_us > 0)
        event_start(&t->event, t->repeat_us);
    io_post(t->io, &t->task);
}

struct io_timer *io_timer_new(struct io *io, void (*fire)(void *arg), void *arg)
{
    struct io_timer *t = calloc(1, sizeof *t);
    assert(t != NULL);
    t->io = io;
    t->fire = fire;
    t->arg = arg;
    t->event = (struct event){.owner = io->actor, .run = timer_due, .arg = t};
    t->task.run = timer_task;
    return t;
}

void io_timer_start(struct io_timer *t, int64_t after_ms, int64_t repeat_ms)
{
    io_unpost(t->io, &t->task);
    t->repeat_us = repeat_ms > 0 ? repeat_ms * 1000 : 0;
    event_start(&t->event, after_ms > 0 ? after_ms * 1000 : 0);
}

void io_timer_stop(struct io_timer *t)
{
    event_stop(&t->event);
    io_unpost(t->io, &t->task);
}

void io_timer_free(struct io_timer *t)
{
    if (t == NULL)
        return;
    io_timer_stop(t);
    free(t);
}

/* ---- work -------------------------------------------------------------------------------------------------------------------- */

static void jobs_start(struct io *io);

static void job_finished(struct task *t)
{
    struct job *j = CONTAINER(t, struct job, finished);
    void (*done)(void *) = j->done;
    void *arg = j->arg;
    free(j);
    done(arg);
}

static void worker_gone(void *arg)
{
    struct fiber *f = arg;
    fiber_free(f);
}

/* The last line of a worker's fiber: its result waits for the loop, and the next job may start. */
static void job_end(struct job *j)
{
    struct io *io = j->io;
    struct fiber *f = fiber_current();
    TAILQ_REMOVE(&io->actor->workers, f, entry);
    sim_after(0, worker_gone, f);
    io->busy--;
    io_post(io, &j->finished);
    jobs_start(io);
}

static void job_main(void *arg)
{
    struct job *j = arg;
    j->work(j->arg);
    job_end(j);
}

static void job_begin(void *arg)
{
    struct job *j = arg;
    struct sim_actor *a = j->io->actor;
    struct fiber *f = fiber_new(a, WORKER_STACK, job_main, j);
    TAILQ_INSERT_TAIL(&a->workers, f, entry);
    fiber_resume(f);
}

static void jobs_start(struct io *io)
{
    while (io->busy < io->workers && !TAILQ_EMPTY(&io->jobs)) {
        struct job *j = TAILQ_FIRST(&io->jobs);
        TAILQ_REMOVE(&io->jobs, j, entry);
        io->busy++;
        event_start(&j->start, 1 + (int64_t)sim_below(30));
    }
}

void io_work(struct io *io, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct job *j = calloc(1, sizeof *j);
    assert(j != NULL);
    *j = (struct job){.io = io, .work = work, .done = done, .arg = arg};
    j->start = (struct event){.owner = io->actor, .run = job_begin, .arg = j};
    j->finished.run = job_finished;
    TAILQ_INSERT_TAIL(&io->jobs, j, entry);
    jobs_start(io);
}

/* ---- the environment ---------------------------------------------------------------------------------------------------------- */

const char *io_env(const char *name)
{
    (void)name;
    return NULL;
}

bool io_is_terminal(int fd)
{
    (void)fd;
    return false;
}

bool io_is_coloured(int fd)
{
    (void)fd;
    return false;
}

bool io_is_journal(int fd)
{
    (void)fd;
    return false;
}

unsigned io_core_count(void)
{
    return 2;
}

int64_t io_env_clock_us(void)
{
    return EPOCH_US + sim_now_us();
}

void io_env_random(void *out, size_t n)
{
    char *p = out;
    while (n > 0) {
        uint64_t r = sim_random();
        size_t some = n < sizeof r ? n : sizeof r;
        memcpy(p, &r, some);
        p += some;
        n -= some;
    }
}

const char *io_error_text(int negative_errno)
{
    const char *text = strerrordesc_np(-negative_errno);
    return text != NULL ? text : "unknown error";
}
