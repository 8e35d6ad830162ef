/* frame.h - reading and writing channel.h's frames on a socket; shared by channel.c and supervise.c. */
#ifndef IO_REAL_FRAME_H
#define IO_REAL_FRAME_H

#include "io/channel.h"

#define FRAME_HEAD 8u
#define FRAME_FDS  64 /* descriptors that may wait for their frames */

struct frame {
    uint16_t type;
    struct vr_str payload;
    int fd;
};

struct frame_reader {
    struct vr_str fresh; /* in the caller's scratch: whole frames and the beginning of one */
    struct vr_buf part;  /* a frame of which only the beginning came */
    bool part_taken;     /* `part` was handed out: emptied at the next call */
    int fds[FRAME_FDS];
    unsigned fd_count;
};

void frame_reader_init(struct frame_reader *r);
void frame_reader_fini(struct frame_reader *r); /* closes descriptors that nobody took */
/* Receives once, without waiting; all frames must have been taken before. Bytes, 0 at the end, or a negative errno. */
int64_t frame_receive(struct frame_reader *r, int fd, char *scratch, size_t size);
/* The next whole frame: 1; none yet: 0; what came is no frame: -EPROTO. The payload lives until the next call of either. */
int frame_next(struct frame_reader *r, struct frame *out);

struct frame_fd {
    size_t offset; /* of its frame in the gathered bytes */
    int fd;
};
struct frame_writer {
    struct vr_buf out;
    struct frame_fd *fds;
    size_t fd_count, fd_capacity;
};
void frame_writer_init(struct frame_writer *w);
void frame_writer_fini(struct frame_writer *w);
void frame_add(struct frame_writer *w, uint16_t type, struct vr_str payload, int fd);
/* Sends what the kernel takes now: 0 (all gone), -EAGAIN, or another negative errno. */
int frame_send(struct frame_writer *w, int fd);

#endif
