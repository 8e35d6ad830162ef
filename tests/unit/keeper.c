/* keeper.c - the keeper as a process of its own, driven over channels as the supervisor and two receivers would. */
#include "process_testing.h"

#include "keeper/keeper.h"

#include "io/fs.h"
#include "keeper/accounts.h"
#include "keeper/throttle.h"

#define WAIT_MS 20000

static const uint8_t salts[ACCOUNTS_SALTS] = "0123456789abcdefFEDCBA9876543210 another 16 !!!";

/* ---- a keeper and its peers ------------------------------------------------------------------------------------- */

struct side { /* one receiver's end */
    struct io_channel *channel;
    uint16_t type;
    struct vr_buf payload;
    bool got, closed;
};

static char path[96];
static struct side sides[2];

static void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct side *s = arg;
    assert_int_equal(fd, -1);
    assert_false(s->got); /* the tests ask one thing at a time */
    s->type = type;
    vr_buf_reset(&s->payload);
    vr_buf_add(&s->payload, payload);
    s->got = true;
    io_stop(io);
}

static void on_closed(void *arg, int status)
{
    (void)status;
    ((struct side *)arg)->closed = true;
    io_stop(io);
}

static void accounts_make(void)
{
    char error[256];
    struct accounts *a = accounts_open(path, true, error);
    assert_non_null(a);
    assert_int_equal(accounts_add(a, VR_STR("ann@example.org"), VR_STR("pencil"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_add_send_as(a, VR_STR("ann@example.org"), VR_STR("office@example.org")),
                     ACCOUNTS_OK);
    accounts_close(a);
}

static void accounts_change(enum accounts_result (*change)(struct accounts *, struct vr_str))
{
    char error[256];
    struct accounts *a = accounts_open(path, false, error);
    assert_non_null(a);
    assert_int_equal(change(a, VR_STR("ann@example.org")), ACCOUNTS_OK);
    accounts_close(a);
}

static void config_make(void)
{
    char aliases[96], text[512];
    snprintf(aliases, sizeof aliases, "%s/aliases", folder);
    assert_int_equal(io_fs_replace_file(aliases, VR_STR("sales: ann\n"), 0600), 0);
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.example.org\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
                     "domain \"example.org\" { deliver = \"maildir:%s/{local}\"\n mailboxes = accounts\n"
                     " delimiter = \"+\"\n aliases = \"%s\" }\n",
                     folder, folder, folder, folder, aliases);
    config_from(text, (size_t)n);
}

static int keeper_start(void **state)
{
    (void)state;
    assert_true(folder_new(folder));
    snprintf(path, sizeof path, "%s/%s", folder, KEEPER_DATABASE);
    config_make();
    static const struct io_channel_ops side_ops = {on_frame, on_closed};
    io = io_new(1);
    process_spawn((struct process_arguments){.ops = &keeper_ops, .config = config, .slot = 7});
    for (uint32_t i = 0; i < 2; i++) {
        sides[i] = (struct side){0};
        vr_buf_init(&sides[i].payload, 65536);
        sides[i].channel = process_attach(IPC_RECEIVER, 20 + i, 0, &side_ops, &sides[i]);
    }
    run(WAIT_MS);
    assert_true(ready);
    return 0;
}

static int keeper_stop(void **state)
{
    (void)state;
    process_drain(1000);
    supervisor_close();
    for (size_t i = 0; i < 2; i++) {
        io_channel_close(sides[i].channel);
        vr_buf_fini(&sides[i].payload);
    }
    io_free(io);
    config_free(config);
    folder_remove(folder);
    return 0;
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static struct ipc_reader receive(struct side *s, enum ipc_type type)
{
    int64_t start = io_monotonic_ms(io);
    while (!s->got && !timed_out && io_monotonic_ms(io) - start < WAIT_MS)
        run(WAIT_MS);
    timed_out = false;
    assert_true(s->got);
    assert_int_equal(s->type, type);
    s->got = false;
    return ipc_reader(vr_buf_str(&s->payload));
}

static void start_from(struct side *s, const struct sasl_start *start)
{
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    ipc_sasl_start_pack(&b, start);
    io_channel_send(s->channel, IPC_SASL_START, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static void sasl_start_from(struct side *s, uint64_t id, const char *mechanism, bool has_initial,
                            struct vr_str initial, const char *client)
{
    start_from(s, &(struct sasl_start){.conversation = id,
                                       .mechanism = vr_str_from(mechanism),
                                       .has_initial = has_initial,
                                       .initial = initial,
                                       .client = vr_str_from(client)});
}

static void sasl_start(uint64_t id, const char *mechanism, bool has_initial, struct vr_str initial)
{
    sasl_start_from(&sides[0], id, mechanism, has_initial, initial, "192.0.2.1");
}

static void sasl_step(struct side *s, uint64_t id, struct vr_str response)
{
    struct vr_buf b;
    vr_buf_init(&b, 4096);
    ipc_put_u64(&b, id);
    ipc_put_str(&b, response);
    io_channel_send(s->channel, IPC_SASL_STEP, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static struct vr_str expect_challenge(struct side *s, uint64_t id)
{
    struct ipc_reader r = receive(s, IPC_SASL_CHALLENGE);
    assert_int_equal(ipc_get_u64(&r), id);
    struct vr_str challenge = ipc_get_str(&r);
    assert_true(ipc_done(&r));
    return challenge;
}

static void expect_done(struct side *s, uint64_t id, enum ipc_sasl verdict, const char *user)
{
    struct ipc_reader r = receive(s, IPC_SASL_DONE);
    assert_int_equal(ipc_get_u64(&r), id);
    assert_int_equal(ipc_get_u8(&r), verdict);
    struct vr_str name = ipc_get_str(&r);
    assert_true(vr_str_equal(name, vr_str_from(user)));
    assert_true(ipc_done(&r));
}

static int64_t owner_since; /* in the last answer */

static enum ipc_answer expect_answer(uint64_t ask, uint32_t *uid)
{
    struct ipc_reader r = receive(&sides[0], IPC_ANSWER);
    assert_int_equal(ipc_get_u64(&r), ask);
    enum ipc_answer a = ipc_get_u8(&r);
    *uid = ipc_get_u32(&r);
    ipc_get_u32(&r);
    ipc_get_str(&r);
    owner_since = (int64_t)ipc_get_u64(&r);
    assert_true(ipc_done(&r));
    return a;
}

static enum ipc_answer mailbox(uint8_t kind, const char *address)
{
    uint32_t uid;
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    ipc_put_u64(&b, 5);
    ipc_put_u8(&b, kind);
    ipc_put_str(&b, vr_str_from(address));
    io_channel_send(sides[0].channel, IPC_MAILBOX_ASK, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
    enum ipc_answer a = expect_answer(5, &uid);
    assert_int_equal(uid, 0); /* also of root, the one system user that every machine has */
    return a;
}

static enum ipc_answer sender(const char *user, const char *address)
{
    uint32_t uid;
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    ipc_put_u64(&b, 6);
    ipc_put_str(&b, vr_str_from(user));
    ipc_put_str(&b, vr_str_from(address));
    io_channel_send(sides[0].channel, IPC_SENDER_ASK, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
    return expect_answer(6, &uid);
}

/* ---- log-ins ------------------------------------------------------------------------------------------------------- */

static void test_plain(void **state)
{
    (void)state;
    accounts_make();
    sasl_start(1, "PLAIN", true, VR_STR("\0Ann@Example.org\0pencil"));
    expect_done(&sides[0], 1, IPC_SASL_OK, "ann@example.org");
    sasl_start(2, "PLAIN", true, VR_STR("\0ann@example.org\0pencils"));
    expect_done(&sides[0], 2, IPC_SASL_BAD, "");
    sasl_start(3, "PLAIN", true, VR_STR("\0bob@example.org\0pencil"));
    expect_done(&sides[0], 3, IPC_SASL_BAD, "");
    sasl_start(4, "PLAIN", true, VR_STR("no separators"));
    expect_done(&sides[0], 4, IPC_SASL_MALFORMED, "");
    sasl_start(5, "GSSAPI", false, VR_STR(""));
    expect_done(&sides[0], 5, IPC_SASL_UNKNOWN_MECHANISM, "");
    sasl_start(6, "PLAIN", false, VR_STR(""));
    assert_int_equal(expect_challenge(&sides[0], 6).n, 0);
    sasl_step(&sides[0], 6, VR_STR("\0ann@example.org\0pencil"));
    expect_done(&sides[0], 6, IPC_SASL_OK, "ann@example.org");
    sasl_step(&sides[0], 6, VR_STR("x")); /* over already */
    expect_done(&sides[0], 6, IPC_SASL_TEMPORARY, "");
}

static void test_login(void **state)
{
    (void)state;
    accounts_make();
    static const struct {
        const char *password;
        enum ipc_sasl verdict;
        const char *user;
    } cases[] = {{"pencil", IPC_SASL_OK, "ann@example.org"}, {"wrong", IPC_SASL_BAD, ""}};
    for (size_t i = 0; i < 2; i++) {
        sasl_start(1, "login", false, VR_STR(""));
        expect_challenge(&sides[0], 1);
        sasl_step(&sides[0], 1, VR_STR("ann@example.org"));
        expect_challenge(&sides[0], 1);
        sasl_step(&sides[0], 1, vr_str_from(cases[i].password));
        expect_done(&sides[0], 1, cases[i].verdict, cases[i].user);
    }
}

/* Goes through SCRAM up to the answer to the client's final message; true: the server has proved itself too. */
static bool scram(const char *user, const char *password)
{
    struct sasl_client_config with = {
        .user = vr_str_from(user), .password = vr_str_from(password), .nonce = "nonce of the test"};
    struct vr_str out;
    struct sasl_client *c = sasl_client_new(VR_STR("SCRAM-SHA-256"), &with);
    assert_non_null(c);
    assert_true(sasl_client_initial(c, &out));
    sasl_start(9, "SCRAM-SHA-256", true, out);
    assert_int_equal(sasl_client_step(c, expect_challenge(&sides[0], 9), &out), VR_OK);
    sasl_step(&sides[0], 9, out);
    while (!sides[0].got && !timed_out)
        run(WAIT_MS);
    bool good = sides[0].type == IPC_SASL_CHALLENGE;
    if (good) {
        assert_int_equal(sasl_client_step(c, expect_challenge(&sides[0], 9), &out), VR_OK);
        assert_true(sasl_client_complete(c));
        sasl_step(&sides[0], 9, out);
        expect_done(&sides[0], 9, IPC_SASL_OK, "ann@example.org");
    } else {
        expect_done(&sides[0], 9, IPC_SASL_BAD, "");
    }
    sasl_client_free(c);
    return good;
}

static void test_scram(void **state)
{
    (void)state;
    accounts_make();
    assert_true(scram("ann@example.org", "pencil"));
    assert_false(scram("ann@example.org", "pen"));
    assert_false(scram("nobody@example.org", "pencil"));
}

static void scram_salt(const char *first_message, char salt[64])
{
    sasl_start(3, "SCRAM-SHA-256", true, vr_str_from(first_message));
    struct vr_str challenge = expect_challenge(&sides[0], 3), part = {0};
    salt[0] = '\0';
    while (vr_str_split(&challenge, ',', &part))
        if (vr_str_starts(part, VR_STR("s=")))
            snprintf(salt, 64, "%.*s", VR_STR_ARG(part));
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, 3);
    io_channel_send(sides[0].channel, IPC_SASL_ABORT, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static void test_unknown_users_look_alike(void **state)
{
    (void)state;
    accounts_make();
    char known[64], unknown[64], again[64];
    scram_salt("n,,n=ann@example.org,r=abcdefghijklmnop", known);
    scram_salt("n,,n=bob@example.org,r=abcdefghijklmnop", unknown);
    scram_salt("n,,n=bob@example.org,r=qrstuvwxyzabcdef", again);
    assert_string_equal(unknown, again);
    assert_string_not_equal(unknown, known);
    assert_int_equal(strlen(unknown), strlen(known));
    /* two forms of one name have one salt, whether somebody has it or not */
    scram_salt("n,,n=ANN@Example.org,r=qrstuvwxyzabcdef", again);
    assert_string_equal(again, known);
    scram_salt("n,,n=BOB@Example.org,r=qrstuvwxyzabcdef", again);
    assert_string_equal(again, unknown);
    scram_salt("n,,n=bob@xn--bcher-kva.example,r=qrstuvwxyzabcdef", unknown);
    scram_salt("n,,n=bob@b\xc3\xbc"
               "cher.example,r=qrstuvwxyzabcdef",
               again);
    assert_string_equal(again, unknown);
}

/* Keys that an account has not look like no account: those of SCRAM-SHA-1 before its password was set anew, those of CRAM-MD5. */
static void test_each_mechanism(void **state)
{
    (void)state;
    static const struct {
        const char *mechanism, *user, *password;
        const char *identity;
        enum ipc_sasl verdict;
    } rows[] = {
        {"SCRAM-SHA-1", "ann@example.org", "pencil", "", IPC_SASL_OK},
        {"SCRAM-SHA-1", "ann@example.org", "pencils", "", IPC_SASL_BAD},
        {"SCRAM-SHA-1", "bob@example.org", "pencil", "", IPC_SASL_BAD},
        {"SCRAM-SHA-256-PLUS", "ann@example.org", "pencil", "", IPC_SASL_OK},
        {"SCRAM-SHA-1-PLUS", "ann@example.org", "pencil", "", IPC_SASL_OK},
        {"SCRAM-SHA-1-PLUS", "ann@example.org", "pencils", "", IPC_SASL_BAD},
        {"CRAM-MD5", "ann@example.org", "pencil", "", IPC_SASL_BAD}, /* no keys of it are kept … */
        {"CRAM-MD5", "carl@example.org", "pencil", "", IPC_SASL_OK}, /* … but for those who had them made */
        {"CRAM-MD5", "carl@example.org", "pencils", "", IPC_SASL_BAD},
        {"CRAM-MD5", "bob@example.org", "pencil", "", IPC_SASL_BAD},
        {"EXTERNAL", "", "", "ann@example.org", IPC_SASL_OK},
        {"EXTERNAL", "ann@example.org", "", "carl@example.org\nann@example.org", IPC_SASL_OK},
        {"EXTERNAL", "carl@example.org", "", "ann@example.org", IPC_SASL_BAD},
        {"EXTERNAL", "", "", "bob@example.org", IPC_SASL_BAD},
        {"EXTERNAL", "", "", "", IPC_SASL_BAD},
        {"PLAIN", "ann@example.org", "pencil", "", IPC_SASL_OK},
    };
    char error[256];
    accounts_make();
    struct accounts *a = accounts_open(path, false, error);
    accounts_keep_cram(a, true);
    assert_int_equal(accounts_add(a, VR_STR("carl@example.org"), VR_STR("pencil"), salts), ACCOUNTS_OK);
    accounts_close(a);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sasl_client_config with = {.user = vr_str_from(rows[i].user),
                                          .password = vr_str_from(rows[i].password),
                                          .binding = {.tls_exporter = VR_STR("exported")},
                                          .nonce = "nonce of the test"};
        const char *user = rows[i].verdict != IPC_SASL_OK ? ""
                           : rows[i].user[0] != '\0'      ? rows[i].user
                                                          : rows[i].identity;
        struct sasl_client *c = sasl_client_new(vr_str_from(rows[i].mechanism), &with);
        struct vr_str out = {NULL, 0};
        assert_non_null(c);
        struct sasl_start start = {.conversation = 100 + i,
                                   .mechanism = vr_str_from(rows[i].mechanism),
                                   .has_initial = sasl_client_initial(c, &out),
                                   .client = VR_STR("unix"), /* never throttled */
                                   .plus_offered = true,
                                   .tls_exporter = VR_STR("exported"),
                                   .identity = vr_str_from(rows[i].identity)};
        start.initial = out;
        start_from(&sides[0], &start);
        for (;;) {
            while (!sides[0].got && !timed_out)
                run(WAIT_MS);
            if (sides[0].type != IPC_SASL_CHALLENGE)
                break;
            assert_int_equal(sasl_client_step(c, expect_challenge(&sides[0], 100 + i), &out), VR_OK);
            sasl_step(&sides[0], 100 + i, out);
        }
        expect_done(&sides[0], 100 + i, rows[i].verdict, user);
        sasl_client_free(c);
    }
}

/* Who was shown -PLUS, and says that he was not, was lied to. Nobody knows tokens here. */
static void test_lists_and_tokens(void **state)
{
    (void)state;
    accounts_make();
    struct sasl_start start = {.conversation = 1,
                               .mechanism = VR_STR("SCRAM-SHA-256"),
                               .has_initial = true,
                               .initial = VR_STR("y,,n=ann@example.org,r=abcdefghijklmnop"),
                               .client = VR_STR("unix"),
                               .plus_offered = true};
    start_from(&sides[0], &start);
    expect_done(&sides[0], 1, IPC_SASL_BAD, "");
    start.plus_offered = false;
    start_from(&sides[0], &start);
    expect_challenge(&sides[0], 1);
    start = (struct sasl_start){.conversation = 2,
                                .mechanism = VR_STR("OAUTHBEARER"),
                                .has_initial = true,
                                .initial = VR_STR("n,a=ann@example.org,\1auth=Bearer t\1\1"),
                                .client = VR_STR("unix")};
    start_from(&sides[0], &start);
    struct vr_str challenge = expect_challenge(&sides[0], 2);
    assert_true(vr_str_starts(challenge, VR_STR("{\"status\":\"invalid_token\"")));
    sasl_step(&sides[0], 2, VR_STR("\1"));
    expect_done(&sides[0], 2, IPC_SASL_BAD, "");
}

static void test_data_base_that_appears_and_changes(void **state)
{
    (void)state;
    sasl_start(1, "PLAIN", true, VR_STR("\0ann@example.org\0pencil"));
    expect_done(&sides[0], 1, IPC_SASL_BAD, "");
    assert_int_equal(mailbox(0, "ann@example.org"), IPC_NO);
    accounts_make();
    assert_int_equal(mailbox(0, "ann@example.org"), IPC_YES);
    sasl_start(1, "PLAIN", true, VR_STR("\0ann@example.org\0pencil"));
    expect_done(&sides[0], 1, IPC_SASL_OK, "ann@example.org");
    char error[256];
    struct accounts *a = accounts_open(path, true, error);
    assert_non_null(a);
    assert_int_equal(accounts_set_password(a, VR_STR("ann@example.org"), VR_STR("crayon"), salts),
                     ACCOUNTS_OK);
    sasl_start(1, "PLAIN", true, VR_STR("\0ann@example.org\0pencil"));
    expect_done(&sides[0], 1, IPC_SASL_BAD, "");
    sasl_start(1, "PLAIN", true, VR_STR("\0ann@example.org\0crayon"));
    expect_done(&sides[0], 1, IPC_SASL_OK, "ann@example.org");
    assert_true(scram("ann@example.org", "crayon"));
    assert_int_equal(accounts_remove(a, VR_STR("ann@example.org")), ACCOUNTS_OK);
    accounts_close(a);
    assert_int_equal(mailbox(0, "ann@example.org"), IPC_NO);
    /* put another file in its place: neither yes nor no */
    assert_int_equal(
        io_fs_replace_file(path, VR_STR("a text, long enough to be looked at as a data base"), 0600), 0);
    assert_int_equal(mailbox(0, "ann@example.org"), IPC_LATER);
    sasl_start(1, "PLAIN", true, VR_STR("\0ann@example.org\0crayon"));
    expect_done(&sides[0], 1, IPC_SASL_TEMPORARY, "");
}

static void test_failures_slow_down_only_their_client(void **state)
{
    (void)state;
    accounts_make();
    for (uint64_t i = 0; i < THROTTLE_FREE_FAILURES; i++) {
        sasl_start(i, "PLAIN", true, VR_STR("\0ann@example.org\0guess"));
        expect_done(&sides[0], i, IPC_SASL_BAD, "");
    }
    int64_t start = io_monotonic_ms(io);
    sasl_start(50, "PLAIN", true, VR_STR("\0ann@example.org\0pencil"));
    sasl_start_from(&sides[1], 50, "PLAIN", true, VR_STR("\0ann@example.org\0pencil"), "192.0.2.2");
    expect_done(&sides[1], 50, IPC_SASL_OK, "ann@example.org");
    assert_false(sides[0].got); /* still waiting, while the other client was served */
    expect_done(&sides[0], 50, IPC_SASL_OK, "ann@example.org");
    assert_true(io_monotonic_ms(io) - start >= THROTTLE_STEP_MS);
    /* the success is forgiveness */
    start = io_monotonic_ms(io);
    assert_true(scram("ann@example.org", "pencil"));
    assert_true(io_monotonic_ms(io) - start < THROTTLE_STEP_MS);
}

static void test_same_numbers_of_two_receivers_and_a_loss(void **state)
{
    (void)state;
    accounts_make();
    sasl_start_from(&sides[0], 1, "LOGIN", false, VR_STR(""), "unix");
    expect_challenge(&sides[0], 1);
    sasl_start_from(&sides[1], 1, "LOGIN", false, VR_STR(""), "unix");
    expect_challenge(&sides[1], 1);
    sasl_step(&sides[0], 1, VR_STR("ann@example.org"));
    expect_challenge(&sides[0], 1);
    sasl_step(&sides[0], 1, VR_STR("pencil")); /* its verification begins, and nobody will hear the end */
    io_channel_flush(sides[0].channel);
    io_channel_close(sides[0].channel);
    sides[0].channel = NULL;
    sasl_step(&sides[1], 1, VR_STR("ann@example.org"));
    expect_challenge(&sides[1], 1);
    sasl_step(&sides[1], 1, VR_STR("pencil"));
    expect_done(&sides[1], 1, IPC_SASL_OK, "ann@example.org");
}

/* ---- mailboxes and senders ------------------------------------------------------------------------------------------- */

static void test_mailboxes(void **state)
{
    (void)state;
    accounts_make();
    assert_int_equal(mailbox(0, "ann@example.org"), IPC_YES);
    assert_int_equal(owner_since, ACCOUNTS_OWNER_ALWAYS);
    accounts_change(accounts_remove);
    assert_int_equal(mailbox(0, "ann@example.org"), IPC_NO);
    assert_int_equal(owner_since, ACCOUNTS_OWNER_UNKNOWN);
    accounts_make();
    assert_int_equal(mailbox(0, "ann@example.org"), IPC_YES);
    assert_in_range(owner_since, 1700000000, 20000000000); /* somebody had it before */
    accounts_change(accounts_same_owner);
    assert_int_equal(mailbox(0, "ann@example.org"), IPC_YES);
    assert_int_equal(owner_since, ACCOUNTS_OWNER_ALWAYS);
    assert_int_equal(mailbox(0, "root@example.org"), IPC_NO);
    assert_int_equal(mailbox(1, "root@example.org"), IPC_YES);
    assert_int_equal(mailbox(1, "no-such-user-here@example.org"), IPC_NO);
    assert_int_equal(mailbox(1, "../root@example.org"), IPC_NO);
    assert_int_equal(mailbox(1, "@example.org"), IPC_NO);
}

static void test_senders(void **state)
{
    (void)state;
    accounts_make();
    assert_int_equal(sender("ann@example.org", "ann@example.org"), IPC_YES);
    assert_int_equal(sender("ann@example.org", "Ann@EXAMPLE.ORG"), IPC_YES);
    assert_int_equal(sender("ann@example.org", "office@example.org"), IPC_YES); /* given to the account */
    assert_int_equal(sender("ann@example.org", "ann+lists@example.org"),
                     IPC_YES);                                                 /* its own, with a detail */
    assert_int_equal(sender("ann@example.org", "sales@example.org"), IPC_YES); /* an alias that leads to it */
    assert_int_equal(sender("ann@example.org", "bob@example.org"), IPC_NO);
    assert_int_equal(sender("ann@example.org", "ann@example.net"), IPC_NO);
    assert_int_equal(sender("bob@example.org", "sales@example.org"), IPC_NO);
    assert_int_equal(sender("ann@example.org", ""), IPC_NO);
}

/* ---- the table of failures -------------------------------------------------------------------------------------------- */

static void test_throttle(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(salts);
    struct vr_str client = VR_STR("192.0.2.1");
    for (unsigned i = 1; i <= THROTTLE_FREE_FAILURES; i++) {
        assert_int_equal(throttle_delay(t, client, 0), 0);
        assert_int_equal(throttle_result(t, client, false, 0), i);
    }
    assert_int_equal(throttle_delay(t, client, 0), 1000);
    assert_int_equal(throttle_delay(t, client, 0), 2000); /* behind the one before */
    assert_int_equal(throttle_delay(t, VR_STR("192.0.2.2"), 0), 0);
    for (unsigned i = 0; i < 30; i++)
        throttle_result(t, client, false, 2000);
    assert_int_equal(throttle_delay(t, client, 2000), THROTTLE_MOST_MS);
    int64_t delay = 0;
    for (unsigned i = 0; i < 10 && delay >= 0; i++)
        delay = throttle_delay(t, client, 2000);
    assert_int_equal(delay, -1); /* the line is full */
    assert_int_equal(throttle_delay(t, client, 2000 + THROTTLE_FORGET_MS + 1), 0);
    throttle_result(t, client, true, 0);
    assert_int_equal(throttle_delay(t, client, 2000), 0);
    /* neighbours in a /64 are one client */
    for (unsigned i = 0; i < THROTTLE_FREE_FAILURES; i++)
        throttle_result(t, VR_STR("2001:db8::1"), false, 0);
    assert_int_equal(throttle_delay(t, VR_STR("2001:db8::ffff"), 0), 1000);
    assert_int_equal(throttle_delay(t, VR_STR("2001:db8:0:1::1"), 0), 0);
    for (unsigned i = 0; i < 2 * THROTTLE_FREE_FAILURES; i++)
        assert_int_equal(throttle_result(t, VR_STR("unix"), false, 0), 0);
    assert_int_equal(throttle_delay(t, VR_STR("unix"), 0), 0);
    throttle_free(t);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, keeper_start, keeper_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_plain),
        EACH(test_login),
        EACH(test_scram),
        EACH(test_unknown_users_look_alike),
        EACH(test_each_mechanism),
        EACH(test_lists_and_tokens),
        EACH(test_data_base_that_appears_and_changes),
        EACH(test_failures_slow_down_only_their_client),
        EACH(test_same_numbers_of_two_receivers_and_a_loss),
        EACH(test_mailboxes),
        EACH(test_senders),
        cmocka_unit_test(test_throttle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
