/* log.h - the durable log: append-only segments of checksummed records, one writer, group commit.
 *
 * Promise:    once `durable(arg, 0)` was called for a record, it survives the loss of power; the record is read back exactly, or its
 *             damage is reported (event log.damage), never passed over in silence.
 * Order:      durable() comes in the order of the appends. A record never becomes durable before one that was appended earlier.
 * Failure:    when a write or fdatasync fails, all that was not yet durable in that segment fails with it (durable(arg, -ENOSPC …)), the
 *             segment is cut at its last durable byte and never written again; the next append begins a new one.
 * Lifetime:   the owner says what is alive (qlog_alive/qlog_dead, in bytes). Segments are given back oldest first: a record that ends
 *             another one's life is always younger, so it never goes before what it speaks of. An old segment whose few living
 *             records block the rest is offered for moving (qlog_options.move).
 * Format:     docs/queue-format.md.   Tests: tests/unit/queue_log.c
 */
#ifndef QUEUE_LOG_LOG_H
#define QUEUE_LOG_LOG_H

#include "event/event.h"
#include "io/append.h"
#include "io/io.h"

#include <veredus/base.h>

struct qlog;

/* Segment number << 32 | offset of the record in it. 0: none. */
typedef uint64_t qlog_position;

#define QLOG_RECORD_MAX (8u << 20) /* bytes of payload */

struct qlog_record {
    qlog_position position;
    uint8_t type;    /* the owner's, 1..250 */
    uint8_t version; /* of the payload's layout */
    struct vr_str payload;
};

struct qlog_counts {
    uint64_t records;  /* valid records replayed */
    uint64_t damaged;  /* stretches of bytes set aside at replay */
    uint64_t cut;      /* bytes of a torn tail cut at replay */
    uint64_t segments; /* in use now */
    uint64_t bytes;    /* of records in segments now */
    uint64_t alive;    /* bytes declared alive now */
    uint64_t commits, failures;
};

/* A segment as it was when a checkpoint of the owner's began. */
struct qlog_segment {
    uint64_t used; /* bytes that were durable */
    uint32_t number, marker, seed;
    uint32_t complete; /* nothing is behind them */
};
/* Where a replay may begin: the owner knows from its checkpoint what stands before. segments: all that there were, the oldest first;
 * `from` lies at the end of the last one's used bytes. */
struct qlog_start {
    qlog_position from;
    const struct qlog_segment *segments;
    size_t segment_count;
};

struct qlog_options {
    struct io *io;
    struct event_log *events;
    struct io_appender *appender; /* the owner's, for as long as the log is open; NULL: the log makes one */
    const char *folder;           /* made when missing */
    uint64_t segment_size;        /* raised to 64 KiB, cut to 1 GiB */
    int64_t lazy_ms; /* a record that nobody waits for is committed after so long at the latest */
    void *arg;
    /* At replay: each record in the order of its writing; payload lives until the return. */
    void (*replay)(void *arg, const struct qlog_record *r);
    const struct qlog_start *start; /* NULL: all is replayed */
    /* With start, once, before the first record. misfit NULL: the replay begins there; the owner declares alive now what it knows of
     * before (qlog_holds). Else this is why the log is not the one that `start` speaks of: all is replayed, and the owner forgets what
     * it knew. */
    void (*started)(void *arg, const char *misfit);
    /* A record of the oldest segment, which is to be emptied: append it again if it is alive. NULL: nothing is moved. */
    void (*move)(void *arg, const struct qlog_record *r);
};

/* Replays what is there (blocks); *out is set before the first record. 0, or a negative errno with the reason in an event. */
int qlog_open(const struct qlog_options *options, struct qlog **out);
void qlog_close(struct qlog *l); /* must be idle; files stay */

#define QLOG_CHECKPOINT "checkpoint.index" /* a file of the owner's in the folder: what the log comes to, so far */

enum qlog_when {
    QLOG_URGENT /* somebody waits */,
    QLOG_LAZY /* with the next commit, after lazy_ms at the latest */
};
/* The record is the parts joined. Its place is known at once; it may be read only after durable. durable may be NULL. It comes from
 * the loop, never from inside this call. 0: too big, or too much is waiting already (durable is not called). */
qlog_position qlog_append(struct qlog *l, uint8_t type, uint8_t version, const struct vr_str *parts,
                          size_t count, enum qlog_when when, void (*durable)(void *arg, int status),
                          void *arg);
bool qlog_idle(const struct qlog *l);        /* nothing appended waits to be durable */
uint64_t qlog_waiting(const struct qlog *l); /* bytes appended and not durable yet */
void qlog_flush(struct qlog *l);             /* commits now what waits */
/* Closes the segment with a commit of its own, so that the next start knows that all before it was durable. Not while something waits. */
void qlog_seal(struct qlog *l);
/* Called (from the loop) whenever the log has become idle. */
void qlog_on_idle(struct qlog *l, void (*idle)(void *arg), void *arg);

/* Reads a durable record in a worker thread, checks it. payload lives until the return of done. status: 0, -EBADMSG (damaged),
 * -ENOENT (no such segment), or the system's error. length: bytes of payload, as the owner remembers it. */
void qlog_read(struct qlog *l, qlog_position position, uint32_t length,
               void (*done)(void *arg, int status, const struct qlog_record *r), void *arg);

/* bytes of payload at this position are alive / no longer (call only when the record that says so is durable). */
void qlog_alive(struct qlog *l, qlog_position position, uint32_t bytes);
void qlog_dead(struct qlog *l, qlog_position position, uint32_t bytes);
/* Gives back what is dead at the old end, and begins moving when the log is mostly dead weight. Cheap; call about each second. */
void qlog_trim(struct qlog *l);
/* 0 while the file for the next segment is there or being made; else why it could not be made (-ENOSPC, …). Take nothing new in then:
 * what is left of the present segment is for the records that give room back (results, removals). Tried again by qlog_trim. */
int qlog_short(const struct qlog *l);

/* For checkpoints. All records before the durable end are durable, and their durable() was called; 0: there are none. Not from inside
 * of durable(). The end is where the next record goes. */
qlog_position qlog_durable_end(const struct qlog *l);
qlog_position qlog_end(const struct qlog *l);
/* The segments up to the one in which `until` lies, an end that qlog_durable_end gave in this turn. malloc'ed. */
struct qlog_segment *qlog_segments(const struct qlog *l, qlog_position until, size_t *count);
uint64_t qlog_bytes_since(const struct qlog *l, qlog_position from);
bool qlog_holds(const struct qlog *l, qlog_position position); /* its segment is there */

void qlog_counts(const struct qlog *l, struct qlog_counts *out);

/* ---- verify.c: a log that nobody serves, looked at and never changed --------------------------------------------------------- */

enum qlog_fault {
    /* damage */
    QLOG_FAULT_RECORD, /* bytes that are no valid record, with valid ones behind them */
    QLOG_FAULT_END, /* from here on to the end of the file nothing is valid, and it is not the youngest segment */
    QLOG_FAULT_HEADER,      /* neither copy of the first page's header holds */
    QLOG_FAULT_HEADER_COPY, /* one of them does not */
    QLOG_FAULT_VERSION,     /* another version's or machine's segment: not read */
    QLOG_FAULT_UNREADABLE,  /* the system refused; status says why */
    /* no damage, but worth telling */
    QLOG_FAULT_TAIL,    /* a record begun at the end of the youngest segment: was never acknowledged */
    QLOG_FAULT_UNBEGUN, /* a file that was being made into a segment */
    QLOG_FAULT_GAP,     /* numbers without a file between two segments: from, to */
    QLOG_FAULT_SPARE,
    QLOG_FAULT_ASIDE,  /* ….damaged: set aside at an earlier start */
    QLOG_FAULT_FOREIGN /* a name that is none of ours */
};
struct qlog_finding {
    enum qlog_fault fault;
    const char *file;    /* path; the folder's for a gap */
    uint64_t from, to;   /* offsets in it */
    int status;          /* UNREADABLE */
    uint32_t marker;     /* RECORD, END, TAIL: what each record begins with */
    struct vr_str bytes; /* RECORD, END, TAIL: the first of them, at most QLOG_RECORD_MAX and a header */
};
/* Reads all segments of options->folder as qlog_open does and calls options->replay for each valid record in order, but opens files for reading
 * only. *out: for qlog_alive, qlog_dead and qlog_counts in the meantime and afterwards; never for anything else. 0, or a negative
 * errno when the folder cannot be listed (*out is NULL then). */
int qlog_verify(const struct qlog_options *options, void (*found)(void *arg, const struct qlog_finding *f),
                struct qlog **out);
void qlog_verify_end(struct qlog *l);

#endif
