/* checkpoint.h - a checkpoint on disk (docs/queue-format.md): what checkpoint.c writes and restore.c reads. Numbers are as the machine has
 * them: a file of another byte order is of no use, and nothing is lost with it.
 */
#ifndef QUEUE_CHECKPOINT_H
#define QUEUE_CHECKPOINT_H

#include "queue/inside.h"

#define CHECKPOINT_MAGIC      "VEREDUSI"
#define CHECKPOINT_VERSION    2u /* 1: without the times of a message */
#define CHECKPOINT_BYTE_ORDER 0x01020304u
#define CHECKPOINT_BLOCK_MAX  (64u << 20)

struct checkpoint_header {
    char magic[8];
    uint32_t version, byte_order;
    uint64_t from;     /* position in the log where replay goes on */
    int64_t made_us;   /* when it was begun */
    uint64_t messages; /* about so many follow */
    uint32_t seed;     /* random: where the checksums of the blocks start, each at seed + its number */
    uint32_t crc;      /* of all before */
};

enum checkpoint_block_type {
    CHECKPOINT_LOG = 1,  /* `count` struct qlog_segment */
    CHECKPOINT_MESSAGES, /* u32 bytes of texts; the texts, each u32 length and the bytes; `count` messages */
    CHECKPOINT_FINISHED, /* `count` u64: ids that ended lately */
    CHECKPOINT_END       /* nothing; `count`: messages in all */
};
struct checkpoint_block {
    uint32_t crc; /* of what follows this field, and of the payload */
    uint32_t length;
    uint32_t type, count;
    uint64_t as_of; /* MESSAGES: what stands before this position of the log is in them */
};

/* Then `count` recipients, and text_n bytes: the reverse-path, and the addresses. */
struct checkpoint_message {
    uint64_t id, position, size;
    int64_t arrival_us;
    uint32_t record_length, count, given, text_n;
    uint32_t sender;
    uint16_t reverse_path_n;
    int8_t priority;
    uint8_t large, held, timed;
    uint8_t by, by_trace;
    uint32_t hold_until, deliver_by;
    uint32_t zero;
};
_Static_assert(sizeof(struct checkpoint_message) == 72, "docs/queue-format.md tells each byte");
struct checkpoint_recipient {
    uint32_t address, next, parent;
    uint32_t reply; /* number of the text in this block + 1; 0: none */
    uint16_t attempts;
    uint8_t state, notify, flags;
    uint8_t zero[3];
};

void checkpoint_path(const struct queue *q, bool aside, char out[BODY_PATH]);
uint32_t checkpoint_crc(uint32_t seed, uint32_t number, const struct checkpoint_block *b,
                        const char *payload);

#endif
