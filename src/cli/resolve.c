/* resolve.c - see resolve.h. One question at a time: a command has a person's patience.
 *
 * Sources: RFC 5321 §5.1, RFC 7505. Tests: tests/unit/sendmail_parse.c (names), tests/e2e/
 */
#include "cli/resolve.h"

#include "io/dns.h"

#include <veredus/address.h>

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define MX_MAX      32
#define TARGETS_MAX 64
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
    return address_domain_valid(out->host, 0);
}

/* ---- questions ---------------------------------------------------------------------------------------------------------- */

struct question {
    struct io *io;
    struct resolve *out;
    struct vr_str host; /* A, AAAA: whose addresses */
    uint16_t port;
    bool answered;
    enum io_dns_status status;
    char why[100];
    struct mx {
        struct vr_str name;
        uint16_t preference;
    } mx[MX_MAX];
    size_t mx_count;
};

static void add_target(struct resolve *out, struct vr_str host, const struct io_address *a)
{
    if (out->count == out->capacity || out->targets == NULL) {
        if (out->targets != NULL)
            return; /* more hosts than anybody waits for */
        out->targets = vr_arena_alloc(out->arena, TARGETS_MAX * sizeof *out->targets);
        out->capacity = out->targets != NULL ? TARGETS_MAX : 0;
        if (out->targets == NULL)
            return;
    }
    out->targets[out->count++] = (struct resolve_target){.host = host, .address = *a};
}

static void add_ip(struct resolve *out, struct vr_str host, struct vr_str ip, uint16_t port)
{
    struct io_address a = {.family = ip.n == 4 ? IO_INET : IO_INET6, .port = port};
    if (ip.n != 4 && ip.n != 16)
        return;
    memcpy(a.ip, ip.p, ip.n);
    add_target(out, host, &a);
}

static void answered(void *arg, const struct io_dns_answer *a)
{
    struct question *q = arg;
    q->answered = true;
    q->status = a->status;
    snprintf(q->why, sizeof q->why, "%s", a->why != NULL ? a->why : "no answer");
    for (size_t i = 0; i < a->count; i++) {
        const struct io_dns_record *r = &a->records[i];
        if (r->data.n == 4 || r->data.n == 16)
            add_ip(q->out, q->host, r->data, q->port);
        else if (q->mx_count < MX_MAX)
            q->mx[q->mx_count++] = (struct mx){vr_arena_dup(q->out->arena, r->name), r->preference};
    }
    io_stop(q->io);
}

static void ask(struct question *q, struct io_dns *dns, struct vr_str name, enum io_dns_type type)
{
    q->answered = false;
    io_dns_ask(dns, name, type, answered, q);
    while (!q->answered)
        io_run(q->io);
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

/* The addresses of a host, IPv4 first: where IPv6 is half set up, a person should not have to wait for it. */
static void ask_addresses(struct question *q, struct io_dns *dns, struct vr_str host)
{
    struct vr_str name = vr_arena_dup(q->out->arena, host);
    q->host = name;
    if (vr_str_equal_nocase(name, VR_STR("localhost"))) {
        static const char loopback6[16] = {[15] = 1};
        add_ip(q->out, name, VR_STR("\x7f\0\0\1"), q->port);
        add_ip(q->out, name, vr_str(loopback6, 16), q->port);
        return;
    }
    ask(q, dns, name, IO_DNS_A);
    enum io_dns_status first = q->status;
    if (first == IO_DNS_NXDOMAIN)
        return;
    ask(q, dns, name, IO_DNS_AAAA);
    if (first == IO_DNS_FAILED)
        q->status = first;
}

static void conclude(struct question *q, struct vr_str name, const char *missing)
{
    struct resolve *out = q->out;
    out->code = EX_OK;
    if (out->count > 0)
        return;
    if (q->status == IO_DNS_FAILED) {
        out->code = EX_TEMPFAIL;
        snprintf(out->error, sizeof out->error, "the DNS gives no answer about %.*s now: %s",
                 VR_STR_ARG(name), q->why);
    } else if (q->status == IO_DNS_NXDOMAIN) {
        out->code = EX_NOHOST;
        snprintf(out->error, sizeof out->error, "there is no host or domain %.*s", VR_STR_ARG(name));
    } else {
        out->code = EX_NOHOST;
        snprintf(out->error, sizeof out->error, "%.*s has no %s", VR_STR_ARG(name), missing);
    }
}

void resolve_host(struct io *io, const char *dns_server, struct vr_str host, uint16_t port,
                  struct resolve *out)
{
    struct io_dns *dns = open_dns(io, dns_server, out);
    if (dns == NULL)
        return;
    struct question q = {.io = io, .out = out, .port = port};
    ask_addresses(&q, dns, host);
    conclude(&q, host, "address (A, AAAA)");
    io_dns_free(dns);
}

static void sort_mx(struct question *q)
{
    for (size_t i = 1; i < q->mx_count;
         i++) { /* equal preferences keep the order of the answer, which the DNS shuffles */
        struct mx m = q->mx[i];
        size_t at = i;
        for (; at > 0 && q->mx[at - 1].preference > m.preference; at--)
            q->mx[at] = q->mx[at - 1];
        q->mx[at] = m;
    }
}

void resolve_domain(struct io *io, const char *dns_server, struct vr_str domain, uint16_t port,
                    struct resolve *out)
{
    uint8_t ip[16];
    int family;
    if (address_literal(domain, ip, &family)) {
        add_ip(out, domain, vr_str((const char *)ip, family == 4 ? 4 : 16), port);
        return;
    }
    struct io_dns *dns = open_dns(io, dns_server, out);
    if (dns == NULL)
        return;
    struct question q = {.io = io, .out = out, .port = port};
    ask(&q, dns, domain, IO_DNS_MX);
    if (q.mx_count == 1 && q.mx[0].name.n == 0) {
        out->code = EX_UNAVAILABLE;
        snprintf(out->error, sizeof out->error, "%.*s takes no mail (it has a null MX)", VR_STR_ARG(domain));
    } else if (q.status == IO_DNS_FAILED || q.status == IO_DNS_NXDOMAIN) {
        conclude(&q, domain, "MX");
    } else {
        sort_mx(&q);
        size_t hosts = q.mx_count;
        for (size_t i = 0; i < hosts; i++)
            ask_addresses(&q, dns, q.mx[i].name);
        if (hosts == 0)
            ask_addresses(&q, dns, domain);
        conclude(&q, domain, hosts > 0 ? "MX host with an address" : "MX and no address");
    }
    io_dns_free(dns);
}
