/* fuzz_dkim.c - any bytes as a message and its key records, and as a private key.
 *
 * Input: one byte that chooses the size of pieces and the policy, a line that is the key record of all names, and the message.
 * Checked: the verdicts do not depend on how the message was cut, and have a reason; what is signed by us verifies, and is one field of short lines; a key record that
 * can be used is one that dkim_record_parse takes.
 */
#include <veredus/dkim.h>
#include <veredus/message.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1528637909

static const char secret[] = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
static const char public_record[] = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

static struct mail_digest *digest(struct vr_str message, size_t piece)
{
    struct mail_digest *d = mail_digest_new(
        &(struct mail_digest_config){.header_max = 16384, .verify = true, .sign = {true, true}});
    assert(d != NULL);
    while (message.n > 0) {
        struct vr_str part = vr_str_sub(message, 0, piece);
        enum vr_err e = mail_digest_feed(d, part);
        assert(e == VR_OK || e == VR_ERR_TOO_BIG);
        message = vr_str_from_pos(message, part.n);
    }
    mail_digest_end(d);
    return d;
}

/* All names have the same record. */
static struct dkim_result verify(const struct mail_digest *d, struct vr_str record, uint8_t choice,
                                 struct vr_arena *arena)
{
    static struct dns_answer answers[DKIM_SIGNATURES_MAX];
    struct dns_record r = {.data = record};
    struct dkim_query q = {.now = NOW, .policy.trust_length = choice & 8, .answers = answers};
    struct dkim_result out;
    for (int round = 0;; round++) {
        assert(round < 2);
        assert(dkim_verify(d, &q, arena, &out) == VR_OK);
        if (out.state == DKIM_DONE)
            return out;
        assert(out.question_count > 0);
        for (size_t i = 0; i < out.question_count; i++) {
            assert(q.answer_count < DKIM_SIGNATURES_MAX && out.questions[i].name.n > 0);
            answers[q.answer_count++] =
                (struct dns_answer){.name = out.questions[i].name,
                                    .type = out.questions[i].type,
                                    .status = choice & 4 ? DNS_STATUS_FAILED : DNS_STATUS_OK,
                                    .records = &r,
                                    .count = 1};
        }
    }
}

static void check_same(const struct dkim_result *a, const struct dkim_result *b)
{
    assert(a->signature_count == b->signature_count && a->ignored == b->ignored &&
           a->signature_count <= DKIM_SIGNATURES_MAX);
    for (size_t i = 0; i < a->signature_count; i++) {
        const struct dkim_signature *x = &a->signatures[i], *y = &b->signatures[i];
        assert(x->verdict == y->verdict && vr_str_equal(x->reason, y->reason) && vr_str_equal(x->b, y->b) &&
               x->unsigned_body == y->unsigned_body);
        assert((x->verdict == DKIM_PASS) == (x->reason.n == 0));
        assert(x->verdict != DKIM_PASS || (x->domain.n > 0 && x->key_bits > 0));
        assert(vr_str_is_ascii(x->domain) && (x->field.n > 0 || a->signature_count == 1));
    }
}

/* What we sign verifies. */
static void check_signing(struct vr_str message, size_t piece, uint8_t choice, struct vr_arena *arena)
{
    struct dkim_key *key;
    struct dkim_unsigned u;
    struct vr_str signature, line;
    const char *why;
    struct dkim_signer signer = {.domain = VR_STR("example.org"),
                                 .selector = VR_STR("s"),
                                 .algorithm = DKIM_ED25519_SHA256,
                                 .header_canon = choice & 1,
                                 .body_canon = choice >> 1 & 1,
                                 .time = NOW};
    struct mail_digest *d = digest(message, piece);
    enum vr_err e = dkim_sign_prepare(d, &signer, vr_str(NULL, 0), arena, &u);
    assert(e == VR_OK || e == VR_ERR_TOO_BIG || e == VR_ERR_SYNTAX);
    assert(e != VR_ERR_SYNTAX || header_count(mail_digest_header(d), VR_STR("From")) == 0);
    mail_digest_free(d);
    if (e != VR_OK)
        return;
    struct vr_buf out;
    vr_buf_init(&out, message.n + 65536);
    assert(dkim_key_load(vr_str_from(secret), &key, &why) == VR_OK);
    assert(dkim_key_sign(key, u.digest, arena, &signature) == VR_OK);
    assert(dkim_sign_finish(&u, signature, &out));
    for (struct vr_str field = vr_buf_str(&out); vr_str_split(&field, '\n', &line);)
        assert(line.n <= 79 && line.p[line.n - 1] == '\r');
    vr_buf_add(&out, message);
    d = digest(vr_buf_str(&out), piece);
    struct dkim_result r = verify(d, vr_str_from(public_record), 0, arena);
    assert(r.signature_count > 0 && (r.signatures[0].verdict == DKIM_PASS || !mail_digest_ended(d)));
    mail_digest_free(d);
    dkim_key_free(key);
    vr_buf_fini(&out);
}

static void check_record(struct vr_str record, const struct dkim_result *r)
{
    struct vr_arena arena;
    struct dkim_record said;
    const char *why = NULL;
    vr_arena_init(&arena, 1 << 20);
    enum vr_err e = dkim_record_parse(&arena, record, &said, &why);
    assert(e == VR_OK ? why == NULL : e == VR_ERR_SYNTAX && why != NULL);
    for (size_t i = 0; i < r->signature_count; i++)
        assert(r->signatures[i].key_bits == 0 || (e == VR_OK && said.bits == r->signatures[i].key_bits));
    vr_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 65536)
        return 0;
    struct vr_str rest = vr_str((const char *)data + 1, size - 1), record = {0};
    struct vr_arena arena;
    struct dkim_key *key;
    const char *why;
    vr_arena_init(&arena, 16 << 20);
    vr_str_split(&rest, '\n', &record);
    size_t piece = 1 + (data[0] >> 4) * 5;
    struct mail_digest *whole = digest(rest, SIZE_MAX), *pieces = digest(rest, piece);
    struct dkim_result a = verify(whole, record, data[0], &arena),
                       b = verify(pieces, record, data[0], &arena);
    assert(vr_str_equal(mail_digest_header(whole), mail_digest_header(pieces)));
    check_same(&a, &b);
    if (!(data[0] & 4))
        check_record(record, &a);
    check_signing(rest, piece, data[0], &arena);
    mail_digest_free(whole);
    mail_digest_free(pieces);
    if (dkim_key_load(rest, &key, &why) == VR_OK)
        dkim_key_free(key);
    else
        assert(why != NULL);
    vr_arena_fini(&arena);
    return 0;
}
