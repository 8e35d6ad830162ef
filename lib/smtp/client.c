/* client.c - the client engine: bytes, time, and the turn from one event to the next.
 *
 * States:  GREETING -> EHLO (-> HELO) (-> STARTTLS -> SECURING -> EHLO) (-> AUTH) -> READY -> MAIL -> RCPT -> DATA -> BODY -> DOT -> READY
 *          a transaction that failed goes by RSET to READY; any -> DEAD [FAILED, CLOSED]
 * Invariants: (1) a reply is read only in a stage that awaits one: what comes uncalled is a fault (2) nothing that came before TLS is
 *          looked at after it (3) after FAILED or CLOSED no event comes.
 * Tests:   tests/unit/smtp_client.c, tests/unit/smtp_pair.c, tests/fuzz/fuzz_smtp_client.c
 */
#include "client_inside.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MINUTE     60000
#define INPUT_MAX  (256u << 10)
#define OUTPUT_MAX (256u << 20)
#define TEXT_MAX   (CLIENT_REPLY_LINES * (CLIENT_REPLY_LINE + 1))

typedef enum smtp_client_event_kind on_reply(struct smtp_client *c, const struct client_reply *r,
                                             struct smtp_client_event *ev);

static enum smtp_client_event_kind on_quit(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    (void)r, (void)ev;
    c->stage = STAGE_DEAD;
    return SMTP_CLIENT_CLOSED;
}

/* RFC 5321 §4.5.3.2: how long each reply may take, and who reads it. */
static const struct {
    const char *command;
    const char *waiting; /* "timed out …" */
    int64_t timeout_ms;
    on_reply *run; /* NULL: no reply is awaited */
} stages[] = {
    [STAGE_GREETING] = {"greeting", "timed out waiting for the greeting", 5 * MINUTE, client_on_greeting},
    [STAGE_EHLO] = {"EHLO", "timed out waiting for the reply to EHLO", 5 * MINUTE, client_on_ehlo},
    [STAGE_HELO] = {"HELO", "timed out waiting for the reply to HELO", 5 * MINUTE, client_on_helo},
    [STAGE_STARTTLS] = {"STARTTLS", "timed out waiting for the reply to STARTTLS", 5 * MINUTE,
                        client_on_starttls},
    [STAGE_SECURING] = {"STARTTLS", "timed out in the TLS handshake", 1 * MINUTE, NULL},
    [STAGE_AUTH] = {"AUTH", "timed out waiting for the reply to AUTH", 5 * MINUTE, client_on_auth},
    [STAGE_READY] = {"", "", 0, NULL},
    [STAGE_MAIL] = {"MAIL", "timed out waiting for the reply to MAIL", 5 * MINUTE, client_on_mail},
    [STAGE_RCPT] = {"RCPT", "timed out waiting for the reply to RCPT", 5 * MINUTE, client_on_rcpt},
    [STAGE_DATA] = {"DATA", "timed out waiting for the reply to DATA", 2 * MINUTE, client_on_data},
    [STAGE_BODY] = {"DATA", "timed out sending the message", 3 * MINUTE, NULL},
    [STAGE_DOT] = {".", "timed out waiting for the reply to the end of the message", 10 * MINUTE,
                   client_on_dot},
    [STAGE_RSET] = {"RSET", "timed out waiting for the reply to RSET", 5 * MINUTE, client_on_rset},
    [STAGE_QUIT] = {"QUIT", "timed out waiting for the reply to QUIT", MINUTE / 2, on_quit},
    [STAGE_DEAD] = {"", "", 0, NULL},
};

const char *client_command(enum client_stage stage)
{
    return stages[stage].command;
}

struct smtp_client *smtp_client_new(const struct smtp_client_config *config, int64_t now_ms)
{
    struct smtp_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->config = config;
    c->tls = config->tls_active;
    c->now = c->since = now_ms;
    vr_buf_init(&c->in, INPUT_MAX);
    vr_buf_init(&c->out, OUTPUT_MAX);
    vr_buf_init(&c->text, TEXT_MAX);
    vr_buf_init(&c->mail_text, TEXT_MAX);
    return c;
}

void smtp_client_free(struct smtp_client *c)
{
    if (c == NULL)
        return;
    sasl_client_free(c->sasl);
    vr_buf_fini(&c->in);
    vr_buf_fini(&c->out);
    vr_buf_fini(&c->text);
    vr_buf_fini(&c->mail_text);
    free(c->tx.taken);
    free(c);
}

void client_stage(struct smtp_client *c, enum client_stage stage)
{
    c->stage = stage;
    c->since = c->now;
}

void client_line(struct smtp_client *c, const char *format, ...)
{
    char line[1024];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    assert(n >= 0 && (size_t)n < sizeof line);
    vr_buf_add(&c->out, vr_str(line, (size_t)n));
}

/* ---- failures ------------------------------------------------------------------------------------------------------- */

void client_reply_event(struct smtp_client *c, struct smtp_client_event *ev, uint16_t code,
                        struct vr_str text)
{
    ev->code = code;
    ev->text = text;
    ev->permanent = code >= 500;
    ev->command = stages[c->stage].command;
    if (!dsn_status_find(text, &ev->enhanced))
        ev->enhanced = vr_str(NULL, 0);
}

enum smtp_client_event_kind client_fail(struct smtp_client *c, struct smtp_client_event *ev,
                                        const char *enhanced, bool permanent, const char *text)
{
    *ev = (struct smtp_client_event){.enhanced = vr_str_from(enhanced),
                                     .text = vr_str_from(text),
                                     .permanent = permanent,
                                     .command = stages[c->stage].command,
                                     .sent_dot = c->sent_dot};
    c->stage = STAGE_DEAD;
    return SMTP_CLIENT_FAILED;
}

enum smtp_client_event_kind client_fail_reply(struct smtp_client *c, struct smtp_client_event *ev,
                                              const struct client_reply *r)
{
    client_reply_event(c, ev, r->code, r->text);
    ev->sent_dot = c->sent_dot;
    c->stage = STAGE_DEAD;
    return SMTP_CLIENT_FAILED;
}

/* ---- bytes ---------------------------------------------------------------------------------------------------------- */

void smtp_client_feed(struct smtp_client *c, struct vr_str in, int64_t now_ms)
{
    c->now = now_ms;
    if (c->stage == STAGE_DEAD || c->stage == STAGE_SECURING)
        return; /* invariant (2) */
    if (!vr_buf_add(&c->in, in) && !c->failed_due) {
        client_fail(c, &c->failure, "4.5.0", false, "the server sends more than it was asked for");
        c->failed_due = true;
    }
}

void smtp_client_eof(struct smtp_client *c)
{
    c->eof = true;
}

struct vr_str smtp_client_pending(const struct smtp_client *c)
{
    return vr_buf_str(&c->out);
}

void smtp_client_sent(struct smtp_client *c, size_t n)
{
    vr_buf_consume(&c->out, n);
    if (c->stage == STAGE_BODY && n > 0)
        c->since = c->now; /* the clock of a block runs only while nothing moves */
    if (vr_buf_size(&c->out) == 0 && c->out.capacity > 0)
        vr_buf_release(&c->out);
}

static void release_idle(struct smtp_client *c)
{
    if (vr_buf_size(&c->in) == 0 && c->code == 0)
        vr_buf_release(&c->in);
}

/* Bytes in a stage that awaits none: a 421 that announces the end, or a server that talks out of turn. */
static enum smtp_client_event_kind uncalled(struct smtp_client *c, struct smtp_client_event *ev)
{
    struct client_reply r;
    const char *why = "";
    int verdict = client_reply_read(c, &r, &why);
    if (verdict < 0)
        return client_fail(c, ev, "4.5.0", false, why);
    if (verdict == 0)
        return SMTP_CLIENT_IDLE;
    if (r.code >= 400)
        return client_fail_reply(c, ev, &r);
    return client_fail(c, ev, "4.5.0", false, "the server replies to what was not asked");
}

static enum smtp_client_event_kind one_reply(struct smtp_client *c, struct smtp_client_event *ev)
{
    struct client_reply r;
    const char *why = "";
    int verdict = client_reply_read(c, &r, &why);
    if (verdict == 0)
        return SMTP_CLIENT_IDLE;
    if (verdict < 0)
        return client_fail(c, ev, "4.5.0", false, why);
    c->since = c->now;
    if (r.code == 421 && c->stage != STAGE_QUIT)
        return client_fail_reply(c, ev, &r);
    if (c->config->trace && !c->traced) {
        c->traced = true; /* the reply is shown first, and acted upon at the next call */
        c->held = r;
        client_reply_event(c, ev, r.code, r.text);
        return SMTP_CLIENT_REPLY;
    }
    return stages[c->stage].run(c, &r, ev);
}

static enum smtp_client_event_kind lost(struct smtp_client *c, struct smtp_client_event *ev)
{
    if (c->stage == STAGE_QUIT) {
        c->stage = STAGE_DEAD;
        return SMTP_CLIENT_CLOSED;
    }
    return client_fail(
        c, ev, "4.4.2", false,
        c->sent_dot
            ? "the connection was lost after the message was sent, so whether the server took it is unknown"
            : "the server closed the connection");
}

enum smtp_client_event_kind smtp_client_next(struct smtp_client *c, struct smtp_client_event *ev)
{
    *ev = (struct smtp_client_event){0};
    for (;;) {
        if (c->failed_due) {
            c->failed_due = false;
            *ev = c->failure;
            return SMTP_CLIENT_FAILED;
        }
        if (c->stage == STAGE_DEAD)
            return SMTP_CLIENT_IDLE;
        if (c->traced) {
            c->traced = false;
            enum smtp_client_event_kind kind = stages[c->stage].run(c, &c->held, ev);
            if (kind != SMTP_CLIENT_IDLE)
                return kind;
            continue;
        }
        enum smtp_client_event_kind kind = client_mail_pending(c, ev);
        if (kind != SMTP_CLIENT_IDLE)
            return kind;
        if (c->ready_due) {
            c->ready_due = false;
            client_stage(c, STAGE_READY);
            release_idle(c);
            return SMTP_CLIENT_READY;
        }
        size_t before = vr_buf_size(&c->in);
        if (before > 0) {
            bool awaits = stages[c->stage].run != NULL;
            kind = awaits ? one_reply(c, ev) : uncalled(c, ev);
            if (kind != SMTP_CLIENT_IDLE)
                return kind;
            if (vr_buf_size(&c->in) != before || c->ready_due)
                continue;
        }
        if (!c->eof)
            return SMTP_CLIENT_IDLE;
        return lost(c, ev);
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------------- */

int64_t smtp_client_deadline(const struct smtp_client *c)
{
    if (stages[c->stage].timeout_ms == 0)
        return INT64_MAX;
    return c->since + (c->config->timeout_ms > 0 ? c->config->timeout_ms : stages[c->stage].timeout_ms);
}

void smtp_client_tick(struct smtp_client *c, int64_t now_ms)
{
    c->now = now_ms;
    if (now_ms < smtp_client_deadline(c) || c->failed_due)
        return;
    const char *waiting = stages[c->stage].waiting;
    client_fail(c, &c->failure, "4.4.2", false, waiting);
    c->failed_due = true;
}

/* ---- what the owner asks ------------------------------------------------------------------------------------------------ */

void smtp_client_secured(struct smtp_client *c, int64_t now_ms)
{
    assert(c->stage == STAGE_SECURING);
    c->now = now_ms;
    c->tls = true;
    client_say_hello(c); /* RFC 3207 §4.2: what was learnt before TLS is forgotten */
}

void smtp_client_quit(struct smtp_client *c, int64_t now_ms)
{
    c->now = now_ms;
    if (c->stage == STAGE_DEAD)
        return;
    client_line(c, "QUIT\r\n");
    client_stage(c, STAGE_QUIT);
}

unsigned smtp_client_offers(const struct smtp_client *c)
{
    return c->offers;
}

uint64_t smtp_client_size_limit(const struct smtp_client *c)
{
    return c->size_limit;
}
