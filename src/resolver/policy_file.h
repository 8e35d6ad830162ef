/* policy_file.h - an MTA-STS policy as it is kept on disk: a few lines about it, an empty line, the policy as its host serves it.
 *
 *     veredus mta-sts 1
 *     id: 20160831085700Z
 *     fetched: 1700000000
 *     used: 1700000500
 *
 *     version: STSv1
 *     …
 *
 * Tests: tests/unit/resolver_policies.c
 */
#ifndef RESOLVER_POLICY_FILE_H
#define RESOLVER_POLICY_FILE_H

#include <veredus/mtasts.h>

#define POLICY_FILE_MAX (2 * MTASTS_POLICY_MAX)

struct policy_file {
    struct mtasts_known known;
    int64_t used_at; /* seconds since 1970: when mail asked for it last, give or take a day */
};
/* Slices point into text and arena. False: it is none. */
bool policy_file_parse(struct vr_arena *arena, struct vr_str text, struct policy_file *out);
bool policy_file_write(struct vr_buf *out, const struct policy_file *f);

#endif
