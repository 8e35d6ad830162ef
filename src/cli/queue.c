/* queue.c - `veredus queue`, and mailq(1): asks the running server over its control socket.
 *
 * The request is one JSON object, the answer JSON text (src/admin/admin.c); --json prints it as it came.
 */
#include "cli/cli.h"

#include "config/config.h"
#include "io/env.h"
#include "io/stream.h"

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
        fprintf(stderr,
                "veredus queue: cannot speak with the server at %s: %s; is it running (veredus serve), with "
                "\"run\" set to %s, "
                "and may you (root)?\n",
                to.path, io_error_text(q.status), run);
        *code = EX_TEMPFAIL;
    } else {
        struct vr_str text = vr_buf_str(&q.answer);
        json_error_t error;
        answer = json_loadb(text.p != NULL ? text.p : "", text.n, 0, &error);
        if (answer == NULL) {
            fprintf(stderr, "veredus queue: the server's answer is cut off (%s); ask again\n", error.text);
            *code = EX_TEMPFAIL;
        }
    }
    const json_t *messages = json_object_get(answer, "messages");
    if (answer != NULL && json_object_get(request, "ids") != NULL && json_is_array(messages) && json_array_size(messages) == 0)
        json_object_set_new(answer, "error", json_string("there is no such message in the queue: it may have been delivered"));
    const char *complaint = json_string_value(json_object_get(answer, "error"));
    if (complaint != NULL) {
        fprintf(stderr, "veredus queue: %s\n", complaint);
        json_decref(answer);
        answer = NULL;
        *code = EX_DATAERR;
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
    bool colours = io_is_terminal(1) && io_env("NO_COLOR") == NULL;
    const json_t *messages = json_object_get(answer, "messages");
    size_t i;
    json_t *m;
    json_array_foreach(messages, i, m)
    {
        print_message(m, colours);
    }
    long long total = (long long)json_integer_value(json_object_get(answer, "total"));
    if (total == 0)
        printf("The queue is empty.\n");
    else
        printf("%lld message%s%s\n", total, total == 1 ? "" : "s",
               (long long)json_array_size(messages) < total ? " in all (--limit N shows more)" : "");
}

static void print_show(const json_t *answer)
{
    const json_t *messages = json_object_get(answer, "messages");
    const json_t *m = json_array_size(messages) > 0 ? json_array_get(messages, 0) : answer;
    print_message(m, io_is_terminal(1) && io_env("NO_COLOR") == NULL);
    static const char *const facts[] = {"client", "helo", "user", "envid"};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (*text_of(m, facts[i])) {
            printf("    %s ", facts[i]);
            print_clean(text_of(m, facts[i]));
            putchar('\n');
        }
    printf("\n%s%s\n", text_of(m, "header"), text_of(m, "body"));
}

static void print_done(const json_t *answer)
{
    printf("%lld message%s\n", (long long)json_integer_value(json_object_get(answer, "count")),
           json_integer_value(json_object_get(answer, "count")) == 1 ? "" : "s");
}

static void print_summary(const json_t *answer)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)answer, key, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        printf("%-14s %s\n", key, text);
        free(text);
    }
}

static const struct operation {
    const char *name;
    bool needs_target; /* ids, --all or a filter */
    void (*print)(const json_t *answer);
} operations[] = {
    {"list", false, print_list},       {"show", true, print_show},    {"retry", true, print_done},
    {"hold", true, print_done},        {"release", true, print_done}, {"remove", true, print_done},
    {"summary", false, print_summary},
};

static void usage(FILE *out)
{
    fputs("usage: veredus queue list|summary [FILTER...] [--json] [--limit N]\n"
          "       veredus queue show ID [--full] [--json]\n"
          "       veredus queue retry|hold|release|remove ID...|--all|FILTER...\n\n"
          "  --domain D       with a recipient in this domain\n"
          "  --sender A       from this address or @domain\n"
          "  --held           held ones only\n"
          "  --limit N        at most N messages in a list (default 1000)\n"
          "  --json           the server's answer as JSON\n"
          "  --config FILE    where to read the \"run\" folder from (default " CONFIG_DEFAULT_PATH ")\n"
          "  --run DIR        the \"run\" folder itself\n",
          out);
}

static const char *run_folder(const char *config_path, const char *run, char out[512])
{
    if (run != NULL)
        return run;
    struct config_load *load = config_load_file(config_path);
    snprintf(out, 512, "%s", load->config != NULL ? load->config->run : "/run/veredus");
    config_load_free(load);
    return out;
}

int cli_queue(int argc, char **argv)
{
    static const struct option options[] = {{"all", no_argument, NULL, 'a'},
                                            {"domain", required_argument, NULL, 'd'},
                                            {"sender", required_argument, NULL, 's'},
                                            {"held", no_argument, NULL, 'H'},
                                            {"limit", required_argument, NULL, 'n'},
                                            {"full", no_argument, NULL, 'F'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"run", required_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *config_path = CONFIG_DEFAULT_PATH, *run = NULL;
    bool json = false, target = false;
    json_t *request = json_object(), *ids = json_array();
    optind = 0;
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        target = target || o == 'a' || o == 'd' || o == 's' || o == 'H';
        switch (o) {
        case 'a':
            json_object_set_new(request, "all", json_true());
            break;
        case 'd':
            json_object_set_new(request, "domain", json_string(optarg));
            break;
        case 's':
            json_object_set_new(request, "sender", json_string(optarg));
            break;
        case 'H':
            json_object_set_new(request, "held", json_true());
            break;
        case 'n':
            json_object_set_new(request, "limit", json_integer(atoll(optarg)));
            break;
        case 'F':
            json_object_set_new(request, "full", json_true());
            break;
        case 'j':
            json = true;
            break;
        case 'c':
            config_path = optarg;
            break;
        case 'r':
            run = optarg;
            break;
        default:
            usage(o == 'h' ? stdout : stderr);
            return o == 'h' ? EX_OK : EX_USAGE;
        }
    }
    const struct operation *op = NULL;
    for (size_t i = 0; optind < argc && i < sizeof operations / sizeof *operations; i++)
        if (strcmp(operations[i].name, argv[optind]) == 0)
            op = &operations[i];
    if (op == NULL) {
        usage(stderr);
        return EX_USAGE;
    }
    for (int i = optind + 1; i < argc; i++)
        json_array_append_new(ids, json_string(argv[i]));
    if (op->needs_target && !target && json_array_size(ids) == 0) {
        fprintf(stderr, "veredus queue %s: name message ids, a filter, or --all\n", op->name);
        return EX_USAGE;
    }
    json_object_set_new(request, "op", json_string(op->name));
    if (json_array_size(ids) > 0)
        json_object_set(request, "ids", ids);
    char folder[512];
    int code;
    json_t *answer = ask(run_folder(config_path, run, folder), request, &code);
    if (answer != NULL && json) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (answer != NULL) {
        op->print(answer);
    }
    json_decref(answer);
    json_decref(ids);
    json_decref(request);
    return code;
}

int cli_mailq(int argc, char **argv)
{
    /* mailq is sendmail -bp: the same options, -C among them */
    char *arguments[16];
    int n = 0;
    arguments[n++] = argv[0];
    arguments[n++] = (char *)"-bp";
    for (int i = 1; i < argc && n < 15; i++)
        arguments[n++] = argv[i];
    arguments[n] = NULL;
    return cli_sendmail(n, arguments);
}
