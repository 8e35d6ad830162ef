/* smtp_params.c - the parameters of MAIL and RCPT, from tables. */
#include <veredus/smtp.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define CLASSIC (SMTP_EXT_BASIC | SMTP_EXT_MT_PRIORITY)
#define ALL     (~0u)

static struct vr_arena arena;

static int set_up(void **state)
{
    (void)state;
    vr_arena_init(&arena, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vr_arena_fini(&arena);
    return 0;
}

static void assert_text(struct vr_str s, const char *expected)
{
    if (!vr_str_equal(s, vr_str_from(expected)))
        fail_msg("\"%.*s\" instead of \"%s\"", VR_STR_ARG(s), expected);
}

/* ---- what is good --------------------------------------------------------------------------------------------- */

static void mail_good(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
        enum smtp_body body;
        enum dsn_ret ret;
        const char *envid, *auth;
        int priority; /* given or 0 */
    } rows[] = {
        {"", 0, SMTP_BODY_7BIT, DSN_RET_NONE, "", ""},
        {"   ", 0, SMTP_BODY_7BIT, DSN_RET_NONE, "", ""},
        {"SIZE=0", 0, SMTP_BODY_7BIT, DSN_RET_NONE, "", ""},
        {"SIZE=00000000000000000012", 12, SMTP_BODY_7BIT, DSN_RET_NONE, "", ""},
        {"SIZE=18446744073709551615", UINT64_MAX, SMTP_BODY_7BIT, DSN_RET_NONE, "", ""},
        {" size=7  body=8bitmime ", 7, SMTP_BODY_8BITMIME, DSN_RET_NONE, "", ""},
        {"BODY=7BIT RET=FULL", 0, SMTP_BODY_7BIT, DSN_RET_FULL, "", ""},
        {"ENVID=QQ+2B314 RET=hdrs SIZE=1", 1, SMTP_BODY_7BIT, DSN_RET_HDRS, "QQ+2B314", ""},
        {"AUTH=<>", 0, SMTP_BODY_7BIT, DSN_RET_NONE, "", "<>"},
        {"AUTH=e+3Dmc2@example.org", 0, SMTP_BODY_7BIT, DSN_RET_NONE, "", "e+3Dmc2@example.org"},
        {"MT-PRIORITY=9", 0, SMTP_BODY_7BIT, DSN_RET_NONE, "", "", 9},
        {"SIZE=3 mt-priority=-9 RET=FULL", 3, SMTP_BODY_7BIT, DSN_RET_FULL, "", "", -9},
        {"MT-PRIORITY=0", 0, SMTP_BODY_7BIT, DSN_RET_NONE, "", ""},
        {"MT-PRIORITY=-1", 0, SMTP_BODY_7BIT, DSN_RET_NONE, "", "", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtp_mail m = {0};
        uint16_t code = 1;
        const char *enhanced, *why;
        print_message("%s\n", rows[i].text);
        assert_int_equal(
            smtp_mail_params(&arena, vr_str_from(rows[i].text), CLASSIC, &m, &code, &enhanced, &why), VR_OK);
        assert_int_equal(code, 0);
        assert_true(m.size == rows[i].size);
        assert_int_equal(m.body, rows[i].body);
        assert_int_equal(m.ret, rows[i].ret);
        assert_text(m.envid, rows[i].envid);
        assert_text(m.auth, rows[i].auth);
        assert_int_equal(m.priority, rows[i].priority);
        assert_int_equal(m.has_priority, strcasestr(rows[i].text, "MT-PRIORITY") != NULL);
    }
}

static void rcpt_good(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned notify;
        const char *orcpt;
    } rows[] = {
        {"", 0, ""},
        {"NOTIFY=NEVER", DSN_NOTIFY_NEVER, ""},
        {"notify=success,FAILURE,Delay", DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY, ""},
        {"ORCPT=rfc822;a+2Bb@example.org NOTIFY=DELAY", DSN_NOTIFY_DELAY, "rfc822;a+2Bb@example.org"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtp_rcpt r = {0};
        uint16_t code = 1;
        const char *enhanced, *why;
        print_message("%s\n", rows[i].text);
        assert_int_equal(
            smtp_rcpt_params(&arena, vr_str_from(rows[i].text), CLASSIC, &r, &code, &enhanced, &why), VR_OK);
        assert_int_equal(code, 0);
        assert_int_equal(r.notify, rows[i].notify);
        assert_text(r.orcpt, rows[i].orcpt);
    }
}

/* ---- what is not ---------------------------------------------------------------------------------------------- */

struct bad_row {
    const char *text;
    int code;
};

static void assert_fault(const struct bad_row *row, enum vr_err e, uint16_t code, const char *enhanced,
                         const char *why)
{
    print_message("%s\n", row->text);
    assert_int_not_equal(e, VR_OK);
    assert_int_equal(code, row->code);
    assert_non_null(why);
    assert_true(strlen(why) > 10);
    assert_int_equal(enhanced[0], row->code == 452 ? '4' : '5');
    assert_int_equal(enhanced[1], '.');
}

static void mail_bad(void **state)
{
    (void)state;
    static const struct bad_row rows[] = {
        {"SIZE", 501},
        {"SIZE=", 501},
        {"SIZE=-1", 501},
        {"SIZE=+1", 501},
        {"SIZE=1k", 501},
        {"SIZE=0x10", 501},
        {"SIZE=18446744073709551616", 501},
        {"SIZE=000000000000000000012", 501},
        {"SIZE=1 SIZE=1", 501},
        {"BODY=", 501},
        {"BODY=BINARYMIME", 501},
        {"BODY=8BITMIMEX", 501},
        {"RET=BOTH", 501},
        {"RET", 501},
        {"ENVID=", 501},
        {"ENVID=a+0Ab", 501},
        {"ENVID=a+0ab", 501},
        {"ENVID=a+", 501},
        {"ENVID=a+4", 501},
        {"ENVID=a=b", 501},
        {"AUTH=", 501},
        {"AUTH=a+0D", 501},
        {"AUTH=a+00", 501},
        {"MT-PRIORITY", 501},
        {"MT-PRIORITY=", 501},
        {"MT-PRIORITY=-", 501},
        {"MT-PRIORITY=-0", 501},
        {"MT-PRIORITY=00", 501},
        {"MT-PRIORITY=10", 501},
        {"MT-PRIORITY=-10", 501},
        {"MT-PRIORITY=+1", 501},
        {"MT-PRIORITY=x", 501},
        {"MT-PRIORITY=-x", 501},
        {"MT-PRIORITY=1 MT-PRIORITY=2", 501},
        {"=", 501},
        {"=x", 501},
        {"X=\x01", 501},
        {"X=\x7f", 501},
        {"SIZE=1\xc3\xa4", 501},
        {"\tSIZE=1", 501},
        {"NOTIFY=NEVER", 555},
        {"ORCPT=rfc822;x", 555},
        {"SMTPUTF8", 555},
        {"REQUIRETLS", 555},
        {"SIZ=1", 555},
        {"SIZEX=1", 555},
        {"XSIZE=1", 555},
        {"SIZE=1 X-FOO", 555},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtp_mail m = {0};
        uint16_t code;
        const char *enhanced, *why;
        enum vr_err e =
            smtp_mail_params(&arena, vr_str_from(rows[i].text), CLASSIC, &m, &code, &enhanced, &why);
        assert_fault(&rows[i], e, code, enhanced, why);
    }
}

static void rcpt_bad(void **state)
{
    (void)state;
    static const struct bad_row rows[] = {
        {"NOTIFY", 501},
        {"NOTIFY=", 501},
        {"NOTIFY=NEVER,DELAY", 501},
        {"NOTIFY=DELAY,DELAY", 501},
        {"NOTIFY=DELAY,", 501},
        {"NOTIFY=,DELAY", 501},
        {"NOTIFY=DELAY NOTIFY=DELAY", 501},
        {"ORCPT=", 501},
        {"ORCPT=rfc822", 501},
        {"ORCPT=;x", 501},
        {"ORCPT=rfc822;", 501},
        {"ORCPT=rfc822;a+0Ax@y", 501},
        {"ORCPT=rfc822;a=b", 501},
        {"SIZE=1", 555},
        {"RET=FULL", 555},
        {"AUTH=<>", 555},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtp_rcpt r = {0};
        uint16_t code;
        const char *enhanced, *why;
        enum vr_err e =
            smtp_rcpt_params(&arena, vr_str_from(rows[i].text), CLASSIC, &r, &code, &enhanced, &why);
        assert_fault(&rows[i], e, code, enhanced, why);
    }
}

/* A NUL inside is a byte like others that do not belong there. */
static void nul_inside(void **state)
{
    (void)state;
    struct smtp_mail m = {0};
    uint16_t code;
    const char *enhanced, *why;
    assert_int_not_equal(smtp_mail_params(&arena, VR_STR("SIZE=1\0"), CLASSIC, &m, &code, &enhanced, &why),
                         VR_OK);
    assert_int_equal(code, 501);
    assert_int_not_equal(smtp_mail_params(&arena, VR_STR("ENVID=a\0b"), CLASSIC, &m, &code, &enhanced, &why),
                         VR_OK);
    assert_int_equal(code, 501);
}

/* An arena that is full: the client is told to come back, nothing is cut. */
static void arena_full(void **state)
{
    (void)state;
    struct vr_arena small;
    vr_arena_init(&small, 0);
    struct smtp_mail m = {0};
    uint16_t code;
    const char *enhanced, *why;
    assert_int_not_equal(smtp_mail_params(&small, VR_STR("ENVID=abc"), CLASSIC, &m, &code, &enhanced, &why),
                         VR_OK);
    assert_int_equal(code, 452);
    assert_string_equal(enhanced, "4.5.3");
    vr_arena_fini(&small);
}

static void too_many(void **state)
{
    (void)state;
    struct vr_buf text;
    vr_buf_init(&text, 1 << 20);
    vr_buf_add(&text, VR_STR("SIZE=1"));
    for (int i = 0; i < 10000; i++)
        vr_buf_add(&text, VR_STR(" SIZE=1"));
    struct smtp_mail m = {0};
    uint16_t code;
    const char *enhanced, *why;
    assert_int_not_equal(smtp_mail_params(&arena, vr_buf_str(&text), CLASSIC, &m, &code, &enhanced, &why),
                         VR_OK);
    assert_int_equal(code, 501);
    vr_buf_fini(&text);
}

/* ---- parameters of the other extensions ------------------------------------------------------------------------ */

static struct smtp_mail read_mail(const char *text)
{
    struct smtp_mail m = {0};
    uint16_t code;
    const char *enhanced, *why;
    print_message("%s\n", text);
    assert_int_equal(smtp_mail_params(&arena, vr_str_from(text), ALL, &m, &code, &enhanced, &why), VR_OK);
    return m;
}

static void mail_of_extensions(void **state)
{
    (void)state;
    struct smtp_mail m =
        read_mail("BODY=binarymime SMTPUTF8 REQUIRETLS SOLICIT=org.example:ADV,net.example:X-1_y");
    assert_true(m.body == SMTP_BODY_BINARYMIME && m.utf8 && m.require_tls);
    assert_text(m.solicit, "org.example:ADV,net.example:X-1_y");
    m = read_mail("HOLDFOR=1");
    assert_true(m.hold_for == 1 && m.hold_until == 0);
    m = read_mail("HOLDFOR=999999999");
    assert_int_equal(m.hold_for, 999999999);
    m = read_mail("HOLDUNTIL=2026-12-31T08:00:00Z");
    assert_true(m.hold_for == 0 && m.hold_until == 1798704000);
    m = read_mail("HOLDUNTIL=2026-12-31T08:00:00.5+01:30");
    assert_true(m.hold_until == 1798704000 - 5400);
    static const struct {
        const char *text;
        int seconds;
        enum smtp_by by;
        bool trace;
    } rows[] = {{"BY=120;R", 120, SMTP_BY_RETURN, false},
                {"BY=+5;rt", 5, SMTP_BY_RETURN, true},
                {"BY=-999999999;N", -999999999, SMTP_BY_NOTIFY, false},
                {"BY=0;NT", 0, SMTP_BY_NOTIFY, true},
                {"by=000000001;n", 1, SMTP_BY_NOTIFY, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        m = read_mail(rows[i].text);
        assert_int_equal(m.by_seconds, rows[i].seconds);
        assert_int_equal(m.by, rows[i].by);
        assert_int_equal(m.by_trace, rows[i].trace);
    }
}

static void rcpt_of_extensions(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum smtp_rrvs rrvs;
    } rows[] = {{"RRVS=2014-04-03T23:01:00Z", SMTP_RRVS_REJECT},
                {"RRVS=2014-04-03T23:01:00Z;R", SMTP_RRVS_REJECT},
                {"rrvs=2014-04-03t23:01:00z;c NOTIFY=NEVER", SMTP_RRVS_CONTINUE}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtp_rcpt r = {0};
        uint16_t code;
        const char *enhanced, *why;
        print_message("%s\n", rows[i].text);
        assert_int_equal(smtp_rcpt_params(&arena, vr_str_from(rows[i].text), ALL, &r, &code, &enhanced, &why),
                         VR_OK);
        assert_int_equal(r.rrvs, rows[i].rrvs);
        assert_true(r.valid_since == 1396566060);
    }
}

/* RFC 6533 §3: UTF-8 in ORCPT, of the type utf-8 only, and only behind a MAIL with SMTPUTF8. */
static void orcpt_beyond_ascii(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool with, without; /* SMTPUTF8 */
    } rows[] = {{"ORCPT=utf-8;jörg@bücher.example", true, false},
                {"ORCPT=UTF-8;j\\x{F6}rg@example.org", true, true},
                {"ORCPT=utf-8;ann@example.org", true, true},
                {"ORCPT=utf-8;a+2Bb@example.org", true, true}, /* xtext; RFC 6533 §3: kept as it is */
                {"ORCPT=utf-8;jörg+2B@example.org", false, false},
                {"ORCPT=rfc822;jörg@example.org", false, false},
                {"ORCPT=utf-8;j\xf6rg@example.org", false, false},
                {"ORCPT=utf-8;a\xc2\x9b@example.org", false, false},
                {"ORCPT=utf-8;a\\x{0A}@example.org", true, true}, /* xtext of a backslash and braces */
                {"ÖRCPT=utf-8;ann@example.org", false, false},
                {"NOTIFY=NEVÉR", false, false}};
    uint16_t code;
    const char *enhanced, *why;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int with = 0; with < 2; with++) {
            struct smtp_rcpt r = {0};
            unsigned offered = with ? ALL : ALL & ~(unsigned)SMTP_EXT_SMTPUTF8;
            enum vr_err e =
                smtp_rcpt_params(&arena, vr_str_from(rows[i].text), offered, &r, &code, &enhanced, &why);
            if ((e == VR_OK) != (with ? rows[i].with : rows[i].without))
                fail_msg("%s: %s", rows[i].text, e == VR_OK ? "is taken" : why);
            if (e == VR_OK)
                assert_text(r.orcpt, rows[i].text + 6);
            else
                assert_int_equal(code, 501);
        }
    struct smtp_mail m = {0}; /* no parameter of MAIL holds UTF-8 */
    assert_int_not_equal(
        smtp_mail_params(&arena, VR_STR("SMTPUTF8 ENVID=ü"), ALL, &m, &code, &enhanced, &why), VR_OK);
}

static void wrong_values_of_extensions(void **state)
{
    (void)state;
    static const char *const mail[] = {"SMTPUTF8=",
                                       "SMTPUTF8=yes",
                                       "REQUIRETLS=1",
                                       "BODY=BINARY",
                                       "HOLDFOR",
                                       "HOLDFOR=0",
                                       "HOLDFOR=01",
                                       "HOLDFOR=-1",
                                       "HOLDFOR=1000000000",
                                       "HOLDFOR=1 HOLDUNTIL=2026-12-31T08:00:00Z",
                                       "HOLDUNTIL=2026-12-31T08:00:00Z HOLDFOR=1",
                                       "HOLDUNTIL=2026-12-31",
                                       "HOLDUNTIL=2026-02-29T08:00:00Z",
                                       "HOLDUNTIL=2026-12-31T24:00:00Z",
                                       "HOLDUNTIL=2026-12-31T08:00:00",
                                       "HOLDUNTIL=1969-12-31T08:00:00Z",
                                       "HOLDUNTIL=2026-12-31T08:00:00.Z",
                                       "HOLDUNTIL=2026-12-31T08:00:00+1:00",
                                       "BY",
                                       "BY=120",
                                       "BY=;R",
                                       "BY=120;",
                                       "BY=120;X",
                                       "BY=120;RX",
                                       "BY=120;RTT",
                                       "BY=0;R",
                                       "BY=-1;R",
                                       "BY=1234567890;N",
                                       "BY=+-1;N",
                                       "BY=1;T",
                                       "SOLICIT",
                                       "SOLICIT=",
                                       "SOLICIT=,a",
                                       "SOLICIT=a,",
                                       "SOLICIT=a,,b",
                                       "SOLICIT=1a",
                                       "SOLICIT=a+b",
                                       "SOLICIT=a,:b"};
    static const char *const rcpt[] = {"RRVS",
                                       "RRVS=",
                                       "RRVS=2014-04-03",
                                       "RRVS=2014-04-03T23:01:00Z;",
                                       "RRVS=2014-04-03T23:01:00Z;X",
                                       "RRVS=2014-04-03T23:01:00.5Z",
                                       "RRVS=2014-04-03T23:01:00Z;RC"};
    uint16_t code;
    const char *enhanced, *why;
    for (size_t i = 0; i < sizeof mail / sizeof *mail; i++) {
        struct smtp_mail m = {0};
        enum vr_err e = smtp_mail_params(&arena, vr_str_from(mail[i]), ALL, &m, &code, &enhanced, &why);
        assert_fault(&(struct bad_row){mail[i], 501}, e, code, enhanced, why);
    }
    for (size_t i = 0; i < sizeof rcpt / sizeof *rcpt; i++) {
        struct smtp_rcpt r = {0};
        enum vr_err e = smtp_rcpt_params(&arena, vr_str_from(rcpt[i]), ALL, &r, &code, &enhanced, &why);
        assert_fault(&(struct bad_row){rcpt[i], 501}, e, code, enhanced, why);
    }
}

/* ---- the table of extensions ------------------------------------------------------------------------------------ */

/* Each bit once, each keyword once, and every field that the documentation is made of. */
static void extension_table(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (size_t i = 0; i < smtp_extension_count; i++) {
        const struct smtp_extension_row *row = &smtp_extensions[i];
        assert_int_equal(seen & row->bit, 0);
        seen |= row->bit;
        assert_true(strncmp(row->rfc, "RFC ", 4) == 0 || row->keyword[0] == 'X');
        assert_true(row->purpose[0] != '\0' && row->test[0] != '\0' && row->server != 0);
        assert_ptr_equal(smtp_extension_find(row->bit), row);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(row->keyword, smtp_extensions[j].keyword);
    }
    assert_int_equal(seen, (SMTP_EXT_HELP << 1) - 1);
    assert_null(smtp_extension_find(SMTP_EXT_HELP << 1));
    assert_int_equal(smtp_extensions_for(SMTP_WHERE_MX) & (SMTP_EXT_AUTH | SMTP_EXT_FUTURERELEASE), 0);
    assert_int_equal(smtp_extensions_for(SMTP_WHERE_LMTP) & (SMTP_EXT_STARTTLS | SMTP_EXT_ETRN), 0);
    assert_int_not_equal(smtp_extensions_for(SMTP_WHERE_SUBMISSION) & SMTP_EXT_FUTURERELEASE, 0);
}

/* A parameter of something that is not offered is not known; what the table names has a reader. */
static void parameters_follow_the_table(void **state)
{
    (void)state;
    uint16_t code;
    const char *enhanced, *why;
    for (size_t i = 0; i < smtp_extension_count; i++) {
        const struct smtp_extension_row *row = &smtp_extensions[i];
        struct vr_str list = vr_str_from(row->mail_parameters), one;
        while (vr_str_split(&list, ' ', &one)) {
            struct smtp_mail m = {0};
            unsigned others = row->bit == SMTP_EXT_8BITMIME || row->bit == SMTP_EXT_BINARYMIME
                                  ? (unsigned)(SMTP_EXT_8BITMIME | SMTP_EXT_BINARYMIME) /* both have BODY */
                                  : (unsigned)row->bit;
            struct vr_str text = vr_arena_printf(&arena, "%.*s=?", VR_STR_ARG(one));
            smtp_mail_params(&arena, text, row->bit, &m, &code, &enhanced, &why);
            assert_int_not_equal(code, 555); /* there is a reader; most do not like the value */
            smtp_mail_params(&arena, text, ~others, &m, &code, &enhanced, &why);
            assert_int_equal(code, 555);
        }
        list = vr_str_from(row->rcpt_parameters);
        while (vr_str_split(&list, ' ', &one)) {
            struct smtp_rcpt r = {0};
            struct vr_str text = vr_arena_printf(&arena, "%.*s=?", VR_STR_ARG(one));
            smtp_rcpt_params(&arena, text, row->bit, &r, &code, &enhanced, &why);
            assert_int_equal(code, 501);
            smtp_rcpt_params(&arena, text, ~(unsigned)row->bit, &r, &code, &enhanced, &why);
            assert_int_equal(code, 555);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_good),
        cmocka_unit_test(rcpt_good),
        cmocka_unit_test(mail_bad),
        cmocka_unit_test(rcpt_bad),
        cmocka_unit_test(nul_inside),
        cmocka_unit_test(arena_full),
        cmocka_unit_test(too_many),
        cmocka_unit_test(extension_table),
        cmocka_unit_test(mail_of_extensions),
        cmocka_unit_test(rcpt_of_extensions),
        cmocka_unit_test(wrong_values_of_extensions),
        cmocka_unit_test(orcpt_beyond_ascii),
        cmocka_unit_test(parameters_follow_the_table),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
