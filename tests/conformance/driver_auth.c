/* driver_auth.c - mail authentication for tests in other languages. Questions are
 *
 *   {"kind": "dkim", "message": BASE64, "dns": DNS, "now": seconds, "signatures": most}
 *   {"kind": "arc", "message": BASE64, "dns": DNS, "now": seconds}
 *   {"kind": "seal", "message": BASE64, "dns": DNS, "now": seconds, "key": PEM, "domain": …, "selector": …, "fields": [name …], "id": authserv-id}
 *   {"kind": "sign", "message": BASE64, "now": seconds, "key": PEM, "domain": …, "selector": …, "canon": "relaxed/simple", "fields": [name …] or none}
 *   {"kind": "record", "key": PEM}
 *
 * DNS is {name: [TXT record …] | null (does not exist) | "failed"}; names that are not there do not exist. Each message is fed in one piece,
 * octet by octet and in pieces of 7; the answers must be the same.
 */
#include "driver.h"

#include <veredus/authres.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ANSWERS_MAX 128
#define FIELDS_MAX  32

static json_t *text(struct vr_str s)
{
    json_t *out = json_stringn(s.p != NULL ? s.p : "", s.n);
    return out != NULL ? out : json_string("(no UTF-8)");
}

static struct vr_str given(json_t *question, const char *name)
{
    json_t *value = json_object_get(question, name);
    return json_is_string(value) ? vr_str(json_string_value(value), json_string_length(value))
                                 : vr_str(NULL, 0);
}

/* In memory of exactly its size, so that the sanitizers see a read beyond it. */
static struct vr_str message_of(json_t *question)
{
    struct vr_buf b;
    vr_buf_init(&b, 8 << 20);
    assert(vr_base64_decode(&b, given(question, "message")) == VR_OK);
    char *exact = malloc(vr_buf_size(&b) > 0 ? vr_buf_size(&b) : 1);
    assert(exact != NULL);
    if (vr_buf_size(&b) > 0)
        memcpy(exact, vr_buf_str(&b).p, vr_buf_size(&b));
    struct vr_str out = vr_str(exact, vr_buf_size(&b));
    vr_buf_fini(&b);
    return out;
}

static struct mail_digest *digest(struct vr_str message, size_t piece, bool sign)
{
    struct mail_digest *d =
        mail_digest_new(&(struct mail_digest_config){.verify = true, .sign = {sign, sign}});
    assert(d != NULL);
    while (message.n > 0) {
        struct vr_str part = vr_str_sub(message, 0, piece);
        assert(mail_digest_feed(d, part) == VR_OK);
        message = vr_str_from_pos(message, part.n);
    }
    assert(mail_digest_end(d) == VR_OK);
    return d;
}

/* ---- the DNS --------------------------------------------------------------------------------------------------------- */

struct known {
    struct dns_answer answers[ANSWERS_MAX];
    size_t count;
};

void driver_look_up(struct vr_arena *arena, json_t *dns, const struct dns_question *q, struct dns_answer *a)
{
    const char *name;
    json_t *value, *found = NULL;
    *a = (struct dns_answer){.name = q->name, .type = q->type, .status = DNS_STATUS_NXDOMAIN};
    json_object_foreach(dns, name, value)
    {
        if (vr_str_equal_nocase(vr_str_from(name), q->name))
            found = value;
    }
    if (json_is_string(found))
        a->status = DNS_STATUS_FAILED;
    if (!json_is_array(found))
        return;
    struct dns_record *records = vr_arena_alloc(arena, (json_array_size(found) + 1) * sizeof *records);
    assert(records != NULL);
    for (size_t i = 0; i < json_array_size(found); i++) {
        json_t *txt = json_array_get(found, i);
        records[i].data = vr_str(json_string_value(txt), json_string_length(txt));
    }
    a->status = DNS_STATUS_OK;
    a->records = records;
    a->count = json_array_size(found);
}

static void look_up(struct vr_arena *arena, json_t *dns, const struct dns_question *q, struct known *known)
{
    assert(known->count < ANSWERS_MAX);
    driver_look_up(arena, dns, q, &known->answers[known->count++]);
}

static struct dkim_query query(json_t *question, const struct known *known)
{
    return (struct dkim_query){.now = json_integer_value(json_object_get(question, "now")),
                               .policy.signatures =
                                   (unsigned)json_integer_value(json_object_get(question, "signatures")),
                               .answers = known->answers,
                               .answer_count = known->count};
}

/* ---- DKIM -------------------------------------------------------------------------------------------------------------- */

static json_t *dkim(struct vr_arena *arena, json_t *question, struct mail_digest *d)
{
    struct known known = {.count = 0};
    struct dkim_result r;
    json_t *out = json_array();
    for (;;) {
        struct dkim_query q = query(question, &known);
        assert(dkim_verify(d, &q, arena, &r) == VR_OK);
        if (r.state == DKIM_DONE)
            break;
        assert(r.question_count > 0);
        for (size_t i = 0; i < r.question_count; i++)
            look_up(arena, json_object_get(question, "dns"), &r.questions[i], &known);
    }
    for (size_t i = 0; i < r.signature_count; i++) {
        const struct dkim_signature *s = &r.signatures[i];
        json_array_append_new(out, json_pack("{s:s,s:o,s:o,s:o,s:o,s:o,s:b}", "verdict",
                                             dkim_verdict_name(s->verdict), "reason", text(s->reason), "d",
                                             text(s->d), "s", text(s->s), "i", text(s->i), "b", text(s->b),
                                             "testing", s->testing));
    }
    return out;
}

/* ---- ARC --------------------------------------------------------------------------------------------------------------- */

static struct arc_result validate(struct vr_arena *arena, json_t *question, struct mail_digest *d)
{
    struct known known = {.count = 0};
    struct arc_result r;
    for (;;) {
        struct dkim_query q = query(question, &known);
        assert(arc_validate(d, &q, arena, &r) == VR_OK);
        if (r.state == DKIM_DONE)
            return r;
        assert(r.question_count > 0);
        for (size_t i = 0; i < r.question_count; i++)
            look_up(arena, json_object_get(question, "dns"), &r.questions[i], &known);
    }
}

static json_t *arc(struct vr_arena *arena, json_t *question, struct mail_digest *d)
{
    struct arc_result r = validate(arena, question, d);
    return json_pack("{s:s,s:o,s:i,s:i}", "status", arc_status_name(r.status), "reason", text(r.reason),
                     "instances", r.instances, "oldest_pass", r.oldest_pass);
}

static struct dkim_key *key_of(json_t *question)
{
    struct dkim_key *key;
    const char *why;
    assert(dkim_key_load(given(question, "key"), &key, &why) == VR_OK);
    return key;
}

static size_t fields_of(json_t *question, struct vr_str fields[FIELDS_MAX])
{
    json_t *names = json_object_get(question, "fields");
    size_t n = json_array_size(names);
    assert(n <= FIELDS_MAX);
    for (size_t i = 0; i < n; i++)
        fields[i] = vr_str_from(json_string_value(json_array_get(names, i)));
    return n;
}

static json_t *sign(struct vr_arena *arena, json_t *question, struct mail_digest *d)
{
    struct vr_str fields[FIELDS_MAX], signature, canon = given(question, "canon");
    struct dkim_key *key = key_of(question);
    struct dkim_unsigned u;
    struct vr_buf out;
    size_t count = fields_of(question, fields);
    struct dkim_signer signer = {
        .domain = given(question, "domain"),
        .selector = given(question, "selector"),
        .algorithm = dkim_key_algorithm(key),
        .header_canon = vr_str_starts(canon, VR_STR("relaxed")) ? MAIL_CANON_RELAXED : MAIL_CANON_SIMPLE,
        .body_canon = vr_str_ends_nocase(canon, VR_STR("/relaxed")) ? MAIL_CANON_RELAXED : MAIL_CANON_SIMPLE,
        .time = json_integer_value(json_object_get(question, "now")),
        .fields = count > 0 ? fields : NULL,
        .field_count = count};
    vr_buf_init(&out, 65536);
    assert(dkim_sign_prepare(d, &signer, vr_str(NULL, 0), arena, &u) == VR_OK);
    assert(dkim_key_sign(key, u.digest, arena, &signature) == VR_OK);
    assert(dkim_sign_finish(&u, signature, &out));
    json_t *answer = text(vr_buf_str(&out));
    vr_buf_fini(&out);
    dkim_key_free(key);
    return answer;
}

static json_t *seal(struct vr_arena *arena, json_t *question, struct mail_digest *d)
{
    struct vr_str fields[FIELDS_MAX], signature;
    struct dkim_key *key = key_of(question);
    struct arc_seal s;
    struct vr_buf authres, out;
    size_t count = fields_of(question, fields);
    struct arc_result r = validate(arena, question, d);
    vr_buf_init(&authres, 65536);
    vr_buf_init(&out, 65536);
    assert(authres_merge(&authres, mail_digest_header(d), given(question, "id")));
    struct arc_sealer sealer = {.domain = given(question, "domain"),
                                .selector = given(question, "selector"),
                                .algorithm = dkim_key_algorithm(key),
                                .header_canon = MAIL_CANON_RELAXED,
                                .body_canon = MAIL_CANON_RELAXED,
                                .time = json_integer_value(json_object_get(question, "now")),
                                .fields = count > 0 ? fields : NULL,
                                .field_count = count,
                                .status = r.status,
                                .unfolded = true,
                                .authres = vr_buf_str(&authres)};
    enum vr_err e = arc_seal_begin(d, &sealer, vr_str(NULL, 0), arena, &s);
    for (int i = 0; i < 2 && e == VR_OK; i++) {
        assert(dkim_key_sign(key, s.digest, arena, &signature) == VR_OK);
        e = arc_seal_signed(&s, signature);
    }
    assert(e == (r.sealed_fail ? VR_ERR_STATE : VR_OK));
    assert(e != VR_OK || arc_seal_finish(&s, &out));
    json_t *answer = text(vr_buf_str(&out));
    vr_buf_fini(&authres);
    vr_buf_fini(&out);
    dkim_key_free(key);
    return answer;
}

/* ---- in all splits -------------------------------------------------------------------------------------------------------- */

static json_t *in_splits(struct vr_arena *arena, json_t *question, bool sign,
                         json_t *(*answer)(struct vr_arena *arena, json_t *question, struct mail_digest *d))
{
    static const size_t pieces[] = {SIZE_MAX, 1, 7};
    struct vr_str message = message_of(question);
    json_t *out = NULL;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct mail_digest *d = digest(message, pieces[i], sign);
        json_t *same = answer(arena, question, d);
        assert(out == NULL || json_equal(out, same));
        json_decref(out);
        out = same;
        mail_digest_free(d);
    }
    free((char *)message.p);
    return out;
}

json_t *answer_dkim(struct vr_arena *arena, json_t *question)
{
    return in_splits(arena, question, false, dkim);
}

json_t *answer_arc(struct vr_arena *arena, json_t *question)
{
    return in_splits(arena, question, false, arc);
}

json_t *answer_seal(struct vr_arena *arena, json_t *question)
{
    return in_splits(arena, question, true, seal);
}

json_t *answer_sign(struct vr_arena *arena, json_t *question)
{
    return in_splits(arena, question, true, sign);
}

json_t *answer_record(struct vr_arena *arena, json_t *question)
{
    struct dkim_key *key = key_of(question);
    struct vr_buf out;
    (void)arena;
    vr_buf_init(&out, 4096);
    assert(dkim_key_record(key, &out));
    json_t *answer = text(vr_buf_str(&out));
    vr_buf_fini(&out);
    dkim_key_free(key);
    return answer;
}
