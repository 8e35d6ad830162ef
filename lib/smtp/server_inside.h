/* server_inside.h - the server engine's state, shared by server*.c. Not public. */
#ifndef SMTP_SERVER_INSIDE_H
#define SMTP_SERVER_INSIDE_H

#include <veredus/smtp_server.h>

#include <string.h>

#define SERVER_INPUT_MAX  (256u << 10) /* smtp_server_blocked() says so well before */
#define SERVER_BLOCKED    (64u << 10)
#define SERVER_OUTPUT_MAX (1u << 20)

enum server_state {
    SERVER_SILENT,   /* the greeting has not been given */
    SERVER_COMMANDS, /* waits for a command line */
    SERVER_REFUSED,  /* greeted with 554: only QUIT is served */
    SERVER_IN_AUTH,  /* waits for a response to a challenge */
    SERVER_IN_DATA,  /* message text */
    SERVER_IN_CHUNK, /* octets of a BDAT */
    SERVER_SECURING, /* waits for the handshake */
    SERVER_CLOSED
};

/* What makes a message refused, see verdicts[] in server_text.c. */
enum { TEXT_BARE = 1, TEXT_SIZE = 2, TEXT_LINE = 4, TEXT_LOOP = 8 };

struct server_text { /* of one message */
    uint64_t size;
    uint64_t line;     /* octets of the current line so far; 0: the next byte begins one */
    unsigned faults;   /* TEXT_…; 0: fine so far */
    unsigned received; /* fields */
    bool binary;       /* BODY=BINARYMIME */
    bool in_header;
    bool cr;       /* the last byte was a CR */
    char begin[9]; /* of the current line of the header, as much as "Received:" has */
    uint8_t begin_n;
};

struct server_chunk {          /* of one BDAT */
    uint64_t size, left;       /* octets: in all, and still to come */
    struct smtp_reply refusal; /* code 0: none; its octets are thrown away */
    bool last;
    bool owners; /* the refusal is the owner's, its text in the arena */
    bool silent; /* the refusal is not an error of the client's more: one of a pipeline behind the first */
};

struct smtp_server {
    const struct smtp_server_config *config;
    struct vr_buf in, out;
    size_t scanned; /* bytes of `in` known to hold no line end */
    size_t take;    /* bytes of `in` that the last event pointed into: dropped at the next call */
    enum server_state state;
    enum smtp_server_event_kind awaiting; /* the event that wants an answer; IDLE: none */
    bool tls, extended, greeted, authenticated, in_mail, eof, skipping, close_due, shutdown;
    uint16_t close_code;
    bool bare_lf;        /* ends a line too */
    bool owes_crlf;      /* of text: a line was handed on whose LF stood alone */
    unsigned granted;    /* enum smtp_extension */
    int64_t unix_offset; /* seconds since 1970 at `now` 0; 0: not told */
    uint64_t skipped;
    unsigned rcpts, errors, commands, replies_due; /* replies_due: LMTP */
    struct vr_arena arena;
    struct smtp_mail mail;
    struct smtp_reply shutdown_reply;
    struct vr_str mechanisms; /* of AUTH; the caller's. Only if … */
    bool own_mechanisms;      /* … else the configuration's */
    struct server_text text;
    struct server_chunk chunk;
    bool by_bdat; /* a chunk of this transaction was taken */
    bool spoiled; /* a BDAT was refused: until its LAST, RSET or EHLO no other counts (RFC 3030 §2) */
    unsigned spoiled_rcpts; /* LMTP: the replies that its LAST brings */
    int64_t now, since;     /* since: the last command, or the last piece of data */
    struct smtp_x x;        /* of an XCLIENT that waits for its answer */
    struct vr_arena forward_arena;
    struct smtp_x *forward; /* what XFORWARD said; NULL: nothing */
    struct vr_str secret;   /* the response of AUTH in the arena: wiped once answered */
};

/* server.c */
void server_reply(struct smtp_server *s, struct smtp_reply r);
/* Replies, counts the error, and makes ev a COMMAND_REFUSED. */
enum smtp_server_event_kind server_refuse(struct smtp_server *s, struct smtp_server_event *ev,
                                          struct vr_str line, struct smtp_reply r);
#define REFUSE(code, enhanced, text) server_refuse(s, ev, line, SMTP_REPLY(code, enhanced, text))
void server_greeting(struct smtp_server *s, struct smtp_reply r); /* the line of 220 */
void server_close(struct smtp_server *s,
                  uint16_t code); /* CLOSE follows when what is pending has been read */
void server_transaction_end(struct smtp_server *s);
void server_count_refusal(struct smtp_server *s,
                          struct smtp_reply r); /* 4xx, 5xx: too many close the session */
void server_forget_secret(struct smtp_server *s);
struct vr_str server_mechanisms(const struct smtp_server *s);
bool server_auth_offered(const struct smtp_server *s);
enum smtp_server_event_kind server_await(struct smtp_server *s, enum smtp_server_event_kind kind);

/* server_ehlo.c */
unsigned server_takes(const struct smtp_server *s); /* whose parameters are taken now */
void server_answer_ehlo(struct smtp_server *s, struct smtp_reply r);
uint32_t server_hold_max(const struct smtp_server *s); /* seconds */
int64_t server_unix_time(const struct smtp_server *s); /* seconds since 1970; 0: not told */

/* server_commands.c: one command line, or the response to a challenge, without CRLF */
enum smtp_server_event_kind server_command(struct smtp_server *s, struct vr_str line,
                                           struct smtp_server_event *ev);
enum smtp_server_event_kind server_auth_line(struct smtp_server *s, struct vr_str line,
                                             struct smtp_server_event *ev);
size_t server_line_max(struct vr_str line);
struct vr_str server_loggable(struct vr_str line); /* without what may be a password */

typedef enum smtp_server_event_kind server_verb(struct smtp_server *s, struct vr_str line,
                                                struct vr_str argument, struct smtp_server_event *ev);

/* server_ask.c */
server_verb server_verb_vrfy, server_verb_expn, server_verb_etrn;

/* server_x.c */
server_verb server_verb_xclient, server_verb_xforward;
void server_answer_xclient(struct smtp_server *s, struct smtp_reply r);
void server_add_x_names(struct vr_buf *out, bool forward);
void server_forward_init(struct smtp_server *s);
void server_forward_end(struct smtp_server *s); /* XFORWARD holds for one transaction */

/* server_data.c */
void server_data_begin(struct smtp_server *s);
enum smtp_server_event_kind server_data_next(struct smtp_server *s, struct smtp_server_event *ev);

/* server_bdat.c */
enum smtp_server_event_kind server_bdat(struct smtp_server *s, struct vr_str line, struct vr_str argument,
                                        struct smtp_server_event *ev);
/* A line with that verb whose size cannot be told: replies and closes, since what follows could be taken for commands. */
enum smtp_server_event_kind server_bdat_bad(struct smtp_server *s, struct vr_str line,
                                            struct smtp_server_event *ev);
bool server_is_bdat(const struct smtp_server *s, struct vr_str line);
void server_bdat_answered(struct smtp_server *s, struct smtp_reply r); /* the owner's answer to DATA */
enum smtp_server_event_kind server_bdat_next(struct smtp_server *s, struct smtp_server_event *ev);
/* Replies, and the transaction has a message that was refused: nothing goes on but RSET (RFC 3030 §2). */
enum smtp_server_event_kind server_spoil(struct smtp_server *s, struct smtp_server_event *ev,
                                         struct smtp_reply r);
extern const struct smtp_reply server_spoiled; /* to what comes instead of RSET */

/* server_text.c */
void server_text_begin(struct smtp_server *s);
void server_text_add(struct smtp_server *s, struct vr_str bytes);
/* Bytes of one line, at least one; `whole` when the last of them is its only LF. */
void server_text_part(struct smtp_server *s, struct vr_str part, bool whole);
void server_text_end(struct smtp_server *s);
extern const struct smtp_reply server_too_large;
struct smtp_reply server_text_verdict(const struct smtp_server *s); /* code 0: nothing speaks against it */

#endif
