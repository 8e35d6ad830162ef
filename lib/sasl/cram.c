/* cram.c - CRAM-MD5 (RFC 2195): the keys that are stored for it, the digest, and the server's side.
 *
 * Keys:    HMAC-MD5 begins by hashing one block made of the password, for each of its two sums (RFC 2104 §4): what is stored are the two
 *          states behind it, so that the password itself is not. libcrypto's newer interface cannot take a state up again; the older one can.
 * Promise: an unknown user, and one without such keys, costs the same work as a wrong digest.
 * Tests:   tests/unit/sasl_mechanisms.c (RFC 2195 §2), tests/unit/sasl_tokens.c
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "inside.h"

#include <openssl/md5.h>

#include <string.h>

#define BLOCK  64
#define DIGEST 16

static void state_save(const MD5_CTX *m, uint8_t out[DIGEST])
{
    const MD5_LONG words[4] = {m->A, m->B, m->C, m->D};
    for (size_t i = 0; i < DIGEST; i++)
        out[i] = (uint8_t)(words[i / 4] >> (8 * (i % 4)));
}

/* As if one block had been hashed already. */
static void state_load(MD5_CTX *m, const uint8_t in[DIGEST])
{
    MD5_LONG words[4] = {0};
    for (size_t i = 0; i < DIGEST; i++)
        words[i / 4] |= (MD5_LONG)in[i] << (8 * (i % 4));
    MD5_Init(m);
    m->A = words[0];
    m->B = words[1];
    m->C = words[2];
    m->D = words[3];
    m->Nl = BLOCK * 8;
}

static bool pad_state(const uint8_t key[BLOCK], uint8_t pad, uint8_t out[DIGEST])
{
    uint8_t block[BLOCK];
    MD5_CTX m;
    for (size_t i = 0; i < BLOCK; i++)
        block[i] = key[i] ^ pad;
    bool good = MD5_Init(&m) == 1 && MD5_Update(&m, block, BLOCK) == 1;
    state_save(&m, out);
    sasl_wipe(block, sizeof block);
    sasl_wipe(&m, sizeof m);
    return good;
}

enum vr_err sasl_cram_derive(struct vr_str password, struct sasl_cram_keys *out)
{
    uint8_t key[BLOCK] = {0};
    if (!sasl_text_valid(password, SASL_PASSWORD_MAX))
        return VR_ERR_SYNTAX;
    if (password.n <= BLOCK)
        memcpy(key, password.p, password.n);
    else
        MD5((const unsigned char *)password.p, password.n, key);
    bool good = pad_state(key, 0x36, out->inner) && pad_state(key, 0x5c, out->outer);
    sasl_wipe(key, sizeof key);
    return good ? VR_OK : VR_ERR_UNSUPPORTED;
}

bool cram_digest(const struct sasl_cram_keys *keys, struct vr_str challenge, char out[32])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t sum[DIGEST];
    MD5_CTX m;
    state_load(&m, keys->inner);
    bool good = MD5_Update(&m, challenge.p, challenge.n) == 1 && MD5_Final(sum, &m) == 1;
    state_load(&m, keys->outer);
    good = good && MD5_Update(&m, sum, DIGEST) == 1 && MD5_Final(sum, &m) == 1;
    for (size_t i = 0; i < DIGEST; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    return good;
}

/* ---- the server's side ---------------------------------------------------------------------------------------- */

/* In the form of a msg-id, never twice the same (§2). */
static enum sasl_step challenge(struct sasl_server *s, struct vr_str *out)
{
    uint64_t numbers[2];
    memcpy(numbers, s->nonce, sizeof numbers);
    vr_buf_add_byte(&s->out, '<');
    vr_buf_add_u64(&s->out, numbers[0]);
    vr_buf_add_byte(&s->out, '.');
    vr_buf_add_u64(&s->out, numbers[1]);
    vr_buf_add_byte(&s->out, '@');
    vr_buf_add(&s->out, vr_buf_size(&s->hostname) > 0 ? vr_buf_str(&s->hostname) : VR_STR("localhost"));
    vr_buf_add_byte(&s->out, '>');
    *out = vr_buf_str(&s->out);
    s->at = 1;
    return SASL_CHALLENGE;
}

enum sasl_step server_cram(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    if (s->at == 0 && has_in) /* an initial response to what was not asked yet (RFC 4954 §4) */
        return server_malformed_fail(s, "the server speaks first in CRAM-MD5");
    if (s->at == 0)
        return challenge(s, out);
    size_t blank = vr_str_find_last(in, ' '); /* a name may hold blanks */
    struct vr_str digest = blank == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(in, blank + 1);
    if (digest.n != 2 * DIGEST)
        return server_malformed_fail(s, "the response is not a name, a blank and 32 digits");
    if (!server_keep_user(s, vr_str_sub(in, 0, blank)))
        return server_malformed_fail(s, "the user name is empty, too long, or holds control bytes");
    vr_buf_add(&s->response, digest);
    return server_ask(s, SASL_NEED_CRAM);
}

enum sasl_step sasl_server_cram_keys(struct sasl_server *s, const struct sasl_cram_keys *keys,
                                     struct vr_str *out)
{
    static const struct sasl_cram_keys nobody;
    char digest[2 * DIGEST];
    server_settle(s, SASL_NEED_CRAM, out);
    bool good = cram_digest(keys != NULL ? keys : &nobody, vr_buf_str(&s->out), digest);
    good &= sasl_equal(digest, vr_buf_str(&s->response).p, sizeof digest);
    sasl_wipe(digest, sizeof digest);
    if (good && keys != NULL)
        return SASL_DONE;
    return server_fail(s, keys != NULL ? "wrong password" : "no such user, or no keys of CRAM-MD5 for it");
}
