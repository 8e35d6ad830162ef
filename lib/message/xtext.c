/* xtext.c - the parameters of RFC 3461: NOTIFY, xtext, ORCPT, ENVID; unitext (RFC 6533 §3).
 *
 * Tests: tests/unit/dsn.c
 */
#include <veredus/dsn.h>

#define ORCPT_MAX 500 /* octets, RFC 3461 §4.2 */
#define ENVID_MAX 100 /* octets, RFC 3461 §4.4 */

static const struct {
    const char *word;
    enum dsn_notify bit;
} words[] = {
    {"NEVER", DSN_NOTIFY_NEVER},
    {"SUCCESS", DSN_NOTIFY_SUCCESS},
    {"FAILURE", DSN_NOTIFY_FAILURE},
    {"DELAY", DSN_NOTIFY_DELAY},
};

enum vr_err dsn_notify_parse(struct vr_str value, unsigned *out)
{
    unsigned bits = 0;
    struct vr_str rest = value, word;
    if (value.n == 0 || value.p[value.n - 1] == ',')
        return VR_ERR_SYNTAX;
    while (vr_str_split(&rest, ',', &word)) {
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (vr_str_equal_nocase(word, vr_str_from(words[i].word)))
                bit = words[i].bit;
        if (bit == 0 || (bits & bit))
            return VR_ERR_SYNTAX;
        bits |= bit;
    }
    if ((bits & DSN_NOTIFY_NEVER) && bits != DSN_NOTIFY_NEVER)
        return VR_ERR_SYNTAX;
    *out = bits;
    return VR_OK;
}

bool dsn_notify_write(struct vr_buf *out, unsigned notify)
{
    const char *separator = "";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (notify & words[i].bit) {
            vr_buf_addf(out, "%s%s", separator, words[i].word);
            separator = ",";
        }
    return !out->too_big;
}

static int upper_hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte at the start of *in, which moves on; -1: not xtext; control bytes count as a fault. */
static int xtext_next(struct vr_str *in)
{
    int c = (unsigned char)in->p[0];
    if (c == '+') {
        int high = in->n >= 3 ? upper_hex(in->p[1]) : -1, low = in->n >= 3 ? upper_hex(in->p[2]) : -1;
        if (high < 0 || low < 0)
            return -1;
        c = high * 16 + low;
        *in = vr_str_from_pos(*in, 3);
        return c < 0x20 || c == 0x7f ? -1 : c;
    }
    if (c < 0x21 || c > 0x7e || c == '=')
        return -1;
    *in = vr_str_from_pos(*in, 1);
    return c;
}

enum vr_err dsn_xtext_decode(struct vr_buf *out, struct vr_str in)
{
    while (in.n > 0) {
        int c = xtext_next(&in);
        if (c < 0)
            return VR_ERR_SYNTAX;
        if (!vr_buf_add_byte(out, (char)c))
            return VR_ERR_TOO_BIG;
    }
    return VR_OK;
}

bool dsn_xtext_encode(struct vr_buf *out, struct vr_str in)
{
    for (size_t i = 0; i < in.n; i++) {
        int c = (unsigned char)in.p[i];
        if (c < 0x21 || c > 0x7e || c == '+' || c == '=')
            vr_buf_addf(out, "+%02X", c);
        else
            vr_buf_add_byte(out, (char)c);
    }
    return !out->too_big;
}

static enum vr_err xtext_check(struct vr_str in)
{
    while (in.n > 0)
        if (xtext_next(&in) < 0)
            return VR_ERR_SYNTAX;
    return VR_OK;
}

/* ---- unitext, RFC 6533 §3 -------------------------------------------------------------------------------------------- */

static bool is_qchar(uint32_t c)
{
    return c > 0x20 && c < 0x7f && c != '\\' && c != '+' && c != '=';
}

bool dsn_unitext_encode(struct vr_buf *out, struct vr_str in, bool ascii)
{
    uint32_t c;
    for (struct vr_str at = in; vr_utf8_next(&in, &c); at = in) {
        if (c > 0x9f && !ascii)
            vr_buf_add(out, vr_str_sub(at, 0, at.n - in.n));
        else if (is_qchar(c))
            vr_buf_add_byte(out, (char)c);
        else
            vr_buf_addf(out, "\\x{%02X}", (unsigned)c);
    }
    return !out->too_big && in.n == 0;
}

/* HEXPOINT "}": 2 to 6 digits, and no zero before them where there are more than two. */
static bool read_point(struct vr_str *in, uint32_t *c)
{
    size_t n = vr_str_find(*in, '}');
    *c = 0;
    if (n == VR_NPOS || n < 2 || n > 6 || (n > 2 && in->p[0] == '0'))
        return false;
    for (size_t i = 0; i < n; i++) {
        char lower = vr_lower(in->p[i]);
        int digit = lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : upper_hex(lower);
        if (digit < 0)
            return false;
        *c = *c << 4 | (uint32_t)digit;
    }
    *in = vr_str_from_pos(*in, n + 1);
    return *c <= 0x10ffff && (*c < 0xd800 || *c > 0xdfff);
}

/* EmbeddedUnicodeChar, QCHAR or (of more than ASCII) QUCHAR at the start of *in. Control characters are not taken. */
static bool unitext_next(struct vr_str *in, uint32_t *c)
{
    static const struct vr_str escape = VR_STR_INIT("\\x{");
    if (vr_str_starts(*in, escape)) {
        *in = vr_str_from_pos(*in, escape.n);
        return read_point(in, c) && *c >= 0x20 && (*c < 0x7f || *c > 0x9f);
    }
    return vr_utf8_next(in, c) && (is_qchar(*c) || *c > 0x9f);
}

static void add_utf8(struct vr_buf *out, uint32_t c)
{
    static const uint32_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    vr_buf_add_byte(out, (char)(first[n] | c >> 6 * (n - 1)));
    for (size_t i = n - 1; i > 0; i--)
        vr_buf_add_byte(out, (char)(0x80 | (c >> 6 * (i - 1) & 0x3f)));
}

static bool is_unitext(struct vr_str in)
{
    uint32_t c;
    while (in.n > 0)
        if (!unitext_next(&in, &c))
            return false;
    return true;
}

enum vr_err dsn_unitext_decode(struct vr_buf *out, struct vr_str in)
{
    uint32_t c;
    if (!is_unitext(in))
        return VR_ERR_SYNTAX;
    while (in.n > 0 && unitext_next(&in, &c))
        add_utf8(out, c);
    return out->too_big ? VR_ERR_TOO_BIG : VR_OK;
}

/* ---- ORCPT ----------------------------------------------------------------------------------------------------------- */

/* addr-type ";" address, where addr-type is an atom */
static bool split_orcpt(struct vr_str value, struct vr_str *type, struct vr_str *address)
{
    size_t semicolon = vr_str_find(value, ';');
    if (semicolon == VR_NPOS || semicolon == 0 || semicolon + 1 == value.n)
        return false;
    *type = vr_str_sub(value, 0, semicolon);
    *address = vr_str_from_pos(value, semicolon + 1);
    for (size_t i = 0; i < type->n; i++) {
        char c = vr_lower(type->p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

static bool is_utf8_type(struct vr_str type)
{
    return vr_str_equal_nocase(type, VR_STR("utf-8"));
}

enum vr_err dsn_orcpt_check(struct vr_str value, bool utf8)
{
    struct vr_str type, address;
    if (value.n > ORCPT_MAX)
        return VR_ERR_TOO_BIG;
    if (!split_orcpt(value, &type, &address))
        return VR_ERR_SYNTAX;
    if (is_utf8_type(type) && (utf8 || vr_str_is_ascii(address)) && is_unitext(address))
        return VR_OK;
    return xtext_check(address);
}

enum vr_err dsn_orcpt_decode(struct vr_buf *out, struct vr_str value, struct vr_str *type)
{
    struct vr_str address;
    if (dsn_orcpt_check(value, true) != VR_OK || !split_orcpt(value, type, &address))
        return VR_ERR_SYNTAX;
    if (!is_utf8_type(*type))
        return dsn_xtext_decode(out, address);
    enum vr_err e = dsn_unitext_decode(out, address);
    if (e == VR_ERR_SYNTAX)
        e = vr_buf_add(out, address) ? VR_OK : VR_ERR_TOO_BIG;
    return e;
}

bool dsn_orcpt_ascii(struct vr_buf *out, struct vr_str value)
{
    uint32_t c;
    while (value.n > 0 && vr_utf8_next(&value, &c)) {
        if (c < 0x80) /* escaped already where it must be */
            vr_buf_add_byte(out, (char)c);
        else
            vr_buf_addf(out, "\\x{%X}", (unsigned)c);
    }
    return !out->too_big && value.n == 0;
}

enum vr_err dsn_envid_check(struct vr_str value)
{
    if (value.n > ENVID_MAX)
        return VR_ERR_TOO_BIG;
    return value.n > 0 ? xtext_check(value) : VR_ERR_SYNTAX;
}
