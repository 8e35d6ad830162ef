/* dmarc.h - Domain-based Message Authentication, Reporting, and Conformance: who may speak for the domain of From, and what its owner wants done
 * with the rest (RFC 9989; by choice the public suffix method of RFC 7489).
 *
 * Evaluating *asks*: dmarc_evaluate is a pure function over what SPF and DKIM found and the DNS's answers so far. All names of a tree walk are
 * asked for at once, at most eight of them for a domain (RFC 9989 §4.10); authenticated domains that can not be aligned cost no question.
 *
 *     dmarc_from(header)                → the domains of From
 *     dmarc_evaluate(…)                 → questions, or verdict and disposition
 *     dmarc_arc_override(…)             does a trusted forwarder vouch for a message that fails?
 *
 * Nothing here decides what becomes of a message: `disposition` is what the domain's owner asks for.
 *
 * Tests: tests/unit/dmarc.c, tests/conformance/ (the public suffix list's own cases), tests/fuzz/fuzz_dmarc.c
 */
#ifndef VEREDUS_DMARC_H
#define VEREDUS_DMARC_H

#include <veredus/arc.h>

#define DMARC_FROM_MAX  8  /* domains of From that are evaluated (RFC 9989 §11.5) */
#define DMARC_URIS_MAX  16 /* of rua or ruf that are read */
#define DMARC_WALK_MAX  8  /* questions of a tree walk (RFC 9989 §4.10) */
#define DMARC_RECORD_MAX 8192 /* octets of a record that is read */

/* How an organisational domain is found. */
enum dmarc_method {
    DMARC_TREE_WALK,    /* RFC 9989 §4.10 */
    DMARC_PUBLIC_SUFFIX /* RFC 7489 §3.2, by the list that libpsl was built with */
};

/* RFC 9989 §9.2 */
enum dmarc_verdict {
    DMARC_NONE, /* no policy is published, or From names no domain */
    DMARC_PASS,
    DMARC_FAIL,
    DMARC_TEMPERROR, /* the DNS did not answer, and nothing else passed */
    DMARC_PERMERROR  /* the record has no valid policy and nobody to tell; From names more domains than are evaluated */
};
const char *dmarc_verdict_name(enum dmarc_verdict v); /* "pass", "fail", … as in Authentication-Results */

enum dmarc_policy { DMARC_POLICY_NONE, DMARC_POLICY_QUARANTINE, DMARC_POLICY_REJECT };
const char *dmarc_policy_name(enum dmarc_policy p); /* "none", "quarantine", "reject" */

/* ---- records ----------------------------------------------------------------------------------------------------------------------- */

/* failure reporting options, fo= (RFC 9989 §4.7) */
enum dmarc_fo { DMARC_FO_ALL = 1, DMARC_FO_ANY = 2, DMARC_FO_DKIM = 4, DMARC_FO_SPF = 8 }; /* "0", "1", "d", "s" */

struct dmarc_uri {
    struct vr_str uri;   /* as written, without the obsolete size */
    uint64_t max_octets; /* of "!10m" (RFC 7489 §6.2); 0: no limit was given */
};

struct dmarc_record {
    enum dmarc_policy p, sp, np; /* effective: sp is p when there is none, np is sp; all none when the record counts as "p=none" (§4.10.1) */
    bool p_given, sp_given, np_given; /* valid tags of that name stand in the record */
    bool usable;      /* there is a valid p=, or somebody to report to (§4.10.1); when not, DMARC is not applied */
    bool adkim_strict, aspf_strict;
    char psd;         /* 'y', 'n' or 'u' */
    bool testing;     /* t=y */
    unsigned pct;     /* 0..100; RFC 7489 only */
    unsigned fo;      /* enum dmarc_fo; DMARC_FO_ALL without the tag */
    uint64_t interval; /* ri=, seconds; RFC 7489 only, 86400 without it */
    const struct dmarc_uri *rua, *ruf;
    size_t rua_count, ruf_count;
    struct vr_str text; /* the record as published */
    const char *fault;  /* a sentence on the first thing in it that was ignored, since it breaks the grammar; NULL: nothing */
};
/* Reads a TXT record. VR_ERR_SYNTAX: it is no DMARC record ("v=DMARC1" does not stand first); what is wrong behind that is ignored, tag by tag
 * (§4.8). VR_ERR_TOO_BIG: longer than DMARC_RECORD_MAX, or the arena is full. Slices point into the text and the arena. */
enum vr_err dmarc_record_parse(struct vr_arena *arena, struct vr_str txt, struct dmarc_record *out);

/* "mailto:postmaster@example.org" → the address, percent-encoding undone, header fields (?subject=) left off. VR_ERR_UNSUPPORTED: another scheme;
 * VR_ERR_SYNTAX: no address (or more than one) in it. */
enum vr_err dmarc_mailto(struct vr_arena *arena, struct vr_str uri, struct vr_str *address);

/* ---- who wrote it -------------------------------------------------------------------------------------------------------------------- */

struct dmarc_from {
    const struct vr_str *domains; /* of all From fields' mailboxes; each once, as A-labels in lower case; at most DMARC_FROM_MAX */
    size_t count;
    bool more;       /* there were more domains than that */
    unsigned fields; /* From fields; anything but 1 breaks RFC 5322 §3.6 */
    bool unreadable; /* a mailbox without a domain, or with one that no DNS knows, or a From field without any mailbox: who reads it more loosely
                      * may see another author there */
};
/* header: the header of a message, or the whole message. VR_ERR_TOO_BIG: the arena is full. */
enum vr_err dmarc_from(struct vr_arena *arena, struct vr_str header, struct dmarc_from *out);

/* ---- evaluating ------------------------------------------------------------------------------------------------------------------------ */

struct dmarc_query {
    enum dmarc_method method;
    const struct dmarc_from *from;
    /* SPF of the MAIL FROM identity (that of HELO counts only for <>, RFC 9989 §4.4.2 and RFC 7208 §2.4) */
    bool spf_pass, spf_temperror;
    struct vr_str spf_domain; /* the domain that it was checked for; empty: not checked */
    const struct dkim_signature *signatures; /* of dkim_verify, all of them */
    size_t signature_count;
    bool dkim_temperror; /* what signatures there are could not be found out: one of them might have passed */
    unsigned sample; /* 0..99, drawn for this message: pct= of RFC 7489 applies its policy when sample < pct */
    const struct dns_answer *answers; /* all that is known so far */
    size_t answer_count;
};

enum dmarc_source { DMARC_BY_P, DMARC_BY_SP, DMARC_BY_NP };
const char *dmarc_source_name(enum dmarc_source s); /* "p", "sp", "np" */

/* Slices point into the query, its answers, and the arena. */
struct dmarc_result {
    enum dkim_state state; /* DKIM_ASK, DKIM_DONE: as of dkim_verify */
    const struct dns_question *questions;
    size_t question_count;
    enum dmarc_verdict verdict;
    struct vr_str reason;          /* a phrase for a comment in Authentication-Results and a log; empty for a plain pass */
    enum dmarc_policy policy;      /* what the record says for this domain */
    enum dmarc_policy disposition; /* what its owner wants for this message: none unless the verdict is fail; testing and sampling are applied */
    enum dmarc_source source;
    bool nonexistent;              /* the domain of From does not exist, and np= was looked at */
    bool tested;                   /* the disposition is one step weaker by t=y */
    bool sampled_out;              /* … or by pct= */
    struct vr_str domain;          /* the domain of From that this is about; empty: there was none */
    struct vr_str record_domain;   /* where the record was found; empty: nowhere */
    struct vr_str organization;    /* the organisational domain of `domain`; empty while there is no record */
    const struct dmarc_record *record; /* NULL: none */
    bool spf_aligned, dkim_aligned; /* passed, and aligned with `domain` */
    size_t dkim_index;             /* of dkim_aligned: the first such signature */
    enum dmarc_method method;
};

/* Several domains in From: each is evaluated, and the result is the worst (the strictest disposition among those that fail; a pass only when all
 * pass, RFC 9989 §11.5). VR_ERR_TOO_BIG: the arena is full (256 KiB are enough). */
enum vr_err dmarc_evaluate(const struct dmarc_query *q, struct vr_arena *arena, struct dmarc_result *out);

/* The organisational domain alone, for tools and for reports. answers: all that is known so far. DKIM_DONE and temperror: the DNS failed. */
struct dmarc_organization {
    enum dkim_state state;
    const struct dns_question *questions;
    size_t question_count;
    bool temperror;
    struct vr_str domain; /* as A-labels in lower case */
};
enum vr_err dmarc_organization(enum dmarc_method method, struct vr_str domain, const struct dns_answer *answers, size_t answer_count,
                               struct vr_arena *arena, struct dmarc_organization *out);
/* The registrable domain by libpsl's list: one label more than the public suffix, as A-labels in lower case. VR_ERR_NOT_FOUND: the name is a
 * public suffix itself (dmarc_organization gives the name then); VR_ERR_SYNTAX: it is no name. */
enum vr_err dmarc_registrable(struct vr_arena *arena, struct vr_str domain, struct vr_str *out);

/* ---- overrides --------------------------------------------------------------------------------------------------------------------------- */

/* Why a receiver did not do what the owner asked (RFC 7489 appendix C, PolicyOverrideType; aggregate reports carry it). */
enum dmarc_override {
    DMARC_OVERRIDE_NONE,
    DMARC_OVERRIDE_FORWARDED,
    DMARC_OVERRIDE_SAMPLED_OUT,       /* pct= */
    DMARC_OVERRIDE_TRUSTED_FORWARDER,
    DMARC_OVERRIDE_MAILING_LIST,
    DMARC_OVERRIDE_LOCAL_POLICY,      /* ARC is one, RFC 8617 §7.2.2 */
    DMARC_OVERRIDE_POLICY_TEST_MODE,  /* t=y */
    DMARC_OVERRIDE_OTHER
};
const char *dmarc_override_name(enum dmarc_override o); /* "local_policy", …; "" for none */

/* Does a trusted sealer vouch for a message that failed? True when the chain passes, its newest set covers From, and the newest sets, all of them by
 * sealers of the list (their d=, compared as domains), include one that says dmarc=pass for this very domain of From. A set below one by
 * somebody who is not trusted counts for nothing: he could have changed everything. *comment: for DMARC_OVERRIDE_LOCAL_POLICY in a report
 * (§7.2.2: "arc=pass as[2].d=… as[2].s=…"). False also when the arena is full. */
bool dmarc_arc_override(const struct dmarc_result *r, const struct arc_result *arc, const struct vr_str *sealers, size_t sealer_count,
                        struct vr_arena *arena, struct vr_str *comment);

#endif
