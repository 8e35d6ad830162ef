/* tls.h - TLS contexts (OpenSSL 3): TLS 1.2 and 1.3 only, no renegotiation, no compression.
 */
#ifndef IO_TLS_H
#define IO_TLS_H

#include <veredus/base.h>

struct io_tls; /* immutable once a stream uses it, but for io_tls_replace; may be used by many streams; freed after them */

enum io_tls_verify {
    IO_TLS_OPPORTUNISTIC, /* any certificate will do */
    IO_TLS_VERIFY,        /* chain to a trusted CA, and the name must match */
    IO_TLS_VERIFY_DNS_ID  /* the same, and a common name is no name: MTA-STS (RFC 8461 §4.2) */
};

struct io_tls_info {
    char protocol[12];    /* "TLSv1.3" */
    char cipher[40];      /* "TLS_AES_256_GCM_SHA384" */
    unsigned bits;
    char server_name[256];/* SNI: what the client asked for (server), or what was asked (client); "" if none */
    bool verified;        /* the peer's certificate was verified: a server's against our CAs and its name, a client's against those of
                             io_tls_ask_clients */
    bool dane;            /* verified by a TLSA record */
    char peer_subject[256];/* "": it showed no certificate */
    char peer_error[96];   /* of a certificate that does not verify, and did not have to: why; "" */
};

struct io_tls_certificate {
    const char *names;       /* blank-separated host names for SNI, "*.x" allowed; "" the default */
    const char *certificate; /* path of a PEM chain */
    const char *key;         /* path of its PEM key */
    struct vr_str certificate_pem, key_pem; /* what the files hold, when it was read already (p not NULL): the paths are for messages then */
};

/* Server context; the first certificate is the default. *error gets a sentence that names the file. NULL on failure. */
struct io_tls *io_tls_server(const struct io_tls_certificate *certificates, size_t n, char error[256]);
/* Client context. ca_file: PEM of trusted CAs; NULL: the system's. */
struct io_tls *io_tls_client(const char *ca_file, char error[256]);
/* Another certificate in the place of the n-th (from 0), which keeps its names: handshakes that begin from now on show it, sessions that stand go
 * on as they are. False: it cannot be used, *error says why as above, and the old one stays. */
bool io_tls_replace(struct io_tls *server, size_t n, const struct io_tls_certificate *c, char error[256]);
/* Server: clients are asked for a certificate, signed by one of these CAs (PEM). One without a certificate, or whose certificate does not
 * verify, is served all the same: io_tls_info.verified tells. False: *error is a sentence that names the file. */
bool io_tls_ask_clients(struct io_tls *server, const char *ca_file, char error[256]);
/* Client: the certificate that is shown to a server which asks (names are not used). False: as above. */
bool io_tls_show(struct io_tls *client, const struct io_tls_certificate *own, char error[256]);
void io_tls_free(struct io_tls *t);

/* Channel binding data: the same at both ends, unless somebody stands between. n 0: there is none of this type. */
struct io_tls_binding {
    uint8_t exporter[32]; /* tls-exporter (RFC 9266): with TLS 1.3, and with 1.2 where the extended master secret is used (§4.2) */
    size_t exporter_n;
    uint8_t unique[64]; /* tls-unique (RFC 5929 §3): with TLS 1.2 and the extended master secret only, RFC 7627 §1 says why */
    size_t unique_n;
    uint8_t end_point[64]; /* tls-server-end-point (RFC 5929 §4.1): not of a certificate that is signed without a hash (Ed25519) */
    size_t end_point_n;
};

/* Writes a self-signed certificate (EC P-256) for `name` and 127.0.0.1/::1 to two PEM files (key 0600), valid `days`. For the first start
 * and the dev mode. 0 or negative errno. */
int io_tls_self_signed(const char *name, unsigned days, const char *certificate_path, const char *key_path);

#endif
