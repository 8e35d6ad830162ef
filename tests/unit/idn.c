/* idn.c - U-labels, A-labels, what is neither (RFC 5890, 5891, UTS #46). */
#include <veredus/idn.h>

#include "lib_testing.h"

static void both_ways(void **state)
{
    (void)state;
    static const struct {
        const char *in, *ascii, *unicode;
    } rows[] = {
        {"example.org", "example.org", "example.org"},
        {"EXAMPLE.Org", "example.org", "example.org"},
        {"bücher.example", "xn--bcher-kva.example", "bücher.example"},
        {"xn--bcher-kva.example", "xn--bcher-kva.example", "bücher.example"},
        {"XN--BCHER-KVA.EXAMPLE", "xn--bcher-kva.example", "bücher.example"},
        {"BÜCHER.Example", "xn--bcher-kva.example", "bücher.example"},
        {"bu\u0308cher.example", "xn--bcher-kva.example", "bücher.example"}, /* not NFC: is made so */
        {"straße.example", "xn--strae-oqa.example",
         "straße.example"}, /* non-transitional: ß is a letter of its own */
        {"παράδειγμα.δοκιμή", "xn--hxajbheg2az3al.xn--jxalpdlp", "παράδειγμα.δοκιμή"},
        {"例え.テスト", "xn--r8jz45g.xn--zckzah", "例え.テスト"},
        {"例え。テスト", "xn--r8jz45g.xn--zckzah", "例え.テスト"}, /* U+3002 is a dot, UTS #46 §4 */
        {"مثال.إختبار", "xn--mgbh0fb.xn--kgbechtv", "مثال.إختبار"},
        {"mail.bücher.example", "mail.xn--bcher-kva.example", "mail.bücher.example"},
        {"_dmarc.bücher.example", "_dmarc.xn--bcher-kva.example", "_dmarc.bücher.example"},
        {"_dmarc.example.org.", "_dmarc.example.org.",
         "_dmarc.example.org."}, /* what is ASCII is only lowered */
        {"xn--bcher-kva.example.", "xn--bcher-kva.example.", "bücher.example."},
        {"[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]"},
        {"xn--a.bücher.example", NULL, NULL}, /* beside a U-label, an A-label must be one */
        {"xn--zzzzzz99999.example", "xn--zzzzzz99999.example",
         "xn--zzzzzz99999.example"}, /* stands for nothing */
        {"xn--bcher-kva.xn--a.example", "xn--bcher-kva.xn--a.example", "xn--bcher-kva.xn--a.example"},
        {"xn--i-7iq.example", "xn--i-7iq.example", "xn--i-7iq.example"}, /* a heart: no letter, RFC 5892 */
        {"i❤.example", NULL, NULL},
        {"", NULL, NULL},
        {"b\xfc"
         "cher.example",
         NULL, NULL}, /* Latin-1 */
        {"bücher..example", NULL, NULL},
        {".bücher", NULL, NULL},
        {"bücher.", "xn--bcher-kva.", "bücher."},
        {"℀.example", NULL, NULL}, /* maps to "a/c" */
        {"a＠b.example", NULL, NULL},
        {"a．b／c.example", NULL, NULL},
        {"-bücher.example", NULL, NULL},
        {"bücher .example", NULL, NULL},
        {"ab\u202ecd.example", NULL, NULL}, /* right-to-left override */
        {"\u0308bc.example", NULL, NULL},   /* begins with a combining mark */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str in = vr_str_from(rows[i].in), ascii, unicode;
        enum vr_err e = idn_to_ascii(&arena, in, &ascii);
        if (rows[i].ascii == NULL) {
            if (e != VR_ERR_SYNTAX)
                fail_msg("%s is taken as %.*s: %s", rows[i].in, VR_STR_ARG(ascii), vr_err_name(e));
            assert_int_equal(idn_to_unicode(&arena, in, &unicode), VR_ERR_SYNTAX);
            assert_int_equal(ascii.n + unicode.n, 0);
            continue;
        }
        if (e != VR_OK)
            fail_msg("%s: %s", rows[i].in, vr_err_name(e));
        assert_text(ascii, rows[i].ascii);
        assert_int_equal(idn_to_unicode(&arena, in, &unicode), VR_OK);
        assert_text(unicode, rows[i].unicode);
        assert_true(idn_equal(in, ascii) && idn_equal(ascii, unicode) && idn_equal(unicode, in));
    }
}

static void equality(void **state)
{
    (void)state;
    assert_false(idn_equal(VR_STR("bücher.example"), VR_STR("bucher.example")));
    assert_false(idn_equal(VR_STR("straße.example"), VR_STR("strasse.example")));
    assert_false(idn_equal(VR_STR("bücher.example"), VR_STR("bücher.example.org")));
    assert_true(idn_equal(VR_STR("Example.ORG"), VR_STR("example.org")));
    assert_true(idn_equal(VR_STR("i❤.example"), VR_STR("i❤.example"))); /* no names, and the same */
    assert_false(idn_equal(VR_STR("i❤.example"), VR_STR("I❤.example")));
    assert_false(idn_equal(VR_STR("b\xff"), VR_STR("bücher.example")));
}

static struct vr_str repeated(const char *label, size_t n)
{
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    for (size_t i = 0; i < n; i++)
        vr_buf_addf(&b, "%s", label);
    struct vr_str s = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return s;
}

static void bounds(void **state)
{
    (void)state;
    struct vr_str out, long_label = repeated("ü", 60);
    assert_int_equal(idn_to_ascii(&arena, repeated("a", 256), &out), VR_ERR_TOO_BIG);
    assert_int_equal(idn_to_ascii(&arena, long_label, &out),
                     VR_ERR_TOO_BIG); /* its A-label has over 63 octets */
    /* 21 characters are 63 octets of UTF-8, and fewer as an A-label */
    assert_int_equal(idn_to_ascii(&arena, repeated("例", 22), &out), VR_OK);
    /* names whose A-labels fit and whose U-labels do not: they stay A-labels */
    struct vr_str ascii, unicode, part;
    assert_int_equal(idn_to_ascii(&arena, repeated("例", 36), &part), VR_OK);
    struct vr_str name =
        vr_arena_printf(&arena, "%.*s.%.*s.%.*s", VR_STR_ARG(part), VR_STR_ARG(part), VR_STR_ARG(part));
    assert_true(name.n <= IDN_NAME_MAX);
    assert_int_equal(idn_to_ascii(&arena, name, &ascii), VR_OK);
    assert_int_equal(idn_to_unicode(&arena, name, &unicode), VR_OK);
    assert_true(vr_str_equal(unicode, ascii));
    struct vr_arena small;
    vr_arena_init(&small, 8);
    assert_int_equal(idn_to_ascii(&small, VR_STR("bücher.example"), &out), VR_ERR_TOO_BIG);
    assert_int_equal(idn_to_unicode(&small, VR_STR("bücher.example"), &out), VR_ERR_TOO_BIG);
    vr_arena_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(both_ways), T(equality), T(bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
