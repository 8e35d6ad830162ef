/* fuzz_tokens.c - any bytes as a token, as what one says, and as keys: nothing that our key has not signed is taken for signed, and an account is never without a name. */
#include "keeper/claims.h"
#include "keeper/token_keys.h"

#include <assert.h>
#include <string.h>

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const audience[] = {"mail", NULL}, *const scopes[] = {"smtp", NULL};

static void check_claims(struct vr_str json)
{
    static const struct config_oauth any = {.claim = "email"},
                                     strict = {.claim = "sub",
                                               .issuer = VR_STR_INIT("https://a.test"),
                                               .audience = (const char **)audience,
                                               .scopes = (const char **)scopes};
    const struct config_oauth *policies[] = {&any, &strict};
    for (size_t i = 0; i < 4; i++) {
        struct claims c;
        char why[256];
        enum claims_verdict v = claims_check(policies[i / 2], json, i % 2 == 0, NOW, &c, why);
        assert(memchr(c.account, '\0', sizeof c.account) != NULL);
        assert((v == CLAIMS_GOOD) == (why[0] == '\0'));
        assert(v != CLAIMS_GOOD || (c.account[0] > ' ' && c.expires_s > NOW - 61));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_str all = vr_str((const char *)data, size);
    char error[256], why[256];
    struct vr_buf claims;
    check_claims(all);
    struct token_keys *keys = token_keys_new();
    assert(token_keys_add_secret(keys, VR_STR("a secret that no fuzzer finds: f9b1c7d2"), error));
    vr_buf_init(&claims, TOKEN_MAX);
    enum token_signature s = token_verify(keys, all, &claims, why);
    assert(s != SIGNATURE_GOOD && why[0] != '\0');
    bool added = token_keys_add_pem(keys, all, error);
    assert((token_keys_count(keys) > 1) || !added);
    vr_buf_fini(&claims);
    token_keys_free(keys);
    return 0;
}
