/* signatures.h - the keeper signs with the DKIM keys of the store (dkim_store.h): a receiver sends a digest and gets a signature, never a key.
 *
 * Only keys whose time it is sign. What `veredus dkim` changed counts with the next question.
 * Tests: tests/unit/keeper_signatures.c
 */
#ifndef KEEPER_SIGNATURES_H
#define KEEPER_SIGNATURES_H

#include "ipc/process.h"

#define SIGNATURES_QUEUED 8192 /* signatures waiting for their turn; beyond: "later" */
#define SIGNATURES_GRACE  60   /* seconds for which a key still signs that a receiver heard of while it was active */

struct signatures;
struct signatures *signatures_new(struct process *p);
/* IPC_SIGNERS_ASK, IPC_SIGN_ASK. False: malformed. */
bool signatures_frame(struct signatures *s, struct peer *peer, uint16_t type, struct vr_str payload);
void signatures_forget(struct signatures *s, const struct peer *peer); /* it is gone: its answers go nowhere */
bool signatures_idle(const struct signatures *s);

#endif
