/* signatures.c - see signatures.h.
 *
 * Each question is a job on a worker thread: it reads the domain's file when that has changed, and signs. Signatures have a line of their own, so that nobody who
 * tries passwords holds up mail.
 * Invariants: (1) a ring is never changed once it is shared; the loop alone counts who uses it, and jobs that run hold one
 *             (2) a job is in `jobs` from its question to its answer
 * Tests:      tests/unit/keeper_signatures.c
 */
#include "keeper/signatures.h"

#include "keeper/dkim_store.h"
#include "keeper/hashing.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/queue.h>
#include <uthash.h>

#define JOB_ARENA (64u << 10)

/* The keys of a domain as they were read last. */
struct shared {
    struct dkim_ring *ring;
    uint64_t version;
    unsigned users;
};

struct known {
    UT_hash_handle hh;
    struct shared *shared;
    size_t n;
    char domain[];
};

struct job {
    struct hashing_job base; /* first: the pool's */
    struct signatures *all;
    struct peer *peer; /* NULL: it is gone */
    uint64_t ask;
    bool signs; /* IPC_SIGN_ASK */
    const char *state;
    int64_t now;
    struct vr_arena arena;
    struct vr_str domain;
    struct ipc_signers signers; /* what is asked, then what is answered; in the arena */
    struct shared *shared;      /* what was known when it was asked; NULL: nothing */
    struct dkim_ring *fresh;    /* what was read; NULL: nothing new */
    uint64_t version;
    enum dkim_store_result read;
    enum ipc_answer answer;
    char error[DKIM_STORE_ERROR];
    LIST_ENTRY(job) entry;
};

struct signatures {
    struct process *process;
    struct hashing *pool;
    struct known *known;
    LIST_HEAD(, job) jobs;
    char told[DKIM_STORE_ERROR], told_of[256]; /* the trouble that the log has last, and its domain */
};

struct signatures *signatures_new(struct process *p)
{
    struct signatures *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->process = p;
    s->pool = hashing_new(p->io, SIGNATURES_QUEUED);
    LIST_INIT(&s->jobs);
    return s;
}

bool signatures_idle(const struct signatures *s)
{
    return LIST_EMPTY(&s->jobs);
}

void signatures_forget(struct signatures *s, const struct peer *peer)
{
    struct job *j;
    LIST_FOREACH(j, &s->jobs, entry)
    if (j->peer == peer) {
        j->peer = NULL;
        j->base.abandoned = true;
    }
}

/* ---- on a worker thread ------------------------------------------------------------------------------------------- */

static void find_signers(struct job *j, struct dkim_ring *ring)
{
    static const enum dkim_algorithm algorithms[] = {DKIM_RSA_SHA256, DKIM_ED25519_SHA256};
    j->signers.count = 0;
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        const struct dkim_stored *k = dkim_ring_signer(ring, algorithms[i], j->now);
        if (k != NULL)
            j->signers.list[j->signers.count++] =
                (struct ipc_signer){(uint8_t)algorithms[i], vr_arena_dup(&j->arena, k->selector), {NULL, 0}};
    }
    j->answer = j->signers.count > 0 ? IPC_YES : IPC_NO;
}

static bool may_sign(const struct dkim_stored *k, const struct job *j)
{
    return k != NULL && (dkim_phase_of(k, j->now) == DKIM_SIGNING ||
                         (dkim_phase_of(k, j->now) != DKIM_WAITING && j->now < k->until + SIGNATURES_GRACE));
}

static void sign_all(struct job *j, struct dkim_ring *ring)
{
    j->answer = IPC_YES;
    for (size_t i = 0; j->answer == IPC_YES && i < j->signers.count; i++) {
        struct ipc_signer *s = &j->signers.list[i];
        const struct dkim_stored *k = dkim_ring_find(ring, s->selector);
        struct vr_str signature = {0};
        if (!may_sign(k, j) || dkim_key_algorithm(k->key) != s->algorithm)
            j->answer = IPC_NO;
        else if (dkim_key_sign(k->key, (const uint8_t *)s->bytes.p, &j->arena, &signature) != VR_OK) {
            snprintf(j->error, sizeof j->error, "OpenSSL does not sign with the key %.64s of %.255s",
                     s->selector.p, j->domain.p);
            j->answer = IPC_LATER;
        }
        s->bytes = signature;
    }
}

static void job_work(struct hashing_job *base)
{
    struct job *j = (struct job *)base;
    struct vr_str name;
    j->answer = IPC_NO;
    j->version = j->shared != NULL ? j->shared->version : 0;
    j->read = dkim_store_domain(&j->arena, j->domain, &name, j->error);
    if (j->read == DKIM_STORE_OK)
        j->read = dkim_store_reload(j->state, name, &j->version, &j->fresh, j->error);
    struct dkim_ring *ring = j->read == DKIM_STORE_OK     ? j->fresh
                             : j->read == DKIM_STORE_SAME ? j->shared->ring
                                                          : NULL;
    if (ring != NULL && j->signs)
        sign_all(j, ring);
    else if (ring != NULL)
        find_signers(j, ring);
    else if (j->read == DKIM_STORE_TROUBLE)
        j->answer = IPC_LATER;
}

/* ---- in the loop ------------------------------------------------------------------------------------------------------ */

static void shared_leave(struct shared *s)
{
    if (s == NULL || --s->users > 0)
        return;
    dkim_ring_free(s->ring);
    free(s);
}

static struct known *known_find(struct signatures *s, struct vr_str domain)
{
    struct known *k = NULL;
    HASH_FIND(hh, s->known, domain.p, domain.n, k);
    return k;
}

static void known_forget(struct signatures *s, struct vr_str domain)
{
    struct known *k = known_find(s, domain);
    if (k == NULL)
        return;
    HASH_DEL(s->known, k);
    shared_leave(k->shared);
    free(k);
}

static void known_set(struct signatures *s, struct vr_str domain, struct dkim_ring *ring, uint64_t version)
{
    known_forget(s, domain);
    struct known *k = malloc(sizeof *k + domain.n);
    assert(k != NULL);
    k->shared = calloc(1, sizeof *k->shared);
    assert(k->shared != NULL);
    *k->shared = (struct shared){ring, version, 1};
    k->n = domain.n;
    memcpy(k->domain, domain.p, domain.n);
    HASH_ADD_KEYPTR(hh, s->known, k->domain, k->n, k);
}

/* Once for each new reason: all mail of the domain comes here. */
static void report(struct signatures *s, const struct job *j)
{
    bool same = vr_str_equal(j->domain, vr_str_from(s->told_of));
    if (j->answer != IPC_LATER) {
        if (same)
            s->told_of[0] = '\0';
        return;
    }
    if (same && strcmp(s->told, j->error) == 0)
        return;
    memcpy(s->told, j->error, sizeof s->told);
    snprintf(s->told_of, sizeof s->told_of, "%.*s", VR_STR_ARG(j->domain));
    event_begin(s->process->log, EVENT_ERROR, "keeper.dkim", 0);
    event_str(s->process->log, "domain", j->domain);
    event_text(s->process->log, "error", j->error);
    event_text(s->process->log, "next", "mail that this domain signs is put off (451) until this is mended");
    event_end(s->process->log);
}

static void send_answer(struct peer *peer, bool signs, uint64_t ask, enum ipc_answer answer,
                        const struct ipc_signers *signers)
{
    static const struct ipc_signers none = {.count = 0};
    struct vr_buf *b = process_frame(peer->process);
    ipc_put_u64(b, ask);
    ipc_put_u8(b, (uint8_t)answer);
    ipc_put_signers(b, answer == IPC_YES ? signers : &none);
    peer_send(peer, signs ? IPC_SIGNED : IPC_SIGNERS, b, -1);
}

static void job_done(struct hashing_job *base)
{
    struct job *j = (struct job *)base;
    struct signatures *s = j->all;
    if (j->fresh != NULL)
        known_set(s, j->domain, j->fresh, j->version);
    else if (j->read == DKIM_STORE_NONE || j->read == DKIM_STORE_TROUBLE)
        known_forget(s, j->domain);
    if (!j->base.abandoned)
        report(s, j);
    if (j->peer != NULL)
        send_answer(j->peer, j->signs, j->ask, j->answer, &j->signers);
    shared_leave(j->shared);
    LIST_REMOVE(j, entry);
    vr_arena_fini(&j->arena);
    free(j);
}

/* ---- questions ------------------------------------------------------------------------------------------------------------ */

/* Copies what is asked into the job's arena. */
static bool keep(struct job *j, struct vr_str domain, const struct ipc_signers *asked)
{
    j->domain = vr_arena_dup(&j->arena, domain);
    bool good = j->domain.n > 0 && domain.n <= 255;
    j->signers.count = asked->count;
    for (size_t i = 0; good && i < asked->count; i++) {
        j->signers.list[i] =
            (struct ipc_signer){asked->list[i].algorithm, vr_arena_dup(&j->arena, asked->list[i].selector),
                                vr_arena_dup(&j->arena, asked->list[i].bytes)};
        good = asked->list[i].bytes.n == DKIM_DIGEST && asked->list[i].selector.n > 0 &&
               asked->list[i].selector.n <= 255;
    }
    return good;
}

static void submit(struct signatures *s, struct job *j)
{
    struct known *k = known_find(s, j->domain);
    if (k != NULL) {
        j->shared = k->shared;
        j->shared->users++;
    }
    if (hashing_submit(s->pool, &j->base))
        return;
    j->answer = IPC_LATER;
    snprintf(j->error, sizeof j->error, "more than %u signatures wait for a processor", SIGNATURES_QUEUED);
    job_done(&j->base);
}

bool signatures_frame(struct signatures *s, struct peer *peer, uint16_t type, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    struct ipc_signers asked = {.count = 0};
    uint64_t ask = ipc_get_u64(&r);
    struct vr_str domain = ipc_get_str(&r);
    if (type == IPC_SIGN_ASK)
        ipc_get_signers(&r, &asked);
    if (!ipc_done(&r) || (type == IPC_SIGN_ASK && asked.count == 0))
        return false;
    struct job *j = calloc(1, sizeof *j);
    assert(j != NULL);
    *j = (struct job){.base = {.work = job_work, .done = job_done},
                      .all = s,
                      .peer = peer,
                      .ask = ask,
                      .signs = type == IPC_SIGN_ASK,
                      .state = s->process->config->state,
                      .now = io_now_us(s->process->io) / 1000000,
                      .read = DKIM_STORE_INVALID};
    vr_arena_init(&j->arena, JOB_ARENA);
    LIST_INSERT_HEAD(&s->jobs, j, entry);
    bool good = keep(j, domain, &asked);
    if (good) {
        submit(s, j);
    } else {
        LIST_REMOVE(j, entry);
        vr_arena_fini(&j->arena);
        free(j);
    }
    return good;
}
