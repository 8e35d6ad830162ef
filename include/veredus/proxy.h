/* proxy.h - the PROXY protocol, versions 1 and 2, sans I/O: who the client of a load balancer is (HAProxy's proxy-protocol.txt).
 *
 * A proxy that passes connections on says, before anything else, whom it speaks for. proxy_reader_feed() takes bytes until the header is whole, and
 * never one more: what follows belongs to the next protocol (a TLS handshake, SMTP).
 *
 *     switch (proxy_reader_feed(&r, in, &taken, &header)) {
 *     case PROXY_MORE: wait for more;                 // all of `in` was taken
 *     case PROXY_DONE: the client is header.source;   // go on with in[taken..]
 *     case PROXY_BAD:  close; say proxy_reader_why(&r);
 *     }
 *
 * Trust:      whoever may speak first may say that it is anybody. The owner takes a header from its own proxies only, and then demands one.
 * Bounds:     version 1: 107 bytes with CRLF. Version 2: 16 bytes and those that they announce, up to the owner's limit. What cannot become a header is
 *             refused at its first wrong byte. What is in the header does not depend on the pieces in which it came.
 * Tests:      tests/unit/proxy.c, tests/fuzz/fuzz_proxy.c
 */
#ifndef VEREDUS_PROXY_H
#define VEREDUS_PROXY_H

#include <veredus/base.h>

#define PROXY_V1_MAX    107  /* octets of a whole header of version 1 */
#define PROXY_V2_FIXED  16   /* octets before the addresses of version 2 */
#define PROXY_V2_MAX    4096 /* what we take behind them when the owner has no opinion: addresses and TLVs */
#define PROXY_UNIX_PATH 108  /* octets of a UNIX address in version 2 */

enum proxy_family {
    PROXY_UNKNOWN = 0, /* the proxy does not say (UNKNOWN, AF_UNSPEC): it speaks for somebody, but nobody knows who that is */
    PROXY_UNIX = 1,    /* the client is a program on the proxy's machine */
    PROXY_INET = 4,
    PROXY_INET6 = 6
};

struct proxy_end {
    uint8_t ip[16]; /* network order; 4 bytes used for PROXY_INET */
    uint16_t port;
    struct vr_str path; /* PROXY_UNIX; may be empty. Strangers' bytes */
};

/* Slices point into the reader's buffer, and live as long as that. */
struct proxy_header {
    unsigned version;         /* 1 or 2 */
    bool local;               /* LOCAL: the proxy speaks for itself (a health check); the connection's own addresses hold */
    enum proxy_family family; /* PROXY_UNKNOWN when local */
    struct proxy_end source, destination;
    /* from the TLVs of version 2; empty when they were not there */
    bool checksummed;         /* a CRC-32C was there, and right */
    struct vr_str authority;  /* the name that the client asked for (SNI) */
    struct vr_str alpn, unique_id;
    bool tls;                 /* the client came to the proxy under TLS … */
    bool tls_verified;        /* … and has shown a certificate, on this connection or an earlier one, that the proxy verified */
    struct vr_str tls_version, tls_cipher, tls_common_name;
};

enum proxy_status { PROXY_MORE, PROXY_DONE, PROXY_BAD };

struct proxy_reader {
    struct vr_buf in;  /* the header, as far as it is here */
    size_t v2_max;
    enum proxy_status status;
    const char *why;
};

/* v2_max: octets taken behind the 16 fixed ones of version 2 (at most 65535 can be announced); 0: PROXY_V2_MAX. */
void proxy_reader_init(struct proxy_reader *r, size_t v2_max);
void proxy_reader_fini(struct proxy_reader *r);
/* *taken: bytes of `in` that belong to the header (all of them for PROXY_MORE). *out is filled for PROXY_DONE. After DONE or BAD nothing is
 * taken any more, and the status stays. */
enum proxy_status proxy_reader_feed(struct proxy_reader *r, struct vr_str in, size_t *taken, struct proxy_header *out);
/* For PROXY_BAD: what is wrong, as a phrase for a log. Else "". */
const char *proxy_reader_why(const struct proxy_reader *r);

/* Appends a header as a proxy writes it: version (1 or 2), local, family and both ends count; version 2 gets a CRC-32C when checksummed is set, and the
 * TLVs of authority, alpn and unique_id when they are not empty. VR_ERR_UNSUPPORTED: version 1 has no LOCAL and no UNIX; VR_ERR_TOO_BIG: the buffer is full, or
 * a path or value too long. */
enum vr_err proxy_write(struct vr_buf *out, const struct proxy_header *h);

#endif
