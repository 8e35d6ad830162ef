/* fuzz_dmarc_report.c - any bytes as an aggregate report.
 *
 * Checked: what was read is written, and read again the same; no control comes through.
 */
#include <veredus/dmarc_report.h>

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct vr_str s)
{
    assert(vr_utf8_valid(s) && s.n <= DMARC_REPORT_TEXT_MAX);
    for (size_t i = 0; i < s.n; i++)
        assert((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_arena arena;
    struct vr_buf xml, again;
    struct dmarc_report r, second;
    const char *why;
    vr_arena_init(&arena, 16 << 20);
    vr_buf_init(&xml, 16 << 20);
    vr_buf_init(&again, 16 << 20);
    enum vr_err e = dmarc_report_read(&arena, vr_str((const char *)data, size), &r, &why);
    assert(e == VR_OK || why != NULL);
    if (e == VR_OK) {
        check_text(r.organization);
        check_text(r.policy.domain);
        for (size_t i = 0; i < r.record_count; i++) {
            check_text(r.records[i].source_ip);
            for (size_t k = 0; k < r.records[i].dkim_count; k++)
                check_text(r.records[i].dkim_results[k].human_result);
        }
        if (dmarc_report_write(&xml, &r)) {
            assert(dmarc_report_read(&arena, vr_buf_str(&xml), &second, &why) == VR_OK);
            assert(second.record_count == r.record_count && second.error_count == r.error_count &&
                   second.begin == r.begin && second.end == r.end);
            assert(dmarc_report_write(&again, &second) && vr_str_equal(vr_buf_str(&xml), vr_buf_str(&again)));
        }
    }
    vr_buf_fini(&again);
    vr_buf_fini(&xml);
    vr_arena_fini(&arena);
    return 0;
}
