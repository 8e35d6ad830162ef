/* spf.c - SPF checks over small zones: what the openspf suite (tests/conformance) does not have, questions, limits, fields. */
#include "spf_testing.h"

#include <veredus/authres.h>

static const struct zone_row zone[] = {
    {"pass.test", DNS_TYPE_TXT, "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"},
    {"pass.test", DNS_TYPE_TXT, "some other record"},
    {"xn--bcher-kva.test", DNS_TYPE_TXT, "v=spf1 exists:%{o}.ok.test exists:%{d}.ok2.test -all"},
    {"xn--bcher-kva.test.ok.test", DNS_TYPE_A, "127.0.0.2"},
    {"local.test", DNS_TYPE_TXT, "v=spf1 exists:%{l}.users.test -all"},
    {"ann.users.test", DNS_TYPE_A, "127.0.0.2"},
    {"upper.test", DNS_TYPE_TXT, "v=spf1 exists:%{L}.users.test -all"},
    {"j%c3%b6rg.users.test", DNS_TYPE_A, "127.0.0.2"},
    {"mx.test", DNS_TYPE_TXT, "v=spf1 mx -all"},
    {"mx.test", DNS_TYPE_MX, "20 a.mx.test 30 c.mx.test 10 b.mx.test"},
    {"a.mx.test", DNS_TYPE_A, "!fail"},
    {"b.mx.test", DNS_TYPE_A, "192.0.2.1"},
    {"c.mx.test", DNS_TYPE_A, "192.0.2.2"},
    {"voids.test", DNS_TYPE_TXT, "v=spf1 mx -all"},
    {"voids.test", DNS_TYPE_MX, "10 no1.test 20 no2.test 30 b.mx.test 40 no3.test 50 c.mx.test"},
    {"ptr.test", DNS_TYPE_TXT, "v=spf1 ptr -all"},
    {"9.2.0.192.in-addr.arpa", DNS_TYPE_PTR, "no1.test no2.test no3.test failing.test host.ptr.test"},
    {"failing.test", DNS_TYPE_A, "!fail"},
    {"host.ptr.test", DNS_TYPE_A, "192.0.2.9"},
    {"8.2.0.192.in-addr.arpa", DNS_TYPE_PTR, "!fail"},
    {"7.2.0.192.in-addr.arpa", DNS_TYPE_PTR, "badptr.test"},
    {"badptr.test", DNS_TYPE_A, "192.0.2.7"},
    {"p.test", DNS_TYPE_TXT, "v=spf1 exists:%{p}.names.test -all"},
    {"host.ptr.test.names.test", DNS_TYPE_A, "127.0.0.2"},
    {"unknown.names.test", DNS_TYPE_A, "127.0.0.2"},
    {"10.2.0.192.in-addr.arpa", DNS_TYPE_PTR, "x.other.test sub.p.test p.test"},
    {"x.other.test", DNS_TYPE_A, "192.0.2.10"},
    {"sub.p.test", DNS_TYPE_A, "192.0.2.10"},
    {"p.test", DNS_TYPE_A, "192.0.2.10"},
    {"p.test.names.test", DNS_TYPE_A, "127.0.0.2"},
    {"fails.test", DNS_TYPE_TXT, "!fail"},
    {"a-fails.test", DNS_TYPE_TXT, "v=spf1 a:err.test +all"},
    {"err.test", DNS_TYPE_A, "!fail"},
    {"mx-fails.test", DNS_TYPE_TXT, "v=spf1 mx:err.test +all"},
    {"err.test", DNS_TYPE_MX, "!fail"},
    {"redirect-fails.test", DNS_TYPE_TXT, "v=spf1 redirect=fails.test"},
    {"redirect-bad.test", DNS_TYPE_TXT, "v=spf1 redirect=a..test"},
    {"exp-bad.test", DNS_TYPE_TXT, "v=spf1 -all exp=a..test"},
    {"exp.test", DNS_TYPE_TXT, "v=spf1 redirect=exp2.test"},
    {"exp2.test", DNS_TYPE_TXT, "v=spf1 -all exp=why.test"},
    {"why.test", DNS_TYPE_TXT, "%{i} %{c} %{r} %{t} %{h} %{d} %{o} %{s} %{v} %% %_ %- 100%%"},
    {"explocal.test", DNS_TYPE_TXT, "v=spf1 -all exp=why2.test"},
    {"why2.test", DNS_TYPE_TXT, "no, %{l}"},
    {"explong.test", DNS_TYPE_TXT, "v=spf1 -all exp=why3.test"},
    {"why3.test", DNS_TYPE_TXT,
     "%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{s}%{"
     "s}%{s}"},
    {"inc.test", DNS_TYPE_TXT, "v=spf1 ?include:pass.test ~all"},
    {"inc-exp.test", DNS_TYPE_TXT, "v=spf1 -include:pass.test ~all exp=why2.test"},
    {"inc-nx.test", DNS_TYPE_TXT, "v=spf1 include:nowhere.test ~all"},
    {"single.test", DNS_TYPE_TXT, "v=spf1 a:%{h} ?all"},
    {"backslash.test", DNS_TYPE_TXT, "v=spf1 a:a\\.b.test ?all"},
    {"upcase.test", DNS_TYPE_TXT, "V=SPF1 +IP4:192.0.2.1 -ALL"},
    {"mixed.test", DNS_TYPE_TXT, "v=spf1 a:both.test/32//64 -all"},
    {"both.test", DNS_TYPE_AAAA, "2001:db8:1:2::9"},
    {"both.test", DNS_TYPE_A, "192.0.2.77"},
    {"manyexp.test", DNS_TYPE_TXT, "v=spf1 a:no1.test a:no2.test exp=no3.test -all"},
    {NULL, 0, NULL},
};

static const struct check {
    const char *client, *sender, *helo; /* sender NULL: the HELO identity */
    enum spf_verdict verdict;
    const char *mechanism, *domain;
} checks[] = {
    {"192.0.2.9", "ann@pass.test", "h.test", SPF_PASS, "ip4:192.0.2.0/24", "pass.test"},
    {"::ffff:192.0.2.9", "ann@pass.test", "h.test", SPF_PASS, "ip4:192.0.2.0/24", "pass.test"},
    {"198.51.100.1", "ann@pass.test", "h.test", SPF_FAIL, "-all", "pass.test"},
    {"2001:db8:ffff::1", "ann@PASS.test.", "h.test", SPF_PASS, "ip6:2001:db8::/32", "pass.test"},
    {"2001:db9::1", "ann@pass.test", "h.test", SPF_FAIL, "-all", "pass.test"},
    {"192.0.2.9", "\"a@b\"@pass.test", "h.test", SPF_PASS, "ip4:192.0.2.0/24", "pass.test"},
    {"192.0.2.9", "pass.test", "h.test", SPF_PASS, "ip4:192.0.2.0/24", "pass.test"},
    {"192.0.2.9", "", "pass.test", SPF_PASS, "ip4:192.0.2.0/24", "pass.test"},
    {"192.0.2.9", NULL, "pass.test", SPF_PASS, "ip4:192.0.2.0/24", "pass.test"},
    {"192.0.2.9", "ann@fails.test", "pass.test", SPF_TEMPERROR, "", "fails.test"},
    {"192.0.2.9", NULL, "", SPF_NONE, "", ""},
    {"192.0.2.9", NULL, "localhost", SPF_NONE, "", "localhost"},
    {"192.0.2.9", NULL, "[192.0.2.9]", SPF_NONE, "", "[192.0.2.9]"},
    {"192.0.2.9", NULL, "192.0.2.9", SPF_NONE, "", "192.0.2.9"},
    {"192.0.2.9", NULL, "two words.test", SPF_NONE, "", "two words.test"},
    {"192.0.2.9", NULL, "pass\x01.test", SPF_NONE, "", "pass\x01.test"},
    {"192.0.2.9", "ann@nowhere.test", "h.test", SPF_NONE, "", "nowhere.test"},
    {"192.0.2.9", "ann@both.test", "h.test", SPF_NONE, "", "both.test"},
    /* names beyond ASCII: RFC 8616 §4 */
    {"192.0.2.9",
     "ann@b\xc3\xbc"
     "cher.test",
     "h.test", SPF_PASS, "exists:%{o}.ok.test", "xn--bcher-kva.test"},
    {"192.0.2.9", NULL,
     "B\xc3\xbc"
     "cher.test",
     SPF_PASS, "exists:%{o}.ok.test", "xn--bcher-kva.test"},
    {"192.0.2.9", "ann@\xff\xfe.test", "h.test", SPF_NONE, "", "\xff\xfe.test"},
    {"192.0.2.9", "ann@local.test", "h.test", SPF_PASS, "exists:%{l}.users.test", "local.test"},
    {"192.0.2.9", "j\xc3\xb6rg@local.test", "h.test", SPF_FAIL, "-all", "local.test"},
    {"192.0.2.9", "j\xc3\xb6rg@upper.test", "h.test", SPF_FAIL, "-all", "upper.test"},
    /* mx: by preference, to the first match or failure; look-ups in vain on the way count */
    {"192.0.2.1", "a@mx.test", "h.test", SPF_PASS, "mx", "mx.test"},
    {"192.0.2.2", "a@mx.test", "h.test", SPF_TEMPERROR, "", "mx.test"},
    {"192.0.2.3", "a@mx.test", "h.test", SPF_TEMPERROR, "", "mx.test"},
    {"192.0.2.1", "a@voids.test", "h.test", SPF_PASS, "mx", "voids.test"},
    {"192.0.2.2", "a@voids.test", "h.test", SPF_PERMERROR, "", "voids.test"},
    /* ptr: what the client's names are like is no fault of the domain */
    {"192.0.2.9", "a@ptr.test", "h.test", SPF_PASS, "ptr", "ptr.test"},
    {"192.0.2.8", "a@ptr.test", "h.test", SPF_FAIL, "-all", "ptr.test"},
    {"192.0.2.7", "a@ptr.test", "h.test", SPF_FAIL, "-all", "ptr.test"},
    {"192.0.2.6", "a@ptr.test", "h.test", SPF_FAIL, "-all", "ptr.test"},
    {"192.0.2.9", "a@p.test", "h.test", SPF_PASS, "exists:%{p}.names.test", "p.test"},
    {"192.0.2.8", "a@p.test", "h.test", SPF_PASS, "exists:%{p}.names.test", "p.test"},
    {"192.0.2.10", "a@p.test", "h.test", SPF_PASS, "exists:%{p}.names.test", "p.test"},
    /* the DNS does not answer: never a pass */
    {"192.0.2.9", "a@a-fails.test", "h.test", SPF_TEMPERROR, "", "a-fails.test"},
    {"192.0.2.9", "a@mx-fails.test", "h.test", SPF_TEMPERROR, "", "mx-fails.test"},
    {"192.0.2.9", "a@redirect-fails.test", "h.test", SPF_TEMPERROR, "", "redirect-fails.test"},
    {"192.0.2.9", "a@redirect-bad.test", "h.test", SPF_PERMERROR, "", "redirect-bad.test"},
    {"192.0.2.9", "a@inc.test", "h.test", SPF_NEUTRAL, "?include:pass.test", "inc.test"},
    {"198.51.100.9", "a@inc.test", "h.test", SPF_SOFTFAIL, "~all", "inc.test"},
    {"192.0.2.9", "a@inc-exp.test", "h.test", SPF_FAIL, "-include:pass.test", "inc-exp.test"},
    {"192.0.2.9", "a@inc-nx.test", "h.test", SPF_PERMERROR, "", "inc-nx.test"},
    {"192.0.2.9", "a@exp-bad.test", "h.test", SPF_FAIL, "-all", "exp-bad.test"},
    {"192.0.2.9", "a@single.test", "OEM", SPF_NEUTRAL, "?all", "single.test"},
    {"192.0.2.9", "a@backslash.test", "h.test", SPF_NEUTRAL, "?all", "backslash.test"},
    {"192.0.2.1", "a@upcase.test", "h.test", SPF_PASS, "+IP4:192.0.2.1", "upcase.test"},
    {"2001:db8:1:2:ffff::1", "a@mixed.test", "h.test", SPF_PASS, "a:both.test/32//64", "mixed.test"},
    {"2001:db8:1:3::9", "a@mixed.test", "h.test", SPF_FAIL, "-all", "mixed.test"},
    {"192.0.2.77", "a@mixed.test", "h.test", SPF_PASS, "a:both.test/32//64", "mixed.test"},
    {"192.0.2.76", "a@mixed.test", "h.test", SPF_FAIL, "-all", "mixed.test"},
    {"192.0.2.76", "a@manyexp.test", "h.test", SPF_FAIL, "-all", "manyexp.test"},
};

static struct spf_query query_of(const struct check *c)
{
    return (struct spf_query){.client = address_of(c->client),
                              .helo = vr_str_from(c->helo),
                              .sender = vr_str_from(c->sender),
                              .identity = c->sender != NULL ? SPF_MAIL_FROM : SPF_HELO,
                              .receiver = VR_STR("mx.receiver.test"),
                              .now = 1234567890};
}

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const struct check *c = &checks[i];
        struct spf_result r = zone_check(query_of(c), zone, NULL, NULL);
        if (r.verdict != c->verdict)
            fail_msg("%s from %s: %s (%.*s)", c->sender != NULL ? c->sender : c->helo, c->client,
                     spf_verdict_name(r.verdict), VR_STR_ARG(r.reason));
        assert_text(r.mechanism, c->mechanism);
        assert_text(r.domain, c->domain);
    }
}

static struct spf_result check_one(const char *client, const char *sender)
{
    struct check c = {client, sender, "h.test", 0, NULL, NULL};
    return zone_check(query_of(&c), zone, NULL, NULL);
}

static void reasons(void **state)
{
    static const struct {
        const char *client, *sender, *reason;
    } all[] = {
        {"192.0.2.9", "a@pass.test", "pass.test allows 192.0.2.9 by ip4:192.0.2.0/24"},
        {"2001:db9::1", "a@pass.test", "pass.test does not allow 2001:db9::1 by -all"},
        {"2001:db9:0:0:1::", "a@inc.test", "inc.test probably does not allow 2001:db9:0:0:1:: by ~all"},
        {"192.0.2.9", "a@inc.test", "inc.test says neither yes nor no to 192.0.2.9 by ?include:pass.test"},
        {"192.0.2.9", "a@nowhere.test", "nowhere.test has no SPF record"},
        {"192.0.2.9", "a@x", "x is no domain that could have an SPF record"},
        {"192.0.2.9", "a@fails.test",
         "the DNS does not answer for the TXT records of fails.test now (timed out)"},
        {"192.0.2.3", "a@mx.test", "the DNS does not answer for the A records of a.mx.test now (timed out)"},
        {"192.0.2.9", "a@inc-nx.test", "nowhere.test, which is included, has no SPF record"},
        {"192.0.2.9", "a@redirect-bad.test", "redirect=a..test leads to no SPF record"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_text(check_one(all[i].client, all[i].sender).reason, all[i].reason);
}

static void explanations(void **state)
{
    (void)state;
    assert_text(check_one("192.0.2.9", "ann@exp.test").explanation,
                "192.0.2.9 192.0.2.9 mx.receiver.test 1234567890 h.test exp2.test exp.test ann@exp.test "
                "in-addr %   %20 100%");
    assert_text(check_one("2001:db8::a0b", "ann@explocal.test").explanation, "no, ann");
    assert_text(check_one("192.0.2.9", "j\xc3\xb6rg@explocal.test").explanation, "");
    assert_text(check_one("192.0.2.9", "\"a\x01\"@explocal.test").explanation, "");
    assert_text(check_one("192.0.2.9", "a_long_name@explong.test").explanation, "");
    assert_text(check_one("192.0.2.9", "a@exp-bad.test").explanation, "");
    assert_text(check_one("192.0.2.9", "a@inc-exp.test").explanation,
                "no, a"); /* its own, not that of what it includes */
    assert_text(check_one("198.51.100.9", "a@inc-exp.test").explanation, ""); /* softfail */
}

/* What one term needs is asked at once, what may not be needed is not asked. */
static void questions(void **state)
{
    static const struct {
        const char *client, *sender;
        size_t asked, rounds;
    } all[] = {
        {"192.0.2.9", "a@pass.test", 1, 2}, /* TXT */
        {"192.0.2.1", "a@mx.test", 5, 4},   /* TXT; MX; three hosts */
        {"192.0.2.9", "a@ptr.test", 7, 4},  /* TXT; PTR; five names */
        {"192.0.2.9", "a@exp.test", 3, 4},  /* TXT; TXT; TXT of the explanation */
        {"192.0.2.9", "a@localhost", 0, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct check c = {all[i].client, all[i].sender, "h.test", 0, NULL, NULL};
        size_t asked, rounds;
        zone_check(query_of(&c), zone, &asked, &rounds);
        assert_int_equal(asked, all[i].asked);
        assert_int_equal(rounds, all[i].rounds);
    }
}

/* A failure of any one answer never makes a pass of what is none (§2.6.6). */
static void failures(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        struct spf_query q = query_of(&checks[i]);
        for (size_t broken = 0; broken < 12; broken++) {
            struct dns_answer answers[ANSWERS_MAX];
            struct spf_result r;
            q.answers = answers;
            q.answer_count = 0;
            do {
                assert_int_equal(spf_check(&q, &arena, &r), VR_OK);
                for (size_t k = 0; k < r.question_count; k++) {
                    answers[q.answer_count] = zone_find(zone, &r.questions[k]);
                    if (q.answer_count == broken)
                        answers[q.answer_count].status = DNS_STATUS_FAILED;
                    q.answer_count++;
                }
            } while (r.state == SPF_ASK);
            if (r.verdict == SPF_PASS)
                assert_int_equal(checks[i].verdict, SPF_PASS);
        }
    }
}

/* Chains of includes and of redirects: ten terms, not more. */
static void limits(void **state)
{
    struct zone_row rows[16] = {{NULL, 0, NULL}};
    char names[14][16], texts[14][48];
    (void)state;
    for (int redirect = 0; redirect < 2; redirect++)
        for (unsigned length = 10; length <= 11; length++) {
            for (unsigned i = 0; i <= length; i++) {
                snprintf(names[i], sizeof names[i], "d%u.test", i);
                snprintf(texts[i], sizeof texts[i],
                         i == length ? "v=spf1 +all"
                         : redirect  ? "v=spf1 redirect=d%u.test"
                                     : "v=spf1 include:d%u.test",
                         i + 1);
                rows[i] = (struct zone_row){names[i], DNS_TYPE_TXT, texts[i]};
            }
            rows[length + 1].name = NULL;
            struct check c = {"192.0.2.1", "a@d0.test", "h.test", 0, NULL, NULL};
            struct spf_result r = zone_check(query_of(&c), rows, NULL, NULL);
            assert_int_equal(r.verdict, length == 10 ? SPF_PASS : SPF_PERMERROR);
            assert_int_equal(r.lookups, length);
        }
}

/* An arena that is full at any moment is told, and nothing else happens. */
static void full_arena(void **state)
{
    struct check c = {"192.0.2.9", "a@ptr.test", "h.test", 0, NULL, NULL};
    struct dns_answer answers[ANSWERS_MAX];
    struct spf_query q = query_of(&c);
    struct spf_result r;
    (void)state;
    q.answers = answers;
    do {
        assert_int_equal(spf_check(&q, &arena, &r), VR_OK);
        for (size_t i = 0; i < r.question_count; i++)
            answers[q.answer_count++] = zone_find(zone, &r.questions[i]);
    } while (r.state == SPF_ASK);
    bool fits = false;
    for (size_t max = 0; !fits; max += 64) {
        struct vr_arena small;
        vr_arena_init(&small, max);
        enum vr_err e = spf_check(&q, &small, &r);
        fits = e == VR_OK;
        assert_true(fits ? r.verdict == SPF_PASS : e == VR_ERR_TOO_BIG);
        assert_true(max < 65536);
        vr_arena_fini(&small);
    }
}

static void fields(void **state)
{
    struct vr_buf b;
    struct check c = {"192.0.2.9", "ann\"\r\n\\@pass.test", "h(.test", 0, NULL, NULL};
    struct spf_query q = query_of(&c);
    struct spf_result r = zone_check(q, zone, NULL, NULL);
    (void)state;
    vr_buf_init(&b, 4096);
    assert_true(spf_received(&b, &q, &r));
    assert_text(
        vr_buf_str(&b),
        "Received-SPF: pass\r\n\t(pass.test allows 192.0.2.9 by ip4:192.0.2.0/24)\r\n"
        "\treceiver=\"mx.receiver.test\";\r\n\tidentity=\"mailfrom\";\r\n\tclient-ip=\"192.0.2.9\";\r\n"
        "\tenvelope-from=\"ann\\\"??\\\\@pass.test\";\r\n\thelo=\"h(.test\";\r\n"
        "\tmechanism=\"ip4:192.0.2.0/24\";\r\n");
    vr_buf_reset(&b);
    c = (struct check){"192.0.2.9", NULL, "fails.test", 0, NULL, NULL};
    q = query_of(&c);
    r = zone_check(q, zone, NULL, NULL);
    assert_true(spf_received(&b, &q, &r));
    assert_text(
        vr_buf_str(&b),
        "Received-SPF: temperror\r\n\t(the DNS does not answer for the TXT records of fails.test now "
        "\\(timed out\\))\r\n"
        "\treceiver=\"mx.receiver.test\";\r\n\tidentity=\"helo\";\r\n\tclient-ip=\"192.0.2.9\";\r\n\thelo="
        "\"fails.test\";\r\n"
        "\tproblem=\"the DNS does not answer for the TXT records of fails.test now (timed out)\";\r\n");
    vr_buf_fini(&b);
    vr_buf_init(&b, 40);
    assert_false(spf_received(&b, &q, &r));
    vr_buf_fini(&b);
}

static void results(void **state)
{
    static const struct {
        const char *sender, *helo, *property, *value;
    } all[] = {
        {"ann@pass.test", "h.test", "mailfrom", "pass.test"},
        {"ann@local.test", "h.test", "mailfrom", "ann@local.test"},   /* the record asks for the local part */
        {"ann@explocal.test", "h.test", "mailfrom", "explocal.test"}, /* only its explanation does */
        {"", "pass.test", "helo", "pass.test"},
        {NULL, "pass.test", "helo", "pass.test"}};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct check c = {"192.0.2.9", all[i].sender, all[i].helo, 0, NULL, NULL};
        struct spf_query q = query_of(&c);
        struct spf_result r = zone_check(q, zone, NULL, NULL);
        const struct authres_result *a = authres_of_spf(&arena, &q, &r);
        assert_text(a->method, "spf");
        assert_text(a->result, spf_verdict_name(r.verdict));
        assert_int_equal(a->property_count, 1);
        assert_text(a->properties[0].property, all[i].property);
        assert_text(a->properties[0].value, all[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(table),  T(reasons),    T(explanations), T(questions), T(failures),
                                       T(limits), T(full_arena), T(fields),       T(results)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
