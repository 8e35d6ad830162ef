/* bounce.c - reports to the sender (DSNs, RFC 3461 and 3464): who gets one, what of the original it carries, and storing it.
 *
 * Promise: the report and the state that it tells of are one record of the log (the RESULT rides in the DSN's MESSAGE as its cause): after a
 * crash there is both or neither, so nothing is lost without a word and nothing is reported twice.
 * Steps:   report_send -> [original_read] -> [large_read] -> report_build -> report_store -> stored.
 * Tests:   tests/unit/queue_schedule.c (who gets one), tests/unit/queue_extensions.c, tests/unit/queue_process.c
 */
#include "queue/times.h"

#include "io/fs.h"

#include <veredus/message.h>
#include <veredus/smtp.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX      (32u << 20)
#define DSN_MAX        (3u << 20)
#define FULL_MAX       (50u << 10) /* a larger original is returned as its header only */
#define HEADER_MAX     (64u << 10)
#define ORIGINAL_MAX   (FULL_MAX + 2 * HEADER_MAX)
#define STORE_AGAIN_MS 5000

/* ---- the rules ---------------------------------------------------------------------------------------------------------------------- */

bool report_wanted(enum dsn_action action, uint8_t notify, bool null_reverse_path)
{
    static const uint8_t word[] = {[DSN_FAILED] = DSN_NOTIFY_FAILURE,
                                   [DSN_DELAYED] = DSN_NOTIFY_DELAY,
                                   [DSN_DELIVERED] = DSN_NOTIFY_SUCCESS,
                                   [DSN_RELAYED] = DSN_NOTIFY_SUCCESS,
                                   [DSN_EXPANDED] = DSN_NOTIFY_SUCCESS};
    if (null_reverse_path)
        return false; /* RFC 5321 §6.1: never a report about a report */
    if (notify == 0)
        return action == DSN_FAILED || action == DSN_DELAYED; /* RFC 3461 §4.1: as without the extension */
    return (notify & word[action]) != 0;
}

/* ---- gathering ------------------------------------------------------------------------------------------------------------------------ */

struct report *report_new(struct queue *q, struct message *m)
{
    struct report *r = calloc(1, sizeof *r);
    assert(r != NULL);
    r->queue = q;
    r->message = m;
    r->now_us = io_now_us(q->io);
    vr_arena_init(&r->arena, ARENA_MAX);
    return r;
}

void report_add(struct report *r, const struct report_item *item)
{
    if (r->count == r->capacity) {
        r->capacity = r->capacity > 0 ? 2 * r->capacity : 8;
        r->items = realloc(r->items, r->capacity * sizeof *r->items);
        assert(r->items != NULL);
    }
    struct report_item *copy = &r->items[r->count++];
    *copy = *item;
    copy->status = vr_arena_dup(&r->arena, item->status);
    copy->diagnostic = vr_arena_dup(&r->arena, item->diagnostic);
    copy->remote_mta = vr_arena_dup(&r->arena, item->remote_mta);
    if (item->action == DSN_DELAYED) /* a checkpoint must not say "warned" before it is true */
        r->message->recipients[item->index].flags |= item->late ? RECIPIENT_TELLING : RECIPIENT_WARNING;
}

static void report_free(struct report *r)
{
    struct queue *q = r->queue;
    struct message *m = r->message;
    q->reports--;
    vr_arena_fini(&r->arena);
    free(r->items);
    free(r);
    message_release(q, m);
}

/* ---- storing ---------------------------------------------------------------------------------------------------------------------------- */

struct built {
    struct report *report;
    struct envelope envelope;
    struct envelope_rcpt rcpt;
    struct vr_buf body;
    struct io_timer *again;
};

static uint8_t state_after(uint8_t action, uint8_t state)
{
    static const uint8_t after[] = {[DSN_FAILED] = RECIPIENT_FAILED,
                                    [DSN_DELAYED] = 0,
                                    [DSN_DELIVERED] = RECIPIENT_DELIVERED,
                                    [DSN_RELAYED] = RECIPIENT_RELAYED,
                                    [DSN_EXPANDED] = RECIPIENT_EXPANDED};
    return after[action] != 0 && !recipient_final(state) ? after[action] : state;
}

static void report_store(void *arg);

static void stored(void *arg, int status)
{
    struct built *b = arg;
    struct report *r = b->report;
    struct queue *q = r->queue;
    if (status != 0) { /* in memory and on disk nothing is decided yet: once more */
        guard_full(q, status);
        if (b->again == NULL)
            b->again = io_timer_new(q->io, report_store, b);
        io_timer_start(b->again, STORE_AGAIN_MS, 0);
        return;
    }
    for (uint32_t i = 0; i < r->count; i++) {
        struct recipient *to = &r->message->recipients[r->items[i].index];
        if (r->items[i].action == DSN_DELAYED)
            to->flags &= r->items[i].late ? RECIPIENT_FLAGS & ~(unsigned)RECIPIENT_TELLING
                                          : RECIPIENT_FLAGS & ~(unsigned)RECIPIENT_WARNING;
        uint8_t state = state_after(r->items[i].action, to->state);
        if (state != to->state)
            recipient_set(q, r->message, to, state);
    }
    static const char *const words[] = {[DSN_FAILED] = "failed",
                                        [DSN_DELAYED] = "delayed",
                                        [DSN_DELIVERED] = "delivered",
                                        [DSN_RELAYED] = "relayed",
                                        [DSN_EXPANDED] = "expanded"};
    char id[QUEUE_ID_TEXT];
    queue_id_text(b->envelope.id, id);
    event_begin(q->events, EVENT_INFO, "dsn.queued", r->message->id);
    event_text(q->events, "dsn", id);
    event_str(q->events, "to", message_reverse_path(r->message));
    event_text(q->events, "action", words[r->items[0].action]);
    event_u64(q->events, "recipients", r->count);
    event_end(q->events);
    io_timer_free(b->again);
    vr_buf_fini(&b->body);
    free(b);
    report_free(r);
}

static void report_store(void *arg)
{
    struct built *b = arg;
    struct report *r = b->report;
    struct queue *q = r->queue;
    struct message *m = r->message;
    uint32_t *indexes = calloc(r->count, sizeof *indexes);
    uint8_t *states = calloc(r->count, sizeof *states);
    assert(indexes != NULL && states != NULL);
    for (uint32_t i = 0; i < r->count; i++) {
        indexes[i] = r->items[i].index;
        states[i] = state_after(r->items[i].action, m->recipients[indexes[i]].state);
    }
    struct vr_buf cause;
    vr_buf_init(&cause, QLOG_RECORD_MAX / 2);
    record_result(&cause, m, indexes, states, r->count);
    if (!intake_own(q, &b->envelope, vr_buf_str(&b->body), vr_buf_str(&cause), stored, b))
        stored(b, -1);
    vr_buf_fini(&cause);
    free(states);
    free(indexes);
}

/* ---- building ----------------------------------------------------------------------------------------------------------------------------- */

static struct vr_str header_of(struct vr_str message)
{
    size_t end = vr_str_starts(message, VR_STR("\r\n")) ? 0 : vr_str_find_str(message, VR_STR("\r\n\r\n"));
    struct vr_str header = end == VR_NPOS ? message : vr_str_sub(message, 0, end == 0 ? 0 : end + 2);
    if (header.n <= HEADER_MAX)
        return header;
    size_t last = vr_str_find_last(vr_str_sub(header, 0, HEADER_MAX), '\n');
    return vr_str_sub(header, 0, last == VR_NPOS ? 0 : last + 1);
}

/* The header, or all of it, of the original in `out`. RET concerns reports of failure only (RFC 3461 §4.3); what requires TLS is never returned
 * whole (RFC 8689 §5). What is binary cannot stand in a report (RFC 3030 §3), and the header of a message without a blank line could be all
 * of it. */
static struct vr_str original(const struct report *r, const struct record_message *record, struct vr_str body,
                              struct vr_buf *out, bool *whole)
{
    bool failed = false;
    for (uint32_t i = 0; i < r->count; i++)
        failed = failed || r->items[i].action == DSN_FAILED;
    bool secret = record->envelope.asks & ENVELOPE_REQUIRE_TLS;
    bool binary = record->envelope.body == SMTP_BODY_BINARYMIME;
    *whole = failed && !secret && !binary && record->envelope.ret != DSN_RET_HDRS &&
             !record->envelope.large && record->envelope.prefix.n + body.n <= FULL_MAX;
    struct vr_str prefix = record->envelope.prefix;
    vr_buf_add(out, *whole || prefix.n <= HEADER_MAX ? prefix : header_of(prefix));
    if (!binary || vr_str_find_str(body, VR_STR("\r\n\r\n")) != VR_NPOS)
        vr_buf_add(out, *whole ? body : header_of(body));
    return vr_buf_str(out);
}

static struct dsn_recipient *dsn_recipients(struct report *r, const struct record_message *record)
{
    struct message *m = r->message;
    struct dsn_recipient *out = vr_arena_alloc(&r->arena, r->count * sizeof *out);
    assert(out != NULL);
    for (uint32_t i = 0; i < r->count; i++) {
        const struct report_item *item = &r->items[i];
        const struct recipient *to = &m->recipients[item->index];
        out[i] = (struct dsn_recipient){.final_recipient = recipient_address(m, to),
                                        .action = item->action,
                                        .status = item->status,
                                        .diagnostic = item->diagnostic,
                                        .diagnostic_is_smtp = item->smtp,
                                        .remote_mta = item->remote_mta,
                                        .last_attempt = r->now_us / 1000000};
        if (to->parent < record->envelope.rcpt_count)
            out[i].orcpt = record->envelope.rcpts[to->parent].orcpt;
        if (item->action == DSN_DELAYED)
            out[i].will_retry_until = (times_base_us(m, r->now_us) / 1000 + r->queue->config->expire) / 1000;
        if (!item->attempted)
            out[i].last_attempt = 0;
    }
    return out;
}

static struct vr_str random_boundary(struct report *r)
{
    uint64_t random[2];
    io_random(r->queue->io, random, sizeof random);
    return vr_arena_printf(&r->arena, "=_%016llx%016llx", (unsigned long long)random[0],
                           (unsigned long long)random[1]);
}

/* Where the report goes, in ASCII where there is such a form. False: the address itself needs SMTPUTF8 (its local part is beyond ASCII), so a report in
 * UTF-8 asks no more of the way back. To all others it goes so that any server takes it: a report that somebody could not be given would be
 * lost, for nothing is told of a report (RFC 6533 §4.5 leaves both ways). */
static bool to_in_ascii(struct report *r, struct vr_str *to)
{
    struct address a, ascii;
    const char *why;
    *to = message_reverse_path(r->message);
    if (vr_str_is_ascii(*to) || address_parse(&r->arena, *to, ADDRESS_ALLOW_UTF8, &a, &why) != VR_OK)
        return true;
    if (!address_to_ascii(&r->arena, &a, &ascii))
        return false;
    *to = address_text(&r->arena, &ascii);
    return true;
}

static void report_build(struct report *r, const struct record_message *record, struct vr_str body)
{
    struct queue *q = r->queue;
    struct message *m = r->message;
    struct built *b = calloc(1, sizeof *b);
    assert(b != NULL);
    b->report = r;
    vr_buf_init(&b->body, DSN_MAX);
    uint64_t id = queue_id_next(&q->last_id, io_now_us(q->io), q->process->slot);
    char id_text[QUEUE_ID_TEXT], of_text[QUEUE_ID_TEXT];
    queue_id_text(id, id_text);
    queue_id_text(m->id, of_text);
    struct vr_buf returned;
    struct vr_str to;
    bool utf8 = !to_in_ascii(r, &to);
    vr_buf_init(&returned, ORIGINAL_MAX);
    struct dsn d = {.reporting_mta = q->config->hostname,
                    .to = to,
                    .utf8 = utf8,
                    .original_utf8 = record->envelope.asks & ENVELOPE_UTF8_HEADER,
                    .envid = record->envelope.envid,
                    .queue_id = vr_str_from(of_text),
                    .arrival_date = m->arrival_us / 1000000,
                    .deliver_by = m->by != SMTP_BY_NONE ? m->deliver_by : 0,
                    .future_release = times_request(&r->arena, &record->envelope),
                    .tls_optional = record->envelope.asks & ENVELOPE_TLS_OPTIONAL,
                    .now = r->now_us / 1000000,
                    .message_id =
                        vr_arena_printf(&r->arena, "%s@%.*s", id_text, VR_STR_ARG(q->config->hostname)),
                    .boundary = random_boundary(r),
                    .recipients = dsn_recipients(r, record),
                    .recipient_count = r->count};
    d.original = original(r, record, body, &returned, &d.original_is_whole);
    enum vr_err err = dsn_build(&b->body, &d);
    if (err != VR_OK) { /* an original that cannot be returned is left out; the report itself must go */
        vr_buf_reset(&b->body);
        d.original = vr_str(NULL, 0);
        d.original_is_whole = false;
        err = dsn_build(&b->body, &d);
    }
    assert(err == VR_OK);
    vr_buf_fini(&returned);
    b->rcpt = (struct envelope_rcpt){.address = vr_arena_dup(&r->arena, to), .notify = DSN_NOTIFY_NEVER};
    b->envelope = (struct envelope){
        .id = id,
        .arrival_us = io_now_us(q->io),
        .client = VR_STR("queue"),
        .body_size = vr_buf_size(&b->body),
        .body = vr_str_is_ascii(vr_buf_str(&b->body)) ? SMTP_BODY_7BIT : SMTP_BODY_8BITMIME,
        .rcpts = &b->rcpt,
        .rcpt_count = 1,
        .asks = (record->envelope.asks & (ENVELOPE_REQUIRE_TLS | ENVELOPE_TLS_OPTIONAL)) /* RFC 8689 §5, §6 */
                | (utf8 ? ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER : 0),
        .priority = m->priority}; /* RFC 6710 §4.6 */
    report_store(b);
}

/* ---- fetching the original ---------------------------------------------------------------------------------------------------------------- */

struct large_head {
    struct report *report;
    struct vr_buf payload;
    char path[BODY_PATH];
    char bytes[HEADER_MAX];
    int64_t n;
};

static void build_from(struct report *r, struct vr_str payload, struct vr_str large_body)
{
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct record_message record;
    if (!record_message_read(payload, &arena, &record))
        record = (struct record_message){0}; /* damaged: the report goes without the original */
    report_build(r, &record, record.envelope.large ? large_body : record.body);
    vr_arena_fini(&arena);
}

static void large_work(void *arg)
{
    struct large_head *h = arg;
    int fd = io_fs_open(h->path, IO_FS_READ | IO_FS_NO_FOLLOW, 0);
    h->n = fd < 0 ? fd : io_fs_pread(fd, h->bytes, sizeof h->bytes, 0);
    if (fd >= 0)
        io_fs_close(fd);
}

static void large_done(void *arg)
{
    struct large_head *h = arg;
    build_from(h->report, vr_buf_str(&h->payload), vr_str(h->bytes, h->n > 0 ? (size_t)h->n : 0));
    vr_buf_fini(&h->payload);
    free(h);
}

static void original_read(void *arg, int status, const struct qlog_record *record)
{
    struct report *r = arg;
    struct vr_str payload = status == 0 ? record->payload : vr_str(NULL, 0);
    if (status != 0 || !r->message->large) {
        build_from(r, payload, vr_str(NULL, 0));
        return;
    }
    struct large_head *h = calloc(1, sizeof *h);
    assert(h != NULL);
    h->report = r;
    vr_buf_init(&h->payload, QLOG_RECORD_MAX);
    vr_buf_add(&h->payload, payload);
    bodies_path(r->queue, r->message->id, h->path);
    io_work(r->queue->io, large_work, large_done, h);
}

void report_send(struct report *r)
{
    if (r == NULL)
        return;
    assert(r->count > 0);
    message_hold(r->message);
    r->queue->reports++;
    qlog_read(r->queue->log, r->message->position, r->message->record_length, original_read, r);
}
