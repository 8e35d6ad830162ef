/* keeper_sources.c - the keeper with accounts from elsewhere: a file, a Dovecot and a pam process that the test plays, in every mood. */
#include "process_testing.h"

#include "keeper/keeper.h"

#include "io/fs.h"
#include "io/stream.h"
#include "keeper/accounts.h"
#include "keeper/pending.h"
#include "keeper/throttle.h"

#define WAIT_MS 20000

/* of "pencil" */
#define YESCRYPT "$y$j9T$abcdefghijkl$9y5j5grwOlXMf8MSlx8J1jTfrXITFHDFoef0FYgXaW6"
#define SHA512                                                                                               \
    "$6$abcdefghijkl$st1EEqor67KsYLEhfSlVQv4yJS7/4YRnWEmp1G49VH2jIxJcqAsajzhf7vFZuQL39iUJ6Y1UtiqDfQ8DSw.jI1"

static char users[96], auth_path[96], userdb_path[96];
static struct io_channel *receiver, *pam;

/* ---- the receiver's end ------------------------------------------------------------------------------------------ */

static struct {
    uint64_t number;
    uint8_t verdict;
    char user[128];
} answers[256];
static unsigned count, wanted;

static void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg, (void)fd;
    struct ipc_reader r = ipc_reader(payload);
    assert_true(type == IPC_SASL_DONE || type == IPC_ANSWER);
    answers[count].number = ipc_get_u64(&r);
    answers[count].verdict = ipc_get_u8(&r);
    struct vr_str user = type == IPC_SASL_DONE ? ipc_get_str(&r) : VR_STR("");
    snprintf(answers[count].user, sizeof answers[count].user, "%.*s", VR_STR_ARG(user));
    if (++count >= wanted)
        io_stop(io);
}

static void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
    io_stop(io);
}

static void wait_for(unsigned n)
{
    int64_t begin = io_monotonic_ms(io);
    wanted = n;
    while (count < n && io_monotonic_ms(io) - begin < WAIT_MS)
        run(WAIT_MS);
    assert_int_equal(count, n);
}

static void send_login(uint64_t number, const char *user, const char *password, const char *client)
{
    struct vr_buf initial, b;
    vr_buf_init(&initial, 2048);
    vr_buf_init(&b, 4096);
    vr_buf_add_byte(&initial, '\0');
    vr_buf_add(&initial, vr_str_from(user));
    vr_buf_add_byte(&initial, '\0');
    vr_buf_add(&initial, vr_str_from(password));
    ipc_sasl_start_pack(&b, &(struct sasl_start){.conversation = number,
                                                 .mechanism = VR_STR("PLAIN"),
                                                 .has_initial = true,
                                                 .initial = vr_buf_str(&initial),
                                                 .client = vr_str_from(client)});
    io_channel_send(receiver, IPC_SASL_START, vr_buf_str(&b), -1);
    vr_buf_fini(&initial);
    vr_buf_fini(&b);
}

static enum ipc_sasl login(const char *user, const char *password)
{
    static uint64_t number = 1000;
    count = 0;
    send_login(++number, user, password, "unix");
    wait_for(1);
    assert_true(answers[0].number == number);
    return answers[0].verdict;
}

static void send_mailbox(uint64_t number, const char *address)
{
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    ipc_put_u64(&b, number);
    ipc_put_u8(&b, 0);
    ipc_put_str(&b, vr_str_from(address));
    io_channel_send(receiver, IPC_MAILBOX_ASK, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static enum ipc_answer mailbox(const char *address)
{
    count = 0;
    send_mailbox(5, address);
    wait_for(1);
    return answers[0].verdict;
}

static enum ipc_answer sender(const char *user, const char *address)
{
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    count = 0;
    ipc_put_u64(&b, 6);
    ipc_put_str(&b, vr_str_from(user));
    ipc_put_str(&b, vr_str_from(address));
    io_channel_send(receiver, IPC_SENDER_ASK, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
    wait_for(1);
    return answers[0].verdict;
}

/* ---- a Dovecot that does what it is told -------------------------------------------------------------------------- */

enum mood {
    KIND,      /* ann's password is pencil, and she has a mailbox */
    SILENT,    /* greets, and answers nothing */
    MUTE,      /* does not even greet */
    STRANGER,  /* speaks another version */
    BARE,      /* does not offer PLAIN */
    TEMPORARY, /* says that it cannot say */
    DEMANDING, /* wants more than PLAIN has */
    HANGS_UP,  /* closes the connection at the first question, and is kind on the next connection */
    ALWAYS_HANGS_UP,
    BABBLING, /* a line without an end */
    CONFUSED  /* answers questions that nobody asked, twice, and in pieces */
};
static enum mood mood;
static unsigned connections, questions;
static char last_question[512];

struct dove {
    struct io_stream *stream;
    bool master;
    struct vr_buf in;
    struct dove *next;
};
static struct dove *doves;
static struct io_listener *listeners[2];

static void say(struct dove *d, const char *text)
{
    io_stream_write(d->stream, vr_str_from(text));
}

static void dove_close(struct dove *d)
{
    for (struct dove **at = &doves; *at != NULL; at = &(*at)->next)
        if (*at == d) {
            *at = d->next;
            break;
        }
    io_stream_close(d->stream);
    vr_buf_fini(&d->in);
    free(d);
}

/* True: the connection is closed. */
static bool dove_question(struct dove *d, struct vr_str line)
{
    char text[512], id[16] = "";
    struct vr_str rest = line, field;
    vr_str_split(&rest, '\t', &field);
    vr_str_split(&rest, '\t', &field);
    snprintf(id, sizeof id, "%.*s", VR_STR_ARG(field));
    snprintf(last_question, sizeof last_question, "%.*s", VR_STR_ARG(line));
    questions++;
    bool ann = d->master ? vr_str_find_str(line, VR_STR("\tann@d.test\t")) != VR_NPOS
                         : vr_str_find_str(line, VR_STR("resp=AGFubkBkLnRlc3QAcGVuY2ls")) != VR_NPOS;
    switch (mood) {
    case SILENT:
        return false;
    case HANGS_UP:
        mood = KIND;
        dove_close(d);
        return true;
    case ALWAYS_HANGS_UP:
        dove_close(d);
        return true;
    case TEMPORARY:
        snprintf(text, sizeof text, "FAIL\t%s\tuser=ann@d.test\tcode=temp_fail\ttemp\n", id);
        break;
    case DEMANDING:
        snprintf(text, sizeof text, "CONT\t%s\tAAAA\n", id);
        break;
    case BABBLING:
        for (int i = 0; i < 700; i++)
            say(d, "a line that does not end, ");
        return false;
    case CONFUSED:
        say(d, "OK\t77\tuser=eve@d.test\n");
        say(d, "FAI");
        snprintf(text, sizeof text, "L\t%s\tuser=ann@d.test\treason=no \001t good\nOK\t%s\tuser=eve@d.test\n",
                 id, id);
        break;
    default:
        if (d->master)
            snprintf(text, sizeof text, ann ? "USER\t%s\tann@d.test\tuid=1\n" : "NOTFOUND\t%s\n", id);
        else
            snprintf(text, sizeof text, ann ? "OK\t%s\tuser=ann@d.test\n" : "FAIL\t%s\tuser=x\n", id);
    }
    say(d, text);
    return false;
}

static void dove_data(void *arg, struct vr_str bytes)
{
    struct dove *d = arg;
    vr_buf_add(&d->in, bytes);
    for (;;) {
        struct vr_str text = vr_buf_str(&d->in), line;
        size_t end = vr_str_find(text, '\n');
        if (end == VR_NPOS)
            return;
        line = vr_str_sub(text, 0, end);
        if ((vr_str_starts(line, VR_STR("AUTH\t")) || vr_str_starts(line, VR_STR("USER\t"))) &&
            dove_question(d, line))
            return;
        vr_buf_consume(&d->in, end + 1);
    }
}

static void dove_ended(void *arg, int status)
{
    (void)status;
    dove_close(arg);
}

static void dove_accept(void *arg, struct io_stream *s)
{
    static const struct io_stream_ops ops = {.data = dove_data, .ended = dove_ended};
    struct dove *d = calloc(1, sizeof *d);
    assert_non_null(d);
    connections++;
    *d = (struct dove){.stream = s, .master = arg != NULL, .next = doves};
    vr_buf_init(&d->in, 65536);
    doves = d;
    io_stream_set(s, &ops, d);
    if (mood == MUTE)
        return;
    say(d, mood == STRANGER ? "VERSION\t2\t0\n" : "VERSION\t1\t2\n");
    if (!d->master)
        say(d, mood == BARE ? "MECH\tCRAM-MD5\tdictionary\n"
                            : "MECH\tLOGIN\tplaintext\nMECH\tPLAIN\tplaintext\n");
    say(d, d->master ? "SPID\t1\n" : "SPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n");
}

static void dovecot_start(void)
{
    const char *paths[] = {auth_path, userdb_path};
    for (size_t i = 0; i < 2; i++) {
        struct io_address a = {.family = IO_UNIX};
        snprintf(a.path, sizeof a.path, "%s", paths[i]);
        int fd = io_listen_fd(&a, false, 0600);
        assert_true(fd >= 0);
        listeners[i] = io_listener_new(io, fd, dove_accept, i == 1 ? &mood : NULL);
    }
}

static void dovecot_stop(void)
{
    while (doves != NULL)
        dove_close(doves);
    for (size_t i = 0; i < 2; i++)
        if (listeners[i] != NULL) {
            io_listener_close(listeners[i]);
            listeners[i] = NULL;
        }
    unlink(auth_path);
    unlink(userdb_path);
}

/* ---- a pam process ------------------------------------------------------------------------------------------------ */

static int pam_answer; /* of enum ipc_answer; -1: nothing, -2: garbage, -3: goes away */
static char pam_user[128], pam_password[128], pam_client[64];
static uint32_t pam_source;

static void on_pam_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg, (void)fd;
    struct ipc_reader r = ipc_reader(payload);
    assert_int_equal(type, IPC_PAM_ASK);
    uint64_t ask = ipc_get_u64(&r);
    pam_source = ipc_get_u32(&r);
    char *into[] = {pam_user, pam_password, pam_client};
    for (size_t i = 0; i < 3; i++) {
        struct vr_str text = ipc_get_str(&r);
        snprintf(into[i], 64, "%.*s", VR_STR_ARG(text));
    }
    assert_true(ipc_done(&r));
    if (pam_answer == -1)
        return;
    if (pam_answer == -3) {
        io_channel_close(pam);
        pam = NULL;
        return;
    }
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    ipc_put_u64(&b, ask + (pam_answer == -2));
    ipc_put_u8(&b, (uint8_t)(pam_answer >= 0 ? pam_answer : IPC_YES));
    ipc_put_str(&b, VR_STR("because"));
    io_channel_send(pam, IPC_PAM_ANSWER, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static void pam_attach(void)
{
    static const struct io_channel_ops ops = {on_pam_frame, on_closed};
    pam = process_attach(IPC_PAM, 30, 0, &ops, NULL);
    wanted = UINT32_MAX;
    run(200); /* the keeper hears of it on another channel than of log-ins */
}

/* ---- a keeper ------------------------------------------------------------------------------------------------------ */

static void keeper_start(const char *accounts)
{
    static const struct io_channel_ops ops = {on_frame, on_closed};
    char text[2048];
    assert_true(folder_new(folder));
    snprintf(users, sizeof users, "%s/users", folder);
    snprintf(auth_path, sizeof auth_path, "%s/auth-client", folder);
    snprintf(userdb_path, sizeof userdb_path, "%s/auth-userdb", folder);
    assert_int_equal(
        io_fs_replace_file(users, VR_STR("Ann:" YESCRYPT "\nbob@e.test:" SHA512 ":x:y\ncarl:!\n"), 0600), 0);
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.example.org\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
                     "domain \"d.test\" { mailboxes = any }\naccounts { ",
                     folder, folder, folder);
    for (const char *p = accounts; *p != '\0'; p++)
        n += *p == '$' ? snprintf(text + n, sizeof text - (size_t)n, "%s", folder)
                       : snprintf(text + n, sizeof text - (size_t)n, "%c", *p);
    n += snprintf(text + n, sizeof text - (size_t)n, " }\n");
    config_from(text, (size_t)n);
    io = io_new(1);
    mood = KIND;
    connections = questions = count = 0;
    process_spawn((struct process_arguments){.ops = &keeper_ops, .config = config, .slot = 7});
    receiver = process_attach(IPC_RECEIVER, 20, 0, &ops, NULL);
    run(WAIT_MS);
    assert_true(ready);
}

static int keeper_stop(void **state)
{
    (void)state;
    process_drain(1000);
    supervisor_close();
    dovecot_stop();
    io_channel_close(receiver);
    io_channel_close(pam);
    receiver = pam = NULL;
    io_free(io);
    config_free(config);
    folder_remove(folder);
    return 0;
}

static void users_write(const char *text)
{
    assert_int_equal(io_fs_replace_file(users, vr_str_from(text), 0600), 0);
}

/* ---- the file ------------------------------------------------------------------------------------------------------ */

static void test_file(void **state)
{
    (void)state;
    keeper_start("from = \"passwd:$/users\"");
    assert_int_equal(login("ann@d.test", "pencil"), IPC_SASL_OK);
    assert_string_equal(answers[0].user, "ann@d.test");
    assert_int_equal(login("ANN", "pencil"), IPC_SASL_OK); /* the only domain's */
    assert_string_equal(answers[0].user, "ann@d.test");
    assert_int_equal(login("bob@e.test", "pencil"), IPC_SASL_OK);
    assert_string_equal(answers[0].user, "bob@e.test");
    static const char *const wrong[][2] = {{"ann@d.test", "pencils"},
                                           {"ann@d.test", ""},
                                           {"ann@e.test", "pencil"},
                                           {"bob", "pencil"},
                                           {"zoe", "pencil"},
                                           {"carl", "pencil"},
                                           {"carl", "!"},
                                           {"@d.test", "x"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        enum ipc_sasl v = login(wrong[i][0], wrong[i][1]);
        assert_true(v == IPC_SASL_BAD || (wrong[i][1][0] == '\0' && v == IPC_SASL_MALFORMED));
        assert_string_equal(answers[0].user, "");
    }
    assert_int_equal(mailbox("ann@d.test"), IPC_YES);
    assert_int_equal(mailbox("carl@d.test"), IPC_YES); /* who cannot log in gets mail */
    assert_int_equal(mailbox("zoe@d.test"), IPC_NO);
    assert_int_equal(sender("ann@d.test", "Ann@d.test"), IPC_YES);
    assert_int_equal(sender("ann@d.test", "ann+x@d.test"), IPC_YES); /* its own, with a detail */
    assert_int_equal(sender("ann@d.test", "carl@d.test"), IPC_NO);
}

static void test_file_that_changes(void **state)
{
    (void)state;
    keeper_start("from = \"passwd:$/users\"");
    assert_int_equal(mailbox("zoe@d.test"), IPC_NO);
    users_write("zoe:{PLAIN}a pen\neve:{ROT13}frperg\n");
    assert_int_equal(mailbox("zoe@d.test"), IPC_YES);
    assert_int_equal(mailbox("ann@d.test"), IPC_NO);
    assert_int_equal(login("zoe", "a pen"), IPC_SASL_OK);
    assert_int_equal(login("ann", "pencil"), IPC_SASL_BAD);
    assert_int_equal(login("eve", "secret"), IPC_SASL_TEMPORARY); /* the file's fault, not hers */
    assert_int_equal(unlink(users), 0);
    assert_int_equal(login("zoe", "a pen"), IPC_SASL_TEMPORARY);
    assert_int_equal(mailbox("zoe@d.test"), IPC_LATER);
    assert_int_equal(sender("zoe@d.test", "zoe@d.test"), IPC_LATER);
    users_write("zoe:{PLAIN}a pen\n");
    assert_int_equal(login("zoe", "a pen"), IPC_SASL_OK);
    users_write("");
    assert_int_equal(login("zoe", "a pen"), IPC_SASL_BAD);
}

static void test_many_at_a_time(void **state)
{
    (void)state;
    keeper_start("from = \"passwd:$/users\"");
    count = 0;
    for (unsigned i = 0; i < 60; i++) {
        send_login(100 + i, i % 3 == 0 ? "zoe" : "bob@e.test", i % 3 == 1 ? "wrong" : "pencil", "unix");
        send_mailbox(500 + i, i % 2 == 0 ? "ann@d.test" : "zoe@d.test");
    }
    wait_for(120);
    for (unsigned i = 0; i < 120; i++) {
        uint64_t n = answers[i].number;
        if (n >= 500)
            assert_int_equal(answers[i].verdict, n % 2 == 0 ? IPC_YES : IPC_NO);
        else
            assert_int_equal(answers[i].verdict, (n - 100) % 3 == 2 ? IPC_SASL_OK : IPC_SASL_BAD);
    }
}

/* Guessing is as slow for these accounts as for those of the data base. */
static void test_throttle(void **state)
{
    (void)state;
    keeper_start("from = \"passwd:$/users\"");
    for (uint64_t i = 0; i < THROTTLE_FREE_FAILURES; i++) {
        count = 0;
        send_login(i, "ann", "guess", "192.0.2.1");
        wait_for(1);
        assert_int_equal(answers[0].verdict, IPC_SASL_BAD);
    }
    int64_t begin = io_monotonic_ms(io);
    count = 0;
    send_login(50, "ann", "pencil", "192.0.2.1");
    send_login(51, "ann", "pencil", "192.0.2.2");
    wait_for(1);
    assert_int_equal(answers[0].number, 51);
    wait_for(2);
    assert_int_equal(answers[1].verdict, IPC_SASL_OK);
    assert_true(io_monotonic_ms(io) - begin >= THROTTLE_STEP_MS);
}

/* Who leaves while his password is looked at takes nothing with him. */
static void test_who_leaves(void **state)
{
    (void)state;
    static const struct io_channel_ops ops = {on_frame, on_closed};
    keeper_start("from = { \"passwd:$/users\", \"dovecot:$/auth-client\" }\n timeout = 2s");
    dovecot_start();
    mood = SILENT;
    for (unsigned i = 0; i < 50; i++) {
        send_login(100 + i, "zoe", "pencil", "unix");
        send_mailbox(500 + i, "zoe@d.test");
    }
    io_channel_flush(receiver);
    run(20); /* some are under way */
    io_channel_close(receiver);
    receiver = process_attach(IPC_RECEIVER, 21, 0, &ops, NULL);
    mood = KIND;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_OK);
}

/* ---- Dovecot ------------------------------------------------------------------------------------------------------- */

#define DOVECOT "from = \"dovecot:$/auth-client\"\n dovecot_userdb = \"$/auth-userdb\"\n timeout = 1500ms"

static void test_dovecot(void **state)
{
    (void)state;
    keeper_start(DOVECOT);
    dovecot_start();
    assert_int_equal(login("Ann", "pencil"), IPC_SASL_OK);
    assert_string_equal(answers[0].user, "ann@d.test");
    assert_string_equal(last_question,
                        "AUTH\t1\tPLAIN\tservice=smtp\tsecured\tresp=AGFubkBkLnRlc3QAcGVuY2ls");
    assert_int_equal(login("ann", "pen"), IPC_SASL_BAD);
    assert_int_equal(login("zoe", "pencil"), IPC_SASL_BAD);
    assert_int_equal(connections, 1);
    count = 0;
    send_login(1, "ann", "pencil", "192.0.2.7");
    wait_for(1);
    assert_non_null(strstr(last_question, "\trip=192.0.2.7\tresp="));
    assert_int_equal(mailbox("ann@d.test"), IPC_YES);
    assert_int_equal(mailbox("zoe@d.test"), IPC_NO);
    assert_int_equal(connections, 2);
    assert_int_equal(sender("ann@d.test", "ann@d.test"), IPC_YES);
    assert_int_equal(sender("ann@d.test", "zoe@d.test"), IPC_NO);
    mood = CONFUSED;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_BAD);
    mood = KIND;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_OK);
}

static void test_dovecot_that_cannot(void **state)
{
    (void)state;
    static const enum mood moods[] = {SILENT,    MUTE,      STRANGER,        BARE,
                                      TEMPORARY, DEMANDING, ALWAYS_HANGS_UP, BABBLING};
    keeper_start(DOVECOT);
    assert_int_equal(login("ann", "pencil"), IPC_SASL_TEMPORARY); /* there is none */
    assert_int_equal(mailbox("ann@d.test"), IPC_LATER);
    dovecot_start();
    for (size_t i = 0; i < sizeof moods / sizeof *moods; i++) {
        while (doves != NULL)
            dove_close(doves);
        mood = moods[i];
        if (login("ann", "pencil") != IPC_SASL_TEMPORARY)
            fail_msg("mood %d: %d", moods[i], answers[0].verdict);
        if (mood != BARE && mailbox("ann@d.test") != IPC_LATER) /* a userdb has no mechanisms */
            fail_msg("mood %d: %d", moods[i], answers[0].verdict);
        while (doves != NULL)
            dove_close(doves);
        mood = KIND; /* and it is well again at once */
        assert_int_equal(login("ann", "pencil"), IPC_SASL_OK);
        assert_int_equal(mailbox("ann@d.test"), IPC_YES);
    }
}

static void test_dovecot_that_is_reloaded(void **state)
{
    (void)state;
    keeper_start(DOVECOT);
    dovecot_start();
    assert_int_equal(login("ann", "pencil"), IPC_SASL_OK);
    mood = HANGS_UP;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_OK); /* asked again over another connection */
    assert_int_equal(questions, 3);
    assert_int_equal(connections, 2);
    mood = ALWAYS_HANGS_UP;
    questions = 0;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_TEMPORARY); /* once, and not for ever */
    assert_int_equal(questions, 2);
    dovecot_stop();
    assert_int_equal(login("ann", "pencil"), IPC_SASL_TEMPORARY);
    mood = KIND;
    dovecot_start();
    count = 0;
    for (unsigned i = 0; i < 100; i++)
        send_login(100 + i, "ann", i % 2 == 0 ? "pencil" : "pen", "unix");
    wait_for(100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(answers[i].verdict, answers[i].number % 2 == 0 ? IPC_SASL_OK : IPC_SASL_BAD);
}

/* ---- PAM ----------------------------------------------------------------------------------------------------------- */

static void test_pam(void **state)
{
    (void)state;
    keeper_start("from = \"pam:veredus-unit\"\n timeout = 1s");
    assert_int_equal(login("ann", "pencil"), IPC_SASL_TEMPORARY); /* there is no such process yet */
    pam_attach();
    pam_answer = IPC_YES;
    assert_int_equal(login("Ann@D.test", "pencil"), IPC_SASL_OK);
    assert_string_equal(answers[0].user, "ann@d.test");
    assert_string_equal(pam_user, "ann");
    assert_string_equal(pam_password, "pencil");
    assert_string_equal(pam_client, "");
    assert_int_equal(pam_source, 0);
    pam_user[0] = '\0';
    assert_int_equal(login("ann@elsewhere.test", "pencil"),
                     IPC_SASL_BAD); /* another's ann: PAM is not asked */
    assert_string_equal(pam_user, "");
    pam_answer = IPC_NO;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_BAD);
    pam_answer = IPC_LATER;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_TEMPORARY);
    pam_answer = -2;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_TEMPORARY); /* an answer to something else is none */
    pam_answer = -1;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_TEMPORARY);
    pam_answer = -3;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_TEMPORARY);
    assert_null(pam);
    pam_attach();
    pam_answer = IPC_YES;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_OK);
    assert_int_equal(mailbox("root@d.test"), IPC_YES);
    assert_int_equal(mailbox("root@elsewhere.test"), IPC_NO);
    assert_int_equal(mailbox("no-such-user-here@d.test"), IPC_NO);
    assert_int_equal(sender("root@d.test", "root@d.test"), IPC_YES);
    assert_int_equal(sender("root@d.test", "ann@d.test"), IPC_NO);
}

static void test_pam_with_addresses(void **state)
{
    (void)state;
    keeper_start("from = { sqlite, \"pam:veredus-unit\" }\n pam_name = address");
    pam_attach();
    pam_answer = IPC_YES;
    assert_int_equal(login("Ann@elsewhere.test", "pencil"), IPC_SASL_OK);
    assert_string_equal(pam_user, "ann@elsewhere.test");
    assert_int_equal(pam_source, 1);
    assert_int_equal(mailbox("ann@elsewhere.test"), IPC_NO);
    assert_int_equal(sender("ann@elsewhere.test", "ann@elsewhere.test"), IPC_YES);
}

/* ---- several ------------------------------------------------------------------------------------------------------- */

static void test_one_after_the_other(void **state)
{
    (void)state;
    keeper_start("from = { sqlite, \"passwd:$/users\", \"dovecot:$/auth-client\", \"pam:veredus-unit\" }\n"
                 " dovecot_userdb = \"$/auth-userdb\"\n timeout = 1500ms");
    dovecot_start();
    pam_attach();
    pam_answer = IPC_NO;
    users_write("bob:" SHA512 "\n");
    char path[128], error[256];
    static const uint8_t salts[ACCOUNTS_SALTS] = "0123456789abcdefFEDCBA9876543210 another 16 !!!";
    snprintf(path, sizeof path, "%s/%s", folder, KEEPER_DATABASE);
    struct accounts *db = accounts_open(path, true, error);
    assert_int_equal(accounts_add(db, VR_STR("dora@d.test"), VR_STR("crayon"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_add_send_as(db, VR_STR("dora@d.test"), VR_STR("office@d.test")), ACCOUNTS_OK);
    accounts_close(db);
    assert_int_equal(login("dora", "crayon"), IPC_SASL_OK);
    assert_int_equal(questions, 0); /* the first that says yes */
    assert_int_equal(login("bob", "pencil"), IPC_SASL_OK);
    assert_int_equal(questions, 0);
    assert_int_equal(login("ann", "pencil"), IPC_SASL_OK);
    assert_int_equal(login("zoe", "pencil"), IPC_SASL_BAD);
    assert_string_equal(pam_user, "zoe");
    assert_int_equal(login("dora", "pencil"),
                     IPC_SASL_BAD); /* all are asked, also for whom the first knows */
    assert_string_equal(pam_user, "dora");
    assert_int_equal(mailbox("dora@d.test"), IPC_YES);
    assert_int_equal(mailbox("bob@d.test"), IPC_YES);
    assert_int_equal(mailbox("ann@d.test"), IPC_YES);
    assert_int_equal(mailbox("zoe@d.test"), IPC_NO);
    assert_int_equal(sender("dora@d.test", "office@d.test"), IPC_YES);
    assert_int_equal(sender("bob@d.test", "office@d.test"), IPC_NO);

    /* one is down: who is known elsewhere gets in, and nobody hears that a password is wrong */
    mood = ALWAYS_HANGS_UP;
    assert_int_equal(login("dora", "crayon"), IPC_SASL_OK);
    assert_int_equal(login("bob", "pencil"), IPC_SASL_OK);
    pam_answer = IPC_YES;
    assert_int_equal(login("ann", "pen"), IPC_SASL_OK); /* PAM stands behind it */
    pam_answer = IPC_NO;
    assert_int_equal(login("ann", "pencil"), IPC_SASL_TEMPORARY);
    assert_int_equal(login("zoe", "pencil"), IPC_SASL_TEMPORARY);
    assert_int_equal(mailbox("bob@d.test"), IPC_YES);
    assert_int_equal(mailbox("zoe@d.test"), IPC_LATER);
    mood = KIND;
    assert_int_equal(
        io_fs_replace_file(path, VR_STR("a text, long enough to be looked at as a data base"), 0600), 0);
    assert_int_equal(login("bob", "pencil"), IPC_SASL_OK);
    assert_int_equal(login("dora", "crayon"), IPC_SASL_TEMPORARY);
}

/* ---- numbers ------------------------------------------------------------------------------------------------------- */

static void test_pending(void **state)
{
    (void)state;
    static struct pending p;
    static struct account_question q[PENDING_MAX + 1];
    static uint32_t ids[PENDING_MAX];
    p.last = INT32_MAX - 3; /* around the end of the numbers */
    for (size_t i = 0; i < PENDING_MAX; i++) {
        ids[i] = pending_add(&p, &q[i], (int64_t)(i % 10), i % 2 == 0 ? &p : NULL);
        assert_in_range(ids[i], 1, INT32_MAX);
    }
    assert_int_equal(pending_add(&p, &q[PENDING_MAX], 5, NULL), 0);
    assert_ptr_equal(pending_take(&p, ids[7]), &q[7]);
    assert_null(pending_take(&p, ids[7]));
    assert_null(pending_take(&p, 0));
    uint32_t again = pending_add(&p, &q[PENDING_MAX], 100, NULL);
    assert_true(again != 0 && again != ids[7]); /* who still answers to 7 is not heard */
    assert_ptr_equal(pending_take(&p, again), &q[PENDING_MAX]);
    size_t expired = 0, of = 0;
    while (pending_expired(&p, 3) != NULL)
        expired++;
    assert_int_equal(expired, (PENDING_MAX / 10 + 1) * 4); /* those of 0, 1, 2, 3: 103 each */
    while (pending_of(&p, &p) != NULL)
        of++;
    while (pending_of(&p, NULL) != NULL)
        of++;
    assert_int_equal(expired + of, PENDING_MAX - 1);
    assert_int_equal(p.count, 0);
}

#define EACH(f) cmocka_unit_test_teardown(f, keeper_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_file),
        EACH(test_file_that_changes),
        EACH(test_many_at_a_time),
        EACH(test_throttle),
        EACH(test_who_leaves),
        EACH(test_dovecot),
        EACH(test_dovecot_that_cannot),
        EACH(test_dovecot_that_is_reloaded),
        EACH(test_pam),
        EACH(test_pam_with_addresses),
        EACH(test_one_after_the_other),
        cmocka_unit_test(test_pending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
