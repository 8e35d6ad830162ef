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

static int value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
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
