/* connection.c - one way to a next hop: found, connected, secured, used for one job after another, ended.
 *
 * States:   RESOLVE -> CONNECT -> (SECURE: implicit TLS) -> SESSION <-> SECURE (STARTTLS) -> TRANSACTION <-> IDLE -> QUIT.
 *           A target that fails before the final dot: CONNECT with the next one [connection_next]; without a next one the job gets the
 *           verdict of the troubles so far and the connection ends.
 * Invariants: (1) at most one job at a time; a connection without a job is IDLE or in QUIT (2) a job that came to a standing connection
 *           which turns out to be dead is tried once more from RESOLVE: servers close idle connections without asking (3) who calls
 *           connection_next, connection_job_done or connection_pump touches the connection no more unless told that it lives.
 * Tests:    tests/unit/sender.c
 */
#include "sender/inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTION_ARENA (64u << 10)
#define TARGETS_ARENA    (1u << 20)
#define HANDSHAKE_MS     60000
#define QUIT_MS          5000
#define LINGER_MS        2000

int64_t connection_now(const struct connection *c)
{
    return io_monotonic_ms(c->sender->io);
}

const struct target *connection_target(const struct connection *c)
{
    return &c->targets[c->target];
}

static const struct host_care *care_of(const struct connection *c)
{
    return connection_target(c)->care;
}

/* ---- the end of a stream, a job, a connection ------------------------------------------------------------------------ */

static void stream_drop(struct connection *c)
{
    report_closed(c);
    body_drop(c);
    io_timer_stop(c->timer);
    smtp_client_free(c->engine);
    c->engine = NULL;
    if (c->leaving)
        io_stream_finish(c->stream, LINGER_MS); /* a QUIT is on its way */
    else
        io_stream_close(c->stream);
    c->stream = NULL;
    c->deliveries = 0;
    limits_forget(c);
    c->in_mail = c->tls = c->verified = c->leaving = false;
}

void connection_free(struct connection *c)
{
    struct sender *s = c->sender;
    assert(c->job == NULL);
    if (c->step == STEP_IDLE)
        pool_remove(c);
    stream_drop(c);
    resolve_free(c->resolve);
    io_timer_free(c->timer);
    TAILQ_REMOVE(&s->connections, c, entry);
    s->connection_count--;
    vr_arena_fini(&c->arena);
    vr_arena_fini(&c->targets_arena);
    free(c->survey);
    free(c);
}

void connection_job_done(struct connection *c)
{
    struct inflight_job *job = c->job;
    assert(job->open == 0);
    job->remote_mta = vr_arena_dup(&job->arena, vr_str_from(c->name));
    job->remote_ip = vr_arena_dup(&job->arena, vr_str_from(c->ip));
    job->tls = c->tls;
    c->job = NULL;
    free(c->survey);
    c->survey = NULL;
    c->rcpts = NULL;
    c->places = NULL;
    c->accepted = NULL;
    inflight_report(c->sender->inflight, job);
}

void connection_cancel(struct connection *c, enum delivery_status status, const char *enhanced,
                       const char *text)
{
    inflight_settle_rest(c->job, status, 0, vr_str_from(enhanced), vr_str_from(text));
    connection_job_done(c);
    connection_free(c);
}

void connection_next(struct connection *c)
{
    stream_drop(c);
    c->in_clear = false;
    if (c->job == NULL) {
        connection_free(c);
        return;
    }
    if (c->job->open > 0 && ++c->target < c->target_count) {
        connection_step(c, STEP_CONNECT);
        return;
    }
    assert(c->job->open == 0 || c->troubled);
    c->job->unreachable = c->job->open == c->job->d.rcpt_count && !c->trouble.permanent && !c->refused &&
                          !demands_tls(c->job); /* others may go there still */
    inflight_settle_rest(c->job, c->trouble.permanent ? DELIVERY_PERMANENT : DELIVERY_TEMPORARY,
                         c->trouble.code, vr_str_from(c->trouble.enhanced), vr_str_from(c->trouble.text));
    connection_job_done(c);
    connection_free(c);
}

void connection_restart(struct connection *c)
{
    stream_drop(c);
    connection_step(c, STEP_RESOLVE);
}

/* ---- the engine -------------------------------------------------------------------------------------------------- */

void connection_flush(struct connection *c)
{
    struct vr_str out = smtp_client_pending(c->engine);
    if (out.n == 0)
        return;
    io_stream_write(c->stream, out);
    smtp_client_sent(c->engine, out.n);
}

/* RFC 5321 §5.1 wants no mail sent to ourselves; a server behind an address translation is found out by its name only. */
static bool is_ourselves(struct connection *c, const struct smtp_client_event *ev)
{
    struct vr_str name = ev->text;
    size_t end = 0;
    while (end < name.n && name.p[end] != ' ' && name.p[end] != '\n')
        end++;
    return c->hop.kind == NEXT_HOP_MX && strcmp(ev->command, "greeting") == 0 && ev->code == 220 &&
           vr_str_equal_nocase(vr_str_sub(name, 0, end), c->sender->config->hostname);
}

static void found_ourselves(struct connection *c)
{
    c->target = c->target_count - 1; /* what follows is no better than ourselves */
    connection_trouble(
        c, true, 0, "5.4.6", "connect",
        VR_STR(
            "the mail loops back: the host that its domain names is this server, which is not configured for "
            "the domain"));
    connection_next(c);
}

static bool on_starttls(struct connection *c, const struct smtp_client_event *ev)
{
    (void)ev;
    connection_step(c, STEP_SECURE);
    return false;
}

static bool on_ready(struct connection *c, const struct smtp_client_event *ev)
{
    (void)ev;
    c->smtp.trace = false; /* the greeting has been looked at */
    if (!c->open)
        report_open(c);
    if (c->step == STEP_SESSION)
        c->step = STEP_TRANSACTION;
    return transaction_ready(c);
}

static bool on_rcpt_result(struct connection *c, const struct smtp_client_event *ev)
{
    transaction_rcpt_result(c, ev);
    return true;
}

static bool on_body(struct connection *c, const struct smtp_client_event *ev)
{
    (void)ev;
    body_begin(c);
    return false; /* body_feed sends what there is, and pumps */
}

static bool on_result(struct connection *c, const struct smtp_client_event *ev)
{
    transaction_result(c, ev);
    return true;
}

static bool on_reply(struct connection *c, const struct smtp_client_event *ev)
{
    if (!is_ourselves(c, ev))
        return true;
    found_ourselves(c);
    return false;
}

static bool on_failed(struct connection *c, const struct smtp_client_event *ev)
{
    c->leaving = !c->in_mail && smtp_client_pending(c->engine).n > 0;
    if (c->leaving)
        connection_flush(c);
    return transaction_failed(c, ev);
}

static bool on_closed(struct connection *c, const struct smtp_client_event *ev)
{
    (void)ev;
    c->leaving = true;
    connection_free(c);
    return false;
}

/* Each returns whether the loop of connection_pump may go on. */
static bool (*const handlers[])(struct connection *c, const struct smtp_client_event *ev) = {
    [SMTP_CLIENT_STARTTLS] = on_starttls, [SMTP_CLIENT_READY] = on_ready,
    [SMTP_CLIENT_BODY] = on_body,         [SMTP_CLIENT_RCPT_RESULT] = on_rcpt_result,
    [SMTP_CLIENT_RESULT] = on_result,     [SMTP_CLIENT_REPLY] = on_reply,
    [SMTP_CLIENT_FAILED] = on_failed,     [SMTP_CLIENT_CLOSED] = on_closed,
};

static void set_deadline(struct connection *c)
{
    if (c->step == STEP_IDLE || c->step == STEP_QUIT)
        return; /* these have the timer for themselves */
    int64_t at = smtp_client_deadline(c->engine), now = connection_now(c);
    if (at != INT64_MAX)
        io_timer_start(c->timer, at > now ? at - now : 0, 0);
    else
        io_timer_stop(c->timer);
}

void connection_pump(struct connection *c)
{
    struct smtp_client_event ev;
    enum smtp_client_event_kind kind;
    while ((kind = smtp_client_next(c->engine, &ev)) != SMTP_CLIENT_IDLE) {
        assert((size_t)kind < sizeof handlers / sizeof *handlers && handlers[kind] != NULL);
        if (!handlers[kind](c, &ev))
            return;
    }
    connection_flush(c);
    set_deadline(c);
}

/* ---- the stream ---------------------------------------------------------------------------------------------------- */

static void say_cannot_connect(struct connection *c, int status)
{
    char text[700], where[IO_ADDRESS_TEXT];
    io_address_text(&connection_target(c)->address, where);
    if (status == 0)
        snprintf(text, sizeof text, "cannot connect to %s (%s)", c->name, where);
    else
        snprintf(text, sizeof text, "cannot connect to %s (%s): %s", c->name, where, io_error_text(status));
    connection_trouble(c, false, 0, "4.4.1", "connect", vr_str_from(text));
}

/* A listener of ours on all addresses: the kernel gives a connection to an own address that address at both ends. */
static bool is_own_connection(const struct connection *c)
{
    const struct sender *s = c->sender;
    struct io_address local, peer;
    if (c->hop.kind != NEXT_HOP_MX)
        return false;
    io_stream_local(c->stream, &local);
    io_stream_peer(c->stream, &peer);
    bool listening = peer.family == IO_INET ? s->own_wildcard4 : s->own_wildcard6;
    return listening && peer.port == s->config->mx_port && local.family == peer.family &&
           memcmp(local.ip, peer.ip, peer.family == IO_INET ? 4 : 16) == 0;
}

static void on_connected(void *arg, int status)
{
    struct connection *c = arg;
    if (status != 0) {
        say_cannot_connect(c, status);
        connection_next(c);
    } else if (is_own_connection(c)) {
        found_ourselves(c);
    } else {
        connection_step(c, c->hop.tls == NEXT_HOP_TLS_IMPLICIT ? STEP_SECURE : STEP_SESSION);
    }
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct connection *c = arg;
    if (c->engine == NULL)
        return;
    smtp_client_feed(c->engine, bytes, connection_now(c));
    connection_pump(c);
}

/* With `may`, TLS that does not work is no reason to keep the mail (RFC 7435): once more in clear. */
static void tls_failed(struct connection *c, const char *why, bool timed_out)
{
    char text[1000];
    bool may = care_of(c)->level == CARE_MAY;
    snprintf(text, sizeof text, "the TLS handshake with %s [%s] failed: %s%s", c->name, c->ip,
             why[0] != '\0' ? why : "the server closed the connection", policy_reason(care_of(c)));
    seen_handshake(c, why);
    if (!may) {
        c->refused |= care_of(c)->policy != POLICY_NONE;
        bool required = demands_tls(c->job) && !timed_out && why[0] != '\0'; /* RFC 8689 §4.2.1 */
        connection_trouble(c, required, 0, required ? "5.7.10" : "4.7.5", "STARTTLS", vr_str_from(text));
        connection_next(c);
        return;
    }
    event_begin(c->sender->log, EVENT_NOTICE, "session.trouble", connection_queue_id(c));
    report_place(c);
    event_text(c->sender->log, "stage", "STARTTLS");
    event_text(c->sender->log, "reply", text);
    event_text(c->sender->log, "next", "the same host is tried without TLS");
    event_end(c->sender->log);
    stream_drop(c);
    c->in_clear = true;
    connection_step(c, STEP_CONNECT);
}

void connection_tls_failed(struct connection *c, const char *why)
{
    tls_failed(c, why, false);
}

static void on_ended(void *arg, int status)
{
    struct connection *c = arg;
    (void)status; /* a reset and an early end mean the same to SMTP */
    if (c->step == STEP_SECURE) {
        connection_tls_failed(c, io_stream_tls_error(c->stream));
    } else if (c->step == STEP_CONNECT || c->engine == NULL) {
        say_cannot_connect(c, status);
        connection_next(c);
    } else {
        smtp_client_eof(c->engine);
        connection_pump(c);
    }
}

static void on_drained(void *arg)
{
    struct connection *c = arg;
    if (c->body != NULL)
        body_feed(c);
}

/* What the log-in may bind to (RFC 5056): of this connection, so it stays with the engine. */
static void bind_channel(struct connection *c)
{
    struct io_tls_binding b;
    if (!io_stream_tls_binding(c->stream, &b))
        return;
    struct sasl_binding binding = {.tls_exporter = vr_str((const char *)b.exporter, b.exporter_n),
                                   .tls_unique = vr_str((const char *)b.unique, b.unique_n),
                                   .tls_server_end_point = vr_str((const char *)b.end_point, b.end_point_n)};
    smtp_client_binding(c->engine, &binding);
    explicit_bzero(&b, sizeof b);
}

/* A record that looks like a certificate or key (matching type 0) and is none turns out unusable here only: as if there were no usable one (RFC 7672 §2.2),
 * which is not enough for a route that wants DANE. */
static bool is_held_to_dane(const struct connection *c)
{
    struct io_tls_info info;
    return care_of(c)->level != CARE_DANE || c->job->d.next_hop.tls != NEXT_HOP_TLS_DANE_ONLY ||
           (io_stream_tls_info(c->stream, &info) && info.dane);
}

static void on_secured(void *arg, int status)
{
    struct connection *c = arg;
    if (status != 0) {
        connection_tls_failed(c, io_stream_tls_error(c->stream));
        return;
    }
    if (!is_held_to_dane(c)) {
        connection_tls_failed(c, "none of the host's TLSA records can be used");
        return;
    }
    if (c->engine != NULL) {
        bind_channel(c);
        smtp_client_secured(c->engine, connection_now(c));
    }
    connection_step(c, STEP_SESSION);
}

static const struct io_stream_ops stream_ops = {.connected = on_connected,
                                                .data = on_data,
                                                .ended = on_ended,
                                                .drained = on_drained,
                                                .secured = on_secured};

/* ---- steps --------------------------------------------------------------------------------------------------------- */

static void enter_resolve(struct connection *c)
{
    vr_arena_reset(&c->targets_arena);
    c->targets = NULL;
    c->target_count = c->target = 0;
    c->name[0] = c->ip[0] = '\0';
    c->in_clear = c->troubled = c->refused = false;
    c->resolve = resolve_new(c);
    resolve_go(c->resolve);
}

void connection_resolved(struct connection *c, const struct mx_result *bad)
{
    if (bad != NULL) {
        connection_trouble(c, bad->verdict == MX_PERMANENT, 0, bad->enhanced, "resolve", bad->text);
        resolve_free(c->resolve);
        c->resolve = NULL;
        connection_next(c);
        return;
    }
    resolve_free(c->resolve);
    c->resolve = NULL;
    connection_step(c, STEP_CONNECT);
}

/* May this host be tried, as far as is known before anything was said? */
static bool host_may_be_used(struct connection *c)
{
    const struct host_care *care = care_of(c);
    if (!demands_name(c))
        return false;
    if (care->refused.n == 0)
        return true;
    c->refused = true;
    seen_refused(c);
    connection_trouble(c, false, 0, "4.7.5", "policy", care->refused);
    return false;
}

/* The local address to connect from: the route's, else the general one. */
static const struct io_address *source_for(const struct connection *c, enum io_family family)
{
    const struct config *config = c->sender->config;
    const struct config_route *r = c->hop.route < config->route_count ? &config->routes[c->hop.route] : NULL;
    if (family == IO_INET)
        return r != NULL && r->source.family != IO_NONE ? &r->source : &config->source;
    if (family == IO_INET6)
        return r != NULL && r->source6.family != IO_NONE ? &r->source6 : &config->source6;
    return NULL;
}

static void enter_connect(struct connection *c)
{
    const struct target *t = connection_target(c);
    const struct config *config = c->sender->config;
    const struct io_address *from = source_for(c, t->address.family);
    snprintf(c->name, sizeof c->name, "%.*s", VR_STR_ARG(vr_str_sub(t->name, 0, sizeof c->name - 1)));
    io_address_ip_text(&t->address, c->ip);
    if (!host_may_be_used(c)) {
        connection_next(c);
        return;
    }
    c->opened_ms = connection_now(c);
    c->stream =
        io_stream_connect(c->sender->io, &t->address, from != NULL && from->family != IO_NONE ? from : NULL,
                          config->connect_timeout, &stream_ops, c);
}

static void enter_secure(struct connection *c)
{
    const struct host_care *care = care_of(c);
    const struct sender *s = c->sender;
    struct io_tls *tls = c->hop.route < s->config->route_count ? s->route_tls[c->hop.route] : NULL;
    if (tls == NULL)
        tls = s->tls;
    io_timer_start(c->timer, HANDSHAKE_MS, 0);
    if (care->level == CARE_DANE)
        io_stream_start_tls_dane(c->stream, tls, care->names, care->name_count, care->records,
                                 care->record_count);
    else
        io_stream_start_tls(c->stream, tls,
                            care->level < CARE_AUTHORITY ? IO_TLS_OPPORTUNISTIC
                            : care->dns_id               ? IO_TLS_VERIFY_DNS_ID
                                                         : IO_TLS_VERIFY,
                            connection_target(c)->name);
}

static enum smtp_client_tls engine_tls(const struct connection *c)
{
    static const enum smtp_client_tls by_level[] = {[CARE_NEVER] = SMTP_CLIENT_TLS_NONE,
                                                    [CARE_MAY] = SMTP_CLIENT_TLS_MAY,
                                                    [CARE_ENCRYPT] = SMTP_CLIENT_TLS_MUST,
                                                    [CARE_AUTHORITY] = SMTP_CLIENT_TLS_MUST,
                                                    [CARE_DANE] = SMTP_CLIENT_TLS_MUST};
    bool none =
        c->in_clear || c->hop.tls == NEXT_HOP_TLS_IMPLICIT || connection_target(c)->address.family == IO_UNIX;
    return none ? SMTP_CLIENT_TLS_NONE : by_level[care_of(c)->level];
}

static void engine_start(struct connection *c)
{
    const struct config *config = c->sender->config;
    c->smtp = (struct smtp_client_config){.helo_name = config->hostname,
                                          .lmtp = c->hop.kind == NEXT_HOP_LMTP,
                                          .tls = engine_tls(c),
                                          .tls_active = c->hop.tls == NEXT_HOP_TLS_IMPLICIT,
                                          .trace = c->hop.kind == NEXT_HOP_MX, /* for is_ourselves */
                                          .timeout_ms = config->command_timeout_sending};
    if (c->hop.route < config->route_count) {
        const struct config_route *r = &config->routes[c->hop.route];
        c->smtp.user = r->user;
        c->smtp.password = r->password;
        c->smtp.token = r->token;
        c->smtp.certificate = r->tls_certificate != NULL;
        c->smtp.auth_mechanism = r->mechanism;
        c->smtp.auth_host = connection_target(c)->name;
        c->smtp.auth_port = connection_target(c)->address.port;
        io_random(c->sender->io, c->smtp.nonce, sizeof c->smtp.nonce);
    }
    c->engine = smtp_client_new(&c->smtp, connection_now(c));
    assert(c->engine != NULL);
    bind_channel(c);
}

static void enter_session(struct connection *c)
{
    if (c->engine == NULL)
        engine_start(c);
    connection_pump(c);
}

static void enter_transaction(struct connection *c)
{
    connection_pump(c);
}

static void enter_idle(struct connection *c)
{
    struct sender *s = c->sender;
    pool_put(c);
    io_timer_start(c->timer, s->config->connection_idle, 0);
    if (s->idle_count > s->idle_max)
        connection_step(TAILQ_FIRST(&s->idle), STEP_QUIT);
}

static void enter_quit(struct connection *c)
{
    smtp_client_quit(c->engine, connection_now(c));
    connection_flush(c);
    io_timer_start(c->timer, QUIT_MS, 0);
}

static void expired_secure(struct connection *c)
{
    tls_failed(c, "timed out", true);
}

static void expired_engine(struct connection *c)
{
    smtp_client_tick(c->engine, smtp_client_deadline(c->engine));
    connection_pump(c);
}

static void expired_idle(struct connection *c)
{
    connection_step(c, STEP_QUIT);
}

static const struct {
    void (*enter)(struct connection *c);
    void (*expired)(struct connection *c); /* its timer; NULL: it has none */
} steps[] = {
    [STEP_RESOLVE] = {enter_resolve, NULL}, /* io_dns bounds its questions */
    [STEP_CONNECT] = {enter_connect, NULL}, /* io_stream_connect has its timeout */
    [STEP_SECURE] = {enter_secure, expired_secure},
    [STEP_SESSION] = {enter_session, expired_engine},
    [STEP_TRANSACTION] = {enter_transaction, expired_engine},
    [STEP_IDLE] = {enter_idle, expired_idle},
    [STEP_QUIT] = {enter_quit, connection_free},
};

void connection_step(struct connection *c, enum step step)
{
    if (c->step == STEP_IDLE && step != STEP_IDLE && c->job == NULL)
        pool_remove(c); /* pool_take has removed one that got a job */
    c->step = step;
    steps[step].enter(c);
}

static void expired(void *arg)
{
    struct connection *c = arg;
    if (steps[c->step].expired != NULL)
        steps[c->step].expired(c);
}

/* ---- beginning ------------------------------------------------------------------------------------------------------- */

struct connection *connection_new(struct sender *s, const struct next_hop *hop, struct vr_str key)
{
    struct connection *c = calloc(1, sizeof *c);
    assert(c != NULL);
    c->sender = s;
    vr_arena_init(&c->arena, CONNECTION_ARENA);
    vr_arena_init(&c->targets_arena, TARGETS_ARENA);
    c->hop = *hop;
    c->hop.host = vr_arena_dup(&c->arena, hop->host);
    c->key = vr_arena_dup(&c->arena, key);
    c->destination = vr_str_sub(c->key, 0, vr_str_find(c->key, '#'));
    c->timer = io_timer_new(s->io, expired, c);
    TAILQ_INSERT_TAIL(&s->connections, c, entry);
    s->connection_count++;
    return c;
}

void connection_start(struct connection *c, struct inflight_job *job)
{
    c->job = job;
    c->to = MIME_BINARY;
    c->reused = false;
    connection_step(c, STEP_RESOLVE);
}

void connection_reuse(struct connection *c, struct inflight_job *job)
{
    c->job = job;
    c->to = MIME_BINARY;
    c->reused = true;
    c->troubled = false;
    c->step = STEP_TRANSACTION;
    if (transaction_ready(c))
        connection_pump(c);
}
