/* router.c - from recipients to destinations: aliases expanded once, at intake; the next hop anew for each attempt.
 *
 * Why so: what an alias stood for when the message was accepted is part of the message (its record), so that the indexes of recipients
 * mean the same after a restart under another configuration. Where an address goes is the configuration's matter of the moment: a route
 * that was mended works for the mail that waits.
 */
#include "queue/inside.h"

#include <veredus/idn.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TARGETS_MAX 50000u /* of one message */

/* ---- destinations ------------------------------------------------------------------------------------------------------------ */

static uint32_t name_hash(const char *s)
{
    uint32_t h =
        2166136261u; /* FNV-1a: the same in every process of a life, for a sender keeps its connections */
    for (; *s != '\0'; s++)
        h = (h ^ (uint8_t)*s) * 16777619u;
    return h;
}

static char *copy_text(struct vr_str s)
{
    char *p = malloc(s.n + 1);
    assert(p != NULL);
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

static struct destination *destination_new(struct queue *q, const struct next_hop *h, struct vr_str key)
{
    struct destination *d = calloc(1, sizeof *d);
    assert(d != NULL);
    d->key = copy_text(key);
    d->next_hop = *h;
    d->next_hop.host = vr_str(copy_text(h->host), h->host.n);
    struct vr_buf name;
    vr_buf_init(&name, 4096);
    next_hop_text(&name, h);
    d->name = copy_text(vr_buf_str(&name));
    vr_buf_fini(&name);
    d->hash = name_hash(d->name);
    HASH_ADD_KEYPTR(hh, q->destinations, d->key, key.n, d);
    health_init(q, d);
    return d;
}

struct destination *destination_get(struct queue *q, const struct next_hop *h)
{
    const uint32_t what[] = {(uint32_t)h->kind, h->port, (uint32_t)h->tls, h->route, h->domain};
    struct vr_buf *b = &q->scratch2;
    vr_buf_reset(b);
    vr_buf_add(b, vr_str((const char *)what, sizeof what));
    vr_buf_add(b, h->host);
    struct vr_str key = vr_buf_str(b);
    struct destination *d = NULL;
    HASH_FIND(hh, q->destinations, key.p, key.n, d);
    if (d == NULL)
        d = destination_new(q, h, key);
    d->refs++;
    return d;
}

void destination_release(struct queue *q, struct destination *d)
{
    (void)q;
    assert(d->refs > 0);
    d->refs--; /* freed by the sweep: the next message for it comes soon */
}

void destinations_sweep(struct queue *q)
{
    struct destination *d, *next;
    HASH_ITER(hh, q->destinations, d, next)
    {
        if (d->refs > 0 || d->active > 0 || d->ready > 0 || d->in_ring || d->burying ||
            !health_forgettable(q, d))
            continue;
        HASH_DELETE(hh, q->destinations, d);
        free((char *)d->next_hop.host.p);
        text_drop(q, d->reason);
        free(d->name);
        free(d->key);
        free(d);
    }
}

/* ---- one recipient --------------------------------------------------------------------------------------------------------------- */

static uint32_t count_targets(const struct routing_target *t)
{
    uint32_t n = 0;
    for (; t != NULL; t = t->next)
        n++;
    return n;
}

static const struct routing_target *target_of(const struct routing_target *t, struct vr_str address)
{
    for (; t != NULL; t = t->next)
        if (vr_str_equal_nocase(t->address, address))
            return t;
    return NULL;
}

static bool has_recipient(const struct message *m, struct vr_str address)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (vr_str_equal_nocase(recipient_address(m, &m->recipients[i]), address))
            return true;
    return false;
}

void router_route(struct queue *q, struct vr_arena *arena, const struct message *m, const struct recipient *r,
                  struct routed *out)
{
    *out = (struct routed){
        .error = VR_STR("5.4.6 the address leads nowhere: its aliases form a loop or are too many")};
    struct routing_target *list = NULL;
    struct vr_str address = recipient_address(m, r);
    if (routing_expand(q->config, arena, address, (r->flags & RECIPIENT_CATCH_ALL) != 0, &list) != VR_OK ||
        list == NULL)
        return;
    const struct routing_target *own = target_of(list, address);
    if (own == NULL && list->next == NULL && list->next_hop.kind == NEXT_HOP_ERROR)
        own = list;
    if (own != NULL) {
        out->found = own->next_hop.kind != NEXT_HOP_ERROR;
        out->next_hop = own->next_hop;
        if (!out->found && own->next_hop.host.n > 0)
            out->error = own->next_hop.host;
        return;
    }
    /* It was an address when the message came, and is an alias now. */
    uint32_t n = count_targets(list);
    if (m->count + n > TARGETS_MAX ||
        (out->addresses = vr_arena_alloc(arena, n * sizeof *out->addresses)) == NULL)
        return;
    for (const struct routing_target *t = list; t != NULL; t = t->next)
        if (t->next_hop.kind != NEXT_HOP_ERROR && !has_recipient(m, t->address))
            out->addresses[out->count++] = t->address;
    for (const struct routing_target *t = list; t != NULL && out->count == 0; t = t->next)
        if (t->next_hop.kind != NEXT_HOP_ERROR) /* they have it all: as in plan_targets */
            out->addresses[out->count++] = t->address;
}

uint32_t router_catch_all(struct queue *q, struct vr_arena *arena, struct vr_str address,
                          struct vr_str **addresses)
{
    struct routing_target *list = NULL;
    if (routing_expand(q->config, arena, address, true, &list) != VR_OK)
        return 0;
    uint32_t n = count_targets(list), count = 0;
    *addresses = vr_arena_alloc(arena, (n + 1u) * sizeof **addresses);
    if (*addresses == NULL || target_of(list, address) != NULL)
        return 0;
    for (const struct routing_target *t = list; t != NULL; t = t->next)
        if (t->next_hop.kind != NEXT_HOP_ERROR)
            (*addresses)[count++] = t->address;
    return count;
}

/* ---- all recipients of a new message ------------------------------------------------------------------------------------------------ */

struct seen {
    uint64_t *slots;
    size_t capacity;
};

/* U-labels and A-labels are the same. */
static uint64_t address_hash(const uint8_t key[16], struct vr_str address)
{
    struct vr_arena scratch;
    struct vr_str domain;
    size_t at = vr_str_is_ascii(address) ? VR_NPOS : vr_str_find_last(address, '@');
    vr_arena_init(&scratch, 8192);
    if (at != VR_NPOS && idn_to_ascii(&scratch, vr_str_from_pos(address, at + 1), &domain) == VR_OK)
        address = vr_arena_printf(&scratch, "%.*s@%.*s", (int)at, address.p, VR_STR_ARG(domain));
    uint64_t h = vr_siphash(key, address.p, address.n);
    vr_arena_fini(&scratch);
    return h;
}

/* True when the address is new. Two addresses with the same 64-bit keyed hash do not happen. */
static bool seen_add(struct seen *s, const uint8_t key[16], struct vr_str address)
{
    uint64_t h = address_hash(key, address) | 1;
    for (size_t i = (size_t)h & (s->capacity - 1);; i = (i + 1) & (s->capacity - 1)) {
        if (s->slots[i] == h)
            return false;
        if (s->slots[i] == 0) {
            s->slots[i] = h;
            return true;
        }
    }
}

static bool stands_for_itself(const struct routing_target *list, struct vr_str address)
{
    return list == NULL || (list->next == NULL && (list->next_hop.kind == NEXT_HOP_ERROR ||
                                                   vr_str_equal_nocase(list->address, address)));
}

static void plan_targets(struct queue *q, const struct envelope *e, struct routing_target **lists,
                         struct seen *seen, struct router_plan *out)
{
    for (uint32_t i = 0; i < e->rcpt_count; i++)
        if (stands_for_itself(lists[i], e->rcpts[i].address)) {
            seen_add(seen, q->hash_key, e->rcpts[i].address);
            if (lists[i] != NULL)
                out->given_hops[i] = lists[i]->next_hop;
        }
    for (uint32_t i = 0; i < e->rcpt_count; i++) {
        if (stands_for_itself(lists[i], e->rcpts[i].address))
            continue;
        uint32_t before = out->count;
        for (const struct routing_target *t = lists[i]; t != NULL; t = t->next)
            if (seen_add(seen, q->hash_key, t->address)) {
                out->target_hops[out->count] = t->next_hop;
                out->targets[out->count++] = (struct record_target){i, t->address};
            }
        if (out->count ==
            before) { /* others stand for the same: one copy more is better than a recipient without a fate */
            out->target_hops[out->count] = lists[i]->next_hop;
            out->targets[out->count++] = (struct record_target){i, lists[i]->address};
        }
    }
}

bool router_plan(struct queue *q, struct vr_arena *arena, const struct envelope *e, struct router_plan *out)
{
    *out = (struct router_plan){0};
    struct routing_target **lists =
        vr_arena_alloc(arena, (e->rcpt_count + 1u) * sizeof(struct routing_target *));
    out->given_hops = vr_arena_alloc(arena, (e->rcpt_count + 1u) * sizeof *out->given_hops);
    if (lists == NULL || out->given_hops == NULL)
        return false;
    size_t most = 0;
    bool aliases = false;
    for (uint32_t i = 0; i < e->rcpt_count; i++) {
        if (routing_expand(q->config, arena, e->rcpts[i].address, e->rcpts[i].catch_all, &lists[i]) != VR_OK)
            return false;
        most += count_targets(lists[i]) + 1;
        aliases = aliases || !stands_for_itself(lists[i], e->rcpts[i].address);
    }
    if (!aliases) {
        for (uint32_t i = 0; i < e->rcpt_count; i++)
            if (lists[i] != NULL)
                out->given_hops[i] = lists[i]->next_hop;
        return true;
    }
    struct seen seen = {.capacity = 64};
    while (seen.capacity < 2 * most)
        seen.capacity *= 2;
    seen.slots = vr_arena_alloc(arena, seen.capacity * sizeof *seen.slots);
    out->targets = vr_arena_alloc(arena, most * sizeof *out->targets);
    out->target_hops = vr_arena_alloc(arena, most * sizeof *out->target_hops);
    if (most > TARGETS_MAX || seen.slots == NULL || out->targets == NULL || out->target_hops == NULL)
        return false;
    plan_targets(q, e, lists, &seen, out);
    return true;
}
