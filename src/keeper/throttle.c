/* throttle.c - see throttle.h. Sets of four entries, found by a keyed hash of the client's network; a newcomer takes the place of
 * the entry of its set that was quiet for the longest time.
 *
 * Tests: tests/unit/keeper.c
 */
#include "keeper/throttle.h"

#include "io/stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SETS 1024
#define WAYS 4

struct entry {
    uint64_t client; /* hash; 0: empty */
    int64_t last_ms;
    int64_t line_ms; /* when the last one in line may try */
    unsigned failures;
};

struct throttle {
    uint8_t key[16];
    struct entry entries[SETS][WAYS];
};

struct throttle *throttle_new(const uint8_t key[16])
{
    struct throttle *t = calloc(1, sizeof *t);
    assert(t != NULL);
    memcpy(t->key, key, sizeof t->key);
    return t;
}

void throttle_free(struct throttle *t)
{
    free(t);
}

static uint64_t client_hash(const struct throttle *t, struct vr_str client)
{
    struct io_network net;
    if (!io_network_parse(client, &net))
        return 0;
    uint64_t hash = vr_siphash(t->key, net.ip, net.v6 ? 8 : 4);
    return hash != 0 ? hash : 1;
}

static struct entry *find(struct throttle *t, uint64_t client, int64_t now_ms)
{
    struct entry *set = t->entries[client % SETS];
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].client == client) {
            if (now_ms - set[i].last_ms > THROTTLE_FORGET_MS)
                set[i] = (struct entry){.client = client};
            return &set[i];
        }
    return NULL;
}

static struct entry *replace_quietest(struct throttle *t, uint64_t client)
{
    struct entry *set = t->entries[client % SETS], *quietest = set;
    for (size_t i = 0; i < WAYS && quietest->client != 0; i++)
        if (set[i].client == 0 || set[i].last_ms < quietest->last_ms)
            quietest = &set[i];
    *quietest = (struct entry){.client = client};
    return quietest;
}

int64_t throttle_delay(struct throttle *t, struct vr_str client, int64_t now_ms)
{
    uint64_t hash = client_hash(t, client);
    struct entry *e = hash != 0 ? find(t, hash, now_ms) : NULL;
    if (e == NULL || e->failures < THROTTLE_FREE_FAILURES)
        return 0;
    int64_t step = (int64_t)(e->failures - THROTTLE_FREE_FAILURES + 1) * THROTTLE_STEP_MS;
    if (step > THROTTLE_MOST_MS)
        step = THROTTLE_MOST_MS;
    int64_t from = e->line_ms > now_ms ? e->line_ms : now_ms;
    if (from + step - now_ms > THROTTLE_QUEUE_MS)
        return -1;
    e->line_ms = from + step;
    return e->line_ms - now_ms;
}

unsigned throttle_result(struct throttle *t, struct vr_str client, bool good, int64_t now_ms)
{
    uint64_t hash = client_hash(t, client);
    if (hash == 0)
        return 0;
    struct entry *e = find(t, hash, now_ms);
    if (good) {
        if (e != NULL)
            *e = (struct entry){0};
        return 0;
    }
    if (e == NULL)
        e = replace_quietest(t, hash);
    e->last_ms = now_ms;
    return ++e->failures;
}
