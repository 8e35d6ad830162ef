/* policy_file.c - see policy_file.h. */
#include "resolver/policy_file.h"

#define FIRST_LINE VR_STR("veredus mta-sts 1")

static bool take_line(struct vr_str *rest, struct vr_str name, struct vr_str *value)
{
    struct vr_str line;
    if (!vr_str_split(rest, '\n', &line) || !vr_str_starts(line, name))
        return false;
    *value = vr_str_from_pos(line, name.n);
    return true;
}

static bool take_time(struct vr_str *rest, struct vr_str name, int64_t *out)
{
    struct vr_str value;
    uint64_t n;
    if (!take_line(rest, name, &value) || !vr_str_to_u64(value, &n) || n > INT64_MAX / 2)
        return false;
    *out = (int64_t)n;
    return true;
}

bool policy_file_parse(struct vr_arena *arena, struct vr_str text, struct policy_file *out)
{
    struct vr_str value, why;
    *out = (struct policy_file){0};
    return take_line(&text, FIRST_LINE, &value) && value.n == 0 &&
           take_line(&text, VR_STR("id: "), &out->known.id) && out->known.id.n > 0 &&
           out->known.id.n <= MTASTS_ID_MAX &&
           take_time(&text, VR_STR("fetched: "), &out->known.fetched_at) &&
           take_time(&text, VR_STR("used: "), &out->used_at) && take_line(&text, VR_STR(""), &value) &&
           value.n == 0 && mtasts_policy_parse(arena, text, &out->known.policy, &why) == VR_OK;
}

bool policy_file_write(struct vr_buf *out, const struct policy_file *f)
{
    return vr_buf_addf(out, "veredus mta-sts 1\nid: %.*s\nfetched: %lld\nused: %lld\n\n",
                       VR_STR_ARG(f->known.id), (long long)f->known.fetched_at, (long long)f->used_at) &&
           mtasts_policy_write(out, &f->known.policy);
}
