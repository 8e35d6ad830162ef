/* scan.c - walking through the records of a segment's file, and finding the way back behind damage.
 *
 * A forged record inside of a message's body cannot be met when resyncing: it would have to guess the segment's marker and seed, 64
 * random bits that nobody outside of the queue sees.
 */
#include "queue/log/inside.h"

#include "io/fs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW (1u << 20)

void scan_init(struct scan *s, int fd, uint64_t size, const struct segment_header *h)
{
    *s = (struct scan){.fd = fd,
                       .size = size,
                       .at = QLOG_HEADER,
                       .marker = h->marker,
                       .seed = h->seed,
                       .number = (uint32_t)h->number,
                       .flagged = h->version >= 2};
}

void scan_fini(struct scan *s)
{
    free(s->window);
    s->window = NULL;
}

/* n bytes at `at`, or NULL when the file is shorter (or not readable: error is set). */
static const char *bytes_at(struct scan *s, uint64_t at, size_t n)
{
    if (at > s->size || s->size - at < n)
        return NULL;
    if (at >= s->window_at && at - s->window_at + n <= s->window_n)
        return s->window + (at - s->window_at);
    size_t want = n > WINDOW ? n : WINDOW;
    if (want > s->window_capacity) {
        free(s->window);
        s->window = malloc(want);
        assert(s->window != NULL);
        s->window_capacity = want;
    }
    int64_t got = io_fs_pread(s->fd, s->window, want, at);
    s->window_at = at;
    s->window_n = got > 0 ? (size_t)got : 0;
    if (got < 0)
        s->error = (int)got;
    return s->window_n >= n ? s->window : NULL;
}

static enum scan_step record_at(struct scan *s, uint64_t at, struct qlog_record *out, uint64_t *space)
{
    const char *p = bytes_at(s, at, sizeof(struct record_header));
    if (p == NULL)
        return s->error != 0 ? SCAN_ERROR : SCAN_BAD;
    struct record_header h;
    memcpy(&h, p, sizeof h);
    if (h.marker != s->marker || h.length > QLOG_RECORD_MAX || h.type == 0)
        return SCAN_BAD;
    p = bytes_at(s, at, sizeof h + h.length);
    if (p == NULL)
        return s->error != 0 ? SCAN_ERROR : SCAN_BAD;
    if (record_crc(s->seed, &h, p + sizeof h) != h.crc)
        return SCAN_BAD;
    *out =
        (struct qlog_record){position_of(s->number, at), h.type, h.version, vr_str(p + sizeof h, h.length)};
    *space = record_space(h.length);
    s->first = (h.flags & RECORD_FIRST) != 0;
    return h.type == QLOG_END ? SCAN_END : SCAN_RECORD;
}

enum scan_step scan_next(struct scan *s, struct qlog_record *out)
{
    if (s->at >= s->size)
        return SCAN_END;
    uint64_t space = 0;
    enum scan_step step = record_at(s, s->at, out, &space);
    if (step == SCAN_RECORD)
        s->at += space;
    return step;
}

uint64_t scan_resync(struct scan *s)
{
    struct qlog_record r;
    uint64_t space;
    for (uint64_t at = s->at + QLOG_ALIGN; at + sizeof(struct record_header) <= s->size; at += QLOG_ALIGN) {
        const char *p = bytes_at(s, at, sizeof(struct record_header));
        if (p == NULL)
            return 0;
        uint32_t marker;
        memcpy(&marker, p, sizeof marker);
        if (marker != s->marker)
            continue;
        enum scan_step step = record_at(s, at, &r, &space);
        if (step == SCAN_RECORD || step == SCAN_END) {
            s->at = at;
            return at;
        }
    }
    return 0;
}

bool scan_commit_begins(struct scan *s)
{
    uint64_t back = s->at;
    bool begins = !s->flagged;
    enum scan_step step = SCAN_RECORD;
    while (!begins && (step == SCAN_RECORD || step == SCAN_BAD)) {
        struct qlog_record r;
        s->first = false;
        step = scan_next(s, &r);
        begins = s->first || step == SCAN_ERROR;
        if (step == SCAN_BAD && scan_resync(s) == 0)
            break;
    }
    s->at = back;
    return begins;
}
