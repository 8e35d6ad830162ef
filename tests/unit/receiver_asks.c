/* receiver_asks.c - whom XCLIENT and XFORWARD name; VRFY, EXPN, ETRN; solicitations that are not wanted.
 */
#include "receiver_testing.h"

/* ---- whom others name ---------------------------------------------------------------------------------------------- */

/* Whom XCLIENT names is the client, for trust too; who may not say it changes nothing. */
static void test_xclient(void **state)
{
    (void)state;
    int fd = greeted(MX, "127.0.0.2");
    ask(fd, "XCLIENT ADDR=192.0.2.7\r\n", "550 5.7.0");
    close(fd);
    fd = greeted(MX, "127.0.0.1");
    ask(fd, "XCLIENT NAME=host.example ADDR=192.0.2.7 HELO=he(lo\r\n", "220 mail.example.org ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "503 ");
    ask(fd, "EHLO host.example\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", "250 "); /* trusted */
    struct vr_str frame = submitted_frame(fd);
    assert_true(contains(frame, "from host.example (host.example [192.0.2.7])"));
    assert_false(contains(frame, "127.0.0.1"));
    close(fd);
    fd = greeted(MX, "127.0.0.1");
    ask(fd, "XCLIENT ADDR=IPV6:2001:db8::1\r\n", "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", "554 5.7.1");
    ask(fd, "RSET\r\n", "250 ");
    ask(fd, "XCLIENT ADDR=[UNAVAILABLE]\r\n",
        "220 "); /* again, from the same proxy; it is nobody whom we know */
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", "554 5.7.1");
    close(fd);
}

/* LOGIN is a login, until another XCLIENT. */
static void test_xclient_login(void **state)
{
    (void)state;
    int fd = greeted(SUBMISSION, "127.0.0.1");
    ask(fd, "XCLIENT ADDR=198.51.100.1 LOGIN=ann@example.org\r\n", "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "VRFY team@example.org\r\n", "250 2.1.5 <team@example.org>");
    ask(fd, "MAIL FROM:<ann@example.org>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", "250 ");
    assert_true(contains(submitted_frame(fd), "with ESMTPA id "));
    close(fd);
    fd = greeted(SUBMISSION, "127.0.0.1");
    ask(fd, "XCLIENT LOGIN=ann@example.org\r\n", "220 ");
    ask(fd, "XCLIENT ADDR=198.51.100.1\r\n", "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<ann@example.org>\r\n", "530 5.7.0");
    ask(fd, "VRFY team@example.org\r\n", "252 ");
    close(fd);
}

/* The limit of an address is that of the named one. */
static void test_xclient_crowd(void **state)
{
    (void)state;
    int held[4];
    for (size_t i = 0; i < 4; i++) {
        held[i] = greeted(MX, "127.0.0.1");
        ask(held[i], "XCLIENT ADDR=192.0.2.7\r\n", i < 3 ? "220 " : "421 4.7.0");
    }
    expect(held[3], "");
    int more = greeted(MX, "127.0.0.1"); /* the proxy's own address has room */
    close(more);
    for (size_t i = 0; i < 4; i++)
        close(held[i]);
    expect_in_all(0);
}

static void test_xforward(void **state)
{
    (void)state;
    int fd = greeted(MX, "127.0.0.2");
    ask(fd, "XFORWARD ADDR=192.0.2.7\r\n", "550 5.7.0");
    close(fd);
    fd = greeted(MX, "127.0.0.1");
    ask(fd, "XFORWARD NAME=host.example ADDR=IPV6:2001:db8::7 HELO=helo.example\r\n", "250 ");
    ask(fd, "XFORWARD IDENT=4C3D(8129A8\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@relay.example>\r\n", "250 ");
    struct vr_str frame = submitted_frame(fd);
    assert_true(
        contains(frame, "(forwarded for host.example [IPv6:2001:db8::7] helo helo.example id 4C3D?8129A8)"));
    assert_true(contains(frame, "([127.0.0.1])")); /* it is still the client */
    close(fd);
}

/* ---- what clients may ask ------------------------------------------------------------------------------------------ */

static void test_vrfy_nobody(void **state)
{
    (void)state;
    int fd = greeted(MX, "127.0.0.1");
    ask(fd, "VRFY team@example.org\r\n", "252 ");
    ask(fd, "VRFY nobody@example.org\r\n", "252 ");
    ask(fd, "EXPN team@example.org\r\n", "252 ");
    assert_int_equal(keeper.count, 0);
    close(fd);
}

static void test_vrfy_everybody(void **state)
{
    (void)state;
    static const struct {
        const char *question;
        int keeper; /* -1: is not asked */
        const char *reply;
    } rows[] = {
        {"VRFY team@example.org\r\n", -1, "250 2.1.5 <team@example.org>"},
        {"VRFY Ann Smith <ann+news@Example.org>\r\n", IPC_YES, "250 2.1.5 <ann@example.org>"},
        {"VRFY bob@example.org\r\n", IPC_NO, "550 5.1.1"},
        {"VRFY bob@example.org\r\n", IPC_LATER, "451 4.3.0"},
        {"VRFY any@relay.example\r\n", -1, "252 2.1.5"},
        {"VRFY x@elsewhere.example\r\n", -1, "550 5.7.1"},
        {"VRFY ann\r\n", -1, "553 5.1.3"}, /* there are several domains */
        {"VRFY <ann\r\n", -1, "553 5.1.3"},
        {"VRFY a b@example.org\r\n", -1, "501 5.1.3"},
        {"VRFY postmaster\r\n", -1, "250 2.1.5 <postmaster>"},
        {"VRFY <POSTMASTER>\r\n", -1, "250 2.1.5 <postmaster>"},
        {"EXPN team@example.org\r\n", -1, "252 2.5.2"}, /* lists are for those whom we know */
    };
    int fd = greeted(MX, "127.0.0.1");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        say(fd, rows[i].question);
        if (rows[i].keeper >= 0) {
            struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
            answer(ipc_get_u64(&r), (enum ipc_answer)rows[i].keeper);
        }
        print_message("%s", rows[i].question);
        expect(fd, rows[i].reply);
    }
    say(fd, "VRFY bob@example.org\r\n");
    receive(&keeper, IPC_MAILBOX_ASK);
    detach(&keeper);
    expect(fd, "451 4.3.0");
    ask(fd, "VRFY bob@example.org\r\n", "451 4.3.0");
    attach(&keeper);
    run(100);
    close(fd);
}

/* Who logged in, or is trusted, sees lists; before that nobody does. */
static void test_expn(void **state)
{
    (void)state;
    int fd = user();
    say(fd, "EXPN team@example.org\r\n");
    expect(fd, "250 2.1.5 <carol@elsewhere.example>"); /* the last of them */
    ask(fd, "EXPN TEAM@example.org\r\n", "250 2.1.5 <carol@elsewhere.example>");
    ask(fd, "EXPN ann@example.org\r\n", "550 5.1.1");
    ask(fd, "EXPN pipe@example.org\r\n", "252 2.1.5");
    ask(fd, "EXPN team@elsewhere.example\r\n", "550 5.1.1");
    ask(fd, "VRFY x@elsewhere.example\r\n", "252 2.1.5");
    ask(fd, "EHLO c.test\r\n", "250 ");
    close(fd);
    fd = greeted(MX, "127.0.0.2");
    ask(fd, "EXPN team@example.org\r\n", "252 2.5.2");
    close(fd);
    fd = greeted(MX, "127.0.0.1"); /* trusted */
    ask(fd, "EXPN team@example.org\r\n", "250 2.1.5 <carol@elsewhere.example>");
    close(fd);
}

static void flushed(uint64_t question, enum ipc_flushed what, uint64_t count)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, question);
    ipc_put_u8(&b, (uint8_t)what);
    ipc_put_u64(&b, count);
    io_channel_send(queue.channel, IPC_FLUSHED, vr_buf_str(&b), -1);
    io_channel_flush(queue.channel);
    vr_buf_fini(&b);
}

static uint64_t expect_flush(enum ipc_flush kind, const char *name)
{
    struct ipc_reader r = receive(&queue, IPC_FLUSH);
    uint64_t question = ipc_get_u64(&r);
    assert_int_equal(ipc_get_u8(&r), kind);
    struct vr_str what = ipc_get_str(&r);
    if (!vr_str_equal(what, vr_str_from(name)))
        fail_msg("the queue is asked for \"%.*s\"", VR_STR_ARG(what));
    assert_true(ipc_done(&r));
    return question;
}

static void test_etrn(void **state)
{
    (void)state;
    int fd = greeted(MX, "127.0.0.1");
    say(fd, "ETRN relay.example\r\n");
    flushed(expect_flush(IPC_FLUSH_DOMAIN, "relay.example"), IPC_FLUSH_COUNTED, 0);
    expect(fd, "251 2.0.0 no messages wait for relay.example");
    say(fd, "ETRN Branch.Example\r\n");
    flushed(expect_flush(IPC_FLUSH_DOMAIN, "Branch.Example"), IPC_FLUSH_COUNTED, 14);
    expect(fd, "253 2.0.0 14 pending messages for Branch.Example started");
    say(fd, "ETRN @relay.example\r\n");
    flushed(expect_flush(IPC_FLUSH_BELOW, "relay.example"), IPC_FLUSH_STARTED, 0);
    expect(fd, "250 2.0.0 queuing for relay.example started");
    say(fd, "ETRN x.branch.example\r\n"); /* by the route of all below */
    flushed(expect_flush(IPC_FLUSH_DOMAIN, "x.branch.example"), IPC_FLUSH_BUSY, 0);
    expect(fd, "458 4.3.0");
    say(fd, "ETRN #branch.example\r\n");
    flushed(expect_flush(IPC_FLUSH_DESTINATION, "smtp:192.0.2.9:25"), IPC_FLUSH_COUNTED, 1);
    expect(fd, "253 2.0.0 1 ");
    say(fd, "ETRN #.branch.example\r\n");
    flushed(expect_flush(IPC_FLUSH_BELOW, "branch.example"), IPC_FLUSH_COUNTED, 1);
    expect(fd, "253 2.0.0 1 ");
    ask(fd, "ETRN elsewhere.example\r\n", "459 4.7.1");
    ask(fd, "ETRN closed.branch.example\r\n", "459 4.7.1");
    ask(fd, "ETRN @branch.example\r\n", "459 4.7.1"); /* one below is closed */
    ask(fd, "ETRN #nothing\r\n", "459 4.7.1");
    close(fd);
    fd = greeted(MX, "127.0.0.2");
    ask(fd, "ETRN relay.example\r\n", "459 4.7.1");
    say(fd, "ETRN branch.example\r\n");
    uint64_t question = expect_flush(IPC_FLUSH_DOMAIN, "branch.example");
    detach(&queue);
    expect(fd, "458 4.3.0");
    ask(fd, "ETRN branch.example\r\n", "458 4.3.0");
    attach(&queue);
    run(100);
    flushed(question, IPC_FLUSH_COUNTED, 3); /* comes too late, for nobody */
    ask(fd, "NOOP\r\n", "250 ");
    close(fd);
    fd = greeted(MX, "127.0.0.9");
    ask(fd, "ETRN relay.example\r\n", "502 5.5.1");
    close(fd);
}

/* By the account, wherever it comes from. */
static void test_etrn_account(void **state)
{
    (void)state;
    int fd = client_from(SUBMISSION, "127.0.0.9");
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "ETRN relay.example\r\n", "502 5.5.1");
    say(fd, "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBwZW5jaWw=\r\n");
    struct ipc_reader r = receive(&keeper, IPC_SASL_START);
    sasl_done(ipc_get_u64(&r), IPC_SASL_OK, "ann@example.org");
    expect(fd, "235 ");
    say(fd, "ETRN relay.example\r\n");
    flushed(expect_flush(IPC_FLUSH_DOMAIN, "relay.example"), IPC_FLUSH_COUNTED, 2);
    expect(fd, "253 2.0.0 2 ");
    ask(fd, "ETRN @relay.example\r\n", "459 4.7.1"); /* sub.relay.example is not hers */
    close(fd);
}

/* ---- NO-SOLICITING --------------------------------------------------------------------------------------------------- */

static void test_solicitations(void **state)
{
    (void)state;
    int fd = greeted(MX, "127.0.0.1");
    ask(fd, "MAIL FROM:<x@elsewhere.example> SOLICIT=com.example:X,org.example:adv\r\n",
        "550 5.7.1 SOLICIT=org.example:adv ");
    ask(fd, "MAIL FROM:<x@elsewhere.example> SOLICIT=org.example:ADV:ADLT\r\n", "250 "); /* another keyword */
    ask(fd, "RCPT TO:<y@relay.example>\r\n", "250 ");
    assert_true(contains(submitted_frame(fd), "(SOLICIT=org.example:ADV:ADLT)"));
    close(fd);
    fd = greeted(MX, "127.0.0.1");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@relay.example>\r\n", "250 ");
    ask(fd, "DATA\r\n", "354 ");
    ask(fd, "Solicitation: com.example:X,\r\n ORG.example:ADV\r\n\r\n.\r\n",
        "550 5.7.1 SOLICIT=ORG.example:ADV ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 "); /* the session goes on */
    ask(fd, "RCPT TO:<y@relay.example>\r\n", "250 ");
    ask(fd, "DATA\r\n", "354 ");
    say(fd, "Solicitation: com.example:X\r\n\r\n.\r\n");
    struct vr_str frame = receive(&queue, IPC_SUBMIT).rest;
    assert_true(
        contains(frame, "(SOLICIT=com.example:X)")); /* of a client that does not know the parameter */
    close(fd);
    assert_int_equal(queue.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(
            test_xclient, start, stop,
            "xclient = \"127.0.0.1\"\nxforward = \"127.0.0.1\"\ntrusted = \"192.0.2.0/24\"\nvrfy = known\n"),
        cmocka_unit_test_prestate_setup_teardown(
            test_xclient_login, start, stop,
            "xclient = \"127.0.0.1\"\nxforward = \"127.0.0.1\"\ntrusted = \"192.0.2.0/24\"\nvrfy = known\n"),
        cmocka_unit_test_prestate_setup_teardown(
            test_xclient_crowd, start, stop,
            "xclient = \"127.0.0.1\"\nlimits { connections_per_address = 3 }\n"),
        cmocka_unit_test_prestate_setup_teardown(
            test_xforward, start, stop,
            "xclient = \"127.0.0.1\"\nxforward = \"127.0.0.1\"\ntrusted = \"192.0.2.0/24\"\nvrfy = known\n"),
        cmocka_unit_test_setup_teardown(test_vrfy_nobody, start, stop),
        cmocka_unit_test_prestate_setup_teardown(test_vrfy_everybody, start, stop,
                                                 "vrfy = everybody\nexpn = known\n"),
        cmocka_unit_test_prestate_setup_teardown(test_expn, start, stop,
                                                 "vrfy = known\nexpn = known\ntrusted = \"127.0.0.1\"\n"),
        cmocka_unit_test_setup_teardown(test_etrn, start, stop),
        cmocka_unit_test_setup_teardown(test_etrn_account, start, stop),
        cmocka_unit_test_prestate_setup_teardown(
            test_solicitations, start, stop,
            "no_soliciting = { \"net.example:ADV\", \"org.example:ADV\" }\n"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
