/* dmarc_report.c - aggregate reports written, mailed and read, hostile ones among them; where they may go (RFC 7489 §7, appendix C). */
#include "buffer_testing.h"

#include <veredus/dmarc_report.h>
#include <veredus/message.h>
#include <veredus/report.h>

/* ---- writing ------------------------------------------------------------------------------------------------------------- */

static const struct dmarc_report_reason reasons[] = {
    {VR_STR_INIT("local_policy"), VR_STR_INIT("arc=pass as[1].d=l.test")},
    {VR_STR_INIT("policy_test_mode"), {0}}};
static const struct dmarc_report_dkim dkim[] = {{VR_STR_INIT("d.test"), VR_STR_INIT("s1"),
                                                 VR_STR_INIT("fail"),
                                                 VR_STR_INIT("<&>]]> \"q\" \x01\xff \xc3\xbc")},
                                                {VR_STR_INIT("e.test"), {0}, VR_STR_INIT("pass"), {0}}};
static const struct dmarc_report_spf spf[] = {
    {VR_STR_INIT("b.d.test"), VR_STR_INIT("mfrom"), VR_STR_INIT("softfail")}};
static const struct dmarc_report_record records[] = {
    {.source_ip = VR_STR_INIT("2001:db8::1"),
     .count = 7,
     .disposition = VR_STR_INIT("none"),
     .dkim = VR_STR_INIT("fail"),
     .spf = VR_STR_INIT("pass"),
     .envelope_to = VR_STR_INIT("t.test"),
     .envelope_from = VR_STR_INIT("b.d.test"),
     .header_from = VR_STR_INIT("x.d.test"),
     .reasons = reasons,
     .dkim_results = dkim,
     .spf_results = spf,
     .reason_count = 2,
     .dkim_count = 2,
     .spf_count = 1},
    {.source_ip = VR_STR_INIT("192.0.2.1"), .count = 1, .header_from = VR_STR_INIT("d.test")}};
static const struct vr_str errors[] = {VR_STR_INIT("the disk was full")};

static struct dmarc_report sample(void)
{
    struct dmarc_record r;
    assert_int_equal(
        dmarc_record_parse(&arena, VR_STR("v=DMARC1;p=reject;sp=quarantine;np=none;aspf=s;t=y;fo=1:d;pct=20"),
                           &r),
        VR_OK);
    return (struct dmarc_report){.organization = VR_STR("Example & Co"),
                                 .email = VR_STR("dmarc@example.org"),
                                 .contact = VR_STR("https://example.org/?a&b"),
                                 .id = VR_STR("20261128.d.test-1"),
                                 .generator = VR_STR("veredus"),
                                 .begin = 1795824000,
                                 .end = 1795910399,
                                 .errors = errors,
                                 .error_count = 1,
                                 .policy =
                                     dmarc_report_policy_of(&arena, VR_STR("d.test"), &r, DMARC_TREE_WALK),
                                 .records = records,
                                 .record_count = 2};
}

static void assert_same(const struct dmarc_report *r)
{
    assert_text(r->version, "1.0");
    assert_text(r->organization, "Example & Co");
    assert_text(r->contact, "https://example.org/?a&b");
    assert_text(r->id, "20261128.d.test-1");
    assert_text(r->generator, "veredus");
    assert_true(r->begin == 1795824000 && r->end == 1795910399 && r->error_count == 1 &&
                r->record_count == 2);
    assert_text(r->errors[0], "the disk was full");
    assert_text(r->policy.domain, "d.test");
    assert_text(r->policy.p, "reject");
    assert_text(r->policy.sp, "quarantine");
    assert_text(r->policy.np, "none");
    assert_text(r->policy.adkim, "r");
    assert_text(r->policy.aspf, "s");
    assert_text(r->policy.pct, "100"); /* RFC 9989 knows none */
    assert_text(r->policy.fo, "1:d");
    assert_text(r->policy.testing, "y");
    assert_text(r->policy.discovery_method, "treewalk");
    const struct dmarc_report_record *one = &r->records[0];
    assert_true(one->count == 7 && one->reason_count == 2 && one->dkim_count == 2 && one->spf_count == 1);
    assert_text(one->source_ip, "2001:db8::1");
    assert_text(one->spf, "pass");
    assert_text(one->dkim, "fail");
    assert_text(one->reasons[0].comment, "arc=pass as[1].d=l.test");
    assert_text(one->reasons[1].type, "policy_test_mode");
    assert_text(one->dkim_results[0].human_result, "<&>]]> \"q\" ?? \xc3\xbc");
    assert_text(one->dkim_results[1].domain, "e.test");
    assert_int_equal(one->dkim_results[1].selector.n, 0);
    assert_text(one->spf_results[0].scope, "mfrom");
    assert_text(one->envelope_to, "t.test");
    assert_text(r->records[1].source_ip, "192.0.2.1");
    assert_true(r->records[1].reason_count == 0 && r->records[1].dkim_count == 0 &&
                r->records[1].spf_count == 0);
}

static void test_write_and_read(void **state)
{
    (void)state;
    struct dmarc_report r, report = sample();
    const char *why;
    assert_true(dmarc_report_write(&buf, &report));
    assert_has(vr_buf_str(&buf),
               "<date_range>\n<begin>1795824000</begin>\n<end>1795910399</end>\n</date_range>");
    assert_has(vr_buf_str(&buf), "<envelope_from></envelope_from>\n<header_from>d.test</header_from>");
    assert_int_equal(dmarc_report_read(&arena, vr_buf_str(&buf), &r, &why), VR_OK);
    assert_same(&r);
    for (size_t max = 0; max < 16384; max += 128) { /* arenas of any size */
        struct vr_arena small;
        vr_arena_init(&small, max);
        enum vr_err e = dmarc_report_read(&small, vr_buf_str(&buf), &r, &why);
        if (e == VR_OK)
            assert_same(&r);
        else
            assert_true(e == VR_ERR_TOO_BIG && why != NULL);
        vr_arena_fini(&small);
    }
    for (size_t cut = 0; cut + 12 < vr_buf_size(&buf); cut++) /* cut anywhere */
        assert_int_equal(dmarc_report_read(&arena, vr_str_sub(vr_buf_str(&buf), 0, cut), &r, &why),
                         VR_ERR_SYNTAX);
    struct vr_buf small;
    vr_buf_init(&small, 1000);
    assert_false(dmarc_report_write(&small, &report));
    vr_buf_fini(&small);
}

static void test_message(void **state)
{
    (void)state;
    struct dmarc_report report = sample(), r;
    struct vr_buf xml, gzip, opened;
    enum report_kind kind;
    const char *why;
    vr_buf_init(&xml, 1 << 16);
    vr_buf_init(&gzip, 1 << 16);
    vr_buf_init(&opened, 1 << 16);
    assert_true(dmarc_report_write(&xml, &report) && report_gzip(&gzip, vr_buf_str(&xml)));
    struct dmarc_report_mail m = {.from = VR_STR("dmarc@example.org"),
                                  .to = VR_STR("r@d.test"),
                                  .domain = VR_STR("d.test"),
                                  .message_id = VR_STR("1@example.org"),
                                  .report = &report,
                                  .messages = 8,
                                  .time = 1795910400,
                                  .gzip = vr_buf_str(&gzip)};
    assert_true(dmarc_report_message(&buf, &m));
    struct header_field f;
    assert_true(header_find(vr_buf_str(&buf), VR_STR("Subject"), &f));
    assert_text(header_unfold(&arena, f.body),
                "Report Domain: d.test Submitter: example.org Report-ID: <20261128.d.test-1>");
    assert_has(vr_buf_str(&buf), "Content-Type: application/gzip\r\n");
    assert_has(vr_buf_str(&buf),
               "filename=\"example.org!d.test!1795824000!1795910399!20261128dtest1.xml.gz\"");
    assert_int_equal(report_extract(&opened, vr_buf_str(&buf), &kind, &why), VR_OK);
    assert_int_equal(kind, REPORT_DMARC);
    assert_int_equal(dmarc_report_read(&arena, vr_buf_str(&opened), &r, &why), VR_OK);
    assert_same(&r);
    vr_buf_fini(&opened);
    vr_buf_fini(&gzip);
    vr_buf_fini(&xml);
}

/* ---- reading ----------------------------------------------------------------------------------------------------------------- */

#define METADATA "<report_metadata><date_range><begin>1</begin><end>2</end></date_range></report_metadata>"

static void test_others(void **state)
{
    (void)state;
    static const struct {
        const char *xml;
        enum vr_err e;
        const char *why; /* of an error; a part */
    } rows[] = {
        {"<feedback>" METADATA "</feedback>", VR_OK, NULL},
        {"<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">" METADATA "</feedback>", VR_OK, NULL},
        {"<d:feedback xmlns:d=\"http://dmarc.org/dmarc-xml/0.1\"><d:report_metadata><d:date_range><d:begin> "
         "1\n</d:begin><d:end>2</d:end></d:date_range></d:report_metadata></d:feedback>",
         VR_OK, NULL},
        {"<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><feedback>" METADATA "\xe9</feedback>", VR_OK, NULL},
        {"<feedback>" METADATA "<extension><record><row/></record></extension><record><x><row><count>9</"
         "count></row></x></record></feedback>",
         VR_OK, NULL},
        {"<feedback><report_metadata/></feedback>", VR_ERR_SYNTAX, "no date range"},
        {"<feedback><report_metadata><date_range><begin>soon</begin><end>2</end></date_range></"
         "report_metadata></feedback>",
         VR_ERR_SYNTAX, "no date range"},
        {"<html><feedback>" METADATA "</feedback></html>", VR_ERR_SYNTAX, "no DMARC report"},
        {"<feedback>" METADATA, VR_ERR_SYNTAX, "broken"},
        {"hello", VR_ERR_SYNTAX, "no XML"},
        {"", VR_ERR_SYNTAX, "no XML"},
        {"<!DOCTYPE feedback><feedback>" METADATA "</feedback>", VR_ERR_SYNTAX, "document type"},
        {"<!DOCTYPE f [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]><feedback>&b;</feedback>",
         VR_ERR_SYNTAX, "document type"},
        {"<!DOCTYPE f SYSTEM \"file:///etc/passwd\"><feedback/>", VR_ERR_SYNTAX, "document type"},
        {"<feedback>&a;</feedback>", VR_ERR_SYNTAX, "broken"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dmarc_report r;
        const char *why;
        enum vr_err e = dmarc_report_read(&arena, vr_str_from(rows[i].xml), &r, &why);
        if (e != rows[i].e || (e != VR_OK && strstr(why, rows[i].why) == NULL) ||
            (e == VR_OK && (r.begin != 1 || r.end != 2)))
            fail_msg("row %zu: %s %s", i, vr_err_name(e), why != NULL ? why : "-");
        if (i == 4) /* what is in an unknown element is nothing */
            assert_true(r.record_count == 1 && r.records[0].count == 0);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct dmarc_report r;
    const char *why;
    vr_buf_add(&buf, VR_STR("<feedback>" METADATA));
    for (int i = 0; i < DMARC_REPORT_DEPTH_MAX; i++)
        vr_buf_add(&buf, VR_STR("<a>"));
    assert_int_equal(dmarc_report_read(&arena, vr_buf_str(&buf), &r, &why), VR_ERR_TOO_BIG);
    vr_buf_reset(&buf);
    vr_buf_add(&buf, VR_STR("<feedback>" METADATA "<report_metadata><org_name>"));
    for (int i = 0; i <= DMARC_REPORT_TEXT_MAX; i++)
        vr_buf_add_byte(&buf, 'x');
    vr_buf_add(&buf, VR_STR("</org_name></report_metadata></feedback>"));
    assert_int_equal(dmarc_report_read(&arena, vr_buf_str(&buf), &r, &why), VR_ERR_TOO_BIG);
    vr_buf_reset(&buf);
    vr_buf_add(&buf, VR_STR("<feedback>" METADATA));
    for (int i = 0; i < 50000; i++)
        vr_buf_add(&buf, VR_STR("<record><row/></record>"));
    vr_buf_add(&buf, VR_STR("</feedback>"));
    assert_int_equal(dmarc_report_read(&arena, vr_buf_str(&buf), &r, &why),
                     VR_ERR_TOO_BIG); /* of the arena */
}

/* ---- destinations --------------------------------------------------------------------------------------------------------------- */

struct row {
    const char *name, *txt; /* "!": the DNS fails */
};

static struct dmarc_destinations destinations(const struct row *zone, enum dmarc_method method,
                                              const char *domain, const char *rua)
{
    static struct dns_answer answers[256];
    struct dmarc_record record;
    struct dmarc_destinations d;
    assert_int_equal(
        dmarc_record_parse(&arena, vr_arena_printf(&arena, "v=DMARC1;p=none;rua=%s", rua), &record), VR_OK);
    struct dmarc_destinations_query q = {.method = method,
                                         .domain = vr_str_from(domain),
                                         .uris = record.rua,
                                         .uri_count = record.rua_count,
                                         .answers = answers};
    for (int round = 0;; round++) {
        assert_true(round < 4);
        assert_int_equal(dmarc_destinations(&q, &arena, &d), VR_OK);
        if (d.state == DKIM_DONE)
            return d;
        assert_true(d.question_count > 0);
        for (size_t i = 0; i < d.question_count; i++) {
            struct dns_answer *a = &answers[q.answer_count];
            struct dns_record *found = vr_arena_alloc(&arena, sizeof *found);
            assert_null(dns_answer_find(answers, q.answer_count++, d.questions[i].name, d.questions[i].type));
            *a = (struct dns_answer){.name = d.questions[i].name,
                                     .type = d.questions[i].type,
                                     .status = DNS_STATUS_NXDOMAIN,
                                     .records = found};
            for (const struct row *z = zone; z->name != NULL; z++)
                if (vr_str_equal_nocase(a->name, vr_str_from(z->name))) {
                    a->status = strcmp(z->txt, "!") == 0 ? DNS_STATUS_FAILED : DNS_STATUS_OK;
                    a->count = a->status == DNS_STATUS_OK;
                    found->data = vr_str_from(z->txt);
                }
        }
    }
}

static void test_destinations(void **state)
{
    (void)state;
    static const struct row zone[] = {
        {"_dmarc.d.test", "v=DMARC1;p=none"},
        {"_dmarc.e.test", "v=DMARC1;p=none"},
        {"_dmarc.broken.test", "!"},
        {"d.test._report._dmarc.yes.test", "v=DMARC1"},
        {"d.test._report._dmarc.spf.test", "v=spf1 -all"},
        {"d.test._report._dmarc.lost.test", "!"},
        {"d.test._report._dmarc.other.test", "v=DMARC1;rua=mailto:x@other.test,mailto:y@other.test"},
        {"d.test._report._dmarc.evil.test", "v=DMARC1;rua=mailto:victim@e.test"},
        {NULL, NULL},
    };
    static const struct {
        const char *domain, *rua, *addresses; /* those that are sent to, with blanks */
        const char *refused;                  /* a part of the first refusal; NULL: none */
        bool temporary;
    } rows[] = {
        {"d.test", "mailto:a@d.test!10m", "a@d.test", NULL, false},
        {"d.test", "mailto:a@sub.d.test", "a@sub.d.test", NULL, false},
        {"sub.d.test", "mailto:a@D.test", "a@d.test", NULL, false},
        {"d.test", "mailto:a@yes.test", "a@yes.test", NULL, false},
        {"d.test", "mailto:a@no.test", "", "does not say that it wants", false},
        {"d.test", "mailto:a@e.test", "", "does not say that it wants", false},
        {"d.test", "mailto:a@spf.test", "", "does not say that it wants", false},
        {"d.test", "mailto:a@lost.test", "", "DNS did not say", true},
        {"d.test", "mailto:a@broken.test", "", "DNS did not say whose", true},
        {"d.test", "mailto:a@other.test", "x@other.test y@other.test", NULL, false},
        {"d.test", "mailto:a@evil.test", "", "yet another host", false},
        {"d.test", "https://d.test/,mailto:a@d.test,mailto:a,mailto:b@no.test", "a@d.test",
         "no mailto:", false},
        {"d.test", "mailto:a@d.test,mailto:b@d.test", "a@d.test b@d.test", NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dmarc_destinations d = destinations(zone, DMARC_TREE_WALK, rows[i].domain, rows[i].rua);
        const struct dmarc_destination *refused = NULL;
        vr_buf_reset(&buf);
        for (size_t k = 0; k < d.count; k++) {
            assert_true((d.list[k].refused == NULL) == (d.list[k].address.n > 0));
            if (d.list[k].refused == NULL)
                vr_buf_addf(&buf, "%s%.*s", vr_buf_size(&buf) > 0 ? " " : "", VR_STR_ARG(d.list[k].address));
            else if (refused == NULL)
                refused = &d.list[k];
        }
        bool same = vr_str_equal(vr_buf_str(&buf), vr_str_from(rows[i].addresses)) &&
                    (refused == NULL) == (rows[i].refused == NULL);
        if (!same || (refused != NULL && (strstr(refused->refused, rows[i].refused) == NULL ||
                                          refused->temporary != rows[i].temporary)))
            fail_msg("row %zu: \"%.*s\" %s", i, VR_STR_ARG(vr_buf_str(&buf)),
                     refused != NULL ? refused->refused : "-");
        if (i == 0)
            assert_true(d.list[0].max_octets == 10u << 20 && !d.list[0].external);
        if (i == 3)
            assert_true(d.list[0].external);
        vr_arena_reset(&arena);
    }
    static const struct row none[] = {{NULL, NULL}};
    struct dmarc_destinations d =
        destinations(none, DMARC_PUBLIC_SUFFIX, "a.example.co.uk", "mailto:a@b.example.co.uk");
    assert_true(d.count == 1 && d.list[0].refused == NULL && !d.list[0].external);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_destinations, setup, teardown),
    };
    return cmocka_run_group_tests_name("dmarc_report", tests, NULL, NULL);
}
