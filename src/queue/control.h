/* control.h - shared by control.c (requests, turns), pick.c (which messages), control_show.c (messages as JSON), control_summary.c. */
#ifndef QUEUE_CONTROL_H
#define QUEUE_CONTROL_H

#include "queue/inside.h"

#include <jansson.h>

/* ---- pick.c: the messages that a request means, the oldest first, found and handed out a bit at a time ------------------------ */

/* All that is given must apply. What is about a recipient must apply to one and the same that is not final. */
struct selection {
    json_t *ids; /* NULL: all messages are looked at */
    struct vr_str domain, sender, destination, reason;
    bool below; /* and all domains below `domain` */
    int held;                   /* -1: whatever */
    unsigned statuses;          /* bits of enum control_status; 0: whatever */
    int64_t since_us, until_us; /* of the arrival */
    uint64_t after;             /* only ids above */
};

/* How a pick goes: pick_begin, pick_collect in turns until it is true, pick_next in turns until it is false, pick_end.
 *
 * Order and consistency: the table has no order, so first the ids of all that match are collected into a heap (8 bytes each), then the heap
 * gives them out by their id, which is the time of their arrival. Messages come and go meanwhile; what holds is:
 * (1) who is there and matches from the beginning to its turn is met once, also when the walk over the table met it twice;
 * (2) who came after the beginning may be met or not; who has ended, or matches no longer at its turn, is passed over;
 * (3) when the table grows, which breaks a walk off, collecting begins anew: nothing was handed out yet, so nothing can be met twice.
 *     It grows by doubling, so that happens once in a walk, hardly ever twice. */
struct pick {
    struct queue *queue;
    json_t *request; /* the selection's texts are in it */
    struct selection selection;
    struct idmap_walk walk;
    bool collected;
    uint64_t *ids; /* a heap: none is below its parent */
    size_t count, capacity;
    uint64_t last; /* handed out */
    struct idmap
        reasons; /* by the address of a shared text, which is held: does it contain selection.reason? */
};
/* NULL, or what is wrong with the request. needs_target: ids, a filter or "all" must be there. */
const char *pick_begin(struct pick *p, struct queue *q, json_t *request, bool needs_target);
void pick_end(struct pick *p);
/* Looks at so many places of the table. True: all are collected. */
bool pick_collect(struct pick *p, size_t places);
/* False: none is left. *out: NULL when this one is no longer meant. */
bool pick_next(struct pick *p, struct message **out);

/* ---- control.c: a request under way ------------------------------------------------------------------------------------------- */

struct operation;
struct job {
    struct job *next;
    struct queue *queue;
    struct peer *peer; /* NULL: nobody listens any more */
    uint64_t request;
    const struct operation *operation;
    struct pick pick;
    uint64_t limit, done;      /* messages; 0: no limit */
    qlog_position changed_end; /* the log's end behind the last change; 0: not there yet */
    bool full, dry;
    bool reading;     /* control_show is under way: job_turn is called at its end */
    uint64_t untaken; /* bytes of parts that the client has not taken */
    int64_t told_ms;  /* the last part went then */
    int64_t until_us; /* of this turn */
    unsigned steps;
    struct vr_buf text; /* lines not sent yet */
    struct io_timer *timer;
    struct summary *summary;
};
void job_turn(void *job);
void job_add(struct job *j, json_t *line); /* takes it */
/* Is this turn's time over? Looks at the clock, so ask after some work and not for each step. */
bool job_turn_over(struct job *j);

/* ---- control_summary.c --------------------------------------------------------------------------------------------------------- */

/* A turn of `summary`; false: it is told. */
bool summary_turn(struct job *j);
void summary_free(struct job *j);

/* ---- control_show.c ------------------------------------------------------------------------------------------------------------ */

enum control_status { STATUS_ACTIVE, STATUS_DEFERRED, STATUS_HELD, STATUS_DONE, STATUS_FAILED };
extern const char *const control_statuses[]; /* their names */
enum control_status control_status_of(struct queue *q, const struct message *m, const struct recipient *r);

json_t *control_text(struct vr_str s); /* bytes that are no UTF-8 become U+FFFD */
json_t *control_time(int64_t time_us); /* RFC 3339 */
json_t *control_message(struct queue *q, const struct message *m);
void control_destination(struct queue *q, const struct message *m, const struct recipient *r,
                         struct vr_buf *out);
/* Reads m and adds it with its envelope, header and the beginning of its body. */
void control_show(struct job *j, struct message *m);

#endif
