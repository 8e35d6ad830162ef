/* message.c - header fields read and written, encoded words, Received, dates. */
#include <veredus/message.h>

#include "lib_testing.h"

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static const char mail[] = "Received: one\r\n"
                           "Subject : hello\r\n\t world\r\n"
                           "RECEIVED: two\r\n"
                           "X-Empty:\r\n"
                           "\r\n"
                           "Not-A-Field: body\r\n";

static void test_fields(void **state)
{
    (void)state;
    static const struct {
        const char *name, *body, *raw;
    } rows[] = {{"Received", " one", "Received: one\r\n"},
                {"Subject", " hello\r\n\t world", "Subject : hello\r\n\t world\r\n"},
                {"RECEIVED", " two", "RECEIVED: two\r\n"},
                {"X-Empty", "", "X-Empty:\r\n"}};
    struct header_reader r;
    struct header_field f;
    header_reader_init(&r, vr_str_from(mail));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(header_next(&r, &f));
        assert_text(f.name, rows[i].name);
        assert_text(f.body, rows[i].body);
        assert_text(f.raw, rows[i].raw);
    }
    assert_false(header_next(&r, &f));
    assert_false(r.malformed);
    assert_text(header_body(&r), "Not-A-Field: body\r\n");
    assert_int_equal(header_count(vr_str_from(mail), VR_STR("received")), 2);
    assert_int_equal(header_count(vr_str_from(mail), VR_STR("not-a-field")), 0);
    assert_true(header_find(vr_str_from(mail), VR_STR("SUBJECT"), &f));
    assert_text(header_unfold(&arena, f.body), "hello\t world");
    assert_false(header_find(vr_str_from(mail), VR_STR("To"), &f));
}

/* Where the header ends, in mail that is not what it should be. */
static void test_ends_of_headers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned fields;
        bool malformed;
        const char *body;
    } rows[] = {
        {"", 0, false, ""},
        {"\r\nbody", 0, false, "body"},
        {"\nbody", 0, false, "body"},
        {"A: 1", 1, false, ""},
        {"A: 1\n\nbody", 1, false, "body"},
        {"A: 1\r\nno field here\r\n\r\nbody", 1, true, "no field here\r\n\r\nbody"},
        {" begins folded\r\nA: 1\r\n", 0, true, " begins folded\r\nA: 1\r\n"},
        {": no name\r\n", 0, true, ": no name\r\n"},
        {"Sp ace: 1\r\n", 0, true, "Sp ace: 1\r\n"},
        {"A: 1\r\n \r\n folded on\r\n\r\nbody", 1, false, "body"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct header_reader r;
        struct header_field f;
        unsigned n = 0;
        header_reader_init(&r, vr_str_from(rows[i].text));
        while (header_next(&r, &f))
            n++;
        if (n != rows[i].fields || r.malformed != rows[i].malformed)
            fail_msg("row %zu: %u fields, malformed %d", i, n, r.malformed);
        assert_text(header_body(&r), rows[i].body);
    }
    assert_text(header_first_body(VR_STR(" a\r\n b\r\nTo: c")), " a\r\n b\r");
    assert_text(header_first_body(VR_STR("a\n")), "a\n");
}

/* ---- writing ------------------------------------------------------------------------------------------------------- */

static struct vr_str written(struct vr_buf *b, const char *name, const char *body, bool encode)
{
    vr_buf_reset(b);
    assert_true(header_write(b, vr_str_from(name), vr_str_from(body), encode));
    return vr_buf_str(b);
}

static void test_write(void **state)
{
    (void)state;
    struct vr_buf b;
    vr_buf_init(&b, 1u << 20);
    assert_text(written(&b, "Subject", "hello", false), "Subject: hello\r\n");
    /* what a stranger said starts no field and ends no header */
    assert_text(written(&b, "Subject", "a\r\nBcc: eve@x\r\n\r\nbody", false),
                "Subject: a  Bcc: eve@x    body\r\n");
    struct vr_str s = written(&b, "Subject", "gr\xc3\xbc\xc3\x9f", true);
    assert_true(vr_str_is_ascii(s));
    struct header_field f;
    assert_true(header_find(s, VR_STR("Subject"), &f));
    assert_text(header_decode(&arena, header_unfold(&arena, f.body)), "gr\xc3\xbc\xc3\x9f");
    vr_buf_fini(&b);
}

/* Lines of 78 where there are blanks, of 998 always (RFC 5322 §2.1.1); nothing is lost by folding. */
static void test_write_folds(void **state)
{
    (void)state;
    char words[4000] = "", solid[3000], blanks[3000], utf8[3001];
    for (int i = 0; i < 300; i++)
        strcat(words, i % 7 == 0 ? "long-word-number-seven " : "word ");
    memset(solid, 'x', sizeof solid);
    solid[sizeof solid - 1] = '\0';
    memset(blanks, ' ', sizeof blanks);
    memcpy(blanks, "a", 1);
    strcpy(blanks + 2900, "b");
    for (size_t i = 0; i < sizeof utf8 - 1; i += 3)
        memcpy(utf8 + i, "\xe2\x82\xac", 3);
    utf8[sizeof utf8 - 1] = '\0';
    const char *const bodies[] = {words, solid, blanks, utf8};
    const size_t most[] = {78, 998, 998, 998};
    for (size_t k = 0; k < 4; k++) {
        struct vr_buf b;
        struct vr_str line;
        vr_buf_init(&b, 1u << 20);
        struct vr_str rest = written(&b, "X-Long", bodies[k], false);
        assert_true(vr_str_ends_nocase(rest, VR_STR("\r\n")));
        while (vr_str_split(&rest, '\n', &line))
            if (line.n > most[k] + 1 || vr_str_trim(line).n == 0 || !vr_utf8_valid(line))
                fail_msg("body %zu: a line of %zu octets", k, line.n);
        struct header_field f;
        assert_true(header_find(vr_buf_str(&b), VR_STR("X-Long"), &f));
        if (k == 0)
            assert_true(vr_str_equal(header_unfold(&arena, f.body), vr_str_trim(vr_str_from(words))));
        vr_buf_fini(&b);
    }
}

static void test_encoded_words(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain", "plain"},
        {"=?UTF-8?Q?gr=C3=BC=C3=9F_dich?=", "gr\xc3\xbc\xc3\x9f dich"},
        {"=?utf-8?b?Z3LDvMOf?=", "gr\xc3\xbc\xc3\x9f"},
        {"=?iso-8859-1?q?gr=FC=DF?=", "gr\xc3\xbc\xc3\x9f"},
        {"=?UTF-8?Q?a?= =?UTF-8?Q?b?=", "ab"}, /* blanks between words do not count (RFC 2047 §6.2) */
        {"=?UTF-8?Q?a?= b", "a b"},
        {"=?UTF-8*de?Q?a?=", "a"},          /* a language (RFC 2231 §5) */
        {"=?UTF-8?X?a?=", "=?UTF-8?X?a?="}, /* what cannot be read stays */
        {"=?no-such-set?Q?=E4?=", "=?no-such-set?Q?=E4?="},
        {"=?UTF-8?Q?a", "=?UTF-8?Q?a"},
        {"=?big5-hkscs?q?=88=66?=", "\xc3\x8a"}, /* a letter that the converter holds back until the end */
        {"=?utf-16//TRANSLIT?Q?=00a?=", "=?utf-16//TRANSLIT?Q?=00a?="}, /* no charset's name */
        {"=?UTF-8?Q?=FF?=", "=?UTF-8?Q?=FF?="},
        {"=?UTF-8?Q?"
         "?=",
         ""},
        {"=?UTF-8?Q?=4?=", "=?UTF-8?Q?=4?="},
        {"=?utf-8?b?Zg?=", "f"}, /* without its padding */
        {"=?UTF-8?B?!!!?=", "=?UTF-8?B?!!!?="},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_text(header_decode(&arena, vr_str_from(rows[i].in)), rows[i].out);
}

/* ---- Received -------------------------------------------------------------------------------------------------------- */

static void test_received(void **state)
{
    (void)state;
    struct received r;
    assert_int_equal(
        received_parse(
            &arena,
            VR_STR(
                " from a.example (a.example [192.0.2.1])\r\n\tby b.example (veredus) with ESMTPS id 0F3K\r\n"
                "\tfor <c@d.example>; Mon, 23 Nov 2026 16:52:51 +0000\r\nTo: e"),
            &r),
        VR_OK);
    assert_text(r.from, "a.example");
    assert_text(r.from_comment, "a.example [192.0.2.1]");
    assert_text(r.by, "b.example");
    assert_text(r.with, "ESMTPS");
    assert_text(r.id, "0F3K");
    assert_text(r.for_, "c@d.example");
    assert_int_equal(r.time, 1795452771);
    static const struct {
        const char *in, *comment;
    } clients[] = {{"from a (HELO b) (192.0.2.1) by c", "HELO b 192.0.2.1"},
                   {"from a [192.0.2.1] by c", "[192.0.2.1]"},
                   {"from ([192.0.2.1]) by c (x)", "[192.0.2.1]"},
                   {"by c (not the client) from a", ""}};
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        assert_int_equal(received_parse(&arena, vr_str_from(clients[i].in), &r), VR_OK);
        assert_text(r.from_comment, clients[i].comment);
        assert_true(r.time == RECEIVED_NO_TIME);
    }
    assert_int_equal(received_parse(&arena, VR_STR("nothing to see"), &r), VR_ERR_SYNTAX);
    assert_int_equal(received_parse(&arena, VR_STR(""), &r), VR_ERR_SYNTAX);
}

/* ---- dates ------------------------------------------------------------------------------------------------------------ */

static void test_dates(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t time;
        int zone;
    } rows[] = {
        {"Mon, 23 Nov 2026 16:52:51 +0000", 1795452771, 0},
        {"23 Nov 2026 16:52 +0000", 1795452720, 0}, /* no weekday, no seconds */
        {"Mon, 23 Nov 2026 18:52:51 +0200", 1795452771, 120},
        {"Mon, 23 Nov 2026 11:22:51 -0530", 1795452771, -330},
        {"Mon, 23 Nov 2026 08:52:51 PST", 1795452771, -480}, /* RFC 5322 §4.3 */
        {"Mon, 23 Nov 2026 16:52:51 GMT", 1795452771, 0},
        {"Mon (day), 23 (n) Nov 2026\r\n 16:52:51 +0000 (UTC)", 1795452771, 0},
        {"21 Nov 97 09:55:06 -0600", 880127706, -360}, /* years of two digits … */
        {"21 Nov 03 09:55:06 +0000", 1069408506, 0},
        {"21 Nov 103 09:55:06 +0000", 1069408506, 0}, /* … and of three */
        {"29 Feb 2024 00:00:00 +0000", 1709164800, 0},
        {"31 Dec 2016 23:59:60 +0000", 1483228800, 0}, /* a leap second */
        {"1 Jan 1970 00:00:00 +0000", 0, 0},
    };
    static const char *const bad[] = {"",
                                      "yesterday",
                                      "32 Jan 2026 10:00:00 +0000",
                                      "29 Feb 2023 10:00:00 +0000",
                                      "29 Feb 1900 10:00:00 +0000",
                                      "1 Foo 2026 10:00:00 +0000",
                                      "1 Jan 2026 25:00:00 +0000",
                                      "1 Jan 2026 10:61:00 +0000"};
    struct message_date d;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (message_date_parse(vr_str_from(rows[i].text), &d) != VR_OK || d.time != rows[i].time ||
            d.zone_minutes != rows[i].zone)
            fail_msg("%s: %lld %d", rows[i].text, (long long)d.time, d.zone_minutes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (message_date_parse(vr_str_from(bad[i]), &d) != VR_ERR_SYNTAX)
            fail_msg("%s is taken for %lld", bad[i], (long long)d.time);
}

static void test_dates_written(void **state)
{
    (void)state;
    char text[MESSAGE_DATE_SIZE];
    assert_int_equal(message_date_write(text, 1795452771, 0), 31);
    assert_string_equal(text, "Mon, 23 Nov 2026 16:52:51 +0000");
    message_date_write(text, 1795452771, -330);
    assert_string_equal(text, "Mon, 23 Nov 2026 11:22:51 -0530");
    message_date_write(text, 951782400, 0);
    assert_string_equal(text, "Tue, 29 Feb 2000 00:00:00 +0000");
    for (int64_t t = 0; t < 4102444800; t += 86399 * 37) { /* to 2100: what is written is read as the same */
        struct message_date d;
        size_t n = message_date_write(text, t, (int)(t % 1440) - 720);
        assert_int_equal(message_date_parse(vr_str(text, n), &d), VR_OK);
        assert_int_equal(d.time, t);
        assert_int_equal(d.zone_minutes, (int)(t % 1440) - 720);
    }
    message_rfc3339_write(text, 1795452771123456);
    assert_string_equal(text, "2026-11-23T16:52:51.123Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_fields),        T(test_ends_of_headers), T(test_write), T(test_write_folds),
        T(test_encoded_words), T(test_received),        T(test_dates), T(test_dates_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
