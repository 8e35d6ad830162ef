/* spf_macro.c - macros of SPF: the examples of RFC 7208 §7.4 and what is at the edges, seen by the question that they make. */
#include "spf_testing.h"

static const struct zone_row names[] = {
    {"3.2.0.192.in-addr.arpa", DNS_TYPE_PTR, "mx.example.org"},
    {"mx.example.org", DNS_TYPE_A, "192.0.2.3"},
    {NULL, 0, NULL},
};

/* The name that "exists:SPEC" asks for; empty: none. */
static struct vr_str asked_for(const char *spec, const char *client, const char *sender)
{
    struct zone_row zone[4] = {
        {"email.example.com", DNS_TYPE_TXT, vr_arena_printf(&arena, "v=spf1 exists:%s -all", spec).p},
        names[0],
        names[1]};
    struct dns_answer answers[8];
    struct spf_query q = {.client = address_of(client),
                          .helo = VR_STR("helo.test"),
                          .sender = vr_str_from(sender),
                          .answers = answers};
    struct spf_result r;
    for (;;) {
        assert_int_equal(spf_check(&q, &arena, &r), VR_OK);
        if (r.state == SPF_DONE) {
            assert_int_equal(r.verdict, SPF_FAIL);
            return VR_STR("");
        }
        if (r.questions[0].type == DNS_TYPE_A && !vr_str_equal(r.questions[0].name, VR_STR("mx.example.org")))
            return r.questions[0].name;
        answers[q.answer_count++] = zone_find(zone, &r.questions[0]);
    }
}

static void examples(void **state)
{
    static const char *const all[][2] = {
        {"%{s}.x", "strong-bad@email.example.com.x"},
        {"%{o}", "email.example.com"},
        {"%{d}", "email.example.com"},
        {"%{d4}", "email.example.com"},
        {"%{d3}", "email.example.com"},
        {"%{d2}", "example.com"},
        {"%{d1}.x", "com.x"},
        {"%{dr}", "com.example.email"},
        {"%{d2r}", "example.email"},
        {"%{l}.x", "strong-bad.x"},
        {"%{l-}", "strong.bad"},
        {"%{lr}.x", "strong-bad.x"},
        {"%{lr-}", "bad.strong"},
        {"%{l1r-}.x", "strong.x"},
        {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
        {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
        {"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
        {"%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"},
        {"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"},
        {"%{p}.x", "mx.example.org.x"},
        /* edges */
        {"%{D127}", "email.example.com"},
        {"%{d99999999999999999999}", "email.example.com"},
        {"%{dR}", "com.example.email"},
        {"%{h2}", "helo.test"},
        {"%{i1}.x", "3.x"},
        {"%{i2r}.x", "0.192.x"},
        {"%{S}.x", "strong-bad%40email.example.com.x"},
        {"%{s1@}.x", "!"}, /* "@" is no delimiter */
        {"%{s1-}", "bad@email.example.com"},
        {"%{s2r-}", "bad@email.example.com.strong"},
        {"%{o2re}.x", "!"},
        {"a.%{o}.", "!"}, /* a dot alone is no end of a domain-spec */
        {"a.%{o}.test.", "a.email.example.com.test"},
        {"a%%b%_c%-d.test", "a%b c%20d.test"},
        {"%{d}%{d}%{d}%{d}%{d}%{d}%{d}%{d}%{d}%{d}%{d}%{d}%{d}%{d}%{d}%{d}.t",
         "example.comemail.example.comemail.example.comemail.example.comemail.example.comemail.example."
         "comemail.example."
         "comemail.example.comemail.example.comemail.example.comemail.example.comemail.example.comemail."
         "example.comemail.example.comemail.example.com.t"},
        {"%{d}..test", ""},
        {".test", ""},
        {"a123456789012345678901234567890123456789012345678901234567890123.test", ""},
        {"a12345678901234567890123456789012345678901234567890123456789012.test",
         "a12345678901234567890123456789012345678901234567890123456789012.test"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i][1], "!") == 0) {
            unsigned lookups;
            const char *why;
            struct vr_str where;
            assert_int_equal(spf_record_parse(vr_arena_printf(&arena, "v=spf1 exists:%s", all[i][0]),
                                              &lookups, &why, &where),
                             VR_ERR_SYNTAX);
            continue;
        }
        assert_text(asked_for(all[i][0], "192.0.2.3", "strong-bad@email.example.com"), all[i][1]);
    }
}

static void others(void **state)
{
    (void)state;
    assert_text(asked_for("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01", "a@email.example.com"),
                "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com");
    assert_text(asked_for("%{l}.x", "192.0.2.3", "@email.example.com"), "postmaster.x");
    assert_text(asked_for("%{l}.x", "192.0.2.3", "email.example.com"), "postmaster.x");
    assert_text(asked_for("%{l}.x", "192.0.2.3", ".a..b.@email.example.com"), ""); /* empty labels */
    assert_text(asked_for("x%{lr+}x.x", "192.0.2.3", "+a++b@email.example.com"), "");
    assert_text(asked_for("%{l2r+}.x", "192.0.2.3", "a+b@email.example.com"), "b.a.x");
    assert_text(asked_for("%{l2r+-,/_=}.x", "192.0.2.3", "a+b=c@email.example.com"), "b.a.x");
    assert_text(asked_for("%{l2+-,/_=}.x", "192.0.2.3", "a+b=c@email.example.com"), "b.c.x");
    assert_text(asked_for("%{p}.x", "192.0.2.4", "a@email.example.com"), "unknown.x");
    assert_text(asked_for("%{d}.x", "192.0.2.4", "a@EMAIL.example.com"),
                "EMAIL.example.com.x"); /* as the sender writes it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(examples), T(others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
