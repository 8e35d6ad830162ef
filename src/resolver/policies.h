/* policies.h - MTA-STS policies (RFC 8461) for the senders: found, fetched over HTTPS, kept in files that survive a restart. */
#ifndef RESOLVER_POLICIES_H
#define RESOLVER_POLICIES_H

#include "io/dns.h"
#include "ipc/process.h"

#define POLICIES_LOOKUPS_MAX 1024 /* domains under way at a time; more are told to ask later */

struct policies;

/* Before the process is confined. NULL: *error says why. idle is called when the last lookup has ended. */
struct policies *policies_new(struct process *p, struct io_dns *dns, void (*idle)(void *arg), void *arg,
                              char error[256]);
void policies_start(struct policies *s); /* in the loop: old policies are looked after */
bool policies_ask(struct policies *s, struct peer *peer,
                  struct vr_str payload);                          /* IPC_STS_ASK. False: malformed */
void policies_forget(struct policies *s, const struct peer *peer); /* it is gone */
bool policies_idle(const struct policies *s);

#endif
