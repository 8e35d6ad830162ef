/* certificate.h - what a certificate says: names, issuer, key, dates, and the digest that a TLSA record would hold.
 *
 * Promise:    bytes in, facts out. Only io_certificate_chain_problem looks at anything else: at the authorities that this machine trusts.
 */
#ifndef IO_CERTIFICATE_H
#define IO_CERTIFICATE_H

#include <veredus/base.h>

#define IO_CERTIFICATE_NAMES_MAX 256 /* more are counted, not kept */

struct io_certificate {
    struct vr_str subject, issuer; /* "CN=mail.example.org, O=Example" */
    struct vr_str *
        names; /* DNS names and IP addresses of subjectAltName; without one, the common name (RFC 6125 §6.4.4) */
    size_t name_count, names_in_all;
    char key[24];                  /* "RSA 2048", "EC P-256", "Ed25519" */
    int64_t not_before, not_after; /* seconds since 1970 */
    bool self_signed;              /* its own key made the signature */
    unsigned chain;                /* certificates that follow it in the text */
    uint8_t tlsa_3_1_1
        [32]; /* SHA-256 of its SubjectPublicKeyInfo: RFC 6698 §2.1, usage 3, selector 1, matching 1 */
    uint8_t sha256[32]; /* of the certificate: its fingerprint */
};

/* Of the first certificate of a PEM text; slices are the arena's. False: there is none that can be read, *error says why in a phrase. */
bool io_certificate_read(struct vr_arena *arena, struct vr_str pem, struct io_certificate *out,
                         char error[256]);
/* Is it for this host? A star stands for one whole label (RFC 6125 §6.4.3). */
bool io_certificate_is_for(const struct io_certificate *c, struct vr_str host);
/* Why a peer that trusts the authorities of ca_file (NULL: the system's) would not accept the chain of this text at that time (seconds since
 * 1970), its first certificate's dates and names aside: in `out`, a phrase with what to do. False: it would. */
bool io_certificate_chain_problem(struct vr_str pem, const char *ca_file, int64_t now, char out[256]);

#endif
