/* encoded_word.c - RFC 2047 encoded words (with RFC 2231 §5 language tags) to UTF-8.
 *
 * encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?=". Blanks between two encoded words vanish (§6.2). What cannot be
 * decoded stays as it is. Charsets are libc's (iconv).
 * Tests: tests/unit/message.c
 */
#include <veredus/message.h>

#include <iconv.h>
#include <string.h>

#define CHARSET_MAX 40

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = vr_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "Q": underscore is a blank, =XX a byte (§4.2) */
static bool decode_q(struct vr_buf *out, struct vr_str in)
{
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '=') {
            int high = i + 2 < in.n ? hex(in.p[i + 1]) : -1, low = i + 2 < in.n ? hex(in.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            vr_buf_add_byte(out, (char)(high * 16 + low));
            i += 2;
        } else {
            vr_buf_add_byte(out, in.p[i] == '_' ? ' ' : in.p[i]);
        }
    }
    return !out->too_big;
}

/* "B", with the padding that many writers forget */
static bool decode_b(struct vr_buf *out, struct vr_str in)
{
    struct vr_buf padded;
    vr_buf_init(&padded, in.n + 4);
    while (in.n > 0 && in.p[in.n - 1] == '=')
        in.n--;
    vr_buf_add(&padded, in);
    while (vr_buf_size(&padded) % 4 != 0)
        vr_buf_add_byte(&padded, '=');
    bool good = vr_base64_decode(out, vr_buf_str(&padded)) == VR_OK;
    vr_buf_fini(&padded);
    return good;
}

static bool is_charset_character(char c)
{
    char l = vr_lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == ':' ||
           c == '+';
}

static bool to_utf8(struct vr_buf *out, struct vr_str charset, struct vr_str bytes)
{
    char name[CHARSET_MAX];
    if (vr_str_equal_nocase(charset, VR_STR("utf-8")) || vr_str_equal_nocase(charset, VR_STR("us-ascii")))
        return vr_utf8_valid(bytes) && vr_buf_add(out, bytes);
    if (charset.n == 0 || charset.n >= sizeof name)
        return false;
    for (size_t i = 0; i < charset.n;
         i++) /* names of charsets only: to iconv, slashes are options and paths */
        if (!is_charset_character(charset.p[i]))
            return false;
    memcpy(name, charset.p, charset.n);
    name[charset.n] = '\0';
    iconv_t converter = iconv_open("UTF-8", name);
    if (converter == (iconv_t)-1)
        return false;
    size_t room = bytes.n * 4 + 16, left = room, in_left = bytes.n;
    char *to = vr_buf_reserve(out, room), *from = (char *)bytes.p;
    bool good =
        to != NULL && iconv(converter, &from, &in_left, &to, &left) != (size_t)-1 && in_left == 0 &&
        iconv(converter, NULL, NULL, &to, &left) != (size_t)-1; /* what it held back, waiting for more */
    iconv_close(converter);
    if (good)
        vr_buf_filled(out, room - left);
    return good;
}

/* The encoded word at the start of s; its length, or 0. */
static size_t take_word(struct vr_buf *out, struct vr_str s)
{
    if (!vr_str_starts(s, VR_STR("=?")))
        return 0;
    struct vr_str rest = vr_str_from_pos(s, 2), charset, encoding, text;
    size_t mark = vr_str_find(rest, '?');
    if (mark == VR_NPOS || mark + 3 > rest.n || rest.p[mark + 2] != '?')
        return 0;
    charset = vr_str_sub(rest, 0, mark);
    encoding = vr_str_sub(rest, mark + 1, 1);
    rest = vr_str_from_pos(rest, mark + 3);
    size_t end = vr_str_find_str(rest, VR_STR("?="));
    if (end == VR_NPOS)
        return 0;
    text = vr_str_sub(rest, 0, end);
    charset = vr_str_sub(charset, 0, vr_str_find(charset, '*')); /* RFC 2231 §5 */
    struct vr_buf bytes;
    vr_buf_init(&bytes, text.n + 4);
    char kind = vr_lower(encoding.p[0]);
    bool good = (kind == 'q' ? decode_q(&bytes, text) : kind == 'b' && decode_b(&bytes, text)) &&
                to_utf8(out, charset, vr_buf_str(&bytes));
    vr_buf_fini(&bytes);
    return good ? (size_t)(rest.p + end + 2 - s.p) : 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct vr_str header_decode(struct vr_arena *arena, struct vr_str text)
{
    struct vr_buf out;
    vr_buf_init(&out, text.n * 4 + 64);
    size_t after_word =
        VR_NPOS; /* where the output stood after the last encoded word, while only blanks came since */
    for (size_t i = 0; i < text.n;) {
        struct vr_buf word;
        vr_buf_init(&word, text.n * 4 + 64);
        size_t taken = text.p[i] == '=' ? take_word(&word, vr_str_from_pos(text, i)) : 0;
        if (taken > 0) {
            if (after_word != VR_NPOS)
                out.end = out.start + after_word;
            vr_buf_add(&out, vr_buf_str(&word));
            after_word = vr_buf_size(&out);
            i += taken;
        } else {
            if (!is_blank(text.p[i]))
                after_word = VR_NPOS;
            vr_buf_add_byte(&out, text.p[i++]);
        }
        vr_buf_fini(&word);
    }
    struct vr_str decoded = vr_arena_dup(arena, vr_buf_str(&out));
    vr_buf_fini(&out);
    return decoded;
}
