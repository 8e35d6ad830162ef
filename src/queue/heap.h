/* heap.h - who comes first: a binary heap of nodes that lie in their owners, smallest key on top.
 *
 * Memory: 8 bytes in the owner and a pointer in the heap, so a million sleepers cost 16 MB and one timer.
 * Tests:  tests/unit/queue_schedule.c
 */
#ifndef QUEUE_HEAP_H
#define QUEUE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    uint32_t key; /* the heap's business while the node is in it: heap_put changes it */
    uint32_t at;  /* place + 1; 0: in no heap */
};
struct heap {
    struct heap_node **items;
    size_t count, capacity;
};
void heap_fini(struct heap *h); /* the nodes are the owners' */
/* Into the heap, or to another place in it. */
void heap_put(struct heap *h, struct heap_node *n, uint32_t key);
void heap_remove(struct heap *h, struct heap_node *n);         /* fine when it is in none */
static inline struct heap_node *heap_top(const struct heap *h) /* NULL: empty */
{
    return h->count > 0 ? h->items[0] : NULL;
}
static inline bool heap_holds(const struct heap_node *n)
{
    return n->at != 0;
}
#define HEAP_OWNER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
