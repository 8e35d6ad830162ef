/* token_keys.c - see token_keys.h. libjwt verifies the signature; which key may verify which algorithm is decided here, before it, because jwt_decode() follows the
 * token's own header.
 *
 * Sources:    RFC 7515 §3.1, §4.1.11 (crit), §7.1; RFC 7518 §3.1; RFC 8725.
 * Tests:      tests/unit/tokens.c, tests/fuzz/fuzz_tokens.c
 */
#include "keeper/token_keys.h"

#include <assert.h>
#include <jansson.h>
#include <jwt.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PEM_MAX 16384

enum key_kind { KEY_RSA, KEY_P256, KEY_P384, KEY_P521, KEY_SECRET };

static const struct {
    const char *name;
    jwt_alg_t alg;
    enum key_kind kind;
} algorithms[] = {
    {"RS256", JWT_ALG_RS256, KEY_RSA},    {"RS384", JWT_ALG_RS384, KEY_RSA},
    {"RS512", JWT_ALG_RS512, KEY_RSA},    {"ES256", JWT_ALG_ES256, KEY_P256},
    {"ES384", JWT_ALG_ES384, KEY_P384},   {"ES512", JWT_ALG_ES512, KEY_P521},
    {"HS256", JWT_ALG_HS256, KEY_SECRET}, {"HS384", JWT_ALG_HS384, KEY_SECRET},
    {"HS512", JWT_ALG_HS512, KEY_SECRET},
};
#define ALGORITHMS (sizeof algorithms / sizeof algorithms[0])

struct token_keys {
    struct token_key {
        enum key_kind kind;
        unsigned char *bytes; /* a PEM text, or a secret */
        int n;
    } items[TOKEN_KEYS_MAX];
    size_t count;
};

/* ---- keys ------------------------------------------------------------------------------------------------------ */

struct token_keys *token_keys_new(void)
{
    struct token_keys *k = calloc(1, sizeof *k);
    assert(k != NULL);
    return k;
}

void token_keys_free(struct token_keys *k)
{
    for (size_t i = 0; k != NULL && i < k->count; i++) {
        explicit_bzero(k->items[i].bytes, (size_t)k->items[i].n);
        free(k->items[i].bytes);
    }
    free(k);
}

size_t token_keys_count(const struct token_keys *k)
{
    return k->count;
}

static bool key_add(struct token_keys *k, enum key_kind kind, const void *p, size_t n, char error[256])
{
    if (k->count == TOKEN_KEYS_MAX) {
        snprintf(error, 256, "more than %d keys", TOKEN_KEYS_MAX);
        return false;
    }
    unsigned char *bytes = malloc(n + 1);
    assert(bytes != NULL);
    memcpy(bytes, p, n);
    bytes[n] = '\0';
    k->items[k->count++] = (struct token_key){kind, bytes, (int)n};
    return true;
}

bool token_keys_add_secret(struct token_keys *k, struct vr_str secret, char error[256])
{
    if (secret.n < TOKEN_SECRET_MIN || secret.n > PEM_MAX) { /* RFC 7518 §3.2 */
        snprintf(error, 256, "the secret has %zu bytes; expected %d or more", secret.n, TOKEN_SECRET_MIN);
        return false;
    }
    return key_add(k, KEY_SECRET, secret.p, secret.n, error);
}

/* False: none of those that sign tokens; error says why. */
static bool kind_of(EVP_PKEY *key, enum key_kind *kind, char error[256])
{
    static const struct {
        const char *curve;
        enum key_kind kind;
    } curves[] = {{"prime256v1", KEY_P256}, {"secp384r1", KEY_P384}, {"secp521r1", KEY_P521}};
    char curve[64] = "";
    int id = EVP_PKEY_get_base_id(key);
    if (id == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) < TOKEN_RSA_MIN) {
        snprintf(error, 256, "an RSA key of %d bits; expected %d or more", EVP_PKEY_get_bits(key),
                 TOKEN_RSA_MIN);
        return false;
    }
    if (id == EVP_PKEY_RSA) {
        *kind = KEY_RSA;
        return true;
    }
    if (id == EVP_PKEY_EC && EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL) == 1)
        for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
            if (strcmp(curve, curves[i].curve) == 0) {
                *kind = curves[i].kind;
                return true;
            }
    snprintf(error, 256,
             "a key of a kind that signs no tokens; expected RSA, or EC on P-256, P-384 or P-521");
    return false;
}

static bool add_pkey(struct token_keys *k, EVP_PKEY *key, char error[256])
{
    enum key_kind kind;
    BIO *text = BIO_new(BIO_s_mem());
    char *p = NULL;
    bool good = kind_of(key, &kind, error) && text != NULL && PEM_write_bio_PUBKEY(text, key) == 1;
    if (good) {
        long n = BIO_get_mem_data(text, &p);
        good = key_add(k, kind, p, (size_t)n, error);
    }
    BIO_free(text);
    return good;
}

/* One block of PEM; NULL with why. */
static EVP_PKEY *read_block(const char *name, const unsigned char *der, long n, char error[256])
{
    const unsigned char *at = der;
    EVP_PKEY *key = NULL;
    if (strcmp(name, PEM_STRING_PUBLIC) == 0) {
        key = d2i_PUBKEY(NULL, &at, n);
    } else if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0) {
        key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, n);
    } else if (strcmp(name, PEM_STRING_X509) == 0) {
        X509 *x = d2i_X509(NULL, &at, n);
        key = x != NULL ? X509_get_pubkey(x) : NULL;
        X509_free(x);
    } else {
        snprintf(error, 256, "a block \"%.60s\"; expected public keys or certificates only", name);
        return NULL;
    }
    if (key == NULL)
        snprintf(error, 256, "a block \"%.60s\" that cannot be read", name);
    return key;
}

bool token_keys_add_pem(struct token_keys *k, struct vr_str pem, char error[256])
{
    size_t before = k->count;
    BIO *in = BIO_new_mem_buf(pem.p, (int)(pem.n <= INT32_MAX ? pem.n : 0));
    bool good = in != NULL;
    char *name, *header;
    unsigned char *der;
    long n;
    while (good && PEM_read_bio(in, &name, &header, &der, &n) == 1) {
        EVP_PKEY *key = read_block(name, der, n, error);
        good = key != NULL && add_pkey(k, key, error);
        EVP_PKEY_free(key);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    BIO_free(in);
    if (good && k->count == before) {
        snprintf(error, 256, "no public key; expected -----BEGIN PUBLIC KEY-----");
        good = false;
    }
    return good;
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

/* RFC 7515 §2: base64url without padding. */
static bool base64url(struct vr_buf *out, struct vr_str in)
{
    struct vr_buf text;
    vr_buf_init(&text, TOKEN_MAX + 4);
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '+' || c == '/' || c == '=')
            c = '!'; /* not of this alphabet */
        vr_buf_add_byte(&text, c == '-' ? '+' : c == '_' ? '/' : c);
    }
    for (size_t i = in.n; i % 4 != 0; i++)
        vr_buf_add_byte(&text, '=');
    bool good = !text.too_big && vr_base64_decode(out, vr_buf_str(&text)) == VR_OK;
    vr_buf_fini(&text);
    return good;
}

/* libjwt verifies no other, "at+jwt" of RFC 9068 among them: said here, or it would look like a wrong signature. */
static bool typ_is_jwt(const json_t *typ)
{
    return typ == NULL || (json_is_string(typ) && strcasecmp(json_string_value(typ), "JWT") == 0);
}

/* The algorithm that the header names; ALGORITHMS: none that is taken. */
static enum token_signature read_header(struct vr_str part, size_t *algorithm, char why[256])
{
    struct vr_buf text;
    vr_buf_init(&text, TOKEN_MAX);
    json_error_t error;
    json_t *header = NULL;
    if (base64url(&text, part))
        header = json_loadb(vr_buf_size(&text) > 0 ? vr_buf_str(&text).p : "", vr_buf_size(&text),
                            JSON_REJECT_DUPLICATES, &error);
    vr_buf_fini(&text);
    const char *alg = json_string_value(json_object_get(header, "alg"));
    enum token_signature v = SIGNATURE_GOOD;
    if (alg == NULL) {
        snprintf(why, 256, "this is no signed token");
        v = SIGNATURE_NONE;
    } else {
        for (*algorithm = 0; *algorithm < ALGORITHMS; ++*algorithm)
            if (strcmp(alg, algorithms[*algorithm].name) == 0)
                break;
        if (*algorithm == ALGORITHMS) {
            snprintf(why, 256, "the token is signed by \"%.20s\", which is not taken", alg);
            v = SIGNATURE_FORBIDDEN;
        } else if (!typ_is_jwt(json_object_get(header, "typ"))) {
            snprintf(why, 256,
                     "the token is of a `typ` that libjwt does not verify; expected \"JWT\" or none");
            v = SIGNATURE_FORBIDDEN;
        } else if (json_object_get(header, "crit") != NULL) {
            snprintf(why, 256, "the token demands what is not known here (`crit`)");
            v = SIGNATURE_FORBIDDEN;
        }
    }
    json_decref(header);
    return v;
}

static bool verified(const struct token_key *key, const char *token, jwt_alg_t alg)
{
    jwt_t *jwt = NULL;
    bool good = jwt_decode(&jwt, token, key->bytes, key->n) == 0 && jwt_get_alg(jwt) == alg;
    jwt_free(jwt);
    return good;
}

static enum token_signature check_keys(const struct token_keys *k, struct vr_str token, size_t algorithm,
                                       char why[256])
{
    bool fits = false, good = false;
    char *text = malloc(token.n + 1);
    assert(text != NULL);
    memcpy(text, token.p, token.n);
    text[token.n] = '\0';
    for (size_t i = 0; !good && i < k->count; i++)
        if (k->items[i].kind == algorithms[algorithm].kind) {
            fits = true;
            good = verified(&k->items[i], text, algorithms[algorithm].alg);
        }
    explicit_bzero(text, token.n);
    free(text);
    if (!fits)
        snprintf(why, 256, "the token is signed by %s, for which there is no key",
                 algorithms[algorithm].name);
    else if (!good)
        snprintf(why, 256, "the token's signature is of none of the keys");
    return !fits ? SIGNATURE_FORBIDDEN : good ? SIGNATURE_GOOD : SIGNATURE_WRONG;
}

enum token_signature token_verify(const struct token_keys *k, struct vr_str token, struct vr_buf *claims,
                                  char why[256])
{
    struct vr_str rest = token, parts[3] = {{0}};
    size_t n = 0, algorithm;
    why[0] = '\0';
    if (token.n > 0 && token.n <= TOKEN_MAX && memchr(token.p, '\0', token.n) == NULL)
        while (n < 3 && vr_str_split(&rest, '.', &parts[n]))
            n++;
    if (n != 3 || rest.n > 0 || parts[2].n == 0) { /* an empty signature is nobody's */
        snprintf(why, 256, "this is no signed token");
        return SIGNATURE_NONE;
    }
    enum token_signature v = read_header(parts[0], &algorithm, why);
    if (v == SIGNATURE_GOOD)
        v = check_keys(k, token, algorithm, why);
    if (v == SIGNATURE_GOOD && !base64url(claims, parts[1])) {
        snprintf(why, 256, "what the token says cannot be read");
        v = SIGNATURE_FORBIDDEN;
    }
    return v;
}
