/* dovecot_lines.c - Dovecot's authentication protocol, line by line. What Dovecot says was taken from a Dovecot 2.3.19. */
#include "keeper/dovecot_lines.h"

#include "lib_testing.h"

static void what_dovecot_says(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum dovecot_word word;
        uint32_t id;
        const char *user, *reason;
        bool temporary;
    } rows[] = {
        {"VERSION\t1\t2", DOVECOT_VERSION, 0, "", "", false},
        {"VERSION\t2\t0", DOVECOT_MALFORMED, 0, "", "", false},
        {"VERSION", DOVECOT_MALFORMED, 0, "", "", false},
        {"MECH\tPLAIN\tplaintext", DOVECOT_MECH_PLAIN, 0, "", "", false},
        {"MECH\tLOGIN\tplaintext", DOVECOT_OTHER, 0, "", "", false},
        {"MECH", DOVECOT_OTHER, 0, "", "", false},
        {"SPID\t714", DOVECOT_SPID, 0, "", "", false},
        {"CUID\t1", DOVECOT_OTHER, 0, "", "", false},
        {"COOKIE\t8d2fe1b0ea02b1b6e5a7ab4a2d9be0e3", DOVECOT_OTHER, 0, "", "", false},
        {"DONE", DOVECOT_DONE, 0, "", "", false},
        {"OK\t1\tuser=ann@d.test", DOVECOT_OK, 1, "ann@d.test", "", false},
        {"OK\t2147483647\tuser=ann@d.test\tnologin", DOVECOT_OK, 2147483647, "ann@d.test", "", false},
        {"OK\t7", DOVECOT_OK, 7, "", "", false},
        {"FAIL\t2\tuser=ann@d.test", DOVECOT_FAIL, 2, "ann@d.test", "", false},
        {"FAIL\t2\tuser=ann@d.test\tcode=temp_fail\ttemp", DOVECOT_FAIL, 2, "ann@d.test", "", true},
        {"FAIL\t2\tcode=temp_fail", DOVECOT_FAIL, 2, "", "", true},
        {"FAIL\t2\tuser=a\001tb\001nc\0011d\001x\treason=locked \0010out\001", DOVECOT_FAIL, 2,
         "a\tb\nc\001dx", "locked ", false}, /* a NUL ends what the table can compare */
        {"FAIL\t3\ttemporary", DOVECOT_FAIL, 3, "", "", false},
        {"CONT\t4\tcmVzcA==", DOVECOT_CONT, 4, "", "", false},
        {"USER\t5\tann@d.test\tuid=1000\tgid=1000\thome=/home/ann", DOVECOT_USER, 5, "ann@d.test", "", false},
        {"USER\t5", DOVECOT_USER, 5, "", "", false},
        {"NOTFOUND\t6", DOVECOT_NOTFOUND, 6, "", "", false},
        {"OK", DOVECOT_MALFORMED, 0, "", "", false},
        {"OK\t", DOVECOT_MALFORMED, 0, "", "", false},
        {"OK\tx", DOVECOT_MALFORMED, 0, "", "", false},
        {"OK\t-1", DOVECOT_MALFORMED, 0, "", "", false},
        {"OK\t2147483648", DOVECOT_MALFORMED, 0, "", "", false},
        {"FAIL\t99999999999999999999", DOVECOT_MALFORMED, 0, "", "", false},
        {"", DOVECOT_OTHER, 0, "", "", false},
        {"ok\t1", DOVECOT_OTHER, 0, "", "", false},
        {"SOMETHING\tof\ttomorrow", DOVECOT_OTHER, 0, "", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dovecot_line l = dovecot_read(&arena, vr_str_from(rows[i].line));
        char user[64], reason[64];
        snprintf(user, sizeof user, "%.*s", VR_STR_ARG(l.user));
        snprintf(reason, sizeof reason, "%.*s", VR_STR_ARG(l.reason));
        if (l.word != rows[i].word || (l.word != DOVECOT_MALFORMED && l.id != rows[i].id) ||
            strcmp(user, rows[i].user) != 0 || strcmp(reason, rows[i].reason) != 0 ||
            l.temporary != rows[i].temporary)
            fail_msg("%s: word %d, id %u, user %s, reason %s, temporary %d", rows[i].line, l.word, l.id, user,
                     reason, l.temporary);
    }
}

static struct vr_buf out;

static void assert_out(const char *wanted)
{
    vr_buf_add_byte(&out, '\0');
    assert_string_equal(vr_buf_str(&out).p, wanted);
    vr_buf_reset(&out);
}

static void what_we_say(void **state)
{
    (void)state;
    vr_buf_init(&out, 65536);
    dovecot_put_hello(&out, false, 4711);
    assert_out("VERSION\t1\t1\nCPID\t4711\n");
    dovecot_put_hello(&out, true, 4711);
    assert_out("VERSION\t1\t1\n");
    assert_true(dovecot_put_auth(&out, 3, VR_STR("ann@d.test"), VR_STR("pencil"), VR_STR("192.0.2.1")));
    assert_out("AUTH\t3\tPLAIN\tservice=smtp\tsecured\trip=192.0.2.1\tresp=AGFubkBkLnRlc3QAcGVuY2ls\n");
    assert_true(dovecot_put_auth(&out, 3, VR_STR("ann@d.test"), VR_STR("pencil"), VR_STR("")));
    assert_out("AUTH\t3\tPLAIN\tservice=smtp\tsecured\tresp=AGFubkBkLnRlc3QAcGVuY2ls\n");
    assert_true(dovecot_put_user(&out, 4, VR_STR("ann@d.test")));
    assert_out("USER\t4\tann@d.test\tservice=smtp\n");
    vr_buf_fini(&out);
}

/* A name is data: it ends neither its field nor its line. */
static void what_cannot_be_said(void **state)
{
    (void)state;
    vr_buf_init(&out, 65536);
    assert_true(dovecot_put_user(&out, 4, VR_STR("a\tb\nUSER\t5\troot\r\001")));
    assert_out("USER\t4\ta\001tb\001nUSER\001t5\001troot\001r\0011\tservice=smtp\n");
    assert_false(dovecot_put_user(&out, 4, VR_STR("a\0b")));
    assert_false(dovecot_put_auth(&out, 4, VR_STR("a\0b"), VR_STR("p"), VR_STR("")));
    assert_false(dovecot_put_auth(&out, 4, VR_STR("a"), VR_STR("p\0q"), VR_STR("")));
    vr_buf_reset(&out);
    assert_true(dovecot_put_auth(&out, 4, VR_STR("a"), VR_STR("p"), VR_STR("x\ty\n")));
    assert_out("AUTH\t4\tPLAIN\tservice=smtp\tsecured\trip=x\001ty\001n\tresp=AGEAcA==\n");
    static char big[9000];
    memset(big, 'x', sizeof big);
    assert_false(dovecot_put_auth(&out, 4, VR_STR("a"), vr_str(big, sizeof big), VR_STR("")));
    vr_buf_reset(&out);
    assert_false(
        dovecot_put_auth(&out, 4, VR_STR("a"), vr_str(big, 7000), VR_STR(""))); /* base64 makes it longer */
    vr_buf_reset(&out);
    assert_false(dovecot_put_user(&out, 4, vr_str(big, sizeof big)));
    vr_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_dovecot_says, arena_setup, arena_teardown),
        cmocka_unit_test(what_we_say),
        cmocka_unit_test(what_cannot_be_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
