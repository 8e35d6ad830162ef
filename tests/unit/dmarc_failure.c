/* dmarc_failure.c - failure reports: when one is wanted, and what a hostile message can do to it: nothing (RFC 6591, RFC 7489 §7.3). */
#include <veredus/dmarc_failure.h>
#include <veredus/message.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct vr_buf buf;

static int setup(void **state)
{
    (void)state;
    vr_buf_init(&buf, 1u << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vr_buf_fini(&buf);
    return 0;
}

static unsigned times(struct vr_str text, const char *part)
{
    unsigned n = 0;
    for (size_t at; (at = vr_str_find_str(text, vr_str_from(part))) != VR_NPOS; n++)
        text = vr_str_from_pos(text, at + 1);
    return n;
}

static void assert_has(const char *part)
{
    if (times(vr_buf_str(&buf), part) == 0)
        fail_msg("\"%s\" is not in: %.*s", part, VR_STR_ARG(vr_buf_str(&buf)));
}

/* ---- when ----------------------------------------------------------------------------------------------------------------- */

static void test_wanted(void **state)
{
    (void)state;
    static const struct dkim_signature good = {.verdict = DKIM_PASS}, bad = {.verdict = DKIM_FAIL},
                                       tested = {.verdict = DKIM_FAIL, .testing = true},
                                       unknown = {.verdict = DKIM_TEMPERROR};
    static const struct {
        unsigned fo;
        enum dmarc_verdict verdict;
        bool spf_aligned, dkim_aligned;
        const struct dkim_signature *signature;
        enum spf_verdict spf;
        enum dmarc_failure_kind kind;
    } rows[] = {
        {DMARC_FO_ALL, DMARC_FAIL, false, false, &bad, SPF_FAIL, DMARC_FAILURE_DMARC},
        {DMARC_FO_ALL, DMARC_PASS, true, false, &bad, SPF_PASS, DMARC_FAILURE_NONE},
        {DMARC_FO_ALL, DMARC_TEMPERROR, false, false, &unknown, SPF_FAIL, DMARC_FAILURE_NONE},
        {DMARC_FO_ANY, DMARC_PASS, true, false, &bad, SPF_PASS, DMARC_FAILURE_DMARC},
        {DMARC_FO_ANY, DMARC_PASS, true, true, &good, SPF_PASS, DMARC_FAILURE_NONE},
        {DMARC_FO_ANY, DMARC_FAIL, false, false, &bad, SPF_FAIL, DMARC_FAILURE_DMARC},
        {DMARC_FO_ANY, DMARC_TEMPERROR, false, false, &unknown, SPF_FAIL, DMARC_FAILURE_NONE},
        {DMARC_FO_DKIM, DMARC_PASS, true, false, &bad, SPF_PASS, DMARC_FAILURE_DKIM},
        {DMARC_FO_DKIM, DMARC_PASS, true, false, &tested, SPF_PASS, DMARC_FAILURE_NONE},
        {DMARC_FO_DKIM, DMARC_FAIL, false, false, &unknown, SPF_FAIL, DMARC_FAILURE_NONE},
        {DMARC_FO_DKIM, DMARC_FAIL, false, false, &good, SPF_FAIL, DMARC_FAILURE_NONE},
        {DMARC_FO_SPF, DMARC_PASS, false, true, &good, SPF_SOFTFAIL, DMARC_FAILURE_SPF},
        {DMARC_FO_SPF, DMARC_PASS, false, true, &good, SPF_NEUTRAL, DMARC_FAILURE_NONE},
        {DMARC_FO_SPF, DMARC_PASS, false, true, &good, SPF_TEMPERROR, DMARC_FAILURE_NONE},
        {DMARC_FO_DKIM | DMARC_FO_SPF, DMARC_FAIL, false, false, &bad, SPF_FAIL, DMARC_FAILURE_DKIM},
        {DMARC_FO_ALL | DMARC_FO_SPF, DMARC_PASS, false, true, &good, SPF_FAIL, DMARC_FAILURE_SPF},
    };
    size_t at;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dmarc_record record = {.ruf_count = 1, .fo = rows[i].fo};
        struct dmarc_result r = {.verdict = rows[i].verdict,
                                 .record = &record,
                                 .spf_aligned = rows[i].spf_aligned,
                                 .dkim_aligned = rows[i].dkim_aligned};
        struct spf_result spf = {.verdict = rows[i].spf};
        enum dmarc_failure_kind kind = dmarc_failure_wanted(&r, rows[i].signature, 1, &spf, &at);
        if (kind != rows[i].kind)
            fail_msg("row %zu: %d", i, (int)kind);
        assert_int_equal(at, 0);
        record.ruf_count = 0; /* RFC 7489 §6.3: fo counts for nothing without ruf */
        assert_int_equal(dmarc_failure_wanted(&r, rows[i].signature, 1, &spf, &at), DMARC_FAILURE_NONE);
        r.record = NULL;
        assert_int_equal(dmarc_failure_wanted(&r, rows[i].signature, 1, &spf, &at), DMARC_FAILURE_NONE);
    }
    struct dmarc_record record = {.ruf_count = 1, .fo = DMARC_FO_DKIM | DMARC_FO_SPF};
    struct dmarc_result r = {.verdict = DMARC_FAIL, .record = &record};
    assert_int_equal(dmarc_failure_wanted(&r, NULL, 0, NULL, &at), DMARC_FAILURE_NONE);
    assert_true(at == VR_NPOS);
    const struct dkim_signature two[] = {{.verdict = DKIM_PASS}, {.verdict = DKIM_PERMERROR}};
    assert_int_equal(dmarc_failure_wanted(&r, two, 2, NULL, &at), DMARC_FAILURE_DKIM);
    assert_int_equal(at, 1);
}

static void test_loops(void **state)
{
    (void)state;
    static const struct {
        const char *from, *header;
        bool loops;
    } rows[] = {
        {"a@b.test", "From: a@b.test\r\n\r\nAuto-Submitted: auto-replied\r\n", false},
        {"", "From: a@b.test\r\n\r\n", true},
        {"a@b.test", "Auto-Submitted: no\r\n\r\n", false},
        {"a@b.test", "auto-submitted:\r\n auto-generated\r\n\r\n", true},
        {"a@b.test", "Auto-Submitted: no\r\nAuto-Submitted: auto-replied; x=y\r\n\r\n", true},
        {"a@b.test", "Content-Type: Multipart/Report; report-type=feedback-report\r\n\r\n", true},
        {"a@b.test", "Content-Type:\r\n\tmessage/feedback-report\r\n\r\n", true},
        {"a@b.test", "Content-Type: multipart/mixed\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (dmarc_failure_loops(vr_str_from(rows[i].from), vr_str_from(rows[i].header)) != rows[i].loops)
            fail_msg("row %zu", i);
}

static void test_header(void **state)
{
    (void)state;
    bool cut;
    struct vr_str h = dmarc_failure_header(VR_STR("A: b\r\nC: d\r\n\r\nbody\r\n"), &cut);
    assert_true(vr_str_equal(h, VR_STR("A: b\r\nC: d\r\n")) && !cut);
    h = dmarc_failure_header(VR_STR("\r\nbody\r\n"), &cut);
    assert_true(h.n == 0 && !cut);
    h = dmarc_failure_header(VR_STR("A: b\r\n"), &cut);
    assert_true(vr_str_equal(h, VR_STR("A: b\r\n")) && !cut);
    for (int i = 0; i < 2000; i++)
        vr_buf_addf(&buf, "X-%d: y\r\n", i);
    h = dmarc_failure_header(vr_buf_str(&buf), &cut);
    assert_true(cut && h.n <= DMARC_FAILURE_HEADER_MAX && h.n > DMARC_FAILURE_HEADER_MAX - 12 &&
                h.p[h.n - 1] == '\n');
    vr_buf_reset(&buf);
    for (int i = 0; i < DMARC_FAILURE_HEADER_MAX + 1; i++)
        vr_buf_add_byte(&buf, 'x');
    h = dmarc_failure_header(vr_buf_str(&buf), &cut);
    assert_true(cut && h.n == 0);
}

/* ---- what ----------------------------------------------------------------------------------------------------------------- */

static struct dmarc_failure failure(void)
{
    return (struct dmarc_failure){.from = VR_STR("reports@example.org"),
                                  .to = VR_STR("f@d.test"),
                                  .message_id = VR_STR("1.failure@example.org"),
                                  .time = 1700000000,
                                  .authserv_id = VR_STR("mx.example.org"),
                                  .kind = DMARC_FAILURE_DMARC,
                                  .delivery = DMARC_FAILURE_REJECTED,
                                  .verdict = DMARC_FAIL,
                                  .domain = VR_STR("d.test"),
                                  .source_ip = VR_STR("192.0.2.1"),
                                  .mail_from = VR_STR("a@other.test"),
                                  .arrival = 1699999999,
                                  .spf_domain = VR_STR("other.test"),
                                  .spf_result = VR_STR("fail"),
                                  .spf_record = VR_STR("v=spf1 \"x\" -all"),
                                  .dkim_domain = VR_STR("d.test"),
                                  .dkim_identity = VR_STR("@d.test"),
                                  .dkim_selector = VR_STR("s1"),
                                  .dkim_reason = VR_STR("the body is not what was signed"),
                                  .dkim_verdict = DKIM_FAIL,
                                  .header = VR_STR("From: a@d.test\r\nSubject: x\r\n")};
}

/* Seven bits, lines of at most 998 octets, CRLF only. */
static void assert_mail(struct vr_str text)
{
    struct vr_str line;
    while (vr_str_split(&text, '\n', &line)) {
        assert_true(line.n > 0 && line.n <= 999 && line.p[line.n - 1] == '\r');
        for (size_t i = 0; i + 1 < line.n; i++)
            assert_true(line.p[i] == '\t' || (line.p[i] >= ' ' && line.p[i] <= '~'));
    }
}

static void test_write(void **state)
{
    (void)state;
    struct dmarc_failure f = failure();
    assert_true(dmarc_failure_write(&buf, &f));
    assert_mail(vr_buf_str(&buf));
    static const char *const parts[] = {
        "From: reports@example.org\r\nTo: f@d.test\r\nSubject: DMARC failure report for d.test\r\n",
        "Message-ID: <1.failure@example.org>\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "Content-Type: multipart/report; "
        "report-type=feedback-report;\r\n\tboundary=\"=_veredus_failure_0_=\"\r\n",
        "\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: auth-failure\r\nUser-Agent: "
        "veredus\r\nVersion: 1\r\n",
        "\r\nAuth-Failure: dmarc\r\nDelivery-Result: reject\r\nIdentity-Alignment: none\r\n",
        "\r\nAuthentication-Results: mx.example.org;\r\n dmarc=fail header.from=d.test\r\n",
        "\r\nOriginal-Mail-From: <a@other.test>\r\nSource-IP: 192.0.2.1\r\nReported-Domain: "
        "d.test\r\nArrival-Date: Tue, 14 Nov "
        "2023 22:13:19 +0000\r\n",
        "\r\nDKIM-Domain: d.test\r\nDKIM-Identity: @d.test\r\nDKIM-Selector: s1\r\n",
        "\r\nSPF-DNS: txt : other.test : \"v=spf1 \\\"x\\\" -all\"\r\n",
        "\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: a@d.test\r\nSubject: "
        "x\r\n\r\n--=_veredus_failure_0_=--\r\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_has(parts[i]);

    vr_buf_reset(&buf);
    f.kind = DMARC_FAILURE_DKIM;
    f.spf_aligned = true;
    f.delivery = DMARC_FAILURE_SPAM;
    assert_true(dmarc_failure_write(&buf, &f));
    assert_has("\r\nAuth-Failure: signature\r\nDelivery-Result: spam\r\nIdentity-Alignment: spf\r\n");
    assert_has(" dkim=fail (the body is not what was signed)");
    assert_has("header.d=d.test header.s=s1\r\n");

    vr_buf_reset(&buf);
    f.kind = DMARC_FAILURE_SPF;
    f.dkim_aligned = true;
    f.delivery = DMARC_FAILURE_DELIVERED;
    f.dkim_domain = f.mail_from = vr_str(NULL, 0);
    f.spf_record = vr_str(NULL, 0);
    f.spf_helo = true;
    assert_true(dmarc_failure_write(&buf, &f));
    assert_has("\r\nAuth-Failure: spf\r\nDelivery-Result: delivered\r\nIdentity-Alignment: dkim, spf\r\n");
    assert_has(" spf=fail smtp.helo=other.test\r\nOriginal-Mail-From: <>\r\n");
    assert_true(times(vr_buf_str(&buf), "DKIM-") == 0 && times(vr_buf_str(&buf), "SPF-DNS") == 0);

    struct vr_buf small;
    vr_buf_init(&small, 600);
    assert_false(dmarc_failure_write(&small, &f));
    vr_buf_fini(&small);
}

/* Whatever stands in a message and its envelope, no line of ours begins with it. */
static void test_hostile(void **state)
{
    (void)state;
    static char longer[5000];
    memset(longer, 'y', sizeof longer);
    struct dmarc_failure f = failure();
    f.mail_from = VR_STR("\"a\r\nVersion: 2\r\n\r\n--=_veredus_failure_1_=\"@\xc3\xbc.test\xff");
    f.dkim_selector = VR_STR("s\r\n\r\nx");
    f.dkim_identity = vr_str(longer, sizeof longer);
    f.spf_domain = VR_STR("x\"; dmarc=pass\r\n.test");
    f.spf_record = vr_str(longer, sizeof longer);
    f.dkim_reason = VR_STR(") \\ dkim=pass (");
    f.header = VR_STR("From: a@d.test\r\n--=_veredus_failure_0_=: x\r\n--=_veredus_failure_1_=--: x\r\n");
    for (int kind = DMARC_FAILURE_DMARC; kind <= DMARC_FAILURE_SPF; kind++) {
        vr_buf_reset(&buf);
        f.kind = (enum dmarc_failure_kind)kind;
        assert_true(dmarc_failure_write(&buf, &f));
        struct vr_str text = vr_buf_str(&buf);
        assert_mail(text);
        assert_int_equal(times(text, "\r\n--=_veredus_failure_2_="), 4);
        assert_true(times(text, "\nVersion:") == 1 &&
                    times(text, "\n--=_veredus_failure_1_=") == 1); /* in the copy */
        assert_has("@\\x{FC}.test?>\r\n");
        assert_has("yyyyy\"\r\n"); /* the quotes of SPF-DNS are closed */
    }
    /* what is no plain text */
    vr_buf_reset(&buf);
    f = failure();
    f.header = VR_STR("Subject: gr\xc3\xbc\xc3\x9f \r\nX: a=b\rc\nd\tend\t\r\n--=_veredus_failure_9_=\r\n");
    assert_true(dmarc_failure_write(&buf, &f));
    assert_mail(vr_buf_str(&buf));
    assert_has(
        "Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: "
        "quoted-printable\r\n\r\n"
        "Subject: gr=C3=BC=C3=9F=20\r\nX: a=3Db=0Dc=0Ad\tend=09\r\n--=3D_veredus_failure_9_=3D\r\n\r\n");
    vr_buf_reset(&buf);
    f.header = vr_str(longer, sizeof longer); /* a line that is too long */
    assert_true(dmarc_failure_write(&buf, &f));
    assert_mail(vr_buf_str(&buf));
    assert_has("yyy=\r\nyyy");
    vr_buf_reset(&buf);
    f.header = VR_STR("X: \xff\r\n");
    assert_true(dmarc_failure_write(&buf, &f));
    assert_has("text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nX: =FF\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_header, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
    };
    return cmocka_run_group_tests_name("dmarc_failure", tests, NULL, NULL);
}
