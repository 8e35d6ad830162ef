/* spf_check.c - SPF without a network: what a receiver does at MAIL FROM.
 *
 * A client says that it brings mail of ann@example.org. The library asks for what it needs, and here a small zone answers; a real receiver asks the DNS.
 * Then the same for a client that may not, with the words of the domain's owner, and for a DNS that does not answer.
 */
#include <veredus/authres.h>

#include <stdio.h>

/* The DNS. */
static const struct {
    struct vr_str name;
    enum dns_type type;
    struct dns_record record;
} zone[] = {
    {VR_STR_INIT("example.org"),
     DNS_TYPE_TXT,
     {.data = VR_STR_INIT("v=spf1 mx include:_spf.example.net -all exp=why.example.org")}},
    {VR_STR_INIT("example.org"), DNS_TYPE_MX, {.name = VR_STR_INIT("mx.example.org"), .preference = 10}},
    {VR_STR_INIT("mx.example.org"), DNS_TYPE_A, {.address = {4, {192, 0, 2, 1}}}},
    {VR_STR_INIT("_spf.example.net"), DNS_TYPE_TXT, {.data = VR_STR_INIT("v=spf1 ip4:198.51.100.0/24 ~all")}},
    {VR_STR_INIT("why.example.org"),
     DNS_TYPE_TXT,
     {.data = VR_STR_INIT("%{i} sends no mail of %{d}: see https://%{d}/mail?from=%{S}")}},
};

static struct dns_answer look_up(const struct dns_question *q, bool broken)
{
    printf("? %.*s %d\n", VR_STR_ARG(q->name), q->type);
    for (size_t i = 0; i < sizeof zone / sizeof *zone && !broken; i++)
        if (zone[i].type == q->type && vr_str_equal_nocase(zone[i].name, q->name))
            return (struct dns_answer){.name = q->name,
                                       .type = q->type,
                                       .status = DNS_STATUS_OK,
                                       .records = &zone[i].record,
                                       .count = 1};
    return (struct dns_answer){
        .name = q->name, .type = q->type, .status = broken ? DNS_STATUS_FAILED : DNS_STATUS_NXDOMAIN};
}

static bool check(struct dns_address client, bool broken, enum spf_verdict expected)
{
    struct dns_answer answers[SPF_ROUNDS_MAX * SPF_QUESTIONS_MAX];
    struct spf_query query = {.client = client,
                              .helo = VR_STR("mail.example.org"),
                              .sender = VR_STR("ann@example.org"),
                              .receiver = VR_STR("mx.receiver.example"),
                              .now = 1750000000,
                              .answers = answers};
    struct spf_result spf;
    struct vr_arena arena;
    struct vr_buf field;
    bool good = true;

    vr_arena_init(&arena, 1 << 17);
    vr_buf_init(&field, 4096);
    do { /* until there are no more questions */
        good = spf_check(&query, &arena, &spf) == VR_OK;
        for (size_t i = 0; good && i < spf.question_count; i++)
            answers[query.answer_count++] = look_up(&spf.questions[i], broken);
    } while (good && spf.state == SPF_ASK);

    struct authres results = {.id = VR_STR("mx.receiver.example"),
                              .results = good ? authres_of_spf(&arena, &query, &spf) : NULL,
                              .result_count = 1};
    good = good && results.results != NULL && authres_write(&field, &results) && spf.verdict == expected;
    printf("%.*s", VR_STR_ARG(vr_buf_str(&field)));
    if (good && spf.explanation.n > 0) /* whose words these are must be said: RFC 7208 §6.2 */
        printf("550 5.7.23 %.*s explains: %.*s\n", VR_STR_ARG(spf.domain), VR_STR_ARG(spf.explanation));
    vr_buf_fini(&field);
    vr_arena_fini(&arena);
    return good;
}

int main(void)
{
    bool good = check((struct dns_address){4, {198, 51, 100, 7}}, false, SPF_PASS);
    good = check((struct dns_address){4, {203, 0, 113, 9}}, false, SPF_FAIL) && good;
    good = check((struct dns_address){4, {198, 51, 100, 7}}, true, SPF_TEMPERROR) && good;
    return good ? 0 : 1;
}
