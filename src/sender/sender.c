/* sender.c - the sender process: takes deliveries, finds each a connection, drains.
 *
 * Promise:  a delivery taken is answered: by the next hop's word, by ours, or as CANCELLED.
 * Drain:    nothing new is taken, idle connections say QUIT. At the deadline what is not past its final dot is CANCELLED (the
 *           queue gives it to another); what is waits LAST_WAIT_MS more and is then TEMPORARY: its outcome is unknown.
 * Tests:    tests/unit/sender.c
 */
#include "sender/sender.h"

#include "io/process.h"
#include "sender/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LAST_WAIT_MS        800
#define DESCRIPTORS_OF_OURS 64
#define IDLE_MAX            512
#define CONNECTIONS_MAX     20000
#define KEY_MAX             1024

/* ---- preparing ------------------------------------------------------------------------------------------------------ */

/* Where a connection would reach ourselves: our listeners on the port that MX hosts are spoken to. */
static void know_own_addresses(struct sender *s)
{
    static const uint8_t any[16];
    s->own_addresses = calloc(s->config->listener_count + 1, sizeof *s->own_addresses);
    assert(s->own_addresses != NULL);
    for (size_t i = 0; i < s->config->listener_count; i++) {
        const struct io_address *a = &s->config->listeners[i].address;
        if (a->port != s->config->mx_port || (a->family != IO_INET && a->family != IO_INET6))
            continue;
        size_t n = a->family == IO_INET ? 4 : 16;
        if (memcmp(a->ip, any, n) == 0) {
            s->own_wildcard4 = true; /* the IPv6 wildcard takes IPv4 too */
            s->own_wildcard6 |= a->family == IO_INET6;
            continue;
        }
        struct dns_address *own = &s->own_addresses[s->own_address_count++];
        own->family = a->family == IO_INET ? 4 : 6;
        memcpy(own->ip, a->ip, n);
    }
}

static int cannot_prepare(struct process *p, const char *name, const char *error)
{
    event_begin(p->log, EVENT_ERROR, name, 0);
    event_text(p->log, "error", error);
    event_end(p->log);
    return 78; /* EX_CONFIG */
}

/* Routes that show a certificate have contexts of their own. */
static bool load_tls(struct sender *s, char error[256])
{
    const struct config *c = s->config;
    s->tls = io_tls_client(c->ca_file, error);
    s->route_tls = calloc(c->route_count + 1, sizeof(struct io_tls *));
    assert(s->route_tls != NULL);
    for (size_t i = 0; s->tls != NULL && i < c->route_count; i++) {
        const struct config_route *r = &c->routes[i];
        struct io_tls_certificate own = {.names = "", .certificate = r->tls_certificate, .key = r->tls_key};
        if (r->tls_certificate != NULL && ((s->route_tls[i] = io_tls_client(c->ca_file, error)) == NULL ||
                                           !io_tls_show(s->route_tls[i], &own, error)))
            return false;
    }
    return s->tls != NULL;
}

static int prepare(struct process *p, void **data)
{
    struct sender *s = calloc(1, sizeof *s);
    assert(s != NULL);
    *data = s;
    s->process = p;
    s->config = p->config;
    s->io = p->io;
    s->log = p->log;
    TAILQ_INIT(&s->connections);
    TAILQ_INIT(&s->idle);
    char error[256] = "";
    if (!load_tls(s, error))
        return cannot_prepare(p, "tls.load_failed", error);
    struct io_dns_config dns = {.forwarders = (const char *const *)s->config->dns_servers,
                                .trust_anchor_file = s->config->trust_anchor};
    s->dns = io_dns_new(p->io, &dns, error);
    if (s->dns == NULL)
        return cannot_prepare(p, "dns.failed", error);
    s->inflight = inflight_new(p);
    s->sts = sts_new(p);
    know_own_addresses(s);
    uint64_t descriptors = io_raise_descriptor_limit();
    uint64_t spare = descriptors > DESCRIPTORS_OF_OURS ? (descriptors - DESCRIPTORS_OF_OURS) / 3 : 1;
    s->connection_max = spare < CONNECTIONS_MAX
                            ? (unsigned)spare
                            : CONNECTIONS_MAX; /* each may hold a body, and a worker a copy of it */
    s->idle_max = s->connection_max / 2 < IDLE_MAX ? s->connection_max / 2 : IDLE_MAX;
    return 0;
}

/* ---- deliveries ------------------------------------------------------------------------------------------------------ */

static void turn_away(struct sender *s, struct inflight_job *j, enum delivery_status status,
                      const char *enhanced, const char *text)
{
    inflight_settle_rest(j, status, 0, vr_str_from(enhanced), vr_str_from(text));
    inflight_report(s->inflight, j);
}

static void deliver(struct sender *s, struct inflight_job *j)
{
    struct vr_buf key;
    vr_buf_init(&key, KEY_MAX);
    struct next_hop hop = j->d.next_hop;
    demands_raise(j, &hop);
    bool good = pool_key(&key, &hop, demands_no_tls(j));
    struct connection *c = good ? pool_take(s, vr_buf_str(&key)) : NULL;
    if (!good) {
        turn_away(s, j, DELIVERY_PERMANENT, "5.1.2", "the name of the next hop is too long");
    } else if (c != NULL) {
        connection_reuse(c, j);
    } else {
        if (s->connection_count >= s->connection_max && !TAILQ_EMPTY(&s->idle))
            connection_free(TAILQ_FIRST(&s->idle));
        if (s->connection_count < s->connection_max)
            connection_start(connection_new(s, &hop, vr_buf_str(&key)), j);
        else
            turn_away(s, j, DELIVERY_CANCELLED, "4.3.2",
                      "this sender has as many connections as it may have descriptors for");
    }
    vr_buf_fini(&key);
}

static void frame(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd)
{
    struct sender *s = p->data;
    if (type == IPC_STS_POLICY) {
        sts_frame(s->sts, payload);
        return;
    }
    assert(type == IPC_DELIVER); /* the table of frames allows no other */
    struct inflight_job *j = inflight_take(s->inflight, peer, payload, fd);
    if (j == NULL)
        return;
    enum next_hop_kind kind = j->d.next_hop.kind;
    if (kind != NEXT_HOP_MX && kind != NEXT_HOP_SMTP && kind != NEXT_HOP_LMTP)
        turn_away(s, j, DELIVERY_TEMPORARY, "4.3.5", "the queue gave this delivery to the wrong process");
    else if (p->draining)
        turn_away(s, j, DELIVERY_CANCELLED, "4.3.2", "this sender is about to end");
    else
        deliver(s, j);
}

static void attached(struct process *p, struct peer *peer)
{
    struct sender *s = p->data;
    if (peer->role == IPC_QUEUE)
        inflight_attached(s->inflight, peer);
    else if (peer->role == IPC_RESOLVER)
        sts_attached(s->sts);
}

/* ---- the end ---------------------------------------------------------------------------------------------------------- */

static void cancel_open(void *arg)
{
    struct sender *s = arg;
    struct connection *c, *next;
    for (c = TAILQ_FIRST(&s->connections); c != NULL; c = next) {
        next = TAILQ_NEXT(c, entry);
        if (c->job != NULL && !transaction_is_out(c))
            connection_cancel(c, DELIVERY_CANCELLED, "4.3.2", "the server is being stopped");
    }
    io_timer_start(s->last_timer, LAST_WAIT_MS, 0);
}

static void give_up(void *arg)
{
    struct sender *s = arg;
    struct connection *c, *next;
    for (c = TAILQ_FIRST(&s->connections); c != NULL; c = next) {
        next = TAILQ_NEXT(c, entry);
        if (c->job != NULL)
            connection_cancel(c, DELIVERY_TEMPORARY, "4.4.2",
                              "this server had to stop before the next one answered to the message: whether "
                              "it was taken is unknown, "
                              "so it will be sent again and may arrive twice");
        else
            connection_free(c);
    }
}

static void exit_when_done(void *arg)
{
    struct sender *s = arg;
    if (s->process->draining && TAILQ_EMPTY(&s->connections) && inflight_idle(s->inflight))
        process_exit(s->process, 0);
}

/* Draining, and no queue will hear what became of a message: the less is sent now, the less comes twice. */
static void cancel_unheard(struct sender *s)
{
    if (s->process->draining && s->process->supervisor == NULL && process_peer(s->process, IPC_QUEUE) == NULL)
        cancel_open(s);
}

static void detached(struct process *p, struct peer *peer)
{
    struct sender *s = p->data;
    if (peer->role == IPC_RESOLVER)
        sts_lost(s->sts, peer);
    cancel_unheard(s);
}

static void drain(struct process *p, int64_t deadline_ms)
{
    struct sender *s = p->data;
    while (!TAILQ_EMPTY(&s->idle))
        connection_step(TAILQ_FIRST(&s->idle), STEP_QUIT);
    s->cancel_timer = io_timer_new(p->io, cancel_open, s);
    s->last_timer = io_timer_new(p->io, give_up, s);
    io_timer_start(s->cancel_timer, deadline_ms, 0);
    io_on_turn_end(p->io, exit_when_done, s);
    cancel_unheard(s);
}

static void hurry(struct process *p, int64_t deadline_ms)
{
    struct sender *s = p->data;
    io_timer_start(s->cancel_timer, deadline_ms, 0);
    cancel_unheard(s);
}

const struct process_ops sender_ops = {
    .role = IPC_SENDER,
    .worker_threads = 4,
    .prepare = prepare,
    .attached = attached,
    .frame = frame,
    .detached = detached,
    .drain = drain,
    .hurry = hurry,
};
