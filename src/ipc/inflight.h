/* inflight.h - what sender and local owe the queue: deliveries taken and results not yet told. Shared by both.
 *
 * Promise:    (1) each delivery taken is reported exactly once to a living queue, each recipient with one verdict (2) a new queue hears
 *             first what is still under way or was told to its predecessor a moment ago (IPC_INFLIGHT), so it does not start it again
 *             (3) results without a queue wait for one.
 * Repeats:    a queue that died may have heard a result without having written it down; so results of the last INFLIGHT_REPEAT_MS
 *             are told to its successor again. A queue matches results by message and recipient index, and ignores what it knows.
 * Tests:      tests/unit/sender.c, tests/unit/local.c
 */
#ifndef IPC_INFLIGHT_H
#define IPC_INFLIGHT_H

#include "ipc/process.h"

#include <sys/queue.h>

#define INFLIGHT_REPEAT_MS  2000
#define INFLIGHT_REPEAT_MAX 16384
#define INFLIGHT_TEXT_MAX   1024 /* bytes of a reply that go into a result */

/* One delivery from IPC_DELIVER to IPC_RESULT. */
struct inflight_job {
    struct delivery d; /* its slices live as long as the job */
    int fd;            /* the large body, or -1; closed with the job */
    struct vr_arena arena;
    struct delivery_rcpt_result *results; /* one for each of d.rcpts */
    uint32_t open;                        /* recipients without a verdict */
    int64_t started_ms;
    struct vr_str remote_mta, remote_ip; /* for the report; in the arena */
    bool dsn_relayed_on, by_relayed_on, tls, unreachable;
    enum delivery_form form;
    void *owner; /* the process's own view of it */
    char *payload;
    TAILQ_ENTRY(inflight_job) entry;
};

struct inflight;
struct inflight *inflight_new(struct process *p);
/* From the payload of IPC_DELIVER. NULL: malformed (an event says so); or there is a newer queue by now, which was not told of it and gives it
 * out again: it would be sent twice. The descriptor is the job's in any case. */
struct inflight_job *inflight_take(struct inflight *f, const struct peer *queue, struct vr_str payload, int fd);

bool inflight_is_open(const struct inflight_job *j, uint32_t i); /* i: place in d.rcpts */
/* The verdict on recipient i, once; enhanced and text are copied. enhanced may be empty: made from the status. */
void inflight_settle(struct inflight_job *j, uint32_t i, enum delivery_status status, uint16_t code,
                     struct vr_str enhanced, struct vr_str text);
/* The same verdict on all that are open. */
void inflight_settle_rest(struct inflight_job *j, enum delivery_status status, uint16_t code,
                          struct vr_str enhanced, struct vr_str text);
/* All recipients have their verdict: tells the queue and frees the job. */
void inflight_report(struct inflight *f, struct inflight_job *j);

void inflight_attached(struct inflight *f, struct peer *queue); /* of a queue: its first frames */
bool inflight_idle(const struct inflight *f);                   /* nothing under way, nothing untold */
struct inflight_job *inflight_first(const struct inflight *f);  /* for walking; next: TAILQ_NEXT(j, entry) */

#endif
