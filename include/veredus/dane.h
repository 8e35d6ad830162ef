/* dane.h - DANE for SMTP (RFC 7672, 7671, 6698): a host's certificate vouched for by DNSSEC.
 *
 * dane_select is a pure function over known answers, in the manner of mx_select: for one host of a destination it returns the questions that are still
 * open, or what a session with that host must show. The addresses of the host are asked first and are those that mx_select asked for, so usually the
 * first questions are for TLSA records.
 *
 * Rules (RFC 7672), none of which is weakened:
 *   §2.1.2  a look-up that fails, times out or is forged: the host is not used now
 *   §2.2    secure TLSA records, one usable: TLS that shows it. Secure ones, none usable: TLS, any certificate. Else: as without DANE
 *   §2.2.2  addresses that DNSSEC does not vouch for: no TLSA is asked, but for an alias that DNSSEC vouches for: then its own name is the base domain
 *   §2.2.3  an alias whose whole expansion is secure: the expanded name first, then the original one; never a name between them
 *   §3.1.3  usages 0 and 1 (PKIX) are unusable
 *   §3.2.2  DANE-TA(2): the certificate names the base domain, or, when secure MX records led here, the next hop's domain or what that is an alias of
 *   §2.2.1  hosts that insecure MX records named are held to their own TLSA records too; the result says that nobody vouches for the name
 * Tests: tests/unit/dane.c, tests/fuzz/fuzz_dane.c, examples/dane.c, tests/e2e/test_transport.py
 */
#ifndef VEREDUS_DANE_H
#define VEREDUS_DANE_H

#include <veredus/dnsq.h>

enum dane_usage { DANE_PKIX_TA, DANE_PKIX_EE, DANE_TA, DANE_EE };
enum dane_selector { DANE_CERTIFICATE, DANE_PUBLIC_KEY };
enum dane_matching { DANE_FULL, DANE_SHA256, DANE_SHA512 };

struct dane_record { /* RFC 6698 §2.1 */
    uint8_t usage, selector, matching; /* any number: what is unknown is unusable */
    struct vr_str data;
};

/* rdata as on the wire; data points into it. VR_ERR_SYNTAX: too short. */
enum vr_err dane_record_parse(struct vr_str rdata, struct dane_record *out);
/* May SMTP hold a server to it? Usages 2 and 3, selectors 0 and 1, matching 0 (with data that begins as DER does), 1 and 2 (with as many bytes as the
 * hash has). */
bool dane_record_usable(const struct dane_record *r);
/* "3 1 1 0123abcd…" of at most 4 bytes of data, for logs; "malformed". */
#define DANE_RECORD_TEXT 32
void dane_record_text(struct vr_str rdata, char out[DANE_RECORD_TEXT]);

#define DANE_RECORDS_MAX 32 /* of one host; of more usable ones the first count */
#define DANE_NAMES_MAX   3

struct dane_query {
    struct vr_str host;   /* of an MX record, the domain itself without MX records, or what the administrator named; no address */
    uint16_t port;        /* of SMTP on it */
    bool by_mx;           /* MX records led to it … */
    bool mx_secure;       /* … and DNSSEC vouches for them */
    struct vr_str domain; /* the next hop's; with by_mx */
    struct vr_str domain_canonical; /* what the domain is an alias of; empty, or the domain: none */
    const struct dns_answer *answers; /* all that is known so far: A and AAAA of the host too */
    size_t answer_count;
    bool no_ipv4, no_ipv6; /* such addresses are not asked for */
};

enum dane_verdict {
    DANE_ASK,     /* find the answers to `questions` and call again */
    DANE_NOTHING, /* DANE says nothing of this host */
    DANE_ENCRYPT, /* TLS must be, with any certificate: there are records, and none that is usable */
    DANE_VERIFY,  /* TLS must be, and match one of `records` */
    DANE_LATER    /* a look-up failed: the host must not be used now */
};

struct dane_result {
    enum dane_verdict verdict;
    const struct dns_question *questions;
    size_t question_count;
    struct vr_str base;            /* ENCRYPT, VERIFY: the TLSA base domain: for SNI, and the first of `names` */
    const struct vr_str *records;  /* VERIFY: the usable ones, as on the wire */
    size_t record_count;
    const struct vr_str *names;    /* VERIFY: whom a certificate under DANE-TA may name */
    size_t name_count;
    bool names_secure; /* VERIFY: DNSSEC vouches for the way from the domain to the host, too */
    struct vr_str text; /* LATER: a sentence for a DSN and a log; NOTHING: why not, a phrase for a person who looks into it */
};

/* Slices of the result point into the query, its answers and the arena. VR_ERR_TOO_BIG: the arena is full. */
enum vr_err dane_select(const struct dane_query *q, struct vr_arena *arena, struct dane_result *out);

#endif
