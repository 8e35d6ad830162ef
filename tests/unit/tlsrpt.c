/* tlsrpt.c - records, reports in JSON written and read, the message that carries one (RFC 8460). */
#include "buffer_testing.h"

#include <veredus/message.h>
#include <veredus/report.h>
#include <veredus/tlsrpt.h>

/* ---- records ------------------------------------------------------------------------------------------------------------ */

static void test_records(void **state)
{
    (void)state;
    static const struct {
        const char *txt;
        enum vr_err e;
        size_t count;
        bool fault;
    } rows[] = {
        {"v=TLSRPTv1;rua=mailto:reports@example.com", VR_OK, 1, false},
        {"v=TLSRPTv1; rua=https://reporting.example.com/v1/tlsrpt", VR_OK, 1, false},
        {"v=TLSRPTv1;rua=mailto:a@d.test , https://d.test/x;", VR_OK, 2, false},
        {"v=TLSRPTv1;ext=1;rua=mailto:a@d.test", VR_OK, 1, false},
        {"v=TLSRPTv1;rua=ftp://d.test/", VR_OK, 0, true},
        {"v=TLSRPTv1;rua=http://d.test/", VR_OK, 0, true}, /* in clear: no scheme of §3 */
        {"v=TLSRPTv1;rua=mailto:a@d.test;rua=mailto:b@d.test", VR_OK, 1, true},
        {"v=TLSRPTv1;rua=mailto:a@d.test;nonsense", VR_OK, 1, true},
        {"v=TLSRPTv1;rua=mailto:", VR_OK, 0, true},
        {"v=TLSRPTv1;", VR_ERR_SYNTAX, 0, false},
        {"v=TLSRPTv1", VR_ERR_SYNTAX, 0, false},
        {"v=TLSRPTv1;ext=1", VR_ERR_SYNTAX, 0, false},
        {"v=TLSRPTv2;rua=mailto:a@d.test", VR_ERR_SYNTAX, 0, false},
        {"v=tlsrptv1;rua=mailto:a@d.test", VR_ERR_SYNTAX, 0, false},
        {"rua=mailto:a@d.test;v=TLSRPTv1", VR_ERR_SYNTAX, 0, false},
        {"", VR_ERR_SYNTAX, 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tlsrpt_record r;
        enum vr_err e = tlsrpt_record_parse(&arena, vr_str_from(rows[i].txt), &r);
        if (e != rows[i].e ||
            (e == VR_OK && (r.rua_count != rows[i].count || (r.fault != NULL) != rows[i].fault)))
            fail_msg("%s: %s, %zu, %s", rows[i].txt, vr_err_name(e), r.rua_count,
                     r.fault != NULL ? r.fault : "-");
    }
}

static void test_find(void **state)
{
    (void)state;
    const struct dns_record records[] = {{.data = VR_STR("v=spf1 -all")},
                                         {.data = VR_STR("v=TLSRPTv1;rua=mailto:a@d.test")},
                                         {.data = VR_STR("v=TLSRPTv1;rua=mailto:b@d.test")}};
    struct dns_question q = tlsrpt_question(&arena, VR_STR("d.test"));
    assert_text(q.name, "_smtp._tls.d.test");
    assert_int_equal(q.type, DNS_TYPE_TXT);
    struct dns_answer a = {.name = q.name, .type = q.type, .records = records, .count = 2};
    struct tlsrpt_record r;
    assert_int_equal(tlsrpt_find(&arena, &a, &r), VR_OK);
    assert_text(r.rua[0], "mailto:a@d.test");
    a.count = 3; /* not one: none */
    assert_int_equal(tlsrpt_find(&arena, &a, &r), VR_ERR_NOT_FOUND);
    a.count = 1;
    assert_int_equal(tlsrpt_find(&arena, &a, &r), VR_ERR_NOT_FOUND);
    a = (struct dns_answer){.status = DNS_STATUS_FAILED};
    assert_int_equal(tlsrpt_find(&arena, &a, &r), VR_ERR_STATE);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = 0; i < TLSRPT_RESULTS; i++) {
        enum tlsrpt_result r;
        assert_true(tlsrpt_result_find(vr_str_from(tlsrpt_result_name((enum tlsrpt_result)i)), &r) &&
                    (int)r == i);
    }
    for (int i = TLSRPT_NO_POLICY; i <= TLSRPT_STS; i++) {
        enum tlsrpt_policy_type t;
        assert_true(tlsrpt_policy_find(vr_str_from(tlsrpt_policy_name((enum tlsrpt_policy_type)i)), &t) &&
                    (int)t == i);
    }
    enum tlsrpt_result r;
    assert_false(tlsrpt_result_find(VR_STR("sts-invalid"), &r));
    assert_string_equal(tlsrpt_policy_name(TLSRPT_NO_POLICY), "no-policy-found");
}

/* ---- reports -------------------------------------------------------------------------------------------------------------- */

static const struct vr_str lines[] = {VR_STR_INIT("version: STSv1"), VR_STR_INIT("mode: testing"),
                                      VR_STR_INIT("mx: *.d.test")};
static const struct tlsrpt_detail details[] = {
    {.result_type = VR_STR_INIT("certificate-expired"),
     .sending_ip = VR_STR_INIT("2001:db8::1"),
     .mx_hostname = VR_STR_INIT("mx1.d.test"),
     .mx_helo = VR_STR_INIT("mx1 \"quoted\" \\"),
     .receiving_ip = VR_STR_INIT("192.0.2.1"),
     .sessions = 100,
     .reason = VR_STR_INIT("a\tb \xc3\xbc")},
    {.result_type = VR_STR_INIT("starttls-not-supported"), .sessions = 3}};
static const struct tlsrpt_policy policies[] = {
    {.type = VR_STR_INIT("sts"),
     .strings = lines,
     .string_count = 3,
     .domain = VR_STR_INIT("d.test"),
     .mx_hosts = &lines[2],
     .mx_count = 1,
     .successful = 5326,
     .failed = 103,
     .details = details,
     .detail_count = 2},
    {.type = VR_STR_INIT("no-policy-found"), .domain = VR_STR_INIT("d.test"), .successful = UINT32_MAX}};
static const struct tlsrpt_report report = {.organization = VR_STR_INIT("Example & Co"),
                                            .contact = VR_STR_INIT("tls@example.org"),
                                            .id = VR_STR_INIT("2026-11-28.d.test-7"),
                                            .begin = 1795824000,
                                            .end = 1795910399,
                                            .policies = policies,
                                            .policy_count = 2};

static void assert_same(const struct tlsrpt_report *r)
{
    assert_text(r->organization, "Example & Co");
    assert_text(r->contact, "tls@example.org");
    assert_text(r->id, "2026-11-28.d.test-7");
    assert_true(r->begin == report.begin && r->end == report.end && r->policy_count == 2);
    const struct tlsrpt_policy *p = r->policies;
    assert_text(p->type, "sts");
    assert_int_equal(p->string_count, 3);
    assert_text(p->strings[1], "mode: testing");
    assert_text(p->mx_hosts[0], "mx: *.d.test");
    assert_true(p->successful == 5326 && p->failed == 103 && p->detail_count == 2 &&
                p->details[0].sessions == 100);
    assert_text(p->details[0].mx_helo, "mx1 \"quoted\" \\");
    assert_text(p->details[0].reason, "a?b \xc3\xbc"); /* a control does not come through */
    assert_text(p->details[1].result_type, "starttls-not-supported");
    assert_int_equal(p->details[1].receiving_ip.n, 0);
    assert_true(r->policies[1].successful == UINT32_MAX && r->policies[1].detail_count == 0);
}

static void test_write_and_read(void **state)
{
    (void)state;
    struct tlsrpt_report r;
    const char *why;
    assert_int_equal(tlsrpt_write(&buf, &report), VR_OK);
    assert_has(vr_buf_str(&buf), "\"date-range\":{\"start-datetime\":\"2026-11-28T00:00:00Z\",\"end-"
                                 "datetime\":\"2026-11-28T23:59:59Z\"}");
    assert_has(vr_buf_str(&buf),
               "\"summary\":{\"total-successful-session-count\":5326,\"total-failure-session-count\":103}");
    assert_has(vr_buf_str(&buf),
               "\"policy\":{\"policy-type\":\"no-policy-found\",\"policy-domain\":\"d.test\"}");
    assert_int_equal(tlsrpt_read(&arena, vr_buf_str(&buf), &r, &why), VR_OK);
    assert_same(&r);
    vr_buf_reset(&buf);
    struct tlsrpt_report bad = report;
    bad.organization = VR_STR("\xff");
    assert_int_equal(tlsrpt_write(&buf, &bad), VR_ERR_SYNTAX);
    struct vr_buf small;
    vr_buf_init(&small, 200);
    assert_int_equal(tlsrpt_write(&small, &report), VR_ERR_TOO_BIG);
    vr_buf_fini(&small);
}

/* As others write them. */
static void test_read(void **state)
{
    (void)state;
#define RANGE                                                                                                \
    "\"date-range\":{\"start-datetime\":\"2016-04-01T00:00:00Z\",\"end-datetime\":\"2016-04-01T23:59:59+01:" \
    "00\"}"
    static const struct {
        const char *json;
        enum vr_err e;
        const char *why;
    } rows[] = {
        {"{" RANGE ",\"policies\":[]}", VR_OK, NULL},
        {"\xef\xbb\xbf{" RANGE ",\"policies\":[{}, 7, {\"policy\":1,\"summary\":[],\"failure-details\":{}}]}",
         VR_OK, NULL},
        {"{" RANGE ",\"policies\":[{\"failure-details\":[1,null,{}]}],\"organization-name\":null}", VR_OK,
         NULL},
        {"{" RANGE "}", VR_ERR_SYNTAX, "no policies"},
        {"{" RANGE ",\"policies\":{}}", VR_ERR_SYNTAX, "no policies"},
        {"{\"policies\":[]}", VR_ERR_SYNTAX, "date range"},
        {"{\"date-range\":{\"start-datetime\":\"yesterday\"},\"policies\":[]}", VR_ERR_SYNTAX, "date range"},
        {"[]", VR_ERR_SYNTAX, "date range"},
        {"{" RANGE ",\"policies\":[]", VR_ERR_SYNTAX, "no JSON"},
        {"", VR_ERR_SYNTAX, "no JSON"},
    };
    const char *why;
    struct tlsrpt_report r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum vr_err e = tlsrpt_read(&arena, vr_str_from(rows[i].json), &r, &why);
        if (e != rows[i].e || (e != VR_OK && strstr(why, rows[i].why) == NULL))
            fail_msg("%s: %s %s", rows[i].json, vr_err_name(e), why != NULL ? why : "-");
    }
    static const char other[] =
        "{" RANGE ",\"policies\":[{\"policy\":{\"policy-string\":\"one\",\"mx-host\":\"mx.d.test\"},"
        "\"summary\":{\"total-successful-session-count\":\"12\",\"total-failure-session-count\":-1}}]}";
    assert_int_equal(tlsrpt_read(&arena, vr_str_from(other), &r, &why), VR_OK);
    assert_text(r.policies[0].strings[0], "one");
    assert_text(r.policies[0].mx_hosts[0], "mx.d.test");
    assert_true(r.policies[0].successful == 12 && r.policies[0].failed == 0);
    assert_int_equal(r.end, 1459551599);
}

static void test_bounds(void **state)
{
    (void)state;
    const char *why;
    struct tlsrpt_report r;
    for (int kind = 0; kind < 2; kind++) {
        vr_buf_reset(&buf);
        vr_buf_addf(&buf, "{" RANGE ",\"policies\":[%s", kind == 0 ? "{}" : "{\"failure-details\":[{}");
        for (int i = 0; i < (kind == 0 ? TLSRPT_POLICIES_MAX : TLSRPT_DETAILS_MAX); i++)
            vr_buf_add(&buf, VR_STR(",{}"));
        vr_buf_addf(&buf, "%s]}", kind == 0 ? "" : "]}");
        assert_int_equal(tlsrpt_read(&arena, vr_buf_str(&buf), &r, &why), VR_ERR_TOO_BIG);
        assert_non_null(why);
    }
    vr_buf_reset(&buf);
    assert_int_equal(tlsrpt_write(&buf, &report), VR_OK);
    for (size_t max = 0; max < 8192; max += 64) { /* arenas of any size */
        struct vr_arena small;
        vr_arena_init(&small, max);
        enum vr_err e = tlsrpt_read(&small, vr_buf_str(&buf), &r, &why);
        if (e == VR_OK)
            assert_same(&r);
        else
            assert_int_equal(e, VR_ERR_TOO_BIG);
        vr_arena_fini(&small);
    }
}

/* ---- the message ------------------------------------------------------------------------------------------------------------ */

static void test_message(void **state)
{
    (void)state;
    struct vr_buf json, gzip, opened;
    struct tlsrpt_report r;
    enum report_kind kind;
    const char *why;
    vr_buf_init(&json, 1 << 16);
    vr_buf_init(&gzip, 1 << 16);
    vr_buf_init(&opened, 1 << 16);
    assert_int_equal(tlsrpt_write(&json, &report), VR_OK);
    assert_true(report_gzip(&gzip, vr_buf_str(&json)));
    struct tlsrpt_mail m = {.from = VR_STR("tls@example.org"),
                            .to = VR_STR("reports@d.test"),
                            .domain = VR_STR("d.test"),
                            .message_id = VR_STR("7.x@example.org"),
                            .report = &report,
                            .time = 1795910400,
                            .gzip = vr_buf_str(&gzip)};
    assert_true(tlsrpt_message(&buf, &m));
    struct vr_str text = vr_buf_str(&buf);
    assert_has(text,
               "TLS-Report-Domain: d.test\r\nTLS-Report-Submitter: example.org\r\nTLS-Required: No\r\n");
    assert_has(text, "Content-Type: multipart/report; report-type=\"tlsrpt\";");
    assert_has(text, "Content-Type: application/tlsrpt+gzip\r\n");
    assert_has(text, "filename=\"example.org!d.test!1795824000!1795910399!20261128dtest7.json.gz\"");
    assert_has(text, "\r\nSessions that failed: 103\r\n");
    struct header_field f;
    assert_true(header_find(text, VR_STR("Subject"), &f));
    assert_text(header_unfold(&arena, f.body),
                "Report Domain: d.test Submitter: example.org Report-ID: <7.x@example.org>");
    assert_int_equal(report_extract(&opened, text, &kind, &why), VR_OK);
    assert_int_equal(kind, REPORT_TLS);
    assert_true(vr_str_equal(vr_buf_str(&opened), vr_buf_str(&json)));
    assert_int_equal(tlsrpt_read(&arena, vr_buf_str(&opened), &r, &why), VR_OK);
    assert_same(&r);
    struct vr_buf small;
    vr_buf_init(&small, 500);
    assert_false(tlsrpt_message(&small, &m));
    vr_buf_fini(&small);
    vr_buf_fini(&opened);
    vr_buf_fini(&gzip);
    vr_buf_fini(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_find, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message, setup, teardown),
    };
    return cmocka_run_group_tests_name("tlsrpt", tests, NULL, NULL);
}
