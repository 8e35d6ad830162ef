/* fuzz_dmarc_failure.c - any bytes as the header and the words of a message that a failure report tells of.
 *
 * Checked: the report is seven bits in lines of at most 998 octets, and has its own four boundaries at the beginning of a line, no more.
 */
#include <veredus/dmarc_failure.h>

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct vr_str text)
{
    struct vr_str line, boundary = vr_str_from_pos(text, vr_str_find_str(text, VR_STR("boundary=\"")) + 10);
    boundary = vr_str_sub(boundary, 0, vr_str_find(boundary, '"'));
    unsigned boundaries = 0;
    while (vr_str_split(&text, '\n', &line)) {
        assert(line.n > 0 && line.n <= 999 && line.p[line.n - 1] == '\r');
        for (size_t i = 0; i + 1 < line.n; i++)
            assert(line.p[i] == '\t' || (line.p[i] >= ' ' && line.p[i] <= '~'));
        boundaries += vr_str_starts(line, VR_STR("--")) && vr_str_starts(vr_str_from_pos(line, 2), boundary);
    }
    assert(boundaries == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_str in = vr_str((const char *)data, size), part = vr_str_sub(in, 0, size / 2);
    struct vr_buf out;
    bool cut;
    dmarc_failure_loops(part, in);
    for (int kind = DMARC_FAILURE_DMARC; kind <= DMARC_FAILURE_SPF; kind++) {
        struct dmarc_failure f = {.from = VR_STR("r@example.org"),
                                  .to = VR_STR("f@d.test"),
                                  .message_id = VR_STR("1@example.org"),
                                  .authserv_id = VR_STR("mx.example.org"),
                                  .kind = (enum dmarc_failure_kind)kind,
                                  .verdict = DMARC_FAIL,
                                  .domain = VR_STR("d.test"),
                                  .source_ip = part,
                                  .mail_from = part,
                                  .spf_domain = part,
                                  .spf_result = VR_STR("fail"),
                                  .spf_record = part,
                                  .dkim_domain = part,
                                  .dkim_identity = part,
                                  .dkim_selector = part,
                                  .dkim_reason = part,
                                  .dkim_verdict = DKIM_FAIL};
        f.header = dmarc_failure_header(in, &cut);
        f.cut = cut;
        vr_buf_init(&out, 1 << 20);
        assert(dmarc_failure_write(&out, &f));
        check(vr_buf_str(&out));
        vr_buf_fini(&out);
    }
    return 0;
}
