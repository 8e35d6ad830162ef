/* sasl.h - SASL mechanisms, server and client side, sans I/O: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 5802, 7677).
 *
 * The server side *asks*: it never sees a data base. It names what it needs, the owner finds it and goes on.
 * User names and passwords: UTF-8 without NUL and control bytes; at most 255 and 1,024 octets. (SASLprep: ASCII and NFC input
 * are taken as they are; RFC 4013 tables are not applied.)
 */
#ifndef VEREDUS_SASL_H
#define VEREDUS_SASL_H

#include <veredus/base.h>

#define SASL_USER_MAX     255
#define SASL_PASSWORD_MAX 1024
#define SASL_HASH         32 /* SHA-256 */

/* What is stored for SCRAM: enough to verify, not enough to log in (RFC 5802 §9). */
struct sasl_scram_keys {
    uint8_t salt[16];
    uint32_t iterations; /* at least 4096 */
    uint8_t stored_key[SASL_HASH];
    uint8_t server_key[SASL_HASH];
};
/* Derives the keys from a password (slow on purpose). */
enum vr_err sasl_scram_derive(struct vr_str password, const uint8_t salt[16], uint32_t iterations, struct sasl_scram_keys *out);

enum sasl_step {
    SASL_CHALLENGE,      /* send `out`, then step with the client's response */
    SASL_NEED_PASSWORD,  /* verify user+password, then sasl_server_password_checked */
    SASL_NEED_SCRAM,     /* find user's keys, then sasl_server_scram_keys (NULL: no such user; goes on as if, and fails at the end) */
    SASL_DONE,           /* authenticated as sasl_server_user */
    SASL_FAILED          /* refused; `why` tells the log */
};

struct sasl_server;
/* mechanism: "PLAIN", "LOGIN", "SCRAM-SHA-256" (any case); NULL for an unknown one. nonce: random. fake_key: secret and constant for the
 * service: salts of unknown users are derived from it, so that they look alike each time. */
struct sasl_server *sasl_server_new(struct vr_str mechanism, const uint8_t nonce[18], const uint8_t fake_key[16]);
void sasl_server_free(struct sasl_server *s); /* wipes */
/* in: the client's response (decoded from base64); has_in false: none was given (AUTH without initial response). */
enum sasl_step sasl_server_step(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out);
enum sasl_step sasl_server_password_checked(struct sasl_server *s, bool good, struct vr_str *out);
enum sasl_step sasl_server_scram_keys(struct sasl_server *s, const struct sasl_scram_keys *keys, struct vr_str *out);
struct vr_str sasl_server_user(const struct sasl_server *s);     /* authentication identity */
struct vr_str sasl_server_password(const struct sasl_server *s); /* at SASL_NEED_PASSWORD */
const char *sasl_server_why(const struct sasl_server *s);

/* SCRAM's last message of the server goes as a challenge before 235: after SASL_CHALLENGE with the server-final message, the client's empty
 * response leads to SASL_DONE. */

struct sasl_client;
struct sasl_client *sasl_client_new(struct vr_str mechanism, struct vr_str user, struct vr_str password, const uint8_t nonce[18]);
void sasl_client_free(struct sasl_client *c);
/* The initial response; false when the mechanism has none (LOGIN). */
bool sasl_client_initial(struct sasl_client *c, struct vr_str *out);
/* The response to a challenge. VR_ERR_SYNTAX/VR_ERR_STATE: the server does not keep to the mechanism, or failed to prove itself (SCRAM): cancel with "*". */
enum vr_err sasl_client_step(struct sasl_client *c, struct vr_str challenge, struct vr_str *out);
/* After 235: has the server proved itself where the mechanism asks it (SCRAM)? */
bool sasl_client_complete(const struct sasl_client *c);

#endif
