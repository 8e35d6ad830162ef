/* mime_decode.c - the contents of an encoded body (RFC 2045 §6.7, §6.8), as lenient as readers of mail are.
 *
 * Promise: streaming; at most sizeof held octets wait (blanks that may be a line's last ones, an escape that is not whole).
 * Tests:   tests/unit/mime.c, tests/fuzz/fuzz_mime.c (what the converter encodes comes back)
 */
#include <veredus/mime.h>

#include <string.h>

void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding)
{
    *d = (struct mime_decoder){.encoding = encoding};
}

/* ---- base64 ----------------------------------------------------------------------------------------------------------- */

static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The octets that the sextets so far make: two of them one, three two, four three. */
static void put_octets(struct mime_decoder *d, struct vr_buf *out)
{
    uint32_t v = d->value << (4 - d->value_n) * 6;
    const char octets[] = {(char)(v >> 16), (char)(v >> 8), (char)v};
    if (d->value_n > 1)
        vr_buf_add(out, vr_str(octets, d->value_n - 1));
    d->value = 0;
    d->value_n = 0;
}

static void decode_base64(struct mime_decoder *d, struct vr_str in, struct vr_buf *out)
{
    for (size_t i = 0; i < in.n && !d->done; i++) {
        int six = sextet(in.p[i]);
        if (in.p[i] == '=') { /* the end (§6.8), if something was there to be filled up */
            d->done = d->value_n > 1;
        } else if (six >= 0) {
            d->value = d->value << 6 | (uint32_t)six;
            if (++d->value_n == 4)
                put_octets(d, out);
        }
    }
}

/* ---- quoted-printable ------------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    char l = vr_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

enum held {
    HELD_OPEN,    /* what comes next decides */
    HELD_LITERAL, /* what it looked like it is not */
    HELD_LINE_END,
    HELD_SOFT_BREAK,
    HELD_ESCAPE
};

/* Blanks at the end of a line are dropped, behind "=" too. A bare LF is taken for a line end, as other readers do. */
static enum held held_is(const char *h, size_t n)
{
    size_t i = h[0] == '=';
    if (i == 1 && n > 1 && hex_digit(h[1]) >= 0)
        return n == 2 ? HELD_OPEN : hex_digit(h[2]) >= 0 ? HELD_ESCAPE : HELD_LITERAL;
    while (i < n && is_blank(h[i]))
        i++;
    if (i < n && h[i] == '\r')
        i++;
    if (i == n)
        return HELD_OPEN;
    return h[i] != '\n' ? HELD_LITERAL : h[0] == '=' ? HELD_SOFT_BREAK : HELD_LINE_END;
}

static void put_held(struct mime_decoder *d, size_t n, struct vr_buf *out)
{
    vr_buf_add(out, vr_str(d->held, n));
    memmove(d->held, d->held + n, d->held_n - n);
    d->held_n -= n;
}

static void settle(struct mime_decoder *d, struct vr_buf *out)
{
    const char *h = d->held;
    size_t n = d->held_n;
    enum held is = held_is(h, n);
    if (is == HELD_OPEN && n < sizeof d->held)
        return;
    if (is == HELD_LITERAL && n > 1) { /* the last octet may begin something else */
        put_held(d, n - 1, out);
        settle(d, out);
        return;
    }
    if (is == HELD_ESCAPE)
        vr_buf_add_byte(out, (char)(hex_digit(h[1]) * 16 + hex_digit(h[2])));
    else if (is == HELD_LINE_END)
        vr_buf_add(out, n > 1 && h[n - 2] == '\r' ? VR_STR("\r\n") : VR_STR("\n"));
    else if (is != HELD_SOFT_BREAK)
        vr_buf_add(out, vr_str(h, n));
    d->held_n = 0;
}

static void decode_quoted(struct mime_decoder *d, struct vr_str in, struct vr_buf *out)
{
    size_t from = 0;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (d->held_n == 0 && c != '=' && c != ' ' && c != '\t' && c != '\r' && c != '\n')
            continue;
        if (d->held_n == 0)
            vr_buf_add(out, vr_str_sub(in, from, i - from));
        d->held[d->held_n++] = c;
        settle(d, out);
        from = i + 1;
    }
    if (d->held_n == 0)
        vr_buf_add(out, vr_str_from_pos(in, from));
}

/* ---- both ------------------------------------------------------------------------------------------------------------- */

bool mime_decode(struct mime_decoder *d, struct vr_str bytes, struct vr_buf *out)
{
    if (d->encoding == MIME_ENCODING_BASE64)
        decode_base64(d, bytes, out);
    else if (d->encoding == MIME_ENCODING_QUOTED_PRINTABLE)
        decode_quoted(d, bytes, out);
    else
        vr_buf_add(out, bytes);
    return !out->too_big;
}

bool mime_decode_end(struct mime_decoder *d, struct vr_buf *out)
{
    size_t i = 0;
    if (d->encoding == MIME_ENCODING_BASE64 && d->value_n > 1)
        put_octets(d, out);
    while (i < d->held_n && is_blank(d->held[i]))
        i++;
    if (d->held_n > 0 &&
        !vr_str_equal(vr_str(d->held, d->held_n), VR_STR("="))) /* "=" alone: a soft line break */
        vr_buf_add(out, vr_str(d->held + i, d->held_n - i));
    d->held_n = 0;
    return !out->too_big;
}
