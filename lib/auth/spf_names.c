/* spf_names.c - questions, and the names of the client that lead back to it (RFC 7208 §5.5).
 *
 * Tests: tests/unit/spf.c
 */
#include "spf_inside.h"

#include <string.h>

size_t spf_answer_count(const struct dns_answer *a)
{
    return a->status == DNS_STATUS_OK ? a->count : 0;
}

enum spf_step spf_ask(struct spf_run *r, struct vr_str name, enum dns_type type,
                      const struct dns_answer **out)
{
    struct spf_result *result = r->out;
    *out = dns_answer_find(r->q->answers, r->q->answer_count, name, type);
    if (*out != NULL)
        return SPF_GOES_ON;
    for (size_t i = 0; i < result->question_count; i++)
        if (r->questions[i].type == type && vr_str_equal_nocase(r->questions[i].name, name))
            return SPF_ASKED;
    if (result->question_count < SPF_QUESTIONS_MAX)
        r->questions[result->question_count++] = (struct dns_question){name, type};
    return SPF_ASKED;
}

static struct vr_str reverse_name(struct vr_arena *arena, const struct dns_address *a)
{
    char text[80];
    if (a->family == 4)
        return vr_arena_printf(arena, "%u.%u.%u.%u.in-addr.arpa", a->ip[3], a->ip[2], a->ip[1], a->ip[0]);
    for (size_t i = 0; i < 32; i++) {
        text[2 * i] = "0123456789abcdef"[a->ip[15 - i / 2] >> (i % 2 == 0 ? 0 : 4) & 15];
        text[2 * i + 1] = '.';
    }
    memcpy(text + 64, "ip6.arpa", 8);
    return vr_arena_dup(arena, vr_str(text, 72));
}

static bool leads_back(const struct spf_run *r, const struct dns_answer *a)
{
    size_t n = r->client.family == 4 ? 4 : 16;
    for (size_t i = 0; i < spf_answer_count(a); i++)
        if (a->records[i].address.family == r->client.family &&
            memcmp(a->records[i].address.ip, r->client.ip, n) == 0)
            return true;
    return false;
}

enum spf_step spf_client_names(struct spf_run *r, const struct vr_str **out, size_t *count, bool *found)
{
    const struct dns_answer *ptr, *addresses;
    struct vr_str reverse = reverse_name(r->arena, &r->client);
    struct vr_str *names = vr_arena_alloc(r->arena, SPF_HOSTS_MAX * sizeof *names);
    enum dns_type type = r->client.family == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA;
    *count = 0;
    *out = names;
    *found = false;
    if (reverse.n == 0 || names == NULL)
        return SPF_NO_MEMORY;
    if (spf_ask(r, reverse, DNS_TYPE_PTR, &ptr) == SPF_ASKED)
        return SPF_ASKED;
    if (ptr->status == DNS_STATUS_FAILED)
        return SPF_TEMPORARY;
    enum spf_step step = SPF_GOES_ON;
    size_t records = spf_answer_count(ptr);
    *found = records > 0;
    for (size_t i = 0; i < records && i < SPF_HOSTS_MAX; i++) {
        struct vr_str name = ptr->records[i].name;
        if (name.n > 0 && name.p[name.n - 1] == '.')
            name.n--;
        if (!spf_name_valid(name))
            continue;
        if (spf_ask(r, name, type, &addresses) == SPF_ASKED)
            step = SPF_ASKED;
        else if (leads_back(r, addresses)) /* a name whose addresses cannot be had is skipped */
            names[(*count)++] = name;
    }
    return step;
}
