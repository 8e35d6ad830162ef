/* address_utf8.c - addresses beyond ASCII (RFC 6531 §3.3): what is taken, how they are written, compared and found. */
#include <veredus/address.h>

#include "lib_testing.h"

static struct address parsed(const char *text)
{
    struct address a;
    const char *why;
    if (address_parse(&arena, vr_str_from(text), ADDRESS_ALLOW_UTF8, &a, &why) != VR_OK)
        fail_msg("%s: %s", text, why);
    return a;
}

static void taken(void **state)
{
    (void)state;
    static const struct {
        const char *in, *text, *key, *ascii; /* ascii NULL: there is no such form */
    } rows[] = {
        {"ann@Example.org", "ann@example.org", "ann@example.org", "ann@example.org"},
        {"Ann@bücher.example", "Ann@bücher.example", "ann@xn--bcher-kva.example",
         "Ann@xn--bcher-kva.example"},
        {"Ann@BÜCHER.Example", "Ann@bücher.example", "ann@xn--bcher-kva.example",
         "Ann@xn--bcher-kva.example"},
        {"ann@XN--BCHER-KVA.example", "ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example",
         "ann@xn--bcher-kva.example"},
        {"ann@bu\u0308cher。example", "ann@bücher.example", "ann@xn--bcher-kva.example",
         "ann@xn--bcher-kva.example"},
        {"Jörg@x.example", "Jörg@x.example", "jörg@x.example", NULL},
        {"JÖRG@x.example", "JÖRG@x.example", "jörg@x.example", NULL},
        {"Jo\u0308rg@x.example", "Jo\u0308rg@x.example", "jörg@x.example",
         NULL}, /* what is stored is what was said */
        {"straße@x.example", "straße@x.example", "straße@x.example", NULL},
        {"δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@xn--hxajbheg2az3al.xn--jxalpdlp",
         NULL},
        {"ΟΔΌΣ@x.example", "ΟΔΌΣ@x.example", "οδός@x.example", NULL},
        {"用户+标签@例え.テスト", "用户+标签@例え.テスト", "用户+标签@xn--r8jz45g.xn--zckzah", NULL},
        {"\"a ü\"@x.example", "\"a ü\"@x.example", "\"a ü\"@x.example", NULL},
        {"می‌خواهم@x.example", "می‌خواهم@x.example", "می‌خواهم@x.example",
         NULL}, /* ZWNJ belongs to Persian words */
        {"✉@x.example", "✉@x.example", "✉@x.example", NULL},
        {"ann@[IPv6:2001:DB8::1]", "ann@[ipv6:2001:db8::1]", "ann@[ipv6:2001:db8::1]",
         "ann@[ipv6:2001:db8::1]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address a = parsed(rows[i].in), ascii;
        assert_text(address_text(&arena, &a), rows[i].text);
        assert_text(address_key(&arena, &a), rows[i].key);
        assert_text(address_key_of(&arena, vr_str_from(rows[i].in)), rows[i].key);
        assert_text(address_key_of(&arena, vr_str_from(rows[i].key)), rows[i].key);
        assert_int_equal(address_to_ascii(&arena, &a, &ascii), rows[i].ascii != NULL);
        if (rows[i].ascii != NULL) {
            assert_text(address_text(&arena, &ascii), rows[i].ascii);
            assert_false(ascii.utf8);
        }
        struct address again = parsed(rows[i].text);
        assert_true(address_equal(&a, &again));
        assert_int_equal(a.utf8, !vr_str_is_ascii(vr_str_from(rows[i].in)));
    }
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *in, *why;
    } rows[] = {
        {"j\xf6rg@x.example", "not valid UTF-8"},      /* Latin-1 */
        {"j\xc0\xb6@x.example", "not valid UTF-8"},    /* overlong */
        {"\xed\xa0\x80@x.example", "not valid UTF-8"}, /* a surrogate */
        {"a\xc2\x9b"
         "b@x.example",
         "control"},                        /* CSI, of a terminal */
        {"a\xc2\x85@x.example", "control"}, /* NEL */
        {"a\u2028b@x.example", "control"},  /* line separator */
        {"a\u202eb@x.example", "control"},  /* right-to-left override */
        {"\"a\u2066\"@x.example", "control"},
        {"a\xef\xbf\xbf@x.example", "control"}, /* U+FFFF */
        {"a@b\xfc"
         "cher.example",
         "not valid UTF-8"},
        {"a@i❤.example", "IDNA"},
        {"a@℀.example", "IDNA"},
        {"a@bü cher.example", "something follows"}, /* a blank ends the domain */
        {"a@-bücher.example", "hyphen"},
        {"a@bücher..example", "empty label"},
        {"a@bücher.", "dot"},
        {"a@bücher。", "dot"},
        {"a@xn--a.bücher.example", "IDNA"},
        {"a@[bücher]", "literal"},
        {"@bücher.example", "@"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address a;
        const char *why = "";
        if (address_parse(&arena, vr_str_from(rows[i].in), ADDRESS_ALLOW_UTF8, &a, &why) == VR_OK)
            fail_msg("%s is taken", rows[i].in);
        if (strstr(why, rows[i].why) == NULL)
            fail_msg("%s: %s", rows[i].in, why);
        if (!vr_str_is_ascii(vr_str_from(rows[i].in))) /* and nothing of the kind without SMTPUTF8 */
            assert_int_not_equal(address_parse(&arena, vr_str_from(rows[i].in), 0, &a, &why), VR_OK);
    }
}

/* 64 octets of UTF-8 (RFC 6531 does not raise RFC 5321 §4.5.3.1); labels of 63 in the form of the DNS. */
static void limits(void **state)
{
    (void)state;
    struct address a;
    const char *why;
    char text[600] = "";
    for (int i = 0; i < 32; i++)
        strcat(text, "ü");
    strcat(text, "@x.example");
    assert_int_equal(address_parse(&arena, vr_str_from(text), ADDRESS_ALLOW_UTF8, &a, &why), VR_OK);
    memmove(text + 1, text, strlen(text) + 1);
    text[0] = 'a';
    assert_int_equal(address_parse(&arena, vr_str_from(text), ADDRESS_ALLOW_UTF8, &a, &why), VR_ERR_TOO_BIG);
    strcpy(text, "a@");
    for (int i = 0; i < 22; i++) /* 66 octets, less as an A-label */
        strcat(text, "例");
    assert_true(address_domain_valid(vr_str_from(text + 2), ADDRESS_ALLOW_UTF8));
    assert_int_equal(address_parse(&arena, vr_str_from(text), ADDRESS_ALLOW_UTF8, &a, &why), VR_OK);
    strcpy(text, "a@");
    for (int i = 0; i < 60; i++)
        strcat(text, "ü");
    assert_false(address_domain_valid(vr_str_from(text + 2), ADDRESS_ALLOW_UTF8));
    assert_int_not_equal(address_parse(&arena, vr_str_from(text), ADDRESS_ALLOW_UTF8, &a, &why), VR_OK);
    assert_non_null(strstr(why, "longer in A-labels"));
}

static void equal(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {{"a@bücher.example", "a@XN--bcher-KVA.example", true},
                {"a@bücher.example", "a@BÜCHER.example", true},
                {"a@bücher.example", "a@bucher.example", false},
                {"ü@x.example", "ü@X.example", true},
                {"ü@x.example", "u\u0308@x.example", false}, /* a stranger's local part: byte for byte */
                {"ü@x.example", "Ü@x.example", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address a = parsed(rows[i].a), b = parsed(rows[i].b);
        assert_int_equal(address_equal(&a, &b), rows[i].same);
    }
}

static void readable(void **state)
{
    (void)state;
    assert_text(address_readable(&arena, VR_STR("jörg@xn--bcher-kva.example")), "jörg@bücher.example");
    assert_text(address_readable(&arena, VR_STR("@xn--bcher-kva.example")), "@bücher.example");
    assert_text(address_readable(&arena, VR_STR("ann@example.org")), "ann@example.org");
    assert_text(address_readable(&arena, VR_STR("ann@xn--a.example")), "ann@xn--a.example");
    assert_text(address_readable(&arena, VR_STR("ann")), "ann");
    assert_true(address_same(VR_STR("JÖRG@bücher.example"), VR_STR("jo\u0308rg@XN--bcher-kva.example")));
    assert_true(address_same(VR_STR("Ann@X.y"), VR_STR("ann@x.Y")));
    assert_false(address_same(VR_STR("jörg@x.y"), VR_STR("jorg@x.y")));
    assert_false(address_same(VR_STR(""), VR_STR("ü")));
}

static void keys_of_other_texts(void **state)
{
    (void)state;
    static const struct {
        const char *in, *key;
    } rows[] = {{"@BÜCHER.example", "@xn--bcher-kva.example"},
                {"@Example.ORG", "@example.org"},
                {"JÖRG", "jörg"},
                {"ü@no domain", "ü@no domain"},
                {"ü@", "ü@"},
                {"A\xff@B", "a\xff@b"},
                {"", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_text(address_key_of(&arena, vr_str_from(rows[i].in)), rows[i].key);
    struct vr_arena small;
    vr_arena_init(&small, 8);
    assert_null(address_key_of(&small, VR_STR("jörg@bücher.example")).p);
    assert_null(address_fold(&small, VR_STR("jörg-und-seine-freunde")).p);
    struct address a = parsed("jörg@bücher.example");
    assert_null(address_key(&small, &a).p);
    assert_null(address_text(&small, &a).p);
    struct address b = parsed("jorg@bücher.example");
    assert_false(address_to_ascii(&small, &b, &a));
    vr_arena_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {T(taken),   T(refused), T(limits), T(equal), T(keys_of_other_texts),
                                       T(readable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
