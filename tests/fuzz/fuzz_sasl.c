/* fuzz_sasl.c - any bytes as the other side of a SASL exchange, for both sides and all mechanisms.
 *
 * Input: two bytes (the mechanism and the side; what the owner answers and what there is to bind to), then messages: two bytes of length, high
 * and low, and as many bytes.
 * Checked: nobody gets in whom the owner did not vouch for; a client never takes a server for proven that does not know the password; what was
 * asked for is well-formed; secrets are gone when they were looked at.
 */
#include <veredus/sasl.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SERVER = 16 }; /* of the first byte, beside the mechanism's number */
enum { GOOD = 1, CHALLENGED = 2, BOUND = 4, OFFERED = 8, NARROW = 16, NAMED = 32 }; /* of the second */

#define NONCE "a nonce of 18 byte"

static bool next_message(struct vr_str *rest, struct vr_str *message)
{
    if (rest->n < 2)
        return false;
    size_t n = (size_t)(unsigned char)rest->p[0] << 8 | (unsigned char)rest->p[1];
    *message = vr_str_sub(*rest, 2, n);
    *rest = vr_str_from_pos(*rest, 2 + message->n);
    return true;
}

static void check_text(struct vr_str s, size_t max)
{
    assert(s.n <= max && vr_utf8_valid(s));
    for (size_t i = 0; i < s.n; i++)
        assert((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f);
}

static void check_token(struct vr_str s)
{
    assert(s.n <= SASL_TOKEN_MAX);
    for (size_t i = 0; i < s.n; i++)
        assert(s.p[i] > ' ' && s.p[i] < 0x7f && s.p[i] != '"' && s.p[i] != '\\' && s.p[i] != ',');
}

static struct sasl_binding binding_for(uint8_t how)
{
    return how & BOUND ? (struct sasl_binding){.tls_exporter = VR_STR("exported"),
                                               .tls_server_end_point = VR_STR("hash")}
                       : (struct sasl_binding){.tls_unique = VR_STR("")};
}

/* What the owner knows. True: it vouched for the client at this moment (SCRAM's proof is still to come, and cannot). */
static bool settle(struct sasl_server *s, enum sasl_step *step, uint8_t how, struct vr_str *out)
{
    static struct sasl_scram_keys scram[2];
    static struct sasl_cram_keys cram;
    bool good = how & GOOD;
    enum sasl_hash hash = sasl_server_hash(s);
    if (scram[hash].iterations == 0)
        assert(sasl_scram_derive(hash, VR_STR("pencil"), (const uint8_t *)"salt of 16 bytes", 4096,
                                 &scram[hash]) == VR_OK &&
               sasl_cram_derive(VR_STR("pencil"), &cram) == VR_OK);
    struct sasl_token_verdict v = {.good = good,
                                   .user = how & NAMED ? sasl_server_user(s) : VR_STR("ann"),
                                   .status = how & NARROW ? "insufficient_scope" : NULL,
                                   .scope = VR_STR("a\"\\\n")};
    switch (*step) {
    case SASL_NEED_PASSWORD:
        assert(sasl_server_user(s).n > 0 && sasl_server_password(s).n > 0);
        check_text(sasl_server_password(s), SASL_PASSWORD_MAX);
        *step = sasl_server_password_checked(s, good, out);
        assert(*step == (good ? SASL_DONE : SASL_FAILED) && sasl_server_password(s).n == 0);
        return good;
    case SASL_NEED_SCRAM:
        assert(sasl_server_user(s).n > 0);
        *step = sasl_server_scram_keys(s, good ? &scram[hash] : NULL, out);
        assert(*step == SASL_CHALLENGE || *step == SASL_FAILED);
        return false;
    case SASL_NEED_CRAM:
        assert(sasl_server_user(s).n > 0);
        *step = sasl_server_cram_keys(s, good ? &cram : NULL, out);
        assert(*step == SASL_DONE ? good : *step == SASL_FAILED);
        return good; /* the challenge is known to the corpus: a right answer is possible */
    case SASL_NEED_TOKEN: {
        bool any = sasl_server_token(s).n > 0;
        check_token(sasl_server_token(s));
        *step = sasl_server_token_checked(s, &v, out);
        assert(*step == SASL_DONE ? good && any : *step == SASL_CHALLENGE);
        assert(sasl_server_token(s).n == 0);
        return *step == SASL_DONE;
    }
    case SASL_NEED_IDENTITY:
        assert(vr_str_equal(sasl_server_user(s), VR_STR("ann")) ||
               vr_str_equal(sasl_server_user(s), VR_STR("bob")));
        *step = sasl_server_identity_checked(s, good, out);
        return good;
    default:
        return false;
    }
}

static void fuzz_server(const struct sasl_mechanism *m, uint8_t how, struct vr_str rest)
{
    struct sasl_server *s =
        sasl_server_new(vr_str_from(m->name), &(struct sasl_server_config){.nonce = NONCE,
                                                                           .fake_key = "a fake key of 16",
                                                                           .hostname = VR_STR("h.test"),
                                                                           .binding = binding_for(how),
                                                                           .plus_offered = how & OFFERED,
                                                                           .identity = VR_STR("ann\nbob")});
    struct vr_str message, out;
    bool vouched = false;
    assert(s != NULL);
    if (how & CHALLENGED)
        assert(sasl_server_step(s, vr_str(NULL, 0), false, &out) == SASL_CHALLENGE);
    while (next_message(&rest, &message)) {
        enum sasl_step step = sasl_server_step(s, message, true, &out);
        vouched |= settle(s, &step, how, &out);
        check_text(sasl_server_user(s), SASL_USER_MAX);
        assert(step != SASL_DONE ||
               vouched); /* no input holds a proof for our nonce, unless the hash is broken */
        if (step == SASL_FAILED)
            assert(sasl_server_why(s)[0] != '\0');
        if (step == SASL_DONE || step == SASL_FAILED)
            break;
        assert(step == SASL_CHALLENGE && out.n <= SASL_TOKEN_MAX);
    }
    sasl_server_free(s);
}

static void fuzz_client(const struct sasl_mechanism *m, uint8_t how, struct vr_str rest)
{
    struct sasl_client_config config = {.user = VR_STR("us=er"),
                                        .password = VR_STR("pencil"),
                                        .token = VR_STR("ya29.token"),
                                        .host = VR_STR("h.test"),
                                        .nonce = NONCE,
                                        .binding = binding_for(how),
                                        .plus_unseen = how & OFFERED};
    struct sasl_client *c = sasl_client_new(vr_str_from(m->name), &config);
    struct vr_str message, out = {0};
    bool scram =
        m->bit & (SASL_SCRAM_SHA_256_PLUS | SASL_SCRAM_SHA_1_PLUS | SASL_SCRAM_SHA_256 | SASL_SCRAM_SHA_1);
    assert((c != NULL) == (!m->plus || (how & BOUND)));
    if (c == NULL)
        return;
    if (!(how & CHALLENGED))
        assert(sasl_client_initial(c, &out) == !(m->bit & (SASL_LOGIN | SASL_CRAM_MD5)));
    while (next_message(&rest, &message)) {
        if (sasl_client_step(c, message, &out) != VR_OK)
            break;
        assert(!scram || !sasl_client_complete(c));
        assert(out.n <= 2 * SASL_TOKEN_MAX);
    }
    assert(!scram || !sasl_client_complete(c));
    for (size_t i = 0; i < sasl_client_refusal(c).n; i++) /* it is shown to people */
        assert((unsigned char)sasl_client_refusal(c).p[i] >= 0x20 && sasl_client_refusal(c).p[i] != 0x7f);
    sasl_client_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 16384)
        return 0;
    struct vr_str rest = vr_str((const char *)data + 2, size - 2);
    for (size_t i = 0, digits = 0; i < rest.n; i++) { /* millions of iterations are slow, and right */
        digits = rest.p[i] >= '0' && rest.p[i] <= '9' ? digits + 1 : 0;
        if (digits > 4 && (data[0] & SERVER) == 0)
            return 0;
    }
    const struct sasl_mechanism *m = &sasl_mechanisms[(data[0] & 15) % sasl_mechanism_count];
    if (data[0] & SERVER)
        fuzz_server(m, data[1], rest);
    else
        fuzz_client(m, data[1], rest);
    return 0;
}
