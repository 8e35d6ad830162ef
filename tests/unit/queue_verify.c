/* queue_verify.c - a spool checked off line: what is sound, each kind of damage with its place and whom it concerns, and that verify and a start of
 * the server agree on who survives.
 */
#include "folder_testing.h"

#include "queue/inside.h"
#include "queue/log/inside.h"
#include "queue/verify.h"

#include "io/fs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static char spool[64], log_folder[80];
static struct io *io;
static struct event_log *silent;
static struct qlog *writing;
static uint64_t last_id;

/* ---- making a spool ----------------------------------------------------------------------------------------------------------- */

static void nobody(void *arg, const struct qlog_record *r)
{
    (void)arg;
    (void)r;
}

static void on_tick(void *arg)
{
    (void)arg;
    io_stop(io);
}

static void settle(struct qlog *l)
{
    struct io_timer *t = io_timer_new(io, on_tick, NULL);
    io_timer_start(t, 1, 1);
    for (int i = 0; i < 20000 && (!qlog_idle(l) || l->jobs > 0); i++)
        io_run(io);
    io_timer_free(t);
    assert_true(qlog_idle(l));
}

static int open_with(void (*replay)(void *arg, const struct qlog_record *r), void *arg, struct qlog **out)
{
    struct qlog_options o = {.io = io,
                             .events = silent,
                             .folder = log_folder,
                             .segment_size = QLOG_SIZE_MIN,
                             .lazy_ms = 20,
                             .arg = arg,
                             .replay = replay};
    return qlog_open(&o, out);
}

static void begin_writing(void)
{
    assert_int_equal(open_with(nobody, NULL, &writing), 0);
}

static void end_writing(void)
{
    settle(writing);
    qlog_close(writing);
    writing = NULL;
}

static qlog_position append(uint8_t type, uint8_t version, struct vr_str payload)
{
    qlog_position p = qlog_append(writing, type, version, &payload, 1, QLOG_URGENT, NULL, NULL);
    assert_true(p != 0);
    settle(writing);
    return p;
}

static struct envelope_rcpt rcpts[] = {{.address = VR_STR("bob@example.org")},
                                       {.address = VR_STR("carol@example.net")}};
#define BODY "Subject: x\r\n\r\nthe text\r\n"

static qlog_position append_message(uint64_t *id, uint64_t large)
{
    *id = queue_id_next(&last_id, io_now_us(io), 1);
    struct envelope e = {.id = *id,
                         .arrival_us = io_now_us(io),
                         .reverse_path = VR_STR("ann@example.com"),
                         .client = VR_STR("192.0.2.1"),
                         .body_size = large > 0 ? large : sizeof BODY - 1,
                         .large = large > 0,
                         .rcpts = rcpts,
                         .rcpt_count = 2};
    struct vr_buf packed, b;
    vr_buf_init(&packed, 65536);
    vr_buf_init(&b, 65536);
    ipc_put_envelope(&packed, &e);
    record_message_head(&b, vr_buf_str(&packed), NULL, 0, vr_str(NULL, 0));
    if (large == 0)
        vr_buf_add(&b, VR_STR(BODY));
    qlog_position p = append(RECORD_MESSAGE, RECORD_MESSAGE_VERSION, vr_buf_str(&b));
    vr_buf_fini(&packed);
    vr_buf_fini(&b);
    return p;
}

/* What the layout says, by hand: (id, held, n, n × (index, state, flags, attempts, next, reply)). */
static qlog_position append_result(uint64_t id, uint32_t first, uint32_t n, uint8_t state)
{
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    ipc_put_u64(&b, id);
    ipc_put_u8(&b, 0);
    ipc_put_u32(&b, n);
    for (uint32_t i = 0; i < n; i++) {
        ipc_put_u32(&b, first + i);
        ipc_put_u8(&b, state);
        ipc_put_u8(&b, 0);
        ipc_put_u32(&b, 1);
        ipc_put_u32(&b, 1700000000);
        ipc_put_str(&b, VR_STR("450 4.2.0 later"));
    }
    qlog_position p = append(RECORD_RESULT, 1, vr_buf_str(&b));
    vr_buf_fini(&b);
    return p;
}

static void path_of(uint32_t segment, char path[128])
{
    snprintf(path, 128, "%s/%012u.seg", log_folder, segment);
}

static void poke(uint32_t segment, uint64_t at, const void *bytes, size_t n)
{
    char path[128];
    path_of(segment, path);
    int fd = io_fs_open(path, IO_FS_WRITE, 0);
    assert_true(fd >= 0);
    assert_true(io_fs_pwrite(fd, bytes, n, at) >= 0);
    io_fs_close(fd);
}

static void flip(uint32_t segment, uint64_t at)
{
    char path[128];
    uint8_t byte;
    path_of(segment, path);
    int fd = io_fs_open(path, IO_FS_READ, 0);
    assert_int_equal(io_fs_pread(fd, &byte, 1, at), 1);
    io_fs_close(fd);
    byte ^= (uint8_t)(1u << (at % 8));
    poke(segment, at, &byte, 1);
}

static void write_file(const char *name, size_t n)
{
    char path[256], *bytes = calloc(1, n + 1);
    snprintf(path, sizeof path, "%s/%s", spool, name);
    int fd = io_fs_open(path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_TRUNCATE, 0600);
    assert_true(fd >= 0 && bytes != NULL);
    assert_int_equal(io_fs_write(fd, bytes, n), 0);
    io_fs_close(fd);
    free(bytes);
}

/* The path of a body below the spool, its folder made. */
static void body_name(uint64_t id, char name[64])
{
    char text[QUEUE_ID_TEXT], folder[128];
    queue_id_text(id, text);
    snprintf(folder, sizeof folder, "%s/body/%.2s", spool, text + 8);
    assert_int_equal(io_fs_mkdir_all(folder, 0700), 0);
    snprintf(name, 64, "body/%.2s/%s", text + 8, text);
}

/* ---- verifying ------------------------------------------------------------------------------------------------------------------ */

struct told {
    enum verify_rank rank;
    char kind[16], file[256], record[16], sender[64], recipient[64];
    uint64_t offset, bytes, id;
    uint32_t concerns, recipients;
    bool in_queue;
};
static struct told told[64];
static size_t told_count;
static struct verify_summary summary;

static void copy_text(char *out, size_t size, struct vr_str s)
{
    snprintf(out, size, "%.*s", VR_STR_ARG(s));
}

static void on_found(void *arg, const struct verify_finding *f)
{
    (void)arg;
    assert_true(told_count < 64);
    assert_true(strlen(f->what) > 20);
    struct told *t = &told[told_count++];
    *t = (struct told){.rank = f->rank, .offset = f->offset, .bytes = f->bytes, .concerns = f->concern_count};
    copy_text(t->kind, sizeof t->kind, vr_str_from(f->kind));
    copy_text(t->file, sizeof t->file, vr_str_from(f->file));
    if (f->concern_count == 0)
        return;
    t->id = f->concerns->id;
    t->in_queue = f->concerns->in_queue;
    t->recipients = f->concerns->count;
    copy_text(t->record, sizeof t->record, vr_str_from(f->concerns->record));
    copy_text(t->sender, sizeof t->sender, f->concerns->sender);
    if (t->recipients > 0)
        copy_text(t->recipient, sizeof t->recipient, f->concerns->recipients[t->recipients - 1]);
}

static const struct told *find(const char *kind)
{
    for (size_t i = 0; i < told_count; i++)
        if (strcmp(told[i].kind, kind) == 0)
            return &told[i];
    return NULL;
}

static int verify(void)
{
    char where[512];
    told_count = 0;
    return queue_verify(spool, on_found, NULL, &summary, where);
}

/* Messages that a start of the server brings back. Cuts and renames, so it comes after verify. */
static size_t survivors(uint64_t *damaged)
{
    struct queue q = {.io = io, .events = silent};
    assert_int_equal(open_with(record_replay, &q, &q.log), 0);
    size_t n = q.messages.count;
    struct qlog_counts c;
    qlog_counts(q.log, &c);
    *damaged = c.damaged;
    settle(q.log);
    qlog_close(q.log);
    for (size_t i = 0; i < q.messages.capacity;)
        if (idmap_slot(&q.messages, i) != NULL)
            message_free(&q, idmap_slot(&q.messages, i));
        else
            i++;
    idmap_fini(&q.messages);
    free(q.finished);
    finished_clear(&q);
    return n;
}

static void agree(void)
{
    uint64_t damaged;
    assert_int_equal(verify(), 0);
    uint64_t messages = summary.messages, stretches = summary.damaged;
    /* Before the start changes files: verify did not. */
    struct verify_summary first = summary;
    assert_int_equal(verify(), 0);
    assert_memory_equal(&first, &summary, sizeof first);
    assert_int_equal(survivors(&damaged), messages);
    assert_int_equal(damaged, stretches);
    assert_int_equal(verify(), 0); /* what a start cut is no damage afterwards */
    assert_int_equal(summary.messages, messages);
}

static int setup(void **state)
{
    (void)state;
    assert_true(folder_new(spool));
    snprintf(log_folder, sizeof log_folder, "%s/log", spool);
    io = io_new(2);
    silent = event_log_new(NULL, "test", EVENT_KEY_VALUE, EVENT_ERROR + 1);
    begin_writing();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (writing != NULL)
        end_writing();
    folder_remove(spool);
    event_log_free(silent);
    io_free(io);
    return 0;
}

/* ---- tests -------------------------------------------------------------------------------------------------------------------------- */

static void test_sound(void **state)
{
    (void)state;
    uint64_t done, waiting, large;
    char name[64];
    append_message(&done, 0);
    append_message(&waiting, 0);
    append_message(&large, 5000);
    append_result(done, 0, 2, RECIPIENT_RELAYED);
    append_result(waiting, 0, 1, RECIPIENT_DELIVERED);
    append_result(waiting, 1, 1, RECIPIENT_WAITING);
    append_result(last_id + 1024, 0, 2, RECIPIENT_RELAYED); /* its MESSAGE went with an old segment */
    struct vr_buf b;
    struct vr_str more[] = {VR_STR("x@example.org"), VR_STR("y@example.org")};
    vr_buf_init(&b, 4096);
    record_expand(&b, waiting, 1, 0, more, 2);
    append(RECORD_EXPAND, 1, vr_buf_str(&b));
    vr_buf_fini(&b);
    append_result(waiting, 3, 1, RECIPIENT_FAILED); /* one that the expansion added */
    body_name(large, name);
    write_file(name, 5000);
    end_writing();
    assert_int_equal(verify(), 0);
    assert_int_equal(summary.faults, 0);
    assert_int_equal(summary.damaged, 0);
    assert_int_equal(summary.records, 9);
    assert_int_equal(summary.segments, 1);
    assert_int_equal(summary.messages, 2);
    assert_int_equal(summary.recipients, 3);
    assert_true(summary.alive > 0 && summary.bytes > summary.alive);
    assert_non_null(find("spare"));
    assert_null(find("tail"));
    agree();
}

/* Each byte of a record in the middle of the segment: it costs that record only, and is told with file, offset and message. */
static void test_flipped_message(void **state)
{
    (void)state;
    uint64_t ids[3];
    qlog_position at[3];
    for (int i = 0; i < 3; i++)
        at[i] = append_message(&ids[i], 0);
    end_writing();
    uint64_t from = at[1] & UINT32_MAX, to = at[2] & UINT32_MAX;
    char path[128];
    path_of(1, path);
    size_t known = 0, whole = 0, bytes = 0;
    for (uint64_t byte = from; byte < to; byte++) {
        flip(1, byte);
        assert_int_equal(verify(), 0);
        const struct told *t = find("record");
        if (summary.faults == 0) { /* the zeros that pad it mean nothing */
            assert_in_range(to - byte, 1, QLOG_ALIGN - 1);
            flip(1, byte);
            continue;
        }
        bytes++;
        assert_non_null(t);
        assert_int_equal(t->rank, VERIFY_DAMAGE);
        assert_string_equal(t->file, path);
        assert_int_equal(t->offset, from);
        assert_int_equal(t->bytes, to - from);
        assert_int_equal(summary.faults, 1);
        assert_int_equal(summary.damaged, 1);
        assert_int_equal(summary.messages, 2);
        if (t->concerns > 0) {
            assert_int_equal(t->concerns, 1);
            assert_string_equal(t->record, "message");
            assert_false(t->in_queue);
            known += t->id == ids[1];
            whole += t->id == ids[1] && t->recipients == 2 && strcmp(t->sender, "ann@example.com") == 0 &&
                     strcmp(t->recipient, "carol@example.net") == 0;
        }
        if (byte == from + 4 || byte == from + 8 || byte == from + 40 || byte + 20 == to)
            agree(); /* a byte of each kind; a start finds the same */
        flip(1, byte);
    }
    assert_true(known + 8 >= bytes); /* all but the flips in the id itself */
    assert_true(whole * 3 > bytes * 2 - 100);
    assert_int_equal(verify(), 0);
    assert_int_equal(summary.faults, 0);
}

static void test_flipped_result(void **state)
{
    (void)state;
    uint64_t a, b;
    append_message(&a, 0);
    qlog_position p = append_result(a, 0, 2, RECIPIENT_RELAYED);
    append_message(&b, 0);
    end_writing();
    flip(1, (p & UINT32_MAX) + 30);
    assert_int_equal(verify(), 0);
    const struct told *t = find("record");
    assert_non_null(t);
    assert_string_equal(t->record, "result");
    assert_true(t->id == a && t->in_queue);
    assert_string_equal(t->recipient, "carol@example.net"); /* gets the mail again */
    assert_int_equal(summary.messages, 2);
    agree();
}

/* Two records side by side are one stretch, and both messages are named. */
static void test_long_stretch(void **state)
{
    (void)state;
    uint64_t ids[4];
    qlog_position at[4];
    for (int i = 0; i < 4; i++)
        at[i] = append_message(&ids[i], 0);
    end_writing();
    flip(1, (at[1] & UINT32_MAX) + 4);
    flip(1, (at[2] & UINT32_MAX) + 4);
    assert_int_equal(verify(), 0);
    const struct told *t = find("record");
    assert_non_null(t);
    assert_int_equal(t->concerns, 2);
    assert_true(t->id == ids[1]);
    assert_int_equal(t->bytes, (at[3] - at[1]));
    assert_int_equal(summary.damaged, 1);
    assert_int_equal(summary.messages, 2);
    agree();
}

static void test_headers(void **state)
{
    (void)state;
    uint64_t id;
    append_message(&id, 0);
    end_writing();
    for (uint64_t copy = 0; copy < QLOG_HEADER; copy += QLOG_HEADER_COPY)
        for (uint64_t byte = 0; byte < sizeof(struct segment_header); byte++) {
            flip(1, copy + byte);
            assert_int_equal(verify(), 0);
            const struct told *t = find("header_copy");
            assert_non_null(t);
            assert_int_equal(t->offset, copy);
            assert_int_equal(summary.faults, 1);
            assert_int_equal(summary.messages, 1);
            flip(1, copy + byte);
        }
    flip(1, 20);
    flip(1, QLOG_HEADER_COPY + 40);
    assert_int_equal(verify(), 0);
    assert_non_null(find("header"));
    assert_null(find("header_copy"));
    assert_int_equal(summary.damaged, 1);
    assert_int_equal(summary.messages, 0);
    agree();
    assert_int_equal(summary.faults, 0);
    assert_non_null(find("set_aside")); /* by that start */
}

static void test_versions(void **state)
{
    (void)state;
    uint64_t id;
    append_message(&id, 0);
    qlog_position p = append(RECORD_MESSAGE, 99, VR_STR("what a later version says"));
    end_writing();
    assert_int_equal(verify(), 0);
    const struct told *t = find("version");
    assert_non_null(t);
    assert_int_equal(t->offset, p & UINT32_MAX);
    assert_int_equal(summary.messages, 1);
    uint32_t later = QLOG_VERSION + 1;
    poke(1, 8, &later, sizeof later);
    poke(1, QLOG_HEADER_COPY + 8, &later, sizeof later);
    assert_int_equal(verify(), 0);
    assert_non_null(find("version"));
    assert_int_equal(summary.faults, 1);
    assert_int_equal(summary.records, 0);
}

/* The last record half written: no damage, nobody had a 250 for it; told, with the message. */
static void test_torn_tail(void **state)
{
    (void)state;
    uint64_t first, second;
    append_message(&first, 0);
    qlog_position p = append_message(&second, 0);
    end_writing();
    uint64_t at = p & UINT32_MAX, end = at + 130;
    char zeros[4096] = {0}, path[128];
    poke(1, end, zeros, sizeof zeros);
    assert_int_equal(verify(), 0);
    const struct told *t = find("tail");
    assert_non_null(t);
    assert_int_equal(t->rank, VERIFY_TOLD);
    assert_int_equal(t->offset, at);
    assert_true(t->id == second);
    assert_int_equal(summary.faults, 0);
    assert_int_equal(summary.messages, 1);
    path_of(1, path);
    int fd = io_fs_open(path, IO_FS_WRITE, 0);
    assert_int_equal(io_fs_truncate(fd, end), 0); /* the file ends there */
    io_fs_close(fd);
    assert_int_equal(verify(), 0);
    t = find("tail");
    assert_non_null(t);
    assert_int_equal(t->bytes, 130);
    agree();
    assert_null(find("tail"));
}

static void test_no_end(void **state)
{
    (void)state;
    uint64_t id;
    qlog_position last = 0, p = 0;
    size_t n = 0;
    for (; p >> 32 < 3; n++) {
        if (p >> 32 == 1)
            last = p;
        p = append_message(&id, 0);
    }
    end_writing();
    assert_int_equal(verify(), 0);
    assert_int_equal(summary.faults, 0);
    assert_int_equal(summary.segments, 3);
    assert_int_equal(summary.messages, n);
    char garbage[64];
    memset(garbage, 0x5A, sizeof garbage);
    poke(1, last & UINT32_MAX, garbage, sizeof garbage); /* the record before the END, which stands */
    assert_int_equal(verify(), 0);
    assert_non_null(find("record"));
    assert_int_equal(summary.messages, n - 1);
    char path[128];
    path_of(1, path);
    int fd = io_fs_open(path, IO_FS_WRITE, 0);
    assert_int_equal(io_fs_truncate(fd, (last & UINT32_MAX) + 20), 0);
    io_fs_close(fd);
    assert_int_equal(verify(), 0);
    assert_null(find("record"));
    const struct told *t = find("end");
    assert_non_null(t);
    assert_int_equal(t->offset, last & UINT32_MAX);
    assert_int_equal(t->bytes, 20);
    path_of(2, path);
    io_fs_unlink(path);
    assert_int_equal(verify(), 0);
    assert_non_null(find("gap"));
    agree();
}

static void test_bodies(void **state)
{
    (void)state;
    uint64_t missing, shorter, orphan = queue_id_next(&last_id, io_now_us(io), 1);
    char name[64], at[256];
    append_message(&missing, 7000);
    append_message(&shorter, 7000);
    end_writing();
    body_name(missing, at);
    body_name(shorter, name);
    write_file(name, 6999);
    body_name(orphan, name);
    write_file(name, 10);
    write_file("body/README", 3);
    assert_int_equal(verify(), 0);
    const struct told *t = find("body_missing");
    assert_non_null(t);
    assert_true(t->id == missing && t->rank == VERIFY_DAMAGE);
    assert_string_equal(t->file + strlen(spool) + 1, at);
    assert_string_equal(t->recipient, "carol@example.net");
    t = find("body_size");
    assert_non_null(t);
    assert_true(t->id == shorter && t->rank == VERIFY_DAMAGE);
    t = find("orphan");
    assert_non_null(t);
    assert_true(t->id == orphan && t->rank == VERIFY_TOLD && t->bytes == 10);
    t = find("foreign");
    assert_non_null(t);
    assert_string_equal(t->file + strlen(spool), "/body/README");
    assert_int_equal(summary.faults, 2);
    assert_int_equal(summary.damaged, 0);
    assert_int_equal(summary.messages, 2);
}

static void test_references(void **state)
{
    (void)state;
    uint64_t id, lost = queue_id_next(&last_id, io_now_us(io), 1),
                 gone = queue_id_next(&last_id, io_now_us(io), 1);
    append_message(&id, 0);
    qlog_position beyond = append_result(id, 1, 2, RECIPIENT_WAITING);
    append_result(lost, 0, 1, RECIPIENT_WAITING);
    append_result(gone, 0, 2, RECIPIENT_WAITING);
    append_result(gone, 0, 2, RECIPIENT_RELAYED);
    qlog_position nonsense = append(RECORD_RESULT, 1, VR_STR("no result"));
    append(RECORD_MESSAGE, RECORD_MESSAGE_VERSION, VR_STR("no message, either"));
    end_writing();
    assert_int_equal(verify(), 0);
    const struct told *t = find("reference");
    assert_non_null(t);
    assert_true(t->id == id && t->offset == (beyond & UINT32_MAX));
    t = find("unnamed");
    assert_non_null(t);
    assert_true(t->id == lost && t->bytes > 40);
    t = find("payload");
    assert_non_null(t);
    assert_int_equal(t->offset, nonsense & UINT32_MAX);
    assert_int_equal(summary.faults, 4);
    assert_int_equal(summary.messages, 1);
    agree();
}

static void test_names(void **state)
{
    (void)state;
    uint64_t id;
    append_message(&id, 0);
    end_writing();
    write_file("log/000000000009.seg.damaged", 5);
    write_file("log/7.seg", 5);
    write_file("log/000000000044.seg", 100); /* was being made */
    assert_int_equal(verify(), 0);
    assert_non_null(find("set_aside"));
    assert_non_null(find("unbegun"));
    assert_non_null(find("foreign"));
    assert_int_equal(summary.messages, 1);
}

static void test_lock(void **state)
{
    (void)state;
    char path[128], where[512];
    uint64_t id;
    append_message(&id, 0);
    end_writing();
    write_file("lock", 0);
    snprintf(path, sizeof path, "%s/lock", spool);
    int fd = io_fs_open(path, IO_FS_READ | IO_FS_WRITE, 0);
    assert_int_equal(io_fs_lock(fd), 0);
    assert_int_equal(verify(), -EAGAIN);
    assert_int_equal(told_count, 0);
    io_fs_close(fd);
    assert_int_equal(verify(), 0);
    fd = io_fs_open(path, IO_FS_READ | IO_FS_WRITE, 0);
    assert_int_equal(io_fs_lock(fd), 0); /* given back */
    io_fs_close(fd);
    assert_int_equal(queue_verify("/nonexistent/spool", on_found, NULL, &summary, where), -ENOENT);
    assert_string_equal(where, "/nonexistent/spool/log");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped_result, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_stretch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_references, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
