/* tlsrpt_record.c - the record of a domain that wants reports (RFC 8460 §3), and the names of results and policies (§4.2 to §4.4).
 *
 * Tests: tests/unit/tlsrpt.c
 */
#include <veredus/tlsrpt.h>

static const char *const results[TLSRPT_RESULTS] = {
    [TLSRPT_SUCCESS] = "success",
    [TLSRPT_STARTTLS_NOT_SUPPORTED] = "starttls-not-supported",
    [TLSRPT_CERTIFICATE_HOST_MISMATCH] = "certificate-host-mismatch",
    [TLSRPT_CERTIFICATE_EXPIRED] = "certificate-expired",
    [TLSRPT_CERTIFICATE_NOT_TRUSTED] = "certificate-not-trusted",
    [TLSRPT_VALIDATION_FAILURE] = "validation-failure",
    [TLSRPT_TLSA_INVALID] = "tlsa-invalid",
    [TLSRPT_DNSSEC_INVALID] = "dnssec-invalid",
    [TLSRPT_DANE_REQUIRED] = "dane-required",
    [TLSRPT_STS_POLICY_FETCH_ERROR] = "sts-policy-fetch-error",
    [TLSRPT_STS_POLICY_INVALID] = "sts-policy-invalid",
    [TLSRPT_STS_WEBPKI_INVALID] = "sts-webpki-invalid",
};

static const char *const policies[] = {
    [TLSRPT_NO_POLICY] = "no-policy-found", [TLSRPT_TLSA] = "tlsa", [TLSRPT_STS] = "sts"};

const char *tlsrpt_result_name(enum tlsrpt_result r)
{
    return results[r];
}

bool tlsrpt_result_find(struct vr_str name, enum tlsrpt_result *out)
{
    for (int i = 0; i < TLSRPT_RESULTS; i++)
        if (vr_str_equal(name, vr_str_from(results[i]))) {
            *out = (enum tlsrpt_result)i;
            return true;
        }
    return false;
}

const char *tlsrpt_policy_name(enum tlsrpt_policy_type t)
{
    return policies[t];
}

bool tlsrpt_policy_find(struct vr_str name, enum tlsrpt_policy_type *out)
{
    for (int i = TLSRPT_NO_POLICY; i <= TLSRPT_STS; i++)
        if (vr_str_equal(name, vr_str_from(policies[i]))) {
            *out = (enum tlsrpt_policy_type)i;
            return true;
        }
    return false;
}

/* ---- the record ------------------------------------------------------------------------------------------------------- */

static void fault(struct tlsrpt_record *out, const char *what)
{
    if (out->fault == NULL)
        out->fault = what;
}

static bool has_scheme(struct vr_str uri, struct vr_str scheme)
{
    return vr_str_starts_nocase(uri, scheme) && uri.n > scheme.n;
}

static bool read_rua(struct vr_arena *arena, struct vr_str value, struct tlsrpt_record *out)
{
    struct vr_str *all = vr_arena_alloc(arena, TLSRPT_URIS_MAX * sizeof *all), part;
    if (all == NULL)
        return false;
    out->rua = all;
    while (vr_str_split(&value, ',', &part)) {
        struct vr_str uri = vr_str_trim(part);
        bool plain = true;
        for (size_t i = 0; i < uri.n; i++)
            plain = plain && uri.p[i] > ' ' && uri.p[i] < 0x7f;
        if (!plain || (!has_scheme(uri, VR_STR("mailto:")) && !has_scheme(uri, VR_STR("https://"))))
            fault(out, "rua= has something that is neither mailto: nor https:");
        else if (out->rua_count == TLSRPT_URIS_MAX)
            fault(out, "rua= has more than 16 addresses");
        else
            all[out->rua_count++] = uri;
    }
    return true;
}

enum vr_err tlsrpt_record_parse(struct vr_arena *arena, struct vr_str txt, struct tlsrpt_record *out)
{
    struct vr_str rest = txt, part;
    bool given = false;
    *out = (struct tlsrpt_record){0};
    if (!vr_str_split(&rest, ';', &part) || !vr_str_equal(vr_str_trim(part), VR_STR("v=TLSRPTv1")) ||
        part.n == txt.n)
        return VR_ERR_SYNTAX;
    if (txt.n > TLSRPT_RECORD_MAX)
        return VR_ERR_TOO_BIG;
    while (vr_str_split(&rest, ';', &part)) {
        size_t equals = vr_str_find(part, '=');
        struct vr_str name = vr_str_trim(vr_str_sub(part, 0, equals));
        if (equals == VR_NPOS && vr_str_trim(part).n > 0)
            fault(out, "a part of the record is no name=value");
        if (equals == VR_NPOS || !vr_str_equal(name, VR_STR("rua")))
            continue;
        if (given)
            fault(out, "rua= is given twice; the first counts");
        else if (!read_rua(arena, vr_str_from_pos(part, equals + 1), out))
            return VR_ERR_TOO_BIG;
        given = true;
    }
    return given ? VR_OK : VR_ERR_SYNTAX;
}

struct dns_question tlsrpt_question(struct vr_arena *arena, struct vr_str domain)
{
    return (struct dns_question){vr_arena_printf(arena, "_smtp._tls.%.*s", VR_STR_ARG(domain)), DNS_TYPE_TXT};
}

enum vr_err tlsrpt_find(struct vr_arena *arena, const struct dns_answer *answer, struct tlsrpt_record *out)
{
    const struct dns_record *only = NULL;
    *out = (struct tlsrpt_record){0};
    if (answer->status == DNS_STATUS_FAILED)
        return VR_ERR_STATE;
    for (size_t i = 0; i < answer->count; i++) {
        if (!vr_str_starts(answer->records[i].data, VR_STR("v=TLSRPTv1;")))
            continue;
        if (only != NULL)
            return VR_ERR_NOT_FOUND;
        only = &answer->records[i];
    }
    return only == NULL ? VR_ERR_NOT_FOUND : tlsrpt_record_parse(arena, only->data, out);
}
