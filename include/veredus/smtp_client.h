/* smtp_client.h - the SMTP and LMTP client engine, sans I/O (RFC 5321, 2033, 2920, 3030, 3207, 4954).
 *
 * A pull engine like the server's. It greets, says EHLO (HELO when refused), takes STARTTLS and AUTH as its configuration asks, then reports
 * READY; the owner starts one transaction after another:
 *
 *     READY → smtp_client_mail(c, mail, rcpts, n) → RCPT_RESULT × n → BODY → smtp_client_body(bytes)… smtp_client_body_end()
 *           → RESULT (LMTP: one for each accepted recipient) → READY
 *
 * MAIL, all RCPTs and DATA leave as one group where the server offers PIPELINING. By BDAT the group ends with the RCPTs, the chunks follow the replies to
 * them, and RESULT may come before the body's end, when a chunk was refused: what is given then goes nowhere. When every recipient is refused, the engine ends the
 * transaction cleanly by itself (also after an unexpected 354) and RESULT is not sent; READY follows.
 *
 * Hostile servers: a reply is at most 128 lines of 2,048 octets (longer: FAILED, 4xx class); replies before a command is sent, codes
 * outside 2xx–5xx, bytes behind the 220 of STARTTLS: FAILED. Nothing that arrived before TLS counts after it. Reply text is handed on
 * with control bytes replaced by '?'. "Sent" is what smtp_client_sent was told: tell it when bytes are handed to the system, before
 * what the server says to them is fed.
 *
 * SMTPUTF8 (RFC 6531) is said where it is offered and needed: for an address beyond ASCII, or when mail->utf8 is set. Where it is not offered, domains go
 * out as A-labels; a recipient whose local part is not ASCII gets a RCPT_RESULT of 553 5.6.7 made here, a sender with such a local part
 * gives it to all, and a header in UTF-8 gives 554 5.6.9 to all. Addresses that hold control bytes never reach a server either (553); a
 * message above the server's SIZE gets 552, a binary one where BINARYMIME and CHUNKING are not offered 554 5.6.3. ENVID, ORCPT and AUTH that could not stand in a command are left out; UTF-8 in ORCPT becomes
 * "\x{…}" where SMTPUTF8 is not said (RFC 6533 §3).
 */
#ifndef VEREDUS_SMTP_CLIENT_H
#define VEREDUS_SMTP_CLIENT_H

#include <veredus/sasl.h>
#include <veredus/smtp.h>

enum smtp_client_tls {
    SMTP_CLIENT_TLS_NONE,      /* never (already under TLS, a UNIX socket, or configured so) */
    SMTP_CLIENT_TLS_MAY,       /* when offered; when STARTTLS is refused, goes on in clear */
    SMTP_CLIENT_TLS_MUST       /* not offered or refused: FAILED with 4.7.0-class local error */
};

struct smtp_client_config {        /* must outlive the engine */
    struct vr_str helo_name;
    bool lmtp;
    enum smtp_client_tls tls;
    bool tls_active;               /* the stream is under TLS from the start */
    struct vr_str user, password;  /* AUTH when there is a user, a token or an auth_mechanism; not offered: FAILED. In clear only what
                                      sasl_mechanisms[] finds fit for it … */
    struct vr_str token;           /* for OAUTHBEARER, XOAUTH2 */
    bool certificate;              /* the stream shows one to a server that asks: EXTERNAL, as `user` if there is one; also without a user,
                                      where the server offers it */
    bool auth_in_clear;            /* … unless this is set */
    struct vr_str auth_mechanism;  /* only this one; empty: the first of sasl_mechanisms[] that the server offers and we have what it needs for */
    struct vr_str auth_host;       /* the server's name and port, for OAUTHBEARER's message; may be empty and 0 */
    uint16_t auth_port;
    uint8_t nonce[18];             /* random, for SCRAM */
    bool trace;                    /* SMTP_CLIENT_REPLY events for each reply */
    bool chunking;                 /* messages go by BDAT where CHUNKING is offered; else only binary ones. Looked at by each smtp_client_mail */
    int64_t timeout_ms;            /* instead of the table of timeouts; 0: the table */
};

/* Per-command timeouts, RFC 5321 §4.5.3.2, are the table stages[] in lib/smtp/client.c: greeting 5 min, MAIL 5, RCPT 5, DATA 2, block 3, final dot (LAST) 10. */

enum smtp_client_event_kind {
    SMTP_CLIENT_IDLE = 0,    /* wait for bytes from the server */
    SMTP_CLIENT_STARTTLS,    /* start TLS now, then smtp_client_secured() (or close on failure) */
    SMTP_CLIENT_READY,       /* a transaction may start. Comes again after each */
    SMTP_CLIENT_RCPT_RESULT, /* ev.index, ev.reply: 2xx accepted. When MAIL was refused: all recipients get its reply */
    SMTP_CLIENT_BODY,        /* send the message now with smtp_client_body/_body_end */
    SMTP_CLIENT_RESULT,      /* the message's fate: ev.reply; SMTP: index is SIZE_MAX (all accepted recipients); LMTP: ev.index */
    SMTP_CLIENT_ANSWER,      /* of smtp_client_ask: ev.reply. READY follows */
    SMTP_CLIENT_REPLY,       /* for a trace: any reply as it came; ev.command is what it answered ("EHLO", "." for the end of data) */
    SMTP_CLIENT_FAILED,      /* the session cannot go on: ev.reply says why (code 421 or 5xx of the server, or ours), ev.stage where.
                                Recipients without a RESULT are open: the owner decides (usually: try again later). Send what is
                                pending (a QUIT, where it still makes sense) and close. Last */
    SMTP_CLIENT_CLOSED       /* QUIT was answered, or the server closed in order after it. Last */
};

struct smtp_client_event {
    size_t index;
    uint16_t code;           /* of the server's reply; 0: our own verdict (timeout, connection lost, not offered, bad reply) */
    struct vr_str enhanced;  /* "5.1.1" when the text began with one or we made it; may be empty */
    struct vr_str text;      /* as the server wrote it (so a status stands in it too), lines joined by '\n', without the reply codes;
                                cleaned. Valid until the next call */
    bool permanent;          /* 5xx (a greeting or EHLO refused with 5xx too) */
    const char *command;     /* "greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", ".", "BDAT", "QUIT", "command" (smtp_client_ask) */
    bool sent_dot;           /* FAILED: the final dot, or all of the last chunk, had been sent, so the message may have been taken */
};

/* What the last EHLO reply said behind its keywords; 0: nothing. */
struct smtp_client_limits {
    uint64_t size;            /* SIZE, RFC 1870 */
    uint64_t mail_max;        /* LIMITS MAILMAX: transactions of a session, RFC 9422 */
    uint64_t rcpt_max;        /* LIMITS RCPTMAX: recipients of a transaction */
    uint64_t rcpt_domain_max; /* LIMITS RCPTDOMAINMAX: domains among the recipients of a session */
    uint64_t deliver_by_min;  /* DELIVERBY: the least seconds of BY=…;R, RFC 2852 */
};

struct smtp_client;
struct smtp_client *smtp_client_new(const struct smtp_client_config *config, int64_t now_ms);
void smtp_client_free(struct smtp_client *c);
void smtp_client_feed(struct smtp_client *c, struct vr_str in, int64_t now_ms); /* all taken */
void smtp_client_eof(struct smtp_client *c); /* the connection ended: FAILED (or CLOSED after QUIT) follows */
enum smtp_client_event_kind smtp_client_next(struct smtp_client *c, struct smtp_client_event *ev);
struct vr_str smtp_client_pending(const struct smtp_client *c);
void smtp_client_sent(struct smtp_client *c, size_t n);
/* What -PLUS mechanisms bind to (copied): once TLS stands, before smtp_client_secured, or behind smtp_client_new. */
void smtp_client_binding(struct smtp_client *c, const struct sasl_binding *b);
void smtp_client_secured(struct smtp_client *c, int64_t now_ms); /* the handshake succeeded; EHLO again */
/* Starts a transaction after READY. What mail and rcpts point to must live until its last event. Parameters that the server does not
 * offer are left out; what that means for the message is the owner's care: see smtp_client_offers (DSN: RFC 3461 §5.2, DELIVERBY: RFC 2852 §4.1,
 * REQUIRETLS: RFC 8689 §4.2.1, BINARYMIME: RFC 3030 §3, …). mail->size is sent as SIZE; by BDAT it also
 * tells which piece is the last (a size that is wrong does no harm there). */
void smtp_client_mail(struct smtp_client *c, const struct smtp_mail *mail, const struct smtp_rcpt *rcpts, size_t n,
                      int64_t now_ms);
/* Message bytes after BODY, in any split, CRLF line ends expected (but for BODY=BINARYMIME); dots are doubled here, or chunks made: small pieces
 * gather to 64 KiB, larger ones are chunks. Watch the sizes of pending and of held: send before giving more (over 256 MiB: FAILED). A message that does not end in CRLF
 * gets one, unless it is binary. Behind FAILED, and behind a RESULT that came early, both do nothing. */
void smtp_client_body(struct smtp_client *c, struct vr_str bytes, int64_t now_ms);
void smtp_client_body_end(struct smtp_client *c, int64_t now_ms);
/* Bytes that were given and wait for their chunk to be full, or (BDAT without PIPELINING) for the reply to the chunk before: it shrinks by
 * smtp_client_next and smtp_client_body. */
size_t smtp_client_held(const struct smtp_client *c);
/* The final dot, or all of the last chunk, has been sent and its reply has not come: the message may have been taken. */
bool smtp_client_sent_dot(const struct smtp_client *c);
/* VRFY/NOOP-like keepalive of an idle connection is not needed; RSET before reuse is not sent (transactions end by themselves). */
/* After READY, instead of a transaction: a command that has one reply and changes nothing of the session ("ETRN example.org", "VRFY ann"). ANSWER follows. False,
 * and nothing is sent: the line is empty, longer than SMTP_LINE_MAX with its CRLF, or holds control bytes. */
bool smtp_client_ask(struct smtp_client *c, struct vr_str line, int64_t now_ms);
void smtp_client_quit(struct smtp_client *c, int64_t now_ms); /* after READY, instead of a transaction */
unsigned smtp_client_offers(const struct smtp_client *c);          /* enum smtp_extension bits of the last EHLO */
const struct smtp_client_limits *smtp_client_limits(const struct smtp_client *c);
int64_t smtp_client_deadline(const struct smtp_client *c);         /* INT64_MAX: none */
void smtp_client_tick(struct smtp_client *c, int64_t now_ms);      /* past the deadline: FAILED, code 0, "timed out waiting for …" */

#endif
