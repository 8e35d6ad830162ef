/* queue.c - `veredus queue`, and mailq(1): the command line; asks the running server (queue_ask.c) and prints each line of the answer as
 * soon as it is there (queue_print.c).
 *
 * Tests: tests/e2e/test_tools.py
 */
#include "cli/cli.h"
#include "cli/queue_inside.h"

#include "config/config.h"
#include "io/env.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define TERMINAL_LIMIT 1000 /* messages of a list that somebody looks at, unless told otherwise */

static const char *self = "veredus queue"; /* or the name that the user called: sendmail, mailq */

enum kind { LIST, SHOW, CHANGE, SUMMARY };
static const struct operation {
    const char *name;
    enum kind kind;
    bool needs_target; /* ids, --all or a filter */
} operations[] = {
    {"list", LIST, false},     {"show", SHOW, true},     {"retry", CHANGE, true},     {"hold", CHANGE, true},
    {"release", CHANGE, true}, {"remove", CHANGE, true}, {"summary", SUMMARY, false},
};

/* ---- the command line ----------------------------------------------------------------------------------------------------- */

static void usage(FILE *out)
{
    fputs("usage: veredus queue list [FILTER...] [--limit N] [--after ID] [--json]\n"
          "       veredus queue summary [--json]\n"
          "       veredus queue show ID... [--full] [--json]\n"
          "       veredus queue retry|hold|release|remove ID...|FILTER...|--all [--dry-run] [--limit N] "
          "[--json]\n"
          "       veredus queue verify [SPOOL] [--json]\n\n"
          "filters, all of which must apply:\n"
          "  --domain D       with a recipient in this domain that still waits\n"
          "  --sender A       from this address, @domain or domain; '<>': reports\n"
          "  --destination N  going this way, as the list writes it behind \"via\"\n"
          "  --reason TEXT    with these words in the last reply, in capitals or not\n"
          "  --state S        with a recipient that is active, deferred or held\n"
          "  --held           held ones only\n"
          "  --older AGE      that came longer ago than 90s, 30m, 4h, 2d or 1w\n"
          "  --newer AGE      that came since\n"
          "and:\n"
          "  --all            all messages\n"
          "  --dry-run        only says how many messages would be changed\n"
          "  --limit N        at most N messages, the oldest of them (default: all; a list on a terminal: "
          "1000)\n"
          "  --after ID       only those behind this one in the list: to go on with it\n"
          "  --full           the whole text, up to 1 MiB\n"
          "  --json           a JSON object a line: for each message, or for the whole answer\n"
          "  --config FILE    where to read the \"run\" folder from, and \"spool\" "
          "(default " CONFIG_DEFAULT_PATH ")\n"
          "  --run DIR        the \"run\" folder itself\n",
          out);
}

struct asked {
    const char *config_path, *run;
    bool config_given, json, all, filtered, dry, limited;
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
    a->limited = true;
    return true;
}

/* "30m": a number of seconds, minutes, hours, days or weeks. */
static bool take_age(struct asked *a, const char *key, const char *text)
{
    static const struct {
        char letter;
        uint32_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    uint64_t n;
    struct vr_str s = vr_str_from(text);
    a->filtered = true;
    for (size_t i = 0; i < sizeof units / sizeof *units && s.n > 1; i++)
        if (s.p[s.n - 1] == units[i].letter && vr_str_to_u64(vr_str_sub(s, 0, s.n - 1), &n) && n <= 100000) {
            json_object_set_new(a->request, key, json_integer((json_int_t)(n * units[i].seconds)));
            return true;
        }
    cli_wrong_usage(self, "--%s takes an age such as 90s, 30m, 4h, 2d or 1w, not \"%s\"", key, text);
    return false;
}

static bool take_state(struct asked *a, const char *text)
{
    if (strcmp(text, "active") == 0 || strcmp(text, "deferred") == 0 || strcmp(text, "held") == 0)
        return take_filter(a, "state", text);
    cli_wrong_usage(self, "--state takes active, deferred or held, not \"%s\"", text);
    return false;
}

static bool good_id(const char *text)
{
    uint64_t id;
    if (queue_id_parse(vr_str_from(text), &id))
        return true;
    fprintf(stderr, "%s: \"%s\" is no queue id: they have 13 letters and digits, see `veredus queue list`\n",
            self, text);
    return false;
}

/* Once, also when it is named twice: what is found is counted against what was named. */
static bool take_id(struct asked *a, const char *text)
{
    size_t i;
    json_t *before;
    if (!good_id(text))
        return false;
    json_array_foreach(a->ids, i, before)
    {
        if (strcmp(json_string_value(before), text) == 0)
            return true;
    }
    json_array_append_new(a->ids, json_string(text));
    return true;
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
    case 'R':
        return take_filter(a, "reason", optarg);
    case 'S':
        return take_state(a, optarg);
    case 'o':
        return take_age(a, "older", optarg);
    case 'N':
        return take_age(a, "newer", optarg);
    case 'A':
        json_object_set_new(a->request, "after", json_string(optarg));
        return good_id(optarg);
    case 'x':
        a->dry = true;
        json_object_set_new(a->request, "dry_run", json_true());
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
        {"reason", required_argument, NULL, 'R'}, {"state", required_argument, NULL, 'S'},
        {"older", required_argument, NULL, 'o'},  {"newer", required_argument, NULL, 'N'},
        {"after", required_argument, NULL, 'A'},  {"dry-run", no_argument, NULL, 'x'},
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
    if (op->kind == SUMMARY && (ids || a->all || a->filtered))
        return cli_wrong_usage(self, "%s is about the whole queue: it takes no ids and filters", op->name);
    if (op->needs_target && !ids && !a->all && !a->filtered)
        return cli_wrong_usage(self, "%s what? Name message ids, a filter, or --all", op->name);
    if (ids + a->filtered + a->all > 1)
        return cli_wrong_usage(self, "ids, filters and --all exclude each other");
    if (a->dry && op->kind != CHANGE)
        return cli_wrong_usage(self, "--dry-run is for what changes messages: retry, hold, release, remove");
    if (op->kind != LIST && op->kind != CHANGE &&
        (a->limited || json_object_get(a->request, "after") != NULL))
        return cli_wrong_usage(self, "%s knows no --limit and --after", op->name);
    return EX_OK;
}

/* ---- the answer, as it comes -------------------------------------------------------------------------------------------------- */

struct showing {
    const struct asked *asked;
    const struct operation *operation;
    char last[QUEUE_ID_TEXT]; /* the message shown last */
    bool any, progress;
    int code;
};

/* Ids that were named and are not there; returns the exit code. */
static int report_missing(const struct asked *a, size_t found)
{
    size_t named = json_array_size(a->ids);
    if (named == 0 || found >= named || a->limited)
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

static void print_list_end(const struct showing *s, const json_t *end)
{
    long long shown = (long long)queue_number_of(end, "shown"),
              total = (long long)queue_number_of(end, "total");
    if (shown < total)
        printf("%lld of %lld messages; --after %s shows how it goes on, --limit takes another number\n",
               shown, total, s->last);
    else if (json_object_get(s->asked->request, "after") != NULL && total == 0)
        printf("There is nothing more.\n");
    else if (total == 0)
        printf(s->asked->filtered ? "No message in the queue is of this kind.\n" : "The queue is empty.\n");
    else
        printf("%lld message%s\n", total, total == 1 ? "" : "s");
}

static void print_progress(struct showing *s, const json_t *line)
{
    if (!io_is_terminal(2))
        return;
    fprintf(stderr, "\r%s: %lld of %lld", self, (long long)queue_number_of(line, "progress"),
            (long long)queue_number_of(line, "of"));
    s->progress = true;
}

static void print_end(struct showing *s, json_t *end)
{
    enum kind kind = s->operation->kind;
    size_t found = (size_t)queue_number_of(end, kind == CHANGE ? "count" : "shown");
    bool ids = json_array_size(s->asked->ids) > 0;
    if (s->progress)
        fprintf(stderr, "\r\033[K");
    if (s->asked->json) {
        json_object_del(end, "end");
        if (kind == SUMMARY || kind == CHANGE) {
            json_dumpf(end, stdout, JSON_COMPACT);
            putchar('\n');
        }
    } else if (kind == SUMMARY) {
        json_object_del(end, "end");
        queue_print_summary(end);
    } else if (kind == LIST && (!ids || found > 0)) {
        print_list_end(s, end);
    } else if (kind == CHANGE && (!ids || found > 0)) {
        queue_print_done(end);
    }
    if (kind != SUMMARY)
        s->code = report_missing(s->asked, found);
}

static void print_line(struct showing *s, const json_t *line, struct vr_str text)
{
    if (s->asked->json) {
        fwrite(text.p, 1, text.n, stdout);
        putchar('\n');
        return;
    }
    if (s->operation->kind == SHOW) {
        if (s->any)
            putchar('\n');
        queue_print_whole(line);
    } else {
        queue_print_message(line);
    }
    s->any = true;
    snprintf(s->last, sizeof s->last, "%s", queue_text_of(line, "id"));
}

static void on_line(void *arg, json_t *line, struct vr_str text)
{
    struct showing *s = arg;
    if (line == NULL)
        print_line(s, line, text);
    else if (json_is_true(json_object_get(line, "end")))
        print_end(s, line);
    else if (json_object_get(line, "progress") != NULL)
        print_progress(s, line);
    else
        print_line(s, line, text);
}

/* False: whoever reads what we print has left (`| head`), or it cannot be written. */
static bool on_shown(void *arg)
{
    struct showing *s = arg;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    if (errno == EPIPE &&
        freopen("/dev/null", "w", stdout) == NULL) /* nothing is wrong: he has seen enough */
        s->code = EX_OSERR;
    return false; /* of another error main.c tells */
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
    if (op->kind == LIST && !a->limited && !a->json && io_is_terminal(1))
        json_object_set_new(a->request, "limit", json_integer(TERMINAL_LIMIT));
    struct showing s = {.asked = a, .operation = op, .code = EX_OK};
    struct queue_answer answer = {.line = on_line, .raw = a->json, .shown = on_shown, .arg = &s};
    code = queue_ask(self, where, a->request, &answer);
    return code != EX_OK ? code : s.code;
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
