/* backend_passwd.c - accounts in a file (passwd_file.h) as a source.
 *
 * Promise:    what the file says now counts at once: before each group of questions a worker thread looks whether it changed, and reads it
 *             again when it did. An unknown account costs the work of a known one.
 * Invariants: (1) the table is the loop's and never changes; a fresh one takes its place between two groups
 *             (2) struct look belongs to the worker thread while `looking`, to the loop otherwise
 * Tests:      tests/unit/keeper_sources.c
 */
#include "keeper/backend.h"

#include "io/fs.h"
#include "keeper/hashes.h"
#include "keeper/passwd_file.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEMS_TOLD 20 /* of one reading; `veredus check` tells all */

struct look { /* what the worker thread may touch */
    const char *path;
    struct vr_str domain;
    struct io_fs_stat seen;
    bool ever, changed;
    struct passwd_table *table; /* the fresh one */
    int status;
    unsigned problem_count;
    struct {
        int line;
        char what[240];
    } problems[PROBLEMS_TOLD];
};

struct waiting {
    struct account_question *q;
    struct waiting *next;
};

struct backend {
    struct backend_parts parts;
    struct passwd_table *table; /* NULL: not read yet */
    int status;                 /* of the last look */
    bool looking;
    struct waiting *first, **last;
    struct look look;
};

struct verification { /* of one password; the hash is a copy, the table may go meanwhile */
    struct hashing_job job;
    struct backend *backend;
    struct account_question *q;
    bool known;
    int line;
    enum hash_verdict verdict;
    size_t hash_n, password_n;
    char hash[HASH_MAX], password[SASL_PASSWORD_MAX];
};

static struct backend *passwd_make(const struct backend_parts *parts, char error[256])
{
    struct backend *b = calloc(1, sizeof *b);
    assert(b != NULL);
    (void)error;
    b->parts = *parts;
    b->last = &b->first;
    b->look.path = parts->process->config->accounts[parts->source].at;
    b->look.domain = parts->process->config->accounts_domain;
    return b;
}

/* ---- looking at the file ---------------------------------------------------------------------------------------- */

static void note(void *arg, int line, bool warning, const char *what)
{
    struct look *l = arg;
    if (warning || l->problem_count >= PROBLEMS_TOLD)
        return;
    l->problems[l->problem_count].line = line;
    snprintf(l->problems[l->problem_count++].what, sizeof l->problems[0].what, "%s", what);
}

static void look(void *arg)
{
    struct look *l = arg;
    struct io_fs_stat st;
    l->changed = false;
    l->problem_count = 0;
    l->status = io_fs_stat(l->path, &st);
    if (l->status < 0) {
        l->ever = false; /* once it is back it is read, whatever its time */
        return;
    }
    if (l->ever && st.mtime_us == l->seen.mtime_us && st.size == l->seen.size)
        return;
    struct vr_buf text;
    vr_buf_init(&text, PASSWD_FILE_MAX);
    l->status = io_fs_read_file(l->path, &text);
    l->ever = l->status >= 0;
    if (l->status >= 0) {
        l->seen = st;
        l->changed = true;
        l->status = 0;
        l->table = passwd_parse(&text, l->domain, note, l);
    }
    if (text.p != NULL)
        explicit_bzero(text.p, text.capacity);
    vr_buf_fini(&text);
}

static void tell(struct backend *b)
{
    struct event_log *log = b->parts.process->log;
    for (unsigned i = 0; i < b->look.problem_count; i++) {
        event_begin(log, EVENT_WARNING, "accounts.problem", 0);
        event_text(log, "file", b->look.path);
        event_u64(log, "line", (uint64_t)b->look.problems[i].line);
        event_text(log, "problem", b->look.problems[i].what);
        event_end(log);
    }
    event_begin(log, EVENT_INFO, "accounts.read", 0);
    event_text(log, "file", b->look.path);
    event_u64(log, "accounts", passwd_count(b->table));
    event_end(log);
}

static void answer_now(struct backend *b, struct account_question *q);
static void looked(void *arg);

static void look_start(struct backend *b)
{
    b->looking = true;
    io_work(b->parts.process->io, look, looked, &b->look);
}

static void looked(void *arg)
{
    struct backend *b = (struct backend *)((char *)arg - offsetof(struct backend, look));
    struct waiting *all = b->first, *next;
    b->looking = false;
    b->first = NULL;
    b->last = &b->first;
    b->status = b->look.status;
    if (b->look.changed) {
        passwd_free(b->table);
        b->table = b->look.table;
        b->look.table = NULL;
        tell(b);
    }
    for (struct waiting *w = all; w != NULL; w = next) {
        next = w->next;
        answer_now(b, w->q);
        free(w);
    }
    if (b->first != NULL && !b->looking)
        look_start(b);
}

static void passwd_ask(struct backend *b, struct account_question *q)
{
    struct waiting *w = calloc(1, sizeof *w);
    assert(w != NULL);
    w->q = q;
    *b->last = w;
    b->last = &w->next;
    if (!b->looking)
        look_start(b);
}

/* ---- passwords ------------------------------------------------------------------------------------------------ */

static void verify(struct hashing_job *job)
{
    struct verification *v = (struct verification *)job;
    v->verdict = hash_verify(vr_str(v->hash, v->hash_n), vr_str(v->password, v->password_n));
    explicit_bzero(v->password, sizeof v->password);
}

static void verification_free(struct verification *v)
{
    explicit_bzero(v->hash, sizeof v->hash);
    explicit_bzero(v->password, sizeof v->password);
    free(v);
}

static void verified(struct hashing_job *job)
{
    struct verification *v = (struct verification *)job;
    struct account_question *q = v->q;
    char why[256];
    snprintf(why, sizeof why, "%.160s:%d: the hash is of no scheme that is known here, or cannot be computed",
             v->backend->look.path, v->line);
    enum accounts_result r = !v->known                     ? ACCOUNTS_NO_SUCH
                             : v->verdict == HASH_RIGHT    ? ACCOUNTS_OK
                             : v->verdict == HASH_UNUSABLE ? ACCOUNTS_TROUBLE
                                                           : ACCOUNTS_NO_SUCH;
    verification_free(v);
    backend_answer(q, r, r == ACCOUNTS_TROUBLE ? why : NULL);
}

static void verify_start(struct backend *b, struct account_question *q, const struct passwd_entry *e)
{
    struct vr_str hash = e != NULL ? e->hash : passwd_decoy(b->table), kept;
    bool weak;
    if (e != NULL && hash_kind(hash, &kept, &weak) == HASH_LOCKED) {
        hash = passwd_decoy(b->table); /* takes as long */
        e = NULL;
    }
    if (q->detail.n > SASL_PASSWORD_MAX || hash.n == 0) {
        backend_answer(q, ACCOUNTS_NO_SUCH, NULL);
        return;
    }
    struct verification *v = calloc(1, sizeof *v);
    assert(v != NULL);
    v->job = (struct hashing_job){.work = verify, .done = verified};
    v->backend = b;
    v->q = q;
    v->known = e != NULL;
    v->line = e != NULL ? e->line : 0;
    v->verdict = HASH_WRONG;
    v->hash_n = hash.n < sizeof v->hash ? hash.n : sizeof v->hash; /* longer ones are of no scheme */
    v->password_n = q->detail.n;
    memcpy(v->hash, hash.p, v->hash_n);
    memcpy(v->password, q->detail.p, q->detail.n);
    q->job = &v->job;
    if (hashing_submit(b->parts.hashing, &v->job))
        return;
    verification_free(v);
    backend_busy(q);
}

static void answer_now(struct backend *b, struct account_question *q)
{
    if (b->status < 0) {
        char why[256];
        snprintf(why, sizeof why, "cannot read the file of accounts %.160s: %s", b->look.path,
                 io_error_text(b->status));
        backend_answer(q, ACCOUNTS_TROUBLE, why);
        return;
    }
    const struct passwd_entry *e = passwd_find(b->table, q->account);
    if (q->want == ACCOUNT_PASSWORD)
        verify_start(b, q, e);
    else if (q->want == ACCOUNT_SENDER)
        backend_answer(q, e != NULL && address_same(q->account, q->detail) ? ACCOUNTS_OK : ACCOUNTS_NO_SUCH,
                       NULL);
    else
        backend_answer(q, e != NULL ? ACCOUNTS_OK : ACCOUNTS_NO_SUCH, NULL);
}

const struct backend_ops backend_passwd = {
    .name = "passwd",
    .wants = 1u << ACCOUNT_PASSWORD | 1u << ACCOUNT_MAILBOX | 1u << ACCOUNT_SENDER,
    .make = passwd_make,
    .ask = passwd_ask,
};
