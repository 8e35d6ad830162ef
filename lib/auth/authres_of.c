/* authres_of.c - what SPF, DKIM, ARC and DMARC found, as results for an Authentication-Results field (RFC 8601 §2.7.1, RFC 6008, RFC 8617 §6,
 * RFC 9989 §9.1).
 *
 * Tests: tests/unit/authres.c, tests/unit/dmarc.c
 */
#include <veredus/authres.h>

#define DKIM_PROPERTIES  5
#define ARC_PROPERTIES   2
#define DMARC_PROPERTIES 2

static struct vr_str comment_of(struct vr_arena *arena, const struct dkim_signature *s)
{
    struct vr_buf b;
    vr_buf_init(&b, 512);
    vr_buf_add(&b, s->reason);
    if (s->key_bits > 0 && s->algorithm != DKIM_ED25519_SHA256)
        vr_buf_addf(&b, "%s%u-bit key", vr_buf_size(&b) > 0 ? ", " : "", s->key_bits);
    if (s->unsigned_body > 0)
        vr_buf_addf(&b, ", %llu octets of the body not signed", (unsigned long long)s->unsigned_body);
    if (s->testing)
        vr_buf_addf(&b, "%stest mode", vr_buf_size(&b) > 0 ? ", " : "");
    struct vr_str text = vr_arena_dup(arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return text;
}

static bool fill_dkim(struct vr_arena *arena, const struct dkim_signature *s, struct authres_result *out)
{
    const struct authres_property all[DKIM_PROPERTIES] = {{VR_STR("header"), VR_STR("d"), s->d},
                                                          {VR_STR("header"), VR_STR("i"), s->i},
                                                          {VR_STR("header"), VR_STR("s"), s->s},
                                                          {VR_STR("header"), VR_STR("a"), s->a},
                                                          {VR_STR("header"), VR_STR("b"), s->b}};
    struct authres_property *kept = vr_arena_alloc(arena, sizeof all);
    if (kept == NULL)
        return false;
    *out = (struct authres_result){.method = VR_STR("dkim"),
                                   .result = vr_str_from(dkim_verdict_name(s->verdict)),
                                   .comment = comment_of(arena, s),
                                   .properties = kept};
    for (size_t i = 0; i < DKIM_PROPERTIES; i++)
        if (all[i].value.n > 0)
            kept[out->property_count++] = all[i];
    return out->comment.p != NULL;
}

const struct authres_result *authres_of_dkim(struct vr_arena *arena, const struct dkim_result *r,
                                             size_t *count)
{
    *count = r->signature_count > 0 ? r->signature_count : 1;
    struct authres_result *out = vr_arena_alloc(arena, *count * sizeof *out);
    if (out == NULL)
        return NULL;
    if (r->signature_count == 0)
        out[0] = (struct authres_result){
            .method = VR_STR("dkim"), .result = VR_STR("none"), .comment = VR_STR("no signature")};
    for (size_t i = 0; i < r->signature_count; i++)
        if (!fill_dkim(arena, &r->signatures[i], &out[i]))
            return NULL;
    return out;
}

const struct authres_result *authres_of_arc(struct vr_arena *arena, const struct arc_result *r,
                                            struct vr_str remote_ip)
{
    struct authres_result *out = vr_arena_alloc(arena, sizeof *out);
    struct authres_property *properties = vr_arena_alloc(arena, ARC_PROPERTIES * sizeof *properties);
    if (out == NULL || properties == NULL)
        return NULL;
    *out = (struct authres_result){.method = VR_STR("arc"),
                                   .result = vr_str_from(arc_status_name(r->status)),
                                   .comment = r->reason,
                                   .properties = properties};
    if (remote_ip.n > 0)
        properties[out->property_count++] =
            (struct authres_property){VR_STR("smtp"), VR_STR("remote-ip"), remote_ip};
    if (r->status == ARC_PASS) {
        struct vr_str oldest = vr_arena_printf(arena, "%u", r->oldest_pass);
        properties[out->property_count++] =
            (struct authres_property){VR_STR("header"), VR_STR("oldest-pass"), oldest};
        if (oldest.n == 0)
            return NULL;
    }
    return out;
}

const struct authres_result *authres_of_spf(struct vr_arena *arena, const struct spf_query *q,
                                            const struct spf_result *r)
{
    struct authres_result *out = vr_arena_alloc(arena, sizeof *out);
    struct authres_property *property = vr_arena_alloc(arena, sizeof *property);
    if (out == NULL || property == NULL)
        return NULL;
    bool mail_from = q->identity == SPF_MAIL_FROM && q->sender.n > 0;
    *property = (struct authres_property){.ptype = VR_STR("smtp"),
                                          .property = mail_from ? VR_STR("mailfrom") : VR_STR("helo"),
                                          .value = mail_from && r->local_part ? q->sender : r->domain};
    *out = (struct authres_result){.method = VR_STR("spf"),
                                   .result = vr_str_from(spf_verdict_name(r->verdict)),
                                   .comment = r->reason,
                                   .properties = property,
                                   .property_count = property->value.n > 0};
    return out;
}

/* What the owner says, and what was done when that is something else. */
static struct vr_str comment_of_dmarc(struct vr_arena *arena, const struct dmarc_result *r,
                                      enum dmarc_policy disposition)
{
    if (r->record == NULL)
        return vr_arena_dup(arena, r->reason);
    return vr_arena_printf(arena, "%.*s%s%s=%s dis=%s", VR_STR_ARG(r->reason), r->reason.n > 0 ? "; " : "",
                           dmarc_source_name(r->source), dmarc_policy_name(r->policy),
                           dmarc_policy_name(disposition));
}

const struct authres_result *authres_of_dmarc(struct vr_arena *arena, const struct dmarc_result *r,
                                              enum dmarc_policy disposition)
{
    struct authres_result *out = vr_arena_alloc(arena, sizeof *out);
    struct authres_property *properties = vr_arena_alloc(arena, DMARC_PROPERTIES * sizeof *properties);
    if (out == NULL || properties == NULL)
        return NULL;
    *out = (struct authres_result){.method = VR_STR("dmarc"),
                                   .result = vr_str_from(dmarc_verdict_name(r->verdict)),
                                   .comment = comment_of_dmarc(arena, r, disposition),
                                   .properties = properties};
    if (r->domain.n > 0)
        properties[out->property_count++] =
            (struct authres_property){VR_STR("header"), VR_STR("from"), r->domain};
    if (r->verdict == DMARC_PASS || r->verdict == DMARC_FAIL)
        properties[out->property_count++] = (struct authres_property){
            VR_STR("policy"), VR_STR("dmarc"), vr_str_from(dmarc_policy_name(r->disposition))};
    return out->comment.n == 0 && (r->record != NULL || r->reason.n > 0) ? NULL : out;
}
