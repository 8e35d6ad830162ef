/* smtp_server_bdat.c - BDAT in the server engine where transcripts do not reach: the owner's events and its refusals, memory, time, shutdown, and every
 * place where a text can be cut. */
#include "smtp_server_session.h"

static struct session *open_chunking(bool lmtp)
{
    struct session *s = open_session(lmtp);
    config.offers = SMTP_EXT_BASIC | SMTP_EXT_CHUNKING | SMTP_EXT_BINARYMIME;
    return s;
}

static void begin_mail(struct session *s)
{
    say(s, "EHLO c.test\r\nMAIL FROM:<a@s.test>\r\nRCPT TO:<ok@d.test>\r\n");
    assert_last(s, "250 ");
}

/* ---- events -------------------------------------------------------------------------------------------------------- */

static void events(void **state)
{
    (void)state;
    struct session *s = open_chunking(false);
    begin_mail(s);
    say(s, "BDAT 0\r\n");
    assert_last(s, "250 2.0.0 0 octets received\r\n"); /* and no 354 */
    say(s, "BDAT 3\r\nab\r");
    say(s, "BDAT 1 LAST\r\n\n");
    assert_last(s, "250 ");
    assert_int_equal(s->events[SMTP_SERVER_DATA], 1);
    assert_int_equal(s->events[SMTP_SERVER_DATA_END], 1);
    assert_true(vr_str_equal(vr_buf_str(&s->text), VR_STR("ab\r\n")));
    assert_true(vr_str_find_str(vr_buf_str(&s->said), VR_STR("354")) == VR_NPOS);
    assert_false(smtp_server_in_transaction(s->engine));
    assert_holds_nothing(s);
    close_session(s);
}

/* The owner says no before the first octet: they are thrown away all the same, and what it said is said behind them. */
static void owner_refuses(void **state)
{
    (void)state;
    struct session *s = open_chunking(false);
    begin_mail(s);
    s->hold = true;
    say(s, "BDAT 6\r\nNO");
    assert_int_equal(s->asked, SMTP_SERVER_DATA);
    assert_int_equal(smtp_server_deadline(s->engine), INT64_MAX);
    char text[] = "not\nnow", enhanced[] = "4.3.2";
    smtp_server_answer(s->engine, (struct smtp_reply){451, enhanced, vr_str_from(text)}, 0);
    memset(text, 'x', sizeof text - 1); /* it was the owner's to keep only for the call */
    memset(enhanced, 'x', sizeof enhanced - 1);
    vr_buf_reset(&s->said);
    pump(s);
    assert_int_equal(vr_buf_size(&s->said), 0);
    say(s, "OP\r\nBDAT 6\r\nNOOP\r\n");
    vr_buf_add_byte(&s->said, '\0');
    assert_string_equal(vr_buf_str(&s->said).p,
                        "451-4.3.2 not\r\n451 4.3.2 now\r\n503 5.5.1 the message was refused before; send "
                        "RSET, then begin again\r\n");
    assert_int_equal(s->events[SMTP_SERVER_CHUNK], 0);
    assert_int_equal(s->events[SMTP_SERVER_DATA_END], 1);
    assert_int_equal(s->refusal.code, 451);
    assert_false(smtp_server_in_transaction(s->engine));
    vr_buf_reset(&s->said);
    s->hold = false;
    say(s, "RSET\r\nMAIL FROM:<b@s.test>\r\nRCPT TO:<ok@d.test>\r\nBDAT 1 LAST\r\nx");
    assert_last(s, "250 ");
    assert_int_equal(s->events[SMTP_SERVER_RESET],
                     0); /* the owner had heard already that there was nothing */
    assert_int_equal(s->events[SMTP_SERVER_DATA_END], 2);
    close_session(s);
}

/* Every transaction ends once for the owner, whatever spoils it. */
static void one_end_each(void **state)
{
    (void)state;
    static const struct {
        const char *said;
        unsigned data_end, reset;
    } rows[] = {
        {"BDAT 3\r\na\nb", 1, 0},
        {"BDAT 3 LAST\r\na\nb", 1, 0},
        {"BDAT 2001\r\n", 0, 1}, /* the octets do not come */
        {"BDAT 1\r\nxDATA\r\n", 1, 0},
        {"BDAT 1\r\nxRSET\r\n", 0, 1},
        {"BDAT 1\r\nxEHLO c.test\r\n", 0, 1},
        {"BDAT 1\r\nxSTARTTLS\r\n", 0, 1},
        {"BDAT 1\r\nxBDAT\r\n", 0, 1},
        {"BDAT 1\r\nxQUIT\r\n", 0, 1},
        {"BDAT 1 LAST\r\nx", 1, 0},
        {"BDAT 1 LAST\r\nxBDAT 1\r\nyBDAT 1\r\nz", 1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct session *s = open_chunking(false);
        config.size_max = 2000;
        begin_mail(s);
        say(s, rows[i].said);
        smtp_server_eof(s->engine);
        pump(s);
        assert_int_equal(s->events[SMTP_SERVER_DATA_END], rows[i].data_end);
        assert_int_equal(s->events[SMTP_SERVER_RESET], rows[i].reset);
        assert_int_equal(s->events[SMTP_SERVER_CLOSE], 1);
        assert_false(smtp_server_in_transaction(s->engine));
        close_session(s);
    }
}

static void handshake_forgets(void **state)
{
    (void)state;
    struct session *s = open_chunking(false);
    begin_mail(s);
    say(s, "BDAT 3\r\na\nbSTARTTLS\r\n");
    assert_last(s, "220 ");
    smtp_server_secured(s->engine, 0);
    begin_mail(s); /* no RSET is asked for after it */
    close_session(s);
}

/* ---- memory and time ------------------------------------------------------------------------------------------------ */

/* Chunks of any size pass through: taken ones, and those that are thrown away. */
static void flat_chunks(void **state)
{
    (void)state;
    static const char *const begins[] = {
        "MAIL FROM:<a@s.test> BODY=BINARYMIME\r\nRCPT TO:<ok@d.test>\r\nBDAT 104857600 LAST\r\n",
        "BDAT 104857600\r\n",
        "MAIL FROM:<a@s.test>\r\nRCPT TO:<ok@d.test>\r\nBDAT 104857600\r\n",
    };
    static const struct {
        uint64_t taken;
        const char *reply;
    } ends[] = {{100u << 20, "250 "}, {0, "503 5.5.1 "}, {0, "554 5.6.0 "}};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        struct session *s = open_chunking(false);
        say(s, "EHLO c.test\r\n");
        say(s, begins[i]);
        feed_flat(s, 100u << 20); /* one line: too long, unless it is binary */
        assert_last(s, ends[i].reply);
        assert_in_range(s->text_bytes, ends[i].taken, ends[i].taken + 65536);
        say(s, "NOOP\r\n");
        assert_last(s, "250 ");
        close_session(s);
    }
}

static void many_chunks(void **state)
{
    (void)state;
    struct session *s = open_chunking(false);
    begin_mail(s);
    s->keep = false;
    for (int i = 0; i < 20000; i++) { /* a message that comes octet by octet is slow, and no flood */
        say(s, "BDAT 1\r\nx");
        vr_buf_reset(&s->said);
    }
    say(s, "BDAT 0 LAST\r\n");
    assert_last(s, "250 ");
    assert_int_equal(s->text_bytes, 20000);
    close_session(s);
}

static void deadlines(void **state)
{
    (void)state;
    struct session *s = open_chunking(false);
    config.command_timeout_ms = 1000;
    config.data_timeout_ms = 5000;
    begin_mail(s);
    say(s, "BDAT 10\r\n");
    say_at(s, "ab", 500);
    assert_int_equal(smtp_server_deadline(s->engine), 5500);
    say_at(s, "cd", 5000);
    assert_int_equal(smtp_server_deadline(s->engine), 10000);
    say_at(s, "efghij", 9000);
    assert_last(s, "250 2.0.0 10 octets received");
    assert_int_equal(smtp_server_deadline(s->engine), 10000); /* a command is awaited */
    say_at(s, "BDAT 1", 9500);
    assert_int_equal(smtp_server_deadline(s->engine), 10000); /* half of one is none */
    say_at(s, "\r\nx", 9900);
    smtp_server_tick(s->engine, 10900);
    pump(s);
    assert_last(s, "421 4.4.2 ");
    close_session(s);
}

static void shut_down(void **state)
{
    (void)state;
    static const struct smtp_reply going = {421, "4.3.2", VR_STR_INIT("shutting down")};
    struct session *s = open_chunking(false);
    begin_mail(s);
    say(s, "BDAT 2\r\nx");
    smtp_server_shutdown(s->engine, going);
    pump(s);
    say(s, "yBDAT 0\r\n");
    assert_int_equal(s->events[SMTP_SERVER_CLOSE], 0); /* the message under way is finished */
    say(s, "BDAT 1 LAST\r\nzNOOP\r\n");
    assert_last(s, "421 4.3.2 ");
    assert_int_equal(s->events[SMTP_SERVER_DATA_END], 1);
    close_session(s);

    s = open_chunking(false);
    begin_mail(s);
    say(s, "BDAT 3\r\na\nbBDAT 100\r\n"); /* spoiled: there is nothing to wait for */
    smtp_server_shutdown(s->engine, going);
    pump(s);
    assert_last(s, "421 4.3.2 ");
    close_session(s);
}

/* ---- cuts ------------------------------------------------------------------------------------------------------------ */

/* One text, good or bad, in two chunks cut anywhere, the input cut anywhere: the verdict is that of DATA. */
static void every_cut(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool binary;
        const char *reply;
    } rows[] = {
        {"Received: a\r\nreceived: b\r\n\r\nReceived: c\r\n", false, "250 "},
        {"Received: a\r\nX: b\r\nReceived: b\r\nReceived: c\r\n", false, "554 5.4.6 "},
        {"Received: a\r\nX: b\r\nReceived: b\r\nReceived: c\r\n", true, "554 5.4.6 "},
        {"Received: a\nReceived: b\nReceived: c\nReceived: d\n\r\n", true, "250 "}, /* one line */
        {"Subject: x\r\n\r\na\r\n\r\n.\r\nb", false, "250 "},
        {"Subject: x\r\n\r\na\rb\r\n", false, "554 5.6.0 "},
        {"Subject: x\r\n\r\na\r\r\n", false, "554 5.6.0 "},
        {"Subject: x\r\n\r\na\n\r\n", false, "554 5.6.0 "},
        {"\nSubject: x\r\n", false, "554 5.6.0 "},
        {"Subject: x\r\n\r", false, "554 5.6.0 "},
        {"Subject: x\r\n\r\n\r\r\n\n\r", true, "250 "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t cut = 0, n = strlen(rows[i].text); cut <= n; cut++)
            for (size_t piece = 1; piece < 40; piece += 6) {
                struct session *s = open_chunking(false);
                struct vr_buf in;
                config.received_max = 2;
                vr_buf_init(&in, 1 << 16);
                vr_buf_addf(&in, "EHLO c\r\nMAIL FROM:<a@s.test>%s\r\nRCPT TO:<ok@d.test>\r\n",
                            rows[i].binary ? " BODY=BINARYMIME" : "");
                vr_buf_addf(&in, "BDAT %zu\r\n%.*s", cut, (int)cut, rows[i].text);
                vr_buf_addf(&in, "BDAT %zu LAST\r\n%s", n - cut, rows[i].text + cut);
                for (struct vr_str rest = vr_buf_str(&in); rest.n > 0; rest = vr_str_from_pos(rest, piece)) {
                    smtp_server_feed(s->engine, vr_str_sub(rest, 0, piece), 0);
                    pump(s);
                }
                if (rows[i].reply[0] == '2') {
                    assert_last(s, "250 ");
                    assert_true(vr_str_equal(vr_buf_str(&s->text), vr_str_from(rows[i].text)));
                } else { /* for the chunk in which it is seen */
                    char line[16];
                    snprintf(line, sizeof line, "\r\n%s", rows[i].reply);
                    assert_true(vr_str_find_str(vr_buf_str(&s->said), vr_str_from(line)) != VR_NPOS);
                }
                assert_int_equal(s->events[SMTP_SERVER_DATA_END], 1);
                vr_buf_fini(&in);
                close_session(s);
            }
}

/* With several faults in a message its verdict is the same however it came. */
static void several_faults(void **state)
{
    (void)state;
    static char text[9000];
    memset(text, 'x', sizeof text);
    text[8000] = '\n';
    memcpy(text + sizeof text - 6, "\r\n.\r\n", 6);
    for (size_t piece = 1; piece < 10000; piece = piece * 3 + 1) {
        struct session *s = open_session(false);
        config.size_max = 6000;
        config.text_line_max = 7000;
        begin_data(s);
        for (struct vr_str rest = vr_str_from(text); rest.n > 0; rest = vr_str_from_pos(rest, piece)) {
            smtp_server_feed(s->engine, vr_str_sub(rest, 0, piece), 0);
            pump(s);
        }
        assert_last(s, "554 5.6.0 the message has a bare CR");
        close_session(s);
    }
}

/* LMTP: as many replies behind LAST as recipients, wherever the fault lay (RFC 2033 §4.3). */
static void lmtp(void **state)
{
    (void)state;
    struct session *s = open_chunking(true);
    s->hold = true;
    say(s, "LHLO c.test\r\n");
    smtp_server_answer(s->engine, SMTP_REPLY(250, NULL, "mx"), 0);
    say(s, "MAIL FROM:<a@s.test>\r\n");
    smtp_server_answer(s->engine, SMTP_REPLY(250, "2.1.0", "ok"), 0);
    for (int i = 0; i < 3; i++) {
        say(s, "RCPT TO:<ok@d.test>\r\n");
        smtp_server_answer(s->engine, SMTP_REPLY(250, "2.1.5", "ok"), 0);
    }
    say(s, "BDAT 1 LAST\r\nx");
    smtp_server_answer(s->engine, SMTP_REPLY(452, "4.3.1", "full"), 0);
    gather(s);
    vr_buf_reset(&s->said);
    pump(s);
    vr_buf_add_byte(&s->said, '\0');
    assert_string_equal(vr_buf_str(&s->said).p, "452 4.3.1 full\r\n452 4.3.1 full\r\n452 4.3.1 full\r\n");
    close_session(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events),      cmocka_unit_test(owner_refuses),     cmocka_unit_test(one_end_each),
        cmocka_unit_test(flat_chunks), cmocka_unit_test(handshake_forgets), cmocka_unit_test(many_chunks),
        cmocka_unit_test(deadlines),   cmocka_unit_test(shut_down),         cmocka_unit_test(every_cut),
        cmocka_unit_test(lmtp),        cmocka_unit_test(several_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
