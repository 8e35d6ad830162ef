/* signature.c - a DKIM-Signature, ARC-Message-Signature or ARC-Seal field as a struct sig: its grammar, tag by tag (RFC 6376 §3.5, RFC 8617 §4.1).
 *
 * Strict, as RFC 6376 §6.1.1 asks; the first fault is told, and what can be read besides it is read all the same, so that a verdict can name the
 * domain. Two things are taken that today's grammar does not have:
 *   - no v=, or "0.…": signatures of the drafts before RFC 4871. They are checked, and never pass.
 *   - in ARC-Message-Signatures, an h= that is empty, has empty names or lacks From: the protocol's own test suite has them pass;
 *     arc.h tells of it in from_signed.
 *
 * Tests: tests/unit/dkim_verify.c, tests/unit/arc.c
 */
#include "inside.h"

#include <veredus/address.h>
#include <veredus/idn.h>

#include <string.h>

#define SIGNATURE_OCTETS_MAX (DKIM_RSA_BITS_MAX / 8)
#define LENGTH_DIGITS        76 /* RFC 6376 §3.5, l= */
#define TIME_DIGITS          12

struct reading {
    struct vr_arena *arena;
    struct sig *sig;
    const struct tag *tag;
    bool too_big;
};

static void fault(struct sig *s, enum dkim_verdict verdict, const char *why)
{
    if (s->bad)
        return;
    s->bad = true;
    s->verdict = verdict;
    s->why = why;
}

static bool all_digits(struct vr_str v, size_t most)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
    return v.n > 0 && v.n <= most;
}

/* ---- tags --------------------------------------------------------------------------------------------------------- */

static void read_v(struct reading *r, struct vr_str v)
{
    if (vr_str_starts(v, VR_STR("0.")) && all_digits(vr_str_from_pos(v, 2), 2))
        r->sig->draft = true;
    else if (!vr_str_equal(v, VR_STR("1")))
        fault(r->sig, DKIM_NEUTRAL, "incompatible version (v=)");
}

static void read_a(struct reading *r, struct vr_str v)
{
    r->sig->a = v;
    for (int a = DKIM_RSA_SHA1; a <= DKIM_ED25519_SHA256; a++)
        if (vr_str_equal(v, vr_str_from(dkim_algorithm_name((enum dkim_algorithm)a))))
            r->sig->algorithm = (enum dkim_algorithm)a;
    if (r->sig->algorithm == DKIM_ALGORITHM_UNKNOWN)
        fault(r->sig, DKIM_NEUTRAL, "unknown algorithm (a=)");
}

static struct vr_str read_base64(struct reading *r, struct vr_str v, size_t most)
{
    struct vr_buf octets;
    struct vr_str out = {0};
    vr_buf_init(&octets, most);
    if (taglist_base64(&octets, v)) {
        out = vr_arena_dup(r->arena, vr_buf_str(&octets));
        r->too_big |= out.n == 0;
    }
    vr_buf_fini(&octets);
    return out;
}

static void read_b(struct reading *r, struct vr_str v)
{
    struct sig *s = r->sig;
    s->cut_from = (size_t)(r->tag->space.p - s->entry->raw.p);
    s->cut_to = s->cut_from + r->tag->space.n;
    s->b = read_base64(r, v, SIGNATURE_OCTETS_MAX);
    if (s->b.n == 0) {
        fault(s, DKIM_NEUTRAL, "the signature (b=) is no base64");
        return;
    }
    struct vr_str text = vr_arena_dup(r->arena, v);
    s->b_text = vr_str(text.p, taglist_squeeze((char *)text.p, text.n));
    r->too_big |= text.n == 0;
}

static void read_bh(struct reading *r, struct vr_str v)
{
    r->sig->bh = read_base64(r, v, EVP_MAX_MD_SIZE);
    if (r->sig->bh.n == 0)
        fault(r->sig, DKIM_NEUTRAL, "the body's hash (bh=) is no base64");
}

static bool canon_named(struct vr_str name, enum mail_canon *out)
{
    *out = vr_str_equal(name, VR_STR("relaxed")) ? MAIL_CANON_RELAXED : MAIL_CANON_SIMPLE;
    return *out == MAIL_CANON_RELAXED || vr_str_equal(name, VR_STR("simple"));
}

static void read_c(struct reading *r, struct vr_str v)
{
    size_t slash = vr_str_find(v, '/');
    r->sig->canon_given = true;
    struct vr_str body = slash == VR_NPOS ? VR_STR("simple") : vr_str_from_pos(v, slash + 1);
    if (!canon_named(vr_str_sub(v, 0, slash), &r->sig->header_canon) ||
        !canon_named(body, &r->sig->body_canon))
        fault(r->sig, DKIM_NEUTRAL, "unknown canonicalization (c=)");
}

/* A name as it is asked of the DNS. dots: labels that it must have. Empty: it is none. */
static struct vr_str read_name(struct reading *r, struct vr_str v, bool dotted)
{
    struct vr_str ascii;
    enum vr_err e = v.n > ADDRESS_DOMAIN_MAX * 4 ? VR_ERR_SYNTAX : idn_to_ascii(r->arena, v, &ascii);
    if (e != VR_OK || !address_domain_valid(ascii, 0) || (dotted && vr_str_find(ascii, '.') == VR_NPOS))
        return vr_str(NULL, 0);
    return ascii;
}

static void read_d(struct reading *r, struct vr_str v)
{
    r->sig->d = v;
    r->sig->domain = read_name(r, v, true);
    if (r->sig->domain.n == 0)
        fault(r->sig, DKIM_NEUTRAL, "d= is no domain");
}

static void read_s(struct reading *r, struct vr_str v)
{
    r->sig->s = v;
    r->sig->selector = read_name(r, v, false);
    if (r->sig->selector.n == 0)
        fault(r->sig, DKIM_NEUTRAL, "s= is no selector");
}

static bool is_field_name(struct vr_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == ';')
            return false;
    return name.n > 0;
}

static void read_h(struct reading *r, struct vr_str v)
{
    struct vr_str name, rest = v;
    size_t names = 0;
    r->sig->h = v;
    while (taglist_word(&rest, &name)) {
        bool may_be_empty = r->sig->kind == SIG_MESSAGE && name.n == 0;
        if (!may_be_empty && !is_field_name(name))
            fault(r->sig, DKIM_NEUTRAL, "h= is no list of names");
        if (r->sig->kind == SIG_MESSAGE && vr_str_equal_nocase(name, VR_STR("ARC-Seal")))
            fault(r->sig, DKIM_PERMERROR, "an ARC-Seal is signed (h=)"); /* RFC 8617 §4.1.2 */
        r->sig->from_signed |= vr_str_equal_nocase(name, VR_STR("From"));
        names++;
    }
    if (names > SIG_NAMES_MAX)
        fault(r->sig, DKIM_NEUTRAL, "h= has too many names");
    if (r->sig->kind == SIG_DKIM && !r->sig->from_signed)
        fault(r->sig, DKIM_PERMERROR, "From is not signed (h=)");
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* dkim-quoted-printable (RFC 6376 §2.11); blanks are no part of it. */
static bool decode_qp(struct vr_arena *arena, struct vr_str v, struct vr_str *out)
{
    struct vr_str text = vr_arena_dup(arena, v);
    size_t n = 0;
    text.n = taglist_squeeze((char *)text.p, text.n);
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '=') {
            int high = i + 2 < text.n ? hex(text.p[i + 1]) : -1,
                low = i + 2 < text.n ? hex(text.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || c == '\r' || c == '\n')
            return false;
        ((char *)text.p)[n++] = c;
    }
    *out = vr_str(text.p, n);
    return n > 0 && vr_utf8_valid(*out);
}

static void read_i(struct reading *r, struct vr_str v)
{
    struct sig *s = r->sig;
    size_t at = decode_qp(r->arena, v, &s->i) ? vr_str_find_last(s->i, '@') : VR_NPOS;
    s->i_domain = at != VR_NPOS ? read_name(r, vr_str_from_pos(s->i, at + 1), true) : vr_str(NULL, 0);
    if (s->i_domain.n == 0)
        fault(s, DKIM_NEUTRAL, "i= is no identity");
}

static void read_l(struct reading *r, struct vr_str v)
{
    r->sig->length_given = true;
    if (!all_digits(v, LENGTH_DIGITS))
        fault(r->sig, DKIM_NEUTRAL, "l= is no number");
    else if (!vr_str_to_u64(v, &r->sig->length))
        r->sig->length = UINT64_MAX - 1; /* longer than any body */
}

static void read_time(struct reading *r, struct vr_str v, int64_t *out, const char *why)
{
    uint64_t n = 0;
    if (!all_digits(v, TIME_DIGITS) || !vr_str_to_u64(v, &n))
        fault(r->sig, DKIM_NEUTRAL, why);
    else
        *out = (int64_t)n;
}

static void read_t(struct reading *r, struct vr_str v)
{
    read_time(r, v, &r->sig->time, "t= is no time");
}

static void read_x(struct reading *r, struct vr_str v)
{
    read_time(r, v, &r->sig->expires, "x= is no time");
}

static void read_q(struct reading *r, struct vr_str v)
{
    if (!taglist_has(v, "dns/txt") && !(r->sig->draft && taglist_has(v, "dns")))
        fault(r->sig, DKIM_NEUTRAL, "unknown way to get the key (q=)");
}

static void read_instance(struct reading *r, struct vr_str v)
{
    uint64_t n = 0;
    if (!all_digits(v, 2) || !vr_str_to_u64(v, &n) || n < 1 || n > ARC_SETS_MAX)
        fault(r->sig, DKIM_NEUTRAL, "i= is no instance");
    else
        r->sig->instance = (unsigned)n;
}

static void read_cv(struct reading *r, struct vr_str v)
{
    for (int status = ARC_NONE; status <= ARC_FAIL; status++)
        if (vr_str_equal(v, vr_str_from(arc_status_name((enum arc_status)status))))
            r->sig->cv = status;
    if (r->sig->cv < 0)
        fault(r->sig, DKIM_NEUTRAL, "cv= is neither none, pass nor fail");
}

static void read_forbidden(struct reading *r, struct vr_str v)
{
    (void)v;
    fault(r->sig, DKIM_NEUTRAL, "an ARC-Seal may not have h="); /* RFC 8617 §4.1.3 */
}

/* In the order in which faults are told; v= before q=, which depends on it. */
static const struct {
    const char *name;
    unsigned kinds, required; /* enum sig_kind */
    void (*read)(struct reading *r, struct vr_str value);
    const char *missing;
} tags[] = {
    {"v", SIG_DKIM, 0, read_v, NULL},
    {"a", SIG_DKIM | SIG_MESSAGE | SIG_SEAL, SIG_DKIM | SIG_MESSAGE | SIG_SEAL, read_a, "a= is missing"},
    {"c", SIG_DKIM | SIG_MESSAGE, 0, read_c, NULL},
    {"q", SIG_DKIM | SIG_MESSAGE, 0, read_q, NULL},
    {"d", SIG_DKIM | SIG_MESSAGE | SIG_SEAL, SIG_DKIM | SIG_MESSAGE | SIG_SEAL, read_d, "d= is missing"},
    {"s", SIG_DKIM | SIG_MESSAGE | SIG_SEAL, SIG_DKIM | SIG_MESSAGE | SIG_SEAL, read_s, "s= is missing"},
    {"i", SIG_DKIM, 0, read_i, NULL},
    {"i", SIG_MESSAGE | SIG_SEAL, SIG_MESSAGE | SIG_SEAL, read_instance, "i= is missing"},
    {"cv", SIG_SEAL, SIG_SEAL, read_cv, "cv= is missing"},
    {"t", SIG_DKIM | SIG_MESSAGE | SIG_SEAL, 0, read_t, NULL},
    {"x", SIG_DKIM | SIG_MESSAGE, 0, read_x, NULL},
    {"l", SIG_DKIM | SIG_MESSAGE, 0, read_l, NULL},
    {"h", SIG_DKIM | SIG_MESSAGE, SIG_DKIM | SIG_MESSAGE, read_h, "h= is missing"},
    {"h", SIG_SEAL, 0, read_forbidden, NULL},
    {"bh", SIG_DKIM | SIG_MESSAGE, SIG_DKIM | SIG_MESSAGE, read_bh, "bh= is missing"},
    {"b", SIG_DKIM | SIG_MESSAGE | SIG_SEAL, SIG_DKIM | SIG_MESSAGE | SIG_SEAL, read_b, "b= is missing"},
};

/* ---- rules over several tags ------------------------------------------------------------------------------------------ */

/* Is it the domain, or one below it? */
static bool is_below(struct vr_str name, struct vr_str domain)
{
    return vr_str_ends_nocase(name, domain) &&
           (name.n == domain.n || (name.n > domain.n && name.p[name.n - domain.n - 1] == '.'));
}

static void check_all(struct reading *r)
{
    struct sig *s = r->sig;
    if (s->kind == SIG_DKIM && s->i.n == 0 && s->domain.n > 0) {
        s->i = vr_arena_printf(r->arena, "@%.*s", VR_STR_ARG(s->d));
        s->i_domain = s->domain;
        r->too_big |= s->i.n == 0;
    }
    if (s->bad)
        return;
    if (s->kind == SIG_DKIM && !is_below(s->i_domain, s->domain))
        fault(s, DKIM_PERMERROR, "i= is not below d=");
    if (s->kind != SIG_SEAL && s->bh.n != (s->algorithm == DKIM_RSA_SHA1 ? 20 : 32))
        fault(s, DKIM_NEUTRAL, "the body's hash (bh=) has not the size of its algorithm (a=)");
    if (s->time >= 0 && s->expires >= 0 && s->expires <= s->time)
        fault(s, DKIM_NEUTRAL, "it expired when it was made (t=, x=)");
}

enum vr_err sig_parse(struct vr_arena *arena, enum sig_kind kind, const struct header_entry *entry,
                      struct sig *out)
{
    struct taglist list;
    const char *why = NULL;
    *out =
        (struct sig){.kind = kind, .entry = entry, .length = UINT64_MAX, .time = -1, .expires = -1, .cv = -1};
    struct reading r = {.arena = arena, .sig = out};
    if (kind == SIG_SEAL)
        out->header_canon = MAIL_CANON_RELAXED;
    if (!taglist_parse(entry->body, &list, &why)) {
        fault(out, DKIM_NEUTRAL, why);
        return VR_OK;
    }
    out->draft = kind == SIG_DKIM && taglist_find(&list, "v") == NULL;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        r.tag = (tags[i].kinds & kind) ? taglist_find(&list, tags[i].name) : NULL;
        if (r.tag != NULL)
            tags[i].read(&r, r.tag->value);
        else if (tags[i].required & kind)
            fault(out, DKIM_NEUTRAL, tags[i].missing);
    }
    check_all(&r);
    return r.too_big ? VR_ERR_TOO_BIG : VR_OK;
}

/* Takes what stands before the instance's number, the number, and blanks behind it. */
static unsigned take_instance(struct vr_str *rest)
{
    *rest = cfws_skip(*rest);
    if (rest->n == 0 || rest->p[0] != 'i')
        return 0;
    *rest = cfws_skip(vr_str_from_pos(*rest, 1));
    if (rest->n == 0 || rest->p[0] != '=')
        return 0;
    *rest = cfws_skip(vr_str_from_pos(*rest, 1));
    size_t digits = 0;
    uint64_t n = 0;
    while (digits < rest->n && rest->p[digits] >= '0' && rest->p[digits] <= '9')
        digits++;
    bool good = digits <= 2 && vr_str_to_u64(vr_str_sub(*rest, 0, digits), &n) && n <= ARC_SETS_MAX;
    *rest = cfws_skip(vr_str_from_pos(*rest, digits));
    return good ? (unsigned)n : 0;
}

unsigned sig_instance(struct vr_str body, bool results, struct vr_str *payload)
{
    size_t semicolon;
    do {
        semicolon = vr_str_find(body, ';');
        struct vr_str spec = vr_str_trim(vr_str_sub(body, 0, semicolon));
        if (results) /* it stands first, and has a ";" (RFC 8617 §4.1.1) */
            spec = body;
        unsigned n = take_instance(&spec);
        if (results) {
            *payload = vr_str_from_pos(spec, 1);
            return spec.n > 0 && spec.p[0] == ';' ? n : 0;
        }
        if (n > 0 && spec.n == 0)
            return n;
        body = vr_str_from_pos(body, semicolon == VR_NPOS ? body.n : semicolon + 1);
    } while (semicolon != VR_NPOS);
    return 0;
}

struct vr_str sig_key_name(struct vr_arena *arena, const struct sig *s)
{
    return vr_arena_printf(arena, "%.*s._domainkey.%.*s", VR_STR_ARG(s->selector), VR_STR_ARG(s->domain));
}

/* ---- the header's hash -------------------------------------------------------------------------------------------------- */

void sig_hash_fields(struct canon_hash *hash, const struct header_index *index, enum mail_canon canon,
                     struct vr_str h, const struct header_entry *own, bool *used)
{
    struct vr_str name;
    while (taglist_word(&h, &name)) {
        uint32_t key = header_key(name);
        for (size_t i = index->count; i-- > 0;) {
            const struct header_entry *e = &index->entries[i];
            if (e->key != key || used[i] || e == own || !header_is(e, name))
                continue;
            used[i] = true;
            canon_field_add(hash, canon, &(struct canon_field){.raw = e->raw});
            break;
        }
    }
}

size_t sig_header_hash(const struct header_index *index, const struct sig *s, struct vr_arena *arena,
                       uint8_t out[EVP_MAX_MD_SIZE])
{
    struct canon_hash hash;
    bool *used = vr_arena_alloc(arena, index->count + 1);
    canon_hash_init(&hash, s->algorithm == DKIM_RSA_SHA1);
    hash.failed |= used == NULL;
    if (used != NULL)
        sig_hash_fields(&hash, index, s->header_canon, s->h, s->entry, used);
    canon_field_add(&hash, s->header_canon,
                    &(struct canon_field){
                        .raw = s->entry->raw, .cut_from = s->cut_from, .cut_to = s->cut_to, .last = true});
    return canon_hash_fini(&hash, out);
}
