/* schedule.c - when: the table of retries, expiry, the delay warning, and a heap (heap.h) of messages that sleep.
 *
 * A message sleeps until the first of its waiting recipients is due, so a million sleepers cost one heap and one timer.
 * Tests: tests/unit/queue_schedule.c
 */
#include "queue/times.h"

#include <assert.h>
#include <stdlib.h>

#define WAKE_PER_TURN 512
#define WAKE_MAX_MS   60000
#define DEFAULT_RETRY (60ll * 60 * 1000)
#define ARENA_MAX     (4u << 20)

/* ---- the rules ------------------------------------------------------------------------------------------------------------------ */

uint32_t retry_time(const struct config *c, uint32_t attempts, int64_t base_us, int64_t now_us,
                    uint32_t random)
{
    size_t row = attempts > 0 ? attempts - 1 : 0;
    int64_t wait_ms =
        c->retry_count == 0 ? DEFAULT_RETRY : c->retry[row < c->retry_count ? row : c->retry_count - 1];
    int64_t spread = wait_ms / 5; /* 90 % … 110 %: what failed together does not come back together */
    wait_ms += spread * (int64_t)(random >> 16) / 65536 - spread / 2;
    int64_t next_ms = now_us / 1000 + (wait_ms > 0 ? wait_ms : 0);
    int64_t last_ms = base_us / 1000 + c->expire; /* one attempt more at the end of its time */
    if (next_ms > last_ms && last_ms > now_us / 1000)
        next_ms = last_ms;
    return (uint32_t)((next_ms + 999) / 1000);
}

/* The earlier of two, where the second counts only while it lies ahead. */
static int64_t sooner(int64_t until_ms, int64_t at_ms, int64_t now_ms)
{
    return at_ms > now_ms && at_ms < until_ms ? at_ms : until_ms;
}

uint32_t retry_bound(const struct config *c, int64_t base_us, const struct recipient *r, uint32_t until,
                     int64_t now_us)
{
    int64_t base_ms = base_us / 1000, now_ms = now_us / 1000;
    int64_t at_ms = sooner((int64_t)until * 1000, base_ms + c->expire, now_ms);
    if (c->delay_warning > 0 && !(r->flags & RECIPIENT_WARNED))
        at_ms = sooner(at_ms, base_ms + c->delay_warning, now_ms);
    return (uint32_t)((at_ms + 999) / 1000);
}

bool retry_expired(const struct config *c, int64_t base_us, int64_t now_us)
{
    return now_us / 1000 >= base_us / 1000 + c->expire;
}

bool retry_warns(const struct config *c, int64_t base_us, int64_t now_us, uint8_t notify, uint8_t flags,
                 bool null_reverse_path)
{
    return c->delay_warning > 0 && !(flags & RECIPIENT_WARNED) &&
           now_us / 1000 >= base_us / 1000 + c->delay_warning &&
           report_wanted(DSN_DELAYED, notify, null_reverse_path);
}

/* ---- sleeping --------------------------------------------------------------------------------------------------------------------- */

void schedule_forget(struct queue *q, struct message *m)
{
    heap_remove(&q->sleepers, &m->sleep);
}

/* UINT32_MAX: nothing is to be done at any time. */
static void sleep_or_not(struct queue *q, struct message *m, uint32_t wake)
{
    if (wake == UINT32_MAX) {
        schedule_forget(q, m);
        return;
    }
    heap_put(&q->sleepers, &m->sleep, wake);
    schedule_timer(q);
}

void schedule_timer(struct queue *q)
{
    const struct heap_node *first = heap_top(&q->sleepers);
    if (first == NULL)
        return;
    int64_t wait = (int64_t)first->key * 1000 - io_now_us(q->io) / 1000;
    io_timer_start(q->wake, wait < 1 ? 1 : wait > WAKE_MAX_MS ? WAKE_MAX_MS : wait, 0);
}

/* ---- messages ---------------------------------------------------------------------------------------------------------------------- */

/* Gives a due recipient its destination. False: it was refused, or stands for others from now on. */
static bool find_destination(struct queue *q, struct message *m, uint32_t index)
{
    struct recipient *r = &m->recipients[index];
    if (r->destination != NULL)
        return true;
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct routed routed;
    router_route(q, &arena, m, r, &routed);
    if (routed.found)
        r->destination = destination_get(q, &routed.next_hop);
    else if (routed.count > 0)
        results_expand(q, m, index, routed.addresses, routed.count, r->flags & RECIPIENT_CAUGHT);
    else
        results_refuse(q, m, &index, 1, routed.error, true);
    vr_arena_fini(&arena);
    return routed.found;
}

void schedule_message(struct queue *q, struct message *m)
{
    if (!m->durable || m->dead) {
        schedule_forget(q, m);
        return;
    }
    times_due(q, m);
    if (m->held) {
        sleep_or_not(q, m, m->timed ? m->hold_until : UINT32_MAX);
        return;
    }
    uint32_t now = NOW_S(q), wake = times_wake(m, io_now_us(q->io));
    for (uint32_t i = 0; i < m->count; i++) {
        struct recipient *r = &m->recipients[i];
        if (r->state != RECIPIENT_WAITING)
            continue;
        if (r->next <= now && find_destination(q, m, i) &&
            !results_parked(q, m, i, m->recipients[i].destination)) {
            recipient_set(q, m, &m->recipients[i], RECIPIENT_READY);
            ready_add(q, m, m->recipients[i].destination);
        }
        r = &m->recipients[i]; /* an expansion may have moved it */
        if (r->state == RECIPIENT_WAITING && r->next > now && r->next < wake)
            wake = r->next;
    }
    sleep_or_not(q, m, wake);
}

void schedule_retry(struct queue *q, struct message *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->recipients[i].state == RECIPIENT_WAITING)
            m->recipients[i].next = 0;
    q->retrying = true;
    schedule_message(q, m);
    q->retrying = false;
}

void schedule_replayed(struct queue *q, struct message *m)
{
    int64_t now_us = io_now_us(q->io);
    uint32_t wake = times_over(m, now_us) ? 0 : times_wake(m, now_us);
    for (uint32_t i = 0; i < m->count && !m->held; i++)
        if (m->recipients[i].state == RECIPIENT_WAITING && m->recipients[i].next < wake)
            wake = m->recipients[i].next;
    sleep_or_not(q, m, m->held ? m->timed ? m->hold_until : UINT32_MAX : wake);
}

void schedule_due(void *queue)
{
    struct queue *q = queue;
    uint32_t now = NOW_S(q);
    for (int i = 0; i < WAKE_PER_TURN; i++) {
        struct heap_node *first = heap_top(&q->sleepers);
        if (first == NULL || first->key > now)
            break;
        schedule_message(
            q, HEAP_OWNER(first, struct message, sleep)); /* leaves the heap, or gets a later time */
    }
    schedule_timer(q);
}
