/* dns.h - asking the DNS (libunbound: caching, DNSSEC-validating). */
#ifndef IO_DNS_H
#define IO_DNS_H

#include "io/io.h"

enum io_dns_status {
    IO_DNS_OK,        /* records came */
    IO_DNS_NODATA,    /* the name exists, without records of this type */
    IO_DNS_NXDOMAIN,  /* the name does not exist */
    IO_DNS_FAILED     /* SERVFAIL, timeout, bogus: ask again later */
};
enum io_dns_type { IO_DNS_A = 1, IO_DNS_CNAME = 5, IO_DNS_PTR = 12, IO_DNS_MX = 15, IO_DNS_TXT = 16, IO_DNS_AAAA = 28, IO_DNS_SRV = 33, IO_DNS_TLSA = 52 };

struct io_dns_record {
    struct vr_str name;   /* host name of MX, CNAME, PTR: text without the trailing dot ("" is the root); else empty */
    uint16_t preference;  /* MX */
    struct vr_str data;   /* raw rdata: 4/16 bytes of A/AAAA; strings joined for TXT; TLSA, SRV raw */
};

struct io_dns_answer {
    enum io_dns_status status;
    bool secure;             /* DNSSEC-validated */
    bool bogus;              /* DNSSEC said no: why in `why` */
    struct vr_str canonical; /* the name at the end of the CNAME chain (the asked name if there is none) */
    uint32_t ttl;            /* seconds */
    const struct io_dns_record *records;
    size_t count;
    const char *why;         /* for IO_DNS_FAILED: a phrase for a log or DSN ("SERVFAIL", "timed out") */
};

struct io_dns_config {
    const char *const *forwarders; /* "127.0.0.1@5353" or "192.0.2.1"; NULL-terminated; NULL: /etc/resolv.conf.
                                    * They decide about *.test and private reverse zones, too */
    const char *trust_anchor_file; /* NULL: the distribution's, when it exists; else no validation */
    int64_t timeout_ms;            /* per question; IO_DNS_FAILED after it. 0: 20 s */
};

struct io_dns;
struct io_dns *io_dns_new(struct io *io, const struct io_dns_config *config, char error[256]);
void io_dns_free(struct io_dns *d);

struct io_dns_query;
/* name: text, without or with a trailing dot; never searched in local domains. answer comes once, in the loop; its slices live
 * until the return. Names that are no domain names answer NXDOMAIN. */
struct io_dns_query *io_dns_ask(struct io_dns *d, struct vr_str name, enum io_dns_type type,
                                void (*answer)(void *arg, const struct io_dns_answer *a), void *arg);
void io_dns_cancel(struct io_dns_query *q); /* before the answer came; no callback then */

#endif
