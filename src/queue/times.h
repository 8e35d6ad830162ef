/* times.h - the times that a message brings with it: when it may leave (FUTURERELEASE, RFC 4865) and until when it is worth something
 * (DELIVERBY, RFC 2852). What comes of them in the schedule and in reports.
 */
#ifndef QUEUE_TIMES_H
#define QUEUE_TIMES_H

#include "queue/inside.h"

#include <veredus/smtp.h>

/* From when on the pauses, the delay warning and the expiry count (microseconds since 1970): its arrival, or its release when it was held
 * until then. */
int64_t times_base_us(const struct message *m, int64_t now_us);

/* Is the time of BY over? Then BY=…;R allows no attempt more (RFC 2852 §4.1.3). */
static inline bool times_over(const struct message *m, int64_t now_us)
{
    return m->by != SMTP_BY_NONE && now_us / 1000000 >= (int64_t)m->deliver_by;
}
static inline bool times_returns(const struct message *m, int64_t now_us)
{
    return m->by == SMTP_BY_RETURN && times_over(m, now_us);
}
/* Is the sender to be told now that this recipient's time of BY=…;N passed here? Once; not of a message that came late already: the hop
 * where it became late has told. */
bool times_late(const struct message *m, const struct recipient *r, int64_t now_us);
/* Does BY want a "relayed" report for a recipient that the next hop took (RFC 2852 §4.1.4)? passed_on: the hop offers DELIVERBY. */
bool times_relayed(const struct message *m, const struct recipient *r, bool passed_on, int64_t now_us);

/* The next attempt at `next` (seconds since 1970), or earlier: once more shortly before the time of BY=…;R is over. */
uint32_t times_attempt(const struct message *m, uint32_t next, int64_t now_us);
/* When times_due must look at the message again: seconds since 1970; UINT32_MAX: never. */
uint32_t times_wake(const struct message *m, int64_t now_us);
/* Does what is due: releases it, returns what is late, tells that it is late. The caller holds a reference, or looks at no recipient that was
 * final before. */
void times_due(struct queue *q, struct message *m);

/* "for;3600" or "until;2026-12-31T08:00:00Z": what was asked for, for a report (RFC 4865 §5.1.2); empty: nothing was. */
struct vr_str times_request(struct vr_arena *arena, const struct envelope *e);

#endif
