/* scram.c - the arithmetic and the grammar that both sides of SCRAM-SHA-256 share (RFC 5802 §2.2, §3, §7; RFC 7677).
 *
 * Tests: tests/unit/sasl.c (RFC 7677 §3)
 */
#include "inside.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

bool scram_hash(const void *data, size_t n, uint8_t out[SASL_HASH])
{
    return EVP_Digest(data, n, out, NULL, EVP_sha256(), NULL) == 1;
}

bool scram_hmac(const uint8_t key[SASL_HASH], struct vr_str text, uint8_t out[SASL_HASH])
{
    unsigned n = SASL_HASH;
    return HMAC(EVP_sha256(), key, SASL_HASH, (const unsigned char *)text.p, text.n, out, &n) != NULL;
}

bool scram_salted(struct vr_str password, struct vr_str salt, uint32_t iterations, uint8_t out[SASL_HASH])
{
    return PKCS5_PBKDF2_HMAC(password.p, (int)password.n, (const unsigned char *)salt.p, (int)salt.n,
                             (int)iterations, EVP_sha256(), SASL_HASH, out) == 1;
}

bool scram_keys(const uint8_t salted[SASL_HASH], uint8_t client_key[SASL_HASH], uint8_t stored[SASL_HASH],
                uint8_t server[SASL_HASH])
{
    return scram_hmac(salted, VR_STR("Client Key"), client_key) &&
           scram_hash(client_key, SASL_HASH, stored) && scram_hmac(salted, VR_STR("Server Key"), server);
}

bool scram_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void scram_wipe(void *p, size_t n)
{
    if (p != NULL)
        OPENSSL_cleanse(p, n);
}

bool scram_attribute(struct vr_str *rest, char name, struct vr_str *value)
{
    if (rest->n < 2 || rest->p[0] != name || rest->p[1] != '=')
        return false;
    struct vr_str part;
    vr_str_split(rest, ',', &part);
    *value = vr_str_from_pos(part, 2);
    return true;
}

/* printable = %x21-2B / %x2D-7E */
bool scram_nonce_valid(struct vr_str nonce)
{
    for (size_t i = 0; i < nonce.n; i++)
        if (nonce.p[i] < 0x21 || nonce.p[i] > 0x7e || nonce.p[i] == ',')
            return false;
    return nonce.n > 0 && nonce.n <= 512;
}

bool sasl_text_valid(struct vr_str s, size_t max)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return s.n > 0 && s.n <= max && vr_utf8_valid(s);
}

void scram_texts_init(struct scram_texts *t)
{
    vr_buf_init(&t->first_bare, SCRAM_MESSAGE_MAX);
    vr_buf_init(&t->server_first, SCRAM_MESSAGE_MAX);
    vr_buf_init(&t->auth_message, 3 * SCRAM_MESSAGE_MAX + 2);
    vr_buf_init(&t->out, SCRAM_MESSAGE_MAX);
}

void scram_texts_fini(struct scram_texts *t)
{
    vr_buf_fini(&t->first_bare);
    vr_buf_fini(&t->server_first);
    vr_buf_fini(&t->auth_message);
    vr_buf_fini(&t->out);
}

bool scram_auth_message(struct scram_texts *t, struct vr_str final_without_proof)
{
    vr_buf_reset(&t->auth_message);
    vr_buf_add(&t->auth_message, vr_buf_str(&t->first_bare));
    vr_buf_add_byte(&t->auth_message, ',');
    vr_buf_add(&t->auth_message, vr_buf_str(&t->server_first));
    vr_buf_add_byte(&t->auth_message, ',');
    vr_buf_add(&t->auth_message, final_without_proof);
    return !t->auth_message.too_big;
}

enum vr_err sasl_scram_derive(struct vr_str password, const uint8_t salt[16], uint32_t iterations,
                              struct sasl_scram_keys *out)
{
    uint8_t salted[SASL_HASH], client_key[SASL_HASH];
    if (!sasl_text_valid(password, SASL_PASSWORD_MAX) || iterations < 4096)
        return VR_ERR_SYNTAX;
    for (size_t i = 0; i < sizeof out->salt; i++)
        out->salt[i] = salt[i];
    out->iterations = iterations;
    bool good = scram_salted(password, vr_str((const char *)salt, 16), iterations, salted) &&
                scram_keys(salted, client_key, out->stored_key, out->server_key);
    scram_wipe(salted, sizeof salted);
    scram_wipe(client_key, sizeof client_key);
    return good ? VR_OK : VR_ERR_UNSUPPORTED;
}
