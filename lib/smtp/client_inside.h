/* client_inside.h - the client engine's state, shared by client.c, client_reply.c, client_session.c and client_mail.c. Not public. */
#ifndef SMTP_CLIENT_INSIDE_H
#define SMTP_CLIENT_INSIDE_H

#include <veredus/smtp_client.h>

#include <string.h>

#define CLIENT_REPLY_LINES 128
#define CLIENT_REPLY_LINE  2048

/* What the engine waits for; each is a row of stages[] in client.c. */
enum client_stage {
    STAGE_GREETING,
    STAGE_EHLO,
    STAGE_HELO,
    STAGE_STARTTLS,
    STAGE_SECURING, /* the owner's handshake */
    STAGE_AUTH,
    STAGE_READY, /* the owner's next message */
    STAGE_MAIL,
    STAGE_RCPT,
    STAGE_DATA,
    STAGE_BODY, /* the owner's bytes */
    STAGE_DOT,
    STAGE_RSET,
    STAGE_QUIT,
    STAGE_DEAD
};

struct client_reply {
    uint16_t code;
    struct vr_str text; /* in c->text, lines joined by '\n', cleaned */
};

struct client_transaction {
    const struct smtp_mail *mail;
    const struct smtp_rcpt *rcpts;
    size_t count;
    size_t at;   /* RCPT whose reply is awaited; in DOT with LMTP: recipient whose result is next */
    size_t sent; /* RCPTs sent (without PIPELINING they go one by one) */
    size_t accepted;
    uint8_t *taken; /* taken[i]: recipient i was accepted */
    size_t taken_size;
    bool grouped; /* the whole group is out */
    bool mail_refused;
    uint16_t mail_code; /* with mail_text: what MAIL was refused with */
    bool swallow;       /* the transaction failed: the reply to the lone dot is nobody's */
    bool refused_data;  /* LMTP: DATA was refused; the recipients are told one by one */
    bool line_start, last_cr;
};

struct smtp_client {
    const struct smtp_client_config *config;
    enum client_stage stage;
    struct vr_buf in, out, text, mail_text;
    size_t scanned, lines; /* of the reply being read */
    uint16_t code;         /* its code so far; 0 before its first line */
    unsigned offers, mechanisms;
    uint64_t size_limit;
    bool tls, clear_after_refusal, authenticated, ready_due, sent_dot, eof, hello_lmtp;
    bool failed_due;
    bool traced; /* a reply was shown, and waits in held to be acted upon */
    struct client_reply held;
    struct smtp_client_event failure; /* texts in c->text, or static */
    struct sasl_client *sasl;
    struct client_transaction tx;
    int64_t now, since;
};

enum { MECHANISM_SCRAM = 1, MECHANISM_PLAIN = 2, MECHANISM_LOGIN = 4 };

/* client.c */
const char *client_command(enum client_stage stage);
void client_stage(struct smtp_client *c, enum client_stage stage); /* and its timeout begins */
void client_line(struct smtp_client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Our own verdict that the session cannot go on. */
enum smtp_client_event_kind client_fail(struct smtp_client *c, struct smtp_client_event *ev,
                                        const char *enhanced, bool permanent, const char *text);
/* The server's. */
enum smtp_client_event_kind client_fail_reply(struct smtp_client *c, struct smtp_client_event *ev,
                                              const struct client_reply *r);
void client_reply_event(struct smtp_client *c, struct smtp_client_event *ev, uint16_t code,
                        struct vr_str text);

/* client_reply.c. 1: *out is a whole reply, 0: more must come, -1: this is no SMTP (*why) */
int client_reply_read(struct smtp_client *c, struct client_reply *out, const char **why);

/* client_session.c: replies before READY. IDLE: nothing to tell, go on */
enum smtp_client_event_kind client_on_greeting(struct smtp_client *c, const struct client_reply *r,
                                               struct smtp_client_event *ev);
enum smtp_client_event_kind client_on_ehlo(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev);
enum smtp_client_event_kind client_on_helo(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev);
enum smtp_client_event_kind client_on_starttls(struct smtp_client *c, const struct client_reply *r,
                                               struct smtp_client_event *ev);
enum smtp_client_event_kind client_on_auth(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev);
void client_say_hello(struct smtp_client *c);

/* client_mail.c: replies of a transaction */
enum smtp_client_event_kind client_on_mail(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev);
enum smtp_client_event_kind client_on_rcpt(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev);
enum smtp_client_event_kind client_on_data(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev);
enum smtp_client_event_kind client_on_dot(struct smtp_client *c, const struct client_reply *r,
                                          struct smtp_client_event *ev);
enum smtp_client_event_kind client_on_rset(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev);
/* Events that need no reply (recipients of a refused MAIL). IDLE: none */
enum smtp_client_event_kind client_mail_pending(struct smtp_client *c, struct smtp_client_event *ev);

#endif
