/* pool.c - idle connections by their key. The last one used is taken first, so that surplus ones grow old and go. */
#include "sender/inside.h"

#include <assert.h>
#include <stdlib.h>

struct idle_key {
    UT_hash_handle hh;
    struct connection_list list;
    unsigned count;
    size_t n;
    char text[];
};

/* Connections to one destination may be used for each other when the same credentials and the same care for TLS apply. */
bool pool_key(struct vr_buf *out, const struct next_hop *hop, bool no_tls_policy)
{
    return next_hop_text(out, hop) &&
           vr_buf_addf(out, "#%u#%d%s", hop->route, (int)hop->tls, no_tls_policy ? "-" : "");
}

static struct idle_key *find(struct sender *s, struct vr_str key)
{
    struct idle_key *k = NULL;
    HASH_FIND(hh, s->idle_keys, key.p, key.n, k);
    return k;
}

static struct idle_key *find_or_make(struct sender *s, struct vr_str key)
{
    struct idle_key *k = find(s, key);
    if (k != NULL)
        return k;
    k = calloc(1, sizeof *k + key.n);
    assert(k != NULL);
    TAILQ_INIT(&k->list);
    k->n = key.n;
    for (size_t i = 0; i < key.n; i++)
        k->text[i] = key.p[i];
    HASH_ADD_KEYPTR(hh, s->idle_keys, k->text, k->n, k);
    return k;
}

struct connection *pool_take(struct sender *s, struct vr_str key)
{
    struct idle_key *k = find(s, key);
    struct connection *c = k != NULL ? TAILQ_LAST(&k->list, connection_list) : NULL;
    if (c != NULL)
        pool_remove(c);
    return c;
}

void pool_put(struct connection *c)
{
    struct sender *s = c->sender;
    struct idle_key *k = find_or_make(s, c->key);
    TAILQ_INSERT_TAIL(&k->list, c, same_key);
    TAILQ_INSERT_TAIL(&s->idle, c, idle_entry);
    k->count++;
    s->idle_count++;
}

void pool_remove(struct connection *c)
{
    struct sender *s = c->sender;
    struct idle_key *k = find(s, c->key);
    assert(k != NULL);
    TAILQ_REMOVE(&k->list, c, same_key);
    TAILQ_REMOVE(&s->idle, c, idle_entry);
    s->idle_count--;
    if (--k->count > 0)
        return;
    HASH_DEL(s->idle_keys, k);
    free(k);
}
