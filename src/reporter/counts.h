/* counts.h - what receivers and senders saw, counted in an SQLite data base until the reports are made.
 *
 * A period is an interval of reports (a day, UTC), named by its first second. Of each domain and period there is a *domain* row (the policy) and any number of
 * rows with a count each: what is the same in all but the time is one row.
 * Bounds: COUNTS_ROWS_MAX rows of one domain and period, COUNTS_TOTAL_MAX of all; beyond that only what is known already is counted.
 * Tests: tests/unit/reporter_counts.c
 */
#ifndef REPORTER_COUNTS_H
#define REPORTER_COUNTS_H

#include "ipc/seen.h"

#define COUNTS_ROWS_MAX  10000
#define COUNTS_TOTAL_MAX 500000

enum counts_kind { COUNTS_DMARC, COUNTS_TLS };

struct counts;
/* Makes the file when there is none. NULL: error says why. */
struct counts *counts_open(const char *path, char error[256]);
void counts_close(struct counts *c); /* what was counted is kept */
void counts_commit(
    struct counts
        *c); /* writes what gathered since the last time; at most a second is lost with the machine */

/* length: of the period, seconds. False: the frame says nonsense (a domain or address that is none), or a bound is reached. */
bool counts_dmarc(struct counts *c, int64_t period, int64_t length, const struct dmarc_seen *s);
bool counts_tls(struct counts *c, int64_t period, int64_t length, const struct tls_seen *s);

/* A domain's period. Slices are in the arena. */
struct counts_domain {
    enum counts_kind kind;
    int64_t period, length;
    struct vr_str domain;
    struct vr_str record; /* DMARC: as published, the last that was seen */
    uint8_t method;       /* DMARC: enum dmarc_method */
    unsigned attempts;    /* of reporting, so far */
};
/* The first one that is due at `now` and whose period ended before `ended`. False: none. */
bool counts_next(struct counts *c, int64_t now, int64_t ended, struct vr_arena *arena,
                 struct counts_domain *out);
/* The rows of a domain: packed frames (ipc_get_dmarc_seen, ipc_get_tls_seen), those of one TLS policy together. DMARC: the most frequent first, at most
 * `limit`. */
void counts_rows(struct counts *c, const struct counts_domain *d, size_t limit,
                 void (*row)(void *arg, struct vr_str frame, uint64_t count), void *arg);
void counts_postpone(struct counts *c, const struct counts_domain *d, int64_t until);
void counts_drop(struct counts *c, const struct counts_domain *d);
uint64_t counts_total(const struct counts *c); /* rows */

#endif
