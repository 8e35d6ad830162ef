/* schedule.c - when: the table of retries, expiry, the delay warning, and a heap of messages that sleep.
 *
 * A message sleeps until the first of its waiting recipients is due, so a million sleepers cost one heap and one timer.
 * Tests: tests/unit/queue_schedule.c
 */
#include "queue/inside.h"

#include <assert.h>
#include <stdlib.h>

#define WAKE_PER_TURN 512
#define WAKE_MAX_MS   60000
#define DEFAULT_RETRY (60ll * 60 * 1000)
#define ARENA_MAX     (4u << 20)

/* ---- the rules ------------------------------------------------------------------------------------------------------------------ */

uint32_t retry_time(const struct config *c, uint32_t attempts, int64_t arrival_us, int64_t now_us,
                    uint32_t random)
{
    size_t row = attempts > 0 ? attempts - 1 : 0;
    int64_t wait_ms =
        c->retry_count == 0 ? DEFAULT_RETRY : c->retry[row < c->retry_count ? row : c->retry_count - 1];
    int64_t spread = wait_ms / 5; /* 90 % … 110 %: what failed together does not come back together */
    wait_ms += spread * (int64_t)(random >> 16) / 65536 - spread / 2;
    int64_t next_ms = now_us / 1000 + (wait_ms > 0 ? wait_ms : 0);
    int64_t last_ms = arrival_us / 1000 + c->expire; /* one attempt more at the end of its time */
    if (next_ms > last_ms && last_ms > now_us / 1000)
        next_ms = last_ms;
    return (uint32_t)((next_ms + 999) / 1000);
}

bool retry_expired(const struct config *c, int64_t arrival_us, int64_t now_us)
{
    return now_us / 1000 >= arrival_us / 1000 + c->expire;
}

bool retry_warns(const struct config *c, int64_t arrival_us, int64_t now_us, uint8_t notify, uint8_t flags,
                 bool null_reverse_path)
{
    return c->delay_warning > 0 && !(flags & RECIPIENT_WARNED) &&
           now_us / 1000 >= arrival_us / 1000 + c->delay_warning &&
           report_wanted(DSN_DELAYED, notify, null_reverse_path);
}

/* ---- the heap --------------------------------------------------------------------------------------------------------------------- */

static void place(struct sleepers *s, size_t at, struct message *m)
{
    s->items[at] = m;
    m->heap_at = (uint32_t)at + 1;
}

static void sift(struct sleepers *s, size_t at)
{
    struct message *m = s->items[at];
    while (at > 0 && s->items[(at - 1) / 2]->wake > m->wake) {
        place(s, at, s->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= s->count)
            break;
        if (child + 1 < s->count && s->items[child + 1]->wake < s->items[child]->wake)
            child++;
        if (s->items[child]->wake >= m->wake)
            break;
        place(s, at, s->items[child]);
        at = child;
    }
    place(s, at, m);
}

void schedule_forget(struct queue *q, struct message *m)
{
    if (m->heap_at == 0)
        return;
    struct sleepers *s = &q->sleepers;
    size_t at = m->heap_at - 1;
    m->heap_at = 0;
    struct message *last = s->items[--s->count];
    if (last != m) {
        place(s, at, last);
        sift(s, at);
    }
}

static void sleep_until(struct queue *q, struct message *m, uint32_t wake)
{
    struct sleepers *s = &q->sleepers;
    m->wake = wake;
    if (m->heap_at == 0) {
        if (s->count == s->capacity) {
            s->capacity = s->capacity > 0 ? 2 * s->capacity : 256;
            s->items = realloc(s->items, s->capacity * sizeof(struct message *));
            assert(s->items != NULL);
        }
        place(s, s->count++, m);
    }
    sift(s, m->heap_at - 1);
    schedule_timer(q);
}

void schedule_timer(struct queue *q)
{
    if (q->sleepers.count == 0)
        return;
    int64_t wait = (int64_t)q->sleepers.items[0]->wake * 1000 - io_now_us(q->io) / 1000;
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
    if (!m->durable || m->dead || m->held) {
        schedule_forget(q, m);
        return;
    }
    uint32_t now = NOW_S(q), wake = UINT32_MAX;
    for (uint32_t i = 0; i < m->count; i++) {
        struct recipient *r = &m->recipients[i];
        if (r->state != RECIPIENT_WAITING)
            continue;
        if (r->next > now) {
            wake = r->next < wake ? r->next : wake;
        } else if (find_destination(q, m, i)) {
            recipient_set(q, m, &m->recipients[i], RECIPIENT_READY);
            ready_add(q, m, m->recipients[i].destination);
        }
    }
    if (wake == UINT32_MAX)
        schedule_forget(q, m);
    else
        sleep_until(q, m, wake);
}

void schedule_replayed(struct queue *q, struct message *m)
{
    uint32_t wake = UINT32_MAX;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->recipients[i].state == RECIPIENT_WAITING && m->recipients[i].next < wake)
            wake = m->recipients[i].next;
    if (wake != UINT32_MAX && !m->held)
        sleep_until(q, m, wake);
}

void schedule_due(void *queue)
{
    struct queue *q = queue;
    uint32_t now = NOW_S(q);
    for (int i = 0; i < WAKE_PER_TURN && q->sleepers.count > 0 && q->sleepers.items[0]->wake <= now; i++)
        schedule_message(q, q->sleepers.items[0]); /* leaves the heap, or gets a later time */
    schedule_timer(q);
}
