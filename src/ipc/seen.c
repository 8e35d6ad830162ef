/* seen.c - see seen.h.
 *
 * Tests: tests/unit/ipc.c
 */
#include "ipc/seen.h"

static bool fits(struct vr_buf *b, size_t before)
{
    return !b->too_big && vr_buf_size(b) - before <= SEEN_MAX;
}

static void put_strings(struct vr_buf *b, const struct vr_str *items, uint32_t count)
{
    if (count > SEEN_STRINGS_MAX)
        count = SEEN_STRINGS_MAX;
    ipc_put_u32(b, count);
    for (uint32_t i = 0; i < count; i++)
        ipc_put_str(b, items[i]);
}

static const struct vr_str *get_strings(struct ipc_reader *r, struct vr_arena *arena, uint32_t *count)
{
    *count = ipc_get_u32(r);
    struct vr_str *items =
        r->bad || *count > SEEN_STRINGS_MAX ? NULL : vr_arena_alloc(arena, (*count + 1) * sizeof *items);
    r->bad = r->bad || items == NULL;
    for (uint32_t i = 0; !r->bad && i < *count; i++)
        items[i] = ipc_get_str(r);
    return items;
}

bool ipc_put_dmarc_seen(struct vr_buf *b, const struct dmarc_seen *s)
{
    size_t before = vr_buf_size(b);
    uint32_t n = s->signature_count > SEEN_SIGNATURES_MAX ? SEEN_SIGNATURES_MAX : s->signature_count;
    ipc_put_u64(b, (uint64_t)s->time_us);
    ipc_put_str(b, s->policy_domain);
    ipc_put_str(b, s->organization);
    ipc_put_str(b, s->record);
    ipc_put_u8(b, s->method);
    ipc_put_str(b, s->source_ip);
    ipc_put_u8(b, s->verdict);
    ipc_put_u8(b, s->disposition);
    ipc_put_u8(b, s->override);
    ipc_put_str(b, s->comment);
    ipc_put_u8(b, s->dkim_aligned);
    ipc_put_u8(b, s->spf_aligned);
    ipc_put_str(b, s->header_from);
    ipc_put_str(b, s->envelope_from);
    ipc_put_str(b, s->envelope_to);
    ipc_put_str(b, s->spf_domain);
    ipc_put_str(b, s->spf_result);
    ipc_put_u8(b, s->spf_helo);
    ipc_put_u32(b, n);
    for (uint32_t i = 0; i < n; i++) {
        ipc_put_str(b, s->signatures[i].domain);
        ipc_put_str(b, s->signatures[i].selector);
        ipc_put_u8(b, s->signatures[i].verdict);
        ipc_put_str(b, s->signatures[i].reason);
    }
    return fits(b, before);
}

static void get_signatures(struct ipc_reader *r, struct vr_arena *arena, struct dmarc_seen *out)
{
    uint32_t n = out->signature_count = ipc_get_u32(r);
    struct seen_signature *all =
        r->bad || n > SEEN_SIGNATURES_MAX ? NULL : vr_arena_alloc(arena, (n + 1) * sizeof *all);
    out->signatures = all;
    r->bad = r->bad || all == NULL;
    for (uint32_t i = 0; !r->bad && i < n; i++) {
        all[i].domain = ipc_get_str(r);
        all[i].selector = ipc_get_str(r);
        all[i].verdict = ipc_get_u8(r);
        all[i].reason = ipc_get_str(r);
        r->bad = r->bad || all[i].verdict > DKIM_PERMERROR;
    }
}

bool ipc_get_dmarc_seen(struct ipc_reader *r, struct vr_arena *arena, struct dmarc_seen *out)
{
    *out = (struct dmarc_seen){0};
    out->time_us = (int64_t)ipc_get_u64(r);
    out->policy_domain = ipc_get_str(r);
    out->organization = ipc_get_str(r);
    out->record = ipc_get_str(r);
    out->method = ipc_get_u8(r);
    out->source_ip = ipc_get_str(r);
    out->verdict = ipc_get_u8(r);
    out->disposition = ipc_get_u8(r);
    out->override = ipc_get_u8(r);
    out->comment = ipc_get_str(r);
    out->dkim_aligned = ipc_get_u8(r);
    out->spf_aligned = ipc_get_u8(r);
    out->header_from = ipc_get_str(r);
    out->envelope_from = ipc_get_str(r);
    out->envelope_to = ipc_get_str(r);
    out->spf_domain = ipc_get_str(r);
    out->spf_result = ipc_get_str(r);
    out->spf_helo = ipc_get_u8(r);
    get_signatures(r, arena, out);
    return !r->bad && out->method <= DMARC_PUBLIC_SUFFIX && out->verdict <= DMARC_PERMERROR &&
           out->disposition <= DMARC_POLICY_REJECT && out->override <= DMARC_OVERRIDE_OTHER &&
           out->dkim_aligned <= 1 && out->spf_aligned <= 1 && out->spf_helo <= 1;
}

bool ipc_put_failure_seen(struct vr_buf *b, const struct failure_seen *s)
{
    size_t before = vr_buf_size(b);
    if (!ipc_put_dmarc_seen(b, &s->message))
        return false;
    ipc_put_u8(b, s->kind);
    ipc_put_u8(b, s->delivery);
    ipc_put_str(b, s->mail_from);
    ipc_put_str(b, s->spf_record);
    ipc_put_str(b, s->dkim_domain);
    ipc_put_str(b, s->dkim_identity);
    ipc_put_str(b, s->dkim_selector);
    ipc_put_str(b, s->dkim_reason);
    ipc_put_u8(b, s->dkim_verdict);
    ipc_put_str(b, s->header);
    ipc_put_u8(b, s->cut);
    return fits(b, before);
}

bool ipc_get_failure_seen(struct ipc_reader *r, struct vr_arena *arena, struct failure_seen *out)
{
    *out = (struct failure_seen){.kind = 0};
    if (!ipc_get_dmarc_seen(r, arena, &out->message))
        return false;
    out->kind = ipc_get_u8(r);
    out->delivery = ipc_get_u8(r);
    out->mail_from = ipc_get_str(r);
    out->spf_record = ipc_get_str(r);
    out->dkim_domain = ipc_get_str(r);
    out->dkim_identity = ipc_get_str(r);
    out->dkim_selector = ipc_get_str(r);
    out->dkim_reason = ipc_get_str(r);
    out->dkim_verdict = ipc_get_u8(r);
    out->header = ipc_get_str(r);
    out->cut = ipc_get_u8(r);
    return !r->bad && out->kind > DMARC_FAILURE_NONE && out->kind <= DMARC_FAILURE_SPF &&
           out->delivery <= DMARC_FAILURE_REJECTED && out->mail_from.n > 0 &&
           out->dkim_verdict <= DKIM_PERMERROR && out->header.n <= DMARC_FAILURE_HEADER_MAX && out->cut <= 1;
}

bool ipc_put_tls_seen(struct vr_buf *b, const struct tls_seen *s)
{
    size_t before = vr_buf_size(b);
    ipc_put_u64(b, (uint64_t)s->time_us);
    ipc_put_str(b, s->policy_domain);
    ipc_put_u8(b, s->policy_type);
    put_strings(b, s->strings, s->string_count);
    put_strings(b, s->mx_hosts, s->mx_count);
    ipc_put_u8(b, s->result);
    ipc_put_str(b, s->sending_ip);
    ipc_put_str(b, s->mx_hostname);
    ipc_put_str(b, s->mx_helo);
    ipc_put_str(b, s->receiving_ip);
    ipc_put_str(b, s->reason);
    return fits(b, before);
}

bool ipc_get_tls_seen(struct ipc_reader *r, struct vr_arena *arena, struct tls_seen *out)
{
    *out = (struct tls_seen){0};
    out->time_us = (int64_t)ipc_get_u64(r);
    out->policy_domain = ipc_get_str(r);
    out->policy_type = ipc_get_u8(r);
    out->strings = get_strings(r, arena, &out->string_count);
    out->mx_hosts = get_strings(r, arena, &out->mx_count);
    out->result = ipc_get_u8(r);
    out->sending_ip = ipc_get_str(r);
    out->mx_hostname = ipc_get_str(r);
    out->mx_helo = ipc_get_str(r);
    out->receiving_ip = ipc_get_str(r);
    out->reason = ipc_get_str(r);
    return !r->bad && out->policy_type <= TLSRPT_STS && out->result < TLSRPT_RESULTS;
}
