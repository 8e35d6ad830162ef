/* proxy.c - headers of the PROXY protocol: good ones, wrong ones, each in all pieces, and those that we write. */
#include "lib_testing.h"

#include <veredus/proxy.h>

#define SIG "\r\n\r\n\0\r\nQUIT\n"
#define V4  "\xc0\0\2\7\xc6\x33\x64\x09\xdc\x04\0\x19" /* 192.0.2.7:56324 → 198.51.100.9:25 */
#define V6  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\xdc\x04\1\xd1"
#define Z12 "\0\0\0\0\0\0\0\0\0\0\0\0"
#define Z96 Z12 Z12 Z12 Z12 Z12 Z12 Z12 Z12
#define LONG                                                                                                 \
    "123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012" \
    "34567890"

/* All that a header says, as one line. */
static void describe(struct vr_buf *out, const struct proxy_header *h)
{
    const struct proxy_end *ends[] = {&h->source, &h->destination};
    vr_buf_addf(out, "v%u%s %d", h->version, h->local ? " local" : "", (int)h->family);
    for (size_t i = 0; i < 2 && h->family != PROXY_UNKNOWN; i++) {
        vr_buf_add_byte(out, ' ');
        for (size_t k = 0; k < (h->family == PROXY_INET ? 4 : h->family == PROXY_INET6 ? 16 : 0); k++)
            vr_buf_addf(out, "%02x", ends[i]->ip[k]);
        if (h->family == PROXY_UNIX)
            vr_buf_add(out, ends[i]->path);
        else
            vr_buf_addf(out, ":%u", ends[i]->port);
    }
    const struct {
        const char *name;
        struct vr_str value;
    } texts[] = {{"sni", h->authority},       {"alpn", h->alpn},         {"id", h->unique_id},
                 {"version", h->tls_version}, {"cipher", h->tls_cipher}, {"cn", h->tls_common_name}};
    vr_buf_addf(out, "%s%s%s", h->checksummed ? " crc" : "", h->tls ? " tls" : "",
                h->tls_verified ? " verified" : "");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].value.n > 0)
            vr_buf_addf(out, " %s=%.*s", texts[i].name, VR_STR_ARG(texts[i].value));
}

static const struct good_row {
    struct vr_str bytes;
    const char *says;
} goods[] = {
    {VR_STR_INIT("PROXY TCP4 192.0.2.7 198.51.100.9 56324 25\r\n"), "v1 4 c0000207:56324 c6336409:25"},
    {VR_STR_INIT("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
     "v1 4 ffffffff:65535 ffffffff:65535"},
    {VR_STR_INIT("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "v1 4 00000000:0 00000000:0"},
    {VR_STR_INIT("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 56324 465\r\n"),
     "v1 6 20010db8000000000000000000000001:56324 20010db8000000000000000000000002:465"},
    {VR_STR_INIT("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                 "65535 65535\r\n"),
     "v1 6 ffffffffffffffffffffffffffffffff:65535 ffffffffffffffffffffffffffffffff:65535"},
    {VR_STR_INIT("PROXY TCP6 ::ffff:192.0.2.7 1:2:3:4:5:6:7:: 1 2\r\n"),
     "v1 6 00000000000000000000ffffc0000207:1 00010002000300040005000600070000:2"},
    {VR_STR_INIT("PROXY UNKNOWN\r\n"), "v1 0"},
    {VR_STR_INIT("PROXY UNKNOWN ffff::ffff what ever it is\r\n"), "v1 0"},
    {VR_STR_INIT("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     "v1 0"}, /* 107 octets */
    {VR_STR_INIT(SIG "\x21\x11\0\x0c" V4), "v2 4 c0000207:56324 c6336409:25"},
    {VR_STR_INIT(SIG "\x21\x21\0\x24" V6),
     "v2 6 20010db8000000000000000000000001:56324 20010db8000000000000000000000002:465"},
    {VR_STR_INIT(SIG "\x21\x31\0\xd8/run/a" Z96 "\0\0\0\0\0\0/run/b" Z96 "\0\0\0\0\0\0"),
     "v2 1 /run/a /run/b"},
    {VR_STR_INIT(SIG "\x20\0\0\0"), "v2 local 0"},
    {VR_STR_INIT(SIG "\x20\x11\0\x0c" V4), "v2 local 0"},
    {VR_STR_INIT(SIG "\x20\xff\0\3abc"), "v2 local 0"},                /* nothing of it counts */
    {VR_STR_INIT(SIG "\x20\x11\0\x13" V4 "\3\0\4abcd"), "v2 local 0"}, /* nor a checksum */
    {VR_STR_INIT(SIG "\x21\0\0\0"), "v2 0"},
    {VR_STR_INIT(SIG "\x21\0\0\5hello"), "v2 0"},
    {VR_STR_INIT(SIG "\x21\x01\0\5hello"), "v2 0"},
    {VR_STR_INIT(SIG "\x21\x10\0\x0c" V4), "v2 0"}, /* a transport that the proxy does not say */
    {VR_STR_INIT(SIG "\x21\x11\0\x20" V4 "\2\0\x0amx.d.test.\3\0\4\xd0\xa4\xd3\xf4"),
     "v2 4 c0000207:56324 c6336409:25 crc sni=mx.d.test."},
    {VR_STR_INIT(SIG "\x21\x11\0\x1a" V4 "\1\0\4smtp\5\0\4\0ab\7"), NULL},
    {VR_STR_INIT(SIG "\x21\x11\0\x17" V4 "\4\0\0\x30\0\2ns\xee\0\0"),
     NULL}, /* padding, a name space, and what is not known */
    {VR_STR_INIT(SIG "\x21\x11\0\x2c" V4 "\x20\0\x1d\7\0\0\0\0\x21\0\7TLSv1.3\x22\0\3ann\x23\0\2xy\x24\0\0"),
     "v2 4 c0000207:56324 c6336409:25 tls verified version=TLSv1.3 cipher=xy cn=ann"},
    {VR_STR_INIT(SIG "\x21\x11\0\x14" V4 "\x20\0\5\3\0\0\0\1"),
     "v2 4 c0000207:56324 c6336409:25 tls"}, /* a wrong certificate */
    {VR_STR_INIT(SIG "\x21\x11\0\x14" V4 "\x20\0\5\1\0\0\0\0"),
     "v2 4 c0000207:56324 c6336409:25 tls"}, /* none */
    {VR_STR_INIT(SIG "\x21\x11\0\x14" V4 "\x20\0\5\6\0\0\0\0"),
     "v2 4 c0000207:56324 c6336409:25"}, /* not under TLS */
};
#define GOODS (sizeof goods / sizeof *goods)

static const char behind[] = "\x16\x03\x01\x02EHLO client\r\n";

/* Feeds the pieces between the cuts; the first PROXY_DONE or PROXY_BAD ends it. *fed: bytes taken. */
static enum proxy_status feed_pieces(struct proxy_reader *r, struct vr_str all, const size_t *cuts,
                                     size_t count, size_t *fed, struct proxy_header *h)
{
    enum proxy_status status = PROXY_MORE;
    size_t from = 0;
    *fed = 0;
    for (size_t i = 0; i <= count && status == PROXY_MORE; i++) {
        size_t to = i < count ? cuts[i] : all.n, taken = 99;
        char *copy = malloc(to - from + 1); /* so that reading behind a piece is seen */
        memcpy(copy, all.p + from, to - from);
        status = proxy_reader_feed(r, vr_str(copy, to - from), &taken, h);
        assert_true(taken <= to - from && (status != PROXY_MORE || taken == to - from));
        *fed += taken;
        from = to;
        free(copy);
    }
    return status;
}

static void good_in_all_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOODS; i++) {
        struct vr_buf all, first;
        struct vr_str bytes = goods[i].bytes;
        vr_buf_init(&all, 4096);
        vr_buf_init(&first, 4096);
        vr_buf_add(&all, bytes);
        vr_buf_add(&all, vr_str(behind, sizeof behind - 1));
        for (size_t cut = 0; cut <= vr_buf_size(&all) + 1; cut++) { /* at each byte; then a byte at a time */
            struct proxy_reader r;
            struct proxy_header h;
            struct vr_buf says;
            size_t fed, every[600], count = 1;
            vr_buf_init(&says, 4096);
            every[0] = cut;
            for (size_t k = 0; cut == vr_buf_size(&all) + 1 && k < vr_buf_size(&all); k++)
                count = k + 1, every[k] = k;
            proxy_reader_init(&r, 0);
            if (feed_pieces(&r, vr_buf_str(&all), every, count, &fed, &h) != PROXY_DONE)
                fail_msg("row %zu, cut at %zu: %s", i, cut, proxy_reader_why(&r));
            assert_int_equal(fed, bytes.n);
            assert_string_equal(proxy_reader_why(&r), "");
            describe(&says, &h);
            if (cut == 0)
                vr_buf_add(&first, vr_buf_str(&says));
            assert_true(vr_str_equal(vr_buf_str(&says), vr_buf_str(&first)));
            if (goods[i].says != NULL)
                assert_text(vr_buf_str(&says), goods[i].says);
            vr_buf_fini(&says);
            proxy_reader_fini(&r);
        }
        vr_buf_fini(&first);
        vr_buf_fini(&all);
    }
}

static void truncated(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOODS; i++)
        for (size_t n = 0; n < goods[i].bytes.n; n++) {
            struct proxy_reader r;
            struct proxy_header h;
            size_t taken;
            proxy_reader_init(&r, 0);
            assert_int_equal(proxy_reader_feed(&r, vr_str_sub(goods[i].bytes, 0, n), &taken, &h), PROXY_MORE);
            assert_int_equal(taken, n);
            proxy_reader_fini(&r);
        }
}

/* What strings cannot show. */
static void binary_values(void **state)
{
    (void)state;
    struct proxy_reader r;
    struct proxy_header h;
    size_t taken;
    char path[PROXY_UNIX_PATH + 1] = {0};
    memset(path, 'p', PROXY_UNIX_PATH);
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    vr_buf_add(&b, VR_STR(SIG "\x21\x31\0\xd8"));
    vr_buf_add(&b, vr_str(path, PROXY_UNIX_PATH));
    vr_buf_add(&b, vr_str(path, PROXY_UNIX_PATH));
    proxy_reader_init(&r, 0);
    assert_int_equal(proxy_reader_feed(&r, vr_buf_str(&b), &taken, &h), PROXY_DONE);
    assert_text(h.source.path, path); /* all 108, and no byte of the other */
    assert_text(h.destination.path, path);
    /* settled: the same again, and nothing is taken */
    assert_int_equal(proxy_reader_feed(&r, VR_STR("EHLO"), &taken, &h), PROXY_DONE);
    assert_int_equal(taken, 0);
    proxy_reader_fini(&r);
    vr_buf_fini(&b);
    proxy_reader_init(&r, 0);
    assert_int_equal(
        proxy_reader_feed(&r, VR_STR(SIG "\x21\x11\0\x1a" V4 "\1\0\4smtp\5\0\4\0ab\7"), &taken, &h),
        PROXY_DONE);
    assert_text(h.alpn, "smtp");
    assert_true(vr_str_equal(h.unique_id, VR_STR("\0ab\7")));
    proxy_reader_fini(&r);
}

static const struct bad_row {
    struct vr_str bytes;
    size_t at; /* the byte at which it is refused, from 1; 0: at its last one */
    const char *why;
} bads[] = {
    {VR_STR_INIT("EHLO client.test\r\n"), 1, "does not begin"},
    {VR_STR_INIT("\x16\x03\x01\x02\x00"), 1, "does not begin"},
    {VR_STR_INIT("\r\n\r\n\r\n"), 5, "does not begin"},
    {VR_STR_INIT("\r\n\r\n\0\r\nQUIT\r\n"), 12, "does not begin"},
    {VR_STR_INIT("proxy TCP4 192.0.2.7 198.51.100.9 1 2\r\n"), 1, "does not begin"},
    {VR_STR_INIT("PROXY\r\n"), 6, "does not begin"},
    {VR_STR_INIT("PROXY \r\n"), 0, "none of"},
    {VR_STR_INIT("PROXY  TCP4 192.0.2.7 198.51.100.9 1 2\r\n"), 0, "none of"},
    {VR_STR_INIT("PROXY tcp4 192.0.2.7 198.51.100.9 1 2\r\n"), 0, "none of"},
    {VR_STR_INIT("PROXY UNKNOWNX\r\n"), 0, "none of"},
    {VR_STR_INIT("PROXY UDP4 192.0.2.7 198.51.100.9 1 2\r\n"), 0, "none of"},
    {VR_STR_INIT("PROXY TCP4\r\n"), 0, "none of"},
    {VR_STR_INIT("PROXY TCP4 \r\n"), 0, "two addresses"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.7 198.51.100.9 1\r\n"), 0, "two addresses"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.7 198.51.100.9 1 2 3\r\n"), 0, "a port"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.7 198.51.100.9 1 2 \r\n"), 0, "a port"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.7  198.51.100.9 1 2\r\n"), 0, "an address"},
    {VR_STR_INIT("PROXY TCP4 192.0.2 198.51.100.9 1 2\r\n"), 0, "an address"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.256 198.51.100.9 1 2\r\n"), 0, "an address"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.010 198.51.100.9 1 2\r\n"), 0, "an address"},
    {VR_STR_INIT("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n"), 0, "an address"},
    {VR_STR_INIT("PROXY TCP6 192.0.2.7 198.51.100.9 1 2\r\n"), 0, "an address"},
    {VR_STR_INIT("PROXY TCP6 2001:db8::1%eth0 2001:db8::2 1 2\r\n"), 0, "an address"},
    {VR_STR_INIT("PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n"), 0, "an address"},
    {VR_STR_INIT("PROXY TCP6 1:2:3:4:5:6:7:8:: ::1 1 2\r\n"), 0, "an address"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.7 198.51.100.9 65536 2\r\n"), 0, "a port"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.7 198.51.100.9 1 -2\r\n"), 0, "a port"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.7 198.51.100.9 01 2\r\n"), 0, "a port"},
    {VR_STR_INIT("PROXY TCP4 192.0.2.7 198.51.100.9 1 000002\r\n"), 0, "a port"},
    {VR_STR_INIT("PROXY UNKNOWN\n"), 0, "not text"},
    {VR_STR_INIT("PROXY UNKNOWN\rX"), 0, "not text"},
    {VR_STR_INIT("PROXY UNKNOWN\r\r\n"), 15, "not text"},
    {VR_STR_INIT("PROXY UNKNOWN \0\r\n"), 15, "not text"},
    {VR_STR_INIT("PROXY UNKNOWN \xc3\xa4\r\n"), 15, "not text"},
    {VR_STR_INIT("PROXY UNKNOWN" LONG), 107, "107"},
    {VR_STR_INIT(SIG "\x11\x11\0\x0c" V4), 13, "version"},
    {VR_STR_INIT(SIG "\x31\x11\0\x0c" V4), 13, "version"},
    {VR_STR_INIT(SIG "\x22\x11\0\x0c" V4), 13, "LOCAL nor PROXY"},
    {VR_STR_INIT(SIG "\x21\x41\0\x0c" V4), 14, "family"},
    {VR_STR_INIT(SIG "\x21\xf1\0\x0c" V4), 14, "family"},
    {VR_STR_INIT(SIG "\x21\x12\0\x0c" V4), 14, "stream"},
    {VR_STR_INIT(SIG "\x21\x22\0\x24" V6), 14, "stream"},
    {VR_STR_INIT(SIG "\x21\x13\0\x0c" V4), 14, "stream"},
    {VR_STR_INIT(SIG "\x21\x11\0\x0b" V4), 16, "too short"},
    {VR_STR_INIT(SIG "\x21\x21\0\x0c" V4), 16, "too short"},
    {VR_STR_INIT(SIG "\x21\x31\0\xd7" V4), 16, "too short"},
    {VR_STR_INIT(SIG "\x21\x11\x10\1" V4), 16, "larger"},
    {VR_STR_INIT(SIG "\x20\0\xff\xff" V4), 16, "larger"},
    {VR_STR_INIT(SIG "\x21\x11\0\x0d" V4 "\4"), 0, "TLV is longer"},
    {VR_STR_INIT(SIG "\x21\x11\0\x0e" V4 "\4\0"), 0, "TLV is longer"},
    {VR_STR_INIT(SIG "\x21\x11\0\x0f" V4 "\4\0\1"), 0, "TLV is longer"},
    {VR_STR_INIT(SIG "\x21\x11\0\x10" V4 "\4\xff\xff\0"), 0, "TLV is longer"},
    {VR_STR_INIT(SIG "\x21\x11\0\x20" V4 "\2\0\x0amx.d.test.\3\0\4\xd0\xa4\xd3\xf5"), 0, "checksum is wrong"},
    {VR_STR_INIT(SIG "\x21\x11\0\x20" V4 "\2\0\x0amx.e.test.\3\0\4\xd0\xa4\xd3\xf4"), 0, "checksum is wrong"},
    {VR_STR_INIT(SIG "\x21\x11\0\x1a" V4 "\3\0\4\x02\xfa\x02\xde"
                     "\3\0\4"
                     "abcd"),
     0, "two checksums"},
    {VR_STR_INIT(SIG "\x21\x11\0\x12" V4 "\3\0\3abc"), 0, "four bytes"},
    {VR_STR_INIT(SIG "\x21\x11\0\x13" V4 "\x20\0\4\1\0\0\0"), 0, "too short"},
    {VR_STR_INIT(SIG "\x21\x11\0\x16" V4 "\x20\0\7\1\0\0\0\0\x21\0"), 0, "TLV is longer"},
    {VR_STR_INIT(SIG "\x21\x11\0\x17" V4 "\x20\0\x08\1\0\0\0\0\x21\0\1"), 0, "TLV is longer"},
    {VR_STR_INIT(SIG "\x21\x11\0\x90" V4 "\5\0\x81" Z96 Z12 Z12 "\0\0\0\0\0\0\0\0\0"), 0, "128"},
};

static void wrong_at_its_first_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        struct vr_str bytes = bads[i].bytes;
        size_t at = bads[i].at > 0 ? bads[i].at : bytes.n, taken;
        struct proxy_header h;
        struct proxy_reader whole, apart;
        proxy_reader_init(&whole, 0);
        proxy_reader_init(&apart, 0);
        if (proxy_reader_feed(&whole, bytes, &taken, &h) != PROXY_BAD)
            fail_msg("row %zu is taken", i);
        if (taken != at || !has(vr_str_from(proxy_reader_why(&whole)), bads[i].why))
            fail_msg("row %zu: refused at %zu: %s", i, taken, proxy_reader_why(&whole));
        for (size_t k = 0; k < at; k++) {
            enum proxy_status status = proxy_reader_feed(&apart, vr_str_sub(bytes, k, 1), &taken, &h);
            if (status != (k + 1 == at ? PROXY_BAD : PROXY_MORE))
                fail_msg("row %zu, byte %zu: %d", i, k + 1, (int)status);
        }
        assert_string_equal(proxy_reader_why(&apart), proxy_reader_why(&whole));
        assert_int_equal(proxy_reader_feed(&apart, VR_STR("more"), &taken, &h), PROXY_BAD);
        assert_int_equal(taken, 0);
        proxy_reader_fini(&whole);
        proxy_reader_fini(&apart);
    }
}

/* The owner's limit holds, and what is below it is taken. */
static void limit(void **state)
{
    (void)state;
    static char zeros[5000];
    for (unsigned size = 19; size <= 22; size++) {
        struct vr_buf b;
        struct proxy_reader r;
        struct proxy_header h;
        size_t taken;
        vr_buf_init(&b, 6000);
        vr_buf_add(&b, VR_STR(SIG "\x21\x11\0"));
        vr_buf_add_byte(&b, (char)size);
        vr_buf_add(&b, VR_STR(V4 "\4\0"));
        vr_buf_add_byte(&b, (char)(size - 15));
        vr_buf_add(&b, vr_str(zeros, size - 15));
        proxy_reader_init(&r, 20);
        assert_int_equal(proxy_reader_feed(&r, vr_buf_str(&b), &taken, &h),
                         size <= 20 ? PROXY_DONE : PROXY_BAD);
        proxy_reader_fini(&r);
        vr_buf_fini(&b);
    }
    /* the default, to the byte */
    struct vr_buf b;
    struct proxy_reader r;
    struct proxy_header h;
    size_t taken;
    vr_buf_init(&b, 6000);
    vr_buf_add(&b, VR_STR(SIG "\x21\x11\x10\0" V4 "\4\x0f\xf1"));
    vr_buf_add(&b, vr_str(zeros, 0xff1));
    proxy_reader_init(&r, 0);
    assert_int_equal(proxy_reader_feed(&r, vr_buf_str(&b), &taken, &h), PROXY_DONE);
    assert_int_equal(taken, PROXY_V2_FIXED + PROXY_V2_MAX);
    proxy_reader_fini(&r);
    vr_buf_fini(&b);
}

/* ---- what we write ---------------------------------------------------------------------------------------------- */

static void written_is_read(void **state)
{
    (void)state;
    static const struct proxy_header rows[] = {
        {.version = 1,
         .family = PROXY_INET,
         .source = {.ip = {192, 0, 2, 7}, .port = 56324},
         .destination = {.port = 25}},
        {.version = 1,
         .family = PROXY_INET6,
         .source = {.ip = {0x20, 1, [15] = 9}, .port = 65535},
         .destination = {.ip = {0xff, 0xff}}},
        {.version = 1},
        {.version = 2,
         .family = PROXY_INET,
         .source = {.ip = {192, 0, 2, 7}, .port = 56324},
         .destination = {.port = 25}},
        {.version = 2,
         .family = PROXY_INET,
         .source = {.ip = {192, 0, 2, 7}},
         .checksummed = true,
         .authority = VR_STR_INIT("mx.test"),
         .alpn = VR_STR_INIT("smtp"),
         .unique_id = VR_STR_INIT("\0\1\2")},
        {.version = 2,
         .family = PROXY_INET6,
         .source = {.ip = {0x20, 1, [15] = 9}, .port = 1},
         .checksummed = true},
        {.version = 2,
         .family = PROXY_UNIX,
         .source = {.path = VR_STR_INIT("/a")},
         .destination = {.path = VR_STR_INIT("")}},
        {.version = 2, .local = true},
        {.version = 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_buf b, wanted, got;
        struct proxy_reader r;
        struct proxy_header h;
        size_t taken;
        vr_buf_init(&b, 4096);
        vr_buf_init(&wanted, 4096);
        vr_buf_init(&got, 4096);
        vr_buf_add(&b, VR_STR("before")); /* appended, not overwritten, and no part of the checksum */
        assert_int_equal(proxy_write(&b, &rows[i]), VR_OK);
        struct vr_str bytes = vr_str_from_pos(vr_buf_str(&b), 6);
        proxy_reader_init(&r, 0);
        if (proxy_reader_feed(&r, bytes, &taken, &h) != PROXY_DONE || taken != bytes.n)
            fail_msg("row %zu: %s", i, proxy_reader_why(&r));
        describe(&wanted, &rows[i]);
        describe(&got, &h);
        assert_true(vr_str_equal(vr_buf_str(&wanted), vr_buf_str(&got)));
        proxy_reader_fini(&r);
        vr_buf_fini(&b);
        vr_buf_fini(&wanted);
        vr_buf_fini(&got);
    }
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    assert_int_equal(proxy_write(&b, &rows[0]), VR_OK);
    assert_text(vr_buf_str(&b), "PROXY TCP4 192.0.2.7 0.0.0.0 56324 25\r\n");
    vr_buf_fini(&b);
}

static void not_written(void **state)
{
    (void)state;
    static char large[70000];
    struct vr_buf b, small;
    vr_buf_init(&b, 100000);
    vr_buf_init(&small, 14);
    assert_int_equal(proxy_write(&b, &(struct proxy_header){.version = 1, .local = true}),
                     VR_ERR_UNSUPPORTED);
    assert_int_equal(proxy_write(&b, &(struct proxy_header){.version = 1, .family = PROXY_UNIX}),
                     VR_ERR_UNSUPPORTED);
    assert_int_equal(proxy_write(&b, &(struct proxy_header){.version = 2,
                                                            .family = PROXY_UNIX,
                                                            .source.path = vr_str(large, 109)}),
                     VR_ERR_TOO_BIG);
    assert_int_equal(proxy_write(&b, &(struct proxy_header){.version = 2, .unique_id = vr_str(large, 129)}),
                     VR_ERR_TOO_BIG);
    assert_int_equal(proxy_write(&b, &(struct proxy_header){.version = 2, .authority = vr_str(large, 65533)}),
                     VR_ERR_TOO_BIG);
    assert_int_equal(vr_buf_size(&b), 0);
    assert_int_equal(proxy_write(&small, &(struct proxy_header){.version = 1}), VR_ERR_TOO_BIG);
    vr_buf_reset(&small);
    assert_int_equal(proxy_write(&small, &(struct proxy_header){.version = 2, .checksummed = true}),
                     VR_ERR_TOO_BIG);
    vr_buf_fini(&b);
    vr_buf_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_in_all_pieces),
        cmocka_unit_test(truncated),
        cmocka_unit_test(binary_values),
        cmocka_unit_test(wrong_at_its_first_byte),
        cmocka_unit_test(limit),
        cmocka_unit_test(written_is_read),
        cmocka_unit_test(not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
