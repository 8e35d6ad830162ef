/* server.c - the server engine: input, output, time, and the turn from one to the next event.
 *
 * Invariants: those of smtp_server.h. Further: (5) `awaiting` != IDLE means that no input is looked at (6) after CLOSE nothing happens.
 * States:     SILENT -> COMMANDS [smtp_server_greet] -> IN_AUTH [server_command AUTH] -> COMMANDS [smtp_server_answer]
 *             COMMANDS -> IN_DATA [answer to DATA] -> COMMANDS [answer to DATA_END] ; COMMANDS -> IN_CHUNK [BDAT] -> COMMANDS [its octets] ; COMMANDS -> SECURING [STARTTLS] -> COMMANDS
 *             [smtp_server_secured] ; any -> CLOSED [CLOSE returned]
 * Tests:      tests/unit/smtp_server.c, tests/transcripts/server/, tests/fuzz/fuzz_smtp_server.c
 */
#include "server_inside.h"

#include <assert.h>
#include <stdlib.h>

#define TRANSACTION_MAX (1u << 20)
#define ERRORS_MAX      20
#define COMMANDS_MAX    1000
#define FIVE_MINUTES_MS 300000 /* RFC 5321 §4.5.3.2.7 */
#define SKIPPED_MAX     (64u << 10)
#define INPUT_KEPT      4096 /* buffers up to this size are kept between commands of a busy session */

static const struct smtp_reply too_long = {500, "5.5.2", VR_STR_INIT("the command line is too long")};

struct smtp_server *smtp_server_new(const struct smtp_server_config *config, bool tls, int64_t now_ms)
{
    struct smtp_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->config = config;
    s->tls = tls;
    s->now = s->since = now_ms;
    vr_buf_init(&s->in, SERVER_INPUT_MAX);
    vr_buf_init(&s->out, SERVER_OUTPUT_MAX);
    vr_arena_init(&s->arena, TRANSACTION_MAX);
    server_forward_init(s);
    return s;
}

void smtp_server_free(struct smtp_server *s)
{
    if (s == NULL)
        return;
    server_forget_secret(s);
    vr_buf_fini(&s->in);
    vr_buf_fini(&s->out);
    vr_arena_fini(&s->arena);
    vr_arena_fini(&s->forward_arena);
    free(s);
}

/* ---- replies ------------------------------------------------------------------------------------------------------ */

static void add_text(struct vr_buf *out, struct vr_str text)
{
    bool clean = true;
    for (size_t i = 0; i < text.n; i++)
        clean = clean && (unsigned char)text.p[i] >= 0x20 && text.p[i] != 0x7f;
    if (clean) {
        vr_buf_add(out, text);
        return;
    }
    for (size_t i = 0; i < text.n; i++)
        vr_buf_add_byte(out, (unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f ? '?' : text.p[i]);
}

void server_reply(struct smtp_server *s, struct smtp_reply r)
{
    struct vr_str rest = r.text, line;
    char code[4] = {(char)('0' + r.code / 100 % 10), (char)('0' + r.code / 10 % 10),
                    (char)('0' + r.code % 10), ' '};
    do {
        size_t lf = vr_str_find(rest, '\n');
        line = vr_str_sub(rest, 0, lf);
        rest = lf == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(rest, lf + 1);
        code[3] = rest.n == 0 ? ' ' : '-'; /* a line end at the very end begins no line */
        vr_buf_add(&s->out, vr_str(code, 4));
        if (r.enhanced != NULL && r.enhanced[0] != '\0') {
            vr_buf_add(&s->out, vr_str_from(r.enhanced));
            vr_buf_add_byte(&s->out, ' ');
        }
        add_text(&s->out, vr_str_sub(line, 0, SMTP_REPLY_LINE_MAX - 20)); /* §4.5.3.1.5 */
        vr_buf_add(&s->out, VR_STR("\r\n"));
    } while (code[3] == '-');
    if (s->out.too_big) /* a client that never reads: nothing said to it matters any more */
        server_close(s, 421);
}

void server_close(struct smtp_server *s, uint16_t code)
{
    if (!s->close_due)
        s->close_code = code;
    s->close_due = true;
    s->awaiting = SMTP_SERVER_IDLE;
}

static unsigned or_default(unsigned configured, unsigned fallback)
{
    return configured > 0 ? configured : fallback;
}

void server_count_refusal(struct smtp_server *s, struct smtp_reply r)
{
    if (r.code < 400 || ++s->errors < or_default(s->config->error_max, ERRORS_MAX))
        return;
    server_reply(s, SMTP_REPLY(421, "4.7.0", "too many errors; closing"));
    server_close(s, 421);
}

enum smtp_server_event_kind server_refuse(struct smtp_server *s, struct smtp_server_event *ev,
                                          struct vr_str line, struct smtp_reply r)
{
    ev->refusal = r;
    ev->data = line;
    server_reply(s, r);
    server_count_refusal(s, r);
    return SMTP_SERVER_COMMAND_REFUSED;
}

void server_greeting(struct smtp_server *s, struct smtp_reply r)
{
    struct vr_str host = s->config->hostname;
    vr_buf_addf(&s->out, "%u %.*s ", r.code, VR_STR_ARG(host));
    if (r.code == 220) {
        vr_buf_addf(&s->out, "%s", s->config->lmtp ? "LMTP" : "ESMTP");
        if (s->config->banner.n > 0 || r.text.n > 0)
            vr_buf_add_byte(&s->out, ' ');
        add_text(&s->out, r.text.n > 0 ? r.text : s->config->banner);
    } else {
        add_text(&s->out, r.text);
    }
    vr_buf_add(&s->out, VR_STR("\r\n"));
}

void smtp_server_greet(struct smtp_server *s, struct smtp_reply r)
{
    assert(s->state == SERVER_SILENT);
    server_greeting(s, r);
    s->state = r.code == 220 ? SERVER_COMMANDS : SERVER_REFUSED;
    s->since = s->now;
    if (r.code == 421)
        server_close(s, 421);
}

/* ---- transactions ------------------------------------------------------------------------------------------------- */

void server_transaction_end(struct smtp_server *s)
{
    s->in_mail = s->by_bdat = false;
    s->rcpts = 0;
    s->mail = (struct smtp_mail){0};
    vr_arena_reset(&s->arena);
    server_forward_end(s);
}

/* Credentials are wiped, and an idle session keeps no arena (invariant 4). */
void server_forget_secret(struct smtp_server *s)
{
    if (s->secret.n > 0)
        explicit_bzero((char *)s->secret.p, s->secret.n);
    s->secret = vr_str(NULL, 0);
    if (!s->in_mail)
        vr_arena_reset(&s->arena);
}

struct vr_str server_mechanisms(const struct smtp_server *s)
{
    return s->own_mechanisms ? s->mechanisms : s->config->auth_mechanisms;
}

bool server_auth_offered(const struct smtp_server *s)
{
    return server_mechanisms(s).n > 0 && (s->tls || s->config->auth_in_clear);
}

enum smtp_server_event_kind server_await(struct smtp_server *s, enum smtp_server_event_kind kind)
{
    s->awaiting = kind;
    return kind;
}

/* ---- input -------------------------------------------------------------------------------------------------------- */

static bool takes_text(const struct smtp_server *s)
{
    return s->state == SERVER_IN_DATA || s->state == SERVER_IN_CHUNK;
}

/* Gives back what the last event pointed into. */
static void settle_taken(struct smtp_server *s)
{
    vr_buf_consume(&s->in, s->take);
    s->take = 0;
    if (vr_buf_size(&s->in) == 0 && s->in.capacity > 0 && (!takes_text(s) || s->in.capacity > SERVER_BLOCKED))
        vr_buf_release(&s->in);
}

void smtp_server_feed(struct smtp_server *s, struct vr_str in, int64_t now_ms)
{
    s->now = now_ms;
    if (s->state == SERVER_SECURING || s->state == SERVER_CLOSED || s->close_due)
        return; /* invariant (3): what comes behind STARTTLS in clear is nobody's */
    if (takes_text(s) && s->awaiting == SMTP_SERVER_IDLE)
        s->since = now_ms;
    if (s->take > 0)
        settle_taken(s);
    if (!vr_buf_add(&s->in, in)) { /* the owner fed on although smtp_server_blocked() */
        server_reply(s, SMTP_REPLY(421, "4.7.0", "too much input ahead of the replies; closing"));
        server_close(s, 421);
    }
}

void smtp_server_allow_bare_lf(struct smtp_server *s, bool allowed)
{
    s->bare_lf = allowed;
}

void smtp_server_eof(struct smtp_server *s)
{
    s->eof = true;
}

bool smtp_server_blocked(const struct smtp_server *s)
{
    return vr_buf_size(&s->in) > SERVER_BLOCKED;
}

/* The next line that CRLF ends (invariant 2; LF too where that is allowed). Its bytes with its end are *length. */
static bool find_line(struct smtp_server *s, struct vr_str *line, size_t *length)
{
    struct vr_str in = vr_buf_str(&s->in);
    size_t from = s->scanned;
    for (;;) {
        size_t lf = vr_str_find(vr_str_from_pos(in, from), '\n');
        if (lf == VR_NPOS)
            break;
        lf += from;
        bool crlf = lf > 0 && in.p[lf - 1] == '\r';
        if (crlf || s->bare_lf) {
            *line = vr_str_sub(in, 0, crlf ? lf - 1 : lf);
            *length = lf + 1;
            s->scanned = 0;
            return true;
        }
        from = lf + 1;
    }
    s->scanned = in.n;
    return false;
}

static enum smtp_server_event_kind close_endless_line(struct smtp_server *s, struct smtp_server_event *ev)
{
    server_reply(s, too_long);
    server_reply(s, SMTP_REPLY(421, "4.7.0", "the line has no end; closing"));
    server_close(s, 421);
    ev->refusal = too_long;
    return SMTP_SERVER_COMMAND_REFUSED;
}

/* A line that no limit allows is dropped as it comes, so that memory stays flat; its last byte may be the CR of its end. */
static enum smtp_server_event_kind skip_long_line(struct smtp_server *s, struct smtp_server_event *ev)
{
    struct vr_str in = vr_buf_str(&s->in);
    if (!s->skipping && s->state == SERVER_COMMANDS && server_is_bdat(s, in))
        return server_bdat_bad(s, in, ev);
    s->skipping = true;
    size_t drop = in.n > 0 && in.p[in.n - 1] == '\r' ? in.n - 1 : in.n;
    s->skipped += drop;
    vr_buf_consume(&s->in, drop);
    s->scanned = 0;
    return s->skipped <= SKIPPED_MAX ? SMTP_SERVER_IDLE : close_endless_line(s, ev);
}

static bool has_stray_bytes(struct vr_str line)
{
    return vr_str_find(line, '\n') != VR_NPOS || vr_str_find(line, '\r') != VR_NPOS ||
           vr_str_find(line, '\0') != VR_NPOS;
}

static enum smtp_server_event_kind next_line(struct smtp_server *s, struct smtp_server_event *ev)
{
    struct vr_str line;
    size_t length;
    if (!find_line(s, &line, &length))
        return s->skipping || vr_buf_size(&s->in) > SMTP_AUTH_LINE_MAX ? skip_long_line(s, ev)
                                                                       : SMTP_SERVER_IDLE;
    s->take = length;
    s->since = s->now;
    bool in_auth = s->state == SERVER_IN_AUTH;
    if (s->state == SERVER_COMMANDS && !s->skipping && server_is_bdat(s, line) &&
        (length > SMTP_LINE_MAX || has_stray_bytes(line)))
        return server_bdat_bad(s, line, ev);
    if (s->skipped + line.n > SKIPPED_MAX) /* as if it had come in small pieces */
        return close_endless_line(s, ev);
    if (s->skipping || length > (in_auth ? SMTP_AUTH_LINE_MAX : server_line_max(line))) {
        s->skipping = false;
        s->skipped = 0;
        if (in_auth)
            s->state = SERVER_COMMANDS;
        enum smtp_server_event_kind kind = server_refuse(
            s, ev, in_auth ? VR_STR("AUTH") : vr_str_sub(server_loggable(line), 0, 64), too_long);
        return in_auth ? SMTP_SERVER_AUTH_CANCEL : kind;
    }
    if (in_auth)
        return server_auth_line(s, line, ev);
    if (has_stray_bytes(line))
        return server_refuse(
            s, ev, server_loggable(line),
            SMTP_REPLY(500, "5.5.2", "a bare CR, a bare LF or a NUL in the command; lines end in CR LF"));
    if (++s->commands > or_default(s->config->command_max, COMMANDS_MAX)) {
        server_reply(s, SMTP_REPLY(421, "4.7.0", "too many commands without a message; closing"));
        server_close(s, 421);
        return SMTP_SERVER_IDLE;
    }
    return server_command(s, line, ev);
}

static enum smtp_server_event_kind close_event(struct smtp_server *s, struct smtp_server_event *ev)
{
    if (s->in_mail) {
        server_transaction_end(s);
        return SMTP_SERVER_RESET;
    }
    s->state = SERVER_CLOSED;
    vr_buf_release(&s->in);
    s->take = s->scanned = 0;
    ev->refusal = (struct smtp_reply){s->close_code, NULL, vr_str(NULL, 0)};
    return SMTP_SERVER_CLOSE;
}

enum smtp_server_event_kind smtp_server_next(struct smtp_server *s, struct smtp_server_event *ev)
{
    *ev = (struct smtp_server_event){0};
    for (;;) {
        if (s->awaiting != SMTP_SERVER_IDLE || s->state == SERVER_CLOSED)
            return SMTP_SERVER_IDLE;
        settle_taken(s);
        if (!s->close_due && s->shutdown && !s->in_mail && s->state != SERVER_SECURING) {
            if (s->state != SERVER_SILENT)
                server_reply(s, s->shutdown_reply);
            server_close(s, 421);
        }
        if (s->close_due)
            return close_event(s, ev);
        if (s->state == SERVER_SILENT || s->state == SERVER_SECURING) {
            if (!s->eof)
                return SMTP_SERVER_IDLE;
            server_close(s, 0);
            continue;
        }
        enum server_state before = s->state;
        enum smtp_server_event_kind kind = before == SERVER_IN_DATA    ? server_data_next(s, ev)
                                           : before == SERVER_IN_CHUNK ? server_bdat_next(s, ev)
                                                                       : next_line(s, ev);
        if (kind != SMTP_SERVER_IDLE)
            return kind;
        if (s->close_due || s->take > 0 || s->state != before)
            continue; /* a line or a chunk was served without an event */
        if (!s->eof)
            return SMTP_SERVER_IDLE;
        server_close(s, 0);
    }
}

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static void answer_mail(struct smtp_server *s, struct smtp_reply r)
{
    s->in_mail = r.code / 100 == 2;
    if (!s->in_mail)
        server_transaction_end(s);
    server_reply(s, r);
    server_count_refusal(s, r);
}

static void answer_rcpt(struct smtp_server *s, struct smtp_reply r)
{
    if (r.code / 100 == 2) {
        s->rcpts++;
        s->commands--; /* a message to many is no flood; rcpt_max bounds it */
    }
    server_reply(s, r);
    server_count_refusal(s, r);
}

static void answer_data(struct smtp_server *s, struct smtp_reply r)
{
    if (s->state == SERVER_IN_CHUNK) {
        server_bdat_answered(s, r);
        return;
    }
    if (r.code != 0 && r.code != 354) {
        server_reply(s, r);
        server_count_refusal(s, r);
        return;
    }
    server_reply(s, r.code == 354 ? r
                                  : SMTP_REPLY(354, NULL,
                                               "send the message; end it with a line that holds only a dot"));
    server_data_begin(s);
}

static void answer_data_end(struct smtp_server *s, struct smtp_reply r)
{
    server_reply(s, r);
    if (s->config->lmtp && --s->replies_due > 0) {
        s->awaiting = SMTP_SERVER_DATA_END; /* one for each recipient, RFC 2033 §4.2 */
        return;
    }
    if (r.code / 100 == 2)
        s->commands = 0;
    server_transaction_end(s);
    s->state = SERVER_COMMANDS;
    server_count_refusal(s, r);
}

static void answer_auth(struct smtp_server *s, struct smtp_reply r)
{
    server_forget_secret(s);
    s->state = SERVER_COMMANDS;
    s->authenticated = r.code == 235;
    server_reply(s, r);
    server_count_refusal(s, r);
}

void smtp_server_answer(struct smtp_server *s, struct smtp_reply r, int64_t now_ms)
{
    enum smtp_server_event_kind asked = s->awaiting;
    assert(asked != SMTP_SERVER_IDLE || s->close_due);
    s->awaiting = SMTP_SERVER_IDLE;
    s->now = s->since = now_ms;
    if (s->close_due)
        return; /* closed meanwhile (too much output): nobody hears the answer */
    switch (asked) {
    case SMTP_SERVER_EHLO:
        server_answer_ehlo(s, r);
        break;
    case SMTP_SERVER_MAIL:
        answer_mail(s, r);
        break;
    case SMTP_SERVER_RCPT:
        answer_rcpt(s, r);
        break;
    case SMTP_SERVER_DATA:
        answer_data(s, r);
        break;
    case SMTP_SERVER_DATA_END:
        answer_data_end(s, r);
        break;
    case SMTP_SERVER_AUTH:
    case SMTP_SERVER_AUTH_RESPONSE:
        answer_auth(s, r);
        break;
    case SMTP_SERVER_XCLIENT:
        server_answer_xclient(s, r);
        break;
    default:
        server_reply(s, r);
        server_count_refusal(s, r);
        break;
    }
}

void smtp_server_challenge(struct smtp_server *s, struct vr_str challenge, int64_t now_ms)
{
    assert(s->awaiting == SMTP_SERVER_AUTH || s->awaiting == SMTP_SERVER_AUTH_RESPONSE);
    server_forget_secret(s);
    s->awaiting = SMTP_SERVER_IDLE;
    s->now = s->since = now_ms;
    s->state = SERVER_IN_AUTH;
    vr_buf_add(&s->out, VR_STR("334 "));
    vr_base64_encode(&s->out, challenge);
    vr_buf_add(&s->out, VR_STR("\r\n"));
}

void smtp_server_secured(struct smtp_server *s, int64_t now_ms)
{
    assert(s->state == SERVER_SECURING);
    s->tls = true;
    s->state = SERVER_COMMANDS;
    s->greeted = s->extended = s->authenticated = s->spoiled = false;
    s->now = s->since = now_ms;
}

/* ---- output and time ---------------------------------------------------------------------------------------------- */

struct vr_str smtp_server_pending(const struct smtp_server *s)
{
    return vr_buf_str(&s->out);
}

void smtp_server_sent(struct smtp_server *s, size_t n)
{
    vr_buf_consume(&s->out, n);
    if (vr_buf_size(&s->out) == 0)
        vr_buf_release(&s->out);
}

int64_t smtp_server_deadline(const struct smtp_server *s)
{
    if (s->awaiting != SMTP_SERVER_IDLE || s->state == SERVER_CLOSED || s->state == SERVER_SILENT ||
        s->state == SERVER_SECURING)
        return INT64_MAX;
    int64_t configured = takes_text(s) ? s->config->data_timeout_ms : s->config->command_timeout_ms;
    return s->since + (configured > 0 ? configured : FIVE_MINUTES_MS);
}

void smtp_server_tick(struct smtp_server *s, int64_t now_ms)
{
    s->now = now_ms;
    if (s->close_due || now_ms < smtp_server_deadline(s))
        return;
    server_reply(s, SMTP_REPLY(421, "4.4.2", "nothing heard for too long; closing"));
    server_close(s, 421);
}

void smtp_server_shutdown(struct smtp_server *s, struct smtp_reply r)
{
    s->shutdown = true;
    s->shutdown_reply = r;
}

bool smtp_server_in_transaction(const struct smtp_server *s)
{
    return s->in_mail;
}

bool smtp_server_is_extended(const struct smtp_server *s)
{
    return s->extended;
}

void smtp_server_offer_auth(struct smtp_server *s, struct vr_str mechanisms)
{
    s->mechanisms = mechanisms;
    s->own_mechanisms = true;
}

bool smtp_server_authenticated(const struct smtp_server *s)
{
    return s->authenticated;
}

unsigned smtp_server_rcpt_count(const struct smtp_server *s)
{
    return s->rcpts;
}
