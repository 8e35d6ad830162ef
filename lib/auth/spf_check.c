/* spf_check.c - see spf.h: check_host of RFC 7208 §4.
 *
 * Each call begins from the start: what was asked is found again among the answers, so nothing is kept between calls. A record is read as a
 * whole before its first term counts (§4.6). include and redirect evaluate another record; the ten terms that may ask the DNS bound how deep that goes.
 *
 * The hosts of an mx term are all asked for at once and compared in the order of their preferences, so that the verdict does not depend on the order in which
 * the DNS gave the records.
 *
 * Tests: tests/unit/spf.c, tests/conformance/
 */
#include "spf_inside.h"

#include <veredus/idn.h>

#include <string.h>

const char *spf_verdict_name(enum spf_verdict v)
{
    static const char *const names[] = {"none",     "neutral",   "pass",     "fail",
                                        "softfail", "temperror", "permerror"};
    return (size_t)v < sizeof names / sizeof names[0] ? names[v] : "none";
}

/* What became of one record. */
struct evaluation {
    enum spf_verdict verdict;
    struct vr_str domain;    /* whose record it was in the end: redirect leads to another */
    struct vr_str mechanism; /* "default" when none matched */
    struct vr_str exp;       /* domain-spec; empty: none */
};

/* ---- errors ------------------------------------------------------------------------------------------------------------ */

static enum spf_step stop(struct spf_run *r, enum spf_step step, struct vr_str reason)
{
    r->reason = reason;
    return reason.n > 0 ? step : SPF_NO_MEMORY;
}

static enum spf_step no_answer(struct spf_run *r, const struct dns_answer *a)
{
    const char *type = a->type == DNS_TYPE_TXT    ? "TXT"
                       : a->type == DNS_TYPE_MX   ? "MX"
                       : a->type == DNS_TYPE_AAAA ? "AAAA"
                                                  : "A";
    struct vr_str why = spf_clean(r->arena, a->why.n > 0 ? a->why : VR_STR("no answer"));
    return stop(r, SPF_TEMPORARY,
                vr_arena_printf(r->arena, "the DNS does not answer for the %s records of %.*s now (%.*s)",
                                type, VR_STR_ARG(spf_clean(r->arena, a->name)), VR_STR_ARG(why)));
}

static enum spf_step too_many(struct spf_run *r, const char *what)
{
    return stop(r, SPF_PERMANENT, vr_arena_printf(r->arena, "%s", what));
}

/* A look-up that found nothing (§4.6.4). */
static enum spf_step in_vain(struct spf_run *r)
{
    if (++r->out->voids > SPF_VOIDS_MAX)
        return too_many(r,
                        "more than 2 of the names that the record refers to do not exist or have no records");
    return SPF_GOES_ON;
}

/* ---- mechanisms ---------------------------------------------------------------------------------------------------------- */

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

static bool is_within(const struct spf_run *r, const struct dns_address *network, const struct spf_term *t)
{
    return network->family == r->client.family &&
           same_bits(r->client.ip, network->ip, network->family == 4 ? t->prefix4 : t->prefix6);
}

static enum dns_type address_type(const struct spf_run *r)
{
    return r->client.family == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA;
}

static bool has_client(const struct spf_run *r, const struct dns_answer *a, const struct spf_term *t)
{
    for (size_t i = 0; i < spf_answer_count(a); i++)
        if (is_within(r, &a->records[i].address, t))
            return true;
    return false;
}

/* The records of a name; none there is a look-up in vain. */
static enum spf_step look_up(struct spf_run *r, struct vr_str name, enum dns_type type,
                             const struct dns_answer **out)
{
    enum spf_step step = spf_ask(r, name, type, out);
    if (step != SPF_GOES_ON)
        return step;
    if ((*out)->status == DNS_STATUS_FAILED)
        return no_answer(r, *out);
    return spf_answer_count(*out) == 0 ? in_vain(r) : SPF_GOES_ON;
}

static enum spf_step match_a(struct spf_run *r, const struct spf_term *t, struct vr_str target)
{
    const struct dns_answer *a;
    enum spf_step step = look_up(r, target, address_type(r), &a);
    return step == SPF_GOES_ON && has_client(r, a, t) ? SPF_MATCHES : step;
}

static enum spf_step match_exists(struct spf_run *r, const struct spf_term *t, struct vr_str target)
{
    const struct dns_answer *a;
    (void)t;
    enum spf_step step = look_up(r, target, DNS_TYPE_A, &a);
    return step == SPF_GOES_ON && spf_answer_count(a) > 0 ? SPF_MATCHES : step;
}

/* The hosts in the order of their preferences; equal ones as they came. */
static size_t sort_hosts(const struct dns_answer *mx, const struct dns_record *out[SPF_HOSTS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < spf_answer_count(mx); i++) {
        size_t at = n++;
        for (; at > 0 && mx->records[i].preference < out[at - 1]->preference; at--)
            out[at] = out[at - 1];
        out[at] = &mx->records[i];
    }
    return n;
}

/* §5.4, host by host: the first that matches, or whose addresses cannot be had, ends it. */
static enum spf_step compare_hosts(struct spf_run *r, const struct spf_term *t,
                                   const struct dns_answer *const *hosts, size_t n)
{
    enum spf_step step = SPF_GOES_ON;
    for (size_t i = 0; i < n && step == SPF_GOES_ON; i++) {
        if (hosts[i]->status == DNS_STATUS_FAILED)
            step = no_answer(r, hosts[i]);
        else if (has_client(r, hosts[i], t))
            step = SPF_MATCHES;
        else if (spf_answer_count(hosts[i]) == 0)
            step = in_vain(r);
    }
    return step;
}

static enum spf_step match_mx(struct spf_run *r, const struct spf_term *t, struct vr_str target)
{
    const struct dns_answer *mx, *hosts[SPF_HOSTS_MAX];
    const struct dns_record *sorted[SPF_HOSTS_MAX];
    enum spf_step step = look_up(r, target, DNS_TYPE_MX, &mx);
    if (step != SPF_GOES_ON)
        return step;
    if (spf_answer_count(mx) > SPF_HOSTS_MAX)
        return too_many(r, "a domain of an mx term has more than 10 MX hosts");
    size_t count = sort_hosts(mx, sorted), n = 0;
    for (size_t i = 0; i < count; i++) {
        struct vr_str host = sorted[i]->name;
        if (host.n > 0 && host.p[host.n - 1] == '.')
            host.n--;
        if (!spf_name_valid(host)) /* the null MX of RFC 7505, too */
            continue;
        if (spf_ask(r, host, address_type(r), &hosts[n]) == SPF_ASKED)
            step = SPF_ASKED; /* all at once */
        else
            n++;
    }
    return step == SPF_ASKED ? step : compare_hosts(r, t, hosts, n);
}

/* §5.5: no failure of the DNS is more than no match. What the names of a client are is its own business, so only their look-up counts as in vain. */
static enum spf_step match_ptr(struct spf_run *r, const struct spf_term *t, struct vr_str target)
{
    const struct vr_str *names;
    size_t count;
    bool found;
    (void)t;
    enum spf_step step = spf_client_names(r, &names, &count, &found);
    if (step != SPF_GOES_ON)
        return step == SPF_TEMPORARY ? SPF_GOES_ON : step;
    for (size_t i = 0; i < count; i++)
        if (spf_is_below(names[i], target))
            return SPF_MATCHES;
    return found ? SPF_GOES_ON : in_vain(r);
}

static enum spf_step check_host(struct spf_run *r, struct vr_str domain, struct evaluation *out);

/* §5.2: the table of what a result of the other record means. */
static enum spf_step match_include(struct spf_run *r, const struct spf_term *t, struct vr_str target)
{
    struct evaluation other;
    (void)t;
    enum spf_step step = check_host(r, target, &other);
    if (step != SPF_GOES_ON)
        return step;
    if (other.verdict == SPF_NONE)
        return stop(r, SPF_PERMANENT,
                    vr_arena_printf(r->arena, "%.*s, which is included, has no SPF record",
                                    VR_STR_ARG(spf_clean(r->arena, target))));
    return other.verdict == SPF_PASS ? SPF_MATCHES : SPF_GOES_ON;
}

static enum spf_step (*const asking[])(struct spf_run *, const struct spf_term *, struct vr_str) = {
    [SPF_TERM_INCLUDE] = match_include, [SPF_TERM_A] = match_a,           [SPF_TERM_MX] = match_mx,
    [SPF_TERM_PTR] = match_ptr,         [SPF_TERM_EXISTS] = match_exists,
};

/* The target of a term that may ask; it counts (§4.6.4). */
static enum spf_step target_of(struct spf_run *r, const struct spf_term *t, struct vr_str domain,
                               struct vr_str *target)
{
    if (++r->out->lookups > SPF_LOOKUPS_MAX)
        return too_many(r, "the record and those that it refers to have more than 10 terms that ask the DNS");
    return spf_target(r, t->spec, domain, target);
}

static enum spf_step match(struct spf_run *r, const struct spf_term *t, struct vr_str domain)
{
    struct vr_str target;
    switch (t->kind) {
    case SPF_TERM_ALL:
        return SPF_MATCHES;
    case SPF_TERM_IP4:
    case SPF_TERM_IP6:
        return is_within(r, &t->network, t) ? SPF_MATCHES : SPF_GOES_ON;
    case SPF_TERM_REDIRECT:
    case SPF_TERM_EXP:
    case SPF_TERM_UNKNOWN:
        return SPF_GOES_ON;
    default:
        break;
    }
    enum spf_step step = target_of(r, t, domain, &target);
    if (step != SPF_GOES_ON)
        return step;
    if (target.n == 0 && t->kind == SPF_TERM_INCLUDE) /* check_host says none, §4.3 */
        return stop(
            r, SPF_PERMANENT,
            vr_arena_printf(r->arena, "%.*s leads to no domain", VR_STR_ARG(spf_clean(r->arena, t->text))));
    return target.n == 0 ? SPF_GOES_ON : asking[t->kind](r, t, target);
}

/* ---- a record -------------------------------------------------------------------------------------------------------------- */

/* §4.5. SPF_GOES_ON; found: there is one, and *out is what stands behind its version. */
static enum spf_step find_record(struct spf_run *r, struct vr_str domain, struct vr_str *out, bool *found)
{
    const struct dns_answer *txt;
    struct vr_str rest;
    enum spf_step step = spf_ask(r, domain, DNS_TYPE_TXT, &txt);
    *found = false;
    if (step != SPF_GOES_ON)
        return step;
    if (txt->status == DNS_STATUS_FAILED)
        return no_answer(r, txt);
    for (size_t i = 0; i < spf_answer_count(txt); i++) {
        if (!spf_record_is(txt->records[i].data, &rest))
            continue;
        if (*found)
            return stop(r, SPF_PERMANENT,
                        vr_arena_printf(r->arena, "%.*s has more than one SPF record",
                                        VR_STR_ARG(spf_clean(r->arena, domain))));
        *found = true;
        *out = rest;
    }
    return SPF_GOES_ON;
}

/* §6.1 */
static enum spf_step redirected(struct spf_run *r, const struct spf_term *redirect, struct vr_str domain,
                                struct evaluation *out)
{
    struct vr_str target;
    enum spf_step step = target_of(r, redirect, domain, &target);
    if (step != SPF_GOES_ON)
        return step;
    if (target.n > 0)
        step = check_host(r, target, out);
    if (step == SPF_GOES_ON && (target.n == 0 || out->verdict == SPF_NONE))
        return stop(r, SPF_PERMANENT,
                    vr_arena_printf(r->arena, "%.*s leads to no SPF record",
                                    VR_STR_ARG(spf_clean(r->arena, redirect->text))));
    return step;
}

static enum spf_step check_host(struct spf_run *r, struct vr_str domain, struct evaluation *out)
{
    struct spf_summary summary;
    struct spf_term t;
    struct vr_str rest;
    const char *why;
    bool found;
    *out = (struct evaluation){.verdict = SPF_NONE, .domain = domain};
    enum spf_step step = find_record(r, domain, &rest, &found);
    if (step != SPF_GOES_ON || !found)
        return step;
    if (!spf_record_read(rest, &summary))
        return stop(r, SPF_PERMANENT,
                    vr_arena_printf(r->arena, "the SPF record of %.*s is wrong at \"%.*s\": %s",
                                    VR_STR_ARG(spf_clean(r->arena, domain)),
                                    VR_STR_ARG(spf_clean(r->arena, summary.bad.text)), summary.why));
    while (spf_term_next(&rest, &t, &why) == SPF_READ_TERM) {
        step = match(r, &t, domain);
        if (step == SPF_MATCHES) {
            *out = (struct evaluation){t.qualifier, domain, t.text, summary.exp.spec};
            return SPF_GOES_ON;
        }
        if (step != SPF_GOES_ON)
            return step;
    }
    if (summary.redirect.spec.n > 0)
        return redirected(r, &summary.redirect, domain, out);
    out->verdict = SPF_NEUTRAL;
    out->mechanism = VR_STR("default");
    return SPF_GOES_ON;
}

/* ---- the result -------------------------------------------------------------------------------------------------------------- */

/* §6.2: whatever goes wrong here, there is no explanation; only a question that is open holds the verdict up. */
static enum spf_step explain(struct spf_run *r, const struct evaluation *e, struct vr_str *out)
{
    const struct dns_answer *txt;
    struct vr_str target;
    *out = vr_str(NULL, 0);
    if (e->verdict != SPF_FAIL || e->exp.n == 0)
        return SPF_GOES_ON;
    bool local_part = r->out->local_part; /* what the words are has no say in the verdict */
    enum spf_step step = spf_target(r, e->exp, e->domain, &target);
    if (step == SPF_GOES_ON && target.n > 0)
        step = spf_ask(r, target, DNS_TYPE_TXT, &txt);
    if (step == SPF_GOES_ON && target.n > 0 && spf_answer_count(txt) == 1)
        step = spf_explain(r, txt->records[0].data, e->domain, out);
    r->out->local_part = local_part;
    return step;
}

static struct vr_str reason_of(struct spf_run *r, const struct evaluation *e)
{
    static const char *const says[] = {
        [SPF_NEUTRAL] = "says neither yes nor no to",
        [SPF_PASS] = "allows",
        [SPF_FAIL] = "does not allow",
        [SPF_SOFTFAIL] = "probably does not allow",
    };
    struct vr_str domain = spf_clean(r->arena, r->out->domain);
    if (e->verdict == SPF_NONE)
        return vr_arena_printf(r->arena, "%.*s has no SPF record", VR_STR_ARG(domain));
    return vr_arena_printf(r->arena, "%.*s %s %.*s by %.*s", VR_STR_ARG(domain), says[e->verdict],
                           VR_STR_ARG(r->client_text), VR_STR_ARG(spf_clean(r->arena, e->mechanism)));
}

static enum vr_err conclude_check(struct spf_run *r, enum spf_step step, const struct evaluation *e)
{
    struct spf_result *out = r->out;
    if (step == SPF_GOES_ON)
        step = explain(r, e, &out->explanation);
    if (step == SPF_NO_MEMORY)
        return VR_ERR_TOO_BIG;
    if (step == SPF_ASKED)
        return VR_OK;
    out->state = SPF_DONE;
    out->question_count = 0;
    if (step == SPF_GOES_ON) {
        out->verdict = e->verdict;
        out->mechanism = e->mechanism;
        out->reason = reason_of(r, e);
    } else {
        out->verdict = step == SPF_TEMPORARY ? SPF_TEMPERROR : SPF_PERMERROR;
        out->reason = r->reason;
    }
    return out->reason.n > 0 ? VR_OK : VR_ERR_TOO_BIG;
}

/* ---- the beginning ------------------------------------------------------------------------------------------------------------- */

/* A domain as the DNS knows it; as it is where it is none. Letters keep their case where they were ASCII, for macros. False: no memory. */
static bool to_ascii(struct vr_arena *arena, struct vr_str text, struct vr_str *out)
{
    *out = text;
    if (vr_str_is_ascii(text) || text.n > IDN_NAME_MAX)
        return true;
    enum vr_err e = idn_to_ascii(arena, text, out);
    if (e != VR_OK)
        *out = text;
    return e == VR_OK || e == VR_ERR_SYNTAX ||
           arena->used < arena->max; /* "too big" may be the name as well */
}

static bool is_checkable(struct vr_str domain)
{
    uint64_t number;
    size_t dot = vr_str_find_last(domain, '.');
    return spf_name_valid(domain) && domain.p[0] != '[' && vr_str_find(domain, ' ') == VR_NPOS &&
           !vr_str_to_u64(vr_str_from_pos(domain, dot + 1), &number); /* addresses are none */
}

static bool begin(struct spf_run *r)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const struct spf_query *q = r->q;
    struct vr_str domain = q->helo;
    r->local = VR_STR("postmaster");
    if (q->identity == SPF_MAIL_FROM && q->sender.n > 0) {
        size_t at = vr_str_find_last(q->sender, '@');
        domain = vr_str_from_pos(q->sender, at == VR_NPOS ? 0 : at + 1);
        if (at != VR_NPOS && at > 0)
            r->local = vr_str_sub(q->sender, 0, at);
    }
    r->client = q->client;
    if (q->client.family == 6 && memcmp(q->client.ip, mapped, sizeof mapped) == 0) {
        r->client.family = 4;
        memmove(r->client.ip, r->client.ip + 12, 4);
    }
    r->client_text = spf_address_text(r->arena, &r->client);
    r->questions = vr_arena_alloc(r->arena, SPF_QUESTIONS_MAX * sizeof *r->questions);
    if (r->client_text.n == 0 || r->questions == NULL || !to_ascii(r->arena, domain, &r->domain) ||
        !to_ascii(r->arena, q->helo, &r->helo))
        return false;
    if (r->domain.n > 0 && r->domain.p[r->domain.n - 1] == '.')
        r->domain.n--;
    r->out->questions = r->questions;
    r->out->domain = vr_arena_lower(r->arena, r->domain);
    return r->out->domain.n == r->domain.n;
}

enum vr_err spf_check(const struct spf_query *q, struct vr_arena *arena, struct spf_result *out)
{
    struct spf_run run = {.q = q, .arena = arena, .out = out};
    struct evaluation e;
    *out = (struct spf_result){.state = SPF_ASK};
    if (!begin(&run))
        return VR_ERR_TOO_BIG;
    if (is_checkable(run.domain))
        return conclude_check(&run, check_host(&run, run.domain, &e), &e);
    out->state = SPF_DONE; /* §4.3 */
    out->verdict = SPF_NONE;
    out->reason = run.domain.n == 0
                      ? VR_STR("there is no domain to be checked")
                      : vr_arena_printf(arena, "%.*s is no domain that could have an SPF record",
                                        VR_STR_ARG(spf_clean(arena, run.domain)));
    return out->reason.n > 0 ? VR_OK : VR_ERR_TOO_BIG;
}
