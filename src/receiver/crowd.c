/* crowd.c - see crowd.h.
 *
 * Rule:       a receiver adds to the board before it looks: two that add at the same time may both see one too many, never one too few.
 * Runs in:    the supervisor (new, clear, free), receivers.
 * Tests:      tests/unit/receiver.c, tests/e2e/test_clients.py
 */
#include "receiver/crowd.h"

#include "io/env.h"
#include "io/process.h"

#include <stdatomic.h>
#include <string.h>

#define PLACES 65536u

typedef _Atomic uint32_t count;

/* count[0 … receivers - 1]: clients in all; then for each of 2 × PLACES one count a receiver, side by side, so that a sum is one
 * or two lines of cache. */
struct crowd {
    unsigned receivers;
    uint8_t key[16];
    count counts[];
};

static size_t size_for(unsigned receivers)
{
    return sizeof(struct crowd) + ((size_t)1 + 2 * PLACES) * receivers * sizeof(count);
}

struct crowd *crowd_new(unsigned receivers)
{
    struct crowd *c = io_shared_new(size_for(receivers));
    c->receivers = receivers;
    io_env_random(c->key, sizeof c->key);
    return c;
}

void crowd_free(struct crowd *c)
{
    if (c != NULL)
        io_shared_free(c, size_for(c->receivers));
}

static count *place_at(const struct crowd *c, uint32_t place)
{
    return (count *)c->counts + ((size_t)1 + place) * c->receivers;
}

static uint64_t sum(const struct crowd *c, const count *of)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < c->receivers; i++)
        n += atomic_load(&of[i]);
    return n;
}

void crowd_clear(struct crowd *c, unsigned receiver)
{
    if (atomic_load(&c->counts[receiver]) ==
        0) /* nor has it others: the first count goes up first and down last */
        return;
    for (uint32_t place = 0; place < 2 * PLACES; place++)
        if (atomic_load(&place_at(c, place)[receiver]) != 0)
            atomic_store(&place_at(c, place)[receiver], 0);
    atomic_store(&c->counts[receiver], 0);
}

struct crowd_client crowd_enter(struct crowd *c, unsigned receiver, const struct io_network *address)
{
    atomic_fetch_add(&c->counts[receiver], 1);
    if (address == NULL)
        return (struct crowd_client){.in_all_only = true};
    uint64_t hash = vr_siphash(c->key, address->ip, address->v6 ? 8 : 4);
    struct crowd_client client = {.places = {hash % PLACES, PLACES + (hash >> 32) % PLACES}};
    for (size_t i = 0; i < 2; i++)
        atomic_fetch_add(&place_at(c, client.places[i])[receiver], 1);
    return client;
}

void crowd_leave(struct crowd *c, unsigned receiver, struct crowd_client client)
{
    for (size_t i = 0; i < 2 && !client.in_all_only; i++)
        atomic_fetch_sub(&place_at(c, client.places[i])[receiver], 1);
    atomic_fetch_sub(&c->counts[receiver], 1);
}

uint64_t crowd_in_all(const struct crowd *c)
{
    return sum(c, c->counts);
}

uint64_t crowd_of_address(const struct crowd *c, struct crowd_client client)
{
    if (client.in_all_only)
        return 0;
    uint64_t a = sum(c, place_at(c, client.places[0])), b = sum(c, place_at(c, client.places[1]));
    return a < b ? a : b;
}
