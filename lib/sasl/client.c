/* client.c - the client side: the engine, and all mechanisms but SCRAM (client_scram.c): each an initial response and a step.
 *
 * Promise: an exchange is complete only when all that the mechanism asks of the server was done; what was secret is wiped.
 * Tests:   tests/unit/sasl.c, tests/unit/sasl_mechanisms.c, tests/unit/sasl_tokens.c, tests/fuzz/fuzz_sasl.c
 */
#include "client_inside.h"

#include <stdlib.h>
#include <string.h>

struct sasl_client_row {
    unsigned bits;
    client_initial *initial; /* NULL: the server speaks first */
    client_step *step;
};

void client_keep_refusal(struct sasl_client *c, struct vr_str text)
{
    vr_buf_reset(&c->refusal);
    for (size_t i = 0; i < text.n && i < c->refusal.max; i++)
        vr_buf_add_byte(&c->refusal, (unsigned char)text.p[i] >= 0x20 && text.p[i] != 0x7f ? text.p[i] : '?');
}

/* For mechanisms of one message: the empty challenge asks for what could have come with AUTH. */
static enum vr_err step_once(struct sasl_client *c, struct vr_str challenge, struct vr_str *out)
{
    if (challenge.n > 0 || c->at > 0)
        return VR_ERR_SYNTAX;
    return c->row->initial(c, out) ? VR_OK : VR_ERR_TOO_BIG;
}

static bool done_by(struct sasl_client *c, struct vr_str *out)
{
    *out = vr_buf_str(&c->out);
    c->at = 1;
    c->complete = true;
    return !c->out.too_big;
}

/* ---- PLAIN, LOGIN, EXTERNAL --------------------------------------------------------------------------------------- */

static bool initial_plain(struct sasl_client *c, struct vr_str *out)
{
    struct vr_buf *b = &c->out;
    vr_buf_reset(b);
    vr_buf_add_byte(b, '\0');
    vr_buf_add(b, vr_buf_str(&c->user));
    vr_buf_add_byte(b, '\0');
    vr_buf_add(b, vr_buf_str(&c->password));
    return done_by(c, out);
}

/* The prompts differ between servers: their order does not. */
static enum vr_err step_login(struct sasl_client *c, struct vr_str challenge, struct vr_str *out)
{
    (void)challenge;
    if (c->at > 1)
        return VR_ERR_STATE;
    *out = c->at == 0 ? vr_buf_str(&c->user) : vr_buf_str(&c->password);
    c->complete = c->at == 1;
    c->at++;
    return VR_OK;
}

static bool initial_external(struct sasl_client *c, struct vr_str *out)
{
    vr_buf_reset(&c->out);
    vr_buf_add(&c->out, vr_buf_str(&c->user));
    return done_by(c, out);
}

/* ---- CRAM-MD5 ------------------------------------------------------------------------------------------------------- */

static enum vr_err step_cram(struct sasl_client *c, struct vr_str challenge, struct vr_str *out)
{
    struct sasl_cram_keys keys;
    char digest[32];
    if (c->at > 0 || challenge.n == 0)
        return VR_ERR_SYNTAX;
    bool good =
        sasl_cram_derive(vr_buf_str(&c->password), &keys) == VR_OK && cram_digest(&keys, challenge, digest);
    sasl_wipe(&keys, sizeof keys);
    if (!good)
        return VR_ERR_UNSUPPORTED;
    vr_buf_reset(&c->out);
    vr_buf_add(&c->out, vr_buf_str(&c->user));
    vr_buf_add_byte(&c->out, ' ');
    vr_buf_add(&c->out, vr_str(digest, sizeof digest));
    return done_by(c, out) ? VR_OK : VR_ERR_TOO_BIG;
}

/* ---- OAUTHBEARER, XOAUTH2 ------------------------------------------------------------------------------------------- */

static bool token_message(struct sasl_client *c, struct vr_str *out)
{
    vr_buf_add(&c->out, VR_STR("auth=Bearer "));
    vr_buf_add(&c->out, vr_buf_str(&c->token));
    vr_buf_add(&c->out, VR_STR("\1\1"));
    return done_by(c, out);
}

static bool initial_oauthbearer(struct sasl_client *c, struct vr_str *out)
{
    struct vr_buf *b = &c->out;
    vr_buf_reset(b);
    vr_buf_reserve(b, vr_buf_size(&c->token) + 1024); /* growing would leave copies of the token behind */
    vr_buf_add(b, VR_STR("n,"));
    if (vr_buf_size(&c->user) > 0) {
        vr_buf_add(b, VR_STR("a="));
        saslname_write(b, vr_buf_str(&c->user));
    }
    vr_buf_add(b, VR_STR(",\1"));
    if (vr_buf_size(&c->host) > 0)
        vr_buf_addf(b, "host=%.*s\1", VR_STR_ARG(vr_buf_str(&c->host)));
    if (c->port != 0)
        vr_buf_addf(b, "port=%u\1", c->port);
    return token_message(c, out);
}

static bool initial_xoauth2(struct sasl_client *c, struct vr_str *out)
{
    struct vr_buf *b = &c->out;
    vr_buf_reset(b);
    vr_buf_reserve(b, vr_buf_size(&c->token) + 512);
    vr_buf_add(b, VR_STR("user="));
    vr_buf_add(b, vr_buf_str(&c->user));
    vr_buf_add_byte(b, '\1');
    return token_message(c, out);
}

/* A challenge behind the token tells why it is refused; it wants an answer before the refusal comes (RFC 7628 §3.2.3). */
static enum vr_err step_token(struct sasl_client *c, struct vr_str challenge, struct vr_str *out)
{
    if (c->at == 0)
        return step_once(c, challenge, out);
    if (c->at > 1)
        return VR_ERR_STATE;
    c->at = 2;
    c->complete = false;
    client_keep_refusal(c, challenge);
    *out = c->mechanism->bit == SASL_OAUTHBEARER ? VR_STR("\1") : VR_STR("");
    return VR_OK;
}

/* ---- the engine -------------------------------------------------------------------------------------------------------- */

static const struct sasl_client_row rows[] = {
    {SASL_SCRAM_SHA_256_PLUS | SASL_SCRAM_SHA_1_PLUS | SASL_SCRAM_SHA_256 | SASL_SCRAM_SHA_1,
     client_scram_initial, client_scram_step},
    {SASL_EXTERNAL, initial_external, step_once},
    {SASL_OAUTHBEARER, initial_oauthbearer, step_token},
    {SASL_XOAUTH2, initial_xoauth2, step_token},
    {SASL_PLAIN, initial_plain, step_once},
    {SASL_LOGIN, NULL, step_login},
    {SASL_CRAM_MD5, NULL, step_cram},
};

/* Is there what the mechanism needs, in a form that it can carry? */
static bool fit(const struct sasl_mechanism *m, const struct sasl_client_config *config)
{
    bool may_be_nobody = m->bit == SASL_EXTERNAL || m->bit == SASL_OAUTHBEARER;
    if ((config->user.n > 0 || !may_be_nobody) && !sasl_text_valid(config->user, SASL_USER_MAX))
        return false;
    if (m->secret == SASL_BY_PASSWORD && !sasl_text_valid(config->password, SASL_PASSWORD_MAX))
        return false;
    if (m->secret == SASL_BY_TOKEN && !sasl_token_valid(config->token))
        return false;
    if (config->host.n > 0 && !sasl_text_valid(config->host, SASL_USER_MAX))
        return false;
    return !m->plus || sasl_binding_there(&config->binding);
}

static void keep_config(struct sasl_client *c, const struct sasl_client_config *config)
{
    memcpy(c->nonce, config->nonce, sizeof c->nonce);
    c->port = config->port;
    c->plus_unseen = config->plus_unseen;
    sasl_binding_keep(&c->binding, &c->room, &config->binding);
    vr_buf_add(&c->user, config->user);
    vr_buf_add(&c->host, config->host);
    if (c->mechanism->secret == SASL_BY_PASSWORD)
        vr_buf_add(&c->password, config->password);
    if (c->mechanism->secret == SASL_BY_TOKEN)
        vr_buf_add(&c->token, config->token);
}

struct sasl_client *sasl_client_new(struct vr_str mechanism, const struct sasl_client_config *config)
{
    const struct sasl_mechanism *m = sasl_mechanism_find(mechanism);
    struct sasl_client *c = m != NULL && fit(m, config) ? calloc(1, sizeof *c) : NULL;
    if (c == NULL)
        return NULL;
    c->mechanism = m;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].bits & (unsigned)m->bit)
            c->row = &rows[i];
    vr_buf_init(&c->user, SASL_USER_MAX);
    vr_buf_init(&c->password, SASL_PASSWORD_MAX);
    vr_buf_init(&c->token, SASL_TOKEN_MAX);
    vr_buf_init(&c->host, SASL_USER_MAX);
    vr_buf_init(&c->out, SASL_MESSAGE_MAX);
    vr_buf_init(&c->refusal, SCRAM_MESSAGE_MAX);
    scram_texts_init(&c->texts);
    keep_config(c, config);
    return c;
}

void sasl_client_free(struct sasl_client *c)
{
    if (c == NULL)
        return;
    struct vr_buf *const secrets[] = {&c->password, &c->token, &c->out};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        sasl_wipe_buf(secrets[i]);
        vr_buf_fini(secrets[i]);
    }
    vr_buf_fini(&c->user);
    vr_buf_fini(&c->host);
    vr_buf_fini(&c->refusal);
    scram_texts_fini(&c->texts);
    sasl_wipe(c, sizeof *c);
    free(c);
}

bool sasl_client_initial(struct sasl_client *c, struct vr_str *out)
{
    return c->row->initial != NULL && c->row->initial(c, out);
}

enum vr_err sasl_client_step(struct sasl_client *c, struct vr_str challenge, struct vr_str *out)
{
    return c->row->step(c, challenge, out);
}

bool sasl_client_complete(const struct sasl_client *c)
{
    return c->complete;
}

struct vr_str sasl_client_refusal(const struct sasl_client *c)
{
    return vr_buf_str(&c->refusal);
}
