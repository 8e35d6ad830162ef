/* verify.c - a log looked at without being served: the walk of replay.c over the same scan, but nothing is cut, renamed or unlinked, and
 * what is wrong goes to a callback instead of the event log.
 *
 * Promise: files are opened for reading only. What counts as damage, and which records survive it, is what qlog_open would find.
 * Tests:   tests/unit/queue_verify.c
 */
#include "queue/log/inside.h"

#include "io/fs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_DIGITS 12

struct verify {
    struct qlog *log;
    void (*found)(void *arg, const struct qlog_finding *f);
    uint32_t *numbers;
    size_t count, capacity;
};

static void tell(struct verify *v, const struct qlog_finding *f)
{
    v->found(v->log->o.arg, f);
}

/* ---- names ---------------------------------------------------------------------------------------------------------------- */

/* "000000000007.seg": its number, and what stands behind the digits; 0: no such name. */
static uint32_t name_number(const char *name, const char **suffix)
{
    uint64_t number = 0;
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return 0;
        number = number * 10 + (uint64_t)(name[i] - '0');
    }
    *suffix = name + NAME_DIGITS;
    return number <= UINT32_MAX ? (uint32_t)number : 0;
}

static bool look_at_name(void *arg, const char *name)
{
    struct verify *v = arg;
    const char *suffix = "";
    uint32_t number = name_number(name, &suffix);
    if (number != 0 && strcmp(suffix, ".seg") == 0) {
        if (v->count == v->capacity) {
            v->capacity = v->capacity > 0 ? 2 * v->capacity : 64;
            v->numbers = realloc(v->numbers, v->capacity * sizeof *v->numbers);
            assert(v->numbers != NULL);
        }
        v->numbers[v->count++] = number;
        return true;
    }
    if (strcmp(name, QLOG_CHECKPOINT) == 0 || strcmp(name, QLOG_CHECKPOINT ".new") == 0)
        return true; /* a shortcut: nothing depends on it */
    char path[2 * QLOG_PATH];
    snprintf(path, sizeof path, "%s/%s", v->log->folder, name);
    struct io_fs_stat st = {0};
    (void)io_fs_stat(path, &st); /* of a size that cannot be had the finding tells 0 */
    struct qlog_finding f = {.fault = QLOG_FAULT_FOREIGN, .file = path, .to = st.size};
    if (number != 0 && strcmp(suffix, ".spare") == 0)
        f.fault = QLOG_FAULT_SPARE;
    else if (number != 0 && strcmp(suffix, ".seg.damaged") == 0)
        f.fault = QLOG_FAULT_ASIDE;
    tell(v, &f);
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* ---- one segment ----------------------------------------------------------------------------------------------------------- */

/* A stretch without a valid record, with the bytes by which the owner may find out whom it concerned. */
static void tell_stretch(struct verify *v, const char *path, const struct scan *s, uint64_t to,
                         enum qlog_fault fault)
{
    const uint64_t most = sizeof(struct record_header) + QLOG_RECORD_MAX;
    size_t n = (size_t)(to - s->at < most ? to - s->at : most);
    char *bytes = malloc(n + 1);
    assert(bytes != NULL);
    int64_t got = io_fs_pread(s->fd, bytes, n, s->at);
    struct qlog_finding f = {.fault = fault, .file = path, .from = s->at, .to = to, .marker = s->marker};
    f.bytes = vr_str(bytes, got > 0 ? (size_t)got : 0);
    uint32_t first = 0;
    if (f.bytes.n >= sizeof first)
        memcpy(&first, bytes, sizeof first);
    /* Blank blocks and those of an earlier life of the file are no news at the end of the youngest segment. */
    if (fault != QLOG_FAULT_TAIL || first == s->marker)
        tell(v, &f);
    if (fault != QLOG_FAULT_TAIL)
        v->log->counts.damaged++;
    free(bytes);
}

static void walk(struct verify *v, const char *path, struct scan *s, bool youngest)
{
    for (;;) {
        struct qlog_record r;
        enum scan_step step = scan_next(s, &r);
        if (step == SCAN_RECORD) {
            v->log->counts.records++;
            v->log->o.replay(v->log->o.arg, &r);
        } else if (step == SCAN_BAD) {
            struct scan before = *s; /* for its place: resync moves on */
            uint64_t to = scan_resync(s);
            before.window = NULL;
            if (to != 0 && youngest && !scan_commit_begins(s)) { /* as replay.c: a torn commit */
                tell_stretch(v, path, &before, s->size, QLOG_FAULT_TAIL);
                s->at = before.at;
                return;
            }
            if (to != 0) {
                tell_stretch(v, path, &before, to, QLOG_FAULT_RECORD);
            } else if (s->error == 0) {
                tell_stretch(v, path, &before, s->size, youngest ? QLOG_FAULT_TAIL : QLOG_FAULT_END);
                return;
            }
        }
        if (step == SCAN_END)
            return;
        if (s->error != 0) {
            tell(v, &(struct qlog_finding){.fault = QLOG_FAULT_UNREADABLE,
                                           .file = path,
                                           .from = s->at,
                                           .to = s->size,
                                           .status = s->error});
            v->log->counts.damaged++;
            return;
        }
    }
}

/* Each copy by itself, through the one function that reads them. */
static void look_at_copies(struct verify *v, const char *path, const char page[QLOG_HEADER])
{
    for (size_t at = 0; at < QLOG_HEADER; at += QLOG_HEADER_COPY) {
        char twice[QLOG_HEADER];
        struct segment_header h;
        memcpy(twice, page + at, QLOG_HEADER_COPY);
        memcpy(twice + QLOG_HEADER_COPY, page + at, QLOG_HEADER_COPY);
        if (segment_header_read(twice, &h) == 0)
            continue;
        v->log->counts.damaged++;
        tell(v, &(struct qlog_finding){.fault = QLOG_FAULT_HEADER_COPY,
                                       .file = path,
                                       .from = at,
                                       .to = at + sizeof(struct segment_header)});
    }
}

/* Its first page; false: there is nothing more to read in it. */
static bool look_at_header(struct verify *v, const char *path, int fd, uint64_t size, uint32_t number,
                           struct segment_header *h)
{
    char page[QLOG_HEADER] = {0};
    int64_t got = io_fs_pread(fd, page, sizeof page, 0);
    int status = got < 0 ? (int)got : segment_header_read(page, h);
    struct qlog_finding f = {.file = path, .to = size, .status = status};
    if (status == 0 && h->number == number) {
        look_at_copies(v, path, page);
        return true;
    }
    if (got < 0)
        f.fault = QLOG_FAULT_UNREADABLE;
    else if (status == -ENOTSUP)
        f.fault = QLOG_FAULT_VERSION;
    else
        f.fault = segment_never_begun(page, h, status, number) ? QLOG_FAULT_UNBEGUN : QLOG_FAULT_HEADER;
    v->log->counts.damaged += f.fault == QLOG_FAULT_HEADER || f.fault == QLOG_FAULT_UNREADABLE;
    tell(v, &f);
    return false;
}

static void look_at_segment(struct verify *v, uint32_t number, bool youngest, uint64_t end)
{
    char path[QLOG_PATH];
    segment_path(v->log, number, false, path);
    struct io_fs_stat st = {0};
    int fd = io_fs_open(path, IO_FS_READ | IO_FS_NO_FOLLOW, 0);
    int status = fd < 0 ? fd : io_fs_fstat(fd, &st);
    if (status < 0) {
        v->log->counts.damaged++;
        tell(v, &(struct qlog_finding){.fault = QLOG_FAULT_UNREADABLE, .file = path, .status = status});
    } else {
        struct segment_header h = {0};
        if (look_at_header(v, path, fd, st.size, number, &h)) {
            struct scan s;
            struct segment *seg = segment_add(v->log, number);
            scan_init(&s, fd, end != 0 && end < st.size ? end : st.size, &h);
            walk(v, path, &s, youngest);
            seg->used = seg->durable = s.at;
            scan_fini(&s);
        }
    }
    if (fd >= 0)
        io_fs_close(fd);
}

/* ---- all --------------------------------------------------------------------------------------------------------------------- */

int qlog_verify(const struct qlog_options *options, void (*found)(void *arg, const struct qlog_finding *f),
                struct qlog **out)
{
    *out = NULL;
    if (strlen(options->folder) > QLOG_PATH - 32)
        return -ENAMETOOLONG;
    struct qlog *l = calloc(1, sizeof *l);
    assert(l != NULL);
    l->o = *options;
    snprintf(l->folder, sizeof l->folder, "%s", options->folder);
    struct verify v = {.log = l, .found = found};
    *out = l;
    int status = io_fs_list(l->folder, look_at_name, &v);
    if (v.count > 0)
        qsort(v.numbers, v.count, sizeof *v.numbers, by_number);
    for (size_t i = 0; i < v.count && status == 0; i++) {
        if (i > 0 && v.numbers[i] != v.numbers[i - 1] + 1)
            tell(&v, &(struct qlog_finding){.fault = QLOG_FAULT_GAP,
                                            .file = l->folder,
                                            .from = v.numbers[i - 1] + 1,
                                            .to = v.numbers[i] - 1});
        look_at_segment(&v, v.numbers[i], i + 1 == v.count, segment_end_told(l, v.numbers, v.count, i));
    }
    free(v.numbers);
    if (status == 0)
        return 0;
    qlog_verify_end(l);
    *out = NULL;
    return status;
}

void qlog_verify_end(struct qlog *l)
{
    for (size_t i = 0; i < l->segment_count; i++)
        free(l->segments[i]);
    free(l->segments);
    free(l);
}
