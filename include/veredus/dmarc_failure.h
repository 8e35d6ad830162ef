/* dmarc_failure.h - DMARC failure reports: is one wanted, and writing it (RFC 7489 §7.3, RFC 6591, RFC 5965). One report tells of one message; the
 * header of the message goes with it, its body never.
 *
 *     dmarc_failure_wanted(…)     what do the domain's fo= and the verdicts say?
 *     dmarc_failure_loops(…)      … but not about mail of machines
 *     dmarc_failure_write(…)      the whole message
 *
 * Where it goes: dmarc_destinations with `failure` (dmarc_report.h).
 *
 * Tests: tests/unit/dmarc_failure.c, tests/fuzz/fuzz_dmarc_failure.c
 */
#ifndef VEREDUS_DMARC_FAILURE_H
#define VEREDUS_DMARC_FAILURE_H

#include <veredus/dmarc.h>
#include <veredus/spf.h>

#define DMARC_FAILURE_HEADER_MAX 16384 /* octets of a header that is sent */
#define DMARC_FAILURE_TEXT_MAX   1024   /* octets of one field's value, as written */

/* What failed: Auth-Failure (RFC 6591 §3.3, RFC 7489 §7.3.1). */
enum dmarc_failure_kind {
    DMARC_FAILURE_NONE,  /* no report is wanted */
    DMARC_FAILURE_DMARC, /* "dmarc": fo=0, fo=1 */
    DMARC_FAILURE_DKIM,  /* "signature": fo=d */
    DMARC_FAILURE_SPF    /* "spf": fo=s */
};

/* Delivery-Result (RFC 6591 §3.2.2) */
enum dmarc_failure_delivery { DMARC_FAILURE_DELIVERED, DMARC_FAILURE_SPAM, DMARC_FAILURE_REJECTED };

/* Which report fo= asks for: none without a record or without ruf=. DMARC goes before DKIM, and that before SPF: of one message there is one report. What
 * the DNS did not say (temperror) is no failure. spf: NULL, it was not checked. *signature: the index of the one to tell of, the first that failed, or
 * else the first; VR_NPOS: the message has none. Keys that are being tested fail nothing (RFC 6376 §3.6.1). */
enum dmarc_failure_kind dmarc_failure_wanted(const struct dmarc_result *r, const struct dkim_signature *signatures, size_t count,
                                             const struct spf_result *spf, size_t *signature);

/* Would a report answer a machine, and perhaps another report (RFC 6650 §6, RFC 3834 §2)? From the null reverse path (empty), Auto-Submitted, or itself a
 * multipart/report. header: of the message, or the whole. */
bool dmarc_failure_loops(struct vr_str reverse_path, struct vr_str header);

/* The header without the blank line; one that is longer than DMARC_FAILURE_HEADER_MAX is cut at the end of a line, and *cut is set. */
struct vr_str dmarc_failure_header(struct vr_str header, bool *cut);

/* Texts may be a stranger's: what is no visible ASCII is written as "\x{…}" (RFC 6533 §3) or "?", and each is cut at DMARC_FAILURE_TEXT_MAX. */
struct dmarc_failure {
    struct vr_str from, to;   /* addr-specs, of the report */
    struct vr_str message_id; /* without < > */
    int64_t time;             /* Date: seconds since 1970 */
    struct vr_str authserv_id;
    enum dmarc_failure_kind kind;
    enum dmarc_failure_delivery delivery;
    enum dmarc_verdict verdict;
    struct vr_str domain;    /* of From, A-labels */
    struct vr_str source_ip;
    struct vr_str mail_from; /* without < > */
    int64_t arrival;         /* seconds since 1970 */
    bool dkim_aligned, spf_aligned;
    struct vr_str spf_domain, spf_result; /* empty: not checked */
    bool spf_helo;                        /* the domain is that of HELO */
    struct vr_str spf_record;             /* of spf_domain; empty: there is none */
    struct vr_str dkim_domain, dkim_identity, dkim_selector, dkim_reason; /* of one signature; an empty domain: there is none */
    enum dkim_verdict dkim_verdict;
    struct vr_str header; /* as of dmarc_failure_header */
    bool cut;
};
/* Appends the whole message, with CRLF, 7-bit. False when it does not fit. */
bool dmarc_failure_write(struct vr_buf *out, const struct dmarc_failure *f);

#endif
