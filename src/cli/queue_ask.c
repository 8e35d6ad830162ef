/* queue_ask.c - asks the running server over its control socket: one JSON object there, lines of JSON back (src/queue/control.c), each
 * handed on as it comes.
 *
 * An answer may be as long as the queue is deep, so no more than a line of it is kept. A line that is no JSON, or the end of the stream
 * before the line with "end": true, means that the server left in the middle of it: EX_TEMPFAIL.
 */
#include "cli/queue_inside.h"

#include "io/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define LINE_MAX_BYTES (256u << 20)
#define CONNECT_MS     5000

struct question {
    const char *self;
    struct io *io;
    struct io_stream *stream;
    const struct queue_answer *answer;
    struct vr_buf line; /* begun */
    size_t searched;    /* of it, for its end */
    char *text;         /* the request with its line feed */
    int status;
    int code;
    bool ended, stopped;
};

static void on_connected(void *arg, int status)
{
    struct question *q = arg;
    q->status = status;
    if (status == 0)
        io_stream_write(q->stream, vr_str_from(q->text));
    else
        io_stop(q->io);
}

static void complain(struct question *q, const json_t *line, const char *words)
{
    fprintf(stderr, "%s: %s\n", q->self, words);
    q->code = json_is_true(json_object_get(line, "again")) ? EX_TEMPFAIL : EX_DATAERR;
    q->ended = true;
}

/* A line that makes no sense is one that was cut off; what follows it says why. */
static void take_line(struct question *q, struct vr_str text)
{
    if (q->answer->raw && vr_str_starts_nocase(text, VR_STR("{\"id\":")) && text.p[text.n - 1] == '}') {
        q->answer->line(q->answer->arg, NULL, text); /* there may be a million of them */
        return;
    }
    json_error_t error;
    json_t *line = text.n > 0 ? json_loadb(text.p, text.n, 0, &error) : NULL;
    const char *words = json_string_value(json_object_get(line, "error"));
    if (words != NULL &&
        json_object_get(line, "id") == NULL) { /* else: a message that `show` could not read */
        complain(q, line, words);
    } else if (json_is_object(line)) {
        q->ended = json_is_true(json_object_get(line, "end"));
        q->answer->line(q->answer->arg, line, text);
    }
    json_decref(line);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct question *q = arg;
    if (q->ended || q->stopped)
        return;
    if (!vr_buf_add(&q->line, bytes)) {
        io_stop(q->io); /* told as an answer that was cut off */
        return;
    }
    size_t begin = 0;
    struct vr_str all = vr_buf_str(&q->line);
    for (size_t at = q->searched; !q->ended;) {
        size_t n = vr_str_find(vr_str_from_pos(all, at), '\n');
        if (n == VR_NPOS)
            break;
        take_line(q, vr_str_sub(all, begin, at + n - begin));
        begin = at = at + n + 1;
    }
    vr_buf_consume(&q->line, begin);
    q->searched = vr_buf_size(&q->line);
    q->stopped = !q->answer->shown(q->answer->arg);
    if (q->stopped)
        io_stop(q->io);
}

static void on_ended(void *arg, int status)
{
    struct question *q = arg;
    q->status = q->ended ? 0 : status;
    io_stop(q->io);
}

static const struct io_stream_ops ops = {.connected = on_connected, .data = on_data, .ended = on_ended};

/* Says why there is no connection; returns the exit code. */
static int not_reached(const char *self, int status, const char *socket, const char *run)
{
    fprintf(stderr, "%s: cannot speak with the server at %s: %s", self, socket, io_error_text(status));
    if (status == -EACCES || status == -EPERM) {
        fprintf(stderr, "; root may, or the user whom the server runs as\n");
        return EX_NOPERM;
    }
    if (status == -ENAMETOOLONG) {
        fprintf(stderr, "; a socket's path has at most 107 bytes: choose a shorter \"run\" than %s\n", run);
        return EX_CONFIG;
    }
    if (status == -ENOENT || status == -ECONNREFUSED)
        fprintf(stderr, "; it does not run (systemctl status veredus), or its \"run\" is not %s", run);
    fputc('\n', stderr);
    return EX_TEMPFAIL;
}

static char *request_line(const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    assert(text != NULL);
    size_t n = strlen(text);
    text = realloc(text, n + 2);
    assert(text != NULL);
    memcpy(text + n, "\n", 2);
    return text;
}

int queue_ask(const char *self, const char *run, const json_t *request, const struct queue_answer *answer)
{
    struct question q = {
        .self = self, .io = io_new(1), .answer = answer, .text = request_line(request), .code = EX_OK};
    vr_buf_init(&q.line, LINE_MAX_BYTES);
    struct io_address to = {.family = IO_UNIX};
    if (snprintf(to.path, sizeof to.path, "%s/control", run) < (int)sizeof to.path) {
        q.stream = io_stream_connect(q.io, &to, NULL, CONNECT_MS, &ops, &q);
        io_run(q.io);
        io_stream_close(q.stream);
    } else {
        q.status = -ENAMETOOLONG; /* of the kernel: 107 bytes */
    }
    bool absent = q.status == -ENOENT || q.status == -ECONNREFUSED;
    if (absent && answer->absent != NULL) {
        *answer->absent = true;
    } else if (q.status != 0) {
        q.code = not_reached(self, q.status, to.path, run);
    } else if (!q.ended && !q.stopped) {
        fprintf(stderr,
                "%s: the server's answer is cut off: it was stopped or started anew meanwhile; ask again\n",
                self);
        q.code = EX_TEMPFAIL;
    }
    vr_buf_fini(&q.line);
    free(q.text);
    io_free(q.io);
    return q.code;
}
