/* tlsrpt_read.c - a report of others (RFC 8460 §4.4), with bounds on all that it can hold.
 *
 * Tests: tests/unit/tlsrpt.c, tests/fuzz/fuzz_tlsrpt.c
 */
#include "inside.h"

#include <veredus/message.h>
#include <veredus/tlsrpt.h>

#include <jansson.h>

struct reading {
    struct vr_arena *arena;
    size_t items; /* details and lines of all policies so far */
    enum vr_err error;
    const char *why;
};

static bool fail(struct reading *r, enum vr_err e, const char *why)
{
    if (r->error == VR_OK) {
        r->error = e;
        r->why = why;
    }
    return false;
}

static struct vr_str text_of(struct reading *r, const json_t *value)
{
    if (!json_is_string(value) || json_string_length(value) == 0)
        return vr_str(NULL, 0);
    struct vr_str out = report_clean(r->arena, vr_str(json_string_value(value), json_string_length(value)));
    if (out.n == 0)
        fail(r, VR_ERR_TOO_BIG, "the report holds more than is read");
    return out;
}

static struct vr_str text(struct reading *r, const json_t *object, const char *name)
{
    return text_of(r, json_object_get(object, name));
}

/* A number, or one in quotes; what is neither counts as none. */
static uint64_t count(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    uint64_t n = 0;
    if (json_is_integer(value) && json_integer_value(value) > 0)
        return (uint64_t)json_integer_value(value);
    if (json_is_string(value) &&
        !vr_str_to_u64(vr_str(json_string_value(value), json_string_length(value)), &n))
        n = 0;
    return n;
}

/* A text, or an array of texts. */
static const struct vr_str *list(struct reading *r, const json_t *object, const char *name, size_t *n)
{
    const json_t *value = json_object_get(object, name);
    size_t size = json_is_array(value) ? json_array_size(value) : json_is_string(value) ? 1 : 0;
    *n = 0;
    r->items += size;
    struct vr_str *out =
        r->items <= TLSRPT_DETAILS_MAX ? vr_arena_alloc(r->arena, (size + 1) * sizeof *out) : NULL;
    if (out == NULL) {
        fail(r, VR_ERR_TOO_BIG, "the report holds more than is read");
        return NULL;
    }
    for (size_t i = 0; i < size; i++) {
        struct vr_str s = text_of(r, json_is_array(value) ? json_array_get(value, i) : value);
        if (s.n > 0)
            out[(*n)++] = s;
    }
    return out;
}

static void read_details(struct reading *r, const json_t *array, struct tlsrpt_policy *out)
{
    size_t size = json_array_size(array); /* 0 when it is none */
    r->items += size;
    struct tlsrpt_detail *all =
        r->items <= TLSRPT_DETAILS_MAX ? vr_arena_alloc(r->arena, (size + 1) * sizeof *all) : NULL;
    if (all == NULL) {
        fail(r, VR_ERR_TOO_BIG, "the report holds more than is read");
        return;
    }
    out->details = all;
    for (size_t i = 0; i < size && r->error == VR_OK; i++) {
        const json_t *d = json_array_get(array, i);
        if (!json_is_object(d))
            continue;
        all[out->detail_count++] = (struct tlsrpt_detail){.result_type = text(r, d, "result-type"),
                                                          .sending_ip = text(r, d, "sending-mta-ip"),
                                                          .mx_hostname = text(r, d, "receiving-mx-hostname"),
                                                          .mx_helo = text(r, d, "receiving-mx-helo"),
                                                          .receiving_ip = text(r, d, "receiving-ip"),
                                                          .sessions = count(d, "failed-session-count"),
                                                          .information = text(r, d, "additional-information"),
                                                          .reason = text(r, d, "failure-reason-code")};
    }
}

static void read_policy(struct reading *r, const json_t *entry, struct tlsrpt_policy *out)
{
    const json_t *policy = json_object_get(entry, "policy"), *summary = json_object_get(entry, "summary");
    *out = (struct tlsrpt_policy){.type = text(r, policy, "policy-type"),
                                  .domain = text(r, policy, "policy-domain"),
                                  .successful = count(summary, "total-successful-session-count"),
                                  .failed = count(summary, "total-failure-session-count")};
    out->strings = list(r, policy, "policy-string", &out->string_count);
    out->mx_hosts = list(r, policy, "mx-host", &out->mx_count);
    read_details(r, json_object_get(entry, "failure-details"), out);
}

static bool read_date(struct reading *r, const json_t *range, const char *name, int64_t *out)
{
    const json_t *value = json_object_get(range, name);
    if (!json_is_string(value) ||
        message_rfc3339_parse(vr_str(json_string_value(value), json_string_length(value)), out) != VR_OK)
        return fail(r, VR_ERR_SYNTAX, "the report has no date range");
    return true;
}

static void read_report(struct reading *r, const json_t *root, struct tlsrpt_report *out)
{
    const json_t *range = json_object_get(root, "date-range"), *policies = json_object_get(root, "policies");
    size_t size = json_array_size(policies);
    if (!read_date(r, range, "start-datetime", &out->begin) ||
        !read_date(r, range, "end-datetime", &out->end))
        return;
    if (!json_is_array(policies)) {
        fail(r, VR_ERR_SYNTAX, "the report has no policies");
        return;
    }
    out->organization = text(r, root, "organization-name");
    out->contact = text(r, root, "contact-info");
    out->id = text(r, root, "report-id");
    struct tlsrpt_policy *all =
        size <= TLSRPT_POLICIES_MAX ? vr_arena_alloc(r->arena, (size + 1) * sizeof *all) : NULL;
    if (all == NULL) {
        fail(r, VR_ERR_TOO_BIG, "the report has more policies than are read");
        return;
    }
    out->policies = all;
    for (size_t i = 0; i < size && r->error == VR_OK; i++)
        read_policy(r, json_array_get(policies, i), &all[out->policy_count++]);
}

enum vr_err tlsrpt_read(struct vr_arena *arena, struct vr_str json, struct tlsrpt_report *out,
                        const char **why)
{
    struct reading r = {.arena = arena};
    *out = (struct tlsrpt_report){0};
    *why = "the report is larger than is read";
    if (json.n > TLSRPT_JSON_MAX)
        return VR_ERR_TOO_BIG;
    if (vr_str_starts(json, VR_STR("\xef\xbb\xbf")))
        json = vr_str_from_pos(json, 3);
    json_t *root = json_loadb(json.p != NULL ? json.p : "", json.n, 0, NULL);
    *why = "it is no JSON";
    if (root == NULL)
        return VR_ERR_SYNTAX;
    read_report(&r, root, out);
    json_decref(root);
    *why = r.why;
    return r.error;
}
