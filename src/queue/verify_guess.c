/* verify_guess.c - whom a damaged stretch of the log concerned, as far as its bytes still tell. They may be wrong anywhere, so nothing here is
 * believed further than to be printed; bounds are those of the readers of whole records.
 *
 * Tests: tests/unit/queue_verify.c
 */
#include "queue/verify_inside.h"

#include <string.h>

#define DAY_US (24ll * 3600 * 1000000)

void verify_concern_recipients(struct verifying *v, struct verify_concern *c, const struct message *m)
{
    struct vr_str *to = vr_arena_alloc(&v->arena, (m->count + 1u) * sizeof *to);
    c->sender = message_reverse_path(m);
    for (uint32_t i = 0; to != NULL && i < m->count; i++)
        to[i] = recipient_address(m, &m->recipients[i]);
    c->recipients = to;
    c->count = to != NULL ? m->count : 0;
}

/* Any 64 bits are an id; this one was given at a time that can be. */
static bool id_plausible(const struct verifying *v, uint64_t id)
{
    int64_t t = queue_id_time_us(id);
    return id != 0 && t > queue_id_time_us(0) + DAY_US && t < io_now_us(v->q.io) + DAY_US;
}

static bool guess_message(struct verifying *v, struct vr_str payload, struct verify_concern *c)
{
    struct record_message r;
    struct ipc_reader at = ipc_reader(payload);
    ipc_get_u32(&at); /* the envelope's length; its first field is the id */
    c->record = "message";
    c->id = ipc_get_u64(&at);
    if (at.bad || !id_plausible(v, c->id))
        return false;
    const struct known *k = idmap_find(&v->known, c->id);
    c->in_queue = k != NULL && k->named;
    if (!record_message_read(payload, &v->arena, &r))
        return true; /* the id alone */
    struct vr_str *to = vr_arena_alloc(&v->arena, (r.envelope.rcpt_count + 1u) * sizeof *to);
    c->sender = r.envelope.reverse_path;
    for (uint32_t i = 0; to != NULL && i < r.envelope.rcpt_count; i++)
        to[i] = r.envelope.rcpts[i].address;
    c->recipients = to;
    c->count = to != NULL ? r.envelope.rcpt_count : 0;
    return true;
}

static bool guess_states(struct verifying *v, struct vr_str payload, const char *record,
                         struct verify_concern *c)
{
    struct ipc_reader at = ipc_reader(payload);
    c->record = record;
    c->id = ipc_get_u64(&at);
    const struct known *k = at.bad ? NULL : idmap_find(&v->known, c->id);
    if (k == NULL)
        return false; /* that much of a guess would be one */
    c->in_queue = k->named;
    const struct message *m = idmap_find(&v->q.messages, c->id);
    if (m != NULL)
        verify_concern_recipients(v, c, m);
    return true;
}

/* The record that once stood at `at` of the stretch: any of its bytes may be wrong, so each is tried as what it says it is, then as a MESSAGE. */
static bool guess(struct verifying *v, struct vr_str bytes, size_t at, struct verify_concern *c)
{
    struct record_header h;
    if (bytes.n - at < sizeof h)
        return false;
    memcpy(&h, bytes.p + at, sizeof h);
    struct vr_str payload = vr_str_from_pos(bytes, at + sizeof h);
    if (h.length < payload.n)
        payload = vr_str_sub(payload, 0, h.length);
    *c = (struct verify_concern){0};
    if (h.type == RECORD_RESULT && guess_states(v, payload, "result", c))
        return true;
    if (h.type == RECORD_EXPAND && guess_states(v, payload, "expansion", c))
        return true;
    if (guess_message(v, payload, c))
        return true;
    return guess_message(v, vr_str_from_pos(bytes, at + sizeof h), c); /* its length may be what is wrong */
}

uint32_t verify_guess(struct verifying *v, const struct qlog_finding *f, struct verify_concern *concerns)
{
    uint32_t n = 0;
    for (size_t at = 0; at + sizeof(struct record_header) <= f->bytes.n && n < VERIFY_CONCERNS;
         at += QLOG_ALIGN) {
        uint32_t first;
        memcpy(&first, f->bytes.p + at, sizeof first);
        if (at == 0 || first == f->marker)
            n += guess(v, f->bytes, at, &concerns[n]);
    }
    return n;
}
