/* server_data.c - the text of a message: line ends, dots, limits (RFC 5321 §4.5.2, §4.5.3.1.6, §6.3).
 *
 * Works on whole lines found by memchr and hands on the longest stretches that need no change. Only CRLF ends a line and only CRLF.CRLF the
 * message; a bare CR or LF makes the message refused, but it is read to its true end, so that what hides in it is never taken for commands.
 * Where the owner allowed it (smtp_server_allow_bare_lf), LF alone is a line end like CRLF, and is handed on as CRLF.
 * Tests: tests/transcripts/server/, tests/unit/smtp_server.c
 */
#include "server_inside.h"

static const struct vr_str crlf = VR_STR_INIT("\r\n");

#define PARTIAL_MAX 4096 /* a longer line is handed on before its end is seen */

void server_data_begin(struct smtp_server *s)
{
    s->state = SERVER_IN_DATA;
    s->scanned = 0;
    s->owes_crlf = false;
    server_text_begin(s);
}

/* The next byte begins a line. */
static bool at_line(const struct smtp_server *s)
{
    return s->text.line == 0;
}

/* LF stands alone at its end, and that is allowed. */
static bool ends_bare(const struct smtp_server *s, struct vr_str line)
{
    return s->bare_lf && (line.n < 2 || line.p[line.n - 2] != '\r');
}

/* One line with its LF, at the beginning of what is left. Returns how many of its first bytes are not message (a stuffed dot), and sets *ended. */
static size_t take_line(struct smtp_server *s, struct vr_str line, bool *ended)
{
    size_t dot = 0;
    if (at_line(s) && line.p[0] == '.') {
        if ((line.n == 3 && line.p[1] == '\r') || (line.n == 2 && s->bare_lf)) {
            *ended = true;
            return line.n;
        }
        dot = 1;
    }
    if (!ends_bare(s, line)) {
        server_text_part(s, vr_str_from_pos(line, dot), true);
        return dot;
    }
    struct vr_str text = vr_str_sub(line, dot, line.n - dot - 1);
    if (text.n > 0)
        server_text_part(s, text, false);
    server_text_part(s, crlf, true);
    return dot;
}

static enum smtp_server_event_kind end(struct smtp_server *s, struct smtp_server_event *ev)
{
    struct smtp_reply verdict = server_text_verdict(s);
    s->replies_due = s->rcpts;
    if (verdict.code == 0)
        return server_await(s, SMTP_SERVER_DATA_END);
    ev->refusal = verdict;
    for (unsigned i = 0; i < (s->config->lmtp ? s->rcpts : 1); i++)
        server_reply(s, verdict);
    server_transaction_end(s);
    s->state = SERVER_COMMANDS;
    server_count_refusal(s, verdict);
    return SMTP_SERVER_DATA_END;
}

/* A chunk to hand on, or nothing when the message is lost already: its text need not be kept. */
static enum smtp_server_event_kind chunk(struct smtp_server *s, struct smtp_server_event *ev,
                                         struct vr_str text, size_t take)
{
    s->take = take;
    s->scanned = 0;
    if (text.n == 0 || s->text.faults != 0)
        return SMTP_SERVER_IDLE; /* take > 0 makes the caller go on */
    ev->data = text;
    return SMTP_SERVER_CHUNK;
}

/* The beginning of a line whose end has not come: handed on when long, but for a last CR that may belong to its end. */
static enum smtp_server_event_kind partial(struct smtp_server *s, struct smtp_server_event *ev,
                                           struct vr_str in)
{
    s->scanned = in.n;
    if (in.n <= PARTIAL_MAX)
        return SMTP_SERVER_IDLE;
    size_t dot = at_line(s) && in.p[0] == '.' ? 1 : 0;
    struct vr_str text = vr_str_sub(in, dot, in.n - 1 - dot);
    server_text_part(s, text, false);
    return chunk(s, ev, text, dot + text.n);
}

enum smtp_server_event_kind server_data_next(struct smtp_server *s, struct smtp_server_event *ev)
{
    struct vr_str in = vr_buf_str(&s->in);
    size_t done = 0; /* bytes of whole lines, unchanged so far */
    size_t from = s->scanned;
    bool ended = false;
    if (s->owes_crlf) {
        s->owes_crlf = false;
        if (s->text.faults == 0) {
            ev->data = crlf;
            return SMTP_SERVER_CHUNK;
        }
    }
    for (;;) {
        struct vr_str rest = vr_str_from_pos(in, done);
        size_t lf = vr_str_find(vr_str_from_pos(rest, from), '\n');
        if (lf == VR_NPOS) {
            if (done == 0)
                return partial(s, ev, in);
            return chunk(s, ev, vr_str_sub(in, 0, done), done);
        }
        struct vr_str line = vr_str_sub(rest, 0, from + lf + 1);
        from = 0;
        bool dotted = at_line(s) && line.p[0] == '.';
        if (dotted && done > 0) /* hand on what stands before; the dotted line is looked at next time */
            return chunk(s, ev, vr_str_sub(in, 0, done), done);
        size_t drop = take_line(s, line, &ended);
        if (ended) {
            s->take = line.n;
            s->scanned = 0;
            return end(s, ev);
        }
        bool bare = ends_bare(s, line);
        s->owes_crlf = bare;
        if (drop > 0)
            return chunk(s, ev, vr_str_sub(line, drop, line.n - drop - bare), line.n);
        done += line.n;
        if (bare)
            return chunk(s, ev, vr_str_sub(in, 0, done - 1), done);
    }
}
