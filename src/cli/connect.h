/* connect.h - what commands that speak to a server share (send, etrn): options about the way there, its hosts, one host after the other.
 */
#ifndef CLI_CONNECT_H
#define CLI_CONNECT_H

#include "cli/resolve.h"
#include "cli/session.h"

enum tls_word { TLS_NONE, TLS_MAY, TLS_REQUIRED, TLS_VERIFY, TLS_IMPLICIT }; /* of --tls */

/* Says on standard error: "veredus COMMAND: what: why". False, for the caller to return. */
bool connect_complain(const char *command, const char *what, const char *why);
/* The arguments of --tls and --timeout (seconds). False: they are wrong, and it was said. */
bool connect_take_tls(const char *command, const char *word, enum tls_word *out);
bool connect_take_timeout(const char *command, const char *text, uint64_t *out);
/* What --tls and --insecure mean for a session. */
void connect_set_tls(struct session_options *o, enum tls_word word, bool insecure);
/* Where a server is, by what server_name_parse made of its name; port: when the name has none. one: memory for a server that is named by its address. */
void connect_find(struct io *io, const char *dns, const struct server_name *name, uint16_t port,
                  struct resolve_target *one, struct resolve *out);
/* Host after host, until one of them gives an answer. o->address and o->name are set here. */
void connect_run(struct io *io, struct session_options *o, const struct resolve *hosts,
                 struct session_result *result);

#endif
