/* throttle.h - how long a client that keeps failing has to wait. A fixed table: it cannot be made to grow by strangers. */
#ifndef KEEPER_THROTTLE_H
#define KEEPER_THROTTLE_H

#include <veredus/base.h>

#define THROTTLE_FREE_FAILURES 5                /* in a row, before anything is delayed */
#define THROTTLE_STEP_MS       1000             /* the first delay, and what each further failure adds … */
#define THROTTLE_MOST_MS       10000            /* … up to this */
#define THROTTLE_QUEUE_MS      60000            /* who would have to wait longer than this is turned away */
#define THROTTLE_FORGET_MS     (15 * 60 * 1000) /* without a failure */

struct throttle;
struct throttle *throttle_new(const uint8_t key[16]); /* key: random */
void throttle_free(struct throttle *t);
/* Milliseconds that this attempt has to wait; attempts of one client stand in line, so many connections guess no faster than
 * one. -1: the line is too long, turn it away. client: an IP address as text; anything else ("unix") never waits. IPv6 clients count by
 * their /64. */
int64_t throttle_delay(struct throttle *t, struct vr_str client, int64_t now_ms);
/* The attempt's end. Returns the failures in a row of this client. */
unsigned throttle_result(struct throttle *t, struct vr_str client, bool good, int64_t now_ms);

#endif
