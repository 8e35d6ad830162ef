/* client_auth.c - logging in (RFC 4954): the choice of a mechanism, the exchange, and what to make of its end.
 *
 * Promise: no password leaves in clear unless the configuration says so; a server that was to prove itself (SCRAM) and did not is not used.
 * Tests:   tests/unit/smtp_client.c, tests/unit/smtp_pair.c
 */
#include "client_inside.h"

#include <stdio.h>

/* Is there what the mechanism needs, and may it be used here? */
static bool usable(const struct smtp_client *c, const struct sasl_mechanism *m)
{
    const struct smtp_client_config *config = c->config;
    if (config->auth_mechanism.n > 0 && !vr_str_equal_nocase(config->auth_mechanism, vr_str_from(m->name)))
        return false;
    if (m->needs_tls && !c->tls && !config->auth_in_clear)
        return false;
    if (m->plus && !(c->tls && sasl_binding_there(&c->binding)))
        return false;
    switch (m->secret) {
    case SASL_BY_PASSWORD:
        return config->user.n > 0 && config->password.n > 0;
    case SASL_BY_TOKEN:
        return config->token.n > 0 && (config->user.n > 0 || m->bit == SASL_OAUTHBEARER);
    case SASL_BY_CERTIFICATE:
        return config->certificate && c->tls;
    }
    return false;
}

static const struct sasl_mechanism *choose(const struct smtp_client *c)
{
    for (size_t i = 0; i < sasl_mechanism_count; i++)
        if ((c->mechanisms & (unsigned)sasl_mechanisms[i].bit) && usable(c, &sasl_mechanisms[i]))
            return &sasl_mechanisms[i];
    return NULL;
}

bool client_auth_wanted(const struct smtp_client *c)
{
    const struct smtp_client_config *config = c->config;
    return config->user.n > 0 || config->token.n > 0 || config->auth_mechanism.n > 0 ||
           (config->certificate && c->tls && (c->mechanisms & SASL_EXTERNAL));
}

static enum smtp_client_event_kind fail(struct smtp_client *c, struct smtp_client_event *ev, const char *text)
{
    c->stage = STAGE_AUTH; /* where it failed */
    client_leave(c);
    return client_fail(c, ev, "4.7.0", "%s", text);
}

/* Would one of those that are offered be used under TLS? */
static bool clear_is_the_reason(const struct smtp_client *c)
{
    for (size_t i = 0; i < sasl_mechanism_count; i++)
        if ((c->mechanisms & (unsigned)sasl_mechanisms[i].bit) && sasl_mechanisms[i].needs_tls)
            return !c->tls && !c->config->auth_in_clear;
    return false;
}

static const char *no_choice(const struct smtp_client *c)
{
    if (!(c->offers & SMTP_EXT_AUTH))
        return "the server does not offer AUTH, but a log-in is configured for it";
    if (clear_is_the_reason(c))
        return c->config->token.n > 0
                   ? "without TLS the server takes the token only in clear, so it was not sent"
                   : "without TLS the server takes the password only in clear, so it was not sent";
    if (c->config->auth_mechanism.n > 0)
        return "the server does not offer the AUTH mechanism that is configured for it, or it is unknown "
               "here, or what it needs is missing";
    if (c->config->token.n > 0)
        return "the server offers no AUTH mechanism that takes a token (OAUTHBEARER, XOAUTH2)";
    if (c->config->password.n == 0)
        return "the server does not offer AUTH by certificate (EXTERNAL), and there is no password";
    return "the server offers no AUTH mechanism that is known here (SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, "
           "LOGIN, CRAM-MD5)";
}

static void send_base64(struct smtp_client *c, struct vr_str text)
{
    vr_base64_encode(&c->out, text);
    vr_buf_add(&c->out, VR_STR("\r\n"));
}

/* RFC 5802 §6: a server whose list has no -PLUS of this hash is told that we could have bound the channel. */
static bool plus_unseen(const struct smtp_client *c, const struct sasl_mechanism *m)
{
    for (size_t i = 0; i < sasl_mechanism_count; i++)
        if (sasl_mechanisms[i].plus && sasl_mechanisms[i].hash == m->hash &&
            (c->mechanisms & (unsigned)sasl_mechanisms[i].bit))
            return false;
    return c->tls;
}

static struct sasl_client *sasl_new(const struct smtp_client *c, const struct sasl_mechanism *m)
{
    struct sasl_client_config with = {.user = c->config->user,
                                      .password = c->config->password,
                                      .token = c->config->token,
                                      .host = c->config->auth_host,
                                      .port = c->config->auth_port,
                                      .binding = c->binding,
                                      .plus_unseen = plus_unseen(c, m)};
    memcpy(with.nonce, c->config->nonce, sizeof with.nonce);
    return sasl_client_new(vr_str_from(m->name), &with);
}

static size_t line_size(struct vr_str text)
{
    return (text.n + 2) / 3 * 4 + 2;
}

enum smtp_client_event_kind client_auth_begin(struct smtp_client *c, struct smtp_client_event *ev)
{
    const struct sasl_mechanism *m = choose(c);
    if (m == NULL)
        return fail(c, ev, no_choice(c));
    c->sasl = sasl_new(c, m);
    if (c->sasl == NULL)
        return fail(c, ev,
                    "the user name, the password or the token is empty, too long, not UTF-8, or holds "
                    "control bytes");
    client_stage(c, STAGE_AUTH);
    vr_buf_reserve(&c->out, SMTP_LINE_EXTENDED); /* growing would leave copies of the password behind */
    vr_buf_add(&c->out, VR_STR("AUTH "));
    vr_buf_add(&c->out, vr_str_from(m->name));
    struct vr_str first;
    bool has_first = sasl_client_initial(c->sasl, &first);
    c->initial = vr_str(NULL, 0);
    if (has_first && vr_buf_size(&c->out) + 1 + line_size(first) <= SMTP_LINE_MAX) {
        vr_buf_add_byte(&c->out, ' ');
        if (first.n == 0)
            vr_buf_add_byte(&c->out, '='); /* RFC 4954 §4: empty, but there */
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

/* What the server's reply to "*" will be taken for. */
static const char *why_cancelled(struct smtp_client *c, bool base64)
{
    if (!base64)
        return "the server sent a challenge that is not base64";
    struct vr_str refusal = sasl_client_refusal(c->sasl);
    if (refusal.n == 0)
        return "the server does not keep to the AUTH mechanism, or did not prove that it knows the password: "
               "it may be an impostor";
    snprintf(c->reason, sizeof c->reason, "the server refuses the log-in: %.*s", VR_STR_ARG(refusal));
    return c->reason;
}

static void answer_challenge(struct smtp_client *c, const struct client_reply *r)
{
    struct vr_buf challenge;
    struct vr_str response;
    vr_buf_init(&challenge, SMTP_AUTH_LINE_MAX);
    bool base64 = vr_base64_decode(&challenge, vr_str_trim(r->text)) == VR_OK;
    if (base64 && respond(c, vr_buf_str(&challenge), &response)) {
        vr_buf_reserve(&c->out, line_size(response));
        send_base64(c, response);
    } else { /* the server's reply to "*" ends the exchange */
        c->cancelled = why_cancelled(c, base64);
        vr_buf_add(&c->out, VR_STR("*\r\n"));
    }
    vr_buf_fini(&challenge);
}

/* With what the server said within the mechanism, which tells more than its reply (RFC 7628 §3.2.2). */
static enum smtp_client_event_kind fail_refused(struct smtp_client *c, struct smtp_client_event *ev,
                                                const struct client_reply *r)
{
    struct client_reply told = *r;
    struct vr_str refusal = sasl_client_refusal(c->sasl);
    client_leave(c);
    if (refusal.n > 0) {
        int n = snprintf(c->own, sizeof c->own, "%.*s (%.*s)", (int)(r->text.n < 140 ? r->text.n : 140),
                         r->text.n > 0 ? r->text.p : "", (int)(refusal.n < 170 ? refusal.n : 170), refusal.p);
        told.text = vr_str(c->own, (size_t)n);
    }
    return client_fail_reply(c, ev, &told);
}

/* 235 before the mechanism's end. */
static const char *incomplete(const struct smtp_client *c)
{
    return c->config->token.n > 0 || c->config->password.n == 0
               ? "the server accepts a log-in that is not complete: it may be an impostor"
               : "the server did not prove that it knows the password: it may be an impostor";
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
    if (r->code / 100 != 2)
        return fail_refused(c, ev, r);
    bool complete = sasl_client_complete(c->sasl);
    sasl_client_free(c->sasl);
    c->sasl = NULL;
    if (!complete)
        return fail(c, ev, incomplete(c));
    c->authenticated = c->ready_due = true;
    return SMTP_CLIENT_IDLE;
}
