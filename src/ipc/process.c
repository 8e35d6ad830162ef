/* process.c - the life of a child process: prepare, confine, serve, drain.
 *
 * Promise:    a process holds only what its row of confinements[] gives it before it reads the first byte from anybody; a frame that the table
 *             of frames does not allow ends the channel it came by.
 * Runs in:    every child of the supervisor.
 * Tests:      tests/unit/queue_process.c, tests/unit/sender.c, tests/e2e/
 */
#include "ipc/process.h"

#include "io/fs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_SCRATCH_MAX IO_FRAME_MAX
#define EXIT_GRACE_MS     1000
#define ORPHAN_DRAIN_MS   5000

enum {
    PATH_NONE,
    PATH_SPOOL,
    PATH_STATE,
    PATH_ANY,
    PATH_CERTIFICATES,
    PATH_ACCOUNTS,
    PATH_REPORTS,
    PATH_HTTPS,
    PATH_POLICIES,
    PATH_POLICIES_AND_CERTIFICATES
};
enum {
    NETWORK_NONE,
    NETWORK_ANY,
    NETWORK_REPORTS, /* only when reports go by https (reports.tls) */
    NETWORK_ENDPOINT /* only when tokens are checked by an endpoint (oauth.introspection) */
};

/* Who may do what. One row per process: the whole of its privilege. */
static const struct {
    enum ipc_role role;
    enum { USER_COMMON, USER_KEEPER, USER_QUEUE, USER_ROOT } user;
    int read, write; /* PATH_… */
    int network;     /* NETWORK_…: may make sockets of the internet families */
    bool secrets;    /* keeps the routes' passwords */
    bool srs;        /* keeps the secrets of SRS addresses */
} confinements[] = {
    {IPC_RECEIVER, USER_COMMON, PATH_NONE, PATH_NONE, NETWORK_NONE, false, true},
    {IPC_KEEPER, USER_KEEPER, PATH_ACCOUNTS, PATH_STATE, NETWORK_ENDPOINT, false},
    {IPC_QUEUE, USER_QUEUE, PATH_SPOOL, PATH_SPOOL, NETWORK_NONE, false, true},
    {IPC_SENDER, USER_COMMON, PATH_CERTIFICATES, PATH_NONE, NETWORK_ANY, true},
    {IPC_LOCAL, USER_ROOT, PATH_ANY, PATH_ANY, NETWORK_NONE, false},
    {IPC_ADMIN, USER_COMMON, PATH_NONE, PATH_NONE, NETWORK_NONE, false},
    {IPC_PAM, USER_ROOT, PATH_ANY, PATH_ANY, NETWORK_ANY, false}, /* what PAM's modules may need: anything */
    {IPC_RESOLVER, USER_COMMON, PATH_POLICIES_AND_CERTIFICATES, PATH_POLICIES, NETWORK_ANY, false},
    {IPC_REPORTER, USER_COMMON, PATH_HTTPS, PATH_REPORTS, NETWORK_REPORTS, false},
    {IPC_WEB, USER_COMMON, PATH_NONE, PATH_NONE, NETWORK_NONE, false},
};

static const char *const certificate_paths[] = {"/etc/ssl", "/usr/lib/ssl", "/usr/share/ca-certificates",
                                                "/usr/local/share/ca-certificates", NULL};

/* Where /etc/resolv.conf may lead to. */
static const char *const resolver_paths[] = {"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
                                             NULL};

#define PATHS_MAX (ACCOUNTS_SOURCES_MAX + 12)

struct paths {
    const char *items[PATHS_MAX + 1];
    size_t count;
    char folders[ACCOUNTS_SOURCES_MAX][1024];
    char policies[1024];
};

static void paths_add(struct paths *out, const char *const *more)
{
    for (; *more != NULL; more++) {
        assert(out->count < PATHS_MAX);
        out->items[out->count++] = *more;
    }
}

/* Files that are replaced by renaming: so the folder is allowed, not the file. */
static void paths_add_accounts(struct paths *out, const struct config *c)
{
    paths_add(out, (const char *const[]){c->state, "/etc", NULL}); /* /etc: passwd, nsswitch.conf */
    for (size_t i = 0; i < c->accounts_count; i++)
        if (c->accounts[i].kind == ACCOUNTS_FROM_PASSWD) {
            const char *path = c->accounts[i].at;
            size_t n = (size_t)(strrchr(path, '/') - path);
            if (n == 0 || n >= sizeof out->folders[i])
                continue; /* in "/": not for us to open all of it; the file's own error tells */
            memcpy(out->folders[i], path, n);
            paths_add(out, (const char *const[]){out->folders[i], NULL});
        }
    if (c->oauth.introspection == NULL)
        return;
    paths_add(out, certificate_paths);
    paths_add(out, resolver_paths);
}

static void paths_of(const struct config *c, int which, struct paths *out)
{
    *out = (struct paths){.count = 0};
    if (which == PATH_SPOOL)
        paths_add(out, (const char *const[]){c->spool, NULL});
    else if (which == PATH_STATE)
        paths_add(out, (const char *const[]){c->state, NULL});
    else if (which == PATH_ANY)
        paths_add(out, (const char *const[]){"/", NULL});
    else if (which == PATH_ACCOUNTS)
        paths_add_accounts(out, c);
    else if (which == PATH_REPORTS) {
        snprintf(out->folders[0], sizeof out->folders[0], "%s/reports", c->state);
        paths_add(out, (const char *const[]){out->folders[0], NULL});
    } else if (which == PATH_HTTPS) {
        paths_add(out, (const char *const[]){"/etc", NULL}); /* hosts, resolv.conf */
        paths_add(out, certificate_paths);
        paths_add(out, resolver_paths);
    } else if (which == PATH_CERTIFICATES || which == PATH_POLICIES_AND_CERTIFICATES)
        paths_add(out, certificate_paths);
    if (which == PATH_POLICIES || which == PATH_POLICIES_AND_CERTIFICATES) {
        snprintf(out->policies, sizeof out->policies, "%s/mta-sts", c->state);
        paths_add(out, (const char *const[]){out->policies, NULL});
    }
}

static bool confine_user(struct process *p, int kind, struct io_user *out)
{
    const char *name = kind == USER_KEEPER  ? p->config->user_keeper
                       : kind == USER_QUEUE ? p->config->user_queue
                                            : p->config->user;
    if (io_user_by_name(name, out) == 0 && out->uid != 0)
        return true;
    event_begin(p->log, EVENT_ERROR, "process.no_user", 0);
    event_text(p->log, "user", name);
    event_text(p->log, "next",
               "create the user, name another in the section \"processes\", or use --foreground");
    event_end(p->log);
    return false;
}

static bool confine(struct process *p)
{
    size_t i = 0;
    while (confinements[i].role != p->ops->role)
        i++;
    if (!confinements[i].secrets) /* this process's own copy of the pages */
        config_forget_secrets((struct config *)p->config);
    if (!confinements[i].srs)
        config_forget_srs((struct config *)p->config);
    if (p->foreground)
        return true;
    struct io_user user = {0};
    bool root = confinements[i].user == USER_ROOT;
    if (!root && !confine_user(p, confinements[i].user, &user))
        return false;
    struct paths readable, writable;
    paths_of(p->config, confinements[i].read, &readable);
    paths_of(p->config, confinements[i].write, &writable);
    bool network = confinements[i].network == NETWORK_ANY ||
                   (confinements[i].network == NETWORK_REPORTS && p->config->reports.tls) ||
                   (confinements[i].network == NETWORK_ENDPOINT && p->config->oauth.introspection != NULL);
    struct io_confine c = {.uid = user.uid,
                           .gid = user.gid,
                           .paths_read = readable.items,
                           .paths_write = writable.items,
                           .keep_root = root,
                           .no_network = !network};
    char weaker[256] = "";
    int status = io_confine(&c, weaker);
    if (status != 0 || weaker[0] != '\0') {
        event_begin(p->log, status != 0 ? EVENT_ERROR : EVENT_NOTICE, "process.confine", 0);
        event_text(p->log, status != 0 ? "error" : "weaker", status != 0 ? io_error_text(status) : weaker);
        event_end(p->log);
    }
    return status == 0;
}

/* ---- peers
 * ---------------------------------------------------------------------------------------------------- */

static void peer_drop(struct peer *peer)
{
    struct process *p = peer->process;
    for (struct peer **at = &p->peers; *at != NULL; at = &(*at)->next)
        if (*at == peer) {
            *at = peer->next;
            break;
        }
    if (p->ops->detached != NULL)
        p->ops->detached(p, peer);
    io_channel_close(peer->channel);
    free(peer);
}

static void peer_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct peer *peer = arg;
    struct process *p = peer->process;
    if (ipc_allowed(type, peer->role, p->ops->role, fd >= 0)) {
        p->ops->frame(p, peer, type, payload, fd);
        return;
    }
    event_begin(p->log, EVENT_ERROR, "process.forbidden_frame", 0);
    event_text(p->log, "from", ipc_role_name(peer->role));
    event_u64(p->log, "type", type);
    event_end(p->log);
    if (fd >= 0)
        io_fs_close(fd);
    peer_drop(peer);
}

static void peer_closed(void *arg, int status)
{
    (void)status; /* the supervisor reports why the process ended */
    peer_drop(arg);
}

static const struct io_channel_ops peer_ops = {.frame = peer_frame, .closed = peer_closed};

static void attach(struct process *p, struct vr_str payload, int fd)
{
    struct ipc_reader r = ipc_reader(payload);
    uint32_t role = ipc_get_u32(&r), slot = ipc_get_u32(&r), generation = ipc_get_u32(&r);
    assert(ipc_done(&r) && fd >= 0); /* the supervisor is the same program */
    struct peer *peer = calloc(1, sizeof *peer);
    assert(peer != NULL);
    *peer = (struct peer){.process = p, .role = role, .slot = slot, .generation = generation};
    peer->channel = io_channel_new(p->io, fd, &peer_ops, peer);
    struct peer **at = &p->peers;
    while (*at != NULL && (*at)->generation > generation)
        at = &(*at)->next;
    peer->next = *at;
    *at = peer;
    if (p->ops->attached != NULL)
        p->ops->attached(p, peer);
}

struct peer *process_peer(struct process *p, enum ipc_role role)
{
    for (struct peer *peer = p->peers; peer != NULL; peer = peer->next)
        if (peer->role == role)
            return peer;
    return NULL;
}

struct vr_buf *process_frame(struct process *p)
{
    vr_buf_reset(&p->scratch);
    return &p->scratch;
}

void peer_send(struct peer *peer, enum ipc_type type, struct vr_buf *payload, int fd)
{
    assert(payload == NULL || !payload->too_big); /* senders bound what they pack below IO_FRAME_MAX */
    io_channel_send(peer->channel, (uint16_t)type, payload != NULL ? vr_buf_str(payload) : vr_str(NULL, 0),
                    fd);
}

/* ---- the supervisor's word
 * ------------------------------------------------------------------------------------- */

static void exit_at_last(void *arg)
{
    process_exit(arg, 0);
}

static void drain(struct process *p, int64_t deadline_ms)
{
    if (p->draining)
        return;
    p->draining = true;
    /* A process that cannot finish is ended all the same: what it held is replayed or tried again. */
    p->last = io_timer_new(p->io, exit_at_last, p);
    io_timer_start(p->last, deadline_ms + EXIT_GRACE_MS, 0);
    p->ops->drain(p, deadline_ms);
}

static void certificate(struct process *p, struct ipc_reader *r)
{
    uint32_t n = ipc_get_u32(r);
    struct vr_str chain = ipc_get_str(r), key = ipc_get_str(r);
    if (ipc_done(r) && p->ops->certificate != NULL)
        p->ops->certificate(p, n, chain, key);
}

static void supervisor_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct process *p = arg;
    struct ipc_reader r = ipc_reader(payload);
    switch (type) {
    case IPC_ATTACH:
        attach(p, payload, fd);
        break;
    case IPC_DRAIN:
        drain(p, ipc_get_u32(&r));
        break;
    case IPC_EXPECT:
        if (p->ops->expect != NULL)
            p->ops->expect(p, ipc_get_u32(&r));
        break;
    case IPC_CERTIFICATE:
        certificate(p, &r);
        break;
    default:
        break;
    }
}

static void supervisor_closed(void *arg, int status)
{
    struct process *p = arg;
    (void)status;
    io_channel_close(p->supervisor);
    p->supervisor = NULL;
    if (!p->draining) {
        drain(p, ORPHAN_DRAIN_MS); /* nobody would start us again: end in order */
        return;
    }
    /* Of an older generation. The queue that heard us ends soon, and the next server's will not know of us. */
    io_timer_start(p->last, ORPHAN_DRAIN_MS + EXIT_GRACE_MS, 0);
    if (p->ops->hurry != NULL)
        p->ops->hurry(p, ORPHAN_DRAIN_MS);
}

static const struct io_channel_ops supervisor_ops = {.frame = supervisor_frame, .closed = supervisor_closed};

/* ---- life
 * ------------------------------------------------------------------------------------------------------ */

void process_ready(struct process *p)
{
    if (p->supervisor != NULL)
        io_channel_send(p->supervisor, IPC_READY, vr_str(NULL, 0), -1);
}

void process_exit(struct process *p, int code)
{
    p->exit_code = code;
    for (struct peer *peer = p->peers; peer != NULL; peer = peer->next)
        io_channel_flush(peer->channel);
    event_log_flush(p->log);
    io_stop(p->io);
}

int process_main(void *process_arguments)
{
    const struct process_arguments *a = process_arguments;
    struct process p = {.ops = a->ops,
                        .config = a->config,
                        .slot = a->slot,
                        .generation = a->generation,
                        .listen_fds = a->listen_fds,
                        .listen_count = a->listen_count,
                        .number = a->number,
                        .crowd = a->crowd,
                        .certificates = a->certificates,
                        .foreground = a->foreground};
    p.io = io_new(a->ops->worker_threads);
    p.log = event_log_new(p.io, ipc_role_name(a->ops->role), a->config->log_format, a->config->log_level);
    vr_buf_init(&p.scratch, FRAME_SCRATCH_MAX);
    io_raise_descriptor_limit();
    int code = a->ops->prepare != NULL ? a->ops->prepare(&p, &p.data) : 0;
    if (code == 0 && !confine(&p))
        code = 77; /* EX_NOPERM */
    if (code == 0) {
        p.supervisor = io_channel_new(p.io, a->supervisor_fd, &supervisor_ops, &p);
        if (a->ops->start != NULL)
            a->ops->start(&p);
        if (p.exit_code == 0) { /* else it said why it cannot serve */
            if (!a->ops->ready_later)
                process_ready(&p);
            io_run(p.io);
        }
        code = p.exit_code;
    }
    event_log_flush(p.log);
    return code; /* the kernel takes back the rest */
}
