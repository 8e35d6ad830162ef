/* report.c - gzip, zip and mail: what is packed comes out; what is damaged, hostile or no report is refused. */
#include <veredus/report.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct vr_buf out;

static int setup(void **state)
{
    (void)state;
    vr_buf_init(&out, 1u << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vr_buf_fini(&out);
    return 0;
}

/* Made by Python's zipfile: a folder "f/", then "f/r.xml" with "<feedback/>"; deflated, and stored. */
static const uint8_t deflated[] = {
    0x50, 0x4b, 0x03, 0x04, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x21, 0x5c, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x66, 0x2f,
    0x50, 0x4b, 0x03, 0x04, 0x14, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x21, 0x5c, 0x84, 0xb7,
    0x0a, 0x3b, 0x0d, 0x00, 0x00, 0x00, 0x0b, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x66, 0x2f,
    0x72, 0x2e, 0x78, 0x6d, 0x6c, 0xb3, 0x49, 0x4b, 0x4d, 0x4d, 0x49, 0x4a, 0x4c, 0xce, 0xd6, 0xb7,
    0x03, 0x00, 0x50, 0x4b, 0x01, 0x02, 0x14, 0x03, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x21, 0x5c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x01, 0x00, 0x00, 0x00, 0x00,
    0x66, 0x2f, 0x50, 0x4b, 0x01, 0x02, 0x14, 0x03, 0x14, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00,
    0x21, 0x5c, 0x84, 0xb7, 0x0a, 0x3b, 0x0d, 0x00, 0x00, 0x00, 0x0b, 0x00, 0x00, 0x00, 0x07, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x01, 0x20, 0x00, 0x00, 0x00,
    0x66, 0x2f, 0x72, 0x2e, 0x78, 0x6d, 0x6c, 0x50, 0x4b, 0x05, 0x06, 0x00, 0x00, 0x00, 0x00, 0x02,
    0x00, 0x02, 0x00, 0x65, 0x00, 0x00, 0x00, 0x52, 0x00, 0x00, 0x00, 0x00, 0x00};
static const uint8_t stored[] = {
    0x50, 0x4b, 0x03, 0x04, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x21, 0x5c, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x66, 0x2f, 0x50, 0x4b,
    0x03, 0x04, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x21, 0x5c, 0x84, 0xb7, 0x0a, 0x3b, 0x0b,
    0x00, 0x00, 0x00, 0x0b, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x66, 0x2f, 0x72, 0x2e, 0x78, 0x6d,
    0x6c, 0x3c, 0x66, 0x65, 0x65, 0x64, 0x62, 0x61, 0x63, 0x6b, 0x2f, 0x3e, 0x50, 0x4b, 0x01, 0x02, 0x14,
    0x03, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x21, 0x5c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x80, 0x01, 0x00, 0x00, 0x00, 0x00, 0x66, 0x2f, 0x50, 0x4b, 0x01, 0x02, 0x14, 0x03, 0x14, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x21, 0x5c, 0x84, 0xb7, 0x0a, 0x3b, 0x0b, 0x00, 0x00, 0x00, 0x0b,
    0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x01,
    0x20, 0x00, 0x00, 0x00, 0x66, 0x2f, 0x72, 0x2e, 0x78, 0x6d, 0x6c, 0x50, 0x4b, 0x05, 0x06, 0x00, 0x00,
    0x00, 0x00, 0x02, 0x00, 0x02, 0x00, 0x65, 0x00, 0x00, 0x00, 0x50, 0x00, 0x00, 0x00, 0x00, 0x00};

static struct vr_str bytes(const uint8_t *p, size_t n)
{
    return vr_str((const char *)p, n);
}

static void test_gzip(void **state)
{
    (void)state;
    struct vr_buf packed;
    const char *why;
    vr_buf_init(&packed, 1u << 20);
    char *text = malloc(300000);
    for (size_t i = 0; i < 300000; i++)
        text[i] = (char)('a' + i * i % 23);
    assert_true(report_gzip(&packed, vr_str(text, 300000)));
    assert_true(vr_buf_size(&packed) < 30000);
    assert_int_equal(report_unpack(&out, vr_buf_str(&packed), &why), VR_OK);
    assert_true(vr_str_equal(vr_buf_str(&out), vr_str(text, 300000)));
    vr_buf_reset(&out);
    size_t one = vr_buf_size(&packed); /* two members, one after the other (RFC 1952 §2.2) */
    assert_true(report_gzip(&packed, VR_STR("behind")));
    assert_int_equal(report_unpack(&out, vr_buf_str(&packed), &why), VR_OK);
    assert_int_equal(vr_buf_size(&out), 300006);
    for (size_t cut = 2; cut < one; cut += 37) { /* cut anywhere: damaged */
        vr_buf_reset(&out);
        assert_int_equal(report_unpack(&out, vr_str_sub(vr_buf_str(&packed), 0, cut), &why), VR_ERR_SYNTAX);
        assert_non_null(why);
    }
    vr_buf_reset(&out);
    packed.p[packed.start + one - 6] ^= 1; /* the checksum */
    assert_int_equal(report_unpack(&out, vr_buf_str(&packed), &why), VR_ERR_SYNTAX);
    struct vr_buf small; /* more than there is room for */
    vr_buf_init(&small, 200000);
    assert_int_equal(report_unpack(&small, vr_buf_str(&packed), &why), VR_ERR_TOO_BIG);
    vr_buf_fini(&small);
    vr_buf_init(&small, 10);
    assert_false(report_gzip(&small, vr_str(text, 300000)));
    assert_int_equal(report_unpack(&small, VR_STR("more than ten octets"), &why), VR_ERR_TOO_BIG);
    vr_buf_fini(&small);
    free(text);
    vr_buf_fini(&packed);
}

static void check_zip(struct vr_str archive)
{
    const char *why;
    vr_buf_reset(&out);
    assert_int_equal(report_unpack(&out, archive, &why), VR_OK);
    assert_true(vr_str_equal(vr_buf_str(&out), VR_STR("<feedback/>")));
    char *copy = malloc(archive.n);
    for (size_t cut = 4; cut < archive.n; cut++) { /* its directory is at the end */
        memcpy(copy, archive.p, cut);
        char *exact = malloc(cut);
        memcpy(exact, archive.p, cut);
        vr_buf_reset(&out);
        assert_int_equal(report_unpack(&out, vr_str(exact, cut), &why), VR_ERR_SYNTAX);
        free(exact);
    }
    for (size_t at = 4; at < archive.n;
         at++) /* any octet may lie: nothing is read outside, and nothing else comes out */
        for (int value = 0; value < 256; value += 51) {
            memcpy(copy, archive.p, archive.n);
            copy[at] = (char)value;
            vr_buf_reset(&out);
            if (report_unpack(&out, vr_str(copy, archive.n), &why) == VR_OK)
                assert_true(vr_buf_size(&out) == 0 ||
                            vr_str_equal(vr_buf_str(&out), VR_STR("<feedback/>"))); /* empty: the folder */
            else
                assert_non_null(why);
        }
    free(copy);
}

static void test_zip(void **state)
{
    (void)state;
    check_zip(bytes(deflated, sizeof deflated));
    check_zip(bytes(stored, sizeof stored));
}

/* ---- what it came in -------------------------------------------------------------------------------------------------------- */

#define HEAD  "From: a@d.test\r\nMIME-Version: 1.0\r\n"
#define MIXED HEAD "Content-Type: multipart/mixed; boundary=b\r\n\r\n"

static void test_open(void **state)
{
    (void)state;
    static const struct {
        const char *file, *content; /* content NULL: the error is wanted */
        enum report_kind kind;
        enum vr_err e;
    } rows[] = {
        {"<?xml version=\"1.0\"?><feedback/>", "<?xml version=\"1.0\"?><feedback/>", REPORT_DMARC, VR_OK},
        {"\xef\xbb\xbf\n <feedback/>", "\xef\xbb\xbf\n <feedback/>", REPORT_DMARC, VR_OK},
        {"{\"a\":1}", "{\"a\":1}", REPORT_TLS, VR_OK},
        {"<a xmlns:b=\"c\">x</a>", "<a xmlns:b=\"c\">x</a>", REPORT_DMARC, VR_OK},
        {"", NULL, REPORT_TLS, VR_ERR_NOT_FOUND},
        {"hello", NULL, REPORT_TLS, VR_ERR_NOT_FOUND},
        {HEAD "\r\nhello", NULL, REPORT_TLS, VR_ERR_NOT_FOUND},
        {HEAD "Content-Type: text/xml\r\n\r\n<feedback/>", "<feedback/>", REPORT_DMARC, VR_OK},
        {HEAD "Content-Type: application/tlsrpt+json\r\nContent-Transfer-Encoding: base64\r\n\r\ne30=\r\n",
         "{}", REPORT_TLS, VR_OK},
        {MIXED "--b\r\n\r\n<no report>\r\n--b\r\nContent-Type: "
               "application/octet-stream\r\n\r\n<feedback/>\r\n--b--\r\n",
         "<feedback/>", REPORT_DMARC, VR_OK},
        {MIXED "--b\r\n\r\nwords\r\n--b\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: "
               "base64\r\n\r\nH4sI\r\n--b--\r\n",
         NULL, REPORT_TLS, VR_ERR_SYNTAX},
        {"From x Mon Jan 1\nFrom: a@d.test\nContent-Type: text/xml\n\n<feedback>\n</feedback>\n",
         "<feedback>\r\n</feedback>\r\n", REPORT_DMARC, VR_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum report_kind kind;
        const char *why = NULL;
        vr_buf_reset(&out);
        enum vr_err e = report_extract(&out, vr_str_from(rows[i].file), &kind, &why);
        if (e != rows[i].e || (e != VR_OK && why == NULL) ||
            (e == VR_OK &&
             (kind != rows[i].kind || !vr_str_equal(vr_buf_str(&out), vr_str_from(rows[i].content)))))
            fail_msg("row %zu: %s (%s) %.*s", i, vr_err_name(e), why != NULL ? why : "-",
                     VR_STR_ARG(vr_buf_str(&out)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gzip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open, setup, teardown),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
