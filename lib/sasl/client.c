/* client.c - the client side of PLAIN, LOGIN and SCRAM-SHA-256.
 *
 * Promise: SCRAM is complete only when the server has proved that it knows the password too (RFC 5802 §3).
 * Tests:   tests/unit/sasl.c
 */
#include "inside.h"

#include <stdlib.h>
#include <string.h>

#define ITERATIONS_MAX 1000000 /* under half a second: a hostile server must not keep us computing */

typedef enum vr_err client_step(struct sasl_client *c, struct vr_str challenge, struct vr_str *out);

struct sasl_client {
    const struct client_mechanism *mechanism;
    unsigned at;
    bool complete;
    struct vr_buf user, password;
    uint8_t nonce[SCRAM_NONCE_BYTES];
    uint8_t server_signature[SASL_HASH];
    struct scram_texts texts;
};

struct client_mechanism {
    const char *name;
    bool (*initial)(struct sasl_client *c, struct vr_str *out);
    client_step *step;
};

/* ---- PLAIN, LOGIN ------------------------------------------------------------------------------------------------------------ */

static bool initial_plain(struct sasl_client *c, struct vr_str *out)
{
    struct vr_buf *b = &c->texts.out;
    vr_buf_reset(b);
    vr_buf_add_byte(b, '\0');
    vr_buf_add(b, vr_buf_str(&c->user));
    vr_buf_add_byte(b, '\0');
    vr_buf_add(b, vr_buf_str(&c->password));
    *out = vr_buf_str(b);
    c->complete = true;
    return !b->too_big;
}

static enum vr_err step_plain(struct sasl_client *c, struct vr_str challenge, struct vr_str *out)
{
    if (challenge.n > 0 || c->at++ > 0)
        return VR_ERR_SYNTAX;
    return initial_plain(c, out) ? VR_OK : VR_ERR_TOO_BIG;
}

static bool initial_login(struct sasl_client *c, struct vr_str *out)
{
    (void)c, (void)out;
    return false;
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

/* ---- SCRAM-SHA-256 -------------------------------------------------------------------------------------------------------------- */

static bool initial_scram(struct sasl_client *c, struct vr_str *out)
{
    struct vr_buf *bare = &c->texts.first_bare, *b = &c->texts.out;
    struct vr_str user = vr_buf_str(&c->user);
    vr_buf_reset(bare);
    vr_buf_add(bare, VR_STR("n="));
    for (size_t i = 0; i < user.n; i++) {
        if (user.p[i] == ',' || user.p[i] == '=')
            vr_buf_add(bare, user.p[i] == ',' ? VR_STR("=2C") : VR_STR("=3D"));
        else
            vr_buf_add_byte(bare, user.p[i]);
    }
    vr_buf_add(bare, VR_STR(",r="));
    vr_base64_encode(bare, vr_str((const char *)c->nonce, sizeof c->nonce));
    vr_buf_reset(b);
    vr_buf_add(b, VR_STR("n,,"));
    vr_buf_add(b, vr_buf_str(bare));
    *out = vr_buf_str(b);
    c->at = 1;
    return !b->too_big && !bare->too_big;
}

struct server_first {
    struct vr_str nonce, salt_base64;
    uint64_t iterations;
};

static bool read_server_first(struct sasl_client *c, struct vr_str in, struct server_first *out)
{
    struct vr_str rest = in, iterations, ours = vr_buf_str(&c->texts.first_bare);
    ours = vr_str_from_pos(ours, vr_str_find_str(ours, VR_STR(",r=")) + 3);
    return scram_attribute(&rest, 'r', &out->nonce) && scram_nonce_valid(out->nonce) &&
           vr_str_starts(out->nonce, ours) && out->nonce.n > ours.n &&
           scram_attribute(&rest, 's', &out->salt_base64) && scram_attribute(&rest, 'i', &iterations) &&
           vr_str_to_u64(iterations, &out->iterations) && out->iterations >= 4096 &&
           out->iterations <= ITERATIONS_MAX;
}

static bool make_proof(struct sasl_client *c, const struct server_first *f, uint8_t proof[SASL_HASH])
{
    uint8_t salted[SASL_HASH], key[SASL_HASH], stored[SASL_HASH], server[SASL_HASH], signature[SASL_HASH];
    struct vr_str message = vr_buf_str(&c->texts.auth_message);
    struct vr_buf salt;
    vr_buf_init(&salt, SCRAM_MESSAGE_MAX);
    bool good = vr_base64_decode(&salt, f->salt_base64) == VR_OK && vr_buf_size(&salt) > 0 &&
                scram_salted(vr_buf_str(&c->password), vr_buf_str(&salt), (uint32_t)f->iterations, salted) &&
                scram_keys(salted, key, stored, server) && scram_hmac(stored, message, signature) &&
                scram_hmac(server, message, c->server_signature);
    for (size_t i = 0; good && i < SASL_HASH; i++)
        proof[i] = (uint8_t)(key[i] ^ signature[i]);
    scram_wipe(salted, sizeof salted);
    scram_wipe(key, sizeof key);
    vr_buf_fini(&salt);
    return good;
}

static enum vr_err scram_answer(struct sasl_client *c, struct vr_str in, struct vr_str *out)
{
    struct server_first f;
    uint8_t proof[SASL_HASH];
    if (!read_server_first(c, in, &f) || !vr_buf_add(&c->texts.server_first, in))
        return VR_ERR_SYNTAX;
    struct vr_buf *b = &c->texts.out;
    vr_buf_reset(b);
    vr_buf_add(b, VR_STR("c=biws,r=")); /* base64 of "n,,": no channel binding */
    vr_buf_add(b, f.nonce);
    if (b->too_big || !scram_auth_message(&c->texts, vr_buf_str(b)))
        return VR_ERR_TOO_BIG;
    if (!make_proof(c, &f, proof))
        return VR_ERR_SYNTAX;
    vr_buf_add(b, VR_STR(",p="));
    vr_base64_encode(b, vr_str((const char *)proof, sizeof proof));
    *out = vr_buf_str(b);
    c->at = 2;
    return b->too_big ? VR_ERR_TOO_BIG : VR_OK;
}

static enum vr_err scram_verify(struct sasl_client *c, struct vr_str in, struct vr_str *out)
{
    struct vr_str rest = in, verifier;
    struct vr_buf bytes;
    vr_buf_init(&bytes, SASL_HASH);
    c->complete = scram_attribute(&rest, 'v', &verifier) && vr_base64_decode(&bytes, verifier) == VR_OK &&
                  vr_buf_size(&bytes) == SASL_HASH &&
                  scram_equal(vr_buf_str(&bytes).p, c->server_signature, SASL_HASH);
    vr_buf_fini(&bytes);
    *out = vr_str("", 0);
    c->at = 3;
    return c->complete ? VR_OK : VR_ERR_STATE;
}

static enum vr_err step_scram(struct sasl_client *c, struct vr_str challenge, struct vr_str *out)
{
    if (c->at == 0)
        return challenge.n == 0 && initial_scram(c, out) ? VR_OK : VR_ERR_SYNTAX;
    if (c->at == 1)
        return scram_answer(c, challenge, out);
    return c->at == 2 ? scram_verify(c, challenge, out) : VR_ERR_STATE;
}

/* ---- the engine -------------------------------------------------------------------------------------------------------------- */

static const struct client_mechanism mechanisms[] = {{"PLAIN", initial_plain, step_plain},
                                                     {"LOGIN", initial_login, step_login},
                                                     {"SCRAM-SHA-256", initial_scram, step_scram}};

struct sasl_client *sasl_client_new(struct vr_str mechanism, struct vr_str user, struct vr_str password,
                                    const uint8_t nonce[18])
{
    size_t i = 0;
    while (i < sizeof mechanisms / sizeof *mechanisms &&
           !vr_str_equal_nocase(mechanism, vr_str_from(mechanisms[i].name)))
        i++;
    if (i == sizeof mechanisms / sizeof *mechanisms || !sasl_text_valid(user, SASL_USER_MAX) ||
        !sasl_text_valid(password, SASL_PASSWORD_MAX))
        return NULL;
    struct sasl_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->mechanism = &mechanisms[i];
    memcpy(c->nonce, nonce, sizeof c->nonce);
    vr_buf_init(&c->user, SASL_USER_MAX);
    vr_buf_init(&c->password, SASL_PASSWORD_MAX);
    vr_buf_add(&c->user, user);
    vr_buf_add(&c->password, password);
    scram_texts_init(&c->texts);
    return c;
}

void sasl_client_free(struct sasl_client *c)
{
    if (c == NULL)
        return;
    scram_wipe(c->password.p, c->password.capacity);
    scram_wipe(c->texts.out.p, c->texts.out.capacity);
    vr_buf_fini(&c->user);
    vr_buf_fini(&c->password);
    scram_texts_fini(&c->texts);
    free(c);
}

bool sasl_client_initial(struct sasl_client *c, struct vr_str *out)
{
    return c->mechanism->initial(c, out);
}

enum vr_err sasl_client_step(struct sasl_client *c, struct vr_str challenge, struct vr_str *out)
{
    return c->mechanism->step(c, challenge, out);
}

bool sasl_client_complete(const struct sasl_client *c)
{
    return c->complete;
}
