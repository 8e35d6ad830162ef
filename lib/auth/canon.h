/* canon.h - the canonical forms of header fields and bodies (RFC 6376 §3.4). */
#ifndef AUTH_CANON_H
#define AUTH_CANON_H

#include <veredus/mail_digest.h>

#include <openssl/evp.h>

/* Where canonical bytes go. */
typedef void canon_sink(void *arg, struct vr_str bytes);

/* ---- bodies, as they stream by ---- */

/* Invariant: what was given to the sink, then `lines` CRLFs, then a CR if `cr`, then (relaxed) a blank if `blank`, and a CR if `blank_cr`, is the canonical form
 * of what came, but for what its end will still do to it. */
struct canon_body {
    enum mail_canon canon;
    uint64_t lines; /* line ends held back: they may turn out to be the empty lines at the end */
    bool cr;        /* a CR held back: it may turn out to be half of a line end */
    bool content;   /* something was given to the sink */
    bool blank;     /* relaxed: blanks held back: they may turn out to be at the end of a line */
    bool blank_cr;  /* … and a CR behind them */
};
void canon_body_feed(struct canon_body *c, struct vr_str in, canon_sink *sink, void *arg);
void canon_body_end(struct canon_body *c, canon_sink *sink, void *arg);

/* ---- header fields ---- */

/* A hash with a little buffer before it, since canonical headers come in small pieces. */
struct canon_hash {
    EVP_MD_CTX *ctx;
    size_t staged;
    bool failed; /* memory was out */
    unsigned char stage[1024];
};
void canon_hash_init(struct canon_hash *h, bool sha1);
void canon_hash_add(struct canon_hash *h, struct vr_str bytes);
/* Frees it. Returns the size of the digest, 0 when memory was out. */
size_t canon_hash_fini(struct canon_hash *h, uint8_t out[EVP_MAX_MD_SIZE]);

/* A field as it stands in the message (with or without its line end), without the octets cut_from..cut_to of it (the value of b=). */
struct canon_field {
    struct vr_str raw;
    size_t cut_from, cut_to;
    bool last; /* without CRLF at its end: the signature's own field (§3.7) */
};
void canon_field_add(struct canon_hash *h, enum mail_canon canon, const struct canon_field *field);

#endif
