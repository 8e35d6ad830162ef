/* io.h - the only door to the world: one event loop, its clock, timers, randomness and worker threads.
 *
 * Promise:    nothing above src/io calls the system. All of src/io has two implementations with the same headers: the
 *             real one (src/io/real/: libuv, OpenSSL, libunbound) and, later, a simulator; so no caller may rely on
 *             more than these headers say, keep global state, or block the loop.
 * Callbacks:  come from io_run only, never from inside the call that asked for them. After a _close/_free of an object
 *             none of its callbacks comes any more; it is safe to call _close from inside any callback.
 * Errors:     system errors are negative errno values (-ENOSPC); 0 is fine.
 */
#ifndef IO_IO_H
#define IO_IO_H

#include <veredus/base.h>

struct io;

/* A loop of its own. worker_threads: how many jobs of io_work run at a time (0: 4). One per process (in the real
 * implementation the worker pool belongs to the process). */
struct io *io_new(unsigned worker_threads);
void io_free(struct io *io);
void io_run(struct io *io);  /* until io_stop */
void io_stop(struct io *io); /* io_run returns after this turn */

int64_t io_now_us(const struct io *io);       /* wall clock, microseconds since 1970, read anew for each call */
int64_t io_monotonic_ms(const struct io *io); /* of this turn of the loop, cheap; only differences mean something */
void io_random(struct io *io, void *out, size_t n);

/* Called once at the end of each turn of the loop in which something happened, before it sleeps: the place where gathered frames,
 * replies and log lines are written in one go. Hooks run in the order in which they were added. */
void io_on_turn_end(struct io *io, void (*hook)(void *arg), void *arg);
void io_off_turn_end(struct io *io, void (*hook)(void *arg), void *arg); /* takes it back, also from inside a hook */

/* Timers. Restarting a running timer moves it. */
struct io_timer;
struct io_timer *io_timer_new(struct io *io, void (*fire)(void *arg), void *arg);
void io_timer_start(struct io_timer *t, int64_t after_ms, int64_t repeat_ms); /* repeat_ms 0: once */
void io_timer_stop(struct io_timer *t);
void io_timer_free(struct io_timer *t); /* NULL is fine */

/* Runs work(arg) on a worker thread, then done(arg) in the loop. work may touch only what arg gives it and io_fs. */
void io_work(struct io *io, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* A signal as a callback in the loop. */
void io_on_signal(struct io *io, int signum, void (*caught)(void *arg, int signum), void *arg);

/* Names of system errors, for messages: io_error_text(-ENOENT) → "No such file or directory". */
const char *io_error_text(int negative_errno);

#endif
