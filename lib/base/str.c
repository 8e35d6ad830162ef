/* str.c - slices. See base.h. Nothing here allocates.
 *
 * Tests: tests/unit/base.c
 */
#include <veredus/base.h>

#include <string.h>

struct vr_str vr_str(const char *p, size_t n)
{
    return (struct vr_str){p, n};
}

struct vr_str vr_str_from(const char *nul_terminated)
{
    return (struct vr_str){nul_terminated, nul_terminated != NULL ? strlen(nul_terminated) : 0};
}

char vr_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool vr_str_equal(struct vr_str a, struct vr_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool vr_str_equal_nocase(struct vr_str a, struct vr_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (vr_lower(a.p[i]) != vr_lower(b.p[i]))
            return false;
    return true;
}

int vr_str_compare(struct vr_str a, struct vr_str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : a.n < b.n ? -1 : a.n > b.n;
}

bool vr_str_starts(struct vr_str s, struct vr_str prefix)
{
    return s.n >= prefix.n && vr_str_equal(vr_str(s.p, prefix.n), prefix);
}

bool vr_str_starts_nocase(struct vr_str s, struct vr_str prefix)
{
    return s.n >= prefix.n && vr_str_equal_nocase(vr_str(s.p, prefix.n), prefix);
}

bool vr_str_ends_nocase(struct vr_str s, struct vr_str suffix)
{
    return s.n >= suffix.n && vr_str_equal_nocase(vr_str_from_pos(s, s.n - suffix.n), suffix);
}

struct vr_str vr_str_from_pos(struct vr_str s, size_t from)
{
    if (from >= s.n) /* an empty slice keeps its place, so that pointers into the whole stay comparable */
        return (struct vr_str){s.p != NULL ? s.p + s.n : NULL, 0};
    return (struct vr_str){s.p + from, s.n - from};
}

struct vr_str vr_str_sub(struct vr_str s, size_t from, size_t length)
{
    s = vr_str_from_pos(s, from);
    if (length < s.n)
        s.n = length;
    return s;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct vr_str vr_str_trim(struct vr_str s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = vr_str_from_pos(s, 1);
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

size_t vr_str_find(struct vr_str s, char c)
{
    const char *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;
    return at != NULL ? (size_t)(at - s.p) : VR_NPOS;
}

size_t vr_str_find_last(struct vr_str s, char c)
{
    const char *at = s.n > 0 ? memrchr(s.p, c, s.n) : NULL;
    return at != NULL ? (size_t)(at - s.p) : VR_NPOS;
}

size_t vr_str_find_str(struct vr_str s, struct vr_str needle)
{
    if (needle.n == 0)
        return 0;
    const char *at = s.n >= needle.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return at != NULL ? (size_t)(at - s.p) : VR_NPOS;
}

bool vr_str_split(struct vr_str *rest, char sep, struct vr_str *part)
{
    if (rest->n == 0)
        return false;
    size_t at = vr_str_find(*rest, sep);
    *part = vr_str_sub(*rest, 0, at);
    *rest = at == VR_NPOS ? vr_str_from_pos(*rest, rest->n) : vr_str_from_pos(*rest, at + 1);
    return true;
}

bool vr_str_to_u64(struct vr_str s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        unsigned digit = (unsigned)(s.p[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

bool vr_str_is_ascii(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

/* The length of the UTF-8 sequence at p (RFC 3629 §4: no overlong forms, no surrogates, up to U+10FFFF); 0: none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high;
        size_t length;
    } forms[] = {
        {0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t length = forms[i].length;
        if (p[0] < forms[i].first_low || p[0] > forms[i].first_high || n < length)
            continue;
        if (length > 1 && (p[1] < forms[i].second_low || p[1] > forms[i].second_high))
            return 0;
        for (size_t k = 2; k < length; k++)
            if ((p[k] & 0xC0) != 0x80)
                return 0;
        return length;
    }
    return 0;
}

bool vr_utf8_next(struct vr_str *rest, uint32_t *character)
{
    static const unsigned char first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *p = (const unsigned char *)rest->p;
    size_t length = rest->n > 0 ? utf8_length(p, rest->n) : 0;
    if (length == 0)
        return false;
    *character = p[0] & first[length];
    for (size_t i = 1; i < length; i++)
        *character = *character << 6 | (p[i] & 0x3f);
    *rest = vr_str_from_pos(*rest, length);
    return true;
}

bool vr_utf8_valid(struct vr_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    for (size_t i = 0; i < s.n;) {
        size_t length = p[i] < 0x80 ? 1 : utf8_length(p + i, s.n - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}
