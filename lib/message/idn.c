/* idn.c - see idn.h. libidn2 does the work: its functions for UTF-8 ask no locale and keep no state.
 *
 * Rule:   what libidn2 makes of a name is looked at again: mapping may bring forth "/" or "@" ("℀", "＠"), and what is not LDH and "_" is no name.
 * Source: RFC 5890 §2.3.2, RFC 5891 §5, RFC 5892; UTS #46 §4.
 * Tests:  tests/unit/idn.c
 */
#include <veredus/idn.h>

#include <idn2.h>

#define SCRATCH_MAX 65536 /* of one call; the caller's arena gets the result alone */

/* Letters, digits, hyphens, underscores; labels of 1 to 63 octets. */
static enum vr_err ascii_fault(struct vr_str name)
{
    size_t label = 0;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!plain && (c != '.' || label == 0))
            return VR_ERR_SYNTAX;
        label = plain ? label + 1 : 0;
        if (label > 63)
            return VR_ERR_TOO_BIG;
    }
    return name.n > IDN_NAME_MAX ? VR_ERR_TOO_BIG : VR_OK; /* a dot at the end is that of the root */
}

static enum vr_err error_of(int status)
{
    if (status == IDN2_OK)
        return VR_OK;
    bool big = status == IDN2_TOO_BIG_DOMAIN || status == IDN2_TOO_BIG_LABEL || status == IDN2_MALLOC ||
               status == IDN2_PUNYCODE_BIG_OUTPUT || status == IDN2_PUNYCODE_OVERFLOW;
    return big ? VR_ERR_TOO_BIG : VR_ERR_SYNTAX;
}

/* What libidn2 allocated goes into the arena, in lower case. */
static enum vr_err take(struct vr_arena *arena, int status, char *name, struct vr_str *out)
{
    enum vr_err e = error_of(status);
    if (e != VR_OK)
        return e;
    struct vr_str text = vr_str_from(name);
    *out = vr_arena_lower(arena, text);
    e = text.n == 0 ? VR_ERR_SYNTAX : out->n == 0 ? VR_ERR_TOO_BIG : VR_OK;
    idn2_free(name);
    return e;
}

static enum vr_err to_ascii(struct vr_arena *arena, struct vr_str domain, struct vr_str *out)
{
    if (domain.n > IDN_NAME_MAX)
        return VR_ERR_TOO_BIG;
    if (domain.n == 0 || vr_str_find(domain, '\0') != VR_NPOS || !vr_utf8_valid(domain))
        return VR_ERR_SYNTAX;
    *out = vr_arena_lower(arena, domain); /* ends with NUL, as libidn2 wants it */
    if (out->n == 0)
        return VR_ERR_TOO_BIG;
    if (vr_str_is_ascii(*out))
        return VR_OK;
    char *name = NULL;
    int status = idn2_to_ascii_8z(out->p, &name, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    enum vr_err e = take(arena, status, name, out);
    return e != VR_OK ? e : ascii_fault(*out);
}

/* One A-label; false: it stays as it is. */
static bool label_to_unicode(struct vr_arena *arena, struct vr_str label, struct vr_str *out)
{
    char *name = NULL;
    struct vr_str copy = vr_arena_dup(arena, label);
    if (!vr_str_starts(label, VR_STR("xn--")) || copy.n == 0)
        return false;
    int status = idn2_to_unicode_8z8z(copy.p, &name, IDN2_NONTRANSITIONAL);
    return take(arena, status, name, out) == VR_OK;
}

static enum vr_err to_unicode(struct vr_arena *arena, struct vr_str domain, struct vr_str *out)
{
    struct vr_str label, text, back;
    enum vr_err e = to_ascii(arena, domain, out); /* so that all forms of a name give the same text */
    if (e != VR_OK || vr_str_find_str(*out, VR_STR("xn--")) == VR_NPOS)
        return e;
    struct vr_str rest = *out;
    struct vr_buf b;
    vr_buf_init(&b, IDN_NAME_MAX);
    while (vr_str_split(&rest, '.', &label)) {
        struct vr_str unicode;
        bool dot = rest.p > label.p + label.n;
        vr_buf_add(&b, label_to_unicode(arena, label, &unicode) ? unicode : label);
        if (dot)
            vr_buf_add_byte(&b, '.');
    }
    text = b.too_big ? vr_str(NULL, 0) : vr_arena_dup(arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    if (text.n > 0 && to_ascii(arena, text, &back) == VR_OK && vr_str_equal(back, *out))
        *out = text;
    return VR_OK;
}

static enum vr_err convert(struct vr_arena *arena, struct vr_str domain, struct vr_str *out,
                           enum vr_err (*with)(struct vr_arena *, struct vr_str, struct vr_str *))
{
    struct vr_arena scratch;
    struct vr_str name = {0};
    vr_arena_init(&scratch, SCRATCH_MAX);
    enum vr_err e = with(&scratch, domain, &name);
    *out = e == VR_OK ? vr_arena_dup(arena, name) : vr_str(NULL, 0);
    if (e == VR_OK && out->n == 0)
        e = VR_ERR_TOO_BIG;
    vr_arena_fini(&scratch);
    return e;
}

enum vr_err idn_to_ascii(struct vr_arena *arena, struct vr_str domain, struct vr_str *out)
{
    return convert(arena, domain, out, to_ascii);
}

enum vr_err idn_to_unicode(struct vr_arena *arena, struct vr_str domain, struct vr_str *out)
{
    return convert(arena, domain, out, to_unicode);
}

bool idn_equal(struct vr_str a, struct vr_str b)
{
    struct vr_arena scratch;
    struct vr_str ascii_a, ascii_b;
    if (vr_str_is_ascii(a) && vr_str_is_ascii(b))
        return vr_str_equal_nocase(a, b);
    vr_arena_init(&scratch, SCRATCH_MAX);
    bool known = to_ascii(&scratch, a, &ascii_a) == VR_OK && to_ascii(&scratch, b, &ascii_b) == VR_OK;
    bool equal = known ? vr_str_equal(ascii_a, ascii_b) : vr_str_equal(a, b);
    vr_arena_fini(&scratch);
    return equal;
}
