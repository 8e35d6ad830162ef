/* sim.h - the simulator: the second implementation of src/io. All processes run as actors of one deterministic loop, from one seed.
 *
 * What is simulated: virtual time (a day passes in a moment when nothing happens), connections that are refused, slow, stalled and cut,
 * a disk that fails, fills up, tears writes and forgets what was not synced, processes that die at any step, a DNS that fails.
 * What is not: TLS (a handshake takes time and may fail, bytes stay as they are), users and privileges, a terminal.
 *
 * An actor is a process: a main fiber in io_run (or io_supervise_wait), fibers for io_work, descriptors, memory. It gives the processor
 * away only where a real process would wait; so a run is a function of the seed, the configuration and the program.
 * This header is for the one who runs the simulation (tests/sim/); actors see src/io/ only.
 */
#ifndef IO_SIM_SIM_H
#define IO_SIM_SIM_H

#include "io/dns.h"
#include "io/stream.h"

/* ---- the world ------------------------------------------------------------------------------------------------------- */

struct sim_actor;

void sim_begin(uint64_t seed);
/* Until nothing is left to do, or virtual time is `until_us`. False: the time is over. */
bool sim_run(int64_t until_us);
void sim_stop(void);      /* sim_run returns after this event */
int64_t sim_now_us(void); /* since the beginning of the simulation */
uint64_t sim_random(void);
uint64_t sim_below(uint64_t n);        /* 0 … n-1 */
bool sim_chance(unsigned per_million); /* draws only when it may be */
uint64_t sim_events(void);             /* so far: a measure of progress, and a digest of the run's course */
uint64_t sim_digest(void);

/* Runs in the loop, belonging to nobody: faults, clocks of the test. */
void sim_after(int64_t us, void (*run)(void *arg), void *arg);

/* ---- processes ------------------------------------------------------------------------------------------------------- */

/* A process that nobody forked. run(arg) decides its exit code. immortal: sim_power_loss spares it (the rest of the world). */
struct sim_actor *sim_spawn(const char *title, int (*run)(void *arg), void *arg, bool immortal);
/* Calls each for every living process that is not immortal. */
void sim_processes(void (*each)(void *arg, struct sim_actor *a, const char *title), void *arg);
bool sim_alive(const struct sim_actor *a);
int sim_exit_code(const struct sim_actor *a); /* of one that ended; -9: killed */
void sim_kill(struct sim_actor *a);
/* It dies at one of its next steps (a system call), the n-th from now: in the middle of whatever it does. */
void sim_kill_at_step(struct sim_actor *a, unsigned n); /* 0: not any more */
void sim_signal(struct sim_actor *a, int signum); /* to one that waits in io_supervise_wait */
/* Hears of each process that was killed. */
void sim_on_death(void (*died)(const char *title));
/* All mortal processes die, and the disk forgets what was not synced. */
void sim_power_loss(void);
size_t sim_memory(const struct sim_actor *a); /* bytes that it holds; 0 where allocation is not watched */

/* ---- the network ----------------------------------------------------------------------------------------------------- */

/* What becomes of a connection; asked once for each. */
struct sim_fate {
    bool refused, unreachable; /* unreachable: nothing answers, until the time is over */
    int64_t latency_us;        /* of each piece, each way; 0: 200 */
    int64_t cut_after_us;      /* 0: never. Both ends see a reset */
    uint64_t cut_after_bytes;  /* of what the listening side says; 0: never */
    int64_t stall_after_us;    /* 0: never. From then on nothing arrives any more, in neither direction */
    bool tls_fails;
};
void sim_on_connect(void (*choose)(const struct io_address *to, const char *from_title,
                                   struct sim_fate *out));

/* ---- the disk -------------------------------------------------------------------------------------------------------- */

struct sim_disk_trouble { /* in force until set anew; all 0: a good disk */
    unsigned write_fails; /* per million: -EIO, a part may have been written */
    unsigned
        sync_fails;  /* per million: -EIO, what was not synced counts as clean and is lost with the power */
    bool full;       /* nothing can grow: -ENOSPC */
    int64_t slow_us; /* each operation takes up to this much longer */
};
void sim_disk_trouble(const struct sim_disk_trouble *t);
/* The content of each file below a folder, as it is now. For the oracle. */
void sim_disk_walk(const char *folder, void (*each)(void *arg, const char *path, struct vr_str content),
                   void *arg);

/* ---- the DNS --------------------------------------------------------------------------------------------------------- */

/* Answers questions: fills *out (slices must live until the next call). delay_us: how long it takes. */
void sim_on_dns(void (*answer)(struct vr_str name, enum io_dns_type type, struct io_dns_answer *out,
                               int64_t *delay_us));

/* ---- what actors write to standard error ------------------------------------------------------------------------------ */

void sim_on_output(void (*line)(const char *title, struct vr_str text));

#endif
