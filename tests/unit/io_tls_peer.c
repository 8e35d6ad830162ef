/* io_tls_peer.c - tests of what a session under TLS says of its ends: channel binding, certificates of clients. */
#include "io_testing.h"

#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

struct end {
    struct io *io;
    struct io_stream *s;
    int secured, status;
    int *waited_for; /* of both ends */
};

static void on_data(void *arg, struct vr_str bytes)
{
    (void)arg, (void)bytes;
}

static void on_ended(void *arg, int status)
{
    (void)arg, (void)status;
}

static void on_secured(void *arg, int status)
{
    struct end *e = arg;
    e->secured++;
    e->status = status;
    if (--*e->waited_for == 0)
        io_stop(e->io);
}

static const struct io_stream_ops ops = {.data = on_data, .ended = on_ended, .secured = on_secured};

struct fixture {
    struct io *io;
    char folder[64], cert[100], key[100];
    struct io_tls *server, *client;
    struct end ends[2]; /* server, client */
    int waited_for;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char error[256] = "";
    f->io = io_new(1);
    folder_make(f->folder);
    snprintf(f->cert, sizeof f->cert, "%s/cert", f->folder);
    snprintf(f->key, sizeof f->key, "%s/key", f->folder);
    assert_int_equal(io_tls_self_signed("mail.test", 30, f->cert, f->key), 0);
    f->server = io_tls_server(&(struct io_tls_certificate){"", f->cert, f->key}, 1, error);
    f->client = io_tls_client(f->cert, error);
    assert_non_null(f->server);
    assert_non_null(f->client);
    *state = f;
    return 0;
}

static void hang_up(struct fixture *f)
{
    for (int i = 0; i < 2; i++)
        io_stream_close(f->ends[i].s);
    memset(f->ends, 0, sizeof f->ends);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    hang_up(f);
    io_tls_free(f->server);
    io_tls_free(f->client);
    io_free(f->io);
    folder_remove(f->folder);
    free(f);
    return 0;
}

/* A session between both contexts. */
static void secure(struct fixture *f)
{
    int fds[2];
    hang_up(f);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    f->waited_for = 2;
    for (int i = 0; i < 2; i++) {
        f->ends[i] =
            (struct end){.io = f->io, .s = io_stream_from_fd(f->io, fds[i]), .waited_for = &f->waited_for};
        io_stream_set(f->ends[i].s, &ops, &f->ends[i]);
        io_stream_start_tls(f->ends[i].s, i == 0 ? f->server : f->client, IO_TLS_OPPORTUNISTIC,
                            i == 0 ? vr_str(NULL, 0) : VR_STR("mail.test"));
    }
    run_guarded(f->io);
    assert_int_equal(f->ends[0].status, 0);
    assert_int_equal(f->ends[1].status, 0);
}

static X509 *certificate_read(const char *path)
{
    FILE *file = fopen(path, "r");
    X509 *x = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(x);
    return x;
}

/* ---- channel binding ------------------------------------------------------------------------------------------ */

static void both_ends_have_the_same_binding(void **state)
{
    struct fixture *f = *state;
    struct io_tls_binding server, client, again;
    uint8_t hash[32];
    unsigned n = 0;
    X509 *x = certificate_read(f->cert);
    assert_int_equal(X509_digest(x, EVP_sha256(), hash, &n), 1);
    X509_free(x);
    secure(f);
    assert_true(io_stream_tls_binding(f->ends[0].s, &server));
    assert_true(io_stream_tls_binding(f->ends[1].s, &client));
    assert_int_equal(server.exporter_n, 32);
    assert_int_equal(client.exporter_n, 32);
    assert_memory_equal(server.exporter, client.exporter, 32);
    assert_int_equal(server.unique_n, 0);     /* TLS 1.3 has none */
    assert_int_equal(server.end_point_n, 32); /* signed with SHA-256 */
    assert_memory_equal(server.end_point, hash, 32);
    assert_int_equal(client.end_point_n, 32);
    assert_memory_equal(client.end_point, hash, 32);
    secure(f);
    assert_true(io_stream_tls_binding(f->ends[0].s, &again));
    assert_memory_not_equal(again.exporter, server.exporter, 32); /* of this connection */
    assert_memory_equal(again.end_point, server.end_point, 32);   /* of this server */
}

static void a_plain_stream_has_none(void **state)
{
    struct fixture *f = *state;
    struct io_tls_binding b = {.exporter_n = 1, .end_point_n = 1};
    struct vr_buf names;
    int fds[2];
    vr_buf_init(&names, 512);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    f->ends[0].s = io_stream_from_fd(f->io, fds[0]);
    io_stream_set(f->ends[0].s, &ops, &f->ends[0]);
    assert_false(io_stream_tls_binding(f->ends[0].s, &b));
    assert_int_equal(b.exporter_n + b.end_point_n, 0);
    assert_false(io_stream_tls_peer_addresses(f->ends[0].s, &names));
    close(fds[1]);
}

/* TLS 1.2: the exporter counts only where the extended master secret does (RFC 9266 §4.2). The other end is a bare OpenSSL. */
static void tls12_needs_the_extended_master_secret(void **state)
{
    struct fixture *f = *state;
    for (int without = 0; without < 2; without++) {
        int fds[2], waited_for = 1;
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
        SSL_CTX_set_options(ctx, without ? SSL_OP_NO_EXTENDED_MASTER_SECRET : 0);
        SSL *ssl = SSL_new(ctx);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
        SSL_set_fd(ssl, fds[1]);
        struct end server = {.io = f->io, .s = io_stream_from_fd(f->io, fds[0]), .waited_for = &waited_for};
        io_stream_set(server.s, &ops, &server);
        io_stream_start_tls(server.s, f->server, IO_TLS_OPPORTUNISTIC, vr_str(NULL, 0));
        for (int i = 0; i < 200 && SSL_connect(ssl) != 1; i++)
            run_for(f->io, 5);
        run_for(f->io, 5);
        struct io_tls_binding b;
        struct io_tls_info info;
        uint8_t exported[32];
        assert_true(io_stream_tls_info(server.s, &info));
        assert_string_equal(info.protocol, "TLSv1.2");
        assert_true(io_stream_tls_binding(server.s, &b));
        assert_int_equal(b.exporter_n, without ? 0 : 32);
        assert_int_equal(
            SSL_export_keying_material(ssl, exported, 32, "EXPORTER-Channel-Binding", 24, NULL, 0, 0), 1);
        if (!without)
            assert_memory_equal(b.exporter, exported, 32);
        size_t finished = SSL_get_finished(ssl, exported, sizeof exported);
        assert_int_equal(b.unique_n, without ? 0 : finished); /* the client's comes first */
        assert_memory_equal(b.unique, exported, b.unique_n);
        assert_int_equal(b.end_point_n, 32);
        io_stream_close(server.s);
        SSL_free(ssl);
        SSL_CTX_free(ctx);
        close(fds[1]);
    }
}

/* ---- hashes of the end point ------------------------------------------------------------------------------------ */

/* A certificate of its own, signed with `digest` (NULL: Ed25519, which has none), with a subjectAltName. */
static void certificate_make(const char *path, const char *key_path, const EVP_MD *digest, const char *name,
                             const char *alternative)
{
    EVP_PKEY *key = digest != NULL ? EVP_EC_gen("P-256") : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    X509 *x = X509_new();
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
                               -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, &ctx, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(x, ca, -1);
    X509_EXTENSION_free(ca);
    if (alternative != NULL) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, alternative);
        assert_non_null(e);
        X509_add_ext(x, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(x, key, digest) > 0);
    FILE *file = fopen(path, "w");
    PEM_write_X509(file, x);
    fclose(file);
    file = fopen(key_path, "w");
    PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void the_end_point_has_the_hash_of_the_signature(void **state)
{
    struct fixture *f = *state;
    const struct {
        const EVP_MD *signed_with, *expected;
    } rows[] = {{EVP_sha384(), EVP_sha384()},
                {EVP_sha512(), EVP_sha512()},
                {EVP_sha1(), EVP_sha256()}, /* too weak: RFC 5929 §4.1 */
                {NULL, NULL}};
    char path[100], key_path[100], error[256];
    snprintf(path, sizeof path, "%s/other", f->folder);
    snprintf(key_path, sizeof key_path, "%s/other.key", f->folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct io_tls_binding b;
        uint8_t hash[64];
        unsigned n = 0;
        certificate_make(path, key_path, rows[i].signed_with, "mail.test", NULL);
        io_tls_free(f->server);
        f->server = io_tls_server(&(struct io_tls_certificate){"", path, key_path}, 1, error);
        if (f->server == NULL && rows[i].signed_with == EVP_sha1())
            continue; /* this system's OpenSSL does not take such certificates any more */
        assert_non_null(f->server);
        secure(f);
        X509 *x = certificate_read(path);
        if (rows[i].expected != NULL)
            assert_int_equal(X509_digest(x, rows[i].expected, hash, &n), 1);
        X509_free(x);
        for (int side = 0; side < 2; side++) {
            assert_true(io_stream_tls_binding(f->ends[side].s, &b));
            assert_int_equal(b.end_point_n, n);
            assert_memory_equal(b.end_point, hash, n);
            assert_int_equal(b.exporter_n, 32);
        }
        hang_up(f);
    }
}

/* ---- certificates of clients ---------------------------------------------------------------------------------------- */

static void ask_clients(struct fixture *f, const char *ca_file)
{
    char error[256] = "";
    io_tls_free(f->server);
    f->server = io_tls_server(&(struct io_tls_certificate){"", f->cert, f->key}, 1, error);
    if (!io_tls_ask_clients(f->server, ca_file, error))
        fail_msg("%s", error);
}

static void clients_are_known_by_their_certificate(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *common_name, *alternative, *expected;
    } rows[] = {
        {"ann@d.test", NULL, "ann@d.test"},
        {"Ann", "email:ann@d.test,DNS:x.test,email:office@d.test", "ann@d.test\noffice@d.test"},
        {"bob@d.test", "DNS:x.test", "bob@d.test"},
    };
    char path[100], key_path[100], error[256] = "";
    snprintf(path, sizeof path, "%s/own", f->folder);
    snprintf(key_path, sizeof key_path, "%s/own.key", f->folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct io_tls_info info;
        struct vr_buf names;
        vr_buf_init(&names, 512);
        certificate_make(path, key_path, EVP_sha256(), rows[i].common_name, rows[i].alternative);
        ask_clients(f, path);
        io_tls_free(f->client);
        f->client = io_tls_client(NULL, error);
        if (!io_tls_show(f->client, &(struct io_tls_certificate){"", path, key_path}, error))
            fail_msg("%s", error);
        secure(f);
        assert_true(io_stream_tls_info(f->ends[0].s, &info));
        assert_true(info.verified);
        assert_string_equal(info.peer_error, "");
        assert_true(io_stream_tls_peer_addresses(f->ends[0].s, &names));
        vr_buf_add_byte(&names, '\0');
        assert_string_equal(vr_buf_str(&names).p, rows[i].expected);
        vr_buf_fini(&names);
    }
}

static void a_bad_certificate_counts_as_none(void **state)
{
    struct fixture *f = *state;
    struct io_tls_info info;
    struct vr_buf names;
    char path[100], key_path[100], error[256] = "";
    vr_buf_init(&names, 512);
    ask_clients(f, f->cert);
    secure(f); /* the client has none */
    assert_true(io_stream_tls_info(f->ends[0].s, &info));
    assert_false(info.verified);
    assert_string_equal(info.peer_subject, "");
    assert_string_equal(info.peer_error, "");
    assert_false(io_stream_tls_peer_addresses(f->ends[0].s, &names));
    snprintf(path, sizeof path, "%s/own", f->folder);
    snprintf(key_path, sizeof key_path, "%s/own.key", f->folder);
    certificate_make(path, key_path, EVP_sha256(), "ann@d.test", NULL);
    assert_true(io_tls_show(f->client, &(struct io_tls_certificate){"", path, key_path}, error));
    secure(f);
    assert_true(io_stream_tls_info(f->ends[0].s, &info));
    assert_false(info.verified);
    assert_string_equal(info.peer_subject, "CN=ann@d.test");
    assert_string_equal(info.peer_error, "self-signed certificate");
    assert_false(io_stream_tls_peer_addresses(f->ends[0].s, &names));
    assert_int_equal(vr_buf_size(&names), 0);
}

static void nobody_is_asked_without_authorities(void **state)
{
    struct fixture *f = *state;
    struct io_tls_info info;
    char error[256] = "";
    assert_true(io_tls_show(f->client, &(struct io_tls_certificate){"", f->cert, f->key}, error));
    secure(f);
    assert_true(io_stream_tls_info(f->ends[0].s, &info));
    assert_false(info.verified);
    assert_string_equal(info.peer_subject, "");
}

static void contexts_explain_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    char error[256] = "", missing[120];
    snprintf(missing, sizeof missing, "%s/missing", f->folder);
    assert_false(io_tls_ask_clients(f->server, missing, error));
    assert_non_null(strstr(error, missing));
    assert_false(io_tls_show(f->client, &(struct io_tls_certificate){"", f->cert, missing}, error));
    assert_non_null(strstr(error, missing));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(both_ends_have_the_same_binding),        T(a_plain_stream_has_none),
        T(tls12_needs_the_extended_master_secret), T(the_end_point_has_the_hash_of_the_signature),
        T(clients_are_known_by_their_certificate), T(a_bad_certificate_counts_as_none),
        T(nobody_is_asked_without_authorities),    T(contexts_explain_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
