/* inside.h - shared by the files of lib/sasl/. Not public. */
#ifndef SASL_INSIDE_H
#define SASL_INSIDE_H

#include <veredus/sasl.h>

#define SCRAM_NONCE_BYTES 18
#define SCRAM_MESSAGE_MAX 2048

/* SHA-256 in the three forms that SCRAM wants (RFC 5802 §2.2); false when libcrypto refuses. */
bool scram_hash(const void *data, size_t n, uint8_t out[SASL_HASH]);
bool scram_hmac(const uint8_t key[SASL_HASH], struct vr_str text, uint8_t out[SASL_HASH]);
bool scram_salted(struct vr_str password, struct vr_str salt, uint32_t iterations, uint8_t out[SASL_HASH]);
/* ClientKey, StoredKey and ServerKey of a salted password (§3). */
bool scram_keys(const uint8_t salted[SASL_HASH], uint8_t client_key[SASL_HASH], uint8_t stored[SASL_HASH],
                uint8_t server[SASL_HASH]);
bool scram_equal(const void *a, const void *b, size_t n); /* in constant time */
void scram_wipe(void *p, size_t n);
/* Takes "x=value" off the front of a comma-separated message; false when the next attribute has another name. */
bool scram_attribute(struct vr_str *rest, char name, struct vr_str *value);
bool scram_nonce_valid(struct vr_str nonce);
/* Visible UTF-8 without control bytes, 1..max octets. */
bool sasl_text_valid(struct vr_str s, size_t max);

/* The text of a SCRAM exchange, as both sides gather it for the AuthMessage (§3). */
struct scram_texts {
    struct vr_buf first_bare; /* client-first-message-bare */
    struct vr_buf server_first;
    struct vr_buf auth_message;
    struct vr_buf out; /* the message to send */
};
void scram_texts_init(struct scram_texts *t);
void scram_texts_fini(struct scram_texts *t);
bool scram_auth_message(struct scram_texts *t, struct vr_str final_without_proof);

#endif
