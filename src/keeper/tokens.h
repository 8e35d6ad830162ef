/* tokens.h - is a bearer token good, and whose is it? By a key that is here (token_keys.h), or by asking the issuer's endpoint (RFC 7662).
 *
 * With both, a token that one of our keys has signed is decided here, and all others by the endpoint.
 */
#ifndef KEEPER_TOKENS_H
#define KEEPER_TOKENS_H

#include "ipc/process.h"
#include "keeper/claims.h"
#include "keeper/hashing.h"

#define TOKENS_CACHED_MAX 4096  /* answers of the endpoint that are believed for a while */
#define TOKENS_ANSWER_MAX 65536 /* bytes of an answer */

struct tokens;
/* While still privileged: keys, secrets and certificate authorities are read here, and not again. NULL with a sentence. */
struct tokens *tokens_new(struct process *p, struct hashing *hashing, char error[256]);

enum tokens_verdict {
    TOKENS_GOOD,   /* `account` says whose */
    TOKENS_BAD,    /* expired, of another issuer, for another service, … */
    TOKENS_TROUBLE /* nobody knows: the endpoint does not answer as it should */
};
struct tokens_check;
/* answered comes once, perhaps before the return. handle: where the check is kept until then, for tokens_cancel; NULL from then on. account: as
 * the issuer writes it; why: for the log; both live until the return of answered. */
void tokens_ask(struct tokens *t, struct vr_str token, struct tokens_check **handle,
                void (*answered)(void *arg, enum tokens_verdict v, struct vr_str account, const char *why), void *arg);
void tokens_cancel(struct tokens_check *c); /* NULL is fine */
bool tokens_idle(const struct tokens *t);

#endif
