/* health.c - what a destination is given at a time: more while it goes well, less in trouble, nothing while it is dead or its rate is spent.
 *
 * Concurrency: begins at FIRST_LIMIT, one more for each delivery in which somebody could be spoken with, up to `concurrency`; half at the first
 *              failure after a success. What the other side says about a message (4xx to MAIL, RCPT or the dot) is no failure: somebody is there.
 * Death:       as many failures in a row as deliveries were allowed when they began (DEAD_FAILURES at the most). Then one thing is known for all
 *              its messages: they sleep without an attempt (results_parked) until the pause is over, which grows as queue.retry does, up to
 *              DEAD_MAX_MS. One delivery tries it again then; the rest waits for what becomes of that (health_parks).
 * Rate:        deliveries at an even pace, at most BURST_US early (GCRA). A spent one leaves the ring and comes back by a heap.
 * Places:      a sender has places for destinations that are proven, for new ones and for suspects; so ten thousand that swallow every packet
 *              take those of their own kind only (dispatch.c).
 * Known by:    Postfix's queue manager (positive and negative feedback, cohort failure limit).
 * Tests:       tests/unit/queue_destination.c, tests/unit/queue_process.c
 */
#include "queue/inside.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_LIMIT       2
#define LOCAL_CONCURRENCY 64
#define DEAD_FAILURES     5
#define DEAD_MAX_MS       (10 * 60 * 1000)
#define DEAD_DEFAULT_MS   (60 * 1000)
#define REMEMBER_MS       (10 * 60 * 1000) /* without mail for it */
#define SUSPECT_READY     50 /* messages that wait in the ready queue of a destination under trial */
#define TRIAL_S           10 /* the others look again so much later, and up to twice that */
#define BURST_US          1000000
#define TICK_MS           10 /* of the heap of parked destinations */

static bool is_local(const struct destination *d)
{
    return d->next_hop.kind == NEXT_HOP_MAILDIR;
}

static const struct config_route *route_of(const struct queue *q, const struct destination *d)
{
    return d->next_hop.route < q->config->route_count ? &q->config->routes[d->next_hop.route] : NULL;
}

uint32_t health_limit_max(const struct queue *q, const struct destination *d)
{
    const struct config_route *route = route_of(q, d);
    uint32_t n = route != NULL && route->concurrency > 0 ? route->concurrency : q->config->concurrency;
    return is_local(d) ? LOCAL_CONCURRENCY : n > 0 ? n : 1;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void health_init(const struct queue *q, struct destination *d)
{
    uint32_t most = health_limit_max(q, d);
    d->health = is_local(d) ? HEALTH_PROVEN : HEALTH_NEW;
    d->limit = is_local(d) ? most : least(FIRST_LIMIT, most);
    d->forget_ms = io_monotonic_ms(q->io) + REMEMBER_MS;
}

bool health_forgettable(const struct queue *q, const struct destination *d)
{
    int64_t now = io_monotonic_ms(q->io);
    return now >= d->forget_ms && d->dead_until_ms <= now && !heap_holds(&d->parked);
}

/* ---- the pace ---------------------------------------------------------------------------------------------------------------------- */

/* Microseconds between deliveries; 0: as fast as it goes. */
static int64_t interval_us(const struct queue *q, const struct destination *d)
{
    const struct config_route *route = route_of(q, d);
    const struct config_rate *rate = route != NULL && route->rate.count > 0 ? &route->rate : &q->config->rate;
    return rate->count == 0 || is_local(d) ? 0 : rate->period_ms * 1000 / rate->count;
}

static uint32_t ticks(int64_t ms)
{
    return (uint32_t)((ms + TICK_MS - 1) / TICK_MS); /* of the monotonic clock: good for 497 days up */
}

static void pace_timer(struct queue *q)
{
    const struct heap_node *first = heap_top(&q->parked);
    int64_t wait = first != NULL ? (int64_t)first->key * TICK_MS - io_monotonic_ms(q->io) : 0;
    if (first != NULL)
        io_timer_start(q->pace, wait > 0 ? wait : 1, 0);
}

void health_wake(struct queue *q)
{
    struct heap_node *first;
    int64_t now = io_monotonic_ms(q->io);
    while ((first = heap_top(&q->parked)) != NULL && (int64_t)first->key * TICK_MS <= now) {
        heap_remove(&q->parked, first);
        dispatch_ring(q, HEAP_OWNER(first, struct destination, parked));
    }
    pace_timer(q);
}

bool health_admits(struct queue *q, struct destination *d)
{
    if (d->active >= d->limit || health_dead(q, d) || heap_holds(&d->parked))
        return false;
    int64_t interval = interval_us(q, d), now = io_monotonic_ms(q->io) * 1000;
    int64_t burst = interval > BURST_US ? 0 : BURST_US - interval;
    if (interval == 0 || d->next_us <= now + burst)
        return true;
    heap_put(&q->parked, &d->parked, ticks((d->next_us - burst) / 1000 + 1));
    pace_timer(q);
    return false;
}

void health_started(struct queue *q, struct destination *d)
{
    int64_t interval = interval_us(q, d), now = io_monotonic_ms(q->io) * 1000;
    if (interval > 0)
        d->next_us = (d->next_us > now ? d->next_us : now) + interval;
    d->forget_ms = now / 1000 + REMEMBER_MS;
}

/* ---- life and death ------------------------------------------------------------------------------------------------------------------ */

bool health_dead(const struct queue *q, const struct destination *d)
{
    return d->dead_until_ms > io_monotonic_ms(q->io);
}

static int64_t dead_ms(struct queue *q, const struct destination *d)
{
    const struct config *c = q->config;
    size_t row = d->deaths - 1;
    int64_t ms =
        c->retry_count == 0 ? DEAD_DEFAULT_MS : c->retry[row < c->retry_count ? row : c->retry_count - 1];
    if (ms > DEAD_MAX_MS)
        ms = DEAD_MAX_MS;
    uint32_t random;
    io_random(q->io, &random, sizeof random);
    ms += ms / 5 * (int64_t)(random >> 16) / 65536 -
          ms / 10; /* ten thousand that died together are not tried together */
    return ms > 1 ? ms : 1;
}

static void die(struct queue *q, struct destination *d, struct vr_str reason)
{
    int64_t now = io_monotonic_ms(q->io);
    d->deaths++;
    d->limit = 1;
    d->trouble = 0;
    d->dead_until_ms = now + dead_ms(q, d);
    struct text *t = text_take(q, reason);
    text_drop(q, d->reason);
    d->reason = t;
    event_begin(q->events, d->deaths == 1 ? EVENT_NOTICE : EVENT_DEBUG, "destination.dead", 0);
    event_text(q->events, "destination", d->name);
    event_str(q->events, "reason", reason);
    event_u64(q->events, "waiting", d->ready);
    event_u64(q->events, "again_s", (uint64_t)((d->dead_until_ms - now + 999) / 1000));
    event_text(q->events, "next", "its mail waits without attempts; \"veredus queue retry\" tries it now");
    event_end(q->events);
    dispatch_bury(q, d);
}

void health_failed(struct queue *q, struct destination *d, int64_t started_ms, struct vr_str reason)
{
    if (is_local(d) || started_ms < d->changed_ms || health_dead(q, d))
        return; /* of the same trouble as one that was counted */
    if (d->trouble == 0) {
        d->cohort = least(d->limit, DEAD_FAILURES);
        d->limit = d->limit > 1 ? d->limit / 2 : 1;
    }
    d->health = HEALTH_SUSPECT;
    if (++d->trouble < d->cohort)
        return;
    d->changed_ms = io_monotonic_ms(q->io) + 1;
    die(q, d, reason);
}

void health_good(struct queue *q, struct destination *d)
{
    uint32_t most = health_limit_max(q, d);
    if (d->deaths > 0) {
        event_begin(q->events, EVENT_NOTICE, "destination.alive", 0);
        event_text(q->events, "destination", d->name);
        event_end(q->events);
    }
    d->trouble = d->deaths = 0;
    d->dead_until_ms = 0;
    text_drop(q, d->reason);
    d->reason = NULL;
    d->health = HEALTH_PROVEN;
    if (d->limit < most)
        d->limit++;
    dispatch_ring(q, d);
}

bool health_parks(struct queue *q, const struct destination *d, uint32_t *until)
{
    int64_t now = io_monotonic_ms(q->io);
    uint32_t random;
    if (health_dead(q, d)) {
        int64_t left_s = (d->dead_until_ms - now + 999) / 1000;
        io_random(q->io, &random, sizeof random);
        *until = NOW_S(q) + (uint32_t)left_s + (uint32_t)((uint64_t)left_s / 8 * (random >> 16) / 65536);
        return true;
    }
    if (d->deaths == 0 || d->ready < SUSPECT_READY)
        return false;
    io_random(q->io, &random, sizeof random);
    *until = NOW_S(q) + TRIAL_S + random % TRIAL_S;
    return true;
}

void health_retry(struct queue *q, struct destination *d)
{
    if (!health_dead(q, d))
        return;
    d->dead_until_ms = 0;
    d->changed_ms = io_monotonic_ms(q->io);
    dispatch_ring(q, d);
}
