/* login.c - what a session is offered for its log-in: the mechanisms that its channel and its certificate allow, and who that certificate is.
 *
 * Promise:    -PLUS is offered where the channel can be bound, EXTERNAL to a client whose certificate names an account; the keeper is asked before
 *             the reply to EHLO, and nobody else waits for that.
 * Invariants: (1) session->identity holds accounts only, at most IDENTITIES of them
 *             (2) a keeper that is gone, late or in trouble costs a client EXTERNAL, nothing else
 * Tests:      tests/unit/receiver.c, tests/e2e/test_auth.py
 */
#include "receiver/session.h"

#include <veredus/address.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define IDENTITIES        8 /* addresses of one certificate that are looked at */
#define NAMES_MAX         1024
#define ADDRESS_ARENA     4096
#define IDENTIFY_LIMIT_MS 10000

static unsigned plus_bits(void)
{
    unsigned bits = 0;
    for (size_t i = 0; i < sasl_mechanism_count; i++)
        bits |= sasl_mechanisms[i].plus ? (unsigned)sasl_mechanisms[i].bit : 0;
    return bits;
}

void login_lists(struct listener *l)
{
    for (int plus = 0; plus < 2; plus++)
        for (int certificate = 0; certificate < 2; certificate++) {
            struct vr_buf *list = &l->auth[plus][certificate];
            unsigned bits = l->receiver->config->mechanisms;
            bits &= ~((plus ? 0u : plus_bits()) | (certificate ? 0u : (unsigned)SASL_EXTERNAL));
            vr_buf_init(list, NAMES_MAX);
            bool good = sasl_mechanism_names(list, bits);
            assert(good);
        }
}

static void offer(struct session *s)
{
    smtp_server_offer_auth(s->engine, vr_buf_str(&s->listener->auth[s->bindable][s->identity != NULL]));
}

bool login_plus_offered(const struct session *s, struct vr_str mechanism)
{
    const struct sasl_mechanism *m = sasl_mechanism_find(mechanism);
    for (size_t i = 0; m != NULL && s->bindable && i < sasl_mechanism_count; i++)
        if (sasl_mechanisms[i].plus && sasl_mechanisms[i].hash == m->hash &&
            (s->receiver->config->mechanisms & (unsigned)sasl_mechanisms[i].bit))
            return true;
    return false;
}

/* ---- the client's certificate ------------------------------------------------------------------------------------- */

static void add_line(struct vr_buf *lines, struct vr_str line)
{
    if (vr_buf_size(lines) > 0)
        vr_buf_add_byte(lines, '\n');
    vr_buf_add(lines, line);
}

static char *text_of(const struct vr_buf *b)
{
    struct vr_str s = vr_buf_str(b);
    char *text = s.n > 0 ? strndup(s.p, s.n) : NULL;
    assert(s.n == 0 || text != NULL);
    return text;
}

/* Of what a certificate names, what could be an account: addresses, as the accounts have them. */
static char *addresses_among(struct vr_str names)
{
    struct vr_arena arena;
    struct vr_buf found;
    struct vr_str one;
    size_t count = 0;
    vr_arena_init(&arena, ADDRESS_ARENA);
    vr_buf_init(&found, NAMES_MAX);
    while (count < IDENTITIES && vr_str_split(&names, '\n', &one)) {
        struct address a;
        const char *why;
        vr_arena_reset(&arena);
        if (address_parse(&arena, one, ADDRESS_ALLOW_UTF8, &a, &why) != VR_OK)
            continue;
        add_line(&found, address_key(&arena, &a));
        count++;
    }
    char *text = text_of(&found);
    vr_buf_fini(&found);
    vr_arena_fini(&arena);
    return text;
}

static void look_at_certificate(struct session *s)
{
    struct io_tls_info info;
    struct vr_buf names;
    vr_buf_init(&names, 8 * NAMES_MAX);
    if (io_stream_tls_info(s->stream, &info) && info.verified) {
        io_stream_tls_peer_addresses(s->stream, &names);
        s->candidates = addresses_among(vr_buf_str(&names));
    }
    vr_buf_fini(&names);
    if (info.peer_subject[0] == '\0' || s->candidates != NULL)
        return;
    struct event_log *l = s->receiver->log;
    event_begin(l, EVENT_NOTICE, "tls.client_certificate", 0);
    event_text(l, "client", s->client);
    event_text(l, "subject", info.peer_subject);
    event_text(l, "error", info.verified ? "it names no address" : info.peer_error);
    event_text(l, "next", "the client is served as if it had shown none");
    event_end(l);
}

void login_secured(struct session *s)
{
    struct io_tls_binding binding;
    if (!s->listener->submission)
        return;
    io_stream_tls_binding(s->stream, &binding);
    s->bindable = binding.exporter_n > 0; /* whatever type the client then takes, it is there */
    explicit_bzero(&binding, sizeof binding);
    if (s->listener->asks_clients)
        look_at_certificate(s);
    offer(s);
}

void login_forget(struct session *s)
{
    bool had = s->identity != NULL;
    free(s->candidates);
    free(s->identity);
    s->candidates = s->identity = NULL;
    if (had)
        offer(s);
}

/* ---- is it an account? --------------------------------------------------------------------------------------------- */

static struct vr_str first_candidate(const struct session *s)
{
    struct vr_str rest = vr_str_from(s->candidates), one = {NULL, 0};
    vr_str_split(&rest, '\n', &one);
    return one;
}

static void drop_candidate(struct session *s)
{
    struct vr_str rest = vr_str_from(s->candidates), one;
    vr_str_split(&rest, '\n', &one);
    char *left = rest.n > 0 ? strndup(rest.p, rest.n) : NULL;
    free(s->candidates);
    s->candidates = left;
}

static void add_identity(struct session *s, struct vr_str address)
{
    struct vr_buf all;
    vr_buf_init(&all, 2 * NAMES_MAX);
    if (s->identity != NULL)
        vr_buf_add(&all, vr_str_from(s->identity));
    add_line(&all, address);
    free(s->identity);
    s->identity = text_of(&all);
    vr_buf_fini(&all);
}

bool login_identify(struct session *s)
{
    struct peer *keeper = process_peer(s->receiver->process, IPC_KEEPER);
    if (s->candidates == NULL || keeper == NULL || !(s->receiver->config->mechanisms & SASL_EXTERNAL))
        return false;
    session_renumber(s);
    s->asking = ASK_IDENTITY;
    s->deadline_ms = io_monotonic_ms(s->receiver->io) + IDENTIFY_LIMIT_MS;
    struct vr_buf *b = process_frame(s->receiver->process);
    ipc_put_u64(b, s->key);
    ipc_put_u8(b, 0);
    ipc_put_str(b, first_candidate(s));
    peer_send(keeper, IPC_MAILBOX_ASK, b, -1);
    return true;
}

void login_identified(struct session *s, uint8_t answer)
{
    if (answer == IPC_YES)
        add_identity(s, first_candidate(s));
    if (answer != IPC_LATER) { /* else it is asked again with the next EHLO */
        drop_candidate(s);
        if (login_identify(s))
            return;
    }
    offer(s);
    session_answer_ehlo(s);
    session_pump(s);
}
