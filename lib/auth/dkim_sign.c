/* dkim_sign.c - making signatures: the text of a DKIM-Signature or ARC-Message-Signature and the digest that is to be signed (RFC 6376 §5, §3.7).
 *
 * The field's text is complete, and folded, before it is signed, but for the value of b=, which counts as empty. So a field is in two parts; in a DKIM-Signature
 * b= is the last tag, in fields of ARC the tags are in the order of the alphabet, as ARC's test suite has them.
 *
 * Tests: tests/unit/dkim_sign.c
 */
#include "inside.h"

#include <veredus/address.h>
#include <veredus/idn.h>

#include <string.h>

#define LINE_WANTED   77  /* and a ";" */
#define LINE_LIMIT    990 /* RFC 5322 §2.1.1: 998 */
#define FIELD_MAX     (64u << 10)
#define SIGNATURE_MAX (DKIM_RSA_BITS_MAX / 8)

/* Whose field it is, as A-labels. */
struct whose {
    struct vr_str domain, selector, identity;
};

static enum vr_err name_of(struct vr_arena *arena, struct vr_str in, bool dotted, struct vr_str *out)
{
    enum vr_err e = in.n > ADDRESS_DOMAIN_MAX ? VR_ERR_SYNTAX : idn_to_ascii(arena, in, out);
    if (e == VR_OK && (!address_domain_valid(*out, 0) || (dotted && vr_str_find(*out, '.') == VR_NPOS)))
        e = VR_ERR_SYNTAX;
    return e;
}

static bool is_below(struct vr_str name, struct vr_str domain)
{
    return vr_str_ends_nocase(name, domain) && (name.n == domain.n || name.p[name.n - domain.n - 1] == '.');
}

/* i= in dkim-quoted-printable (RFC 6376 §2.11); UTF-8 stays (RFC 8616 §5). */
static enum vr_err identity_of(struct vr_arena *arena, struct vr_str identity, struct vr_str domain,
                               struct vr_str *out)
{
    size_t at = vr_str_find_last(identity, '@');
    struct vr_str below;
    struct vr_buf text;
    if (identity.n == 0)
        return VR_OK;
    if (at == VR_NPOS || identity.n > ADDRESS_DOMAIN_MAX * 2 || !vr_utf8_valid(identity))
        return VR_ERR_SYNTAX;
    enum vr_err e = name_of(arena, vr_str_from_pos(identity, at + 1), true, &below);
    if (e != VR_OK || !is_below(below, domain))
        return e != VR_OK ? e : VR_ERR_SYNTAX;
    vr_buf_init(&text, identity.n * 3 + below.n + 1);
    for (size_t i = 0; i < at; i++) {
        unsigned char c = (unsigned char)identity.p[i];
        if (c > ' ' && c != ';' && c != '=' && c != 0x7f)
            vr_buf_add_byte(&text, (char)c);
        else
            vr_buf_addf(&text, "=%02X", c);
    }
    vr_buf_add_byte(&text, '@');
    vr_buf_add(&text, below);
    *out = vr_arena_dup(arena, vr_buf_str(&text));
    vr_buf_fini(&text);
    return out->n > 0 ? VR_OK : VR_ERR_TOO_BIG;
}

enum vr_err sign_names(struct vr_arena *arena, struct vr_str domain, struct vr_str selector,
                       struct vr_str *domain_out, struct vr_str *selector_out)
{
    enum vr_err e = name_of(arena, domain, true, domain_out);
    return e == VR_OK ? name_of(arena, selector, false, selector_out) : e;
}

static struct vr_str canon_name(const struct dkim_signer *s)
{
    static const struct vr_str names[2][2] = {
        {VR_STR_INIT("simple/simple"), VR_STR_INIT("simple/relaxed")},
        {VR_STR_INIT("relaxed/simple"), VR_STR_INIT("relaxed/relaxed")},
    };
    return names[s->header_canon][s->body_canon];
}

struct text {
    const struct dkim_signer *s;
    struct whose whose;
    struct vr_str body_hash; /* base64 */
    const struct vr_str *names;
    size_t name_count;
    unsigned instance;
};

static void write_dkim(const struct text *t, struct vr_buf *before)
{
    struct field_writer w;
    field_begin(&w, before, "DKIM-Signature");
    field_tag(&w, "v", VR_STR("1"));
    field_tag(&w, "a", vr_str_from(dkim_algorithm_name(t->s->algorithm)));
    field_tag(&w, "c", canon_name(t->s));
    field_tag(&w, "d", t->whose.domain);
    field_tag(&w, "s", t->whose.selector);
    if (t->whose.identity.n > 0)
        field_tag(&w, "i", t->whose.identity);
    if (t->s->time >= 0)
        field_tag_number(&w, "t", t->s->time);
    if (t->s->time >= 0 && t->s->lifetime > 0)
        field_tag_number(&w, "x", t->s->time + t->s->lifetime);
    field_tag_names(&w, "h", t->names, t->name_count);
    field_tag(&w, "bh", t->body_hash);
    field_signature(&w);
}

static void write_ams(const struct text *t, struct vr_buf *before, struct vr_buf *after)
{
    struct field_writer w;
    field_begin(&w, before, "ARC-Message-Signature");
    field_tag(&w, "a", vr_str_from(dkim_algorithm_name(t->s->algorithm)));
    field_signature(&w);
    field_resume(&w, after);
    field_tag(&w, "bh", t->body_hash);
    field_tag(&w, "c", canon_name(t->s));
    field_tag(&w, "d", t->whose.domain);
    field_tag_names(&w, "h", t->names, t->name_count);
    field_tag_number(&w, "i", t->instance);
    field_tag(&w, "s", t->whose.selector);
    if (t->s->time >= 0)
        field_tag_number(&w, "t", t->s->time);
}

enum vr_err sign_take(struct dkim_unsigned *out, struct vr_buf *before, struct vr_buf *after,
                      struct vr_arena *arena)
{
    out->before = vr_arena_dup(arena, vr_buf_str(before));
    out->after = vr_arena_dup(arena, vr_buf_str(after));
    return before->too_big || after->too_big || out->before.p == NULL || out->after.p == NULL ? VR_ERR_TOO_BIG
                                                                                              : VR_OK;
}

/* The field whose b= is empty, as it goes into its own hash. */
bool sign_hash_own(struct canon_hash *hash, enum mail_canon canon, const struct dkim_unsigned *u,
                   struct vr_arena *arena)
{
    struct vr_str own = vr_arena_printf(arena, "%.*s%.*s", VR_STR_ARG(u->before), VR_STR_ARG(u->after));
    if (own.n == 0)
        return false;
    canon_field_add(hash, canon, &(struct canon_field){.raw = own, .last = true});
    return true;
}

static enum vr_err digest_of(const struct header_index *index, const struct text *t, struct vr_arena *arena,
                             struct dkim_unsigned *out)
{
    struct canon_hash hash;
    uint8_t digest[EVP_MAX_MD_SIZE];
    bool *used = vr_arena_alloc(arena, index->count + 1);
    if (used == NULL)
        return VR_ERR_TOO_BIG;
    canon_hash_init(&hash, false);
    for (size_t i = 0; i < t->name_count; i++)
        sig_hash_fields(&hash, index, t->s->header_canon, t->names[i], NULL, used);
    bool good = sign_hash_own(&hash, t->s->header_canon, out, arena);
    size_t n = canon_hash_fini(&hash, digest);
    if (!good || n != DKIM_DIGEST)
        return VR_ERR_TOO_BIG;
    memcpy(out->digest, digest, DKIM_DIGEST);
    return VR_OK;
}

static enum vr_err base64_of(const struct body_hash *hash, struct vr_arena *arena, struct vr_str *out)
{
    struct vr_buf text;
    vr_buf_init(&text, 64);
    vr_base64_encode(&text, vr_str((const char *)hash->bytes, hash->n));
    *out = vr_arena_dup(arena, vr_buf_str(&text));
    vr_buf_fini(&text);
    return out->n > 0 ? VR_OK : VR_ERR_TOO_BIG;
}

static enum vr_err write_text(enum sig_kind kind, const struct text *t, struct vr_arena *arena,
                              struct dkim_unsigned *out)
{
    struct vr_buf before, after;
    vr_buf_init(&before, FIELD_MAX);
    vr_buf_init(&after, FIELD_MAX);
    if (kind == SIG_DKIM)
        write_dkim(t, &before);
    else
        write_ams(t, &before, &after);
    enum vr_err e = sign_take(out, &before, &after, arena);
    vr_buf_fini(&before);
    vr_buf_fini(&after);
    return e;
}

enum vr_err sign_message(const struct mail_digest *d, const struct header_index *index, enum sig_kind kind,
                         const struct dkim_signer *s, unsigned instance, struct vr_arena *arena,
                         struct dkim_unsigned *out)
{
    struct text t = {.s = s, .instance = instance};
    struct body_hash hash;
    if (s->algorithm != DKIM_RSA_SHA256 && s->algorithm != DKIM_ED25519_SHA256)
        return VR_ERR_UNSUPPORTED;
    if (!digest_body_hash(d, s->body_canon, false, UINT64_MAX, &hash))
        return VR_ERR_STATE;
    enum vr_err e = sign_names(arena, s->domain, s->selector, &t.whose.domain, &t.whose.selector);
    if (e == VR_OK)
        e = identity_of(arena, s->identity, t.whose.domain, &t.whose.identity);
    if (e == VR_OK)
        e = sign_fields(index, kind, s->fields, s->field_count, arena, &t.names, &t.name_count);
    if (e == VR_OK)
        e = base64_of(&hash, arena, &t.body_hash);
    if (e == VR_OK)
        e = write_text(kind, &t, arena, out);
    return e == VR_OK ? digest_of(index, &t, arena, out) : e;
}

enum vr_err dkim_sign_prepare(const struct mail_digest *d, const struct dkim_signer *signer,
                              struct vr_str added, struct vr_arena *arena, struct dkim_unsigned *out)
{
    struct header_index index;
    *out = (struct dkim_unsigned){{0}};
    if (digest_too_big(d))
        return VR_ERR_TOO_BIG;
    if (!mail_digest_ended(d))
        return VR_ERR_STATE;
    enum vr_err e = header_index_join(d, added, arena, &index);
    return e == VR_OK ? sign_message(d, &index, SIG_DKIM, signer, 0, arena, out) : e;
}

/* ---- with the signature ------------------------------------------------------------------------------------------------ */

/* The signature in base64. */
static void add_folded(struct vr_buf *out, struct vr_str before, struct vr_str base64, size_t wanted)
{
    size_t lf = vr_str_find_last(before, '\n');
    size_t column = lf == VR_NPOS ? before.n : before.n - lf - 1;
    while (base64.n > 0) {
        if (column >= wanted) {
            vr_buf_add(out, VR_STR("\r\n "));
            column = 1;
        }
        struct vr_str line = vr_str_sub(base64, 0, wanted - column);
        vr_buf_add(out, line);
        column += line.n;
        base64 = vr_str_from_pos(base64, line.n);
    }
}

bool dkim_sign_finish(const struct dkim_unsigned *u, struct vr_str signature, struct vr_buf *out)
{
    struct vr_buf base64, field;
    vr_buf_init(&base64, SIGNATURE_MAX * 2);
    vr_buf_init(&field, FIELD_MAX * 2);
    vr_base64_encode(&base64, signature);
    vr_buf_add(&field, u->before);
    add_folded(&field, u->before, vr_buf_str(&base64), u->unfolded ? LINE_LIMIT : LINE_WANTED);
    vr_buf_add(&field, u->after);
    vr_buf_add(&field, VR_STR("\r\n"));
    bool good = signature.n > 0 && !base64.too_big && !field.too_big && vr_buf_add(out, vr_buf_str(&field));
    vr_buf_fini(&base64);
    vr_buf_fini(&field);
    return good;
}
