/* answers.h - questions to the DNS and their answers, on their way between the loop, the resolver and those who ask it.
 *
 * Tests: tests/unit/ipc_answers.c
 */
#ifndef IPC_ANSWERS_H
#define IPC_ANSWERS_H

#include "io/dns.h"
#include "ipc/ipc.h"

#include <veredus/dnsq.h>

#define DNS_ASK_MAX   256        /* questions of one frame */
#define DNS_REPLY_MAX (1u << 20) /* bytes of the answers of one frame; those that do not fit have failed */

/* What io_dns said to this question, copied. An arena that is full makes it an answer that failed. */
struct dns_answer dns_answer_from(struct vr_arena *arena, struct dns_question question,
                                  const struct io_dns_answer *a);
/* The answer to a question that nobody could put: FAILED, for this reason (not copied). */
struct dns_answer dns_answer_failed(struct dns_question question, struct vr_str why);

/* IPC_DNS_ASK behind its number: u32 n, n × (u32 type, slice name). n is at most DNS_ASK_MAX. */
void ipc_put_questions(struct vr_buf *b, const struct dns_question *questions, size_t n);
/* False: malformed, too many, or a type that enum dns_type does not have. Names point into the payload. */
bool ipc_get_questions(struct ipc_reader *r, struct vr_arena *arena, struct dns_question **out, size_t *n);

/* IPC_DNS_ANSWERS behind its number: u32 n, n answers, without canonical names. One that would make it more than DNS_REPLY_MAX is packed as failed. */
void ipc_put_answers(struct vr_buf *b, const struct dns_answer *answers, size_t n);
/* Everything is copied into the arena. False: malformed, or the arena is full. */
bool ipc_get_answers(struct ipc_reader *r, struct vr_arena *arena, struct dns_answer **out, size_t *n);

#endif
