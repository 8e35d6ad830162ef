/* dns_check_mail.c - `veredus dns check`: who may send in the domain's name: SPF, DKIM, DMARC.
 *
 * Tests: tests/e2e/test_dns_tools.py
 */
#include "cli/dns_inside.h"

#include "io/stream.h"

#include <veredus/dmarc.h>
#include <veredus/spf.h>

#include <stdio.h>
#include <string.h>

#define SPF_ARENA (256u << 10)

static const struct dns_plan_record *planned(const struct dns_checking *c, enum dns_plan_kind kind)
{
    for (size_t i = 0; i < c->plan->count; i++)
        if (c->plan->records[i].kind == kind)
            return &c->plan->records[i];
    return NULL;
}

/* ---- SPF ----------------------------------------------------------------------------------------------------------- */

/* What a receiver would find; false: the arena was full. */
static bool evaluate(struct dns_checking *c, const struct dns_address *client, struct vr_str sender,
                     enum spf_identity identity, struct spf_result *out)
{
    struct spf_query q = {.client = *client,
                          .helo = c->facts->config->hostname,
                          .sender = sender,
                          .identity = identity,
                          .receiver = c->facts->config->hostname,
                          .now = c->now};
    for (int round = 0; round <= SPF_ROUNDS_MAX; round++) {
        q.answers = dns_known(c->dns, &q.answer_count);
        if (spf_check(&q, c->arena, out) != VR_OK)
            return false;
        if (out->state == SPF_DONE)
            return true;
        for (size_t i = 0; i < out->question_count; i++)
            dns_get(c->dns, out->questions[i].name, out->questions[i].type);
    }
    return false;
}

static void check_spf_of(struct dns_checking *c, const struct dns_plan_record *wanted,
                         const struct dns_address *client, enum spf_identity identity)
{
    struct spf_result r;
    char text[IO_ADDRESS_TEXT];
    bool helo = identity == SPF_HELO;
    dns_address_text(client, text);
    struct vr_str sender =
        helo ? vr_str(NULL, 0)
             : vr_arena_printf(c->arena, "postmaster@%.*s", VR_STR_ARG(c->facts->domain->ascii));
    if (!evaluate(c, client, sender, identity, &r)) {
        dns_tell(c, DNS_WRONG, "SPF", wanted->name, wanted,
                 "it cannot be evaluated within the memory of this check");
        return;
    }
    if (r.verdict == SPF_PASS)
        dns_tell(c, DNS_OK, "SPF", wanted->name, NULL, "%s passes by %.*s, with %u of %u look-ups", text,
                 VR_STR_ARG(r.mechanism), r.lookups, SPF_LOOKUPS_MAX);
    else if (r.verdict == SPF_TEMPERROR)
        dns_tell(c, DNS_UNKNOWN, "SPF", wanted->name, NULL, "%.*s", VR_STR_ARG(r.reason));
    else if (r.verdict == SPF_PERMERROR)
        dns_tell(c, helo ? DNS_WARNING : DNS_WRONG, "SPF", wanted->name, wanted, "it is broken: %.*s",
                 VR_STR_ARG(r.reason));
    else
        dns_tell(c, helo ? DNS_WARNING : DNS_WRONG, "SPF", wanted->name, wanted,
                 "our own address %s does not pass but is \"%s\" (%.*s): add it to the record", text,
                 spf_verdict_name(r.verdict), VR_STR_ARG(r.reason));
}

static void check_spf_record(struct dns_checking *c, const struct dns_plan_record *wanted,
                             enum spf_identity identity)
{
    static const enum dns_type types[] = {DNS_TYPE_A, DNS_TYPE_AAAA};
    const struct dns_answer *a = dns_get(c->dns, wanted->name, DNS_TYPE_TXT);
    struct vr_str first;
    size_t n = 0;
    if (dns_failed(c, "SPF", a))
        return;
    for (size_t i = 0; a->status == DNS_STATUS_OK && i < a->count; i++) {
        unsigned lookups;
        const char *why;
        struct vr_str where;
        n += spf_record_parse(a->records[i].data, &lookups, &why, &where) != VR_ERR_NOT_FOUND;
    }
    dns_texts(a, VR_STR("v=spf1"), &first);
    if (n == 0) {
        dns_tell(c, identity == SPF_HELO ? DNS_WARNING : DNS_MISSING, "SPF", wanted->name, wanted,
                 identity == SPF_HELO ? "reports of ours, which have no sender, have nothing to pass by"
                                      : "nothing says who may send in its name");
        return;
    }
    if (n > 1) {
        dns_tell(c, DNS_WRONG, "SPF", wanted->name, wanted,
                 "there are %zu SPF records, which count as none (RFC 7208 §4.5): leave one", n);
        return;
    }
    if (identity == SPF_MAIL_FROM && !vr_str_equal(first, wanted->value))
        dns_tell(c, DNS_NOTE, "SPF", wanted->name, NULL, "published is \"%.*s\"", VR_STR_ARG(first));
    bool sources = false;
    for (size_t i = 0; i < c->plan->count; i++) { /* what the configuration sends from … */
        const struct dns_plan_record *r = &c->plan->records[i];
        struct io_address ip;
        bool v6 = strcmp(r->type, "AAAA") == 0;
        if (r->kind != DNS_PLAN_ADDRESS ||
            !io_address_parse(v6 ? vr_arena_printf(c->arena, "[%.*s]", VR_STR_ARG(r->value)) : r->value, 25,
                              &ip))
            continue;
        struct dns_address client = {.family = v6 ? 6 : 4};
        memcpy(client.ip, ip.ip, sizeof client.ip);
        check_spf_of(c, wanted, &client, identity);
        sources = true;
    }
    for (size_t t = 0; !sources && t < 2;
         t++) { /* … or, where it leaves that to the system, what the host has */
        const struct dns_answer *own = dns_get(c->dns, c->facts->config->hostname, types[t]);
        for (size_t i = 0; own->status == DNS_STATUS_OK && i < own->count; i++)
            check_spf_of(c, wanted, &own->records[i].address, identity);
    }
}

void dns_check_spf(struct dns_checking *c)
{
    const struct dns_plan_record *own = planned(c, DNS_PLAN_SPF), *helo = planned(c, DNS_PLAN_SPF_HELO);
    if (own != NULL)
        check_spf_record(c, own, SPF_MAIL_FROM);
    if (helo != NULL)
        check_spf_record(c, helo, SPF_HELO);
}

/* ---- DKIM ------------------------------------------------------------------------------------------------------------- */

static void check_key(struct dns_checking *c, const struct dns_plan_record *wanted)
{
    const struct dns_answer *a = dns_get(c->dns, wanted->name, DNS_TYPE_TXT);
    struct dkim_record ours, theirs = {0};
    const char *why = "";
    if (dns_failed(c, "DKIM", a))
        return;
    if (a->status != DNS_STATUS_OK) {
        dns_tell(c, DNS_MISSING, "DKIM", wanted->name, wanted,
                 "its key (%.*s) is not published: signatures by it do not verify", VR_STR_ARG(wanted->note));
        return;
    }
    if (a->count > 1) { /* RFC 6376 §3.6.2.2: undefined */
        dns_tell(c, DNS_WRONG, "DKIM", wanted->name, wanted,
                 "there are %zu TXT records: leave that of the key alone", a->count);
        return;
    }
    bool read = dkim_record_parse(c->arena, a->records[0].data, &theirs, &why) == VR_OK;
    if (dkim_record_parse(c->arena, wanted->value, &ours, &why) != VR_OK)
        return; /* our own: it is one */
    if (!read)
        dns_tell(c, DNS_WRONG, "DKIM", wanted->name, wanted, "what is published cannot be used: %s", why);
    else if (theirs.revoked)
        dns_tell(c, DNS_WRONG, "DKIM", wanted->name, wanted,
                 "the key is revoked there (p= is empty), and it signs here");
    else if (theirs.algorithm != ours.algorithm || !vr_str_equal(theirs.public_key, ours.public_key))
        dns_tell(c, DNS_WRONG, "DKIM", wanted->name, wanted,
                 "another key is published: signatures do not verify");
    else if (theirs.testing)
        dns_tell(c, DNS_WARNING, "DKIM", wanted->name, wanted,
                 "t=y says that signatures are on trial and count for nothing");
    else
        dns_tell(c, DNS_OK, "DKIM", wanted->name, NULL, "%u bits, %.*s", ours.bits, VR_STR_ARG(wanted->note));
}

void dns_check_dkim(struct dns_checking *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->plan->count; i++)
        if (c->plan->records[i].kind == DNS_PLAN_DKIM) {
            check_key(c, &c->plan->records[i]);
            n++;
        }
    if (n == 0 && c->facts->domain->sign)
        dns_tell(c, DNS_WARNING, "DKIM", c->facts->domain->ascii, NULL,
                 "there is no key: its mail is not signed; `veredus dkim keygen %.*s` makes one",
                 VR_STR_ARG(c->facts->domain->ascii));
}

/* ---- DMARC -------------------------------------------------------------------------------------------------------------- */

/* Reports to another organisation want its leave (RFC 7489 §7.1). */
static void check_reporter(struct dns_checking *c, struct vr_str uri)
{
    struct vr_str address, domain = c->facts->domain->ascii, own, theirs;
    if (dmarc_mailto(c->arena, uri, &address) != VR_OK)
        return;
    struct vr_str at = vr_str_from_pos(address, vr_str_find_last(address, '@') + 1);
    if (dmarc_registrable(c->arena, domain, &own) != VR_OK)
        own = domain;
    if (dmarc_registrable(c->arena, at, &theirs) != VR_OK)
        theirs = at;
    if (vr_str_equal_nocase(own, theirs))
        return;
    struct vr_str name = vr_arena_printf(c->arena, "%.*s._report._dmarc.%.*s", VR_STR_ARG(domain),
                                         VR_STR_ARG(at)),
                  first;
    const struct dns_answer *a = dns_get(c->dns, name, DNS_TYPE_TXT);
    if (dns_failed(c, "DMARC", a))
        return;
    if (dns_texts(a, VR_STR("v=DMARC1"), &first) == 0)
        dns_tell(
            c, DNS_WARNING, "DMARC", name, NULL,
            "reports to %.*s will not be sent: %.*s has to allow them with a TXT record \"v=DMARC1\" there",
            VR_STR_ARG(address), VR_STR_ARG(at));
}

static void judge_dmarc(struct dns_checking *c, const struct dns_plan_record *wanted, struct vr_str text)
{
    struct dmarc_record r;
    if (dmarc_record_parse(c->arena, text, &r) != VR_OK || !r.usable) {
        dns_tell(c, DNS_WRONG, "DMARC", wanted->name, wanted, "published is \"%.*s\", which is no policy",
                 VR_STR_ARG(text));
        return;
    }
    if (r.fault != NULL)
        dns_tell(c, DNS_WRONG, "DMARC", wanted->name, wanted, "a part of it is ignored: %s", r.fault);
    else if (c->facts->domain->publish.dmarc.n > 0 && !vr_str_equal(text, wanted->value))
        dns_tell(c, DNS_WRONG, "DMARC", wanted->name, wanted,
                 "published is \"%.*s\", and the configuration wants another", VR_STR_ARG(text));
    else
        dns_tell(c, DNS_OK, "DMARC", wanted->name, NULL, "p=%s%s", dmarc_policy_name(r.p),
                 r.rua_count > 0 ? "" : "; nobody gets reports (rua=)");
    for (size_t i = 0; i < r.rua_count; i++)
        check_reporter(c, r.rua[i].uri);
}

void dns_check_dmarc(struct dns_checking *c)
{
    const struct dns_plan_record *wanted = planned(c, DNS_PLAN_DMARC);
    const struct dns_answer *a = dns_get(c->dns, wanted->name, DNS_TYPE_TXT);
    struct vr_str text;
    if (dns_failed(c, "DMARC", a))
        return;
    size_t n = dns_texts(a, VR_STR("v=DMARC1"), &text);
    if (n == 0)
        dns_tell(c, DNS_MISSING, "DMARC", wanted->name, wanted,
                 "nothing says what becomes of mail that only claims to be from this domain");
    else if (n > 1)
        dns_tell(c, DNS_WRONG, "DMARC", wanted->name, wanted,
                 "there are %zu DMARC records, which count as none: leave one", n);
    else
        judge_dmarc(c, wanted, text);
}
