/* intake.c - a message comes in: its aliases are expanded, one record is appended, and when that is durable the receiver may say 250.
 *
 * Promise: IPC_SUBMIT_OK is sent only for a message whose record (and file, when it is large) survives the loss of power.
 * Tests:   tests/unit/queue_process.c
 */
#include "queue/inside.h"

#include <veredus/message.h>
#include <veredus/smtp.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX (32u << 20)

/* ---- answers --------------------------------------------------------------------------------------------------------------- */

static void answer(struct queue *q, uint32_t slot, uint64_t id, enum ipc_submitted what)
{
    for (struct peer *p = q->process->peers; p != NULL; p = p->next) {
        if ((p->role & (IPC_RECEIVER | IPC_REPORTER)) == 0 || p->slot != slot)
            continue;
        struct vr_buf *frame = process_frame(q->process);
        ipc_put_u64(frame, id);
        ipc_put_u8(frame, (uint8_t)what);
        peer_send(p, IPC_SUBMITTED, frame, -1);
    }
}

static enum ipc_submitted refusal(int status)
{
    return status == -ENOSPC || status == -EDQUOT ? IPC_SUBMIT_FULL : IPC_SUBMIT_ERROR;
}

/* ---- storing ------------------------------------------------------------------------------------------------------------------ */

struct incoming {
    struct envelope envelope;
    struct vr_str envelope_bytes, body, cause;
};

static void note_expansions(struct queue *q, const struct envelope *e, const struct router_plan *plan)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        event_begin(q->events, EVENT_INFO, "recipient.expanded", e->id);
        event_str(q->events, "from", e->rcpts[plan->targets[i].parent].address);
        event_str(q->events, "to", plan->targets[i].address);
        event_end(q->events);
    }
}

static void set_destinations(struct queue *q, struct message *m, const struct router_plan *plan)
{
    for (uint32_t i = 0; i < m->count; i++) {
        const struct next_hop *h = i < m->given ? &plan->given_hops[i] : &plan->target_hops[i - m->given];
        if (m->recipients[i].state == RECIPIENT_WAITING && h->kind != 0 && h->kind != NEXT_HOP_ERROR)
            m->recipients[i].destination = destination_get(q, h);
    }
}

/* Appends the record and puts the message into the index, not durable yet, with one reference for the record. NULL: it cannot be. */
static struct message *store(struct queue *q, const struct incoming *in,
                             void (*durable)(void *arg, int status), void *arg)
{
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct router_plan plan;
    struct message *m = NULL;
    if (router_plan(q, &arena, &in->envelope, &plan)) {
        vr_buf_reset(&q->scratch);
        record_message_head(&q->scratch, in->envelope_bytes, plan.targets, plan.count, in->cause);
        struct vr_str parts[] = {vr_buf_str(&q->scratch), in->body};
        struct record_message r = {.envelope = in->envelope,
                                   .targets = plan.targets,
                                   .target_count = plan.count,
                                   .length = (uint32_t)(parts[0].n + parts[1].n)};
        if (!q->scratch.too_big)
            r.position = qlog_append(q->log, RECORD_MESSAGE, RECORD_MESSAGE_VERSION, parts, 2, QLOG_URGENT,
                                     durable, arg);
        if (r.position != 0) {
            m = message_new(&r);
            qlog_alive(q->log, m->position, m->record_length);
            message_add(q, m);
            message_hold(m);
            if (!m->held) { /* else nothing of this is wanted soon */
                cache_add(q, m, parts, 2);
                set_destinations(q, m, &plan);
            }
            note_expansions(q, &in->envelope, &plan);
        }
    }
    vr_arena_fini(&arena);
    return m;
}

static void refused(struct queue *q, struct message *m, int status)
{
    guard_full(q, status);
    qlog_dead(q->log, m->position, m->record_length);
    m->dead = true;
    if (m->large)
        bodies_unlink(q, m->id);
    message_release(q, m);
}

void message_begin(struct queue *q, struct message *m)
{
    struct report *report = NULL;
    for (uint32_t i = 0; i < m->count; i++) {
        struct recipient *r = &m->recipients[i];
        if (r->state != RECIPIENT_EXPANDING)
            continue;
        if (report == NULL)
            report = report_new(q, m);
        struct report_item item = {.index = i, .action = DSN_EXPANDED, .status = VR_STR("2.0.0")};
        report_add(report, &item);
        recipient_set(q, m, r, RECIPIENT_REPORTING);
    }
    message_hold(m);
    schedule_message(q, m);
    report_send(report);
    message_release(q, m);
}

/* ---- from receivers ------------------------------------------------------------------------------------------------------------- */

struct pending {
    struct queue *queue;
    struct message *message;
    uint32_t slot; /* of the receiver */
    char client[48], user[80];
};

static void copy_short(char *out, size_t size, struct vr_str s)
{
    size_t n = s.n < size - 1 ? s.n : size - 1;
    if (n > 0)
        memcpy(out, s.p, n);
    out[n] = '\0';
}

static void note_time(struct event_log *l, const char *key, uint32_t seconds)
{
    char text[MESSAGE_RFC3339_SIZE];
    event_str(l, key, vr_str(text, message_rfc3339_write(text, (int64_t)seconds * 1000000)));
}

static void note_queued(const struct pending *p)
{
    const struct message *m = p->message;
    struct event_log *l = p->queue->events;
    event_begin(l, EVENT_INFO, "message.queued", m->id);
    event_str(l, "from", message_reverse_path(m));
    event_u64(l, "size", m->size);
    event_u64(l, "recipients", m->given);
    if (p->client[0] != '\0')
        event_text(l, "client", p->client);
    if (p->user[0] != '\0')
        event_text(l, "user", p->user);
    if (m->priority != 0) {
        char text[8];
        snprintf(text, sizeof text, "%d", m->priority);
        event_text(l, "priority", text);
    }
    if (m->hold_until > 0)
        note_time(l, "hold_until", m->hold_until);
    if (m->by != SMTP_BY_NONE)
        note_time(l, "deliver_by", m->deliver_by);
    event_end(l);
}

static void submit_durable(void *arg, int status)
{
    struct pending *p = arg;
    struct queue *q = p->queue;
    struct message *m = p->message;
    if (status != 0) {
        answer(q, p->slot, m->id, refusal(status));
        refused(q, m, status);
    } else {
        m->durable = true;
        answer(q, p->slot, m->id, IPC_SUBMIT_OK);
        note_queued(p);
        message_begin(q, m);
        message_release(q, m);
    }
    free(p);
}

static void submit(struct queue *q, uint32_t slot, const struct incoming *in)
{
    struct pending *p = calloc(1, sizeof *p);
    assert(p != NULL);
    *p = (struct pending){.queue = q, .slot = slot};
    copy_short(p->client, sizeof p->client, in->envelope.client);
    copy_short(p->user, sizeof p->user, in->envelope.user);
    p->message = store(q, in, submit_durable, p);
    if (p->message != NULL)
        return;
    free(p);
    event_begin(q->events, EVENT_ERROR, "message.refused", in->envelope.id);
    event_text(q->events, "reason",
               "more waits for the disk than may, or its aliases lead to too many recipients");
    event_end(q->events);
    if (in->envelope.large)
        bodies_unlink(q, in->envelope.id);
    answer(q, slot, in->envelope.id, IPC_SUBMIT_ERROR);
}

static bool incoming_read(struct vr_str envelope_and_body, struct vr_arena *arena, struct incoming *out)
{
    *out = (struct incoming){0};
    struct ipc_reader r = ipc_reader(envelope_and_body);
    if (!ipc_get_envelope(&r, arena, &out->envelope))
        return false;
    out->envelope_bytes = vr_str(envelope_and_body.p, envelope_and_body.n - r.rest.n);
    out->body = ipc_get_str(&r);
    const struct envelope *e = &out->envelope;
    return ipc_done(&r) && e->id != 0 && e->rcpt_count > 0 &&
           (e->large ? out->body.n == 0 : out->body.n == e->body_size);
}

struct large {
    struct queue *queue;
    uint32_t slot;
    struct vr_buf payload; /* the SUBMIT frame's */
};

static void large_durable(void *arg, int status)
{
    struct large *l = arg;
    struct queue *q = l->queue;
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct incoming in;
    bool good = incoming_read(vr_buf_str(&l->payload), &arena, &in);
    assert(good); /* it was read before */
    if (status == 0) {
        submit(q, l->slot, &in);
    } else {
        guard_full(q, status);
        answer(q, l->slot, in.envelope.id, refusal(status));
    }
    vr_arena_fini(&arena);
    vr_buf_fini(&l->payload);
    free(l);
}

static void submit_large(struct queue *q, uint32_t slot, const struct incoming *in, struct vr_str payload)
{
    if (bodies_committing(q, in->envelope.id)) /* asked twice: it is answered once */
        return;
    struct large *l = calloc(1, sizeof *l);
    assert(l != NULL);
    l->queue = q;
    l->slot = slot;
    vr_buf_init(&l->payload, payload.n + 1);
    vr_buf_add(&l->payload, payload);
    bodies_commit(q, in->envelope.id, in->envelope.body_size, large_durable, l);
}

void intake_submit(struct queue *q, struct peer *peer, struct vr_str payload)
{
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct incoming in;
    if (!incoming_read(payload, &arena, &in)) {
        event_begin(q->events, EVENT_ERROR, "message.malformed", in.envelope.id);
        event_u64(q->events, "slot", peer->slot);
        event_text(q->events, "next", "report this: the receiver packs what the queue does not read");
        event_end(q->events);
        answer(q, peer->slot, in.envelope.id, IPC_SUBMIT_ERROR);
        vr_arena_fini(&arena);
        return;
    }
    uint64_t id = in.envelope.id;
    struct message *known = idmap_find(&q->messages, id);
    if (known != NULL) {
        if (known->durable) /* the acknowledgement was lost with an earlier queue */
            answer(q, peer->slot, id, IPC_SUBMIT_OK);
    } else if (finished_recently(q, id)) {
        answer(q, peer->slot, id, IPC_SUBMIT_OK);
    } else if (guard_refuses(q)) {
        if (in.envelope.large)
            bodies_drop(q, id);
        answer(q, peer->slot, id, IPC_SUBMIT_FULL);
    } else if (in.envelope.large) {
        submit_large(q, peer->slot, &in, payload);
    } else {
        submit(q, peer->slot, &in);
    }
    vr_arena_fini(&arena);
}

/* ---- from ourselves ---------------------------------------------------------------------------------------------------------------- */

struct own {
    struct queue *queue;
    struct message *message;
    void (*durable)(void *arg, int status);
    void *arg;
};

static void own_durable(void *arg, int status)
{
    struct own *o = arg;
    struct queue *q = o->queue;
    struct message *m = o->message;
    o->durable(o->arg, status);
    if (status != 0) {
        refused(q, m, status);
    } else {
        m->durable = true;
        message_begin(q, m);
        message_release(q, m);
    }
    free(o);
}

bool intake_own(struct queue *q, const struct envelope *e, struct vr_str body, struct vr_str cause,
                void (*durable)(void *arg, int status), void *arg)
{
    vr_buf_reset(&q->scratch2);
    ipc_put_envelope(&q->scratch2, e);
    struct vr_buf packed = q->scratch2; /* store() may need scratch2 for destinations' names */
    vr_buf_init(&q->scratch2, QLOG_RECORD_MAX);
    struct incoming in = {
        .envelope = *e, .envelope_bytes = vr_buf_str(&packed), .body = body, .cause = cause};
    struct own *o = malloc(sizeof *o);
    assert(o != NULL);
    *o = (struct own){.queue = q, .durable = durable, .arg = arg};
    o->message = store(q, &in, own_durable, o);
    bool stored = o->message != NULL;
    if (!stored)
        free(o);
    vr_buf_fini(&packed);
    return stored;
}
