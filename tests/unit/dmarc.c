/* dmarc.c - records, authors, policy discovery, alignment, verdicts and overrides, each as a table (RFC 9989, RFC 7489). The public suffix list's own
 * cases are in tests/conformance. */
#include <veredus/authres.h>
#include <veredus/dmarc.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct vr_arena arena;

static int setup(void **state)
{
    (void)state;
    vr_arena_init(&arena, 1u << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vr_arena_fini(&arena);
    return 0;
}

static void assert_str(struct vr_str got, const char *wanted)
{
    if (!vr_str_equal(got, vr_str_from(wanted)))
        fail_msg("\"%.*s\" is not \"%s\"", VR_STR_ARG(got), wanted);
}

/* ---- a DNS ----------------------------------------------------------------------------------------------------------- */

struct row {
    const char *name,
        *txt; /* txt NULL: the name exists, without TXT; "!": the DNS fails; the same name may come twice */
};
#define FAILS "!"

#define ANSWERS_MAX 128
static struct dns_answer answers[ANSWERS_MAX];
static size_t answer_count;
static unsigned rounds;

static void look_up(const struct row *zone, struct dns_question q)
{
    struct dns_record *records = vr_arena_alloc(&arena, 4 * sizeof *records);
    assert_true(answer_count < ANSWERS_MAX && q.name.n <= 253);
    assert_null(dns_answer_find(answers, answer_count, q.name, q.type)); /* a question is asked once */
    struct dns_answer *a = &answers[answer_count++];
    *a = (struct dns_answer){
        .name = q.name, .type = q.type, .status = DNS_STATUS_NXDOMAIN, .records = records};
    for (; zone->name != NULL; zone++) {
        if (!vr_str_equal_nocase(q.name, vr_str_from(zone->name)))
            continue;
        a->status =
            zone->txt != NULL && strcmp(zone->txt, FAILS) == 0 ? DNS_STATUS_FAILED : DNS_STATUS_NODATA;
        if (q.type == DNS_TYPE_TXT && zone->txt != NULL && a->status != DNS_STATUS_FAILED)
            records[a->count++] = (struct dns_record){.data = vr_str_from(zone->txt)};
    }
    if (a->count > 0)
        a->status = DNS_STATUS_OK;
}

static struct dmarc_result evaluate(const struct row *zone, struct dmarc_query q)
{
    struct dmarc_result r;
    answer_count = 0;
    for (rounds = 0;; rounds++) {
        q.answers = answers;
        q.answer_count = answer_count;
        assert_int_equal(dmarc_evaluate(&q, &arena, &r), VR_OK);
        if (r.state == DKIM_DONE)
            return r;
        assert_true(r.question_count > 0 && rounds < 4);
        for (size_t i = 0; i < r.question_count; i++)
            look_up(zone, r.questions[i]);
    }
}

/* "From: x@…" for each domain of a list with blanks. */
static const struct dmarc_from *from(const char *domains)
{
    struct vr_buf b;
    struct vr_str rest = vr_str_from(domains), domain, comma = VR_STR("");
    struct dmarc_from *out = vr_arena_alloc(&arena, sizeof *out);
    vr_buf_init(&b, 4096);
    vr_buf_add(&b, VR_STR("From: "));
    while (vr_str_split(&rest, ' ', &domain)) {
        vr_buf_addf(&b, "%.*sx@%.*s", VR_STR_ARG(comma), VR_STR_ARG(domain));
        comma = VR_STR(", ");
    }
    vr_buf_add(&b, VR_STR("\r\n\r\n"));
    assert_int_equal(dmarc_from(&arena, vr_str_from(vr_arena_dup(&arena, vr_buf_str(&b)).p), out), VR_OK);
    vr_buf_fini(&b);
    return out;
}

/* ---- records ------------------------------------------------------------------------------------------------------------ */

static void test_no_record(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        ";",
                                        "v=DMARC2; p=none",
                                        "v=dmarc1; p=none",
                                        "p=none; v=DMARC1",
                                        "v=DMARC1.0; p=none",
                                        "v=DMARC1 p=none",
                                        " ; v=DMARC1",
                                        "v=spf1 -all",
                                        "DMARC1; p=none",
                                        "v=DMARC10"};
    struct dmarc_record r;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (dmarc_record_parse(&arena, vr_str_from(wrong[i]), &r) != VR_ERR_SYNTAX)
            fail_msg("\"%s\" is taken for a record", wrong[i]);
    static char large[DMARC_RECORD_MAX + 1] = "v=DMARC1;";
    memset(large + 9, ' ', sizeof large - 9);
    assert_int_equal(dmarc_record_parse(&arena, vr_str(large, sizeof large), &r), VR_ERR_TOO_BIG);
    assert_int_equal(dmarc_record_parse(&arena, vr_str(large, sizeof large - 1), &r), VR_OK);
}

static void test_records(void **state)
{
    (void)state;
    enum { NONE = DMARC_POLICY_NONE, QUARANTINE = DMARC_POLICY_QUARANTINE, REJECT = DMARC_POLICY_REJECT };
    static const struct {
        const char *text;
        int p, sp, np;
        bool usable;
        const char *fault; /* a part of it; NULL: none */
    } rows[] = {
        {"v=DMARC1; p=reject", REJECT, REJECT, REJECT, true, NULL},
        {" v = DMARC1 ;p=Quarantine;", QUARANTINE, QUARANTINE, QUARANTINE, true, NULL},
        {"v=DMARC1; p=reject; sp=none", REJECT, NONE, NONE, true, NULL},
        {"v=DMARC1; p=none; sp=quarantine; np=reject", NONE, QUARANTINE, REJECT, true, NULL},
        {"v=DMARC1; np=reject; p=none", NONE, NONE, REJECT, true, NULL},
        {"v=DMARC1; p=reject; xnew=1; y=2", REJECT, REJECT, REJECT, true, NULL}, /* unknown tags */
        {"v=DMARC1; P=reject", NONE, NONE, NONE, false, "no p="},                 /* names have a case */
        {"v=DMARC1; p=reject; p=none", REJECT, REJECT, REJECT, true, "twice"},
        {"v=DMARC1; p=reject; adkim=x; aspf=s", REJECT, REJECT, REJECT, true, "adkim="},
        {"v=DMARC1; p=reject; broken; aspf=s", REJECT, REJECT, REJECT, true, "no tag=value"},
        {"v=DMARC1; p=reject; =x", REJECT, REJECT, REJECT, true, "no tag=value"},
        /* §4.10.1: without a policy, or with one that is wrong, it depends on whether there is somebody to tell */
        {"v=DMARC1", NONE, NONE, NONE, false, "no p="},
        {"v=DMARC1; rua=mailto:r@d.test", NONE, NONE, NONE, true, "no p="},
        {"v=DMARC1; p=refuse", NONE, NONE, NONE, false, "p= is none of"},
        {"v=DMARC1; p=refuse; rua=mailto:r@d.test", NONE, NONE, NONE, true, "p= is none of"},
        {"v=DMARC1; p=reject; sp=refuse", NONE, NONE, NONE, false, "sp= is none of"},
        {"v=DMARC1; p=reject; np=refuse; rua=mailto:r@d.test", NONE, NONE, NONE, true, "np= is none of"},
        {"v=DMARC1; p=refuse; rua=r@d.test", NONE, NONE, NONE, false, "p= is none of"}, /* no URI */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dmarc_record r;
        assert_int_equal(dmarc_record_parse(&arena, vr_str_from(rows[i].text), &r), VR_OK);
        bool fault = (rows[i].fault == NULL) == (r.fault == NULL) &&
                     (r.fault == NULL || strstr(r.fault, rows[i].fault) != NULL);
        if ((int)r.p != rows[i].p || (int)r.sp != rows[i].sp || (int)r.np != rows[i].np ||
            r.usable != rows[i].usable || !fault)
            fail_msg("%s: p=%d sp=%d np=%d usable=%d fault=%s", rows[i].text, r.p, r.sp, r.np, r.usable,
                     r.fault != NULL ? r.fault : "-");
    }
}

static void test_tags(void **state)
{
    (void)state;
    struct dmarc_record r;
    assert_int_equal(dmarc_record_parse(&arena, VR_STR("v=DMARC1;p=none"), &r), VR_OK);
    assert_true(!r.adkim_strict && !r.aspf_strict && r.psd == 'u' && !r.testing && r.pct == 100 &&
                r.fo == DMARC_FO_ALL && r.interval == 86400);
    assert_int_equal(
        dmarc_record_parse(&arena,
                           VR_STR("v=DMARC1;p=none;adkim=s;aspf=S;psd=Y;t=y;pct=7;fo=1:d:s;ri=3600;"
                                  "rua=mailto:a@d.test!10m , https://d.test/x;ruf=mailto:f@d.test"),
                           &r),
        VR_OK);
    assert_null(r.fault);
    assert_true(r.adkim_strict && r.aspf_strict && r.psd == 'y' && r.testing && r.pct == 7 &&
                r.interval == 3600);
    assert_int_equal(r.fo, DMARC_FO_ANY | DMARC_FO_DKIM | DMARC_FO_SPF);
    assert_int_equal(r.rua_count, 2);
    assert_str(r.rua[0].uri, "mailto:a@d.test");
    assert_int_equal(r.rua[0].max_octets, 10u << 20);
    assert_str(r.rua[1].uri, "https://d.test/x");
    assert_int_equal(r.rua[1].max_octets, 0);
    assert_str(r.ruf[0].uri, "mailto:f@d.test");
    static const char *const ignored[] = {
        "pct=101", "pct=-1",    "fo=0:1",      "fo=x", "fo=",       "ri=soon",
        "t=yes",   "psd=maybe", "aspf=strict", "rua=", "rua=a b@c", "rua=mailto:a@d.test,nothing",
        "ruf=:x"};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        struct vr_str text = vr_arena_printf(&arena, "v=DMARC1;p=reject;%s", ignored[i]);
        assert_int_equal(dmarc_record_parse(&arena, text, &r), VR_OK);
        if (r.fault == NULL || r.p != DMARC_POLICY_REJECT || r.pct != 100 || r.fo != DMARC_FO_ALL ||
            r.testing || r.psd != 'u' || r.aspf_strict)
            fail_msg("%s: is not ignored", ignored[i]);
    }
    char many[512] = "v=DMARC1;p=none;rua=";
    for (size_t i = 0; i < DMARC_URIS_MAX + 1; i++)
        strcat(many, "mailto:a@d.test,");
    assert_int_equal(dmarc_record_parse(&arena, vr_str_from(many), &r), VR_OK);
    assert_int_equal(r.rua_count, DMARC_URIS_MAX);
    assert_non_null(r.fault);
}

static void test_mailto(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *address; /* NULL: VR_ERR_SYNTAX; "": VR_ERR_UNSUPPORTED */
    } rows[] = {
        {"mailto:a@d.test", "a@d.test"},
        {"MAILTO:a@D.test?subject=x%0D%0ABcc:y", "a@d.test"},
        {"mailto:a%2Bb@d.test", "a+b@d.test"},
        {"mailto:a%2", NULL},
        {"mailto:a%zz@d.test", NULL},
        {"mailto:a%0D%0A@d.test", NULL},
        {"mailto:a%00@d.test", NULL},
        {"mailto:a@d.test,b@d.test", NULL},
        {"mailto:", NULL},
        {"mailto:?to=a@d.test", NULL},
        {"https://d.test/", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str address = {0};
        enum vr_err e = dmarc_mailto(&arena, vr_str_from(rows[i].uri), &address);
        enum vr_err wanted = rows[i].address == NULL      ? VR_ERR_SYNTAX
                             : rows[i].address[0] == '\0' ? VR_ERR_UNSUPPORTED
                                                          : VR_OK;
        if (e != wanted || (e == VR_OK && !vr_str_equal(address, vr_str_from(rows[i].address))))
            fail_msg("%s: %s \"%.*s\"", rows[i].uri, vr_err_name(e), VR_STR_ARG(address));
    }
}

/* ---- authors --------------------------------------------------------------------------------------------------------------- */

static void test_from(void **state)
{
    (void)state;
    static const struct {
        const char *header, *domains;
        unsigned fields;
        bool more, unreadable;
    } rows[] = {
        {"From: Ann <ann@D.Test>\r\n", "d.test", 1, false, false},
        {"from : ann@d.test.\r\nTo: x@e.test\r\n", "d.test", 1, false, false},
        {"To: x@e.test\r\n", "", 0, false, false},
        {"From: ann@d.test, bob@e.test, carl@d.test\r\n", "d.test e.test", 1, false, false},
        {"From: ann@d.test\r\nFrom: bob@e.test\r\n", "d.test e.test", 2, false, false},
        {"From: team: ann@d.test, bob@e.test;\r\n", "d.test e.test", 1, false, false},
        {"From: \"bob@e.test\" <ann@d.test>\r\n", "d.test", 1, false, false},
        {"From: ann@b\xc3\xbc"
         "cher.test\r\n",
         "xn--bcher-kva.test", 1, false, false},
        {"From: ann@[192.0.2.1]\r\n", "", 1, false, true},
        {"From: undisclosed:;\r\n", "", 1, false, true},
        {"From: \r\n", "", 1, false, true},
        {"From: ann@d.test, bob@[192.0.2.1]\r\n", "d.test", 1, false, true},
        {"From: a@1.t, a@2.t, a@3.t, a@4.t, a@5.t, a@6.t, a@7.t, a@8.t, a@9.t\r\n",
         "1.t 2.t 3.t 4.t 5.t 6.t 7.t 8.t", 1, true, false},
        {"X: y\r\n\r\nFrom: ann@d.test\r\n", "", 0, false, false}, /* the body is no header */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dmarc_from f;
        struct vr_buf b;
        vr_buf_init(&b, 1024);
        assert_int_equal(dmarc_from(&arena, vr_str_from(rows[i].header), &f), VR_OK);
        for (size_t k = 0; k < f.count; k++)
            vr_buf_addf(&b, "%s%.*s", k > 0 ? " " : "", VR_STR_ARG(f.domains[k]));
        if (!vr_str_equal(vr_buf_str(&b), vr_str_from(rows[i].domains)) || f.fields != rows[i].fields ||
            f.more != rows[i].more || f.unreadable != rows[i].unreadable)
            fail_msg("row %zu: \"%.*s\" %u %d %d", i, VR_STR_ARG(vr_buf_str(&b)), f.fields, f.more,
                     f.unreadable);
        vr_buf_fini(&b);
    }
}

/* ---- organisational domains --------------------------------------------------------------------------------------------------- */

static struct dmarc_organization organization(const struct row *zone, enum dmarc_method method,
                                              const char *domain)
{
    struct dmarc_organization o;
    answer_count = 0;
    for (rounds = 0;; rounds++) {
        assert_true(rounds < 3);
        assert_int_equal(dmarc_organization(method, vr_str_from(domain), answers, answer_count, &arena, &o),
                         VR_OK);
        if (o.state == DKIM_DONE)
            return o;
        for (size_t i = 0; i < o.question_count; i++)
            look_up(zone, o.questions[i]);
    }
}

/* The examples of RFC 9989 §4.10.2 and appendix B.4, and what lies between them. */
static void test_walk(void **state)
{
    (void)state;
    static const struct row plain[] = {{"_dmarc.mail.example.com", "v=DMARC1;p=none"},
                                       {"_dmarc.example.com", "v=DMARC1;p=none"},
                                       {NULL, NULL}};
    static const struct row own[] = {{"_dmarc.mail.example.com", "v=DMARC1;p=none;psd=n"},
                                     {"_dmarc.example.com", "v=DMARC1;p=none"},
                                     {NULL, NULL}};
    static const struct row suffix[] = {{"_dmarc.com", "v=DMARC1;p=none;psd=y"}, {NULL, NULL}};
    static const struct row inner[] = {
        {"_dmarc.example.com", "v=DMARC1;p=none;psd=y"}, {"_dmarc.com", "v=DMARC1;p=none"}, {NULL, NULL}};
    static const struct row twice[] = {{"_dmarc.example.com", "v=DMARC1;p=none"},
                                       {"_dmarc.example.com", "v=DMARC1;p=reject"},
                                       {"_dmarc.mail.example.com", "v=DMARC1;p=none"},
                                       {NULL, NULL}};
    static const struct row other[] = {
        {"_dmarc.example.com", "v=spf1 -all"}, {"_dmarc.example.com", "v=DMARC1;p=none"}, {NULL, NULL}};
    static const struct row empty[] = {{NULL, NULL}};
    static const struct {
        const struct row *zone;
        const char *domain, *organization;
    } rows[] = {
        {plain, "a.mail.example.com", "example.com"},
        {plain, "EXAMPLE.com.", "example.com"},
        {own, "a.mail.example.com", "mail.example.com"},
        {suffix, "a.mail.example.com", "example.com"},
        {suffix, "com", "com"},
        {inner, "a.mail.example.com", "mail.example.com"},
        {inner, "example.com", "example.com"}, /* its own psd=y does not make it a suffix of itself */
        {twice, "a.mail.example.com", "mail.example.com"},
        {other, "mail.example.com", "example.com"},
        {empty, "a.mail.example.com", "a.mail.example.com"},
        {plain, "a.b.c.d.e.f.g.h.i.j.mail.example.com", "example.com"},
        {suffix, "a.b.c.d.e.f.g.h.i.j.mail.example.com", "example.com"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dmarc_organization o = organization(rows[i].zone, DMARC_TREE_WALK, rows[i].domain);
        if (!vr_str_equal(o.domain, vr_str_from(rows[i].organization)) || o.temperror || rounds > 1 ||
            answer_count > DMARC_WALK_MAX)
            fail_msg("row %zu: %.*s, %u rounds, %zu questions", i, VR_STR_ARG(o.domain), rounds,
                     answer_count);
    }
}

/* Exactly these eight (§4.10). */
static void test_long_walk(void **state)
{
    (void)state;
    static const struct row empty[] = {{NULL, NULL}};
    static const char *const names[] = {"_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com",
                                        "_dmarc.g.h.i.j.mail.example.com",
                                        "_dmarc.h.i.j.mail.example.com",
                                        "_dmarc.i.j.mail.example.com",
                                        "_dmarc.j.mail.example.com",
                                        "_dmarc.mail.example.com",
                                        "_dmarc.example.com",
                                        "_dmarc.com"};
    organization(empty, DMARC_TREE_WALK, "a.b.c.d.e.f.g.h.i.j.mail.example.com");
    assert_int_equal(answer_count, 8);
    for (size_t i = 0; i < 8; i++)
        assert_str(answers[i].name, names[i]);
    organization(empty, DMARC_TREE_WALK, "1.2.3.4.5.6.7.8");
    assert_int_equal(answer_count, 8);
    assert_str(answers[1].name, "_dmarc.2.3.4.5.6.7.8");
    organization(empty, DMARC_TREE_WALK, "1.2.3.4.5.6.7");
    assert_int_equal(answer_count, 7);
    static const struct row fails[] = {{"_dmarc.com", FAILS}, {NULL, NULL}};
    assert_true(organization(fails, DMARC_TREE_WALK, "a.example.com").temperror);
    static const struct row above[] = {
        {"_dmarc.com", FAILS}, {"_dmarc.example.com", "v=DMARC1;p=none;psd=n"}, {NULL, NULL}};
    assert_false(organization(above, DMARC_TREE_WALK, "a.example.com")
                     .temperror); /* what is above psd=n is not looked at */
}

static void test_public_suffix(void **state)
{
    (void)state;
    static const struct row empty[] = {{NULL, NULL}};
    assert_str(organization(empty, DMARC_PUBLIC_SUFFIX, "a.b.example.co.uk").domain, "example.co.uk");
    assert_str(organization(empty, DMARC_PUBLIC_SUFFIX, "co.uk").domain, "co.uk");
    assert_int_equal(answer_count, 0);
    struct vr_str out;
    assert_int_equal(dmarc_registrable(&arena, VR_STR("co.uk"), &out), VR_ERR_NOT_FOUND);
    assert_int_equal(dmarc_registrable(&arena, VR_STR("..uk"), &out), VR_ERR_SYNTAX);
}

/* ---- verdicts ---------------------------------------------------------------------------------------------------------------------- */

#define REPORTED "rua=mailto:r@example.com"

static const struct row internet[] = {
    {"_dmarc.example.com", "v=DMARC1; p=reject; sp=quarantine; np=reject; " REPORTED},
    {"sub.example.com", NULL},
    {"_dmarc.strict.test", "v=DMARC1; p=quarantine; adkim=s; aspf=s"},
    {"_dmarc.testing.test", "v=DMARC1; p=reject; t=y"},
    {"_dmarc.mild.test", "v=DMARC1; p=quarantine; t=y"},
    {"_dmarc.none.test", "v=DMARC1; p=none"},
    {"_dmarc.half.test", "v=DMARC1; p=reject; pct=50"},
    {"_dmarc.lost.test", FAILS},
    {"_dmarc.nobody.test", "v=DMARC1; p=bounce"},
    {"_dmarc.monitor.test", "v=DMARC1; p=bounce; rua=mailto:r@monitor.test"},
    {"_dmarc.two.test", "v=DMARC1; p=reject"},
    {"_dmarc.two.test", "v=DMARC1; p=none"},
    {"_dmarc.bank", "v=DMARC1; p=reject; sp=reject; psd=y"},
    {"_dmarc.own.bank", "v=DMARC1; p=none"},
    {"_dmarc.parent.test", "v=DMARC1; p=reject"},
    {"_dmarc.own.parent.test", "v=DMARC1; p=none; psd=n"},
    {"ask.ghost.test", FAILS},
    {"_dmarc.ghost.test", "v=DMARC1; p=none; np=reject"},
    {"_dmarc.cut.half-lost.test", "v=DMARC1; p=reject"},
    {"_dmarc.half-lost.test", FAILS},
    {"_dmarc.two.co.uk", "v=DMARC1; p=reject"},
    {"_dmarc.a.two.co.uk", "v=DMARC1; p=none"},
    {"_dmarc.a.two.co.uk", "v=DMARC1; p=none"},
    {NULL, NULL},
};

struct verdict_row {
    const char *from, *spf, *dkim; /* a domain; "?…": temperror; "-…": fail; NULL: nothing */
    enum dmarc_verdict verdict;
    enum dmarc_policy policy, disposition;
    const char *record_domain;
    enum dmarc_source source;
};

static struct dmarc_query query_of(const struct verdict_row *row, struct dkim_signature *s,
                                   enum dmarc_method method)
{
    struct dmarc_query q = {.method = method, .from = from(row->from), .signatures = s};
    if (row->spf != NULL) {
        q.spf_temperror = row->spf[0] == '?';
        q.spf_pass = row->spf[0] != '?' && row->spf[0] != '-';
        q.spf_domain = vr_str_from(row->spf + !q.spf_pass);
    }
    if (row->dkim != NULL) {
        s->verdict = row->dkim[0] == '?' ? DKIM_TEMPERROR : row->dkim[0] == '-' ? DKIM_FAIL : DKIM_PASS;
        s->domain = vr_str_from(row->dkim + (s->verdict != DKIM_PASS));
        q.signature_count = 1;
    }
    return q;
}

static void run_verdicts(const struct verdict_row *rows, size_t count, enum dmarc_method method)
{
    for (size_t i = 0; i < count; i++) {
        struct dkim_signature s = {0};
        struct dmarc_result r = evaluate(internet, query_of(&rows[i], &s, method));
        bool where = vr_str_equal(r.record_domain, vr_str_from(rows[i].record_domain));
        if (r.verdict != rows[i].verdict || r.policy != rows[i].policy ||
            r.disposition != rows[i].disposition || r.source != rows[i].source || !where ||
            (r.reason.n == 0) != (r.verdict == DMARC_PASS))
            fail_msg("row %zu (%s): %s (%.*s) %s=%s disposition %s by %.*s", i, rows[i].from,
                     dmarc_verdict_name(r.verdict), VR_STR_ARG(r.reason), dmarc_source_name(r.source),
                     dmarc_policy_name(r.policy), dmarc_policy_name(r.disposition),
                     VR_STR_ARG(r.record_domain));
        vr_arena_reset(&arena);
    }
}

#define NONE       DMARC_POLICY_NONE
#define QUARANTINE DMARC_POLICY_QUARANTINE
#define REJECT     DMARC_POLICY_REJECT

static void test_verdicts(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        /* aligned, by either */
        {"example.com", "example.com", NULL, DMARC_PASS, REJECT, NONE, "example.com", DMARC_BY_P},
        {"example.com", NULL, "example.com", DMARC_PASS, REJECT, NONE, "example.com", DMARC_BY_P},
        {"example.com", "bounce.example.com", NULL, DMARC_PASS, REJECT, NONE, "example.com", DMARC_BY_P},
        {"sub.example.com", NULL, "other.example.com", DMARC_PASS, QUARANTINE, NONE, "example.com",
         DMARC_BY_SP},
        {"example.com", "elsewhere.test", "-example.com", DMARC_FAIL, REJECT, REJECT, "example.com",
         DMARC_BY_P},
        {"example.com", "notexample.com", NULL, DMARC_FAIL, REJECT, REJECT, "example.com", DMARC_BY_P},
        {"example.com", "com", NULL, DMARC_FAIL, REJECT, REJECT, "example.com", DMARC_BY_P},
        {"example.com", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "example.com", DMARC_BY_P},
        {"example.com", "-example.com", "elsewhere.test", DMARC_FAIL, REJECT, REJECT, "example.com",
         DMARC_BY_P},
        /* sp, np */
        {"sub.example.com", NULL, NULL, DMARC_FAIL, QUARANTINE, QUARANTINE, "example.com", DMARC_BY_SP},
        {"nowhere.example.com", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "example.com", DMARC_BY_NP},
        {"x.parent.test", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "parent.test", DMARC_BY_P},
        {"ask.ghost.test", NULL, NULL, DMARC_TEMPERROR, NONE, NONE, "ghost.test",
         DMARC_BY_P}, /* whether it exists is not known */
        {"ask.ghost.test", "ghost.test", NULL, DMARC_PASS, NONE, NONE, "ghost.test", DMARC_BY_P},
        {"gone.ghost.test", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "ghost.test", DMARC_BY_NP},
        /* strict */
        {"strict.test", "strict.test", NULL, DMARC_PASS, QUARANTINE, NONE, "strict.test", DMARC_BY_P},
        {"strict.test", "a.strict.test", "b.strict.test", DMARC_FAIL, QUARANTINE, QUARANTINE, "strict.test",
         DMARC_BY_P},
        /* testing */
        {"testing.test", NULL, NULL, DMARC_FAIL, REJECT, QUARANTINE, "testing.test", DMARC_BY_P},
        {"mild.test", NULL, NULL, DMARC_FAIL, QUARANTINE, NONE, "mild.test", DMARC_BY_P},
        {"half.test", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "half.test",
         DMARC_BY_P}, /* no pct= in RFC 9989 */
        {"none.test", NULL, NULL, DMARC_FAIL, NONE, NONE, "none.test", DMARC_BY_P},
        /* no policy */
        {"unknown.test", "unknown.test", NULL, DMARC_NONE, NONE, NONE, "", DMARC_BY_P},
        {"two.test", NULL, NULL, DMARC_NONE, NONE, NONE, "", DMARC_BY_P},
        {"nobody.test", NULL, NULL, DMARC_PERMERROR, NONE, NONE, "nobody.test", DMARC_BY_P},
        {"monitor.test", NULL, NULL, DMARC_FAIL, NONE, NONE, "monitor.test", DMARC_BY_P},
        /* the DNS fails */
        {"lost.test", "lost.test", NULL, DMARC_TEMPERROR, NONE, NONE, "", DMARC_BY_P},
        {"x.lost.test", NULL, NULL, DMARC_TEMPERROR, NONE, NONE, "", DMARC_BY_P},
        {"cut.half-lost.test", "cut.half-lost.test", NULL, DMARC_PASS, REJECT, NONE, "cut.half-lost.test",
         DMARC_BY_P},
        {"cut.half-lost.test", "half-lost.test", NULL, DMARC_TEMPERROR, REJECT, NONE, "cut.half-lost.test",
         DMARC_BY_P},
        {"cut.half-lost.test", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "cut.half-lost.test", DMARC_BY_P},
        {"example.com", "?example.com", NULL, DMARC_TEMPERROR, REJECT, NONE, "example.com", DMARC_BY_P},
        {"example.com", NULL, "?x.example.com", DMARC_TEMPERROR, REJECT, NONE, "example.com", DMARC_BY_P},
        {"example.com", "?example.com", "example.com", DMARC_PASS, REJECT, NONE, "example.com", DMARC_BY_P},
        {"example.com", "?elsewhere.test", NULL, DMARC_FAIL, REJECT, REJECT, "example.com",
         DMARC_BY_P}, /* it would not help */
        /* public suffixes (B.4.3) */
        {"new.bank", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "bank", DMARC_BY_SP},
        {"new.bank", "other.bank", NULL, DMARC_FAIL, REJECT, REJECT, "bank", DMARC_BY_SP},
        {"a.new.bank", "b.new.bank", NULL, DMARC_PASS, REJECT, NONE, "bank", DMARC_BY_SP},
        {"own.bank", NULL, NULL, DMARC_FAIL, NONE, NONE, "own.bank", DMARC_BY_P},
        {"a.own.bank", NULL, NULL, DMARC_FAIL, NONE, NONE, "own.bank", DMARC_BY_P},
        {"bank", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "bank", DMARC_BY_P},
        /* psd=n below the parent: another organisation */
        {"parent.test", "own.parent.test", NULL, DMARC_FAIL, REJECT, REJECT, "parent.test", DMARC_BY_P},
        {"own.parent.test", "parent.test", NULL, DMARC_FAIL, NONE, NONE, "own.parent.test", DMARC_BY_P},
        {"own.parent.test", "x.own.parent.test", NULL, DMARC_PASS, NONE, NONE, "own.parent.test", DMARC_BY_P},
        /* several authors: the worst (§11.5) */
        {"example.com none.test", "example.com", NULL, DMARC_FAIL, NONE, NONE, "none.test", DMARC_BY_P},
        {"none.test example.com", "none.test", NULL, DMARC_FAIL, REJECT, REJECT, "example.com", DMARC_BY_P},
        {"mild.test example.com strict.test", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "example.com",
         DMARC_BY_P},
        {"example.com unknown.test", "example.com", NULL, DMARC_NONE, NONE, NONE, "", DMARC_BY_P},
        {"example.com x.example.com", "example.com", NULL, DMARC_PASS, REJECT, NONE, "example.com",
         DMARC_BY_P},
        {"example.com lost.test", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "example.com", DMARC_BY_P},
        {"none.test lost.test", NULL, NULL, DMARC_TEMPERROR, NONE, NONE, "", DMARC_BY_P},
        {"[192.0.2.1]", NULL, NULL, DMARC_NONE, NONE, NONE, "", DMARC_BY_P},
        {"example.com [192.0.2.1]", "example.com", NULL, DMARC_PERMERROR, REJECT, NONE, "example.com",
         DMARC_BY_P},
        {"1.t 2.t 3.t 4.t 5.t 6.t 7.t 8.t 9.t", NULL, NULL, DMARC_PERMERROR, NONE, NONE, "", DMARC_BY_P},
    };
    run_verdicts(rows, sizeof rows / sizeof *rows, DMARC_TREE_WALK);
}

static void test_verdicts_by_list(void **state)
{
    (void)state;
    static const struct verdict_row rows[] = {
        {"sub.example.com", NULL, "other.example.com", DMARC_PASS, QUARANTINE, NONE, "example.com",
         DMARC_BY_SP},
        {"nowhere.example.com", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "example.com", DMARC_BY_NP},
        {"own.parent.test", "parent.test", NULL, DMARC_PASS, NONE, NONE, "own.parent.test",
         DMARC_BY_P}, /* psd= is not known to it */
        {"new.bank", NULL, NULL, DMARC_NONE, NONE, NONE, "", DMARC_BY_P},
        {"x.two.co.uk", "y.two.co.uk", NULL, DMARC_PASS, REJECT, NONE, "two.co.uk", DMARC_BY_P},
        {"x.two.co.uk", "three.co.uk", NULL, DMARC_FAIL, REJECT, REJECT, "two.co.uk", DMARC_BY_P},
        {"a.two.co.uk", NULL, NULL, DMARC_NONE, NONE, NONE, "",
         DMARC_BY_P}, /* several records end the search (§6.6.3) */
        {"half.test", NULL, NULL, DMARC_FAIL, REJECT, REJECT, "half.test", DMARC_BY_P}, /* sample 0 of 50 */
        {"x.lost.test", NULL, NULL, DMARC_TEMPERROR, NONE, NONE, "", DMARC_BY_P},
    };
    run_verdicts(rows, sizeof rows / sizeof *rows, DMARC_PUBLIC_SUFFIX);
    for (unsigned sample = 0; sample < 100; sample++) {
        struct dmarc_query q = {.method = DMARC_PUBLIC_SUFFIX, .from = from("half.test"), .sample = sample};
        struct dmarc_result r = evaluate(internet, q);
        assert_int_equal(r.disposition, sample < 50 ? REJECT : QUARANTINE);
        assert_int_equal(r.sampled_out, sample >= 50);
        vr_arena_reset(&arena);
    }
}

/* What a report tells: of each identifier, also when another is aligned already. */
static void test_details(void **state)
{
    (void)state;
    const struct dkim_signature s[] = {{.verdict = DKIM_FAIL, .domain = VR_STR("example.com")},
                                       {.verdict = DKIM_PASS, .domain = VR_STR("elsewhere.test")},
                                       {.verdict = DKIM_PASS, .domain = VR_STR("a.example.com")},
                                       {.verdict = DKIM_PASS, .domain = VR_STR("example.com")}};
    struct dmarc_query q = {.from = from("sub.example.com"),
                            .spf_pass = true,
                            .spf_domain = VR_STR("b.example.com"),
                            .signatures = s,
                            .signature_count = 4};
    struct dmarc_result r = evaluate(internet, q);
    assert_int_equal(r.verdict, DMARC_PASS);
    assert_true(r.spf_aligned && r.dkim_aligned);
    assert_int_equal(r.dkim_index, 2);
    assert_str(r.domain, "sub.example.com");
    assert_str(r.organization, "example.com");
    assert_str(r.record->text, internet[0].txt);
    assert_true(rounds <= 2);
    for (size_t i = 0; i < answer_count; i++) /* a stranger's identifier costs nothing */
        assert_true(vr_str_find_str(answers[i].name, VR_STR("elsewhere")) == VR_NPOS);
    struct dmarc_query ghost = {.from = from("nowhere.example.com")};
    assert_true(evaluate(internet, ghost).nonexistent);
    struct dmarc_query tested = {.from = from("testing.test")};
    assert_true(evaluate(internet, tested).tested);
}

/* Full arenas of any size end in an error, not in a verdict. */
static void test_memory(void **state)
{
    (void)state;
    const struct dkim_signature s = {.verdict = DKIM_PASS, .domain = VR_STR("a.example.com")};
    struct dmarc_query q = {.from = from("sub.example.com"), .signatures = &s, .signature_count = 1};
    struct dmarc_result wanted = evaluate(internet, q), r;
    bool fitted = false;
    q.answers = answers;
    q.answer_count = answer_count;
    for (size_t max = 0; max < 16384; max += 64) {
        struct vr_arena small;
        vr_arena_init(&small, max);
        enum vr_err e = dmarc_evaluate(&q, &small, &r);
        if (e == VR_OK) {
            fitted = true;
            assert_true(r.state == DKIM_DONE && r.verdict == wanted.verdict && r.policy == wanted.policy);
        } else
            assert_int_equal(e, VR_ERR_TOO_BIG);
        vr_arena_fini(&small);
    }
    assert_true(fitted);
}

/* ---- overrides ------------------------------------------------------------------------------------------------------------------------ */

static void test_arc_override(void **state)
{
    (void)state;
    static const char good[] = "l.test; dmarc=pass (p=reject) header.from=example.com; spf=pass",
                      other[] = "l.test; dmarc=pass header.from=elsewhere.test",
                      fail[] = "l.test; dmarc=fail header.from=example.com", bare[] = "l.test; dmarc=pass";
    static const struct {
        const char *sealers[3], *results[3]; /* instance 1, 2, … */
        enum arc_status status;
        bool from_signed, overridden;
    } rows[] = {
        {{"list.test"}, {good}, ARC_PASS, true, true},
        {{"LIST.test"}, {good}, ARC_PASS, true, true},
        {{"list.test"}, {good}, ARC_FAIL, true, false},
        {{"list.test"}, {good}, ARC_PASS, false, false},
        {{"list.test"}, {fail}, ARC_PASS, true, false},
        {{"list.test"}, {other}, ARC_PASS, true, false},
        {{"list.test"}, {bare}, ARC_PASS, true, false},
        {{"list.test"}, {"="}, ARC_PASS, true, false},
        {{"evil.test"}, {good}, ARC_PASS, true, false},
        {{"list.test", "gate.test"},
         {good, fail},
         ARC_PASS,
         true,
         true}, /* the second came after the first broke it */
        {{"list.test", "evil.test"}, {good, good}, ARC_PASS, true, false},
        {{"evil.test", "list.test"},
         {good, fail},
         ARC_PASS,
         true,
         false}, /* what a stranger said first is no proof */
        {{"evil.test", "list.test"}, {fail, good}, ARC_PASS, true, true},
        {{NULL}, {NULL}, ARC_PASS, true, false},
    };
    const struct vr_str trusted[] = {VR_STR("gate.test"), VR_STR("list.test")};
    const struct dmarc_result failed = {.verdict = DMARC_FAIL, .domain = VR_STR("example.com")},
                              passed = {.verdict = DMARC_PASS, .domain = VR_STR("example.com")};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arc_set sets[3] = {0};
        struct arc_result arc = {.state = DKIM_DONE, .status = rows[i].status, .sets = sets};
        struct vr_str comment = {0};
        for (; arc.instances < 3 && rows[i].sealers[arc.instances] != NULL; arc.instances++)
            sets[arc.instances] = (struct arc_set){.domain = vr_str_from(rows[i].sealers[arc.instances]),
                                                   .selector = VR_STR("s"),
                                                   .authres = vr_str_from(rows[i].results[arc.instances]),
                                                   .from_signed = rows[i].from_signed};
        if (dmarc_arc_override(&failed, &arc, trusted, 2, &arena, &comment) != rows[i].overridden)
            fail_msg("row %zu", i);
        assert_false(dmarc_arc_override(&passed, &arc, trusted, 2, &arena, &comment));
        assert_false(dmarc_arc_override(&failed, &arc, NULL, 0, &arena, &comment));
        if (i == 9)
            assert_str(comment, "arc=pass as[2].d=gate.test as[2].s=s as[1].d=list.test as[1].s=s");
    }
}

static void test_authres(void **state)
{
    (void)state;
    static const struct {
        const char *from, *spf;
        enum dmarc_policy done;
        const char *field;
    } rows[] = {
        {"example.com", "example.com", NONE,
         "dmarc=pass (p=reject dis=none) header.from=example.com policy.dmarc=none"},
        {"sub.example.com", NULL, NONE,
         "dmarc=fail (neither SPF nor DKIM passes; sp=quarantine dis=none) header.from=sub.example.com "
         "policy.dmarc=quarantine"},
        {"unknown.test", NULL, NONE, "dmarc=none (no policy is published) header.from=unknown.test"},
        {"lost.test", NULL, NONE,
         "dmarc=temperror (the DNS did not answer for the policy) header.from=lost.test"},
        {"", NULL, NONE, "dmarc=none (From names no domain)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct verdict_row row = {.from = rows[i].from, .spf = rows[i].spf};
        struct dkim_signature s = {0};
        struct dmarc_result r = evaluate(internet, query_of(&row, &s, DMARC_TREE_WALK));
        const struct authres_result *result = authres_of_dmarc(&arena, &r, rows[i].done);
        struct vr_buf b;
        vr_buf_init(&b, 1024);
        assert_non_null(result);
        assert_true(authres_payload(
            &b, &(struct authres){.id = VR_STR("mx.test"), .results = result, .result_count = 1}));
        struct vr_str text = vr_buf_str(&b);
        char flat[512] = "";
        for (size_t k = 0, n = 0; k < text.n; k++)
            if (text.p[k] != '\r' && text.p[k] != '\n' &&
                !(text.p[k] == '\t' || (text.p[k] == ' ' && n > 0 && flat[n - 1] == ' ')))
                flat[n++] = text.p[k];
        if (strstr(flat, rows[i].field) == NULL)
            fail_msg("%s", flat);
        vr_buf_fini(&b);
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(dmarc_verdict_name(DMARC_TEMPERROR), "temperror");
    assert_string_equal(dmarc_policy_name(DMARC_POLICY_QUARANTINE), "quarantine");
    assert_string_equal(dmarc_source_name(DMARC_BY_NP), "np");
    assert_string_equal(dmarc_override_name(DMARC_OVERRIDE_POLICY_TEST_MODE), "policy_test_mode");
    assert_string_equal(dmarc_override_name(DMARC_OVERRIDE_NONE), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mailto, setup, teardown),
        cmocka_unit_test_setup_teardown(test_from, setup, teardown),
        cmocka_unit_test_setup_teardown(test_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_public_suffix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verdicts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_verdicts_by_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_details, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_arc_override, setup, teardown),
        cmocka_unit_test_setup_teardown(test_authres, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
    };
    return cmocka_run_group_tests_name("dmarc", tests, NULL, NULL);
}
