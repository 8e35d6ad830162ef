/* client_mail.c - one transaction: MAIL, RCPT, DATA as a group where the server allows it, the text, the results (RFC 5321 §3.3, 2920 §3.1,
 * 2033 §4.2).
 *
 * Rule: a group that is out must be answered whole: when MAIL or all recipients were refused and the server still says 354, a lone dot ends it
 * and the reply to it is nobody's.
 * Tests: tests/unit/smtp_client.c, tests/unit/smtp_pair.c
 */
#include "client_inside.h"

#include <assert.h>
#include <stdlib.h>

static const char too_large_text[] = "5.3.4 the message is larger than the server takes";

/* ---- sending ------------------------------------------------------------------------------------------------------- */

static void add_path(struct vr_buf *out, const struct address *a)
{
    vr_buf_add_byte(out, '<');
    address_write(out, a);
    vr_buf_add_byte(out, '>');
}

static void add_parameter(struct vr_buf *out, const char *keyword, struct vr_str value)
{
    if (value.n > 0)
        vr_buf_addf(out, " %s=%.*s", keyword, VR_STR_ARG(value));
}

static void send_mail(struct smtp_client *c)
{
    const struct smtp_mail *m = c->tx.mail;
    struct vr_buf *out = &c->out;
    vr_buf_add(out, VR_STR("MAIL FROM:"));
    add_path(out, &m->reverse_path);
    if ((c->offers & SMTP_EXT_SIZE) && m->size > 0)
        vr_buf_addf(out, " SIZE=%llu", (unsigned long long)m->size);
    if ((c->offers & SMTP_EXT_8BITMIME) && m->body == SMTP_BODY_8BITMIME)
        vr_buf_add(out, VR_STR(" BODY=8BITMIME"));
    if (c->offers & SMTP_EXT_DSN) {
        if (m->ret != DSN_RET_NONE)
            vr_buf_add(out, m->ret == DSN_RET_FULL ? VR_STR(" RET=FULL") : VR_STR(" RET=HDRS"));
        add_parameter(out, "ENVID", m->envid);
    }
    if (c->authenticated && (c->offers & SMTP_EXT_AUTH))
        add_parameter(out, "AUTH", m->auth);
    vr_buf_add(out, VR_STR("\r\n"));
}

static void send_rcpt(struct smtp_client *c, const struct smtp_rcpt *r)
{
    struct vr_buf *out = &c->out;
    vr_buf_add(out, VR_STR("RCPT TO:"));
    add_path(out, &r->forward_path);
    if ((c->offers & SMTP_EXT_DSN) && r->notify != 0) {
        vr_buf_add(out, VR_STR(" NOTIFY="));
        dsn_notify_write(out, r->notify);
    }
    if (c->offers & SMTP_EXT_DSN)
        add_parameter(out, "ORCPT", r->orcpt);
    vr_buf_add(out, VR_STR("\r\n"));
}

void smtp_client_mail(struct smtp_client *c, const struct smtp_mail *mail, const struct smtp_rcpt *rcpts,
                      size_t n, int64_t now_ms)
{
    assert(c->stage == STAGE_READY && n > 0);
    struct client_transaction *t = &c->tx;
    c->now = now_ms;
    c->sent_dot = false;
    uint8_t *taken = t->taken;
    size_t size = t->taken_size;
    if (size < n) {
        taken = realloc(taken, n);
        assert(taken != NULL); /* a byte per recipient: a daemon without this much memory starts anew */
        size = n;
    }
    memset(taken, 0, n);
    *t = (struct client_transaction){
        .mail = mail, .rcpts = rcpts, .count = n, .taken = taken, .taken_size = size, .line_start = true};
    if (c->size_limit > 0 && mail->size > c->size_limit) { /* RFC 1870 §6.1: no need to try */
        t->mail_refused = true;
        t->mail_code = 552;
        vr_buf_reset(&c->mail_text);
        vr_buf_add(&c->mail_text, vr_str_from(too_large_text));
        client_stage(c, STAGE_RCPT);
        return;
    }
    send_mail(c);
    t->grouped = (c->offers & SMTP_EXT_PIPELINING) != 0;
    for (size_t i = 0; t->grouped && i < n; i++)
        send_rcpt(c, &rcpts[i]);
    if (t->grouped) {
        vr_buf_add(&c->out, VR_STR("DATA\r\n"));
        t->sent = n;
    }
    client_stage(c, STAGE_MAIL);
}

/* ---- replies ---------------------------------------------------------------------------------------------------------- */

/* After a transaction that failed, the server may still have MAIL open. */
static enum smtp_client_event_kind reset(struct smtp_client *c)
{
    client_line(c, "RSET\r\n");
    client_stage(c, STAGE_RSET);
    return SMTP_CLIENT_IDLE;
}

static void next_rcpt(struct smtp_client *c)
{
    struct client_transaction *t = &c->tx;
    client_stage(c, STAGE_RCPT);
    if (!t->grouped && t->sent < t->count)
        send_rcpt(c, &t->rcpts[t->sent++]);
}

enum smtp_client_event_kind client_on_mail(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    (void)ev;
    struct client_transaction *t = &c->tx;
    if (r->code / 100 == 2) {
        next_rcpt(c);
        return SMTP_CLIENT_IDLE;
    }
    t->mail_refused = true;
    t->mail_code = r->code;
    vr_buf_reset(&c->mail_text);
    vr_buf_add(&c->mail_text, r->text);
    client_stage(c, STAGE_RCPT);
    return SMTP_CLIENT_IDLE;
}

/* All recipients have their reply: what now? */
static enum smtp_client_event_kind after_recipients(struct smtp_client *c)
{
    struct client_transaction *t = &c->tx;
    if (t->grouped) { /* DATA is out already */
        t->swallow = t->accepted == 0;
        client_stage(c, STAGE_DATA);
    } else if (t->accepted > 0) {
        client_line(c, "DATA\r\n");
        client_stage(c, STAGE_DATA);
    } else if (t->mail_refused) {
        c->ready_due = true;
    } else {
        return reset(c);
    }
    return SMTP_CLIENT_IDLE;
}

static enum smtp_client_event_kind rcpt_result(struct smtp_client *c, struct smtp_client_event *ev,
                                               uint16_t code, struct vr_str text)
{
    struct client_transaction *t = &c->tx;
    client_reply_event(c, ev, code, text);
    ev->index = t->at;
    t->taken[t->at] = code / 100 == 2;
    t->accepted += t->taken[t->at];
    t->at++;
    if (t->at == t->count)
        after_recipients(c);
    else if (!t->mail_refused)
        next_rcpt(c);
    return SMTP_CLIENT_RCPT_RESULT;
}

enum smtp_client_event_kind client_on_rcpt(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    if (c->tx.mail_refused) /* the group was out: this reply says nothing that MAIL's did not */
        return rcpt_result(c, ev, c->tx.mail_code, vr_buf_str(&c->mail_text));
    return rcpt_result(c, ev, r->code, r->text);
}

enum smtp_client_event_kind client_mail_pending(struct smtp_client *c, struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    if (c->stage == STAGE_RCPT && t->mail_refused && !t->grouped && t->at < t->count)
        return rcpt_result(c, ev, t->mail_code, vr_buf_str(&c->mail_text));
    while (c->stage == STAGE_DATA && t->refused_data && t->at < t->count)
        if (t->taken[t->at++]) {
            client_reply_event(c, ev, t->mail_code, vr_buf_str(&c->mail_text));
            ev->index = t->at - 1;
            return SMTP_CLIENT_RESULT;
        }
    if (c->stage == STAGE_DATA && t->refused_data)
        reset(c);
    return SMTP_CLIENT_IDLE;
}

/* DATA refused: the result of all accepted recipients, for LMTP one by one. */
static enum smtp_client_event_kind data_refused(struct smtp_client *c, const struct client_reply *r,
                                                struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    if (t->swallow)
        return t->mail_refused ? (c->ready_due = true, SMTP_CLIENT_IDLE) : reset(c);
    if (!c->config->lmtp) {
        client_reply_event(c, ev, r->code, r->text);
        ev->index = SIZE_MAX;
        reset(c);
        return SMTP_CLIENT_RESULT;
    }
    t->refused_data = true;
    t->mail_code = r->code;
    t->at = 0;
    vr_buf_reset(&c->mail_text);
    vr_buf_add(&c->mail_text, r->text);
    return SMTP_CLIENT_IDLE;
}

enum smtp_client_event_kind client_on_data(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    if (r->code / 100 == 2)
        return client_fail(c, ev, "4.5.0", false, "the server replied to DATA as if the message were over");
    if (r->code != 354)
        return data_refused(c, r, ev);
    if (c->tx.swallow) { /* RFC 2920 §3.1: 354 although nobody was accepted */
        client_line(c, ".\r\n");
        client_stage(c, STAGE_DOT);
        return SMTP_CLIENT_IDLE;
    }
    c->tx.at = 0;
    client_stage(c, STAGE_BODY);
    return SMTP_CLIENT_BODY;
}

enum smtp_client_event_kind client_on_dot(struct smtp_client *c, const struct client_reply *r,
                                          struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    if (t->swallow) {
        c->ready_due = true;
        return SMTP_CLIENT_IDLE;
    }
    client_reply_event(c, ev, r->code, r->text);
    ev->index = SIZE_MAX;
    if (!c->config->lmtp) {
        c->ready_due = true;
        c->sent_dot = false;
        return SMTP_CLIENT_RESULT;
    }
    while (t->at < t->count && !t->taken[t->at])
        t->at++;
    ev->index = t->at++;
    if (--t->accepted == 0) {
        c->ready_due = true;
        c->sent_dot = false;
    }
    return SMTP_CLIENT_RESULT;
}

enum smtp_client_event_kind client_on_rset(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    if (r->code / 100 != 2)
        return client_fail_reply(c, ev, r);
    c->ready_due = true;
    return SMTP_CLIENT_IDLE;
}

/* ---- the text ------------------------------------------------------------------------------------------------------------ */

void smtp_client_body(struct smtp_client *c, struct vr_str bytes, int64_t now_ms)
{
    struct client_transaction *t = &c->tx;
    if (c->stage == STAGE_DEAD)
        return; /* the session broke while the owner was reading */
    assert(c->stage == STAGE_BODY);
    c->now = now_ms;
    size_t done = 0, from = 0;
    if (bytes.n == 0)
        return;
    if (t->line_start && bytes.p[0] == '.')
        vr_buf_add_byte(&c->out, '.');
    for (size_t lf; (lf = vr_str_find(vr_str_from_pos(bytes, from), '\n')) != VR_NPOS;) {
        from += lf + 1;
        if (from < bytes.n && bytes.p[from] == '.') { /* §4.5.2 */
            vr_buf_add(&c->out, vr_str_sub(bytes, done, from - done));
            vr_buf_add_byte(&c->out, '.');
            done = from;
        }
    }
    vr_buf_add(&c->out, vr_str_from_pos(bytes, done));
    t->line_start = bytes.p[bytes.n - 1] == '\n';
    t->last_cr = bytes.p[bytes.n - 1] == '\r';
}

void smtp_client_body_end(struct smtp_client *c, int64_t now_ms)
{
    struct client_transaction *t = &c->tx;
    if (c->stage == STAGE_DEAD)
        return;
    assert(c->stage == STAGE_BODY);
    c->now = now_ms;
    if (!t->line_start)
        vr_buf_add(&c->out, t->last_cr ? VR_STR("\n") : VR_STR("\r\n"));
    vr_buf_add(&c->out, VR_STR(".\r\n"));
    c->sent_dot = true;
    client_stage(c, STAGE_DOT);
}
