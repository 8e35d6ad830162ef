/* channel.c - frames between actors. They arrive in order, some microseconds after the turn in which they were said; what a dead actor had
 * flushed still arrives, what waited for the end of its turn does not. Descriptors travel as references.
 */
#include "io/sim/inside.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct message {
    TAILQ_ENTRY(message) entry;
    struct event event;
    struct channel_end *to;
    bool end; /* not a frame: the other side is gone */
    uint16_t type;
    struct object *passed;
    size_t n;
    char bytes[];
};
TAILQ_HEAD(message_list, message);

struct channel_end {
    struct object object;
    struct channel_end *peer; /* NULL: gone */
    struct message_list arrived;
    struct io_channel *user;
    void (*heard)(void *arg, uint16_t type, struct vr_str payload); /* instead of a user: the supervisor's */
    void (*closed)(void *arg);
    void *arg;
    int64_t last_at;
    size_t under_way; /* bytes said by this end and not heard yet */
    unsigned pending; /* messages to this end that are in the heap */
    bool dead;
};

struct io_channel {
    struct attachment attachment;
    struct io *io;
    struct channel_end *end;
    struct message_list out; /* of this turn */
    struct task flush, hear;
    const struct io_channel_ops *ops;
    void *arg;
    bool over, dead;
};

static void end_free(struct channel_end *e)
{
    if (e->dead && e->pending == 0)
        free(e);
}

static void message_free(struct message *m)
{
    if (m->passed != NULL)
        object_drop(m->passed);
    free(m);
}

static void hear_now(struct channel_end *e)
{
    struct message *m;
    while (e->heard != NULL && (m = TAILQ_FIRST(&e->arrived)) != NULL) {
        TAILQ_REMOVE(&e->arrived, m, entry);
        if (m->end)
            e->closed(e->arg);
        else
            e->heard(e->arg, m->type, vr_str(m->bytes, m->n));
        message_free(m);
    }
}

static void arrive(void *arg)
{
    struct message *m = arg;
    struct channel_end *e = m->to;
    e->pending--;
    if (e->peer != NULL)
        e->peer->under_way -= m->n;
    if (e->dead) {
        message_free(m);
        end_free(e);
        return;
    }
    TAILQ_INSERT_TAIL(&e->arrived, m, entry);
    if (e->user != NULL)
        io_post(e->user->io, &e->user->hear);
    else
        hear_now(e);
}

static struct message *message_new(uint16_t type, struct vr_str payload, struct object *passed)
{
    size_t own = memory_pause();
    struct message *m = calloc(1, sizeof *m + payload.n);
    assert(m != NULL);
    memory_resume(own);
    m->type = type;
    m->passed = passed;
    m->n = payload.n;
    if (payload.n > 0)
        memcpy(m->bytes, payload.p, payload.n);
    return m;
}

/* Off it goes, behind what went before. */
static void dispatch(struct channel_end *from, struct message *m)
{
    struct channel_end *to = from->peer;
    if (to == NULL) {
        message_free(m);
        return;
    }
    int64_t now = sim_now_us(), at = now + 1 + (int64_t)sim_below(sim_chance(10000) ? 5000 : 30);
    if (at < to->last_at)
        at = to->last_at;
    to->last_at = at;
    m->to = to;
    m->event = (struct event){.run = arrive, .arg = m};
    to->pending++;
    from->under_way += m->n;
    event_start(&m->event, at - now);
}

static void end_last(struct object *o)
{
    struct channel_end *e = CONTAINER(o, struct channel_end, object);
    struct message *m;
    if (e->peer != NULL) {
        struct message *goodbye = message_new(0, vr_str(NULL, 0), NULL);
        goodbye->end = true;
        dispatch(e, goodbye);
        e->peer->peer = NULL;
        e->peer = NULL;
    }
    while ((m = TAILQ_FIRST(&e->arrived)) != NULL) {
        TAILQ_REMOVE(&e->arrived, m, entry);
        message_free(m);
    }
    e->dead = true;
    end_free(e);
}

static struct channel_end *end_new(void)
{
    size_t own = memory_pause();
    struct channel_end *e = calloc(1, sizeof *e);
    assert(e != NULL);
    memory_resume(own);
    e->object = (struct object){.kind = OBJECT_CHANNEL, .refs = 1, .last = end_last};
    TAILQ_INIT(&e->arrived);
    return e;
}

int io_channel_pair(int fds[2])
{
    struct channel_end *a = end_new(), *b = end_new();
    a->peer = b;
    b->peer = a;
    fds[0] = actor_fd(actor_now(), &a->object);
    fds[1] = actor_fd(actor_now(), &b->object);
    return 0;
}

/* ---- in a loop ---------------------------------------------------------------------------------------------------------- */

void io_channel_flush(struct io_channel *c)
{
    struct message *m;
    if (TAILQ_EMPTY(&c->out))
        return;
    actor_step();
    while ((m = TAILQ_FIRST(&c->out)) != NULL) {
        TAILQ_REMOVE(&c->out, m, entry);
        dispatch(c->end, m);
    }
}

static void flush_task(struct task *t)
{
    io_channel_flush(CONTAINER(t, struct io_channel, flush));
}

void io_channel_send(struct io_channel *c, uint16_t type, struct vr_str payload, int fd)
{
    struct message *m = message_new(type, payload, fd >= 0 ? actor_take(fd) : NULL);
    if (c->over) {
        message_free(m);
        return;
    }
    TAILQ_INSERT_TAIL(&c->out, m, entry);
    io_flush_later(c->io, &c->flush);
}

size_t io_channel_unsent(const struct io_channel *c)
{
    size_t n =
        c->end->under_way > (1u << 20) ? c->end->under_way - (1u << 20) : 0; /* the kernel takes some */
    const struct message *m;
    TAILQ_FOREACH(m, &c->out, entry)
    n += m->n;
    return n;
}

static void hear_task(struct task *t)
{
    struct io_channel *c = CONTAINER(t, struct io_channel, hear);
    struct channel_end *e = c->end;
    struct message *m;
    if (c->dead) {
        free(c);
        return;
    }
    while (!c->dead && !c->over && (m = TAILQ_FIRST(&e->arrived)) != NULL) {
        TAILQ_REMOVE(&e->arrived, m, entry);
        if (m->end) {
            c->over = true;
            c->ops->closed(c->arg, 0);
        } else {
            int fd = m->passed != NULL ? actor_fd(io_actor(c->io), m->passed) : -1;
            m->passed = NULL;
            c->ops->frame(c->arg, m->type, vr_str(m->bytes, m->n), fd);
        }
        message_free(m);
    }
}

static void drop_out(struct io_channel *c)
{
    struct message *m;
    while ((m = TAILQ_FIRST(&c->out)) != NULL) {
        TAILQ_REMOVE(&c->out, m, entry);
        message_free(m);
    }
}

static void channel_release(struct attachment *a)
{
    struct io_channel *c = CONTAINER(a, struct io_channel, attachment);
    drop_out(c);
    c->end->user = NULL;
    object_drop(&c->end->object);
}

struct io_channel *io_channel_new(struct io *io, int fd, const struct io_channel_ops *ops, void *arg)
{
    struct object *o = actor_take(fd);
    assert(o->kind == OBJECT_CHANNEL);
    struct io_channel *c = calloc(1, sizeof *c);
    assert(c != NULL);
    *c = (struct io_channel){
        .io = io, .end = CONTAINER(o, struct channel_end, object), .ops = ops, .arg = arg};
    c->attachment.release = channel_release;
    c->flush.run = flush_task;
    c->hear.run = hear_task;
    TAILQ_INIT(&c->out);
    TAILQ_INSERT_TAIL(&io_actor(io)->attachments, &c->attachment, entry);
    c->end->user = c;
    if (!TAILQ_EMPTY(&c->end->arrived))
        io_post(io, &c->hear);
    return c;
}

void io_channel_close(struct io_channel *c)
{
    if (c == NULL)
        return;
    assert(!c->dead);
    io_channel_flush(c);
    io_unpost(c->io, &c->flush);
    io_unpost(c->io, &c->hear);
    TAILQ_REMOVE(&io_actor(c->io)->attachments, &c->attachment, entry);
    channel_release(&c->attachment);
    c->dead = true;
    io_post(c->io, &c->hear); /* which frees it, in the next turn: its frame may be on the stack above us */
}

/* ---- the supervisor's ------------------------------------------------------------------------------------------------------ */

struct channel_end *channel_end_of(struct object *o)
{
    assert(o->kind == OBJECT_CHANNEL);
    return CONTAINER(o, struct channel_end, object);
}

void channel_listen(struct object *o, void (*heard)(void *arg, uint16_t type, struct vr_str payload),
                    void (*closed)(void *arg), void *arg)
{
    struct channel_end *e = channel_end_of(o);
    e->heard = heard;
    e->closed = closed;
    e->arg = arg;
    hear_now(e);
}

void channel_unlisten(struct object *o)
{
    channel_end_of(o)->heard = NULL;
}

void channel_say(struct object *o, uint16_t type, struct vr_str payload, struct object *passed)
{
    dispatch(channel_end_of(o), message_new(type, payload, passed));
}
