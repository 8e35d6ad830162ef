/* dmarc_inside.h - what the files of DMARC share: records by name, tree walks, open questions.
 *
 *   dmarc_record.c        a TXT record becomes a struct dmarc_record; URIs
 *   dmarc_from.c          the domains of From
 *   dmarc_walk.c          records by name, the tree walk, the public suffix list, organisational domains
 *   dmarc.c               policy discovery, alignment, the verdict
 *   dmarc_arc.c           a trusted forwarder's word
 */
#ifndef AUTH_DMARC_INSIDE_H
#define AUTH_DMARC_INSIDE_H

#include <veredus/dmarc.h>

/* What is known of a name. */
enum known {
    KNOWN_RECORD,  /* one valid record */
    KNOWN_NOTHING, /* no record */
    KNOWN_MANY,   /* several: the same as none (RFC 9989 §4.10), but RFC 7489 §6.6.3 goes no further then */
    KNOWN_FAILED, /* the DNS failed */
    KNOWN_ASKED   /* a question is open */
};

struct dmarc_name {
    struct vr_str domain;
    enum known known;
    const struct dmarc_record *record;
    struct dmarc_name *next;
};

/* One call of a function that asks. */
struct dmarc_context {
    struct vr_arena *arena;
    enum dmarc_method method;
    const struct dns_answer *answers;
    size_t answer_count;
    struct dmarc_name *names; /* looked up so far */
    struct dns_question *questions;
    size_t question_count, question_max;
    bool full; /* the arena is: give up with VR_ERR_TOO_BIG */
};

/* A domain as A-labels in lower case, without a dot at the end; false: it is none that the DNS could know. */
bool dmarc_domain(struct vr_arena *arena, struct vr_str text, struct vr_str *out);
/* The name without its leftmost label; empty for one label. */
struct vr_str dmarc_parent(struct vr_str domain);
/* Is `domain` the same as `above`, or below it? Both in lower case. */
bool dmarc_is_within(struct vr_str domain, struct vr_str above);

/* The answer; NULL: it was put among the questions. */
const struct dns_answer *dmarc_ask(struct dmarc_context *c, struct vr_str name, enum dns_type type);
/* The record of _dmarc.<domain>. */
const struct dmarc_name *dmarc_lookup(struct dmarc_context *c, struct vr_str domain);

/* Where a domain belongs. */
struct dmarc_place {
    enum known known;           /* of the organisational domain: KNOWN_RECORD, KNOWN_FAILED or KNOWN_ASKED */
    struct vr_str organization; /* set in any case: the domain itself while it is not known */
    const struct dmarc_name *own; /* the domain's own record */
    const struct dmarc_name *
        policy; /* what the organisational domain publishes, else the public suffix above it; NULL: neither does */
};
/* domain: of dmarc_domain. */
void dmarc_locate(struct dmarc_context *c, struct vr_str domain, struct dmarc_place *out);

#endif
