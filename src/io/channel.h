/* channel.h - frames between two processes over a UNIX socket pair, with descriptor passing.
 *
 * Frame:    u32 length of payload, u16 type, u16 flags (bit 0: a descriptor goes with it), payload. Host byte order: both ends are
 *           the same program on the same machine.
 * Batches:  sent frames gather and leave in one write at the end of the loop's turn.
 * Bound:    a frame's payload is at most IO_FRAME_MAX; a peer that sends more, or garbage, is cut off (closed(-EPROTO)).
 */
#ifndef IO_CHANNEL_H
#define IO_CHANNEL_H

#include "io/io.h"

#define IO_FRAME_MAX (4u << 20)

struct io_channel;
struct io_channel_ops {
    /* payload lives until the return. fd: the descriptor that came with it (the callee's from now on), or -1; -1 also when it
     * was lost because this process may hold no more. */
    void (*frame)(void *arg, uint16_t type, struct vr_str payload, int fd);
    /* The peer is gone (0: closed in order). Comes once; then io_channel_close it. */
    void (*closed)(void *arg, int status);
};

/* Two ends; close-on-exec, not inheritable by accident. 0 or negative errno. */
int io_channel_pair(int fds[2]);
struct io_channel *io_channel_new(struct io *io, int fd, const struct io_channel_ops *ops, void *arg);
/* Sends; takes fd over (closed here after sending), -1 for none. Sending to a dead peer is dropped. */
void io_channel_send(struct io_channel *c, uint16_t type, struct vr_str payload, int fd);
size_t io_channel_unsent(const struct io_channel *c); /* for flow control */
void io_channel_flush(struct io_channel *c); /* tries at once, instead of at the end of the turn */
void io_channel_close(struct io_channel *c); /* NULL is fine */

#endif
