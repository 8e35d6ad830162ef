/* io_channel.c - tests of src/io/channel.h: frames, batches, descriptors, garbage. */
#include "io_testing.h"

#include "io/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct end {
    struct io *io;
    struct io_channel *c;
    int frames, closed, status;
    int wanted; /* io_stop after so many frames */
    uint16_t types[512];
    size_t bytes;
    int fds[512], fd_count;
    int fd_at[512]; /* the frame's number */
    bool close_in_frame, check_pattern;
};

static void pattern(char *out, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(seed + i * 31 + (i >> 8));
}

static void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct end *e = arg;
    assert_true(e->frames < 512);
    if (e->check_pattern) {
        char *expected = malloc(payload.n + 1);
        pattern(expected, payload.n, type);
        assert_memory_equal(payload.p == NULL ? "" : payload.p, expected, payload.n);
        free(expected);
    }
    if (fd >= 0) {
        e->fds[e->fd_count] = fd;
        e->fd_at[e->fd_count++] = e->frames;
    }
    e->types[e->frames++] = type;
    e->bytes += payload.n;
    if (e->frames == e->wanted)
        io_stop(e->io);
    if (e->close_in_frame) {
        io_channel_close(e->c);
        e->c = NULL;
    }
}

static void on_closed(void *arg, int status)
{
    struct end *e = arg;
    e->closed++;
    e->status = status;
    io_stop(e->io);
}

static const struct io_channel_ops ops = {.frame = on_frame, .closed = on_closed};

struct fixture {
    struct io *io;
    struct end a, b;
    int raw; /* b's place when garbage is to be written */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    int fds[2];
    f->io = io_new(1);
    assert_int_equal(io_channel_pair(fds), 0);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    f->a = (struct end){.io = f->io};
    f->b = (struct end){.io = f->io};
    f->a.c = io_channel_new(f->io, fds[0], &ops, &f->a);
    f->b.c = io_channel_new(f->io, fds[1], &ops, &f->b);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    io_channel_close(f->a.c);
    io_channel_close(f->b.c);
    io_free(f->io);
    for (int i = 0; i < f->b.fd_count; i++)
        close(f->b.fds[i]);
    free(f);
    return 0;
}

static void frames_keep_their_order_and_bytes(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0, 1, 7, 8, 100, 4096, 65528, 65535, 65536, 65537, 200000, 1 << 20, 3, 0};
    const int n = sizeof sizes / sizeof *sizes;
    char *payload = malloc(1 << 20);
    f->b.check_pattern = true;
    f->b.wanted = 3 * n;
    for (int i = 0; i < 3 * n; i++) {
        pattern(payload, sizes[i % n], (unsigned)i);
        io_channel_send(f->a.c, (uint16_t)i, vr_str(payload, sizes[i % n]), -1);
    }
    assert_true(io_channel_unsent(f->a.c) > 1 << 20);
    run_guarded(f->io);
    for (int i = 0; i < 3 * n; i++)
        assert_int_equal(f->b.types[i], i);
    assert_int_equal(io_channel_unsent(f->a.c), 0);
    assert_int_equal(f->a.frames, 0);
    free(payload);
}

static void many_small_frames_and_answers(void **state)
{
    struct fixture *f = *state;
    f->b.wanted = 500;
    for (int i = 0; i < 500; i++)
        io_channel_send(f->a.c, (uint16_t)(i + 1), VR_STR("small"), -1);
    run_guarded(f->io);
    assert_int_equal(f->b.bytes, 500 * 5);
    f->a.wanted = 1;
    io_channel_send(f->b.c, 9, VR_STR("back"), -1);
    io_channel_flush(f->b.c);
    assert_int_equal(io_channel_unsent(f->b.c), 0);
    run_guarded(f->io);
    assert_int_equal(f->a.types[0], 9);
}

/* Each descriptor arrives with the frame that it was sent with, whatever lies between. */
static void descriptors_match_their_frames(void **state)
{
    struct fixture *f = *state;
    static char large[150000];
    struct stat sent[40], got;
    int count = 0;
    f->b.wanted = 120;
    for (int i = 0; i < 120; i++) {
        int fd = -1;
        if (i % 3 == 1) { /* the inode of a pipe tells who it is */
            int p[2];
            assert_int_equal(pipe(p), 0);
            close(p[1]);
            fd = p[0];
            fstat(fd, &sent[count++]);
        }
        io_channel_send(f->a.c, (uint16_t)i,
                        i % 10 == 0 || i % 10 == 1 ? vr_str(large, sizeof large) : VR_STR("s"), fd);
    }
    run_guarded(f->io);
    assert_int_equal(f->b.fd_count, 40);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(f->b.fd_at[i], i * 3 + 1);
        assert_int_equal(fstat(f->b.fds[i], &got), 0);
        assert_int_equal(got.st_ino, sent[i].st_ino);
        assert_true(fcntl(f->b.fds[i], F_GETFD) & FD_CLOEXEC);
    }
}

static void close_in_order_comes_after_the_last_frame(void **state)
{
    struct fixture *f = *state;
    io_channel_send(f->a.c, 5, VR_STR("goodbye"), -1);
    io_channel_close(f->a.c); /* what was said is sent */
    f->a.c = NULL;
    run_guarded(f->io);
    assert_int_equal(f->b.frames, 1);
    assert_int_equal(f->b.closed, 1);
    assert_int_equal(f->b.status, 0);
    int fd = open("/dev/null", O_RDONLY);
    io_channel_send(f->b.c, 6, VR_STR("to nobody"), fd);
    assert_int_equal(io_channel_unsent(f->b.c), 0);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken over and closed */
    run_for(f->io, 5);
    assert_int_equal(f->b.closed, 1);
}

static void closing_inside_the_callback_is_safe(void **state)
{
    struct fixture *f = *state;
    f->b.close_in_frame = true;
    for (int i = 0; i < 10; i++)
        io_channel_send(f->a.c, 1, VR_STR("x"), -1);
    run_guarded(f->io); /* a hears of it */
    assert_int_equal(f->b.frames, 1);
    assert_int_equal(f->b.closed, 0);
    assert_int_equal(f->a.closed, 1);
}

static void replace_b_by_raw(struct fixture *f)
{
    int fds[2];
    io_channel_close(f->a.c);
    assert_int_equal(io_channel_pair(fds), 0);
    f->a.c = io_channel_new(f->io, fds[0], &ops, &f->a);
    f->raw = fds[1];
}

static void garbage_cuts_the_peer_off(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *bytes;
        size_t n;
    } rows[] = {
        {"\xff\xff\xff\x7f\x01\x00\x00\x00", 8},                    /* too long */
        {"\x01\x00\x40\x00\x01\x00\x00\x00", 8},                    /* IO_FRAME_MAX + 1 */
        {"\x00\x00\x00\x00\x01\x00\x02\x00", 8},                    /* an unknown flag */
        {"\x00\x00\x00\x00\x01\x00\x01\x00", 8},                    /* no descriptor came with it */
        {"\x00\x00\x00\x00\x01\x00\x00\x00GET / HTTP/1.1\r\n", 24}, /* one good frame first */
    };
    io_channel_close(f->b.c);
    f->b.c = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int split = 0; split < 2; split++) {
            replace_b_by_raw(f);
            f->a.closed = f->a.frames = 0;
            if (split) { /* the head in two pieces */
                assert_int_equal(write(f->raw, rows[i].bytes, 5), 5);
                run_for(f->io, 2);
                assert_int_equal(f->a.closed, 0);
            }
            size_t from = split ? 5 : 0;
            assert_int_equal(write(f->raw, rows[i].bytes + from, rows[i].n - from), rows[i].n - from);
            run_guarded(f->io);
            assert_int_equal(f->a.closed, 1);
            assert_int_equal(f->a.status, -EPROTO);
            assert_int_equal(f->a.frames, i == 4 ? 1 : 0);
            close(f->raw);
        }
}

static void a_frame_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    static const char bytes[] = "\x03\x00\x00\x00\x07\x00\x00\x00"
                                "abc"
                                "\x00\x00\x00\x00\x08\x00\x00\x00";
    io_channel_close(f->b.c);
    f->b.c = NULL;
    replace_b_by_raw(f);
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        assert_int_equal(write(f->raw, bytes + i, 1), 1);
        run_for(f->io, 1);
    }
    assert_int_equal(f->a.frames, 2);
    assert_int_equal(f->a.types[0], 7);
    assert_int_equal(f->a.types[1], 8);
    assert_int_equal(f->a.bytes, 3);
    /* The end in the midst of a frame is still the end. */
    assert_int_equal(write(f->raw, bytes, 9), 9);
    close(f->raw);
    run_guarded(f->io);
    assert_int_equal(f->a.closed, 1);
}

/* A descriptor that we may not hold is lost; its frame, and the channel, are not. */
static void out_of_descriptors_the_frame_comes_alone(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, tight;
    int p[2];
    assert_int_equal(pipe(p), 0);
    io_channel_send(f->a.c, 1, VR_STR("with one"), p[0]);
    io_channel_send(f->a.c, 2, VR_STR("without"), -1);
    io_channel_flush(f->a.c); /* p[0] is free now */
    int next = dup(0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    f->b.wanted = 2;
    run_for(f->io, 50);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(f->b.closed, 0);
    assert_int_equal(f->b.frames, 2);
    assert_int_equal(f->b.fd_count, 0);
    io_channel_send(f->a.c, 3, VR_STR("again"), p[1]);
    f->b.wanted = 3;
    run_guarded(f->io);
    assert_int_equal(f->b.fd_count, 1);
    assert_int_equal(f->b.fd_at[0], 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(frames_keep_their_order_and_bytes),
        T(many_small_frames_and_answers),
        T(descriptors_match_their_frames),
        T(close_in_order_comes_after_the_last_frame),
        T(closing_inside_the_callback_is_safe),
        T(garbage_cuts_the_peer_off),
        T(a_frame_byte_by_byte),
        T(out_of_descriptors_the_frame_comes_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
