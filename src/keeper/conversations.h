/* conversations.h - the SASL exchanges under way: one for each (receiver, number). */
#ifndef KEEPER_CONVERSATIONS_H
#define KEEPER_CONVERSATIONS_H

#include "ipc/process.h"
#include "keeper/directory.h"
#include "keeper/throttle.h"
#include "keeper/tokens.h"

#define CONVERSATIONS_MAX 8192 /* at a time; beyond it: IPC_SASL_TEMPORARY */

struct conversations;
/* tokens: NULL: none is taken. secret: for the salts of unknown users; read at each new exchange. */
struct conversations *conversations_new(struct process *p, struct directory *directory, struct tokens *tokens,
                                        struct throttle *throttle, const uint8_t secret[16]);
/* The frames IPC_SASL_START, _STEP, _ABORT. False: malformed. */
bool conversations_frame(struct conversations *c, struct peer *peer, uint16_t type, struct vr_str payload);
void conversations_peer_gone(struct conversations *c, struct peer *peer);
bool conversations_idle(const struct conversations *c);

#endif
