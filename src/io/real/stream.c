/* stream.c - byte streams: birth, connecting, reading, the end.
 *
 * Promise:    callbacks come from the loop only, none after io_stream_close or io_stream_finish.
 * Reading:    into the loop's one scratch buffer; a stream that waits holds no memory of its own.
 * Pausing:    is lazy: epoll is told only when bytes come for a stream that is paused, since most pauses are short.
 * Tests:      tests/unit/io_stream.c
 */
#include "io/real/address.h"
#include "io/real/stream_inside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISCARD_MAX (1u << 20) /* of a lingering stream, in one turn */

static const struct io_stream_ops no_ops = {0};

/* ---- callbacks that wait --------------------------------------------------------------------------------- */

static void read_file(struct io_stream *s);

static void run_pending(struct io_task *t)
{
    struct io_stream *s = CONTAINER(t, struct io_stream, later);
    static const unsigned order[] = {PENDING_CONNECTED, PENDING_SECURED, PENDING_READ, PENDING_DRAINED,
                                     PENDING_ENDED};
    unsigned now = s->pending;
    s->pending = 0;
    for (size_t i = 0; i < sizeof order / sizeof *order && !s->watch.dead && !s->finishing; i++) {
        if ((now & order[i]) == 0)
            continue;
        if (order[i] == PENDING_CONNECTED && s->ops->connected != NULL)
            s->ops->connected(s->arg, s->pending_status);
        else if (order[i] == PENDING_SECURED && s->ops->secured != NULL)
            s->ops->secured(s->arg, s->pending_status);
        else if (order[i] == PENDING_READ && s->is_file)
            read_file(s);
        else if (order[i] == PENDING_READ && s->tls != NULL && !s->paused && !s->ended)
            stream_tls_received(s, vr_str(NULL, 0));
        else if (order[i] == PENDING_DRAINED && s->ops->drained != NULL && io_stream_unsent(s) == 0)
            s->ops->drained(s->arg);
        else if (order[i] == PENDING_ENDED)
            stream_end(s, s->pending_status);
    }
}

void stream_pend(struct io_stream *s, unsigned what)
{
    s->pending |= (uint8_t)what;
    io_later(s->watch.io, &s->later);
}

/* ---- reading --------------------------------------------------------------------------------------------- */

void stream_update(struct io_stream *s)
{
    uint32_t events = 0;
    if (s->watch.dead || s->is_file)
        return;
    if (s->connecting || s->blocked)
        events |= EPOLLOUT;
    if (s->armed && !s->connecting && !s->ended && !s->write_only &&
        (!s->paused || (s->watch.events & EPOLLIN)))
        events |= EPOLLIN;
    if (s->write_only && !s->ended)
        events |= EPOLLERR; /* a pipe whose reader leaves */
    if (io_watch_set(&s->watch, events) == -EPERM) {
        s->is_file = true;
        stream_pend(s, PENDING_READ);
    }
}

void stream_end(struct io_stream *s, int status)
{
    if (s->ended)
        return;
    bool handshaking = s->tls != NULL && stream_tls_handshaking(s);
    s->ended = true;
    stream_update(s);
    if (s->finishing) {
        if (s->lingering || s->broken)
            io_stream_close(s);
    } else if (handshaking) {
        stream_tls_peer_gone(s);
        if (s->ops->secured != NULL)
            s->ops->secured(s->arg, status != 0 ? status : -ECONNRESET);
    } else if (s->ops->ended != NULL) {
        s->ops->ended(s->arg, status);
    }
}

void stream_deliver(struct io_stream *s, struct vr_str bytes)
{
    if (!s->finishing && s->ops->data != NULL) /* what comes after io_stream_finish is thrown away */
        s->ops->data(s->arg, bytes);
}

/* One read; true when there may be more to get. */
static bool read_once(struct io_stream *s)
{
    struct io *io = s->watch.io;
    ssize_t n = read(s->watch.fd, io->scratch, IO_SCRATCH);
    if (n > 0) {
        struct vr_str bytes = vr_str(io->scratch, (size_t)n);
        if (s->tls != NULL && !s->finishing)
            stream_tls_received(s, bytes);
        else
            stream_deliver(s, bytes);
        return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    /* After a failed write the reason is there: the kernel tells it once only. */
    stream_end(s, n < 0 ? -errno : s->error);
    return false;
}

/* Epoll refuses regular files: they are read a piece per turn. */
static void read_file(struct io_stream *s)
{
    if (!s->paused && !s->ended && !s->write_only && read_once(s) && !s->watch.dead)
        stream_pend(s, PENDING_READ);
}

/* After our FIN: throws away what still comes, so that the kernel does not answer it by a reset that
 * would take our last words away from the peer. */
static void discard(struct io_stream *s)
{
    char waste[4096];
    for (size_t i = 0; i < DISCARD_MAX / sizeof waste; i++) {
        ssize_t n = read(s->watch.fd, waste, sizeof waste);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            io_stream_close(s);
            return;
        }
    }
}

static void connect_done(struct io_stream *s, int status);

static void stream_ready(struct io_watch *w, uint32_t events)
{
    struct io_stream *s = CONTAINER(w, struct io_stream, watch);
    if (s->connecting) {
        int error = 0;
        socklen_t n = sizeof error;
        getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        connect_done(s, -error);
        return;
    }
    if (s->blocked && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
        stream_out_flush(s);
    if (w->dead || (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0)
        return;
    if (s->lingering)
        discard(s);
    else if (s->write_only)
        stream_end(s, -EPIPE); /* the reader of a pipe left */
    else if (s->ended)
        io_watch_set(
            w, 0); /* EPOLLHUP cannot be masked: a stream that has nothing left to hear leaves the set */
    else if (s->paused)
        io_watch_set(w, s->blocked ? EPOLLOUT : 0);
    else
        read_once(s);
}

/* ---- birth ----------------------------------------------------------------------------------------------- */

static void stream_release(struct io_watch *w)
{
    free(CONTAINER(w, struct io_stream, watch));
}

struct io_stream *stream_new(struct io *io, int fd)
{
    struct io_stream *s = real_alloc(sizeof *s);
    s->watch = (struct io_watch){.io = io, .fd = fd, .ready = stream_ready, .release = stream_release};
    s->later.run = run_pending;
    s->flush.run = stream_out_flush_task;
    s->ops = &no_ops;
    s->restore_flags = -1;
    vr_buf_init(&s->out, SIZE_MAX / 4); /* bounded by its owner, who watches io_stream_unsent */
    return s;
}

void stream_arm(struct io_stream *s)
{
    s->armed = true;
    stream_update(s);
}

void io_stream_set(struct io_stream *s, const struct io_stream_ops *ops, void *arg)
{
    s->ops = ops;
    s->arg = arg;
    if (s->restore_flags != -1 && !s->armed)
        stream_arm(s); /* from a descriptor; accepted ones are armed when the accept callback is through */
}

struct io_stream *io_stream_from_fd(struct io *io, int fd)
{
    struct io_stream *s = stream_new(io, fd);
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    int flags = fcntl(fd, F_GETFL);
    s->is_socket = getsockname(fd, (struct sockaddr *)&sa, &n) == 0;
    s->restore_flags = flags >= 0 ? flags : 0;
    s->write_only = flags >= 0 && (flags & O_ACCMODE) == O_WRONLY;
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    n = sizeof sa;
    if (s->is_socket && getpeername(fd, (struct sockaddr *)&sa, &n) == 0 && sa.ss_family != AF_UNIX &&
        n <= sizeof s->peer)
        memcpy(&s->peer, &sa, n);
    return s;
}

/* ---- connecting ------------------------------------------------------------------------------------------ */

static void connect_done(struct io_stream *s, int status)
{
    s->connecting = false;
    io_timer_free(s->timer);
    s->timer = NULL;
    if (status != 0) {
        s->ended = s->broken = true;
        vr_buf_release(&s->out);
    }
    stream_update(s);
    if (status == 0 && vr_buf_size(&s->out) > 0)
        stream_out_soon(s);
    if (s->ops->connected != NULL)
        s->ops->connected(s->arg, status);
}

static void connect_timeout(void *arg)
{
    connect_done(arg, -ETIMEDOUT);
}

static int connect_fd(struct io_stream *s, const struct io_address *to, const struct io_address *from)
{
    static const int on = 1;
    struct sockaddr_storage sa;
    socklen_t n = address_to_sockaddr(to, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    s->watch.fd = fd;
    if (to->family != IO_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (from != NULL) {
        struct sockaddr_storage local;
        socklen_t local_n = address_to_sockaddr(from, &local);
        if (from->port ==
            0) /* the port is chosen at connect(): the same one may serve several destinations */
            setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&local, local_n) != 0)
            return -errno;
    }
    if (connect(fd, (struct sockaddr *)&sa, n) == 0)
        return 0;
    return -errno;
}

struct io_stream *io_stream_connect(struct io *io, const struct io_address *to, const struct io_address *from,
                                    int64_t timeout_ms, const struct io_stream_ops *ops, void *arg)
{
    struct io_stream *s = stream_new(io, -1);
    s->ops = ops;
    s->arg = arg;
    s->is_socket = true;
    s->armed = true;
    if (to->family != IO_UNIX) {
        struct sockaddr_storage sa;
        memcpy(&s->peer, &sa, address_to_sockaddr(to, &sa));
    }
    int status = connect_fd(s, to, from);
    if (status == -EINPROGRESS) {
        s->connecting = true;
        stream_update(s);
        s->timer = io_timer_new(io, connect_timeout, s);
        io_timer_start(s->timer, timeout_ms, 0);
        return s;
    }
    s->pending_status = status;
    s->ended = s->broken = status != 0;
    stream_update(s);
    stream_pend(s, PENDING_CONNECTED);
    return s;
}

/* ---- the owner's words ----------------------------------------------------------------------------------- */

void io_stream_pause(struct io_stream *s, bool paused)
{
    if (s->paused == paused)
        return;
    s->paused = paused;
    if (paused) {
        if (s->broken && !s->ended) { /* nobody would notice until it is resumed */
            s->pending_status = s->error;
            stream_pend(s, PENDING_ENDED);
        }
        return;
    }
    if (s->is_file || (s->tls != NULL && stream_tls_has_input(s)))
        stream_pend(s, PENDING_READ); /* what was decrypted or held back already */
    stream_update(s);
}

static void unlink_finishing(struct io_stream *s)
{
    if (s->at_finishing == NULL)
        return;
    *s->at_finishing = s->next_finishing;
    if (s->next_finishing != NULL)
        s->next_finishing->at_finishing = s->at_finishing;
    s->at_finishing = NULL;
}

void io_stream_close(struct io_stream *s)
{
    if (s == NULL)
        return;
    assert(!s->watch.dead);
    unlink_finishing(s);
    io_task_cancel(&s->later);
    io_task_cancel(&s->flush);
    io_timer_free(s->timer);
    s->timer = NULL;
    if (s->tls != NULL)
        stream_tls_free(s);
    vr_buf_fini(&s->out);
    if (s->restore_flags > 0 && (s->restore_flags & O_NONBLOCK) == 0 && s->watch.fd >= 0)
        fcntl(s->watch.fd, F_SETFL, s->restore_flags); /* standard input is shared with the shell */
    io_watch_close(&s->watch);
}

static void linger_over(void *arg)
{
    io_stream_close(arg);
}

void io_stream_finish(struct io_stream *s, int64_t linger_ms)
{
    if (s == NULL)
        return;
    struct io *io = s->watch.io;
    bool connecting = s->connecting || (s->pending & PENDING_CONNECTED);
    s->finishing = true;
    s->ops = &no_ops;
    s->arg = NULL;
    if (s->tls != NULL)
        stream_tls_shut(s);
    if (connecting || s->broken || s->watch.fd < 0) {
        io_stream_close(s);
        return;
    }
    s->next_finishing = io->finishing;
    s->at_finishing = &io->finishing;
    if (io->finishing != NULL)
        io->finishing->at_finishing = &s->next_finishing;
    io->finishing = s;
    stream_out_flush(s); /* closes, when all is sent and nothing more comes */
    if (s->watch.dead)
        return;
    if (linger_ms <= 0) {
        io_stream_close(s);
        return;
    }
    if (s->timer == NULL)
        s->timer = io_timer_new(io, linger_over, s);
    io_timer_start(s->timer, linger_ms, 0);
}

/* ---- who is there ---------------------------------------------------------------------------------------- */

void io_stream_peer(const struct io_stream *s, struct io_address *out)
{
    struct sockaddr_storage sa = {0};
    socklen_t n = sizeof sa;
    if (s->peer.any.sa_family != AF_UNSPEC)
        address_from_sockaddr(&s->peer.any, sizeof s->peer, out);
    else if (s->watch.fd >= 0 && getpeername(s->watch.fd, (struct sockaddr *)&sa, &n) == 0)
        address_from_sockaddr((struct sockaddr *)&sa, n, out);
    else
        *out = (struct io_address){0};
}

void io_stream_local(const struct io_stream *s, struct io_address *out)
{
    *out = (struct io_address){0};
    if (s->watch.fd >= 0)
        io_listen_address(s->watch.fd, out);
}

/* The name of a user from the /etc/passwd that was open before this process was confined. */
static bool name_from_open_passwd(const struct io *io, uid_t uid, char *name, size_t name_size)
{
    char lines[4096];
    struct passwd entry, *found = NULL;
    if (io->passwd_fd < 0)
        return false;
    int fd = dup(io->passwd_fd);
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (f == NULL) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    rewind(f);
    while (fgetpwent_r(f, &entry, lines, sizeof lines, &found) == 0)
        if (entry.pw_uid == uid) {
            snprintf(name, name_size, "%s", entry.pw_name);
            break;
        }
    bool good = found != NULL;
    fclose(f);
    return good;
}

bool io_stream_peer_user(const struct io_stream *s, uint32_t *uid, char *name, size_t name_size)
{
    struct ucred who;
    socklen_t n = sizeof who;
    if (getsockopt(s->watch.fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0 || who.pid == 0)
        return false;
    *uid = who.uid;
    struct passwd entry, *found = NULL;
    char lines[4096];
    if (getpwuid_r(who.uid, &entry, lines, sizeof lines, &found) == 0 && found != NULL)
        snprintf(name, name_size, "%s", entry.pw_name);
    else if (!name_from_open_passwd(s->watch.io, who.uid, name, name_size))
        snprintf(name, name_size, "%u", (unsigned)who.uid); /* the user data base does not know it */
    return true;
}
