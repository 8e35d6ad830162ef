/* pam.c - see pam.h.
 *
 * Promise:    a child answers within its time or is killed, and is always waited for; it holds no descriptor of ours but the pipe that it
 *             answers by, and dies with us.
 * States:     ASKED -> ANSWERED [pipe_data, pipe_ended, too_late] -> reaped [reap]
 * Sources:    pam(3), pam_start(3), pam_authenticate(3), pam_acct_mgmt(3).
 * Tests:      tests/unit/io_pam.c, tests/e2e/test_accounts.py
 */
#include "io/pam.h"

#include "io/real/real.h"
#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_MAX 256
#define REAP_MS  50
#define END      '\n' /* of an answer: a program that a module left behind may hold the pipe open */

struct ask {
    struct io *io;
    pid_t pid;
    struct io_stream *pipe;
    struct io_timer *timer; /* of the time limit, then of reaping */
    void (*answer)(void *arg, enum io_pam_verdict verdict, const char *why);
    void *arg;
    struct vr_buf said; /* a byte for the verdict, then words */
    char late[96];
};

/* ---- in the child -------------------------------------------------------------------------------------------- */

struct texts {
    char user[TEXT_MAX * 2], password[1025], client[TEXT_MAX];
};

static bool copy(char *out, size_t size, struct vr_str s)
{
    if (s.n >= size || (s.n > 0 && memchr(s.p, '\0', s.n) != NULL))
        return false;
    memcpy(out, s.n > 0 ? s.p : "", s.n);
    out[s.n] = '\0';
    return true;
}

/* Modules ask for the password once or several times, one after the other; what they tell goes nowhere. */
static int converse(int n, const struct pam_message **asked, struct pam_response **out, void *arg)
{
    const struct texts *t = arg;
    struct pam_response *r = n > 0 && n <= PAM_MAX_NUM_MSG ? calloc((size_t)n, sizeof *r) : NULL;
    if (r == NULL)
        return PAM_CONV_ERR;
    for (int i = 0; i < n; i++) {
        int style = asked[i]->msg_style;
        if (style == PAM_PROMPT_ECHO_OFF)
            r[i].resp = strdup(t->password);
        else if (style == PAM_PROMPT_ECHO_ON)
            r[i].resp = strdup(t->user);
    }
    *out = r; /* PAM frees it */
    return PAM_SUCCESS;
}

static enum io_pam_verdict verdict_of(int status)
{
    switch (status) {
    case PAM_SUCCESS:
        return IO_PAM_YES;
    case PAM_AUTH_ERR:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
    case PAM_PERM_DENIED:
    case PAM_ACCT_EXPIRED:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_CRED_EXPIRED:
    case PAM_AUTHTOK_EXPIRED:
    case PAM_CRED_INSUFFICIENT:
        return IO_PAM_NO;
    default: /* a data base or a server that does not answer, rules that cannot be read, … */
        return IO_PAM_TROUBLE;
    }
}

static void child_answer(int fd, enum io_pam_verdict verdict, const char *step, const char *why)
{
    char text[TEXT_MAX];
    int n = verdict == IO_PAM_YES ? snprintf(text, sizeof text, "%c", 'a')
                                  : snprintf(text, sizeof text, "%c%s: %s", 'a' + (int)verdict, step, why);
    size_t size = n < (int)sizeof text ? (size_t)n : sizeof text - 1;
    text[size] = END;
    (void)!write(fd, text, size + 1); /* nobody reads any more: then nobody wants to know */
}

static void child_ask(int fd, const struct io_pam_question *q)
{
    static struct texts t;
    struct pam_conv conv = {converse, &t};
    pam_handle_t *pam = NULL;
    if (!copy(t.user, sizeof t.user, q->user) || !copy(t.password, sizeof t.password, q->password) ||
        !copy(t.client, sizeof t.client, q->client)) {
        child_answer(fd, IO_PAM_NO, "name", "a name or password that PAM cannot be given");
        return;
    }
    const char *step = "pam_start";
    int status = pam_start_confdir(q->service, t.user, &conv, q->rules, &pam);
    if (status != PAM_SUCCESS) {
        child_answer(fd, IO_PAM_TROUBLE, step, "the rules of this service cannot be read");
        return;
    }
    pam_set_item(pam, PAM_TTY, "veredus");
    if (t.client[0] != '\0')
        pam_set_item(pam, PAM_RHOST, t.client);
    step = "pam_authenticate";
    status = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    if (status == PAM_SUCCESS) {
        step = "pam_acct_mgmt";
        status = pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    }
    char why[TEXT_MAX];
    snprintf(why, sizeof why, "%s", pam_strerror(pam, status));
    pam_end(pam, status);
    child_answer(fd, verdict_of(status), step, why);
}

static void child(int fd, const struct io_pam_question *q)
{
    sigset_t none;
    sigemptyset(&none);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL); /* modules start programs and wait for them */
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "vd-pam-ask");
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
    }
    if (fd != 3 && dup2(fd, 3) != 3)
        _exit(1);
    fcntl(3, F_SETFD, FD_CLOEXEC);
    syscall(SYS_close_range, 4u, ~0u, 0);
    child_ask(3, q);
    _exit(0);
}

/* ---- in the loop --------------------------------------------------------------------------------------------- */

static void reap(void *arg)
{
    struct ask *a = arg;
    if (a->pid > 0 && waitpid(a->pid, NULL, WNOHANG) == 0) { /* killed, and not gone yet */
        io_timer_start(a->timer, REAP_MS, 0);
        return;
    }
    io_timer_free(a->timer);
    free(a);
}

static void finish(struct ask *a, enum io_pam_verdict verdict, const char *why)
{
    if (a->pid > 0)
        kill(
            a->pid,
            SIGKILL); /* it has said all, or was given up; a program that a module started is that one's own */
    io_stream_close(a->pipe);
    a->answer(a->arg, verdict, why);
    vr_buf_fini(&a->said);
    io_timer_free(a->timer);
    a->timer = io_timer_new(a->io, reap, a);
    reap(a);
}

static void pipe_data(void *arg, struct vr_str bytes)
{
    struct ask *a = arg;
    char why[TEXT_MAX];
    vr_buf_add(&a->said, bytes);
    struct vr_str said = vr_buf_str(&a->said);
    if (said.n < 2 || said.p[said.n - 1] != END || said.p[0] < 'a' || said.p[0] > 'a' + IO_PAM_TROUBLE)
        return;
    snprintf(why, sizeof why, "%.*s", VR_STR_ARG(vr_str_sub(said, 1, said.n - 2)));
    finish(a, (enum io_pam_verdict)(said.p[0] - 'a'), why);
}

static void pipe_ended(void *arg, int status)
{
    (void)status;
    finish(arg, IO_PAM_TROUBLE, "a module of PAM ended the process that asked it");
}

static void too_late(void *arg)
{
    struct ask *a = arg;
    finish(a, IO_PAM_TROUBLE, a->late);
}

static const struct io_stream_ops pipe_ops = {.data = pipe_data, .ended = pipe_ended};

static void no_child(void *arg)
{
    struct ask *a = arg;
    finish(a, IO_PAM_TROUBLE, a->late);
}

void io_pam_ask(struct io *io, const struct io_pam_question *q,
                void (*answer)(void *arg, enum io_pam_verdict verdict, const char *why), void *arg)
{
    struct ask *a = real_alloc(sizeof *a);
    int ends[2] = {-1, -1};
    *a = (struct ask){.io = io, .answer = answer, .arg = arg};
    vr_buf_init(&a->said, TEXT_MAX);
    fflush(NULL); /* or the child might write it a second time */
    bool piped = pipe2(ends, O_CLOEXEC) == 0;
    a->pid = piped ? fork() : -1;
    if (a->pid == 0) {
        close(ends[0]);
        child(ends[1], q);
    }
    if (a->pid < 0) {
        snprintf(a->late, sizeof a->late, "no process can be started: %s", io_error_text(-errno));
        if (piped) {
            close(ends[0]);
            close(ends[1]);
        }
        a->timer = io_timer_new(io, no_child, a);
        io_timer_start(a->timer, 0, 0);
        return;
    }
    close(ends[1]);
    a->pipe = io_stream_from_fd(io, ends[0]);
    io_stream_set(a->pipe, &pipe_ops, a);
    snprintf(a->late, sizeof a->late, "PAM took longer than %lld s", (long long)(q->timeout_ms + 999) / 1000);
    a->timer = io_timer_new(io, too_late, a);
    io_timer_start(a->timer, q->timeout_ms, 0);
}
