/* deliverer_testing.h - sender or local in a process of its own, driven as the supervisor, a queue and a keeper would. */
#ifndef TESTS_DELIVERER_TESTING_H
#define TESTS_DELIVERER_TESTING_H

#include "io_testing.h"

#include "io/env.h"
#include "io/fs.h"
#include "ipc/process.h"

#include <signal.h>
#include <sys/wait.h>

#define WAIT_MS   15000
#define ENDS_MAX  4
#define SEEN_MAX  64
#define RCPTS_MAX 8

/* A result or an INFLIGHT item as it came. */
struct seen {
    int end;
    uint64_t delivery, message;
    uint32_t count, index[RCPTS_MAX];
    enum delivery_status status[RCPTS_MAX];
    uint16_t code[RCPTS_MAX];
    char enhanced[RCPTS_MAX][16], text[RCPTS_MAX][700], mta[128], ip[64];
    bool dsn, by, tls;
    uint8_t form;
};

struct rig;
struct rig_end { /* our end of a channel to the process */
    struct rig *rig;
    int number;
    struct io_channel *channel;
    bool first; /* nothing came yet */
};

struct rig {
    struct io *io;
    struct config *config;
    struct io_channel *supervisor;
    pid_t child;
    bool ready, gone;
    char folder[64];
    struct rig_end ends[ENDS_MAX];
    struct seen results[SEEN_MAX], inflight[SEEN_MAX];
    size_t result_count, inflight_count, inflight_frames;
    uint64_t last_delivery;
    /* the keeper's part: NULL: no question is expected */
    void (*asked)(struct rig *r, struct rig_end *from, uint64_t ask, uint8_t kind, struct vr_str address);
};

static inline void rig_text(char *out, size_t n, struct vr_str s)
{
    snprintf(out, n, "%.*s", VR_STR_ARG(s));
}

static inline void rig_result(struct rig *r, int end, struct vr_str payload)
{
    struct vr_arena arena;
    vr_arena_init(&arena, 1 << 20);
    struct ipc_reader reader = ipc_reader(payload);
    struct delivery_result d;
    assert_true(ipc_get_result(&reader, &arena, &d));
    assert_true(r->result_count < SEEN_MAX);
    struct seen *s = &r->results[r->result_count++];
    *s = (struct seen){.end = end,
                       .delivery = d.delivery,
                       .message = d.message,
                       .count = d.rcpt_count,
                       .dsn = d.dsn_relayed_on,
                       .by = d.by_relayed_on,
                       .tls = d.tls,
                       .form = d.form};
    rig_text(s->mta, sizeof s->mta, d.remote_mta);
    rig_text(s->ip, sizeof s->ip, d.remote_ip);
    for (uint32_t i = 0; i < d.rcpt_count && i < RCPTS_MAX; i++) {
        s->index[i] = d.rcpts[i].index;
        s->status[i] = d.rcpts[i].status;
        s->code[i] = d.rcpts[i].code;
        rig_text(s->enhanced[i], sizeof s->enhanced[i], d.rcpts[i].enhanced);
        rig_text(s->text[i], sizeof s->text[i], d.rcpts[i].text);
        assert_true(d.rcpts[i].enhanced.n > 0);
    }
    vr_arena_fini(&arena);
}

static inline void rig_inflight(struct rig *r, int end, struct vr_str payload)
{
    struct ipc_reader reader = ipc_reader(payload);
    uint32_t n = ipc_get_u32(&reader);
    r->inflight_frames++;
    for (uint32_t i = 0; i < n; i++) {
        assert_true(r->inflight_count < SEEN_MAX);
        struct seen *s = &r->inflight[r->inflight_count++];
        *s = (struct seen){.end = end, .message = ipc_get_u64(&reader), .count = ipc_get_u32(&reader)};
        for (uint32_t k = 0; k < s->count; k++) {
            uint32_t index = ipc_get_u32(&reader);
            if (k < RCPTS_MAX)
                s->index[k] = index;
        }
    }
    assert_true(ipc_done(&reader));
}

static inline void rig_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    struct rig_end *e = arg;
    struct rig *r = e->rig;
    assert_int_equal(fd, -1);
    if (type == IPC_MAILBOX_ASK) {
        struct ipc_reader reader = ipc_reader(payload);
        uint64_t ask = ipc_get_u64(&reader);
        uint8_t kind = ipc_get_u8(&reader);
        struct vr_str address = ipc_get_str(&reader);
        assert_true(ipc_done(&reader));
        assert_non_null(r->asked);
        r->asked(r, e, ask, kind, address);
    } else {
        assert_int_equal(type == IPC_INFLIGHT, e->first); /* the first frame, and only that */
        e->first = false;
        if (type == IPC_INFLIGHT)
            rig_inflight(r, e->number, payload);
        else
            rig_result(r, e->number, payload);
    }
    io_stop(r->io);
}

static inline void rig_closed(void *arg, int status)
{
    (void)status;
    struct rig_end *e = arg;
    io_channel_close(e->channel);
    e->channel = NULL;
    io_stop(e->rig->io);
}

static inline void rig_supervisor_frame(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    (void)payload, (void)fd;
    struct rig *r = arg;
    r->ready |= type == IPC_READY;
    io_stop(r->io);
}

static inline void rig_supervisor_closed(void *arg, int status)
{
    (void)status;
    struct rig *r = arg;
    r->gone = true;
    io_channel_close(r->supervisor);
    r->supervisor = NULL;
    io_stop(r->io);
}

/* Runs until the condition holds; fails the test when it does not in time. */
#define rig_until(rig, condition)                                                                            \
    do {                                                                                                     \
        int64_t end_ = io_env_clock_us() / 1000 + WAIT_MS;                                                   \
        while (!(condition)) {                                                                               \
            if (io_env_clock_us() / 1000 > end_)                                                             \
                fail_msg("waited in vain for " #condition);                                                  \
            rig_turn(rig);                                                                                   \
        }                                                                                                    \
    } while (0)

static inline void rig_turn(struct rig *r)
{
    struct io_timer *t = io_timer_new(r->io, stop_loop, r->io);
    io_timer_start(t, 20, 0);
    io_run(r->io);
    io_timer_free(t);
}

static inline void rig_attach(struct rig *r, int number, enum ipc_role role)
{
    static const struct io_channel_ops ops = {rig_frame, rig_closed};
    struct rig_end *e = &r->ends[number];
    int fds[2];
    assert_int_equal(io_channel_pair(fds), 0);
    struct vr_buf b;
    vr_buf_init(&b, 64);
    ipc_put_u32(&b, role);
    ipc_put_u32(&b, (uint32_t)(20 + number));
    ipc_put_u32(&b, (uint32_t)number);
    io_channel_send(r->supervisor, IPC_ATTACH, vr_buf_str(&b), fds[1]);
    vr_buf_fini(&b);
    *e = (struct rig_end){.rig = r, .number = number, .first = role == IPC_QUEUE};
    e->channel = io_channel_new(r->io, fds[0], &ops, e);
}

static inline void rig_detach(struct rig *r, int number)
{
    io_channel_close(r->ends[number].channel);
    r->ends[number].channel = NULL;
}

static inline void rig_config(struct rig *r, const char *text)
{
    struct config_load *l = config_load_text("test", vr_str_from(text));
    for (const struct config_problem *p = l->problems; l->config == NULL && p != NULL; p = p->next)
        print_error("line %d: %s\n", p->line, p->message);
    assert_non_null(l->config);
    r->config = config_take(l);
    if (getenv("RIG_LOG") == NULL)
        r->config->log_level = EVENT_ERROR + 1; /* silence */
    config_load_free(l);
}

/* The process starts; a queue is attached as end 0. The rig has its loop, folder and configuration. */
static inline void rig_start(struct rig *r, const struct process_ops *process)
{
    static const struct io_channel_ops ops = {rig_supervisor_frame, rig_supervisor_closed};
    int fds[2];
    assert_int_equal(io_channel_pair(fds), 0);
    fflush(NULL);
    r->child = fork();
    assert_true(r->child >= 0);
    if (r->child == 0) {
        for (int fd = 3; fd < 256;
             fd++) /* as io_supervise_fork does; listeners of the test must not be shared */
            if (fd != fds[1])
                close(fd);
        struct process_arguments a = {
            .ops = process, .config = r->config, .slot = 7, .supervisor_fd = fds[1], .foreground = true};
        _exit(process_main(&a));
    }
    close(fds[1]);
    r->supervisor = io_channel_new(r->io, fds[0], &ops, r);
    r->ready = r->gone = false;
    rig_attach(r, 0, IPC_QUEUE);
    rig_until(r, r->ready && r->inflight_frames > 0);
}

static inline void rig_drain(struct rig *r, uint32_t deadline_ms)
{
    io_channel_send(r->supervisor, IPC_DRAIN, vr_str((const char *)&deadline_ms, sizeof deadline_ms), -1);
}

/* The process has ended in order. */
static inline void rig_gone(struct rig *r)
{
    int status = 0;
    rig_until(r, r->gone);
    assert_int_equal(waitpid(r->child, &status, 0), r->child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the process ended with status 0x%x", status);
    r->child = 0;
}

static inline void rig_stop(struct rig *r)
{
    if (r->child > 0) {
        rig_drain(r, 1000);
        rig_gone(r);
    }
    for (int i = 0; i < ENDS_MAX; i++)
        io_channel_close(r->ends[i].channel);
    io_channel_close(r->supervisor);
    config_free(r->config);
    io_free(r->io);
}

/* Sends a delivery by end `number`; returns its id. */
static inline uint64_t rig_deliver_by(struct rig *r, int number, struct delivery *d, int fd)
{
    struct vr_buf b;
    vr_buf_init(&b, IO_FRAME_MAX);
    d->id = ++r->last_delivery;
    d->large = fd >= 0;
    if (fd < 0)
        d->content_size = d->content.n;
    ipc_put_delivery(&b, d);
    assert_false(b.too_big);
    io_channel_send(r->ends[number].channel, IPC_DELIVER, vr_buf_str(&b), fd);
    vr_buf_fini(&b);
    return d->id;
}

/* … and waits for the result. */
static inline const struct seen *rig_deliver(struct rig *r, struct delivery *d, int fd)
{
    size_t before = r->result_count;
    uint64_t id = rig_deliver_by(r, 0, d, fd);
    rig_until(r, r->result_count > before);
    const struct seen *s = &r->results[before];
    assert_int_equal(s->delivery, id);
    assert_int_equal(s->message, d->message);
    assert_int_equal(s->count, d->rcpt_count);
    for (uint32_t i = 0; i < s->count && i < RCPTS_MAX; i++)
        assert_int_equal(s->index[i], d->rcpts[i].index);
    return s;
}

static inline void expect(const struct seen *s, uint32_t i, enum delivery_status status, const char *enhanced,
                          const char *words)
{
    if (s->status[i] != status || strcmp(s->enhanced[i], enhanced) != 0 || strstr(s->text[i], words) == NULL)
        fail_msg("recipient %u: status %d %u %s \"%s\", expected status %d %s \"%s\"", i, s->status[i],
                 s->code[i], s->enhanced[i], s->text[i], status, enhanced, words);
}

#endif
