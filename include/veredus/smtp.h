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

enum smtp_body { SMTP_BODY_7BIT = 0, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };
enum smtp_by { SMTP_BY_NONE = 0, SMTP_BY_NOTIFY, SMTP_BY_RETURN }; /* what becomes of a message that comes too late, RFC 2852 §4 */
enum smtp_rrvs { SMTP_RRVS_NONE = 0, SMTP_RRVS_REJECT, SMTP_RRVS_CONTINUE }; /* where the next hop cannot check it, RFC 7293 §5.2 */

/* MAIL FROM with its parameters. Slices live in the transaction's arena. */
struct smtp_mail {
    struct address reverse_path;
    uint64_t size;          /* SIZE=, RFC 1870; 0: not given */
    enum smtp_body body;    /* BODY=, RFC 6152, 3030 */
    enum dsn_ret ret;       /* RET= */
    struct vr_str envid;    /* ENVID=, xtext as given; empty: not given */
    struct vr_str auth;     /* AUTH=, xtext as given ("<>" too); empty: not given. RFC 4954 §5 */
    struct vr_str solicit;  /* SOLICIT=, keywords separated by commas; empty: not given. RFC 3865 */
    int64_t hold_until;     /* HOLDUNTIL=, seconds since 1970; 0: not given. RFC 4865 */
    uint32_t hold_for;      /* HOLDFOR=, seconds; 0: not given */
    int32_t by_seconds;     /* BY=, from now on, may be 0 or less with SMTP_BY_NOTIFY. RFC 2852 */
    enum smtp_by by;
    bool by_trace;          /* "T": tell each hop's relaying */
    bool utf8;              /* a server heard SMTPUTF8 (RFC 6531); for a client: a header of the message is in UTF-8 (RFC 6532), at whatever level */
    bool require_tls;       /* REQUIRETLS, RFC 8689 */
    int8_t priority;        /* MT-PRIORITY=, RFC 6710: -9..9, above 0 is more urgent */
    bool has_priority;      /* it was given; a client sends it when it is not 0 */
};

struct smtp_rcpt {
    struct address forward_path;
    unsigned notify;        /* NOTIFY= as enum dsn_notify bits; 0: not given */
    struct vr_str orcpt;    /* ORCPT=, xtext as given; empty: not given */
    int64_t valid_since;    /* RRVS=, seconds since 1970. RFC 7293 */
    enum smtp_rrvs rrvs;
};

/* What XCLIENT or XFORWARD says of a client (Postfix's XCLIENT_README, XFORWARD_README). */
enum smtp_x_attribute {
    SMTP_X_NAME = 1 << 0,
    SMTP_X_ADDR = 1 << 1,
    SMTP_X_PORT = 1 << 2,
    SMTP_X_PROTO = 1 << 3,
    SMTP_X_HELO = 1 << 4,
    SMTP_X_LOGIN = 1 << 5,    /* XCLIENT only, and DESTADDR, DESTPORT */
    SMTP_X_DESTADDR = 1 << 6,
    SMTP_X_DESTPORT = 1 << 7,
    SMTP_X_IDENT = 1 << 8,    /* XFORWARD only, and SOURCE */
    SMTP_X_SOURCE = 1 << 9
};
struct smtp_x_end {
    uint8_t ip[16]; /* network order; 4 bytes used for family 4 */
    int family;     /* 4, 6; 0: not known */
    uint16_t port;
};
struct smtp_x {
    unsigned given;            /* enum smtp_x_attribute: what stood there */
    unsigned known;            /* … and was not [UNAVAILABLE] or [TEMPUNAVAIL]; the fields of the others are empty */
    struct vr_str name;        /* the client's host name, a domain name */
    struct vr_str helo, ident; /* printable ASCII without blanks and <>()\", each other byte a '?' */
    struct vr_str login;       /* UTF-8 without control characters */
    struct smtp_x_end client, server;
    bool extended;             /* PROTO: it spoke ESMTP */
    bool local;                /* SOURCE: it came from inside */
};
/* Reads the attributes behind XCLIENT, or behind XFORWARD (forward). They replace those of *out that they name, all or none. NULL, or
 * what is wrong as a sentence for a reply. Slices live in the arena. */
const char *smtp_x_parse(struct vr_arena *arena, struct vr_str text, bool forward, struct smtp_x *out);

/* ---- extensions ------------------------------------------------------------------------------------------------------- */

enum smtp_extension {
    SMTP_EXT_PIPELINING = 1 << 0,
    SMTP_EXT_SIZE = 1 << 1,
    SMTP_EXT_8BITMIME = 1 << 2,
    SMTP_EXT_ENHANCEDSTATUSCODES = 1 << 3,
    SMTP_EXT_DSN = 1 << 4,
    SMTP_EXT_STARTTLS = 1 << 5,
    SMTP_EXT_AUTH = 1 << 6,
    SMTP_EXT_MT_PRIORITY = 1 << 7,
    SMTP_EXT_CHUNKING = 1 << 8,
    SMTP_EXT_BINARYMIME = 1 << 9,
    SMTP_EXT_SMTPUTF8 = 1 << 10,
    SMTP_EXT_DELIVERBY = 1 << 11,
    SMTP_EXT_FUTURERELEASE = 1 << 12,
    SMTP_EXT_REQUIRETLS = 1 << 13,
    SMTP_EXT_LIMITS = 1 << 14,
    SMTP_EXT_RRVS = 1 << 15,
    SMTP_EXT_ETRN = 1 << 16,
    SMTP_EXT_NO_SOLICITING = 1 << 17,
    SMTP_EXT_XCLIENT = 1 << 18,
    SMTP_EXT_XFORWARD = 1 << 19,
    SMTP_EXT_VRFY = 1 << 20,
    SMTP_EXT_EXPN = 1 << 21,
    SMTP_EXT_HELP = 1 << 22
};
/* What asks nothing of the owner besides what the engine's events ask: offered where the owner names no others. */
#define SMTP_EXT_BASIC                                                                                       \
    (SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_ENHANCEDSTATUSCODES | SMTP_EXT_DSN | \
     SMTP_EXT_STARTTLS | SMTP_EXT_AUTH | SMTP_EXT_HELP)

/* Where a server offers an extension. */
enum smtp_where {
    SMTP_WHERE_MX = 1 << 0,         /* to strangers on port 25 */
    SMTP_WHERE_SUBMISSION = 1 << 1, /* RFC 6409 */
    SMTP_WHERE_LMTP = 1 << 2,       /* RFC 2033 */
    SMTP_WHERE_TLS = 1 << 3,        /* only under TLS */
    SMTP_WHERE_CLEAR = 1 << 4,      /* only in clear */
    SMTP_WHERE_GRANTED = 1 << 5     /* only to sessions that the owner grants it: smtp_server_grant() */
};

/* One table (lib/smtp/extensions.c) names every extension: the EHLO reply, the readers of parameters, the client's reading of EHLO and the
 * table in docs/extensions.md come from it. */
struct smtp_extension_row {
    enum smtp_extension bit;
    const char *keyword;         /* in the EHLO reply */
    const char *rfc;
    const char *purpose;
    const char *mail_parameters; /* that it adds to MAIL and to RCPT, separated by blanks; "" for none */
    const char *rcpt_parameters;
    const char *commands;        /* that it adds */
    unsigned server;             /* enum smtp_where bits; 0: the server never offers it */
    const char *client;          /* what our client does with it; "" for nothing */
    const char *test;            /* that shows it */
};
extern const struct smtp_extension_row smtp_extensions[];
extern const size_t smtp_extension_count;

/* The extensions that the table gives to a server of this role (SMTP_WHERE_MX, _SUBMISSION or _LMTP), as enum smtp_extension bits. */
unsigned smtp_extensions_for(enum smtp_where role);
/* The row of one bit. */
const struct smtp_extension_row *smtp_extension_find(enum smtp_extension bit);

/* Reads the parameters behind a path ("SIZE=1 BODY=8BITMIME"). offered: enum smtp_extension bits; a parameter of another extension is not known here. In
 * RCPT, SMTP_EXT_SMTPUTF8 stands for a MAIL that said SMTPUTF8: then ORCPT may hold UTF-8 (RFC 6533 §3). On
 * an error *why is a sentence, *code 501, 452 or 555 (RFC 5321 §4.1.1.11) and *enhanced the status to reply with. */
enum vr_err smtp_mail_params(struct vr_arena *arena, struct vr_str params, unsigned offered, struct smtp_mail *out, uint16_t *code,
                             const char **enhanced, const char **why);
enum vr_err smtp_rcpt_params(struct vr_arena *arena, struct vr_str params, unsigned offered, struct smtp_rcpt *out, uint16_t *code,
                             const char **enhanced, const char **why);

#endif
