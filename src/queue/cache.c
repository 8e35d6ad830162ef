/* cache.c - the bodies of messages just accepted, kept until they are handed to a sender, at most CACHE_MAX bytes of them.
 *
 * The oldest go first: a body that was not fetched in time is read back from the log.
 * They lie one behind the other in chunks; a chunk goes when all in it are gone. So a million messages that are kept for longer, and were
 * made meanwhile, do not lie between the holes of their bodies: the memory goes back to the system.
 */
#include "queue/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MAX  (32u << 20)
#define CHUNK_SIZE (1u << 20)
#define ALIGNED(n) (((n) + 15) & ~(size_t)15)

struct cache_chunk {
    size_t size, used;
    uint32_t entries;
    _Alignas(16) char bytes[];
};

static void chunk_free(struct queue *q, struct cache_chunk *k)
{
    q->cache_bytes -= k->size;
    if (k->size == CHUNK_SIZE && q->cache_spare == NULL) {
        q->cache_spare = k;
        return;
    }
    free(k);
}

void cache_drop(struct queue *q, struct message *m)
{
    struct cached *c = m->cached;
    if (c == NULL)
        return;
    *(c->newer != NULL ? &c->newer->older : &q->cache_newest) = c->older;
    *(c->older != NULL ? &c->older->newer : &q->cache_oldest) = c->newer;
    m->cached = NULL;
    struct cache_chunk *k = c->chunk;
    if (--k->entries > 0)
        return;
    if (k == q->cache_chunk)
        k->used = 0; /* filled from its start again */
    else
        chunk_free(q, k);
}

static struct cache_chunk *chunk_with_room(struct queue *q, size_t n)
{
    struct cache_chunk *k = q->cache_chunk;
    if (k != NULL && k->size - k->used >= n)
        return k;
    size_t size = n > CHUNK_SIZE ? n : CHUNK_SIZE;
    q->cache_chunk = NULL; /* it goes with the last one in it */
    if (k != NULL && k->entries == 0)
        chunk_free(q, k);
    while (q->cache_bytes + size > CACHE_MAX && q->cache_oldest != NULL)
        cache_drop(q, q->cache_oldest->message);
    if (size == CHUNK_SIZE && q->cache_spare != NULL) {
        k = q->cache_spare;
        q->cache_spare = NULL;
    } else {
        k = malloc(sizeof *k + size);
        assert(k != NULL);
    }
    *k = (struct cache_chunk){.size = size};
    q->cache_bytes += size;
    q->cache_chunk = k;
    return k;
}

void cache_add(struct queue *q, struct message *m, const struct vr_str *parts, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += parts[i].n;
    if (n > CACHE_MAX / 8)
        return;
    struct cache_chunk *k = chunk_with_room(q, ALIGNED(sizeof(struct cached) + n));
    struct cached *c = (void *)(k->bytes + k->used);
    k->used += ALIGNED(sizeof *c + n);
    k->entries++;
    *c = (struct cached){.older = q->cache_newest, .message = m, .chunk = k, .n = n};
    char *at = c->payload;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > 0)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    *(q->cache_newest != NULL ? &q->cache_newest->newer : &q->cache_oldest) = c;
    q->cache_newest = c;
    m->cached = c;
}
