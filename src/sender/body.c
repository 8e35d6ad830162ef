/* body.c - the bytes of a message on their way into a session: prefix, then the content from the frame or from its file.
 *
 * Promise:  of a large message at most one piece and UNSENT_MAX bytes are in memory: the next piece is read when the stream has taken the
 *           last. A file that ends early is never sent as if it were whole.
 * Workers:  read from a descriptor of their own, so that the job may end while one reads.
 */
#include "sender/inside.h"

#include "io/fs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE      (128u << 10)
#define UNSENT_MAX (256u << 10)

struct body {
    struct connection *connection; /* NULL: dropped while a worker was busy */
    int fd;                        /* -1: the content came in the frame */
    uint64_t offset, size;
    bool prefix_given, busy;
    char *buffer;
    int64_t got; /* the worker's: bytes read or a negative errno */
    bool eight_bit;
};

static void body_free(struct body *b)
{
    if (b->fd >= 0)
        io_fs_close(b->fd);
    free(b->buffer);
    free(b);
}

void body_drop(struct connection *c)
{
    struct body *b = c->body;
    c->body = NULL;
    if (b == NULL)
        return;
    b->connection = NULL;
    if (!b->busy)
        body_free(b);
}

static struct body *body_new(struct connection *c)
{
    const struct inflight_job *j = c->job;
    struct body *b = calloc(1, sizeof *b);
    assert(b != NULL && c->body == NULL);
    b->connection = c;
    b->size = j->d.content_size;
    b->fd = -1;
    if (j->d.large) {
        b->fd = io_fs_dup(j->fd);
        b->got = b->fd;
        b->buffer = malloc(PIECE);
        assert(b->buffer != NULL);
    }
    c->body = b;
    return b;
}

/* ---- feeding ------------------------------------------------------------------------------------------------------- */

static void cannot_read(struct connection *c, int64_t status)
{
    char text[200];
    snprintf(text, sizeof text, "the stored message cannot be read now: %s",
             status < 0 ? io_error_text((int)status) : "its file is shorter than it was");
    c->target = c->target_count - 1; /* no other host can help */
    connection_trouble(c, false, 0, "4.3.0", "body", vr_str_from(text));
    connection_next(c);
}

static void read_piece(void *arg)
{
    struct body *b = arg;
    uint64_t rest = b->size - b->offset;
    b->got = io_fs_pread(b->fd, b->buffer, rest < PIECE ? (size_t)rest : PIECE, b->offset);
}

static void piece_read(void *arg)
{
    struct body *b = arg;
    struct connection *c = b->connection;
    b->busy = false;
    if (c == NULL) {
        body_free(b);
        return;
    }
    if (b->got <= 0) {
        cannot_read(c, b->got);
        return;
    }
    smtp_client_body(c->engine, vr_str(b->buffer, (size_t)b->got), connection_now(c));
    b->offset += (uint64_t)b->got;
    connection_flush(c);
    body_feed(c);
}

static void feed_inline(struct connection *c, struct body *b)
{
    struct vr_str piece = vr_str_sub(c->job->d.content, (size_t)b->offset, PIECE);
    smtp_client_body(c->engine, piece, connection_now(c));
    b->offset += piece.n;
    connection_flush(c);
}

void body_begin(struct connection *c)
{
    struct body *b = body_new(c);
    if (c->job->d.large && b->fd < 0) {
        cannot_read(c, b->got);
        return;
    }
    body_feed(c);
}

void body_feed(struct connection *c)
{
    struct body *b = c->body;
    if (b->busy)
        return;
    if (!b->prefix_given) {
        b->prefix_given = true;
        smtp_client_body(c->engine, c->job->d.prefix, connection_now(c));
    }
    while (b->offset < b->size && io_stream_unsent(c->stream) < UNSENT_MAX) {
        if (b->fd >= 0) {
            b->busy = true;
            io_work(c->sender->io, read_piece, piece_read, b);
            break;
        }
        feed_inline(c, b);
    }
    if (b->offset == b->size) {
        smtp_client_body_end(c->engine, connection_now(c));
        c->dot_sent = true;
        body_drop(c);
    }
    connection_pump(c);
}

/* ---- 7 or 8 bits ----------------------------------------------------------------------------------------------------- */

static void scan(void *arg)
{
    struct body *b = arg;
    while (b->offset < b->size && !b->eight_bit) {
        read_piece(b);
        if (b->got <= 0)
            return;
        b->eight_bit = !vr_str_is_ascii(vr_str(b->buffer, (size_t)b->got));
        b->offset += (uint64_t)b->got;
    }
    b->got = 0;
}

static void scanned(void *arg)
{
    struct body *b = arg;
    struct connection *c = b->connection;
    b->busy = false;
    if (c == NULL) {
        body_free(b);
        return;
    }
    bool eight_bit = b->eight_bit;
    int status = b->got < 0 ? (int)b->got : 0;
    body_drop(c);
    transaction_scanned(c, eight_bit, status);
}

void body_scan(struct connection *c)
{
    const struct inflight_job *j = c->job;
    if (!vr_str_is_ascii(j->d.prefix) || !j->d.large) {
        transaction_scanned(c, !vr_str_is_ascii(j->d.prefix) || !vr_str_is_ascii(j->d.content), 0);
        return;
    }
    struct body *b = body_new(c);
    if (b->fd < 0) {
        cannot_read(c, b->got);
        return;
    }
    b->busy = true;
    io_work(c->sender->io, scan, scanned, b);
}
