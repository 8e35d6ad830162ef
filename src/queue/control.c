/* control.c - what the administrator asks: list, show, summary; retry, hold, release, remove.
 *
 * Request:  {"op": "list"|"show"|"summary"|"retry"|"hold"|"release"|"remove", "ids": ["0F3K…"] | "all": true, "full": true,
 *            "domain": "example.org", "below": true (and all below it), "sender": "a@b" | "@b" | "<>", "destination": "mx:example.org", "held": true, "state": "deferred",
 *            "older": seconds, "newer": seconds, "reason": "part of a reply", "after": "0F3K…", "limit": 100, "dry_run": true}
 * Answer:   lines, each a JSON object. list and show: one for each message. The others, while they go on: {"progress":n,"of":m}.
 *           The last line has "end": true and what there is to tell at the end; without it the answer was cut off. Or the last
 *           line is {"error": "…"}: the request makes no sense.
 * Turns:    whatever a request costs, it is done in turns of TURN_US, between which mail goes on. What is sent waits for the client to take
 *           it (IPC_CONTROL_TAKEN): no more than WINDOW bytes are on their way, so a pager that nobody scrolls costs no memory. What changes
 *           messages waits for the disk.
 * Ending:   when the client leaves (IPC_CONTROL_CANCEL) the request ends where it is. What was changed stays changed.
 * Tests:    tests/unit/queue_control.c, tests/unit/queue_process.c
 */
#include "queue/control.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TURN_US          1500
#define TURN_STEPS       64 /* of a clock that stands still, such as the simulator's */
#define PLACES_AT_ONCE   256
#define MESSAGES_AT_ONCE 16
#define PART_MAX         (256u << 10) /* a frame has its bound */
#define WINDOW           (1u << 20)
#define TEXT_MAX         (64u << 20)
#define DISK_WAITING_MAX (8u << 20) /* bytes of the log not durable yet: who accepts mail needs the rest */
#define PROGRESS_MS      500

struct operation {
    const char *name;
    bool needs_target;
    bool (*turn)(struct job *j); /* false: done */
    const char *event;
    void (*change)(struct queue *q, struct message *m);
};

/* ---- parts ------------------------------------------------------------------------------------------------------------------------- */

static void send_part(struct job *j, bool last, struct vr_str text)
{
    struct vr_buf *frame = process_frame(j->queue->process);
    ipc_put_u64(frame, j->request);
    ipc_put_u8(frame, last);
    ipc_put_str(frame, text);
    peer_send(j->peer, IPC_CONTROL_PART, frame, -1);
    j->untaken += text.n;
    j->told_ms = io_monotonic_ms(j->queue->io);
}

static void send_text(struct job *j, bool last)
{
    struct vr_str text = vr_buf_str(&j->text);
    while (
        text.n >
        PART_MAX) { /* between lines, where one is not larger than that: there an answer may be broken off */
        size_t at = vr_str_find_last(vr_str_sub(text, 0, PART_MAX), '\n');
        size_t n = at != VR_NPOS ? at + 1 : PART_MAX;
        send_part(j, false, vr_str_sub(text, 0, n));
        text = vr_str_from_pos(text, n);
    }
    if (last || text.n > 0)
        send_part(j, last, text);
    vr_buf_reset(&j->text);
}

void job_add(struct job *j, json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT);
    assert(text != NULL);
    vr_buf_add(&j->text, vr_str_from(text));
    vr_buf_add(&j->text, VR_STR("\n"));
    free(text);
    json_decref(line);
}

/* ---- turns ------------------------------------------------------------------------------------------------------------------------- */

static void job_free(struct job *j)
{
    for (struct job **at = &j->queue->jobs; *at != NULL; at = &(*at)->next)
        if (*at == j) {
            *at = j->next;
            break;
        }
    summary_free(j);
    pick_end(&j->pick);
    io_timer_free(j->timer);
    vr_buf_fini(&j->text);
    free(j);
}

bool job_turn_over(struct job *j)
{
    return ++j->steps > TURN_STEPS || io_now_us(j->queue->io) >= j->until_us;
}

/* Who asked hears that it goes on: an administrator sees it, admin.c gives nobody up who hears something. */
static void tell_progress(struct job *j)
{
    if (io_monotonic_ms(j->queue->io) - j->told_ms < PROGRESS_MS)
        return;
    if (j->operation->change != NULL)
        job_add(j, json_pack("{s:I,s:I}", "progress", (json_int_t)j->done, "of",
                             (json_int_t)(j->done + j->pick.count)));
    else
        send_part(j, false, vr_str(NULL, 0));
}

void job_turn(void *job)
{
    struct job *j = job;
    if (j->peer == NULL) {
        job_free(j);
        return;
    }
    send_text(j, false); /* of a message that was shown */
    if (j->untaken >= WINDOW)
        return; /* control_taken goes on */
    j->steps = 0;
    int64_t began_us = io_now_us(j->queue->io);
    j->until_us = began_us + TURN_US;
    bool more = j->operation->turn(j);
    if (j->reading)
        return;
    if (more)
        tell_progress(j);
    send_text(j, !more);
    if (more) /* two thirds of the time are for the mail: an administrator can wait */
        io_timer_start(j->timer, 1 + 2 * (io_now_us(j->queue->io) - began_us) / 1000, 0);
    else
        job_free(j);
}

/* False while the messages are still being found. */
static bool collected(struct job *j)
{
    while (!pick_collect(&j->pick, PLACES_AT_ONCE))
        if (job_turn_over(j))
            return false;
    return true;
}

static bool limit_reached(const struct job *j)
{
    return j->limit > 0 && j->done >= j->limit;
}

/* The next message; NULL: none is left, or the turn is over (*more). */
static struct message *next_message(struct job *j, bool *more)
{
    struct message *m = NULL;
    *more = true;
    for (int n = 0; m == NULL; n++) {
        if (n == MESSAGES_AT_ONCE && job_turn_over(j))
            return NULL;
        n %= MESSAGES_AT_ONCE;
        if (limit_reached(j) || !pick_next(&j->pick, &m)) {
            *more = false;
            return NULL;
        }
    }
    return m;
}

/* ---- list, show -------------------------------------------------------------------------------------------------------------------- */

/* The total: what was told, and what a limit left over. */
static void end_list(struct job *j)
{
    job_add(j, json_pack("{s:b,s:I,s:I}", "end", 1, "shown", (json_int_t)j->done, "total",
                         (json_int_t)(j->done + j->pick.count)));
}

static bool list_turn(struct job *j)
{
    if (!collected(j))
        return true;
    bool more = true;
    for (int n = 1; vr_buf_size(&j->text) < PART_MAX; n++) {
        const struct message *m = next_message(j, &more);
        if (m == NULL)
            break;
        job_add(j, control_message(j->queue, m));
        j->done++;
        if (n % MESSAGES_AT_ONCE == 0 && job_turn_over(j))
            break;
    }
    if (!more)
        end_list(j);
    return more;
}

static bool show_turn(struct job *j)
{
    bool more = true;
    struct message *m = collected(j) ? next_message(j, &more) : NULL;
    if (m != NULL)
        control_show(j, m);
    else if (!more)
        end_list(j);
    return more;
}

/* ---- changing messages --------------------------------------------------------------------------------------------------------------- */

static void hold_message(struct queue *q, struct message *m)
{
    message_set_held(q, m, true);
    m->timed = false; /* until an administrator releases it */
    for (uint32_t i = 0; i < m->count; i++)
        if (m->recipients[i].state == RECIPIENT_READY)
            recipient_set(q, m, &m->recipients[i], RECIPIENT_WAITING);
    schedule_forget(q, m);
    cache_drop(q, m);
    result_save(q, m, NULL, 0);
}

static void release_message(struct queue *q, struct message *m)
{
    message_set_held(q, m, false);
    m->timed = false;
    result_save(q, m, NULL, 0);
    schedule_message(q, m);
}

static void remove_message(struct queue *q, struct message *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (!recipient_final(m->recipients[i].state))
            recipient_set(q, m, &m->recipients[i], RECIPIENT_REMOVED);
    schedule_forget(q, m);
    cache_drop(q, m);
    result_save(q, m, NULL, 0);
}

static void change_message(struct job *j, struct message *m)
{
    struct queue *q = j->queue;
    uint64_t id = m->id;
    j->operation->change(q, m);
    event_begin(q->events, EVENT_NOTICE, j->operation->event, id);
    event_text(q->events, "by", "administrator");
    event_end(q->events);
}

/* Who is told that messages were changed finds them so after any crash. False when the disk takes no more: what could not be
 * written is tried again (unsaved_again). */
static bool changes_are_safe(struct job *j)
{
    struct qlog *log = j->queue->log;
    if (j->changed_end == 0) {
        j->changed_end = qlog_end(log);
        qlog_flush(log);
    }
    return qlog_durable_end(log) >= j->changed_end || qlog_idle(log);
}

static bool change_turn(struct job *j)
{
    bool more = true;
    if (!collected(j))
        return true;
    for (int n = 1; qlog_waiting(j->queue->log) <= DISK_WAITING_MAX; n++) {
        struct message *m = next_message(j, &more);
        if (m == NULL)
            break;
        j->done++;
        if (!j->dry)
            change_message(j, m);
        if (n % MESSAGES_AT_ONCE == 0 && job_turn_over(j))
            break;
    }
    if (more || (!j->dry && !changes_are_safe(j)))
        return true;
    job_add(j, json_pack("{s:b,s:s,s:b,s:I,s:b}", "end", 1, "op", j->operation->name, "dry_run", (int)j->dry,
                         "count", (json_int_t)j->done, "safe", (int)(j->queue->unsaved_count == 0)));
    return false;
}

/* ---- the request ----------------------------------------------------------------------------------------------------------------------- */

static const struct operation operations[] = {
    {"list", false, list_turn, NULL, NULL},
    {"show", true, show_turn, NULL, NULL},
    {"summary", false, summary_turn, NULL, NULL},
    {"retry", true, change_turn, "message.retried", schedule_retry},
    {"hold", true, change_turn, "message.held", hold_message},
    {"release", true, change_turn, "message.released", release_message},
    {"remove", true, change_turn, "message.removed", remove_message},
};

static const struct operation *operation_of(const json_t *request)
{
    const char *op = json_string_value(json_object_get(request, "op"));
    for (size_t i = 0; op != NULL && i < sizeof operations / sizeof *operations; i++)
        if (strcmp(op, operations[i].name) == 0)
            return &operations[i];
    return NULL;
}

/* NULL, or what is wrong with the request. */
static const char *job_begin(struct job *j, json_t *request)
{
    if (!json_is_object(request))
        return "the request is no JSON object";
    j->operation = operation_of(request);
    if (j->operation == NULL)
        return "\"op\" must be one of list, show, summary, retry, hold, release, remove";
    json_int_t limit = json_integer_value(json_object_get(request, "limit"));
    j->limit = limit > 0 ? (uint64_t)limit : 0;
    j->full = json_is_true(json_object_get(request, "full"));
    j->dry = json_is_true(json_object_get(request, "dry_run"));
    return pick_begin(&j->pick, j->queue, request, j->operation->needs_target);
}

void control_frame(struct queue *q, struct peer *peer, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    struct job *j = calloc(1, sizeof *j);
    assert(j != NULL);
    *j =
        (struct job){.queue = q, .peer = peer, .request = ipc_get_u64(&r), .told_ms = io_monotonic_ms(q->io)};
    struct vr_str text = ipc_get_str(&r);
    vr_buf_init(&j->text, TEXT_MAX);
    j->timer = io_timer_new(q->io, job_turn, j);
    j->next = q->jobs;
    q->jobs = j;
    json_error_t error;
    json_t *json = ipc_done(&r) ? json_loadb(text.n > 0 ? text.p : "", text.n, 0, &error) : NULL;
    const char *wrong = job_begin(j, json);
    json_decref(json);
    if (wrong != NULL) {
        job_add(j, json_pack("{s:s}", "error", wrong));
        send_text(j, true);
        job_free(j);
        return;
    }
    job_turn(j);
}

/* ---- the other side ---------------------------------------------------------------------------------------------------------------------- */

static struct job *job_of(struct queue *q, const struct peer *peer, uint64_t request)
{
    for (struct job *j = q->jobs; j != NULL; j = j->next)
        if (j->peer == peer && j->request == request)
            return j;
    return NULL;
}

/* Its next turn comes soon, unless a read is under way, after which it comes by itself. */
static void job_wake(struct job *j)
{
    if (!j->reading)
        io_timer_start(j->timer, 1, 0);
}

void control_taken(struct queue *q, struct peer *peer, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    struct job *j = job_of(q, peer, ipc_get_u64(&r));
    uint64_t n = ipc_get_u64(&r);
    if (j == NULL || !ipc_done(&r))
        return;
    bool waits = j->untaken >= WINDOW;
    j->untaken -= n < j->untaken ? n : j->untaken;
    if (waits)
        job_wake(j);
}

void control_cancel(struct queue *q, struct peer *peer, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    struct job *j = job_of(q, peer, ipc_get_u64(&r));
    if (j == NULL)
        return; /* it has ended meanwhile */
    j->peer = NULL;
    job_wake(j);
}

void control_peer_gone(struct queue *q, struct peer *peer)
{
    for (struct job *j = q->jobs; j != NULL; j = j->next)
        if (j->peer == peer) {
            j->peer = NULL;
            job_wake(j);
        }
}
