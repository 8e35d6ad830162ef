/* report.h - the wrappings of reports: gzip, zip, and the mail that they come in. What is inside: dmarc_report.h, tlsrpt.h.
 *
 * Tests: tests/unit/report.c, tests/fuzz/fuzz_report.c
 */
#ifndef VEREDUS_REPORT_H
#define VEREDUS_REPORT_H

#include <veredus/base.h>

/* Appends `in` as a gzip file (RFC 1952): without a name, a time or a system, so the same input gives the same output. False when it does not fit. */
bool report_gzip(struct vr_buf *out, struct vr_str in);

/* Appends what a gzip file, or the first file of a zip archive, holds; anything else as it is. VR_ERR_SYNTAX: damaged; VR_ERR_UNSUPPORTED: encrypted, or
 * packed in a way that nobody uses for reports; VR_ERR_TOO_BIG: more than out's maximum (so a bomb costs no more than that). *why: a sentence, never
 * NULL on an error. */
enum vr_err report_unpack(struct vr_buf *out, struct vr_str in, const char **why);

enum report_kind {
    REPORT_DMARC, /* XML: dmarc_report_read */
    REPORT_TLS    /* JSON: tlsrpt_read */
};

/* Takes the report out of whatever it came in: a mail message (the first part of it that looks like one), gzip, zip, or nothing. Appends it to out and
 * says which kind it is. VR_ERR_NOT_FOUND: there is none; other errors as of report_unpack. */
enum vr_err report_extract(struct vr_buf *out, struct vr_str file, enum report_kind *kind, const char **why);

#endif
