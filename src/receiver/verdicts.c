/* verdicts.c - what SPF, DKIM, ARC and DMARC mean for a message: taken, marked, into Junk, refused, or later; and how that is told.
 *
 * Rules:   (1) the owner of the author's domain decides, by DMARC, up to what the recipient's domain allows (verify.dmarc); a trusted chain of seals overrides
 *          his wish. (2) What passes DMARC, or has such a chain, is spared by verify.spf = quarantine and by verify.dkim. (3) What the DNS did not say is no pass and no failure: where it
 *          could have led to more than a mark, the client comes again (verify.temperror).
 * Told:    to the client in the reply (RFC 7372, 9989 §8), to readers in Authentication-Results and X-Quarantine, to the log in one event, to the domain's owner by the
 *          reporter.
 * Tests:   tests/unit/receiver_verifying.c, tests/e2e/test_verify.py
 */
#include "receiver/verifying.h"

#include "ipc/seen.h"

#include <veredus/authres.h>

#include <stdlib.h>

#define TEXT_MAX  400 /* of a reply: it is one line, RFC 5321 §4.5.3.1.5 */
#define SHOWN_MAX 100 /* of a name in it */
#define FIELD_MAX 16384
#define RESULTS   (DKIM_SIGNATURES_MAX + 4)

/* A reply whose text has room for what strangers' records say. */
static struct smtp_reply reply_with(struct verification *v, uint16_t code, const char *enhanced,
                                    struct vr_str text)
{
    char *copy = (char *)(uintptr_t)vr_arena_dup(&v->memory, vr_str_sub(text, 0, TEXT_MAX)).p;
    if (copy == NULL || text.n == 0)
        return (struct smtp_reply){code, enhanced, VR_STR("the message fails verification")};
    struct vr_str out = vr_str(copy, text.n < TEXT_MAX ? text.n : TEXT_MAX);
    for (size_t i = 0; i < out.n; i++)
        if (copy[i] < ' ' || copy[i] > '~')
            copy[i] = '?';
    return (struct smtp_reply){code, enhanced, out};
}

#define SHOWN(s) VR_STR_ARG(vr_str_sub(s, 0, SHOWN_MAX))

/* The first reason is the one that is told. */
static void into_quarantine(struct verification *v, struct vr_str why)
{
    if (v->quarantine.n == 0)
        v->quarantine = why.n > 0 ? why : VR_STR("it fails verification");
}

/* ---- SPF --------------------------------------------------------------------------------------------------------------------- */

/* Of both identities the one with this verdict; NULL: neither has it. */
static const struct spf_result *spf_with(const struct verification *v, enum spf_verdict verdict)
{
    static const enum check_kind kinds[] = {CHECK_MAIL_FROM, CHECK_HELO};
    for (size_t i = 0; i < 2; i++)
        if (verification_done(v, kinds[i]) && v->spf[kinds[i]].verdict == verdict)
            return &v->spf[kinds[i]];
    return NULL;
}

static struct smtp_reply spf_refusal(struct verification *v, const struct spf_result *r)
{
    bool said = r->explanation.n > 0;
    return reply_with(
        v, 550, "5.7.23",
        vr_arena_printf(&v->memory,
                        "SPF: %.*s may not send in the name of %.*s (%.*s), says the TXT record "
                        "of that domain%s%.*s",
                        VR_STR_ARG(v->client_text), SHOWN(r->domain), SHOWN(r->mechanism),
                        said ? "; its owner explains: " : "", VR_STR_ARG(r->explanation)));
}

static struct smtp_reply spf_later(struct verification *v, const struct spf_result *r)
{
    return reply_with(v, 451, "4.7.24",
                      vr_arena_printf(&v->memory,
                                      "SPF of %.*s cannot be looked up now (%.*s); try again later",
                                      SHOWN(r->domain), SHOWN(r->reason)));
}

static bool may_defer(const struct verification *v)
{
    return !v->transaction->receiver->config->verify_accepts_temperror;
}

struct smtp_reply verdicts_rcpt(struct verification *v, const struct config_verify *wants)
{
    const struct spf_result *r;
    if (wants->spf < VERIFY_REJECT)
        return (struct smtp_reply){0};
    if ((r = spf_with(v, SPF_FAIL)) != NULL)
        return spf_refusal(v, r);
    if (may_defer(v) && (r = spf_with(v, SPF_TEMPERROR)) != NULL)
        return spf_later(v, r);
    return (struct smtp_reply){0};
}

/* ---- DKIM -------------------------------------------------------------------------------------------------------------------- */

/* RFC 6376 §3.6.1: of a key that is being tested nothing follows. */
static size_t dkim_count(const struct verification *v, enum dkim_verdict verdict)
{
    size_t n = 0;
    for (size_t i = 0; i < v->dkim.signature_count; i++)
        n += v->dkim.signatures[i].verdict == verdict && !v->dkim.signatures[i].testing;
    return n;
}

static size_t dkim_counting(const struct verification *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->dkim.signature_count; i++)
        n += !v->dkim.signatures[i].testing;
    return n;
}

/* In a word: the best of the signatures. */
static const char *dkim_word(const struct verification *v)
{
    static const enum dkim_verdict best[] = {DKIM_PASS,   DKIM_TEMPERROR, DKIM_FAIL,
                                             DKIM_POLICY, DKIM_PERMERROR, DKIM_NEUTRAL};
    for (size_t i = 0; i < sizeof best / sizeof *best; i++)
        for (size_t k = 0; k < v->dkim.signature_count; k++)
            if (v->dkim.signatures[k].verdict == best[i])
                return dkim_verdict_name(best[i]);
    return "none";
}

/* ---- what is to be done --------------------------------------------------------------------------------------------------------- */

static struct smtp_reply dmarc_refusal(struct verification *v)
{
    const struct dmarc_result *d = &v->dmarc;
    const struct spf_result *spf = verification_spf(v);
    return reply_with(v, 550, "5.7.1",
                      vr_arena_printf(&v->memory,
                                      "refused by the DMARC policy of %.*s (%s=%s, _dmarc.%.*s): SPF is %s "
                                      "for %.*s, DKIM is %s, and neither "
                                      "speaks for the domain of From",
                                      SHOWN(d->domain), dmarc_source_name(d->source),
                                      dmarc_policy_name(d->policy), SHOWN(d->record_domain),
                                      spf != NULL ? spf_verdict_name(spf->verdict) : "none",
                                      SHOWN(spf != NULL ? spf->domain : vr_str(NULL, 0)), dkim_word(v)));
}

/* Might the DNS, had it answered, have made a trusted chain of this? */
static bool arc_might_help(const struct verification *v)
{
    return v->transaction->receiver->config->arc_trusted_count > 0 && v->arc.status == ARC_FAIL &&
           v->arc.temporary;
}

static struct smtp_reply dmarc_later(struct verification *v)
{
    return reply_with(
        v, 451, "4.4.3",
        vr_arena_printf(
            &v->memory,
            "DMARC of %.*s cannot be evaluated now: the DNS does not answer (%.*s); try again later",
            SHOWN(v->dmarc.domain), SHOWN(v->dmarc.reason)));
}

/* DMARC's part: v->disposition. A reply with a code: refused, or later. */
static struct smtp_reply dmarc_decide(struct verification *v)
{
    const struct config *c = v->transaction->receiver->config;
    const struct dmarc_result *d = &v->dmarc;
    bool judges = v->wants.dmarc >= VERIFY_QUARANTINE;
    if (d->verdict == DMARC_TEMPERROR) {
        bool harmless = d->record != NULL && d->policy == DMARC_POLICY_NONE;
        return judges && !harmless && may_defer(v) ? dmarc_later(v) : (struct smtp_reply){0};
    }
    if (judges &&
        (v->from.count == 0 || v->from.unreadable ||
         v->from.more)) /* or whoever leaves it out would never be judged; those who are named are */
        into_quarantine(v, VR_STR("dmarc=none; the authors that From names cannot be told"));
    if (d->verdict != DMARC_FAIL || d->disposition == DMARC_POLICY_NONE)
        return (struct smtp_reply){0};
    v->overridden = dmarc_arc_override(d, &v->arc, c->arc_trusted, c->arc_trusted_count, &v->memory,
                                       &v->override_comment);
    if (v->overridden || !judges)
        return (struct smtp_reply){0};
    if (arc_might_help(v) && may_defer(v))
        return dmarc_later(v);
    bool refuses = d->disposition == DMARC_POLICY_REJECT && v->wants.dmarc == VERIFY_REJECT;
    v->disposition = refuses ? DMARC_POLICY_REJECT : DMARC_POLICY_QUARANTINE;
    if (refuses)
        return dmarc_refusal(v);
    into_quarantine(v, vr_arena_printf(&v->memory, "dmarc=fail; the policy of %.*s is %s", SHOWN(d->domain),
                                       dmarc_policy_name(d->policy)));
    return (struct smtp_reply){0};
}

static struct smtp_reply spf_decide(struct verification *v)
{
    struct smtp_reply refused =
        verdicts_rcpt(v, &v->wants); /* it came by XFORWARD, say, behind a recipient */
    if (refused.code != 0 || v->wants.spf < VERIFY_QUARANTINE)
        return refused;
    const struct spf_result *r = spf_with(v, SPF_FAIL);
    if (r != NULL)
        into_quarantine(v, vr_arena_printf(&v->memory, "spf=fail; %.*s may not send in the name of %.*s",
                                           VR_STR_ARG(v->client_text), SHOWN(r->domain)));
    else if (may_defer(v) && (r = spf_with(v, SPF_TEMPERROR)) != NULL)
        return spf_later(v, r);
    return refused;
}

static struct smtp_reply dkim_decide(struct verification *v)
{
    struct smtp_reply fine = {0};
    if (v->wants.dkim < VERIFY_QUARANTINE || dkim_counting(v) == 0 || dkim_count(v, DKIM_PASS) > 0)
        return fine;
    const struct dkim_signature *first = &v->dkim.signatures[0];
    if (dkim_count(v, DKIM_TEMPERROR) > 0)
        return may_defer(v)
                   ? SMTP_REPLY(451, "4.4.3",
                                "the keys of the DKIM signatures cannot be looked up now; try again later")
                   : fine;
    struct vr_str what = vr_arena_printf(
        &v->memory, "no DKIM signature of the message holds; that of %.*s: %.*s", SHOWN(first->domain),
        SHOWN(first->reason.n > 0 ? first->reason : vr_str_from(dkim_verdict_name(first->verdict))));
    if (v->wants.dkim == VERIFY_REJECT)
        return reply_with(v, 550, "5.7.20", what);
    into_quarantine(v, vr_arena_printf(&v->memory, "dkim=fail; %.*s", VR_STR_ARG(what)));
    return fine;
}

static struct smtp_reply decide(struct verification *v)
{
    struct smtp_reply r = {0};
    if (v->checks[CHECK_DMARC].wanted)
        r = dmarc_decide(v);
    if (r.code != 0 || v->overridden || (v->checks[CHECK_DMARC].wanted && v->dmarc.verdict == DMARC_PASS))
        return r;
    if (v->checks[CHECK_HELO].wanted && v->wants.spf > VERIFY_NONE)
        r = spf_decide(v);
    return r.code != 0 ? r : dkim_decide(v);
}

/* ---- how it is told ------------------------------------------------------------------------------------------------------------- */

static void add_dkim(struct event_log *l, const struct verification *v)
{
    struct vr_buf b;
    vr_buf_init(&b, 2048);
    for (size_t i = 0; i < v->dkim.signature_count; i++)
        vr_buf_addf(&b, "%s%s:%.*s", i > 0 ? "," : "", dkim_verdict_name(v->dkim.signatures[i].verdict),
                    SHOWN(v->dkim.signatures[i].domain));
    event_str(l, "dkim", v->dkim.signature_count > 0 ? vr_buf_str(&b) : VR_STR("none"));
    vr_buf_fini(&b);
}

static const char *action_of(const struct verification *v, const struct smtp_reply *reply)
{
    return reply->code >= 500    ? "reject"
           : reply->code >= 400  ? "later"
           : v->quarantine.n > 0 ? "quarantine"
                                 : "accept";
}

static void report(const struct verification *v, const struct smtp_reply *reply)
{
    struct event_log *l = v->transaction->receiver->log;
    event_begin(l, reply->code != 0 ? EVENT_NOTICE : EVENT_INFO, "message.verified", v->transaction->id);
    event_str(l, "client", v->transaction->envelope.client);
    event_str(l, "from", v->sender);
    if (verification_done(v, CHECK_HELO))
        event_text(l, "helo", spf_verdict_name(v->spf[CHECK_HELO].verdict));
    if (verification_spf(v) != NULL)
        event_text(l, "spf", spf_verdict_name(verification_spf(v)->verdict));
    if (verification_done(v, CHECK_DKIM))
        add_dkim(l, v);
    if (verification_done(v, CHECK_ARC) && v->arc.instances > 0)
        event_text(l, "arc", arc_status_name(v->arc.status));
    if (verification_done(v, CHECK_DMARC)) {
        event_text(l, "dmarc", dmarc_verdict_name(v->dmarc.verdict));
        event_str(l, "domain", v->dmarc.domain);
        if (v->dmarc.record != NULL)
            event_text(l, "policy", dmarc_policy_name(v->dmarc.policy));
        if (v->overridden)
            event_str(l, "override", v->override_comment);
    }
    event_text(l, "action", action_of(v, reply));
    if (reply->code != 0) {
        event_u64(l, "code", reply->code);
        event_str(l, "reply", reply->text);
    }
    event_end(l);
}

static struct vr_str domain_of(struct vr_str address)
{
    size_t at = vr_str_find_last(address, '@');
    return at == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(address, at + 1);
}

static enum dmarc_override override_of(const struct verification *v)
{
    const struct dmarc_result *d = &v->dmarc;
    if (v->overridden)
        return DMARC_OVERRIDE_LOCAL_POLICY;
    if (d->sampled_out)
        return DMARC_OVERRIDE_SAMPLED_OUT;
    if (d->tested)
        return DMARC_OVERRIDE_POLICY_TEST_MODE;
    return d->disposition != v->disposition ? DMARC_OVERRIDE_LOCAL_POLICY : DMARC_OVERRIDE_NONE;
}

static struct dmarc_seen seen_of(const struct verification *v,
                                 struct seen_signature signatures[SEEN_SIGNATURES_MAX])
{
    const struct transaction *t = v->transaction;
    const struct dmarc_result *d = &v->dmarc;
    const struct spf_result *spf = verification_spf(v);
    uint32_t n = 0;
    for (; !v->dkim_unknown && n < v->dkim.signature_count && n < SEEN_SIGNATURES_MAX; n++) {
        const struct dkim_signature *s = &v->dkim.signatures[n];
        signatures[n] = (struct seen_signature){s->domain, s->s, (uint8_t)s->verdict, s->reason};
    }
    return (struct dmarc_seen){.time_us = t->envelope.arrival_us,
                               .policy_domain = d->record_domain,
                               .organization = d->organization,
                               .record = d->record->text,
                               .method = (uint8_t)d->method,
                               .source_ip = v->client_text,
                               .verdict = (uint8_t)d->verdict,
                               .disposition = (uint8_t)v->disposition,
                               .override = (uint8_t)override_of(v),
                               .comment = v->override_comment,
                               .dkim_aligned = d->dkim_aligned,
                               .spf_aligned = d->spf_aligned,
                               .header_from = d->domain,
                               .envelope_from = domain_of(v->sender),
                               .envelope_to = domain_of(t->envelope.rcpts[0].address),
                               .spf_domain = spf != NULL ? spf->domain : vr_str(NULL, 0),
                               .spf_result = vr_str_from(spf != NULL ? spf_verdict_name(spf->verdict) : NULL),
                               .spf_helo = v->sender.n == 0,
                               .signatures = signatures,
                               .signature_count = n};
}

/* The record that SPF was decided by; empty: there is none. */
static struct vr_str spf_record(const struct verification *v)
{
    const struct spf_result *spf = verification_spf(v);
    const struct dns_answer *a =
        spf != NULL ? dns_answer_find(v->answers, v->answer_count, spf->domain, DNS_TYPE_TXT) : NULL;
    for (size_t i = 0; a != NULL && a->status == DNS_STATUS_OK && i < a->count; i++)
        if (vr_str_starts_nocase(a->records[i].data, VR_STR("v=spf1")))
            return a->records[i].data;
    return vr_str(NULL, 0);
}

/* Of this message alone, where fo= wants it and `reports.failures` allows it: the header goes with it. */
static void tell_failure(const struct verification *v, struct peer *reporter,
                         const struct dmarc_seen *message, const struct smtp_reply *reply)
{
    struct transaction *t = v->transaction;
    struct vr_str header = mail_digest_header(t->digest);
    size_t at;
    bool cut;
    enum dmarc_failure_kind kind = dmarc_failure_wanted(&v->dmarc, v->dkim.signatures,
                                                        v->dkim.signature_count, verification_spf(v), &at);
    if (!t->receiver->config->reports.failures || kind == DMARC_FAILURE_NONE ||
        dmarc_failure_loops(v->sender, header))
        return;
    struct failure_seen f = {.message = *message,
                             .kind = (uint8_t)kind,
                             .delivery = reply->code != 0      ? DMARC_FAILURE_REJECTED
                                         : v->quarantine.n > 0 ? DMARC_FAILURE_SPAM
                                                               : DMARC_FAILURE_DELIVERED,
                             .mail_from = v->sender,
                             .spf_record = spf_record(v)};
    if (at != VR_NPOS) {
        const struct dkim_signature *s = &v->dkim.signatures[at];
        f.dkim_domain = s->domain;
        f.dkim_identity = s->i;
        f.dkim_selector = s->s;
        f.dkim_reason = s->reason;
        f.dkim_verdict = (uint8_t)s->verdict;
    }
    f.header = dmarc_failure_header(header, &cut);
    f.cut = cut;
    struct vr_buf *b = process_frame(t->receiver->process);
    if (ipc_put_failure_seen(b, &f))
        peer_send(reporter, IPC_FAILURE_SEEN, b, -1);
}

/* The owner of the domain is told (by and by, by the reporter) what came in his name. */
static void tell_reporter(const struct verification *v, const struct smtp_reply *reply)
{
    struct process *p = v->transaction->receiver->process;
    struct peer *reporter = process_peer(p, IPC_REPORTER);
    struct seen_signature signatures[SEEN_SIGNATURES_MAX];
    if (reporter == NULL || !verification_done(v, CHECK_DMARC) || v->dmarc.record == NULL)
        return;
    struct dmarc_seen seen = seen_of(v, signatures);
    struct vr_buf *b = process_frame(p);
    if (ipc_put_dmarc_seen(b, &seen))
        peer_send(reporter, IPC_DMARC_SEEN, b, -1);
    tell_failure(v, reporter, &seen, reply);
}

struct smtp_reply verdicts_settle(struct verification *v)
{
    struct smtp_reply reply = decide(v);
    if (reply.code == 0 && v->quarantine.n > 0)
        v->transaction->envelope.asks |= ENVELOPE_QUARANTINE;
    report(v, &reply);
    if (reply.code / 100 != 4) /* it will be seen again */
        tell_reporter(v, &reply);
    return reply;
}

/* ---- on top of the message ---------------------------------------------------------------------------------------------------------- */

static void add_result(struct authres *a, struct authres_result *results, const struct authres_result *r,
                       size_t n)
{
    for (size_t i = 0; r != NULL && i < n && a->result_count < RESULTS; i++)
        results[a->result_count++] = r[i];
}

static void add_spf(const struct verification *v, enum check_kind kind, struct vr_arena *arena,
                    struct authres *a, struct authres_result *results)
{
    if (!verification_done(v, kind))
        return;
    struct spf_query q = {.client = v->client,
                          .helo = v->helo,
                          .sender = v->sender,
                          .identity = kind == CHECK_HELO ? SPF_HELO : SPF_MAIL_FROM};
    add_result(a, results, authres_of_spf(arena, &q, &v->spf[kind]), 1);
}

static void write_results(const struct verification *v, struct vr_buf *out, struct vr_arena *arena)
{
    struct authres_result *results = vr_arena_alloc(arena, RESULTS * sizeof *results);
    struct authres a = {.id = v->transaction->receiver->config->authserv_id, .results = results};
    size_t signatures = 0;
    if (results == NULL)
        return;
    add_spf(v, CHECK_MAIL_FROM, arena, &a, results);
    add_spf(v, CHECK_HELO, arena, &a, results);
    if (verification_done(v, CHECK_DMARC))
        add_result(&a, results, authres_of_dmarc(arena, &v->dmarc, v->disposition), 1);
    if (verification_done(v, CHECK_ARC) && v->arc.instances > 0)
        add_result(&a, results, authres_of_arc(arena, &v->arc, v->client_text), 1);
    if (verification_done(v, CHECK_DKIM)) {
        const struct authres_result *dkim = authres_of_dkim(arena, &v->dkim, &signatures);
        add_result(&a, results, dkim, signatures);
    }
    size_t before = vr_buf_size(out);
    while (!authres_write(out, &a) && a.result_count > 0) { /* the last signatures first */
        out->too_big = false;
        out->end = out->start + before;
        a.result_count--;
    }
}

void verifying_fields(const struct transaction *t, struct vr_buf *out)
{
    const struct verification *v = t->verification;
    struct vr_arena arena;
    if (v == NULL || !v->settled)
        return;
    struct vr_buf field;
    vr_buf_init(&field, FIELD_MAX);
    vr_arena_init(&arena, 1u << 20);
    write_results(v, &field, &arena);
    if (v->quarantine.n > 0)
        header_write(&field, VR_STR("X-Quarantine"), v->quarantine, false);
    vr_buf_add(out, vr_buf_str(&field));
    vr_arena_fini(&arena);
    vr_buf_fini(&field);
}
