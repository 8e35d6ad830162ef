/* routing.c - the way of a recipient: own domains, aliases, virtual tables, catch-all, routes.
 *
 * Invariants: (1) only a domain that the configuration names is ours; what a local part looks like (percent signs, exclamation marks, a quoted @)
 *                 never sends mail elsewhere (2) an expansion visits each address once, so it ends (3) its result is never empty.
 * Runs in:    receiver (check), queue (expand), keeper (alias_of). Pure: the configuration and the arena are all it touches.
 * Tests:      tests/unit/routing.c
 */
#include "config/routing.h"

#include "config/aliases.h"
#include "config/index.h"

#include <veredus/idn.h>

#include <assert.h>
#include <string.h>

#define TARGETS_MAX 10000
#define LEVELS_MAX  50

/* ---- the index ----------------------------------------------------------------------------------------------------- */

struct index_slot {
    struct vr_str name; /* empty: free */
    uint32_t domain;    /* index + 1; 0: none */
    uint32_t route;     /* index + 1; 0: none */
};
struct index {
    struct index_slot *slots;
    size_t mask;
};

static struct index_slot *index_slot(const struct index *x, struct vr_str name)
{
    size_t i = vr_crc32c(0, name.p, name.n) & x->mask;
    while (x->slots[i].name.n && !vr_str_equal(x->slots[i].name, name))
        i = (i + 1) & x->mask;
    return &x->slots[i];
}

void routing_index(struct config *c)
{
    size_t size = 8;
    while (size < (c->domain_count + c->route_count) * 2)
        size *= 2;
    struct index *x = must_alloc(&c->arena, sizeof *x);
    x->slots = must_alloc(&c->arena, size * sizeof *x->slots);
    x->mask = size - 1;
    for (size_t i = 0; i < c->domain_count; i++) {
        struct index_slot *slot = index_slot(x, c->domains[i].ascii);
        slot->name = c->domains[i].ascii;
        slot->domain = (uint32_t)i + 1;
    }
    for (size_t i = 0; i < c->route_count; i++) {
        struct index_slot *slot = index_slot(x, c->routes[i].ascii);
        slot->name = c->routes[i].ascii;
        slot->route = (uint32_t)i + 1;
    }
    c->index = x;
}

/* The form that names are kept in. Those of strangers are at most ADDRESS_DOMAIN_MAX long: made on the stack. */
static struct vr_str lookup_name(struct vr_str name, char out[ADDRESS_DOMAIN_MAX])
{
    struct vr_arena scratch;
    struct vr_str ascii = name;
    vr_arena_init(&scratch, 4096);
    bool good = vr_str_is_ascii(name) || idn_to_ascii(&scratch, name, &ascii) == VR_OK;
    size_t n = good && ascii.n <= ADDRESS_DOMAIN_MAX ? ascii.n : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = vr_lower(ascii.p[i]);
    vr_arena_fini(&scratch);
    return vr_str(n > 0 ? out : NULL, n);
}

const struct config_domain *routing_domain(const struct config *c, struct vr_str domain)
{
    char space[ADDRESS_DOMAIN_MAX];
    struct vr_str name = lookup_name(domain, space);
    assert(c->index);
    if (name.n == 0)
        return NULL;
    const struct index_slot *slot = index_slot(c->index, name);
    return slot->domain ? &c->domains[slot->domain - 1] : NULL;
}

/* The route of a foreign domain: its name, then ".suffix" from the longest on, then "*". */
const struct config_route *routing_route(const struct config *c, struct vr_str domain)
{
    char space[ADDRESS_DOMAIN_MAX];
    struct vr_str name = lookup_name(domain, space);
    if (c->route_count == 0)
        return NULL;
    uint32_t found = name.n && name.p[0] != '.' ? index_slot(c->index, name)->route : 0;
    for (size_t i = 1; !found && i < name.n && name.p[0] != '['; i++)
        if (name.p[i] == '.')
            found = index_slot(c->index, vr_str_from_pos(name, i))->route;
    if (!found)
        found = index_slot(c->index, VR_STR("*"))->route;
    return found ? &c->routes[found - 1] : NULL;
}

/* ---- local parts --------------------------------------------------------------------------------------------------- */

/* "joe+news" → "joe". A delimiter at the very start cuts nothing. */
static struct vr_str base_of(const struct config_domain *d, struct vr_str local)
{
    size_t at = d->delimiter ? vr_str_find(local, d->delimiter) : VR_NPOS;
    return at != VR_NPOS && at > 0 ? vr_str_sub(local, 0, at) : local;
}

/* local is folded (address_fold). The whole local part goes before its base. */
static const struct alias_entry *find_alias(const struct config_domain *d, struct vr_str local)
{
    const struct alias_entry *e = alias_find(d->aliases, local);
    return e ? e : alias_find(d->aliases, base_of(d, local));
}

bool routing_is_alias(const struct config *c, struct vr_arena *arena, const struct address *a)
{
    const struct config_domain *d = routing_domain(c, a->domain);
    return d != NULL && find_alias(d, address_fold(arena, a->local)) != NULL;
}

static bool is_postmaster(const struct config_domain *d, struct vr_str local)
{
    return vr_str_equal_nocase(d ? base_of(d, local) : local, VR_STR("postmaster"));
}

/* "user@domain": what the keeper is asked for, and by which a Maildir is found. */
static struct vr_str mailbox_name(struct vr_arena *arena, const struct config_domain *d, struct vr_str local)
{
    struct address a = {.local = base_of(d, local), .domain = d->ascii};
    return address_text(arena, &a);
}

static bool has_rest(const struct config_domain *d)
{
    return d->catch_all.n || (d->aliases && d->aliases->rest);
}

enum vr_err routing_check(const struct config *c, struct vr_arena *arena, const struct address *rcpt,
                          struct routing_answer *out)
{
    *out = (struct routing_answer){.verdict = RCPT_FOREIGN};
    if (rcpt->domain.n == 0) { /* RFC 5321 §4.1.1.3: only <postmaster> comes without a domain */
        out->verdict = RCPT_KNOWN;
        out->mailbox = VR_STR("postmaster");
        return is_postmaster(NULL, rcpt->local) ? VR_OK : VR_ERR_SYNTAX;
    }
    const struct config_domain *d = out->domain = routing_domain(c, rcpt->domain);
    if (!d)
        return VR_OK;
    struct vr_str local = address_fold(arena, rcpt->local);
    out->mailbox = mailbox_name(arena, d, local);
    if (!out->mailbox.p)
        return VR_ERR_TOO_BIG;
    if (find_alias(d, local) || d->mailboxes == MAILBOXES_ANY || is_postmaster(d, local)) {
        out->verdict = RCPT_KNOWN;
        return VR_OK;
    }
    out->verdict = d->mailboxes == MAILBOXES_SYSTEM ? RCPT_ASK_SYSTEM : RCPT_ASK_ACCOUNT;
    out->catch_all = has_rest(d);
    return VR_OK;
}

/* ---- reverse paths of forwarded mail --------------------------------------------------------------------------------- */

enum srs_verdict routing_srs(const struct config *c, struct vr_arena *arena, const struct address *a,
                             int64_t now, struct address *out)
{
    struct srs srs = config_srs(c);
    if (srs.domain.n == 0 || !srs_is(a->local) || !idn_equal(a->domain, srs.domain))
        return SRS_NONE;
    if (now < 0)
        srs.max_age = SRS_ANY_AGE;
    return srs_reverse(&srs, a->local, now < 0 ? 0 : now, arena, out);
}

struct vr_str routing_srs_forward(const struct config *c, struct vr_arena *arena, struct vr_str reverse_path,
                                  int64_t now)
{
    struct srs srs = config_srs(c);
    struct address sender, out;
    const char *why;
    if (srs.domain.n == 0 || srs.secret_count == 0 || reverse_path.n == 0 ||
        address_parse(arena, reverse_path, ADDRESS_ALLOW_UTF8, &sender, &why) != VR_OK ||
        routing_domain(c, sender.domain) != NULL || srs_forward(&srs, &sender, now, arena, &out) != VR_OK)
        return vr_str(NULL, 0);
    return address_text(arena, &out);
}

/* ---- expansion ------------------------------------------------------------------------------------------------------ */

#define SET_START 16
/* A set of texts, in the arena once it outgrows its start. */
struct text_set {
    struct vr_str start[SET_START];
    struct vr_str *slots;
    size_t mask, count;
};

struct expansion {
    const struct config *c;
    struct vr_arena *arena;
    struct routing_target *first, **end;
    size_t count;
    struct text_set visited, results;
    bool looped, too_many, no_memory;
};

static struct vr_str *set_slot(const struct text_set *s, struct vr_str text)
{
    size_t i = vr_crc32c(0, text.p, text.n) & s->mask;
    while (s->slots[i].p && !vr_str_equal(s->slots[i], text))
        i = (i + 1) & s->mask;
    return &s->slots[i];
}

/* True when the text is new. It must stay where it is. */
static bool set_add(struct expansion *e, struct text_set *s, struct vr_str text)
{
    if (!s->slots) {
        s->slots = s->start;
        s->mask = SET_START - 1;
    }
    struct vr_str *slot = set_slot(s, text);
    if (slot->p)
        return false;
    *slot = text;
    if (++s->count * 2 <= s->mask)
        return true;
    struct text_set bigger = {.mask = s->mask * 4 + 3, .count = s->count};
    bigger.slots = vr_arena_alloc(e->arena, (bigger.mask + 1) * sizeof *bigger.slots);
    if (!bigger.slots) {
        e->no_memory = true;
        return false;
    }
    for (size_t i = 0; i <= s->mask; i++)
        if (s->slots[i].p)
            *set_slot(&bigger, s->slots[i]) = s->slots[i];
    s->slots = bigger.slots;
    s->mask = bigger.mask;
    return true;
}

static void add_result(struct expansion *e, struct vr_str key, struct routing_target target)
{
    if (!key.p || !target.address.p) {
        e->no_memory = true;
        return;
    }
    if (e->count >= TARGETS_MAX) {
        e->too_many = true;
        return;
    }
    if (!set_add(e, &e->results, key))
        return;
    struct routing_target *t = vr_arena_alloc(e->arena, sizeof *t);
    if (!t) {
        e->no_memory = true;
        return;
    }
    *t = target;
    *e->end = t;
    e->end = &t->next;
    e->count++;
}

static void add_error(struct expansion *e, struct vr_str address, struct vr_str text)
{
    add_result(
        e, address,
        (struct routing_target){
            .address = address,
            .next_hop = {.kind = NEXT_HOP_ERROR, .host = text, .route = UINT32_MAX, .domain = UINT32_MAX}});
}

/* domain is in A-labels: what the DNS is asked for. */
static void add_foreign(struct expansion *e, struct vr_str address, struct vr_str key, struct vr_str domain)
{
    const struct config_route *r = routing_route(e->c, domain);
    struct next_hop hop = {
        .kind = NEXT_HOP_MX, .tls = NEXT_HOP_TLS_MAY, .route = UINT32_MAX, .domain = UINT32_MAX};
    if (r)
        hop = r->next_hop;
    if (hop.kind == NEXT_HOP_MX)
        hop.host = domain;
    add_result(e, key, (struct routing_target){.address = address, .next_hop = hop});
}

static void add_mailbox(struct expansion *e, const struct config_domain *d, struct vr_str address,
                        struct vr_str key, struct vr_str local)
{
    struct routing_target t = {
        .address = address, .next_hop = d->next_hop, .mailbox = mailbox_name(e->arena, d, local)};
    e->no_memory |= !t.mailbox.p;
    add_result(e, key, t);
}

static void expand(struct expansion *e, struct vr_str text, bool final, unsigned level);

static void expand_targets(struct expansion *e, const struct config_domain *d,
                           const struct alias_target *targets, struct vr_str address, struct vr_str local,
                           unsigned level)
{
    struct address self = {.local = base_of(d, local), .domain = d->name};
    struct address whole = {.local = local, .domain = d->name};
    struct vr_str self_text = address_text(e->arena, &self), whole_text = address_text(e->arena, &whole);
    for (const struct alias_target *t = targets; t && !e->too_many && !e->no_memory; t = t->next) {
        if (t->error) {
            add_error(e, address, t->address);
            continue;
        }
        /* "joe: joe, archive" keeps a copy: who names itself means the mailbox. */
        bool itself = address_same(t->address, self_text) || address_same(t->address, whole_text);
        expand(e, t->address, t->final || itself, level + 1);
    }
}

/* <postmaster>, and postmaster of a domain in which nobody else is it. */
static void expand_postmaster(struct expansion *e, struct vr_str address, unsigned level)
{
    const struct config *c = e->c;
    if (c->postmaster.n) {
        expand(e, c->postmaster, address_same(c->postmaster, address), level + 1);
        return;
    }
    struct next_hop hop = {.kind = NEXT_HOP_MAILDIR,
                           .host = vr_arena_printf(e->arena, "%s/postmaster", c->state),
                           .route = UINT32_MAX,
                           .domain = UINT32_MAX};
    e->no_memory |= !hop.host.p;
    add_result(e, VR_STR("postmaster"),
               (struct routing_target){.address = address, .next_hop = hop, .mailbox = VR_STR("postmaster")});
}

static void expand(struct expansion *e, struct vr_str text, bool final, unsigned level)
{
    struct address a;
    const char *why = "";
    if (level > LEVELS_MAX) {
        e->looped = true;
        return;
    }
    if (address_parse(e->arena, text, ADDRESS_ALLOW_UTF8 | ADDRESS_ALLOW_POSTMASTER, &a, &why) != VR_OK &&
        !vr_str_equal_nocase(text, VR_STR("postmaster"))) {
        add_error(e, text, vr_arena_printf(e->arena, "5.1.3 the address is not valid: %s", why));
        return;
    }
    if (vr_str_equal_nocase(text, VR_STR("postmaster"))) {
        expand_postmaster(e, text, level);
        return;
    }
    struct vr_str address = address_text(e->arena, &a);
    if (idn_to_ascii(e->arena, a.domain, &a.domain) != VR_OK || !address.p) {
        e->no_memory = true; /* the parser took the domain, so it has A-labels */
        return;
    }
    struct address sender;
    if (routing_srs(e->c, e->arena, &a, -1, &sender) ==
        SRS_GOOD) { /* how old it is was the receiver's business */
        expand(e, address_text(e->arena, &sender), false, level + 1);
        return;
    }
    const struct config_domain *d = routing_domain(e->c, a.domain);
    if (!d) {
        add_foreign(e, address, address_text(e->arena, &a), a.domain);
        return;
    }
    struct vr_str local = address_fold(e->arena, a.local), key = address_key(e->arena, &a);
    if (!local.p || !key.p) {
        e->no_memory = true;
        return;
    }
    const struct alias_entry *entry = final ? NULL : find_alias(d, local);
    if (!final && !entry && d->mailboxes == MAILBOXES_ANY && d->aliases)
        entry =
            d->aliases
                ->rest; /* every address exists, so "@domain" can only mean all that have no line of their own */
    if (entry) {
        if (set_add(e, &e->visited, key))
            expand_targets(e, d, entry->targets, address, local, level);
        else
            e->looped = true;
    } else if (!final && is_postmaster(d, local) && d->mailboxes != MAILBOXES_ANY) {
        expand_postmaster(e, address, level);
    } else {
        add_mailbox(e, d, address, key, local);
    }
}

/* The receiver found no mailbox: the domain's catch-all takes the message. False when there is none. */
static bool expand_catch_all(struct expansion *e, struct vr_str text)
{
    struct address a;
    const char *why;
    if (address_parse(e->arena, text, ADDRESS_ALLOW_UTF8, &a, &why) != VR_OK)
        return false;
    const struct config_domain *d = routing_domain(e->c, a.domain);
    if (!d || !has_rest(d))
        return false;
    struct vr_str local = address_fold(e->arena, a.local);
    if (d->aliases && d->aliases->rest)
        expand_targets(e, d, d->aliases->rest->targets, text, local, 0);
    else
        expand(e, d->catch_all, false, 1);
    return true;
}

enum vr_err routing_expand(const struct config *c, struct vr_arena *arena, struct vr_str address,
                           bool catch_all, struct routing_target **out)
{
    struct expansion e = {.c = c, .arena = arena};
    e.end = &e.first;
    if (!catch_all || !expand_catch_all(&e, address))
        expand(&e, address, false, 0);
    *out = NULL;
    if (e.no_memory)
        return VR_ERR_TOO_BIG;
    if (e.too_many || !e.first) {
        struct vr_str text =
            e.too_many
                ? vr_arena_printf(arena, "5.5.3 %.*s leads to more than %d recipients", VR_STR_ARG(address),
                                  TARGETS_MAX)
                : vr_arena_printf(arena, "5.4.6 alias loop: %.*s leads back to itself and to no mailbox",
                                  VR_STR_ARG(address));
        e.first = NULL;
        e.end = &e.first;
        e.count = 0;
        e.results = (struct text_set){0};
        add_error(&e, address, text);
        if (e.no_memory)
            return VR_ERR_TOO_BIG;
    }
    *out = e.first;
    return VR_OK;
}

/* joe+news is joe. account is a key. */
static bool is_base_of(struct vr_str account, const struct config_domain *d, struct vr_str local)
{
    struct vr_str base = base_of(d, local);
    return account.n == base.n + 1 + d->ascii.n && vr_str_starts_nocase(account, base) &&
           account.p[base.n] == '@' && vr_str_ends_nocase(account, d->ascii);
}

bool routing_alias_of(const struct config *c, struct vr_str alias_address, struct vr_str account)
{
    size_t at = vr_str_find_last(alias_address, '@');
    const struct config_domain *d =
        at == VR_NPOS ? NULL : routing_domain(c, vr_str_from_pos(alias_address, at + 1));
    if (!d || at == 0 || at > ADDRESS_PATH_MAX)
        return false;
    struct vr_arena scratch;
    vr_arena_init(&scratch, 8192);
    struct vr_str local = address_fold(&scratch, vr_str_sub(alias_address, 0, at));
    struct vr_str key = address_key_of(&scratch, account);
    const struct alias_entry *entry = find_alias(d, local);
    bool same = !entry && is_base_of(key, d, local); /* unless an alias says otherwise */
    for (const struct alias_target *t = entry ? entry->targets : NULL; t && !same; t = t->next)
        same = !t->error && address_same(t->address, key);
    vr_arena_fini(&scratch);
    return same;
}
