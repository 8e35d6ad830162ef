/* backend_pam.c - PAM as a source: questions go to the pam process, which may do what PAM needs (src/pam/README.md).
 *
 * Names:      `pam_name = local` (the default) asks for the local part, and only of addresses that are system users by configuration: those of
 *             `accounts.domain` and of domains with `mailboxes = system`. Else ann of one domain would be ann of all.
 *             Which mailboxes exist is asked of the system's users (nsswitch), since PAM does not say.
 * Tests:      tests/unit/keeper_sources.c, tests/e2e/test_accounts.py
 */
#include "keeper/backend.h"

#include "config/routing.h"
#include "keeper/pending.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_MS 1000
#define GRACE_MS 2000 /* the pam process knows the time limit too, and tells more about what was late */

struct backend {
    struct backend_parts parts;
    struct pending pending;
    struct io_timer *sweep;
};

static void sweep(void *arg)
{
    struct backend *b = arg;
    struct account_question *q;
    while ((q = pending_expired(&b->pending, io_monotonic_ms(b->parts.process->io))) != NULL)
        backend_answer(q, ACCOUNTS_TROUBLE, "the process that asks PAM does not answer");
    if (b->pending.count == 0)
        io_timer_stop(b->sweep);
}

static struct backend *pam_make(const struct backend_parts *parts, char error[256])
{
    struct backend *b = calloc(1, sizeof *b);
    assert(b != NULL);
    (void)error;
    b->parts = *parts;
    b->sweep = io_timer_new(parts->process->io, sweep, b);
    return b;
}

/* What PAM is asked for; false: this account is none of PAM's. */
static bool name_of(const struct config *c, struct vr_str account, struct vr_str *name)
{
    size_t at = vr_str_find_last(account, '@');
    *name = account;
    if (c->pam_address || at == VR_NPOS)
        return account.n > 0;
    struct vr_str domain = vr_str_from_pos(account, at + 1);
    const struct config_domain *d = routing_domain(c, domain);
    *name = vr_str_sub(account, 0, at);
    return name->n > 0 &&
           (vr_str_equal(domain, c->accounts_domain) || (d != NULL && d->mailboxes == MAILBOXES_SYSTEM));
}

static void ask_password(struct backend *b, struct account_question *q)
{
    struct process *p = b->parts.process;
    struct peer *peer = process_peer(p, IPC_PAM);
    struct vr_str name;
    if (!name_of(p->config, q->account, &name)) {
        backend_answer(q, ACCOUNTS_NO_SUCH, NULL);
        return;
    }
    if (peer == NULL) {
        backend_answer(q, ACCOUNTS_TROUBLE, "the process that asks PAM is being started");
        return;
    }
    uint32_t id =
        pending_add(&b->pending, q, io_monotonic_ms(p->io) + p->config->accounts_timeout + GRACE_MS, peer);
    if (id == 0) {
        backend_busy(q);
        return;
    }
    if (b->pending.count == 1)
        io_timer_start(b->sweep, SWEEP_MS, SWEEP_MS);
    struct vr_buf *f = process_frame(p);
    ipc_put_u64(f, (uint64_t)b->parts.source << 32 | id);
    ipc_put_u32(f, b->parts.source);
    ipc_put_str(f, name);
    ipc_put_str(f, q->detail);
    ipc_put_str(f, vr_str_equal(q->client, VR_STR("unix")) ? VR_STR("") : q->client);
    peer_send(peer, IPC_PAM_ASK, f, -1);
    explicit_bzero(f->p, f->capacity); /* the password */
}

static void user_found(void *keeper, struct lookup *l)
{
    struct account_question *q = l->owner;
    (void)keeper;
    bool own = q->want == ACCOUNT_MAILBOX || address_same(q->account, q->detail);
    if (l->result == ACCOUNTS_TROUBLE)
        backend_answer(q, ACCOUNTS_TROUBLE, "the system's users cannot be looked up");
    else
        backend_answer(q, own ? l->result : ACCOUNTS_NO_SUCH, NULL);
}

static void pam_ask(struct backend *b, struct account_question *q)
{
    const struct config *c = b->parts.process->config;
    struct vr_str name;
    if (q->want == ACCOUNT_PASSWORD)
        ask_password(b, q);
    else if (c->pam_address) /* nobody knows: who logged in may send as himself, and no mailbox is known */
        backend_answer(q,
                       q->want == ACCOUNT_SENDER && address_same(q->account, q->detail) ? ACCOUNTS_OK
                                                                                        : ACCOUNTS_NO_SUCH,
                       NULL);
    else if (!name_of(c, q->account, &name))
        backend_answer(q, ACCOUNTS_NO_SUCH, NULL);
    else if (lookups_ask(b->parts.lookups, LOOKUP_SYSTEM_USER, VR_STR(""), q->account, user_found, q) == NULL)
        backend_busy(q);
}

static bool pam_frame(struct backend *b, uint16_t type, struct vr_str payload, bool *mine)
{
    static const enum accounts_result results[] = {
        [IPC_NO] = ACCOUNTS_NO_SUCH, [IPC_YES] = ACCOUNTS_OK, [IPC_LATER] = ACCOUNTS_TROUBLE};
    struct ipc_reader r = ipc_reader(payload);
    uint64_t ask = ipc_get_u64(&r);
    uint8_t answer = ipc_get_u8(&r);
    struct vr_str why = ipc_get_str(&r);
    char text[256];
    if (type != IPC_PAM_ANSWER || !ipc_done(&r) || answer >= sizeof results / sizeof results[0])
        return false;
    if (ask >> 32 != b->parts.source)
        return true;
    *mine = true;
    struct account_question *q = pending_take(&b->pending, (uint32_t)ask);
    size_t n = why.n < sizeof text ? why.n : sizeof text - 1;
    memcpy(text, why.n > 0 ? why.p : "", n);
    text[n] = '\0';
    if (q != NULL)
        backend_answer(q, results[answer], text);
    return true;
}

static void pam_detached(struct backend *b, struct peer *peer)
{
    struct account_question *q;
    while ((q = pending_of(&b->pending, peer)) != NULL)
        backend_answer(q, ACCOUNTS_TROUBLE, "the process that asks PAM ended");
}

const struct backend_ops backend_pam = {
    .name = "pam",
    .wants = 1u << ACCOUNT_PASSWORD | 1u << ACCOUNT_MAILBOX | 1u << ACCOUNT_SENDER,
    .make = pam_make,
    .ask = pam_ask,
    .frame = pam_frame,
    .detached = pam_detached,
};
