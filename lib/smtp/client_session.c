/* client_session.c - from the greeting to READY: EHLO, HELO, STARTTLS (RFC 5321 §3.1, §3.2, 2033 §4.1, 3207).
 *
 * Promise: with TLS_MUST nothing but EHLO and STARTTLS is ever said in clear.
 * Tests:   tests/unit/smtp_client.c
 */
#include "client_inside.h"

static void say(struct smtp_client *c, struct vr_str verb, enum client_stage stage)
{
    vr_buf_add(&c->out, verb);
    vr_buf_add_byte(&c->out, ' ');
    vr_buf_add(&c->out, c->config->helo_name);
    vr_buf_add(&c->out, VR_STR("\r\n"));
    client_stage(c, stage);
}

void client_say_hello(struct smtp_client *c)
{
    c->offers = c->mechanisms = 0;
    c->limits = (struct smtp_client_limits){0};
    say(c, c->config->lmtp ? VR_STR("LHLO") : VR_STR("EHLO"), STAGE_EHLO);
}

static enum smtp_client_event_kind refused(struct smtp_client *c, struct smtp_client_event *ev,
                                           const struct client_reply *r)
{
    if (r->code / 100 == 3)
        return client_fail_odd(c, ev, r);
    client_leave(c);
    return client_fail_reply(c, ev, r);
}

enum smtp_client_event_kind client_on_greeting(struct smtp_client *c, const struct client_reply *r,
                                               struct smtp_client_event *ev)
{
    if (r->code / 100 != 2)
        return refused(c, ev, r);
    client_say_hello(c);
    return SMTP_CLIENT_IDLE;
}

/* ---- what EHLO offers ----------------------------------------------------------------------------------------------------- */

static void read_mechanisms(struct smtp_client *c, struct vr_str rest)
{
    c->mechanisms |= sasl_mechanism_bits(rest);
}

/* RFC 9422 §3: NAME=number, in any order; names that we do not know are passed over. */
static void read_limits(struct smtp_client *c, struct vr_str rest)
{
    struct smtp_client_limits *l = &c->limits;
    const struct {
        const char *name;
        uint64_t *value;
    } known[] = {
        {"MAILMAX", &l->mail_max}, {"RCPTMAX", &l->rcpt_max}, {"RCPTDOMAINMAX", &l->rcpt_domain_max}};
    struct vr_str one;
    while (vr_str_split(&rest, ' ', &one)) {
        size_t equals = vr_str_find(one, '=');
        uint64_t n;
        for (size_t i = 0; equals != VR_NPOS && i < sizeof known / sizeof *known; i++)
            if (vr_str_equal_nocase(vr_str_sub(one, 0, equals), vr_str_from(known[i].name)) &&
                vr_str_to_u64(vr_str_from_pos(one, equals + 1), &n))
                *known[i].value = n;
    }
}

static void read_size(struct smtp_client *c, struct vr_str rest)
{
    uint64_t limit;
    if (vr_str_to_u64(vr_str_trim(rest), &limit))
        c->limits.size = limit;
}

/* RFC 2852 §3: the least time, and options that nobody has defined, separated by commas */
static void read_deliver_by(struct smtp_client *c, struct vr_str rest)
{
    uint64_t least;
    struct vr_str first = vr_str_trim(rest);
    if (vr_str_to_u64(vr_str_sub(first, 0, vr_str_find(first, ',')), &least))
        c->limits.deliver_by_min = least;
}

/* What stands behind a keyword. */
static const struct {
    enum smtp_extension bit;
    void (*read)(struct smtp_client *c, struct vr_str rest);
} values[] = {
    {SMTP_EXT_SIZE, read_size},
    {SMTP_EXT_AUTH, read_mechanisms},
    {SMTP_EXT_LIMITS, read_limits},
    {SMTP_EXT_DELIVERBY, read_deliver_by},
};

static void read_offer(struct smtp_client *c, struct vr_str line)
{
    struct vr_str keyword;
    if (!vr_str_split(&line, ' ', &keyword))
        return;
    for (size_t i = 0; i < smtp_extension_count; i++) {
        if (!vr_str_equal_nocase(keyword, vr_str_from(smtp_extensions[i].keyword)))
            continue;
        c->offers |= smtp_extensions[i].bit;
        for (size_t k = 0; k < sizeof values / sizeof *values; k++)
            if (values[k].bit == smtp_extensions[i].bit)
                values[k].read(c, line);
    }
}

/* ---- after EHLO -------------------------------------------------------------------------------------------------------------- */

static enum smtp_client_event_kind after_hello(struct smtp_client *c, struct smtp_client_event *ev)
{
    bool wanted = c->config->tls != SMTP_CLIENT_TLS_NONE && !c->tls && !c->clear_after_refusal;
    if (wanted && (c->offers & SMTP_EXT_STARTTLS)) {
        vr_buf_add(&c->out, VR_STR("STARTTLS\r\n"));
        client_stage(c, STAGE_STARTTLS);
        return SMTP_CLIENT_IDLE;
    }
    if (c->config->tls == SMTP_CLIENT_TLS_MUST && !c->tls) {
        client_leave(c);
        return client_fail(c, ev, "4.7.0", "the server does not offer STARTTLS, which is required here");
    }
    if (client_auth_wanted(c))
        return client_auth_begin(c, ev);
    c->ready_due = true;
    return SMTP_CLIENT_IDLE;
}

enum smtp_client_event_kind client_on_ehlo(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    if (r->code / 100 == 5 && !c->config->lmtp) { /* RFC 5321 §3.2 */
        say(c, VR_STR("HELO"), STAGE_HELO);
        return SMTP_CLIENT_IDLE;
    }
    if (r->code / 100 != 2)
        return refused(c, ev, r);
    struct vr_str rest = r->text;
    size_t first = vr_str_find(rest, '\n'); /* the first line is the server's name */
    rest = first == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(rest, first + 1);
    struct vr_str line;
    while (vr_str_split(&rest, '\n', &line))
        read_offer(c, vr_str_trim(line));
    return after_hello(c, ev);
}

enum smtp_client_event_kind client_on_helo(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    return r->code / 100 == 2 ? after_hello(c, ev) : refused(c, ev, r);
}

enum smtp_client_event_kind client_on_starttls(struct smtp_client *c, const struct client_reply *r,
                                               struct smtp_client_event *ev)
{
    if (r->code == 220 && vr_buf_size(&c->in) > 0) /* injected, to be believed under TLS: RFC 3207 §6 */
        return client_fail(c, ev, "4.7.0", "the server sent something in clear behind its reply to STARTTLS");
    if (r->code == 220) {
        client_stage(c, STAGE_SECURING);
        return SMTP_CLIENT_STARTTLS;
    }
    if (r->code < 400)
        return client_fail_odd(c, ev, r);
    if (c->config->tls == SMTP_CLIENT_TLS_MUST) {
        client_leave(c);
        return client_fail(c, ev, "4.7.0", "the server refused STARTTLS, which is required here: %u %.*s",
                           r->code, (int)(r->text.n < 160 ? r->text.n : 160), r->text.n > 0 ? r->text.p : "");
    }
    c->clear_after_refusal = true;
    return after_hello(c, ev);
}
