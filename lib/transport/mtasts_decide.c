/* mtasts_decide.c - see mtasts.h: which policy holds now, from the record, the policy that was kept, and the one that was fetched.
 *
 * Order:   record -> kept and current, or fetch -> fetched, or kept and old, or none.
 * Source:  RFC 8461 §3.1, §3.3, §5.1
 * Tests:   tests/unit/mtasts.c
 */
#include <veredus/mtasts.h>

#include <veredus/address.h>

#define DOMAIN_MAX 253

/* The id of the record that counts; false: none does, or it is not known. */
static bool record_id(struct vr_arena *arena, const struct dns_answer *a, struct vr_str *id,
                      struct mtasts_result *out)
{
    const struct vr_str version = VR_STR("v=STSv1;");
    size_t found = 0;
    struct vr_str text = {0};
    if (a->status == DNS_STATUS_FAILED) {
        out->unsure = true;
        out->text =
            vr_arena_printf(arena, "the DNS does not answer for the TXT records of %.*s now (%.*s)",
                            VR_STR_ARG(a->name), VR_STR_ARG(a->why.n > 0 ? a->why : VR_STR("no answer")));
        return false;
    }
    for (size_t i = 0; a->status == DNS_STATUS_OK && i < a->count; i++)
        if (vr_str_starts(a->records[i].data, version) && found++ == 0)
            text = a->records[i].data;
    if (found == 1 && mtasts_record_parse(text, id) == VR_OK)
        return true;
    if (found > 0)
        out->text = vr_arena_printf(arena,
                                    found > 1 ? "there are several MTA-STS records at %.*s"
                                              : "the MTA-STS record at %.*s is malformed",
                                    VR_STR_ARG(a->name));
    return false;
}

/* A clock that went back makes no policy old. */
static bool holds(const struct mtasts_query *q)
{
    return q->known != NULL && q->now - q->known->fetched_at < (int64_t)q->known->policy.max_age;
}

static void use_known(const struct mtasts_query *q, struct mtasts_result *out)
{
    out->verdict = MTASTS_APPLY;
    out->policy = q->known->policy;
    out->id = q->known->id;
    out->unsure = false;
}

static bool is_plain_text(struct vr_str type)
{
    const struct vr_str plain = VR_STR("text/plain");
    struct vr_str rest = vr_str_from_pos(type, plain.n);
    return vr_str_starts_nocase(type, plain) &&
           (rest.n == 0 || rest.p[0] == ';' || rest.p[0] == ' ' || rest.p[0] == '\t');
}

/* True: what came is a policy. */
static bool read_fetched(const struct mtasts_query *q, struct vr_arena *arena, struct mtasts_result *out)
{
    const struct mtasts_fetched *f = q->fetched;
    struct vr_str why = {0};
    if (f->status == 0)
        why = f->error;
    else if (f->status != 200)
        why = vr_arena_printf(arena, "HTTP status %u", f->status);
    else if (!is_plain_text(f->content_type))
        why = vr_arena_printf(arena, "it is of the type \"%.*s\", not text/plain",
                              VR_STR_ARG(vr_str_sub(f->content_type, 0, 100)));
    else if (mtasts_policy_parse(arena, f->body, &out->policy, &why) == VR_OK)
        return true;
    out->text = vr_arena_printf(arena, "the MTA-STS policy of %.*s cannot be had: %.*s",
                                VR_STR_ARG(q->domain), VR_STR_ARG(why));
    return false;
}

static bool may_fetch(const struct mtasts_query *q, struct vr_str id)
{
    const struct mtasts_failure *f = q->failure;
    return f == NULL || !vr_str_equal(f->id, id) || q->now - f->failed_at >= MTASTS_RETRY_AFTER ||
           f->failed_at > q->now;
}

/* There is a record: its policy, fetched when it must be. */
static void with_record(const struct mtasts_query *q, struct vr_arena *arena, struct vr_str id,
                        struct mtasts_result *out)
{
    bool known = holds(q);
    bool current = known && vr_str_equal(q->known->id, id);
    if (q->fetched != NULL) {
        if (read_fetched(q, arena, out)) {
            out->verdict = MTASTS_APPLY;
            out->id = id;
            out->fresh = true;
            return;
        }
        out->failed = true;
        out->failed_id = id;
    } else if (current && !(q->refresh && q->now - q->known->fetched_at >= MTASTS_REFRESH_AFTER)) {
        use_known(q, out);
        return;
    } else if (may_fetch(q, id)) {
        out->verdict = MTASTS_FETCH;
        out->id = id;
        out->url = q->port == 0 ? vr_arena_printf(arena, "https://mta-sts.%.*s/.well-known/mta-sts.txt",
                                                  VR_STR_ARG(q->domain))
                                : vr_arena_printf(arena, "https://mta-sts.%.*s:%u/.well-known/mta-sts.txt",
                                                  VR_STR_ARG(q->domain), (unsigned)q->port);
        return;
    } else {
        out->text = vr_arena_printf(
            arena, "the MTA-STS policy of %.*s could not be had, and is not asked for again so soon",
            VR_STR_ARG(q->domain));
    }
    out->unsure = true;
    if (known)
        use_known(q, out);
}

enum vr_err mtasts_decide(const struct mtasts_query *q, struct vr_arena *arena, struct mtasts_result *out)
{
    *out = (struct mtasts_result){.verdict = MTASTS_ABSENT};
    if (q->domain.n + 9 > DOMAIN_MAX || !address_domain_valid(q->domain, 0)) /* a literal has none: §3.4 */
        return VR_OK;
    struct vr_str name = vr_arena_printf(arena, "_mta-sts.%.*s", VR_STR_ARG(q->domain)), id;
    if (name.n == 0)
        return VR_ERR_TOO_BIG;
    const struct dns_answer *a = dns_answer_find(q->answers, q->answer_count, name, DNS_TYPE_TXT);
    if (a == NULL) {
        out->verdict = MTASTS_ASK;
        out->question = (struct dns_question){name, DNS_TYPE_TXT};
    } else if (record_id(arena, a, &id, out)) {
        with_record(q, arena, id, out);
    } else if (holds(q)) {
        use_known(q, out);
    }
    bool told = !out->unsure || out->text.n > 0;
    return told && (out->verdict != MTASTS_FETCH || out->url.n > 0) ? VR_OK : VR_ERR_TOO_BIG;
}
