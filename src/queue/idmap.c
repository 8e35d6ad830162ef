/* idmap.c - a table of objects by their 64-bit id: open addressing, linear probing, deletion by moving back.
 *
 * Does not own what it holds. Tests: tests/unit/queue_index.c
 */
#include "queue/inside.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_CAPACITY 64

static size_t home(const struct idmap *m, uint64_t id)
{
    /* Fibonacci hashing: ids are times, so their low bits repeat. The receivers choose them, but they are our own. */
    return (size_t)((id * 0x9E3779B97F4A7C15u) >> 20) & (m->capacity - 1);
}

void idmap_fini(struct idmap *m)
{
    free(m->slots);
    *m = (struct idmap){0};
}

static size_t slot_of(const struct idmap *m, uint64_t id)
{
    size_t i = home(m, id);
    while (m->slots[i] != NULL && *m->slots[i] != id)
        i = (i + 1) & (m->capacity - 1);
    return i;
}

void *idmap_find(const struct idmap *m, uint64_t id)
{
    return m->count > 0 ? m->slots[slot_of(m, id)] : NULL;
}

static void grow(struct idmap *m)
{
    struct idmap bigger = {.capacity = m->capacity > 0 ? 2 * m->capacity : FIRST_CAPACITY, .count = m->count};
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    assert(bigger.slots != NULL);
    for (size_t i = 0; i < m->capacity; i++)
        if (m->slots[i] != NULL)
            bigger.slots[slot_of(&bigger, *m->slots[i])] = m->slots[i];
    free(m->slots);
    *m = bigger;
}

void idmap_reserve(struct idmap *m, size_t count)
{
    assert(m->count == 0);
    size_t capacity = m->capacity > 0 ? m->capacity : FIRST_CAPACITY;
    while (4 * (count + 1) > 3 * capacity)
        capacity *= 2;
    free(m->slots);
    *m = (struct idmap){.capacity = capacity, .slots = calloc(capacity, sizeof *m->slots)};
    assert(m->slots != NULL);
}

void idmap_add(struct idmap *m, void *object)
{
    uint64_t id = *(uint64_t *)object;
    assert(id != 0);
    if (4 * (m->count + 1) > 3 * m->capacity)
        grow(m);
    size_t i = slot_of(m, id);
    assert(m->slots[i] == NULL);
    m->slots[i] = object;
    m->count++;
}

void idmap_remove(struct idmap *m, uint64_t id)
{
    if (m->count == 0)
        return;
    size_t hole = slot_of(m, id);
    if (m->slots[hole] == NULL)
        return;
    m->slots[hole] = NULL;
    m->count--;
    /* What follows without a gap may have its home at or before the hole: it moves there. */
    for (size_t i = (hole + 1) & (m->capacity - 1); m->slots[i] != NULL; i = (i + 1) & (m->capacity - 1)) {
        size_t wanted = home(m, *m->slots[i]);
        if (((i - wanted) & (m->capacity - 1)) < ((i - hole) & (m->capacity - 1)))
            continue;
        m->slots[hole] = m->slots[i];
        m->slots[i] = NULL;
        hole = i;
    }
}

/* Why downward: a removal moves objects towards their home, to lower slots, so what has not been met stays ahead of the walk. Only an
 * object whose place wrapped around the end of the table may move up, to the last slots: at the beginning these lie in the slots from 0
 * on without a gap, which are walked (downward as well) before the last slot is. What is added meanwhile may be missed. */
void idmap_walk_begin(const struct idmap *m, struct idmap_walk *w)
{
    *w = (struct idmap_walk){.capacity = m->capacity};
    while (w->wrapped < m->capacity && m->slots[w->wrapped] != NULL)
        w->wrapped++;
    w->next = w->wrapped;
    if (w->next == 0) {
        w->second = true;
        w->next = m->capacity;
    }
}

void *idmap_walk_next(const struct idmap *m, struct idmap_walk *w)
{
    if (idmap_walk_ended(w) || idmap_walk_broken(m, w))
        return NULL;
    void *object = m->slots[--w->next];
    if (!w->second && w->next == 0) {
        w->second = true;
        w->next = w->capacity;
    }
    return object;
}
