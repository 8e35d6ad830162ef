/* scram.c - the arithmetic and the grammar that both sides of SCRAM share (RFC 5802 §2.2, §3, §5.1, §7; RFC 7677).
 *
 * Tests: tests/unit/sasl.c (RFC 7677 §3), tests/unit/sasl_mechanisms.c (RFC 5802 §5)
 */
#include "inside.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string.h>

static const EVP_MD *digest(enum sasl_hash h)
{
    return h == SASL_SHA1 ? EVP_sha1() : EVP_sha256();
}

size_t sasl_hash_size(enum sasl_hash h)
{
    return h == SASL_SHA1 ? 20 : 32;
}

bool scram_hash(enum sasl_hash h, const void *data, size_t n, uint8_t out[SASL_HASH_MAX])
{
    return EVP_Digest(data, n, out, NULL, digest(h), NULL) == 1;
}

bool scram_hmac(enum sasl_hash h, const uint8_t *key, struct vr_str text, uint8_t out[SASL_HASH_MAX])
{
    unsigned n = SASL_HASH_MAX;
    return HMAC(digest(h), key, (int)sasl_hash_size(h), (const unsigned char *)text.p, text.n, out, &n) !=
           NULL;
}

bool scram_salted(enum sasl_hash h, struct vr_str password, struct vr_str salt, uint32_t iterations,
                  uint8_t out[SASL_HASH_MAX])
{
    return PKCS5_PBKDF2_HMAC(password.p, (int)password.n, (const unsigned char *)salt.p, (int)salt.n,
                             (int)iterations, digest(h), (int)sasl_hash_size(h), out) == 1;
}

bool scram_keys(enum sasl_hash h, const uint8_t *salted, uint8_t client_key[SASL_HASH_MAX],
                uint8_t stored[SASL_HASH_MAX], uint8_t server[SASL_HASH_MAX])
{
    return scram_hmac(h, salted, VR_STR("Client Key"), client_key) &&
           scram_hash(h, client_key, sasl_hash_size(h), stored) &&
           scram_hmac(h, salted, VR_STR("Server Key"), server);
}

bool sasl_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void sasl_wipe(void *p, size_t n)
{
    if (p != NULL)
        OPENSSL_cleanse(p, n);
}

void sasl_wipe_buf(struct vr_buf *b)
{
    sasl_wipe(b->p, b->capacity);
    vr_buf_reset(b);
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

void saslname_write(struct vr_buf *out, struct vr_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == ',' || name.p[i] == '=')
            vr_buf_add(out, name.p[i] == ',' ? VR_STR("=2C") : VR_STR("=3D"));
        else
            vr_buf_add_byte(out, name.p[i]);
    }
}

bool saslname_read(struct vr_str in, struct vr_buf *out)
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

bool sasl_text_valid(struct vr_str s, size_t max)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return s.n > 0 && s.n <= max && vr_utf8_valid(s);
}

void scram_texts_init(struct scram_texts *t)
{
    vr_buf_init(&t->gs2, SCRAM_MESSAGE_MAX);
    vr_buf_init(&t->first_bare, SCRAM_MESSAGE_MAX);
    vr_buf_init(&t->server_first, SCRAM_MESSAGE_MAX);
    vr_buf_init(&t->auth_message, 3 * SCRAM_MESSAGE_MAX + 2);
}

void scram_texts_fini(struct scram_texts *t)
{
    vr_buf_fini(&t->gs2);
    vr_buf_fini(&t->first_bare);
    vr_buf_fini(&t->server_first);
    vr_buf_fini(&t->auth_message);
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

static struct vr_str keep(char room[SASL_BINDING_MAX], struct vr_str data)
{
    if (data.n == 0 || data.n > SASL_BINDING_MAX)
        return vr_str(NULL, 0);
    memcpy(room, data.p, data.n);
    return vr_str(room, data.n);
}

void sasl_binding_keep(struct sasl_binding *out, struct binding_room *room, const struct sasl_binding *in)
{
    out->tls_exporter = keep(room->exporter, in->tls_exporter);
    out->tls_unique = keep(room->unique, in->tls_unique);
    out->tls_server_end_point = keep(room->end_point, in->tls_server_end_point);
}

bool sasl_binding_there(const struct sasl_binding *b)
{
    return b->tls_exporter.n > 0 || b->tls_unique.n > 0 || b->tls_server_end_point.n > 0;
}

bool scram_binding_data(const struct sasl_binding *b, struct vr_str type, struct vr_str *out)
{
    if (vr_str_equal(type, VR_STR("tls-exporter")))
        *out = b->tls_exporter;
    else if (vr_str_equal(type, VR_STR("tls-unique")))
        *out = b->tls_unique;
    else if (vr_str_equal(type, VR_STR("tls-server-end-point")))
        *out = b->tls_server_end_point;
    else
        return false;
    return true;
}

enum vr_err sasl_scram_derive(enum sasl_hash hash, struct vr_str password, const uint8_t salt[16],
                              uint32_t iterations, struct sasl_scram_keys *out)
{
    uint8_t salted[SASL_HASH_MAX], client_key[SASL_HASH_MAX];
    if (!sasl_text_valid(password, SASL_PASSWORD_MAX) || iterations < 4096)
        return VR_ERR_SYNTAX;
    *out = (struct sasl_scram_keys){.hash = hash, .salt_n = 16, .iterations = iterations};
    for (size_t i = 0; i < out->salt_n; i++)
        out->salt[i] = salt[i];
    bool good = scram_salted(hash, password, vr_str((const char *)salt, 16), iterations, salted) &&
                scram_keys(hash, salted, client_key, out->stored_key, out->server_key);
    sasl_wipe(salted, sizeof salted);
    sasl_wipe(client_key, sizeof client_key);
    return good ? VR_OK : VR_ERR_UNSUPPORTED;
}
