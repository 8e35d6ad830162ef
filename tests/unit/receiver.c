/* receiver.c - the receiver as a process of its own: real clients on loopback, and the test as its keeper and its queue, who may be
 * slow, wrong or gone.
 */
#include "process_testing.h"

#include "receiver/crowd.h"
#include "receiver/receiver.h"

#include "io/channel.h"
#include "io/fs.h"
#include "io/stream.h"
#include "io/tls.h"

#include <errno.h>
#include <sys/socket.h>

#include <arpa/inet.h>

#define WAIT_MS 10000

/* ---- a receiver, its keeper and its queue ------------------------------------------------------------------------- */

struct side { /* the end of a process that the receiver speaks with; frames are kept in a row */
    struct io_channel *channel;
    uint32_t role;
    unsigned count;
    struct {
        uint16_t type;
        char bytes[8192];
        size_t n;
    } frames[16];
};

enum { MX, SUBMISSION, SUBMISSIONS, PROXIED, PROXIED_SUBMISSION, PROXIED_SUBMISSIONS, LISTENERS };

static struct side keeper = {.role = IPC_KEEPER}, queue = {.role = IPC_QUEUE};
static int listeners[LISTENERS + 1];
static uint16_t ports[LISTENERS];
static struct crowd *crowd; /* of two receivers: the child is number 0 */

static void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
    io_stop(io);
}

static void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct side *s = arg;
    assert_int_equal(fd, -1);
    assert_true(s->count < 16 && payload.n <= sizeof s->frames[0].bytes);
    s->frames[s->count].type = type;
    s->frames[s->count].n = payload.n;
    memcpy(s->frames[s->count].bytes, payload.p, payload.n);
    s->count++;
    io_stop(io);
}

static void attach(struct side *s)
{
    static const struct io_channel_ops ops = {on_frame, on_closed};
    s->count = 0;
    s->channel = process_attach(s->role, s->role, 0, &ops, s);
}

static void detach(struct side *s)
{
    io_channel_close(s->channel);
    s->channel = NULL;
}

static void config_make(const char *more)
{
    char text[2048], certificate[96], key[96];
    snprintf(certificate, sizeof certificate, "%s/self-signed.pem", folder);
    snprintf(key, sizeof key, "%s/self-signed.key", folder);
    assert_int_equal(io_tls_self_signed("mail.example.org", 1, certificate, key), 0);
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.example.org\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
                     "listen \"127.0.0.1:0\" { role = mx }\nlisten \"127.0.0.1:0\" { role = submission }\n"
                     "listen \"127.0.0.1:0\" { role = submissions }\n"
                     "listen \"127.0.0.1:0\" { role = mx proxy = { \"127.0.0.1\", \"127.0.0.2\" } }\n"
                     "listen \"127.0.0.1:0\" { role = submission proxy = \"127.0.0.1\" }\n"
                     "listen \"127.0.0.1:0\" { role = submissions proxy = \"127.0.0.1\" }\n"
                     "domain \"example.org\" { }\n"
                     "domain \"relay.example\" { deliver = \"smtp:127.0.0.1:9\" }\n"
                     "submission { auth_in_clear = yes }\n%s",
                     folder, folder, folder, more);
    config_from(text, (size_t)n);
}

static void receiver_start(const char *more)
{
    assert_true(folder_new(folder));
    config_make(more);
    for (size_t i = 0; i < LISTENERS; i++) {
        struct io_address a = config->listeners[i].address;
        listeners[i] = io_listen_fd(&a, false, 0600);
        assert_true(listeners[i] >= 0);
        assert_int_equal(io_listen_address(listeners[i], &a), 0);
        ports[i] = a.port;
    }
    struct io_address submit = {.family = IO_UNIX};
    snprintf(submit.path, sizeof submit.path, "%s/submit", folder);
    listeners[LISTENERS] = io_listen_fd(&submit, false, 0600);
    assert_true(listeners[LISTENERS] >= 0);
    crowd = crowd_new(2);
    io = io_new(1);
    process_spawn((struct process_arguments){.ops = &receiver_ops,
                                             .config = config,
                                             .slot = 3,
                                             .listen_fds = listeners,
                                             .listen_count = LISTENERS + 1,
                                             .crowd = crowd});
    for (size_t i = 0; i <= LISTENERS; i++)
        close(listeners[i]);
    attach(&keeper);
    attach(&queue);
    run(WAIT_MS);
    assert_true(ready);
}

static int start(void **state)
{
    receiver_start(*state != NULL ? *state : "");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    process_drain(100);
    supervisor_close();
    io_channel_close(keeper.channel);
    io_channel_close(queue.channel);
    io_free(io);
    crowd_free(crowd);
    config_free(config);
    folder_remove(folder);
    return 0;
}

/* The next frame that the receiver sent to this side; it must be of this type. */
static struct ipc_reader receive(struct side *s, enum ipc_type type)
{
    static char bytes[sizeof s->frames[0].bytes];
    timed_out = false;
    while (s->count == 0 && !timed_out)
        run(WAIT_MS);
    assert_true(s->count > 0);
    assert_int_equal(s->frames[0].type, type);
    size_t n = s->frames[0].n;
    memcpy(bytes, s->frames[0].bytes, n);
    memmove(s->frames, s->frames + 1, --s->count * sizeof s->frames[0]);
    return ipc_reader(vr_str(bytes, n));
}

static void answer(uint64_t ask, enum ipc_answer what)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, ask);
    ipc_put_u8(&b, (uint8_t)what);
    ipc_put_u32(&b, 0);
    ipc_put_u32(&b, 0);
    ipc_put_str(&b, VR_STR(""));
    io_channel_send(keeper.channel, IPC_ANSWER, vr_buf_str(&b), -1);
    io_channel_flush(keeper.channel);
    vr_buf_fini(&b);
}

static void sasl_challenge(uint64_t conversation, struct vr_str text)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, conversation);
    ipc_put_str(&b, text);
    io_channel_send(keeper.channel, IPC_SASL_CHALLENGE, vr_buf_str(&b), -1);
    io_channel_flush(keeper.channel);
    vr_buf_fini(&b);
}

static void sasl_done(uint64_t conversation, enum ipc_sasl verdict, const char *user)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, conversation);
    ipc_put_u8(&b, (uint8_t)verdict);
    ipc_put_str(&b, vr_str_from(user));
    io_channel_send(keeper.channel, IPC_SASL_DONE, vr_buf_str(&b), -1);
    io_channel_flush(keeper.channel);
    vr_buf_fini(&b);
}

/* ---- a client ------------------------------------------------------------------------------------------------------ */

static int client_from(unsigned listener, const char *ip)
{
    struct timeval wait = {.tv_sec = WAIT_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, ip, &from.sin_addr), 1);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(ports[listener]);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static int client(unsigned listener)
{
    return client_from(listener, "127.0.0.1");
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The last line of the next reply begins with this; "" is the end of the connection. */
static void expect(int fd, const char *begin)
{
    char line[1024];
    size_t n;
    ssize_t got = 0;
    do {
        n = 0;
        while (n < sizeof line - 1 && (got = recv(fd, line + n, 1, 0)) == 1 && line[n++] != '\n')
            ;
        line[n] = '\0';
    } while (n > 3 && line[3] == '-');
    if (got < 0 && errno != ECONNRESET)
        fail_msg("nothing was said; expected \"%s\"", begin);
    if (strncmp(line, begin, strlen(begin)) != 0 || (begin[0] == '\0') != (n == 0))
        fail_msg("expected \"%s\", got \"%s\"", begin, line);
}

static void ask(int fd, const char *text, const char *begin)
{
    say(fd, text);
    expect(fd, begin);
}

/* Logged in as ann@example.org. */
static int user(void)
{
    int fd = client(SUBMISSION);
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    say(fd, "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBwZW5jaWw=\r\n");
    struct ipc_reader r = receive(&keeper, IPC_SASL_START);
    sasl_done(ipc_get_u64(&r), IPC_SASL_OK, "ann@example.org");
    expect(fd, "235 ");
    return fd;
}

/* ---- the keeper ---------------------------------------------------------------------------------------------------- */

/* An exchange that a client leaves behind would stay with the keeper for ever, which has room for so many. */
static void test_sasl_left_behind(void **state)
{
    (void)state;
    int fd = client(SUBMISSION);
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    say(fd, "AUTH PLAIN\r\n");
    struct ipc_reader r = receive(&keeper, IPC_SASL_START);
    uint64_t conversation = ipc_get_u64(&r);
    sasl_challenge(conversation, VR_STR(""));
    expect(fd, "334 ");
    close(fd);
    r = receive(&keeper, IPC_SASL_ABORT);
    assert_int_equal(ipc_get_u64(&r), conversation);
}

/* An answer that is late, or comes twice, must not be taken as that to the next question. */
static void test_answer_twice(void **state)
{
    (void)state;
    int fd = user();
    say(fd, "MAIL FROM:<office@example.org>\r\n");
    struct ipc_reader r = receive(&keeper, IPC_SENDER_ASK);
    uint64_t first = ipc_get_u64(&r);
    answer(first, IPC_YES);
    expect(fd, "250 2.1.0");
    ask(fd, "RSET\r\n", "250 2.0.0");
    say(fd, "MAIL FROM:<boss@example.org>\r\n");
    r = receive(&keeper, IPC_SENDER_ASK);
    uint64_t second = ipc_get_u64(&r);
    answer(first, IPC_YES);
    answer(second, IPC_NO);
    expect(fd, "553 5.7.1");
    close(fd);
}

/* Who logged in gets the priority that he asks for; a stranger's is lowered and he hears it; nobody needs leave to wait (RFC 6710 §4.1). */
static void test_priorities(void **state)
{
    (void)state;
    int fd = user();
    ask(fd, "MAIL FROM:<ann@example.org> MT-PRIORITY=9\r\n", "250 2.1.0");
    ask(fd, "RSET\r\n", "250 2.0.0");
    say(fd, "MAIL FROM:<office@example.org> MT-PRIORITY=3\r\n"); /* the keeper's yes comes first */
    struct ipc_reader r = receive(&keeper, IPC_SENDER_ASK);
    answer(ipc_get_u64(&r), IPC_YES);
    expect(fd, "250 2.1.0");
    close(fd);
    fd = client(MX);
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example> MT-PRIORITY=1\r\n", "250 2.3.6 0 ");
    ask(fd, "RSET\r\n", "250 2.0.0");
    ask(fd, "MAIL FROM:<x@elsewhere.example> MT-PRIORITY=0\r\n", "250 2.1.0");
    ask(fd, "RSET\r\n", "250 2.0.0");
    ask(fd, "MAIL FROM:<x@elsewhere.example> MT-PRIORITY=-9\r\n", "250 2.1.0");
    ask(fd, "RSET\r\n", "250 2.0.0");
    ask(fd, "MAIL FROM:<x@elsewhere.example> MT-PRIORITY=10\r\n", "501 5.5.4");
    close(fd);
}

static void test_keeper_gone(void **state)
{
    (void)state;
    int fd = user();
    say(fd, "MAIL FROM:<office@example.org>\r\n");
    receive(&keeper, IPC_SENDER_ASK);
    detach(&keeper);
    expect(fd, "451 4.3.0");
    ask(fd, "MAIL FROM:<office@example.org>\r\n", "451 4.3.0");
    ask(fd, "MAIL FROM:<ann@example.org>\r\n", "250 2.1.0"); /* whom nobody needs to ask about */
    ask(fd, "RCPT TO:<bob@example.org>\r\n", "451 4.3.0");
    ask(fd, "RCPT TO:<bob@elsewhere.example>\r\n", "250 2.1.5");
    int other = client(SUBMISSION);
    expect(other, "220 ");
    ask(other, "EHLO c.test\r\n", "250 ");
    ask(other, "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBwZW5jaWw=\r\n", "454 4.7.0");
    attach(&keeper);
    run(200);
    say(fd, "RCPT TO:<bob@example.org>\r\n");
    struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
    answer(ipc_get_u64(&r), IPC_NO);
    expect(fd, "550 5.1.1");
    close(fd);
    close(other);
}

static struct io_network network(const char *text)
{
    struct io_network net = {0};
    assert_true(io_network_parse(vr_str_from(text), &net));
    return net;
}

/* ---- behind a proxy ------------------------------------------------------------------------------------------------ */

/* A client of this address, through the proxy that 127.0.0.1 is. */
static int proxied(unsigned listener, const char *ip)
{
    char header[120];
    int fd = client(listener);
    snprintf(header, sizeof header, "PROXY TCP%c %s %s 56324 25\r\n", strchr(ip, ':') != NULL ? '6' : '4', ip,
             strchr(ip, ':') != NULL ? "::1" : "127.0.0.1");
    say(fd, header);
    return fd;
}

/* Whom the proxy names is the client for everything: trust, the keeper's throttle, what the queue is told. */
static void test_proxied_client(void **state)
{
    (void)state;
    int fd = proxied(PROXIED, "192.0.2.7");
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", "250 "); /* trusted */
    ask(fd, "DATA\r\n", "354 ");
    say(fd, "Subject: x\r\n\r\n.\r\n");
    struct ipc_reader r = receive(&queue, IPC_SUBMIT);
    struct vr_str frame = r.rest;
    assert_true(vr_str_find_str(frame, VR_STR("([192.0.2.7])")) != VR_NPOS);
    assert_true(vr_str_find_str(frame, VR_STR("127.0.0.1")) == VR_NPOS);
    close(fd);
    fd = proxied(PROXIED, "198.51.100.1");
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", "554 5.7.1"); /* a stranger, although the proxy is trusted */
    close(fd);
    fd = proxied(PROXIED_SUBMISSION, "2001:db8::7");
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    say(fd, "AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBwZW5jaWw=\r\n");
    r = receive(&keeper, IPC_SASL_START);
    frame = r.rest;
    assert_true(vr_str_find_str(frame, VR_STR("2001:db8::7")) != VR_NPOS);
    close(fd);
}

/* The proxy's own connections are its own; somebody of whom it knows no address has not its trust. */
static void test_proxy_itself(void **state)
{
    (void)state;
    static const struct {
        struct vr_str header;
        const char *rcpt;
    } rows[] = {
        {VR_STR_INIT("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"), "250 "},
        {VR_STR_INIT("\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"), "554 5.7.1"},
        {VR_STR_INIT("PROXY UNKNOWN\r\n"), "554 5.7.1"},
        {VR_STR_INIT("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"), "250 "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = client(PROXIED);
        assert_int_equal(send(fd, rows[i].header.p, rows[i].header.n, MSG_NOSIGNAL), rows[i].header.n);
        expect(fd, "220 ");
        ask(fd, "EHLO c.test\r\n", "250 ");
        ask(fd, "MAIL FROM:<x@elsewhere.example>\r\n", "250 ");
        ask(fd, "RCPT TO:<y@elsewhere.example>\r\n", rows[i].rcpt);
        close(fd);
    }
}

/* The header in pieces, and with commands behind it in one. */
static void test_header_in_pieces(void **state)
{
    (void)state;
    static const char header[] = "PROXY TCP4 192.0.2.7 127.0.0.1 56324 25\r\n";
    int fd = client(PROXIED);
    for (const char *c = header; *c != '\0'; c++) {
        assert_int_equal(send(fd, c, 1, MSG_NOSIGNAL), 1);
        if (c[1] != '\0' && (c - header) % 8 == 0)
            run(2);
    }
    expect(fd, "220 ");
    ask(fd, "QUIT\r\n", "221 ");
    close(fd);
    fd = client(PROXIED);
    say(fd, "PROXY TCP4 192.0.2.7 127.0.0.1 56324 25\r\nEHLO c.test\r\nQUIT\r\n");
    expect(fd, "220 ");
    expect(fd, "250 ");
    expect(fd, "221 ");
    close(fd);
}

/* Who is no proxy is not heard, whatever he says; a proxy that says nothing of its client neither. */
static void test_not_a_proxy(void **state)
{
    (void)state;
    int fd = client_from(PROXIED, "127.0.0.3");
    expect(fd, "554 ");
    ask(fd, "PROXY TCP4 192.0.2.7 127.0.0.1 56324 25\r\n", "50");
    ask(fd, "EHLO c.test\r\n", "503 ");
    ask(fd, "QUIT\r\n", "221 ");
    close(fd);
    fd = client_from(PROXIED_SUBMISSIONS, "127.0.0.3");
    expect(fd, "");
    close(fd);
    fd = client(PROXIED);
    ask(fd, "EHLO c.test\r\n", "");
    close(fd);
    fd = client(PROXIED);
    ask(fd, "PROXY TCP4 192.0.2 127.0.0.1 56324 25\r\n", "");
    close(fd);
    fd = client(MX); /* where nobody is a proxy, the header is a wrong command */
    expect(fd, "220 ");
    ask(fd, "PROXY TCP4 192.0.2.7 127.0.0.1 56324 25\r\n", "500 ");
    close(fd);
}

/* So many clients, as soon as the receiver has noticed who left. */
static void expect_in_all(uint64_t n)
{
    for (int i = 0; i < 500 && crowd_in_all(crowd) != n; i++)
        run(20);
    assert_int_equal(crowd_in_all(crowd), n);
}

/* The limit of one address is that of the client, not of the proxy; those that have not said yet who they are count in all. */
static void test_proxied_limits(void **state)
{
    (void)state;
    int held[6], silent[5];
    for (size_t i = 0; i < 5; i++)
        silent[i] = client(PROXIED);
    for (size_t i = 0; i < 6; i++) {
        held[i] = proxied(PROXIED, i % 2 == 0 ? "192.0.2.7" : "192.0.2.8");
        expect(held[i], "220 ");
    }
    int more = proxied(PROXIED, "192.0.2.7");
    expect(more, "421 ");
    close(more);
    expect_in_all(11);
    struct io_network proxy = network("127.0.0.1");
    struct crowd_client here = crowd_enter(crowd, 1, &proxy);
    assert_int_equal(crowd_of_address(crowd, here), 1); /* nobody but us */
    crowd_leave(crowd, 1, here);
    int one = client(PROXIED); /* the twelfth, of twelve */
    more = client(PROXIED);
    expect(more, "");
    close(more);
    close(held[0]);
    for (size_t i = 0; i < 5; i++)
        close(silent[i]);
    expect_in_all(6);
    more = proxied(PROXIED, "192.0.2.7");
    expect(more, "220 ");
    close(more), close(one);
    for (size_t i = 1; i < 6; i++)
        close(held[i]);
    expect_in_all(0);
}

/* A stop does not wait for headers. */
static void test_stop_while_awaiting(void **state)
{
    (void)state;
    int fd = client(PROXIED);
    run(50);
    process_drain_ask(supervisor, 100);
    expect(fd, "");
    close(fd);
}

/* ---- how many clients ---------------------------------------------------------------------------------------------- */

/* Who has not shaken hands yet is a connection too. */
static void test_handshakes_count(void **state)
{
    (void)state;
    int held[3];
    for (size_t i = 0; i < 3; i++)
        held[i] = client(SUBMISSIONS);
    int more = client(SUBMISSIONS);
    expect(more, ""); /* no handshake for somebody who is refused anyway */
    int clear = client(MX);
    expect(clear, "421 ");
    int other = client_from(SUBMISSION, "127.0.0.2"); /* another address */
    expect(other, "220 ");
    close(held[0]);
    run(200);
    int again = client(MX);
    expect(again, "220 ");
    for (size_t i = 1; i < 3; i++)
        close(held[i]);
    close(more), close(clear), close(other), close(again);
}

/* Clients of another receiver are clients too, until it dies. */
static void test_clients_of_others(void **state)
{
    (void)state;
    struct io_network loopback = network("127.0.0.1"), far = network("192.0.2.1");
    crowd_enter(crowd, 1, &far);
    crowd_enter(crowd, 1, &loopback);
    struct crowd_client second = crowd_enter(crowd, 1, &loopback);
    int one = client(MX);
    expect(one, "220 ");
    int more = client(MX);
    expect(more, "421 ");
    close(more);
    run(200);
    crowd_leave(crowd, 1, second);
    int other = client(MX);
    expect(other, "220 ");
    more = client(MX);
    expect(more, "421 ");
    close(more);
    run(200);
    crowd_clear(crowd, 1);
    int third = client(MX);
    expect(third, "220 ");
    assert_int_equal(crowd_in_all(crowd), 3);
    close(one), close(other), close(third);
    run(200);
    assert_int_equal(crowd_in_all(crowd), 0);
}

/* limits.connections, and the one limit that holds for local programs too. */
static void test_all_together(void **state)
{
    (void)state;
    struct crowd_client held[3];
    for (unsigned i = 0; i < 3; i++)
        held[i] = crowd_enter(crowd, 1, NULL);
    int one = client(MX), more = client_from(MX, "127.0.0.2");
    expect(one, "220 ");
    expect(more, "421 ");
    close(more);
    run(200);
    crowd_leave(crowd, 1, held[0]);
    more = client_from(MX, "127.0.0.2");
    expect(more, "220 ");
    close(one), close(more);
}

static void test_board(void **state)
{
    (void)state;
    struct crowd *c = crowd_new(3);
    struct io_network a = network("2001:db8::1"), a2 = network("2001:db8::2:1"),
                      b = network("2001:db8:0:1::1");
    struct crowd_client at[4];
    for (unsigned i = 0; i < 3; i++)
        at[i] = crowd_enter(c, i, i < 2 ? &a : &a2); /* a /64 is one client */
    at[3] = crowd_enter(c, 1, &b);
    struct crowd_client local = crowd_enter(c, 2, NULL);
    assert_int_equal(crowd_of_address(c, at[0]), 3);
    assert_int_equal(crowd_of_address(c, at[3]), 1);
    assert_int_equal(crowd_of_address(c, local), 0);
    assert_int_equal(crowd_in_all(c), 5);
    crowd_clear(c, 1);
    assert_int_equal(crowd_of_address(c, at[2]), 2);
    assert_int_equal(crowd_in_all(c), 3);
    crowd_leave(c, 0, at[0]);
    crowd_leave(c, 2, at[2]);
    crowd_leave(c, 2, local);
    assert_int_equal(crowd_of_address(c, at[0]), 0);
    assert_int_equal(crowd_in_all(c), 0);
    crowd_free(c);
}

/* A hundred thousand clients, one connection each: nobody is taken for a hundred. */
static void test_board_is_wide(void **state)
{
    (void)state;
    struct crowd *c = crowd_new(2);
    struct io_network net = network("10.0.0.0");
    uint64_t highest = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        net.ip[1] = (uint8_t)(i >> 16), net.ip[2] = (uint8_t)(i >> 8), net.ip[3] = (uint8_t)i;
        uint64_t n = crowd_of_address(c, crowd_enter(c, i & 1, &net));
        assert_true(n >= 1);
        highest = n > highest ? n : highest;
    }
    assert_true(highest < 20);
    crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sasl_left_behind, start, stop),
        cmocka_unit_test_setup_teardown(test_answer_twice, start, stop),
        cmocka_unit_test_setup_teardown(test_priorities, start, stop),
        cmocka_unit_test_setup_teardown(test_keeper_gone, start, stop),
        cmocka_unit_test_prestate_setup_teardown(test_proxied_client, start, stop,
                                                 "trusted = { \"192.0.2.0/24\", \"127.0.0.1\" }\n"),
        cmocka_unit_test_prestate_setup_teardown(test_proxy_itself, start, stop, "trusted = \"127.0.0.1\"\n"),
        cmocka_unit_test_setup_teardown(test_header_in_pieces, start, stop),
        cmocka_unit_test_setup_teardown(test_not_a_proxy, start, stop),
        cmocka_unit_test_prestate_setup_teardown(test_proxied_limits, start, stop,
                                                 "limits { connections_per_address = 3 connections = 12 }\n"),
        cmocka_unit_test_setup_teardown(test_stop_while_awaiting, start, stop),
        cmocka_unit_test_prestate_setup_teardown(test_handshakes_count, start, stop,
                                                 "limits { connections_per_address = 3 }\n"),
        cmocka_unit_test_prestate_setup_teardown(test_clients_of_others, start, stop,
                                                 "limits { connections_per_address = 3 }\n"),
        cmocka_unit_test_prestate_setup_teardown(test_all_together, start, stop,
                                                 "limits { connections = 4 }\n"),
        cmocka_unit_test(test_board),
        cmocka_unit_test(test_board_is_wide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
