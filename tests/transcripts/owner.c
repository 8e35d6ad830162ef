/* owner.c - answers the engine's questions: d.test has ok, ok2, postmaster, full and (LMTP) late; user@d.test logs in with "secret".
 *
 * An answer is decided when the event comes and given later, so that the runner can let input arrive between.
 */
#include "owner.h"

#include "../unit/sasl_owner.h"

#include <veredus/idn.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void owner_init(struct owner *o, struct smtp_server *engine)
{
    *o = (struct owner){.engine = engine};
    vr_arena_init(&o->arena, 8u << 20);
    vr_buf_init(&o->to, 1u << 20);
    vr_buf_init(&o->params, 1u << 16);
    vr_buf_init(&o->client, 1u << 16);
    vr_buf_init(&o->body, 64u << 20);
    vr_buf_init(&o->facts, 64u << 20);
}

void owner_fini(struct owner *o)
{
    vr_buf_fini(&o->to);
    vr_buf_fini(&o->params);
    vr_buf_fini(&o->client);
    vr_buf_fini(&o->body);
    vr_buf_fini(&o->facts);
    vr_arena_fini(&o->arena);
    sasl_server_free(o->sasl);
}

static void decide(struct owner *o, struct smtp_reply reply)
{
    o->reply = reply;
    o->has_reply = true;
}

static void forget(struct owner *o)
{
    vr_buf_reset(&o->to);
    vr_buf_reset(&o->params);
    vr_buf_reset(&o->body);
    vr_arena_reset(&o->arena);
    o->rcpts = o->answered = 0;
}

/* ---- transactions ------------------------------------------------------------------------------------------------- */

static void add_param(struct vr_buf *b, const char *name, struct vr_str value)
{
    if (value.n > 0)
        vr_buf_addf(b, "%s%.*s", name, VR_STR_ARG(value));
}

/* "addr=192.0.2.1:25,name=host.test": what is known, in this order; what was said to be not available as "name=?" */
static void add_end(struct vr_buf *out, const struct smtp_x_end *end)
{
    for (size_t i = 0; i < 16 && end->family != 0; i += end->family == 4 ? 1 : 2) {
        if (end->family == 4 && i < 4)
            vr_buf_addf(out, "%s%u", i > 0 ? "." : "", end->ip[i]);
        else if (end->family == 6)
            vr_buf_addf(out, "%s%x", i > 0 ? ":" : "", (unsigned)end->ip[i] << 8 | end->ip[i + 1]);
    }
}

static void add_x(struct vr_buf *out, const struct smtp_x *x)
{
    const char *separator = "";
    const struct {
        enum smtp_x_attribute bit;
        const char *name;
        struct vr_str text;
        const struct smtp_x_end *end;
        int number;
    } rows[] = {{SMTP_X_NAME, "name", x->name, NULL, -1},
                {SMTP_X_ADDR, "addr", {NULL, 0}, &x->client, -1},
                {SMTP_X_PORT, "port", {NULL, 0}, NULL, x->client.port},
                {SMTP_X_PROTO, "proto", x->extended ? VR_STR("esmtp") : VR_STR("smtp"), NULL, -1},
                {SMTP_X_HELO, "helo", x->helo, NULL, -1},
                {SMTP_X_LOGIN, "login", x->login, NULL, -1},
                {SMTP_X_DESTADDR, "destaddr", {NULL, 0}, &x->server, -1},
                {SMTP_X_DESTPORT, "destport", {NULL, 0}, NULL, x->server.port},
                {SMTP_X_IDENT, "ident", x->ident, NULL, -1},
                {SMTP_X_SOURCE, "source", x->local ? VR_STR("local") : VR_STR("remote"), NULL, -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!(x->given & rows[i].bit))
            continue;
        vr_buf_addf(out, "%s%s=", separator, rows[i].name);
        separator = ",";
        if (!(x->known & rows[i].bit))
            vr_buf_add_byte(out, '?');
        else if (rows[i].end != NULL)
            add_end(out, rows[i].end);
        else if (rows[i].number >= 0)
            vr_buf_add_u64(out, (uint64_t)rows[i].number);
        else
            vr_buf_add(out, rows[i].text);
    }
}

static void hear_xclient(struct owner *o, const struct smtp_x *x)
{
    vr_buf_reset(&o->client);
    if (vr_str_equal(x->name, VR_STR("refused.test"))) {
        decide(o, SMTP_REPLY(550, "5.7.1", "not him"));
    } else if (vr_str_equal(x->name, VR_STR("crowd.test"))) {
        decide(o, SMTP_REPLY(421, "4.7.0", "too many of them"));
    } else {
        add_x(&o->client, x);
        decide(o, SMTP_REPLY(220, NULL, ""));
    }
}

/* d.test has mail waiting, empty.test has none; all other nodes are somebody else's. */
static void hear_etrn(struct owner *o, const struct smtp_server_event *ev)
{
    if (ev->option == '#')
        decide(o, SMTP_REPLY(458, "4.3.0", "there is no such queue"));
    else if (vr_str_equal_nocase(ev->name, VR_STR("d.test")))
        decide(o, ev->option == '@' ? SMTP_REPLY(252, "2.0.0", "started, all below too")
                                    : SMTP_REPLY(253, "2.0.0", "2 messages for d.test started"));
    else if (vr_str_equal_nocase(ev->name, VR_STR("empty.test")))
        decide(o, SMTP_REPLY(251, "2.0.0", "nothing waits for empty.test"));
    else
        decide(o, SMTP_REPLY(459, "4.7.1", "not your domain"));
}

static void hear_expn(struct owner *o, const struct smtp_server_event *ev)
{
    if (vr_str_equal_nocase(ev->data, VR_STR("team")))
        decide(o, SMTP_REPLY(250, "2.1.5", "Ann <ann@d.test>\n<bob@d.test>\n<carol@elsewhere.test>"));
    else if (ev->utf8 && vr_str_equal(ev->data, VR_STR("t\xc3\xa4m")))
        decide(o, SMTP_REPLY(250, "2.1.5", "<j\xc3\xbcrgen@d.test>"));
    else
        decide(o, SMTP_REPLY(550, "5.1.1", "no such list here"));
}

static void hear_mail(struct owner *o, const struct smtp_mail *m)
{
    forget(o);
    o->binary = m->body == SMTP_BODY_BINARYMIME;
    o->from = address_text(&o->arena, &m->reverse_path);
    if (m->size > 0)
        vr_buf_addf(&o->params, " size=%llu", (unsigned long long)m->size);
    static const char *const bodies[] = {"", " body=8bitmime", " body=binarymime"};
    vr_buf_addf(&o->params, "%s", bodies[m->body]);
    if (m->ret != DSN_RET_NONE)
        vr_buf_addf(&o->params, " ret=%s", m->ret == DSN_RET_FULL ? "full" : "hdrs");
    if (m->has_priority)
        vr_buf_addf(&o->params, " priority=%d", m->priority);
    add_param(&o->params, " envid=", m->envid);
    add_param(&o->params, " auth=", m->auth);
    add_param(&o->params, " solicit=", m->solicit);
    if (m->utf8)
        vr_buf_addf(&o->params, " utf8");
    if (m->require_tls)
        vr_buf_addf(&o->params, " requiretls");
    if (m->by != SMTP_BY_NONE)
        vr_buf_addf(&o->params, " by=%d;%s%s", m->by_seconds, m->by == SMTP_BY_RETURN ? "R" : "N",
                    m->by_trace ? "T" : "");
    if (m->hold_for > 0)
        vr_buf_addf(&o->params, " holdfor=%u", m->hold_for);
    if (m->hold_until > 0)
        vr_buf_addf(&o->params, " holduntil=%lld", (long long)m->hold_until);
    add_param(&o->params, " xclient=", vr_buf_str(&o->client));
    const struct smtp_x *forwarded = smtp_server_forwarded(o->engine);
    if (forwarded != NULL) {
        vr_buf_addf(&o->params, " xforward=");
        add_x(&o->params, forwarded);
    }
    if (vr_str_equal_nocase(m->reverse_path.domain, VR_STR("refused.test")))
        decide(o, SMTP_REPLY(550, "5.7.1", "nothing is taken from refused.test"));
    else
        decide(o, SMTP_REPLY(250, "2.1.0", "sender ok"));
}

static struct smtp_reply judge_rcpt(struct owner *o, const struct address *a)
{
    static const struct smtp_reply ok = {250, "2.1.5", VR_STR_INIT("recipient ok")};
    if (a->domain.n == 0)
        return ok; /* <postmaster>: the parser lets no other through without a domain */
    if (!vr_str_equal_nocase(a->domain, VR_STR("d.test")) && !idn_equal(a->domain, VR_STR("bücher.test")))
        return smtp_server_authenticated(o->engine) ? ok : SMTP_REPLY(554, "5.7.1", "relaying denied");
    static const char *const users[] = {"ok", "ok2", "postmaster", "late", "jörg"};
    struct vr_str local = address_fold(&o->arena, a->local);
    for (size_t i = 0; i < sizeof users / sizeof *users; i++)
        if (vr_str_equal(local, vr_str_from(users[i])))
            return ok;
    if (vr_str_equal_nocase(a->local, VR_STR("full")))
        return SMTP_REPLY(452, "4.2.2", "the mailbox is full");
    return SMTP_REPLY(550, "5.1.1", "no such mailbox here");
}

static void hear_rcpt(struct owner *o, const struct smtp_rcpt *r)
{
    decide(o, judge_rcpt(o, &r->forward_path));
    if (o->reply.code != 250)
        return;
    vr_buf_addf(&o->to, "%s<%.*s>", o->rcpts > 0 ? "," : "",
                VR_STR_ARG(address_text(&o->arena, &r->forward_path)));
    if (r->notify != 0) {
        vr_buf_addf(&o->to, ";notify=");
        dsn_notify_write(&o->to, r->notify);
    }
    add_param(&o->to, ";orcpt=", r->orcpt);
    if (r->rrvs != SMTP_RRVS_NONE)
        vr_buf_addf(&o->to, ";rrvs=%lld%s", (long long)r->valid_since,
                    r->rrvs == SMTP_RRVS_CONTINUE ? "C" : "R");
    assert(o->rcpts < sizeof o->late / sizeof *o->late);
    o->late[o->rcpts++] = vr_str_equal_nocase(r->forward_path.local, VR_STR("late"));
}

/* A line of the text as a fact: CR and LF are written as such only where a binary message has them within a line. */
static void add_line(struct owner *o, const char *fact, struct vr_str line)
{
    vr_buf_addf(&o->facts, "%s ", fact);
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] == '\r' || line.p[i] == '\n')
            vr_buf_add(&o->facts, line.p[i] == '\r' ? VR_STR("\\r") : VR_STR("\\n"));
        else
            vr_buf_add_byte(&o->facts, line.p[i]);
    }
    vr_buf_add_byte(&o->facts, '\n');
}

static void add_body(struct owner *o)
{
    struct vr_str body = vr_buf_str(&o->body);
    size_t end;
    while ((end = vr_str_find_str(body, VR_STR("\r\n"))) != VR_NPOS) {
        struct vr_str line = vr_str_sub(body, 0, end);
        /* CRLF only: what the engine promises */
        assert(o->binary || (vr_str_find(line, '\n') == VR_NPOS && vr_str_find(line, '\r') == VR_NPOS));
        add_line(o, "body", line);
        body = vr_str_from_pos(body, end + 2);
    }
    assert(o->binary || (vr_str_find(body, '\n') == VR_NPOS && vr_str_find(body, '\r') == VR_NPOS));
    if (body.n > 0)
        add_line(o, "rest", body);
}

static void hear_data_end(struct owner *o)
{
    bool late = o->late[o->answered++];
    decide(o, late ? SMTP_REPLY(452, "4.2.2", "the mailbox is full now")
                   : SMTP_REPLY(250, "2.0.0", "message accepted"));
    if (o->answered > 1)
        return; /* LMTP: the message was noted with the first recipient's answer */
    o->messages++;
    vr_buf_addf(&o->facts, "message from=<%.*s> to=%.*s%.*s\n", VR_STR_ARG(o->from),
                VR_STR_ARG(vr_buf_str(&o->to)), VR_STR_ARG(vr_buf_str(&o->params)));
    add_body(o);
}

/* ---- AUTH --------------------------------------------------------------------------------------------------------- */

static const struct sasl_owner account = {.user = "user@d.test",
                                          .password = "secret",
                                          .token = "good-token",
                                          .narrow = "narrow-token",
                                          .salt = "transcript  salt"};

static void follow_sasl(struct owner *o, enum sasl_step step, struct vr_str out)
{
    step = sasl_owner_settle(&account, o->sasl, step, &out);
    if (step == SASL_CHALLENGE) {
        o->has_challenge = true;
        o->challenge = vr_arena_dup(&o->arena, out);
    } else if (step == SASL_DONE) {
        decide(o, SMTP_REPLY(235, "2.7.0", "authenticated"));
    } else if (sasl_server_malformed(o->sasl)) {
        decide(o, SMTP_REPLY(501, "5.5.2", "the response does not follow the mechanism"));
    } else {
        decide(o, SMTP_REPLY(535, "5.7.8", "user name or password is wrong"));
    }
}

static void hear_auth(struct owner *o, const struct smtp_server_event *ev, bool first)
{
    struct vr_str out = {NULL, 0};
    if (first) {
        struct sasl_server_config config = {.nonce = "transcript nonce!",
                                            .fake_key = "transcript  key",
                                            .hostname = VR_STR("mx.d.test"),
                                            .plus_offered =
                                                vr_str_find_str(o->mechanisms, VR_STR("-PLUS")) != VR_NPOS,
                                            .binding = {.tls_exporter = VR_STR("transcript exporter"),
                                                        .tls_server_end_point = VR_STR("transcript hash")},
                                            .identity = VR_STR("other@d.test\nuser@d.test")};
        sasl_server_free(o->sasl);
        o->sasl = sasl_server_new(ev->mechanism, &config);
    }
    assert(o->sasl != NULL); /* only what was offered comes here */
    enum sasl_step step = sasl_server_step(o->sasl, ev->data, ev->has_data, &out);
    follow_sasl(o, step, out);
}

/* ---- events ------------------------------------------------------------------------------------------------------- */

void owner_hear(struct owner *o, enum smtp_server_event_kind kind, const struct smtp_server_event *ev)
{
    switch (kind) {
    case SMTP_SERVER_EHLO:
        if (vr_str_equal_nocase(ev->name, VR_STR("refused.test")))
            decide(o, SMTP_REPLY(550, "5.7.1", "not you"));
        else
            decide(o, SMTP_REPLY(250, NULL, "mx.d.test"));
        break;
    case SMTP_SERVER_MAIL:
        hear_mail(o, ev->mail);
        break;
    case SMTP_SERVER_RCPT:
        hear_rcpt(o, ev->rcpt);
        break;
    case SMTP_SERVER_DATA:
        decide(o, SMTP_REPLY(354, NULL, "go on"));
        break;
    case SMTP_SERVER_CHUNK:
        vr_buf_add(&o->body, ev->data);
        break;
    case SMTP_SERVER_DATA_END:
        if (ev->refusal.code == 0)
            hear_data_end(o);
        else
            forget(o);
        break;
    case SMTP_SERVER_RESET:
        forget(o);
        break;
    case SMTP_SERVER_AUTH:
    case SMTP_SERVER_AUTH_RESPONSE:
        hear_auth(o, ev, kind == SMTP_SERVER_AUTH);
        break;
    case SMTP_SERVER_STARTTLS:
        forget(o);
        o->secure = true;
        break;
    case SMTP_SERVER_VRFY:
        decide(o, vr_str_equal_nocase(ev->data, VR_STR("ok"))
                      ? SMTP_REPLY(250, "2.1.5", "<ok@d.test>")
                      : SMTP_REPLY(550, "5.1.1", "no such user here"));
        break;
    case SMTP_SERVER_EXPN:
        hear_expn(o, ev);
        break;
    case SMTP_SERVER_ETRN:
        hear_etrn(o, ev);
        break;
    case SMTP_SERVER_XCLIENT:
        hear_xclient(o, ev->x);
        break;
    case SMTP_SERVER_CLOSE:
        o->closed = true;
        break;
    default:
        break;
    }
}

void owner_give(struct owner *o)
{
    if (o->has_challenge) {
        o->has_challenge = false;
        smtp_server_challenge(o->engine, o->challenge, o->now_ms);
    } else if (o->has_reply) {
        o->has_reply = false;
        smtp_server_answer(o->engine, o->reply, o->now_ms);
        if (o->answered > 0 && o->answered < o->rcpts && smtp_server_in_transaction(o->engine) &&
            smtp_server_rcpt_count(o->engine) > 0)
            hear_data_end(o); /* LMTP: the engine waits for one answer per recipient */
        else if (o->answered > 0)
            forget(o);
    }
}
