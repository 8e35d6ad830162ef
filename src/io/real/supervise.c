/* supervise.c - the supervisor's loop: children, signals, frames and deadlines, with poll() and a signalfd and nothing else.
 *
 * Promise:    every child's death is told once, after the frames that it sent before; a child that does not read cannot hold up the
 *             supervisor for longer than SEND_WAIT_MS.
 * Runs in:    the supervisor only.
 * Tests:      tests/unit/io_process.c
 */
#include "io/process.h"

#include "io/real/frame.h"
#include "io/real/real.h"
#include "io/real/title.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEND_WAIT_MS 5000

struct watched {
    int fd;
    void *arg;
    bool over; /* CHANNEL_CLOSED was told */
    struct frame_reader in;
};

struct exited {
    int pid, code;
};

struct io_supervise {
    int signal_fd;
    struct watched **channels;
    size_t channel_count;
    struct pollfd *polls;    /* [0] the signalfd, then the channels */
    struct watched *current; /* its frames lie in scratch: they go out first */
    struct exited *exits;    /* reaped, not told yet */
    size_t exit_count;
    char *scratch;
};

static const int heard[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1};

int64_t io_supervise_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct io_supervise *io_supervise_new(void)
{
    struct io_supervise *s = real_alloc(sizeof *s);
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof heard / sizeof *heard; i++)
        sigaddset(&set, heard[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    assert(s->signal_fd >= 0);
    s->scratch = real_alloc(IO_SCRATCH);
    s->polls = real_alloc(sizeof *s->polls);
    return s;
}

void io_supervise_free(struct io_supervise *s)
{
    while (s->channel_count > 0)
        io_supervise_unwatch(s, s->channels[0]->fd);
    close(s->signal_fd);
    free(s->channels);
    free(s->polls);
    free(s->exits);
    free(s->scratch);
    free(s);
}

/* ---- forking --------------------------------------------------------------------------------------------- */

static int compare_int(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return x < y ? -1 : x > y;
}

static void close_between(unsigned first, unsigned last)
{
    if (first > last)
        return;
    if (syscall(SYS_close_range, first, last, 0) == 0)
        return;
    long max = sysconf(_SC_OPEN_MAX); /* Linux < 5.9 */
    for (unsigned fd = first; fd <= last && (long)fd < max; fd++)
        close((int)fd);
}

/* All but 0, 1, 2 and keep[]. */
static void close_others(const int *keep, size_t keep_count)
{
    int *sorted = real_alloc((keep_count + 1) * sizeof *sorted);
    unsigned from = 3;
    if (keep_count > 0)
        memcpy(sorted, keep, keep_count * sizeof *sorted);
    qsort(sorted, keep_count, sizeof *sorted, compare_int);
    for (size_t i = 0; i < keep_count; i++) {
        if (sorted[i] < (int)from)
            continue;
        close_between(from, (unsigned)sorted[i] - 1);
        from = (unsigned)sorted[i] + 1;
    }
    close_between(from, ~0u);
    free(sorted);
}

static void reset_signals(void)
{
    sigset_t none;
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL); /* fails for SIGKILL and SIGSTOP, which is right */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT,
           SIG_IGN); /* a terminal tells the whole group: the supervisor alone decides how its children end */
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

int io_supervise_fork(struct io_supervise *s, const char *title, const int *keep, size_t keep_count,
                      int (*run)(void *arg), void *arg)
{
    (void)s;
    fflush(NULL); /* or the child would write it a second time */
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid > 0)
        return pid;
    close_others(keep, keep_count);
    reset_signals();
    process_title_set(title);
    int code = run(arg);
    fflush(NULL);
    _exit(code); /* the parent's atexit handlers are the parent's */
}

void io_supervise_kill(int pid, int signum)
{
    if (pid > 0) /* 0 and -1 would mean a crowd */
        kill(pid, signum);
}

/* ---- channels -------------------------------------------------------------------------------------------- */

int io_supervise_watch(struct io_supervise *s, int channel_fd, void *channel_arg)
{
    size_t n = s->channel_count;
    struct watched **channels = realloc(s->channels, (n + 1) * sizeof(struct watched *));
    struct pollfd *polls = channels != NULL ? realloc(s->polls, (n + 2) * sizeof *polls) : NULL;
    if (channels != NULL)
        s->channels = channels;
    if (polls == NULL)
        return -ENOMEM;
    s->polls = polls;
    struct watched *w = real_alloc(sizeof *w);
    w->fd = channel_fd;
    w->arg = channel_arg;
    frame_reader_init(&w->in);
    s->channels[s->channel_count++] = w;
    return 0;
}

void io_supervise_unwatch(struct io_supervise *s, int channel_fd)
{
    for (size_t i = 0; i < s->channel_count; i++) {
        struct watched *w = s->channels[i];
        if (w->fd != channel_fd)
            continue;
        if (s->current == w)
            s->current = NULL;
        s->channels[i] = s->channels[--s->channel_count];
        frame_reader_fini(&w->in);
        close(w->fd);
        free(w);
        return;
    }
    close(channel_fd);
}

int io_supervise_send(struct io_supervise *s, int channel_fd, uint16_t type, struct vr_str payload,
                      int fd_to_pass)
{
    struct frame_writer out;
    int64_t deadline = io_supervise_now_ms() + SEND_WAIT_MS;
    (void)s;
    frame_writer_init(&out);
    frame_add(&out, type, payload, fd_to_pass);
    int status = frame_send(&out, channel_fd);
    while (status == -EAGAIN) {
        int64_t left = deadline - io_supervise_now_ms();
        struct pollfd p = {.fd = channel_fd, .events = POLLOUT};
        if (left <= 0 || poll(&p, 1, (int)left) == 0) {
            status = -ETIMEDOUT; /* half a frame may have gone: the child is stuck and must be killed */
            break;
        }
        status = frame_send(&out, channel_fd);
    }
    volatile char *bytes = out.out.p; /* a frame to a receiver may hold a private key */
    for (size_t i = 0; i < out.out.capacity; i++)
        bytes[i] = 0;
    frame_writer_fini(&out); /* closes fd_to_pass, sent or not */
    return status;
}

/* ---- memory in common ------------------------------------------------------------------------------------ */

void *io_shared_new(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(p != MAP_FAILED);
    return p;
}

void io_shared_free(void *memory, size_t size)
{
    munmap(memory, size);
}

/* ---- waiting --------------------------------------------------------------------------------------------- */

static void channel_over(struct io_supervise *s, struct watched *w, struct io_supervise_event *out)
{
    w->over = true;
    s->current = NULL;
    *out = (struct io_supervise_event){.kind = IO_SUP_CHANNEL_CLOSED, .channel_arg = w->arg};
}

/* The next frame of what was received already. */
static bool next_frame(struct io_supervise *s, struct io_supervise_event *out)
{
    struct watched *w = s->current;
    struct frame f;
    if (w == NULL)
        return false;
    int status = frame_next(&w->in, &f);
    if (status == 0) {
        s->current = NULL;
        return false;
    }
    if (status < 0) {
        channel_over(s, w, out);
        return true;
    }
    if (f.fd >= 0)
        close(f.fd); /* nobody hands descriptors to the supervisor */
    *out = (struct io_supervise_event){
        .kind = IO_SUP_FRAME, .channel_arg = w->arg, .type = f.type, .payload = f.payload};
    return true;
}

static bool receive(struct io_supervise *s, struct watched *w, struct io_supervise_event *out)
{
    int64_t n = frame_receive(&w->in, w->fd, s->scratch, IO_SCRATCH);
    if (n == -EAGAIN)
        return false;
    if (n <= 0) {
        channel_over(s, w, out);
        return true;
    }
    s->current = w;
    return next_frame(s, out);
}

static void reap(struct io_supervise *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (!WIFEXITED(status) && !WIFSIGNALED(status))
            continue;
        struct exited *more = realloc(s->exits, (s->exit_count + 1) * sizeof *more);
        assert(more != NULL);
        s->exits = more;
        s->exits[s->exit_count++] =
            (struct exited){pid, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)};
    }
}

static bool next_exit(struct io_supervise *s, struct io_supervise_event *out)
{
    if (s->exit_count == 0)
        return false;
    *out = (struct io_supervise_event){
        .kind = IO_SUP_CHILD_EXIT, .pid = s->exits[0].pid, .exit_code = s->exits[0].code};
    memmove(s->exits, s->exits + 1, --s->exit_count * sizeof *s->exits);
    return true;
}

static bool next_signal(struct io_supervise *s, struct io_supervise_event *out)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
            reap(s); /* one signal may stand for several deaths */
            continue;
        }
        *out = (struct io_supervise_event){.kind = IO_SUP_SIGNAL, .signum = (int)info.ssi_signo};
        return true;
    }
    return false;
}

/* Frames before deaths: what a child said last is heard while it still has a name. */
static bool look(struct io_supervise *s, int wait_ms, struct io_supervise_event *out)
{
    if (next_frame(s, out))
        return true;
    size_t n = s->channel_count;
    s->polls[0] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
    for (size_t i = 0; i < n; i++)
        s->polls[i + 1] =
            (struct pollfd){.fd = s->channels[i]->over ? -1 : s->channels[i]->fd, .events = POLLIN};
    if (poll(s->polls, n + 1, s->exit_count > 0 ? 0 : wait_ms) < 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (s->polls[i + 1].revents != 0 && receive(s, s->channels[i], out))
            return true;
    if (next_exit(s, out))
        return true;
    if (s->polls[0].revents == 0)
        return false;
    return next_signal(
        s, out); /* deaths that it finds are told in the next round, after another look at the channels */
}

void io_supervise_wait(struct io_supervise *s, int64_t timeout_ms, struct io_supervise_event *out)
{
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : io_supervise_now_ms() + timeout_ms;
    for (;;) {
        int64_t left = timeout_ms < 0 ? -1 : deadline - io_supervise_now_ms();
        if (timeout_ms >= 0 && left < 0)
            left = 0;
        if (look(s, left > INT32_MAX ? INT32_MAX : (int)left, out))
            return;
        if (timeout_ms >= 0 && io_supervise_now_ms() >= deadline && s->exit_count == 0) {
            *out = (struct io_supervise_event){.kind = IO_SUP_DEADLINE};
            return;
        }
    }
}
