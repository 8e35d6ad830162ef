/* keeper.c - see keeper.h. Frames in, answers out; the work is done in conversations.c (SASL), directory.c (accounts of all sources), tokens.c
 * (OAuth), lookups.c (the system's users) and signatures.c (DKIM).
 *
 * Promise:    the loop never waits: whatever reads the data base, the system's users or hashes a password runs on
 *             worker threads. Without a data base there are no accounts; it is looked for anew at each question.
 * Drain:      receivers ask the newest keeper, so an old one ends as soon as what it was asked is answered.
 * Tests:      tests/unit/keeper.c, tests/unit/keeper_sources.c
 */
#include "keeper/keeper.h"

#include "config/routing.h"
#include "io/fs.h"
#include "keeper/conversations.h"
#include "keeper/directory.h"
#include "keeper/lookups.h"
#include "keeper/signatures.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUTING_ARENA 65536

struct keeper {
    struct process *process;
    char path[512];
    uint8_t secret[16];
    struct throttle *throttle;
    struct lookups *lookups;
    struct hashing *hashing;
    struct directory *directory;
    struct tokens *tokens;
    struct conversations *conversations;
    struct signatures *signatures;
};

/* 0, or the exit code. */
static int sources_prepare(struct keeper *k)
{
    struct process *p = k->process;
    char error[256];
    k->lookups = lookups_new(p->io, k->path, k->secret, k);
    k->hashing = hashing_new(p->io, HASHING_QUEUED);
    k->directory = directory_new(p, k->path, k->lookups, k->hashing, k, error);
    bool good = k->directory != NULL;
    if (good && config_has_oauth(p->config)) {
        k->tokens = tokens_new(p, k->hashing, error);
        good = k->tokens != NULL;
    }
    if (good)
        return 0;
    event_begin(p->log, EVENT_ERROR, "keeper.sources", 0);
    event_text(p->log, "error", error);
    event_text(p->log, "next", "mend what is named, or take it out of the sections `accounts` and `oauth`");
    event_end(p->log);
    return 78; /* EX_CONFIG */
}

static int prepare(struct process *p, void **data)
{
    struct keeper *k = calloc(1, sizeof *k);
    assert(k != NULL);
    *data = k;
    k->process = p;
    if (snprintf(k->path, sizeof k->path, "%s/%s", p->config->state, KEEPER_DATABASE) >=
        (int)sizeof k->path) {
        event_begin(p->log, EVENT_ERROR, "keeper.path", 0);
        event_text(p->log, "error", "the path of the state folder is too long");
        event_text(p->log, "state", p->config->state);
        event_end(p->log);
        return 78; /* EX_CONFIG */
    }
    io_random(p->io, k->secret, sizeof k->secret);
    uint8_t key[16];
    io_random(p->io, key, sizeof key);
    k->throttle = throttle_new(key);
    int status = sources_prepare(k);
    if (status != 0)
        return status;
    k->conversations = conversations_new(p, k->directory, k->tokens, k->throttle, k->secret);
    k->signatures = signatures_new(p);
    /* asked once before the confinement: the C library may have to load modules for its user data bases */
    struct io_user nobody;
    (void)io_user_by_name("root", &nobody);
    return 0;
}

static void exit_when_idle(struct keeper *k)
{
    if (k->process->draining && conversations_idle(k->conversations) && directory_idle(k->directory) &&
        hashing_idle(k->hashing) && lookups_idle(k->lookups) && signatures_idle(k->signatures))
        process_exit(k->process, 0);
}

static void drain_check(void *arg)
{
    exit_when_idle(arg);
}

static void drain(struct process *p, int64_t deadline_ms)
{
    (void)deadline_ms; /* process.c ends us after it */
    io_on_turn_end(p->io, drain_check, p->data);
    exit_when_idle(p->data);
}

/* ---- mailboxes and senders --------------------------------------------------------------------------------------- */

static void answer(struct peer *peer, uint64_t ask, enum ipc_answer a, const struct io_user *system,
                   int64_t owner_since)
{
    struct vr_buf *b = process_frame(peer->process);
    ipc_put_u64(b, ask);
    ipc_put_u8(b, (uint8_t)a);
    ipc_put_u32(b, system != NULL ? system->uid : 0);
    ipc_put_u32(b, system != NULL ? system->gid : 0);
    ipc_put_str(b, vr_str_from(system != NULL ? system->home : ""));
    ipc_put_u64(b, (uint64_t)owner_since);
    peer_send(peer, IPC_ANSWER, b, -1);
}

static enum ipc_answer answer_of(enum accounts_result r)
{
    return r == ACCOUNTS_OK ? IPC_YES : r == ACCOUNTS_TROUBLE ? IPC_LATER : IPC_NO;
}

static void system_found(void *arg, struct lookup *l)
{
    (void)arg;
    if (l->owner != NULL)
        answer(l->owner, l->ask, answer_of(l->result), l->result == ACCOUNTS_OK ? &l->system : NULL,
               ACCOUNTS_OWNER_UNKNOWN);
}

static void mailbox_found(void *arg, struct account_question *q)
{
    (void)arg;
    answer(q->owner, q->ask, answer_of(q->result), NULL, q->owner_since);
}

/* An account may also use what the configuration leads to it: its aliases, and its own address with a detail behind the delimiter. */
static bool is_own_by_routing(const struct config *c, struct vr_str account, struct vr_str address)
{
    struct vr_arena arena;
    vr_arena_init(&arena, ROUTING_ARENA);
    struct vr_str name = address_key_of(&arena, account), text = address_key_of(&arena, address);
    struct address parsed;
    struct routing_answer routed;
    const char *why;
    bool own = routing_alias_of(c, text, name);
    if (!own && address_parse(&arena, text, ADDRESS_ALLOW_UTF8, &parsed, &why) == VR_OK &&
        routing_check(c, &arena, &parsed, &routed) == VR_OK)
        own = routed.verdict == RCPT_ASK_ACCOUNT && vr_str_equal(routed.mailbox, name);
    vr_arena_fini(&arena);
    return own;
}

static void sender_found(void *arg, struct account_question *q)
{
    struct keeper *k = arg;
    enum ipc_answer a = answer_of(q->result);
    if (a == IPC_NO && is_own_by_routing(k->process->config, q->account, q->detail))
        a = IPC_YES;
    answer(q->owner, q->ask, a, NULL, ACCOUNTS_OWNER_UNKNOWN);
}

static void ask_system(struct keeper *k, struct peer *peer, uint64_t number, struct vr_str address)
{
    struct lookup *l = lookups_ask(k->lookups, LOOKUP_SYSTEM_USER, VR_STR(""), address, system_found, peer);
    if (l != NULL)
        l->ask = number;
    else
        answer(peer, number, IPC_LATER, NULL, ACCOUNTS_OWNER_UNKNOWN);
}

static bool ask(struct keeper *k, struct peer *peer, uint16_t type, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    uint64_t number = ipc_get_u64(&r);
    bool system = type == IPC_MAILBOX_ASK && ipc_get_u8(&r) != 0;
    struct vr_str user = type == IPC_SENDER_ASK ? ipc_get_str(&r) : VR_STR("");
    struct vr_str address = ipc_get_str(&r);
    if (!ipc_done(&r))
        return false;
    if (system)
        ask_system(k, peer, number, address);
    else if (type == IPC_MAILBOX_ASK)
        directory_ask(k->directory, ACCOUNT_MAILBOX, address, VR_STR(""), VR_STR(""), mailbox_found, peer,
                      number);
    else
        directory_ask(k->directory, ACCOUNT_SENDER, user, address, VR_STR(""), sender_found, peer, number);
    return true;
}

/* ---- process_ops ------------------------------------------------------------------------------------------------- */

static void frame(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd)
{
    struct keeper *k = p->data;
    if (fd >= 0)
        io_fs_close(fd);
    bool good;
    if (type == IPC_MAILBOX_ASK || type == IPC_SENDER_ASK)
        good = ask(k, peer, type, payload);
    else if (type == IPC_SIGNERS_ASK || type == IPC_SIGN_ASK)
        good = signatures_frame(k->signatures, peer, type, payload);
    else if (type == IPC_PAM_ANSWER)
        good = directory_frame(k->directory, peer, type, payload);
    else
        good = conversations_frame(k->conversations, peer, type, payload);
    if (good)
        return;
    event_begin(p->log, EVENT_ERROR, "keeper.malformed_frame", 0);
    event_text(p->log, "from", ipc_role_name(peer->role));
    event_u64(p->log, "type", type);
    event_end(p->log);
}

static void detached(struct process *p, struct peer *peer)
{
    struct keeper *k = p->data;
    conversations_peer_gone(k->conversations, peer);
    lookups_forget(k->lookups, peer);
    signatures_forget(k->signatures, peer);
    directory_forget(k->directory, peer);
    directory_detached(k->directory, peer);
}

const struct process_ops keeper_ops = {
    .role = IPC_KEEPER,
    .worker_threads =
        2 * HASHING_MAX +
        2, /* passwords, signatures; always free: one for lookups, one for the file of accounts */
    .prepare = prepare,
    .frame = frame,
    .detached = detached,
    .drain = drain,
};
