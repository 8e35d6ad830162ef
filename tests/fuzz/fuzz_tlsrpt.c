/* fuzz_tlsrpt.c - any bytes as a record, and as a report in JSON.
 *
 * Input: a line that is the record, the rest is the report.
 * Checked: what was read is written and read again the same; texts are UTF-8 without controls; the message that carries it can be opened again.
 */
#include <veredus/report.h>
#include <veredus/tlsrpt.h>

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct vr_str s)
{
    assert(vr_utf8_valid(s));
    for (size_t i = 0; i < s.n; i++)
        assert((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f);
}

static void check_report(const struct tlsrpt_report *r, struct vr_arena *arena)
{
    struct vr_buf json, again, gzip, mail;
    struct tlsrpt_report second;
    enum report_kind kind;
    const char *why;
    vr_buf_init(&json, 8 << 20);
    vr_buf_init(&again, 8 << 20);
    vr_buf_init(&gzip, 8 << 20);
    vr_buf_init(&mail, 16 << 20);
    if (tlsrpt_write(&json, r) == VR_OK) {
        enum vr_err e = tlsrpt_read(arena, vr_buf_str(&json), &second, &why);
        assert(e == VR_OK && second.begin == r->begin && second.end == r->end &&
               second.policy_count == r->policy_count);
        assert(tlsrpt_write(&again, &second) == VR_OK && vr_str_equal(vr_buf_str(&json), vr_buf_str(&again)));
        assert(report_gzip(&gzip, vr_buf_str(&json)));
        struct tlsrpt_mail m = {.from = VR_STR("a@b.test"),
                                .to = r->contact,
                                .domain = VR_STR("d.test"),
                                .message_id = VR_STR("1@b.test"),
                                .report = r,
                                .gzip = vr_buf_str(&gzip)};
        if (r->contact.n < 1000 && tlsrpt_message(&mail, &m)) {
            vr_buf_reset(&again);
            assert(report_extract(&again, vr_buf_str(&mail), &kind, &why) == VR_OK && kind == REPORT_TLS);
            assert(vr_str_equal(vr_buf_str(&json), vr_buf_str(&again)));
        }
    } else
        assert(json.too_big || r->begin < 0 || r->end < 0);
    vr_buf_fini(&mail);
    vr_buf_fini(&gzip);
    vr_buf_fini(&again);
    vr_buf_fini(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_str in = vr_str((const char *)data, size);
    size_t lf = vr_str_find(in, '\n');
    struct vr_arena arena;
    struct tlsrpt_record record;
    struct tlsrpt_report r;
    const char *why;
    vr_arena_init(&arena, 32 << 20);
    if (tlsrpt_record_parse(&arena, vr_str_sub(in, 0, lf), &record) == VR_OK) {
        assert(record.rua_count <= TLSRPT_URIS_MAX);
        for (size_t i = 0; i < record.rua_count; i++)
            check_text(record.rua[i]);
    }
    in = vr_str_from_pos(in, lf == VR_NPOS ? 0 : lf + 1);
    enum vr_err e = tlsrpt_read(&arena, in, &r, &why);
    assert(e == VR_OK || why != NULL);
    if (e == VR_OK) {
        check_text(r.organization);
        check_text(r.id);
        for (size_t i = 0; i < r.policy_count; i++)
            for (size_t k = 0; k < r.policies[i].detail_count; k++)
                check_text(r.policies[i].details[k].reason);
        check_report(&r, &arena);
    }
    vr_arena_fini(&arena);
    return 0;
}
