/* dispatch.c - who is served next: round robin over destinations, each within what health.c allows, to the sender that its name picks.
 *
 * Rings:  destinations with ready messages that may have one delivery more; one ring for those that are proven, one for new ones, one for
 *         suspects, since each kind has places of its own with the senders: a delivery to a host that swallows all packets holds its place for
 *         connect_timeout, and thousands of those must not be in the way of one that works. A destination at its limit leaves the ring and
 *         comes back when a delivery of it ends, so a slow one costs nothing while it is slow.
 * Tests:  tests/unit/queue_process.c, tests/unit/queue_srs.c
 */
#include "queue/inside.h"

#include "io/fs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECIPIENTS_MAX 100 /* of one delivery: what every server takes, RFC 5321 §4.5.3.1.8 */
#define PEER_UNSENT    (8u << 20)
#define READING_MAX    64
#define FRUITLESS_MAX  64  /* destinations looked at in a row that could not be served */
#define BURIED_A_TURN  512 /* messages */
#define ARENA_MAX      (16u << 20)
#define ORCPT_MAX      500 /* RFC 3461 §4.2 */
#define READ_AGAIN_S   300

/* Deliveries with one sender at a time, by what is known of their destinations. */
static const uint32_t places[HEALTH_COUNT] = {
    [HEALTH_PROVEN] = 512, [HEALTH_NEW] = 1024, [HEALTH_SUSPECT] = 256};

/* ---- the rings ----------------------------------------------------------------------------------------------------------------------- */

void dispatch_ring(struct queue *q, struct destination *d)
{
    if (d->in_ring || d->ready == 0 || !health_admits(q, d))
        return;
    struct ring *r = &q->rings[d->health];
    d->in_ring = true;
    d->ring_next = NULL;
    *(r->last != NULL ? &r->last->ring_next : &r->first) = d;
    r->last = d;
}

static struct destination *ring_take(struct ring *r)
{
    struct destination *d = r->first;
    r->first = d->ring_next;
    if (r->first == NULL)
        r->last = NULL;
    d->in_ring = false;
    return d;
}

/* ---- the dead ------------------------------------------------------------------------------------------------------------------------- */

void dispatch_bury(struct queue *q, struct destination *d)
{
    if (d->burying || d->ready == 0)
        return;
    d->burying = true;
    d->bury_next = q->buried;
    q->buried = d;
}

static void bury_message(struct queue *q, struct destination *d)
{
    struct message *m = ready_next(q, d);
    message_hold(m);
    ready_drop(q, d);
    for (uint32_t i = 0; i < m->count; i++)
        if (m->recipients[i].state == RECIPIENT_READY && m->recipients[i].destination == d)
            results_parked(q, m, i, d);
    if (!dispatch_any_ready(m))
        cache_drop(q, m);
    schedule_message(q, m);
    message_release(q, m);
}

static void bury_some(struct queue *q)
{
    for (int n = 0; q->buried != NULL && n < BURIED_A_TURN; n++) {
        struct destination *d = q->buried;
        if (d->ready > 0 && health_dead(q, d)) {
            bury_message(q, d);
            continue;
        }
        q->buried = d->bury_next;
        d->burying = false;
        dispatch_ring(q, d);
    }
}

/* ---- whom to give it to --------------------------------------------------------------------------------------------------------------- */

static struct peer *deliverer_for(struct queue *q, const struct destination *d)
{
    enum ipc_role role = d->next_hop.kind == NEXT_HOP_MAILDIR ? IPC_LOCAL : IPC_SENDER;
    struct peer *newest = process_peer(q->process, role);
    if (newest == NULL)
        return NULL;
    uint32_t n = 0;
    for (struct peer *p = q->process->peers; p != NULL; p = p->next)
        n += p->role == role && p->generation == newest->generation;
    /* The peers' order is that of their slots, however they were attached: a destination stays with its sender. */
    uint32_t want = d->hash % n;
    for (struct peer *p = q->process->peers; p != NULL; p = p->next) {
        if (p->role != role || p->generation != newest->generation)
            continue;
        uint32_t before = 0;
        for (struct peer *o = q->process->peers; o != NULL; o = o->next)
            before += o->role == role && o->generation == newest->generation && o->slot < p->slot;
        if (before != want)
            continue;
        const struct deliverer *w = p->data;
        return w->introduced && w->counts[d->health] < places[d->health] &&
                       io_channel_unsent(p->channel) < PEER_UNSENT
                   ? p
                   : NULL;
    }
    return NULL;
}

void dispatch_link(struct queue *q, struct dispatch *d, struct peer *peer)
{
    (void)q;
    struct deliverer *w = peer->data;
    d->peer = peer;
    d->prev = NULL;
    d->next = w->first;
    if (w->first != NULL)
        w->first->prev = d;
    w->first = d;
    d->health = d->destination != NULL ? d->destination->health : HEALTH_PROVEN;
    w->counts[d->health]++;
}

void dispatch_forget(struct queue *q, struct dispatch *d)
{
    if (d->peer != NULL) {
        struct deliverer *w = d->peer->data;
        *(d->prev != NULL ? &d->prev->next : &w->first) = d->next;
        if (d->next != NULL)
            d->next->prev = d->prev;
        w->counts[d->health]--;
    }
    if (d->id != 0)
        idmap_remove(&q->dispatches, d->id);
    if (d->destination != NULL) {
        d->destination->active--;
        dispatch_ring(q, d->destination);
    }
    struct message *m = d->message;
    free(d);
    message_release(q, m);
}

void dispatch_return(struct queue *q, struct dispatch *d, uint32_t after_s)
{
    struct message *m = d->message;
    for (uint32_t i = 0; i < d->count; i++) {
        struct recipient *r = &m->recipients[d->indexes[i]];
        if (r->state != RECIPIENT_SENDING)
            continue;
        if (r->next < NOW_S(q) + after_s) /* later: it was taken over, and its result was known */
            r->next = NOW_S(q) + after_s;
        recipient_set(q, m, r, RECIPIENT_WAITING);
    }
    schedule_message(q, m);
    dispatch_forget(q, d);
}

/* ---- sending ------------------------------------------------------------------------------------------------------------------------------ */

/* ORCPT as given; where an alias changed the address, what was given: then a report of the next hop means something to the sender (RFC 3461
 * §5.2.1 d). */
static struct vr_str orcpt_of(struct vr_arena *arena, const struct envelope_rcpt *given, bool changed)
{
    if (given->orcpt.n > 0 || !changed)
        return given->orcpt;
    bool ascii = vr_str_is_ascii(given->address); /* else RFC 6533 §3 */
    struct vr_buf b;
    vr_buf_init(&b, ORCPT_MAX);
    vr_buf_add(&b, ascii ? VR_STR("rfc822;") : VR_STR("utf-8;"));
    bool fits = ascii ? dsn_xtext_encode(&b, given->address) : dsn_unitext_encode(&b, given->address, false);
    struct vr_str made = fits ? vr_arena_dup(arena, vr_buf_str(&b)) : vr_str(NULL, 0);
    vr_buf_fini(&b);
    return made;
}

/* An alias of ours leads elsewhere: the next hop shall see a reverse path that may come from here (SPF), and by which a bounce finds back. */
static bool is_forwarded(const struct queue *q, const struct message *m, uint32_t index,
                         const struct next_hop *h)
{
    bool elsewhere = (h->kind == NEXT_HOP_MX || h->kind == NEXT_HOP_SMTP) && h->domain == UINT32_MAX;
    return elsewhere && q->config->srs.domain.n > 0 && m->recipients[index].parent != index &&
           m->reverse_path_n > 0;
}

struct vr_str dispatch_reverse_path(struct queue *q, struct vr_arena *arena, const struct message *m,
                                    uint32_t index, const struct next_hop *h)
{
    struct vr_str own = message_reverse_path(m);
    if (!is_forwarded(q, m, index, h))
        return own;
    struct vr_str rewritten = routing_srs_forward(q->config, arena, own, NOW_S(q));
    return rewritten.n > 0 ? rewritten : own;
}

static void note_rewritten(struct queue *q, const struct dispatch *d, struct vr_str from, struct vr_str to)
{
    event_begin(q->events, EVENT_INFO, "sender.rewritten", d->message->id);
    event_str(q->events, "from", from);
    event_str(q->events, "to", to);
    event_text(q->events, "destination", d->destination->name);
    event_end(q->events);
}

static void fill_recipients(struct vr_arena *arena, const struct dispatch *d, const struct record_message *r,
                            struct delivery_rcpt *out)
{
    const struct message *m = d->message;
    for (uint32_t i = 0; i < d->count; i++) {
        uint32_t index = d->indexes[i];
        const struct recipient *to = &m->recipients[index];
        const struct envelope_rcpt *given = &r->envelope.rcpts[to->parent];
        bool itself = index == to->parent;
        out[i] = (struct delivery_rcpt){.index = index,
                                        .address = recipient_address(m, to),
                                        .notify = to->notify,
                                        .orcpt = orcpt_of(arena, given, !itself),
                                        /* nobody knows since when others stand in its place: RFC 7293 §8.2 */
                                        .rrvs = itself ? given->rrvs : 0,
                                        .valid_since = itself ? given->valid_since : 0,
                                        .attempt = to->attempts};
    }
}

/* The record of its message is at hand: off it goes. fd: of a large body, taken over. */
static bool send_delivery(struct queue *q, struct dispatch *d, struct vr_str payload, int fd)
{
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct record_message r;
    bool good = record_message_read(payload, &arena, &r) && r.envelope.id == d->message->id &&
                r.envelope.rcpt_count == d->message->given;
    struct delivery_rcpt *rcpts = good ? vr_arena_alloc(&arena, d->count * sizeof *rcpts) : NULL;
    if (rcpts != NULL) {
        fill_recipients(&arena, d, &r, rcpts);
        const struct envelope *e = &r.envelope;
        struct delivery out = {.id = d->id,
                               .message = e->id,
                               .next_hop = d->destination->next_hop,
                               .reverse_path = dispatch_reverse_path(q, &arena, d->message, d->indexes[0],
                                                                     &d->destination->next_hop),
                               .body = e->body,
                               .ret = e->ret,
                               .priority = e->priority,
                               .asks = e->asks,
                               .by = e->by,
                               .deliver_by = e->deliver_by,
                               .auth = e->auth,
                               .solicit = e->solicit,
                               .envid = e->envid,
                               .prefix = e->prefix,
                               .content = r.body,
                               .content_size = e->body_size,
                               .large = e->large,
                               .arrival_us = e->arrival_us,
                               .rcpts = rcpts,
                               .rcpt_count = d->count};
        struct vr_buf *frame = process_frame(q->process);
        ipc_put_delivery(frame, &out);
        peer_send(d->peer, IPC_DELIVER, frame, fd);
        if (!vr_str_equal(out.reverse_path, e->reverse_path))
            note_rewritten(q, d, e->reverse_path, out.reverse_path);
        event_begin(q->events, EVENT_DEBUG, "delivery.start", e->id);
        event_text(q->events, "destination", d->destination->name);
        event_u64(q->events, "recipients", d->count);
        event_end(q->events);
    } else if (fd >= 0) {
        io_fs_close(fd);
    }
    vr_arena_fini(&arena);
    return rcpts != NULL;
}

static void refuse_all(struct queue *q, struct dispatch *d, int status)
{
    struct message *m = d->message;
    bool lost = status == -EBADMSG || status == -ENOENT;
    event_begin(q->events, EVENT_ERROR, "body.unreadable", m->id);
    event_text(q->events, "error", io_error_text(status));
    event_text(q->events, "next",
               lost ? "the sender gets a report; check the disk under the spool"
                    : "it is read again in some minutes");
    event_end(q->events);
    if (lost) {
        results_refuse(q, m, d->indexes, d->count,
                       VR_STR("5.3.0 the message was damaged on the disk of this server"), true);
        dispatch_forget(q, d);
    } else {
        dispatch_return(q, d, READ_AGAIN_S);
    }
}

/* ---- reading bodies ---------------------------------------------------------------------------------------------------------------------------- */

struct fetch { /* a large body's file, once the record was read */
    struct queue *queue;
    struct dispatch *dispatch;
    struct vr_buf payload;
    char path[BODY_PATH];
    int fd;
};

/* Still wanted? The message may have been removed, the peer may have died meanwhile. */
static bool still_wanted(struct queue *q, struct dispatch *d)
{
    bool any = false;
    for (uint32_t i = 0; i < d->count; i++)
        any = any || d->message->recipients[d->indexes[i]].state == RECIPIENT_SENDING;
    struct peer *peer = any && !q->draining ? deliverer_for(q, d->destination) : NULL;
    if (peer == NULL) {
        dispatch_return(q, d, 1);
        return false;
    }
    dispatch_link(q, d, peer);
    return true;
}

static void fetch_work(void *arg)
{
    struct fetch *f = arg;
    f->fd = io_fs_open(f->path, IO_FS_READ | IO_FS_NO_FOLLOW, 0);
}

static void fetch_done(void *arg)
{
    struct fetch *f = arg;
    struct queue *q = f->queue;
    q->reading--;
    if (f->fd < 0)
        refuse_all(q, f->dispatch, f->fd);
    else if (!still_wanted(q, f->dispatch))
        io_fs_close(f->fd);
    else if (!send_delivery(q, f->dispatch, vr_buf_str(&f->payload), f->fd))
        refuse_all(q, f->dispatch, -EBADMSG);
    vr_buf_fini(&f->payload);
    free(f);
}

static void fetch_file(struct queue *q, struct dispatch *d, struct vr_str payload)
{
    struct fetch *f = calloc(1, sizeof *f);
    assert(f != NULL);
    f->queue = q;
    f->dispatch = d;
    vr_buf_init(&f->payload, QLOG_RECORD_MAX);
    vr_buf_add(&f->payload, payload);
    bodies_path(q, d->message->id, f->path);
    io_work(q->io, fetch_work, fetch_done, f);
}

struct reading {
    struct queue *queue;
    struct dispatch *dispatch;
};

static void read_done(void *arg, int status, const struct qlog_record *record)
{
    struct reading *r = arg;
    struct queue *q = r->queue;
    struct dispatch *d = r->dispatch;
    free(r);
    if (status == 0 && d->message->large) {
        fetch_file(q, d, record->payload);
        return;
    }
    q->reading--;
    if (status != 0)
        refuse_all(q, d, status);
    else if (still_wanted(q, d) && !send_delivery(q, d, record->payload, -1))
        refuse_all(q, d, -EBADMSG);
}

static void read_body(struct queue *q, struct dispatch *d)
{
    q->reading++;
    struct message *m = d->message;
    if (m->cached != NULL) { /* large: the record is at hand, the file is not */
        fetch_file(q, d, vr_str(m->cached->payload, m->cached->n));
        return;
    }
    struct reading *r = malloc(sizeof *r);
    assert(r != NULL);
    *r = (struct reading){q, d};
    qlog_read(q->log, m->position, m->record_length, read_done, r);
}

/* ---- the turn -------------------------------------------------------------------------------------------------------------------------------------- */

static struct dispatch *dispatch_new(struct queue *q, struct destination *d, struct message *m)
{
    uint32_t indexes[RECIPIENTS_MAX], n = 0;
    bool more = false;
    for (uint32_t i = 0; i < m->count && !more; i++) {
        const struct recipient *r = &m->recipients[i];
        if (r->state != RECIPIENT_READY || r->destination != d ||
            (n > 0 && is_forwarded(q, m, i, &d->next_hop) != is_forwarded(q, m, indexes[0], &d->next_hop)))
            continue; /* a delivery has one reverse path: the others come in their next turn */
        if (n < RECIPIENTS_MAX)
            indexes[n++] = i;
        else
            more = true;
    }
    if (n == 0)
        return NULL;
    struct dispatch *out = calloc(1, sizeof *out + n * sizeof *indexes);
    assert(out != NULL);
    *out = (struct dispatch){.id = ++q->last_delivery,
                             .message = m,
                             .destination = d,
                             .started_ms = io_monotonic_ms(q->io),
                             .count = n};
    memcpy(out->indexes, indexes, n * sizeof *indexes);
    for (uint32_t i = 0; i < n; i++)
        recipient_set(q, m, &m->recipients[indexes[i]], RECIPIENT_SENDING);
    idmap_add(&q->dispatches, out);
    message_hold(m);
    d->active++;
    return out;
}

bool dispatch_any_ready(const struct message *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->recipients[i].state == RECIPIENT_READY)
            return true;
    return false;
}

static bool dispatch_one(struct queue *q, struct destination *d)
{
    struct peer *peer = deliverer_for(q, d);
    if (peer == NULL)
        return false;
    for (struct message *m; (m = ready_next(q, d)) != NULL;) {
        bool at_hand = m->cached != NULL && !m->large;
        if (!at_hand && q->reading >= READING_MAX)
            return false;
        struct dispatch *delivery = dispatch_new(q, d, m);
        if (delivery == NULL) { /* served already, held, or removed */
            ready_drop(q, d);
            continue;
        }
        health_started(q, d);
        ready_turn(d);
        if (!at_hand) {
            read_body(q, delivery);
            return true;
        }
        dispatch_link(q, delivery, peer);
        bool sent = send_delivery(q, delivery, vr_str(m->cached->payload, m->cached->n), -1);
        assert(sent); /* it was packed by ourselves a moment ago */
        if (!dispatch_any_ready(m))
            cache_drop(q, m);
        return true;
    }
    return true;
}

bool dispatch_may_begin(struct queue *q)
{
    if (q->begun)
        return true;
    uint32_t introduced = 0;
    for (const struct peer *p = q->process->peers; p != NULL; p = p->next)
        if (p->role == IPC_SENDER || p->role == IPC_LOCAL)
            introduced += ((const struct deliverer *)p->data)->introduced;
    return (q->expected_known && introduced >= q->expected) || io_monotonic_ms(q->io) >= q->begin_at_ms;
}

void dispatch_turn(struct queue *q)
{
    if (!q->begun || q->draining)
        return;
    health_wake(q);
    bury_some(q);
    for (int h = 0; h < HEALTH_COUNT; h++)
        for (int fruitless = 0; q->rings[h].first != NULL && fruitless < FRUITLESS_MAX;) {
            struct destination *d = ring_take(&q->rings[h]);
            if (health_admits(q, d)) /* it may have died, or be spent, since it came here */
                fruitless = dispatch_one(q, d) ? 0 : fruitless + 1;
            dispatch_ring(q, d);
        }
}
