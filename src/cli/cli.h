/* cli.h - the commands of `veredus`: one file each, one row each in main.c's table.
 *
 * A command gets its own name as argv[0] and returns an exit code of sysexits.h.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cli_serve(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_account(int argc, char **argv);
int cli_queue(int argc, char **argv);
int cli_send(int argc, char **argv);
int cli_version(int argc, char **argv);

/* Also by argv[0]: sendmail, mailq, newaliases. */
int cli_sendmail(int argc, char **argv);
int cli_mailq(int argc, char **argv);
int cli_newaliases(int argc, char **argv);

#endif
