/* session.c - one client: its stream and its engine, and what the engine's events mean here.
 *
 * Promise:    a session that waits for the keeper or the queue holds up no other.
 * Rule:       session_answer may free the session (a CLOSE may follow the answer): callers touch it no more afterwards.
 * Tests:      tests/e2e/, tests/transcripts/ over TCP
 */
#include "receiver/session.h"

#include "io/fs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDSHAKE_MS    30000
#define LINGER_MS       5000
#define UNSENT_MAX      (256u << 10) /* a client that does not read its replies is not read either */
#define TRANSACTION_MAX (1u << 20)

/* ---- the engine's events
 * --------------------------------------------------------------------------------------------- */

static int64_t now(const struct session *s)
{
    return io_monotonic_ms(s->receiver->io);
}

static void on_ehlo(struct session *s, const struct smtp_server_event *ev)
{
    free(s->helo);
    s->helo = strndup(ev->name.p, ev->name.n);
    assert(s->helo != NULL);
    smtp_server_clock(s->engine, io_now_us(s->receiver->io) / 1000000, now(s));
    if (!login_identify(s))
        session_answer_ehlo(s);
}

void session_answer_ehlo(struct session *s)
{
    smtp_server_answer(s->engine, (struct smtp_reply){250, NULL, s->receiver->config->hostname}, now(s));
}

static void on_mail(struct session *s, const struct smtp_server_event *ev)
{
    policy_mail(s, ev->mail);
}

static void on_rcpt(struct session *s, const struct smtp_server_event *ev)
{
    policy_rcpt(s, ev->rcpt);
}

static void on_data(struct session *s, const struct smtp_server_event *ev)
{
    (void)ev;
    transaction_begin_data(s->transaction);
    smtp_server_answer(s->engine,
                       SMTP_REPLY(354, NULL, "send the message; end it with a line that holds only a dot"),
                       now(s));
}

static void on_chunk(struct session *s, const struct smtp_server_event *ev)
{
    transaction_chunk(s->transaction, ev->data);
}

static void report_refusal(struct session *s, const char *name, const struct smtp_server_event *ev,
                           uint64_t id)
{
    struct event_log *l = s->receiver->log;
    event_begin(l, EVENT_NOTICE, name, id);
    event_text(l, "client", s->client);
    event_u64(l, "code", ev->refusal.code);
    event_str(l, "reply", ev->refusal.text);
    if (ev->data.n > 0)
        event_str(l, "command", vr_str_sub(ev->data, 0, 128));
    event_end(l);
}

static void on_data_end(struct session *s, const struct smtp_server_event *ev)
{
    if (ev->refusal.code == 0) {
        transaction_end(s->transaction);
        return;
    }
    report_refusal(s, "message.refused", ev, s->transaction->id);
    transaction_abandon(s->transaction);
}

static void on_reset(struct session *s, const struct smtp_server_event *ev)
{
    (void)ev;
    if (s->transaction != NULL)
        transaction_abandon(s->transaction);
}

static void on_auth(struct session *s, const struct smtp_server_event *ev)
{
    policy_auth(s, ev->mechanism, ev->has_data, ev->data);
}

static void on_auth_response(struct session *s, const struct smtp_server_event *ev)
{
    policy_auth_response(s, ev->data);
}

static void on_auth_cancel(struct session *s, const struct smtp_server_event *ev)
{
    (void)ev;
    policy_auth_cancel(s);
}

static void send_pending(struct session *s);

static void begin_tls(struct session *s, struct vr_str received)
{
    s->securing = true;
    s->deadline_ms = now(s) + HANDSHAKE_MS;
    io_stream_start_tls_with(s->stream, s->listener->tls, received);
}

static void on_starttls(struct session *s, const struct smtp_server_event *ev)
{
    (void)ev;
    send_pending(s);
    begin_tls(s, vr_str(NULL, 0));
}

static void on_vrfy(struct session *s, const struct smtp_server_event *ev)
{
    asks_vrfy(s, ev->data, ev->utf8);
}

static void on_expn(struct session *s, const struct smtp_server_event *ev)
{
    asks_expn(s, ev->data, ev->utf8);
}

static void on_etrn(struct session *s, const struct smtp_server_event *ev)
{
    asks_etrn(s, ev->option, ev->name);
}

static void on_xclient(struct session *s, const struct smtp_server_event *ev)
{
    arrival_xclient(s, ev->x);
}

static void on_command_refused(struct session *s, const struct smtp_server_event *ev)
{
    report_refusal(s, "command.refused", ev, 0);
}

static void on_close(struct session *s, const struct smtp_server_event *ev)
{
    if (ev->refusal.code != 0 && ev->refusal.code != 221)
        report_refusal(s, "session.ended", ev, 0);
    s->closing = true;
}

static void (*const handlers[])(struct session *s, const struct smtp_server_event *ev) = {
    [SMTP_SERVER_EHLO] = on_ehlo,
    [SMTP_SERVER_MAIL] = on_mail,
    [SMTP_SERVER_RCPT] = on_rcpt,
    [SMTP_SERVER_DATA] = on_data,
    [SMTP_SERVER_CHUNK] = on_chunk,
    [SMTP_SERVER_DATA_END] = on_data_end,
    [SMTP_SERVER_RESET] = on_reset,
    [SMTP_SERVER_AUTH] = on_auth,
    [SMTP_SERVER_AUTH_RESPONSE] = on_auth_response,
    [SMTP_SERVER_AUTH_CANCEL] = on_auth_cancel,
    [SMTP_SERVER_STARTTLS] = on_starttls,
    [SMTP_SERVER_VRFY] = on_vrfy,
    [SMTP_SERVER_EXPN] = on_expn,
    [SMTP_SERVER_ETRN] = on_etrn,
    [SMTP_SERVER_XCLIENT] = on_xclient,
    [SMTP_SERVER_COMMAND_REFUSED] = on_command_refused,
    [SMTP_SERVER_CLOSE] = on_close,
};

static void send_pending(struct session *s)
{
    struct vr_str out = smtp_server_pending(s->engine);
    if (out.n == 0)
        return;
    io_stream_write(s->stream, out);
    smtp_server_sent(s->engine, out.n);
}

void session_pump(struct session *s)
{
    if (s->pumping)
        return; /* an answer given from inside a handler: the loop below goes on */
    s->pumping = true;
    struct smtp_server_event ev;
    enum smtp_server_event_kind kind;
    while (!s->closing && (s->transaction == NULL || !transaction_full(s->transaction)) &&
           (kind = smtp_server_next(s->engine, &ev)) != SMTP_SERVER_IDLE) {
        assert((size_t)kind < sizeof handlers / sizeof *handlers && handlers[kind] != NULL);
        handlers[kind](s, &ev);
    }
    s->pumping = false;
    send_pending(s);
    if (s->closing) {
        struct io_stream *stream = s->stream;
        s->stream = NULL;
        io_stream_finish(stream, LINGER_MS);
        session_close(s);
        return;
    }
    bool full = s->transaction != NULL && transaction_full(s->transaction);
    io_stream_pause(s->stream,
                    full || smtp_server_blocked(s->engine) || io_stream_unsent(s->stream) > UNSENT_MAX);
}

void session_answer(struct session *s, struct smtp_reply reply)
{
    smtp_server_answer(s->engine, reply, now(s));
    session_pump(s);
}

/* ---- the stream
 * -------------------------------------------------------------------------------------------------------- */

static void on_bytes(void *arg, struct vr_str bytes)
{
    struct session *s = arg;
    if (s->proxy != NULL) {
        arrival_bytes(s, bytes);
        return;
    }
    smtp_server_feed(s->engine, bytes, now(s));
    session_pump(s);
}

static void on_ended(void *arg, int status)
{
    struct session *s = arg;
    if (status != 0 || s->securing ||
        s->proxy != NULL) { /* cut, not closed: what is buffered has nobody to answer to */
        session_close(s);
        return;
    }
    smtp_server_eof(s->engine);
    session_pump(s);
}

static void on_drained(void *arg)
{
    session_pump(arg);
}

static void greet(struct session *s)
{
    if (s->receiver->process->draining)
        smtp_server_greet(s->engine,
                          SMTP_REPLY(421, "4.3.2", "the server is shutting down; try again in a moment"));
    else if (s->uninvited)
        smtp_server_greet(s->engine,
                          SMTP_REPLY(554, "5.7.1", "this address is for the server's own proxies only"));
    else if (s->crowded)
        smtp_server_greet(s->engine,
                          SMTP_REPLY(421, "4.7.0", "too many connections; close some and try again later"));
    else
        smtp_server_greet(s->engine, SMTP_REPLY(220, NULL, ""));
    session_pump(s);
}

static void on_secured(void *arg, int status)
{
    struct session *s = arg;
    s->securing = false;
    s->deadline_ms = INT64_MAX;
    if (!s->listener->implicit_tls) { /* who the client was, it was in clear (RFC 3207 §4.2) */
        free(s->user);
        free(s->helo);
        s->user = s->helo = NULL;
        session_grant(s);
    }
    if (status != 0) {
        event_begin(s->receiver->log, EVENT_NOTICE, "tls.failed", 0);
        event_text(s->receiver->log, "client", s->client);
        event_text(s->receiver->log, "error", io_stream_tls_error(s->stream));
        event_end(s->receiver->log);
        session_close(s);
        return;
    }
    login_secured(s);
    if (s->listener->implicit_tls)
        greet(s);
    else
        smtp_server_secured(s->engine, now(s));
}

static const struct io_stream_ops stream_ops = {
    .data = on_bytes, .ended = on_ended, .drained = on_drained, .secured = on_secured};

/* ---- beginning and end
 * ------------------------------------------------------------------------------------------------- */

/* Without TLS there are no words that this client would understand. */
static void refuse_handshake(struct session *s)
{
    struct event_log *l = s->receiver->log;
    event_begin(l, EVENT_NOTICE, "session.ended", 0);
    event_text(l, "client", s->client);
    event_u64(l, "code", s->uninvited ? 554 : 421);
    event_text(l, "reply", s->uninvited ? "for the server's own proxies only" : "too many connections");
    event_end(l);
    session_close(s);
}

void session_start(struct session *s, struct vr_str received)
{
    bool refused = s->crowded || s->uninvited;
    session_grant(s);
    if (s->listener->implicit_tls && refused) {
        refuse_handshake(s);
    } else if (s->listener->implicit_tls) {
        begin_tls(s, received);
    } else {
        smtp_server_feed(s->engine, received, now(s)); /* read after the greeting */
        greet(s);
    }
}

void session_open(struct listener *listener, struct io_stream *stream)
{
    struct receiver *r = listener->receiver;
    struct session *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->receiver = r;
    s->listener = listener;
    s->stream = stream;
    s->key = ++r->next_key;
    s->deadline_ms = INT64_MAX;
    s->engine = smtp_server_new(&listener->smtp, listener->implicit_tls, io_monotonic_ms(r->io));
    assert(s->engine != NULL);
    TAILQ_INSERT_TAIL(&r->sessions, s, entry);
    HASH_ADD(hh, r->by_key, key, sizeof s->key, s);
    r->session_count++;
    io_stream_set(stream, &stream_ops, s);
    arrival_begin(s);
}

void session_close(struct session *s)
{
    struct receiver *r = s->receiver;
    if (s->transaction != NULL)
        transaction_abandon(s->transaction);
    policy_auth_cancel(s);
    arrival_forget(s);
    crowd_leave(r->process->crowd, r->process->number, s->counted);
    TAILQ_REMOVE(&r->sessions, s, entry);
    HASH_DEL(r->by_key, s);
    r->session_count--;
    io_stream_close(s->stream);
    smtp_server_free(s->engine);
    free(s->helo);
    free(s->user);
    free(s->candidates);
    free(s->identity);
    free(s->name);
    free(s->asked_name);
    free(s);
}

struct session *session_by_key(struct receiver *r, uint64_t key)
{
    struct session *s = NULL;
    HASH_FIND(hh, r->by_key, &key, sizeof key, s);
    return s;
}

void session_renumber(struct session *s)
{
    struct receiver *r = s->receiver;
    HASH_DEL(r->by_key, s);
    s->key = ++r->next_key;
    HASH_ADD(hh, r->by_key, key, sizeof s->key, s);
}

/* The answer that a session waits for did not come in time. */
static void waited_too_long(struct session *s)
{
    if (s->proxy != NULL) {
        arrival_late(s);
        return;
    }
    if (s->securing) {
        session_close(s);
        return;
    }
    int asking = s->asking;
    s->asking = ASK_NOTHING;
    s->deadline_ms = INT64_MAX;
    if (asking == ASK_SENDER)
        transaction_abandon(s->transaction);
    policy_auth_cancel(s);
    if (asking == ASK_IDENTITY) {
        login_identified(s, IPC_LATER);
        return;
    }
    if (asking == ASK_OWNER) {
        owners_answered(s, IPC_LATER, 0);
        return;
    }
    if (asking == ASK_SEALING) {
        sealing_later(s);
        return;
    }
    if (asking == ASK_FROM || asking == ASK_SIGNING) {
        signing_later(s);
        return;
    }
    session_answer(
        s, asking == ASK_SASL ? SMTP_REPLY(454, "4.7.0", "authentication takes too long now; try again later")
           : asking == ASK_FLUSH
               ? SMTP_REPLY(458, "4.3.0", "the queue does not answer now; try again later")
               : SMTP_REPLY(451, "4.3.0", "the accounts cannot be consulted now; try again later"));
}

void session_sweep(struct receiver *r)
{
    int64_t at = io_monotonic_ms(r->io);
    struct session *s, *next;
    for (s = TAILQ_FIRST(&r->sessions); s != NULL; s = next) {
        next = TAILQ_NEXT(s, entry);
        if (at >= s->deadline_ms) {
            waited_too_long(s);
        } else if (!s->securing && at >= smtp_server_deadline(s->engine)) {
            smtp_server_tick(s->engine, at);
            session_pump(s);
        }
    }
}
