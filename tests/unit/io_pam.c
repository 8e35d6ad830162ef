/* io_pam.c - questions to PAM, with rules of the test's own: modules that say yes or no, ask, hang, crash, or are not there. */
#include "folder_testing.h"

#include "io/fs.h"
#include "io/pam.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static struct io *io;

static struct answer {
    enum io_pam_verdict verdict;
    char why[256];
    bool came;
} answers[32];
static unsigned wanted, came;

static void answered(void *arg, enum io_pam_verdict verdict, const char *why)
{
    struct answer *a = arg;
    assert_false(a->came);
    *a = (struct answer){.verdict = verdict, .came = true};
    snprintf(a->why, sizeof a->why, "%s", why);
    if (++came == wanted)
        io_stop(io);
}

static void write_rules(const char *service, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, service);
    assert_int_equal(io_fs_replace_file(path, vr_str_from(text), 0644), 0);
}

/* A program that PAM starts: the password is on its standard input, with a NUL behind it. */
static void write_program(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(io_fs_replace_file(path, vr_str_from(text), 0755), 0);
}

static void rested(void *arg)
{
    (void)arg;
    io_stop(io);
}

/* Until children that were killed are gone. */
static void rest(void)
{
    struct io_timer *t = io_timer_new(io, rested, NULL);
    io_timer_start(t, 300, 0);
    io_run(io);
    io_timer_free(t);
}

static int setup(void **state)
{
    (void)state;
    char text[512];
    assert_true(folder_new(folder));
    io = io_new(1);
    memset(answers, 0, sizeof answers);
    came = 0;
    write_rules("permit", "auth required pam_permit.so\naccount required pam_permit.so\n");
    write_rules("deny", "auth required pam_deny.so\naccount required pam_permit.so\n");
    write_rules("expired", "auth required pam_permit.so\naccount required pam_deny.so\n");
    write_rules("missing", "auth required pam_no_such_module_here.so\naccount required pam_permit.so\n");
    static const char *const programs[] = {"check", "slow", "killer"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(text, sizeof text,
                 "auth sufficient pam_exec.so expose_authtok quiet %s/%s.sh\nauth required pam_deny.so\n"
                 "account required pam_permit.so\n",
                 folder, programs[i]);
        write_rules(programs[i], text);
    }
    write_program(
        "check.sh",
        "#!/bin/sh\npassword=$(tr -d '\\000')\n[ \"$PAM_USER\" = ann ] && [ \"$PAM_RHOST\" = 192.0.2.1 ] && "
        "[ \"$password\" = 'pencil %s \\' ]\n");
    snprintf(text, sizeof text, "#!/bin/sh\necho $$ >%s/slow.pid\nexec sleep 8\n", folder);
    write_program("slow.sh", text);
    write_program("killer.sh", "#!/bin/sh\nkill -SEGV $PPID\nsleep 1\n"); /* as a module that crashes */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rest();
    io_free(io);
    folder_remove(folder);
    return 0;
}

static void ask(unsigned at, const char *service, struct vr_str user, struct vr_str password,
                int64_t timeout_ms)
{
    struct io_pam_question q = {.service = service,
                                .rules = folder,
                                .user = user,
                                .password = password,
                                .client = VR_STR("192.0.2.1"),
                                .timeout_ms = timeout_ms};
    io_pam_ask(io, &q, answered, &answers[at]);
}

static struct answer ask_one(const char *service, struct vr_str user, struct vr_str password,
                             int64_t timeout_ms)
{
    memset(answers, 0, sizeof answers);
    wanted = came + 1;
    ask(0, service, user, password, timeout_ms);
    assert_false(answers[0].came); /* from the loop only */
    io_run(io);
    return answers[0];
}

#define ANN    VR_STR("ann")
#define PENCIL VR_STR("pencil %s \\")

static void yes_and_no(void **state)
{
    (void)state;
    struct answer a = ask_one("permit", ANN, PENCIL, 10000);
    assert_int_equal(a.verdict, IO_PAM_YES);
    assert_string_equal(a.why, "");
    a = ask_one("deny", ANN, PENCIL, 10000);
    assert_int_equal(a.verdict, IO_PAM_NO);
    assert_non_null(strstr(a.why, "pam_authenticate: "));
    a = ask_one("expired", ANN, PENCIL, 10000);
    assert_int_equal(a.verdict, IO_PAM_NO);
    assert_non_null(strstr(a.why, "pam_acct_mgmt: "));
}

static void modules_hear_name_password_and_client(void **state)
{
    (void)state;
    assert_int_equal(ask_one("check", ANN, PENCIL, 10000).verdict, IO_PAM_YES);
    assert_int_equal(ask_one("check", ANN, VR_STR("pencil"), 10000).verdict, IO_PAM_NO);
    assert_int_equal(ask_one("check", VR_STR("bob"), PENCIL, 10000).verdict, IO_PAM_NO);
    assert_int_equal(ask_one("check", VR_STR("a\0nn"), PENCIL, 10000).verdict, IO_PAM_NO);
    assert_int_equal(ask_one("permit", ANN, VR_STR("p\0q"), 10000).verdict,
                     IO_PAM_NO); /* not cut off at the NUL */
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    assert_int_equal(ask_one("permit", vr_str(longer, sizeof longer), PENCIL, 10000).verdict, IO_PAM_NO);
    assert_int_equal(ask_one("permit", ANN, vr_str(longer, sizeof longer), 10000).verdict, IO_PAM_NO);
}

static void who_is_slow_is_killed(void **state)
{
    (void)state;
    int64_t start = io_monotonic_ms(io);
    struct answer a = ask_one("slow", ANN, PENCIL, 1500);
    assert_int_equal(a.verdict, IO_PAM_TROUBLE);
    assert_string_equal(a.why, "PAM took longer than 2 s");
    assert_true(io_monotonic_ms(io) - start < 10000);
    char path[128];
    struct vr_buf text;
    vr_buf_init(&text, 64);
    snprintf(path, sizeof path, "%s/slow.pid", folder);
    assert_true(io_fs_read_file(path, &text) >= 0);
    vr_buf_add_byte(&text, '\0');
    kill(atoi(vr_buf_str(&text).p),
         SIGKILL); /* the program that the module started is its own; the child is gone: */
    vr_buf_fini(&text);
    rest();
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left to be waited for */
}

static void who_crashes_is_trouble(void **state)
{
    (void)state;
    struct answer a = ask_one("killer", ANN, PENCIL, 10000);
    assert_int_equal(a.verdict, IO_PAM_TROUBLE);
    assert_non_null(strstr(a.why, "ended the process"));
}

static void rules_that_cannot_be_used(void **state)
{
    (void)state;
    assert_int_not_equal(ask_one("missing", ANN, PENCIL, 10000).verdict, IO_PAM_YES);
    assert_int_not_equal(ask_one("no-such-service", ANN, PENCIL, 10000).verdict, IO_PAM_YES);
}

static void many_at_a_time(void **state)
{
    (void)state;
    int64_t start = io_monotonic_ms(io);
    wanted = came + 32;
    for (unsigned i = 0; i < 32; i++)
        ask(i, i % 4 == 0 ? "slow" : i % 4 == 1 ? "deny" : "permit", ANN, PENCIL, 2000);
    io_run(io);
    for (unsigned i = 0; i < 32; i++)
        assert_int_equal(answers[i].verdict, i % 4 == 0   ? IO_PAM_TROUBLE
                                             : i % 4 == 1 ? IO_PAM_NO
                                                          : IO_PAM_YES);
    assert_true(io_monotonic_ms(io) - start < 60000);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(yes_and_no),
        EACH(modules_hear_name_password_and_client),
        EACH(who_is_slow_is_killed),
        EACH(who_crashes_is_trouble),
        EACH(rules_that_cannot_be_used),
        EACH(many_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
