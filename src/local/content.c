/* content.c - see content.h.
 *
 * Rules: (1) the file has the line ends of the system, LF, so that CRLF becomes LF, and a CR alone stays
 *        (2) a binary message (BODY=BINARYMIME) would not survive that, since in it any byte may be content: it is converted to 8 bits,
 *        binary parts to base64 (RFC 3030 §3), and decodes to the same bytes
 *        (3) one that cannot be converted without loss (what is in it is signed, say) is written as it came, CRLF and all.
 * Tests: tests/unit/local.c
 */
#include "local/content.h"

#include "io/fs.h"

#include <veredus/mime.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (256u << 10)

struct writer {
    int fd;
    char *piece;
    size_t n;
    uint64_t size;
    bool cr; /* a CR is held back until the next byte tells whether it belongs to a line end */
    int status;
};

static void flush(struct writer *w)
{
    if (w->status == 0 && w->n > 0)
        w->status = io_fs_write(w->fd, w->piece, w->n);
    if (w->status > 0)
        w->status = 0;
    w->n = 0;
}

static void put(struct writer *w, const char *p, size_t n)
{
    w->size += n;
    while (n > 0) {
        size_t part = n < PIECE - w->n ? n : PIECE - w->n;
        memcpy(w->piece + w->n, p, part);
        w->n += part;
        p += part;
        n -= part;
        if (w->n == PIECE)
            flush(w);
    }
}

static void put_as_is(struct writer *w, struct vr_str s)
{
    put(w, s.p, s.n);
}

/* Rule (1). */
static void put_text(struct writer *w, struct vr_str s)
{
    if (w->cr && s.n > 0) {
        if (s.p[0] != '\n')
            put(w, "\r", 1);
        w->cr = false;
    }
    while (s.n > 0) {
        size_t cr = vr_str_find(s, '\r');
        if (cr == VR_NPOS) {
            put(w, s.p, s.n);
            return;
        }
        put(w, s.p, cr);
        if (cr + 1 == s.n) {
            w->cr = true;
            return;
        }
        if (s.p[cr + 1] != '\n')
            put(w, "\r", 1);
        s = vr_str_from_pos(s, cr + 1);
    }
}

/* ---- the message, once through ---------------------------------------------------------------------------------------- */

/* Whom the message's bytes are given to, in order. */
struct pass {
    void (*take)(struct pass *p, struct vr_str bytes);
    struct writer *writer;
    void (*put)(struct writer *w, struct vr_str s);
    struct mime_survey *survey;
    struct mime_converter *converter;
    int status;
};

static void take_whole(struct pass *p, struct vr_str bytes)
{
    p->put(p->writer, bytes);
}

static void take_survey(struct pass *p, struct vr_str bytes)
{
    mime_survey_feed(p->survey, bytes);
}

static void put_converted(struct pass *p)
{
    struct vr_str piece;
    while (mime_convert_next(p->converter, &piece))
        put_text(p->writer, piece);
}

static void take_convert(struct pass *p, struct vr_str bytes)
{
    mime_convert_feed(p->converter, bytes);
    put_converted(p);
}

static void read_file(struct pass *p, int fd, uint64_t size)
{
    char *buffer = malloc(PIECE);
    uint64_t at = 0;
    while (buffer != NULL && at < size && p->status == 0 && p->writer->status == 0) {
        uint64_t left = size - at;
        int64_t got = io_fs_pread(fd, buffer, left < PIECE ? (size_t)left : PIECE, at);
        if (got <= 0)
            p->status = got < 0 ? (int)got : -EIO; /* shorter than the queue said */
        else
            p->take(p, vr_str(buffer, (size_t)got));
        at += got > 0 ? (uint64_t)got : 0;
    }
    if (buffer == NULL)
        p->status = -ENOMEM;
    free(buffer);
}

static int run(struct pass *p, const struct maildir_write *m)
{
    p->take(p, m->head);
    if (m->fd >= 0)
        read_file(p, m->fd, m->body_size);
    else
        p->take(p, m->body);
    return p->status;
}

/* ---- what is written ---------------------------------------------------------------------------------------------------- */

static int write_whole(const struct maildir_write *m, struct writer *w,
                       void (*how)(struct writer *w, struct vr_str s))
{
    struct pass p = {.take = take_whole, .writer = w, .put = how};
    return run(&p, m);
}

/* Rules (2) and (3). */
static int write_binary(const struct maildir_write *m, struct writer *w, struct mime_survey *survey,
                        struct mime_converter *converter)
{
    struct pass p = {.take = take_survey, .writer = w, .survey = survey, .converter = converter};
    mime_survey_init(survey);
    int status = run(&p, m);
    mime_survey_end(survey);
    if (status != 0)
        return status;
    if (!survey->verdict.to[MIME_8BIT].can)
        return write_whole(m, w, put_as_is);
    p.take = take_convert;
    mime_convert_init(converter, survey, MIME_8BIT);
    status = run(&p, m);
    mime_convert_end(converter);
    put_converted(&p);
    return status;
}

static int write_message(const struct maildir_write *m, struct writer *w)
{
    if (!m->binary)
        return write_whole(m, w, put_text);
    struct mime_survey *survey = malloc(sizeof *survey);
    struct mime_converter *converter = malloc(sizeof *converter);
    int status = survey != NULL && converter != NULL ? write_binary(m, w, survey, converter) : -ENOMEM;
    free(converter);
    free(survey);
    return status;
}

int content_write(const struct maildir_write *m, int fd, uint64_t *size)
{
    struct writer w = {.fd = fd, .piece = malloc(PIECE)};
    if (w.piece == NULL)
        return -ENOMEM;
    int status = write_message(m, &w);
    if (w.cr)
        put(&w, "\r", 1);
    flush(&w);
    free(w.piece);
    *size = w.size;
    return status != 0 ? status : w.status;
}
