/* smtp_script.h - a small SMTP and LMTP server for tests that says what its script says, also what no good server would. */
#ifndef TESTS_SMTP_SCRIPT_H
#define TESTS_SMTP_SCRIPT_H

#include "io_testing.h"

#include "io/stream.h"

#include <sys/queue.h>

/* Replies; NULL: the usual one. "!": the connection is cut. "-": silence. */
struct script {
    const char *greeting, *ehlo, *starttls, *auth, *mail, *data, *dot,
        *body; /* body: said, or cut, with the first bytes of the message */
    struct {
        const char *contains, *reply;
    } rcpt[4];
    const char *lmtp_dot[4];
    bool chunking, binarymime;
    const char *bdat
        [3]; /* to the first BDATs of a message that are not LAST; one that is refused spoils the others. To LAST: dot, lmtp_dot */
    bool no_pipelining, no_8bitmime, dsn, smtputf8, offer_starttls, offer_auth;
    unsigned rcpt_max; /* recipients that one transaction takes; 0: any number */
    const char *size;
    const char *quit;
    const char *more, *more_tls; /* further lines of the EHLO reply, "\r\n250-RRVS"; only under TLS */
};

struct smtpd {
    struct io *io;
    struct io_listener *listener;
    uint16_t port;
    struct io_tls *tls;
    bool implicit, lmtp;
    struct script script;
    int connections, open, messages, quits, secured;
    unsigned accepted;  /* recipients of the transaction at hand */
    struct vr_buf log;  /* commands, a line each */
    struct vr_buf body; /* the last message, dots undone */
    unsigned chunks;    /* in which it came */
    int once;           /* > 0: the script holds for so many connections, then all is well */
    LIST_HEAD(, smtpd_session) sessions;
};

struct smtpd_session {
    LIST_ENTRY(smtpd_session) link;
    struct smtpd *d;
    struct io_stream *s;
    struct vr_buf in;
    bool data, closed, mute, mail, garbage;
    bool chunk, last, spoiled; /* in the octets of a BDAT */
    uint64_t octets;           /* that are still to come */
    int number;
};

static inline const struct script *smtpd_script(const struct smtpd_session *x)
{
    static const struct script well = {0};
    return x->d->once > 0 && x->number >= x->d->once ? &well : &x->d->script;
}

static inline void smtpd_close(struct smtpd_session *x)
{
    if (x->closed)
        return;
    x->closed = true;
    x->d->open--;
    io_stop(x->d->io);
}

static inline void smtpd_say(struct smtpd_session *x, const char *scripted, const char *usual)
{
    const char *reply = scripted != NULL ? scripted : usual;
    x->mute |= strcmp(reply, "-") == 0;
    if (x->closed || x->mute)
        return;
    if (strcmp(reply, "!") == 0) {
        smtpd_close(x);
        return;
    }
    io_stream_write(x->s, vr_str_from(reply));
    io_stream_write(x->s, VR_STR("\r\n"));
    if (strncmp(reply, "421", 3) == 0)
        smtpd_close(x);
}

static inline void smtpd_ehlo(struct smtpd_session *x)
{
    const struct script *c = smtpd_script(x);
    char reply[600];
    struct io_tls_info info;
    bool tls = io_stream_tls_info(x->s, &info);
    snprintf(reply, sizeof reply, "250-server.test%s%s%s%s%s%s%s%s%s%s%s%s\r\n250 HELP",
             c->chunking ? "\r\n250-CHUNKING" : "", c->binarymime ? "\r\n250-BINARYMIME" : "",
             c->no_pipelining ? "" : "\r\n250-PIPELINING", c->no_8bitmime ? "" : "\r\n250-8BITMIME",
             c->dsn ? "\r\n250-DSN" : "", c->smtputf8 ? "\r\n250-SMTPUTF8" : "",
             c->size ? "\r\n250-SIZE " : "", c->size ? c->size : "",
             c->offer_starttls && !tls ? "\r\n250-STARTTLS" : "", c->offer_auth ? "\r\n250-AUTH PLAIN" : "",
             c->more ? c->more : "", c->more_tls && tls ? c->more_tls : "");
    smtpd_say(x, c->ehlo, reply);
}

static inline void smtpd_rcpt(struct smtpd_session *x, struct vr_str line)
{
    const struct script *c = smtpd_script(x);
    const char *reply = NULL;
    for (int i = 0; i < 4 && reply == NULL; i++)
        if (c->rcpt[i].contains != NULL && vr_str_find_str(line, vr_str_from(c->rcpt[i].contains)) != VR_NPOS)
            reply = c->rcpt[i].reply;
    if (c->rcpt_max > 0 && x->d->accepted == c->rcpt_max)
        reply = "452 4.5.3 too many";
    if (!x->mail)
        reply = "503 5.5.1 MAIL first";
    x->d->accepted += reply == NULL;
    smtpd_say(x, reply, "250 2.1.5 fine");
}

static inline void smtpd_secured(void *arg, int status)
{
    struct smtpd_session *x = arg;
    if (status != 0) {
        smtpd_close(x);
        return;
    }
    x->d->secured++;
    if (x->d->implicit)
        smtpd_say(x, smtpd_script(x)->greeting, "220 server.test ESMTP");
}

static inline void smtpd_starttls(struct smtpd_session *x)
{
    smtpd_say(x, smtpd_script(x)->starttls, "220 2.0.0 go ahead");
    if (x->closed || (smtpd_script(x)->starttls != NULL && smtpd_script(x)->starttls[0] != '2'))
        return;
    if (x->d->tls == NULL) { /* what it says now is no TLS */
        x->garbage = true;
        return;
    }
    io_stream_start_tls(x->s, x->d->tls, IO_TLS_OPPORTUNISTIC, vr_str(NULL, 0));
}

static inline void smtpd_dot(struct smtpd_session *x)
{
    const struct script *c = smtpd_script(x);
    x->data = false;
    if (c->dot == NULL || c->dot[0] == '2')
        x->d->messages++;
    if (!x->d->lmtp)
        smtpd_say(x, c->dot, "250 2.6.0 taken");
    for (unsigned i = 0; x->d->lmtp && i < x->d->accepted; i++)
        smtpd_say(x, c->lmtp_dot[i], "250 2.6.0 stored");
    io_stop(x->d->io);
}

static inline void smtpd_bdat(struct smtpd_session *x, struct vr_str line)
{
    x->last = vr_str_ends_nocase(line, VR_STR(" LAST"));
    assert_true(vr_str_to_u64(vr_str_sub(line, 5, line.n - 5 - (x->last ? 5 : 0)), &x->octets));
    assert_true(smtpd_script(x)->chunking && x->mail && x->d->accepted > 0);
    x->chunk = true;
    if (x->d->chunks++ == 0)
        vr_buf_reset(&x->d->body);
}

static inline void smtpd_chunk_end(struct smtpd_session *x)
{
    const struct script *c = smtpd_script(x);
    x->chunk = false;
    const char *scripted = x->last || x->d->chunks > 3 ? NULL : c->bdat[x->d->chunks - 1];
    if (x->spoiled)
        smtpd_say(x, NULL, "503 5.5.1 RSET first");
    else if (x->last)
        smtpd_dot(x);
    else
        smtpd_say(x, scripted, "250 2.0.0 fine");
    x->spoiled = x->spoiled || (scripted != NULL && scripted[0] != '2');
}

/* Octets of a BDAT. False: more of them must come. */
static inline bool smtpd_octets(struct smtpd_session *x)
{
    struct vr_str in = vr_buf_str(&x->in);
    struct vr_str part = vr_str_sub(in, 0, in.n < x->octets ? in.n : (size_t)x->octets);
    vr_buf_add(&x->d->body, part);
    vr_buf_consume(&x->in, part.n);
    x->octets -= part.n;
    if (x->octets == 0)
        smtpd_chunk_end(x);
    return !x->chunk;
}

static inline void smtpd_line(struct smtpd_session *x, struct vr_str line)
{
    const struct script *c = smtpd_script(x);
    if (x->data) {
        if (vr_str_equal(line, VR_STR("."))) {
            smtpd_dot(x);
            return;
        }
        vr_buf_add(&x->d->body, vr_str_from_pos(line, line.n > 0 && line.p[0] == '.'));
        vr_buf_add(&x->d->body, VR_STR("\r\n"));
        if (c->body != NULL)
            smtpd_say(x, c->body, "");
        return;
    }
    vr_buf_add(&x->d->log, line);
    vr_buf_add(&x->d->log, VR_STR("\n"));
    if (vr_str_starts_nocase(line, VR_STR("EHLO")) || vr_str_starts_nocase(line, VR_STR("LHLO"))) {
        smtpd_ehlo(x);
    } else if (vr_str_starts_nocase(line, VR_STR("STARTTLS"))) {
        smtpd_starttls(x);
    } else if (vr_str_starts_nocase(line, VR_STR("AUTH"))) {
        smtpd_say(x, c->auth, "235 2.7.0 welcome");
    } else if (vr_str_starts_nocase(line, VR_STR("MAIL"))) {
        x->d->accepted = x->d->chunks = 0;
        x->spoiled = false;
        x->mail = c->mail == NULL || c->mail[0] == '2';
        smtpd_say(x, c->mail, "250 2.1.0 fine");
    } else if (vr_str_starts_nocase(line, VR_STR("RCPT"))) {
        smtpd_rcpt(x, line);
    } else if (vr_str_starts_nocase(line, VR_STR("BDAT "))) {
        smtpd_bdat(x, line);
    } else if (vr_str_starts_nocase(line, VR_STR("DATA"))) {
        bool none = x->d->accepted == 0;
        smtpd_say(x, none && c->data == NULL ? "554 5.5.1 no recipients" : c->data, "354 go");
        x->data = !none && (c->data == NULL || c->data[0] == '3');
        vr_buf_reset(&x->d->body);
    } else if (vr_str_starts_nocase(line, VR_STR("QUIT"))) {
        x->d->quits++;
        smtpd_say(x, c->quit, "221 2.0.0 bye");
        smtpd_close(x);
    } else {
        smtpd_say(x, NULL, "250 2.0.0 fine");
    }
}

static inline void smtpd_end(struct smtpd_session *x, bool polite)
{
    if (polite)
        io_stream_finish(x->s, 500);
    else
        io_stream_close(x->s);
    LIST_REMOVE(x, link);
    vr_buf_fini(&x->in);
    free(x);
}

static inline void smtpd_bytes(void *arg, struct vr_str bytes)
{
    struct smtpd_session *x = arg;
    assert_true(vr_buf_add(&x->in, bytes));
    if (x->garbage) {
        io_stream_write(x->s, VR_STR("this is no handshake, and long enough to be seen as none\r\n"));
        smtpd_close(x);
    }
    for (;;) {
        if (x->chunk && (x->closed || !smtpd_octets(x)))
            break;
        struct vr_str in = vr_buf_str(&x->in);
        size_t end = vr_str_find_str(in, VR_STR("\r\n"));
        if (end == VR_NPOS || x->closed)
            break;
        smtpd_line(x, vr_str_sub(in, 0, end));
        vr_buf_consume(&x->in, end + 2);
    }
    if (x->closed)
        smtpd_end(x, true);
}

static inline void smtpd_ended(void *arg, int status)
{
    (void)status;
    smtpd_close(arg);
    smtpd_end(arg, false);
}

static inline void smtpd_accept(void *arg, struct io_stream *s)
{
    static const struct io_stream_ops ops = {
        .data = smtpd_bytes, .ended = smtpd_ended, .secured = smtpd_secured};
    struct smtpd *d = arg;
    struct smtpd_session *x = calloc(1, sizeof *x);
    assert_non_null(x);
    x->d = d;
    x->s = s;
    LIST_INSERT_HEAD(&d->sessions, x, link);
    x->number = d->connections++;
    d->open++;
    vr_buf_init(&x->in, 64u << 20);
    io_stream_set(s, &ops, x);
    if (d->implicit)
        io_stream_start_tls(s, d->tls, IO_TLS_OPPORTUNISTIC, vr_str(NULL, 0));
    else
        smtpd_say(x, smtpd_script(x)->greeting, "220 server.test ESMTP");
    if (x->closed)
        smtpd_end(x, true);
    io_stop(d->io);
}

/* where: "127.0.0.1:0", "unix:/…" */
static inline void smtpd_start(struct smtpd *d, struct io *io, const char *where)
{
    struct io_address a;
    assert_true(io_address_parse(vr_str_from(where), 0, &a));
    int fd = io_listen_fd(&a, false, 0600);
    assert_true(fd >= 0);
    assert_int_equal(io_listen_address(fd, &a), 0);
    *d = (struct smtpd){.io = io, .port = a.port};
    vr_buf_init(&d->log, 1 << 20);
    vr_buf_init(&d->body, 64u << 20);
    d->listener = io_listener_new(io, fd, smtpd_accept, d);
}

static inline void smtpd_stop(struct smtpd *d)
{
    io_listener_close(d->listener);
    while (!LIST_EMPTY(&d->sessions))
        smtpd_end(LIST_FIRST(&d->sessions), false);
    vr_buf_fini(&d->log);
    vr_buf_fini(&d->body);
    io_tls_free(d->tls);
}

static inline bool smtpd_heard(const struct smtpd *d, const char *words)
{
    return vr_str_find_str(vr_buf_str(&d->log), vr_str_from(words)) != VR_NPOS;
}

#endif
