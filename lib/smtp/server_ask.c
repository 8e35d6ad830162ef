/* server_ask.c - commands that ask the server something: VRFY and EXPN (RFC 5321 §3.5), ETRN (RFC 1985).
 *
 * Promise: who was not granted them learns nothing by them: 252 whatever the name is (RFC 5321 §7.3), ETRN is not served.
 * Tests:   tests/transcripts/server/vrfy*.txt, expn*.txt, etrn*.txt
 */
#include "server_inside.h"

static bool is_granted(const struct smtp_server *s, enum smtp_extension bit)
{
    return smtp_server_offered(s) & bit;
}

/* The name or address, and RFC 6531 §3.7.4.2's parameter behind it. */
static enum smtp_server_event_kind ask(struct smtp_server *s, enum smtp_server_event_kind kind,
                                       struct vr_str argument, struct smtp_server_event *ev)
{
    static const struct vr_str parameter = VR_STR_INIT(" SMTPUTF8");
    ev->utf8 = is_granted(s, SMTP_EXT_SMTPUTF8) && vr_str_ends_nocase(argument, parameter);
    ev->data = ev->utf8 ? vr_str_trim(vr_str_sub(argument, 0, argument.n - parameter.n)) : argument;
    return server_await(s, kind);
}

enum smtp_server_event_kind server_verb_vrfy(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    if (argument.n == 0)
        return REFUSE(501, "5.5.4", "VRFY wants a name or an address");
    if (is_granted(s, SMTP_EXT_VRFY))
        return ask(s, SMTP_SERVER_VRFY, argument, ev);
    /* §7.3: telling strangers who lives here helps nobody but them */
    server_reply(
        s, SMTP_REPLY(252, "2.5.2", "not verified here; send the message, it is taken or refused at RCPT"));
    return SMTP_SERVER_IDLE;
}

enum smtp_server_event_kind server_verb_expn(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    if (argument.n == 0)
        return REFUSE(501, "5.5.4", "EXPN wants the name of a list");
    if (is_granted(s, SMTP_EXT_EXPN))
        return ask(s, SMTP_SERVER_EXPN, argument, ev);
    server_reply(s, SMTP_REPLY(252, "2.5.2", "lists are not shown here; send the message"));
    return SMTP_SERVER_IDLE;
}

/* What stands behind '#' is a name that only this server gives. */
static bool queue_name_valid(struct vr_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = vr_lower(name.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && strchr("-._", c) == NULL)
            return false;
    }
    return name.n > 0 && name.n <= ADDRESS_DOMAIN_MAX;
}

enum smtp_server_event_kind server_verb_etrn(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    if (!is_granted(s, SMTP_EXT_ETRN))
        return REFUSE(502, "5.5.1", "ETRN is not offered to you here");
    if (!s->greeted)
        return REFUSE(503, "5.5.1", "say EHLO first");
    if (s->in_mail) /* RFC 1985 §5 */
        return REFUSE(503, "5.5.1", "a transaction is under way; finish it, or send RSET");
    if (argument.n == 0)
        return REFUSE(500, "5.5.4", "the form is ETRN example.org");
    bool marked = argument.p[0] == '@' || argument.p[0] == '#';
    struct vr_str node = vr_str_from_pos(argument, marked);
    bool valid = argument.p[0] == '#' ? queue_name_valid(node)
                                      : address_domain_valid(node, 0) && vr_str_find(node, '.') != VR_NPOS;
    if (!valid)
        return REFUSE(
            501, "5.5.4",
            "ETRN wants a full domain name: ETRN example.org, or ETRN @example.org for all below it too");
    ev->option = marked ? argument.p[0] : '\0';
    ev->name = node;
    return server_await(s, SMTP_SERVER_ETRN);
}
