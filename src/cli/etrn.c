/* etrn.c - `veredus etrn SERVER DOMAIN…`: asks a server for the mail that waits there for these domains (RFC 1985).
 *
 * Output:     the dialogue on standard error (as `veredus send`), a line for each domain on standard output.
 * Exit code:  sysexits(3): 0 all were started, or nothing waits; 68 no such host, 69 not offered, 75 try again later, 76 TLS, 77 not allowed.
 * Tests:      tests/e2e/test_etrn.py
 */
#include "cli/cli.h"

#include "cli/connect.h"
#include "cli/secret.h"
#include "cli/trace.h"
#include "io/fs.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define NODES_MAX    100
#define PASSWORD_MAX 1026
#define ARENA_MAX    (4u << 20)

struct etrn {
    struct vr_arena arena;
    struct io *io;
    struct trace trace;
    const char *server, *dns, *helo, *ca_file, *user, *password_file;
    enum tls_word tls;
    bool insecure, password_stdin, quiet;
    uint64_t timeout_s;
    struct vr_buf password;
    struct vr_str questions[NODES_MAX];
    const char *nodes[NODES_MAX];
    size_t count;
    char host[256];
};

static void usage(FILE *out)
{
    fputs("usage: veredus etrn [OPTION...] SERVER DOMAIN...\n\n"
          "Asks SERVER to send now the mail that waits there for DOMAIN (RFC 1985);\n"
          "@DOMAIN: and for all domains below it; #NAME: the queue of this name.\n\n"
          "  --dns SERVER         ask this name server, such as 127.0.0.1@5353\n"
          "  --helo NAME          how to greet (default: this host's name)\n"
          "  --timeout SECONDS    for the connection and each answer\n"
          "  --tls none|may|required|verify|implicit\n"
          "                       default may; required and may take any certificate, verify and implicit "
          "(port 465) check it\n"
          "  --insecure           never check the certificate\n"
          "  --ca FILE            trust these certificates instead of the system's\n"
          "  --user U             log in (port 587 by default); the password is asked for, or:\n"
          "  --password-stdin     it is the first line of standard input\n"
          "  --password-file FILE it is the first line of FILE\n"
          "  --quiet              no dialogue; only the answers\n",
          out);
}

enum option_key {
    OPT_DNS = 256,
    OPT_HELO,
    OPT_TIMEOUT,
    OPT_TLS,
    OPT_INSECURE,
    OPT_CA,
    OPT_USER,
    OPT_PASSWORD_STDIN,
    OPT_PASSWORD_FILE,
    OPT_QUIET,
    OPT_HELP
};

static const struct option options[] = {{"dns", required_argument, NULL, OPT_DNS},
                                        {"helo", required_argument, NULL, OPT_HELO},
                                        {"timeout", required_argument, NULL, OPT_TIMEOUT},
                                        {"tls", required_argument, NULL, OPT_TLS},
                                        {"insecure", no_argument, NULL, OPT_INSECURE},
                                        {"ca", required_argument, NULL, OPT_CA},
                                        {"user", required_argument, NULL, OPT_USER},
                                        {"password-stdin", no_argument, NULL, OPT_PASSWORD_STDIN},
                                        {"password-file", required_argument, NULL, OPT_PASSWORD_FILE},
                                        {"quiet", no_argument, NULL, OPT_QUIET},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {NULL, 0, NULL, 0}};

static bool complain(const char *what, const char *why)
{
    return connect_complain("etrn", what, why);
}

static bool take_option(struct etrn *e, int o)
{
    const struct {
        int option;
        const char **text;
        bool *flag;
    } rows[] = {{OPT_DNS, &e->dns, NULL},
                {OPT_HELO, &e->helo, NULL},
                {OPT_CA, &e->ca_file, NULL},
                {OPT_USER, &e->user, NULL},
                {OPT_PASSWORD_FILE, &e->password_file, NULL},
                {OPT_INSECURE, NULL, &e->insecure},
                {OPT_PASSWORD_STDIN, NULL, &e->password_stdin},
                {OPT_QUIET, NULL, &e->quiet}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].option == o) {
            if (rows[i].text != NULL)
                *rows[i].text = optarg;
            else
                *rows[i].flag = true;
            return true;
        }
    return o == OPT_TLS ? connect_take_tls("etrn", optarg, &e->tls)
                        : connect_take_timeout("etrn", optarg, &e->timeout_s);
}

static bool take_node(struct etrn *e, const char *text)
{
    if (e->count == NODES_MAX)
        return complain(text, "one domain too many");
    e->nodes[e->count] = text;
    e->questions[e->count++] = vr_arena_printf(&e->arena, "ETRN %s", text);
    return true;
}

/* ---- asking ----------------------------------------------------------------------------------------------------------- */

static int code_of(const struct session_reply *r)
{
    if (r->code / 100 == 2)
        return EX_OK;
    if (r->code == 459)
        return EX_NOPERM;
    return r->permanent ? EX_UNAVAILABLE : EX_TEMPFAIL;
}

static int tell(const struct etrn *e, const struct session_result *r)
{
    char reply[600];
    int code = EX_OK;
    for (size_t i = 0; i < e->count; i++) {
        bool came = i < r->answered;
        session_reply_text(came ? &r->answers[i] : &r->failure, reply, sizeof reply);
        int mine = came ? code_of(&r->answers[i]) : session_exit_code(r, 0);
        if (!came && mine == EX_OK) /* it closed in the middle */
            mine = EX_TEMPFAIL;
        fprintf(mine == EX_OK ? stdout : stderr, "%s: %s\n", e->nodes[i], reply);
        if (mine != EX_OK && code != EX_TEMPFAIL) /* what may work later counts for more */
            code = mine;
        if (came && (r->answers[i].code == 500 || r->answers[i].code == 502) && !e->quiet)
            fprintf(stderr, "veredus etrn: the server does not offer ETRN to us: it may want a log-in "
                            "(--user), or to know our address\n");
    }
    return code;
}

static int ask(struct etrn *e, const struct resolve *hosts)
{
    static struct session_reply answers[NODES_MAX];
    struct session_result result = {.answers = answers};
    struct session_options o = {.ca_file = e->ca_file,
                                .helo = vr_str_from(e->helo != NULL ? e->helo : e->host),
                                .user = vr_str_from(e->user),
                                .password = vr_buf_str(&e->password),
                                .timeout_ms = (int64_t)e->timeout_s * 1000,
                                .trace = &e->trace,
                                .questions = e->questions,
                                .question_count = e->count};
    connect_set_tls(&o, e->tls, e->insecure);
    connect_run(e->io, &o, hosts, &result);
    return tell(e, &result);
}

static int run(struct etrn *e)
{
    struct server_name name;
    struct resolve hosts = {.arena = &e->arena};
    struct resolve_target one;
    int code = EX_DATAERR;
    struct secret_options password = {
        .what = "password", .user = e->user, .file = e->password_file, .standard_input = e->password_stdin};
    if (!server_name_parse(vr_str_from(e->server), &name) || name.lmtp) {
        complain(e->server, "the server is HOST, HOST:PORT, [IPv6]:PORT or unix:PATH");
        return EX_USAGE;
    }
    if (e->user != NULL && !secret_read(&password, &e->password, &code))
        return code;
    uint16_t port = e->tls == TLS_IMPLICIT ? 465 : e->user != NULL ? 587 : 25;
    connect_find(e->io, e->dns, &name, port, &one, &hosts);
    if (hosts.count == 0) {
        fprintf(stderr, "veredus etrn: %s\n", hosts.error);
        return hosts.code;
    }
    trace_init(&e->trace, e->io, !e->quiet);
    code = ask(e, &hosts);
    trace_fini(&e->trace);
    return code;
}

int cli_etrn(int argc, char **argv)
{
    struct etrn e = {.tls = TLS_MAY};
    int code = -1;
    vr_arena_init(&e.arena, ARENA_MAX);
    vr_buf_init(&e.password, PASSWORD_MAX);
    if (io_host_name(e.host, sizeof e.host) != 0 || e.host[0] == '\0')
        snprintf(e.host, sizeof e.host, "localhost");
    optind = 0;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (o == OPT_HELP || o == 'h') {
            usage(stdout);
            code = EX_OK;
        } else if (o == '?') {
            code = cli_wrong_option(argv[0]);
        } else if (!take_option(&e, o)) {
            code = EX_USAGE;
        }
    }
    if (code < 0 && optind < argc)
        e.server = argv[optind++];
    for (; code < 0 && optind < argc; optind++)
        if (!take_node(&e, argv[optind]))
            code = EX_USAGE;
    if (code < 0 && e.count == 0)
        code = cli_wrong_usage(argv[0], "it takes a server and at least one domain");
    if (code < 0) {
        e.io = io_new(1);
        code = run(&e);
        io_free(e.io);
    }
    if (e.password.p != NULL)
        explicit_bzero(e.password.p, e.password.capacity);
    vr_buf_fini(&e.password);
    vr_arena_fini(&e.arena);
    return code;
}
