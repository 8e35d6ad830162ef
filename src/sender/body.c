/* body.c - the bytes of a message on their way into a session: prefix, then the content from the frame or from its file, converted where the next
 * hop wants it so.
 *
 * Promise:  of a large message at most one piece and UNSENT_MAX bytes are in memory: the next piece is read when the stream has taken the
 *           last. A file that ends early is never sent as if it were whole.
 * Workers:  read from a descriptor of their own, and survey and convert what they read, so that the job may end while one is at it.
 * Survey:   made once for a job, kept by the connection (c->survey); lent to the body while that converts by it. A body that must be left to its
 *           worker keeps it: then it is made again.
 */
#include "sender/inside.h"

#include "io/fs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE      (128u << 10)
#define UNSENT_MAX (256u << 10)
#define CONVERTED_MAX                                                                                        \
    (1u << 20) /* what a piece or a prefix may become: encoding makes no more than three octets of one */

struct body {
    struct connection *connection; /* NULL: dropped while a worker was busy */
    int fd;                        /* -1: the content came in the frame */
    uint64_t offset, size;
    bool prefix_given, busy;
    char *buffer;
    int64_t got; /* the worker's: bytes read or a negative errno */
    struct mime_survey *survey;
    struct mime_converter *converter; /* NULL: nothing is converted */
    struct vr_buf converted;          /* what became of the piece that was read last */
};

static void body_free(struct body *b)
{
    if (b->fd >= 0)
        io_fs_close(b->fd);
    vr_buf_fini(&b->converted);
    free(b->converter);
    free(b->survey);
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
    if (b->busy)
        return; /* freed when the worker is back */
    assert(c->survey == NULL || b->survey == NULL);
    if (b->converter != NULL) {
        c->survey = b->survey;
        b->survey = NULL;
    }
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
    vr_buf_init(&b->converted, CONVERTED_MAX);
    if (j->d.large) {
        b->fd = io_fs_dup(j->fd);
        b->got = b->fd;
        b->buffer = malloc(PIECE);
        assert(b->buffer != NULL);
    }
    c->body = b;
    return b;
}

/* ---- converting ---------------------------------------------------------------------------------------------------- */

static void take_converted(struct body *b)
{
    struct vr_str piece;
    while (mime_convert_next(b->converter, &piece))
        vr_buf_add(&b->converted, piece);
    assert(!b->converted.too_big);
}

/* What goes out for these bytes of the message; `last`: there are no more. */
static struct vr_str form_of(struct body *b, struct vr_str bytes, bool last)
{
    if (b->converter == NULL)
        return bytes;
    vr_buf_reset(&b->converted);
    mime_convert_feed(b->converter, bytes);
    take_converted(b);
    if (last) {
        mime_convert_end(b->converter);
        take_converted(b);
    }
    return vr_buf_str(&b->converted);
}

static void begin_converting(struct connection *c, struct body *b)
{
    b->converter = malloc(sizeof *b->converter);
    assert(b->converter != NULL && c->survey != NULL);
    b->survey = c->survey;
    c->survey = NULL;
    mime_convert_init(b->converter, b->survey, c->to);
    report_converted(c, b->survey);
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

static void read_piece(struct body *b)
{
    uint64_t rest = b->size - b->offset;
    b->got = io_fs_pread(b->fd, b->buffer, rest < PIECE ? (size_t)rest : PIECE, b->offset);
}

static void read_and_convert(void *arg)
{
    struct body *b = arg;
    read_piece(b);
    if (b->got > 0 && b->converter != NULL)
        form_of(b, vr_str(b->buffer, (size_t)b->got), b->offset + (uint64_t)b->got == b->size);
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
    smtp_client_body(c->engine,
                     b->converter != NULL ? vr_buf_str(&b->converted) : vr_str(b->buffer, (size_t)b->got),
                     connection_now(c));
    b->offset += (uint64_t)b->got;
    connection_flush(c);
    body_feed(c);
}

static void feed_inline(struct connection *c, struct body *b)
{
    struct vr_str piece = vr_str_sub(c->job->d.content, (size_t)b->offset, PIECE);
    b->offset += piece.n;
    smtp_client_body(c->engine, form_of(b, piece, b->offset == b->size), connection_now(c));
    connection_flush(c);
}

void body_begin(struct connection *c)
{
    struct body *b = body_new(c);
    if (c->job->d.large && b->fd < 0) {
        cannot_read(c, b->got);
        return;
    }
    c->job->form = DELIVERY_AS_IT_WAS;
    if (c->to < MIME_BINARY) {
        begin_converting(c, b);
        c->job->form = c->to == MIME_7BIT ? DELIVERY_AS_7BIT : DELIVERY_AS_8BIT;
    }
    body_feed(c);
}

/* What was given and has not left. What the engine holds leaves with a reply, and then the stream drains. */
static size_t waiting(const struct connection *c)
{
    return io_stream_unsent(c->stream) + smtp_client_held(c->engine);
}

void body_feed(struct connection *c)
{
    struct body *b = c->body;
    if (b->busy)
        return;
    if (!b->prefix_given) {
        b->prefix_given = true;
        smtp_client_body(c->engine, form_of(b, c->job->d.prefix, b->size == 0), connection_now(c));
    }
    while (b->offset < b->size && waiting(c) < UNSENT_MAX) {
        if (b->fd >= 0) {
            b->busy = true;
            io_work(c->sender->io, read_and_convert, piece_read, b);
            break;
        }
        feed_inline(c, b);
    }
    if (b->offset == b->size) {
        smtp_client_body_end(c->engine, connection_now(c));
        body_drop(c);
    }
    connection_pump(c);
}

/* ---- what the message needs ------------------------------------------------------------------------------------------ */

static void survey_file(void *arg)
{
    struct body *b = arg;
    while (b->offset < b->size) {
        read_piece(b);
        if (b->got <= 0)
            return;
        mime_survey_feed(b->survey, vr_str(b->buffer, (size_t)b->got));
        b->offset += (uint64_t)b->got;
    }
    mime_survey_end(b->survey);
}

static void surveyed(void *arg)
{
    struct body *b = arg;
    struct connection *c = b->connection;
    b->busy = false;
    if (c == NULL) {
        body_free(b);
        return;
    }
    bool whole = b->offset == b->size;
    if (whole) {
        c->survey = b->survey;
        b->survey = NULL;
    }
    body_drop(c);
    transaction_surveyed(c, whole);
}

void body_survey(struct connection *c)
{
    const struct inflight_job *j = c->job;
    struct mime_survey *survey = malloc(sizeof *survey);
    assert(survey != NULL && c->survey == NULL);
    mime_survey_init(survey);
    mime_survey_feed(survey, j->d.prefix);
    if (!j->d.large) {
        mime_survey_feed(survey, j->d.content);
        mime_survey_end(survey);
        c->survey = survey;
        transaction_surveyed(c, true);
        return;
    }
    struct body *b = body_new(c);
    b->survey = survey;
    if (b->fd < 0) {
        cannot_read(c, b->got);
        return;
    }
    b->busy = true;
    io_work(c->sender->io, survey_file, surveyed, b);
}
