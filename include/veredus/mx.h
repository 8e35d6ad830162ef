/* mx.h - where mail for a domain goes: MX records, their order, and the addresses of the hosts (RFC 5321 §5, RFC 7505).
 *
 * A pure function over known answers: mx_select returns the questions that are still open, or the verdict. The caller finds the answers,
 * adds them, and calls again from the start. Questions that may be asked at the same time come together.
 *
 * Order:      preferences ascending; hosts of one preference shuffled by the seed (§5.1). A host's addresses alternate between IPv6
 *             and IPv4, IPv6 first, each family shuffled too: one family that is broken costs one attempt, not all.
 * Loops:      a host that is ourselves, by name or address, is cut out with all of equal or worse preference (§5.1).
 * Tolerated:  an MX that points to an alias (its addresses are asked all the same). Skipped: an MX that names an address or no host name.
 * Tests:      tests/unit/mx.c
 */
#ifndef VEREDUS_MX_H
#define VEREDUS_MX_H

#include <veredus/dnsq.h>

#define MX_HOSTS_MAX     16 /* of the best preferences; a domain with more names the rest in vain */
#define MX_ADDRESSES_MAX 8  /* of one host */

struct mx_query {
    struct vr_str domain; /* or an address literal: "[192.0.2.1]" */
    bool host_only;       /* the domain names a host: its addresses only, no MX records */
    bool no_ipv4, no_ipv6;
    uint64_t seed;                  /* random, the same for all calls about one query */
    const struct vr_str *own_names; /* ours, without case */
    size_t own_name_count;
    const struct dns_address *own_addresses; /* where connecting would reach ourselves */
    size_t own_address_count;
    const struct dns_answer *answers; /* all that is known so far */
    size_t answer_count;
};

struct mx_host {
    struct vr_str name; /* as in the MX record; of a literal the literal */
    uint16_t preference;
    const struct dns_address *addresses;
    size_t address_count; /* at least 1 */
};

enum mx_verdict {
    MX_ASK,       /* find the answers to `questions` and call again */
    MX_HOSTS,     /* connect to `hosts`, in this order */
    MX_PERMANENT, /* no mail can ever go there: status and text */
    MX_TEMPORARY  /* the DNS did not answer: later */
};

struct mx_result {
    enum mx_verdict verdict;
    const struct dns_question *questions;
    size_t question_count;
    const struct mx_host *hosts;
    size_t host_count;
    bool secure; /* HOSTS: nobody but the domain's owner can have named them: by DNSSEC-validated MX records (RFC 8689 §4.2.1), or no record is
                    between the domain and the host: it is its own, a literal, or given as a host */
    const char *enhanced; /* "5.1.10", "5.1.2", "5.4.4", "5.4.6", "4.4.3" */
    struct vr_str text;   /* a sentence for a DSN and a log */
};

/* Slices of the result point into the query, its answers and the arena. VR_ERR_TOO_BIG: the arena is full. */
enum vr_err mx_select(const struct mx_query *q, struct vr_arena *arena, struct mx_result *out);

#endif
