/* fuzz_mtasts.c - any bytes as the TXT record, as the policy, and as what a fetch brought.
 *
 * Checked: an id is one; a policy that is read is written and read as the same; its patterns fit the hosts that they name, and no others; a decision is one of
 * the four, made without another question once the record is known, and a policy that holds can be kept.
 */
#include <veredus/mtasts.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(struct vr_str text)
{
    struct vr_str id;
    if (mtasts_record_parse(text, &id) != VR_OK)
        return;
    assert(id.n >= 1 && id.n <= MTASTS_ID_MAX && id.p >= text.p && id.p + id.n <= text.p + text.n);
}

static void check_policy(struct vr_arena *arena, const struct mtasts_policy *p)
{
    struct vr_buf out;
    struct mtasts_policy again;
    struct vr_str why;
    vr_buf_init(&out, 2 * MTASTS_POLICY_MAX);
    assert(p->mode == MTASTS_NONE || p->mx_count > 0);
    assert(mtasts_policy_write(&out, p));
    if (vr_buf_size(&out) <= MTASTS_POLICY_MAX) {
        assert(mtasts_policy_parse(arena, vr_buf_str(&out), &again, &why) == VR_OK);
        assert(again.mode == p->mode && again.max_age == p->max_age && again.mx_count == p->mx_count);
        for (size_t i = 0; i < p->mx_count && i < 50; i++) {
            bool wild = p->mx[i].p[0] == '*';
            struct mtasts_policy one = {p->mode, p->max_age, &again.mx[i], 1};
            struct vr_str above = vr_str_from_pos(p->mx[i], 2);
            assert(vr_str_equal(again.mx[i], p->mx[i]));
            assert(mtasts_mx_matches(&one, p->mx[i]) && mtasts_mx_matches(p, p->mx[i]));
            assert(!wild || !mtasts_mx_matches(&one, above));
            assert(!wild || !mtasts_mx_matches(&one, vr_arena_printf(arena, "a.b.%.*s", VR_STR_ARG(above))));
        }
    }
    vr_buf_fini(&out);
}

static void decide(struct vr_arena *arena, const uint8_t *bits, struct vr_str record, struct vr_str body)
{
    const struct vr_str mx = VR_STR("kept.test");
    const struct dns_record records[] = {{.data = record}, {.data = VR_STR("v=STSv1; id=b")}};
    const struct dns_answer a = {.name = VR_STR("_mta-sts.d.test"),
                                 .type = DNS_TYPE_TXT,
                                 .status = (enum dns_status)(bits[0] & 3),
                                 .records = records,
                                 .count = (bits[0] & 3) == 0 ? 1 + (bits[0] >> 2 & 1) : 0};
    const struct mtasts_known known = {
        VR_STR("a"), 1000, {MTASTS_ENFORCE, (uint32_t)bits[1] * 100000, &mx, 1}};
    const struct mtasts_failure failure = {VR_STR("a"), 1000};
    const struct mtasts_fetched fetched = {bits[2] & 1 ? 200 : 0, VR_STR("text/plain"), body,
                                           VR_STR("timed out")};
    struct mtasts_query q = {.domain = VR_STR("d.test"),
                             .now = 1000 + bits[3] * 1000,
                             .refresh = bits[0] & 8,
                             .known = bits[0] & 16 ? &known : NULL,
                             .failure = bits[0] & 32 ? &failure : NULL};
    struct mtasts_result r;
    assert(mtasts_decide(&q, arena, &r) == VR_OK && r.verdict == MTASTS_ASK);
    q.answers = &a;
    q.answer_count = 1;
    assert(mtasts_decide(&q, arena, &r) == VR_OK && r.verdict != MTASTS_ASK);
    if (r.verdict == MTASTS_FETCH) {
        q.fetched = &fetched;
        enum vr_err e = mtasts_decide(&q, arena, &r);
        assert(e == VR_OK && (r.verdict == MTASTS_APPLY || r.verdict == MTASTS_ABSENT));
        assert(r.fresh != r.failed);
    }
    if (r.verdict == MTASTS_APPLY) {
        assert(r.id.n >= 1 && r.id.n <= MTASTS_ID_MAX && !r.unsure);
        check_policy(arena, &r.policy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_arena arena;
    struct mtasts_policy p;
    struct vr_str why, text, first;
    if (size < 4)
        return 0;
    vr_arena_init(&arena, 16 << 20);
    text = vr_str((const char *)data + 4, size - 4);
    struct vr_str rest = text;
    if (!vr_str_split(&rest, '\0', &first)) /* a record, then a policy */
        first = text;
    check_record(first);
    enum vr_err e = mtasts_policy_parse(&arena, rest, &p, &why);
    assert((e == VR_OK) == (why.n == 0));
    if (e == VR_OK)
        check_policy(&arena, &p);
    decide(&arena, data, first, rest);
    vr_arena_fini(&arena);
    return 0;
}
