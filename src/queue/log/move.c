/* move.c - emptying the oldest segment: what still lives in it is appended again at the young end.
 *
 * Bounded work: a chunk is read in a worker, its records are offered to the owner in one turn, and the next chunk waits until little
 * waits for the disk, so intake never waits for more than one chunk.
 */
#include "queue/log/inside.h"

#include "io/fs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_PER_TURN 256
#define BYTES_PER_TURN   (1u << 20)

struct mover {
    struct qlog *log;
    struct segment *segment;
    struct scan scan;
    struct qlog_record *records;
    char *bytes;
    size_t count, used;
    bool end;
    struct io_timer *again;
};

/* In a worker: the next records, copied out of the window. */
static void move_work(void *arg)
{
    struct mover *m = arg;
    m->count = m->used = 0;
    struct qlog_record r;
    while (m->count < RECORDS_PER_TURN) {
        uint64_t at = m->scan.at;
        enum scan_step step = scan_next(&m->scan, &r);
        if (step == SCAN_BAD && scan_resync(&m->scan) != 0)
            continue; /* reported at replay, or when it was read */
        if (step != SCAN_RECORD) {
            m->end = true;
            return;
        }
        if (m->used + r.payload.n > BYTES_PER_TURN && m->count > 0) {
            m->scan.at = at;
            return;
        }
        if (r.payload.n > BYTES_PER_TURN) {
            m->bytes = realloc(m->bytes, QLOG_RECORD_MAX);
            assert(m->bytes != NULL);
        }
        if (r.payload.n > 0)
            memcpy(m->bytes + m->used, r.payload.p, r.payload.n);
        r.payload.p = m->bytes + m->used;
        m->used += r.payload.n;
        m->records[m->count++] = r;
    }
}

static void move_done(void *arg);

static void move_on(void *arg)
{
    struct mover *m = arg;
    if (m->log->waiting_bytes <= BYTES_PER_TURN)
        qlog_job(m->log, move_work, move_done, m);
    else
        io_timer_start(m->again, 5, 0);
}

static void move_done(void *arg)
{
    struct mover *m = arg;
    struct qlog *l = m->log;
    if (!l->closed)
        for (size_t i = 0; i < m->count; i++)
            l->o.move(l->o.arg, &m->records[i]);
    if (m->end || l->closed) {
        mover_free(l);
        if (!l->closed)
            qlog_trim(l);
    } else {
        io_timer_start(m->again, 5, 0);
    }
    qlog_job_done(l);
}

void mover_start(struct qlog *l, struct segment *s)
{
    struct mover *m = calloc(1, sizeof *m);
    assert(m != NULL);
    m->log = l;
    m->segment = s;
    s->moving = true;
    s->moved_ms = io_monotonic_ms(l->o.io);
    struct segment_header h = {.number = s->number, .marker = s->marker, .seed = s->seed};
    scan_init(&m->scan, s->fd, s->durable, &h);
    m->records = calloc(RECORDS_PER_TURN, sizeof *m->records);
    m->bytes = malloc(BYTES_PER_TURN);
    assert(m->records != NULL && m->bytes != NULL);
    m->again = io_timer_new(l->o.io, move_on, m);
    l->mover = m;
    event_begin(l->o.events, EVENT_DEBUG, "log.moving", 0);
    event_u64(l->o.events, "segment", s->number);
    event_u64(l->o.events, "alive", s->alive);
    event_end(l->o.events);
    qlog_job(l, move_work, move_done, m);
}

void mover_free(struct qlog *l)
{
    struct mover *m = l->mover;
    if (m == NULL)
        return;
    m->segment->moving = false;
    io_timer_free(m->again);
    scan_fini(&m->scan);
    free(m->records);
    free(m->bytes);
    free(m);
    l->mover = NULL;
}
