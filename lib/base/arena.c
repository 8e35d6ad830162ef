/* arena.c - memory that dies together: blocks from malloc in a list, the newest first.
 *
 * Invariant: used <= max; used counts whole blocks, so the bound is one on memory held, not on memory asked for.
 * Tests:     tests/unit/base.c
 */
#include <veredus/base.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_feature) /* clang's way to say it, as the fuzzers are built */
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define BLOCK_FIRST 512
#define BLOCK_LARGE 16384
#define ALIGNMENT   16

struct vr_arena_block {
    struct vr_arena_block *next;
    size_t size; /* of the data */
    size_t fill;
    _Alignas(ALIGNMENT) char data[];
};

void vr_arena_init(struct vr_arena *a, size_t max_bytes)
{
    *a = (struct vr_arena){.max = max_bytes};
}

void vr_arena_reset(struct vr_arena *a)
{
    while (a->head != NULL) {
        struct vr_arena_block *next = a->head->next;
        ASAN_UNPOISON_MEMORY_REGION(a->head->data, a->head->size);
        free(a->head);
        a->head = next;
    }
    a->used = 0;
}

void vr_arena_fini(struct vr_arena *a)
{
    vr_arena_reset(a);
}

static struct vr_arena_block *block_add(struct vr_arena *a, size_t need)
{
    size_t size = a->head == NULL ? BLOCK_FIRST : a->head->size * 2;
    if (size > BLOCK_LARGE)
        size = BLOCK_LARGE;
    size_t left = a->max - a->used;
    if (size > left)
        size = left;
    if (size < need)
        size = need;
    if (size > left)
        return NULL;
    struct vr_arena_block *b = malloc(sizeof *b + size);
    if (b == NULL)
        return NULL;
    b->next = a->head;
    b->size = size;
    b->fill = 0;
    ASAN_POISON_MEMORY_REGION(b->data, b->size);
    a->head = b;
    a->used += size;
    return b;
}

void *vr_arena_alloc(struct vr_arena *a, size_t n)
{
    if (n > a->max || n > SIZE_MAX / 2) /* so that nothing below can overflow */
        return NULL;
    size_t need = (n + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct vr_arena_block *b = a->head;
    if (b == NULL || b->size - b->fill < need)
        b = block_add(a, need);
    if (b == NULL)
        return NULL;
    char *p = b->data + b->fill;
    b->fill += need;
    ASAN_UNPOISON_MEMORY_REGION(p, n);
    memset(p, 0, n);
    return p;
}

struct vr_str vr_arena_dup(struct vr_arena *a, struct vr_str s)
{
    if (s.n == 0)
        return vr_str("", 0);
    char *p = s.n < SIZE_MAX ? vr_arena_alloc(a, s.n + 1) : NULL;
    if (p == NULL)
        return vr_str(NULL, 0);
    memcpy(p, s.p, s.n);
    return vr_str(p, s.n);
}

struct vr_str vr_arena_lower(struct vr_arena *a, struct vr_str s)
{
    struct vr_str copy = vr_arena_dup(a, s);
    for (size_t i = 0; i < copy.n; i++)
        ((char *)copy.p)[i] = vr_lower(copy.p[i]);
    return copy;
}

struct vr_str vr_arena_printf(struct vr_arena *a, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *p = n >= 0 ? vr_arena_alloc(a, (size_t)n + 1) : NULL;
    if (p == NULL)
        return vr_str(NULL, 0);
    va_start(list, format);
    vsnprintf(p, (size_t)n + 1, format, list);
    va_end(list);
    return vr_str(p, (size_t)n);
}
