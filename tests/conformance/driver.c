/* driver.c - the library for tests in other languages: a JSON object a line in, one out.
 *
 *   {"kind": "address", "text": …}   a mailbox without angle brackets, as SMTP takes it (RFC 5321 §4.1.2)
 *   {"kind": "list", "text": …}      the body of From, To, Cc (RFC 5322 §3.4)
 *   {"kind": "date", "text": …}      RFC 5322 §3.3
 *   {"kind": "received", "text": …}  the body of a Received field (RFC 5321 §4.4)
 *   {"kind": "registrable", "text": …}  a domain: what libpsl's list makes of it
 *   {"kind": "dmarc", …}           see driver_dmarc.c
 *
 *   {"kind": "dkim" | "arc" | "seal" | "sign" | "record", …} messages: see driver_auth.c
 *
 * Answers are objects, or null where there is nothing: no address, no date. Each text is in memory of exactly its size, so that the
 * sanitizers see a read beyond it.
 */
#include "driver.h"

#include <veredus/dmarc.h>
#include <veredus/address.h>
#include <veredus/message.h>
#include <veredus/mtasts.h>

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *text(struct vr_str s)
{
    json_t *out = json_stringn(s.p != NULL ? s.p : "", s.n);
    return out != NULL ? out : json_string("(no UTF-8)");
}

/* Also: what is written back is read as the same. */
static json_t *answer_address(struct vr_arena *arena, struct vr_str in)
{
    struct address a, again;
    const char *why = NULL;
    if (address_parse(arena, in, 0, &a, &why) != VR_OK) {
        assert(why != NULL);
        return json_null();
    }
    struct vr_str written = address_text(arena, &a);
    bool same = address_parse(arena, written, 0, &again, &why) == VR_OK && address_equal(&a, &again);
    return json_pack("{s:o,s:o,s:b}", "local", text(a.local), "domain", text(a.domain), "same", same);
}

static json_t *answer_list(struct vr_arena *arena, struct vr_str in)
{
    struct address_mailbox *m = NULL;
    json_t *out = json_array();
    if (address_parse_list(arena, in, &m) != VR_OK)
        return out;
    for (; m != NULL; m = m->next) {
        struct vr_buf b;
        vr_buf_init(&b, 1 << 20);
        vr_buf_addf(&b, "%.*s", VR_STR_ARG(m->local));
        if (m->domain.n > 0)
            vr_buf_addf(&b, "@%.*s", VR_STR_ARG(m->domain));
        json_array_append_new(out, json_pack("{s:o,s:o,s:o,s:o}", "name", text(m->name), "address",
                                             text(vr_buf_str(&b)), "text", text(m->text), "group",
                                             text(m->group)));
        vr_buf_fini(&b);
    }
    return out;
}

static json_t *answer_date(struct vr_arena *arena, struct vr_str in)
{
    struct message_date d;
    (void)arena;
    return message_date_parse(in, &d) == VR_OK
               ? json_pack("{s:I,s:i}", "time", (json_int_t)d.time, "zone", d.zone_minutes)
               : json_null();
}

static json_t *answer_received(struct vr_arena *arena, struct vr_str in)
{
    struct received r;
    if (received_parse(arena, in, &r) != VR_OK)
        return json_null();
    json_t *out = json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "from", text(r.from), "from_comment",
                            text(r.from_comment), "by", text(r.by), "via", text(r.via), "with", text(r.with),
                            "id", text(r.id), "for_", text(r.for_));
    if (r.time != RECEIVED_NO_TIME)
        json_object_set_new(out, "time", json_integer((json_int_t)r.time));
    return out;
}

static json_t *answer_sts_record(struct vr_arena *arena, struct vr_str in)
{
    struct vr_str id;
    (void)arena;
    return mtasts_record_parse(in, &id) == VR_OK ? text(id) : json_null();
}

static json_t *answer_sts_policy(struct vr_arena *arena, struct vr_str in)
{
    struct mtasts_policy p;
    struct vr_str why;
    if (mtasts_policy_parse(arena, in, &p, &why) != VR_OK)
        return json_null();
    json_t *mx = json_array();
    for (size_t i = 0; i < p.mx_count; i++)
        json_array_append_new(mx, text(p.mx[i]));
    return json_pack("{s:s,s:I,s:o}", "mode", mtasts_mode_name(p.mode), "max_age", (json_int_t)p.max_age,
                     "mx", mx);
}

static json_t *answer_registrable(struct vr_arena *arena, struct vr_str in)
{
    struct vr_str out;
    return dmarc_registrable(arena, in, &out) == VR_OK ? text(out) : json_null();
}

static const struct {
    const char *kind;
    json_t *(*answer)(struct vr_arena *arena, struct vr_str in);     /* by "text" … */
    json_t *(*answer_all)(struct vr_arena *arena, json_t *question); /* … or by the whole question */
} kinds[] = {
    {"address", answer_address, NULL},
    {"list", answer_list, NULL},
    {"date", answer_date, NULL},
    {"received", answer_received, NULL},
    {"dkim", NULL, answer_dkim},
    {"arc", NULL, answer_arc},
    {"seal", NULL, answer_seal},
    {"sign", NULL, answer_sign},
    {"record", NULL, answer_record},
    {"spf", NULL, answer_spf},
    {"registrable", answer_registrable, NULL},
    {"dmarc", NULL, answer_dmarc},
    {"sts-record", answer_sts_record, NULL},
    {"sts-policy", answer_sts_policy, NULL},
};

static json_t *answer(json_t *question)
{
    const char *kind = json_string_value(json_object_get(question, "kind"));
    json_t *given = json_object_get(question, "text");
    size_t n = given != NULL ? json_string_length(given) : 0;
    json_t *out = NULL;
    char *exact = malloc(n > 0 ? n : 1);
    struct vr_arena arena;
    assert(kind != NULL && exact != NULL);
    if (n > 0)
        memcpy(exact, json_string_value(given), n);
    vr_arena_init(&arena, 16u << 20);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kind, kinds[i].kind) == 0)
            out = kinds[i].answer != NULL ? kinds[i].answer(&arena, vr_str(exact, n))
                                          : kinds[i].answer_all(&arena, question);
    assert(out != NULL);
    vr_arena_fini(&arena);
    free(exact);
    return out;
}

int main(void)
{
    static char line[8 << 20];
    while (fgets(line, sizeof line, stdin) != NULL) {
        json_t *question = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert(question != NULL);
        json_t *out = answer(question);
        char *printed = json_dumps(out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        assert(printed != NULL);
        puts(printed);
        fflush(stdout); /* the runner waits for each answer */
        free(printed);
        json_decref(out);
        json_decref(question);
    }
    return 0;
}
