/* queue_destination.c - whose turn it is in a destination (ready.c), and how much a destination is given (health.c). */
#include "queue/inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct queue q;
static struct config config;
static struct config_route routes[2];
static int64_t pauses[] = {60000, 300000, 3600000};

static void nothing(void *arg)
{
    (void)arg;
}

static int setup(void **state)
{
    (void)state;
    routes[0] = (struct config_route){.concurrency = 3};
    routes[1] = (struct config_route){.rate = {2, 1000000}}; /* one in 500 s */
    config = (struct config){.retry = pauses,
                             .retry_count = 3,
                             .expire = 432000000,
                             .concurrency = 8,
                             .routes = routes,
                             .route_count = 2};
    q = (struct queue){.io = io_new(1), .config = &config};
    q.events = event_log_new(NULL, "test", EVENT_KEY_VALUE, EVENT_ERROR + 1);
    q.pace = io_timer_new(q.io, nothing, NULL);
    vr_buf_init(&q.scratch2, 65536);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct destination *d, *next;
    HASH_ITER(hh, q.destinations, d, next)
    {
        heap_remove(&q.parked, &d->parked);
        d->refs = d->active = 0;
        d->forget_ms = d->dead_until_ms = 0;
        d->in_ring = d->burying = false;
    }
    destinations_sweep(&q);
    assert_null(q.destinations);
    assert_null(q.texts);
    assert_int_equal(q.flows.count, 0);
    idmap_fini(&q.flows);
    idmap_fini(&q.messages);
    heap_fini(&q.parked);
    vr_buf_fini(&q.scratch2);
    io_timer_free(q.pace);
    event_log_free(q.events);
    io_free(q.io);
    return 0;
}

static struct destination *destination(const char *host, uint32_t route)
{
    struct next_hop h = {
        .kind = NEXT_HOP_MX, .host = vr_str_from(host), .route = route, .domain = UINT32_MAX};
    return destination_get(&q, &h);
}

static struct message *message(uint64_t id, const char *user, const char *from, int8_t priority)
{
    struct envelope_rcpt rcpt = {.address = VR_STR("x@far.example")};
    struct record_message r = {.position = 1,
                               .length = 100,
                               .envelope = {.id = id,
                                            .user = vr_str_from(user),
                                            .reverse_path = vr_str_from(from),
                                            .rcpts = &rcpt,
                                            .rcpt_count = 1}};
    struct message *m = message_new(&r);
    m->priority = priority;
    message_hold(m); /* ours: it stays when the ready queue lets go of it */
    return m;
}

static uint64_t serve(struct destination *d)
{
    struct message *m = ready_next(&q, d);
    uint64_t id = m->id;
    assert_ptr_equal(m, ready_next(&q, d)); /* looking changes nothing */
    ready_drop(&q, d);
    return id;
}

static void senders_take_turns(void **state)
{
    (void)state;
    struct destination *d = destination("far.example", UINT32_MAX);
    struct message *m[6] = {message(1, "", "a@bulk.example", 0),    message(2, "", "b@bulk.example", 0),
                            message(3, "", "c@bulk.example", 0),    message(4, "", "x@small.example", 0),
                            message(5, "ann", "d@bulk.example", 0), message(6, "ann", "e@bulk.example", 0)};
    for (int i = 0; i < 6; i++)
        ready_add(&q, m[i], d);
    ready_add(&q, m[5], d); /* more of its recipients: one entry speaks for them */
    assert_int_equal(d->ready, 6);
    uint64_t seen[6];
    for (int i = 0; i < 6; i++) {
        seen[i] = ready_next(&q, d)->id;
        ready_turn(d);
        /* served: its entry goes when it comes to the front again and nobody of it is READY, as in dispatch.c */
        for (uint32_t k = 0; k < 6; k++)
            if (m[k]->id == seen[i])
                m[k]->recipients[0].state = RECIPIENT_SENDING;
        while (ready_next(&q, d) != NULL && ready_next(&q, d)->recipients[0].state == RECIPIENT_SENDING)
            ready_drop(&q, d);
    }
    assert_null(ready_next(&q, d));
    static const uint64_t wanted[] = {1, 4, 5, 2, 6, 3};
    assert_memory_equal(seen, wanted, sizeof wanted);
    assert_null(d->lanes);
    for (int i = 0; i < 6; i++)
        message_free(&q, m[i]);
}

static void the_urgent_first_but_not_only(void **state)
{
    (void)state;
    struct destination *d = destination("far.example", UINT32_MAX);
    struct message *low = message(100, "", "l@a.example", -4), *m[20];
    ready_add(&q, low, d);
    for (int i = 0; i < 20; i++) {
        m[i] = message((uint64_t)i + 1, "", "u@a.example", (int8_t)(i < 10 ? 0 : 6));
        ready_add(&q, m[i], d);
    }
    int low_at = -1;
    for (int i = 0; i < 21; i++) {
        uint64_t id = ready_next(&q, d)->id;
        if (id == 100)
            low_at = i;
        else if (low_at < 0)
            assert_true(id > 10); /* priority 6 */
        d->turns++;
        uint32_t turns = d->turns;
        d->turns = turns - 1;
        serve(d);
        d->turns = turns;
    }
    assert_int_equal(low_at, 7); /* the eighth turn */
    assert_int_equal(d->ready, 0);
    message_free(&q, low);
    for (int i = 0; i < 20; i++)
        message_free(&q, m[i]);
}

static void grows_with_success(void **state)
{
    (void)state;
    struct destination *d = destination("far.example", UINT32_MAX), *few = destination("few.example", 0);
    assert_int_equal(d->limit, 2);
    assert_int_equal(d->health, HEALTH_NEW);
    for (int i = 0; i < 20; i++) {
        health_good(&q, d);
        health_good(&q, few);
    }
    assert_int_equal(d->limit, 8);
    assert_int_equal(few->limit, 3); /* the route's */
    assert_int_equal(d->health, HEALTH_PROVEN);
    d->active = 7;
    assert_true(health_admits(&q, d));
    d->active = 8;
    assert_false(health_admits(&q, d));
    struct next_hop h = {.kind = NEXT_HOP_MAILDIR, .route = UINT32_MAX};
    struct destination *mailboxes = destination_get(&q, &h);
    assert_int_equal(mailboxes->health, HEALTH_PROVEN);
    assert_int_equal(mailboxes->limit, 64);
}

static void dies_once_for_all(void **state)
{
    (void)state;
    struct destination *d = destination("far.example", UINT32_MAX);
    struct vr_str why = VR_STR("4.4.1 cannot connect");
    int64_t now = io_monotonic_ms(q.io);
    uint32_t until;
    for (int i = 0; i < 20; i++)
        health_good(&q, d);
    health_failed(&q, d, now, why); /* half at the first, dead at the fifth in a row */
    assert_int_equal(d->limit, 4);
    assert_int_equal(d->health, HEALTH_SUSPECT);
    for (int i = 0; i < 3; i++)
        health_failed(&q, d, now, why);
    assert_false(health_dead(&q, d));
    assert_false(health_parks(&q, d, &until));
    health_good(&q, d); /* one that gets through: nothing is dead */
    assert_int_equal(d->limit, 5);
    for (int i = 0; i < 5; i++)
        health_failed(&q, d, now, why);
    assert_true(health_dead(&q, d));
    assert_in_range(d->dead_until_ms - now, 53000, 67000); /* queue.retry's first, with its jitter */
    assert_false(health_admits(&q, d));
    assert_true(vr_str_equal(text_str(d->reason), why));
    assert_true(health_parks(&q, d, &until));
    assert_in_range(until - NOW_S(&q), 52, 77);
    /* what was begun before it died says nothing new */
    int64_t end = d->dead_until_ms;
    health_failed(&q, d, now, why);
    d->dead_until_ms = now - 1;
    health_failed(&q, d, now, why);
    assert_int_equal(d->deaths, 1);
    assert_true(end > now);
}

static void is_tried_by_one(void **state)
{
    (void)state;
    struct destination *d = destination("far.example", UINT32_MAX);
    int64_t now = io_monotonic_ms(q.io);
    uint32_t until;
    health_failed(&q, d, now, VR_STR("x"));
    health_failed(&q, d, now, VR_STR("x")); /* as many as were allowed at the beginning */
    assert_true(health_dead(&q, d));
    health_retry(&q, d); /* its time is over, or somebody asked */
    assert_false(health_dead(&q, d));
    assert_int_equal(d->limit, 1);
    assert_true(health_admits(&q, d));
    d->active = 1;
    assert_false(health_admits(&q, d));
    assert_false(health_parks(&q, d, &until)); /* some wait behind it … */
    d->ready = 50;
    assert_true(health_parks(&q, d, &until)); /* … but not a million */
    assert_in_range(until - NOW_S(&q), 10, 20);
    d->ready = 0;
    health_failed(&q, d, d->changed_ms, VR_STR("x"));
    assert_true(health_dead(&q, d));
    assert_in_range(d->dead_until_ms - now, 265000, 340000); /* the second of queue.retry */
    health_retry(&q, d);
    health_failed(&q, d, d->changed_ms, VR_STR("x"));
    assert_in_range(d->dead_until_ms - now, 535000, 670000); /* ten minutes at the most */
    health_retry(&q, d);
    d->active = 0;
    health_good(&q, d);
    assert_int_equal(d->health, HEALTH_PROVEN);
    assert_int_equal(d->limit, 2);
    assert_int_equal(d->deaths, 0);
    assert_null(d->reason);
    d->ready = 50;
    assert_false(health_parks(&q, d, &until));
    d->ready = 0;
}

static void keeps_its_pace(void **state)
{
    (void)state;
    struct destination *d = destination("far.example", 1);
    struct message *m = message(1, "", "a@b.example", 0);
    assert_true(health_admits(&q, d));
    health_started(&q, d);
    assert_false(health_admits(&q, d)); /* one in 500 s */
    assert_true(heap_holds(&d->parked));
    ready_add(&q, m, d);
    assert_false(d->in_ring);
    health_wake(&q);
    assert_false(d->in_ring); /* not yet */
    d->next_us = 0;
    heap_put(&q.parked, &d->parked, 0);
    health_wake(&q);
    assert_true(d->in_ring);
    d->in_ring = false;
    ready_drop(&q, d);
    q.rings[HEALTH_NEW].first = q.rings[HEALTH_NEW].last = NULL;
    message_free(&q, m);
    routes[1].rate = (struct config_rate){100, 1000}; /* a second's worth may go at once */
    d->next_us = 0;
    for (int i = 0; i < 100; i++) {
        assert_true(health_admits(&q, d));
        health_started(&q, d);
    }
    int more = 0;
    while (more < 50 && health_admits(&q, d)) { /* what time has added meanwhile, on a slow machine */
        health_started(&q, d);
        more++;
    }
    assert_in_range(more, 0, 49);
}

static void what_is_known_is_kept(void **state)
{
    (void)state;
    struct destination *d = destination("far.example", UINT32_MAX);
    destination_release(&q, d);
    destinations_sweep(&q);
    assert_ptr_equal(destination("far.example", UINT32_MAX), d); /* remembered without mail for it */
    destination_release(&q, d);
    d->forget_ms = 0;
    d->dead_until_ms = io_monotonic_ms(q.io) + 100000;
    destinations_sweep(&q);
    assert_ptr_equal(destination("far.example", UINT32_MAX), d); /* dead: that must not be found out anew */
    assert_ptr_not_equal(destination("far.example", 1), d);      /* another route is another one */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(senders_take_turns),   T(the_urgent_first_but_not_only),
                                       T(grows_with_success),   T(dies_once_for_all),
                                       T(is_tried_by_one),      T(keeps_its_pace),
                                       T(what_is_known_is_kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
