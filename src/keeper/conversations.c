/* conversations.c - see conversations.h. Each exchange is the sans-I/O machine of sasl.h; here its questions find their answers.
 *
 * Promise:    hashing runs on worker threads, a bounded number at a time; a client that keeps failing waits alone; passwords are
 *             wiped as soon as they were checked, and no event ever holds one.
 * States:     talking -> waiting [ask_secret, the client's delay] -> working [ask_now] -> talking | finished
 * Invariants: (1) an exchange has at most one job or lookup under way; it outlives the exchange, its pointer back does not
 *             (2) every exchange that was not aborted ends in one IPC_SASL_DONE
 * Tests:      tests/unit/keeper.c
 */
#include "keeper/conversations.h"

#include "io/env.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS       1024
#define MECHANISM_MAX 32
#define CLIENT_MAX    64

struct conversation;

/* A password to verify: what the worker thread may touch. */
struct verification {
    struct conversations *all;
    struct conversation *of; /* NULL: nobody waits any more */
    struct verification *next;
    const char *path;
    char user[SASL_USER_MAX], password[SASL_PASSWORD_MAX];
    size_t user_n, password_n;
    enum accounts_result result;
    char trouble[256];
};

struct conversation {
    struct conversations *all;
    struct peer *peer;
    uint64_t id;
    struct sasl_server *sasl;
    char mechanism[MECHANISM_MAX], client[CLIENT_MAX];
    enum sasl_step wants; /* what is asked when the delay is over */
    bool busy;            /* waiting or working: no step may come */
    struct verification *job;
    struct io_timer *delay;
    struct conversation *next;
};

struct conversations {
    struct process *process;
    const char *path;
    struct lookups *lookups;
    struct throttle *throttle;
    const uint8_t *secret;
    struct conversation *buckets[BUCKETS];
    size_t count;
    struct verification *first, **last; /* waiting */
    unsigned queued, running, running_max;
};

struct conversations *conversations_new(struct process *p, const char *path, struct lookups *lookups,
                                        struct throttle *throttle, const uint8_t secret[16])
{
    struct conversations *all = calloc(1, sizeof *all);
    assert(all != NULL);
    unsigned cores = io_core_count();
    all->process = p;
    all->path = path;
    all->lookups = lookups;
    all->throttle = throttle;
    all->secret = secret;
    all->last = &all->first;
    all->running_max = cores < VERIFICATIONS_MAX ? cores : VERIFICATIONS_MAX;
    return all;
}

bool conversations_idle(const struct conversations *all)
{
    return all->count == 0 && all->running == 0;
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

static struct conversation **slot_of(struct conversations *all, const struct peer *peer, uint64_t id)
{
    struct conversation **at = &all->buckets[(id * 31 + peer->slot) % BUCKETS];
    while (*at != NULL && ((*at)->peer != peer || (*at)->id != id))
        at = &(*at)->next;
    return at;
}

static void conversation_free(struct conversation *c)
{
    struct conversations *all = c->all;
    struct conversation **at = slot_of(all, c->peer, c->id);
    if (*at == c) {
        *at = c->next;
        all->count--;
    }
    if (c->job != NULL)
        c->job->of = NULL;
    lookups_forget(all->lookups, c);
    io_timer_free(c->delay);
    sasl_server_free(c->sasl);
    free(c);
}

static void send_done(struct conversations *all, struct peer *peer, uint64_t id, enum ipc_sasl verdict,
                      struct vr_str user)
{
    struct vr_buf *b = process_frame(all->process);
    ipc_put_u64(b, id);
    ipc_put_u8(b, (uint8_t)verdict);
    ipc_put_str(b, user);
    peer_send(peer, IPC_SASL_DONE, b, -1);
}

/* ---- the end of an exchange ---------------------------------------------------------------------------------- */

static void log_end(struct conversation *c, enum ipc_sasl verdict, const char *why, unsigned failures)
{
    struct event_log *log = c->all->process->log;
    event_begin(log, verdict == IPC_SASL_OK ? EVENT_INFO : EVENT_NOTICE,
                verdict == IPC_SASL_OK ? "auth.ok" : "auth.failed", 0);
    event_str(log, "user", sasl_server_user(c->sasl));
    event_text(log, "client", c->client);
    event_text(log, "mechanism", c->mechanism);
    if (verdict != IPC_SASL_OK)
        event_text(log, "reason", why);
    if (failures >= THROTTLE_FREE_FAILURES)
        event_u64(log, "failures", failures);
    event_end(log);
}

static void finish(struct conversation *c, enum ipc_sasl verdict, const char *why)
{
    struct conversations *all = c->all;
    char name[SASL_USER_MAX];
    struct vr_str user = sasl_server_user(c->sasl);
    size_t n = verdict == IPC_SASL_OK && user.n <= sizeof name ? user.n : 0;
    for (size_t i = 0; i < n; i++) /* the canonical name of an account is in lower case */
        name[i] = vr_lower(user.p[i]);
    unsigned failures = 0;
    if (verdict == IPC_SASL_OK || verdict == IPC_SASL_BAD)
        failures = throttle_result(all->throttle, vr_str_from(c->client), verdict == IPC_SASL_OK,
                                   io_monotonic_ms(all->process->io));
    log_end(c, verdict, why, failures);
    send_done(all, c->peer, c->id, verdict, vr_str(name, n));
    conversation_free(c);
}

/* ---- verifying passwords on worker threads -------------------------------------------------------------------- */

static void settle(struct conversation *c, enum sasl_step step, struct vr_str out);

static void verification_run(void *arg)
{
    struct verification *v = arg;
    struct accounts *db = NULL;
    v->result = accounts_open_if_there(v->path, &db, v->trouble);
    if (v->result == ACCOUNTS_OK)
        v->result = accounts_verify(db, vr_str(v->user, v->user_n), vr_str(v->password, v->password_n));
    explicit_bzero(v->password, sizeof v->password);
    if (db != NULL && v->result == ACCOUNTS_TROUBLE)
        snprintf(v->trouble, sizeof v->trouble, "%s", accounts_error(db));
    accounts_close(db);
}

static void verification_free(struct verification *v)
{
    explicit_bzero(v->password, sizeof v->password);
    free(v);
}

static void verification_done(void *arg);

static void verifications_start(struct conversations *all)
{
    while (all->first != NULL && all->running < all->running_max) {
        struct verification *v = all->first;
        all->first = v->next;
        if (all->first == NULL)
            all->last = &all->first;
        all->queued--;
        if (v->of == NULL) { /* the client left while it waited */
            verification_free(v);
            continue;
        }
        all->running++;
        io_work(all->process->io, verification_run, verification_done, v);
    }
}

static void verification_done(void *arg)
{
    struct verification *v = arg;
    struct conversations *all = v->all;
    struct conversation *c = v->of;
    all->running--;
    if (c != NULL) {
        c->job = NULL;
        c->busy = false;
        if (v->result == ACCOUNTS_TROUBLE) {
            finish(c, IPC_SASL_TEMPORARY, v->trouble);
        } else {
            struct vr_str out = {0};
            enum sasl_step step = sasl_server_password_checked(c->sasl, v->result == ACCOUNTS_OK, &out);
            settle(c, step, out);
        }
    }
    verification_free(v);
    verifications_start(all);
}

static void verify(struct conversation *c)
{
    struct conversations *all = c->all;
    struct vr_str user = sasl_server_user(c->sasl), password = sasl_server_password(c->sasl);
    struct verification *v = calloc(1, sizeof *v);
    assert(v != NULL && user.n <= sizeof v->user && password.n <= sizeof v->password);
    *v = (struct verification){
        .all = all, .of = c, .path = all->path, .user_n = user.n, .password_n = password.n};
    if (user.n > 0)
        memcpy(v->user, user.p, user.n);
    if (password.n > 0)
        memcpy(v->password, password.p, password.n);
    c->job = v;
    *all->last = v;
    all->last = &v->next;
    all->queued++;
    verifications_start(all);
}

/* ---- an exchange's steps --------------------------------------------------------------------------------------- */

static void found(void *keeper, struct lookup *l)
{
    struct conversation *c = l->owner;
    (void)keeper;
    if (c == NULL)
        return;
    c->busy = false;
    if (l->result == ACCOUNTS_TROUBLE) {
        finish(c, IPC_SASL_TEMPORARY, "the accounts data base cannot be read");
        return;
    }
    struct vr_str out = {0};
    enum sasl_step step;
    bool there = l->result == ACCOUNTS_OK;
    if (c->wants == SASL_NEED_SCRAM)
        step = sasl_server_scram_keys(c->sasl, there ? &l->keys : NULL, &out);
    else if (c->wants == SASL_NEED_CRAM)
        step = sasl_server_cram_keys(c->sasl, there ? &l->cram : NULL, &out);
    else
        step = sasl_server_identity_checked(c->sasl, there, &out);
    settle(c, step, out);
}

static bool look_up(struct conversation *c)
{
    enum lookup_kind kind = LOOKUP_ACCOUNT;
    if (c->wants == SASL_NEED_SCRAM)
        kind = sasl_server_hash(c->sasl) == SASL_SHA1 ? LOOKUP_SCRAM_SHA_1 : LOOKUP_SCRAM;
    else if (c->wants == SASL_NEED_CRAM)
        kind = LOOKUP_CRAM;
    return lookups_ask(c->all->lookups, kind, VR_STR(""), sasl_server_user(c->sasl), found, c) != NULL;
}

/* Nobody here knows tokens: every one is refused. */
static void refuse_token(struct conversation *c)
{
    struct vr_str out = {0};
    c->busy = false;
    enum sasl_step step =
        sasl_server_token_checked(c->sasl, &(struct sasl_token_verdict){.good = false}, &out);
    settle(c, step, out);
}

static void ask_now(void *arg)
{
    struct conversation *c = arg;
    bool begun = true;
    if (c->wants == SASL_NEED_TOKEN)
        refuse_token(c);
    else if (c->wants != SASL_NEED_PASSWORD)
        begun = look_up(c);
    else if (c->all->queued < VERIFICATIONS_QUEUED)
        verify(c);
    else
        begun = false;
    if (!begun)
        finish(c, IPC_SASL_TEMPORARY, "too many log-ins at a time");
}

/* A password, keys or a token are to be looked at: at once, or when the client's turn comes. */
static void ask_secret(struct conversation *c, enum sasl_step wants)
{
    struct conversations *all = c->all;
    c->wants = wants;
    c->busy = true;
    int64_t delay = throttle_delay(all->throttle, vr_str_from(c->client), io_monotonic_ms(all->process->io));
    if (delay < 0) {
        finish(c, IPC_SASL_TEMPORARY, "too many failures from this client: turned away");
    } else if (delay == 0) {
        ask_now(c);
    } else {
        c->delay = io_timer_new(all->process->io, ask_now, c);
        io_timer_start(c->delay, delay, 0);
    }
}

static void settle(struct conversation *c, enum sasl_step step, struct vr_str out)
{
    switch (step) {
    case SASL_CHALLENGE: {
        struct vr_buf *b = process_frame(c->all->process);
        ipc_put_u64(b, c->id);
        ipc_put_str(b, out);
        peer_send(c->peer, IPC_SASL_CHALLENGE, b, -1);
        break;
    }
    case SASL_NEED_PASSWORD:
    case SASL_NEED_SCRAM:
    case SASL_NEED_CRAM:
    case SASL_NEED_TOKEN:
    case SASL_NEED_IDENTITY:
        ask_secret(c, step);
        break;
    case SASL_DONE:
        finish(c, IPC_SASL_OK, "");
        break;
    case SASL_FAILED:
        finish(c, sasl_server_malformed(c->sasl) ? IPC_SASL_MALFORMED : IPC_SASL_BAD,
               sasl_server_why(c->sasl));
        break;
    }
}

static void copy_text(char *out, size_t size, struct vr_str s)
{
    size_t n = s.n < size ? s.n : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = s.p[i];
    out[n] = '\0';
}

static struct sasl_server *sasl_new(struct conversations *all, const struct sasl_start *f)
{
    struct sasl_server_config config = {
        .hostname = all->process->config->hostname,
        .binding = {.tls_exporter = f->tls_exporter,
                    .tls_unique = f->tls_unique,
                    .tls_server_end_point = f->tls_server_end_point},
        .plus_offered = f->plus_offered,
        .identity = f->identity,
    };
    io_random(all->process->io, config.nonce, sizeof config.nonce);
    memcpy(config.fake_key, all->secret, sizeof config.fake_key);
    struct sasl_server *sasl = sasl_server_new(f->mechanism, &config);
    explicit_bzero(&config, sizeof config);
    return sasl;
}

static void start(struct conversations *all, struct peer *peer, const struct sasl_start *f)
{
    struct conversation **at = slot_of(all, peer, f->conversation);
    if (*at != NULL) { /* the receiver began anew without a word */
        conversation_free(*at);
        at = slot_of(all, peer, f->conversation);
    }
    struct sasl_server *sasl = all->count < CONVERSATIONS_MAX ? sasl_new(all, f) : NULL;
    if (sasl == NULL) {
        send_done(all, peer, f->conversation,
                  all->count < CONVERSATIONS_MAX ? IPC_SASL_UNKNOWN_MECHANISM : IPC_SASL_TEMPORARY,
                  VR_STR(""));
        return;
    }
    struct conversation *c = calloc(1, sizeof *c);
    assert(c != NULL);
    *c = (struct conversation){.all = all, .peer = peer, .id = f->conversation, .sasl = sasl};
    copy_text(c->mechanism, sizeof c->mechanism, f->mechanism);
    copy_text(c->client, sizeof c->client, f->client);
    *at = c;
    all->count++;
    struct vr_str out = {0};
    enum sasl_step step = sasl_server_step(sasl, f->initial, f->has_initial, &out);
    settle(c, step, out);
}

static void step(struct conversation *c, struct vr_str response)
{
    if (c->busy) { /* nothing was asked of the client: a receiver that mixes up its exchanges */
        finish(c, IPC_SASL_MALFORMED, "a response came before its challenge");
        return;
    }
    struct vr_str out = {0};
    enum sasl_step next = sasl_server_step(c->sasl, response, true, &out);
    settle(c, next, out);
}

bool conversations_frame(struct conversations *all, struct peer *peer, uint16_t type, struct vr_str payload)
{
    if (type == IPC_SASL_START) {
        struct sasl_start f;
        bool good = ipc_sasl_start_unpack(payload, &f);
        if (good)
            start(all, peer, &f);
        return good;
    }
    struct ipc_reader r = ipc_reader(payload);
    uint64_t id = ipc_get_u64(&r);
    struct vr_str response = type == IPC_SASL_STEP ? ipc_get_str(&r) : VR_STR("");
    if (!ipc_done(&r))
        return false;
    struct conversation *c = *slot_of(all, peer, id);
    if (c == NULL && type == IPC_SASL_STEP) /* ended already, or of a keeper before us */
        send_done(all, peer, id, IPC_SASL_TEMPORARY, VR_STR(""));
    else if (c != NULL && type == IPC_SASL_STEP)
        step(c, response);
    else if (c != NULL)
        conversation_free(c);
    return true;
}

void conversations_peer_gone(struct conversations *all, struct peer *peer)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct conversation **at = &all->buckets[i]; *at != NULL;)
            if ((*at)->peer == peer)
                conversation_free(*at); /* which takes it out of this chain */
            else
                at = &(*at)->next;
}
