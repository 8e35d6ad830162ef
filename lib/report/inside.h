/* inside.h - what the files of reports share.
 *
 *   archive.c              gzip and zip                        open.c          a report out of a mail, a file, an archive
 *   mail.c                 a message with a report attached
 *   tlsrpt_record.c        _smtp._tls, names                   tlsrpt_write.c, tlsrpt_read.c, tlsrpt_mail.c
 *   dmarc_write.c, dmarc_read.c, dmarc_external.c   see dmarc_report.h
 *   dmarc_failure.c        see dmarc_failure.h
 */
#ifndef REPORT_INSIDE_H
#define REPORT_INSIDE_H

#include <veredus/base.h>

/* A copy in the arena; controls, and what is no UTF-8, become "?". */
struct vr_str report_clean(struct vr_arena *arena, struct vr_str text);

/* A message of two parts: words for people, and the report. All texts are ours or were checked; what could break a line is made blank. */
struct report_mail {
    struct vr_str from, to, subject, message_id;
    int64_t time;
    const char *multipart; /* "multipart/mixed", or "multipart/report; report-type=…" */
    struct vr_str extra;   /* whole fields, with CRLF */
    struct vr_str words;   /* lines with CRLF, ASCII, none begins with "--" */
    const char *type;      /* of the attachment: "application/gzip" */
    struct vr_str filename;
    struct vr_str attachment; /* octets */
};
bool report_mail_write(struct vr_buf *out, const struct report_mail *m);
/* Its header alone, with the blank line. */
void report_mail_header(struct vr_buf *out, const struct report_mail *m, struct vr_str boundary);

/* "domain!other!begin!end[!id].suffix"; of the id the letters and digits. */
struct vr_str report_filename(struct vr_arena *arena, struct vr_str first, struct vr_str second,
                              int64_t begin, int64_t end, struct vr_str id, const char *suffix);
/* What stands behind the last "@"; the whole without one. */
struct vr_str report_domain_of(struct vr_str address);

#endif
