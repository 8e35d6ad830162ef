/* inside.h - what the files of the simulator share.
 *
 * core.c: events, fibers, chance. actor.c: processes, their descriptors and memory. loop.c: io.h, env.h. channel.c, net.c: frames and
 * streams. disk.c, files.c: fs.h. process.c: process.h. dns.c: dns.h and what is left of tls.h.
 */
#ifndef IO_SIM_INSIDE_H
#define IO_SIM_INSIDE_H

#include "io/channel.h"
#include "io/sim/sim.h"

#include <sys/queue.h>
#include <ucontext.h>

#define CONTAINER(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

/* ---- core.c ---------------------------------------------------------------------------------------------------------- */

struct event {
    int64_t at;
    uint64_t seq;
    struct sim_actor *owner; /* dead: it is passed over. NULL: nobody */
    void (*run)(void *arg);
    void *arg;
    size_t heap_at; /* + 1; 0: not in the heap */
};
/* Runs in the scheduler, not in a fiber. The event is freed after it ran; *back (may be NULL) is NULL from then on. */
void event_start(struct event *e,
                 int64_t after_us); /* embedded ones: owner, run, arg are set; moves a running one */
void event_stop(struct event *e);
void events_drop(const struct sim_actor *owner); /* all of somebody who dies */

struct fiber {
    ucontext_t context;
    struct fiber *caller; /* who resumed it */
    struct sim_actor *actor;
    void (*run)(void *arg);
    void *arg;
    char *stack;
    size_t stack_size;
    bool ended;
    void *fake_stack; /* of ASan */
    TAILQ_ENTRY(fiber) entry;
};
struct fiber *fiber_new(struct sim_actor *a, size_t stack_size, void (*run)(void *arg), void *arg);
void fiber_resume(struct fiber *f); /* until it yields, ends, or its actor dies */
void fiber_yield(void);
struct fiber *fiber_current(void); /* NULL: the scheduler */
void fiber_free(struct fiber *f);

/* ---- actor.c --------------------------------------------------------------------------------------------------------- */

struct task { /* to be run by an actor's main fiber in io_run */
    TAILQ_ENTRY(task) entry;
    bool queued;
    void (*run)(struct task *t);
};
TAILQ_HEAD(task_list, task);

enum object_kind { OBJECT_LISTENER, OBJECT_CHANNEL, OBJECT_FILE, OBJECT_OUTPUT };
/* What a descriptor leads to. */
struct object {
    enum object_kind kind;
    unsigned refs;
    void (*last)(struct object *o); /* nobody holds it any more */
};
static inline struct object *object_hold(struct object *o)
{
    o->refs++;
    return o;
}
void object_drop(struct object *o);

/* Something of an actor's that ends with it: streams, channels, listeners. */
struct attachment {
    TAILQ_ENTRY(attachment) entry;
    void (*release)(struct attachment *a);
};

struct sim_actor {
    TAILQ_ENTRY(sim_actor) entry;
    char title[24];
    int pid;
    struct sim_actor *parent;
    bool immortal, dead;
    int exit_code;
    int (*run)(void *arg);
    void *arg;
    struct fiber *main;
    TAILQ_HEAD(, fiber) workers;
    TAILQ_HEAD(, attachment) attachments;
    struct object **fds;
    size_t fd_count;
    struct io *io;
    struct io_supervise *supervise;
    unsigned steps, die_at; /* 0: not planned */
    void *blocks;           /* memory.c */
    size_t bytes;
};
TAILQ_HEAD(actor_list, sim_actor);

struct sim_actor *actor_now(void); /* whose fiber runs; never NULL where actors call */
struct sim_actor *actor_new(const char *title, struct sim_actor *parent);
void actor_start(struct sim_actor *a, int (*run)(void *arg), void *arg); /* runs it until it waits */
void actor_end(struct sim_actor *a, int exit_code);
int actor_fd(struct sim_actor *a, struct object *o); /* a new descriptor; takes the reference over */
void actor_fd_at(struct sim_actor *a, int fd, struct object *o);
struct object *actor_object(int fd, enum object_kind kind); /* NULL: not such a one */
struct object *actor_object_any(int fd);
struct object *actor_take(int fd); /* the descriptor is gone, its reference the caller's */
/* A step of this actor that the world could see: it may die here. In a worker fiber: may also take time. */
void actor_step(void);
void actor_sleep(int64_t us); /* worker fibers; elsewhere nothing */
struct sim_actor *actor_by_pid(int pid);

/* memory.c */
void memory_free_all(struct sim_actor *a);
size_t memory_pause(void); /* what is allocated from here on is the simulator's own */
void memory_resume(size_t before);

/* loop.c */
struct sim_actor *io_actor(const struct io *io);
void io_post(struct io *io, struct task *t); /* in the next turn */
void io_unpost(struct io *io, struct task *t);
void io_flush_later(struct io *io, struct task *t); /* at the end of this turn */
void loop_died(struct sim_actor *a);

/* channel.c */
struct channel_end *channel_end_of(struct object *o);
/* For the supervisor, who has no loop. arrived is called by the scheduler; payload lives until the return. */
void channel_listen(struct object *o, void (*arrived)(void *arg, uint16_t type, struct vr_str payload),
                    void (*closed)(void *arg), void *arg);
void channel_unlisten(struct object *o);
void channel_say(struct object *o, uint16_t type, struct vr_str payload, struct object *passed);

/* process.c */
void supervise_child_ended(struct sim_actor *parent, int pid, int exit_code);
void supervise_died(struct sim_actor *a);

/* net.c, files.c */
void net_reset(void);
void disk_reset(void);
void disk_power_loss(void);

void output_write(struct vr_str text);

#endif
