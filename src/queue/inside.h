/* inside.h - what the files of the queue share. README.md has the states and the rules.
 *
 * Files, in the order of a message's way: queue.c (glue), intake.c, records.c (payloads of the log), index.c (messages in memory), bodies.c
 * (large files, room on the disk), cache.c, router.c, schedule.c (who sleeps until when), ready.c (whose turn it is in a destination), health.c (how much a
 * destination is given at a time, when it counts as dead), times.c (the message's own times: times.h), dispatch.c, results.c, bounce.c, finished.c, control.c (pick.c, control_show.c, control_summary.c), flush.c;
 * and for a quick start checkpoint.c (writing the index down) and restore.c (reading it).
 */
#ifndef QUEUE_INSIDE_H
#define QUEUE_INSIDE_H

#include "config/routing.h"
#include "ipc/process.h"
#include "queue/heap.h"
#include "queue/log/log.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <uthash.h>
#pragma GCC diagnostic pop

struct queue;
struct message;
struct destination;

/* ---- idmap.c: objects by their 64-bit id ----------------------------------------------------------------------------- */

/* Open addressing, 8 bytes a slot: the id is the object's first member. (uthash costs 56 bytes an object, a fifth of what a queued
 * recipient may cost.) */
struct idmap {
    uint64_t **slots;
    size_t capacity, count;
};
void idmap_fini(struct idmap *m);
void *idmap_find(const struct idmap *m, uint64_t id);
void idmap_add(struct idmap *m, void *object); /* its id must not be there, and not be 0 */
void idmap_remove(struct idmap *m, uint64_t id);
/* For walking: the object in slot i < capacity, or NULL. Do not add or remove meanwhile. */
static inline void *idmap_slot(const struct idmap *m, size_t i)
{
    return m->slots[i];
}
void idmap_reserve(struct idmap *m, size_t count); /* room for so many; before the first one */
/* For walking in slices while objects come and go between them: each one that is there from the beginning to its turn is met, once or
 * twice. */
struct idmap_walk {
    size_t capacity; /* the table's; another one: it has grown, and the walk is broken off */
    size_t wrapped;  /* slots from 0 on, without a gap, at the beginning: walked first */
    size_t next;     /* the slot walked next, + 1 */
    bool second;     /* from the last slot down to `wrapped` */
};
void idmap_walk_begin(const struct idmap *m, struct idmap_walk *w);
/* The next object; NULL at an empty slot, at the end, and when broken off. */
void *idmap_walk_next(const struct idmap *m, struct idmap_walk *w);
static inline bool idmap_walk_broken(const struct idmap *m, const struct idmap_walk *w)
{
    return m->capacity != w->capacity;
}
static inline bool idmap_walk_ended(const struct idmap_walk *w)
{
    return w->second && w->next == w->wrapped;
}

/* ---- index.c: messages and recipients in memory ------------------------------------------------------------------------ */

/* The numbers are written to disk (docs/queue-format.md). From RECIPIENT_DELIVERED on a state is final. */
enum recipient_state {
    RECIPIENT_WAITING = 1,   /* until `next` */
    RECIPIENT_READY = 2,     /* in its destination's ready queue */
    RECIPIENT_SENDING = 3,   /* with a sender or local, or being read for it */
    RECIPIENT_REPORTING = 4, /* its fate is decided, the record that says so is being made */
    RECIPIENT_EXPANDING = 5, /* an alias of several: a report about it is owed (RFC 3461 §5.2.7.3 c) */
    RECIPIENT_DELIVERED = 16,
    RECIPIENT_RELAYED = 17,
    RECIPIENT_FAILED = 18,
    RECIPIENT_EXPANDED = 19, /* others stand in its place */
    RECIPIENT_REMOVED = 20
};
static inline bool recipient_final(unsigned state)
{
    return state >= RECIPIENT_DELIVERED;
}

enum recipient_flag {
    RECIPIENT_CATCH_ALL = 1, /* the receiver found only the domain's catch-all for it */
    RECIPIENT_WARNED = 2,    /* the delay warning was sent */
    RECIPIENT_CAUGHT = 4,    /* came out of a catch-all: no second one */
    RECIPIENT_WARNING = 8,   /* WARNED is not true yet, the report is being made. In memory only */
    RECIPIENT_LATE = 16,     /* the sender was told that the time of BY passed (times.h) */
    RECIPIENT_TELLING = 32   /* LATE is not true yet. In memory only */
};
#define RECIPIENT_FLAGS  127u                                    /* the bits that there are */
#define RECIPIENT_PASSES (RECIPIENT_WARNING | RECIPIENT_TELLING) /* those in memory only */

/* Reply texts are shared: a thousand recipients of a dead host have one. */
struct text {
    UT_hash_handle hh;
    uint32_t refs, n;
    char bytes[];
};
struct text *text_take(struct queue *q, struct vr_str s); /* NULL for the empty one */
void text_drop(struct queue *q, struct text *t);
static inline struct vr_str text_str(const struct text *t)
{
    return t != NULL ? vr_str(t->bytes, t->n) : vr_str(NULL, 0);
}

struct recipient {
    struct destination *destination; /* while READY or SENDING, or known from intake; else NULL */
    struct text *reply;              /* the last one's words */
    uint32_t address;                /* offset into the message's text */
    uint32_t next;                   /* seconds since 1970 */
    uint32_t parent;                 /* index of the recipient as given by the client; itself mostly */
    uint16_t attempts;
    uint16_t state : 5, notify : 4, flags : 7;
}; /* its address ends where the next one's begins */

struct message {
    uint64_t id; /* first: idmap */
    qlog_position position;
    int64_t arrival_us;
    uint64_t size; /* prefix and body */
    struct recipient
        *recipients; /* and behind them the text: behind this structure, or in a block of their own */
    struct cached *cached;
    struct heap_node
        sleep; /* key: seconds since 1970; while replaying the slice of the checkpoint it came from (q->restored), 0: of none */
    uint32_t record_length; /* bytes of the MESSAGE record's payload */
    uint32_t count, given;  /* recipients; those that the client gave come first */
    uint32_t open;          /* not final */
    uint32_t refs;          /* records not yet durable, ready entries, dispatches, reports, reads */
    uint32_t text_n;
    uint32_t sender;     /* whose turns these are: a hash of the account, or of the reverse-path's domain */
    uint32_t hold_until; /* seconds since 1970: when it may leave (RFC 4865); 0: at once */
    uint32_t deliver_by; /* seconds since 1970, with `by` (RFC 2852) */
    uint16_t reverse_path_n : 14; /* at the start of the text */
    uint16_t by : 2;              /* enum smtp_by */
    int8_t priority;              /* -9..9, RFC 6710 */
    bool large : 1, held : 1, durable : 1, unsaved : 1, dead : 1, counted : 1;
    bool timed : 1; /* held until hold_until, not by an administrator */
    bool by_trace : 1;
};

/* What is in the table, exact after each call of the functions below, so that `queue summary` need not look at the messages. */
struct counts {
    uint64_t open[2][RECIPIENT_EXPANDING + 1]; /* recipients by state; [1]: those of held messages */
    uint64_t messages, bytes;                  /* with an open recipient */
    uint64_t oldest; /* of those; 0: none, or it has ended and nobody has looked for the next one yet */
    int64_t oldest_us;
};

struct record_message;
/* From a decoded MESSAGE record; not yet in the index. */
struct message *
message_alloc(uint32_t count,
              size_t text_n); /* room for so many recipients and bytes of text; all else is zero */
struct message *message_new(const struct record_message *r);
/* More recipients in the place of `parent`, which becomes EXPANDED, or EXPANDING when a report about that is owed; returns the first one's
 * index. */
uint32_t message_expand(struct queue *q, struct message *m, uint32_t parent, const struct vr_str *addresses,
                        uint32_t n, uint8_t flags);
void message_add(struct queue *q, struct message *m); /* into the index; counted from now on */
void message_set_held(struct queue *q, struct message *m, bool held);
void message_free(struct queue *q, struct message *m); /* out of index, heap and cache too */
struct vr_str message_reverse_path(const struct message *m);
struct vr_str recipient_address(const struct message *m, const struct recipient *r);
/* Sets the state, keeps m->open and the counts. A final state, and WAITING, give the destination back. */
void recipient_set(struct queue *q, struct message *m, struct recipient *r, enum recipient_state state);
void recipient_reply(struct queue *q, struct recipient *r, struct vr_str reply);
static inline void message_hold(struct message *m) /* a reference */
{
    m->refs++;
}
/* The reference is given back; a message with nothing open and nothing under way ends here. */
void message_release(struct queue *q, struct message *m);
/* NOTIFY of what an alias expanded to: SUCCESS is kept for a single target only (RFC 3461 §5.2.7.2, §5.2.7.3 c). */
uint8_t notify_of_child(uint8_t parent, uint32_t siblings);

/* ---- records.c: payloads of the log's records (docs/queue-format.md) ------------------------------------------------------ */

enum record_type { RECORD_MESSAGE = 1, RECORD_RESULT = 2, RECORD_EXPAND = 3 };
#define RECORD_VERSION 1 /* of RESULT and EXPAND */
#define RECORD_MESSAGE_VERSION                                                                               \
    3 /* 1: an envelope without the priority, 2: without what it asks of each hop; read, and written anew when moved */

struct record_target {
    uint32_t parent;
    struct vr_str address;
};
struct record_message {
    struct envelope envelope;
    struct vr_str envelope_bytes;  /* as packed by ipc_put_envelope, or by an earlier version */
    struct record_target *targets; /* recipients beyond the given ones: what aliases expanded to */
    uint32_t target_count;
    struct vr_str
        cause; /* a RESULT payload that becomes true in the same instant (a DSN and what it tells); empty: none */
    struct vr_str body;
    qlog_position position;
    uint32_t length;
};
/* The part of a MESSAGE record before its body. */
void record_message_head(struct vr_buf *b, struct vr_str envelope_bytes, const struct record_target *targets,
                         uint32_t n, struct vr_str cause);
bool record_message_read(struct vr_str payload, struct vr_arena *arena, struct record_message *out);

/* Reading a RESULT: record_result_read, then record_result_next until it is false; `in.bad` tells a cut one, ipc_done(&in) a whole one. */
struct record_result_item {
    uint32_t index, attempts, next;
    uint8_t state, flags;
    struct vr_str reply;
};
struct record_result {
    uint64_t id;
    bool held, timed;
    uint32_t left; /* items not read yet */
    struct ipc_reader in;
};
bool record_result_read(struct vr_str payload, struct record_result *out);
bool record_result_next(struct record_result *r, struct record_result_item *out);
/* Of an EXPAND; ipc_get_str(&in) reads the n addresses. */
struct record_expand {
    uint64_t id;
    uint32_t parent, n;
    uint8_t flags;
    struct ipc_reader in;
};
bool record_expand_read(struct vr_str payload, struct record_expand *out);
/* The states of these recipients (NULL: as they are now), and whether the message is held. Who is REPORTING is left out: the record that
 * is being made says it, and one behind it that still says WAITING would undo that at the next start. */
void record_result(struct vr_buf *b, const struct message *m, const uint32_t *indexes, const uint8_t *states,
                   uint32_t n);
void record_expand(struct vr_buf *b, uint64_t id, uint32_t parent, uint8_t flags,
                   const struct vr_str *addresses, uint32_t n);
/* Does this program read this version of the payload? */
bool record_version_known(const struct qlog_record *r);
/* Brings a replayed record into the index. */
void record_replay(void *queue, const struct qlog_record *r);
/* A record of a segment that is being emptied. */
void record_move(void *queue, const struct qlog_record *r);
/* Appends a RESULT for these recipients (NULL: all) with the next commit; again each second until that succeeds. */
void result_save(struct queue *q, struct message *m, const uint32_t *indexes, uint32_t n);
void unsaved_again(struct queue *q);
void unsaved_add(struct queue *q, struct message *m);
/* Where the oldest copy stands of those that are made of records being moved; 0: of none. A checkpoint cannot begin behind it: until
 * its states are durable too the message is known at its old place. */
qlog_position move_oldest(const struct queue *q);

/* ---- finished.c: who ended in the last ten minutes ------------------------------------------------------------------------- */

struct finished_some {
    struct finished_some *next;
    uint64_t number; /* rising from 1 */
    size_t count;
    uint64_t ids[509];
};
void finished_add(struct queue *q, uint64_t id); /* forgets at once those that came longer ago */
void finished_forget(struct queue *q);           /* those that are too old now */
void finished_clear(struct queue *q);
/* Ended not long before this queue began: a receiver whose acknowledgement was lost asks again. */
bool finished_recently(const struct queue *q, uint64_t id);
void finished_sort(struct queue *q); /* after the replay */

/* ---- checkpoint.c, restore.c: the index in a file, so that a start reads what is alive and not all that was written ------------ */

/* A point in the history of the log from which a message of a checkpoint is to be followed: what stands before it is in its entry. */
struct restored {
    qlog_position *slices; /* by message->sleep.key - 1 */
    size_t slice_count, slice_capacity;
    struct qlog_segment *segments;
    struct qlog_start start;
    uint64_t bytes, messages;
};
/* Reads the checkpoint into the empty index. NULL: there is none, or it is of no use (an event says why). Blocks. */
struct restored *restore_read(struct queue *q);
void restore_started(void *queue, const char *misfit); /* qlog_options.started */
void restore_end(struct queue *q);
/* Is it in the entry already that the checkpoint has of this message? Then replaying it again would bring back what was before. */
static inline bool restore_reflects(const struct queue *q, const struct message *m, qlog_position position);

void checkpoint_check(struct queue *q); /* about each second: begins one when it is worth it */
void checkpoint_stop(struct queue *q);  /* the queue leaves: one more, when that is cheap */
bool checkpoint_wanted(
    const struct queue *q); /* one is being made that the queue waits for before it leaves */

/* ---- cache.c: bodies just accepted, so that relaying does not read the log back -------------------------------------------- */

struct cached {
    struct cached *older, *newer;
    struct message *message;
    struct cache_chunk *chunk;
    size_t n;
    char payload[]; /* the MESSAGE record's */
};
void cache_add(struct queue *q, struct message *m, const struct vr_str *parts, size_t count);
void cache_drop(struct queue *q, struct message *m);

/* ---- intake.c ---------------------------------------------------------------------------------------------------------------- */

void intake_submit(struct queue *q, struct peer *peer, struct vr_str payload);
/* A message of our own (a DSN), with what it tells about another one. durable: status of the log. False: nothing was appended. */
bool intake_own(struct queue *q, const struct envelope *e, struct vr_str body, struct vr_str cause,
                void (*durable)(void *arg, int status), void *arg);
/* Is in the index and durable: reports that are owed, and the first attempts. */
void message_begin(struct queue *q, struct message *m);

/* ---- bodies.c: large bodies, and room on the disk ------------------------------------------------------------------------------ */

void bodies_open(struct queue *q, struct peer *peer, uint64_t id);
void bodies_drop(struct queue *q, uint64_t id);
void bodies_peer_gone(struct queue *q, struct peer *peer);
/* Makes the file durable; done(arg, status) from the loop. -EMSGSIZE: it has another size. */
void bodies_commit(struct queue *q, uint64_t id, uint64_t size, void (*done)(void *arg, int status),
                   void *arg);
void bodies_unlink(struct queue *q, uint64_t id);
bool bodies_committing(const struct queue *q, uint64_t id);
bool bodies_idle(const struct queue *q); /* none is being made durable */
/* In a worker: bodies_path, then io_fs. */
#define BODY_PATH 512
void bodies_path(const struct queue *q, uint64_t id, char out[BODY_PATH]);
int bodies_start(struct queue *q); /* makes the folder, unlinks orphans. Blocks */
void bodies_sweep(struct queue *q);
void guard_check(struct queue *q);            /* about each second */
void guard_full(struct queue *q, int status); /* the log met ENOSPC or EDQUOT */
bool guard_refuses(const struct queue *q);    /* there is no room to take mail in */

/* ---- router.c ------------------------------------------------------------------------------------------------------------------- */

/* How much is known of a destination; it decides how many of the senders' places it may have with others of its kind. */
enum health {
    HEALTH_PROVEN,  /* it spoke SMTP with us lately; mailboxes: always */
    HEALTH_NEW,     /* nothing is known */
    HEALTH_SUSPECT, /* the last attempts found nobody */
    HEALTH_COUNT
};

struct destination {
    UT_hash_handle hh;
    char *name; /* for people: next_hop_text */
    char *key;  /* what makes it another one: next hop, TLS, route (and with it the source), domain */
    struct next_hop next_hop;
    uint32_t refs;      /* recipients that point here */
    uint32_t active;    /* deliveries under way */
    uint32_t hash;      /* picks the sender */
    struct lane *lanes; /* ready.c: the highest priority first */
    uint32_t ready;     /* entries in them */
    uint32_t turns;
    struct destination *ring_next; /* while in a ring */
    struct destination *bury_next;
    bool in_ring, burying;

    uint8_t health;          /* enum health */
    uint32_t limit;          /* deliveries at a time, now */
    uint32_t trouble;        /* attempts since the last success that found nobody */
    uint32_t cohort;         /* `limit` when that began */
    uint32_t deaths;         /* in a row */
    int64_t changed_ms;      /* deliveries begun earlier say nothing new */
    int64_t dead_until_ms;   /* 0: not dead */
    int64_t forget_ms;       /* what is known of it is kept so long, also without mail for it */
    int64_t next_us;         /* rate: the time of the next delivery at an even pace */
    struct heap_node parked; /* until a rate lets it send again; key: health_ticks */
    struct text *reason;     /* why it is dead */
};
struct destination *destination_get(struct queue *q, const struct next_hop *h); /* with a reference */
void destination_release(struct queue *q, struct destination *d);
void destinations_sweep(struct queue *q); /* frees those without references */
/* Where this recipient goes, by the configuration of now. */
struct routed {
    bool found;
    struct next_hop next_hop; /* found */
    struct vr_str *
        addresses; /* not found, count > 0: it is an alias now (the configuration changed), these stand in its place */
    uint32_t count;
    struct vr_str error; /* not found, count 0: the refusal, "5.4.6 …" */
};
void router_route(struct queue *q, struct vr_arena *arena, const struct message *m, const struct recipient *r,
                  struct routed *out);
/* Expands the given recipients at intake. False: too many. */
struct router_plan {
    struct record_target *targets;
    struct next_hop *target_hops;
    uint32_t count;
    struct next_hop
        *given_hops; /* per given recipient: where it goes when it stands for itself; else kind 0 */
};
bool router_plan(struct queue *q, struct vr_arena *arena, const struct envelope *e, struct router_plan *out);
/* What the domain's catch-all stands for; 0: it has none. */
uint32_t router_catch_all(struct queue *q, struct vr_arena *arena, struct vr_str address,
                          struct vr_str **addresses);

/* ---- schedule.c -------------------------------------------------------------------------------------------------------------------- */

/* base_us: from when on its time counts (times_base_us). */
/* Seconds since 1970 of the attempt after `attempts` failed ones. random: 0..UINT32_MAX, for ±10 %. Never behind the expiry of a
 * message that has not expired. */
uint32_t retry_time(const struct config *c, uint32_t attempts, int64_t base_us, int64_t now_us,
                    uint32_t random);
/* `until`, or earlier: when the recipient's time is over or its sender is to be told of the delay. */
uint32_t retry_bound(const struct config *c, int64_t base_us, const struct recipient *r, uint32_t until,
                     int64_t now_us);
bool retry_expired(const struct config *c, int64_t base_us, int64_t now_us);
bool retry_warns(const struct config *c, int64_t base_us, int64_t now_us, uint8_t notify, uint8_t flags,
                 bool null_reverse_path);

void schedule_message(struct queue *q, struct message *m); /* its waiting recipients: now, or in the heap */
void schedule_retry(struct queue *q,
                    struct message *m); /* all waiting recipients now, also to a dead destination */
void schedule_replayed(struct queue *q, struct message *m); /* into the heap only: cheap at start */
void schedule_forget(struct queue *q, struct message *m);
void schedule_timer(struct queue *q);
void schedule_due(void *queue); /* the timer's */

/* ---- ready.c: per destination, priorities first (a few turns are for the lowest), then the senders in turns ------------------------- */

struct ready {
    struct ready *next;
    struct message *message;
};
void ready_add(struct queue *q, struct message *m,
               struct destination *d); /* recipients of m are READY for d */
/* Whose turn it is; NULL: nobody waits. Stays the same until ready_turn or ready_drop. */
struct message *ready_next(struct queue *q, struct destination *d);
void ready_turn(struct destination *d);                  /* it was served: the next sender */
void ready_drop(struct queue *q, struct destination *d); /* the entry of ready_next goes */

/* ---- health.c: how much at a time, how fast, and when not at all -------------------------------------------------------------------- */

void health_init(const struct queue *q, struct destination *d);
uint32_t health_limit_max(const struct queue *q, const struct destination *d); /* the configuration's */
/* May one more delivery begin? Parks it when only its rate is in the way. */
bool health_admits(struct queue *q, struct destination *d);
void health_started(struct queue *q, struct destination *d); /* a delivery: for the rate */
/* A delivery that began at started_ms ended: nobody could be spoken with (reason), or somebody could. */
void health_failed(struct queue *q, struct destination *d, int64_t started_ms, struct vr_str reason);
void health_good(struct queue *q, struct destination *d);
bool health_dead(const struct queue *q, const struct destination *d);
/* Should a recipient that is due now sleep on instead of waiting in the ready queue? Until when: seconds since 1970. */
bool health_parks(struct queue *q, const struct destination *d, uint32_t *until);
void health_retry(struct queue *q, struct destination *d); /* somebody wants it tried now */
void health_wake(struct queue *q); /* destinations whose rate lets them send again; at each turn's end */
bool health_forgettable(const struct queue *q, const struct destination *d);

/* ---- dispatch.c -------------------------------------------------------------------------------------------------------------------- */

struct dispatch {
    uint64_t id; /* first: idmap; 0: taken over from an earlier queue */
    struct message *message;
    struct destination *destination; /* NULL: taken over */
    struct peer *peer;               /* NULL: its body is being read */
    struct dispatch *next, *prev;    /* of the peer */
    int64_t started_ms;
    uint32_t count;
    uint8_t health; /* of the destination when it began: whose places it counts among */
    uint32_t indexes[];
};
/* peer->data of senders and local. */
struct deliverer {
    struct dispatch *first;
    uint32_t counts[HEALTH_COUNT]; /* deliveries with it */
    bool introduced;               /* has told what it has in flight */
};
void dispatch_ring(struct queue *q,
                   struct destination *d); /* into the ring, if something waits and more may begin */
void dispatch_bury(struct queue *q,
                   struct destination *d); /* it is dead: who waits in its ready queue sleeps, bit by bit */
void dispatch_turn(struct queue *q);
void dispatch_forget(struct queue *q, struct dispatch *d);                   /* ended, one way or another */
void dispatch_return(struct queue *q, struct dispatch *d, uint32_t after_s); /* its recipients wait again */
void dispatch_link(struct queue *q, struct dispatch *d, struct peer *peer);
bool dispatch_may_begin(struct queue *q);
bool dispatch_any_ready(const struct message *m);
/* What MAIL FROM says when this recipient's copy goes to this next hop: rewritten (SRS) when an alias forwards it to a foreign domain. In the arena, or the message's own. */
struct vr_str dispatch_reverse_path(struct queue *q, struct vr_arena *arena, const struct message *m, uint32_t index,
                                    const struct next_hop *h);

/* ---- results.c --------------------------------------------------------------------------------------------------------------------- */

void results_frame(struct queue *q, struct peer *peer, struct vr_str payload);
void results_inflight(struct queue *q, struct peer *peer, struct vr_str payload);
void results_peer_gone(struct queue *q, struct peer *peer);
/* A result that came before the log was open, from a sender that has ended meanwhile (it drained: nobody else knows of it). */
void results_orphaned(struct queue *q, enum ipc_role role, struct vr_str payload);
/* Our own verdict on recipients: routing failed, the record is damaged, their time is over. words: "5.4.6 …". */
void results_refuse(struct queue *q, struct message *m, const uint32_t *indexes, uint32_t n,
                    struct vr_str words, bool permanent);
/* The time of BY is over (times.h): waiting recipients are returned, or their sender is told that they are late. */
void results_overdue(struct queue *q, struct message *m);
/* Its destination is dead: it sleeps on without an attempt, or its time is over. False: it may be readied. */
bool results_parked(struct queue *q, struct message *m, uint32_t index, struct destination *d);
/* These stand in its place from now on; they are scheduled when that is durable. */
void results_expand(struct queue *q, struct message *m, uint32_t index, const struct vr_str *addresses,
                    uint32_t n, uint8_t flags);

/* ---- bounce.c ---------------------------------------------------------------------------------------------------------------------- */

struct report_item {
    uint32_t index;
    uint8_t action; /* enum dsn_action */
    struct vr_str status, diagnostic, remote_mta;
    bool smtp;      /* the diagnostic is a server's reply */
    bool attempted; /* just now */
    bool late;      /* DELAYED: since the time of BY passed, not since delay_warning */
};
struct report {
    struct queue *queue;
    struct message *message;
    struct vr_arena arena;
    struct report_item *items;
    uint32_t count, capacity;
    int64_t now_us;
};
bool report_wanted(enum dsn_action action, uint8_t notify,
                   bool null_reverse_path); /* RFC 3461 §4.1, RFC 5321 §6.1 */
struct report *report_new(struct queue *q, struct message *m);
void report_add(struct report *r, const struct report_item *item); /* copies */
/* Makes the DSN and stores it together with the new states of its recipients. Takes r over. NULL or empty: nothing. */
void report_send(struct report *r);

/* ---- control.c --------------------------------------------------------------------------------------------------------------------- */

void control_frame(struct queue *q, struct peer *peer, struct vr_str payload);
void control_taken(struct queue *q, struct peer *peer, struct vr_str payload);
void control_cancel(struct queue *q, struct peer *peer, struct vr_str payload);
void control_peer_gone(struct queue *q, struct peer *peer);

/* ---- flush.c ----------------------------------------------------------------------------------------------------------------------- */

void flush_frame(struct queue *q, struct peer *peer, struct vr_str payload);
void flush_peer_gone(struct queue *q, struct peer *peer);

/* ---- the process ---------------------------------------------------------------------------------------------------------------------- */

struct queue {
    struct process *process;
    const struct config *config;
    struct io *io;
    struct event_log *events;
    char spool[BODY_PATH - 64];
    int lock_fd;
    struct io_appender *appender;
    struct qlog *log;
    uint64_t last_id, last_delivery;
    uint8_t hash_key[16];
    struct vr_buf scratch, scratch2;

    struct idmap messages;
    struct counts counts;
    uint64_t
        *finished; /* sorted: ended before the replay began to serve; a receiver may ask again for these */
    size_t finished_count;
    struct finished_some *finished_oldest, *finished_newest;
    struct moving *move_first, *move_last; /* copies not durable yet, in the order of the log */
    struct restored *restored;             /* while replaying behind a checkpoint */
    struct checkpoint *checkpoint;         /* being made */
    qlog_position checkpoint_from;         /* where the last one begins, 0: there is none */
    uint64_t checkpoint_bytes;             /* its size */
    int64_t checkpoint_after_ms;           /* a failure is not repeated at once */
    struct text *texts;
    uint64_t *unsaved; /* messages whose RESULT could not be written */
    size_t unsaved_count, unsaved_capacity;

    struct cached *cache_oldest, *cache_newest;
    struct cache_chunk *cache_chunk, *cache_spare; /* being filled; kept for the next one */
    size_t cache_bytes;                            /* of chunks */

    struct idmap bodies; /* files that receivers write now */
    bool full;           /* intake is refused */
    bool guard_running, sweeping;
    int64_t sweep_at_ms;

    struct destination *destinations;
    struct ring {
        struct destination *first, *last;
    } rings[HEALTH_COUNT];
    struct destination *buried; /* dead ones whose ready queues are being emptied */
    struct idmap flows;         /* ready.c */
    uint32_t last_lane;
    struct heap sleepers; /* messages */
    bool retrying;        /* in schedule_retry */
    struct heap parked;   /* destinations that a rate holds back */
    struct io_timer *wake, *tick, *pace;
    struct idmap dispatches;
    uint32_t reading; /* bodies being read for deliveries */
    uint32_t reports; /* being made */

    bool begun;        /* deliveries may begin */
    uint32_t expected; /* senders and locals */
    bool expected_known;
    int64_t begin_at_ms;  /* at the latest */
    bool unknown_records; /* met at replay: nothing may be given back */
    bool serving;         /* the lock is ours, the log is open */
    bool sealed;          /* leaving, the log has its end */
    bool draining;
    int64_t lock_until_ms, leave_at_ms, leave_wait_ms;
    struct io_timer *lock_timer;
    struct early *early_first, *early_last; /* frames that came before */
    struct job *jobs;                       /* control.c */
    struct flush *flushes;                  /* flush.c */
};

static inline bool restore_reflects(const struct queue *q, const struct message *m, qlog_position position)
{
    return q->restored != NULL && m->sleep.key != 0 && position < q->restored->slices[m->sleep.key - 1];
}

#define NOW_S(q) ((uint32_t)(io_now_us((q)->io) / 1000000))

#endif
