/* token_keys.h - signed tokens (JWT in the compact form of JWS, RFC 7519 and 7515), checked by keys that are here.
 *
 * The key decides which algorithms may have signed: an RSA key RS256, RS384, RS512, a P-256 key ES256 (P-384: ES384, P-521: ES512), a secret HS256,
 * HS384, HS512. `alg: none`, and a public key taken for a secret, are refused (RFC 8725 §3.1, §3.2).
 */
#ifndef KEEPER_TOKEN_KEYS_H
#define KEEPER_TOKEN_KEYS_H

#include <veredus/base.h>

#define TOKEN_MAX   16384
#define TOKEN_KEYS_MAX    32
#define TOKEN_RSA_MIN     2048 /* bits */
#define TOKEN_SECRET_MIN  32   /* bytes */

struct token_keys;
struct token_keys *token_keys_new(void);
void token_keys_free(struct token_keys *k); /* wipes. NULL is fine */
/* All public keys and certificates of a PEM text. False with what is wrong. */
bool token_keys_add_pem(struct token_keys *k, struct vr_str pem, char error[256]);
bool token_keys_add_secret(struct token_keys *k, struct vr_str secret, char error[256]);
size_t token_keys_count(const struct token_keys *k);

enum token_signature {
    SIGNATURE_NONE,  /* not three parts with a header that names an algorithm */
    SIGNATURE_FORBIDDEN, /* an algorithm, or a demand in its header, that is not taken here */
    SIGNATURE_WRONG, /* no key here has signed it */
    SIGNATURE_GOOD    /* one has: `claims` holds what was signed */
};
/* Costs a signature's verification for each key that may fit. claims: the JSON text of the payload. why: a sentence, for the log. */
enum token_signature token_verify(const struct token_keys *k, struct vr_str token, struct vr_buf *claims, char why[256]);

#endif
