/* cli.h - the commands of `veredus`: one file each, one row each in main.c's table.
 *
 * A command gets its own name as argv[0] ("veredus queue", "mailq") and returns an exit code of sysexits.h.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>

/* The folder of the sockets when no configuration can be read. */
#define CLI_DEFAULT_RUN "/run/veredus"

int cli_serve(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_account(int argc, char **argv);
int cli_dkim(int argc, char **argv);
int cli_queue(int argc, char **argv);
/* `queue verify`: spool NULL: the configuration's. */
int cli_queue_verify(const char *self, const char *spool, const char *config_path, bool json);
int cli_send(int argc, char **argv);
int cli_etrn(int argc, char **argv);
int cli_dns(int argc, char **argv);
int cli_report(int argc, char **argv);
int cli_tls(int argc, char **argv);
int cli_version(int argc, char **argv);

/* Also by argv[0]: sendmail, mailq, newaliases. */
int cli_sendmail(int argc, char **argv);
int cli_mailq(int argc, char **argv);
int cli_newaliases(int argc, char **argv);

/* For a wrong command line: says what, and where more is told; both return EX_USAGE. `self` is argv[0], such as "veredus queue". */
int cli_wrong_usage(const char *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
int cli_wrong_option(const char *self); /* getopt has named the option */
/* Colours on this descriptor: only on a terminal, and not when the user does not want them. */
bool cli_coloured(int fd);

#endif
