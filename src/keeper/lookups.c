/* lookups.c - see lookups.h.
 *
 * Invariants: (1) struct worker belongs to the worker thread from io_work to its done call, to the loop otherwise
 *             (2) nothing is remembered from one batch to the next but the open connection, and that is dropped
 *                 when the file was replaced: what `veredus account` changed counts at once
 * Tests:      tests/unit/keeper.c
 */
#include "keeper/lookups.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 65536

struct worker {
    const char *path;
    struct accounts *db;
    struct lookup *batch;
    bool secret_known;
    uint8_t secret[16];
    char trouble[256];
};

struct lookups {
    struct io *io;
    struct worker worker;
    bool busy;
    struct lookup *first, **last; /* waiting for the next batch */
    size_t waiting;
    uint8_t *secret;
    void *keeper;
};

enum accounts_result accounts_open_if_there(const char *path, struct accounts **out, char error[256])
{
    struct io_fs_stat st;
    *out = NULL;
    if (io_fs_stat(path, &st) == -ENOENT)
        return ACCOUNTS_NO_SUCH;
    *out = accounts_open(path, false, error);
    return *out != NULL ? ACCOUNTS_OK : ACCOUNTS_TROUBLE;
}

/* ---- on the worker thread ----------------------------------------------------------------------------------- */

static enum accounts_result worker_open(struct worker *w)
{
    if (w->db != NULL && accounts_moved(w->db)) {
        accounts_close(w->db);
        w->db = NULL;
    }
    if (w->db != NULL)
        return ACCOUNTS_OK;
    enum accounts_result r = accounts_open_if_there(w->path, &w->db, w->trouble);
    if (r == ACCOUNTS_OK)
        w->secret_known = accounts_secret(w->db, w->secret) == ACCOUNTS_OK;
    return r;
}

/* The system user that a local address names: "ann@example.org" → ann. */
static enum accounts_result system_user(struct vr_str address, struct io_user *out)
{
    size_t at = vr_str_find_last(address, '@');
    struct vr_str local = vr_str_sub(address, 0, at == VR_NPOS ? address.n : at);
    char name[sizeof out->name];
    if (local.n == 0 || local.n >= sizeof name || memchr(local.p, '/', local.n) ||
        memchr(local.p, '\0', local.n))
        return ACCOUNTS_NO_SUCH;
    memcpy(name, local.p, local.n);
    name[local.n] = '\0';
    int status = io_user_by_name(name, out);
    return status == 0 ? ACCOUNTS_OK : status == -ENOENT ? ACCOUNTS_NO_SUCH : ACCOUNTS_TROUBLE;
}

static void worker_answer(struct worker *w, struct lookup *l)
{
    if (l->kind == LOOKUP_SYSTEM_USER) {
        l->result = system_user(l->address, &l->system);
        return;
    }
    l->result = worker_open(w);
    if (l->result != ACCOUNTS_OK)
        return;
    switch (l->kind) {
    case LOOKUP_ACCOUNT:
        l->result = accounts_owner_since(w->db, l->address, &l->owner_since);
        break;
    case LOOKUP_SENDER:
        l->result = accounts_may_send_as(w->db, l->user, l->address);
        break;
    case LOOKUP_SCRAM:
        l->result = accounts_scram(w->db, l->address, SASL_SHA256, &l->keys);
        break;
    case LOOKUP_SCRAM_SHA_1:
        l->result = accounts_scram(w->db, l->address, SASL_SHA1, &l->keys);
        break;
    case LOOKUP_CRAM:
        l->result = accounts_cram(w->db, l->address, &l->cram);
        break;
    case LOOKUP_SYSTEM_USER:
        break;
    }
    if (l->result == ACCOUNTS_TROUBLE)
        snprintf(w->trouble, sizeof w->trouble, "%s", accounts_error(w->db));
}

static void worker_run(void *arg)
{
    struct worker *w = arg;
    for (struct lookup *l = w->batch; l != NULL; l = l->next)
        worker_answer(w, l);
}

/* ---- in the loop -------------------------------------------------------------------------------------------- */

static void batch_done(void *arg);

static void batch_start(struct lookups *l)
{
    l->worker.batch = l->first;
    l->worker.trouble[0] = '\0';
    l->first = NULL;
    l->last = &l->first;
    l->waiting = 0;
    l->busy = true;
    /* the thread is given no more than what is its own; batch_done finds the rest around it */
    io_work(l->io, worker_run, batch_done, &l->worker);
}

static void batch_done(void *arg)
{
    struct worker *w = arg;
    struct lookups *l = (struct lookups *)((char *)w - offsetof(struct lookups, worker));
    if (w->secret_known)
        memcpy(l->secret, w->secret, sizeof w->secret);
    struct lookup *q;
    while ((q = w->batch) != NULL) { /* what is not told yet stays in reach of lookups_forget */
        w->batch = q->next;
        q->why = w->trouble;
        q->done(l->keeper, q);
        explicit_bzero(&q->keys, sizeof q->keys);
        explicit_bzero(&q->cram, sizeof q->cram);
        free(q);
    }
    l->busy = false;
    if (l->first != NULL)
        batch_start(l);
}

struct lookups *lookups_new(struct io *io, const char *path, uint8_t secret[16], void *keeper)
{
    struct lookups *l = calloc(1, sizeof *l);
    assert(l != NULL);
    l->io = io;
    l->worker.path = path;
    l->secret = secret;
    l->keeper = keeper;
    l->last = &l->first;
    return l;
}

struct lookup *lookups_ask(struct lookups *l, enum lookup_kind kind, struct vr_str user,
                           struct vr_str address, void (*done)(void *keeper, struct lookup *l), void *owner)
{
    if (l->waiting >= WAITING_MAX)
        return NULL;
    struct lookup *q = calloc(1, sizeof *q + user.n + address.n);
    assert(q != NULL);
    q->kind = kind;
    q->done = done;
    q->owner = owner;
    if (user.n > 0)
        memcpy(q->bytes, user.p, user.n);
    if (address.n > 0)
        memcpy(q->bytes + user.n, address.p, address.n);
    q->user = vr_str(q->bytes, user.n);
    q->address = vr_str(q->bytes + user.n, address.n);
    *l->last = q;
    l->last = &q->next;
    l->waiting++;
    if (!l->busy)
        batch_start(l);
    return q;
}

void lookups_forget(struct lookups *l, const void *owner)
{
    struct lookup *lists[] = {l->first, l->worker.batch};
    for (size_t i = 0; i < 2; i++)
        for (struct lookup *q = lists[i]; q != NULL; q = q->next)
            if (q->owner == owner)
                q->owner = NULL; /* the worker thread does not look at this field */
}

bool lookups_idle(const struct lookups *l)
{
    return !l->busy && l->first == NULL;
}
