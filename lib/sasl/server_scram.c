/* server_scram.c - the server side of SCRAM-SHA-1 and SCRAM-SHA-256, with and without -PLUS (RFC 5802 §5, §6; 7677; 5929; 9266).
 *
 * Promise: an unknown user looks like a wrong password, in the messages and in the salts (§9: fake ones that stay the same). With -PLUS the
 *          client proves that its TLS ends where ours does; without, one that was not shown our -PLUS is told apart (§6).
 * States:  0 -> 1 [scram_first, the owner's keys] -> 2 [scram_final] -> DONE
 * Tests:   tests/unit/sasl.c, tests/unit/sasl_binding.c, tests/fuzz/fuzz_sasl.c
 */
#include "inside.h"

#include <string.h>

/* What the client says of channel binding, and which data it must repeat then. NULL: fine. */
static const char *check_flag(struct sasl_server *s, struct vr_str flag)
{
    bool binds = flag.p[0] == 'p';
    if (binds != s->mechanism->plus)
        return binds ? "the client binds the channel, which goes with -PLUS only"
                     : "the client does not bind the channel, which -PLUS demands";
    if (flag.p[0] == 'y' && s->plus_offered)
        return "the client was not shown that -PLUS is offered: somebody stands between";
    if (!binds)
        return NULL;
    if (!scram_binding_data(&s->binding, vr_str_from_pos(flag, 2), &s->bound))
        return "the type of channel binding is unknown; known are tls-exporter, tls-unique, "
               "tls-server-end-point";
    return s->bound.n > 0 ? NULL : "this connection has no such channel binding";
}

/* n= and r= of the bare message, and a= of the header. */
static enum sasl_step keep_names(struct sasl_server *s, const struct gs2 *gs2)
{
    struct vr_str rest = gs2->rest, name, nonce;
    if (vr_str_starts(rest, VR_STR("m=")))
        return server_malformed_fail(s, "an extension is demanded that nobody knows"); /* §5.1: must fail */
    if (!scram_attribute(&rest, 'n', &name) || !scram_attribute(&rest, 'r', &nonce) ||
        !scram_nonce_valid(nonce))
        return server_malformed_fail(s, "the first message has no valid name and nonce");
    struct vr_buf user, zid;
    vr_buf_init(&user, SASL_USER_MAX);
    vr_buf_init(&zid, SASL_USER_MAX);
    bool good = saslname_read(name, &user) && saslname_read(gs2->authzid, &zid) &&
                server_keep_user(s, vr_buf_str(&user));
    bool same = vr_buf_size(&zid) == 0 || vr_str_equal(vr_buf_str(&zid), vr_buf_str(&user));
    vr_buf_fini(&user);
    vr_buf_fini(&zid);
    if (!good)
        return server_malformed_fail(s, "the user name is empty, too long, or not well-formed");
    if (!same)
        return server_fail(s, "acting for another user is not allowed");
    vr_buf_add(&s->full_nonce, nonce);
    vr_base64_encode(&s->full_nonce, vr_str((const char *)s->nonce, sizeof s->nonce));
    return SASL_DONE;
}

static enum sasl_step scram_first(struct sasl_server *s, struct vr_str in)
{
    struct gs2 gs2;
    const char *fault = gs2_read(in, &gs2);
    if (fault != NULL)
        return server_malformed_fail(s, fault);
    fault = check_flag(s, gs2.flag);
    if (fault != NULL)
        return server_fail(s, fault);
    enum sasl_step step = keep_names(s, &gs2);
    if (step != SASL_DONE)
        return step;
    vr_buf_add(&s->texts.gs2, gs2.header);
    if (!vr_buf_add(&s->texts.first_bare, gs2.rest) || s->full_nonce.too_big || s->texts.gs2.too_big)
        return server_malformed_fail(s, "the first message is too long");
    s->at = 1;
    return server_ask(s, SASL_NEED_SCRAM);
}

static enum sasl_step scram_server_first(struct sasl_server *s, struct vr_str *out)
{
    struct vr_buf *b = &s->texts.server_first;
    vr_buf_add(b, VR_STR("r="));
    vr_buf_add(b, vr_buf_str(&s->full_nonce));
    vr_buf_add(b, VR_STR(",s="));
    vr_base64_encode(b, vr_str((const char *)s->keys.salt, s->keys.salt_n));
    vr_buf_addf(b, ",i=%u", s->keys.iterations);
    if (b->too_big)
        return server_malformed_fail(s, "the exchange is too long");
    *out = vr_buf_str(b);
    return SASL_CHALLENGE;
}

/* cbind-input = gs2-header [ cbind-data ] (§7) */
static const char *check_binding(struct sasl_server *s, struct vr_str binding)
{
    struct vr_buf input;
    vr_buf_init(&input, SCRAM_MESSAGE_MAX + SASL_BINDING_MAX);
    struct vr_str header = vr_buf_str(&s->texts.gs2);
    bool decoded = vr_base64_decode(&input, binding) == VR_OK;
    bool same_header = decoded && vr_str_starts(vr_buf_str(&input), header);
    bool same_data = same_header && vr_str_equal(vr_str_from_pos(vr_buf_str(&input), header.n), s->bound);
    vr_buf_fini(&input);
    if (!same_header)
        return "the channel binding is not that of the first message";
    return same_data ? NULL : "the channel binding is another connection's: somebody stands between";
}

/* "c=" must repeat the gs2 header with the binding's data, "r=" the whole nonce; the proof stands last (§5.1) */
static const char *read_final(struct sasl_server *s, struct vr_str in, struct vr_str *without_proof,
                              struct vr_str *proof)
{
    struct vr_str rest = in, binding, nonce;
    if (!scram_attribute(&rest, 'c', &binding))
        return "the channel binding is missing";
    const char *fault = check_binding(s, binding);
    if (fault != NULL)
        return fault;
    if (!scram_attribute(&rest, 'r', &nonce) || !vr_str_equal(nonce, vr_buf_str(&s->full_nonce)))
        return "the nonce is another one";
    struct vr_str last = rest;
    for (size_t comma; (comma = vr_str_find(last, ',')) != VR_NPOS;) /* extensions may stand between */
        last = vr_str_from_pos(last, comma + 1);
    if (!vr_str_starts(last, VR_STR("p=")))
        return "there is no proof";
    *proof = vr_str_from_pos(last, 2);
    *without_proof = vr_str_sub(in, 0, in.n - last.n - 1);
    return NULL;
}

static bool proof_holds(struct sasl_server *s, struct vr_str proof)
{
    enum sasl_hash h = s->mechanism->hash;
    size_t size = sasl_hash_size(h);
    uint8_t signature[SASL_HASH_MAX], key[SASL_HASH_MAX], stored[SASL_HASH_MAX];
    struct vr_buf bytes;
    vr_buf_init(&bytes, size);
    bool good = vr_base64_decode(&bytes, proof) == VR_OK && vr_buf_size(&bytes) == size &&
                scram_hmac(h, s->keys.stored_key, vr_buf_str(&s->texts.auth_message), signature);
    for (size_t i = 0; good && i < size; i++)
        key[i] = (uint8_t)((uint8_t)vr_buf_str(&bytes).p[i] ^ signature[i]);
    good = good && scram_hash(h, key, size, stored) && sasl_equal(stored, s->keys.stored_key, size);
    vr_buf_fini(&bytes);
    sasl_wipe(key, sizeof key);
    return good;
}

static enum sasl_step scram_final(struct sasl_server *s, struct vr_str in, struct vr_str *out)
{
    struct vr_str without_proof, proof;
    uint8_t signature[SASL_HASH_MAX];
    const char *fault = read_final(s, in, &without_proof, &proof);
    if (fault != NULL)
        return server_fail(s, fault);
    if (!scram_auth_message(&s->texts, without_proof))
        return server_malformed_fail(s, "the exchange is too long");
    if (!proof_holds(s, proof) || s->unknown)
        return server_fail(s, s->unknown ? "no such user, or no keys of this hash for it" : "wrong password");
    if (!scram_hmac(s->mechanism->hash, s->keys.server_key, vr_buf_str(&s->texts.auth_message), signature))
        return server_fail(s, "libcrypto refused");
    vr_buf_add(&s->out, VR_STR("v="));
    vr_base64_encode(&s->out, vr_str((const char *)signature, sasl_hash_size(s->mechanism->hash)));
    *out = vr_buf_str(&s->out);
    s->at = 2;
    return SASL_CHALLENGE;
}

enum sasl_step server_scram(struct sasl_server *s, struct vr_str in, bool has_in, struct vr_str *out)
{
    if (s->at == 0 && !has_in) {
        *out = vr_str("", 0);
        return SASL_CHALLENGE;
    }
    if (s->at == 0)
        return scram_first(s, in);
    if (s->at == 1)
        return scram_final(s, in, out);
    return in.n == 0 ? SASL_DONE : server_malformed_fail(s, "something follows the end of the exchange");
}

/* The salt of a user who does not exist: the same each time, another for each hash, and nobody without the key can tell (§9, RFC 7677 §4). */
static void fake_keys(struct sasl_server *s)
{
    struct vr_str user = vr_buf_size(&s->canonical) > 0 ? vr_buf_str(&s->canonical) : sasl_server_user(s);
    uint8_t key1[16], key2[16];
    for (size_t i = 0; i < sizeof key2; i++) {
        key1[i] = (uint8_t)(s->fake_key[i] ^ (s->mechanism->hash == SASL_SHA1 ? 0x36 : 0));
        key2[i] = (uint8_t)(key1[i] ^ 0x5c);
    }
    uint64_t halves[2] = {vr_siphash(key1, user.p, user.n), vr_siphash(key2, user.p, user.n)};
    s->keys = (struct sasl_scram_keys){
        .hash = s->mechanism->hash, .salt_n = sizeof halves, .iterations = s->fake_iterations};
    memcpy(s->keys.salt, halves, sizeof halves);
    s->unknown = true;
}

void sasl_server_canonical(struct sasl_server *s, struct vr_str name)
{
    vr_buf_reset(&s->canonical);
    vr_buf_add(&s->canonical, name);
}

enum sasl_step sasl_server_scram_keys(struct sasl_server *s, const struct sasl_scram_keys *keys,
                                      struct vr_str *out)
{
    server_settle(s, SASL_NEED_SCRAM, out);
    if (keys != NULL && keys->hash == s->mechanism->hash && keys->salt_n > 0 && keys->salt_n <= SASL_SALT_MAX)
        s->keys = *keys;
    else
        fake_keys(s);
    return scram_server_first(s, out);
}
