/* resolve.h - where a command connects to: a server as it was named, or the MX hosts of a domain. Blocks. */
#ifndef CLI_RESOLVE_H
#define CLI_RESOLVE_H

#include "io/io.h"
#include "io/stream.h"

struct server_name { /* "[smtp:|lmtp:]HOST[:PORT]" or "[lmtp:]unix:PATH" */
    bool lmtp;
    struct vr_str host;      /* a name to look up; empty when address stands already */
    uint16_t port;           /* 0: none was named */
    struct io_address address;
};
bool server_name_parse(struct vr_str text, struct server_name *out);

struct resolve_target {
    struct vr_str host; /* name for messages and TLS; empty for a UNIX socket */
    struct io_address address;
};
struct resolve {
    struct vr_arena *arena;
    struct resolve_target *targets; /* in the order to be tried */
    size_t count;
    int code;         /* of sysexits.h; EX_OK when there are targets */
    char error[400];  /* what went wrong, when there are none */
};
/* dns_server: "127.0.0.1@53" or NULL (the system's). */
void resolve_host(struct io *io, const char *dns_server, struct vr_str host, uint16_t port, struct resolve *out);
/* RFC 5321 §5.1: MX by preference, or the domain itself; null MX (RFC 7505); address literals. */
void resolve_domain(struct io *io, const char *dns_server, struct vr_str domain, uint16_t port, struct resolve *out);

#endif
