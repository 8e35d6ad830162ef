/* mail_digest.h - one message as it streams by: its header is kept, its body hashed in each way that its signatures (or those to be made) need.
 *
 * DKIM and ARC, verifying and signing, all look at the same object, so a body is canonicalised at most twice (simple, relaxed) and hashed at
 * most four times (SHA-256, SHA-1), however many signatures there are; limits of the length (l=) cost a snapshot each.
 *
 *     d = mail_digest_new(&config);
 *     mail_digest_feed(d, bytes) …      in pieces of any size
 *     dkim_verify(d, …)                 may ask already, when the header is complete
 *     mail_digest_end(d);
 *     dkim_verify(d, …), arc_validate(d, …), dkim_sign_prepare(d, …), …
 *
 * The message is in network form: lines end in CRLF, dots are not stuffed (RFC 6376 §3.7). A bare CR or LF of the body is an octet like any
 * other; in the header a line may end in LF, as for header_next().
 * Memory: the header, and some 20 KiB; the body may be of any size.
 * Tests: tests/unit/mail_digest.c
 */
#ifndef VEREDUS_MAIL_DIGEST_H
#define VEREDUS_MAIL_DIGEST_H

#include <veredus/base.h>

#define MAIL_DIGEST_HEADER_MAX (256u << 10) /* octets */
#define MAIL_DIGEST_FIELDS_MAX 2000

/* RFC 6376 §3.4 */
enum mail_canon { MAIL_CANON_SIMPLE, MAIL_CANON_RELAXED };

struct mail_digest_config {
    size_t header_max; /* octets; 0: MAIL_DIGEST_HEADER_MAX */
    bool verify;       /* look for signatures, so that dkim_verify and arc_validate can be called */
    bool sign[2];      /* by enum mail_canon: body forms in which dkim_sign_prepare, arc_seal_begin will sign (SHA-256) */
};

struct mail_digest;
/* NULL when memory is out. The configuration is copied. */
struct mail_digest *mail_digest_new(const struct mail_digest_config *config);
void mail_digest_free(struct mail_digest *d);

/* The next bytes. VR_ERR_TOO_BIG: the header is larger than its bound, or has more than MAIL_DIGEST_FIELDS_MAX fields; the same for all
 * further calls, and no signature is made or passes. VR_ERR_STATE: after the end. */
enum vr_err mail_digest_feed(struct mail_digest *d, struct vr_str bytes);
/* The message is complete. VR_ERR_TOO_BIG as above. */
enum vr_err mail_digest_end(struct mail_digest *d);

bool mail_digest_has_header(const struct mail_digest *d); /* it is complete: the blank line came, or the end */
bool mail_digest_ended(const struct mail_digest *d);
/* The header as it came, with the blank line. Lives as long as d. Empty while it is not complete. */
struct vr_str mail_digest_header(const struct mail_digest *d);
uint64_t mail_digest_body_size(const struct mail_digest *d); /* octets, as they came */

#endif
