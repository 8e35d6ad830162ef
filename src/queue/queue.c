/* queue.c - the process: the lock on the spool, the replay, frames to their functions, the end.
 *
 * Runs in: queue. Touches: the spool. Never: network.
 * Tests:   tests/unit/queue_process.c
 */
#include "queue/queue.h"

#include "io/fs.h"
#include "queue/inside.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_WAIT_MS   60000 /* an earlier queue finishes its last commit meanwhile */
#define LOCK_POLL_MS   10
#define BEGIN_WAIT_MS  5000 /* for the senders to say what they have in flight */
#define LEAVE_WAIT_MS  300  /* for the results of deliveries that end just now */
#define LEAVE_POLL_MS  5
#define TICK_MS        1000
#define LAZY_COMMIT_MS 50
#define RECENT_MS      (10 * 60 * 1000)
#define WORKERS        4
#define EXIT_SPOOL     74 /* EX_IOERR */

/* A frame that came before the log was open. */
struct early {
    struct early *next;
    struct peer *peer; /* NULL: gone meanwhile */
    enum ipc_role role;
    uint16_t type;
    struct vr_buf payload;
};

/* ---- frames -------------------------------------------------------------------------------------------------------------------------- */

static void frame_now(struct queue *q, struct peer *peer, uint16_t type, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    switch (type) {
    case IPC_BODY_OPEN:
        bodies_open(q, peer, ipc_get_u64(&r));
        break;
    case IPC_BODY_DROP:
        bodies_drop(q, ipc_get_u64(&r));
        break;
    case IPC_SUBMIT:
        intake_submit(q, peer, payload);
        break;
    case IPC_FLUSH:
        flush_frame(q, peer, payload);
        break;
    case IPC_RESULT:
        results_frame(q, peer, payload);
        break;
    case IPC_INFLIGHT:
        results_inflight(q, peer, payload);
        break;
    case IPC_CONTROL:
        control_frame(q, peer, payload);
        break;
    case IPC_CONTROL_TAKEN:
        control_taken(q, peer, payload);
        break;
    case IPC_CONTROL_CANCEL:
        control_cancel(q, peer, payload);
        break;
    default:
        break; /* the table of frames lets no other one through */
    }
}

static void frame_later(struct queue *q, struct peer *peer, uint16_t type, struct vr_str payload)
{
    struct early *e = calloc(1, sizeof *e);
    assert(e != NULL);
    *e = (struct early){.peer = peer, .role = peer->role, .type = type};
    vr_buf_init(&e->payload, IO_FRAME_MAX + 1);
    vr_buf_add(&e->payload, payload);
    *(q->early_last != NULL ? &q->early_last->next : &q->early_first) = e;
    q->early_last = e;
}

static void queue_frame(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd)
{
    struct queue *q = p->data;
    if (fd >= 0)
        io_fs_close(fd); /* nobody has one to give us */
    if (q->serving)
        frame_now(q, peer, type, payload);
    else
        frame_later(q, peer, type, payload);
}

static void early_frames(struct queue *q)
{
    for (struct early *e = q->early_first, *next; e != NULL; e = next) {
        next = e->next;
        if (e->peer != NULL)
            frame_now(q, e->peer, e->type, vr_buf_str(&e->payload));
        else if (e->type == IPC_RESULT)
            results_orphaned(q, e->role, vr_buf_str(&e->payload));
        vr_buf_fini(&e->payload);
        free(e);
    }
    q->early_first = q->early_last = NULL;
}

static void queue_attached(struct process *p, struct peer *peer)
{
    (void)p;
    if (peer->role != IPC_SENDER && peer->role != IPC_LOCAL)
        return;
    peer->data = calloc(1, sizeof(struct deliverer));
    assert(peer->data != NULL);
}

static void queue_detached(struct process *p, struct peer *peer)
{
    struct queue *q = p->data;
    for (struct early *e = q->early_first; e != NULL; e = e->next)
        if (e->peer == peer)
            e->peer = NULL;
    results_peer_gone(q, peer);
    bodies_peer_gone(q, peer);
    control_peer_gone(q, peer);
    flush_peer_gone(q, peer);
}

/* ---- the turn and the tick ---------------------------------------------------------------------------------------------------------------- */

static void leave_when_done(struct queue *q)
{
    if (q->serving && qlog_idle(q->log) && q->reports == 0 && bodies_idle(q) && !checkpoint_wanted(q) &&
        (q->dispatches.count == 0 || io_monotonic_ms(q->io) >= q->leave_at_ms)) {
        if (!q->sealed)
            qlog_seal(q->log);
        q->sealed = true;
        qlog_flush(q->log);
        if (!qlog_idle(q->log))
            return;
        q->serving = false;
        process_exit(q->process, 0);
    } else if (q->serving) {
        qlog_flush(q->log);
    }
}

static void turn_end(void *arg)
{
    struct queue *q = arg;
    if (q->draining) {
        leave_when_done(q);
        return;
    }
    if (!q->serving)
        return;
    if (!q->begun && dispatch_may_begin(q))
        q->begun = true;
    dispatch_turn(q);
}

static void pace(void *arg)
{
    (void)arg; /* the end of this turn looks who may send again: dispatch_turn */
}

static void tick(void *arg)
{
    struct queue *q = arg;
    guard_check(q);
    qlog_trim(q->log);
    unsaved_again(q);
    bodies_sweep(q);
    destinations_sweep(q);
    if (q->finished_count > 0 && io_monotonic_ms(q->io) > q->begin_at_ms - BEGIN_WAIT_MS + RECENT_MS) {
        free(q->finished);
        q->finished = NULL;
        q->finished_count = 0;
    }
    finished_forget(q);
    checkpoint_check(q);
}

static void leave_poll(void *arg)
{
    (void)arg; /* the end of this turn looks */
}

static void leave_begin(struct queue *q)
{
    unsaved_again(q);
    checkpoint_stop(q);
    q->leave_at_ms = io_monotonic_ms(q->io) + q->leave_wait_ms;
    io_timer_free(q->lock_timer);
    q->lock_timer = io_timer_new(q->io, leave_poll, q);
    io_timer_start(q->lock_timer, LEAVE_POLL_MS, LEAVE_POLL_MS);
}

/* ---- beginning -------------------------------------------------------------------------------------------------------------------------------- */

static void give_up(struct queue *q, const char *event, int status, const char *next)
{
    event_begin(q->events, EVENT_ERROR, event, 0);
    event_text(q->events, "spool", q->spool);
    event_text(q->events, "error", io_error_text(status));
    event_text(q->events, "next", next);
    event_end(q->events);
    process_exit(q->process, EXIT_SPOOL);
}

static void note_replayed(struct queue *q, int64_t began_us)
{
    struct qlog_counts counts;
    qlog_counts(q->log, &counts);
    event_begin(q->events, counts.damaged > 0 ? EVENT_WARNING : EVENT_INFO, "queue.replayed", 0);
    event_u64(q->events, "messages", q->messages.count);
    event_u64(q->events, "records", counts.records);
    if (q->restored != NULL)
        event_u64(q->events, "checkpoint", q->restored->messages);
    event_u64(q->events, "segments", counts.segments);
    event_u64(q->events, "damaged", counts.damaged);
    event_u64(q->events, "ms", (uint64_t)((io_now_us(q->io) - began_us) / 1000));
    event_text(q->events, "commits", io_appender_kind(q->appender));
    event_end(q->events);
}

/* What is owed and what is due, of all that was replayed. Ids first: reports add messages to the table. */
static void begin_replayed(struct queue *q)
{
    for (size_t i = 0; i < q->messages.capacity; i++) {
        struct message *m = idmap_slot(&q->messages, i);
        if (m == NULL)
            continue;
        bool owed = false;
        for (uint32_t k = 0; k < m->count && !owed; k++)
            owed = m->recipients[k].state == RECIPIENT_EXPANDING;
        if (owed)
            message_begin(q, m); /* reads the log first: nothing is added to the table within this loop */
        else
            schedule_replayed(q, m);
    }
}

static void serve(struct queue *q)
{
    char folder[BODY_PATH];
    snprintf(folder, sizeof folder, "%s/log", q->spool);
    int64_t began_us = io_now_us(q->io);
    struct qlog_options o = {.io = q->io,
                             .events = q->events,
                             .appender = q->appender,
                             .folder = folder,
                             .segment_size = q->config->segment_size,
                             .lazy_ms = LAZY_COMMIT_MS,
                             .arg = q,
                             .replay = record_replay,
                             .started = restore_started,
                             .move = record_move};
    q->restored = restore_read(q);
    if (q->restored != NULL)
        o.start = &q->restored->start;
    int status = qlog_open(&o, &q->log);
    if (status == 0 && q->unknown_records)
        status = -ENOTSUP;
    if (status == 0)
        status = bodies_start(q);
    if (status != 0) {
        give_up(q, "queue.spool_failed", status,
                "the log or the folder for bodies cannot be used: see the line before, check owner and "
                "permissions");
        return;
    }
    note_replayed(q, began_us);
    restore_end(q);
    finished_sort(q);
    q->serving = true;
    q->begin_at_ms = io_monotonic_ms(q->io) + BEGIN_WAIT_MS;
    begin_replayed(q);
    io_timer_start(q->tick, 1, TICK_MS);
    early_frames(q);
    if (q->draining)
        leave_begin(q);
    process_ready(q->process);
}

static void try_lock(void *arg)
{
    struct queue *q = arg;
    int status = io_fs_lock(q->lock_fd);
    if (status == -EAGAIN && io_monotonic_ms(q->io) < q->lock_until_ms) {
        io_timer_start(q->lock_timer, LOCK_POLL_MS, 0);
        return;
    }
    if (status == 0)
        serve(q);
    else
        give_up(q, "queue.lock_failed", status,
                status == -EAGAIN ? "another queue holds this spool: is a second server running on it?"
                                  : "check the spool's owner and permissions");
}

static int queue_prepare(struct process *p, void **data)
{
    struct queue *q = calloc(1, sizeof *q);
    assert(q != NULL);
    *data = q;
    q->process = p;
    q->config = p->config;
    q->io = p->io;
    q->events = p->log;
    q->lock_fd = -1;
    q->appender = io_appender_new(q->io, IO_APPEND_BEST); /* a confined process can make no ring */
    int n = snprintf(q->spool, sizeof q->spool, "%s", p->config->spool);
    if (n > 0 && (size_t)n < sizeof q->spool)
        return 0;
    event_begin(p->log, EVENT_ERROR, "queue.spool_failed", 0);
    event_text(p->log, "spool", p->config->spool);
    event_text(p->log, "next", "the path is too long: name another folder with \"spool\"");
    event_end(p->log);
    return EXIT_SPOOL;
}

static void queue_start(struct process *p)
{
    struct queue *q = p->data;
    mallopt(
        M_MMAP_THRESHOLD,
        256 << 10); /* said once, it stays so: large blocks (frames, batches, the cache) go back when freed */
    vr_buf_init(&q->scratch, QLOG_RECORD_MAX);
    vr_buf_init(&q->scratch2, QLOG_RECORD_MAX);
    io_random(q->io, q->hash_key, sizeof q->hash_key);
    q->last_delivery = (uint64_t)io_now_us(q->io)
                       << 10; /* ids of an earlier queue's deliveries do not come again */
    q->wake = io_timer_new(q->io, schedule_due, q);
    q->tick = io_timer_new(q->io, tick, q);
    q->pace = io_timer_new(q->io, pace, q);
    q->lock_timer = io_timer_new(q->io, try_lock, q);
    q->lock_until_ms = io_monotonic_ms(q->io) + LOCK_WAIT_MS;
    q->begin_at_ms = INT64_MAX;
    io_on_turn_end(q->io, turn_end, q);
    char path[BODY_PATH];
    snprintf(path, sizeof path, "%s/lock", q->spool);
    int status = io_fs_mkdir_all(q->spool, 0700);
    q->lock_fd = status == 0
                     ? io_fs_open(path, IO_FS_READ | IO_FS_WRITE | IO_FS_CREATE | IO_FS_NO_FOLLOW, 0600)
                     : status;
    if (q->lock_fd < 0)
        give_up(q, "queue.lock_failed", q->lock_fd, "check the spool's owner and permissions");
    else
        try_lock(q);
}

/* ---- ending -------------------------------------------------------------------------------------------------------------------------------------- */

static void queue_drain(struct process *p, int64_t deadline_ms)
{
    struct queue *q = p->data;
    q->draining = true;
    /* At a reload or a stop, senders tell the next queue, or have ended before us. Orphans have us alone. */
    q->leave_wait_ms = p->supervisor != NULL ? LEAVE_WAIT_MS : deadline_ms;
    if (q->serving)
        leave_begin(q);
    else if (q->early_first == NULL)
        process_exit(p, 0);
    /* else what we were told is nowhere else: it is written down first, when the spool is ours */
}

static void queue_expect(struct process *p, uint32_t n)
{
    struct queue *q = p->data;
    q->expected = n;
    q->expected_known = true;
}

const struct process_ops queue_ops = {
    .role = IPC_QUEUE,
    .worker_threads = WORKERS,
    .ready_later = true, /* once it has the spool: until then results are told to it that are nowhere else */
    .prepare = queue_prepare,
    .start = queue_start,
    .attached = queue_attached,
    .frame = queue_frame,
    .detached = queue_detached,
    .drain = queue_drain,
    .expect = queue_expect,
};
