/* client_reply.c - reading replies (RFC 5321 §4.2), with bounds that a hostile server cannot pass.
 *
 * Reply-line = Reply-code [ ("-" / SP) textstring ] CRLF ; all lines of a reply have the same code. A lone LF ends a line too: some
 * servers write so, and nothing can be smuggled this way.
 * Promise: whatever the pieces in which the bytes come, the replies are the same, and no byte is looked at twice.
 * Tests: tests/unit/smtp_client.c, tests/fuzz/fuzz_smtp_client.c
 */
#include "client_inside.h"

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* Control bytes of a stranger would reach logs, terminals and reports. */
static void add_clean(struct vr_buf *b, struct vr_str s)
{
    char *p = vr_buf_reserve(b, s.n);
    if (p == NULL)
        return; /* cannot be: text holds the longest reply */
    for (size_t i = 0; i < s.n; i++)
        p[i] = is_control(s.p[i]) ? '?' : s.p[i];
    vr_buf_filled(b, s.n);
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
    if (++c->lines > CLIENT_REPLY_LINES) {
        *why = "the server's reply has too many lines";
        return -1;
    }
    if (c->code == 0)
        vr_buf_reset(&c->text);
    else
        vr_buf_add_byte(&c->text, '\n');
    c->code = code;
    add_clean(&c->text, vr_str_from_pos(line, 4));
    return line.n > 3 && line.p[3] == '-' ? 0 : 1;
}

int client_reply_read(struct smtp_client *c, struct client_reply *out, const char **why)
{
    for (;;) {
        struct vr_str in = vr_buf_str(&c->in);
        size_t lf = vr_str_find(vr_str_from_pos(in, c->scanned), '\n');
        size_t length = lf == VR_NPOS ? in.n : c->scanned + lf + 1;
        if (length > CLIENT_REPLY_LINE || (lf == VR_NPOS && length == CLIENT_REPLY_LINE)) {
            *why = "a line of the server's reply is too long";
            return -1;
        }
        if (lf == VR_NPOS) {
            c->scanned = in.n;
            return 0;
        }
        struct vr_str line = vr_str_sub(in, 0, length - 1);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        int verdict = take_line(c, line, why);
        vr_buf_consume(&c->in, length);
        c->scanned = 0;
        if (verdict == 0)
            continue;
        *out = (struct client_reply){c->code, vr_buf_str(&c->text)};
        c->code = 0;
        c->lines = 0;
        return verdict;
    }
}
