/* fuzz_arc.c - any bytes as a message with a chain of ARC sets.
 *
 * Input: one byte that chooses the size of pieces and what the DNS says, then the message. All keys are the one of RFC 8463's appendix, or that of its RSA example.
 * Checked: the status does not depend on how the message was cut; a chain that passes still does with a set of ours on top; one that failed is sealed once.
 */
#include <veredus/authres.h>

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW     1528637909
#define ANSWERS (2 * ARC_SETS_MAX + 2)

static const char secret[] = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

/* Both kinds of keys under each name. */
static const struct dns_record records[] = {
    {.data = VR_STR_INIT("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")},
    {.data = VR_STR_INIT(
         "v=DKIM1; k=rsa; "
         "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/"
         "J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/"
         "e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB")},
};

static struct mail_digest *digest(struct vr_str message, size_t piece)
{
    struct mail_digest *d = mail_digest_new(
        &(struct mail_digest_config){.header_max = 65536, .verify = true, .sign = {true, true}});
    assert(d != NULL);
    while (message.n > 0) {
        struct vr_str part = vr_str_sub(message, 0, piece);
        mail_digest_feed(d, part);
        message = vr_str_from_pos(message, part.n);
    }
    mail_digest_end(d);
    return d;
}

static struct arc_result validate(const struct mail_digest *d, bool failing, struct vr_arena *arena)
{
    static struct dns_answer answers[ANSWERS];
    struct dkim_query q = {.now = NOW, .answers = answers};
    struct arc_result out;
    for (int round = 0;; round++) {
        assert(round < 3);
        assert(arc_validate(d, &q, arena, &out) == VR_OK);
        if (out.state == DKIM_DONE)
            return out;
        assert(out.question_count > 0);
        for (size_t i = 0; i < out.question_count; i++) {
            assert(q.answer_count < ANSWERS);
            answers[q.answer_count++] =
                (struct dns_answer){.name = out.questions[i].name,
                                    .type = out.questions[i].type,
                                    .status = failing ? DNS_STATUS_FAILED : DNS_STATUS_OK,
                                    .records = records,
                                    .count = 2};
        }
    }
}

/* VR_OK: the sealed message is in `out`. */
static enum vr_err seal(const struct mail_digest *d, struct vr_str message, enum arc_status status,
                        uint8_t choice, struct vr_arena *arena, struct vr_buf *out)
{
    struct arc_sealer sealer = {.domain = VR_STR("example.org"),
                                .selector = VR_STR("s"),
                                .algorithm = DKIM_ED25519_SHA256,
                                .header_canon = choice & 1,
                                .body_canon = choice >> 1 & 1,
                                .time = NOW,
                                .status = status,
                                .unfolded = choice & 8};
    struct arc_seal s;
    struct dkim_key *key;
    struct vr_str signature;
    struct vr_buf authres;
    const char *why;
    vr_buf_init(&authres, 1 << 20);
    assert(dkim_key_load(vr_str_from(secret), &key, &why) == VR_OK);
    assert(authres_merge(&authres, mail_digest_header(d), VR_STR("example.org")));
    sealer.authres = vr_buf_str(&authres);
    enum vr_err e = arc_seal_begin(d, &sealer, vr_str(NULL, 0), arena, &s);
    for (int i = 0; i < 2 && e == VR_OK; i++) {
        assert(dkim_key_sign(key, s.digest, arena, &signature) == VR_OK);
        e = arc_seal_signed(&s, signature);
        assert(e == VR_OK);
    }
    assert(e != VR_OK || arc_seal_finish(&s, out));
    vr_buf_add(out, message);
    vr_buf_fini(&authres);
    dkim_key_free(key);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 65536)
        return 0;
    struct vr_str message = vr_str((const char *)data + 1, size - 1);
    struct vr_arena arena;
    struct vr_buf out;
    vr_arena_init(&arena, 64 << 20);
    vr_buf_init(&out, 1 << 20);
    struct mail_digest *whole = digest(message, SIZE_MAX), *pieces = digest(message, 1 + (data[0] >> 4) * 5);
    struct arc_result a = validate(whole, data[0] & 4, &arena), b = validate(pieces, data[0] & 4, &arena);
    assert(a.status == b.status && vr_str_equal(a.reason, b.reason) && a.instances == b.instances &&
           a.oldest_pass == b.oldest_pass && a.sealed_fail == b.sealed_fail);
    assert((a.status == ARC_FAIL) == (a.reason.n > 0) && a.instances <= ARC_SETS_MAX);
    assert(a.status != ARC_PASS || (a.sets != NULL && a.instances > 0 && a.oldest_pass <= a.instances));
    if (mail_digest_ended(whole) && seal(whole, message, a.status, data[0], &arena, &out) == VR_OK) {
        assert(!a.sealed_fail);
        struct mail_digest *sealed = digest(vr_buf_str(&out), 1000);
        struct arc_result c = validate(sealed, false, &arena);
        assert(c.instances == a.instances + 1 || !mail_digest_ended(sealed));
        assert(a.status == ARC_FAIL ? c.status == ARC_FAIL
                                    : c.status == ARC_PASS || !mail_digest_ended(sealed));
        mail_digest_free(sealed);
    }
    mail_digest_free(whole);
    mail_digest_free(pieces);
    vr_buf_fini(&out);
    vr_arena_fini(&arena);
    return 0;
}
