/* resolve.c - from a next hop to the places to connect to, and what TLS each must do: mx_select asked until it has its verdict, then dane_select for each host; the
 * domain's MTA-STS policy meanwhile.
 *
 * All questions of one round are asked at the same time. Answers are copied: io_dns's live only for the callback.
 */
#include "sender/inside.h"

#include "ipc/answers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ANSWERS_MAX                                                                                          \
    (1 + 2 * MX_HOSTS_MAX + 3 * MX_HOSTS_MAX) /* MX; addresses; an alias and two sets of TLSA records */
#define RESOLVE_ARENA (4u << 20)

struct question {
    struct resolve *resolve;
    struct io_dns_query *query;
    struct dns_question question;
};

struct resolve {
    struct connection *connection;
    struct vr_arena arena;
    struct mx_query query;
    struct dns_answer answers[ANSWERS_MAX];
    size_t answer_count;
    struct question questions[ANSWERS_MAX];
    size_t open; /* asked, not answered */
    struct policy_wishes wishes;
    struct sts_ask *sts_ask; /* under way */
    bool sts_asked, sts_unsure, sts_unknown, too_big;
    struct vr_str sts_why;
    struct mtasts_policy *sts; /* NULL: none */
    struct dane_result *dane;  /* of each host; NULL: not looked at */
};

struct resolve *resolve_new(struct connection *c)
{
    struct sender *s = c->sender;
    struct resolve *r = calloc(1, sizeof *r);
    assert(r != NULL);
    r->connection = c;
    vr_arena_init(&r->arena, RESOLVE_ARENA);
    io_random(s->io, &r->query.seed, sizeof r->query.seed);
    r->wishes = policy_wishes(c);
    r->query.domain = c->hop.host;
    r->query.answers = r->answers;
    r->query.host_only = c->hop.kind != NEXT_HOP_MX;
    if (c->hop.kind == NEXT_HOP_MX) { /* what the administrator named is what he meant, even ourselves */
        r->query.own_names = &s->config->hostname;
        r->query.own_name_count = 1;
        r->query.own_addresses = s->own_addresses;
        r->query.own_address_count = s->own_address_count;
    }
    return r;
}

void resolve_free(struct resolve *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < ANSWERS_MAX; i++)
        if (r->questions[i].query != NULL)
            io_dns_cancel(r->questions[i].query);
    sts_cancel(r->sts_ask);
    vr_arena_fini(&r->arena);
    free(r);
}

static void answered(void *arg, const struct io_dns_answer *a)
{
    struct question *q = arg;
    struct resolve *r = q->resolve;
    r->answers[r->answer_count++] = dns_answer_from(&r->arena, q->question, a);
    q->query = NULL;
    r->query.answer_count = r->answer_count;
    if (--r->open == 0)
        resolve_go(r);
}

static bool is_asked(const struct resolve *r, const struct dns_question *q)
{
    for (size_t i = 0; i < r->answer_count + r->open; i++) /* two hosts may be aliases of one */
        if (r->questions[i].question.type == q->type &&
            vr_str_equal_nocase(r->questions[i].question.name, q->name))
            return true;
    return false;
}

static void ask(struct resolve *r, const struct dns_question *questions, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_asked(r, &questions[i]))
            continue;
        assert(r->answer_count + r->open < ANSWERS_MAX);
        struct question *q = &r->questions[r->answer_count + r->open];
        r->open++;
        q->resolve = r;
        q->question = questions[i];
        q->question.name = vr_arena_dup(&r->arena, q->question.name);
        q->query = io_dns_ask(r->connection->sender->dns, q->question.name,
                              (enum io_dns_type)q->question.type, answered, q);
    }
}

/* "127.0.0.1" and "[::1]" need no DNS, nor does the path of a UNIX socket. */
static bool target_given(struct connection *c, const struct policy_wishes *wishes)
{
    struct target t = {.name = c->hop.host};
    if (c->hop.kind == NEXT_HOP_MX)
        return false;
    if (c->hop.kind == NEXT_HOP_LMTP && c->hop.port == 0) {
        t.address.family = IO_UNIX;
        if (c->hop.host.n >= sizeof t.address.path)
            return false;
        memcpy(t.address.path, c->hop.host.p, c->hop.host.n);
    } else if (!io_address_parse(c->hop.host, c->hop.port, &t.address) || t.address.family == IO_UNIX) {
        return false;
    }
    t.address.port = c->hop.port;
    if (t.name.p[0] == '[') /* the name to verify has no brackets */
        t.name = vr_str_sub(t.name, 1, t.name.n - 2);
    t.care = policy_of_host(
        &c->targets_arena,
        &(struct policy_facts){.wishes = *wishes, .domain = c->hop.host, .host = t.name, .mx_secure = true});
    c->targets = vr_arena_alloc(&c->targets_arena, sizeof *c->targets);
    assert(c->targets != NULL);
    c->targets[0] = t;
    c->target_count = 1;
    return true;
}

/* ---- the policy of the domain ---------------------------------------------------------------------------------------- */

static void policy_known(void *arg, const struct sts_answer *a)
{
    struct resolve *r = arg;
    struct connection *c = r->connection;
    struct vr_str why = a->why;
    r->sts_ask = NULL;
    r->sts_unsure = a->status == STS_UNSURE;
    r->sts_unknown = a->status == STS_UNKNOWN;
    if (a->status == STS_FOUND) {
        struct mtasts_policy *p = vr_arena_alloc(&r->arena, sizeof *p);
        assert(p != NULL);
        if (mtasts_policy_parse(&r->arena, vr_arena_dup(&r->arena, a->policy), p, &why) == VR_OK)
            r->sts = p;
        else
            r->sts_unknown = true;
    }
    r->sts_why = vr_arena_dup(&r->arena, why);
    if (r->sts_unsure) {
        seen_policy_unsure(c, r->sts_why);
        event_begin(c->sender->log, EVENT_NOTICE, "sts.unsure", connection_queue_id(c));
        event_str(c->sender->log, "domain", c->hop.host);
        event_str(c->sender->log, "error", r->sts_why);
        event_text(c->sender->log, "next", "mail goes as to a domain without MTA-STS (RFC 8461, 3.3)");
        event_end(c->sender->log);
    }
    if (r->open == 0)
        resolve_go(r);
}

static void ask_policy(struct resolve *r)
{
    if (r->sts_asked || !r->wishes.sts)
        return;
    r->sts_asked = true;
    r->sts_ask = sts_ask(r->connection->sender->sts, r->connection->hop.host, policy_known, r);
}

/* ---- the hosts and their TLSA records ----------------------------------------------------------------------------------- */

static const struct dns_answer *mx_records(const struct resolve *r)
{
    const struct dns_answer *mx =
        r->query.host_only ? NULL
                           : dns_answer_find(r->answers, r->answer_count, r->query.domain, DNS_TYPE_MX);
    return mx != NULL && mx->status == DNS_STATUS_OK && mx->count > 0 ? mx : NULL;
}

static uint16_t port_of(const struct connection *c)
{
    return c->hop.port != 0 ? c->hop.port : c->sender->config->mx_port;
}

/* True: r->dane says what to hold each host to, or is NULL. False: something was asked. */
static bool look_at_tlsa(struct resolve *r, const struct mx_result *result)
{
    struct connection *c = r->connection;
    const struct dns_answer *mx = mx_records(r);
    if (!r->wishes.dane || result->host_count == 0 || result->hosts[0].name.p[0] == '[')
        return true;
    r->dane = vr_arena_alloc(&r->arena, result->host_count * sizeof *r->dane);
    for (size_t i = 0; i < result->host_count; i++) {
        struct dane_query q = {.host = result->hosts[i].name,
                               .port = port_of(c),
                               .by_mx = mx != NULL,
                               .mx_secure = result->secure,
                               .domain = r->query.domain,
                               .domain_canonical = mx != NULL ? mx->canonical : VR_STR(""),
                               .answers = r->answers,
                               .answer_count = r->answer_count};
        if (r->dane == NULL || dane_select(&q, &r->arena, &r->dane[i]) != VR_OK) {
            r->dane = NULL;
            r->too_big = true;
            return true;
        }
        ask(r, r->dane[i].questions, r->dane[i].question_count);
    }
    return r->open == 0;
}

static void set_targets(struct resolve *r, const struct mx_result *result)
{
    struct connection *c = r->connection;
    c->targets = vr_arena_alloc(&c->targets_arena, TARGETS_MAX * sizeof *c->targets);
    assert(c->targets != NULL);
    c->target_count = 0;
    for (size_t i = 0; i < result->host_count; i++) {
        const struct mx_host *h = &result->hosts[i];
        struct vr_str name = vr_arena_dup(&c->targets_arena, h->name);
        struct policy_facts facts = {.wishes = r->wishes,
                                     .domain = r->query.domain,
                                     .host = name,
                                     .by_mx = mx_records(r) != NULL,
                                     .mx_secure = result->secure,
                                     .dane = r->dane != NULL ? &r->dane[i] : NULL,
                                     .sts = r->sts,
                                     .sts_unsure = r->sts_unsure};
        const struct host_care *care = policy_of_host(&c->targets_arena, &facts);
        for (size_t k = 0; k < h->address_count && c->target_count < TARGETS_MAX; k++) {
            struct target *t = &c->targets[c->target_count++];
            t->name = name;
            t->care = care;
            t->address.family = h->addresses[k].family == 4 ? IO_INET : IO_INET6;
            memcpy(t->address.ip, h->addresses[k].ip, sizeof t->address.ip);
            t->address.port = port_of(c);
        }
    }
}

static struct mx_result later(const char *enhanced, struct vr_str text)
{
    return (struct mx_result){.verdict = MX_TEMPORARY, .enhanced = enhanced, .text = text};
}

void resolve_go(struct resolve *r)
{
    struct connection *c = r->connection;
    struct mx_result result = {0};
    const struct mx_result too_big =
        later("4.4.3", VR_STR("the answers of the DNS are too big to be understood"));
    if (target_given(c, &r->wishes)) {
        connection_resolved(c, NULL);
        return;
    }
    ask_policy(r);
    if (mx_select(&r->query, &r->arena, &result) != VR_OK)
        result = too_big;
    if (result.verdict == MX_ASK) {
        ask(r, result.questions, result.question_count);
        return;
    }
    if (result.verdict == MX_HOSTS && (!look_at_tlsa(r, &result) || r->sts_ask != NULL))
        return;
    if (result.verdict == MX_HOSTS && r->too_big)
        result = too_big;
    if (result.verdict == MX_HOSTS && r->sts_unknown)
        result =
            later("4.7.5",
                  vr_arena_printf(&r->arena, "it is not known now whether %.*s has an MTA-STS policy: %.*s",
                                  VR_STR_ARG(r->query.domain), VR_STR_ARG(r->sts_why)));
    if (result.verdict == MX_HOSTS)
        set_targets(r, &result);
    connection_resolved(c, result.verdict == MX_HOSTS ? NULL : &result);
}
