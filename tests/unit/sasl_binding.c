/* sasl_binding.c - SCRAM with channel binding: each type, somebody between, lists that were shortened on the way. */
#include "sasl_exchange.h"

/* ---- channel binding -------------------------------------------------------------------------------------------------- */

#define NOTHING                                                                                              \
    {                                                                                                        \
        NULL, 0                                                                                              \
    }

static void test_binding(void **state)
{
    (void)state;
    static const struct {
        const char *mechanism;
        struct sasl_binding ours, theirs;
        bool plus_offered, plus_unseen;
        enum outcome outcome;
        const char *why;
    } rows[] = {
        /* each type, and the order in which a client takes them */
        {"SCRAM-SHA-256-PLUS",
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         true,
         false,
         BOTH,
         ""},
        {"SCRAM-SHA-1-PLUS",
         {NOTHING, VR_STR_INIT("u"), NOTHING},
         {NOTHING, VR_STR_INIT("u"), NOTHING},
         true,
         false,
         BOTH,
         ""},
        {"SCRAM-SHA-256-PLUS",
         {NOTHING, NOTHING, VR_STR_INIT("h")},
         {NOTHING, NOTHING, VR_STR_INIT("h")},
         true,
         false,
         BOTH,
         ""},
        {"SCRAM-SHA-256-PLUS",
         {VR_STR_INIT("e"), VR_STR_INIT("u"), VR_STR_INIT("h")},
         {VR_STR_INIT("x"), VR_STR_INIT("u"), VR_STR_INIT("x")},
         true,
         false,
         BOTH,
         ""},
        {"SCRAM-SHA-256-PLUS",
         {VR_STR_INIT("e"), NOTHING, VR_STR_INIT("h")},
         {VR_STR_INIT("e"), NOTHING, VR_STR_INIT("x")},
         true,
         false,
         BOTH,
         ""},
        /* somebody stands between: his TLS with each side is another */
        {"SCRAM-SHA-256-PLUS",
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         {VR_STR_INIT("f"), NOTHING, NOTHING},
         true,
         false,
         SERVER_REFUSED,
         "the channel binding is another connection's: somebody stands between"},
        {"SCRAM-SHA-1-PLUS",
         {NOTHING, NOTHING, VR_STR_INIT("hash")},
         {NOTHING, NOTHING, VR_STR_INIT("hash of his")},
         true,
         false,
         SERVER_REFUSED,
         "the channel binding is another connection's: somebody stands between"},
        {"SCRAM-SHA-1-PLUS",
         {NOTHING, NOTHING, VR_STR_INIT("hash")},
         {NOTHING, NOTHING, VR_STR_INIT("has")},
         true,
         false,
         SERVER_REFUSED,
         "the channel binding is another connection's: somebody stands between"},
        /* a type that the server has not for this connection */
        {"SCRAM-SHA-256-PLUS",
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         {NOTHING, NOTHING, VR_STR_INIT("h")},
         true,
         false,
         SERVER_REFUSED,
         "this connection has no such channel binding"},
        /* he took -PLUS out of the list: a client that could have bound says so */
        {"SCRAM-SHA-256",
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         {VR_STR_INIT("f"), NOTHING, NOTHING},
         true,
         true,
         SERVER_REFUSED,
         "the client was not shown that -PLUS is offered: somebody stands between"},
        /* nobody offered it: "y" is fine. And who could not have bound says "n", which is fine too */
        {"SCRAM-SHA-256",
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         false,
         true,
         BOTH,
         ""},
        {"SCRAM-SHA-1",
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         {NOTHING, NOTHING, NOTHING},
         true,
         true,
         BOTH,
         ""},
        {"SCRAM-SHA-256",
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         {VR_STR_INIT("e"), NOTHING, NOTHING},
         true,
         false,
         BOTH,
         ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct exchange e = {.mechanism = rows[i].mechanism,
                             .user = ann.user,
                             .password = ann.password,
                             .ours = rows[i].ours,
                             .theirs = rows[i].theirs,
                             .plus_offered = rows[i].plus_offered,
                             .plus_unseen = rows[i].plus_unseen};
        enum outcome got = run(&e);
        if (got != rows[i].outcome || strcmp(e.why, rows[i].why) != 0)
            fail_msg("row %zu: %d %s", i, got, e.why);
    }
}

/* First messages: the flag must fit the mechanism. */
static void test_flags(void **state)
{
    (void)state;
    static const struct {
        const char *mechanism, *first;
        bool plus_offered;
        enum sasl_step step;
    } rows[] = {
        {"SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=ann,r=abc", true, SASL_NEED_SCRAM},
        {"SCRAM-SHA-256-PLUS", "p=tls-unique,,n=ann,r=abc", true, SASL_FAILED}, /* not of this connection */
        {"SCRAM-SHA-256-PLUS", "p=tls-server-end-point,a=ann,n=ann,r=abc", true, SASL_NEED_SCRAM},
        {"SCRAM-SHA-256-PLUS", "p=tls-server-end-point,a=bob,n=ann,r=abc", true, SASL_FAILED},
        {"SCRAM-SHA-256-PLUS", "p=TLS-exporter,,n=ann,r=abc", true, SASL_FAILED},
        {"SCRAM-SHA-256-PLUS", "p=,,n=ann,r=abc", true, SASL_FAILED},
        {"SCRAM-SHA-256-PLUS", "p,,n=ann,r=abc", true, SASL_FAILED},
        {"SCRAM-SHA-256-PLUS", "n,,n=ann,r=abc", true, SASL_FAILED},
        {"SCRAM-SHA-256-PLUS", "y,,n=ann,r=abc", true, SASL_FAILED},
        {"SCRAM-SHA-256", "p=tls-exporter,,n=ann,r=abc", true, SASL_FAILED},
        {"SCRAM-SHA-256", "y,,n=ann,r=abc", true, SASL_FAILED},
        {"SCRAM-SHA-256", "y,,n=ann,r=abc", false, SASL_NEED_SCRAM},
        {"SCRAM-SHA-256", "n,,n=ann,r=abc", true, SASL_NEED_SCRAM},
        {"SCRAM-SHA-1", "n,a==2C,n==2C,r=abc", true, SASL_NEED_SCRAM},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str out;
        struct sasl_server *s = server_with(
            rows[i].mechanism, (struct sasl_server_config){.binding = {.tls_exporter = VR_STR("e"),
                                                                       .tls_server_end_point = VR_STR("h")},
                                                           .plus_offered = rows[i].plus_offered});
        enum sasl_step step = sasl_server_step(s, vr_str_from(rows[i].first), true, &out);
        if (step != rows[i].step)
            fail_msg("row %zu: %d %s", i, step, sasl_server_why(s));
        sasl_server_free(s);
    }
}

/* Data that is too long for any hash is none, on both sides. */
static void test_binding_bounds(void **state)
{
    (void)state;
    char big[SASL_BINDING_MAX + 1];
    memset(big, 'b', sizeof big);
    struct exchange e = {.mechanism = "SCRAM-SHA-256-PLUS", .user = ann.user, .password = ann.password};
    e.ours.tls_exporter = e.theirs.tls_exporter = vr_str(big, SASL_BINDING_MAX);
    assert_int_equal(run(&e), BOTH);
    e.ours.tls_exporter = vr_str(big, sizeof big);
    assert_int_equal(run(&e), SERVER_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_binding),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_binding_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
