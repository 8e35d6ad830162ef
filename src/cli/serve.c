/* serve.c - `veredus serve`: reads the configuration and becomes the supervisor. */
#include "cli/cli.h"

#include "config/config.h"
#include "io/fs.h"
#include "io/process.h"
#include "supervisor/supervisor.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static void usage(FILE *out)
{
    fputs(
        "usage: veredus serve [--config FILE] [--foreground]\n\n"
        "  --config FILE  the configuration (default " CONFIG_DEFAULT_PATH ")\n"
        "  --foreground   as the calling user, without changing users: for a laptop, a test, a container\n\n"
        "SIGHUP reads the configuration again, SIGTERM stops in order. Events go to standard error.\n",
        out);
}

static void report(const struct config_load *load)
{
    for (const struct config_problem *p = load->problems; p != NULL; p = p->next)
        fprintf(stderr, "%s:%d: %s%s\n", p->file, p->line, p->warning ? "warning: " : "", p->message);
}

int cli_serve(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"foreground", no_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct supervisor_options how = {.config_path = CONFIG_DEFAULT_PATH};
    optind = 0;
    for (int o; (o = getopt_long(argc, argv, "c:fh", options, NULL)) != -1;) {
        if (o == 'c')
            how.config_path = optarg;
        else if (o == 'f')
            how.foreground = true;
        else {
            if (o != 'h')
                return cli_wrong_option(argv[0]);
            usage(stdout);
            return EX_OK;
        }
    }
    if (optind < argc)
        return cli_wrong_usage(argv[0], "\"%s\" is one argument too many", argv[optind]);
    if (!how.foreground && !io_is_root()) {
        fprintf(
            stderr,
            "veredus serve: not root: start it as root, or with --foreground to run all of it as yourself\n");
        return EX_NOPERM;
    }
    struct config_load *load = config_load_file(how.config_path);
    report(load);
    struct config *config = load->errors == 0 ? config_take(load) : NULL;
    unsigned errors = load->errors;
    config_load_free(load);
    if (config == NULL) {
        fprintf(stderr, "veredus serve: %u error%s in the configuration; nothing was started\n", errors,
                errors == 1 ? "" : "s");
        return EX_CONFIG;
    }
    return supervisor_run(config, &how);
}
