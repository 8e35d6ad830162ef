/* client_scram.c - the client side of SCRAM-SHA-1 and SCRAM-SHA-256, with and without -PLUS (RFC 5802 §5, §6; 7677; 5929; 9266).
 *
 * Promise: complete only when the server has proved that it knows the password too (§3); with -PLUS also that TLS ends at it.
 * States:  0 -> 1 [client_scram_initial] -> 2 [answer, to server-first] -> 3 [verify, of server-final]
 * Tests:   tests/unit/sasl.c, tests/unit/sasl_binding.c
 */
#include "client_inside.h"

#define ITERATIONS_MAX 1000000 /* under half a second: a hostile server must not keep us computing */

/* gs2-cbind-flag (§6, §7), and what of the binding goes into c= behind the header. */
static struct vr_str add_flag(struct sasl_client *c, struct vr_buf *out)
{
    const struct sasl_binding *b = &c->binding;
    const struct {
        const char *name;
        struct vr_str data;
    } types[] = {{"tls-unique", b->tls_unique},
                 {"tls-exporter", b->tls_exporter},
                 {"tls-server-end-point", b->tls_server_end_point}};
    for (size_t i = 0; c->mechanism->plus && i < sizeof types / sizeof *types; i++)
        if (types[i].data.n > 0) {
            vr_buf_addf(out, "p=%s", types[i].name);
            return types[i].data;
        }
    vr_buf_add(out, c->plus_unseen && sasl_binding_there(b) ? VR_STR("y") : VR_STR("n"));
    return vr_str(NULL, 0);
}

bool client_scram_initial(struct sasl_client *c, struct vr_str *out)
{
    struct vr_buf *bare = &c->texts.first_bare, *gs2 = &c->texts.gs2, *b = &c->out;
    vr_buf_reset(bare);
    vr_buf_add(bare, VR_STR("n="));
    saslname_write(bare, vr_buf_str(&c->user));
    vr_buf_add(bare, VR_STR(",r="));
    vr_base64_encode(bare, vr_str((const char *)c->nonce, sizeof c->nonce));
    vr_buf_reset(gs2);
    add_flag(c, gs2);
    vr_buf_add(gs2, VR_STR(",,"));
    vr_buf_reset(b);
    vr_buf_add(b, vr_buf_str(gs2));
    vr_buf_add(b, vr_buf_str(bare));
    *out = vr_buf_str(b);
    c->at = 1;
    return !b->too_big && !bare->too_big;
}

struct server_first {
    struct vr_str nonce, salt_base64;
    uint64_t iterations;
};

static bool read_server_first(struct sasl_client *c, struct vr_str in, struct server_first *out)
{
    struct vr_str rest = in, iterations, ours = vr_buf_str(&c->texts.first_bare);
    ours = vr_str_from_pos(ours, vr_str_find_str(ours, VR_STR(",r=")) + 3);
    return scram_attribute(&rest, 'r', &out->nonce) && scram_nonce_valid(out->nonce) &&
           vr_str_starts(out->nonce, ours) && out->nonce.n > ours.n &&
           scram_attribute(&rest, 's', &out->salt_base64) && scram_attribute(&rest, 'i', &iterations) &&
           vr_str_to_u64(iterations, &out->iterations) && out->iterations >= 4096 &&
           out->iterations <= ITERATIONS_MAX;
}

static bool make_proof(struct sasl_client *c, const struct server_first *f, uint8_t proof[SASL_HASH_MAX])
{
    enum sasl_hash h = c->mechanism->hash;
    uint8_t salted[SASL_HASH_MAX], key[SASL_HASH_MAX], stored[SASL_HASH_MAX], server[SASL_HASH_MAX],
        signature[SASL_HASH_MAX];
    struct vr_str message = vr_buf_str(&c->texts.auth_message);
    struct vr_buf salt;
    vr_buf_init(&salt, SCRAM_MESSAGE_MAX);
    bool good =
        vr_base64_decode(&salt, f->salt_base64) == VR_OK && vr_buf_size(&salt) > 0 &&
        scram_salted(h, vr_buf_str(&c->password), vr_buf_str(&salt), (uint32_t)f->iterations, salted) &&
        scram_keys(h, salted, key, stored, server) && scram_hmac(h, stored, message, signature) &&
        scram_hmac(h, server, message, c->server_signature);
    for (size_t i = 0; good && i < sasl_hash_size(h); i++)
        proof[i] = (uint8_t)(key[i] ^ signature[i]);
    sasl_wipe(salted, sizeof salted);
    sasl_wipe(key, sizeof key);
    sasl_wipe(server, sizeof server);
    vr_buf_fini(&salt);
    return good;
}

/* client-final-message-without-proof: c= is the gs2 header with the binding's data (§5.1). */
static void add_final(struct sasl_client *c, struct vr_str nonce, struct vr_buf *out)
{
    struct vr_buf input;
    vr_buf_init(&input, SCRAM_MESSAGE_MAX + SASL_BINDING_MAX);
    struct vr_str data = add_flag(c, &input);
    vr_buf_reset(&input);
    vr_buf_add(&input, vr_buf_str(&c->texts.gs2));
    vr_buf_add(&input, data);
    vr_buf_add(out, VR_STR("c="));
    vr_base64_encode(out, vr_buf_str(&input));
    vr_buf_add(out, VR_STR(",r="));
    vr_buf_add(out, nonce);
    vr_buf_fini(&input);
}

static enum vr_err answer(struct sasl_client *c, struct vr_str in, struct vr_str *out)
{
    struct server_first f;
    uint8_t proof[SASL_HASH_MAX];
    if (!read_server_first(c, in, &f) || !vr_buf_add(&c->texts.server_first, in))
        return VR_ERR_SYNTAX;
    struct vr_buf *b = &c->out;
    vr_buf_reset(b);
    add_final(c, f.nonce, b);
    if (b->too_big || !scram_auth_message(&c->texts, vr_buf_str(b)))
        return VR_ERR_TOO_BIG;
    if (!make_proof(c, &f, proof))
        return VR_ERR_SYNTAX;
    vr_buf_add(b, VR_STR(",p="));
    vr_base64_encode(b, vr_str((const char *)proof, sasl_hash_size(c->mechanism->hash)));
    *out = vr_buf_str(b);
    c->at = 2;
    return b->too_big ? VR_ERR_TOO_BIG : VR_OK;
}

static enum vr_err verify(struct sasl_client *c, struct vr_str in, struct vr_str *out)
{
    size_t size = sasl_hash_size(c->mechanism->hash);
    struct vr_str rest = in, verifier, error;
    struct vr_buf bytes;
    vr_buf_init(&bytes, size);
    c->complete = scram_attribute(&rest, 'v', &verifier) && vr_base64_decode(&bytes, verifier) == VR_OK &&
                  vr_buf_size(&bytes) == size && sasl_equal(vr_buf_str(&bytes).p, c->server_signature, size);
    vr_buf_fini(&bytes);
    rest = in;
    if (!c->complete && scram_attribute(&rest, 'e', &error))
        client_keep_refusal(c, error);
    *out = vr_str("", 0);
    c->at = 3;
    return c->complete ? VR_OK : VR_ERR_STATE;
}

enum vr_err client_scram_step(struct sasl_client *c, struct vr_str challenge, struct vr_str *out)
{
    if (c->at == 0)
        return challenge.n == 0 && client_scram_initial(c, out) ? VR_OK : VR_ERR_SYNTAX;
    if (c->at == 1)
        return answer(c, challenge, out);
    return c->at == 2 ? verify(c, challenge, out) : VR_ERR_STATE;
}
