/* cache.c - the bodies of messages just accepted, kept until they are handed to a sender, at most CACHE_MAX bytes of them.
 *
 * The oldest go first: a body that was not fetched in time is read back from the log.
 */
#include "queue/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MAX (32u << 20)

void cache_drop(struct queue *q, struct message *m)
{
    struct cached *c = m->cached;
    if (c == NULL)
        return;
    *(c->newer != NULL ? &c->newer->older : &q->cache_newest) = c->older;
    *(c->older != NULL ? &c->older->newer : &q->cache_oldest) = c->newer;
    q->cache_bytes -= c->n;
    m->cached = NULL;
    free(c);
}

void cache_add(struct queue *q, struct message *m, const struct vr_str *parts, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += parts[i].n;
    if (n > CACHE_MAX / 8)
        return;
    while (q->cache_bytes + n > CACHE_MAX)
        cache_drop(q, q->cache_oldest->message);
    struct cached *c = malloc(sizeof *c + n);
    assert(c != NULL);
    *c = (struct cached){.older = q->cache_newest, .message = m, .n = n};
    char *at = c->payload;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > 0)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    *(q->cache_newest != NULL ? &q->cache_newest->newer : &q->cache_oldest) = c;
    q->cache_newest = c;
    q->cache_bytes += n;
    m->cached = c;
}
