/* web_request.c - tests of the heads of HTTP requests: src/web/request.h. */
#include "web/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOOD "GET /.well-known/mta-sts.txt HTTP/1.1\r\n"

static void heads(void **state)
{
    static const struct {
        const char *head;
        unsigned status;
        const char *path, *host;
        bool is_head;
    } rows[] = {
        {GOOD "Host: mta-sts.a.test\r\n\r\n", 0, "/.well-known/mta-sts.txt", "mta-sts.a.test", false},
        {GOOD "User-Agent: x\r\nhOST:\t mta-sts.a.test:443 \r\nAccept: */*\r\n\r\n", 0,
         "/.well-known/mta-sts.txt", "mta-sts.a.test", false},
        {GOOD "Host: a.test:\r\n\r\n", 0, "/.well-known/mta-sts.txt", "a.test", false},
        {GOOD "Host:\r\n\r\n", 0, "/.well-known/mta-sts.txt", "", false},
        {GOOD "Host: a.test\r\nX-Empty:\r\n\r\n", 0, "/.well-known/mta-sts.txt", "a.test", false},
        {"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n", 0, "/", "a.test", true},
        {"GET /x?y#z HTTP/1.0\r\n\r\n", 0, "/x?y#z", "", false},
        {"GET https://b.test/p HTTP/1.1\r\nHost: a.test\r\n\r\n", 0, "/p", "b.test", false},
        {"GET HTTP://b.test:80/p HTTP/1.1\r\nHost: a.test\r\n\r\n", 0, "/p", "b.test", false},
        /* the wrong method, the wrong version */
        {"POST / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405, NULL, NULL, false},
        {"get / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405, NULL, NULL, false},
        {"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 505, NULL, NULL, false},
        {"GET / HTTP/0.9\r\n\r\n", 505, NULL, NULL, false},
        /* no request at all */
        {"\r\n\r\n", 400, NULL, NULL, false},
        {"GET /\r\n\r\n", 400, NULL, NULL, false},
        {"GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        {"GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        {"GET / http/1.1\r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        {"G(T / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        {"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        {"GET a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        {"GET https:///p HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        {"GET ftp://a.test/p HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        /* hosts: none, two, none that could be one */
        {GOOD "\r\n", 400, NULL, NULL, false},
        {GOOD "Host: a.test\r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "Host: a.test b.test\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "Host: a.test/x\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "Host: u@a.test\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "Host: a.test:99999\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "Host: a.test:x\r\n\r\n", 400, NULL, NULL, false},
        /* what others might read in another way */
        {GOOD "Host : a.test\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "Host: a.test\r\n folded\r\n\r\n", 400, NULL, NULL, false},
        {GOOD " Host: a.test\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "Host: a.test\nX: y\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "Host: a.test\rX: y\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "no colon\r\nHost: a.test\r\n\r\n", 400, NULL, NULL, false},
        {GOOD "Host: a.test\r\nX: \x7f\r\n\r\n", 400, NULL, NULL, false},
        {"GET /\tx HTTP/1.1\r\nHost: a.test\r\n\r\n", 0, "/\tx", "a.test", false}, /* no path of ours: 404 */
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str head = vr_str_from(rows[i].head);
        struct web_request r;
        assert_int_equal(web_head_end(head, 0), head.n);
        web_request_parse(head, &r);
        if (r.status != rows[i].status)
            fail_msg("row %zu: %u", i, r.status);
        if (r.status != 0)
            continue;
        if (!vr_str_equal(r.path, vr_str_from(rows[i].path)) ||
            !vr_str_equal(r.host, vr_str_from(rows[i].host)) || r.head != rows[i].is_head)
            fail_msg("row %zu: \"%.*s\" at \"%.*s\"", i, VR_STR_ARG(r.path), VR_STR_ARG(r.host));
    }
}

static void a_zero_octet_is_refused(void **state)
{
    static const char head[] = GOOD "Host: a.test\0.b.test\r\n\r\n";
    struct web_request r;
    (void)state;
    web_request_parse(vr_str(head, sizeof head - 1), &r);
    assert_int_equal(r.status, 400);
}

static void the_end_is_found_in_any_pieces(void **state)
{
    static const char text[] = GOOD "Host: a.test\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    const size_t end = sizeof GOOD - 1 + strlen("Host: a.test\r\n\r\n");
    (void)state;
    for (size_t step = 1; step < 8; step++) {
        size_t searched = 0, found = VR_NPOS, n = 0;
        while (found == VR_NPOS) {
            n = n + step < sizeof text - 1 ? n + step : sizeof text - 1;
            found = web_head_end(vr_str(text, n), searched);
            assert_true(found != VR_NPOS || n < end);
            searched = n;
        }
        assert_int_equal(found, end);
    }
    assert_int_equal(web_head_end(VR_STR(""), 0), VR_NPOS);
    assert_int_equal(web_head_end(VR_STR("GET / HTTP/1.1\n\n"), 0), VR_NPOS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads),
        cmocka_unit_test(a_zero_octet_is_refused),
        cmocka_unit_test(the_end_is_found_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
