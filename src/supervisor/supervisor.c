/* supervisor.c - starts the processes, wires them, starts them again when they die, reloads, stops.
 *
 * Promise:    after SIGTERM everything that was acknowledged is on disk; after SIGHUP no message under way is cut and no configuration changes under
 *             a running session: a new generation stands beside the old, which finishes and goes.
 * States:     a child is WAITING (to be started) -> RUNNING [child_start] -> WAITING again [child_died] or FREE (drained or stopping).
 * Runs in:    the first process.
 * Touches:    folders, sockets, the pid file.
 * Never:      bytes from the network.
 * Tests:      tests/e2e/
 */
#include "supervisor/supervisor.h"

#include "admin/admin.h"
#include "io/env.h"
#include "io/fs.h"
#include "keeper/keeper.h"
#include "local/local.h"
#include "pam/pam.h"
#include "queue/queue.h"
#include "receiver/crowd.h"
#include "receiver/receiver.h"
#include "reporter/reporter.h"
#include "resolver/resolver.h"
#include "sender/sender.h"
#include "supervisor/folders.h"
#include "supervisor/follow.h"
#include "supervisor/sockets.h"
#include "supervisor/wiring.h"
#include "web/web.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define EXIT_NO_SECRET    66     /* EX_NOINPUT */
#define RELOAD_DRAIN_MS   300000 /* old sessions may take this long after a reload */
#define STOP_DRAIN_MS     10000  /* … and this long at a stop */
#define STOP_KILL_MS      20000
#define LONG_LIFE_MS      5000 /* a child that lived this long is started again at once */
#define RESTART_MAX_MS    5000
#define EXIT_CANNOT_START 70

struct supervisor {
    struct io_supervise *io;
    struct event_log *log;
    struct config *config;
    struct supervisor_options options;
    struct children children;
    struct sockets sockets;
    struct follow follow; /* the certificates */
    struct crowd *crowd;  /* this generation's receivers count their clients in it */
    uint32_t generation;
    unsigned receivers, senders;
    bool announced; /* all were ready once in this generation */
    bool served;    /* all were ready once */
    bool reload_asked;
    int stopping; /* 0, then the phase */
    int64_t kill_at_ms;
    int exit_code;
};

static const struct {
    enum ipc_role role;
    const struct process_ops *ops;
} programs[] = {
    {IPC_QUEUE, &queue_ops},   {IPC_KEEPER, &keeper_ops},     {IPC_LOCAL, &local_ops},
    {IPC_SENDER, &sender_ops}, {IPC_RECEIVER, &receiver_ops}, {IPC_ADMIN, &admin_ops},
    {IPC_PAM, &pam_ops},       {IPC_RESOLVER, &resolver_ops}, {IPC_REPORTER, &reporter_ops},
    {IPC_WEB, &web_ops},
};

static void say(struct supervisor *s, enum event_level level, const char *name, const char *key,
                const char *value)
{
    event_begin(s->log, level, name, 0);
    event_text(s->log, key, value);
    event_end(s->log);
}

/* ---- starting
 * ---------------------------------------------------------------------------------------------------- */

/* The listening sockets that a child inherits, in the order that struct process promises. */
static size_t sockets_of(const struct supervisor *s, const struct child *child, int *fds)
{
    size_t n = 0;
    if (child->role == IPC_RECEIVER) {
        for (size_t i = 0; i < s->config->listener_count; i++)
            fds[n++] = s->sockets.listeners[i].fds[child->number];
        fds[n++] = s->sockets.submit;
    } else if (child->role == IPC_WEB) {
        for (size_t i = s->config->listener_count; i < s->sockets.count; i++)
            fds[n++] = s->sockets.listeners[i].fds[0];
    } else if (child->role == IPC_ADMIN) {
        fds[n++] = s->sockets.control;
    }
    return n;
}

static const struct process_ops *ops_of(enum ipc_role role)
{
    size_t i = 0;
    while (programs[i].role != role)
        i++;
    return programs[i].ops;
}

/* In the child. */
static int child_run(void *arg)
{
    struct process_arguments *a = arg;
    if (a->ops->role != IPC_RECEIVER) { /* nothing of theirs */
        crowd_free(a->crowd);
        a->crowd = NULL;
    }
    if (a->ops->role == IPC_ADMIN)
        certificates_forget_keys(a->certificates);
    if (!(a->ops->role & (IPC_RECEIVER | IPC_WEB | IPC_ADMIN))) {
        certificates_free(a->certificates);
        a->certificates = NULL;
    }
    return process_main(a);
}

static void child_start(struct supervisor *s, struct child *child)
{
    int pair[2];
    int status = io_channel_pair(pair);
    int *keep = calloc(s->sockets.count + 3, sizeof *keep);
    assert(keep != NULL);
    if (status == 0) {
        size_t listeners = sockets_of(s, child, keep);
        keep[listeners] = pair[1];
        if (child->role == IPC_RECEIVER)
            crowd_clear(s->crowd, child->number);
        struct process_arguments a = {.ops = ops_of(child->role),
                                      .config = s->config,
                                      .slot = child->slot,
                                      .generation = child->generation,
                                      .supervisor_fd = pair[1],
                                      .listen_fds = keep,
                                      .listen_count = listeners,
                                      .number = child->number,
                                      .crowd = s->crowd,
                                      .certificates = s->follow.certificates,
                                      .foreground = s->options.foreground};
        status = io_supervise_fork(s->io, ipc_role_name(child->role), keep, listeners + 1, child_run, &a);
        io_fs_close(pair[1]);
    }
    free(keep);
    child->started_ms = io_supervise_now_ms();
    if (status < 0) {
        say(s, EVENT_ERROR, "process.fork_failed", "error", io_error_text(status));
        child->start_at_ms = child->started_ms + RESTART_MAX_MS;
        return;
    }
    child->pid = status;
    child->state = CHILD_RUNNING;
    child->ready = false;
    child->channel = pair[0];
    io_supervise_watch(s->io, pair[0], child);
    children_wire(&s->children, child);
    event_begin(s->log, EVENT_INFO, "process.started", 0);
    event_text(s->log, "role", ipc_role_name(child->role));
    event_u64(s->log, "pid", (uint64_t)child->pid);
    event_u64(s->log, "slot", child->slot);
    event_u64(s->log, "generation", child->generation);
    event_end(s->log);
}

static void start_due(struct supervisor *s)
{
    int64_t now = io_supervise_now_ms();
    for (size_t i = 0; i < CHILD_MAX; i++)
        if (s->children.items[i].state == CHILD_WAITING && s->children.items[i].start_at_ms <= now)
            child_start(s, &s->children.items[i]);
}

/* How many processes of a role this configuration wants. */
static unsigned wanted(const struct supervisor *s, enum ipc_role role)
{
    switch (role) {
    case IPC_RECEIVER:
        return s->receivers;
    case IPC_SENDER:
        return s->senders;
    case IPC_WEB:
        return s->config->web_count > 0;
    case IPC_PAM:
        return config_has_accounts(s->config, ACCOUNTS_FROM_PAM);
    case IPC_REPORTER:
        return s->config->reports.dmarc || s->config->reports.failures || s->config->reports.tls;
    default:
        return 1;
    }
}

static void generation_start(struct supervisor *s)
{
    s->generation++;
    s->announced = false;
    crowd_free(s->crowd); /* the old generation's go on with theirs */
    s->crowd = crowd_new(s->receivers);
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        unsigned n = wanted(s, programs[i].role);
        for (unsigned k = 0; k < n; k++)
            if (children_add(&s->children, programs[i].role, k, s->generation) == NULL)
                say(s, EVENT_WARNING, "process.too_many", "role", ipc_role_name(programs[i].role));
    }
    start_due(s);
}

/* ---- deaths
 * ------------------------------------------------------------------------------------------------------ */

static void child_forget(struct supervisor *s, struct child *child)
{
    if (child->channel >= 0)
        io_supervise_unwatch(s->io, child->channel);
    child->channel = -1;
    child->pid = 0;
}

static void stop(struct supervisor *s, int exit_code);

static void child_died(struct supervisor *s, int pid, int exit_code)
{
    struct child *child = children_by_pid(&s->children, pid);
    if (child == NULL)
        return;
    bool was_ready = child->ready, expected = child->draining || s->stopping;
    child_forget(s, child);
    event_begin(s->log, expected ? EVENT_INFO : EVENT_ERROR, expected ? "process.ended" : "process.died", 0);
    event_text(s->log, "role", ipc_role_name(child->role));
    event_u64(s->log, "pid", (uint64_t)pid);
    event_u64(s->log, "generation", child->generation);
    if (exit_code < 0)
        event_u64(s->log, "signal", (uint64_t)-exit_code);
    else
        event_u64(s->log, "exit", (uint64_t)exit_code);
    event_end(s->log);
    bool heard =
        s->stopping == 1 && child->role == IPC_QUEUE && !child->draining; /* senders have last words for it */
    if (expected && !heard) {
        child->state = CHILD_FREE;
        return;
    }
    if (!was_ready && exit_code > 0 &&
        !s->served) { /* it said itself why it cannot serve: no use in trying again */
        child->state = CHILD_FREE;
        stop(s, exit_code);
        return;
    }
    int64_t now = io_supervise_now_ms();
    child->failures = was_ready && now - child->started_ms >= LONG_LIFE_MS ? 0 : child->failures + 1;
    int64_t wait = child->failures <= 1 ? 0 : 100ll << (child->failures < 8 ? child->failures - 2 : 6);
    child->state = CHILD_WAITING;
    child->start_at_ms = now + (wait < RESTART_MAX_MS ? wait : RESTART_MAX_MS);
}

/* ---- reload and stop
 * ---------------------------------------------------------------------------------------------- */

/* 0, or the exit code. */
static int folders(struct supervisor *s, struct config *c)
{
    char error[512];
    int status = folders_prepare(c, s->options.foreground, error);
    if (status != 0)
        say(s, EVENT_ERROR, "server.folders", "error", error);
    if (status == 0 && !config_srs_read(c, error)) {
        say(s, EVENT_ERROR, "srs.secret_failed", "error", error);
        status = EXIT_NO_SECRET;
    }
    return status;
}

static unsigned count_or_cores(unsigned configured)
{
    unsigned n = configured > 0 ? configured : io_core_count();
    return n < 64 ? n : 64;
}

static bool sockets(struct supervisor *s, const struct config *c, unsigned receivers, bool fresh)
{
    char error[256];
    struct sockets now;
    if (!sockets_open(&now, fresh ? NULL : &s->sockets, c, receivers, error)) {
        say(s, EVENT_ERROR, "server.listen_failed", "error", error);
        return false;
    }
    s->sockets = now;
    return true;
}

/* What receivers will show, read before any of them starts. NULL: an event says why. */
static struct certificates *certificates(struct supervisor *s, const struct config *c)
{
    char error[256];
    struct certificates *all = certificates_load(c, error);
    if (all == NULL)
        say(s, EVENT_ERROR, "tls.load_failed", "error", error);
    return all;
}

static void reload_report(struct supervisor *s, const struct config_load *load)
{
    for (const struct config_problem *p = load->problems; p != NULL; p = p->next) {
        event_begin(s->log, p->warning ? EVENT_WARNING : EVENT_ERROR, "config.problem", 0);
        event_text(s->log, "file", p->file);
        event_u64(s->log, "line", (uint64_t)p->line);
        event_text(s->log, "problem", p->message);
        event_end(s->log);
    }
}

/* A queue that waits for the spool is told results by senders, which forget them. If the next generation's came meanwhile, there were two
 * waiting, and the one with those results might be the later one. */
static bool may_reload(const struct supervisor *s)
{
    for (size_t i = 0; i < CHILD_MAX; i++) {
        const struct child *c = &s->children.items[i];
        if (c->state == CHILD_RUNNING && c->role == IPC_QUEUE && !c->draining && !c->ready)
            return false;
    }
    return true;
}

static void reload(struct supervisor *s)
{
    s->reload_asked = false;
    if (s->options.config_path == NULL) {
        say(s, EVENT_WARNING, "server.reload_refused", "reason",
            "the configuration was given as text, there is no file to read again");
        return;
    }
    struct config_load *load = config_load_file(s->options.config_path);
    reload_report(s, load);
    struct config *fresh = load->errors == 0 ? config_take(load) : NULL;
    config_load_free(load);
    unsigned receivers = fresh != NULL ? count_or_cores(fresh->receivers) : 0;
    struct certificates *shown = NULL;
    if (fresh == NULL || folders(s, fresh) != 0 || (shown = certificates(s, fresh)) == NULL ||
        !sockets(s, fresh, receivers, false)) {
        certificates_free(shown);
        config_free(fresh);
        say(s, EVENT_ERROR, "server.reload_refused", "reason",
            "the new configuration has errors: the old one stays in force");
        return;
    }
    say(s, EVENT_NOTICE, "server.reload", "config", s->options.config_path);
    for (size_t i = 0; i < CHILD_MAX; i++) /* nobody of the old generation is started again */
        if (s->children.items[i].state == CHILD_WAITING)
            s->children.items[i].state = CHILD_FREE;
    children_drain(&s->children, ~0u, RELOAD_DRAIN_MS);
    follow_begin(&s->follow, shown);
    config_free(s->config);
    s->config = fresh;
    s->receivers = receivers;
    s->senders = count_or_cores(fresh->senders);
    generation_start(s);
}

static void kill_all(struct supervisor *s)
{
    for (size_t i = 0; i < CHILD_MAX; i++)
        if (s->children.items[i].state == CHILD_RUNNING)
            io_supervise_kill(s->children.items[i].pid, SIGKILL);
}

static void stop(struct supervisor *s, int exit_code)
{
    if (s->stopping) { /* asked twice: at once */
        kill_all(s);
        return;
    }
    say(s, EVENT_NOTICE, "server.stopping", "next",
        "sessions finish within 10 s; a second signal ends them at once");
    s->stopping = 1;
    s->exit_code = exit_code;
    s->kill_at_ms = io_supervise_now_ms() + STOP_KILL_MS;
    for (size_t i = 0; i < CHILD_MAX; i++)
        if (s->children.items[i].state == CHILD_WAITING)
            s->children.items[i].state = CHILD_FREE;
    children_drain(&s->children, IPC_RECEIVER | IPC_SENDER | IPC_LOCAL | IPC_ADMIN, STOP_DRAIN_MS);
}

/* Receivers and senders first: the queue must hear their last words. */
static bool stopped(struct supervisor *s)
{
    if (!s->stopping)
        return false;
    if (s->stopping == 1 &&
        children_count(&s->children, IPC_RECEIVER | IPC_SENDER | IPC_LOCAL | IPC_ADMIN, false) == 0) {
        s->stopping = 2;
        children_drain(&s->children, ~0u, STOP_DRAIN_MS);
    }
    if (io_supervise_now_ms() >= s->kill_at_ms)
        kill_all(s);
    return children_count(&s->children, ~0u, false) == 0;
}

/* ---- the loop
 * ----------------------------------------------------------------------------------------------------- */

static void announce(struct supervisor *s)
{
    if (s->announced || !children_all_ready(&s->children))
        return;
    s->announced = s->served = true;
    event_begin(s->log, EVENT_NOTICE, "server.ready", 0);
    event_str(s->log, "hostname", s->config->hostname);
    event_u64(s->log, "generation", s->generation);
    for (size_t i = 0; i < s->sockets.count; i++) {
        static const char *const roles[] = {[LISTENER_MX] = "mx",
                                            [LISTENER_SUBMISSION] = "submission",
                                            [LISTENER_SUBMISSIONS] = "submissions",
                                            [LISTENER_LMTP] = "lmtp",
                                            [LISTENER_MTA_STS] = "mta_sts"};
        struct io_address bound = s->sockets.listeners[i].address;
        char text[IO_ADDRESS_TEXT];
        if (s->sockets.listeners[i].count > 0)
            io_listen_address(s->sockets.listeners[i].fds[0], &bound);
        io_address_text(&bound, text);
        event_text(s->log, roles[s->config->listeners[i].role], text);
    }
    event_end(s->log);
}

static int64_t next_deadline(const struct supervisor *s)
{
    int64_t now = io_supervise_now_ms(), look = s->follow.look_at_ms - now;
    int64_t wait = s->stopping ? 200 : look > 0 ? look : 0;
    for (size_t i = 0; i < CHILD_MAX; i++)
        if (s->children.items[i].state == CHILD_WAITING) {
            int64_t left = s->children.items[i].start_at_ms - now;
            left = left > 0 ? left : 0;
            wait = left < wait ? left : wait;
        }
    return wait;
}

static void handle(struct supervisor *s, const struct io_supervise_event *e)
{
    struct child *child = e->channel_arg;
    switch (e->kind) {
    case IO_SUP_SIGNAL:
        if (e->signum == SIGTERM || e->signum == SIGINT)
            stop(s, 0);
        else if (e->signum == SIGHUP)
            s->reload_asked = true;
        break;
    case IO_SUP_CHILD_EXIT:
        child_died(s, e->pid, e->exit_code);
        break;
    case IO_SUP_FRAME:
        if (e->type == IPC_READY)
            child->ready = true;
        break;
    case IO_SUP_CHANNEL_CLOSED: /* its exit follows */
        io_supervise_unwatch(s->io, child->channel);
        child->channel = -1;
        break;
    case IO_SUP_DEADLINE:
        break;
    }
}

static void pid_file(struct supervisor *s, bool write)
{
    char path[512], text[32];
    snprintf(path, sizeof path, "%s/veredus.pid", s->config->run);
    int n = snprintf(text, sizeof text, "%d\n", io_process_id());
    if (!write)
        io_fs_unlink(path);
    else if (io_fs_replace_file(path, vr_str(text, (size_t)n), 0644) != 0)
        say(s, EVENT_WARNING, "server.no_pid_file", "path", path);
}

static void sockets_unlink(const struct config *c)
{
    static const char *const names[] = {"submit", "control"};
    char path[512];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", c->run, names[i]);
        io_fs_unlink(path);
    }
}

int supervisor_run(struct config *config, const struct supervisor_options *options)
{
    struct supervisor *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->config = config;
    s->options = *options;
    s->log = event_log_new(NULL, "supervisor", config->log_format, config->log_level);
    s->receivers = count_or_cores(config->receivers);
    s->senders = count_or_cores(config->senders);
    io_raise_descriptor_limit();
    s->io = s->children.io = io_supervise_new();
    s->exit_code = folders(s, config);
    struct certificates *shown = s->exit_code == 0 ? certificates(s, config) : NULL;
    if (s->exit_code == 0)
        s->exit_code = shown != NULL ? EXIT_CANNOT_START : 78; /* EX_CONFIG */
    if (shown != NULL)
        follow_begin(&s->follow, shown);
    if (shown != NULL && sockets(s, config, s->receivers, true)) {
        pid_file(s, true);
        generation_start(s);
        while (!stopped(s)) {
            struct io_supervise_event e;
            io_supervise_wait(s->io, next_deadline(s), &e);
            handle(s, &e);
            if (s->reload_asked && !s->stopping && may_reload(s))
                reload(s);
            start_due(s);
            announce(s);
            if (!s->stopping)
                follow_turn(&s->follow, &s->children, s->generation, s->log);
        }
        pid_file(s, false);
        sockets_unlink(s->config);
        sockets_close(&s->sockets);
        say(s, EVENT_NOTICE, "server.stopped", "reason",
            s->exit_code == 0 ? "signal" : "a process could not start");
    }
    int code = s->exit_code;
    io_supervise_free(s->io);
    follow_end(&s->follow);
    crowd_free(s->crowd);
    event_log_free(s->log);
    config_free(s->config);
    free(s);
    return code;
}
