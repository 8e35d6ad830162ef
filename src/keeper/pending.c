/* pending.c - see pending.h. A number's place is the number modulo PENDING_MAX.
 *
 * Tests: tests/unit/keeper_sources.c
 */
#include "keeper/pending.h"

uint32_t pending_add(struct pending *p, struct account_question *q, int64_t until_ms, const void *who)
{
    if (p->count >= PENDING_MAX)
        return 0;
    struct pending_slot *s;
    do {
        p->last = p->last == INT32_MAX ? 1 : p->last + 1; /* Dovecot's numbers have 31 bits */
        s = &p->slots[p->last % PENDING_MAX];
    } while (s->q != NULL);
    *s = (struct pending_slot){.q = q, .id = p->last, .until_ms = until_ms, .who = who};
    p->count++;
    return p->last;
}

static struct account_question *slot_take(struct pending *p, struct pending_slot *s)
{
    struct account_question *q = s->q;
    *s = (struct pending_slot){0};
    p->count--;
    return q;
}

struct account_question *pending_take(struct pending *p, uint32_t id)
{
    struct pending_slot *s = &p->slots[id % PENDING_MAX];
    return s->q != NULL && s->id == id ? slot_take(p, s) : NULL;
}

struct account_question *pending_expired(struct pending *p, int64_t now_ms)
{
    for (size_t i = 0; p->count > 0 && i < PENDING_MAX; i++)
        if (p->slots[i].q != NULL && p->slots[i].until_ms <= now_ms)
            return slot_take(p, &p->slots[i]);
    return NULL;
}

struct account_question *pending_of(struct pending *p, const void *who)
{
    for (size_t i = 0; p->count > 0 && i < PENDING_MAX; i++)
        if (p->slots[i].q != NULL && p->slots[i].who == who)
            return slot_take(p, &p->slots[i]);
    return NULL;
}
