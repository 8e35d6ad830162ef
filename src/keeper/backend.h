/* backend.h - what a source of accounts is to the directory. Internal to src/keeper/.
 *
 * A back end is asked one question at a time and answers each exactly once by backend_answer, at once or later, always in the loop. It never
 * blocks the loop: files and hashes go to worker threads, sockets are watched. It bounds its own waiting by `accounts.timeout`.
 */
#ifndef KEEPER_BACKEND_H
#define KEEPER_BACKEND_H

#include "keeper/directory.h"

#include <veredus/address.h>

struct backend;

struct backend_parts { /* what back ends are made of */
    struct process *process;
    const char *path; /* of the SQLite data base */
    struct lookups *lookups;
    struct hashing *hashing;
    uint32_t source; /* of config.accounts[] */
};

struct backend_ops {
    const char *name; /* as in the configuration: "passwd" */
    unsigned wants;   /* what it can be asked: bits 1 << enum account_want; it is passed over for the rest */
    /* Privileged. NULL with a sentence. */
    struct backend *(*make)(const struct backend_parts *parts, char error[256]);
    void (*ask)(struct backend *b, struct account_question *q);
    bool (*frame)(struct backend *b, uint16_t type, struct vr_str payload, bool *mine); /* or NULL */
    void (*detached)(struct backend *b, struct peer *peer);                            /* or NULL */
};

extern const struct backend_ops backend_sqlite, backend_passwd, backend_pam, backend_dovecot;

/* The answer to q, which is no longer the back end's. why: NULL, or a sentence for the log (required with TROUBLE). */
void backend_answer(struct account_question *q, enum accounts_result result, const char *why);
/* Refuses q as what cannot be asked now. */
void backend_busy(struct account_question *q);

#endif
