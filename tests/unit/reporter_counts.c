/* reporter_counts.c - the data base of what was seen: equal things are one row, periods are apart, bounds hold, and it outlives its process. */
#include "folder_testing.h"

#include "reporter/counts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char folder[64], path[128];
static struct counts *counts;
static struct vr_arena arena;

static void open_counts(void)
{
    char error[256] = "";
    counts = counts_open(path, error);
    if (counts == NULL)
        fail_msg("%s", error);
}

static int setup(void **state)
{
    (void)state;
    assert_true(folder_new(folder));
    snprintf(path, sizeof path, "%s/counts.db", folder);
    vr_arena_init(&arena, 8u << 20);
    open_counts();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    counts_close(counts);
    vr_arena_fini(&arena);
    folder_remove(folder);
    return 0;
}

static const struct seen_signature signature = {VR_STR_INIT("d.test"), VR_STR_INIT("s"), DKIM_PASS, {0}};

static struct dmarc_seen dmarc(const char *ip)
{
    return (struct dmarc_seen){.time_us = 5,
                               .policy_domain = VR_STR("D.test"),
                               .record = VR_STR("v=DMARC1; p=none"),
                               .source_ip = vr_str_from(ip),
                               .verdict = DMARC_PASS,
                               .header_from = VR_STR("A.d.test"),
                               .signatures = &signature,
                               .signature_count = 1};
}

static size_t rows;
static uint64_t sum, first;

static void take(void *arg, struct vr_str frame, uint64_t count)
{
    struct dmarc_seen s;
    struct ipc_reader r = ipc_reader(frame);
    (void)arg;
    assert_true(ipc_get_dmarc_seen(&r, &arena, &s) && ipc_done(&r));
    assert_true(vr_str_equal(s.header_from, VR_STR("a.d.test")) && s.time_us == 0 && s.signature_count == 1);
    if (rows++ == 0)
        first = count;
    sum += count;
}

static void read_rows(const struct counts_domain *d, size_t limit)
{
    rows = 0;
    sum = first = 0;
    counts_rows(counts, d, limit, take, NULL);
}

static void test_counting(void **state)
{
    (void)state;
    struct dmarc_seen a = dmarc("192.0.2.1"), b = dmarc("2001:db8::1");
    assert_true(counts_dmarc(counts, 1000, 100, &b));
    for (int i = 0; i < 5; i++) {
        a.time_us = i; /* is no difference */
        assert_true(counts_dmarc(counts, 1000, 100, &a));
    }
    a.record = VR_STR("v=DMARC1; p=reject"); /* changed meanwhile: the last one is told */
    assert_true(counts_dmarc(counts, 1000, 100, &a));
    assert_true(counts_dmarc(counts, 1100, 100, &a));
    assert_int_equal(counts_total(counts), 3);
    counts_close(counts); /* as at the end of the process */
    open_counts();
    assert_int_equal(counts_total(counts), 3);
    struct counts_domain d;
    assert_false(counts_next(counts, 5000, 1099, &arena, &d)); /* no period is over yet */
    assert_true(counts_next(counts, 5000, 1100, &arena, &d));
    assert_true(d.kind == COUNTS_DMARC && d.period == 1000 && d.length == 100 && d.attempts == 0);
    assert_true(vr_str_equal(d.domain, VR_STR("d.test")));
    assert_true(vr_str_equal(d.record, VR_STR("v=DMARC1; p=reject")));
    read_rows(&d, 100);
    assert_true(rows == 2 && sum == 7 && first == 6); /* the most frequent first */
    read_rows(&d, 1);
    assert_true(rows == 1 && sum == 6);
    counts_postpone(counts, &d, 5001);
    assert_false(counts_next(counts, 5000, 1100, &arena, &d));
    assert_true(counts_next(counts, 5001, 1100, &arena, &d));
    assert_int_equal(d.attempts, 1);
    counts_drop(counts, &d);
    assert_int_equal(counts_total(counts), 1);
    assert_true(counts_next(counts, 5001, 1200, &arena, &d));
    assert_int_equal(d.period, 1100);
}

static void test_nonsense(void **state)
{
    (void)state;
    struct dmarc_seen s = dmarc("localhost");
    assert_false(counts_dmarc(counts, 0, 1, &s));
    s = dmarc("192.0.2.1");
    s.policy_domain = VR_STR("d..test");
    assert_false(counts_dmarc(counts, 0, 1, &s));
    s = dmarc("192.0.2.1");
    s.header_from = VR_STR("");
    assert_false(counts_dmarc(counts, 0, 1, &s));
    struct tls_seen t = {.policy_domain = VR_STR("d.test"), .result = TLSRPT_DANE_REQUIRED, .sending_ip = VR_STR("none")};
    assert_false(counts_tls(counts, 0, 1, &t));
    assert_int_equal(counts_total(counts), 0);
}

/* One domain that a stranger uses up leaves room for others. */
static void test_bounds(void **state)
{
    (void)state;
    char ip[32];
    for (int i = 0; i < COUNTS_ROWS_MAX; i++) {
        snprintf(ip, sizeof ip, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        struct dmarc_seen s = dmarc(ip);
        assert_true(counts_dmarc(counts, 0, 1, &s));
    }
    struct dmarc_seen fresh = dmarc("192.0.2.1"), known = dmarc("10.0.0.7"), other = dmarc("192.0.2.1");
    other.policy_domain = VR_STR("e.test");
    assert_false(counts_dmarc(counts, 0, 1, &fresh));
    assert_true(counts_dmarc(counts, 0, 1, &known));
    assert_true(counts_dmarc(counts, 0, 1, &other));
    assert_true(counts_dmarc(counts, 1, 1, &fresh)); /* another day */
    assert_int_equal(counts_total(counts), COUNTS_ROWS_MAX + 2);
}

static uint64_t successes, failures, policies;
static struct vr_str last_policy;

static void take_tls(void *arg, struct vr_str frame, uint64_t count)
{
    struct tls_seen s;
    struct ipc_reader r = ipc_reader(vr_arena_dup(&arena, frame));
    (void)arg;
    assert_true(ipc_get_tls_seen(&r, &arena, &s) && ipc_done(&r) && s.string_count == 1);
    *(s.result == TLSRPT_SUCCESS ? &successes : &failures) += count;
    policies += !vr_str_equal(s.strings[0], last_policy);
    last_policy = s.strings[0];
}

static void test_tls(void **state)
{
    (void)state;
    const struct vr_str one = VR_STR("version: STSv1"), two = VR_STR("3 1 1 00");
    for (int i = 0; i < 10; i++) {
        struct tls_seen t = {.policy_domain = VR_STR("d.test"),
                             .policy_type = i % 2 ? TLSRPT_TLSA : TLSRPT_STS,
                             .strings = i % 2 ? &two : &one,
                             .string_count = 1,
                             .result = i == 4 ? TLSRPT_CERTIFICATE_EXPIRED : TLSRPT_SUCCESS,
                             .mx_hostname = i % 3 ? VR_STR("a.test") : VR_STR("b.test")};
        assert_true(counts_tls(counts, 0, 1, &t));
    }
    assert_int_equal(counts_total(counts), 3); /* successes differ by their policy only */
    struct counts_domain d;
    assert_true(counts_next(counts, 9, 9, &arena, &d) && d.kind == COUNTS_TLS);
    counts_rows(counts, &d, 100, take_tls, NULL);
    assert_true(successes == 9 && failures == 1 && policies == 2); /* those of a policy stand together */
}

static void test_broken(void **state)
{
    (void)state;
    char error[256] = "";
    counts_close(counts);
    counts = NULL;
    FILE *f = fopen(path, "w");
    fputs("this is no data base, however long one looks at it; it is a text of more than a hundred octets, "
          "which sqlite reads.",
          f);
    fclose(f);
    assert_null(counts_open(path, error));
    assert_non_null(strstr(error, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
    };
    return cmocka_run_group_tests_name("reporter_counts", tests, NULL, NULL);
}
