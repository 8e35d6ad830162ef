/* client_mail.c - one transaction: MAIL, RCPT, DATA as a group where the server allows it, and the results (RFC 5321 §3.3, 2920 §3.1,
 * 2033 §4.2). By BDAT (client_bdat.c) the group has no DATA.
 *
 * Rules: (1) a group that is out must be answered whole: what MAIL's refusal settled is told at once, the replies behind it are swallowed
 *        (2) when nobody was accepted and the server still says 354, a lone dot ends the transaction; but never where it could end in an
 *        empty message for somebody, or (LMTP) in waiting for a reply that does not come: then the session fails.
 *        (3) a server that was not told SMTPUTF8 sees no byte beyond ASCII in a command (RFC 6531 §3.2).
 * Tests: tests/unit/smtp_client.c, tests/unit/smtp_pair.c
 */
#include "client_inside.h"

#include <veredus/idn.h>
#include <veredus/message.h>

#include <assert.h>
#include <stdlib.h>

#define SCRATCH_MAX 16384

/* ---- what may stand in a command --------------------------------------------------------------------------------------- */

/* NULL: fine. Else the enhanced status: a CR or LF would begin another command; a local part beyond ASCII cannot be written without SMTPUTF8,
 * where a domain becomes A-labels (RFC 6531 §3.2). Addresses from address_parse have neither CR nor LF; the last door is here. */
static const char *address_fault(const struct smtp_client *c, const struct address *a, const char *syntax)
{
    const struct vr_str parts[] = {a->local, a->domain};
    if (a->local.n > SMTP_LINE_MAX || a->domain.n > SMTP_LINE_MAX)
        return syntax;
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < parts[k].n; i++)
            if ((unsigned char)parts[k].p[i] < 0x20 || parts[k].p[i] == 0x7f)
                return syntax;
    bool ascii = vr_str_is_ascii(a->local);
    if (ascii && vr_str_is_ascii(a->domain))
        return NULL;
    if (c->tx.utf8)
        return vr_utf8_valid(a->local) && vr_utf8_valid(a->domain) ? NULL : syntax;
    if (!ascii)
        return "5.6.7";
    struct vr_arena scratch;
    struct vr_str domain;
    vr_arena_init(&scratch, SCRATCH_MAX);
    const char *fault = idn_to_ascii(&scratch, a->domain, &domain) == VR_OK ? NULL : syntax;
    vr_arena_fini(&scratch);
    return fault;
}

static const char *rcpt_fault(const struct smtp_client *c, const struct smtp_rcpt *r)
{
    return r->forward_path.null || r->forward_path.local.n == 0 ? "5.1.3"
                                                                : address_fault(c, &r->forward_path, "5.1.3");
}

static bool address_is_utf8(const struct address *a)
{
    return !vr_str_is_ascii(a->local) || !vr_str_is_ascii(a->domain);
}

/* RFC 6531 §3.4: said where it is needed, and only there. */
static bool needs_utf8(const struct client_transaction *t)
{
    bool needed = t->mail->utf8 || address_is_utf8(&t->mail->reverse_path);
    for (size_t i = 0; i < t->count && !needed; i++)
        needed = address_is_utf8(&t->rcpts[i].forward_path);
    return needed;
}

/* xtext as RFC 3461 §4 has it, or UTF-8 where that is allowed; anything else is left out rather than sent. */
static bool may_stand(struct vr_str value, bool utf8)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char byte = (unsigned char)value.p[i];
        if (byte < 0x21 || byte == 0x7f || (byte > 0x7e && !utf8))
            return false;
    }
    return value.n > 0 && value.n <= SMTP_LINE_MAX && vr_utf8_valid(value);
}

/* Our own verdict on recipients, in the place of a reply. */
static void own_verdict(struct smtp_client_event *ev, uint16_t code, const char *enhanced, const char *text)
{
    ev->code = code;
    ev->enhanced = vr_str_from(enhanced);
    ev->text = vr_str_from(text);
    ev->permanent = code >= 500;
}

static void address_verdict(struct smtp_client_event *ev, const char *enhanced)
{
    own_verdict(ev, 553, enhanced,
                strcmp(enhanced, "5.6.7") == 0
                    ? "the address has characters beyond ASCII before its @, and the server does not take "
                      "such (SMTPUTF8): not sent to the server"
                    : "the address is not one that SMTP can carry: not sent to the server");
}

/* ---- sending ------------------------------------------------------------------------------------------------------- */

static void add_path(struct smtp_client *c, const struct address *a)
{
    struct vr_arena scratch;
    struct address plain = *a;
    vr_arena_init(&scratch, SCRATCH_MAX);
    if (!c->tx.utf8)
        address_to_ascii(&scratch, a, &plain); /* address_fault saw that it can be done */
    vr_buf_add_byte(&c->out, '<');
    address_write(&c->out, &plain);
    vr_buf_add_byte(&c->out, '>');
    vr_arena_fini(&scratch);
}

static void add_parameter(struct vr_buf *out, struct vr_str keyword, struct vr_str value, bool utf8)
{
    if (!may_stand(value, utf8))
        return;
    vr_buf_add(out, keyword);
    vr_buf_add(out, value);
}

/* RFC 6533 §3: UTF-8 goes to whom SMTPUTF8 is said, to others what stands for it. */
static void add_orcpt(struct smtp_client *c, struct vr_str orcpt)
{
    struct vr_buf ascii;
    vr_buf_init(&ascii, SMTP_LINE_MAX);
    bool utf8 = c->tx.utf8 && dsn_orcpt_check(orcpt, true) == VR_OK;
    if (!utf8 && !vr_str_is_ascii(orcpt) && dsn_orcpt_ascii(&ascii, orcpt))
        orcpt = vr_buf_str(&ascii);
    add_parameter(&c->out, VR_STR(" ORCPT="), orcpt, utf8);
    vr_buf_fini(&ascii);
}

/* "2026-11-23T16:52:51Z" */
static void add_time(struct vr_buf *out, const char *keyword, int64_t seconds)
{
    char date[MESSAGE_RFC3339_SIZE];
    size_t n = message_rfc3339_write(date, seconds * 1000000);
    vr_buf_addf(out, " %s=%.*sZ", keyword, (int)n - 5, date); /* without milliseconds */
}

static void send_times(struct smtp_client *c, const struct smtp_mail *m)
{
    if ((c->offers & SMTP_EXT_DELIVERBY) && m->by != SMTP_BY_NONE)
        vr_buf_addf(&c->out, " BY=%d;%s%s", m->by_seconds, m->by == SMTP_BY_RETURN ? "R" : "N",
                    m->by_trace ? "T" : "");
    if ((c->offers & SMTP_EXT_FUTURERELEASE) && m->hold_for > 0)
        vr_buf_addf(&c->out, " HOLDFOR=%u", m->hold_for);
    else if ((c->offers & SMTP_EXT_FUTURERELEASE) && m->hold_until > 0)
        add_time(&c->out, "HOLDUNTIL", m->hold_until);
}

static void send_mail(struct smtp_client *c)
{
    const struct smtp_mail *m = c->tx.mail;
    struct vr_buf *out = &c->out;
    vr_buf_add(out, VR_STR("MAIL FROM:"));
    add_path(c, &m->reverse_path);
    if ((c->offers & SMTP_EXT_SIZE) && m->size > 0) {
        vr_buf_add(out, VR_STR(" SIZE="));
        vr_buf_add_u64(out, m->size);
    }
    bool utf8_header = c->tx.utf8 && m->utf8; /* RFC 6531 §1.2: goes with 8BITMIME */
    if ((c->offers & SMTP_EXT_8BITMIME) &&
        (m->body == SMTP_BODY_8BITMIME || (m->body == SMTP_BODY_7BIT && utf8_header)))
        vr_buf_add(out, VR_STR(" BODY=8BITMIME"));
    if ((c->offers & SMTP_EXT_BINARYMIME) && m->body == SMTP_BODY_BINARYMIME)
        vr_buf_add(out, VR_STR(" BODY=BINARYMIME"));
    if (c->tx.utf8)
        vr_buf_add(out, VR_STR(" SMTPUTF8"));
    if ((c->offers & SMTP_EXT_REQUIRETLS) && c->tls && m->require_tls) /* RFC 8689 §2: never in clear */
        vr_buf_add(out, VR_STR(" REQUIRETLS"));
    if ((c->offers & SMTP_EXT_DSN) && m->ret != DSN_RET_NONE)
        vr_buf_add(out, m->ret == DSN_RET_FULL ? VR_STR(" RET=FULL") : VR_STR(" RET=HDRS"));
    if (c->offers & SMTP_EXT_DSN)
        add_parameter(out, VR_STR(" ENVID="), m->envid, false);
    if ((c->offers & SMTP_EXT_MT_PRIORITY) && m->priority >= -9 && m->priority <= 9 && m->priority != 0)
        vr_buf_addf(out, " MT-PRIORITY=%d", m->priority); /* none is 0, RFC 6710 §4.1 */
    send_times(c, m);
    if ((c->offers & SMTP_EXT_NO_SOLICITING))
        add_parameter(out, VR_STR(" SOLICIT="), m->solicit, false);
    if (c->authenticated && (c->offers & SMTP_EXT_AUTH))
        add_parameter(out, VR_STR(" AUTH="), m->auth, false);
    vr_buf_add(out, VR_STR("\r\n"));
}

static void send_rcpt(struct smtp_client *c, const struct smtp_rcpt *r)
{
    struct vr_buf *out = &c->out;
    vr_buf_add(out, VR_STR("RCPT TO:"));
    add_path(c, &r->forward_path);
    if ((c->offers & SMTP_EXT_DSN) && r->notify != 0) {
        vr_buf_add(out, VR_STR(" NOTIFY="));
        dsn_notify_write(out, r->notify);
    }
    if (c->offers & SMTP_EXT_DSN)
        add_orcpt(c, r->orcpt);
    if ((c->offers & SMTP_EXT_RRVS) && r->rrvs != SMTP_RRVS_NONE) {
        add_time(out, "RRVS", r->valid_since);
        vr_buf_add(out, r->rrvs == SMTP_RRVS_CONTINUE ? VR_STR(";C") : VR_STR(";R"));
    }
    vr_buf_add(out, VR_STR("\r\n"));
}

static void fan_out(struct smtp_client *c, enum client_fan fan)
{
    c->fan = fan;
    c->tx.fan_at = 0;
}

#define BINARY_NEEDS (SMTP_EXT_BINARYMIME | SMTP_EXT_CHUNKING)

/* Settled before a word was said: true. */
static bool settled_here(struct smtp_client *c)
{
    struct client_transaction *t = &c->tx;
    const char *fault = address_fault(c, &t->mail->reverse_path, "5.1.7");
    c->fanned = (struct smtp_client_event){.command = "MAIL"};
    if (c->limits.size > 0 && t->mail->size > c->limits.size) /* RFC 1870 §6.1 */
        own_verdict(&c->fanned, 552, "5.3.4",
                    "the message is larger than the server's limit (SIZE): not sent to the server");
    else if (t->mail->body == SMTP_BODY_BINARYMIME && (~c->offers & BINARY_NEEDS)) /* RFC 3030 §3 */
        own_verdict(&c->fanned, 554, "5.6.3",
                    "the message is binary, and the server takes none such (BINARYMIME): not sent to it");
    else if (fault != NULL)
        address_verdict(&c->fanned, fault);
    else if (t->mail->utf8 && !t->utf8) { /* RFC 6531 §3.5 */
        own_verdict(&c->fanned, 554, "5.6.9",
                    "the message's header is in UTF-8, and the server does not take such (SMTPUTF8): not "
                    "sent to the server");
        t->own_faults_first = true;
    } else if (t->unsendable < t->count)
        return false;
    fan_out(c, FAN_RCPTS);
    c->ready_due = true;
    return true;
}

static bool remember_taken(struct smtp_client *c, size_t n)
{
    if (!c->config->lmtp)
        return true; /* one reply for all: nobody asks */
    if (c->taken_size < n) {
        uint8_t *taken = realloc(c->taken, n);
        if (taken == NULL)
            return false;
        c->taken = taken;
        c->taken_size = n;
    }
    memset(c->taken, 0, n);
    return true;
}

void smtp_client_mail(struct smtp_client *c, const struct smtp_mail *mail, const struct smtp_rcpt *rcpts,
                      size_t n, int64_t now_ms)
{
    struct client_transaction *t = &c->tx;
    c->now = now_ms;
    if (c->stage == STAGE_DEAD)
        return;
    assert(c->stage == STAGE_READY && n > 0);
    *t = (struct client_transaction){.mail = mail, .rcpts = rcpts, .count = n, .crlf = true, .last = '\n'};
    t->utf8 = (c->offers & SMTP_EXT_SMTPUTF8) && needs_utf8(t);
    for (size_t i = 0; i < n; i++)
        t->unsendable += rcpt_fault(c, &rcpts[i]) != NULL;
    if (!remember_taken(c, n)) {
        client_fail_later(c, "4.3.0", "out of memory");
        return;
    }
    if (vr_buf_size(&c->in) > 0) /* fed, and not looked at yet */
        c->begun = c->early = true;
    if (settled_here(c))
        return;
    t->grouped = (c->offers & SMTP_EXT_PIPELINING) != 0;
    t->bdat = client_wants_bdat(c);
    send_mail(c);
    t->mail_size = vr_buf_size(&c->out);
    for (size_t i = 0; t->grouped && i < n; i++)
        if (t->unsendable == 0 || rcpt_fault(c, &rcpts[i]) == NULL)
            send_rcpt(c, &rcpts[i]);
    if (t->grouped && !t->bdat)
        vr_buf_add(&c->out, VR_STR("DATA\r\n"));
    t->size = vr_buf_size(&c->out);
    client_stage(c, STAGE_MAIL);
    if (c->out.too_big)
        client_fail_later(c, "4.3.0", "too many recipients for one transaction");
}

/* ---- the way through MAIL and RCPT ----------------------------------------------------------------------------------------- */

void client_reset(struct smtp_client *c)
{
    vr_buf_add(&c->out, VR_STR("RSET\r\n"));
    client_stage(c, STAGE_RSET);
}

static enum smtp_client_event_kind body_event(struct smtp_client_event *ev, const char *command)
{
    ev->command = command;
    return SMTP_CLIENT_BODY;
}

/* All recipients have their reply: what now? */
static enum smtp_client_event_kind after_recipients(struct smtp_client *c, struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    if (t->grouped && !t->bdat) { /* DATA is out already */
        t->swallow = t->mail_refused || t->accepted == 0;
        client_stage(c, STAGE_DATA);
    } else if (t->mail_refused && t->accepted == 0) {
        c->ready_due = true; /* nothing was opened, nothing is out */
        client_stage(c, STAGE_READY);
    } else if (t->mail_refused || t->accepted == 0) {
        client_reset(c);
    } else if (t->bdat) {
        client_chunks_begin(c);
        return body_event(ev, "BDAT");
    } else {
        vr_buf_add(&c->out, VR_STR("DATA\r\n"));
        client_stage(c, STAGE_DATA);
    }
    return SMTP_CLIENT_IDLE;
}

static enum smtp_client_event_kind fan_next(struct smtp_client *c, struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    while (c->fan == FAN_RESULTS && t->fan_at < t->count && !c->taken[t->fan_at])
        t->fan_at++;
    if (t->fan_at == t->count) {
        c->fan = FAN_NONE;
        return SMTP_CLIENT_IDLE;
    }
    *ev = c->fanned;
    const char *fault = ev->code == 0 || t->own_faults_first ? rcpt_fault(c, &t->rcpts[t->fan_at]) : NULL;
    if (fault != NULL) { /* each by its own */
        ev->command = "RCPT";
        address_verdict(ev, fault);
    }
    ev->index = t->fan_at++;
    return c->fan == FAN_RCPTS ? SMTP_CLIENT_RCPT_RESULT : SMTP_CLIENT_RESULT;
}

enum smtp_client_event_kind client_mail_pending(struct smtp_client *c, struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    if (c->fan != FAN_NONE) {
        enum smtp_client_event_kind kind = fan_next(c, ev);
        if (kind != SMTP_CLIENT_IDLE)
            return kind;
    }
    while (c->stage == STAGE_RCPT) {
        if (t->at == t->count) {
            t->at = 0;
            return after_recipients(c, ev);
        }
        const char *fault = t->unsendable > 0 ? rcpt_fault(c, &t->rcpts[t->at]) : NULL;
        if (fault == NULL && !t->grouped && !t->asked) {
            send_rcpt(c, &t->rcpts[t->at]);
            t->asked = true;
            client_stage(c, STAGE_RCPT);
        }
        if (fault == NULL)
            break;
        t->at++;
        if (t->mail_refused)
            continue; /* told already */
        address_verdict(ev, fault);
        ev->command = "RCPT";
        ev->index = t->at - 1;
        return SMTP_CLIENT_RCPT_RESULT;
    }
    return SMTP_CLIENT_IDLE;
}

enum smtp_client_event_kind client_on_mail(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    if (r->code / 100 == 3)
        return client_fail_odd(c, ev, r);
    if (r->code / 100 != 2) {
        t->mail_refused = true;
        c->fanned = (struct smtp_client_event){0};
        client_reply_event(c, &c->fanned, r);
        fan_out(c, FAN_RCPTS);
        if (!t->grouped) { /* no transaction was opened, and nothing else is out */
            c->ready_due = true;
            return SMTP_CLIENT_IDLE;
        }
    }
    client_stage(c, STAGE_RCPT);
    return SMTP_CLIENT_IDLE;
}

enum smtp_client_event_kind client_on_rcpt(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    bool accepted = r->code / 100 == 2;
    if (r->code / 100 == 3)
        return client_fail_odd(c, ev, r);
    if (c->config->lmtp)
        c->taken[t->at] = accepted;
    t->accepted += accepted;
    t->rcpts_replied++;
    t->asked = false;
    size_t index = t->at++;
    if (t->mail_refused) /* told already: with MAIL's reply */
        return SMTP_CLIENT_IDLE;
    client_reply_event(c, ev, r);
    ev->index = index;
    return SMTP_CLIENT_RCPT_RESULT;
}

/* ---- DATA and its end ------------------------------------------------------------------------------------------------------ */

enum smtp_client_event_kind client_message_refused(struct smtp_client *c, const struct client_reply *r,
                                                   struct smtp_client_event *ev)
{
    c->fanned = (struct smtp_client_event){.index = SIZE_MAX};
    client_reply_event(c, &c->fanned, r);
    if (c->config->lmtp) {
        fan_out(c, FAN_RESULTS);
        return SMTP_CLIENT_IDLE;
    }
    *ev = c->fanned;
    return SMTP_CLIENT_RESULT;
}

static enum smtp_client_event_kind data_refused(struct smtp_client *c, const struct client_reply *r,
                                                struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    enum smtp_client_event_kind told = SMTP_CLIENT_IDLE;
    if (t->swallow && t->mail_refused && t->accepted == 0) {
        c->ready_due = true;
        return SMTP_CLIENT_IDLE;
    }
    if (!t->swallow)
        told = client_message_refused(c, r, ev);
    client_reset(c); /* MAIL is still open at the server */
    return told;
}

enum smtp_client_event_kind client_on_data(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    if (r->code >= 400)
        return data_refused(c, r, ev);
    if (r->code != 354)
        return client_fail_odd(c, ev, r);
    if (t->swallow && (t->accepted > 0 || c->config->lmtp)) /* rule (2) */
        return client_fail(c, ev, "4.5.0", "the server asks for the message although it refused %s",
                           t->mail_refused ? "MAIL" : "all recipients");
    if (t->swallow) { /* RFC 2920 §3.1 */
        vr_buf_add(&c->out, VR_STR(".\r\n"));
        client_stage(c, STAGE_DOT);
        return SMTP_CLIENT_IDLE;
    }
    client_stage(c, STAGE_BODY);
    return body_event(ev, "DATA");
}

static void message_over(struct smtp_client *c)
{
    if (c->tx.bdat && !c->tx.taken) /* RFC 3030 §2: RSET behind a BDAT that failed */
        client_reset(c);
    else
        c->ready_due = true;
}

enum smtp_client_event_kind client_on_dot(struct smtp_client *c, const struct client_reply *r,
                                          struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    if (r->code / 100 == 3)
        return client_fail_odd(c, ev, r);
    if (t->swallow) {
        c->ready_due = true;
        return SMTP_CLIENT_IDLE;
    }
    client_reply_event(c, ev, r);
    t->taken = t->taken || r->code < 400;
    if (c->config->lmtp) {
        while (!c->taken[t->at])
            t->at++;
        ev->index = t->at++;
    }
    if (!c->config->lmtp || --t->accepted == 0)
        message_over(c);
    return SMTP_CLIENT_RESULT;
}

enum smtp_client_event_kind client_on_rset(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    if (r->code / 100 != 2)
        return r->code / 100 == 3 ? client_fail_odd(c, ev, r) : client_fail_reply(c, ev, r);
    c->ready_due = true;
    return SMTP_CLIENT_IDLE;
}
