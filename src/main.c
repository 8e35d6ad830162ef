/* main.c - the command table: `veredus COMMAND …`, or a command by the name that the program is called by (sendmail, mailq, newaliases).
 */
#include "cli/cli.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *purpose; /* NULL: not listed */
} commands[] = {
    {"serve", cli_serve, "run the mail server"},
    {"check", cli_check, "check a configuration and say all that is wrong with it"},
    {"account", cli_account, "add, list, remove accounts; change passwords"},
    {"dkim", cli_dkim, "make, rotate, list the keys that sign mail (DKIM)"},
    {"queue", cli_queue, "list, show, retry, hold, release, remove messages in the queue; verify a spool"},
    {"send", cli_send, "send a message to any server, with a trace of the dialogue"},
    {"etrn", cli_etrn, "ask a server for the mail that waits there (ETRN)"},
    {"dns", cli_dns, "print the DNS records that a domain should publish, or check those that it has"},
    {"tls", cli_tls, "show the certificates that the server has loaded, and when they expire"},
    {"report", cli_report, "read DMARC and TLS reports of others"},
    {"sendmail", cli_sendmail, "hand a message to this machine's server, as sendmail(1) does"},
    {"mailq", cli_mailq, NULL},
    {"newaliases", cli_newaliases, NULL},
    {"version", cli_version, "print the version"},
};

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void help(FILE *out)
{
    fprintf(out, "veredus: an SMTP server and its tools\n\nusage: veredus COMMAND [ARGUMENT...]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (commands[i].purpose != NULL)
            fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].purpose);
    fprintf(out, "\n`veredus COMMAND --help` tells more. The configuration is /etc/veredus/veredus.conf; its "
                 "keys are in\n"
                 "docs/configuration.md. Called as sendmail, mailq or newaliases it behaves as they do.\n");
}

/* What was printed may not have got where it should: a full disk, for a list or a configuration that is kept. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return code;
    fprintf(stderr, "veredus: standard output could not be written; what it got is not complete\n");
    return code == EX_OK ? EX_IOERR : code;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *self = slash != NULL ? slash + 1 : argv[0];
    const struct command *by_name = find(self);
    if (by_name != NULL)
        return finish(by_name->run(argc, argv));
    if (argc < 2) {
        help(stderr);
        return EX_USAGE;
    }
    bool asks_help = strcmp(argv[1], "help") == 0;
    if ((asks_help && argc == 2) || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help(stdout);
        return EX_OK;
    }
    const char *name = asks_help ? argv[2] : strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    const struct command *command = find(name);
    if (command == NULL) {
        fprintf(stderr, "veredus: there is no command \"%s\"; `veredus help` lists them\n", name);
        return EX_USAGE;
    }
    char full[64]; /* what the command calls itself in its messages */
    snprintf(full, sizeof full, "veredus %s", command->name);
    char *explain[] = {full, (char *)"--help", NULL};
    argv[1] = full;
    return finish(asks_help ? command->run(2, explain) : command->run(argc - 1, argv + 1));
}
