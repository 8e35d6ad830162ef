/* signing.h - the keeper signs with the DKIM keys of the store (dkim_store.h): a receiver sends a digest and gets a signature, never a key.
 *
 * Only keys whose time it is sign. What `veredus dkim` changed counts with the next question.
 * Tests: tests/unit/keeper_signing.c
 */
#ifndef KEEPER_SIGNING_H
#define KEEPER_SIGNING_H

#include "ipc/process.h"

#define SIGNING_QUEUED 8192 /* signatures waiting for their turn; beyond: "later" */
#define SIGNING_GRACE  60   /* seconds for which a key still signs that a receiver heard of while it was active */

struct signing;
struct signing *signing_new(struct process *p);
/* IPC_SIGNERS_ASK, IPC_SIGN_ASK. False: malformed. */
bool signing_frame(struct signing *s, struct peer *peer, uint16_t type, struct vr_str payload);
void signing_forget(struct signing *s, const struct peer *peer); /* it is gone: its answers go nowhere */
bool signing_idle(const struct signing *s);

#endif
