/* dmarc_walk.c - records by name, and organisational domains: by the tree walk of RFC 9989 §4.10, or by the public suffix list (RFC 7489 §3.2).
 *
 * All names of a walk are asked for at once: one round instead of eight, for at most eight small questions. They are *looked at* in the
 * RFC's order, so that what stands above a "psd=" counts for nothing, whatever came first.
 *
 * Tests: tests/unit/dmarc.c, tests/conformance/ (the public suffix list's cases)
 */
#include "dmarc_inside.h"

#include <libpsl.h>

#define NAME_MAX_OCTETS 253 /* of a name in text, RFC 1035 §2.3.4 */
#define LABELS_SHORT    7   /* what a long name is cut to (§4.10 step 4) */

struct vr_str dmarc_parent(struct vr_str domain)
{
    size_t dot = vr_str_find(domain, '.');
    return dot == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(domain, dot + 1);
}

bool dmarc_is_within(struct vr_str domain, struct vr_str above)
{
    if (vr_str_equal(domain, above))
        return true;
    return domain.n > above.n + 1 && vr_str_ends_nocase(domain, above) &&
           domain.p[domain.n - above.n - 1] == '.';
}

/* ---- questions --------------------------------------------------------------------------------------------------------- */

static bool questions_grow(struct dmarc_context *c)
{
    size_t max = c->question_max > 0 ? 2 * c->question_max : 16;
    struct dns_question *more = vr_arena_alloc(c->arena, max * sizeof *more);
    if (more == NULL) {
        c->full = true;
        return false;
    }
    for (size_t i = 0; i < c->question_count; i++)
        more[i] = c->questions[i];
    c->questions = more;
    c->question_max = max;
    return true;
}

const struct dns_answer *dmarc_ask(struct dmarc_context *c, struct vr_str name, enum dns_type type)
{
    const struct dns_answer *a = dns_answer_find(c->answers, c->answer_count, name, type);
    if (a != NULL)
        return a;
    for (size_t i = 0; i < c->question_count; i++)
        if (c->questions[i].type == type && vr_str_equal(c->questions[i].name, name))
            return NULL;
    if (c->question_count < c->question_max || questions_grow(c))
        c->questions[c->question_count++] = (struct dns_question){name, type};
    return NULL;
}

/* ---- records by name ------------------------------------------------------------------------------------------------------ */

/* Of a name's TXT records those that are DMARC's (§4.10 steps 2, 6). */
static void read_answer(struct dmarc_context *c, const struct dns_answer *a, struct dmarc_name *out)
{
    struct dmarc_record *record = vr_arena_alloc(c->arena, sizeof *record), other;
    out->known = KNOWN_NOTHING;
    if (record == NULL) {
        c->full = true;
        return;
    }
    for (size_t i = 0; i < a->count && out->known != KNOWN_MANY; i++) {
        bool first = out->known == KNOWN_NOTHING;
        enum vr_err e = dmarc_record_parse(c->arena, a->records[i].data, first ? record : &other);
        if (e == VR_OK)
            out->known = first ? KNOWN_RECORD : KNOWN_MANY;
        else if (e == VR_ERR_TOO_BIG && a->records[i].data.n <= DMARC_RECORD_MAX)
            c->full = true;
    }
    out->record = out->known == KNOWN_RECORD ? record : NULL;
}

const struct dmarc_name *dmarc_lookup(struct dmarc_context *c, struct vr_str domain)
{
    static const char label[] = "_dmarc.";
    static const struct dmarc_name nothing = {.known = KNOWN_NOTHING};
    for (const struct dmarc_name *n = c->names; n != NULL; n = n->next)
        if (vr_str_equal(n->domain, domain))
            return n;
    if (domain.n + sizeof label - 1 > NAME_MAX_OCTETS)
        return &nothing; /* no such name can exist */
    struct dmarc_name *name = vr_arena_alloc(c->arena, sizeof *name);
    struct vr_str question = vr_arena_printf(c->arena, "%s%.*s", label, VR_STR_ARG(domain));
    if (name == NULL || question.n == 0) {
        c->full = true;
        return &nothing;
    }
    *name = (struct dmarc_name){.domain = domain, .known = KNOWN_ASKED, .next = c->names};
    c->names = name;
    const struct dns_answer *a = dmarc_ask(c, question, DNS_TYPE_TXT);
    if (a != NULL && a->status == DNS_STATUS_FAILED)
        name->known = KNOWN_FAILED;
    else if (a != NULL)
        read_answer(c, a, name);
    return name;
}

/* ---- the tree walk ------------------------------------------------------------------------------------------------------------ */

/* The names in the order of §4.10. */
static size_t walk_names(struct vr_str domain, struct vr_str names[DMARC_WALK_MAX])
{
    size_t count = 0, labels = 1;
    for (size_t i = 0; i < domain.n; i++)
        labels += domain.p[i] == '.';
    names[count++] = domain;
    do {
        domain = dmarc_parent(domain);
        labels--;
    } while (labels > LABELS_SHORT);
    for (; domain.n > 0; domain = dmarc_parent(domain))
        names[count++] = domain;
    return count;
}

/* §4.10.2, from the longest name to the shortest; and where the policy is, §4.10.1. */
static void walk_select(struct dmarc_context *c, const struct vr_str *names, size_t count,
                        struct dmarc_place *out)
{
    const struct dmarc_name *shortest = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct dmarc_name *n = dmarc_lookup(c, names[i]);
        if (n->known == KNOWN_ASKED || n->known == KNOWN_FAILED) {
            out->known = n->known;
            return;
        }
        if (n->known != KNOWN_RECORD)
            continue;
        if (n->record->psd == 'y' && i > 0) { /* a public suffix: the organisation is one label below it */
            struct vr_str below = names[0];
            while (dmarc_parent(below).n > n->domain.n)
                below = dmarc_parent(below);
            const struct dmarc_name *own = dmarc_lookup(c, names[i - 1]);
            bool publishes = own->known == KNOWN_RECORD && vr_str_equal(own->domain, below);
            out->known = KNOWN_RECORD;
            out->organization = below;
            out->policy = publishes ? own : n;
            return;
        }
        shortest = n;
        if (n->record->psd != 'u')
            break;
    }
    out->known = KNOWN_RECORD;
    out->policy = shortest;
    if (shortest != NULL)
        out->organization = shortest->domain;
}

static void locate_by_walk(struct dmarc_context *c, struct vr_str domain, struct dmarc_place *out)
{
    struct vr_str names[DMARC_WALK_MAX];
    size_t count = walk_names(domain, names);
    for (size_t i = 0; i < count; i++) /* the round that asks */
        dmarc_lookup(c, names[i]);
    out->own = dmarc_lookup(c, domain);
    walk_select(c, names, count, out);
}

/* ---- the public suffix list ------------------------------------------------------------------------------------------------------ */

enum vr_err dmarc_registrable(struct vr_arena *arena, struct vr_str domain, struct vr_str *out)
{
    struct vr_str name;
    if (!dmarc_domain(arena, domain, &name))
        return VR_ERR_SYNTAX;
    name = vr_arena_dup(arena, name); /* ends with NUL */
    if (name.n == 0)
        return VR_ERR_TOO_BIG;
    const char *registrable = psl_registrable_domain(psl_builtin(), name.p);
    *out = vr_str_from(registrable); /* points into name */
    return registrable != NULL ? VR_OK : VR_ERR_NOT_FOUND;
}

static void locate_by_list(struct dmarc_context *c, struct vr_str domain, struct dmarc_place *out)
{
    enum vr_err e = dmarc_registrable(c->arena, domain, &out->organization);
    if (e != VR_OK)
        out->organization = domain; /* a public suffix is its own organisation */
    c->full = c->full || e == VR_ERR_TOO_BIG;
    out->known = KNOWN_RECORD;
    out->own = dmarc_lookup(c, domain);
    out->policy = dmarc_lookup(c, out->organization);
}

/* ---- together ---------------------------------------------------------------------------------------------------------------------- */

void dmarc_locate(struct dmarc_context *c, struct vr_str domain, struct dmarc_place *out)
{
    *out = (struct dmarc_place){.organization = domain};
    if (c->method == DMARC_PUBLIC_SUFFIX)
        locate_by_list(c, domain, out);
    else
        locate_by_walk(c, domain, out);
}

enum vr_err dmarc_organization(enum dmarc_method method, struct vr_str domain,
                               const struct dns_answer *answers, size_t answer_count, struct vr_arena *arena,
                               struct dmarc_organization *out)
{
    struct dmarc_context c = {
        .arena = arena, .method = method, .answers = answers, .answer_count = answer_count};
    struct vr_str name;
    *out = (struct dmarc_organization){.state = DKIM_DONE};
    if (!dmarc_domain(arena, domain, &name))
        return VR_ERR_SYNTAX;
    if (method == DMARC_PUBLIC_SUFFIX) {
        enum vr_err e = dmarc_registrable(arena, name, &out->domain);
        if (e == VR_ERR_NOT_FOUND)
            out->domain = name;
        return e == VR_ERR_TOO_BIG ? e : VR_OK;
    }
    struct dmarc_place place;
    dmarc_locate(&c, name, &place);
    out->domain = place.organization;
    out->temperror = place.known == KNOWN_FAILED;
    out->state = place.known == KNOWN_ASKED ? DKIM_ASK : DKIM_DONE;
    out->questions = c.questions;
    out->question_count = place.known == KNOWN_ASKED ? c.question_count : 0;
    return c.full ? VR_ERR_TOO_BIG : VR_OK;
}
