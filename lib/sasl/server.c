/* server.c - the server side: the engine, and the mechanisms of few steps: PLAIN (RFC 4616), LOGIN, EXTERNAL (RFC 4422 appendix A).
 *
 * Promise: an unknown user looks like a wrong password; what was secret is wiped.
 * States:  s->at counts the steps of the mechanism's function; what was asked of the owner (s->asked) is settled before the next.
 * Tests:   tests/unit/sasl.c, tests/unit/sasl_mechanisms.c, tests/unit/sasl_tokens.c, tests/fuzz/fuzz_sasl.c
 */
#include "inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_ITERATIONS 10000

enum sasl_step server_fail(struct sasl_server *s, const char *why)
{
    s->why = why;
    return SASL_FAILED;
}

enum sasl_step server_malformed_fail(struct sasl_server *s, const char *why)
{
    s->malformed = true;
    return server_fail(s, why);
}

enum sasl_step server_ask(struct sasl_server *s, enum sasl_step what)
{
    s->asked = what;
    return what;
}

void server_settle(struct sasl_server *s, enum sasl_step what, struct vr_str *out)
{
    assert(s->asked == what);
    s->asked = SASL_CHALLENGE;
    *out = vr_str(NULL, 0);
}

enum sasl_step server_prompt(struct sasl_server *s, struct vr_str prompt, struct vr_str *out)
{
    s->at++;
    *out = prompt;
    return SASL_CHALLENGE;
}

bool server_keep_user(struct sasl_server *s, struct vr_str user)
{
    if (!sasl_text_valid(user, SASL_USER_MAX))
        return false;
    memcpy(s->user, user.p, user.n);
    s->user_n = user.n;
    return true;
}

static bool keep_password(struct sasl_server *s, struct vr_str password)
{
    if (!sasl_text_valid(password, SASL_PASSWORD_MAX))
        return false;
    memcpy(s->password, password.p, password.n);
    s->password_n = password.n;
    return true;
}

/* ---- PLAIN: message = [authzid] NUL authcid NUL passwd ---------------------------------------------------------------- */

static enum sasl_step server_plain(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    if (!has_in && s->at == 0)
        return server_prompt(s, VR_STR(""), out);
    size_t first = vr_str_find(in, '\0');
    struct vr_str rest = first == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(in, first + 1);
    size_t second = vr_str_find(rest, '\0');
    if (second == VR_NPOS)
        return server_malformed_fail(s, "the PLAIN message has not three parts");
    struct vr_str authzid = vr_str_sub(in, 0, first), user = vr_str_sub(rest, 0, second),
                  password = vr_str_from_pos(rest, second + 1);
    if (!server_keep_user(s, user) || !keep_password(s, password))
        return server_malformed_fail(
            s, "the user name or the password is empty, too long, or holds control bytes");
    if (authzid.n > 0 && !vr_str_equal(authzid, user))
        return server_fail(s, "acting for another user is not allowed");
    return server_ask(s, SASL_NEED_PASSWORD);
}

/* ---- LOGIN: no RFC; two prompts ----------------------------------------------------------------------------------------- */

static enum sasl_step server_login(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    if (!has_in && s->at == 0)
        return server_prompt(s, VR_STR("Username:"), out);
    if (s->at <= 1) { /* some clients send the name as initial response */
        if (!server_keep_user(s, in))
            return server_malformed_fail(s, "the user name is empty, too long, or holds control bytes");
        s->at = 1;
        return server_prompt(s, VR_STR("Password:"), out);
    }
    if (!keep_password(s, in))
        return server_malformed_fail(s, "the password is empty, too long, or holds control bytes");
    return server_ask(s, SASL_NEED_PASSWORD);
}

enum sasl_step sasl_server_password_checked(struct sasl_server *s, bool good, struct vr_str *out)
{
    server_settle(s, SASL_NEED_PASSWORD, out);
    sasl_wipe(s->password, sizeof s->password);
    s->password_n = 0;
    return good ? SASL_DONE : server_fail(s, "wrong user name or password");
}

/* ---- EXTERNAL: message = [authzid] --------------------------------------------------------------------------------------- */

/* The one that is wanted; without a wish the first. Their case is the owner's affair. */
static struct vr_str choose_identity(const struct sasl_server *s, struct vr_str wanted)
{
    struct vr_str rest = vr_buf_str(&s->identity), one;
    while (vr_str_split(&rest, '\n', &one))
        if (wanted.n == 0 || vr_str_equal_nocase(wanted, one))
            return one;
    return vr_str(NULL, 0);
}

static enum sasl_step server_external(struct sasl_server *s, struct vr_str in, bool has_in,
                                      struct vr_str *out)
{
    if (!has_in && s->at == 0)
        return server_prompt(s, VR_STR(""), out);
    if (in.n > 0 && !sasl_text_valid(in, SASL_USER_MAX))
        return server_malformed_fail(s, "the authorization identity is too long, or holds control bytes");
    if (vr_buf_size(&s->identity) == 0)
        return server_fail(s, "there is no client certificate that tells who it is");
    struct vr_str first = choose_identity(s, vr_str(NULL, 0)), chosen = choose_identity(s, in);
    if (!server_keep_user(s, chosen.n > 0 ? chosen : first) || chosen.n == 0) /* the log hears who it was */
        return server_fail(s, "acting for another user than the client certificate's is not allowed");
    return server_ask(s, SASL_NEED_IDENTITY);
}

enum sasl_step sasl_server_identity_checked(struct sasl_server *s, bool good, struct vr_str *out)
{
    server_settle(s, SASL_NEED_IDENTITY, out);
    return good ? SASL_DONE : server_fail(s, "the client certificate's identity is no account");
}

/* ---- gs2 (SCRAM, OAUTHBEARER) ---------------------------------------------------------------------------------------------- */

const char *gs2_read(struct vr_str in, struct gs2 *out)
{
    struct vr_str rest = in, zid;
    if (vr_str_find(in, ',') == VR_NPOS || !vr_str_split(&rest, ',', &out->flag) ||
        vr_str_find(rest, ',') == VR_NPOS || !vr_str_split(&rest, ',', &zid))
        return "the message has no gs2 header";
    if (!vr_str_equal(out->flag, VR_STR("n")) && !vr_str_equal(out->flag, VR_STR("y")) &&
        !vr_str_starts(out->flag, VR_STR("p=")))
        return "the channel binding flag is none of n, y, p";
    if (zid.n > 0 && !vr_str_starts(zid, VR_STR("a=")))
        return "the authorization identity does not begin with a=";
    out->authzid = zid.n > 0 ? vr_str_from_pos(zid, 2) : zid;
    out->rest = rest;
    out->header = vr_str_sub(in, 0, in.n - rest.n);
    return NULL;
}

/* ---- the engine -------------------------------------------------------------------------------------------------------------- */

static const struct {
    unsigned bits;
    server_step *run;
} functions[] = {
    {SASL_SCRAM_SHA_256_PLUS | SASL_SCRAM_SHA_1_PLUS | SASL_SCRAM_SHA_256 | SASL_SCRAM_SHA_1, server_scram},
    {SASL_EXTERNAL, server_external},
    {SASL_OAUTHBEARER, server_oauthbearer},
    {SASL_XOAUTH2, server_xoauth2},
    {SASL_PLAIN, server_plain},
    {SASL_LOGIN, server_login},
    {SASL_CRAM_MD5, server_cram},
};

static void keep_config(struct sasl_server *s, const struct sasl_server_config *config)
{
    memcpy(s->nonce, config->nonce, sizeof s->nonce);
    memcpy(s->fake_key, config->fake_key, sizeof s->fake_key);
    s->fake_iterations = config->fake_iterations != 0 ? config->fake_iterations : FAKE_ITERATIONS;
    sasl_binding_keep(&s->binding, &s->room, &config->binding);
    s->plus_offered = config->plus_offered;
    vr_buf_add(&s->identity, config->identity);
    vr_buf_add(&s->hostname, config->hostname);
}

struct sasl_server *sasl_server_new(struct vr_str mechanism, const struct sasl_server_config *config)
{
    const struct sasl_mechanism *m = sasl_mechanism_find(mechanism);
    struct sasl_server *s = m != NULL ? calloc(1, sizeof *s) : NULL;
    if (s == NULL)
        return NULL;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (functions[i].bits & (unsigned)m->bit)
            s->run = functions[i].run;
    assert(s->run != NULL);
    s->mechanism = m;
    s->asked = SASL_CHALLENGE;
    s->why = "";
    vr_buf_init(&s->identity, SASL_IDENTITY_MAX);
    vr_buf_init(&s->hostname, SASL_USER_MAX);
    vr_buf_init(&s->canonical, 1024);
    vr_buf_init(&s->out, SASL_MESSAGE_MAX);
    vr_buf_init(&s->token, SASL_TOKEN_MAX);
    vr_buf_init(&s->response, 64);
    vr_buf_init(&s->full_nonce, SCRAM_MESSAGE_MAX);
    scram_texts_init(&s->texts);
    keep_config(s, config);
    return s;
}

void sasl_server_free(struct sasl_server *s)
{
    if (s == NULL)
        return;
    sasl_wipe_buf(&s->token);
    sasl_wipe_buf(&s->response);
    struct vr_buf *const buffers[] = {&s->identity, &s->hostname, &s->canonical, &s->out,
                                      &s->token,    &s->response, &s->full_nonce};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        vr_buf_fini(buffers[i]);
    scram_texts_fini(&s->texts);
    sasl_wipe(s, sizeof *s);
    free(s);
}

enum sasl_step sasl_server_step(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    assert(s->asked == SASL_CHALLENGE);
    *out = vr_str(NULL, 0);
    return s->run(s, in, has_in, out);
}

struct vr_str sasl_server_user(const struct sasl_server *s)
{
    return vr_str(s->user, s->user_n);
}

struct vr_str sasl_server_password(const struct sasl_server *s)
{
    return vr_str(s->password, s->password_n);
}

struct vr_str sasl_server_token(const struct sasl_server *s)
{
    return vr_buf_str(&s->token);
}

enum sasl_hash sasl_server_hash(const struct sasl_server *s)
{
    return s->mechanism->hash;
}

const char *sasl_server_why(const struct sasl_server *s)
{
    return s->why;
}

bool sasl_server_malformed(const struct sasl_server *s)
{
    return s->malformed;
}
