/* client_auth.c - logging in (RFC 4954): the choice of a mechanism, the exchange, and what to make of its end.
 *
 * Promise: no password leaves in clear unless the configuration says so; a server that was to prove itself (SCRAM) and did not is not used.
 * Tests:   tests/unit/smtp_client.c, tests/unit/smtp_pair.c
 */
#include "client_inside.h"

static const struct {
    unsigned bit;
    const char *name;
    bool clear; /* fit for a session in clear: the password does not travel */
} best_first[] = {{MECHANISM_SCRAM, "SCRAM-SHA-256", true},
                  {MECHANISM_PLAIN, "PLAIN", false},
                  {MECHANISM_LOGIN, "LOGIN", false}};

static const char *choose(const struct smtp_client *c)
{
    struct vr_str only = c->config->auth_mechanism;
    for (size_t i = 0; i < sizeof best_first / sizeof *best_first; i++)
        if ((c->mechanisms & best_first[i].bit) &&
            (c->tls || best_first[i].clear || c->config->auth_in_clear) &&
            (only.n == 0 || vr_str_equal_nocase(only, vr_str_from(best_first[i].name))))
            return best_first[i].name;
    return NULL;
}

static enum smtp_client_event_kind fail(struct smtp_client *c, struct smtp_client_event *ev, const char *text)
{
    c->stage = STAGE_AUTH; /* where it failed */
    client_leave(c);
    return client_fail(c, ev, "4.7.0", "%s", text);
}

static const char *no_choice(const struct smtp_client *c)
{
    if (!(c->offers & SMTP_EXT_AUTH))
        return "the server does not offer AUTH, but a user name is configured for it";
    if (!c->tls && !c->config->auth_in_clear && (c->mechanisms & (MECHANISM_PLAIN | MECHANISM_LOGIN)))
        return "without TLS the server takes the password only in clear, so it was not sent";
    if (c->config->auth_mechanism.n > 0)
        return "the server does not offer the AUTH mechanism that is configured for it, or it is unknown "
               "here";
    return "the server offers no AUTH mechanism that is known here (SCRAM-SHA-256, PLAIN, LOGIN)";
}

static void send_base64(struct smtp_client *c, struct vr_str text)
{
    vr_base64_encode(&c->out, text);
    vr_buf_add(&c->out, VR_STR("\r\n"));
}

enum smtp_client_event_kind client_auth_begin(struct smtp_client *c, struct smtp_client_event *ev)
{
    const char *name = choose(c);
    if (name == NULL)
        return fail(c, ev, no_choice(c));
    struct sasl_client_config with = {.user = c->config->user, .password = c->config->password};
    memcpy(with.nonce, c->config->nonce, sizeof with.nonce);
    c->sasl = sasl_client_new(vr_str_from(name), &with);
    if (c->sasl == NULL)
        return fail(c, ev,
                    "the user name or the password is empty, too long, not UTF-8, or holds control bytes");
    client_stage(c, STAGE_AUTH);
    vr_buf_reserve(&c->out, SMTP_LINE_EXTENDED); /* growing would leave copies of the password behind */
    vr_buf_add(&c->out, VR_STR("AUTH "));
    vr_buf_add(&c->out, vr_str_from(name));
    struct vr_str first;
    bool has_first = sasl_client_initial(c->sasl, &first);
    c->initial = vr_str(NULL, 0);
    if (has_first && vr_buf_size(&c->out) + 1 + (first.n + 2) / 3 * 4 + 2 <= SMTP_LINE_MAX) {
        vr_buf_add_byte(&c->out, ' ');
        send_base64(c, first);
        return SMTP_CLIENT_IDLE;
    }
    if (has_first)
        c->initial = first; /* too long for a command line: it waits for a challenge, RFC 4954 §4 */
    vr_buf_add(&c->out, VR_STR("\r\n"));
    return SMTP_CLIENT_IDLE;
}

static bool respond(struct smtp_client *c, struct vr_str challenge, struct vr_str *response)
{
    if (c->initial.n == 0)
        return sasl_client_step(c->sasl, challenge, response) == VR_OK;
    *response = c->initial;
    c->initial = vr_str(NULL, 0);
    return challenge.n == 0;
}

static void answer_challenge(struct smtp_client *c, const struct client_reply *r)
{
    struct vr_buf challenge;
    struct vr_str response;
    vr_buf_init(&challenge, SMTP_AUTH_LINE_MAX);
    bool base64 = vr_base64_decode(&challenge, vr_str_trim(r->text)) == VR_OK;
    if (base64 && respond(c, vr_buf_str(&challenge), &response)) {
        vr_buf_reserve(&c->out, SMTP_LINE_EXTENDED);
        send_base64(c, response);
    } else { /* the server's reply to "*" ends the exchange */
        c->cancelled = base64 ? "the server does not keep to the AUTH mechanism, or did not prove that it "
                                "knows the password: it may be an impostor"
                              : "the server sent a challenge that is not base64";
        vr_buf_add(&c->out, VR_STR("*\r\n"));
    }
    vr_buf_fini(&challenge);
}

enum smtp_client_event_kind client_on_auth(struct smtp_client *c, const struct client_reply *r,
                                           struct smtp_client_event *ev)
{
    if (c->cancelled != NULL)
        return fail(c, ev, c->cancelled);
    if (r->code == 334) {
        answer_challenge(c, r);
        return SMTP_CLIENT_IDLE;
    }
    if (r->code / 100 == 3)
        return client_fail_odd(c, ev, r);
    if (r->code / 100 != 2) {
        client_leave(c);
        return client_fail_reply(c, ev, r);
    }
    bool complete = sasl_client_complete(c->sasl);
    sasl_client_free(c->sasl);
    c->sasl = NULL;
    if (!complete)
        return fail(c, ev, "the server did not prove that it knows the password: it may be an impostor");
    c->authenticated = c->ready_due = true;
    return SMTP_CLIENT_IDLE;
}
