/* backend_sqlite.c - accounts of `veredus account`: the data base (accounts.h) as a source. Quick questions go to the batches of lookups.h,
 * passwords to the pool of hashing.h, each with a connection of its own.
 *
 * Tests: tests/unit/keeper.c
 */
#include "keeper/backend.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct backend {
    struct backend_parts parts;
};

struct verification { /* what the worker thread may touch */
    struct hashing_job job;
    struct account_question *q;
    const char *path;
    enum accounts_result result;
    char trouble[256];
    char account[ACCOUNT_NAME_MAX], password[SASL_PASSWORD_MAX];
    size_t account_n, password_n;
};

static struct backend *sqlite_make(const struct backend_parts *parts, char error[256])
{
    struct backend *b = calloc(1, sizeof *b);
    assert(b != NULL);
    (void)error;
    b->parts = *parts;
    return b;
}

/* ---- passwords ------------------------------------------------------------------------------------------------ */

static void verify(struct hashing_job *job)
{
    struct verification *v = (struct verification *)job;
    struct accounts *db = NULL;
    v->result = accounts_open_if_there(v->path, &db, v->trouble);
    if (v->result == ACCOUNTS_OK)
        v->result = accounts_verify(db, vr_str(v->account, v->account_n), vr_str(v->password, v->password_n));
    explicit_bzero(v->password, sizeof v->password);
    if (db != NULL && v->result == ACCOUNTS_TROUBLE)
        snprintf(v->trouble, sizeof v->trouble, "%s", accounts_error(db));
    accounts_close(db);
}

static void verified(struct hashing_job *job)
{
    struct verification *v = (struct verification *)job;
    backend_answer(v->q, v->result, v->result == ACCOUNTS_TROUBLE ? v->trouble : NULL);
    explicit_bzero(v->password, sizeof v->password);
    free(v);
}

static void ask_password(struct backend *b, struct account_question *q)
{
    if (q->detail.n > SASL_PASSWORD_MAX) {
        backend_answer(q, ACCOUNTS_NO_SUCH, NULL);
        return;
    }
    struct verification *v = calloc(1, sizeof *v);
    assert(v != NULL && q->account.n <= sizeof v->account);
    v->job = (struct hashing_job){.work = verify, .done = verified};
    v->q = q;
    v->path = b->parts.path;
    v->result = ACCOUNTS_NO_SUCH;
    v->account_n = q->account.n;
    v->password_n = q->detail.n;
    memcpy(v->account, q->account.p, q->account.n);
    memcpy(v->password, q->detail.p, q->detail.n);
    q->job = &v->job;
    if (hashing_submit(b->parts.hashing, &v->job))
        return;
    explicit_bzero(v->password, sizeof v->password);
    free(v);
    backend_busy(q);
}

/* ---- the rest ------------------------------------------------------------------------------------------------- */

static void looked_up(void *keeper, struct lookup *l)
{
    struct account_question *q = l->owner;
    (void)keeper;
    q->keys = l->keys;
    q->cram = l->cram;
    q->owner_since = l->owner_since;
    backend_answer(q, l->result, l->result == ACCOUNTS_TROUBLE ? l->why : NULL);
}

static void sqlite_ask(struct backend *b, struct account_question *q)
{
    static const enum lookup_kind lookup_of[] = {[ACCOUNT_MAILBOX] = LOOKUP_ACCOUNT,
                                                 [ACCOUNT_SENDER] = LOOKUP_SENDER,
                                                 [ACCOUNT_SCRAM] = LOOKUP_SCRAM,
                                                 [ACCOUNT_SCRAM_SHA_1] = LOOKUP_SCRAM_SHA_1,
                                                 [ACCOUNT_CRAM] = LOOKUP_CRAM};
    if (q->want == ACCOUNT_PASSWORD) {
        ask_password(b, q);
        return;
    }
    bool sender = q->want == ACCOUNT_SENDER;
    if (lookups_ask(b->parts.lookups, lookup_of[q->want], sender ? q->account : VR_STR(""),
                    sender ? q->detail : q->account, looked_up, q) == NULL)
        backend_busy(q);
}

const struct backend_ops backend_sqlite = {
    .name = "sqlite",
    .wants = 1u << ACCOUNT_PASSWORD | 1u << ACCOUNT_MAILBOX | 1u << ACCOUNT_SENDER | 1u << ACCOUNT_SCRAM |
             1u << ACCOUNT_SCRAM_SHA_1 | 1u << ACCOUNT_CRAM,
    .make = sqlite_make,
    .ask = sqlite_ask,
};
