/* dnsq.c - see dnsq.h.
 *
 * Tests: tests/unit/base.c
 */
#include <veredus/dnsq.h>

static struct vr_str without_dot(struct vr_str name)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    return name;
}

const struct dns_answer *dns_answer_find(const struct dns_answer *answers, size_t count, struct vr_str name,
                                         enum dns_type type)
{
    name = without_dot(name);
    for (size_t i = 0; i < count; i++)
        if (answers[i].type == type && vr_str_equal_nocase(without_dot(answers[i].name), name))
            return &answers[i];
    return NULL;
}
