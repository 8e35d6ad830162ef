/* stream_tls.c - TLS over a stream: OpenSSL between the kernel's bytes and the owner's, by a BIO of our own.
 *
 * Promise:    nothing that came before io_stream_start_tls is shown after secured(0): the TLS engine starts with an empty input (or with what its
 *             owner says is the handshake's beginning) and sees every later byte as part of the handshake (RFC 3207 §4.2: no injected commands).
 * Input:      the BIO reads straight from the loop's scratch; only what is left when the owner pauses is kept (`held`).
 * Output:     plaintext gathers in `plain` and is encrypted at the end of the turn (few, full records) into the stream's `out`.
 * End:        close_notify and a bare FIN both count as an end in order: SMTP says in its own words when a message is complete, and
 *             many peers never send close_notify.
 * Tests:      tests/unit/io_tls.c
 */
#include "io/real/stream_inside.h"
#include "io/real/tls_inside.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define RECORD 16384u

enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_OVER };

struct stream_tls {
    SSL *ssl;
    enum tls_state state;
    bool server;
    bool shut;           /* our close_notify was sent */
    struct vr_str in;    /* ciphertext that OpenSSL may take now */
    struct vr_buf held;  /* ciphertext that waits while the owner has paused the stream */
    struct vr_buf plain; /* written, not yet encrypted */
    char error[320];
    char name[256]; /* client: whom we asked for */
};

/* ---- the BIO --------------------------------------------------------------------------------------------- */

static int bio_read(BIO *b, char *out, size_t n, size_t *got)
{
    struct stream_tls *t = ((struct io_stream *)BIO_get_data(b))->tls;
    BIO_clear_retry_flags(b);
    *got = n < t->in.n ? n : t->in.n;
    if (*got == 0) {
        BIO_set_retry_read(b);
        return 0;
    }
    memcpy(out, t->in.p, *got);
    t->in = vr_str_from_pos(t->in, *got);
    return 1;
}

static int bio_write(BIO *b, const char *bytes, size_t n, size_t *taken)
{
    struct io_stream *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    *taken = n;
    if (!s->broken)
        real_add(&s->out, vr_str(bytes, n));
    return 1;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer)
{
    (void)b;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_PUSH || command == BIO_CTRL_POP;
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

static void method_free(void *method)
{
    BIO_meth_free(method);
}

static BIO *bio_new(struct io_stream *s)
{
    struct io *io = s->watch.io;
    if (io->tls_method == NULL) {
        BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "veredus stream");
        if (m == NULL)
            return NULL;
        BIO_meth_set_read_ex(m, bio_read);
        BIO_meth_set_write_ex(m, bio_write);
        BIO_meth_set_ctrl(m, bio_ctrl);
        BIO_meth_set_create(m, bio_create);
        io->tls_method = m;
        io->tls_method_free = method_free;
    }
    BIO *b = BIO_new(io->tls_method);
    if (b != NULL)
        BIO_set_data(b, s);
    return b;
}

/* ---- what went wrong ------------------------------------------------------------------------------------- */

static void subject_text(X509 *x, char *out, size_t n)
{
    BIO *b = x != NULL ? BIO_new(BIO_s_mem()) : NULL;
    const char *p = NULL;
    out[0] = '\0';
    if (b == NULL)
        return;
    /* RFC 2253 form escapes control characters: it may go to a log. */
    X509_NAME_print_ex(b, X509_get_subject_name(x), 0, XN_FLAG_RFC2253);
    long length = BIO_get_mem_data(b, &p);
    if (length > 0)
        snprintf(out, n, "%.*s", (int)length, p);
    BIO_free(b);
}

/* Called by OpenSSL for each certificate of the chain, and for the name; only here the offending one is known. */
static int on_verify(int good, X509_STORE_CTX *x)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct stream_tls *t = ((struct io_stream *)BIO_get_data(SSL_get_rbio(ssl)))->tls;
    if (!good && t->error[0] == '\0') {
        char subject[160];
        subject_text(X509_STORE_CTX_get_current_cert(x), subject, sizeof subject);
        snprintf(t->error, sizeof t->error, "%s%s%s%s",
                 X509_verify_cert_error_string(X509_STORE_CTX_get_error(x)), subject[0] ? " (" : "", subject,
                 subject[0] ? ")" : "");
    }
    return good;
}

static int describe(struct stream_tls *t)
{
    char reason[160];
    tls_reason(reason, sizeof reason);
    if (t->error[0] != '\0')
        return -EKEYREJECTED; /* on_verify has said it */
    snprintf(t->error, sizeof t->error, "%s", reason);
    return -EPROTO;
}

/* The session cannot go on: an alert may have been written. */
static void fail(struct io_stream *s)
{
    struct stream_tls *t = s->tls;
    bool handshaking = t->state == TLS_HANDSHAKE;
    int status = describe(t);
    t->state = TLS_OVER;
    t->in = vr_str(NULL, 0);
    vr_buf_release(&t->plain);
    stream_out_soon(s);
    if (s->ended)
        return;
    if (!handshaking) {
        stream_end(s, status);
        return;
    }
    s->ended = true;
    stream_update(s);
    if (s->ops->secured != NULL)
        s->ops->secured(s->arg, status);
}

void stream_tls_peer_gone(struct io_stream *s)
{
    struct stream_tls *t = s->tls;
    t->state = TLS_OVER;
    vr_buf_release(&t->plain);
    if (t->error[0] == '\0')
        snprintf(t->error, sizeof t->error, "the peer closed the connection during the TLS handshake");
}

/* ---- input ----------------------------------------------------------------------------------------------- */

static void handshake(struct io_stream *s)
{
    struct stream_tls *t = s->tls;
    ERR_clear_error();
    int r = SSL_do_handshake(t->ssl);
    if (vr_buf_size(&s->out) > 0)
        stream_out_soon(s);
    if (r != 1) {
        if (SSL_get_error(t->ssl, r) != SSL_ERROR_WANT_READ)
            fail(s);
        return;
    }
    t->state = TLS_OPEN;
    if (vr_buf_size(&t->plain) > 0)
        stream_out_soon(s);
    if (s->ops->secured != NULL)
        s->ops->secured(s->arg, 0);
}

/* Decrypts up to a scratch full and delivers it. True when there may be more. */
static bool decrypt(struct io_stream *s)
{
    struct stream_tls *t = s->tls;
    struct io *io = s->watch.io;
    size_t size = 0;
    int r = 1;
    if (io->plain == NULL)
        io->plain = real_alloc(IO_SCRATCH);
    ERR_clear_error();
    while (r == 1 && IO_SCRATCH - size >= RECORD) {
        size_t got = 0;
        r = SSL_read_ex(t->ssl, io->plain + size, IO_SCRATCH - size, &got);
        size += got;
    }
    int error = r == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, r);
    if (vr_buf_size(&s->out) > 0)
        stream_out_soon(s); /* key updates, alerts */
    if (size > 0)
        stream_deliver(s, vr_str(io->plain, size));
    if (s->watch.dead || s->finishing || error == SSL_ERROR_NONE)
        return !s->watch.dead && !s->finishing;
    if (error == SSL_ERROR_ZERO_RETURN) {
        t->in = vr_str(NULL, 0);
        stream_end(s, 0);
    } else if (error != SSL_ERROR_WANT_READ) {
        fail(s);
    }
    return false;
}

/* What OpenSSL was not asked to take, because the owner paused. */
static void hold(struct stream_tls *t, bool from_held)
{
    if (from_held)
        vr_buf_consume(&t->held, vr_buf_size(&t->held) - t->in.n);
    else if (t->in.n > 0)
        real_add(&t->held, t->in);
    t->in = vr_str(NULL, 0);
    if (vr_buf_size(&t->held) == 0)
        vr_buf_release(&t->held);
}

void stream_tls_received(struct io_stream *s, struct vr_str bytes)
{
    struct stream_tls *t = s->tls;
    bool from_held = vr_buf_size(&t->held) > 0;
    if (from_held && bytes.n > 0)
        real_add(&t->held, bytes);
    t->in = from_held ? vr_buf_str(&t->held) : bytes;
    if (t->state == TLS_HANDSHAKE)
        handshake(s);
    while (!s->watch.dead && !s->finishing && !s->ended && !s->paused && t->state == TLS_OPEN && decrypt(s))
        ;
    if (!s->watch.dead) /* else t is gone */
        hold(t, from_held);
}

/* ---- output ---------------------------------------------------------------------------------------------- */

void stream_tls_encrypt(struct io_stream *s)
{
    struct stream_tls *t = s->tls;
    struct vr_str bytes = vr_buf_str(&t->plain);
    if (t->state != TLS_OPEN || bytes.n == 0)
        return;
    ERR_clear_error();
    while (bytes.n > 0) {
        size_t taken = 0;
        if (SSL_write_ex(t->ssl, bytes.p, bytes.n, &taken) != 1)
            break; /* the session is in error: reading reports it */
        bytes = vr_str_from_pos(bytes, taken);
    }
    vr_buf_release(&t->plain);
}

void stream_tls_write(struct io_stream *s, struct vr_str bytes)
{
    struct stream_tls *t = s->tls;
    if (t->state == TLS_OVER || t->shut)
        return;
    real_add(&t->plain, bytes);
    if (t->state == TLS_OPEN && vr_buf_size(&t->plain) >= RECORD)
        stream_tls_encrypt(s);
    if (!s->blocked)
        stream_out_soon(s);
}

size_t stream_tls_unsent(const struct io_stream *s)
{
    return vr_buf_size(&s->tls->plain);
}

bool stream_tls_has_input(const struct io_stream *s)
{
    const struct stream_tls *t = s->tls;
    return t->ssl != NULL && (vr_buf_size(&t->held) > 0 || SSL_has_pending(t->ssl));
}

bool stream_tls_handshaking(const struct io_stream *s)
{
    return s->tls->state == TLS_HANDSHAKE;
}

void stream_tls_shut(struct io_stream *s)
{
    struct stream_tls *t = s->tls;
    stream_tls_encrypt(s);
    if (t->state == TLS_OPEN && !t->shut && !s->broken) {
        ERR_clear_error();
        SSL_shutdown(t->ssl);
        ERR_clear_error();
    }
    t->shut = true;
}

void stream_tls_free(struct io_stream *s)
{
    struct stream_tls *t = s->tls;
    SSL_free(t->ssl);
    vr_buf_fini(&t->held);
    vr_buf_fini(&t->plain);
    free(t);
    s->tls = NULL;
}

/* ---- the start ------------------------------------------------------------------------------------------- */

struct peer_wish { /* what a client wants of the server's certificate */
    enum io_tls_verify verify;
    struct vr_str name;
    const struct vr_str *more_names; /* with tlsa */
    size_t more_count;
    const struct vr_str *tlsa;
    size_t tlsa_count;
};

/* Whom the certificate must name, and the SNI (RFC 6066 §3: no addresses in it). */
static bool expect_name(struct stream_tls *t, enum io_tls_verify verify)
{
    unsigned char ip[16];
    unsigned flags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS;
    if (inet_pton(AF_INET, t->name, ip) == 1 || inet_pton(AF_INET6, t->name, ip) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), t->name) == 1;
    if (verify == IO_TLS_VERIFY_DNS_ID)
        flags |= X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    SSL_set_hostflags(t->ssl, flags);
    return SSL_set1_host(t->ssl, t->name) == 1 && SSL_set_tlsext_host_name(t->ssl, t->name) == 1;
}

/* RFC 7672 §3.1: DANE-TA(2) and DANE-EE(3) only; with the latter neither names nor dates count. True when a usable record was found. */
static bool expect_tlsa(struct stream_tls *t, const struct peer_wish *w)
{
    bool usable = false;
    if (w->tlsa_count == 0 || t->name[0] == '\0' || SSL_dane_enable(t->ssl, t->name) != 1)
        return false;
    SSL_dane_set_flags(t->ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    for (size_t i = 0; i < w->more_count; i++) {
        char name[256];
        if (w->more_names[i].n < sizeof name &&
            memchr(w->more_names[i].p, '\0', w->more_names[i].n) == NULL) {
            snprintf(name, sizeof name, "%.*s", VR_STR_ARG(w->more_names[i]));
            SSL_add1_host(t->ssl, name);
        }
    }
    for (size_t i = 0; i < w->tlsa_count; i++) {
        const unsigned char *p = (const unsigned char *)w->tlsa[i].p;
        if (w->tlsa[i].n > 3 && (p[0] == 2 || p[0] == 3))
            usable |= SSL_dane_tlsa_add(t->ssl, p[0], p[1], p[2], p + 3, w->tlsa[i].n - 3) == 1;
    }
    ERR_clear_error();
    return usable;
}

static void copy_name(struct stream_tls *t, struct vr_str name)
{
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n < sizeof t->name && (name.n == 0 || memchr(name.p, '\0', name.n) == NULL))
        snprintf(t->name, sizeof t->name, "%.*s", VR_STR_ARG(name));
}

static bool prepare_client(struct stream_tls *t, const struct peer_wish *w)
{
    SSL_set_connect_state(t->ssl);
    copy_name(t, w->name);
    bool verify = w->verify != IO_TLS_OPPORTUNISTIC;
    if (expect_tlsa(t, w))
        verify = true; /* and SSL_dane_enable has set the name */
    else if (t->name[0] == '\0' || !expect_name(t, w->verify)) {
        if (verify)
            return false;
        t->name[0] = '\0'; /* no name, nothing that could be verified */
    }
    if (!verify) /* a weak key is better than none at all: RFC 7435 §3 */
        SSL_set_security_level(t->ssl, 1);
    SSL_set_verify(t->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, verify ? on_verify : NULL);
    return true;
}

static bool prepare(struct io_stream *s, struct io_tls *context, const struct peer_wish *w)
{
    struct stream_tls *t = s->tls;
    BIO *b = bio_new(s);
    t->ssl = SSL_new(context->ctx);
    if (t->ssl == NULL || b == NULL) {
        BIO_free(b);
        return false;
    }
    SSL_set_bio(t->ssl, b, b);
    if (!t->server)
        return prepare_client(t, w);
    SSL_set_accept_state(t->ssl);
    return true;
}

static void start(struct io_stream *s, struct io_tls *context, const struct peer_wish *w)
{
    assert(s->tls == NULL);
    struct stream_tls *t = real_alloc(sizeof *t);
    t->server = context->server;
    vr_buf_init(&t->held, SIZE_MAX / 4);
    vr_buf_init(&t->plain, SIZE_MAX / 4);
    s->tls = t;
    s->paused = false; /* a handshake needs both directions */
    stream_update(s);
    ERR_clear_error();
    if (!prepare(s, context, w)) {
        char reason[160];
        tls_reason(reason, sizeof reason);
        snprintf(t->error, sizeof t->error, "cannot start TLS for the name \"%.*s\": %s",
                 w->name.n < 256 ? (int)w->name.n : 255, w->name.p != NULL ? w->name.p : "",
                 w->name.n == 0 ? "there is no name to verify" : reason);
        t->state = TLS_OVER;
        s->ended = true;
        s->pending_status = -EINVAL;
        stream_update(s);
        stream_pend(s, PENDING_SECURED);
        return;
    }
    if (!t->server && !s->ended)
        stream_pend(s, PENDING_READ); /* the ClientHello, from the loop */
}

void io_stream_start_tls(struct io_stream *s, struct io_tls *context, enum io_tls_verify verify,
                         struct vr_str name)
{
    start(s, context, &(struct peer_wish){.verify = verify, .name = name});
}

void io_stream_start_tls_with(struct io_stream *s, struct io_tls *context, struct vr_str received)
{
    start(s, context, &(struct peer_wish){.verify = IO_TLS_OPPORTUNISTIC});
    if (received.n == 0 || s->tls->state != TLS_HANDSHAKE)
        return;
    real_add(&s->tls->held, received);
    stream_pend(s, PENDING_READ);
}

void io_stream_start_tls_dane(struct io_stream *s, struct io_tls *context, const struct vr_str *names,
                              size_t name_count, const struct vr_str *tlsa, size_t n)
{
    assert(name_count > 0);
    start(s, context,
          &(struct peer_wish){.verify = IO_TLS_OPPORTUNISTIC,
                              .name = names[0],
                              .more_names = names + 1,
                              .more_count = name_count - 1,
                              .tlsa = tlsa,
                              .tlsa_count = n});
}

/* A server sees a certificate only when it asked for one, and then it was verified. */
static bool peer_verified(const struct stream_tls *t)
{
    return (t->server || t->name[0] != '\0') && SSL_get0_peer_certificate(t->ssl) != NULL &&
           SSL_get_verify_result(t->ssl) == X509_V_OK;
}

bool io_stream_tls_binding(const struct io_stream *s, struct io_tls_binding *out)
{
    *out = (struct io_tls_binding){0};
    if (s->tls == NULL || s->tls->state != TLS_OPEN)
        return false;
    ERR_clear_error();
    tls_binding(s->tls->ssl, out);
    ERR_clear_error();
    return true;
}

bool io_stream_tls_peer_addresses(const struct io_stream *s, struct vr_buf *out)
{
    return s->tls != NULL && s->tls->state == TLS_OPEN && peer_verified(s->tls) &&
           tls_peer_addresses(SSL_get0_peer_certificate(s->tls->ssl), out);
}

bool io_stream_tls_info(const struct io_stream *s, struct io_tls_info *out)
{
    *out = (struct io_tls_info){0};
    if (s->tls == NULL || s->tls->state != TLS_OPEN)
        return false;
    const struct stream_tls *t = s->tls;
    snprintf(out->protocol, sizeof out->protocol, "%s", SSL_get_version(t->ssl));
    snprintf(out->cipher, sizeof out->cipher, "%s", SSL_get_cipher_name(t->ssl));
    out->bits = (unsigned)SSL_get_cipher_bits(t->ssl, NULL);
    const char *asked = t->server ? SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name) : t->name;
    /* A stranger's bytes: shown only when they could be a host name. */
    if (asked != NULL &&
        strspn(asked, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:") == strlen(asked))
        snprintf(out->server_name, sizeof out->server_name, "%s", asked);
    out->verified = peer_verified(t);
    if (SSL_get0_peer_certificate(t->ssl) != NULL && !out->verified)
        snprintf(out->peer_error, sizeof out->peer_error, "%s",
                 X509_verify_cert_error_string(SSL_get_verify_result(t->ssl)));
    out->dane = out->verified && SSL_get0_dane_authority(t->ssl, NULL, NULL) >= 0;
    subject_text(SSL_get0_peer_certificate(t->ssl), out->peer_subject, sizeof out->peer_subject);
    return true;
}

const char *io_stream_tls_error(const struct io_stream *s)
{
    return s->tls != NULL ? s->tls->error : "";
}
