/* queue_index.c - the table of ids, messages in memory, records of the log, shared texts, the heap of sleepers. */
#include "folder_testing.h"

#include "queue/inside.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct object {
    uint64_t id;
    int value;
};

/* Against a plain array as oracle: additions, removals and look-ups in a random order. */
static void test_idmap(void **state)
{
    (void)state;
    enum { N = 3000 };
    static struct object objects[N];
    bool in[N] = {0};
    struct idmap m = {0};
    size_t count = 0;
    srand(7);
    for (int i = 0; i < N; i++)
        objects[i] = (struct object){((uint64_t)i + 1) << (i % 40), i};
    for (int i = 0; i < N; i++) /* ids must differ */
        for (int k = 0; k < i; k++)
            if (objects[k].id == objects[i].id)
                objects[i].id = UINT64_MAX - (uint64_t)i;
    for (int step = 0; step < 100000; step++) {
        int i = rand() % N;
        if (in[i])
            idmap_remove(&m, objects[i].id);
        else
            idmap_add(&m, &objects[i]);
        in[i] = !in[i];
        count = in[i] ? count + 1 : count - 1;
        assert_int_equal(m.count, count);
        int k = rand() % N;
        assert_ptr_equal(idmap_find(&m, objects[k].id), in[k] ? &objects[k] : NULL);
    }
    for (int i = 0; i < N; i++)
        assert_ptr_equal(idmap_find(&m, objects[i].id), in[i] ? &objects[i] : NULL);
    idmap_remove(&m, 424242424242424242u); /* unknown: nothing happens */
    assert_int_equal(m.count, count);
    idmap_fini(&m);
    assert_null(idmap_find(&m, 1));
}

static struct envelope_rcpt given[] = {
    {.address = VR_STR("ann@example.org"), .notify = 0},
    {.address = VR_STR("team@example.org"),
     .notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE,
     .orcpt = VR_STR("rfc822;team@example.org")},
    {.address = VR_STR("one@example.org"), .notify = DSN_NOTIFY_SUCCESS, .catch_all = true},
};
static struct record_target targets[] = {
    {1, VR_STR("bob@example.org")}, {1, VR_STR("carol@example.net")}, {2, VR_STR("dan@example.org")}};

static struct envelope envelope_make(void)
{
    return (struct envelope){.id = 4711,
                             .arrival_us = 1700000000000000,
                             .reverse_path = VR_STR("from@example.com"),
                             .envid = VR_STR("e1"),
                             .user = VR_STR("ann"),
                             .client = VR_STR("192.0.2.1"),
                             .helo = VR_STR("client"),
                             .prefix = VR_STR("Received: x\r\n"),
                             .body_size = 9,
                             .rcpts = given,
                             .rcpt_count = 3};
}

static void pack_message(struct vr_buf *b, const struct envelope *e)
{
    struct vr_buf packed;
    vr_buf_init(&packed, 65536);
    ipc_put_envelope(&packed, e);
    record_message_head(b, vr_buf_str(&packed), targets, 3, VR_STR("cause"));
    vr_buf_add(b, VR_STR("Subject:\n"));
    vr_buf_fini(&packed);
}

static void test_message_record(void **state)
{
    (void)state;
    struct vr_buf b;
    struct vr_arena arena;
    vr_buf_init(&b, 65536);
    vr_arena_init(&arena, 1u << 20);
    struct envelope e = envelope_make();
    pack_message(&b, &e);
    struct record_message r;
    assert_true(record_message_read(vr_buf_str(&b), &arena, &r));
    assert_int_equal(r.envelope.id, 4711);
    assert_int_equal(r.target_count, 3);
    assert_true(vr_str_equal(r.targets[1].address, VR_STR("carol@example.net")));
    assert_true(vr_str_equal(r.cause, VR_STR("cause")));
    assert_true(vr_str_equal(r.body, VR_STR("Subject:\n")));
    /* Cut anywhere before the body it is refused, never read beyond. */
    for (size_t n = 0; n + 9 < vr_buf_size(&b); n++) {
        char *copy = malloc(n + 1);
        assert_non_null(copy);
        memcpy(copy, vr_buf_str(&b).p, n);
        assert_false(record_message_read(vr_str(copy, n), &arena, &r));
        free(copy);
    }
    vr_arena_fini(&arena);
    vr_buf_fini(&b);
}

static void test_message_new(void **state)
{
    (void)state;
    struct queue q = {0};
    struct envelope e = envelope_make();
    struct record_message r = {
        .envelope = e, .targets = targets, .target_count = 3, .position = 99, .length = 300};
    struct message *m = message_new(&r);
    assert_int_equal(m->count, 6);
    assert_int_equal(m->given, 3);
    static const struct {
        const char *address;
        uint8_t state, notify;
        uint32_t parent;
    } rows[] = {
        {"ann@example.org", RECIPIENT_WAITING, 0, 0},
        {"team@example.org", RECIPIENT_EXPANDING, DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE,
         1}, /* a report is owed */
        {"one@example.org", RECIPIENT_EXPANDED, DSN_NOTIFY_SUCCESS, 2},
        {"bob@example.org", RECIPIENT_WAITING, DSN_NOTIFY_FAILURE, 1},
        {"carol@example.net", RECIPIENT_WAITING, DSN_NOTIFY_FAILURE, 1},
        {"dan@example.org", RECIPIENT_WAITING, DSN_NOTIFY_SUCCESS, 2}, /* the only target: all is passed on */
    };
    for (uint32_t i = 0; i < 6; i++) {
        const struct recipient *to = &m->recipients[i];
        assert_true(vr_str_equal(recipient_address(m, to), vr_str_from(rows[i].address)));
        assert_int_equal(to->state, rows[i].state);
        assert_int_equal(to->notify, rows[i].notify);
        assert_int_equal(to->parent, rows[i].parent);
    }
    assert_int_equal(m->open, 5);
    assert_true(vr_str_equal(message_reverse_path(m), VR_STR("from@example.com")));
    assert_true(m->recipients[2].flags & RECIPIENT_CATCH_ALL);
    idmap_add(&q.messages, m);
    struct vr_str more[] = {VR_STR("eve@example.org"), VR_STR("frank@example.org")};
    recipient_reply(&q, &m->recipients[5], VR_STR("550 no"));
    assert_int_equal(message_expand(&q, m, 5, more, 2, RECIPIENT_CAUGHT), 6);
    assert_int_equal(m->recipients[5].state, RECIPIENT_EXPANDED);
    assert_int_equal(m->recipients[7].parent, 2);
    assert_true(vr_str_equal(recipient_address(m, &m->recipients[7]), VR_STR("frank@example.org")));
    assert_true(vr_str_equal(recipient_address(m, &m->recipients[0]), VR_STR("ann@example.org")));
    assert_true(vr_str_equal(message_reverse_path(m), VR_STR("from@example.com")));
    assert_int_equal(m->open, 6);
    message_free(&q, m);
    assert_int_equal(q.messages.count, 0);
    assert_null(q.texts);
    idmap_fini(&q.messages);
}

static void test_texts_are_shared(void **state)
{
    (void)state;
    struct queue q = {0};
    struct text *a = text_take(&q, VR_STR("451 4.4.1 connection refused")),
                *b = text_take(&q, VR_STR("451 4.4.1 connection refused"));
    struct text *c = text_take(&q, VR_STR("other"));
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_null(text_take(&q, VR_STR("")));
    text_drop(&q, a);
    assert_true(vr_str_equal(text_str(b), VR_STR("451 4.4.1 connection refused")));
    text_drop(&q, b);
    text_drop(&q, c);
    text_drop(&q, NULL);
    assert_null(q.texts);
}

/* The design figure: at most 256 bytes for a queued recipient with ordinary addresses, all told. */
static void test_thrift(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct queue q = {0};
    struct envelope_rcpt rcpt = {.address = VR_STR("firstname.lastname@example.org")};
    struct envelope e = {.reverse_path = VR_STR("newsletter@shop.example.com"),
                         .rcpts = &rcpt,
                         .rcpt_count = 1,
                         .body_size = 4096};
    struct mallinfo2 before = mallinfo2();
    for (uint64_t i = 1; i <= N; i++) {
        e.id = i << 10;
        struct record_message r = {.envelope = e, .position = i, .length = 5000};
        struct message *m = message_new(&r);
        idmap_add(&q.messages, m);
        recipient_reply(&q, &m->recipients[0], VR_STR("451 4.4.1 connection refused"));
    }
    struct mallinfo2 after = mallinfo2();
    size_t each = (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / N +
                  2 * sizeof(void *); /* and the heap's */
    if (before.uordblks > 0)          /* ASan's malloc tells nothing */
        assert_in_range(each, 1, 256);
    for (uint64_t i = 1; i <= N; i++)
        message_free(&q, idmap_find(&q.messages, i << 10));
    idmap_fini(&q.messages);
}

/* States and texts through a RESULT record and back. */
static void test_result_replay(void **state)
{
    (void)state;
    struct queue q = {0};
    struct envelope e = envelope_make();
    struct record_message r = {
        .envelope = e, .targets = targets, .target_count = 3, .position = 99, .length = 300};
    struct message *m = message_new(&r);
    m->held = true;
    m->recipients[0].attempts = 3;
    m->recipients[0].next = 1700000999;
    m->recipients[0].flags = RECIPIENT_WARNED;
    recipient_set(&q, m, &m->recipients[0], RECIPIENT_SENDING); /* on disk: waiting */
    recipient_reply(&q, &m->recipients[0], VR_STR("451 later"));
    recipient_set(&q, m, &m->recipients[3], RECIPIENT_DELIVERED);
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    uint32_t indexes[] = {0, 3};
    record_result(&b, m, indexes, NULL, 2);
    struct message *again = message_new(&r);
    idmap_add(&q.messages, again);
    struct qlog_record record = {.type = RECORD_RESULT, .version = RECORD_VERSION, .payload = vr_buf_str(&b)};
    record_replay(&q, &record);
    record_replay(&q, &record); /* twice does no harm */
    assert_true(again->held);
    assert_int_equal(again->recipients[0].state, RECIPIENT_WAITING);
    assert_int_equal(again->recipients[0].attempts, 3);
    assert_int_equal(again->recipients[0].next, 1700000999);
    assert_int_equal(again->recipients[0].flags, RECIPIENT_WARNED);
    assert_true(vr_str_equal(text_str(again->recipients[0].reply), VR_STR("451 later")));
    assert_int_equal(again->recipients[3].state, RECIPIENT_DELIVERED);
    assert_int_equal(again->open, 4);
    /* Cut anywhere, for somebody unknown, with an index beyond: nothing bad happens. */
    for (size_t n = 0; n < vr_buf_size(&b); n++) {
        record.payload = vr_str_sub(vr_buf_str(&b), 0, n);
        record_replay(&q, &record);
    }
    vr_buf_reset(&b);
    struct vr_str address = VR_STR("x@example.org");
    record_expand(&b, 4711, 3, RECIPIENT_CAUGHT, &address, 1);
    record =
        (struct qlog_record){.type = RECORD_EXPAND, .version = RECORD_VERSION, .payload = vr_buf_str(&b)};
    record_replay(&q, &record);
    record_replay(&q, &record);
    assert_int_equal(again->count, 7); /* once only */
    message_free(&q, again);
    recipient_reply(&q, &m->recipients[0], vr_str(NULL, 0));
    message_free(&q, m);
    vr_buf_fini(&b);
    idmap_fini(&q.messages);
}

/* A report's record says FAILED. What is saved of the message while that record is being made lies behind it in the log, and must not
 * bring the recipient back; nor may the message be moved behind it. */
static void test_reporting_is_not_undone(void **state)
{
    (void)state;
    struct queue q = {0};
    struct record_message r = {
        .envelope = envelope_make(), .targets = targets, .target_count = 3, .position = 99, .length = 300};
    struct message *m = message_new(&r), *again = message_new(&r);
    recipient_set(&q, m, &m->recipients[0], RECIPIENT_REPORTING);
    recipient_set(&q, m, &m->recipients[3], RECIPIENT_DELIVERED);
    const uint32_t reported[] = {0}, all[] = {0, 1, 2, 3, 4, 5};
    const uint8_t failed[] = {RECIPIENT_FAILED};
    struct vr_buf cause, later, message;
    vr_buf_init(&cause, 65536);
    vr_buf_init(&later, 65536);
    vr_buf_init(&message, 65536);
    record_result(&cause, m, reported, failed, 1);
    record_result(&later, m, all, NULL, 6);
    idmap_add(&q.messages, again);
    struct qlog_record record = {
        .type = RECORD_RESULT, .version = RECORD_VERSION, .payload = vr_buf_str(&cause)};
    record_replay(&q, &record);
    record.payload = vr_buf_str(&later);
    record_replay(&q, &record);
    assert_int_equal(again->recipients[0].state, RECIPIENT_FAILED);
    assert_int_equal(again->recipients[3].state, RECIPIENT_DELIVERED);
    assert_int_equal(again->recipients[4].state, RECIPIENT_WAITING);
    again->durable = true;
    recipient_set(&q, again, &again->recipients[4], RECIPIENT_REPORTING);
    pack_message(&message, &r.envelope);
    record = (struct qlog_record){.position = 99,
                                  .type = RECORD_MESSAGE,
                                  .version = RECORD_MESSAGE_VERSION,
                                  .payload = vr_buf_str(&message)};
    record_move(&q, &record); /* there is no log: it would crash */
    message_free(&q, again);
    message_free(&q, m);
    vr_buf_fini(&cause);
    vr_buf_fini(&later);
    vr_buf_fini(&message);
    idmap_fini(&q.messages);
}

/* ---- records of version 1 ------------------------------------------------------------------------------------------------ */

/* A MESSAGE as the layout of version 1 was, byte for byte: its envelope ends with the recipients. */
/* clang-format off */
static const char version_1[] =
    "\x6d\x00\x00\x00"                                                    /* the envelope's length */
    "\x00\x04\xc3\x7d\x8c\x0c\xa0\x0c" "\x00\x40\x1e\x18\x24\x0a\x06\x00" /* id, arrival */
    "\x0f\x00\x00\x00" "ann@example.com" "\x01" "\x02"                      /* reverse-path, body, RET */
    "\x02\x00\x00\x00" "e1" "\x03\x00\x00\x00" "ann" "\x09\x00\x00\x00" "192.0.2.1" "\x01\x00\x00\x00" "c"
    "\x06\x00\x00\x00" "X: y\r\n"                                          /* prefix */
    "\x05\x00\x00\x00\x00\x00\x00\x00" "\x00" "\x01\x00\x00\x00"            /* body size, large, recipients */
    "\x05\x00\x00\x00" "b@d.t" "\x04\x00\x00\x00" "\x00\x00\x00\x00" "\x01"
    "\x01\x00\x00\x00" "\x00\x00\x00\x00" "\x05\x00\x00\x00" "c@d.t"        /* one target */
    "\x00\x00\x00\x00" "body\n";                                           /* no cause */
/* clang-format on */
#define VERSION_1 vr_str(version_1, sizeof version_1 - 1)
#define OLD_ID    0x0ca00c8c7dc30400u

static void assert_old_message(const struct record_message *r)
{
    assert_true(r->envelope.id == OLD_ID && r->envelope.arrival_us == 1700000000000000);
    assert_true(vr_str_equal(r->envelope.reverse_path, VR_STR("ann@example.com")));
    assert_true(vr_str_equal(r->envelope.prefix, VR_STR("X: y\r\n")));
    assert_true(vr_str_equal(r->envelope.rcpts[0].address, VR_STR("b@d.t")));
    assert_true(r->envelope.rcpts[0].catch_all && r->envelope.rcpts[0].notify == DSN_NOTIFY_FAILURE);
    assert_int_equal(r->envelope.rcpt_count, 1);
    assert_int_equal(r->target_count, 1);
    assert_true(vr_str_equal(r->targets[0].address, VR_STR("c@d.t")));
    assert_true(vr_str_equal(r->body, VR_STR("body\n")));
    assert_int_equal(r->envelope.priority, 0);
}

static void test_version_1_is_read(void **state)
{
    (void)state;
    struct vr_arena arena;
    struct record_message r;
    vr_arena_init(&arena, 1u << 20);
    assert_true(record_message_read(VERSION_1, &arena, &r));
    assert_old_message(&r);
    vr_arena_fini(&arena);
    assert_true(record_version_known(&(struct qlog_record){.type = RECORD_MESSAGE, .version = 1}));
    assert_true(record_version_known(&(struct qlog_record){.type = RECORD_MESSAGE, .version = 2}));
    assert_true(record_version_known(&(struct qlog_record){.type = RECORD_MESSAGE, .version = 3}));
    assert_false(record_version_known(&(struct qlog_record){.type = RECORD_MESSAGE, .version = 4}));
    assert_false(record_version_known(&(struct qlog_record){.type = RECORD_MESSAGE, .version = 0}));
    assert_false(record_version_known(&(struct qlog_record){.type = RECORD_RESULT, .version = 2}));
}

static void test_priority_is_kept(void **state)
{
    (void)state;
    struct vr_buf b;
    struct vr_arena arena;
    struct record_message r;
    struct queue q = {0};
    vr_buf_init(&b, 65536);
    vr_arena_init(&arena, 1u << 20);
    struct envelope e = envelope_make();
    e.priority = -9;
    pack_message(&b, &e);
    assert_true(record_message_read(vr_buf_str(&b), &arena, &r));
    assert_int_equal(r.envelope.priority, -9);
    struct message *m = message_new(&r);
    assert_int_equal(m->priority, -9);
    idmap_add(&q.messages, m);
    message_free(&q, m);
    idmap_fini(&q.messages);
    vr_arena_fini(&arena);
    vr_buf_fini(&b);
}

struct versions {
    struct queue *queue;
    uint8_t version[8];
    struct vr_buf last; /* the last MESSAGE's payload */
    size_t count;
};

static void note_version(void *arg, const struct qlog_record *r)
{
    struct versions *v = arg;
    record_replay(v->queue, r);
    if (r->type != RECORD_MESSAGE)
        return;
    assert_true(v->count < 8);
    v->version[v->count++] = r->version;
    vr_buf_reset(&v->last);
    vr_buf_add(&v->last, r->payload);
}

static void stop(void *arg)
{
    io_stop(arg);
}

static void settle(struct queue *q)
{
    struct io_timer *t = io_timer_new(q->io, stop, q->io);
    io_timer_start(t, 1, 1);
    for (int i = 0; i < 20000 && (i < 100 || !qlog_idle(q->log)); i++)
        io_run(q->io);
    io_timer_free(t);
}

static void open_log(struct queue *q, const char *folder, struct versions *v)
{
    struct qlog_options o = {.io = q->io,
                             .events = q->events,
                             .folder = folder,
                             .segment_size = 65536,
                             .lazy_ms = 5,
                             .arg = v,
                             .replay = note_version};
    assert_int_equal(qlog_open(&o, &q->log), 0);
}

static void close_log(struct queue *q)
{
    settle(q);
    qlog_close(q->log);
    while (q->messages.count > 0)
        for (size_t i = 0; i < q->messages.capacity; i++)
            if (idmap_slot(&q->messages, i) != NULL)
                message_free(q, idmap_slot(&q->messages, i));
}

/* A message of an earlier version's log is replayed; moved, its copy is a record of our version that says the same. */
static void test_version_1_is_moved(void **state)
{
    (void)state;
    char folder[64];
    assert_true(folder_new(folder));
    struct queue q = {.io = io_new(1)};
    q.events = event_log_new(NULL, "test", EVENT_KEY_VALUE, EVENT_ERROR);
    struct versions v = {.queue = &q};
    vr_buf_init(&q.scratch, 65536);
    vr_buf_init(&v.last, 65536);
    open_log(&q, folder, &v);
    struct vr_str payload = VERSION_1;
    qlog_position at = qlog_append(q.log, RECORD_MESSAGE, 1, &payload, 1, QLOG_URGENT, NULL, NULL);
    close_log(&q);
    open_log(&q, folder, &v);
    assert_int_equal(v.count, 1);
    assert_int_equal(v.version[0], 1);
    struct message *m = idmap_find(&q.messages, OLD_ID);
    assert_non_null(m);
    assert_int_equal(m->open, 1);
    assert_true(m->position == at && m->priority == 0);
    record_move(&q, &(struct qlog_record){at, RECORD_MESSAGE, 1, VERSION_1});
    settle(&q);
    assert_true(m->position != at);
    assert_int_equal(m->record_length, payload.n + 2); /* the priority, and that it asks for nothing */
    close_log(&q);
    v.count = 0;
    open_log(&q, folder, &v);
    assert_int_equal(v.count, 2);
    assert_int_equal(v.version[1], RECORD_MESSAGE_VERSION);
    struct vr_arena arena;
    struct record_message r;
    vr_arena_init(&arena, 1u << 20);
    assert_true(record_message_read(vr_buf_str(&v.last), &arena, &r));
    assert_old_message(&r);
    struct ipc_reader e = ipc_reader(r.envelope_bytes); /* of today's layout, whole */
    struct envelope again;
    assert_true(ipc_get_envelope(&e, &arena, &again) && ipc_done(&e));
    assert_int_equal(q.messages.count, 1);
    vr_arena_fini(&arena);
    close_log(&q);
    idmap_fini(&q.messages);
    vr_buf_fini(&q.scratch);
    vr_buf_fini(&v.last);
    event_log_free(q.events);
    io_free(q.io);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idmap),
        cmocka_unit_test(test_message_record),
        cmocka_unit_test(test_message_new),
        cmocka_unit_test(test_texts_are_shared),
        cmocka_unit_test(test_thrift),
        cmocka_unit_test(test_result_replay),
        cmocka_unit_test(test_reporting_is_not_undone),
        cmocka_unit_test(test_version_1_is_read),
        cmocka_unit_test(test_priority_is_kept),
        cmocka_unit_test(test_version_1_is_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
