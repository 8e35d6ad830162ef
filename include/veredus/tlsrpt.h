/* tlsrpt.h - SMTP TLS Reporting: telling a domain how TLS to its servers went, and reading what others tell (RFC 8460).
 *
 *     tlsrpt_record_parse, tlsrpt_find   "_smtp._tls" of a domain: who wants reports
 *     tlsrpt_result_…, tlsrpt_policy_…   what one session came to, by the names that reports have
 *     tlsrpt_write, tlsrpt_read          the report in JSON
 *     tlsrpt_message                     the mail that carries it
 *
 * Nothing here counts: who sends keeps what it saw, and gives it to tlsrpt_write when the day is over.
 *
 * Tests: tests/unit/tlsrpt.c, tests/fuzz/fuzz_tlsrpt.c
 */
#ifndef VEREDUS_TLSRPT_H
#define VEREDUS_TLSRPT_H

#include <veredus/dnsq.h>

#define TLSRPT_URIS_MAX     16    /* of a record that are read */
#define TLSRPT_RECORD_MAX   8192  /* octets of a record */
#define TLSRPT_POLICIES_MAX 1000  /* of a report that is read */
#define TLSRPT_DETAILS_MAX  10000 /* of all policies of a report that is read, together; the same for lines of policies */
#define TLSRPT_JSON_MAX     (16u << 20) /* octets of a report that is read */

/* ---- the record (§3) --------------------------------------------------------------------------------------------------------------- */

struct tlsrpt_record {
    const struct vr_str *rua; /* "mailto:…" and "https:…", as written; other schemes are left out */
    size_t rua_count;
    const char *fault; /* a sentence on the first thing that was ignored; NULL: nothing */
};
/* Reads a TXT record. VR_ERR_SYNTAX: it does not begin with "v=TLSRPTv1;", or has no rua=; unknown fields are ignored. VR_ERR_TOO_BIG: longer than
 * TLSRPT_RECORD_MAX, or the arena is full. Slices point into the text and the arena. */
enum vr_err tlsrpt_record_parse(struct vr_arena *arena, struct vr_str txt, struct tlsrpt_record *out);
/* The question for a domain: TXT of "_smtp._tls.<domain>". {NULL,0} as name: the arena is full. */
struct dns_question tlsrpt_question(struct vr_arena *arena, struct vr_str domain);
/* From the answer to the record. VR_ERR_NOT_FOUND: no such record, or several (§3: no TLSRPT then); VR_ERR_STATE: the DNS failed; others as above. */
enum vr_err tlsrpt_find(struct vr_arena *arena, const struct dns_answer *answer, struct tlsrpt_record *out);

/* ---- results and policies (§4.2, §4.3) ------------------------------------------------------------------------------------------------ */

enum tlsrpt_result {
    TLSRPT_SUCCESS, /* TLS as the policy wants it; not a result-type of a report, but counted */
    TLSRPT_STARTTLS_NOT_SUPPORTED,
    TLSRPT_CERTIFICATE_HOST_MISMATCH,
    TLSRPT_CERTIFICATE_EXPIRED,
    TLSRPT_CERTIFICATE_NOT_TRUSTED,
    TLSRPT_VALIDATION_FAILURE, /* anything else; say more in the reason code */
    TLSRPT_TLSA_INVALID,       /* DANE: no record of the set was usable */
    TLSRPT_DNSSEC_INVALID,     /* DANE: the resolver had no valid answer */
    TLSRPT_DANE_REQUIRED,      /* DANE was wanted by our configuration, and there were no records */
    TLSRPT_STS_POLICY_FETCH_ERROR,
    TLSRPT_STS_POLICY_INVALID,
    TLSRPT_STS_WEBPKI_INVALID
};
#define TLSRPT_RESULTS 12
const char *tlsrpt_result_name(enum tlsrpt_result r); /* "starttls-not-supported", …; "success" for TLSRPT_SUCCESS */
bool tlsrpt_result_find(struct vr_str name, enum tlsrpt_result *out);

enum tlsrpt_policy_type { TLSRPT_NO_POLICY, TLSRPT_TLSA, TLSRPT_STS };
const char *tlsrpt_policy_name(enum tlsrpt_policy_type t); /* "no-policy-found", "tlsa", "sts" */
bool tlsrpt_policy_find(struct vr_str name, enum tlsrpt_policy_type *out);

/* ---- reports (§4.4) --------------------------------------------------------------------------------------------------------------------- */

/* Texts are UTF-8; empty ones are not written, and were not there when read. */
struct tlsrpt_detail {
    struct vr_str result_type;  /* a name of above, or, in a report that is read, one that is not known here */
    struct vr_str sending_ip;
    struct vr_str mx_hostname;  /* receiving-mx-hostname */
    struct vr_str mx_helo;      /* receiving-mx-helo */
    struct vr_str receiving_ip;
    uint64_t sessions;          /* failed-session-count */
    struct vr_str information;  /* additional-information: a URI */
    struct vr_str reason;       /* failure-reason-code */
};

struct tlsrpt_policy {
    struct vr_str type;            /* a name of above, or one that is not known here */
    const struct vr_str *strings;  /* policy-string: TLSA records in presentation format, or the lines of the MTA-STS policy */
    size_t string_count;
    struct vr_str domain;          /* policy-domain */
    const struct vr_str *mx_hosts; /* mx-host: the patterns of an MTA-STS policy */
    size_t mx_count;
    uint64_t successful, failed;   /* sessions */
    const struct tlsrpt_detail *details;
    size_t detail_count;
};

struct tlsrpt_report {
    struct vr_str organization, contact, id;
    int64_t begin, end; /* seconds since 1970; the report covers begin .. end, both included (…T23:59:59Z) */
    const struct tlsrpt_policy *policies;
    size_t policy_count;
};

/* Appends the report in JSON, small and on one line. VR_ERR_TOO_BIG: it does not fit; VR_ERR_SYNTAX: a text is not UTF-8, or a date is out of what
 * RFC 3339 can write. */
enum vr_err tlsrpt_write(struct vr_buf *out, const struct tlsrpt_report *r);
/* Reads one, leniently (both forms of policy-string and of mx-host are in use, numbers may be texts). VR_ERR_SYNTAX: no JSON, or it lacks what makes it
 * a report (date range, policies); VR_ERR_TOO_BIG: a bound above, or the arena is full. *why: a sentence, never NULL on an error. Texts are in the
 * arena, so json may go; control characters in them are "?". */
enum vr_err tlsrpt_read(struct vr_arena *arena, struct vr_str json, struct tlsrpt_report *out, const char **why);

/* ---- the message (§5.1, §5.3) --------------------------------------------------------------------------------------------------------------- */

/* The report's filename: "sender!domain!begin!end!id.json.gz"; the letters and digits of the id only. {NULL,0}: the arena is full. */
struct vr_str tlsrpt_filename(struct vr_arena *arena, struct vr_str sender, struct vr_str domain, int64_t begin, int64_t end, struct vr_str id);

struct tlsrpt_mail {
    struct vr_str from;      /* addr-spec; its domain is the submitter, and that of contact-info */
    struct vr_str to;        /* addr-spec */
    struct vr_str domain;    /* the policy domain, A-labels */
    struct vr_str message_id; /* without < > */
    const struct tlsrpt_report *report; /* for what is written for people */
    int64_t time;            /* Date: seconds since 1970 */
    struct vr_str gzip;      /* the report, compressed */
};
/* Appends the whole message, with CRLF. "TLS-Required: No" is a part of it: a report about TLS that fails must arrive without TLS (§3, RFC 8689 §5).
 * False when it does not fit. */
bool tlsrpt_message(struct vr_buf *out, const struct tlsrpt_mail *m);

#endif
