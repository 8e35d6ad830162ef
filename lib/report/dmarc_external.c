/* dmarc_external.c - may a report go where a record wants it? (RFC 7489 §7.1)
 *
 * An address of another organisation is asked for its consent: TXT of <domain>._report._dmarc.<its host>. Its record may name other addresses, of
 * the same host only.
 *
 * Tests: tests/unit/dmarc_report.c
 */
#include "inside.h"

#include <veredus/dmarc_report.h>
#include <veredus/idn.h>

#define QUESTIONS_MAX (DMARC_URIS_MAX * (DMARC_WALK_MAX + 1) + DMARC_WALK_MAX)
#define LIST_MAX      (DMARC_URIS_MAX * DMARC_URIS_MAX)

struct asking {
    const struct dmarc_destinations_query *q;
    struct vr_arena *arena;
    struct dns_question *questions;
    size_t question_count;
    struct dmarc_destination *list;
    size_t count;
    bool full;
};

static void question(struct asking *a, struct dns_question q)
{
    for (size_t i = 0; i < a->question_count; i++)
        if (a->questions[i].type == q.type && vr_str_equal_nocase(a->questions[i].name, q.name))
            return;
    if (a->question_count < QUESTIONS_MAX)
        a->questions[a->question_count++] = q;
}

static void add(struct asking *a, struct dmarc_destination d)
{
    if (a->count < LIST_MAX)
        a->list[a->count++] = d;
}

/* The organisational domain; false: it is asked for, or *failed. */
static bool organization_of(struct asking *a, struct vr_str domain, struct vr_str *out, bool *failed)
{
    struct dmarc_organization o;
    enum vr_err e = dmarc_organization(a->q->method, domain, a->q->answers, a->q->answer_count, a->arena, &o);
    a->full = a->full || e == VR_ERR_TOO_BIG;
    *failed = e != VR_OK || o.temperror;
    for (size_t i = 0; e == VR_OK && o.state == DKIM_ASK && i < o.question_count; i++)
        question(a, o.questions[i]);
    *out = o.domain;
    return !*failed && o.state == DKIM_DONE;
}

static void refuse(struct asking *a, struct dmarc_destination *d, const char *why, bool temporary)
{
    d->refused = why;
    d->temporary = temporary;
    d->address = vr_str(NULL, 0);
    add(a, *d);
}

/* The addresses that the host names instead. False: there are none. */
static bool take_override(struct asking *a, const struct dmarc_record *r, struct vr_str host,
                          struct dmarc_destination d)
{
    const struct dmarc_uri *uris = a->q->failure ? r->ruf : r->rua;
    size_t count = a->q->failure ? r->ruf_count : r->rua_count;
    for (size_t i = 0; i < count; i++) {
        struct dmarc_destination other = {
            .uri = uris[i].uri, .max_octets = uris[i].max_octets, .external = true};
        enum vr_err e = dmarc_mailto(a->arena, uris[i].uri, &other.address);
        if (e == VR_ERR_UNSUPPORTED)
            continue;
        if (e != VR_OK ||
            !idn_equal(report_domain_of(other.address), host)) { /* neither there nor to the first one */
            refuse(a, &d, "its host names an address of yet another host instead", false);
            return true;
        }
        add(a, other);
    }
    return count > 0;
}

static void ask_consent(struct asking *a, struct dmarc_destination d, struct vr_str host)
{
    struct vr_str name =
        vr_arena_printf(a->arena, "%.*s._report._dmarc.%.*s", VR_STR_ARG(a->q->domain), VR_STR_ARG(host));
    if (name.n == 0) {
        a->full = true;
        return;
    }
    if (name.n > 253) {
        refuse(a, &d, "its host cannot be asked whether it wants this: the name would be too long", false);
        return;
    }
    const struct dns_answer *answer = dns_answer_find(a->q->answers, a->q->answer_count, name, DNS_TYPE_TXT);
    if (answer == NULL) {
        question(a, (struct dns_question){name, DNS_TYPE_TXT});
        return;
    }
    if (answer->status == DNS_STATUS_FAILED) {
        refuse(a, &d, "the DNS did not say whether its host wants this", true);
        return;
    }
    for (size_t i = 0; i < answer->count; i++) {
        struct dmarc_record r;
        enum vr_err e = dmarc_record_parse(a->arena, answer->records[i].data, &r);
        if (e != VR_OK)
            continue;
        if (!take_override(a, &r, host, d))
            add(a, d);
        return;
    }
    refuse(a, &d, "its host does not say that it wants reports about this domain", false);
}

static void look_at(struct asking *a, const struct dmarc_uri *uri)
{
    struct dmarc_destination d = {.uri = uri->uri, .max_octets = uri->max_octets};
    struct vr_str host, own, theirs;
    bool failed_own, failed_theirs;
    enum vr_err e = dmarc_mailto(a->arena, uri->uri, &d.address);
    if (e != VR_OK) {
        a->full = a->full || e == VR_ERR_TOO_BIG;
        refuse(a, &d, e == VR_ERR_UNSUPPORTED ? "it is no mailto:" : "it is no address", false);
        return;
    }
    if (idn_to_ascii(a->arena, report_domain_of(d.address), &host) != VR_OK) {
        refuse(a, &d, "it is no address", false);
        return;
    }
    if (vr_str_equal_nocase(host, a->q->domain)) {
        add(a, d);
        return;
    }
    bool known_own = organization_of(a, a->q->domain, &own, &failed_own),
         known_theirs = organization_of(a, host, &theirs, &failed_theirs);
    if (failed_own || failed_theirs) {
        refuse(a, &d, "the DNS did not say whose its host is", true);
        return;
    }
    if (!known_own || !known_theirs)
        return;
    d.external = !vr_str_equal(own, theirs);
    if (d.external)
        ask_consent(a, d, host);
    else
        add(a, d);
}

enum vr_err dmarc_destinations(const struct dmarc_destinations_query *q, struct vr_arena *arena,
                               struct dmarc_destinations *out)
{
    struct asking a = {.q = q, .arena = arena};
    *out = (struct dmarc_destinations){.state = DKIM_DONE};
    a.questions = vr_arena_alloc(arena, QUESTIONS_MAX * sizeof *a.questions);
    a.list = vr_arena_alloc(arena, LIST_MAX * sizeof *a.list);
    if (a.questions == NULL || a.list == NULL)
        return VR_ERR_TOO_BIG;
    for (size_t i = 0; i < q->uri_count && i < DMARC_URIS_MAX && !a.full; i++)
        look_at(&a, &q->uris[i]);
    if (a.full)
        return VR_ERR_TOO_BIG;
    *out = (struct dmarc_destinations){.state = a.question_count > 0 ? DKIM_ASK : DKIM_DONE,
                                       .questions = a.questions,
                                       .question_count = a.question_count,
                                       .list = a.list,
                                       .count = a.count};
    return VR_OK;
}
