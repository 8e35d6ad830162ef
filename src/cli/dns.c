/* dns.c - `veredus dns DOMAIN` prints what to publish, `veredus dns check DOMAIN` compares it with what is published.
 *
 * Exit code:   0 all is well, 1 something is missing or wrong, 75 the DNS did not tell all; the others of sysexits(3).
 * Tests:       tests/e2e/test_dns_tools.py, tests/unit/dns_plan.c
 */
#include "cli/cli.h"
#include "cli/dns_inside.h"
#include "cli/queue_inside.h"
#include "cli/tls_inside.h"

#include "io/env.h"

#include <veredus/idn.h>

#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define EXIT_TROUBLE     1
#define ARENA_MAX        (32u << 20)
#define CERTIFICATES_MAX 256

struct dns_command {
    const char *self, *config_path, *domain, *server, *ca_file;
    bool check, json, files;
    uint16_t policy_port;
    struct vr_arena arena;
    struct dns_plan_certificate certificates[CERTIFICATES_MAX];
    struct dns_plan_facts facts;
    struct dns_plan plan;
    char dkim_error[DKIM_STORE_ERROR]; /* its keys cannot be read */
    unsigned found[DNS_VERDICTS];
};

static void usage(FILE *out)
{
    fputs("usage: veredus dns DOMAIN [--json] [--files] [--config FILE]\n"
          "       veredus dns check DOMAIN [--json] [--files] [--config FILE] [--dns SERVER] [--ca FILE]\n"
          "                         [--policy-port N]\n\n"
          "Prints the DNS records that a domain of the configuration should publish, as a zone file has "
          "them; check asks the\n"
          "DNS and compares: each line says what is so, what is wrong with it, and what to publish.\n\n"
          "  --json           a JSON object a line\n"
          "  --files          TLSA records of the certificates in the files, not of those that the server "
          "has loaded\n"
          "  --config FILE    the configuration (default " CONFIG_DEFAULT_PATH ")\n"
          "  --dns SERVER     asks this name server, such as 127.0.0.1@5353 (default: dns.servers of the "
          "configuration)\n"
          "  --ca FILE        trusts these authorities for MTA-STS instead of the system's (PEM)\n"
          "  --policy-port N  the policy is fetched from this port, in labs (default 443)\n\n"
          "Exit code: 0 all is well, 1 something is missing or wrong, 75 the DNS gave no answer to "
          "something.\n",
          out);
}

/* ---- what there is -------------------------------------------------------------------------------------------------- */

static void take_certificate(void *arg, const struct tls_shown *t)
{
    struct dns_command *d = arg;
    char error[256];
    struct dns_plan_certificate *c = &d->certificates[d->facts.certificate_count];
    if (d->facts.certificate_count == CERTIFICATES_MAX ||
        !io_certificate_read(&d->arena, t->pem, &c->x, error))
        return;
    c->pem = vr_arena_dup(&d->arena, t->pem);
    c->names = vr_arena_dup(&d->arena, vr_str_from(t->names)).p;
    c->names = c->names != NULL ? c->names : "";
    d->facts.certificate_count++;
}

static const struct config_domain *find_domain(struct dns_command *d, const struct config *c)
{
    struct vr_str ascii;
    if (idn_to_ascii(&d->arena, vr_str_from(d->domain), &ascii) != VR_OK)
        return NULL;
    for (size_t i = 0; i < c->domain_count; i++)
        if (vr_str_equal_nocase(c->domains[i].ascii, ascii))
            return &c->domains[i];
    return NULL;
}

static int gather(struct dns_command *d, const struct config *c, const char *run)
{
    d->facts.config = c;
    d->facts.domain = find_domain(d, c);
    if (d->facts.domain == NULL) {
        fprintf(stderr, "%s: %s is no `domain` of %s\n", d->self, d->domain, d->config_path);
        return EX_DATAERR;
    }
    struct tls_source s = {
        .self = d->self, .run = run, .config = c, .files = d->files, .each = take_certificate, .arg = d};
    int code = tls_each(&s);
    d->facts.certificates = d->certificates;
    if (code != EX_OK)
        return code;
    enum dkim_store_result r =
        dkim_store_records(c->state, d->facts.domain->ascii, io_env_clock_us() / 1000000, &d->arena,
                           &d->facts.keys, &d->facts.key_count, d->dkim_error);
    if (r == DKIM_STORE_OK || r == DKIM_STORE_NONE)
        d->dkim_error[0] = '\0';
    if (r != DKIM_STORE_OK)
        d->facts.key_count = 0;
    if (dns_plan_make(&d->facts, &d->arena, &d->plan))
        return EX_OK;
    fprintf(stderr, "%s: there are more records to publish than this command can hold\n", d->self);
    return EX_SOFTWARE;
}

/* ---- printing ------------------------------------------------------------------------------------------------------------ */

static void put(json_t *o, const char *key, struct vr_str text)
{
    json_object_set_new(o, key, json_stringn(text.p != NULL ? text.p : "", text.n));
}

static void put_line(json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT);
    assert(text != NULL);
    puts(text);
    free(text);
    json_decref(o);
}

static void print_record(const struct dns_command *d, const struct dns_plan_record *r)
{
    struct vr_buf line;
    vr_buf_init(&line, 64u << 10);
    dns_plan_line(&line, r);
    if (d->json) {
        json_t *o = json_object();
        put(o, "kind", vr_str_from(dns_plan_kind_name(r->kind)));
        put(o, "name", r->name);
        put(o, "type", vr_str_from(r->type));
        json_object_set_new(o, "ttl", json_integer(DNS_PLAN_TTL));
        put(o, "value", r->value);
        put(o, "line", vr_buf_str(&line));
        json_object_set_new(o, "in_zone", json_boolean(r->inside));
        json_object_set_new(o, "optional", json_boolean(r->optional));
        put_line(o);
    } else {
        if (r->note.n > 0)
            printf("; %.*s\n", VR_STR_ARG(r->note));
        printf("%s%.*s\n", r->inside ? "" : "; elsewhere: ", VR_STR_ARG(vr_buf_str(&line)));
    }
    vr_buf_fini(&line);
}

static bool has(const struct dns_plan *p, enum dns_plan_kind kind)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->records[i].kind == kind)
            return true;
    return false;
}

static void print_hints(const struct dns_command *d)
{
    struct vr_str hostname = d->facts.config->hostname, domain = d->facts.domain->ascii;
    if (!has(&d->plan, DNS_PLAN_ADDRESS))
        printf("; %.*s needs an A record (and AAAA) with this machine's address, whose PTR record must name "
               "%.*s\n",
               VR_STR_ARG(hostname), VR_STR_ARG(hostname));
    if (d->facts.key_count == 0 && d->dkim_error[0] == '\0' && d->facts.domain->sign)
        printf("; there is no DKIM key yet: veredus dkim keygen %.*s\n", VR_STR_ARG(domain));
    if (d->plan.policy.n > 0) {
        struct vr_str rest = d->plan.policy, line;
        if (d->facts.config->web_count > 0)
            printf("; this server serves the policy, and needs a certificate for mta-sts.%.*s in a tls "
                   "section:\n",
                   VR_STR_ARG(domain));
        else
            printf(
                "; mta-sts.%.*s must lead to a web server with a certificate for that name, which serves as\n"
                "; https://mta-sts.%.*s/.well-known/mta-sts.txt (text/plain), or see `role = mta-sts` of "
                "listen:\n",
                VR_STR_ARG(domain), VR_STR_ARG(domain));
        while (vr_str_split(&rest, '\n', &line))
            printf(";     %.*s\n", VR_STR_ARG(vr_str_trim(line)));
    }
}

static int print_all(const struct dns_command *d)
{
    if (!d->json)
        printf("; what %.*s publishes for its mail, by %s\n", VR_STR_ARG(d->facts.domain->name),
               d->config_path);
    for (size_t i = 0; i < d->plan.count; i++)
        print_record(d, &d->plan.records[i]);
    if (!d->json) {
        print_hints(d);
    } else if (d->plan.policy.n > 0) {
        json_t *o = json_object();
        put(o, "kind", VR_STR("MTA-STS policy"));
        json_object_set_new(
            o, "url",
            json_sprintf("https://mta-sts.%.*s/.well-known/mta-sts.txt", VR_STR_ARG(d->facts.domain->ascii)));
        put(o, "text", d->plan.policy);
        put_line(o);
    }
    if (d->dkim_error[0] == '\0')
        return EX_OK;
    fprintf(stderr, "%s: the DKIM records are missing here: %s\n", d->self, d->dkim_error);
    return EX_NOINPUT;
}

/* ---- checking ------------------------------------------------------------------------------------------------------------- */

static void found(void *arg, const struct dns_finding *f)
{
    static const char *const shown[] = {
        [DNS_OK] = "ok",           [DNS_NOTE] = "note",       [DNS_WARNING] = "warning",
        [DNS_UNKNOWN] = "UNKNOWN", [DNS_MISSING] = "MISSING", [DNS_WRONG] = "WRONG"};
    struct dns_command *d = arg;
    d->found[f->verdict]++;
    if (d->json) {
        json_t *o = json_object();
        put(o, "verdict", vr_str_from(dns_verdict_name(f->verdict)));
        put(o, "what", vr_str_from(f->what));
        put(o, "name", f->name);
        put(o, "text", f->text);
        if (f->publish.n > 0)
            put(o, "publish", f->publish);
        put_line(o);
        return;
    }
    printf("%-8s %-8s %.*s: %.*s\n", shown[f->verdict], f->what, VR_STR_ARG(f->name), VR_STR_ARG(f->text));
    if (f->publish.n > 0)
        printf("         publish: %.*s\n", VR_STR_ARG(f->publish));
}

static int check(struct dns_command *d)
{
    const struct config *c = d->facts.config;
    const char *const named[] = {d->server, NULL};
    char error[256];
    struct dns_asker *dns = dns_asker_new(
        &d->arena, d->server != NULL ? named : (const char *const *)c->dns_servers, c->trust_anchor, error);
    if (dns == NULL) {
        fprintf(stderr, "%s: cannot ask the DNS: %s\n", d->self, error);
        return d->server != NULL ? EX_USAGE : EX_OSERR;
    }
    struct dns_checking checking = {.facts = &d->facts,
                                    .plan = &d->plan,
                                    .dns = dns,
                                    .arena = &d->arena,
                                    .ca_file = d->ca_file,
                                    .policy_port = d->policy_port,
                                    .now = io_env_clock_us() / 1000000,
                                    .found = found,
                                    .arg = d};
    if (d->dkim_error[0] != '\0')
        dns_tell(&checking, DNS_UNKNOWN, "DKIM", d->facts.domain->ascii, NULL, "%s", d->dkim_error);
    dns_check_all(&checking);
    dns_asker_free(dns);
    unsigned bad = d->found[DNS_MISSING] + d->found[DNS_WRONG];
    if (!d->json)
        printf("%.*s: %u ok, %u missing, %u wrong, %u warning%s, %u unknown\n",
               VR_STR_ARG(d->facts.domain->name), d->found[DNS_OK], d->found[DNS_MISSING],
               d->found[DNS_WRONG], d->found[DNS_WARNING], d->found[DNS_WARNING] == 1 ? "" : "s",
               d->found[DNS_UNKNOWN]);
    return bad > 0 ? EXIT_TROUBLE : d->found[DNS_UNKNOWN] > 0 ? EX_TEMPFAIL : EX_OK;
}

/* ---- the command line -------------------------------------------------------------------------------------------------------- */

static int run(struct dns_command *d)
{
    struct config_load *load = config_load_file(d->config_path);
    int code = EX_CONFIG;
    if (load->config == NULL)
        fprintf(stderr, "%s: %s cannot be used; `veredus check %s` says why\n", d->self, d->config_path,
                d->config_path);
    else
        code = gather(d, load->config, load->config->run);
    if (code == EX_OK)
        code = d->check ? check(d) : print_all(d);
    config_load_free(load);
    return code;
}

/* EX_OK: go on; negative: it is done. */
static int take_options(struct dns_command *d, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},         {"files", no_argument, NULL, 'f'},
        {"config", required_argument, NULL, 'c'}, {"dns", required_argument, NULL, 'd'},
        {"ca", required_argument, NULL, 'a'},     {"policy-port", required_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    uint64_t port = 443;
    optind = 0;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (o == 'j')
            d->json = true;
        else if (o == 'f')
            d->files = true;
        else if (o == 'c')
            d->config_path = optarg;
        else if (o == 'd')
            d->server = optarg;
        else if (o == 'a')
            d->ca_file = optarg;
        else if (o == 'p' && (!vr_str_to_u64(vr_str_from(optarg), &port) || port == 0 || port > 65535))
            return cli_wrong_usage(d->self, "--policy-port takes a port, not \"%s\"", optarg);
        else if (o == 'h')
            return usage(stdout), -1;
        else if (o != 'p')
            return cli_wrong_option(d->self);
    }
    d->policy_port = (uint16_t)port;
    if (optind < argc && strcmp(argv[optind], "check") == 0) {
        d->check = true;
        optind++;
    }
    if (optind >= argc)
        return cli_wrong_usage(d->self, "it takes a domain of the configuration");
    d->domain = argv[optind++];
    if (optind < argc)
        return cli_wrong_usage(d->self, "\"%s\" is one argument too many", argv[optind]);
    return EX_OK;
}

int cli_dns(int argc, char **argv)
{
    struct dns_command *d = calloc(1, sizeof *d);
    assert(d != NULL);
    d->self = argv[0];
    d->config_path = CONFIG_DEFAULT_PATH;
    vr_arena_init(&d->arena, ARENA_MAX);
    int code = take_options(d, argc, argv);
    if (code == EX_OK)
        code = run(d);
    vr_arena_fini(&d->arena);
    free(d);
    return code < 0 ? EX_OK : code;
}
