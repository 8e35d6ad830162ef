/* send.c - `veredus send`: one message to any server, with the dialogue shown; to look at servers, and for scripts.
 *
 * Output:     the dialogue on standard error ("->" sent, "<-" received, "**" facts), a line for each recipient on standard output.
 * Exit code:  sysexits(3): 0 all were taken, 67 no such recipient, 68 no such host, 69 refused, 75 try again later, 76 TLS, 77 log-in refused.
 */
#include "cli/secret.h"
#include "cli/cli.h"

#include "cli/compose.h"
#include "cli/connect.h"
#include "cli/trace.h"
#include "io/env.h"
#include "io/fs.h"
#include "io/io.h"
#include "io/terminal.h"

#include <veredus/idn.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define HEADERS_MAX  64
#define PASSWORD_MAX 1026
#define ARENA_MAX    (16u << 20)

struct send {
    struct vr_arena arena;
    struct io *io;
    struct trace trace;
    /* options */
    const char *server, *dns, *ca_file, *from, *file, *helo, *user, *mechanism, *password_file, *token_file,
        *certificate, *key;
    struct compose_parts parts;
    struct vr_str headers[HEADERS_MAX];
    struct compose_list recipients;
    enum tls_word tls;
    bool insecure, password_stdin, auth_in_clear, lmtp, quiet, trace_only, no_message, print, has_body,
        has_parts, bdat, binary;
    uint64_t timeout_s;
    int8_t priority;
    /* made of them */
    int code; /* for what went wrong before anything was sent */
    char host[256], own_address[400];
    struct vr_buf message, text, password, token;
    struct address sender;
    struct vr_str hello; /* helo, in A-labels (RFC 6531 §3.7.1) */
};

static void usage(FILE *out)
{
    fputs("usage: veredus send --to ADDRESS... [OPTION...] [< MESSAGE]\n\n"
          "message:\n"
          "  --to A, --from A     recipients and sender (of the envelope, and for a missing To and From); "
          "--from '<>': none\n"
          "  --subject S, --body TEXT|-|@FILE, --header 'Name: value'\n"
          "                       make a message (\"-\": the text is on standard input)\n"
          "  --file FILE          a whole message, header and body; without any of these: on standard input\n"
          "  --priority N         MT-PRIORITY, from -9 to 9 (RFC 6710), to a server that offers it\n"
          "  --binary             the message byte for byte, as BODY=BINARYMIME (RFC 3030), to a server that "
          "offers it\n"
          "  --bdat               in chunks (BDAT, RFC 3030) to a server that offers CHUNKING\n"
          "  --print              print the message instead of sending it\n"
          "server:\n"
          "  --server [lmtp:]HOST[:PORT] | [lmtp:]unix:PATH\n"
          "                       without it: the MX hosts of each recipient's domain\n"
          "  --lmtp               LMTP (port 24) instead of SMTP\n"
          "  --dns SERVER         ask this name server, such as 127.0.0.1@5353\n"
          "  --helo NAME          how to greet (default: this host's name)\n"
          "  --timeout SECONDS    for the connection and each answer\n"
          "  --no-message         only greet, start TLS, log in, and quit\n"
          "TLS and log-in:\n"
          "  --tls none|may|required|verify|implicit\n"
          "                       default may; required and may take any certificate, verify and implicit "
          "(port 465) check it\n"
          "  --insecure           never check the certificate\n"
          "  --ca FILE            trust these certificates instead of the system's\n"
          "  --user U             log in (port 587 by default); the password is asked for, or:\n"
          "  --password-stdin     it is the first line of standard input\n"
          "  --password-file FILE it is the first line of FILE\n"
          "  --token-file FILE    an OAuth token instead, the first line of FILE\n"
          "  --cert FILE, --key FILE\n"
          "                       a certificate for a server that asks for one (PEM)\n"
          "  --auth MECHANISM     this mechanism only: SCRAM-SHA-256-PLUS, PLAIN, XOAUTH2, EXTERNAL, …\n"
          "  --auth-in-clear      also without TLS\n"
          "output:\n"
          "  --trace              show the dialogue, on standard error: the default\n"
          "  --quiet              no dialogue; only what was refused\n",
          out);
}

/* ---- options ------------------------------------------------------------------------------------------------------------ */

enum option_key {
    OPT_TO = 256,
    OPT_FROM,
    OPT_SUBJECT,
    OPT_BODY,
    OPT_HEADER,
    OPT_FILE,
    OPT_BINARY,
    OPT_BDAT,
    OPT_PRINT,
    OPT_PRIORITY,
    OPT_SERVER,
    OPT_LMTP,
    OPT_DNS,
    OPT_HELO,
    OPT_TIMEOUT,
    OPT_NO_MESSAGE,
    OPT_TLS,
    OPT_INSECURE,
    OPT_CA,
    OPT_USER,
    OPT_PASSWORD_STDIN,
    OPT_PASSWORD_FILE,
    OPT_TOKEN_FILE,
    OPT_CERT,
    OPT_KEY,
    OPT_AUTH,
    OPT_AUTH_IN_CLEAR,
    OPT_QUIET,
    OPT_TRACE,
    OPT_HELP
};

static const struct option options[] = {{"to", required_argument, NULL, OPT_TO},
                                        {"from", required_argument, NULL, OPT_FROM},
                                        {"subject", required_argument, NULL, OPT_SUBJECT},
                                        {"body", required_argument, NULL, OPT_BODY},
                                        {"header", required_argument, NULL, OPT_HEADER},
                                        {"file", required_argument, NULL, OPT_FILE},
                                        {"binary", no_argument, NULL, OPT_BINARY},
                                        {"bdat", no_argument, NULL, OPT_BDAT},
                                        {"print", no_argument, NULL, OPT_PRINT},
                                        {"priority", required_argument, NULL, OPT_PRIORITY},
                                        {"server", required_argument, NULL, OPT_SERVER},
                                        {"lmtp", no_argument, NULL, OPT_LMTP},
                                        {"dns", required_argument, NULL, OPT_DNS},
                                        {"helo", required_argument, NULL, OPT_HELO},
                                        {"timeout", required_argument, NULL, OPT_TIMEOUT},
                                        {"no-message", no_argument, NULL, OPT_NO_MESSAGE},
                                        {"tls", required_argument, NULL, OPT_TLS},
                                        {"insecure", no_argument, NULL, OPT_INSECURE},
                                        {"ca", required_argument, NULL, OPT_CA},
                                        {"user", required_argument, NULL, OPT_USER},
                                        {"password-stdin", no_argument, NULL, OPT_PASSWORD_STDIN},
                                        {"password-file", required_argument, NULL, OPT_PASSWORD_FILE},
                                        {"token-file", required_argument, NULL, OPT_TOKEN_FILE},
                                        {"cert", required_argument, NULL, OPT_CERT},
                                        {"key", required_argument, NULL, OPT_KEY},
                                        {"auth", required_argument, NULL, OPT_AUTH},
                                        {"auth-in-clear", no_argument, NULL, OPT_AUTH_IN_CLEAR},
                                        {"quiet", no_argument, NULL, OPT_QUIET},
                                        {"trace", no_argument, NULL, OPT_TRACE},
                                        {"help", no_argument, NULL, OPT_HELP},
                                        {NULL, 0, NULL, 0}};

static bool complain(const char *what, const char *why)
{
    return connect_complain("send", what, why);
}

static bool take_recipient(struct send *s, const char *text)
{
    const char *why = "";
    return compose_add(&s->recipients, &s->arena, vr_str_from(text), vr_str_from(s->host), &why)
               ? true
               : complain(text, why);
}

static bool take_header(struct send *s, const char *text)
{
    const char *colon = strchr(text, ':');
    if (colon == NULL || colon == text || strcspn(text, " \t") < (size_t)(colon - text))
        return complain(text, "--header takes a field that reads 'Name: value'");
    if (s->parts.header_count == HEADERS_MAX)
        return complain(text, "one --header too many");
    s->headers[s->parts.header_count++] = vr_str_from(text);
    s->has_parts = true;
    return true;
}

static bool take_priority(struct send *s, const char *text)
{
    bool minus = text[0] == '-';
    const char *digit = text + minus;
    if (digit[0] < '0' || digit[0] > '9' || digit[1] != '\0')
        return complain(text, "--priority takes a number from -9 to 9");
    s->priority = (int8_t)(minus ? '0' - digit[0] : digit[0] - '0');
    return true;
}

static bool take_mechanism(struct send *s, const char *text)
{
    const struct sasl_mechanism *m = sasl_mechanism_find(vr_str_from(text));
    if (m != NULL) {
        s->mechanism = m->name;
        return true;
    }
    char known[400];
    struct vr_buf names;
    vr_buf_init(&names, 256);
    sasl_mechanism_names(&names, ~0u);
    snprintf(known, sizeof known, "--auth takes one of %.*s", VR_STR_ARG(vr_buf_str(&names)));
    vr_buf_fini(&names);
    return complain(text, known);
}

/* Those that only keep their argument. */
static const char **text_option(struct send *s, int o)
{
    switch (o) {
    case OPT_FROM:
        return &s->from;
    case OPT_FILE:
        return &s->file;
    case OPT_SERVER:
        return &s->server;
    case OPT_DNS:
        return &s->dns;
    case OPT_HELO:
        return &s->helo;
    case OPT_CA:
        return &s->ca_file;
    case OPT_USER:
        return &s->user;
    case OPT_PASSWORD_FILE:
        return &s->password_file;
    case OPT_TOKEN_FILE:
        return &s->token_file;
    case OPT_CERT:
        return &s->certificate;
    case OPT_KEY:
        return &s->key;
    default:
        return NULL;
    }
}

static bool *flag_option(struct send *s, int o)
{
    switch (o) {
    case OPT_BINARY:
        return &s->binary;
    case OPT_BDAT:
        return &s->bdat;
    case OPT_PRINT:
        return &s->print;
    case OPT_LMTP:
        return &s->lmtp;
    case OPT_NO_MESSAGE:
        return &s->no_message;
    case OPT_INSECURE:
        return &s->insecure;
    case OPT_PASSWORD_STDIN:
        return &s->password_stdin;
    case OPT_AUTH_IN_CLEAR:
        return &s->auth_in_clear;
    case OPT_QUIET:
        return &s->quiet;
    case OPT_TRACE:
        return &s->trace_only; /* the default; kept for scripts that say what they want */
    default:
        return NULL;
    }
}

static bool take_option(struct send *s, int o)
{
    const char **text = text_option(s, o);
    bool *flag = flag_option(s, o);
    if (text != NULL)
        *text = optarg;
    else if (flag != NULL)
        *flag = true;
    else if (o == OPT_TO)
        return take_recipient(s, optarg);
    else if (o == OPT_TLS)
        return connect_take_tls("send", optarg, &s->tls);
    else if (o == OPT_HEADER)
        return take_header(s, optarg);
    else if (o == OPT_AUTH)
        return take_mechanism(s, optarg);
    else if (o == OPT_TIMEOUT)
        return connect_take_timeout("send", optarg, &s->timeout_s);
    else if (o == OPT_PRIORITY)
        return take_priority(s, optarg);
    else if (o == OPT_SUBJECT)
        s->parts.subject = vr_str_from(optarg), s->has_parts = true;
    else if (o == OPT_BODY)
        s->parts.body = vr_str_from(optarg), s->has_body = true;
    return true;
}

/* ---- what is sent --------------------------------------------------------------------------------------------------------- */

static bool read_into(struct send *s, struct vr_buf *out, const char *path)
{
    int status = path != NULL ? io_fs_read_file(path, out) : io_terminal_read_all(IO_STDIN, out);
    if (status == 0)
        return true;
    s->code = EX_NOINPUT;
    fprintf(stderr, "veredus send: cannot read %s: %s\n", path != NULL ? path : "standard input",
            io_error_text(status));
    return false;
}

static bool read_secrets(struct send *s)
{
    struct secret_options token = {.what = "token", .file = s->token_file},
                          password = {.what = "password",
                                      .user = s->user,
                                      .file = s->password_file,
                                      .standard_input = s->password_stdin};
    if ((s->certificate == NULL) != (s->key == NULL))
        return complain("the certificate", "--cert and --key are given together");
    if (s->token_file != NULL)
        return secret_read(&token, &s->token, &s->code);
    bool by_certificate = s->certificate != NULL && s->password_file == NULL && !s->password_stdin;
    return s->user == NULL || by_certificate || secret_read(&password, &s->password, &s->code);
}

/* The envelope's sender, and what stands in a missing From. */
static bool find_sender(struct send *s)
{
    struct io_user me;
    const char *why = "", *name = io_user_by_id(io_terminal_user(), &me) == 0 ? me.name : "postmaster";
    snprintf(s->own_address, sizeof s->own_address, "%s@%s", name, s->host);
    const char *text = s->from != NULL ? s->from : s->own_address;
    if (strcmp(text, "") == 0 || strcmp(text, "<>") == 0) {
        s->sender.null = true;
        return true;
    }
    struct compose_list one = {0};
    if (!compose_add(&one, &s->arena, vr_str_from(text), vr_str_from(s->host), &why))
        return complain(text, why);
    s->sender = one.items[0];
    return true;
}

static bool make_message(struct send *s)
{
    struct address ascii; /* the sender's, where there is such a form */
    bool plain = address_to_ascii(&s->arena, &s->sender, &ascii);
    struct compose how = {.hostname = vr_str_from(s->host),
                          .from = s->sender.null ? vr_str_from(s->own_address)
                                                 : address_text(&s->arena, plain ? &ascii : &s->sender),
                          .now = io_now_us(s->io) / 1000000};
    const char *why = "it is too large";
    io_random(s->io, how.random, sizeof how.random);
    enum vr_err e;
    if (s->has_parts || s->has_body) {
        struct vr_str body = s->parts.body;
        bool from_file = vr_str_starts(body, VR_STR("@"));
        if ((from_file || vr_str_equal(body, VR_STR("-"))) &&
            !read_into(s, &s->text, from_file ? body.p + 1 : NULL))
            return false;
        if (from_file || vr_str_equal(body, VR_STR("-")))
            s->parts.body = vr_buf_str(&s->text);
        s->parts.headers = s->headers;
        s->parts.recipients = s->recipients.items;
        s->parts.recipient_count = s->recipients.count;
        e = compose_parts(&s->message, &s->parts, &how, &why);
    } else {
        if (s->file == NULL && io_is_terminal(IO_STDIN))
            fprintf(stderr, "veredus send: reading the message from the terminal; Ctrl-D ends it (--body "
                            "TEXT is an easier way)\n");
        if (!read_into(s, s->binary ? &s->message : &s->text, s->file))
            return false;
        if (s->binary) /* which nothing may be added to, and no line end changed */
            return true;
        e = compose_message(&s->message, &s->arena, vr_buf_str(&s->text), &how, &s->recipients, &why);
    }
    return e == VR_OK ? true : complain("the message", why);
}

/* ---- sending --------------------------------------------------------------------------------------------------------------- */

static void session_options(const struct send *s, struct session_options *o)
{
    *o = (struct session_options){.ca_file = s->ca_file,
                                  .lmtp = s->lmtp,
                                  .auth_in_clear = s->auth_in_clear,
                                  .bdat = s->bdat,
                                  .helo = s->helo != NULL ? s->hello : vr_str_from(s->host),
                                  .user = vr_str_from(s->user),
                                  .password = vr_buf_str(&s->password),
                                  .token = vr_buf_str(&s->token),
                                  .certificate = s->certificate,
                                  .key = s->key,
                                  .mechanism = vr_str_from(s->mechanism),
                                  .timeout_ms = (int64_t)s->timeout_s * 1000,
                                  .message = vr_buf_str(&s->message)};
    connect_set_tls(o, s->tls, s->insecure);
}

/* What to try next, where a person may not know. */
static void hint(const struct send *s, const struct session_result *r)
{
    const char *what = NULL;
    if (!r->failed || s->quiet)
        return;
    if (strcmp(r->failed_at, "certificate") == 0)
        what = "--ca FILE trusts a certificate that the system does not know; --insecure takes any";
    else if (strcmp(r->failed_at, "TLS") == 0 && s->tls == TLS_IMPLICIT)
        what = "does this port speak TLS from the first byte, as 465 does? For 25 and 587 use --tls verify";
    else if (strcmp(r->failed_at, "greeting") == 0 && s->tls != TLS_IMPLICIT)
        what = "a port that speaks TLS from the first byte, as 465 does, needs --tls implicit";
    else if (strcmp(r->failed_at, "AUTH") == 0 && r->failure.code == 0 && s->tls == TLS_NONE)
        what = "many servers offer it only after STARTTLS: leave --tls none away";
    if (what != NULL)
        fprintf(stderr, "veredus send: %s\n", what);
}

static void print_results(const struct send *s, const struct address *rcpts, size_t n,
                          const struct session_result *r)
{
    char reply[600];
    for (size_t i = 0; i < n; i++) {
        const struct session_rcpt *one = &r->rcpts[i];
        struct vr_buf address;
        vr_buf_init(&address, 1024);
        address_write(&address, &rcpts[i]);
        session_reply_text(one->fate == SESSION_SENT || one->fate == SESSION_REFUSED ? &one->reply
                                                                                     : &r->failure,
                           reply, sizeof reply);
        bool sent = one->fate == SESSION_SENT;
        if (!sent || !s->quiet)
            fprintf(sent ? stdout : stderr, "%.*s: %s: %s\n", VR_STR_ARG(vr_buf_str(&address)),
                    sent ? "sent" : "not sent", reply);
        vr_buf_fini(&address);
    }
    if (n == 0 && r->failed) {
        session_reply_text(&r->failure, reply, sizeof reply);
        fprintf(stderr, "veredus send: %s%s%s\n", r->failure.code != 0 ? r->failed_at : "",
                r->failure.code != 0 ? ": " : "", reply);
    }
    hint(s, r);
}

/* One transaction: host after host until one of them gives an answer. */
static int send_to(struct send *s, struct resolve *hosts, const struct address *rcpts, size_t n)
{
    struct session_result result = {.rcpts = vr_arena_alloc(&s->arena, (n + 1) * sizeof *result.rcpts)};
    struct smtp_rcpt *paths = vr_arena_alloc(&s->arena, (n + 1) * sizeof *paths);
    if (result.rcpts == NULL || paths == NULL) {
        fprintf(stderr, "veredus send: too many recipients\n");
        return EX_DATAERR;
    }
    for (size_t i = 0; i < n; i++)
        paths[i].forward_path = rcpts[i];
    struct smtp_mail mail = {.reverse_path = s->sender,
                             .size = vr_buf_size(&s->message),
                             .body = s->binary                                  ? SMTP_BODY_BINARYMIME
                                     : compose_is_8bit(vr_buf_str(&s->message)) ? SMTP_BODY_8BITMIME
                                                                                : SMTP_BODY_7BIT,
                             .utf8 = compose_has_utf8_header(vr_buf_str(&s->message)),
                             .priority = s->priority};
    struct session_options o;
    session_options(s, &o);
    o.trace = &s->trace;
    o.mail = &mail;
    o.rcpts = paths;
    o.rcpt_count = s->no_message ? 0 : n;
    connect_run(s->io, &o, hosts, &result);
    print_results(s, rcpts, o.rcpt_count, &result);
    return session_exit_code(&result, o.rcpt_count);
}

static uint16_t default_port(const struct send *s)
{
    return s->lmtp ? 24 : s->tls == TLS_IMPLICIT ? 465 : s->user != NULL ? 587 : 25;
}

static int to_server(struct send *s)
{
    struct server_name name;
    struct resolve hosts = {.arena = &s->arena};
    struct resolve_target one;
    if (!server_name_parse(vr_str_from(s->server), &name)) {
        complain(s->server,
                 "--server takes HOST, HOST:PORT, [IPv6]:PORT, unix:PATH, each also with lmtp: in front");
        return EX_USAGE;
    }
    s->lmtp = s->lmtp || name.lmtp;
    connect_find(s->io, s->dns, &name, default_port(s), &one, &hosts);
    if (hosts.count == 0) {
        fprintf(stderr, "veredus send: %s\n", hosts.error);
        return hosts.code;
    }
    return send_to(s, &hosts, s->recipients.items, s->recipients.count);
}

static int to_domain(struct send *s, struct vr_str domain, const struct address *rcpts, size_t n)
{
    struct resolve hosts = {.arena = &s->arena};
    trace_note(&s->trace, "looking for the mail hosts of %.*s", VR_STR_ARG(domain));
    resolve_domain(s->io, s->dns, domain, default_port(s), &hosts);
    if (hosts.count > 0)
        return send_to(s, &hosts, rcpts, n);
    fprintf(stderr, "%.*s: not sent: %s\n", VR_STR_ARG(domain), hosts.error);
    return hosts.code;
}

/* A session for each domain of the recipients. */
static int to_mx(struct send *s)
{
    size_t n = s->recipients.count;
    struct address *group = vr_arena_alloc(&s->arena, (n + 1) * sizeof *group);
    bool *done = vr_arena_alloc(&s->arena, n + 1);
    int code = EX_OK;
    for (size_t i = 0; i < n && group != NULL && done != NULL; i++) {
        struct vr_str domain = s->recipients.items[i].domain;
        size_t count = 0;
        for (size_t j = i; j < n; j++)
            if (!done[j] && idn_equal(s->recipients.items[j].domain, domain)) {
                group[count++] = s->recipients.items[j];
                done[j] = true;
            }
        int mine = count > 0 ? to_domain(s, domain, group, count) : EX_OK;
        if (mine != EX_OK && code != EX_TEMPFAIL)
            code = mine;
    }
    return code;
}

static int run(struct send *s)
{
    if (s->recipients.count == 0 && !(s->no_message && s->server != NULL)) {
        complain("no recipient", s->no_message ? "name a --server to look at, or one with --to"
                                               : "name at least one with --to");
        return EX_USAGE;
    }
    if (s->file != NULL && (s->has_parts || s->has_body)) {
        complain(s->file, "--file is a whole message: it does not go with --subject, --body and --header");
        return EX_USAGE;
    }
    if (s->binary && (s->has_parts || s->has_body)) {
        complain("--binary", "it is for a whole message: it does not go with --subject, --body and --header");
        return EX_USAGE;
    }
    s->code = EX_DATAERR;
    if (!find_sender(s) || !read_secrets(s) || (!s->no_message && !make_message(s)))
        return s->code;
    if (s->print) {
        struct vr_str text = vr_buf_str(&s->message);
        fwrite(text.p, 1, text.n, stdout);
        return EX_OK;
    }
    if (s->helo != NULL && idn_to_ascii(&s->arena, vr_str_from(s->helo), &s->hello) != VR_OK) {
        complain(s->helo, "--helo takes a host name");
        return EX_USAGE;
    }
    trace_init(&s->trace, s->io, !s->quiet);
    int code = s->server != NULL ? to_server(s) : to_mx(s);
    trace_fini(&s->trace);
    return code;
}

int cli_send(int argc, char **argv)
{
    struct send s = {.tls = TLS_MAY, .parts = {.subject = VR_STR("A test from veredus")}};
    vr_arena_init(&s.arena, ARENA_MAX);
    vr_buf_init(&s.message, COMPOSE_MAX);
    vr_buf_init(&s.text, COMPOSE_MAX);
    vr_buf_init(&s.password, PASSWORD_MAX);
    vr_buf_init(&s.token, SASL_TOKEN_MAX + 2);
    if (io_host_name(s.host, sizeof s.host) != 0 || s.host[0] == '\0')
        snprintf(s.host, sizeof s.host, "localhost");
    int code = -1;
    optind = 0;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (o == OPT_HELP || o == 'h') {
            usage(stdout);
            code = EX_OK;
        } else if (o == '?') {
            code = cli_wrong_option(argv[0]);
        } else if (!take_option(&s, o)) {
            code = EX_USAGE;
        }
    }
    for (; code < 0 && optind < argc; optind++) /* recipients may stand alone, too */
        if (!take_recipient(&s, argv[optind]))
            code = EX_USAGE;
    if (code < 0) {
        s.io = io_new(1);
        code = run(&s);
        io_free(s.io);
    }
    struct vr_buf *const secrets[] = {&s.password, &s.token};
    for (size_t i = 0; i < 2; i++) {
        if (secrets[i]->p != NULL)
            explicit_bzero(secrets[i]->p, secrets[i]->capacity);
        vr_buf_fini(secrets[i]);
    }
    vr_buf_fini(&s.text);
    vr_buf_fini(&s.message);
    vr_arena_fini(&s.arena);
    return code;
}
