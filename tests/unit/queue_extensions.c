/* queue_extensions.c - what extensions ask of the queue, with the queue as a process of its own: who is told what (RFC 3461 §5.2, as a table),
 * FUTURERELEASE (RFC 4865), DELIVERBY (RFC 2852), reports about messages that require TLS (RFC 8689 §5).
 */
#include "queue_testing.h"

#include <veredus/smtp.h>

/* ---- RFC 3461 §5.2 --------------------------------------------------------------------------------------------------- */

enum { S = DSN_NOTIFY_SUCCESS, F = DSN_NOTIFY_FAILURE, D = DSN_NOTIFY_DELAY, NEVER = DSN_NOTIFY_NEVER };

static void expect_report(const char *action)
{
    if (action == NULL) {
        assert_quiet(&sides[SENDER], 60);
        return;
    }
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    char line[40];
    snprintf(line, sizeof line, "Action: %s\r\n", action);
    if (!contains(dsn.content, line))
        fail_msg("expected \"%s\" in %.*s", action, VR_STR_ARG(dsn.content));
    assert_int_equal(dsn.rcpts[0].notify, DSN_NOTIFY_NEVER); /* §6.1 */
    assert_int_equal(dsn.ret, DSN_RET_NONE);
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
}

static void test_who_is_told(void **state)
{
    (void)state;
    static const char *const far = "b@far.example", *const box = "ann@home.example",
                             *const lmtp = "c@lmtp.example";
    const struct {
        const char *to;
        uint32_t notify;
        bool dsn; /* the next hop offers it */
        enum delivery_status status;
        const char *action; /* NULL: nobody is told */
    } rows[] = {
        {far, 0, false, DELIVERY_OK, NULL},      /* §5.2.2 (e) */
        {far, S, false, DELIVERY_OK, "relayed"}, /* (b) */
        {far, S | F | D, false, DELIVERY_OK, "relayed"},
        {far, F | D, false, DELIVERY_OK, NULL},
        {far, NEVER, false, DELIVERY_OK, NULL},
        {far, S, true, DELIVERY_OK, NULL},             /* §5.2.1: it is the next hop's */
        {far, 0, false, DELIVERY_PERMANENT, "failed"}, /* §5.2.2 (f) */
        {far, F, false, DELIVERY_PERMANENT, "failed"}, /* (c) */
        {far, F, true, DELIVERY_PERMANENT, "failed"},
        {far, S, false, DELIVERY_PERMANENT, NULL}, /* §5.2.6 (b) */
        {far, S | D, true, DELIVERY_PERMANENT, NULL},
        {far, NEVER, false, DELIVERY_PERMANENT, NULL}, /* §5.2.2 (d) */
        {box, 0, false, DELIVERY_OK, NULL},            /* §5.2.3 (c) */
        {box, S, false, DELIVERY_OK, "delivered"},     /* (a) */
        {box, F | D, false, DELIVERY_OK, NULL},        /* (b) */
        {box, NEVER, false, DELIVERY_OK, NULL},
        {box, F, false, DELIVERY_PERMANENT, "failed"},
        {box, S, false, DELIVERY_PERMANENT, NULL},
        {lmtp, S, false, DELIVERY_OK, "delivered"}, /* an LMTP server without DSN: we speak for it */
        {lmtp, S, true, DELIVERY_OK, NULL},         /* with DSN it does so itself, not both */
        {lmtp, 0, false, DELIVERY_OK, NULL},
        {lmtp, 0, true, DELIVERY_PERMANENT, "failed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct side *to = &sides[rows[i].to == box ? LOCAL : SENDER];
        submit(&(struct mail){"x@away.example", {rows[i].to}, .notify = rows[i].notify});
        struct delivery d = expect_delivery(to);
        assert_int_equal(d.rcpts[0].notify, rows[i].notify);
        offers_dsn = rows[i].dsn;
        answer(to, &d, rows[i].status, rows[i].status == DELIVERY_OK ? 250 : 550, "", "said");
        offers_dsn = false;
        expect_report(rows[i].action);
        expect_queued(0);
    }
}

/* §6.3: what a report has to say, and that what was not given is not made up. */
static void test_fields(void **state)
{
    (void)state;
    submit(&(struct mail){
        "x@away.example", {"b@far.example"}, .notify = S, .orcpt = "rfc822;B+2Bb@far.example"});
    struct delivery d = expect_delivery(&sides[SENDER]);
    assert_true(
        vr_str_equal(d.rcpts[0].orcpt, VR_STR("rfc822;B+2Bb@far.example"))); /* §5.2.1 (d): as it came */
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "2.1.5", "taken");
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    assert_true(contains(dsn.content, "Original-Envelope-Id: env+id\r\n"));
    assert_true(contains(dsn.content, "Original-Recipient: rfc822;B+b@far.example\r\n"));
    assert_true(contains(dsn.content, "Final-Recipient: rfc822; b@far.example\r\n"));
    assert_true(contains(dsn.content, "Status: 2.1.5\r\n"));
    assert_true(contains(dsn.content, "Remote-MTA: dns; mx.far.example\r\n"));
    assert_true(contains(dsn.content, "Diagnostic-Code: smtp; 250 2.1.5 taken\r\n"));
    assert_true(contains(dsn.content, "text/rfc822-headers"));
    assert_false(contains(dsn.content, "How are you?")); /* §4.3: nothing failed */
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    submit(&(struct mail){"x@away.example", {"b@far.example"}});
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.1.1", "no");
    dsn = expect_dsn(&sides[SENDER]);
    assert_false(contains(dsn.content, "Original-Recipient"));
    assert_false(contains(dsn.content, "Deliver-By-Date"));
    assert_false(contains(dsn.content, "Future-Release-Request"));
    assert_false(contains(dsn.content, "TLS-Required"));
}

/* §5.2.7.2 and §5.2.7.3 (c): what an alias passes on; where the address changed, the next hop hears the one that the sender knows. */
static void test_aliases(void **state)
{
    (void)state;
    drain_queue();
    config_free(config);
    config_make("one: far@far.example\nteam: c@far.example, d@far.example\n");
    start_queue(true);
    submit(&(struct mail){"x@away.example", {"one@home.example"}, .notify = S | F});
    struct delivery d = expect_delivery(&sides[SENDER]);
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("far@far.example")));
    assert_int_equal(d.rcpts[0].notify, S | F);
    assert_true(vr_str_equal(d.rcpts[0].orcpt, VR_STR("rfc822;one@home.example")));
    assert_true(vr_str_equal(d.envid, VR_STR("env+2Bid")));
    offers_dsn = true;
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    offers_dsn = false;
    expect_queued(0); /* no report of ours */
    submit(&(struct mail){"x@away.example", {"team@home.example"}, .notify = S | D, .orcpt = "rfc822;Team"});
    bool expanded = false;
    for (int i = 0; i < 2; i++) {
        d = expect_delivery(&sides[SENDER]);
        if (d.reverse_path.n == 0) {
            assert_true(contains(d.content, "Action: expanded\r\n"));
            assert_true(contains(d.content, "Original-Recipient: rfc822;Team\r\n"));
            assert_false(contains(d.content, "Last-Attempt-Date"));
            expanded = true;
        } else {
            assert_int_equal(d.rcpt_count, 2);
            for (uint32_t k = 0; k < 2; k++) {
                assert_int_equal(d.rcpts[k].notify, D);
                assert_true(vr_str_equal(d.rcpts[k].orcpt, VR_STR("rfc822;Team")));
            }
        }
        answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    }
    assert_true(expanded);
    expect_queued(0);
}

/* RFC 6533: whom a report can be given in what form; what an alias changed is told in the type "utf-8". */
static void test_beyond_ascii(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        uint8_t asks; /* of the report */
        const char *status;
    } rows[] = {
        {"x@away.example", "x@away.example", 0, "\r\nFinal-Recipient: utf-8; j\\x{F6}rg@far.example\r\n"},
        {"x@straße.example", "x@xn--strae-oqa.example", 0, "\r\nContent-Type: message/delivery-status\r\n"},
        {"ö@straße.example", "ö@straße.example", ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER,
         "\r\nFinal-Recipient: utf-8; jörg@far.example\r\n"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        submit(&(struct mail){rows[i].from,
                              {"jörg@far.example"},
                              .asks = ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER,
                              .body = "Subject: Grüße\r\n\r\nx\r\n"});
        struct delivery d = expect_delivery(&sides[SENDER]);
        assert_int_equal(d.asks, ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER);
        answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 0, "5.6.7", "no SMTPUTF8 there");
        struct delivery dsn = expect_dsn(&sides[SENDER]);
        assert_int_equal(dsn.asks, rows[i].asks);
        assert_true(vr_str_equal(dsn.rcpts[0].address, vr_str_from(rows[i].to)));
        assert_true(contains(dsn.content, rows[i].status));
        assert_true(contains(dsn.content, "\r\nStatus: 5.6.7\r\n"));
        assert_true(
            contains(dsn.content, rows[i].asks ? "Subject: Grüße\r\n" : "Subject: Gr=C3=BC=C3=9Fe\r\n"));
        assert_int_equal(vr_str_is_ascii(dsn.content), rows[i].asks == 0);
        answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    }
    expect_queued(0); /* the last result is heard */
    drain_queue();
    config_free(config);
    config_make("jörg: far@straße.example\nbüro: far@xn--strae-oqa.example, b@xn--strae-oqa.example\n");
    start_queue(true);
    submit(
        &(struct mail){"x@away.example", {"Jörg@home.example", "BÜRO@home.example"}, .asks = ENVELOPE_UTF8});
    struct delivery d = expect_delivery(&sides[SENDER]);
    assert_int_equal(d.rcpt_count, 2); /* one destination, and one copy for who is named twice */
    assert_true(vr_str_equal(d.rcpts[0].address, VR_STR("far@straße.example")));
    assert_true(vr_str_equal(d.rcpts[1].address, VR_STR("b@xn--strae-oqa.example")));
    assert_true(vr_str_equal(d.rcpts[0].orcpt, VR_STR("utf-8;Jörg@home.example")));
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    expect_queued(0);
}

/* An expansion that comes after the intake (here a catch-all of several) owes the same report, also after a crash. */
static void test_expanded_later(void **state)
{
    (void)state;
    drain_queue();
    config_free(config);
    config_make("ann: bob, carol@far.example\n");
    start_queue(true);
    submit(&(struct mail){"x@away.example", {"gone@home.example"}, .notify = S});
    struct delivery d = expect_delivery(&sides[LOCAL]);
    answer(&sides[LOCAL], &d, DELIVERY_NO_MAILBOX, 0, "5.1.1", "no such account");
    for (int round = 0; round < 2; round++) {
        unsigned reports = 0, copies = 0;
        for (int i = 0; i < 2; i++) {
            d = expect_delivery(&sides[SENDER]);
            reports += d.reverse_path.n == 0 && contains(d.content, "Action: expanded\r\n") &&
                       contains(d.content, "Final-Recipient: rfc822; gone@home.example\r\n");
            copies +=
                d.reverse_path.n > 0 && d.rcpts[0].notify == NEVER; /* only success was asked for, and told */
            if (round > 0)
                answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
        }
        assert_int_equal(reports, 1);
        assert_int_equal(copies, 1);
        d = expect_delivery(&sides[LOCAL]);
        if (round > 0) {
            answer(&sides[LOCAL], &d, DELIVERY_OK, 0, "", "");
        } else {
            kill_queue();
            start_queue(true);
        }
    }
    expect_queued(0);
    assert_quiet(&sides[SENDER], 100);
}

/* ---- FUTURERELEASE ---------------------------------------------------------------------------------------------------- */

static bool is_held(bool timed)
{
    json_t *l = ask("{\"op\":\"list\",\"held\":true}");
    json_t *m = json_array_get(json_object_get(l, "messages"), 0);
    bool held = m != NULL && json_is_true(json_object_get(m, "held")) &&
                (json_object_get(m, "held_until") != NULL) == timed;
    json_decref(l);
    return held;
}

static void test_held_until(void **state)
{
    (void)state;
    int64_t before = io_now_us(io) / 1000000;
    submit(&(struct mail){"x@away.example", {"b@far.example", "ann@home.example"}, .hold_s = 3});
    assert_quiet(&sides[SENDER], 200);
    assert_true(is_held(true));
    json_decref(ask("{\"op\":\"retry\",\"all\":true}")); /* what is held stays so */
    assert_quiet(&sides[SENDER], 200);
    kill_queue();
    start_queue(true);
    assert_true(is_held(true));
    assert_quiet(&sides[LOCAL], 200);
    struct delivery d = expect_delivery(&sides[SENDER]);
    assert_true(io_now_us(io) / 1000000 >= before + 3);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    d = expect_delivery(&sides[LOCAL]);
    answer(&sides[LOCAL], &d, DELIVERY_OK, 0, "", "");
    expect_queued(0);
}

static void test_held_and_released(void **state)
{
    (void)state;
    submit(&(struct mail){"x@away.example", {"b@far.example"}, .hold_s = 3600, .asks = ENVELOPE_HOLD_FOR});
    json_decref(ask("{\"op\":\"release\",\"all\":true}"));
    struct delivery d = expect_delivery(&sides[SENDER]);
    kill_queue();
    start_queue(true);
    d = expect_delivery(&sides[SENDER]); /* released it stays */
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.1.1", "no");
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    assert_true(contains(dsn.content, "Future-Release-Request: for;3")); /* RFC 4865 §5.1.2 */
    assert_true(contains(dsn.content, "Arrival-Date: "));
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    expect_queued(0);
    /* Whom an administrator holds, no time releases. */
    submit(&(struct mail){"x@away.example", {"b@far.example"}, .hold_s = 1});
    json_decref(ask("{\"op\":\"hold\",\"all\":true}"));
    assert_true(is_held(false));
    assert_quiet(&sides[SENDER], 1500);
    kill_queue();
    start_queue(true);
    assert_true(is_held(false));
    assert_quiet(&sides[SENDER], 300);
    json_decref(ask("{\"op\":\"release\",\"all\":true}"));
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    expect_queued(0);
}

/* ---- DELIVERBY ---------------------------------------------------------------------------------------------------------- */

static void expect_overdue(const char *recipient, const char *words)
{
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    if (!contains(dsn.content, "Action: failed\r\nStatus: 5.4.7\r\n") || !contains(dsn.content, recipient) ||
        !contains(dsn.content, words))
        fail_msg("%.*s", VR_STR_ARG(dsn.content));
    assert_true(contains(dsn.content, "Arrival-Date: ") && contains(dsn.content, "Deliver-By-Date: "));
    assert_true(contains(dsn.content, "the time for its delivery is over"));
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
}

/* RFC 2852 §4.1.3: no attempt more, and a report, wherever the recipient was when its time came. */
static void test_returned(void **state)
{
    (void)state;
    struct mail mail = {
        "x@away.example", {"b@far.example", "c@other.example"}, .by = SMTP_BY_RETURN, .by_seconds = 5};
    submit(&mail);
    struct delivery d = expect_delivery(&sides[SENDER]), second = expect_delivery(&sides[SENDER]);
    assert_int_equal(d.by, SMTP_BY_RETURN);
    assert_true(d.deliver_by >= io_now_us(io) / 1000000);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "greylisted"); /* waits */
    answer(&sides[SENDER], &second, DELIVERY_OK, 250, "", "");
    d = expect_delivery(&sides[SENDER]); /* the first pause is short; with a sender when its time comes */
    run(5100);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "still greylisted");
    expect_overdue("b@far.example", "still greylisted");
    expect_queued(0);

    config->retry[0] = 60000;
    drain_queue();
    start_queue(true);
    mail.to[1] = NULL;
    mail.by_seconds = 2;
    submit(&mail); /* waits for its second attempt */
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "greylisted");
    expect_overdue("b@far.example", "451 4.7.1 greylisted");
    expect_queued(0);

    submit(&(struct mail){"a@home.example",
                          {"b@far.example"}}); /* two at a time: the third stays in the ready queue */
    submit(&(struct mail){"a@home.example", {"b@far.example"}});
    submit(&mail);
    d = expect_delivery(&sides[SENDER]);
    second = expect_delivery(&sides[SENDER]);
    expect_overdue("b@far.example", "could not be handed on in the time");
    answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
    answer(&sides[SENDER], &second, DELIVERY_OK, 250, "", "");
    expect_queued(0);
    assert_quiet(&sides[SENDER], 100);

    submit(&mail); /* its time comes while nobody is there */
    d = expect_delivery(&sides[SENDER]);
    kill_queue();
    run(2100);
    start_queue(true);
    expect_overdue("b@far.example", "could not be handed on in the time");
    expect_queued(0);
    mail.notify = S | D;
    submit(&mail); /* nobody wants to hear of it */
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "greylisted");
    run(2100);
    expect_queued(0);
    assert_quiet(&sides[SENDER], 100);
}

static void expect_late(void)
{
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    if (!contains(dsn.content, "Action: delayed\r\nStatus: 4.4.7\r\n"))
        fail_msg("%.*s", VR_STR_ARG(dsn.content));
    assert_true(contains(dsn.content, "Deliver-By-Date: ") && contains(dsn.content, "Will-Retry-Until: "));
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
}

static void test_told_late(void **state)
{
    (void)state;
    struct mail mail = {"x@away.example", {"b@far.example"}, .by = SMTP_BY_NOTIFY, .by_seconds = 1};
    config->retry[0] = 60000;
    drain_queue();
    start_queue(true);
    submit(&mail);
    struct delivery d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "greylisted");
    expect_late();
    expect_queued(1);
    run(150); /* the lazy commit */
    kill_queue();
    start_queue(true);
    assert_quiet(&sides[SENDER], 300); /* told once */
    json_decref(ask("{\"op\":\"retry\",\"all\":true}"));
    d = expect_delivery(&sides[SENDER]); /* and it goes on */
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "greylisted");
    assert_quiet(&sides[SENDER], 200);
    json_decref(ask("{\"op\":\"remove\",\"all\":true}"));
    submit(&mail); /* with a sender when its time comes */
    d = expect_delivery(&sides[SENDER]);
    run(1100);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "greylisted");
    expect_late();
    json_decref(ask("{\"op\":\"remove\",\"all\":true}"));
    mail.by_seconds = -60; /* it came late: the hop where it became so has told */
    submit(&mail);
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_TEMPORARY, 451, "4.7.1", "greylisted");
    assert_quiet(&sides[SENDER], 300);
}

/* RFC 2852 §4.1.4 */
static void test_relayed_by(void **state)
{
    (void)state;
    static const struct {
        enum smtp_by by;
        uint8_t asks;
        uint32_t notify;
        bool dsn, passed_on;
        const char *action;
    } rows[] = {
        {SMTP_BY_NOTIFY, 0, 0, true, true, NULL},
        {SMTP_BY_NOTIFY, 0, 0, true, false, "relayed"},
        {SMTP_BY_NOTIFY, 0, NEVER, true, false, NULL},
        {SMTP_BY_NOTIFY, 0, S, true, false, "relayed"},
        {SMTP_BY_NOTIFY, 0, S, true, true, NULL},
        {SMTP_BY_RETURN, ENVELOPE_BY_TRACE, 0, true, true, "relayed"},
        {SMTP_BY_RETURN, 0, 0, true, true, NULL},
        {SMTP_BY_NONE, ENVELOPE_BY_TRACE, 0, true, true, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        submit(&(struct mail){"x@away.example",
                              {"b@far.example"},
                              .notify = rows[i].notify,
                              .by = (uint8_t)rows[i].by,
                              .asks = rows[i].asks,
                              .by_seconds = 600});
        struct delivery d = expect_delivery(&sides[SENDER]);
        offers_dsn = rows[i].dsn;
        offers_by = rows[i].passed_on;
        answer(&sides[SENDER], &d, DELIVERY_OK, 250, "", "");
        offers_dsn = offers_by = false;
        expect_report(rows[i].action);
        expect_queued(0);
    }
}

/* ---- REQUIRETLS ----------------------------------------------------------------------------------------------------------- */

/* RFC 8689 §5: a report travels as its message, and shows no more than its header. */
static void test_reports_of_secrets(void **state)
{
    (void)state;
    submit(&(struct mail){
        "x@away.example", {"b@far.example"}, .asks = ENVELOPE_REQUIRE_TLS, .ret = DSN_RET_FULL});
    struct delivery d = expect_delivery(&sides[SENDER]);
    assert_int_equal(d.asks, ENVELOPE_REQUIRE_TLS);
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 0, "5.7.30", "no REQUIRETLS there");
    struct delivery dsn = expect_dsn(&sides[SENDER]);
    assert_int_equal(dsn.asks, ENVELOPE_REQUIRE_TLS);
    assert_false(contains(dsn.content, "How are you?"));
    assert_true(contains(dsn.content, "Subject: hello"));
    assert_false(contains(dsn.content, "TLS-Required"));
    answer(&sides[SENDER], &dsn, DELIVERY_OK, 250, "", "");
    submit(&(struct mail){"x@away.example", {"b@far.example"}, .asks = ENVELOPE_TLS_OPTIONAL});
    d = expect_delivery(&sides[SENDER]);
    answer(&sides[SENDER], &d, DELIVERY_PERMANENT, 550, "5.1.1", "no");
    dsn = expect_dsn(&sides[SENDER]);
    assert_int_equal(dsn.asks, ENVELOPE_TLS_OPTIONAL);
    assert_true(contains(dsn.content, "\r\nTLS-Required: No\r\n"));
    assert_true(contains(dsn.content, "How are you?"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_who_is_told),
        CASE(test_fields),
        CASE(test_aliases),
        CASE(test_beyond_ascii),
        CASE(test_expanded_later),
        CASE(test_held_until),
        CASE(test_held_and_released),
        CASE(test_returned),
        CASE(test_told_late),
        CASE(test_relayed_by),
        CASE(test_reports_of_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
