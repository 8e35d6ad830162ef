/* mta_sts.c - which MTA-STS policy holds for a domain, without a network: what a sender does before it chooses among MX hosts.
 *
 * The library asks for the TXT record and for a URL; here a table answers both. The policy that came is kept; on the next day the record has another id, the policy
 * host is down, and the kept policy still holds.
 */
#include <veredus/mtasts.h>

#include <stdio.h>

static const char policy_file[] =
    "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n";

/* One mail's question. known: NULL, or what an earlier one kept. */
static struct mtasts_result find_policy(struct vr_arena *arena, const struct mtasts_known *known, int64_t now,
                                        const char *record, bool host_is_up)
{
    struct dns_record txt = {.data = vr_str_from(record)};
    struct dns_answer answer;
    struct mtasts_fetched fetched = {.error = VR_STR("Connection refused")};
    struct mtasts_query q = {.domain = VR_STR("example.com"), .now = now, .known = known};
    struct mtasts_result r;
    while (mtasts_decide(&q, arena, &r) == VR_OK) {
        if (r.verdict == MTASTS_ASK) {
            printf("? %.*s TXT\n", VR_STR_ARG(r.question.name));
            answer = (struct dns_answer){
                .name = r.question.name, .type = r.question.type, .records = &txt, .count = 1};
            q.answers = &answer;
            q.answer_count = 1;
        } else if (r.verdict == MTASTS_FETCH) {
            printf("? GET %.*s\n", VR_STR_ARG(r.url));
            if (host_is_up)
                fetched = (struct mtasts_fetched){200, VR_STR("text/plain"), VR_STR(policy_file), VR_STR("")};
            q.fetched = &fetched;
        } else {
            break;
        }
    }
    return r;
}

static bool check(const struct mtasts_result *r, const char *host, bool wanted)
{
    bool matches = mtasts_mx_matches(&r->policy, vr_str_from(host));
    printf("  %-22s %s\n", host, matches ? "may take the mail" : "may not");
    return matches == wanted;
}

int main(void)
{
    struct vr_arena arena;
    vr_arena_init(&arena, 1 << 20);
    struct mtasts_result today = find_policy(&arena, NULL, 1700000000, "v=STSv1; id=1;", true);
    bool good = today.verdict == MTASTS_APPLY && today.fresh;
    printf("policy %.*s: %s\n", VR_STR_ARG(today.id), mtasts_mode_name(today.policy.mode));
    good &= check(&today, "mail.example.com", true) & check(&today, "a.example.net", true) &
            check(&today, "evil.example.org", false);

    struct mtasts_known kept = {today.id, 1700000000, today.policy};
    struct mtasts_result tomorrow = find_policy(&arena, &kept, 1700086400, "v=STSv1; id=2;", false);
    printf("policy %.*s: %s (%.*s)\n", VR_STR_ARG(tomorrow.id), mtasts_mode_name(tomorrow.policy.mode),
           VR_STR_ARG(tomorrow.text));
    good &= tomorrow.verdict == MTASTS_APPLY && !tomorrow.fresh && tomorrow.failed;
    vr_arena_fini(&arena);
    return good ? 0 : 1;
}
