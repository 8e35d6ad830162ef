/* spf_record.c - the grammar of SPF records, as spf_record_parse tells of it. */
#include "spf_testing.h"

static const struct {
    const char *txt;
    int lookups; /* negative: wrong */
    const char *where;
} records[] = {
    {"v=spf1", 0, ""},
    {"v=spf1  ", 0, ""},
    {"V=SPF1 A MX", 2, ""},
    {"v=spf1 a mx ptr exists:x.test include:y.test redirect=z.test", 6, ""},
    {"v=spf1 a redirect=z.test ~all", 1, ""},
    {"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?all exp=x.test", 0, ""},
    {"v=spf1 a/0 a//0 a/32//128 a:x.test/1//1", 4, ""},
    {"v=spf1 a:x/y:z.test/24", 1, ""},
    {"v=spf1 a:%{d}/24//64 mx:%{d}", 2, ""},
    {"v=spf1 a:%{d1R.-+,/_=}", 1, ""},
    {"v=spf1 a:foo%% a:foo%_ a:foo%-", 3, ""},
    {"v=spf1 a:1-2.x.1-2", 1, ""},
    {"v=spf1 a:x.test.", 1, ""},
    {"v=spf1 moo=cow m-o_o.1=%{c}:/= ra= -all", 0, ""},
    {"v=spf1 all all", 0, ""},
    {"v=spf1 -all -ALL", 0, ""},
    {"v=spf1 ip6:::1 ip6:::ffff:1.2.3.4/96 ip6:1:2:3:4:5:6:7:8", 0, ""},
    /* none of SPF */
    {"", -2, ""},
    {"v=spf10", -2, "v=spf10"},
    {"v=spf1\tall", -2, "v=spf1\tall"},
    {" v=spf1 all", -2, " v=spf1 all"},
    {"spf2.0/pra all", -2, "spf2.0/pra all"},
    /* wrong */
    {"v=spf1 moo", -1, "moo"},
    {"v=spf1 -all moo", -1, "moo"},
    {"v=spf1 all.", -1, "all."},
    {"v=spf1 all:x", -1, "all:x"},
    {"v=spf1 all/8", -1, "all/8"},
    {"v=spf1 +-all", -1, "+-all"},
    {"v=spf1 -", -1, "-"},
    {"v=spf1 =x", -1, "=x"},
    {"v=spf1 1up=x", -1, "1up=x"},
    {"v=spf1 -exp=x.test", -1, "-exp=x.test"},
    {"v=spf1 include", -1, "include"},
    {"v=spf1 include:", -1, "include:"},
    {"v=spf1 include:x.test/24", -1, "include:x.test/24"},
    {"v=spf1 exists", -1, "exists"},
    {"v=spf1 ptr/24", -1, "ptr/24"},
    {"v=spf1 ptr:", -1, "ptr:"},
    {"v=spf1 a:", -1, "a:"},
    {"v=spf1 a:/24", -1, "a:/24"},
    {"v=spf1 a/", -1, "a/"},
    {"v=spf1 a/33", -1, "a/33"},
    {"v=spf1 a/032", -1, "a/032"},
    {"v=spf1 a/24/64", -1, "a/24/64"},
    {"v=spf1 a///64", -1, "a///64"},
    {"v=spf1 a//129", -1, "a//129"},
    {"v=spf1 a//64/24", -1, "a//64/24"},
    {"v=spf1 a:x.test//64/24", -1, "a:x.test//64/24"},
    {"v=spf1 a:test", -1, "a:test"},
    {"v=spf1 a:x.123", -1, "a:x.123"},
    {"v=spf1 a:x.-y", -1, "a:x.-y"},
    {"v=spf1 a:x.y-", -1, "a:x.y-"},
    {"v=spf1 a:x..", -1, "a:x.."},
    {"v=spf1 a:x.t_st", -1, "a:x.t_st"},
    {"v=spf1 a:%{d}x", -1, "a:%{d}x"},
    {"v=spf1 a:%", -1, "a:%"},
    {"v=spf1 a:%{", -1, "a:%{"},
    {"v=spf1 a:%{}", -1, "a:%{}"},
    {"v=spf1 a:%{d", -1, "a:%{d"},
    {"v=spf1 a:%{d0}", -1, "a:%{d0}"},
    {"v=spf1 a:%{d00r}", -1, "a:%{d00r}"},
    {"v=spf1 a:%{dr2}", -1, "a:%{dr2}"},
    {"v=spf1 a:%{drr}", -1, "a:%{drr}"},
    {"v=spf1 a:%{d:}", -1, "a:%{d:}"},
    {"v=spf1 a:%{x}", -1, "a:%{x}"},
    {"v=spf1 a:%{c}", -1, "a:%{c}"},
    {"v=spf1 exp=%{r}", -1, "exp=%{r}"},
    {"v=spf1 redirect=%{T}", -1, "redirect=%{T}"},
    {"v=spf1 moo=%x", -1, "moo=%x"},
    {"v=spf1 exp=x.test exp=x.test", -1, "exp=x.test"},
    {"v=spf1 redirect=x.test a redirect=y.test", -1, "redirect=y.test"},
    {"v=spf1 exp=", -1, "exp="},
    {"v=spf1 redirect=", -1, "redirect="},
    {"v=spf1 redirect:x.test", -1, "redirect:x.test"},
    {"v=spf1 ip4", -1, "ip4"},
    {"v=spf1 ip4:", -1, "ip4:"},
    {"v=spf1 ip4:1.2.3", -1, "ip4:1.2.3"},
    {"v=spf1 ip4:1.2.3.04", -1, "ip4:1.2.3.04"},
    {"v=spf1 ip4:1.2.3.4:80", -1, "ip4:1.2.3.4:80"},
    {"v=spf1 ip4:1.2.3.4//32", -1, "ip4:1.2.3.4//32"},
    {"v=spf1 ip4:2001:db8::1", -1, "ip4:2001:db8::1"},
    {"v=spf1 ip6:1.2.3.4", -1, "ip6:1.2.3.4"},
    {"v=spf1 ip6::CAFE::BABE", -1, "ip6::CAFE::BABE"},
    {"v=spf1 ip6:2001:db8::/129", -1, "ip6:2001:db8::/129"},
    {"v=spf1 a\tmx", -1, "a\tmx"},
    {"v=spf1 a:x\xc3\xbc.test", -1, "a:x\xc3\xbc.test"},
    {"v=spf1 moo=\x7f", -1, "moo=\x7f"},
};

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        unsigned lookups;
        const char *why = NULL;
        struct vr_str where;
        enum vr_err e = spf_record_parse(vr_str_from(records[i].txt), &lookups, &why, &where);
        enum vr_err wanted = records[i].lookups == -2   ? VR_ERR_NOT_FOUND
                             : records[i].lookups == -1 ? VR_ERR_SYNTAX
                                                        : VR_OK;
        if (e != wanted)
            fail_msg("%s: %s (%s)", records[i].txt, vr_err_name(e), why);
        if (e == VR_OK) {
            assert_int_equal(lookups, records[i].lookups);
            continue;
        }
        assert_text(where, records[i].where);
        assert_non_null(why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
