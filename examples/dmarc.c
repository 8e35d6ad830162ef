/* dmarc.c - DMARC of a message, without a network: what a receiver does when SPF and DKIM have spoken.
 *
 * A message from news.example.org was signed by its provider, who is somebody else, and came by an address whose SPF passes for the provider alone. The library
 * walks the tree (RFC 9989), finds the policy of example.org, and says what its owner wants done. Then the same message with a signature of its own domain.
 */
#include <veredus/authres.h>

#include <stdio.h>

static const char header[] = "From: News <news@news.example.org>\r\n"
                             "To: Suzie Q <suzie@shopping.example.net>\r\n"
                             "Subject: This week\r\n"
                             "\r\n";

/* The DNS. */
static struct dns_answer look_up(const struct dns_question *q)
{
    static const struct dns_record policy = {
        .data = VR_STR_INIT("v=DMARC1; p=reject; sp=quarantine; rua=mailto:dmarc@example.org")};
    printf("? %.*s TXT\n", VR_STR_ARG(q->name));
    if (vr_str_equal_nocase(q->name, VR_STR("_dmarc.example.org")))
        return (struct dns_answer){
            .name = q->name, .type = q->type, .status = DNS_STATUS_OK, .records = &policy, .count = 1};
    return (struct dns_answer){.name = q->name, .type = q->type, .status = DNS_STATUS_NXDOMAIN};
}

/* Evaluates and prints the field. */
static enum vr_err run(const struct dmarc_from *from, const struct dkim_signature *signature,
                       struct vr_arena *arena, struct dmarc_result *out)
{
    struct dns_answer answers[DMARC_WALK_MAX * 2];
    struct dmarc_query query = {.from = from,
                                .spf_pass = true,
                                .spf_domain = VR_STR("bounces.provider.example"),
                                .signatures = signature,
                                .signature_count = 1,
                                .answers = answers};
    struct vr_buf field;
    do { /* until there are no more questions */
        enum vr_err e = dmarc_evaluate(&query, arena, out);
        if (e != VR_OK)
            return e;
        for (size_t i = 0; i < out->question_count; i++)
            answers[query.answer_count++] = look_up(&out->questions[i]);
    } while (out->state == DKIM_ASK);
    const struct authres_result *result = authres_of_dmarc(arena, out, out->disposition);
    vr_buf_init(&field, 1 << 12);
    bool good = result != NULL && authres_write(&field, &(struct authres){.id = VR_STR("mx.example.net"),
                                                                          .results = result,
                                                                          .result_count = 1});
    printf("%.*s", VR_STR_ARG(vr_buf_str(&field)));
    vr_buf_fini(&field);
    return good ? VR_OK : VR_ERR_TOO_BIG;
}

int main(void)
{
    const struct dkim_signature theirs = {.verdict = DKIM_PASS, .domain = VR_STR("provider.example")};
    const struct dkim_signature own = {.verdict = DKIM_PASS, .domain = VR_STR("example.org")};
    struct vr_arena arena;
    struct dmarc_from from;
    struct dmarc_result foreign, aligned;

    vr_arena_init(&arena, 1 << 18);
    bool good = dmarc_from(&arena, vr_str(header, sizeof header - 1), &from) == VR_OK && from.count == 1 &&
                from.fields == 1 && run(&from, &theirs, &arena, &foreign) == VR_OK &&
                run(&from, &own, &arena, &aligned) == VR_OK && foreign.verdict == DMARC_FAIL &&
                foreign.disposition == DMARC_POLICY_QUARANTINE && foreign.source == DMARC_BY_SP &&
                aligned.verdict == DMARC_PASS && aligned.dkim_aligned;
    vr_arena_fini(&arena);
    return good ? 0 : 1;
}
