/* names.c - domain names of the configuration, in U-labels or A-labels (RFC 5890).
 *
 * Tests: tests/unit/config.c, tests/unit/routing.c
 */
#include "config/load.h"

#include <veredus/idn.h>

#define SCRATCH_MAX 65536

static struct vr_str convert(struct vr_arena *arena, struct vr_str name,
                             enum vr_err (*with)(struct vr_arena *, struct vr_str, struct vr_str *))
{
    struct vr_arena scratch;
    size_t prefix = vr_str_starts(name, VR_STR("*.")) ? 2 : vr_str_starts(name, VR_STR(".")) ? 1 : 0;
    struct vr_str domain;
    vr_arena_init(&scratch, SCRATCH_MAX);
    if (with(&scratch, vr_str_from_pos(name, prefix), &domain) == VR_OK)
        name = vr_arena_printf(&scratch, "%.*s%.*s", (int)prefix, name.p, VR_STR_ARG(domain));
    struct vr_str kept = must_dup(arena, name);
    vr_arena_fini(&scratch);
    for (size_t i = 0; i < kept.n; i++)
        ((char *)(uintptr_t)kept.p)[i] = vr_lower(kept.p[i]);
    return kept;
}

struct vr_str ascii_name(struct vr_arena *arena, struct vr_str name)
{
    return convert(arena, name, idn_to_ascii);
}

struct vr_str written_name(struct vr_arena *arena, struct vr_str name)
{
    return convert(arena, name, vr_str_is_ascii(name) ? idn_to_ascii : idn_to_unicode);
}
