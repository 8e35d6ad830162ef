/* receiver_signing.c - mail of our users is signed on its way to the queue: for whom, with which keys, and what happens when the keeper is slow, wrong or gone. The
 * test is the keeper, with real keys, and the queue, which verifies what it is given. */
#include "receiver_testing.h"

#include <veredus/arc.h>
#include <veredus/smtp.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

static char more[] = "domain \"off.example\" { sign = no }\n"
                     "verify { skip = none spf = none dmarc = none dkim = mark }\n"
                     "trusted = \"127.0.0.2\"\n";

static struct dkim_key *keys[2]; /* RSA, Ed25519 */
static struct vr_arena arena;

static struct dkim_key *key_new(const char *type)
{
    EVP_PKEY *pkey = strcmp(type, "RSA") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, type, (size_t)2048)
                                              : EVP_PKEY_Q_keygen(NULL, NULL, type);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    struct dkim_key *key;
    const char *why;
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
    long n = BIO_get_mem_data(bio, &text);
    assert_int_equal(dkim_key_load(vr_str(text, (size_t)n), &key, &why), VR_OK);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return key;
}

static int make_keys(void **state)
{
    (void)state;
    keys[0] = key_new("RSA");
    keys[1] = key_new("ED25519");
    vr_arena_init(&arena, 16u << 20);
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    dkim_key_free(keys[0]);
    dkim_key_free(keys[1]);
    vr_arena_fini(&arena);
    return 0;
}

/* ---- the keeper ----------------------------------------------------------------------------------------------------------- */

static void tell(enum ipc_type type, uint64_t ask, enum ipc_answer answer, const struct ipc_signers *s)
{
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    ipc_put_u64(&b, ask);
    ipc_put_u8(&b, (uint8_t)answer);
    ipc_put_signers(&b, s);
    io_channel_send(keeper.channel, type, vr_buf_str(&b), -1);
    io_channel_flush(keeper.channel);
    vr_buf_fini(&b);
}

static const struct ipc_signers nobody = {.count = 0};
static const struct ipc_signers both = {.list = {{DKIM_RSA_SHA256, VR_STR_INIT("one"), {NULL, 0}},
                                                 {DKIM_ED25519_SHA256, VR_STR_INIT("two"), {NULL, 0}}},
                                        .count = 2};
static const struct ipc_signers rsa_only = {.list = {{DKIM_RSA_SHA256, VR_STR_INIT("one"), {NULL, 0}}},
                                            .count = 1};
static const struct ipc_signers ed25519_only = {
    .list = {{DKIM_ED25519_SHA256, VR_STR_INIT("two"), {NULL, 0}}}, .count = 1};

static uint64_t asked_for(const char *domain)
{
    struct ipc_reader r = receive(&keeper, IPC_SIGNERS_ASK);
    uint64_t ask = ipc_get_u64(&r);
    struct vr_str name = ipc_get_str(&r);
    assert_true(ipc_done(&r));
    if (!vr_str_equal(name, vr_str_from(domain)))
        fail_msg("asked for %.*s, not %s", VR_STR_ARG(name), domain);
    return ask;
}

/* Who signs for this domain is asked, and told. */
static void signers_are(const char *domain, const struct ipc_signers *s)
{
    tell(IPC_SIGNERS, asked_for(domain), s->count > 0 ? IPC_YES : IPC_NO, s);
}

static uint64_t asked_to_sign(const char *domain, const struct ipc_signers *expected, struct ipc_signers *out)
{
    struct ipc_reader r = receive(&keeper, IPC_SIGN_ASK);
    uint64_t ask = ipc_get_u64(&r);
    assert_true(vr_str_equal(ipc_get_str(&r), vr_str_from(domain)));
    ipc_get_signers(&r, out);
    assert_true(ipc_done(&r));
    assert_int_equal(out->count, expected->count);
    for (size_t i = 0; i < out->count; i++) {
        assert_int_equal(out->list[i].algorithm, expected->list[i].algorithm);
        assert_true(vr_str_equal(out->list[i].selector, expected->list[i].selector));
        assert_int_equal(out->list[i].bytes.n, DKIM_DIGEST);
    }
    return ask;
}

static void signs(const char *domain, const struct ipc_signers *expected)
{
    struct ipc_signers s;
    uint64_t ask = asked_to_sign(domain, expected, &s);
    for (size_t i = 0; i < s.count; i++) {
        const struct dkim_key *k = keys[s.list[i].algorithm == DKIM_ED25519_SHA256];
        assert_int_equal(dkim_key_sign(k, (const uint8_t *)s.list[i].bytes.p, &arena, &s.list[i].bytes),
                         VR_OK);
    }
    tell(IPC_SIGNED, ask, IPC_YES, &s);
}

/* ---- the queue ---------------------------------------------------------------------------------------------------------------- */

static struct dns_answer answer_for(const char *domain, const char *selector, const struct dkim_key *k)
{
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    assert_true(dkim_key_record(k, &b));
    struct dns_record *record = vr_arena_alloc(&arena, sizeof *record);
    record->data = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return (struct dns_answer){.name = vr_arena_printf(&arena, "%s._domainkey.%s", selector, domain),
                               .type = DNS_TYPE_TXT,
                               .status = DNS_STATUS_OK,
                               .records = record,
                               .count = 1};
}

/* All signatures of the message are of this domain, and pass. Returns how many there are. */
static size_t verify(struct vr_str message, const char *domain)
{
    struct mail_digest *d = mail_digest_new(&(struct mail_digest_config){.verify = true});
    const struct dns_answer answers[] = {answer_for(domain, "one", keys[0]),
                                         answer_for(domain, "two", keys[1])};
    struct dkim_query q = {.now = io_now_us(io) / 1000000, .answers = answers, .answer_count = 2};
    struct dkim_result result;
    assert_int_equal(mail_digest_feed(d, message), VR_OK);
    assert_int_equal(mail_digest_end(d), VR_OK);
    assert_int_equal(dkim_verify(d, &q, &arena, &result), VR_OK);
    for (size_t i = 0; i < result.signature_count; i++) {
        assert_int_equal(result.state, DKIM_DONE);
        const struct dkim_signature *s = &result.signatures[i];
        assert_true(vr_str_equal(s->domain, vr_str_from(domain)));
        if (s->verdict != DKIM_PASS)
            fail_msg("signature %zu: %s: %.*s", i, dkim_verdict_name(s->verdict), VR_STR_ARG(s->reason));
    }
    mail_digest_free(d);
    return result.signature_count;
}

static struct vr_str submitted_message(uint64_t *id)
{
    struct ipc_reader r = receive(&queue, IPC_SUBMIT);
    struct envelope e;
    assert_true(ipc_get_envelope(&r, &arena, &e));
    struct vr_str body = ipc_get_str(&r);
    *id = e.id;
    return vr_arena_printf(&arena, "%.*s%.*s", VR_STR_ARG(e.prefix), VR_STR_ARG(body));
}

/* The queue gets a message with so many signatures of the domain, and the client its 250. */
static struct vr_str accepted(int fd, const char *domain, size_t signatures)
{
    struct vr_buf b;
    uint64_t id;
    struct vr_str message = submitted_message(&id);
    assert_int_equal(verify(message, domain), signatures);
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, id);
    ipc_put_u8(&b, IPC_SUBMIT_OK);
    io_channel_send(queue.channel, IPC_SUBMITTED, vr_buf_str(&b), -1);
    io_channel_flush(queue.channel);
    vr_buf_fini(&b);
    expect(fd, "250 2.0.0");
    return message;
}

/* ---- clients ---------------------------------------------------------------------------------------------------------------------- */

static void mail(int fd, const char *reverse_path, const char *message)
{
    char line[256];
    snprintf(line, sizeof line, "MAIL FROM:<%s>\r\n", reverse_path);
    ask(fd, line, "250 ");
    ask(fd, "RCPT TO:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "DATA\r\n", "354 ");
    say(fd, message);
    say(fd, ".\r\n");
}

#define FROM_ANN                                                                                             \
    "From: Ann <ann@example.org>\r\nTo: x@elsewhere.example\r\nSubject: hi\r\n\r\nHello.\r\n..dots\r\n"

static void test_a_user_is_signed_for(void **state)
{
    (void)state;
    int fd = user();
    mail(fd, "ann@example.org", FROM_ANN);
    signers_are("example.org", &both);
    signs("example.org", &both);
    struct vr_str message = accepted(fd, "example.org", 2);
    assert_true(vr_str_starts(message, VR_STR("DKIM-Signature: "))); /* on top of all */
    assert_true(contains(message, "\r\nReceived: "));
    assert_true(contains(message, "\r\nDate: ")); /* which was added, and is signed */
    /* what is known is not asked again, and the second message has its own signature */
    mail(fd, "ann@example.org", FROM_ANN);
    signs("example.org", &both);
    assert_int_equal(keeper.count, 0);
    accepted(fd, "example.org", 2);
    close(fd);
}

/* Which domain: From's, else that of the reverse-path. Clients of trusted networks are believed. */
static void test_for_which_domain(void **state)
{
    (void)state;
    static const struct {
        const char *reverse_path, *from;
        const char *asked[2];            /* in this order; NULL: no more */
        const struct ipc_signers *of[2]; /* what is answered */
        const char *signs;               /* NULL: goes unsigned */
    } rows[] = {
        {"a@b.example", "From: a@a.example", {"a.example", NULL}, {&rsa_only, NULL}, "a.example"},
        {"a@b2.example",
         "From: a@A2.Example",
         {"a2.example", "b2.example"},
         {&nobody, &ed25519_only},
         "b2.example"},
        {"a@b3.example", "From: a@a3.example", {"a3.example", "b3.example"}, {&nobody, &nobody}, NULL},
        {"a@a4.example", "From: a@a4.example", {"a4.example", NULL}, {&nobody, NULL}, NULL},
        {"", "From: a@a5.example", {"a5.example", NULL}, {&rsa_only, NULL}, "a5.example"},
        {"a@b6.example",
         "From: Ann <a@a6.example>, b@c6.example",
         {"a6.example", NULL},
         {&rsa_only, NULL},
         "a6.example"},
        {"a@b7.example", "From: nobody", {"b7.example", NULL}, {&rsa_only, NULL}, "b7.example"},
        {"a@b8.example", "From: a@[192.0.2.1]", {"b8.example", NULL}, {&nobody, NULL}, NULL},
        {"a@b9.example", "From: a@localhost", {"b9.example", NULL}, {&nobody, NULL}, NULL},
        {"a@off.example", "From: a@a10.example", {"a10.example", NULL}, {&nobody, NULL}, NULL},
        {"a@b11.example", "From: a@off.example", {NULL, NULL}, {NULL, NULL}, NULL},
        {"a@b12.example", "Subject: who?", {NULL, NULL}, {NULL, NULL}, NULL},
        {"a@b13.example", "From: a@a13.example\r\nFrom: b@a13.example", {NULL, NULL}, {NULL, NULL}, NULL},
        {"a@b14.example",
         "From: a@b\xc3\xbc"
         "cher.example",
         {"xn--bcher-kva.example", NULL},
         {&rsa_only, NULL},
         "xn--bcher-kva.example"},
    };
    int fd = greeted(MX, "127.0.0.2");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char message[512];
        snprintf(message, sizeof message, "%s\r\nDate: Sat, 28 Nov 2026 01:00:00 +0000\r\n\r\nx\r\n",
                 rows[i].from);
        mail(fd, rows[i].reverse_path, message);
        for (size_t k = 0; k < 2 && rows[i].asked[k] != NULL; k++) {
            signers_are(rows[i].asked[k], rows[i].of[k]);
            if (rows[i].of[k]->count > 0)
                signs(rows[i].signs, rows[i].of[k]);
        }
        accepted(fd, rows[i].signs != NULL ? rows[i].signs : "none", rows[i].signs != NULL);
        assert_int_equal(keeper.count, 0);
    }
    close(fd);
}

/* A user who logged in cannot have mail signed in the name of another domain that is hosted here. */
static void test_a_user_in_another_name(void **state)
{
    (void)state;
    static const struct {
        const char *from, *asked; /* asked: whether he may; NULL: nobody is asked */
        enum ipc_answer may;
        const char *domain;
    } rows[] = {
        {"From: boss@other.example\r\n\r\n", "boss@other.example", IPC_NO, "example.org"},
        {"From: Boss <Boss@Other.Example>\r\n\r\n", "boss@other.example", IPC_YES, "other.example"},
        {"From: ann@example.org\r\n\r\n", NULL, IPC_NO, "example.org"},
    };
    int fd = user();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mail(fd, "ann@example.org", rows[i].from);
        if (rows[i].asked != NULL) {
            struct ipc_reader r = receive(&keeper, IPC_SENDER_ASK);
            uint64_t number = ipc_get_u64(&r);
            assert_true(vr_str_equal(ipc_get_str(&r), VR_STR("ann@example.org")));
            assert_true(vr_str_equal(ipc_get_str(&r), vr_str_from(rows[i].asked)));
            answer(number, rows[i].may);
        }
        if (i < 2) /* the third is known */
            signers_are(rows[i].domain, &rsa_only);
        signs(rows[i].domain, &rsa_only);
        accepted(fd, rows[i].domain, 1);
    }
    mail(fd, "ann@example.org", "From: boss@other.example\r\n\r\n");
    struct ipc_reader r = receive(&keeper, IPC_SENDER_ASK);
    answer(ipc_get_u64(&r), IPC_LATER);
    expect(fd, "451 4.3.0");
    close(fd);
}

static void test_strangers_are_not_signed_for(void **state)
{
    (void)state;
    int fd = greeted(MX, "127.0.0.1");
    ask(fd, "MAIL FROM:<ann@example.org>\r\n", "250 ");
    say(fd, "RCPT TO:<ann@example.org>\r\n");
    struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
    answer(ipc_get_u64(&r), IPC_YES);
    expect(fd, "250 ");
    ask(fd, "DATA\r\n", "354 ");
    say(fd, FROM_ANN ".\r\n");
    accepted(fd, "example.org", 0);
    assert_int_equal(keeper.count, 0);
    close(fd);
}

/* Never unsigned because the keeper is not there. */
static void test_no_answer_is_451(void **state)
{
    (void)state;
    struct ipc_signers s;
    int fd = user();
    mail(fd, "ann@example.org", FROM_ANN);
    tell(IPC_SIGNERS, asked_for("example.org"), IPC_LATER, &nobody);
    expect(fd, "451 4.3.0");
    mail(fd, "ann@example.org", FROM_ANN);
    signers_are("example.org", &both);
    tell(IPC_SIGNED, asked_to_sign("example.org", &both, &s), IPC_LATER, &nobody);
    expect(fd, "451 4.3.0");
    mail(fd, "ann@example.org", FROM_ANN); /* fewer signatures than keys */
    uint64_t number = asked_to_sign("example.org", &both, &s);
    tell(IPC_SIGNED, number, IPC_YES, &rsa_only);
    expect(fd, "451 4.3.0");
    mail(fd, "ann@example.org", FROM_ANN); /* it dies meanwhile */
    asked_to_sign("example.org", &both, &s);
    detach(&keeper);
    expect(fd, "451 4.3.0");
    mail(fd, "ann@example.org", FROM_ANN); /* and is not there */
    expect(fd, "451 4.3.0");
    assert_int_equal(queue.count, 0);
    attach(&keeper);
    mail(fd, "ann@example.org", FROM_ANN);
    signs("example.org", &both);
    accepted(fd, "example.org", 2);
    close(fd);
}

/* A key goes between the two questions: who signs now is asked anew, once. */
static void test_rotated_in_between(void **state)
{
    (void)state;
    struct ipc_signers s;
    int fd = user();
    mail(fd, "ann@example.org", FROM_ANN);
    signers_are("example.org", &rsa_only);
    tell(IPC_SIGNED, asked_to_sign("example.org", &rsa_only, &s), IPC_NO, &nobody);
    signers_are("example.org", &ed25519_only);
    signs("example.org", &ed25519_only);
    accepted(fd, "example.org", 1);
    mail(fd, "ann@example.org", FROM_ANN);
    tell(IPC_SIGNED, asked_to_sign("example.org", &ed25519_only, &s), IPC_NO, &nobody);
    signers_are("example.org", &rsa_only);
    tell(IPC_SIGNED, asked_to_sign("example.org", &rsa_only, &s), IPC_NO, &nobody);
    expect(fd, "451 4.3.0"); /* it goes round in circles */
    mail(fd, "ann@example.org", FROM_ANN);
    tell(IPC_SIGNED, asked_to_sign("example.org", &rsa_only, &s), IPC_NO, &nobody);
    signers_are("example.org", &nobody); /* the last key was removed */
    accepted(fd, "example.org", 0);
    close(fd);
}

/* With a reset: a receiver that waits does not read. */
static void leave(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
    expect_in_all(0);
}

static void test_the_client_leaves(void **state)
{
    (void)state;
    struct ipc_signers s;
    int fd = user();
    mail(fd, "ann@example.org", FROM_ANN);
    uint64_t late = asked_for("example.org");
    leave(fd);
    tell(IPC_SIGNERS, late, IPC_YES, &both);
    fd = user();
    mail(fd, "ann@example.org", FROM_ANN);
    signers_are("example.org", &both);
    late = asked_to_sign("example.org", &both, &s);
    leave(fd);
    tell(IPC_SIGNED, late, IPC_YES, &both);
    fd = user();
    mail(fd, "ann@example.org", FROM_ANN);
    signs("example.org", &both);
    accepted(fd, "example.org", 2);
    assert_int_equal(queue.count, 0);
    close(fd);
}

/* A header beyond what can be kept for signing goes as it is; the log says so. */
static void test_a_header_beyond_bounds(void **state)
{
    (void)state;
    int fd = user();
    ask(fd, "MAIL FROM:<ann@example.org>\r\n", "250 ");
    ask(fd, "RCPT TO:<x@elsewhere.example>\r\n", "250 ");
    ask(fd, "DATA\r\n", "354 ");
    say(fd, "From: ann@example.org\r\n");
    for (unsigned i = 0; i < 2100; i++)
        say(fd, "X-A: b\r\n");
    say(fd, "\r\nx\r\n.\r\n");
    timed_out = false;
    while (queue.count == 0 && !timed_out)
        run(WAIT_MS);
    assert_true(queue.count > 0 && queue.frames[0].type == IPC_SUBMIT);
    assert_int_equal(keeper.count, 0);
    close(fd);
}

/* ---- sealing ------------------------------------------------------------------------------------------------------------ */

/* A stranger writes to an alias that leads elsewhere, too. */
static int to_team(void)
{
    int fd = greeted(MX, "127.0.0.1");
    ask(fd, "MAIL FROM:<bob@stranger.example>\r\n", "250 ");
    ask(fd, "RCPT TO:<team@example.org>\r\n", "250 ");
    ask(fd, "DATA\r\n", "354 ");
    say(fd, "From: bob@stranger.example\r\nTo: team@example.org\r\nSubject: hi\r\n\r\nHello.\r\n.\r\n");
    return fd;
}

/* The chain of the message that the queue gets; its client its 250. */
static struct arc_result sealed(int fd, const char *domain)
{
    struct vr_str message = accepted(fd, "none", 0);
    struct mail_digest *d = mail_digest_new(&(struct mail_digest_config){.verify = true});
    const struct dns_answer answers[] = {answer_for(domain, "one", keys[0]),
                                         answer_for(domain, "two", keys[1])};
    struct dkim_query q = {.now = io_now_us(io) / 1000000, .answers = answers, .answer_count = 2};
    struct arc_result r;
    assert_int_equal(mail_digest_feed(d, message), VR_OK);
    assert_int_equal(mail_digest_end(d), VR_OK);
    assert_int_equal(arc_validate(d, &q, &arena, &r), VR_OK);
    assert_int_equal(r.state, DKIM_DONE);
    mail_digest_free(d); /* what is looked at is a number or in the arena */
    return r;
}

static void test_a_seal_by_the_nearest_key(void **state)
{
    (void)state;
    int fd = to_team();
    signers_are("mail.example.org", &nobody); /* of hostname; then above it */
    signers_are("example.org", &both);
    signs("example.org", &rsa_only); /* RSA before Ed25519; the message first, the seal then */
    signs("example.org", &rsa_only);
    struct arc_result r = sealed(fd, "example.org");
    assert_true(r.status == ARC_PASS && r.instances == 1);
    close(fd);
    fd = to_team(); /* both are known now */
    signs("example.org", &rsa_only);
    signs("example.org", &rsa_only);
    r = sealed(fd, "example.org");
    assert_int_equal(r.status, ARC_PASS);
    close(fd);
}

static void test_no_key_no_seal(void **state)
{
    (void)state;
    int fd = to_team();
    signers_are("mail.example.org", &nobody);
    signers_are("example.org", &nobody);
    struct arc_result r = sealed(fd, "example.org");
    assert_true(r.status == ARC_NONE && r.instances == 0);
    assert_int_equal(keeper.count, 0);
    close(fd);
}

static void test_a_seal_without_an_answer(void **state)
{
    (void)state;
    struct ipc_signers s;
    int fd = to_team();
    tell(IPC_SIGNERS, asked_for("mail.example.org"), IPC_LATER, &nobody);
    expect(fd, "451 4.3.0");
    close(fd);
    fd = to_team();
    signers_are("mail.example.org", &rsa_only);
    signs("mail.example.org", &rsa_only);
    asked_to_sign("mail.example.org", &rsa_only, &s); /* it dies between the two signatures */
    detach(&keeper);
    expect(fd, "451 4.3.0");
    close(fd);
    fd = to_team(); /* and is not there */
    expect(fd, "451 4.3.0");
    close(fd);
    assert_int_equal(queue.count, 0);
    attach(&keeper);
    fd = to_team(); /* the key goes between the two signatures: all is done anew */
    signs("mail.example.org", &rsa_only);
    tell(IPC_SIGNED, asked_to_sign("mail.example.org", &rsa_only, &s), IPC_NO, &nobody);
    signers_are("mail.example.org", &ed25519_only);
    signs("mail.example.org", &ed25519_only);
    signs("mail.example.org", &ed25519_only);
    struct arc_result r = sealed(fd, "mail.example.org");
    assert_true(r.status == ARC_PASS && r.instances == 1);
    close(fd);
    fd = to_team(); /* the client leaves */
    uint64_t late = asked_to_sign("mail.example.org", &ed25519_only, &s);
    leave(fd);
    tell(IPC_SIGNED, late, IPC_YES, &both);
    assert_int_equal(queue.count, 0);
}

int main(void)
{
#define TEST(f)                                                                                              \
    {                                                                                                        \
#f, f, start, stop, more                                                                             \
    }
    const struct CMUnitTest tests[] = {
        TEST(test_a_user_is_signed_for),   TEST(test_for_which_domain),
        TEST(test_a_user_in_another_name), TEST(test_strangers_are_not_signed_for),
        TEST(test_no_answer_is_451),       TEST(test_rotated_in_between),
        TEST(test_the_client_leaves),      TEST(test_a_seal_by_the_nearest_key),
        TEST(test_no_key_no_seal),         TEST(test_a_seal_without_an_answer),
        TEST(test_a_header_beyond_bounds),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
