/* queue.c - `veredus queue`, and mailq(1): asks the running server over its control socket.
 *
 * The request is one JSON object, the answer JSON text (src/admin/admin.c); --json prints it as it came.
 */
#include "cli/cli.h"

#include "config/config.h"
#include "io/stream.h"
#include "ipc/ipc.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define ANSWER_MAX (1u << 30)
#define CONNECT_MS 5000

static const char *self = "veredus queue"; /* or the name that the user called: sendmail, mailq */

/* ---- asking ------------------------------------------------------------------------------------------------------------- */

struct question {
    struct io *io;
    struct io_stream *stream;
    struct vr_buf answer;
    char *text; /* the request with its line feed */
    int status;
};

static void on_connected(void *arg, int status)
{
    struct question *q = arg;
    q->status = status;
    if (status == 0)
        io_stream_write(q->stream, vr_str_from(q->text));
    else
        io_stop(q->io);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct question *q = arg;
    vr_buf_add(&q->answer, bytes);
}

static void on_ended(void *arg, int status)
{
    struct question *q = arg;
    q->status = status;
    io_stop(q->io);
}

static const struct io_stream_ops ops = {.connected = on_connected, .data = on_data, .ended = on_ended};

/* Says why there is no connection; returns the exit code. */
static int not_reached(int status, const char *socket, const char *run)
{
    fprintf(stderr, "%s: cannot speak with the server at %s: %s", self, socket, io_error_text(status));
    if (status == -EACCES || status == -EPERM) {
        fprintf(stderr, "; root may, or the user whom the server runs as\n");
        return EX_NOPERM;
    }
    if (status == -ENAMETOOLONG) {
        fprintf(stderr, "; a socket's path has at most 107 bytes: choose a shorter \"run\" than %s\n", run);
        return EX_CONFIG;
    }
    if (status == -ENOENT || status == -ECONNREFUSED)
        fprintf(stderr, "; it does not run (systemctl status veredus), or its \"run\" is not %s", run);
    fputc('\n', stderr);
    return EX_TEMPFAIL;
}

/* The answer, or NULL after having said why; *code gets the exit code. */
static json_t *ask(const char *run, json_t *request, int *code)
{
    struct question q = {.io = io_new(1), .text = json_dumps(request, JSON_COMPACT)};
    size_t n = strlen(q.text);
    q.text = realloc(q.text, n + 2);
    assert(q.text != NULL);
    memcpy(q.text + n, "\n", 2);
    vr_buf_init(&q.answer, ANSWER_MAX);
    struct io_address to = {.family = IO_UNIX};
    if (snprintf(to.path, sizeof to.path, "%s/control", run) < (int)sizeof to.path) {
        q.stream = io_stream_connect(q.io, &to, NULL, CONNECT_MS, &ops, &q);
        io_run(q.io);
        io_stream_close(q.stream);
    } else {
        q.status = -ENAMETOOLONG; /* of the kernel: 107 bytes */
    }
    json_t *answer = NULL;
    *code = EX_OK;
    if (q.status != 0) {
        *code = not_reached(q.status, to.path, run);
    } else {
        struct vr_str text = vr_buf_str(&q.answer);
        json_error_t error;
        answer = json_loadb(text.p != NULL ? text.p : "", text.n, 0, &error);
        if (answer == NULL) {
            fprintf(stderr, "%s: the server's answer is cut off (%s); ask again\n", self, error.text);
            *code = EX_TEMPFAIL;
        }
    }
    const char *complaint = json_string_value(json_object_get(answer, "error"));
    if (complaint != NULL) {
        fprintf(stderr, "%s: %s\n", self, complaint);
        *code = json_is_true(json_object_get(answer, "again")) ? EX_TEMPFAIL : EX_DATAERR;
        json_decref(answer);
        answer = NULL;
    }
    vr_buf_fini(&q.answer);
    free(q.text);
    io_free(q.io);
    return answer;
}

/* ---- printing ----------------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "";
}

/* Text of strangers on a terminal: control bytes could drive it. */
static void print_clean(const char *s)
{
    for (; *s != '\0'; s++)
        putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
}

/* Text of many lines: these and tabs stay. */
static void print_text(const char *s)
{
    for (; *s != '\0'; s++)
        if (!(s[0] == '\r' && s[1] == '\n'))
            putchar(((unsigned char)*s < 0x20 && *s != '\n' && *s != '\t') || *s == 0x7f ? '?' : *s);
}

static void print_recipient(const json_t *r, bool colours)
{
    const char *status = text_of(r, "status");
    const char *colour = strcmp(status, "deferred") == 0 ? "\033[33m"
                         : strcmp(status, "failed") == 0 ? "\033[31m"
                                                         : "";
    printf("    %s%-8s%s ", colours ? colour : "", status, colours && *colour ? "\033[0m" : "");
    print_clean(text_of(r, "address"));
    if (*text_of(r, "destination"))
        printf("  via %s", text_of(r, "destination"));
    if (json_integer_value(json_object_get(r, "attempts")) > 0)
        printf("  attempts %lld", (long long)json_integer_value(json_object_get(r, "attempts")));
    if (*text_of(r, "next"))
        printf("  next %s", text_of(r, "next"));
    putchar('\n');
    if (*text_of(r, "reply")) {
        printf("             ");
        print_clean(text_of(r, "reply"));
        putchar('\n');
    }
}

static void print_message(const json_t *m, bool colours)
{
    const char *from = text_of(m, "from");
    printf("%s  %s  %lld bytes  from ", text_of(m, "id"), text_of(m, "arrival"),
           (long long)json_integer_value(json_object_get(m, "size")));
    print_clean(*from ? from : "<>");
    if (json_integer_value(json_object_get(m, "priority")) != 0)
        printf("  priority %lld", (long long)json_integer_value(json_object_get(m, "priority")));
    printf("%s\n", json_is_true(json_object_get(m, "held")) ? "  HELD" : "");
    size_t i;
    json_t *r;
    json_array_foreach(json_object_get(m, "recipients"), i, r)
    {
        print_recipient(r, colours);
    }
}

static void print_list(const json_t *answer)
{
    bool colours = cli_coloured(1);
    const json_t *messages = json_object_get(answer, "messages");
    size_t i;
    json_t *m;
    json_array_foreach(messages, i, m)
    {
        print_message(m, colours);
    }
    long long total = (long long)json_integer_value(json_object_get(answer, "total"));
    long long shown = (long long)json_array_size(messages);
    if (shown < total)
        printf("%lld of %lld messages\n", shown, total);
    else if (total == 0)
        printf("The queue is empty.\n");
    else
        printf("%lld message%s\n", total, total == 1 ? "" : "s");
}

static void print_none_chosen(const json_t *answer)
{
    if (json_integer_value(json_object_get(answer, "total")) == 0)
        printf("No message in the queue is of this kind.\n");
    else
        print_list(answer);
}

static void print_whole(const json_t *m)
{
    static const char *const facts[] = {"client", "helo", "user", "envid"};
    print_message(m, cli_coloured(1));
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (*text_of(m, facts[i])) {
            printf("    %-8s ", facts[i]);
            print_clean(text_of(m, facts[i]));
            putchar('\n');
        }
    putchar('\n');
    print_text(text_of(m, "header"));
    print_text(text_of(m, "body"));
    size_t n = strlen(text_of(m, "body"));
    if (n > 0 && text_of(m, "body")[n - 1] != '\n')
        putchar('\n');
    if (json_is_true(json_object_get(m, "body_cut")))
        printf("[... the text goes on; --full shows more]\n");
}

static void print_show(const json_t *answer)
{
    size_t i;
    json_t *m;
    json_array_foreach(json_object_get(answer, "messages"), i, m)
    {
        if (i > 0)
            putchar('\n');
        print_whole(m);
    }
}

static void print_done(const json_t *answer)
{
    static const struct {
        const char *op, *done;
    } words[] = {
        {"retry", "will be tried now"}, {"hold", "held"}, {"release", "released"}, {"remove", "removed"}};
    long long n = (long long)json_integer_value(json_object_get(answer, "count"));
    const char *done = "done";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].op, text_of(answer, "op")) == 0)
            done = words[i].done;
    printf("%lld message%s %s\n", n, n == 1 ? "" : "s", done);
}

static void print_destinations(const json_t *list)
{
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)list, i, one)
    {
        const char *name = json_string_value(json_object_get(one, "destination"));
        printf("%-14s %s: %lld under way%s\n", "destination", name != NULL ? name : "?",
               (long long)json_integer_value(json_object_get(one, "active")),
               json_is_true(json_object_get(one, "waiting")) ? ", more waiting" : "");
    }
}

static void print_log(const json_t *log)
{
    const char *key, *comma = "";
    json_t *value;
    printf("%-14s ", "log");
    json_object_foreach((json_t *)log, key, value)
    {
        printf("%s%s %lld", comma, key, (long long)json_integer_value(value));
        comma = ", ";
    }
    putchar('\n');
}

static void print_summary(const json_t *answer)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)answer, key, value)
    {
        if (json_is_array(value))
            print_destinations(value);
        else if (json_is_object(value))
            print_log(value);
        else if (json_is_boolean(value))
            printf("%-14s %s\n", key, json_is_true(value) ? "yes" : "no");
        else if (json_is_string(value))
            printf("%-14s %s\n", key, json_string_value(value));
        else
            printf("%-14s %lld\n", key, (long long)json_integer_value(value));
    }
}

static const struct operation {
    const char *name;
    bool needs_target; /* ids, --all or a filter */
    bool takes_target;
    void (*print)(const json_t *answer);
} operations[] = {
    {"list", false, true, print_list},        {"show", true, true, print_show},
    {"retry", true, true, print_done},        {"hold", true, true, print_done},
    {"release", true, true, print_done},      {"remove", true, true, print_done},
    {"summary", false, false, print_summary},
};

/* ---- the command line ----------------------------------------------------------------------------------------------------- */

static void usage(FILE *out)
{
    fputs("usage: veredus queue list [FILTER...] [--limit N] [--json]\n"
          "       veredus queue summary [--json]\n"
          "       veredus queue show ID... [--full] [--json]\n"
          "       veredus queue retry|hold|release|remove ID...|FILTER...|--all [--json]\n"
          "       veredus queue verify [SPOOL] [--json]\n\n"
          "filters, all of which must apply:\n"
          "  --domain D       with a recipient in this domain that still waits\n"
          "  --sender A       from this address or @domain; '<>': reports\n"
          "  --destination N  going this way, as the list writes it behind \"via\"\n"
          "  --held           held ones only\n"
          "and:\n"
          "  --all            all messages\n"
          "  --limit N        at most N messages in a list (default: all)\n"
          "  --full           the whole text, up to 1 MiB\n"
          "  --json           the server's answer as JSON\n"
          "  --config FILE    where to read the \"run\" folder from, and \"spool\" "
          "(default " CONFIG_DEFAULT_PATH ")\n"
          "  --run DIR        the \"run\" folder itself\n",
          out);
}

struct asked {
    const char *config_path, *run;
    bool config_given, json, all, filtered;
    json_t *request, *ids;
};

/* The folder of the sockets; NULL after having said why. A configuration that was named must be readable; the default one need not. */
static const char *run_folder(const struct asked *a, char out[512])
{
    if (a->run != NULL)
        return a->run;
    struct config_load *load = config_load_file(a->config_path);
    const struct config_problem *p = load->problems;
    while (p != NULL && p->warning)
        p = p->next;
    bool good = load->config != NULL || !a->config_given;
    if (!good)
        fprintf(stderr, "%s: %s:%d: %s; --run DIR does without the configuration\n", self,
                p != NULL ? p->file : a->config_path, p != NULL ? p->line : 0,
                p != NULL ? p->message : "cannot be read");
    snprintf(out, 512, "%s", load->config != NULL ? load->config->run : CLI_DEFAULT_RUN);
    config_load_free(load);
    return good ? out : NULL;
}

static bool take_filter(struct asked *a, const char *key, const char *value)
{
    json_t *text = *value != '\0' ? json_string(value) : NULL; /* NULL for what is not UTF-8, too */
    a->filtered = true;
    if (text == NULL) {
        cli_wrong_usage(self, "--%s has no value that could be meant", key);
        return false;
    }
    json_object_set_new(a->request, key, text);
    return true;
}

static bool take_limit(struct asked *a, const char *text)
{
    uint64_t n;
    if (!vr_str_to_u64(vr_str_from(text), &n) || n == 0 || n > INT32_MAX) {
        cli_wrong_usage(self, "--limit takes a number from 1 on, not \"%s\"", text);
        return false;
    }
    json_object_set_new(a->request, "limit", json_integer((json_int_t)n));
    return true;
}

static bool take_id(struct asked *a, const char *text)
{
    uint64_t id;
    if (queue_id_parse(vr_str_from(text), &id)) {
        json_array_append_new(a->ids, json_string(text));
        return true;
    }
    fprintf(stderr, "%s: \"%s\" is no queue id: they have 13 letters and digits, see `veredus queue list`\n",
            self, text);
    return false;
}

static bool take(struct asked *a, int o)
{
    switch (o) {
    case 'a':
        a->all = true;
        json_object_set_new(a->request, "all", json_true());
        return true;
    case 'd':
        return take_filter(a, "domain", optarg);
    case 's':
        return take_filter(a, "sender", optarg);
    case 'D':
        return take_filter(a, "destination", optarg);
    case 'H':
        a->filtered = true;
        json_object_set_new(a->request, "held", json_true());
        return true;
    case 'n':
        return take_limit(a, optarg);
    case 'F':
        json_object_set_new(a->request, "full", json_true());
        return true;
    case 'j':
        a->json = true;
        return true;
    case 'c':
        a->config_path = optarg;
        a->config_given = true;
        return true;
    default:
        a->run = optarg;
        return true;
    }
}

/* -1: go on; else the exit code. */
static int read_options(int argc, char **argv, struct asked *a)
{
    static const struct option options[] = {
        {"all", no_argument, NULL, 'a'},          {"domain", required_argument, NULL, 'd'},
        {"sender", required_argument, NULL, 's'}, {"destination", required_argument, NULL, 'D'},
        {"held", no_argument, NULL, 'H'},         {"limit", required_argument, NULL, 'n'},
        {"full", no_argument, NULL, 'F'},         {"json", no_argument, NULL, 'j'},
        {"config", required_argument, NULL, 'c'}, {"run", required_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    optind = 0;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (o == 'h') {
            usage(stdout);
            return EX_OK;
        }
        if (o == '?')
            return cli_wrong_option(self);
        if (!take(a, o))
            return EX_USAGE;
    }
    return -1;
}

/* What goes together and what does not; EX_OK or EX_USAGE. */
static int read_target(const struct operation *op, const struct asked *a)
{
    bool ids = json_array_size(a->ids) > 0;
    if (!op->takes_target && (ids || a->all || a->filtered))
        return cli_wrong_usage(self, "%s is about the whole queue: it takes no ids and filters", op->name);
    if (op->needs_target && !ids && !a->all && !a->filtered)
        return cli_wrong_usage(self, "%s what? Name message ids, a filter, or --all", op->name);
    if (ids + a->filtered + a->all > 1)
        return cli_wrong_usage(self, "ids, filters and --all exclude each other");
    return EX_OK;
}

/* Ids that were named and are not there; returns the exit code. */
static int report_missing(const struct asked *a, const json_t *answer)
{
    const json_t *messages = json_object_get(answer, "messages"), *count = json_object_get(answer, "count");
    size_t named = json_array_size(a->ids);
    size_t found = messages != NULL ? json_array_size(messages) : (size_t)json_integer_value(count);
    if (named == 0 || found >= named)
        return EX_OK;
    if (named == 1)
        fprintf(stderr,
                "%s: there is no message %s in the queue: it was delivered or removed, or the id is "
                "wrong\n",
                self, json_string_value(json_array_get(a->ids, 0)));
    else
        fprintf(stderr,
                "%s: %zu of these %zu messages are not in the queue: they were delivered or removed, or "
                "the ids are wrong\n",
                self, named - found, named);
    return EX_DATAERR;
}

static int run(const struct operation *op, struct asked *a)
{
    char folder[512];
    int code = read_target(op, a);
    if (code != EX_OK)
        return code;
    const char *where = run_folder(a, folder);
    if (where == NULL)
        return EX_CONFIG;
    json_object_set_new(a->request, "op", json_string(op->name));
    if (json_array_size(a->ids) > 0)
        json_object_set(a->request, "ids", a->ids);
    json_t *answer = ask(where, a->request, &code);
    if (answer == NULL)
        return code;
    if (a->json) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (op->print == print_list && a->filtered) {
        print_none_chosen(answer);
    } else if (json_array_size(a->ids) == 0 || json_array_size(json_object_get(answer, "messages")) > 0 ||
               json_integer_value(json_object_get(answer, "count")) > 0) {
        op->print(answer);
    }
    code = report_missing(a, answer);
    json_decref(answer);
    return code;
}

/* The one command that asks nobody: it reads the files of a server that does not run. */
static int verify(const struct asked *a, int argc, char **argv)
{
    if (a->all || a->filtered || a->run != NULL)
        return cli_wrong_usage(
            self, "verify is about a whole spool on the disk: it takes a folder, no ids, filters and --run");
    if (argc > 1)
        return cli_wrong_usage(self, "\"%s\" is one folder too many", argv[1]);
    return cli_queue_verify(self, argc > 0 ? argv[0] : NULL, a->config_path, a->json);
}

int cli_queue(int argc, char **argv)
{
    struct asked a = {.config_path = CONFIG_DEFAULT_PATH, .request = json_object(), .ids = json_array()};
    self = argv[0];
    int code = read_options(argc, argv, &a);
    const struct operation *op = NULL;
    if (code < 0 && optind < argc && strcmp(argv[optind], "verify") == 0)
        code = verify(&a, argc - optind - 1, argv + optind + 1);
    for (size_t i = 0; code < 0 && optind < argc && i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i].name, argv[optind]) == 0)
            op = &operations[i];
    if (code < 0 && op == NULL && optind == argc) {
        usage(stderr);
        code = EX_USAGE;
    } else if (code < 0 && op == NULL) {
        code = cli_wrong_usage(
            self,
            "there is no \"%s\"; there are list, show, summary, retry, hold, release, remove and verify",
            argv[optind]);
    }
    for (int i = optind + 1; code < 0 && i < argc; i++)
        if (!take_id(&a, argv[i]))
            code = EX_DATAERR;
    if (code < 0)
        code = run(op, &a);
    json_decref(a.ids);
    json_decref(a.request);
    return code;
}
