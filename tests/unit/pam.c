/* pam.c - the process that asks PAM, driven over channels as the supervisor and a keeper would. Its rules are the system's, so what is tested here needs a service
 * that every machine has: `other`. */
#include "process_testing.h"

#include "pam/pam.h"

#include "io/fs.h"

#define WAIT_MS 20000

static struct io_channel *keeper;
static struct {
    uint64_t ask;
    uint8_t answer;
    char why[256];
} got[PAM_RUNNING_MAX + PAM_WAITING_MAX + 8];
static unsigned count, wanted;
static bool closed;

static void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg;
    struct ipc_reader r = ipc_reader(payload);
    assert_int_equal(fd, -1);
    assert_int_equal(type, IPC_PAM_ANSWER);
    assert_in_range(count, 0, sizeof got / sizeof *got - 1);
    got[count].ask = ipc_get_u64(&r);
    got[count].answer = ipc_get_u8(&r);
    struct vr_str why = ipc_get_str(&r);
    assert_true(ipc_done(&r));
    snprintf(got[count].why, sizeof got[count].why, "%.*s", VR_STR_ARG(why));
    if (++count >= wanted)
        io_stop(io);
}

static void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
    closed = true;
    io_stop(io);
}

static int start(void **state)
{
    (void)state;
    static const struct io_channel_ops ops = {on_frame, on_closed};
    char text[512];
    assert_true(folder_new(folder));
    int n = snprintf(
        text, sizeof text,
        "hostname = \"mail.example.org\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
        "domain \"example.org\" { }\naccounts { from = { \"sqlite\", \"pam:other\" }\n timeout = 3s }\n",
        folder, folder, folder);
    config_from(text, (size_t)n);
    io = io_new(1);
    count = 0;
    closed = false;
    process_spawn((struct process_arguments){.ops = &pam_ops, .config = config, .slot = 7});
    keeper = process_attach(IPC_KEEPER, 20, 0, &ops, NULL);
    run(WAIT_MS);
    assert_true(ready);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    process_drain(1000);
    supervisor_close();
    io_channel_close(keeper);
    io_free(io);
    config_free(config);
    folder_remove(folder);
    return 0;
}

static void ask(uint64_t number, uint32_t source, const char *user, const char *password)
{
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    ipc_put_u64(&b, number);
    ipc_put_u32(&b, source);
    ipc_put_str(&b, vr_str_from(user));
    ipc_put_str(&b, vr_str_from(password));
    ipc_put_str(&b, VR_STR("192.0.2.1"));
    io_channel_send(keeper, IPC_PAM_ASK, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static void wait_for(unsigned n)
{
    int64_t begin = io_monotonic_ms(io);
    wanted = n;
    while (count < n && io_monotonic_ms(io) - begin < WAIT_MS)
        run(WAIT_MS);
    assert_int_equal(count, n);
}

/* Nobody has this name, whatever the machine's rules are. */
static void test_nobody_is_let_in(void **state)
{
    (void)state;
    ask(1ull << 32 | 17, 1, "no-such-user-anywhere", "pencil");
    wait_for(1);
    assert_true(got[0].ask == (1ull << 32 | 17));
    assert_int_not_equal(got[0].answer, IPC_YES);
    assert_true(got[0].why[0] != '\0');
}

/* What the configuration does not name is not asked, and who asks it is not answered. */
static void test_only_what_is_configured(void **state)
{
    (void)state;
    ask(1, 0, "root", "x"); /* sqlite */
    ask(2, 2, "root", "x");
    ask(3, UINT32_MAX, "root", "x");
    io_channel_send(keeper, IPC_PAM_ASK, VR_STR("garbage"), -1);
    ask(4, 1, "no-such-user-anywhere", "x");
    wait_for(1);
    assert_int_equal(got[0].ask, 4);
}

static void test_a_crowd(void **state)
{
    (void)state;
    unsigned n = PAM_RUNNING_MAX + PAM_WAITING_MAX + 3;
    for (unsigned i = 0; i < n; i++)
        ask(i + 1, 1, "no-such-user-anywhere", "x");
    wait_for(n);
    unsigned later = 0;
    bool seen[sizeof got / sizeof *got] = {false};
    for (unsigned i = 0; i < n; i++) {
        assert_in_range(got[i].ask, 1, n);
        assert_false(seen[got[i].ask]);
        seen[got[i].ask] = true;
        assert_int_not_equal(got[i].answer, IPC_YES);
        later += got[i].answer == IPC_LATER;
    }
    assert_true(later >= 3); /* turned away at once, or after their time */
}

/* Only a keeper may ask. */
static void test_others_are_cut_off(void **state)
{
    (void)state;
    static const struct io_channel_ops ops = {on_frame, on_closed};
    struct io_channel *stranger = process_attach(IPC_RECEIVER, 21, 0, &ops, NULL);
    struct vr_buf b;
    vr_buf_init(&b, 256);
    ipc_put_u64(&b, 1);
    ipc_put_u32(&b, 1);
    for (int i = 0; i < 3; i++)
        ipc_put_str(&b, VR_STR("x"));
    io_channel_send(stranger, IPC_PAM_ASK, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
    run(WAIT_MS);
    assert_true(closed);
    assert_int_equal(count, 0);
    io_channel_close(stranger);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_nobody_is_let_in),
        EACH(test_only_what_is_configured),
        EACH(test_a_crowd),
        EACH(test_others_are_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
