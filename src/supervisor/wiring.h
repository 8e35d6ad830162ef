/* wiring.h - the supervisor's children and the socket pairs between them. Internal to src/supervisor/. */
#ifndef SUPERVISOR_WIRING_H
#define SUPERVISOR_WIRING_H

#include "io/process.h"
#include "ipc/process.h"

#define CHILD_MAX 256 /* living processes of all generations; slots of queue ids are 1..CHILD_MAX */

enum child_state { CHILD_FREE, CHILD_RUNNING, CHILD_WAITING /* died; starts again at start_at_ms */ };

struct child {
    enum child_state state;
    enum ipc_role role;
    unsigned number; /* which of its role: receiver 0, 1, … decides its listening sockets */
    uint32_t generation;
    uint32_t slot; /* index in children[] + 1 */
    int pid;
    int channel; /* the supervisor's end */
    bool ready, draining;
    int64_t started_ms, start_at_ms;
    unsigned failures; /* deaths in a row soon after the start */
};

struct children {
    struct io_supervise *io;
    struct child items[CHILD_MAX];
};

struct child *children_add(struct children *c, enum ipc_role role, unsigned number,
                           uint32_t generation); /* NULL: full */
struct child *children_by_pid(struct children *c, int pid);
unsigned children_count(const struct children *c, unsigned roles, bool only_draining); /* living ones */
bool children_all_ready(const struct children *c);
/* Joins a child that was just started with all living ones that it speaks with. */
void children_wire(struct children *c, struct child *fresh);
void child_drain(struct children *c, struct child *child, uint32_t deadline_ms);
void children_drain(struct children *c, unsigned roles, uint32_t deadline_ms);

#endif
