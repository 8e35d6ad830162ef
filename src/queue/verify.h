/* verify.h - a spool checked off line: every record of every segment is read, every body's file looked for. Nothing is changed.
 *
 * Promise: damage is what a start of the server would find, and the messages counted are those that it would bring back: records are
 *          walked by the log's own scan and brought into the queue's own index (records.c).
 * Runs in: a command, alone with the spool: it holds the lock meanwhile, so a server started now waits (up to a minute).
 * Tests:   tests/unit/queue_verify.c
 */
#ifndef QUEUE_VERIFY_H
#define QUEUE_VERIFY_H

#include <veredus/base.h>

enum verify_rank {
    VERIFY_TOLD,  /* worth knowing, nothing is wrong */
    VERIFY_DAMAGE /* something that was written is not there as it was written */
};

/* A record that a damaged stretch held, as far as its bytes still tell. */
struct verify_concern {
    uint64_t id;        /* of the message */
    const char *record; /* "message", "result", "expansion" */
    bool in_queue;      /* a whole record of this message was read before: it is not lost */
    struct vr_str sender;
    const struct vr_str *recipients; /* none: they cannot be told */
    uint32_t count;
};

struct verify_finding {
    enum verify_rank rank;
    const char *
        kind; /* one word, for programs: "record", "header", "tail", "body_missing", … (docs/queue-format.md has all) */
    const char *file;
    uint64_t offset, bytes; /* bytes 0: it is not about a stretch of bytes */
    const char *what;       /* a sentence; what to do next is part of it */
    const struct verify_concern *concerns;
    uint32_t concern_count;
};

struct verify_summary {
    uint64_t segments, records;
    uint64_t bytes;      /* of records in segments */
    uint64_t alive;      /* of these, payloads of messages that wait */
    uint64_t messages;   /* that wait */
    uint64_t recipients; /* of these, not final */
    uint64_t damaged;    /* stretches of bytes, and first pages */
    uint64_t faults;     /* findings of rank VERIFY_DAMAGE */
    uint64_t told;       /* the others */
};

/* 0: looked through to its end. -EAGAIN: a running queue holds it. Else why it cannot be read, and *where the path. */
int queue_verify(const char *spool, void (*found)(void *arg, const struct verify_finding *f), void *arg,
                 struct verify_summary *out, char where[512]);

#endif
