/* restore.c - reading a checkpoint at start: checkpoint.h has what is in it, checkpoint.c what it promises.
 *
 * Whatever is wrong with it, the index is emptied and the whole log is read, as if there were none; an event says why. Each byte of the file is
 * under a checksum, and it ends with a block that says so. That the log is the one it was made of is looked at by log/replay.c (by the
 * random markers of the segments).
 * An entry whose segment is gone is left out: its message ended or was moved, in records that are replayed. The whole log would not tell
 * of it either.
 * Tests: tests/unit/queue_checkpoint.c, tests/sim/
 */
#include "queue/checkpoint.h"

#include "io/fs.h"

#include <veredus/smtp.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CUT_SHORT "it is cut short"
#define NONSENSE  "what it says makes no sense"

struct reader {
    struct queue *queue;
    struct restored *restored;
    struct checkpoint_header header;
    int fd, error; /* of the system, with `wrong` */
    uint64_t size, at;
    uint32_t blocks;
    char *payload; /* of the block at hand */
    size_t capacity;
    struct text **texts; /* likewise; each with a reference */
    uint32_t text_count, text_capacity;
    bool ended;
    const char *wrong;
};

static bool wrong(struct reader *r, const char *why)
{
    if (r->wrong == NULL)
        r->wrong = why;
    return false;
}

static bool read_bytes(struct reader *r, void *out, size_t n)
{
    if (r->size - r->at < n)
        return wrong(r, CUT_SHORT);
    int64_t got = io_fs_pread(r->fd, out, n, r->at);
    if (got < 0)
        r->error = (int)got;
    if (got != (int64_t)n)
        return wrong(r, got < 0 ? "it cannot be read" : CUT_SHORT);
    r->at += n;
    return true;
}

static bool read_header(struct reader *r)
{
    struct checkpoint_header *h = &r->header;
    if (!read_bytes(r, h, sizeof *h))
        return false;
    if (memcmp(h->magic, CHECKPOINT_MAGIC, sizeof h->magic) != 0)
        return wrong(r, "it does not begin as a checkpoint does");
    if (h->byte_order != CHECKPOINT_BYTE_ORDER || h->version != CHECKPOINT_VERSION)
        return wrong(r, "another version or machine wrote it");
    if (h->crc != vr_crc32c(0, h, offsetof(struct checkpoint_header, crc)))
        return wrong(r, "its checksum does not hold");
    r->restored->start.from = h->from;
    return true;
}

static bool read_block(struct reader *r, struct checkpoint_block *b)
{
    if (!read_bytes(r, b, sizeof *b))
        return false;
    if (b->length > CHECKPOINT_BLOCK_MAX || b->length > r->size - r->at)
        return wrong(r, CUT_SHORT);
    if (b->length > r->capacity) {
        free(r->payload);
        r->payload = malloc(b->length);
        assert(r->payload != NULL);
        r->capacity = b->length;
    }
    return read_bytes(r, r->payload, b->length) &&
           (checkpoint_crc(r->header.seed, r->blocks++, b, r->payload) == b->crc ||
            wrong(r, "its checksum does not hold"));
}

/* ---- blocks ---------------------------------------------------------------------------------------------------------------- */

static bool take_log(struct reader *r, const struct checkpoint_block *b)
{
    struct restored *out = r->restored;
    if (out->segments != NULL || b->count == 0 || b->length != b->count * sizeof(struct qlog_segment))
        return wrong(r, NONSENSE);
    out->segments = malloc(b->length);
    assert(out->segments != NULL);
    memcpy(out->segments, r->payload, b->length);
    for (uint32_t i = 1; i < b->count; i++)
        if (out->segments[i].number <= out->segments[i - 1].number)
            return wrong(r, NONSENSE);
    const struct qlog_segment *last = &out->segments[b->count - 1];
    out->start.segments = out->segments;
    out->start.segment_count = b->count;
    return r->header.from == ((uint64_t)last->number << 32 | last->used) || wrong(r, NONSENSE);
}

static void drop_texts(struct reader *r)
{
    for (uint32_t i = 0; i < r->text_count; i++)
        text_drop(r->queue, r->texts[i]);
    r->text_count = 0;
}

static bool take_texts(struct reader *r, struct vr_str bytes)
{
    struct ipc_reader in = ipc_reader(bytes);
    while (in.rest.n > 0 && !in.bad) {
        struct vr_str s = ipc_get_str(&in);
        if (in.bad || s.n == 0)
            return wrong(r, NONSENSE);
        if (r->text_count == r->text_capacity) {
            r->text_capacity = r->text_capacity > 0 ? 2 * r->text_capacity : 64;
            r->texts = realloc(r->texts, r->text_capacity * sizeof(struct text *));
            assert(r->texts != NULL);
        }
        r->texts[r->text_count++] = text_take(r->queue, s);
    }
    return !in.bad || wrong(r, NONSENSE);
}

static bool take_recipient(const struct reader *r, struct message *m, uint32_t index,
                           const struct checkpoint_recipient *from)
{
    bool known = from->state == RECIPIENT_WAITING || from->state == RECIPIENT_EXPANDING ||
                 recipient_final(from->state);
    uint32_t least = index > 0 ? m->recipients[index - 1].address : m->reverse_path_n;
    if (!known || from->parent >= m->given || from->reply > r->text_count || from->address > m->text_n ||
        from->address < least)
        return false;
    struct recipient *to = &m->recipients[index];
    *to = (struct recipient){.address = from->address,
                             .next = from->next,
                             .parent = from->parent,
                             .attempts = from->attempts,
                             .state = from->state & 31u,
                             .notify = from->notify & 15u,
                             .flags = from->flags & RECIPIENT_FLAGS};
    if (from->reply != 0) {
        to->reply = r->texts[from->reply - 1];
        to->reply->refs++;
    }
    m->open += !recipient_final(from->state);
    return true;
}

static struct message *message_bare(const struct checkpoint_message *from)
{
    struct message *m = message_alloc(from->count, from->text_n);
    m->id = from->id;
    m->position = from->position;
    m->size = from->size;
    m->arrival_us = from->arrival_us;
    m->record_length = from->record_length;
    m->given = from->given;
    m->text_n = from->text_n;
    m->sender = from->sender;
    m->reverse_path_n = from->reverse_path_n & 0x3fffu;
    m->priority = from->priority;
    m->large = from->large != 0;
    m->held = from->held != 0;
    m->timed = from->timed != 0;
    m->hold_until = from->hold_until;
    m->deliver_by = from->deliver_by;
    m->by = from->by & 3u;
    m->by_trace = from->by_trace != 0;
    m->durable = true;
    return m;
}

static bool take_message(struct reader *r, struct vr_str *rest)
{
    struct checkpoint_message from;
    struct queue *q = r->queue;
    if (rest->n < sizeof from)
        return wrong(r, NONSENSE);
    memcpy(&from, rest->p, sizeof from);
    *rest = vr_str(rest->p + sizeof from, rest->n - sizeof from);
    uint64_t bytes = (uint64_t)from.count * sizeof(struct checkpoint_recipient);
    if (from.id == 0 || from.position == 0 || from.position >= r->header.from || from.given == 0 ||
        from.given > from.count || from.reverse_path_n > from.text_n || from.reverse_path_n > 0x3fff ||
        from.by > SMTP_BY_RETURN || bytes + from.text_n > rest->n)
        return wrong(r, NONSENSE);
    struct message *m = idmap_find(&q->messages, from.id);
    if (m != NULL) /* met twice on the walk: the later one is as good */
        message_free(q, m);
    m = message_bare(&from);
    m->sleep.key = (uint32_t)r->restored->slice_count;
    bool good = true;
    for (uint32_t i = 0; i < m->count && good; i++) {
        struct checkpoint_recipient to;
        memcpy(&to, rest->p + i * sizeof to, sizeof to);
        good = take_recipient(r, m, i, &to);
    }
    if (!good) {
        idmap_add(&q->messages, m); /* it goes with all the others */
        return wrong(r, NONSENSE);
    }
    message_add(q, m);
    memcpy(m->recipients + m->count, rest->p + bytes, m->text_n);
    *rest = vr_str(rest->p + bytes + m->text_n, rest->n - bytes - m->text_n);
    r->restored->messages++;
    return m->open > 0 || wrong(r, NONSENSE);
}

static bool take_messages(struct reader *r, const struct checkpoint_block *b)
{
    struct restored *out = r->restored;
    uint32_t n;
    if (out->segments == NULL || b->length < sizeof n || b->as_of < r->header.from)
        return wrong(r, NONSENSE);
    memcpy(&n, r->payload, sizeof n);
    if (n > b->length - sizeof n || !take_texts(r, vr_str(r->payload + sizeof n, n)))
        return wrong(r, NONSENSE);
    if (out->slice_count == out->slice_capacity) {
        out->slice_capacity = out->slice_capacity > 0 ? 2 * out->slice_capacity : 256;
        out->slices = realloc(out->slices, out->slice_capacity * sizeof *out->slices);
        assert(out->slices != NULL);
    }
    out->slices[out->slice_count++] = b->as_of;
    struct vr_str rest = vr_str(r->payload + sizeof n + n, b->length - sizeof n - n);
    bool good = true;
    for (uint32_t i = 0; i < b->count && good; i++)
        good = take_message(r, &rest);
    drop_texts(r);
    return good && (rest.n == 0 || wrong(r, NONSENSE));
}

static bool take_finished(struct reader *r, const struct checkpoint_block *b)
{
    if (b->length != b->count * sizeof(uint64_t))
        return wrong(r, NONSENSE);
    for (uint32_t i = 0; i < b->count; i++) {
        uint64_t id;
        memcpy(&id, r->payload + i * sizeof id, sizeof id);
        finished_add(r->queue, id);
    }
    return true;
}

static bool take_end(struct reader *r, const struct checkpoint_block *b)
{
    r->ended = true;
    return (b->count == (uint32_t)r->restored->messages && b->length == 0 && r->at == r->size) ||
           wrong(r, NONSENSE);
}

static bool take_block(struct reader *r, const struct checkpoint_block *b)
{
    switch (b->type) {
    case CHECKPOINT_LOG:
        return take_log(r, b);
    case CHECKPOINT_MESSAGES:
        return take_messages(r, b);
    case CHECKPOINT_FINISHED:
        return take_finished(r, b);
    case CHECKPOINT_END:
        return take_end(r, b);
    default:
        return wrong(r, NONSENSE);
    }
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------------- */

static void restored_free(struct restored *r)
{
    free(r->slices);
    free(r->segments);
    free(r);
}

static void forget_all(struct queue *q)
{
    for (size_t i = 0; q->messages.count > 0; i = (i + 1) % q->messages.capacity) {
        struct message *m = idmap_slot(&q->messages, i);
        if (m != NULL)
            message_free(q, m);
    }
    finished_clear(q);
}

static void note_unusable(struct queue *q, const char *why, int error)
{
    char path[BODY_PATH];
    checkpoint_path(q, false, path);
    event_begin(q->events, EVENT_WARNING, "log.checkpoint_unusable", 0);
    event_text(q->events, "file", path);
    event_text(q->events, "why", why);
    if (error != 0)
        event_text(q->events, "error", io_error_text(error));
    event_text(q->events, "next",
               "nothing: the whole log is read, which takes longer; when it was damaged, check the disk");
    event_end(q->events);
}

static bool read_all(struct reader *r)
{
    struct io_fs_stat st;
    r->error = io_fs_fstat(r->fd, &st);
    if (r->error != 0)
        return wrong(r, "it cannot be read");
    r->size = st.size;
    if (!read_header(r))
        return false;
    if (r->header.messages <= r->size / sizeof(struct checkpoint_message)) /* a table that need not grow */
        idmap_reserve(&r->queue->messages, (size_t)r->header.messages);
    while (!r->ended) {
        struct checkpoint_block b;
        if (!read_block(r, &b) || !take_block(r, &b))
            return false;
    }
    return r->restored->segments != NULL || wrong(r, NONSENSE);
}

struct restored *restore_read(struct queue *q)
{
    char path[BODY_PATH];
    checkpoint_path(q, true, path);
    (void)io_fs_unlink(path); /* one that was being written when an earlier queue died */
    checkpoint_path(q, false, path);
    struct reader r = {.queue = q, .fd = io_fs_open(path, IO_FS_READ | IO_FS_NO_FOLLOW, 0)};
    if (r.fd == -ENOENT)
        return NULL;
    r.restored = calloc(1, sizeof *r.restored);
    assert(r.restored != NULL);
    bool good = false;
    if (r.fd >= 0) {
        good = read_all(&r);
        io_fs_close(r.fd);
    } else {
        r.error = r.fd;
        wrong(&r, "it cannot be opened");
    }
    drop_texts(&r);
    free(r.texts);
    free(r.payload);
    r.restored->bytes = r.size;
    if (good)
        return r.restored;
    note_unusable(q, r.wrong, r.error);
    forget_all(q);
    restored_free(r.restored);
    return NULL;
}

/* Those whose segment is gone. A removal may move others to the slot at hand. */
static void forget_gone(struct queue *q)
{
    for (size_t i = 0; i < q->messages.capacity; i++) {
        struct message *m;
        while ((m = idmap_slot(&q->messages, i)) != NULL && !qlog_holds(q->log, m->position))
            message_free(q, m);
    }
}

void restore_started(void *queue, const char *misfit)
{
    struct queue *q = queue;
    if (misfit != NULL) {
        note_unusable(q, misfit, 0);
        forget_all(q);
        restored_free(q->restored);
        q->restored = NULL;
        return;
    }
    forget_gone(q);
    for (size_t i = 0; i < q->messages.capacity; i++) {
        const struct message *m = idmap_slot(&q->messages, i);
        if (m != NULL)
            qlog_alive(q->log, m->position, m->record_length);
    }
    q->checkpoint_from = q->restored->start.from;
    q->checkpoint_bytes = q->restored->bytes;
}

void restore_end(struct queue *q)
{
    if (q->restored == NULL)
        return;
    restored_free(q->restored);
    q->restored = NULL;
}
