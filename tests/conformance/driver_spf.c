/* driver_spf.c - SPF for tests in other languages. A question is
 *
 *   {"kind": "spf", "client": address, "helo": …, "sender": …, "identity": "mailfrom" or "helo", "receiver": …, "now": seconds,
 *    "zone": {name in lower case: {type in capitals: [record …] or "failed"}}}
 *
 * TXT records are base64, MX records [preference, host]. A type that is not there has no records, a name that is not there does not exist. Each
 * check is made in four ways, which must give the same: all questions of a call answered at once; one at a time; with a needless
 * answer among the others; and over exactly sized copies of all texts, so that the sanitizers see a read beyond them.
 */
#include "driver.h"

#include <veredus/address.h>
#include <veredus/authres.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ANSWERS_MAX 128

static const struct {
    enum dns_type type;
    const char *name;
} types[] = {{DNS_TYPE_A, "A"},
             {DNS_TYPE_AAAA, "AAAA"},
             {DNS_TYPE_MX, "MX"},
             {DNS_TYPE_PTR, "PTR"},
             {DNS_TYPE_TXT, "TXT"}};

static const char *type_name(enum dns_type type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type)
            return types[i].name;
    abort(); /* a type that SPF does not ask for */
}

static struct vr_str given(json_t *question, const char *name)
{
    json_t *value = json_object_get(question, name);
    return json_is_string(value) ? vr_str(json_string_value(value), json_string_length(value))
                                 : vr_str(NULL, 0);
}

static json_t *text(struct vr_str s)
{
    return json_stringn(s.p != NULL ? s.p : "", s.n);
}

static struct dns_address address_of(struct vr_str text)
{
    struct dns_address a = {0};
    int family;
    assert(address_ip_parse(text, a.ip, &family));
    a.family = (uint8_t)family;
    return a;
}

static struct dns_record record_of(struct vr_arena *arena, enum dns_type type, json_t *value)
{
    struct dns_record r = {.preference = 0};
    if (type == DNS_TYPE_MX) {
        r.preference = (uint16_t)json_integer_value(json_array_get(value, 0));
        value = json_array_get(value, 1);
    }
    struct vr_str text = vr_str(json_string_value(value), json_string_length(value));
    if (type == DNS_TYPE_A || type == DNS_TYPE_AAAA) {
        r.address = address_of(text);
    } else if (type == DNS_TYPE_TXT) {
        struct vr_buf b;
        vr_buf_init(&b, 65536);
        assert(vr_base64_decode(&b, text) == VR_OK);
        r.data = vr_arena_dup(arena, vr_buf_str(&b));
        vr_buf_fini(&b);
    } else {
        r.name = text;
    }
    return r;
}

static struct dns_answer look_up(struct vr_arena *arena, json_t *zone, const struct dns_question *q)
{
    struct dns_answer a = {.name = q->name, .type = q->type, .status = DNS_STATUS_NXDOMAIN};
    struct vr_str lower = vr_arena_lower(arena, q->name);
    json_t *name = json_object_getn(zone, lower.p, lower.n);
    if (name == NULL)
        return a;
    json_t *found = json_object_get(name, type_name(q->type));
    a.status = json_is_string(found) ? DNS_STATUS_FAILED : DNS_STATUS_NODATA;
    if (!json_is_array(found) || json_array_size(found) == 0)
        return a;
    struct dns_record *records = vr_arena_alloc(arena, json_array_size(found) * sizeof *records);
    assert(records != NULL);
    for (size_t i = 0; i < json_array_size(found); i++)
        records[i] = record_of(arena, q->type, json_array_get(found, i));
    a.status = DNS_STATUS_OK;
    a.records = records;
    a.count = json_array_size(found);
    return a;
}

static bool is_new(const struct dns_answer *answers, size_t count, const struct dns_question *q)
{
    return dns_answer_find(answers, count, q->name, q->type) == NULL;
}

static struct spf_result check(struct vr_arena *arena, json_t *question, struct spf_query q, bool one_by_one,
                               bool needless)
{
    static struct dns_answer answers[ANSWERS_MAX];
    struct spf_result r;
    json_t *zone = json_object_get(question, "zone");
    size_t count = 0;
    if (needless)
        answers[count++] = (struct dns_answer){
            .name = VR_STR("needless.example"), .type = DNS_TYPE_TXT, .status = DNS_STATUS_FAILED};
    for (unsigned rounds = 1;; rounds++) {
        q.answers = answers;
        q.answer_count = count;
        assert(spf_check(&q, arena, &r) == VR_OK);
        if (r.state == SPF_DONE)
            break;
        assert(r.question_count > 0 && r.question_count <= SPF_QUESTIONS_MAX);
        assert(one_by_one || rounds < SPF_ROUNDS_MAX);
        for (size_t i = 0; i < (one_by_one ? 1 : r.question_count); i++) {
            assert(count < ANSWERS_MAX && is_new(answers, count, &r.questions[i]));
            answers[count++] = look_up(arena, zone, &r.questions[i]);
        }
    }
    return r;
}

static struct vr_str exact(struct vr_str s, char **memory)
{
    *memory = malloc(s.n > 0 ? s.n : 1);
    assert(*memory != NULL);
    if (s.n > 0)
        memcpy(*memory, s.p, s.n);
    return vr_str(*memory, s.n);
}

json_t *answer_spf(struct vr_arena *arena, json_t *question)
{
    char *helo, *sender;
    struct spf_query q = {
        .client = address_of(given(question, "client")),
        .helo = given(question, "helo"),
        .sender = given(question, "sender"),
        .identity = vr_str_equal(given(question, "identity"), VR_STR("helo")) ? SPF_HELO : SPF_MAIL_FROM,
        .receiver = given(question, "receiver"),
        .now = json_integer_value(json_object_get(question, "now"))};
    struct spf_result r = check(arena, question, q, false, false);
    q.helo = exact(q.helo, &helo);
    q.sender = exact(q.sender, &sender);
    for (int i = 0; i < 3; i++) {
        struct spf_result same = check(arena, question, q, i == 0, i == 1);
        assert(same.verdict == r.verdict && vr_str_equal(same.reason, r.reason) &&
               vr_str_equal(same.explanation, r.explanation) && same.voids == r.voids);
    }
    struct vr_buf field;
    vr_buf_init(&field, 8192);
    assert(spf_received(&field, &q, &r) && authres_of_spf(arena, &q, &r) != NULL);
    json_t *out =
        json_pack("{s:s,s:o,s:o,s:o,s:o,s:i,s:i}", "verdict", spf_verdict_name(r.verdict), "reason",
                  text(r.reason), "explanation", text(r.explanation), "mechanism", text(r.mechanism),
                  "received", text(vr_buf_str(&field)), "lookups", (int)r.lookups, "voids", (int)r.voids);
    vr_buf_fini(&field);
    free(helo);
    free(sender);
    return out;
}
