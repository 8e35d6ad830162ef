/* real.h - what the files of src/io/real/ share: the loop's inside, descriptors watched by it, deferred work.
 *
 * Descriptors are watched by one epoll set of our own, and libuv's among them: a stream then costs one epoll_ctl at its
 * birth and one at its end, nothing for each change of mind, and can be freed at the end of its turn.
 */
#ifndef IO_REAL_H
#define IO_REAL_H

#include "io/io.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <uv.h>

#define IO_SCRATCH 65536u /* one read */

#define CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Work put off: a link in one of the loop's two lists (later, flushes). */
struct io_task {
    struct io_task *next, *prev; /* NULL when in no list */
    void (*run)(struct io_task *t);
};

/* A descriptor in the epoll set. Embedded in streams, listeners, channels. */
struct io_watch {
    struct io *io;
    int fd;
    uint32_t events; /* what the set holds for it; 0: it is not in the set */
    bool dead;       /* closed; freed at the end of the turn */
    void (*ready)(struct io_watch *w, uint32_t events);
    void (*release)(struct io_watch *w); /* frees the owner */
    struct io_watch *next_dead;
};

struct io_hook {
    void (*run)(void *arg);
    void *arg;
};

struct io_stream;

struct io {
    uv_loop_t uv;
    uv_prepare_t prepare;
    int epoll_fd;
    struct io_watch uv_watch; /* libuv's own epoll set */
    bool uv_due;
    int passwd_fd; /* /etc/passwd, for io_stream_peer_user after the process was confined; or -1 */
    bool running, stopped, closing;
    struct io_task later;   /* callbacks that may not come from inside a call */
    struct io_task flushes; /* streams and channels with gathered bytes */
    struct io_watch *dead;
    struct io_stream *finishing; /* streams that belong to nobody any more but still send */
    struct io_hook *hooks;
    size_t hook_count;
    void *tls_method;                /* BIO_METHOD, made at the first TLS stream */
    void (*tls_method_free)(void *); /* so that loop.c needs no OpenSSL */
    char *plain;                     /* IO_SCRATCH bytes of decrypted input, made at the first TLS stream */
    char *scratch;                   /* IO_SCRATCH bytes of what read() brought */
};

void *real_alloc(size_t n);                           /* zeroed; ends the process when memory is out */
void real_add(struct vr_buf *b, struct vr_str bytes); /* likewise */

void io_later(struct io *io, struct io_task *t);       /* once, in the coming turn at the latest */
void io_flush_later(struct io *io, struct io_task *t); /* once, at the end of this turn */
void io_task_cancel(struct io_task *t);

/* Wants these events (EPOLLIN, EPOLLOUT; 0: none at all). 0 or a negative errno (-EPERM: the descriptor is a regular
 * file, always ready). */
int io_watch_set(struct io_watch *w, uint32_t events);
/* Out of the set, descriptor closed, release called at the end of the turn. */
void io_watch_close(struct io_watch *w);

#endif
