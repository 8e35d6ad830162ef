/* sasl_owner.h - the owner of a SASL server in tests: knows one account, and answers whatever the server asks.
 *
 * The account has a password, a token and a certificate; keys of SCRAM and CRAM-MD5 are made of the password.
 */
#ifndef TESTS_SASL_OWNER_H
#define TESTS_SASL_OWNER_H

#include <veredus/sasl.h>

#include <stdlib.h>
#include <string.h>

struct sasl_owner {
    const char *user, *password, *token;
    const char *narrow; /* a token of the user for another scope; NULL: none */
    const char *salt;   /* of 16 octets; NULL: SASL_OWNER_SALT */
};

#define SASL_OWNER_SALT ((const uint8_t *)"salt of 16 bytes")

static inline bool sasl_owner_knows(const struct sasl_owner *o, const struct sasl_server *s)
{
    return vr_str_equal(sasl_server_user(s), vr_str_from(o->user));
}

static inline enum sasl_step sasl_owner_token(const struct sasl_owner *o, struct sasl_server *s,
                                              struct vr_str *out)
{
    struct vr_str token = sasl_server_token(s);
    bool narrow = o->narrow != NULL && vr_str_equal(token, vr_str_from(o->narrow));
    struct sasl_token_verdict v = {.good = vr_str_equal(token, vr_str_from(o->token)),
                                   .user = vr_str_from(o->user),
                                   .status = narrow ? "insufficient_scope" : "invalid_token",
                                   .scope = VR_STR("mail \"all\""),
                                   .openid_configuration = VR_STR("https://id.test/openid")};
    return sasl_server_token_checked(s, &v, out);
}

static inline enum sasl_step sasl_owner_settle(const struct sasl_owner *o, struct sasl_server *s,
                                               enum sasl_step step, struct vr_str *out)
{
    bool known = sasl_owner_knows(o, s);
    struct vr_str password = vr_str_from(o->password);
    struct sasl_scram_keys scram;
    struct sasl_cram_keys cram;
    switch (step) {
    case SASL_NEED_PASSWORD:
        return sasl_server_password_checked(s, known && vr_str_equal(sasl_server_password(s), password), out);
    case SASL_NEED_SCRAM:
        if (sasl_scram_derive(sasl_server_hash(s), password,
                              o->salt != NULL ? (const uint8_t *)o->salt : SASL_OWNER_SALT, 4096,
                              &scram) != VR_OK)
            abort(); /* the account's password cannot be used */
        return sasl_server_scram_keys(s, known ? &scram : NULL, out);
    case SASL_NEED_CRAM:
        if (sasl_cram_derive(password, &cram) != VR_OK)
            abort(); /* the account's password cannot be used */
        return sasl_server_cram_keys(s, known ? &cram : NULL, out);
    case SASL_NEED_TOKEN:
        return sasl_owner_token(o, s, out);
    case SASL_NEED_IDENTITY:
        return sasl_server_identity_checked(s, known, out);
    default:
        return step;
    }
}

#endif
