/* client_session.c - from the greeting to READY: EHLO, HELO, STARTTLS, AUTH.
 *
 * Tests: tests/unit/smtp_client.c
 */
#include "client_inside.h"

#include <assert.h>

#define AUTH_LINE_MAX 12288

void client_say_hello(struct smtp_client *c)
{
    c->offers = c->mechanisms = 0;
    c->size_limit = 0;
    client_line(c, "%s %.*s\r\n", c->config->lmtp ? "LHLO" : "EHLO",
                (int)(c->config->helo_name.n < 255 ? c->config->helo_name.n : 255), c->config->helo_name.p);
    client_stage(c, STAGE_EHLO);
}

enum smtp_client_event_kind client_on_greeting(struct smtp_client *c, const struct client_reply *r,
                                               struct smtp_client_event *ev)
{
    if (r->code / 100 != 2)
        return client_fail_reply(c, ev, r);
    client_say_hello(c);
    return SMTP_CLIENT_IDLE;
}

/* ---- what EHLO offers ----------------------------------------------------------------------------------------------------- */

static void read_mechanisms(struct smtp_client *c, struct vr_str rest)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"SCRAM-SHA-256", MECHANISM_SCRAM}, {"PLAIN", MECHANISM_PLAIN}, {"LOGIN", MECHANISM_LOGIN}};
    struct vr_str one;
    while (vr_str_split(&rest, ' ', &one))
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (vr_str_equal_nocase(one, vr_str_from(known[i].name)))
                c->mechanisms |= known[i].bit;
}

static void read_offer(struct smtp_client *c, struct vr_str line)
{
    struct vr_str keyword;
    if (!vr_str_split(&line, ' ', &keyword))
        return;
    for (size_t i = 0; i < smtp_extension_count; i++) {
        if (!vr_str_equal_nocase(keyword, vr_str_from(smtp_extensions[i].keyword)))
            continue;
        c->offers |= smtp_extensions[i].bit;
        if (smtp_extensions[i].bit == SMTP_EXT_SIZE)
            vr_str_to_u64(vr_str_trim(line), &c->size_limit);
        else if (smtp_extensions[i].bit == SMTP_EXT_AUTH)
            read_mechanisms(c, line);
    }
}

/* ---- AUTH --------------------------------------------------------------------------------------------------------------- */

static const char *choose_mechanism(const struct smtp_client *c)
{
    static const struct {
        unsigned bit;
        const char *name;
        bool clear; /* fit for a session in clear */
    } best_first[] = {{MECHANISM_SCRAM, "SCRAM-SHA-256", true},
                      {MECHANISM_PLAIN, "PLAIN", false},
                      {MECHANISM_LOGIN, "LOGIN", false}};
    for (size_t i = 0; i < sizeof best_first / sizeof *best_first; i++) {
        struct vr_str only = c->config->auth_mechanism;
        if ((c->mechanisms & best_first[i].bit) &&
            (c->tls || best_first[i].clear || c->config->auth_in_clear) &&
            (only.n == 0 || vr_str_equal_nocase(only, vr_str_from(best_first[i].name))))
            return best_first[i].name;
    }
    return NULL;
}

static void send_base64(struct smtp_client *c, struct vr_str text)
{
    vr_base64_encode(&c->out, text);
    vr_buf_add(&c->out, VR_STR("\r\n"));
}

static enum smtp_client_event_kind begin_auth(struct smtp_client *c, struct smtp_client_event *ev)
{
    const char *name = choose_mechanism(c);
    if (name == NULL)
        return client_fail(c, ev, "4.7.0", false,
                           c->tls || c->mechanisms == 0
                               ? "the server offers no way to log in that is known here"
                               : "the server offers to log in only with the password in clear, without TLS");
    sasl_client_free(c->sasl);
    c->sasl = sasl_client_new(vr_str_from(name), c->config->user, c->config->password, c->config->nonce);
    if (c->sasl == NULL)
        return client_fail(c, ev, "4.7.0", false,
                           "the user name or the password is empty, too long, or holds control characters");
    client_stage(c, STAGE_AUTH);
    struct vr_str initial;
    client_line(c, "AUTH %s", name);
    if (sasl_client_initial(c->sasl, &initial)) {
        vr_buf_add_byte(&c->out, ' ');
        if (initial.n == 0)
            vr_buf_add_byte(&c->out, '=');
        send_base64(c, initial);
    } else {
        vr_buf_add(&c->out, VR_STR("\r\n"));
    }
    return SMTP_CLIENT_IDLE;
}

static enum smtp_client_event_kind answer_challenge(struct smtp_client *c, const struct client_reply *r)
{
    struct vr_buf challenge;
    struct vr_str response;
    vr_buf_init(&challenge, AUTH_LINE_MAX);
    bool good = vr_base64_decode(&challenge, vr_str_trim(r->text)) == VR_OK &&
                sasl_client_step(c->sasl, vr_buf_str(&challenge), &response) == VR_OK;
    vr_buf_fini(&challenge);
    if (good)
        send_base64(c, response);
    else
        client_line(c, "*\r\n"); /* the server's 501 to it ends the exchange, RFC 4954 §4 */
    return SMTP_CLIENT_IDLE;
}

enum smtp_client_event_kind client_on_auth(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    if (r->code == 334)
        return answer_challenge(c, r);
    if (r->code / 100 != 2)
        return client_fail_reply(c, ev, r);
    bool complete = sasl_client_complete(c->sasl);
    sasl_client_free(c->sasl);
    c->sasl = NULL;
    if (!complete)
        return client_fail(c, ev, "4.7.0", false,
                           "the server did not prove that it knows the password: it may be an impostor");
    c->authenticated = c->ready_due = true;
    return SMTP_CLIENT_IDLE;
}

/* ---- after EHLO -------------------------------------------------------------------------------------------------------------- */

static enum smtp_client_event_kind after_hello(struct smtp_client *c, struct smtp_client_event *ev)
{
    bool wanted = c->config->tls != SMTP_CLIENT_TLS_NONE && !c->tls && !c->clear_after_refusal;
    if (wanted && (c->offers & SMTP_EXT_STARTTLS)) {
        client_line(c, "STARTTLS\r\n");
        client_stage(c, STAGE_STARTTLS);
        return SMTP_CLIENT_IDLE;
    }
    if (c->config->tls == SMTP_CLIENT_TLS_MUST && !c->tls)
        return client_fail(c, ev, "4.7.0", false,
                           "the server does not offer STARTTLS, which is required for it here");
    if (c->config->user.n > 0)
        return begin_auth(c, ev);
    c->ready_due = true;
    return SMTP_CLIENT_IDLE;
}

enum smtp_client_event_kind client_on_ehlo(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    if (r->code / 100 == 5 && !c->config->lmtp) { /* RFC 5321 §3.2 */
        client_line(c, "HELO %.*s\r\n", (int)(c->config->helo_name.n < 255 ? c->config->helo_name.n : 255),
                    c->config->helo_name.p);
        client_stage(c, STAGE_HELO);
        return SMTP_CLIENT_IDLE;
    }
    if (r->code / 100 != 2)
        return client_fail_reply(c, ev, r);
    struct vr_str rest = r->text, line;
    vr_str_split(&rest, '\n', &line); /* the first line is the server's name */
    while (vr_str_split(&rest, '\n', &line))
        read_offer(c, vr_str_trim(line));
    return after_hello(c, ev);
}

enum smtp_client_event_kind client_on_helo(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    return r->code / 100 == 2 ? after_hello(c, ev) : client_fail_reply(c, ev, r);
}

enum smtp_client_event_kind client_on_starttls(struct smtp_client *c, const struct client_reply *r,
                                               struct smtp_client_event *ev)
{
    if (r->code == 220 && vr_buf_size(&c->in) > 0) /* injected behind the 220, to be believed under TLS */
        return client_fail(c, ev, "4.7.0", false,
                           "the server sent something in clear behind its reply to STARTTLS");
    if (r->code == 220) {
        client_stage(c, STAGE_SECURING);
        return SMTP_CLIENT_STARTTLS;
    }
    if (c->config->tls == SMTP_CLIENT_TLS_MUST)
        return client_fail(c, ev, "4.7.0", false,
                           "the server refused STARTTLS, which is required for it here");
    c->clear_after_refusal = true;
    return after_hello(c, ev);
}
