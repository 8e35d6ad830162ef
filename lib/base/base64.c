/* base64.c - RFC 4648 §4, strict when decoding.
 *
 * Tests: tests/unit/base.c
 */
#include <veredus/base.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool vr_base64_encode(struct vr_buf *out, struct vr_str in)
{
    const unsigned char *p = (const unsigned char *)in.p;
    size_t size = (in.n + 2) / 3 * 4;
    char *to = size > 0 ? vr_buf_reserve(out, size) : NULL;
    if (to == NULL)
        return size == 0;
    for (size_t i = 0; i < in.n; i += 3) {
        size_t left = in.n - i;
        unsigned v =
            (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
        *to++ = alphabet[v >> 18];
        *to++ = alphabet[v >> 12 & 63];
        *to++ = left > 1 ? alphabet[v >> 6 & 63] : '=';
        *to++ = left > 2 ? alphabet[v & 63] : '=';
    }
    vr_buf_filled(out, size);
    return true;
}

/* What each octet below 0x80 stands for; -1: nothing. A table, since a chain of comparisons is guessed wrongly by the processor at every other letter. */
static const signed char values[128] = {
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, /* 0x00 */
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, /* 0x10 */
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 62, -1, -1, -1, 63, /* 0x20 */
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, -1, -1, -1, -1, -1, -1, /* 0x30 */
    -1, 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, /* 0x40 */
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, -1, -1, -1, -1, -1, /* 0x50 */
    -1, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, /* 0x60 */
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, -1, -1, -1, -1, -1, /* 0x70 */
};

static int value(char c)
{
    return (unsigned char)c < 128 ? values[(unsigned char)c] : -1;
}

enum vr_err vr_base64_decode(struct vr_buf *out, struct vr_str in)
{
    if (in.n % 4 != 0)
        return VR_ERR_SYNTAX;
    if (in.n == 0)
        return VR_OK;
    size_t padding = in.p[in.n - 1] != '=' ? 0 : in.p[in.n - 2] != '=' ? 1 : 2;
    size_t size = in.n / 4 * 3 - padding, done = 0;
    char *to = vr_buf_reserve(out, size);
    if (to == NULL)
        return VR_ERR_TOO_BIG;
    for (size_t i = 0; i < in.n; i += 4) {
        size_t pads = i + 4 == in.n ? padding : 0;
        unsigned v = 0;
        for (size_t k = 0; k < 4; k++) {
            int digit = k < 4 - pads ? value(in.p[i + k]) : 0;
            if (digit < 0)
                return VR_ERR_SYNTAX;
            v = v << 6 | (unsigned)digit;
        }
        if ((pads == 1 && (v & 0xFF)) || (pads == 2 && (v & 0xFFFF))) /* unused bits must be zero, §3.5 */
            return VR_ERR_SYNTAX;
        for (size_t k = 0; k < 3 - pads; k++)
            to[done++] = (char)(v >> (16 - 8 * k) & 0xFF);
    }
    vr_buf_filled(out, size);
    return VR_OK;
}
