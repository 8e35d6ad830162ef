/* queue_schedule.c - the rules of time and of reports, as tables: retries, expiry, the delay warning, who gets a DSN, FUTURERELEASE and DELIVERBY.
 */
#include "queue/times.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MINUTE 60000ll
#define HOUR   (60 * MINUTE)

static int64_t pauses[] = {MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR};
static const struct config config = {
    .retry = pauses, .retry_count = 5, .expire = 120 * HOUR, .delay_warning = 4 * HOUR};

#define ARRIVAL 1700000000ll /* seconds */

static void test_retry_table(void **state)
{
    (void)state;
    static const struct {
        uint32_t attempts;
        int64_t pause_ms;
    } rows[] = {{1, MINUTE}, {2, 5 * MINUTE}, {3, 15 * MINUTE}, {4, 30 * MINUTE},
                {5, HOUR},   {6, HOUR},       {100, HOUR},      {0, MINUTE}};
    static const uint32_t randoms[] = {0, 1, UINT32_MAX / 4, UINT32_MAX / 2, UINT32_MAX};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < sizeof randoms / sizeof *randoms; k++) {
            uint32_t at =
                retry_time(&config, rows[i].attempts, ARRIVAL * 1000000, ARRIVAL * 1000000, randoms[k]);
            int64_t wait_ms = ((int64_t)at - ARRIVAL) * 1000;
            assert_in_range(wait_ms, rows[i].pause_ms * 9 / 10, rows[i].pause_ms * 11 / 10 + 1000);
        }
    uint32_t low = retry_time(&config, 5, ARRIVAL * 1000000, ARRIVAL * 1000000, 0);
    uint32_t high = retry_time(&config, 5, ARRIVAL * 1000000, ARRIVAL * 1000000, UINT32_MAX);
    assert_in_range(high - low, 700, 720); /* the jitter uses its whole width */
}

static void test_retry_without_table(void **state)
{
    (void)state;
    struct config none = config;
    none.retry_count = 0;
    uint32_t at = retry_time(&none, 3, ARRIVAL * 1000000, ARRIVAL * 1000000, UINT32_MAX / 2);
    assert_in_range(at - ARRIVAL, 3500, 3700);
}

static void test_expiry(void **state)
{
    (void)state;
    int64_t end = ARRIVAL + 120 * 3600;
    assert_false(retry_expired(&config, ARRIVAL * 1000000, (end - 1) * 1000000));
    assert_true(retry_expired(&config, ARRIVAL * 1000000, end * 1000000));
    /* The last pause is cut, so that the last attempt is at the end of the time and not behind it. */
    assert_int_equal(retry_time(&config, 50, ARRIVAL * 1000000, (end - 600) * 1000000, 77), end);
    /* A message that is over is not sent back into the past. */
    assert_true(retry_time(&config, 50, ARRIVAL * 1000000, (end + 10) * 1000000, 77) > end + 10);
}

static void test_delay_warning(void **state)
{
    (void)state;
    int64_t late = (ARRIVAL + 4 * 3600) * 1000000, early = late - 1000000, arrival = ARRIVAL * 1000000;
    static const struct {
        uint8_t notify, flags;
        bool null, warns;
    } rows[] = {
        {0, 0, false, true},
        {0, RECIPIENT_WARNED, false, false}, /* once */
        {0, 0, true, false},
        {DSN_NOTIFY_DELAY, 0, false, true},
        {DSN_NOTIFY_DELAY | DSN_NOTIFY_FAILURE, 0, false, true},
        {DSN_NOTIFY_FAILURE, 0, false, false},
        {DSN_NOTIFY_SUCCESS, 0, false, false},
        {DSN_NOTIFY_NEVER, 0, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(retry_warns(&config, arrival, late, rows[i].notify, rows[i].flags, rows[i].null),
                         rows[i].warns);
        assert_false(retry_warns(&config, arrival, early, rows[i].notify, rows[i].flags, rows[i].null));
    }
    struct config never = config;
    never.delay_warning = 0;
    assert_false(retry_warns(&never, arrival, late, 0, 0, false));
}

/* RFC 3461 §4.1 and §5.2, RFC 5321 §6.1. */
static void test_reports(void **state)
{
    (void)state;
    enum { F = 1, L = 2, D = 4, R = 8, E = 16 }; /* failed, late, delivered, relayed, expanded */
    static const struct {
        uint8_t notify;
        unsigned wanted;
    } rows[] = {
        {0, F | L},
        {DSN_NOTIFY_NEVER, 0},
        {DSN_NOTIFY_SUCCESS, D | R | E},
        {DSN_NOTIFY_FAILURE, F},
        {DSN_NOTIFY_DELAY, L},
        {DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE, F | D | R | E},
        {DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY, F | L | D | R | E},
    };
    static const struct {
        enum dsn_action action;
        unsigned bit;
    } actions[] = {
        {DSN_FAILED, F}, {DSN_DELAYED, L}, {DSN_DELIVERED, D}, {DSN_RELAYED, R}, {DSN_EXPANDED, E}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < sizeof actions / sizeof *actions; k++) {
            assert_int_equal(report_wanted(actions[k].action, rows[i].notify, false),
                             (rows[i].wanted & actions[k].bit) != 0);
            assert_false(report_wanted(actions[k].action, rows[i].notify, true)); /* never about a report */
        }
}

/* RFC 3461 §5.2.7.2 and §5.2.7.3 (c). */
static void test_notify_of_children(void **state)
{
    (void)state;
    static const struct {
        uint8_t parent;
        uint32_t siblings;
        uint8_t child;
    } rows[] = {
        {0, 1, 0},
        {0, 5, 0},
        {DSN_NOTIFY_SUCCESS, 1, DSN_NOTIFY_SUCCESS},
        {DSN_NOTIFY_SUCCESS, 2, DSN_NOTIFY_NEVER},
        {DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE, 2, DSN_NOTIFY_FAILURE},
        {DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY, 3, DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY},
        {DSN_NOTIFY_NEVER, 9, DSN_NOTIFY_NEVER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(notify_of_child(rows[i].parent, rows[i].siblings), rows[i].child);
}

/* ---- FUTURERELEASE, DELIVERBY --------------------------------------------------------------------------------------- */

#define AT(seconds) ((ARRIVAL + (seconds)) * 1000000)

static struct message timed(enum smtp_by by, int64_t by_seconds, int64_t hold)
{
    return (struct message){.arrival_us = AT(0),
                            .reverse_path_n = 5,
                            .open = 1,
                            .by = (unsigned)by & 3u,
                            .deliver_by = by != SMTP_BY_NONE ? (uint32_t)(ARRIVAL + by_seconds) : 0,
                            .hold_until = hold != 0 ? (uint32_t)(ARRIVAL + hold) : 0};
}

/* Retries, warnings and the expiry of what was held count from its release. */
static void test_base_of_the_held(void **state)
{
    (void)state;
    struct message m = timed(SMTP_BY_NONE, 0, 3600), never = timed(SMTP_BY_NONE, 0, 0);
    assert_true(times_base_us(&never, AT(10)) == AT(0));
    assert_true(times_base_us(&m, AT(3599)) == AT(0)); /* an administrator released it early */
    assert_true(times_base_us(&m, AT(3600)) == AT(3600));
    assert_true(times_base_us(&m, AT(999999)) == AT(3600));
    m.hold_until = (uint32_t)(ARRIVAL - 5);
    assert_true(times_base_us(&m, AT(10)) == AT(0));
    assert_false(retry_expired(&config, times_base_us(&never, AT(0)), AT(120 * 3600 - 1)));
    m.hold_until = (uint32_t)(ARRIVAL + 200 * 3600);
    assert_false(retry_expired(&config, times_base_us(&m, AT(319 * 3600)), AT(319 * 3600)));
    assert_true(retry_expired(&config, times_base_us(&m, AT(320 * 3600)), AT(320 * 3600)));
}

/* RFC 2852 §4.1.3 */
static void test_deliver_by(void **state)
{
    (void)state;
    static const struct {
        enum smtp_by by;
        int64_t by_seconds, now;
        uint8_t notify, flags;
        bool null, returns, late;
    } rows[] = {
        {SMTP_BY_NONE, 0, 999, 0, 0, false, false, false},
        {SMTP_BY_RETURN, 60, 59, 0, 0, false, false, false},
        {SMTP_BY_RETURN, 60, 60, 0, 0, false, true, false},
        {SMTP_BY_RETURN, 60, 60, 0, 0, true, true, false},
        {SMTP_BY_NOTIFY, 60, 59, 0, 0, false, false, false},
        {SMTP_BY_NOTIFY, 60, 60, 0, 0, false, false, true},
        {SMTP_BY_NOTIFY, 60, 60, 0, 0, true, false, false},
        {SMTP_BY_NOTIFY, 60, 60, 0, RECIPIENT_LATE, false, false, false},  /* once */
        {SMTP_BY_NOTIFY, 60, 60, 0, RECIPIENT_WARNED, false, false, true}, /* another matter */
        {SMTP_BY_NOTIFY, 60, 60, DSN_NOTIFY_DELAY, 0, false, false, true},
        {SMTP_BY_NOTIFY, 60, 60, DSN_NOTIFY_FAILURE, 0, false, false, false},
        {SMTP_BY_NOTIFY, 60, 60, DSN_NOTIFY_NEVER, 0, false, false, false},
        {SMTP_BY_NOTIFY, 0, 0, 0, 0, false, false, false}, /* late before it came: told by another */
        {SMTP_BY_NOTIFY, -60, 5, 0, 0, false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message m = timed(rows[i].by, rows[i].by_seconds, 0);
        struct recipient r = {.notify = rows[i].notify & 15u, .flags = rows[i].flags & RECIPIENT_FLAGS};
        m.reverse_path_n = rows[i].null ? 0 : 5;
        if (times_returns(&m, AT(rows[i].now)) != rows[i].returns ||
            times_late(&m, &r, AT(rows[i].now)) != rows[i].late)
            fail_msg("row %zu", i);
    }
}

/* RFC 2852 §4.1.4: "relayed" reports, whether or not SUCCESS was asked for. */
static void test_deliver_by_relayed(void **state)
{
    (void)state;
    static const struct {
        enum smtp_by by;
        int64_t now;
        uint8_t notify;
        bool trace, passed_on, null, wanted;
    } rows[] = {
        {SMTP_BY_NONE, 0, DSN_NOTIFY_SUCCESS, false, false, false, false}, /* RFC 3461 alone decides */
        {SMTP_BY_NOTIFY, 0, 0, false, false, false, true},
        {SMTP_BY_NOTIFY, 0, 0, false, true, false, false},
        {SMTP_BY_NOTIFY, 60, 0, false, false, false, false}, /* after its time: it was told already */
        {SMTP_BY_NOTIFY, 0, DSN_NOTIFY_FAILURE, false, false, false, true},
        {SMTP_BY_NOTIFY, 0, DSN_NOTIFY_NEVER, false, false, false, false},
        {SMTP_BY_NOTIFY, 0, 0, false, false, true, false},
        {SMTP_BY_RETURN, 0, 0, false, true, false, false},
        {SMTP_BY_RETURN, 0, 0, true, true, false, true},
        {SMTP_BY_NOTIFY, 99, 0, true, true, false, true},
        {SMTP_BY_NOTIFY, 99, DSN_NOTIFY_NEVER, true, true, false, false},
        {SMTP_BY_NOTIFY, 99, 0, true, true, true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message m = timed(rows[i].by, 60, 0);
        struct recipient r = {.notify = rows[i].notify & 15u};
        m.by_trace = rows[i].trace;
        m.reverse_path_n = rows[i].null ? 0 : 5;
        if (times_relayed(&m, &r, rows[i].passed_on, AT(rows[i].now)) != rows[i].wanted)
            fail_msg("row %zu", i);
    }
}

static void test_attempts_before_the_return(void **state)
{
    (void)state;
    static const struct {
        enum smtp_by by;
        int64_t next, now, at;
    } rows[] = {
        {SMTP_BY_NONE, 5000, 0, 5000},  {SMTP_BY_NOTIFY, 5000, 0, 5000}, {SMTP_BY_RETURN, 599, 0, 599},
        {SMTP_BY_RETURN, 600, 0, 590}, /* one attempt more before it is returned */
        {SMTP_BY_RETURN, 5000, 0, 590}, {SMTP_BY_RETURN, 5000, 590, 600}}; /* that was it */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct message m = timed(rows[i].by, 600, 0);
        assert_int_equal(times_attempt(&m, (uint32_t)(ARRIVAL + rows[i].next), AT(rows[i].now)),
                         ARRIVAL + rows[i].at);
    }
}

static void test_wakes(void **state)
{
    (void)state;
    struct message m = timed(SMTP_BY_NONE, 0, 0);
    assert_int_equal(times_wake(&m, AT(0)), UINT32_MAX);
    m = timed(SMTP_BY_NOTIFY, 60, 0);
    assert_int_equal(times_wake(&m, AT(59)), ARRIVAL + 60);
    assert_int_equal(times_wake(&m, AT(60)), UINT32_MAX); /* what there is to do is done by times_due */
    m.open = 0;
    assert_int_equal(times_wake(&m, AT(0)), UINT32_MAX);
}

/* RFC 4865 §5.1.2: a report says what was asked for, in the form in which it was asked. */
static void test_request(void **state)
{
    (void)state;
    struct vr_arena arena;
    vr_arena_init(&arena, 4096);
    struct envelope e = {.arrival_us = AT(0) + 250000};
    assert_int_equal(times_request(&arena, &e).n, 0);
    e.hold_until = ARRIVAL + 3601; /* rounded up to whole seconds */
    e.asks = ENVELOPE_HOLD_FOR;
    assert_true(vr_str_equal(times_request(&arena, &e), VR_STR("for;3600")));
    e.asks = 0;
    e.hold_until = 1798704000;
    assert_true(vr_str_equal(times_request(&arena, &e), VR_STR("until;2026-12-31T08:00:00Z")));
    vr_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_table),
        cmocka_unit_test(test_retry_without_table),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_delay_warning),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_notify_of_children),
        cmocka_unit_test(test_base_of_the_held),
        cmocka_unit_test(test_deliver_by),
        cmocka_unit_test(test_deliver_by_relayed),
        cmocka_unit_test(test_attempts_before_the_return),
        cmocka_unit_test(test_wakes),
        cmocka_unit_test(test_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
