/* spf_inside.h - what the files of SPF share.
 *
 *   spf_record.c   the grammar: terms of a record, macros of a domain-spec       spf_macro.c   macros expanded, names that can be asked for
 *   spf_names.c    the client's validated names (ptr, %{p}), questions           spf_check.c   check_host of RFC 7208 §4
 *   spf_field.c    the Received-SPF field
 */
#ifndef AUTH_SPF_INSIDE_H
#define AUTH_SPF_INSIDE_H

#include <veredus/spf.h>

/* ---- the grammar (§4.6.1, §7.1, §12) ------------------------------------------------------------------------------ */

enum spf_kind {
    SPF_TERM_ALL,
    SPF_TERM_INCLUDE,
    SPF_TERM_A,
    SPF_TERM_MX,
    SPF_TERM_PTR,
    SPF_TERM_IP4,
    SPF_TERM_IP6,
    SPF_TERM_EXISTS,
    SPF_TERM_REDIRECT,
    SPF_TERM_EXP,
    SPF_TERM_UNKNOWN /* a modifier to be ignored (§6) */
};

struct spf_term {
    enum spf_kind kind;
    enum spf_verdict qualifier; /* of a mechanism */
    struct vr_str text;         /* the whole term */
    struct vr_str spec;         /* the domain-spec; empty: none */
    struct dns_address network; /* ip4, ip6 */
    unsigned prefix4, prefix6;  /* bits */
};

enum spf_read { SPF_READ_TERM, SPF_READ_END, SPF_READ_BAD };
/* Takes the next term off *rest (what stands behind "v=spf1"). SPF_READ_BAD: *why says how, t->text is the term. */
enum spf_read spf_term_next(struct vr_str *rest, struct spf_term *t, const char **why);

/* Is it a record at all (§4.5)? *rest gets what stands behind its version. */
bool spf_record_is(struct vr_str txt, struct vr_str *rest);

/* What a whole record says that must be known before its first term is evaluated. */
struct spf_summary {
    bool all;                      /* so redirect does not count (§6.1) */
    unsigned lookups;              /* terms that ask the DNS */
    struct spf_term redirect, exp; /* spec is empty: there is none */
    struct spf_term bad;           /* the term that breaks the grammar */
    const char *why;               /* NULL: none does */
};
/* False: `why` and `bad` say what is wrong. */
bool spf_record_read(struct vr_str rest, struct spf_summary *out);

/* ---- macros (§7) ----------------------------------------------------------------------------------------------------- */

struct spf_macro {
    enum { SPF_MACRO_LITERAL, SPF_MACRO_ESCAPE, SPF_MACRO_LETTER } kind;
    struct vr_str text; /* what stands there */
    char letter;        /* in lower case */
    bool escape;        /* it was an upper case letter */
    bool transformed;   /* to be split: with digits, "r" or delimiters */
    bool reverse;
    unsigned parts;           /* 0: all */
    struct vr_str delimiters; /* empty: "." */
};

/* Takes the next piece off a macro-string. explanation: blanks and the letters c, r, t are allowed. False, with *why: the text breaks
 * its grammar, or there is none left (*why is NULL). */
bool spf_macro_next(struct vr_str *rest, bool explanation, struct spf_macro *m, const char **why);

/* ---- a check ----------------------------------------------------------------------------------------------------------- */

enum spf_step {
    SPF_GOES_ON, /* no match; or: what was wanted is there */
    SPF_MATCHES,
    SPF_ASKED,     /* a question is open */
    SPF_TEMPORARY, /* temperror: reason says why */
    SPF_PERMANENT, /* permerror: likewise */
    SPF_NO_MEMORY
};

struct spf_run {
    const struct spf_query *q;
    struct vr_arena *arena;
    struct spf_result *out;
    struct dns_question *questions; /* SPF_QUESTIONS_MAX */
    struct dns_address client;      /* IPv4-mapped addresses are IPv4 here */
    struct vr_str client_text;      /* %{c} */
    struct vr_str local, domain;    /* of <sender>: "postmaster" where it has none; A-labels */
    struct vr_str helo;             /* in ASCII where that is possible */
    struct vr_str reason;           /* of SPF_TEMPORARY and SPF_PERMANENT */
};

/* The answer to a question, or SPF_ASKED. */
enum spf_step spf_ask(struct spf_run *r, struct vr_str name, enum dns_type type,
                      const struct dns_answer **out);
/* How many records an answer has that count: none unless its status is OK. */
size_t spf_answer_count(const struct dns_answer *a);
/* The client's names whose addresses lead back to it (§5.5), at most SPF_HOSTS_MAX of its PTR records looked at. *out is in the arena.
 * SPF_TEMPORARY: its PTR records could not be had. *found: there were PTR records. */
enum spf_step spf_client_names(struct spf_run *r, const struct vr_str **out, size_t *count, bool *found);
bool spf_is_below(struct vr_str name, struct vr_str domain); /* a subdomain, or the same */

/* Can the DNS be asked for the name? At least two labels (§4.3), each of 1 to 63 octets of visible ASCII or blanks, 253 in all. */
bool spf_name_valid(struct vr_str name);
/* A target name: the domain-spec expanded (the domain itself where spec is empty), cut to 253 octets from the left, without the dot at its end.
 * SPF_GOES_ON; *out is empty: no question can be asked for it. */
enum spf_step spf_target(struct spf_run *r, struct vr_str spec, struct vr_str domain, struct vr_str *out);
/* An explanation, expanded. SPF_GOES_ON; *out is empty: it breaks its grammar, is too long or not ASCII. */
enum spf_step spf_explain(struct spf_run *r, struct vr_str text, struct vr_str domain, struct vr_str *out);

struct vr_str spf_address_text(struct vr_arena *arena, const struct dns_address *a);
/* What stands in a record or was said by a client, for a reason: other bytes than visible ASCII become "?", and it is cut to 80 octets. */
struct vr_str spf_clean(struct vr_arena *arena, struct vr_str s);

#endif
