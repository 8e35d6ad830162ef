/* server_commands.c - one function per verb, one table that names them (RFC 5321 §4.1, 2033, 3207, 4954).
 *
 * A function gets the text behind the verb and says by its return what the owner must hear; it replies itself only to refuse, or where no
 * decision is the owner's.
 * Tests: tests/transcripts/server/, tests/unit/smtp_server.c
 */
#include "server_inside.h"

static const struct smtp_reply not_now_mail = {
    503, "5.5.1", VR_STR_INIT("a transaction is under way; finish it, or send RSET")};
static const struct smtp_reply mixed = {
    503, "5.5.1", VR_STR_INIT("the message has begun with BDAT and cannot go on with DATA; send RSET")};
static const struct smtp_reply binary_by_data = {
    503, "5.5.1", VR_STR_INIT("a message with BODY=BINARYMIME comes by BDAT, not by DATA; send RSET")};

/* ---- EHLO, HELO, LHLO --------------------------------------------------------------------------------------------- */

/* The name is the client's claim; lies are policy. What could break a header or a log is not taken. */
static bool name_valid(struct vr_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] > '~' || strchr("<>()\\\"", name.p[i]) != NULL)
            return false;
    return name.n > 0 && name.n <= ADDRESS_DOMAIN_MAX;
}

static enum smtp_server_event_kind hello(struct smtp_server *s, struct vr_str line, struct vr_str argument,
                                         struct smtp_server_event *ev, bool extended)
{
    if (!name_valid(argument))
        return REFUSE(501, "5.5.4",
                      "say your host name: EHLO mail.example.org, or an address literal: EHLO [192.0.2.1]");
    if (s->in_mail) { /* RFC 5321 §4.1.4: as RSET; the line is read again afterwards */
        server_transaction_end(s);
        s->take = 0;
        return SMTP_SERVER_RESET;
    }
    s->spoiled = false;
    server_forward_end(s);
    s->extended = extended;
    ev->name = argument;
    ev->extended = extended;
    return server_await(s, SMTP_SERVER_EHLO);
}

static enum smtp_server_event_kind verb_ehlo(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    if (s->config->lmtp)
        return REFUSE(500, "5.5.1", "this is LMTP: say LHLO (RFC 2033)");
    return hello(s, line, argument, ev, true);
}

static enum smtp_server_event_kind verb_helo(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    if (s->config->lmtp)
        return REFUSE(500, "5.5.1", "this is LMTP: say LHLO (RFC 2033)");
    return hello(s, line, argument, ev, false);
}

static enum smtp_server_event_kind verb_lhlo(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    if (!s->config->lmtp)
        return REFUSE(500, "5.5.1", "this is SMTP, not LMTP: say EHLO");
    return hello(s, line, argument, ev, true);
}

/* ---- MAIL, RCPT, DATA ---------------------------------------------------------------------------------------------- */

/* "FROM:<path> params": the path's text and what stands behind. Blanks after the colon are seen in the wild and taken. */
static bool after_keyword(struct vr_str argument, struct vr_str keyword, struct vr_str *rest)
{
    if (!vr_str_starts_nocase(argument, keyword))
        return false;
    *rest = vr_str_from_pos(argument, keyword.n);
    while (rest->n > 0 && rest->p[0] == ' ')
        *rest = vr_str_from_pos(*rest, 1);
    return true;
}

static struct smtp_reply address_fault(const char *enhanced, const char *why)
{
    return (struct smtp_reply){501, enhanced, vr_str_from(why)};
}

/* Times that the EHLO reply said are not taken, or that contradict each other: RFC 4865 §4.2 (7, 8), §5.2.2; RFC 2852 §3. Code 0: fine. */
static struct smtp_reply time_fault(const struct smtp_server *s)
{
    const struct smtp_mail *m = &s->mail;
    int64_t now = server_unix_time(s), hold_max = server_hold_max(s);
    int64_t release = m->hold_for > 0 ? now + m->hold_for : m->hold_until;
    if (release > now + hold_max)
        return SMTP_REPLY(501, "5.5.4",
                          "the message would be held longer than this server holds any; see FUTURERELEASE in "
                          "the EHLO reply");
    if (release != 0 && release <= now)
        return SMTP_REPLY(501, "5.5.4", "the time of HOLDUNTIL has passed already");
    if (release != 0 && m->by != SMTP_BY_NONE && release >= now + m->by_seconds)
        return SMTP_REPLY(501, "5.5.4", "the time of BY would be over before the message is released");
    if (m->by == SMTP_BY_RETURN && m->by_seconds < (int64_t)s->config->deliver_by_min)
        return SMTP_REPLY(
            555, "5.5.4",
            "the time of BY is shorter than this server can promise; see DELIVERBY in the EHLO reply");
    return (struct smtp_reply){0};
}

static enum smtp_server_event_kind verb_mail(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    struct vr_str rest;
    const char *why, *enhanced;
    uint16_t code;
    if (!s->greeted)
        return REFUSE(503, "5.5.1", "say EHLO first");
    if (s->spoiled)
        return server_refuse(s, ev, line, server_spoiled);
    if (s->in_mail)
        return server_refuse(s, ev, line, not_now_mail);
    if (s->config->tls_required && !s->tls)
        return REFUSE(530, "5.7.0", "STARTTLS first: this server takes mail here only under TLS");
    if (s->config->auth_required && !s->authenticated)
        return REFUSE(530, "5.7.0", "authentication is required: log in with AUTH first");
    if (!after_keyword(argument, VR_STR("FROM:"), &rest))
        return REFUSE(501, "5.5.4", "the form is MAIL FROM:<user@example.org>");
    bool utf8 = server_takes(s) & SMTP_EXT_SMTPUTF8; /* whether it is allowed stands behind the path */
    if (address_parse_path(&s->arena, rest, ADDRESS_ALLOW_NULL | (utf8 ? ADDRESS_ALLOW_UTF8 : 0),
                           &s->mail.reverse_path, &rest, &why) != VR_OK) {
        server_transaction_end(s);
        return server_refuse(s, ev, line, address_fault("5.1.7", why));
    }
    if ((rest.n > 0 && rest.p[0] != ' ') ||
        smtp_mail_params(&s->arena, rest, server_takes(s), &s->mail, &code, &enhanced, &why) != VR_OK) {
        server_transaction_end(s);
        if (rest.n > 0 && rest.p[0] != ' ')
            return REFUSE(501, "5.5.4", "a blank must stand between the address and its parameters");
        return server_refuse(s, ev, line, (struct smtp_reply){code, enhanced, vr_str_from(why)});
    }
    if (!s->extended && rest.n > 0 && vr_str_trim(rest).n > 0) {
        server_transaction_end(s);
        return REFUSE(555, "5.5.4", "parameters need EHLO");
    }
    if (s->mail.reverse_path.utf8 && !s->mail.utf8) { /* RFC 6531 §3.5 */
        server_transaction_end(s);
        return REFUSE(550, "5.6.7", "an address beyond ASCII needs the parameter SMTPUTF8 in this command");
    }
    struct smtp_reply fault = time_fault(s);
    if (fault.code != 0) {
        server_transaction_end(s);
        return server_refuse(s, ev, line, fault);
    }
    if (s->config->size_max > 0 && s->mail.size > s->config->size_max) { /* RFC 1870 §6.1 */
        server_transaction_end(s);
        return REFUSE(552, "5.3.4",
                      "the message is larger than this server takes; the EHLO reply names the limit");
    }
    ev->mail = &s->mail;
    return server_await(s, SMTP_SERVER_MAIL);
}

static enum smtp_server_event_kind verb_rcpt(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    struct vr_str rest;
    const char *why, *enhanced;
    uint16_t code;
    if (s->spoiled)
        return server_refuse(s, ev, line, server_spoiled);
    if (!s->in_mail)
        return REFUSE(503, "5.5.1", "MAIL first");
    if (s->by_bdat)
        return REFUSE(503, "5.5.1", "the message has begun with BDAT; recipients come before it");
    if (!after_keyword(argument, VR_STR("TO:"), &rest))
        return REFUSE(501, "5.5.4", "the form is RCPT TO:<user@example.org>");
    if (s->config->rcpt_max > 0 && s->rcpts >= s->config->rcpt_max) {
        server_reply(
            s, SMTP_REPLY(452, "4.5.3", "too many recipients in this transaction; send the rest in another"));
        return SMTP_SERVER_IDLE; /* what a mailing list runs into is no error (§4.5.3.1.10) */
    }
    struct smtp_rcpt *rcpt = vr_arena_alloc(&s->arena, sizeof *rcpt);
    if (rcpt == NULL)
        return REFUSE(452, "4.5.3", "this transaction is too big; send the rest separately");
    unsigned takes = server_takes(s), allow = takes & SMTP_EXT_SMTPUTF8 ? ADDRESS_ALLOW_UTF8 : 0;
    if (address_parse_path(&s->arena, rest, ADDRESS_ALLOW_POSTMASTER | allow, &rcpt->forward_path, &rest,
                           &why) != VR_OK)
        return server_refuse(s, ev, line, address_fault("5.1.3", why));
    if (rcpt->forward_path.utf8 && !s->mail.utf8) /* RFC 6531 §3.5 */
        return REFUSE(553, "5.6.7", "an address beyond ASCII needs the parameter SMTPUTF8 in MAIL");
    if (!s->mail.utf8)
        takes &= ~(unsigned)SMTP_EXT_SMTPUTF8;
    if (rest.n > 0 && rest.p[0] != ' ')
        return REFUSE(501, "5.5.4", "a blank must stand between the address and its parameters");
    if (smtp_rcpt_params(&s->arena, rest, takes, rcpt, &code, &enhanced, &why) != VR_OK)
        return server_refuse(s, ev, line, (struct smtp_reply){code, enhanced, vr_str_from(why)});
    if (!s->extended && vr_str_trim(rest).n > 0)
        return REFUSE(555, "5.5.4", "parameters need EHLO");
    ev->rcpt = rcpt;
    return server_await(s, SMTP_SERVER_RCPT);
}

static enum smtp_server_event_kind verb_data(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    if (argument.n > 0)
        return REFUSE(501, "5.5.4", "DATA takes no argument");
    if (s->spoiled)
        return server_refuse(s, ev, line, server_spoiled);
    if (!s->in_mail)
        return REFUSE(503, "5.5.1", "MAIL and RCPT first");
    if (s->by_bdat) /* RFC 3030 §2 */
        return server_spoil(s, ev, mixed);
    if (s->mail.body == SMTP_BODY_BINARYMIME) /* RFC 3030 §3 */
        return server_spoil(s, ev, binary_by_data);
    if (s->rcpts == 0 && s->config->lmtp) /* RFC 2033 §4.2 */
        return REFUSE(503, "5.5.1", "no valid recipients");
    if (s->rcpts == 0)
        return REFUSE(554, "5.5.1", "no valid recipients");
    return server_await(s, SMTP_SERVER_DATA);
}

/* ---- RSET, NOOP, QUIT, HELP ------------------------------------------------------------------------------------ */

static enum smtp_server_event_kind verb_rset(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    if (argument.n > 0)
        return REFUSE(501, "5.5.4", "RSET takes no argument");
    server_reply(s, SMTP_REPLY(250, "2.0.0", "reset"));
    s->spoiled = false;
    server_forward_end(s);
    if (!s->in_mail)
        return SMTP_SERVER_IDLE;
    server_transaction_end(s);
    return SMTP_SERVER_RESET;
}

static enum smtp_server_event_kind verb_noop(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    (void)line, (void)argument, (void)ev;
    server_reply(s, SMTP_REPLY(250, "2.0.0", "ok"));
    return SMTP_SERVER_IDLE;
}

static enum smtp_server_event_kind verb_quit(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    if (argument.n > 0)
        return REFUSE(501, "5.5.4", "QUIT takes no argument");
    server_reply(s, SMTP_REPLY(221, "2.0.0", "goodbye"));
    server_close(s, 221);
    return SMTP_SERVER_IDLE;
}

static enum smtp_server_event_kind verb_help(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    (void)line, (void)argument, (void)ev;
    server_reply(
        s, SMTP_REPLY(214, "2.0.0",
                      "this is veredus; it knows\nEHLO HELO LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY "
                      "EXPN HELP STARTTLS AUTH"));
    return SMTP_SERVER_IDLE;
}

static enum smtp_server_event_kind verb_unserved(struct smtp_server *s, struct vr_str line,
                                                 struct vr_str argument, struct smtp_server_event *ev)
{
    (void)argument;
    return REFUSE(502, "5.5.1", "this command is not served here");
}

/* ---- STARTTLS, AUTH --------------------------------------------------------------------------------------------------- */

static enum smtp_server_event_kind verb_starttls(struct smtp_server *s, struct vr_str line,
                                                 struct vr_str argument, struct smtp_server_event *ev)
{
    if (argument.n > 0)
        return REFUSE(501, "5.5.4", "STARTTLS takes no argument");
    if (s->tls)
        return REFUSE(503, "5.5.1", "the session is under TLS already");
    if (!s->config->starttls)
        return REFUSE(502, "5.5.1", "TLS is not offered here");
    if (!s->greeted)
        return REFUSE(503, "5.5.1", "say EHLO first");
    if (s->in_mail) { /* forgotten with all else, RFC 3207 §4.2; the line is read again afterwards */
        server_transaction_end(s);
        s->take = 0;
        return SMTP_SERVER_RESET;
    }
    server_reply(s, SMTP_REPLY(220, "2.0.0", "go ahead with TLS"));
    server_transaction_end(s); /* what XFORWARD said is forgotten too */
    vr_buf_reset(
        &s->in); /* invariant (3), RFC 3207 §4.2 and §6: nothing that stands behind the command in clear may count */
    vr_buf_release(&s->in);
    s->take = s->scanned = 0;
    s->state = SERVER_SECURING;
    return SMTP_SERVER_STARTTLS;
}

/* Decodes base64 into the arena; "=" alone is the empty response (RFC 4954 §4). */
static bool decode(struct smtp_server *s, struct vr_str text, struct vr_str *out)
{
    struct vr_buf plain;
    vr_buf_init(&plain, SMTP_AUTH_LINE_MAX);
    bool good = vr_str_equal(text, VR_STR("=")) || vr_base64_decode(&plain, text) == VR_OK;
    *out = s->secret = vr_arena_dup(&s->arena, vr_buf_str(&plain));
    good = good && out->n == vr_buf_size(&plain);
    if (plain.p != NULL)
        explicit_bzero(plain.p, plain.capacity); /* a password may stand there */
    vr_buf_fini(&plain);
    if (!good) {
        server_forget_secret(s);
        *out = vr_str(NULL, 0);
    }
    return good;
}

static bool mechanism_offered(const struct smtp_server *s, struct vr_str mechanism)
{
    struct vr_str list = server_mechanisms(s), one;
    while (vr_str_split(&list, ' ', &one))
        if (vr_str_equal_nocase(one, mechanism))
            return true;
    return false;
}

static struct vr_str upper(struct vr_arena *arena, struct vr_str s)
{
    struct vr_str copy = vr_arena_dup(arena, s);
    for (size_t i = 0; i < copy.n; i++)
        if (copy.p[i] >= 'a' && copy.p[i] <= 'z')
            ((char *)copy.p)[i] = (char)(copy.p[i] - 'a' + 'A');
    return copy;
}

static enum smtp_server_event_kind verb_auth(struct smtp_server *s, struct vr_str line,
                                             struct vr_str argument, struct smtp_server_event *ev)
{
    size_t blank = vr_str_find(argument, ' ');
    struct vr_str mechanism = vr_str_sub(argument, 0, blank);
    struct vr_str initial =
        blank == VR_NPOS ? vr_str(NULL, 0) : vr_str_trim(vr_str_from_pos(argument, blank + 1));
    if (server_mechanisms(s).n == 0 && s->config->auth_mechanisms.n == 0)
        return REFUSE(502, "5.5.1", "AUTH is not offered here");
    if (!s->greeted || !s->extended)
        return REFUSE(503, "5.5.1", "say EHLO first");
    if (s->authenticated)
        return REFUSE(503, "5.5.1", "already authenticated");
    if (s->in_mail)
        return server_refuse(s, ev, line, not_now_mail);
    if (!server_auth_offered(s))
        return REFUSE(538, "5.7.11", "STARTTLS first: passwords are not taken in clear");
    if (mechanism.n == 0)
        return REFUSE(501, "5.5.4", "the form is AUTH MECHANISM");
    if (!mechanism_offered(s, mechanism))
        return REFUSE(504, "5.5.4", "this mechanism is not offered; see the EHLO reply");
    server_forget_secret(s);
    if (blank != VR_NPOS && !decode(s, initial, &ev->data))
        return REFUSE(501, "5.5.2", "the initial response is not base64");
    ev->mechanism = upper(&s->arena, mechanism);
    ev->has_data = blank != VR_NPOS;
    return server_await(s, SMTP_SERVER_AUTH);
}

enum smtp_server_event_kind server_auth_line(struct smtp_server *s, struct vr_str line,
                                             struct smtp_server_event *ev)
{
    bool cancelled = vr_str_equal(line, VR_STR("*"));
    server_forget_secret(s);
    if (!cancelled && decode(s, line, &ev->data)) {
        ev->has_data = true;
        return server_await(s, SMTP_SERVER_AUTH_RESPONSE);
    }
    s->state = SERVER_COMMANDS;
    if (cancelled)
        server_reply(s, SMTP_REPLY(501, "5.7.0", "authentication cancelled"));
    else
        server_refuse(s, ev, VR_STR("AUTH"),
                      SMTP_REPLY(501, "5.5.2", "the response is not base64; authentication ended"));
    return SMTP_SERVER_AUTH_CANCEL;
}

/* ---- the table --------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    server_verb *run;
    size_t line_max; /* octets with CRLF */
} verbs[] = {
    {"MAIL", verb_mail, SMTP_LINE_EXTENDED},
    {"RCPT", verb_rcpt, SMTP_LINE_EXTENDED},
    {"DATA", verb_data, SMTP_LINE_MAX},
    {"EHLO", verb_ehlo, SMTP_LINE_MAX},
    {"HELO", verb_helo, SMTP_LINE_MAX},
    {"LHLO", verb_lhlo, SMTP_LINE_MAX},
    {"RSET", verb_rset, SMTP_LINE_MAX},
    {"NOOP", verb_noop, SMTP_LINE_MAX},
    {"QUIT", verb_quit, SMTP_LINE_MAX},
    {"STARTTLS", verb_starttls, SMTP_LINE_MAX},
    {"AUTH", verb_auth, SMTP_AUTH_LINE_MAX},
    {"VRFY", server_verb_vrfy, SMTP_LINE_MAX},
    {"HELP", verb_help, SMTP_LINE_MAX},
    {"EXPN", server_verb_expn, SMTP_LINE_MAX},
    {"TURN", verb_unserved, SMTP_LINE_MAX},
    {"ETRN", server_verb_etrn, SMTP_LINE_MAX},
    {"XCLIENT", server_verb_xclient, SMTP_LINE_EXTENDED},
    {"XFORWARD", server_verb_xforward, SMTP_LINE_EXTENDED},
    {"BDAT", server_bdat, SMTP_LINE_MAX},
    {"SEND", verb_unserved, SMTP_LINE_MAX},
    {"SOML", verb_unserved, SMTP_LINE_MAX},
    {"SAML", verb_unserved, SMTP_LINE_MAX},
};

static size_t verb_index(struct vr_str line)
{
    struct vr_str name = vr_str_sub(line, 0, vr_str_find(line, ' '));
    size_t i = 0;
    while (i < sizeof verbs / sizeof *verbs && !vr_str_equal_nocase(name, vr_str_from(verbs[i].name)))
        i++;
    return i;
}

size_t server_line_max(struct vr_str line)
{
    size_t i = verb_index(line);
    return i < sizeof verbs / sizeof *verbs ? verbs[i].line_max : SMTP_LINE_MAX;
}

struct vr_str server_loggable(struct vr_str line)
{
    struct vr_str words = vr_str_trim(line);
    return vr_str_starts_nocase(words, VR_STR("AUTH")) ? vr_str_sub(words, 0, 4) : line;
}

static struct vr_str trim_blanks(struct vr_str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = vr_str_from_pos(s, 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

enum smtp_server_event_kind server_command(struct smtp_server *s, struct vr_str line,
                                           struct smtp_server_event *ev)
{
    line = trim_blanks(line); /* trailing blanks are tolerated, §4.1.1; leading ones are seen too */
    size_t i = verb_index(line);
    size_t blank = vr_str_find(line, ' ');
    struct vr_str argument = blank == VR_NPOS ? vr_str(NULL, 0) : trim_blanks(vr_str_from_pos(line, blank));
    line = server_loggable(line); /* from here on it is for refusals only */
    if (i == sizeof verbs / sizeof *verbs && s->state == SERVER_COMMANDS && server_is_bdat(s, line))
        return server_bdat_bad(s, line, ev);
    if (i == sizeof verbs / sizeof *verbs)
        return REFUSE(500, "5.5.1", "this is no command that veredus knows; HELP lists them");
    if (s->state == SERVER_REFUSED && verbs[i].run != verb_quit)
        return REFUSE(503, "5.5.1", "this server takes no mail from you; only QUIT is served");
    return verbs[i].run(s, line, argument, ev);
}
