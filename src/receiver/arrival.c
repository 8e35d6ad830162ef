/* arrival.c - who a session's client is: whom the connection comes from, or whom a proxy says that it comes from.
 *
 * Promise:    nobody but the listener's own proxies can say that he is somebody else, and those must say who it is before anything else is heard. From
 *             then on the client's address is the one for everything: limits, trust, logs, Received.
 * States:     (PROXIED [arrival_bytes] ->) known [session_start]
 * Tests:      tests/unit/receiver.c, tests/e2e/test_proxy.py
 */
#include "receiver/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MS 10000 /* a lost packet of the header comes again by then */

/* ---- the address, and what follows from it ---------------------------------------------------------------------- */

static bool lies_in(const struct config_networks *networks, const struct io_address *a)
{
    for (size_t i = 0; i < networks->count; i++)
        if (io_network_contains(&networks->items[i], a))
            return true;
    return false;
}

/* Over all receivers: a client cannot choose whom the kernel gives it to. What a process can hold is its own limit. */
static bool is_crowded(const struct session *s)
{
    const struct receiver *r = s->receiver;
    const struct crowd *c = r->process->crowd;
    return r->session_count > r->session_max || crowd_in_all(c) > r->config->connections ||
           crowd_of_address(c, s->counted) > r->config->connections_per_address;
}

static void write_client(struct session *s, const struct io_address *a)
{
    char ip[IO_ADDRESS_TEXT];
    io_address_ip_text(a, ip);
    snprintf(s->client, sizeof s->client, "%.47s", ip);
}

bool session_address(const struct session *s, struct io_address *out)
{
    *out = (struct io_address){.family = s->ip.v6 ? IO_INET6 : IO_INET};
    memcpy(out->ip, s->ip.ip, sizeof out->ip);
    return s->vouched;
}

bool session_is_of(const struct session *s, const struct config_networks *networks)
{
    struct io_address client;
    return session_address(s, &client) && lies_in(networks, &client);
}

void session_grant(struct session *s)
{
    const struct config *c = s->receiver->config;
    bool known = s->trusted || s->user != NULL; /* the engine hears of a login only now */
    unsigned bits = s->may_x;
    if (c->vrfy == AUDIENCE_EVERYBODY || (c->vrfy == AUDIENCE_KNOWN && known))
        bits |= SMTP_EXT_VRFY;
    if (c->expn == AUDIENCE_KNOWN && known)
        bits |= SMTP_EXT_EXPN;
    if (asks_may_etrn(s))
        bits |= SMTP_EXT_ETRN;
    smtp_server_grant(s->engine, bits & s->listener->grants);
}

/* By the address of the connection, or the one that a proxy has given it; never by one that XCLIENT says. */
static void grant_x(struct session *s)
{
    const struct config *c = s->receiver->config;
    struct io_address client;
    if (!session_address(s, &client))
        return;
    s->may_x = (lies_in(&c->xclient, &client) ? SMTP_EXT_XCLIENT : 0) |
               (lies_in(&c->xforward, &client) ? SMTP_EXT_XFORWARD : 0);
}

/* The client is this one from now on. may_trust: an address that was really seen, or vouched for. */
static void client_is(struct session *s, const struct io_address *a, bool may_trust)
{
    struct crowd *crowd = s->receiver->process->crowd;
    unsigned number = s->receiver->process->number;
    s->ip = (struct io_network){0};
    write_client(s, a);
    s->trusted = may_trust && !s->listener->local && lies_in(&s->receiver->config->trusted, a);
    smtp_server_allow_bare_lf(s->engine,
                              may_trust && s->listener->bare_lf != NULL && lies_in(s->listener->bare_lf, a));
    bool has_address = io_network_parse(vr_str_from(s->client), &s->ip);
    s->vouched = may_trust && has_address && !s->listener->local;
    struct crowd_client before = s->counted;
    s->counted = crowd_enter(crowd, number, has_address ? &s->ip : NULL);
    if (s->is_counted)
        crowd_leave(crowd, number, before);
    s->is_counted = true;
    s->crowded = is_crowded(s);
}

static void know_local_user(struct session *s)
{
    uint32_t uid;
    char name[64] = "", text[96];
    bool known = io_stream_peer_user(s->stream, &uid, name, sizeof name);
    if (!known)
        snprintf(text, sizeof text, "user unknown");
    else if (name[0] != '\0')
        snprintf(text, sizeof text, "user %s, uid %u", name, uid);
    else
        snprintf(text, sizeof text, "uid %u", uid);
    s->user = strdup(text);
    assert(s->user != NULL);
}

/* ---- behind a proxy ---------------------------------------------------------------------------------------------- */

static void report(struct session *s, const char *name, const char *key, const char *why)
{
    struct event_log *l = s->receiver->log;
    event_begin(l, EVENT_NOTICE, name, 0);
    event_text(l, "client", s->client);
    event_text(l, key, why);
    event_end(l);
}

static void await_header(struct session *s)
{
    struct receiver *r = s->receiver;
    s->proxy = calloc(1, sizeof *s->proxy);
    assert(s->proxy != NULL);
    proxy_reader_init(s->proxy, 0);
    /* in all only: a proxy's connections are those of others, and the clients of one proxy are not one client */
    s->counted = crowd_enter(r->process->crowd, r->process->number, NULL);
    s->is_counted = true;
    s->deadline_ms = io_monotonic_ms(r->io) + HEADER_MS;
    if (!is_crowded(s))
        return;
    report(s, "session.ended", "reply", "too many connections");
    session_close(s);
}

void arrival_forget(struct session *s)
{
    if (s->proxy != NULL)
        proxy_reader_fini(s->proxy);
    free(s->proxy);
    s->proxy = NULL;
}

void arrival_late(struct session *s)
{
    report(s, "proxy.failed", "error", "no PROXY header came within 10 seconds");
    session_close(s);
}

static void report_client(struct session *s, const struct proxy_header *h, const char *proxy)
{
    struct event_log *l = s->receiver->log;
    event_begin(l, EVENT_DEBUG, "proxy.client", 0);
    event_text(l, "client", s->client);
    event_text(l, "proxy", proxy);
    event_u64(l, "version", h->version);
    if (h->local)
        event_text(l, "command", "local");
    if (h->tls)
        event_str(l, "tls", h->tls_version.n > 0 ? h->tls_version : VR_STR("yes"));
    event_end(l);
}

/* LOCAL: the proxy itself, which is what it looks like. Somebody of whom it knows no address is not the proxy, and cannot have its trust. */
static void header_came(struct session *s, const struct proxy_header *h)
{
    struct io_address peer, client;
    char proxy[sizeof s->client];
    memcpy(proxy, s->client, sizeof proxy);
    io_stream_peer(s->stream, &peer);
    bool told = h->family == PROXY_INET || h->family == PROXY_INET6;
    client =
        (struct io_address){.family = h->family == PROXY_INET ? IO_INET : IO_INET6, .port = h->source.port};
    memcpy(client.ip, h->source.ip, sizeof client.ip);
    client_is(s, told ? &client : &peer, told || h->local);
    grant_x(s);
    report_client(s, h, proxy);
}

void arrival_bytes(struct session *s, struct vr_str bytes)
{
    struct proxy_header header;
    size_t taken;
    switch (proxy_reader_feed(s->proxy, bytes, &taken, &header)) {
    case PROXY_MORE:
        break;
    case PROXY_BAD:
        report(s, "proxy.failed", "error", proxy_reader_why(s->proxy));
        session_close(s);
        break;
    case PROXY_DONE:
        s->deadline_ms = INT64_MAX;
        header_came(s, &header);
        arrival_forget(s);
        session_start(s, vr_str_from_pos(bytes, taken));
        break;
    }
}

/* ---- XCLIENT ----------------------------------------------------------------------------------------------------- */

static void keep(char **field, struct vr_str text)
{
    free(*field);
    *field = text.n > 0 ? strndup(text.p, text.n) : NULL;
    assert(text.n == 0 || *field != NULL);
}

static void report_xclient(struct session *s, const char *proxy)
{
    struct event_log *l = s->receiver->log;
    event_begin(l, EVENT_INFO, "xclient.client", 0);
    event_text(l, "client", s->client);
    event_text(l, "proxy", proxy);
    if (s->name != NULL)
        event_text(l, "name", s->name);
    if (s->user != NULL)
        event_text(l, "user", s->user);
    event_end(l);
}

/* What stays is the connection: its TLS, and whether it may say XCLIENT. An address that is not available is that of the proxy, without its trust. */
void arrival_xclient(struct session *s, const struct smtp_x *x)
{
    struct io_address client;
    char proxy[sizeof s->client];
    io_stream_peer(s->stream, &client);
    snprintf(proxy, sizeof proxy, "%s", s->client);
    if (x->known & SMTP_X_ADDR) {
        client =
            (struct io_address){.family = x->client.family == 4 ? IO_INET : IO_INET6, .port = x->client.port};
        memcpy(client.ip, x->client.ip, sizeof client.ip);
    }
    policy_auth_cancel(s);
    login_forget(s);
    if (x->given & SMTP_X_ADDR)
        client_is(s, &client, (x->known & SMTP_X_ADDR) != 0);
    keep(&s->user, x->login);
    keep(&s->helo, x->helo);
    if (x->given & (SMTP_X_NAME | SMTP_X_ADDR))
        keep(&s->name, x->name);
    report_xclient(s, proxy);
    session_grant(s);
    session_answer(s, s->crowded
                          ? SMTP_REPLY(421, "4.7.0", "too many connections; close some and try again later")
                          : SMTP_REPLY(220, NULL, ""));
}

/* ---- the beginning ----------------------------------------------------------------------------------------------- */

void arrival_begin(struct session *s)
{
    const struct config_networks *proxies = s->listener->proxies;
    struct io_address peer;
    io_stream_peer(s->stream, &peer);
    if (s->listener->local)
        know_local_user(s);
    if (proxies != NULL && proxies->count > 0 && lies_in(proxies, &peer)) {
        write_client(s, &peer);
        await_header(s);
        return;
    }
    /* counted from the first moment: a handshake costs more than any command */
    client_is(s, &peer, true);
    grant_x(s);
    s->uninvited = proxies != NULL && proxies->count > 0;
    if (s->uninvited)
        report(s, "proxy.refused", "next", "if this is a proxy of yours, add it to `proxy` of this `listen`");
    session_start(s, vr_str(NULL, 0));
}
