/* smtp_x.c - the attributes of XCLIENT and XFORWARD, from tables; how several commands add up; small arenas. The dialogues are transcripts. */
#include "lib_testing.h"

#include <veredus/smtp.h>

static void good(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool forward;
        unsigned given, known;
        const char *name, *helo, *login, *ident;
        int family, port;
    } rows[] = {
        {"NAME=host.test", false, SMTP_X_NAME, SMTP_X_NAME, "host.test", "", "", "", 0, 0},
        {"  name=host.test   HELO=x ", false, SMTP_X_NAME | SMTP_X_HELO, SMTP_X_NAME | SMTP_X_HELO,
         "host.test", "x", "", "", 0, 0},
        {"NAME=[unavailable] HELO=[TempUnavail]", false, SMTP_X_NAME | SMTP_X_HELO, 0, "", "", "", "", 0, 0},
        {"NAME=+5BUNAVAILABLE+5D", false, SMTP_X_NAME, 0, "", "", "", "", 0, 0},
        {"ADDR=192.0.2.1 PORT=0", false, SMTP_X_ADDR | SMTP_X_PORT, SMTP_X_ADDR | SMTP_X_PORT, "", "", "", "",
         4, 0},
        {"PORT=65535 ADDR=Ipv6:::1", true, SMTP_X_ADDR | SMTP_X_PORT, SMTP_X_ADDR | SMTP_X_PORT, "", "", "",
         "", 6, 65535},
        {"ADDR=[UNAVAILABLE] PORT=7", true, SMTP_X_ADDR | SMTP_X_PORT, SMTP_X_PORT, "", "", "", "", 0, 7},
        {"LOGIN=a+3Db+20c@d.test", false, SMTP_X_LOGIN, SMTP_X_LOGIN, "", "", "a=b c@d.test", "", 0, 0},
        {"LOGIN=[UNAVAILABLE]", false, SMTP_X_LOGIN, 0, "", "", "", "", 0, 0},
        {"IDENT=4C3D8129A8 SOURCE=local", true, SMTP_X_IDENT | SMTP_X_SOURCE, SMTP_X_IDENT | SMTP_X_SOURCE,
         "", "", "", "4C3D8129A8", 0, 0},
        {"HELO=[192.0.2.1]", true, SMTP_X_HELO, SMTP_X_HELO, "", "[192.0.2.1]", "", "", 0, 0},
        {"PROTO=smtp", true, SMTP_X_PROTO, SMTP_X_PROTO, "", "", "", "", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct smtp_x x = {0};
        const char *why = smtp_x_parse(&arena, vr_str_from(rows[i].text), rows[i].forward, &x);
        if (why != NULL)
            fail_msg("%s: %s", rows[i].text, why);
        assert_int_equal(x.given, rows[i].given);
        assert_int_equal(x.known, rows[i].known);
        assert_text(x.name, rows[i].name);
        assert_text(x.helo, rows[i].helo);
        assert_text(x.login, rows[i].login);
        assert_text(x.ident, rows[i].ident);
        assert_int_equal(x.client.family, rows[i].family);
        assert_int_equal(x.client.port, rows[i].port);
    }
}

/* Later ones replace what they name, [UNAVAILABLE] takes back, a command with a fault changes nothing. */
static void commands_add_up(void **state)
{
    (void)state;
    struct smtp_x x = {0};
    assert_null(smtp_x_parse(&arena, VR_STR("ADDR=192.0.2.1 IDENT=one SOURCE=LOCAL"), true, &x));
    assert_null(smtp_x_parse(&arena, VR_STR("PORT=25 IDENT=two"), true, &x));
    assert_text(x.ident, "two");
    assert_int_equal(x.client.family, 4);
    assert_int_equal(x.client.port, 25);
    assert_true(x.local);
    struct smtp_x before = x;
    assert_non_null(smtp_x_parse(&arena, VR_STR("IDENT=three PORT=nonsense"), true, &x));
    assert_memory_equal(&before, &x, sizeof x);
    assert_null(smtp_x_parse(&arena, VR_STR("ADDR=[UNAVAILABLE]"), true, &x));
    assert_int_equal(x.client.family, 0);
    assert_int_equal(x.client.port, 25);
    assert_int_equal(x.given, SMTP_X_ADDR | SMTP_X_IDENT | SMTP_X_SOURCE | SMTP_X_PORT);
    assert_int_equal(x.known, SMTP_X_IDENT | SMTP_X_SOURCE | SMTP_X_PORT);
}

static void small_arenas(void **state)
{
    (void)state;
    bool refused = false, taken = false;
    for (size_t max = 0; max < 8192 && !taken; max += 256) {
        struct vr_arena small;
        struct smtp_x x = {0};
        vr_arena_init(&small, max);
        taken = smtp_x_parse(&small, VR_STR("HELO=one NAME=two.test LOGIN=three"), false, &x) == NULL;
        refused = refused || !taken;
        assert_int_equal(x.given, taken ? SMTP_X_HELO | SMTP_X_NAME | SMTP_X_LOGIN : 0);
        vr_arena_fini(&small);
    }
    assert_true(refused && taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(good), T(commands_add_up), T(small_arenas)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
