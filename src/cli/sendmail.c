/* sendmail.c - sendmail(1), and newaliases: hands messages of this machine's programs to the server over its submit socket.
 *
 * Promise:    exit code 0 means that the server has the message on disk. With the server down it is 75 (EX_TEMPFAIL) and nothing is
 *             kept: cron, mail(1) and the like then tell their user.
 * Privilege:  none: not setuid, no spool of its own. The server knows the caller by the socket (SO_PEERCRED).
 * Tests:      tests/unit/sendmail_parse.c, tests/e2e/
 */
#include "cli/sendmail.h"
#include "cli/cli.h"

#include "cli/compose.h"
#include "cli/session.h"
#include "config/config.h"
#include "io/env.h"
#include "io/fs.h"
#include "io/process.h"
#include "io/terminal.h"

#include <veredus/address.h>

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define ARENA_MAX (64u << 20)
#define CHUNK     65536

struct site { /* what the configuration tells, or its defaults when it may not be read */
    struct config_load *load;
    char run[400], hostname[256];
    const char *config_path;
};

static void site_open(struct site *s, const char *config_path)
{
    s->config_path = config_path != NULL ? config_path : CONFIG_DEFAULT_PATH;
    s->load = config_load_file(s->config_path);
    const struct config *c = s->load->config;
    snprintf(s->run, sizeof s->run, "%s", c != NULL ? c->run : CLI_DEFAULT_RUN);
    if (c != NULL)
        snprintf(s->hostname, sizeof s->hostname, "%.*s", VR_STR_ARG(c->hostname));
    else if (io_host_name(s->hostname, sizeof s->hostname) != 0 || s->hostname[0] == '\0')
        snprintf(s->hostname, sizeof s->hostname, "localhost");
}

static struct io_address submit_address(const struct site *s)
{
    struct io_address a = {.family = IO_UNIX};
    snprintf(a.path, sizeof a.path, "%.90s/submit", s->run);
    return a;
}

static void server_is_down(const struct site *s, const char *why)
{
    fprintf(stderr,
            "sendmail: the mail server does not answer: %s. Nothing was sent or kept; is it running "
            "(systemctl status veredus)?\n",
            why);
    const struct config_problem *p = s->load->problems;
    while (p != NULL && p->warning)
        p = p->next;
    if (p != NULL)
        fprintf(stderr,
                "sendmail: note: its socket was looked for in %s, the default, because of %s:%d: %s\n",
                s->run, p->file, p->line, p->message);
}

/* ---- a message ------------------------------------------------------------------------------------------------------------ */

struct delivery_job {
    const struct sendmail_options *o;
    const struct site *site;
    struct io *io;
    struct vr_arena arena;
    struct vr_buf input, message;
    struct compose_list recipients;
    struct address sender;
    char caller[400];
};

/* Up to the end of the input, or a lone dot: a person at a terminal ends a message so. */
static bool read_message(struct delivery_job *j, struct vr_str *text)
{
    char chunk[CHUNK];
    bool dot = false;
    int64_t got = 0;
    while (!dot && (got = io_terminal_read(IO_STDIN, chunk, sizeof chunk)) > 0) {
        if (!vr_buf_add(&j->input, vr_str(chunk, (size_t)got))) {
            fprintf(stderr, "sendmail: the message is larger than %u bytes\n", COMPOSE_MAX);
            return false;
        }
        struct vr_str all = vr_buf_str(&j->input);
        bool line_end = all.p[all.n - 1] == '\n';
        if (!j->o->dot_is_text && line_end && io_is_terminal(IO_STDIN))
            compose_before_dot(all, &dot);
    }
    if (got < 0)
        fprintf(stderr, "sendmail: cannot read the message: %s\n", io_error_text((int)got));
    *text = vr_buf_str(&j->input);
    if (!j->o->dot_is_text)
        *text = compose_before_dot(*text, &dot);
    return got >= 0;
}

static bool find_sender(struct delivery_job *j)
{
    struct io_user me;
    struct vr_str host = vr_str_from(j->site->hostname);
    bool known = io_user_by_id(io_terminal_user(), &me) == 0;
    snprintf(j->caller, sizeof j->caller, "%s@%s", known ? me.name : "postmaster", j->site->hostname);
    const char *text = j->o->sender != NULL ? j->o->sender : j->caller, *why = "";
    if (j->o->sender != NULL && (*text == '\0' || strcmp(text, "<>") == 0)) {
        j->sender.null = true;
        return true;
    }
    struct compose_list one = {0};
    if (compose_add(&one, &j->arena, vr_str_from(text), host, &why)) {
        j->sender = one.items[0];
        return true;
    }
    fprintf(stderr, "sendmail: the sender \"%s\" is no address: %s\n", text, why);
    return false;
}

/* EX_OK with j->message and j->recipients made. */
static int prepare(struct delivery_job *j)
{
    struct vr_str text, host = vr_str_from(j->site->hostname);
    const char *why = "";
    if (!find_sender(j))
        return EX_USAGE;
    for (int i = 0; i < j->o->recipient_count; i++)
        if (!compose_add(&j->recipients, &j->arena, vr_str_from(j->o->recipients[i]), host, &why)) {
            fprintf(stderr, "sendmail: the recipient \"%s\" is no address: %s\n", j->o->recipients[i], why);
            return EX_DATAERR;
        }
    if (j->recipients.count == 0 && !j->o->take_recipients) {
        fprintf(stderr, "sendmail: no recipient: name one, or take them from the message with -t\n");
        return EX_USAGE;
    }
    if (!read_message(j, &text))
        return EX_IOERR;
    struct compose how = {.hostname = host,
                          .from =
                              j->sender.null ? vr_str_from(j->caller) : address_text(&j->arena, &j->sender),
                          .full_name = vr_str_from(j->o->full_name),
                          .now = io_now_us(j->io) / 1000000,
                          .take_recipients = j->o->take_recipients};
    io_random(j->io, how.random, sizeof how.random);
    enum vr_err e = compose_message(&j->message, &j->arena, text, &how, &j->recipients, &why);
    if (e != VR_OK) {
        fprintf(stderr, "sendmail: the message cannot be sent: %s\n",
                e == VR_ERR_TOO_BIG ? "it is too large" : why);
        return EX_DATAERR;
    }
    if (j->recipients.count > 0)
        return EX_OK;
    fprintf(stderr, "sendmail: the message names no recipient in To, Cc or Bcc\n");
    return EX_USAGE;
}

static void report(const struct delivery_job *j, const struct session_result *r)
{
    char reply[600];
    size_t sent = 0;
    if (!r->connected) {
        server_is_down(j->site, r->failure.text);
        return;
    }
    for (size_t i = 0; i < j->recipients.count; i++)
        sent += r->rcpts[i].fate == SESSION_SENT;
    for (size_t i = 0; i < j->recipients.count; i++) {
        const struct session_rcpt *one = &r->rcpts[i];
        if (one->fate == SESSION_SENT)
            continue;
        struct vr_buf address;
        vr_buf_init(&address, 1024);
        address_write(&address, &j->recipients.items[i]);
        session_reply_text(one->fate == SESSION_REFUSED ? &one->reply : &r->failure, reply, sizeof reply);
        fprintf(stderr, "sendmail: not sent to %.*s: %s\n", VR_STR_ARG(vr_buf_str(&address)),
                *reply ? reply : "the server gave no answer");
        vr_buf_fini(&address);
    }
    if (sent > 0 && sent < j->recipients.count)
        fprintf(stderr, "sendmail: the other %zu recipient%s will get it\n", sent, sent == 1 ? "" : "s");
}

static struct smtp_mail envelope(struct delivery_job *j)
{
    struct smtp_mail mail = {.reverse_path = j->sender, .size = vr_buf_size(&j->message), .ret = j->o->ret};
    if (j->o->declared_8bit || compose_is_8bit(vr_buf_str(&j->message)))
        mail.body = SMTP_BODY_8BITMIME;
    mail.utf8 = compose_has_utf8_header(vr_buf_str(&j->message));
    if (j->o->envid != NULL) {
        struct vr_buf xtext;
        vr_buf_init(&xtext, 1024);
        dsn_xtext_encode(&xtext, vr_str_from(j->o->envid));
        if (dsn_envid_check(vr_buf_str(&xtext)) == VR_OK)
            mail.envid = vr_arena_dup(&j->arena, vr_buf_str(&xtext));
        vr_buf_fini(&xtext);
    }
    return mail;
}

static int submit(struct delivery_job *j)
{
    size_t n = j->recipients.count;
    struct session_result result = {.rcpts = vr_arena_alloc(&j->arena, n * sizeof *result.rcpts)};
    struct smtp_rcpt *rcpts = vr_arena_alloc(&j->arena, n * sizeof *rcpts);
    if (result.rcpts == NULL || rcpts == NULL) {
        fprintf(stderr, "sendmail: too many recipients\n");
        return EX_DATAERR;
    }
    for (size_t i = 0; i < n; i++)
        rcpts[i] = (struct smtp_rcpt){.forward_path = j->recipients.items[i], .notify = j->o->notify};
    struct smtp_mail mail = envelope(j);
    struct trace trace;
    trace_init(&trace, j->io, j->o->verbose);
    struct session_options o = {.address = submit_address(j->site),
                                .tls = SESSION_TLS_NONE,
                                .helo = vr_str_from(j->site->hostname),
                                .trace = &trace,
                                .mail = &mail,
                                .rcpts = rcpts,
                                .rcpt_count = n,
                                .message = vr_buf_str(&j->message)};
    session_run(j->io, &o, &result);
    trace_fini(&trace);
    report(j, &result);
    return session_exit_code(&result, n);
}

static int deliver(const struct sendmail_options *o, const struct site *site)
{
    struct delivery_job j = {.o = o, .site = site, .io = io_new(1)};
    vr_arena_init(&j.arena, ARENA_MAX);
    vr_buf_init(&j.input, COMPOSE_MAX);
    vr_buf_init(&j.message, COMPOSE_MAX);
    int code = prepare(&j);
    if (code == EX_OK)
        code = submit(&j);
    vr_buf_fini(&j.message);
    vr_buf_fini(&j.input);
    vr_arena_fini(&j.arena);
    io_free(j.io);
    return code;
}

/* ---- -bs ------------------------------------------------------------------------------------------------------------------------- */

static int speak_smtp(const struct site *site)
{
    int status;
    struct io_address to = submit_address(site);
    int code = sendmail_smtp(&to, &status);
    if (code >= 0)
        return code;
    char why[300];
    snprintf(why, sizeof why, "cannot connect to %s: %s", to.path, io_error_text(status));
    server_is_down(site, why);
    return EX_TEMPFAIL;
}

/* ---- -bi, -q, -bp ---------------------------------------------------------------------------------------------------------------- */

/* The pid of the running server; 0: none. */
static int server_pid(const struct site *site)
{
    char path[512];
    uint64_t pid = 0;
    struct vr_buf text;
    vr_buf_init(&text, 64);
    snprintf(path, sizeof path, "%s/veredus.pid", site->run);
    if (io_fs_read_file(path, &text) != 0 || !vr_str_to_u64(vr_str_trim(vr_buf_str(&text)), &pid) ||
        pid > INT32_MAX)
        pid = 0;
    vr_buf_fini(&text);
    return (int)pid;
}

static int aliases(const struct site *site)
{
    const struct config_load *load = site->load;
    size_t files = 0;
    for (const struct config_problem *p = load->problems; p != NULL; p = p->next)
        fprintf(stderr, "%s:%d: %s%s\n", p->file, p->line, p->warning ? "warning: " : "", p->message);
    if (load->config == NULL) {
        fprintf(stderr,
                "newaliases: %u error%s: the running server, if there is one, keeps its present aliases\n",
                load->errors, load->errors == 1 ? "" : "s");
        return EX_CONFIG;
    }
    for (size_t i = 0; i < load->config->domain_count; i++) {
        const struct config_domain *d = &load->config->domains[i];
        files += (d->aliases_file != NULL) + (size_t)(d->virtual_file != NULL);
    }
    printf("%zu alias file%s read without errors; they need no data base.\n", files, files == 1 ? "" : "s");
    int pid = server_pid(site);
    if (pid <= 1) {
        printf("No server is running: it reads them when it starts.\n");
        return EX_OK;
    }
    if (!io_is_root()) {
        fprintf(stderr, "newaliases: only root may tell the running server (process %d) to read them\n", pid);
        return EX_NOPERM;
    }
    io_supervise_kill(pid, SIGHUP);
    printf("Told the running server (process %d) to read them.\n", pid);
    return EX_OK;
}

static int flush(const struct sendmail_options *o, const struct site *site)
{
    static const struct {
        char by;
        const char *option; /* NULL: the argument stands alone */
    } kinds[] = {{'R', "--domain"}, {'S', "--sender"}};
    char *args[8];
    int n = 0;
    args[n++] = (char *)"sendmail -q"; /* in the messages */
    args[n++] = (char *)"retry";
    args[n++] = (char *)"--run";
    args[n++] = (char *)site->run;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (o->flush_by == kinds[i].by)
            args[n++] = (char *)kinds[i].option;
    args[n++] = o->flush_what != NULL ? (char *)o->flush_what : (char *)"--all";
    args[n] = NULL;
    return cli_queue(n, args);
}

static int list(const struct site *site)
{
    char *args[] = {(char *)"mailq", (char *)"list", (char *)"--run", (char *)site->run, NULL};
    return cli_queue(4, args);
}

static int usage(FILE *out, int code)
{
    fputs("usage: sendmail [-t] [-i] [-f SENDER] [-F NAME] [-N dsn] [-R full|hdrs] [-V ID] [-v] [-C CONFIG] "
          "[--] [RECIPIENT...]\n"
          "       sendmail -bs | -bp | -bi | -q\n"
          "       mailq [-C CONFIG]\n"
          "       newaliases [-C CONFIG]\n\n"
          "Sends the message on standard input through this machine's server. sendmail(1) of veredus tells "
          "more.\n",
          out);
    return code;
}

int cli_sendmail(int argc, char **argv)
{
    struct sendmail_options o;
    struct site site;
    char error[256];
    int code = sendmail_parse(argc, argv, &o, error);
    if (code != 0) {
        fprintf(stderr, "sendmail: %s\n", error);
        return code;
    }
    if (o.mode == SENDMAIL_USAGE)
        return usage(stdout, EX_OK);
    site_open(&site, o.config);
    switch (o.mode) {
    case SENDMAIL_DELIVER:
        code = deliver(&o, &site);
        break;
    case SENDMAIL_SMTP:
        code = speak_smtp(&site);
        break;
    case SENDMAIL_LIST:
        code = list(&site);
        break;
    case SENDMAIL_ALIASES:
        code = aliases(&site);
        break;
    case SENDMAIL_FLUSH:
        code = flush(&o, &site);
        break;
    case SENDMAIL_USAGE:
        break;
    }
    config_load_free(site.load);
    return code;
}

/* The options of sendmail count for the other names, too: -C among them. */
static int as_sendmail(const char *mode, int argc, char **argv)
{
    char *args[16];
    int n = 0;
    args[n++] = argv[0];
    args[n++] = (char *)mode;
    for (int i = 1; i < argc && n < 15; i++)
        args[n++] = argv[i];
    args[n] = NULL;
    return cli_sendmail(n, args);
}

int cli_mailq(int argc, char **argv)
{
    return as_sendmail("-bp", argc, argv);
}

int cli_newaliases(int argc, char **argv)
{
    return as_sendmail("-bi", argc, argv);
}
