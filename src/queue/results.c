/* results.c - what senders and local report: done, later, never; and the peers' deaths.
 *
 * Rule: a result counts only for a recipient that is with that peer (SENDING). So a late or a repeated one changes nothing.
 * Tests: tests/unit/queue_process.c
 */
#include "queue/times.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX      (16u << 20)
#define PEER_DEATH_S   1
#define CANCELLED_S    1
#define EXPAND_AGAIN_S 60
#define REPLY_TEXT_MAX 512

/* What one frame of results changes. */
struct change {
    struct queue *queue;
    struct message *message;
    const struct dispatch *dispatch;       /* NULL: our own verdict */
    const struct destination *destination; /* NULL: unknown */
    const struct delivery_result *result;  /* likewise */
    struct report *report;
    uint32_t *save; /* indexes whose new state goes into a RESULT */
    uint32_t save_count;
    int64_t now_us;
};

static struct report *report_of(struct change *c)
{
    if (c->report == NULL)
        c->report = report_new(c->queue, c->message);
    return c->report;
}

static void note(struct change *c, enum event_level level, const char *name, const struct recipient *r,
                 struct vr_str reply)
{
    struct event_log *l = c->queue->events;
    event_begin(l, level, name, c->message->id);
    event_str(l, "to", recipient_address(c->message, r));
    if (c->destination != NULL)
        event_text(l, "destination", c->destination->name);
    if (c->result != NULL && c->result->remote_mta.n > 0)
        event_str(l, "remote", c->result->remote_mta);
    if (c->result != NULL && c->result->remote_ip.n > 0)
        event_str(l, "ip", c->result->remote_ip);
    if (c->result != NULL && c->result->tls)
        event_text(l, "tls", "yes");
    if (c->result != NULL && c->result->form != DELIVERY_AS_IT_WAS)
        event_text(l, "converted", c->result->form == DELIVERY_AS_7BIT ? "7bit" : "8bit");
    if (reply.n > 0)
        event_str(l, "reply", reply);
    event_u64(l, "attempt", r->attempts + 1u);
    event_u64(l, "delay_ms", (uint64_t)((c->now_us - c->message->arrival_us) / 1000));
    event_end(l);
}

/* "550 5.1.1 No such user" */
static struct vr_str reply_text(const struct delivery_rcpt_result *res, char out[REPLY_TEXT_MAX])
{
    int n = res->code != 0 ? snprintf(out, REPLY_TEXT_MAX, "%u ", res->code) : 0;
    n += snprintf(
        out + n, REPLY_TEXT_MAX - (size_t)n, "%.*s%s%.*s", (int)(res->enhanced.n < 16 ? res->enhanced.n : 16),
        res->enhanced.n > 0 ? res->enhanced.p : "", res->enhanced.n > 0 && res->text.n > 0 ? " " : "",
        (int)(res->text.n < 400 ? res->text.n : 400), res->text.n > 0 ? res->text.p : "");
    return vr_str(out, (size_t)n < REPLY_TEXT_MAX ? (size_t)n : REPLY_TEXT_MAX - 1);
}

static struct report_item item_of(const struct change *c, uint32_t index, enum dsn_action action,
                                  struct vr_str status, struct vr_str reply, bool smtp)
{
    return (struct report_item){.index = index,
                                .action = (uint8_t)action,
                                .status = status,
                                .diagnostic = reply,
                                .smtp = smtp,
                                .attempted = c->result != NULL,
                                .remote_mta = c->result != NULL ? c->result->remote_mta : vr_str(NULL, 0)};
}

static void report_item(struct change *c, uint32_t index, enum dsn_action action, struct vr_str status,
                        struct vr_str reply, bool smtp)
{
    struct report_item item = item_of(c, index, action, status, reply, smtp);
    report_add(report_of(c), &item);
}

static void keep(struct change *c, uint32_t index)
{
    c->save[c->save_count++] = index;
}

/* ---- the four ends of an attempt ---------------------------------------------------------------------------------------------------- */

static void succeed(struct change *c, uint32_t index, struct vr_str status, struct vr_str reply)
{
    struct message *m = c->message;
    struct recipient *r = &m->recipients[index];
    const struct destination *d = c->destination;
    bool relayed = d != NULL && (d->next_hop.kind == NEXT_HOP_MX || d->next_hop.kind == NEXT_HOP_SMTP);
    note(c, EVENT_INFO, "delivery.ok", r, reply);
    recipient_reply(c->queue, r, reply);
    /* A next hop that offers DSN reports the success itself (RFC 3461 §5.2.1), an LMTP server too. */
    enum dsn_action action = relayed ? DSN_RELAYED : DSN_DELIVERED;
    bool wanted = !c->result->dsn_relayed_on && report_wanted(action, r->notify, m->reverse_path_n == 0);
    if (wanted || (relayed && times_relayed(m, r, c->result->by_relayed_on, c->now_us))) {
        report_item(c, index, action, status, reply, reply.n > 0);
        recipient_set(c->queue, m, r, RECIPIENT_REPORTING);
        return;
    }
    recipient_set(c->queue, m, r, relayed ? RECIPIENT_RELAYED : RECIPIENT_DELIVERED);
    keep(c, index);
}

static void fail(struct change *c, uint32_t index, struct vr_str status, struct vr_str reply, bool smtp)
{
    struct message *m = c->message;
    struct recipient *r = &m->recipients[index];
    note(c, EVENT_NOTICE, "delivery.failed", r, reply);
    if (r->attempts < UINT16_MAX)
        r->attempts++;
    recipient_reply(c->queue, r, reply);
    if (report_wanted(DSN_FAILED, r->notify, m->reverse_path_n == 0)) {
        report_item(c, index, DSN_FAILED, status, reply, smtp);
        recipient_set(c->queue, m, r, RECIPIENT_REPORTING);
        return;
    }
    event_begin(c->queue->events, EVENT_NOTICE, "dsn.dropped", m->id);
    event_str(c->queue->events, "to", recipient_address(m, r));
    event_text(c->queue->events, "reason",
               m->reverse_path_n == 0 ? "the message is a report itself (empty reverse-path)"
                                      : "NOTIFY does not ask for it");
    event_end(c->queue->events);
    recipient_set(c->queue, m, r, RECIPIENT_FAILED);
    keep(c, index);
}

/* "Delayed": the sender hears of it once, and a report about several has one date for each. */
static void warn(struct change *c, uint32_t index, struct vr_str status, struct vr_str reply, bool smtp)
{
    c->message->recipients[index].flags |= RECIPIENT_WARNED;
    report_item(c, index, DSN_DELAYED, status, reply, smtp);
}

/* RFC 2852 §4.1.3 */
static void tell_late(struct change *c, uint32_t index, struct vr_str reply, bool smtp)
{
    c->message->recipients[index].flags |= RECIPIENT_LATE;
    struct report_item item = item_of(c, index, DSN_DELAYED, VR_STR("4.4.7"), reply, smtp);
    item.late = true;
    report_add(report_of(c), &item);
}

static void defer(struct change *c, uint32_t index, struct vr_str status, struct vr_str reply, bool smtp)
{
    struct queue *q = c->queue;
    struct message *m = c->message;
    struct recipient *r = &m->recipients[index];
    int64_t base_us = times_base_us(m, c->now_us);
    bool returns = times_returns(m, c->now_us);
    if (returns || retry_expired(q->config, base_us, c->now_us)) {
        fail(c, index, returns ? VR_STR("5.4.7") : VR_STR("4.4.7"), reply, smtp);
        return;
    }
    note(c, EVENT_INFO, "delivery.deferred", r, reply);
    uint32_t random;
    io_random(q->io, &random, sizeof random);
    if (r->attempts < UINT16_MAX)
        r->attempts++;
    r->next = times_attempt(m, retry_time(q->config, r->attempts, base_us, c->now_us, random), c->now_us);
    recipient_reply(q, r, reply);
    recipient_set(q, m, r, RECIPIENT_WAITING);
    if (times_late(m, r, c->now_us))
        tell_late(c, index, reply, smtp);
    else if (retry_warns(q->config, base_us, c->now_us, r->notify, r->flags, m->reverse_path_n == 0))
        warn(c, index, status, reply, smtp);
    else
        keep(c, index); /* a report takes the state with it */
}

static void no_mailbox(struct change *c, uint32_t index, struct vr_str reply)
{
    struct message *m = c->message;
    struct recipient *r = &m->recipients[index];
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct vr_str *addresses = NULL;
    uint32_t n = r->flags & RECIPIENT_CAUGHT
                     ? 0
                     : router_catch_all(c->queue, &arena, recipient_address(m, r), &addresses);
    if (n > 0)
        results_expand(c->queue, m, index, addresses, n, RECIPIENT_CAUGHT);
    else
        fail(c, index, VR_STR("5.1.1"), reply.n > 0 ? reply : VR_STR("5.1.1 no such mailbox"), false);
    vr_arena_fini(&arena);
}

/* ---- expansion after intake ------------------------------------------------------------------------------------------------------------ */

struct expansion {
    struct queue *queue;
    struct message *message;
    struct vr_arena arena;
    struct vr_str *addresses;
    uint32_t index, n;
    uint8_t flags;
};

static void expand_done(void *arg, int status)
{
    struct expansion *x = arg;
    struct queue *q = x->queue;
    struct message *m = x->message;
    struct recipient *r = &m->recipients[x->index];
    if (status == 0) {
        bool removed = r->state != RECIPIENT_REPORTING; /* by an administrator, meanwhile */
        event_begin(q->events, EVENT_INFO, "recipient.expanded", m->id);
        event_str(q->events, "from", recipient_address(m, r));
        event_u64(q->events, "to", x->n);
        event_end(q->events);
        uint32_t first = message_expand(q, m, x->index, x->addresses, x->n, x->flags);
        for (uint32_t i = first; removed && i < m->count; i++)
            recipient_set(q, m, &m->recipients[i], RECIPIENT_REMOVED);
        if (removed)
            result_save(q, m, NULL, 0);
    } else if (r->state == RECIPIENT_REPORTING) {
        guard_full(q, status);
        r->next = NOW_S(q) + EXPAND_AGAIN_S;
        recipient_set(q, m, r, RECIPIENT_WAITING);
    }
    message_begin(q, m); /* the report about the expansion, when one is owed */
    vr_arena_fini(&x->arena);
    free(x);
    message_release(q, m);
}

void results_expand(struct queue *q, struct message *m, uint32_t index, const struct vr_str *addresses,
                    uint32_t n, uint8_t flags)
{
    struct expansion *x = calloc(1, sizeof *x);
    assert(x != NULL);
    *x = (struct expansion){.queue = q, .message = m, .index = index, .n = n, .flags = flags};
    vr_arena_init(&x->arena, ARENA_MAX);
    x->addresses = vr_arena_alloc(&x->arena, n * sizeof *x->addresses);
    assert(x->addresses != NULL);
    for (uint32_t i = 0; i < n; i++)
        x->addresses[i] = vr_arena_dup(&x->arena, addresses[i]);
    vr_buf_reset(&q->scratch);
    record_expand(&q->scratch, m->id, index, flags, addresses, n);
    struct vr_str payload = vr_buf_str(&q->scratch);
    recipient_set(q, m, &m->recipients[index], RECIPIENT_REPORTING);
    message_hold(m);
    if (qlog_append(q->log, RECORD_EXPAND, RECORD_VERSION, &payload, 1, QLOG_URGENT, expand_done, x) == 0)
        expand_done(x, -1);
}

/* ---- results --------------------------------------------------------------------------------------------------------------------------- */

static void apply(struct change *c, const struct delivery_rcpt_result *res)
{
    char buffer[REPLY_TEXT_MAX];
    struct vr_str reply = reply_text(res, buffer);
    struct vr_str status = res->enhanced.n > 0                 ? res->enhanced
                           : res->status == DELIVERY_TEMPORARY ? VR_STR("4.0.0")
                           : res->status == DELIVERY_OK        ? VR_STR("2.0.0")
                                                               : VR_STR("5.0.0");
    switch (res->status) {
    case DELIVERY_OK:
        succeed(c, res->index, status, reply);
        break;
    case DELIVERY_TEMPORARY:
        defer(c, res->index, status, reply, res->code != 0);
        break;
    case DELIVERY_NO_MAILBOX:
        no_mailbox(c, res->index, reply);
        break;
    case DELIVERY_CANCELLED:
        break; /* dispatch_return gives it back */
    case DELIVERY_PERMANENT:
    default:
        fail(c, res->index, status, reply, res->code != 0);
        break;
    }
}

static void change_end(struct change *c)
{
    if (c->save_count > 0)
        result_save(c->queue, c->message, c->save, c->save_count);
    free(c->save);
    report_send(c->report);
}

static bool asked_for(const struct dispatch *d, uint32_t index)
{
    for (uint32_t i = 0; i < d->count; i++)
        if (d->indexes[i] == index)
            return true;
    return false;
}

static struct dispatch *dispatch_of(struct queue *q, const struct peer *peer,
                                    const struct delivery_result *res)
{
    struct dispatch *d = res->delivery != 0 ? idmap_find(&q->dispatches, res->delivery) : NULL;
    if (d != NULL)
        return d->peer == peer && d->message->id == res->message ? d : NULL;
    for (d = ((struct deliverer *)peer->data)->first; d != NULL;
         d = d->next) /* taken over from an earlier queue */
        for (uint32_t i = 0; d->id == 0 && d->message->id == res->message && i < res->rcpt_count; i++)
            if (asked_for(d, res->rcpts[i].index))
                return d;
    return NULL;
}

/* An earlier queue wrote it down. Counted twice it would double the pause, and at each reload once more. */
static bool is_repeated(const struct recipient *r, const struct delivery_rcpt_result *res)
{
    return res->status == DELIVERY_TEMPORARY && res->attempt < r->attempts;
}

/* What the delivery taught about its destination. */
static void note_health(struct queue *q, const struct dispatch *d, const struct delivery_result *res)
{
    char buffer[REPLY_TEXT_MAX];
    const struct delivery_rcpt_result *said = NULL;
    for (uint32_t i = 0; i < res->rcpt_count && said == NULL; i++)
        if (res->rcpts[i].status != DELIVERY_CANCELLED)
            said = &res->rcpts[i];
    if (d->destination == NULL || said == NULL)
        return;
    if (res->unreachable)
        health_failed(q, d->destination, d->started_ms, reply_text(said, buffer));
    else if (res->remote_mta.n > 0 || d->destination->next_hop.kind == NEXT_HOP_MAILDIR)
        health_good(q, d->destination);
}

void results_frame(struct queue *q, struct peer *peer, struct vr_str payload)
{
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct ipc_reader reader = ipc_reader(payload);
    struct delivery_result res;
    bool good = ipc_get_result(&reader, &arena, &res);
    struct dispatch *d = good ? dispatch_of(q, peer, &res) : NULL;
    if (d != NULL) {
        struct message *m = d->message;
        message_hold(m);
        struct change c = {.queue = q,
                           .message = m,
                           .dispatch = d,
                           .destination = d->destination,
                           .result = &res,
                           .now_us = io_now_us(q->io)};
        c.save = calloc(d->count, sizeof *c.save);
        assert(c.save != NULL);
        uint32_t applied = 0;
        for (uint32_t i = 0; i < res.rcpt_count; i++) {
            uint32_t index = res.rcpts[i].index;
            if (index >= m->count || m->recipients[index].state != RECIPIENT_SENDING ||
                !asked_for(d, index) || is_repeated(&m->recipients[index], &res.rcpts[i]))
                continue;
            apply(&c, &res.rcpts[i]);
            applied++;
        }
        if (applied > 0)
            note_health(q, d, &res);
        dispatch_return(
            q, d, CANCELLED_S); /* those of which nothing final was said; schedules the deferred ones too */
        change_end(&c);
        message_release(q, m);
    } else {
        event_begin(q->events, good ? EVENT_DEBUG : EVENT_ERROR, good ? "result.stale" : "result.malformed",
                    good ? res.message : 0);
        event_text(q->events, "from", ipc_role_name(peer->role));
        event_end(q->events);
    }
    vr_arena_fini(&arena);
}

void results_refuse(struct queue *q, struct message *m, const uint32_t *indexes, uint32_t n,
                    struct vr_str words, bool permanent)
{
    struct change c = {.queue = q, .message = m, .now_us = io_now_us(q->io)};
    c.save = calloc(n + 1u, sizeof *c.save);
    assert(c.save != NULL);
    struct vr_str status;
    if (!dsn_status_find(words, &status))
        status = permanent ? VR_STR("5.0.0") : VR_STR("4.0.0");
    message_hold(m);
    for (uint32_t i = 0; i < n; i++) {
        if (recipient_final(m->recipients[indexes[i]].state) ||
            m->recipients[indexes[i]].state == RECIPIENT_REPORTING)
            continue;
        if (permanent)
            fail(&c, indexes[i], status, words, false);
        else
            defer(&c, indexes[i], status, words, false);
    }
    change_end(&c);
    message_release(q, m);
}

/* What was said last about a recipient, or that nothing was. */
static struct vr_str last_words(const struct recipient *r, bool *smtp)
{
    struct vr_str reply = text_str(r->reply);
    uint64_t code;
    *smtp = reply.n > 4 && reply.p[3] == ' ' && vr_str_to_u64(vr_str_sub(reply, 0, 3), &code);
    return reply.n > 0 ? reply : VR_STR("it could not be handed on in the time that its sender gave");
}

void results_overdue(struct queue *q, struct message *m)
{
    struct change c = {.queue = q, .message = m, .now_us = io_now_us(q->io)};
    c.save = calloc(m->count, sizeof *c.save);
    assert(c.save != NULL);
    bool returns = times_returns(m, c.now_us), smtp;
    message_hold(m);
    for (uint32_t i = 0; i < m->count; i++) {
        struct recipient *r = &m->recipients[i];
        if (r->state != RECIPIENT_WAITING && r->state != RECIPIENT_READY)
            continue; /* of one that is being sent its result tells: defer */
        struct vr_str words = last_words(r, &smtp);
        if (returns)
            fail(&c, i, VR_STR("5.4.7"), words, smtp);
        else if (times_late(m, r, c.now_us))
            tell_late(&c, i, words, smtp);
    }
    change_end(&c);
    message_release(q, m);
}

bool results_parked(struct queue *q, struct message *m, uint32_t index, struct destination *d)
{
    struct recipient *r = &m->recipients[index];
    uint32_t until, save;
    if (q->retrying)
        health_retry(q, d);
    if (q->retrying || !health_parks(q, d, &until))
        return false;
    struct change c = {.queue = q, .message = m, .destination = d, .save = &save, .now_us = io_now_us(q->io)};
    struct vr_str reason = text_str(d->reason);
    message_hold(m);
    int64_t base_us = times_base_us(m, c.now_us);
    if (retry_expired(q->config, base_us, c.now_us)) {
        fail(&c, index, VR_STR("4.4.7"), reason, false);
    } else {
        if (r->reply != d->reason && d->reason != NULL) { /* told once, not at each look */
            note(&c, EVENT_INFO, "delivery.deferred", r, reason);
            recipient_reply(q, r, reason);
        }
        r->next = times_attempt(m, retry_bound(q->config, base_us, r, until, c.now_us), c.now_us);
        recipient_set(q, m, r, RECIPIENT_WAITING);
        if (retry_warns(q->config, base_us, c.now_us, r->notify, r->flags, m->reverse_path_n == 0))
            warn(&c, index, VR_STR("4.4.1"), reason, false);
    }
    if (c.save_count > 0)
        result_save(q, m, c.save, c.save_count);
    report_send(c.report);
    message_release(q, m);
    return true;
}

/* ---- peers ---------------------------------------------------------------------------------------------------------------------------------- */

static bool take_over(struct queue *q, struct peer *peer, struct message *m, const uint32_t *indexes,
                      uint32_t n)
{
    struct dispatch *d = calloc(1, sizeof *d + n * sizeof *indexes);
    assert(d != NULL);
    d->message = m;
    d->started_ms = io_monotonic_ms(q->io);
    for (uint32_t i = 0; i < n; i++) {
        struct recipient *r = indexes[i] < m->count ? &m->recipients[indexes[i]] : NULL;
        if (r == NULL || (r->state != RECIPIENT_WAITING && r->state != RECIPIENT_READY))
            continue;
        struct vr_arena arena;
        vr_arena_init(&arena, ARENA_MAX);
        struct routed routed = {.found = r->destination != NULL};
        if (r->destination == NULL)
            router_route(q, &arena, m, r, &routed);
        if (r->destination == NULL && routed.found)
            r->destination = destination_get(q, &routed.next_hop);
        vr_arena_fini(&arena);
        if (d->destination == NULL && r->destination != NULL) {
            d->destination = r->destination;
            d->destination->active++;
        }
        recipient_set(q, m, r, RECIPIENT_SENDING);
        d->indexes[d->count++] = indexes[i];
    }
    if (d->count == 0) { /* its result is written down already */
        free(d);
        return false;
    }
    message_hold(m);
    dispatch_link(q, d, peer);
    return true;
}

void results_inflight(struct queue *q, struct peer *peer, struct vr_str payload)
{
    ((struct deliverer *)peer->data)->introduced = true;
    struct ipc_reader r = ipc_reader(payload);
    uint32_t n = ipc_get_u32(&r), taken = 0;
    for (uint32_t i = 0; i < n && !r.bad; i++) {
        struct message *m = idmap_find(&q->messages, ipc_get_u64(&r));
        uint32_t count = ipc_get_u32(&r);
        if (r.bad || (uint64_t)count * 4 > r.rest.n)
            break;
        uint32_t *indexes = calloc(count + 1u, sizeof *indexes);
        assert(indexes != NULL);
        for (uint32_t k = 0; k < count; k++)
            indexes[k] = ipc_get_u32(&r);
        if (m != NULL && m->durable)
            taken += take_over(q, peer, m, indexes, count);
        free(indexes);
    }
    if (taken == 0)
        return;
    event_begin(q->events, EVENT_INFO, "delivery.taken_over", 0);
    event_text(q->events, "from", ipc_role_name(peer->role));
    event_u64(q->events, "deliveries", taken);
    event_end(q->events);
}

void results_orphaned(struct queue *q, enum ipc_role role, struct vr_str payload)
{
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct ipc_reader r = ipc_reader(payload);
    struct delivery_result res;
    struct message *m = ipc_get_result(&r, &arena, &res) ? idmap_find(&q->messages, res.message) : NULL;
    uint32_t *indexes = m != NULL ? vr_arena_alloc(&arena, res.rcpt_count * sizeof *indexes) : NULL;
    struct deliverer last = {0};
    struct peer gone = {.role = role, .data = &last};
    for (uint32_t i = 0; indexes != NULL && i < res.rcpt_count; i++)
        indexes[i] = res.rcpts[i].index;
    if (indexes != NULL && m->durable && take_over(q, &gone, m, indexes, res.rcpt_count))
        results_frame(q, &gone, payload);
    while (last.first != NULL) /* cannot be: the result names what was taken over */
        dispatch_return(q, last.first, CANCELLED_S);
    vr_arena_fini(&arena);
}

void results_peer_gone(struct queue *q, struct peer *peer)
{
    struct deliverer *w = peer->data;
    if (w == NULL)
        return;
    uint32_t n = 0;
    for (int h = 0; h < HEALTH_COUNT; h++)
        n += w->counts[h];
    while (w->first != NULL)
        dispatch_return(q, w->first, PEER_DEATH_S);
    if (n > 0) {
        event_begin(q->events, EVENT_WARNING, "delivery.interrupted", 0);
        event_text(q->events, "peer", ipc_role_name(peer->role));
        event_u64(q->events, "deliveries", n);
        event_text(q->events, "next", "they are tried again in a second");
        event_end(q->events);
    }
    free(w);
    peer->data = NULL;
}
