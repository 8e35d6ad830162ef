/* address.c - SMTP paths (RFC 5321 §4.1.2) and message mailboxes (RFC 5322 §3.4). */
#include <veredus/address.h>

#include "lib_testing.h"

/* ---- paths --------------------------------------------------------------------------------------------------------------- */

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        unsigned flags;
        const char *local, *domain, *text, *rest;
    } rows[] = {
        {"<ann@example.org>", 0, "ann", "example.org", "ann@example.org", ""},
        {"<ann@example.org> SIZE=1", 0, "ann", "example.org", "ann@example.org", " SIZE=1"},
        {"<Ann@EXAMPLE.org>", 0, "Ann", "EXAMPLE.org", "Ann@example.org", ""}, /* only domains have no case */
        {"<a.b-c+d=e!f#g@x.y>", 0, "a.b-c+d=e!f#g", "x.y", "a.b-c+d=e!f#g@x.y", ""},
        {"<\"ann\"@x.y>", 0, "ann", "x.y", "ann@x.y", ""}, /* quotes that nothing needs */
        {"<\"a b\"@x.y>", 0, "a b", "x.y", "\"a b\"@x.y", ""},
        {"<\"a\\\"b\\\\c\"@x.y>", 0, "a\"b\\c", "x.y", "\"a\\\"b\\\\c\"@x.y", ""},
        {"<\"a@b\"@x.y>", 0, "a@b", "x.y", "\"a@b\"@x.y", ""},
        {"<\"a>b\"@x.y>", 0, "a>b", "x.y", "\"a>b\"@x.y", ""},
        {"<\"\"@x.y>", 0, "", "x.y", "\"\"@x.y", ""},
        {"<\"a.\"@x.y>", 0, "a.", "x.y", "\"a.\"@x.y", ""},
        {"<@a.b,@c.d:ann@x.y>", 0, "ann", "x.y", "ann@x.y", ""}, /* source routes are read and ignored */
        {"<@a.b:ann@x.y>", 0, "ann", "x.y", "ann@x.y", ""},
        {"<ann@[192.0.2.1]>", 0, "ann", "[192.0.2.1]", "ann@[192.0.2.1]", ""},
        {"<ann@[IPv6:2001:DB8::1]>", 0, "ann", "[IPv6:2001:DB8::1]", "ann@[ipv6:2001:db8::1]", ""},
        {"<>", ADDRESS_ALLOW_NULL, "", "", "", ""},
        {"<> BODY=7BIT", ADDRESS_ALLOW_NULL, "", "", "", " BODY=7BIT"},
        {"<Postmaster>", ADDRESS_ALLOW_POSTMASTER, "Postmaster", "", "Postmaster", ""},
        {"ann@x.y ", ADDRESS_ALLOW_BARE, "ann", "x.y", "ann@x.y", " "},
        {"<gr\xc3\xbc\xc3\x9f@x.y>", ADDRESS_ALLOW_UTF8, "gr\xc3\xbc\xc3\x9f", "x.y",
         "gr\xc3\xbc\xc3\x9f@x.y", ""},
        {"<a_b@under_score.y>", 0, "a_b", "under_score.y", "a_b@under_score.y", ""},
        {"<a@1.2.3>", 0, "a", "1.2.3", "a@1.2.3", ""},
        {"<a@localhost>", 0, "a", "localhost", "a@localhost", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address a;
        struct vr_str rest;
        const char *why = NULL;
        if (address_parse_path(&arena, vr_str_from(rows[i].in), rows[i].flags, &a, &rest, &why) != VR_OK)
            fail_msg("%s: %s", rows[i].in, why);
        assert_text(a.local, rows[i].local);
        assert_text(a.domain, rows[i].domain);
        assert_text(rest, rows[i].rest);
        assert_text(address_text(&arena, &a), rows[i].text);
        assert_int_equal(a.null, rows[i].local[0] == '\0' && rows[i].domain[0] == '\0');
        assert_int_equal(a.utf8, (rows[i].flags & ADDRESS_ALLOW_UTF8) != 0);
        if (a.null || a.domain.n == 0)
            continue;
        struct address again; /* the canonical text is read as the same mailbox */
        assert_int_equal(address_parse(&arena, address_text(&arena, &a), rows[i].flags, &again, &why), VR_OK);
        assert_true(address_equal(&a, &again));
    }
}

static void test_refused_paths(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        unsigned flags;
    } rows[] = {
        {"", 0},
        {"<", 0},
        {"<>", 0},    /* null only where it is allowed */
        {"<ann>", 0}, /* no domain */
        {"<postmaster>", 0},
        {"<ann>", ADDRESS_ALLOW_POSTMASTER},
        {"ann@x.y", 0}, /* no angle brackets */
        {"<ann@x.y", 0},
        {"< ann@x.y>", 0},
        {"<ann@x.y >", 0},
        {"<ann @x.y>", 0},
        {"<@x.y>", 0},
        {"<ann@>", 0},
        {"<.ann@x.y>", 0},
        {"<ann.@x.y>", 0},
        {"<a..b@x.y>", 0},
        {"<a@b@x.y>", 0},
        {"<\"a@x.y>", 0},
        {"<\"a\"b@x.y>", 0},
        {"<\"a\rb\"@x.y>", 0}, /* control bytes, also quoted */
        {"<\"a\\\nb\"@x.y>", 0},
        {"<a\x7f@x.y>", 0},
        {"<ann@x..y>", 0},
        {"<ann@.x.y>", 0},
        {"<ann@x.y.>", 0},
        {"<ann@-x.y>", 0},
        {"<ann@x-.y>", 0},
        {"<ann@x y>", 0},
        {"<ann@[192.0.2.256]>", 0},
        {"<ann@[192.0.2]>", 0},
        {"<ann@[192.0.2.1>", 0},
        {"<ann@[IPv6:2001:db8::1::2]>", 0},
        {"<ann@[2001:db8::1]>", 0}, /* without its tag */
        {"<ann@[IPv6:192.0.2.1]>", 0},
        {"<@a.b ann@x.y>", 0},
        {"<@a.b,ann@x.y>", 0},
        {"<gr\xc3\xbc\xc3\x9f@x.y>", 0}, /* without SMTPUTF8 */
        {"<a\xff@x.y>", ADDRESS_ALLOW_UTF8},
        {"<a@\xff.y>", ADDRESS_ALLOW_UTF8}, /* in any label */
        {"<a@x.\xc3>", ADDRESS_ALLOW_UTF8},
        {"<a@gr\xc3\xbc\xc3\x9f.y>", 0},
        {"<a(comment)@x.y>", 0},
        {"<a\"b\"@x.y>", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address a;
        struct vr_str rest;
        const char *why = NULL;
        if (address_parse_path(&arena, vr_str_from(rows[i].in), rows[i].flags, &a, &rest, &why) !=
            VR_ERR_SYNTAX)
            fail_msg("row %zu is taken: %s", i, rows[i].in);
        assert_non_null(why);
        assert_true(strlen(why) > 10);
    }
}

/* 64, 255 and 256 octets (RFC 5321 §4.5.3.1); labels of 63 (RFC 1035 §2.3.4). */
static void test_limits(void **state)
{
    (void)state;
    static const struct {
        int local, labels, label, extra; /* extra: a last label of so many octets */
        bool good;
    } rows[] = {{64, 1, 10, 0, true}, {65, 1, 10, 0, false}, {1, 1, 63, 0, true},   {1, 1, 64, 0, false},
                {1, 3, 62, 61, true}, {1, 3, 62, 63, true},  {1, 3, 63, 63, false}, {64, 3, 62, 63, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[600] = "<";
        size_t n = 1;
        for (int k = 0; k < rows[i].local; k++)
            text[n++] = 'l';
        text[n++] = '@';
        for (int l = 0; l < rows[i].labels; l++) {
            for (int k = 0; k < rows[i].label; k++)
                text[n++] = 'd';
            if (l + 1 < rows[i].labels || rows[i].extra > 0)
                text[n++] = '.';
        }
        for (int k = 0; k < rows[i].extra; k++)
            text[n++] = 'e';
        text[n++] = '>';
        struct address a;
        struct vr_str rest;
        const char *why;
        enum vr_err e = address_parse_path(&arena, vr_str(text, n), 0, &a, &rest, &why);
        if ((e == VR_OK) != rows[i].good)
            fail_msg("row %zu: %zu octets", i, n);
        if (e != VR_OK && rows[i].label < 64)
            assert_int_equal(e, VR_ERR_TOO_BIG);
    }
    struct address a;
    const char *why;
    char quoted[80] = "\"";
    memset(quoted + 1, 'a', 62);
    strcpy(quoted + 63, "\"@x.y");
    assert_int_equal(address_parse(&arena, vr_str_from(quoted), 0, &a, &why), VR_OK);
    memset(quoted + 1, 'a', 63); /* the quotes count */
    strcpy(quoted + 64, "\"@x.y");
    assert_int_equal(address_parse(&arena, vr_str_from(quoted), 0, &a, &why), VR_ERR_TOO_BIG);
}

/* 256 octets are those of the text, backslashes included: what is taken can be written again. */
static void test_path_limit_counts_backslashes(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        char text[400] = "<\"";
        for (int i = 0; i < 31; i++)
            strcat(text, "\\\\");
        strcat(text, "\"@");
        while (strlen(text) + 2 < 256 + (size_t)more)
            strcat(text, strlen(text) % 50 == 0 ? "." : "d");
        strcat(text, "e>");
        assert_int_equal(strlen(text), 256 + more);
        struct address a;
        struct vr_str rest;
        const char *why;
        enum vr_err e = address_parse_path(&arena, vr_str_from(text), 0, &a, &rest, &why);
        assert_int_equal(e, more ? VR_ERR_TOO_BIG : VR_OK);
        if (e == VR_OK)
            assert_int_equal(address_text(&arena, &a).n, 254);
    }
    struct address a = {.local = VR_STR("ann"), .domain = vr_str(NULL, 0)};
    char endless[2000];
    memset(endless, 'd', sizeof endless);
    a.domain = vr_str(endless, sizeof endless); /* no parser's: nothing rather than "ann@" */
    assert_null(address_text(&arena, &a).p);
}

/* An arena that is full is told, whatever it was that did not fit. */
static void test_small_arenas(void **state)
{
    (void)state;
    static const char list[] = "Team: \"Lee, Ann\" <ann@x.example>, =?UTF-8?Q?J=C3=B6rg?= <j@y.example> (j), "
                               "\"b ob\" @ z.example;";
    bool whole = false;
    for (size_t max = 0; max < 4000; max += 16) {
        struct vr_arena small;
        struct address_mailbox *m;
        vr_arena_init(&small, max);
        enum vr_err e = address_parse_list(&small, vr_str_from(list), &m);
        assert_true(e == VR_OK || (e == VR_ERR_TOO_BIG && !whole));
        size_t n = 0;
        for (; m != NULL; m = m->next, n++) /* what is there is whole */
            assert_true(m->text.n > 8 && m->group.n == 4 &&
                        (n < 2 ? m->name.n > 4 : vr_str_equal(m->local, VR_STR("b ob"))));
        assert_true(e != VR_OK || n == 3);
        whole = e == VR_OK;
        vr_arena_fini(&small);
    }
    assert_true(whole);
}

#define LABEL "a-label-of-sixty-octets-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx."

/* Also where the next address, without a comma before it, would fit once more: none is lost without a word. */
static void test_small_arenas_without_commas(void **state)
{
    (void)state;
    static const char list[] = "Ann <ann@" LABEL LABEL LABEL "example> <bob@x.y>";
    bool refused = false, whole = false;
    for (size_t max = 0; max < 4000; max += 16) {
        struct vr_arena small;
        struct address_mailbox *m;
        vr_arena_init(&small, max);
        enum vr_err e = address_parse_list(&small, vr_str_from(list), &m);
        size_t n = 0;
        for (; m != NULL; m = m->next)
            n++;
        if (e == VR_OK ? n != 2 : e != VR_ERR_TOO_BIG || n > 1)
            fail_msg("an arena of %zu: %s with %zu mailboxes", max, vr_err_name(e), n);
        refused = refused || e != VR_OK;
        whole = whole || e == VR_OK;
        vr_arena_fini(&small);
    }
    assert_true(refused && whole);
}

static void test_literals(void **state)
{
    (void)state;
    uint8_t bytes[16];
    int family;
    assert_true(address_literal(VR_STR("[192.0.2.1]"), bytes, &family));
    assert_int_equal(family, 4);
    assert_memory_equal(bytes, "\xc0\x00\x02\x01", 4);
    assert_true(address_literal(VR_STR("[ipv6:2001:db8::102:3]"), bytes, &family));
    assert_int_equal(family, 6);
    assert_memory_equal(bytes, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\x01\x02\0\x03", 16);
    assert_true(address_literal(VR_STR("[IPv6:::ffff:192.0.2.1]"), bytes, &family));
    assert_memory_equal(bytes + 10, "\xff\xff\xc0\x00\x02\x01", 6);
    static const char *const bad[] = {
        "192.0.2.1",      "[]",   "[1.2.3]", "[1.2.3.4 ]", "[IPv6:]", "[IPv6::]", "[IPv6:1:2:3:4:5:6:7:8:9]",
        "[IPv6:12345::]", "[x:1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (address_literal(vr_str_from(bad[i]), bytes, &family))
            fail_msg("%s is taken", bad[i]);
}

static void test_ips(void **state)
{
    (void)state;
    uint8_t bytes[16];
    int family;
    static const struct {
        const char *text;
        int family;
        const char *bytes;
    } good[] = {
        {"192.0.2.1", 4, "\xc0\0\2\1"},
        {"0.0.0.0", 4, "\0\0\0\0"},
        {"2001:db8::1", 6, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"},
        {"1:2:3:4:5:6:7::", 6, "\0\1\0\2\0\3\0\4\0\5\0\6\0\7\0\0"}, /* one group: RFC 4291, not 5321 */
        {"::", 6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {"::ffff:192.0.2.1", 6, "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\2\1"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!address_ip_parse(vr_str_from(good[i].text), bytes, &family))
            fail_msg("%s is refused", good[i].text);
        assert_int_equal(family, good[i].family);
        assert_memory_equal(bytes, good[i].bytes, family == 4 ? 4 : 16);
    }
    static const char *const bad[] = {"",
                                      "1.2.3",
                                      "1.2.3.4.5",
                                      "1.2.3.256",
                                      "01.2.3.4",
                                      "1.2.3.04",
                                      ":",
                                      ":::",
                                      "1:2:3:4:5:6:7:8::",
                                      "1::2::3",
                                      "::ffff:1.2.3.04",
                                      "[::1]",
                                      "::1%",
                                      "1.2.3.4 ",
                                      " ::1",
                                      "1.2.3.4:25",
                                      "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (address_ip_parse(vr_str_from(bad[i]), bytes, &family))
            fail_msg("\"%s\" is taken", bad[i]);
}

static void test_equal(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {{"a@x.y", "a@X.Y", true},
                {"a@x.y", "A@x.y", false},
                {"\"a\"@x.y", "a@x.y", true},
                {"a@x.y", "a@x.z", false},
                {"a@x.y", "ab@x.y", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address a, b;
        const char *why;
        assert_int_equal(address_parse(&arena, vr_str_from(rows[i].a), 0, &a, &why), VR_OK);
        assert_int_equal(address_parse(&arena, vr_str_from(rows[i].b), 0, &b, &why), VR_OK);
        assert_int_equal(address_equal(&a, &b), rows[i].same);
    }
}

/* ---- lists ---------------------------------------------------------------------------------------------------------------- */

/* "group|name|local@domain;" for each mailbox. */
static struct vr_str flat(const char *in)
{
    struct address_mailbox *m;
    struct vr_str out = VR_STR("");
    assert_int_equal(address_parse_list(&arena, vr_str_from(in), &m), VR_OK);
    for (; m != NULL; m = m->next)
        out = vr_arena_printf(&arena, "%.*s%.*s|%.*s|%.*s@%.*s;", VR_STR_ARG(out), VR_STR_ARG(m->group),
                              VR_STR_ARG(m->name), VR_STR_ARG(m->local), VR_STR_ARG(m->domain));
    return out;
}

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {" \r\n ", ""},
        {"ann@x.y", "||ann@x.y;"},
        {"ann@x.y, bob@x.y", "||ann@x.y;||bob@x.y;"},
        {"Ann <ann@x.y>", "|Ann|ann@x.y;"},
        {"Ann Lee\r\n <ann@x.y>", "|Ann Lee|ann@x.y;"},
        {"\"Lee, Ann\" <ann@x.y>", "|Lee, Ann|ann@x.y;"},
        {"\"a \\\"b\\\" c\" <ann@x.y>", "|a \"b\" c|ann@x.y;"},
        {"\"  a \" b <ann@x.y>",
         "|  a  b|ann@x.y;"}, /* blanks inside of quotes are meant (RFC 5322 §3.2.4) … */
        {"  a \r\n  b  <ann@x.y>", "|a b|ann@x.y;"}, /* … others only separate */
        {"\" \" <ann@x.y>", "||ann@x.y;"},
        {"=?UTF-8?Q?J=C3=B6rg?= <j@x.y>", "|J\xc3\xb6rg|j@x.y;"},
        {"ann@x.y (Ann (the) Lee)",
         "|Ann (the) Lee|ann@x.y;"},          /* how names were written before there were phrases */
        {"ann (in) @ x . y", "|in|ann@x.y;"}, /* RFC 5322 §4.4 */
        {"<@a.b:ann@x.y>", "||ann@x.y;"},     /* an obsolete route */
        {", ,ann@x.y,,", "||ann@x.y;"},       /* obsolete empty members */
        {"Team: ann@x.y, Bob <bob@x.y>;", "Team||ann@x.y;Team|Bob|bob@x.y;"},
        {"undisclosed-recipients:;", ""},
        {"Team: ann@x.y; bob@x.y", "Team||ann@x.y;||bob@x.y;"},
        {"\"a@b\"@x.y", "||a@b@x.y;"},
        {"\"ann \" @x.y", "||ann @x.y;"}, /* blanks inside of quotes are part of the mailbox */
        {"\"a \\\"b . c\"@x.y", "||a \"b . c@x.y;"},
        {"\"ann\" <a@x.y>", "|ann|a@x.y;"},
        {"<@a.b:@c.d:ann@x.y>", "||ann@x.y;"},
        {"ann@[192.0.2.1]", "||ann@[192.0.2.1];"},
        {"ann@x.y\r\nBcc: bob@x.y", "||ann@x.y;"}, /* the field ends with its line */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str got = flat(rows[i].in);
        if (!vr_str_equal(got, vr_str_from(rows[i].out)))
            fail_msg("%s: got %.*s, wanted %s", rows[i].in, VR_STR_ARG(got), rows[i].out);
    }
}

/* Whatever stands there, it ends, and within the arena. */
static void test_lists_that_are_none(void **state)
{
    (void)state;
    static const char *const rows[] = {"(",    "((((", "\"",       "<",    "<<<a@b",   "a:b:c:;;;",
                                       "@@@@", "a@",   "\\",       "\"\\", "a@b <c@d", "=?",
                                       "[",    "a@[",  "\xff\xfe", ">;,:<"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        flat(rows[i]);
    char deep[20000];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    flat(deep);
    struct vr_arena small;
    struct address_mailbox *m;
    vr_arena_init(&small, 2000);
    for (size_t i = 0; i + 4 < sizeof deep; i += 4)
        memcpy(deep + i, "a@b,", 4);
    assert_int_equal(address_parse_list(&small, vr_str_from(deep), &m), VR_ERR_TOO_BIG);
    vr_arena_fini(&small);
}

static void test_write_mailbox(void **state)
{
    (void)state;
    static const struct {
        const char *name, *out;
    } rows[] = {{"", "<ann@x.y>"},
                {"Ann", "Ann <ann@x.y>"},
                {"Ann Lee", "Ann Lee <ann@x.y>"},
                {"Lee, Ann", "\"Lee, Ann\" <ann@x.y>"},
                {"a \"b\" \\", "\"a \\\"b\\\" \\\\\" <ann@x.y>"},
                {"a  b", "\"a  b\" <ann@x.y>"},
                {"=?utf-8?q?x?=", "=?UTF-8?B?PT91dGYtOD9xP3g/PQ==?= <ann@x.y>"}};
    struct vr_buf b;
    vr_buf_init(&b, 4000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vr_buf_reset(&b);
        assert_true(address_write_mailbox(&b, vr_str_from(rows[i].name), VR_STR("ann@x.y")));
        struct vr_str text = vr_arena_dup(&arena, vr_buf_str(&b));
        struct vr_str again = flat(text.p);
        if (rows[i].name[0] != '\0' || vr_str_find(text, '<') != VR_NPOS)
            assert_text(text, rows[i].out);
        assert_text(again, vr_arena_printf(&arena, "|%s|ann@x.y;", rows[i].name).p);
    }
    vr_buf_reset(&b);
    assert_true(address_write_mailbox(&b, VR_STR("J\xc3\xb6rg\r\nBcc: x@y"), VR_STR("j@x.y")));
    assert_true(vr_str_is_ascii(vr_buf_str(&b)));
    assert_int_equal(vr_str_find_str(vr_buf_str(&b), VR_STR("\nBcc")), VR_NPOS);
    vr_buf_reset(&b);
    char name[201] = "x";
    while (strlen(name) + 2 < sizeof name)
        strcat(name, "\xc3\xb6");
    assert_true(address_write_mailbox(&b, vr_str_from(name), VR_STR("j@x.y")));
    struct vr_str rest = vr_buf_str(&b), word;
    assert_text(flat(vr_arena_dup(&arena, rest).p), vr_arena_printf(&arena, "|%s|j@x.y;", name).p);
    while (vr_str_split(&rest, ' ', &word))
        assert_true(word.n <= 75); /* RFC 2047 §2 */
    vr_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_paths),
        T(test_refused_paths),
        T(test_limits),
        T(test_path_limit_counts_backslashes),
        T(test_small_arenas),
        T(test_small_arenas_without_commas),
        T(test_literals),
        T(test_ips),
        T(test_equal),
        T(test_lists),
        T(test_lists_that_are_none),
        T(test_write_mailbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
