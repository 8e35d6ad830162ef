/* srs.h - the Sender Rewriting Scheme: reverse paths for mail that is forwarded (as libsrs2 and postsrsd write them).
 *
 * A forwarder that keeps the reverse path sends in the name of a domain whose SPF record does not know it. So it writes one of its own domain
 * around it, from which a bounce finds back:
 *
 *     ann@example.org, forwarded by fwd.test     SRS0=HHHH=TT=example.org=ann@fwd.test
 *     that, forwarded by third.test              SRS1=HHHH=fwd.test==HHHH=TT=example.org=ann@third.test
 *
 * HHHH is the beginning of a keyed hash (HMAC-SHA1 in base64) over what follows, so that nobody else can make an address that we would send mail
 * on for; TT is the day, modulo 1024. Cases get lost on the way of mail, so hashes are compared and computed without. An SRS1 leads straight to the first
 * forwarder, whose own hash says whether its address still counts.
 *
 * Pure functions: secrets and time are arguments. Tests: tests/unit/srs.c, tests/fuzz/fuzz_srs.c, tests/e2e/test_srs.py (beside postsrsd)
 */
#ifndef VEREDUS_SRS_H
#define VEREDUS_SRS_H

#include <veredus/address.h>

#define SRS_MAX_AGE     21 /* days; what others take, too */
#define SRS_ANY_AGE     1023 /* for max_age: days come round, so every one is good */
#define SRS_HASH        4  /* letters of a hash; some 20 bits without case */
#define SRS_HASH_MAX    27
#define SRS_SECRETS_MAX 8

struct srs {
    struct vr_str domain;         /* ours, A-labels: what stands behind the "@" of addresses that are made */
    const struct vr_str *secrets; /* any bytes. The first signs, all are tried when an address comes back */
    size_t secret_count;          /* 1..SRS_SECRETS_MAX */
    unsigned max_age;             /* days that an address lives; 0: SRS_MAX_AGE; at most SRS_ANY_AGE */
    unsigned hash;                /* letters that are written, and at least wanted; 0: SRS_HASH; at most SRS_HASH_MAX */
};

/* Is it a local part of the scheme, ours or another's? "SRS0" or "SRS1" in any case, and "=", "+" or "-". */
bool srs_is(struct vr_str local);

/* The reverse path for mail of `sender` that we forward. *out points into the arena, sender and srs.
 * VR_ERR_STATE: the null path, one without a domain or with an empty local part, or one of our domain already: it stays as it is. VR_ERR_TOO_BIG: what comes out would be longer than
 * a path may be (RFC 5321 §4.5.3.1.3), or the arena is full (2 KiB are enough): keep the sender. VR_ERR_SYNTAX: no secret, or too many. */
enum vr_err srs_forward(const struct srs *srs, const struct address *sender, int64_t now, struct vr_arena *arena,
                        struct address *out);

enum srs_verdict {
    SRS_NONE,    /* not of the scheme */
    SRS_GOOD,    /* *out is where it leads: the sender, or the first forwarder's SRS0 address */
    SRS_BROKEN,  /* of the scheme, but a part of it is missing, or it leads to no address */
    SRS_FORGED,  /* the hash is none of ours */
    SRS_EXPIRED  /* the hash is ours, the day is too long ago */
};
const char *srs_verdict_name(enum srs_verdict v); /* "none", "good", … */

/* Where an address of our domain leads; what stands behind its "@" is not looked at. now: seconds since 1970. The result of SRS_GOOD is
 * an address that a path may have, without UTF-8 in its domain; it points into the arena. A full arena gives SRS_BROKEN. */
enum srs_verdict srs_reverse(const struct srs *srs, struct vr_str local, int64_t now, struct vr_arena *arena, struct address *out);

#endif
