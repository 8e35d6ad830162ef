/* server.c - the server side of PLAIN (RFC 4616), LOGIN and SCRAM-SHA-256 (RFC 5802 §5, 7677): a step function each.
 *
 * Promise: an unknown user looks like a wrong password, in the messages and in the salts (§9: fake ones that stay the same).
 * States:  step 0, 1, 2 of the mechanism's function; asking for keys or a password check is between two of them.
 * Tests:   tests/unit/sasl.c, tests/fuzz/fuzz_sasl.c
 */
#include "inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_ITERATIONS 10000 /* as the accounts have them: the same for all, or a stranger could tell */

typedef enum sasl_step step(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out);

struct sasl_server {
    step *run;
    unsigned at;
    enum { ASKED_NOTHING, ASKED_PASSWORD, ASKED_SCRAM } asked;
    char user[SASL_USER_MAX];
    size_t user_n;
    char password[SASL_PASSWORD_MAX];
    size_t password_n;
    const char *why;
    uint8_t nonce[SCRAM_NONCE_BYTES], fake_key[16];
    struct scram_texts texts;
    struct vr_buf full_nonce, gs2; /* SCRAM: both nonces joined; the client's gs2 header */
    struct sasl_scram_keys keys;
    bool unknown;
};

static enum sasl_step fail(struct sasl_server *s, const char *why)
{
    s->why = why;
    return SASL_FAILED;
}

static bool keep_user(struct sasl_server *s, struct vr_str user)
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

static enum sasl_step ask_password(struct sasl_server *s)
{
    s->asked = ASKED_PASSWORD;
    return SASL_NEED_PASSWORD;
}

/* ---- PLAIN: message = [authzid] NUL authcid NUL passwd ---------------------------------------------------------------- */

static enum sasl_step step_plain(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    if (!has_in && s->at++ == 0) {
        *out = vr_str("", 0);
        return SASL_CHALLENGE;
    }
    size_t first = vr_str_find(in, '\0');
    struct vr_str rest = first == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(in, first + 1);
    size_t second = vr_str_find(rest, '\0');
    if (second == VR_NPOS)
        return fail(s, "the PLAIN message has not three parts");
    struct vr_str authzid = vr_str_sub(in, 0, first), user = vr_str_sub(rest, 0, second),
                  password = vr_str_from_pos(rest, second + 1);
    if (!keep_user(s, user) || !keep_password(s, password))
        return fail(s, "the user name or the password is empty, too long, or holds control bytes");
    if (authzid.n > 0 && !vr_str_equal(authzid, user))
        return fail(s, "acting for another user is not allowed");
    return ask_password(s);
}

/* ---- LOGIN: no RFC; two prompts ----------------------------------------------------------------------------------------- */

static enum sasl_step step_login(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    if (!has_in && s->at == 0) {
        *out = VR_STR("Username:");
        s->at = 1;
        return SASL_CHALLENGE;
    }
    if (s->at <= 1) { /* some clients send the name as initial response */
        if (!keep_user(s, in))
            return fail(s, "the user name is empty, too long, or holds control bytes");
        *out = VR_STR("Password:");
        s->at = 2;
        return SASL_CHALLENGE;
    }
    if (!keep_password(s, in))
        return fail(s, "the password is empty, too long, or holds control bytes");
    return ask_password(s);
}

/* ---- SCRAM-SHA-256 -------------------------------------------------------------------------------------------------------- */

/* saslname: "=2C" is ",", "=3D" is "=" (§5.1) */
static bool undo_saslname(struct vr_str in, struct vr_buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        struct vr_str code = vr_str_sub(in, i, 3);
        if (in.p[i] != '=') {
            vr_buf_add_byte(out, in.p[i]);
            continue;
        }
        bool comma = vr_str_equal(code, VR_STR("=2C"));
        if (!comma && !vr_str_equal(code, VR_STR("=3D")))
            return false;
        vr_buf_add_byte(out, comma ? ',' : '=');
        i += 2;
    }
    return !out->too_big;
}

/* gs2-header = gs2-cbind-flag "," [ authzid ] "," : what it says is checked, what follows is the bare message */
static const char *read_gs2(struct sasl_server *s, struct vr_str in, struct vr_str *authzid,
                            struct vr_str *bare)
{
    struct vr_str rest = in, flag, zid;
    if (!vr_str_split(&rest, ',', &flag) || !vr_str_split(&rest, ',', &zid))
        return "the message has no gs2 header";
    if (flag.n > 0 && flag.p[0] == 'p')
        return "channel binding is not offered";
    if (!vr_str_equal(flag, VR_STR("n")) && !vr_str_equal(flag, VR_STR("y")))
        return "the channel binding flag is none of n, y, p";
    if (zid.n > 0 && !vr_str_starts(zid, VR_STR("a=")))
        return "the authorization identity does not begin with a=";
    *authzid = zid.n > 0 ? vr_str_from_pos(zid, 2) : zid;
    *bare = rest;
    size_t header = in.n - rest.n;
    return vr_buf_add(&s->gs2, vr_str_sub(in, 0, header)) ? NULL : "the gs2 header is too long";
}

static enum sasl_step scram_first(struct sasl_server *s, struct vr_str in)
{
    struct vr_str authzid, rest, name, nonce;
    const char *fault = read_gs2(s, in, &authzid, &rest);
    if (fault != NULL)
        return fail(s, fault);
    struct vr_str bare = rest;
    if (vr_str_starts(rest, VR_STR("m=")))
        return fail(s, "an extension is demanded that nobody knows"); /* §5.1: must fail */
    if (!scram_attribute(&rest, 'n', &name) || !scram_attribute(&rest, 'r', &nonce) ||
        !scram_nonce_valid(nonce))
        return fail(s, "the first message has no valid name and nonce");
    struct vr_buf user, zid;
    vr_buf_init(&user, SASL_USER_MAX);
    vr_buf_init(&zid, SASL_USER_MAX);
    bool good = undo_saslname(name, &user) && undo_saslname(authzid, &zid) && keep_user(s, vr_buf_str(&user));
    bool same = vr_buf_size(&zid) == 0 || vr_str_equal(vr_buf_str(&zid), vr_buf_str(&user));
    vr_buf_fini(&user);
    vr_buf_fini(&zid);
    if (!good)
        return fail(s, "the user name is empty, too long, or not well-formed");
    if (!same)
        return fail(s, "acting for another user is not allowed");
    vr_buf_add(&s->full_nonce, nonce);
    vr_base64_encode(&s->full_nonce, vr_str((const char *)s->nonce, sizeof s->nonce));
    if (!vr_buf_add(&s->texts.first_bare, bare) || s->full_nonce.too_big)
        return fail(s, "the first message is too long");
    s->at = 1;
    s->asked = ASKED_SCRAM;
    return SASL_NEED_SCRAM;
}

static enum sasl_step scram_server_first(struct sasl_server *s, struct vr_str *out)
{
    struct vr_buf *b = &s->texts.server_first;
    vr_buf_add(b, VR_STR("r="));
    vr_buf_add(b, vr_buf_str(&s->full_nonce));
    vr_buf_add(b, VR_STR(",s="));
    vr_base64_encode(b, vr_str((const char *)s->keys.salt, sizeof s->keys.salt));
    vr_buf_addf(b, ",i=%u", s->keys.iterations);
    if (b->too_big)
        return fail(s, "the exchange is too long");
    *out = vr_buf_str(b);
    return SASL_CHALLENGE;
}

/* "c=" must repeat the gs2 header, "r=" the whole nonce; the proof stands last (§5.1) */
static const char *read_final(struct sasl_server *s, struct vr_str in, struct vr_str *without_proof,
                              struct vr_str *proof)
{
    struct vr_str rest = in, binding, nonce;
    struct vr_buf header;
    vr_buf_init(&header, SCRAM_MESSAGE_MAX);
    bool good = scram_attribute(&rest, 'c', &binding) && vr_base64_decode(&header, binding) == VR_OK &&
                vr_str_equal(vr_buf_str(&header), vr_buf_str(&s->gs2));
    vr_buf_fini(&header);
    if (!good)
        return "the channel binding data is not that of the first message";
    if (!scram_attribute(&rest, 'r', &nonce) || !vr_str_equal(nonce, vr_buf_str(&s->full_nonce)))
        return "the nonce is another one";
    struct vr_str last = rest;
    for (size_t comma; (comma = vr_str_find(last, ',')) != VR_NPOS;) /* extensions may stand between */
        last = vr_str_from_pos(last, comma + 1);
    if (!vr_str_starts(last, VR_STR("p=")))
        return "there is no proof";
    *proof = vr_str_from_pos(last, 2);
    *without_proof = vr_str_sub(in, 0, in.n - last.n - 1);
    return NULL;
}

static bool proof_holds(struct sasl_server *s, struct vr_str proof)
{
    uint8_t signature[SASL_HASH], key[SASL_HASH], stored[SASL_HASH];
    struct vr_buf bytes;
    vr_buf_init(&bytes, SASL_HASH);
    bool good = vr_base64_decode(&bytes, proof) == VR_OK && vr_buf_size(&bytes) == SASL_HASH &&
                scram_hmac(s->keys.stored_key, vr_buf_str(&s->texts.auth_message), signature);
    for (size_t i = 0; good && i < SASL_HASH; i++)
        key[i] = (uint8_t)((uint8_t)vr_buf_str(&bytes).p[i] ^ signature[i]);
    good = good && scram_hash(key, sizeof key, stored) && scram_equal(stored, s->keys.stored_key, SASL_HASH);
    vr_buf_fini(&bytes);
    scram_wipe(key, sizeof key);
    return good;
}

static enum sasl_step scram_final(struct sasl_server *s, struct vr_str in, struct vr_str *out)
{
    struct vr_str without_proof, proof;
    uint8_t signature[SASL_HASH];
    const char *fault = read_final(s, in, &without_proof, &proof);
    if (fault != NULL)
        return fail(s, fault);
    if (!scram_auth_message(&s->texts, without_proof))
        return fail(s, "the exchange is too long");
    if (!proof_holds(s, proof) || s->unknown)
        return fail(s, s->unknown ? "no such user" : "wrong password");
    if (!scram_hmac(s->keys.server_key, vr_buf_str(&s->texts.auth_message), signature))
        return fail(s, "libcrypto refused");
    vr_buf_add(&s->texts.out, VR_STR("v="));
    vr_base64_encode(&s->texts.out, vr_str((const char *)signature, sizeof signature));
    *out = vr_buf_str(&s->texts.out);
    s->at = 2;
    return SASL_CHALLENGE;
}

static enum sasl_step step_scram(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    if (s->at == 0 && !has_in) {
        *out = vr_str("", 0);
        return SASL_CHALLENGE;
    }
    if (s->at == 0)
        return scram_first(s, in);
    if (s->at == 1)
        return scram_final(s, in, out);
    return in.n == 0 ? SASL_DONE : fail(s, "something follows the end of the exchange");
}

/* ---- the engine -------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    step *run;
} mechanisms[] = {{"PLAIN", step_plain}, {"LOGIN", step_login}, {"SCRAM-SHA-256", step_scram}};

struct sasl_server *sasl_server_new(struct vr_str mechanism, const uint8_t nonce[18],
                                    const uint8_t fake_key[16])
{
    size_t i = 0;
    while (i < sizeof mechanisms / sizeof *mechanisms &&
           !vr_str_equal_nocase(mechanism, vr_str_from(mechanisms[i].name)))
        i++;
    struct sasl_server *s = i < sizeof mechanisms / sizeof *mechanisms ? calloc(1, sizeof *s) : NULL;
    if (s == NULL)
        return NULL;
    s->run = mechanisms[i].run;
    s->why = "";
    memcpy(s->nonce, nonce, sizeof s->nonce);
    memcpy(s->fake_key, fake_key, sizeof s->fake_key);
    scram_texts_init(&s->texts);
    vr_buf_init(&s->full_nonce, SCRAM_MESSAGE_MAX);
    vr_buf_init(&s->gs2, SCRAM_MESSAGE_MAX);
    return s;
}

void sasl_server_free(struct sasl_server *s)
{
    if (s == NULL)
        return;
    scram_texts_fini(&s->texts);
    vr_buf_fini(&s->full_nonce);
    vr_buf_fini(&s->gs2);
    scram_wipe(s, sizeof *s);
    free(s);
}

enum sasl_step sasl_server_step(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    assert(s->asked == ASKED_NOTHING);
    *out = vr_str(NULL, 0);
    return s->run(s, in, has_in, out);
}

enum sasl_step sasl_server_password_checked(struct sasl_server *s, bool good, struct vr_str *out)
{
    assert(s->asked == ASKED_PASSWORD);
    s->asked = ASKED_NOTHING;
    *out = vr_str(NULL, 0);
    scram_wipe(s->password, sizeof s->password);
    s->password_n = 0;
    return good ? SASL_DONE : fail(s, "wrong user name or password");
}

/* The salt of a user who does not exist: the same each time, and nobody without the key can tell (§9, RFC 7677 §4). */
static void fake_keys(struct sasl_server *s)
{
    struct vr_str user = sasl_server_user(s);
    uint8_t key2[16];
    for (size_t i = 0; i < sizeof key2; i++)
        key2[i] = (uint8_t)(s->fake_key[i] ^ 0x5c);
    uint64_t halves[2] = {vr_siphash(s->fake_key, user.p, user.n), vr_siphash(key2, user.p, user.n)};
    memset(&s->keys, 0, sizeof s->keys);
    memcpy(s->keys.salt, halves, sizeof s->keys.salt);
    s->keys.iterations = FAKE_ITERATIONS;
    s->unknown = true;
}

enum sasl_step sasl_server_scram_keys(struct sasl_server *s, const struct sasl_scram_keys *keys,
                                      struct vr_str *out)
{
    assert(s->asked == ASKED_SCRAM);
    s->asked = ASKED_NOTHING;
    if (keys != NULL)
        s->keys = *keys;
    else
        fake_keys(s);
    return scram_server_first(s, out);
}

struct vr_str sasl_server_user(const struct sasl_server *s)
{
    return vr_str(s->user, s->user_n);
}

struct vr_str sasl_server_password(const struct sasl_server *s)
{
    return vr_str(s->password, s->password_n);
}

const char *sasl_server_why(const struct sasl_server *s)
{
    return s->why;
}
