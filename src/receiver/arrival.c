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

/* The client is this one from now on. may_trust: an address that was really seen, or vouched for. */
static void client_is(struct session *s, const struct io_address *a, bool may_trust)
{
    struct crowd *crowd = s->receiver->process->crowd;
    unsigned number = s->receiver->process->number;
    struct io_network network = {0};
    write_client(s, a);
    s->trusted = may_trust && !s->listener->local && lies_in(&s->receiver->config->trusted, a);
    if (may_trust && s->listener->bare_lf != NULL && lies_in(s->listener->bare_lf, a))
        smtp_server_allow_bare_lf(s->engine);
    bool has_address = io_network_parse(vr_str_from(s->client), &network);
    struct crowd_client before = s->counted;
    s->counted = crowd_enter(crowd, number, has_address ? &network : NULL);
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
    s->uninvited = proxies != NULL && proxies->count > 0;
    if (s->uninvited)
        report(s, "proxy.refused", "next", "if this is a proxy of yours, add it to `proxy` of this `listen`");
    session_start(s, vr_str(NULL, 0));
}
