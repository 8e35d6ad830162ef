/* resolver.c - the process that asks the DNS, driven over channels as receivers would, with a DNS server of this program behind it; and the other end of it: resolving.h with
 * a resolver that this test plays.
 */
#include "process_testing.h"

#include "ipc/resolving.h"
#include "resolver/resolver.h"

#include "io/fs.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#define WAIT_MS 20000

/* ---- a DNS server: TXT of *.test is its first label, none.test does not exist, broken.test is SERVFAIL, silent*.test has no answer ---------------------- */

static int dns_fd;
static uint16_t dns_port;
static pthread_t dns_thread;

static size_t reply_to(const unsigned char *q, size_t n, unsigned char *a)
{
    char label[64];
    size_t length = q[12], question = 12;
    while (q[question] != 0)
        question += q[question] + 1u;
    question += 5;
    if (question > n)
        return 0;
    memcpy(label, q + 13, length);
    label[length] = '\0';
    if (strncmp(label, "silent", 6) == 0)
        return 0;
    memcpy(a, q, question);
    a[2] = 0x84; /* an answer, authoritative */
    a[3] = strcmp(label, "broken") == 0 ? 2 : strcmp(label, "none") == 0 ? 3 : 0;
    memset(a + 6, 0, 6);
    if (a[3] != 0 || q[question - 3] != 16)
        return question;
    a[7] = 1;
    unsigned char head[] = {
        0xc0, 12, 0, 16, 0, 1, 0, 0, 1, 44, 0, (unsigned char)(length + 1), (unsigned char)length};
    memcpy(a + question, head, sizeof head);
    memcpy(a + question + sizeof head, label, length);
    return question + sizeof head + length;
}

static void *serve(void *arg)
{
    (void)arg;
    for (;;) {
        unsigned char q[512], a[1024];
        struct sockaddr_in from;
        socklen_t from_n = sizeof from;
        ssize_t n = recvfrom(dns_fd, q, sizeof q, 0, (struct sockaddr *)&from, &from_n);
        if (n < 17)
            return NULL; /* an empty datagram ends it */
        size_t size = reply_to(q, (size_t)n, a);
        if (size > 0)
            sendto(dns_fd, a, size, 0, (struct sockaddr *)&from, from_n);
    }
}

static void server_start(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    dns_fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(bind(dns_fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(getsockname(dns_fd, (struct sockaddr *)&at, &n), 0);
    dns_port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&dns_thread, NULL, serve, NULL), 0);
}

static void server_stop(void)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(dns_port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    sendto(dns_fd, "", 0, 0, (struct sockaddr *)&at, sizeof at);
    pthread_join(dns_thread, NULL);
    close(dns_fd);
}

/* ---- the process --------------------------------------------------------------------------------------------------------- */

static struct io_channel *receiver;
static struct vr_arena arena;
static struct {
    uint64_t ask;
    struct dns_answer *answers;
    size_t n;
} got[RESOLVER_ASKS_MAX + 8];
static size_t count, wanted;
static bool closed;

static void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg;
    struct ipc_reader r = ipc_reader(payload);
    assert_int_equal(fd, -1);
    assert_int_equal(type, IPC_DNS_ANSWERS);
    assert_in_range(count, 0, sizeof got / sizeof *got - 1);
    got[count].ask = ipc_get_u64(&r);
    assert_true(ipc_get_answers(&r, &arena, &got[count].answers, &got[count].n) && ipc_done(&r));
    if (++count >= wanted)
        io_stop(io);
}

static void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
    closed = true;
    io_stop(io);
}

static const struct io_channel_ops ops = {on_frame, on_closed};

static int start(void **state)
{
    (void)state;
    char text[512];
    assert_true(folder_new(folder));
    server_start();
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.example.org\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
                     "domain \"example.org\" { }\ndns { servers = { \"127.0.0.1@%u\" } }\n",
                     folder, folder, folder, dns_port);
    config_from(text, (size_t)n);
    io = io_new(1);
    count = 0;
    closed = false;
    vr_arena_init(&arena, 64u << 20);
    process_spawn((struct process_arguments){.ops = &resolver_ops, .config = config, .slot = 7});
    receiver = process_attach(IPC_RECEIVER, 20, 0, &ops, NULL);
    run(WAIT_MS);
    assert_true(ready);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    if (child != 0)
        process_drain(1000);
    supervisor_close();
    io_channel_close(receiver);
    io_free(io);
    config_free(config);
    folder_remove(folder);
    vr_arena_fini(&arena);
    server_stop();
    return 0;
}

static void ask(struct io_channel *from, uint64_t number, const struct dns_question *q, size_t n)
{
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    ipc_put_u64(&b, number);
    ipc_put_questions(&b, q, n);
    io_channel_send(from, IPC_DNS_ASK, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static void wait_for(size_t n)
{
    int64_t begin = io_monotonic_ms(io);
    wanted = n;
    while (count < n && io_monotonic_ms(io) - begin < WAIT_MS)
        run(WAIT_MS);
    assert_int_equal(count, n);
}

static void test_questions_are_answered_together(void **state)
{
    (void)state;
    static const struct dns_question q[] = {
        {VR_STR_INIT("one.test"), DNS_TYPE_TXT},    {VR_STR_INIT("none.test"), DNS_TYPE_TXT},
        {VR_STR_INIT("two.test"), DNS_TYPE_TXT},    {VR_STR_INIT("two.test"), DNS_TYPE_MX},
        {VR_STR_INIT("broken.test"), DNS_TYPE_TXT}, {VR_STR_INIT("no name at all"), DNS_TYPE_TXT}};
    static const enum dns_status status[] = {DNS_STATUS_OK,     DNS_STATUS_NXDOMAIN, DNS_STATUS_OK,
                                             DNS_STATUS_NODATA, DNS_STATUS_FAILED,   DNS_STATUS_NXDOMAIN};
    ask(receiver, 1ull << 40, q, 6);
    wait_for(1);
    assert_true(got[0].ask == 1ull << 40 && got[0].n == 6);
    for (size_t i = 0; i < 6; i++) {
        assert_true(vr_str_equal(got[0].answers[i].name, q[i].name));
        assert_int_equal(got[0].answers[i].type, q[i].type);
        assert_int_equal(got[0].answers[i].status, status[i]);
    }
    assert_true(vr_str_equal(got[0].answers[2].records[0].data, VR_STR("two")));
    assert_true(got[0].answers[4].why.n > 0);
    ask(receiver, 2, NULL, 0); /* of nothing there is nothing to wait for */
    wait_for(2);
    assert_true(got[1].ask == 2 && got[1].n == 0);
}

/* One that is not answered holds up nobody else; who gives up takes its questions along; and there is a bound. */
static void test_silence(void **state)
{
    (void)state;
    struct io_channel *other = process_attach(IPC_RECEIVER, 21, 0, &ops, NULL);
    struct dns_question silent = {VR_STR("silent.test"), DNS_TYPE_TXT},
                        one = {VR_STR("one.test"), DNS_TYPE_TXT};
    for (uint64_t i = 0; i < RESOLVER_ASKS_MAX; i++)
        ask(other, 1000 + i, &silent, 1);
    ask(other, 1, &one, 1);
    wait_for(1); /* turned away: of all that were asked the only one that has an answer */
    assert_true(got[0].ask == 1 && got[0].n == 1 && got[0].answers[0].status == DNS_STATUS_FAILED);
    io_channel_close(other);
    for (int tries = 0; tries < 200 && (count < 2 || got[count - 1].answers[0].status != DNS_STATUS_OK);
         tries++) {
        ask(receiver, 2, &one, 1); /* when the resolver has seen that it is gone */
        wait_for(count + 1);
        assert_int_equal(got[count - 1].ask, 2);
    }
    assert_int_equal(got[count - 1].answers[0].status, DNS_STATUS_OK);
}

/* What is asked is answered before the process goes; what is garbage is not answered, and hurts nobody. */
static void test_drain_and_garbage(void **state)
{
    (void)state;
    static const struct dns_question one = {VR_STR_INIT("one.test"), DNS_TYPE_TXT};
    struct vr_buf any;
    vr_buf_init(&any, 64);
    ipc_put_u64(&any, 1);
    ipc_put_u32(&any, 1);
    ipc_put_u32(&any, 255); /* ANY */
    ipc_put_str(&any, VR_STR("one.test"));
    io_channel_send(receiver, IPC_DNS_ASK, vr_buf_str(&any), -1);
    io_channel_send(receiver, IPC_DNS_ASK, VR_STR("garbage"), -1);
    ask(receiver, 5, &one, 1);
    wait_for(1);
    assert_int_equal(got[0].ask, 5);
    ask(receiver, 6, &one, 1);
    io_channel_flush(receiver);
    process_drain(WAIT_MS);
    while (!closed)
        run(WAIT_MS);
    assert_true(count <= 2); /* it may have gone before it read the question: then who asks sees its end */
    vr_buf_fini(&any);
}

/* ---- who asks ------------------------------------------------------------------------------------------------------------ */

static struct process p;
static struct resolving *resolving;
static struct {
    struct dns_answer answers[8];
    size_t n;
    int calls;
} told[4];
static struct {
    struct io_channel *channel;
    struct peer peer;
    uint64_t ask;
    unsigned frames;
    size_t questions;
} resolvers[2];

static void on_question(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    size_t k = (size_t)(uintptr_t)arg;
    struct ipc_reader r = ipc_reader(payload);
    struct dns_question *q;
    assert_true(type == IPC_DNS_ASK && fd == -1);
    resolvers[k].ask = ipc_get_u64(&r);
    assert_true(ipc_get_questions(&r, &arena, &q, &resolvers[k].questions) && ipc_done(&r));
    resolvers[k].frames++;
    io_stop(io);
}

static const struct io_channel_ops question_ops = {on_question, on_closed}, mute_ops = {on_frame, on_closed};

static void resolver_comes(size_t k)
{
    int fds[2];
    assert_int_equal(io_channel_pair(fds), 0);
    resolvers[k].channel = io_channel_new(io, fds[1], &question_ops, (void *)(uintptr_t)k);
    resolvers[k].peer = (struct peer){
        .process = &p, .role = IPC_RESOLVER, .channel = io_channel_new(io, fds[0], &mute_ops, NULL)};
    resolvers[k].peer.next = p.peers;
    p.peers = &resolvers[k].peer;
    resolving_attached(resolving);
}

static void resolver_goes(size_t k)
{
    struct peer **at = &p.peers;
    while (*at != &resolvers[k].peer)
        at = &(*at)->next;
    *at = resolvers[k].peer.next;
    resolving_lost(resolving, &resolvers[k].peer);
    io_channel_close(resolvers[k].channel);
    io_channel_close(resolvers[k].peer.channel);
}

static void on_told(void *arg, const struct dns_answer *answers, size_t n)
{
    size_t i = (size_t)(uintptr_t)arg;
    told[i].n = n;
    told[i].calls++;
    for (size_t k = 0; k < n && k < 8; k++)
        told[i].answers[k] = answers[k];
    io_stop(io);
}

static int asker_start(void **state)
{
    (void)state;
    io = io_new(1);
    vr_arena_init(&arena, 4u << 20);
    memset(told, 0, sizeof told);
    memset(resolvers, 0, sizeof resolvers);
    p = (struct process){.io = io};
    vr_buf_init(&p.scratch, IO_FRAME_MAX);
    resolving = resolving_new(&p);
    return 0;
}

static int asker_stop(void **state)
{
    (void)state;
    while (p.peers != NULL)
        resolver_goes(p.peers == &resolvers[1].peer);
    resolving_free(resolving);
    vr_buf_fini(&p.scratch);
    vr_arena_fini(&arena);
    io_free(io);
    return 0;
}

static const struct dns_question two[] = {{VR_STR_INIT("a.test"), DNS_TYPE_TXT},
                                          {VR_STR_INIT("b.test"), DNS_TYPE_TXT}};

static struct resolving_ask *want(size_t i, int64_t ms)
{
    return resolving_ask(resolving, &arena, two, 2, ms, on_told, (void *)(uintptr_t)i);
}

static void answer(uint64_t number, const struct dns_answer *a, size_t n)
{
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    ipc_put_u64(&b, number);
    ipc_put_answers(&b, a, n);
    resolving_frame(resolving, vr_buf_str(&b));
    vr_buf_fini(&b);
}

static const struct dns_record record = {.data = VR_STR_INIT("text")};
static const struct dns_answer good[] = {
    {.name = VR_STR_INIT("x.test"),
     .type = DNS_TYPE_TXT,
     .status = DNS_STATUS_OK,
     .records = &record,
     .count = 1},
    {.name = VR_STR_INIT("b.test"),
     .type = DNS_TYPE_TXT,
     .status = DNS_STATUS_OK,
     .records = &record,
     .count = 1},
    {.name = VR_STR_INIT("a.test"), .type = DNS_TYPE_MX, .status = DNS_STATUS_NXDOMAIN}};

/* Answers go to their questions, whatever their order; what was not asked is not taken, what has no answer has failed. */
static void test_answers_fit_their_questions(void **state)
{
    (void)state;
    resolver_comes(0);
    want(0, WAIT_MS);
    run(WAIT_MS);
    assert_true(resolvers[0].frames == 1 && resolvers[0].questions == 2);
    answer(resolvers[0].ask + 1, good, 3); /* of no question of ours */
    assert_int_equal(told[0].calls, 0);
    answer(resolvers[0].ask, good, 3);
    assert_true(told[0].calls == 1 && told[0].n == 2);
    assert_int_equal(told[0].answers[0].status, DNS_STATUS_FAILED);
    assert_true(vr_str_equal(told[0].answers[0].name, VR_STR("a.test")));
    assert_int_equal(told[0].answers[1].status, DNS_STATUS_OK);
    assert_true(vr_str_equal(told[0].answers[1].records[0].data, VR_STR("text")));
    answer(resolvers[0].ask, good, 3); /* twice */
    resolving_frame(resolving, VR_STR("x"));
    assert_int_equal(told[0].calls, 1);
    want(1, WAIT_MS);
    while (resolvers[0].frames < 2)
        run(WAIT_MS);
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, resolvers[0].ask);
    ipc_put_u32(&b, 77);
    resolving_frame(resolving, vr_buf_str(&b)); /* garbage is no "there is none" */
    vr_buf_fini(&b);
    assert_true(told[1].calls == 1 && told[1].answers[0].status == DNS_STATUS_FAILED &&
                told[1].answers[1].status == DNS_STATUS_FAILED);
}

/* Without a resolver, or with one that is silent: failed in time, never "there is none". */
static void test_silence_is_a_failure(void **state)
{
    (void)state;
    want(0, 20);
    run(WAIT_MS);
    assert_true(told[0].calls == 1 && told[0].n == 2 && told[0].answers[1].status == DNS_STATUS_FAILED &&
                told[0].answers[1].why.n > 0);
    resolver_comes(0);
    want(1, 20);
    while (told[1].calls == 0)
        run(WAIT_MS);
    assert_int_equal(told[1].answers[0].status, DNS_STATUS_FAILED);
    answer(resolvers[0].ask, good, 3); /* too late */
    assert_int_equal(told[1].calls, 1);
    struct resolving_ask *a = want(2, 20);
    resolving_cancel(a);
    run(60);
    assert_int_equal(told[2].calls, 0);
}

/* A resolver that dies took the questions with it: the next one is asked, be it there already or not. */
static void test_another_resolver(void **state)
{
    (void)state;
    want(0, WAIT_MS);
    resolver_comes(0);
    run(WAIT_MS);
    assert_int_equal(resolvers[0].frames, 1);
    resolver_goes(0);
    resolver_comes(1);
    run(WAIT_MS);
    assert_true(resolvers[1].frames == 1 && resolvers[1].questions == 2 && told[0].calls == 0);
    answer(resolvers[0].ask, good, 3); /* a ghost's word */
    assert_int_equal(told[0].calls, 0);
    resolver_comes(0);
    resolver_goes(1);
    while (resolvers[0].frames < 2)
        run(WAIT_MS);
    answer(resolvers[0].ask, good, 3);
    assert_int_equal(told[0].calls, 1);
}

#define EACH(f)  cmocka_unit_test_setup_teardown(f, start, stop)
#define ASKER(f) cmocka_unit_test_setup_teardown(f, asker_start, asker_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_questions_are_answered_together),
        EACH(test_silence),
        EACH(test_drain_and_garbage),
        ASKER(test_answers_fit_their_questions),
        ASKER(test_silence_is_a_failure),
        ASKER(test_another_resolver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
