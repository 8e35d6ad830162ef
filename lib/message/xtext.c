/* xtext.c - the parameters of RFC 3461: NOTIFY, xtext, ORCPT, ENVID.
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

/* addr-type ";" xtext, where addr-type is an atom */
enum vr_err dsn_orcpt_check(struct vr_str value)
{
    size_t semicolon = vr_str_find(value, ';');
    if (value.n > ORCPT_MAX)
        return VR_ERR_TOO_BIG;
    if (semicolon == VR_NPOS || semicolon == 0 || semicolon + 1 == value.n)
        return VR_ERR_SYNTAX;
    for (size_t i = 0; i < semicolon; i++) {
        char c = vr_lower(value.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return VR_ERR_SYNTAX;
    }
    return xtext_check(vr_str_from_pos(value, semicolon + 1));
}

enum vr_err dsn_envid_check(struct vr_str value)
{
    if (value.n > ENVID_MAX)
        return VR_ERR_TOO_BIG;
    return value.n > 0 ? xtext_check(value) : VR_ERR_SYNTAX;
}
