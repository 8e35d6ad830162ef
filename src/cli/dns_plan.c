/* dns_plan.c - see dns_plan.h.
 *
 * SPF ends in "~all" (RFC 7208 §5.1, RFC 9989 leaves the verdict to DMARC): "-all" would have forwarded mail refused before anybody looks at its
 * signature. An administrator who wants it says so (domain.spf_record).
 */
#include "cli/dns_plan.h"

#include <stdio.h>
#include <string.h>

const char *dns_plan_kind_name(enum dns_plan_kind k)
{
    static const char *const names[] = {
        [DNS_PLAN_MX] = "MX",           [DNS_PLAN_ADDRESS] = "address", [DNS_PLAN_SPF] = "SPF",
        [DNS_PLAN_SPF_HELO] = "SPF",    [DNS_PLAN_DKIM] = "DKIM",       [DNS_PLAN_DMARC] = "DMARC",
        [DNS_PLAN_MTA_STS] = "MTA-STS", [DNS_PLAN_TLS_RPT] = "TLS-RPT", [DNS_PLAN_TLSA] = "TLSA",
        [DNS_PLAN_SRV] = "SRV"};
    return names[k];
}

struct builder {
    const struct dns_plan_facts *f;
    struct vr_arena *arena;
    struct dns_plan *out;
    bool fits;
};

static bool is_below(struct vr_str name, struct vr_str domain)
{
    return vr_str_equal_nocase(name, domain) ||
           (name.n > domain.n && vr_str_ends_nocase(name, domain) && name.p[name.n - domain.n - 1] == '.');
}

static struct dns_plan_record *add(struct builder *b, enum dns_plan_kind kind, struct vr_str name,
                                   const char *type, struct vr_str value)
{
    static struct dns_plan_record nowhere;
    if (b->out->count == DNS_PLAN_MAX || name.p == NULL || value.p == NULL) {
        b->fits = false;
        return &nowhere;
    }
    struct dns_plan_record *r = &b->out->records[b->out->count++];
    *r = (struct dns_plan_record){.kind = kind,
                                  .name = name,
                                  .type = type,
                                  .value = value,
                                  .inside = is_below(name, b->f->domain->ascii)};
    return r;
}

#define TEXT(b, ...) vr_arena_printf((b)->arena, __VA_ARGS__)

/* ---- hosts ------------------------------------------------------------------------------------------------------ */

static bool takes_mail(const struct dns_plan *p, struct vr_str host)
{
    for (size_t i = 0; i < p->mx_count; i++)
        if (vr_str_equal_nocase(p->mx[i], host))
            return true;
    return false;
}

static void add_mx(struct builder *b)
{
    for (size_t i = 0; i < b->out->mx_count; i++)
        add(b, DNS_PLAN_MX, b->f->domain->ascii, "MX",
            TEXT(b, "%zu %.*s.", 10 * (i + 1), VR_STR_ARG(b->out->mx[i])));
}

/* Every address that mail leaves from, as far as the configuration tells: each(i) of the two families. */
static bool source_at(const struct config *c, size_t i, struct io_address *out)
{
    size_t route = i / 2;
    bool v6 = i % 2 != 0;
    if (route > c->route_count)
        return false;
    const struct io_address *own = route == 0
                                       ? (v6 ? &c->source6 : &c->source)
                                       : (v6 ? &c->routes[route - 1].source6 : &c->routes[route - 1].source);
    *out = *own;
    for (size_t k = 0; k < i && out->family != IO_NONE; k++) { /* told before */
        struct io_address before;
        if (source_at(c, k, &before) && before.family == out->family &&
            memcmp(before.ip, out->ip, sizeof out->ip) == 0)
            out->family = IO_NONE;
    }
    return true;
}

static void add_addresses(struct builder *b)
{
    struct io_address a;
    char text[IO_ADDRESS_TEXT];
    for (size_t i = 0; source_at(b->f->config, i, &a); i++) {
        if (a.family == IO_NONE)
            continue;
        io_address_ip_text(&a, text);
        struct dns_plan_record *r = add(b, DNS_PLAN_ADDRESS, b->f->config->hostname,
                                        a.family == IO_INET ? "A" : "AAAA", TEXT(b, "%s", text));
        r->note = TEXT(b, "and its PTR record must name %.*s", VR_STR_ARG(b->f->config->hostname));
    }
}

/* ---- who may send ------------------------------------------------------------------------------------------------- */

static void add_spf(struct builder *b)
{
    const struct config *c = b->f->config;
    struct vr_str text = b->f->domain->publish.spf;
    if (text.n == 0) {
        struct io_address a;
        char ip[IO_ADDRESS_TEXT];
        text = TEXT(b, "v=spf1 mx");
        if (!takes_mail(b->out, c->hostname))
            text = TEXT(b, "%.*s a:%.*s", VR_STR_ARG(text), VR_STR_ARG(c->hostname));
        for (size_t i = 0; source_at(c, i, &a); i++) {
            if (a.family == IO_NONE)
                continue;
            io_address_ip_text(&a, ip);
            text = TEXT(b, "%.*s %s:%s", VR_STR_ARG(text), a.family == IO_INET ? "ip4" : "ip6", ip);
        }
        text = TEXT(b, "%.*s ~all", VR_STR_ARG(text));
    }
    add(b, DNS_PLAN_SPF, b->f->domain->ascii, "TXT", text);
    if (vr_str_equal_nocase(c->hostname, b->f->domain->ascii))
        return;
    struct dns_plan_record *r = add(b, DNS_PLAN_SPF_HELO, c->hostname, "TXT", TEXT(b, "v=spf1 a -all"));
    r->optional = true;
    r->note = TEXT(b, "for reports, which have no sender: what is checked then is the name of HELO");
}

static void add_dkim(struct builder *b)
{
    for (size_t i = 0; i < b->f->key_count; i++) {
        const struct dkim_published *k = &b->f->keys[i];
        if (k->phase == DKIM_RETIRED)
            continue;
        struct dns_plan_record *r = add(b, DNS_PLAN_DKIM, k->name, "TXT", k->value);
        r->note = TEXT(b, "%s", dkim_phase_name(k->phase));
    }
}

static void add_dmarc(struct builder *b)
{
    struct vr_str domain = b->f->domain->ascii, text = b->f->domain->publish.dmarc;
    if (text.n == 0)
        text = TEXT(b, "v=DMARC1; p=none; rua=mailto:postmaster@%.*s", VR_STR_ARG(domain));
    add(b, DNS_PLAN_DMARC, TEXT(b, "_dmarc.%.*s", VR_STR_ARG(domain)), "TXT", text);
}

/* ---- transport ------------------------------------------------------------------------------------------------------- */

static void add_mta_sts(struct builder *b)
{
    struct vr_buf policy;
    struct vr_str domain = b->f->domain->ascii;
    vr_buf_init(&policy, 64u << 10);
    if (published_mta_sts(b->f->config, b->f->domain, &policy)) {
        b->out->policy = vr_arena_dup(b->arena, vr_buf_str(&policy));
        published_mta_sts_id(b->out->policy, b->out->policy_id);
        add(b, DNS_PLAN_MTA_STS, TEXT(b, "_mta-sts.%.*s", VR_STR_ARG(domain)), "TXT",
            TEXT(b, "v=STSv1; id=%s;", b->out->policy_id));
        if (b->f->config->web_count > 0) /* served here */
            add(b, DNS_PLAN_MTA_STS, TEXT(b, "mta-sts.%.*s", VR_STR_ARG(domain)), "CNAME",
                TEXT(b, "%.*s.", VR_STR_ARG(b->f->config->hostname)));
    }
    vr_buf_fini(&policy);
}

static void add_tls_rpt(struct builder *b)
{
    const struct config_published *p = &b->f->domain->publish;
    struct vr_str domain = b->f->domain->ascii, text = TEXT(b, "v=TLSRPTv1; rua=");
    for (size_t i = 0; i < p->tls_report_count; i++)
        text = TEXT(b, "%.*s%s%.*s", VR_STR_ARG(text), i > 0 ? "," : "", VR_STR_ARG(p->tls_reports[i]));
    if (p->tls_report_count == 0)
        text = TEXT(b, "%.*smailto:postmaster@%.*s", VR_STR_ARG(text), VR_STR_ARG(domain));
    add(b, DNS_PLAN_TLS_RPT, TEXT(b, "_smtp._tls.%.*s", VR_STR_ARG(domain)), "TXT", text);
}

/* As the server chooses by SNI: exact names before wildcards, then the first. */
const struct dns_plan_certificate *dns_plan_certificate_of(const struct dns_plan_facts *f, struct vr_str host)
{
    for (int wild = 0; wild < 2; wild++)
        for (size_t i = 0; i < f->certificate_count; i++) {
            struct vr_str names = vr_str_from(f->certificates[i].names), name;
            while (vr_str_split(&names, ' ', &name)) {
                const struct io_certificate one = {.names = &name, .name_count = 1};
                if (name.n > 0 && vr_str_starts(name, VR_STR("*.")) == (wild == 1) &&
                    io_certificate_is_for(&one, host))
                    return &f->certificates[i];
            }
        }
    bool ours = f->certificate_count > 0 && (vr_str_equal_nocase(host, f->config->hostname) ||
                                             io_certificate_is_for(&f->certificates[0].x, host));
    return ours ? &f->certificates[0] : NULL;
}

static void add_tlsa(struct builder *b)
{
    for (size_t i = 0; i < b->out->mx_count; i++) {
        struct vr_str host = b->out->mx[i];
        const struct dns_plan_certificate *c = dns_plan_certificate_of(b->f, host);
        if (c == NULL)
            continue;
        char hex[65];
        for (size_t k = 0; k < sizeof c->x.tlsa_3_1_1; k++)
            snprintf(hex + 2 * k, 3, "%02x", c->x.tlsa_3_1_1[k]);
        struct dns_plan_record *r = add(b, DNS_PLAN_TLSA, TEXT(b, "_25._tcp.%.*s", VR_STR_ARG(host)), "TLSA",
                                        TEXT(b, "3 1 1 %s", hex));
        r->optional = true;
        r->note = TEXT(
            b,
            "of use only when the zone is signed (DNSSEC); publish that of the next key before it is used");
    }
}

/* ---- mail programs ------------------------------------------------------------------------------------------------------ */

static void add_srv(struct builder *b, const char *service, uint16_t port, struct vr_str host)
{
    struct dns_plan_record *r =
        add(b, DNS_PLAN_SRV, TEXT(b, "%s._tcp.%.*s", service, VR_STR_ARG(b->f->domain->ascii)), "SRV",
            TEXT(b, "0 1 %u %.*s.", port, VR_STR_ARG(host)));
    r->optional = true;
}

/* RFC 6186 §3.1, RFC 8314 §5.1 */
static void add_services(struct builder *b)
{
    static const struct {
        enum listener_role role;
        const char *service;
    } services[] = {{LISTENER_SUBMISSIONS, "_submissions"}, {LISTENER_SUBMISSION, "_submission"}};
    const struct config *c = b->f->config;
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        for (size_t k = 0; k < c->listener_count; k++) {
            const struct config_listener *l = &c->listeners[k];
            if (l->role != services[i].role ||
                (l->address.family != IO_INET && l->address.family != IO_INET6))
                continue;
            add_srv(b, services[i].service, l->address.port, c->hostname);
            break;
        }
    if (b->f->domain->publish.imaps_host.n > 0)
        add_srv(b, "_imaps", b->f->domain->publish.imaps_port, b->f->domain->publish.imaps_host);
}

bool dns_plan_make(const struct dns_plan_facts *f, struct vr_arena *arena, struct dns_plan *out)
{
    static void (*const steps[])(struct builder * b) = {add_mx,      add_addresses, add_spf,
                                                        add_dkim,    add_dmarc,     add_mta_sts,
                                                        add_tls_rpt, add_tlsa,      add_services};
    struct builder b = {.f = f, .arena = arena, .out = out, .fits = true};
    *out = (struct dns_plan){0};
    out->mx_count = published_mx(f->config, f->domain, &out->mx);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        steps[i](&b);
    return b.fits;
}

/* ---- as a zone file has it -------------------------------------------------------------------------------------------------- */

static void put_strings(struct vr_buf *out, struct vr_str text)
{
    do {
        struct vr_str part = vr_str_sub(text, 0, DNS_STRING_MAX);
        text = vr_str_from_pos(text, part.n);
        vr_buf_add_byte(out, '"');
        for (size_t i = 0; i < part.n; i++) {
            if (part.p[i] == '"' || part.p[i] == '\\')
                vr_buf_add_byte(out, '\\');
            vr_buf_add_byte(out, part.p[i]);
        }
        vr_buf_add(out, text.n > 0 ? VR_STR("\" ") : VR_STR("\""));
    } while (text.n > 0);
}

bool dns_plan_line(struct vr_buf *out, const struct dns_plan_record *r)
{
    vr_buf_addf(out, "%.*s. %d IN %s ", VR_STR_ARG(r->name), DNS_PLAN_TTL, r->type);
    if (strcmp(r->type, "TXT") == 0)
        put_strings(out, r->value);
    else
        vr_buf_add(out, r->value);
    return !out->too_big;
}
