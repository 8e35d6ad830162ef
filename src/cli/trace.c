/* trace.c - see trace.h. Nothing that a server says can drive the terminal: control bytes are shown as '?'.
 *
 * Tests: tests/unit/sendmail_parse.c (masking)
 */
#include "cli/trace.h"

#include "cli/clean.h"
#include "cli/cli.h"
#include "io/terminal.h"

#include <stdarg.h>
#include <stdio.h>

#define TRACE_LINE_MAX 16384

static const char dim[] = "\033[2m", plain[] = "\033[0m";

void trace_init(struct trace *t, const struct io *io, bool on)
{
    *t = (struct trace){.io = io, .start_ms = io_monotonic_ms(io), .on = on};
    t->colours = on && cli_coloured(IO_STDERR);
    vr_buf_init(&t->sent, TRACE_LINE_MAX);
    vr_buf_init(&t->received, TRACE_LINE_MAX);
}

void trace_fini(struct trace *t)
{
    vr_buf_fini(&t->sent);
    vr_buf_fini(&t->received);
}

static void show(const struct trace *t, const char *mark, const char *colour, struct vr_str line)
{
    if (!t->on)
        return;
    int64_t ms = io_monotonic_ms(t->io) - t->start_ms;
    fprintf(stderr, "%s%s%s %s%4lld.%03lld%s  ", t->colours ? colour : "", mark, t->colours ? plain : "",
            t->colours ? dim : "", (long long)(ms / 1000), (long long)(ms % 1000), t->colours ? plain : "");
    cli_put_clean(stderr, line, "\t");
    fputc('\n', stderr);
}

void trace_mask(struct vr_buf *out, struct vr_str line, bool *secret)
{
    if (vr_str_equal(line, VR_STR("*"))) /* gives the exchange up, RFC 4954 §4 */
        *secret = false;
    if (*secret) {
        vr_buf_add(out, VR_STR("[hidden]"));
        return;
    }
    if (!vr_str_starts_nocase(line, VR_STR("AUTH "))) {
        vr_buf_add(out, line);
        return;
    }
    *secret = true;
    struct vr_str rest = vr_str_from_pos(line, 5);
    size_t blank = vr_str_find(rest, ' ');
    if (blank == VR_NPOS) {
        vr_buf_add(out, line);
        return;
    }
    vr_buf_add(out, vr_str_sub(line, 0, 5 + blank));
    vr_buf_add(out, VR_STR(" [hidden]"));
}

/* The next whole line that gathered, without its end. */
static bool next_line(struct vr_buf *b, struct vr_str *line, size_t *taken)
{
    struct vr_str all = vr_buf_str(b);
    size_t end = vr_str_find(all, '\n');
    if (end == VR_NPOS)
        return false;
    *line = vr_str_sub(all, 0, end);
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    *taken = end + 1;
    return true;
}

static void gather(struct vr_buf *b, struct vr_str bytes)
{
    if (!vr_buf_add(b, bytes)) /* a line that never ends: the engine gives up on it too */
        vr_buf_reset(b);
}

void trace_sent(struct trace *t, struct vr_str bytes)
{
    struct vr_str line;
    size_t taken;
    if (!t->on)
        return;
    gather(&t->sent, bytes);
    while (next_line(&t->sent, &line, &taken)) {
        struct vr_buf masked;
        vr_buf_init(&masked, 2 * TRACE_LINE_MAX);
        trace_mask(&masked, line, &t->secret);
        show(t, "->", "\033[36m", vr_buf_str(&masked));
        vr_buf_fini(&masked);
        vr_buf_consume(&t->sent, taken);
    }
}

void trace_received(struct trace *t, struct vr_str bytes)
{
    struct vr_str line;
    size_t taken;
    if (!t->on)
        return;
    gather(&t->received, bytes);
    while (next_line(&t->received, &line, &taken)) {
        char class = line.n > 0 ? line.p[0] : '5';
        show(t, "<-", class == '4' ? "\033[33m" : class == '5' ? "\033[31m" : "\033[32m", line);
        if (!vr_str_starts(line, VR_STR("334"))) /* any other reply ends the exchange */
            t->secret = false;
        vr_buf_consume(&t->received, taken);
    }
}

void trace_note(struct trace *t, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    show(t, "**", "\033[35m", vr_str_from(text));
}
