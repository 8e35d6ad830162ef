/* io_process.c - tests of src/io/process.h: children, signals, frames, and what a confined process can still do. */
#include "io_testing.h"

#include "io/append.h"
#include "io/channel.h"
#include "io/fs.h"
#include "io/process.h"
#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct io_supervise *supervise; /* signals are blocked once for the whole program */

static struct io_supervise_event wait_event(int64_t timeout_ms)
{
    struct io_supervise_event e;
    io_supervise_wait(supervise, timeout_ms, &e);
    return e;
}

static int wait_exit(int pid)
{
    for (;;) {
        struct io_supervise_event e = wait_event(10000);
        assert_int_not_equal(e.kind, IO_SUP_DEADLINE);
        if (e.kind == IO_SUP_CHILD_EXIT) {
            assert_int_equal(e.pid, pid);
            return e.exit_code;
        }
    }
}

static int return_code(void *arg)
{
    return *(int *)arg;
}

static int kill_itself(void *arg)
{
    (void)arg;
    raise(SIGTERM); /* masks and handlers are reset: it dies */
    return 1;
}

static void exits_are_told(void **state)
{
    int code = 42;
    (void)state;
    int pid = io_supervise_fork(supervise, "test", NULL, 0, return_code, &code);
    assert_true(pid > 0);
    assert_int_equal(wait_exit(pid), 42);
    pid = io_supervise_fork(supervise, "test", NULL, 0, kill_itself, NULL);
    assert_int_equal(wait_exit(pid), -SIGTERM);
    int pids[5], seen = 0;
    for (int i = 0; i < 5; i++) /* one SIGCHLD may stand for several */
        pids[i] = io_supervise_fork(supervise, "test", NULL, 0, return_code, &code);
    for (int i = 0; i < 5; i++) {
        struct io_supervise_event e = wait_event(10000);
        assert_int_equal(e.kind, IO_SUP_CHILD_EXIT);
        for (int j = 0; j < 5; j++)
            if (pids[j] == e.pid)
                seen |= 1 << j;
    }
    assert_int_equal(seen, 31);
}

static void deadlines_and_signals(void **state)
{
    (void)state;
    int64_t before = io_supervise_now_ms();
    assert_int_equal(wait_event(30).kind, IO_SUP_DEADLINE);
    assert_true(io_supervise_now_ms() - before >= 30);
    assert_int_equal(wait_event(0).kind, IO_SUP_DEADLINE);
    kill(getpid(), SIGHUP);
    struct io_supervise_event e = wait_event(-1);
    assert_int_equal(e.kind, IO_SUP_SIGNAL);
    assert_int_equal(e.signum, SIGHUP);
}

struct kept {
    int keep[2], other;
};

static int check_descriptors(void *arg)
{
    struct kept *k = arg;
    for (int fd = 3; fd < 1024; fd++) {
        bool open = fcntl(fd, F_GETFD) >= 0, wanted = fd == k->keep[0] || fd == k->keep[1];
        if (open != wanted)
            return fd > 200 ? 200 : fd;
    }
    return 0;
}

static void only_kept_descriptors_are_inherited(void **state)
{
    struct kept k;
    (void)state;
    k.keep[0] = open("/dev/null", O_RDONLY);
    k.other = open("/dev/null", O_RDONLY);
    k.keep[1] = fcntl(k.other, F_DUPFD, 300);
    int reversed[] = {k.keep[1], k.keep[0], k.keep[0]};
    int pid = io_supervise_fork(supervise, "test", reversed, 3, check_descriptors, &k);
    assert_int_equal(wait_exit(pid), 0);
    close(k.keep[0]);
    close(k.keep[1]);
    close(k.other);
}

static int check_surroundings(void *arg)
{
    char text[300] = "";
    sigset_t blocked;
    struct sigaction pipe_action;
    (void)arg;
    int fd = open("/proc/self/cmdline", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    sigaction(SIGPIPE, NULL, &pipe_action);
    if (pipe_action.sa_handler != SIG_IGN)
        return 1;
    for (int i = 1; i < 32; i++)
        if (sigismember(&blocked, i) == 1)
            return 2;
    raise(SIGINT); /* what a terminal sends to the whole group */
    raise(SIGHUP);
    char name[16];
    prctl(PR_GET_NAME, name);
    if (strcmp(name, "vd-receiver") != 0)
        return 3;
    /* Kernels without CONFIG_CHECKPOINT_RESTORE keep the old title. */
    return n > 0 && strcmp(text, "veredus: receiver") == 0 ? 0 : 4;
}

static void title_and_signals_of_a_child(void **state)
{
    (void)state;
    int pid = io_supervise_fork(supervise, "receiver", NULL, 0, check_surroundings, NULL);
    int code = wait_exit(pid);
    assert_true(code == 0 || code == 4);
    if (code == 4)
        print_message("this kernel does not let a process change its title\n");
}

/* ---- frames ---------------------------------------------------------------------------------------------- */

struct child {
    struct io *io;
    struct io_channel *c;
    int fd;
};

static void child_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct child *c = arg;
    if (fd >= 0) { /* proves that it came: writes into it */
        (void)!write(fd, "passed", 6);
        close(fd);
    }
    io_channel_send(c->c, (uint16_t)(type + 1), payload, -1);
    if (type == 99) {
        io_channel_flush(c->c);
        io_stop(c->io);
    }
}

static void child_closed(void *arg, int status)
{
    struct child *c = arg;
    (void)status;
    io_stop(c->io);
}

static int run_echo(void *arg)
{
    static const struct io_channel_ops ops = {.frame = child_frame, .closed = child_closed};
    struct child *c = arg;
    c->io = io_new(1);
    c->c = io_channel_new(c->io, c->fd, &ops, c);
    io_run(c->io);
    return 7;
}

static void frames_go_both_ways(void **state)
{
    static char large[1 << 20];
    int fds[2], tag = 0, p[2];
    (void)state;
    assert_int_equal(io_channel_pair(fds), 0);
    struct child c = {.fd = fds[1]};
    int pid = io_supervise_fork(supervise, "echo", &fds[1], 1, run_echo, &c);
    close(fds[1]);
    assert_int_equal(io_supervise_watch(supervise, fds[0], &tag), 0);
    assert_int_equal(io_supervise_send(supervise, fds[0], 10, VR_STR("hello"), -1), 0);
    struct io_supervise_event e = wait_event(10000);
    assert_int_equal(e.kind, IO_SUP_FRAME);
    assert_int_equal(e.type, 11);
    assert_ptr_equal(e.channel_arg, &tag);
    assert_true(vr_str_equal(e.payload, VR_STR("hello")));

    assert_int_equal(pipe(p), 0);
    memset(large, 'x', sizeof large);
    assert_int_equal(io_supervise_send(supervise, fds[0], 20, vr_str(large, sizeof large), p[1]), 0);
    assert_int_equal(io_supervise_send(supervise, fds[0], 99, VR_STR("bye"), -1), 0);
    assert_int_equal(fcntl(p[1], F_GETFD), -1); /* taken over */
    e = wait_event(10000);
    assert_int_equal(e.kind, IO_SUP_FRAME);
    assert_int_equal(e.type, 21);
    assert_int_equal(e.payload.n, sizeof large);
    assert_memory_equal(e.payload.p, large, sizeof large);
    char text[8] = "";
    assert_int_equal(read(p[0], text, sizeof text), 6);
    assert_string_equal(text, "passed");
    close(p[0]);

    /* What it said last comes before its death. */
    e = wait_event(10000);
    assert_int_equal(e.kind, IO_SUP_FRAME);
    assert_int_equal(e.type, 100);
    bool closed = false;
    do {
        e = wait_event(10000);
        assert_true(e.kind == IO_SUP_CHANNEL_CLOSED || e.kind == IO_SUP_CHILD_EXIT);
        closed |= e.kind == IO_SUP_CHANNEL_CLOSED;
    } while (e.kind != IO_SUP_CHILD_EXIT || !closed);
    assert_int_equal(e.pid, pid);
    assert_int_equal(e.exit_code, 7);
    assert_true(io_supervise_send(supervise, fds[0], 1, VR_STR("x"), -1) < 0);
    io_supervise_unwatch(supervise, fds[0]);
    assert_int_equal(wait_event(10).kind, IO_SUP_DEADLINE);
}

/* ---- confinement ----------------------------------------------------------------------------------------- */

struct confined {
    char folder[64], hidden[100], readable[100], writable[100];
    bool root;
};

struct appended {
    struct io *io;
    int status;
};

static void append_ended(void *arg, int status)
{
    struct appended *a = arg;
    a->status = status;
    io_stop(a->io);
}

static int confined_child(void *arg)
{
    struct confined *f = arg;
    const char *const reads[] = {f->readable, "/nonexistent", NULL}, *const writes[] = {f->writable, NULL};
    struct io_confine c = {.paths_read = reads, .paths_write = writes, .no_network = true};
    char weaker[256], path[128];
    if (f->root)
        c.uid = c.gid = 65534;
    int pair[2];
    struct io *io = io_new(1);
    struct io_user self;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || io_user_by_id(getuid(), &self) != 0)
        return 20;
    struct io_stream *peer = io_stream_from_fd(io, pair[0]);
    if (io_confine(&c, weaker) != 0)
        return 1;
    uint32_t uid = 99999;
    char name[64] = "";
    if (!io_stream_peer_user(peer, &uid, name, sizeof name) || uid != self.uid ||
        strcmp(name, self.name) != 0)
        return 21; /* the name is known although /etc/passwd can no longer be opened */
    bool landlock = strstr(weaker, "no Landlock") == NULL;
    bool seccomp = strstr(weaker, "seccomp") == NULL;
    if (f->root && (getuid() != 65534 || getegid() != 65534 || io_is_root() || setuid(0) == 0))
        return 2;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 3;
    if (seccomp) {
        if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EACCES || socket(AF_INET6, SOCK_DGRAM, 0) >= 0 ||
            socket(AF_NETLINK, SOCK_RAW, 0) >= 0)
            return 4;
    }
    struct io_uring_params ring = {0};
    if (seccomp &&
        (syscall(SYS_io_uring_setup, 4, &ring) >= 0 || errno != EPERM ||
         syscall(SYS_io_uring_register, -1, IORING_REGISTER_ENABLE_RINGS, NULL, 0) >= 0 || errno != EPERM))
        return 10;
    struct io_appender *appender = io_appender_new(io, IO_APPEND_BEST); /* goes without */
    if (strcmp(io_appender_kind(appender), "thread") != 0)
        return 11;
    if (socket(AF_UNIX, SOCK_STREAM, 0) < 0)
        return 5;
    if (landlock) {
        snprintf(path, sizeof path, "%s/file", f->hidden);
        if (io_fs_open(path, IO_FS_READ, 0) != -EACCES || io_fs_open("/etc/passwd", IO_FS_READ, 0) != -EACCES)
            return 6;
        snprintf(path, sizeof path, "%s/new", f->readable);
        if (io_fs_open(path, IO_FS_WRITE | IO_FS_CREATE, 0600) != -EACCES)
            return 7;
    }
    snprintf(path, sizeof path, "%s/file", f->readable);
    if (io_fs_open(path, IO_FS_READ, 0) < 0)
        return 8;
    snprintf(path, sizeof path, "%s/new", f->writable);
    if (io_fs_replace_file(path, VR_STR("x"), 0600) != 0 || io_fs_unlink(path) != 0)
        return 9;
    return landlock && seccomp ? 0 : 100;
}

/* With the network, as senders are: no ring all the same. And one that was made before does what it may, no more. */
static int confined_ring_child(void *arg)
{
    const struct confined *f = arg;
    const char *const writes[] = {f->writable, NULL};
    struct io_confine c = {.paths_write = writes};
    char weaker[256];
    struct io_uring_params params = {0};
    struct io *io = io_new(1);
    struct io_appender *a = io_appender_new(io, IO_APPEND_BEST);
    bool ring = strcmp(io_appender_kind(a), "io_uring") == 0;
    if (io_confine(&c, weaker) != 0)
        return 1;
    if (strstr(weaker, "seccomp") != NULL)
        return 100;
    if (syscall(SYS_io_uring_setup, 4, &params) >= 0 || errno != EPERM)
        return 2;
    int inet = socket(AF_INET, SOCK_STREAM, 0);
    if (inet < 0)
        return 3;
    char path[128], byte = 0;
    snprintf(path, sizeof path, "%s/ring", f->writable);
    int fd = io_fs_open(path, IO_FS_READ | IO_FS_WRITE | IO_FS_CREATE, 0600);
    struct appended appended = {.io = io, .status = 1};
    io_appender_write(a, fd, "x", 1, 0, false, append_ended, &appended);
    io_run(io);
    if (fd < 0 || appended.status != 0 || io_fs_pread(fd, &byte, 1, 0) != 1 || byte != 'x')
        return 4;
    return ring ? 0 : 100;
}

static void a_ring_is_made_before_the_confinement(void **state)
{
    struct confined f = {0};
    (void)state;
    folder_make(f.folder);
    snprintf(f.writable, sizeof f.writable, "%s", f.folder);
    int code = wait_exit(io_supervise_fork(supervise, "confined", NULL, 0, confined_ring_child, &f));
    char path[128];
    snprintf(path, sizeof path, "%s/ring", f.folder);
    io_fs_unlink(path);
    folder_remove(f.folder);
    if (code == 100)
        print_message("this kernel lacks seccomp or io_uring\n");
    else
        assert_int_equal(code, 0);
}

static void a_confined_process_can_do_little(void **state)
{
    struct confined f = {.root = geteuid() == 0};
    char *folders[] = {f.hidden, f.readable, f.writable};
    static const char *const names[] = {"hidden", "readable", "writable"};
    (void)state;
    folder_make(f.folder);
    chmod(f.folder, 0755);
    for (int i = 0; i < 3; i++) {
        char path[128];
        snprintf(folders[i], 100, "%s/%s", f.folder, names[i]);
        assert_int_equal(mkdir(folders[i], 0777), 0);
        chmod(folders[i], 0777);
        snprintf(path, sizeof path, "%s/file", folders[i]);
        assert_int_equal(io_fs_replace_file(path, VR_STR("x"), 0644), 0);
    }
    int pid = io_supervise_fork(supervise, "confined", NULL, 0, confined_child, &f);
    int code = wait_exit(pid);
    for (int i = 0; i < 3; i++)
        folder_remove(folders[i]);
    folder_remove(f.folder);
    if (code == 100)
        print_message("this kernel lacks Landlock or seccomp\n");
    else
        assert_int_equal(code, 0);
}

static int confined_root_child(void *arg)
{
    const char *const all[] = {"/", NULL};
    struct io_confine c = {.paths_read = all, .paths_write = all, .keep_root = true, .no_network = true};
    char weaker[256];
    (void)arg;
    if (io_confine(&c, weaker) != 0)
        return 1;
    if (geteuid() == 0 && io_fs_become(65534, 65534) != 0)
        return 2;
    return io_raise_descriptor_limit() > 0 ? 0 : 3;
}

static void the_local_process_may_still_become_users(void **state)
{
    (void)state;
    int pid = io_supervise_fork(supervise, "local", NULL, 0, confined_root_child, NULL);
    assert_int_equal(wait_exit(pid), 0);
}

static int sleep_long(void *arg)
{
    (void)arg;
    sleep(60);
    return 0;
}

static void kill_reaches_the_child_only(void **state)
{
    (void)state;
    io_supervise_kill(0, SIGKILL); /* nobody */
    io_supervise_kill(-1, SIGKILL);
    int pid = io_supervise_fork(supervise, "sleeper", NULL, 0, sleep_long, NULL);
    io_supervise_kill(pid, SIGKILL);
    assert_int_equal(wait_exit(pid), -SIGKILL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exits_are_told),
        cmocka_unit_test(deadlines_and_signals),
        cmocka_unit_test(only_kept_descriptors_are_inherited),
        cmocka_unit_test(title_and_signals_of_a_child),
        cmocka_unit_test(frames_go_both_ways),
        cmocka_unit_test(a_confined_process_can_do_little),
        cmocka_unit_test(a_ring_is_made_before_the_confinement),
        cmocka_unit_test(the_local_process_may_still_become_users),
        cmocka_unit_test(kill_reaches_the_child_only),
    };
    supervise = io_supervise_new();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
