/* receiver.c - the receiver process: listens, holds the sessions, speaks with keeper and queue.
 *
 * Runs as: the common user, no file system, no new sockets. Touches: nothing but the sockets it was given.
 */
#include "receiver/receiver.h"

#include "config/certificates.h"
#include "receiver/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SWEEP_MS         1000
#define DESCRIPTORS_KEPT 48
/* Extensions whose promises this program keeps; each listener offers those of them that smtp_extensions[] gives to its role. */
/* clang-format off */
#define KEPT                  \
    (SMTP_EXT_BASIC |         \
     SMTP_EXT_MT_PRIORITY |   \
     SMTP_EXT_CHUNKING |      \
     SMTP_EXT_BINARYMIME |    \
     SMTP_EXT_SMTPUTF8 |      \
     SMTP_EXT_DELIVERBY |     \
     SMTP_EXT_FUTURERELEASE | \
     SMTP_EXT_REQUIRETLS |    \
     SMTP_EXT_LIMITS |        \
     SMTP_EXT_RRVS |          \
     SMTP_EXT_NO_SOLICITING)
/* clang-format on */

/* What the supervisor read, or what the files hold. */
static struct io_tls *load_tls(const struct process *p, const char *client_ca, char error[256])
{
    struct certificates *read = p->certificates == NULL ? certificates_load(p->config, error) : NULL;
    const struct certificates *all = read != NULL ? read : p->certificates;
    if (all == NULL)
        return NULL;
    struct io_tls_certificate *list = calloc(all->count, sizeof *list);
    assert(list != NULL);
    for (size_t i = 0; i < all->count; i++)
        list[i] = certificate_pair(&all->items[i]);
    struct io_tls *t = io_tls_server(list, all->count, error);
    free(list);
    certificates_free(read);
    if (t != NULL && client_ca != NULL && !io_tls_ask_clients(t, client_ca, error)) {
        io_tls_free(t);
        return NULL;
    }
    return t;
}

/* Listeners that ask for certificates have contexts of their own. */
static bool load_all_tls(struct receiver *r, char error[256])
{
    const struct config *c = r->config;
    r->tls = load_tls(r->process, NULL, error);
    r->own_tls = calloc(c->listener_count + 1, sizeof(struct io_tls *));
    assert(r->own_tls != NULL);
    for (size_t i = 0; r->tls != NULL && i < c->listener_count; i++)
        if (c->listeners[i].client_ca != NULL &&
            (r->own_tls[i] = load_tls(r->process, c->listeners[i].client_ca, error)) == NULL)
            return false;
    return r->tls != NULL;
}

static void listener_init(struct listener *l, struct receiver *r, const struct config_listener *from)
{
    static const enum smtp_where where[] = {[LISTENER_MX] = SMTP_WHERE_MX,
                                            [LISTENER_SUBMISSION] = SMTP_WHERE_SUBMISSION,
                                            [LISTENER_SUBMISSIONS] = SMTP_WHERE_SUBMISSION,
                                            [LISTENER_LMTP] = SMTP_WHERE_LMTP};
    const struct config *c = r->config;
    l->receiver = r;
    l->local = from == NULL;
    enum listener_role role = from != NULL ? from->role : LISTENER_SUBMISSION;
    l->submission = from != NULL && (role == LISTENER_SUBMISSION || role == LISTENER_SUBMISSIONS);
    l->implicit_tls = role == LISTENER_SUBMISSIONS;
    l->proxies = from != NULL ? &from->proxy : NULL;
    l->bare_lf = from != NULL ? &from->bare_lf : NULL;
    l->grants = l->local ? 0 : smtp_extensions_for(where[role]);
    l->smtp = (struct smtp_server_config){
        .hostname = c->hostname,
        .banner = VR_STR("veredus"),
        .offers = KEPT & smtp_extensions_for(where[role]),
        .solicit = c->no_soliciting,
        .lmtp = role == LISTENER_LMTP,
        .starttls = !l->local && role != LISTENER_LMTP,
        .size_max = c->message_size,
        .rcpt_max = c->recipients,
        .text_line_max = c->line_length,
        .error_max = c->errors,
        .command_max = c->commands,
        .received_max = c->received,
        .command_timeout_ms = c->command_timeout,
        .data_timeout_ms = c->data_timeout,
        .deliver_by_min = (uint32_t)(c->deliver_by_min / 1000),
        .hold_max = (uint32_t)(c->future_release / 1000),
    };
    if (c->future_release < 1000)
        l->smtp.offers &= ~(unsigned)SMTP_EXT_FUTURERELEASE;
    if (!l->submission)
        return;
    login_lists(l);
    l->smtp.auth_mechanisms = vr_buf_str(&l->auth[0][0]); /* until TLS stands */
    l->smtp.auth_required = true;
    l->smtp.auth_in_clear = c->auth_in_clear;
    l->smtp.tls_required = !c->auth_in_clear;
}

static int prepare(struct process *p, void **data)
{
    struct receiver *r = calloc(1, sizeof *r);
    assert(r != NULL);
    *data = r;
    r->process = p;
    r->config = p->config;
    r->io = p->io;
    r->log = p->log;
    TAILQ_INIT(&r->sessions);
    r->resolving = resolving_new(p);
    char error[256];
    if (!load_all_tls(r, error)) {
        event_begin(p->log, EVENT_ERROR, "tls.load_failed", 0);
        event_text(p->log, "error", error);
        event_end(p->log);
        return 78; /* EX_CONFIG */
    }
    if (p->certificates != NULL) /* OpenSSL has its own */
        certificates_forget_keys(p->certificates);
    return 0;
}

/* Handshakes that begin from now on show it. */
static void certificate(struct process *p, uint32_t n, struct vr_str chain, struct vr_str key)
{
    struct receiver *r = p->data;
    struct io_tls_certificate pair = {
        .certificate = "of the frame", .key = "of the frame", .certificate_pem = chain, .key_pem = key};
    char error[256] = "";
    bool good =
        p->certificates != NULL && n < p->certificates->count && io_tls_replace(r->tls, n, &pair, error);
    for (size_t i = 0; good && i < r->config->listener_count; i++)
        good = r->own_tls[i] == NULL || io_tls_replace(r->own_tls[i], n, &pair, error);
    if (good)
        return;
    event_begin(p->log, EVENT_ERROR, "tls.load_failed", 0);
    event_text(p->log, "error", error);
    event_end(p->log);
}

static void accepted(void *arg, struct io_stream *stream)
{
    session_open(arg, stream);
}

static void sweep(void *arg)
{
    struct receiver *r = arg;
    session_sweep(r);
    intake_sweep(r);
}

/* No more sessions than descriptors: some are ours, some are those of large messages. Out of them, a receiver could not even refuse. */
static unsigned sessions_for(struct receiver *r)
{
    uint64_t descriptors = io_raise_descriptor_limit(), rest = DESCRIPTORS_KEPT + descriptors / 8;
    uint64_t max = descriptors > rest ? descriptors - rest : 1;
    if (max >= r->config->connections)
        return r->config->connections;
    event_begin(r->log, EVENT_WARNING, "receiver.descriptors", 0);
    event_u64(r->log, "descriptors", descriptors);
    event_u64(r->log, "connections", max);
    event_text(r->log, "next",
               "raise the limit of descriptors (ulimit -n, LimitNOFILE) to take limits.connections");
    event_end(r->log);
    return (unsigned)max;
}

static void start(struct process *p)
{
    struct receiver *r = p->data;
    assert(p->listen_count == r->config->listener_count + 1);
    r->session_max = sessions_for(r);
    r->listener_count = p->listen_count;
    r->listeners = calloc(r->listener_count, sizeof *r->listeners);
    assert(r->listeners != NULL);
    for (size_t i = 0; i < r->listener_count; i++) {
        listener_init(&r->listeners[i], r, i < r->config->listener_count ? &r->config->listeners[i] : NULL);
        r->listeners[i].asks_clients = r->own_tls[i] != NULL;
        r->listeners[i].tls = r->own_tls[i] != NULL ? r->own_tls[i] : r->tls;
        r->listeners[i].io = io_listener_new(p->io, p->listen_fds[i], accepted, &r->listeners[i]);
    }
    r->sweep = io_timer_new(p->io, sweep, r);
    io_timer_start(r->sweep, SWEEP_MS, SWEEP_MS);
}

static void attached(struct process *p, struct peer *peer)
{
    if (peer->role == IPC_QUEUE)
        intake_queue_attached(p->data);
    else if (peer->role == IPC_RESOLVER)
        resolving_attached(((struct receiver *)p->data)->resolving);
}

static void frame(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd)
{
    if (type == IPC_FLUSHED)
        asks_queue_frame(p->data, payload);
    else if (peer->role == IPC_QUEUE)
        intake_queue_frame(p->data, type, payload, fd);
    else if (peer->role == IPC_RESOLVER)
        resolving_frame(((struct receiver *)p->data)->resolving, payload);
    else
        policy_keeper_frame(p->data, type, payload);
}

static void detached(struct process *p, struct peer *peer)
{
    if (peer->role == IPC_QUEUE) {
        intake_queue_lost(p->data);
        asks_queue_lost(p->data);
    }
    if (peer->role == IPC_KEEPER && process_peer(p, IPC_KEEPER) == NULL)
        policy_keeper_lost(p->data);
    if (peer->role == IPC_RESOLVER)
        resolving_lost(((struct receiver *)p->data)->resolving, peer);
}

static void finished(void *arg)
{
    struct receiver *r = arg;
    if (r->process->draining && r->session_count == 0 && HASH_COUNT(r->by_id) == 0)
        process_exit(r->process, 0);
}

static void drain(struct process *p, int64_t deadline_ms)
{
    struct receiver *r = p->data;
    (void)deadline_ms;
    for (size_t i = 0; i < r->listener_count; i++)
        io_listener_close(r->listeners[i].io);
    struct session *s, *next;
    for (s = TAILQ_FIRST(&r->sessions); s != NULL; s = next) {
        next = TAILQ_NEXT(s, entry);
        smtp_server_shutdown(
            s->engine, SMTP_REPLY(421, "4.3.2", "the server is shutting down; connect again in a moment"));
        session_pump(s);
    }
    io_on_turn_end(p->io, finished, r);
}

const struct process_ops receiver_ops = {
    .role = IPC_RECEIVER,
    .worker_threads = 4,
    .prepare = prepare,
    .start = start,
    .attached = attached,
    .frame = frame,
    .detached = detached,
    .drain = drain,
    .certificate = certificate,
};
