/* receiver_verifying.c - strangers' mail between a resolver that this test plays, which may be slow, silent, dead or a liar, and a queue and a reporter that hear what became of it.
 */
#include "receiver_testing.h"

#include "receiver/session.h"

#include "ipc/answers.h"
#include "ipc/seen.h"

#include <time.h>

static char more[] = "reports { failures = yes }\n"
                     "trusted = \"127.0.0.2\" xforward = \"127.0.0.1\"\n"
                     "verify { skip = \"127.0.0.3\" timeout = 1s }\n"
                     "domain \"strict.example\" { deliver = \"smtp:127.0.0.1:9\" verify_spf = reject }\n"
                     "domain \"none.example\" { deliver = \"smtp:127.0.0.1:9\" verify_spf = none verify_dkim "
                     "= none verify_dmarc = none }\n";

static char by_list[] = "verify { skip = none dmarc_method = public_suffix }\n";

static struct side resolver = {.role = IPC_RESOLVER}, reporter = {.role = IPC_REPORTER};
static struct vr_arena arena;
static bool silent; /* names that begin with "mute" have no answer */
static unsigned asked;

/* TXT records of this world; whatever else is asked does not exist. */
static const struct {
    const char *name, *text;
} zone[] = {
    {"pass.example", "v=spf1 ip4:127.0.0.1 -all"},
    {"_dmarc.pass.example", "v=DMARC1; p=reject; rua=mailto:d@pass.example"},
    {"fail.example", "v=spf1 -all"},
    {"_dmarc.fail.example", "v=DMARC1; p=reject"},
    {"junk.example", "v=spf1 -all"},
    {"_dmarc.junk.example", "v=DMARC1; p=quarantine"},
    {"ruf.example", "v=spf1 -all"},
    {"_dmarc.ruf.example", "v=DMARC1; p=quarantine; ruf=mailto:f@ruf.example"},
    {"all.example", "v=spf1 ip4:127.0.0.1 -all"},
    {"_dmarc.all.example", "v=DMARC1; p=none; fo=1; ruf=mailto:f@all.example"},
    {"far.example", "v=spf1 ip4:192.0.2.9 -all"},
    {"s1._domainkey.seal.example", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
    {"s2._domainkey.seal.example", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="},
    {"b.split.example", "v=spf1 ip4:127.0.0.1 -all"},
    {"_dmarc.split.example", "v=DMARC1; p=reject; psd=y"},
    {"mute.example", "v=spf1 ip4:127.0.0.1 -all"},
    {"_dmarc.mute.example", "v=DMARC1; p=reject"},
};

static int start_all(void **state)
{
    start(state);
    vr_arena_init(&arena, 16u << 20);
    silent = false;
    asked = 0;
    attach(&resolver);
    attach(&reporter);
    return 0;
}

static int stop_all(void **state)
{
    io_channel_close(resolver.channel); /* NULL when it is gone */
    io_channel_close(reporter.channel);
    stop(state);
    vr_arena_fini(&arena);
    return 0;
}

/* ---- the resolver ------------------------------------------------------------------------------------------------------------ */

static struct dns_answer answer_to(const struct dns_question *q)
{
    struct dns_answer a = {.name = q->name, .type = q->type, .status = DNS_STATUS_NXDOMAIN};
    for (size_t i = 0; i < sizeof zone / sizeof *zone; i++)
        if (vr_str_equal_nocase(q->name, vr_str_from(zone[i].name))) {
            struct dns_record *r = vr_arena_alloc(&arena, sizeof *r);
            a.status = q->type == DNS_TYPE_TXT ? DNS_STATUS_OK : DNS_STATUS_NODATA;
            r->data = vr_str_from(zone[i].text);
            a.records = r;
            a.count = q->type == DNS_TYPE_TXT;
        }
    return a;
}

static void send_answers(uint64_t number, const struct dns_answer *a, size_t n)
{
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    ipc_put_u64(&b, number);
    ipc_put_answers(&b, a, n);
    io_channel_send(resolver.channel, IPC_DNS_ANSWERS, vr_buf_str(&b), -1);
    io_channel_flush(resolver.channel);
    vr_buf_fini(&b);
}

/* The next frame of questions: their number. False: there is none. */
static bool next_ask(uint64_t *number, struct dns_question **q, size_t *n)
{
    if (resolver.count == 0)
        return false;
    struct vr_str payload = vr_arena_dup(&arena, receive(&resolver, IPC_DNS_ASK).rest);
    struct ipc_reader r = ipc_reader(payload);
    *number = ipc_get_u64(&r);
    assert_true(ipc_get_questions(&r, &arena, q, n) && ipc_done(&r));
    asked++;
    return true;
}

static void answer_all(void)
{
    uint64_t number;
    struct dns_question *q;
    size_t n;
    while (next_ask(&number, &q, &n)) {
        struct dns_answer *a = vr_arena_alloc(&arena, (n + 1) * sizeof *a);
        bool mute = false;
        for (size_t i = 0; i < n; i++) {
            a[i] = answer_to(&q[i]);
            mute = mute || vr_str_find_str(q[i].name, VR_STR("mute")) != VR_NPOS;
        }
        if (!mute || !silent)
            send_answers(number, a, n);
    }
}

/* Until the client's socket has something to say, answering meanwhile. */
static void serve_until_told(int fd)
{
    char c;
    for (int i = 0; i < 1000; i++) {
        answer_all();
        if (recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
            return;
        run(10);
    }
    fail_msg("the client was told nothing");
}

static void serve_until_submitted(void)
{
    for (int i = 0; queue.count == 0 && i < 1000; i++) {
        answer_all();
        run(10);
    }
    answer_all();
}

static void told(int fd, const char *text, const char *begin)
{
    if (text[0] != '\0')
        say(fd, text);
    serve_until_told(fd);
    expect(fd, begin);
}

/* ---- clients ------------------------------------------------------------------------------------------------------------------ */

static int mail_from(const char *ip, const char *sender, const char *to)
{
    char line[200];
    int fd = greeted(MX, ip);
    snprintf(line, sizeof line, "MAIL FROM:<%s>\r\n", sender);
    told(fd, line, "250 ");
    snprintf(line, sizeof line, "RCPT TO:<%s>\r\n", to);
    told(fd, line, "250 ");
    told(fd, "DATA\r\n", "354 ");
    return fd;
}

static void content(int fd, const char *author)
{
    char text[300];
    snprintf(text, sizeof text,
             "From: Bob <bob@%s>\r\nSubject: x\r\nAuthentication-Results: mail.example.org; "
             "dmarc=pass\r\n\r\nHello.\r\n.\r\n",
             author);
    say(fd, text);
}

static struct envelope envelope_of(struct ipc_reader r)
{
    struct envelope e;
    struct vr_str copy = vr_arena_dup(&arena, r.rest);
    r = ipc_reader(copy);
    assert_true(ipc_get_envelope(&r, &arena, &e));
    assert_false(contains(ipc_get_str(&r), "dmarc=pass")); /* the body: what claims to be ours is gone */
    assert_true(ipc_done(&r));
    return e;
}

/* The queue takes it: the client hears 250. */
static struct envelope taken(int fd)
{
    serve_until_submitted();
    struct envelope e = envelope_of(receive(&queue, IPC_SUBMIT));
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, e.id);
    ipc_put_u8(&b, IPC_SUBMIT_OK);
    io_channel_send(queue.channel, IPC_SUBMITTED, vr_buf_str(&b), -1);
    io_channel_flush(queue.channel);
    vr_buf_fini(&b);
    expect(fd, "250 2.0.0 queued");
    return e;
}

/* ---- the tests ------------------------------------------------------------------------------------------------------------------ */

static void test_pass(void **state)
{
    (void)state;
    int fd = mail_from("127.0.0.1", "bob@pass.example", "x@relay.example");
    content(fd, "pass.example");
    struct envelope e = taken(fd);
    assert_int_equal(e.asks, 0);
    assert_true(vr_str_starts(e.prefix, VR_STR("Authentication-Results: mail.example.org;")));
    assert_true(contains(e.prefix, "spf=pass") && contains(e.prefix, "smtp.mailfrom=pass.example") &&
                contains(e.prefix, "dkim=none") && contains(e.prefix, "dmarc=pass") &&
                contains(e.prefix, "\r\nReceived: "));
    struct vr_str payload = vr_arena_dup(&arena, receive(&reporter, IPC_DMARC_SEEN).rest);
    struct ipc_reader r = ipc_reader(payload);
    struct dmarc_seen seen;
    assert_true(ipc_get_dmarc_seen(&r, &arena, &seen) && ipc_done(&r));
    assert_true(vr_str_equal(seen.policy_domain, VR_STR("pass.example")) &&
                vr_str_equal(seen.source_ip, VR_STR("127.0.0.1")));
    assert_true(seen.verdict == DMARC_PASS && seen.disposition == DMARC_POLICY_NONE &&
                seen.override == DMARC_OVERRIDE_NONE && seen.spf_aligned);
    assert_true(vr_str_equal(seen.envelope_to, VR_STR("relay.example")) &&
                vr_str_equal(seen.spf_result, VR_STR("pass")));
    close(fd);
}

static void test_fail(void **state)
{
    (void)state;
    int fd = mail_from("127.0.0.1", "bob@fail.example", "x@relay.example");
    content(fd, "fail.example");
    told(fd, "",
         "550 5.7.1 refused by the DMARC policy of fail.example (p=reject, _dmarc.fail.example): SPF is fail "
         "for fail.example, DKIM is none");
    struct vr_str payload = vr_arena_dup(&arena, receive(&reporter, IPC_DMARC_SEEN).rest);
    struct ipc_reader r = ipc_reader(payload);
    struct dmarc_seen seen;
    assert_true(ipc_get_dmarc_seen(&r, &arena, &seen) && seen.disposition == DMARC_POLICY_REJECT &&
                seen.verdict == DMARC_FAIL);
    told(fd, "MAIL FROM:<bob@junk.example>\r\n", "250 "); /* the session goes on */
    told(fd, "RCPT TO:<x@relay.example>\r\n", "250 ");
    told(fd, "DATA\r\n", "354 ");
    content(fd, "junk.example");
    struct envelope e = taken(fd);
    assert_int_equal(e.asks, ENVELOPE_QUARANTINE);
    assert_true(
        contains(e.prefix, "\r\nX-Quarantine: dmarc=fail; the policy of junk.example is quarantine\r\n"));
    assert_int_equal(queue.count, 0);
    close(fd);
}

/* split.example says of itself that it is a public suffix, as only the tree walk sees: neighbours in it speak for each other by RFC 7489's list alone. */
static void test_method(void **state)
{
    bool listed = *state == by_list;
    int fd = mail_from("127.0.0.1", "bob@b.split.example", "x@relay.example");
    content(fd, "a.split.example");
    if (listed)
        assert_true(contains(taken(fd).prefix, "dmarc=pass"));
    else
        told(fd, "", "550 5.7.1 refused by the DMARC policy of a.split.example");
    close(fd);
}

#define SEALED "From: Bob <bob@far.example>\r\nSubject: sealed\r\n\r\nHello.\r\n"

/* One more set of the sealer's on top of the message. */
static struct vr_str seal(struct vr_str message, enum arc_status status, const char *selector,
                          const struct dkim_key *key)
{
    const struct arc_sealer sealer = {.domain = VR_STR("seal.example"),
                                      .selector = vr_str_from(selector),
                                      .algorithm = dkim_key_algorithm(key),
                                      .header_canon = MAIL_CANON_RELAXED,
                                      .body_canon = MAIL_CANON_RELAXED,
                                      .time = time(NULL),
                                      .status = status,
                                      .authres = VR_STR("seal.example; none")};
    struct mail_digest *d =
        mail_digest_new(&(struct mail_digest_config){.verify = true, .sign = {[MAIL_CANON_RELAXED] = true}});
    struct arc_seal s;
    struct vr_str signature;
    struct vr_buf out;
    vr_buf_init(&out, 65536);
    assert_true(mail_digest_feed(d, message) == VR_OK && mail_digest_end(d) == VR_OK);
    assert_int_equal(arc_seal_begin(d, &sealer, vr_str(NULL, 0), &arena, &s), VR_OK);
    for (int i = 0; i < 2; i++)
        assert_true(dkim_key_sign(key, s.digest, &arena, &signature) == VR_OK &&
                    arc_seal_signed(&s, signature) == VR_OK);
    assert_true(arc_seal_finish(&s, &out) && vr_buf_add(&out, message));
    struct vr_str sealed = vr_arena_dup(&arena, vr_buf_str(&out));
    vr_buf_fini(&out);
    mail_digest_free(d);
    return sealed;
}

/* A chain of two is asked for in two rounds, the second at the end of the data: verify.timeout is for the DNS, not for a client that takes longer than that. */
static void test_slow_message(void **state)
{
    (void)state;
    struct dkim_key *key;
    const char *why;
    assert_int_equal(dkim_key_load(VR_STR("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &key, &why),
                     VR_OK);
    struct vr_str message = seal(seal(VR_STR(SEALED), ARC_NONE, "s1", key), ARC_PASS, "s2", key);
    dkim_key_free(key);
    size_t header = vr_str_find_str(message, VR_STR("Hello."));
    int fd = mail_from("127.0.0.1", "bob@pass.example", "x@relay.example");
    say(fd, vr_arena_printf(&arena, "%.*s", (int)header, message.p).p);
    for (int i = 0; i < 60; i++) { /* longer than verify.timeout */
        run(20);
        answer_all();
    }
    unsigned before = asked;
    say(fd, "Hello.\r\n.\r\n");
    struct envelope e = taken(fd);
    assert_true(contains(e.prefix, "arc=pass"));
    assert_true(asked > before);
    close(fd);
}

static void another(int fd, const char *sender)
{
    char line[100];
    snprintf(line, sizeof line, "MAIL FROM:<%s>\r\n", sender);
    told(fd, line, "250 ");
    told(fd, "RCPT TO:<x@relay.example>\r\n", "250 ");
    told(fd, "DATA\r\n", "354 ");
}

/* The header goes to the reporter when the record wants a failure report; not when it does not, and not of mail by machines. */
static void test_failure_seen(void **state)
{
    (void)state;
    struct failure_seen f;
    int fd = mail_from("127.0.0.1", "bob@ruf.example", "x@relay.example");
    content(fd, "ruf.example");
    taken(fd);
    receive(&reporter, IPC_DMARC_SEEN);
    struct ipc_reader r = ipc_reader(vr_arena_dup(&arena, receive(&reporter, IPC_FAILURE_SEEN).rest));
    assert_true(ipc_get_failure_seen(&r, &arena, &f) && ipc_done(&r));
    assert_true(f.kind == DMARC_FAILURE_DMARC && f.delivery == DMARC_FAILURE_SPAM && !f.cut &&
                f.dkim_domain.n == 0);
    assert_true(vr_str_equal(f.mail_from, VR_STR("bob@ruf.example")) &&
                vr_str_equal(f.spf_record, VR_STR("v=spf1 -all")) &&
                vr_str_equal(f.message.header_from, VR_STR("ruf.example")));
    assert_true(vr_str_starts(f.header, VR_STR("From: Bob <bob@ruf.example>\r\nSubject: x\r\n")) &&
                vr_str_find_str(f.header, VR_STR("Hello")) == VR_NPOS);

    another(fd, "bob@ruf.example");
    say(fd, "From: bob@ruf.example\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n.\r\n");
    taken(fd);
    receive(&reporter, IPC_DMARC_SEEN);
    another(fd, "bob@junk.example"); /* has no ruf */
    content(fd, "junk.example");
    taken(fd);
    receive(&reporter, IPC_DMARC_SEEN);
    another(fd, "bob@all.example"); /* passes, but not by all means */
    content(fd, "all.example");
    taken(fd);
    receive(&reporter, IPC_DMARC_SEEN);
    r = ipc_reader(vr_arena_dup(&arena, receive(&reporter, IPC_FAILURE_SEEN).rest));
    assert_true(ipc_get_failure_seen(&r, &arena, &f) && f.delivery == DMARC_FAILURE_DELIVERED &&
                f.message.spf_aligned);
    run(50);
    assert_int_equal(reporter.count, 0);
    close(fd);
}

/* SPF rejects at RCPT, for the domains that want it; recipients of domains that want other things come separately. */
static void test_rcpt(void **state)
{
    (void)state;
    int fd = greeted(MX, "127.0.0.1");
    told(fd, "MAIL FROM:<bob@fail.example>\r\n", "250 ");
    told(fd, "RCPT TO:<x@strict.example>\r\n",
         "550 5.7.23 SPF: 127.0.0.1 may not send in the name of fail.example (-all)");
    told(fd, "RCPT TO:<x@relay.example>\r\n", "250 ");
    told(fd, "RCPT TO:<x@strict.example>\r\n", "452 4.5.3");
    told(fd, "RCPT TO:<x@none.example>\r\n", "452 4.5.3");
    told(fd, "RCPT TO:<y@relay.example>\r\n", "250 ");
    told(fd, "RSET\r\n", "250 ");
    told(fd, "MAIL FROM:<bob@fail.example>\r\n", "250 ");
    told(fd, "RCPT TO:<x@none.example>\r\n", "250 ");
    told(fd, "DATA\r\n", "354 ");
    content(fd, "fail.example");
    struct envelope e = taken(fd);
    assert_true(e.asks == 0 && vr_str_starts(e.prefix, VR_STR("Received:")));
    close(fd);
}

/* What has no answer is no pass: 451, and nobody else waits for it. */
static void test_silence(void **state)
{
    (void)state;
    silent = true;
    int slow = greeted(MX, "127.0.0.1"), fd;
    say(slow, "MAIL FROM:<bob@mute.example>\r\n"); /* waits: some domain here rejects by SPF */
    for (int i = 0; asked == 0 && i < 500; i++) {
        run(10);
        answer_all();
    }
    fd = mail_from("127.0.0.1", "bob@pass.example", "x@relay.example");
    content(fd, "pass.example");
    assert_true(contains(taken(fd).prefix, "dmarc=pass"));
    char c;
    assert_int_equal(recv(slow, &c, 1, MSG_PEEK | MSG_DONTWAIT), -1); /* it waits still */
    told(slow, "", "250 ");
    told(slow, "RCPT TO:<x@strict.example>\r\n", "451 4.7.24 SPF of mute.example cannot be looked up now");
    told(slow, "RCPT TO:<x@relay.example>\r\n", "250 ");
    told(slow, "DATA\r\n", "354 ");
    content(slow, "mute.example");
    told(slow, "", "451 4.4.3 DMARC of mute.example cannot be evaluated now");
    run(50);
    assert_int_equal(queue.count, 0);
    close(fd);
    close(slow);
}

/* Answers to other questions, to none, and garbage: the question has no answer. */
static void test_lies(void **state)
{
    (void)state;
    uint64_t number = 0;
    struct dns_question *q;
    size_t n;
    int fd = greeted(MX, "127.0.0.1");
    say(fd, "MAIL FROM:<bob@fail.example>\r\n");
    for (int i = 0; number == 0 && i < 1000; i++) {
        run(10);
        while (next_ask(&number, &q, &n)) { /* for HELO, and for MAIL */
            struct dns_question other = {VR_STR("pass.example"), DNS_TYPE_TXT};
            struct dns_answer a = answer_to(&other);
            send_answers(number + 1000, &a, 1);
            send_answers(number, &a, 1);
            send_answers(number, &a, 1);
        }
    }
    io_channel_send(resolver.channel, IPC_DNS_ANSWERS, VR_STR("garbage"), -1);
    told(fd, "", "250 ");
    told(fd, "RCPT TO:<x@strict.example>\r\n", "451 4.7.24 SPF of fail.example cannot be looked up now");
    close(fd);
}

/* Judged is whom the mail comes from: the client that a proxy names, or the one whose mail a filter forwards; not these themselves. */
static void test_for_whom(void **state)
{
    (void)state;
    static const struct {
        unsigned listener;
        const char *first, *then;
    } rows[] = {{PROXIED, "PROXY TCP4 192.0.2.9 127.0.0.1 1 25\r\n", NULL},
                {MX, "", "XFORWARD ADDR=192.0.2.9 HELO=far.example\r\n"}};
    for (size_t i = 0; i < 2; i++) {
        int fd = client_from(rows[i].listener, "127.0.0.1");
        if (rows[i].first[0] != '\0')
            say(fd, rows[i].first);
        expect(fd, "220 ");
        ask(fd, "EHLO far.example\r\n", "250 ");
        if (rows[i].then != NULL)
            ask(fd, rows[i].then, "250 ");
        told(fd, "MAIL FROM:<bob@far.example>\r\n", "250 ");
        told(fd, "RCPT TO:<x@strict.example>\r\n", "250 ");
        told(fd, "DATA\r\n", "354 ");
        content(fd, "far.example");
        struct envelope e = taken(fd);
        assert_true(contains(e.prefix, "spf=pass") && contains(e.prefix, "smtp.helo=far.example") &&
                    !contains(e.prefix, "spf=fail"));
        close(fd);
    }
}

/* Who is known, or is skipped, is not verified: nothing is asked. */
static void test_nobody_pays(void **state)
{
    (void)state;
    static const char *const ips[] = {"127.0.0.2", "127.0.0.3"};
    for (size_t i = 0; i < 2; i++) {
        int fd = mail_from(ips[i], "bob@fail.example", "x@strict.example");
        say(fd, "From: Bob <bob@fail.example>\r\n\r\nHello.\r\n.\r\n");
        if (i == 0) /* trusted: its mail would be signed */
            for (int k = 0; keeper.count == 0 && k < 500; k++)
                run(10);
        else
            assert_true(vr_str_starts(taken(fd).prefix, VR_STR("Received:")));
        close(fd);
    }
    assert_int_equal(asked, 0);
}

/* A client that leaves while its message waits, and a resolver that dies with the questions: the next one is asked. */
static void test_who_goes(void **state)
{
    (void)state;
    silent = true;
    int fd = mail_from("127.0.0.1", "bob@pass.example", "x@relay.example"), other;
    content(fd, "mute.example");
    for (int i = 0; i < 20; i++) {
        run(10);
        answer_all();
    }
    close(fd);
    run(50);
    other = mail_from("127.0.0.1", "bob@pass.example", "x@relay.example");
    content(other, "mute.example");
    for (int i = 0; i < 20; i++) {
        run(10);
        answer_all();
    }
    detach(&resolver);
    silent = false;
    attach(&resolver);
    told(other, "",
         "550 5.7.1 refused by the DMARC policy of mute.example (p=reject, _dmarc.mute.example): SPF is pass "
         "for pass.example");
    assert_int_equal(queue.count, 0);
    close(other);
}

/* Nobody to ask at all: temperror in time. */
static void test_no_resolver(void **state)
{
    (void)state;
    detach(&resolver);
    int fd = greeted(MX, "127.0.0.1");
    ask(fd, "MAIL FROM:<bob@pass.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<x@strict.example>\r\n", "451 4.7.24");
    ask(fd, "RCPT TO:<x@relay.example>\r\n", "250 ");
    ask(fd, "DATA\r\n", "354 ");
    content(fd, "pass.example");
    expect(fd, "451 4.4.3");
    close(fd);
}

/* A resolver that says more than the memory for it holds. */
static void flood(uint64_t number, const struct dns_question *q)
{
    enum { RECORDS = 120000 };
    struct vr_buf b;
    vr_buf_init(&b, IO_FRAME_MAX);
    ipc_put_u64(&b, number);
    ipc_put_u32(&b, 1);
    ipc_put_u32(&b, q->type);
    ipc_put_str(&b, q->name);
    ipc_put_u8(&b, DNS_STATUS_OK);
    ipc_put_u8(&b, 0);
    ipc_put_str(&b, VR_STR(""));
    ipc_put_u32(&b, RECORDS);
    for (size_t i = 0; i < RECORDS; i++) {
        ipc_put_str(&b, VR_STR(""));
        ipc_put_u32(&b, 0);
        for (int k = 0; k < 17; k++)
            ipc_put_u8(&b, 0);
        ipc_put_str(&b, VR_STR("x"));
    }
    assert_false(b.too_big);
    io_channel_send(resolver.channel, IPC_DNS_ANSWERS, vr_buf_str(&b), -1);
    io_channel_flush(resolver.channel);
    vr_buf_fini(&b);
}

static char accepting[] = "verify { skip = \"127.0.0.3\" timeout = 1s temperror = accept }\n";

/* DKIM's check is given up: nobody knows what signatures there are, so it is temperror, and never "none". */
static void test_dkim_given_up(void **state)
{
    (void)state;
    uint64_t number;
    struct dns_question *q;
    size_t n;
    bool flooded = false;
    int fd = mail_from("127.0.0.1", "bob@fail.example", "x@relay.example");
    say(fd, "DKIM-Signature: v=1; a=rsa-sha256; d=pass.example; s=sel; h=from; "
            "bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=;"
            " b=AAAA\r\nFrom: Bob <bob@pass.example>\r\n\r\nHello.\r\n.\r\n");
    for (int i = 0; !flooded && i < 1000; i++) {
        run(10);
        while (next_ask(&number, &q, &n))
            if ((flooded = vr_str_find_str(q[0].name, VR_STR("_domainkey")) != VR_NPOS))
                flood(number, &q[0]);
    }
    struct envelope e = taken(fd);
    assert_true(contains(e.prefix, "dkim=temperror (the answers of the DNS are beyond all"));
    assert_true(contains(e.prefix, "dmarc=temperror"));
    assert_int_equal(reporter.count, 0);
    close(fd);
}

/* An author whom nobody can read spares those beside him nothing; alone he leads into Junk. */
static void test_unreadable_author(void **state)
{
    (void)state;
    int fd = mail_from("127.0.0.1", "bob@fail.example", "x@relay.example");
    say(fd, "From: bob@fail.example, nobody@-\r\n\r\nHello.\r\n.\r\n");
    told(fd, "", "550 5.7.1 refused by the DMARC policy of fail.example");
    told(fd, "MAIL FROM:<bob@pass.example>\r\n", "250 ");
    told(fd, "RCPT TO:<x@relay.example>\r\n", "250 ");
    told(fd, "DATA\r\n", "354 ");
    say(fd, "From: bob@pass.example, nobody@-\r\n\r\nHello.\r\n.\r\n");
    assert_int_equal(taken(fd).asks, ENVELOPE_QUARANTINE);
    close(fd);
}

/* However a header comes in pieces, it has not ended before its blank line; and what has no end within the bound is told from a text without a header. */
static void test_where_headers_end(void **state)
{
    (void)state;
    static const char *const whole[] = {"A: b\r\nC: d\r\n e\r\n\r\nbody\r\n\r\n", "\r\nbody: x\r\n",
                                        "A: b\n\nbody", "no field\r\nA: b\r\n\r\nbody"};
    static const size_t ends[] = {18, 2, 6, 18};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        for (size_t n = 0; n <= strlen(whole[i]); n++)
            if (forged_header_state(vr_str(whole[i], n)) !=
                (n >= ends[i] ? FORGED_HEADER_ENDED : FORGED_HEADER_OPEN))
                fail_msg("row %zu at %zu", i, n);
    struct vr_buf b;
    vr_buf_init(&b, 2 * MAIL_DIGEST_HEADER_MAX);
    while (vr_buf_size(&b) < MAIL_DIGEST_HEADER_MAX)
        vr_buf_add(&b, VR_STR("X-Long: yes\r\n"));
    assert_int_equal(forged_header_state(vr_str_sub(vr_buf_str(&b), 0, MAIL_DIGEST_HEADER_MAX - 1)),
                     FORGED_HEADER_OPEN);
    assert_int_equal(forged_header_state(vr_buf_str(&b)), FORGED_HEADER_ENDLESS);
    vr_buf_reset(&b);
    while (vr_buf_size(&b) < MAIL_DIGEST_HEADER_MAX)
        vr_buf_add(&b, VR_STR("a text without any header\r\n"));
    assert_int_equal(forged_header_state(vr_buf_str(&b)), FORGED_HEADER_ENDED);
    vr_buf_fini(&b);
}

#define EACH(f) cmocka_unit_test_prestate_setup_teardown(f, start_all, stop_all, more)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_headers_end),
        EACH(test_pass),
        EACH(test_fail),
        EACH(test_method),
        {"test_method, by the list", test_method, start_all, stop_all, by_list},
        EACH(test_failure_seen),
        EACH(test_slow_message),
        EACH(test_rcpt),
        EACH(test_silence),
        EACH(test_lies),
        EACH(test_for_whom),
        EACH(test_nobody_pays),
        EACH(test_who_goes),
        EACH(test_no_resolver),
        EACH(test_unreadable_author),
        cmocka_unit_test_prestate_setup_teardown(test_dkim_given_up, start_all, stop_all, accepting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
