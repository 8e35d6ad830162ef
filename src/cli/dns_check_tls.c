/* dns_check_tls.c - `veredus dns check`: what is published about TLS to our hosts: TLSA, MTA-STS with its policy, TLS-RPT.
 *
 * Tests: tests/e2e/test_dns_tools.py
 */
#include "cli/dns_inside.h"

#include "io/http.h"
#include "io/io.h"

#include <veredus/dane.h>
#include <veredus/mtasts.h>
#include <veredus/tlsrpt.h>

#include <stdio.h>
#include <string.h>

#define FETCH_MS 20000

static const struct dns_plan_record *planned(const struct dns_checking *c, enum dns_plan_kind kind)
{
    for (size_t i = 0; i < c->plan->count; i++)
        if (c->plan->records[i].kind == kind)
            return &c->plan->records[i];
    return NULL;
}

/* ---- TLSA ---------------------------------------------------------------------------------------------------------- */

enum fit { FITS, FITS_NOT, CANNOT_TELL /* a trust anchor: the chain decides */ };

static enum fit fits(struct vr_str rdata, const struct io_certificate *x)
{
    struct dane_record r;
    if (dane_record_parse(rdata, &r) != VR_OK || !dane_record_usable(&r))
        return FITS_NOT;
    if (r.usage == DANE_TA || r.matching != DANE_SHA256)
        return CANNOT_TELL;
    const uint8_t *own = r.selector == DANE_PUBLIC_KEY ? x->tlsa_3_1_1 : x->sha256;
    return r.data.n == 32 && memcmp(r.data.p, own, 32) == 0 ? FITS : FITS_NOT;
}

static void judge_tlsa(struct dns_checking *c, const struct dns_plan_record *wanted,
                       const struct dns_answer *a, const struct io_certificate *x)
{
    size_t n[3] = {0};
    for (size_t i = 0; i < a->count; i++)
        n[fits(a->records[i].data, x)]++;
    if (n[FITS] == 0 && n[CANNOT_TELL] == 0) {
        dns_tell(c, DNS_WRONG, "TLSA", wanted->name, wanted,
                 "none of its %zu records is for the certificate that is shown: who looks at DANE delivers "
                 "nothing here",
                 a->count);
        return;
    }
    if (n[FITS] == 0)
        dns_tell(
            c, DNS_WARNING, "TLSA", wanted->name, wanted,
            "its records are of a kind that cannot be compared here (a trust anchor, or whole certificates)");
    else
        dns_tell(c, DNS_OK, "TLSA", wanted->name, NULL, "it is for the certificate that is shown%s",
                 n[FITS_NOT] > 0 ? "; others are for another key, which is right while one is replaced" : "");
    if (!a->secure)
        dns_tell(c, DNS_WARNING, "TLSA", wanted->name, NULL,
                 "DNSSEC does not vouch for it, as far as this resolver can tell, so nobody uses it: sign "
                 "the zone, or leave "
                 "the record out");
}

void dns_check_tlsa(struct dns_checking *c)
{
    const struct dns_answer *mx = dns_get(c->dns, c->facts->domain->ascii, DNS_TYPE_MX);
    for (size_t i = 0; i < c->plan->mx_count; i++) {
        struct vr_str host = c->plan->mx[i];
        const struct dns_plan_certificate *cert = dns_plan_certificate_of(c->facts, host);
        const struct dns_plan_record *wanted = NULL;
        for (size_t k = 0; k < c->plan->count; k++) {
            const struct dns_plan_record *r = &c->plan->records[k];
            if (r->kind == DNS_PLAN_TLSA &&
                vr_str_equal_nocase(vr_str_from_pos(r->name, strlen("_25._tcp.")), host))
                wanted = r;
        }
        if (cert == NULL || wanted == NULL)
            continue;
        const struct dns_answer *a = dns_get(c->dns, wanted->name, DNS_TYPE_TLSA);
        if (dns_failed(c, "TLSA", a))
            continue;
        if (a->status == DNS_STATUS_OK)
            judge_tlsa(c, wanted, a, &cert->x);
        else if (mx->secure)
            dns_tell(c, DNS_WARNING, "TLSA", wanted->name, wanted,
                     "the zone is signed, and nothing holds other servers to this certificate (DANE)");
        else
            dns_tell(c, DNS_NOTE, "TLSA", wanted->name, NULL,
                     "there is none, and none is of use: DNSSEC does not vouch for the domain, as far as "
                     "this resolver can tell");
    }
}

/* ---- MTA-STS -------------------------------------------------------------------------------------------------------- */

struct fetch {
    struct dns_checking *checking;
    struct io *io;
    bool done;
    unsigned status;
    struct vr_str body, type;
    char error[256];
};

static void fetched(void *arg, const struct io_http_answer *a)
{
    struct fetch *f = arg;
    f->done = true;
    f->status = a->status;
    f->body = vr_arena_dup(f->checking->arena, a->body);
    f->type = vr_arena_dup(f->checking->arena, vr_str_from(a->content_type));
    snprintf(f->error, sizeof f->error, "%s", a->error);
    io_stop(f->io);
}

/* "host:port:address,address" by the DNS that is asked here; {NULL,0}: it has none, or the DNS failed, and that was told. */
static struct vr_str place_of(struct dns_checking *c, struct vr_str host)
{
    static const enum dns_type types[] = {DNS_TYPE_A, DNS_TYPE_AAAA};
    struct vr_str place = vr_arena_printf(c->arena, "%.*s:%u:", VR_STR_ARG(host), c->policy_port);
    size_t n = 0;
    for (size_t t = 0; t < 2; t++) {
        const struct dns_answer *a = dns_get(c->dns, host, types[t]);
        if (dns_failed(c, "MTA-STS", a))
            return vr_str(NULL, 0);
        for (size_t i = 0; a->status == DNS_STATUS_OK && i < a->count && n < 16; i++, n++) {
            char text[IO_ADDRESS_TEXT];
            dns_address_text(&a->records[i].address, text);
            place = vr_arena_printf(c->arena, t == 0 ? "%.*s%s%s" : "%.*s%s[%s]", VR_STR_ARG(place),
                                    n > 0 ? "," : "", text);
        }
    }
    if (n > 0)
        return place;
    const struct dns_plan_record *own = NULL;
    for (size_t i = 0; i < c->plan->count; i++)
        if (c->plan->records[i].kind == DNS_PLAN_MTA_STS && vr_str_equal(c->plan->records[i].name, host))
            own = &c->plan->records[i];
    dns_tell(c, DNS_MISSING, "MTA-STS", host, own,
             "it has no address: give it the one of the web server that serves the policy");
    return vr_str(NULL, 0);
}

static void judge_policy(struct dns_checking *c, struct vr_str url, const struct fetch *f)
{
    struct mtasts_policy ours, theirs;
    struct vr_str why;
    if (f->status != 200) {
        if (f->status == 0)
            dns_tell(c, DNS_WRONG, "MTA-STS", url, NULL, "the policy cannot be fetched: %s", f->error);
        else
            dns_tell(c, DNS_WRONG, "MTA-STS", url, NULL, "the policy cannot be fetched: the server says %u",
                     f->status);
        return;
    }
    if (!vr_str_starts_nocase(f->type, VR_STR("text/plain")))
        dns_tell(c, DNS_WRONG, "MTA-STS", url, NULL,
                 "the policy is served as \"%.*s\", and must be text/plain (RFC 8461 §3.2)",
                 VR_STR_ARG(f->type));
    if (mtasts_policy_parse(c->arena, f->body, &theirs, &why) != VR_OK) {
        dns_tell(c, DNS_WRONG, "MTA-STS", url, NULL, "what is served is no policy: %.*s", VR_STR_ARG(why));
        return;
    }
    if (mtasts_policy_parse(c->arena, c->plan->policy, &ours, &why) != VR_OK)
        return; /* it was written by the same hand */
    for (size_t i = 0; i < ours.mx_count; i++)
        if (!mtasts_mx_matches(&theirs, ours.mx[i]))
            dns_tell(c, DNS_WRONG, "MTA-STS", url, NULL,
                     "the policy that is served does not allow %.*s: others will not deliver there",
                     VR_STR_ARG(ours.mx[i]));
    bool same =
        vr_str_equal(f->body, c->plan->policy) ||
        (theirs.mode == ours.mode && theirs.max_age == ours.max_age && theirs.mx_count == ours.mx_count);
    if (same)
        dns_tell(c, DNS_OK, "MTA-STS", url, NULL, "mode %s, for %u s", mtasts_mode_name(theirs.mode),
                 theirs.max_age);
    else
        dns_tell(c, DNS_WRONG, "MTA-STS", url, NULL,
                 "another policy is served (mode %s, max_age %u, %zu hosts) than `veredus dns` prints (mode "
                 "%s, max_age %u, %zu hosts)",
                 mtasts_mode_name(theirs.mode), theirs.max_age, theirs.mx_count, mtasts_mode_name(ours.mode),
                 ours.max_age, ours.mx_count);
}

static void check_policy(struct dns_checking *c)
{
    struct vr_str host = vr_arena_printf(c->arena, "mta-sts.%.*s", VR_STR_ARG(c->facts->domain->ascii));
    struct vr_str place = place_of(c, host);
    if (place.n == 0)
        return;
    struct vr_str url =
        c->policy_port == 443
            ? vr_arena_printf(c->arena, "https://%.*s/.well-known/mta-sts.txt", VR_STR_ARG(host))
            : vr_arena_printf(c->arena, "https://%.*s:%u/.well-known/mta-sts.txt", VR_STR_ARG(host),
                              c->policy_port);
    struct fetch f = {.checking = c, .io = dns_asker_io(c->dns)};
    char error[256] = "";
    struct io_http *http = io_http_new(f.io, c->ca_file, error);
    const struct io_http_request request = {.url = url.p,
                                            .resolve = place.p,
                                            .accept = "text/plain",
                                            .timeout_ms = FETCH_MS,
                                            .answer_max = MTASTS_POLICY_MAX};
    if (http == NULL || io_http_ask(http, &request, fetched, &f) == NULL) {
        dns_tell(c, DNS_UNKNOWN, "MTA-STS", url, NULL, "cannot ask for the policy: %s", error);
    } else {
        while (!f.done)
            io_run(f.io);
        judge_policy(c, url, &f);
    }
    io_http_free(http);
}

/* What others will see who hold us to the policy (RFC 8461 §4.2). */
static void check_certificates(struct dns_checking *c)
{
    bool enforced = c->facts->domain->publish.mta_sts == MTA_STS_ENFORCE;
    enum dns_verdict bad = enforced ? DNS_WRONG : DNS_WARNING;
    const char *what =
        enforced ? "others deliver nothing here" : "others would deliver nothing here, were it enforced";
    for (size_t i = 0; i < c->plan->mx_count; i++) {
        struct vr_str host = c->plan->mx[i];
        const struct dns_plan_certificate *cert = dns_plan_certificate_of(c->facts, host);
        char why[256];
        if (cert == NULL)
            continue; /* of a host that is none of ours */
        if (!io_certificate_is_for(&cert->x, host))
            dns_tell(c, bad, "MTA-STS", host, NULL, "the certificate that is shown is not for this name: %s",
                     what);
        else if (cert->x.not_after <= c->now || cert->x.not_before > c->now)
            dns_tell(c, bad, "MTA-STS", host, NULL, "the certificate that is shown is not valid now: %s",
                     what);
        else if (io_certificate_chain_problem(cert->pem, c->ca_file, c->now, why))
            dns_tell(c, bad, "MTA-STS", host, NULL,
                     "the certificate that is shown leads to no authority that is trusted here (%s): %s", why,
                     what);
        else
            dns_tell(c, DNS_OK, "MTA-STS", host, NULL, "the certificate that is shown is good");
    }
}

/* A record that nobody wants: an old policy is in force as long as somebody keeps it. */
static void check_no_mta_sts(struct dns_checking *c)
{
    struct vr_str name = vr_arena_printf(c->arena, "_mta-sts.%.*s", VR_STR_ARG(c->facts->domain->ascii)),
                  text;
    const struct dns_answer *a = dns_get(c->dns, name, DNS_TYPE_TXT);
    if (dns_texts(a, VR_STR("v=STSv1"), &text) > 0)
        dns_tell(c, DNS_WARNING, "MTA-STS", name, NULL,
                 "there is a record, and the configuration has `mta_sts = none`: set it, or serve a policy "
                 "with \"mode: none\" for as "
                 "long as others keep the old one, and then remove the record (RFC 8461 §8.3)");
    else
        dns_tell(c, DNS_NOTE, "MTA-STS", name, NULL,
                 "there is no policy; `mta_sts = testing` of the domain would begin with one");
}

void dns_check_mta_sts(struct dns_checking *c)
{
    const struct dns_plan_record *wanted = planned(c, DNS_PLAN_MTA_STS);
    struct vr_str text, id;
    if (wanted == NULL) {
        check_no_mta_sts(c);
        return;
    }
    const struct dns_answer *a = dns_get(c->dns, wanted->name, DNS_TYPE_TXT);
    if (dns_failed(c, "MTA-STS", a))
        return;
    size_t n = dns_texts(a, VR_STR("v=STSv1"), &text);
    if (n == 0)
        dns_tell(c, DNS_MISSING, "MTA-STS", wanted->name, wanted, "nothing says that there is a policy");
    else if (n > 1)
        dns_tell(c, DNS_WRONG, "MTA-STS", wanted->name, wanted,
                 "there are %zu records, which count as none: leave one", n);
    else if (mtasts_record_parse(text, &id) != VR_OK)
        dns_tell(c, DNS_WRONG, "MTA-STS", wanted->name, wanted, "published is \"%.*s\", which is no record",
                 VR_STR_ARG(text));
    else if (!vr_str_equal(id, vr_str_from(c->plan->policy_id)))
        dns_tell(c, DNS_WRONG, "MTA-STS", wanted->name, wanted,
                 "its id is %.*s, of another policy: who has that one does not ask for the new one",
                 VR_STR_ARG(id));
    else
        dns_tell(c, DNS_OK, "MTA-STS", wanted->name, NULL, "id %.*s", VR_STR_ARG(id));
    check_policy(c);
    check_certificates(c);
}

/* ---- TLS-RPT ----------------------------------------------------------------------------------------------------------- */

void dns_check_tls_rpt(struct dns_checking *c)
{
    const struct dns_plan_record *wanted = planned(c, DNS_PLAN_TLS_RPT);
    const struct dns_answer *a = dns_get(c->dns, wanted->name, DNS_TYPE_TXT);
    struct tlsrpt_record r;
    struct vr_str text;
    if (dns_failed(c, "TLS-RPT", a))
        return;
    size_t n = dns_texts(a, VR_STR("v=TLSRPTv1"), &text);
    if (n == 0)
        dns_tell(c, DNS_MISSING, "TLS-RPT", wanted->name, wanted,
                 "nobody is asked for reports of TLS that failed");
    else if (n > 1)
        dns_tell(c, DNS_WRONG, "TLS-RPT", wanted->name, wanted,
                 "there are %zu records, which count as none: leave one", n);
    else if (tlsrpt_record_parse(c->arena, text, &r) != VR_OK || r.rua_count == 0)
        dns_tell(c, DNS_WRONG, "TLS-RPT", wanted->name, wanted, "published is \"%.*s\", which names nobody",
                 VR_STR_ARG(text));
    else if (r.fault != NULL)
        dns_tell(c, DNS_WARNING, "TLS-RPT", wanted->name, wanted, "a part of it is ignored: %s", r.fault);
    else
        dns_tell(c, DNS_OK, "TLS-RPT", wanted->name, NULL, "%.*s%s", VR_STR_ARG(r.rua[0]),
                 r.rua_count > 1 ? " and others" : "");
}
