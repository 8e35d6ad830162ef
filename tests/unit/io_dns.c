/* io_dns.c - tests of src/io/dns.h against a small DNS server in this program, on a port of the loopback network. */
#include "io_testing.h"

#include "io/dns.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

/* ---- the server ------------------------------------------------------------------------------------------ */

/* rdata as the wire has it; names uncompressed. owner NULL: the asked name. */
struct record {
    const char *name; /* asked */
    uint16_t type;    /* asked */
    uint16_t answer_type;
    const char *owner; /* wire form */
    const char *rdata;
    size_t n;
};
#define R(name, type, rdata)                                                                                 \
    {                                                                                                        \
        name, type, type, NULL, rdata, sizeof(rdata) - 1                                                     \
    }
#define R2(name, type, answer_type, owner, rdata)                                                            \
    {                                                                                                        \
        name, type, answer_type, owner, rdata, sizeof(rdata) - 1                                             \
    }

static const struct record records[] = {
    R("a.test", 1, "\xc0\x00\x02\x01"),
    R("a.test", 1, "\xc0\x00\x02\x02"),
    R("a.test", 28, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"),
    R("mx.test", 15, "\x00\x14\x04mail\x04test\x00"),
    R("mx.test", 15, "\x00\x0a\x02m2\x04test\x00"),
    R("null.test", 15, "\x00\x00\x00"),
    R("odd.test", 15,
      "\x00\x05\x09"
      "a b\r\nc.\\x\x04test\x00"),
    R("txt.test", 16, "\x07v=spf1 \x04-all"),
    R("txt.test", 16, "\x00"),
    R("_25._tcp.a.test", 52,
      "\x03\x01\x01"
      "0123456789abcdef0123456789abcdef"),
    R("1.2.0.192.in-addr.arpa", 12,
      "\x01"
      "a\x04test\x00"),
    R2("www.test", 1, 5, NULL,
       "\x01"
       "a\x04test\x00"),
    R2("www.test", 1, 1,
       "\x01"
       "a\x04test",
       "\xc0\x00\x02\x01"),
    R("www.test", 5,
      "\x01"
      "a\x04test\x00"),
};

struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    int asked; /* questions that came, all types */
};

/* The question's name as text in lower case; returns its wire length. */
static size_t question_name(const unsigned char *p, char *out)
{
    size_t i = 0, n = 0;
    while (p[i] != 0) {
        size_t label = p[i++];
        if (n > 0)
            out[n++] = '.';
        for (; label > 0; label--)
            out[n++] = vr_lower((char)p[i++]);
    }
    out[n] = '\0';
    return i + 1;
}

static size_t put_record(unsigned char *out, const struct record *r)
{
    size_t n = 0;
    if (r->owner != NULL) {
        memcpy(out, r->owner, strlen(r->owner) + 1);
        n = strlen(r->owner) + 1;
    } else {
        out[n++] = 0xc0; /* the question's name */
        out[n++] = 12;
    }
    const unsigned char head[] = {
        0, (unsigned char)r->answer_type, 0, 1, 0, 0, 1, 44, 0, (unsigned char)r->n};
    memcpy(out + n, head, sizeof head);
    memcpy(out + n + sizeof head, r->rdata, r->n);
    return n + sizeof head + r->n;
}

/* An SOA for negative answers: "test. SOA test. test. 1 1 1 1 60". */
static size_t put_soa(unsigned char *out)
{
    static const char soa[] = "\x04test\x00\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x20\x04test\x00\x04test\x00"
                              "\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\x3c";
    memcpy(out, soa, sizeof soa - 1);
    return sizeof soa - 1;
}

static void *serve(void *arg)
{
    struct server *s = arg;
    for (;;) {
        unsigned char q[512], a[1500];
        char name[256];
        struct sockaddr_in from;
        socklen_t from_n = sizeof from;
        ssize_t n = recvfrom(s->fd, q, sizeof q, 0, (struct sockaddr *)&from, &from_n);
        if (n < 17)
            return NULL; /* an empty datagram ends it */
        __atomic_add_fetch(&s->asked, 1, __ATOMIC_SEQ_CST);
        size_t name_n = question_name(q + 12, name), size = 12 + name_n + 4;
        unsigned type = (unsigned)q[12 + name_n] << 8 | q[12 + name_n + 1];
        unsigned rcode = 0, count = 0, authority = 0;
        memcpy(a, q, size);
        if (strstr(name, "silent") != NULL)
            continue;
        bool known = false;
        for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
            known |= strcmp(records[i].name, name) == 0;
            if (strcmp(records[i].name, name) == 0 && records[i].type == type) {
                size += put_record(a + size, &records[i]);
                count++;
            }
        }
        if (strstr(name, "fail") != NULL)
            rcode = 2;
        else if (strstr(name, "refused") != NULL)
            rcode = 5;
        else if (!known)
            rcode = 3;
        if (count == 0 && (rcode == 0 || rcode == 3)) {
            size += put_soa(a + size);
            authority = 1;
        }
        a[2] = 0x85; /* an answer, authoritative, recursion desired */
        a[3] = (unsigned char)(0x80 | rcode);
        const unsigned char counts[] = {0, 1, 0, (unsigned char)count, 0, (unsigned char)authority, 0, 0};
        memcpy(a + 4, counts, sizeof counts);
        sendto(s->fd, a, size, 0, (struct sockaddr *)&from, from_n);
    }
}

/* ---- asking ---------------------------------------------------------------------------------------------- */

struct fixture {
    struct io *io;
    struct io_dns *dns;
    struct server server;
    int answers;
    enum io_dns_status status;
    char canonical[300], why[200], text[600];
    size_t count;
    uint32_t ttl;
    uint16_t preference[4];
    char names[4][300];
    struct vr_buf data[4];
    bool free_in_answer, keep_running;
};

static void on_answer(void *arg, const struct io_dns_answer *a)
{
    struct fixture *f = arg;
    f->answers++;
    f->status = a->status;
    f->count = a->count;
    f->ttl = a->ttl;
    assert_false(a->secure || a->bogus);
    assert_true((a->why != NULL) == (a->status == IO_DNS_FAILED));
    snprintf(f->canonical, sizeof f->canonical, "%.*s", VR_STR_ARG(a->canonical));
    snprintf(f->why, sizeof f->why, "%s", a->why != NULL ? a->why : "");
    for (size_t i = 0; i < a->count && i < 4; i++) {
        f->preference[i] = a->records[i].preference;
        snprintf(f->names[i], sizeof f->names[i], "%.*s", VR_STR_ARG(a->records[i].name));
        vr_buf_reset(&f->data[i]);
        vr_buf_add(&f->data[i], a->records[i].data);
    }
    if (f->free_in_answer) {
        io_dns_free(f->dns);
        f->dns = NULL;
    }
    if (!f->keep_running)
        io_stop(f->io);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t n = sizeof sa;
    char forwarder[64], error[256] = "";
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->server.fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(getsockname(f->server.fd, (struct sockaddr *)&sa, &n), 0);
    f->server.port = ntohs(sa.sin_port);
    assert_int_equal(pthread_create(&f->server.thread, NULL, serve, &f->server), 0);
    f->io = io_new(1);
    for (int i = 0; i < 4; i++)
        vr_buf_init(&f->data[i], 65536);
    snprintf(forwarder, sizeof forwarder, "127.0.0.1@%u", f->server.port);
    const char *const forwarders[] = {forwarder, NULL};
    struct io_dns_config config = {.forwarders = forwarders, .timeout_ms = 5000};
    f->dns = io_dns_new(f->io, &config, error);
    if (f->dns == NULL)
        fail_msg("%s", error);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(f->server.port)};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    io_dns_free(f->dns);
    io_free(f->io);
    assert_int_equal(sendto(f->server.fd, "", 0, 0, (struct sockaddr *)&sa, sizeof sa), 0);
    pthread_join(f->server.thread, NULL);
    close(f->server.fd);
    for (int i = 0; i < 4; i++)
        vr_buf_fini(&f->data[i]);
    free(f);
    return 0;
}

static void ask(struct fixture *f, const char *name, enum io_dns_type type)
{
    f->answers = 0;
    assert_non_null(io_dns_ask(f->dns, vr_str_from(name), type, on_answer, f));
    assert_int_equal(f->answers, 0); /* never from inside the call */
    run_guarded(f->io);
    assert_int_equal(f->answers, 1);
}

static void assert_data(struct fixture *f, size_t i, const char *bytes, size_t n)
{
    assert_int_equal(vr_buf_size(&f->data[i]), n);
    if (n > 0)
        assert_memory_equal(vr_buf_str(&f->data[i]).p, bytes, n);
}

static void addresses(void **state)
{
    struct fixture *f = *state;
    ask(f, "a.test", IO_DNS_A);
    assert_int_equal(f->status, IO_DNS_OK);
    assert_int_equal(f->count, 2);
    assert_int_equal(f->ttl, 300);
    assert_string_equal(f->canonical, "a.test");
    assert_int_equal(vr_buf_size(&f->data[0]), 4);
    assert_memory_equal(vr_buf_str(&f->data[0]).p, "\xc0\x00\x02", 3);
    ask(f, "A.Test.", IO_DNS_AAAA);
    assert_int_equal(f->status, IO_DNS_OK);
    assert_data(f, 0, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07", 16);
}

static void mail_exchangers(void **state)
{
    struct fixture *f = *state;
    ask(f, "mx.test", IO_DNS_MX);
    assert_int_equal(f->count, 2);
    int first = f->preference[0] == 10 ? 0 : 1;
    assert_int_equal(f->preference[first], 10);
    assert_string_equal(f->names[first], "m2.test");
    assert_int_equal(f->preference[1 - first], 20);
    assert_string_equal(f->names[1 - first], "mail.test");
    ask(f, "null.test", IO_DNS_MX); /* RFC 7505 */
    assert_int_equal(f->status, IO_DNS_OK);
    assert_int_equal(f->count, 1);
    assert_string_equal(f->names[0], "");
}

static void strange_names_are_escaped_and_cannot_be_asked(void **state)
{
    struct fixture *f = *state;
    ask(f, "odd.test", IO_DNS_MX);
    assert_int_equal(f->count, 1);
    assert_string_equal(f->names[0], "a\\032b\\013\\010c\\046\\092x.test");
    int before = f->server.asked;
    ask(f, f->names[0], IO_DNS_A);
    assert_int_equal(f->status, IO_DNS_NXDOMAIN);
    assert_int_equal(f->server.asked, before);
}

static void texts_are_joined(void **state)
{
    struct fixture *f = *state;
    ask(f, "txt.test", IO_DNS_TXT);
    assert_int_equal(f->count, 2);
    int spf = vr_buf_size(&f->data[0]) > 0 ? 0 : 1;
    assert_data(f, (size_t)spf, "v=spf1 -all", 11);
    assert_data(f, (size_t)(1 - spf), "", 0);
}

static void other_types(void **state)
{
    struct fixture *f = *state;
    ask(f, "_25._tcp.a.test", IO_DNS_TLSA);
    assert_data(f, 0,
                "\x03\x01\x01"
                "0123456789abcdef0123456789abcdef",
                35);
    ask(f, "1.2.0.192.in-addr.arpa", IO_DNS_PTR);
    assert_string_equal(f->names[0], "a.test");
    ask(f, "www.test", IO_DNS_CNAME);
    assert_string_equal(f->names[0], "a.test");
}

static void aliases_are_followed(void **state)
{
    struct fixture *f = *state;
    ask(f, "www.test", IO_DNS_A);
    assert_int_equal(f->status, IO_DNS_OK);
    assert_true(f->count >= 1);
    assert_string_equal(f->canonical, "a.test");
}

static void what_is_not_there(void **state)
{
    struct fixture *f = *state;
    ask(f, "missing.test", IO_DNS_A);
    assert_int_equal(f->status, IO_DNS_NXDOMAIN);
    ask(f, "mx.test", IO_DNS_A);
    assert_int_equal(f->status, IO_DNS_NODATA);
    assert_int_equal(f->count, 0);
    ask(f, "fail.test", IO_DNS_A);
    assert_int_equal(f->status, IO_DNS_FAILED);
    assert_string_equal(f->why, "SERVFAIL");
}

static void what_is_no_domain_name_is_not_asked(void **state)
{
    static const char *const names[] = {
        "", ".", "..", "a..test", ".a.test", "a b.test", "a\r\n.test", "\xc3\xa4.test", "a\\.test"};
    struct fixture *f = *state;
    char label[80];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ask(f, names[i], IO_DNS_A);
        assert_int_equal(f->status, IO_DNS_NXDOMAIN);
    }
    snprintf(label, sizeof label, "%064d.test", 0);
    ask(f, label, IO_DNS_A);
    assert_int_equal(f->status, IO_DNS_NXDOMAIN);
    assert_int_equal(f->server.asked, 0);
    ask(f, label + 1, IO_DNS_A); /* 63 bytes are a label */
    assert_true(f->server.asked > 0);
}

static void silence_times_out(void **state)
{
    struct fixture *f = *state;
    char forwarder[64], error[256];
    io_dns_free(f->dns);
    snprintf(forwarder, sizeof forwarder, "127.0.0.1@%u", f->server.port);
    const char *const forwarders[] = {forwarder, NULL};
    struct io_dns_config config = {.forwarders = forwarders, .timeout_ms = 60};
    f->dns = io_dns_new(f->io, &config, error);
    ask(f, "silent.test", IO_DNS_A);
    assert_int_equal(f->status, IO_DNS_FAILED);
    assert_string_equal(f->why, "timed out");
    assert_string_equal(f->canonical, "silent.test");
    f->answers = 0;
    run_for(f->io, 50);
    assert_int_equal(f->answers, 0);
}

static void cancelled_questions_stay_silent(void **state)
{
    struct fixture *f = *state;
    f->keep_running = true;
    struct io_dns_query *q[30];
    for (int i = 0; i < 30; i++) {
        char name[32];
        snprintf(name, sizeof name, "silent%d.test", i);
        const char *asked = i % 3 == 0 ? "" : i % 3 == 1 ? "a.test" : name;
        q[i] = io_dns_ask(f->dns, vr_str_from(asked), IO_DNS_A, on_answer, f);
    }
    usleep(20000); /* some answers wait at the descriptor by now */
    for (int i = 0; i < 30; i++)
        io_dns_cancel(q[i]);
    io_dns_cancel(NULL);
    run_for(f->io, 100);
    assert_int_equal(f->answers, 0);
    f->keep_running = false;
    ask(f, "a.test", IO_DNS_A);
    assert_int_equal(f->status, IO_DNS_OK);
}

static void freed_with_questions_open(void **state)
{
    struct fixture *f = *state;
    f->keep_running = true;
    for (int i = 0; i < 5; i++)
        io_dns_ask(f->dns, VR_STR("silent.test"), IO_DNS_A, on_answer, f);
    run_for(f->io, 20);
    f->answers = 0;
    f->free_in_answer = true;
    f->keep_running = false;
    io_dns_ask(f->dns, VR_STR("a.test"), IO_DNS_A, on_answer, f);
    io_dns_ask(f->dns, VR_STR("mx.test"), IO_DNS_MX, on_answer, f);
    run_guarded(f->io);
    run_for(f->io, 30);
    assert_int_equal(f->answers, 1);
    assert_null(f->dns);
}

static void wrong_configuration_is_explained(void **state)
{
    struct fixture *f = *state;
    char error[256] = "";
    const char *const wrong[] = {"not an address", NULL};
    struct io_dns_config config = {.forwarders = wrong};
    assert_null(io_dns_new(f->io, &config, error));
    assert_non_null(strstr(error, "not an address"));
    config = (struct io_dns_config){.trust_anchor_file = "/nonexistent/root.key"};
    assert_null(io_dns_new(f->io, &config, error));
    assert_non_null(strstr(error, "/nonexistent/root.key"));
    io_dns_free(NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(addresses),
        T(mail_exchangers),
        T(strange_names_are_escaped_and_cannot_be_asked),
        T(texts_are_joined),
        T(other_types),
        T(aliases_are_followed),
        T(what_is_not_there),
        T(what_is_no_domain_name_is_not_asked),
        T(silence_times_out),
        T(cancelled_questions_stay_silent),
        T(freed_with_questions_open),
        T(wrong_configuration_is_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
