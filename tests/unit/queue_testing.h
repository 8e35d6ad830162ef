/* queue_testing.h - the queue as a process of its own, and its peers played by the test: a receiver, a sender, local, an administrator.
 */
#ifndef TESTS_QUEUE_TESTING_H
#define TESTS_QUEUE_TESTING_H

#include "process_testing.h"

#include "queue/inside.h"
#include "queue/queue.h"

#include "io/fs.h"

#include <veredus/smtp.h>

#include <jansson.h>

#define WAIT_MS 15000

/* ---- a queue and its peers ---------------------------------------------------------------------------------------------------------- */

struct frame {
    struct frame *next;
    uint16_t type;
    int fd;
    struct vr_buf payload;
};
struct side {
    enum ipc_role role;
    uint32_t slot;
    struct io_channel *channel;
    struct frame *first, *last;
    bool closed;
};
enum { RECEIVER, SENDER, LOCAL, ADMIN, SIDES };

static struct side sides[SIDES];
static uint64_t last_id;
static struct frame *current; /* the frame that was taken last; lives until the next one */
static struct vr_arena arena;

static inline void on_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct side *s = arg;
    struct frame *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->type = type;
    f->fd = fd;
    vr_buf_init(&f->payload, IO_FRAME_MAX + 1);
    vr_buf_add(&f->payload, payload);
    *(s->last != NULL ? &s->last->next : &s->first) = f;
    s->last = f;
    io_stop(io);
}

static inline void on_closed(void *arg, int status)
{
    (void)status;
    ((struct side *)arg)->closed = true;
    io_stop(io);
}

static inline void frame_free(struct frame *f)
{
    if (f == NULL)
        return;
    if (f->fd >= 0)
        io_fs_close(f->fd);
    vr_buf_fini(&f->payload);
    free(f);
}

static inline void config_make(const char *alias_lines)
{
    char aliases[96], text[1024];
    snprintf(aliases, sizeof aliases, "%s/aliases", folder);
    assert_int_equal(io_fs_replace_file(aliases, vr_str_from(alias_lines), 0600), 0);
    int n = snprintf(text, sizeof text,
                     "hostname = \"mail.home.example\"\nstate = \"%s\"\nspool = \"%s/spool\"\nrun = \"%s\"\n"
                     "domain \"home.example\" { deliver = \"maildir:%s/{local}\"\n aliases = \"%s\"\n"
                     " catch_all = \"ann@home.example\" }\n"
                     "domain \"lmtp.example\" { deliver = \"lmtp:127.0.0.1:24\" }\n"
                     "queue { minimum_free = 0 segment_size = 1M }\nsending { concurrency = 2 }\n",
                     folder, folder, folder, folder, aliases);
    config_from(text, (size_t)n);
    config->retry[0] = 300; /* rounded up to whole seconds */
}

static inline void attach(struct side *s, enum ipc_role role, uint32_t slot)
{
    static const struct io_channel_ops side_ops = {on_frame, on_closed};
    *s = (struct side){.role = role, .slot = slot};
    s->channel = process_attach(role, slot, 1, &side_ops, s);
}

static inline void introduce(struct side *s)
{
    uint32_t none = 0;
    io_channel_send(s->channel, IPC_INFLIGHT, vr_str((const char *)&none, sizeof none), -1);
}

static inline void detach(struct side *s)
{
    io_channel_close(s->channel);
    for (struct frame *f = s->first, *next; f != NULL; f = next) {
        next = f->next;
        frame_free(f);
    }
    *s = (struct side){0};
}

static inline void spawn_queue(void)
{
    static const enum ipc_role roles[SIDES] = {IPC_RECEIVER, IPC_SENDER, IPC_LOCAL, IPC_ADMIN};
    process_spawn((struct process_arguments){.ops = &queue_ops, .config = config, .slot = 9});
    uint32_t expected = 2;
    io_channel_send(supervisor, IPC_EXPECT, vr_str((const char *)&expected, sizeof expected), -1);
    for (uint32_t i = 0; i < SIDES; i++)
        attach(&sides[i], roles[i], 20 + i);
}

static inline void spawn_introduced(void)
{
    spawn_queue();
    introduce(&sides[SENDER]);
    introduce(&sides[LOCAL]);
}

static inline void start_queue(bool introduced)
{
    if (introduced)
        spawn_introduced();
    else
        spawn_queue();
    for (int i = 0; i < 100 && !ready; i++) /* frames of the sides end a turn too */
        run(WAIT_MS / 100);
    assert_true(ready);
}

static inline void sides_close(void)
{
    supervisor_close();
    for (size_t i = 0; i < SIDES; i++)
        if (sides[i].channel != NULL)
            detach(&sides[i]);
}

static inline void kill_queue(void)
{
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    child = 0;
    sides_close();
}

static inline void drain_queue(void)
{
    process_drain(5000);
    sides_close();
}

static inline int setup(void **state)
{
    (void)state;
    assert_true(folder_new(folder));
    config_make("team: ann, bob, carol@far.example\none: ann\n");
    io = io_new(1);
    vr_arena_init(&arena, 64u << 20);
    start_queue(true);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    if (child > 0)
        kill_queue();
    frame_free(current);
    current = NULL;
    vr_arena_fini(&arena);
    io_free(io);
    config_free(config);
    folder_remove(folder);
    return 0;
}

/* ---- frames ---------------------------------------------------------------------------------------------------------------------------- */

/* The next frame, or NULL when none comes within ms. */
static inline struct frame *take(struct side *s, int64_t ms)
{
    int64_t start = io_monotonic_ms(io);
    frame_free(current);
    current = NULL;
    while (s->first == NULL && !s->closed && io_monotonic_ms(io) - start < ms)
        run(ms);
    current = s->first;
    if (current == NULL)
        return NULL;
    s->first = current->next;
    if (s->first == NULL)
        s->last = NULL;
    return current;
}

static inline struct ipc_reader receive(struct side *s, enum ipc_type type)
{
    struct frame *f = take(s, WAIT_MS);
    assert_non_null(f);
    assert_int_equal(f->type, type);
    return ipc_reader(vr_buf_str(&f->payload));
}

static inline void assert_quiet(struct side *s, int64_t ms)
{
    assert_null(take(s, ms));
}

struct mail {
    const char *from;
    const char *to[4];
    uint32_t notify;
    const char *orcpt;
    const char *body;
    bool catch_all, binary;
    uint8_t ret;
    uint8_t asks, by;           /* as in the envelope */
    int64_t by_seconds, hold_s; /* from now on */
};

static inline uint64_t submit_as(uint64_t id, const struct mail *m)
{
    struct envelope_rcpt rcpts[4];
    struct envelope e = {.id = id,
                         .arrival_us = io_now_us(io),
                         .reverse_path = vr_str_from(m->from),
                         .client = VR_STR("192.0.2.1"),
                         .prefix = VR_STR("Received: from test\r\n"),
                         .rcpts = rcpts,
                         .ret = m->ret,
                         .body = m->binary ? SMTP_BODY_BINARYMIME : SMTP_BODY_7BIT,
                         .asks = m->asks,
                         .by = m->by,
                         .deliver_by = m->by != 0 ? io_now_us(io) / 1000000 + m->by_seconds : 0,
                         .hold_until = m->hold_s != 0 ? io_now_us(io) / 1000000 + m->hold_s : 0,
                         .envid = VR_STR("env+2Bid")};
    for (; e.rcpt_count < 4 && m->to[e.rcpt_count] != NULL; e.rcpt_count++)
        rcpts[e.rcpt_count] = (struct envelope_rcpt){vr_str_from(m->to[e.rcpt_count]), m->notify,
                                                     vr_str_from(m->orcpt), m->catch_all};
    struct vr_str body = vr_str_from(m->body != NULL ? m->body : "Subject: hello\r\n\r\nHow are you?\r\n");
    e.body_size = body.n;
    struct vr_buf b;
    vr_buf_init(&b, 1u << 20);
    ipc_put_envelope(&b, &e);
    ipc_put_str(&b, body);
    io_channel_send(sides[RECEIVER].channel, IPC_SUBMIT, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
    return id;
}

static inline void expect_submitted(uint64_t id, enum ipc_submitted what)
{
    struct ipc_reader r = receive(&sides[RECEIVER], IPC_SUBMITTED);
    assert_int_equal(ipc_get_u64(&r), id);
    assert_int_equal(ipc_get_u8(&r), what);
    assert_true(ipc_done(&r));
}

static inline uint64_t submit(const struct mail *m)
{
    uint64_t id = submit_as(queue_id_next(&last_id, io_now_us(io), 3), m);
    expect_submitted(id, IPC_SUBMIT_OK);
    return id;
}

static inline struct delivery expect_delivery(struct side *s)
{
    struct ipc_reader r = receive(s, IPC_DELIVER);
    struct delivery d;
    assert_true(ipc_get_delivery(&r, &arena, &d));
    return d;
}

static bool unreachable;           /* the next answers: nobody could be spoken with */
static bool offers_dsn, offers_by; /* … the next hop takes DSN, DELIVERBY over */

static inline void answer(struct side *s, const struct delivery *d, enum delivery_status status,
                          uint16_t code, const char *enhanced, const char *text)
{
    struct delivery_rcpt_result rcpts[8];
    assert_true(d->rcpt_count <= 8);
    for (uint32_t i = 0; i < d->rcpt_count; i++)
        rcpts[i] = (struct delivery_rcpt_result){
            d->rcpts[i].index, status, code, vr_str_from(enhanced), vr_str_from(text), d->rcpts[i].attempt};
    struct delivery_result r = {.delivery = d->id,
                                .message = d->message,
                                .remote_mta = VR_STR("mx.far.example"),
                                .remote_ip = VR_STR("192.0.2.9"),
                                .unreachable = unreachable,
                                .dsn_relayed_on = offers_dsn,
                                .by_relayed_on = offers_by,
                                .duration_ms = 3,
                                .rcpts = rcpts,
                                .rcpt_count = d->rcpt_count};
    struct vr_buf b;
    vr_buf_init(&b, 1u << 16);
    ipc_put_result(&b, &r);
    io_channel_send(s->channel, IPC_RESULT, vr_buf_str(&b), -1);
    vr_buf_fini(&b);
}

static inline json_t *ask(const char *request)
{
    static uint64_t number;
    struct vr_buf b, text;
    vr_buf_init(&b, 1u << 16);
    vr_buf_init(&text, 64u << 20);
    ipc_put_u64(&b, ++number);
    ipc_put_str(&b, vr_str_from(request));
    io_channel_send(sides[ADMIN].channel, IPC_CONTROL, vr_buf_str(&b), -1);
    for (uint8_t last = 0; !last;) {
        struct ipc_reader r = receive(&sides[ADMIN], IPC_CONTROL_PART);
        assert_int_equal(ipc_get_u64(&r), number);
        last = ipc_get_u8(&r);
        vr_buf_add(&text, ipc_get_str(&r));
        assert_true(ipc_done(&r));
    }
    json_t *out = NULL,
           *messages = json_array(); /* of list and show; what the last line says is told of all */
    for (struct vr_str rest = vr_buf_str(&text); rest.n > 0;) {
        size_t n = vr_str_find(rest, '\n');
        assert_int_not_equal(n, VR_NPOS);
        assert_null(out);
        json_error_t error;
        json_t *line = json_loadb(rest.p, n, 0, &error);
        if (line == NULL)
            fail_msg("%s in %.*s", error.text, VR_STR_ARG(rest));
        rest = vr_str_from_pos(rest, n + 1);
        if (json_object_get(line, "end") != NULL || json_object_get(line, "error") != NULL)
            out = line;
        else
            json_array_append_new(messages, line);
    }
    assert_non_null(out);
    json_object_set_new(out, "messages", messages);
    vr_buf_fini(&b);
    vr_buf_fini(&text);
    return out;
}

static inline json_int_t queued(void)
{
    json_t *answer_json = ask("{\"op\":\"list\"}");
    json_int_t total = json_integer_value(json_object_get(answer_json, "total"));
    json_decref(answer_json);
    return total;
}

static inline void expect_queued(json_int_t n)
{
    for (int i = 0; i < 300 && queued() != n; i++)
        run(10);
    assert_int_equal(queued(), n);
}

static inline bool contains(struct vr_str s, const char *what)
{
    return vr_str_find_str(s, vr_str_from(what)) != VR_NPOS;
}

static inline struct delivery expect_dsn(struct side *s)
{
    struct delivery d = expect_delivery(s);
    assert_int_equal(d.reverse_path.n, 0);
    assert_int_equal(d.rcpt_count, 1);
    assert_true(contains(d.content, "multipart/report"));
    return d;
}

#endif
