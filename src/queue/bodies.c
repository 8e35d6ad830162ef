/* bodies.c - large bodies in files of their own, and the guard over the room on the disk.
 *
 * Life of a file: made for a receiver [bodies_open] -> written by it -> durable [bodies_commit], and only then the MESSAGE record that names
 * it is appended -> unlinked when the record that ends the message is durable [bodies_unlink]. Whatever else is found at start or a quarter
 * of an hour later, and was not touched for ten minutes, is an orphan.
 */
#include "queue/inside.h"

#include "io/fs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORPHAN_AGE_US  (10ll * 60 * 1000000)
#define SWEEP_AFTER_MS (15 * 60 * 1000)
#define INODES_LOW     256

struct body {
    uint64_t id; /* first: idmap */
    struct queue *queue;
    struct peer *peer; /* NULL: nobody waits for it any more */
    int fd;
    int status;
    bool working; /* in a worker */
    uint64_t size;
    char path[BODY_PATH], folder[BODY_PATH], root[BODY_PATH];
    void (*done)(void *arg, int status);
    void *arg;
};

/* ---- paths ---------------------------------------------------------------------------------------------------------------- */

/* Characters 9 and 10 of an id change about each millisecond: 1,024 folders, evenly filled. */
static void folder_path(const struct queue *q, uint64_t id, char out[BODY_PATH])
{
    char text[QUEUE_ID_TEXT];
    queue_id_text(id, text);
    snprintf(out, BODY_PATH, "%s/body/%.2s", q->spool, text + 8);
}

void bodies_path(const struct queue *q, uint64_t id, char out[BODY_PATH])
{
    char text[QUEUE_ID_TEXT];
    queue_id_text(id, text);
    snprintf(out, BODY_PATH, "%s/body/%.2s/%s", q->spool, text + 8, text);
}

/* ---- unlinking -------------------------------------------------------------------------------------------------------------- */

static void unlink_work(void *arg)
{
    (void)io_fs_unlink(arg); /* what stays is an orphan of the next start */
}

void bodies_unlink(struct queue *q, uint64_t id)
{
    char *path = malloc(BODY_PATH);
    assert(path != NULL);
    bodies_path(q, id, path);
    io_work(q->io, unlink_work, free, path);
}

static void body_free(struct queue *q, struct body *b, bool unlink)
{
    idmap_remove(&q->bodies, b->id);
    if (b->fd >= 0)
        io_fs_close(b->fd);
    if (unlink)
        bodies_unlink(q, b->id);
    free(b);
}

static void commit_work(void *arg);
static void commit_done(void *arg);

/* ---- opening ------------------------------------------------------------------------------------------------------------------ */

static void open_work(void *arg)
{
    struct body *b = arg;
    int made = io_fs_mkdir(b->folder, 0700);
    if (made == 0)
        made = io_fs_sync_directory(b->root);
    if (made < 0 && made != -EEXIST) {
        b->status = made;
        return;
    }
    /* Not cut: when it is there, an earlier queue made it for the same receiver, which may have written it by now. */
    b->fd = io_fs_open(b->path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_NO_FOLLOW, 0600);
    b->status = b->fd < 0 ? b->fd : 0;
}

static void open_done(void *arg)
{
    struct body *b = arg;
    struct queue *q = b->queue;
    if (b->done != NULL) { /* written already, by an earlier queue's descriptor */
        io_work(q->io, commit_work, commit_done, b);
        return;
    }
    b->working = false;
    if (b->peer == NULL) { /* dropped meanwhile */
        body_free(q, b, true);
        return;
    }
    int passed = b->status == 0 ? io_fs_dup(b->fd) : -1;
    if (b->status == 0 && passed < 0)
        b->status = passed;
    guard_full(q, b->status);
    struct vr_buf *frame = process_frame(q->process);
    ipc_put_u64(frame, b->id);
    ipc_put_u32(frame, (uint32_t)b->status);
    peer_send(b->peer, IPC_BODY_FILE, frame, b->status == 0 ? passed : -1);
    if (b->status != 0) {
        event_begin(q->events, EVENT_ERROR, "body.open_failed", b->id);
        event_text(q->events, "file", b->path);
        event_text(q->events, "error", io_error_text(b->status));
        event_text(q->events, "next", "the client was told to try again later");
        event_end(q->events);
        body_free(q, b, true);
    }
}

static struct body *body_new(struct queue *q, uint64_t id)
{
    struct body *b = calloc(1, sizeof *b);
    assert(b != NULL);
    b->id = id;
    b->queue = q;
    b->fd = -1;
    b->working = true;
    bodies_path(q, id, b->path);
    folder_path(q, id, b->folder);
    snprintf(b->root, sizeof b->root, "%s/body", q->spool);
    idmap_add(&q->bodies, b);
    return b;
}

void bodies_open(struct queue *q, struct peer *peer, uint64_t id)
{
    if (id == 0 || idmap_find(&q->bodies, id) != NULL || idmap_find(&q->messages, id) != NULL ||
        guard_refuses(q)) {
        struct vr_buf *frame = process_frame(q->process);
        ipc_put_u64(frame, id);
        ipc_put_u32(frame, (uint32_t)(guard_refuses(q) ? -ENOSPC : -EEXIST));
        peer_send(peer, IPC_BODY_FILE, frame, -1);
        return;
    }
    struct body *b = body_new(q, id);
    b->peer = peer;
    io_work(q->io, open_work, open_done, b);
}

void bodies_drop(struct queue *q, uint64_t id)
{
    struct body *b = idmap_find(&q->bodies, id);
    if (b == NULL || b->done != NULL) /* unknown, or it became a message */
        return;
    if (b->working)
        b->peer = NULL;
    else
        body_free(q, b, true);
}

bool bodies_committing(const struct queue *q, uint64_t id)
{
    const struct body *b = idmap_find(&q->bodies, id);
    return b != NULL && b->done != NULL;
}

bool bodies_idle(const struct queue *q)
{
    for (size_t i = 0; i < q->bodies.capacity; i++) {
        const struct body *b = idmap_slot(&q->bodies, i);
        if (b != NULL && b->done != NULL)
            return false;
    }
    return true;
}

void bodies_peer_gone(struct queue *q, struct peer *peer)
{
    uint64_t *ids = calloc(q->bodies.count + 1, sizeof *ids);
    assert(ids != NULL);
    size_t n = 0;
    for (size_t i = 0; i < q->bodies.capacity; i++) {
        struct body *b = idmap_slot(&q->bodies, i);
        if (b != NULL && b->peer == peer)
            ids[n++] = b->id;
    }
    for (size_t i = 0; i < n; i++)
        bodies_drop(q, ids[i]);
    free(ids);
}

/* ---- committing ------------------------------------------------------------------------------------------------------------------ */

static void commit_work(void *arg)
{
    struct body *b = arg;
    struct io_fs_stat st;
    if (b->fd < 0) /* the receiver began it with a queue that is gone */
        b->fd = io_fs_open(b->path, IO_FS_WRITE | IO_FS_NO_FOLLOW, 0);
    b->status = b->fd < 0 ? b->fd : io_fs_fstat(b->fd, &st);
    if (b->status == 0 && st.size != b->size)
        b->status = -EMSGSIZE;
    if (b->status == 0)
        b->status = io_fs_datasync(b->fd);
    if (b->status == 0)
        b->status = io_fs_sync_directory(b->folder);
    if (b->status == 0) /* who made the folder may not have come to it yet; once done it costs nothing */
        b->status = io_fs_sync_directory(b->root);
}

static void commit_done(void *arg)
{
    struct body *b = arg;
    struct queue *q = b->queue;
    int status = b->status;
    void (*done)(void *, int) = b->done;
    void *done_arg = b->arg;
    if (status != 0) {
        event_begin(q->events, EVENT_ERROR, "body.sync_failed", b->id);
        event_text(q->events, "file", b->path);
        event_text(q->events, "error",
                   status == -EMSGSIZE ? "it has not the size that the receiver named"
                                       : io_error_text(status));
        event_text(q->events, "next", "the client was told to try again later");
        event_end(q->events);
    }
    body_free(q, b, status != 0);
    done(done_arg, status);
}

void bodies_commit(struct queue *q, uint64_t id, uint64_t size, void (*done)(void *arg, int status),
                   void *arg)
{
    struct body *b = idmap_find(&q->bodies, id);
    bool opening = b != NULL && b->working;
    if (b == NULL)
        b = body_new(q, id);
    b->working = true;
    b->peer = NULL;
    b->size = size;
    b->done = done;
    b->arg = arg;
    if (!opening) /* else open_done does */
        io_work(q->io, commit_work, commit_done, b);
}

/* ---- orphans ------------------------------------------------------------------------------------------------------------------------ */

struct sweep {
    struct queue *queue;
    char root[BODY_PATH], folder[BODY_PATH];
    int64_t older_than_us;
    uint64_t *ids;
    size_t count, capacity;
};

static bool sweep_file(void *arg, const char *name)
{
    struct sweep *s = arg;
    uint64_t id;
    char path[BODY_PATH];
    struct io_fs_stat st;
    int n = snprintf(path, sizeof path, "%s/%s", s->folder, name);
    if (n < 0 || n >= BODY_PATH || !queue_id_parse(vr_str_from(name), &id) || io_fs_stat(path, &st) != 0 ||
        st.mtime_us > s->older_than_us)
        return true;
    if (s->count == s->capacity) {
        s->capacity = s->capacity > 0 ? 2 * s->capacity : 64;
        s->ids = realloc(s->ids, s->capacity * sizeof *s->ids);
        assert(s->ids != NULL);
    }
    s->ids[s->count++] = id;
    return true;
}

static bool sweep_folder(void *arg, const char *name)
{
    struct sweep *s = arg;
    int n = snprintf(s->folder, sizeof s->folder, "%s/%s", s->root, name);
    if (n > 0 && n < BODY_PATH)
        (void)io_fs_list(s->folder, sweep_file, s);
    return true;
}

static void sweep_work(void *arg)
{
    struct sweep *s = arg;
    (void)io_fs_list(s->root, sweep_folder, s);
}

static void sweep_done(void *arg)
{
    struct sweep *s = arg;
    struct queue *q = s->queue;
    size_t orphans = 0;
    for (size_t i = 0; i < s->count; i++)
        if (idmap_find(&q->messages, s->ids[i]) == NULL && idmap_find(&q->bodies, s->ids[i]) == NULL) {
            bodies_unlink(q, s->ids[i]);
            orphans++;
        }
    if (orphans > 0) {
        event_begin(q->events, EVENT_INFO, "body.orphans", 0);
        event_u64(q->events, "unlinked", orphans);
        event_end(q->events);
    }
    q->sweeping = false;
    free(s->ids);
    free(s);
}

static struct sweep *sweep_new(struct queue *q)
{
    struct sweep *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->queue = q;
    s->older_than_us = io_now_us(q->io) - ORPHAN_AGE_US;
    snprintf(s->root, sizeof s->root, "%s/body", q->spool);
    return s;
}

int bodies_start(struct queue *q)
{
    char root[BODY_PATH];
    snprintf(root, sizeof root, "%s/body", q->spool);
    int status = io_fs_mkdir_all(root, 0700);
    if (status == 0)
        status = io_fs_sync_parent(root);
    if (status != 0)
        return status;
    struct sweep *s = sweep_new(q);
    sweep_work(s);
    sweep_done(s);
    q->sweep_at_ms = io_monotonic_ms(q->io) + SWEEP_AFTER_MS;
    return 0;
}

void bodies_sweep(struct queue *q)
{
    if (q->sweeping || q->sweep_at_ms == 0 || io_monotonic_ms(q->io) < q->sweep_at_ms)
        return;
    q->sweep_at_ms = 0; /* once: later ones end with their receivers */
    q->sweeping = true;
    io_work(q->io, sweep_work, sweep_done, sweep_new(q));
}

/* ---- room on the disk ------------------------------------------------------------------------------------------------------------------ */

struct guard {
    struct queue *queue;
    int status;
    uint64_t bytes, inodes;
};

static void guard_work(void *arg)
{
    struct guard *g = arg;
    g->status = io_fs_free_space(g->queue->spool, &g->bytes, &g->inodes);
}

static void full_set(struct queue *q, bool full, uint64_t bytes, const char *why)
{
    if (q->full == full)
        return;
    q->full = full;
    event_begin(q->events, full ? EVENT_ERROR : EVENT_NOTICE, full ? "disk.full" : "disk.ok", 0);
    event_text(q->events, "spool", q->spool);
    event_u64(q->events, "free", bytes);
    event_u64(q->events, "minimum", q->config->minimum_free);
    if (full) {
        event_text(q->events, "why", why);
        event_text(q->events, "next",
                   "mail is refused with 452 until there is room: free space, or lower minimum_free");
    }
    event_end(q->events);
}

static void guard_done(void *arg)
{
    struct guard *g = arg;
    struct queue *q = g->queue;
    q->guard_running = false;
    uint64_t enough = q->config->minimum_free + (q->full ? q->config->minimum_free / 8 : 0); /* no flapping */
    if (qlog_short(q->log) != 0)
        full_set(q, true, g->bytes, "the file for the next segment of the log (segment_size) cannot be made");
    else if (g->status == 0 && (g->bytes < enough || (g->inodes < INODES_LOW && g->inodes > 0)))
        full_set(q, true, g->bytes, g->bytes < enough ? "few bytes are free" : "few inodes are free");
    else if (g->status == 0)
        full_set(q, false, g->bytes, "");
    free(g);
}

void guard_check(struct queue *q)
{
    if (q->guard_running)
        return;
    struct guard *g = calloc(1, sizeof *g);
    assert(g != NULL);
    g->queue = q;
    q->guard_running = true;
    io_work(q->io, guard_work, guard_done, g);
}

bool guard_refuses(const struct queue *q)
{
    return q->full || qlog_short(q->log) != 0;
}

void guard_full(struct queue *q, int status)
{
    if (status == -ENOSPC || status == -EDQUOT)
        full_set(q, true, 0, io_error_text(status));
}
