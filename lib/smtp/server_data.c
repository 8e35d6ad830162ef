/* server_data.c - the text of a message: line ends, dots, limits (RFC 5321 §4.5.2, §4.5.3.1.6, §6.3).
 *
 * Works on whole lines found by memchr and hands on the longest stretches that need no change. Only CRLF ends a line and only CRLF.CRLF the
 * message; a bare CR or LF makes the message refused, but it is read to its true end, so that what hides in it is never taken for commands.
 * Tests: tests/transcripts/server/, tests/unit/smtp_server.c
 */
#include "server_inside.h"

#define TEXT_LINE_DEFAULT 65536
#define RECEIVED_DEFAULT  100
#define PARTIAL_MAX       4096 /* a longer line is handed on before its end is seen */

static const struct smtp_reply too_large = {
    552, "5.3.4",
    VR_STR_INIT("the message is larger than this server takes; the EHLO reply names the limit")};
static const struct smtp_reply bare_byte = {
    554, "5.6.0", VR_STR_INIT("the message has a bare CR or a bare LF; lines must end in CR LF")};
static const struct smtp_reply long_line = {
    554, "5.6.0", VR_STR_INIT("the message has a line longer than this server takes")};
static const struct smtp_reply mail_loop = {
    554, "5.4.6", VR_STR_INIT("too many Received fields: the message goes in a loop")};

void server_data_begin(struct smtp_server *s)
{
    s->state = SERVER_IN_DATA;
    s->data = (struct server_data){.after_crlf = true, .in_header = true};
    s->scanned = 0;
}

static void refuse(struct server_data *d, struct smtp_reply r)
{
    if (d->refusal.code == 0) /* the first fault is the one to tell */
        d->refusal = r;
}

/* What each stretch of text counts for; `text` is a line or a part of one, dots undone, its line end included. */
static void account(struct smtp_server *s, struct vr_str text)
{
    struct server_data *d = &s->data;
    unsigned line_max = s->config->text_line_max > 0 ? s->config->text_line_max : TEXT_LINE_DEFAULT;
    if (line_max < SMTP_TEXT_LINE_MAX) /* §4.5.3.1.6: every server takes these */
        line_max = SMTP_TEXT_LINE_MAX;
    d->size += text.n;
    d->line += text.n;
    if (s->config->size_max > 0 && d->size > s->config->size_max)
        refuse(d, too_large);
    if (d->line > line_max)
        refuse(d, long_line);
}

static void look_at_header_line(struct smtp_server *s, struct vr_str line)
{
    struct server_data *d = &s->data;
    unsigned max = s->config->received_max > 0 ? s->config->received_max : RECEIVED_DEFAULT;
    if (line.n == 2)
        d->in_header = false;
    else if (vr_str_starts_nocase(line, VR_STR("Received:")) && ++d->received > max)
        refuse(d, mail_loop);
}

static bool has_bare_cr(struct vr_str text, bool whole_line)
{
    size_t cr = vr_str_find(text, '\r');
    return cr != VR_NPOS && !(whole_line && cr == text.n - 2);
}

/* One line with its LF, at the beginning of what is left. Returns how many of its first bytes are not message (a stuffed dot), and sets ended. */
static size_t take_line(struct smtp_server *s, struct vr_str line)
{
    struct server_data *d = &s->data;
    bool crlf = line.n >= 2 && line.p[line.n - 2] == '\r';
    size_t dot = 0;
    if (d->after_crlf && line.p[0] == '.') {
        if (line.n == 3 && crlf) {
            d->ended = true;
            return line.n;
        }
        dot = 1;
    }
    struct vr_str text = vr_str_from_pos(line, dot);
    if (!crlf || has_bare_cr(text, true))
        refuse(d, bare_byte);
    account(s, text);
    if (d->in_header && d->after_crlf)
        look_at_header_line(s, text);
    d->after_crlf = crlf;
    if (crlf)
        d->line = 0;
    return dot;
}

static enum smtp_server_event_kind end(struct smtp_server *s, struct smtp_server_event *ev)
{
    struct server_data *d = &s->data;
    s->replies_due = s->rcpts;
    if (d->refusal.code == 0)
        return server_await(s, SMTP_SERVER_DATA_END);
    ev->refusal = d->refusal;
    for (unsigned i = 0; i < (s->config->lmtp ? s->rcpts : 1); i++)
        server_reply(s, d->refusal);
    server_transaction_end(s);
    s->state = SERVER_COMMANDS;
    server_count_refusal(s, d->refusal);
    return SMTP_SERVER_DATA_END;
}

/* A chunk to hand on, or nothing when the message is lost already: its text need not be kept. */
static enum smtp_server_event_kind chunk(struct smtp_server *s, struct smtp_server_event *ev,
                                         struct vr_str text, size_t take)
{
    s->take = take;
    s->scanned = 0;
    if (text.n == 0 || s->data.refusal.code != 0)
        return SMTP_SERVER_IDLE; /* take > 0 makes the caller go on */
    ev->data = text;
    return SMTP_SERVER_CHUNK;
}

/* The beginning of a line whose end has not come: handed on when long, but for a last CR that may belong to its end. */
static enum smtp_server_event_kind partial(struct smtp_server *s, struct smtp_server_event *ev,
                                           struct vr_str in)
{
    struct server_data *d = &s->data;
    s->scanned = in.n;
    if (in.n <= PARTIAL_MAX)
        return SMTP_SERVER_IDLE;
    size_t dot = d->after_crlf && in.p[0] == '.' ? 1 : 0;
    struct vr_str text = vr_str_sub(in, dot, in.n - 1 - dot);
    if (has_bare_cr(text, false))
        refuse(d, bare_byte);
    account(s, text);
    if (d->in_header && d->after_crlf)
        look_at_header_line(s, text);
    d->after_crlf = false;
    return chunk(s, ev, text, dot + text.n);
}

enum smtp_server_event_kind server_data_next(struct smtp_server *s, struct smtp_server_event *ev)
{
    struct server_data *d = &s->data;
    struct vr_str in = vr_buf_str(&s->in);
    size_t done = 0; /* bytes of whole lines, unchanged so far */
    size_t from = s->scanned;
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
        bool dotted = d->after_crlf && line.p[0] == '.';
        if (dotted && done > 0) /* hand on what stands before; the dotted line is looked at next time */
            return chunk(s, ev, vr_str_sub(in, 0, done), done);
        size_t drop = take_line(s, line);
        if (d->ended) {
            s->take = line.n;
            s->scanned = 0;
            return end(s, ev);
        }
        if (drop > 0)
            return chunk(s, ev, vr_str_from_pos(line, drop), line.n);
        done += line.n;
    }
}
