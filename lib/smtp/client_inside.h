/* client_inside.h - the client engine's state, shared by client.c, client_reply.c, client_session.c, client_auth.c, client_mail.c,
 * client_body.c and client_bdat.c. Not public. */
#ifndef SMTP_CLIENT_INSIDE_H
#define SMTP_CLIENT_INSIDE_H

#include <veredus/smtp_client.h>

#include <string.h>

#define CLIENT_REPLY_LINES 128
#define CLIENT_REPLY_LINE  2048 /* with its line end */
#define CLIENT_CHUNKS_OUT  32   /* BDATs whose replies are awaited at the same time */

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
    STAGE_CHUNKS, /* the owner's bytes by BDAT, and the replies to what has left of them */
    STAGE_LAST,
    STAGE_DRAIN, /* the replies to chunks behind a refused one */
    STAGE_RSET,
    STAGE_ASK, /* the owner's own command */
    STAGE_QUIT,
    STAGE_DEAD
};

struct client_reply {
    uint16_t code;
    struct vr_str text; /* in c->text, lines joined by '\n', cleaned */
};

/* One verdict that several recipients share: told one by one, before anything else is looked at. */
enum client_fan {
    FAN_NONE,
    FAN_RCPTS,  /* RCPT_RESULT for each recipient */
    FAN_RESULTS /* RESULT for each accepted one (LMTP) */
};

struct client_transaction {
    const struct smtp_mail *mail;
    const struct smtp_rcpt *rcpts;
    size_t count;
    size_t at; /* the recipient whose reply (LMTP after the dot: result) is next */
    size_t fan_at;
    size_t accepted;   /* by the server */
    size_t unsendable; /* recipients whose address cannot stand in a command: never sent */
    size_t size;       /* bytes of the group … */
    size_t mail_size;  /* … and of its MAIL, to see replies that come too early */
    size_t rcpts_replied;
    bool utf8;             /* MAIL says SMTPUTF8 */
    bool own_faults_first; /* what all are told is for those whose own address is sound */
    bool bdat;             /* the message goes by BDAT */
    bool grouped; /* MAIL, RCPT and DATA, if it is by DATA, left together: the server offers PIPELINING */
    bool asked;   /* not grouped: the RCPT of `at` is out */
    bool mail_refused;
    bool swallow; /* nobody was accepted: DATA and the lone dot are nobody's */
    bool crlf;    /* the text so far ends in CRLF … */
    char last;    /* … or in this byte */
    /* by BDAT */
    bool ended, failed;               /* the owner has given all; a chunk was refused */
    bool taken;                       /* by somebody: a 2xx at its end */
    uint64_t given;                   /* bytes, by the owner */
    uint64_t queued;                  /* bytes that went to `out`, from where it stood at the beginning */
    uint64_t ends[CLIENT_CHUNKS_OUT]; /* of the chunks that are out, counted like `queued`: a ring … */
    size_t first, out;                /* … with so many from there */
};

struct smtp_client {
    const struct smtp_client_config *config;
    enum client_stage stage;
    enum client_fan fan;
    struct vr_buf in, out, text;
    struct vr_buf chunk;         /* the bytes of the next BDAT */
    size_t scanned, lines;       /* of the reply being read */
    uint16_t code;               /* its code so far; 0 before its first line */
    unsigned offers, mechanisms; /* enum sasl_bit */
    struct smtp_client_limits limits;
    bool tls, clear_after_refusal, authenticated, ready_due, eof, failed_due;
    bool begun, early;               /* a reply has begun, and that was before its command had left */
    bool held;                       /* a reply was read, and is acted upon at the next call */
    struct client_reply reply;       /* the last one read */
    struct smtp_client_event fanned; /* what the fan tells: code, texts */
    struct smtp_client_event failure;
    char own[320]; /* the text of our own verdict */
    struct sasl_client *sasl;
    struct vr_str initial; /* response that waits for its empty challenge */
    const char *cancelled; /* why AUTH was cancelled */
    char reason[240];      /* the same in the server's words */
    struct sasl_binding binding;
    char bound[3][SASL_BINDING_MAX]; /* its octets */
    struct client_transaction tx;
    uint8_t *taken; /* LMTP: taken[i]: recipient i was accepted */
    size_t taken_size;
    int64_t now, since;
};

/* client.c */
void client_stage(struct smtp_client *c, enum client_stage stage); /* and its timeout begins */
/* Our own verdict that the session cannot go on. */
enum smtp_client_event_kind client_fail(struct smtp_client *c, struct smtp_client_event *ev,
                                        const char *enhanced, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A fault of ours or of an answer, met outside of smtp_client_next: told at its next call. */
void client_fail_later(struct smtp_client *c, const char *enhanced, const char *text);
/* The server's. */
enum smtp_client_event_kind client_fail_reply(struct smtp_client *c, struct smtp_client_event *ev,
                                              const struct client_reply *r);
/* A code that says nothing where it stands ("354" to MAIL). */
enum smtp_client_event_kind client_fail_odd(struct smtp_client *c, struct smtp_client_event *ev,
                                            const struct client_reply *r);
/* QUIT, for a session that fails while both sides still understand each other (RFC 5321 §3.1, §4.1.1.10). */
void client_leave(struct smtp_client *c);
void client_reply_event(struct smtp_client *c, struct smtp_client_event *ev, const struct client_reply *r);

/* client_reply.c. 1: *out is a whole reply, 0: more must come, -1: this is no SMTP (*why) */
int client_reply_read(struct smtp_client *c, struct client_reply *out, const char **why);

/* Replies: each function acts on one, in its stage. IDLE: nothing to tell, go on */
typedef enum smtp_client_event_kind client_on_reply(struct smtp_client *c, const struct client_reply *r,
                                                    struct smtp_client_event *ev);
/* client_session.c: before READY */
client_on_reply client_on_greeting, client_on_ehlo, client_on_helo, client_on_starttls;
void client_say_hello(struct smtp_client *c);
/* client_auth.c */
client_on_reply client_on_auth;
bool client_auth_wanted(const struct smtp_client *c);
enum smtp_client_event_kind client_auth_begin(struct smtp_client *c, struct smtp_client_event *ev);
/* client_mail.c: a transaction */
client_on_reply client_on_mail, client_on_rcpt, client_on_data, client_on_dot, client_on_rset;
/* Events that need no reply, and the commands that are due. IDLE: none */
enum smtp_client_event_kind client_mail_pending(struct smtp_client *c, struct smtp_client_event *ev);
void client_reset(struct smtp_client *c); /* RSET */
/* RESULT for all accepted recipients; for LMTP one by one, by the fan. */
enum smtp_client_event_kind client_message_refused(struct smtp_client *c, const struct client_reply *r,
                                                   struct smtp_client_event *ev);

/* client_bdat.c */
client_on_reply client_on_chunk, client_on_drain;
bool client_wants_bdat(const struct smtp_client *c); /* for the transaction that begins */
bool client_chunks_early(const struct smtp_client *c);
void client_chunks_begin(struct smtp_client *c);
void client_chunks_add(struct smtp_client *c, struct vr_str bytes);
void client_chunks_end(struct smtp_client *c);

#endif
