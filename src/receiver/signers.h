/* signers.h - which DKIM keys sign for a domain, as the keeper said a moment ago; and its signatures. Internal to src/receiver/.
 *
 * Whoever asks waits with his session (session.asking) and hears by the frames IPC_SIGNERS and IPC_SIGNED.
 */
#ifndef RECEIVER_SIGNERS_H
#define RECEIVER_SIGNERS_H

#include "receiver/session.h"

#include <veredus/dkim.h>

#define SIGNERS_MS                                                                                           \
    5000 /* for so long what the keeper said is taken for true: half of what it allows for (SIGNATURES_GRACE) and far less */

/* NULL: it must be asked. count 0: no key signs for this domain. Lives until the next call here. */
const struct ipc_signers *signers_known(struct receiver *r, struct vr_str domain);
void signers_learn(struct receiver *r, struct vr_str domain, const struct ipc_signers *signers);
void signers_forget(struct receiver *r, struct vr_str domain);

/* asking: of enum in struct session. False: there is no keeper; nothing was asked, nobody answered. */
bool signers_ask(struct session *s, int asking, struct vr_str domain);
/* what: for each the algorithm, the selector and a digest. */
bool signers_sign(struct session *s, int asking, struct vr_str domain, const struct ipc_signers *what);

#endif
