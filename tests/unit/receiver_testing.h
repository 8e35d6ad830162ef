/* receiver_testing.h - a receiver as a process of its own: real clients on loopback, and the test as its keeper and its queue, who may be
 * slow, wrong or gone.
 */
#ifndef TESTS_RECEIVER_TESTING_H
#define TESTS_RECEIVER_TESTING_H

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
        char bytes[32768];
        size_t n;
    } frames[16];
};

enum { MX, SUBMISSION, SUBMISSIONS, PROXIED, PROXIED_SUBMISSION, PROXIED_SUBMISSIONS, LISTENERS };

static struct side keeper = {.role = IPC_KEEPER}, queue = {.role = IPC_QUEUE};
static int listeners[LISTENERS + 1];
static uint16_t ports[LISTENERS];
static struct crowd *crowd; /* of two receivers: the child is number 0 */

static inline void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
    io_stop(io);
}

static inline void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
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

static inline void attach(struct side *s)
{
    static const struct io_channel_ops ops = {on_frame, on_closed};
    s->count = 0;
    s->channel = process_attach(s->role, s->role, 0, &ops, s);
}

static inline void detach(struct side *s)
{
    io_channel_close(s->channel);
    s->channel = NULL;
}

static inline void config_make(const char *more)
{
    char text[4096], certificate[96], key[96], aliases[96];
    snprintf(certificate, sizeof certificate, "%s/self-signed.pem", folder);
    snprintf(key, sizeof key, "%s/self-signed.key", folder);
    assert_int_equal(io_tls_self_signed("mail.example.org", 1, certificate, key), 0);
    snprintf(aliases, sizeof aliases, "%s/aliases", folder);
    assert_int_equal(
        io_fs_replace_file(aliases, VR_STR("team: ann, carol@elsewhere.example\npipe: |x\n"), 0600), 0);
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.example.org\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
                     "listen \"127.0.0.1:0\" { role = mx }\nlisten \"127.0.0.1:0\" { role = submission }\n"
                     "listen \"127.0.0.1:0\" { role = submissions }\n"
                     "listen \"127.0.0.1:0\" { role = mx proxy = { \"127.0.0.1\", \"127.0.0.2\" } }\n"
                     "listen \"127.0.0.1:0\" { role = submission proxy = \"127.0.0.1\" }\n"
                     "listen \"127.0.0.1:0\" { role = submissions proxy = \"127.0.0.1\" }\n"
                     "domain \"example.org\" { aliases = \"%s/aliases\" etrn = \"127.0.0.1\" }\n"
                     "domain \"relay.example\" { deliver = \"smtp:127.0.0.1:9\" etrn = { \"127.0.0.1\", "
                     "\"ann@example.org\" } }\n"
                     "domain \"sub.relay.example\" { deliver = \"smtp:127.0.0.1:9\" etrn = \"127.0.0.1\" }\n"
                     "route \"branch.example\" { to = \"smtp:[192.0.2.9]:25\" etrn = \"127.0.0.0/30\" }\n"
                     "route \".branch.example\" { to = \"mx\" etrn = \"127.0.0.1\" }\n"
                     "route \"closed.branch.example\" { to = \"smtp:[192.0.2.8]:25\" }\n"
                     "submission { auth_in_clear = yes }\n%s",
                     folder, folder, folder, folder, more);
    config_from(text, (size_t)n);
}

static inline void receiver_start(const char *more)
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

static inline int start(void **state)
{
    receiver_start(*state != NULL ? *state : "");
    return 0;
}

static inline int stop(void **state)
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
static inline struct ipc_reader receive(struct side *s, enum ipc_type type)
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

/* since: when the owner of the mailbox had it first */
static inline void answer_owner(uint64_t ask, enum ipc_answer what, int64_t since)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, ask);
    ipc_put_u8(&b, (uint8_t)what);
    ipc_put_u32(&b, 0);
    ipc_put_u32(&b, 0);
    ipc_put_str(&b, VR_STR(""));
    ipc_put_u64(&b, (uint64_t)since);
    io_channel_send(keeper.channel, IPC_ANSWER, vr_buf_str(&b), -1);
    io_channel_flush(keeper.channel);
    vr_buf_fini(&b);
}

static inline void answer(uint64_t ask, enum ipc_answer what)
{
    answer_owner(ask, what, 0);
}

static inline void sasl_challenge(uint64_t conversation, struct vr_str text)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, conversation);
    ipc_put_str(&b, text);
    io_channel_send(keeper.channel, IPC_SASL_CHALLENGE, vr_buf_str(&b), -1);
    io_channel_flush(keeper.channel);
    vr_buf_fini(&b);
}

static inline void sasl_done(uint64_t conversation, enum ipc_sasl verdict, const char *user)
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

static inline int client_from(unsigned listener, const char *ip)
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

static inline int client(unsigned listener)
{
    return client_from(listener, "127.0.0.1");
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The last line of the next reply begins with this; "" is the end of the connection. */
static inline void expect(int fd, const char *begin)
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

static inline void ask(int fd, const char *text, const char *begin)
{
    say(fd, text);
    expect(fd, begin);
}

/* Logged in as ann@example.org. */
static inline int user(void)
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

/* So many clients, as soon as the receiver has noticed who left. */
static inline void expect_in_all(uint64_t n)
{
    for (int i = 0; i < 500 && crowd_in_all(crowd) != n; i++)
        run(20);
    assert_int_equal(crowd_in_all(crowd), n);
}

static inline int greeted(unsigned listener, const char *ip)
{
    int fd = client_from(listener, ip);
    expect(fd, "220 ");
    ask(fd, "EHLO c.test\r\n", "250 ");
    return fd;
}

static inline struct vr_str submitted_frame(int fd)
{
    ask(fd, "DATA\r\n", "354 ");
    say(fd, "Subject: x\r\n\r\n.\r\n");
    return receive(&queue, IPC_SUBMIT).rest;
}

static inline bool contains(struct vr_str s, const char *what)
{
    return vr_str_find_str(s, vr_str_from(what)) != VR_NPOS;
}

#endif
