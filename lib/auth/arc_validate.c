/* arc_validate.c - see arc.h: the steps of RFC 8617 §5.2, in order.
 *
 * Steps 1 to 3 need no keys. Then the keys of the newest set are asked for, and only when its two signatures hold those of all others: whoever
 * makes up a chain of fifty sets makes us ask twice (§9.2).
 *
 * An ARC-Message-Signature without c= is read as simple/simple, DKIM's default; when it does not hold so, as relaxed/relaxed, which others (dkimpy, the
 * protocol's test suite) take for ARC's.
 *
 * Tests: tests/unit/arc.c
 */
#include "inside.h"

struct validation {
    const struct mail_digest *d;
    const struct dkim_query *q;
    struct vr_arena *arena;
    struct arc_result *out;
    struct chain chain;
    struct sig *messages, *seals; /* by instance */
    struct arc_set *sets;
    struct questions questions;
    unsigned verified; /* instances from here on, to the newest, hold: what the last round showed */
};

/* What became of a signature. */
enum outcome { HOLDS, HOLDS_NOT, ASKED, NO_MEMORY };

static enum vr_err fails(struct validation *v, const char *why)
{
    v->out->state = DKIM_DONE;
    v->out->status = ARC_FAIL;
    v->out->reason = vr_str_from(why);
    return VR_OK;
}

/* ---- signatures ----------------------------------------------------------------------------------------------------- */

static size_t seal_hash(const struct validation *v, const struct sig *s, unsigned n,
                        uint8_t out[EVP_MAX_MD_SIZE])
{
    struct canon_hash hash;
    canon_hash_init(&hash, s->algorithm == DKIM_RSA_SHA1);
    chain_hash(&hash, &v->chain, 1, n);
    canon_field_add(&hash, MAIL_CANON_RELAXED,
                    &(struct canon_field){
                        .raw = s->entry->raw, .cut_from = s->cut_from, .cut_to = s->cut_to, .last = true});
    return canon_hash_fini(&hash, out);
}

static bool check_by_key(struct validation *v, const struct sig *s, unsigned n,
                         const struct dns_answer *answer, struct conclusion *c)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    size_t size = s->kind == SIG_SEAL ? seal_hash(v, s, n, hash)
                                      : sig_header_hash(digest_index(v->d), s, v->arena, hash);
    return size > 0 && conclude(v->d, v->q, s, answer, hash, size, v->arena, c) == VR_OK;
}

static enum outcome check(struct validation *v, const struct sig *s, unsigned n, struct conclusion *c)
{
    if (s->bad) {
        *c = (struct conclusion){.verdict = s->verdict, .why = s->why};
        return HOLDS_NOT;
    }
    if (!conclude_time(s, v->q, c))
        return HOLDS_NOT;
    struct vr_str name = sig_key_name(v->arena, s);
    if (name.n == 0)
        return NO_MEMORY;
    const struct dns_answer *answer = ask(&v->questions, v->q, name);
    if (answer == NULL || !mail_digest_ended(v->d))
        return ASKED;
    if (!check_by_key(v, s, n, answer, c))
        return NO_MEMORY;
    if (c->verdict == DKIM_FAIL && s->kind == SIG_MESSAGE && !s->canon_given) {
        struct sig relaxed = *s;
        relaxed.header_canon = relaxed.body_canon = MAIL_CANON_RELAXED;
        if (!check_by_key(v, &relaxed, n, answer, c))
            return NO_MEMORY;
    }
    return c->verdict == DKIM_PASS ? HOLDS : HOLDS_NOT;
}

/* ---- steps ------------------------------------------------------------------------------------------------------------ */

static enum vr_err read_signatures(struct validation *v)
{
    unsigned n = v->chain.highest;
    v->messages = vr_arena_alloc(v->arena, (n + 1) * sizeof *v->messages);
    v->seals = vr_arena_alloc(v->arena, (n + 1) * sizeof *v->seals);
    v->sets = vr_arena_alloc(v->arena, n * sizeof *v->sets);
    v->questions.max = 2 * (size_t)n;
    v->questions.list = vr_arena_alloc(v->arena, v->questions.max * sizeof *v->questions.list);
    if (v->messages == NULL || v->seals == NULL || v->sets == NULL || v->questions.list == NULL)
        return VR_ERR_TOO_BIG;
    for (unsigned i = 1; i <= n; i++) {
        struct chain_set *set = &v->chain.sets[i];
        enum vr_err e = sig_parse(v->arena, SIG_MESSAGE, set->message, &v->messages[i]);
        if (e == VR_OK)
            e = sig_parse(v->arena, SIG_SEAL, set->seal, &v->seals[i]);
        if (e != VR_OK)
            return e;
        v->sets[i - 1] = (struct arc_set){v->seals[i].domain, v->seals[i].s, v->messages[i].domain,
                                          set->payload, v->messages[i].from_signed};
    }
    return VR_OK;
}

/* Steps 2 and 3 C. NULL, or what is wrong. */
static const char *check_statuses(struct validation *v)
{
    unsigned n = v->chain.highest;
    v->out->sealed_fail = v->seals[n].cv == ARC_FAIL;
    if (v->out->sealed_fail)
        return "the newest seal says that the chain had failed (cv=fail)";
    for (unsigned i = 1; i <= n; i++)
        if (v->seals[i].cv != (i == 1 ? ARC_NONE : ARC_PASS))
            return v->seals[i].cv < 0 && v->seals[i].bad ? v->seals[i].why
                                                         : "a seal has the wrong status (cv=)";
    return NULL;
}

static const char *sentence(struct validation *v, const char *what, const struct conclusion *c)
{
    struct vr_str s =
        vr_arena_printf(v->arena, "%s: %s", what, c->why != NULL ? c->why : dkim_verdict_name(c->verdict));
    return s.p != NULL ? s.p : what;
}

/* Steps 4 and 6 for the newest set; the ARC-Message-Signature comes first. */
static enum outcome check_newest(struct validation *v, const char **why)
{
    unsigned n = v->chain.highest;
    struct conclusion message, seal;
    enum outcome m = check(v, &v->messages[n], n, &message);
    enum outcome s = m == HOLDS_NOT ? m : check(v, &v->seals[n], n, &seal);
    if (m == NO_MEMORY || s == NO_MEMORY)
        return NO_MEMORY;
    if (m == HOLDS_NOT || s == HOLDS_NOT) {
        const struct conclusion *c = m == HOLDS_NOT ? &message : &seal;
        v->out->temporary = c->verdict == DKIM_TEMPERROR;
        *why = sentence(v, m == HOLDS_NOT ? "the newest ARC-Message-Signature" : "the newest ARC-Seal", c);
        return HOLDS_NOT;
    }
    return m == ASKED || s == ASKED ? ASKED : HOLDS;
}

/* Step 6 for the others. */
static enum outcome check_seals(struct validation *v, const char **why)
{
    enum outcome all = HOLDS;
    for (unsigned n = v->chain.highest - 1; n >= 1; n--) {
        struct conclusion c;
        enum outcome o = check(v, &v->seals[n], n, &c);
        if (o == NO_MEMORY)
            return o;
        if (o == HOLDS_NOT) {
            v->out->temporary = c.verdict == DKIM_TEMPERROR;
            *why = sentence(v, "an older ARC-Seal", &c);
            return o;
        }
        if (o == ASKED)
            all = ASKED;
    }
    return all;
}

/* Step 5. All keys are asked for at once; an answer that did not come counts like a signature that does not hold. */
static enum outcome find_oldest_pass(struct validation *v)
{
    enum outcome all = HOLDS;
    bool found = false;
    for (unsigned n = v->chain.highest - 1; n >= 1 && !found; n--) {
        struct conclusion c;
        enum outcome o = check(v, &v->messages[n], n, &c);
        if (o == NO_MEMORY)
            return o;
        if (o == ASKED)
            all = ASKED;
        if (o == HOLDS_NOT && all != ASKED)
            v->out->oldest_pass = n + 1;
        found = o == HOLDS_NOT;
    }
    return all;
}

static enum vr_err finish(struct validation *v, enum outcome o, const char *why)
{
    v->out->questions = v->questions.list;
    v->out->question_count = v->questions.count;
    if (o == NO_MEMORY)
        return VR_ERR_TOO_BIG;
    if (o == HOLDS_NOT)
        v->out->question_count = 0;
    if (o == HOLDS_NOT)
        return fails(v, why);
    v->out->state = o == ASKED ? DKIM_ASK : DKIM_DONE;
    v->out->status = o == ASKED ? ARC_NONE : ARC_PASS;
    return VR_OK;
}

static enum vr_err check_chain(struct validation *v)
{
    const char *why = NULL;
    enum outcome o = check_newest(v, &why);
    if (o != HOLDS)
        return finish(v, o, why);
    enum outcome seals = check_seals(v, &why);
    if (seals == HOLDS_NOT || seals == NO_MEMORY)
        return finish(v, seals, why);
    enum outcome messages = find_oldest_pass(v);
    return finish(v, messages == HOLDS ? seals : messages, why);
}

enum vr_err arc_validate(const struct mail_digest *d, const struct dkim_query *q, struct vr_arena *arena,
                         struct arc_result *out)
{
    struct validation v = {.d = d, .q = q, .arena = arena, .out = out};
    *out = (struct arc_result){.state = DKIM_ASK};
    if (digest_too_big(d))
        return fails(&v, "the message's header is too large");
    if (!digest_verifies(d) || !mail_digest_has_header(d))
        return VR_ERR_STATE;
    chain_collect(digest_index(d), &v.chain);
    out->instances = v.chain.highest;
    if (!v.chain.any) {
        out->state = DKIM_DONE;
        out->status = ARC_NONE;
        return VR_OK;
    }
    if (v.chain.broken != NULL) {
        const struct header_entry *seal = v.chain.highest > 0 ? v.chain.sets[v.chain.highest].seal : NULL;
        struct sig s;
        if (seal != NULL && sig_parse(arena, SIG_SEAL, seal, &s) == VR_OK)
            out->sealed_fail = s.cv == ARC_FAIL;
        return fails(&v, v.chain.broken);
    }
    enum vr_err e = read_signatures(&v);
    if (e != VR_OK)
        return e;
    const char *why = check_statuses(&v);
    if (why != NULL)
        return fails(&v, why);
    out->sets = v.sets;
    return check_chain(&v);
}
