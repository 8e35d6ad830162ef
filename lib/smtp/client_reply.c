/* client_reply.c - reading replies (RFC 5321 §4.2), with bounds that a hostile server cannot pass.
 *
 * Reply-line = Reply-code [ ("-" / SP) textstring ] CRLF ; all lines of a reply have the same code. A lone LF ends a line too: some
 * servers write so, and nothing can be smuggled this way.
 * Tests: tests/unit/smtp_client.c, tests/fuzz/fuzz_smtp_client.c
 */
#include "client_inside.h"

/* Control bytes of a stranger would reach logs, terminals and reports. */
static void add_clean(struct vr_buf *b, struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        vr_buf_add_byte(b, (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f ? (s.p[i] == '\t' ? ' ' : '?')
                                                                          : s.p[i]);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One line without its end. 1: the last of its reply, 0: more follow, -1: no reply line */
static int take_line(struct smtp_client *c, struct vr_str line, const char **why)
{
    if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !is_digit(line.p[1]) || !is_digit(line.p[2]) ||
        (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')) {
        *why = "the server's reply does not begin with a reply code";
        return -1;
    }
    uint16_t code = (uint16_t)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0'));
    if (c->code != 0 && code != c->code) {
        *why = "the lines of the server's reply have different codes";
        return -1;
    }
    if (c->code == 0)
        vr_buf_reset(&c->text);
    else
        vr_buf_add_byte(&c->text, '\n');
    c->code = code;
    add_clean(&c->text, vr_str_from_pos(line, 4));
    if (++c->lines > CLIENT_REPLY_LINES) {
        *why = "the server's reply has no end";
        return -1;
    }
    return line.n > 3 && line.p[3] == '-' ? 0 : 1;
}

int client_reply_read(struct smtp_client *c, struct client_reply *out, const char **why)
{
    for (;;) {
        struct vr_str in = vr_buf_str(&c->in);
        size_t lf = vr_str_find(vr_str_from_pos(in, c->scanned), '\n');
        if (lf == VR_NPOS) {
            c->scanned = in.n;
            if (in.n <= CLIENT_REPLY_LINE)
                return 0;
            *why = "a line of the server's reply is too long";
            return -1;
        }
        lf += c->scanned;
        struct vr_str line = vr_str_sub(in, 0, lf);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        int verdict = line.n > CLIENT_REPLY_LINE ? -1 : take_line(c, line, why);
        if (line.n > CLIENT_REPLY_LINE)
            *why = "a line of the server's reply is too long";
        vr_buf_consume(&c->in, lf + 1);
        c->scanned = 0;
        if (verdict == 0)
            continue;
        out->code = c->code;
        out->text = vr_buf_str(&c->text);
        c->code = 0;
        c->lines = 0;
        return verdict;
    }
}
