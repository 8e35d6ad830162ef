/* listener.c - listening sockets: binding (with no loop) and accepting (in one).
 *
 * Accepting:  the socket is asked for as many connections per readiness as it had lately, so that a busy one costs few turns and
 *             a quiet one no useless call.
 * Bound:      out of descriptors, the listener rests for a moment; the backlog holds the newcomers.
 * Tests:      tests/unit/io_stream.c
 */
#include "io/real/address.h"
#include "io/real/stream_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG   4096 /* the kernel clips it to net.core.somaxconn */
#define BURST_MAX 64
#define REST_MS   100

struct io_listener {
    struct io_watch watch;
    void (*accept)(void *arg, struct io_stream *s);
    void *arg;
    struct io_timer *rest;
    unsigned burst;
    bool paused, is_unix;
};

/* ---- binding --------------------------------------------------------------------------------------------- */

/* A socket file that nobody answers at is a leftover of a crash. */
static int unlink_stale(const struct io_address *a)
{
    struct stat st;
    if (lstat(a->path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return -EADDRINUSE;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return -errno;
    struct sockaddr_storage sa;
    socklen_t n = address_to_sockaddr(a, &sa);
    bool refused = connect(probe, (struct sockaddr *)&sa, n) != 0 && errno == ECONNREFUSED;
    close(probe);
    if (!refused)
        return -EADDRINUSE;
    return unlink(a->path) == 0 ? 0 : -errno;
}

static int bind_unix(int fd, const struct io_address *a, const struct sockaddr *sa, socklen_t n,
                     unsigned mode)
{
    int status = unlink_stale(a);
    if (status != 0)
        return status;
    fchmod(
        fd,
        (mode_t)
            mode); /* the file is born with the socket's own mode, so it is never open to more than that … */
    if (bind(fd, sa, n) != 0)
        return -errno;
    return chmod(a->path, (mode_t)mode) == 0 ? 0 : -errno; /* … less the umask, which is put right here */
}

static int bind_inet(int fd, const struct io_address *a, const struct sockaddr *sa, socklen_t n,
                     bool reuse_port)
{
    static const int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        return -errno;
    static const uint8_t any[16] = {0};
    if (a->family == IO_INET6) {
        /* "::" hears IPv4 too; a particular IPv6 address does not. */
        const int *only6 = memcmp(a->ip, any, 16) == 0 ? &off : &on;
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, only6, sizeof *only6);
    }
    return bind(fd, sa, n) == 0 ? 0 : -errno;
}

static int listen_fd(const struct io_address *a, bool reuse_port, unsigned unix_mode)
{
    struct sockaddr_storage sa;
    socklen_t n = address_to_sockaddr(a, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int status = a->family == IO_UNIX ? bind_unix(fd, a, (struct sockaddr *)&sa, n, unix_mode)
                                      : bind_inet(fd, a, (struct sockaddr *)&sa, n, reuse_port);
    if (status == 0 && listen(fd, BACKLOG) != 0)
        status = -errno;
    if (status == 0)
        return fd;
    close(fd);
    return status;
}

int io_listen_fd(const struct io_address *a, bool reuse_port, unsigned unix_mode)
{
    static const uint8_t any[16] = {0};
    int fd = listen_fd(a, reuse_port, unix_mode);
    if (fd == -EAFNOSUPPORT && a->family == IO_INET6 && memcmp(a->ip, any, 16) == 0) {
        /* ":25" on a machine without IPv6 means all that there is. */
        struct io_address v4 = {.family = IO_INET, .port = a->port};
        fd = listen_fd(&v4, reuse_port, unix_mode);
    }
    return fd;
}

int io_listen_address(int fd, struct io_address *out)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &n) != 0)
        return -errno;
    address_from_sockaddr((struct sockaddr *)&sa, n, out);
    return 0;
}

/* ---- accepting ------------------------------------------------------------------------------------------- */

static void rested(void *arg)
{
    struct io_listener *l = arg;
    if (!l->paused)
        io_watch_set(&l->watch, EPOLLIN);
}

static void rest(struct io_listener *l)
{
    io_watch_set(&l->watch, 0);
    if (l->rest == NULL)
        l->rest = io_timer_new(l->watch.io, rested, l);
    io_timer_start(l->rest, REST_MS, 0);
}

/* Takes one; false when there is none to take now. */
static bool accept_one(struct io_listener *l)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    int fd = accept4(l->watch.fd, (struct sockaddr *)&sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            rest(l);
        return errno == ECONNABORTED || errno == EINTR; /* that one is gone, the next may be there */
    }
    struct io_stream *s = stream_new(l->watch.io, fd);
    s->is_socket = true;
    if (!l->is_unix && n <= sizeof s->peer)
        memcpy(&s->peer, &sa, n);
    l->accept(l->arg, s);
    if (!s->watch.dead && !s->finishing)
        stream_arm(s);
    return true;
}

static void listener_ready(struct io_watch *w, uint32_t events)
{
    struct io_listener *l = CONTAINER(w, struct io_listener, watch);
    unsigned taken = 0;
    (void)events;
    while (taken < l->burst && !w->dead && !l->paused && accept_one(l))
        taken++;
    if (taken == l->burst)
        l->burst = l->burst * 2 < BURST_MAX ? l->burst * 2 : BURST_MAX;
    else
        l->burst = taken > 0 ? taken : 1;
}

static void listener_release(struct io_watch *w)
{
    free(CONTAINER(w, struct io_listener, watch));
}

struct io_listener *io_listener_new(struct io *io, int fd, void (*accept)(void *arg, struct io_stream *s),
                                    void *arg)
{
    static const int on = 1;
    struct io_listener *l = real_alloc(sizeof *l);
    l->watch = (struct io_watch){.io = io, .fd = fd, .ready = listener_ready, .release = listener_release};
    l->accept = accept;
    l->arg = arg;
    l->burst = 1;
    struct io_address local;
    l->is_unix = io_listen_address(fd, &local) != 0 || local.family == IO_UNIX;
    if (!l->is_unix) /* also for sockets that systemd or a test bound */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    io_watch_set(&l->watch, EPOLLIN);
    return l;
}

void io_listener_pause(struct io_listener *l, bool paused)
{
    l->paused = paused;
    if (l->rest != NULL)
        io_timer_stop(l->rest);
    io_watch_set(&l->watch, paused ? 0 : EPOLLIN);
}

void io_listener_close(struct io_listener *l)
{
    if (l == NULL)
        return;
    io_timer_free(l->rest);
    l->rest = NULL;
    io_watch_close(&l->watch);
}
