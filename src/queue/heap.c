/* heap.c - see heap.h. */
#include "queue/heap.h"

#include <assert.h>
#include <stdlib.h>

static void place(struct heap *h, size_t at, struct heap_node *n)
{
    h->items[at] = n;
    n->at = (uint32_t)at + 1;
}

static void sift(struct heap *h, size_t at)
{
    struct heap_node *n = h->items[at];
    while (at > 0 && h->items[(at - 1) / 2]->key > n->key) {
        place(h, at, h->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->items[child + 1]->key < h->items[child]->key)
            child++;
        if (h->items[child]->key >= n->key)
            break;
        place(h, at, h->items[child]);
        at = child;
    }
    place(h, at, n);
}

void heap_put(struct heap *h, struct heap_node *n, uint32_t key)
{
    n->key = key;
    if (n->at == 0) {
        if (h->count == h->capacity) {
            h->capacity = h->capacity > 0 ? h->capacity + h->capacity / 2 : 256;
            h->items = realloc(h->items, h->capacity * sizeof *h->items);
            assert(h->items != NULL);
        }
        place(h, h->count++, n);
    }
    sift(h, n->at - 1);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    if (n->at == 0)
        return;
    size_t at = n->at - 1;
    n->at = 0;
    struct heap_node *last = h->items[--h->count];
    if (last != n) {
        place(h, at, last);
        sift(h, at);
    }
}

void heap_fini(struct heap *h)
{
    free(h->items);
    *h = (struct heap){0};
}
