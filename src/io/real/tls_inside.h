/* tls_inside.h - a TLS context's inside, for tls.c and stream_tls.c. */
#ifndef IO_REAL_TLS_INSIDE_H
#define IO_REAL_TLS_INSIDE_H

#include "io/tls.h"

#include <openssl/ssl.h>

struct tls_entry {
    char *names; /* blank-separated */
    SSL_CTX *ctx;
};

struct io_tls {
    bool server;
    SSL_CTX *ctx; /* the default; owned by entries[0] on a server */
    struct tls_entry *entries;
    size_t count;
};

/* tls_peer.c */
void tls_binding(SSL *ssl, struct io_tls_binding *out);
bool tls_peer_addresses(X509 *peer, struct vr_buf *out);

/* The oldest reason in OpenSSL's queue as text, the queue emptied. */
void tls_reason(char *out, size_t n);

/* Does a host's name match one of a certificate or of a tls section, "*.example.org" included? */
bool tls_name_matches(struct vr_str pattern, struct vr_str name);

#endif
