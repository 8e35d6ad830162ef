/* sendmail_parse.c - what commands make of their arguments and of a message: sendmail's options, composing, server names, masking. */
#include "cli/clean.h"
#include "cli/compose.h"
#include "cli/resolve.h"
#include "cli/sendmail.h"
#include "cli/session.h"
#include "cli/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

/* ---- options ------------------------------------------------------------------------------------------------------------ */

#define ARGS_MAX 32
static char copies[ARGS_MAX][64], *args[ARGS_MAX + 1];
static char error[256];

/* Words separated by one blank; an empty word stays one. */
static int parse(const char *words, struct sendmail_options *o)
{
    struct vr_str rest = vr_str_from(words), word;
    int n = 0;
    snprintf(copies[n++], sizeof copies[0], "sendmail");
    for (bool more = rest.n > 0; more && n < ARGS_MAX;) {
        size_t blank = vr_str_find(rest, ' ');
        more = blank != VR_NPOS;
        word = vr_str_sub(rest, 0, more ? blank : rest.n);
        rest = vr_str_from_pos(rest, more ? blank + 1 : rest.n);
        snprintf(copies[n++], sizeof copies[0], "%.*s", VR_STR_ARG(word));
    }
    for (int i = 0; i < n; i++)
        args[i] = copies[i];
    args[n] = NULL;
    error[0] = '\0';
    return sendmail_parse(n, args, o, error);
}

static void test_common_command_lines(void **state)
{
    (void)state;
    struct sendmail_options o;
    assert_int_equal(parse("-t -i", &o), 0); /* PHP, git send-email */
    assert_true(o.take_recipients && o.dot_is_text && o.mode == SENDMAIL_DELIVER && o.recipient_count == 0);
    assert_int_equal(parse("-FCronDaemon -i -B8BITMIME -oem root", &o), 0); /* cron */
    assert_string_equal(o.full_name, "CronDaemon");
    assert_true(o.declared_8bit && o.dot_is_text);
    assert_int_equal(o.recipient_count, 1);
    assert_string_equal(o.recipients[0], "root");
    assert_int_equal(parse("-oi -f ann@example.org -- bob carl", &o), 0); /* mutt */
    assert_string_equal(o.sender, "ann@example.org");
    assert_int_equal(o.recipient_count, 2);
    assert_int_equal(parse("-odb -oem -r ann bob", &o), 0);
    assert_string_equal(o.sender, "ann");
    assert_false(o.dot_is_text);
    assert_int_equal(parse("-f  bob", &o), 0); /* -f "" */
    assert_string_equal(o.sender, "");
    assert_int_equal(parse("bob -ti carl", &o), 0); /* options may stand behind */
    assert_true(o.take_recipients && o.recipient_count == 2);
    assert_int_equal(parse("-- -t", &o), 0);
    assert_false(o.take_recipients);
    assert_string_equal(o.recipients[0], "-t");
    assert_int_equal(parse("-U -G -h 3 -X /tmp/log -L tag -O A=b -p x -A c -m -n -x -em -d bob", &o), 0);
    assert_int_equal(o.recipient_count, 1);
}

static void test_modes(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        enum sendmail_mode mode;
        char by;
        const char *what;
    } cases[] = {
        {"-bm ann", SENDMAIL_DELIVER, 0, NULL},   {"-bs", SENDMAIL_SMTP, 0, NULL},
        {"-bp", SENDMAIL_LIST, 0, NULL},          {"-bi", SENDMAIL_ALIASES, 0, NULL},
        {"-I", SENDMAIL_ALIASES, 0, NULL},        {"-q", SENDMAIL_FLUSH, 0, NULL},
        {"-qI0F3K", SENDMAIL_FLUSH, 'I', "0F3K"}, {"-qRx.org", SENDMAIL_FLUSH, 'R', "x.org"},
        {"-qSa@b", SENDMAIL_FLUSH, 'S', "a@b"},   {"--help", SENDMAIL_USAGE, 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sendmail_options o;
        assert_int_equal(parse(cases[i].words, &o), 0);
        assert_int_equal(o.mode, cases[i].mode);
        assert_int_equal(o.flush_by, cases[i].by);
        if (cases[i].what != NULL)
            assert_string_equal(o.flush_what, cases[i].what);
    }
}

static void test_dsn_options(void **state)
{
    (void)state;
    struct sendmail_options o;
    assert_int_equal(parse("-N success,delay -R hdrs -V id1 ann", &o), 0);
    assert_int_equal(o.notify, DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY);
    assert_int_equal(o.ret, DSN_RET_HDRS);
    assert_string_equal(o.envid, "id1");
    assert_int_equal(parse("-N never ann", &o), 0);
    assert_int_equal(o.notify, DSN_NOTIFY_NEVER);
}

static void test_wrong_command_lines(void **state)
{
    (void)state;
    static const struct {
        const char *words, *says;
    } cases[] = {
        {"-bd", "veredus serve"},    {"-bd -q15m", "veredus serve"},
        {"-bx", "no such mode"},     {"-bv ann", "no such mode"},
        {"-q30m", "own schedule"},   {"-qI", "own schedule"},
        {"-N maybe", "takes never"}, {"-N never,success", "takes never"},
        {"-R most", "full or hdrs"}, {"-B9BIT", "8BITMIME"},
        {"-Z", "no such option"},    {"-f", "argument is missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sendmail_options o;
        assert_int_equal(parse(cases[i].words, &o), EX_USAGE);
        if (strstr(error, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].words, error);
    }
}

/* ---- text ----------------------------------------------------------------------------------------------------------------- */

static void expect(struct vr_buf *b, const char *want)
{
    assert_false(b->too_big);
    struct vr_str got = vr_buf_str(b);
    if (!vr_str_equal(got, vr_str_from(want)))
        fail_msg("got:\n%.*s\nwanted:\n%s", VR_STR_ARG(got), want);
    vr_buf_reset(b);
}

static void test_line_ends(void **state)
{
    (void)state;
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    static const char *const cases[][2] = {{"a\nb\n", "a\r\nb\r\n"},   {"a\r\nb", "a\r\nb\r\n"},
                                           {"a\rb\r", "a\r\nb\r\n"},   {"", ""},
                                           {"\n\n", "\r\n\r\n"},       {"a\n\r\nb\n", "a\r\n\r\nb\r\n"},
                                           {".\n..\n", ".\r\n..\r\n"}, {"\r", "\r\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(compose_crlf(&b, vr_str_from(cases[i][0])));
        expect(&b, cases[i][1]);
    }
    vr_buf_fini(&b);
}

static void test_lone_dot(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        bool found;
    } cases[] = {{"a\n.\nb\n", 2, true}, {".\n", 0, true},      {"a\r\n.\r\nb", 3, true},
                 {"a\n.", 2, true},      {"a\n..\n", 5, false}, {"a\n.b\n.c\n", 8, false},
                 {"a.\nb\n", 5, false},  {"", 0, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool found;
        assert_int_equal(compose_before_dot(vr_str_from(cases[i].text), &found).n, cases[i].n);
        assert_int_equal(found, cases[i].found);
    }
}

/* ---- messages --------------------------------------------------------------------------------------------------------------- */

static const struct compose how = {.hostname = {"h.example", 9},
                                   .from = {"ann@h.example", 13},
                                   .now = 1795452771, /* 2026-11-23 16:52:51 UTC, was a Monday */
                                   .random = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255}};
#define ADDED_ID   "Message-ID: <000102030405060708090aff@h.example>\r\n"
#define ADDED_DATE "Date: Mon, 23 Nov 2026 16:52:51 +0000\r\n"

static enum vr_err compose(struct vr_buf *out, const char *text, bool take, const char *full_name,
                           char recipients[512])
{
    struct vr_arena arena;
    vr_arena_init(&arena, 1u << 20);
    struct compose mine = how;
    struct compose_list list = {0};
    const char *why = "";
    mine.take_recipients = take;
    mine.full_name = vr_str_from(full_name);
    enum vr_err e = compose_message(out, &arena, vr_str_from(text), &mine, &list, &why);
    recipients[0] = '\0';
    for (size_t i = 0; i < list.count; i++) {
        struct vr_str one = address_text(&arena, &list.items[i]);
        snprintf(recipients + strlen(recipients), 512 - strlen(recipients), "%s%.*s", i > 0 ? " " : "",
                 VR_STR_ARG(one));
    }
    vr_arena_fini(&arena);
    return e;
}

static void test_message_made_whole(void **state)
{
    (void)state;
    struct vr_buf b;
    char to[512];
    vr_buf_init(&b, 65536);
    assert_int_equal(compose(&b, "Subject: x\n\nbody\n", false, NULL, to), VR_OK);
    expect(&b, "Subject: x\r\nFrom: ann@h.example\r\n" ADDED_DATE ADDED_ID "\r\nbody\r\n");
    assert_int_equal(compose(&b, "only a body\nof two lines\n", false, "Ann B", to), VR_OK);
    expect(&b, "From: Ann B <ann@h.example>\r\n" ADDED_DATE ADDED_ID "\r\nonly a body\r\nof two lines\r\n");
    assert_int_equal(compose(&b, "", false, NULL, to), VR_OK);
    expect(&b, "From: ann@h.example\r\n" ADDED_DATE ADDED_ID "\r\n");
    /* what is there stays, byte for byte, folded lines included */
    assert_int_equal(
        compose(&b, "From bob Mon Nov 23 16:00:00 2026\nDATE: d\nmessage-id: <i>\nX:  a\n\tb\nfrom: c@d\n\nx",
                false, NULL, to),
        VR_OK);
    expect(&b, "DATE: d\r\nmessage-id: <i>\r\nX:  a\r\n\tb\r\nfrom: c@d\r\n\r\nx\r\n");
    vr_buf_fini(&b);
}

static void test_recipients_of_the_header(void **state)
{
    (void)state;
    struct vr_buf b;
    char to[512];
    vr_buf_init(&b, 65536);
    assert_int_equal(compose(&b,
                             "To: Bob <bob@x.org>, carl\nCc: (comment) dora@y.org\nBcc: eve@z.org,\n "
                             "bob@X.org\nFrom: a@b.c\nDate: d\nMessage-ID: "
                             "<i>\n\nhi\n",
                             true, NULL, to),
                     VR_OK);
    assert_string_equal(to, "bob@x.org carl@h.example dora@y.org eve@z.org");
    expect(&b, "To: Bob <bob@x.org>, carl\r\nCc: (comment) dora@y.org\r\nFrom: a@b.c\r\nDate: "
               "d\r\nMessage-ID: <i>\r\n\r\nhi\r\n");
    assert_int_equal(compose(&b, "To: bob@x.org\nBcc: eve@z.org\n\n", false, NULL, to),
                     VR_OK); /* Bcc goes without -t, too */
    assert_string_equal(to, "");
    assert_true(vr_str_find_str(vr_buf_str(&b), VR_STR("eve")) == VR_NPOS);
    vr_buf_reset(&b);
    assert_int_equal(
        compose(&b, "To: bob@x.org\nResent-To: eve@z.org\nResent-Bcc: fred@z.org\n\n", true, NULL, to),
        VR_OK);
    assert_string_equal(to, "eve@z.org fred@z.org");
    vr_buf_reset(&b);
    assert_int_equal(compose(&b, "To: undisclosed-recipients:;\nBcc: eve@z.org\n\n", true, NULL, to), VR_OK);
    assert_string_equal(to, "eve@z.org");
    vr_buf_reset(&b);
    /* a lone CR begins no field and no line of the header, in whatever text it came */
    assert_int_equal(compose(&b,
                             "To: bob@x.org\nSubject: a\rBcc: eve@z.org\n b\r\r\nFrom: a@b.c\nDate: "
                             "d\nMessage-ID: <i>\r\n\n1\r2",
                             true, NULL, to),
                     VR_OK);
    assert_string_equal(to, "bob@x.org");
    expect(&b, "To: bob@x.org\r\nSubject: a Bcc: eve@z.org\r\n b \r\nFrom: a@b.c\r\nDate: d\r\nMessage-ID: "
               "<i>\r\n\r\n1\r\n2\r\n");
    assert_int_equal(compose(&b, "To: bob@-x-.org\n\n", true, NULL, to), VR_ERR_SYNTAX);
    vr_buf_fini(&b);
}

static void test_arguments_as_recipients(void **state)
{
    (void)state;
    struct vr_arena arena;
    struct compose_list list = {0};
    const char *why = "";
    vr_arena_init(&arena, 1u << 20);
    assert_true(compose_add(&list, &arena, VR_STR("ann"), VR_STR("h.example"), &why));
    assert_true(compose_add(&list, &arena, VR_STR("Ann B <ann@x.org>, bob"), VR_STR("h.example"), &why));
    assert_true(compose_add(&list, &arena, VR_STR("ann@X.ORG"), VR_STR("h.example"), &why));
    assert_int_equal(list.count, 3);
    assert_true(vr_str_equal(list.items[0].domain, VR_STR("h.example")));
    assert_true(vr_str_equal(list.items[2].local, VR_STR("bob")));
    struct compose_list odd = {
        0}; /* blanks around dots and @ vanish, others stay in the local part, in quotes */
    assert_true(compose_add(&odd, &arena, VR_STR("a . b @ x.org, ann b@x.org"), VR_STR("h.example"), &why));
    assert_int_equal(odd.count, 2);
    assert_true(vr_str_equal(address_text(&arena, &odd.items[0]), VR_STR("a.b@x.org")));
    assert_true(vr_str_equal(address_text(&arena, &odd.items[1]), VR_STR("\"ann b\"@x.org")));
    assert_false(compose_add(&odd, &arena, VR_STR("ann@x.org bob@y.org"), VR_STR("h.example"), &why));
    assert_non_null(strstr(why, "two addresses"));
    assert_false(compose_add(&list, &arena, VR_STR(""), VR_STR("h.example"), &why));
    assert_false(compose_add(&list, &arena, VR_STR("ann@-bad-.org"), VR_STR("h.example"), &why));
    assert_true(strlen(why) > 0);
    assert_int_equal(list.count, 3);
    vr_arena_fini(&arena);
}

static void test_recipients_beyond_ascii(void **state)
{
    (void)state;
    struct vr_arena arena;
    struct compose_list list = {0};
    const char *why = "";
    vr_arena_init(&arena, 1u << 20);
    assert_true(compose_add(&list, &arena, VR_STR("Jörg <jörg@BÜCHER.example>, ann@xn--bcher-kva.example"),
                            VR_STR("h.example"), &why));
    assert_true(compose_add(&list, &arena, VR_STR("ann@bücher.example"), VR_STR("h.example"),
                            &why)); /* there already */
    assert_int_equal(list.count, 2);
    assert_true(vr_str_equal(list.items[0].domain, VR_STR("bücher.example")));
    assert_false(compose_add(&list, &arena, VR_STR("ann@i❤.example"), VR_STR("h.example"), &why));
    assert_non_null(strstr(why, "IDNA"));
    assert_false(compose_add(&list, &arena, VR_STR("j\xf6rg@x.example"), VR_STR("h.example"), &why));
    struct compose_parts parts = {.subject = VR_STR("Grüße"), .recipients = list.items, .recipient_count = 2};
    struct vr_buf b;
    vr_buf_init(&b, 1 << 20);
    assert_int_equal(compose_parts(&b, &parts, &how, &why), VR_OK);
    assert_true(vr_str_find_str(vr_buf_str(&b),
                                VR_STR("\r\nTo: jörg@bücher.example, ann@xn--bcher-kva.example\r\n")) !=
                VR_NPOS);
    assert_true(compose_has_utf8_header(vr_buf_str(&b)));
    vr_buf_reset(&b);
    parts.recipients++;
    parts.recipient_count = 1;
    assert_int_equal(compose_parts(&b, &parts, &how, &why), VR_OK);
    assert_false(compose_has_utf8_header(vr_buf_str(&b))); /* such a message can go anywhere */
    vr_buf_fini(&b);
    vr_arena_fini(&arena);
}

static void test_headers_in_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        bool utf8;
    } rows[] = {{"Subject: x\r\n\r\nGrüße\r\n", false},
                {"Subject: Grüße\r\n\r\nx\r\n", true},
                {"Subject: Gr\xfc\xdf"
                 "e\r\n\r\nx\r\n",
                 false}, /* Latin-1: announced as nothing */
                {"Subject: Grüße\r\nFrom: J\xf6rg <j@x.y>\r\n\r\nx\r\n", false}, /* some of it */
                {"Subject: x", false},
                {"Subject: ü", true},
                {"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; "
                 "boundary=b\r\n\r\n--b\r\nContent-Description: ü\r\n\r\nx\r\n--b--\r\n",
                 true},
                {"", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (compose_has_utf8_header(vr_str_from(rows[i].message)) != rows[i].utf8)
            fail_msg("row %zu", i);
}

static void test_clean(void **state)
{
    (void)state;
    static const struct {
        const char *text, *stays, *clean;
    } rows[] = {{"jörg@例え.テスト", "", "jörg@例え.テスト"},
                {"a\x1b[31mb\tc\n", "", "a?[31mb?c?"},
                {"a\tb\n", "\t\n", "a\tb\n"},
                {"a\xc2\x9b"
                 "31mb",
                 "", "a?31mb"}, /* CSI in one character */
                {"a\u202eb\u2066c\u2028d", "", "a?b?c?d"},
                {"a\xfc\xc3", "", "a??"},
                {"\x7f", "", "?"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_buf b;
        vr_buf_init(&b, 200);
        assert_true(cli_add_clean(&b, vr_str_from(rows[i].text), rows[i].stays));
        if (!vr_str_equal(vr_buf_str(&b), vr_str_from(rows[i].clean)))
            fail_msg("row %zu: %.*s", i, VR_STR_ARG(vr_buf_str(&b)));
        vr_buf_fini(&b);
    }
}

static void test_message_of_parts(void **state)
{
    (void)state;
    struct vr_buf b;
    const char *why = "";
    vr_buf_init(&b, 65536);
    struct address to[] = {{.local = VR_STR("bob"), .domain = VR_STR("x.org")},
                           {.local = VR_STR("carl"), .domain = VR_STR("y.org")}};
    struct vr_str headers[] = {VR_STR("X-Test: 1"), VR_STR("subject: mine")};
    struct compose_parts parts = {.subject = VR_STR("not this"),
                                  .body = VR_STR("hello\nworld"),
                                  .headers = headers,
                                  .header_count = 2,
                                  .recipients = to,
                                  .recipient_count = 2};
    assert_int_equal(compose_parts(&b, &parts, &how, &why), VR_OK);
    expect(&b,
           "From: ann@h.example\r\nTo: bob@x.org, carl@y.org\r\n" ADDED_DATE ADDED_ID
           "X-Test: 1\r\nsubject: mine\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"
           "Content-Transfer-Encoding: 7bit\r\n\r\nhello\r\nworld\r\n");
    /* more than ASCII: any server must be able to take it */
    parts.header_count = 0;
    parts.body = VR_STR("gr\xc3\xbc\xc3\x9f = x \nend");
    parts.subject = VR_STR("gr\xc3\xbc\xc3\x9f");
    assert_int_equal(compose_parts(&b, &parts, &how, &why), VR_OK);
    assert_true(vr_str_is_ascii(vr_buf_str(&b)));
    assert_true(vr_str_find_str(vr_buf_str(&b), VR_STR("\r\n\r\ngr=C3=BC=C3=9F =3D x=20\r\nend\r\n")) !=
                VR_NPOS);
    assert_true(vr_str_find_str(vr_buf_str(&b), VR_STR("Subject: =?")) != VR_NPOS);
    vr_buf_reset(&b);
    char longest[2000];
    memset(longest, 'x', sizeof longest);
    parts.body = vr_str(longest, sizeof longest);
    assert_int_equal(compose_parts(&b, &parts, &how, &why), VR_OK);
    struct vr_str rest = vr_buf_str(&b), line;
    size_t xs = 0;
    while (vr_str_split(&rest, '\n', &line)) {
        assert_true(line.n <= 78);
        for (size_t i = 0; i < line.n; i++)
            xs += line.p[i] == 'x';
    }
    assert_true(xs >= sizeof longest);
    vr_buf_reset(&b);
    static const char *const bad[] = {"no colon", ": x", "a b: c", "gr\xc3\xbc\xc3\x9f: x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        headers[0] = vr_str_from(bad[i]);
        parts.header_count = 1;
        assert_int_equal(compose_parts(&b, &parts, &how, &why), VR_ERR_SYNTAX);
    }
    vr_buf_reset(&b);
    headers[0] = VR_STR("X: a\r\nInjected: b");
    assert_int_equal(compose_parts(&b, &parts, &how, &why), VR_OK);
    assert_true(vr_str_find_str(vr_buf_str(&b), VR_STR("\nInjected")) == VR_NPOS);
    vr_buf_fini(&b);
}

/* ---- servers, secrets, verdicts ----------------------------------------------------------------------------------------------- */

static void test_server_names(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good, lmtp;
        const char *host;
        uint16_t port;
        enum io_family family;
    } cases[] = {
        {"mx.example.org", true, false, "mx.example.org", 0, IO_NONE},
        {"mx.example.org:2525", true, false, "mx.example.org", 2525, IO_NONE},
        {"127.0.0.1", true, false, "", 0, IO_INET},
        {"127.0.0.1:2525", true, false, "", 2525, IO_INET},
        {"[::1]:2525", true, false, "", 2525, IO_INET6},
        {"[::1]", true, false, "", 0, IO_INET6},
        {"::1", true, false, "", 0, IO_INET6},
        {"unix:/run/veredus/submit", true, false, "", 0, IO_UNIX},
        {"/run/veredus/submit", true, false, "", 0, IO_UNIX},
        {"lmtp:unix:/run/x", true, true, "", 0, IO_UNIX},
        {"lmtp:localhost:24", true, true, "localhost", 24, IO_NONE},
        {"smtp:a.b", true, false, "a.b", 0, IO_NONE},
        {"", false, false, "", 0, IO_NONE},
        {":25", false, false, "", 0, IO_NONE},
        {"a b", false, false, "", 0, IO_NONE},
        {"host:0", false, false, "", 0, IO_NONE},
        {"host:99999", false, false, "", 0, IO_NONE},
        {"host:smtp", false, false, "", 0, IO_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server_name n;
        bool good = server_name_parse(vr_str_from(cases[i].text), &n);
        if (good != cases[i].good)
            fail_msg("%s", cases[i].text);
        if (!good)
            continue;
        assert_int_equal(n.lmtp, cases[i].lmtp);
        assert_int_equal(n.port, cases[i].port);
        assert_int_equal(n.address.family, cases[i].family);
        assert_true(vr_str_equal(n.host, vr_str_from(cases[i].host)));
    }
}

static void test_masked_trace(void **state)
{
    (void)state;
    static const struct {
        const char *line, *shown;
    } cases[] = {{"EHLO x", "EHLO x"},         {"AUTH PLAIN AGEAYg==", "AUTH PLAIN [hidden]"},
                 {"c2VjcmV0", "[hidden]"},     {"*", "*"},
                 {"auth login", "auth login"}, {"dXNlcg==", "[hidden]"}};
    bool secret = false;
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trace_mask(&b, vr_str_from(cases[i].line), &secret);
        expect(&b, cases[i].shown);
    }
    secret = false; /* the server's 235 */
    trace_mask(&b, VR_STR("MAIL FROM:<a@b>"), &secret);
    expect(&b, "MAIL FROM:<a@b>");
    vr_buf_fini(&b);
}

static void test_exit_codes(void **state)
{
    (void)state;
    struct session_rcpt two[2] = {{.fate = SESSION_SENT}, {.fate = SESSION_SENT}};
    struct session_result r = {.connected = true, .transaction = true, .rcpts = two};
    assert_int_equal(session_exit_code(&r, 2), EX_OK);
    two[1] = (struct session_rcpt){SESSION_REFUSED, {550, true, "5.1.1", "no"}};
    assert_int_equal(session_exit_code(&r, 2), EX_NOUSER);
    two[1] = (struct session_rcpt){SESSION_REFUSED, {550, true, "5.7.1", "no"}};
    assert_int_equal(session_exit_code(&r, 2), EX_UNAVAILABLE);
    two[0] = (struct session_rcpt){SESSION_REFUSED, {451, false, "4.3.0", "later"}};
    assert_int_equal(session_exit_code(&r, 2), EX_TEMPFAIL);
    two[0].fate = two[1].fate = SESSION_OPEN;
    r.failed = true; /* lost on the way */
    assert_int_equal(session_exit_code(&r, 2), EX_TEMPFAIL);
    r.failure.permanent = true;
    assert_int_equal(session_exit_code(&r, 2), EX_UNAVAILABLE);
    snprintf(r.failed_at, sizeof r.failed_at, "AUTH");
    assert_int_equal(session_exit_code(&r, 2), EX_NOPERM);
    snprintf(r.failed_at, sizeof r.failed_at, "TLS");
    assert_int_equal(session_exit_code(&r, 2), EX_PROTOCOL);
    two[0].fate = two[1].fate = SESSION_SENT; /* lost after all was said: the QUIT does not count */
    assert_int_equal(session_exit_code(&r, 2), EX_OK);
    char text[100];
    session_reply_text(&(struct session_reply){550, true, "5.1.1", "no such user"}, text, sizeof text);
    assert_string_equal(text, "550 5.1.1 no such user");
    session_reply_text(&(struct session_reply){550, true, "5.1.1", "5.1.1 no such user"}, text, sizeof text);
    assert_string_equal(text, "550 5.1.1 no such user");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_common_command_lines),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_dsn_options),
        cmocka_unit_test(test_wrong_command_lines),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_lone_dot),
        cmocka_unit_test(test_message_made_whole),
        cmocka_unit_test(test_recipients_of_the_header),
        cmocka_unit_test(test_arguments_as_recipients),
        cmocka_unit_test(test_recipients_beyond_ascii),
        cmocka_unit_test(test_headers_in_utf8),
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_message_of_parts),
        cmocka_unit_test(test_server_names),
        cmocka_unit_test(test_masked_trace),
        cmocka_unit_test(test_exit_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
