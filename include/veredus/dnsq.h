/* dnsq.h - questions to the DNS and what it said: the currency of every module that *asks* (mx.h, dkim.h, arc.h, spf.h, …).
 *
 * A module that needs the DNS is a pure function over known answers. It gives questions, or its verdict; the caller finds the answers,
 * adds them to those that it has, and calls again. A question is asked once: an answer that says "failed" is an answer.
 *
 * Names are text without the trailing dot, in ASCII (A-labels), compared without case.
 * Tests: tests/unit/base.c, tests/unit/mx.c
 */
#ifndef VEREDUS_DNSQ_H
#define VEREDUS_DNSQ_H

#include <veredus/base.h>

enum dns_type { /* the DNS's own numbers */
    DNS_TYPE_A = 1,
    DNS_TYPE_CNAME = 5, /* the alias itself, not what it leads to */
    DNS_TYPE_PTR = 12,
    DNS_TYPE_MX = 15,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_TLSA = 52
};

enum dns_status {
    DNS_STATUS_OK,       /* records, at least one */
    DNS_STATUS_NODATA,   /* the name exists, without records of this type */
    DNS_STATUS_NXDOMAIN, /* it does not exist */
    DNS_STATUS_FAILED    /* no answer now: SERVFAIL, a timeout, or one that DNSSEC says is forged */
};

struct dns_address {
    uint8_t family; /* 4 or 6 */
    uint8_t ip[16]; /* network order; 4 bytes used when family is 4 */
};

/* What is used depends on the type. */
struct dns_record {
    struct vr_str name;         /* MX, PTR, CNAME: a host, without the trailing dot; empty: the root (null MX) */
    uint16_t preference;        /* MX */
    struct dns_address address; /* A, AAAA */
    struct vr_str data;         /* TXT: the record's strings joined without anything between them; TLSA: as on the wire */
};

struct dns_question {
    struct vr_str name;
    enum dns_type type;
};

/* A question, and what the DNS said to it. Aliases (CNAME) were followed; name is what was asked. */
struct dns_answer {
    struct vr_str name;
    enum dns_type type;
    enum dns_status status;
    bool secure;       /* DNSSEC vouches for it, aliases included */
    struct vr_str canonical; /* the name at the end of the aliases; empty: there were none, or nobody looked */
    struct vr_str why; /* FAILED: "SERVFAIL", "timed out"; may be empty */
    const struct dns_record *records;
    size_t count;
};

/* Of the answers that are known, the one to this question; NULL: not asked yet. A trailing dot of either name does not count. */
const struct dns_answer *dns_answer_find(const struct dns_answer *answers, size_t count, struct vr_str name, enum dns_type type);

#endif
