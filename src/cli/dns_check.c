/* dns_check.c - `veredus dns check`: what is published against what should be; here: the hosts, their addresses and names.
 *
 * Tests: tests/e2e/test_dns_tools.py
 */
#include "cli/dns_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *dns_verdict_name(enum dns_verdict v)
{
    static const char *const names[] = {
        [DNS_OK] = "ok",           [DNS_NOTE] = "note",       [DNS_WARNING] = "warning",
        [DNS_UNKNOWN] = "unknown", [DNS_MISSING] = "missing", [DNS_WRONG] = "wrong"};
    return names[v];
}

void dns_tell(struct dns_checking *c, enum dns_verdict v, const char *what, struct vr_str name,
              const struct dns_plan_record *publish, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    struct dns_finding f = {.verdict = v, .what = what, .name = name, .text = vr_str_from(text)};
    struct vr_buf line;
    vr_buf_init(&line, 64u << 10);
    if (publish != NULL && dns_plan_line(&line, publish))
        f.publish = vr_buf_str(&line);
    c->found(c->arg, &f);
    vr_buf_fini(&line);
}

bool dns_failed(struct dns_checking *c, const char *what, const struct dns_answer *a)
{
    if (a->status != DNS_STATUS_FAILED)
        return false;
    dns_tell(c, DNS_UNKNOWN, what, a->name, NULL, "the DNS gives no answer: %.*s", VR_STR_ARG(a->why));
    return true;
}

size_t dns_texts(const struct dns_answer *a, struct vr_str begin, struct vr_str *first)
{
    size_t n = 0;
    *first = vr_str(NULL, 0);
    for (size_t i = 0; a->status == DNS_STATUS_OK && i < a->count; i++)
        if (vr_str_starts_nocase(a->records[i].data, begin) && n++ == 0)
            *first = a->records[i].data;
    return n;
}

static const struct dns_plan_record *planned(const struct dns_checking *c, enum dns_plan_kind kind,
                                             struct vr_str end)
{
    for (size_t i = 0; i < c->plan->count; i++) {
        const struct dns_plan_record *r = &c->plan->records[i];
        if (r->kind == kind && (end.n == 0 || vr_str_ends_nocase(r->value, end)))
            return r;
    }
    return NULL;
}

/* ---- MX ------------------------------------------------------------------------------------------------------------ */

static bool wants_host(const struct dns_checking *c, struct vr_str host)
{
    for (size_t i = 0; i < c->plan->mx_count; i++)
        if (vr_str_equal_nocase(c->plan->mx[i], host))
            return true;
    return false;
}

static const struct dns_record *mx_of(const struct dns_answer *a, struct vr_str host)
{
    for (size_t i = 0; a->status == DNS_STATUS_OK && i < a->count; i++)
        if (vr_str_equal_nocase(a->records[i].name, host))
            return &a->records[i];
    return NULL;
}

static void check_published_mx(struct dns_checking *c, const struct dns_answer *a)
{
    for (size_t i = 0; i < a->count; i++) {
        struct vr_str host = a->records[i].name;
        if (host.n == 0)
            dns_tell(c, DNS_WRONG, "MX", a->name, NULL,
                     "a null MX says that the domain takes no mail (RFC 7505): remove it");
        else if (!wants_host(c, host))
            dns_tell(c, DNS_WARNING, "MX", a->name, NULL,
                     "%.*s takes its mail too, and the configuration does not know it: name it in `mx` of "
                     "the domain, or "
                     "remove the record",
                     VR_STR_ARG(host));
    }
}

static void check_mx(struct dns_checking *c)
{
    const struct dns_answer *a = dns_get(c->dns, c->facts->domain->ascii, DNS_TYPE_MX);
    if (dns_failed(c, "MX", a))
        return;
    if (a->status == DNS_STATUS_OK)
        check_published_mx(c, a);
    uint16_t before = 0;
    for (size_t i = 0; i < c->plan->mx_count; i++) {
        struct vr_str host = c->plan->mx[i];
        const struct dns_record *r = mx_of(a, host);
        char end[300];
        snprintf(end, sizeof end, " %.*s.", VR_STR_ARG(host));
        if (r == NULL)
            dns_tell(c, DNS_MISSING, "MX", a->name, planned(c, DNS_PLAN_MX, vr_str_from(end)),
                     "nothing leads mail to %.*s", VR_STR_ARG(host));
        else if (r->preference < before)
            dns_tell(c, DNS_WARNING, "MX", a->name, planned(c, DNS_PLAN_MX, vr_str_from(end)),
                     "%.*s has preference %u and comes before the hosts that stand before it in `mx`",
                     VR_STR_ARG(host), r->preference);
        else
            dns_tell(c, DNS_OK, "MX", a->name, NULL, "%u %.*s", r->preference, VR_STR_ARG(host));
        before = r != NULL ? r->preference : before;
    }
}

/* ---- addresses, and the names of addresses -------------------------------------------------------------------------------- */

/* How many addresses; negative: the DNS failed, and that was told. */
static int check_addresses(struct dns_checking *c, const char *what, struct vr_str host)
{
    static const enum dns_type types[] = {DNS_TYPE_A, DNS_TYPE_AAAA};
    const struct dns_answer *alias = dns_get(c->dns, host, DNS_TYPE_OTHER_CNAME);
    if (alias->status == DNS_STATUS_OK) /* RFC 5321 §5.1, RFC 2181 §10.3 */
        dns_tell(c, DNS_WRONG, what, host, NULL,
                 "it is an alias (CNAME), which a host of an MX record must not be: give it an A or AAAA "
                 "record of its own");
    size_t n = 0;
    char all[512] = "";
    for (size_t t = 0; t < 2; t++) {
        const struct dns_answer *a = dns_get(c->dns, host, types[t]);
        if (dns_failed(c, what, a))
            return -1;
        for (size_t i = 0; a->status == DNS_STATUS_OK && i < a->count; i++, n++) {
            char text[IO_ADDRESS_TEXT];
            size_t used = strlen(all);
            dns_address_text(&a->records[i].address, text);
            snprintf(all + used, sizeof all - used, "%s%s", n > 0 ? ", " : "", text);
        }
    }
    if (n == 0)
        dns_tell(c, DNS_MISSING, what, host, planned(c, DNS_PLAN_ADDRESS, vr_str(NULL, 0)),
                 "it has no address: give it an A record, and AAAA where there is IPv6");
    else
        dns_tell(c, DNS_OK, what, host, NULL, "%s", all);
    return (int)n;
}

static void check_reverse(struct dns_checking *c, const struct dns_address *address)
{
    struct vr_str hostname = c->facts->config->hostname, name = dns_reverse(c->arena, address);
    char text[IO_ADDRESS_TEXT];
    dns_address_text(address, text);
    const struct dns_answer *a = dns_get(c->dns, name, DNS_TYPE_PTR);
    if (dns_failed(c, "PTR", a))
        return;
    for (size_t i = 0; a->status == DNS_STATUS_OK && i < a->count; i++)
        if (vr_str_equal_nocase(a->records[i].name,
                                hostname)) { /* and it leads back: that is where the address is from */
            dns_tell(c, DNS_OK, "PTR", name, NULL, "%s is %.*s, and back", text, VR_STR_ARG(hostname));
            return;
        }
    if (a->status == DNS_STATUS_OK)
        dns_tell(c, DNS_WRONG, "PTR", name, NULL,
                 "%s is called %.*s and not %.*s: whoever the address is from (the provider) must name it "
                 "so, or mail from "
                 "it is refused by many",
                 text, VR_STR_ARG(a->records[0].name), VR_STR_ARG(hostname));
    else
        dns_tell(c, DNS_MISSING, "PTR", name, NULL,
                 "%s has no name: whoever the address is from (the provider) must publish a PTR record for "
                 "it that names "
                 "%.*s, or mail from it is refused by many",
                 text, VR_STR_ARG(hostname));
}

/* Addresses that the configuration sends from are to be those of the hostname. */
static void check_sources(struct dns_checking *c)
{
    for (size_t i = 0; i < c->plan->count; i++) {
        const struct dns_plan_record *r = &c->plan->records[i];
        if (r->kind != DNS_PLAN_ADDRESS)
            continue;
        const struct dns_answer *a =
            dns_get(c->dns, r->name, strcmp(r->type, "A") == 0 ? DNS_TYPE_A : DNS_TYPE_AAAA);
        bool found = a->status == DNS_STATUS_FAILED; /* was told */
        for (size_t k = 0; a->status == DNS_STATUS_OK && k < a->count; k++) {
            char text[IO_ADDRESS_TEXT];
            dns_address_text(&a->records[k].address, text);
            found = found || vr_str_equal(vr_str_from(text), r->value);
        }
        if (!found)
            dns_tell(c, DNS_WRONG, "hostname", r->name, r,
                     "mail leaves from %.*s, which is none of its addresses: many servers refuse it then",
                     VR_STR_ARG(r->value));
    }
}

static void check_hosts(struct dns_checking *c)
{
    struct vr_str hostname = c->facts->config->hostname;
    for (size_t i = 0; i < c->plan->mx_count; i++)
        check_addresses(c, "MX host", c->plan->mx[i]);
    if (!wants_host(c, hostname))
        check_addresses(c, "hostname", hostname);
    check_sources(c);
    static const enum dns_type types[] = {DNS_TYPE_A, DNS_TYPE_AAAA};
    for (size_t t = 0; t < 2; t++) {
        const struct dns_answer *a = dns_get(c->dns, hostname, types[t]);
        for (size_t i = 0; a->status == DNS_STATUS_OK && i < a->count; i++)
            check_reverse(c, &a->records[i].address);
    }
}

/* ---- services ---------------------------------------------------------------------------------------------------------------- */

/* rdata of SRV (RFC 2782): priority, weight, port, and the target as a name on the wire. */
static bool srv_matches(struct vr_str rdata, const struct dns_plan_record *wanted)
{
    char text[300];
    size_t n = 0, at = 6;
    if (rdata.n < 7)
        return false;
    const unsigned char *p = (const unsigned char *)rdata.p;
    n = (size_t)snprintf(text, sizeof text, " %u ", (unsigned)(p[4] << 8 | p[5]));
    while (at < rdata.n && p[at] != 0 && at + 1 + p[at] <= rdata.n && n + p[at] + 2u < sizeof text) {
        memcpy(text + n, rdata.p + at + 1, p[at]);
        n += p[at];
        text[n++] = '.';
        at += 1u + p[at];
    }
    return vr_str_ends_nocase(wanted->value, vr_str(text, n));
}

static void check_services(struct dns_checking *c)
{
    for (size_t i = 0; i < c->plan->count; i++) {
        const struct dns_plan_record *r = &c->plan->records[i];
        if (r->kind != DNS_PLAN_SRV)
            continue;
        const struct dns_answer *a = dns_get(c->dns, r->name, DNS_TYPE_SRV);
        bool found = false;
        if (dns_failed(c, "SRV", a))
            continue;
        for (size_t k = 0; a->status == DNS_STATUS_OK && k < a->count; k++)
            found = found || srv_matches(a->records[k].data, r);
        if (found)
            dns_tell(c, DNS_OK, "SRV", r->name, NULL, "%.*s", VR_STR_ARG(r->value));
        else if (a->status == DNS_STATUS_OK)
            dns_tell(c, DNS_WARNING, "SRV", r->name, r, "mail programs are led to another host or port");
        else
            dns_tell(c, DNS_WARNING, "SRV", r->name, r,
                     "mail programs that look for it do not find the server");
    }
}

void dns_check_all(struct dns_checking *c)
{
    check_mx(c);
    check_hosts(c);
    dns_check_spf(c);
    dns_check_dkim(c);
    dns_check_dmarc(c);
    dns_check_tlsa(c);
    dns_check_mta_sts(c);
    dns_check_tls_rpt(c);
    check_services(c);
}
