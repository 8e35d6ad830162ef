/* process.h - for the supervisor: forking children, hearing of their deaths, signals. And for each child: giving up privileges.
 *
 * The supervisor does not use the io loop (a forked libuv loop would be shared with every child): its loop is
 * io_supervise_wait, which waits for a child's death, a signal, a frame or a deadline.
 */
#ifndef IO_PROCESS_H
#define IO_PROCESS_H

#include "io/io.h"

struct io_supervise;
struct io_supervise *io_supervise_new(void); /* blocks SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1 and hears them by descriptor */
void io_supervise_free(struct io_supervise *s); /* channels watched still are closed; signals stay blocked */

/* Forks. In the child: every descriptor but 0, 1, 2 and keep[] is closed, signal masks are reset, SIGPIPE, SIGINT and SIGHUP ignored (what a terminal
 * sends to all is the supervisor's to hear), the process title set to
 * "veredus: <title>", and run(arg) decides the exit code. It dies when the supervisor dies (its channel closes).
 * Returns the pid, or a negative errno. */
int io_supervise_fork(struct io_supervise *s, const char *title, const int *keep, size_t keep_count, int (*run)(void *arg), void *arg);
void io_supervise_kill(int pid, int signum);

enum io_supervise_kind { IO_SUP_DEADLINE, IO_SUP_SIGNAL, IO_SUP_CHILD_EXIT, IO_SUP_FRAME, IO_SUP_CHANNEL_CLOSED };
struct io_supervise_event {
    enum io_supervise_kind kind;
    int signum;          /* SIGNAL */
    int pid;             /* CHILD_EXIT */
    int exit_code;       /* CHILD_EXIT: 0..255, or -signum */
    void *channel_arg;   /* FRAME, CHANNEL_CLOSED: as given to io_supervise_watch */
    uint16_t type;       /* FRAME */
    struct vr_str payload; /* FRAME; lives until the next wait */
};
/* Waits until one event, or until timeout_ms from now (-1: no deadline). */
void io_supervise_wait(struct io_supervise *s, int64_t timeout_ms, struct io_supervise_event *out);
int64_t io_supervise_now_ms(void); /* monotonic */
/* Frames on a channel end of the supervisor's (blocking writes; children drain them). 0 or negative errno. */
int io_supervise_watch(struct io_supervise *s, int channel_fd, void *channel_arg);
void io_supervise_unwatch(struct io_supervise *s, int channel_fd); /* and closes it */
int io_supervise_send(struct io_supervise *s, int channel_fd, uint16_t type, struct vr_str payload, int fd_to_pass);

/* ---- in a child, after its preparation ------------------------------------------------------------------------- */

struct io_confine {
    uint32_t uid, gid;        /* 0: stay who we are */
    const char *const *paths_read;  /* NULL-terminated; Landlock: what may still be read (NULL: nothing) */
    const char *const *paths_write; /* … and written, created, removed below */
    bool keep_root;           /* local: needs root to become the owning user */
    bool no_network;          /* seccomp: no socket(AF_INET/AF_INET6) from here on */
};
/* Call before the first io_work and the first question to the DNS: Landlock binds the calling thread and what it starts later.
 * Changes user (groups dropped), sets no_new_privs (unless keep_root), applies Landlock where the kernel has it, and the seccomp rule. What the kernel lacks is
 * reported in `weaker` (a phrase, "" when all holds) and is no error. 0 or negative errno. */
int io_confine(const struct io_confine *c, char weaker[256]);
bool io_is_root(void);
/* Memory, zeroed, that children forked later share with this process. There is always some: without, the program ends. */
void *io_shared_new(size_t size);
void io_shared_free(void *memory, size_t size); /* here; children keep theirs */
/* The most descriptors this process may open is raised to its hard limit; returns it. */
uint64_t io_raise_descriptor_limit(void);

#endif
