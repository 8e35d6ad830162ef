/* memory.c - whose memory it is: what an actor allocated goes when it dies, as a process's does, and can be counted.
 *
 * The linker sends malloc and its kin here (-Wl,--wrap=malloc …). What shared libraries allocate is not ours: it comes to free()
 * without our mark, and is passed on. Under the sanitizers nothing is wrapped: there memory of the dead is simply kept.
 */
#include "io/sim/inside.h"

#include <stdlib.h>
#include <string.h>

static size_t paused;

size_t memory_pause(void)
{
    return paused++;
}

void memory_resume(size_t before)
{
    paused = before;
}

size_t sim_memory(const struct sim_actor *a)
{
    return a->bytes;
}

#ifdef SIM_WATCH_MEMORY

#define MARK 0x766572656475736bu

struct block {
    struct block *prev, *next;
    struct sim_actor *actor;
    size_t size;
    uint64_t unused, mark;
};

void *__real_malloc(size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static struct block *block_of(void *p)
{
    struct block *b = (struct block *)((char *)p - sizeof *b);
    return b->mark == (MARK ^ (uint64_t)(uintptr_t)p) ? b : NULL;
}

static void block_link(struct block *b)
{
    struct fiber *f = paused > 0 ? NULL : fiber_current();
    b->actor = f != NULL ? f->actor : NULL;
    b->prev = b->next = NULL;
    if (b->actor == NULL)
        return;
    b->next = b->actor->blocks;
    if (b->next != NULL)
        b->next->prev = b;
    b->actor->blocks = b;
    b->actor->bytes += b->size;
}

static void block_unlink(struct block *b)
{
    if (b->actor == NULL)
        return;
    if (b->prev != NULL)
        b->prev->next = b->next;
    else
        b->actor->blocks = b->next;
    if (b->next != NULL)
        b->next->prev = b->prev;
    b->actor->bytes -= b->size;
}

void *__wrap_malloc(size_t n)
{
    struct block *b = n < SIZE_MAX - sizeof *b ? __real_malloc(sizeof *b + n) : NULL;
    if (b == NULL)
        return NULL;
    b->size = n;
    b->mark = MARK ^ (uint64_t)(uintptr_t)(b + 1);
    block_link(b);
    return b + 1;
}

void *__wrap_calloc(size_t n, size_t size)
{
    if (size != 0 && n > SIZE_MAX / size)
        return NULL;
    void *p = __wrap_malloc(n * size);
    if (p != NULL)
        memset(p, 0, n * size);
    return p;
}

void __wrap_free(void *p)
{
    struct block *b = p != NULL ? block_of(p) : NULL;
    if (b == NULL) {
        __real_free(p);
        return;
    }
    block_unlink(b);
    b->mark = 0;
    memset(b + 1, 0xdb, b->size < 64 ? b->size : 64); /* who still reads it sees nonsense */
    __real_free(b);
}

void *__wrap_realloc(void *p, size_t n)
{
    void *fresh = __wrap_malloc(n);
    if (fresh == NULL || p == NULL)
        return fresh;
    size_t old = block_of(p)->size;
    memcpy(fresh, p, old < n ? old : n);
    __wrap_free(p);
    return fresh;
}

char *__wrap_strndup(const char *s, size_t n)
{
    size_t length = strnlen(s, n);
    char *p = __wrap_malloc(length + 1);
    if (p != NULL) {
        memcpy(p, s, length);
        p[length] = '\0';
    }
    return p;
}

char *__wrap_strdup(const char *s)
{
    return __wrap_strndup(s, strlen(s));
}

void memory_free_all(struct sim_actor *a)
{
    for (struct block *b = a->blocks, *next; b != NULL; b = next) {
        next = b->next;
        b->mark = 0;
        __real_free(b);
    }
    a->blocks = NULL;
    a->bytes = 0;
}

#else

void memory_free_all(struct sim_actor *a)
{
    (void)a;
}

#endif
