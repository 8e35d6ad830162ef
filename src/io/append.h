/* append.h - durable appends: a write and its fdatasync, as one errand of the loop.
 *
 * Promise:    done(arg, 0) means that the bytes are on the disk. done comes from the loop, never from inside the call.
 * Order:      one append at a time; the next may be given from inside of done, or later.
 * Failure:    done(arg, -ENOSPC …): some of the bytes may be in the file, none of them counts. A short or interrupted write is finished; a sync
 *             that failed is never tried again, since the kernel may have dropped the pages.
 * Ways:       by io_uring, the write linked to its sync, where the kernel grants a ring; else in a worker thread. And in the loop's own
 *             thread, see io_appender_write.
 */
#ifndef IO_APPEND_H
#define IO_APPEND_H

#include "io/io.h"

struct io_appender;

enum io_append_way {
    IO_APPEND_BEST,  /* the ring when there can be one */
    IO_APPEND_THREAD /* as where the kernel refuses; for tests */
};
/* To be made before io_confine: a confined process can make no ring. The ring itself can write and sync, and nothing else. */
struct io_appender *io_appender_new(struct io *io, enum io_append_way way);
/* Waits for what is under way, whose done does not come any more. May be called from inside of done. NULL is fine. */
void io_appender_free(struct io_appender *a);
const char *io_appender_kind(const struct io_appender *a); /* "io_uring" or "thread": how it works now */

/* n > 0 bytes at this offset of the file, then its fdatasync. bytes and fd stay as they are until done.
 * may_block: nobody would gain by a loop that goes on meanwhile. Then, while syncs are quick (IO_APPEND_QUICK_US on average), the loop's own
 * thread writes and waits: so this call may block for that time, or for longer when a disk that was quick has become slow. One slow sync is
 * enough to leave it, a row of quick ones brings it back. It spares the two wake-ups that any other thread costs. */
void io_appender_write(struct io_appender *a, int fd, const void *bytes, size_t n, uint64_t offset,
                       bool may_block, void (*done)(void *arg, int status), void *arg);
#define IO_APPEND_QUICK_US 300

#endif
