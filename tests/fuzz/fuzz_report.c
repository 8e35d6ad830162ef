/* fuzz_report.c - any bytes as a file with a report: gzip, zip, mail, XML, JSON.
 *
 * Checked: no more comes out than the buffer may hold; what comes out looks like what its kind says; an error has a sentence.
 */
#include <veredus/report.h>

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_buf out;
    enum report_kind kind;
    const char *why = NULL;
    vr_buf_init(&out, 1 << 18);
    enum vr_err e = report_extract(&out, vr_str((const char *)data, size), &kind, &why);
    assert(vr_buf_size(&out) <= 1 << 18);
    if (e == VR_OK)
        assert(vr_str_find(vr_buf_str(&out), kind == REPORT_DMARC ? '<' : '{') != VR_NPOS);
    else
        assert(why != NULL);
    vr_buf_fini(&out);
    return 0;
}
