/* keeper_signatures.c - the keeper as a process of its own that signs: who signs when, what changes while it runs, what it refuses. */
#include "process_testing.h"

#include "keeper/dkim_store.h"
#include "keeper/keeper.h"
#include "keeper/signatures.h"

#include "io/fs.h"

#define WAIT_MS 20000
#define DAY     86400

static const struct dkim_owner mine = {.as_caller = true};
static const char digest[] = "a digest of thirty-two octets !!";

struct side {
    struct io_channel *channel;
    uint16_t type;
    struct vr_buf payload;
    unsigned frames;
    bool closed;
};

static struct side side;
static struct vr_buf rsa, ed25519;
static char error[DKIM_STORE_ERROR];

static void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct side *s = arg;
    assert_int_equal(fd, -1);
    s->type = type;
    vr_buf_reset(&s->payload);
    vr_buf_add(&s->payload, payload);
    s->frames++;
    io_stop(io);
}

static void on_closed(void *arg, int status)
{
    (void)status;
    ((struct side *)arg)->closed = true;
    io_stop(io);
}

static int make_keys(void **state)
{
    (void)state;
    vr_buf_init(&rsa, 8192);
    vr_buf_init(&ed25519, 8192);
    return dkim_key_make(DKIM_RSA_SHA256, 2048, &rsa) && dkim_key_make(DKIM_ED25519_SHA256, 0, &ed25519) ? 0
                                                                                                         : -1;
}

static int free_keys(void **state)
{
    (void)state;
    vr_buf_fini(&rsa);
    vr_buf_fini(&ed25519);
    return 0;
}

static void attach(void)
{
    static const struct io_channel_ops side_ops = {on_frame, on_closed};
    side.channel = process_attach(IPC_RECEIVER, 20, 0, &side_ops, &side);
}

static int keeper_start(void **state)
{
    char text[512];
    (void)state;
    assert_true(folder_new(folder));
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.example.org\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n",
                     folder, folder, folder);
    config_from(text, (size_t)n);
    io = io_new(1);
    process_spawn((struct process_arguments){.ops = &keeper_ops, .config = config, .slot = 7});
    side = (struct side){0};
    vr_buf_init(&side.payload, 65536);
    attach();
    run(WAIT_MS);
    assert_true(ready);
    return 0;
}

static int keeper_stop(void **state)
{
    (void)state;
    process_drain(1000);
    supervisor_close();
    io_channel_close(side.channel);
    vr_buf_fini(&side.payload);
    io_free(io);
    config_free(config);
    folder_remove(folder);
    return 0;
}

/* ---- the store, as `veredus dkim` changes it -------------------------------------------------------------------------- */

static int64_t now(void)
{
    return io_now_us(io) / 1000000;
}

static struct dkim_ring *ring_of(const char *domain)
{
    struct dkim_ring *r;
    if (dkim_store_load(folder, vr_str_from(domain), &r, error) != DKIM_STORE_OK)
        r = dkim_ring_new(vr_str_from(domain));
    return r;
}

static void save(struct dkim_ring *r)
{
    int lock = dkim_store_lock(folder, mine, error);
    assert_true(lock >= 0);
    if (dkim_store_save(folder, r, mine, error) != DKIM_STORE_OK)
        fail_msg("%s", error);
    io_fs_close(lock);
    dkim_ring_free(r);
}

/* Signs from `at` on, with what signed before being needed no more. */
static void add(const char *domain, const char *selector, const struct vr_buf *pem, int64_t at)
{
    struct dkim_ring *r = ring_of(domain);
    struct dkim_stored *k;
    if (dkim_ring_add(r, vr_str_from(selector), vr_buf_str(pem), now(), &k, error) != DKIM_STORE_OK)
        fail_msg("%s", error);
    dkim_ring_activate(r, k, at, 0);
    save(r);
}

/* ---- questions ---------------------------------------------------------------------------------------------------------- */

static void send_frame(enum ipc_type type, uint64_t ask, const char *domain,
                       const struct ipc_signers *signers)
{
    struct vr_buf b;
    vr_buf_init(&b, 8192);
    ipc_put_u64(&b, ask);
    ipc_put_str(&b, vr_str_from(domain));
    if (signers != NULL)
        ipc_put_signers(&b, signers);
    io_channel_send(side.channel, type, vr_buf_str(&b), -1);
    io_channel_flush(side.channel);
    vr_buf_fini(&b);
}

static enum ipc_answer receive(enum ipc_type type, uint64_t ask, struct ipc_signers *out)
{
    unsigned before = side.frames;
    timed_out = false;
    while (side.frames == before && !timed_out && !side.closed)
        run(WAIT_MS);
    assert_int_equal(side.frames, before + 1);
    assert_int_equal(side.type, type);
    struct ipc_reader r = ipc_reader(vr_buf_str(&side.payload));
    assert_int_equal(ipc_get_u64(&r), ask);
    enum ipc_answer a = ipc_get_u8(&r);
    ipc_get_signers(&r, out);
    assert_true(ipc_done(&r));
    assert_true(a == IPC_YES || out->count == 0);
    return a;
}

/* Who signs for the domain now: "rsa one, ed25519 two". */
static void expect_signers(const char *domain, const char *expected)
{
    static uint64_t ask = 100;
    struct ipc_signers s;
    char text[256] = "";
    send_frame(IPC_SIGNERS_ASK, ++ask, domain, NULL);
    enum ipc_answer a = receive(IPC_SIGNERS, ask, &s);
    for (size_t i = 0; i < s.count; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s %.*s", i > 0 ? ", " : "",
                 s.list[i].algorithm == DKIM_RSA_SHA256 ? "rsa" : "ed25519", VR_STR_ARG(s.list[i].selector));
        assert_int_equal(s.list[i].bytes.n, 0);
    }
    if (a == IPC_LATER)
        snprintf(text, sizeof text, "later");
    assert_string_equal(text, expected);
}

static enum ipc_answer sign(const char *domain, const char *selector, uint8_t algorithm,
                            struct ipc_signers *out)
{
    static uint64_t ask = 1000;
    struct ipc_signers s = {.count = 1};
    s.list[0] = (struct ipc_signer){algorithm, vr_str_from(selector), vr_str(digest, DKIM_DIGEST)};
    send_frame(IPC_SIGN_ASK, ++ask, domain, &s);
    return receive(IPC_SIGNED, ask, out);
}

/* ---- tests ---------------------------------------------------------------------------------------------------------------- */

static void test_a_domain_without_keys(void **state)
{
    (void)state;
    static const char *const domains[] = {"example.org", "org", "../../etc/passwd", ".lock", "x/y.example"};
    for (size_t i = 0; i < sizeof domains / sizeof *domains; i++)
        expect_signers(domains[i], "");
    struct ipc_signers out;
    assert_int_equal(sign("example.org", "one", DKIM_RSA_SHA256, &out), IPC_NO);
}

/* What it signs is what the key would have signed here. */
static void test_both_algorithms_sign(void **state)
{
    (void)state;
    add("example.org", "one", &rsa, now());
    add("example.org", "two", &ed25519, now());
    expect_signers("example.org", "rsa one, ed25519 two");
    struct ipc_signers s = {.count = 2}, out;
    s.list[0] = (struct ipc_signer){DKIM_RSA_SHA256, VR_STR("one"), vr_str(digest, DKIM_DIGEST)};
    s.list[1] = (struct ipc_signer){DKIM_ED25519_SHA256, VR_STR("two"), vr_str(digest, DKIM_DIGEST)};
    send_frame(IPC_SIGN_ASK, 5, "example.org", &s);
    assert_int_equal(receive(IPC_SIGNED, 5, &out), IPC_YES);
    assert_int_equal(out.count, 2);
    struct vr_arena arena;
    const struct vr_buf *pems[] = {&rsa, &ed25519};
    vr_arena_init(&arena, 65536);
    for (size_t i = 0; i < 2; i++) {
        struct dkim_key *key;
        const char *why;
        struct vr_str here;
        assert_int_equal(dkim_key_load(vr_buf_str(pems[i]), &key, &why), VR_OK);
        assert_int_equal(dkim_key_sign(key, (const uint8_t *)digest, &arena, &here), VR_OK);
        assert_true(vr_str_equal(out.list[i].bytes, here)); /* both algorithms are deterministic */
        assert_true(vr_str_equal(out.list[i].selector, s.list[i].selector));
        dkim_key_free(key);
    }
    vr_arena_fini(&arena);
}

/* While it runs: a key is made, planned to be replaced, replaced, removed. */
static void test_changes_count_at_once(void **state)
{
    (void)state;
    struct ipc_signers out;
    expect_signers("example.org", "");
    add("example.org", "old", &rsa, now() - 100);
    expect_signers("example.org", "rsa old");
    struct vr_buf other;
    vr_buf_init(&other, 8192);
    assert_true(dkim_key_make(DKIM_RSA_SHA256, 2048, &other));
    add("example.org", "new", &other, now() + 3600); /* later */
    expect_signers("example.org", "rsa old");
    assert_int_equal(sign("example.org", "new", DKIM_RSA_SHA256, &out), IPC_NO); /* before its time */
    struct dkim_ring *r = ring_of("example.org");
    dkim_ring_activate(r, dkim_ring_find(r, VR_STR("new")), now() - 5, 7 * DAY);
    save(r);
    expect_signers("example.org", "rsa new");
    assert_int_equal(sign("example.org", "new", DKIM_RSA_SHA256, &out), IPC_YES);
    /* a receiver that heard of the old one a moment ago still gets its signature; the record is there */
    assert_int_equal(sign("example.org", "old", DKIM_RSA_SHA256, &out), IPC_YES);
    r = ring_of("example.org");
    dkim_ring_find(r, VR_STR("old"))->until = now() - SIGNATURES_GRACE - 10;
    save(r);
    assert_int_equal(sign("example.org", "old", DKIM_RSA_SHA256, &out), IPC_NO);
    r = ring_of("example.org");
    while (r->count > 0)
        dkim_ring_remove(r, r->keys, now());
    save(r);
    expect_signers("example.org", "");
    assert_int_equal(sign("example.org", "new", DKIM_RSA_SHA256, &out), IPC_NO);
    vr_buf_fini(&other);
}

/* A planned moment comes while nobody does anything. */
static void test_time_alone_changes_who_signs(void **state)
{
    (void)state;
    add("example.org", "two", &ed25519, now() + 2);
    expect_signers("example.org", "");
    int64_t start = now();
    while (now() < start + 3)
        run(500);
    expect_signers("example.org", "ed25519 two");
}

static void test_a_damaged_file_is_later(void **state)
{
    (void)state;
    char path[160];
    struct ipc_signers out;
    add("example.org", "one", &ed25519, now());
    expect_signers("example.org", "ed25519 one");
    snprintf(path, sizeof path, "%s/dkim/example.org", folder);
    assert_int_equal(io_fs_replace_file(path, VR_STR("what is this\n"), 0600), 0);
    expect_signers("example.org", "later");
    assert_int_equal(sign("example.org", "one", DKIM_ED25519_SHA256, &out), IPC_LATER);
    assert_int_equal(io_fs_unlink(path), 0);
    add("example.org", "one", &ed25519, now());
    expect_signers("example.org", "ed25519 one");
}

static void test_wrong_questions(void **state)
{
    (void)state;
    struct ipc_signers out, s = {.count = 1};
    add("example.org", "one", &ed25519, now());
    /* the algorithm is the key's */
    assert_int_equal(sign("example.org", "one", DKIM_RSA_SHA256, &out), IPC_NO);
    assert_int_equal(sign("other.example", "one", DKIM_ED25519_SHA256, &out), IPC_NO);
    /* not a digest: no answer, and the next question has its own */
    s.list[0] = (struct ipc_signer){DKIM_ED25519_SHA256, VR_STR("one"), VR_STR("short")};
    send_frame(IPC_SIGN_ASK, 9, "example.org", &s);
    s.count = 0;
    send_frame(IPC_SIGN_ASK, 9, "example.org", &s);
    expect_signers("example.org", "ed25519 one");
}

/* A receiver dies with questions open; the keeper goes on. */
static void test_who_asked_is_gone(void **state)
{
    (void)state;
    struct ipc_signers out, s = {.count = 1};
    add("example.org", "one", &rsa, now());
    s.list[0] = (struct ipc_signer){DKIM_RSA_SHA256, VR_STR("one"), vr_str(digest, DKIM_DIGEST)};
    for (unsigned i = 0; i < 200; i++)
        send_frame(IPC_SIGN_ASK, i, "example.org", &s);
    io_channel_close(side.channel);
    attach();
    assert_int_equal(sign("example.org", "one", DKIM_RSA_SHA256, &out), IPC_YES);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, keeper_start, keeper_stop)
    const struct CMUnitTest tests[] = {
        TEST(test_a_domain_without_keys),   TEST(test_both_algorithms_sign),
        TEST(test_changes_count_at_once),   TEST(test_time_alone_changes_who_signs),
        TEST(test_a_damaged_file_is_later), TEST(test_wrong_questions),
        TEST(test_who_asked_is_gone),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
