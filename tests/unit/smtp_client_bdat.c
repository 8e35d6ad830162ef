/* smtp_client_bdat.c - the client engine sends by BDAT: what leaves when, and servers that refuse, lie, break off or talk out of turn.
 *
 * smtp_client_play.h says how dialogues are written and run.
 */
#include "smtp_client_play.h"

#define HELLO   "S:220 server.example ESMTP\nC:EHLO me.example\nS:250-server.example\n"
#define CHUNKED "@chunking\n" HELLO "S:250-PIPELINING\nS:250-CHUNKING\nS:250 8BITMIME\nE:READY\n"
#define BINARY  HELLO "S:250-PIPELINING\nS:250-CHUNKING\nS:250 BINARYMIME\nE:READY\n"
#define SLOW    "@chunking\n" HELLO "S:250 CHUNKING\nE:READY\n"
#define LMTP                                                                                                 \
    "@lmtp\n@chunking\nS:220 server.example LMTP\nC:LHLO me.example\nS:250-server.example\nS:250-CHUNKING\n" \
    "S:250 PIPELINING\nE:READY\n"
#define MAIL1                                                                                                \
    "!mail 1\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nS:250 ok\nS:250 ok\n"           \
    "E:RCPT 0 250 - \"RCPT\" ok\nE:BODY\n"
#define TWO                                                                                                  \
    "!mail 1 two chunks\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nS:250 ok\nS:250 "    \
    "ok\n"                                                                                                   \
    "E:RCPT 0 250 - \"RCPT\" ok\nE:BODY\n"
#define SLOW1                                                                                                \
    "!mail 1\nC:MAIL FROM:<a@client.example>\nS:250 ok\nC:RCPT TO:<r0@server.example>\nS:250 ok\n"           \
    "E:RCPT 0 250 - \"RCPT\" ok\nE:BODY\n"
#define MAIL3                                                                                                \
    "!mail 3\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nC:RCPT "                        \
    "TO:<r1@server.example>\n"                                                                               \
    "C:RCPT TO:<r2@server.example>\nS:250 ok\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" ok\nS:550 no\n"              \
    "E:RCPT 1 550 - \"RCPT\" no!\nS:250 ok\nE:RCPT 2 250 - \"RCPT\" ok\nE:BODY\n"
#define TAKEN "S:250 2.0.0 ok\nE:RESULT * 250 2.0.0 \"BDAT\" 2.0.0 ok\nE:READY\n"
#define BYE   "!quit\nC:QUIT\nS:221 bye\nE:CLOSED\n"

static const char *const good[] = {
    /* what is small is one chunk; dots are dots */
    CHUNKED MAIL1
    "!body Subject: x\\r\\n\n!body .\\r\\n\n!pending 0 held 15\n!end\nC:BDAT 15 LAST\nC:Subject: x\nC:.\n"
    "!tick 600000\nE:FAILED 0 4.4.2 \"BDAT\" timed out waiting for the reply to the end of the message?\n",
    CHUNKED MAIL1 "!body Subject: x\\r\\n.\\r\\n\n!end\nC:BDAT 15 LAST\nC:Subject: x\nC:.\n" TAKEN BYE,
    CHUNKED MAIL1 "!end\nC:BDAT 0 LAST\n" TAKEN BYE,
    /* text ends with CRLF, as it would by DATA; what is binary ends as it does */
    CHUNKED MAIL1 "!body x\n!end\nC:BDAT 3 LAST\nC:x\n" TAKEN BYE,
    CHUNKED MAIL1 "!body x\\r\n!end\nC:BDAT 3 LAST\nC:x\n" TAKEN BYE,
    BINARY "!mail 1 binary\nC:MAIL FROM:<a@client.example> BODY=BINARYMIME\nC:RCPT "
           "TO:<r0@server.example>\nS:250 ok\nS:250 "
           "ok\nE:RCPT 0 250 - \"RCPT\" ok\nE:BODY\n!body x\\r\\n\\r\\n\\x80\\n.\\r\n!end\nC:BDAT 9 "
           "LAST\nC:x\nC:\n!sent 4\n" TAKEN BYE,
    /* nobody asked for chunks, or they are not offered: DATA */
    BINARY "!mail 1\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nC:DATA\nS:250 ok\nS:250 "
           "ok\nE:RCPT 0 250 - "
           "\"RCPT\" ok\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\nE:RESULT * 250 - \".\" ok\nE:READY\n" BYE,
    "@chunking\n" HELLO "S:250 PIPELINING\nE:READY\n!mail 1\nC:MAIL FROM:<a@client.example>\nC:RCPT "
    "TO:<r0@server.example>\nC:DATA\n"
    "S:250 ok\nS:250 ok\nE:RCPT 0 250 - \"RCPT\" ok\nS:354 go\nE:BODY\n!end\nC:.\nS:250 ok\nE:RESULT * 250 - "
    "\".\" ok\nE:READY\n" BYE,
    /* several chunks are out at once; LAST waits for them */
    CHUNKED MAIL1 "!fill 70000\n!pending 70012 held 0\n!fill 80000\n!fill 90000\n!pending 240036 held "
                  "0\nC:BDAT 70000\n!sent 70000\n"
                  "C:BDAT 80000\n!sent 80000\nC:BDAT 90000\n!sent 90000\n!body x\n!end\n!pending 0 held "
                  "3\nS:250 70000 octets\nS:250 80000 octets\n"
                  "!pending 0 held 3\nS:250 90000 octets\nC:BDAT 3 LAST\nC:x\n" TAKEN MAIL1
                  "!end\nC:BDAT 0 LAST\n" TAKEN BYE,
    CHUNKED MAIL1
    "!fill 70000\n!body x\n!pending 70012 held 1\nC:BDAT 70000\n!sent 1000\n!tick 180000\nE:FAILED 0 4.4.2 "
    "\"BDAT\" "
    "timed out sending the message in chunks\n!pending 69000 held 1\n!body x\n!end\n!sent 69000\n",
    /* small pieces gather */
    CHUNKED MAIL1 "!fill 30000\n!fill 30000\n!pending 0 held 60000\n!fill 6000\n!pending 66012 held 0\n!fill "
                  "1000\nC:BDAT 66000\n"
                  "!sent 66000\nS:250 ok\n!end\nC:BDAT 1000 LAST\n!sent 1000\n" TAKEN BYE,
    /* the piece that completes the size is for LAST; if it was not the last after all, no harm is done */
    CHUNKED TWO
    "!fill 70000\n!fill 70000\n!pending 70012 held 70000\nC:BDAT 70000\n!sent 70000\n!end\nS:250 ok\n"
    "C:BDAT 70000 LAST\n!sent 70000\n" TAKEN BYE,
    CHUNKED TWO "!fill 70000\n!fill 70000\n!fill 100\n!pending 140124 held 0\nC:BDAT 70000\n!sent "
                "70000\nC:BDAT 70100\n!sent 70100\n"
                "!end\nS:250 ok\nS:250 ok\nC:BDAT 0 LAST\n" TAKEN BYE,
    /* without PIPELINING one after the other */
    SLOW SLOW1
    "!fill 70000\n!fill 80000\n!fill 90000\n!pending 70012 held 170000\nC:BDAT 70000\n!sent 70000\nS:250 ok\n"
    "!pending 170013 held 0\nC:BDAT 170000\n!sent 170000\n!fill 100\n!end\n!pending 0 held 100\nS:250 ok\n"
    "C:BDAT 100 LAST\n!sent 100\n" TAKEN BYE,
    SLOW "!mail 1\nC:MAIL FROM:<a@client.example>\nS:250 ok\nC:RCPT TO:<r0@server.example>\nS:450 no\nE:RCPT "
         "0 450 - \"RCPT\" no\n"
         "C:RSET\nS:250 ok\nE:READY\n" BYE,
    /* LMTP: a result for each accepted recipient */
    LMTP MAIL3 "!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 70000\n!end\nS:250 ok\nC:BDAT 10 LAST\n!sent 10\n"
               "S:250 2.1.5 stored\nE:RESULT 0 250 2.1.5 \"BDAT\" 2.1.5 stored\n"
               "S:452 4.2.2 full\nE:RESULT 2 452 4.2.2 \"BDAT\" 4.2.2 full\nE:READY\n" BYE,
};

static void test_good(void **state)
{
    (void)state;
    RUN(good);
}

static void test_broken_everywhere(void **state)
{
    (void)state;
    assert_true(broken_everywhere(good, sizeof good / sizeof *good) > 500);
}

static const char *const refusals[] = {
    /* nobody is there: no chunk leaves */
    CHUNKED "!mail 1\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nS:250 ok\nS:550 "
            "no\nE:RCPT 0 550 - \"RCPT\" no!\n"
            "C:RSET\nS:250 ok\nE:READY\n" BYE,
    CHUNKED "!mail 1\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nS:451 no\nE:RCPT 0 451 "
            "- \"MAIL\" no\nS:503 x\n"
            "E:READY\n" BYE,
    CHUNKED "!mail 1\nC:MAIL FROM:<a@client.example>\nC:RCPT TO:<r0@server.example>\nS:451 no\nE:RCPT 0 451 "
            "- \"MAIL\" no\nS:250 ok\n"
            "C:RSET\nS:250 ok\nE:READY\n" BYE,
    SLOW "!mail 1\nC:MAIL FROM:<a@client.example>\nS:550 no\nE:RCPT 0 550 - \"MAIL\" no!\nE:READY\n" BYE,
    /* a binary message stays here without BINARYMIME, or without CHUNKING */
    "@chunking\n" HELLO "S:250 CHUNKING\nE:READY\n!mail 2 binary\n"
    "E:RCPT 0 554 5.6.3 \"MAIL\" the message is binary, and the server takes none such (BINARYMIME): not "
    "sent to it!\n"
    "E:RCPT 1 554 5.6.3 \"MAIL\" the message is binary, and the server takes none such (BINARYMIME): not "
    "sent to it!\nE:READY\n" BYE,
    HELLO "S:250-8BITMIME\nS:250 BINARYMIME\nE:READY\n!mail 1 binary\n"
          "E:RCPT 0 554 5.6.3 \"MAIL\" the message is binary, and the server takes none such (BINARYMIME): "
          "not sent to it!\nE:READY\n" BYE,
    /* the end is refused: RSET (RFC 3030 §2) */
    CHUNKED MAIL1 "!end\nC:BDAT 0 LAST\nS:554 5.7.1 spam\nE:RESULT * 554 5.7.1 \"BDAT\" 5.7.1 "
                  "spam!\nC:RSET\nS:250 ok\nE:READY\n" BYE,
    CHUNKED MAIL1 "!end\nC:BDAT 0 LAST\nS:451 x\nE:RESULT * 451 - \"BDAT\" x\nC:RSET\nS:502 ?\nE:FAILED 502 "
                  "- \"RSET\" ?!\n",
    LMTP MAIL3 "!end\nC:BDAT 0 LAST\nS:452 a\nE:RESULT 0 452 - \"BDAT\" a\nS:452 b\nE:RESULT 2 452 - "
               "\"BDAT\" b\nC:RSET\nS:250 ok\n"
               "E:READY\n" BYE,
    /* a chunk is refused while others are out: their replies are nobody's, nothing more leaves */
    CHUNKED MAIL1
    "!fill 70000\n!fill 70000\n!fill 70000\n!fill 100\nC:BDAT 70000\n!sent 70000\nC:BDAT 70000\n!sent 70000\n"
    "C:BDAT 70000\n!sent 70000\nS:552 5.3.4 too large\nE:RESULT * 552 5.3.4 \"BDAT\" 5.3.4 too large!\n!fill "
    "70000\n!end\n"
    "!pending 0 held 0\nS:503 x\nS:250 what\nC:RSET\nS:250 ok\nE:READY\n" MAIL1
    "!end\nC:BDAT 0 LAST\n" TAKEN BYE,
    /* … one of them on its way: it leaves whole, those behind it do not */
    CHUNKED MAIL1 "!fill 70000\n!fill 70000\n!fill 70000\n!fill 100\nC:BDAT 70000\n!sent 70000\n!sent "
                  "10\n!pending 140014 held 100\n"
                  "S:452 4.3.1 full\nE:RESULT * 452 4.3.1 \"BDAT\" 4.3.1 full\n!pending 70002 held 0\n!sent "
                  "70000\n!end\n!sent 2\nS:503 x\n"
                  "C:RSET\nS:250 ok\nE:READY\n" BYE,
    /* … none of them on its way */
    CHUNKED MAIL1 "!fill 70000\n!fill 70000\n!fill 70000\nC:BDAT 70000\n!sent 70000\nS:452 4.3.1 full\n"
                  "E:RESULT * 452 4.3.1 \"BDAT\" 4.3.1 full\nC:RSET\nS:250 ok\nE:READY\n" BYE,
    SLOW SLOW1 "!fill 70000\n!fill 70000\nC:BDAT 70000\n!sent 70000\n!end\nS:452 4.3.1 full\nE:RESULT * 452 "
               "4.3.1 \"BDAT\" 4.3.1 full\n"
               "C:RSET\nS:250 ok\nE:READY\n" BYE,
    LMTP MAIL3
    "!fill 70000\n!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 70000\nC:BDAT 70000\n!sent 70000\n!end\nS:554 "
    "no\n"
    "E:RESULT 0 554 - \"BDAT\" no!\nE:RESULT 2 554 - \"BDAT\" no!\nS:503 x\nC:RSET\nS:250 ok\nE:READY\n" BYE,
};

static void test_refusals(void **state)
{
    (void)state;
    RUN(refusals);
}

static const char *const failures[] = {
    /* replies to what has not left whole */
    CHUNKED MAIL1
    "S:250 2.0.0 thanks\nE:FAILED 0 4.5.0 \"BDAT\" the server replied 250 before it was asked anything\n",
    CHUNKED MAIL1 "!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 69999\nS:250 ok\n"
                  "E:FAILED 0 4.5.0 \"BDAT\" the server replied 250 before it was asked anything\n!sent 1\n",
    CHUNKED MAIL1 "!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 10\nS:552 5.3.4 too large\nE:FAILED 552 5.3.4 "
                  "\"BDAT\" 5.3.4 too large!\n"
                  "!sent 69990\n",
    CHUNKED MAIL1
    "!fill 70000\n!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 70000\n!sent 70\nS:250 ok\nS:250 ok\n"
    "E:FAILED 0 4.5.0 \"BDAT\" the server replied 250 before it was asked anything\n!sent 69942\n",
    CHUNKED MAIL1 "!fill 10\n!end\n!sent 5\nS:250 ok\nE:FAILED 0 4.5.0 \"BDAT\" the server replied 250 "
                  "before it was asked anything\n"
                  "!sent 19\n",
    CHUNKED MAIL1
    "!fill 70000\n!fill 70000\n!fill 10\n!sent 70022\nS:554 no\nE:RESULT * 554 - \"BDAT\" no!\nS:503 x\n"
    "E:FAILED 503 - \"BDAT\" x!\n!sent 70002\n",
    /* replies that mean nothing there */
    CHUNKED MAIL1 "!end\nC:BDAT 0 LAST\nS:354 go\nE:FAILED 0 4.5.0 \"BDAT\" the server replied 354 to BDAT, "
                  "which has no meaning there?\n",
    CHUNKED MAIL1 "!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 70000\nS:354 go\n"
                  "E:FAILED 0 4.5.0 \"BDAT\" the server replied 354 to BDAT, which has no meaning there\n",
    CHUNKED MAIL1
    "!fill 70000\n!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 70000\nC:BDAT 70000\n!sent 70000\nS:554 no\n"
    "E:RESULT * 554 - \"BDAT\" no!\nS:334 x\n"
    "E:FAILED 0 4.5.0 \"BDAT\" the server replied 334 to BDAT, which has no meaning there\n",
    /* one too many */
    CHUNKED MAIL1 "!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 70000\nS:250 ok\nS:250 ok\n"
                  "E:FAILED 0 4.5.0 \"BDAT\" the server replied 250 before it was asked anything\n!end\n",
    /* the end of the session */
    CHUNKED MAIL1 "!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 70000\nS:421 4.3.2 bye\nE:FAILED 421 4.3.2 "
                  "\"BDAT\" 4.3.2 bye\n",
    CHUNKED MAIL1 "!end\nC:BDAT 0 LAST\nS:421 4.3.2 bye\nE:FAILED 421 4.3.2 \"BDAT\" 4.3.2 bye?\n",
    CHUNKED MAIL1
    "!fill 70000\n!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 70000\nC:BDAT 70000\n!sent 70000\nS:554 no\n"
    "E:RESULT * 554 - \"BDAT\" no!\n!eof\n"
    "E:FAILED 0 4.4.2 \"BDAT\" the server closed the connection while we were waiting for the replies behind "
    "a refused "
    "chunk\n",
    CHUNKED MAIL1
    "!fill 70000\n!fill 70000\n!fill 10\nC:BDAT 70000\n!sent 70000\nC:BDAT 70000\n!sent 70000\nS:554 no\n"
    "E:RESULT * 554 - \"BDAT\" no!\n!tick 180000\nE:FAILED 0 4.4.2 \"BDAT\" timed out waiting for the "
    "replies behind a "
    "refused chunk\n",
};

static void test_failures(void **state)
{
    (void)state;
    RUN(failures);
}

/* Replies that were fed before the chunk was given do not answer it, although nobody has looked at them yet. */
static void test_fed_before(void **state)
{
    (void)state;
    for (int last = 0; last < 2; last++) {
        struct play p;
        play_begin(&p, WAY_LINES);
        run_until(&p, CHUNKED MAIL1, SIZE_MAX);
        smtp_client_feed(p.client, VR_STR("250 ok\r\n"), p.now);
        do_fill(&p, (char[]){"60000"});
        if (last)
            smtp_client_body_end(p.client, p.now);
        else
            do_fill(&p, (char[]){"70000"});
        smtp_client_sent(p.client, smtp_client_pending(p.client).n);
        pump(&p);
        char wanted[LINE]; /* with the last chunk all is out, and what this server did with it nobody knows */
        snprintf(wanted, sizeof wanted,
                 "FAILED 0 4.5.0 \"BDAT\" the server replied 250 before it was asked anything%s",
                 last ? "?" : "");
        assert_string_equal(last_event(&p), wanted);
        play_end(&p);
    }
}

/* More chunks than are ever out at once: what waits is held, and leaves with the replies. */
static void test_window(void **state)
{
    (void)state;
    static char text[100000];
    enum { CHUNKS = 100 };
    struct play p;
    unsigned sent = 0, replied = 0, most = 0;
    memset(text, 'x', sizeof text);
    play_begin(&p, WAY_LINES);
    run_until(&p, CHUNKED MAIL1, SIZE_MAX);
    for (int i = 0; i <= CHUNKS; i++)
        smtp_client_body(p.client, vr_str(text, sizeof text), p.now);
    assert_int_equal(smtp_client_held(p.client), (CHUNKS + 1 - 32) * sizeof text);
    smtp_client_body_end(p.client, p.now);
    uint64_t bytes = 0, size;
    bool last = false;
    while (!last) {
        struct vr_str out = smtp_client_pending(p.client);
        while (out.n > 0) { /* what leaves, as a server reads it */
            struct vr_str line = vr_str_sub(out, 5, vr_str_find(out, '\r') - 5);
            last = vr_str_ends_nocase(line, VR_STR(" LAST"));
            assert_true(vr_str_starts(out, VR_STR("BDAT ")));
            assert_true(vr_str_to_u64(vr_str_sub(line, 0, last ? line.n - 5 : line.n), &size));
            bytes += size;
            out = vr_str_from_pos(out, line.n + 7 + (size_t)size);
            sent += !last;
        }
        most = sent - replied > most ? sent - replied : most;
        assert_true(!last || sent == replied);
        smtp_client_sent(p.client, smtp_client_pending(p.client).n);
        if (!last) {
            feed(&p, VR_STR("250 ok\r\n"));
            replied++;
        }
    }
    assert_int_equal(bytes, (CHUNKS + 1) * sizeof text + 2);
    assert_int_equal(most, 32);
    feed(&p, VR_STR("250 ok\r\n"));
    assert_string_equal(last_event(&p), "READY");
    assert_int_equal(smtp_client_held(p.client), 0);
    play_end(&p);
}

/* Memory is bounded for an owner that gives and gives. */
static void test_given_too_fast(void **state)
{
    (void)state;
    static char text[1 << 20];
    struct play p;
    memset(text, 'x', sizeof text);
    play_begin(&p, WAY_LINES);
    run_until(&p, SLOW SLOW1, SIZE_MAX);
    for (int i = 0; i < 300; i++)
        smtp_client_body(p.client, vr_str(text, sizeof text), p.now);
    smtp_client_body_end(p.client, p.now);
    pump(&p);
    assert_string_equal(
        last_event(&p),
        "FAILED 0 4.3.0 \"BDAT\" the message was given faster than it was sent; memory is bounded");
    play_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),           cmocka_unit_test(test_broken_everywhere),
        cmocka_unit_test(test_refusals),       cmocka_unit_test(test_failures),
        cmocka_unit_test(test_window),         cmocka_unit_test(test_fed_before),
        cmocka_unit_test(test_given_too_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
