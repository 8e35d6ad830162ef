/* fuzz_dmarc.c - any bytes as a message's header, as the DMARC records of its domains, and as what a forwarder said.
 *
 * Input: one byte that chooses the method, what passed and what the DNS fails to answer; two lines that are records (of names with an even and an odd
 * number of octets); a line that is both the authenticated domain and an ARC-Authentication-Results; the header.
 * Checked: evaluating ends within a few rounds, asks nothing twice and no more than a bound; a pass has an aligned identifier, and a disposition
 * stands only with a fail; the result becomes a field; what the record says is what its text says again.
 */
#include <veredus/authres.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ANSWERS_MAX 256

static struct vr_str line(struct vr_str *rest)
{
    size_t end = vr_str_find(*rest, '\n');
    struct vr_str out = vr_str_sub(*rest, 0, end);
    *rest = vr_str_from_pos(*rest, end == VR_NPOS ? rest->n : end + 1);
    return out;
}

static struct dmarc_result evaluate(struct dmarc_query q, const struct dns_record records[2], uint8_t choice,
                                    struct vr_arena *arena)
{
    static struct dns_answer answers[ANSWERS_MAX];
    struct dmarc_result r;
    q.answers = answers;
    for (int round = 0;; round++) {
        assert(round < 4);
        assert(dmarc_evaluate(&q, arena, &r) == VR_OK);
        if (r.state == DKIM_DONE)
            return r;
        assert(r.question_count > 0);
        for (size_t i = 0; i < r.question_count; i++) {
            struct vr_str name = r.questions[i].name;
            assert(q.answer_count < ANSWERS_MAX && name.n > 0 && name.n <= 253 && vr_str_is_ascii(name));
            assert(dns_answer_find(answers, q.answer_count, name, r.questions[i].type) == NULL);
            bool fails = (choice & 0x80) != 0 && name.n % 5 == 0,
                 none = (choice & 0x40) != 0 && name.n % 3 == 0;
            answers[q.answer_count++] = (struct dns_answer){.name = name,
                                                            .type = r.questions[i].type,
                                                            .status = fails  ? DNS_STATUS_FAILED
                                                                      : none ? DNS_STATUS_NXDOMAIN
                                                                             : DNS_STATUS_OK,
                                                            .records = &records[name.n & 1],
                                                            .count = fails || none ? 0 : 1};
        }
    }
}

static void check_record(struct vr_str text, struct vr_arena *arena)
{
    struct dmarc_record r, again;
    if (dmarc_record_parse(arena, text, &r) != VR_OK)
        return;
    assert(r.rua_count <= DMARC_URIS_MAX && r.ruf_count <= DMARC_URIS_MAX && r.pct <= 100 && r.fo != 0);
    assert(r.usable || r.p == DMARC_POLICY_NONE);
    for (size_t i = 0; i < r.rua_count; i++) {
        struct vr_str address;
        assert(r.rua[i].uri.n > 0);
        if (dmarc_mailto(arena, r.rua[i].uri, &address) == VR_OK)
            assert(vr_str_find(address, '@') != VR_NPOS && vr_str_find(address, '\r') == VR_NPOS &&
                   vr_str_find(address, '\n') == VR_NPOS);
    }
    struct vr_str written = vr_arena_printf(
        arena, "v=DMARC1;p=%s;sp=%s;np=%s;t=%c;psd=%c;pct=%u;adkim=%c;aspf=%c", dmarc_policy_name(r.p),
        dmarc_policy_name(r.sp), dmarc_policy_name(r.np), r.testing ? 'y' : 'n', r.psd, r.pct,
        r.adkim_strict ? 's' : 'r', r.aspf_strict ? 's' : 'r');
    assert(dmarc_record_parse(arena, written, &again) == VR_OK && again.fault == NULL);
    assert(again.p == r.p && again.sp == r.sp && again.np == r.np && again.testing == r.testing &&
           again.psd == r.psd && again.pct == r.pct && again.adkim_strict == r.adkim_strict &&
           again.aspf_strict == r.aspf_strict);
}

static void check_result(const struct dmarc_result *r, struct vr_arena *arena)
{
    assert((r->verdict == DMARC_PASS) == (r->reason.n == 0));
    assert(r->verdict != DMARC_PASS || (r->record != NULL && (r->spf_aligned || r->dkim_aligned)));
    assert(r->verdict == DMARC_FAIL || r->disposition == DMARC_POLICY_NONE);
    assert(r->disposition <= r->policy && (r->record == NULL) == (r->record_domain.n == 0));
    struct vr_buf b;
    vr_buf_init(&b, 8192);
    const struct authres_result *result = authres_of_dmarc(arena, r, r->disposition);
    assert(
        result != NULL &&
        authres_write(&b, &(struct authres){.id = VR_STR("mx.test"), .results = result, .result_count = 1}));
    struct vr_str written = vr_buf_str(&b);
    struct authres read;
    assert(authres_parse(arena, vr_str_from_pos(written, vr_str_find(written, ':') + 1), &read) == VR_OK &&
           read.result_count == 1);
    vr_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 16384)
        return 0;
    uint8_t choice = data[0];
    struct vr_str rest = vr_str((const char *)data + 1, size - 1);
    struct vr_arena arena;
    struct dmarc_from from;
    vr_arena_init(&arena, 8 << 20);
    const struct dns_record records[2] = {{.data = line(&rest)}, {.data = line(&rest)}};
    struct vr_str said = line(&rest);
    check_record(records[0].data, &arena);
    check_record(records[1].data, &arena);
    assert(dmarc_from(&arena, rest, &from) == VR_OK && from.count <= DMARC_FROM_MAX);
    const struct dkim_signature s = {.verdict = choice & 2   ? DKIM_PASS
                                                : choice & 4 ? DKIM_TEMPERROR
                                                             : DKIM_FAIL,
                                     .domain = said};
    struct dmarc_query q = {.method = choice & 1 ? DMARC_PUBLIC_SUFFIX : DMARC_TREE_WALK,
                            .from = &from,
                            .spf_pass = (choice & 8) != 0,
                            .spf_temperror = (choice & 16) != 0,
                            .spf_domain = said,
                            .signatures = &s,
                            .signature_count = 1,
                            .sample = choice % 100};
    struct dmarc_result r = evaluate(q, records, choice, &arena);
    check_result(&r, &arena);
    const struct arc_set set = {.domain = said, .selector = said, .authres = said, .from_signed = true};
    const struct arc_result arc = {.state = DKIM_DONE, .status = ARC_PASS, .instances = 1, .sets = &set};
    struct vr_str comment;
    if (dmarc_arc_override(&r, &arc, &said, 1, &arena, &comment))
        assert(r.verdict == DMARC_FAIL && comment.n > 0 && comment.n <= 512);
    vr_arena_fini(&arena);
    return 0;
}
