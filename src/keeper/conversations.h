/* conversations.h - the SASL exchanges under way: one for each (receiver, number). */
#ifndef KEEPER_CONVERSATIONS_H
#define KEEPER_CONVERSATIONS_H

#include "keeper/lookups.h"
#include "keeper/throttle.h"
#include "ipc/process.h"

#define CONVERSATIONS_MAX    8192 /* at a time; beyond it: IPC_SASL_TEMPORARY */
#define VERIFICATIONS_MAX    4    /* passwords hashed at a time (64 MiB each), fewer on fewer cores */
#define VERIFICATIONS_QUEUED 512  /* waiting for their turn; beyond it: IPC_SASL_TEMPORARY */

struct conversations;
/* secret: for the salts of unknown users; read at each new exchange. path: of the accounts data base. */
struct conversations *conversations_new(struct process *p, const char *path, struct lookups *lookups,
                                        struct throttle *throttle, const uint8_t secret[16]);
/* The frames IPC_SASL_START, _STEP, _ABORT. False: malformed. */
bool conversations_frame(struct conversations *c, struct peer *peer, uint16_t type, struct vr_str payload);
void conversations_peer_gone(struct conversations *c, struct peer *peer);
bool conversations_idle(const struct conversations *c);

#endif
