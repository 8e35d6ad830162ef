/* receiver_terms.c - what a message asks for besides its way: on whose behalf it comes, how much TLS matters to it, its times.
 */
#include "receiver_testing.h"

#include <veredus/smtp.h>

/* What the queue is given of a message that the client sends so. */
static struct envelope submitted(int fd, const char *mail, const char *rcpt, const char *text,
                                 struct vr_arena *arena)
{
    char line[300];
    snprintf(line, sizeof line, "MAIL FROM:<%s\r\n", mail);
    ask(fd, line, "250 ");
    snprintf(line, sizeof line, "RCPT TO:<%s\r\n", rcpt);
    ask(fd, line, "250 ");
    ask(fd, "DATA\r\n", "354 ");
    say(fd, text);
    say(fd, "\r\n.\r\n");
    struct ipc_reader r = receive(&queue, IPC_SUBMIT);
    struct envelope e;
    assert_true(ipc_get_envelope(&r, arena, &e));
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, e.id);
    ipc_put_u8(&b, IPC_SUBMIT_OK);
    io_channel_send(queue.channel, IPC_SUBMITTED, vr_buf_str(&b), -1);
    io_channel_flush(queue.channel);
    vr_buf_fini(&b);
    expect(fd, "250 2.0.0");
    return e;
}

/* On whose behalf a message comes (RFC 4954 §5): a stranger speaks for nobody, a user for himself, a trusted client for whom it says. */
static void test_submitters(void **state)
{
    (void)state;
    static const struct {
        enum { STRANGER, USER, TRUSTED } who;
        const char *given, *kept;
    } rows[] = {
        {STRANGER, "", ""},
        {STRANGER, " AUTH=boss@relay.example", ""},
        {STRANGER, " AUTH=<>", ""},
        {USER, "", "ann@example.org"},
        {USER, " AUTH=ANN@example.org", "ANN@example.org"},
        {USER, " AUTH=boss@example.org", ""},
        {USER, " AUTH=<>", ""}, /* who wants to be nobody is nobody */
        {TRUSTED, "", ""},
        {TRUSTED, " AUTH=e+2Bx@example.org", "e+2Bx@example.org"},
        {TRUSTED, " AUTH=<>", ""},
    };
    struct vr_arena arena;
    vr_arena_init(&arena, 1u << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = rows[i].who == USER ? user() : -1;
        if (rows[i].who == STRANGER)
            fd = greeted(MX, "127.0.0.1");
        if (rows[i].who == TRUSTED)
            fd = greeted(MX, "127.0.0.2");
        char mail[100];
        snprintf(mail, sizeof mail, "ann@example.org>%s", rows[i].given);
        struct envelope e = submitted(fd, mail, "x@relay.example>", "Subject: x\r\n", &arena);
        if (!vr_str_equal(e.auth, vr_str_from(rows[i].kept)))
            fail_msg("row %zu: %.*s", i, VR_STR_ARG(e.auth));
        close(fd);
    }
    vr_arena_fini(&arena);
}

/* RFC 8689 §4.1, §3 */
static void test_tls_required_field(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool optional;
    } rows[] = {
        {"Subject: x\r\n", false},
        {"TLS-Required: No\r\nSubject: x\r\n", true},
        {"Subject: x\r\ntls-required:\r\n\tno\r\n", true},
        {"TLS-Required: Yes\r\n", false},
        {"TLS-Required: No\r\nTLS-Required: No\r\n", false},
        {"Subject: x\r\n\r\nTLS-Required: No\r\n", false}, /* the body */
    };
    struct vr_arena arena;
    vr_arena_init(&arena, 1u << 20);
    int fd = greeted(MX, "127.0.0.1");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct envelope e = submitted(fd, "a@elsewhere.example>", "x@relay.example>", rows[i].header, &arena);
        if ((e.asks == ENVELOPE_TLS_OPTIONAL) != rows[i].optional || (e.asks != 0) != rows[i].optional)
            fail_msg("row %zu", i);
    }
    close(fd);
    vr_arena_fini(&arena);
}

/* Times are made absolute: HOLDFOR from the arrival on, BY from the MAIL command on. Strangers may not have their mail held. */
static void test_times(void **state)
{
    (void)state;
    struct vr_arena arena;
    vr_arena_init(&arena, 1u << 20);
    int fd = user();
    struct envelope e = submitted(fd, "ann@example.org> HOLDFOR=3600 BY=7200;RT", "x@relay.example>",
                                  "Subject: x\r\n", &arena);
    assert_int_equal(e.asks, ENVELOPE_HOLD_FOR | ENVELOPE_BY_TRACE);
    assert_int_equal(e.hold_until, (e.arrival_us + 999999) / 1000000 + 3600);
    assert_in_range(e.deliver_by, e.arrival_us / 1000000 + 7190, e.arrival_us / 1000000 + 7200);
    e = submitted(fd, "ann@example.org>", "x@relay.example>", "Subject: x\r\n", &arena);
    assert_true(e.asks == 0 && e.hold_until == 0 && e.by == 0);
    ask(fd, "MAIL FROM:<ann@example.org> HOLDFOR=2592001\r\n", "501 5.5.4");
    close(fd);
    fd = greeted(MX, "127.0.0.1");
    ask(fd, "MAIL FROM:<a@elsewhere.example> HOLDFOR=60\r\n", "555 5.5.4");
    e = submitted(fd, "a@elsewhere.example> BY=-5;N", "x@relay.example>", "Subject: x\r\n", &arena);
    assert_true(e.by != 0 && e.deliver_by < e.arrival_us / 1000000);
    close(fd);
    vr_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_submitters, start, stop, "trusted = \"127.0.0.2\"\n"),
        cmocka_unit_test_setup_teardown(test_tls_required_field, start, stop),
        cmocka_unit_test_setup_teardown(test_times, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
