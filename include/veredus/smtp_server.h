/* smtp_server.h - the SMTP and LMTP server engine, sans I/O (RFC 5321, 2033, 3030).
 *
 * A pull engine: feed() it bytes, call next() until SMTP_SERVER_IDLE, obey each event, send what pending() shows. One event is
 * outstanding at a time; after an event that wants an answer the engine reads nothing more until smtp_server_answer().
 *
 *     while ((kind = smtp_server_next(s, &ev)) != SMTP_SERVER_IDLE)
 *         decide(kind, &ev);          // may answer at once, or later and then go on with this loop
 *     write(smtp_server_pending(s)); smtp_server_sent(s, n);
 *
 * The engine itself refuses what the protocol refuses (syntax, sequence, sizes, bare CR or LF, too many errors) and says so; the
 * owner hears only of what needs a decision.
 *
 * Invariants: (1) replies leave in the order of the commands (2) only CRLF ends a line, only CRLF.CRLF ends a message of DATA; a message with
 * a bare CR or bare LF is read to its end and refused as a whole, but for BODY=BINARYMIME, where any byte may stand anywhere (3) nothing received before STARTTLS counts after it: input
 * behind the command is dropped, the session starts anew (4) memory is bounded: buffers by the line limits, a transaction by
 * its arena; an idle session holds no buffers.
 */
#ifndef VEREDUS_SMTP_SERVER_H
#define VEREDUS_SMTP_SERVER_H

#include <veredus/smtp.h>

struct smtp_server_config {         /* shared by many sessions, must outlive them; slices are the caller's */
    struct vr_str hostname;         /* in the greeting and the EHLO reply */
    struct vr_str banner;           /* behind the host name in the greeting; "ESMTP" + this */
    bool lmtp;                      /* LHLO instead of EHLO/HELO, a reply per recipient after the data */
    bool starttls;                  /* offered while the session is in clear */
    bool tls_required;              /* no MAIL in clear: 530 5.7.0 */
    struct vr_str auth_mechanisms;  /* "SCRAM-SHA-256 PLAIN LOGIN"; empty: AUTH is not offered. See smtp_server_offer_auth */
    bool auth_in_clear;             /* AUTH also without TLS (lab use) */
    bool auth_required;             /* no MAIL without AUTH: 530 5.7.0 */
    unsigned offers;                /* enum smtp_extension bits, such as smtp_extensions_for(SMTP_WHERE_MX); 0: SMTP_EXT_BASIC. Whoever offers more keeps
                                       what the RFC promises (MT-PRIORITY: that strangers raise nothing, RFC 6710 §4.1; …) */
    struct vr_str solicit;          /* keywords behind NO-SOLICITING (RFC 3865 §2.3); empty: none */
    uint32_t deliver_by_min;        /* seconds behind DELIVERBY (RFC 2852 §3): a shorter BY=…;R is refused, 555; 0: none named */
    uint32_t hold_max;              /* seconds behind FUTURERELEASE (RFC 4865 §3): a later release is refused, 501 5.5.4; 0: one day */
    uint64_t size_max;              /* bytes of a message; 0: no limit. 552 5.3.4, by BDAT as soon as the sum is known */
    unsigned rcpt_max;              /* recipients of a transaction: 452 4.5.3 for the rest (§4.5.3.1.10) */
    unsigned text_line_max;         /* octets of a line of text with CRLF; at least SMTP_TEXT_LINE_MAX; 0: 65536. 554 5.6.0 at the end */
    unsigned error_max;             /* refused or bad commands of a session; then 421 4.7.0 and closed; 0: 20 */
    unsigned command_max;           /* commands of a session without a message accepted between (NOOP, RSET, VRFY, BDAT 0 floods); 0: 1000 */
    unsigned received_max;          /* Received fields: more is a loop, 554 5.4.6; 0: 100 */
    int64_t command_timeout_ms;     /* waiting for a command; 0: 5 min (§4.5.3.2.7) */
    int64_t data_timeout_ms;        /* between two pieces of data; 0: 5 min */
};

struct smtp_server;

enum smtp_server_event_kind {
    SMTP_SERVER_IDLE = 0,      /* nothing to do until more is fed (or an answer is given) */
    SMTP_SERVER_EHLO,          /* ev.name, ev.extended. Answer: 2xx goes on (the engine writes the list), else refused */
    SMTP_SERVER_MAIL,          /* ev.mail. Answer */
    SMTP_SERVER_RCPT,          /* ev.rcpt. Answer */
    SMTP_SERVER_DATA,          /* the client wants to send, by DATA or by the first BDAT. Answer: 354 (or code 0) goes on (nothing of it is said to
                                  BDAT); else refused, to a BDAT when its octets have come: DATA_END with that code follows then */
    SMTP_SERVER_CHUNK,         /* ev.data: message bytes, dots undone, CRLF line ends (any bytes with BODY=BINARYMIME). No answer; valid until next(). By
                                  BDAT as they come, whatever its chunks were; a message may then end without CRLF, or be empty */
    SMTP_SERVER_DATA_END,      /* the message is whole. ev.refusal.code != 0: the engine's own verdict that it must not be taken (size, bare
                                  LF, line length, loop, a BDAT that may not stand there); then no answer is awaited, perhaps DATA never came, and
                                  the transaction is over: drop it. Else answer (LMTP: one for each accepted recipient, in their order) */
    SMTP_SERVER_RESET,         /* the transaction is over without a message (RSET, EHLO again, STARTTLS, a lost sequence): drop it. No answer */
    SMTP_SERVER_AUTH,          /* ev.mechanism, ev.data: initial response decoded (ev.has_data). Answer: smtp_server_challenge or _answer
                                  with 235/5xx/454 (235 makes the session authenticated) */
    SMTP_SERVER_AUTH_RESPONSE, /* ev.data: decoded response to the challenge. Answer as for AUTH */
    SMTP_SERVER_AUTH_CANCEL,   /* the client sent "*": the engine replied 501; drop the exchange. No answer */
    SMTP_SERVER_STARTTLS,      /* 220 is pending: send it, then start TLS, then smtp_server_secured(). No answer */
    SMTP_SERVER_VRFY,          /* ev.data: the argument; ev.utf8: the answer may be UTF-8 (RFC 6531 §3.7.4.2). Answer. Only where it is granted; else 252 */
    SMTP_SERVER_EXPN,          /* the same */
    SMTP_SERVER_ETRN,          /* ev.name: a domain name, or with ev.option '#' a queue's name; ev.option '@': and all domains below it (RFC 1985).
                                  Answer: 250 to 253, 458 or 459. Only where it is granted; else 502 */
    SMTP_SERVER_XCLIENT,       /* ev.x: who the client is from now on. Answer: 220 begins the session anew (the engine writes the greeting; whom ev.x names as
                                  LOGIN is authenticated, everybody else is not), 421 ends it. Only where it is granted; else 550 5.7.0 */
    SMTP_SERVER_COMMAND_REFUSED, /* for logs: the engine replied ev.refusal to a bad or untimely command line ev.data. No answer */
    SMTP_SERVER_CLOSE          /* send what is pending, then close. ev.refusal.code: 221 (QUIT), 421 (timeout, too many errors), 0 (eof). Comes once, is last */
};

struct smtp_server_event {
    struct vr_str name;            /* EHLO: the client's name, as given; ETRN */
    bool extended;                 /* EHLO or LHLO, not HELO */
    const struct smtp_mail *mail;  /* valid until the transaction ends */
    const struct smtp_rcpt *rcpt;
    struct vr_str data;
    bool has_data;
    struct vr_str mechanism;       /* upper case */
    char option;                   /* ETRN; 0: none */
    bool utf8;
    const struct smtp_x *x;        /* valid until the answer */
    struct smtp_reply refusal;
};

/* config must outlive the session. The greeting is not pending until smtp_server_greet. tls: the session begins under TLS (465).
 * transaction_max: bytes that one transaction's envelope may take (0: 1 MiB). NULL when out of memory. */
struct smtp_server *smtp_server_new(const struct smtp_server_config *config, bool tls, int64_t now_ms);
void smtp_server_free(struct smtp_server *s);
/* code 220: greeting; 554 or 421: refused (421 is followed by CLOSE; after 554 only QUIT is served, §3.1). */
void smtp_server_greet(struct smtp_server *s, struct smtp_reply r);

/* All of `in` is taken and copied. Do not feed while smtp_server_blocked() says that enough is waiting. */
void smtp_server_feed(struct smtp_server *s, struct vr_str in, int64_t now_ms);
/* The client closed its side: what is buffered is served, then CLOSE. */
void smtp_server_eof(struct smtp_server *s);
/* More than 64 KiB of input waits for an answer: stop reading from the client until it is served. */
bool smtp_server_blocked(const struct smtp_server *s);
enum smtp_server_event_kind smtp_server_next(struct smtp_server *s, struct smtp_server_event *ev);
/* Settles the outstanding event. Asserts that there is one. */
void smtp_server_answer(struct smtp_server *s, struct smtp_reply r, int64_t now_ms);
/* AUTH goes on: 334 with this challenge (base64 is the engine's work). */
void smtp_server_challenge(struct smtp_server *s, struct vr_str challenge, int64_t now_ms);
/* The handshake of STARTTLS is done: state is as after the greeting. */
void smtp_server_secured(struct smtp_server *s, int64_t now_ms);
struct vr_str smtp_server_pending(const struct smtp_server *s); /* bytes to send; valid until the next call */
void smtp_server_sent(struct smtp_server *s, size_t n);
/* When smtp_server_tick must be called at the latest; INT64_MAX while the engine waits for the owner. */
int64_t smtp_server_deadline(const struct smtp_server *s);
/* Past the deadline: 421 4.4.2 and CLOSE follow. */
void smtp_server_tick(struct smtp_server *s, int64_t now_ms);
/* Ends the session as soon as it is between commands: 421 with this text (shutdown), CLOSE follows. */
void smtp_server_shutdown(struct smtp_server *s, struct smtp_reply r);
/* Of the rows of smtp_extensions[] with SMTP_WHERE_GRANTED these are this session's from now on, and no others: enum smtp_extension bits. To be said anew
 * when the owner knows another client (AUTH, XCLIENT). */
void smtp_server_grant(struct smtp_server *s, unsigned bits);
/* Allowed: a bare LF ends a line of this session too, in commands and behind DATA, where LF.LF ends the message then; the owner gets CRLF. For programs of the owner's own
 * users that know no better (RFC 5321 §2.3.8 forbids it): never for mail of other servers, where it lets messages be smuggled. A bare CR is refused as ever. */
void smtp_server_allow_bare_lf(struct smtp_server *s, bool allowed);
/* What the next EHLO offers, and what parameters are taken now. */
unsigned smtp_server_offered(const struct smtp_server *s);
/* The time of day, for what the EHLO reply and MAIL say of it (FUTURERELEASE): seconds since 1970 at now_ms. Without it FUTURERELEASE is not offered. */
void smtp_server_clock(struct smtp_server *s, int64_t unix_seconds, int64_t now_ms);
/* What XFORWARD said of the message that is under way, or comes next; NULL: nothing. Valid until that is over; granted sessions only. */
const struct smtp_x *smtp_server_forwarded(const struct smtp_server *s);
bool smtp_server_in_transaction(const struct smtp_server *s); /* MAIL was accepted, the end not yet settled */
bool smtp_server_is_extended(const struct smtp_server *s);    /* EHLO/LHLO was used: "ESMTP" in Received */
/* From now on this session is offered these mechanisms, instead of those of its configuration: -PLUS where the channel can be bound,
 * EXTERNAL where there is a certificate. The slice is the caller's and outlives the session. */
void smtp_server_offer_auth(struct smtp_server *s, struct vr_str mechanisms);
bool smtp_server_authenticated(const struct smtp_server *s);
unsigned smtp_server_rcpt_count(const struct smtp_server *s); /* accepted recipients of this transaction */

#endif
