/* dsn.h - delivery status notifications: building (RFC 3464 in RFC 6522, RFC 6533), xtext and the DSN parameters (RFC 3461).
 *
 * Tests: tests/unit/dsn.c
 */
#ifndef VEREDUS_DSN_H
#define VEREDUS_DSN_H

#include <veredus/base.h>

/* RFC 3461 §4.1 NOTIFY */
enum dsn_notify {
    DSN_NOTIFY_NEVER = 1,
    DSN_NOTIFY_SUCCESS = 2,
    DSN_NOTIFY_FAILURE = 4,
    DSN_NOTIFY_DELAY = 8 /* 0: not given, so failure (and delay, at the MTA's choice) */
};
enum dsn_ret { DSN_RET_NONE = 0, DSN_RET_FULL, DSN_RET_HDRS }; /* §4.3 RET */

/* "SUCCESS,DELAY" → bits. VR_ERR_SYNTAX on unknown words, on repeats, and on NEVER beside another. */
enum vr_err dsn_notify_parse(struct vr_str value, unsigned *out);
bool dsn_notify_write(struct vr_buf *out, unsigned notify);

/* RFC 3461 §4 xtext. Decoding refuses control bytes (a decoded CR or LF could start a line): VR_ERR_SYNTAX. */
enum vr_err dsn_xtext_decode(struct vr_buf *out, struct vr_str in);
bool dsn_xtext_encode(struct vr_buf *out, struct vr_str in);
/* ORCPT: "rfc822;user@example.org" with the address in xtext, checked. 500 octets at the most (RFC 3461 §4.2). Of the type "utf-8" the address
 * may be xtext or hold "\x{FC}" instead of characters, and with utf8 (SMTPUTF8 was given) also UTF-8 itself (RFC 6533 §3). */
enum vr_err dsn_orcpt_check(struct vr_str value, bool utf8);
/* Appends the address of a checked ORCPT, its encoding undone (RFC 3464 §2.3.1, RFC 6533 §4.1), and sets *type. What says "utf-8" and does not
 * follow its grammar is given as it stands (RFC 6533 §3). VR_ERR_SYNTAX: not ORCPT; VR_ERR_TOO_BIG. */
enum vr_err dsn_orcpt_decode(struct vr_buf *out, struct vr_str value, struct vr_str *type);
/* Appends an ORCPT as a server without SMTPUTF8 can be given it: UTF-8 in it becomes "\x{…}". */
bool dsn_orcpt_ascii(struct vr_buf *out, struct vr_str value);
/* Appends UTF-8 as an address of the type "utf-8" in ORCPT: controls, " ", "+", "=", "\" and, with ascii, what is not ASCII become "\x{HEX}"
 * (RFC 6533 §3: utf-8-addr-xtext with ascii, utf-8-addr-unitext without). in is valid UTF-8. */
bool dsn_unitext_encode(struct vr_buf *out, struct vr_str in, bool ascii);
/* The same undone; with VR_ERR_SYNTAX nothing has been appended. Control bytes are refused. */
enum vr_err dsn_unitext_decode(struct vr_buf *out, struct vr_str in);
/* ENVID: xtext, 100 octets at the most (RFC 3461 §4.4). */
enum vr_err dsn_envid_check(struct vr_str value);

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED };

struct dsn_recipient {
    struct vr_str final_recipient; /* address text */
    struct vr_str orcpt;           /* as given, still xtext; empty when absent */
    enum dsn_action action;
    struct vr_str status;          /* "5.1.1" */
    struct vr_str diagnostic;      /* the remote's reply, or our own words: "550 5.1.1 no such user" */
    bool diagnostic_is_smtp;       /* a reply of a server (Diagnostic-Code: smtp; …), else x-veredus */
    struct vr_str remote_mta;      /* host name; empty when none was reached */
    int64_t last_attempt;          /* seconds since 1970, 0: not attempted */
    int64_t will_retry_until;      /* seconds since 1970; only with DSN_DELAYED */
};

struct dsn {
    struct vr_str reporting_mta;   /* our host name */
    struct vr_str to;              /* the reverse path of the message */
    struct vr_str envid;           /* as given, still xtext; empty when absent */
    struct vr_str queue_id;
    int64_t arrival_date;          /* seconds since 1970 */
    int64_t deliver_by;            /* seconds since 1970: Deliver-By-Date (RFC 2852 §5); 0: none was asked for */
    struct vr_str future_release;  /* "for;3600", "until;2026-12-31T08:00:00Z" as asked for: Future-Release-Request (RFC 4865 §5.1.2); empty: not */
    bool tls_optional;             /* the report may travel in clear as its message might: "TLS-Required: No" (RFC 8689 §6) */
    int64_t now;                   /* seconds since 1970 */
    struct vr_str message_id;      /* for the report itself, without < > */
    struct vr_str boundary;        /* random, of boundary characters */
    const struct dsn_recipient *recipients;
    size_t recipient_count;
    struct vr_str original;        /* the message as far as it is at hand: header, or header and body */
    bool original_is_whole;        /* body included: RET=FULL, message/rfc822; else text/rfc822-headers */
    bool original_utf8;            /* a header of it is in UTF-8 (RFC 6532): message/global, message/global-headers (RFC 6533 §4.2, §4.3) */
    bool utf8;                     /* the report may be in UTF-8 throughout, and then needs SMTPUTF8 itself: for a `to` that needs it anyway */
};

/* Appends the whole report as a message with CRLF line ends: a readable part that says what happened and what to do
 * next, message/delivery-status, and the original. Nothing from a remote reply can start a line or a part; the
 * 8-bit original is declared 8bit. VR_ERR_TOO_BIG when it does not fit into out's max.
 * Addresses beyond ASCII (RFC 6533): with d->utf8 the status is message/global-delivery-status with addresses as they are; without, it stays
 * message/delivery-status with addresses of the type "utf-8" in their 7-bit form, and an original with a header in UTF-8 is encoded (§4.5): such a
 * report needs nothing that a server without SMTPUTF8 lacks. d->to is ASCII then. */
enum vr_err dsn_build(struct vr_buf *out, const struct dsn *d);

/* "5.1.1" (class 2, 4, 5; subject and detail 0..999) at the start of text. False when there is none. */
bool dsn_status_find(struct vr_str text, struct vr_str *status);

#endif
