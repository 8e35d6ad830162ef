/* dns_plan.h - what a domain should publish in the DNS for its mail: a list of records that follows from the configuration, the keys and the
 * certificates. Pure: nothing is asked and nothing is read here.
 *
 * Tests: tests/unit/dns_plan.c, tests/e2e/test_dns_tools.py (a name server loads what is printed)
 */
#ifndef CLI_DNS_PLAN_H
#define CLI_DNS_PLAN_H

#include "config/published.h"
#include "io/certificate.h"
#include "keeper/dkim_store.h"

#define DNS_PLAN_TTL   3600
#define DNS_PLAN_MAX   256 /* records */
#define DNS_STRING_MAX 255 /* octets of one string of a TXT record (RFC 1035 §3.3) */

enum dns_plan_kind {
    DNS_PLAN_MX,
    DNS_PLAN_ADDRESS, /* of the hostname, where the configuration tells it */
    DNS_PLAN_SPF,
    DNS_PLAN_SPF_HELO, /* of the hostname */
    DNS_PLAN_DKIM,
    DNS_PLAN_DMARC,
    DNS_PLAN_MTA_STS,
    DNS_PLAN_TLS_RPT,
    DNS_PLAN_TLSA,
    DNS_PLAN_SRV
};
const char *dns_plan_kind_name(enum dns_plan_kind k); /* "MX", "SPF", … */

struct dns_plan_record {
    enum dns_plan_kind kind;
    struct vr_str name;  /* A-labels, without the dot at the end */
    const char *type;    /* "MX", "TXT", … */
    struct vr_str value; /* TXT: the text, whole; else rdata as a zone file has it, names with their dot */
    bool inside;         /* at or below the domain: of its zone, as far as can be known */
    bool optional;       /* nice to have: SRV, SPF for HELO */
    struct vr_str note;  /* a comment for a person; may be empty */
};

struct dns_plan_certificate { /* that the server shows */
    const char *names;        /* of its tls section */
    struct vr_str pem;        /* with its chain */
    struct io_certificate x;
};

struct dns_plan_facts {
    const struct config *config;
    const struct config_domain *domain;
    const struct dns_plan_certificate *certificates; /* the first is shown where no other is for the name */
    size_t certificate_count;
    const struct dkim_published *keys;
    size_t key_count;
};

struct dns_plan {
    struct dns_plan_record records[DNS_PLAN_MAX];
    size_t count;
    struct vr_str policy; /* MTA-STS, the file; empty: none */
    char policy_id[PUBLISHED_ID_SIZE];
    const struct vr_str *mx;
    size_t mx_count;
};

/* False: it does not fit. Slices point into the facts and the arena. */
bool dns_plan_make(const struct dns_plan_facts *f, struct vr_arena *arena, struct dns_plan *out);
/* Which certificate the server shows to who asks for this host; NULL: the host is none of ours, as far as can be known. */
const struct dns_plan_certificate *dns_plan_certificate_of(const struct dns_plan_facts *f,
                                                           struct vr_str host);
/* Appends the record as a line of a zone file: absolute names, long texts in strings of 255 octets. */
bool dns_plan_line(struct vr_buf *out, const struct dns_plan_record *r);

#endif
