/* records.c - what the records of the log say, replaying them, saving states, moving what lives.
 *
 * Rules: a RESULT holds states, not changes, so that saying it twice does no harm; a MESSAGE that comes again is the same one at a new
 * place (moved); a RESULT about nobody is old news; what the entry of a checkpoint reflects already is not replayed onto it (an EXPAND
 * would add its recipients twice).
 * Layout: docs/queue-format.md. Tests: tests/unit/queue_index.c, tests/unit/queue_process.c
 */
#include "queue/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX    (16u << 20)
#define RESULT_ITEMS 4096u /* states in one record: replies of 512 bytes stay below QLOG_RECORD_MAX */
/* flags of the message in a RESULT */
#define RESULT_HELD  1u
#define RESULT_TIMED 2u /* … until its time of release */

/* ---- MESSAGE ------------------------------------------------------------------------------------------------------------- */

void record_message_head(struct vr_buf *b, struct vr_str envelope_bytes, const struct record_target *targets,
                         uint32_t n, struct vr_str cause)
{
    ipc_put_str(b, envelope_bytes);
    ipc_put_u32(b, n);
    for (uint32_t i = 0; i < n; i++) {
        ipc_put_u32(b, targets[i].parent);
        ipc_put_str(b, targets[i].address);
    }
    ipc_put_str(b, cause);
}

bool record_message_read(struct vr_str payload, struct vr_arena *arena, struct record_message *out)
{
    *out = (struct record_message){.length = (uint32_t)payload.n};
    struct ipc_reader r = ipc_reader(payload);
    out->envelope_bytes = ipc_get_str(&r);
    struct ipc_reader e = ipc_reader(out->envelope_bytes);
    if (!ipc_get_envelope_of(&e, arena, &out->envelope) || !ipc_done(&e))
        return false;
    uint32_t n = ipc_get_u32(&r);
    if (r.bad || (uint64_t)n * 8 > r.rest.n)
        return false;
    out->targets = vr_arena_alloc(arena, (n + 1u) * sizeof *out->targets);
    if (out->targets == NULL)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        out->targets[i].parent = ipc_get_u32(&r);
        out->targets[i].address = ipc_get_str(&r);
        if (out->targets[i].parent >= out->envelope.rcpt_count)
            return false;
    }
    out->target_count = n;
    out->cause = ipc_get_str(&r);
    out->body = r.rest;
    return !r.bad && out->envelope.id != 0;
}

/* ---- RESULT ---------------------------------------------------------------------------------------------------------------- */

static uint8_t state_to_keep(uint8_t state)
{
    return state == RECIPIENT_EXPANDING || recipient_final(state) ? state : RECIPIENT_WAITING;
}

void record_result(struct vr_buf *b, const struct message *m, const uint32_t *indexes, const uint8_t *states,
                   uint32_t n)
{
    uint32_t told = 0;
    for (uint32_t i = 0; i < n; i++)
        told += (states != NULL ? states[i] : m->recipients[indexes[i]].state) != RECIPIENT_REPORTING;
    ipc_put_u64(b, m->id);
    ipc_put_u8(b, (uint8_t)((m->held ? RESULT_HELD : 0) | (m->timed ? RESULT_TIMED : 0)));
    ipc_put_u32(b, told);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t index = indexes[i];
        const struct recipient *r = &m->recipients[index];
        uint8_t state = states != NULL ? states[i] : r->state;
        if (state == RECIPIENT_REPORTING)
            continue;
        ipc_put_u32(b, index);
        ipc_put_u8(b, state_to_keep(state));
        ipc_put_u8(b, r->flags & (uint8_t)~RECIPIENT_PASSES);
        ipc_put_u32(b, r->attempts);
        ipc_put_u32(b, r->next);
        ipc_put_str(b, text_str(r->reply));
    }
}

bool record_result_read(struct vr_str payload, struct record_result *out)
{
    *out = (struct record_result){.in = ipc_reader(payload)};
    out->id = ipc_get_u64(&out->in);
    uint8_t flags = ipc_get_u8(&out->in);
    out->held = (flags & RESULT_HELD) != 0;
    out->timed = (flags & RESULT_HELD) && (flags & RESULT_TIMED);
    out->left = ipc_get_u32(&out->in);
    return !out->in.bad;
}

bool record_result_next(struct record_result *r, struct record_result_item *out)
{
    if (r->left == 0 || r->in.bad)
        return false;
    r->left--;
    out->index = ipc_get_u32(&r->in);
    out->state = ipc_get_u8(&r->in);
    out->flags = ipc_get_u8(&r->in);
    out->attempts = ipc_get_u32(&r->in);
    out->next = ipc_get_u32(&r->in);
    out->reply = ipc_get_str(&r->in);
    return !r->in.bad;
}

/* ---- EXPAND ---------------------------------------------------------------------------------------------------------------- */

void record_expand(struct vr_buf *b, uint64_t id, uint32_t parent, uint8_t flags,
                   const struct vr_str *addresses, uint32_t n)
{
    ipc_put_u64(b, id);
    ipc_put_u32(b, parent);
    ipc_put_u8(b, flags);
    ipc_put_u32(b, n);
    for (uint32_t i = 0; i < n; i++)
        ipc_put_str(b, addresses[i]);
}

bool record_expand_read(struct vr_str payload, struct record_expand *out)
{
    *out = (struct record_expand){.in = ipc_reader(payload)};
    out->id = ipc_get_u64(&out->in);
    out->parent = ipc_get_u32(&out->in);
    out->flags = ipc_get_u8(&out->in);
    out->n = ipc_get_u32(&out->in);
    return !out->in.bad && (uint64_t)out->n * 4 <= out->in.rest.n;
}

/* ---- replay ------------------------------------------------------------------------------------------------------------------ */

static void replay_result(struct queue *q, struct vr_str payload, qlog_position position)
{
    struct record_result r;
    bool good = record_result_read(payload, &r);
    struct message *m = good ? idmap_find(&q->messages, r.id) : NULL;
    if (m == NULL || restore_reflects(q, m, position))
        return;
    message_set_held(q, m, r.held);
    m->timed = r.timed;
    for (struct record_result_item item; record_result_next(&r, &item);) {
        if (item.index >= m->count)
            continue;
        struct recipient *to = &m->recipients[item.index];
        recipient_set(q, m, to, state_to_keep(item.state));
        to->flags = item.flags & RECIPIENT_FLAGS;
        to->attempts = (uint16_t)item.attempts;
        to->next = item.next;
        recipient_reply(q, to, item.reply);
    }
    if (m->open > 0)
        return;
    finished_add(q, m->id);
    qlog_dead(q->log, m->position, m->record_length);
    message_free(q, m); /* a large body's file goes with the orphans */
}

static void replay_message(struct queue *q, const struct qlog_record *record)
{
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct record_message r;
    if (record_message_read(record->payload, &arena, &r)) {
        r.position = record->position;
        struct message *m = idmap_find(&q->messages, r.envelope.id);
        if (m != NULL) { /* moved */
            qlog_dead(q->log, m->position, m->record_length);
            m->position = r.position;
            m->record_length = r.length;
        } else {
            m = message_new(&r);
            m->durable = true;
            message_add(q, m);
        }
        qlog_alive(q->log, m->position, m->record_length);
        if (r.cause.n > 0)
            replay_result(q, r.cause, record->position);
    } else {
        event_begin(q->events, EVENT_ERROR, "log.damage", 0);
        event_u64(q->events, "position", record->position);
        event_text(q->events, "what", "a message record whose checksum holds makes no sense");
        event_text(q->events, "next", "report this: it was written by a fault of this program");
        event_end(q->events);
    }
    vr_arena_fini(&arena);
}

static void replay_expand(struct queue *q, struct vr_str payload, qlog_position position)
{
    struct record_expand r;
    bool good = record_expand_read(payload, &r);
    struct message *m = good ? idmap_find(&q->messages, r.id) : NULL;
    if (m == NULL || restore_reflects(q, m, position) || r.parent >= m->count)
        return;
    struct vr_str *addresses = calloc(r.n + 1u, sizeof *addresses);
    assert(addresses != NULL);
    for (uint32_t i = 0; i < r.n; i++)
        addresses[i] = ipc_get_str(&r.in);
    const struct recipient *parent = &m->recipients[r.parent];
    bool known = parent->state == RECIPIENT_EXPANDED || parent->state == RECIPIENT_EXPANDING;
    if (!r.in.bad && !known) /* else: moved since, its MESSAGE tells all */
        message_expand(q, m, r.parent, addresses, r.n, r.flags);
    free(addresses);
}

bool record_version_known(const struct qlog_record *r)
{
    return r->version >= 1 &&
           r->version <= (r->type == RECORD_MESSAGE ? RECORD_MESSAGE_VERSION : RECORD_VERSION);
}

void record_replay(void *queue, const struct qlog_record *r)
{
    struct queue *q = queue;
    if (!record_version_known(r)) {
        event_begin(q->events, EVENT_ERROR, "log.unknown_record", 0);
        event_u64(q->events, "type", r->type);
        event_u64(q->events, "version", r->version);
        event_text(q->events, "next", "a later version wrote it: serve the spool with that one");
        event_end(q->events);
        q->unknown_records = true;
    } else if (r->type == RECORD_MESSAGE) {
        replay_message(q, r);
    } else if (r->type == RECORD_RESULT) {
        replay_result(q, r->payload, r->position);
    } else if (r->type == RECORD_EXPAND) {
        replay_expand(q, r->payload, r->position);
    }
}

/* ---- saving --------------------------------------------------------------------------------------------------------------------- */

struct saving {
    struct queue *queue;
    struct message *message;
};

static void save_done(void *arg, int status)
{
    struct saving *s = arg;
    if (status != 0) {
        guard_full(s->queue, status);
        unsaved_add(s->queue, s->message);
    }
    message_release(s->queue, s->message);
    free(s);
}

void unsaved_add(struct queue *q, struct message *m)
{
    if (m->unsaved)
        return;
    m->unsaved = true;
    if (q->unsaved_count == q->unsaved_capacity) {
        q->unsaved_capacity = q->unsaved_capacity > 0 ? 2 * q->unsaved_capacity : 64;
        q->unsaved = realloc(q->unsaved, q->unsaved_capacity * sizeof *q->unsaved);
        assert(q->unsaved != NULL);
    }
    q->unsaved[q->unsaved_count++] = m->id;
}

void unsaved_again(struct queue *q)
{
    size_t n = q->unsaved_count;
    uint64_t *ids = q->unsaved;
    q->unsaved = NULL;
    q->unsaved_count = q->unsaved_capacity = 0;
    for (size_t i = 0; i < n; i++) {
        struct message *m = idmap_find(&q->messages, ids[i]);
        if (m == NULL)
            continue;
        m->unsaved = false;
        result_save(q, m, NULL, 0);
    }
    free(ids);
}

/* As many records as it takes; durable comes for the last one. */
static bool append_states(struct queue *q, const struct message *m, const uint32_t *indexes, uint32_t n,
                          void (*durable)(void *arg, int status), void *arg)
{
    uint32_t all[RESULT_ITEMS]; /* 16 KiB */
    for (uint32_t at = 0; at < n || at == 0;) {
        uint32_t some = n - at < RESULT_ITEMS ? n - at : RESULT_ITEMS;
        for (uint32_t i = 0; i < some; i++)
            all[i] = indexes != NULL ? indexes[at + i] : at + i;
        at += some > 0 ? some : 1;
        vr_buf_reset(&q->scratch);
        record_result(&q->scratch, m, all, NULL, some);
        assert(!q->scratch.too_big);
        struct vr_str payload = vr_buf_str(&q->scratch);
        bool last = at >= n;
        if (qlog_append(q->log, RECORD_RESULT, RECORD_VERSION, &payload, 1, QLOG_LAZY, last ? durable : NULL,
                        last ? arg : NULL) == 0)
            return false;
    }
    return true;
}

void result_save(struct queue *q, struct message *m, const uint32_t *indexes, uint32_t n)
{
    struct saving *s = malloc(sizeof *s);
    assert(s != NULL);
    *s = (struct saving){q, m};
    message_hold(m);
    if (append_states(q, m, indexes, indexes != NULL ? n : m->count, save_done, s))
        return;
    free(s);
    unsaved_add(q, m);
    message_release(q, m);
}

/* ---- moving ----------------------------------------------------------------------------------------------------------------------- */

struct moving {
    struct moving *next; /* in the order of the log */
    struct queue *queue;
    struct message *message;
    qlog_position position;
    uint32_t length;
};

qlog_position move_oldest(const struct queue *q)
{
    return q->move_first != NULL ? q->move_first->position : 0;
}

static void move_link(struct queue *q, struct moving *v)
{
    *(q->move_first != NULL ? &q->move_last->next : &q->move_first) = v;
    q->move_last = v;
}

static void move_unlink(struct queue *q, struct moving *v)
{
    struct moving **at = &q->move_first, *before = NULL;
    for (; *at != v; at = &(*at)->next)
        before = *at;
    *at = v->next;
    if (q->move_last == v)
        q->move_last = before;
}

static void move_done(void *arg, int status)
{
    struct moving *v = arg;
    struct message *m = v->message;
    move_unlink(v->queue, v);
    if (status == 0) {
        qlog_dead(v->queue->log, m->position, m->record_length);
        m->position = v->position;
        m->record_length = v->length;
    } else {
        qlog_dead(v->queue->log, v->position, v->length);
    }
    message_release(v->queue, m);
    free(v);
}

/* What aliases added since is in EXPAND records that go with their segments: the copy tells it all, and a RESULT the states. */
static void move_message(struct queue *q, struct message *m, const struct record_message *r,
                         struct vr_arena *arena)
{
    uint32_t extra = m->count - m->given;
    struct record_target *targets = vr_arena_alloc(arena, (extra + 1u) * sizeof *targets);
    if (targets == NULL)
        return;
    for (uint32_t i = 0; i < extra; i++) {
        const struct recipient *to = &m->recipients[m->given + i];
        targets[i] = (struct record_target){to->parent, recipient_address(m, to)};
    }
    struct vr_buf envelope; /* packed anew: the record may be of an earlier version */
    vr_buf_init(&envelope, QLOG_RECORD_MAX);
    ipc_put_envelope(&envelope, &r->envelope);
    vr_buf_reset(&q->scratch);
    record_message_head(&q->scratch, vr_buf_str(&envelope), targets, extra, vr_str(NULL, 0));
    vr_buf_fini(&envelope);
    struct vr_str parts[] = {vr_buf_str(&q->scratch), r->body};
    qlog_position position =
        qlog_append(q->log, RECORD_MESSAGE, RECORD_MESSAGE_VERSION, parts, 2, QLOG_LAZY, NULL, NULL);
    if (position == 0)
        return;
    uint32_t length = (uint32_t)(parts[0].n + parts[1].n);
    struct moving *v = malloc(sizeof *v);
    assert(v != NULL);
    *v = (struct moving){.queue = q, .message = m, .position = position, .length = length};
    move_link(q, v);
    qlog_alive(q->log, position, length);
    message_hold(m);
    if (!append_states(q, m, NULL, m->count, move_done, v))
        move_done(v, -1);
}

/* Its fate is being written: a copy behind that record would bring back what was before. */
static bool is_reporting(const struct message *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->recipients[i].state == RECIPIENT_REPORTING)
            return true;
    return false;
}

void record_move(void *queue, const struct qlog_record *record)
{
    struct queue *q = queue;
    if (record->type != RECORD_MESSAGE || !record_version_known(record))
        return;
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct record_message r;
    if (record_message_read(record->payload, &arena, &r)) {
        struct message *m = idmap_find(&q->messages, r.envelope.id);
        if (m != NULL && m->durable && m->open > 0 && m->position == record->position && !is_reporting(m))
            move_message(q, m, &r, &arena);
    }
    vr_arena_fini(&arena);
}
