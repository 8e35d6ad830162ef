/* sasl_exchange.h - a whole SASL exchange between both sides, for tests: the server's owner knows Ann. */
#ifndef TESTS_SASL_EXCHANGE_H
#define TESTS_SASL_EXCHANGE_H

#include <veredus/sasl.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sasl_owner.h"

#define assert_str(got, literal) assert_true(vr_str_equal(got, VR_STR(literal)))

static const struct sasl_owner ann = {
    .user = "ann@example.org", .password = "pencil", .token = "ya29.A-b_c~d+e/f==", .narrow = "narrow"};

static inline struct sasl_server *server_with(const char *mechanism, struct sasl_server_config config)
{
    memcpy(config.nonce, "ABCDEFGHIJKLMNOPQR", sizeof config.nonce);
    memcpy(config.fake_key, "0123456789abcdef", sizeof config.fake_key);
    config.hostname = VR_STR("mail.example.org");
    struct sasl_server *s = sasl_server_new(vr_str_from(mechanism), &config);
    assert_non_null(s);
    return s;
}

struct exchange {
    const char *mechanism, *user, *password, *token;
    struct sasl_binding ours, theirs; /* of the server's side, of the client's */
    bool plus_offered, plus_unseen, no_initial;
    const char *identity; /* of the certificate */
    char challenge[512];  /* out: the last */
    char why[128];        /* out: the server's */
    char refusal[256];    /* out: what the client was told */
    char got[300];        /* out: who it is */
};

enum outcome { BOTH, SERVER_REFUSED, SERVER_MALFORMED, CLIENT_REFUSED };

static inline void keep(char *out, size_t size, struct vr_str s)
{
    snprintf(out, size, "%.*s", VR_STR_ARG(s));
}

static inline enum outcome ended(struct exchange *e, struct sasl_server *s, struct sasl_client *c,
                                 enum sasl_step step)
{
    keep(e->why, sizeof e->why, vr_str_from(sasl_server_why(s)));
    keep(e->got, sizeof e->got, sasl_server_user(s));
    keep(e->refusal, sizeof e->refusal, sasl_client_refusal(c));
    assert_int_equal(sasl_server_password(s).n + sasl_server_token(s).n, 0); /* wiped, whatever came of it */
    if (step == SASL_DONE)
        return sasl_client_complete(c) ? BOTH : CLIENT_REFUSED;
    return sasl_server_malformed(s) ? SERVER_MALFORMED : SERVER_REFUSED;
}

static inline enum outcome talk(struct exchange *e, struct sasl_server *s, struct sasl_client *c)
{
    struct vr_str to_server = {0}, to_client;
    bool has = !e->no_initial && sasl_client_initial(c, &to_server);
    for (int turns = 0;; turns++) {
        assert_true(turns < 8);
        enum sasl_step step = sasl_server_step(s, to_server, has, &to_client);
        step = sasl_owner_settle(&ann, s, step, &to_client);
        if (step != SASL_CHALLENGE)
            return ended(e, s, c, step);
        keep(e->challenge, sizeof e->challenge, to_client);
        has = true;
        if (sasl_client_step(c, to_client, &to_server) != VR_OK)
            return CLIENT_REFUSED;
    }
}

static inline enum outcome run(struct exchange *e)
{
    struct sasl_server *s =
        server_with(e->mechanism, (struct sasl_server_config){.binding = e->ours,
                                                              .plus_offered = e->plus_offered,
                                                              .identity = vr_str_from(e->identity)});
    struct sasl_client_config config = {.user = vr_str_from(e->user),
                                        .password = vr_str_from(e->password),
                                        .token = vr_str_from(e->token),
                                        .host = VR_STR("mail.example.org"),
                                        .port = 587,
                                        .nonce = "abcdefghijklmnopq",
                                        .binding = e->theirs,
                                        .plus_unseen = e->plus_unseen};
    struct sasl_client *c = sasl_client_new(vr_str_from(e->mechanism), &config);
    assert_non_null(c);
    enum outcome o = talk(e, s, c);
    sasl_server_free(s);
    sasl_client_free(c);
    return o;
}

#endif
