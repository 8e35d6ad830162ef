/* replay.c - at start: every record of every segment in order; the torn tail cut, damage reported.
 *
 * A segment ends well with its END record, or exactly at the end of its file (cut after a failure or at an earlier start). The
 * youngest one may end anywhere: what was being written when the power went was never acknowledged.
 * Behind a checkpoint (qlog_options.start) only headers are read of what lies before it; damage there is found when a record is read.
 */
#include "queue/log/inside.h"

#include "io/fs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE (1u << 20)

struct names {
    uint32_t *numbers;
    size_t count, capacity;
};

static bool gather_name(void *arg, const char *name)
{
    struct names *names = arg;
    unsigned number;
    int n = 0;
    if (sscanf(name, "%12u.seg%n", &number, &n) != 1 || n == 0 || name[n] != '\0' || number == 0)
        return true;
    if (names->count == names->capacity) {
        names->capacity = names->capacity > 0 ? 2 * names->capacity : 64;
        names->numbers = realloc(names->numbers, names->capacity * sizeof *names->numbers);
        assert(names->numbers != NULL);
    }
    names->numbers[names->count++] = number;
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void damage(struct qlog *l, uint32_t number, uint64_t from, uint64_t to, const char *what)
{
    char path[QLOG_PATH];
    segment_path(l, number, false, path);
    l->counts.damaged++;
    event_begin(l->o.events, EVENT_ERROR, "log.damage", 0);
    event_text(l->o.events, "file", path);
    event_u64(l->o.events, "from", from);
    event_u64(l->o.events, "to", to);
    event_text(l->o.events, "what", what);
    event_text(l->o.events, "next",
               "the records there are lost; check the disk, keep a copy of the file if they matter");
    event_end(l->o.events);
}

/* Blank blocks and those of an earlier life of the file are no news: a segment is made before it is written. */
static bool begins_a_record(const struct segment *seg, uint64_t at)
{
    struct record_header h;
    return io_fs_pread(seg->fd, (char *)&h, sizeof h, at) == (int64_t)sizeof h && h.marker == seg->marker;
}

/* No valid record follows at s->at. */
static int end_badly(struct qlog *l, struct segment *seg, struct scan *s, bool youngest)
{
    if (!youngest) {
        damage(l, seg->number, s->at, s->size, "the segment has no end");
        return 0;
    }
    char path[QLOG_PATH];
    segment_path(l, seg->number, false, path);
    l->counts.cut += s->size - s->at;
    event_begin(l->o.events, begins_a_record(seg, s->at) ? EVENT_NOTICE : EVENT_DEBUG, "log.tail_cut", 0);
    event_text(l->o.events, "file", path);
    event_u64(l->o.events, "at", s->at);
    event_u64(l->o.events, "bytes", s->size - s->at);
    event_text(l->o.events, "next", "nothing: what was being written there was not acknowledged");
    event_end(l->o.events);
    seg->recyclable = false;
    seg->endless = true;
    return io_fs_truncate(seg->fd, s->at);
}

/* commit_at: where the last commit begins. */
static int replay_records(struct qlog *l, struct segment *seg, struct scan *s, bool youngest,
                          uint64_t *commit_at)
{
    *commit_at = s->at;
    for (;;) {
        struct qlog_record r;
        uint64_t at = s->at;
        s->first = false;
        enum scan_step step = scan_next(s, &r);
        if (s->first)
            *commit_at = at;
        switch (step) {
        case SCAN_RECORD:
            l->counts.records++;
            l->o.replay(l->o.arg, &r);
            break;
        case SCAN_END:
            return 0;
        case SCAN_ERROR:
            return s->error;
        case SCAN_BAD: {
            uint64_t from = s->at, to = scan_resync(s);
            if (to == 0)
                return s->error != 0 ? s->error : end_badly(l, seg, s, youngest);
            if (youngest && !scan_commit_begins(s)) {
                s->at =
                    from; /* torn: some of the last commit came to the disk, and some that stands before it did not */
                return end_badly(l, seg, s, youngest);
            }
            damage(l, seg->number, from, to, "checksum or framing does not hold");
            break;
        }
        }
    }
}

/* What was read of the last commit may be in the memory of the system only: its writer may have been killed before the sync, or been told that
 * the sync failed, after which the system calls the pages clean. So it is written once more before anything is built upon it. */
static int commit_again(const struct segment *seg, const struct scan *s, uint64_t commit_at)
{
    uint64_t at = commit_at == QLOG_HEADER || !s->flagged ? 0 : commit_at;
    uint64_t end = s->at + (seg->endless ? 0 : record_space(0));
    char *piece = malloc(PIECE);
    assert(piece != NULL);
    int status = 0;
    while (at < end && status == 0) {
        size_t n = end - at < PIECE ? (size_t)(end - at) : PIECE;
        int64_t got = io_fs_pread(seg->fd, piece, n, at);
        status = got == (int64_t)n ? io_fs_pwrite(seg->fd, piece, n, at) : got < 0 ? (int)got : -EIO;
        status = status > 0 ? 0 : status;
        at += n;
    }
    free(piece);
    return status == 0 ? io_fs_sync(seg->fd) : status;
}

/* Without its first page nothing of a segment can be told from noise: it is set aside whole. */
static int set_aside(struct qlog *l, uint32_t number, const char *path, bool begun, uint64_t size)
{
    if (!begun) {
        l->counts.cut += size;
        return io_fs_unlink(path);
    }
    damage(l, number, 0, size, "the first page does not hold; the file was renamed to ….damaged");
    char aside[QLOG_PATH + 16];
    snprintf(aside, sizeof aside, "%s.damaged", path);
    return io_fs_rename(path, aside);
}

/* Opens it and puts it into the table, or sets it aside. */
static int take_segment(struct qlog *l, uint32_t number)
{
    char path[QLOG_PATH];
    segment_path(l, number, false, path);
    int fd = io_fs_open(path, IO_FS_READ | IO_FS_WRITE | IO_FS_NO_FOLLOW, 0);
    struct io_fs_stat st = {0};
    int status = fd < 0 ? fd : io_fs_fstat(fd, &st);
    char page[QLOG_HEADER] = {0};
    struct segment_header h = {0};
    if (status == 0) {
        int64_t got = io_fs_pread(fd, page, sizeof page, 0);
        status = got < 0 ? (int)got : segment_header_read(page, &h);
    }
    if (status == 0 && h.number == number) {
        struct segment *seg = segment_add(l, number);
        seg->fd = fd;
        seg->sealed = true;
        seg->size = h.size;
        seg->marker = h.marker;
        seg->seed = h.seed;
        seg->version = h.version;
        seg->recyclable = st.size == h.size;
        return 0;
    }
    if (fd >= 0)
        io_fs_close(fd);
    if (status == -ENOTSUP)
        qlog_event_file(
            l, EVENT_ERROR, "log.version", path, 0,
            "the segment was written by another version or machine: serve the spool with that one");
    if (status != -EBADMSG && status != 0)
        return status;
    return set_aside(l, number, path, !segment_never_begun(page, &h, status, number), st.size);
}

/* ---- beginning at a checkpoint -------------------------------------------------------------------------------------- */

static const struct qlog_segment *start_row(const struct qlog_start *start, uint32_t number)
{
    for (size_t i = 0; i < start->segment_count; i++)
        if (start->segments[i].number == number)
            return &start->segments[i];
    return NULL;
}

/* Why the log is not the one that the checkpoint was made of; NULL: it is. Segments that are gone are no reason: they go oldest first, when
 * nothing in them is alive any more, so what the checkpoint has there ended, or was moved, in records behind `from` that are durable. For
 * the same reason, where the segment of `from` is gone, so are all before it. */
static const char *start_misfit(const struct qlog *l, const struct qlog_start *start)
{
    uint32_t first = (uint32_t)(start->from >> 32);
    bool older = false, found = false;
    for (size_t i = 0; i < l->segment_count && l->segments[i]->number <= first; i++) {
        const struct segment *seg = l->segments[i];
        const struct qlog_segment *row = start_row(start, seg->number);
        struct io_fs_stat st;
        if (row == NULL)
            return "it does not know a segment that is older than itself";
        if (row->marker != seg->marker || row->seed != seg->seed)
            return "a segment is not the one that it was made of";
        if (io_fs_fstat(seg->fd, &st) != 0 || st.size < row->used)
            return "a segment is shorter than it was";
        *(seg->number == first ? &found : &older) = true;
    }
    return older && !found ? "the segment where it ends is not there" : NULL;
}

/* end: told by a later segment, 0: nothing was. What stands behind it was refused when it was written. */
static int replay_segment(struct qlog *l, struct segment *seg, const struct qlog_start *start, bool youngest,
                          uint64_t end)
{
    const struct qlog_segment *row = start != NULL ? start_row(start, seg->number) : NULL;
    if (row != NULL && row->complete) {
        seg->used = seg->durable = row->used;
        seg->endless = true; /* it may be so: the next one tells where it ends */
        return 0;
    }
    struct io_fs_stat st;
    int status = io_fs_fstat(seg->fd, &st);
    if (status != 0)
        return status;
    struct segment_header h = {
        .number = seg->number, .marker = seg->marker, .seed = seg->seed, .version = seg->version};
    struct scan s;
    scan_init(&s, seg->fd, end != 0 && end < st.size ? end : st.size, &h);
    if (row != NULL)
        s.at = row->used;
    uint64_t commit_at;
    status = replay_records(l, seg, &s, youngest, &commit_at);
    seg->endless = seg->endless || s.at >= s.size;
    if (status == 0 && youngest)
        status = commit_again(seg, &s, commit_at);
    seg->used = seg->durable = s.at;
    scan_fini(&s);
    return status;
}

static int replay_taken(struct qlog *l, const struct names *names, uint32_t youngest)
{
    const struct qlog_start *start = l->o.start;
    if (start != NULL) {
        const char *misfit = start_misfit(l, start);
        l->o.started(l->o.arg, misfit);
        start = misfit == NULL ? start : NULL;
    }
    int status = 0;
    for (size_t i = 0, k = 0; i < l->segment_count && status == 0; i++) {
        struct segment *seg = l->segments[i];
        while (names->numbers[k] != seg->number) /* some were set aside */
            k++;
        status = replay_segment(l, seg, start, seg->number == youngest,
                                segment_end_told(l, names->numbers, names->count, k));
    }
    return status;
}

int replay_all(struct qlog *l)
{
    struct names names = {0};
    int status = io_fs_list(l->folder, gather_name, &names);
    if (names.count > 0)
        qsort(names.numbers, names.count, sizeof *names.numbers, by_number);
    for (size_t i = 0; i < names.count && status == 0; i++)
        status = take_segment(l, names.numbers[i]);
    uint32_t youngest = names.count > 0 ? names.numbers[names.count - 1] : 0;
    if (status == 0) {
        l->next_number = youngest + 1;
        status = replay_taken(l, &names, youngest);
    }
    free(names.numbers);
    return status == 0 ? io_fs_sync_directory(l->folder)
                       : status; /* the youngest's name may be as little durable as its last commit */
}
