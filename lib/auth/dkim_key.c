/* dkim_key.c - private keys: reading them, signing a digest with them, the record that publishes them. See dkim.h.
 *
 * Source: RFC 6376 §3.3, §3.6.1; RFC 8301 §3; RFC 8463 §3, §4.
 * Tests:  tests/unit/dkim_sign.c
 */
#include "inside.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <stdlib.h>

#define TEXT_MAX       65536
#define ED25519_OCTETS 32
#define SIGNATURE_MAX  (DKIM_RSA_BITS_MAX / 8)
#define PUBLIC_KEY_MAX (DKIM_RSA_BITS_MAX / 8 + 128)

struct dkim_key {
    EVP_PKEY *pkey;
    enum dkim_algorithm algorithm;
    unsigned bits;
};

/* Nobody is there to be asked for a passphrase; OpenSSL would ask the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer, (void)size, (void)writing, (void)arg;
    return 0;
}

static EVP_PKEY *read_pem(struct vr_str text)
{
    BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    return key;
}

static EVP_PKEY *read_ed25519(struct vr_str octets)
{
    return octets.n == ED25519_OCTETS ? EVP_PKEY_new_raw_private_key(
                                            EVP_PKEY_ED25519, NULL, (const unsigned char *)octets.p, octets.n)
                                      : NULL;
}

static EVP_PKEY *read_any(struct vr_str text)
{
    EVP_PKEY *key = read_ed25519(text);
    const unsigned char *der = (const unsigned char *)text.p;
    struct vr_buf octets;
    if (key == NULL && vr_str_find_str(text, VR_STR("-----BEGIN")) != VR_NPOS)
        key = read_pem(text);
    if (key == NULL)
        key = d2i_AutoPrivateKey(NULL, &der, (long)text.n);
    vr_buf_init(&octets, ED25519_OCTETS);
    if (key == NULL && taglist_base64(&octets, text))
        key = read_ed25519(vr_buf_str(&octets));
    vr_buf_fini(&octets);
    return key;
}

static const char *unusable(const struct dkim_key *k)
{
    if (k->algorithm == DKIM_ALGORITHM_UNKNOWN)
        return "the key is neither RSA nor Ed25519, which are what DKIM signs with";
    if (k->algorithm == DKIM_RSA_SHA256 && k->bits < DKIM_RSA_BITS_MIN)
        return "the RSA key has fewer than 1024 bits, and no receiver may accept its signatures (RFC 8301); "
               "make one of 2048";
    if (k->algorithm == DKIM_RSA_SHA256 && k->bits > DKIM_RSA_BITS_MAX)
        return "the RSA key has more than 8192 bits, more than receivers check; make one of 2048";
    return NULL;
}

enum vr_err dkim_key_load(struct vr_str text, struct dkim_key **out, const char **why)
{
    *out = NULL;
    *why = "this is no private key: neither PEM nor DER without a passphrase, nor an Ed25519 secret of 32 "
           "octets";
    if (text.n == 0 || text.n > TEXT_MAX)
        return VR_ERR_SYNTAX;
    ERR_set_mark();
    EVP_PKEY *pkey = read_any(text);
    ERR_pop_to_mark();
    if (pkey == NULL)
        return VR_ERR_SYNTAX;
    struct dkim_key *k = calloc(1, sizeof *k);
    if (k == NULL) {
        EVP_PKEY_free(pkey);
        *why = "memory is out";
        return VR_ERR_TOO_BIG;
    }
    int id = EVP_PKEY_base_id(pkey);
    k->pkey = pkey;
    k->bits = (unsigned)EVP_PKEY_bits(pkey);
    k->algorithm = id == EVP_PKEY_RSA       ? DKIM_RSA_SHA256
                   : id == EVP_PKEY_ED25519 ? DKIM_ED25519_SHA256
                                            : DKIM_ALGORITHM_UNKNOWN;
    *why = unusable(k);
    if (*why != NULL) {
        dkim_key_free(k);
        return VR_ERR_UNSUPPORTED;
    }
    *out = k;
    return VR_OK;
}

void dkim_key_free(struct dkim_key *k)
{
    if (k == NULL)
        return;
    EVP_PKEY_free(k->pkey); /* which wipes it */
    free(k);
}

enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *k)
{
    return k->algorithm;
}

unsigned dkim_key_bits(const struct dkim_key *k)
{
    return k->algorithm == DKIM_ED25519_SHA256 ? 256 : k->bits;
}

static bool rsa_sign(const struct dkim_key *k, const uint8_t *digest, unsigned char *out, size_t *n)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(k->pkey, NULL);
    bool good = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
                EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
                EVP_PKEY_sign(ctx, out, n, digest, DKIM_DIGEST) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

static bool ed25519_sign(const struct dkim_key *k, const uint8_t *digest, unsigned char *out, size_t *n)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
                EVP_DigestSign(ctx, out, n, digest, DKIM_DIGEST) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

enum vr_err dkim_key_sign(const struct dkim_key *k, const uint8_t digest[DKIM_DIGEST], struct vr_arena *arena,
                          struct vr_str *signature)
{
    unsigned char out[SIGNATURE_MAX];
    size_t n = sizeof out;
    ERR_set_mark();
    bool good =
        k->algorithm == DKIM_ED25519_SHA256 ? ed25519_sign(k, digest, out, &n) : rsa_sign(k, digest, out, &n);
    ERR_pop_to_mark();
    *signature = good ? vr_arena_dup(arena, vr_str((const char *)out, n)) : vr_str(NULL, 0);
    return signature->n > 0 ? VR_OK : VR_ERR_TOO_BIG;
}

bool dkim_key_record(const struct dkim_key *k, struct vr_buf *out)
{
    unsigned char raw[PUBLIC_KEY_MAX], *to = raw;
    size_t n = sizeof raw;
    if (k->algorithm == DKIM_ED25519_SHA256) {
        if (EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) != 1)
            return false;
    } else {
        int size = i2d_PUBKEY(k->pkey, NULL);
        if (size <= 0 || (size_t)size > sizeof raw)
            return false;
        n = (size_t)i2d_PUBKEY(k->pkey, &to);
    }
    return vr_buf_addf(out, "v=DKIM1; k=%s; p=", k->algorithm == DKIM_ED25519_SHA256 ? "ed25519" : "rsa") &&
           vr_base64_encode(out, vr_str((const char *)raw, n));
}

bool dkim_key_pem(const struct dkim_key *k, struct vr_buf *out)
{
    char *text = NULL;
    BIO *bio = BIO_new(BIO_s_secmem());
    bool good =
        bio != NULL && PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, no_passphrase, NULL) == 1;
    long n = good ? BIO_get_mem_data(bio, &text) : 0;
    good = n > 0 && vr_buf_add(out, vr_str(text, (size_t)n));
    BIO_free(bio); /* which wipes it */
    return good;
}
