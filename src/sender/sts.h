/* sts.h - asking the resolver which MTA-STS policy holds for a domain.
 *
 * Promise: each question is answered once. When the resolver does not answer in time, or is gone and none comes, the answer is STS_UNKNOWN, which is not "there is no
 *          policy": mail must wait then, since an enforced one may be kept there.
 * Tests:   tests/unit/sender_policies.c
 */
#ifndef SENDER_STS_H
#define SENDER_STS_H

#include "ipc/process.h"

enum sts_status {
    STS_NONE,
    STS_FOUND,
    STS_UNSURE, /* none is known, and whether there is one cannot be found out: RFC 8461 §3.3 wants mail to go on */
    STS_UNKNOWN /* the resolver did not say */
};

struct sts_answer {
    enum sts_status status;
    struct vr_str id, policy; /* FOUND: the policy as a file */
    struct vr_str why;        /* else: what went wrong; may be empty */
};

struct sts_asks;
struct sts_ask;

struct sts_asks *sts_new(struct process *p);
/* domain is copied. answered comes once, from the loop; what it gets lives until the return. */
struct sts_ask *sts_ask(struct sts_asks *s, struct vr_str domain,
                        void (*answered)(void *arg, const struct sts_answer *a), void *arg);
void sts_cancel(struct sts_ask *a); /* before the answer; NULL is fine */

void sts_frame(struct sts_asks *s, struct vr_str payload); /* IPC_STS_POLICY */
void sts_attached(struct sts_asks *s);                     /* an IPC_RESOLVER */
void sts_lost(struct sts_asks *s, const struct peer *gone);

#endif
