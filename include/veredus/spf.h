/* spf.h - the Sender Policy Framework: may this client send in the name of this domain? (RFC 7208, RFC 8616 §4)
 *
 * spf_check *asks*: it is a pure function over the client, the identity and the DNS's answers so far (dnsq.h). It gives the questions that are still open,
 * or the verdict; the caller finds the answers, adds them to those that it has, and calls again from the start. Terms are evaluated in the
 * order of the record, and nothing is asked that is not needed yet: what one term needs (the addresses of all MX hosts, say) comes at once.
 * At most SPF_QUESTIONS_MAX questions come in one call, and after SPF_ROUNDS_MAX calls the verdict is there.
 *
 * Limits of §4.6.4: 10 terms that ask the DNS, 10 MX hosts (more are a permerror), 10 names of a client (more are ignored), 2 look-ups in vain.
 * An answer that the DNS did not give now makes temperror, never a pass (but for the names of a client, §5.5, and explanations, §6.2).
 *
 * A target name that no question can be asked for (an empty label, one of more than 63 octets, a single label) matches nothing; §4.8 leaves this open.
 *
 * Tests: tests/unit/spf.c, tests/conformance/ (the openspf suite), tests/e2e/test_spf.py (beside spfquery and pyspf)
 */
#ifndef VEREDUS_SPF_H
#define VEREDUS_SPF_H

#include <veredus/dnsq.h>

#define SPF_LOOKUPS_MAX     10  /* terms: include, a, mx, ptr, exists, redirect */
#define SPF_VOIDS_MAX       2   /* look-ups that end in NXDOMAIN or without records */
#define SPF_HOSTS_MAX       10  /* MX hosts of a term, names of a client */
#define SPF_QUESTIONS_MAX   10  /* of one call */
#define SPF_ROUNDS_MAX      32  /* calls for one query, when all questions of a call are answered before the next */
#define SPF_EXPLANATION_MAX 500 /* octets; a longer explanation is none */

enum spf_verdict { /* §2.6 */
    SPF_NONE,      /* no domain to be checked, or it has no record */
    SPF_NEUTRAL,   /* the domain says nothing of this client; to be treated as none (§8.2) */
    SPF_PASS,
    SPF_FAIL,
    SPF_SOFTFAIL,
    SPF_TEMPERROR, /* the DNS did not answer */
    SPF_PERMERROR  /* the record (or one that it refers to) breaks its grammar or a limit */
};
const char *spf_verdict_name(enum spf_verdict v); /* "pass", "fail", … as in Authentication-Results and Received-SPF */

enum spf_identity {
    SPF_MAIL_FROM, /* the reverse path; postmaster@helo when it is empty (§2.4) */
    SPF_HELO       /* what stands behind EHLO or HELO (§2.3) */
};

struct spf_query {
    struct dns_address client; /* an IPv4-mapped IPv6 address counts as IPv4 (§5) */
    struct vr_str helo;        /* as the client said it; need not be a domain */
    struct vr_str sender;      /* the reverse path as text (address_text), without "<" and ">"; empty: the null path. Without an "@" it is a domain */
    enum spf_identity identity;
    struct vr_str receiver; /* our name, for %{r} of explanations; empty: "unknown" */
    int64_t now;            /* seconds since 1970, for %{t} */
    const struct dns_answer *answers; /* all that is known so far */
    size_t answer_count;
};

enum spf_state {
    SPF_ASK, /* find the answers to `questions` and call again */
    SPF_DONE
};

/* Slices point into the query, its answers and the arena. */
struct spf_result {
    enum spf_state state;
    const struct dns_question *questions; /* at least one with SPF_ASK; names in ASCII, without the trailing dot */
    size_t question_count;
    enum spf_verdict verdict; /* from here on only with SPF_DONE */
    struct vr_str domain;     /* what was checked, as A-labels in lower case: the domain that takes responsibility. As it was said, where it is no domain */
    struct vr_str mechanism;  /* that matched, as it stands in the record ("-all", "ip4:192.0.2.0/24"); "default": none did; empty: no evaluation came to its end */
    struct vr_str reason;     /* a phrase for a comment in Authentication-Results and a log, never empty. Parts may be of the record: visible ASCII */
    struct vr_str explanation; /* SPF_FAIL: what the domain's owner says to it (exp=, §6.2), visible ASCII and blanks; empty: nothing. Say whose words these are */
    bool local_part;           /* the local part of the sender had a say in it (a macro %{l} or %{s}) */
    unsigned lookups, voids;   /* how many of SPF_LOOKUPS_MAX and SPF_VOIDS_MAX were needed */
};

/* VR_ERR_TOO_BIG: the arena is full (64 KiB and 8 times the sizes of helo and sender are enough). */
enum vr_err spf_check(const struct spf_query *q, struct vr_arena *arena, struct spf_result *out);

/* Appends a whole Received-SPF field (§9.1), folded, with CRLF, to be put on top of the message. False when it does not fit. */
bool spf_received(struct vr_buf *out, const struct spf_query *q, const struct spf_result *r);

/* Reads a record without evaluating it, for tools. VR_ERR_NOT_FOUND: it is none ("v=spf1" is not its first word); VR_ERR_SYNTAX: it breaks its grammar,
 * *why and *where (a slice of txt) say how. *lookups: how many of SPF_LOOKUPS_MAX its own terms take, those of records that it includes
 * not counted. */
enum vr_err spf_record_parse(struct vr_str txt, unsigned *lookups, const char **why, struct vr_str *where);

#endif
