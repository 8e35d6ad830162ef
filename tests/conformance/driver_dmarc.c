/* driver_dmarc.c - DMARC for tests in other languages.
 *
 *   {"kind": "dmarc", "from": domain, "spf": domain or null, "dkim": [domain …], "dns": DNS, "list": by the public suffix list}
 *
 * spf and dkim: what passed. The answer has verdict, policy, disposition, domain (of the record), organization, spf, dkim (aligned).
 */
#include "driver.h"

#include <veredus/dmarc.h>

#include <assert.h>
#include <string.h>

#define ANSWERS_MAX 256

static struct vr_str text_of(const json_t *value)
{
    return json_is_string(value) ? vr_str(json_string_value(value), json_string_length(value))
                                 : vr_str(NULL, 0);
}

json_t *answer_dmarc(struct vr_arena *arena, json_t *question)
{
    static struct dns_answer answers[ANSWERS_MAX];
    static struct dkim_signature signatures[DKIM_SIGNATURES_MAX];
    const json_t *dkim = json_object_get(question, "dkim");
    const struct vr_str domain = text_of(json_object_get(question, "from"));
    const struct dmarc_from from = {.domains = &domain, .count = 1, .fields = 1};
    struct dmarc_query q = {.from = &from,
                            .spf_domain = text_of(json_object_get(question, "spf")),
                            .signatures = signatures,
                            .answers = answers};
    struct dmarc_result r;
    q.method = json_is_true(json_object_get(question, "list")) ? DMARC_PUBLIC_SUFFIX : DMARC_TREE_WALK;
    q.spf_pass = q.spf_domain.n > 0;
    for (; q.signature_count < json_array_size(dkim); q.signature_count++)
        signatures[q.signature_count] = (struct dkim_signature){
            .verdict = DKIM_PASS, .domain = text_of(json_array_get(dkim, q.signature_count))};
    for (;;) {
        assert(dmarc_evaluate(&q, arena, &r) == VR_OK);
        if (r.state == DKIM_DONE)
            break;
        for (size_t i = 0; i < r.question_count; i++) {
            assert(q.answer_count < ANSWERS_MAX);
            driver_look_up(arena, json_object_get(question, "dns"), &r.questions[i],
                           &answers[q.answer_count++]);
        }
    }
    return json_pack("{s:s,s:s,s:s,s:s%,s:s%,s:b,s:b}", "verdict", dmarc_verdict_name(r.verdict), "policy",
                     dmarc_policy_name(r.policy), "disposition", dmarc_policy_name(r.disposition), "domain",
                     r.record_domain.n > 0 ? r.record_domain.p : "", r.record_domain.n, "organization",
                     r.organization.n > 0 ? r.organization.p : "", r.organization.n, "spf", r.spf_aligned,
                     "dkim", r.dkim_aligned);
}
