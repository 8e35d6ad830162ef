/* dkim_verify.c - see dkim.h: all signatures of a message, from questions to verdicts (RFC 6376 §6.1).
 *
 * Each call begins anew; what costs (mathematics) is done in the last one only, when nothing is left to ask.
 * Tests: tests/unit/dkim_verify.c
 */
#include "inside.h"

static const char *const verdict_names[] = {
    [DKIM_PASS] = "pass",       [DKIM_FAIL] = "fail",           [DKIM_POLICY] = "policy",
    [DKIM_NEUTRAL] = "neutral", [DKIM_TEMPERROR] = "temperror", [DKIM_PERMERROR] = "permerror"};

static const char *const algorithm_names[] = {[DKIM_ALGORITHM_UNKNOWN] = "",
                                              [DKIM_RSA_SHA1] = "rsa-sha1",
                                              [DKIM_RSA_SHA256] = "rsa-sha256",
                                              [DKIM_ED25519_SHA256] = "ed25519-sha256"};

const char *dkim_verdict_name(enum dkim_verdict v)
{
    return (size_t)v < sizeof verdict_names / sizeof *verdict_names ? verdict_names[v] : "";
}

const char *dkim_algorithm_name(enum dkim_algorithm a)
{
    return (size_t)a < sizeof algorithm_names / sizeof *algorithm_names ? algorithm_names[a] : "";
}

struct verification {
    const struct mail_digest *d;
    const struct dkim_query *q;
    struct vr_arena *arena;
    struct sig *sigs;
    struct dkim_signature *told;
    size_t count;
    struct questions questions;
};

/* ---- what is told of a signature ------------------------------------------------------------------------------------- */

static struct dkim_signature tell(const struct sig *s)
{
    return (struct dkim_signature){.verdict = s->verdict,
                                   .reason = vr_str_from(s->bad ? s->why : NULL),
                                   .domain = s->domain,
                                   .d = s->d,
                                   .s = s->s,
                                   .i = s->i,
                                   .a = s->a,
                                   .algorithm = s->algorithm,
                                   .time = s->time,
                                   .expires = s->expires,
                                   .length_given = s->length_given,
                                   .field = s->entry->raw};
}

/* At least 8 characters of b=, and as many as it takes to tell it from the others (RFC 6008 §4). */
static void tell_beginnings(struct verification *v)
{
    for (size_t i = 0; i < v->count; i++) {
        struct vr_str own = v->sigs[i].b_text;
        size_t n = own.n < 8 ? own.n : 8;
        for (size_t k = 0; k < v->count; k++) {
            struct vr_str other = v->sigs[k].b_text;
            while (k != i && n < own.n && !vr_str_equal(own, other) &&
                   vr_str_starts(other, vr_str_sub(own, 0, n)))
                n++;
        }
        v->told[i].b = vr_str_sub(own, 0, n);
    }
}

/* ---- steps --------------------------------------------------------------------------------------------------------------- */

static enum vr_err find_signatures(struct verification *v, struct dkim_result *out)
{
    const struct header_index *index = digest_index(v->d);
    size_t most = v->q->policy.signatures;
    if (most == 0 || most > DKIM_SIGNATURES_MAX)
        most = DKIM_SIGNATURES_MAX;
    for (size_t i = 0; i < index->count; i++) {
        if (!header_is(&index->entries[i], VR_STR("DKIM-Signature")))
            continue;
        if (v->count == most) {
            out->ignored++;
            continue;
        }
        struct sig *s = &v->sigs[v->count];
        struct conclusion c;
        enum vr_err e = sig_parse(v->arena, SIG_DKIM, &index->entries[i], s);
        if (e != VR_OK)
            return e;
        if (!s->bad && !conclude_time(s, v->q, &c)) {
            s->bad = true;
            s->verdict = c.verdict;
            s->why = c.why;
        }
        v->told[v->count++] = tell(s);
    }
    return VR_OK;
}

static enum vr_err ask_for_keys(struct verification *v, const struct dns_answer **answers)
{
    for (size_t i = 0; i < v->count; i++) {
        struct vr_str name = v->sigs[i].bad ? vr_str(NULL, 0) : sig_key_name(v->arena, &v->sigs[i]);
        if (!v->sigs[i].bad && name.n == 0)
            return VR_ERR_TOO_BIG;
        answers[i] = v->sigs[i].bad ? NULL : ask(&v->questions, v->q, name);
    }
    return VR_OK;
}

static enum vr_err conclude_all(struct verification *v, const struct dns_answer **answers)
{
    for (size_t i = 0; i < v->count; i++) {
        const struct sig *s = &v->sigs[i];
        struct dkim_signature *t = &v->told[i];
        uint8_t hash[EVP_MAX_MD_SIZE];
        struct conclusion c;
        if (s->bad)
            continue;
        size_t n = sig_header_hash(digest_index(v->d), s, v->arena, hash);
        enum vr_err e = n > 0 ? conclude(v->d, v->q, s, answers[i], hash, n, v->arena, &c) : VR_ERR_TOO_BIG;
        if (e != VR_OK)
            return e;
        t->verdict = c.verdict;
        t->reason = vr_str_from(c.why);
        t->key_bits = c.bits;
        t->testing = c.testing;
        t->unsigned_body = c.unsigned_body;
    }
    return VR_OK;
}

/* Of a header that was not read no signature can be named: one verdict for all. */
static enum vr_err header_too_big(struct verification *v, struct dkim_result *out)
{
    v->told[0] = (struct dkim_signature){.verdict = DKIM_PERMERROR,
                                         .reason = VR_STR("the message's header is too large"),
                                         .time = -1,
                                         .expires = -1};
    out->state = DKIM_DONE;
    out->signatures = v->told;
    out->signature_count = 1;
    return VR_OK;
}

enum vr_err dkim_verify(const struct mail_digest *d, const struct dkim_query *q, struct vr_arena *arena,
                        struct dkim_result *out)
{
    struct verification v = {.d = d, .q = q, .arena = arena};
    const struct dns_answer *answers[DKIM_SIGNATURES_MAX];
    *out = (struct dkim_result){.state = DKIM_ASK};
    v.sigs = vr_arena_alloc(arena, DKIM_SIGNATURES_MAX * sizeof *v.sigs);
    v.told = vr_arena_alloc(arena, DKIM_SIGNATURES_MAX * sizeof *v.told);
    v.questions.list = vr_arena_alloc(arena, DKIM_SIGNATURES_MAX * sizeof *v.questions.list);
    v.questions.max = DKIM_SIGNATURES_MAX;
    if (v.sigs == NULL || v.told == NULL || v.questions.list == NULL)
        return VR_ERR_TOO_BIG;
    if (digest_too_big(d))
        return header_too_big(&v, out);
    if (!digest_verifies(d) || !mail_digest_has_header(d))
        return VR_ERR_STATE;
    enum vr_err e = find_signatures(&v, out);
    if (e == VR_OK)
        e = ask_for_keys(&v, answers);
    if (e != VR_OK)
        return e;
    out->questions = v.questions.list;
    out->question_count = v.questions.count;
    if (v.questions.count > 0 || !mail_digest_ended(d))
        return VR_OK;
    e = conclude_all(&v, answers);
    tell_beginnings(&v);
    out->signatures = v.told;
    out->signature_count = v.count;
    out->state = e == VR_OK ? DKIM_DONE : DKIM_ASK;
    return e;
}
