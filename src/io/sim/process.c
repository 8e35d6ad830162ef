/* process.c - process.h: forking is the birth of an actor, confinement nothing.
 *
 * A forked child runs until it first waits, before io_supervise_fork returns to its parent: what it was given on the parent's stack is read by
 * then. It shares the parent's memory where a process would have a copy: what it changes there (config_forget_secrets), the parent sees.
 */
#include "io/process.h"

#include "io/sim/inside.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct told {
    TAILQ_ENTRY(told) entry;
    struct io_supervise_event event;
    size_t n;
    char bytes[];
};

struct watched {
    TAILQ_ENTRY(watched) entry;
    struct io_supervise *supervise;
    int fd;
    struct object *object;
    void *arg;
};

struct io_supervise {
    struct sim_actor *actor;
    TAILQ_HEAD(, told) told;
    TAILQ_HEAD(, watched) watched;
    struct told *current;
    struct event deadline;
    bool waiting, due;
};

static void wake(struct io_supervise *s)
{
    if (s->waiting && s->deadline.heap_at != 0 && s->deadline.at <= sim_now_us() + 20)
        return;
    if (s->waiting)
        event_start(&s->deadline, 1 + (int64_t)sim_below(20));
}

static void tell(struct io_supervise *s, const struct io_supervise_event *e)
{
    size_t own = memory_pause();
    struct told *t = calloc(1, sizeof *t + e->payload.n);
    assert(t != NULL);
    memory_resume(own);
    t->event = *e;
    t->n = e->payload.n;
    if (t->n > 0)
        memcpy(t->bytes, e->payload.p, t->n);
    t->event.payload = vr_str(t->bytes, t->n);
    TAILQ_INSERT_TAIL(&s->told, t, entry);
    wake(s);
}

static void deadline(void *arg)
{
    struct io_supervise *s = arg;
    if (s->waiting)
        fiber_resume(s->actor->main);
}

struct io_supervise *io_supervise_new(void)
{
    struct io_supervise *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->actor = actor_now();
    s->actor->supervise = s;
    TAILQ_INIT(&s->told);
    TAILQ_INIT(&s->watched);
    s->deadline = (struct event){.owner = s->actor, .run = deadline, .arg = s};
    return s;
}

static void unwatch(struct watched *w)
{
    channel_unlisten(w->object);
    TAILQ_REMOVE(&w->supervise->watched, w, entry);
    free(w);
}

void io_supervise_free(struct io_supervise *s)
{
    struct watched *w;
    while ((w = TAILQ_FIRST(&s->watched)) != NULL)
        io_supervise_unwatch(s, w->fd);
    event_stop(&s->deadline);
    s->actor->supervise = NULL;
    free(s);
}

void supervise_died(struct sim_actor *a)
{
    struct io_supervise *s = a->supervise;
    struct watched *w;
    struct told *t;
    if (s == NULL)
        return;
    while ((w = TAILQ_FIRST(&s->watched)) != NULL)
        unwatch(w);
    while ((t = TAILQ_FIRST(&s->told)) != NULL) {
        TAILQ_REMOVE(&s->told, t, entry);
        free(t);
    }
    free(s->current);
    a->supervise = NULL;
}

void supervise_child_ended(struct sim_actor *parent, int pid, int exit_code)
{
    if (parent->supervise != NULL)
        tell(parent->supervise,
             &(struct io_supervise_event){.kind = IO_SUP_CHILD_EXIT, .pid = pid, .exit_code = exit_code});
}

void sim_signal(struct sim_actor *a, int signum)
{
    if (!a->dead && a->supervise != NULL)
        tell(a->supervise, &(struct io_supervise_event){.kind = IO_SUP_SIGNAL, .signum = signum});
}

int io_supervise_fork(struct io_supervise *s, const char *title, const int *keep, size_t keep_count,
                      int (*run)(void *arg), void *arg)
{
    actor_step();
    struct sim_actor *child = actor_new(title, s->actor);
    for (size_t i = 0; i < keep_count; i++)
        actor_fd_at(child, keep[i], object_hold(s->actor->fds[keep[i]]));
    int pid = child->pid;
    actor_start(child, run, arg);
    return pid;
}

void io_supervise_kill(int pid, int signum)
{
    struct sim_actor *a = actor_by_pid(pid);
    (void)signum; /* only SIGKILL is sent */
    if (a != NULL)
        sim_kill(a);
}

void io_supervise_wait(struct io_supervise *s, int64_t timeout_ms, struct io_supervise_event *out)
{
    free(s->current);
    s->current = NULL;
    if (TAILQ_EMPTY(&s->told)) {
        s->waiting = true;
        if (timeout_ms >= 0)
            event_start(&s->deadline, timeout_ms * 1000);
        fiber_yield();
        s->waiting = false;
        event_stop(&s->deadline);
    }
    s->current = TAILQ_FIRST(&s->told);
    if (s->current == NULL) {
        *out = (struct io_supervise_event){.kind = IO_SUP_DEADLINE};
        return;
    }
    TAILQ_REMOVE(&s->told, s->current, entry);
    *out = s->current->event;
    actor_step();
}

int64_t io_supervise_now_ms(void)
{
    return 1000 + sim_now_us() / 1000;
}

static void heard(void *arg, uint16_t type, struct vr_str payload)
{
    struct watched *w = arg;
    tell(w->supervise, &(struct io_supervise_event){
                           .kind = IO_SUP_FRAME, .channel_arg = w->arg, .type = type, .payload = payload});
}

static void closed(void *arg)
{
    struct watched *w = arg;
    tell(w->supervise, &(struct io_supervise_event){.kind = IO_SUP_CHANNEL_CLOSED, .channel_arg = w->arg});
}

int io_supervise_watch(struct io_supervise *s, int channel_fd, void *channel_arg)
{
    size_t own = memory_pause();
    struct watched *w = calloc(1, sizeof *w);
    assert(w != NULL);
    memory_resume(own);
    *w = (struct watched){
        .supervise = s, .fd = channel_fd, .object = s->actor->fds[channel_fd], .arg = channel_arg};
    TAILQ_INSERT_TAIL(&s->watched, w, entry);
    channel_listen(w->object, heard, closed, w);
    return 0;
}

void io_supervise_unwatch(struct io_supervise *s, int channel_fd)
{
    struct watched *w, *next;
    struct told *t, *next_told;
    for (w = TAILQ_FIRST(&s->watched); w != NULL; w = next) {
        next = TAILQ_NEXT(w, entry);
        if (w->fd != channel_fd)
            continue;
        for (t = TAILQ_FIRST(&s->told); t != NULL; t = next_told) { /* nothing of it is told any more */
            next_told = TAILQ_NEXT(t, entry);
            if (t->event.channel_arg == w->arg &&
                (t->event.kind == IO_SUP_FRAME || t->event.kind == IO_SUP_CHANNEL_CLOSED)) {
                TAILQ_REMOVE(&s->told, t, entry);
                free(t);
            }
        }
        unwatch(w);
    }
    object_drop(actor_take(channel_fd));
}

int io_supervise_send(struct io_supervise *s, int channel_fd, uint16_t type, struct vr_str payload,
                      int fd_to_pass)
{
    struct object *passed = fd_to_pass >= 0 ? actor_take(fd_to_pass) : NULL;
    actor_step();
    channel_say(s->actor->fds[channel_fd], type, payload, passed);
    return 0;
}

/* The supervisor frees its configuration at a reload; its children would have their copy, here they have the same one. It goes with its memory. */
void __wrap_config_free(void *config);
void __wrap_certificates_free(void *all);
void __wrap_certificates_forget_keys(void *all);
void __wrap_config_free(void *config)
{
    (void)config;
}

/* Certificates too: a child of a real fork wipes what is its own. */
void __wrap_certificates_free(void *all)
{
    (void)all;
}

void __wrap_certificates_forget_keys(void *all)
{
    (void)all;
}

/* ---- memory in common, privileges ------------------------------------------------------------------------------------------------ */

void *io_shared_new(size_t size)
{
    size_t own = memory_pause(); /* it outlives whoever made it */
    void *p = calloc(1, size);
    assert(p != NULL);
    memory_resume(own);
    return p;
}

void io_shared_free(void *memory, size_t size)
{
    (void)memory, (void)size; /* others may still count in it: it is small, and goes with the run */
}

int io_confine(const struct io_confine *c, char weaker[256])
{
    (void)c;
    weaker[0] = '\0';
    return 0;
}

bool io_is_root(void)
{
    return false;
}

uint64_t io_raise_descriptor_limit(void)
{
    return 65536;
}
