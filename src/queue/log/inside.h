/* inside.h - what the files of the log share. */
#ifndef QUEUE_LOG_INSIDE_H
#define QUEUE_LOG_INSIDE_H

#include "queue/log/log.h"

#include <stdatomic.h>

/* ---- on disk (docs/queue-format.md) ------------------------------------------------------------------------------- */

#define QLOG_VERSION     2u /* 1, which has neither previous_end nor flags, is read as well */
#define QLOG_BYTE_ORDER  0x01020304u
#define QLOG_HEADER      4096u /* bytes before the first record */
#define QLOG_HEADER_COPY 2048u /* where its second copy stands */
#define QLOG_ALIGN       8u
#define QLOG_END         255u /* type of the record that closes a segment */
#define QLOG_SIZE_MIN    (64u << 10)
#define QLOG_SIZE_MAX    (1u << 30)

struct segment_header {
    char magic[8]; /* "VEREDUSQ" */
    uint32_t version;
    uint32_t byte_order;
    uint64_t number;
    uint64_t size; /* bytes set aside for the segment */
    int64_t created_us;
    uint32_t marker;       /* random: begins each record of this life of the file */
    uint32_t seed;         /* random: where each record's checksum starts */
    uint32_t previous_end; /* where segment `previous` ends, 0: by itself */
    uint32_t previous;     /* the one before; in version 1 the checksum of all before */
    uint32_t reserved;
    uint32_t crc; /* of all before */
};

struct record_header {
    uint32_t marker;
    uint32_t crc; /* of what follows this field and of the payload */
    uint32_t length;
    uint8_t type, version;
    uint16_t flags;
};
enum record_flag {
    RECORD_FIRST = 1 /* of its commit: all that stands before it was durable when it was written */
};

/* ---- in memory ---------------------------------------------------------------------------------------------------- */

#define QLOG_PATH 512

struct segment {
    uint32_t number;
    int fd;           /* -1 until its first batch is written, and after a failure to open it */
    uint64_t size;    /* that it may fill */
    uint64_t used;    /* bytes appended, durable or not */
    uint64_t durable; /* bytes known to be on disk */
    uint64_t alive;   /* bytes of payload */
    uint32_t records_alive;
    uint32_t marker, seed, version;
    uint32_t previous, previous_end; /* as in its header */
    unsigned readers;                /* jobs that use fd */
    bool sealed;                     /* no more appends */
    bool abandoned;                  /* a write failed */
    bool endless;    /* it has no END record: the header of the next one tells where it ends */
    bool recyclable; /* its blocks are all written: worth keeping as a spare */
    bool moving;
    int64_t moved_ms; /* when moving began last: its records die only when their copies are durable */
};

struct waiter {
    void (*durable)(void *arg, int status);
    void *arg;
};

/* What one write + fdatasync carries. */
struct batch {
    struct batch *next;
    struct qlog *log;
    struct segment *segment;
    uint64_t offset; /* of bytes[0] in the segment's file */
    char *bytes;
    size_t n, capacity;
    struct waiter *waiters;
    size_t waiter_count, waiter_capacity;
    bool opens; /* makes the segment's file first */
    bool urgent;
    int fd;          /* for the job: the segment's, or that of the file it made */
    uint32_t spare;  /* the file to be made into the segment, 0: none */
    bool made_whole; /* the job got a file with all blocks written */
    int status;
};

struct qlog {
    struct qlog_options o;
    char folder[QLOG_PATH];
    struct segment **segments; /* by number, ascending; the last is appended to */
    size_t segment_count, segment_capacity;
    struct io_appender *own_appender; /* when the owner has none */
    struct batch *writing;            /* the job under way */
    struct batch *first, *last;       /* waiting; the last one gathers */
    struct batch *unused;             /* buffers kept for the next turn */
    uint64_t waiting_bytes;
    struct io_timer *lazy;
    bool lazy_running;
    uint32_t next_number;
    uint32_t spare; /* number of a spare file ready for use, 0: none */
    bool preparing;
    int prepare_status;       /* why the last one could not be made, 0: it could */
    int64_t prepare_after_ms; /* a failure to make a spare is not repeated at once */
    struct qlog_counts counts;
    void (*idle)(void *arg);
    void *idle_arg;
    struct mover *mover; /* a segment is being emptied */
    unsigned jobs;       /* in worker threads, and the append under way */
    bool closed;         /* freed when the last job is done */
};

/* segment.c */
void segment_path(const struct qlog *l, uint32_t number, bool spare, char out[QLOG_PATH]);
struct segment *segment_add(struct qlog *l, uint32_t number);
struct segment *segment_find(const struct qlog *l, uint32_t number);
struct segment *segment_begin(struct qlog *l,
                              uint64_t least); /* the next to append to, room for `least` bytes of records */
void segment_header_write(const struct segment *s, int64_t now_us, char page[QLOG_HEADER]);
/* From the start of a file. 0, -EBADMSG (no valid copy), -ENOTSUP (a version or byte order that this program does not read). */
int segment_header_read(const char page[QLOG_HEADER], struct segment_header *out);
/* Where segment number i of these (ascending) ends, as a later one tells; 0: it ends by itself. */
uint64_t segment_end_told(const struct qlog *l, const uint32_t *numbers, size_t count, size_t i);
/* Was the file only being made into segment `number` when the power went? status: of segment_header_read. */
bool segment_never_begun(const char page[QLOG_HEADER], const struct segment_header *h, int status,
                         uint32_t number);
int segment_file_make(
    const char *path,
    uint64_t
        size); /* all blocks written and synced; a descriptor or a negative errno. In a worker or at start */
void segment_drop(struct qlog *l,
                  struct segment *s); /* the file is unlinked or kept as the spare, in a worker; s is freed */
void segment_prepare_spare(struct qlog *l); /* in the background, when there is none */
void segments_tidy_spares(struct qlog *l);  /* at start */

/* A job in a worker; done must end with qlog_job_done. */
void qlog_job(struct qlog *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);
void qlog_job_done(struct qlog *l);

/* append.c */
uint32_t record_crc(uint32_t seed, const struct record_header *h, const char *payload);
static inline uint64_t record_space(uint64_t payload)
{
    return (sizeof(struct record_header) + payload + QLOG_ALIGN - 1) & ~(uint64_t)(QLOG_ALIGN - 1);
}
static inline qlog_position position_of(uint32_t number, uint64_t offset)
{
    return (uint64_t)number << 32 | offset;
}
void commit_start(struct qlog *l);

/* scan.c: walking the records of a file */
struct scan {
    int fd;
    uint64_t size; /* of the file */
    uint64_t at;
    uint32_t marker, seed, number;
    bool flagged; /* its records tell where commits begin */
    bool first;   /* the last record did begin one */
    char *window;
    uint64_t window_at;
    size_t window_n, window_capacity;
    int error; /* of reading */
};
enum scan_step {
    SCAN_RECORD,
    SCAN_BAD /* no valid record at `at` */,
    SCAN_END /* the END record or the end of the file */,
    SCAN_ERROR
};
void scan_init(struct scan *s, int fd, uint64_t size, const struct segment_header *h);
void scan_fini(struct scan *s);
enum scan_step scan_next(struct scan *s, struct qlog_record *out);
/* From a bad place to the next valid record: its offset, or 0 when there is none. */
uint64_t scan_resync(struct scan *s);
/* Does a commit begin at s->at or behind it? If not, a bad place before belongs to the last commit, which nobody was told of. */
bool scan_commit_begins(struct scan *s);

/* replay.c */
int replay_all(struct qlog *l);

/* move.c */
void mover_start(struct qlog *l, struct segment *s);
void mover_free(struct qlog *l);

void qlog_event_file(struct qlog *l, enum event_level level, const char *name, const char *path, int status,
                     const char *next);

#endif
