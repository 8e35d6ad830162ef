/* sasl.h - SASL mechanisms, server and client side, sans I/O (RFC 4422).
 *
 *     SCRAM-SHA-256(-PLUS), SCRAM-SHA-1(-PLUS)  RFC 5802, 7677; channel bindings tls-exporter (RFC 9266), tls-unique and
 *                                               tls-server-end-point (RFC 5929 §3, §4)
 *     EXTERNAL                                  RFC 4422 appendix A
 *     OAUTHBEARER, XOAUTH2                      RFC 7628; Google's form of the same
 *     PLAIN, LOGIN                              RFC 4616; no RFC
 *     CRAM-MD5                                  RFC 2195
 *
 * The server side *asks*: it never sees a data base. It names what it needs, the owner finds it and goes on.
 * User names and passwords: UTF-8 without NUL and control bytes; at most 255 and 1,024 octets. (SASLprep: ASCII and NFC input
 * are taken as they are; RFC 4013 tables are not applied.)
 * Acting for others: an authorization identity that is not the authenticated user is refused; the same name twice is fine (RFC 4954 §4).
 */
#ifndef VEREDUS_SASL_H
#define VEREDUS_SASL_H

#include <veredus/base.h>

#define SASL_USER_MAX     255
#define SASL_PASSWORD_MAX 1024
#define SASL_TOKEN_MAX    8192 /* what a line of AUTH can hold (RFC 4954 §4), less its frame */
#define SASL_HASH_MAX     32
#define SASL_SALT_MAX     64
#define SASL_IDENTITY_MAX 4096 /* octets of all identities of a certificate */
#define SASL_BINDING_MAX  64 /* octets of channel binding data: a hash (SHA-512), or 32 of the exporter */

/* ---- the table of mechanisms ---------------------------------------------------------------------------------- */

enum sasl_hash { SASL_SHA1, SASL_SHA256 };
size_t sasl_hash_size(enum sasl_hash h); /* 20, 32 */

enum sasl_secret { /* what a client needs */
    SASL_BY_PASSWORD,
    SASL_BY_TOKEN,
    SASL_BY_CERTIFICATE
};

enum sasl_bit { /* for sets of mechanisms; their order is that of the table */
    SASL_SCRAM_SHA_256_PLUS = 1 << 0,
    SASL_SCRAM_SHA_1_PLUS = 1 << 1,
    SASL_SCRAM_SHA_256 = 1 << 2,
    SASL_SCRAM_SHA_1 = 1 << 3,
    SASL_EXTERNAL = 1 << 4,
    SASL_OAUTHBEARER = 1 << 5,
    SASL_XOAUTH2 = 1 << 6,
    SASL_PLAIN = 1 << 7,
    SASL_LOGIN = 1 << 8,
    SASL_CRAM_MD5 = 1 << 9
};

struct sasl_mechanism {
    const char *name;
    enum sasl_bit bit;
    const char *rfc;
    enum sasl_secret secret;
    bool reveals;   /* the secret itself travels, for the server to see */
    bool needs_tls; /* not fit for a session in clear: the secret, or what it can be guessed from too fast, travels */
    bool plus;      /* binds the channel: needs TLS and its binding data */
    enum sasl_hash hash; /* SCRAM */
};
/* Best first: what a client takes the first of that both sides know. */
extern const struct sasl_mechanism sasl_mechanisms[];
extern const size_t sasl_mechanism_count;
const struct sasl_mechanism *sasl_mechanism_find(struct vr_str name); /* any case; NULL: unknown */
/* The known ones of a list of names with blanks between; unknown names are passed over. */
unsigned sasl_mechanism_bits(struct vr_str names);
/* Their names, best first, with blanks between. */
bool sasl_mechanism_names(struct vr_buf *out, unsigned bits);

/* Channel binding data of this connection. Empty: there is none of this type. */
struct sasl_binding {
    struct vr_str tls_exporter;         /* RFC 9266: 32 octets of "EXPORTER-Channel-Binding" */
    struct vr_str tls_unique;           /* RFC 5929 §3: only of TLS 1.2, and only with the extended master secret (RFC 7627) */
    struct vr_str tls_server_end_point; /* RFC 5929 §4.1: the hash of the server's certificate */
};

bool sasl_binding_there(const struct sasl_binding *b); /* of any type */

/* ---- what is stored of a password ------------------------------------------------------------------------------ */

/* For SCRAM: enough to verify, not enough to log in (RFC 5802 §9). */
struct sasl_scram_keys {
    enum sasl_hash hash;
    uint8_t salt[SASL_SALT_MAX];
    size_t salt_n;       /* accounts derived here have 16; others' look different from unknown users then */
    uint32_t iterations; /* at least 4096 */
    uint8_t stored_key[SASL_HASH_MAX]; /* sasl_hash_size(hash) octets of both */
    uint8_t server_key[SASL_HASH_MAX];
};
/* Derives the keys from a password (slow on purpose). SYNTAX: a password that is empty, too long or has control bytes, or too few iterations. */
enum vr_err sasl_scram_derive(enum sasl_hash hash, struct vr_str password, const uint8_t salt[16], uint32_t iterations,
                              struct sasl_scram_keys *out);

/* For CRAM-MD5: HMAC-MD5's two states behind the key (RFC 2104 §4). Who reads them can log in by CRAM-MD5, and guess passwords fast; the
 * password itself is not in them. The octets are Dovecot's {CRAM-MD5}: outer, then inner. */
struct sasl_cram_keys {
    uint8_t outer[16], inner[16];
};
enum vr_err sasl_cram_derive(struct vr_str password, struct sasl_cram_keys *out);

/* ---- the server ------------------------------------------------------------------------------------------------- */

enum sasl_step {
    SASL_CHALLENGE,     /* send `out`, then step with the client's response */
    SASL_NEED_PASSWORD, /* PLAIN, LOGIN: verify user and password, then sasl_server_password_checked */
    SASL_NEED_SCRAM,    /* find user's keys for sasl_server_hash, then sasl_server_scram_keys */
    SASL_NEED_CRAM,     /* CRAM-MD5: find user's keys, then sasl_server_cram_keys */
    SASL_NEED_TOKEN,    /* OAUTHBEARER, XOAUTH2: verify sasl_server_token, then sasl_server_token_checked */
    SASL_NEED_IDENTITY, /* EXTERNAL: may sasl_server_user (the certificate's identity) log in? then sasl_server_identity_checked */
    SASL_DONE,          /* authenticated as sasl_server_user */
    SASL_FAILED         /* refused; sasl_server_why tells the log */
};

struct sasl_server;
struct sasl_server_config { /* all copied */
    uint8_t nonce[18];      /* random */
    uint8_t fake_key[16];   /* secret and constant for the service: salts of unknown users are derived from it, so that they look alike each time */
    uint32_t fake_iterations; /* those that accounts have; 0: 10000 */
    struct vr_str hostname; /* CRAM-MD5: stands in its challenge */
    struct sasl_binding binding;
    bool plus_offered; /* a -PLUS mechanism was in the list that the client saw: one that says it was not (gs2 "y") has been lied to */
    struct vr_str identity; /* EXTERNAL: of the client's certificate, which TLS has verified; several with '\n' between, of which the client
                               names one or gets the first; empty: none, EXTERNAL fails */
};
/* mechanism: any case; NULL: unknown, or out of memory. */
struct sasl_server *sasl_server_new(struct vr_str mechanism, const struct sasl_server_config *config);
void sasl_server_free(struct sasl_server *s); /* wipes. NULL is fine */
/* in: the client's response (decoded from base64); has_in false: none was given (AUTH without initial response). */
enum sasl_step sasl_server_step(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out);

/* Each settles what was asked; asserts that it was. */
enum sasl_step sasl_server_password_checked(struct sasl_server *s, bool good, struct vr_str *out);
/* keys NULL: no such user, or none of this hash; goes on as if, and fails at the end. They must be of sasl_server_hash. */
enum sasl_step sasl_server_scram_keys(struct sasl_server *s, const struct sasl_scram_keys *keys, struct vr_str *out);
/* For an owner that takes several forms of a name for one account ("Ann", "ann"), before sasl_server_scram_keys(NULL): the form that stands for all
 * of them. Else each form of a name that is nobody's would have a salt of its own, and those of an account's would not. At most 1,024 octets. */
void sasl_server_canonical(struct sasl_server *s, struct vr_str name);
/* keys NULL: no such user, or none for CRAM-MD5. The end comes after the same work. */
enum sasl_step sasl_server_cram_keys(struct sasl_server *s, const struct sasl_cram_keys *keys, struct vr_str *out);
enum sasl_step sasl_server_identity_checked(struct sasl_server *s, bool good, struct vr_str *out);

struct sasl_token_verdict { /* what became of a bearer token */
    bool good;
    struct vr_str user;   /* good: whose it is; the authenticated user from then on. One that the client claims to be and is not: refused */
    const char *status;   /* not good: "invalid_token", "insufficient_scope", "invalid_request" (RFC 6750 §3.1); NULL: "invalid_token" */
    struct vr_str scope;  /* not good: the scope that is needed; may be empty */
    struct vr_str openid_configuration; /* not good: the URL of the provider's discovery document; may be empty (RFC 7628 §3.2.2) */
};
/* A token that is refused is a CHALLENGE (a JSON object); FAILED follows whatever the client answers. */
enum sasl_step sasl_server_token_checked(struct sasl_server *s, const struct sasl_token_verdict *v, struct vr_str *out);

struct vr_str sasl_server_user(const struct sasl_server *s);     /* who the client claims to be; behind DONE: who it is. NEED_TOKEN: may be empty */
struct vr_str sasl_server_password(const struct sasl_server *s); /* at NEED_PASSWORD; empty and wiped behind it */
struct vr_str sasl_server_token(const struct sasl_server *s);    /* at NEED_TOKEN; empty and wiped behind it. Empty then, too: the client wants to
                                                                    know which scope is needed (RFC 7628 §4.3); no verdict lets it in */
enum sasl_hash sasl_server_hash(const struct sasl_server *s);    /* SCRAM */
const char *sasl_server_why(const struct sasl_server *s);        /* FAILED: a sentence for the log */
bool sasl_server_malformed(const struct sasl_server *s);         /* FAILED: the mechanism's grammar was not followed; no secret was looked at */

/* SCRAM's last message of the server goes as a challenge before 235: after SASL_CHALLENGE with the server-final message, the client's empty
 * response leads to SASL_DONE. */

/* ---- the client ------------------------------------------------------------------------------------------------- */

struct sasl_client;
struct sasl_client_config { /* all copied */
    struct vr_str user;     /* OAUTHBEARER and EXTERNAL: may be empty (the token's or certificate's own) */
    struct vr_str password; /* of mechanisms with SASL_BY_PASSWORD */
    struct vr_str token;    /* of those with SASL_BY_TOKEN */
    struct vr_str host;     /* OAUTHBEARER: the server's name and port, in its message; may be empty and 0 (RFC 7628 §3.1) */
    uint16_t port;
    uint8_t nonce[18];      /* random, for SCRAM */
    struct sasl_binding binding; /* -PLUS takes tls-unique where there is one (every server with -PLUS knows it: RFC 5802 §6.1), else
                                    tls-exporter, else tls-server-end-point */
    bool plus_unseen; /* SCRAM without -PLUS, because the server's list had none: said so (gs2 "y"), so that a server can tell who was lied to
                         (RFC 5802 §6). Only counts where there is binding data */
};
/* NULL: unknown mechanism, -PLUS without binding data, or a user, password or token that is missing, too long or has bytes that may not be. */
struct sasl_client *sasl_client_new(struct vr_str mechanism, const struct sasl_client_config *config);
void sasl_client_free(struct sasl_client *c); /* wipes. NULL is fine */
/* The initial response; false when the mechanism has none (LOGIN, CRAM-MD5). May be empty (EXTERNAL): sent as "=". */
bool sasl_client_initial(struct sasl_client *c, struct vr_str *out);
/* The response to a challenge. VR_ERR_SYNTAX/VR_ERR_STATE: the server does not keep to the mechanism, or failed to prove itself (SCRAM):
 * cancel with "*". */
enum vr_err sasl_client_step(struct sasl_client *c, struct vr_str challenge, struct vr_str *out);
/* After 235: has the server proved itself where the mechanism asks it (SCRAM)? */
bool sasl_client_complete(const struct sasl_client *c);
/* What the server said within the mechanism about its refusal: SCRAM's "e=", the JSON of OAUTHBEARER and XOAUTH2, control bytes replaced by
 * '?'. Empty: nothing. */
struct vr_str sasl_client_refusal(const struct sasl_client *c);

#endif
