/* dmarc.c - see dmarc.h: policy discovery, alignment, the verdict (RFC 9989 §5.3).
 *
 * Rules: (1) an answer that the DNS did not give never makes a pass, and makes a fail only when nothing that it could say would help (§5.3.6)
 *        (2) an identifier that is not within the author's organisation is not aligned, whatever its own tree says: it costs no question
 *        (3) all of a message's identifiers are looked at, also when one is aligned already: reports tell of each
 *
 * Tests: tests/unit/dmarc.c
 */
#include "dmarc_inside.h"

const char *dmarc_verdict_name(enum dmarc_verdict v)
{
    static const char *const names[] = {"none", "pass", "fail", "temperror", "permerror"};
    return names[v];
}

const char *dmarc_source_name(enum dmarc_source s)
{
    static const char *const names[] = {"p", "sp", "np"};
    return names[s];
}

/* What is under way for one domain of From. */
struct evaluation {
    struct dmarc_context *c;
    const struct dmarc_query *q;
    struct dmarc_result *out;
    struct dmarc_place place; /* of out->domain */
    bool asked;               /* a question is open */
    bool uncertain;           /* the DNS or a mechanism failed for now: a fail is none (rule 1) */
};

static void says(struct dmarc_result *out, enum dmarc_verdict verdict, const char *reason)
{
    out->verdict = verdict;
    out->reason = vr_str_from(reason);
}

/* ---- policy discovery (§4.10.1; RFC 7489 §6.6.3) --------------------------------------------------------------------- */

static bool take_record(struct evaluation *e, const struct dmarc_name *from)
{
    e->out->record = from->record;
    e->out->record_domain = from->domain;
    e->out->organization = e->place.organization;
    if (from->record->usable)
        return true;
    says(e->out, DMARC_PERMERROR, "the record has no valid policy, and nobody to report to");
    return false;
}

/* False: `out` has a verdict, or a question is open. */
static bool find_policy(struct evaluation *e)
{
    const struct dmarc_place *at = &e->place;
    dmarc_locate(e->c, e->out->domain, &e->place);
    if (at->own->known == KNOWN_ASKED || at->known == KNOWN_ASKED) {
        e->asked = true;
        return false;
    }
    if (at->own->known == KNOWN_RECORD)
        return take_record(e, at->own);
    if (at->own->known == KNOWN_FAILED || at->known == KNOWN_FAILED) {
        says(e->out, DMARC_TEMPERROR, "the DNS did not answer for the policy");
        return false;
    }
    says(e->out, DMARC_NONE, "no policy is published");
    if (at->policy == NULL || (at->own->known == KNOWN_MANY && e->c->method == DMARC_PUBLIC_SUFFIX))
        return false;
    switch (at->policy->known) {
    case KNOWN_RECORD:
        return take_record(e, at->policy);
    case KNOWN_ASKED:
        e->asked = true;
        return false;
    case KNOWN_FAILED:
        says(e->out, DMARC_TEMPERROR, "the DNS did not answer for the policy");
        return false;
    default:
        return false;
    }
}

/* Which of p, sp and np. A name does not exist when the DNS says NXDOMAIN (§3.2.13); that is asked only where it matters. */
static void choose_policy(struct evaluation *e)
{
    struct dmarc_result *out = e->out;
    const struct dmarc_record *r = out->record;
    out->source = DMARC_BY_P;
    out->policy = r->p;
    if (vr_str_equal(out->domain, out->record_domain))
        return;
    out->source = r->sp_given ? DMARC_BY_SP : DMARC_BY_P;
    out->policy = r->sp;
    if (r->np == r->sp)
        return;
    const struct dns_answer *a = dmarc_ask(e->c, out->domain, DNS_TYPE_A);
    e->asked = e->asked || a == NULL;
    if (a != NULL && a->status == DNS_STATUS_FAILED)
        e->uncertain = true;
    out->nonexistent = a != NULL && a->status == DNS_STATUS_NXDOMAIN;
    if (!out->nonexistent)
        return;
    out->source = DMARC_BY_NP;
    out->policy = r->np;
}

/* ---- alignment (§4.4, §4.10.2) ------------------------------------------------------------------------------------------- */

enum aligned { ALIGNED, NOT_ALIGNED, PERHAPS_ALIGNED };

static enum aligned align(struct evaluation *e, struct vr_str identifier, bool strict)
{
    struct vr_str name, organization = e->place.organization;
    struct dmarc_place place;
    if (identifier.n == 0 || !dmarc_domain(e->c->arena, identifier, &name))
        return NOT_ALIGNED;
    if (vr_str_equal(name, e->out->domain))
        return ALIGNED;
    if (strict)
        return NOT_ALIGNED;
    if (e->place.known == KNOWN_FAILED)
        return PERHAPS_ALIGNED;
    if (!dmarc_is_within(name, organization)) /* rule 2 */
        return NOT_ALIGNED;
    dmarc_locate(e->c, name, &place);
    if (place.known == KNOWN_ASKED || (place.known == KNOWN_FAILED)) {
        e->asked = e->asked || place.known == KNOWN_ASKED;
        return PERHAPS_ALIGNED;
    }
    return vr_str_equal(place.organization, organization) ? ALIGNED : NOT_ALIGNED;
}

/* True: it passed and is aligned. */
static bool check_identifier(struct evaluation *e, struct vr_str domain, bool strict, bool passed,
                             bool temporary)
{
    if (!passed && !temporary)
        return false;
    enum aligned a = align(e, domain, strict);
    if (a == NOT_ALIGNED)
        return false;
    if (a == ALIGNED && passed)
        return true;
    e->uncertain = true;
    return false;
}

static void check_alignment(struct evaluation *e)
{
    const struct dmarc_query *q = e->q;
    struct dmarc_result *out = e->out;
    out->spf_aligned =
        check_identifier(e, q->spf_domain, out->record->aspf_strict, q->spf_pass, q->spf_temperror);
    e->uncertain = e->uncertain || q->dkim_temperror;
    for (size_t i = 0; i < q->signature_count; i++) {
        const struct dkim_signature *s = &q->signatures[i];
        bool good = check_identifier(e, s->domain, out->record->adkim_strict, s->verdict == DKIM_PASS,
                                     s->verdict == DKIM_TEMPERROR);
        if (good && !out->dkim_aligned)
            out->dkim_index = i;
        out->dkim_aligned = out->dkim_aligned || good;
    }
}

/* ---- the verdict ------------------------------------------------------------------------------------------------------------- */

static enum dmarc_policy weaker(enum dmarc_policy p)
{
    return p == DMARC_POLICY_REJECT ? DMARC_POLICY_QUARANTINE : DMARC_POLICY_NONE;
}

/* t=y (RFC 9989 §4.7), pct= (RFC 7489 §6.6.4): one step down each. */
static void set_disposition(struct evaluation *e)
{
    struct dmarc_result *out = e->out;
    out->disposition = out->policy;
    if (out->policy == DMARC_POLICY_NONE)
        return;
    if (out->record->testing) {
        out->tested = true;
        out->disposition = weaker(out->disposition);
    } else if (e->q->method == DMARC_PUBLIC_SUFFIX && e->q->sample >= out->record->pct) {
        out->sampled_out = true;
        out->disposition = weaker(out->disposition);
    }
}

static void conclude(struct evaluation *e)
{
    struct dmarc_result *out = e->out;
    if (out->spf_aligned || out->dkim_aligned)
        says(out, DMARC_PASS, NULL);
    else if (e->uncertain)
        says(out, DMARC_TEMPERROR, "the DNS did not answer for what would show that it is aligned");
    else {
        bool any = e->q->spf_pass;
        for (size_t i = 0; i < e->q->signature_count; i++)
            any = any || e->q->signatures[i].verdict == DKIM_PASS;
        says(out, DMARC_FAIL, any ? "what passes is of other domains" : "neither SPF nor DKIM passes");
        set_disposition(e);
    }
}

static bool evaluate_one(struct dmarc_context *c, const struct dmarc_query *q, struct vr_str domain,
                         struct dmarc_result *out)
{
    struct evaluation e = {.c = c, .q = q, .out = out};
    *out = (struct dmarc_result){.domain = domain, .method = q->method};
    if (find_policy(&e)) {
        choose_policy(&e);
        check_alignment(&e);
        if (!e.asked)
            conclude(&e);
    }
    return !e.asked;
}

/* The worse, the higher (§11.5). */
static unsigned rank(const struct dmarc_result *r)
{
    static const unsigned ranks[] = {
        [DMARC_PASS] = 0, [DMARC_NONE] = 1, [DMARC_PERMERROR] = 2, [DMARC_FAIL] = 3, [DMARC_TEMPERROR] = 4};
    if (r->verdict == DMARC_FAIL && r->disposition != DMARC_POLICY_NONE)
        return 4 + (unsigned)r->disposition;
    return ranks[r->verdict];
}

static void evaluate_all(struct dmarc_context *c, const struct dmarc_query *q, struct dmarc_result *out)
{
    bool open = false;
    for (size_t i = 0; i < q->from->count; i++) {
        struct dmarc_result one;
        bool done = evaluate_one(c, q, q->from->domains[i], &one);
        open = open || !done;
        if (i == 0 || rank(&one) > rank(out))
            *out = one;
    }
    out->state = open ? DKIM_ASK : DKIM_DONE;
    out->questions = c->questions;
    out->question_count = open ? c->question_count : 0;
}

enum vr_err dmarc_evaluate(const struct dmarc_query *q, struct vr_arena *arena, struct dmarc_result *out)
{
    struct dmarc_context c = {
        .arena = arena, .method = q->method, .answers = q->answers, .answer_count = q->answer_count};
    *out = (struct dmarc_result){.state = DKIM_DONE, .method = q->method};
    if (q->from->count == 0) {
        says(out, DMARC_NONE, "From names no domain");
        return VR_OK;
    }
    evaluate_all(&c, q, out);
    if (c.full)
        return VR_ERR_TOO_BIG;
    const char *incomplete = q->from->more         ? "From names more domains than are evaluated"
                             : q->from->unreadable ? "From names an author without a domain"
                                                   : NULL;
    if (out->state == DKIM_DONE && incomplete != NULL && rank(out) <= 1)
        says(out, DMARC_PERMERROR, incomplete);
    return VR_OK;
}
