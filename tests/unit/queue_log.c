/* queue_log.c - the durable log: append and replay, torn tails, damage, full disks, rotation, trimming, moving. */
#include "folder_testing.h"

#include "queue/log/inside.h"

#include "io/fs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a disk that fails when told to (linked with --wrap) ---------------------------------------------------------------- */

static _Atomic int fail_writes, fail_syncs; /* the status to fail with, 0: work */
static _Atomic size_t room_for;             /* > 0: only writes up to this size find room */

int __real_io_fs_pwrite(int fd, const void *p, size_t n, uint64_t offset);
int __wrap_io_fs_pwrite(int fd, const void *p, size_t n, uint64_t offset);
int __wrap_io_fs_pwrite(int fd, const void *p, size_t n, uint64_t offset)
{
    if (fail_writes != 0) { /* half of it comes to disk, as on a full one */
        __real_io_fs_pwrite(fd, p, n / 2, offset);
        return fail_writes;
    }
    if (room_for > 0 && n > room_for)
        return -ENOSPC;
    return __real_io_fs_pwrite(fd, p, n, offset);
}

int __real_io_fs_datasync(int fd);
int __wrap_io_fs_datasync(int fd);
int __wrap_io_fs_datasync(int fd)
{
    return fail_syncs != 0 ? fail_syncs : __real_io_fs_datasync(fd);
}

/* The ring's writes pass none of these, so what is told of them is changed. */
struct told {
    void (*done)(void *arg, int status);
    void *arg;
    int status;
};

static void tell(void *arg, int status)
{
    struct told t = *(struct told *)arg;
    free(arg);
    t.done(t.arg, t.status != 0 ? t.status : status);
}

void __real_io_appender_write(struct io_appender *a, int fd, const void *bytes, size_t n, uint64_t offset,
                              bool may_block, void (*done)(void *arg, int status), void *arg);
void __wrap_io_appender_write(struct io_appender *a, int fd, const void *bytes, size_t n, uint64_t offset,
                              bool may_block, void (*done)(void *arg, int status), void *arg);
void __wrap_io_appender_write(struct io_appender *a, int fd, const void *bytes, size_t n, uint64_t offset,
                              bool may_block, void (*done)(void *arg, int status), void *arg)
{
    int status = fail_writes != 0 ? fail_writes : room_for > 0 && n > room_for ? -ENOSPC : fail_syncs;
    struct told *t = malloc(sizeof *t);
    assert_non_null(t);
    *t = (struct told){done, arg, status};
    if (strcmp(io_appender_kind(a), "io_uring") == 0 && fail_writes != 0)
        n = n / 2;
    __real_io_appender_write(a, fd, bytes, n, offset, may_block, tell, t);
}

/* ---- a log and what it replays --------------------------------------------------------------------------------------------- */

struct seen {
    qlog_position position;
    uint8_t type;
    uint32_t n, sum;
};

static char folder[64];
static struct io *io;
static struct event_log *events;
static enum io_append_way way; /* all tests run both ways */
static struct io_appender *appender;
static struct qlog *qlog;
static struct seen seen[4096];
static size_t seen_count;
static size_t moved_count;
static qlog_position alive_position; /* the only one that is still alive when a segment is emptied */
static int durable_ok, durable_failed, last_status;

static uint32_t sum_of(struct vr_str s)
{
    return vr_crc32c(0, s.p, s.n);
}

static void on_replay(void *arg, const struct qlog_record *r)
{
    (void)arg;
    assert_true(seen_count < sizeof seen / sizeof *seen);
    seen[seen_count++] = (struct seen){r->position, r->type, (uint32_t)r->payload.n, sum_of(r->payload)};
}

static void on_durable(void *arg, int status)
{
    (void)arg;
    last_status = status;
    *(status == 0 ? &durable_ok : &durable_failed) += 1;
}

static void move_ended(void *arg, int status)
{
    struct seen *s = arg;
    assert_int_equal(status, 0);
    qlog_dead(qlog, s->position, s->n);
    free(s);
}

static void on_move(void *arg, const struct qlog_record *r)
{
    (void)arg;
    if (r->position != alive_position)
        return;
    struct seen *s = malloc(sizeof *s);
    assert_non_null(s);
    *s = (struct seen){r->position, 1, (uint32_t)r->payload.n, 0};
    qlog_position at = qlog_append(qlog, 1, 1, &r->payload, 1, QLOG_LAZY, move_ended, s);
    assert_true(at != 0);
    qlog_alive(qlog, at, (uint32_t)r->payload.n);
    moved_count++;
}

static void open_log(uint64_t size)
{
    seen_count = 0;
    struct qlog_options o = {.io = io,
                             .events = events,
                             .appender = appender,
                             .folder = folder,
                             .segment_size = size,
                             .lazy_ms = 20,
                             .replay = on_replay,
                             .move = on_move};
    assert_int_equal(qlog_open(&o, &qlog), 0);
}

static void on_tick(void *arg)
{
    (void)arg;
    io_stop(io);
}

/* Turns the loop until nothing is under way. */
static void settle(void)
{
    struct io_timer *t = io_timer_new(io, on_tick, NULL);
    io_timer_start(t, 1, 1);
    for (int i = 0; i < 20000 && (!qlog_idle(qlog) || qlog->jobs > 0 || qlog->mover != NULL); i++)
        io_run(io);
    io_timer_free(t);
    assert_true(qlog_idle(qlog));
}

static void close_log(void)
{
    settle();
    qlog_close(qlog);
    qlog = NULL;
}

static qlog_position append(uint8_t type, const char *text, size_t n)
{
    struct vr_str part = vr_str(text, n);
    return qlog_append(qlog, type, 1, &part, 1, QLOG_URGENT, on_durable, NULL);
}

static bool unlink_one(void *arg, const char *name)
{
    char path[256];
    (void)arg;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    io_fs_unlink(path);
    return true;
}

static int setup(void **state)
{
    (void)state;
    assert_true(folder_new(folder));
    io = io_new(2);
    appender = io_appender_new(io, way);
    events =
        event_log_new(NULL, "test", EVENT_KEY_VALUE, EVENT_ERROR + 1); /* silent: damage is made on purpose */
    durable_ok = durable_failed = last_status = 0;
    fail_writes = fail_syncs = 0;
    room_for = 0;
    alive_position = 0;
    moved_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (qlog != NULL)
        close_log();
    folder_remove(folder);
    event_log_free(events);
    io_appender_free(appender);
    io_free(io);
    return 0;
}

/* The bytes of a segment's file, changed and written back. */
static size_t file_size(uint32_t number)
{
    char path[256];
    struct io_fs_stat st;
    snprintf(path, sizeof path, "%s/%012u.seg", folder, number);
    assert_int_equal(io_fs_stat(path, &st), 0);
    return (size_t)st.size;
}

static void poke(uint32_t number, uint64_t offset, const void *bytes, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%012u.seg", folder, number);
    int fd = io_fs_open(path, IO_FS_READ | IO_FS_WRITE, 0);
    assert_true(fd >= 0);
    assert_true(__real_io_fs_pwrite(fd, bytes, n, offset) >= 0);
    io_fs_close(fd);
}

static uint8_t peek(uint32_t number, uint64_t offset)
{
    char path[256];
    uint8_t byte;
    snprintf(path, sizeof path, "%s/%012u.seg", folder, number);
    int fd = io_fs_open(path, IO_FS_READ, 0);
    assert_true(fd >= 0);
    assert_int_equal(io_fs_pread(fd, &byte, 1, offset), 1);
    io_fs_close(fd);
    return byte;
}

/* ---- tests ------------------------------------------------------------------------------------------------------------------------ */

static void test_append_replay(void **state)
{
    (void)state;
    open_log(1u << 20);
    qlog_position first = append(1, "alpha", 5), second = append(2, "", 0),
                  third = append(3, "gamma gamma", 11);
    assert_true(first != 0 && first < second && second < third);
    assert_int_equal(durable_ok, 0); /* never from inside the call */
    close_log();
    assert_int_equal(durable_ok, 3);
    open_log(1u << 20);
    assert_int_equal(seen_count, 3);
    assert_true(seen[0].position == first && seen[1].position == second && seen[2].position == third);
    assert_int_equal(seen[0].sum, sum_of(VR_STR("alpha")));
    assert_int_equal(seen[1].n, 0);
    assert_int_equal(seen[2].type, 3);
    struct qlog_counts c;
    qlog_counts(qlog, &c);
    assert_int_equal(c.damaged, 0);
}

static void test_parts_are_joined(void **state)
{
    (void)state;
    open_log(1u << 20);
    struct vr_str parts[] = {VR_STR("one "), VR_STR(""), VR_STR("two")};
    assert_true(qlog_append(qlog, 1, 1, parts, 3, QLOG_LAZY, on_durable, NULL) != 0);
    settle(); /* the lazy timer commits it */
    assert_int_equal(durable_ok, 1);
    close_log();
    open_log(1u << 20);
    assert_int_equal(seen[0].sum, sum_of(VR_STR("one two")));
}

static void test_bounds(void **state)
{
    (void)state;
    open_log(1u << 20);
    struct vr_str big = {calloc(1, QLOG_RECORD_MAX + 1), QLOG_RECORD_MAX + 1};
    assert_non_null(big.p);
    assert_int_equal(qlog_append(qlog, 1, 1, &big, 1, QLOG_URGENT, on_durable, NULL), 0);
    big.n = 3u << 20; /* larger than a segment: it gets one of its own */
    assert_true(qlog_append(qlog, 1, 1, &big, 1, QLOG_URGENT, on_durable, NULL) != 0);
    append(2, "after", 5);
    close_log();
    assert_int_equal(durable_ok, 2);
    open_log(1u << 20);
    assert_int_equal(seen_count, 2);
    assert_int_equal(seen[0].sum, sum_of(big));
    free((char *)big.p);
}

struct got {
    int status;
    uint32_t sum;
    bool done;
};

static void on_read(void *arg, int status, const struct qlog_record *r)
{
    struct got *g = arg;
    g->status = status;
    g->sum = status == 0 ? sum_of(r->payload) : 0;
    g->done = true;
}

static void test_read(void **state)
{
    (void)state;
    open_log(1u << 20);
    qlog_position p = append(1, "read me", 7);
    settle();
    struct got g = {0}, wrong = {0}, nowhere = {0};
    qlog_read(qlog, p, 7, on_read, &g);
    qlog_read(qlog, p + 8, 7, on_read, &wrong);
    qlog_read(qlog, p + ((uint64_t)9 << 32), 7, on_read, &nowhere);
    settle();
    assert_true(g.done && wrong.done && nowhere.done);
    assert_int_equal(g.status, 0);
    assert_int_equal(g.sum, sum_of(VR_STR("read me")));
    assert_int_equal(wrong.status, -EBADMSG);
    assert_int_equal(nowhere.status, -ENOENT);
}

/* The last record is torn at every byte: what stands before is replayed, the tail is cut without noise, and appending goes on. */
static void test_torn_tail(void **state)
{
    (void)state;
    open_log(QLOG_SIZE_MIN);
    append(1, "first", 5);
    append(1, "second", 6);
    qlog_position last = append(1, "the torn one", 12);
    close_log();
    uint64_t at = last & UINT32_MAX;
    size_t space = record_space(12), size = file_size(1);
    char *whole = malloc(size);
    assert_non_null(whole);
    char path[256];
    snprintf(path, sizeof path, "%s/%012u.seg", folder, 1u);
    int fd = io_fs_open(path, IO_FS_READ, 0);
    assert_int_equal(io_fs_pread(fd, whole, size, 0), size);
    io_fs_close(fd);
    for (size_t keep = 0; keep < sizeof(struct record_header) + 12; keep++) {
        io_fs_list(folder, unlink_one, NULL);
        fd = io_fs_open(path, IO_FS_READ | IO_FS_WRITE | IO_FS_CREATE, 0600);
        assert_true(__real_io_fs_pwrite(fd, whole, size, 0) >= 0);
        char garbage[64];
        memset(garbage, keep % 2 == 0 ? 0 : 0xA5, sizeof garbage);
        assert_true(__real_io_fs_pwrite(fd, garbage, space - keep, at + keep) >= 0);
        io_fs_close(fd);
        open_log(QLOG_SIZE_MIN);
        struct qlog_counts c;
        qlog_counts(qlog, &c);
        assert_int_equal(seen_count, 2);
        assert_int_equal(c.damaged, 0);
        assert_int_equal(file_size(1), at); /* cut, and never appended to again */
        assert_true(append(1, "afterwards", 10) >> 32 == 2);
        close_log();
        open_log(QLOG_SIZE_MIN);
        assert_int_equal(seen_count, 3);
        assert_int_equal(seen[2].sum, sum_of(VR_STR("afterwards")));
        close_log();
    }
    free(whole);
}

static void header_as_version_1(uint32_t number)
{
    char path[256], page[QLOG_HEADER];
    snprintf(path, sizeof path, "%s/%012u.seg", folder, number);
    int fd = io_fs_open(path, IO_FS_READ | IO_FS_WRITE, 0);
    assert_int_equal(io_fs_pread(fd, page, sizeof page, 0), sizeof page);
    struct segment_header h;
    assert_int_equal(segment_header_read(page, &h), 0);
    h.version = 1;
    h.previous_end = h.crc = 0;
    h.previous = vr_crc32c(0, &h, offsetof(struct segment_header, previous));
    memcpy(page, &h, sizeof h);
    memcpy(page + QLOG_HEADER_COPY, &h, sizeof h);
    assert_true(__real_io_fs_pwrite(fd, page, sizeof page, 0) >= 0);
    io_fs_close(fd);
}

/* The power may go while a commit is written, and of its blocks the later ones may be on the disk and the earlier ones not. Nobody was told of
 * any: it is no damage. A hole in a commit that another one follows is. */
static void test_torn_commit(void **state)
{
    (void)state;
    enum { NO_COMMIT_BEHIND, COMMIT_BEHIND, END_BEHIND, VERSION_1, CASES };
    for (int which = 0; which < CASES; which++) {
        io_fs_list(folder, unlink_one, NULL);
        open_log(QLOG_SIZE_MIN);
        append(1, "an earlier commit", 17);
        settle();
        append(1, "one", 3);
        qlog_position torn = append(1, "two", 3);
        append(1, "three", 5);
        if (which == COMMIT_BEHIND) {
            settle();
            append(1, "a later commit", 14);
        } else if (which == END_BEHIND) {
            settle();
            qlog_seal(qlog);
        }
        close_log();
        if (which == VERSION_1)
            header_as_version_1(1);
        uint8_t noise = 0x77;
        poke(1, (torn & UINT32_MAX) + sizeof(struct record_header), &noise, 1);
        for (int again = 0; again < 2; again++) { /* as the youngest segment, and behind it */
            open_log(QLOG_SIZE_MIN);
            struct qlog_counts c;
            qlog_counts(qlog, &c);
            bool damaged = which != NO_COMMIT_BEHIND;
            assert_int_equal(c.damaged, damaged);
            assert_int_equal(seen_count, (damaged ? 3u : 2u) + (which == COMMIT_BEHIND) + (unsigned)again);
            append(1, "afterwards", 10);
            close_log();
        }
    }
}

/* Every bit of a record in the middle: it costs that record, is counted, and nothing else is lost. */
static void test_flipped_bits(void **state)
{
    (void)state;
    open_log(QLOG_SIZE_MIN);
    append(1, "before", 6);
    qlog_position middle = append(1, "in the middle", 13);
    settle();
    append(1, "behind", 6);
    close_log();
    uint64_t at = middle & UINT32_MAX;
    for (size_t byte = 0; byte < sizeof(struct record_header) + 13; byte++) {
        uint8_t good = peek(1, at + byte), bad = good ^ (uint8_t)(1u << (byte % 8));
        poke(1, at + byte, &bad, 1);
        open_log(QLOG_SIZE_MIN);
        struct qlog_counts c;
        qlog_counts(qlog, &c);
        assert_int_equal(seen_count, 2);
        assert_int_equal(seen[0].sum, sum_of(VR_STR("before")));
        assert_int_equal(seen[1].sum, sum_of(VR_STR("behind")));
        assert_int_equal(c.damaged, 1);
        struct got g = {0};
        qlog_read(qlog, middle, 13, on_read, &g);
        close_log();
        assert_int_equal(g.status, -EBADMSG);
        poke(1, at + byte, &good, 1);
    }
}

/* A body that looks like a record of the log (but for the secret marker) is not taken for one when resyncing. */
static void test_forged_record(void **state)
{
    (void)state;
    open_log(QLOG_SIZE_MIN);
    struct record_header h = {.marker = 1, .length = 8, .type = 2, .version = 1};
    char body[64] = {0};
    memcpy(body, &h, sizeof h);
    qlog_position p = append(1, body, sizeof body);
    settle();
    append(1, "behind", 6);
    close_log();
    uint8_t zero = 0xFF;
    poke(1, (p & UINT32_MAX) + 4, &zero, 1); /* its checksum */
    open_log(QLOG_SIZE_MIN);
    assert_int_equal(seen_count, 1);
    assert_int_equal(seen[0].sum, sum_of(VR_STR("behind")));
}

static void test_first_page(void **state)
{
    (void)state;
    open_log(QLOG_SIZE_MIN);
    append(1, "kept", 4);
    close_log();
    char noise[QLOG_HEADER];
    memset(noise, 0x5A, sizeof noise);
    poke(1, 0, noise, 512); /* the first copy */
    open_log(QLOG_SIZE_MIN);
    assert_int_equal(seen_count, 1);
    close_log();
    poke(1, 0, noise, sizeof noise); /* both */
    open_log(QLOG_SIZE_MIN);
    struct qlog_counts c;
    qlog_counts(qlog, &c);
    assert_int_equal(seen_count, 0);
    assert_int_equal(c.damaged, 1);
    struct io_fs_stat st;
    char path[256];
    snprintf(path, sizeof path, "%s/%012u.seg.damaged", folder, 1u);
    assert_int_equal(io_fs_stat(path, &st), 0); /* set aside, not thrown away */
}

static void test_unknown_version(void **state)
{
    (void)state;
    open_log(QLOG_SIZE_MIN);
    append(1, "later", 5);
    close_log();
    uint32_t version = QLOG_VERSION + 1;
    poke(1, 8, &version, sizeof version); /* in one copy it is damage, as with any other flipped byte */
    open_log(QLOG_SIZE_MIN);
    assert_int_equal(seen_count, 1);
    close_log();
    poke(1, QLOG_HEADER_COPY + 8, &version, sizeof version);
    struct qlog_options o = {
        .io = io, .events = events, .folder = folder, .segment_size = QLOG_SIZE_MIN, .replay = on_replay};
    assert_int_equal(qlog_open(&o, &qlog), -ENOTSUP);
    assert_null(qlog);
}

static void test_rotation(void **state)
{
    (void)state;
    open_log(QLOG_SIZE_MIN);
    char body[4096];
    qlog_position at[100];
    for (int i = 0; i < 100; i++) {
        memset(body, 'a' + i % 26, sizeof body);
        at[i] = append(1, body, sizeof body);
        if (i % 7 == 0)
            settle();
    }
    close_log();
    assert_int_equal(durable_ok, 100);
    assert_true(at[99] >> 32 >= 7);
    open_log(QLOG_SIZE_MIN);
    assert_int_equal(seen_count, 100);
    for (int i = 0; i < 100; i++) {
        memset(body, 'a' + i % 26, sizeof body);
        assert_int_equal(seen[i].sum, sum_of(vr_str(body, sizeof body)));
        assert_true(seen[i].position == at[i]);
    }
    struct qlog_counts c;
    qlog_counts(qlog, &c);
    assert_int_equal(c.damaged, 0);
    /* A segment in the middle that lost its end is damage, though its records stand. */
    close_log();
    uint64_t end = 0;
    for (int i = 0; i < 100; i++)
        if (at[i] >> 32 == 2)
            end = (at[i] & UINT32_MAX) + record_space(sizeof body);
    uint8_t noise = (uint8_t)~peek(2, end);
    poke(2, end, &noise, 1);
    open_log(QLOG_SIZE_MIN);
    qlog_counts(qlog, &c);
    assert_int_equal(seen_count, 100);
    assert_int_equal(c.damaged, 1);
}

/* The tick looks whether there is a spare at any moment, also while the last one is being renamed into the next segment: another one made
 * under its name would fill that segment with zeros. */
static void test_spare_in_use(void **state)
{
    (void)state;
    enum { N = 150 };
    char body[4096];
    unsigned met = 0;
    open_log(QLOG_SIZE_MIN);
    settle();
    for (int i = 0; i < N; i++) {
        memset(body, 'a' + i % 26, sizeof body);
        qlog_position at = append(1, body, sizeof body);
        assert_true(at != 0);
        qlog_alive(qlog, at, sizeof body);
        qlog_flush(qlog);
        bool opens = qlog->writing != NULL && qlog->writing->opens;
        qlog_trim(qlog);
        assert_false(opens && qlog->preparing);
        met += opens;
        settle();
    }
    assert_true(met > 0);
    close_log();
    open_log(QLOG_SIZE_MIN);
    assert_int_equal(seen_count, N);
    struct qlog_counts c;
    qlog_counts(qlog, &c);
    assert_int_equal(c.damaged, 0);
}

static void fail_and_recover(_Atomic int *what, int status)
{
    open_log(QLOG_SIZE_MIN);
    qlog_position good = append(1, "good", 4);
    settle();
    *what = status;
    append(1, "lost", 4);
    qlog_flush(qlog);
    append(1, "waits behind it", 15); /* gathers while the write is under way: it fails too */
    settle();
    assert_int_equal(durable_failed, 2);
    assert_int_equal(last_status, status);
    append(1, "still failing", 13);
    settle();
    assert_int_equal(durable_failed, 3);
    *what = 0;
    qlog_position after = append(1, "works again", 11);
    assert_true(after >> 32 > good >> 32); /* never into the segment that failed */
    settle();
    assert_int_equal(durable_ok, 2);
    close_log();
    for (int cut = 1; cut >= 0; cut--) {
        open_log(QLOG_SIZE_MIN);
        struct qlog_counts c;
        qlog_counts(qlog, &c);
        assert_int_equal(seen_count, 2);
        assert_int_equal(seen[0].sum, sum_of(VR_STR("good")));
        assert_int_equal(seen[1].sum, sum_of(VR_STR("works again")));
        assert_int_equal(c.damaged, 0);
        close_log();
        /* The power went before the segment was cut, and what was refused is on the disk: here a copy of the good record. */
        char record[64];
        size_t space = record_space(4);
        for (size_t i = 0; i < space; i++)
            record[i] = (char)peek(1, (good & UINT32_MAX) + i);
        poke(1, (good & UINT32_MAX) + space, record, space);
    }
}

static void test_disk_full(void **state)
{
    (void)state;
    fail_and_recover(&fail_writes, -ENOSPC);
}

static void test_sync_fails(void **state)
{
    (void)state;
    fail_and_recover(&fail_syncs, -EIO);
}

/* The disk has no room for one more segment: told before the present one is full, so that results still find their place. */
static void test_short_of_segments(void **state)
{
    (void)state;
    char body[8192] = {0};
    open_log(QLOG_SIZE_MIN);
    qlog_position oldest = append(1, body, sizeof body);
    qlog_alive(qlog, oldest, sizeof body);
    settle();
    assert_int_equal(qlog_short(qlog), 0);
    room_for = QLOG_SIZE_MIN / 2;
    uint32_t first = qlog->segments[0]->number;
    for (int i = 0; i < 16 && qlog->segments[qlog->segment_count - 1]->number == first; i++) {
        assert_int_equal(qlog_short(qlog), 0);
        append(1, body, sizeof body);
        settle();
    }
    assert_int_equal(qlog_short(qlog), -ENOSPC);
    assert_int_equal(durable_failed, 0);
    for (int i = 0; i < 100; i++)
        append(2, "result", 6);
    settle();
    assert_int_equal(durable_failed, 0);
    qlog_trim(qlog);
    settle();
    assert_int_equal(qlog_short(qlog), -ENOSPC); /* not tried again at once */
    room_for = 0;
    qlog->prepare_after_ms = 0;
    qlog_trim(qlog);
    settle();
    assert_int_equal(qlog_short(qlog), 0);
    qlog_dead(qlog, oldest, sizeof body);
}

static void test_trim(void **state)
{
    (void)state;
    open_log(QLOG_SIZE_MIN);
    char body[8192] = {0};
    qlog_position at[40];
    for (int i = 0; i < 40; i++) {
        at[i] = append(1, body, sizeof body);
        qlog_alive(qlog, at[i], sizeof body);
        settle();
    }
    struct qlog_counts before, after;
    qlog_counts(qlog, &before);
    assert_int_equal(before.alive, 40 * sizeof body);
    qlog_trim(qlog);
    settle();
    qlog_counts(qlog, &after);
    assert_int_equal(after.segments, before.segments);
    for (int i = 1; i < 40;
         i++) /* all but the oldest: nothing may go, for records behind it may speak of it */
        qlog_dead(qlog, at[i], sizeof body);
    alive_position = at[0];
    for (int i = 0; i < 5; i++) {
        qlog_trim(qlog);
        settle();
    }
    assert_int_equal(moved_count, 1);
    qlog_counts(qlog, &after);
    assert_true(after.segments <= 2);
    assert_int_equal(after.alive, sizeof body);
    assert_true(qlog->spare != 0); /* a dead segment is kept for the next one */
    close_log();
    open_log(QLOG_SIZE_MIN);
    struct qlog_counts replayed;
    qlog_counts(qlog, &replayed);
    assert_int_equal(replayed.damaged, 0);
}

/* A recycled file still holds the records of its earlier life behind the new ones: they are not taken for records. */
static void test_recycled(void **state)
{
    (void)state;
    open_log(QLOG_SIZE_MIN);
    char body[4096];
    memset(body, 'x', sizeof body);
    for (int round = 0; round < 60; round++) {
        append(1, body, sizeof body);
        settle();
        qlog_trim(qlog); /* nothing is alive */
        settle();
    }
    struct qlog_counts c;
    qlog_counts(qlog, &c);
    assert_true(c.segments <= 2);
    append(2, "the last", 8);
    close_log();
    open_log(QLOG_SIZE_MIN);
    qlog_counts(qlog, &c);
    assert_int_equal(c.damaged, 0);
    assert_true(seen_count > 0 && seen_count < 30);
    assert_int_equal(seen[seen_count - 1].sum, sum_of(VR_STR("the last")));
}

static void test_group_commit(void **state)
{
    (void)state;
    open_log(4u << 20);
    append(1, "warm", 4);
    settle();
    struct qlog_counts before, after;
    qlog_counts(qlog, &before);
    char body[1024] = {0};
    for (int i = 0; i < 1000; i++)
        append(1, body, sizeof body);
    settle();
    qlog_counts(qlog, &after);
    assert_int_equal(durable_ok, 1001);
    assert_true(after.commits - before.commits <= 2); /* many share one fdatasync */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_append_replay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_are_joined, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_first_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_version, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spare_in_use, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_short_of_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sync_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_trim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recycled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_group_commit, setup, teardown),
    };
    int failed = 0;
    for (way = IO_APPEND_BEST; way <= IO_APPEND_THREAD; way++)
        failed += cmocka_run_group_tests_name(way == IO_APPEND_BEST ? "as the kernel allows" : "by a thread",
                                              tests, NULL, NULL);
    return failed;
}
