/* local.c - the local process: asks whose mailbox it is, and has worker threads write it.
 *
 * Promise:    a recipient is reported delivered only after its message is durable in new/; nothing in an address leads out of the folder
 *             that the configuration names.
 * States:     a copy (one recipient's): ASKING the keeper -> WRITING on a worker -> reported; or reported at once when refused.
 * Runs as:    root, becoming the owner for each delivery; in the foreground mode as the caller.
 * Tests:      tests/unit/local.c, tests/e2e/
 */
#include "local/local.h"

#include "io/fs.h"
#include "ipc/inflight.h"
#include "local/maildir.h"

#include <veredus/address.h>
#include <veredus/smtp.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <uthash.h>
#pragma GCC diagnostic pop

#define LOCAL_PART_MAX 128
#define KNOWN_MS       10000
#define KNOWN_MAX      10000
#define ASK_MS         30000
#define SWEEP_MS       1000

struct owner {
    uint32_t uid, gid;
    char home[256];
};

/* A mailbox that the keeper knew a moment ago, a folder that was there, or one whose name is durable. */
struct known {
    UT_hash_handle hh;
    int64_t until_ms;
    struct owner owner;
    size_t n;
    char key[];
};

struct copy {
    struct local *local;
    struct inflight_job *job;
    uint32_t index;                     /* in job->d.rcpts */
    const struct config_domain *domain; /* NULL: postmaster's own folder */
    struct vr_str local_part;           /* folded (address_fold) */
    bool cut;                           /* the delimiter has been cut already */
    struct owner owner;
    uint64_t ask; /* 0: none */
    int64_t asked_ms;
    struct maildir_write write;
    char *folder;
    char *inbox; /* the Maildir, when the message goes to its Junk */
    int status;
    UT_hash_handle hh; /* local->asking */
};

struct local {
    struct process *process;
    struct inflight *inflight;
    struct copy *asking;
    struct known *mailboxes, *folders;
    struct known *
        durable; /* folders synced with their parents since this process began; another one may have died between making and syncing */
    struct owner *owners; /* of the domains, by index; the last is the common user's */
    uint64_t last_ask, written;
    bool root;
    struct io_timer *sweep;
    char host[256];
};

/* ---- what is known ------------------------------------------------------------------------------------------------------ */

static struct known *known_find(struct known **table, struct vr_str key, int64_t now)
{
    struct known *k = NULL;
    HASH_FIND(hh, *table, key.p, key.n, k);
    if (k == NULL || k->until_ms > now)
        return k;
    HASH_DEL(*table, k);
    free(k);
    return NULL;
}

static void known_add(struct known **table, struct vr_str key, int64_t until, const struct owner *owner)
{
    struct known *k = NULL, *next;
    HASH_FIND(hh, *table, key.p, key.n, k);
    if (k != NULL)
        return;
    if (HASH_COUNT(*table) >= KNOWN_MAX)
        HASH_ITER(hh, *table, k, next)
        {
            HASH_DEL(*table, k);
            free(k);
        }
    k = calloc(1, sizeof *k + key.n);
    assert(k != NULL);
    k->until_ms = until;
    if (owner != NULL)
        k->owner = *owner;
    k->n = key.n;
    memcpy(k->key, key.p, key.n);
    HASH_ADD_KEYPTR(hh, *table, k->key, k->n, k);
}

/* How much of the path is durable, from its start on. */
static size_t durable_find(struct local *l, const char *folder)
{
    for (size_t n = strlen(folder); n > 1; n = maildir_parent(folder, n))
        if (known_find(&l->durable, vr_str(folder, n), 0) != NULL)
            return n;
    return 0;
}

static void durable_add(struct local *l, const char *folder)
{
    for (size_t n = strlen(folder); n > 1; n = maildir_parent(folder, n))
        known_add(&l->durable, vr_str(folder, n), INT64_MAX, NULL);
}

/* ---- the end of a copy -------------------------------------------------------------------------------------------------- */

static void maybe_exit(struct local *l)
{
    if (l->process->draining && inflight_idle(l->inflight))
        process_exit(l->process, 0);
}

static void copy_done(struct copy *c, enum delivery_status status, const char *enhanced, const char *text)
{
    struct local *l = c->local;
    struct inflight_job *job = c->job;
    inflight_settle(job, c->index, status, 0, vr_str_from(enhanced), vr_str_from(text));
    if (c->ask != 0)
        HASH_DEL(l->asking, c);
    free(c->folder);
    free(c->inbox);
    free(c);
    if (job->open == 0)
        inflight_report(l->inflight, job);
    maybe_exit(l);
}

static void report_trouble(struct copy *c)
{
    struct event_log *log = c->local->process->log;
    event_begin(log, EVENT_WARNING, "mailbox.failed", c->job->d.message);
    event_str(log, "to", c->job->d.rcpts[c->index].address);
    event_text(log, "folder", c->folder);
    event_text(log, "while", c->write.failed_at);
    event_text(log, "error", io_error_text(c->status));
    event_u64(log, "uid", c->write.uid);
    event_end(log);
}

static void written(void *arg)
{
    struct copy *c = arg;
    if (c->status == 0) {
        struct local *l = c->local;
        known_add(&l->folders, vr_str_from(c->folder), io_monotonic_ms(l->process->io) + KNOWN_MS, NULL);
        if (!c->write.folder_known)
            durable_add(l, c->folder);
        copy_done(c, DELIVERY_OK, "2.0.0", "delivered to the mailbox");
        return;
    }
    report_trouble(c);
    if (c->status == -EDQUOT)
        copy_done(c, DELIVERY_TEMPORARY, "4.2.2", "the mailbox is full");
    else if (c->status == -ENOSPC)
        copy_done(c, DELIVERY_TEMPORARY, "4.3.1", "the disk of the mailbox is full");
    else
        copy_done(c, DELIVERY_TEMPORARY, "4.2.0",
                  "the mailbox cannot be written now; the log of this server says why");
}

/* ---- writing ------------------------------------------------------------------------------------------------------------ */

static void work(void *arg)
{
    struct copy *c = arg;
    c->status = maildir_write(&c->write);
}

/* {domain}, {local} and {home} replaced; the parts were checked. */
static char *folder_of(const struct copy *c)
{
    struct vr_str template = c->domain->maildir;
    const struct {
        struct vr_str name, value;
    } parts[] = {{VR_STR("{domain}"), c->domain->name},
                 {VR_STR("{local}"), c->local_part},
                 {VR_STR("{home}"), vr_str_from(c->owner.home)}};
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    while (template.n > 0) {
        size_t skip = 1, i = 0;
        for (; i < sizeof parts / sizeof *parts; i++)
            if (vr_str_starts(template, parts[i].name))
                break;
        if (i < sizeof parts / sizeof *parts) {
            vr_buf_add(&b, parts[i].value);
            skip = parts[i].name.n;
        } else {
            vr_buf_add_byte(&b, template.p[0]);
        }
        template = vr_str_from_pos(template, skip);
    }
    vr_buf_add_byte(&b, '\0');
    char *folder = b.too_big ? NULL : strdup(vr_buf_str(&b).p);
    vr_buf_fini(&b);
    return folder;
}

/* What failed verification: into the folder that mail programs know by this name (Maildir++). False: no memory. */
static bool choose_junk(struct copy *c)
{
    if (c->folder == NULL || !(c->job->d.asks & ENVELOPE_QUARANTINE))
        return c->folder != NULL;
    struct vr_str junk = vr_arena_printf(&c->job->arena, "%s/.Junk", c->folder);
    c->inbox = c->folder;
    c->folder = junk.p != NULL ? strdup(junk.p) : NULL;
    return c->folder != NULL;
}

static struct vr_str head_of(struct copy *c)
{
    const struct delivery *d = &c->job->d;
    return vr_arena_printf(&c->job->arena, "Return-Path: <%.*s>\r\nDelivered-To: %.*s\r\n%.*s",
                           VR_STR_ARG(d->reverse_path), VR_STR_ARG(d->rcpts[c->index].address),
                           VR_STR_ARG(d->prefix));
}

static void copy_write(struct copy *c)
{
    struct local *l = c->local;
    const struct delivery *d = &c->job->d;
    if (c->domain != NULL) {
        c->folder = folder_of(c);
    } else {
        struct vr_str path = vr_arena_printf(&c->job->arena, "%s/postmaster", l->process->config->state);
        c->folder = path.p != NULL ? strdup(path.p) : NULL;
    }
    bool foldered = choose_junk(c);
    struct vr_str head = head_of(c);
    int64_t now = io_now_us(l->process->io);
    struct vr_str name = vr_arena_printf(&c->job->arena, "%lld.M%06lldP%dQ%llu.%s",
                                         (long long)(now / 1000000), (long long)(now % 1000000),
                                         io_process_id(), (unsigned long long)++l->written, l->host);
    if (!foldered || head.n == 0 || name.n == 0) {
        copy_done(c, DELIVERY_TEMPORARY, "4.3.0", "the message's header fields are too big to be delivered");
        return;
    }
    bool folder_known =
        known_find(&l->folders, vr_str_from(c->folder), io_monotonic_ms(l->process->io)) != NULL;
    c->write =
        (struct maildir_write){.folder = c->folder,
                               .inbox = c->inbox,
                               .name = name.p,
                               .uid = c->owner.uid,
                               .gid = c->owner.gid,
                               .become = l->root,
                               .folder_known = folder_known,
                               .durable = folder_known ? strlen(c->folder) : durable_find(l, c->folder),
                               .head = head,
                               .body = d->content,
                               .fd = d->large ? c->job->fd : -1,
                               .body_size = d->content_size,
                               .binary = d->body == SMTP_BODY_BINARYMIME};
    io_work(l->process->io, work, written, c);
}

/* ---- asking the keeper -------------------------------------------------------------------------------------------------- */

static struct vr_str mailbox_of(struct copy *c)
{
    return vr_arena_printf(&c->job->arena, "%.*s@%.*s", VR_STR_ARG(c->local_part),
                           VR_STR_ARG(c->domain->ascii));
}

static void ask(struct copy *c)
{
    struct peer *keeper = process_peer(c->local->process, IPC_KEEPER);
    if (keeper == NULL)
        return; /* asked when one attaches */
    struct vr_buf *b = process_frame(c->local->process);
    ipc_put_u64(b, c->ask);
    ipc_put_u8(b, c->domain->mailboxes == MAILBOXES_SYSTEM);
    ipc_put_str(b, mailbox_of(c));
    peer_send(keeper, IPC_MAILBOX_ASK, b, -1);
}

/* Cuts "+tag" off; false when there is none. */
static bool cut_delimiter(struct copy *c)
{
    size_t at =
        c->cut || c->domain->delimiter == 0 ? VR_NPOS : vr_str_find(c->local_part, c->domain->delimiter);
    c->cut = true;
    if (at == VR_NPOS || at == 0)
        return false;
    c->local_part.n = at;
    return true;
}

/* Nothing that the keeper, a new one, or the sweep says about the question concerns the copy from here on: a worker has it. */
static void ask_settled(struct copy *c)
{
    if (c->ask != 0)
        HASH_DEL(c->local->asking, c);
    c->ask = 0;
}

static void copy_look_up(struct copy *c)
{
    struct local *l = c->local;
    int64_t now = io_monotonic_ms(l->process->io);
    struct known *k = known_find(&l->mailboxes, mailbox_of(c), now);
    if (k != NULL) {
        c->owner = k->owner;
        ask_settled(c);
        copy_write(c);
        return;
    }
    if (c->ask == 0) {
        c->ask = ++l->last_ask;
        c->asked_ms = now;
        HASH_ADD(hh, l->asking, ask, sizeof c->ask, c);
    }
    ask(c);
}

static void answered(struct copy *c, uint8_t answer, const struct owner *owner)
{
    struct local *l = c->local;
    if (answer == IPC_LATER) {
        copy_done(c, DELIVERY_TEMPORARY, "4.3.0", "the accounts cannot be consulted now");
        return;
    }
    if (answer == IPC_NO) {
        if (cut_delimiter(c))
            copy_look_up(c);
        else
            copy_done(c, DELIVERY_NO_MAILBOX, "5.1.1", "no such mailbox here");
        return;
    }
    if (c->domain->mailboxes == MAILBOXES_SYSTEM)
        c->owner = *owner;
    known_add(&l->mailboxes, mailbox_of(c), io_monotonic_ms(l->process->io) + KNOWN_MS, &c->owner);
    ask_settled(c);
    copy_write(c);
}

/* ---- taking deliveries --------------------------------------------------------------------------------------------------- */

/* Nothing that is a path to elsewhere, hidden, or no file name at all. Beyond ASCII there is nothing that a file system takes for a slash: the parser saw
 * that it is valid UTF-8 without control characters. */
static bool safe_name(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '/' || (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return s.n > 0 && s.n <= LOCAL_PART_MAX && s.p[0] != '.';
}

static void copy_begin(struct local *l, struct inflight_job *job, uint32_t index)
{
    const struct config *config = l->process->config;
    struct copy *c = calloc(1, sizeof *c);
    assert(c != NULL);
    *c = (struct copy){.local = l, .job = job, .index = index};
    struct address a;
    const char *why;
    bool postmaster = job->d.next_hop.domain >= config->domain_count;
    c->domain = postmaster ? NULL : &config->domains[job->d.next_hop.domain];
    c->owner = l->owners[postmaster ? config->domain_count : job->d.next_hop.domain];
    if (postmaster) {
        copy_write(c);
        return;
    }
    if (address_parse(&job->arena, job->d.rcpts[index].address, ADDRESS_ALLOW_UTF8, &a, &why) != VR_OK) {
        copy_done(c, DELIVERY_PERMANENT, "5.1.3", "the address is not well-formed");
        return;
    }
    c->local_part = address_fold(&job->arena, a.local);
    if (!safe_name(c->local_part) || !safe_name(c->domain->name)) {
        copy_done(c, DELIVERY_PERMANENT, "5.1.3", "the address cannot be the name of a mailbox here");
        return;
    }
    if (c->domain->mailboxes != MAILBOXES_ANY) {
        copy_look_up(c);
        return;
    }
    cut_delimiter(c);
    copy_write(c);
}

static void take(struct local *l, const struct peer *queue, struct vr_str payload, int fd)
{
    struct inflight_job *job = inflight_take(l->inflight, queue, payload, fd);
    if (job == NULL)
        return;
    if (l->process->draining) {
        inflight_settle_rest(job, DELIVERY_CANCELLED, 0, VR_STR("4.3.2"),
                             VR_STR("the server is shutting down"));
        inflight_report(l->inflight, job);
        return;
    }
    for (uint32_t i = 0, n = job->d.rcpt_count; i < n; i++) /* after its last copy the job may be gone */
        copy_begin(l, job, i);
}

static void keeper_frame(struct local *l, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    struct copy *c = NULL;
    struct owner owner = {0};
    uint64_t id = ipc_get_u64(&r);
    uint8_t answer = ipc_get_u8(&r);
    owner.uid = ipc_get_u32(&r);
    owner.gid = ipc_get_u32(&r);
    struct vr_str home = ipc_get_str(&r);
    HASH_FIND(hh, l->asking, &id, sizeof id, c);
    if (c == NULL)
        return;
    snprintf(owner.home, sizeof owner.home, "%.*s", VR_STR_ARG(home));
    answered(c, home.n < sizeof owner.home ? answer : IPC_LATER, &owner);
}

static void frame(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd)
{
    (void)type;
    if (peer->role == IPC_QUEUE)
        take(p->data, peer, payload, fd);
    else
        keeper_frame(p->data, payload);
}

static void attached(struct process *p, struct peer *peer)
{
    struct local *l = p->data;
    if (peer->role == IPC_QUEUE) {
        inflight_attached(l->inflight, peer);
        return;
    }
    for (struct copy *c = l->asking; c != NULL;
         c = c->hh.next) /* the keeper before it may have died with the question */
        ask(c);
}

static void sweep(void *arg)
{
    struct local *l = arg;
    int64_t now = io_monotonic_ms(l->process->io);
    struct copy *c, *next;
    HASH_ITER(hh, l->asking, c, next)
    {
        if (now - c->asked_ms >= ASK_MS)
            answered(c, IPC_LATER, NULL);
    }
}

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

static bool find_owner(struct process *p, const char *name, struct owner *out)
{
    struct io_user user;
    if (io_user_by_name(name, &user) == 0) {
        out->uid = user.uid;
        out->gid = user.gid;
        return true;
    }
    event_begin(p->log, EVENT_ERROR, "mailbox.no_owner", 0);
    event_text(p->log, "user", name);
    event_text(p->log, "next", "create the user, or name another one as the domain's owner");
    event_end(p->log);
    return false;
}

static int prepare(struct process *p, void **data)
{
    struct local *l = calloc(1, sizeof *l);
    assert(l != NULL);
    const struct config *c = p->config;
    l->process = p;
    l->root = !p->foreground;
    l->inflight = inflight_new(p);
    l->owners = calloc(c->domain_count + 1, sizeof *l->owners);
    assert(l->owners != NULL);
    snprintf(l->host, sizeof l->host, "%.*s", VR_STR_ARG(c->hostname));
    *data = l;
    if (!l->root)
        return 0;
    char name[256];
    for (size_t i = 0; i <= c->domain_count; i++) {
        bool own = i < c->domain_count && c->domains[i].owner.n > 0;
        snprintf(name, sizeof name, "%.*s", own ? (int)c->domains[i].owner.n : (int)strlen(c->user),
                 own ? c->domains[i].owner.p : c->user);
        if (!find_owner(p, name, &l->owners[i]))
            return 78; /* EX_CONFIG */
    }
    return 0;
}

static void start(struct process *p)
{
    struct local *l = p->data;
    l->sweep = io_timer_new(p->io, sweep, l);
    io_timer_start(l->sweep, SWEEP_MS, SWEEP_MS);
}

static void drain(struct process *p, int64_t deadline_ms)
{
    (void)deadline_ms;
    maybe_exit(p->data);
}

const struct process_ops local_ops = {
    .role = IPC_LOCAL,
    .worker_threads = 32,
    .prepare = prepare,
    .start = start,
    .attached = attached,
    .frame = frame,
    .drain = drain,
};
