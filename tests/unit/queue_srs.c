/* queue_srs.c - reverse paths of copies that an alias forwards, and reports to them, with the queue as a process of its own. */
#include "queue_testing.h"

#include <veredus/srs.h>

static int setup_srs(void **state)
{
    (void)state;
    assert_true(folder_new(folder));
    config_make("team: ann, bob, carol@far.example\nout: carol@far.example\ninside: x@lmtp.example\n");
    config->srs.domain = VR_STR("home.example");
    config->srs.max_age = (int64_t)21 * 86400 * 1000;
    config->srs.secrets[0] = vr_arena_dup(&config->arena, VR_STR("secret"));
    config->srs.secret_count = 1;
    io = io_new(1);
    vr_arena_init(&arena, 64u << 20);
    start_queue(true);
    return 0;
}

/* The address that the queue must have made of this sender. */
static const char *rewritten(const char *sender)
{
    struct srs srs = config_srs(config);
    struct address a, out;
    const char *why;
    assert_int_equal(address_parse(&arena, vr_str_from(sender), 0, &a, &why), VR_OK);
    assert_int_equal(srs_forward(&srs, &a, io_now_us(io) / 1000000, &arena, &out), VR_OK);
    return address_text(&arena, &out).p;
}

static void expect(struct side *s, const char *from, const char *to)
{
    struct delivery d = expect_delivery(s);
    assert_true(vr_str_equal(d.reverse_path, vr_str_from(from)));
    assert_int_equal(d.rcpt_count, 1);
    assert_true(vr_str_equal(d.rcpts[0].address, vr_str_from(to)));
    answer(s, &d, DELIVERY_OK, 250, "2.0.0", "ok");
}

static void test_forwarded(void **state)
{
    (void)state;
    submit(&(struct mail){.from = "joe@strange.example", .to = {"out@home.example"}});
    expect(&sides[SENDER], rewritten("joe@strange.example"), "carol@far.example");
    submit(&(struct mail){.from = "SRS0=abcd=EF=x.example=joe@strange.example", .to = {"out@home.example"}});
    expect(&sides[SENDER], rewritten("SRS0=abcd=EF=x.example=joe@strange.example"), "carol@far.example");
}

static void test_left_alone(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"joe@strange.example", "carol@far.example", "carol@far.example"}, /* no alias */
        {"ann@home.example", "out@home.example", "carol@far.example"},     /* our own sender */
        {"ann@lmtp.example", "out@home.example", "carol@far.example"},
        {"", "out@home.example", "carol@far.example"},                    /* a report */
        {"joe@strange.example", "inside@home.example", "x@lmtp.example"}, /* a domain of ours */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        submit(&(struct mail){.from = rows[i][0], .to = {rows[i][1]}});
        expect(&sides[SENDER], rows[i][0], rows[i][2]);
    }
}

/* A delivery has one reverse path: recipients of both kinds at one destination go in two, mailboxes see the sender. */
static void test_mixed(void **state)
{
    (void)state;
    const char *srs = rewritten("joe@strange.example");
    submit(&(struct mail){.from = "joe@strange.example",
                          .to = {"team@home.example", "dave@far.example", "eve@far.example"}});
    struct delivery d = expect_delivery(&sides[LOCAL]);
    assert_true(vr_str_equal(d.reverse_path, VR_STR("joe@strange.example")));
    assert_int_equal(d.rcpt_count, 2);
    bool forwarded = false, direct = false;
    for (int i = 0; i < 2; i++) {
        d = expect_delivery(&sides[SENDER]);
        if (vr_str_equal(d.reverse_path, vr_str_from(srs))) {
            forwarded = d.rcpt_count == 1 && vr_str_equal(d.rcpts[0].address, VR_STR("carol@far.example"));
        } else {
            assert_true(vr_str_equal(d.reverse_path, VR_STR("joe@strange.example")));
            direct = d.rcpt_count == 2;
        }
        answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.0.0", "ok");
    }
    assert_true(forwarded && direct);
    assert_quiet(&sides[SENDER], 60);
}

/* Our report goes to the sender, not to the address that the next hop was told. */
static void test_our_report(void **state)
{
    (void)state;
    submit(&(struct mail){.from = "joe@strange.example", .to = {"out@home.example"}});
    struct delivery d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.1.1", "no carol");
    d = expect_dsn(&sides[SENDER]);
    assert_int_equal(d.reverse_path.n, 0);
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("joe@strange.example")));
}

/* A report comes back: it goes to the sender, also when the address is too old by now; what is not ours leads nowhere. */
static void test_report_comes_back(void **state)
{
    (void)state;
    submit(&(struct mail){.from = "", .to = {rewritten("joe@strange.example")}});
    expect(&sides[SENDER], "", "joe@strange.example");
    submit(&(struct mail){.from = "", .to = {"SRS0=AAAA=AA=strange.example=joe@home.example"}});
    struct delivery d = expect_delivery(&sides[LOCAL]); /* which finds no such mailbox */
    assert_true(
        vr_str_equal_nocase(d.rcpts[0].address, VR_STR("SRS0=AAAA=AA=strange.example=joe@home.example")));
    assert_quiet(&sides[SENDER], 60);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_srs, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_forwarded), CASE(test_left_alone), CASE(test_mixed),
                                       CASE(test_our_report), CASE(test_report_comes_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
