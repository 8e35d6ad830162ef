/* signers.c - see signers.h.
 *
 * Tests: tests/unit/receiver_signing.c
 */
#include "receiver/signers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KNOWN_MAX 10000

struct known_signers {
    UT_hash_handle hh;
    int64_t until_ms;
    struct ipc_signers signers; /* in bytes[] */
    size_t n;                   /* of the domain, at the start of bytes[] */
    char bytes[];
};

static struct known_signers *find(struct receiver *r, struct vr_str domain)
{
    struct known_signers *k = NULL;
    HASH_FIND(hh, r->signers, domain.p, domain.n, k);
    return k;
}

static void drop(struct receiver *r, struct known_signers *k)
{
    HASH_DEL(r->signers, k);
    free(k);
}

void signers_forget(struct receiver *r, struct vr_str domain)
{
    struct known_signers *k = find(r, domain);
    if (k != NULL)
        drop(r, k);
}

static void drop_all(struct receiver *r)
{
    struct known_signers *k, *next;
    HASH_ITER(hh, r->signers, k, next) drop(r, k);
}

const struct ipc_signers *signers_known(struct receiver *r, struct vr_str domain)
{
    struct known_signers *k = find(r, domain);
    if (k == NULL || k->until_ms > io_monotonic_ms(r->io))
        return k != NULL ? &k->signers : NULL;
    drop(r, k);
    return NULL;
}

void signers_learn(struct receiver *r, struct vr_str domain, const struct ipc_signers *signers)
{
    size_t n = domain.n;
    for (size_t i = 0; i < signers->count; i++)
        n += signers->list[i].selector.n;
    signers_forget(r, domain);
    if (HASH_COUNT(r->signers) >= KNOWN_MAX)
        drop_all(r);
    struct known_signers *k = calloc(1, sizeof *k + n);
    assert(k != NULL && domain.n > 0);
    k->until_ms = io_monotonic_ms(r->io) + SIGNERS_MS;
    k->n = domain.n;
    memcpy(k->bytes, domain.p, domain.n);
    char *at = k->bytes + domain.n;
    k->signers.count = signers->count;
    for (size_t i = 0; i < signers->count; i++) {
        struct vr_str selector = signers->list[i].selector;
        if (selector.n > 0)
            memcpy(at, selector.p, selector.n);
        k->signers.list[i] =
            (struct ipc_signer){signers->list[i].algorithm, vr_str(at, selector.n), {NULL, 0}};
        at += selector.n;
    }
    HASH_ADD_KEYPTR(hh, r->signers, k->bytes, k->n, k);
}

/* ---- asking the keeper ----------------------------------------------------------------------------------------- */

static bool ask(struct session *s, int asking, enum ipc_type type, struct vr_str domain,
                const struct ipc_signers *what)
{
    struct process *p = s->receiver->process;
    if (process_peer(p, IPC_KEEPER) == NULL)
        return false;
    struct peer *keeper = policy_keeper_for(s, asking);
    struct vr_buf *b = process_frame(p);
    ipc_put_u64(b, s->key);
    ipc_put_str(b, domain);
    if (what != NULL)
        ipc_put_signers(b, what);
    peer_send(keeper, type, b, -1);
    return true;
}

bool signers_ask(struct session *s, int asking, struct vr_str domain)
{
    return ask(s, asking, IPC_SIGNERS_ASK, domain, NULL);
}

bool signers_sign(struct session *s, int asking, struct vr_str domain, const struct ipc_signers *what)
{
    return ask(s, asking, IPC_SIGN_ASK, domain, what);
}
