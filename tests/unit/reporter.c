/* reporter.c - the process that reports, driven as receivers and senders would, with the queue, the keeper and the resolver played by this test. A period is a second
 * here; what is asserted does not depend on how many of them the frames fell into.
 */
#include "process_testing.h"

#include "ipc/answers.h"
#include "ipc/seen.h"
#include "io/stream.h"
#include "reporter/counts.h"
#include "reporter/reporter.h"

#include <veredus/dmarc_report.h>
#include <veredus/message.h>
#include <veredus/report.h>

#include <sys/stat.h>

#define WAIT_MS 20000

static struct io_channel *receiver, *sender, *queue, *keeper, *resolver;
static struct vr_arena arena;

/* How the others behave, and what they saw. */
static struct {
    enum ipc_answer key;             /* of the keeper */
    enum ipc_submitted submitted;    /* of the queue */
    unsigned signers_asked, submits; /* so far */
    unsigned dns_asked;
    struct envelope envelope; /* of the last message; in the arena */
    struct vr_str body;
    uint64_t messages, sessions; /* told of in all reports */
    uint64_t failures;           /* failure reports */
} world;

static uint64_t wanted; /* stop when so many messages and sessions were told of */

static void on_keeper(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg, (void)fd;
    struct ipc_reader r = ipc_reader(payload);
    uint64_t ask = ipc_get_u64(&r);
    struct vr_str domain = ipc_get_str(&r);
    struct ipc_signers signers = {.count = 0}, asked;
    static const char signature[64] = "a signature of sixty-four octets, as Ed25519 makes them, it says";
    assert_true(vr_str_equal(domain, VR_STR("example.org")));
    if (type == IPC_SIGN_ASK) {
        ipc_get_signers(&r, &asked);
        assert_true(asked.count == 1 && asked.list[0].bytes.n == 32);
    } else
        assert_int_equal(type, IPC_SIGNERS_ASK);
    if (world.key == IPC_YES)
        signers.list[signers.count++] =
            (struct ipc_signer){DKIM_ED25519_SHA256, VR_STR("sel"),
                                type == IPC_SIGN_ASK ? vr_str(signature, sizeof signature) : vr_str(NULL, 0)};
    world.signers_asked += type == IPC_SIGNERS_ASK;
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    ipc_put_u64(&b, ask);
    ipc_put_u8(&b, (uint8_t)world.key);
    ipc_put_signers(&b, &signers);
    io_channel_send(keeper, type == IPC_SIGN_ASK ? IPC_SIGNED : IPC_SIGNERS, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
    if (world.key == IPC_NO && wanted == 0)
        io_stop(io);
}

static bool has(const char *part)
{
    return vr_str_find_str(world.body, vr_str_from(part)) != VR_NPOS;
}

static void read_report(void)
{
    struct vr_buf content;
    enum report_kind kind;
    struct dmarc_report dmarc;
    struct tlsrpt_report tls;
    const char *why;
    if (has("\r\nFeedback-Type: auth-failure\r\n")) {
        world.failures++;
        return;
    }
    vr_buf_init(&content, 1 << 20);
    assert_int_equal(report_extract(&content, world.body, &kind, &why), VR_OK);
    if (kind == REPORT_DMARC) {
        assert_int_equal(dmarc_report_read(&arena, vr_buf_str(&content), &dmarc, &why), VR_OK);
        for (size_t i = 0; i < dmarc.record_count; i++)
            world.messages += dmarc.records[i].count;
        assert_true(vr_str_equal(dmarc.policy.domain, VR_STR("d.test")) &&
                    vr_str_equal(dmarc.policy.p, VR_STR("reject")));
        assert_true(vr_str_equal(dmarc.organization, VR_STR("Test & Co")) &&
                    vr_str_equal(dmarc.email, VR_STR("reports@example.org")));
        assert_true(vr_str_equal(dmarc.records[0].dkim_results[0].selector, VR_STR("s1")) &&
                    vr_str_equal(dmarc.records[0].spf_results[0].result, VR_STR("softfail")));
        assert_true(vr_str_equal(dmarc.records[0].reasons[0].type, VR_STR("local_policy")));
    } else {
        assert_int_equal(tlsrpt_read(&arena, vr_buf_str(&content), &tls, &why), VR_OK);
        assert_int_equal(tls.policy_count, 1);
        world.sessions += tls.policies[0].successful + tls.policies[0].failed;
        assert_true(vr_str_equal(tls.policies[0].domain, VR_STR("d.test")));
    }
    vr_buf_fini(&content);
}

static void on_queue(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg, (void)fd;
    struct ipc_reader r = ipc_reader(vr_arena_dup(&arena, payload));
    struct vr_buf b;
    assert_int_equal(type, IPC_SUBMIT);
    assert_true(ipc_get_envelope(&r, &arena, &world.envelope));
    world.body = ipc_get_str(&r);
    assert_true(ipc_done(&r));
    world.submits++;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, world.envelope.id);
    ipc_put_u8(&b, (uint8_t)world.submitted);
    io_channel_send(queue, IPC_SUBMITTED, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
    read_report();
    if (world.messages + world.sessions + world.failures >= wanted || world.submitted != IPC_SUBMIT_OK)
        io_stop(io);
}

/* ---- a server that takes reports by https --------------------------------------------------------------------------- */

static char tls_record[128] = "v=TLSRPTv1;rua=mailto:tls@d.test";
static struct io_tls *https_tls;
static struct io_listener *https_listener;
static struct io_stream *https_stream;
static struct vr_buf https_in;
static const char *https_reply;
static unsigned posts;

static void https_data(void *arg, struct vr_str bytes)
{
    (void)arg;
    vr_buf_add(&https_in, bytes);
    struct vr_str text = vr_buf_str(&https_in);
    size_t end = vr_str_find_str(text, VR_STR("\r\n\r\n")),
           at = vr_str_find_str(text, VR_STR("Content-Length: "));
    if (end == VR_NPOS || at == VR_NPOS || text.n < end + 4 + (size_t)atoi(text.p + at + 16))
        return;
    assert_true(vr_str_starts(text, VR_STR("POST /tls HTTP/1.1\r\n")));
    assert_true(vr_str_find_str(text, VR_STR("Content-Type: application/tlsrpt+gzip\r\n")) != VR_NPOS);
    world.body = vr_arena_dup(&arena, vr_str_from_pos(text, end + 4));
    posts++;
    io_stream_write(https_stream, vr_str_from(https_reply));
    vr_buf_reset(&https_in);
    read_report();
    io_stop(io);
}

static void https_ended(void *arg, int status)
{
    (void)arg, (void)status;
    io_stream_close(https_stream);
    https_stream = NULL;
}

static void https_secured(void *arg, int status)
{
    (void)arg;
    assert_int_equal(status, 0);
}

static void https_accept(void *arg, struct io_stream *s)
{
    static const struct io_stream_ops ops = {
        .data = https_data, .ended = https_ended, .secured = https_secured};
    (void)arg;
    assert_null(https_stream);
    https_stream = s;
    vr_buf_reset(&https_in);
    io_stream_set(s, &ops, NULL);
    io_stream_start_tls(s, https_tls, IO_TLS_OPPORTUNISTIC, VR_STR(""));
}

/* Before `start`: it trusts this certificate, and knows the port. */
static void https_start(char certificate[128])
{
    char key[128], error[256];
    struct io_address a = {.family = IO_INET, .ip = {127, 0, 0, 1}};
    snprintf(certificate, 128, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    assert_int_equal(io_tls_self_signed("localhost", 2, certificate, key), 0);
    struct io_tls_certificate own = {.names = "", .certificate = certificate, .key = key};
    https_tls = io_tls_server(&own, 1, error);
    assert_non_null(https_tls);
    int fd = io_listen_fd(&a, false, 0);
    assert_true(fd >= 0 && io_listen_address(fd, &a) == 0);
    https_listener = io_listener_new(io, fd, https_accept, NULL);
    snprintf(tls_record, sizeof tls_record, "v=TLSRPTv1;rua=https://localhost:%u/tls", a.port);
    vr_buf_init(&https_in, 1 << 20);
    posts = 0;
}

static void https_stop(void)
{
    if (https_stream != NULL)
        io_stream_close(https_stream);
    https_stream = NULL;
    io_listener_close(https_listener);
    io_tls_free(https_tls);
    vr_buf_fini(&https_in);
    snprintf(tls_record, sizeof tls_record, "v=TLSRPTv1;rua=mailto:tls@d.test");
}

static void on_resolver(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg, (void)fd;
    const struct dns_record tls = {.data = vr_str_from(tls_record)};
    struct ipc_reader r = ipc_reader(payload);
    uint64_t ask = ipc_get_u64(&r);
    struct dns_question *questions;
    size_t n;
    assert_int_equal(type, IPC_DNS_ASK);
    assert_true(ipc_get_questions(&r, &arena, &questions, &n) && ipc_done(&r));
    struct dns_answer *answers = vr_arena_alloc(&arena, n * sizeof *answers);
    for (size_t i = 0; i < n; i++) {
        bool record = vr_str_equal(questions[i].name, VR_STR("_smtp._tls.d.test"));
        answers[i] = (struct dns_answer){.name = questions[i].name,
                                         .type = questions[i].type,
                                         .status = record ? DNS_STATUS_OK : DNS_STATUS_NXDOMAIN,
                                         .records = &tls,
                                         .count = record};
        world.dns_asked++;
    }
    struct vr_buf b;
    vr_buf_init(&b, 1 << 20);
    ipc_put_u64(&b, ask);
    ipc_put_answers(&b, answers, n);
    io_channel_send(resolver, IPC_DNS_ANSWERS, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static void on_nothing(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg, (void)payload, (void)fd;
    fail_msg("nobody is answered, but frame %u came", type);
}

static void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
}

static const struct io_channel_ops receiver_ops = {on_nothing, on_closed}, queue_ops = {on_queue, on_closed},
                                   keeper_ops = {on_keeper, on_closed},
                                   resolver_ops = {on_resolver, on_closed};

static void spawn(void)
{
    process_spawn((struct process_arguments){.ops = &reporter_ops, .config = config, .slot = 7});
    receiver = process_attach(IPC_RECEIVER, 20, 0, &receiver_ops, NULL);
    sender = process_attach(IPC_SENDER, 21, 0, &receiver_ops, NULL);
    queue = process_attach(IPC_QUEUE, 22, 0, &queue_ops, NULL);
    keeper = process_attach(IPC_KEEPER, 23, 0, &keeper_ops, NULL);
    resolver = process_attach(IPC_RESOLVER, 24, 0, &resolver_ops, NULL);
    run(WAIT_MS);
    assert_true(ready);
}

static void end(void)
{
    process_drain(2000);
    supervisor_close();
    io_channel_close(receiver);
    io_channel_close(sender);
    io_channel_close(queue);
    io_channel_close(keeper);
    io_channel_close(resolver);
}

static int start_with(bool https)
{
    char text[1024], reports[128], certificate[128] = "/etc/ssl/certs/ca-certificates.crt";
    assert_true(folder_new(folder));
    memset(&world, 0, sizeof world);
    world.key = IPC_YES;
    vr_arena_init(&arena, 64u << 20);
    io = io_new(1);
    if (https)
        https_start(certificate);
    snprintf(reports, sizeof reports, "%s/reports", folder);
    assert_int_equal(mkdir(reports, 0700), 0);
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.example.org\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\ndomain "
                     "\"example.org\" { }\n%s%s%s"
                     "reports { dmarc = yes failures = yes tls = yes from = \"reports@example.org\" "
                     "organization = \"Test & "
                     "Co\" interval = 1s }\n",
                     folder, folder, folder, https ? "sending { ca_file = \"" : "", https ? certificate : "",
                     https ? "\" }\n" : "");
    config_from(text, (size_t)n);
    spawn();
    return 0;
}

static int start(void **state)
{
    (void)state;
    return start_with(false);
}

static int start_https(void **state)
{
    (void)state;
    return start_with(true);
}

static int stop(void **state)
{
    (void)state;
    end();
    io_free(io);
    config_free(config);
    vr_arena_fini(&arena);
    folder_remove(folder);
    return 0;
}

/* Rows in the data base when the process is over. */
static uint64_t rows_left(void)
{
    char path[256], error[256];
    snprintf(path, sizeof path, "%s/reports/counts.db", folder);
    struct counts *c = counts_open(path, error);
    assert_non_null(c);
    uint64_t n = counts_total(c);
    counts_close(c);
    return n;
}

static void send_dmarc(const char *ip, const char *record)
{
    const struct seen_signature s = {VR_STR("d.test"), VR_STR("s1"), DKIM_FAIL,
                                     VR_STR("the signature does not match")};
    const struct dmarc_seen seen = {.time_us = io_now_us(io),
                                    .policy_domain = VR_STR("d.test"),
                                    .organization = VR_STR("d.test"),
                                    .record = vr_str_from(record),
                                    .source_ip = vr_str_from(ip),
                                    .verdict = DMARC_FAIL,
                                    .override = DMARC_OVERRIDE_LOCAL_POLICY,
                                    .comment = VR_STR("arc=pass"),
                                    .header_from = VR_STR("d.test"),
                                    .envelope_from = VR_STR("d.test"),
                                    .envelope_to = VR_STR("example.org"),
                                    .spf_domain = VR_STR("d.test"),
                                    .spf_result = VR_STR("softfail"),
                                    .signatures = &s,
                                    .signature_count = 1};
    struct vr_buf b;
    vr_buf_init(&b, SEEN_MAX);
    assert_true(ipc_put_dmarc_seen(&b, &seen));
    io_channel_send(receiver, IPC_DMARC_SEEN, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static void send_tls(enum tlsrpt_result result)
{
    const struct vr_str line = VR_STR("version: STSv1");
    const struct tls_seen seen = {.time_us = io_now_us(io),
                                  .policy_domain = VR_STR("d.test"),
                                  .policy_type = TLSRPT_STS,
                                  .strings = &line,
                                  .string_count = 1,
                                  .result = (uint8_t)result};
    struct vr_buf b;
    vr_buf_init(&b, SEEN_MAX);
    assert_true(ipc_put_tls_seen(&b, &seen));
    io_channel_send(sender, IPC_TLS_SEEN, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static void send_failure(const char *domain, const char *organization, const char *record)
{
    const struct failure_seen seen = {.message = {.time_us = io_now_us(io),
                                                  .policy_domain = vr_str_from(domain),
                                                  .organization = vr_str_from(organization),
                                                  .record = vr_str_from(record),
                                                  .source_ip = VR_STR("192.0.2.1"),
                                                  .verdict = DMARC_FAIL,
                                                  .header_from = vr_str_from(domain),
                                                  .spf_domain = VR_STR("e.test"),
                                                  .spf_result = VR_STR("pass")},
                                      .kind = DMARC_FAILURE_DMARC,
                                      .delivery = DMARC_FAILURE_SPAM,
                                      .mail_from = VR_STR("x@e.test"),
                                      .header = VR_STR("From: a@d.test\r\nSubject: hello\r\n")};
    struct vr_buf b;
    vr_buf_init(&b, SEEN_MAX);
    assert_true(ipc_put_failure_seen(&b, &seen));
    io_channel_send(receiver, IPC_FAILURE_SEEN, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

#define RECORD "v=DMARC1; p=reject; rua=mailto:r@d.test,mailto:x@other.test"

static void test_dmarc(void **state)
{
    (void)state;
    send_dmarc("192.0.2.1", RECORD);
    send_dmarc("192.0.2.1", RECORD);
    send_dmarc("192.0.2.2", RECORD);
    wanted = 3;
    run(WAIT_MS);
    assert_false(timed_out);
    assert_int_equal(world.messages, 3);
    const struct envelope *e = &world.envelope;
    assert_true(
        e->rcpt_count == 1 &&
        vr_str_equal(e->rcpts[0].address, VR_STR("r@d.test"))); /* other.test did not say that it wants it */
    assert_true(e->rcpts[0].notify == DSN_NOTIFY_NEVER && e->asks == 0);
    assert_true(vr_str_equal(e->reverse_path, VR_STR("reports@example.org")));
    assert_true(vr_str_starts(e->prefix, VR_STR("DKIM-Signature: ")) &&
                vr_str_find_str(e->prefix, VR_STR("d=example.org")) != VR_NPOS);
    assert_true(world.dns_asked > 0);
    struct header_field f;
    assert_true(header_find(world.body, VR_STR("From"), &f) &&
                vr_str_equal(vr_str_trim(f.body), VR_STR("reports@example.org")));
    run(1500); /* the process hears the queue's word, and forgets */
    assert_int_equal(world.messages, 3);
    end();
    assert_int_equal(rows_left(), 0);
    spawn();
}

static void test_tls(void **state)
{
    (void)state;
    send_tls(TLSRPT_SUCCESS);
    send_tls(TLSRPT_SUCCESS);
    send_tls(TLSRPT_CERTIFICATE_EXPIRED);
    wanted = 3;
    run(WAIT_MS);
    assert_false(timed_out);
    assert_int_equal(world.sessions, 3);
    assert_true(vr_str_equal(world.envelope.rcpts[0].address, VR_STR("tls@d.test")));
    assert_int_equal(world.envelope.asks, ENVELOPE_TLS_OPTIONAL);
}

/* At once, signed, from nobody; only where it is wanted; garbage is dropped. */
static void test_failure(void **state)
{
    (void)state;
    io_channel_send(receiver, IPC_FAILURE_SEEN, VR_STR("garbage"), -1);
    send_failure("d.test", "d.test",
                 "v=DMARC1; p=reject; ruf=mailto:x@other.test"); /* it did not say that it wants it */
    send_failure("d.test", "d.test", "v=DMARC1; p=reject; rua=mailto:f@d.test");
    send_failure("d.test", "d.test", "v=DMARC1; p=reject; ruf=mailto:f@d.test!1k"); /* smaller than any */
    send_failure("d.test", "d.test",
                 "v=DMARC1; p=reject; ruf=mailto:f@d.test,mailto:x@other.test,mailto:f@d.test");
    wanted = 1;
    run(WAIT_MS);
    assert_false(timed_out);
    const struct envelope *e = &world.envelope;
    assert_true(e->rcpt_count == 1 && vr_str_equal(e->rcpts[0].address, VR_STR("f@d.test")));
    assert_true(e->rcpts[0].notify == DSN_NOTIFY_NEVER && e->reverse_path.n == 0);
    assert_true(vr_str_starts(e->prefix, VR_STR("DKIM-Signature: ")));
    assert_true(has("From: reports@example.org\r\nTo: f@d.test\r\n") &&
                has("\r\nAuto-Submitted: auto-generated\r\n"));
    assert_true(has("Auth-Failure: dmarc\r\nDelivery-Result: spam\r\nIdentity-Alignment: none\r\n") &&
                has("\r\nAuthentication-Results: mail.example.org;\r\n dmarc=fail header.from=d.test\r\n"));
    assert_true(has("Content-Type: text/rfc822-headers\r\n\r\nFrom: a@d.test\r\nSubject: hello\r\n\r\n--="));
    run(1500);
    assert_true(world.failures == 1 && world.submits == 1);
}

/* Ten of an organisation, whatever the names below it; others are not touched by that. */
static void test_failure_limit(void **state)
{
    (void)state;
    char name[32], record[80];
    for (int i = 0; i < 13; i++) {
        snprintf(name, sizeof name, "n%d.d.test", i);
        snprintf(record, sizeof record, "v=DMARC1; p=reject; ruf=mailto:f@%s", name);
        send_failure(name, "d.test", record);
    }
    wanted = 10;
    run(WAIT_MS);
    assert_false(timed_out);
    run(500);
    assert_int_equal(world.failures, 10);
    send_failure("e.test", "e.test", "v=DMARC1; p=reject; ruf=mailto:f@e.test");
    wanted = 11;
    run(WAIT_MS);
    assert_false(timed_out);
    assert_true(vr_str_equal(world.envelope.rcpts[0].address, VR_STR("f@e.test")));
}

/* Heard of before there is a queue, or a keeper to sign: it waits for them. */
static void test_failure_early(void **state)
{
    (void)state;
    end();
    process_spawn((struct process_arguments){.ops = &reporter_ops, .config = config, .slot = 7});
    receiver = process_attach(IPC_RECEIVER, 20, 0, &receiver_ops, NULL);
    send_failure("d.test", "d.test", "v=DMARC1; p=reject; ruf=mailto:f@d.test");
    run(WAIT_MS); /* until it is ready */
    run(300);
    sender = process_attach(IPC_SENDER, 21, 0, &receiver_ops, NULL);
    queue = process_attach(IPC_QUEUE, 22, 0, &queue_ops, NULL);
    run(100);
    assert_int_equal(world.submits, 0);
    keeper = process_attach(IPC_KEEPER, 23, 0, &keeper_ops, NULL);
    resolver = process_attach(IPC_RESOLVER, 24, 0, &resolver_ops, NULL);
    wanted = 1;
    run(WAIT_MS);
    assert_false(timed_out);
    assert_true(world.failures == 1 && vr_str_starts(world.envelope.prefix, VR_STR("DKIM-Signature: ")));
}

/* What ends while some wait ends cleanly; a queue that takes nothing is one event each. */
static void test_failure_ends(void **state)
{
    (void)state;
    world.submitted = IPC_SUBMIT_FULL;
    wanted = 1;
    send_failure("d.test", "d.test", "v=DMARC1; p=reject; ruf=mailto:f@d.test");
    run(WAIT_MS);
    assert_false(timed_out);
    run(500);
    assert_int_equal(world.submits, 1);
    for (int i = 0; i < 5; i++)
        send_failure("e.test", "e.test", "v=DMARC1; p=reject; ruf=mailto:f@e.test");
    io_channel_flush(receiver);
    end();
    spawn();
}

/* By https no signature is needed, but a server that says yes. */
static void test_https(void **state)
{
    (void)state;
    world.key = IPC_NO;
    https_reply = "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n";
    send_tls(TLSRPT_SUCCESS);
    run(WAIT_MS);
    assert_false(timed_out);
    assert_true(posts == 1 && world.sessions == 1);
    https_reply = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    run(WAIT_MS); /* tried again */
    assert_false(timed_out);
    assert_true(posts == 2 && world.sessions == 2);
    run(2500);
    assert_int_equal(posts, 2);
    assert_int_equal(world.submits, 0);
    end();
    assert_int_equal(rows_left(), 0);
    spawn();
    https_stop();
}

/* RFC 8460 §3: one without a signature is ignored by all. */
static void test_tls_without_a_key(void **state)
{
    (void)state;
    world.key = IPC_NO;
    wanted = 0;
    send_tls(TLSRPT_SUCCESS);
    run(WAIT_MS);
    assert_false(timed_out);
    assert_int_equal(world.signers_asked, 1);
    run(1500);
    assert_int_equal(world.submits, 0);
    end();
    assert_int_equal(rows_left(), 0); /* there is no use in trying again */
    spawn();
}

static void test_dmarc_without_a_key(void **state)
{
    (void)state;
    world.key = IPC_NO;
    wanted = 1;
    send_dmarc("192.0.2.1", RECORD);
    run(WAIT_MS);
    assert_int_equal(world.messages, 1);
    assert_int_equal(world.envelope.prefix.n, 0);
}

/* What the queue does not take now is kept, and told again. */
static void test_full_queue(void **state)
{
    (void)state;
    world.submitted = IPC_SUBMIT_FULL;
    wanted = 1;
    send_dmarc("192.0.2.1", RECORD);
    run(WAIT_MS);
    assert_false(timed_out);
    assert_true(world.submits == 1);
    world.messages = 0;
    world.submitted = IPC_SUBMIT_OK;
    run(WAIT_MS);
    assert_false(timed_out);
    assert_int_equal(world.messages, 1);
}

/* A process that dies in between loses nothing that was committed. */
static void test_restart(void **state)
{
    (void)state;
    send_dmarc("192.0.2.1", RECORD);
    io_channel_flush(receiver);
    run(200); /* less than a period and its delay */
    assert_int_equal(world.submits, 0);
    end();
    assert_int_equal(rows_left(), 1);
    wanted = 1;
    spawn();
    if (world.messages == 0)
        run(WAIT_MS);
    assert_int_equal(world.messages, 1);
}

static void test_nobody_asked(void **state)
{
    (void)state;
    send_dmarc("192.0.2.1", "v=DMARC1; p=reject");
    run(3500);
    assert_int_equal(world.submits, 0);
    end();
    assert_int_equal(rows_left(), 0);
    spawn();
}

/* A data base that cannot be used is an event; the process lives on, so that the server does. */
static void test_broken_data_base(void **state)
{
    (void)state;
    char path[256];
    end();
    snprintf(path, sizeof path, "%s/reports/counts.db", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 100; i++)
        fputs("this is no data base of anybody\n", f);
    fclose(f);
    spawn();
    send_dmarc("192.0.2.1", RECORD);
    run(2500);
    assert_int_equal(world.submits, 0);
}

/* Garbage is dropped; the process lives on. */
static void test_garbage(void **state)
{
    (void)state;
    io_channel_send(receiver, IPC_DMARC_SEEN, VR_STR("garbage"), -1);
    io_channel_send(sender, IPC_TLS_SEEN, vr_str(NULL, 0), -1);
    io_channel_send(queue, IPC_SUBMITTED, VR_STR("x"), -1);
    io_channel_send(keeper, IPC_SIGNED, vr_str(NULL, 0), -1);
    io_channel_send(resolver, IPC_DNS_ANSWERS, VR_STR("12345678x"), -1);
    send_dmarc("192.0.2.1", RECORD);
    wanted = 1;
    run(WAIT_MS);
    assert_int_equal(world.messages, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dmarc, start, stop),
        cmocka_unit_test_setup_teardown(test_tls, start, stop),
        cmocka_unit_test_setup_teardown(test_failure, start, stop),
        cmocka_unit_test_setup_teardown(test_failure_limit, start, stop),
        cmocka_unit_test_setup_teardown(test_failure_early, start, stop),
        cmocka_unit_test_setup_teardown(test_failure_ends, start, stop),
        cmocka_unit_test_setup_teardown(test_https, start_https, stop),
        cmocka_unit_test_setup_teardown(test_tls_without_a_key, start, stop),
        cmocka_unit_test_setup_teardown(test_dmarc_without_a_key, start, stop),
        cmocka_unit_test_setup_teardown(test_full_queue, start, stop),
        cmocka_unit_test_setup_teardown(test_restart, start, stop),
        cmocka_unit_test_setup_teardown(test_nobody_asked, start, stop),
        cmocka_unit_test_setup_teardown(test_broken_data_base, start, stop),
        cmocka_unit_test_setup_teardown(test_garbage, start, stop),
    };
    return cmocka_run_group_tests_name("reporter", tests, NULL, NULL);
}
