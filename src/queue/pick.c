/* pick.c - which messages a request of the administrator means: filters, and a walk over all of them in bounded steps (control.h says what
 * holds while others come and go).
 *
 * Runs in:  queue.   Touches: memory only.
 * Tests:    tests/unit/queue_control.c
 */
#include "queue/control.h"

#include <veredus/idn.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 1024

/* ---- filters --------------------------------------------------------------------------------------------------------------------- */

static bool of_domain(struct vr_str address, struct vr_str domain)
{
    size_t at = vr_str_find_last(address, '@');
    return at != VR_NPOS && idn_equal(vr_str_from_pos(address, at + 1), domain);
}

static bool sender_matches(struct vr_str reverse_path, struct vr_str wanted)
{
    if (vr_str_equal(wanted, VR_STR("<>")))
        return reverse_path.n == 0;
    size_t at = vr_str_find(wanted, '@');
    if (at == VR_NPOS || at == 0)
        return of_domain(reverse_path, vr_str_from_pos(wanted, at == 0 ? 1 : 0));
    return address_same(reverse_path, wanted);
}

static bool contains_nocase(struct vr_str s, struct vr_str what)
{
    for (size_t i = 0; i + what.n <= s.n; i++)
        if (vr_str_equal_nocase(vr_str_sub(s, i, what.n), what))
            return true;
    return false;
}

static bool is_below(struct vr_str domain, struct vr_str node)
{
    struct vr_arena scratch;
    vr_arena_init(&scratch, 4096);
    bool ascii = vr_str_is_ascii(domain) || idn_to_ascii(&scratch, domain, &domain) == VR_OK;
    bool below = ascii && domain.n > node.n + 1 && vr_str_ends_nocase(domain, node) &&
                 domain.p[domain.n - node.n - 1] == '.';
    vr_arena_fini(&scratch);
    return below;
}

static bool recipient_of(struct vr_str address, const struct selection *s)
{
    size_t at = vr_str_find_last(address, '@');
    return of_domain(address, s->domain) ||
           (s->below && at != VR_NPOS && is_below(vr_str_from_pos(address, at + 1), s->domain));
}

/* A text that many recipients share is searched once. It is held until the pick ends, so that no other one gets its address. */
struct verdict {
    uint64_t id; /* first: idmap; the text's address */
    struct text *text;
    bool contains;
};

static bool reason_matches(struct pick *p, struct text *t)
{
    if (t == NULL || t->refs == 1)
        return t != NULL && contains_nocase(text_str(t), p->selection.reason);
    struct verdict *v = idmap_find(&p->reasons, (uint64_t)(uintptr_t)t);
    if (v == NULL) {
        v = malloc(sizeof *v);
        assert(v != NULL);
        *v = (struct verdict){(uint64_t)(uintptr_t)t, t, contains_nocase(text_str(t), p->selection.reason)};
        t->refs++;
        idmap_add(&p->reasons, v);
    }
    return v->contains;
}

static bool destination_matches(struct pick *p, const struct message *m, const struct recipient *r)
{
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    control_destination(p->queue, m, r, &b);
    bool same = vr_str_equal(vr_buf_str(&b), p->selection.destination);
    vr_buf_fini(&b);
    return same;
}

/* The dearest question last: a route may have to be found. */
static bool recipient_matches(struct pick *p, const struct message *m, const struct recipient *r)
{
    const struct selection *s = &p->selection;
    if (recipient_final(r->state) || (s->domain.n > 0 && !recipient_of(recipient_address(m, r), s)))
        return false;
    if (s->statuses != 0 && !(s->statuses & 1u << control_status_of(p->queue, m, r)))
        return false;
    if (s->reason.n > 0 && !reason_matches(p, r->reply))
        return false;
    return s->destination.n == 0 || destination_matches(p, m, r);
}

static bool matches(struct pick *p, const struct message *m)
{
    const struct selection *s = &p->selection;
    if (!m->durable || m->open == 0 || m->id <= s->after || (s->held >= 0 && m->held != (s->held == 1)))
        return false;
    if (m->arrival_us < s->since_us || m->arrival_us > s->until_us)
        return false;
    if (s->sender.n > 0 && !sender_matches(message_reverse_path(m), s->sender))
        return false;
    if (s->domain.n == 0 && s->destination.n == 0 && s->reason.n == 0 && s->statuses == 0)
        return true;
    for (uint32_t i = 0; i < m->count; i++)
        if (recipient_matches(p, m, &m->recipients[i]))
            return true;
    return false;
}

/* ---- the request ------------------------------------------------------------------------------------------------------------------ */

static struct vr_str text_member(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? vr_str(json_string_value(v), json_string_length(v)) : vr_str(NULL, 0);
}

static const char *ids_wrong(const json_t *ids)
{
    size_t i;
    json_t *each;
    uint64_t id;
    if (ids != NULL && !json_is_array(ids))
        return "\"ids\" must be a list of queue ids";
    json_array_foreach(ids, i, each)
    {
        if (!json_is_string(each) || !queue_id_parse(vr_str_from(json_string_value(each)), &id))
            return "\"ids\" holds something that is no queue id: they have 13 letters and digits, see the "
                   "list";
    }
    return NULL;
}

/* "older" and "newer": seconds. */
static bool ages_read(const json_t *request, int64_t now_us, struct selection *s)
{
    const json_t *older = json_object_get(request, "older"), *newer = json_object_get(request, "newer");
    s->since_us = INT64_MIN;
    s->until_us = INT64_MAX;
    for (int i = 0; i < 2; i++) {
        const json_t *v = i == 0 ? older : newer;
        if (v != NULL &&
            (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT64_C(1) << 32))
            return false;
    }
    if (older != NULL)
        s->until_us = now_us - json_integer_value(older) * 1000000;
    if (newer != NULL)
        s->since_us = now_us - json_integer_value(newer) * 1000000;
    return true;
}

static bool status_read(struct vr_str name, unsigned *out)
{
    for (unsigned i = STATUS_ACTIVE; i <= STATUS_HELD; i++)
        if (vr_str_equal(name, vr_str_from(control_statuses[i])))
            *out = 1u << i;
    return name.n == 0 || *out != 0;
}

static const char *selection_read(struct pick *p, bool needs_target)
{
    const json_t *request = p->request, *held = json_object_get(request, "held");
    struct selection *s = &p->selection;
    struct vr_str after = text_member(request, "after");
    *s = (struct selection){.ids = json_object_get(request, "ids"),
                            .domain = text_member(request, "domain"),
                            .sender = text_member(request, "sender"),
                            .destination = text_member(request, "destination"),
                            .reason = text_member(request, "reason"),
                            .below = json_is_true(json_object_get(request, "below")),
                            .held = json_is_boolean(held) ? json_is_true(held) : -1};
    const char *wrong = ids_wrong(s->ids);
    if (wrong != NULL)
        return wrong;
    if (after.n > 0 && !queue_id_parse(after, &s->after))
        return "\"after\" is no queue id: they have 13 letters and digits, see the list";
    if (!ages_read(request, io_now_us(p->queue->io), s))
        return "\"older\" and \"newer\" are numbers of seconds";
    if (!status_read(text_member(request, "state"), &s->statuses))
        return "\"state\" must be one of active, deferred, held";
    bool any = s->ids != NULL || json_is_true(json_object_get(request, "all")) || s->domain.n > 0 ||
               s->sender.n > 0 || s->destination.n > 0 || s->reason.n > 0 || s->held >= 0 ||
               s->statuses != 0 || json_object_get(request, "older") != NULL ||
               json_object_get(request, "newer") != NULL;
    return needs_target && !any ? "which messages? Give \"ids\", a filter, or \"all\": true" : NULL;
}

/* ---- the heap ---------------------------------------------------------------------------------------------------------------------- */

static void push(struct pick *p, uint64_t id)
{
    if (p->count == p->capacity) {
        p->capacity = p->capacity > 0 ? 2 * p->capacity : FIRST_CAPACITY;
        p->ids = realloc(p->ids, p->capacity * sizeof *p->ids);
        assert(p->ids != NULL);
    }
    size_t at = p->count++;
    for (; at > 0 && p->ids[(at - 1) / 2] > id; at = (at - 1) / 2)
        p->ids[at] = p->ids[(at - 1) / 2];
    p->ids[at] = id;
}

static uint64_t pop(struct pick *p)
{
    uint64_t top = p->ids[0], id = p->ids[--p->count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < p->count; at = child) {
        if (child + 1 < p->count && p->ids[child + 1] < p->ids[child])
            child++;
        if (p->ids[child] >= id)
            break;
        p->ids[at] = p->ids[child];
    }
    if (p->count > 0)
        p->ids[at] = id;
    return top;
}

/* ---- picking ----------------------------------------------------------------------------------------------------------------------- */

static void take_named(struct pick *p)
{
    size_t i;
    json_t *each;
    uint64_t id;
    json_array_foreach(p->selection.ids, i, each)
    {
        if (queue_id_parse(vr_str_from(json_string_value(each)), &id))
            push(p, id); /* looked at when its turn comes */
    }
    p->collected = true;
}

const char *pick_begin(struct pick *p, struct queue *q, json_t *request, bool needs_target)
{
    *p = (struct pick){.queue = q, .request = json_incref(request)};
    const char *wrong = selection_read(p, needs_target);
    if (wrong != NULL)
        return wrong;
    if (p->selection.ids != NULL)
        take_named(p);
    else
        idmap_walk_begin(&q->messages, &p->walk);
    return NULL;
}

void pick_end(struct pick *p)
{
    for (size_t i = 0; i < p->reasons.capacity; i++) {
        struct verdict *v = idmap_slot(&p->reasons, i);
        if (v != NULL)
            text_drop(p->queue, v->text);
        free(v);
    }
    idmap_fini(&p->reasons);
    free(p->ids);
    json_decref(p->request);
    *p = (struct pick){0};
}

bool pick_collect(struct pick *p, size_t places)
{
    const struct idmap *table = &p->queue->messages;
    if (!p->collected && idmap_walk_broken(table, &p->walk)) {
        p->count = 0;
        idmap_walk_begin(table, &p->walk);
    }
    for (size_t i = 0; i < places && !p->collected; i++) {
        if (idmap_walk_ended(&p->walk)) {
            p->collected = true;
            break;
        }
        const struct message *m = idmap_walk_next(table, &p->walk);
        if (m != NULL && matches(p, m))
            push(p, m->id);
    }
    return p->collected;
}

bool pick_next(struct pick *p, struct message **out)
{
    *out = NULL;
    if (p->count == 0)
        return false;
    uint64_t id = pop(p);
    if (id == p->last)
        return true; /* met twice */
    p->last = id;
    struct message *m = idmap_find(&p->queue->messages, id);
    if (m != NULL && matches(p, m))
        *out = m;
    return true;
}
