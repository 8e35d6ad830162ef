/* record.c - DKIM key records (RFC 6376 §3.6.1, RFC 8463 §4.2) and the public keys in them.
 *
 * RSA keys come as RSAPublicKey (what RFC 6376 says) or wrapped in a SubjectPublicKeyInfo (what everybody publishes). Their DER is read here: it is two
 * numbers, the sizes are known before any mathematics begins (RFC 6376 §8.13), and it is several times faster than OpenSSL's decoders.
 * Ed25519 keys are 32 octets.
 *
 * Tests: tests/unit/dkim_verify.c
 */
#include "inside.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#define KEY_OCTETS_MAX  (DKIM_RSA_BITS_MAX / 8 + 512)
#define EXPONENT_OCTETS 8

static enum dkim_algorithm key_type(struct vr_str k)
{
    if (vr_str_equal(k, VR_STR("rsa")))
        return DKIM_RSA_SHA256;
    return vr_str_equal(k, VR_STR("ed25519")) ? DKIM_ED25519_SHA256 : DKIM_ALGORITHM_UNKNOWN;
}

/* ---- DER --------------------------------------------------------------------------------------------------------- */

/* Takes an element with this tag off *in. Lengths are definite, as DER has them. */
static bool der_take(struct vr_str *in, unsigned char tag, struct vr_str *content)
{
    const unsigned char *p = (const unsigned char *)in->p;
    if (in->n < 2 || p[0] != tag)
        return false;
    size_t n = p[1], head = 2;
    if (n >= 0x80) {
        size_t octets = n & 0x7f;
        if (octets < 1 || octets > 2 || in->n < 2 + octets)
            return false;
        n = octets == 1 ? p[2] : (size_t)p[2] << 8 | p[3];
        head += octets;
    }
    if (in->n - head < n)
        return false;
    *content = vr_str_sub(*in, head, n);
    *in = vr_str_from_pos(*in, head + n);
    return true;
}

/* A positive number, without leading zeros. */
static bool der_number(struct vr_str *in, struct vr_str *number)
{
    if (!der_take(in, 0x02, number) || number->n == 0 || (unsigned char)number->p[0] >= 0x80)
        return false;
    while (number->n > 1 && number->p[0] == 0)
        *number = vr_str_from_pos(*number, 1);
    return number->p[0] != 0;
}

static bool rsa_numbers(struct vr_str der, struct vr_str *n, struct vr_str *e)
{
    static const char rsa_encryption[] = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    struct vr_str list, inner, oid, bits;
    if (!der_take(&der, 0x30, &list) || der.n > 0)
        return false;
    struct vr_str wrapped = list;
    if (der_take(&wrapped, 0x30, &inner)) {
        if (!der_take(&inner, 0x06, &oid) || !vr_str_equal(oid, VR_STR(rsa_encryption)) ||
            !der_take(&wrapped, 0x03, &bits) || wrapped.n > 0 || bits.n < 1 || bits.p[0] != 0)
            return false;
        bits = vr_str_from_pos(bits, 1);
        if (!der_take(&bits, 0x30, &list) || bits.n > 0)
            return false;
    }
    return der_number(&list, n) && der_number(&list, e) && list.n == 0;
}

/* ---- keys ---------------------------------------------------------------------------------------------------------- */

static EVP_PKEY *rsa_key(struct vr_str n, struct vr_str e)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = BN_bin2bn((const unsigned char *)n.p, (int)n.n, NULL);
    BIGNUM *exponent = BN_bin2bn((const unsigned char *)e.p, (int)e.n, NULL);
    OSSL_PARAM *params = NULL;
    if (ctx != NULL && build != NULL && modulus != NULL && exponent != NULL &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1 &&
        (params = OSSL_PARAM_BLD_to_param(build)) != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(modulus);
    BN_free(exponent);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static unsigned bit_count(struct vr_str number)
{
    unsigned bits = (unsigned)number.n * 8;
    for (unsigned char top = (unsigned char)number.p[0]; top < 0x80; top = (unsigned char)(top << 1))
        bits--;
    return bits;
}

EVP_PKEY *record_public_key(enum dkim_algorithm algorithm, struct vr_str bytes, unsigned *bits,
                            const char **why)
{
    struct vr_str n, e;
    EVP_PKEY *key = NULL;
    *bits = 0;
    if (algorithm == DKIM_ED25519_SHA256) {
        *why = "the key is not 32 octets long, as Ed25519 keys are";
        if (bytes.n != 32)
            return NULL;
        *bits = 256;
        key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)bytes.p, bytes.n);
    } else {
        *why = "the key is no RSA key";
        if (!rsa_numbers(bytes, &n, &e))
            return NULL;
        *bits = bit_count(n);
        *why = "the RSA key is larger than is checked here";
        if (*bits > DKIM_RSA_BITS_MAX || e.n > EXPONENT_OCTETS)
            return NULL;
        *why = "the RSA key cannot be used";
        key = rsa_key(n, e);
    }
    if (key != NULL)
        *why = NULL;
    return key;
}

/* ---- records -------------------------------------------------------------------------------------------------------- */

static const char *check_tags(const struct taglist *list)
{
    const struct tag *v = taglist_find(list, "v");
    if (v != NULL && (v != &list->tags[0] || !vr_str_equal(v->value, VR_STR("DKIM1"))))
        return v != &list->tags[0] ? "v= is not the first tag of the key record"
                                   : "the key record has an unknown version (v=)";
    return taglist_find(list, "p") == NULL ? "the key record has no key (p=)" : NULL;
}

/* What the record says besides the key. */
static const char *read_record(struct vr_arena *arena, const struct taglist *list, struct dkim_record *out,
                               bool *too_big)
{
    const struct tag *k = taglist_find(list, "k"), *t = taglist_find(list, "t"), *p = taglist_find(list, "p");
    struct vr_buf octets;
    *out = (struct dkim_record){.algorithm = k != NULL ? key_type(k->value) : DKIM_RSA_SHA256};
    out->testing = t != NULL && taglist_has(t->value, "y");
    out->strict = t != NULL && taglist_has(t->value, "s");
    out->revoked = p->value.n == 0;
    if (out->revoked)
        return NULL;
    vr_buf_init(&octets, KEY_OCTETS_MAX);
    bool good = taglist_base64(&octets, p->value);
    out->public_key = good ? vr_arena_dup(arena, vr_buf_str(&octets)) : vr_str(NULL, 0);
    *too_big = good && out->public_key.n == 0;
    vr_buf_fini(&octets);
    return good ? NULL : "the key (p=) is no base64";
}

enum vr_err record_read(struct vr_arena *arena, struct vr_str txt, struct record *out)
{
    bool too_big = false;
    const char *why = NULL;
    *out = (struct record){0};
    if (!taglist_parse(txt, &out->list, &why) || (why = check_tags(&out->list)) != NULL)
        out->why = "the key record breaks its grammar";
    else
        why = out->why = read_record(arena, &out->list, &out->said, &too_big);
    out->detail = why;
    return too_big ? VR_ERR_TOO_BIG : VR_OK;
}

enum vr_err dkim_record_parse(struct vr_arena *arena, struct vr_str txt, struct dkim_record *out,
                              const char **why)
{
    struct record r;
    if (record_read(arena, txt, &r) != VR_OK)
        return VR_ERR_TOO_BIG;
    *why = r.detail;
    *out = r.said;
    if (r.why != NULL)
        return VR_ERR_SYNTAX;
    if (out->algorithm == DKIM_ALGORITHM_UNKNOWN) {
        *why = "the kind of key (k=) is unknown";
        return VR_ERR_SYNTAX;
    }
    if (out->revoked)
        return VR_OK;
    EVP_PKEY *key = record_public_key(out->algorithm, out->public_key, &out->bits, why);
    EVP_PKEY_free(key);
    return key != NULL ? VR_OK : VR_ERR_SYNTAX;
}
