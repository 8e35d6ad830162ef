/* resolver.c - the process that asks the DNS for those who may have no network.
 *
 * Why:        who hears strangers (the receiver) makes no sockets; and one cache for all of them is asked less than one each.
 * Promise:    each frame of questions is answered once, in time: what the DNS did not say within RESOLVER_TIMEOUT_MS, or said without
 *             DNSSEC believing it, is an answer that has failed. Nothing that is asked is interpreted here.
 * States:     an ask: open questions > 0 -> answered [last_answer], or dropped when its peer goes [detached]
 * Runs as:    the common user, no file system; may make sockets (confinements[] of src/ipc/process.c).
 * Tests:      tests/unit/resolver.c
 */
#include "resolver/resolver.h"

#include "io/fs.h"
#include "ipc/answers.h"
#include "resolver/policies.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#define ANSWERS_ARENA (4u << 20) /* of one ask */

struct question {
    struct ask *ask;
    struct io_dns_query *query; /* NULL: answered */
};

struct ask {
    struct resolver *resolver;
    struct peer *peer;
    uint64_t number;
    struct vr_arena arena;
    struct dns_question *asked;
    struct question *questions;
    struct dns_answer *answers;
    size_t count, open;
    TAILQ_ENTRY(ask) entry;
};

struct resolver {
    struct process *process;
    struct io_dns *dns;
    struct policies *policies;
    TAILQ_HEAD(ask_list, ask) asks;
    size_t open; /* asks */
};

static void exit_when_idle(void *arg)
{
    struct resolver *r = arg;
    if (r->process->draining && r->open == 0 && policies_idle(r->policies))
        process_exit(r->process, 0);
}

static int prepare(struct process *p, void **data)
{
    struct resolver *r = calloc(1, sizeof *r);
    assert(r != NULL);
    *data = r;
    r->process = p;
    TAILQ_INIT(&r->asks);
    struct io_dns_config dns = {.forwarders = (const char *const *)p->config->dns_servers,
                                .trust_anchor_file = p->config->trust_anchor,
                                .timeout_ms = RESOLVER_TIMEOUT_MS};
    char error[256] = "";
    r->dns = io_dns_new(p->io, &dns, error);
    if (r->dns != NULL && (r->policies = policies_new(p, r->dns, exit_when_idle, r, error)) != NULL)
        return 0;
    event_begin(p->log, EVENT_ERROR, r->dns == NULL ? "dns.failed" : "sts.no_https", 0);
    event_text(p->log, "error", error);
    event_end(p->log);
    return 78; /* EX_CONFIG */
}

static void start(struct process *p)
{
    struct resolver *r = p->data;
    policies_start(r->policies);
}

static void ask_free(struct ask *a)
{
    struct resolver *r = a->resolver;
    for (size_t i = 0; i < a->count; i++)
        if (a->questions[i].query != NULL)
            io_dns_cancel(a->questions[i].query);
    TAILQ_REMOVE(&r->asks, a, entry);
    r->open--;
    vr_arena_fini(&a->arena);
    free(a);
}

static void reply(struct peer *peer, uint64_t number, const struct dns_answer *answers, size_t n)
{
    struct vr_buf *b = process_frame(peer->process);
    ipc_put_u64(b, number);
    ipc_put_answers(b, answers, n);
    peer_send(peer, IPC_DNS_ANSWERS, b, -1);
}

static void last_answer(struct ask *a)
{
    struct resolver *r = a->resolver;
    reply(a->peer, a->number, a->answers, a->count);
    ask_free(a);
    exit_when_idle(r);
}

static void answered(void *arg, const struct io_dns_answer *answer)
{
    struct question *q = arg;
    struct ask *a = q->ask;
    size_t i = (size_t)(q - a->questions);
    q->query = NULL;
    a->answers[i] = dns_answer_from(&a->arena, a->asked[i], answer);
    if (--a->open == 0)
        last_answer(a);
}

/* Too many: a DNS that stalls must not make this process hold all that strangers can make us ask. */
static void turn_away(struct peer *peer, uint64_t number, struct vr_arena *arena,
                      const struct dns_question *asked, size_t n)
{
    struct dns_answer *answers = vr_arena_alloc(arena, (n + 1) * sizeof *answers);
    for (size_t i = 0; answers != NULL && i < n; i++)
        answers[i] = dns_answer_failed(asked[i], VR_STR("too many questions wait for the DNS"));
    reply(peer, number, answers, answers != NULL ? n : 0);
}

static bool ask_read(struct ask *a, struct vr_str payload)
{
    struct ipc_reader reader = ipc_reader(payload);
    a->number = ipc_get_u64(&reader);
    if (!ipc_get_questions(&reader, &a->arena, &a->asked, &a->count) || !ipc_done(&reader))
        return false;
    a->questions = vr_arena_alloc(&a->arena, (a->count + 1) * sizeof *a->questions);
    a->answers = vr_arena_alloc(&a->arena, (a->count + 1) * sizeof *a->answers);
    for (size_t i = 0; i < a->count; i++) { /* the frame goes when we return */
        size_t name_n = a->asked[i].name.n;
        a->asked[i].name = vr_arena_dup(&a->arena, a->asked[i].name);
        if (a->questions == NULL || a->answers == NULL || (a->asked[i].name.n == 0 && name_n > 0))
            return false;
    }
    return true;
}

static bool ask(struct resolver *r, struct peer *peer, struct vr_str payload)
{
    struct ask *a = calloc(1, sizeof *a);
    assert(a != NULL);
    vr_arena_init(&a->arena, ANSWERS_ARENA);
    a->resolver = r;
    a->peer = peer;
    bool good = ask_read(a, payload);
    if (!good || a->count == 0 || r->open >= RESOLVER_ASKS_MAX) {
        if (good)
            turn_away(peer, a->number, &a->arena, a->asked, a->count);
        vr_arena_fini(&a->arena);
        free(a);
        return good;
    }
    TAILQ_INSERT_TAIL(&r->asks, a, entry);
    r->open++;
    a->open = a->count;
    for (size_t i = 0; i < a->count; i++) {
        a->questions[i].ask = a;
        a->questions[i].query = io_dns_ask(r->dns, a->asked[i].name, (enum io_dns_type)a->asked[i].type,
                                           answered, &a->questions[i]);
    }
    return true;
}

static void frame(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd)
{
    if (fd >= 0)
        io_fs_close(fd);
    struct resolver *r = p->data;
    if (type == IPC_STS_ASK ? policies_ask(r->policies, peer, payload) : ask(r, peer, payload))
        return;
    event_begin(p->log, EVENT_ERROR, "resolver.malformed_frame", 0);
    event_text(p->log, "from", ipc_role_name(peer->role));
    event_u64(p->log, "type", type);
    event_end(p->log);
}

static void detached(struct process *p, struct peer *peer)
{
    struct resolver *r = p->data;
    struct ask *next;
    for (struct ask *a = TAILQ_FIRST(&r->asks); a != NULL; a = next) {
        next = TAILQ_NEXT(a, entry);
        if (a->peer == peer)
            ask_free(a);
    }
    policies_forget(r->policies, peer);
    exit_when_idle(r);
}

static void drain(struct process *p, int64_t deadline_ms)
{
    (void)deadline_ms; /* process.c ends us after it */
    exit_when_idle(p->data);
}

const struct process_ops resolver_ops = {
    .role = IPC_RESOLVER,
    .worker_threads = 1, /* for files; libunbound has a thread of its own */
    .prepare = prepare,
    .start = start,
    .frame = frame,
    .detached = detached,
    .drain = drain,
};
