/* check.c - `veredus check`: reads a configuration and everything that it names, and says all that is wrong with it.
 *
 * Output:      file:line: what is wrong; what was expected. Sorted by file and line, one line each, a summary last.
 * Exit code:   0 fine or warnings only, 78 (EX_CONFIG) errors, 64 wrong usage.
 */
#include "cli/cli.h"

#include "config/config.h"
#include "keeper/check.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define PRINT_MAX_BYTES ((size_t)256 << 20)

static void usage(FILE *out)
{
    fputs("usage: veredus check [--print] [FILE]\n"
          "       veredus check --keys\n\n"
          "  FILE           the configuration (default " CONFIG_DEFAULT_PATH "); also as --config FILE\n"
          "  --print        show the whole configuration as it would be used, with all defaults (no "
          "passwords)\n"
          "  --keys         list every key as a table: unit, default, meaning, Postfix's name\n\n"
          "Exit code: 0 when the configuration can be used (warnings included), 78 when it cannot.\n",
          out);
}

static void print_keys(void)
{
    puts("| key | unit | default | meaning | Postfix |\n| --- | --- | --- | --- | --- |");
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        printf("| `%s%s%s` | %s | %s | %s | %s |\n", k->section, k->section[0] ? "." : "", k->key, k->unit,
               k->fallback, k->purpose, k->postfix ? k->postfix : "");
    }
}

struct found { /* in the files that accounts name */
    FILE *out;
    struct config_load *load;
    unsigned shown;
};

static void tell(void *arg, const char *file, int line, bool warning, const char *what)
{
    struct found *f = arg;
    f->shown++;
    *(warning ? &f->load->warnings : &f->load->errors) += 1;
    fprintf(f->out, "%s:%d: %s%s\n", file, line, warning ? "warning: " : "", what);
}

/* shown: those that are not in the list of the load. */
static void print_summary(const char *path, const struct config_load *load, unsigned shown)
{
    for (const struct config_problem *p = load->problems; p != NULL; p = p->next)
        shown++;
    if (shown < load->errors + load->warnings)
        printf("%s: %u more are not shown\n", path, load->errors + load->warnings - shown);
    if (load->errors == 0 && load->warnings == 0)
        printf("%s: no problems\n", path);
    else
        printf("%s: %u error%s, %u warning%s; %s\n", path, load->errors, load->errors == 1 ? "" : "s",
               load->warnings, load->warnings == 1 ? "" : "s",
               load->errors ? "it cannot be used" : "it can be used");
}

static void print_config(const struct config *c)
{
    struct vr_buf text;
    vr_buf_init(&text, PRINT_MAX_BYTES);
    if (config_print(c, &text))
        printf("%.*s", VR_STR_ARG(vr_buf_str(&text)));
    else
        fprintf(stderr, "veredus check: the configuration is too large to be printed\n");
    vr_buf_fini(&text);
}

int cli_check(int argc, char **argv)
{
    static const struct option options[] = {{"print", no_argument, NULL, 'p'},
                                            {"keys", no_argument, NULL, 'k'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = CONFIG_DEFAULT_PATH;
    bool print = false;
    optind = 0;
    for (int o; (o = getopt_long(argc, argv, "pkc:h", options, NULL)) != -1;) {
        if (o == 'p') {
            print = true;
        } else if (o == 'c') {
            path = optarg;
        } else if (o == 'k') {
            print_keys();
            return EX_OK;
        } else {
            if (o != 'h')
                return cli_wrong_option(argv[0]);
            usage(stdout);
            return EX_OK;
        }
    }
    if (optind < argc)
        path = argv[optind++];
    if (optind < argc)
        return cli_wrong_usage(argv[0], "\"%s\" is one argument too many", argv[optind]);
    struct config_load *load = config_load_file(path);
    FILE *out = print ? stderr : stdout; /* with --print the configuration alone goes to standard output */
    for (const struct config_problem *p = load->problems; p; p = p->next)
        fprintf(out, "%s:%d: %s%s\n", p->file, p->line, p->warning ? "warning: " : "", p->message);
    struct found found = {.out = out, .load = load};
    if (load->config)
        keeper_check(load->config, tell, &found);
    if (print && load->config)
        print_config(load->config);
    else
        print_summary(path, load, found.shown);
    int code = load->errors ? EX_CONFIG : EX_OK;
    config_load_free(load);
    return code;
}
