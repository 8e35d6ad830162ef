/* session.h - one SMTP or LMTP session of a command: connects, runs the client engine to its end, tells each recipient's fate. Blocks.
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "cli/trace.h"
#include "io/io.h"
#include "io/stream.h"

#include <veredus/smtp_client.h>

enum session_tls { SESSION_TLS_NONE, SESSION_TLS_MAY, SESSION_TLS_REQUIRED, SESSION_TLS_IMPLICIT };

struct session_options {
    struct io_address address;
    struct vr_str name;       /* the server's name, for TLS; empty: none */
    enum session_tls tls;
    bool verify;              /* the certificate and its name */
    const char *ca_file;      /* NULL: the system's */
    bool lmtp, auth_in_clear;
    struct vr_str helo, user, password, token, mechanism;
    const char *certificate, *key; /* shown to a server that asks; NULL: none */
    int64_t timeout_ms;       /* for the connection and for each wait; 0: 30 s to connect, then the RFC's times */
    struct trace *trace;      /* the dialogue on standard error, when it is on */
    const struct smtp_mail *mail;
    const struct smtp_rcpt *rcpts;
    size_t rcpt_count;        /* 0: only greet, start TLS and authenticate */
    bool bdat;                /* in chunks where CHUNKING is offered; binary mail always */
    struct vr_str message;    /* with CRLF line ends, unless mail->body is BINARYMIME */
    const struct vr_str *questions; /* commands to be asked, such as "ETRN example.org", instead of a message */
    size_t question_count;
};

struct session_reply {
    uint16_t code;            /* 0: our own words */
    bool permanent;
    char enhanced[16];
    char text[512];
};
enum session_fate { SESSION_OPEN /* no word on it */, SESSION_ACCEPTED /* RCPT was, the message not yet */, SESSION_SENT, SESSION_REFUSED };
struct session_rcpt {
    enum session_fate fate;
    struct session_reply reply;
};
struct session_result {
    bool connected;
    bool failed;              /* the session broke off or never began: `failure` */
    bool transaction;         /* a recipient got an answer: do not try another host */
    char failed_at[16];       /* "connect", "TLS", "AUTH", "greeting", … */
    struct session_reply failure;
    struct session_rcpt *rcpts; /* rcpt_count of them, the caller's memory */
    struct session_reply *answers; /* question_count of them, the caller's memory … */
    size_t answered;               /* … the first of which came */
};

/* out->rcpts is given by the caller. */
void session_run(struct io *io, const struct session_options *o, struct session_result *out);
/* Of sysexits.h: EX_OK when every recipient was taken (or none was asked for and all went well). */
int session_exit_code(const struct session_result *r, size_t rcpt_count);
/* "550 5.1.1 no such user"; control bytes are gone already. */
void session_reply_text(const struct session_reply *r, char *out, size_t n);

#endif
