/* queue_checkpoint.c - checkpoints of the index: what comes from one and the log behind it is what comes from the whole log; a damaged or foreign one
 * changes nothing but the time.
 *
 * The queue's index works here without its process: random changes are written as intake.c, results.c and control.c write them, segments are
 * emptied, checkpoints are made, and at a random moment the files are copied, as a crash would leave them. (Torn ones: tests/sim.)
 */
#include "folder_testing.h"

#include "queue/checkpoint.h"
#include "queue/log/inside.h"

#include "io/fs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SEEDS    24
#define STEPS    900
#define TEXT_MAX (4u << 20)

static char top[64];
static struct io *io;
static struct event_log *silent;
static struct config config;
static struct queue live;
static uint64_t last_id;

/* ---- folders ------------------------------------------------------------------------------------------------------------------ */

static void folder_of(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", top, name);
}

static bool copy_file(void *arg, const char *name)
{
    const char *const *folders = arg;
    char from[400], to[400];
    snprintf(from, sizeof from, "%.120s/log/%.200s", folders[0], name);
    snprintf(to, sizeof to, "%.120s/log/%.200s", folders[1], name);
    int in = io_fs_open(from, IO_FS_READ, 0), out = io_fs_open(to, IO_FS_WRITE | IO_FS_CREATE, 0600);
    struct io_fs_stat st;
    assert_true(out >= 0);
    if (in >= 0 && io_fs_fstat(in, &st) == 0 && st.size > 0) { /* else it went meanwhile */
        char *bytes = malloc(st.size);
        assert_non_null(bytes);
        int64_t n = io_fs_pread(in, bytes, st.size, 0);
        assert_true(n >= 0 && io_fs_pwrite(out, bytes, (size_t)n, 0) >= 0);
        free(bytes);
    }
    if (in >= 0)
        io_fs_close(in);
    io_fs_close(out);
    return true;
}

static void folder_copy(const char *from, const char *to)
{
    char a[128], b[128], log[160];
    folder_of(from, a);
    folder_of(to, b);
    folder_remove(b);
    snprintf(log, sizeof log, "%s/log", b);
    assert_int_equal(io_fs_mkdir_all(log, 0700), 0);
    snprintf(log, sizeof log, "%s/log", a);
    const char *folders[] = {a, b};
    assert_int_equal(io_fs_list(log, copy_file, folders), 0);
}

static void checkpoint_of(const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s/log/" QLOG_CHECKPOINT, top, name);
}

/* ---- a queue's index ------------------------------------------------------------------------------------------------------------ */

static void index_open(struct queue *q, const char *name)
{
    char folder[160];
    *q = (struct queue){.io = io, .events = silent, .config = &config};
    snprintf(q->spool, sizeof q->spool, "%s/%s", top, name);
    vr_buf_init(&q->scratch, QLOG_RECORD_MAX);
    vr_buf_init(&q->scratch2, QLOG_RECORD_MAX);
    snprintf(folder, sizeof folder, "%s/%s/log", top, name);
    struct qlog_options o = {.io = io,
                             .events = silent,
                             .folder = folder,
                             .segment_size = QLOG_SIZE_MIN,
                             .lazy_ms = 5,
                             .arg = q,
                             .replay = record_replay,
                             .started = restore_started,
                             .move = record_move};
    assert_int_equal(io_fs_mkdir_all(folder, 0700), 0);
    q->restored = restore_read(q);
    if (q->restored != NULL)
        o.start = &q->restored->start;
    assert_int_equal(qlog_open(&o, &q->log), 0);
}

static void on_tick(void *arg)
{
    (void)arg;
    io_stop(io);
}

static void turns(int ms)
{
    struct io_timer *t = io_timer_new(io, on_tick, NULL);
    io_timer_start(t, ms, 0);
    io_run(io);
    io_timer_free(t);
}

static void settle(struct queue *q)
{
    for (int i = 0; i < 20000 && (!qlog_idle(q->log) || q->log->jobs > 0 || q->checkpoint != NULL); i++) {
        qlog_flush(q->log);
        turns(1);
    }
    assert_true(qlog_idle(q->log) && q->checkpoint == NULL);
}

static void index_close(struct queue *q)
{
    settle(q);
    restore_end(q);
    qlog_close(q->log);
    turns(1);
    for (size_t i = 0; i < q->messages.capacity;)
        if (idmap_slot(&q->messages, i) != NULL)
            message_free(q, idmap_slot(&q->messages, i));
        else
            i++;
    idmap_fini(&q->messages);
    free(q->finished);
    finished_clear(q);
    vr_buf_fini(&q->scratch);
    vr_buf_fini(&q->scratch2);
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = (*(struct message *const *)a)->id, y = (*(struct message *const *)b)->id;
    return (x > y) - (x < y);
}

/* All that a start knows, as text. */
static void describe(struct queue *q, struct vr_buf *out)
{
    struct message **all = calloc(q->messages.count + 1, sizeof(struct message *));
    assert_non_null(all);
    size_t n = 0;
    for (size_t i = 0; i < q->messages.capacity; i++)
        if (idmap_slot(&q->messages, i) != NULL)
            all[n++] = idmap_slot(&q->messages, i);
    qsort(all, n, sizeof *all, by_id);
    struct qlog_counts c;
    qlog_counts(q->log, &c);
    vr_buf_addf(out, "%zu messages, %llu alive, %llu damaged\n", n, (unsigned long long)c.alive,
                (unsigned long long)c.damaged);
    for (size_t i = 0; i < n; i++) {
        const struct message *m = all[i];
        vr_buf_addf(
            out, "%llu at %llu+%u size %llu time %lld given %u open %u sender %u priority %d%s%s from %.*s\n",
            (unsigned long long)m->id, (unsigned long long)m->position, m->record_length,
            (unsigned long long)m->size, (long long)m->arrival_us, m->given, m->open, m->sender, m->priority,
            m->held ? " held" : "", m->large ? " large" : "", VR_STR_ARG(message_reverse_path(m)));
        for (uint32_t k = 0; k < m->count; k++) {
            const struct recipient *r = &m->recipients[k];
            vr_buf_addf(out, "  %.*s state %u attempts %u next %u flags %u notify %u parent %u reply %.*s\n",
                        VR_STR_ARG(recipient_address(m, r)), r->state, r->attempts, r->next, r->flags,
                        r->notify, r->parent, VR_STR_ARG(text_str(r->reply)));
        }
    }
    for (size_t s = 0; s < 2; s++) /* what `queue summary` counts */
        for (size_t i = 0; i <= RECIPIENT_EXPANDING; i++)
            vr_buf_addf(out, "%llu ", (unsigned long long)q->counts.open[s][i]);
    vr_buf_addf(out, "%llu %llu\n", (unsigned long long)q->counts.messages,
                (unsigned long long)q->counts.bytes);
    assert_false(out->too_big);
    free(all);
}

/* Of a copy. records: those that were replayed. used: did it begin at the checkpoint? */
static void recover(const char *name, struct vr_buf *out, uint64_t *records, bool *used)
{
    struct queue q;
    struct qlog_counts c;
    vr_buf_init(out, TEXT_MAX);
    index_open(&q, name);
    *used = q.restored != NULL;
    qlog_counts(q.log, &c);
    *records = c.records;
    describe(&q, out);
    index_close(&q);
}

/* ---- what happens to messages ---------------------------------------------------------------------------------------------------- */

struct waiting {
    struct message *message;
    uint32_t parent;
};

static void message_durable(void *arg, int status)
{
    struct message *m = arg;
    assert_int_equal(status, 0);
    m->durable = true;
    message_release(&live, m);
}

static void add_message(void)
{
    static char body[6000];
    struct vr_buf packed;
    char from[40], to[4][40];
    struct envelope_rcpt rcpts[4];
    uint32_t n = 1 + (uint32_t)rand() % 4;
    snprintf(from, sizeof from, "s%d@d%d.example", rand() % 50, rand() % 5);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(to[i], sizeof to[i], "r%d.%u@far.example", rand() % 1000, i);
        rcpts[i] = (struct envelope_rcpt){.address = vr_str_from(to[i]),
                                          .notify = rand() % 3 == 0 ? DSN_NOTIFY_SUCCESS : 0,
                                          .catch_all = rand() % 8 == 0};
    }
    struct vr_str text = vr_str(body, 1 + (size_t)rand() % sizeof body);
    struct envelope e = {.id = queue_id_next(&last_id, io_now_us(io), 7),
                         .arrival_us = io_now_us(io),
                         .reverse_path = rand() % 9 == 0 ? vr_str(NULL, 0) : vr_str_from(from),
                         .body_size = text.n,
                         .rcpts = rcpts,
                         .rcpt_count = n,
                         .priority = (int8_t)(rand() % 19 - 9)};
    struct record_target target = {0, VR_STR("alias@near.example")};
    struct record_message r = {.envelope = e, .targets = &target, .target_count = rand() % 4 == 0};
    vr_buf_init(&packed, 1u << 16);
    ipc_put_envelope(&packed, &e);
    vr_buf_reset(&live.scratch);
    record_message_head(&live.scratch, vr_buf_str(&packed), &target, r.target_count, vr_str(NULL, 0));
    struct vr_str parts[] = {vr_buf_str(&live.scratch), text};
    r.length = (uint32_t)(parts[0].n + parts[1].n);
    /* Its callback comes from the loop, when the message stands in the index. */
    struct message *m = message_new(&r);
    r.position = qlog_append(live.log, RECORD_MESSAGE, RECORD_MESSAGE_VERSION, parts, 2, QLOG_URGENT,
                             message_durable, m);
    assert_true(r.position != 0);
    m->position = r.position;
    qlog_alive(live.log, m->position, m->record_length);
    message_add(&live, m);
    message_hold(m);
    vr_buf_fini(&packed);
}

static struct message *some_message(void)
{
    for (int tries = 0; tries < 50 && live.messages.count > 0; tries++) {
        struct message *m = idmap_slot(&live.messages, (size_t)rand() % live.messages.capacity);
        if (m != NULL && m->durable && m->open > 0)
            return m;
    }
    return NULL;
}

static void change_recipient(struct message *m)
{
    static const enum recipient_state ends[] = {RECIPIENT_DELIVERED, RECIPIENT_RELAYED, RECIPIENT_FAILED,
                                                RECIPIENT_REMOVED};
    uint32_t index = (uint32_t)rand() % m->count;
    struct recipient *r = &m->recipients[index];
    if (r->state != RECIPIENT_WAITING)
        return;
    if (rand() % 3 > 0) {
        recipient_set(&live, m, r, ends[rand() % 4]);
    } else {
        char reply[60];
        snprintf(reply, sizeof reply, "451 4.3.0 try %d", rand() % 5);
        r->attempts++;
        r->next = (uint32_t)(1800000000 + rand() % 1000);
        r->flags |= rand() % 2 ? RECIPIENT_WARNED : 0;
        recipient_reply(&live, r, vr_str_from(reply));
    }
    message_hold(m);
    result_save(&live, m, &index, 1);
    message_release(&live, m);
}

static void expand_durable(void *arg, int status)
{
    struct waiting *w = arg;
    struct vr_str addresses[] = {VR_STR("x@one.example"), VR_STR("y@two.example")};
    assert_int_equal(status, 0);
    const struct recipient *r = &w->message->recipients[w->parent];
    if (r->state == RECIPIENT_REPORTING)
        message_expand(&live, w->message, w->parent, addresses, 2, RECIPIENT_CAUGHT);
    message_release(&live, w->message);
    free(w);
}

static void expand_recipient(struct message *m)
{
    uint32_t index = (uint32_t)rand() % m->given;
    if (m->recipients[index].state != RECIPIENT_WAITING)
        return;
    struct vr_str addresses[] = {VR_STR("x@one.example"), VR_STR("y@two.example")};
    struct waiting *w = calloc(1, sizeof *w);
    assert_non_null(w);
    *w = (struct waiting){m, index};
    vr_buf_reset(&live.scratch);
    record_expand(&live.scratch, m->id, index, RECIPIENT_CAUGHT, addresses, 2);
    struct vr_str payload = vr_buf_str(&live.scratch);
    recipient_set(&live, m, &m->recipients[index], RECIPIENT_REPORTING);
    message_hold(m);
    assert_true(qlog_append(live.log, RECORD_EXPAND, RECORD_VERSION, &payload, 1, QLOG_URGENT, expand_durable,
                            w) != 0);
}

static void hold_or_release(struct message *m)
{
    message_set_held(&live, m, !m->held);
    result_save(&live, m, NULL, 0);
}

static void step(void)
{
    struct message *m = some_message();
    int dice = rand() % 100;
    if (m == NULL || dice < 35)
        add_message();
    else if (dice < 88)
        change_recipient(m);
    else if (dice < 94)
        expand_recipient(m);
    else
        hold_or_release(m);
    if (rand() % 8 == 0)
        turns(1);
    if (rand() % 16 == 0)
        qlog_trim(live.log);
    if (rand() % 16 == 0)
        checkpoint_check(&live);
}

static int setup(void **state)
{
    (void)state;
    assert_true(folder_new(top));
    io = io_new(2);
    silent = event_log_new(NULL, "test", EVENT_KEY_VALUE, EVENT_ERROR + 1);
    config = (struct config){.checkpoint_after = 64u << 10};
    index_open(&live, "live");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    index_close(&live);
    folder_remove(top);
    event_log_free(silent);
    io_free(io);
    return 0;
}

/* ---- tests ------------------------------------------------------------------------------------------------------------------------ */

static void test_as_the_whole_log(void **state)
{
    (void)state;
    unsigned began_there = 0, moved = 0;
    uint64_t all_records = 0, few_records = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        srand(seed);
        for (int i = 0; i < STEPS; i++)
            step();
        while (live.log->jobs >
               0) /* a worker that writes while it is copied would be a crash at two moments */
            turns(1);
        folder_copy("live", "whole");
        folder_copy("whole", "short");
        char path[256];
        checkpoint_of("whole", path);
        (void)io_fs_unlink(path);
        struct vr_buf whole, quick;
        uint64_t records, fewer;
        bool used;
        recover("whole", &whole, &records, &used);
        assert_false(used);
        recover("short", &quick, &fewer, &used);
        vr_buf_add_byte(&whole, '\0');
        vr_buf_add_byte(&quick, '\0');
        assert_string_equal(vr_buf_str(&quick).p, vr_buf_str(&whole).p);
        vr_buf_fini(&whole);
        vr_buf_fini(&quick);
        began_there += used;
        all_records += records;
        few_records += fewer;
        moved += live.log->segments[0]->number > 1;
        for (struct message *m;
             seed % 2 == 0 && (m = some_message()) != NULL;) { /* most of them end, now and then */
            for (uint32_t i = 0; i < m->count; i++)
                if (!recipient_final(m->recipients[i].state) && m->recipients[i].state != RECIPIENT_REPORTING)
                    recipient_set(&live, m, &m->recipients[i], RECIPIENT_DELIVERED);
            message_hold(m);
            result_save(&live, m, NULL, 0);
            message_release(&live, m);
            if (rand() % 400 == 0)
                break;
            turns(1);
        }
    }
    assert_true(began_there >= SEEDS - 2); /* the first copy may come before the first checkpoint */
    assert_true(moved > SEEDS / 4);        /* segments were emptied and went */
    assert_true(few_records < all_records / 2);
}

/* A few messages, a checkpoint, and a bit of log behind it. */
static void make_small(void)
{
    srand(4711);
    config.checkpoint_after = 1;
    for (int i = 0; i < 12; i++)
        add_message();
    for (int i = 0; i < 30; i++) {
        struct message *m = some_message();
        if (m != NULL)
            change_recipient(m);
        turns(1);
    }
    settle(&live);
    checkpoint_check(&live);
    settle(&live);
    add_message();
    settle(&live);
    folder_copy("live", "small");
    char path[256];
    checkpoint_of("small", path);
    struct io_fs_stat st;
    assert_int_equal(io_fs_stat(path, &st), 0);
}

static void expect_whole(const struct vr_buf *whole, bool *used)
{
    struct vr_buf now;
    uint64_t records;
    recover("small", &now, &records, used);
    assert_true(vr_str_equal(vr_buf_str(&now), vr_buf_str(whole)));
    vr_buf_fini(&now);
}

static void rewrite(const char *path, const char *bytes, size_t n)
{
    int fd = io_fs_open(path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_TRUNCATE, 0600);
    assert_true(fd >= 0);
    assert_true(n == 0 || io_fs_pwrite(fd, bytes, n, 0) >= 0);
    io_fs_close(fd);
}

static void test_damage(void **state)
{
    (void)state;
    make_small();
    struct vr_buf whole;
    uint64_t records;
    bool used;
    char path[256];
    checkpoint_of("small", path);
    recover("small", &whole, &records, &used);
    assert_true(used);
    int fd = io_fs_open(path, IO_FS_READ, 0);
    struct io_fs_stat st;
    assert_int_equal(io_fs_fstat(fd, &st), 0);
    char *bytes = malloc(st.size + 1);
    assert_non_null(bytes);
    assert_int_equal(io_fs_pread(fd, bytes, st.size, 0), st.size);
    io_fs_close(fd);
    for (size_t at = 0; at < st.size; at += at < 200 ? 1 : 11) { /* each byte is under a checksum */
        bytes[at] ^= (char)(1 << (at % 8));
        rewrite(path, bytes, st.size);
        expect_whole(&whole, &used);
        assert_false(used);
        bytes[at] ^= (char)(1 << (at % 8));
    }
    for (size_t n = 0; n < st.size; n += n < 100 ? 1 : 17) {
        rewrite(path, bytes, n);
        expect_whole(&whole, &used);
        assert_false(used);
    }
    bytes[st.size] = 'x'; /* longer than it says */
    rewrite(path, bytes, st.size + 1);
    expect_whole(&whole, &used);
    assert_false(used);
    rewrite(path, bytes, st.size);
    expect_whole(&whole, &used);
    assert_true(used);
    vr_buf_fini(&whole);
    free(bytes);
}

/* Sound in itself, and of another log: one that knows other segments, or has less of them. */
static void test_of_another_log(void **state)
{
    (void)state;
    make_small();
    char from[256], to[256];
    checkpoint_of("small", from);
    struct queue other;
    index_open(&other, "other");
    struct queue kept = live;
    live = other;
    add_message();
    settle(&live);
    other = live;
    live = kept;
    index_close(&other);
    struct vr_buf before, after;
    uint64_t records;
    bool used;
    recover("other", &before, &records, &used);
    checkpoint_of("other", to);
    int in = io_fs_open(from, IO_FS_READ, 0);
    struct io_fs_stat st;
    assert_int_equal(io_fs_fstat(in, &st), 0);
    char *bytes = malloc(st.size);
    assert_non_null(bytes);
    assert_int_equal(io_fs_pread(in, bytes, st.size, 0), st.size);
    io_fs_close(in);
    rewrite(to, bytes, st.size);
    recover("other", &after, &records, &used);
    assert_false(used);
    assert_true(vr_str_equal(vr_buf_str(&before), vr_buf_str(&after)));
    vr_buf_fini(&after);
    vr_buf_fini(&before);
    /* Its own log, cut before the place where it begins. */
    char segment[256];
    snprintf(segment, sizeof segment, "%s/small/log/%012u.seg", top, 1u);
    int fd = io_fs_open(segment, IO_FS_WRITE, 0);
    assert_int_equal(io_fs_truncate(fd, QLOG_HEADER), 0);
    io_fs_close(fd);
    recover("small", &after, &records, &used);
    assert_false(used);
    assert_true(vr_str_starts(vr_buf_str(&after), VR_STR("0 messages")));
    vr_buf_fini(&after);
    free(bytes);
}

/* In slices, while others come and go: who is there from the beginning to the end is met, or the walk says that it is broken off. */
static void test_walk(void **state)
{
    (void)state;
    enum { N = 400 };
    static uint64_t ids[N];
    unsigned whole = 0;
    for (unsigned seed = 1; seed <= 400; seed++) {
        srand(seed);
        struct idmap m = {0};
        bool in[N] = {0}, always[N], met[N] = {0};
        for (unsigned i = 0; i < N; i++) {
            ids[i] = ((uint64_t)rand() << 20 | i) + 1;
            in[i] = rand() % 3 > 0;
            if (in[i])
                idmap_add(&m, &ids[i]);
        }
        memcpy(always, in, sizeof in);
        struct idmap_walk w;
        idmap_walk_begin(&m, &w);
        while (!idmap_walk_ended(&w) && !idmap_walk_broken(&m, &w)) {
            for (int i = rand() % 20; i > 0 && !idmap_walk_ended(&w); i--) {
                const uint64_t *id = idmap_walk_next(&m, &w);
                if (id != NULL)
                    met[id - ids] = true;
            }
            for (int i = rand() % 6; i > 0; i--) {
                int k = rand() % N;
                if (in[k])
                    idmap_remove(&m, ids[k]);
                else if (rand() % 2)
                    idmap_add(&m, &ids[k]);
                else
                    continue;
                in[k] = !in[k];
                always[k] = false;
            }
        }
        if (!idmap_walk_broken(&m, &w)) {
            whole++;
            for (int i = 0; i < N; i++)
                assert_true(!always[i] || met[i]);
        }
        idmap_fini(&m);
    }
    assert_true(whole > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_as_the_whole_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_of_another_log, setup, teardown),
        cmocka_unit_test(test_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
