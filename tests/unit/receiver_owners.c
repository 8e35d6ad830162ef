/* receiver_owners.c - mail that is only for who had the mailbox at a time (RFC 7293): the parameter of RCPT, and the header field.
 */
#include "receiver_testing.h"

#include <veredus/smtp.h>

#define RRVS "RRVS=2014-04-03T23:01:00Z"
#define TIME 1396566060

static char more[] = "domain \"any.example\" { mailboxes = any }\n"
                     "domain \"lmtp.example\" { deliver = \"lmtp:127.0.0.1:9\" mailboxes = any }\n"
                     "domain \"checked.example\" { deliver = \"lmtp:127.0.0.1:9\" }\n"
                     "domain \"sys.example\" { mailboxes = system }\n"
                     "domain \"all.example\" { catch_all = \"ann@example.org\" }\n"
                     "trusted = \"127.0.0.2\"\n";

enum { UNASKED = -1 };

static void accept_submission(uint64_t id)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, id);
    ipc_put_u8(&b, IPC_SUBMIT_OK);
    io_channel_send(queue.channel, IPC_SUBMITTED, vr_buf_str(&b), -1);
    io_channel_flush(queue.channel);
    vr_buf_fini(&b);
}

/* RFC 7293 §5.1. A mailbox's owner is known by the keeper or by nobody; what was asked of us is not asked again of the next hop. */
static void test_parameter(void **state)
{
    (void)state;
    static const struct {
        const char *rcpt;
        int keeper; /* enum ipc_answer */
        int64_t since;
        const char *reply;
        enum smtp_rrvs passed;
    } rows[] = {
        {"RCPT TO:<ann@example.org> " RRVS "\r\n", IPC_YES, 1, "250 2.1.5", 0}, /* nobody had it before */
        {"RCPT TO:<ann@example.org> " RRVS "\r\n", IPC_YES, TIME, "250 2.1.5", 0},
        {"RCPT TO:<ann@example.org> " RRVS ";C\r\n", IPC_YES, TIME + 1, "550 5.7.17", 0},
        {"RCPT TO:<ann@example.org> " RRVS ";C\r\n", IPC_YES, TIME - 1, "250 2.1.5", 0},
        {"RCPT TO:<ann@example.org> " RRVS "\r\n", IPC_YES, 0, "550 5.7.19", 0},
        {"RCPT TO:<nobody@example.org> " RRVS "\r\n", IPC_NO, 0, "550 5.1.1", 0},
        {"RCPT TO:<ann@example.org> " RRVS "\r\n", IPC_LATER, 0, "451 4.3.0", 0},
        {"RCPT TO:<ann@checked.example> " RRVS "\r\n", IPC_YES, 1, "250 2.1.5", 0},
        {"RCPT TO:<ann@checked.example> " RRVS "\r\n", IPC_YES, TIME + 1, "550 5.7.17", 0},
        /* role addresses have no owner, RFC 2142 */
        {"RCPT TO:<postmaster@example.org> " RRVS "\r\n", UNASKED, 0, "250 2.1.5", 0},
        {"RCPT TO:<Postmaster> " RRVS "\r\n", UNASKED, 0, "250 2.1.5", 0},
        {"RCPT TO:<abuse@example.org> " RRVS "\r\n", IPC_YES, TIME + 1, "250 2.1.5", 0},
        /* nobody knows */
        {"RCPT TO:<team@example.org> " RRVS "\r\n", UNASKED, 0, "550 5.7.19", 0},
        {"RCPT TO:<x@any.example> " RRVS ";C\r\n", UNASKED, 0, "550 5.7.19", 0},
        {"RCPT TO:<x@sys.example> " RRVS "\r\n", IPC_YES, 0, "550 5.7.19", 0},
        {"RCPT TO:<x@sys.example> " RRVS "\r\n", IPC_NO, 0, "550 5.1.1", 0},
        {"RCPT TO:<x@all.example> " RRVS "\r\n", IPC_NO, 0, "550 5.7.19", 0},
        {"RCPT TO:<x@all.example> " RRVS "\r\n", IPC_YES, 1, "250 2.1.5", 0},
        /* the next hop may know: the action is kept, §5.1.1 */
        {"RCPT TO:<x@relay.example> " RRVS "\r\n", UNASKED, 0, "250 2.1.5", SMTP_RRVS_REJECT},
        {"RCPT TO:<x@relay.example> " RRVS ";C\r\n", UNASKED, 0, "250 2.1.5", SMTP_RRVS_CONTINUE},
        {"RCPT TO:<x@lmtp.example> " RRVS "\r\n", UNASKED, 0, "250 2.1.5", SMTP_RRVS_REJECT},
        {"RCPT TO:<x@elsewhere.example> " RRVS ";C\r\n", UNASKED, 0, "250 2.1.5", SMTP_RRVS_CONTINUE},
    };
    struct vr_arena arena;
    vr_arena_init(&arena, 1u << 20);
    int fd = greeted(MX, "127.0.0.2");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask(fd, "MAIL FROM:<a@elsewhere.example>\r\n", "250 ");
        say(fd, rows[i].rcpt);
        if (rows[i].keeper != UNASKED) {
            struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
            answer_owner(ipc_get_u64(&r), (enum ipc_answer)rows[i].keeper, rows[i].since);
        }
        expect(fd, rows[i].reply);
        if (rows[i].reply[0] != '2') {
            ask(fd, "RSET\r\n", "250 ");
            continue;
        }
        ask(fd, "DATA\r\n", "354 ");
        say(fd, "Subject: x\r\n\r\n.\r\n");
        struct ipc_reader r = receive(&queue, IPC_SUBMIT);
        struct envelope e;
        assert_true(ipc_get_envelope(&r, &arena, &e));
        if (e.rcpts[0].rrvs != rows[i].passed || (e.rcpts[0].rrvs != 0 && e.rcpts[0].valid_since != TIME))
            fail_msg("row %zu: %u", i, e.rcpts[0].rrvs);
        accept_submission(e.id);
        expect(fd, "250 2.0.0");
    }
    close(fd);
    vr_arena_fini(&arena);
}

/* A mailbox that was known a moment ago is asked about all the same: that it is there does not say whose it is. */
static void test_known_mailbox_is_asked(void **state)
{
    (void)state;
    int fd = greeted(MX, "127.0.0.1");
    ask(fd, "MAIL FROM:<a@elsewhere.example>\r\n", "250 ");
    say(fd, "RCPT TO:<ann@example.org>\r\n");
    struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
    answer_owner(ipc_get_u64(&r), IPC_YES, TIME + 1);
    expect(fd, "250 2.1.5");
    ask(fd, "RCPT TO:<ann@example.org>\r\n", "250 2.1.5");
    say(fd, "RCPT TO:<ann@example.org> " RRVS "\r\n");
    r = receive(&keeper, IPC_MAILBOX_ASK);
    answer_owner(ipc_get_u64(&r), IPC_YES, TIME + 1);
    expect(fd, "550 5.7.17");
    close(fd);
}

#define FIELD "Require-Recipient-Valid-Since:"
#define DATE  "Thu, 3 Apr 2014 23:01:00 +0000"

/* §5.2 */
static void test_header_field(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int keeper[2];
        int64_t since;
        const char *reply;
    } rows[] = {
        {FIELD " ann@example.org; " DATE "\r\n", {IPC_YES, UNASKED}, 1, "250 2.0.0"},
        {FIELD " ann@example.org; " DATE "\r\n", {IPC_YES, UNASKED}, TIME, "250 2.0.0"},
        {FIELD " ann@example.org; " DATE "\r\n", {IPC_YES, UNASKED}, TIME + 1, "550 5.7.17"},
        {"require-recipient-valid-since:\r\n ANN@Example.ORG;\r\n Fri, 4 Apr 2014 01:01:00 +0200\r\n",
         {IPC_YES, UNASKED},
         TIME + 1,
         "550 5.7.17"},
        {FIELD " ann@example.org; " DATE "\r\n", {IPC_YES, UNASKED}, 0, "550 5.7.19"},
        {FIELD " ann@example.org; " DATE "\r\n", {IPC_LATER, UNASKED}, 0, "451 4.3.0"},
        {FIELD " ann@example.org; " DATE "\r\n", {IPC_NO, UNASKED}, 0, "250 2.0.0"}, /* gone meanwhile */
        {FIELD " ann@example.org; " DATE "\r\n" FIELD " bob@example.org; " DATE "\r\n",
         {IPC_YES, IPC_YES},
         TIME,
         "250 2.0.0"},
        {FIELD " ann@example.org; " DATE "\r\n" FIELD " bob@example.org; " DATE "\r\n",
         {IPC_NO, IPC_YES},
         TIME + 1,
         "550 5.7.17"},
        /* not ours to say anything about */
        {FIELD " carol@example.org; " DATE "\r\n", {UNASKED, UNASKED}, 0, "250 2.0.0"},
        {FIELD " x@relay.example; " DATE "\r\n", {UNASKED, UNASKED}, 0, "250 2.0.0"},
        {FIELD " team@example.org; " DATE "\r\n", {UNASKED, UNASKED}, 0, "250 2.0.0"},
        {FIELD " postmaster@example.org; " DATE "\r\n", {UNASKED, UNASKED}, 0, "250 2.0.0"},
        {FIELD " ann@example.org\r\n", {UNASKED, UNASKED}, 0, "250 2.0.0"},
        {FIELD " ann@example.org; yesterday\r\n", {UNASKED, UNASKED}, 0, "250 2.0.0"},
        {FIELD " ann; " DATE "\r\n", {UNASKED, UNASKED}, 0, "250 2.0.0"},
        {"Subject: x\r\n\r\n" FIELD " ann@example.org; " DATE "\r\n", {UNASKED, UNASKED}, 0, "250 2.0.0"},
    };
    int fd = greeted(MX, "127.0.0.1");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static const char *const rcpts[] = {"ann@example.org", "bob@example.org", "x@relay.example",
                                            "team@example.org", "postmaster@example.org"};
        ask(fd, "MAIL FROM:<a@elsewhere.example>\r\n", "250 ");
        for (size_t j = 0; j < sizeof rcpts / sizeof *rcpts; j++) {
            char line[80];
            snprintf(line, sizeof line, "RCPT TO:<%s>\r\n", rcpts[j]);
            say(fd, line);
            if (i == 0 && j < 2) {
                struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
                answer(ipc_get_u64(&r), IPC_YES); /* known from then on */
            }
            expect(fd, "250 ");
        }
        ask(fd, "DATA\r\n", "354 ");
        say(fd, rows[i].header);
        say(fd, "\r\nfor ann\r\n.\r\n");
        for (size_t j = 0; j < 2 && rows[i].keeper[j] != UNASKED; j++) {
            struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
            answer_owner(ipc_get_u64(&r), (enum ipc_answer)rows[i].keeper[j], rows[i].since);
        }
        if (rows[i].reply[0] == '2') {
            struct ipc_reader r = receive(&queue, IPC_SUBMIT);
            accept_submission(ipc_get_u64(&r));
        }
        expect(fd, rows[i].reply);
    }
    close(fd);
}

/* §5 (1): who knows the parameter is not judged by what the message says. */
static void test_parameter_before_field(void **state)
{
    (void)state;
    int fd = greeted(MX, "127.0.0.1");
    ask(fd, "MAIL FROM:<a@elsewhere.example>\r\n", "250 ");
    say(fd, "RCPT TO:<ann@example.org> " RRVS "\r\n");
    struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
    answer_owner(ipc_get_u64(&r), IPC_YES, TIME);
    expect(fd, "250 ");
    ask(fd, "DATA\r\n", "354 ");
    say(fd, FIELD " ann@example.org; Thu, 3 Apr 2003 23:01:00 +0000\r\n\r\nx\r\n.\r\n");
    r = receive(&queue, IPC_SUBMIT);
    accept_submission(ipc_get_u64(&r));
    expect(fd, "250 2.0.0");
    close(fd);
}

/* The keeper goes, or the client, while the end of the data waits. */
static void test_interrupted(void **state)
{
    (void)state;
    static const char data[] = FIELD " ann@example.org; " DATE "\r\n\r\nx\r\n.\r\n";
    for (int i = 0; i < 3; i++) {
        int fd = greeted(MX, "127.0.0.1");
        ask(fd, "MAIL FROM:<a@elsewhere.example>\r\n", "250 ");
        say(fd, "RCPT TO:<ann@example.org>\r\n");
        if (i == 0) {
            struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
            answer(ipc_get_u64(&r), IPC_YES);
        }
        expect(fd, "250 ");
        ask(fd, "DATA\r\n", "354 ");
        if (i == 1) { /* no keeper is there at all */
            detach(&keeper);
            run(50);
        }
        say(fd, data);
        if (i != 1) {
            struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
            uint64_t number = ipc_get_u64(&r);
            if (i == 0) {
                detach(&keeper);
            } else {
                close(fd); /* all of the message came: it is taken all the same */
                answer_owner(number, IPC_YES, 1);
                r = receive(&queue, IPC_SUBMIT);
                accept_submission(ipc_get_u64(&r));
                expect_in_all(0);
                continue;
            }
        }
        expect(fd, "451 4.3.0");
        attach(&keeper);
        ask(fd, "NOOP\r\n", "250 ");
        close(fd);
        expect_in_all(0);
    }
}

/* A message that went to a file already, and is refused at its end. */
static void test_large(void **state)
{
    (void)state;
    static char text[100000];
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = i % 64 == 63 ? '\n' : i % 64 == 62 ? '\r' : 'x';
    for (int i = 0; i < 2; i++) {
        int fd = greeted(MX, "127.0.0.1");
        ask(fd, "MAIL FROM:<a@elsewhere.example>\r\n", "250 ");
        say(fd, "RCPT TO:<ann@example.org>\r\n");
        if (i == 0) {
            struct ipc_reader r = receive(&keeper, IPC_MAILBOX_ASK);
            answer(ipc_get_u64(&r), IPC_YES);
        }
        expect(fd, "250 ");
        ask(fd, "DATA\r\n", "354 ");
        say(fd,
            i == 0 ? FIELD " ann@example.org; " DATE "\r\n\r\n" : "Solicitation: org.example:ADV\r\n\r\n");
        say(fd, text);
        struct ipc_reader r = receive(&queue, IPC_BODY_OPEN);
        uint64_t id = ipc_get_u64(&r);
        char path[100];
        snprintf(path, sizeof path, "%s/body", folder);
        int file = io_fs_open(path, IO_FS_WRITE | IO_FS_CREATE, 0600);
        struct vr_buf b;
        vr_buf_init(&b, 64);
        ipc_put_u64(&b, id);
        ipc_put_u32(&b, 0);
        io_channel_send(queue.channel, IPC_BODY_FILE, vr_buf_str(&b), file);
        io_channel_flush(queue.channel);
        vr_buf_fini(&b);
        say(fd, "\r\n.\r\n");
        if (i == 0) {
            r = receive(&keeper, IPC_MAILBOX_ASK);
            answer_owner(ipc_get_u64(&r), IPC_YES, TIME + 1);
        }
        expect(fd, i == 0 ? "550 5.7.17" : "550 5.7.1 ");
        r = receive(&queue, IPC_BODY_DROP);
        assert_true(ipc_get_u64(&r) == id);
        ask(fd, "NOOP\r\n", "250 ");
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate_setup_teardown(test_parameter, start, stop, more),
        cmocka_unit_test_setup_teardown(test_known_mailbox_is_asked, start, stop),
        cmocka_unit_test_setup_teardown(test_header_field, start, stop),
        cmocka_unit_test_setup_teardown(test_parameter_before_field, start, stop),
        cmocka_unit_test_setup_teardown(test_interrupted, start, stop),
        cmocka_unit_test_prestate_setup_teardown(
            test_large, start, stop, "no_soliciting = \"org.example:ADV\"\nqueue { inline_body = 32K }\n"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
