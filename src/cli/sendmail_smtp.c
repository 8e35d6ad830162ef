/* sendmail_smtp.c - `sendmail -bs`: standard input and output as an SMTP session with the server, over its submit socket.
 *
 * Bytes are passed on as they come, but for line ends (see give) and what happens when the input ends too early.
 * Tests: tests/e2e/test_tools.py
 */
#include "cli/sendmail.h"

#include "io/fs.h"
#include "io/stream.h"
#include "io/terminal.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define CHUNK      65536
#define CONNECT_MS 10000
#define LINGER_MS  60000 /* after the input has ended, for the last replies */

struct proxy {
    struct io *io;
    struct io_stream *server, *input; /* input NULL: standard input is a file, given at once */
    struct io_timer *last;
    int status;
    bool connected, over; /* over: the input has ended */
    enum { LINES_UNKNOWN, LINES_CRLF, LINES_LF } lines;
    char previous, first; /* bytes: that the input gave, that its line begins with */
    size_t column, dots;  /* in this line; lines of a single dot, which end messages */
    char reply[3];        /* how a line of the server's begins */
    size_t at, goes;      /* in this line; replies 354, after which it waits for a message */
};

/* The partner's first line tells how it ends lines. CRLF is passed on as it is, and the server refuses bare LF among it; a person at a
 * terminal and a shell script end lines with LF, each of which then means CRLF. */
static void give(struct proxy *p, struct vr_str bytes)
{
    struct vr_buf text;
    vr_buf_init(&text, 2 * bytes.n + 1);
    for (size_t i = 0; i < bytes.n; i++) {
        char c = bytes.p[i];
        if (c == '\n') {
            if (p->lines == LINES_UNKNOWN)
                p->lines = p->previous == '\r' ? LINES_CRLF : LINES_LF;
            if (p->lines == LINES_LF && p->previous != '\r')
                vr_buf_add_byte(&text, '\r');
            p->dots += p->column == 1 && p->first == '.' && (p->lines == LINES_LF || p->previous == '\r');
            p->column = 0;
        } else if (c != '\r') {
            p->first = p->column == 0 ? c : p->first;
            p->column++;
        }
        vr_buf_add_byte(&text, c);
        p->previous = c;
    }
    io_stream_write(p->server, vr_buf_str(&text));
    vr_buf_fini(&text);
}

/* The server waits for the rest of a message that the input does not have. */
static bool is_cut_off(const struct proxy *p)
{
    return p->over && p->goes > p->dots;
}

static void input_over(struct proxy *p)
{
    /* What was asked is still answered: QUIT stands behind it. In the middle of a message it is text that no dot follows, so
     * nothing half is ever sent. */
    p->over = true;
    if (is_cut_off(p)) {
        io_stop(p->io);
        return;
    }
    if (p->column == 1 && p->first == '.') /* no line: it must not end a message now */
        io_stream_write(p->server, VR_STR("."));
    io_stream_write(p->server, p->column > 0 ? VR_STR("\r\nQUIT\r\n") : VR_STR("QUIT\r\n"));
    io_timer_start(p->last, LINGER_MS, 0);
}

static void input_data(void *arg, struct vr_str bytes)
{
    struct proxy *p = arg;
    give(p, bytes);
    if (io_stream_unsent(p->server) > CHUNK)
        io_stream_pause(p->input, true);
}

static void input_ended(void *arg, int status)
{
    (void)status;
    input_over(arg);
}

static void drained(void *arg)
{
    struct proxy *p = arg;
    if (p->input != NULL)
        io_stream_pause(p->input, false);
}

static const struct io_stream_ops input_ops = {.data = input_data, .ended = input_ended};

static void connected(void *arg, int status)
{
    struct proxy *p = arg;
    struct io_fs_stat st;
    p->status = status;
    if (status != 0) {
        io_stop(p->io);
        return;
    }
    p->connected = true;
    if (io_fs_fstat(IO_STDIN, &st) == 0 && st.is_file) { /* a file cannot be polled */
        char chunk[CHUNK];
        int64_t got;
        while ((got = io_terminal_read(IO_STDIN, chunk, sizeof chunk)) > 0)
            give(p, vr_str(chunk, (size_t)got));
        input_over(p);
        return;
    }
    p->input = io_stream_from_fd(p->io, io_fs_dup(IO_STDIN));
    io_stream_set(p->input, &input_ops, p);
}

static void data(void *arg, struct vr_str bytes)
{
    struct proxy *p = arg;
    for (size_t i = 0; i < bytes.n; i++) {
        if (p->at < sizeof p->reply)
            p->reply[p->at] = bytes.p[i];
        p->goes += bytes.p[i] == '\n' && memcmp(p->reply, "354", 3) == 0;
        p->at = bytes.p[i] == '\n' ? 0 : p->at + 1;
    }
    p->status = io_fs_write(IO_STDOUT, bytes.p, bytes.n);
    if (p->status < 0 || is_cut_off(p))
        io_stop(p->io); /* nobody reads the replies any more; or there will be none */
}

static void ended(void *arg, int status)
{
    struct proxy *p = arg;
    (void)status; /* after QUIT, or the server's 421 that was passed on */
    io_stop(p->io);
}

static void give_up(void *arg)
{
    struct proxy *p = arg;
    io_stop(p->io);
}

int sendmail_smtp(const struct io_address *to, int *status)
{
    static const struct io_stream_ops server_ops = {
        .connected = connected, .data = data, .ended = ended, .drained = drained};
    struct proxy p = {.io = io_new(1)};
    p.last = io_timer_new(p.io, give_up, &p);
    p.server = io_stream_connect(p.io, to, NULL, CONNECT_MS, &server_ops, &p);
    io_run(p.io);
    io_stream_close(p.input);
    io_stream_close(p.server);
    io_timer_free(p.last);
    io_free(p.io);
    if (p.connected && is_cut_off(&p)) {
        fprintf(stderr, "sendmail: the input ended in the middle of a message, without a line that holds "
                        "only a dot: it was not sent\n");
        return EX_DATAERR;
    }
    if (p.connected)
        return p.status < 0 ? EX_IOERR : EX_OK;
    /* the partner speaks SMTP: it is told in SMTP, too */
    static const char closed[] = "421 4.3.0 the mail server is not running\r\n";
    (void)io_fs_write(IO_STDOUT, closed, sizeof closed - 1);
    *status = p.status;
    return -1;
}
