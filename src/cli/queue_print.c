/* queue_print.c - messages and the summary as people read them. Text of strangers is masked: control bytes could drive a terminal.
 *
 * Tests: tests/e2e/test_tools.py
 */
#include "cli/clean.h"
#include "cli/cli.h"
#include "cli/queue_inside.h"

#include <stdio.h>
#include <string.h>

const char *queue_text_of(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL ? s : "";
}

int64_t queue_number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void print_clean(const char *s)
{
    cli_put_clean(stdout, vr_str_from(s), "");
}

/* Text of many lines: these and tabs stay, a CR before its LF goes. */
static void print_text(const char *s)
{
    struct vr_str rest = vr_str_from(s), line;
    while (vr_str_split(&rest, '\n', &line)) {
        bool ends = rest.p > line.p + line.n;
        if (ends && line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        cli_put_clean(stdout, line, "\t");
        if (ends)
            putchar('\n');
    }
}

static void print_recipient(const json_t *r, bool colours)
{
    const char *status = queue_text_of(r, "status");
    const char *colour = strcmp(status, "deferred") == 0 ? "\033[33m"
                         : strcmp(status, "failed") == 0 ? "\033[31m"
                                                         : "";
    printf("    %s%-8s%s ", colours ? colour : "", status, colours && *colour ? "\033[0m" : "");
    print_clean(queue_text_of(r, "address"));
    if (*queue_text_of(r, "destination"))
        printf("  via %s", queue_text_of(r, "destination"));
    if (queue_number_of(r, "attempts") > 0)
        printf("  attempts %lld", (long long)queue_number_of(r, "attempts"));
    if (*queue_text_of(r, "next"))
        printf("  next %s", queue_text_of(r, "next"));
    putchar('\n');
    if (*queue_text_of(r, "sent_as")) {
        printf("             forwarded from ");
        print_clean(queue_text_of(r, "sent_as"));
        putchar('\n');
    }
    if (*queue_text_of(r, "reply")) {
        printf("             ");
        print_clean(queue_text_of(r, "reply"));
        putchar('\n');
    }
}

void queue_print_message(const json_t *m)
{
    static int coloured = -1; /* asked once: there may be a million messages */
    if (coloured < 0)
        coloured = cli_coloured(1);
    const char *from = queue_text_of(m, "from");
    printf("%s  %s  %lld bytes  from ", queue_text_of(m, "id"), queue_text_of(m, "arrival"),
           (long long)queue_number_of(m, "size"));
    print_clean(*from ? from : "<>");
    if (queue_number_of(m, "priority") != 0)
        printf("  priority %lld", (long long)queue_number_of(m, "priority"));
    if (*queue_text_of(m, "deliver_by"))
        printf("  %s %s", strcmp(queue_text_of(m, "then"), "return") == 0 ? "returned at" : "late from",
               queue_text_of(m, "deliver_by"));
    printf("%s", json_is_true(json_object_get(m, "held")) ? "  HELD" : "");
    if (*queue_text_of(m, "held_until"))
        printf(" until %s", queue_text_of(m, "held_until"));
    putchar('\n');
    size_t i;
    json_t *r;
    json_array_foreach(json_object_get(m, "recipients"), i, r)
    {
        print_recipient(r, coloured > 0);
    }
}

void queue_print_whole(const json_t *m)
{
    static const char *const facts[] = {"client", "helo", "user", "envid", "tls"};
    queue_print_message(m);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (*queue_text_of(m, facts[i])) {
            printf("    %-8s ", facts[i]);
            print_clean(queue_text_of(m, facts[i]));
            putchar('\n');
        }
    putchar('\n');
    if (*queue_text_of(m, "error"))
        printf("[%s]\n", queue_text_of(m, "error"));
    print_text(queue_text_of(m, "header"));
    print_text(queue_text_of(m, "body"));
    size_t n = strlen(queue_text_of(m, "body"));
    if (n > 0 && queue_text_of(m, "body")[n - 1] != '\n')
        putchar('\n');
    if (json_is_true(json_object_get(m, "body_cut")))
        printf("[... the text goes on; --full shows more]\n");
}

void queue_print_done(const json_t *end)
{
    static const struct {
        const char *op, *done, *dry;
    } words[] = {{"retry", "will be tried now", "would be tried now"},
                 {"hold", "held", "would be held"},
                 {"release", "released", "would be released"},
                 {"remove", "removed", "would be removed"}};
    long long n = (long long)queue_number_of(end, "count");
    bool dry = json_is_true(json_object_get(end, "dry_run"));
    const char *done = "done";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].op, queue_text_of(end, "op")) == 0)
            done = dry ? words[i].dry : words[i].done;
    printf("%lld message%s %s\n", n, n == 1 ? "" : "s", done);
    if (json_is_false(json_object_get(end, "safe")) && !dry)
        fprintf(
            stderr,
            "veredus: this is in effect, but the disk took no record of all of it yet, so a crash may undo "
            "it: veredus tries"
            " again each second; look for log.write_failed and at the space in the spool's file system\n");
}

/* ---- the summary ------------------------------------------------------------------------------------------------------------- */

static void print_destination(const json_t *d)
{
    printf("%-14s ", "destination");
    print_clean(queue_text_of(d, "destination"));
    printf(": %lld under way of %lld at a time, %lld ready", (long long)queue_number_of(d, "active"),
           (long long)queue_number_of(d, "limit"), (long long)queue_number_of(d, "ready"));
    if (json_object_get(d, "dead_s") != NULL) {
        printf("; rests for %lld s: ", (long long)queue_number_of(d, "dead_s"));
        print_clean(queue_text_of(d, "reason"));
    }
    putchar('\n');
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

void queue_print_summary(const json_t *end)
{
    const char *key;
    json_t *value, *destination;
    size_t i;
    json_object_foreach((json_t *)end, key, value)
    {
        if (json_is_object(value))
            print_log(value);
        else if (json_is_boolean(value))
            printf("%-14s %s\n", key, json_is_true(value) ? "yes" : "no");
        else if (json_is_string(value))
            printf("%-14s %s\n", key, json_string_value(value));
        else if (json_is_integer(value))
            printf("%-14s %lld\n", key, (long long)json_integer_value(value));
    }
    json_array_foreach(json_object_get(end, "destinations"), i, destination)
    {
        print_destination(destination);
    }
}
