/* session.c - see session.h. The glue between the client engine (sans I/O) and a stream, for one session at a time.
 *
 * The sender process has its own glue: it keeps many sessions and reuses connections; this one tells a person what happens.
 * States: connecting -> [TLS] -> talking [pump] -> over [leave]
 * Tests:  tests/e2e/
 */
#include "cli/session.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define CONNECT_MS 30000
#define TICK_MS    250
#define BODY_CHUNK 65536
#define UNSENT_MAX (256u << 10)

struct session {
    struct io *io;
    const struct session_options *o;
    struct session_result *out;
    struct io_stream *stream;
    struct io_tls *tls;
    struct io_timer *timer;
    struct smtp_client *engine;
    struct smtp_client_config config;
    int64_t start_us, heard_ms;
    size_t body_at;
    bool in_body, body_sent, started, over, heard;
    bool chunks; /* what leaves is BDATs with their octets */
};

static int64_t now(const struct session *s)
{
    return io_monotonic_ms(s->io);
}

/* ---- the end ---------------------------------------------------------------------------------------------------------- */

static void leave(struct session *s)
{
    s->over = true;
    io_stop(s->io);
}

static void copy(char *out, size_t n, struct vr_str s)
{
    snprintf(out, n, "%.*s", (int)(s.n < n ? s.n : n - 1), s.n > 0 ? s.p : "");
    for (; *out != '\0'; out++)
        if (*out == '\n')
            *out = ' ';
}

static void reply_copy(struct session_reply *out, const struct smtp_client_event *ev)
{
    out->code = ev->code;
    out->permanent = ev->permanent;
    copy(out->enhanced, sizeof out->enhanced, ev->enhanced);
    copy(out->text, sizeof out->text, ev->text);
}

/* Our own verdict. */
static void fail(struct session *s, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fail(struct session *s, const char *at, const char *format, ...)
{
    if (s->over)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(s->out->failure.text, sizeof s->out->failure.text, format, args);
    va_end(args);
    s->out->failed = true;
    snprintf(s->out->failed_at, sizeof s->out->failed_at, "%s", at);
    trace_note(s->o->trace, "%s", s->out->failure.text);
    leave(s);
}

static void engine_failed(struct session *s, const struct smtp_client_event *ev)
{
    s->out->failed = true;
    reply_copy(&s->out->failure, ev);
    snprintf(s->out->failed_at, sizeof s->out->failed_at, "%s",
             ev->command != NULL ? ev->command : "session");
    trace_note(s->o->trace, "the session ends at %s: %s", s->out->failed_at, s->out->failure.text);
    leave(s);
}

/* ---- talking ------------------------------------------------------------------------------------------------------------ */

/* The lines of BDATs; their octets would spoil a terminal. */
static void trace_chunks(struct session *s, struct vr_str bytes)
{
    while (bytes.n > 0) {
        size_t line = vr_str_find(bytes, '\n') + 1;
        struct vr_str size = vr_str_from_pos(vr_str_sub(bytes, 0, line - 2), 5);
        uint64_t octets = 0;
        vr_str_to_u64(vr_str_sub(size, 0, vr_str_find(size, ' ')), &octets);
        trace_sent(s->o->trace, vr_str_sub(bytes, 0, line));
        bytes = vr_str_from_pos(bytes, line + (size_t)octets);
    }
}

static void flush(struct session *s)
{
    struct vr_str bytes = smtp_client_pending(s->engine);
    if (bytes.n == 0)
        return;
    if (s->chunks)
        trace_chunks(s, bytes);
    else if (!s->in_body)
        trace_sent(s->o->trace, bytes);
    io_stream_write(s->stream, bytes);
    smtp_client_sent(s->engine, bytes.n);
}

/* As much of the message as the connection takes; drained() calls again. */
static void send_body(struct session *s)
{
    struct vr_str message = s->o->message;
    while (s->body_at < message.n && io_stream_unsent(s->stream) + smtp_client_held(s->engine) < UNSENT_MAX) {
        struct vr_str chunk = vr_str_sub(message, s->body_at, BODY_CHUNK);
        smtp_client_body(s->engine, chunk, now(s));
        s->body_at += chunk.n;
        s->heard_ms = now(s);
        flush(s);
    }
    if (s->body_at < message.n)
        return;
    smtp_client_body_end(s->engine, now(s));
    flush(s);
    s->in_body = false;
    s->body_sent = true;
    trace_note(s->o->trace, "sent the message: %zu bytes", message.n);
}

static void rcpt_fate(struct session *s, const struct smtp_client_event *ev, bool final)
{
    s->out->transaction = true;
    for (size_t i = 0; i < s->o->rcpt_count; i++) {
        struct session_rcpt *r = &s->out->rcpts[i];
        bool meant = ev->index == i || (ev->index == SIZE_MAX && r->fate == SESSION_ACCEPTED);
        if (!meant)
            continue;
        bool good = ev->code >= 200 && ev->code < 300;
        r->fate = !good ? SESSION_REFUSED : final ? SESSION_SENT : SESSION_ACCEPTED;
        reply_copy(&r->reply, ev);
    }
}

static void start_tls(struct session *s)
{
    flush(s);
    io_stream_start_tls(s->stream, s->tls, s->o->verify ? IO_TLS_VERIFY : IO_TLS_OPPORTUNISTIC, s->o->name);
}

static void ready(struct session *s)
{
    if (s->o->rcpt_count > 0 && !s->started) {
        s->started = true;
        smtp_client_mail(s->engine, s->o->mail, s->o->rcpts, s->o->rcpt_count, now(s));
    } else if (s->out->answered < s->o->question_count) {
        if (!smtp_client_ask(s->engine, s->o->questions[s->out->answered], now(s)))
            fail(s, "command", "the command cannot be sent: it is too long, or holds control characters");
    } else {
        smtp_client_quit(s->engine, now(s));
    }
}

static void pump(struct session *s)
{
    struct smtp_client_event ev = {0};
    while (!s->over) {
        switch (smtp_client_next(s->engine, &ev)) {
        case SMTP_CLIENT_IDLE:
            flush(s);
            return;
        case SMTP_CLIENT_STARTTLS:
            start_tls(s);
            return;
        case SMTP_CLIENT_READY:
            ready(s);
            break;
        case SMTP_CLIENT_RCPT_RESULT:
            rcpt_fate(s, &ev, false);
            break;
        case SMTP_CLIENT_BODY:
            flush(s);
            s->in_body = true;
            s->chunks = strcmp(ev.command, "BDAT") == 0;
            send_body(s);
            break;
        case SMTP_CLIENT_RESULT:
            s->in_body = s->chunks = false; /* by BDAT perhaps half way */
            rcpt_fate(s, &ev, true);
            break;
        case SMTP_CLIENT_ANSWER:
            reply_copy(&s->out->answers[s->out->answered++], &ev);
            break;
        case SMTP_CLIENT_REPLY:
            break;
        case SMTP_CLIENT_FAILED:
            flush(s);
            engine_failed(s, &ev);
            break;
        case SMTP_CLIENT_CLOSED:
            leave(s);
            break;
        }
    }
}

/* ---- the stream --------------------------------------------------------------------------------------------------------- */

static void on_connected(void *arg, int status)
{
    struct session *s = arg;
    char address[IO_ADDRESS_TEXT];
    io_address_text(&s->o->address, address);
    if (status != 0) {
        fail(s, "connect", "cannot connect to %s: %s", address, io_error_text(status));
        return;
    }
    s->out->connected = true;
    s->heard_ms = now(s);
    trace_note(s->o->trace, "connected in %lld ms", (long long)((io_now_us(s->io) - s->start_us) / 1000));
    if (s->o->tls == SESSION_TLS_IMPLICIT)
        start_tls(s);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct session *s = arg;
    if (s->over)
        return;
    s->heard_ms = now(s);
    s->heard = true;
    trace_received(s->o->trace, bytes);
    smtp_client_feed(s->engine, bytes, now(s));
    pump(s);
}

static void on_ended(void *arg, int status)
{
    struct session *s = arg;
    if (s->over)
        return;
    trace_note(s->o->trace, "the server closed the connection%s%s", status != 0 ? ": " : "",
               status != 0 ? io_error_text(status) : "");
    smtp_client_eof(s->engine);
    pump(s);
    if (!s->over)
        fail(s, "session", "the connection was lost");
}

static void on_drained(void *arg)
{
    struct session *s = arg;
    if (s->over || !s->in_body)
        return;
    send_body(s);
    pump(s);
}

static void bind_channel(struct session *s)
{
    struct io_tls_binding b;
    io_stream_tls_binding(s->stream, &b);
    struct sasl_binding binding = {.tls_exporter = vr_str((const char *)b.exporter, b.exporter_n),
                                   .tls_unique = vr_str((const char *)b.unique, b.unique_n),
                                   .tls_server_end_point = vr_str((const char *)b.end_point, b.end_point_n)};
    smtp_client_binding(s->engine, &binding);
    explicit_bzero(&b, sizeof b);
}

static void on_secured(void *arg, int status)
{
    struct session *s = arg;
    struct io_tls_info info;
    if (status != 0) {
        const char *why = io_stream_tls_error(s->stream);
        fail(s, status == -EKEYREJECTED ? "certificate" : "TLS", "TLS failed: %s",
             *why ? why : io_error_text(status));
        return;
    }
    s->heard_ms = now(s);
    if (io_stream_tls_info(s->stream, &info))
        trace_note(s->o->trace, "%s, %s, %u bits, certificate %s: %s", info.protocol, info.cipher, info.bits,
                   info.verified ? "verified" : "not verified",
                   *info.peer_subject ? info.peer_subject : "none");
    bind_channel(s);
    if (s->o->tls != SESSION_TLS_IMPLICIT)
        smtp_client_secured(s->engine, now(s));
    pump(s);
}

static const struct io_stream_ops stream_ops = {.connected = on_connected,
                                                .data = on_data,
                                                .ended = on_ended,
                                                .drained = on_drained,
                                                .secured = on_secured};

static void on_tick(void *arg)
{
    struct session *s = arg;
    if (s->over || !s->out->connected)
        return;
    if (s->o->timeout_ms > 0 && now(s) - s->heard_ms > s->o->timeout_ms) {
        fail(s, s->heard ? "session" : "greeting", "timed out: %s for %lld s",
             s->heard ? "nothing from the server" : "no greeting from the server",
             (long long)(s->o->timeout_ms / 1000));
    } else if (now(s) >= smtp_client_deadline(s->engine)) {
        smtp_client_tick(s->engine, now(s));
        pump(s);
    }
}

/* ---- one session -------------------------------------------------------------------------------------------------------- */

static void configure(struct session *s)
{
    const struct session_options *o = s->o;
    static const enum smtp_client_tls tls[] = {[SESSION_TLS_NONE] = SMTP_CLIENT_TLS_NONE,
                                               [SESSION_TLS_MAY] = SMTP_CLIENT_TLS_MAY,
                                               [SESSION_TLS_REQUIRED] = SMTP_CLIENT_TLS_MUST,
                                               [SESSION_TLS_IMPLICIT] = SMTP_CLIENT_TLS_NONE};
    s->config = (struct smtp_client_config){.helo_name = o->helo,
                                            .lmtp = o->lmtp,
                                            .tls = tls[o->tls],
                                            .tls_active = o->tls == SESSION_TLS_IMPLICIT,
                                            .user = o->user,
                                            .password = o->password,
                                            .token = o->token,
                                            .certificate = o->certificate != NULL,
                                            .auth_host = o->name,
                                            .auth_port = o->address.port,
                                            .auth_in_clear = o->auth_in_clear,
                                            .chunking = o->bdat,
                                            .auth_mechanism = o->mechanism};
    io_random(s->io, s->config.nonce, sizeof s->config.nonce);
}

void session_run(struct io *io, const struct session_options *o, struct session_result *out)
{
    struct session s = {.io = io, .o = o, .out = out};
    char address[IO_ADDRESS_TEXT], error[256];
    *out = (struct session_result){.rcpts = out->rcpts, .answers = out->answers};
    for (size_t i = 0; i < o->rcpt_count; i++)
        out->rcpts[i] = (struct session_rcpt){0};
    io_address_text(&o->address, address);
    trace_note(o->trace, "connecting to %s%s%.*s%s", address, o->name.n > 0 ? " (" : "", VR_STR_ARG(o->name),
               o->name.n > 0 ? ")" : "");
    if (o->tls != SESSION_TLS_NONE && (s.tls = io_tls_client(o->ca_file, error)) == NULL) {
        fail(&s, "CA file", "%s", error);
        return;
    }
    struct io_tls_certificate own = {.names = "", .certificate = o->certificate, .key = o->key};
    if (s.tls != NULL && o->certificate != NULL && !io_tls_show(s.tls, &own, error)) {
        io_tls_free(s.tls);
        fail(&s, "certificate file", "%s", error);
        return;
    }
    configure(&s);
    s.engine = smtp_client_new(&s.config, now(&s));
    assert(s.engine != NULL);
    s.timer = io_timer_new(io, on_tick, &s);
    io_timer_start(s.timer, TICK_MS, TICK_MS);
    s.start_us = io_now_us(io); /* the loop's own clock stood still while certificates were read */
    s.stream = io_stream_connect(io, &o->address, NULL, o->timeout_ms > 0 ? o->timeout_ms : CONNECT_MS,
                                 &stream_ops, &s);
    while (!s.over)
        io_run(io);
    io_timer_free(s.timer);
    io_stream_close(s.stream);
    smtp_client_free(s.engine);
    io_tls_free(s.tls);
    explicit_bzero(&s.config, sizeof s.config);
}

/* ---- what it means ------------------------------------------------------------------------------------------------------ */

static int refusal_code(const struct session_reply *r)
{
    if (!r->permanent)
        return EX_TEMPFAIL;
    return strncmp(r->enhanced, "5.1.", 4) == 0 ? EX_NOUSER : EX_UNAVAILABLE;
}

int session_exit_code(const struct session_result *r, size_t rcpt_count)
{
    int code = EX_OK;
    bool open = rcpt_count == 0;
    for (size_t i = 0; i < rcpt_count; i++) {
        const struct session_rcpt *one = &r->rcpts[i];
        int mine = one->fate == SESSION_REFUSED ? refusal_code(&one->reply) : EX_OK;
        open = open || one->fate == SESSION_OPEN || one->fate == SESSION_ACCEPTED;
        if (mine != EX_OK && code != EX_TEMPFAIL) /* what may work later counts for more */
            code = mine;
    }
    if (!open || !r->failed)
        return open && rcpt_count > 0 && code == EX_OK ? EX_TEMPFAIL : code;
    if (strcmp(r->failed_at, "AUTH") == 0 && r->failure.permanent)
        return EX_NOPERM;
    if (strcmp(r->failed_at, "AUTH") == 0 && r->failure.code == 0)
        return EX_UNAVAILABLE; /* it does not offer what we need: a person has to do something */
    if (strcmp(r->failed_at, "CA file") == 0)
        return EX_NOINPUT;
    if (strcmp(r->failed_at, "TLS") == 0 || strcmp(r->failed_at, "certificate") == 0)
        return EX_PROTOCOL;
    return r->failure.permanent ? EX_UNAVAILABLE : EX_TEMPFAIL;
}

void session_reply_text(const struct session_reply *r, char *out, size_t n)
{
    bool repeated = r->enhanced[0] != '\0' && strncmp(r->text, r->enhanced, strlen(r->enhanced)) == 0;
    const char *enhanced = repeated ? "" : r->enhanced;
    if (r->code != 0)
        snprintf(out, n, "%u %s%s%s", r->code, enhanced, *enhanced ? " " : "", r->text);
    else
        snprintf(out, n, "%s", r->text);
}
