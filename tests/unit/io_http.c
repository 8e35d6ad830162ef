/* io_http.c - HTTPS requests against a server in the same loop, by io's own TLS, in every mood. */
#include "folder_testing.h"

#include "io/fs.h"
#include "io/http.h"
#include "io/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], certificate[128], key[128], url[128];
static struct io *io;
static struct io_tls *tls;
static struct io_listener *listener;
static struct io_http *http;

/* ---- a server: one answer a request, whatever it is ------------------------------------------------------------------ */

static const char *reply; /* NULL: none at all */
static size_t reply_padding;
static char asked[4096];
static unsigned connections, requests;

struct client {
    struct io_stream *stream;
    struct vr_buf in;
    struct client *next;
};
static struct client *clients;

static void client_close(struct client *c)
{
    for (struct client **at = &clients; *at != NULL; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            break;
        }
    io_stream_close(c->stream);
    vr_buf_fini(&c->in);
    free(c);
}

static void client_data(void *arg, struct vr_str bytes)
{
    struct client *c = arg;
    vr_buf_add(&c->in, bytes);
    struct vr_str text = vr_buf_str(&c->in);
    size_t end = vr_str_find_str(text, VR_STR("\r\n\r\n")),
           at = vr_str_find_str(text, VR_STR("Content-Length: "));
    if (end == VR_NPOS)
        return;
    size_t body = at == VR_NPOS ? 0 : (size_t)atoi(text.p + at + 16);
    if (text.n < end + 4 + body)
        return;
    requests++;
    snprintf(asked, sizeof asked, "%.*s", VR_STR_ARG(text));
    vr_buf_reset(&c->in);
    if (reply == NULL)
        return;
    io_stream_write(c->stream, vr_str_from(reply));
    for (size_t i = 0; i < reply_padding; i += 16)
        io_stream_write(c->stream, VR_STR("0123456789abcdef"));
}

static void client_ended(void *arg, int status)
{
    (void)status;
    client_close(arg);
}

static void client_secured(void *arg, int status)
{
    if (status != 0)
        client_close(arg);
}

static void client_accept(void *arg, struct io_stream *s)
{
    static const struct io_stream_ops ops = {
        .data = client_data, .ended = client_ended, .secured = client_secured};
    struct client *c = calloc(1, sizeof *c);
    (void)arg;
    assert_non_null(c);
    *c = (struct client){.stream = s, .next = clients};
    clients = c;
    connections++;
    vr_buf_init(&c->in, 65536);
    io_stream_set(s, &ops, c);
    io_stream_start_tls(s, tls, IO_TLS_OPPORTUNISTIC, VR_STR(""));
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static struct answer {
    unsigned status;
    char body[256], error[256], type[64];
    bool came;
} answers[IO_HTTP_RUNNING_MAX];
static unsigned came, wanted;

static void answered(void *arg, const struct io_http_answer *a)
{
    struct answer *out = arg;
    assert_false(out->came);
    *out = (struct answer){.status = a->status, .came = true};
    snprintf(out->body, sizeof out->body, "%.*s", VR_STR_ARG(a->body));
    snprintf(out->error, sizeof out->error, "%s", a->error);
    snprintf(out->type, sizeof out->type, "%s", a->content_type);
    assert_true((a->status == 0) == (a->error[0] != '\0'));
    if (++came == wanted)
        io_stop(io);
}

#define PATIENT_MS 60000 /* a busy machine takes long for many handshakes */
static int64_t patience_ms = PATIENT_MS;

static const char *resolve, *accept_type;

static struct io_http_call *ask(unsigned at, const char *where, struct vr_str body)
{
    struct io_http_request r = {.url = where,
                                .resolve = resolve,
                                .accept = accept_type,
                                .body = body,
                                .content_type = "application/x-www-form-urlencoded",
                                .user = "me",
                                .password = "hush",
                                .timeout_ms = patience_ms,
                                .answer_max = 200};
    return io_http_ask(http, &r, answered, &answers[at]);
}

static struct answer ask_one(const char *where, struct vr_str body)
{
    memset(answers, 0, sizeof answers);
    wanted = came + 1;
    assert_non_null(ask(0, where, body));
    assert_false(answers[0].came); /* from the loop only */
    io_run(io);
    return answers[0];
}

static int setup(void **state)
{
    (void)state;
    char error[256];
    struct io_address a;
    assert_true(folder_new(folder));
    snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    assert_int_equal(io_tls_self_signed("localhost", 2, certificate, key), 0);
    struct io_tls_certificate own = {.names = "", .certificate = certificate, .key = key};
    tls = io_tls_server(&own, 1, error);
    assert_non_null(tls);
    io = io_new(1);
    a = (struct io_address){.family = IO_INET, .ip = {127, 0, 0, 1}};
    int fd = io_listen_fd(&a, false, 0);
    assert_true(fd >= 0);
    assert_int_equal(io_listen_address(fd, &a), 0);
    listener = io_listener_new(io, fd, client_accept, NULL);
    snprintf(url, sizeof url, "https://localhost:%u/x?y=z", a.port);
    http = io_http_new(io, certificate, error);
    assert_non_null(http);
    reply = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    reply_padding = 0;
    came = connections = requests = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    io_http_free(http);
    if (listener != NULL)
        io_listener_close(listener);
    while (clients != NULL)
        client_close(clients);
    io_tls_free(tls);
    io_free(io);
    folder_remove(folder);
    return 0;
}

/* The name is looked up by whoever asks; the certificate must be of that name all the same. */
static void a_host_that_is_resolved_already(void **state)
{
    (void)state;
    char at[64], elsewhere[64], where[64];
    unsigned port = (unsigned)atoi(strrchr(url, ':') + 1);
    snprintf(at, sizeof at, "localhost:%u:[::1],127.0.0.1", port);
    snprintf(elsewhere, sizeof elsewhere, "policy.invalid:%u:127.0.0.1", port);
    snprintf(where, sizeof where, "https://policy.invalid:%u/", port);
    reply = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello";
    resolve = at;
    accept_type = "text/plain";
    struct answer a = ask_one(url, (struct vr_str){NULL, 0});
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "text/plain; charset=utf-8");
    assert_non_null(strstr(asked, "Accept: text/plain\r\n"));
    resolve = elsewhere;
    a = ask_one(where, (struct vr_str){NULL, 0});
    assert_int_equal(a.status, 0);
    if (strstr(a.error, "certificate") == NULL)
        fail_msg("%s", a.error);
    snprintf(elsewhere, sizeof elsewhere, "localhost:%u:127.0.0.2", port); /* the last word counts */
    a = ask_one(url, (struct vr_str){NULL, 0});
    assert_int_equal(a.status, 0);
    assert_non_null(strstr(a.error, "connect"));
    resolve = at;
    accept_type = NULL;
    reply = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    a = ask_one(url, (struct vr_str){NULL, 0});
    assert_string_equal(a.type, "");
    resolve = NULL;
}

static void a_question_and_its_answer(void **state)
{
    (void)state;
    struct answer a = ask_one(url, VR_STR("a=b&c=d"));
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "hello");
    assert_non_null(strstr(asked, "POST /x?y=z HTTP/1.1\r\n"));
    assert_non_null(strstr(asked, "Authorization: Basic bWU6aHVzaA==\r\n"));
    assert_non_null(strstr(asked, "Content-Type: application/x-www-form-urlencoded\r\n"));
    assert_non_null(strstr(asked, "\r\n\r\na=b&c=d"));
    a = ask_one(url, (struct vr_str){NULL, 0});
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(asked, "GET /x?y=z HTTP/1.1\r\n"));
    assert_int_equal(connections, 1); /* it stood still */
    a = ask_one(url, VR_STR(""));     /* a POST with nothing in it */
    assert_non_null(strstr(asked, "POST /x?y=z HTTP/1.1\r\n"));
}

static void whatever_the_status(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        unsigned status;
    } rows[] = {{"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", 401},
                {"HTTP/1.1 503 Later\r\nContent-Length: 2\r\n\r\nno", 503},
                {"HTTP/1.1 302 There\r\nLocation: https://localhost:1/\r\nContent-Length: 0\r\n\r\n", 302}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reply = rows[i].reply;
        assert_int_equal(ask_one(url, VR_STR("x")).status, rows[i].status);
        assert_int_equal(requests, i + 1); /* nobody was followed elsewhere */
    }
}

static void answers_that_are_none(void **state)
{
    (void)state;
    reply = "HTTP/1.1 200 OK\r\nContent-Length: 208\r\n\r\n";
    reply_padding = 208;
    struct answer a = ask_one(url, VR_STR("x"));
    assert_int_equal(a.status, 0);
    assert_string_equal(a.error, "the answer is too long");
    reply_padding = 0;
    reply = "220 mail.test ESMTP\r\n";
    assert_int_equal(ask_one(url, VR_STR("x")).status, 0);
    reply = NULL;
    int64_t start = io_monotonic_ms(io);
    patience_ms = 1500;
    a = ask_one(url, VR_STR("x"));
    patience_ms = PATIENT_MS;
    assert_int_equal(a.status, 0);
    assert_non_null(strstr(a.error, "timed out"));
    assert_true(io_monotonic_ms(io) - start < 10000);
}

static void servers_that_are_none(void **state)
{
    (void)state;
    assert_int_equal(ask_one("http://localhost/", VR_STR("x")).status, 0); /* never in clear */
    assert_int_equal(ask_one("file:///etc/passwd", (struct vr_str){NULL, 0}).status, 0);
    io_listener_close(listener);
    listener = NULL;
    struct answer a = ask_one(url, VR_STR("x"));
    assert_int_equal(a.status, 0);
    assert_non_null(strstr(a.error, "connect"));
}

static void certificates_of_others(void **state)
{
    (void)state;
    char error[256], other[128], other_key[128], text[128];
    snprintf(other, sizeof other, "%s/other.pem", folder);
    snprintf(other_key, sizeof other_key, "%s/other.key", folder);
    assert_int_equal(io_tls_self_signed("localhost", 2, other, other_key), 0);
    io_http_free(http);
    http = io_http_new(io, other, error);
    struct answer a = ask_one(url, VR_STR("a secret"));
    assert_int_equal(a.status, 0);
    assert_non_null(strstr(a.error, "ertificate"));
    assert_int_equal(requests, 0);
    io_http_free(http);
    http = io_http_new(io, NULL, error); /* the system's do not know it either */
    assert_int_equal(ask_one(url, VR_STR("a secret")).status, 0);
    assert_int_equal(requests, 0);
    snprintf(text, sizeof text, "%s/none.pem", folder);
    assert_null(io_http_new(io, text, error));
    assert_non_null(strstr(error, "none.pem: No such file"));
}

static void many_at_a_time(void **state)
{
    (void)state;
    memset(answers, 0, sizeof answers);
    wanted = came + IO_HTTP_RUNNING_MAX - 8;
    struct io_http_call *calls[IO_HTTP_RUNNING_MAX];
    for (unsigned i = 0; i < IO_HTTP_RUNNING_MAX; i++) {
        calls[i] = ask(i, url, VR_STR("x"));
        assert_non_null(calls[i]);
    }
    assert_null(ask(0, url, VR_STR("x")));
    for (unsigned i = 0; i < IO_HTTP_RUNNING_MAX; i += 8)
        io_http_cancel(calls[i]);
    io_run(io);
    for (unsigned i = 0; i < IO_HTTP_RUNNING_MAX; i++) {
        assert_int_equal(answers[i].came, i % 8 != 0);
        assert_int_equal(answers[i].status, i % 8 != 0 ? 200 : 0);
    }
    reply = NULL; /* some are left under way for the end */
    for (unsigned i = 0; i < 5; i++)
        assert_non_null(ask(i, url, VR_STR("x")));
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(a_host_that_is_resolved_already),
        EACH(a_question_and_its_answer),
        EACH(whatever_the_status),
        EACH(answers_that_are_none),
        EACH(servers_that_are_none),
        EACH(certificates_of_others),
        EACH(many_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
