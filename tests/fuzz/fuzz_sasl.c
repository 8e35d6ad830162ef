/* fuzz_sasl.c - any bytes as the other side of a SASL exchange, for both sides and all mechanisms.
 *
 * Input: one byte that chooses side, mechanism and what the owner answers, then messages: a length byte and as many bytes.
 * Checked: nobody gets in whom the owner did not vouch for; a client never takes a server for proven that does not know the password; names
 * and passwords hold no control bytes.
 */
#include <veredus/sasl.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const mechanisms[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256", "scram-sha-256"};
static const uint8_t nonce[18] = "a nonce of 18 byte";

static bool next_message(struct vr_str *rest, struct vr_str *message)
{
    if (rest->n == 0)
        return false;
    *message = vr_str_sub(*rest, 1, (unsigned char)rest->p[0]);
    *rest = vr_str_from_pos(*rest, 1 + message->n);
    return true;
}

static void check_text(struct vr_str s, size_t max)
{
    assert(s.n <= max && vr_utf8_valid(s));
    for (size_t i = 0; i < s.n; i++)
        assert((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f);
}

static void fuzz_server(uint8_t choice, struct vr_str rest)
{
    static struct sasl_scram_keys keys;
    struct sasl_server *s = sasl_server_new(vr_str_from(mechanisms[choice & 3]),
                                            &(struct sasl_server_config){.nonce = "a nonce of 18 byte"});
    struct vr_str message, out;
    bool vouched = false, good = choice & 4, scram = choice & 2;
    if (keys.iterations == 0)
        assert(sasl_scram_derive(SASL_SHA256, VR_STR("pencil"), nonce, 4096, &keys) == VR_OK);
    assert(s != NULL);
    if (choice & 8)
        assert(scram || sasl_server_step(s, vr_str(NULL, 0), false, &out) == SASL_CHALLENGE);
    while (next_message(&rest, &message)) {
        enum sasl_step step = sasl_server_step(s, message, true, &out);
        if (step == SASL_NEED_PASSWORD) {
            assert(!scram && sasl_server_user(s).n > 0 && sasl_server_password(s).n > 0);
            check_text(sasl_server_password(s), SASL_PASSWORD_MAX);
            vouched = good;
            step = sasl_server_password_checked(s, good, &out);
            assert(step == (good ? SASL_DONE : SASL_FAILED));
        } else if (step == SASL_NEED_SCRAM) {
            assert(scram && sasl_server_user(s).n > 0);
            step = sasl_server_scram_keys(s, good ? &keys : NULL, &out);
            assert(step == SASL_CHALLENGE || step == SASL_FAILED);
        }
        check_text(sasl_server_user(s), SASL_USER_MAX);
        assert(step != SASL_DONE ||
               (vouched && !scram)); /* no input holds a proof for our nonce, unless SHA-256 is broken */
        if (step == SASL_FAILED)
            assert(sasl_server_why(s)[0] != '\0');
        if (step == SASL_DONE || step == SASL_FAILED)
            break;
    }
    sasl_server_free(s);
}

static void fuzz_client(uint8_t choice, struct vr_str rest)
{
    struct sasl_client *c = sasl_client_new(vr_str_from(mechanisms[choice & 3]),
                                            &(struct sasl_client_config){.user = VR_STR("us=er"),
                                                                         .password = VR_STR("pencil"),
                                                                         .nonce = "a nonce of 18 byte"});
    struct vr_str message, out = {0};
    bool scram = choice & 2;
    assert(c != NULL);
    if (choice & 8)
        assert(sasl_client_initial(c, &out) == ((choice & 3) != 1));
    while (next_message(&rest, &message)) {
        if (sasl_client_step(c, message, &out) != VR_OK)
            break;
        assert(!scram || !sasl_client_complete(c));
        assert(out.n <= 4096);
    }
    assert(!scram || !sasl_client_complete(c));
    sasl_client_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 8192)
        return 0;
    struct vr_str rest = vr_str((const char *)data + 1, size - 1);
    for (size_t i = 0, digits = 0; i < rest.n; i++) { /* millions of iterations are slow, and right */
        digits = rest.p[i] >= '0' && rest.p[i] <= '9' ? digits + 1 : 0;
        if (digits > 4)
            return 0;
    }
    if (data[0] & 16)
        fuzz_server(data[0], rest);
    else
        fuzz_client(data[0], rest);
    return 0;
}
