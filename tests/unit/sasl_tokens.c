/* sasl_tokens.c - EXTERNAL, OAUTHBEARER, XOAUTH2 and CRAM-MD5: messages well-formed and not, refusals, and what a client does not begin. */
#include "sasl_exchange.h"

/* ---- EXTERNAL --------------------------------------------------------------------------------------------------------- */

static void test_external(void **state)
{
    (void)state;
    static const struct {
        const char *identity, *authzid;
        enum outcome outcome;
        const char *got;
    } rows[] = {
        {"ann@example.org", "", BOTH, "ann@example.org"},
        {"ann@example.org", "ANN@example.org", BOTH, "ann@example.org"},
        {"ann@example.org", "bob@example.org", SERVER_REFUSED, "ann@example.org"},
        {"bob@example.org", "", SERVER_REFUSED, "bob@example.org"},
        {"bob@example.org", "ann@example.org", SERVER_REFUSED, "bob@example.org"},
        {"bob@example.org\nann@example.org", "ann@example.org", BOTH, "ann@example.org"},
        {"ann@example.org\nbob@example.org", "", BOTH, "ann@example.org"},
        {"bob@example.org\nann@example.org", "", SERVER_REFUSED, "bob@example.org"},
        {"bob@example.org\nann@example.org", "ann@example.org\nx", SERVER_MALFORMED, ""},
        {"", "", SERVER_REFUSED, ""},
        {"", "ann@example.org", SERVER_REFUSED, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int no_initial = 0; no_initial < 2; no_initial++) {
            struct vr_str out;
            struct exchange e = {.mechanism = "EXTERNAL",
                                 .user = rows[i].authzid,
                                 .identity = rows[i].identity,
                                 .no_initial = no_initial};
            if (strchr(rows[i].authzid, '\n') == NULL) {
                enum outcome got = run(&e);
                if (got != rows[i].outcome || strcmp(e.got, rows[i].got) != 0)
                    fail_msg("row %zu: %d %s %s", i, got, e.got, e.why);
                continue;
            }
            struct sasl_server *s = server_with(
                "EXTERNAL", (struct sasl_server_config){.identity = vr_str_from(rows[i].identity)});
            assert_int_equal(sasl_server_step(s, vr_str_from(rows[i].authzid), true, &out), SASL_FAILED);
            assert_true(sasl_server_malformed(s));
            sasl_server_free(s);
        }
}

/* ---- tokens ------------------------------------------------------------------------------------------------------------- */

static void test_token_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *mechanism, *token, *user, *json, *why;
    } rows[] = {
        {"OAUTHBEARER", "wrong", "ann@example.org",
         "{\"status\":\"invalid_token\",\"scope\":\"mail "
         "\\\"all\\\"\",\"openid-configuration\":\"https://id.test/openid\"}",
         "the token is not valid, or not any more"},
        {"OAUTHBEARER", "narrow", "ann@example.org",
         "{\"status\":\"insufficient_scope\",\"scope\":\"mail "
         "\\\"all\\\"\",\"openid-configuration\":\"https://id.test/openid\"}",
         "the token is not for the scope of mail"},
        {"XOAUTH2", "wrong", "ann@example.org",
         "{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"mail \\\"all\\\"\"}",
         "the token is not valid, or not any more"},
        {"XOAUTH2", "narrow", "ann@example.org",
         "{\"status\":\"403\",\"schemes\":\"bearer\",\"scope\":\"mail \\\"all\\\"\"}",
         "the token is not for the scope of mail"},
        {"OAUTHBEARER", "ya29.A-b_c~d+e/f==", "bob@example.org", "{\"status\":\"invalid_token\"}",
         "the token is another user's"},
        {"XOAUTH2", "ya29.A-b_c~d+e/f==", "bob@example.org", "{\"status\":\"401\",\"schemes\":\"bearer\"}",
         "the token is another user's"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct exchange e = {.mechanism = rows[i].mechanism, .user = rows[i].user, .token = rows[i].token};
        assert_int_equal(run(&e), SERVER_REFUSED);
        assert_string_equal(e.challenge, rows[i].json);
        assert_string_equal(e.refusal, rows[i].json);
        assert_string_equal(e.why, rows[i].why);
    }
}

/* Without a name the token alone tells (RFC 7628 §3.1: a= is optional). */
static void test_token_alone(void **state)
{
    (void)state;
    struct exchange e = {.mechanism = "OAUTHBEARER", .user = "", .token = ann.token};
    assert_int_equal(run(&e), BOTH);
    assert_string_equal(e.got, ann.user);
}

static void test_token_messages(void **state)
{
    (void)state;
    static const struct {
        const char *mechanism;
        struct vr_str message;
        bool good;
    } rows[] = {
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t\1\1"), true},
        {"OAUTHBEARER", VR_STR_INIT("y,,\1auth=BEARER t\1\1"), true},
        {"OAUTHBEARER", VR_STR_INIT("n,a=x=2Cy,\1auth=bearer   t\1\1"), true},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1user=z\1auth=Bearer t==\1more=\t\r\n\1\1"), true},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t\1\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t\1\1x"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,auth=Bearer t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("p=tls-exporter,,\1auth=Bearer t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,x,\1auth=Bearer t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,user=x,\1auth=Bearer t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,a=x=y,\1auth=Bearer t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,a=\xff,\1auth=Bearer t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t\1auth=Bearer u\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1=x\1auth=Bearer t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1host\1auth=Bearer t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1host=x\2y\1auth=Bearer t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1host=x\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("\1"), false},
        {"OAUTHBEARER", VR_STR_INIT(""), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Basic dDp0\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=t\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer \1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer ==\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t u\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t=u\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t\0u\1\1"), false},
        {"OAUTHBEARER", VR_STR_INIT("n,,\1auth=Bearer t\"\1\1"), false},
        {"XOAUTH2", VR_STR_INIT("user=ann\1auth=Bearer t\1\1"), true},
        {"XOAUTH2", VR_STR_INIT("user=ann\1auth=Bearer t\1\1\1"), false},
        {"XOAUTH2", VR_STR_INIT("user=\1auth=Bearer t\1\1"), false},
        {"XOAUTH2", VR_STR_INIT("user=ann"), false},
        {"XOAUTH2", VR_STR_INIT("user=ann\1"), false},
        {"XOAUTH2", VR_STR_INIT("auth=Bearer t\1user=ann\1\1"), false},
        {"XOAUTH2", VR_STR_INIT("user=an\0n\1auth=Bearer t\1\1"), false},
        {"XOAUTH2", VR_STR_INIT(""), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int challenged = 0; challenged < 2; challenged++) {
            struct vr_str out;
            struct sasl_server *s = server_with(rows[i].mechanism, (struct sasl_server_config){0});
            if (challenged) {
                assert_int_equal(sasl_server_step(s, vr_str(NULL, 0), false, &out), SASL_CHALLENGE);
                assert_int_equal(out.n, 0);
            }
            enum sasl_step step = sasl_server_step(s, rows[i].message, true, &out);
            if (step != (rows[i].good ? SASL_NEED_TOKEN : SASL_FAILED))
                fail_msg("row %zu: %d %s", i, step, sasl_server_why(s));
            assert_int_equal(sasl_server_malformed(s), !rows[i].good);
            sasl_server_free(s);
        }
}

/* Whatever follows a refused token, it stays refused. */
static void test_after_a_refusal(void **state)
{
    (void)state;
    static const char *const answers[] = {"\1", "", "n,,\1auth=Bearer ya29.A-b_c~d+e/f==\1\1"};
    for (size_t i = 0; i < 3; i++) {
        struct vr_str out;
        struct sasl_server *s = server_with("OAUTHBEARER", (struct sasl_server_config){0});
        enum sasl_step step = sasl_server_step(s, VR_STR("n,,\1auth=Bearer x\1\1"), true, &out);
        assert_int_equal(sasl_owner_settle(&ann, s, step, &out), SASL_CHALLENGE);
        assert_int_equal(sasl_server_step(s, vr_str_from(answers[i]), true, &out), SASL_FAILED);
        sasl_server_free(s);
    }
}

/* ---- CRAM-MD5 ------------------------------------------------------------------------------------------------------------- */

static void test_cram_messages(void **state)
{
    (void)state;
    static const struct {
        const char *response;
        bool good;
    } rows[] = {
        {"ann 0123456789abcdef0123456789abcdef", true},
        {"ann b c 0123456789abcdef0123456789abcdef", true}, /* a name with blanks */
        {"ann 0123456789ABCDEF0123456789abcdef", true},     /* well-formed enough to be wrong */
        {"ann 0123456789abcdef0123456789abcde", false},
        {"ann 0123456789abcdef0123456789abcdef0", false},
        {" 0123456789abcdef0123456789abcdef", false},
        {"0123456789abcdef0123456789abcdef", false},
        {"ann", false},
        {"", false},
        {"a\nnn 0123456789abcdef0123456789abcdef", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str out;
        struct sasl_server *s = server_with("CRAM-MD5", (struct sasl_server_config){0});
        assert_int_equal(sasl_server_step(s, vr_str(NULL, 0), false, &out), SASL_CHALLENGE);
        assert_str(out, "<5208208757389214273.5786930140093827657@mail.example.org>");
        enum sasl_step step = sasl_server_step(s, vr_str_from(rows[i].response), true, &out);
        if (step != (rows[i].good ? SASL_NEED_CRAM : SASL_FAILED))
            fail_msg("row %zu: %d %s", i, step, sasl_server_why(s));
        if (rows[i].good)
            assert_int_equal(sasl_owner_settle(&ann, s, step, &out), SASL_FAILED);
        assert_int_equal(sasl_server_malformed(s), !rows[i].good);
        sasl_server_free(s);
    }
    struct vr_str out;
    struct sasl_server *s = server_with("CRAM-MD5", (struct sasl_server_config){0});
    assert_int_equal(sasl_server_step(s, VR_STR("ann"), true, &out), SASL_FAILED); /* AUTH CRAM-MD5 YW5u */
    sasl_server_free(s);
}

/* ---- what clients do not begin ---------------------------------------------------------------------------------------------- */

static void test_clients_not_made(void **state)
{
    (void)state;
    static const struct {
        const char *mechanism;
        struct sasl_client_config config;
    } rows[] = {
        {"OAUTHBEARER", {.user = VR_STR_INIT("ann")}},
        {"OAUTHBEARER", {.user = VR_STR_INIT("ann"), .token = VR_STR_INIT("a b")}},
        {"OAUTHBEARER", {.user = VR_STR_INIT("ann"), .token = VR_STR_INIT("a\1auth=x")}},
        {"OAUTHBEARER", {.token = VR_STR_INIT("t"), .host = VR_STR_INIT("a\1b")}},
        {"XOAUTH2", {.token = VR_STR_INIT("t")}},
        {"XOAUTH2", {.user = VR_STR_INIT("a\1b"), .token = VR_STR_INIT("t")}},
        {"EXTERNAL", {.user = VR_STR_INIT("a\nb")}},
        {"CRAM-MD5", {.user = VR_STR_INIT("ann")}},
        {"SCRAM-SHA-1-PLUS", {.user = VR_STR_INIT("ann"), .password = VR_STR_INIT("p")}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (sasl_client_new(vr_str_from(rows[i].mechanism), &rows[i].config) != NULL)
            fail_msg("row %zu", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_external),         cmocka_unit_test(test_token_refusals),
        cmocka_unit_test(test_token_alone),      cmocka_unit_test(test_token_messages),
        cmocka_unit_test(test_after_a_refusal),  cmocka_unit_test(test_cram_messages),
        cmocka_unit_test(test_clients_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
