/* io_address.c - tests of addresses and networks in src/io/stream.h. */
#include "io_testing.h"

#include "io/stream.h"

static void addresses_parse_and_write(void **state)
{
    static const struct {
        const char *text;
        uint16_t default_port;
        const char *out, *ip;
        enum io_family family;
    } rows[] = {
        {"127.0.0.1:25", 0, "127.0.0.1:25", "127.0.0.1", IO_INET},
        {"192.0.2.7", 587, "192.0.2.7:587", "192.0.2.7", IO_INET},
        {"[::1]:25", 0, "[::1]:25", "::1", IO_INET6},
        {"[2001:db8::7]", 465, "[2001:db8::7]:465", "2001:db8::7", IO_INET6},
        {"2001:db8:0::7", 25, "[2001:db8::7]:25", "2001:db8::7", IO_INET6},
        {":25", 0, "[::]:25", "::", IO_INET6},
        {"*:2525", 0, "[::]:2525", "::", IO_INET6},
        {"*", 25, "[::]:25", "::", IO_INET6},
        {"[::ffff:10.1.2.3]:25", 0, "10.1.2.3:25", "10.1.2.3", IO_INET6},
        {"127.0.0.1:0", 0, "127.0.0.1:0", "127.0.0.1", IO_INET},
        {"unix:/run/veredus/submit", 0, "unix:/run/veredus/submit", "unix", IO_UNIX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct io_address a;
        char text[IO_ADDRESS_TEXT];
        assert_true(io_address_parse(vr_str_from(rows[i].text), rows[i].default_port, &a));
        assert_int_equal(a.family, rows[i].family);
        io_address_text(&a, text);
        assert_string_equal(text, rows[i].out);
        io_address_ip_text(&a, text);
        assert_string_equal(text, rows[i].ip);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const rows[] = {"",
                                       "localhost:25",
                                       "127.0.0.1",
                                       "::1",
                                       "[::1]",
                                       "[::1]25",
                                       "[::1:25",
                                       "[127.0.0.1]:25",
                                       "1.2.3.4:65536",
                                       "1.2.3.4:",
                                       "1.2.3.4:+25",
                                       "1.2.3.4: 25",
                                       "1.2.3:25",
                                       "256.1.1.1:25",
                                       "unix:",
                                       "fe80::1%nonesuch0",
                                       "*",
                                       " 1.2.3.4:25"};
    struct io_address a;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_false(io_address_parse(vr_str_from(rows[i]), 0, &a));
    assert_false(io_address_parse(vr_str("1.2.3.4\0x:25", 12), 0, &a));
    char path[200];
    memset(path, 'p', sizeof path);
    memcpy(path, "unix:", 5);
    assert_false(io_address_parse(vr_str(path, 5 + 108), 0, &a)); /* no room for the NUL */
    assert_true(io_address_parse(vr_str(path, 5 + 107), 0, &a));
}

static void networks_contain(void **state)
{
    static const struct {
        const char *network, *address;
        bool inside;
    } rows[] = {
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.200", true},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "8.8.8.8", false},
        {"fd00::/8", "fd12::1", true},
        {"fd00::/8", "fe80::1", false},
        {"::1", "::1", true},
        {"2001:db8:8000::/33", "2001:db8:7fff::1", false},
        {"10.0.0.0/8", "::ffff:10.1.1.1", true},
        {"::ffff:10.0.0.0/104", "10.9.9.9", true},
        {"[2001:db8::]/32", "2001:db8::5", true},
        {"::/0", "::ffff:10.1.1.1", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct io_network n;
        struct io_address a;
        assert_true(io_network_parse(vr_str_from(rows[i].network), &n));
        assert_true(io_address_parse(vr_str_from(rows[i].address), 25, &a));
        assert_int_equal(io_network_contains(&n, &a), rows[i].inside);
    }
    struct io_network n;
    struct io_address a = {.family = IO_UNIX};
    assert_true(io_network_parse(VR_STR("0.0.0.0/0"), &n));
    assert_false(io_network_contains(&n, &a));
    static const char *const wrong[] = {"",         "10.0.0.0/33", "10.0.0.0/", "::/129", "example.org",
                                        "10.0.0/8", "10.0.0.0/-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(io_network_parse(vr_str_from(wrong[i]), &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_parse_and_write),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(networks_contain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
