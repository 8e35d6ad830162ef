/* dsn.c - NOTIFY, xtext, ORCPT, ENVID (RFC 3461); reports, taken apart again (RFC 3464, 6522). */
#include <veredus/dsn.h>
#include <veredus/message.h>

#include "lib_testing.h"

static struct vr_buf report;

static int setup(void **state)
{
    vr_buf_init(&report, 1u << 20);
    return arena_setup(state);
}

static int teardown(void **state)
{
    vr_buf_fini(&report);
    return arena_teardown(state);
}

/* ---- parameters ------------------------------------------------------------------------------------------------------ */

static void test_notify(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned bits; /* 0: refused */
    } rows[] = {{"NEVER", DSN_NOTIFY_NEVER},
                {"success", DSN_NOTIFY_SUCCESS},
                {"SUCCESS,FAILURE,DELAY", DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY},
                {"", 0},
                {"NEVER,DELAY", 0},
                {"DELAY,NEVER", 0},
                {"DELAY,DELAY", 0},
                {"DELAY,", 0},
                {",DELAY", 0},
                {"DELAYED", 0},
                {"FAILURE DELAY", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned bits = 0;
        enum vr_err err = dsn_notify_parse(vr_str_from(rows[i].text), &bits);
        if (err != (rows[i].bits != 0 ? VR_OK : VR_ERR_SYNTAX) || (err == VR_OK && bits != rows[i].bits))
            fail_msg("%s: error %d, bits %u", rows[i].text, (int)err, bits);
        unsigned again = 0;
        vr_buf_reset(&report);
        if (err == VR_OK) {
            assert_true(dsn_notify_write(&report, bits));
            assert_int_equal(dsn_notify_parse(vr_buf_str(&report), &again), VR_OK);
            assert_int_equal(again, bits);
        }
    }
}

static void test_xtext(void **state)
{
    (void)state;
    static const struct {
        const char *encoded, *plain; /* plain NULL: refused */
    } rows[] = {{"abc", "abc"},  {"a+2Bb+3Dc", "a+b=c"}, {"", ""},        {"a+20b", "a b"},
                {"a+2bb", NULL}, {"a+0D+0Ab", NULL},     {"a+00b", NULL}, {"a+7Fb", NULL},
                {"a+2", NULL},   {"a+", NULL},           {"a+GGb", NULL}, {"a=b", NULL},
                {"a b", NULL},   {"\xc3\xa4", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vr_buf_reset(&report);
        enum vr_err err = dsn_xtext_decode(&report, vr_str_from(rows[i].encoded));
        if (err != (rows[i].plain != NULL ? VR_OK : VR_ERR_SYNTAX))
            fail_msg("%s: error %d", rows[i].encoded, (int)err);
        if (rows[i].plain == NULL)
            continue;
        assert_text(vr_buf_str(&report), rows[i].plain);
        vr_buf_reset(&report);
        assert_true(dsn_xtext_encode(&report, vr_str_from(rows[i].plain)));
        assert_text(vr_buf_str(&report), rows[i].encoded);
    }
}

static void test_orcpt_and_envid(void **state)
{
    (void)state;
    char longest[512], envid[102];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "rfc822;", 7);
    memset(envid, 'e', sizeof envid);
    assert_int_equal(dsn_orcpt_check(VR_STR("rfc822;ann+2Bx@example.org"), false), VR_OK);
    assert_int_equal(dsn_orcpt_check(VR_STR("x400;/c=us"), false), VR_ERR_SYNTAX); /* "=" must be +3D */
    assert_int_equal(dsn_orcpt_check(VR_STR("rfc822;"), false), VR_ERR_SYNTAX);
    assert_int_equal(dsn_orcpt_check(VR_STR("ann@example.org"), false), VR_ERR_SYNTAX);
    assert_int_equal(dsn_orcpt_check(VR_STR(";ann@example.org"), false), VR_ERR_SYNTAX);
    assert_int_equal(dsn_orcpt_check(VR_STR("rfc822;a+0Ax@y"), false), VR_ERR_SYNTAX);
    assert_int_equal(dsn_orcpt_check(vr_str(longest, 500), false), VR_OK);
    assert_int_not_equal(dsn_orcpt_check(vr_str(longest, 501), false), VR_OK);
    assert_int_equal(dsn_envid_check(vr_str(envid, 100)), VR_OK);
    assert_int_not_equal(dsn_envid_check(vr_str(envid, 101)), VR_OK);
    assert_int_equal(dsn_envid_check(VR_STR("q+0D+0AX:y")), VR_ERR_SYNTAX);
    assert_int_equal(dsn_envid_check(VR_STR("")), VR_ERR_SYNTAX);
}

/* RFC 6533 §3: the ABNF of HEXPOINT, row by row. */
static void test_unitext(void **state)
{
    (void)state;
    static const struct {
        const char *encoded, *plain; /* plain NULL: does not follow the grammar */
        bool again;                  /* encoding leads back */
    } rows[] = {{"abc@example.org", "abc@example.org", true},
                {"j\\x{F6}rg", "jörg", true},
                {"j\\x{f6}rg", "jörg", false},
                {"jörg", "jörg", false},
                {"a\\x{2B}b\\x{3D}c\\x{5C}d\\x{20}e", "a+b=c\\d e", true},
                {"\\x{3A9}\\x{4F8B}\\x{1F4E7}\\x{10FFFD}", "Ω例\xf0\x9f\x93\xa7\xf4\x8f\xbf\xbd", true},
                {"\\x{D7FF}\\x{E000}", "\xed\x9f\xbf\xee\x80\x80", true},
                {"", "", true},
                {"a+b", NULL, false},
                {"a=b", NULL, false},
                {"a b", NULL, false},
                {"a\\b", NULL, false},
                {"\\x{F}", NULL, false},
                {"\\x{0F6}", NULL, false},
                {"\\x{1234567}", NULL, false},
                {"\\x{}", NULL, false},
                {"\\x{F6", NULL, false},
                {"\\x{G6}", NULL, false},
                {"\\x{D800}", NULL, false},
                {"\\x{110000}", NULL, false},
                {"\\x{0A}", NULL, false}, /* would begin a line */
                {"\\x{7F}", NULL, false},
                {"\\x{9B}", NULL, false},
                {"\xf6", NULL, false},
                {"\xc2\x85", NULL, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vr_buf_reset(&report);
        enum vr_err e = dsn_unitext_decode(&report, vr_str_from(rows[i].encoded));
        if (e != (rows[i].plain != NULL ? VR_OK : VR_ERR_SYNTAX))
            fail_msg("%s: %s", rows[i].encoded, vr_err_name(e));
        assert_text(vr_buf_str(&report), rows[i].plain != NULL ? rows[i].plain : "");
        if (!rows[i].again)
            continue;
        vr_buf_reset(&report);
        assert_true(dsn_unitext_encode(&report, vr_str_from(rows[i].plain), true));
        assert_text(vr_buf_str(&report), rows[i].encoded);
    }
}

static void test_orcpt_forms(void **state)
{
    (void)state;
    vr_buf_reset(&report);
    assert_true(dsn_unitext_encode(&report, VR_STR("jörg+a=b\\@bücher.example"), false));
    assert_text(vr_buf_str(&report), "jörg\\x{2B}a\\x{3D}b\\x{5C}@bücher.example");
    static const struct {
        const char *value, *type, *address, *ascii;
    } rows[] = {{"rfc822;ann+2Bx@example.org", "rfc822", "ann+x@example.org", "rfc822;ann+2Bx@example.org"},
                {"utf-8;jörg@bücher.example", "utf-8", "jörg@bücher.example",
                 "utf-8;j\\x{F6}rg@b\\x{FC}cher.example"},
                {"utf-8;j\\x{F6}rg@example.org", "utf-8", "jörg@example.org", "utf-8;j\\x{F6}rg@example.org"},
                {"UTF-8;a+2Bb@example.org", "UTF-8", "a+2Bb@example.org", "UTF-8;a+2Bb@example.org"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str type;
        vr_buf_reset(&report);
        assert_int_equal(dsn_orcpt_decode(&report, vr_str_from(rows[i].value), &type), VR_OK);
        assert_text(type, rows[i].type);
        assert_text(vr_buf_str(&report), rows[i].address);
        vr_buf_reset(&report);
        assert_true(dsn_orcpt_ascii(&report, vr_str_from(rows[i].value)));
        assert_text(vr_buf_str(&report), rows[i].ascii);
    }
    struct vr_str type;
    vr_buf_reset(&report);
    assert_int_equal(dsn_orcpt_decode(&report, VR_STR("no type"), &type), VR_ERR_SYNTAX);
    assert_int_equal(dsn_orcpt_decode(&report, VR_STR("rfc822;jörg@x.y"), &type), VR_ERR_SYNTAX);
    assert_false(dsn_orcpt_ascii(&report, VR_STR("utf-8;j\xf6rg")));
}

static void test_status(void **state)
{
    (void)state;
    static const struct {
        const char *text, *status; /* NULL: none */
    } rows[] = {{"5.1.1 no such user", "5.1.1"},
                {"4.7.999", "4.7.999"},
                {"2.0.0\nmore", "2.0.0"},
                {"3.1.1 x", NULL},
                {"5.1", NULL},
                {"5.1.1000 x", NULL},
                {"5.1.1x", NULL},
                {"no 5.1.1", NULL},
                {"", NULL},
                {"5..1", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str status;
        bool found = dsn_status_find(vr_str_from(rows[i].text), &status);
        if (found != (rows[i].status != NULL))
            fail_msg("%s", rows[i].text);
        if (found)
            assert_text(status, rows[i].status);
    }
}

/* ---- reports ----------------------------------------------------------------------------------------------------------- */

static const char original[] = "From: ann@d.test\r\nSubject: hello\r\n\r\nthe body\r\n";

static struct dsn_recipient failed = {.final_recipient = VR_STR("bob@x.test"),
                                      .orcpt = VR_STR("rfc822;b+2Bob@x.test"),
                                      .action = DSN_FAILED,
                                      .status = VR_STR("5.1.1"),
                                      .diagnostic = VR_STR("550 5.1.1 no such user"),
                                      .diagnostic_is_smtp = true,
                                      .remote_mta = VR_STR("mx.x.test"),
                                      .last_attempt = 1795452771};

static struct dsn about(const struct dsn_recipient *recipients, size_t n)
{
    return (struct dsn){.reporting_mta = VR_STR("mail.d.test"),
                        .to = VR_STR("ann@d.test"),
                        .envid = VR_STR("QQ+2B1"),
                        .queue_id = VR_STR("0F3K"),
                        .arrival_date = 1795452000,
                        .now = 1795452771,
                        .message_id = VR_STR("1@mail.d.test"),
                        .boundary = VR_STR("=_b1"),
                        .recipients = recipients,
                        .recipient_count = n,
                        .original = vr_str_from(original),
                        .original_is_whole = true};
}

/* The parts between the boundaries; how many there are. */
static size_t parts_of(struct vr_str message, const char *boundary, struct vr_str parts[8])
{
    char line[80];
    size_t n = 0;
    snprintf(line, sizeof line, "\r\n--%s", boundary);
    struct vr_str mark = vr_str_from(line);
    size_t at = vr_str_find_str(message, mark);
    assert_true(at != VR_NPOS);
    struct vr_str rest = vr_str_from_pos(message, at + mark.n);
    while (vr_str_starts(rest, VR_STR("\r\n"))) {
        assert_true(n < 8);
        rest = vr_str_from_pos(rest, 2);
        at = vr_str_find_str(rest, mark);
        assert_true(at != VR_NPOS);
        parts[n++] = vr_str_sub(rest, 0, at);
        rest = vr_str_from_pos(rest, at + mark.n);
    }
    assert_true(vr_str_starts(rest, VR_STR("--"))); /* the closing boundary */
    return n;
}

static struct vr_str field(struct vr_str block, const char *name)
{
    struct header_field f;
    return header_find(block, vr_str_from(name), &f) ? header_unfold(&arena, f.body) : vr_str(NULL, 0);
}

/* Blocks of fields between blank lines: the message's, then one for each recipient. */
static struct vr_str block(struct vr_str status_part, size_t number)
{
    struct header_reader r;
    struct header_field f;
    header_reader_init(&r, status_part); /* the part's own header */
    for (;; number--) {
        while (header_next(&r, &f))
            continue;
        struct vr_str rest = header_body(&r);
        if (number == 0)
            return rest;
        header_reader_init(&r, rest);
    }
}

static void test_failure(void **state)
{
    (void)state;
    struct dsn d = about(&failed, 1);
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    struct vr_str m = vr_buf_str(&report), parts[8];
    assert_text(field(m, "To"), "ann@d.test");
    assert_true(has(field(m, "From"), "@mail.d.test"));
    assert_text(field(m, "Auto-Submitted"), "auto-replied");
    assert_text(field(m, "Message-ID"), "<1@mail.d.test>");
    assert_true(has(field(m, "Content-Type"), "multipart/report"));
    assert_true(has(field(m, "Content-Type"), "report-type=delivery-status"));
    assert_text(field(m, "MIME-Version"), "1.0");
    assert_int_equal(parts_of(m, "=_b1", parts), 3);
    assert_true(has(field(parts[0], "Content-Type"), "text/plain"));
    assert_true(has(parts[0], "bob@x.test") && has(parts[0], "no such user"));
    assert_text(field(parts[1], "Content-Type"), "message/delivery-status");
    struct vr_str of_message = block(parts[1], 0), of_bob = block(parts[1], 1);
    assert_text(field(of_message, "Reporting-MTA"), "dns; mail.d.test");
    assert_text(field(of_message, "Original-Envelope-Id"), "QQ+1");
    assert_text(field(of_message, "Arrival-Date"), "Mon, 23 Nov 2026 16:40:00 +0000");
    assert_text(field(of_bob, "Original-Recipient"), "rfc822;b+ob@x.test");
    assert_text(field(of_bob, "Final-Recipient"), "rfc822; bob@x.test");
    assert_text(field(of_bob, "Action"), "failed");
    assert_text(field(of_bob, "Status"), "5.1.1");
    assert_text(field(of_bob, "Remote-MTA"), "dns; mx.x.test");
    assert_text(field(of_bob, "Diagnostic-Code"), "smtp; 550 5.1.1 no such user");
    assert_int_equal(field(of_bob, "Will-Retry-Until").n, 0);
    assert_text(field(parts[2], "Content-Type"), "message/rfc822");
    assert_true(has(parts[2], "the body"));
}

static void test_actions(void **state)
{
    (void)state;
    static const struct {
        enum dsn_action action;
        const char *word, *status;
    } rows[] = {{DSN_FAILED, "failed", "5.0.0"},
                {DSN_DELAYED, "delayed", "4.0.0"},
                {DSN_DELIVERED, "delivered", "2.0.0"},
                {DSN_RELAYED, "relayed", "2.0.0"},
                {DSN_EXPANDED, "expanded", "2.0.0"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dsn_recipient r = {.final_recipient = VR_STR("bob@x.test"),
                                  .action = rows[i].action,
                                  .status = vr_str_from(rows[i].status),
                                  .diagnostic = VR_STR("said here"),
                                  .will_retry_until = rows[i].action == DSN_DELAYED ? 1795453000 : 0};
        struct dsn d = about(&r, 1);
        struct vr_str parts[8];
        vr_buf_reset(&report);
        assert_int_equal(dsn_build(&report, &d), VR_OK);
        assert_int_equal(parts_of(vr_buf_str(&report), "=_b1", parts), 3);
        struct vr_str of_bob = block(parts[1], 1);
        assert_text(field(of_bob, "Action"), rows[i].word);
        assert_text(field(of_bob, "Status"), rows[i].status);
        assert_int_equal(field(of_bob, "Will-Retry-Until").n > 0, rows[i].action == DSN_DELAYED);
        assert_int_equal(field(of_bob, "Original-Recipient").n, 0);
        assert_int_equal(field(of_bob, "Remote-MTA").n, 0);
        assert_true(field(of_bob, "Diagnostic-Code").n == 0 ||
                    has(field(of_bob, "Diagnostic-Code"), "x-veredus; said here"));
    }
}

/* What a server, or the one who wrote the message, said starts no line, no field and no part. */
static void test_hostile(void **state)
{
    (void)state;
    struct dsn_recipient r = failed;
    r.diagnostic = VR_STR("550 a\r\nBcc: eve@x\r\n\r\n--=_b1--\r\nb\0c\x1b[31m");
    r.remote_mta = VR_STR("mx\r\nX-Evil: 1");
    r.orcpt = VR_STR("rfc822;a+0D+0AX-Evil:1@x");
    struct dsn d = about(&r, 1);
    d.envid = VR_STR("q+0D+0AX-Evil:1");
    struct vr_str parts[8];
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    struct vr_str m = vr_buf_str(&report);
    assert_int_equal(parts_of(m, "=_b1", parts), 3);
    assert_false(has(m, "\nBcc") || has(m, "\nX-Evil"));
    assert_false(has(m, "\x1b"));
    struct vr_str rest = m, line;
    for (size_t i = 0; i < m.n; i++)
        assert_true(m.p[i] != '\n' || (i > 0 && m.p[i - 1] == '\r'));
    while (vr_str_split(&rest, '\n', &line))
        assert_true(line.n <= 999);
}

/* Lines of at most 998 octets (RFC 5322 §2.1.1), however long-winded the server was; a lone CR of the original ends no line, and its NULs stay away. */
static void test_long_words(void **state)
{
    (void)state;
    char chatter[1990], solid[3000];
    for (size_t i = 0; i < sizeof chatter; i++)
        chatter[i] = i % 9 == 8 ? ' ' : 'c';
    memset(solid, 's', sizeof solid);
    const struct vr_str said[] = {vr_str(chatter, sizeof chatter), vr_str(solid, sizeof solid)};
    for (size_t i = 0; i < 2; i++) {
        struct dsn_recipient r = failed;
        r.diagnostic = r.remote_mta = said[i];
        struct dsn d = about(&r, 1);
        d.original = VR_STR("Subject: a\rb\r\r\n\nla\0st\r");
        vr_buf_reset(&report);
        assert_int_equal(dsn_build(&report, &d), VR_OK);
        struct vr_str rest = vr_buf_str(&report), line, parts[8];
        size_t most = 0;
        while (vr_str_split(&rest, '\n', &line)) {
            assert_true(line.n > 0 && vr_str_find(line, '\r') == line.n - 1);
            most = line.n - 1 > most ? line.n - 1 : most;
        }
        assert_true(most <= 998);
        assert_int_equal(parts_of(vr_buf_str(&report), "=_b1", parts), 3);
        size_t column = vr_str_find_str(parts[0], VR_STR("it said: "));
        assert_true(column != VR_NPOS && (i == 1 || has(parts[0], "ccc\r\n      ccc")));
        assert_true(has(parts[2], "Subject: a b \r\n\r\nla st"));
    }
}

static void test_headers_only(void **state)
{
    (void)state;
    struct dsn d = about(&failed, 1);
    struct vr_str parts[8];
    d.original = VR_STR("From: ann@d.test\r\nSubject: hello\r\n");
    d.original_is_whole = false;
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    assert_int_equal(parts_of(vr_buf_str(&report), "=_b1", parts), 3);
    assert_text(field(parts[2], "Content-Type"), "text/rfc822-headers");
    assert_true(has(parts[2], "Subject: hello"));
}

static void test_eight_bit(void **state)
{
    (void)state;
    struct dsn d = about(&failed, 1);
    struct vr_str parts[8];
    d.original = VR_STR("Subject: x\r\n\r\ngr\xc3\xbc\xc3\x9f\r\n");
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    assert_int_equal(parts_of(vr_buf_str(&report), "=_b1", parts), 3);
    assert_text(field(parts[2], "Content-Transfer-Encoding"), "8bit");
    assert_text(field(vr_buf_str(&report), "Content-Transfer-Encoding"), "8bit"); /* RFC 2045 §6.4 */
    vr_buf_reset(&report);
    d.original = vr_str_from(original);
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    assert_true(vr_str_is_ascii(vr_buf_str(&report)));
    assert_false(has(vr_buf_str(&report), "8bit"));
}

static const struct dsn_recipient joerg = {.final_recipient = VR_STR_INIT("jörg@bücher.test"),
                                           .orcpt = VR_STR_INIT("utf-8;J\\x{F6}rg+2B@x.test"),
                                           .action = DSN_FAILED,
                                           .status = VR_STR_INIT("5.1.1"),
                                           .diagnostic =
                                               VR_STR_INIT("550 5.1.1 niemand heißt so\xc2\x85hier\xff"),
                                           .diagnostic_is_smtp = true,
                                           .remote_mta = VR_STR_INIT("mx.x.test")};

static void test_utf8(void **state)
{
    (void)state;
    struct dsn_recipient list[2] = {joerg, failed};
    list[0].orcpt = VR_STR("utf-8;J\\x{F6}rg@x.test");
    struct dsn d = about(list, 2);
    struct vr_str parts[8];
    d.to = VR_STR("ännchen@d.test");
    d.utf8 = d.original_utf8 = true;
    d.original = VR_STR("Subject: Grüße\r\n\r\nx\r\n");
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    struct vr_str m = vr_buf_str(&report);
    assert_true(vr_utf8_valid(m));
    assert_text(field(m, "To"), "ännchen@d.test");
    assert_text(field(m, "Content-Transfer-Encoding"), "8bit");
    assert_int_equal(parts_of(m, "=_b1", parts), 3);
    assert_text(field(parts[0], "Content-Type"), "text/plain; charset=utf-8");
    assert_text(field(parts[0], "Content-Transfer-Encoding"), "8bit");
    assert_true(has(parts[0], "<jörg@bücher.test>") && has(parts[0], "niemand heißt so hier?"));
    assert_text(field(parts[1], "Content-Type"), "message/global-delivery-status");
    assert_text(field(parts[1], "Content-Transfer-Encoding"), "8bit"); /* RFC 6533 §6.4 */
    struct vr_str of_joerg = block(parts[1], 1), of_bob = block(parts[1], 2);
    assert_text(field(of_joerg, "Original-Recipient"), "utf-8;Jörg@x.test"); /* §4.1: converted upwards */
    assert_text(field(of_joerg, "Final-Recipient"), "utf-8; jörg@bücher.test");
    assert_text(field(of_joerg, "Diagnostic-Code"), "smtp; 550 5.1.1 niemand heißt so hier?");
    assert_text(field(of_bob, "Final-Recipient"), "rfc822; bob@x.test");
    assert_text(field(parts[2], "Content-Type"), "message/global");
    assert_text(field(parts[2], "Content-Transfer-Encoding"), "8bit");
    assert_true(has(parts[2], "Subject: Grüße\r\n\r\nx\r\n"));
    d.original_is_whole = false;
    d.original = VR_STR("Subject: Grüße\r\n");
    vr_buf_reset(&report);
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    assert_int_equal(parts_of(vr_buf_str(&report), "=_b1", parts), 3);
    assert_text(field(parts[2], "Content-Type"), "message/global-headers");
}

/* RFC 6533 §3 (3), §4.5: the same for somebody whose server may know nothing of UTF-8. */
static void test_utf8_in_seven_bits(void **state)
{
    (void)state;
    struct dsn d = about(&joerg, 1);
    struct vr_str parts[8];
    d.original_utf8 = true;
    d.original = VR_STR("Subject: Grüße = hier\n\r\nx\r\n");
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    struct vr_str m = vr_buf_str(&report);
    assert_true(vr_str_is_ascii(m));
    assert_int_equal(field(m, "Content-Transfer-Encoding").n, 0);
    assert_int_equal(parts_of(m, "=_b1", parts), 3);
    assert_text(field(parts[0], "Content-Type"), "text/plain; charset=utf-8");
    assert_text(field(parts[0], "Content-Transfer-Encoding"), "quoted-printable");
    assert_true(has(parts[0], "<j=C3=B6rg@b=C3=BCcher.test>"));
    assert_text(field(parts[1], "Content-Type"), "message/delivery-status");
    struct vr_str of_joerg = block(parts[1], 1);
    assert_text(field(of_joerg, "Original-Recipient"),
                "utf-8;J\\x{F6}rg+2B@x.test"); /* not the grammar of utf-8: as it came */
    assert_text(field(of_joerg, "Final-Recipient"), "utf-8; j\\x{F6}rg@b\\x{FC}cher.test");
    assert_text(field(of_joerg, "Diagnostic-Code"), "smtp; 550 5.1.1 niemand hei?t so?hier?");
    assert_text(field(parts[2], "Content-Type"), "message/global");
    assert_text(field(parts[2], "Content-Transfer-Encoding"), "quoted-printable");
    assert_true(has(parts[2], "\r\n\r\nSubject: Gr=C3=BC=C3=9Fe =3D hier\r\n\r\nx\r\n"));
    d.original_is_whole = false;
    vr_buf_reset(&report);
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    assert_true(vr_str_is_ascii(vr_buf_str(&report)));
    assert_int_equal(parts_of(vr_buf_str(&report), "=_b1", parts), 3);
    assert_text(field(parts[2], "Content-Type"), "message/global-headers");
}

static void test_bounds(void **state)
{
    (void)state;
    struct dsn_recipient many[50];
    for (size_t i = 0; i < 50; i++)
        many[i] = failed;
    struct dsn d = about(many, 50);
    struct vr_str parts[8];
    assert_int_equal(dsn_build(&report, &d), VR_OK);
    assert_int_equal(parts_of(vr_buf_str(&report), "=_b1", parts), 3);
    assert_text(field(block(parts[1], 50), "Action"), "failed");
    struct vr_buf small;
    vr_buf_init(&small, 500);
    assert_int_equal(dsn_build(&small, &d), VR_ERR_TOO_BIG);
    assert_true(vr_buf_size(&small) <= 500);
    vr_buf_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_notify, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xtext, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orcpt_and_envid, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unitext, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orcpt_forms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_actions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eight_bit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_utf8, setup, teardown),
        cmocka_unit_test_setup_teardown(test_utf8_in_seven_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
