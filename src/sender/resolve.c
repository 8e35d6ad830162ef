/* resolve.c - from a next hop to the places to connect to: mx_select asked until it has its verdict, its questions put to the DNS.
 *
 * All questions of one round are asked at the same time. Answers are copied: io_dns's live only for the callback.
 */
#include "sender/inside.h"

#include "ipc/answers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ANSWERS_MAX   (1 + 2 * MX_HOSTS_MAX)
#define RESOLVE_ARENA (1u << 20)

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
};

struct resolve *resolve_new(struct connection *c)
{
    struct sender *s = c->sender;
    struct resolve *r = calloc(1, sizeof *r);
    assert(r != NULL);
    r->connection = c;
    vr_arena_init(&r->arena, RESOLVE_ARENA);
    io_random(s->io, &r->query.seed, sizeof r->query.seed);
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

static void ask(struct resolve *r, const struct mx_result *result)
{
    for (size_t i = 0; i < result->question_count; i++) {
        assert(r->answer_count + r->open < ANSWERS_MAX);
        struct question *q = &r->questions[r->answer_count + r->open];
        r->open++;
        q->resolve = r;
        q->question = result->questions[i];
        q->question.name = vr_arena_dup(&r->arena, q->question.name);
        q->query = io_dns_ask(r->connection->sender->dns, q->question.name,
                              (enum io_dns_type)q->question.type, answered, q);
    }
}

/* "127.0.0.1" and "[::1]" need no DNS, nor does the path of a UNIX socket. */
static bool target_given(struct connection *c)
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
    c->targets = vr_arena_alloc(&c->targets_arena, sizeof *c->targets);
    assert(c->targets != NULL);
    c->targets[0] = t;
    c->target_count = 1;
    return true;
}

static void set_targets(struct connection *c, const struct mx_result *result)
{
    c->targets = vr_arena_alloc(&c->targets_arena, TARGETS_MAX * sizeof *c->targets);
    assert(c->targets != NULL);
    c->target_count = 0;
    for (size_t i = 0; i < result->host_count; i++) {
        const struct mx_host *h = &result->hosts[i];
        struct vr_str name = vr_arena_dup(&c->targets_arena, h->name);
        for (size_t k = 0; k < h->address_count && c->target_count < TARGETS_MAX; k++) {
            struct target *t = &c->targets[c->target_count++];
            t->name = name;
            t->address.family = h->addresses[k].family == 4 ? IO_INET : IO_INET6;
            memcpy(t->address.ip, h->addresses[k].ip, sizeof t->address.ip);
            t->address.port = c->hop.port != 0 ? c->hop.port : c->sender->config->mx_port;
        }
    }
}

void resolve_go(struct resolve *r)
{
    struct connection *c = r->connection;
    struct mx_result result = {0};
    if (target_given(c)) {
        c->named_securely = true;
        connection_resolved(c, NULL);
        return;
    }
    if (mx_select(&r->query, &r->arena, &result) != VR_OK)
        result = (struct mx_result){.verdict = MX_TEMPORARY,
                                    .enhanced = "4.4.3",
                                    .text = VR_STR("the answers of the DNS are too big to be understood")};
    if (result.verdict == MX_ASK) {
        ask(r, &result);
        return;
    }
    if (result.verdict == MX_HOSTS)
        set_targets(c, &result);
    c->named_securely = result.secure;
    connection_resolved(c, result.verdict == MX_HOSTS ? NULL : &result);
}
