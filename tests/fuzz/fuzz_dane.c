/* fuzz_dane.c - any DNS as the surroundings of a host, any bytes as its TLSA records.
 *
 * Checked: the questions come to an end, none is asked twice; a record that is to be used can be used; with a failed TLSA look-up, or insecure records, nothing is
 * verified; who is verified has a base domain that is the host or what it is an alias of, and it is the first of the names.
 */
#include <veredus/dane.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *p;
    size_t n;
};

static uint8_t take(struct input *in)
{
    uint8_t c = in->n > 0 ? in->p[0] : 0;
    in->p += in->n > 0;
    in->n -= in->n > 0;
    return c;
}

static struct dns_answer make_answer(struct vr_arena *arena, struct input *in, struct dns_question q)
{
    uint8_t bits = take(in);
    struct dns_answer a = {
        .name = q.name, .type = q.type, .secure = bits & 4, .status = (enum dns_status)(bits & 3)};
    if (bits & 8 && q.type != DNS_TYPE_TLSA)
        a.canonical = bits & 16 ? VR_STR("host.test") : VR_STR("MX.d.test.");
    if (a.status != DNS_STATUS_OK)
        return a;
    a.count = 1 + (bits >> 5);
    struct dns_record *records = vr_arena_alloc(arena, a.count * sizeof *records);
    assert(records != NULL);
    for (size_t i = 0; i < a.count; i++) {
        size_t n = q.type == DNS_TYPE_TLSA ? take(in) : 0;
        n = n < in->n ? n : in->n;
        records[i].data = vr_str((const char *)in->p, n);
        in->p += n;
        in->n -= n;
    }
    a.records = records;
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_arena arena;
    struct input in = {data, size};
    struct dns_answer answers[16];
    struct dane_result r;
    uint8_t bits = take(&in);
    struct dane_query q = {.host = VR_STR("mx.d.test"),
                           .port = take(&in),
                           .by_mx = bits & 1,
                           .mx_secure = bits & 2,
                           .domain = VR_STR("d.test"),
                           .domain_canonical = bits & 4 ? VR_STR("real.test") : VR_STR(""),
                           .no_ipv4 = bits & 8,
                           .no_ipv6 = bits & 16,
                           .answers = answers};
    vr_arena_init(&arena, 1 << 20);
    while (assert(dane_select(&q, &arena, &r) == VR_OK), r.verdict == DANE_ASK) {
        assert(r.question_count > 0);
        for (size_t i = 0; i < r.question_count; i++) {
            assert(dns_answer_find(answers, q.answer_count, r.questions[i].name, r.questions[i].type) ==
                   NULL);
            assert(q.answer_count < 6);
            answers[q.answer_count] = make_answer(&arena, &in, r.questions[i]);
            q.answer_count++;
        }
    }
    struct dane_record record;
    char text[DANE_RECORD_TEXT];
    for (size_t i = 0; i < r.record_count; i++) {
        assert(r.verdict == DANE_VERIFY && dane_record_parse(r.records[i], &record) == VR_OK &&
               dane_record_usable(&record));
        dane_record_text(r.records[i], text);
    }
    bool bound = r.verdict == DANE_VERIFY || r.verdict == DANE_ENCRYPT;
    assert((r.record_count > 0) == (r.verdict == DANE_VERIFY) &&
           (r.name_count > 0) == (r.verdict == DANE_VERIFY));
    assert(bound == (r.base.n > 0) && bound == (r.text.n == 0));
    assert(!bound || vr_str_equal(r.base, q.host) || vr_str_equal(r.base, VR_STR("host.test")));
    assert(r.name_count == 0 || vr_str_equal(r.names[0], r.base));
    bool proof = false;
    for (size_t i = 0; i < q.answer_count; i++)
        if (answers[i].type == DNS_TYPE_TLSA) {
            assert(answers[i].status != DNS_STATUS_FAILED || r.verdict == DANE_LATER);
            proof |= answers[i].secure && answers[i].status == DNS_STATUS_OK;
        }
    assert(!bound || proof);
    vr_arena_fini(&arena);
    return 0;
}
