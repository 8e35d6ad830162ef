/* arc.h - the Authenticated Received Chain: validating and sealing (RFC 8617).
 *
 * Validating *asks*, like dkim_verify: first for the keys of the newest set, and only when its signatures hold for those of the older ones
 * (RFC 8617 §9.2). All failures are final (§5.2.1); an answer that the DNS did not give now is one too.
 *
 * Sealing takes three steps with two signatures, since the ARC-Seal covers the ARC-Message-Signature: begin, signed, finish.
 *
 * Tests: tests/unit/arc.c, tests/conformance/ (ValiMail's suite), tests/e2e/test_auth_peers.py
 */
#ifndef VEREDUS_ARC_H
#define VEREDUS_ARC_H

#include <veredus/dkim.h>

#define ARC_SETS_MAX 50 /* RFC 8617 §4.2.1 */

enum arc_status { ARC_NONE, ARC_PASS, ARC_FAIL }; /* the Chain Validation Status, §4.4 */
const char *arc_status_name(enum arc_status s);

/* One set of a chain whose structure is valid. */
struct arc_set {
    struct vr_str domain;          /* d= of the ARC-Seal, as A-labels in lower case: the sealer */
    struct vr_str selector;        /* s= of the ARC-Seal, as written */
    struct vr_str message_domain;  /* d= of the ARC-Message-Signature, likewise */
    struct vr_str authres;         /* ARC-Authentication-Results behind "i=N;": authres_parse reads it */
    bool from_signed;              /* does the ARC-Message-Signature cover From? */
};

struct arc_result {
    enum dkim_state state; /* DKIM_ASK: as of dkim_verify */
    const struct dns_question *questions;
    size_t question_count;
    enum arc_status status;
    struct vr_str reason;     /* of ARC_FAIL: a phrase */
    bool temporary;           /* of ARC_FAIL: only since the DNS did not answer; one who can have the message sent again may want that */
    unsigned instances;       /* N, the highest instance; 0: no chain */
    unsigned oldest_pass;     /* §5.2 step 5: the oldest set whose ARC-Message-Signature holds; 0: all do */
    bool sealed_fail;         /* the newest ARC-Seal says cv=fail: nothing is to be added (§5.1 step 2) */
    const struct arc_set *sets; /* sets[0] is instance 1; NULL unless the structure is valid */
};

/* policy: as for DKIM. Errors as of dkim_verify (128 KiB and twice the header are enough of an arena). */
enum vr_err arc_validate(const struct mail_digest *d, const struct dkim_query *q, struct vr_arena *arena, struct arc_result *out);

/* ---- sealing ----------------------------------------------------------------------------------------------------------------------- */

struct arc_sealer {
    struct vr_str domain, selector;
    enum dkim_algorithm algorithm;
    enum mail_canon header_canon, body_canon; /* of the ARC-Message-Signature */
    int64_t time;             /* t= of both; negative: none */
    const struct vr_str *fields; /* h= of the ARC-Message-Signature; NULL: the default, as for DKIM, with the DKIM-Signatures */
    size_t field_count;
    enum arc_status status;   /* what arc_validate said of the message that came */
    bool unfolded;            /* b= of the ARC-Message-Signature on one line, as the protocol's test suite has it, and not on lines of 78 columns: where
                               * it is broken is a part of what the ARC-Seal signs. Other than that both are the same to everybody */
    struct vr_str authres;    /* the payload of ARC-Authentication-Results: "id; method=result …", of authres_payload or authres_merge */
};

struct arc_seal {
    uint8_t digest[DKIM_DIGEST]; /* to be signed now, as of struct dkim_unsigned */
    unsigned instance;
    struct vr_arena *arena;
    struct vr_str results, message, seal; /* the three fields */
    struct dkim_unsigned pending;
    const struct mail_digest *message_digest;
    const struct arc_sealer *sealer;
    enum { ARC_SEAL_MESSAGE, ARC_SEAL_SEAL, ARC_SEAL_DONE } step;
};

/* The ARC-Message-Signature is to be signed next. sealer, d and arena stay until the end. added: as of dkim_sign_prepare.
 * VR_ERR_STATE: the newest seal says cv=fail, so nothing is to be added; the status cannot be this message's; or as of dkim_sign_prepare. VR_ERR_TOO_BIG: there are 50 sets
 * already, or as there. VR_ERR_SYNTAX: authres has no authserv-id, `fields` names Authentication-Results or a field of ARC (§4.1.2), or as there. */
enum vr_err arc_seal_begin(const struct mail_digest *d, const struct arc_sealer *sealer, struct vr_str added, struct vr_arena *arena,
                           struct arc_seal *out);
/* Takes the signature of `digest`; then the ARC-Seal's digest is in its place, and after the second there is none. */
enum vr_err arc_seal_signed(struct arc_seal *s, struct vr_str signature);
/* After both: appends the three fields, to be put on top of the message. False when they do not fit. */
bool arc_seal_finish(const struct arc_seal *s, struct vr_buf *out);

#endif
