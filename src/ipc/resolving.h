/* resolving.h - asking the resolver: for processes that need the DNS and may have no network (receiver, reporter).
 *
 *     the owner's prepare:   r = resolving_new(p)
 *     its frame:             IPC_DNS_ANSWERS → resolving_frame(r, payload)
 *     its attached/detached: an IPC_RESOLVER → resolving_attached(r) / resolving_lost(r, peer)
 *     whenever:              resolving_ask(r, …)
 *
 * Promise: each question that is asked has an answer when `answered` comes. One that the resolver did not answer in time, or not at all,
 * has FAILED: silence is never taken for "there is no such record". What a resolver took with it when it died is asked again of the next, within
 * the same time.
 * Tests: tests/unit/resolver.c
 */
#ifndef IPC_RESOLVING_H
#define IPC_RESOLVING_H

#include "ipc/answers.h"
#include "ipc/process.h"

struct resolving;
struct resolving_ask;

struct resolving *resolving_new(struct process *p);
void resolving_free(struct resolving *r); /* nothing is answered any more */

/* Questions (copied) that may be asked at the same time; more than DNS_ASK_MAX, and the rest has failed. answers: n of them, in the order of the questions, in
 * the arena, which must live until then. answered comes once, from the loop; after it the handle is gone. */
struct resolving_ask *resolving_ask(struct resolving *r, struct vr_arena *arena,
                                    const struct dns_question *questions, size_t n, int64_t timeout_ms,
                                    void (*answered)(void *arg, const struct dns_answer *answers, size_t n),
                                    void *arg);
void resolving_cancel(struct resolving_ask *a); /* before the answer; NULL is fine */

void resolving_frame(struct resolving *r, struct vr_str payload);
void resolving_attached(struct resolving *r);
void resolving_lost(struct resolving *r, const struct peer *gone);

#endif
