/* stream_inside.h - a stream's inside, shared by stream.c, stream_out.c, stream_tls.c and listener.c.
 *
 * States:     CONNECTING → open → ended (no more input) → closed; broken: the kernel refused output, which is dropped from then on.
 * Memory:     `out` is empty and without memory whenever all was sent; `tls` exists from io_stream_start_tls on.
 */
#ifndef IO_REAL_STREAM_INSIDE_H
#define IO_REAL_STREAM_INSIDE_H

#include "io/real/real.h"
#include "io/stream.h"

#include <netinet/in.h>

enum { /* callbacks and work that wait in `later` */
       PENDING_CONNECTED = 1,
       PENDING_ENDED = 2,
       PENDING_DRAINED = 4,
       PENDING_SECURED = 8,
       PENDING_READ = 16
};

struct stream_tls;

struct io_stream {
    struct io_watch watch;
    struct io_task later, flush;
    const struct io_stream_ops *ops;
    void *arg;
    struct vr_buf out; /* for the kernel, in order (ciphertext, once TLS stands) */
    struct stream_tls *tls;
    struct io_timer *timer; /* the connection's time limit; later the linger's */
    struct io_stream *next_finishing, **at_finishing;
    int error;          /* why output broke: a negative errno */
    int pending_status; /* of the PENDING_CONNECTED, _ENDED or _SECURED */
    int restore_flags;  /* of a borrowed descriptor's F_SETFL; -1: none */
    unsigned pending : 8;
    bool armed : 1; /* reading was begun (ops are set) */
    bool connecting : 1;
    bool paused : 1;
    bool ended : 1;
    bool broken : 1;
    bool blocked : 1; /* the kernel's buffer is full: EPOLLOUT tells when it is not */
    bool finishing : 1;
    bool lingering : 1; /* all sent, our side shut: input is thrown away until the peer closes too */
    bool want_drained : 1;
    bool is_socket : 1;
    bool is_file : 1; /* epoll refuses it: always ready */
    bool write_only : 1;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } peer;
};

struct io_stream *stream_new(struct io *io, int fd);
void stream_arm(struct io_stream *s);    /* begins to read */
void stream_update(struct io_stream *s); /* tells epoll what is wanted now */
void stream_pend(struct io_stream *s, unsigned what);
void stream_end(struct io_stream *s,
                int status); /* input is over; calls ended (or secured, in a handshake) */
void stream_deliver(struct io_stream *s, struct vr_str bytes);

/* stream_out.c */
void stream_out_flush(struct io_stream *s);
void stream_out_soon(struct io_stream *s); /* at the end of the turn */
void stream_out_flush_task(struct io_task *t);

/* stream_tls.c; only with s->tls */
void stream_tls_received(struct io_stream *s,
                         struct vr_str bytes); /* ciphertext; also with none, to go on after a pause */
void stream_tls_write(struct io_stream *s, struct vr_str bytes);
void stream_tls_encrypt(struct io_stream *s); /* what was gathered goes to s->out */
size_t stream_tls_unsent(const struct io_stream *s);
bool stream_tls_has_input(const struct io_stream *s); /* received, not delivered */
bool stream_tls_handshaking(const struct io_stream *s);
void stream_tls_peer_gone(struct io_stream *s); /* in the handshake: fills in the error */
void stream_tls_shut(struct io_stream *s);      /* close_notify */
void stream_tls_free(struct io_stream *s);

#endif
