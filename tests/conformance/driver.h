/* driver.h - what the files of the driver share. */
#ifndef CONFORMANCE_DRIVER_H
#define CONFORMANCE_DRIVER_H

#include <veredus/dnsq.h>

#include <jansson.h>

/* Of DNS: {name: [txt …] | "failed" | null} the answer to a question for TXT. */
void driver_look_up(struct vr_arena *arena, json_t *dns, const struct dns_question *q, struct dns_answer *a);

json_t *answer_dkim(struct vr_arena *arena, json_t *question);
json_t *answer_arc(struct vr_arena *arena, json_t *question);
json_t *answer_sign(struct vr_arena *arena, json_t *question);
json_t *answer_record(struct vr_arena *arena, json_t *question);
json_t *answer_dmarc(struct vr_arena *arena, json_t *question);
json_t *answer_seal(struct vr_arena *arena, json_t *question);
json_t *answer_spf(struct vr_arena *arena, json_t *question);

#endif
