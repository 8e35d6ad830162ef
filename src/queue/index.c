/* index.c - messages and their recipients in memory: compact, without bodies.
 *
 * Memory: a message is one block (struct message, recipients, the text), some 200 bytes with one recipient and ordinary
 * addresses, its slot in the table and its place in the heap included. What only a delivery needs (Received lines, ORCPT,
 * ENVID) is read from the log with the body.
 * Tests: tests/unit/queue_index.c
 */
#include "queue/inside.h"

#include <veredus/smtp.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REPLY_MAX 512

/* ---- reply texts ------------------------------------------------------------------------------------------------------ */

struct text *text_take(struct queue *q, struct vr_str s)
{
    if (s.n == 0)
        return NULL;
    if (s.n > REPLY_MAX)
        s.n = REPLY_MAX;
    struct text *t = NULL;
    HASH_FIND(hh, q->texts, s.p, s.n, t);
    if (t == NULL) {
        t = calloc(1, sizeof *t + s.n);
        assert(t != NULL);
        t->n = (uint32_t)s.n;
        memcpy(t->bytes, s.p, s.n);
        HASH_ADD_KEYPTR(hh, q->texts, t->bytes, t->n, t);
    }
    t->refs++;
    return t;
}

void text_drop(struct queue *q, struct text *t)
{
    if (t == NULL || --t->refs > 0)
        return;
    HASH_DELETE(hh, q->texts, t);
    free(t);
}

/* ---- counting --------------------------------------------------------------------------------------------------------- */

static void count_message(struct queue *q, const struct message *m)
{
    struct counts *c = &q->counts;
    c->messages++;
    c->bytes += m->size;
    if (c->messages == 1 || (c->oldest != 0 && m->arrival_us < c->oldest_us)) {
        c->oldest = m->id;
        c->oldest_us = m->arrival_us;
    }
}

static void uncount_message(struct queue *q, const struct message *m)
{
    struct counts *c = &q->counts;
    c->messages--;
    c->bytes -= m->size;
    if (c->oldest == m->id)
        c->oldest = 0; /* the next one is looked for when somebody asks: control_summary.c */
}

/* A recipient more, or one less, that is not final. */
static void opened(struct queue *q, struct message *m, unsigned state)
{
    if (m->counted) {
        if (m->open == 0)
            count_message(q, m);
        q->counts.open[m->held][state]++;
    }
    m->open++;
}

static void closed(struct queue *q, struct message *m, unsigned state)
{
    m->open--;
    if (!m->counted)
        return;
    q->counts.open[m->held][state]--;
    if (m->open == 0)
        uncount_message(q, m);
}

void message_add(struct queue *q, struct message *m)
{
    idmap_add(&q->messages, m);
    m->counted = true;
    for (uint32_t i = 0; i < m->count; i++)
        if (!recipient_final(m->recipients[i].state))
            q->counts.open[m->held][m->recipients[i].state]++;
    if (m->open > 0)
        count_message(q, m);
}

void message_set_held(struct queue *q, struct message *m, bool held)
{
    if (m->held == held)
        return;
    for (uint32_t i = 0; i < m->count && m->counted; i++) {
        uint8_t state = m->recipients[i].state;
        if (recipient_final(state))
            continue;
        q->counts.open[m->held][state]--;
        q->counts.open[held][state]++;
    }
    m->held = held;
}

/* ---- making ----------------------------------------------------------------------------------------------------------- */

uint8_t notify_of_child(uint8_t parent, uint32_t siblings)
{
    if (siblings <= 1 || !(parent & DSN_NOTIFY_SUCCESS))
        return parent;
    uint8_t rest = parent & (uint8_t)~DSN_NOTIFY_SUCCESS;
    return rest != 0 ? rest : DSN_NOTIFY_NEVER; /* only success was asked for: nothing else is reported */
}

static char *text_of(const struct message *m)
{
    return (char *)(m->recipients + m->count);
}

static uint32_t put_text(char *text, uint32_t *n, struct vr_str s)
{
    uint32_t at = *n;
    if (s.n > 0)
        memcpy(text + at, s.p, s.n);
    *n += (uint32_t)s.n;
    return at;
}

static uint16_t length14(size_t n)
{
    assert(n <= 0x3fff); /* the engines bound paths far below */
    return (uint16_t)n;
}

/* Of an alias in whose place so many stand: is a report about that owed (RFC 3461 §5.2.7.3 c)? */
static uint8_t expanded_state(const struct message *m, const struct recipient *r, uint32_t children)
{
    return children > 1 && (r->notify & DSN_NOTIFY_SUCCESS) && m->reverse_path_n > 0 ? RECIPIENT_EXPANDING
                                                                                     : RECIPIENT_EXPANDED;
}

static size_t text_size(const struct record_message *r)
{
    size_t n = r->envelope.reverse_path.n;
    for (uint32_t i = 0; i < r->envelope.rcpt_count; i++)
        n += r->envelope.rcpts[i].address.n;
    for (uint32_t i = 0; i < r->target_count; i++)
        n += r->targets[i].address.n;
    return n;
}

static void make_recipients(struct message *m, const struct record_message *r, const uint32_t *children)
{
    char *text = text_of(m);
    uint32_t n = 0;
    put_text(text, &n, r->envelope.reverse_path);
    for (uint32_t i = 0; i < m->count; i++) {
        bool given = i < m->given;
        struct recipient *to = &m->recipients[i];
        const struct envelope_rcpt *from = given ? &r->envelope.rcpts[i] : NULL;
        struct vr_str address = given ? from->address : r->targets[i - m->given].address;
        to->address = put_text(text, &n, address);
        to->parent = given ? i : r->targets[i - m->given].parent;
        to->notify = (given ? (uint8_t)from->notify
                            : notify_of_child(m->recipients[to->parent].notify, children[to->parent])) &
                     15u;
        to->flags = given && from->catch_all ? RECIPIENT_CATCH_ALL : 0;
        to->state = given && children[i] > 0 ? expanded_state(m, to, children[i]) & 31u : RECIPIENT_WAITING;
        m->open += !recipient_final(to->state);
    }
    m->text_n = n;
}

/* Most messages are one block of memory; message_expand makes another one for the recipients. */
static struct recipient *own_block(struct message *m)
{
    return (struct recipient *)(void *)(m + 1);
}

/* Times until 2106; what lies before 1970 has passed all the same. */
static uint32_t seconds32(int64_t seconds)
{
    return seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

static uint32_t sender_hash(const struct envelope *e)
{
    size_t at = vr_str_find_last(e->reverse_path, '@');
    struct vr_str who = e->user.n > 0   ? e->user
                        : at != VR_NPOS ? vr_str_from_pos(e->reverse_path, at + 1)
                                        : e->client;
    return vr_crc32c(0, who.p, who.n);
}

struct message *message_alloc(uint32_t count, size_t text_n)
{
    struct message *m = calloc(1, sizeof *m + count * sizeof *m->recipients + text_n);
    assert(m != NULL);
    m->count = count;
    m->recipients = own_block(m);
    return m;
}

struct message *message_new(const struct record_message *r)
{
    const struct envelope *e = &r->envelope;
    uint32_t count = e->rcpt_count + r->target_count;
    struct message *m = message_alloc(count, text_size(r));
    uint32_t *children = calloc(e->rcpt_count + 1u, sizeof *children);
    assert(children != NULL);
    *m = (struct message){.id = e->id,
                          .position = r->position,
                          .record_length = r->length,
                          .arrival_us = e->arrival_us,
                          .size = e->prefix.n + e->body_size,
                          .given = e->rcpt_count,
                          .count = count,
                          .recipients = own_block(m),
                          .sender = sender_hash(e),
                          .reverse_path_n = length14(e->reverse_path.n) & 0x3fffu,
                          .large = e->large,
                          .priority = e->priority,
                          .hold_until = seconds32(e->hold_until),
                          .held = e->hold_until > 0,
                          .timed = e->hold_until > 0,
                          .deliver_by = e->by != SMTP_BY_NONE ? seconds32(e->deliver_by) : 0,
                          .by = e->by & 3u,
                          .by_trace = e->by != SMTP_BY_NONE && (e->asks & ENVELOPE_BY_TRACE)};
    for (uint32_t i = 0; i < r->target_count; i++)
        children[r->targets[i].parent]++;
    make_recipients(m, r, children);
    free(children);
    return m;
}

uint32_t message_expand(struct queue *q, struct message *m, uint32_t parent, const struct vr_str *addresses,
                        uint32_t n, uint8_t flags)
{
    size_t more = 0;
    for (uint32_t i = 0; i < n; i++)
        more += addresses[i].n;
    struct recipient *fresh = calloc(1, (m->count + n) * sizeof *fresh + m->text_n + more + 1);
    assert(fresh != NULL);
    memcpy(fresh, m->recipients, m->count * sizeof *fresh);
    char *text = (char *)(fresh + m->count + n);
    memcpy(text, text_of(m), m->text_n);
    uint32_t first = m->count;
    uint8_t notify = notify_of_child(fresh[parent].notify, n);
    for (uint32_t i = 0; i < n; i++) {
        struct recipient *to = &fresh[first + i];
        to->address = put_text(text, &m->text_n, addresses[i]);
        to->parent = fresh[parent].parent;
        to->notify = notify & 15u;
        to->flags = flags & RECIPIENT_FLAGS;
        to->state = RECIPIENT_WAITING;
    }
    if (m->recipients != own_block(m))
        free(m->recipients);
    m->recipients = fresh;
    m->count += n;
    for (uint32_t i = 0; i < n; i++)
        opened(q, m, RECIPIENT_WAITING);
    /* Of what a given one was before, a checkpoint knows (state_as_written); a second report about the same alias would say no more. */
    bool told = parent >= m->given || recipient_final(fresh[parent].state);
    recipient_set(q, m, &fresh[parent], told ? RECIPIENT_EXPANDED : expanded_state(m, &fresh[parent], n));
    return first;
}

/* ---- reading and changing ------------------------------------------------------------------------------------------------ */

struct vr_str message_reverse_path(const struct message *m)
{
    return vr_str(text_of(m), m->reverse_path_n);
}

struct vr_str recipient_address(const struct message *m, const struct recipient *r)
{
    uint32_t end = r + 1 < m->recipients + m->count ? r[1].address : m->text_n;
    return vr_str(text_of(m) + r->address, end - r->address);
}

void recipient_set(struct queue *q, struct message *m, struct recipient *r, enum recipient_state state)
{
    if (r->destination != NULL && (recipient_final(state) || state == RECIPIENT_WAITING)) {
        destination_release(q, r->destination);
        r->destination = NULL;
    }
    unsigned before = r->state;
    r->state = state & 31u;
    if (before == state)
        return;
    if (!recipient_final(state))
        opened(q, m, state);
    if (!recipient_final(before))
        closed(q, m, before);
}

void recipient_reply(struct queue *q, struct recipient *r, struct vr_str reply)
{
    struct text *t = text_take(q, reply);
    text_drop(q, r->reply);
    r->reply = t;
}

void message_free(struct queue *q, struct message *m)
{
    schedule_forget(q, m);
    cache_drop(q, m);
    idmap_remove(&q->messages, m->id);
    for (uint32_t i = 0; i < m->count; i++) {
        if (!recipient_final(m->recipients[i].state))
            closed(q, m, m->recipients[i].state);
        text_drop(q, m->recipients[i].reply);
        if (m->recipients[i].destination != NULL)
            destination_release(q, m->recipients[i].destination);
    }
    if (m->recipients != own_block(m))
        free(m->recipients);
    free(m);
}

static void message_end(struct queue *q, struct message *m)
{
    event_begin(q->events, EVENT_INFO, "message.done", m->id);
    event_u64(q->events, "age_ms", (uint64_t)((io_now_us(q->io) - m->arrival_us) / 1000));
    event_end(q->events);
    finished_add(q, m->id);
    qlog_dead(q->log, m->position, m->record_length);
    if (m->large)
        bodies_unlink(q, m->id);
    message_free(q, m);
}

void message_release(struct queue *q, struct message *m)
{
    assert(m->refs > 0);
    if (--m->refs > 0)
        return;
    if (m->dead) /* was never acknowledged: intake.c */
        message_free(q, m);
    else if (m->open == 0 && !m->unsaved)
        message_end(q, m);
}
