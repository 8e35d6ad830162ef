/* frame.c - see frame.h.
 *
 * Descriptors: each frame that carries one begins a sendmsg of its own, so the kernel delivers the descriptor with or before the
 *              frame's first byte, and descriptors match flagged frames in order (unix(7), SCM_RIGHTS).
 * Tests:       tests/unit/io_channel.c
 */
#include "io/real/frame.h"

#include "io/real/real.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLAG_FD 1u

struct head {
    uint32_t length;
    uint16_t type, flags;
};
_Static_assert(sizeof(struct head) == FRAME_HEAD, "the head of a frame has no padding");

/* ---- reading --------------------------------------------------------------------------------------------- */

void frame_reader_init(struct frame_reader *r)
{
    *r = (struct frame_reader){0};
    vr_buf_init(&r->part, IO_FRAME_MAX + FRAME_HEAD);
}

void frame_reader_fini(struct frame_reader *r)
{
    for (unsigned i = 0; i < r->fd_count; i++)
        if (r->fds[i] >= 0)
            close(r->fds[i]);
    r->fd_count = 0;
    vr_buf_fini(&r->part);
}

/* A descriptor that was lost, since we may hold no more, leaves its place in the row: -1. The kernel tells of one message with
 * descriptors at a time, and ours carry one each. */
static int take_fds(struct frame_reader *r, struct msghdr *m)
{
    int status = 0;
    bool lost = (m->msg_flags & MSG_CTRUNC) != 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        status = lost && n > 0 ? -EPROTO : status;
        lost = lost && n == 0;
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (r->fd_count < FRAME_FDS) {
                r->fds[r->fd_count++] = fd;
            } else {
                close(fd);
                status = -EPROTO;
            }
        }
    }
    if (lost && r->fd_count == FRAME_FDS)
        return -EPROTO;
    if (lost)
        r->fds[r->fd_count++] = -1;
    return status;
}

/* How many bytes the frame in `part` still wants (its head first). */
static size_t part_wants(const struct frame_reader *r)
{
    struct vr_str part = vr_buf_str(&r->part);
    struct head h;
    if (part.n == 0)
        return 0;
    if (part.n < FRAME_HEAD)
        return FRAME_HEAD - part.n;
    memcpy(&h, part.p, sizeof h);
    return FRAME_HEAD + h.length - part.n; /* the length was checked when the head was complete */
}

static void part_done(struct frame_reader *r)
{
    if (!r->part_taken)
        return;
    vr_buf_release(&r->part);
    r->part_taken = false;
}

int64_t frame_receive(struct frame_reader *r, int fd, char *scratch, size_t size)
{
    part_done(r);
    assert(r->fresh.n == 0);
    size_t wants = part_wants(r);
    char *tail = wants > 0 ? vr_buf_reserve(&r->part, wants) : NULL;
    assert(wants == 0 || tail != NULL);
    struct iovec iov[2] = {{.iov_base = tail, .iov_len = wants}, {.iov_base = scratch, .iov_len = size}};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 8)];
    } control;
    struct msghdr m = {
        .msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n;
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    int status = take_fds(r, &m);
    if (status != 0)
        return status;
    size_t to_part = (size_t)n < wants ? (size_t)n : wants;
    vr_buf_filled(&r->part, to_part);
    r->fresh = vr_str(scratch, (size_t)n - to_part);
    return n;
}

static bool head_read(struct vr_str bytes, struct head *h)
{
    memcpy(h, bytes.p, sizeof *h);
    return h->length <= IO_FRAME_MAX && (h->flags & ~FLAG_FD) == 0;
}

static int frame_fill(struct frame_reader *r, const struct head *h, struct vr_str payload, struct frame *out)
{
    *out = (struct frame){.type = h->type, .payload = payload, .fd = -1};
    if ((h->flags & FLAG_FD) == 0)
        return 1;
    if (r->fd_count == 0)
        return -EPROTO;
    out->fd = r->fds[0];
    r->fd_count--;
    memmove(r->fds, r->fds + 1, r->fd_count * sizeof *r->fds);
    return 1;
}

/* Moves bytes from fresh to part until it wants no more; false when fresh ran out before. */
static bool part_complete(struct frame_reader *r)
{
    for (size_t wants = part_wants(r); wants > 0; wants = part_wants(r)) {
        size_t n = r->fresh.n < wants ? r->fresh.n : wants;
        real_add(&r->part, vr_str_sub(r->fresh, 0, n));
        r->fresh = vr_str_from_pos(r->fresh, n);
        if (n < wants)
            return false;
    }
    return true;
}

int frame_next(struct frame_reader *r, struct frame *out)
{
    struct head h;
    part_done(r);
    if (vr_buf_size(&r->part) > 0) {
        /* The head alone first: its length is believed only after the check. */
        if (vr_buf_size(&r->part) < FRAME_HEAD && r->fresh.n > 0) {
            size_t n = FRAME_HEAD - vr_buf_size(&r->part);
            n = n < r->fresh.n ? n : r->fresh.n;
            real_add(&r->part, vr_str_sub(r->fresh, 0, n));
            r->fresh = vr_str_from_pos(r->fresh, n);
        }
        if (vr_buf_size(&r->part) < FRAME_HEAD)
            return 0;
        if (!head_read(vr_buf_str(&r->part), &h))
            return -EPROTO;
        if (!part_complete(r))
            return 0;
        r->part_taken = true;
        return frame_fill(r, &h, vr_str_from_pos(vr_buf_str(&r->part), FRAME_HEAD), out);
    }
    if (r->fresh.n >= FRAME_HEAD) {
        if (!head_read(r->fresh, &h))
            return -EPROTO;
        if (r->fresh.n >= FRAME_HEAD + (size_t)h.length) {
            struct vr_str payload = vr_str_sub(r->fresh, FRAME_HEAD, h.length);
            r->fresh = vr_str_from_pos(r->fresh, FRAME_HEAD + (size_t)h.length);
            return frame_fill(r, &h, payload, out);
        }
    }
    if (r->fresh.n > 0)
        real_add(&r->part, r->fresh);
    else if (r->fd_count > 0)
        return -EPROTO; /* a descriptor that no frame speaks of */
    r->fresh = vr_str(NULL, 0);
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

void frame_writer_init(struct frame_writer *w)
{
    *w = (struct frame_writer){0};
    vr_buf_init(&w->out, SIZE_MAX / 4); /* bounded by the owner, who watches what is unsent */
}

void frame_writer_fini(struct frame_writer *w)
{
    for (size_t i = 0; i < w->fd_count; i++)
        close(w->fds[i].fd);
    free(w->fds);
    w->fds = NULL;
    w->fd_count = w->fd_capacity = 0;
    vr_buf_fini(&w->out);
}

void frame_add(struct frame_writer *w, uint16_t type, struct vr_str payload, int fd)
{
    assert(payload.n <= IO_FRAME_MAX);
    struct head h = {.length = (uint32_t)payload.n, .type = type, .flags = fd >= 0 ? FLAG_FD : 0};
    if (fd >= 0) {
        if (w->fd_count == w->fd_capacity) {
            size_t more = w->fd_capacity * 2 + 4;
            struct frame_fd *fds = real_alloc(more * sizeof *fds);
            if (w->fd_count > 0)
                memcpy(fds, w->fds, w->fd_count * sizeof *fds);
            free(w->fds);
            w->fds = fds;
            w->fd_capacity = more;
        }
        w->fds[w->fd_count++] = (struct frame_fd){.offset = vr_buf_size(&w->out), .fd = fd};
    }
    real_add(&w->out, vr_str((const char *)&h, sizeof h));
    real_add(&w->out, payload);
}

static void sent(struct frame_writer *w, size_t n, bool with_fd)
{
    vr_buf_consume(&w->out, n);
    if (with_fd) {
        close(w->fds[0].fd);
        w->fd_count--;
        memmove(w->fds, w->fds + 1, w->fd_count * sizeof *w->fds);
    }
    for (size_t i = 0; i < w->fd_count; i++)
        w->fds[i].offset -= n;
}

int frame_send(struct frame_writer *w, int fd)
{
    while (vr_buf_size(&w->out) > 0) {
        struct vr_str bytes = vr_buf_str(&w->out);
        bool with_fd = w->fd_count > 0 && w->fds[0].offset == 0;
        size_t next = with_fd ? 1 : 0; /* the frame that must begin a sendmsg of its own */
        if (next < w->fd_count)
            bytes.n = w->fds[next].offset;
        struct iovec iov = {.iov_base = (void *)bytes.p, .iov_len = bytes.n};
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
        if (with_fd) {
            m.msg_control = &control;
            m.msg_controllen = sizeof control;
            struct cmsghdr *c = CMSG_FIRSTHDR(&m);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(c), &w->fds[0].fd, sizeof(int));
        }
        ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        sent(w, (size_t)n, with_fd);
    }
    vr_buf_release(&w->out);
    return 0;
}
