/* authres.h - Authentication-Results: writing, reading, and finding those that others put in our name (RFC 8601).
 *
 * Tests: tests/unit/authres.c
 */
#ifndef VEREDUS_AUTHRES_H
#define VEREDUS_AUTHRES_H

#include <veredus/arc.h>
#include <veredus/dmarc.h>
#include <veredus/message.h>
#include <veredus/spf.h>

#define AUTHRES_RESULTS_MAX    100 /* of one field that is read */
#define AUTHRES_PROPERTIES_MAX 50  /* of one result */

struct authres_property {
    struct vr_str ptype;    /* "smtp", "header", "policy" */
    struct vr_str property; /* "mailfrom", "d" */
    struct vr_str value;    /* what is meant; quoted where it must be */
};

struct authres_result {
    struct vr_str method; /* "spf", "dkim", "dmarc", "arc", "auth", "iprev" */
    unsigned version;     /* of the method; 0: not given, which means 1 */
    struct vr_str result; /* "pass", "fail", … */
    struct vr_str comment; /* behind the result, without parentheses; writing only: what must be escaped is */
    struct vr_str reason;  /* may be empty */
    const struct authres_property *properties;
    size_t property_count;
    struct vr_str raw; /* reading only: the whole of it as it stands, comments and folding kept */
};

struct authres {
    struct vr_str id;  /* the authserv-id */
    unsigned version;  /* 0: not given, which means 1 */
    const struct authres_result *results; /* none: "none" */
    size_t result_count;
};

/* Appends "Authentication-Results: id; method=result …\r\n", folded at 78 columns where that is possible. Values are quoted where they must be;
 * control bytes, CR and LF become "?", so nothing that a stranger said can start a new field. UTF-8 stays. False when it does not fit, or
 * id, a method, a result, a ptype or a property is not written with the letters that it may have. */
bool authres_write(struct vr_buf *out, const struct authres *a);
/* The same without the field's name and the last line end: what an ARC-Authentication-Results field takes. */
bool authres_payload(struct vr_buf *out, const struct authres *a);

/* Reads a field's body (of ARC-Authentication-Results what stands behind "i=N;"). VR_ERR_SYNTAX: it breaks its grammar; VR_ERR_UNSUPPORTED: a version
 * that is not 1 (only id and version are set); VR_ERR_TOO_BIG: more results than the bounds above, or the arena is full. Slices point into
 * the body and the arena. */
enum vr_err authres_parse(struct vr_arena *arena, struct vr_str body, struct authres *out);

/* Which Authentication-Results fields of a header must go before ours is put on top (§5): those that claim one of our authserv-ids, whatever the case,
 * the quoting and the form of their labels, and those that cannot be read or are of another version, since who reads them more
 * loosely might take them for ours. ids: all that this ADMD uses. *out: the fields, in the order of the header; in the arena.
 * VR_ERR_TOO_BIG: the arena is full; remove all of them then. */
enum vr_err authres_forged(struct vr_arena *arena, struct vr_str header, const struct vr_str *ids, size_t id_count,
                           struct header_field **out, size_t *count);

/* All results of the fields of a header with this authserv-id as one payload, for ARC-Authentication-Results (RFC 8617 §4.1.1), as they stand:
 * comments are kept. "id; none" when there are none. */
bool authres_merge(struct vr_buf *out, struct vr_str header, struct vr_str id);

/* What DKIM and ARC found, as results: dkim=none when there is no signature. remote_ip: of the client, may be empty. NULL: the arena is full. */
const struct authres_result *authres_of_dkim(struct vr_arena *arena, const struct dkim_result *r, size_t *count);
const struct authres_result *authres_of_arc(struct vr_arena *arena, const struct arc_result *r, struct vr_str remote_ip);
/* dmarc=… with header.from and, when there is a policy, policy.dmarc: what the owner wants done (RFC 9989 §9.1). disposition: what was done, for the comment. */
const struct authres_result *authres_of_dmarc(struct vr_arena *arena, const struct dmarc_result *r, enum dmarc_policy disposition);
/* What SPF found: smtp.mailfrom or smtp.helo, by the identity that was checked. The value is the domain, or the whole address where the domain's records
 * ask for the local part (RFC 8601 §2.7.2). q: of the spf_check. NULL: the arena is full. */
const struct authres_result *authres_of_spf(struct vr_arena *arena, const struct spf_query *q, const struct spf_result *r);

#endif
