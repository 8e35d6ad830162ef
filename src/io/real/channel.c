/* channel.c - frames between processes, in the loop.
 *
 * Batches:  what was sent during a turn leaves in one sendmsg at its end (one more for each descriptor).
 * Tests:    tests/unit/io_channel.c
 */
#include "io/channel.h"

#include "io/real/frame.h"
#include "io/real/real.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_BUFFER   (1 << 20)
#define READS_PER_EVENT 4

struct io_channel {
    struct io_watch watch;
    struct io_task flush;
    const struct io_channel_ops *ops;
    void *arg;
    struct frame_reader in;
    struct frame_writer out;
    bool blocked; /* the kernel's buffer is full */
    bool broken;  /* the peer is gone: what is sent is dropped */
    bool over;    /* closed() was called */
};

int io_channel_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
        return -errno;
    for (int i = 0; i < 2; i++) { /* more room, where net.core.wmem_max allows it (root: beyond it) */
        static const int size = SOCKET_BUFFER;
        if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0)
            setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    return 0;
}

static void update(struct io_channel *c)
{
    if (!c->watch.dead)
        io_watch_set(&c->watch, c->over ? 0 : EPOLLIN | (c->blocked ? EPOLLOUT : 0u));
}

static void end(struct io_channel *c, int status)
{
    if (c->over)
        return;
    c->over = c->broken = true;
    update(c);
    c->ops->closed(c->arg, status);
}

/* ---- sending --------------------------------------------------------------------------------------------- */

static void drop_output(struct io_channel *c)
{
    c->broken = true;
    c->blocked = false;
    frame_writer_fini(&c->out);
    frame_writer_init(&c->out);
}

void io_channel_flush(struct io_channel *c)
{
    if (c->broken || c->blocked)
        return;
    int status = frame_send(&c->out, c->watch.fd);
    if (status == -EAGAIN ||
        status == -ETOOMANYREFS) { /* too many descriptors in flight: the peer takes them soon */
        c->blocked = true;
        update(c);
    } else if (status != 0) {
        drop_output(c); /* reading finds the end, after the peer's last frames */
    }
}

static void flush_task(struct io_task *t)
{
    io_channel_flush(CONTAINER(t, struct io_channel, flush));
}

void io_channel_send(struct io_channel *c, uint16_t type, struct vr_str payload, int fd)
{
    if (c->broken) {
        if (fd >= 0)
            close(fd);
        return;
    }
    frame_add(&c->out, type, payload, fd);
    if (!c->blocked)
        io_flush_later(c->watch.io, &c->flush);
}

size_t io_channel_unsent(const struct io_channel *c)
{
    return vr_buf_size(&c->out.out);
}

/* ---- receiving ------------------------------------------------------------------------------------------- */

/* Hands out whole frames. False when the channel is over or closed. */
static bool deliver(struct io_channel *c)
{
    struct frame f;
    int status;
    while ((status = frame_next(&c->in, &f)) == 1) {
        c->ops->frame(c->arg, f.type, f.payload, f.fd);
        if (c->watch.dead)
            return false;
    }
    if (status == 0)
        return true;
    end(c, status);
    return false;
}

static void receive(struct io_channel *c)
{
    struct io *io = c->watch.io;
    for (int i = 0; i < READS_PER_EVENT; i++) {
        int64_t n = frame_receive(&c->in, c->watch.fd, io->scratch, IO_SCRATCH);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            end(c, (int)n);
            return;
        }
        if (!deliver(c) || n < IO_SCRATCH)
            return;
    }
}

static void channel_ready(struct io_watch *w, uint32_t events)
{
    struct io_channel *c = CONTAINER(w, struct io_channel, watch);
    if (c->blocked && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))) {
        c->blocked = false;
        io_channel_flush(c);
        update(c);
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(c);
}

/* ---- birth and death ------------------------------------------------------------------------------------- */

static void channel_release(struct io_watch *w)
{
    /* Not in io_channel_close: the frame that was just delivered may lie in `in`. */
    struct io_channel *c = CONTAINER(w, struct io_channel, watch);
    frame_reader_fini(&c->in);
    free(c);
}

struct io_channel *io_channel_new(struct io *io, int fd, const struct io_channel_ops *ops, void *arg)
{
    struct io_channel *c = real_alloc(sizeof *c);
    c->watch = (struct io_watch){.io = io, .fd = fd, .ready = channel_ready, .release = channel_release};
    c->flush.run = flush_task;
    c->ops = ops;
    c->arg = arg;
    frame_reader_init(&c->in);
    frame_writer_init(&c->out);
    update(c);
    return c;
}

void io_channel_close(struct io_channel *c)
{
    if (c == NULL)
        return;
    assert(!c->watch.dead);
    io_channel_flush(c); /* what was said before goodbye, as far as the kernel takes it */
    io_task_cancel(&c->flush);
    frame_writer_fini(&c->out);
    io_watch_close(&c->watch);
}
