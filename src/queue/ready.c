/* ready.c - who waits for a destination, and whose turn it is.
 *
 * A lane for each priority in use (RFC 6710 §4.1), in it a flow for each sender with mail for here (an account, else the reverse-path's domain),
 * in it the messages in the order of their coming. The highest lane is served first, but each LOW_TURN-th turn is the lowest one's, so that
 * urgent mail never stops the rest; the flows of a lane take turns, a delivery each. So a sender of a million newsletters delays the two
 * letters of another one by a delivery, not by a million.
 * Invariant: lanes and flows that stand are not empty.
 * Tests:     tests/unit/queue_destination.c
 */
#include "queue/inside.h"

#include <assert.h>
#include <stdlib.h>

#define LOW_TURN 8

struct flow {
    uint64_t id;       /* first: idmap. The lane's serial and the sender */
    struct flow *next; /* round the lane */
    struct ready *first, *last;
};

struct lane {
    struct lane *next; /* lower ones */
    struct flow *last; /* the one before whose turn it is: a ring */
    uint32_t serial;
    int8_t priority;
};

static struct lane *lane_get(struct queue *q, struct destination *d, int8_t priority)
{
    struct lane **at = &d->lanes;
    while (*at != NULL && (*at)->priority > priority)
        at = &(*at)->next;
    if (*at != NULL && (*at)->priority == priority)
        return *at;
    struct lane *l = calloc(1, sizeof *l);
    assert(l != NULL);
    *l = (struct lane){.next = *at, .serial = ++q->last_lane, .priority = priority};
    *at = l;
    return l;
}

static struct flow *flow_get(struct queue *q, struct lane *l, uint32_t sender)
{
    uint64_t id = (uint64_t)l->serial << 32 | sender;
    struct flow *f = idmap_find(&q->flows, id);
    if (f != NULL)
        return f;
    f = calloc(1, sizeof *f);
    assert(f != NULL);
    f->id = id;
    f->next = f;
    if (l->last != NULL) { /* behind all others of this round */
        f->next = l->last->next;
        l->last->next = f;
    }
    l->last = f;
    idmap_add(&q->flows, f);
    return f;
}

void ready_add(struct queue *q, struct message *m, struct destination *d)
{
    struct flow *f = flow_get(q, lane_get(q, d, m->priority), m->sender);
    if (f->last != NULL && f->last->message == m)
        return; /* the entry speaks for all recipients of the message there */
    struct ready *e = malloc(sizeof *e);
    assert(e != NULL);
    *e = (struct ready){.message = m};
    message_hold(m);
    *(f->last != NULL ? &f->last->next : &f->first) = e;
    f->last = e;
    d->ready++;
    dispatch_ring(q, d);
}

static struct lane **lane_next(struct destination *d)
{
    struct lane **at = &d->lanes;
    if (d->turns % LOW_TURN == LOW_TURN - 1)
        while ((*at)->next != NULL)
            at = &(*at)->next;
    return at;
}

struct message *ready_next(struct queue *q, struct destination *d)
{
    (void)q;
    return d->lanes != NULL ? (*lane_next(d))->last->next->first->message : NULL;
}

void ready_turn(struct destination *d)
{
    struct lane *l = *lane_next(d);
    l->last = l->last->next;
    d->turns++;
}

static void flow_end(struct queue *q, struct lane **at, struct flow *f)
{
    struct lane *l = *at;
    if (f->next == f) { /* and with it its lane */
        *at = l->next;
        free(l);
    } else {
        l->last->next = f->next;
    }
    idmap_remove(&q->flows, f->id);
    free(f);
}

void ready_drop(struct queue *q, struct destination *d)
{
    struct lane **at = lane_next(d);
    struct flow *f = (*at)->last->next;
    struct ready *e = f->first;
    f->first = e->next;
    d->ready--;
    if (f->first == NULL)
        flow_end(q, at, f);
    message_release(q, e->message);
    free(e);
}
