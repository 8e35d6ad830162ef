/* verify_inside.h - what verify.c and verify_guess.c share. */
#ifndef QUEUE_VERIFY_INSIDE_H
#define QUEUE_VERIFY_INSIDE_H

#include "queue/inside.h"
#include "queue/log/inside.h"
#include "queue/verify.h"

#define VERIFY_CONCERNS 16u /* of one finding */

/* What was read of a message, alive or not. */
struct known {
    uint64_t id; /* first: idmap */
    bool named;  /* by a MESSAGE */
    bool large;
    uint32_t count; /* recipients, as far as named */
    uint64_t body_size;
    uint32_t *waiting; /* not named: recipients last said to wait */
    uint32_t waiting_n, waiting_capacity;
    qlog_position last; /* not named: the record that said so, */
    size_t last_n;      /* and the bytes of its payload */
};

struct verifying {
    struct queue q; /* an index, and a log that is only counted with */
    void (*found)(void *arg, const struct verify_finding *f);
    void *arg;
    struct verify_summary *out;
    struct idmap known;
    struct vr_arena arena; /* of one finding or record */
    char folder[BODY_PATH];
};

/* The messages that the stretch held, at most VERIFY_CONCERNS; their slices live in v->arena or in the finding. */
uint32_t verify_guess(struct verifying *v, const struct qlog_finding *f, struct verify_concern *concerns);
void verify_concern_recipients(struct verifying *v, struct verify_concern *c, const struct message *m);

#endif
