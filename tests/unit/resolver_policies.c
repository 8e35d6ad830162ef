/* resolver_policies.c - the policies that the resolver keeps: their files, and the process asked for them while no DNS answers. Fetching is in tests/e2e/test_transport.py. */
#include "process_testing.h"

#include "io/fs.h"
#include "resolver/policy_file.h"
#include "resolver/resolver.h"

#define WAIT_MS 60000

static struct vr_arena arena;

/* ---- files ---------------------------------------------------------------------------------------------------------------- */

#define POLICY "version: STSv1\r\nmode: enforce\r\nmx: mx.a.test\r\nmax_age: 1000\r\n"
#define HEAD   "veredus mta-sts 1\nid: abc\nfetched: 1700000000\nused: 1700000500\n\n"

static void files_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {HEAD POLICY, true},
        {"veredus mta-sts 2\nid: abc\nfetched: 1\nused: 1\n\n" POLICY, false},
        {"veredus mta-sts 1\nid: \nfetched: 1\nused: 1\n\n" POLICY, false},
        {"veredus mta-sts 1\nid: 123456789012345678901234567890123\nfetched: 1\nused: 1\n\n" POLICY, false},
        {"veredus mta-sts 1\nid: abc\nfetched: x\nused: 1\n\n" POLICY, false},
        {"veredus mta-sts 1\nid: abc\nfetched: 18446744073709551615\nused: 1\n\n" POLICY, false},
        {"veredus mta-sts 1\nid: abc\nused: 1\nfetched: 1\n\n" POLICY, false},
        {"veredus mta-sts 1\nid: abc\nfetched: 1\nused: 1\n" POLICY, false},
        {HEAD "version: STSv1\r\nmode: enforce\r\n", false}, /* torn */
        {HEAD, false},
        {"", false},
    };
    vr_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct policy_file f;
        if (policy_file_parse(&arena, vr_str_from(rows[i].text), &f) != rows[i].good)
            fail_msg("row %zu", i);
        if (!rows[i].good)
            continue;
        struct vr_buf out;
        vr_buf_init(&out, POLICY_FILE_MAX);
        assert_true(policy_file_write(&out, &f));
        assert_true(vr_str_equal(vr_buf_str(&out), vr_str_from(rows[i].text)));
        vr_buf_fini(&out);
        assert_true(f.known.fetched_at == 1700000000 && f.used_at == 1700000500 &&
                    f.known.policy.max_age == 1000);
    }
    vr_arena_fini(&arena);
}

/* ---- the process ---------------------------------------------------------------------------------------------------------- */

static struct io_channel *sender;
static struct {
    uint64_t ask;
    enum ipc_sts status;
    char id[64], policy[256], why[256];
} got[16];
static size_t count, wanted;

static void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct ipc_reader r = ipc_reader(payload);
    struct vr_str text;
    (void)arg;
    assert_int_equal(fd, -1);
    assert_int_equal(type, IPC_STS_POLICY);
    assert_in_range(count, 0, 15);
    got[count].ask = ipc_get_u64(&r);
    got[count].status = ipc_get_u8(&r);
    text = ipc_get_str(&r);
    snprintf(got[count].id, sizeof got[0].id, "%.*s", VR_STR_ARG(text));
    text = ipc_get_str(&r);
    snprintf(got[count].policy, sizeof got[0].policy, "%.*s", VR_STR_ARG(text));
    text = ipc_get_str(&r);
    snprintf(got[count].why, sizeof got[0].why, "%.*s", VR_STR_ARG(text));
    assert_true(ipc_done(&r));
    if (++count >= wanted)
        io_stop(io);
}

static void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
    io_stop(io);
}

static const struct io_channel_ops ops = {on_frame, on_closed};
static const char *more = "";

static int start(void **state)
{
    (void)state;
    char text[512], path[128];
    assert_true(folder_new(folder));
    snprintf(path, sizeof path, "%s/mta-sts", folder);
    assert_int_equal(io_fs_mkdir(path, 0700), 0);
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.example.org\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
                     "domain \"example.org\" { }\ndns { servers = { \"127.0.0.1@1\" } }\n%s",
                     folder, folder, folder, more); /* nobody listens there: the DNS fails */
    config_from(text, (size_t)n);
    io = io_new(1);
    count = 0;
    process_spawn((struct process_arguments){.ops = &resolver_ops, .config = config, .slot = 7});
    sender = process_attach(IPC_SENDER, 20, 0, &ops, NULL);
    run(WAIT_MS);
    assert_true(ready);
    return 0;
}

static int start_without(void **state)
{
    more = "sending { mta_sts = no }\n";
    int status = start(state);
    more = "";
    return status;
}

static int stop(void **state)
{
    (void)state;
    process_drain(1000);
    supervisor_close();
    io_channel_close(sender);
    io_free(io);
    config_free(config);
    folder_remove(folder);
    return 0;
}

static void ask(uint64_t number, const char *domain)
{
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    ipc_put_u64(&b, number);
    ipc_put_str(&b, vr_str_from(domain));
    io_channel_send(sender, IPC_STS_ASK, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static void wait_for(size_t n)
{
    wanted = n;
    while (count < n && !timed_out)
        run(WAIT_MS);
    assert_int_equal(count, n);
}

static void keep(const char *domain, int64_t age, unsigned max_age)
{
    char path[256], text[512];
    snprintf(path, sizeof path, "%s/mta-sts/%s", folder, domain);
    int n =
        snprintf(text, sizeof text,
                 "veredus mta-sts 1\nid: abc\nfetched: %lld\nused: %lld\n\nversion: STSv1\nmode: "
                 "enforce\nmx: mx.a.test\nmax_age: %u\n",
                 (long long)(io_now_us(io) / 1000000 - age), (long long)(io_now_us(io) / 1000000), max_age);
    assert_int_equal(io_fs_replace_file(path, vr_str(text, (size_t)n), 0600), 0);
}

static void what_is_kept_holds_without_a_dns(void **state)
{
    (void)state;
    char path[256];
    keep("kept.test", 100, 1000);
    keep("expired.test", 1000, 1000);
    snprintf(path, sizeof path, "%s/mta-sts/damaged.test", folder);
    assert_int_equal(io_fs_replace_file(path, VR_STR("nonsense"), 0600), 0);
    snprintf(path, sizeof path, "%s/mta-sts/unreadable.test", folder);
    assert_int_equal(io_fs_mkdir(path, 0700), 0);
    static const struct {
        const char *domain;
        enum ipc_sts status;
        const char *why;
    } rows[] = {
        {"[192.0.2.1]", IPC_STS_NONE, ""},
        {"no name", IPC_STS_NONE, ""},
        {"../x.test", IPC_STS_NONE, ""},
        {"unreadable.test", IPC_STS_LATER, "cannot be read"},
        {"KEPT.test", IPC_STS_FOUND, "does not answer"},
        {"kept.test", IPC_STS_FOUND, "does not answer"},
        {"expired.test", IPC_STS_UNSURE, "does not answer"},
        {"damaged.test", IPC_STS_UNSURE, "does not answer"},
        {"unknown.test", IPC_STS_UNSURE, "does not answer"},
    };
    enum { N = sizeof rows / sizeof *rows };
    for (size_t i = 0; i < N; i++)
        ask(100 + i, rows[i].domain);
    wait_for(N);
    for (size_t i = 0; i < N; i++) {
        size_t k = got[i].ask - 100;
        assert_in_range(k, 0, N - 1);
        if (got[i].status != rows[k].status || strstr(got[i].why, rows[k].why) == NULL)
            fail_msg("%s: %d %s", rows[k].domain, (int)got[i].status, got[i].why);
        assert_string_equal(got[i].policy,
                            got[i].status == IPC_STS_FOUND
                                ? "version: STSv1\r\nmode: enforce\r\nmx: mx.a.test\r\nmax_age: 1000\r\n"
                                : "");
        assert_string_equal(got[i].id, got[i].status == IPC_STS_FOUND ? "abc" : "");
        got[i].ask = 0; /* each once */
    }
}

static void not_wanted(void **state)
{
    (void)state;
    keep("kept.test", 100, 1000);
    ask(1, "kept.test");
    wait_for(1);
    assert_int_equal(got[0].status, IPC_STS_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read_and_written),
        cmocka_unit_test_setup_teardown(what_is_kept_holds_without_a_dns, start, stop),
        cmocka_unit_test_setup_teardown(not_wanted, start_without, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
