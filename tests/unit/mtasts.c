/* mtasts.c - MTA-STS: records, policies, patterns, and which policy holds now; from tables. */
#include "lib_testing.h"

#include <veredus/mtasts.h>

/* ---- records ------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *text, *id; /* NULL: it is none */
} records[] = {
    {"v=STSv1; id=20160831085700Z;", "20160831085700Z"},
    {"v=STSv1;id=a", "a"},
    {"v=STSv1 ;\tid=a ; ", "a"},
    {"v=STSv1; x=y; id=a; z.-_9=,!<>~", "a"},
    {"v=STSv1; id=a; id=b", "a"},   /* the first one counts */
    {"v=STSv1; id=a; id=b-c", "a"}, /* and what is repeated need not be an id */
    {"v=STSv1; id=12345678901234567890123456789012", "12345678901234567890123456789012"},
    {"v=STSv1; id=123456789012345678901234567890123", NULL},
    {"v=STSv1; a1234567890123456789012345678901=1; id=a", "a"},
    {"v=STSv1; a12345678901234567890123456789012=1; id=a", NULL},
    {"v=STSv1", NULL},
    {"v=STSv1;", NULL},
    {"v=STSv1; x=y", NULL},
    {"v=STSv1; id=", NULL},
    {"v=STSv1; id=a-b", NULL},
    {"v=STSv1; id=a-b; id=a", NULL},
    {"v=STSv1; ID=a", NULL},
    {"V=STSv1; id=a", NULL},
    {"v=stsv1; id=a", NULL},
    {" v=STSv1; id=a", NULL},
    {"v=STSv1, id=a", NULL},
    {"v=STSv1; id=a; x", NULL},
    {"v=STSv1; id=a; =x", NULL},
    {"v=STSv1; id=a; x=", NULL},
    {"v=STSv1; id=a; x=y=z", NULL},
    {"v=STSv1; id=a; x=y z", NULL},
    {"v=STSv1; id=a; x=\xc3\xa4", NULL},
    {"v=STSv1; id=a;; x=y", NULL},
    {"v=STSv1; id=a\r\n", NULL},
    {"", NULL},
};

static void records_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct vr_str id;
        enum vr_err e = mtasts_record_parse(vr_str_from(records[i].text), &id);
        if ((e == VR_OK) != (records[i].id != NULL))
            fail_msg("\"%s\": %s", records[i].text, vr_err_name(e));
        if (e == VR_OK)
            assert_text(id, records[i].id);
    }
}

/* ---- policies ----------------------------------------------------------------------------------------------------------- */

#define V "version: STSv1\n"
#define E "mode: enforce\n"
#define M "mx: a.test\n"
#define A "max_age: 100\n"

static const struct {
    const char *text;
    enum mtasts_mode mode;
    uint32_t max_age;
    const char *mx;  /* with blanks between */
    const char *why; /* a part of it; NULL: good */
} policies[] = {
    {V "mode: testing\nmx: mx1.example.com\nmx: *.example.net\r\nmx: c.test\nmax_age: 1296000\n",
     MTASTS_TESTING, 1296000, "mx1.example.com *.example.net c.test", NULL},
    {"max_age:100\r\nmx:a.test\r\nmode:\tenforce  \r\nversion:STSv1", MTASTS_ENFORCE, 100, "a.test", NULL},
    {V "mode: none\nmax_age: 0\n", MTASTS_NONE, 0, "", NULL},
    {V E M A "mode: none\nmax_age: 5\nversion: 2\n", MTASTS_ENFORCE, 100, "a.test", NULL},
    {V E M A "x-y.z_1: any thing: at all \xc3\xa4\n", MTASTS_ENFORCE, 100, "a.test", NULL},
    {V E M "max_age: 9999999999\n", MTASTS_ENFORCE, MTASTS_MAX_AGE_MAX, "a.test", NULL},
    {V E M "max_age: 99999999999\n", 0, 0, "", "line 4"},
    {V E M "max_age: -1\n", 0, 0, "", "line 4 of the policy is wrong: max_age"},
    {V E M "max_age: 1h\n", 0, 0, "", "line 4"},
    {V E M "max_age:\n", 0, 0, "", "line 4"},
    {V E A, 0, 0, "", "no mx"},
    {V M A, 0, 0, "", "no mode"},
    {V E M, 0, 0, "", "no max_age"},
    {E M A, 0, 0, "", "no version"},
    {"", 0, 0, "", "no version"},
    {V E M A "\n", 0, 0, "", "line 5 of the policy is wrong: it is empty"},
    {"\n" V E M A, 0, 0, "", "line 1"},
    {V "mode: Enforce\n" M A, 0, 0, "", "line 2"},
    {"version: STSv2\n" E M A, 0, 0, "", "line 1 of the policy is wrong: the version"},
    {" " V E M A, 0, 0, "", "line 1"},
    {"version : STSv1\n" E M A, 0, 0, "", "line 1"},
    {"Version: STSv1\n" E M A, 0, 0, "", "no version"},
    {V E "mx: a b\n" A, 0, 0, "", "line 3"},
    {V E "mx: \n" A, 0, 0, "", "line 3"},
    {V E "mx: *\n" A, 0, 0, "", "line 3"},
    {V E "mx: *.*.a.test\n" A, 0, 0, "", "line 3"},
    {V E "mx: a.*.test\n" A, 0, 0, "", "line 3"},
    {V E "mx: a.test.\n" A, 0, 0, "", "line 3"},
    {V E "mx: b\xc3\xbc.test\n" A, 0, 0, "", "line 3"},
    {V E "mx: a.test, b.test\n" A, 0, 0, "", "line 3"},
    {V E M A "x:\n", 0, 0, "", "line 5"},
    {V E M A "x: a\tb\n", 0, 0, "", "line 5"},
    {V E M A "x: \xff\n", 0, 0, "", "line 5"},
    {V E M A "nonsense\n", 0, 0, "", "name: value"},
    {V E M "max_age: 100\r", 0, 0, "", "line 4"},
    {V E M "max_age: 100\r\r\n", 0, 0, "", "line 4"},
    {V "mode: enforce\r" M A, 0, 0, "", "line 2"},
    {"<html>\n<body>not here</body>\n", 0, 0, "", "line 1"},
};

static struct vr_str patterns(const struct mtasts_policy *p)
{
    struct vr_str all = VR_STR("");
    for (size_t i = 0; i < p->mx_count; i++)
        all = vr_arena_printf(&arena, "%.*s%s%.*s", VR_STR_ARG(all), i > 0 ? " " : "", VR_STR_ARG(p->mx[i]));
    return all;
}

static void policies_are_read_and_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct mtasts_policy p, again;
        struct vr_str why;
        enum vr_err e = mtasts_policy_parse(&arena, vr_str_from(policies[i].text), &p, &why);
        if ((e == VR_OK) != (policies[i].why == NULL) || (e != VR_OK && !has(why, policies[i].why)))
            fail_msg("\"%s\": %s: %.*s", policies[i].text, vr_err_name(e), VR_STR_ARG(why));
        if (e != VR_OK)
            continue;
        assert_int_equal(p.mode, policies[i].mode);
        assert_int_equal(p.max_age, policies[i].max_age);
        assert_text(patterns(&p), policies[i].mx);
        struct vr_buf out;
        vr_buf_init(&out, MTASTS_POLICY_MAX);
        assert_true(mtasts_policy_write(&out, &p));
        assert_int_equal(mtasts_policy_parse(&arena, vr_buf_str(&out), &again, &why), VR_OK);
        assert_int_equal(again.mode, p.mode);
        assert_int_equal(again.max_age, p.max_age);
        assert_text(patterns(&again), policies[i].mx);
        vr_buf_fini(&out);
    }
}

static void what_cannot_be_written(void **state)
{
    (void)state;
    const struct vr_str good = VR_STR("a.test"), bad = VR_STR("a.test\r\nmx: b.test");
    const struct mtasts_policy wrong[] = {{MTASTS_ENFORCE, 100, NULL, 0},
                                          {MTASTS_ENFORCE, MTASTS_MAX_AGE_MAX + 1, &good, 1},
                                          {MTASTS_ENFORCE, 100, &bad, 1},
                                          {(enum mtasts_mode)7, 100, &good, 1}};
    struct vr_buf out;
    vr_buf_init(&out, 1000);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(mtasts_policy_write(&out, &wrong[i]));
    vr_buf_fini(&out);
    vr_buf_init(&out, 20);
    assert_false(mtasts_policy_write(&out, &(struct mtasts_policy){MTASTS_ENFORCE, 100, &good, 1}));
    vr_buf_fini(&out);
    assert_string_equal(mtasts_mode_name(MTASTS_TESTING), "testing");
    assert_string_equal(mtasts_mode_name((enum mtasts_mode)7), "unknown");
}

static void large_policies(void **state)
{
    (void)state;
    struct vr_buf b;
    struct mtasts_policy p;
    struct vr_str why;
    vr_buf_init(&b, 1 << 20);
    vr_buf_addf(&b, V E A);
    while (vr_buf_size(&b) + 12 <= MTASTS_POLICY_MAX)
        vr_buf_addf(&b, "mx: a.test\r\n");
    assert_int_equal(mtasts_policy_parse(&arena, vr_buf_str(&b), &p, &why), VR_OK);
    assert_true(p.mx_count > 5000);
    vr_buf_addf(&b, "mx: a.test\r\n");
    assert_int_equal(mtasts_policy_parse(&arena, vr_buf_str(&b), &p, &why), VR_ERR_TOO_BIG);
    assert_true(why.n > 0);
    vr_buf_fini(&b);
    struct vr_arena small;
    vr_arena_init(&small, 64);
    assert_int_equal(mtasts_policy_parse(&small, VR_STR(V E M M M M M M A), &p, &why), VR_ERR_TOO_BIG);
    assert_true(why.n > 0);
    vr_arena_fini(&small);
}

static void patterns_match_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *host;
        bool matches;
    } rows[] = {
        {"mail.example.com", "mail.example.com", true},
        {"mail.example.com", "MAIL.Example.com.", true},
        {"mail.example.com", "example.com", false},
        {"*.example.com", "mail.example.com", true},
        {"*.EXAMPLE.com", "mail.example.COM", true},
        {"*.example.com", "example.com", false},
        {"*.example.com", "foo.bar.example.com", false},
        {"*.example.com", ".example.com", false},
        {"*.example.com", "*.example.com", true},
        {"example.com", "mail.example.com", false},
        {"*.com", "example.com", true},
        {"*.example.com", "", false},
        {"mail.example.com", "mail.example.com.org", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str mx = vr_str_from(rows[i].pattern);
        struct mtasts_policy p = {MTASTS_ENFORCE, 1, &mx, 1};
        if (mtasts_mx_matches(&p, vr_str_from(rows[i].host)) != rows[i].matches)
            fail_msg("%s and %s", rows[i].pattern, rows[i].host);
    }
    const struct vr_str two[] = {VR_STR_INIT("a.test"), VR_STR_INIT("b.test")};
    assert_true(mtasts_mx_matches(&(struct mtasts_policy){MTASTS_ENFORCE, 1, two, 2}, VR_STR("b.test")));
    assert_false(mtasts_mx_matches(&(struct mtasts_policy){MTASTS_NONE, 1, NULL, 0}, VR_STR("b.test")));
}

/* ---- which policy holds -------------------------------------------------------------------------------------------------- */

#define NOW     1000000000
#define GOOD    V E "mx: fetched.test\n" A
#define A_WEEK  604800
#define RECORD1 "v=STSv1; id=one;"
#define RECORD2 "v=STSv1; id=two;"

/* What there is, and what follows. Times are seconds before NOW. */
static const struct row {
    const char *what;
    const char *record; /* NULL: not asked; "!fail", "!nx", "!none"; records with '|' between */
    struct {
        const char *id;
        int64_t age, max_age;
    } known;
    struct {
        const char *id;
        int64_t age;
    } failure;
    struct {
        unsigned status;
        const char *type, *body; /* type NULL: not fetched */
    } fetched;
    bool refresh;
    const char *wanted; /* verdict, the policy's mx, flags */
    const char *text;   /* a part of it; NULL: there is none */
} rows[] = {
    {.what = "the record is asked for", .wanted = "ask _mta-sts.d.test"},
    {.what = "no record", .record = "!nx", .wanted = "absent"},
    {.what = "no TXT", .record = "!none", .wanted = "absent"},
    {.what = "other TXT", .record = "v=spf1 -all|v=STSv2; id=a", .wanted = "absent"},
    {.what = "a record without its semicolon is none (§3.1)", .record = "v=STSv1", .wanted = "absent"},
    {.what = "two records", .record = RECORD1 "|" RECORD1, .wanted = "absent", .text = "several"},
    {.what = "a malformed one", .record = "v=STSv1; id=a-b", .wanted = "absent", .text = "malformed"},
    {.what = "the DNS fails", .record = "!fail", .wanted = "absent unsure", .text = "(SERVFAIL)"},
    {.what = "a new policy",
     .record = "v=spf1 -all|" RECORD1,
     .wanted = "fetch one https://mta-sts.d.test/.well-known/mta-sts.txt"},
    {.what = "it is kept and current",
     .record = RECORD1,
     .known = {"one", 10, A_WEEK},
     .wanted = "apply one kept.test"},
    {.what = "… even for a clock that went back",
     .record = RECORD1,
     .known = {"one", -10, A_WEEK},
     .wanted = "apply one kept.test"},
    {.what = "the id has changed",
     .record = RECORD2,
     .known = {"one", 10, A_WEEK},
     .wanted = "fetch two https://mta-sts.d.test/.well-known/mta-sts.txt"},
    {.what = "it has expired",
     .record = RECORD1,
     .known = {"one", A_WEEK, A_WEEK},
     .wanted = "fetch one https://mta-sts.d.test/.well-known/mta-sts.txt"},
    {.what = "… it has a second left",
     .record = RECORD1,
     .known = {"one", A_WEEK - 1, A_WEEK},
     .wanted = "apply one kept.test"},
    {.what = "a kept one outlives its record",
     .record = "!nx",
     .known = {"one", 10, A_WEEK},
     .wanted = "apply one kept.test"},
    {.what = "… and a malformed one",
     .record = "v=STSv1;",
     .known = {"one", 10, A_WEEK},
     .wanted = "apply one kept.test",
     .text = "malformed"},
    {.what = "… and the DNS",
     .record = "!fail",
     .known = {"one", 10, A_WEEK},
     .wanted = "apply one kept.test",
     .text = "SERVFAIL"},
    {.what = "… until it expires", .record = "!nx", .known = {"one", A_WEEK, A_WEEK}, .wanted = "absent"},
    {.what = "it was fetched",
     .record = RECORD1,
     .fetched = {200, "text/plain", GOOD},
     .wanted = "apply one fetched.test fresh"},
    {.what = "… with parameters",
     .record = RECORD1,
     .fetched = {200, "Text/Plain; charset=utf-8", GOOD},
     .wanted = "apply one fetched.test fresh"},
    {.what = "… in place of the kept one",
     .record = RECORD2,
     .known = {"one", 10, A_WEEK},
     .fetched = {200, "text/plain", GOOD},
     .wanted = "apply two fetched.test fresh"},
    {.what = "another type",
     .record = RECORD1,
     .fetched = {200, "text/html", GOOD},
     .wanted = "absent unsure failed=one",
     .text = "text/html"},
    {.what = "a type that begins so",
     .record = RECORD1,
     .fetched = {200, "text/plainer", GOOD},
     .wanted = "absent unsure failed=one",
     .text = "text/plainer"},
    {.what = "not there",
     .record = RECORD1,
     .fetched = {404, "text/plain", GOOD},
     .wanted = "absent unsure failed=one",
     .text = "status 404"},
    {.what = "a redirection",
     .record = RECORD1,
     .fetched = {301, "text/plain", GOOD},
     .wanted = "absent unsure failed=one",
     .text = "status 301"},
    {.what = "no policy",
     .record = RECORD1,
     .fetched = {200, "text/plain", "hello"},
     .wanted = "absent unsure failed=one",
     .text = "cannot be had: line 1"},
    {.what = "no answer",
     .record = RECORD1,
     .fetched = {0, "", ""},
     .wanted = "absent unsure failed=one",
     .text = "Connection refused"},
    {.what = "no answer, but a kept one with another id",
     .record = RECORD2,
     .known = {"one", 10, A_WEEK},
     .fetched = {0, "", ""},
     .wanted = "apply one kept.test failed=two",
     .text = "Connection refused"},
    {.what = "… which has expired",
     .record = RECORD2,
     .known = {"one", A_WEEK, A_WEEK},
     .fetched = {0, "", ""},
     .wanted = "absent unsure failed=two",
     .text = "Connection refused"},
    {.what = "it failed lately",
     .record = RECORD1,
     .failure = {"one", 299},
     .wanted = "absent unsure",
     .text = "not asked for again so soon"},
    {.what = "… with a kept one",
     .record = RECORD2,
     .known = {"one", 10, A_WEEK},
     .failure = {"two", 299},
     .wanted = "apply one kept.test",
     .text = "so soon"},
    {.what = "… long ago",
     .record = RECORD1,
     .failure = {"one", 300},
     .wanted = "fetch one https://mta-sts.d.test/.well-known/mta-sts.txt"},
    {.what = "… for another id",
     .record = RECORD2,
     .failure = {"one", 1},
     .wanted = "fetch two https://mta-sts.d.test/.well-known/mta-sts.txt"},
    {.what = "a refresh that is not due",
     .record = RECORD1,
     .known = {"one", MTASTS_REFRESH_AFTER - 1, A_WEEK},
     .refresh = true,
     .wanted = "apply one kept.test"},
    {.what = "a refresh",
     .record = RECORD1,
     .known = {"one", MTASTS_REFRESH_AFTER, A_WEEK},
     .refresh = true,
     .wanted = "fetch one https://mta-sts.d.test/.well-known/mta-sts.txt"},
    {.what = "a refresh that fails",
     .record = RECORD1,
     .known = {"one", MTASTS_REFRESH_AFTER, A_WEEK},
     .fetched = {500, "text/plain", ""},
     .refresh = true,
     .wanted = "apply one kept.test failed=one",
     .text = "status 500"},
};

static struct dns_record found[4];

static struct dns_answer answer_of(const char *record)
{
    struct dns_answer a = {.name = VR_STR("_MTA-STS.d.test"), .type = DNS_TYPE_TXT, .records = found};
    struct vr_str rest = vr_str_from(record), part;
    a.status = strcmp(record, "!fail") == 0   ? DNS_STATUS_FAILED
               : strcmp(record, "!nx") == 0   ? DNS_STATUS_NXDOMAIN
               : strcmp(record, "!none") == 0 ? DNS_STATUS_NODATA
                                              : DNS_STATUS_OK;
    if (a.status == DNS_STATUS_FAILED)
        a.why = VR_STR("SERVFAIL");
    while (a.status == DNS_STATUS_OK && vr_str_split(&rest, '|', &part))
        found[a.count++].data = part;
    return a;
}

static struct vr_str told(const struct mtasts_result *r)
{
    struct vr_str flags =
        vr_arena_printf(&arena, "%s%s%s%.*s", r->fresh ? " fresh" : "", r->unsure ? " unsure" : "",
                        r->failed ? " failed=" : "", VR_STR_ARG(r->failed_id));
    if (r->verdict == MTASTS_ASK)
        return vr_arena_printf(&arena, "ask %.*s", VR_STR_ARG(r->question.name));
    if (r->verdict == MTASTS_FETCH)
        return vr_arena_printf(&arena, "fetch %.*s %.*s", VR_STR_ARG(r->id), VR_STR_ARG(r->url));
    if (r->verdict == MTASTS_APPLY)
        return vr_arena_printf(&arena, "apply %.*s %.*s%.*s", VR_STR_ARG(r->id),
                               VR_STR_ARG(patterns(&r->policy)), VR_STR_ARG(flags));
    return vr_arena_printf(&arena, "absent%.*s", VR_STR_ARG(flags));
}

static void what_holds_is_decided(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        const struct vr_str kept = VR_STR("kept.test");
        struct dns_answer a = answer_of(r->record != NULL ? r->record : "!none");
        struct mtasts_known known = {vr_str_from(r->known.id),
                                     NOW - r->known.age,
                                     {MTASTS_ENFORCE, (uint32_t)r->known.max_age, &kept, 1}};
        struct mtasts_failure failure = {vr_str_from(r->failure.id), NOW - r->failure.age};
        struct mtasts_fetched fetched = {r->fetched.status, vr_str_from(r->fetched.type),
                                         vr_str_from(r->fetched.body), VR_STR("Connection refused")};
        struct mtasts_query q = {.domain = VR_STR("d.test"),
                                 .now = NOW,
                                 .refresh = r->refresh,
                                 .answers = &a,
                                 .answer_count = r->record != NULL,
                                 .known = r->known.id != NULL ? &known : NULL,
                                 .failure = r->failure.id != NULL ? &failure : NULL,
                                 .fetched = r->fetched.type != NULL ? &fetched : NULL};
        struct mtasts_result out;
        assert_int_equal(mtasts_decide(&q, &arena, &out), VR_OK);
        if (!vr_str_equal(told(&out), vr_str_from(r->wanted)))
            fail_msg("%s: %.*s", r->what, VR_STR_ARG(told(&out)));
        if ((out.text.n > 0) != (r->text != NULL) || (r->text != NULL && !has(out.text, r->text)))
            fail_msg("%s: \"%.*s\"", r->what, VR_STR_ARG(out.text));
    }
}

static void odd_questions(void **state)
{
    (void)state;
    struct mtasts_result out;
    struct dns_answer a = answer_of(RECORD1);
    struct mtasts_query q = {
        .domain = VR_STR("d.test"), .now = NOW, .port = 8443, .answers = &a, .answer_count = 1};
    assert_int_equal(mtasts_decide(&q, &arena, &out), VR_OK);
    assert_text(out.url, "https://mta-sts.d.test:8443/.well-known/mta-sts.txt");
    static const char *const none[] = {"[192.0.2.1]", "", "a b", "b\xc3\xbc.test"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(mtasts_decide(&(struct mtasts_query){.domain = vr_str_from(none[i])}, &arena, &out),
                         VR_OK);
        assert_int_equal(out.verdict, MTASTS_ABSENT);
    }
    char name[251] = "";
    while (strlen(name) < 245)
        strcat(name, "abcd.");
    strcat(name, "a"); /* 246: with its prefix too long for the DNS */
    assert_int_equal(mtasts_decide(&(struct mtasts_query){.domain = vr_str_from(name)}, &arena, &out), VR_OK);
    assert_int_equal(out.verdict, MTASTS_ABSENT);
    assert_int_equal(mtasts_decide(&(struct mtasts_query){.domain = vr_str_from(name + 2)}, &arena, &out),
                     VR_OK);
    assert_int_equal(out.verdict, MTASTS_ASK);
    struct vr_arena none_left;
    vr_arena_init(&none_left, 1);
    assert_int_equal(mtasts_decide(&q, &none_left, &out), VR_ERR_TOO_BIG);
    vr_arena_fini(&none_left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(records_are_read), T(policies_are_read_and_written), T(what_cannot_be_written),
        T(large_policies),   T(patterns_match_hosts),          T(what_holds_is_decided),
        T(odd_questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
