/* dmarc_report.h - DMARC aggregate reports: written for the owners of domains, read from other receivers, and where they go
 * (RFC 7489 §7.1, §7.2, appendix C; the elements that RFC 9990 added).
 *
 * What is written is RFC 7489's format, which every consumer reads, with np, testing, discovery_method and generator beside it. What is read may be
 * either format, with any namespace or none; unknown elements are passed over.
 *
 * Tests: tests/unit/dmarc_report.c, tests/fuzz/fuzz_dmarc_report.c
 */
#ifndef VEREDUS_DMARC_REPORT_H
#define VEREDUS_DMARC_REPORT_H

#include <veredus/dmarc.h>

#define DMARC_REPORT_XML_MAX   (64u << 20) /* octets of a report that is read */
#define DMARC_REPORT_TEXT_MAX  4096        /* octets of one text in it */
#define DMARC_REPORT_DEPTH_MAX 32          /* elements within one another */

/* Texts are UTF-8. They are texts throughout, since others write what they like; the names that we write are those of dmarc.h and dkim.h. Empty: not
 * written, or not there when read. */
struct dmarc_report_reason {
    struct vr_str type;    /* dmarc_override_name */
    struct vr_str comment;
};

struct dmarc_report_dkim {
    struct vr_str domain, selector, result, human_result;
};

struct dmarc_report_spf {
    struct vr_str domain, scope, result; /* scope: "mfrom" or "helo" */
};

struct dmarc_report_record {
    struct vr_str source_ip;
    uint64_t count;            /* messages */
    struct vr_str disposition; /* what was done: "none", "quarantine", "reject" (RFC 9990 also: "pass") */
    struct vr_str dkim, spf;   /* aligned: "pass" or "fail" */
    struct vr_str envelope_to, envelope_from, header_from;
    const struct dmarc_report_reason *reasons;
    const struct dmarc_report_dkim *dkim_results;
    const struct dmarc_report_spf *spf_results;
    size_t reason_count, dkim_count, spf_count;
};

struct dmarc_report_policy {
    struct vr_str domain, adkim, aspf, p, sp, np, pct, fo, testing, discovery_method; /* the last: "treewalk" or "psl" */
};

struct dmarc_report {
    struct vr_str version;
    struct vr_str organization, email, contact, id, generator; /* contact: extra_contact_info */
    int64_t begin, end; /* seconds since 1970 */
    const struct vr_str *errors;
    size_t error_count;
    struct dmarc_report_policy policy;
    const struct dmarc_report_record *records;
    size_t record_count;
};

/* ---- writing ----------------------------------------------------------------------------------------------------------------------- */

/* Streaming: the beginning (all of r but its records), each record, the end. Controls and what is no UTF-8 become "?". False: it does not fit. */
bool dmarc_report_begin(struct vr_buf *out, const struct dmarc_report *r);
bool dmarc_report_record(struct vr_buf *out, const struct dmarc_report_record *r);
bool dmarc_report_end(struct vr_buf *out);
/* All at once. */
bool dmarc_report_write(struct vr_buf *out, const struct dmarc_report *r);
/* What a report says of a policy. Texts point into the record or are constants; pct and fo are in the arena. */
struct dmarc_report_policy dmarc_report_policy_of(struct vr_arena *arena, struct vr_str domain, const struct dmarc_record *record,
                                                  enum dmarc_method method);

struct dmarc_report_mail {
    struct vr_str from;       /* addr-spec; its domain is the submitter */
    struct vr_str to;         /* addr-spec */
    struct vr_str domain;     /* that the report is about, A-labels */
    struct vr_str message_id; /* without < > */
    const struct dmarc_report *report; /* id, begin, end */
    uint64_t messages;        /* that it tells of, for people */
    int64_t time;             /* Date: seconds since 1970 */
    struct vr_str gzip;       /* the report, compressed */
};
/* Appends the whole message, with CRLF (§7.2.1.1). False when it does not fit. */
bool dmarc_report_message(struct vr_buf *out, const struct dmarc_report_mail *m);

/* ---- reading ------------------------------------------------------------------------------------------------------------------------ */

/* VR_ERR_SYNTAX: no XML, a document type (so no entities: nobody needs one), nothing that is a report, or no date range; VR_ERR_TOO_BIG: a bound above, or
 * the arena is full. *why: a sentence, never NULL on an error. All texts are in the arena. */
enum vr_err dmarc_report_read(struct vr_arena *arena, struct vr_str xml, struct dmarc_report *out, const char **why);

/* ---- where reports go (RFC 7489 §7.1) ------------------------------------------------------------------------------------------------- */

struct dmarc_destination {
    struct vr_str uri;       /* as the record has it */
    struct vr_str address;   /* where to send; empty when refused */
    uint64_t max_octets;     /* 0: any size */
    bool external;           /* of another organisation, which was asked whether it wants this */
    bool temporary;          /* refused since the DNS did not answer: later, perhaps */
    const char *refused;     /* why nothing is sent there: a phrase; NULL: it is */
};

struct dmarc_destinations_query {
    enum dmarc_method method;
    struct vr_str domain; /* where the record was found */
    const struct dmarc_uri *uris;
    size_t uri_count;
    bool failure; /* they are of ruf=, not of rua= */
    const struct dns_answer *answers;
    size_t answer_count;
};

struct dmarc_destinations {
    enum dkim_state state;
    const struct dns_question *questions;
    size_t question_count;
    const struct dmarc_destination *list; /* one for each URI; an organisation that names several addresses of its own instead makes more */
    size_t count;
};
/* *Asks*. VR_ERR_TOO_BIG: the arena is full. */
enum vr_err dmarc_destinations(const struct dmarc_destinations_query *q, struct vr_arena *arena, struct dmarc_destinations *out);

#endif
