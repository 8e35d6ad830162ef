/* process.h - what every child process begins with: its place, its configuration, its supervisor, its peers.
 *
 * A role is one row of the supervisor's table with these functions; the frame of its life (prepare, confine, loop) is
 * process_main's (src/ipc/process.c).
 */
#ifndef IPC_PROCESS_H
#define IPC_PROCESS_H

#include "config/config.h"
#include "event/event.h"
#include "io/channel.h"
#include "io/io.h"
#include "io/process.h"
#include "ipc/ipc.h"

struct crowd;
struct certificates;
struct process;

/* A channel to another process. */
struct peer {
    struct process *process;
    enum ipc_role role;
    uint32_t slot; /* which of its role; unique among living processes of all generations */
    uint32_t generation;
    struct io_channel *channel;
    void *data; /* the owner's */
    struct peer *next;
};

struct process_ops {
    enum ipc_role role;
    unsigned worker_threads;
    bool ready_later; /* serving begins some time after start: it calls process_ready itself */
    /* Still privileged: open, load, bind. 0, or an exit code after having said why (event). *data is the process's own state. */
    int (*prepare)(struct process *p, void **data);
    /* Serving begins (after confine). */
    void (*start)(struct process *p);
    void (*attached)(struct process *p, struct peer *peer);
    /* A frame that the table allows. fd: -1 or the callee's. */
    void (*frame)(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd);
    void (*detached)(struct process *p,
                     struct peer *peer); /* the peer is gone; it is freed after the return */
    void (*drain)(struct process *p, int64_t deadline_ms); /* when finished: process_exit */
    void (*hurry)(struct process *p,
                  int64_t deadline_ms); /* draining already, and now there is less time; may be NULL */
    void (*expect)(struct process *p, uint32_t n); /* queue only; may be NULL */
    /* receiver, web, admin: another certificate in the place of the n-th; the key is empty in admin. May be NULL */
    void (*certificate)(struct process *p, uint32_t n, struct vr_str chain, struct vr_str key);
};

struct process {
    const struct process_ops *ops;
    const struct config *config;
    struct io *io;
    struct event_log *log;
    uint32_t slot, generation;
    struct peer *peers;
    const int *
        listen_fds; /* receiver, admin: one per configured listener, in the configuration's order, then the submit socket */
    size_t listen_count;
    unsigned number;                   /* which of its role in this generation: 0, 1, … */
    struct crowd *crowd;               /* receiver: what all of them count together */
    struct certificates *certificates; /* receiver, web, admin (without keys); NULL: they are in the files */
    bool foreground;                   /* no user changes, no confinement */
    bool draining;
    struct io_timer *last; /* of the drain: it ends us, finished or not */
    void *data;
    struct io_channel *supervisor;
    struct vr_buf scratch; /* for packing one frame */
    int exit_code;
};

struct process_arguments {
    const struct process_ops *ops;
    const struct config *config;
    uint32_t slot, generation;
    int supervisor_fd;
    const int *listen_fds;
    size_t listen_count;
    unsigned number;
    struct crowd *crowd;
    struct certificates *certificates;
    bool foreground;
};
/* Runs in the forked child; returns its exit code. */
int process_main(void *process_arguments);
void process_ready(struct process *p);          /* ready_later: now it serves */
void process_exit(struct process *p, int code); /* flushes channels, leaves the loop */
/* Packs and sends: fill(b) between begin and send. */
struct vr_buf *process_frame(struct process *p);
void peer_send(struct peer *peer, enum ipc_type type, struct vr_buf *payload, int fd);
struct peer *process_peer(struct process *p, enum ipc_role role); /* the newest generation's first, or NULL */

#endif
