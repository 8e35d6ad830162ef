/* pack.c - fields into frames and out of them; the envelope, deliveries and their results as sequences of
 * fields.
 *
 * Tests: tests/unit/ipc.c
 */
#include "ipc/ipc.h"

#include <string.h>

void ipc_put_u8(struct vr_buf *b, uint8_t v)
{
    vr_buf_add_byte(b, (char)v);
}

void ipc_put_u32(struct vr_buf *b, uint32_t v)
{
    vr_buf_add(b, vr_str((const char *)&v, sizeof v));
}

void ipc_put_u64(struct vr_buf *b, uint64_t v)
{
    vr_buf_add(b, vr_str((const char *)&v, sizeof v));
}

void ipc_put_str(struct vr_buf *b, struct vr_str s)
{
    ipc_put_u32(b, (uint32_t)s.n);
    vr_buf_add(b, s);
}

struct ipc_reader ipc_reader(struct vr_str payload)
{
    return (struct ipc_reader){.rest = payload};
}

static bool take(struct ipc_reader *r, void *out, size_t n)
{
    if (r->bad || r->rest.n < n) {
        r->bad = true;
        return false;
    }
    if (n > 0)
        memcpy(out, r->rest.p, n);
    r->rest = vr_str_from_pos(r->rest, n);
    return true;
}

uint8_t ipc_get_u8(struct ipc_reader *r)
{
    uint8_t v = 0;
    take(r, &v, sizeof v);
    return v;
}

uint32_t ipc_get_u32(struct ipc_reader *r)
{
    uint32_t v = 0;
    take(r, &v, sizeof v);
    return v;
}

uint64_t ipc_get_u64(struct ipc_reader *r)
{
    uint64_t v = 0;
    take(r, &v, sizeof v);
    return v;
}

struct vr_str ipc_get_str(struct ipc_reader *r)
{
    uint32_t n = ipc_get_u32(r);
    if (r->bad || r->rest.n < n) {
        r->bad = true;
        return vr_str(NULL, 0);
    }
    struct vr_str s = vr_str_sub(r->rest, 0, n);
    r->rest = vr_str_from_pos(r->rest, n);
    return s;
}

bool ipc_done(const struct ipc_reader *r)
{
    return !r->bad && r->rest.n == 0;
}

/* An array of n items of which each takes at least `least` bytes on the wire: a count that lies cannot make
 * us allocate more than the payload could hold. */
static void *get_array(struct ipc_reader *r, struct vr_arena *arena, uint32_t n, size_t least, size_t item)
{
    if (r->bad || (uint64_t)n * least > r->rest.n) {
        r->bad = true;
        return NULL;
    }
    void *p = vr_arena_alloc(arena, (n > 0 ? n : 1) * item);
    if (p == NULL)
        r->bad = true;
    return p;
}

/* What version 3 added. Most messages ask for nothing: one byte. */
enum { ASKED_TIMES = 1, ASKED_TEXTS = 2, ASKED_RRVS = 4 };

static unsigned what_is_asked(const struct envelope *e)
{
    unsigned what = 0;
    if (e->asks != 0 || e->by != 0 || e->hold_until != 0)
        what |= ASKED_TIMES;
    if (e->auth.n > 0 || e->solicit.n > 0)
        what |= ASKED_TEXTS;
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (e->rcpts[i].rrvs != 0)
            what |= ASKED_RRVS;
    return what;
}

static void put_asked(struct vr_buf *b, const struct envelope *e)
{
    unsigned what = what_is_asked(e);
    ipc_put_u8(b, (uint8_t)what);
    if (what & ASKED_TIMES) {
        ipc_put_u8(b, e->asks);
        ipc_put_u8(b, e->by);
        ipc_put_u64(b, (uint64_t)e->deliver_by);
        ipc_put_u64(b, (uint64_t)e->hold_until);
    }
    if (what & ASKED_TEXTS) {
        ipc_put_str(b, e->auth);
        ipc_put_str(b, e->solicit);
    }
    for (uint32_t i = 0; what & ASKED_RRVS && i < e->rcpt_count; i++) {
        ipc_put_u8(b, e->rcpts[i].rrvs);
        ipc_put_u64(b, (uint64_t)e->rcpts[i].valid_since);
    }
}

static void get_asked(struct ipc_reader *r, struct envelope *out)
{
    unsigned what = ipc_get_u8(r);
    if (what & ASKED_TIMES) {
        out->asks = ipc_get_u8(r);
        out->by = ipc_get_u8(r);
        out->deliver_by = (int64_t)ipc_get_u64(r);
        out->hold_until = (int64_t)ipc_get_u64(r);
    }
    if (what & ASKED_TEXTS) {
        out->auth = ipc_get_str(r);
        out->solicit = ipc_get_str(r);
    }
    for (uint32_t i = 0; what & ASKED_RRVS && i < out->rcpt_count && !r->bad; i++) {
        out->rcpts[i].rrvs = ipc_get_u8(r);
        out->rcpts[i].valid_since = (int64_t)ipc_get_u64(r);
    }
    r->bad = r->bad || what > (ASKED_TIMES | ASKED_TEXTS | ASKED_RRVS);
}

void ipc_put_envelope(struct vr_buf *b, const struct envelope *e)
{
    ipc_put_u64(b, e->id);
    ipc_put_u64(b, (uint64_t)e->arrival_us);
    ipc_put_str(b, e->reverse_path);
    ipc_put_u8(b, e->body);
    ipc_put_u8(b, e->ret);
    ipc_put_str(b, e->envid);
    ipc_put_str(b, e->user);
    ipc_put_str(b, e->client);
    ipc_put_str(b, e->helo);
    ipc_put_str(b, e->prefix);
    ipc_put_u64(b, e->body_size);
    ipc_put_u8(b, e->large);
    ipc_put_u32(b, e->rcpt_count);
    for (uint32_t i = 0; i < e->rcpt_count; i++) {
        const struct envelope_rcpt *r = &e->rcpts[i];
        ipc_put_str(b, r->address);
        ipc_put_u32(b, r->notify);
        ipc_put_str(b, r->orcpt);
        ipc_put_u8(b, r->catch_all);
    }
    ipc_put_u8(b, (uint8_t)e->priority); /* version 1 ends before it, version 2 behind it */
    put_asked(b, e);
}

static void get_envelope_1(struct ipc_reader *r, struct vr_arena *arena, struct envelope *out)
{
    *out = (struct envelope){0};
    out->id = ipc_get_u64(r);
    out->arrival_us = (int64_t)ipc_get_u64(r);
    out->reverse_path = ipc_get_str(r);
    out->body = ipc_get_u8(r);
    out->ret = ipc_get_u8(r);
    out->envid = ipc_get_str(r);
    out->user = ipc_get_str(r);
    out->client = ipc_get_str(r);
    out->helo = ipc_get_str(r);
    out->prefix = ipc_get_str(r);
    out->body_size = ipc_get_u64(r);
    out->large = ipc_get_u8(r) != 0;
    uint32_t n = ipc_get_u32(r);
    out->rcpts = get_array(r, arena, n, 13, sizeof *out->rcpts);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        struct envelope_rcpt *rcpt = &out->rcpts[i];
        rcpt->address = ipc_get_str(r);
        rcpt->notify = ipc_get_u32(r);
        rcpt->orcpt = ipc_get_str(r);
        rcpt->catch_all = ipc_get_u8(r) != 0;
    }
    out->rcpt_count = r->bad ? 0 : n;
}

bool ipc_get_envelope(struct ipc_reader *r, struct vr_arena *arena, struct envelope *out)
{
    get_envelope_1(r, arena, out);
    out->priority = (int8_t)ipc_get_u8(r);
    get_asked(r, out);
    if (r->bad)
        out->rcpt_count = 0;
    return !r->bad;
}

bool ipc_get_envelope_of(struct ipc_reader *r, struct vr_arena *arena, struct envelope *out)
{
    get_envelope_1(r, arena, out);
    if (r->rest.n > 0)
        out->priority = (int8_t)ipc_get_u8(r);
    if (r->rest.n > 0)
        get_asked(r, out);
    if (r->bad)
        out->rcpt_count = 0;
    return !r->bad;
}

static void put_next_hop(struct vr_buf *b, const struct next_hop *h)
{
    ipc_put_u8(b, (uint8_t)h->kind);
    ipc_put_str(b, h->host);
    ipc_put_u32(b, h->port);
    ipc_put_u8(b, (uint8_t)h->tls);
    ipc_put_u32(b, h->route);
    ipc_put_u32(b, h->domain);
}

static void get_next_hop(struct ipc_reader *r, struct next_hop *h)
{
    h->kind = ipc_get_u8(r);
    h->host = ipc_get_str(r);
    h->port = (uint16_t)ipc_get_u32(r);
    h->tls = ipc_get_u8(r);
    h->route = ipc_get_u32(r);
    h->domain = ipc_get_u32(r);
}

bool next_hop_text(struct vr_buf *out, const struct next_hop *h)
{
    static const char *const names[] = {[NEXT_HOP_MX] = "mx:",
                                        [NEXT_HOP_SMTP] = "smtp:",
                                        [NEXT_HOP_LMTP] = "lmtp:",
                                        [NEXT_HOP_MAILDIR] = "maildir",
                                        [NEXT_HOP_ERROR] = "error:"};
    const char *name = h->kind >= NEXT_HOP_MX && h->kind <= NEXT_HOP_ERROR ? names[h->kind] : "?";
    if (!vr_buf_add(out, vr_str_from(name)) || h->kind == NEXT_HOP_MAILDIR)
        return !out->too_big;
    if (h->kind == NEXT_HOP_LMTP && h->port == 0)
        vr_buf_add(out, VR_STR("unix:"));
    vr_buf_add(out, h->host);
    if (h->port != 0)
        vr_buf_addf(out, ":%u", h->port);
    return !out->too_big;
}

void ipc_put_delivery(struct vr_buf *b, const struct delivery *d)
{
    ipc_put_u64(b, d->id);
    ipc_put_u64(b, d->message);
    put_next_hop(b, &d->next_hop);
    ipc_put_str(b, d->reverse_path);
    ipc_put_u8(b, d->body);
    ipc_put_u8(b, d->ret);
    ipc_put_u8(b, (uint8_t)d->priority);
    ipc_put_u8(b, d->asks);
    ipc_put_u8(b, d->by);
    ipc_put_u64(b, (uint64_t)d->deliver_by);
    ipc_put_str(b, d->auth);
    ipc_put_str(b, d->solicit);
    ipc_put_str(b, d->envid);
    ipc_put_str(b, d->prefix);
    ipc_put_str(b, d->content);
    ipc_put_u64(b, d->content_size);
    ipc_put_u8(b, d->large);
    ipc_put_u64(b, (uint64_t)d->arrival_us);
    ipc_put_u32(b, d->rcpt_count);
    for (uint32_t i = 0; i < d->rcpt_count; i++) {
        ipc_put_u32(b, d->rcpts[i].index);
        ipc_put_str(b, d->rcpts[i].address);
        ipc_put_u32(b, d->rcpts[i].notify);
        ipc_put_str(b, d->rcpts[i].orcpt);
        ipc_put_u32(b, d->rcpts[i].attempt);
        ipc_put_u8(b, d->rcpts[i].rrvs);
        ipc_put_u64(b, (uint64_t)d->rcpts[i].valid_since);
    }
}

bool ipc_get_delivery(struct ipc_reader *r, struct vr_arena *arena, struct delivery *out)
{
    *out = (struct delivery){0};
    out->id = ipc_get_u64(r);
    out->message = ipc_get_u64(r);
    get_next_hop(r, &out->next_hop);
    out->reverse_path = ipc_get_str(r);
    out->body = ipc_get_u8(r);
    out->ret = ipc_get_u8(r);
    out->priority = (int8_t)ipc_get_u8(r);
    out->asks = ipc_get_u8(r);
    out->by = ipc_get_u8(r);
    out->deliver_by = (int64_t)ipc_get_u64(r);
    out->auth = ipc_get_str(r);
    out->solicit = ipc_get_str(r);
    out->envid = ipc_get_str(r);
    out->prefix = ipc_get_str(r);
    out->content = ipc_get_str(r);
    out->content_size = ipc_get_u64(r);
    out->large = ipc_get_u8(r) != 0;
    out->arrival_us = (int64_t)ipc_get_u64(r);
    uint32_t n = ipc_get_u32(r);
    out->rcpts = get_array(r, arena, n, 29, sizeof *out->rcpts);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        out->rcpts[i].index = ipc_get_u32(r);
        out->rcpts[i].address = ipc_get_str(r);
        out->rcpts[i].notify = ipc_get_u32(r);
        out->rcpts[i].orcpt = ipc_get_str(r);
        out->rcpts[i].attempt = (uint16_t)ipc_get_u32(r);
        out->rcpts[i].rrvs = ipc_get_u8(r);
        out->rcpts[i].valid_since = (int64_t)ipc_get_u64(r);
    }
    out->rcpt_count = r->bad ? 0 : n;
    return ipc_done(r);
}

void ipc_put_result(struct vr_buf *b, const struct delivery_result *d)
{
    ipc_put_u64(b, d->delivery);
    ipc_put_u64(b, d->message);
    ipc_put_str(b, d->remote_mta);
    ipc_put_str(b, d->remote_ip);
    ipc_put_u8(b, d->dsn_relayed_on);
    ipc_put_u8(b, d->by_relayed_on);
    ipc_put_u8(b, d->tls);
    ipc_put_u8(b, d->form);
    ipc_put_u8(b, d->unreachable);
    ipc_put_u32(b, d->duration_ms);
    ipc_put_u32(b, d->rcpt_count);
    for (uint32_t i = 0; i < d->rcpt_count; i++) {
        const struct delivery_rcpt_result *r = &d->rcpts[i];
        ipc_put_u32(b, r->index);
        ipc_put_u8(b, (uint8_t)r->status);
        ipc_put_u32(b, r->code);
        ipc_put_str(b, r->enhanced);
        ipc_put_str(b, r->text);
        ipc_put_u32(b, r->attempt);
    }
}

bool ipc_get_result(struct ipc_reader *r, struct vr_arena *arena, struct delivery_result *out)
{
    *out = (struct delivery_result){0};
    out->delivery = ipc_get_u64(r);
    out->message = ipc_get_u64(r);
    out->remote_mta = ipc_get_str(r);
    out->remote_ip = ipc_get_str(r);
    out->dsn_relayed_on = ipc_get_u8(r) != 0;
    out->by_relayed_on = ipc_get_u8(r) != 0;
    out->tls = ipc_get_u8(r) != 0;
    out->form = ipc_get_u8(r);
    out->unreachable = ipc_get_u8(r) != 0;
    out->duration_ms = ipc_get_u32(r);
    uint32_t n = ipc_get_u32(r);
    out->rcpts = get_array(r, arena, n, 21, sizeof *out->rcpts);
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        out->rcpts[i].index = ipc_get_u32(r);
        out->rcpts[i].status = ipc_get_u8(r);
        out->rcpts[i].code = (uint16_t)ipc_get_u32(r);
        out->rcpts[i].enhanced = ipc_get_str(r);
        out->rcpts[i].text = ipc_get_str(r);
        out->rcpts[i].attempt = (uint16_t)ipc_get_u32(r);
    }
    out->rcpt_count = r->bad ? 0 : n;
    return ipc_done(r);
}

/* ---- the beginning of a log-in ------------------------------------------------------------------------------- */

void ipc_sasl_start_pack(struct vr_buf *b, const struct sasl_start *s)
{
    ipc_put_u64(b, s->conversation);
    ipc_put_str(b, s->mechanism);
    ipc_put_u8(b, s->has_initial);
    ipc_put_str(b, s->initial);
    ipc_put_str(b, s->client);
    ipc_put_u8(b, s->plus_offered);
    ipc_put_str(b, s->tls_exporter);
    ipc_put_str(b, s->tls_unique);
    ipc_put_str(b, s->tls_server_end_point);
    ipc_put_str(b, s->identity);
}

bool ipc_sasl_start_unpack(struct vr_str payload, struct sasl_start *s)
{
    struct ipc_reader r = ipc_reader(payload);
    s->conversation = ipc_get_u64(&r);
    s->mechanism = ipc_get_str(&r);
    s->has_initial = ipc_get_u8(&r) != 0;
    s->initial = ipc_get_str(&r);
    s->client = ipc_get_str(&r);
    s->plus_offered = ipc_get_u8(&r) != 0;
    s->tls_exporter = ipc_get_str(&r);
    s->tls_unique = ipc_get_str(&r);
    s->tls_server_end_point = ipc_get_str(&r);
    s->identity = ipc_get_str(&r);
    return ipc_done(&r);
}

/* ---- keys that sign -------------------------------------------------------------------------------------------- */

void ipc_put_signers(struct vr_buf *b, const struct ipc_signers *s)
{
    ipc_put_u32(b, (uint32_t)s->count);
    for (size_t i = 0; i < s->count; i++) {
        ipc_put_u8(b, s->list[i].algorithm);
        ipc_put_str(b, s->list[i].selector);
        ipc_put_str(b, s->list[i].bytes);
    }
}

void ipc_get_signers(struct ipc_reader *r, struct ipc_signers *out)
{
    uint32_t n = ipc_get_u32(r);
    out->count = 0;
    if (n > IPC_SIGNERS_MAX)
        r->bad = true;
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        struct ipc_signer *s = &out->list[out->count++];
        s->algorithm = ipc_get_u8(r);
        s->selector = ipc_get_str(r);
        s->bytes = ipc_get_str(r);
    }
}
