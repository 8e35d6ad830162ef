/* sender.c - the sender as a process of its own, between a queue and servers that do what their scripts say. */
#include "deliverer_testing.h"
#include "smtp_script.h"

#include "sender/sender.h"

#include <veredus/mime.h>
#include <veredus/smtp.h>

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

/* ---- a DNS server ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint16_t type;
    const char *data; /* MX: "10 host"; A: "127.0.0.1" */
} zone[] = {
    {"two.test", 15, "10 first.test"},   {"two.test", 15, "20 second.test"},
    {"first.test", 1, "127.0.0.1"},      {"second.test", 1, "127.0.0.2"},
    {"dead.test", 15, "10 nobody.test"}, {"dead.test", 15, "20 second.test"},
    {"nobody.test", 1, "127.0.0.9"},     {"null.test", 15, "0 ."},
    {"bare.test", 1, "127.0.0.1"},       {"alldead.test", 15, "10 nobody.test"},
    {"self.test", 15, "10 sender.test"}, {"sixfirst.test", 15, "10 both.test"},
    {"both.test", 1, "127.0.0.1"},       {"both.test", 28, "::1"},
};

static int dns_fd;
static uint16_t dns_port;
static pthread_t dns_thread;

static size_t put_name(unsigned char *out, const char *name)
{
    size_t n = 0;
    struct vr_str rest = vr_str_from(strcmp(name, ".") == 0 ? "" : name), label;
    while (vr_str_split(&rest, '.', &label)) {
        out[n++] = (unsigned char)label.n;
        memcpy(out + n, label.p, label.n);
        n += label.n;
    }
    out[n++] = 0;
    return n;
}

static size_t put_record(unsigned char *out, uint16_t type, const char *data)
{
    unsigned char rdata[64];
    size_t n = 0;
    if (type == 15) {
        unsigned preference = 0;
        char host[40] = "";
        assert_int_equal(sscanf(data, "%u %39s", &preference, host), 2);
        rdata[0] = (unsigned char)(preference >> 8);
        rdata[1] = (unsigned char)preference;
        n = 2 + put_name(rdata + 2, host);
    } else {
        struct io_address a;
        char text[80];
        snprintf(text, sizeof text, type == 1 ? "%s:1" : "[%s]:1", data);
        assert_true(io_address_parse(vr_str_from(text), 0, &a));
        n = type == 1 ? 4 : 16;
        memcpy(rdata, a.ip, n);
    }
    const unsigned char head[] = {0xc0, 12, 0, (unsigned char)type, 0, 1, 0, 0, 0, 60, 0, (unsigned char)n};
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, rdata, n);
    return sizeof head + n;
}

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

static void *dns_serve(void *arg)
{
    static const char soa[] = "\x04test\x00\x00\x06\x00\x01\x00\x00\x00\x3c\x00\x20\x04test\x00\x04test\x00"
                              "\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\x3c";
    (void)arg;
    for (;;) {
        unsigned char q[512], a[1500];
        char name[256];
        struct sockaddr_in from;
        socklen_t from_n = sizeof from;
        ssize_t n = recvfrom(dns_fd, q, sizeof q, 0, (struct sockaddr *)&from, &from_n);
        if (n < 17)
            return NULL; /* an empty datagram ends it */
        size_t name_n = question_name(q + 12, name), size = 12 + name_n + 4;
        unsigned type = (unsigned)q[12 + name_n] << 8 | q[12 + name_n + 1];
        unsigned count = 0, rcode = strstr(name, "fail") != NULL ? 2 : 0, authority = 0;
        bool known = false;
        memcpy(a, q, size);
        for (size_t i = 0; i < sizeof zone / sizeof *zone; i++) {
            known |= strcmp(zone[i].name, name) == 0;
            if (strcmp(zone[i].name, name) == 0 && zone[i].type == type) {
                size += put_record(a + size, zone[i].type, zone[i].data);
                count++;
            }
        }
        if (count == 0 && rcode == 0) {
            rcode = known || strcmp(name, "test") == 0 ? 0 : 3;
            memcpy(a + size, soa, sizeof soa - 1);
            size += sizeof soa - 1;
            authority = 1;
        }
        a[2] = 0x85;
        a[3] = (unsigned char)(0x80 | rcode);
        const unsigned char counts[] = {0, 1, 0, (unsigned char)count, 0, (unsigned char)authority, 0, 0};
        memcpy(a + 4, counts, sizeof counts);
        sendto(dns_fd, a, size, 0, (struct sockaddr *)&from, from_n);
    }
}

static void dns_bind(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    dns_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(dns_fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(dns_fd, (struct sockaddr *)&a, &n), 0);
    dns_port = ntohs(a.sin_port);
}

static void dns_stop(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(dns_port)};
    sendto(dns_fd, "", 0, 0, (struct sockaddr *)&a, sizeof a);
    pthread_join(dns_thread, NULL);
    close(dns_fd);
}

/* ---- the fixture ---------------------------------------------------------------------------------------------------- */

struct fixture {
    struct rig rig;
    struct smtpd one, two; /* 127.0.0.1 and .2, same port: MX hosts first.test and second.test */
    char cert[100], key[100], other_cert[100], other_key[100];
    uint64_t message;
};

static const char *more_config = "";
static uint64_t first_message = 1000;

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct rig *r = &f->rig;
    char text[2048], where[40];
    r->io = io_new(2);
    folder_make(r->folder);
    snprintf(f->cert, sizeof f->cert, "%s/cert", r->folder);
    snprintf(f->key, sizeof f->key, "%s/key", r->folder);
    snprintf(f->other_cert, sizeof f->other_cert, "%s/cert2", r->folder);
    snprintf(f->other_key, sizeof f->other_key, "%s/key2", r->folder);
    assert_int_equal(io_tls_self_signed("first.test", 30, f->cert, f->key), 0);
    assert_int_equal(io_tls_self_signed("other.test", 30, f->other_cert, f->other_key), 0);
    smtpd_start(&f->one, r->io, "127.0.0.1:0");
    snprintf(where, sizeof where, "127.0.0.2:%u", f->one.port);
    smtpd_start(&f->two, r->io, where);
    dns_bind();
    f->message = first_message;
    snprintf(
        text, sizeof text,
        "hostname = \"sender.test\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
        "dns { servers = { \"127.0.0.1@%u\" } }\n"
        "sending { mx_port = %u\n mta_sts = no\n connect_timeout = 2s\n ca_file = \"%s\"\n %s }\n"
        "route \"auth.test\" { to = \"smtp:127.0.0.1:%u\"\n tls = required\n user = \"joe\"\n password = "
        "\"pencil\" }\n",
        r->folder, r->folder, r->folder, dns_port, f->one.port, f->cert,
        strstr(more_config, "connection_idle") ? more_config : "connection_idle = 20s\n command_timeout = 1s",
        f->one.port);
    rig_config(r, text);
    rig_start(r, &sender_ops); /* forks: there is no other thread yet */
    assert_int_equal(pthread_create(&dns_thread, NULL, dns_serve, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    dns_stop();
    smtpd_stop(&f->one);
    smtpd_stop(&f->two);
    rig_stop(&f->rig);
    folder_remove(f->rig.folder);
    free(f);
    return 0;
}

static struct io_tls *server_tls(const char *cert, const char *key)
{
    char error[256] = "";
    struct io_tls_certificate c = {"", cert, key};
    struct io_tls *t = io_tls_server(&c, 1, error);
    if (t == NULL)
        fail_msg("%s", error);
    return t;
}

#define CONTENT "Subject: x\r\n\r\n.dots\r\n..\r\nend\r\n"
#define PREFIX  "Received: from nowhere\r\n"

static struct delivery_rcpt rcpts[] = {{.index = 3, .address = {"ann@x.test", 10}},
                                       {.index = 5, .address = {"ben@x.test", 10}},
                                       {.index = 6, .address = {"cyd@x.test", 10}}};

static struct delivery delivery(struct fixture *f, enum next_hop_kind kind, const char *host,
                                uint32_t rcpt_count)
{
    return (struct delivery){.message = ++f->message,
                             .next_hop = {.kind = kind,
                                          .host = vr_str_from(host),
                                          .port = kind == NEXT_HOP_MX ? 0 : f->one.port,
                                          .tls = NEXT_HOP_TLS_MAY,
                                          .route = UINT32_MAX,
                                          .domain = UINT32_MAX},
                             .reverse_path = VR_STR("from@sender.test"),
                             .prefix = VR_STR(PREFIX),
                             .content = VR_STR(CONTENT),
                             .rcpts = rcpts,
                             .rcpt_count = rcpt_count};
}

static const struct seen *deliver(struct fixture *f, enum next_hop_kind kind, const char *host)
{
    struct delivery d = delivery(f, kind, host, 1);
    return rig_deliver(&f->rig, &d, -1);
}

static void assert_body(const struct smtpd *d, const char *body)
{
    if (!vr_str_equal(vr_buf_str(&d->body), vr_str_from(body)))
        fail_msg("the server got \"%.*s\"", VR_STR_ARG(vr_buf_str(&d->body)));
}

/* ---- plain delivery and reuse ------------------------------------------------------------------------------------------ */

static void several_recipients_one_refused(void **state)
{
    struct fixture *f = *state;
    f->one.script.rcpt[0].contains = "ben@";
    f->one.script.rcpt[0].reply = "550-5.1.1 no\r\n550 5.1.1 such user";
    f->one.script.dsn = true;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 3);
    d.rcpts[0].notify = DSN_NOTIFY_SUCCESS;
    d.envid = VR_STR("QQ314159");
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    d.rcpts[0].notify = 0;
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    expect(s, 1, DELIVERY_PERMANENT, "5.1.1", "such user");
    assert_int_equal(s->code[1], 550);
    expect(s, 2, DELIVERY_OK, "2.6.0", "taken");
    assert_true(s->dsn);
    assert_false(s->tls);
    assert_string_equal(s->ip, "127.0.0.1");
    assert_body(&f->one, PREFIX CONTENT);
    assert_true(smtpd_heard(&f->one, "EHLO sender.test\nMAIL FROM:<from@sender.test>"));
    assert_true(smtpd_heard(&f->one, "ENVID=QQ314159"));
    assert_true(smtpd_heard(&f->one, "RCPT TO:<ann@x.test> NOTIFY=SUCCESS\n"));
}

static void null_sender_and_postmaster(void **state)
{
    struct fixture *f = *state;
    struct delivery_rcpt to = {.index = 0, .address = VR_STR("postmaster@x.test")};
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
    d.reverse_path = vr_str(NULL, 0);
    d.rcpts = &to;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "MAIL FROM:<>"));
    struct delivery_rcpt odd = {.index = 0, .address = VR_STR("not an address")};
    d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
    d.rcpts = &odd;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_PERMANENT, "5.1.3", "syntax");
    odd.address = VR_STR("\xc3\xa4@x.test");
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_PERMANENT, "5.6.7", "SMTPUTF8");
    assert_int_equal(f->one.connections, 1);
}

/* RFC 6531: where SMTPUTF8 is offered all goes out as it is; a message that is ASCII after all goes as if nothing had been said. */
static void utf8_goes_where_it_is_offered(void **state)
{
    struct fixture *f = *state;
    f->one.script.smtputf8 = f->one.script.dsn = true;
    struct delivery_rcpt to[2] = {
        {.index = 0, .address = VR_STR("jörg@bücher.test"), .orcpt = VR_STR("utf-8;jörg@bücher.test")},
        {.index = 1, .address = VR_STR("ann@xn--bcher-kva.test")}};
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 2);
    d.rcpts = to;
    d.reverse_path = VR_STR("δοκιμή@παράδειγμα.test");
    d.asks = ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER;
    d.content = VR_STR("Subject: Grüße\r\n\r\nx\r\n");
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    expect(s, 1, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "MAIL FROM:<δοκιμή@παράδειγμα.test> BODY=8BITMIME SMTPUTF8\n"));
    assert_true(smtpd_heard(&f->one, "RCPT TO:<jörg@bücher.test> ORCPT=utf-8;jörg@bücher.test\n"));
    assert_true(smtpd_heard(&f->one, "RCPT TO:<ann@xn--bcher-kva.test>\n"));
    assert_body(&f->one, PREFIX "Subject: Grüße\r\n\r\nx\r\n");
    d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
    d.asks = ENVELOPE_UTF8;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "MAIL FROM:<from@sender.test>\n"));
}

/* … and where it is not: A-labels for domains; what has no such form is returned, each with the status that says why (§3.5). */
static void utf8_is_returned_where_it_is_not_offered(void **state)
{
    struct fixture *f = *state;
    struct delivery_rcpt to[2] = {
        {.index = 0, .address = VR_STR("jörg@x.test")},
        {.index = 1, .address = VR_STR("ann@bücher.test"), .orcpt = VR_STR("utf-8;ann@bücher.test")}};
    f->one.script.dsn = true;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 2);
    d.rcpts = to;
    d.asks = ENVELOPE_UTF8;
    d.reverse_path = VR_STR("from@bücher.test");
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_PERMANENT, "5.6.7",
           "the address has characters beyond ASCII before its @, and the server");
    assert_int_equal(s->code[0], 0); /* our own words */
    expect(s, 1, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "MAIL FROM:<from@xn--bcher-kva.test>\n"));
    assert_true(smtpd_heard(&f->one, "RCPT TO:<ann@xn--bcher-kva.test> ORCPT=utf-8;ann@b\\x{FC}cher.test\n"));
    d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 2); /* the header */
    d.rcpts = to;
    d.asks = ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER;
    s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_PERMANENT, "5.6.7", "SMTPUTF8");
    expect(s, 1, DELIVERY_PERMANENT, "5.6.9",
           "the message's header has characters beyond ASCII, and the server");
    d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 3); /* the sender */
    d.reverse_path = VR_STR("jörg@x.test");
    s = rig_deliver(&f->rig, &d, -1);
    for (uint32_t i = 0; i < 3; i++)
        expect(s, i, DELIVERY_PERMANENT, "5.6.7", "the sender's address");
    assert_int_equal(f->one.messages, 1);
    assert_true(vr_str_is_ascii(vr_buf_str(&f->one.log)));
    assert_int_equal(f->one.connections, 1); /* it is kept: the server did nothing wrong */
}

static void connections_are_reused_and_quit(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++)
        expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.messages, 5);
    assert_int_equal(f->one.connections, 1);
    /* another care for TLS is another connection */
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
    d.next_hop.tls = NEXT_HOP_TLS_NONE;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.connections, 2);
    rig_drain(&f->rig, 3000);
    rig_until(&f->rig, f->one.quits == 2);
    rig_gone(&f->rig);
    assert_int_equal(f->one.open, 0);
}

static void idle_connections_end(void **state)
{
    struct fixture *f = *state;
    deliver(f, NEXT_HOP_SMTP, "127.0.0.1");
    rig_until(&f->rig, f->one.quits == 1 && f->one.open == 0);
    deliver(f, NEXT_HOP_SMTP, "127.0.0.1");
    assert_int_equal(f->one.connections, 2);
}

static void dead_idle_connections_are_replaced(void **state)
{
    static const char *const deaths[] = {"421 4.3.2 enough of this session", "!"};
    struct fixture *f = *state;
    for (size_t i = 0; i < 2; i++) {
        deliver(f, NEXT_HOP_SMTP, "127.0.0.1");
        int before = f->one.connections;
        f->one.script.mail = deaths[i];
        f->one.once = before; /* newer connections are well */
        expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_OK, "2.6.0", "taken");
        assert_int_equal(f->one.connections, before + 1);
    }
}

static void too_many_recipients_for_one_transaction(void **state)
{
    struct fixture *f = *state;
    f->one.script.rcpt[0].contains = "ben@";
    f->one.script.rcpt[0].reply = "452 4.5.3 too many";
    f->one.once = 1;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 3);
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    expect(s, 2, DELIVERY_OK, "2.6.0", "taken");
    expect(s, 1, DELIVERY_TEMPORARY, "4.5.3", "too many"); /* alone it was refused as well */
    assert_int_equal(f->one.connections, 1);
    assert_int_equal(f->one.messages, 1);
    f->one.script.rcpt[0].reply = "552 5.5.3 too many";
    s = rig_deliver(&f->rig, &d, -1);
    expect(s, 1, DELIVERY_TEMPORARY, "4.0.0", "too many");
    assert_int_equal(s->code[1], 552);
}

static void refusals_of_commands(void **state)
{
    struct fixture *f = *state;
    f->one.script.mail = "550 5.7.1 not you";
    expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_PERMANENT, "5.7.1", "not you");
    f->one.script.mail = "451 4.7.1 later";
    expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_TEMPORARY, "4.7.1", "later");
    f->one.script.mail = NULL;
    f->one.script.data = "554 5.6.0 no data";
    expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_PERMANENT, "5.6.0", "no data");
    f->one.script.data = NULL;
    f->one.script.dot = "450 spam, perhaps";
    expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_TEMPORARY, "4.0.0", "spam");
    f->one.script.dot = "554 5.7.1 spam";
    f->one.script.no_pipelining = true;
    expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_PERMANENT, "5.7.1", "spam");
    assert_int_equal(f->one.connections, 1);
    assert_int_equal(f->one.messages, 0);
}

/* ---- hosts -------------------------------------------------------------------------------------------------------------- */

static void mx_hosts_in_order(void **state)
{
    struct fixture *f = *state;
    const struct seen *s = deliver(f, NEXT_HOP_MX, "two.test");
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_string_equal(s->mta, "first.test");
    s = deliver(f, NEXT_HOP_MX, "dead.test"); /* the first host refuses connections */
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_string_equal(s->mta, "second.test");
    assert_string_equal(s->ip, "127.0.0.2");
    expect(deliver(f, NEXT_HOP_MX, "bare.test"), 0, DELIVERY_OK, "2.6.0", "taken");
    expect(deliver(f, NEXT_HOP_MX, "sixfirst.test"), 0, DELIVERY_OK, "2.6.0", "taken"); /* [::1] refuses */
    expect(deliver(f, NEXT_HOP_MX, "[127.0.0.2]"), 0, DELIVERY_OK, "2.6.0", "taken");
    expect(deliver(f, NEXT_HOP_SMTP, "second.test"), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->two.messages, 3);
}

static void verdicts_of_the_dns(void **state)
{
    struct fixture *f = *state;
    expect(deliver(f, NEXT_HOP_MX, "null.test"), 0, DELIVERY_PERMANENT, "5.1.10",
           "null.test does not accept mail");
    expect(deliver(f, NEXT_HOP_MX, "missing.test"), 0, DELIVERY_PERMANENT, "5.1.2", "does not exist");
    expect(deliver(f, NEXT_HOP_MX, "fail.test"), 0, DELIVERY_TEMPORARY, "4.4.3", "does not answer");
    expect(deliver(f, NEXT_HOP_MX, "self.test"), 0, DELIVERY_PERMANENT, "5.4.6", "loops back");
    expect(deliver(f, NEXT_HOP_MX, "alldead.test"), 0, DELIVERY_TEMPORARY, "4.4.1",
           "cannot connect to nobody.test");
    assert_int_equal(f->one.connections + f->two.connections, 0);
}

static void refused_sessions_go_to_the_next_host(void **state)
{
    struct fixture *f = *state;
    f->one.script.greeting = "421 4.3.2 busy";
    const struct seen *s = deliver(f, NEXT_HOP_MX, "two.test");
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_string_equal(s->mta, "second.test");
}

static void hosts_that_refuse_for_good(void **state)
{
    struct fixture *f = *state;
    f->one.script.greeting = "554 5.3.2 no mail here";
    f->two.script.ehlo = "421 4.3.2 busy";
    expect(deliver(f, NEXT_HOP_MX, "two.test"), 0, DELIVERY_TEMPORARY, "4.3.2",
           "busy"); /* one may get better */
    f->two.script = (struct script){.greeting = "554 no mail here either"};
    const struct seen *s = deliver(f, NEXT_HOP_MX, "two.test");
    expect(s, 0, DELIVERY_PERMANENT, "5.3.2", "either");
    assert_int_equal(s->code[0], 554);
    assert_int_equal(f->one.connections + f->two.connections, 4);
}

static void we_do_not_speak_with_ourselves(void **state)
{
    struct fixture *f = *state;
    f->one.script.greeting = "220 Sender.Test ESMTP veredus";
    expect(deliver(f, NEXT_HOP_MX, "two.test"), 0, DELIVERY_PERMANENT, "5.4.6", "loops back");
    assert_int_equal(f->two.connections, 0);
    expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_OK, "2.6.0", "taken"); /* asked for by name */
}

/* ---- sessions that break ------------------------------------------------------------------------------------------------- */

static void connection_lost_at_each_state(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct script script;
        const char *enhanced, *words;
    } rows[] = {
        {{.greeting = "!"}, "4.4.2", "closed the connection"},
        {{.ehlo = "!"}, "4.4.2", "closed the connection"},
        {{.mail = "!"}, "4.4.2", "closed the connection"},
        {{.rcpt = {{"ann", "!"}}}, "4.4.2", "closed the connection"},
        {{.data = "!"}, "4.4.2", "closed the connection"},
        {{.body = "!"}, "4.4.2", "closed the connection"},
        {{.dot = "!"}, "4.4.2", "unknown"},
        {{.dot = "421 4.3.2 not now"}, "4.3.2", "not now"},
        {{.data = "421 4.3.2 not now"}, "4.3.2", "not now"},
        {{.greeting = "-"}, "4.4.2", "timed out"},
        {{.mail = "-"}, "4.4.2", "timed out"},
        {{.dot = "-"}, "4.4.2", "unknown"},
        {{.greeting = "220 fine\r\n220 too much"}, "4.5.0", "before it was asked"},
        {{.mail = "hello?"}, "4.5.0", "reply code"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        f->one.script = rows[i].script;
        const struct seen *s = deliver(f, NEXT_HOP_SMTP, "127.0.0.1");
        expect(s, 0, DELIVERY_TEMPORARY, rows[i].enhanced, rows[i].words);
        assert_int_equal(f->one.connections, (int)i + 1);
    }
    f->one.script = (struct script){0};
    expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_OK, "2.6.0", "taken");
}

/* Before the final dot another host may be tried, for those without a verdict. */
static void lost_before_the_dot_goes_to_the_next_host(void **state)
{
    struct fixture *f = *state;
    f->one.script.data = "!";
    f->one.script.no_pipelining = true;
    f->one.script.rcpt[0].contains = "ben@";
    f->one.script.rcpt[0].reply = "550 5.1.1 no";
    struct delivery d = delivery(f, NEXT_HOP_MX, "two.test", 3);
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    expect(s, 1, DELIVERY_PERMANENT, "5.1.1", "no");
    expect(s, 2, DELIVERY_OK, "2.6.0", "taken");
    assert_false(smtpd_heard(&f->two, "ben@"));
    f->two.script.dot = "!"; /* after it none may */
    s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_TEMPORARY, "4.4.2", "unknown");
    assert_int_equal(f->one.messages, 0);
}

/* ---- TLS and AUTH ----------------------------------------------------------------------------------------------------------- */

static const struct seen *deliver_tls(struct fixture *f, const char *host, enum next_hop_tls tls)
{
    struct delivery d = delivery(f, NEXT_HOP_SMTP, host, 1);
    d.next_hop.tls = tls;
    return rig_deliver(&f->rig, &d, -1);
}

static void tls_opportunistic(void **state)
{
    struct fixture *f = *state;
    f->one.tls = server_tls(f->other_cert, f->other_key);
    f->one.script.offer_starttls = true;
    const struct seen *s = deliver_tls(f, "first.test", NEXT_HOP_TLS_MAY); /* any certificate will do */
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(s->tls);
    assert_int_equal(f->one.secured, 1);
    s = deliver_tls(f, "first.test", NEXT_HOP_TLS_NONE);
    assert_false(s->tls);
    s = deliver_tls(f, "first.test", NEXT_HOP_TLS_REQUIRED);
    assert_true(s->tls);
    assert_body(&f->one, PREFIX CONTENT);
}

static void tls_that_does_not_work(void **state)
{
    struct fixture *f = *state;
    f->one.script.offer_starttls = true; /* but has no certificate: garbage */
    const struct seen *s = deliver_tls(f, "127.0.0.1", NEXT_HOP_TLS_MAY);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_false(s->tls);
    assert_int_equal(f->one.connections, 2);
    expect(deliver_tls(f, "127.0.0.1", NEXT_HOP_TLS_REQUIRED), 0, DELIVERY_TEMPORARY, "4.7.5", "handshake");
    f->one.script.starttls = "220 2.0.0 fine\r\n250 injected"; /* what stands in clear behind the 220 */
    expect(deliver_tls(f, "first.test", NEXT_HOP_TLS_MAY), 0, DELIVERY_OK, "2.6.0", "taken");
    expect(deliver_tls(f, "first.test", NEXT_HOP_TLS_REQUIRED), 0, DELIVERY_TEMPORARY, "4.7.0", "in clear");
    f->one.script.starttls = "454 4.7.0 no TLS today";
    expect(deliver_tls(f, "127.0.0.1", NEXT_HOP_TLS_REQUIRED), 0, DELIVERY_TEMPORARY, "4.7.0",
           "no TLS today");
    f->one.script = (struct script){0};
    expect(deliver_tls(f, "127.0.0.1", NEXT_HOP_TLS_REQUIRED), 0, DELIVERY_TEMPORARY, "4.7.0",
           "does not offer STARTTLS");
    assert_int_equal(f->one.messages, 2);
}

static void tls_verified(void **state)
{
    struct fixture *f = *state;
    f->one.script.offer_starttls = f->two.script.offer_starttls = true;
    f->one.tls = server_tls(f->cert, f->key);
    f->two.tls = server_tls(f->other_cert, f->other_key);
    const struct seen *s = deliver_tls(f, "first.test", NEXT_HOP_TLS_VERIFY);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(s->tls);
    expect(deliver_tls(f, "both.test", NEXT_HOP_TLS_VERIFY), 0, DELIVERY_TEMPORARY, "4.7.5",
           "both.test"); /* another name */
    expect(deliver_tls(f, "second.test", NEXT_HOP_TLS_VERIFY), 0, DELIVERY_TEMPORARY, "4.7.5", "second.test");
    assert_int_equal(f->one.messages, 1);
    assert_int_equal(f->two.messages, 0);
    f->one.implicit = true;
    f->one.script.offer_starttls = false;
    s = deliver_tls(f, "first.test", NEXT_HOP_TLS_IMPLICIT);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(s->tls);
}

static void authenticated_route(void **state)
{
    struct fixture *f = *state;
    f->one.tls = server_tls(f->cert, f->key);
    f->one.script.offer_auth = f->one.script.offer_starttls = true;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
    d.next_hop.route = 0;
    d.next_hop.tls = NEXT_HOP_TLS_REQUIRED;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "STARTTLS\nEHLO sender.test\nAUTH PLAIN AGpvZQBwZW5jaWw=\n"));
    expect(deliver_tls(f, "127.0.0.1", NEXT_HOP_TLS_REQUIRED), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.connections, 2); /* without the route's credentials: not the same connection */
    f->one.script.auth = "535 5.7.8 wrong";
    d.next_hop.host = VR_STR("first.test");
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_TEMPORARY, "4.7.8", "route's user and password");
    assert_int_equal(f->one.messages, 2);
    vr_buf_reset(&f->one.log);
    d.next_hop.tls = NEXT_HOP_TLS_NONE; /* never in clear */
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_TEMPORARY, "4.7.8", "");
    assert_false(smtpd_heard(&f->one, "AUTH"));
}

/* ---- bodies ------------------------------------------------------------------------------------------------------------------ */

static int body_file(struct fixture *f, struct vr_buf *content, size_t size, bool eight_bit)
{
    char path[120];
    snprintf(path, sizeof path, "%s/body", f->rig.folder);
    vr_buf_init(content, size + 200);
    vr_buf_add(content, VR_STR("Subject: big\r\n\r\n"));
    for (unsigned i = 0; vr_buf_size(content) < size; i++)
        vr_buf_addf(content, "%s%u and so on, until there is enough of it to be many pieces\r\n",
                    i % 7 == 0 ? "." : "", i);
    if (eight_bit)
        vr_buf_add(content, VR_STR("\xc3\xa4\r\n"));
    assert_int_equal(io_fs_replace_file(path, vr_buf_str(content), 0600), 0);
    int fd = io_fs_open(path, IO_FS_READ, 0);
    assert_true(fd >= 0);
    return fd;
}

static void big_body_by_descriptor(void **state)
{
    struct fixture *f = *state;
    struct vr_buf content;
    int fd = body_file(f, &content, 9u << 20, true);
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 2);
    d.content = vr_str(NULL, 0);
    d.content_size = vr_buf_size(&content);
    expect(rig_deliver(&f->rig, &d, fd), 0, DELIVERY_OK, "2.6.0", "taken");
    struct vr_str got = vr_buf_str(&f->one.body);
    assert_int_equal(got.n, strlen(PREFIX) + vr_buf_size(&content));
    assert_true(vr_str_starts(got, VR_STR(PREFIX)));
    assert_true(vr_str_equal(vr_str_from_pos(got, strlen(PREFIX)), vr_buf_str(&content)));
    vr_buf_fini(&content);
}

static void shortened_file_is_never_sent_as_whole(void **state)
{
    struct fixture *f = *state;
    struct vr_buf content;
    int fd = body_file(f, &content, 1u << 20, false);
    struct delivery d = delivery(f, NEXT_HOP_MX, "two.test", 1);
    d.content = vr_str(NULL, 0);
    d.content_size = vr_buf_size(&content) + 1;
    expect(rig_deliver(&f->rig, &d, fd), 0, DELIVERY_TEMPORARY, "4.3.0", "shorter");
    rig_until(&f->rig, f->one.open == 0);
    assert_int_equal(f->one.messages + f->two.messages, 0);
    vr_buf_fini(&content);
}

#define MIXED(encoding, text)                                                                                \
    "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" encoding   \
    "\r\n" text "\r\n--b--\r\n"
#define SIGNED(text)                                                                                         \
    "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" text "\r\n--b\r\n\r\nx\r\n--b--\r\n"
#define QP "Content-Transfer-Encoding: quoted-printable\r\n"

static bool body_has(const struct smtpd *d, const char *text)
{
    return vr_str_find_str(vr_buf_str(&d->body), vr_str_from(text)) != VR_NPOS;
}

/* What becomes of a message for a server without 8BITMIME. */
static void converted_without_8bitmime(void **state)
{
    static const struct {
        struct vr_str content;
        const char *body; /* what arrives behind the prefix; NULL: refused with … */
        const char *enhanced, *words;
    } rows[] = {
        {VR_STR_INIT(CONTENT), CONTENT, "2.6.0", "taken"}, /* declared, but is not */
        {VR_STR_INIT("Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n7 bits\r\n"),
         "Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n7 bits\r\n", "2.6.0", "taken"},
        {VR_STR_INIT(MIXED("", "\xc3\xa4\r\n.\r\nand so on")), MIXED(QP, "=C3=A4\r\n=2E\r\nand so on"),
         "2.6.0", "taken"},
        {VR_STR_INIT("Subject: \xc3\xa4\r\n\r\n"), NULL, "5.6.9", "SMTPUTF8"},
        {VR_STR_INIT("Subject: \xe4\r\n\r\n"), NULL, "5.6.3", "encoded words"},
        {VR_STR_INIT(MIXED("X: \xc3\xa4\r\n", "\xc3\xa4")), NULL, "5.6.9", "SMTPUTF8"},
        {VR_STR_INIT(SIGNED("\xc3\xa4")), NULL, "5.6.3", "part 1 (text/plain) is signed"},
        {VR_STR_INIT(SIGNED("x")), SIGNED("x"), "2.6.0", "taken"},
        {VR_STR_INIT("Content-Type: message/partial; id=x\r\n\r\n\xc3\xa4\r\n"), NULL, "5.6.3",
         "message/partial"},
    };
    struct fixture *f = *state;
    int messages = 0;
    f->one.script.no_8bitmime = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
        d.body = SMTP_BODY_8BITMIME;
        d.content = rows[i].content;
        const struct seen *s = rig_deliver(&f->rig, &d, -1);
        expect(s, 0, rows[i].body != NULL ? DELIVERY_OK : DELIVERY_PERMANENT, rows[i].enhanced,
               rows[i].words);
        assert_int_equal(f->one.messages, messages += rows[i].body != NULL);
        bool same = rows[i].body == NULL || vr_str_equal(rows[i].content, vr_str_from(rows[i].body));
        assert_int_equal(s->form, same ? DELIVERY_AS_IT_WAS : DELIVERY_AS_7BIT);
        if (rows[i].body == NULL)
            continue;
        assert_true(vr_str_starts(vr_buf_str(&f->one.body), VR_STR(PREFIX)));
        assert_true(vr_str_equal(vr_str_from_pos(vr_buf_str(&f->one.body), strlen(PREFIX)),
                                 vr_str_from(rows[i].body)));
    }
    assert_false(smtpd_heard(&f->one, "BODY="));
    assert_int_equal(f->one.connections, 1);
    struct delivery d = delivery(f, NEXT_HOP_MX, "[127.0.0.2]", 1); /* with 8BITMIME it goes as it is */
    d.content = VR_STR("Subject: \xc3\xa4\r\n\r\n\xc3\xa4\r\n");
    d.body = SMTP_BODY_8BITMIME;
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(s->form, DELIVERY_AS_IT_WAS);
    assert_true(smtpd_heard(&f->two, " BODY=8BITMIME"));
    assert_body(&f->two, PREFIX "Subject: \xc3\xa4\r\n\r\n\xc3\xa4\r\n");
}

/* The body of a large message, piece by piece; what is not ASCII stands at its end only. */
static void a_large_body_is_converted(void **state)
{
    static const char fields[] = "Content-Type: text/plain; charset=utf-8\r\n" QP;
    struct fixture *f = *state;
    struct vr_buf content, decoded;
    struct mime_decoder decoder;
    f->one.script.no_8bitmime = true;
    f->one.script.size = "9000000";
    for (int eight_bit = 0; eight_bit < 2; eight_bit++) {
        int fd = body_file(f, &content, 2u << 20, eight_bit);
        struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 2);
        d.content = vr_str(NULL, 0);
        d.content_size = vr_buf_size(&content);
        const struct seen *s = rig_deliver(&f->rig, &d, fd);
        expect(s, 1, DELIVERY_OK, "2.6.0", "taken");
        assert_int_equal(s->form, eight_bit ? DELIVERY_AS_7BIT : DELIVERY_AS_IT_WAS);
        struct vr_str got = vr_buf_str(&f->one.body), whole = vr_buf_str(&content);
        char size[40];
        snprintf(size, sizeof size, " SIZE=%zu\n", got.n);
        assert_true(smtpd_heard(&f->one, size)); /* of what is sent */
        assert_int_equal(body_has(&f->one, fields), eight_bit);
        got = vr_str_from_pos(got, vr_str_find_str(got, VR_STR("\r\n\r\n")));
        whole = vr_str_from_pos(whole, vr_str_find_str(whole, VR_STR("\r\n\r\n")));
        assert_int_equal(vr_str_is_ascii(got), true);
        vr_buf_init(&decoded, 4u << 20);
        mime_decoder_init(&decoder, eight_bit ? MIME_ENCODING_QUOTED_PRINTABLE : MIME_ENCODING_7BIT);
        assert_true(mime_decode(&decoder, got, &decoded) && mime_decode_end(&decoder, &decoded));
        assert_true(vr_str_equal(vr_buf_str(&decoded), whole));
        vr_buf_fini(&decoded);
        vr_buf_fini(&content);
    }
    assert_int_equal(f->one.connections, 1);
}

/* What was begun for one host is not what the next one gets, and a worker may be at it when the connection breaks. */
static void converted_for_one_host_only(void **state)
{
    struct fixture *f = *state;
    struct vr_buf content;
    f->one.script.no_8bitmime = true;
    f->one.script.body = "!";
    int fd = body_file(f, &content, 3u << 20, true);
    struct delivery d = delivery(f, NEXT_HOP_MX, "two.test", 1);
    d.content = vr_str(NULL, 0);
    d.content_size = vr_buf_size(&content);
    const struct seen *s = rig_deliver(&f->rig, &d, fd);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(s->form, DELIVERY_AS_IT_WAS);
    assert_true(smtpd_heard(&f->one, "DATA"));
    assert_int_equal(vr_buf_size(&f->two.body), strlen(PREFIX) + vr_buf_size(&content));
    vr_buf_fini(&content);
}

/* The plan of a conversion serves all transactions of a message, and the limit on size is for what would be sent. */
static void conversion_and_limits(void **state)
{
    static const char content[] = MIXED("", "\xe4\xe4\xe4 and so on");
    struct fixture *f = *state;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 3);
    char limit[20];
    d.content = vr_str_from(content);
    f->one.script.no_8bitmime = true;
    f->one.script.rcpt_max = 1;
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    for (uint32_t i = 0; i < 3; i++)
        expect(s, i, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.messages, 3);
    assert_body(&f->one, PREFIX MIXED(QP, "=E4=E4=E4 and so on"));
    size_t size = vr_buf_size(&f->one.body);
    for (size_t less = 0; less < 2; less++) {
        struct smtpd *server = less ? &f->two : &f->one;
        server->script = (struct script){.no_8bitmime = true, .size = limit};
        snprintf(limit, sizeof limit, "%zu", size - less);
        d = delivery(f, NEXT_HOP_SMTP, less ? "127.0.0.2" : "127.0.0.1", 1);
        d.next_hop.tls = NEXT_HOP_TLS_NONE; /* a connection of its own, which hears of the limit */
        d.content = vr_str_from(content);
        expect(rig_deliver(&f->rig, &d, -1), 0, less ? DELIVERY_PERMANENT : DELIVERY_OK,
               less ? "5.3.4" : "2.6.0", "");
    }
}

static void size_limit(void **state)
{
    struct fixture *f = *state;
    f->one.script.size = "20";
    expect(deliver(f, NEXT_HOP_SMTP, "127.0.0.1"), 0, DELIVERY_PERMANENT, "5.3.4", "20 at the most");
    f->two.script.size = "2000";
    expect(deliver(f, NEXT_HOP_MX, "[127.0.0.2]"), 0, DELIVERY_OK, "2.6.0", "taken");
    char size[40];
    snprintf(size, sizeof size, " SIZE=%zu", strlen(PREFIX CONTENT));
    assert_true(smtpd_heard(&f->two, size));
    assert_false(smtpd_heard(&f->one, "MAIL"));
}

/* ---- LMTP --------------------------------------------------------------------------------------------------------------------- */

static void lmtp_has_a_result_for_each(void **state)
{
    struct fixture *f = *state;
    struct smtpd lmtp;
    char where[120], path[100];
    snprintf(path, sizeof path, "%s/lmtp", f->rig.folder);
    snprintf(where, sizeof where, "unix:%s", path);
    smtpd_start(&lmtp, f->rig.io, where);
    lmtp.lmtp = true;
    lmtp.script.lmtp_dot[0] = "452 4.2.2 full";
    lmtp.script.lmtp_dot[1] = "250 2.1.5 stored";
    lmtp.script.rcpt[0].contains = "ben@";
    lmtp.script.rcpt[0].reply = "550 5.1.1 unknown";
    struct delivery d = delivery(f, NEXT_HOP_LMTP, path, 3);
    d.next_hop.port = 0;
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_TEMPORARY, "4.2.2", "full");
    expect(s, 1, DELIVERY_PERMANENT, "5.1.1", "unknown");
    expect(s, 2, DELIVERY_OK, "2.1.5", "stored");
    assert_true(smtpd_heard(&lmtp, "LHLO sender.test"));
    lmtp.script = (struct script){.lmtp_dot = {NULL, "!"}}; /* lost between two results */
    s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.6.0", "stored");
    expect(s, 1, DELIVERY_TEMPORARY, "4.4.2", "unknown");
    expect(s, 2, DELIVERY_TEMPORARY, "4.4.2", "unknown");
    smtpd_stop(&lmtp);
    io_fs_unlink(path);
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_TEMPORARY, "4.4.1", "cannot connect");
    f->one.lmtp = true;
    expect(deliver(f, NEXT_HOP_LMTP, "127.0.0.1"), 0, DELIVERY_OK, "2.6.0", "stored");
}

/* ---- queues come and go ---------------------------------------------------------------------------------------------------------- */

static const struct seen *find_inflight(const struct rig *r, int end, uint64_t message)
{
    for (size_t i = 0; i < r->inflight_count; i++)
        if (r->inflight[i].end == end && r->inflight[i].message == message)
            return &r->inflight[i];
    return NULL;
}

static void a_new_queue_hears_what_is_in_flight(void **state)
{
    struct fixture *f = *state;
    struct rig *r = &f->rig;
    f->one.script.greeting = "-";
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 3);
    rig_deliver_by(r, 0, &d, -1);
    rig_until(r, f->one.connections == 1);
    rig_detach(r, 0); /* the queue dies; the server times out; the result waits */
    rig_until(r, f->one.open == 0);
    rig_turn(r);
    rig_attach(r, 1, IPC_QUEUE);
    rig_until(r, r->result_count == 1);
    const struct seen *s = find_inflight(r, 1, d.message);
    assert_non_null(s);
    assert_int_equal(s->count, 3);
    assert_int_equal(s->index[1], 5);
    assert_int_equal(r->results[0].end, 1);
    expect(&r->results[0], 2, DELIVERY_TEMPORARY, "4.4.2", "timed out");
    /* what the dead queue may not have written down is told again; results go to the newest */
    f->one.script.greeting = NULL;
    d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
    rig_deliver_by(r, 1, &d, -1);
    rig_until(r, r->result_count == 2);
    rig_attach(r, 2, IPC_QUEUE);
    rig_until(r, r->result_count == 4);
    assert_non_null(find_inflight(r, 2, d.message));
    assert_int_equal(r->results[3].end, 2);
    expect(&r->results[3], 0, DELIVERY_OK, "2.6.0", "taken");
    /* what an older queue gave out too late is the newest one's to give out: nobody told it of that */
    unsigned before = f->one.messages;
    d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
    rig_deliver_by(r, 1, &d, -1);
    for (int i = 0; i < 5; i++)
        rig_turn(r);
    rig_deliver_by(r, 2, &d, -1);
    rig_until(r, r->result_count == 5);
    assert_int_equal(r->results[4].end, 2);
    assert_int_equal(f->one.messages, before + 1);
}

static void drain_cancels_what_can_be_cancelled(void **state)
{
    struct fixture *f = *state;
    struct rig *r = &f->rig;
    f->one.script.mail = "-";
    f->two.script.dot = "-";
    struct delivery before = delivery(f, NEXT_HOP_MX, "[127.0.0.1]", 1),
                    after = delivery(f, NEXT_HOP_MX, "[127.0.0.2]", 1);
    rig_deliver_by(r, 0, &before, -1);
    rig_deliver_by(r, 0, &after, -1);
    rig_until(r, f->two.messages == 0 && vr_buf_size(&f->two.body) > 0 && smtpd_heard(&f->one, "MAIL"));
    rig_drain(r, 300);
    rig_turn(r);
    struct delivery late = delivery(f, NEXT_HOP_MX, "[127.0.0.2]", 1);
    rig_deliver_by(r, 0, &late, -1);
    rig_until(r, r->result_count == 3);
    for (size_t i = 0; i < 3; i++) {
        const struct seen *s = &r->results[i];
        if (s->message == after.message)
            expect(s, 0, DELIVERY_TEMPORARY, "4.4.2", "unknown");
        else
            expect(s, 0, DELIVERY_CANCELLED, "4.3.2", "");
    }
    rig_gone(r);
}

static void many_at_once(void **state)
{
    struct fixture *f = *state;
    struct rig *r = &f->rig;
    for (int i = 0; i < 50; i++) {
        struct delivery d =
            delivery(f, i % 2 ? NEXT_HOP_MX : NEXT_HOP_SMTP, i % 2 ? "two.test" : "127.0.0.1", 2);
        rig_deliver_by(r, 0, &d, -1);
    }
    rig_until(r, r->result_count == 50);
    for (int i = 0; i < 50; i++)
        expect(&r->results[i], 1, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.messages, 50);
}

/* ---- what a message demands (demands.c) --------------------------------------------------------------------------------- */

static struct delivery secret(struct fixture *f, enum next_hop_kind kind, const char *host)
{
    struct delivery d = delivery(f, kind, host, 1);
    d.asks = ENVELOPE_REQUIRE_TLS;
    return d;
}

/* RFC 8689 §4.2.1: verified TLS, and a server that promises the same, or back it goes. */
static void requiretls(void **state)
{
    struct fixture *f = *state;
    struct delivery d = secret(f, NEXT_HOP_SMTP, "first.test");
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_PERMANENT, "5.7.10", "does not offer STARTTLS");
    f->one.script.offer_starttls = true;
    f->one.script.starttls = "454 4.7.0 not now";
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_PERMANENT, "5.7.10", "refused STARTTLS");
    f->one.script.starttls = NULL;
    f->one.script.more = "\r\n250-REQUIRETLS"; /* where it means nothing: in clear */
    f->one.tls = server_tls(f->other_cert, f->other_key);
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_PERMANENT, "5.7.10", "TLS handshake");
    io_tls_free(f->one.tls);
    f->one.tls = server_tls(f->cert, f->key);
    f->one.script.more = NULL;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_PERMANENT, "5.7.30", "does not promise that");
    assert_int_equal(f->one.messages, 0);
    assert_false(smtpd_heard(&f->one, "MAIL FROM"));
    f->one.script.more_tls = "\r\n250-REQUIRETLS";
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(s->tls);
    assert_true(smtpd_heard(&f->one, "MAIL FROM:<from@sender.test> REQUIRETLS\n"));
    int before = f->one.connections;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.connections, before); /* the same session will do */
    expect(deliver(f, NEXT_HOP_SMTP, "first.test"), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.connections,
                     before + 1); /* mail that asks for less comes in sessions of its own */
}

/* A session that stands already may be one of another host, or of no use: all are tried. */
static void requiretls_on_a_standing_session(void **state)
{
    struct fixture *f = *state;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "first.test", 1);
    f->one.tls = server_tls(f->cert, f->key);
    f->one.script.offer_starttls = true;
    d.next_hop.tls = NEXT_HOP_TLS_VERIFY; /* a route that asks for as much TLS */
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.connections, 1);
    d = secret(f, NEXT_HOP_SMTP, "first.test");
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_PERMANENT, "5.7.30", "does not promise that");
    assert_int_equal(f->one.connections, 2);
    rig_until(&f->rig, f->one.quits == 2);
}

/* Who the hosts of a domain are must be certain: these records are not signed. Nor is a report lost, or mail for the inside held up. */
static void requiretls_elsewhere(void **state)
{
    struct fixture *f = *state;
    struct delivery d = secret(f, NEXT_HOP_MX, "two.test");
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_PERMANENT, "5.7.10", "not signed (DNSSEC)");
    assert_int_equal(f->one.connections + f->two.connections, 0);
    d.reverse_path = vr_str(NULL, 0); /* §5: a report */
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "MAIL FROM:<>\n"));
    struct smtpd lmtp;
    smtpd_start(&lmtp, f->rig.io, "127.0.0.1:0");
    lmtp.lmtp = true;
    d = secret(f, NEXT_HOP_LMTP, "127.0.0.1");
    d.next_hop.port = lmtp.port;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "stored");
    smtpd_stop(&lmtp);
}

/* RFC 2852 §4.1.4 */
static void deliver_by(void **state)
{
    struct fixture *f = *state;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 2);
    int64_t now = io_env_clock_us() / 1000000;
    d.by = SMTP_BY_RETURN;
    d.deliver_by = now + 100;
    expect(rig_deliver(&f->rig, &d, -1), 1, DELIVERY_PERMANENT, "5.3.3", "(DELIVERBY)");
    d.by = SMTP_BY_NOTIFY; /* goes on; the next hop is asked to tell of delays, where it can */
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 1, DELIVERY_OK, "2.6.0", "taken");
    assert_false(s->by);
    assert_false(smtpd_heard(&f->one, "NOTIFY"));
    f->one.script.dsn = true;
    f->one.script.no_pipelining = true; /* only to be another session */
    d.next_hop.tls = NEXT_HOP_TLS_NONE;
    d.rcpts[0].notify = DSN_NOTIFY_SUCCESS;
    expect(rig_deliver(&f->rig, &d, -1), 1, DELIVERY_OK, "2.6.0", "taken");
    d.rcpts[0].notify = DSN_NOTIFY_NEVER;
    assert_true(smtpd_heard(&f->one, "RCPT TO:<ann@x.test> NOTIFY=SUCCESS,DELAY\n"));
    assert_true(smtpd_heard(&f->one, "RCPT TO:<ben@x.test> NOTIFY=FAILURE,DELAY\n"));
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "RCPT TO:<ann@x.test> NOTIFY=NEVER\n"));
    d.rcpts[0].notify = 0;
    vr_buf_reset(&f->one.log);
    d.deliver_by = now - 1; /* late already: nothing is added */
    expect(rig_deliver(&f->rig, &d, -1), 1, DELIVERY_OK, "2.6.0", "taken");
    assert_false(smtpd_heard(&f->one, "NOTIFY"));
    d.by = SMTP_BY_RETURN;
    expect(rig_deliver(&f->rig, &d, -1), 1, DELIVERY_PERMANENT, "5.4.7", "is over");
}

static void deliver_by_passed_on(void **state)
{
    struct fixture *f = *state;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
    int64_t now = io_env_clock_us() / 1000000;
    f->one.script.more = "\r\n250-DELIVERBY 240";
    d.by = SMTP_BY_RETURN;
    d.deliver_by = now + 100;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_PERMANENT, "5.4.7", "wants 240");
    assert_int_equal(f->one.messages, 0);
    d.deliver_by = now + 300;
    d.asks = ENVELOPE_BY_TRACE;
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(s->by);
    size_t at = vr_str_find_str(vr_buf_str(&f->one.log), VR_STR(" BY="));
    assert_true(at != VR_NPOS);
    int left = 0;
    char mode[8] = "";
    assert_int_equal(sscanf(vr_buf_str(&f->one.log).p + at, " BY=%d;%3[RNT]", &left, mode), 2);
    assert_in_range(left, 280, 300); /* what is left, made anew for this hop */
    assert_string_equal(mode, "RT");
    d.by = SMTP_BY_NOTIFY;
    d.asks = 0;
    d.deliver_by = now - 500;
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, " BY=-50") || smtpd_heard(&f->one, " BY=-51"));
    assert_false(smtpd_heard(&f->one, "NOTIFY"));
}

/* RFC 7293 §5.1.1 */
static void only_for_who_had_the_mailbox(void **state)
{
    struct fixture *f = *state;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 3);
    d.rcpts[0].rrvs = SMTP_RRVS_REJECT;
    d.rcpts[1].rrvs = SMTP_RRVS_CONTINUE;
    d.rcpts[0].valid_since = d.rcpts[1].valid_since = 1396566060;
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_PERMANENT, "5.7.19", "(RRVS)");
    expect(s, 1, DELIVERY_OK, "2.6.0", "taken");
    expect(s, 2, DELIVERY_OK, "2.6.0", "taken");
    assert_false(smtpd_heard(&f->one, "ann@x.test"));
    f->one.script.more = "\r\n250-RRVS";
    d.next_hop.tls = NEXT_HOP_TLS_NONE; /* another session */
    s = rig_deliver(&f->rig, &d, -1);
    expect(s, 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "RCPT TO:<ann@x.test> RRVS=2014-04-03T23:01:00Z;R\n"));
    assert_true(smtpd_heard(&f->one, "RCPT TO:<ben@x.test> RRVS=2014-04-03T23:01:00Z;C\n"));
    assert_true(smtpd_heard(&f->one, "RCPT TO:<cyd@x.test>\n"));
    for (int i = 0; i < 2; i++)
        d.rcpts[i].rrvs = 0, d.rcpts[i].valid_since = 0;
}

/* ---- LIMITS (RFC 9422) ----------------------------------------------------------------------------------------------------- */

static void limits_of_a_transaction(void **state)
{
    struct fixture *f = *state;
    f->one.script.more = "\r\n250-LIMITS RCPTMAX=2 OTHER=1";
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 3);
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    for (uint32_t i = 0; i < 3; i++)
        expect(s, i, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.messages, 2);
    assert_int_equal(f->one.connections, 1);
    f->one.script.rcpt[0].contains =
        "TO:<"; /* whom nobody wanted says nothing about who was not asked for yet */
    f->one.script.rcpt[0].reply = "550 5.1.1 no";
    s = rig_deliver(&f->rig, &d, -1);
    for (uint32_t i = 0; i < 3; i++)
        expect(s, i, DELIVERY_PERMANENT, "5.1.1", "no");
    assert_int_equal(f->one.connections, 1);
}

static void limits_of_a_session(void **state)
{
    struct fixture *f = *state;
    f->one.script.more = "\r\n250-LIMITS MAILMAX=2 RCPTMAX=1";
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 3);
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    for (uint32_t i = 0; i < 3; i++)
        expect(s, i, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.messages, 3);
    assert_int_equal(f->one.connections, 2);
    deliver(f, NEXT_HOP_SMTP, "127.0.0.1"); /* the second one of the second session, which ends with it */
    rig_until(&f->rig, f->one.quits == 2);
    assert_int_equal(f->one.connections, 2);
    deliver(f, NEXT_HOP_SMTP, "127.0.0.1");
    assert_int_equal(f->one.connections, 3);
}

static void limits_of_domains(void **state)
{
    struct fixture *f = *state;
    struct delivery_rcpt several[] = {{.index = 0, .address = VR_STR("a@x.test")},
                                      {.index = 1, .address = VR_STR("b@y.test")},
                                      {.index = 2, .address = VR_STR("c@X.TEST")},
                                      {.index = 3, .address = VR_STR("d@z.test")}};
    f->one.script.more = "\r\n250-LIMITS RCPTDOMAINMAX=1";
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 4);
    d.rcpts = several;
    const struct seen *s = rig_deliver(&f->rig, &d, -1);
    for (uint32_t i = 0; i < 4; i++)
        expect(s, i, DELIVERY_OK, "2.6.0", "taken");
    assert_int_equal(f->one.messages, 3);
    assert_int_equal(f->one.connections, 3);
    assert_true(smtpd_heard(&f->one, "RCPT TO:<a@x.test>\nRCPT TO:<c@X.TEST>\nDATA\n"));
}

/* ---- AUTH= (RFC 4954 §5) ----------------------------------------------------------------------------------------------------- */

static void submitters(void **state)
{
    struct fixture *f = *state;
    struct delivery d = delivery(f, NEXT_HOP_SMTP, "127.0.0.1", 1);
    f->one.tls = server_tls(f->cert, f->key);
    f->one.script.offer_starttls = f->one.script.offer_auth = true;
    d.next_hop.tls = NEXT_HOP_TLS_REQUIRED;
    d.next_hop.route = 0; /* where we log in */
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "MAIL FROM:<from@sender.test> AUTH=<>\n"));
    d.auth = VR_STR("ann@x.test");
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "MAIL FROM:<from@sender.test> AUTH=ann@x.test\n"));
    vr_buf_reset(&f->one.log);
    d.next_hop.route = UINT32_MAX; /* whom we are not known to hears nothing of our users */
    expect(rig_deliver(&f->rig, &d, -1), 0, DELIVERY_OK, "2.6.0", "taken");
    assert_true(smtpd_heard(&f->one, "MAIL FROM:<from@sender.test>\n"));
}

static int setup_idle(void **state)
{
    more_config = "connection_idle = 200ms";
    int status = setup(state);
    more_config = "";
    return status;
}

/* The last words of a drain come before the engine gives up on its own. */
static int setup_patient(void **state)
{
    more_config = "connection_idle = 20s\n command_timeout = 1m";
    int status = setup(state);
    more_config = "";
    return status;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(several_recipients_one_refused),
        T(null_sender_and_postmaster),
        T(utf8_goes_where_it_is_offered),
        T(utf8_is_returned_where_it_is_not_offered),
        T(connections_are_reused_and_quit),
        cmocka_unit_test_setup_teardown(idle_connections_end, setup_idle, teardown),
        T(dead_idle_connections_are_replaced),
        T(too_many_recipients_for_one_transaction),
        T(refusals_of_commands),
        T(mx_hosts_in_order),
        T(verdicts_of_the_dns),
        T(refused_sessions_go_to_the_next_host),
        T(hosts_that_refuse_for_good),
        T(we_do_not_speak_with_ourselves),
        T(connection_lost_at_each_state),
        T(lost_before_the_dot_goes_to_the_next_host),
        T(tls_opportunistic),
        T(tls_that_does_not_work),
        T(tls_verified),
        T(authenticated_route),
        T(big_body_by_descriptor),
        T(shortened_file_is_never_sent_as_whole),
        T(converted_without_8bitmime),
        T(a_large_body_is_converted),
        T(converted_for_one_host_only),
        T(conversion_and_limits),
        T(size_limit),
        T(lmtp_has_a_result_for_each),
        T(a_new_queue_hears_what_is_in_flight),
        cmocka_unit_test_setup_teardown(drain_cancels_what_can_be_cancelled, setup_patient, teardown),
        T(many_at_once),
        T(requiretls),
        T(requiretls_on_a_standing_session),
        T(requiretls_elsewhere),
        T(deliver_by),
        T(deliver_by_passed_on),
        T(only_for_who_had_the_mailbox),
        T(limits_of_a_transaction),
        T(limits_of_a_session),
        T(limits_of_domains),
        T(submitters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
