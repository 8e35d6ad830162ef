/* smtp.h - what the SMTP server and client engines share: replies, parameters, limits (RFC 5321, 2033, 2034, 3461).
 */
#ifndef VEREDUS_SMTP_H
#define VEREDUS_SMTP_H

#include <veredus/address.h>
#include <veredus/base.h>
#include <veredus/dsn.h>

#define SMTP_LINE_MAX       512   /* octets of a command line with CRLF, RFC 5321 §4.5.3.1.4 … */
#define SMTP_LINE_EXTENDED  4096  /* … and what we take for MAIL and RCPT with all their parameters */
#define SMTP_AUTH_LINE_MAX  12288 /* RFC 4954 §4 */
#define SMTP_TEXT_LINE_MAX  1000  /* octets of a line of text with CRLF that every server must take, §4.5.3.1.6 */
#define SMTP_REPLY_LINE_MAX 512   /* §4.5.3.1.5 */

/* A reply. text may hold several lines separated by '\n'; the engine writes code, enhanced status and line ends. A text that holds CR or
 * other control bytes has them replaced by '?'. enhanced "" where the RFCs want none (220, 221 excepted, 250 of EHLO, 354, 334). */
struct smtp_reply {
    uint16_t code;          /* 200..599 */
    const char *enhanced;   /* "5.7.1", RFC 2034/3463; NULL or "" for none */
    struct vr_str text;
};
#define SMTP_REPLY(code, enhanced, literal) ((struct smtp_reply){(code), (enhanced), VR_STR(literal)})

enum smtp_body { SMTP_BODY_7BIT = 0, SMTP_BODY_8BITMIME };

/* MAIL FROM with its parameters. Slices live in the transaction's arena. */
struct smtp_mail {
    struct address reverse_path;
    uint64_t size;          /* SIZE=, RFC 1870; 0: not given */
    enum smtp_body body;    /* BODY=, RFC 6152 */
    enum dsn_ret ret;       /* RET= */
    struct vr_str envid;    /* ENVID=, xtext as given; empty: not given */
    struct vr_str auth;     /* AUTH=, xtext as given ("<>" too); empty: not given. RFC 4954 §5 */
    int8_t priority;        /* MT-PRIORITY=, RFC 6710: -9..9, above 0 is more urgent */
    bool has_priority;      /* it was given; a client sends it when it is not 0 */
};

struct smtp_rcpt {
    struct address forward_path;
    unsigned notify;        /* NOTIFY= as enum dsn_notify bits; 0: not given */
    struct vr_str orcpt;    /* ORCPT=, xtext as given; empty: not given */
};

/* Reads the parameters behind a path ("SIZE=1 BODY=8BITMIME"). On an error *why is a sentence, *code 501 or 555 (RFC 5321 §4.1.1.11)
 * and *enhanced the status to reply with. */
enum vr_err smtp_mail_params(struct vr_arena *arena, struct vr_str params, struct smtp_mail *out, uint16_t *code,
                             const char **enhanced, const char **why);
enum vr_err smtp_rcpt_params(struct vr_arena *arena, struct vr_str params, struct smtp_rcpt *out, uint16_t *code,
                             const char **enhanced, const char **why);

/* What a server's EHLO reply offered. */
enum smtp_extension {
    SMTP_EXT_PIPELINING = 1 << 0,
    SMTP_EXT_SIZE = 1 << 1,
    SMTP_EXT_8BITMIME = 1 << 2,
    SMTP_EXT_ENHANCEDSTATUSCODES = 1 << 3,
    SMTP_EXT_DSN = 1 << 4,
    SMTP_EXT_STARTTLS = 1 << 5,
    SMTP_EXT_AUTH = 1 << 6,
    SMTP_EXT_MT_PRIORITY = 1 << 7
};
/* One table (lib/smtp/extensions.c) names every extension: keyword, RFC, who may use it. */
struct smtp_extension_row {
    enum smtp_extension bit;
    const char *keyword;
    const char *rfc;
    const char *purpose;
};
extern const struct smtp_extension_row smtp_extensions[];
extern const size_t smtp_extension_count;

#endif
