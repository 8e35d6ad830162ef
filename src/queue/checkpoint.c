/* checkpoint.c - writes down what the queue holds, so that a start reads what is alive and the end of the log, not all that was ever written.
 *
 * Promise:    the index from a checkpoint and the log behind it is the index from the whole log. A checkpoint is only ever a shortcut: when it
 *             is missing, damaged, old or foreign, the whole log is read.
 * How:        fuzzy. `from` is the durable end of the log at the beginning. Then messages are packed, some in each turn of the loop, as they are at
 *             that moment, while the queue goes on working. What changes behind their packing is in records behind `from`, and is replayed.
 * Invariants: (1) Only what a record says is stored: of a recipient whose fate is being written down (REPORTING) what was before, a
 *                 delay warning only when its report is durable. And the file gets its name only when every record that was appended
 *                 before the last packing is durable, and none failed (failed ones are tried again: then it was told too early).
 *             (2) Each slice says the position `as_of` up to which all records are in its entries; replay leaves those out for them.
 *                 RESULTs would do no harm at the end, but one that says WAITING before an EXPAND would bring that to life again.
 *             (3) A message whose record is at or behind `from` is left out: its record, and all about it, is replayed.
 *             (4) `from` and `as_of` never lie behind a copy (log/move.c) whose states are not durable: the queue still knows the
 *                 message at its old place then, and would learn of the copy only from a record that replay leaves out.
 * States:     PACKING -> SETTLING [settle] -> NAMING [name_it] -> gone; from each to gone [give_up]. At most one job at a time.
 * Runs in:    queue. Memory: one buffer of about a MiB. Tests: tests/unit/queue_checkpoint.c, tests/sim/
 */
#include "queue/checkpoint.h"

#include "io/fs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_PER_TURN 512u
#define SLOTS_PER_TURN    8192u
#define BYTES_PER_TURN    (256u << 10)
#define FINISHED_PER_TURN 64
#define HURRY             16u /* so many times as much in a turn when the queue waits for it to leave */
#define WRITE_BYTES       (1u << 20)
#define BUFFER_MAX        (2 * CHECKPOINT_BLOCK_MAX)
#define ENTRY_ESTIMATE    128u
#define TURN_MS           1
#define SETTLE_MS         10
#define AGAIN_MS          60000 /* after a failure */
#define STOP_PART         16    /* at a stop, a checkpoint pays after so much less of new log */
#define TEXTS             1024u /* of replies, that are found again within a block */

enum state { PACKING, SETTLING, NAMING };

struct known_text {
    const struct text *text;
    uint32_t number; /* + 1 */
};

struct checkpoint {
    struct queue *queue;
    struct io_timer *timer;
    enum state state;
    struct idmap_walk walk;
    uint64_t finished; /* number of the last block of them that was packed */
    qlog_position from, end;
    uint64_t failures;
    bool hurry, ended;
    int64_t began_ms;
    uint64_t messages, written;
    uint32_t seed, blocks;
    struct vr_buf buffer;         /* blocks for the file */
    struct vr_buf entries, texts; /* of the block being packed */
    uint32_t count, text_count;
    struct known_text known[TEXTS];
    /* for the job */
    char path[BODY_PATH], aside[BODY_PATH];
    int fd, status;
    const char *what;
};

void checkpoint_path(const struct queue *q, bool aside, char out[BODY_PATH])
{
    snprintf(out, BODY_PATH, "%s/log/" QLOG_CHECKPOINT "%s", q->spool, aside ? ".new" : "");
}

uint32_t checkpoint_crc(uint32_t seed, uint32_t number, const struct checkpoint_block *b, const char *payload)
{
    uint32_t crc =
        vr_crc32c(seed + number, &b->length, sizeof *b - offsetof(struct checkpoint_block, length));
    return vr_crc32c(crc, payload, b->length);
}

/* ---- the end -------------------------------------------------------------------------------------------------------------- */

static void checkpoint_free(struct checkpoint *c)
{
    c->queue->checkpoint = NULL;
    io_timer_free(c->timer);
    vr_buf_fini(&c->buffer);
    vr_buf_fini(&c->entries);
    vr_buf_fini(&c->texts);
    free(c);
}

static void drop_work(void *arg)
{
    struct checkpoint *c = arg;
    if (c->fd >= 0)
        io_fs_close(c->fd);
    (void)io_fs_unlink(c->aside);
}

static void drop_done(void *arg)
{
    checkpoint_free(arg);
}

/* why NULL: nothing is wrong, it only came to nothing. */
static void give_up(struct checkpoint *c, int status, const char *why)
{
    struct queue *q = c->queue;
    event_begin(q->events, why != NULL ? EVENT_WARNING : EVENT_DEBUG, "log.checkpoint_failed", 0);
    event_text(q->events, "file", c->aside);
    if (why != NULL)
        event_text(q->events, "what", why);
    if (status != 0)
        event_text(q->events, "error", io_error_text(status));
    event_text(q->events, "next",
               why != NULL
                   ? "nothing is lost, the next start reads more of the log; free space or check the disk"
                   : "nothing: it is made again");
    event_end(q->events);
    if (why != NULL)
        q->checkpoint_after_ms = io_monotonic_ms(q->io) + AGAIN_MS;
    c->ended = true;
    io_work(q->io, drop_work, drop_done, c);
}

/* ---- jobs ----------------------------------------------------------------------------------------------------------------- */

static void write_work(void *arg)
{
    struct checkpoint *c = arg;
    c->status = 0;
    if (c->fd < 0) {
        c->what = "it cannot be made";
        c->fd = io_fs_open(c->aside, IO_FS_WRITE | IO_FS_CREATE | IO_FS_TRUNCATE | IO_FS_NO_FOLLOW, 0600);
        if (c->fd < 0) {
            c->status = c->fd;
            return;
        }
    }
    struct vr_str bytes = vr_buf_str(&c->buffer);
    c->what = "it cannot be written";
    int status = io_fs_pwrite(c->fd, bytes.p, bytes.n, c->written);
    c->status = status < 0 ? status : 0;
}

static void write_done(void *arg)
{
    struct checkpoint *c = arg;
    c->written += vr_buf_size(&c->buffer);
    vr_buf_reset(&c->buffer);
    if (c->status != 0)
        give_up(c, c->status, c->what);
    else
        io_timer_start(c->timer, TURN_MS, 0);
}

/* Durable before it bears its name: what is found under that name is whole, or damaged by the disk. */
static void name_work(void *arg)
{
    struct checkpoint *c = arg;
    c->what = "it cannot be made durable";
    c->status = io_fs_sync(c->fd);
    io_fs_close(c->fd);
    c->fd = -1;
    if (c->status == 0) {
        c->what = "it cannot be given its name";
        c->status = io_fs_rename(c->aside, c->path);
    }
    if (c->status == 0)
        c->status = io_fs_sync_parent(c->path);
}

static void name_done(void *arg)
{
    struct checkpoint *c = arg;
    struct queue *q = c->queue;
    if (c->status != 0) {
        give_up(c, c->status, c->what);
        return;
    }
    q->checkpoint_from = c->from;
    q->checkpoint_bytes = c->written;
    event_begin(q->events, EVENT_DEBUG, "log.checkpoint", 0);
    event_text(q->events, "file", c->path);
    event_u64(q->events, "messages", c->messages);
    event_u64(q->events, "bytes", c->written);
    event_u64(q->events, "ms", (uint64_t)(io_monotonic_ms(q->io) - c->began_ms));
    event_end(q->events);
    c->ended = true;
    checkpoint_free(c);
}

/* ---- packing ---------------------------------------------------------------------------------------------------------------- */

/* The queue's memory reflects all records before it, and nothing keeps it from being told so (invariant 4). */
static qlog_position reflected_end(const struct queue *q)
{
    qlog_position end = qlog_durable_end(q->log), copy = move_oldest(q);
    return copy != 0 && copy < end ? copy : end;
}

static void put_block(struct checkpoint *c, struct checkpoint_block b, const struct vr_str *parts,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        b.length += (uint32_t)parts[i].n;
    size_t at = vr_buf_size(&c->buffer) + sizeof b;
    vr_buf_add(&c->buffer, vr_str((const char *)&b, sizeof b));
    for (size_t i = 0; i < count; i++)
        vr_buf_add(&c->buffer, parts[i]);
    assert(!c->buffer.too_big);
    /* The checksum last: the payload lies in one piece only now. */
    char *bytes = (char *)(uintptr_t)vr_buf_str(&c->buffer).p + at;
    b.crc = checkpoint_crc(c->seed, c->blocks++, &b, bytes);
    memcpy(bytes - sizeof b, &b, sizeof b);
}

/* A thousand recipients of a dead host share one text; so they do on disk, within a block. */
static uint32_t text_number(struct checkpoint *c, const struct text *t)
{
    if (t == NULL)
        return 0;
    struct known_text *k = &c->known[((uintptr_t)t >> 4) % TEXTS];
    if (k->text != t) {
        ipc_put_str(&c->texts, text_str(t));
        *k = (struct known_text){t, ++c->text_count};
    }
    return k->number;
}

static bool has_children(const struct message *m, uint32_t index)
{
    for (uint32_t i = m->given; i < m->count; i++)
        if (m->recipients[i].parent == index && i != index)
            return true;
    return false;
}

/* What the log says of it (invariant 1). Who is REPORTING and has others in its place owes the sender the report about that
 * (message_begin); who is being expanded has none yet. */
static uint8_t state_as_written(const struct message *m, uint32_t index)
{
    uint8_t state = m->recipients[index].state;
    if (recipient_final(state) || state == RECIPIENT_EXPANDING)
        return state;
    return state == RECIPIENT_REPORTING && index < m->given && has_children(m, index) ? RECIPIENT_EXPANDING
                                                                                      : RECIPIENT_WAITING;
}

static uint8_t flags_as_written(uint8_t flags)
{
    unsigned untrue = (flags & RECIPIENT_WARNING ? RECIPIENT_WARNED : 0u) |
                      (flags & RECIPIENT_TELLING ? RECIPIENT_LATE : 0u);
    return flags & (uint8_t) ~(untrue | RECIPIENT_PASSES);
}

static void pack_message(struct checkpoint *c, const struct message *m)
{
    struct checkpoint_message out = {.id = m->id,
                                     .position = m->position,
                                     .size = m->size,
                                     .arrival_us = m->arrival_us,
                                     .record_length = m->record_length,
                                     .count = m->count,
                                     .given = m->given,
                                     .text_n = m->text_n,
                                     .sender = m->sender,
                                     .reverse_path_n = m->reverse_path_n,
                                     .priority = m->priority,
                                     .large = m->large,
                                     .held = m->held,
                                     .timed = m->timed,
                                     .by = m->by,
                                     .by_trace = m->by_trace,
                                     .hold_until = m->hold_until,
                                     .deliver_by = m->deliver_by};
    size_t n = sizeof out + m->count * sizeof(struct checkpoint_recipient) + m->text_n;
    char *p = vr_buf_reserve(&c->entries, n);
    assert(p != NULL); /* a record of at most QLOG_RECORD_MAX named them all */
    memcpy(p, &out, sizeof out);
    p += sizeof out;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct recipient *r = &m->recipients[i];
        struct checkpoint_recipient to = {.address = r->address,
                                          .next = r->next,
                                          .parent = r->parent,
                                          .reply = text_number(c, r->reply),
                                          .attempts = r->attempts,
                                          .state = state_as_written(m, i),
                                          .notify = r->notify,
                                          .flags = flags_as_written(r->flags)};
        memcpy(p, &to, sizeof to);
        p += sizeof to;
    }
    memcpy(p, m->recipients + m->count, m->text_n);
    vr_buf_filled(&c->entries, n);
    c->count++;
    c->messages++;
}

static void block_end(struct checkpoint *c)
{
    if (c->count == 0)
        return;
    uint32_t n = (uint32_t)vr_buf_size(&c->texts);
    struct vr_str parts[] = {vr_str((const char *)&n, sizeof n), vr_buf_str(&c->texts),
                             vr_buf_str(&c->entries)};
    struct checkpoint_block b = {
        .type = CHECKPOINT_MESSAGES, .count = c->count, .as_of = reflected_end(c->queue)};
    put_block(c, b, parts, 3);
    vr_buf_reset(&c->entries);
    vr_buf_reset(&c->texts);
    memset(c->known, 0, sizeof c->known);
    c->count = c->text_count = 0;
}

/* One slice, within one turn: no record becomes durable between its messages. */
static void pack_slice(struct checkpoint *c)
{
    struct queue *q = c->queue;
    uint32_t times = c->hurry ? HURRY : 1;
    for (uint32_t slots = 0; slots < SLOTS_PER_TURN * times && c->count < MESSAGES_PER_TURN * times &&
                             vr_buf_size(&c->entries) < BYTES_PER_TURN * times && !idmap_walk_ended(&c->walk);
         slots++) {
        const struct message *m = idmap_walk_next(&q->messages, &c->walk);
        /* Ended: it goes as soon as nothing holds it, and stands among the finished ones, or its end is behind `from`. */
        if (m != NULL && m->durable && !m->dead && m->open > 0 && m->position < c->from)
            pack_message(c, m);
    }
    block_end(c);
}

/* Some of those that ended; they may be forgotten meanwhile. What ends from now on, ends in a record that is replayed. */
static void pack_finished(struct checkpoint *c)
{
    const struct finished_some *s = c->queue->finished_oldest;
    while (s != NULL && s->number <= c->finished)
        s = s->next;
    for (int i = 0; s != NULL && i < FINISHED_PER_TURN; s = s->next, i++) {
        struct vr_str part = vr_str((const char *)s->ids, s->count * sizeof *s->ids);
        put_block(c, (struct checkpoint_block){.type = CHECKPOINT_FINISHED, .count = (uint32_t)s->count},
                  &part, 1);
        c->finished = s->number;
    }
    if (s != NULL)
        return;
    put_block(c, (struct checkpoint_block){.type = CHECKPOINT_END, .count = (uint32_t)c->messages}, NULL, 0);
    c->state = SETTLING;
}

/* ---- steps -------------------------------------------------------------------------------------------------------------------- */

static void pack(struct checkpoint *c)
{
    struct queue *q = c->queue;
    if (!idmap_walk_ended(&c->walk) && idmap_walk_broken(&q->messages, &c->walk)) {
        give_up(c, 0, NULL);
        return;
    }
    if (!idmap_walk_ended(&c->walk))
        pack_slice(c);
    else
        pack_finished(c);
    if (vr_buf_size(&c->buffer) >= WRITE_BYTES || c->state == SETTLING)
        io_work(q->io, write_work, write_done, c);
    else
        io_timer_start(c->timer, TURN_MS, 0);
}

/* Invariant 1: what was packed is durable. States that found no way into the log yet (unsaved) are appended before `end`. */
static void settle(struct checkpoint *c)
{
    struct queue *q = c->queue;
    if (c->end == 0 && q->unsaved_count == 0)
        c->end = qlog_end(q->log);
    if (c->end == 0 || qlog_durable_end(q->log) < c->end) {
        io_timer_start(c->timer, SETTLE_MS, 0);
        return;
    }
    c->state = NAMING;
    io_work(q->io, name_work, name_done, c);
}

static void step(void *arg)
{
    struct checkpoint *c = arg;
    struct qlog_counts counts;
    qlog_counts(c->queue->log, &counts);
    if (counts.failures != c->failures)
        give_up(c, 0, "the log could not be written meanwhile");
    else if (c->state == PACKING)
        pack(c);
    else
        settle(c);
}

static void begin(struct queue *q, bool hurry)
{
    qlog_position from = reflected_end(q);
    if (from == 0 || q->unsaved_count > 0)
        return;
    struct checkpoint *c = calloc(1, sizeof *c);
    assert(c != NULL);
    struct qlog_counts counts;
    qlog_counts(q->log, &counts);
    c->queue = q;
    c->from = from;
    c->failures = counts.failures;
    c->hurry = hurry;
    c->began_ms = io_monotonic_ms(q->io);
    c->fd = -1;
    c->timer = io_timer_new(q->io, step, c);
    checkpoint_path(q, false, c->path);
    checkpoint_path(q, true, c->aside);
    vr_buf_init(&c->buffer, BUFFER_MAX);
    vr_buf_init(&c->entries, CHECKPOINT_BLOCK_MAX / 2);
    vr_buf_init(&c->texts, CHECKPOINT_BLOCK_MAX / 4);
    idmap_walk_begin(&q->messages, &c->walk);
    io_random(q->io, &c->seed, sizeof c->seed);
    struct checkpoint_header h = {.version = CHECKPOINT_VERSION,
                                  .byte_order = CHECKPOINT_BYTE_ORDER,
                                  .from = from,
                                  .made_us = io_now_us(q->io),
                                  .messages = q->messages.count,
                                  .seed = c->seed};
    memcpy(h.magic, CHECKPOINT_MAGIC, sizeof h.magic);
    h.crc = vr_crc32c(0, &h, offsetof(struct checkpoint_header, crc));
    vr_buf_add(&c->buffer, vr_str((const char *)&h, sizeof h));
    size_t n;
    struct qlog_segment *segments = qlog_segments(q->log, from, &n);
    struct vr_str part = vr_str((const char *)segments, n * sizeof *segments);
    put_block(c, (struct checkpoint_block){.type = CHECKPOINT_LOG, .count = (uint32_t)n}, &part, 1);
    free(segments);
    q->checkpoint = c;
    io_timer_start(c->timer, TURN_MS, 0);
}

/* ---- when --------------------------------------------------------------------------------------------------------------------- */

/* It costs what it writes, and spares reading what was written since the last one: so at most a third of the bytes that go to the disk
 * are of checkpoints, and a start reads at most about three times what is alive. */
static bool pays(const struct queue *q, uint64_t least)
{
    uint64_t size = ENTRY_ESTIMATE * (uint64_t)q->messages.count;
    if (size < q->checkpoint_bytes)
        size = q->checkpoint_bytes;
    uint64_t fresh = qlog_bytes_since(q->log, q->checkpoint_from);
    return fresh >= least && fresh >= 2 * size;
}

void checkpoint_check(struct queue *q)
{
    if (q->checkpoint == NULL && !q->draining && !guard_refuses(q) &&
        io_monotonic_ms(q->io) >= q->checkpoint_after_ms && pays(q, q->config->checkpoint_after))
        begin(q, false);
}

void checkpoint_stop(struct queue *q)
{
    bool cheap = pays(q, q->config->checkpoint_after / STOP_PART);
    if (q->checkpoint != NULL)
        q->checkpoint->hurry = cheap;
    else if (cheap && !guard_refuses(q) && io_monotonic_ms(q->io) >= q->checkpoint_after_ms)
        begin(q, true);
}

bool checkpoint_wanted(const struct queue *q)
{
    return q->checkpoint != NULL && q->checkpoint->hurry && !q->checkpoint->ended;
}
