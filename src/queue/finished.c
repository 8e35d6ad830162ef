/* finished.c - the ids of messages that ended lately. A receiver whose acknowledgement was lost with the queue asks the next one for the same id:
 * it must hear "safe", not be stored and delivered once more.
 *
 * While the queue serves the list only grows at one end and shrinks at the other (8 bytes an id); it is for the checkpoint, as the records that
 * tell of these ends are not read at the next start. Only what a start found is asked for.
 * Tests: tests/unit/queue_process.c, tests/unit/queue_checkpoint.c
 */
#include "queue/inside.h"

#include <assert.h>
#include <stdlib.h>

#define RECENT_US (10ll * 60 * 1000000) /* a receiver asks again at once; ten minutes are plenty */
#define SOME      (sizeof((struct finished_some){0}.ids) / sizeof(uint64_t))

static bool is_recent(const struct queue *q, uint64_t id)
{
    return queue_id_time_us(id) >= io_now_us(q->io) - RECENT_US;
}

void finished_add(struct queue *q, uint64_t id)
{
    if (!is_recent(q, id))
        return;
    struct finished_some *s = q->finished_newest;
    if (s == NULL || s->count == SOME) {
        s = malloc(sizeof *s);
        assert(s != NULL);
        s->next = NULL;
        s->number = q->finished_newest != NULL ? q->finished_newest->number + 1 : 1;
        s->count = 0;
        *(q->finished_newest != NULL ? &q->finished_newest->next : &q->finished_oldest) = s;
        q->finished_newest = s;
    }
    s->ids[s->count++] = id;
}

/* The last one of a block ended last: mostly it came last too. Where not, the block stays a little longer, or goes a little earlier. */
void finished_forget(struct queue *q)
{
    struct finished_some *s;
    while ((s = q->finished_oldest) != NULL && !is_recent(q, s->ids[s->count - 1])) {
        q->finished_oldest = s->next;
        if (s->next == NULL)
            q->finished_newest = NULL;
        free(s);
    }
}

void finished_clear(struct queue *q)
{
    for (struct finished_some *s = q->finished_oldest, *next; s != NULL; s = next) {
        next = s->next;
        free(s);
    }
    q->finished_oldest = q->finished_newest = NULL;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

bool finished_recently(const struct queue *q, uint64_t id)
{
    return q->finished_count > 0 && bsearch(&id, q->finished, q->finished_count, sizeof id, by_id) != NULL;
}

void finished_sort(struct queue *q)
{
    size_t n = 0;
    for (const struct finished_some *s = q->finished_oldest; s != NULL; s = s->next)
        n += s->count;
    if (n == 0)
        return;
    q->finished = malloc(n * sizeof *q->finished);
    assert(q->finished != NULL);
    q->finished_count = 0;
    for (const struct finished_some *s = q->finished_oldest; s != NULL; s = s->next)
        for (size_t i = 0; i < s->count; i++)
            q->finished[q->finished_count++] = s->ids[i];
    qsort(q->finished, n, sizeof *q->finished, by_id);
}
