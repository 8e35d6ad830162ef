/* stream_out.c - what a stream sends: gathered during a turn, sent in one call at its end.
 *
 * Gathering:  replies of a few bytes leave in one send and one segment. LARGE writes go to the kernel at once, together with
 *             what was gathered before, and only what it does not take is copied.
 * Memory:     freed as soon as all is sent.
 * Tests:      tests/unit/io_stream.c
 */
#include "io/real/stream_inside.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define LARGE 16384u

static ssize_t kernel_write(struct io_stream *s, struct iovec *iov, size_t n)
{
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = n};
    for (;;) {
        ssize_t sent =
            s->is_socket ? sendmsg(s->watch.fd, &m, MSG_NOSIGNAL) : writev(s->watch.fd, iov, (int)n);
        if (sent >= 0 || errno != EINTR)
            return sent;
    }
}

/* The kernel will take nothing more, ever. Input may still hold the peer's last words, so reading goes on. */
static void broke(struct io_stream *s, int status)
{
    s->error = status;
    s->broken = true;
    s->blocked = false;
    vr_buf_release(&s->out);
    if (s->finishing) {
        io_stream_close(s);
        return;
    }
    stream_update(s);
    if (s->paused || s->write_only || !s->is_socket) {
        s->pending_status = status;
        stream_pend(s, PENDING_ENDED);
    }
}

/* All was sent by a stream that belongs to nobody any more. */
static void finish_sent(struct io_stream *s)
{
    char waste[4096];
    if (s->lingering)
        return;
    if (!s->is_socket) {
        io_stream_close(s);
        return;
    }
    /* Bytes that nobody read make close() send a reset, which may overtake our last reply: then the peer is given
     * time. If it waits for us in silence, it has sent nothing that could be reset. */
    ssize_t n = s->ended ? 0 : recv(s->watch.fd, waste, sizeof waste, MSG_DONTWAIT);
    if (n <= 0) {
        io_stream_close(s);
        return;
    }
    shutdown(s->watch.fd, SHUT_WR);
    s->lingering = true;
    s->paused = false;
    s->armed = true;
    stream_update(s);
}

static void all_sent(struct io_stream *s)
{
    bool was_blocked = s->blocked;
    s->blocked = false;
    vr_buf_release(&s->out);
    if (was_blocked)
        stream_update(s);
    if (s->finishing) {
        finish_sent(s);
    } else if (s->want_drained) {
        s->want_drained = false;
        if (s->ops->drained != NULL)
            stream_pend(s, PENDING_DRAINED);
    }
}

static void block(struct io_stream *s)
{
    if (s->is_file) {
        stream_out_soon(s);
        return;
    }
    s->blocked = true;
    stream_update(s);
}

void stream_out_flush(struct io_stream *s)
{
    if (s->tls != NULL)
        stream_tls_encrypt(s);
    if (s->connecting || s->broken)
        return;
    struct vr_str bytes = vr_buf_str(&s->out);
    if (bytes.n == 0) {
        all_sent(s);
        return;
    }
    struct iovec iov = {.iov_base = (void *)bytes.p, .iov_len = bytes.n};
    ssize_t sent = kernel_write(s, &iov, 1);
    if (sent < 0 && errno != EAGAIN) {
        broke(s, -errno);
        return;
    }
    if (sent > 0)
        vr_buf_consume(&s->out, (size_t)sent);
    if (vr_buf_size(&s->out) > 0)
        block(s);
    else
        all_sent(s);
}

void stream_out_flush_task(struct io_task *t)
{
    struct io_stream *s = CONTAINER(t, struct io_stream, flush);
    if (!s->blocked)
        stream_out_flush(s);
    else if (s->tls != NULL)
        stream_tls_encrypt(s); /* so that its plaintext is not held twice */
}

void stream_out_soon(struct io_stream *s)
{
    io_flush_later(s->watch.io, &s->flush);
}

/* Gathered bytes and a large new piece in one call; the rest is copied. */
static void write_large(struct io_stream *s, struct vr_str bytes)
{
    struct vr_str before = vr_buf_str(&s->out);
    struct iovec iov[2] = {{.iov_base = (void *)before.p, .iov_len = before.n},
                           {.iov_base = (void *)bytes.p, .iov_len = bytes.n}};
    ssize_t sent = kernel_write(s, before.n > 0 ? iov : iov + 1, before.n > 0 ? 2 : 1);
    if (sent < 0 && errno != EAGAIN) {
        broke(s, -errno);
        return;
    }
    size_t taken = sent > 0 ? (size_t)sent : 0;
    size_t of_before = taken < before.n ? taken : before.n;
    vr_buf_consume(&s->out, of_before);
    real_add(&s->out, vr_str_from_pos(bytes, taken - of_before));
    if (vr_buf_size(&s->out) > 0)
        block(s);
    else
        stream_out_soon(s); /* drained() comes from the loop */
}

void io_stream_write(struct io_stream *s, struct vr_str bytes)
{
    if (bytes.n == 0 || s->broken || s->finishing)
        return;
    s->want_drained = true;
    if (s->tls != NULL) {
        stream_tls_write(s, bytes);
        return;
    }
    bool held = s->connecting || s->blocked || (s->pending & PENDING_CONNECTED);
    if (!held && bytes.n + vr_buf_size(&s->out) >= LARGE) {
        write_large(s, bytes);
        return;
    }
    real_add(&s->out, bytes);
    if (!s->blocked && !s->connecting)
        stream_out_soon(s);
}

size_t io_stream_unsent(const struct io_stream *s)
{
    return vr_buf_size(&s->out) + (s->tls != NULL ? stream_tls_unsent(s) : 0);
}
