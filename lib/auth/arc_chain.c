/* arc_chain.c - the sets of a chain, gathered from a header, and the text that a seal covers (RFC 8617 §4.2, §5.1.1).
 *
 * Tests: tests/unit/arc.c
 */
#include "inside.h"

static const char *const status_names[] = {[ARC_NONE] = "none", [ARC_PASS] = "pass", [ARC_FAIL] = "fail"};

const char *arc_status_name(enum arc_status s)
{
    return (size_t)s < sizeof status_names / sizeof *status_names ? status_names[s] : "";
}

static void broken(struct chain *c, const char *why)
{
    if (c->broken == NULL)
        c->broken = why;
}

/* A field of ARC has its place in its set. */
static void put(struct chain *c, unsigned instance, const struct header_entry **place,
                const struct header_entry *e)
{
    c->any = true;
    if (instance == 0) {
        broken(c, "a field of ARC has no instance from 1 to 50 (i=)");
        return;
    }
    if (*place != NULL)
        broken(c, "a field of ARC is there twice with one instance");
    *place = e;
    if (instance > c->highest)
        c->highest = instance;
}

void chain_collect(const struct header_index *index, struct chain *out)
{
    *out = (struct chain){0};
    for (size_t i = 0; i < index->count; i++) {
        const struct header_entry *e = &index->entries[i];
        struct vr_str payload = {0};
        if (!vr_str_starts_nocase(e->name, VR_STR("ARC-")))
            continue;
        bool results = header_is(e, VR_STR("ARC-Authentication-Results"));
        bool message = header_is(e, VR_STR("ARC-Message-Signature")), seal = header_is(e, VR_STR("ARC-Seal"));
        if (!results && !message && !seal)
            continue;
        unsigned n = sig_instance(e->body, results, &payload);
        struct chain_set *set = &out->sets[n];
        put(out, n, results ? &set->results : message ? &set->message : &set->seal, e);
        if (results)
            set->payload = payload;
    }
    for (unsigned n = 1; n <= out->highest; n++)
        if (out->sets[n].results == NULL || out->sets[n].message == NULL || out->sets[n].seal == NULL)
            broken(out, "a set of the chain is not complete");
}

void chain_hash(struct canon_hash *hash, const struct chain *c, unsigned from, unsigned to)
{
    for (unsigned n = from; n <= to; n++) {
        const struct header_entry *const fields[] = {c->sets[n].results, c->sets[n].message, c->sets[n].seal};
        for (size_t i = 0; i < 3; i++)
            if (fields[i] != NULL && !(n == to && i == 2))
                canon_field_add(hash, MAIL_CANON_RELAXED, &(struct canon_field){.raw = fields[i]->raw});
    }
}
