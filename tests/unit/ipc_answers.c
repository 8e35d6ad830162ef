/* ipc_answers.c - questions to the DNS and answers, in frames. */
#include "buffer_testing.h"

#include "ipc/answers.h"

/* ---- the DNS ----------------------------------------------------------------------------------------------------------------- */

static struct dns_answer from_io(struct vr_arena *memory, enum dns_type type, struct io_dns_answer a)
{
    return dns_answer_from(memory, (struct dns_question){.name = VR_STR("a.test"), .type = type}, &a);
}

static void test_answers_of_the_loop(void **state)
{
    (void)state;
    struct io_dns_record records[] = {{.data = VR_STR("\xc0\x00\x02\x01")},
                                      {.data = VR_STR("12345")}, /* no address */
                                      {.data = VR_STR("\xc0\x00\x02\x02")}};
    struct dns_answer a =
        from_io(&arena, DNS_TYPE_A,
                (struct io_dns_answer){.status = IO_DNS_OK, .secure = true, .records = records, .count = 3});
    assert_true(a.status == DNS_STATUS_OK && a.secure && a.type == DNS_TYPE_A && a.count == 2);
    assert_str(a.name, VR_STR("a.test"));
    assert_int_equal(a.records[1].address.family, 4);
    assert_memory_equal(a.records[1].address.ip, "\xc0\x00\x02\x02", 4);
    a = from_io(&arena, DNS_TYPE_AAAA,
                (struct io_dns_answer){.status = IO_DNS_OK, .records = records, .count = 3});
    assert_int_equal(
        a.status, DNS_STATUS_FAILED); /* no record is left of an answer that had some: not "there is none" */
    a = from_io(&arena, DNS_TYPE_TXT,
                (struct io_dns_answer){.status = IO_DNS_OK, .records = records, .count = 2});
    assert_true(a.status == DNS_STATUS_OK && a.count == 2);
    assert_str(a.records[1].data, VR_STR("12345"));
    a = from_io(&arena, DNS_TYPE_MX, (struct io_dns_answer){.status = IO_DNS_FAILED, .why = "SERVFAIL"});
    assert_int_equal(a.status, DNS_STATUS_FAILED);
    assert_str(a.why, VR_STR("SERVFAIL"));
    assert_int_equal(from_io(&arena, DNS_TYPE_MX, (struct io_dns_answer){.status = IO_DNS_NXDOMAIN}).status,
                     DNS_STATUS_NXDOMAIN);
    assert_int_equal(from_io(&arena, DNS_TYPE_MX, (struct io_dns_answer){.status = IO_DNS_NODATA}).status,
                     DNS_STATUS_NODATA);
    struct vr_arena small;
    vr_arena_init(&small, 64);
    a = from_io(&small, DNS_TYPE_TXT,
                (struct io_dns_answer){.status = IO_DNS_OK, .records = records, .count = 3});
    assert_int_equal(a.status, DNS_STATUS_FAILED);
    vr_arena_fini(&small);
}

static void test_questions(void **state)
{
    (void)state;
    struct dns_question asked[] = {{VR_STR("a.test"), DNS_TYPE_TXT}, {VR_STR(""), DNS_TYPE_MX}}, *got;
    size_t n;
    ipc_put_questions(&buf, asked, 2);
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    assert_true(ipc_get_questions(&r, &arena, &got, &n) && ipc_done(&r));
    assert_true(n == 2 && got[0].type == DNS_TYPE_TXT && got[1].type == DNS_TYPE_MX);
    assert_str(got[0].name, VR_STR("a.test"));
    static const struct {
        uint32_t count, type;
    } wrong[] = {{1, 255}, {1, 5}, {2, DNS_TYPE_A}, {DNS_ASK_MAX + 1, DNS_TYPE_A}, {UINT32_MAX, DNS_TYPE_A}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) { /* ANY, CNAME; more than there are */
        vr_buf_reset(&buf);
        ipc_put_u32(&buf, wrong[i].count);
        ipc_put_u32(&buf, wrong[i].type);
        ipc_put_str(&buf, VR_STR("a.test"));
        r = ipc_reader(vr_buf_str(&buf));
        if (ipc_get_questions(&r, &arena, &got, &n) && ipc_done(&r))
            fail_msg("row %zu", i);
    }
}

static void put_answers(void)
{
    static const struct dns_record mx[] = {{.name = VR_STR_INIT("mx.test"), .preference = 10},
                                           {.preference = 65535}};
    static const struct dns_record ip[] = {
        {.address = {6, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}}}};
    static const struct dns_record txt[] = {{.data = VR_STR_INIT("v=spf1\0-all")}};
    struct dns_answer a[] = {
        {.name = VR_STR("a.test"), .type = DNS_TYPE_MX, .status = DNS_STATUS_OK, .records = mx, .count = 2},
        {.name = VR_STR("a.test"),
         .type = DNS_TYPE_AAAA,
         .status = DNS_STATUS_OK,
         .secure = true,
         .records = ip,
         .count = 1},
        {.name = VR_STR("b.test"), .type = DNS_TYPE_TXT, .status = DNS_STATUS_OK, .records = txt, .count = 1},
        {.name = VR_STR("c.test"),
         .type = DNS_TYPE_TXT,
         .status = DNS_STATUS_FAILED,
         .why = VR_STR("timed out")},
        {.name = VR_STR("d.test"), .type = DNS_TYPE_PTR, .status = DNS_STATUS_NXDOMAIN},
    };
    ipc_put_answers(&buf, a, 5);
}

static void test_answers(void **state)
{
    (void)state;
    struct dns_answer *a;
    size_t n, whole;
    put_answers();
    struct ipc_reader r = ipc_reader(vr_buf_str(&buf));
    assert_true(ipc_get_answers(&r, &arena, &a, &n) && ipc_done(&r));
    memset(buf.p, 'x', buf.end); /* everything was copied */
    assert_true(n == 5 && a[0].count == 2 && a[0].records[0].preference == 10 && a[0].records[1].name.n == 0);
    assert_str(a[0].records[0].name, VR_STR("mx.test"));
    assert_true(a[1].secure && !a[0].secure && a[1].records[0].address.family == 6 &&
                a[1].records[0].address.ip[15] == 7);
    assert_str(a[2].records[0].data, VR_STR("v=spf1\0-all"));
    assert_true(a[3].status == DNS_STATUS_FAILED && a[3].count == 0 && a[4].status == DNS_STATUS_NXDOMAIN);
    assert_str(a[3].why, VR_STR("timed out"));
    vr_buf_reset(&buf);
    put_answers();
    whole = vr_buf_size(&buf);
    for (size_t cut = 0; cut < whole; cut++) { /* no part of it is taken for all of it */
        char *exact = malloc(cut > 0 ? cut : 1);
        memcpy(exact, vr_buf_str(&buf).p, cut);
        r = ipc_reader(vr_str(exact, cut));
        if (ipc_get_answers(&r, &arena, &a, &n))
            fail_msg("cut at %zu is taken", cut);
        free(exact);
        vr_arena_reset(&arena);
    }
    for (size_t at = 0; at < whole; at++) /* any byte changed: read within its bounds, or refused */
        for (int value = 0; value < 256; value += 51) {
            char *exact = malloc(whole);
            memcpy(exact, vr_buf_str(&buf).p, whole);
            exact[at] = (char)value;
            r = ipc_reader(vr_str(exact, whole));
            if (ipc_get_answers(&r, &arena, &a, &n))
                for (size_t i = 0; i < n; i++)
                    assert_true((a[i].status == DNS_STATUS_OK) == (a[i].count > 0));
            free(exact);
            vr_arena_reset(&arena);
        }
}

/* More than a frame may hold: what fits is told, the rest has failed; it is never "there is none". */
static void test_answers_too_big(void **state)
{
    (void)state;
    char *big = calloc(1, DNS_REPLY_MAX / 2);
    struct dns_record txt = {.data = vr_str(big, DNS_REPLY_MAX / 2)};
    struct dns_answer in[3], *a;
    for (size_t i = 0; i < 3; i++)
        in[i] = (struct dns_answer){.name = VR_STR("a.test"),
                                    .type = DNS_TYPE_TXT,
                                    .status = DNS_STATUS_OK,
                                    .records = &txt,
                                    .count = 1};
    struct vr_buf out;
    struct vr_arena memory;
    size_t n;
    vr_buf_init(&out, 4u << 20);
    vr_arena_init(&memory, 4u << 20);
    ipc_put_answers(&out, in, 3);
    assert_true(!out.too_big && vr_buf_size(&out) <= DNS_REPLY_MAX + 1024);
    struct ipc_reader r = ipc_reader(vr_buf_str(&out));
    assert_true(ipc_get_answers(&r, &memory, &a, &n) && ipc_done(&r) && n == 3);
    assert_true(a[0].status == DNS_STATUS_OK && a[1].status == DNS_STATUS_FAILED &&
                a[2].status == DNS_STATUS_FAILED);
    struct vr_arena small;
    vr_arena_init(&small, 1024);
    r = ipc_reader(vr_buf_str(&out));
    assert_false(ipc_get_answers(&r, &small, &a, &n));
    vr_arena_fini(&small);
    vr_arena_fini(&memory);
    vr_buf_fini(&out);
    free(big);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_answers_of_the_loop),
        EACH(test_questions),
        EACH(test_answers),
        EACH(test_answers_too_big),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
