/* base.c - slices, arenas, buffers, codes. */
#include <veredus/base.h>
#include <veredus/dnsq.h>

#include "lib_testing.h"

/* ---- slices --------------------------------------------------------------------------------------------------------- */

static void test_slices(void **state)
{
    (void)state;
    struct vr_str s = VR_STR("Hello, World"), none = vr_str_from(NULL);
    assert_int_equal(none.n, 0);
    assert_true(vr_str_equal(none, VR_STR("")));
    assert_true(vr_str_equal_nocase(s, VR_STR("hELLO, wORLD")));
    assert_false(vr_str_equal_nocase(VR_STR("a@"),
                                     VR_STR("a`"))); /* letters only: '@' and '`' differ by the same bit */
    assert_false(vr_str_equal(s, VR_STR("Hello, Worl")));
    assert_true(vr_str_compare(VR_STR("a"), VR_STR("b")) < 0);
    assert_true(vr_str_compare(VR_STR("ab"), VR_STR("a")) > 0);
    assert_int_equal(vr_str_compare(none, VR_STR("")), 0);
    assert_true(vr_str_starts(s, VR_STR("Hello")) && !vr_str_starts(s, VR_STR("hello")));
    assert_true(vr_str_starts_nocase(s, VR_STR("hello")) &&
                !vr_str_starts_nocase(VR_STR("he"), VR_STR("hello")));
    assert_true(vr_str_ends_nocase(s, VR_STR("WORLD")) && !vr_str_ends_nocase(VR_STR("ld"), VR_STR("world")));
    assert_text(vr_str_from_pos(s, 7), "World");
    assert_text(vr_str_from_pos(s, 100), "");
    assert_text(vr_str_sub(s, 7, 3), "Wor");
    assert_text(vr_str_sub(s, 7, SIZE_MAX), "World");
    assert_text(vr_str_sub(s, SIZE_MAX, SIZE_MAX), "");
    assert_text(vr_str_trim(VR_STR(" \t\r\n a b \r\n")), "a b");
    assert_text(vr_str_trim(VR_STR(" \t")), "");
    assert_int_equal(vr_str_find(s, 'o'), 4);
    assert_int_equal(vr_str_find_last(s, 'o'), 8);
    assert_int_equal(vr_str_find(s, 'x'), VR_NPOS);
    assert_int_equal(vr_str_find(none, 'x'), VR_NPOS);
    assert_int_equal(vr_str_find_str(s, VR_STR("o, W")), 4);
    assert_int_equal(vr_str_find_str(s, VR_STR("World!")), VR_NPOS);
    assert_int_equal(vr_str_find_str(none, VR_STR("a")), VR_NPOS);
    assert_true(vr_str_is_ascii(s) && !vr_str_is_ascii(VR_STR("gr\xc3\xbc")));
}

static void test_split(void **state)
{
    (void)state;
    static const char *const wanted[] = {"a", "", "b", "c"};
    struct vr_str rest = VR_STR("a,,b,c"), part;
    for (size_t i = 0; i < 4; i++) {
        assert_true(vr_str_split(&rest, ',', &part));
        assert_text(part, wanted[i]);
    }
    assert_false(vr_str_split(&rest, ',', &part));
    rest = VR_STR("");
    assert_false(vr_str_split(&rest, ',', &part));
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
        bool good;
    } rows[] = {{"0", 0, true},
                {"007", 7, true},
                {"18446744073709551615", UINT64_MAX, true},
                {"18446744073709551616", 0, false},
                {"99999999999999999999", 0, false},
                {"", 0, false},
                {"-1", 0, false},
                {"+1", 0, false},
                {" 1", 0, false},
                {"1a", 0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t v = 0;
        if (vr_str_to_u64(vr_str_from(rows[i].text), &v) != rows[i].good ||
            (rows[i].good && v != rows[i].value))
            fail_msg("\"%s\"", rows[i].text);
    }
}

/* RFC 3629 §3, §4: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
static void test_utf8_next(void **state)
{
    (void)state;
    static const uint32_t wanted[] = {'a', 0x7f, 0x80, 0xfc, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff};
    struct vr_str s =
        VR_STR("a\x7f\xc2\x80\xc3\xbc\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xff");
    uint32_t c;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        assert_true(vr_utf8_next(&s, &c));
        assert_int_equal(c, wanted[i]);
    }
    assert_int_equal(s.n, 1);
    assert_false(vr_utf8_next(&s, &c)); /* stays where it is */
    assert_int_equal(s.n, 1);
    s = VR_STR("\xc3");
    assert_false(vr_utf8_next(&s, &c));
    s = vr_str(NULL, 0);
    assert_false(vr_utf8_next(&s, &c));
}

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xc3",
                                      "\xe2\x82",
                                      "\xf0\x9f\x98",
                                      "\xc3(",
                                      "\xe2(\xa1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!vr_utf8_valid(vr_str_from(good[i])))
            fail_msg("good row %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (vr_utf8_valid(vr_str_from(bad[i])))
            fail_msg("bad row %zu", i);
}

/* ---- arenas ---------------------------------------------------------------------------------------------------------- */

static void test_arena(void **state)
{
    (void)state;
    struct vr_arena a;
    vr_arena_init(&a, 100000);
    for (size_t n = 1; n < 3000; n += 131) {
        unsigned char *p = vr_arena_alloc(&a, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xee, n); /* what comes next must be zero all the same */
    }
    char source[] = "text";
    struct vr_str copy = vr_arena_dup(&a, vr_str_from(source));
    source[0] = 'n';
    assert_string_equal(copy.p, "text");
    assert_text(vr_arena_lower(&a, VR_STR("A.Example\xc3\x84")), "a.example\xc3\x84");
    assert_text(vr_arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    assert_null(vr_arena_alloc(&a, 100001));
    assert_null(vr_arena_alloc(&a, SIZE_MAX));
    assert_null(vr_arena_alloc(&a, SIZE_MAX - 20));
    size_t got = 0;
    while (vr_arena_alloc(&a, 1000) != NULL)
        got++;
    assert_true(got > 0 && got <= 100 && a.used <= 100000);
    vr_arena_reset(&a);
    assert_int_equal(a.used, 0);
    assert_non_null(vr_arena_alloc(&a, 50000));
    vr_arena_fini(&a);
}

static void test_arena_is_empty_until_used(void **state)
{
    (void)state;
    struct vr_arena a;
    vr_arena_init(&a, 1000);
    assert_null(a.head);
    assert_int_equal(vr_arena_dup(&a, vr_str("x", 1)).n, 1);
    vr_arena_fini(&a);
    vr_arena_init(&a, 10);
    char big[64] = {0};
    assert_null(vr_arena_dup(&a, vr_str(big, sizeof big)).p);
    vr_arena_fini(&a);
    vr_arena_init(&a, SIZE_MAX); /* rounding up must not come out as 0 */
    assert_null(vr_arena_alloc(&a, SIZE_MAX));
    vr_arena_fini(&a);
}

/* ---- buffers ---------------------------------------------------------------------------------------------------------- */

static void test_buffer(void **state)
{
    (void)state;
    struct vr_buf b;
    vr_buf_init(&b, 20);
    assert_true(vr_buf_add(&b, VR_STR("0123456789")));
    assert_true(vr_buf_add_byte(&b, 'a'));
    assert_true(vr_buf_add_u64(&b, 42));
    assert_true(vr_buf_addf(&b, "%s", "zz"));
    assert_text(vr_buf_str(&b), "0123456789a42zz");
    vr_buf_consume(&b, 10);
    assert_text(vr_buf_str(&b), "a42zz");
    assert_true(vr_buf_add(&b, VR_STR("fifteen letters"))); /* 20: the front was given back */
    assert_false(vr_buf_add(&b, VR_STR("!")));
    assert_true(b.too_big);
    assert_text(vr_buf_str(&b), "a42zzfifteen letters"); /* all or nothing */
    vr_buf_consume(&b, 20);
    assert_true(b.too_big); /* until reset: checked once, at the end */
    vr_buf_reset(&b);
    assert_false(b.too_big);
    assert_false(vr_buf_addf(&b, "%s", "more than twenty bytes of text"));
    assert_int_equal(vr_buf_size(&b), 0);
    vr_buf_reset(&b);
    assert_null(vr_buf_reserve(&b, 21));
    assert_null(vr_buf_reserve(&b, SIZE_MAX));
    vr_buf_reset(&b);
    char *p = vr_buf_reserve(&b, 20);
    assert_non_null(p);
    memcpy(p, "filled", 6);
    vr_buf_filled(&b, 6);
    assert_text(vr_buf_str(&b), "filled");
    vr_buf_release(&b);
    assert_int_equal(b.capacity, 0);
    assert_true(vr_buf_add(&b, VR_STR("again")));
    assert_text(vr_buf_str(&b), "again");
    vr_buf_fini(&b);
}

/* Long formatted text fills a buffer to its last byte, and may come from the buffer itself. */
static void test_buffer_format(void **state)
{
    (void)state;
    char text[301];
    memset(text, 'x', 300);
    text[300] = '\0';
    struct vr_buf b;
    vr_buf_init(&b, 300);
    assert_true(vr_buf_addf(&b, "%s", text));
    assert_text(vr_buf_str(&b), text);
    assert_false(vr_buf_addf(&b, "%s", "y"));
    assert_true(b.too_big);
    vr_buf_reset(&b);
    assert_false(vr_buf_addf(&b, "%sy", text));
    assert_int_equal(vr_buf_size(&b), 0);
    vr_buf_fini(&b);
    vr_buf_init(&b, 2000);
    assert_true(vr_buf_addf(&b, "%s", text));
    assert_true(vr_buf_addf(&b, "%.*s", VR_STR_ARG(vr_buf_str(&b))));
    assert_int_equal(vr_buf_size(&b), 600);
    assert_int_equal(vr_buf_str(&b).p[599], 'x');
    vr_buf_fini(&b);
}

/* Taken from the front and added at the end for long: memory stays near what is live. */
static void test_buffer_as_queue(void **state)
{
    (void)state;
    struct vr_buf b;
    unsigned in = 0, out = 0;
    vr_buf_init(&b, 4096);
    for (int turn = 0; turn < 20000; turn++) {
        unsigned add = (unsigned)(turn * 7 % 90), take = (unsigned)(turn * 11 % 90);
        for (unsigned i = 0; i < add && vr_buf_size(&b) < 4096; i++)
            assert_true(vr_buf_add_byte(&b, (char)(in++ & 0x7f)));
        if (take > vr_buf_size(&b))
            take = (unsigned)vr_buf_size(&b);
        for (unsigned i = 0; i < take; i++)
            assert_int_equal(vr_buf_str(&b).p[i], (char)(out++ & 0x7f));
        vr_buf_consume(&b, take);
        assert_true(b.capacity <= 16384);
    }
    vr_buf_fini(&b);
}

/* ---- codes ------------------------------------------------------------------------------------------------------------ */

static void test_base64(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *encoded; /* RFC 4648 §10 */
    } rows[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"},
                {"\xff\xfe\xfd", "//79"}};
    static const char *const bad[] = {"Z",     "Zg",    "Zg=", "Zg===", "Zh==", "Zm9=", "Zm9v\n",  " Zm9v",
                                      "Zm 9v", "Zm9v=", "=",   "====",  "Z===", "Zm-_", "Zg==Zg=="};
    struct vr_buf b;
    vr_buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        vr_buf_reset(&b);
        assert_true(vr_base64_encode(&b, vr_str_from(rows[i].plain)));
        assert_text(vr_buf_str(&b), rows[i].encoded);
        vr_buf_reset(&b);
        assert_int_equal(vr_base64_decode(&b, vr_str_from(rows[i].encoded)), VR_OK);
        assert_text(vr_buf_str(&b), rows[i].plain);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vr_buf_reset(&b);
        if (vr_base64_decode(&b, vr_str_from(bad[i])) != VR_ERR_SYNTAX)
            fail_msg("\"%s\" is decoded", bad[i]);
    }
    vr_buf_fini(&b);
    vr_buf_init(&b, 5);
    assert_int_equal(vr_base64_decode(&b, VR_STR("Zm9vYmFy")), VR_ERR_TOO_BIG);
    vr_buf_fini(&b);
}

static void test_crc32c(void **state)
{
    (void)state;
    unsigned char bytes[48];
    assert_int_equal(vr_crc32c(0, "123456789", 9), 0xe3069283u); /* RFC 3720 §B.4 and the usual check value */
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(vr_crc32c(0, bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(vr_crc32c(0, bytes, 32), 0x62a8ab43u);
    for (unsigned i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    assert_int_equal(vr_crc32c(0, bytes, 32), 0x46dd794eu);
    for (size_t cut = 0; cut <= 32; cut++) /* chained */
        assert_int_equal(vr_crc32c(vr_crc32c(0, bytes, cut), bytes + cut, 32 - cut), 0x46dd794eu);
    for (size_t shift = 1; shift < 16; shift++) { /* whatever the alignment */
        unsigned char moved[64];
        memcpy(moved + shift, bytes, 32);
        assert_int_equal(vr_crc32c(0, moved + shift, 32), 0x46dd794eu);
    }
}

/* The reference implementation's vectors for SipHash-2-4: key 00…0f, input 00, 01, … */
static void test_siphash(void **state)
{
    (void)state;
    uint8_t key[16], in[16];
    for (unsigned i = 0; i < 16; i++)
        key[i] = in[i] = (uint8_t)i;
    assert_true(vr_siphash(key, in, 0) == 0x726fdb47dd0e0e31ull);
    assert_true(vr_siphash(key, in, 1) == 0x74f839c593dc67fdull);
    assert_true(vr_siphash(key, in, 8) == 0x93f5f5799a932462ull);
    assert_true(vr_siphash(key, in, 15) == 0xa129ca6149be45e5ull);
}

static void test_names_of_errors(void **state)
{
    (void)state;
    assert_string_equal(vr_err_name(VR_OK), "ok");
    assert_string_equal(vr_err_name(VR_ERR_SYNTAX), "syntax");
    assert_non_null(vr_err_name((enum vr_err)99));
}

static void test_answers_are_found(void **state)
{
    (void)state;
    const struct dns_answer answers[] = {
        {.name = VR_STR("a.test"), .type = DNS_TYPE_A, .status = DNS_STATUS_FAILED},
        {.name = VR_STR("A.test."), .type = DNS_TYPE_TXT, .status = DNS_STATUS_NODATA},
        {.name = VR_STR(""), .type = DNS_TYPE_MX, .status = DNS_STATUS_OK},
    };
    assert_ptr_equal(dns_answer_find(answers, 3, VR_STR("a.TEST"), DNS_TYPE_TXT), &answers[1]);
    assert_ptr_equal(dns_answer_find(answers, 3, VR_STR("a.test."), DNS_TYPE_A), &answers[0]);
    assert_ptr_equal(dns_answer_find(answers, 3, VR_STR("."), DNS_TYPE_MX), &answers[2]);
    assert_null(dns_answer_find(answers, 3, VR_STR("a.test"), DNS_TYPE_MX));
    assert_null(dns_answer_find(answers, 3, VR_STR("aa.test"), DNS_TYPE_A));
    assert_null(dns_answer_find(NULL, 0, VR_STR("a.test"), DNS_TYPE_A));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_next),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_is_empty_until_used),
        cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_buffer_as_queue),
        cmocka_unit_test(test_buffer_format),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_siphash),
        cmocka_unit_test(test_names_of_errors),
        cmocka_unit_test(test_answers_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
