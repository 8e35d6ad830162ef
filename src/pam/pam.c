/* pam.c - the process that asks PAM, for the keeper.
 *
 * Why:        pam_unix and its like need root, helpers that change their user, and all of the file system: the very things that the keeper
 *             gives up. So this process keeps them, and hears nothing but the keeper's questions: a name, a password, an address.
 * Promise:    only services that the configuration names are asked; each question is answered once, in time or as IPC_LATER; passwords
 *             are wiped when they were asked.
 * States:     waiting -> running [question_start] -> answered [answered], or too late while it waited [sweep]
 * Runs as:    root, unconfined (confinements[] of src/ipc/process.c).
 * Tests:      tests/unit/pam.c, tests/e2e/test_accounts.py
 */
#include "pam/pam.h"

#include "io/fs.h"
#include "io/pam.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define SWEEP_MS 500

struct question {
    struct pam *pam;
    struct peer *peer; /* NULL: it is gone */
    uint64_t ask;
    uint32_t source; /* of config.accounts[] */
    int64_t until_ms;
    struct vr_str user, password, client; /* in bytes[] */
    TAILQ_ENTRY(question) entry;
    size_t n;
    char bytes[];
};

struct pam {
    struct process *process;
    TAILQ_HEAD(question_list, question) waiting, running;
    size_t waiting_count, running_count;
    struct io_timer *sweep;
};

static int prepare(struct process *p, void **data)
{
    struct pam *m = calloc(1, sizeof *m);
    assert(m != NULL);
    m->process = p;
    TAILQ_INIT(&m->waiting);
    TAILQ_INIT(&m->running);
    *data = m;
    return 0;
}

static void exit_when_idle(struct pam *m)
{
    if (m->process->draining && m->waiting_count + m->running_count == 0)
        process_exit(m->process, 0);
}

static void drain(struct process *p, int64_t deadline_ms)
{
    (void)deadline_ms; /* process.c ends us after it */
    exit_when_idle(p->data);
}

static void answer(struct peer *peer, uint64_t ask, enum ipc_answer a, const char *why)
{
    struct vr_buf *b = process_frame(peer->process);
    ipc_put_u64(b, ask);
    ipc_put_u8(b, (uint8_t)a);
    ipc_put_str(b, vr_str_from(why));
    peer_send(peer, IPC_PAM_ANSWER, b, -1);
}

static void question_free(struct question *q)
{
    explicit_bzero(q->bytes, q->n);
    free(q);
}

static void questions_start(struct pam *m);

static void answered(void *arg, enum io_pam_verdict verdict, const char *why)
{
    static const enum ipc_answer answers[] = {
        [IO_PAM_YES] = IPC_YES, [IO_PAM_NO] = IPC_NO, [IO_PAM_TROUBLE] = IPC_LATER};
    struct question *q = arg;
    struct pam *m = q->pam;
    if (q->peer != NULL)
        answer(q->peer, q->ask, answers[verdict], why);
    TAILQ_REMOVE(&m->running, q, entry);
    m->running_count--;
    question_free(q);
    questions_start(m);
    exit_when_idle(m);
}

static void questions_start(struct pam *m)
{
    struct question *q;
    while (m->running_count < PAM_RUNNING_MAX && (q = TAILQ_FIRST(&m->waiting)) != NULL) {
        TAILQ_REMOVE(&m->waiting, q, entry);
        m->waiting_count--;
        if (q->peer == NULL) {
            question_free(q);
            continue;
        }
        TAILQ_INSERT_TAIL(&m->running, q, entry);
        m->running_count++;
        int64_t left = q->until_ms - io_monotonic_ms(m->process->io);
        struct io_pam_question asked = {.service = m->process->config->accounts[q->source].at,
                                        .user = q->user,
                                        .password = q->password,
                                        .client = q->client,
                                        .timeout_ms = left > 1 ? left : 1};
        io_pam_ask(m->process->io, &asked, answered, q);
    }
}

/* Who waited behind slow ones for all of the time is told so, or the client would wait for nothing. */
static void sweep(void *arg)
{
    struct pam *m = arg;
    struct question *q;
    int64_t now = io_monotonic_ms(m->process->io);
    while ((q = TAILQ_FIRST(&m->waiting)) != NULL && q->until_ms <= now) {
        TAILQ_REMOVE(&m->waiting, q, entry);
        m->waiting_count--;
        if (q->peer != NULL)
            answer(q->peer, q->ask, IPC_LATER, "PAM is too slow: too many wait before this one");
        question_free(q);
    }
    exit_when_idle(m);
}

static bool is_pam(const struct config *c, uint32_t source)
{
    return source < c->accounts_count && c->accounts[source].kind == ACCOUNTS_FROM_PAM;
}

static struct vr_str take(char **at, struct vr_str s)
{
    char *p = *at;
    memcpy(p, s.n > 0 ? s.p : "", s.n);
    *at += s.n;
    return vr_str(p, s.n);
}

static bool ask(struct pam *m, struct peer *peer, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    uint64_t number = ipc_get_u64(&r);
    uint32_t source = ipc_get_u32(&r);
    struct vr_str user = ipc_get_str(&r), password = ipc_get_str(&r), client = ipc_get_str(&r);
    if (!ipc_done(&r) || !is_pam(m->process->config, source))
        return false;
    if (m->waiting_count >= PAM_WAITING_MAX) {
        answer(peer, number, IPC_LATER, "too many log-ins at a time");
        return true;
    }
    size_t n = user.n + password.n + client.n;
    struct question *q = calloc(1, sizeof *q + n);
    assert(q != NULL);
    *q = (struct question){.pam = m, .peer = peer, .ask = number, .source = source, .n = n};
    q->until_ms = io_monotonic_ms(m->process->io) + m->process->config->accounts_timeout;
    char *at = q->bytes;
    q->user = take(&at, user);
    q->password = take(&at, password);
    q->client = take(&at, client);
    TAILQ_INSERT_TAIL(&m->waiting, q, entry);
    m->waiting_count++;
    questions_start(m);
    return true;
}

static void start(struct process *p)
{
    struct pam *m = p->data;
    m->sweep = io_timer_new(p->io, sweep, m);
    io_timer_start(m->sweep, SWEEP_MS, SWEEP_MS);
}

static void frame(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd)
{
    if (fd >= 0)
        io_fs_close(fd);
    if (type == IPC_PAM_ASK && ask(p->data, peer, payload))
        return;
    event_begin(p->log, EVENT_ERROR, "pam.malformed_frame", 0);
    event_text(p->log, "from", ipc_role_name(peer->role));
    event_u64(p->log, "type", type);
    event_end(p->log);
}

static void detached(struct process *p, struct peer *peer)
{
    struct pam *m = p->data;
    struct question_list *lists[] = {&m->waiting, &m->running};
    for (size_t i = 0; i < 2; i++) {
        struct question *q;
        TAILQ_FOREACH(q, lists[i], entry)
        if (q->peer == peer)
            q->peer = NULL;
    }
}

const struct process_ops pam_ops = {
    .role = IPC_PAM,
    .worker_threads = 1, /* none is ever started: this process forks */
    .prepare = prepare,
    .start = start,
    .frame = frame,
    .detached = detached,
    .drain = drain,
};
