/* demands.c - what a message demands of the server that takes it, besides taking it, and what the server demands of us: REQUIRETLS, TLS-Required
 * (RFC 8689 §4.2), DELIVERBY (RFC 2852 §4.1.4), RRVS (RFC 7293 §5.1.1), LIMITS (RFC 9422).
 *
 * Rules: (1) a host that lacks what REQUIRETLS wants is left for the next one; without a next one the message is returned (5.7.30, 5.7.10)
 *        (2) the hosts of a domain are not searched for one that knows DELIVERBY (§7): the first that can be spoken with decides
 *        (3) a transaction or session that would exceed a limit ends before it, and the rest goes in another.
 * Tests: tests/unit/sender.c
 */
#include "sender/inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- REQUIRETLS ------------------------------------------------------------------------------------------------------ */

/* A report is not lost for it (RFC 8689 §5). LMTP is the inside of one's own mail system. */
bool demands_tls(const struct inflight_job *j)
{
    return j != NULL && (j->d.asks & ENVELOPE_REQUIRE_TLS) && j->d.reverse_path.n > 0 &&
           j->d.next_hop.kind != NEXT_HOP_LMTP;
}

/* REQUIRETLS, which is asked of each hop, is more than the field (RFC 8689 §4.1). */
bool demands_no_tls(const struct inflight_job *j)
{
    return j != NULL && (j->d.asks & ENVELOPE_TLS_OPTIONAL) && !(j->d.asks & ENVELOPE_REQUIRE_TLS) &&
           j->d.next_hop.kind != NEXT_HOP_LMTP;
}

void demands_raise(const struct inflight_job *j, struct next_hop *hop)
{
    if (demands_tls(j) && hop->tls != NEXT_HOP_TLS_IMPLICIT)
        hop->tls = NEXT_HOP_TLS_VERIFY;
}

/* A policy that cannot be had now may be had later: RFC 8461 §5 lets nothing be returned for it. */
bool demands_name(struct connection *c)
{
    const struct host_care *care = connection_target(c)->care;
    char text[900];
    if (!demands_tls(c->job) || care->named)
        return true;
    snprintf(text, sizeof text,
             "the message requires TLS with a server that is known to be the right one (REQUIRETLS), the "
             "MX records of %.*s are not signed (DNSSEC), and %s",
             VR_STR_ARG(vr_str_sub(c->hop.host, 0, 255)),
             care->unsure ? "it is not known now whether it has an MTA-STS policy"
                          : "no MTA-STS policy names the host");
    connection_trouble(c, !care->unsure, 0, care->unsure ? "4.7.5" : "5.7.10", "resolve", vr_str_from(text));
    return false;
}

/* The session is of no use for this message: it ends in order, and the next host is tried, or all of them when the session was another's. */
static void leave(struct connection *c)
{
    bool again = c->reused;
    c->reused = false;
    smtp_client_quit(c->engine, connection_now(c));
    connection_flush(c);
    c->leaving = true;
    if (again)
        connection_restart(c);
    else
        connection_next(c);
}

static bool tls_met(struct connection *c)
{
    char text[600];
    if (!demands_tls(c->job))
        return true;
    if (!demands_name(c)) {
        leave(c);
        return false;
    }
    if (!c->verified) {
        snprintf(text, sizeof text,
                 "the message requires TLS (REQUIRETLS), and the session with %s is not secured", c->name);
        connection_trouble(c, true, 0, "5.7.10", "STARTTLS", vr_str_from(text));
    } else if (!(smtp_client_offers(c->engine) & SMTP_EXT_REQUIRETLS)) {
        snprintf(
            text, sizeof text,
            "the message requires TLS on its whole way, and the server %s does not promise that (REQUIRETLS)",
            c->name);
        connection_trouble(c, true, 0, "5.7.30", "EHLO", vr_str_from(text));
    } else {
        return true;
    }
    leave(c);
    return false;
}

/* ---- DELIVERBY ------------------------------------------------------------------------------------------------------- */

int64_t demands_time_left(const struct connection *c)
{
    return c->job->d.deliver_by - io_now_us(c->sender->io) / 1000000;
}

static void check_time(struct connection *c)
{
    const struct inflight_job *j = c->job;
    int64_t left = demands_time_left(c);
    uint64_t least = smtp_client_limits(c->engine)->deliver_by_min;
    char text[600] = "";
    const char *enhanced = "5.4.7";
    if (j->d.by != SMTP_BY_RETURN)
        return;
    if (left <= 0) {
        snprintf(text, sizeof text, "the time that the sender gave for the delivery is over");
    } else if (j->d.next_hop.kind == NEXT_HOP_LMTP) { /* delivery, not relaying */
        return;
    } else if (!(smtp_client_offers(c->engine) & SMTP_EXT_DELIVERBY)) {
        enhanced = "5.3.3";
        snprintf(text, sizeof text,
                 "the sender wants the message back when it cannot be delivered in time, and the server %s "
                 "does not "
                 "promise that (DELIVERBY)",
                 c->name);
    } else if ((uint64_t)left < least) {
        snprintf(text, sizeof text, "%lld seconds are left for the delivery, and the server %s wants %llu",
                 (long long)left, c->name, (unsigned long long)least);
    }
    if (text[0] != '\0')
        inflight_settle_rest(c->job, DELIVERY_PERMANENT, 0, vr_str_from(enhanced), vr_str_from(text));
}

unsigned demands_notify(const struct connection *c, unsigned notify)
{
    unsigned offers = smtp_client_offers(c->engine);
    bool lost = c->job->d.by == SMTP_BY_NOTIFY && !(offers & SMTP_EXT_DELIVERBY) && demands_time_left(c) > 0;
    if (!lost || !(offers & SMTP_EXT_DSN) || (notify & DSN_NOTIFY_NEVER))
        return notify;
    return notify == 0 ? DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY : notify | DSN_NOTIFY_DELAY;
}

/* ---- RRVS ------------------------------------------------------------------------------------------------------------ */

/* Mode C goes on without the protection (§6, 3): the header field must not be used where nobody knows that the next system heeds it (§4). */
static void check_owners(struct connection *c)
{
    struct inflight_job *j = c->job;
    char text[600];
    if (smtp_client_offers(c->engine) & SMTP_EXT_RRVS)
        return;
    snprintf(text, sizeof text,
             "the message is only for who had the mailbox at a certain time, and the server %s does not look "
             "at that (RRVS)",
             c->name);
    for (uint32_t i = 0; i < j->d.rcpt_count; i++)
        if (inflight_is_open(j, i) && j->d.rcpts[i].rrvs == SMTP_RRVS_REJECT)
            inflight_settle(j, i, DELIVERY_PERMANENT, 0, VR_STR("5.7.19"), vr_str_from(text));
}

bool demands_met(struct connection *c)
{
    if (!tls_met(c))
        return false;
    check_time(c);
    if (c->job->open > 0)
        check_owners(c);
    return true;
}

/* ---- LIMITS ---------------------------------------------------------------------------------------------------------- */

static uint64_t domain_hash(struct vr_str domain)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a: a mistake costs a connection more */
    for (size_t i = 0; i < domain.n; i++)
        h = (h ^ (uint8_t)vr_lower(domain.p[i])) * 1099511628211u;
    return h;
}

bool limits_take(struct connection *c, struct vr_str domain)
{
    const struct smtp_client_limits *l = smtp_client_limits(c->engine);
    if (l->rcpt_max > 0 && c->rcpt_count >= l->rcpt_max)
        return false;
    if (l->rcpt_domain_max == 0)
        return true;
    uint64_t h = domain_hash(domain);
    for (size_t i = 0; i < c->domain_count; i++)
        if (c->domains[i] == h)
            return true;
    if (c->domain_count >= l->rcpt_domain_max)
        return false;
    c->domains = realloc(c->domains, (c->domain_count + 1) * sizeof *c->domains);
    assert(c->domains != NULL);
    c->domains[c->domain_count++] = h;
    return true;
}

bool limits_reached(const struct connection *c)
{
    const struct smtp_client_limits *l = smtp_client_limits(c->engine);
    return l->mail_max > 0 && c->mails >= l->mail_max;
}

void limits_forget(struct connection *c)
{
    free(c->domains);
    c->domains = NULL;
    c->domain_count = 0;
    c->mails = 0;
}

void limits_renew(struct connection *c)
{
    c->reused = true; /* all hosts again, from the first one on */
    leave(c);
}
