/* tokens.c - what tokens say, and who has signed them. The tokens are signed here, by OpenSSL and without libjwt. */
#include "keeper/claims.h"
#include "keeper/token_keys.h"

#include "lib_testing.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define NOW 1800000000 /* seconds */

/* ---- claims ------------------------------------------------------------------------------------------------------ */

static const char *const audiences[] = {"mail", "other-mail", NULL}, *const scopes[] = {"smtp", "openid",
                                                                                        NULL};

static const struct config_oauth any = {.claim = "email"},
                                 strict = {.claim = "email",
                                           .issuer = VR_STR_INIT("https://login.test"),
                                           .audience = (const char **)audiences,
                                           .scopes = (const char **)scopes},
                                 by_sub = {.claim = "sub"};

#define EXP    "\"exp\":1800003600,"
#define STRICT "\"iss\":\"https://login.test\","

static const struct {
    const struct config_oauth *policy;
    bool introspection;
    const char *json;
    enum claims_verdict verdict;
    const char *what; /* the account; else a part of the reason */
} claims[] = {
    {&any, false, "{" EXP "\"email\":\"ann@d.test\"}", CLAIMS_GOOD, "ann@d.test"},
    {&any, true, "{\"active\":true,\"email\":\"ann@d.test\"}", CLAIMS_GOOD, "ann@d.test"},
    {&any, true, "{\"active\":true," EXP "\"email\":\"ann@d.test\"}", CLAIMS_GOOD, "ann@d.test"},
    {&by_sub, false, "{" EXP "\"sub\":\"ann\",\"email\":\"bob@d.test\"}", CLAIMS_GOOD, "ann"},
    {&any, false, "{" EXP "\"email\":\"ann@d.test\",\"email_verified\":true}", CLAIMS_GOOD, "ann@d.test"},
    {&any, false, "{" EXP "\"email\":\"ann@d.test\",\"email_verified\":false}", CLAIMS_BAD, "not verified"},
    {&by_sub, false, "{" EXP "\"sub\":\"ann\",\"email_verified\":false}", CLAIMS_GOOD, "ann"},
    /* whether it is a token's time; a minute is between two clocks */
    {&any, false, "{\"exp\":1799999941,\"email\":\"ann@d.test\"}", CLAIMS_GOOD, "ann@d.test"},
    {&any, false, "{\"exp\":1799999940,\"email\":\"ann@d.test\"}", CLAIMS_BAD, "expired"},
    {&any, true, "{\"active\":true,\"exp\":1,\"email\":\"ann@d.test\"}", CLAIMS_BAD, "expired"},
    {&any, false, "{\"exp\":1800003600.75,\"email\":\"ann@d.test\"}", CLAIMS_GOOD, "ann@d.test"},
    {&any, false, "{\"exp\":-5,\"email\":\"ann@d.test\"}", CLAIMS_BAD, "expired"},
    {&any, false, "{\"exp\":-9223372036854775807,\"email\":\"ann@d.test\"}", CLAIMS_BAD, "expired"},
    {&any, false, "{\"exp\":1e300,\"email\":\"ann@d.test\"}", CLAIMS_UNREADABLE, "`exp`"},
    {&any, false, "{\"exp\":\"1800003600\",\"email\":\"ann@d.test\"}", CLAIMS_UNREADABLE, "`exp`"},
    {&any, false, "{\"exp\":null,\"email\":\"ann@d.test\"}", CLAIMS_UNREADABLE, "`exp`"},
    {&any, false, "{\"email\":\"ann@d.test\"}", CLAIMS_BAD, "never expires"},
    {&any, false, "{" EXP "\"nbf\":1800000060,\"email\":\"ann@d.test\"}", CLAIMS_GOOD, "ann@d.test"},
    {&any, false, "{" EXP "\"nbf\":1800000061,\"email\":\"ann@d.test\"}", CLAIMS_BAD, "not valid yet"},
    {&any, false, "{" EXP "\"nbf\":-9223372036854775807,\"email\":\"ann@d.test\"}", CLAIMS_GOOD,
     "ann@d.test"},
    {&any, false, "{" EXP "\"nbf\":\"now\",\"email\":\"ann@d.test\"}", CLAIMS_UNREADABLE, "`nbf`"},
    /* the endpoint */
    {&any, true, "{\"active\":false}", CLAIMS_BAD, "not active"},
    {&any, true, "{\"active\":\"true\",\"email\":\"ann@d.test\"}", CLAIMS_UNREADABLE, "active"},
    {&any, true, "{\"email\":\"ann@d.test\"}", CLAIMS_UNREADABLE, "active"},
    {&any, true, "{\"active\":true,\"active\":false,\"email\":\"ann@d.test\"}", CLAIMS_UNREADABLE, "JSON"},
    {&any, true, "<html>", CLAIMS_UNREADABLE, "JSON"},
    {&any, true, "", CLAIMS_UNREADABLE, "JSON"},
    {&any, true, "[]", CLAIMS_UNREADABLE, "JSON"},
    {&any, true, "true", CLAIMS_UNREADABLE, "JSON"},
    {&any, true, "{\"active\":true,\"email\":\"ann@d.test\"}x", CLAIMS_UNREADABLE, "JSON"},
    /* for whom, by whom, what for */
    {&strict, false, "{" EXP STRICT "\"aud\":\"mail\",\"scope\":\"openid smtp x\",\"email\":\"ann@d.test\"}",
     CLAIMS_GOOD, "ann@d.test"},
    {&strict, false,
     "{" EXP STRICT "\"aud\":[\"a\",\"other-mail\"],\"scp\":[\"smtp\",\"openid\"],\"email\":\"ann@d.test\"}",
     CLAIMS_GOOD, "ann@d.test"},
    {&strict, false, "{" EXP "\"aud\":\"mail\",\"scope\":\"openid smtp\",\"email\":\"ann@d.test\"}",
     CLAIMS_BAD, "issuer"},
    {&strict, false, "{" EXP "\"iss\":\"https://login.test.evil\",\"aud\":\"mail\",\"email\":\"ann@d.test\"}",
     CLAIMS_BAD, "issuer"},
    {&strict, false, "{" EXP STRICT "\"scope\":\"openid smtp\",\"email\":\"ann@d.test\"}", CLAIMS_BAD,
     "another service"},
    {&strict, false, "{" EXP STRICT "\"aud\":\"web\",\"scope\":\"openid smtp\",\"email\":\"ann@d.test\"}",
     CLAIMS_BAD, "another service"},
    {&strict, false, "{" EXP STRICT "\"aud\":[[\"mail\"]],\"email\":\"ann@d.test\"}", CLAIMS_BAD,
     "another service"},
    {&strict, false, "{" EXP STRICT "\"aud\":\"mail web\",\"email\":\"ann@d.test\"}", CLAIMS_BAD,
     "another service"},
    {&strict, false, "{" EXP STRICT "\"aud\":\"mail\",\"scope\":\"openid smtps\",\"email\":\"ann@d.test\"}",
     CLAIMS_BAD, "\"smtp\""},
    {&strict, false, "{" EXP STRICT "\"aud\":\"mail\",\"email\":\"ann@d.test\"}", CLAIMS_BAD, "\"smtp\""},
    /* whose */
    {&any, false, "{" EXP "\"username\":\"ann\"}", CLAIMS_BAD, "`email` is missing"},
    {&any, false, "{" EXP "\"email\":\"\"}", CLAIMS_BAD, "no name"},
    {&any, false, "{" EXP "\"email\":17}", CLAIMS_BAD, "no name"},
    {&any, false, "{" EXP "\"email\":[\"ann@d.test\"]}", CLAIMS_BAD, "no name"},
    {&any, false, "{" EXP "\"email\":\"ann@d.test\\r\\nbob\"}", CLAIMS_BAD, "no name"},
    {&any, false, "{" EXP "\"email\":\"ann bob@d.test\"}", CLAIMS_BAD, "no name"},
    {&any, false, "{" EXP "\"email\":\"ann@d.test\\u0000\"}", CLAIMS_UNREADABLE, "JSON"},
};

static void what_tokens_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        struct claims out;
        char why[256];
        enum claims_verdict v = claims_check(claims[i].policy, vr_str_from(claims[i].json),
                                             claims[i].introspection, NOW, &out, why);
        bool said =
            v == CLAIMS_GOOD ? strcmp(out.account, claims[i].what) == 0 : strstr(why, claims[i].what) != NULL;
        if (v != claims[i].verdict || !said)
            fail_msg("%s: verdict %d, account \"%s\", \"%s\"", claims[i].json, v, out.account, why);
    }
}

static void long_names_and_times(void **state)
{
    (void)state;
    struct claims out;
    char why[256], json[1024], name[400];
    memset(name, 'a', sizeof name);
    snprintf(json, sizeof json, "{" EXP "\"email\":\"%.*s\"}", CLAIMS_ACCOUNT_MAX - 1, name);
    assert_int_equal(claims_check(&any, vr_str_from(json), false, NOW, &out, why), CLAIMS_GOOD);
    assert_int_equal(strlen(out.account), CLAIMS_ACCOUNT_MAX - 1);
    snprintf(json, sizeof json, "{" EXP "\"email\":\"%.*s\"}", CLAIMS_ACCOUNT_MAX, name);
    assert_int_equal(claims_check(&any, vr_str_from(json), false, NOW, &out, why), CLAIMS_BAD);
    assert_int_equal(claims_check(&any, VR_STR("{" EXP "\"email\":\"a@b\"}"), false, NOW, &out, why),
                     CLAIMS_GOOD);
    assert_int_equal(out.expires_s, 1800003600);
    assert_int_equal(claims_check(&any, VR_STR("{\"active\":true,\"email\":\"a@b\"}"), true, NOW, &out, why),
                     CLAIMS_GOOD);
    assert_true(out.expires_s == INT64_MAX);
}

/* ---- signatures -------------------------------------------------------------------------------------------------- */

static struct vr_buf token, payload;
static EVP_PKEY *rsa, *other_rsa, *p256, *p384;
static struct token_keys *keys;

static void put_base64url(struct vr_buf *out, struct vr_str s)
{
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    assert_true(vr_base64_encode(&b, s));
    for (size_t i = 0; i < vr_buf_size(&b); i++) {
        char c = vr_buf_str(&b).p[i];
        if (c != '=')
            vr_buf_add_byte(out, c == '+' ? '-' : c == '/' ? '_' : c);
    }
    vr_buf_fini(&b);
}

/* ECDSA's DER → r and s, each of n bytes (RFC 7518 §3.4). */
static size_t raw_signature(unsigned char *signature, size_t n, size_t half)
{
    const unsigned char *at = signature;
    ECDSA_SIG *s = d2i_ECDSA_SIG(NULL, &at, (long)n);
    assert_non_null(s);
    unsigned char raw[132];
    BN_bn2binpad(ECDSA_SIG_get0_r(s), raw, (int)half);
    BN_bn2binpad(ECDSA_SIG_get0_s(s), raw + half, (int)half);
    memcpy(signature, raw, 2 * half);
    ECDSA_SIG_free(s);
    return 2 * half;
}

static void sign(EVP_PKEY *key, const EVP_MD *digest)
{
    unsigned char signature[1024];
    size_t n = sizeof signature;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    struct vr_str text = vr_buf_str(&token);
    assert_int_equal(EVP_DigestSignInit(c, NULL, digest, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(c, signature, &n, (const unsigned char *)text.p, text.n), 1);
    EVP_MD_CTX_free(c);
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC)
        n = raw_signature(signature, n, (size_t)(EVP_PKEY_get_bits(key) + 7) / 8);
    vr_buf_add_byte(&token, '.');
    put_base64url(&token, vr_str((const char *)signature, n));
}

static void sign_secret(struct vr_str secret)
{
    unsigned char mac[32];
    unsigned n = sizeof mac;
    struct vr_str text = vr_buf_str(&token);
    HMAC(EVP_sha256(), secret.p, (int)secret.n, (const unsigned char *)text.p, text.n, mac, &n);
    vr_buf_add_byte(&token, '.');
    put_base64url(&token, vr_str((const char *)mac, n));
}

static void begin(const char *header, const char *said)
{
    vr_buf_reset(&token);
    put_base64url(&token, vr_str_from(header));
    vr_buf_add_byte(&token, '.');
    put_base64url(&token, vr_str_from(said));
}

static void expect(enum token_signature wanted, const char *what)
{
    char why[256];
    vr_buf_reset(&payload);
    enum token_signature v = token_verify(keys, vr_buf_str(&token), &payload, why);
    if (v != wanted || (v != SIGNATURE_GOOD && strstr(why, what) == NULL))
        fail_msg("%.*s: %d, \"%s\"", VR_STR_ARG(vr_buf_str(&token)), v, why);
    if (v == SIGNATURE_GOOD)
        assert_true(vr_str_equal(vr_buf_str(&payload), vr_str_from(what)));
}

static struct vr_str public_text(EVP_PKEY *key, struct vr_buf *out)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *p;
    assert_int_equal(PEM_write_bio_PUBKEY(b, key), 1);
    long n = BIO_get_mem_data(b, &p);
    vr_buf_add(out, vr_str(p, (size_t)n));
    BIO_free(b);
    return vr_buf_str(out);
}

static void add_key(EVP_PKEY *key)
{
    struct vr_buf b;
    char error[256];
    vr_buf_init(&b, 65536);
    assert_true(token_keys_add_pem(keys, public_text(key, &b), error));
    vr_buf_fini(&b);
}

static int keys_make(void **state)
{
    (void)state;
    rsa = EVP_RSA_gen(2048);
    other_rsa = EVP_RSA_gen(2048);
    p256 = EVP_EC_gen("P-256");
    p384 = EVP_EC_gen("P-384");
    return rsa && other_rsa && p256 && p384 ? 0 : -1;
}

static int keys_end(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(other_rsa);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    keys = token_keys_new();
    vr_buf_init(&token, 65536);
    vr_buf_init(&payload, 65536);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    token_keys_free(keys);
    vr_buf_fini(&token);
    vr_buf_fini(&payload);
    return 0;
}

#define SAID "{\"sub\":\"ann\"}"

static void signed_by_a_key_of_ours(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        EVP_PKEY **key;
        const EVP_MD *(*digest)(void);
    } rows[] = {{"{\"alg\":\"RS256\",\"typ\":\"JWT\"}", &rsa, EVP_sha256},
                {"{\"alg\":\"RS384\"}", &rsa, EVP_sha384},
                {"{\"alg\":\"RS512\"}", &rsa, EVP_sha512},
                {"{\"alg\":\"ES256\"}", &p256, EVP_sha256},
                {"{\"alg\":\"ES384\"}", &p384, EVP_sha384},
                {"{\"typ\":\"jwt\",\"alg\":\"RS256\"}", &rsa, EVP_sha256}};
    add_key(other_rsa);
    add_key(rsa);
    add_key(p256);
    add_key(p384);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(rows[i].header, SAID);
        sign(*rows[i].key, rows[i].digest());
        expect(SIGNATURE_GOOD, SAID);
    }
    char error[256];
    assert_true(token_keys_add_secret(keys, VR_STR("0123456789abcdef0123456789abcdef"), error));
    begin("{\"alg\":\"HS256\"}", SAID);
    sign_secret(VR_STR("0123456789abcdef0123456789abcdef"));
    expect(SIGNATURE_GOOD, SAID);
}

static void signed_by_nobody(void **state)
{
    (void)state;
    static const char *const nones[] = {"{\"alg\":\"none\"}", "{\"alg\":\"None\"}", "{\"alg\":\"NONE\"}",
                                        "{\"alg\":\"\"}"};
    add_key(rsa);
    for (size_t i = 0; i < 4; i++) {
        begin(nones[i], SAID);
        vr_buf_add_byte(&token, '.');
        expect(SIGNATURE_NONE, "no signed token");
        vr_buf_add(&token, VR_STR("AAAA"));
        expect(SIGNATURE_FORBIDDEN, "not taken");
    }
    begin("{\"alg\":\"RS256\"}", SAID); /* two parts */
    expect(SIGNATURE_NONE, "no signed token");
    sign(other_rsa, EVP_sha256());
    expect(SIGNATURE_WRONG, "none of the keys");
    begin("{\"alg\":\"RS256\"}", SAID);
    sign(rsa, EVP_sha512()); /* not what its header says */
    expect(SIGNATURE_WRONG, "none of the keys");
    begin("{\"alg\":\"ES256\"}", SAID);
    sign(p256, EVP_sha256());
    expect(SIGNATURE_FORBIDDEN, "no key");
}

/* RFC 8725 §2.1: who has the public key signs with it as if it were a secret. */
static void a_public_key_is_no_secret(void **state)
{
    (void)state;
    struct vr_buf pem;
    vr_buf_init(&pem, 65536);
    add_key(rsa);
    public_text(rsa, &pem);
    begin("{\"alg\":\"HS256\"}", SAID);
    sign_secret(vr_buf_str(&pem));
    expect(SIGNATURE_FORBIDDEN, "no key");
    vr_buf_fini(&pem);
}

static void what_is_changed_shows(void **state)
{
    (void)state;
    add_key(rsa);
    begin("{\"alg\":\"RS256\"}", SAID);
    sign(rsa, EVP_sha256());
    size_t n = vr_buf_size(&token);
    for (size_t i = 0; i < n; i++) {
        char *at = (char *)(uintptr_t)vr_buf_str(&token).p + i, before = *at;
        if (before == '.' || i + 1 == n)
            continue; /* the last character holds bits that count for nothing: strict decoding is libjwt's matter */
        *at = before == 'A' ? 'B' : 'A';
        char why[256];
        vr_buf_reset(&payload);
        if (token_verify(keys, vr_buf_str(&token), &payload, why) == SIGNATURE_GOOD)
            fail_msg("byte %zu can be changed", i);
        *at = before;
    }
    expect(SIGNATURE_GOOD, SAID);
    vr_buf_add(&token, VR_STR(".AAAA"));
    expect(SIGNATURE_NONE, "no signed token");
}

static void headers_that_demand_or_lie(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        enum token_signature v;
        const char *why;
    } rows[] = {{"{\"alg\":\"RS256\",\"crit\":[\"exp\"]}", SIGNATURE_FORBIDDEN, "crit"},
                {"{\"alg\":\"RS256\",\"alg\":\"none\"}", SIGNATURE_NONE, "no signed token"},
                {"{\"alg\":\"RS256\",\"typ\":\"at+jwt\"}", SIGNATURE_FORBIDDEN, "`typ`"},
                {"{\"alg\":\"RS256\",\"typ\":7}", SIGNATURE_FORBIDDEN, "`typ`"},
                {"{\"alg\":5}", SIGNATURE_NONE, "no signed token"},
                {"{\"typ\":\"JWT\"}", SIGNATURE_NONE, "no signed token"},
                {"[]", SIGNATURE_NONE, "no signed token"},
                {"", SIGNATURE_NONE, "no signed token"},
                {"{\"alg\":\"PS256\"}", SIGNATURE_FORBIDDEN, "\"PS256\""},
                {"{\"alg\":\"EdDSA\"}", SIGNATURE_FORBIDDEN, "not taken"}};
    add_key(rsa);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin(rows[i].header, SAID);
        sign(rsa, EVP_sha256());
        expect(rows[i].v, rows[i].why);
    }
    static const char *const texts[] = {"",        ".",     "..",          "...",          "a.b.c",
                                        "a b.c.d", "=.=.=", "e30.e30.e30", "e30=.e30.AAAA"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        vr_buf_reset(&token);
        vr_buf_add(&token, vr_str_from(texts[i]));
        expect(SIGNATURE_NONE, "no signed token");
    }
    vr_buf_reset(&token);
    for (size_t i = 0; i < TOKEN_MAX + 1; i++)
        vr_buf_add_byte(&token, i % 9 ? 'A' : '.');
    expect(SIGNATURE_NONE, "no signed token");
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static void keys_that_are_taken(void **state)
{
    (void)state;
    struct vr_buf pem;
    char error[256];
    vr_buf_init(&pem, 65536);
    public_text(rsa, &pem); /* two in a file, with words between */
    vr_buf_add(&pem, VR_STR("the next one\n"));
    public_text(p256, &pem);
    assert_true(token_keys_add_pem(keys, vr_buf_str(&pem), error));
    assert_int_equal(token_keys_count(keys), 2);
    /* of a certificate */
    X509 *x = X509_new();
    X509_set_pubkey(x, p384);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    assert_true(X509_sign(x, p384, EVP_sha384()) > 0);
    BIO *b = BIO_new(BIO_s_mem());
    char *p;
    PEM_write_bio_X509(b, x);
    long n = BIO_get_mem_data(b, &p);
    assert_true(token_keys_add_pem(keys, vr_str(p, (size_t)n), error));
    BIO_free(b);
    X509_free(x);
    assert_int_equal(token_keys_count(keys), 3);
    begin("{\"alg\":\"ES384\"}", SAID);
    sign(p384, EVP_sha384());
    expect(SIGNATURE_GOOD, SAID);
    vr_buf_fini(&pem);
}

static void keys_that_are_refused(void **state)
{
    (void)state;
    char error[256];
    EVP_PKEY *small = EVP_RSA_gen(1024), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    struct vr_buf pem;
    vr_buf_init(&pem, 65536);
    assert_false(token_keys_add_pem(keys, public_text(small, &pem), error));
    assert_non_null(strstr(error, "1024 bits; expected 2048"));
    vr_buf_reset(&pem);
    assert_false(token_keys_add_pem(keys, public_text(ed, &pem), error));
    assert_non_null(strstr(error, "signs no tokens"));
    assert_false(token_keys_add_pem(keys, VR_STR("no key"), error));
    assert_non_null(strstr(error, "no public key"));
    assert_false(token_keys_add_pem(keys, (struct vr_str){NULL, 0}, error));
    BIO *b = BIO_new(BIO_s_mem()); /* a private key has no business here */
    char *p;
    PEM_write_bio_PrivateKey(b, rsa, NULL, NULL, 0, NULL, NULL);
    long n = BIO_get_mem_data(b, &p);
    assert_false(token_keys_add_pem(keys, vr_str(p, (size_t)n), error));
    assert_non_null(strstr(error, "PRIVATE KEY"));
    BIO_free(b);
    assert_false(token_keys_add_pem(
        keys, VR_STR("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), error));
    assert_non_null(strstr(error, "cannot be read"));
    assert_false(token_keys_add_secret(keys, VR_STR("0123456789abcdef0123456789abcde"), error));
    assert_non_null(strstr(error, "31 bytes; expected 32"));
    assert_int_equal(token_keys_count(keys), 0);
    EVP_PKEY_free(small);
    EVP_PKEY_free(ed);
    vr_buf_fini(&pem);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_tokens_say), cmocka_unit_test(long_names_and_times),
        EACH(signed_by_a_key_of_ours),     EACH(signed_by_nobody),
        EACH(a_public_key_is_no_secret),   EACH(what_is_changed_shows),
        EACH(headers_that_demand_or_lie),  EACH(keys_that_are_taken),
        EACH(keys_that_are_refused),
    };
    return cmocka_run_group_tests(tests, keys_make, keys_end);
}
