/* receiver.c - the receiver: its keeper and its queue may be slow, wrong or gone; clients behind proxies; how many clients it takes.
 */
#include "receiver_testing.h"

/* ---- SMTPUTF8 ---------------------------------------------------------------------------------------------------------- */

/* What reaches the queue of a message; the client hears nothing of it. */
static struct envelope submitted(struct vr_arena *arena, const char *mail, const char *rcpt,
                                 const char *message)
{
    struct envelope e;
    int fd = client(MX);
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, mail, "250 2.1.0");
    ask(fd, rcpt, "250 2.1.5");
    ask(fd, "DATA\r\n", "354 ");
    say(fd, message);
    struct ipc_reader r = receive(&queue, IPC_SUBMIT);
    assert_true(ipc_get_envelope(&r, arena, &e));
    close(fd);
    return e;
}

static bool traced(const struct envelope *e, const char *words)
{
    return vr_str_find_str(e->prefix, vr_str_from(words)) != VR_NPOS;
}

/* What is noted of a message (RFC 6531 §3.6), and what Received says of its protocol (§4.3) and, in which form, of whom it is for (§3.7.3). */
static void test_smtputf8(void **state)
{
    (void)state;
    static const struct {
        const char *mail, *rcpt, *message;
        unsigned asks;
        const char *with, *whom; /* NULL: nobody is named */
    } rows[] = {
        {"MAIL FROM:<jörg@x.test> SMTPUTF8\r\n", "RCPT TO:<ö@relay.example>\r\n",
         "Subject: Grüße\r\n\r\nx\r\n.\r\n", ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER, "with UTF8SMTP id",
         "for <ö@relay.example>"},
        /* ASCII after all */
        {"MAIL FROM:<a@x.test> SMTPUTF8\r\n", "RCPT TO:<a@relay.example>\r\n",
         "Subject: x\r\n\r\nGrüße\r\n.\r\n", ENVELOPE_UTF8, "with UTF8SMTP id", "for <a@relay.example>"},
        /* our own field must not be what is beyond ASCII in the header */
        {"MAIL FROM:<a@x.test> SMTPUTF8\r\n", "RCPT TO:<ö@relay.example>\r\n", "Subject: x\r\n\r\nx\r\n.\r\n",
         ENVELOPE_UTF8, "with UTF8SMTP id", NULL},
        {"MAIL FROM:<a@x.test> SMTPUTF8\r\n", "RCPT TO:<a@straße.example>\r\n",
         "Subject: x\r\n\r\nx\r\n.\r\n", ENVELOPE_UTF8, "with UTF8SMTP id", "for <a@xn--strae-oqa.example>"},
        /* the header of a part counts (§3.2), its text does not */
        {"MAIL FROM:<a@x.test> SMTPUTF8\r\n", "RCPT TO:<a@relay.example>\r\n",
         "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nGrüße\r\n--b\r\n"
         "Content-Disposition: attachment; filename=\"Grüße.txt\"\r\n\r\nx\r\n--b--\r\n.\r\n",
         ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER, "with UTF8SMTP id", "for <a@relay.example>"},
        {"MAIL FROM:<a@x.test> SMTPUTF8\r\n", "RCPT TO:<a@relay.example>\r\n",
         "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
         "boundary=b\r\n\r\n--b\r\n\r\nGrüße\r\n--b--\r\n.\r\n",
         ENVELOPE_UTF8, "with UTF8SMTP id", "for <a@relay.example>"},
        /* a header only, without an end of its own */
        {"MAIL FROM:<a@x.test> SMTPUTF8\r\n", "RCPT TO:<a@relay.example>\r\n", "Subject: ü\r\n.\r\n",
         ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER, "with UTF8SMTP id", "for <a@relay.example>"},
        /* bytes that nobody announced are taken as they come, as ever */
        {"MAIL FROM:<a@x.test>\r\n", "RCPT TO:<a@relay.example>\r\n",
         "Subject: Gr\xfc\xdf"
         "e\r\n\r\nx\r\n.\r\n",
         0, "with ESMTP id", "for <a@relay.example>"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_arena arena;
        vr_arena_init(&arena, 1 << 16);
        struct envelope e = submitted(&arena, rows[i].mail, rows[i].rcpt, rows[i].message);
        if (e.asks != rows[i].asks)
            fail_msg("row %zu: %x", i, e.asks);
        if (!traced(&e, rows[i].with) || traced(&e, "\tfor <") != (rows[i].whom != NULL) ||
            (rows[i].whom != NULL && !traced(&e, rows[i].whom)))
            fail_msg("row %zu: %.*s", i, VR_STR_ARG(e.prefix));
        assert_true(vr_str_is_ascii(e.prefix) || (e.asks & ENVELOPE_UTF8_HEADER));
        vr_arena_fini(&arena);
    }
}

/* A domain that takes nothing beyond ASCII (RFC 6531 §3.5): refused while the client waits, and only for what there is no ASCII form of. */
static void test_ascii_domain(void **state)
{
    (void)state;
    int fd = client(MX);
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<ö@x.test> SMTPUTF8\r\n", "250 2.1.0");
    ask(fd, "RCPT TO:<a@straße.example>\r\n", "553 5.6.7");
    ask(fd, "RCPT TO:<ö@relay.example>\r\n", "250 2.1.5");
    ask(fd, "RSET\r\n", "250 ");
    ask(fd, "MAIL FROM:<a@öx.test> SMTPUTF8\r\n", "250 2.1.0");
    ask(fd, "RCPT TO:<ö@straße.example>\r\n", "553 5.6.7");
    ask(fd, "RCPT TO:<a@straße.example>\r\n", "250 2.1.5");
    ask(fd, "DATA\r\n", "354 ");
    ask(fd, "Subject: ü\r\n\r\nx\r\n.\r\n", "554 5.6.9");
    ask(fd, "MAIL FROM:<a@öx.test> SMTPUTF8\r\n", "250 2.1.0");
    ask(fd, "RCPT TO:<a@straße.example>\r\n", "250 2.1.5");
    ask(fd, "DATA\r\n", "354 ");
    say(fd, "Subject: x\r\n\r\nü\r\n.\r\n"); /* its text does not matter */
    receive(&queue, IPC_SUBMIT);
    close(fd);
}

/* ---- the keeper ---------------------------------------------------------------------------------------------------- */

/* An exchange that a client leaves behind would stay with the keeper for ever, which has room for so many. */
static void test_sasl_left_behind(void **state)
{
    (void)state;
    int fd = client(SUBMISSION);
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    say(fd, "AUTH PLAIN\r\n");
    struct ipc_reader r = receive(&keeper, IPC_SASL_START);
    uint64_t conversation = ipc_get_u64(&r);
    sasl_challenge(conversation, VR_STR(""));
    expect(fd, "334 ");
    close(fd);
    r = receive(&keeper, IPC_SASL_ABORT);
    assert_int_equal(ipc_get_u64(&r), conversation);
}

/* An answer that is late, or comes twice, must not be taken as that to the next question. */
static void test_answer_twice(void **state)
{
    (void)state;
    int fd = user();
    say(fd, "MAIL FROM:<office@example.org>\r\n");
    struct ipc_reader r = receive(&keeper, IPC_SENDER_ASK);
    uint64_t first = ipc_get_u64(&r);
    answer(first, IPC_YES);
    expect(fd, "250 2.1.0");
    ask(fd, "RSET\r\n", "250 2.0.0");
    say(fd, "MAIL FROM:<boss@example.org>\r\n");
    r = receive(&keeper, IPC_SENDER_ASK);
    uint64_t second = ipc_get_u64(&r);
    answer(first, IPC_YES);
    answer(second, IPC_NO);
    expect(fd, "553 5.7.1");
    close(fd);
}

/* Who logged in gets the priority that he asks for; a stranger's is lowered and he hears it; nobody needs leave to wait (RFC 6710 §4.1). */
static void test_priorities(void **state)
{
    (void)state;
    int fd = user();
    ask(fd, "MAIL FROM:<ann@example.org> MT-PRIORITY=9\r\n", "250 2.1.0");
    ask(fd, "RSET\r\n", "250 2.0.0");
    say(fd, "MAIL FROM:<office@example.org> MT-PRIORITY=3\r\n"); /* the keeper's yes comes first */
    struct ipc_reader r = receive(&keeper, IPC_SENDER_ASK);
    answer(ipc_get_u64(&r), IPC_YES);
    expect(fd, "250 2.1.0");
    close(fd);
    fd = client(MX);
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example> MT-PRIORITY=1\r\n", "250 2.3.6 0 ");
    ask(fd, "RSET\r\n", "250 2.0.0");
    ask(fd, "MAIL FROM:<x@elsewhere.example> MT-PRIORITY=0\r\n", "250 2.1.0");
    ask(fd, "RSET\r\n", "250 2.0.0");
    ask(fd, "MAIL FROM:<x@elsewhere.example> MT-PRIORITY=-9\r\n", "250 2.1.0");
    ask(fd, "RSET\r\n", "250 2.0.0");
    ask(fd, "MAIL FROM:<x@elsewhere.example> MT-PRIORITY=10\r\n", "501 5.5.4");
    close(fd);
}

static void test_keeper_gone(void **state)
{
    (void)state;
    int fd = user();
    say(fd, "MAIL FROM:<office@example.org>\r\n");
    receive(&keeper, IPC_SENDER_ASK);
    detach(&keeper);
    expect(fd, "451 4.3.0");
    ask(fd, "MAIL FROM:<office@example.org>\r\n", "451 4.3.0");
    ask(fd, "MAIL FROM:<ann@example.org>\r\n", "250 2.1.0"); /* whom nobody needs to ask about */
    ask(fd, "RCPT TO:<bob@example.org>\r\n", "451 4.3.0");
    ask(fd, "RCPT TO:<bob@elsewhere.example>\r\n", "250 2.1.5");
    int other = client(SUBMISSION);
    expect(other, "220 ");
    ask(other, "EHLO c.test\r\n", "250 ");
    ask(other, "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBwZW5jaWw=\r\n", "454 4.7.0");
    attach(&keeper);
    run(200);
    say(fd, "RCPT TO:<bob@example.org>\r\n");
    struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
    answer(ipc_get_u64(&r), IPC_NO);
    expect(fd, "550 5.1.1");
    close(fd);
    close(other);
}

static struct io_network network(const char *text)
{
    struct io_network net = {0};
    assert_true(io_network_parse(vr_str_from(text), &net));
    return net;
}

/* ---- behind a proxy ------------------------------------------------------------------------------------------------ */

/* A client of this address, through the proxy that 127.0.0.1 is. */
static int proxied(unsigned listener, const char *ip)
{
    char header[120];
    int fd = client(listener);
    snprintf(header, sizeof header, "PROXY TCP%c %s %s 56324 25\r\n", strchr(ip, ':') != NULL ? '6' : '4', ip,
             strchr(ip, ':') != NULL ? "::1" : "127.0.0.1");
    say(fd, header);
    return fd;
}

/* Whom the proxy names is the client for everything: trust, the keeper's throttle, what the queue is told. */
static void test_proxied_client(void **state)
{
    (void)state;
    int fd = proxied(PROXIED, "192.0.2.7");
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", "250 "); /* trusted */
    ask(fd, "DATA\r\n", "354 ");
    say(fd, "Subject: x\r\n\r\n.\r\n");
    struct ipc_reader r = receive(&queue, IPC_SUBMIT);
    struct vr_str frame = r.rest;
    assert_true(vr_str_find_str(frame, VR_STR("([192.0.2.7])")) != VR_NPOS);
    assert_true(vr_str_find_str(frame, VR_STR("127.0.0.1")) == VR_NPOS);
    close(fd);
    fd = proxied(PROXIED, "198.51.100.1");
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", "554 5.7.1"); /* a stranger, although the proxy is trusted */
    close(fd);
    fd = proxied(PROXIED_SUBMISSION, "2001:db8::7");
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    say(fd, "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBwZW5jaWw=\r\n");
    r = receive(&keeper, IPC_SASL_START);
    frame = r.rest;
    assert_true(vr_str_find_str(frame, VR_STR("2001:db8::7")) != VR_NPOS);
    close(fd);
}

/* The proxy's own connections are its own; somebody of whom it knows no address has not its trust. */
static void test_proxy_itself(void **state)
{
    (void)state;
    static const struct {
        struct vr_str header;
        const char *rcpt;
    } rows[] = {
        {VR_STR_INIT("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"), "250 "},
        {VR_STR_INIT("\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"), "554 5.7.1"},
        {VR_STR_INIT("PROXY UNKNOWN\r\n"), "554 5.7.1"},
        {VR_STR_INIT("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"), "250 "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = client(PROXIED);
        assert_int_equal(send(fd, rows[i].header.p, rows[i].header.n, MSG_NOSIGNAL), rows[i].header.n);
        expect(fd, "220 ");
        ask(fd, "EHLO c.test\r\n", "250 ");
        ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
        ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", rows[i].rcpt);
        close(fd);
    }
}

/* The header in pieces, and with commands behind it in one. */
static void test_header_in_pieces(void **state)
{
    (void)state;
    static const char header[] = "PROXY TCP4 192.0.2.7 127.0.0.1 56324 25\r\n";
    int fd = client(PROXIED);
    for (const char *c = header; *c != '\0'; c++) {
        assert_int_equal(send(fd, c, 1, MSG_NOSIGNAL), 1);
        if (c[1] != '\0' && (c - header) % 8 == 0)
            run(2);
    }
    expect(fd, "220 ");
    ask(fd, "QUIT\r\n", "221 ");
    close(fd);
    fd = client(PROXIED);
    say(fd, "PROXY TCP4 192.0.2.7 127.0.0.1 56324 25\r\nEHLO c.test\r\nQUIT\r\n");
    expect(fd, "220 ");
    expect(fd, "250 ");
    expect(fd, "221 ");
    close(fd);
}

/* Who is no proxy is not heard, whatever he says; a proxy that says nothing of its client neither. */
static void test_not_a_proxy(void **state)
{
    (void)state;
    int fd = client_from(PROXIED, "127.0.0.3");
    expect(fd, "554 ");
    ask(fd, "PROXY TCP4 192.0.2.7 127.0.0.1 56324 25\r\n", "50");
    ask(fd, "EHLO c.test\r\n", "503 ");
    ask(fd, "QUIT\r\n", "221 ");
    close(fd);
    fd = client_from(PROXIED_SUBMISSIONS, "127.0.0.3");
    expect(fd, "");
    close(fd);
    fd = client(PROXIED);
    ask(fd, "EHLO c.test\r\n", "");
    close(fd);
    fd = client(PROXIED);
    ask(fd, "PROXY TCP4 192.0.2 127.0.0.1 56324 25\r\n", "");
    close(fd);
    fd = client(MX); /* where nobody is a proxy, the header is a wrong command */
    expect(fd, "220 ");
    ask(fd, "PROXY TCP4 192.0.2.7 127.0.0.1 56324 25\r\n", "500 ");
    close(fd);
}

/* The limit of one address is that of the client, not of the proxy; those that have not said yet who they are count in all. */
static void test_proxied_limits(void **state)
{
    (void)state;
    int held[6], silent[5];
    for (size_t i = 0; i < 5; i++)
        silent[i] = client(PROXIED);
    for (size_t i = 0; i < 6; i++) {
        held[i] = proxied(PROXIED, i % 2 == 0 ? "192.0.2.7" : "192.0.2.8");
        expect(held[i], "220 ");
    }
    int more = proxied(PROXIED, "192.0.2.7");
    expect(more, "421 ");
    close(more);
    expect_in_all(11);
    struct io_network proxy = network("127.0.0.1");
    struct crowd_client here = crowd_enter(crowd, 1, &proxy);
    assert_int_equal(crowd_of_address(crowd, here), 1); /* nobody but us */
    crowd_leave(crowd, 1, here);
    int one = client(PROXIED); /* the twelfth, of twelve */
    more = client(PROXIED);
    expect(more, "");
    close(more);
    close(held[0]);
    for (size_t i = 0; i < 5; i++)
        close(silent[i]);
    expect_in_all(6);
    more = proxied(PROXIED, "192.0.2.7");
    expect(more, "220 ");
    close(more), close(one);
    for (size_t i = 1; i < 6; i++)
        close(held[i]);
    expect_in_all(0);
}

/* A stop does not wait for headers. */
static void test_stop_while_awaiting(void **state)
{
    (void)state;
    int fd = client(PROXIED);
    run(50);
    process_drain_ask(supervisor, 100);
    expect(fd, "");
    close(fd);
}

/* ---- how many clients ---------------------------------------------------------------------------------------------- */

/* Who has not shaken hands yet is a connection too. */
static void test_handshakes_count(void **state)
{
    (void)state;
    int held[3];
    for (size_t i = 0; i < 3; i++)
        held[i] = client(SUBMISSIONS);
    int more = client(SUBMISSIONS);
    expect(more, ""); /* no handshake for somebody who is refused anyway */
    int clear = client(MX);
    expect(clear, "421 ");
    int other = client_from(SUBMISSION, "127.0.0.2"); /* another address */
    expect(other, "220 ");
    close(held[0]);
    run(200);
    int again = client(MX);
    expect(again, "220 ");
    for (size_t i = 1; i < 3; i++)
        close(held[i]);
    close(more), close(clear), close(other), close(again);
}

/* Clients of another receiver are clients too, until it dies. */
static void test_clients_of_others(void **state)
{
    (void)state;
    struct io_network loopback = network("127.0.0.1"), far = network("192.0.2.1");
    crowd_enter(crowd, 1, &far);
    crowd_enter(crowd, 1, &loopback);
    struct crowd_client second = crowd_enter(crowd, 1, &loopback);
    int one = client(MX);
    expect(one, "220 ");
    int more = client(MX);
    expect(more, "421 ");
    close(more);
    run(200);
    crowd_leave(crowd, 1, second);
    int other = client(MX);
    expect(other, "220 ");
    more = client(MX);
    expect(more, "421 ");
    close(more);
    run(200);
    crowd_clear(crowd, 1);
    int third = client(MX);
    expect(third, "220 ");
    assert_int_equal(crowd_in_all(crowd), 3);
    close(one), close(other), close(third);
    run(200);
    assert_int_equal(crowd_in_all(crowd), 0);
}

/* limits.connections, and the one limit that holds for local programs too. */
static void test_all_together(void **state)
{
    (void)state;
    struct crowd_client held[3];
    for (unsigned i = 0; i < 3; i++)
        held[i] = crowd_enter(crowd, 1, NULL);
    int one = client(MX), more = client_from(MX, "127.0.0.2");
    expect(one, "220 ");
    expect(more, "421 ");
    close(more);
    run(200);
    crowd_leave(crowd, 1, held[0]);
    more = client_from(MX, "127.0.0.2");
    expect(more, "220 ");
    close(one), close(more);
}

static void test_board(void **state)
{
    (void)state;
    struct crowd *c = crowd_new(3);
    struct io_network a = network("2001:db8::1"), a2 = network("2001:db8::2:1"),
                      b = network("2001:db8:0:1::1");
    struct crowd_client at[4];
    for (unsigned i = 0; i < 3; i++)
        at[i] = crowd_enter(c, i, i < 2 ? &a : &a2); /* a /64 is one client */
    at[3] = crowd_enter(c, 1, &b);
    struct crowd_client local = crowd_enter(c, 2, NULL);
    assert_int_equal(crowd_of_address(c, at[0]), 3);
    assert_int_equal(crowd_of_address(c, at[3]), 1);
    assert_int_equal(crowd_of_address(c, local), 0);
    assert_int_equal(crowd_in_all(c), 5);
    crowd_clear(c, 1);
    assert_int_equal(crowd_of_address(c, at[2]), 2);
    assert_int_equal(crowd_in_all(c), 3);
    crowd_leave(c, 0, at[0]);
    crowd_leave(c, 2, at[2]);
    crowd_leave(c, 2, local);
    assert_int_equal(crowd_of_address(c, at[0]), 0);
    assert_int_equal(crowd_in_all(c), 0);
    crowd_free(c);
}

/* A hundred thousand clients, one connection each: nobody is taken for a hundred. */
static void test_board_is_wide(void **state)
{
    (void)state;
    struct crowd *c = crowd_new(2);
    struct io_network net = network("10.0.0.0");
    uint64_t highest = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        net.ip[1] = (uint8_t)(i >> 16), net.ip[2] = (uint8_t)(i >> 8), net.ip[3] = (uint8_t)i;
        uint64_t n = crowd_of_address(c, crowd_enter(c, i & 1, &net));
        assert_true(n >= 1);
        highest = n > highest ? n : highest;
    }
    assert_true(highest < 20);
    crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sasl_left_behind, start, stop),
        cmocka_unit_test_setup_teardown(test_answer_twice, start, stop),
        cmocka_unit_test_setup_teardown(test_priorities, start, stop),
        cmocka_unit_test_setup_teardown(test_keeper_gone, start, stop),
        cmocka_unit_test_prestate_setup_teardown(
            test_ascii_domain, start, stop, "domain \"straße.example\" { mailboxes = any smtputf8 = no }\n"),
        cmocka_unit_test_prestate_setup_teardown(test_smtputf8, start, stop,
                                                 "domain \"straße.example\" { mailboxes = any }\n"),
        cmocka_unit_test_prestate_setup_teardown(test_proxied_client, start, stop,
                                                 "trusted = { \"192.0.2.0/24\", \"127.0.0.1\" }\n"),
        cmocka_unit_test_prestate_setup_teardown(test_proxy_itself, start, stop, "trusted = \"127.0.0.1\"\n"),
        cmocka_unit_test_setup_teardown(test_header_in_pieces, start, stop),
        cmocka_unit_test_setup_teardown(test_not_a_proxy, start, stop),
        cmocka_unit_test_prestate_setup_teardown(test_proxied_limits, start, stop,
                                                 "limits { connections_per_address = 3 connections = 12 }\n"),
        cmocka_unit_test_setup_teardown(test_stop_while_awaiting, start, stop),
        cmocka_unit_test_prestate_setup_teardown(test_handshakes_count, start, stop,
                                                 "limits { connections_per_address = 3 }\n"),
        cmocka_unit_test_prestate_setup_teardown(test_clients_of_others, start, stop,
                                                 "limits { connections_per_address = 3 }\n"),
        cmocka_unit_test_prestate_setup_teardown(test_all_together, start, stop,
                                                 "limits { connections = 4 }\n"),
        cmocka_unit_test(test_board),
        cmocka_unit_test(test_board_is_wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
