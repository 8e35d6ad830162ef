/* server_text.c - what the text of a message counts for, whether DATA or BDAT brought it: size, lines, bare bytes, Received fields
 * (RFC 5321 §4.5.3.1.6, §6.3).
 *
 * Promise: the verdict is the same however the text is cut, also where a chunk of BDAT ends within a line or between CR and LF.
 * Rules:   only CRLF ends a line. A bare CR or LF refuses the message, unless it was announced as binary (RFC 3030 §3): then the header alone
 *          has lines, and any byte may stand anywhere.
 * Tests:   tests/transcripts/server/, tests/unit/smtp_server.c
 */
#include "server_inside.h"

#define TEXT_LINE_DEFAULT 65536
#define RECEIVED_DEFAULT  100

static const struct vr_str received = VR_STR_INIT("Received:");

#define TOO_LARGE                                                                                            \
    {                                                                                                        \
        552, "5.3.4",                                                                                        \
            VR_STR_INIT("the message is larger than this server takes; the EHLO reply names the limit")      \
    }

const struct smtp_reply server_too_large = TOO_LARGE;

/* One reply for a message with several faults: which, must not depend on the order in which they were found, since that is a matter of the
 * pieces. */
static const struct {
    unsigned fault;
    struct smtp_reply reply;
} verdicts[] = {
    {TEXT_BARE,
     {554, "5.6.0", VR_STR_INIT("the message has a bare CR or a bare LF; lines must end in CR LF")}},
    {TEXT_SIZE, TOO_LARGE},
    {TEXT_LINE, {554, "5.6.0", VR_STR_INIT("the message has a line longer than this server takes")}},
    {TEXT_LOOP, {554, "5.4.6", VR_STR_INIT("too many Received fields: the message goes in a loop")}},
};

struct smtp_reply server_text_verdict(const struct smtp_server *s)
{
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
        if (s->text.faults & verdicts[i].fault)
            return verdicts[i].reply;
    return (struct smtp_reply){0};
}

void server_text_begin(struct smtp_server *s)
{
    s->text = (struct server_text){.in_header = true, .binary = s->mail.body == SMTP_BODY_BINARYMIME};
}

static unsigned line_max(const struct smtp_server *s)
{
    unsigned max = s->config->text_line_max > 0 ? s->config->text_line_max : TEXT_LINE_DEFAULT;
    return max < SMTP_TEXT_LINE_MAX ? SMTP_TEXT_LINE_MAX : max; /* §4.5.3.1.6: every server takes these */
}

/* A line of the header is whole: t->line octets, of which `begin` has the first. */
static void header_line(struct smtp_server *s)
{
    struct server_text *t = &s->text;
    unsigned max = s->config->received_max > 0 ? s->config->received_max : RECEIVED_DEFAULT;
    if (t->line == 2)
        t->in_header = false;
    else if (t->begin_n == received.n && vr_str_equal_nocase(vr_str(t->begin, t->begin_n), received) &&
             ++t->received > max)
        t->faults |= TEXT_LOOP;
    t->begin_n = 0;
}

static void keep_begin(struct server_text *t, struct vr_str bytes)
{
    for (size_t i = 0; i < bytes.n && t->begin_n < received.n; i++)
        t->begin[t->begin_n++] = bytes.p[i];
}

static void add_size(struct smtp_server *s, size_t n)
{
    struct server_text *t = &s->text;
    t->size += n;
    if (s->config->size_max > 0 && t->size > s->config->size_max)
        t->faults |= TEXT_SIZE;
}

void server_text_part(struct smtp_server *s, struct vr_str part, bool whole)
{
    struct server_text *t = &s->text;
    size_t lf = part.n - 1; /* if whole */
    bool crlf = whole && (lf > 0 ? part.p[lf - 1] == '\r' : t->cr);
    struct vr_str rest = crlf && lf > 0 ? vr_str_sub(part, 0, lf - 1) : part; /* in which a CR is bare … */
    size_t cr = vr_str_find(rest, '\r');
    bool last = !whole && cr == part.n - 1; /* … unless it is the last that has come */
    if (!t->binary && ((whole && !crlf) || (cr != VR_NPOS && !last) || (t->cr && part.p[0] != '\n')))
        t->faults |= TEXT_BARE;
    add_size(s, part.n);
    t->cr = part.p[part.n - 1] == '\r';
    t->line += part.n;
    if (!t->binary && t->line > line_max(s))
        t->faults |= TEXT_LINE;
    if (t->in_header)
        keep_begin(t, part);
    if (!crlf)
        return;
    if (t->in_header)
        header_line(s);
    t->line = 0;
}

void server_text_add(struct smtp_server *s, struct vr_str bytes)
{
    struct server_text *t = &s->text;
    while (bytes.n > 0 && (t->in_header || !t->binary)) {
        size_t lf = vr_str_find(bytes, '\n');
        size_t n = lf == VR_NPOS ? bytes.n : lf + 1;
        server_text_part(s, vr_str_sub(bytes, 0, n), lf != VR_NPOS);
        bytes = vr_str_from_pos(bytes, n);
    }
    add_size(s, bytes.n); /* what has no lines */
}

void server_text_end(struct smtp_server *s)
{
    if (s->text.cr && !s->text.binary)
        s->text.faults |= TEXT_BARE;
}
