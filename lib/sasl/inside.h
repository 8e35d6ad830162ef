/* inside.h - shared by the files of lib/sasl/. Not public. */
#ifndef SASL_INSIDE_H
#define SASL_INSIDE_H

#include <veredus/sasl.h>

#define SASL_NONCE_BYTES  18
#define SCRAM_MESSAGE_MAX 2048
#define SASL_MESSAGE_MAX  (SASL_TOKEN_MAX + 1024) /* with a token in it */

/* ---- scram.c: the arithmetic and the grammar that both sides share --------------------------------------------- */

/* SCRAM's hash in the three forms that it wants (RFC 5802 §2.2), sasl_hash_size(h) octets; false when libcrypto refuses. */
bool scram_hash(enum sasl_hash h, const void *data, size_t n, uint8_t out[SASL_HASH_MAX]);
bool scram_hmac(enum sasl_hash h, const uint8_t *key, struct vr_str text, uint8_t out[SASL_HASH_MAX]);
bool scram_salted(enum sasl_hash h, struct vr_str password, struct vr_str salt, uint32_t iterations,
                  uint8_t out[SASL_HASH_MAX]);
/* ClientKey, StoredKey and ServerKey of a salted password (§3). */
bool scram_keys(enum sasl_hash h, const uint8_t *salted, uint8_t client_key[SASL_HASH_MAX],
                uint8_t stored[SASL_HASH_MAX], uint8_t server[SASL_HASH_MAX]);
bool sasl_equal(const void *a, const void *b, size_t n); /* in constant time */
void sasl_wipe(void *p, size_t n);
void sasl_wipe_buf(struct vr_buf *b); /* all its memory; empty then, and usable */
/* Takes "x=value" off the front of a comma-separated message; false when the next attribute has another name. */
bool scram_attribute(struct vr_str *rest, char name, struct vr_str *value);
bool scram_nonce_valid(struct vr_str nonce);
/* saslname (§5.1): "," and "=" as "=2C" and "=3D" */
void saslname_write(struct vr_buf *out, struct vr_str name);
bool saslname_read(struct vr_str in, struct vr_buf *out);
/* Visible UTF-8 without control bytes, 1..max octets. */
bool sasl_text_valid(struct vr_str s, size_t max);
/* b64token of RFC 6750 §2.1, at most SASL_TOKEN_MAX octets. */
bool sasl_token_valid(struct vr_str s);

/* The text of a SCRAM exchange, as both sides gather it for the AuthMessage (§3). */
struct scram_texts {
    struct vr_buf gs2;        /* the client's gs2 header */
    struct vr_buf first_bare; /* client-first-message-bare */
    struct vr_buf server_first;
    struct vr_buf auth_message;
};
void scram_texts_init(struct scram_texts *t);
void scram_texts_fini(struct scram_texts *t);
bool scram_auth_message(struct scram_texts *t, struct vr_str final_without_proof);

/* Copies, for who gets the data for the time of a call only. */
struct binding_room {
    char exporter[SASL_BINDING_MAX], unique[SASL_BINDING_MAX], end_point[SASL_BINDING_MAX];
};
void sasl_binding_keep(struct sasl_binding *out, struct binding_room *room, const struct sasl_binding *in);
/* A type of channel binding by its name (RFC 5056 §7); unknown: false. */
bool scram_binding_data(const struct sasl_binding *b, struct vr_str type, struct vr_str *out);

/* ---- cram.c ------------------------------------------------------------------------------------------------------- */

bool cram_digest(const struct sasl_cram_keys *keys, struct vr_str challenge,
                 char out[32]); /* lower case hexadecimal */

/* ---- server.c, and the files of its mechanisms ------------------------------------------------------------------- */

struct sasl_server {
    const struct sasl_mechanism *mechanism;
    enum sasl_step (*run)(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out);
    unsigned at;
    enum sasl_step asked; /* what the owner has to settle; CHALLENGE: nothing */
    const char *why;
    bool malformed, refused; /* refused: the token was; only the client's answer to that is awaited */
    char user[SASL_USER_MAX];
    size_t user_n;
    char password[SASL_PASSWORD_MAX];
    size_t password_n;
    uint8_t nonce[SASL_NONCE_BYTES], fake_key[16];
    uint32_t fake_iterations;
    struct binding_room room;
    struct sasl_binding binding; /* in it */
    bool plus_offered;
    struct vr_buf identity, hostname, canonical;
    struct vr_buf out, token;
    struct vr_buf response; /* CRAM-MD5: the digest that the client sent */
    struct vr_str bound;    /* SCRAM: the channel binding data that the client must repeat */
    struct scram_texts texts;
    struct vr_buf full_nonce; /* SCRAM: both nonces joined */
    struct sasl_scram_keys keys;
    bool unknown;
};

typedef enum sasl_step server_step(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out);
server_step server_scram, server_cram, server_oauthbearer, server_xoauth2;

enum sasl_step server_fail(struct sasl_server *s,
                           const char *why); /* credentials, or what they are for, are refused */
enum sasl_step server_malformed_fail(struct sasl_server *s,
                                     const char *why); /* the mechanism's grammar is not followed */
enum sasl_step server_ask(struct sasl_server *s, enum sasl_step what);
/* The owner's answer has come: asserts that it is to what was asked, empties *out. */
void server_settle(struct sasl_server *s, enum sasl_step what, struct vr_str *out);
/* The empty challenge that stands before a message which the client could have sent with AUTH. */
enum sasl_step server_prompt(struct sasl_server *s, struct vr_str prompt, struct vr_str *out);
bool server_keep_user(struct sasl_server *s, struct vr_str user);
/* gs2-header = gs2-cbind-flag "," [ "a=" saslname ] "," (RFC 5801 §4). Parts; NULL or what is wrong. */
struct gs2 {
    struct vr_str flag, authzid /* still encoded */, header, rest;
};
const char *gs2_read(struct vr_str in, struct gs2 *out);

#endif
