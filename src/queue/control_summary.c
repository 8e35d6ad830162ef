/* control_summary.c - `summary`: the queue in numbers, from counts that are kept anyway (struct counts) and the table of destinations.
 *
 * Exact, all at one moment: messages, recipients and their states, bytes, the log's figures. Each destination's line is exact when it is
 * made; they are made in turns, so two of them may be of different moments. "oldest" is exact unless the oldest one ended since
 * somebody asked last: then a walk in bounded turns looks for the next one, and when that one ends during the walk it is told all the
 * same. A destination that is made while they are told may be missing.
 * Tests: tests/unit/queue_control.c
 */
#include "queue/control.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PLACES_AT_ONCE       256
#define DESTINATIONS_AT_ONCE 64

struct summary {
    bool counted, any;
    struct idmap_walk walk;
    bool walking;
    uint64_t oldest; /* of the walk so far; 0: none */
    int64_t oldest_us;
    struct destination *next; /* held */
};

/* ---- the oldest --------------------------------------------------------------------------------------------------------------------- */

static void look_at(struct summary *s, const struct message *m)
{
    if (m->open == 0 || (s->oldest != 0 && m->arrival_us >= s->oldest_us))
        return;
    s->oldest = m->id;
    s->oldest_us = m->arrival_us;
}

/* True: it is known. */
static bool find_oldest(struct job *j, struct summary *s)
{
    struct queue *q = j->queue;
    if (q->counts.messages == 0 || q->counts.oldest != 0) { /* perhaps somebody else's walk has found it */
        s->oldest = q->counts.oldest;
        s->oldest_us = q->counts.oldest_us;
        return true;
    }
    while (!job_turn_over(j)) {
        if (!s->walking || idmap_walk_broken(&q->messages, &s->walk)) {
            s->walking = true;
            s->oldest = 0;
            idmap_walk_begin(&q->messages, &s->walk);
        }
        for (int i = 0; i < PLACES_AT_ONCE; i++) {
            const struct message *m = idmap_walk_next(&q->messages, &s->walk);
            if (m != NULL)
                look_at(s, m);
        }
        if (!idmap_walk_ended(&s->walk))
            continue;
        const struct message *m = s->oldest != 0 ? idmap_find(&q->messages, s->oldest) : NULL;
        if (m != NULL && m->open > 0) {
            q->counts.oldest = s->oldest;
            q->counts.oldest_us = s->oldest_us;
        }
        return true;
    }
    return false;
}

/* ---- the numbers ---------------------------------------------------------------------------------------------------------------------- */

static json_int_t sum(const struct counts *c, bool held)
{
    uint64_t n = 0;
    for (size_t i = 0; i < sizeof c->open[0] / sizeof c->open[0][0]; i++)
        n += c->open[held][i];
    return (json_int_t)n;
}

static json_t *numbers(const struct queue *q, const struct summary *s)
{
    const struct counts *c = &q->counts;
    json_int_t held = sum(c, true), rest = sum(c, false),
               deferred = (json_int_t)c->open[0][RECIPIENT_WAITING];
    struct qlog_counts log;
    qlog_counts(q->log, &log);
    json_t *out = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:{s:I,s:I,s:I,s:I,s:I}}", "messages",
                            (json_int_t)q->messages.count, "recipients", held + rest, "active",
                            rest - deferred, "ready", (json_int_t)c->open[0][RECIPIENT_READY], "sending",
                            (json_int_t)(c->open[0][RECIPIENT_SENDING] + c->open[1][RECIPIENT_SENDING]),
                            "deferred", deferred, "held", held, "bytes", (json_int_t)c->bytes, "full",
                            (int)q->full, "log", "segments", (json_int_t)log.segments, "bytes",
                            (json_int_t)log.bytes, "alive", (json_int_t)log.alive, "commits",
                            (json_int_t)log.commits, "failures", (json_int_t)log.failures);
    if (s->oldest != 0)
        json_object_set_new(out, "oldest", control_time(s->oldest_us));
    return out;
}

/* The object without its last brace: the destinations follow. */
static void begin_line(struct job *j, struct summary *s)
{
    json_t *object = numbers(j->queue, s);
    json_object_set_new(object, "end", json_true());
    char *text = json_dumps(object, JSON_COMPACT);
    assert(text != NULL);
    vr_buf_add(&j->text, vr_str(text, strlen(text) - 1));
    vr_buf_add(&j->text, VR_STR(",\"destinations\":["));
    free(text);
    json_decref(object);
}

/* ---- destinations -------------------------------------------------------------------------------------------------------------------- */

static json_t *destination_json(const struct queue *q, const struct destination *d)
{
    int64_t left_ms = d->dead_until_ms - io_monotonic_ms(q->io);
    json_t *out = json_pack("{s:o,s:I,s:I,s:I,s:b}", "destination", control_text(vr_str_from(d->name)),
                            "active", (json_int_t)d->active, "ready", (json_int_t)d->ready, "limit",
                            (json_int_t)d->limit, "waiting", d->ready > 0);
    if (left_ms > 0) {
        json_object_set_new(out, "dead_s", json_integer((left_ms + 999) / 1000));
        json_object_set_new(out, "reason", control_text(text_str(d->reason)));
    }
    return out;
}

/* The one that the turns go on with is held, so that the sweep does not free it between them. */
static void go_to(struct job *j, struct destination *d)
{
    struct destination *before = j->summary->next;
    if (d != NULL)
        d->refs++;
    j->summary->next = d;
    if (before != NULL)
        destination_release(j->queue, before);
}

static void add_destination(struct job *j, const struct destination *d)
{
    if (d->active == 0 && d->ready == 0 && !health_dead(j->queue, d))
        return;
    json_t *one = destination_json(j->queue, d);
    char *text = json_dumps(one, JSON_COMPACT);
    assert(text != NULL);
    vr_buf_add(&j->text, j->summary->any ? VR_STR(",") : vr_str(NULL, 0));
    vr_buf_add(&j->text, vr_str_from(text));
    j->summary->any = true;
    free(text);
    json_decref(one);
}

bool summary_turn(struct job *j)
{
    if (j->summary == NULL) {
        j->summary = calloc(1, sizeof *j->summary);
        assert(j->summary != NULL);
    }
    struct summary *s = j->summary;
    if (!s->counted) {
        if (!find_oldest(j, s))
            return true;
        s->counted = true;
        begin_line(j, s);
        go_to(j, j->queue->destinations);
    }
    while (s->next != NULL && !job_turn_over(j))
        for (int i = 0; s->next != NULL && i < DESTINATIONS_AT_ONCE; i++) {
            add_destination(j, s->next);
            go_to(j, s->next->hh.next);
        }
    if (s->next != NULL)
        return true;
    vr_buf_add(&j->text, VR_STR("]}\n"));
    return false;
}

void summary_free(struct job *j)
{
    if (j->summary == NULL)
        return;
    go_to(j, NULL);
    free(j->summary);
}
