/* checks_web.c - the rules of listeners that serve policies (role = mta-sts).
 *
 * Tests: tests/unit/config.c, tests/e2e/test_mta_sts_served.py
 */
#include "config/load.h"

#include <string.h>

static bool is_of_this_machine(const struct io_address *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->family == IO_UNIX || (a->family == IO_INET && a->ip[0] == 127) ||
           (a->family == IO_INET6 && memcmp(a->ip, one, sizeof one) == 0);
}

/* Is there a tls section for this policy host? */
static bool has_certificate(const struct config *c, struct vr_str domain)
{
    for (size_t i = 0; i < c->tls_count; i++) {
        struct vr_str names = vr_str_from(c->tls[i].names), name;
        while (vr_str_split(&names, ' ', &name)) {
            bool wild = vr_str_starts(name, VR_STR("*."));
            if (wild && vr_str_equal_nocase(vr_str_from_pos(name, 2), domain))
                return true;
            if (name.n == domain.n + 8 && vr_str_starts_nocase(name, VR_STR("mta-sts.")) &&
                vr_str_equal_nocase(vr_str_from_pos(name, 8), domain))
                return true;
        }
    }
    return false;
}

static void check_policy_hosts(struct loader *l, struct place at)
{
    const struct config *c = l->c;
    for (size_t i = 0; i < c->domain_count; i++)
        if (c->domains[i].publish.mta_sts != MTA_STS_NONE && !has_certificate(c, c->domains[i].ascii))
            problem_warning(&l->problems, at,
                            "the policy of %.*s is served without a certificate for its host, which nobody "
                            "believes; expected "
                            "tls \"mta-sts.%.*s\" { certificate = … key = … }",
                            VR_STR_ARG(c->domains[i].ascii), VR_STR_ARG(c->domains[i].ascii));
}

void check_web(struct loader *l, const struct config_listener *x, size_t i)
{
    struct place at = {x->file, x->line}, tls_at = config_place(l, SECTION_LISTEN, i, "tls");
    if (x->role != LISTENER_MTA_STS) {
        if (tls_at.file)
            problem_error(&l->problems, tls_at,
                          "`tls` is for role = mta-sts; what TLS the other roles do follows from the role");
        return;
    }
    if (!x->tls && !is_of_this_machine(&x->address))
        problem_error(&l->problems, tls_at,
                      "`tls` is no on an address that others reach: policies are believed by HTTPS only (RFC "
                      "8461 §3.3); "
                      "expected 127.0.0.1, [::1] or a UNIX socket, with a web server before it");
    if (x->proxy.count > 0)
        problem_error(&l->problems, config_place(l, SECTION_LISTEN, i, "proxy"),
                      "`proxy` is for listeners of mail; expected none with role = mta-sts");
    if (x->tls)
        check_policy_hosts(l, at);
    for (size_t k = 0; k < l->c->domain_count; k++)
        if (l->c->domains[k].publish.mta_sts != MTA_STS_NONE)
            return;
    problem_warning(&l->problems, at,
                    "policies are to be served here, and no domain has one; expected mta_sts = testing or "
                    "enforce in a domain");
}

void part_listeners(struct config *c)
{
    struct config_listener *sorted = must_alloc(&c->arena, (c->listener_count + 1) * sizeof *sorted);
    size_t n = 0, all = c->listener_count;
    for (int web = 0; web < 2; web++)
        for (size_t i = 0; i < all; i++)
            if ((c->listeners[i].role == LISTENER_MTA_STS) == (web == 1)) {
                sorted[n++] = c->listeners[i];
                c->web_count += web == 1;
            }
    c->listeners = sorted;
    c->listener_count = all - c->web_count;
}
