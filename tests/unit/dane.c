/* dane.c - DANE: records and their use, and what a host must show; from tables of DNS answers. */
#include "lib_testing.h"

#include <veredus/dane.h>

/* ---- records ------------------------------------------------------------------------------------------------------------- */

#define H16 "0123456789abcdef"
#define H32 H16 H16
#define H64 H32 H32

static struct vr_str rdata(int usage, int selector, int matching, const char *data, size_t n)
{
    char *p = vr_arena_alloc(&arena, n + 3);
    assert_non_null(p);
    p[0] = (char)usage, p[1] = (char)selector, p[2] = (char)matching;
    memcpy(p + 3, data, n);
    return vr_str(p, n + 3);
}

static void records_and_their_use(void **state)
{
    (void)state;
    static const struct {
        int usage, selector, matching;
        const char *data;
        size_t n;
        bool usable;
    } rows[] = {
        {3, 1, 1, H32, 32, true},
        {2, 0, 1, H32, 32, true},
        {3, 0, 2, H64, 64, true},
        {2, 1, 2, H64, 64, true},
        {3, 0, 0, "\x30\x02\x05\x00", 4, true},
        {3, 1, 0, "\x30\x03\x05\x00", 4, false}, /* not as long as it says */
        {3, 1, 0, "\x31\x02\x05\x00", 4, false},
        {2, 0, 0, "\x30\x81\x02\x05\x00", 5, true},
        {2, 0, 0, "\x30\x80\x00\x00", 4, false},
        {2, 0, 0, "\x30\x84\x00\x00\x00\x00", 6, false},
        {2, 0, 0, "\x30\x82\x00", 3, false},
        {2, 0, 0, "\x30", 1, false},
        {0, 0, 1, H32, 32, false},
        {1, 1, 1, H32, 32, false}, /* PKIX usages: RFC 7672 §3.1.3 */
        {4, 1, 1, H32, 32, false},
        {255, 1, 1, H32, 32, false},
        {3, 2, 1, H32, 32, false},
        {3, 255, 1, H32, 32, false},
        {3, 1, 3, H32, 32, false},
        {3, 1, 255, H32, 32, false},
        {3, 1, 1, H32, 31, false},
        {3, 1, 1, H64, 33, false},
        {3, 1, 2, H64, 63, false},
        {3, 1, 2, H32, 32, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dane_record r;
        assert_int_equal(
            dane_record_parse(
                rdata(rows[i].usage, rows[i].selector, rows[i].matching, rows[i].data, rows[i].n), &r),
            VR_OK);
        assert_int_equal(r.data.n, rows[i].n);
        if (dane_record_usable(&r) != rows[i].usable)
            fail_msg("row %zu: %u %u %u", i, r.usage, r.selector, r.matching);
    }
    struct dane_record r;
    assert_int_equal(dane_record_parse(vr_str("\3\1\1", 3), &r), VR_ERR_SYNTAX);
    assert_int_equal(dane_record_parse(vr_str(NULL, 0), &r), VR_ERR_SYNTAX);
    char text[DANE_RECORD_TEXT];
    dane_record_text(rdata(3, 1, 1, "\xde\xad\xbe\xef\x01", 5), text);
    assert_string_equal(text, "3 1 1 deadbeef...");
    dane_record_text(rdata(255, 255, 255, "\x01", 1), text);
    assert_string_equal(text, "255 255 255 01");
    dane_record_text(VR_STR("x"), text);
    assert_string_equal(text, "malformed");
}

/* ---- a small DNS ------------------------------------------------------------------------------------------------------- */

/* data: of A and AAAA the number of addresses; of TLSA letters for records (below); "!fail", "!nx", "" (no data). */
struct zone_row {
    const char *name;
    enum dns_type type;
    const char *data;
    bool secure;
    const char *canonical;
};

/* e: 3 1 1, t: 2 0 1, f: 3 0 2, x: PKIX, u: unknown selector, s: a hash that is too short, m: malformed */
static struct vr_str tlsa_of(char letter)
{
    return letter == 'e'   ? rdata(3, 1, 1, H32, 32)
           : letter == 't' ? rdata(2, 0, 1, H32, 32)
           : letter == 'f' ? rdata(3, 0, 2, H64, 64)
           : letter == 'x' ? rdata(1, 1, 1, H32, 32)
           : letter == 'u' ? rdata(3, 9, 1, H32, 32)
           : letter == 's' ? rdata(3, 1, 1, H32, 31)
                           : VR_STR("\3\1");
}

static struct dns_answer look_up(const struct zone_row *zone, struct dns_question q)
{
    struct dns_answer a = {.name = q.name, .type = q.type, .status = DNS_STATUS_NODATA};
    for (; zone->name != NULL; zone++) {
        if (zone->type != q.type || !vr_str_equal_nocase(vr_str_from(zone->name), q.name))
            continue;
        struct dns_record *records = vr_arena_alloc(&arena, (strlen(zone->data) + 1) * sizeof *records);
        a.secure = zone->secure;
        a.canonical = vr_str_from(zone->canonical);
        a.records = records;
        if (zone->data[0] == '!') {
            a.status = strcmp(zone->data, "!fail") == 0 ? DNS_STATUS_FAILED : DNS_STATUS_NXDOMAIN;
            a.why = VR_STR("signature expired");
            return a;
        }
        for (const char *p = zone->data; *p != '\0'; p++, a.count++)
            if (q.type == DNS_TYPE_TLSA)
                records[a.count].data = tlsa_of(*p);
            else
                records[a.count].address.family = q.type == DNS_TYPE_A ? 4 : 6;
        a.status = a.count > 0 ? DNS_STATUS_OK : DNS_STATUS_NODATA;
        return a;
    }
    return a;
}

static struct vr_str
    asked; /* the questions of one selection, "name/type" with blanks between, rounds with '|' */

/* The questions answered from the zone until there is a verdict. */
static struct dane_result select_in(const struct zone_row *zone, struct dane_query q)
{
    static struct dns_answer answers[16];
    struct dane_result out;
    size_t count = 0;
    asked = VR_STR("");
    for (int round = 0;; round++) {
        q.answers = answers;
        q.answer_count = count;
        assert_true(round < 6);
        assert_int_equal(dane_select(&q, &arena, &out), VR_OK);
        if (out.verdict != DANE_ASK)
            return out;
        assert_true(out.question_count > 0);
        for (size_t i = 0; i < out.question_count; i++) {
            assert_null(dns_answer_find(answers, count, out.questions[i].name, out.questions[i].type));
            asked = vr_arena_printf(&arena, "%.*s%s%.*s/%d", VR_STR_ARG(asked),
                                    i > 0         ? " "
                                    : asked.n > 0 ? "|"
                                                  : "",
                                    VR_STR_ARG(out.questions[i].name), (int)out.questions[i].type);
            assert_true(count < 16);
            answers[count++] = look_up(zone, out.questions[i]);
        }
    }
}

static struct vr_str told(const struct dane_result *r)
{
    static const char *const verdicts[] = {"ask", "nothing", "encrypt", "verify", "later"};
    struct vr_str out = vr_arena_printf(&arena, "%s", verdicts[r->verdict]);
    if (r->base.n > 0)
        out = vr_arena_printf(&arena, "%.*s %.*s %zu", VR_STR_ARG(out), VR_STR_ARG(r->base), r->record_count);
    for (size_t i = 0; i < r->name_count; i++)
        out = vr_arena_printf(&arena, "%.*s%s%.*s", VR_STR_ARG(out),
                              i > 0             ? ","
                              : r->names_secure ? " ="
                                                : " ~",
                              VR_STR_ARG(r->names[i]));
    return out;
}

#define A     DNS_TYPE_A
#define AAAA  DNS_TYPE_AAAA
#define TLSA  DNS_TYPE_TLSA
#define CNAME DNS_TYPE_CNAME
#define YES   true
#define NO    false
#define END                                                                                                  \
    {                                                                                                        \
        NULL, 0, NULL, false, NULL                                                                           \
    }
#define MX                                                                                                   \
    .host = VR_STR_INIT("mx.d.test"), .port = 25, .by_mx = true, .mx_secure = true,                          \
    .domain = VR_STR_INIT("d.test")
#define PLAIN "mx.d.test/1 mx.d.test/28"

static const struct row {
    const char *what;
    struct zone_row zone[8];
    struct dane_query query;
    const char *wanted, *asked;
    const char *text; /* a part of it */
} rows[] = {
    {"a good host",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "et", YES, ""}, END},
     {MX},
     "verify mx.d.test 2 =mx.d.test,d.test",
     PLAIN "|_25._tcp.mx.d.test/52",
     ""},
    {"the domain is an alias (§3.2.2)",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "t", YES, ""}, END},
     {MX, .domain_canonical = VR_STR_INIT("real.test")},
     "verify mx.d.test 1 =mx.d.test,d.test,real.test",
     NULL,
     ""},
    {"another port",
     {{"mx.d.test", A, "1", YES, ""}, {"_2525._tcp.mx.d.test", TLSA, "e", YES, ""}, END},
     {.host = VR_STR_INIT("mx.d.test."),
      .port = 2525,
      .by_mx = true,
      .mx_secure = true,
      .domain = VR_STR_INIT("mx.D.test")},
     "verify mx.d.test 1 =mx.d.test",
     NULL,
     ""},
    {"MX records that nobody vouches for (§2.2.1, §3.2.2)",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "e", YES, ""}, END},
     {.host = VR_STR_INIT("mx.d.test"),
      .port = 25,
      .by_mx = true,
      .domain = VR_STR_INIT("d.test"),
      .domain_canonical = VR_STR_INIT("x.test")},
     "verify mx.d.test 1 ~mx.d.test",
     NULL,
     ""},
    {"IPv6 alone",
     {{"mx.d.test", AAAA, "1", YES, ""},
      {"mx.d.test", A, "", YES, ""},
      {"_25._tcp.mx.d.test", TLSA, "f", YES, ""},
      END},
     {MX},
     "verify mx.d.test 1 =mx.d.test,d.test",
     NULL,
     ""},
    {"only IPv4 is spoken",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "f", YES, ""}, END},
     {MX, .no_ipv6 = true},
     "verify mx.d.test 1 =mx.d.test,d.test",
     "mx.d.test/1|_25._tcp.mx.d.test/52",
     ""},
    {"one family fails",
     {{"mx.d.test", A, "1", YES, ""},
      {"mx.d.test", AAAA, "!fail", NO, ""},
      {"_25._tcp.mx.d.test", TLSA, "e", YES, ""},
      END},
     {MX},
     "verify mx.d.test 1 =mx.d.test,d.test",
     NULL,
     ""},
    {"usable ones among others",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "xusmeu", YES, ""}, END},
     {MX},
     "verify mx.d.test 1 =mx.d.test,d.test",
     NULL,
     ""},
    {"none usable (§2.2)",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "xusm", YES, ""}, END},
     {MX},
     "encrypt mx.d.test 0",
     NULL,
     ""},
    {"no records",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "", YES, ""}, END},
     {MX},
     "nothing",
     NULL,
     "no TLSA records"},
    {"no such name",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "!nx", YES, ""}, END},
     {MX},
     "nothing",
     NULL,
     "no TLSA records"},
    {"insecure records",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "e", NO, ""}, END},
     {MX},
     "nothing",
     NULL,
     "no TLSA records"},
    {"records that cannot be had (§2.1.2)",
     {{"mx.d.test", A, "1", YES, ""}, {"_25._tcp.mx.d.test", TLSA, "!fail", NO, ""}, END},
     {MX},
     "later",
     NULL,
     "the TLSA records of _25._tcp.mx.d.test now (signature expired)"},
    {"insecure addresses: nothing is asked (§2.2.2)",
     {{"mx.d.test", A, "1", NO, ""}, {"_25._tcp.mx.d.test", TLSA, "!fail", NO, ""}, END},
     {MX},
     "nothing",
     PLAIN,
     "its addresses"},
    {"no addresses", {END}, {MX}, "later", PLAIN, "has no address"},
    {"addresses that cannot be had",
     {{"mx.d.test", A, "!fail", NO, ""}, {"mx.d.test", AAAA, "!nx", NO, ""}, END},
     {MX},
     "later",
     PLAIN,
     "the address records of mx.d.test"},
    {"a secure alias: the expanded name (§2.2.2)",
     {{"mx.d.test", A, "1", YES, "host.test"},
      {"_25._tcp.host.test", TLSA, "e", YES, ""},
      {"_25._tcp.mx.d.test", TLSA, "tt", YES, ""},
      END},
     {MX},
     "verify host.test 1 =host.test,d.test",
     PLAIN "|_25._tcp.host.test/52",
     ""},
    {"… failing that, the original one (§2.2.3)",
     {{"mx.d.test", A, "1", YES, "host.test"}, {"_25._tcp.mx.d.test", TLSA, "tt", YES, ""}, END},
     {MX},
     "verify mx.d.test 2 =mx.d.test,d.test",
     PLAIN "|_25._tcp.host.test/52|_25._tcp.mx.d.test/52",
     ""},
    {"… insecure ones do not count",
     {{"mx.d.test", A, "1", YES, "host.test"},
      {"_25._tcp.host.test", TLSA, "e", NO, ""},
      {"_25._tcp.mx.d.test", TLSA, "x", YES, ""},
      END},
     {MX},
     "encrypt mx.d.test 0",
     NULL,
     ""},
    {"… unusable ones do",
     {{"mx.d.test", A, "1", YES, "host.test"},
      {"_25._tcp.host.test", TLSA, "x", YES, ""},
      {"_25._tcp.mx.d.test", TLSA, "e", YES, ""},
      END},
     {MX},
     "encrypt host.test 0",
     NULL,
     ""},
    {"… a failure ends it",
     {{"mx.d.test", A, "1", YES, "host.test"},
      {"_25._tcp.host.test", TLSA, "!fail", YES, ""},
      {"_25._tcp.mx.d.test", TLSA, "e", YES, ""},
      END},
     {MX},
     "later",
     PLAIN "|_25._tcp.host.test/52",
     "_25._tcp.host.test"},
    {"… none at all", {{"mx.d.test", A, "1", YES, "host.test"}, END}, {MX}, "nothing", NULL, "no TLSA"},
    {"a secure alias to an insecure host: its own name only (§2.2.2)",
     {{"mx.d.test", A, "1", NO, "host.test"},
      {"mx.d.test", CNAME, "1", YES, ""},
      {"_25._tcp.mx.d.test", TLSA, "e", YES, ""},
      {"_25._tcp.host.test", TLSA, "e", YES, ""},
      END},
     {MX},
     "verify mx.d.test 1 =mx.d.test,d.test",
     PLAIN "|mx.d.test/5|_25._tcp.mx.d.test/52",
     ""},
    {"an insecure alias",
     {{"mx.d.test", A, "1", NO, "host.test"},
      {"mx.d.test", CNAME, "1", NO, ""},
      {"_25._tcp.mx.d.test", TLSA, "e", YES, ""},
      END},
     {MX},
     "nothing",
     PLAIN "|mx.d.test/5",
     "nor for its alias"},
    {"an alias that cannot be had",
     {{"mx.d.test", A, "1", NO, "host.test"}, {"mx.d.test", CNAME, "!fail", NO, ""}, END},
     {MX},
     "later",
     NULL,
     "the CNAME records of mx.d.test"},
    {"an alias in another spelling is none",
     {{"mx.d.test", A, "1", YES, "MX.d.test."}, {"_25._tcp.mx.d.test", TLSA, "e", YES, ""}, END},
     {MX},
     "verify mx.d.test 1 =mx.d.test,d.test",
     NULL,
     ""},
    {"without MX records the host is the domain",
     {{"d.test", A, "1", YES, ""}, {"_25._tcp.d.test", TLSA, "t", YES, ""}, END},
     {.host = VR_STR_INIT("d.test"), .port = 25},
     "verify d.test 1 =d.test",
     NULL,
     ""},
    {"… and an alias both (§3.2.2)",
     {{"d.test", A, "1", YES, "host.test"}, {"_25._tcp.host.test", TLSA, "t", YES, ""}, END},
     {.host = VR_STR_INIT("d.test"), .port = 25},
     "verify host.test 1 =host.test,d.test",
     NULL,
     ""},
};

static void hosts_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dane_result r = select_in(rows[i].zone, rows[i].query);
        if (!vr_str_equal(told(&r), vr_str_from(rows[i].wanted)))
            fail_msg("%s: %.*s", rows[i].what, VR_STR_ARG(told(&r)));
        if (rows[i].asked != NULL && !vr_str_equal(asked, vr_str_from(rows[i].asked)))
            fail_msg("%s: asked %.*s", rows[i].what, VR_STR_ARG(asked));
        if (!has(r.text, rows[i].text) ||
            (r.text.n > 0) != (r.verdict == DANE_NOTHING || r.verdict == DANE_LATER))
            fail_msg("%s: \"%.*s\"", rows[i].what, VR_STR_ARG(r.text));
    }
}

static void bounds(void **state)
{
    (void)state;
    struct dns_record many[DANE_RECORDS_MAX + 5];
    for (size_t i = 0; i < DANE_RECORDS_MAX + 5; i++)
        many[i] = (struct dns_record){.data = tlsa_of('e')};
    const struct dns_record one = {.address.family = 4};
    const struct dns_answer answers[] = {
        {.name = VR_STR("mx.d.test"), .type = A, .secure = true, .records = &one, .count = 1},
        {.name = VR_STR("_25._tcp.mx.d.test"),
         .type = TLSA,
         .secure = true,
         .records = many,
         .count = DANE_RECORDS_MAX + 5},
    };
    struct dane_query q = {MX, .no_ipv6 = true, .answers = answers, .answer_count = 2};
    struct dane_result r;
    assert_int_equal(dane_select(&q, &arena, &r), VR_OK);
    assert_int_equal(r.record_count, DANE_RECORDS_MAX);
    for (size_t room = 0; room < 600; room += 50) { /* whatever the arena lacks is said */
        struct vr_arena small;
        vr_arena_init(&small, room);
        enum vr_err e = dane_select(&q, &small, &r);
        assert_true(e == VR_ERR_TOO_BIG || (e == VR_OK && r.verdict == DANE_VERIFY && r.name_count == 2));
        vr_arena_fini(&small);
    }
    char name[251] = "";
    while (strlen(name) < 245)
        strcat(name, "abcd.");
    strcat(name, "a"); /* no room for "_25._tcp." in front of it */
    struct zone_row zone[] = {{name, A, "1", YES, ""}, END};
    r = select_in(zone, (struct dane_query){.host = vr_str_from(name), .port = 25});
    assert_int_equal(r.verdict, DANE_NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(records_and_their_use), T(hosts_are_judged), T(bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
