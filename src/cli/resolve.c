/* resolve.c - see resolve.h. What mx_select wants to know is asked, one question at a time: a command has a person's patience.
 *
 * Tests: tests/unit/sendmail_parse.c (names), tests/unit/mx.c, tests/e2e/
 */
#include "cli/resolve.h"

#include "io/dns.h"
#include "ipc/answers.h"

#include <veredus/address.h>
#include <veredus/idn.h>
#include <veredus/mx.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define ANSWERS_MAX (1 + 2 * MX_HOSTS_MAX)
#define NO_PORT     65535 /* reserved by nobody who serves mail */

/* ---- names ------------------------------------------------------------------------------------------------------------ */

bool server_name_parse(struct vr_str text, struct server_name *out)
{
    *out = (struct server_name){0};
    if (vr_str_starts_nocase(text, VR_STR("lmtp:"))) {
        out->lmtp = true;
        text = vr_str_from_pos(text, 5);
    } else if (vr_str_starts_nocase(text, VR_STR("smtp:"))) {
        text = vr_str_from_pos(text, 5);
    }
    if (text.n == 0)
        return false;
    if (text.p[0] == '/') { /* a path alone */
        if (text.n >= sizeof out->address.path)
            return false;
        out->address.family = IO_UNIX;
        memcpy(out->address.path, text.p, text.n);
        return true;
    }
    size_t colon = vr_str_find_last(text, ':');
    bool has_port = colon != VR_NPOS && text.p[0] != '[' && vr_str_find(text, ':') == colon;
    bool everywhere =
        text.p[0] == '*' || (text.p[0] == ':' && !vr_str_starts(text, VR_STR("::"))); /* for listeners */
    if (!everywhere && io_address_parse(text, NO_PORT, &out->address)) {
        out->port = out->address.family != IO_UNIX && out->address.port != NO_PORT ? out->address.port : 0;
        return true;
    }
    out->address = (struct io_address){0};
    uint64_t port = 0;
    out->host = has_port ? vr_str_sub(text, 0, colon) : text;
    if (has_port && (!vr_str_to_u64(vr_str_from_pos(text, colon + 1), &port) || port == 0 || port > 65535))
        return false;
    out->port = (uint16_t)port;
    return address_domain_valid(out->host, ADDRESS_ALLOW_UTF8);
}

/* ---- questions ---------------------------------------------------------------------------------------------------------- */

struct search {
    struct io *io;
    struct vr_arena *arena;
    struct mx_query query;
    struct dns_answer answers[ANSWERS_MAX];
    bool answered;
};

static void answered(void *arg, const struct io_dns_answer *a)
{
    struct search *s = arg;
    struct dns_answer *m = &s->answers[s->query.answer_count];
    *m = dns_answer_from(s->arena, (struct dns_question){.name = m->name, .type = m->type}, a);
    s->answered = true;
    io_stop(s->io);
}

static void ask(struct search *s, struct io_dns *dns, const struct dns_question *q)
{
    assert(s->query.answer_count < ANSWERS_MAX); /* mx_select asks for no more than MX_HOSTS_MAX hosts */
    struct vr_str name = vr_arena_dup(s->arena, q->name);
    s->answers[s->query.answer_count] = (struct dns_answer){.name = name, .type = q->type};
    s->answered = false;
    io_dns_ask(dns, name, (enum io_dns_type)q->type, answered, s);
    while (!s->answered)
        io_run(s->io);
    s->query.answer_count++;
}

static struct io_dns *open_dns(struct io *io, const char *dns_server, struct resolve *out)
{
    const char *const servers[] = {dns_server, NULL};
    struct io_dns_config config = {.forwarders = dns_server != NULL ? servers : NULL};
    char error[256] = "";
    struct io_dns *dns = io_dns_new(io, &config, error);
    if (dns == NULL) {
        out->code = dns_server != NULL ? EX_USAGE : EX_OSERR;
        snprintf(out->error, sizeof out->error, "cannot ask the DNS: %s", error);
    }
    return dns;
}

static bool add_targets(struct resolve *out, const struct mx_host *hosts, size_t n, uint16_t port)
{
    size_t all = 0;
    for (size_t i = 0; i < n; i++)
        all += hosts[i].address_count;
    out->targets = vr_arena_alloc(out->arena, all * sizeof *out->targets);
    for (size_t i = 0; out->targets != NULL && i < n; i++)
        for (size_t k = 0; k < hosts[i].address_count; k++) {
            const struct dns_address *a = &hosts[i].addresses[k];
            struct resolve_target *t = &out->targets[out->count++];
            t->host = vr_arena_dup(out->arena, hosts[i].name);
            t->address = (struct io_address){.family = a->family == 4 ? IO_INET : IO_INET6, .port = port};
            memcpy(t->address.ip, a->ip, sizeof a->ip);
        }
    return out->targets != NULL;
}

static void search(struct io *io, const char *dns_server, struct vr_str name, bool host_only, uint16_t port,
                   struct resolve *out)
{
    struct io_dns *dns = open_dns(io, dns_server, out);
    if (dns == NULL)
        return;
    struct vr_str ascii; /* RFC 6531 §3.2: what the DNS is asked for */
    if (idn_to_ascii(out->arena, name, &ascii) != VR_OK) {
        out->code = EX_NOHOST;
        snprintf(out->error, sizeof out->error, "%.*s is no domain that the DNS could know",
                 VR_STR_ARG(name));
        io_dns_free(dns);
        return;
    }
    struct search s = {.io = io, .arena = out->arena, .query = {.domain = ascii, .host_only = host_only}};
    struct mx_result result = {.verdict = MX_ASK};
    s.query.answers = s.answers;
    io_random(io, &s.query.seed, sizeof s.query.seed);
    bool fits = true;
    while ((fits = mx_select(&s.query, out->arena, &result) == VR_OK) && result.verdict == MX_ASK)
        for (size_t i = 0; i < result.question_count; i++)
            ask(&s, dns, &result.questions[i]);
    if (fits && result.verdict == MX_HOSTS && add_targets(out, result.hosts, result.host_count, port)) {
        out->code = EX_OK;
    } else if (!fits || result.verdict == MX_HOSTS) {
        out->code = EX_OSERR;
        snprintf(out->error, sizeof out->error, "the answers of the DNS about %.*s are too many",
                 VR_STR_ARG(name));
    } else {
        bool refuses = strcmp(result.enhanced, "5.1.10") == 0; /* null MX: it is there, and takes no mail */
        out->code = result.verdict == MX_TEMPORARY ? EX_TEMPFAIL : refuses ? EX_UNAVAILABLE : EX_NOHOST;
        snprintf(out->error, sizeof out->error, "%.*s", VR_STR_ARG(result.text));
    }
    io_dns_free(dns);
}

void resolve_host(struct io *io, const char *dns_server, struct vr_str host, uint16_t port,
                  struct resolve *out)
{
    static const struct dns_address loopback[] = {{4, {127, 0, 0, 1}}, {6, {[15] = 1}}};
    const struct mx_host local = {.name = host, .addresses = loopback, .address_count = 2};
    if (!vr_str_equal_nocase(host, VR_STR("localhost")))
        search(io, dns_server, host, true, port, out);
    else if (add_targets(out, &local, 1, port))
        out->code = EX_OK;
}

void resolve_domain(struct io *io, const char *dns_server, struct vr_str domain, uint16_t port,
                    struct resolve *out)
{
    search(io, dns_server, domain, false, port, out);
}
