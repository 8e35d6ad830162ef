/* directory.h - the accounts, wherever they come from: one question, asked of the sources in the order of `accounts.from`.
 *
 * Verdict:   the first source that says yes decides. When none does: TROUBLE if one of them could not be asked (454, 451: never "wrong
 *            password"), else NO_SUCH. All sources are asked also when one knows the user and refuses him, so that the
 *            time of an answer does not tell who is known where.
 * Names:     an account is the key of an address (address_key); a name without a domain is completed by `accounts.domain`.
 */
#ifndef KEEPER_DIRECTORY_H
#define KEEPER_DIRECTORY_H

#include "ipc/process.h"
#include "keeper/accounts.h"
#include "keeper/hashing.h"
#include "keeper/lookups.h"

#define ACCOUNT_NAME_MAX 512

enum account_want {
    ACCOUNT_PASSWORD, /* is this password right? detail: the password */
    ACCOUNT_MAILBOX,  /* does this mailbox exist? */
    ACCOUNT_SENDER,   /* may it use this sender address? detail: the address */
    ACCOUNT_SCRAM,    /* its keys, please */
    ACCOUNT_SCRAM_SHA_1,
    ACCOUNT_CRAM
};

struct account_question {
    enum account_want want;
    struct vr_str account, detail, client; /* account: canonical. In bytes[] */
    void (*answered)(void *keeper, struct account_question *q);
    void *owner; /* the asker's; NULL: the asker is gone */
    uint64_t ask;
    /* the answer */
    enum accounts_result result; /* OK, NO_SUCH (wrong password as well), TROUBLE */
    char why[256];               /* of TROUBLE and of a refusal that has a reason: for the log */
    struct sasl_scram_keys keys; /* SCRAM, SCRAM_SHA_1 */
    struct sasl_cram_keys cram;  /* CRAM */
    int64_t owner_since;         /* MAILBOX: as accounts_owner_since; UNKNOWN where the source does not record it */
    char renamed[ACCOUNT_NAME_MAX]; /* the source's own name of the account; "": as asked */
    /* the directory's and the back end's */
    struct directory *directory;
    size_t asking; /* which source has it now */
    bool trouble;
    struct hashing_job *job; /* abandoned together with the question */
    struct account_question *next, **at;
    size_t n;
    char bytes[];
};

struct directory;
/* While still privileged: reads and opens what the sources need. path: of the SQLite data base. keeper: what `answered` is given. NULL
 * with a sentence. */
struct directory *directory_new(struct process *p, const char *path, struct lookups *lookups, struct hashing *hashing,
                                void *keeper, char error[256]);
/* answered comes once, perhaps before the return; q is freed after it. */
void directory_ask(struct directory *d, enum account_want want, struct vr_str name, struct vr_str detail,
                   struct vr_str client, void (*answered)(void *keeper, struct account_question *q), void *owner,
                   uint64_t ask);
void directory_forget(struct directory *d, const void *owner); /* owner is NULL in all its questions from now on */
bool directory_idle(const struct directory *d);
/* The canonical name of the account that somebody calls `name`; false: it is too long. */
bool directory_account(const struct config *c, struct vr_str name, char out[ACCOUNT_NAME_MAX], struct vr_str *account);

/* Frames of the pam process; false: malformed. */
bool directory_frame(struct directory *d, struct peer *peer, uint16_t type, struct vr_str payload);
void directory_detached(struct directory *d, struct peer *peer);

#endif
