/* tls.c - TLS contexts: certificates, trusted CAs, what versions and ciphers are spoken, and self-signed certificates.
 *
 * Versions: TLS 1.2 and 1.3 (RFC 8996 §3: no older ones), no renegotiation, no compression (RFC 9325 §3.3, §3.5).
 * SNI:      RFC 6066 §3; the first certificate whose names match, exact before wildcard, else the default.
 * Replace:  a session holds a reference to the OpenSSL context that it began with; so an entry's can be exchanged at any time.
 * Tests:    tests/unit/io_tls.c
 */
#include "io/real/real.h"
#include "io/real/tls_inside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Forward secrecy and AEAD first; plain RSA and CBC stay for the old MTAs that speak nothing better: for them the
 * alternative is no encryption at all (RFC 7435 §3). */
#define CIPHERS_TLS12                                                                                        \
    "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:DHE+AES:RSA+AES:!aNULL:!eNULL:!PSK:!SRP"

void tls_reason(char *out, size_t n)
{
    unsigned long e = ERR_get_error();
    const char *reason = e != 0 ? ERR_reason_error_string(e) : NULL;
    if (e != 0 && ERR_SYSTEM_ERROR(e))
        reason = io_error_text(-ERR_GET_REASON(e));
    snprintf(out, n, "%s", reason != NULL ? reason : "no reason given by OpenSSL");
    ERR_clear_error();
}

/* ---- names ----------------------------------------------------------------------------------------------- */

bool tls_name_matches(struct vr_str pattern, struct vr_str name)
{
    if (!vr_str_starts(pattern, VR_STR("*.")))
        return vr_str_equal_nocase(pattern, name);
    size_t dot = vr_str_find(name, '.'); /* RFC 6125 §6.4.3: the star is one whole label */
    return dot != VR_NPOS && dot > 0 &&
           vr_str_equal_nocase(vr_str_from_pos(pattern, 1), vr_str_from_pos(name, dot));
}

static SSL_CTX *context_for(const struct io_tls *t, struct vr_str name, bool wildcards)
{
    for (size_t i = 0; i < t->count; i++) {
        struct vr_str rest = vr_str_from(t->entries[i].names), pattern;
        while (vr_str_split(&rest, ' ', &pattern))
            if (pattern.n > 0 && vr_str_starts(pattern, VR_STR("*.")) == wildcards &&
                tls_name_matches(pattern, name))
                return t->entries[i].ctx;
    }
    return NULL;
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    const struct io_tls *t = arg;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    if (asked == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_CTX *ctx = context_for(t, vr_str_from(asked), false);
    if (ctx == NULL)
        ctx = context_for(t, vr_str_from(asked), true);
    if (ctx != NULL)
        SSL_set_SSL_CTX(ssl, ctx);
    return SSL_TLSEXT_ERR_OK; /* an unknown name gets the default: MTAs connect by MX names that nobody listed */
}

/* ---- contexts -------------------------------------------------------------------------------------------- */

static SSL_CTX *context_new(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_dh_auto(ctx, 1);
    SSL_CTX_set_cipher_list(ctx, CIPHERS_TLS12);
    return ctx;
}

/* The chain of a PEM text: the first certificate is the server's own, the others lead to its authority. */
static bool use_chain(SSL_CTX *ctx, struct vr_str pem)
{
    BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *x = in != NULL ? PEM_read_bio_X509_AUX(in, NULL, NULL, NULL) : NULL;
    bool good = x != NULL && SSL_CTX_use_certificate(ctx, x) == 1;
    X509_free(x);
    while (good && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        good = SSL_CTX_add0_chain_cert(ctx, x) == 1;
        if (!good)
            X509_free(x);
    }
    unsigned long e = ERR_peek_last_error();
    if (good && e != 0) /* the end of the text is told as an error */
        good = ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
    if (good)
        ERR_clear_error();
    BIO_free(in);
    return good;
}

static bool use_key(SSL_CTX *ctx, struct vr_str pem)
{
    BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
    char none[] = ""; /* an encrypted key is an error, and no question on a terminal */
    EVP_PKEY *key = in != NULL ? PEM_read_bio_PrivateKey(in, NULL, NULL, none) : NULL;
    bool good = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    BIO_free(in);
    return good;
}

/* The pair into a context of either side. */
static bool load_pair(SSL_CTX *ctx, const struct io_tls_certificate *c, char error[256])
{
    char reason[160];
    bool read = c->certificate_pem.p != NULL;
    ERR_clear_error();
    if (read ? !use_chain(ctx, c->certificate_pem)
             : SSL_CTX_use_certificate_chain_file(ctx, c->certificate) != 1) {
        tls_reason(reason, sizeof reason);
        snprintf(error, 256, "cannot read the certificate chain %s: %s; it must be a PEM file",
                 c->certificate, reason);
        return false;
    }
    if (read ? !use_key(ctx, c->key_pem) : SSL_CTX_use_PrivateKey_file(ctx, c->key, SSL_FILETYPE_PEM) != 1) {
        tls_reason(reason, sizeof reason);
        snprintf(error, 256,
                 "cannot use the private key %s: %s; it must be an unencrypted PEM file that belongs to %s",
                 c->key, reason, c->certificate);
        return false;
    }
    if (SSL_CTX_check_private_key(ctx) != 1) {
        ERR_clear_error();
        snprintf(error, 256, "the private key %s does not belong to the certificate %s", c->key,
                 c->certificate);
        return false;
    }
    return true;
}

/* NULL: *error says why. */
static SSL_CTX *server_context(const struct io_tls_certificate *c, char error[256])
{
    SSL_CTX *ctx = context_new(TLS_server_method());
    if (ctx == NULL) {
        snprintf(error, 256, "OpenSSL gives no server context: out of memory");
        return NULL;
    }
    static const unsigned char id[] = "veredus"; /* resumption is refused without one */
    SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets carry the state instead */
    if (load_pair(ctx, c, error))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static bool load_certificate(struct tls_entry *e, const struct io_tls_certificate *c, char error[256])
{
    e->names = strdup(c->names != NULL ? c->names : "");
    e->ctx = server_context(c, error);
    if (e->names == NULL)
        snprintf(error, 256, "out of memory");
    return e->ctx != NULL && e->names != NULL;
}

/* The first certificate's context is the one that a session begins with. */
static void make_default(struct io_tls *t)
{
    t->ctx = t->entries[0].ctx;
    SSL_CTX_set_tlsext_servername_callback(t->ctx, choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(t->ctx, t);
}

struct io_tls *io_tls_server(const struct io_tls_certificate *certificates, size_t n, char error[256])
{
    if (n == 0) {
        snprintf(error, 256, "a TLS server needs a certificate, and none was given");
        return NULL;
    }
    struct io_tls *t = real_alloc(sizeof *t);
    t->server = true;
    t->entries = real_alloc(n * sizeof *t->entries);
    for (size_t i = 0; i < n; i++) {
        t->count = i + 1;
        if (!load_certificate(&t->entries[i], &certificates[i], error)) {
            io_tls_free(t);
            return NULL;
        }
    }
    make_default(t);
    return t;
}

bool io_tls_replace(struct io_tls *server, size_t n, const struct io_tls_certificate *c, char error[256])
{
    assert(n < server->count);
    SSL_CTX *fresh = server_context(c, error), *old = server->entries[n].ctx;
    if (fresh == NULL)
        return false;
    X509_STORE *clients = SSL_CTX_get_cert_store(old); /* of io_tls_ask_clients */
    SSL_CTX_set1_cert_store(fresh, clients);
    SSL_CTX_set_client_CA_list(fresh, SSL_dup_CA_list(SSL_CTX_get_client_CA_list(old)));
    SSL_CTX_set_verify(fresh, SSL_CTX_get_verify_mode(old), SSL_CTX_get_verify_callback(old));
    server->entries[n].ctx = fresh;
    make_default(server);
    SSL_CTX_free(old);
    return true;
}

struct io_tls *io_tls_client(const char *ca_file, char error[256])
{
    char reason[160];
    struct io_tls *t = real_alloc(sizeof *t);
    t->ctx = context_new(TLS_client_method());
    if (t->ctx == NULL) {
        snprintf(error, 256, "OpenSSL gives no client context: out of memory");
        io_tls_free(t);
        return NULL;
    }
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_dane_enable(t->ctx);
    ERR_clear_error();
    if (ca_file == NULL) {
        SSL_CTX_set_default_verify_paths(
            t->ctx); /* a system without CAs verifies nothing; it still encrypts */
        ERR_clear_error();
    } else if (SSL_CTX_load_verify_file(t->ctx, ca_file) != 1) {
        tls_reason(reason, sizeof reason);
        snprintf(error, 256, "cannot read the trusted CAs %s: %s; it must be a PEM file of certificates",
                 ca_file, reason);
        io_tls_free(t);
        return NULL;
    }
    return t;
}

bool io_tls_show(struct io_tls *client, const struct io_tls_certificate *own, char error[256])
{
    return load_pair(client->ctx, own, error);
}

/* Whoever shows a bad certificate goes on as if it had shown none; SSL_get_verify_result remembers. */
static int let_pass(int good, X509_STORE_CTX *x)
{
    (void)good, (void)x;
    return 1;
}

bool io_tls_ask_clients(struct io_tls *server, const char *ca_file, char error[256])
{
    char reason[160];
    for (size_t i = 0; i < server->count; i++) {
        SSL_CTX *ctx = server->entries[i].ctx;
        ERR_clear_error();
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca_file);
        if (names == NULL || SSL_CTX_load_verify_file(ctx, ca_file) != 1) {
            tls_reason(reason, sizeof reason);
            snprintf(error, 256,
                     "cannot read the CAs of clients %s: %s; it must be a PEM file of certificates", ca_file,
                     reason);
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return false;
        }
        SSL_CTX_set_client_CA_list(ctx, names);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, let_pass);
    }
    return true;
}

void io_tls_free(struct io_tls *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->count; i++) {
        SSL_CTX_free(t->entries[i].ctx);
        free(t->entries[i].names);
    }
    free(t->entries);
    if (!t->server)
        SSL_CTX_free(t->ctx);
    free(t);
}

/* ---- self-signed certificates ---------------------------------------------------------------------------- */

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool good = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return good;
}

/* RFC 5280 §4.1: version 3, a random positive serial number, subject = issuer. */
static bool fill_certificate(X509 *x, EVP_PKEY *key, const char *name, unsigned days)
{
    char alternative[400];
    if (strlen(name) > 253 || strpbrk(name, ",: \t\r\n") != NULL) /* the extension's text syntax */
        return false;
    snprintf(alternative, sizeof alternative, "DNS:%s,DNS:localhost,IP:127.0.0.1,IP:::1", name);
    BIGNUM *serial = BN_new();
    bool good = serial != NULL && BN_rand(serial, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) != NULL;
    BN_free(serial);
    X509_NAME *subject = X509_get_subject_name(x);
    return good && X509_set_version(x, X509_VERSION_3) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL && /* clocks differ */
           X509_time_adj_ex(X509_getm_notAfter(x), (int)days, 0, NULL) != NULL &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)(strlen(name) <= 64 ? name : "veredus"), -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(x, subject) == 1 && X509_set_pubkey(x, key) == 1 &&
           add_extension(x, NID_basic_constraints, "critical,CA:TRUE") &&
           add_extension(x, NID_subject_key_identifier, "hash") &&
           add_extension(x, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
           add_extension(x, NID_ext_key_usage, "serverAuth,clientAuth") &&
           add_extension(x, NID_subject_alt_name, alternative) && X509_sign(x, key, EVP_sha256()) > 0;
}

static int write_pem(const char *path, mode_t mode, X509 *x, EVP_PKEY *key)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return -errno;
    if (fchmod(fd, mode) != 0) { /* a file that was there may be readable by all */
        int status = -errno;
        close(fd);
        return status;
    }
    FILE *f = fdopen(fd, "w");
    if (f == NULL) {
        close(fd);
        return -ENOMEM;
    }
    bool good =
        x != NULL ? PEM_write_X509(f, x) == 1 : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1;
    good = fflush(f) == 0 && fsync(fd) == 0 && good;
    int status = good ? 0 : errno != 0 ? -errno : -EIO;
    fclose(f);
    return status;
}

int io_tls_self_signed(const char *name, unsigned days, const char *certificate_path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    int status = -EINVAL;
    if (key == NULL || x == NULL)
        status = -ENOMEM;
    else if (fill_certificate(x, key, name, days))
        status = write_pem(key_path, 0600, NULL, key);
    if (status == 0)
        status = write_pem(certificate_path, 0644, x, NULL);
    ERR_clear_error();
    X509_free(x);
    EVP_PKEY_free(key);
    return status;
}
