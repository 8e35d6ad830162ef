/* connect.c - see connect.h.
 *
 * Tests: tests/e2e/test_tools.py, tests/e2e/test_etrn.py
 */
#include "cli/connect.h"

#include <stdio.h>
#include <string.h>

static const char *const tls_words[] = {[TLS_NONE] = "none",
                                        [TLS_MAY] = "may",
                                        [TLS_REQUIRED] = "required",
                                        [TLS_VERIFY] = "verify",
                                        [TLS_IMPLICIT] = "implicit"};

bool connect_complain(const char *command, const char *what, const char *why)
{
    fprintf(stderr, "veredus %s: %s: %s\n", command, what, why);
    return false;
}

bool connect_take_tls(const char *command, const char *word, enum tls_word *out)
{
    for (size_t i = 0; i < sizeof tls_words / sizeof *tls_words; i++)
        if (strcmp(word, tls_words[i]) == 0) {
            *out = (enum tls_word)i;
            return true;
        }
    return connect_complain(command, word, "--tls takes none, may, required, verify or implicit");
}

bool connect_take_timeout(const char *command, const char *text, uint64_t *out)
{
    if (vr_str_to_u64(vr_str_from(text), out) && *out > 0 && *out < 1000000)
        return true;
    return connect_complain(command, text, "--timeout takes a number of seconds, from 1 on");
}

void connect_set_tls(struct session_options *o, enum tls_word word, bool insecure)
{
    static const enum session_tls tls[] = {[TLS_NONE] = SESSION_TLS_NONE,
                                           [TLS_MAY] = SESSION_TLS_MAY,
                                           [TLS_REQUIRED] = SESSION_TLS_REQUIRED,
                                           [TLS_VERIFY] = SESSION_TLS_REQUIRED,
                                           [TLS_IMPLICIT] = SESSION_TLS_IMPLICIT};
    o->tls = tls[word];
    o->verify = (word == TLS_VERIFY || word == TLS_IMPLICIT) && !insecure;
}

void connect_find(struct io *io, const char *dns, const struct server_name *name, uint16_t port,
                  struct resolve_target *one, struct resolve *out)
{
    if (name->port != 0)
        port = name->port;
    if (name->host.n > 0) {
        resolve_host(io, dns, name->host, port, out);
        return;
    }
    *one = (struct resolve_target){.address = name->address};
    if (one->address.family != IO_UNIX)
        one->address.port = port;
    out->targets = one;
    out->count = 1;
}

void connect_run(struct io *io, struct session_options *o, const struct resolve *hosts,
                 struct session_result *result)
{
    char ip[IO_ADDRESS_TEXT];
    for (size_t i = 0; i < hosts->count; i++) {
        o->address = hosts->targets[i].address;
        /* a server named by its address has a certificate for it, or none that can be verified */
        io_address_ip_text(&o->address, ip);
        o->name = hosts->targets[i].host.n > 0 ? hosts->targets[i].host : vr_str_from(ip);
        if (o->address.family == IO_UNIX)
            o->tls = SESSION_TLS_NONE;
        session_run(io, o, result);
        if (result->transaction || result->answered > 0 || !result->failed || result->failure.permanent)
            break;
    }
}
