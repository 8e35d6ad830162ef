/* tls.c - `veredus tls`: the certificates that the server shows, when they expire, and what is wrong with them.
 *
 * Source:      the running server, since what it has loaded is what its clients see; when it does not run (or with --files), the files that
 *              the configuration names. A file that holds something else than what is loaded is told.
 * Exit code:   0 all is well, 1 something needs somebody; the others of sysexits(3).
 * Tests:       tests/e2e/test_certificates.py
 */
#include "cli/cli.h"
#include "cli/queue_inside.h"
#include "cli/tls_inside.h"

#include "config/certificates.h"
#include "io/certificate.h"
#include "io/env.h"
#include "io/tls.h"

#include <veredus/message.h>

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define DAY_S        86400
#define WARN_DEFAULT 14
#define ARENA_MAX    (1u << 20)
#define PROBLEMS_MAX 8
#define EXIT_TROUBLE 1

struct look {
    const char *self, *config_path, *run;
    bool files, json;
    uint64_t warn_days;
    int64_t now; /* seconds since 1970 */
    bool trouble;
    unsigned shown;
};

/* One certificate, with what is to be said of it. */
struct seen {
    const char *names, *chain_path, *key_path;
    bool loaded; /* the server has it */
    bool read;   /* x holds what it says */
    struct vr_str pem;
    struct vr_arena arena;
    struct io_certificate x;
    char problems[PROBLEMS_MAX][512];
    size_t problem_count;
    char note[512]; /* no problem, but worth a line */
};

static void usage(FILE *out)
{
    fputs("usage: veredus tls [--json] [--warn DAYS] [--files] [--config FILE] [--run DIR]\n\n"
          "Shows the certificates that the running server has loaded, or, when it does not run, those in the "
          "files.\n\n"
          "  --warn DAYS    a certificate that expires within so many days is a problem (default 14)\n"
          "  --files        looks at the files that the configuration names, and does not ask the server\n"
          "  --json         a JSON object a line, for each certificate\n"
          "  --config FILE  the configuration (default " CONFIG_DEFAULT_PATH ")\n"
          "  --run DIR      the \"run\" folder of the server, instead of the configuration's\n\n"
          "Exit code: 0 all is well, 1 a certificate has a problem or expires soon, 75 the server gave no "
          "answer.\n",
          out);
}

static void problem(struct seen *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void problem(struct seen *s, const char *format, ...)
{
    va_list list;
    if (s->problem_count == PROBLEMS_MAX)
        return;
    va_start(list, format);
    vsnprintf(s->problems[s->problem_count++], sizeof s->problems[0], format, list);
    va_end(list);
}

/* ---- judging ------------------------------------------------------------------------------------------------- */

static int64_t days_left(const struct look *l, const struct seen *s)
{
    int64_t left = s->x.not_after - l->now;
    return left >= 0 ? left / DAY_S : -((-left + DAY_S - 1) / DAY_S);
}

static void judge_dates(const struct look *l, struct seen *s)
{
    int64_t days = days_left(l, s);
    if (s->x.not_before > l->now)
        problem(s, "it is not valid yet: is this machine's clock right?");
    if (s->x.not_after <= l->now)
        problem(s, "it has expired: put a renewed one into %s, with its key", s->chain_path);
    else if (days < (int64_t)l->warn_days)
        problem(s, "it expires in %lld day%s: renew it", (long long)days, days == 1 ? "" : "s");
}

static void judge_names(struct seen *s)
{
    struct vr_str names = vr_str_from(s->names), name;
    while (vr_str_split(&names, ' ', &name))
        if (name.n > 0 && !io_certificate_is_for(&s->x, name))
            problem(s, "it is not for %.*s, which its tls section names", VR_STR_ARG(name));
}

static void judge_chain(const struct look *l, struct seen *s)
{
    char why[256];
    if (!io_certificate_chain_problem(s->pem, NULL, l->now, why))
        return;
    if (s->x.self_signed)
        snprintf(s->note, sizeof s->note, "%s", why);
    else
        problem(s, "%s", why);
}

/* Do the files hold what is loaded? */
static void judge_files(struct seen *s)
{
    struct vr_buf now;
    char error[256];
    vr_buf_init(&now, CERTIFICATE_FILE_MAX);
    int status = io_fs_read_file(s->chain_path, &now);
    struct io_tls_certificate pair = {.names = "", .certificate = s->chain_path, .key = s->key_path};
    if (s->loaded && status == 0 && vr_str_equal(vr_buf_str(&now), s->pem)) {
        vr_buf_fini(&now);
        return;
    }
    vr_buf_fini(&now);
    if (s->loaded && (status == -EACCES || status == -EPERM))
        return; /* not for us to know */
    struct io_tls *tls = io_tls_server(&pair, 1, error);
    if (tls == NULL)
        problem(s, "%s%s", s->loaded ? "its files were changed, and the server keeps what it had: " : "",
                error);
    else if (s->loaded)
        snprintf(s->note, sizeof s->note,
                 "its files were changed a moment ago; the server looks at them every two seconds");
    io_tls_free(tls);
}

static void judge(const struct look *l, struct seen *s)
{
    char error[256];
    if (!io_certificate_read(&s->arena, s->pem, &s->x, error)) {
        problem(s, "%s: %s", s->chain_path, error);
        return;
    }
    s->read = true;
    judge_dates(l, s);
    judge_names(s);
    judge_chain(l, s);
    judge_files(s);
}

/* ---- showing --------------------------------------------------------------------------------------------------- */

static void hex_text(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void day_text(int64_t seconds, char out[MESSAGE_RFC3339_SIZE])
{
    char text[MESSAGE_RFC3339_SIZE];
    size_t n = message_rfc3339_write(text, seconds * 1000000);
    snprintf(out, MESSAGE_RFC3339_SIZE, "%.*s", (int)(n < 10 ? n : 10), text);
}

static void show_facts(const struct look *l, const struct seen *s)
{
    char from[MESSAGE_RFC3339_SIZE], to[MESSAGE_RFC3339_SIZE], hex[65];
    int64_t days = days_left(l, s);
    day_text(s->x.not_before, from);
    day_text(s->x.not_after, to);
    hex_text(s->x.tlsa_3_1_1, sizeof s->x.tlsa_3_1_1, hex);
    printf("  names    ");
    for (size_t i = 0; i < s->x.name_count; i++)
        printf("%s%.*s", i > 0 ? ", " : "", VR_STR_ARG(s->x.names[i]));
    if (s->x.names_in_all > s->x.name_count)
        printf(" and %zu more", s->x.names_in_all - s->x.name_count);
    printf("\n  issuer   %s%.*s\n", s->x.self_signed ? "itself, " : "", VR_STR_ARG(s->x.issuer));
    printf("  key      %s\n", s->x.key);
    printf("  valid    %s to %s (%lld day%s %s)\n", from, to, (long long)(days < 0 ? -days : days),
           days == 1 || days == -1 ? "" : "s", days < 0 ? "ago" : "left");
    printf("  chain    %u certificate%s behind it\n", s->x.chain, s->x.chain == 1 ? "" : "s");
    printf("  TLSA     3 1 1 %s\n", hex);
}

static void show_text(const struct look *l, const struct seen *s)
{
    if (l->shown > 0)
        putchar('\n');
    printf("%s: %s%s\n", s->names[0] != '\0' ? s->names : "without a tls section", s->chain_path,
           s->loaded ? "" : " (in the file; the server was not asked)");
    if (s->read)
        show_facts(l, s);
    if (s->note[0] != '\0')
        printf("  note     %s\n", s->note);
    for (size_t i = 0; i < s->problem_count; i++)
        printf("  PROBLEM  %s\n", s->problems[i]);
}

static void put(json_t *o, const char *key, struct vr_str text)
{
    json_object_set_new(o, key, json_stringn(text.p, text.n)); /* what is not UTF-8 is left out */
}

static void put_facts(const struct look *l, const struct seen *s, json_t *o)
{
    char time[MESSAGE_RFC3339_SIZE], hex[65];
    json_t *names = json_array();
    for (size_t i = 0; i < s->x.name_count; i++)
        json_array_append_new(names, json_stringn(s->x.names[i].p, s->x.names[i].n));
    json_object_set_new(o, "names", names);
    put(o, "subject", s->x.subject);
    put(o, "issuer", s->x.issuer);
    json_object_set_new(o, "self_signed", json_boolean(s->x.self_signed));
    json_object_set_new(o, "key_type", json_string(s->x.key));
    put(o, "not_before", vr_str(time, message_rfc3339_write(time, s->x.not_before * 1000000)));
    put(o, "not_after", vr_str(time, message_rfc3339_write(time, s->x.not_after * 1000000)));
    json_object_set_new(o, "days_left", json_integer(days_left(l, s)));
    json_object_set_new(o, "chain", json_integer(s->x.chain));
    hex_text(s->x.sha256, sizeof s->x.sha256, hex);
    json_object_set_new(o, "sha256", json_string(hex));
    hex_text(s->x.tlsa_3_1_1, sizeof s->x.tlsa_3_1_1, hex);
    json_object_set_new(o, "tlsa", json_pack("[iiis]", 3, 1, 1, hex));
}

static void show_json(const struct look *l, const struct seen *s)
{
    json_t *o = json_object(), *problems = json_array();
    put(o, "section", vr_str_from(s->names));
    put(o, "certificate", vr_str_from(s->chain_path));
    put(o, "key", vr_str_from(s->key_path));
    json_object_set_new(o, "loaded", json_boolean(s->loaded));
    if (s->read)
        put_facts(l, s, o);
    for (size_t i = 0; i < s->problem_count; i++)
        json_array_append_new(problems, json_string(s->problems[i]));
    json_object_set_new(o, "problems", problems);
    if (s->note[0] != '\0')
        put(o, "note", vr_str_from(s->note));
    char *text = json_dumps(o, JSON_COMPACT);
    assert(text != NULL);
    puts(text);
    free(text);
    json_decref(o);
}

static void show(void *arg, const struct tls_shown *t)
{
    struct look *l = arg;
    struct seen s = {.names = t->names,
                     .chain_path = t->chain_path,
                     .key_path = t->key_path,
                     .pem = t->pem,
                     .loaded = t->loaded};
    vr_arena_init(&s.arena, ARENA_MAX);
    judge(l, &s);
    if (l->json)
        show_json(l, &s);
    else
        show_text(l, &s);
    l->shown++;
    l->trouble = l->trouble || s.problem_count > 0;
    vr_arena_fini(&s.arena);
}

/* ---- sources ----------------------------------------------------------------------------------------------------- */

static void on_line(void *arg, json_t *line, struct vr_str text)
{
    struct tls_source *s = arg;
    (void)text;
    if (json_object_get(line, "pem") == NULL)
        return;
    const struct tls_shown t = {.names = queue_text_of(line, "names"),
                                .chain_path = queue_text_of(line, "certificate"),
                                .key_path = queue_text_of(line, "key"),
                                .pem = vr_str_from(queue_text_of(line, "pem")),
                                .loaded = true};
    s->each(s->arg, &t);
}

static bool go_on(void *arg)
{
    (void)arg;
    return true;
}

static int ask_server(struct tls_source *s)
{
    const struct queue_answer answer = {.line = on_line, .shown = go_on, .arg = s, .absent = &s->absent};
    json_t *request = json_pack("{ss}", "op", "tls");
    int code = queue_ask(s->self, s->run, request, &answer);
    json_decref(request);
    return code;
}

static void each_file(struct tls_source *s, const char *names, const char *chain_path, const char *key_path)
{
    struct vr_buf pem;
    vr_buf_init(&pem, CERTIFICATE_FILE_MAX);
    int status = io_fs_read_file(chain_path, &pem);
    if (status != 0) {
        fprintf(stderr, "%s: cannot read %s: %s\n", s->self, chain_path, io_error_text(status));
        s->trouble = true;
    } else {
        const struct tls_shown t = {
            .names = names, .chain_path = chain_path, .key_path = key_path, .pem = vr_buf_str(&pem)};
        s->each(s->arg, &t);
    }
    vr_buf_fini(&pem);
}

static void each_of_files(struct tls_source *s)
{
    const struct config *c = s->config;
    char own[2][512];
    snprintf(own[0], sizeof own[0], "%s/self-signed.pem", c->state);
    snprintf(own[1], sizeof own[1], "%s/self-signed.key", c->state);
    for (size_t i = 0; i < c->tls_count; i++)
        each_file(s, c->tls[i].names, c->tls[i].certificate, c->tls[i].key);
    if (c->tls_count == 0)
        each_file(s, "", own[0], own[1]);
}

int tls_each(struct tls_source *s)
{
    int code = s->files ? EX_OK : ask_server(s);
    if (code != EX_OK || !(s->files || s->absent))
        return code;
    if (s->config == NULL)
        return EX_CONFIG;
    each_of_files(s);
    return EX_OK;
}

static int look(struct look *l)
{
    struct config_load *load = l->run != NULL && !l->files ? NULL : config_load_file(l->config_path);
    struct tls_source s = {.self = l->self,
                           .run = l->run != NULL      ? l->run
                                  : load->run != NULL ? load->run
                                                      : CLI_DEFAULT_RUN,
                           .config = load != NULL ? load->config : NULL,
                           .files = l->files,
                           .each = show,
                           .arg = l};
    int code = tls_each(&s);
    if (code == EX_CONFIG)
        fprintf(stderr, "%s: %s%s cannot be used; `veredus check %s` says why\n", l->self,
                s.absent ? "the server does not run, and the configuration " : "", l->config_path,
                l->config_path);
    config_load_free(load);
    return code != EX_OK ? code : l->trouble || s.trouble ? EXIT_TROUBLE : EX_OK;
}

int cli_tls(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"warn", required_argument, NULL, 'w'},
                                            {"files", no_argument, NULL, 'f'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"run", required_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct look l = {.self = argv[0], .config_path = CONFIG_DEFAULT_PATH, .warn_days = WARN_DEFAULT};
    l.now = io_env_clock_us() / 1000000;
    optind = 0;
    for (int o; (o = getopt_long(argc, argv, "jw:fc:r:h", options, NULL)) != -1;) {
        if (o == 'j') {
            l.json = true;
        } else if (o == 'f') {
            l.files = true;
        } else if (o == 'c') {
            l.config_path = optarg;
        } else if (o == 'r') {
            l.run = optarg;
        } else if (o == 'w') {
            if (!vr_str_to_u64(vr_str_from(optarg), &l.warn_days) || l.warn_days > 36500)
                return cli_wrong_usage(argv[0], "--warn takes a number of days, not \"%s\"", optarg);
        } else {
            if (o != 'h')
                return cli_wrong_option(argv[0]);
            usage(stdout);
            return EX_OK;
        }
    }
    if (optind < argc)
        return cli_wrong_usage(argv[0], "\"%s\" is one argument too many", argv[optind]);
    return look(&l);
}
