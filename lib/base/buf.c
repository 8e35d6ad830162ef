/* buf.c - bytes gathered at the end, taken from the front, never more than max.
 *
 * Invariant: start <= end <= capacity; end - start <= max.
 * Tests:     tests/unit/base.c
 */
#include <veredus/base.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_FIRST 256

void vr_buf_init(struct vr_buf *b, size_t max_bytes)
{
    *b = (struct vr_buf){.max = max_bytes};
}

void vr_buf_fini(struct vr_buf *b)
{
    free(b->p);
    *b = (struct vr_buf){.max = b->max};
}

void vr_buf_release(struct vr_buf *b)
{
    vr_buf_fini(b);
}

void vr_buf_reset(struct vr_buf *b)
{
    b->start = b->end = 0;
    b->too_big = false;
}

struct vr_str vr_buf_str(const struct vr_buf *b)
{
    return vr_str(b->p != NULL ? b->p + b->start : NULL, b->end - b->start);
}

size_t vr_buf_size(const struct vr_buf *b)
{
    return b->end - b->start;
}

char *vr_buf_reserve(struct vr_buf *b, size_t n)
{
    size_t live = b->end - b->start;
    if (n > b->max || live > b->max - n) {
        b->too_big = true;
        return NULL;
    }
    if (b->capacity - b->end >= n && b->p != NULL)
        return b->p + b->end;
    if (b->start > 0 && b->capacity - live >= n &&
        b->start >= live) { /* moving is cheaper than growing, and cannot be quadratic */
        memmove(b->p, b->p + b->start, live);
        b->start = 0;
        b->end = live;
        return b->p + b->end;
    }
    size_t capacity = b->capacity > 0 ? b->capacity : CAPACITY_FIRST;
    while (capacity - live < n)
        capacity = capacity > SIZE_MAX / 2 ? live + n : capacity * 2;
    if (capacity > b->max && b->max >= live + n)
        capacity = b->max;
    char *p = malloc(capacity);
    if (p == NULL) {
        b->too_big = true;
        return NULL;
    }
    if (live > 0)
        memcpy(p, b->p + b->start, live);
    free(b->p);
    b->p = p;
    b->capacity = capacity;
    b->start = 0;
    b->end = live;
    return p + live;
}

void vr_buf_filled(struct vr_buf *b, size_t n)
{
    assert(n <= b->capacity - b->end);
    b->end += n;
}

bool vr_buf_add(struct vr_buf *b, struct vr_str s)
{
    if (s.n == 0)
        return true;
    char *p = vr_buf_reserve(b, s.n);
    if (p == NULL)
        return false;
    memcpy(p, s.p, s.n);
    b->end += s.n;
    return true;
}

bool vr_buf_add_byte(struct vr_buf *b, char c)
{
    return vr_buf_add(b, vr_str(&c, 1));
}

bool vr_buf_addf(struct vr_buf *b, const char *format, ...)
{
    char small[256];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(small, sizeof small, format, list);
    va_end(list);
    if (n < 0)
        return false;
    if ((size_t)n < sizeof small)
        return vr_buf_add(b, vr_str(small, (size_t)n));
    char *text = malloc((size_t)n + 1); /* not in place: its NUL would want a byte that max may not have */
    if (text == NULL) {
        b->too_big = true;
        return false;
    }
    va_start(list, format);
    vsnprintf(text, (size_t)n + 1, format, list);
    va_end(list);
    bool fits = vr_buf_add(b, vr_str(text, (size_t)n));
    free(text);
    return fits;
}

bool vr_buf_add_u64(struct vr_buf *b, uint64_t decimal)
{
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + decimal % 10);
        decimal /= 10;
    } while (decimal > 0);
    return vr_buf_add(b, vr_str(digits + n, sizeof digits - n));
}

void vr_buf_consume(struct vr_buf *b, size_t n)
{
    assert(n <= b->end - b->start);
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = 0;
}
