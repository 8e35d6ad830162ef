/* mx.c - see mx.h. From a domain and what the DNS said to an ordered list of hosts.
 *
 * Steps:   candidates (MX records, or the domain itself) -> sorted and shuffled -> their addresses -> ourselves cut out.
 * Source:  RFC 5321 §5.1, RFC 7505 §3; statuses RFC 3463 and RFC 7505 §4.
 * Tests:   tests/unit/mx.c
 */
#include <veredus/mx.h>

#include <veredus/address.h>

#include <string.h>

#define QUESTIONS_MAX (2 * MX_HOSTS_MAX)

struct candidate {
    struct vr_str name;
    uint16_t preference;
    uint64_t order; /* random, among equal preferences */
};

struct selection {
    const struct mx_query *q;
    struct vr_arena *arena;
    struct mx_result *out;
    struct candidate *candidates;
    size_t candidate_count;
    struct dns_question *questions;
    struct mx_host *hosts;
    const struct dns_answer *failed; /* an address question without an answer */
    bool cut;                        /* we found ourselves */
    bool too_big;
};

/* ---- what is known --------------------------------------------------------------------------------------------------------------- */

static const struct dns_answer *known_or_ask(struct selection *s, struct vr_str name, enum dns_type type)
{
    const struct dns_answer *a = dns_answer_find(s->q->answers, s->q->answer_count, name, type);
    if (a == NULL && s->out->question_count < QUESTIONS_MAX)
        s->questions[s->out->question_count++] = (struct dns_question){name, type};
    return a;
}

static void verdict(struct selection *s, enum mx_verdict v, const char *enhanced, struct vr_str text)
{
    s->out->verdict = v;
    s->out->enhanced = enhanced;
    s->out->text = text;
    s->too_big |= text.n == 0;
}

static void verdict_failed(struct selection *s, const struct dns_answer *a)
{
    static const char *const types[] = {
        [DNS_TYPE_A] = "IPv4 address", [DNS_TYPE_MX] = "MX", [DNS_TYPE_AAAA] = "IPv6 address"};
    verdict(s, MX_TEMPORARY, "4.4.3",
            vr_arena_printf(s->arena, "the DNS does not answer for the %s records of %.*s now (%.*s)",
                            types[a->type], VR_STR_ARG(a->name),
                            VR_STR_ARG(a->why.n > 0 ? a->why : VR_STR("no answer"))));
}

/* ---- shuffling -------------------------------------------------------------------------------------------------------------------- */

/* A place in the order that depends on the seed and on what is placed, so that each call for one query gives the same order. */
static uint64_t random_order(uint64_t seed, const void *p, size_t n)
{
    uint8_t key[16];
    memcpy(key, &seed, sizeof seed);
    memcpy(key + 8, &seed, sizeof seed);
    return vr_siphash(key, p, n);
}

/* ---- candidates ------------------------------------------------------------------------------------------------------------------- */

/* An MX must name a host (RFC 5321 §5.1, RFC 2181 §10.3): "192.0.2.1", "[192.0.2.1]" and things with blanks are found in the wild. */
static bool is_host_name(struct vr_str name)
{
    size_t dot = vr_str_find_last(name, '.');
    struct vr_str last = dot == VR_NPOS ? name : vr_str_from_pos(name, dot + 1);
    uint64_t number;
    return address_domain_valid(name, 0) && !vr_str_to_u64(last, &number);
}

static bool is_before(const struct candidate *a, const struct candidate *b)
{
    return a->preference != b->preference ? a->preference < b->preference : a->order < b->order;
}

static void add_candidate(struct selection *s, struct vr_str name, uint16_t preference)
{
    struct candidate c = {name, preference, random_order(s->q->seed, name.p, name.n)};
    for (size_t i = 0; i < s->candidate_count; i++)
        if (vr_str_equal_nocase(s->candidates[i].name,
                                name)) { /* named twice: the better preference counts */
            if (s->candidates[i].preference <= preference)
                return;
            memmove(&s->candidates[i], &s->candidates[i + 1], (s->candidate_count - i - 1) * sizeof c);
            s->candidate_count--;
            break;
        }
    if (s->candidate_count == MX_HOSTS_MAX) {
        if (!is_before(&c, &s->candidates[MX_HOSTS_MAX - 1]))
            return;
        s->candidate_count--;
    }
    size_t at = s->candidate_count++;
    for (; at > 0 && is_before(&c, &s->candidates[at - 1]); at--)
        s->candidates[at] = s->candidates[at - 1];
    s->candidates[at] = c;
}

/* True when there is something to go on with. */
static bool candidates_from_mx(struct selection *s, const struct dns_answer *mx)
{
    bool root = false;
    for (size_t i = 0; i < mx->count; i++) {
        root |= mx->records[i].name.n == 0;
        if (is_host_name(mx->records[i].name))
            add_candidate(s, mx->records[i].name, mx->records[i].preference);
    }
    if (s->candidate_count > 0)
        return true; /* a root among others is a mistake to be ignored (RFC 7505 §3) */
    if (root)
        verdict(s, MX_PERMANENT, "5.1.10",
                vr_arena_printf(s->arena, "the domain %.*s does not accept mail (null MX record)",
                                VR_STR_ARG(s->q->domain)));
    else
        verdict(s, MX_PERMANENT, "5.4.4",
                vr_arena_printf(s->arena, "the MX records of %.*s name no host that mail could go to",
                                VR_STR_ARG(s->q->domain)));
    return false;
}

static bool find_candidates(struct selection *s)
{
    const struct mx_query *q = s->q;
    s->out->secure = true;
    if (q->host_only) {
        add_candidate(s, q->domain, 0);
        return true;
    }
    const struct dns_answer *mx = known_or_ask(s, q->domain, DNS_TYPE_MX);
    if (mx == NULL)
        return false;
    if (mx->status == DNS_STATUS_FAILED) {
        verdict_failed(s, mx);
        return false;
    }
    if (mx->status == DNS_STATUS_NXDOMAIN) {
        verdict(
            s, MX_PERMANENT, "5.1.2",
            vr_arena_printf(s->arena, "the domain %.*s does not exist in the DNS", VR_STR_ARG(q->domain)));
        return false;
    }
    if (mx->status == DNS_STATUS_OK && mx->count > 0) {
        s->out->secure = mx->secure;
        return candidates_from_mx(s, mx);
    }
    add_candidate(s, q->domain, 0); /* the implicit MX of RFC 5321 §5.1 */
    return true;
}

/* ---- addresses -------------------------------------------------------------------------------------------------------------------- */

static size_t gather(const struct mx_query *q, const struct dns_answer *a, struct dns_address *out)
{
    uint64_t order[MX_ADDRESSES_MAX];
    size_t n = 0;
    for (size_t i = 0; a != NULL && a->status == DNS_STATUS_OK && i < a->count && n < MX_ADDRESSES_MAX; i++) {
        struct dns_address address = a->records[i].address;
        uint64_t place = random_order(q->seed, address.ip, address.family == 4 ? 4 : 16);
        size_t at = n++;
        for (; at > 0 && place < order[at - 1]; at--) {
            order[at] = order[at - 1];
            out[at] = out[at - 1];
        }
        order[at] = place;
        out[at] = address;
    }
    return n;
}

static bool is_own_address(const struct mx_query *q, const struct dns_address *a)
{
    for (size_t i = 0; i < q->own_address_count; i++)
        if (q->own_addresses[i].family == a->family &&
            memcmp(q->own_addresses[i].ip, a->ip, a->family == 4 ? 4 : 16) == 0)
            return true;
    return false;
}

static bool is_own_name(const struct mx_query *q, struct vr_str name)
{
    for (size_t i = 0; i < q->own_name_count; i++)
        if (vr_str_equal_nocase(q->own_names[i], name))
            return true;
    return false;
}

/* The host's addresses, IPv6 and IPv4 in turn. False when it is ourselves. */
static bool add_host(struct selection *s, const struct candidate *c, const struct dns_answer *a,
                     const struct dns_answer *aaaa)
{
    struct dns_address v4[MX_ADDRESSES_MAX], v6[MX_ADDRESSES_MAX];
    size_t n4 = gather(s->q, a, v4), n6 = gather(s->q, aaaa, v6), n = 0;
    if (n4 + n6 == 0)
        return true;
    struct dns_address *all = vr_arena_alloc(s->arena, MX_ADDRESSES_MAX * sizeof *all);
    if (all == NULL) {
        s->too_big = true;
        return true;
    }
    for (size_t i = 0; (i < n4 || i < n6) && n < MX_ADDRESSES_MAX; i++) {
        if (i < n6)
            all[n++] = v6[i];
        if (i < n4 && n < MX_ADDRESSES_MAX)
            all[n++] = v4[i];
    }
    for (size_t i = 0; i < n; i++)
        if (is_own_address(s->q, &all[i]))
            return false;
    s->hosts[s->out->host_count++] = (struct mx_host){c->name, c->preference, all, n};
    return true;
}

/* RFC 5321 §5.1: ourselves, and what is not better than ourselves, must not be tried. */
static void cut_from(struct selection *s, uint16_t preference)
{
    s->cut = true;
    while (s->out->host_count > 0 && s->hosts[s->out->host_count - 1].preference >= preference)
        s->out->host_count--;
}

static void find_addresses(struct selection *s)
{
    const struct mx_query *q = s->q;
    for (size_t i = 0; i < s->candidate_count; i++) { /* names first: what they cut needs no questions */
        if (!is_own_name(q, s->candidates[i].name))
            continue;
        uint16_t preference = s->candidates[i].preference;
        for (s->candidate_count = i; s->candidate_count > 0; s->candidate_count--)
            if (s->candidates[s->candidate_count - 1].preference < preference)
                break;
        s->cut = true;
    }
    for (size_t i = 0; i < s->candidate_count; i++) {
        const struct candidate *c = &s->candidates[i];
        const struct dns_answer *aaaa = q->no_ipv6 ? NULL : known_or_ask(s, c->name, DNS_TYPE_AAAA);
        const struct dns_answer *a = q->no_ipv4 ? NULL : known_or_ask(s, c->name, DNS_TYPE_A);
        if (a != NULL && a->status == DNS_STATUS_FAILED)
            s->failed = a;
        else if (aaaa != NULL && aaaa->status == DNS_STATUS_FAILED && s->failed == NULL)
            s->failed = aaaa;
        if (!add_host(s, c, a, aaaa)) {
            cut_from(s, c->preference);
            break;
        }
    }
}

/* Nothing to connect to: why? */
static void no_host(struct selection *s)
{
    const struct mx_query *q = s->q;
    if (s->failed != NULL) {
        verdict_failed(s, s->failed);
        return;
    }
    if (s->cut) {
        verdict(
            s, MX_PERMANENT, "5.4.6",
            vr_arena_printf(
                s->arena,
                "mail for %.*s loops back to this server: its best MX host is ourselves, but the domain is "
                "not configured here",
                VR_STR_ARG(q->domain)));
        return;
    }
    bool itself = s->candidate_count == 1 && vr_str_equal_nocase(s->candidates[0].name, q->domain);
    if (itself)
        verdict(s, MX_PERMANENT, q->host_only ? "5.4.4" : "5.1.2",
                vr_arena_printf(s->arena,
                                q->host_only
                                    ? "the host %.*s has no address in the DNS"
                                    : "the domain %.*s has neither MX nor address records in the DNS",
                                VR_STR_ARG(q->domain)));
    else
        verdict(s, MX_PERMANENT, "5.4.4",
                vr_arena_printf(s->arena, "none of the MX hosts of %.*s has an address in the DNS",
                                VR_STR_ARG(q->domain)));
}

static void select_literal(struct selection *s, const struct dns_address *address)
{
    struct dns_address *copy = vr_arena_alloc(s->arena, sizeof *copy);
    if (copy == NULL) {
        s->too_big = true;
        return;
    }
    *copy = *address;
    s->cut = is_own_address(s->q, address);
    if (s->cut) {
        no_host(s);
        return;
    }
    s->hosts[0] = (struct mx_host){s->q->domain, 0, copy, 1};
    s->out->host_count = 1;
    s->out->secure = true;
    s->out->verdict = MX_HOSTS;
}

enum vr_err mx_select(const struct mx_query *q, struct vr_arena *arena, struct mx_result *out)
{
    *out = (struct mx_result){.verdict = MX_ASK, .enhanced = ""};
    struct selection s = {.q = q, .arena = arena, .out = out};
    s.candidates = vr_arena_alloc(arena, MX_HOSTS_MAX * sizeof *s.candidates);
    s.questions = vr_arena_alloc(arena, QUESTIONS_MAX * sizeof *s.questions);
    s.hosts = vr_arena_alloc(arena, MX_HOSTS_MAX * sizeof *s.hosts);
    if (s.candidates == NULL || s.questions == NULL || s.hosts == NULL)
        return VR_ERR_TOO_BIG;
    out->questions = s.questions;
    out->hosts = s.hosts;
    struct dns_address literal = {0};
    int family;
    if (address_literal(q->domain, literal.ip, &family)) {
        literal.family = (uint8_t)family;
        select_literal(&s, &literal);
    } else if (find_candidates(&s)) {
        find_addresses(&s);
        if (out->question_count > 0)
            out->host_count = 0; /* still MX_ASK */
        else if (out->host_count > 0)
            out->verdict = MX_HOSTS;
        else
            no_host(&s);
    }
    return s.too_big ? VR_ERR_TOO_BIG : VR_OK;
}
