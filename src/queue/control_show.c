/* control_show.c - messages as JSON: the line of a list, and the whole of one. */
#include "queue/control.h"

#include "io/fs.h"

#include <veredus/message.h>
#include <veredus/smtp.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BODY_SHORT 1024u
#define BODY_FULL  (1u << 20)
#define HEAD_MAX   (256u << 10) /* of the header */
#define ARENA_MAX  (16u << 20)

json_t *control_text(struct vr_str s)
{
    if (vr_utf8_valid(s))
        return json_stringn(s.n > 0 ? s.p : "", s.n);
    struct vr_buf b;
    vr_buf_init(&b, 3 * s.n + 1);
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x80)
            vr_buf_add_byte(&b, s.p[i]);
        else
            vr_buf_add(&b, VR_STR("\xef\xbf\xbd"));
    }
    json_t *v = json_stringn(vr_buf_str(&b).p, vr_buf_size(&b));
    vr_buf_fini(&b);
    return v;
}

json_t *control_time(int64_t time_us)
{
    char text[MESSAGE_RFC3339_SIZE];
    return json_stringn(text, message_rfc3339_write(text, time_us));
}

void control_destination(struct queue *q, const struct message *m, const struct recipient *r,
                         struct vr_buf *out)
{
    if (r->destination != NULL) {
        vr_buf_add(out, vr_str_from(r->destination->name));
        return;
    }
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct routed routed;
    router_route(q, &arena, m, r, &routed);
    if (routed.found)
        next_hop_text(out, &routed.next_hop);
    vr_arena_fini(&arena);
}

const char *const control_statuses[] = {[STATUS_ACTIVE] = "active",
                                        [STATUS_DEFERRED] = "deferred",
                                        [STATUS_HELD] = "held",
                                        [STATUS_DONE] = "done",
                                        [STATUS_FAILED] = "failed"};

enum control_status control_status_of(struct queue *q, const struct message *m, const struct recipient *r)
{
    if (r->state == RECIPIENT_FAILED)
        return STATUS_FAILED;
    if (recipient_final(r->state))
        return STATUS_DONE;
    if (m->held && r->state == RECIPIENT_WAITING)
        return STATUS_HELD;
    return r->state == RECIPIENT_WAITING && (r->attempts > 0 || r->next > NOW_S(q)) ? STATUS_DEFERRED
                                                                                    : STATUS_ACTIVE;
}

/* Another reverse path than the message's: it is forwarded (SRS). */
static void add_sent_as(struct queue *q, const struct message *m, const struct recipient *r, json_t *out)
{
    struct vr_arena arena;
    struct routed routed;
    const struct next_hop *h = &routed.next_hop;
    vr_arena_init(&arena, ARENA_MAX);
    routed.found = true;
    if (r->destination != NULL)
        h = &r->destination->next_hop;
    else
        router_route(q, &arena, m, r, &routed);
    if (routed.found) {
        struct vr_str path = dispatch_reverse_path(q, &arena, m, (uint32_t)(r - m->recipients), h);
        if (!vr_str_equal(path, message_reverse_path(m)))
            json_object_set_new(out, "sent_as", control_text(path));
    }
    vr_arena_fini(&arena);
}

static json_t *recipient_json(struct queue *q, const struct message *m, const struct recipient *r)
{
    json_t *out = json_pack("{s:o,s:s,s:i}", "address", control_text(recipient_address(m, r)), "status",
                            control_statuses[control_status_of(q, m, r)], "attempts", (int)r->attempts);
    if (r->state == RECIPIENT_WAITING && r->next > 0)
        json_object_set_new(out, "next", control_time((int64_t)r->next * 1000000));
    if (r->reply != NULL)
        json_object_set_new(out, "reply", control_text(text_str(r->reply)));
    if (!recipient_final(r->state)) {
        struct vr_buf b;
        vr_buf_init(&b, 2048);
        control_destination(q, m, r, &b);
        if (vr_buf_size(&b) > 0)
            json_object_set_new(out, "destination", control_text(vr_buf_str(&b)));
        vr_buf_fini(&b);
        if (q->config->srs.domain.n > 0)
            add_sent_as(q, m, r, out);
    }
    return out;
}

json_t *control_message(struct queue *q, const struct message *m)
{
    char id[QUEUE_ID_TEXT];
    queue_id_text(m->id, id);
    json_t *recipients = json_array();
    for (uint32_t i = 0; i < m->count; i++)
        if (m->recipients[i].state != RECIPIENT_EXPANDED) /* others stand in its place */
            json_array_append_new(recipients, recipient_json(q, m, &m->recipients[i]));
    json_t *out = json_pack("{s:s,s:o,s:o,s:I,s:b,s:i,s:o}", "id", id, "arrival", control_time(m->arrival_us),
                            "from", control_text(message_reverse_path(m)), "size", (json_int_t)m->size,
                            "held", (int)m->held, "priority", (int)m->priority, "recipients", recipients);
    if (m->timed)
        json_object_set_new(out, "held_until", control_time((int64_t)m->hold_until * 1000000));
    if (m->by != SMTP_BY_NONE) {
        json_object_set_new(out, "deliver_by", control_time((int64_t)m->deliver_by * 1000000));
        json_object_set_new(out, "then", json_string(m->by == SMTP_BY_RETURN ? "return" : "notify"));
    }
    return out;
}

/* ---- one message, whole -------------------------------------------------------------------------------------------------------- */

struct showing {
    struct job *job;
    struct message *message;
    struct vr_buf payload; /* the record, while its large body is read */
    char path[BODY_PATH];
    char *bytes;
    int64_t n;
};

static json_t *envelope_json(const struct envelope *e)
{
    json_t *given = json_array();
    for (uint32_t i = 0; i < e->rcpt_count; i++) {
        json_t *rcpt = json_pack("{s:o}", "address", control_text(e->rcpts[i].address));
        struct vr_buf notify;
        vr_buf_init(&notify, 64);
        if (e->rcpts[i].notify != 0 && dsn_notify_write(&notify, e->rcpts[i].notify))
            json_object_set_new(rcpt, "notify", control_text(vr_buf_str(&notify)));
        if (e->rcpts[i].orcpt.n > 0)
            json_object_set_new(rcpt, "orcpt", control_text(e->rcpts[i].orcpt));
        if (e->rcpts[i].rrvs != SMTP_RRVS_NONE)
            json_object_set_new(rcpt, "valid_since", control_time(e->rcpts[i].valid_since * 1000000));
        vr_buf_fini(&notify);
        json_array_append_new(given, rcpt);
    }
    return json_pack("{s:o,s:o,s:o,s:o,s:s,s:s,s:b,s:s,s:b,s:o}", "client", control_text(e->client), "helo",
                     control_text(e->helo), "user", control_text(e->user), "envid", control_text(e->envid),
                     "ret",
                     e->ret == DSN_RET_FULL   ? "full"
                     : e->ret == DSN_RET_HDRS ? "hdrs"
                                              : "",
                     "tls",
                     e->asks & ENVELOPE_REQUIRE_TLS    ? "required"
                     : e->asks & ENVELOPE_TLS_OPTIONAL ? "optional"
                                                       : "",
                     "quarantine", (e->asks & ENVELOPE_QUARANTINE) != 0, "body_type", e->body == SMTP_BODY_8BITMIME ? "8bitmime" : "7bit", "large", (int)e->large,
                     "given", given);
}

static void show_end(struct showing *s, struct vr_str payload, struct vr_str large_body)
{
    struct job *j = s->job;
    struct queue *q = j->queue;
    struct vr_arena arena;
    vr_arena_init(&arena, ARENA_MAX);
    struct record_message r;
    json_t *out = control_message(q, s->message);
    if (record_message_read(payload, &arena, &r)) {
        struct vr_str body = r.envelope.large ? large_body : r.body;
        size_t end = vr_str_find_str(body, VR_STR("\r\n\r\n"));
        struct vr_str header = end == VR_NPOS ? body : vr_str_sub(body, 0, end + 4); /* with the blank line */
        struct vr_str rest = end == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(body, end + 4);
        size_t most = j->full ? BODY_FULL : BODY_SHORT;
        struct vr_buf head;
        vr_buf_init(&head, 2 * HEAD_MAX);
        vr_buf_add(&head, vr_str_sub(r.envelope.prefix, 0, HEAD_MAX));
        vr_buf_add(&head, vr_str_sub(header, 0, HEAD_MAX));
        json_t *envelope = envelope_json(&r.envelope);
        json_object_update(out, envelope);
        json_decref(envelope);
        json_object_set_new(out, "header", control_text(vr_buf_str(&head)));
        json_object_set_new(out, "body", control_text(vr_str_sub(rest, 0, most)));
        uint64_t whole = r.envelope.body_size - (end == VR_NPOS ? body.n : end + 4);
        json_object_set_new(out, "body_cut", json_boolean(whole > (rest.n < most ? rest.n : most)));
        vr_buf_fini(&head);
    } else {
        json_object_set_new(out, "error",
                            json_string("its record in the log cannot be read: see the log of the server"));
    }
    vr_arena_fini(&arena);
    j->done++;
    job_add(j, out);
    message_release(q, s->message);
    vr_buf_fini(&s->payload);
    free(s->bytes);
    free(s);
    j->reading = false;
    job_turn(j);
}

static void large_work(void *arg)
{
    struct showing *s = arg;
    int fd = io_fs_open(s->path, IO_FS_READ | IO_FS_NO_FOLLOW, 0);
    s->n = fd < 0 ? fd : io_fs_pread(fd, s->bytes, BODY_FULL + HEAD_MAX, 0);
    if (fd >= 0)
        io_fs_close(fd);
}

static void large_done(void *arg)
{
    struct showing *s = arg;
    show_end(s, vr_buf_str(&s->payload), vr_str(s->bytes, s->n > 0 ? (size_t)s->n : 0));
}

static void show_read(void *arg, int status, const struct qlog_record *record)
{
    struct showing *s = arg;
    struct queue *q = s->job->queue;
    if (status != 0 || !s->message->large) {
        show_end(s, status == 0 ? record->payload : vr_str(NULL, 0), vr_str(NULL, 0));
        return;
    }
    vr_buf_add(&s->payload, record->payload);
    s->bytes = malloc(BODY_FULL + HEAD_MAX);
    assert(s->bytes != NULL);
    bodies_path(q, s->message->id, s->path);
    io_work(q->io, large_work, large_done, s);
}

void control_show(struct job *j, struct message *m)
{
    struct showing *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->job = j;
    s->message = m;
    vr_buf_init(&s->payload, QLOG_RECORD_MAX);
    message_hold(m);
    j->reading = true;
    qlog_read(j->queue->log, m->position, m->record_length, show_read, s);
}
