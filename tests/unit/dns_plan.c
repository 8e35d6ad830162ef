/* dns_plan.c - tests of what a domain should publish: src/cli/dns_plan.h and src/config/published.h. */
#include "cli/dns_plan.h"

#include <veredus/mtasts.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct vr_arena arena;
static struct config *config;
static struct dns_plan plan;

static void load(const char *text)
{
    struct config_load *l = config_load_text("t", vr_str_from(text));
    for (const struct config_problem *p = l->problems; p != NULL; p = p->next)
        if (!p->warning)
            fail_msg("%s", p->message);
    config = config_take(l);
    config_load_free(l);
}

static int setup(void **state)
{
    (void)state;
    vr_arena_init(&arena, 4 << 20);
    config = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    config_free(config);
    vr_arena_fini(&arena);
    return 0;
}

static struct vr_str line_of(const struct dns_plan_record *r)
{
    struct vr_buf b;
    vr_buf_init(&b, 1 << 16);
    assert_true(dns_plan_line(&b, r));
    struct vr_str text = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return text;
}

/* The lines of the plan are these, in this order; "?" at the end stands for any end. */
static void expect(const struct dns_plan_facts *f, const char *const *lines)
{
    assert_true(dns_plan_make(f, &arena, &plan));
    size_t i = 0;
    for (; lines[i] != NULL; i++) {
        if (i == plan.count)
            fail_msg("\"%s\" is missing", lines[i]);
        struct vr_str got = line_of(&plan.records[i]), want = vr_str_from(lines[i]);
        bool open = want.p[want.n - 1] == '?';
        want.n -= open;
        if (open ? !vr_str_starts(got, want) : !vr_str_equal(got, want))
            fail_msg("\"%.*s\" instead of \"%s\"", VR_STR_ARG(got), lines[i]);
    }
    if (i != plan.count)
        fail_msg("\"%.*s\" too much", VR_STR_ARG(line_of(&plan.records[i])));
}

#define HOST "hostname = \"mail.example.org\"\n"

static void the_least(void **state)
{
    static const char *const lines[] = {
        "example.org. 3600 IN MX 10 mail.example.org.",
        "example.org. 3600 IN TXT \"v=spf1 mx ~all\"",
        "mail.example.org. 3600 IN TXT \"v=spf1 a -all\"",
        "_dmarc.example.org. 3600 IN TXT \"v=DMARC1; p=none; rua=mailto:postmaster@example.org\"",
        "_smtp._tls.example.org. 3600 IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@example.org\"",
        NULL};
    (void)state;
    load(HOST "domain \"example.org\" { }");
    expect(&(struct dns_plan_facts){.config = config, .domain = &config->domains[0]}, lines);
    assert_int_equal(plan.policy.n, 0);
}

static void all_that_can_be_said(void **state)
{
    static const char *const lines[] = {
        "xn--bcher-kva.example. 3600 IN MX 10 mx1.xn--bcher-kva.example.",
        "xn--bcher-kva.example. 3600 IN MX 20 mx2.other.example.",
        "mail.example.org. 3600 IN A 192.0.2.1",
        "mail.example.org. 3600 IN AAAA 2001:db8::1",
        "mail.example.org. 3600 IN A 192.0.2.7",
        "xn--bcher-kva.example. 3600 IN TXT \"v=spf1 mx a:mail.example.org ip4:192.0.2.1 ip6:2001:db8::1 "
        "ip4:192.0.2.7 ~all\"",
        "mail.example.org. 3600 IN TXT \"v=spf1 a -all\"",
        "s1._domainkey.xn--bcher-kva.example. 3600 IN TXT \"v=DKIM1; p=AAAA\"",
        "_dmarc.xn--bcher-kva.example. 3600 IN TXT \"v=DMARC1; p=reject\"",
        "_mta-sts.xn--bcher-kva.example. 3600 IN TXT \"v=STSv1; id=?",
        "_smtp._tls.xn--bcher-kva.example. 3600 IN TXT \"v=TLSRPTv1; "
        "rua=mailto:a@b.example,https://b.example/\"",
        "_25._tcp.mx1.xn--bcher-kva.example. 3600 IN TLSA 3 1 1 "
        "0707070707070707070707070707070707070707070707070707070707070707",
        "_submissions._tcp.xn--bcher-kva.example. 3600 IN SRV 0 1 465 mail.example.org.",
        "_submission._tcp.xn--bcher-kva.example. 3600 IN SRV 0 1 587 mail.example.org.",
        "_imaps._tcp.xn--bcher-kva.example. 3600 IN SRV 0 1 9930 imap.example.org.",
        NULL};
    struct dns_plan_certificate certificates[2] = {{.names = "mail.example.org"}, {.names = ""}};
    const struct dkim_published keys[] = {{.name = VR_STR_INIT("s1._domainkey.xn--bcher-kva.example"),
                                           .value = VR_STR_INIT("v=DKIM1; p=AAAA"),
                                           .phase = DKIM_SIGNING},
                                          {.name = VR_STR_INIT("s0._domainkey.xn--bcher-kva.example"),
                                           .value = VR_STR_INIT("v=DKIM1; p=BBBB"),
                                           .phase = DKIM_RETIRED}};
    (void)state;
    certificates[1].names = "*.xn--bcher-kva.example";
    memset(certificates[1].x.tlsa_3_1_1, 7, 32);
    load(HOST
         "listen \":25\" { role = mx }\nlisten \":587\" { }\nlisten \":465\" { }\nlisten \":5870\" { role = "
         "submission }\n"
         "domain \"B\xc3\xbc"
         "cher.example\" {\nmx = { \"MX1.b\xc3\xbc"
         "cher.example\", \"mx2.other.example\" }\ndmarc_record = \"v=DMARC1; p=reject\"\ntls_reports = { "
         "\"mailto:a@b.example\", \"https://b.example/\" }\nmta_sts = enforce\nimaps = "
         "\"imap.example.org:9930\"\n}\n"
         "route \"x.example\" {\nto = mx\nsource = \"192.0.2.7\"\n}\nroute \"y.example\" {\nto = mx\nsource "
         "= \"192.0.2.1\"\n}\n"
         "sending { source = \"192.0.2.1\"\n source6 = \"2001:db8::1\" }\n");
    const struct dns_plan_facts f = {.config = config,
                                     .domain = &config->domains[0],
                                     .certificates = certificates,
                                     .certificate_count = 2,
                                     .keys = keys,
                                     .key_count = 2};
    expect(&f, lines);
    for (size_t i = 0; i < plan.count; i++)
        assert_int_equal(plan.records[i].inside,
                         vr_str_ends_nocase(plan.records[i].name, VR_STR("xn--bcher-kva.example")));
}

static void a_record_of_ones_own_is_taken_as_it_is(void **state)
{
    (void)state;
    load(HOST "domain \"mail.example.org\" { spf_record = \"v=spf1 include:_spf.example.net -all\" }");
    const struct dns_plan_facts f = {.config = config, .domain = &config->domains[0]};
    assert_true(dns_plan_make(&f, &arena, &plan));
    size_t spf = 0;
    for (size_t i = 0; i < plan.count; i++)
        if (plan.records[i].kind == DNS_PLAN_SPF || plan.records[i].kind == DNS_PLAN_SPF_HELO) {
            assert_true(vr_str_equal(plan.records[i].value, VR_STR("v=spf1 include:_spf.example.net -all")));
            spf++;
        }
    assert_int_equal(spf, 1); /* the host name is the domain: it is one record for both */
}

/* As the server chooses. */
static void certificates_by_name(void **state)
{
    static struct vr_str first[] = {VR_STR_INIT("first.example")};
    const struct dns_plan_certificate all[] = {
        {.names = "mail.example.org", .x = {.names = first, .name_count = 1}},
        {.names = "*.wild.example"},
        {.names = "a.example exact.wild.example"}};
    static const struct {
        const char *host;
        int which; /* negative: none */
    } rows[] = {{"mail.example.org", 0}, {"x.wild.example", 1}, {"exact.wild.example", 2},
                {"A.example", 2},        {"first.example", 0},  {"x.y.wild.example", -1},
                {"else.example", -1}};
    (void)state;
    load(HOST "domain \"example.org\" { }");
    const struct dns_plan_facts f = {
        .config = config, .domain = &config->domains[0], .certificates = all, .certificate_count = 3};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct dns_plan_certificate *c = dns_plan_certificate_of(&f, vr_str_from(rows[i].host));
        if (c != (rows[i].which < 0 ? NULL : &all[rows[i].which]))
            fail_msg("%s", rows[i].host);
    }
    const struct dns_plan_facts none = {.config = config, .domain = &config->domains[0]};
    assert_null(dns_plan_certificate_of(&none, VR_STR("mail.example.org")));
}

static void long_texts_are_split(void **state)
{
    static char text[600];
    (void)state;
    memset(text, 'x', sizeof text);
    static const struct {
        size_t n;
        size_t strings;
    } rows[] = {{0, 1}, {1, 1}, {255, 1}, {256, 2}, {510, 2}, {511, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct dns_plan_record r = {
            .name = VR_STR_INIT("a.example"), .type = "TXT", .value = vr_str(text, rows[i].n)};
        struct vr_str line = line_of(&r), rest = line, part;
        size_t quotes = 0, longest = 0, k = 0;
        for (; vr_str_split(&rest, '"', &part); k++)
            if (k % 2 == 1 && part.n > longest)
                longest = part.n;
        for (size_t at = 0; at < line.n; at++)
            quotes += line.p[at] == '"';
        assert_int_equal(quotes, 2 * rows[i].strings);
        assert_true(longest <= 255);
    }
    const struct dns_plan_record r = {
        .name = VR_STR_INIT("a.example"), .type = "TXT", .value = VR_STR_INIT("a\"b\\c")};
    assert_true(vr_str_equal(line_of(&r), VR_STR("a.example. 3600 IN TXT \"a\\\"b\\\\c\"")));
}

static void the_policy_and_its_id(void **state)
{
    struct vr_buf first, second;
    struct mtasts_policy p;
    struct vr_str why;
    char id[2][PUBLISHED_ID_SIZE];
    (void)state;
    load(HOST "domain \"a.example\" { mta_sts = enforce }\ndomain \"b.example\" {\nmta_sts = "
              "testing\nmta_sts_max_age = 1d\n"
              "mx = { \"mx.b.example\" }\n}\ndomain \"c.example\" { }");
    vr_buf_init(&first, 4096);
    vr_buf_init(&second, 4096);
    assert_true(published_mta_sts(config, &config->domains[0], &first));
    assert_true(vr_str_equal(
        vr_buf_str(&first),
        VR_STR("version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmax_age: 604800\r\n")));
    assert_true(published_mta_sts(config, &config->domains[1], &second));
    assert_int_equal(mtasts_policy_parse(&arena, vr_buf_str(&second), &p, &why), VR_OK);
    assert_true(p.mode == MTASTS_TESTING && p.max_age == 86400 && p.mx_count == 1 &&
                vr_str_equal(p.mx[0], VR_STR("mx.b.example")));
    published_mta_sts_id(vr_buf_str(&first), id[0]);
    published_mta_sts_id(vr_buf_str(&second), id[1]);
    assert_string_not_equal(id[0], id[1]);
    for (int i = 0; i < 2; i++) {
        char record[64];
        struct vr_str read;
        snprintf(record, sizeof record, "v=STSv1; id=%s;", id[i]);
        assert_int_equal(mtasts_record_parse(vr_str_from(record), &read), VR_OK);
        assert_true(vr_str_equal(read, vr_str_from(id[i])));
    }
    vr_buf_reset(&first);
    assert_false(published_mta_sts(config, &config->domains[2], &first));
    vr_buf_fini(&first);
    vr_buf_fini(&second);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_least),
        T(all_that_can_be_said),
        T(a_record_of_ones_own_is_taken_as_it_is),
        T(certificates_by_name),
        T(long_texts_are_split),
        T(the_policy_and_its_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
