/* client.c - the client engine: bytes, time, and the turn from one event to the next.
 *
 * States:  GREETING -> EHLO (-> HELO) (-> STARTTLS -> SECURING -> EHLO) (-> AUTH) -> READY -> MAIL -> RCPT -> DATA -> BODY -> DOT -> READY
 *          by BDAT: RCPT -> CHUNKS -> LAST -> READY, or -> DRAIN when a chunk was refused
 *          READY -> ASK -> READY, for a command of the owner's; a transaction that failed goes by RSET to READY; any -> DEAD [FAILED, CLOSED]
 * Invariants: (1) a reply counts only for a command that has left: what comes uncalled or early is a fault, unless it is a 4xx or 5xx that
 *          ends the session (2) nothing that came before TLS is looked at after it (3) after FAILED or CLOSED no event comes (4) while
 *          idle in READY the engine holds no buffers.
 * Tests:   tests/unit/smtp_client.c, tests/unit/smtp_pair.c, tests/fuzz/fuzz_smtp_client.c
 */
#include "client_inside.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MINUTE     60000
#define INPUT_MAX  (8u << 20)   /* the replies to a group of many recipients, should they come at once */
#define OUTPUT_MAX (256u << 20) /* an owner that never sends: FAILED */
#define TEXT_MAX   (CLIENT_REPLY_LINES * (CLIENT_REPLY_LINE + 1))
#define OUT_KEPT   (256u << 10) /* an emptied buffer larger than this is given back at once */
#define RCPT_LEAST 12           /* octets of the shortest RCPT */

static client_on_reply on_quit, on_answer;

/* RFC 5321 §4.5.3.2: how long each reply may take, and who acts on it. */
static const struct {
    const char *command;
    const char *doing; /* "timed out …" */
    int64_t timeout_ms;
    client_on_reply *run; /* NULL: no reply is awaited */
} stages[] = {
    [STAGE_GREETING] = {"greeting", "waiting for the greeting", 5 * MINUTE, client_on_greeting},
    [STAGE_EHLO] = {"EHLO", "waiting for the reply to EHLO", 5 * MINUTE, client_on_ehlo},
    [STAGE_HELO] = {"HELO", "waiting for the reply to HELO", 5 * MINUTE, client_on_helo},
    [STAGE_STARTTLS] = {"STARTTLS", "waiting for the reply to STARTTLS", 5 * MINUTE, client_on_starttls},
    [STAGE_SECURING] = {"STARTTLS", "in the TLS handshake", 1 * MINUTE, NULL},
    [STAGE_AUTH] = {"AUTH", "waiting for the reply to AUTH", 5 * MINUTE, client_on_auth},
    [STAGE_READY] = {"", "idle", 0, NULL},
    [STAGE_MAIL] = {"MAIL", "waiting for the reply to MAIL", 5 * MINUTE, client_on_mail},
    [STAGE_RCPT] = {"RCPT", "waiting for the reply to RCPT", 5 * MINUTE, client_on_rcpt},
    [STAGE_DATA] = {"DATA", "waiting for the reply to DATA", 2 * MINUTE, client_on_data},
    [STAGE_BODY] = {"DATA", "sending the message", 3 * MINUTE, NULL},
    [STAGE_DOT] = {".", "waiting for the reply to the end of the message", 10 * MINUTE, client_on_dot},
    [STAGE_CHUNKS] = {"BDAT", "sending the message in chunks", 3 * MINUTE, client_on_chunk},
    [STAGE_LAST] = {"BDAT", "waiting for the reply to the end of the message", 10 * MINUTE, client_on_dot},
    [STAGE_DRAIN] = {"BDAT", "waiting for the replies behind a refused chunk", 3 * MINUTE, client_on_drain},
    [STAGE_RSET] = {"RSET", "waiting for the reply to RSET", 5 * MINUTE, client_on_rset},
    [STAGE_ASK] = {"command", "waiting for the reply to a command", 5 * MINUTE, on_answer},
    [STAGE_QUIT] = {"QUIT", "waiting for the reply to QUIT", MINUTE / 2, on_quit},
    [STAGE_DEAD] = {"", "", 0, NULL},
};

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
    vr_buf_init(&c->chunk, OUTPUT_MAX);
    return c;
}

void smtp_client_free(struct smtp_client *c)
{
    if (c == NULL)
        return;
    sasl_client_free(c->sasl);
    if ((c->config->user.n > 0 || c->config->token.n > 0) && c->out.p != NULL)
        explicit_bzero(c->out.p, c->out.capacity); /* a password may wait there */
    explicit_bzero(c->bound, sizeof c->bound);
    vr_buf_fini(&c->in);
    vr_buf_fini(&c->out);
    vr_buf_fini(&c->text);
    vr_buf_fini(&c->chunk);
    free(c->taken);
    free(c);
}

void client_stage(struct smtp_client *c, enum client_stage stage)
{
    c->stage = stage;
    c->since = c->now;
}

/* ---- verdicts ------------------------------------------------------------------------------------------------------- */

void client_reply_event(struct smtp_client *c, struct smtp_client_event *ev, const struct client_reply *r)
{
    ev->code = r->code;
    ev->text = r->text;
    ev->permanent = r->code >= 500;
    ev->command = stages[c->stage].command;
    if (!dsn_status_find(r->text, &ev->enhanced) ||
        ev->enhanced.p[0] - '0' != r->code / 100) /* RFC 2034 §4 */
        ev->enhanced = vr_str(NULL, 0);
}

/* The dot is sent when the last byte has left: a server cannot take what it has not got. */
bool smtp_client_sent_dot(const struct smtp_client *c)
{
    return (c->stage == STAGE_DOT || c->stage == STAGE_LAST) && !c->tx.swallow && vr_buf_size(&c->out) == 0;
}

static void fail_own(struct smtp_client *c, struct smtp_client_event *ev, const char *enhanced)
{
    *ev = (struct smtp_client_event){.index = SIZE_MAX,
                                     .enhanced = vr_str_from(enhanced),
                                     .text = vr_str_from(c->own),
                                     .command = stages[c->stage].command,
                                     .sent_dot = smtp_client_sent_dot(c)};
    c->stage = STAGE_DEAD;
}

enum smtp_client_event_kind client_fail(struct smtp_client *c, struct smtp_client_event *ev,
                                        const char *enhanced, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(c->own, sizeof c->own, format, list);
    va_end(list);
    fail_own(c, ev, enhanced);
    return SMTP_CLIENT_FAILED;
}

void client_fail_later(struct smtp_client *c, const char *enhanced, const char *text)
{
    if (c->failed_due || c->stage == STAGE_DEAD)
        return;
    client_fail(c, &c->failure, enhanced, "%s", text);
    c->failed_due = true;
}

enum smtp_client_event_kind client_fail_reply(struct smtp_client *c, struct smtp_client_event *ev,
                                              const struct client_reply *r)
{
    client_reply_event(c, ev, r);
    ev->index = SIZE_MAX;
    ev->sent_dot = smtp_client_sent_dot(c);
    c->stage = STAGE_DEAD;
    return SMTP_CLIENT_FAILED;
}

enum smtp_client_event_kind client_fail_odd(struct smtp_client *c, struct smtp_client_event *ev,
                                            const struct client_reply *r)
{
    return client_fail(c, ev, "4.5.0", "the server replied %u to %s, which has no meaning there", r->code,
                       stages[c->stage].command);
}

void client_leave(struct smtp_client *c)
{
    if (vr_buf_size(&c->out) == 0)
        vr_buf_add(&c->out, VR_STR("QUIT\r\n"));
}

/* ---- bytes ---------------------------------------------------------------------------------------------------------- */

void smtp_client_feed(struct smtp_client *c, struct vr_str in, int64_t now_ms)
{
    c->now = now_ms;
    if (c->stage == STAGE_DEAD || in.n == 0)
        return;
    if (c->stage == STAGE_SECURING) /* invariant (2): injected behind the 220, to be believed under TLS */
        client_fail_later(c, "4.7.0", "the server sent something in clear behind its reply to STARTTLS");
    else if (!vr_buf_add(&c->in, in))
        client_fail_later(c, "4.5.0", "the server sends far more than it was asked for");
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
    if (c->stage == STAGE_AUTH && n > 0)
        explicit_bzero(c->out.p + c->out.start, n); /* a password may stand there */
    vr_buf_consume(&c->out, n);
    if ((c->stage == STAGE_BODY || c->stage == STAGE_CHUNKS || c->stage == STAGE_DRAIN) && n > 0)
        c->since = c->now; /* the clock of a block runs only while nothing moves */
    if (vr_buf_size(&c->out) == 0 && c->out.capacity > OUT_KEPT)
        vr_buf_release(&c->out);
}

static void release_idle(struct smtp_client *c)
{
    if (vr_buf_size(&c->in) > 0 || c->begun)
        return;
    vr_buf_release(&c->in);
    vr_buf_release(&c->text);
    vr_buf_release(&c->chunk);
    if (vr_buf_size(&c->out) == 0)
        vr_buf_release(&c->out);
    free(c->taken);
    c->taken = NULL;
    c->taken_size = 0;
}

/* ---- replies -------------------------------------------------------------------------------------------------------- */

static enum smtp_client_event_kind on_quit(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    client_reply_event(c, ev, r);
    c->stage = STAGE_DEAD;
    return SMTP_CLIENT_CLOSED;
}

static enum smtp_client_event_kind on_answer(struct smtp_client *c, const struct client_reply *r,
                                             struct smtp_client_event *ev)
{
    if (r->code / 100 == 3)
        return client_fail_odd(c, ev, r);
    client_reply_event(c, ev, r);
    c->ready_due = true;
    return SMTP_CLIENT_ANSWER;
}

/* Invariant (1): has the command to which this reply would count not left yet? In a group, at least as much as its first commands need must
 * have. */
static bool is_early(const struct smtp_client *c)
{
    const struct client_transaction *t = &c->tx;
    size_t unsent = vr_buf_size(&c->out);
    if (c->stage == STAGE_CHUNKS || c->stage == STAGE_DRAIN)
        return client_chunks_early(c);
    if (unsent > 0 && t->grouped && c->stage == STAGE_MAIL)
        return t->size - unsent < t->mail_size;
    if (unsent > 0 && t->grouped && c->stage == STAGE_RCPT)
        return t->size - unsent < t->mail_size + RCPT_LEAST * (t->rcpts_replied + 1);
    return unsent > 0 || stages[c->stage].run == NULL;
}

static enum smtp_client_event_kind act(struct smtp_client *c, struct smtp_client_event *ev)
{
    const struct client_reply *r = &c->reply;
    c->held = false;
    c->since = c->now;
    if (c->stage == STAGE_QUIT)
        return on_quit(c, r, ev);
    if (r->code == 421 || (c->early && r->code >= 400))
        return client_fail_reply(c, ev, r);
    if (c->early)
        return client_fail(c, ev, "4.5.0", "the server replied %u before it was asked anything", r->code);
    return stages[c->stage].run(c, r, ev);
}

/* Reads what is there; *progress tells whether it was a whole reply. */
static enum smtp_client_event_kind read_reply(struct smtp_client *c, struct smtp_client_event *ev,
                                              bool *progress)
{
    const char *why = "";
    *progress = false;
    if (vr_buf_size(&c->in) == 0)
        return SMTP_CLIENT_IDLE;
    if (!c->begun) { /* its first byte decides, so that pieces make no difference */
        c->begun = true;
        c->early = is_early(c);
    }
    int verdict = client_reply_read(c, &c->reply, &why);
    if (verdict == 0)
        return SMTP_CLIENT_IDLE;
    if (verdict < 0)
        return client_fail(c, ev, "4.5.0", "%s", why);
    *progress = c->held = true;
    c->begun = false;
    if (!c->config->trace)
        return act(c, ev);
    client_reply_event(c, ev, &c->reply);
    return SMTP_CLIENT_REPLY;
}

static enum smtp_client_event_kind lost(struct smtp_client *c, struct smtp_client_event *ev)
{
    if (c->stage == STAGE_QUIT) {
        ev->command = stages[c->stage].command;
        c->stage = STAGE_DEAD;
        return SMTP_CLIENT_CLOSED;
    }
    return client_fail(c, ev, "4.4.2", "the server closed the connection while we were %s%s",
                       stages[c->stage].doing,
                       smtp_client_sent_dot(c) ? "; whether it took the message is unknown" : "");
}

enum smtp_client_event_kind smtp_client_next(struct smtp_client *c, struct smtp_client_event *ev)
{
    *ev = (struct smtp_client_event){.index = SIZE_MAX};
    for (;;) {
        if (c->failed_due) {
            c->failed_due = false;
            *ev = c->failure;
            return SMTP_CLIENT_FAILED;
        }
        if (c->stage == STAGE_DEAD)
            return SMTP_CLIENT_IDLE;
        if (c->held) {
            enum smtp_client_event_kind told = act(c, ev);
            if (told != SMTP_CLIENT_IDLE)
                return told;
            continue;
        }
        enum smtp_client_event_kind kind = client_mail_pending(c, ev);
        if (kind != SMTP_CLIENT_IDLE)
            return kind;
        if (c->ready_due) {
            c->ready_due = false;
            client_stage(c, STAGE_READY);
            return SMTP_CLIENT_READY;
        }
        bool progress;
        kind = read_reply(c, ev, &progress);
        if (kind != SMTP_CLIENT_IDLE)
            return kind;
        if (progress)
            continue;
        if (c->eof)
            return lost(c, ev);
        if (c->stage == STAGE_READY)
            release_idle(c); /* invariant (4) */
        return SMTP_CLIENT_IDLE;
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------------- */

int64_t smtp_client_deadline(const struct smtp_client *c)
{
    int64_t timeout = stages[c->stage].timeout_ms;
    if (timeout == 0)
        return INT64_MAX;
    return c->since + (c->config->timeout_ms > 0 ? c->config->timeout_ms : timeout);
}

void smtp_client_tick(struct smtp_client *c, int64_t now_ms)
{
    c->now = now_ms;
    if (stages[c->stage].timeout_ms == 0 || now_ms < smtp_client_deadline(c) || c->failed_due)
        return;
    client_fail(c, &c->failure, "4.4.2", "timed out %s", stages[c->stage].doing);
    c->failed_due = true;
}

/* ---- what the owner asks ------------------------------------------------------------------------------------------------ */

static struct vr_str keep(char room[SASL_BINDING_MAX], struct vr_str data)
{
    if (data.n == 0 || data.n > SASL_BINDING_MAX)
        return vr_str(NULL, 0);
    memcpy(room, data.p, data.n);
    return vr_str(room, data.n);
}

void smtp_client_binding(struct smtp_client *c, const struct sasl_binding *b)
{
    c->binding = (struct sasl_binding){.tls_exporter = keep(c->bound[0], b->tls_exporter),
                                       .tls_unique = keep(c->bound[1], b->tls_unique),
                                       .tls_server_end_point = keep(c->bound[2], b->tls_server_end_point)};
}

void smtp_client_secured(struct smtp_client *c, int64_t now_ms)
{
    c->now = now_ms;
    if (c->stage == STAGE_DEAD)
        return;
    assert(c->stage == STAGE_SECURING);
    c->tls = true;
    client_say_hello(c); /* RFC 3207 §4.2: what was learnt before TLS is forgotten */
}

bool smtp_client_ask(struct smtp_client *c, struct vr_str line, int64_t now_ms)
{
    c->now = now_ms;
    for (size_t i = 0; i < line.n; i++)
        if ((unsigned char)line.p[i] < 0x20 || line.p[i] == 0x7f)
            return false;
    if (line.n == 0 || line.n > SMTP_LINE_MAX - 2)
        return false;
    if (c->stage == STAGE_DEAD)
        return true;
    assert(c->stage == STAGE_READY);
    vr_buf_add(&c->out, line);
    vr_buf_add(&c->out, VR_STR("\r\n"));
    client_stage(c, STAGE_ASK);
    return true;
}

void smtp_client_quit(struct smtp_client *c, int64_t now_ms)
{
    c->now = now_ms;
    if (c->stage == STAGE_DEAD)
        return;
    assert(c->stage == STAGE_READY);
    vr_buf_add(&c->out, VR_STR("QUIT\r\n"));
    client_stage(c, STAGE_QUIT);
}

unsigned smtp_client_offers(const struct smtp_client *c)
{
    return c->offers;
}

const struct smtp_client_limits *smtp_client_limits(const struct smtp_client *c)
{
    return &c->limits;
}
