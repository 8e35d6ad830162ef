/* crowd.h - how many clients all receivers hold together, in all and from one address. Internal to src/receiver/ and the supervisor.
 *
 * A board in memory that the supervisor makes and its receivers share. Each receiver writes only what is its own, so there is
 * no lock, and what a receiver that died had counted can be taken back (crowd_clear).
 * A client is counted in two places of the board, found by a hash with a secret key, and the smaller sum counts: never too low; too
 * high only if both places hold many others too, which needs more clients than places (65,536).
 */
#ifndef RECEIVER_CROWD_H
#define RECEIVER_CROWD_H

#include "io/stream.h"

struct crowd;

/* For receivers numbered 0 … receivers - 1. The children that are forked later share it. */
struct crowd *crowd_new(unsigned receivers);
void crowd_free(struct crowd *c); /* NULL is fine; children keep theirs */
/* Before a receiver is started in the place of one that died: its clients are gone with it. */
void crowd_clear(struct crowd *c, unsigned receiver);

/* Where a client is counted. */
struct crowd_client {
    uint32_t places[2];
    bool in_all_only;
};

/* A client came: returns where it is counted; leave with that. An IPv6 client has a /64 of addresses for itself at the least: they
 * count as one. address NULL: a local program, counted in all only. */
struct crowd_client crowd_enter(struct crowd *c, unsigned receiver, const struct io_network *address);
void crowd_leave(struct crowd *c, unsigned receiver, struct crowd_client client);
uint64_t crowd_in_all(const struct crowd *c);
uint64_t crowd_of_address(const struct crowd *c, struct crowd_client client); /* 0 for local programs */

#endif
