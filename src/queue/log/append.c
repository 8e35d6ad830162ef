/* append.c - appends gather while a commit is under way; one write and one fdatasync carry all of them.
 *
 * Invariants: (1) batches reach the disk one at a time, in the order of their filling
 *             (2) a batch lies within one segment; the batch that opens a segment begins with its first page
 *             (3) a segment's END record is durable before the next segment bears its name
 *             (4) after a failed write or sync nothing more is written to that segment, and all that waited for it fails
 * Ways:       a batch that opens a segment is written by a worker, which makes or renames the file first; all others go to the appender
 *             (io/append.h), and a small one that few wait for may block the loop for as long as a quick sync takes
 * States of a batch: gathering -> writing [commit_start] -> done [commit_done], or failed with its segment [segment_abandon]
 */
#include "queue/log/inside.h"

#include "io/append.h"
#include "io/fs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX (64u << 20) /* bytes that may wait for the disk */
#define BATCH_FIRST (64u << 10)
#define BATCH_KEEP  (4u << 20) /* a larger buffer is not kept for the next batch */
#define FEW_WAITERS 2u         /* up to so many, hardly anything would be done while a thread commits */
#define FEW_BYTES   (64u << 10)

void qlog_job(struct qlog *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    l->jobs++;
    io_work(l->o.io, work, done, arg);
}

/* ---- gathering ------------------------------------------------------------------------------------------------------ */

static struct segment *current(const struct qlog *l)
{
    struct segment *s = l->segment_count > 0 ? l->segments[l->segment_count - 1] : NULL;
    return s != NULL && !s->sealed ? s : NULL;
}

static struct batch *batch_new(struct qlog *l, struct segment *s)
{
    struct batch *b = l->unused;
    if (b != NULL) {
        l->unused = b->next;
    } else {
        b = calloc(1, sizeof *b);
        assert(b != NULL);
    }
    *b = (struct batch){.log = l,
                        .segment = s,
                        .offset = s->used,
                        .fd = -1,
                        .bytes = b->bytes,
                        .capacity = b->capacity,
                        .waiters = b->waiters,
                        .waiter_capacity = b->waiter_capacity};
    if (l->last != NULL)
        l->last->next = b;
    else
        l->first = b;
    l->last = b;
    return b;
}

static void batch_free(struct qlog *l, struct batch *b)
{
    if (b->capacity <= BATCH_KEEP && !l->closed) {
        b->next = l->unused;
        l->unused = b;
        return;
    }
    free(b->bytes);
    free(b->waiters);
    free(b);
}

static char *batch_room(struct batch *b, size_t n)
{
    if (b->n + n > b->capacity) {
        size_t capacity = b->capacity > 0 ? b->capacity : BATCH_FIRST;
        while (capacity < b->n + n)
            capacity *= 2;
        b->bytes = realloc(b->bytes, capacity);
        assert(b->bytes != NULL);
        b->capacity = capacity;
    }
    char *p = b->bytes + b->n;
    b->n += n;
    return p;
}

static void batch_wait(struct batch *b, void (*durable)(void *arg, int status), void *arg)
{
    if (b->waiter_count == b->waiter_capacity) {
        b->waiter_capacity = b->waiter_capacity > 0 ? 2 * b->waiter_capacity : 64;
        b->waiters = realloc(b->waiters, b->waiter_capacity * sizeof *b->waiters);
        assert(b->waiters != NULL);
    }
    b->waiters[b->waiter_count++] = (struct waiter){durable, arg};
}

uint32_t record_crc(uint32_t seed, const struct record_header *h, const char *payload)
{
    uint32_t crc = vr_crc32c(seed, &h->length, sizeof *h - offsetof(struct record_header, length));
    return vr_crc32c(crc, payload, h->length);
}

static void put_record(struct batch *b, uint8_t type, uint8_t version, const struct vr_str *parts,
                       size_t count, size_t size)
{
    struct segment *s = b->segment;
    size_t space = record_space(size);
    bool first = b->n == (b->opens ? QLOG_HEADER : 0);
    char *p = batch_room(b, space);
    struct record_header h = {.marker = s->marker,
                              .length = (uint32_t)size,
                              .type = type,
                              .version = version,
                              .flags = first ? RECORD_FIRST : 0};
    char *at = p + sizeof h;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > 0)
            memcpy(at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    memset(at, 0, space - sizeof h - size);
    h.crc = record_crc(s->seed, &h, p + sizeof h);
    memcpy(p, &h, sizeof h);
    s->used += space;
    b->log->waiting_bytes += space;
}

static struct batch *gathering(struct qlog *l, struct segment *s)
{
    return l->last != NULL && l->last->segment == s ? l->last : batch_new(l, s);
}

static struct segment *room(struct qlog *l, uint64_t space)
{
    struct segment *s = current(l);
    if (s != NULL && s->used + space + record_space(0) <= s->size)
        return s;
    if (s != NULL) {
        put_record(gathering(l, s), QLOG_END, 1, NULL, 0, 0);
        s->sealed = true;
    }
    s = segment_begin(l, space);
    s->used = 0;
    struct batch *b = batch_new(l, s);
    b->opens = true;
    segment_header_write(s, io_now_us(l->o.io), batch_room(b, QLOG_HEADER));
    s->used = QLOG_HEADER;
    return s;
}

void qlog_seal(struct qlog *l)
{
    struct segment *s = current(l);
    if (s == NULL || l->writing != NULL || l->first != NULL)
        return;
    struct batch *b = batch_new(l, s); /* its own commit: a bad place before it is then known to be damage */
    put_record(b, QLOG_END, 1, NULL, 0, 0);
    b->urgent = true;
    s->sealed = true;
}

static void lazy_start(struct qlog *l)
{
    if (l->lazy_running)
        return;
    l->lazy_running = true;
    io_timer_start(l->lazy, l->o.lazy_ms, 0);
}

qlog_position qlog_append(struct qlog *l, uint8_t type, uint8_t version, const struct vr_str *parts,
                          size_t count, enum qlog_when when, void (*durable)(void *arg, int status),
                          void *arg)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += parts[i].n;
    if (size > QLOG_RECORD_MAX || l->waiting_bytes + size > WAITING_MAX)
        return 0;
    struct segment *s = room(l, record_space(size));
    struct batch *b = gathering(l, s);
    qlog_position position = position_of(s->number, s->used);
    put_record(b, type, version, parts, count, size);
    if (durable != NULL)
        batch_wait(b, durable, arg);
    if (when == QLOG_URGENT)
        for (struct batch *each = l->first; each != NULL; each = each->next)
            each->urgent = true;
    else if (!b->urgent)
        lazy_start(l);
    return position;
}

/* ---- committing ----------------------------------------------------------------------------------------------------- */

static int open_segment(struct batch *b)
{
    const struct qlog *l = b->log;
    char path[QLOG_PATH], spare[QLOG_PATH];
    segment_path(l, b->segment->number, false, path);
    b->made_whole = true;
    if (b->spare != 0) {
        segment_path(l, b->spare, true, spare);
        if (io_fs_rename(spare, path) == 0) {
            int fd = io_fs_open(path, IO_FS_READ | IO_FS_WRITE | IO_FS_NO_FOLLOW, 0600);
            if (fd >= 0)
                return fd;
        }
    }
    return segment_file_make(path, b->segment->size);
}

/* The batch that opens a segment. */
static void opening_work(void *arg)
{
    struct batch *b = arg;
    int status = b->fd = open_segment(b);
    if (status >= 0)
        status = io_fs_pwrite(b->fd, b->bytes, b->n, b->offset);
    if (status >= 0)
        status = io_fs_datasync(b->fd);
    if (status >= 0)
        status = io_fs_sync_directory(b->log->folder);
    b->status = status < 0 ? status : 0;
}

struct abandonment {
    struct qlog *log;
    struct segment *segment;
    int status;
};

static void abandon_work(void *arg)
{
    struct abandonment *a = arg;
    a->status = io_fs_truncate(a->segment->fd, a->segment->durable);
    if (a->status == 0)
        a->status = io_fs_sync(a->segment->fd);
}

static void abandon_done(void *arg)
{
    struct abandonment *a = arg;
    struct qlog *l = a->log;
    if (a->status != 0) {
        char path[QLOG_PATH];
        segment_path(l, a->segment->number, false, path);
        qlog_event_file(l, EVENT_WARNING, "log.cut_failed", path, a->status,
                        "refused messages at its end may come back at the next start: check the disk");
    }
    a->segment->readers--;
    free(a);
    qlog_job_done(l);
}

static void batch_finish(struct qlog *l, struct batch *b, int status)
{
    l->waiting_bytes -= b->opens ? b->n - QLOG_HEADER : b->n;
    for (size_t i = 0; i < b->waiter_count; i++)
        b->waiters[i].durable(b->waiters[i].arg, status);
    batch_free(l, b);
}

/* Invariant 4. */
static void segment_abandon(struct qlog *l, struct segment *s, struct batch *failed, int status)
{
    char path[QLOG_PATH];
    segment_path(l, s->number, false, path);
    qlog_event_file(l, EVENT_ERROR, "log.write_failed", path, status,
                    "nothing of it was acknowledged; free space or repair the disk under the spool");
    l->counts.failures++;
    s->sealed = s->abandoned = s->endless = true;
    struct batch *next = l->first != NULL && l->first->segment == s ? l->first : NULL;
    if (next != NULL) { /* of one segment at most one batch waits */
        l->first = next->next;
        if (l->first == NULL)
            l->last = NULL;
    }
    s->used = s->durable;
    if (l->first != NULL &&
        l->first->opens) { /* the next one, which waits, was to say that this one ends well */
        l->first->segment->previous = s->durable > 0 ? s->number : s->previous;
        l->first->segment->previous_end = s->durable > 0 ? (uint32_t)s->durable : s->previous_end;
        segment_header_write(l->first->segment, io_now_us(l->o.io), l->first->bytes);
    }
    if (s->fd >= 0 && s->durable > 0) {
        struct abandonment *a = calloc(1, sizeof *a);
        assert(a != NULL);
        *a = (struct abandonment){.log = l, .segment = s};
        s->readers++;
        qlog_job(l, abandon_work, abandon_done, a);
    }
    batch_finish(l, failed, status);
    if (next != NULL)
        batch_finish(l, next, status);
    if (s->durable == 0) /* it never held anything */
        segment_drop(l, s);
}

static void commit_done(void *arg)
{
    struct batch *b = arg;
    struct qlog *l = b->log;
    struct segment *s = b->segment;
    l->writing = NULL;
    if (b->fd >= 0)
        s->fd = b->fd;
    l->counts.commits++;
    if (b->status == 0) {
        s->durable = b->offset + b->n;
        if (b->opens)
            s->recyclable = b->made_whole;
        segment_prepare_spare(l);
        batch_finish(l, b, 0);
    } else {
        segment_abandon(l, s, b, b->status);
    }
    if (qlog_idle(l) && l->idle != NULL)
        l->idle(l->idle_arg);
    qlog_job_done(l);
}

static void append_done(void *arg, int status)
{
    struct batch *b = arg;
    b->status = status;
    commit_done(b);
}

void commit_start(struct qlog *l)
{
    struct batch *b = l->first;
    if (l->writing != NULL || b == NULL)
        return;
    if (b->opens && l->preparing && b->segment->size == l->o.segment_size)
        return; /* a file for it is being made already: segment_ready calls again */
    l->first = b->next;
    if (l->first == NULL)
        l->last = NULL;
    b->next = NULL;
    l->writing = b;
    b->fd = b->segment->fd;
    if (b->opens && l->spare != 0 && b->segment->size == l->o.segment_size) {
        b->spare = l->spare;
        l->spare = 0;
    }
    if (b->opens) {
        qlog_job(l, opening_work, commit_done, b);
        return;
    }
    bool small = b->waiter_count <= FEW_WAITERS && b->n <= FEW_BYTES;
    l->jobs++;
    io_appender_write(l->o.appender, b->fd, b->bytes, b->n, b->offset, small, append_done, b);
}

bool qlog_idle(const struct qlog *l)
{
    return l->writing == NULL && l->first == NULL;
}

uint64_t qlog_waiting(const struct qlog *l)
{
    return l->waiting_bytes;
}

void qlog_flush(struct qlog *l)
{
    for (struct batch *b = l->first; b != NULL; b = b->next)
        b->urgent = true;
    commit_start(l);
}

void qlog_on_idle(struct qlog *l, void (*idle)(void *arg), void *arg)
{
    l->idle = idle;
    l->idle_arg = arg;
}
