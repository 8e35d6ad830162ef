/* policy.c - how much TLS each host must do: what the route says, raised by what the host's domain publishes (DANE, MTA-STS) and by what the message wants.
 *
 * Rules: (1) nothing that is published makes TLS less than the route's
 *        (2) DANE wins: a host with usable TLSA records is verified by them, whatever the MTA-STS policy says of certificates (RFC 8461 §2). The policy's list of
 *        hosts still counts where no DNSSEC vouches for the MX records
 *        (3) a host of which it cannot be found out how it is to be verified is not used (RFC 7672 §2.1.2)
 *        (4) "TLS-Required: No" forgets what is published, not what the administrator demands (RFC 8689 §4.2.2)
 * Tests: tests/unit/sender_policies.c, tests/e2e/test_transport.py
 */
#include "sender/inside.h"

#include <assert.h>

/* What is asked for the job at hand. The wish of the route is job.next_hop's: c->hop may be raised. */
struct policy_wishes policy_wishes(const struct connection *c)
{
    const struct config *config = c->sender->config;
    enum next_hop_tls tls = c->job->d.next_hop.tls;
    bool mx = c->hop.kind == NEXT_HOP_MX, strict = demands_tls(c->job), relaxed = demands_no_tls(c->job);
    bool open = mx && !relaxed &&
                (tls == NEXT_HOP_TLS_MAY || tls == NEXT_HOP_TLS_REQUIRED); /* to what is published */
    bool dane = tls == NEXT_HOP_TLS_DANE && !relaxed;
    return (struct policy_wishes){.dane = (open && config->dane) || dane || tls == NEXT_HOP_TLS_DANE_ONLY,
                                  .sts = config->mta_sts && (open || (mx && (dane || strict))),
                                  .strict = strict,
                                  .tls = tls};
}

static enum care_level level_of(enum next_hop_tls tls)
{
    static const enum care_level levels[] = {[NEXT_HOP_TLS_MAY] = CARE_MAY,
                                             [NEXT_HOP_TLS_NONE] = CARE_NEVER,
                                             [NEXT_HOP_TLS_REQUIRED] = CARE_ENCRYPT,
                                             [NEXT_HOP_TLS_VERIFY] = CARE_AUTHORITY,
                                             [NEXT_HOP_TLS_IMPLICIT] = CARE_AUTHORITY,
                                             [NEXT_HOP_TLS_DANE] = CARE_MAY,
                                             [NEXT_HOP_TLS_DANE_ONLY] = CARE_DANE};
    return levels[tls];
}

static void raise(struct host_care *h, enum care_level level)
{
    if (h->level < level)
        h->level = level;
}

static struct vr_str *copy_all(struct vr_arena *arena, const struct vr_str *from, size_t n)
{
    struct vr_str *to = vr_arena_alloc(arena, (n + 1) * sizeof *to);
    assert(to != NULL);
    for (size_t i = 0; i < n; i++)
        to[i] = vr_arena_dup(arena, from[i]);
    return to;
}

static void refuse(struct host_care *h, struct vr_str text)
{
    if (h->refused.n == 0)
        h->refused = text;
}

static void with_dane(struct vr_arena *arena, const struct policy_facts *f, struct host_care *h)
{
    const struct dane_result *d = f->dane;
    bool only = f->wishes.tls == NEXT_HOP_TLS_DANE_ONLY;
    if (d->verdict == DANE_LATER) {
        h->policy = POLICY_DANE;
        h->unknown = true;
        refuse(h, vr_arena_dup(arena, d->text));
    } else if (d->verdict == DANE_VERIFY) {
        h->policy = POLICY_DANE;
        h->level = CARE_DANE;
        h->names = copy_all(arena, d->names, d->name_count);
        h->name_count = d->name_count;
        h->records = copy_all(arena, d->records, d->record_count);
        h->record_count = d->record_count;
    } else if (d->verdict == DANE_ENCRYPT) {
        h->policy = POLICY_DANE;
        raise(h, CARE_ENCRYPT);
    }
    if (only && d->verdict != DANE_VERIFY && d->verdict != DANE_LATER)
        refuse(h, vr_arena_printf(
                      arena,
                      "the route wants DANE (tls = dane-only), and the host %.*s cannot be verified so: %.*s",
                      VR_STR_ARG(f->host),
                      VR_STR_ARG(d->verdict == DANE_ENCRYPT ? VR_STR("none of its TLSA records can be used")
                                                            : d->text)));
    else if (only && f->by_mx && !f->mx_secure)
        refuse(h, vr_arena_printf(arena,
                                  "the route wants DANE (tls = dane-only), and the MX records that name the "
                                  "host %.*s are not signed (DNSSEC)",
                                  VR_STR_ARG(f->host)));
}

static void with_sts(struct vr_arena *arena, const struct policy_facts *f, struct host_care *h)
{
    const struct mtasts_policy *p = f->sts;
    bool matches = mtasts_mx_matches(p, f->host), dane = h->level == CARE_DANE;
    h->named |= matches;
    if (dane && f->mx_secure)
        return;
    if (p->mode == MTASTS_ENFORCE && !matches)
        refuse(h, vr_arena_printf(arena, "the MTA-STS policy of %.*s does not name the host %.*s",
                                  VR_STR_ARG(f->domain), VR_STR_ARG(f->host)));
    if (dane)
        return;
    h->sts = *p;
    h->sts.mx = copy_all(arena, p->mx, p->mx_count);
    h->policy = p->mode == MTASTS_ENFORCE ? POLICY_STS : POLICY_STS_TESTING;
    if (p->mode != MTASTS_ENFORCE)
        return;
    raise(h, CARE_AUTHORITY);
    h->dns_id = true;
}

const struct host_care *policy_of_host(struct vr_arena *arena, const struct policy_facts *f)
{
    struct host_care *h = vr_arena_alloc(arena, sizeof *h);
    assert(h != NULL);
    h->level = level_of(f->wishes.tls);
    h->named = f->mx_secure;
    h->unsure = f->sts_unsure;
    if (f->dane != NULL)
        with_dane(arena, f, h);
    else if (f->wishes.tls == NEXT_HOP_TLS_DANE_ONLY)
        refuse(h,
               vr_arena_printf(
                   arena, "the route wants DANE (tls = dane-only), and %.*s is no name that has TLSA records",
                   VR_STR_ARG(f->host)));
    if (f->sts != NULL && f->sts->mode != MTASTS_NONE)
        with_sts(arena, f, h);
    if (f->wishes.strict)
        raise(h, CARE_AUTHORITY);
    return h;
}

const char *policy_name(const struct host_care *h)
{
    static const char *const names[] = {[POLICY_NONE] = "none",
                                        [POLICY_DANE] = "dane",
                                        [POLICY_STS] = "sts",
                                        [POLICY_STS_TESTING] = "sts-testing"};
    return names[h->policy];
}

/* Behind what went wrong with TLS: why it may not be done without. */
const char *policy_reason(const struct host_care *h)
{
    return h->policy == POLICY_DANE  ? "; its TLSA records (DANE) want it"
           : h->policy == POLICY_STS ? "; the domain's MTA-STS policy wants it"
                                     : "";
}
