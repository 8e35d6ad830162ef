/* queue_control.c - what the administrator asks: which messages a request means while others come and go, answers in parts that wait to be
 * taken, changes in turns, the summary's counts. The queue's part of it, in this process; the test is the admin process.
 */
#include "process_testing.h"

#include "queue/control.h"
#include "queue/log/inside.h"

#define FIRST_ID  (UINT64_C(1) << 40)
#define WINDOW    (1u << 20)
#define PART_MAX  (256u << 10)
#define TURN_MOST 1024 /* messages in a turn: 64 looks at the clock, 16 messages between them */
#define MANY      6000

static struct queue q;
static struct process process;
static struct peer peer;
static struct io_channel *admin;
static struct vr_buf answered; /* to the last request */
static bool answered_all;
static uint64_t number; /* of the last request */

static void on_part(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)arg, (void)fd;
    struct ipc_reader r = ipc_reader(payload);
    assert_int_equal(type, IPC_CONTROL_PART);
    uint64_t request = ipc_get_u64(&r);
    bool last = ipc_get_u8(&r) != 0;
    struct vr_str text = ipc_get_str(&r);
    assert_true(ipc_done(&r));
    assert_in_range(text.n, 0, PART_MAX);
    if (request != number)
        return; /* of one that was cancelled */
    vr_buf_add(&answered, text);
    answered_all = last;
    io_stop(io);
}

static void on_closed(void *arg, int status)
{
    (void)arg, (void)status;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void open_log(void)
{
    char path[96];
    snprintf(path, sizeof path, "%s/log", folder);
    struct qlog_options o = {.io = io,
                             .events = q.events,
                             .folder = path,
                             .segment_size = 4u << 20,
                             .lazy_ms = 1,
                             .arg = &q,
                             .replay = record_replay};
    assert_int_equal(qlog_open(&o, &q.log), 0);
}

static int setup(void **state)
{
    (void)state;
    static const struct io_channel_ops ops = {on_part, on_closed};
    char text[512];
    int fds[2];
    assert_true(folder_new(folder));
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.home.example\"\nstate = \"%s\"\nspool = \"%s\"\nrun = \"%s\"\n"
                     "domain \"home.example\" { deliver = \"maildir:%s/{local}\" }\n",
                     folder, folder, folder, folder);
    config_from(text, (size_t)n);
    io = io_new(1);
    q = (struct queue){.io = io, .config = config, .process = &process};
    q.events = event_log_new(NULL, "test", EVENT_KEY_VALUE, EVENT_ERROR + 1);
    q.wake = io_timer_new(io, nothing, NULL);
    q.pace = io_timer_new(io, nothing, NULL);
    vr_buf_init(&q.scratch, QLOG_RECORD_MAX);
    vr_buf_init(&q.scratch2, QLOG_RECORD_MAX);
    vr_buf_init(&answered, 256u << 20);
    open_log();
    process = (struct process){.io = io, .config = config, .log = q.events};
    vr_buf_init(&process.scratch, IO_FRAME_MAX);
    assert_int_equal(io_channel_pair(fds), 0);
    peer = (struct peer){
        .process = &process, .role = IPC_ADMIN, .channel = io_channel_new(io, fds[0], &ops, NULL)};
    admin = io_channel_new(io, fds[1], &ops, NULL);
    return 0;
}

static void free_messages(void)
{
    while (q.messages.count > 0)
        for (size_t i = 0; i < q.messages.capacity; i++)
            if (idmap_slot(&q.messages, i) != NULL)
                message_free(&q, idmap_slot(&q.messages, i));
    struct counts none = {.oldest = q.counts.oldest, .oldest_us = q.counts.oldest_us};
    assert_int_equal(q.counts.oldest, 0);
    assert_memory_equal(&q.counts, &none, sizeof none); /* what was counted was counted off */
}

static int teardown(void **state)
{
    (void)state;
    control_peer_gone(&q, &peer);
    while (q.jobs != NULL || !qlog_idle(q.log) || q.log->jobs > 0)
        run(2);
    free_messages();
    qlog_close(q.log);
    struct destination *d, *next;
    HASH_ITER(hh, q.destinations, d, next)
    {
        assert_int_equal(d->refs, 0);
        d->forget_ms = d->dead_until_ms = 0;
        d->active = d->ready = 0;
    }
    destinations_sweep(&q);
    assert_null(q.destinations);
    assert_null(q.texts);
    idmap_fini(&q.messages);
    heap_fini(&q.sleepers);
    heap_fini(&q.parked);
    io_channel_close(peer.channel);
    io_channel_close(admin);
    vr_buf_fini(&process.scratch);
    vr_buf_fini(&q.scratch);
    vr_buf_fini(&q.scratch2);
    vr_buf_fini(&answered);
    io_timer_free(q.wake);
    io_timer_free(q.pace);
    event_log_free(q.events);
    io_free(io);
    config_free(config);
    folder_remove(folder);
    return 0;
}

/* ---- messages and requests --------------------------------------------------------------------------------------------------------- */

/* Tried once, and it sleeps for an hour. */
static struct message *deferred(uint64_t id, const char *from, const char *to, const char *reply,
                                int64_t age_s)
{
    struct envelope_rcpt rcpts[2] = {{.address = vr_str_from(to)},
                                     {.address = VR_STR("second@twice.example")}};
    struct record_message r = {.length = 10,
                               .envelope = {.id = id,
                                            .arrival_us = io_now_us(io) - age_s * 1000000,
                                            .reverse_path = vr_str_from(from),
                                            .body_size = 100,
                                            .rcpts = rcpts,
                                            .rcpt_count = id % 17 == 0 ? 2 : 1}};
    struct vr_str payload = VR_STR("0123456789");
    r.position =
        qlog_append(q.log, RECORD_MESSAGE, RECORD_MESSAGE_VERSION, &payload, 1, QLOG_LAZY, NULL, NULL);
    assert_int_not_equal(r.position, 0);
    qlog_alive(q.log, r.position, r.length);
    struct message *m = message_new(&r);
    m->durable = true;
    message_add(&q, m);
    for (uint32_t i = 0; i < m->count; i++) {
        m->recipients[i].attempts = 1;
        m->recipients[i].next = NOW_S(&q) + 3600;
        recipient_reply(&q, &m->recipients[i], vr_str_from(reply));
    }
    return m;
}

static void many(uint64_t first, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        deferred(first + i, "news@bulk.example", "someone@far.example", "4.4.1 connection refused", 60);
}

static void drop(uint64_t id)
{
    struct message *m = idmap_find(&q.messages, id);
    qlog_dead(q.log, m->position, m->record_length);
    message_free(&q, m);
}

static void request(const char *json)
{
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    vr_buf_reset(&answered);
    answered_all = false;
    ipc_put_u64(&b, ++number);
    ipc_put_str(&b, vr_str_from(json));
    control_frame(&q, &peer, vr_buf_str(&b));
    vr_buf_fini(&b);
}

static void taken(uint64_t bytes)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, number);
    ipc_put_u64(&b, bytes);
    control_taken(&q, &peer, vr_buf_str(&b));
    vr_buf_fini(&b);
}

static void cancel(void)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u64(&b, number);
    control_cancel(&q, &peer, vr_buf_str(&b));
    vr_buf_fini(&b);
}

/* Until the answer is whole; takes all that comes. */
static void await_all(void)
{
    size_t told = 0;
    for (int i = 0; i < 20000 && !answered_all; i++) {
        run(50);
        taken(vr_buf_size(&answered) - told);
        told = vr_buf_size(&answered);
    }
    assert_true(answered_all);
}

/* The lines of the answer but the last one, which goes to *end. */
static json_t *lines(json_t **end)
{
    json_t *out = json_array();
    *end = NULL;
    for (struct vr_str rest = vr_buf_str(&answered); rest.n > 0;) {
        size_t n = vr_str_find(rest, '\n');
        assert_int_not_equal(n, VR_NPOS);
        json_t *line = json_loadb(rest.p, n, 0, NULL);
        assert_non_null(line);
        assert_null(*end);
        if (json_object_get(line, "end") != NULL || json_object_get(line, "error") != NULL)
            *end = line;
        else
            json_array_append_new(out, line);
        rest = vr_str_from_pos(rest, n + 1);
    }
    assert_non_null(*end);
    return out;
}

static uint64_t id_of(const json_t *line)
{
    uint64_t id;
    assert_true(queue_id_parse(vr_str_from(json_string_value(json_object_get(line, "id"))), &id));
    return id;
}

static json_int_t count_of(const json_t *o, const char *key)
{
    assert_true(json_is_integer(json_object_get(o, key)));
    return json_integer_value(json_object_get(o, key));
}

static json_int_t asked(const char *json, const char *key)
{
    json_t *end;
    request(json);
    await_all();
    json_t *all = lines(&end);
    json_int_t n = count_of(end, key);
    json_decref(all);
    json_decref(end);
    return n;
}

/* ---- which messages ------------------------------------------------------------------------------------------------------------------ */

static void test_filters(void **state)
{
    (void)state;
    deferred(10, "ann@Home.example", "b@far.example", "451 4.3.0 Greylisted, come back", 100);
    deferred(11, "ann@home.example", "b@other.example", "4.4.1 connection refused", 5000);
    deferred(12, "", "c@far.example", "4.4.1 connection refused", 90000);
    deferred(13, "x@away.example", "c@FAR.example", "4.4.1 connection refused", 100);
    deferred(17, "x@away.example", "d@far.example", "", 100); /* and second@twice.example */
    message_set_held(&q, idmap_find(&q.messages, 13), true);
    struct message *m = idmap_find(&q.messages, 17);
    recipient_set(&q, m, &m->recipients[0], RECIPIENT_DELIVERED);
    static const struct {
        const char *filter;
        uint64_t ids[6];
    } rows[] = {
        {"\"limit\":0", {10, 11, 12, 13, 17}},
        {"\"domain\":\"far.example\"", {10, 12, 13}}, /* of 17 that one is done */
        {"\"domain\":\"twice.example\"", {17}},
        {"\"sender\":\"ann@home.example\"", {10, 11}},
        {"\"sender\":\"@away.example\"", {13, 17}},
        {"\"sender\":\"away.example\"", {13, 17}},
        {"\"sender\":\"<>\"", {12}},
        {"\"destination\":\"mx:far.example\"", {10, 12, 13}},
        {"\"reason\":\"CONNECTION refused\"", {11, 12, 13}},
        {"\"reason\":\"greylisted\"", {10}},
        {"\"reason\":\"no such words\"", {0}},
        {"\"reason\":\"refused\",\"domain\":\"far.example\"", {12, 13}},
        {"\"held\":true", {13}},
        {"\"held\":false", {10, 11, 12, 17}},
        {"\"state\":\"held\"", {13}},
        {"\"state\":\"deferred\"", {10, 11, 12, 17}},
        {"\"state\":\"active\"", {0}},
        {"\"older\":1000", {11, 12}},
        {"\"newer\":1000", {10, 13, 17}},
        {"\"older\":1000,\"newer\":10000", {11}},
        {"\"ids\":[\"000000000000D\",\"000000000000A\",\"000000000000D\",\"0000000000ZZZ\"]", {10, 13}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char json[256];
        size_t k = 0, at;
        json_t *end, *line;
        snprintf(json, sizeof json, "{\"op\":\"list\",%s}", rows[i].filter);
        request(json);
        await_all();
        json_t *all = lines(&end);
        json_array_foreach(all, at, line)
        {
            if (id_of(line) != rows[i].ids[k++])
                fail_msg("%s: message %zu is %llu", json, at, (unsigned long long)id_of(line));
        }
        if (rows[i].ids[k] != 0)
            fail_msg("%s: %zu messages", json, k);
        assert_int_equal(count_of(end, "total"), k);
        json_decref(all);
        json_decref(end);
    }
    static const char *const wrong[] = {"{\"op\":\"list\",\"state\":\"odd\"}",
                                        "{\"op\":\"list\",\"older\":\"1h\"}",
                                        "{\"op\":\"list\",\"after\":\"odd\"}", "{\"op\":\"remove\"}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *end;
        request(wrong[i]);
        await_all();
        json_decref(lines(&end));
        assert_true(json_is_string(json_object_get(end, "error")));
        json_decref(end);
    }
}

/* Between the steps of a walk others come and go, so many that the table grows; who stays is met once, and in order. */
static void test_walk_while_others_come_and_go(void **state)
{
    (void)state;
    enum { STAY = 700 };
    for (uint64_t i = 0; i < STAY; i++)
        deferred(FIRST_ID + i * 1000003, "a@b.example", "c@far.example", "", 60);
    uint64_t born = FIRST_ID + 17, died = born;
    for (; born < FIRST_ID + 200; born++)
        deferred(born, "a@b.example", "c@far.example", "", 60);
    struct pick p;
    json_t *json = json_object();
    assert_null(pick_begin(&p, &q, json, false));
    json_decref(json);
    size_t before = q.messages.capacity, turns = 0;
    for (; !pick_collect(&p, 3); turns++) {
        for (int i = 0; i < (turns < 400 ? 3 : 1); i++)
            deferred(born++, "a@b.example", "c@far.example", "", 60);
        for (int i = 0; i < (turns < 400 ? 1 : 2) && died < born; i++)
            drop(died++);
    }
    assert_true(turns > 400 && q.messages.capacity > before);
    bool met[STAY] = {0};
    uint64_t last = 0;
    for (struct message *m; pick_next(&p, &m);) {
        if (m != NULL) {
            assert_true(m->id > last);
            last = m->id;
            if ((m->id - FIRST_ID) % 1000003 == 0 && (m->id - FIRST_ID) / 1000003 < STAY) {
                assert_false(met[(m->id - FIRST_ID) / 1000003]);
                met[(m->id - FIRST_ID) / 1000003] = true;
            }
        }
        if (died < born)
            drop(died++); /* perhaps the next one */
    }
    for (size_t i = 0; i < STAY; i++)
        assert_true(met[i]);
    pick_end(&p);
}

/* ---- answers in parts --------------------------------------------------------------------------------------------------------------- */

/* Pages by --limit and --after, put together, are the list. */
static void test_pages(void **state)
{
    (void)state;
    enum { N = 100, PAGE = 30 };
    many(FIRST_ID, N);
    uint64_t next = FIRST_ID;
    for (size_t page = 0; next < FIRST_ID + N; page++) {
        char json[128], after[QUEUE_ID_TEXT];
        json_t *end, *line;
        size_t i;
        queue_id_text(next - 1, after);
        snprintf(json, sizeof json, "{\"op\":\"list\",\"limit\":%d,\"after\":\"%s\"}", PAGE, after);
        request(json);
        await_all();
        json_t *all = lines(&end);
        json_array_foreach(all, i, line)
        {
            assert_true(id_of(line) == next++);
        }
        assert_int_equal(json_array_size(all), page < N / PAGE ? PAGE : N % PAGE);
        assert_int_equal(count_of(end, "total"), (json_int_t)(N - page * PAGE));
        assert_int_equal(count_of(end, "shown"), (json_int_t)json_array_size(all));
        json_decref(all);
        json_decref(end);
    }
}

/* Who does not take the answer gets a bounded piece of it, and the rest when he does. */
static void test_back_pressure(void **state)
{
    (void)state;
    many(FIRST_ID, MANY);
    request("{\"op\":\"list\"}");
    for (size_t before = 1; before != vr_buf_size(&answered);) {
        before = vr_buf_size(&answered);
        for (int i = 0; i < 20; i++)
            run(5);
    }
    assert_in_range(vr_buf_size(&answered), WINDOW, WINDOW + 2 * PART_MAX);
    assert_false(answered_all);
    drop(FIRST_ID + 2);        /* told already */
    drop(FIRST_ID + MANY - 2); /* not yet */
    many(FIRST_ID + MANY, 10); /* too late for this answer, which goes on where it was */
    taken(vr_buf_size(&answered));
    await_all();
    json_t *end, *all = lines(&end), *line;
    size_t i;
    uint64_t next = FIRST_ID;
    json_array_foreach(all, i, line)
    {
        assert_true(id_of(line) == next);
        next += next == FIRST_ID + MANY - 3 ? 2 : 1;
    }
    assert_true(next == FIRST_ID + MANY);
    assert_int_equal(count_of(end, "total"), MANY - 1);
    json_decref(all);
    json_decref(end);
    assert_null(q.jobs);
}

/* ---- changes ------------------------------------------------------------------------------------------------------------------------ */

static uint64_t held(void)
{
    uint64_t n = 0;
    for (size_t i = 0; i < q.messages.capacity; i++) {
        const struct message *m = idmap_slot(&q.messages, i);
        n += m != NULL && m->held;
    }
    return n;
}

static void test_bulk_in_turns(void **state)
{
    (void)state;
    many(FIRST_ID, MANY);
    deferred(FIRST_ID + MANY, "x@else.example", "y@else.example", "451 later", 60);
    assert_int_equal(asked("{\"op\":\"hold\",\"domain\":\"far.example\",\"dry_run\":true}", "count"), MANY);
    assert_int_equal(held(), 0); /* it only would have */
    assert_int_equal(asked("{\"op\":\"hold\",\"all\":true,\"limit\":5}", "count"), 5);
    assert_int_equal(held(), 5);
    request("{\"op\":\"hold\",\"domain\":\"far.example\"}");
    for (uint64_t before = held(), now = before; now <= 5; before = now) {
        run(1);
        now = held();
        assert_true(now - before <= TURN_MOST); /* the loop's turns come between */
    }
    cancel(); /* he has left */
    uint64_t reached = held();
    assert_in_range(reached, 6, MANY - 1);
    for (int i = 0; i < 100 && q.jobs != NULL; i++)
        run(5);
    assert_null(q.jobs);
    assert_int_equal(held(), reached);
    assert_int_equal(asked("{\"op\":\"hold\",\"domain\":\"far.example\"}", "count"), MANY);
    assert_int_equal(held(), MANY);
    assert_int_equal(asked("{\"op\":\"release\",\"held\":true}", "count"), MANY);
    assert_int_equal(held(), 0);
    assert_int_equal(qlog_waiting(q.log), 0); /* a crash after the answer undoes nothing */
    assert_int_equal(asked("{\"op\":\"remove\",\"sender\":\"@bulk.example\"}", "count"), MANY);
    for (int i = 0; i < 1000 && q.messages.count > 1; i++)
        run(5); /* the records that say so become durable */
    assert_int_equal(q.messages.count, 1);
    assert_int_equal(q.counts.messages, 1);
}

/* The process of the clients dies in the middle of all this. */
static void test_peer_gone(void **state)
{
    (void)state;
    many(FIRST_ID, MANY);
    request("{\"op\":\"list\"}");
    request("{\"op\":\"remove\",\"all\":true}");
    request("{\"op\":\"summary\"}");
    run(2);
    control_peer_gone(&q, &peer);
    for (int i = 0; i < 100 && q.jobs != NULL; i++)
        run(5);
    assert_null(q.jobs);
    assert_true(q.messages.count > 0);
}

/* ---- summary ------------------------------------------------------------------------------------------------------------------------- */

/* What is counted as states change is what a look at each message finds. */
static void assert_counts(void)
{
    struct counts found = {0};
    for (size_t i = 0; i < q.messages.capacity; i++) {
        const struct message *m = idmap_slot(&q.messages, i);
        if (m == NULL || m->open == 0)
            continue;
        found.messages++;
        found.bytes += m->size;
        for (uint32_t k = 0; k < m->count; k++)
            if (!recipient_final(m->recipients[k].state))
                found.open[m->held][m->recipients[k].state]++;
    }
    found.oldest = q.counts.oldest;
    found.oldest_us = q.counts.oldest_us;
    assert_memory_equal(&found, &q.counts, sizeof found);
}

static void test_counts(void **state)
{
    (void)state;
    enum { N = 300 };
    static const uint8_t states[] = {RECIPIENT_WAITING,   RECIPIENT_READY,     RECIPIENT_SENDING,
                                     RECIPIENT_REPORTING, RECIPIENT_EXPANDING, RECIPIENT_DELIVERED,
                                     RECIPIENT_FAILED,    RECIPIENT_REMOVED};
    srand(11);
    for (int step = 0; step < 20000; step++) {
        uint64_t id = FIRST_ID + (uint64_t)(rand() % N);
        struct message *m = idmap_find(&q.messages, id);
        if (m == NULL) {
            deferred(id, "a@b.example", "c@far.example", "", rand() % 1000);
        } else if (rand() % 8 == 0) {
            drop(id);
        } else if (rand() % 8 == 0) {
            message_set_held(&q, m, rand() % 2 == 0);
        } else if (rand() % 8 == 0 && m->count < 20) {
            struct vr_str more[] = {VR_STR("e@far.example"), VR_STR("f@far.example")};
            message_expand(&q, m, (uint32_t)rand() % m->count, more, 2, 0);
        } else {
            recipient_set(&q, m, &m->recipients[(uint32_t)rand() % m->count],
                          states[(size_t)rand() % sizeof states]);
        }
        if (step % 50 == 0)
            assert_counts();
    }
    assert_counts();
}

static json_t *summary(void)
{
    json_t *end;
    request("{\"op\":\"summary\"}");
    await_all();
    json_t *all = lines(&end);
    assert_int_equal(json_array_size(all), 0);
    json_decref(all);
    return end;
}

static void assert_oldest(json_t *s, const struct message *m)
{
    json_t *time = m != NULL ? control_time(m->arrival_us) : NULL;
    const char *told = json_string_value(json_object_get(s, "oldest"));
    if (m == NULL)
        assert_null(told);
    else
        assert_string_equal(told, json_string_value(time));
    json_decref(time);
    json_decref(s);
}

static void test_oldest(void **state)
{
    (void)state;
    assert_oldest(summary(), NULL);
    struct message *m[] = {
        deferred(1, "", "a@far.example", "", 500), deferred(2, "", "a@far.example", "", 900),
        deferred(3, "", "a@far.example", "", 700), deferred(4, "", "a@far.example", "", 800)};
    assert_oldest(summary(), m[1]);
    drop(2);
    assert_int_equal(q.counts.oldest, 0);
    deferred(5, "", "a@far.example", "", 850); /* while it is not known */
    drop(5);
    assert_oldest(summary(), m[3]); /* looked for */
    assert_int_equal(q.counts.oldest, 4);
    recipient_set(&q, m[3], &m[3]->recipients[0], RECIPIENT_DELIVERED); /* its record is not durable yet */
    assert_oldest(summary(), m[2]);
    drop(3), drop(4), drop(1);
    assert_oldest(summary(), NULL);
    deferred(6, "", "a@far.example", "", 10);
    assert_int_equal(q.counts.oldest, 6);
}

/* More destinations than a turn tells, some of which are forgotten meanwhile. */
static void test_summary_of_destinations(void **state)
{
    (void)state;
    enum { N = 9000 };
    static char names[N][24];
    struct destination *d[N];
    many(FIRST_ID, 3);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "d%u.example", i);
        struct next_hop h = {
            .kind = NEXT_HOP_MX, .host = vr_str_from(names[i]), .route = UINT32_MAX, .domain = UINT32_MAX};
        d[i] = destination_get(&q, &h);
        d[i]->active = i % 3 == 0;
        d[i]->ready = i % 3 == 1 ? 7 : 0;
        if (i % 3 == 2) {
            d[i]->dead_until_ms = io_monotonic_ms(io) + 90000;
            d[i]->reason = text_take(&q, VR_STR("4.4.1 connection refused"));
        }
    }
    request("{\"op\":\"summary\"}");
    for (uint32_t i = 0; i < N; i += 2) { /* nothing is known of these any more */
        d[i]->active = d[i]->ready = 0;
        d[i]->dead_until_ms = d[i]->forget_ms = 0;
        destination_release(&q, d[i]);
    }
    destinations_sweep(&q);
    assert_false(answered_all);
    await_all();
    json_t *end, *none = lines(&end), *list = json_object_get(end, "destinations"), *one;
    bool told[N] = {0};
    size_t at;
    assert_int_equal(count_of(end, "messages"), 3);
    assert_int_equal(count_of(end, "deferred"), count_of(end, "recipients"));
    json_array_foreach(list, at, one)
    {
        unsigned i = (unsigned)strtoul(
            json_string_value(json_object_get(one, "destination")) + strlen("mx:d"), NULL, 10);
        assert_true(i < N && !told[i]);
        told[i] = true;
        assert_int_equal(count_of(one, "active"), i % 3 == 0);
        assert_int_equal(count_of(one, "ready"), i % 3 == 1 ? 7 : 0);
        assert_int_equal(json_object_get(one, "dead_s") != NULL, i % 3 == 2);
    }
    for (uint32_t i = 1; i < N; i += 2) {
        assert_true(told[i]);
        destination_release(&q, d[i]);
    }
    json_decref(none);
    json_decref(end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_walk_while_others_come_and_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bulk_in_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oldest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_summary_of_destinations, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
