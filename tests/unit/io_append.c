/* io_append.c - tests of src/io/append.h, each by the ring and by the thread; and of what only the inside shows: how a ring is restricted, what
 * happens when it does not take what it is given, and when the loop's own thread is used.
 */
#include "io_testing.h"

#include "../../src/io/real/append.c"

#include <signal.h>
#include <sys/resource.h>

static char folder[64];
static struct io *io;
static struct io_appender *appender;
static int file;

/* ---- a ring that does not take everything (linked with --wrap) ------------------------------------------------------- */

static int submits_left; /* > 0: after so many submitted entries, submit_status */
static int submit_status;

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring)
{
    if (submit_status == 0)
        return __real_io_uring_submit(ring);
    if (submits_left == 0)
        return submit_status;
    submits_left--;
    unsigned tail = ring->sq.sqe_tail;
    ring->sq.sqe_tail = ring->sq.sqe_head + 1; /* one of them, as when memory is short */
    int n = __real_io_uring_submit(ring);
    ring->sq.sqe_tail = tail;
    return n;
}

/* ---- setup ----------------------------------------------------------------------------------------------------------- */

static bool by_ring(void)
{
    return strcmp(io_appender_kind(appender), "io_uring") == 0;
}

static int open_file(const char *name, unsigned flags)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = io_fs_open(path, flags, 0600);
    assert_true(fd >= 0);
    return fd;
}

static int setup_way(enum io_append_way way)
{
    submit_status = submits_left = 0;
    folder_make(folder);
    io = io_new(1);
    appender = io_appender_new(io, way);
    file = open_file("file", IO_FS_READ | IO_FS_WRITE | IO_FS_CREATE);
    if (way == IO_APPEND_BEST && !by_ring())
        print_message("this kernel grants no ring: the thread is tested twice\n");
    return 0;
}

static int setup_ring(void **state)
{
    (void)state;
    return setup_way(IO_APPEND_BEST);
}

static int setup_thread(void **state)
{
    (void)state;
    return setup_way(IO_APPEND_THREAD);
}

static int teardown(void **state)
{
    char path[128];
    (void)state;
    io_appender_free(appender);
    io_free(io);
    io_fs_close(file);
    snprintf(path, sizeof path, "%s/file", folder);
    io_fs_unlink(path);
    folder_remove(folder);
    return 0;
}

/* ---- what is told ---------------------------------------------------------------------------------------------------- */

static int told_count, told_status;

static void on_done(void *arg, int status)
{
    (void)arg;
    told_count++;
    told_status = status;
    io_stop(io);
}

/* The status of one append, and that it did not come from inside the call. */
static int append_to(int fd, const char *bytes, size_t n, uint64_t offset, bool may_block)
{
    told_count = 0;
    io_appender_write(appender, fd, bytes, n, offset, may_block, on_done, NULL);
    assert_int_equal(told_count, 0);
    run_guarded(io);
    assert_int_equal(told_count, 1);
    return told_status;
}

static void file_holds(const char *text, uint64_t offset)
{
    char got[64] = "";
    assert_int_equal(io_fs_pread(file, got, strlen(text), offset), strlen(text));
    assert_string_equal(got, text);
}

/* ---- both ways ------------------------------------------------------------------------------------------------------- */

static void bytes_come_to_their_place(void **state)
{
    (void)state;
    assert_int_equal(append_to(file, "first", 5, 0, false), 0);
    assert_int_equal(append_to(file, "third", 5, 4096, false), 0);
    assert_int_equal(append_to(file, "second", 6, 5, false), 0);
    file_holds("firstsecond", 0);
    file_holds("third", 4096);
}

#define ROW 200
static char row_text[ROW];
static int row_next;

static void row_go_on(void *arg, int status)
{
    int *sent = arg;
    assert_int_equal(status, 0);
    assert_int_equal(*sent, row_next);
    char got = 0;
    assert_int_equal(io_fs_pread(file, &got, 1, (uint64_t)row_next), 1);
    assert_int_equal(got, row_text[row_next]); /* it is there when it is told */
    if (++row_next == ROW) {
        io_stop(io);
        return;
    }
    *sent = row_next;
    io_appender_write(appender, file, &row_text[row_next], 1, (uint64_t)row_next, row_next % 3 == 0,
                      row_go_on, sent);
}

static void the_next_may_be_given_from_inside(void **state)
{
    int sent = row_next = 0;
    (void)state;
    for (int i = 0; i < ROW; i++)
        row_text[i] = (char)('a' + i % 26);
    io_appender_write(appender, file, row_text, 1, 0, false, row_go_on, &sent);
    run_guarded(io);
    assert_int_equal(row_next, ROW);
    char got[ROW];
    assert_int_equal(io_fs_pread(file, got, ROW, 0), ROW);
    assert_memory_equal(got, row_text, ROW);
}

static void failures_are_told(void **state)
{
    (void)state;
    int read_only = open_file("file", IO_FS_READ), full = io_fs_open("/dev/full", IO_FS_WRITE, 0),
        unsyncable = io_fs_open("/dev/null", IO_FS_WRITE, 0);
    assert_int_equal(append_to(read_only, "x", 1, 0, false), -EBADF);
    assert_int_equal(append_to(full, "x", 1, 0, false), -ENOSPC);
    assert_int_equal(append_to(unsyncable, "x", 1, 0, false), -EINVAL); /* written, not synced */
    appender->average_us = 0;
    assert_int_equal(append_to(full, "x", 1, 0, true), -ENOSPC); /* at once */
    assert_int_equal(append_to(file, "works", 5, 0, false), 0);
    file_holds("works", 0);
    io_fs_close(read_only);
    io_fs_close(full);
    io_fs_close(unsyncable);
}

/* The first write ends at the limit, its sync is cancelled by the kernel; the thread's second attempt hears why. */
static void a_short_write_is_taken_up_again(void **state)
{
    struct rlimit before, small;
    static char bytes[8192];
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){4096, before.rlim_max};
    bool ring = by_ring();
    memset(bytes, 'b', sizeof bytes);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int status = append_to(file, bytes, sizeof bytes, 0, false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, -EFBIG);
    assert_int_equal(append_to(file, bytes, sizeof bytes, 0, false), 0);
    assert_int_equal(by_ring(), ring); /* that was no fault of the ring's */
}

static void freed_while_under_way(void **state)
{
    size_t n = 1u << 20;
    char *bytes = malloc(n);
    (void)state;
    assert_non_null(bytes);
    memset(bytes, 'f', n);
    told_count = 0;
    io_appender_write(appender, file, bytes, n, 0, false, on_done, NULL);
    io_appender_free(appender);
    free(bytes); /* nobody reads them any more */
    appender = NULL;
    file_holds("ffff", n - 4);
    run_for(io, 5);
    assert_int_equal(told_count, 0);
}

static void freed_before_it_is_told(void **state)
{
    (void)state;
    told_count = 0;
    appender->average_us = 0;
    io_appender_write(appender, file, "x", 1, 0, true, on_done, NULL);
    io_appender_free(appender);
    appender = NULL;
    run_for(io, 5);
    assert_int_equal(told_count, 0);
}

static void free_it(void *arg, int status)
{
    (void)arg;
    assert_int_equal(status, 0);
    io_appender_free(appender);
    appender = NULL;
    io_stop(io);
}

static void freed_from_inside(void **state)
{
    (void)state;
    io_appender_write(appender, file, "x", 1, 0, false, free_it, NULL);
    run_guarded(io);
    assert_null(appender);
    io_appender_free(NULL);
}

/* ---- in the loop's own thread ---------------------------------------------------------------------------------------- */

static void at_once_while_syncs_are_quick(void **state)
{
    (void)state;
    appender->average_us = IO_APPEND_QUICK_US;
    told_count = 0;
    io_appender_write(appender, file, "quick", 5, 0, true, on_done, NULL);
    assert_null(appender->job);
    assert_int_equal(appender->awaited, 0);
    assert_int_equal(told_count, 0);
    file_holds("quick", 0);
    run_guarded(io);
    assert_int_equal(told_count, 1);
    appender->average_us = IO_APPEND_QUICK_US + 1;
    io_appender_write(appender, file, "slow", 4, 0, true, on_done, NULL);
    assert_true(appender->job != NULL || appender->awaited > 0);
    run_guarded(io);
    appender->average_us = 0;
    io_appender_write(appender, file, "asked", 5, 0, false, on_done, NULL); /* who may not block does not */
    assert_true(appender->job != NULL || appender->awaited > 0);
    run_guarded(io);
    assert_int_equal(told_count, 3);
}

static void one_slow_sync_is_enough(void **state)
{
    (void)state;
    assert_true(appender->average_us > IO_APPEND_QUICK_US); /* unknown */
    appender->done = on_done;
    int quick = 0;
    for (; appender->average_us > IO_APPEND_QUICK_US; quick++)
        finish(appender, 0, 100);
    assert_in_range(quick, 2, 50);
    finish(appender, 0, 5000);
    assert_int_equal(appender->average_us, 5000);
    finish(appender, 0, 100);
    assert_true(appender->average_us > IO_APPEND_QUICK_US);
}

/* ---- the ring -------------------------------------------------------------------------------------------------------- */

static int ask(struct io_uring *ring, void (*prepare)(struct io_uring_sqe *s))
{
    struct io_uring_cqe *e;
    struct io_uring_sqe *s = io_uring_get_sqe(ring);
    assert_non_null(s);
    prepare(s);
    assert_int_equal(io_uring_submit(ring), 1);
    assert_int_equal(io_uring_wait_cqe(ring, &e), 0);
    int status = e->res;
    io_uring_cqe_seen(ring, e);
    return status;
}

static void ask_nothing(struct io_uring_sqe *s)
{
    io_uring_prep_nop(s);
}

static void ask_socket(struct io_uring_sqe *s)
{
    memset(s, 0, sizeof *s);
    s->opcode = 45; /* IORING_OP_SOCKET, of Linux 5.19 */
    s->fd = 2;      /* AF_INET */
    s->off = 1;     /* SOCK_STREAM */
}

static void ask_open(struct io_uring_sqe *s)
{
    io_uring_prep_openat(s, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
}

static void ask_write_otherwise(struct io_uring_sqe *s)
{
    io_uring_prep_write(s, file, "x", 1, 0);
    io_uring_sqe_set_flags(s, IOSQE_ASYNC);
}

static void ask_write(struct io_uring_sqe *s)
{
    io_uring_prep_write(s, file, "x", 1, 0);
}

static void a_ring_writes_and_syncs_only(void **state)
{
    struct io_uring ring;
    (void)state;
    if (ring_make(&ring) != 0)
        skip();
    assert_int_equal(ask(&ring, ask_nothing), -EACCES);
    assert_int_equal(ask(&ring, ask_socket), -EACCES);
    assert_int_equal(ask(&ring, ask_open), -EACCES);
    assert_int_equal(ask(&ring, ask_write_otherwise), -EACCES);
    assert_int_equal(ask(&ring, ask_write), 1);
    assert_int_equal(ring_register(&ring, IORING_REGISTER_FILES, &file, 1), -EACCES);
    assert_int_equal(ring_register(&ring, IORING_REGISTER_PERSONALITY, NULL, 0), -EACCES);
    io_uring_queue_exit(&ring);
}

/* What it did not take, the thread does; and it is asked for nothing more. */
static void a_ring_that_refuses(void **state)
{
    (void)state;
    for (int taken = 0; taken < 2; taken++) {
        io_appender_free(appender);
        appender = io_appender_new(io, IO_APPEND_BEST);
        if (!by_ring())
            skip();
        submits_left = taken;
        submit_status = -EBUSY;
        assert_int_equal(append_to(file, taken == 0 ? "none" : "half", 4, 0, false), 0);
        file_holds(taken == 0 ? "none" : "half", 0);
        assert_false(by_ring());
        assert_int_equal(append_to(file, "after", 5, 0, false), 0);
        file_holds("after", 0);
        submit_status = 0;
    }
}

#define BOTH(test)                                                                                           \
    {#test " (ring)", test, setup_ring, teardown, NULL},                                                     \
    {                                                                                                        \
#test " (thread)", test, setup_thread, teardown, NULL                                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(bytes_come_to_their_place),
        BOTH(the_next_may_be_given_from_inside),
        BOTH(failures_are_told),
        BOTH(a_short_write_is_taken_up_again),
        BOTH(freed_while_under_way),
        BOTH(freed_before_it_is_told),
        BOTH(freed_from_inside),
        BOTH(at_once_while_syncs_are_quick),
        cmocka_unit_test_setup_teardown(one_slow_sync_is_enough, setup_thread, teardown),
        cmocka_unit_test_setup_teardown(a_ring_writes_and_syncs_only, setup_ring, teardown),
        cmocka_unit_test_setup_teardown(a_ring_that_refuses, setup_ring, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
