/* io_tls.c - tests of TLS over streams: src/io/tls.h and the second half of src/io/stream.h. */
#include "io_testing.h"

#include "io/fs.h"
#include "io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct end {
    struct io *io;
    struct io_stream *s;
    struct io_tls *tls;
    enum io_tls_verify verify;
    const char *name, *other_name; /* with tlsa */
    struct vr_buf got, clear;      /* plaintext of TLS; what came before it */
    int secured, ended, status, secured_status;
    size_t stop_at;
    size_t header;   /* bytes in clear before the handshake */
    size_t together; /* times that they came in one piece with its beginning */
    bool start_at_connect, start_at_data, stop_when_secured, stop_at_end, echo, pause_when_secured;
    const char *say; /* once secured */
    struct vr_str tlsa[3];
    size_t tlsa_count;
};

static void start(struct end *e)
{
    if (e->tlsa_count > 0)
        io_stream_start_tls_dane(e->s, e->tls,
                                 (struct vr_str[]){vr_str_from(e->name), vr_str_from(e->other_name)},
                                 e->other_name != NULL ? 2 : 1, e->tlsa, e->tlsa_count);
    else
        io_stream_start_tls(e->s, e->tls, e->verify, vr_str_from(e->name));
    assert_int_equal(e->secured, 0); /* never from inside the call */
}

static void on_connected(void *arg, int status)
{
    struct end *e = arg;
    assert_int_equal(status, 0);
    if (e->start_at_connect)
        start(e);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct end *e = arg;
    vr_buf_add(e->secured ? &e->got : &e->clear, bytes);
    if (e->header > 0 && vr_buf_size(&e->clear) >= e->header) {
        size_t rest = vr_buf_size(&e->clear) - e->header;
        e->header = 0;
        e->together += rest > 0;
        io_stream_start_tls_with(e->s, e->tls, vr_str_from_pos(bytes, bytes.n - rest));
        assert_int_equal(e->secured, 0); /* never from inside the call */
        return;
    }
    if (e->start_at_data) {
        e->start_at_data = false;
        io_stream_write(e->s, VR_STR("220 go ahead\r\n")); /* in clear, before the handshake */
        start(e);
        return;
    }
    if (e->echo)
        io_stream_write(e->s, bytes);
    if (e->stop_at > 0 && vr_buf_size(&e->got) >= e->stop_at)
        io_stop(e->io);
}

static void on_ended(void *arg, int status)
{
    struct end *e = arg;
    e->ended++;
    e->status = status;
    if (e->stop_at_end)
        io_stop(e->io);
}

static void on_secured(void *arg, int status)
{
    struct end *e = arg;
    e->secured++;
    e->secured_status = status;
    if (e->pause_when_secured)
        io_stream_pause(e->s, true);
    if (status == 0 && e->say != NULL)
        io_stream_write(e->s, vr_str_from(e->say));
    if (e->stop_when_secured)
        io_stop(e->io);
}

static const struct io_stream_ops ops = {
    .connected = on_connected, .data = on_data, .ended = on_ended, .secured = on_secured};

struct fixture {
    struct io *io;
    struct io_listener *listener;
    struct io_address address;
    struct end server, client;
    char folder[64], cert[100], key[100], cert2[100], key2[100];
};

static void on_accept(void *arg, struct io_stream *s)
{
    struct fixture *f = arg;
    f->server.s = s;
    io_stream_set(s, &ops, &f->server);
    if (f->server.start_at_connect)
        start(&f->server);
}

static struct io_tls *server_context(struct fixture *f)
{
    char error[256] = "";
    const struct io_tls_certificate certificates[] = {{"", f->cert, f->key},
                                                      {"second.test *.wild.test", f->cert2, f->key2}};
    struct io_tls *t = io_tls_server(certificates, 2, error);
    if (t == NULL)
        fail_msg("%s", error);
    return t;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char error[256];
    f->io = io_new(1);
    folder_make(f->folder);
    snprintf(f->cert, sizeof f->cert, "%s/cert", f->folder);
    snprintf(f->key, sizeof f->key, "%s/key", f->folder);
    snprintf(f->cert2, sizeof f->cert2, "%s/cert2", f->folder);
    snprintf(f->key2, sizeof f->key2, "%s/key2", f->folder);
    assert_int_equal(io_tls_self_signed("mail.test", 30, f->cert, f->key), 0);
    assert_int_equal(io_tls_self_signed("second.test", 30, f->cert2, f->key2), 0);
    struct end *ends[] = {&f->server, &f->client};
    for (int i = 0; i < 2; i++) {
        *ends[i] = (struct end){.io = f->io, .name = ""};
        vr_buf_init(&ends[i]->got, 64u << 20);
        vr_buf_init(&ends[i]->clear, 1u << 20);
    }
    f->server.tls = server_context(f);
    f->client.tls = io_tls_client(f->cert, error);
    assert_non_null(f->client.tls);
    struct io_address a;
    assert_true(io_address_parse(VR_STR("127.0.0.1:0"), 0, &a));
    int fd = io_listen_fd(&a, false, 0);
    assert_int_equal(io_listen_address(fd, &f->address), 0);
    f->listener = io_listener_new(f->io, fd, on_accept, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct end *ends[] = {&f->server, &f->client};
    for (int i = 0; i < 2; i++) {
        io_stream_close(ends[i]->s);
        io_tls_free(ends[i]->tls);
        vr_buf_fini(&ends[i]->got);
        vr_buf_fini(&ends[i]->clear);
    }
    io_listener_close(f->listener);
    io_free(f->io);
    folder_remove(f->folder);
    free(f);
    return 0;
}

static void connect_client(struct fixture *f)
{
    f->client.s = io_stream_connect(f->io, &f->address, NULL, 5000, &ops, &f->client);
}

static void implicit_tls_verified(void **state)
{
    struct fixture *f = *state;
    struct io_tls_info info;
    f->server.start_at_connect = f->client.start_at_connect = f->server.echo = true;
    f->client.verify = IO_TLS_VERIFY;
    f->client.name = "mail.test.";
    f->client.say = "EHLO";
    f->client.stop_at = 4;
    connect_client(f);
    assert_false(io_stream_tls_info(f->client.s, &info));
    run_guarded(f->io);
    assert_int_equal(f->client.secured_status, 0);
    assert_memory_equal(vr_buf_str(&f->client.got).p, "EHLO", 4);
    assert_true(io_stream_tls_info(f->client.s, &info));
    assert_true(info.verified);
    assert_string_equal(info.protocol, "TLSv1.3");
    assert_string_equal(info.server_name, "mail.test");
    assert_string_equal(info.peer_subject, "CN=mail.test");
    assert_true(info.bits >= 128);
    assert_string_equal(io_stream_tls_error(f->client.s), "");
    assert_true(io_stream_tls_info(f->server.s, &info));
    assert_string_equal(info.server_name, "mail.test");
    assert_false(info.verified);
}

static void verified_by_address(void **state)
{
    struct fixture *f = *state;
    struct io_tls_info info;
    f->server.start_at_connect = f->client.start_at_connect = f->client.stop_when_secured = true;
    f->client.verify = IO_TLS_VERIFY;
    f->client.name = "127.0.0.1";
    connect_client(f);
    run_guarded(f->io);
    assert_int_equal(f->client.secured_status, 0);
    assert_true(io_stream_tls_info(f->client.s, &info));
    assert_true(info.verified);
}

static void wrong_name_fails(void **state)
{
    struct fixture *f = *state;
    f->server.start_at_connect = f->client.start_at_connect = f->client.stop_when_secured = true;
    f->client.verify = IO_TLS_VERIFY;
    f->client.name = "other.test";
    f->client.say = "never";
    connect_client(f);
    run_guarded(f->io);
    assert_int_equal(f->client.secured_status, -EKEYREJECTED);
    assert_non_null(strstr(io_stream_tls_error(f->client.s), "hostname mismatch"));
    assert_non_null(strstr(io_stream_tls_error(f->client.s), "CN=mail.test"));
    run_for(f->io, 20);
    assert_int_equal(f->client.secured, 1);
    assert_int_equal(f->client.ended, 0);
    assert_int_equal(vr_buf_size(&f->server.got), 0);
}

static void unknown_authority_fails_or_passes_unverified(void **state)
{
    struct fixture *f = *state;
    char error[256];
    struct io_tls_info info;
    io_tls_free(f->client.tls);
    f->client.tls = io_tls_client(f->cert2, error); /* trusts the other one only */
    f->server.start_at_connect = f->client.start_at_connect = f->client.stop_when_secured = true;
    f->client.verify = IO_TLS_VERIFY;
    f->client.name = "mail.test";
    connect_client(f);
    run_guarded(f->io);
    assert_int_equal(f->client.secured_status, -EKEYREJECTED);
    assert_non_null(strstr(io_stream_tls_error(f->client.s), "self-signed certificate"));
    io_stream_close(f->client.s);
    run_for(f->io, 10);
    io_stream_close(f->server.s);
    f->server.s = NULL;

    f->client.secured = f->server.secured = 0;
    f->client.verify = IO_TLS_OPPORTUNISTIC;
    connect_client(f);
    run_guarded(f->io);
    assert_int_equal(f->client.secured_status, 0);
    assert_true(io_stream_tls_info(f->client.s, &info));
    assert_false(info.verified);
}

/* "3 1 1": SHA-256 of the public key (RFC 6698 §2.1). */
static struct vr_str tlsa_of(const char *path, char out[35])
{
    FILE *file = fopen(path, "r");
    X509 *x = PEM_read_X509(file, NULL, NULL, NULL);
    unsigned char *spki = NULL;
    assert_non_null(x);
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
    memcpy(out, "\x03\x01\x01", 3);
    SHA256(spki, (size_t)n, (unsigned char *)out + 3);
    OPENSSL_free(spki);
    X509_free(x);
    fclose(file);
    return vr_str(out, 35);
}

static void dane_trusts_the_record_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    char right[35], wrong[35], error[256];
    struct io_tls_info info;
    struct vr_str good = tlsa_of(f->cert, right), bad = tlsa_of(f->cert2, wrong),
                  pkix = VR_STR("\x01\x01\x01xxxxxxxx");
    const struct {
        struct vr_str records[3];
        size_t count;
        int status;
        bool verified;
    } rows[] = {
        {{bad, pkix, good}, 3, 0, true}, /* one match is enough; the name is another one */
        {{bad}, 1, -EKEYREJECTED, false},
        {{pkix}, 1, 0, false}, /* unusable: as without, but encrypted */
    };
    io_tls_free(f->client.tls);
    f->client.tls = io_tls_client(f->cert2, error); /* would never verify by CA */
    f->server.start_at_connect = f->client.start_at_connect = f->client.stop_when_secured = true;
    f->client.name = "mx.other.test";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        f->client.secured = f->server.secured = 0;
        memcpy(f->client.tlsa, rows[i].records, sizeof rows[i].records);
        f->client.tlsa_count = rows[i].count;
        connect_client(f);
        run_guarded(f->io);
        assert_int_equal(f->client.secured_status, rows[i].status);
        assert_int_equal(io_stream_tls_info(f->client.s, &info), rows[i].status == 0);
        assert_int_equal(info.verified, rows[i].verified);
        assert_int_equal(info.dane, rows[i].verified);
        io_stream_close(f->client.s);
        f->client.s = NULL;
        run_for(f->io, 5);
        io_stream_close(f->server.s);
        f->server.s = NULL;
    }
}

static void verify_without_a_name_is_refused(void **state)
{
    struct fixture *f = *state;
    f->server.start_at_connect = f->client.start_at_connect = f->client.stop_when_secured = true;
    f->client.verify = IO_TLS_VERIFY;
    connect_client(f);
    run_guarded(f->io);
    assert_int_equal(f->client.secured_status, -EINVAL);
    assert_non_null(strstr(io_stream_tls_error(f->client.s), "no name"));
}

static void sni_chooses_the_certificate(void **state)
{
    static const struct {
        const char *name, *subject;
    } rows[] = {{"second.test", "CN=second.test"},
                {"SECOND.test", "CN=second.test"},
                {"a.wild.test", "CN=second.test"},
                {"a.b.wild.test", "CN=mail.test"},
                {"wild.test", "CN=mail.test"},
                {"unknown.test", "CN=mail.test"},
                {"", "CN=mail.test"}};
    struct fixture *f = *state;
    f->server.start_at_connect = f->client.start_at_connect = f->client.stop_when_secured = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct io_tls_info info;
        f->client.name = rows[i].name;
        f->client.secured = f->server.secured = 0;
        connect_client(f);
        run_guarded(f->io);
        assert_true(io_stream_tls_info(f->client.s, &info));
        assert_string_equal(info.peer_subject, rows[i].subject);
        io_stream_close(f->client.s);
        io_stream_close(f->server.s);
        f->client.s = f->server.s = NULL;
    }
}

static void expect_subject(struct fixture *f, const char *name, const char *subject)
{
    struct io_tls_info info;
    f->client.name = name;
    f->client.secured = f->server.secured = 0;
    connect_client(f);
    while (f->client.secured == 0 || f->server.secured == 0) /* what comes late would be taken for the next one's */
        run_guarded(f->io);
    assert_true(io_stream_tls_info(f->client.s, &info));
    assert_string_equal(info.peer_subject, subject);
}

static void replaced_certificates_are_shown_to_who_comes_later(void **state)
{
    struct fixture *f = *state;
    char error[256] = "";
    struct vr_buf pem[2];
    struct io_tls_certificate fresh = {.certificate = f->cert2, .key = f->key2};
    f->server.start_at_connect = f->client.start_at_connect = true;
    f->server.stop_when_secured = f->client.stop_when_secured = true;
    expect_subject(f, "", "CN=mail.test");
    struct io_stream *old[2] = {f->client.s, f->server.s};
    assert_true(io_tls_replace(f->server.tls, 0, &fresh, error));
    expect_subject(f, "", "CN=second.test");
    io_stream_close(f->client.s);
    io_stream_close(f->server.s);
    fresh = (struct io_tls_certificate){.certificate = "text",
                                        .key = "text"}; /* the other way round, from memory */
    for (int i = 0; i < 2; i++) {
        vr_buf_init(&pem[i], 1 << 16);
        assert_int_equal(io_fs_read_file(i == 0 ? f->cert : f->key, &pem[i]), 0);
    }
    fresh.certificate_pem = vr_buf_str(&pem[0]);
    fresh.key_pem = vr_buf_str(&pem[1]);
    assert_true(io_tls_replace(f->server.tls, 1, &fresh, error));
    expect_subject(f, "second.test", "CN=mail.test"); /* names are the section's */
    io_stream_close(f->client.s);
    io_stream_close(f->server.s);
    fresh.key_pem = vr_str_sub(fresh.key_pem, 0, 60);
    assert_false(io_tls_replace(f->server.tls, 1, &fresh, error));
    assert_non_null(strstr(error, "cannot use the private key text"));
    expect_subject(f, "a.wild.test", "CN=mail.test");
    io_stream_close(f->client.s);
    io_stream_close(f->server.s);
    f->client.s = old[0]; /* the session from before the first change lives */
    f->server.s = old[1];
    struct io_tls_info info;
    assert_true(io_stream_tls_info(f->client.s, &info));
    assert_string_equal(info.peer_subject, "CN=mail.test");
    vr_buf_reset(&f->server.got);
    f->server.stop_at = 4;
    io_stream_write(f->client.s, VR_STR("NOOP"));
    run_guarded(f->io);
    assert_true(vr_str_equal(vr_buf_str(&f->server.got), VR_STR("NOOP")));
    vr_buf_fini(&pem[0]);
    vr_buf_fini(&pem[1]);
}

/* A client that speaks no TLS. */
static int raw_client(const struct fixture *f)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(f->address.port)};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

/* RFC 3207 §4.2: what a man in the middle put behind STARTTLS must never be taken for the client's. */
static void injected_plaintext_never_surfaces(void **state)
{
    struct fixture *f = *state;
    int fd = raw_client(f);
    f->server.start_at_data = f->server.stop_when_secured = true;
    assert_true(write(fd, "STARTTLS\r\n", 10) == 10);
    run_for(f->io, 20);
    assert_true(write(fd, "MAIL FROM:<evil@example.org>\r\n", 30) == 30);
    run_guarded(f->io);
    assert_int_equal(f->server.secured, 1);
    assert_int_equal(f->server.secured_status, -EPROTO);
    assert_true(io_stream_tls_error(f->server.s)[0] != '\0');
    assert_int_equal(vr_buf_size(&f->server.got), 0);
    assert_int_equal(vr_buf_size(&f->server.clear), 10);
    close(fd);
}

static void starttls_after_clear_text(void **state)
{
    struct fixture *f = *state;
    f->server.start_at_data = true;
    f->server.echo = true;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("STARTTLS\r\n"));
    run_for(f->io, 20);
    assert_int_equal(vr_buf_size(&f->client.clear), 14); /* "220 go ahead" arrived in clear */
    f->client.say = "secret";
    f->client.stop_at = 6;
    start(&f->client);
    io_stream_write(f->client.s, VR_STR("early ")); /* waits for the handshake */
    f->client.stop_at = 12;
    run_guarded(f->io);
    assert_memory_equal(vr_buf_str(&f->client.got).p, "early secret", 12);
}

/* A header in clear comes in one piece with the ClientHello, or with a part of it, or alone. */
static void handshake_behind_a_header(void **state)
{
    struct fixture *f = *state;
    static const char header[] = "PROXY UNKNOWN\r\n";
    for (size_t cut = 0; cut <= 12;
         cut++) { /* bytes of the header (and of the handshake) that wait for the rest */
        struct io_tls_info info;
        f->server.header = sizeof header - 1;
        f->server.echo = false;
        f->server.secured = f->client.secured = 0;
        f->server.say = "220 ready";
        f->client.start_at_connect = false;
        f->client.stop_at = 9;
        vr_buf_reset(&f->client.got);
        vr_buf_reset(&f->server.clear);
        connect_client(f);
        io_stream_write(f->client.s, vr_str(header, cut));
        if (cut > 0)
            run_for(f->io, 5);
        io_stream_write(f->client.s, vr_str(header + cut, sizeof header - 1 - cut));
        start(&f->client); /* leaves with the header */
        run_guarded(f->io);
        assert_int_equal(f->server.secured_status, 0);
        assert_true(vr_str_equal(vr_buf_str(&f->client.got), VR_STR("220 ready")));
        assert_true(io_stream_tls_info(f->server.s, &info));
        io_stream_close(f->client.s);
        io_stream_close(f->server.s);
        f->client.s = f->server.s = NULL;
    }
    assert_int_equal(f->server.together, 13);
}

/* What is no handshake does not become one, and is not shown. */
static void no_handshake_behind_a_header(void **state)
{
    struct fixture *f = *state;
    f->server.header = 4;
    f->server.stop_when_secured = true;
    connect_client(f);
    io_stream_write(f->client.s, VR_STR("head EHLO injected\r\n"));
    run_guarded(f->io);
    assert_int_equal(f->server.secured, 1);
    assert_int_equal(f->server.secured_status, -EPROTO);
    assert_int_equal(vr_buf_size(&f->server.got), 0);
}

static void peer_that_leaves_in_the_handshake(void **state)
{
    struct fixture *f = *state;
    int fd = raw_client(f);
    f->server.start_at_data = f->server.stop_when_secured = true;
    assert_true(write(fd, "x", 1) == 1);
    run_for(f->io, 10);
    close(fd);
    run_guarded(f->io);
    assert_int_equal(f->server.secured_status, -ECONNRESET);
    assert_non_null(strstr(io_stream_tls_error(f->server.s), "closed"));
    assert_int_equal(f->server.ended, 0);
}

static void large_transfer_with_pauses(void **state)
{
    struct fixture *f = *state;
    const size_t size = 8u << 20;
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 13 + i / 511);
    f->server.start_at_connect = f->client.start_at_connect = true;
    f->server.pause_when_secured = f->client.stop_when_secured = true;
    connect_client(f);
    run_guarded(f->io);
    io_stream_write(f->client.s, vr_str(bytes, size));
    run_for(f->io, 100);
    assert_int_equal(f->server.secured, 1);
    assert_int_equal(vr_buf_size(&f->server.got), 0);
    assert_true(io_stream_unsent(f->client.s) > 0);
    f->server.stop_at = 1;
    for (int i = 0; i < 1000 && vr_buf_size(&f->server.got) < size; i++) { /* a piece at a time */
        io_stream_pause(f->server.s, false);
        run_guarded(f->io);
        io_stream_pause(f->server.s, true);
        if (i % 50 == 0) { /* a pause that outlasts the loop's turn holds */
            size_t before = vr_buf_size(&f->server.got);
            run_for(f->io, 2);
            assert_int_equal(vr_buf_size(&f->server.got), before);
        }
    }
    assert_int_equal(vr_buf_size(&f->server.got), size);
    assert_memory_equal(vr_buf_str(&f->server.got).p, bytes, size);
    free(bytes);
}

static void finish_sends_all_and_close_notify(void **state)
{
    struct fixture *f = *state;
    f->server.start_at_connect = f->client.start_at_connect = f->client.stop_when_secured = true;
    connect_client(f);
    run_guarded(f->io);
    run_for(f->io, 10);
    static char large[300000];
    io_stream_write(f->client.s, vr_str(large, sizeof large));
    io_stream_finish(f->client.s, 2000);
    f->client.s = NULL;
    f->server.stop_at_end = true;
    run_guarded(f->io);
    assert_int_equal(vr_buf_size(&f->server.got), sizeof large);
    assert_int_equal(f->server.ended, 1);
    assert_int_equal(f->server.status, 0);
}

static void end_without_close_notify_is_an_end(void **state)
{
    struct fixture *f = *state;
    f->server.start_at_connect = f->client.start_at_connect = f->client.stop_when_secured = true;
    connect_client(f);
    run_guarded(f->io);
    run_for(f->io, 10);
    io_stream_close(f->server.s); /* a bare FIN: TLS 1.3 tickets were read by the client already */
    f->server.s = NULL;
    f->client.stop_at_end = true;
    run_guarded(f->io);
    assert_int_equal(f->client.status, 0);
}

static void contexts_explain_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    char error[256] = "", missing[120];
    snprintf(missing, sizeof missing, "%s/missing", f->folder);
    struct io_tls_certificate c = {"", missing, f->key};
    assert_null(io_tls_server(&c, 1, error));
    assert_non_null(strstr(error, missing));
    assert_non_null(strstr(error, "No such file"));
    c = (struct io_tls_certificate){"", f->cert, f->key2};
    assert_null(io_tls_server(&c, 1, error));
    assert_non_null(strstr(error, f->key2));
    c = (struct io_tls_certificate){"", f->cert, f->cert};
    assert_null(io_tls_server(&c, 1, error));
    assert_non_null(strstr(error, f->cert));
    assert_null(io_tls_server(&c, 0, error));
    assert_null(io_tls_client(missing, error));
    assert_non_null(strstr(error, missing));
    struct io_tls *system = io_tls_client(NULL, error);
    assert_non_null(system);
    io_tls_free(system);
    io_tls_free(NULL);
}

static void self_signed_files(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(f->cert, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    assert_int_equal(io_tls_self_signed("a,DNS:b", 1, f->cert2, f->key2), -EINVAL);
    assert_int_equal(io_tls_self_signed("x.test", 1, "/nonexistent/c", "/nonexistent/k"), -ENOENT);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(implicit_tls_verified),
        T(verified_by_address),
        T(wrong_name_fails),
        T(unknown_authority_fails_or_passes_unverified),
        T(dane_trusts_the_record_and_nothing_else),
        T(verify_without_a_name_is_refused),
        T(sni_chooses_the_certificate),
        T(replaced_certificates_are_shown_to_who_comes_later),
        T(injected_plaintext_never_surfaces),
        T(starttls_after_clear_text),
        T(handshake_behind_a_header),
        T(no_handshake_behind_a_header),
        T(peer_that_leaves_in_the_handshake),
        T(large_transfer_with_pauses),
        T(finish_sends_all_and_close_notify),
        T(end_without_close_notify_is_an_end),
        T(contexts_explain_what_is_wrong),
        T(self_signed_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
