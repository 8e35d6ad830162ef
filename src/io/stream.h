/* stream.h - byte streams: TCP and UNIX sockets, plain or under TLS. Reading is pushed, writing is gathered.
 *
 * Memory: an idle plain stream holds no buffers (10,000 idle connections are a design figure).
 */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include "io/io.h"
#include "io/tls.h"

enum io_family { IO_NONE = 0, IO_INET = 4, IO_INET6 = 6, IO_UNIX = 1 };

struct io_address {
    enum io_family family;
    uint8_t ip[16]; /* network order; 4 bytes used for IO_INET */
    uint16_t port;
    uint32_t scope;
    char path[108]; /* IO_UNIX, NUL-terminated */
};

/* "127.0.0.1:25", "[::1]:25", ":25" (all addresses: dual-stack IPv6), "*:25", "unix:/path". default_port when none is given
 * (0: required). No names are resolved. False when it is none of these. */
bool io_address_parse(struct vr_str text, uint16_t default_port, struct io_address *out);
#define IO_ADDRESS_TEXT 160
/* "127.0.0.1", "::1" (no brackets, no port), "unix". An IPv4 address mapped into IPv6 is written as IPv4. */
void io_address_ip_text(const struct io_address *a, char out[IO_ADDRESS_TEXT]);
/* "127.0.0.1:25", "[::1]:25", "unix:/path" */
void io_address_text(const struct io_address *a, char out[IO_ADDRESS_TEXT]);
/* Does a lie in the network "10.0.0.0/8", "::1", "fd00::/8"? Mapped IPv4 compares as IPv4. */
struct io_network {
    uint8_t ip[16];
    uint8_t bits;
    bool v6;
};
bool io_network_parse(struct vr_str text, struct io_network *out);
bool io_network_contains(const struct io_network *net, const struct io_address *a);

/* ---- listening ------------------------------------------------------------------------------------------------ */

/* Binds and listens, no loop needed (the supervisor does it and hands the descriptor on). reuse_port: several sockets share the
 * address (SO_REUSEPORT). mode: permissions of a UNIX socket (an old socket file that nobody serves is replaced).
 * Returns a descriptor or a negative errno. */
int io_listen_fd(const struct io_address *a, bool reuse_port, unsigned unix_mode);
/* The local address of a listening descriptor (to learn the port after binding port 0). */
int io_listen_address(int fd, struct io_address *out);

struct io_stream;
struct io_listener;
/* accept: the stream is the callee's; it must call io_stream_set and may io_stream_close at once. */
struct io_listener *io_listener_new(struct io *io, int fd, void (*accept)(void *arg, struct io_stream *s), void *arg);
void io_listener_pause(struct io_listener *l, bool paused);
void io_listener_close(struct io_listener *l); /* closes the descriptor; connections go on */

/* ---- streams -------------------------------------------------------------------------------------------------- */

struct io_stream_ops {
    /* of io_stream_connect only: 0 or a negative errno (then close it) */
    void (*connected)(void *arg, int status);
    /* Bytes came. The slice lives until the return; take all of it. Pause the stream when you have enough. */
    void (*data)(void *arg, struct vr_str bytes);
    /* The stream ended: 0 = the peer closed its side in order (under TLS also without a close_notify, which many SMTP
     * peers never send); else a negative errno. No more data comes. */
    void (*ended)(void *arg, int status);
    /* All that was written has left for the kernel. May be NULL. */
    void (*drained)(void *arg);
    /* Of io_stream_start_tls: the handshake is done; status 0, or negative, with the reason in io_stream_tls_error:
     * -EKEYREJECTED (certificate refused), -EPROTO, or the error by which the connection was lost. After a failure ended()
     * does not come: close it. */
    void (*secured)(void *arg, int status);
};

void io_stream_set(struct io_stream *s, const struct io_stream_ops *ops, void *arg);
/* from: local address to bind or NULL. timeout_ms for the connection to stand (ETIMEDOUT). Never NULL; failures come by connected(). */
struct io_stream *io_stream_connect(struct io *io, const struct io_address *to, const struct io_address *from,
                                    int64_t timeout_ms, const struct io_stream_ops *ops, void *arg);
/* Any descriptor that poll() can wait for (pipes, stdin/stdout of `sendmail -bs`). Takes the descriptor over. */
struct io_stream *io_stream_from_fd(struct io *io, int fd);
void io_stream_pause(struct io_stream *s, bool paused);
/* Copies what the kernel does not take at once. Writing to an ended stream is silently dropped. */
void io_stream_write(struct io_stream *s, struct vr_str bytes);
size_t io_stream_unsent(const struct io_stream *s); /* bytes written but not taken by the kernel yet */
/* Closes after what was written has been sent (close_notify included), or after linger_ms. The stream is no longer the
 * caller's: no callback comes any more. A peer that still sends gets time to read our last words. NULL is fine. */
void io_stream_finish(struct io_stream *s, int64_t linger_ms);
void io_stream_close(struct io_stream *s); /* at once; frees. NULL is fine */
void io_stream_peer(const struct io_stream *s, struct io_address *out);
void io_stream_local(const struct io_stream *s, struct io_address *out);
/* UNIX sockets: who is at the other end (SO_PEERCRED). False when unknown. */
bool io_stream_peer_user(const struct io_stream *s, uint32_t *uid, char *name, size_t name_size);

/* ---- TLS on a stream ------------------------------------------------------------------------------------------ */

/* Starts the handshake; data(), once secured(0) came, is plaintext. Bytes of plaintext that the kernel held already are treated as
 * handshake (nothing that came in clear is ever shown as secured). What was written before goes out in clear, what is written from now on waits
 * for the handshake. A paused stream is resumed. name: SNI and the name to verify (client); empty: none. */
void io_stream_start_tls(struct io_stream *s, struct io_tls *context, enum io_tls_verify verify, struct vr_str name);
/* The same for a server that got the beginning of the handshake by data() already, behind bytes that were not TLS and had to be read first
 * (a PROXY header): `received` is the rest of them. Never what stands behind a command in clear, such as STARTTLS: that is to be dropped. */
void io_stream_start_tls_with(struct io_stream *s, struct io_tls *context, struct vr_str received);
/* The same for a client that knows the server's TLSA records (RFC 7672; raw rdata as io_dns_record.data, DNSSEC-validated by the caller): the
 * certificate must match one of them; CAs count for nothing. names: the TLSA base domain, which is the SNI, then others that a certificate under
 * DANE-TA may name (§3.2.2). Records that cannot be used (RFC 7672 §3.1.3: PKIX usages) are passed over; when none is left, any certificate will do, and
 * info.dane stays false. All of it is copied. */
void io_stream_start_tls_dane(struct io_stream *s, struct io_tls *context, const struct vr_str *names, size_t name_count, const struct vr_str *tlsa, size_t n);
bool io_stream_tls_info(const struct io_stream *s, struct io_tls_info *out); /* false when plain */
/* False, and all empty, when plain. The exporter's octets are secret. */
bool io_stream_tls_binding(const struct io_stream *s, struct io_tls_binding *out);
/* Whom the peer's verified certificate names: its rfc822Names (RFC 5280 §4.2.1.6), without any its common name, as they are, with '\n' between;
 * names with control bytes are left out. False: no certificate, not verified, or nobody in it. */
bool io_stream_tls_peer_addresses(const struct io_stream *s, struct vr_buf *out);
const char *io_stream_tls_error(const struct io_stream *s); /* "certificate has expired (CN=…)"; "" when none */

#endif
