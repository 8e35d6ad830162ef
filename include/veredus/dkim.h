/* dkim.h - DomainKeys Identified Mail: verifying and making signatures (RFC 6376, RFC 8301, RFC 8463, RFC 8616).
 *
 * Verifying *asks*: dkim_verify is a pure function over a message (mail_digest.h) and the DNS's answers so far. It gives the questions that are
 * still open (the keys, all at once), or a verdict for each signature.
 *
 * Signing takes two steps, so that the key may be in another process: dkim_sign_prepare gives the digest that is to be signed,
 * dkim_sign_finish takes the signature. Nothing depends on anything but the arguments: the same message and time give the same field.
 *
 * Tests: tests/unit/dkim_verify.c, tests/unit/dkim_sign.c, tests/conformance/, tests/e2e/test_auth_peers.py
 */
#ifndef VEREDUS_DKIM_H
#define VEREDUS_DKIM_H

#include <veredus/dnsq.h>
#include <veredus/mail_digest.h>

#define DKIM_SIGNATURES_MAX 16 /* evaluated, from the top; a message with more has the rest in vain (RFC 6376 §6.1) */
#define DKIM_RECORDS_MAX    8  /* key records under one name that are tried */
#define DKIM_DIGEST         32 /* SHA-256 */
#define DKIM_RSA_BITS_MIN   1024 /* RFC 8301 §3.2 */
#define DKIM_RSA_BITS_MAX   8192

/* ---- verifying ------------------------------------------------------------------------------------------------------------------- */

/* RFC 8601 §2.7.1. What RFC 6376 §3.9 calls SUCCESS is pass, TEMPFAIL is temperror, all others are PERMFAIL. */
enum dkim_verdict {
    DKIM_PASS,
    DKIM_FAIL,      /* the body or the header is not what was signed */
    DKIM_POLICY,    /* what was signed is intact, but the signature is not acceptable: `reason` */
    DKIM_NEUTRAL,   /* the field breaks its grammar, or uses what is not implemented */
    DKIM_TEMPERROR, /* the DNS did not answer */
    DKIM_PERMERROR  /* no key, a revoked or unusable one, an expired signature, no From signed, … */
};
const char *dkim_verdict_name(enum dkim_verdict v); /* "pass", "fail", … as in Authentication-Results */

enum dkim_algorithm {
    DKIM_ALGORITHM_UNKNOWN,
    DKIM_RSA_SHA1, /* historic: its signatures are checked, and never pass (RFC 8301 §3.1) */
    DKIM_RSA_SHA256,
    DKIM_ED25519_SHA256
};
const char *dkim_algorithm_name(enum dkim_algorithm a); /* "rsa-sha256"; "" when unknown */

/* What is acceptable. All zero is a good policy. */
struct dkim_policy {
    bool trust_length;   /* let a signature pass whose l= leaves a part of the body unsigned (RFC 6376 §8.2) */
    unsigned rsa_bits;   /* the least size of an RSA key; 0 and anything below: DKIM_RSA_BITS_MIN */
    unsigned tolerance;  /* seconds by which clocks may differ (t= in the future, x= in the past); 0: 300 */
    unsigned signatures; /* how many are evaluated; 0: DKIM_SIGNATURES_MAX, which is also the most */
};

/* One signature. Slices point into the message's digest and the arena. Texts of a field that breaks its grammar are empty. */
struct dkim_signature {
    enum dkim_verdict verdict;
    struct vr_str reason;   /* a phrase for a comment in Authentication-Results and a log; empty for a plain pass */
    struct vr_str domain;   /* d= as A-labels in lower case: the domain that takes responsibility (SDID) */
    struct vr_str d, s;     /* d= and s= as written */
    struct vr_str i;        /* i=, decoded; "@" and d= when there is none */
    struct vr_str a;        /* a= as written */
    struct vr_str b;        /* the beginning of b=, no other signature of the message begins so (RFC 6008 §4) */
    enum dkim_algorithm algorithm;
    unsigned key_bits;      /* 0 while there was no usable key */
    int64_t time, expires;  /* t= and x=, seconds since 1970; -1: not given */
    bool testing;           /* t=y of the key: to be treated as if there were no signature (RFC 6376 §3.6.1) */
    bool length_given;      /* l= */
    uint64_t unsigned_body; /* octets of the body beyond l=, after canonicalisation */
    struct vr_str field;    /* the whole field, as it stands in the message */
};

struct dkim_query {
    int64_t now; /* seconds since 1970: when the message came */
    struct dkim_policy policy;
    const struct dns_answer *answers; /* all that is known so far */
    size_t answer_count;
};

enum dkim_state {
    DKIM_ASK, /* find the answers to `questions` and call again; no questions: more of the message must come first */
    DKIM_DONE
};

struct dkim_result {
    enum dkim_state state;
    const struct dns_question *questions;
    size_t question_count;
    const struct dkim_signature *signatures; /* in the order of the header; none: the message is not signed */
    size_t signature_count;
    size_t ignored; /* fields beyond the number that the policy allows */
};

/* May be called when the header is complete. VR_ERR_STATE: it is not, or the digest was not made to verify; VR_ERR_TOO_BIG: the arena is full
 * (64 KiB and twice the header are enough). A header beyond its bound gives one signature, permerror. */
enum vr_err dkim_verify(const struct mail_digest *d, const struct dkim_query *q, struct vr_arena *arena, struct dkim_result *out);

/* ---- keys -------------------------------------------------------------------------------------------------------------------------- */

struct dkim_key; /* a private key, to sign with */
/* Reads PEM (PKCS #1 or #8) or DER, without a passphrase; 32 octets, or 44 characters of base64, are an Ed25519 secret (RFC 8463 §A.1).
 * VR_ERR_SYNTAX: none of these; VR_ERR_UNSUPPORTED: another kind of key, or RSA of fewer than 1024 or more than 8192 bits (RFC 8301 §3.2).
 * *why (never NULL on error) is a sentence for a person. */
enum vr_err dkim_key_load(struct vr_str text, struct dkim_key **out, const char **why);
void dkim_key_free(struct dkim_key *k);
enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *k); /* DKIM_RSA_SHA256 or DKIM_ED25519_SHA256 */
unsigned dkim_key_bits(const struct dkim_key *k); /* below 2048, RSA is weaker than RFC 8301 §3.2 recommends: worth a warning */
/* Signs a digest of dkim_sign_prepare or arc_seal_…; the signature is in the arena. */
enum vr_err dkim_key_sign(const struct dkim_key *k, const uint8_t digest[DKIM_DIGEST], struct vr_arena *arena, struct vr_str *signature);
/* Appends the record to be published: "v=DKIM1; k=rsa; p=…". */
bool dkim_key_record(const struct dkim_key *k, struct vr_buf *out);
/* Appends the private key itself, in PEM (PKCS #8) without a passphrase. The caller wipes it. False when it does not fit. */
bool dkim_key_pem(const struct dkim_key *k, struct vr_buf *out);

/* What a key record says, for tools: VR_ERR_SYNTAX and *why when it is none, or one that cannot be used. */
struct dkim_record {
    enum dkim_algorithm algorithm; /* by k= */
    unsigned bits;                 /* 0: revoked */
    bool revoked;                  /* p= is empty */
    bool testing;                  /* t=y */
    bool strict;                   /* t=s: i= may name no subdomain */
    struct vr_str public_key;      /* p=, decoded */
};
enum vr_err dkim_record_parse(struct vr_arena *arena, struct vr_str txt, struct dkim_record *out, const char **why);

/* ---- signing ----------------------------------------------------------------------------------------------------------------------- */

struct dkim_signer {
    struct vr_str domain;   /* d= */
    struct vr_str selector; /* s= */
    struct vr_str identity; /* i=; empty: none is written */
    enum dkim_algorithm algorithm;
    enum mail_canon header_canon, body_canon; /* body_canon is one of those that the digest was made for */
    int64_t time;           /* t=; negative: none */
    int64_t lifetime;       /* seconds from t= to x=; 0: no x= */
    const struct vr_str *fields; /* h=, in this order, exactly; NULL: the default, which signs what matters of the message, and
                                  * that no second From, To, Subject, … is added (see dkim_sign.c) */
    size_t field_count;
};

struct dkim_unsigned {
    uint8_t digest[DKIM_DIGEST]; /* sign this: RSA PKCS #1 v1.5 with the DigestInfo of SHA-256, or Ed25519 over these 32 octets (RFC 8463 §3) */
    struct vr_str before, after; /* the field, up to the value of b= and behind it; in the arena */
    bool unfolded;               /* ARC only */
};

/* The message must have ended. added: fields (whole, with CRLF) that stand above it since it was fed; may be empty.
 * VR_ERR_STATE: not ended, or the digest lacks the body's form; VR_ERR_SYNTAX: domain, selector, identity or a name of a field is none, or
 * From is not among `fields`, or the message has no From (RFC 6376 §5.4); VR_ERR_UNSUPPORTED: the algorithm cannot be signed with;
 * VR_ERR_TOO_BIG: the header was, more than 500 fields were to be signed, or the arena is full. */
enum vr_err dkim_sign_prepare(const struct mail_digest *d, const struct dkim_signer *signer, struct vr_str added, struct vr_arena *arena,
                              struct dkim_unsigned *out);
/* Appends the whole field, to be put on top of the message. signature: octets. False when it does not fit. */
bool dkim_sign_finish(const struct dkim_unsigned *u, struct vr_str signature, struct vr_buf *out);

#endif
