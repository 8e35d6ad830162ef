/* dmarc_arc.c - a message that a forwarder broke, and a trusted forwarder that says how it came to him (RFC 8617 §7.2).
 *
 * Tests: tests/unit/dmarc.c
 */
#include "dmarc_inside.h"

#include <veredus/authres.h>
#include <veredus/idn.h>

#define COMMENT_MAX 512

const char *dmarc_override_name(enum dmarc_override o)
{
    static const char *const names[] = {"",
                                        "forwarded",
                                        "sampled_out",
                                        "trusted_forwarder",
                                        "mailing_list",
                                        "local_policy",
                                        "policy_test_mode",
                                        "other"};
    return names[o];
}

static bool is_trusted(struct vr_str sealer, const struct vr_str *sealers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (idn_equal(sealer, sealers[i]))
            return true;
    return false;
}

/* Does the set say dmarc=pass for this domain of From? */
static bool vouches(struct vr_arena *arena, const struct arc_set *set, struct vr_str domain)
{
    struct authres said;
    if (authres_parse(arena, set->authres, &said) != VR_OK)
        return false;
    for (size_t i = 0; i < said.result_count; i++) {
        const struct authres_result *r = &said.results[i];
        if (!vr_str_equal_nocase(r->method, VR_STR("dmarc")) ||
            !vr_str_equal_nocase(r->result, VR_STR("pass")))
            continue;
        for (size_t k = 0; k < r->property_count; k++) {
            const struct authres_property *p = &r->properties[k];
            if (vr_str_equal_nocase(p->ptype, VR_STR("header")) &&
                vr_str_equal_nocase(p->property, VR_STR("from")) && idn_equal(p->value, domain))
                return true;
        }
    }
    return false;
}

static bool write_comment(const struct arc_result *arc, struct vr_arena *arena, struct vr_str *comment)
{
    struct vr_buf b;
    vr_buf_init(&b, COMMENT_MAX);
    vr_buf_add(&b, VR_STR("arc=pass"));
    for (unsigned i = arc->instances; i >= 1; i--) { /* what does not fit is left off: the newest tell most */
        const struct arc_set *s = &arc->sets[i - 1];
        if (vr_buf_size(&b) + s->domain.n + s->selector.n + 40 > COMMENT_MAX)
            break;
        vr_buf_addf(&b, " as[%u].d=%.*s as[%u].s=%.*s", i, VR_STR_ARG(s->domain), i, VR_STR_ARG(s->selector));
    }
    *comment = vr_arena_dup(arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return comment->n > 0;
}

bool dmarc_arc_override(const struct dmarc_result *r, const struct arc_result *arc,
                        const struct vr_str *sealers, size_t sealer_count, struct vr_arena *arena,
                        struct vr_str *comment)
{
    if (r->verdict != DMARC_FAIL || arc->state != DKIM_DONE || arc->status != ARC_PASS || arc->sets == NULL ||
        arc->instances == 0 || !arc->sets[arc->instances - 1].from_signed)
        return false;
    for (unsigned i = arc->instances; i >= 1; i--) {
        const struct arc_set *s = &arc->sets[i - 1];
        if (!is_trusted(s->domain, sealers, sealer_count))
            return false;
        if (vouches(arena, s, r->domain))
            return write_comment(arc, arena, comment);
    }
    return false;
}
