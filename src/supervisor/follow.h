/* follow.h - certificates that follow their files, and warnings before they expire. Internal to src/supervisor/.
 *
 * Every two seconds the files of the `tls` sections are looked at (certificates.h says when a change counts). Another pair that can be used
 * goes to all receivers and to admin by IPC_CERTIFICATE; sessions that stand keep what they have. One that cannot be used is an event.
 */
#ifndef SUPERVISOR_FOLLOW_H
#define SUPERVISOR_FOLLOW_H

#include "config/certificates.h"
#include "supervisor/wiring.h"

#define FOLLOW_WARN_DAYS 14 /* so long before the end they are warned of, once a day */

struct follow {
    struct certificates *certificates;
    int64_t look_at_ms, warn_at_ms; /* monotonic */
};

/* Takes the certificates over; those from before are wiped. */
void follow_begin(struct follow *f, struct certificates *certificates);
void follow_end(struct follow *f);
/* Looks, when it is time to. generation: whose processes hear of it. */
void follow_turn(struct follow *f, struct children *c, uint32_t generation, struct event_log *log);

#endif
