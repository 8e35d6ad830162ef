/* smtp_params.c - the parameters of MAIL and RCPT, from tables. */
#include <veredus/smtp.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

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
        assert_int_equal(smtp_mail_params(&arena, vr_str_from(rows[i].text), &m, &code, &enhanced, &why),
                         VR_OK);
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
        assert_int_equal(smtp_rcpt_params(&arena, vr_str_from(rows[i].text), &r, &code, &enhanced, &why),
                         VR_OK);
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
        enum vr_err e = smtp_mail_params(&arena, vr_str_from(rows[i].text), &m, &code, &enhanced, &why);
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
        enum vr_err e = smtp_rcpt_params(&arena, vr_str_from(rows[i].text), &r, &code, &enhanced, &why);
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
    assert_int_not_equal(smtp_mail_params(&arena, VR_STR("SIZE=1\0"), &m, &code, &enhanced, &why), VR_OK);
    assert_int_equal(code, 501);
    assert_int_not_equal(smtp_mail_params(&arena, VR_STR("ENVID=a\0b"), &m, &code, &enhanced, &why), VR_OK);
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
    assert_int_not_equal(smtp_mail_params(&small, VR_STR("ENVID=abc"), &m, &code, &enhanced, &why), VR_OK);
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
    assert_int_not_equal(smtp_mail_params(&arena, vr_buf_str(&text), &m, &code, &enhanced, &why), VR_OK);
    assert_int_equal(code, 501);
    vr_buf_fini(&text);
}

/* The table of extensions: each bit once, each keyword once. */
static void extension_table(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (size_t i = 0; i < smtp_extension_count; i++) {
        assert_int_equal(seen & smtp_extensions[i].bit, 0);
        seen |= smtp_extensions[i].bit;
        assert_int_equal(strncmp(smtp_extensions[i].rfc, "RFC ", 4), 0);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(smtp_extensions[i].keyword, smtp_extensions[j].keyword);
    }
    assert_int_equal(seen, (SMTP_EXT_MT_PRIORITY << 1) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_good), cmocka_unit_test(rcpt_good),       cmocka_unit_test(mail_bad),
        cmocka_unit_test(rcpt_bad),  cmocka_unit_test(nul_inside),      cmocka_unit_test(arena_full),
        cmocka_unit_test(too_many),  cmocka_unit_test(extension_table),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
