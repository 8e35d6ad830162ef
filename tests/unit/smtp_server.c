/* smtp_server.c - the server engine where transcripts do not reach: memory, time, shutdown, flow, and every split of a session. */
#include "smtp_server_session.h"

/* ---- memory -------------------------------------------------------------------------------------------------------- */

static void idle_holds_nothing(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    gather(s);
    assert_holds_nothing(s);
    say(s, "EHLO c.test\r\n");
    assert_holds_nothing(s);
    say(s, "NOOP\r\nNO");
    assert_int_not_equal(s->engine->in.capacity, 0); /* half a command must wait somewhere */
    say(s, "OP\r\n");
    assert_holds_nothing(s);
    say(s, "MAIL FROM:<a@s.test> ENVID=abc\r\nRCPT TO:<ok@d.test>\r\nDATA\r\nx\r\n.\r\n");
    assert_last(s, "250 ");
    assert_holds_nothing(s);
    say(s, "MAIL FROM:<a@s.test>\r\n");
    assert_non_null(s->engine->arena.head);
    say(s, "RSET\r\n");
    assert_holds_nothing(s);
    say(s, "MAIL FROM:<a@@s.test>\r\nRCPT TO:<x>\r\nFOO\r\n");
    assert_holds_nothing(s);
    close_session(s);
}

static void auth_holds_nothing(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    config.auth_mechanisms = VR_STR("PLAIN LOGIN");
    config.auth_in_clear = true;
    s->hold = true;
    say(s, "EHLO c.test\r\n");
    smtp_server_answer(s->engine, SMTP_REPLY(250, NULL, "mx"), 0);
    say(s, "AUTH PLAIN c2VjcmV0\r\n");
    assert_int_equal(s->asked, SMTP_SERVER_AUTH);
    struct vr_str secret = s->engine->secret;
    assert_true(vr_str_equal(secret, VR_STR("secret")));
    smtp_server_challenge(s->engine, VR_STR("more"), 0);
    pump(s);
    assert_last(s, "334 bW9yZQ==\r\n");
    assert_holds_nothing(s);
    say(s, "!\r\n");
    assert_last(s, "501 5.5.2 ");
    assert_int_equal(s->events[SMTP_SERVER_AUTH_CANCEL], 1);
    assert_holds_nothing(s);
    say(s,
        "AUTH PLAIN ====\r\nMAIL FROM:<a@s.test>\r\n"); /* a response that is none, then another use of the arena */
    assert_int_equal(s->asked, SMTP_SERVER_MAIL);
    smtp_server_answer(s->engine, SMTP_REPLY(550, "5.7.1", "no"), 0);
    pump(s);
    say(s, "AUTH PLAIN c2VjcmV0\r\n");
    smtp_server_answer(s->engine, SMTP_REPLY(235, "2.7.0", "ok"), 0);
    pump(s);
    assert_true(smtp_server_authenticated(s->engine));
    assert_holds_nothing(s);
    close_session(s);
}

static void flat_command(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    feed_flat(s, 100u << 20);
    assert_last(s, "421 4.7.0 ");
    assert_int_equal(s->events[SMTP_SERVER_CLOSE], 1);
    close_session(s);
}

static void flat_data(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    begin_data(s);
    feed_flat(s, 100u << 20);
    assert_true(s->text_bytes <= 70000); /* the line was too long early on: the rest is not handed on */
    say(s, "\r\n.\r\n");
    assert_last(s, "554 5.6.0 ");
    say(s, "NOOP\r\n");
    assert_last(s, "250 ");
    assert_holds_nothing(s);
    close_session(s);
}

/* A message of many lines over the size limit: read to its end, refused, nothing kept. */
static void flat_size(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    config.size_max = 1000;
    begin_data(s);
    s->keep = false;
    for (int i = 0; i < 100000; i++)
        say(s, "a line of a message that is too large for this server\r\n");
    assert_true(s->text_bytes <= 1000);
    say(s, ".\r\n");
    assert_last(s, "552 5.3.4 ");
    assert_int_equal(s->refusal.code, 552);
    assert_int_equal(s->events[SMTP_SERVER_DATA_END], 1);
    close_session(s);
}

/* A client that sends and never reads: output is bounded, the session ends. */
static void output_bounded(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    config.command_max = 1000000;
    struct smtp_server_event ev;
    enum smtp_server_event_kind kind = SMTP_SERVER_IDLE;
    for (int i = 0; i < 200000 && kind != SMTP_SERVER_CLOSE; i++) {
        smtp_server_feed(s->engine, VR_STR("HELP\r\n"), 0);
        while ((kind = smtp_server_next(s->engine, &ev)) != SMTP_SERVER_IDLE && kind != SMTP_SERVER_CLOSE)
            continue;
    }
    assert_int_equal(kind, SMTP_SERVER_CLOSE);
    assert_true(smtp_server_pending(s->engine).n <= SERVER_OUTPUT_MAX);
    close_session(s);
}

/* ---- flow ---------------------------------------------------------------------------------------------------------- */

static void blocked(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    char piece[1000];
    memset(piece, 'N', sizeof piece);
    memcpy(piece + sizeof piece - 2, "\r\n", 2);
    s->hold = true;
    say(s, "EHLO c.test\r\n");
    assert_int_equal(s->asked, SMTP_SERVER_EHLO);
    assert_int_equal(smtp_server_deadline(s->engine), INT64_MAX);
    size_t fed = 0;
    while (!smtp_server_blocked(s->engine)) {
        smtp_server_feed(s->engine, vr_str(piece, sizeof piece), 0);
        fed += sizeof piece;
        assert_true(fed < 100000);
    }
    assert_true(fed > 60000);
    pump(s);
    assert_int_equal(s->events[SMTP_SERVER_COMMAND_REFUSED], 0); /* nothing is looked at before the answer */
    s->hold = false;
    smtp_server_answer(s->engine, SMTP_REPLY(250, NULL, "mx"), 0);
    pump(s);
    assert_false(smtp_server_blocked(s->engine));
    assert_last(s, "421 4.7.0 "); /* twenty lines too long */
    close_session(s);
}

/* The owner feeds on although the engine is blocked: the session ends, and the answer that comes afterwards is not missed by anybody. */
static void overfed(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    static char piece[65536];
    memset(piece, 'x', sizeof piece);
    s->hold = true;
    say(s, "EHLO c.test\r\n");
    for (int i = 0; i < 10; i++)
        smtp_server_feed(s->engine, vr_str(piece, sizeof piece), 0);
    smtp_server_answer(s->engine, SMTP_REPLY(250, NULL, "mx"), 0);
    pump(s);
    assert_last(s, "421 4.7.0 ");
    assert_int_equal(s->close_code, 421);
    assert_int_equal(s->events[SMTP_SERVER_CLOSE], 1);
    pump(s);
    assert_int_equal(s->events[SMTP_SERVER_CLOSE], 1); /* once, and last */
    close_session(s);
}

static const char dialogue[] =
    "EHLO c.test\r\nMAIL FROM:<a@s.test>\r\nRCPT TO:<ok@d.test>\r\nRCPT TO:<\r\nDATA\r\n"
    "Subject: t\r\n\r\n..dot\r\n.\r\r\nx\r\n\n.\r\n.\r\n"
    "MAIL FROM:<b@s.test> SIZE=3\r\nRCPT TO:<ok@d.test>\r\nDATA\r\nx\r\n.y\r\n..\r\n.\r\nVRFY x\r\nQUIT\r\n";

static void feed_pieces(struct session *s, const size_t *cuts, size_t count)
{
    size_t from = 0, n = sizeof dialogue - 1;
    for (size_t i = 0; i <= count; i++) {
        size_t to = i < count ? cuts[i] : n;
        smtp_server_feed(s->engine, vr_str(dialogue + from, to - from), 0);
        pump(s);
        from = to;
    }
}

static void every_split(void **state)
{
    (void)state;
    size_t n = sizeof dialogue - 1;
    struct session *whole = open_session(false);
    feed_pieces(whole, NULL, 0);
    assert_last(whole, "221 ");
    assert_int_equal(whole->events[SMTP_SERVER_DATA_END], 2);
    for (size_t i = 0; i <= n; i++)
        for (size_t j = i; j <= n; j++) {
            struct session *s = open_session(false);
            feed_pieces(s, (size_t[]){i, j}, 2);
            if (!vr_str_equal(vr_buf_str(&s->said), vr_buf_str(&whole->said)))
                fail_msg("other replies when split at %zu and %zu", i, j);
            assert_int_equal(s->close_code, 221);
            for (size_t k = 0; k <= SMTP_SERVER_CLOSE; k++)
                if (k != SMTP_SERVER_CHUNK)
                    assert_int_equal(s->events[k], whole->events[k]);
            close_session(s);
        }
    close_session(whole);
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

static void deadlines(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    config.command_timeout_ms = 1000;
    config.data_timeout_ms = 2000;
    assert_int_equal(smtp_server_deadline(s->engine), 1000);
    say_at(s, "NOOP\r\n", 500);
    assert_int_equal(smtp_server_deadline(s->engine), 1500);
    say_at(s, "NO", 1400); /* half a command moves nothing */
    assert_int_equal(smtp_server_deadline(s->engine), 1500);
    smtp_server_tick(s->engine, 1499);
    pump(s);
    assert_last(s, "250 ");
    say_at(s, "OP\r\n", 1499);
    assert_int_equal(smtp_server_deadline(s->engine), 2499);
    s->hold = true;
    say_at(s, "EHLO c.test\r\n", 2000);
    assert_int_equal(smtp_server_deadline(s->engine), INT64_MAX); /* the owner's time is not the client's */
    smtp_server_tick(s->engine, 999999);
    pump(s);
    assert_int_equal(s->events[SMTP_SERVER_CLOSE], 0);
    smtp_server_answer(s->engine, SMTP_REPLY(250, NULL, "mx"), 5000);
    assert_int_equal(smtp_server_deadline(s->engine), 6000);
    smtp_server_tick(s->engine, 6000);
    pump(s);
    assert_last(s, "421 4.4.2 ");
    assert_int_equal(s->close_code, 421);
    assert_int_equal(smtp_server_deadline(s->engine), INT64_MAX);
    close_session(s);
}

static void deadline_of_data(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    config.data_timeout_ms = 2000;
    begin_data(s);
    say_at(s, "x", 10000);
    assert_int_equal(smtp_server_deadline(s->engine), 12000); /* each piece of the message counts */
    smtp_server_tick(s->engine, 12000);
    pump(s);
    assert_last(s, "421 4.4.2 ");
    assert_int_equal(s->events[SMTP_SERVER_RESET], 1);
    assert_int_equal(s->events[SMTP_SERVER_CLOSE], 1);
    close_session(s);
}

static void silent_has_no_deadline(void **state)
{
    (void)state;
    config = (struct smtp_server_config){.hostname = VR_STR("mx.d.test")};
    struct smtp_server *e = smtp_server_new(&config, true, 77);
    struct smtp_server_event ev;
    assert_int_equal(smtp_server_deadline(e), INT64_MAX);
    smtp_server_feed(e, VR_STR("EHLO too.early\r\n"), 78);
    assert_int_equal(smtp_server_next(e, &ev), SMTP_SERVER_IDLE);
    assert_int_equal(smtp_server_pending(e).n, 0);
    smtp_server_eof(e);
    assert_int_equal(smtp_server_next(e, &ev), SMTP_SERVER_CLOSE);
    assert_int_equal(ev.refusal.code, 0);
    smtp_server_free(e);
    smtp_server_free(NULL);
}

/* ---- shutdown ------------------------------------------------------------------------------------------------------ */

static const struct smtp_reply going = {421, "4.3.2", VR_STR_INIT("shutting down")};

static void shutdown_between_commands(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    say(s, "EHLO c.test\r\n");
    smtp_server_shutdown(s->engine, going);
    pump(s);
    assert_last(s, "421 4.3.2 shutting down\r\n");
    assert_int_equal(s->close_code, 421);
    close_session(s);
}

static void shutdown_in_transaction(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    begin_data(s);
    smtp_server_shutdown(s->engine, going);
    pump(s);
    assert_int_equal(s->events[SMTP_SERVER_CLOSE], 0); /* the message under way is finished */
    s->hold = true;
    say(s, "x\r\n.\r\nMAIL FROM:<b@s.test>\r\n");
    assert_int_equal(s->asked, SMTP_SERVER_DATA_END);
    assert_int_equal(s->events[SMTP_SERVER_CLOSE], 0);
    smtp_server_answer(s->engine, SMTP_REPLY(250, "2.0.0", "taken"), 0);
    pump(s);
    assert_last(s, "421 4.3.2 ");
    assert_true(vr_str_find_str(vr_buf_str(&s->said), VR_STR("250 2.0.0 taken\r\n421 4.3.2")) != VR_NPOS);
    assert_int_equal(s->events[SMTP_SERVER_MAIL], 1);
    close_session(s);
}

static void shutdown_waits_for_the_handshake(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    say(s, "EHLO c.test\r\nSTARTTLS\r\n");
    assert_int_equal(s->events[SMTP_SERVER_STARTTLS], 1);
    smtp_server_shutdown(s->engine, going);
    pump(s);
    assert_last(s, "220 "); /* nothing in clear while the client expects TLS */
    smtp_server_secured(s->engine, 0);
    pump(s);
    assert_last(s, "421 4.3.2 ");
    close_session(s);
}

/* ---- replies ------------------------------------------------------------------------------------------------------- */

/* What the owner says may come from anywhere: it cannot start a line of its own, nor leave a reply unfinished. */
static void reply_texts(void **state)
{
    (void)state;
    static const struct {
        struct vr_str text;
        const char *said;
    } rows[] = {
        {VR_STR_INIT("one\ntwo"), "550-5.7.1 one\r\n550 5.7.1 two\r\n"},
        {VR_STR_INIT("one\n"), "550 5.7.1 one\r\n"},
        {VR_STR_INIT("one\n\ntwo"), "550-5.7.1 one\r\n550-5.7.1 \r\n550 5.7.1 two\r\n"},
        {VR_STR_INIT(""), "550 5.7.1 \r\n"},
        {VR_STR_INIT("a\rb\tc\0d\x7f"), "550 5.7.1 a?b?c?d?\r\n"},
        {VR_STR_INIT("a\r\n250 ok"), "550-5.7.1 a?\r\n550 5.7.1 250 ok\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct session *s = open_session(false);
        s->hold = true;
        say(s, "HELO c.test\r\n");
        vr_buf_reset(&s->said);
        smtp_server_answer(s->engine, (struct smtp_reply){550, "5.7.1", rows[i].text}, 0);
        gather(s);
        vr_buf_add_byte(&s->said, '\0');
        assert_string_equal(vr_buf_str(&s->said).p, rows[i].said);
        close_session(s);
    }
}

static void reply_line_limit(void **state)
{
    (void)state;
    struct session *s = open_session(false);
    char text[3000];
    memset(text, 'y', sizeof text);
    s->hold = true;
    say(s, "HELO c.test\r\n");
    vr_buf_reset(&s->said);
    smtp_server_answer(s->engine, (struct smtp_reply){550, "5.7.1", vr_str(text, sizeof text)}, 0);
    gather(s);
    assert_true(vr_buf_size(&s->said) <= SMTP_REPLY_LINE_MAX);
    close_session(s);
}

/* ---- events -------------------------------------------------------------------------------------------------------- */

/* Every transaction that was begun ends in DATA_END or RESET, whatever ends it. */
static void transactions_end(void **state)
{
    (void)state;
    static const char *const ends[] = {"RSET\r\n", "QUIT\r\n", "EHLO again.test\r\n", ""};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct session *s = open_session(false);
        say(s, "EHLO c.test\r\nMAIL FROM:<a@s.test>\r\n");
        assert_true(smtp_server_in_transaction(s->engine));
        assert_true(smtp_server_is_extended(s->engine));
        say(s, ends[i]);
        smtp_server_eof(s->engine);
        pump(s);
        assert_int_equal(s->events[SMTP_SERVER_RESET], 1);
        assert_false(smtp_server_in_transaction(s->engine));
        assert_int_equal(s->events[SMTP_SERVER_CLOSE], 1);
        close_session(s);
    }
}

/* Credentials do not come to the owner as command lines, from where they would go to logs. */
static void credentials_stay_away(void **state)
{
    (void)state;
    static const char *const lines[] = {"AUTH PLAIN c2VjcmV0\r\n", "AUTH PLAIN c2Vj\ncmV0\r\n",
                                        "  auth\tPLAIN c2VjcmV0\r\n", "AUTHX c2VjcmV0\r\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct session *s = open_session(false);
        struct smtp_server_event ev;
        smtp_server_feed(s->engine, vr_str_from(lines[i]), 0);
        assert_int_equal(smtp_server_next(s->engine, &ev), SMTP_SERVER_COMMAND_REFUSED);
        assert_int_equal(ev.data.n, 4);
        close_session(s);
    }
}

static void lmtp_replies(void **state)
{
    (void)state;
    struct session *s = open_session(true);
    s->hold = true;
    say(s, "LHLO c.test\r\n");
    smtp_server_answer(s->engine, SMTP_REPLY(250, NULL, "mx"), 0);
    say(s, "MAIL FROM:<a@s.test>\r\n");
    smtp_server_answer(s->engine, SMTP_REPLY(250, "2.1.0", "ok"), 0);
    for (int i = 0; i < 3; i++) {
        say(s, "RCPT TO:<ok@d.test>\r\n");
        smtp_server_answer(s->engine,
                           i == 1 ? SMTP_REPLY(550, "5.1.1", "no") : SMTP_REPLY(250, "2.1.5", "ok"), 0);
    }
    assert_int_equal(smtp_server_rcpt_count(s->engine), 2);
    say(s, "DATA\r\n");
    smtp_server_answer(s->engine, (struct smtp_reply){0}, 0);
    vr_buf_reset(&s->said);
    gather(s);
    vr_buf_reset(&s->said);
    say(s, "x\r\n.\r\nQUIT\r\n");
    smtp_server_answer(s->engine, SMTP_REPLY(250, "2.0.0", "first"), 0);
    pump(s);
    assert_int_equal(s->events[SMTP_SERVER_CLOSE], 0); /* the second recipient's answer is due yet */
    smtp_server_answer(s->engine, SMTP_REPLY(452, "4.2.2", "second"), 0);
    pump(s);
    vr_buf_add_byte(&s->said, '\0');
    assert_string_equal(vr_buf_str(&s->said).p,
                        "250 2.0.0 first\r\n452 4.2.2 second\r\n221 2.0.0 goodbye\r\n");
    assert_int_equal(s->close_code, 221);
    close_session(s);
}

/* The same text arrives whatever lengths its lines have around the engine's own limits. */
static void text_whole(void **state)
{
    (void)state;
    static const int lengths[] = {0, 1, 4094, 4095, 4096, 4097, 8191, 8192, 20000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t piece = 1; piece < 30000; piece = piece * 3 + 1) {
            struct session *s = open_session(false);
            struct vr_buf line;
            vr_buf_init(&line, 1 << 20);
            vr_buf_add_byte(&line, '.'); /* stuffed */
            vr_buf_add_byte(&line, '.');
            for (int k = 0; k < lengths[i]; k++)
                vr_buf_add_byte(&line, (char)('a' + k % 26));
            vr_buf_add(&line, VR_STR("\r\n"));
            begin_data(s);
            struct vr_str rest = vr_buf_str(&line);
            for (; rest.n > 0; rest = vr_str_from_pos(rest, piece)) {
                smtp_server_feed(s->engine, vr_str_sub(rest, 0, piece), 0);
                pump(s);
            }
            say(s, ".\r\n");
            assert_last(s, "250 ");
            assert_true(vr_str_equal(vr_buf_str(&s->text), vr_str_from_pos(vr_buf_str(&line), 1)));
            vr_buf_fini(&line);
            close_session(s);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_holds_nothing),
        cmocka_unit_test(auth_holds_nothing),
        cmocka_unit_test(flat_command),
        cmocka_unit_test(flat_data),
        cmocka_unit_test(flat_size),
        cmocka_unit_test(output_bounded),
        cmocka_unit_test(blocked),
        cmocka_unit_test(overfed),
        cmocka_unit_test(every_split),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(deadline_of_data),
        cmocka_unit_test(silent_has_no_deadline),
        cmocka_unit_test(shutdown_between_commands),
        cmocka_unit_test(shutdown_in_transaction),
        cmocka_unit_test(shutdown_waits_for_the_handshake),
        cmocka_unit_test(reply_texts),
        cmocka_unit_test(reply_line_limit),
        cmocka_unit_test(transactions_end),
        cmocka_unit_test(credentials_stay_away),
        cmocka_unit_test(lmtp_replies),
        cmocka_unit_test(text_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
