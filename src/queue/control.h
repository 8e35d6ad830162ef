/* control.h - shared by control.c (requests) and control_show.c (messages as JSON). */
#ifndef QUEUE_CONTROL_H
#define QUEUE_CONTROL_H

#include "queue/inside.h"

#include <jansson.h>

/* A list or show under way. */
struct listing {
    struct listing *next;
    struct queue *queue;
    struct peer *peer; /* NULL: gone */
    uint64_t request;
    uint64_t *ids;
    size_t count, at, total;
    bool show, full, any;
    bool reading; /* control_show is under way: listing_turn is called at its end */
    struct vr_buf text;
    struct io_timer *timer;
};
void listing_turn(void *listing);
void listing_add(struct listing *l, json_t *message); /* takes it */
void control_part(struct queue *q, struct peer *peer, uint64_t request, bool last, struct vr_str text);

json_t *control_text(struct vr_str s); /* bytes that are no UTF-8 become U+FFFD */
json_t *control_time(int64_t time_us); /* RFC 3339 */
json_t *control_message(struct queue *q, const struct message *m);
void control_destination(struct queue *q, const struct message *m, const struct recipient *r,
                         struct vr_buf *out);
json_t *control_destination_state(const struct queue *q, const struct destination *d);
/* Reads m and adds it with its envelope, header and the beginning of its body. */
void control_show(struct listing *l, struct message *m);

#endif
