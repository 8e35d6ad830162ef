/* inside.h - what DKIM and ARC share, inside of the library: signatures as they are read, the message's digest, concluding.
 *
 *   mail_digest.c      the header, and the body's hashes                     signature.c   a signature field becomes a struct sig
 *   record.c           key records and public keys                           conclude.c    struct sig + key record + hashes → verdict
 *   dkim_verify.c, dkim_sign.c, dkim_key.c, arc_chain.c, arc_validate.c, arc_seal.c: what dkim.h and arc.h say
 */
#ifndef AUTH_INSIDE_H
#define AUTH_INSIDE_H

#include "canon.h"
#include "taglist.h"

#include <veredus/arc.h>
#include <veredus/message.h>

/* ---- the header ---------------------------------------------------------------------------------------------- */

struct header_entry {
    struct vr_str raw, name, body; /* as in struct header_field */
    uint32_t key;                  /* of the name without case: unequal keys are unequal names */
};

/* The fields of a message, from the top. */
struct header_index {
    const struct header_entry *entries;
    size_t count;
};

uint32_t header_key(struct vr_str name);
bool header_is(const struct header_entry *e, struct vr_str name);
const struct header_index *digest_index(const struct mail_digest *d);
bool digest_too_big(const struct mail_digest *d);
bool digest_verifies(const struct mail_digest *d);

/* The fields of `added`, then those of d: as the message will be. */
enum vr_err header_index_join(const struct mail_digest *d, struct vr_str added, struct vr_arena *arena,
                              struct header_index *out);

/* ---- the body ------------------------------------------------------------------------------------------------- */

struct body_hash {
    uint8_t bytes[32];
    size_t n;        /* 32 or 20 */
    uint64_t length; /* of the whole canonical body */
};
/* False when the digest was not made for it. length: of l=, or UINT64_MAX; longer than the body gives the hash of the whole. */
bool digest_body_hash(const struct mail_digest *d, enum mail_canon canon, bool sha1, uint64_t length,
                      struct body_hash *out);

/* ---- signature fields -------------------------------------------------------------------------------------------- */

#define SIG_NAMES_MAX 500 /* in h=; each is looked for among all fields */

enum sig_kind {
    SIG_DKIM = 1,
    SIG_MESSAGE = 2,
    SIG_SEAL = 4
}; /* DKIM-Signature, ARC-Message-Signature, ARC-Seal */

struct sig {
    enum sig_kind kind;
    const struct header_entry *entry;
    bool bad; /* it cannot be verified: verdict and why say so */
    enum dkim_verdict verdict;
    const char *why;
    bool draft; /* v= is that of a draft, or missing, as in the first ones */
    enum dkim_algorithm algorithm;
    enum mail_canon header_canon, body_canon;
    bool canon_given;               /* c= */
    struct vr_str a, d, s, h;       /* as written */
    struct vr_str i;                /* decoded */
    struct vr_str domain, selector; /* A-labels */
    struct vr_str i_domain;         /* of i=, A-labels */
    struct vr_str b, bh;            /* octets */
    struct vr_str b_text;           /* base64 without blanks */
    bool length_given, from_signed;
    uint64_t length;         /* l=, UINT64_MAX without it */
    int64_t time, expires;   /* -1: not given */
    size_t cut_from, cut_to; /* of b=, in entry->raw */
    unsigned instance;       /* ARC: 1..50; 0: none */
    int cv;                  /* SIG_SEAL: enum arc_status; -1: none */
};

/* Never fails but by VR_ERR_TOO_BIG, when the arena is full: what is wrong with the field is in `out`. */
enum vr_err sig_parse(struct vr_arena *arena, enum sig_kind kind, const struct header_entry *entry,
                      struct sig *out);
/* "i=N" of an ARC field without a look at anything else; 0: none. AAR: it must stand first, *payload gets what follows its ";". */
unsigned sig_instance(struct vr_str body, bool results, struct vr_str *payload);
/* What follows blanks, folding and comments (RFC 5322 §3.2.2). An open comment ends with the text. */
struct vr_str cfws_skip(struct vr_str s);
/* The text of the question: selector._domainkey.domain. Empty: the arena is full. */
struct vr_str sig_key_name(struct vr_arena *arena, const struct sig *s);

/* The names of h=, with the fields that each stands for: from the bottom, each field once (RFC 6376 §5.4.2). `own` is never chosen. */
void sig_hash_fields(struct canon_hash *hash, const struct header_index *index, enum mail_canon canon,
                     struct vr_str h, const struct header_entry *own, bool *used);
/* The hash of the header that a DKIM-Signature or ARC-Message-Signature was made over. 0: memory was out. */
size_t sig_header_hash(const struct header_index *index, const struct sig *s, struct vr_arena *arena,
                       uint8_t out[EVP_MAX_MD_SIZE]);

/* ---- keys and verdicts --------------------------------------------------------------------------------------------- */

/* A public key from p=; NULL and *why when it cannot be used. *bits: of its modulus (256 for Ed25519). */
EVP_PKEY *record_public_key(enum dkim_algorithm algorithm, struct vr_str bytes, unsigned *bits,
                            const char **why);

struct record {
    struct taglist list;
    struct dkim_record said;
    const char *why;    /* what is wrong with it, for a verdict; NULL: nothing */
    const char *detail; /* the same for one who wants to mend it */
};
/* VR_ERR_TOO_BIG: the arena is full. */
enum vr_err record_read(struct vr_arena *arena, struct vr_str txt, struct record *out);

struct conclusion {
    enum dkim_verdict verdict;
    const char *why; /* NULL: nothing to say */
    unsigned bits;
    bool testing;
    uint64_t unsigned_body;
};

/* Is the time right? True, or a conclusion. */
bool conclude_time(const struct sig *s, const struct dkim_query *q, struct conclusion *out);
/* By the answer to sig_key_name's question and the hash of the header; SIG_SEAL has no body. */
enum vr_err conclude(const struct mail_digest *d, const struct dkim_query *q, const struct sig *s,
                     const struct dns_answer *answer, const uint8_t *header_hash, size_t header_hash_n,
                     struct vr_arena *arena, struct conclusion *out);

/* Open questions, each once. */
struct questions {
    struct dns_question *list;
    size_t count, max;
};
/* The answer, or NULL: it was put among the questions. */
const struct dns_answer *ask(struct questions *qs, const struct dkim_query *q, struct vr_str name);

/* ---- making fields ---------------------------------------------------------------------------------------------------- */

/* A field that is being written: tags are put behind one another, folded at 78 columns. */
struct field_writer {
    struct vr_buf *out;
    size_t column;
    bool first; /* no tag yet */
};
void field_begin(struct field_writer *w, struct vr_buf *out, const char *name);
void field_tag(struct field_writer *w, const char *name, struct vr_str value);
void field_tag_number(struct field_writer *w, const char *name, int64_t value);
void field_tag_names(struct field_writer *w, const char *name, const struct vr_str *names,
                     size_t count); /* may be folded behind colons */

void field_signature(struct field_writer *w); /* b=, without its value */
void field_resume(struct field_writer *w,
                  struct vr_buf *out); /* what follows stands behind the value of b= */

/* What the fields of a new signature are: the given ones, or the default for the kind. VR_ERR_SYNTAX as of dkim_sign_prepare. */
enum vr_err sign_fields(const struct header_index *index, enum sig_kind kind, const struct vr_str *given,
                        size_t given_count, struct vr_arena *arena, const struct vr_str **out, size_t *count);
/* The text of a DKIM-Signature or ARC-Message-Signature and its digest. */
enum vr_err sign_message(const struct mail_digest *d, const struct header_index *index, enum sig_kind kind,
                         const struct dkim_signer *s, unsigned instance, struct vr_arena *arena,
                         struct dkim_unsigned *out);
/* Domain and selector as A-labels; VR_ERR_SYNTAX: they are none. */
enum vr_err sign_names(struct vr_arena *arena, struct vr_str domain, struct vr_str selector,
                       struct vr_str *domain_out, struct vr_str *selector_out);
/* The field's two parts, into the arena. */
enum vr_err sign_take(struct dkim_unsigned *out, struct vr_buf *before, struct vr_buf *after,
                      struct vr_arena *arena);
/* The field whose b= is empty, as it goes into its own hash. */
bool sign_hash_own(struct canon_hash *hash, enum mail_canon canon, const struct dkim_unsigned *u,
                   struct vr_arena *arena);

/* ---- chains -------------------------------------------------------------------------------------------------------------- */

struct chain_set {
    const struct header_entry *results, *message, *seal;
    struct vr_str payload; /* of the results, behind "i=N;" */
};

struct chain {
    struct chain_set sets[ARC_SETS_MAX + 1]; /* by instance */
    unsigned highest;                        /* the highest instance that a field names; 0: none does */
    bool any;                                /* a field of ARC is there */
    const char *broken; /* what is wrong with the structure (RFC 8617 §5.2 step 3 A, B); NULL: nothing */
};
void chain_collect(const struct header_index *index, struct chain *out);
/* The sets `from`..`to` go to the hash in order, without the seal of the last one (§5.1.1). */
void chain_hash(struct canon_hash *hash, const struct chain *c, unsigned from, unsigned to);

#endif
