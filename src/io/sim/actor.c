/* actor.c - processes: their fibers, descriptors and deaths.
 *
 * Promise: an actor that died runs no more line of its code; its descriptors are closed, its frames and bytes that had left go on their way.
 */
#include "io/sim/inside.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAIN_STACK (1u << 20)
#define FIRST_FD   3

static struct actor_list actors = TAILQ_HEAD_INITIALIZER(actors);
static int last_pid = 100;
static void (*on_death)(const char *title);

struct sim_actor *actor_now(void)
{
    struct fiber *f = fiber_current();
    assert(f != NULL);
    return f->actor;
}

/* ---- descriptors ---------------------------------------------------------------------------------------------------------- */

void object_drop(struct object *o)
{
    assert(o->refs > 0);
    if (--o->refs == 0)
        o->last(o);
}

void actor_fd_at(struct sim_actor *a, int fd, struct object *o)
{
    size_t own = memory_pause();
    if ((size_t)fd >= a->fd_count) {
        size_t n = (size_t)fd + 32;
        a->fds = realloc(a->fds, n * sizeof(struct object *));
        assert(a->fds != NULL);
        memset(a->fds + a->fd_count, 0, (n - a->fd_count) * sizeof(struct object *));
        a->fd_count = n;
    }
    memory_resume(own);
    assert(a->fds[fd] == NULL);
    a->fds[fd] = o;
}

int actor_fd(struct sim_actor *a, struct object *o)
{
    int fd = FIRST_FD;
    while ((size_t)fd < a->fd_count && a->fds[fd] != NULL)
        fd++;
    actor_fd_at(a, fd, o);
    return fd;
}

struct object *actor_object_any(int fd)
{
    struct sim_actor *a = actor_now();
    return fd >= FIRST_FD && (size_t)fd < a->fd_count ? a->fds[fd] : NULL;
}

struct object *actor_object(int fd, enum object_kind kind)
{
    struct object *o = actor_object_any(fd);
    return o != NULL && o->kind == kind ? o : NULL;
}

struct object *actor_take(int fd)
{
    struct object *o = actor_object_any(fd);
    assert(o != NULL); /* closed twice, or never opened */
    actor_now()->fds[fd] = NULL;
    return o;
}

/* ---- birth ------------------------------------------------------------------------------------------------------------------ */

struct sim_actor *actor_new(const char *title, struct sim_actor *parent)
{
    size_t own = memory_pause();
    struct sim_actor *a = calloc(1, sizeof *a);
    assert(a != NULL);
    memory_resume(own);
    snprintf(a->title, sizeof a->title, "%s", title);
    a->pid = ++last_pid;
    a->parent = parent;
    TAILQ_INIT(&a->workers);
    TAILQ_INIT(&a->attachments);
    TAILQ_INSERT_TAIL(&actors, a, entry);
    return a;
}

static void main_fiber(void *arg)
{
    struct sim_actor *a = arg;
    int code = a->run(a->arg);
    actor_end(a, code);
    fiber_yield();
}

void actor_start(struct sim_actor *a, int (*run)(void *arg), void *arg)
{
    a->run = run;
    a->arg = arg;
    a->main = fiber_new(a, MAIN_STACK, main_fiber, a);
    fiber_resume(a->main);
}

struct spawn {
    struct sim_actor *actor;
    int (*run)(void *arg);
    void *arg;
};

static void spawned(void *arg)
{
    struct spawn *s = arg;
    actor_start(s->actor, s->run, s->arg);
    free(s);
}

struct sim_actor *sim_spawn(const char *title, int (*run)(void *arg), void *arg, bool immortal)
{
    struct sim_actor *a = actor_new(title, NULL);
    a->immortal = immortal;
    size_t own = memory_pause();
    struct spawn *s = malloc(sizeof *s);
    assert(s != NULL);
    memory_resume(own);
    *s = (struct spawn){a, run, arg};
    sim_after(0, spawned, s);
    return a;
}

/* ---- death ------------------------------------------------------------------------------------------------------------------ */

static void bury_fiber(void *arg)
{
    fiber_free(arg);
}

/* Children share what a fork would have copied for them: it stays as long as one of them lives. */
static void memory_free(struct sim_actor *a)
{
    const struct sim_actor *child;
    TAILQ_FOREACH(child, &actors, entry)
    if (child->parent == a && !child->dead)
        return;
    memory_free_all(a);
}

void actor_end(struct sim_actor *a, int exit_code)
{
    assert(!a->dead);
    a->dead = true;
    a->exit_code = exit_code;
    size_t own = memory_pause();
    if (exit_code == -SIGKILL && on_death != NULL)
        on_death(a->title);
    struct attachment *at;
    while ((at = TAILQ_FIRST(&a->attachments)) != NULL) {
        TAILQ_REMOVE(&a->attachments, at, entry);
        at->release(at);
    }
    loop_died(a);
    supervise_died(a);
    events_drop(a);
    for (size_t i = 0; i < a->fd_count; i++)
        if (a->fds[i] != NULL)
            object_drop(a->fds[i]);
    free(a->fds);
    a->fds = NULL;
    a->fd_count = 0;
    if (a->parent != NULL && !a->parent->dead)
        supervise_child_ended(a->parent, a->pid, exit_code);
    struct fiber *f;
    while ((f = TAILQ_FIRST(&a->workers)) != NULL) { /* not now: we may stand on one of them */
        TAILQ_REMOVE(&a->workers, f, entry);
        sim_after(0, bury_fiber, f);
    }
    if (a->main != NULL)
        sim_after(0, bury_fiber, a->main);
    a->main = NULL;
    memory_free(a);
    if (a->parent != NULL && a->parent->dead)
        memory_free(a->parent);
    memory_resume(own);
}

void sim_on_death(void (*died)(const char *title))
{
    on_death = died;
}

bool sim_alive(const struct sim_actor *a)
{
    return !a->dead;
}

int sim_exit_code(const struct sim_actor *a)
{
    return a->exit_code;
}

void sim_kill(struct sim_actor *a)
{
    if (!a->dead)
        actor_end(a, -SIGKILL);
}

void sim_kill_at_step(struct sim_actor *a, unsigned n)
{
    a->die_at = n > 0 ? a->steps + n : 0;
}

void actor_step(void)
{
    struct sim_actor *a = actor_now();
    a->steps++;
    if (a->die_at == 0 || a->steps < a->die_at)
        return;
    actor_end(a, -SIGKILL);
    fiber_yield();
    assert(false); /* nobody wakes the dead */
}

struct sim_actor *actor_by_pid(int pid)
{
    struct sim_actor *a;
    TAILQ_FOREACH(a, &actors, entry)
    if (a->pid == pid && !a->dead)
        return a;
    return NULL;
}

void sim_processes(void (*each)(void *arg, struct sim_actor *a, const char *title), void *arg)
{
    struct sim_actor *a, *next;
    for (a = TAILQ_FIRST(&actors); a != NULL; a = next) {
        next = TAILQ_NEXT(a, entry);
        if (!a->dead && !a->immortal)
            each(arg, a, a->title);
    }
}

static void die(void *arg, struct sim_actor *a, const char *title)
{
    (void)arg, (void)title;
    sim_kill(a);
}

void sim_power_loss(void)
{
    sim_processes(die, NULL);
    disk_power_loss();
}

/* ---- time that work takes ------------------------------------------------------------------------------------------------ */

struct nap {
    struct event event;
    struct fiber *fiber;
};

static void wake(void *arg)
{
    fiber_resume(((struct nap *)arg)->fiber);
}

void actor_sleep(int64_t us)
{
    struct fiber *f = fiber_current();
    struct nap n = {.event = {.owner = f->actor, .run = wake, .arg = &n}, .fiber = f};
    if (f == f->actor->main)
        return;
    event_start(&n.event, us);
    fiber_yield();
}
