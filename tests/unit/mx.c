/* mx.c - MX selection, from tables of DNS answers. */
#include <veredus/mx.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

/* ---- a small DNS ------------------------------------------------------------------------------------------------ */

/* One row per record set. data: "10 mx1.example 20 mx2.example", "192.0.2.1 192.0.2.2", "!nx", "!fail", "" (no data) */
struct zone_row {
    const char *name;
    enum dns_type type;
    const char *data;
};

#define RECORDS_MAX 40
struct found {
    struct dns_answer answer;
    struct dns_record records[RECORDS_MAX];
};

static void read_records(struct found *f, const char *data)
{
    struct vr_str rest = vr_str_from(data), word;
    while (vr_str_split(&rest, ' ', &word)) {
        struct dns_record *r = &f->records[f->answer.count++];
        assert_true(f->answer.count <= RECORDS_MAX);
        char text[64];
        snprintf(text, sizeof text, "%.*s", VR_STR_ARG(word));
        if (f->answer.type == DNS_TYPE_MX) {
            uint64_t preference;
            assert_true(vr_str_to_u64(word, &preference));
            r->preference = (uint16_t)preference;
            (void)vr_str_split(&rest, ' ', &word);
            r->name = vr_str_equal(word, VR_STR(".")) ? vr_str(NULL, 0) : word;
        } else {
            r->address.family = f->answer.type == DNS_TYPE_A ? 4 : 6;
            assert_int_equal(
                inet_pton(f->answer.type == DNS_TYPE_A ? AF_INET : AF_INET6, text, r->address.ip), 1);
        }
    }
    f->answer.records = f->records;
}

static void look_up(const struct zone_row *zone, struct dns_question q, struct found *f)
{
    memset(f, 0, sizeof *f);
    f->answer.name = q.name;
    f->answer.type = q.type;
    f->answer.status = DNS_STATUS_NODATA;
    for (; zone->name != NULL; zone++) {
        if (zone->type != q.type || !vr_str_equal_nocase(vr_str_from(zone->name), q.name))
            continue;
        f->answer.status = DNS_STATUS_OK;
        if (strcmp(zone->data, "!nx") == 0)
            f->answer.status = DNS_STATUS_NXDOMAIN;
        else if (strcmp(zone->data, "!fail") == 0)
            f->answer.status = DNS_STATUS_FAILED;
        else
            read_records(f, zone->data);
        return;
    }
}

/* Asks until there is a verdict; the questions are counted. Result: "10 mx1=192.0.2.1,2001:db8::1 …" or the status. */
static struct found answers[128];

static void resolve(struct mx_query q, const struct zone_row *zone, struct vr_buf *out, size_t *asked,
                    bool with_preference)
{
    struct vr_arena arena;
    struct mx_result r;
    static struct dns_answer known[128];
    vr_arena_init(&arena, 1 << 20);
    *asked = 0;
    for (;;) {
        q.answers = known;
        q.answer_count = *asked;
        assert_int_equal(mx_select(&q, &arena, &r), VR_OK);
        if (r.verdict != MX_ASK)
            break;
        assert_true(r.question_count > 0);
        for (size_t i = 0; i < r.question_count; i++) {
            assert_true(*asked < 128);
            look_up(zone, r.questions[i], &answers[*asked]);
            known[*asked] = answers[*asked].answer;
            (*asked)++;
        }
    }
    if (r.verdict != MX_HOSTS) {
        assert_true(r.text.n > 10);
        assert_int_equal(r.enhanced[0], r.verdict == MX_PERMANENT ? '5' : '4');
        vr_buf_addf(out, "%s", r.enhanced);
    }
    for (size_t i = 0; r.verdict == MX_HOSTS && i < r.host_count; i++) {
        if (i > 0)
            vr_buf_add_byte(out, ' ');
        if (with_preference)
            vr_buf_addf(out, "%u ", r.hosts[i].preference);
        vr_buf_addf(out, "%.*s=", VR_STR_ARG(r.hosts[i].name));
        for (size_t k = 0; k < r.hosts[i].address_count; k++) {
            char text[64];
            const struct dns_address *a = &r.hosts[i].addresses[k];
            assert_non_null(inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->ip, text, sizeof text));
            vr_buf_addf(out, "%s%s", k > 0 ? "," : "", text);
        }
    }
    vr_arena_fini(&arena);
}

/* ---- the table ---------------------------------------------------------------------------------------------------- */

static const struct zone_row zone[] = {
    {"two.test", DNS_TYPE_MX, "20 b.test 10 a.test"},
    {"a.test", DNS_TYPE_A, "192.0.2.1"},
    {"a.test", DNS_TYPE_AAAA, "2001:db8::1"},
    {"b.test", DNS_TYPE_A, "192.0.2.2"},
    {"bare.test", DNS_TYPE_A, "192.0.2.3"},
    {"null.test", DNS_TYPE_MX, "0 ."},
    {"nullish.test", DNS_TYPE_MX, "0 . 10 a.test"},
    {"gone.test", DNS_TYPE_MX, "!nx"},
    {"empty.test", DNS_TYPE_MX, ""},
    {"down.test", DNS_TYPE_MX, "!fail"},
    {"downhost.test", DNS_TYPE_A, "!fail"},
    {"viadown.test", DNS_TYPE_MX, "10 downhost.test"},
    {"halfdown.test", DNS_TYPE_MX, "10 downhost.test 20 b.test"},
    {"self.test", DNS_TYPE_MX, "10 a.test 20 ME.test 20 b.test 30 c.test"},
    {"selfbest.test", DNS_TYPE_MX, "10 me.test 20 a.test"},
    {"selfip.test", DNS_TYPE_MX, "10 a.test 20 alias-of-me.test 20 b.test 30 c.test"},
    {"selfipbest.test", DNS_TYPE_MX, "10 alias-of-me.test 20 b.test"},
    {"selfdown.test", DNS_TYPE_MX, "10 downhost.test 20 me.test"},
    {"alias-of-me.test", DNS_TYPE_A, "192.0.2.77"},
    {"c.test", DNS_TYPE_A, "192.0.2.9"},
    {"odd.test", DNS_TYPE_MX, "5 192.0.2.5 6 [192.0.2.5] 7 bad_.-x..y 10 a.test"},
    {"allodd.test", DNS_TYPE_MX, "5 192.0.2.5"},
    {"nohost.test", DNS_TYPE_MX, "5 missing.test 6 missing2.test"},
    {"skip.test", DNS_TYPE_MX, "5 missing.test 6 b.test"},
    {"twice.test", DNS_TYPE_MX, "20 a.test 10 b.test 5 A.test"},
    {"six.test", DNS_TYPE_MX, "10 six-host.test"},
    {"six-host.test", DNS_TYPE_AAAA, "2001:db8::6"},
    {"v6down.test", DNS_TYPE_MX, "10 v6down-host.test"},
    {"v6down-host.test", DNS_TYPE_AAAA, "!fail"},
    {"v6down-host.test", DNS_TYPE_A, "192.0.2.8"},
    {NULL, 0, NULL},
};

static const struct vr_str own_names[] = {{"me.test", 7}};
static const struct dns_address own_addresses[] = {{4, {192, 0, 2, 77}},
                                                   {6, {0x20, 1, 0xd, 0xb8, [15] = 0x77}}};

static const struct row {
    const char *domain;
    bool host_only, no_ipv6;
    const char *expected;
    size_t questions;
} rows[] = {
    {"two.test", false, false, "10 a.test=2001:db8::1,192.0.2.1 20 b.test=192.0.2.2", 5},
    {"TWO.test", false, true, "10 a.test=192.0.2.1 20 b.test=192.0.2.2", 3},
    {"bare.test", false, false, "0 bare.test=192.0.2.3", 3},
    {"null.test", false, false, "5.1.10", 1},
    {"nullish.test", false, true, "10 a.test=192.0.2.1", 2},
    {"gone.test", false, false, "5.1.2", 1},
    {"empty.test", false, false, "5.1.2", 3},
    {"down.test", false, false, "4.4.3", 1},
    {"viadown.test", false, false, "4.4.3", 3},
    {"halfdown.test", false, true, "20 b.test=192.0.2.2", 3},
    {"self.test", false, true, "10 a.test=192.0.2.1", 2},
    {"selfbest.test", false, false, "5.4.6", 1},
    {"selfip.test", false, true, "10 a.test=192.0.2.1", 5},
    {"selfipbest.test", false, true, "5.4.6", 3},
    {"selfdown.test", false, true, "4.4.3", 2},
    {"odd.test", false, true, "10 a.test=192.0.2.1", 2},
    {"allodd.test", false, false, "5.4.4", 1},
    {"nohost.test", false, false, "5.4.4", 5},
    {"skip.test", false, true, "6 b.test=192.0.2.2", 3},
    {"twice.test", false, true, "5 A.test=192.0.2.1 10 b.test=192.0.2.2", 3},
    {"six.test", false, false, "10 six-host.test=2001:db8::6", 3},
    {"six.test", false, true, "5.4.4", 2},
    {"v6down.test", false, false, "10 v6down-host.test=192.0.2.8", 3},
    {"two.test", true, false, "5.4.4", 2},
    {"a.test", true, false, "0 a.test=2001:db8::1,192.0.2.1", 2},
    {"downhost.test", true, false, "4.4.3", 2},
    {"alias-of-me.test", true, false, "5.4.6", 2},
    {"[192.0.2.4]", false, false, "0 [192.0.2.4]=192.0.2.4", 0},
    {"[IPv6:2001:db8::4]", false, false, "0 [IPv6:2001:db8::4]=2001:db8::4", 0},
    {"[192.0.2.77]", false, false, "5.4.6", 0},
    {"[IPv6:2001:db8::77]", false, false, "5.4.6", 0},
};

static struct mx_query query(const char *domain, uint64_t seed)
{
    return (struct mx_query){.domain = vr_str_from(domain),
                             .seed = seed,
                             .own_names = own_names,
                             .own_name_count = 1,
                             .own_addresses = own_addresses,
                             .own_address_count = 2};
}

static void table(void **state)
{
    (void)state;
    struct vr_buf out;
    vr_buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (uint64_t seed = 0; seed < 5; seed++) {
            struct mx_query q = query(rows[i].domain, seed);
            q.host_only = rows[i].host_only;
            q.no_ipv6 = rows[i].no_ipv6;
            size_t asked;
            vr_buf_reset(&out);
            resolve(q, zone, &out, &asked, true);
            if (!vr_str_equal(vr_buf_str(&out), vr_str_from(rows[i].expected)))
                fail_msg("%s: got \"%.*s\", expected \"%s\"", rows[i].domain, VR_STR_ARG(vr_buf_str(&out)),
                         rows[i].expected);
            if (asked != rows[i].questions)
                fail_msg("%s: asked %zu, expected %zu", rows[i].domain, asked, rows[i].questions);
        }
    vr_buf_fini(&out);
}

/* Equal preferences come in every order, about equally often; a worse one never first. */
static void shuffled(void **state)
{
    (void)state;
    static const struct zone_row even[] = {
        {"even.test", DNS_TYPE_MX, "10 x.test 10 y.test 10 z.test 20 w.test"},
        {"x.test", DNS_TYPE_A, "192.0.2.1"},
        {"y.test", DNS_TYPE_A, "192.0.2.2"},
        {"z.test", DNS_TYPE_A, "192.0.2.3"},
        {"w.test", DNS_TYPE_A, "192.0.2.4"},
        {NULL, 0, NULL}};
    unsigned first[3] = {0};
    struct vr_buf out;
    vr_buf_init(&out, 4096);
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        size_t asked;
        vr_buf_reset(&out);
        struct mx_query q = query("even.test", seed * 0x9e3779b97f4a7c15ull);
        q.no_ipv6 = true;
        resolve(q, even, &out, &asked, false);
        struct vr_str text = vr_buf_str(&out);
        assert_true(text.p[0] >= 'x' && text.p[0] <= 'z');
        first[text.p[0] - 'x']++;
        assert_int_equal(vr_str_find_str(text, VR_STR("w.test")), text.n - strlen("w.test=192.0.2.4"));
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(first[i], 800, 1200);
    vr_buf_fini(&out);
}

static void bounds(void **state)
{
    (void)state;
    char mx[2048] = "", a[2048] = "";
    size_t n = 0, m = 0;
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(mx + n, sizeof mx - n, "%s%d h%d.test", i ? " " : "", 100 - i, i);
    for (int i = 0; i < 40; i++)
        m += (size_t)snprintf(a + m, sizeof a - m, "%s192.0.2.%d", i ? " " : "", i + 1);
    const struct zone_row crowd[] = {
        {"crowd.test", DNS_TYPE_MX, mx}, {"h39.test", DNS_TYPE_A, a}, {NULL, 0, NULL}};
    struct vr_buf out;
    vr_buf_init(&out, 4096);
    size_t asked;
    resolve(query("crowd.test", 7), crowd, &out, &asked, true);
    assert_int_equal(asked, 1 + 2 * MX_HOSTS_MAX);
    struct vr_str text = vr_buf_str(&out), address;
    assert_true(vr_str_starts(text, VR_STR("61 h39.test=")));
    size_t addresses = 0;
    while (vr_str_split(&text, ',', &address))
        addresses++;
    assert_int_equal(addresses, MX_ADDRESSES_MAX);
    vr_buf_fini(&out);

    struct vr_arena small;
    struct mx_result r;
    struct mx_query q = query("crowd.test", 7);
    vr_arena_init(&small, 64);
    assert_int_equal(mx_select(&q, &small, &r), VR_ERR_TOO_BIG);
    vr_arena_fini(&small);
}

/* Can anybody but the domain's owner have named these hosts (RFC 8689 §4.2.1)? */
static void secure(void **state)
{
    (void)state;
    static const struct {
        const char *domain;
        bool host_only, mx, mx_secure, secure;
    } cases[] = {{"signed.test", false, true, true, true},
                 {"plain.test", false, true, false, false},
                 {"bare.test", false, false, false, true}, /* no MX: the domain itself */
                 {"host.test", true, false, false, true},
                 {"[192.0.2.9]", false, false, false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dns_record mx = {.name = VR_STR("mx.test"), .preference = 10};
        struct dns_record a = {.address = {.family = 4, .ip = {192, 0, 2, 1}}};
        struct vr_str host = cases[i].mx ? VR_STR("mx.test") : vr_str_from(cases[i].domain);
        const struct dns_answer known[] = {
            {.name = vr_str_from(cases[i].domain),
             .type = DNS_TYPE_MX,
             .status = cases[i].mx ? DNS_STATUS_OK : DNS_STATUS_NODATA,
             .secure = cases[i].mx_secure,
             .records = &mx,
             .count = cases[i].mx},
            {.name = host, .type = DNS_TYPE_A, .status = DNS_STATUS_OK, .records = &a, .count = 1},
            {.name = host, .type = DNS_TYPE_AAAA, .status = DNS_STATUS_NODATA}};
        struct mx_query q = {.domain = vr_str_from(cases[i].domain),
                             .host_only = cases[i].host_only,
                             .answers = known,
                             .answer_count = 3};
        struct vr_arena arena;
        struct mx_result r;
        vr_arena_init(&arena, 1 << 16);
        assert_int_equal(mx_select(&q, &arena, &r), VR_OK);
        assert_int_equal(r.verdict, MX_HOSTS);
        if (r.secure != cases[i].secure)
            fail_msg("%s", cases[i].domain);
        vr_arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(shuffled),
                                       cmocka_unit_test(bounds), cmocka_unit_test(secure)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
