/* content.c - rows of counts become a report, packed, and a message that carries it.
 *
 * A report's id is made of its period and domain, so that one which is sent twice (the process died in between) is known as the same.
 *
 * Tests: tests/unit/reporter.c, tests/e2e/test_reports.py
 */
#include "reporter/inside.h"

#include <stdio.h>

#define ROWS_MAX COUNTS_ROWS_MAX

/* ---- DMARC ---------------------------------------------------------------------------------------------------------- */

struct dmarc_writing {
    struct vr_buf xml;
    uint64_t messages;
    bool full;
};

/* What differs between the owner's wish and what was done (RFC 7489 appendix C). */
static size_t reasons_of(const struct dmarc_seen *s, struct dmarc_report_reason *out)
{
    if (s->override == DMARC_OVERRIDE_NONE)
        return 0;
    *out = (struct dmarc_report_reason){vr_str_from(dmarc_override_name((enum dmarc_override)s->override)),
                                        s->comment};
    return 1;
}

static void write_dmarc_row(void *arg, struct vr_str frame, uint64_t count)
{
    struct dmarc_writing *w = arg;
    struct ipc_reader reader = ipc_reader(frame);
    struct vr_arena arena;
    struct dmarc_seen s;
    struct dmarc_report_reason reason;
    struct dmarc_report_dkim dkim[SEEN_SIGNATURES_MAX];
    struct dmarc_report_spf spf = {.scope = VR_STR("mfrom")};
    vr_arena_init(&arena, 65536);
    if (!w->full && ipc_get_dmarc_seen(&reader, &arena, &s)) {
        for (uint32_t i = 0; i < s.signature_count; i++)
            dkim[i] = (struct dmarc_report_dkim){
                s.signatures[i].domain, s.signatures[i].selector,
                vr_str_from(dkim_verdict_name((enum dkim_verdict)s.signatures[i].verdict)),
                s.signatures[i].reason};
        spf.domain = s.spf_domain.n > 0 ? s.spf_domain : s.envelope_from;
        spf.result = s.spf_result.n > 0 ? s.spf_result : VR_STR("none");
        if (s.spf_helo)
            spf.scope = VR_STR("helo");
        const struct dmarc_report_record r = {
            .source_ip = s.source_ip,
            .count = count,
            .disposition = vr_str_from(dmarc_policy_name((enum dmarc_policy)s.disposition)),
            .dkim = s.dkim_aligned ? VR_STR("pass") : VR_STR("fail"),
            .spf = s.spf_aligned ? VR_STR("pass") : VR_STR("fail"),
            .envelope_to = s.envelope_to,
            .envelope_from = s.envelope_from,
            .header_from = s.header_from,
            .reasons = &reason,
            .reason_count = reasons_of(&s, &reason),
            .dkim_results = dkim,
            .dkim_count = s.signature_count,
            .spf_results = &spf,
            .spf_count = 1};
        w->full = !dmarc_report_record(&w->xml, &r);
        w->messages += count;
    }
    vr_arena_fini(&arena);
}

static bool make_dmarc(struct reporter *r, struct vr_arena *arena, const struct counts_domain *d,
                       const struct dmarc_record *record, size_t limit, struct content *out)
{
    struct dmarc_writing w = {.messages = 0};
    vr_buf_init(&w.xml, REPORT_CONTENT_MAX);
    out->dmarc = (struct dmarc_report){
        .organization = r->organization,
        .email = r->from,
        .contact = r->config->reports.contact,
        .id = out->id,
        .generator = VR_STR("veredus"),
        .begin = d->period,
        .end = d->period + d->length - 1,
        .policy = dmarc_report_policy_of(arena, d->domain, record, (enum dmarc_method)d->method)};
    bool good = dmarc_report_begin(&w.xml, &out->dmarc);
    counts_rows(r->counts, d, limit, write_dmarc_row, &w);
    good = good && !w.full && w.messages > 0 && dmarc_report_end(&w.xml) &&
           report_gzip(&out->gzip, vr_buf_str(&w.xml));
    out->sessions = w.messages;
    vr_buf_fini(&w.xml);
    return good;
}

/* ---- TLS -------------------------------------------------------------------------------------------------------------- */

struct tls_writing {
    struct vr_arena *arena;
    struct tlsrpt_policy *policies;
    struct tlsrpt_detail *details; /* of all policies, one after the other */
    size_t policy_count, detail_count, detail_max;
    struct tls_seen last; /* whose policy the last one is */
};

static bool same_list(const struct vr_str *a, uint32_t an, const struct vr_str *b, uint32_t bn)
{
    if (an != bn)
        return false;
    for (uint32_t i = 0; i < an; i++)
        if (!vr_str_equal(a[i], b[i]))
            return false;
    return true;
}

static bool same_policy(const struct tls_seen *a, const struct tls_seen *b)
{
    return a->policy_type == b->policy_type &&
           same_list(a->strings, a->string_count, b->strings, b->string_count) &&
           same_list(a->mx_hosts, a->mx_count, b->mx_hosts, b->mx_count);
}

static void take_tls_row(void *arg, struct vr_str frame, uint64_t count)
{
    struct tls_writing *w = arg;
    struct tls_seen s;
    frame = vr_arena_dup(w->arena, frame); /* its texts stay */
    struct ipc_reader reader = ipc_reader(frame);
    if (frame.n == 0 || w->detail_count == w->detail_max || !ipc_get_tls_seen(&reader, w->arena, &s))
        return;
    if (w->policy_count == 0 || !same_policy(&s, &w->last)) {
        w->policies[w->policy_count++] = (struct tlsrpt_policy){
            .type = vr_str_from(tlsrpt_policy_name((enum tlsrpt_policy_type)s.policy_type)),
            .strings = s.strings,
            .string_count = s.string_count,
            .mx_hosts = s.mx_hosts,
            .mx_count = s.mx_count,
            .details = &w->details[w->detail_count]};
        w->last = s;
    }
    struct tlsrpt_policy *p = &w->policies[w->policy_count - 1];
    if (s.result == TLSRPT_SUCCESS) {
        p->successful += count;
        return;
    }
    p->failed += count;
    p->detail_count++;
    w->details[w->detail_count++] =
        (struct tlsrpt_detail){.result_type = vr_str_from(tlsrpt_result_name((enum tlsrpt_result)s.result)),
                               .sending_ip = s.sending_ip,
                               .mx_hostname = s.mx_hostname,
                               .mx_helo = s.mx_helo,
                               .receiving_ip = s.receiving_ip,
                               .sessions = count,
                               .reason = s.reason};
}

static bool make_tls(struct reporter *r, struct vr_arena *arena, const struct counts_domain *d, size_t limit,
                     struct content *out)
{
    struct tls_writing w = {.arena = arena, .detail_max = limit};
    struct vr_buf json;
    w.policies = vr_arena_alloc(arena, limit * sizeof *w.policies);
    w.details = vr_arena_alloc(arena, limit * sizeof *w.details);
    if (w.policies == NULL || w.details == NULL)
        return false;
    counts_rows(r->counts, d, limit, take_tls_row, &w);
    out->sessions = out->failed = 0;
    for (size_t i = 0; i < w.policy_count; i++) {
        w.policies[i].domain = d->domain;
        out->sessions += w.policies[i].successful + w.policies[i].failed;
        out->failed += w.policies[i].failed;
    }
    out->tls = (struct tlsrpt_report){.organization = r->organization,
                                      .contact = r->from,
                                      .id = out->id,
                                      .begin = d->period,
                                      .end = d->period + d->length - 1,
                                      .policies = w.policies,
                                      .policy_count = w.policy_count};
    vr_buf_init(&json, REPORT_CONTENT_MAX);
    bool good = w.policy_count > 0 && tlsrpt_write(&json, &out->tls) == VR_OK &&
                report_gzip(&out->gzip, vr_buf_str(&json));
    vr_buf_fini(&json);
    return good;
}

/* ---- both --------------------------------------------------------------------------------------------------------------- */

bool content_make(struct reporter *r, struct vr_arena *arena, const struct counts_domain *d,
                  const struct dmarc_record *record, struct content *out)
{
    out->id = vr_arena_printf(arena, "%lld.%s.%.*s", (long long)d->period,
                              d->kind == COUNTS_DMARC ? "dmarc" : "tls", VR_STR_ARG(d->domain));
    for (size_t limit = ROWS_MAX; out->id.n > 0 && limit > 0;
         limit /= 2) { /* too large: without the rarest rows */
        vr_buf_reset(&out->gzip);
        bool good = d->kind == COUNTS_DMARC ? make_dmarc(r, arena, d, record, limit, out)
                                            : make_tls(r, arena, d, limit, out);
        if (good)
            return true;
        if (out->sessions == 0)
            break;
    }
    return false;
}

bool content_message(const struct reporter *r, const struct counts_domain *d, const struct content *c,
                     struct vr_str to, struct vr_buf *out)
{
    char id[600];
    int n = snprintf(id, sizeof id, "%.*s@%.*s", VR_STR_ARG(c->id), VR_STR_ARG(r->from_domain));
    struct vr_str message_id = vr_str(id, n > 0 && (size_t)n < sizeof id ? (size_t)n : sizeof id - 1);
    int64_t now = io_now_us(r->io) / 1000000;
    vr_buf_reset(out);
    if (d->kind == COUNTS_DMARC)
        return dmarc_report_message(out, &(struct dmarc_report_mail){.from = r->from,
                                                                     .to = to,
                                                                     .domain = d->domain,
                                                                     .message_id = message_id,
                                                                     .report = &c->dmarc,
                                                                     .messages = c->sessions,
                                                                     .time = now,
                                                                     .gzip = vr_buf_str(&c->gzip)});
    return tlsrpt_message(out, &(struct tlsrpt_mail){.from = r->from,
                                                     .to = to,
                                                     .domain = d->domain,
                                                     .message_id = message_id,
                                                     .report = &c->tls,
                                                     .time = now,
                                                     .gzip = vr_buf_str(&c->gzip)});
}
