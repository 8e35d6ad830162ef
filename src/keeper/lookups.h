/* lookups.h - quick questions to the accounts data base and to the system's users, answered in batches on one worker thread.
 *
 * Questions gather while a batch is under way, so a burst of recipients costs one change of thread, and the loop never waits for a
 * lock of the data base.
 */
#ifndef KEEPER_LOOKUPS_H
#define KEEPER_LOOKUPS_H

#include "io/fs.h"
#include "io/io.h"
#include "keeper/accounts.h"

enum lookup_kind { LOOKUP_ACCOUNT, LOOKUP_SYSTEM_USER, LOOKUP_SENDER, LOOKUP_SCRAM, LOOKUP_SCRAM_SHA_1, LOOKUP_CRAM };

struct lookup {
    enum lookup_kind kind;
    struct vr_str user;    /* SENDER: the account; in bytes[] */
    struct vr_str address; /* in bytes[] */
    void (*done)(void *keeper, struct lookup *l); /* in the loop; l is freed after the return */
    void *owner;           /* the asker's; set it to NULL when the asker is gone */
    uint64_t ask;
    /* the answer */
    enum accounts_result result;
    const char *why;             /* of TROUBLE; lives until `done` returns */
    struct sasl_scram_keys keys; /* SCRAM, SCRAM_SHA_1 */
    struct sasl_cram_keys cram;  /* CRAM */
    struct io_user system;       /* SYSTEM_USER */
    int64_t owner_since;         /* ACCOUNT: as accounts_owner_since */
    struct lookup *next;
    char bytes[];
};

struct lookups;
/* secret: replaced by the data base's own as soon as it is read. keeper: what `done` is given. */
struct lookups *lookups_new(struct io *io, const char *path, uint8_t secret[16], void *keeper);
/* NULL when too many wait. */
struct lookup *lookups_ask(struct lookups *l, enum lookup_kind kind, struct vr_str user, struct vr_str address,
                           void (*done)(void *keeper, struct lookup *l), void *owner);
void lookups_forget(struct lookups *l, const void *owner); /* owner is NULL in all its questions from now on */
bool lookups_idle(const struct lookups *l);

/* Opens the data base. NO_SUCH: the file is not there (no accounts exist yet); TROUBLE: error says why. */
enum accounts_result accounts_open_if_there(const char *path, struct accounts **out, char error[256]);

#endif
