/* log.c - the log as a whole: opening, closing, reading, what is alive, giving back. */
#include "queue/log/inside.h"

#include "io/fs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOVE_AGAIN_MS 5000

static void turn_end(void *arg)
{
    struct qlog *l = arg;
    if (l->first != NULL && l->first->urgent)
        commit_start(l);
}

static void lazy_due(void *arg)
{
    struct qlog *l = arg;
    l->lazy_running = false;
    qlog_flush(l);
}

static void log_free(struct qlog *l)
{
    mover_free(l);
    for (size_t i = 0; i < l->segment_count; i++) {
        if (l->segments[i]->fd >= 0)
            io_fs_close(l->segments[i]->fd);
        free(l->segments[i]);
    }
    free(l->segments);
    for (struct batch *b = l->unused, *next; b != NULL; b = next) {
        next = b->next;
        free(b->bytes);
        free(b->waiters);
        free(b);
    }
    io_timer_free(l->lazy);
    io_appender_free(l->own_appender);
    l->own_appender = NULL;
    l->lazy = NULL;
    l->segments = NULL;
    l->segment_count = 0;
    l->unused = NULL;
}

void qlog_job_done(struct qlog *l)
{
    l->jobs--;
    if (l->closed && l->jobs == 0) {
        log_free(l);
        free(l);
    }
}

int qlog_open(const struct qlog_options *options, struct qlog **out)
{
    *out = NULL;
    if (strlen(options->folder) > QLOG_PATH - 32)
        return -ENAMETOOLONG;
    struct qlog *l = calloc(1, sizeof *l);
    assert(l != NULL);
    l->o = *options;
    memcpy(l->folder, options->folder, strlen(options->folder) + 1);
    l->o.folder = l->folder;
    if (l->o.segment_size < QLOG_SIZE_MIN)
        l->o.segment_size = QLOG_SIZE_MIN;
    if (l->o.segment_size > QLOG_SIZE_MAX)
        l->o.segment_size = QLOG_SIZE_MAX;
    l->o.segment_size &= ~(uint64_t)(QLOG_ALIGN - 1);
    l->next_number = 1;
    *out = l; /* replay() may call qlog_alive and qlog_dead */
    int status = io_fs_mkdir_all(l->folder, 0700);
    if (status ==
        0) /* who made it may have died before this: segments are not durable in a folder that is not */
        status = io_fs_sync_parent(l->folder);
    if (status == 0) {
        segments_tidy_spares(l);
        status = replay_all(l);
    }
    if (status != 0) {
        qlog_event_file(l, EVENT_ERROR, "log.open_failed", l->folder, status,
                        "check the folder's owner and permissions, and the disk");
        log_free(l);
        free(l);
        *out = NULL;
        return status;
    }
    if (l->o.appender == NULL)
        l->o.appender = l->own_appender = io_appender_new(l->o.io, IO_APPEND_BEST);
    l->lazy = io_timer_new(l->o.io, lazy_due, l);
    io_on_turn_end(l->o.io, turn_end, l);
    segment_prepare_spare(l);
    return 0;
}

void qlog_close(struct qlog *l)
{
    assert(qlog_idle(l));
    l->closed = true;
    io_off_turn_end(l->o.io, turn_end, l);
    if (l->jobs == 0) { /* else the last job frees it */
        log_free(l);
        free(l);
    }
}

/* ---- reading ---------------------------------------------------------------------------------------------------------- */

struct reading {
    struct qlog *log;
    struct segment *segment;
    qlog_position position;
    uint32_t length, marker, seed;
    int fd;
    char *bytes;
    int status;
    void (*done)(void *arg, int status, const struct qlog_record *r);
    void *arg;
};

static void read_work(void *arg)
{
    struct reading *r = arg;
    if (r->fd < 0) {
        r->status = -ENOENT;
        return;
    }
    size_t n = sizeof(struct record_header) + r->length;
    r->bytes = malloc(n);
    assert(r->bytes != NULL);
    int64_t got = io_fs_pread(r->fd, r->bytes, n, r->position & UINT32_MAX);
    struct record_header h;
    memcpy(&h, r->bytes, sizeof h);
    if (got < 0)
        r->status = (int)got;
    else if ((size_t)got != n || h.marker != r->marker || h.length != r->length ||
             h.crc != record_crc(r->seed, &h, r->bytes + sizeof h))
        r->status = -EBADMSG;
}

static void read_done(void *arg)
{
    struct reading *r = arg;
    struct qlog *l = r->log;
    struct qlog_record record = {.position = r->position};
    if (r->segment != NULL)
        r->segment->readers--;
    if (r->status == 0) {
        struct record_header h;
        memcpy(&h, r->bytes, sizeof h);
        record.type = h.type;
        record.version = h.version;
        record.payload = vr_str(r->bytes + sizeof h, r->length);
    }
    r->done(r->arg, r->status, &record);
    free(r->bytes);
    free(r);
    qlog_job_done(l);
}

void qlog_read(struct qlog *l, qlog_position position, uint32_t length,
               void (*done)(void *arg, int status, const struct qlog_record *r), void *arg)
{
    struct segment *s = segment_find(l, (uint32_t)(position >> 32));
    struct reading *r = calloc(1, sizeof *r);
    assert(r != NULL);
    *r = (struct reading){
        .log = l, .segment = s, .position = position, .length = length, .fd = -1, .done = done, .arg = arg};
    if (s != NULL) {
        r->fd = s->fd;
        r->marker = s->marker;
        r->seed = s->seed;
        s->readers++;
    }
    qlog_job(l, read_work, read_done, r);
}

/* ---- what is alive ------------------------------------------------------------------------------------------------------ */

void qlog_alive(struct qlog *l, qlog_position position, uint32_t bytes)
{
    struct segment *s = segment_find(l, (uint32_t)(position >> 32));
    assert(s != NULL);
    s->alive += bytes;
    s->records_alive++;
    l->counts.alive += bytes;
}

void qlog_dead(struct qlog *l, qlog_position position, uint32_t bytes)
{
    struct segment *s = segment_find(l, (uint32_t)(position >> 32));
    if (s == NULL) /* dropped with its failure */
        return;
    assert(s->records_alive > 0 && s->alive >= bytes);
    s->alive -= bytes;
    s->records_alive--;
    l->counts.alive -= bytes;
}

static bool may_go(const struct qlog *l, const struct segment *s)
{
    if (s->records_alive > 0 || s->readers > 0 || !s->sealed || s->moving)
        return false;
    if (l->writing != NULL && l->writing->segment == s)
        return false;
    for (const struct batch *b = l->first; b != NULL; b = b->next)
        if (b->segment == s)
            return false;
    return true;
}

static uint64_t bytes_used(const struct qlog *l)
{
    uint64_t n = 0;
    for (size_t i = 0; i < l->segment_count; i++)
        n += l->segments[i]->used;
    return n;
}

void qlog_trim(struct qlog *l)
{
    segment_prepare_spare(l); /* an earlier try may have failed */
    while (l->segment_count > 1 && may_go(l, l->segments[0]))
        segment_drop(l, l->segments[0]);
    /* Moving costs what is alive in the oldest segment; that at least half of the log is dead weight by then
     * bounds the log at twice what is alive, and the writing at about twice what comes in. */
    if (l->mover == NULL && l->o.move != NULL && l->segment_count > 2 && l->segments[0]->sealed &&
        (l->segments[0]->moved_ms == 0 ||
         io_monotonic_ms(l->o.io) - l->segments[0]->moved_ms > MOVE_AGAIN_MS) &&
        bytes_used(l) > 2 * l->counts.alive + 2 * l->o.segment_size)
        mover_start(l, l->segments[0]);
}

/* ---- for checkpoints -------------------------------------------------------------------------------------------------------- */

/* The first segment that is not durable to its end, or the last. One that has no file yet does not count. */
static const struct segment *durable_last(const struct qlog *l)
{
    const struct segment *last = NULL;
    for (size_t i = 0; i < l->segment_count && l->segments[i]->durable > 0; i++) {
        last = l->segments[i];
        if (last->durable < last->used)
            break;
    }
    return last;
}

qlog_position qlog_durable_end(const struct qlog *l)
{
    const struct segment *s = durable_last(l);
    return s != NULL ? position_of(s->number, s->durable) : 0;
}

qlog_position qlog_end(const struct qlog *l)
{
    const struct segment *s = l->segment_count > 0 ? l->segments[l->segment_count - 1] : NULL;
    return s != NULL ? position_of(s->number, s->used) : 0;
}

struct qlog_segment *qlog_segments(const struct qlog *l, qlog_position until, size_t *count)
{
    struct qlog_segment *out = calloc(l->segment_count + 1, sizeof *out);
    assert(out != NULL);
    *count = 0;
    for (size_t i = 0; i < l->segment_count && l->segments[i]->number <= until >> 32; i++) {
        const struct segment *s = l->segments[i];
        bool last = s->number == until >> 32;
        out[(*count)++] = (struct qlog_segment){.used = last ? until & UINT32_MAX : s->durable,
                                                .number = s->number,
                                                .marker = s->marker,
                                                .seed = s->seed,
                                                .complete = s->sealed && s->durable == s->used &&
                                                            (!last || s->durable == (until & UINT32_MAX))};
    }
    return out;
}

uint64_t qlog_bytes_since(const struct qlog *l, qlog_position from)
{
    uint64_t n = 0;
    for (size_t i = l->segment_count; i > 0 && l->segments[i - 1]->number >= from >> 32; i--) {
        const struct segment *s = l->segments[i - 1];
        uint64_t before = s->number == from >> 32 ? from & UINT32_MAX : QLOG_HEADER;
        n += s->used > before ? s->used - before : 0;
    }
    return n;
}

bool qlog_holds(const struct qlog *l, qlog_position position)
{
    return segment_find(l, (uint32_t)(position >> 32)) != NULL;
}

void qlog_counts(const struct qlog *l, struct qlog_counts *out)
{
    *out = l->counts;
    out->segments = l->segment_count;
    out->bytes = bytes_used(l);
}
