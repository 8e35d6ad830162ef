/* times.c - see times.h. The rules are functions of a message and the time; what they change goes through results.c.
 *
 * FUTURERELEASE: a message with a time of release begins as held (`timed`) and is released by the schedule, or earlier by `veredus queue
 *             release`. That it was released is in the next RESULT about it; when there is none yet, the next start finds its time past.
 * DELIVERBY:  the time is absolute since the MAIL command came (RFC 2852 §4); the sender process makes what is left of it.
 * Tests:      tests/unit/queue_schedule.c (the rules), tests/unit/queue_extensions.c
 */
#include "queue/times.h"

#include <veredus/message.h>

#define LAST_ATTEMPT_S 10 /* so long before the end of BY=…;R one attempt more is made */

int64_t times_base_us(const struct message *m, int64_t now_us)
{
    int64_t release_us = (int64_t)m->hold_until * 1000000;
    return release_us > m->arrival_us && release_us <= now_us ? release_us : m->arrival_us;
}

bool times_late(const struct message *m, const struct recipient *r, int64_t now_us)
{
    return m->by == SMTP_BY_NOTIFY && times_over(m, now_us) &&
           (int64_t)m->deliver_by > m->arrival_us / 1000000 && !(r->flags & RECIPIENT_LATE) &&
           report_wanted(DSN_DELAYED, r->notify, m->reverse_path_n == 0);
}

bool times_relayed(const struct message *m, const struct recipient *r, bool passed_on, int64_t now_us)
{
    if (m->by == SMTP_BY_NONE || m->reverse_path_n == 0 || (r->notify & DSN_NOTIFY_NEVER))
        return false;
    return m->by_trace || (m->by == SMTP_BY_NOTIFY && !passed_on && !times_over(m, now_us));
}

uint32_t times_attempt(const struct message *m, uint32_t next, int64_t now_us)
{
    if (m->by != SMTP_BY_RETURN || next < m->deliver_by)
        return next;
    int64_t last = (int64_t)m->deliver_by - LAST_ATTEMPT_S;
    return last > now_us / 1000000 ? (uint32_t)last : m->deliver_by;
}

uint32_t times_wake(const struct message *m, int64_t now_us)
{
    return m->by != SMTP_BY_NONE && m->open > 0 && !times_over(m, now_us) ? m->deliver_by : UINT32_MAX;
}

static void release(struct queue *q, struct message *m)
{
    message_set_held(q, m, false);
    m->timed = false;
    event_begin(q->events, EVENT_INFO, "message.released", m->id);
    event_text(q->events, "by", "its time");
    event_end(q->events);
}

void times_due(struct queue *q, struct message *m)
{
    int64_t now_us = io_now_us(q->io);
    if (m->timed && (int64_t)m->hold_until <= now_us / 1000000)
        release(q, m);
    if (!m->held && times_over(m, now_us))
        results_overdue(q, m);
}

struct vr_str times_request(struct vr_arena *arena, const struct envelope *e)
{
    if (e->hold_until == 0)
        return vr_str(NULL, 0);
    if (e->asks & ENVELOPE_HOLD_FOR)
        return vr_arena_printf(arena, "for;%lld",
                               (long long)((e->hold_until * 1000000 - e->arrival_us) / 1000000));
    char date[MESSAGE_RFC3339_SIZE];
    size_t n = message_rfc3339_write(date, e->hold_until * 1000000);
    return vr_arena_printf(arena, "until;%.*sZ", (int)n - 5, date); /* without milliseconds */
}
