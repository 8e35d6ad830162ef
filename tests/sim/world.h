/* world.h - the world around a simulated server: its clients, the servers that it sends to, faults, and the oracle that knows what became
 * of each recipient.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "io/sim/sim.h"

#include <stdio.h>

struct scenario {
    uint64_t seed;
    unsigned messages;
    bool network, kills, power, disk, dns, reloads; /* what goes wrong */
    bool verbose;
};
extern struct scenario scenario;
void scenario_print(const struct scenario *s); /* "network,kills", as --faults takes it */
bool world_calm(void);                         /* the time of faults is over */
#define ANSWER_MAX_US 5000000                  /* for a message, when nothing goes wrong */
bool world_quiet(void);                        /* nothing goes wrong in this run */

/* ---- oracle.c: what was promised, what happened ------------------------------------------------------------------------- */

#define RCPT_MAX 6
/* The last letter of a recipient's local part says what its server will do. */
enum mode { MODE_OK = 'o', MODE_REFUSED = 'x', MODE_DEFERRED = 'd' };

uint32_t mail_new(void);
unsigned mail_rcpt_count(uint32_t id);
void mail_rcpt(uint32_t id, unsigned k, char out[80]); /* its address */
void mail_sender(uint32_t id, char out[80]);
struct vr_str mail_content(uint32_t id); /* valid until the next call */
void mail_acknowledged(uint32_t id, unsigned k);
void mail_dot_sent(uint32_t id); /* from here on the server may have it */

/* A remote server took it. Until oracle_read its 250 may not have been read. */
void oracle_delivered(struct vr_str address, struct vr_str data);
void oracle_read(struct vr_str address);
void oracle_report(struct vr_str reverse_path, struct vr_str address, struct vr_str data);
void oracle_kill(bool supervisor);   /* a process died */
void oracle_signal(void);            /* a reload or a stop was asked for */
void oracle_trouble(bool begins);    /* of the disk */
bool oracle_settled(unsigned *open); /* each acknowledged recipient has its fate */
void oracle_mailboxes(void);         /* at the end: walks the Maildirs */
void oracle_final(void);
unsigned oracle_attempts(struct vr_str address); /* of a deferred recipient: counted here */
void violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
unsigned violations(void);

struct tally {
    unsigned strangers; /* whose mail was taken */
    unsigned acknowledged, delivered, reported, duplicates, kills, power_losses, reloads;
    int64_t slowest_us; /* to the healthy domain, when nothing went wrong meanwhile */
};
extern struct tally tally;

/* ---- sinks.c, clients.c: in the world's process ---------------------------------------------------------------------------- */

#define DOMAINS 8 /* d0.example … */
void sinks_start(struct io *io);
void sinks_dns(struct vr_str name, enum io_dns_type type, struct io_dns_answer *out, int64_t *delay_us);
void sinks_fate(const struct io_address *to, const char *from_title, struct sim_fate *out);
void clients_start(struct io *io);
bool clients_done(void);

/* ---- strangers.c: whose mail is verified ---- */
void strangers_start(struct io *io);
bool strangers_dns(struct vr_str name, enum io_dns_type type, struct io_dns_answer *out, int64_t *delay_us); /* false: not of theirs */
void strangers_final(void);

/* ---- shrink.c ---- */

/* Of a run that failed: looks for a shorter one that fails as well, and prints what happened in it to the mail in question. */
void shrink(const struct scenario *failing);

/* ---- faults.c ---------------------------------------------------------------------------------------------------------------- */

/* The whole course of a run. Returns the number of violations. */
unsigned world_run(const struct scenario *s);

#endif
