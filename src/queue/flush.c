/* flush.c - mail that waits for a domain is tried now, because its server asks for it (ETRN, RFC 1985).
 *
 * Promise:    the answer says how many messages were found, or, when that takes longer than ANSWER_MS, only that they will be tried. What was found is tried
 *             in turns, between which mail goes on; held messages stay held. Who asks more often gains nothing: there is one request at a time for a name, FLUSHES_MAX in all.
 * Runs in:    queue. Touches: memory only.
 * Tests:      tests/unit/queue_process.c, tests/e2e/test_etrn.py
 */
#include "queue/control.h"

#include <assert.h>
#include <stdlib.h>

#define TURN_US          1500
#define TURN_STEPS       64 /* of a clock that stands still, such as the simulator's */
#define PLACES_AT_ONCE   256
#define MESSAGES_AT_ONCE 16
#define ANSWER_MS        2000
#define FLUSHES_MAX      16

struct flush {
    struct flush *next;
    struct queue *queue;
    struct peer *peer; /* NULL: answered, or gone */
    uint64_t ask;
    struct pick pick;
    uint64_t done;
    int64_t answer_by_ms;
    struct io_timer *timer;
    uint8_t kind;
    size_t n;
    char name[ADDRESS_DOMAIN_MAX];
};

static void answer(struct queue *q, struct peer *peer, uint64_t ask, enum ipc_flushed what, uint64_t count)
{
    struct vr_buf *b = process_frame(q->process);
    ipc_put_u64(b, ask);
    ipc_put_u8(b, (uint8_t)what);
    ipc_put_u64(b, count);
    peer_send(peer, IPC_FLUSHED, b, -1);
}

static void settle(struct flush *f, enum ipc_flushed what, uint64_t count)
{
    if (f->peer != NULL)
        answer(f->queue, f->peer, f->ask, what, count);
    f->peer = NULL;
}

static void flush_free(struct flush *f)
{
    for (struct flush **at = &f->queue->flushes; *at != NULL; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    pick_end(&f->pick);
    io_timer_free(f->timer);
    free(f);
}

static void finish(struct flush *f)
{
    event_begin(f->queue->events, EVENT_INFO, "queue.flushed", 0);
    event_str(f->queue->events, "for", vr_str(f->name, f->n));
    event_u64(f->queue->events, "messages", f->done);
    event_end(f->queue->events);
    flush_free(f);
}

/* A bit of the work: false when none is left. */
static bool step(struct flush *f)
{
    if (!f->pick.collected) {
        if (pick_collect(&f->pick, PLACES_AT_ONCE))
            settle(f, IPC_FLUSH_COUNTED, f->pick.count);
        return true;
    }
    for (int i = 0; i < MESSAGES_AT_ONCE; i++) {
        struct message *m;
        if (!pick_next(&f->pick, &m))
            return false;
        if (m == NULL)
            continue;
        schedule_retry(f->queue, m);
        f->done++;
    }
    return true;
}

static void turn(void *flush)
{
    struct flush *f = flush;
    int64_t began_us = io_now_us(f->queue->io);
    for (int i = 0; i < TURN_STEPS && io_now_us(f->queue->io) < began_us + TURN_US; i++)
        if (!step(f)) {
            finish(f);
            return;
        }
    if (io_monotonic_ms(f->queue->io) >= f->answer_by_ms)
        settle(f, IPC_FLUSH_STARTED, 0);
    io_timer_start(f->timer, 1 + 2 * (io_now_us(f->queue->io) - began_us) / 1000, 0);
}

static const char *begin(struct flush *f, struct vr_str name)
{
    json_t *request = json_pack("{s:s%,s:b,s:b}", f->kind == IPC_FLUSH_DESTINATION ? "destination" : "domain",
                                name.p, name.n, "below", f->kind == IPC_FLUSH_BELOW, "held", 0);
    if (request == NULL)
        return "the name is not UTF-8";
    const char *wrong = pick_begin(&f->pick, f->queue, request, true);
    json_decref(request);
    return wrong;
}

void flush_frame(struct queue *q, struct peer *peer, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    uint64_t ask = ipc_get_u64(&r);
    uint8_t kind = ipc_get_u8(&r);
    struct vr_str name = ipc_get_str(&r);
    size_t count = 0;
    if (!ipc_done(&r) || kind > IPC_FLUSH_DESTINATION || name.n == 0 || name.n > ADDRESS_DOMAIN_MAX)
        return;
    for (const struct flush *f = q->flushes; f != NULL; f = f->next, count++)
        if (f->kind == kind && vr_str_equal_nocase(vr_str(f->name, f->n), name)) {
            answer(q, peer, ask, IPC_FLUSH_STARTED, 0);
            return;
        }
    struct flush *f = count < FLUSHES_MAX ? calloc(1, sizeof *f) : NULL;
    if (f == NULL) {
        answer(q, peer, ask, IPC_FLUSH_BUSY, 0);
        return;
    }
    *f = (struct flush){.next = q->flushes, .queue = q, .peer = peer, .ask = ask, .kind = kind, .n = name.n};
    for (size_t i = 0; i < name.n; i++)
        f->name[i] = name.p[i];
    f->answer_by_ms = io_monotonic_ms(q->io) + ANSWER_MS;
    f->timer = io_timer_new(q->io, turn, f);
    q->flushes = f;
    if (begin(f, name) == NULL) {
        turn(f);
        return;
    }
    settle(f, IPC_FLUSH_BUSY, 0);
    flush_free(f);
}

void flush_peer_gone(struct queue *q, struct peer *peer)
{
    for (struct flush *f = q->flushes; f != NULL; f = f->next)
        if (f->peer == peer)
            f->peer = NULL;
}
