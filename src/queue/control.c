/* control.c - what the administrator asks: list, show, summary; retry, hold, release, remove.
 *
 * Request:  {"op": "list"|"show"|"summary"|"retry"|"hold"|"release"|"remove", "ids": ["0F3K…"] | "all": true,
 *            "domain": "example.org", "sender": "a@b" | "@b", "destination": "mx:example.org", "held": true, "limit": 100, "full": true}
 * Answer:   JSON text in parts (IPC_CONTROL_PART): a million messages are told in turns, between which mail goes on.
 *           {"error": "…"} when the request makes no sense.
 * Tests:    tests/unit/queue_process.c
 */
#include "queue/inside.h"

#include "queue/control.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_PER_TURN 256
#define UNSENT_MAX        (2u << 20)
#define PART_MAX          (256u << 10)
#define REQUEST_ID_MAX    QUEUE_ID_TEXT
#define ARENA_MAX         (4u << 20)

/* ---- answers ------------------------------------------------------------------------------------------------------------------------ */

void control_part(struct queue *q, struct peer *peer, uint64_t request, bool last, struct vr_str text)
{
    for (size_t at = 0;;) { /* a frame has its bound */
        size_t n = text.n - at < PART_MAX ? text.n - at : PART_MAX;
        bool end = at + n == text.n;
        struct vr_buf *frame = process_frame(q->process);
        ipc_put_u64(frame, request);
        ipc_put_u8(frame, last && end);
        ipc_put_str(frame, vr_str_sub(text, at, n));
        peer_send(peer, IPC_CONTROL_PART, frame, -1);
        at += n;
        if (end)
            return;
    }
}

static void answer_json(struct queue *q, struct peer *peer, uint64_t request, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    assert(text != NULL);
    control_part(q, peer, request, true, vr_str_from(text));
    free(text);
    json_decref(value);
}

static void answer_error(struct queue *q, struct peer *peer, uint64_t request, const char *what)
{
    answer_json(q, peer, request, json_pack("{s:s}", "error", what));
}

/* ---- which messages ----------------------------------------------------------------------------------------------------------------- */

struct selection {
    json_t *ids; /* borrowed; NULL: the filters */
    struct vr_str domain, sender, destination;
    int held; /* -1: whatever */
};

static struct vr_str text_member(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? vr_str(json_string_value(v), json_string_length(v)) : vr_str(NULL, 0);
}

static bool of_domain(struct vr_str address, struct vr_str domain)
{
    size_t at = vr_str_find_last(address, '@');
    return at != VR_NPOS && vr_str_equal_nocase(vr_str_from_pos(address, at + 1), domain);
}

static bool sender_matches(struct vr_str reverse_path, struct vr_str wanted)
{
    if (vr_str_equal(wanted, VR_STR("<>")))
        return reverse_path.n == 0;
    return wanted.p[0] == '@' ? of_domain(reverse_path, vr_str_from_pos(wanted, 1))
                              : vr_str_equal_nocase(reverse_path, wanted);
}

static bool recipient_matches(struct queue *q, const struct message *m, const struct recipient *r,
                              const struct selection *s)
{
    if (recipient_final(r->state) || (s->domain.n > 0 && !of_domain(recipient_address(m, r), s->domain)))
        return false;
    if (s->destination.n == 0)
        return true;
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    control_destination(q, m, r, &b);
    bool same = vr_str_equal(vr_buf_str(&b), s->destination);
    vr_buf_fini(&b);
    return same;
}

static bool matches(struct queue *q, const struct message *m, const struct selection *s)
{
    if (!m->durable || m->open == 0 || (s->held >= 0 && m->held != (s->held == 1)))
        return false;
    if (s->sender.n > 0 && !sender_matches(message_reverse_path(m), s->sender))
        return false;
    if (s->domain.n == 0 && s->destination.n == 0)
        return true;
    for (uint32_t i = 0; i < m->count; i++)
        if (recipient_matches(q, m, &m->recipients[i], s))
            return true;
    return false;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static size_t select_ids(struct queue *q, const struct selection *s, uint64_t **out)
{
    size_t n = 0, i;
    json_t *each;
    *out = calloc((s->ids != NULL ? json_array_size(s->ids) : q->messages.count) + 1, sizeof **out);
    assert(*out != NULL);
    if (s->ids != NULL) {
        json_array_foreach(s->ids, i, each)
        {
            uint64_t id;
            const struct message *m = NULL;
            if (json_is_string(each) && queue_id_parse(vr_str_from(json_string_value(each)), &id))
                m = idmap_find(&q->messages, id);
            if (m != NULL && matches(q, m, s))
                (*out)[n++] = id;
        }
    } else {
        for (i = 0; i < q->messages.capacity; i++) {
            const struct message *m = idmap_slot(&q->messages, i);
            if (m != NULL && matches(q, m, s))
                (*out)[n++] = m->id;
        }
    }
    qsort(*out, n, sizeof **out, by_id);
    return n;
}

/* NULL, or what is wrong with it. */
static const char *selection_read(json_t *request, bool changes, struct selection *out)
{
    json_t *held = json_object_get(request, "held");
    *out = (struct selection){.ids = json_object_get(request, "ids"),
                              .domain = text_member(request, "domain"),
                              .sender = text_member(request, "sender"),
                              .destination = text_member(request, "destination"),
                              .held = json_is_boolean(held) ? json_is_true(held) : -1};
    if (out->ids != NULL && !json_is_array(out->ids))
        return "\"ids\" must be a list of queue ids";
    if (out->ids != NULL) {
        size_t i;
        json_t *each;
        uint64_t id;
        json_array_foreach(out->ids, i, each)
        {
            if (!json_is_string(each) || !queue_id_parse(vr_str_from(json_string_value(each)), &id))
                return "\"ids\" holds something that is no queue id: they have 13 letters and digits, see "
                       "the list";
        }
    }
    bool any = out->ids != NULL || json_is_true(json_object_get(request, "all")) || out->domain.n > 0 ||
               out->sender.n > 0 || out->destination.n > 0 || out->held >= 0;
    return changes && !any ? "which messages? Give \"ids\", a filter, or \"all\": true" : NULL;
}

/* ---- changing them --------------------------------------------------------------------------------------------------------------------- */

static void retry_message(struct queue *q, struct message *m)
{
    schedule_retry(q, m);
}

static void hold_message(struct queue *q, struct message *m)
{
    m->held = true;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->recipients[i].state == RECIPIENT_READY)
            recipient_set(q, m, &m->recipients[i], RECIPIENT_WAITING);
    schedule_forget(q, m);
    cache_drop(q, m);
    result_save(q, m, NULL, 0);
}

static void release_message(struct queue *q, struct message *m)
{
    m->held = false;
    result_save(q, m, NULL, 0);
    schedule_message(q, m);
}

static void remove_message(struct queue *q, struct message *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (!recipient_final(m->recipients[i].state))
            recipient_set(q, m, &m->recipients[i], RECIPIENT_REMOVED);
    schedule_forget(q, m);
    cache_drop(q, m);
    result_save(q, m, NULL, 0);
}

static const struct operation {
    const char *name;
    const char *event;
    void (*change)(struct queue *q, struct message *m);
} operations[] = {
    {"retry", "message.retried", retry_message},
    {"hold", "message.held", hold_message},
    {"release", "message.released", release_message},
    {"remove", "message.removed", remove_message},
};

static void change(struct queue *q, struct peer *peer, uint64_t request, json_t *json,
                   const struct operation *op)
{
    struct selection s;
    const char *wrong = selection_read(json, true, &s);
    if (wrong != NULL) {
        answer_error(q, peer, request, wrong);
        return;
    }
    uint64_t *ids;
    size_t n = select_ids(q, &s, &ids);
    for (size_t i = 0; i < n; i++) {
        op->change(q, idmap_find(&q->messages, ids[i]));
        event_begin(q->events, EVENT_NOTICE, op->event, ids[i]);
        event_text(q->events, "by", "administrator");
        event_end(q->events);
    }
    free(ids);
    answer_json(q, peer, request, json_pack("{s:s,s:I}", "op", op->name, "count", (json_int_t)n));
}

/* ---- summary ----------------------------------------------------------------------------------------------------------------------------- */

static void summary(struct queue *q, struct peer *peer, uint64_t request)
{
    json_int_t recipients = 0, active = 0, deferred = 0, held = 0, bytes = 0;
    int64_t oldest = INT64_MAX;
    for (size_t i = 0; i < q->messages.capacity; i++) {
        const struct message *m = idmap_slot(&q->messages, i);
        if (m == NULL || m->open == 0)
            continue;
        bytes += (json_int_t)m->size;
        oldest = m->arrival_us < oldest ? m->arrival_us : oldest;
        recipients += m->open;
        for (uint32_t k = 0; k < m->count; k++) {
            uint8_t state = m->recipients[k].state;
            if (recipient_final(state))
                continue;
            *(m->held ? &held : state == RECIPIENT_WAITING ? &deferred : &active) += 1;
        }
    }
    struct qlog_counts c;
    qlog_counts(q->log, &c);
    json_t *destinations = json_array();
    struct destination *d, *next;
    HASH_ITER(hh, q->destinations, d, next)
    {
        if (d->active > 0 || d->ready > 0 || health_dead(q, d))
            json_array_append_new(destinations, control_destination_state(q, d));
    }
    json_t *out =
        json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:o,s:{s:I,s:I,s:I,s:I,s:I}}", "messages",
                  (json_int_t)q->messages.count, "recipients", recipients, "active", active, "deferred",
                  deferred, "held", held, "bytes", bytes, "full", q->full, "destinations", destinations,
                  "log", "segments", (json_int_t)c.segments, "bytes", (json_int_t)c.bytes, "alive",
                  (json_int_t)c.alive, "commits", (json_int_t)c.commits, "failures", (json_int_t)c.failures);
    if (oldest != INT64_MAX)
        json_object_set_new(out, "oldest", control_time(oldest));
    answer_json(q, peer, request, out);
}

/* ---- list and show, in turns ----------------------------------------------------------------------------------------------------------------- */

static void listing_free(struct queue *q, struct listing *l)
{
    for (struct listing **at = &q->listings; *at != NULL; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    io_timer_free(l->timer);
    vr_buf_fini(&l->text);
    free(l->ids);
    free(l);
}

static void listing_end(struct listing *l)
{
    vr_buf_addf(&l->text, "],\"total\":%zu}", l->total);
    control_part(l->queue, l->peer, l->request, true, vr_buf_str(&l->text));
    listing_free(l->queue, l);
}

void listing_add(struct listing *l, json_t *message)
{
    char *text = json_dumps(message, JSON_COMPACT);
    assert(text != NULL);
    vr_buf_add(&l->text, l->any ? VR_STR(",\n") : VR_STR("\n"));
    vr_buf_add(&l->text, vr_str_from(text));
    l->any = true;
    free(text);
    json_decref(message);
    if (vr_buf_size(&l->text) >= PART_MAX) {
        control_part(l->queue, l->peer, l->request, false, vr_buf_str(&l->text));
        vr_buf_reset(&l->text);
    }
}

void listing_turn(void *arg)
{
    struct listing *l = arg;
    struct queue *q = l->queue;
    if (l->peer == NULL) {
        listing_free(q, l);
        return;
    }
    for (int n = 0;
         l->at < l->count && n < MESSAGES_PER_TURN && io_channel_unsent(l->peer->channel) < UNSENT_MAX; n++) {
        struct message *m = idmap_find(&q->messages, l->ids[l->at++]);
        if (m == NULL)
            continue; /* done meanwhile */
        if (l->show) {
            control_show(l, m); /* goes on when it was read */
            return;
        }
        listing_add(l, control_message(q, m));
    }
    if (l->at < l->count)
        io_timer_start(l->timer, 1, 0);
    else
        listing_end(l);
}

static void list(struct queue *q, struct peer *peer, uint64_t request, json_t *json, bool show)
{
    struct selection s;
    const char *wrong = selection_read(json, show, &s);
    if (wrong != NULL) {
        answer_error(q, peer, request, wrong);
        return;
    }
    struct listing *l = calloc(1, sizeof *l);
    assert(l != NULL);
    *l = (struct listing){.queue = q,
                          .peer = peer,
                          .request = request,
                          .show = show,
                          .full = json_is_true(json_object_get(json, "full"))};
    l->total = l->count = select_ids(q, &s, &l->ids);
    json_int_t limit = json_integer_value(json_object_get(json, "limit"));
    if (limit > 0 && (size_t)limit < l->count)
        l->count = (size_t)limit;
    vr_buf_init(&l->text, 64u << 20);
    vr_buf_add(&l->text, VR_STR("{\"messages\":["));
    l->timer = io_timer_new(q->io, listing_turn, l);
    l->next = q->listings;
    q->listings = l;
    listing_turn(l);
}

/* ---- the request --------------------------------------------------------------------------------------------------------------------------------- */

static void perform(struct queue *q, struct peer *peer, uint64_t request, json_t *json)
{
    struct vr_str op = text_member(json, "op");
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (vr_str_equal(op, vr_str_from(operations[i].name))) {
            change(q, peer, request, json, &operations[i]);
            return;
        }
    if (vr_str_equal(op, VR_STR("list")))
        list(q, peer, request, json, false);
    else if (vr_str_equal(op, VR_STR("show")))
        list(q, peer, request, json, true);
    else if (vr_str_equal(op, VR_STR("summary")))
        summary(q, peer, request);
    else
        answer_error(q, peer, request,
                     "\"op\" must be one of list, show, summary, retry, hold, release, remove");
}

void control_frame(struct queue *q, struct peer *peer, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    uint64_t request = ipc_get_u64(&r);
    struct vr_str text = ipc_get_str(&r);
    json_error_t error;
    json_t *json = ipc_done(&r) ? json_loadb(text.n > 0 ? text.p : "", text.n, 0, &error) : NULL;
    if (json_is_object(json))
        perform(q, peer, request, json);
    else
        answer_error(q, peer, request, "the request is no JSON object");
    json_decref(json);
}

void control_peer_gone(struct queue *q, struct peer *peer)
{
    for (struct listing *l = q->listings; l != NULL; l = l->next)
        if (l->peer == peer) {
            l->peer = NULL; /* ends at its next turn */
            if (!l->reading)
                io_timer_start(l->timer, 1, 0);
        }
}
