/* arc_seal.c - see arc.h: adding a set to a chain (RFC 8617 §5.1).
 *
 * Steps: ARC_SEAL_MESSAGE [arc_seal_begin: the results and the ARC-Message-Signature's text] -> ARC_SEAL_SEAL [arc_seal_signed: the ARC-Seal's text, which covers
 *        all before it] -> ARC_SEAL_DONE [arc_seal_signed]
 * A chain that failed is sealed with cv=fail, which covers the new set only (§5.1.2).
 *
 * Tests: tests/unit/arc.c, tests/conformance/ (ValiMail's suite: byte for byte)
 */
#include "inside.h"

#include <veredus/authres.h>

#include <string.h>

#define SET_MAX (64u << 10)

/* One field: each line end is folding. */
static bool is_folded(struct vr_str text)
{
    for (size_t i = 0; i < text.n; i++) {
        bool end = vr_str_starts(vr_str_from_pos(text, i), VR_STR("\r\n"));
        if (end && i + 2 < text.n && (text.p[i + 2] == ' ' || text.p[i + 2] == '\t'))
            i += 2;
        else if (text.p[i] == '\r' || text.p[i] == '\n' || text.p[i] == '\0')
            return false;
    }
    return true;
}

static enum vr_err write_results(struct arc_seal *s)
{
    struct authres parsed;
    struct vr_str payload = vr_str_trim(s->sealer->authres);
    enum vr_err e = authres_parse(s->arena, payload, &parsed);
    if (e != VR_OK || !is_folded(payload))
        return e == VR_ERR_TOO_BIG ? e : VR_ERR_SYNTAX;
    s->results = vr_arena_printf(s->arena, "ARC-Authentication-Results: i=%u; %.*s\r\n", s->instance,
                                 VR_STR_ARG(payload));
    return s->results.n > 0 ? VR_OK : VR_ERR_TOO_BIG;
}

static struct dkim_signer signer_of(const struct arc_sealer *a)
{
    return (struct dkim_signer){.domain = a->domain,
                                .selector = a->selector,
                                .algorithm = a->algorithm,
                                .header_canon = a->header_canon,
                                .body_canon = a->body_canon,
                                .time = a->time,
                                .fields = a->fields,
                                .field_count = a->field_count};
}

/* Step 2 of §5.1: whoever came before us and found the chain broken has said so. */
static bool said_fail(const struct chain *c, struct vr_arena *arena)
{
    struct sig s;
    return c->highest > 0 && c->sets[c->highest].seal != NULL &&
           sig_parse(arena, SIG_SEAL, c->sets[c->highest].seal, &s) == VR_OK && s.cv == ARC_FAIL;
}

enum vr_err arc_seal_begin(const struct mail_digest *d, const struct arc_sealer *sealer, struct vr_str added,
                           struct vr_arena *arena, struct arc_seal *out)
{
    struct header_index index;
    struct chain chain;
    *out = (struct arc_seal){.arena = arena, .message_digest = d, .sealer = sealer};
    if (digest_too_big(d))
        return VR_ERR_TOO_BIG;
    if (!mail_digest_ended(d))
        return VR_ERR_STATE;
    chain_collect(digest_index(d), &chain);
    if (said_fail(&chain, arena))
        return VR_ERR_STATE;
    if (chain.highest == ARC_SETS_MAX)
        return VR_ERR_TOO_BIG;
    if (chain.any != (sealer->status != ARC_NONE)) /* the status is not of this message */
        return VR_ERR_STATE;
    out->instance = chain.highest + 1;
    enum vr_err e = write_results(out);
    if (e == VR_OK)
        e = header_index_join(d, added, arena, &index);
    struct dkim_signer signer = signer_of(sealer);
    if (e == VR_OK)
        e = sign_message(d, &index, SIG_MESSAGE, &signer, out->instance, arena, &out->pending);
    out->pending.unfolded = sealer->unfolded;
    memcpy(out->digest, out->pending.digest, DKIM_DIGEST);
    return e;
}

static enum vr_err write_seal(struct arc_seal *s)
{
    const struct arc_sealer *a = s->sealer;
    struct vr_str domain, selector;
    struct vr_buf before, after;
    struct field_writer w;
    enum vr_err e = sign_names(s->arena, a->domain, a->selector, &domain, &selector);
    if (e != VR_OK)
        return e;
    vr_buf_init(&before, SET_MAX);
    vr_buf_init(&after, SET_MAX);
    field_begin(&w, &before, "ARC-Seal");
    field_tag(&w, "a", vr_str_from(dkim_algorithm_name(a->algorithm)));
    field_signature(&w);
    field_resume(&w, &after);
    field_tag(&w, "cv", vr_str_from(arc_status_name(a->status)));
    field_tag(&w, "d", domain);
    field_tag_number(&w, "i", s->instance);
    field_tag(&w, "s", selector);
    if (a->time >= 0)
        field_tag_number(&w, "t", a->time);
    s->pending.unfolded = false;
    e = sign_take(&s->pending, &before, &after, s->arena);
    vr_buf_fini(&before);
    vr_buf_fini(&after);
    return e;
}

static enum vr_err digest_seal(struct arc_seal *s)
{
    struct chain chain;
    struct canon_hash hash;
    uint8_t digest[EVP_MAX_MD_SIZE];
    chain_collect(digest_index(s->message_digest), &chain);
    const struct header_entry results = {.raw = s->results}, message = {.raw = s->message};
    chain.sets[s->instance] = (struct chain_set){.results = &results, .message = &message};
    canon_hash_init(&hash, false);
    chain_hash(&hash, &chain, s->sealer->status == ARC_FAIL ? s->instance : 1, s->instance);
    bool good = sign_hash_own(&hash, MAIL_CANON_RELAXED, &s->pending, s->arena);
    size_t n = canon_hash_fini(&hash, digest);
    if (!good || n != DKIM_DIGEST)
        return VR_ERR_TOO_BIG;
    memcpy(s->digest, digest, DKIM_DIGEST);
    return VR_OK;
}

static enum vr_err finished(const struct arc_seal *s, struct vr_str signature, struct vr_str *out)
{
    struct vr_buf text;
    vr_buf_init(&text, SET_MAX * 2);
    bool good = dkim_sign_finish(&s->pending, signature, &text);
    *out = good ? vr_arena_dup(s->arena, vr_buf_str(&text)) : vr_str(NULL, 0);
    vr_buf_fini(&text);
    return out->n > 0 ? VR_OK : VR_ERR_TOO_BIG;
}

enum vr_err arc_seal_signed(struct arc_seal *s, struct vr_str signature)
{
    if (s->step == ARC_SEAL_DONE || signature.n == 0)
        return VR_ERR_STATE;
    enum vr_err e = finished(s, signature, s->step == ARC_SEAL_MESSAGE ? &s->message : &s->seal);
    if (e == VR_OK && s->step == ARC_SEAL_MESSAGE)
        e = write_seal(s);
    if (e == VR_OK && s->step == ARC_SEAL_MESSAGE)
        e = digest_seal(s);
    if (e == VR_OK)
        s->step = s->step == ARC_SEAL_MESSAGE ? ARC_SEAL_SEAL : ARC_SEAL_DONE;
    return e;
}

bool arc_seal_finish(const struct arc_seal *s, struct vr_buf *out)
{
    if (s->step != ARC_SEAL_DONE)
        return false;
    size_t all = s->seal.n + s->message.n + s->results.n;
    struct vr_str text = vr_arena_printf(s->arena, "%.*s%.*s%.*s", VR_STR_ARG(s->seal),
                                         VR_STR_ARG(s->message), VR_STR_ARG(s->results));
    return text.n == all && vr_buf_add(out, text);
}
