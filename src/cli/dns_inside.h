/* dns_inside.h - shared by dns.c (the command line, and what is printed), dns_ask.c (the DNS), dns_check.c and dns_check_mail.c (comparing). */
#ifndef CLI_DNS_INSIDE_H
#define CLI_DNS_INSIDE_H

#include "cli/dns_plan.h"

#include <veredus/dnsq.h>

/* ---- dns_ask.c: questions, answered once ------------------------------------------------------------------------------------- */

#define DNS_TYPE_OTHER_CNAME ((enum dns_type)5) /* of use to tools only */
#define DNS_TYPE_SRV         ((enum dns_type)33)
#define DNS_ASKED_MAX        1024

struct io;
struct dns_asker;
/* servers: NULL-terminated, NULL: the system's. trust_anchor: NULL: the distribution's. NULL, with a sentence: it cannot be asked. */
struct dns_asker *dns_asker_new(struct vr_arena *arena, const char *const *servers, const char *trust_anchor,
                                char error[256]);
void dns_asker_free(struct dns_asker *a);
struct io *dns_asker_io(struct dns_asker *a);
/* Blocks. Never NULL; beyond DNS_ASKED_MAX questions it is an answer that failed. It lives with the arena. */
const struct dns_answer *dns_get(struct dns_asker *a, struct vr_str name, enum dns_type type);
/* All that were answered so far, for those that ask (spf.h). */
const struct dns_answer *dns_known(const struct dns_asker *a, size_t *count);
/* "4.3.2.1.in-addr.arpa", "….ip6.arpa" */
struct vr_str dns_reverse(struct vr_arena *arena, const struct dns_address *address);
void dns_address_text(const struct dns_address *address, char out[IO_ADDRESS_TEXT]);

/* ---- dns_check.c ------------------------------------------------------------------------------------------------------------------ */

enum dns_verdict { DNS_OK, DNS_NOTE, DNS_WARNING, DNS_UNKNOWN /* the DNS failed */, DNS_MISSING, DNS_WRONG };
#define DNS_VERDICTS (DNS_WRONG + 1)
const char *dns_verdict_name(enum dns_verdict v); /* "ok", …, "wrong" */

struct dns_finding {
    enum dns_verdict verdict;
    const char *what;      /* "MX", "SPF", "PTR", … */
    struct vr_str name;    /* of the DNS */
    struct vr_str text;    /* what is so, and how to mend it */
    struct vr_str publish; /* the line for the zone; empty: none would mend it */
};

struct dns_checking {
    const struct dns_plan_facts *facts;
    const struct dns_plan *plan;
    struct dns_asker *dns;
    struct vr_arena *arena;
    const char *ca_file;  /* for the policy host; NULL: the system's */
    uint16_t policy_port; /* 443, but in labs */
    int64_t now;
    void (*found)(void *arg, const struct dns_finding *f);
    void *arg;
};
/* Finds what there is to find, one after the other. */
void dns_check_all(struct dns_checking *c);

/* A finding; publish: NULL: none. */
void dns_tell(struct dns_checking *c, enum dns_verdict v, const char *what, struct vr_str name,
              const struct dns_plan_record *publish, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* The answer failed: told, and true. */
bool dns_failed(struct dns_checking *c, const char *what, const struct dns_answer *a);
/* The TXT records that begin with this: how many, and the first. */
size_t dns_texts(const struct dns_answer *a, struct vr_str begin, struct vr_str *first);

/* dns_check_mail.c: who may send. dns_check_tls.c: how mail comes here. */
void dns_check_spf(struct dns_checking *c);
void dns_check_dkim(struct dns_checking *c);
void dns_check_dmarc(struct dns_checking *c);
void dns_check_mta_sts(struct dns_checking *c);
void dns_check_tls_rpt(struct dns_checking *c);
void dns_check_tlsa(struct dns_checking *c);

#endif
