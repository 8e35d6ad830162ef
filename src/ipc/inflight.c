/* inflight.c - see inflight.h.
 *
 * Tests: tests/unit/sender.c, tests/unit/local.c
 */
#include "ipc/inflight.h"

#include "io/fs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define JOB_ARENA    (32u << 20) /* recipients and replies; a bound, not a size */
#define TEXTS_MAX    (1u << 20)  /* bytes of all replies of a result: it must fit into a frame */
#define INFLIGHT_MAX (IO_FRAME_MAX / 2)

/* A result that was told or waits for a queue. */
struct report {
    uint64_t message;
    uint32_t rcpt_count;
    bool told;
    int64_t told_ms;
    size_t size;
    uint32_t *indexes;
    char *payload;
    TAILQ_ENTRY(report) entry;
};

struct inflight {
    struct process *process;
    TAILQ_HEAD(, inflight_job) jobs;
    TAILQ_HEAD(, report)
    reports; /* told ones first, in the order of their telling; the untold stand behind them */
    size_t told, untold;
};

struct inflight *inflight_new(struct process *p)
{
    struct inflight *f = calloc(1, sizeof *f);
    assert(f != NULL);
    f->process = p;
    TAILQ_INIT(&f->jobs);
    TAILQ_INIT(&f->reports);
    return f;
}

/* ---- jobs ------------------------------------------------------------------------------------------------------- */

static void job_free(struct inflight_job *j)
{
    if (j->fd >= 0)
        io_fs_close(j->fd);
    vr_arena_fini(&j->arena);
    free(j->payload);
    free(j);
}

static bool is_sound(const struct inflight_job *j)
{
    const struct delivery *d = &j->d;
    return d->rcpt_count > 0 && (d->large || (j->fd < 0 && d->content.n == d->content_size));
}

struct inflight_job *inflight_take(struct inflight *f, const struct peer *queue, struct vr_str payload,
                                   int fd)
{
    struct inflight_job *j = calloc(1, sizeof *j);
    char *copy = malloc(payload.n > 0 ? payload.n : 1);
    assert(j != NULL && copy != NULL);
    memcpy(copy, payload.p, payload.n);
    j->payload = copy;
    j->fd = fd;
    j->started_ms = io_monotonic_ms(f->process->io);
    vr_arena_init(&j->arena, JOB_ARENA);
    struct ipc_reader r = ipc_reader(vr_str(copy, payload.n));
    bool good = ipc_get_delivery(&r, &j->arena, &j->d) && is_sound(j);
    if (good)
        j->results = vr_arena_alloc(&j->arena, j->d.rcpt_count * sizeof *j->results);
    if (!good || j->results == NULL) {
        event_begin(f->process->log, EVENT_ERROR, "delivery.malformed", j->d.message);
        event_text(f->process->log, "error",
                   "the queue sent a delivery that cannot be read; its recipients stay there");
        event_end(f->process->log);
        job_free(j);
        return NULL;
    }
    if (queue != process_peer(f->process, IPC_QUEUE)) {
        job_free(j);
        return NULL;
    }
    for (uint32_t i = 0; i < j->d.rcpt_count; i++)
        j->results[i] = (struct delivery_rcpt_result){
            .index = j->d.rcpts[i].index, .status = DELIVERY_CANCELLED, .attempt = j->d.rcpts[i].attempt};
    j->open = j->d.rcpt_count;
    TAILQ_INSERT_TAIL(&f->jobs, j, entry);
    if (j->d.large && fd < 0) {
        inflight_settle_rest(j, DELIVERY_TEMPORARY, 0, VR_STR("4.3.0"),
                             VR_STR("this server has no descriptor left to read the message by"));
        inflight_report(f, j);
        return NULL;
    }
    return j;
}

/* An open recipient has no enhanced status yet; a settled one always has. */
bool inflight_is_open(const struct inflight_job *j, uint32_t i)
{
    return j->results[i].enhanced.n == 0;
}

static struct vr_str status_or_default(enum delivery_status status, struct vr_str enhanced)
{
    static const struct vr_str defaults[] = {[DELIVERY_OK] = {"2.0.0", 5},
                                             [DELIVERY_TEMPORARY] = {"4.0.0", 5},
                                             [DELIVERY_PERMANENT] = {"5.0.0", 5},
                                             [DELIVERY_NO_MAILBOX] = {"5.1.1", 5},
                                             [DELIVERY_CANCELLED] = {"4.3.2", 5}};
    /* A status whose class contradicts the reply code is the remote's mistake: the code counts (RFC 3463 §2). */
    return enhanced.n > 0 && enhanced.p[0] == defaults[status].p[0] ? enhanced : defaults[status];
}

void inflight_settle(struct inflight_job *j, uint32_t i, enum delivery_status status, uint16_t code,
                     struct vr_str enhanced, struct vr_str text)
{
    assert(inflight_is_open(j, i) && j->open > 0);
    size_t room = TEXTS_MAX / j->d.rcpt_count;
    struct delivery_rcpt_result *r = &j->results[i];
    if (enhanced.n > 0 &&
        vr_str_starts(text, enhanced)) /* a server's text begins with it: told once is enough */
        text = vr_str_trim(vr_str_from_pos(text, enhanced.n));
    r->status = status;
    r->code = code;
    r->text =
        vr_arena_dup(&j->arena, vr_str_sub(text, 0, room < INFLIGHT_TEXT_MAX ? room : INFLIGHT_TEXT_MAX));
    r->enhanced = vr_arena_dup(&j->arena, vr_str_sub(status_or_default(status, enhanced), 0, 11));
    if (r->enhanced.n == 0) /* the arena is full: the constant will do */
        r->enhanced = status_or_default(status, vr_str(NULL, 0));
    j->open--;
}

void inflight_settle_rest(struct inflight_job *j, enum delivery_status status, uint16_t code,
                          struct vr_str enhanced, struct vr_str text)
{
    for (uint32_t i = 0; i < j->d.rcpt_count && j->open > 0; i++)
        if (inflight_is_open(j, i))
            inflight_settle(j, i, status, code, enhanced, text);
}

/* ---- reports ------------------------------------------------------------------------------------------------------ */

static void report_free(struct inflight *f, struct report *r)
{
    TAILQ_REMOVE(&f->reports, r, entry);
    *(r->told ? &f->told : &f->untold) -= 1;
    free(r->indexes);
    free(r->payload);
    free(r);
}

static void forget_old(struct inflight *f)
{
    int64_t now = io_monotonic_ms(f->process->io);
    struct report *r;
    while ((r = TAILQ_FIRST(&f->reports)) != NULL && r->told &&
           (f->told > INFLIGHT_REPEAT_MAX || now - r->told_ms > INFLIGHT_REPEAT_MS))
        report_free(f, r);
}

static void tell(struct inflight *f, struct report *r, struct peer *queue)
{
    io_channel_send(queue->channel, IPC_RESULT, vr_str(r->payload, r->size), -1);
    r->told_ms = io_monotonic_ms(f->process->io);
    if (!r->told) {
        r->told = true;
        f->told++;
        f->untold--;
    }
}

static struct report *report_new(struct inflight *f, const struct inflight_job *j)
{
    struct delivery_result result = {.delivery = j->d.id,
                                     .message = j->d.message,
                                     .remote_mta = j->remote_mta,
                                     .remote_ip = j->remote_ip,
                                     .dsn_relayed_on = j->dsn_relayed_on,
                                     .by_relayed_on = j->by_relayed_on,
                                     .tls = j->tls,
                                     .form = (uint8_t)j->form,
                                     .unreachable = j->unreachable,
                                     .duration_ms =
                                         (uint32_t)(io_monotonic_ms(f->process->io) - j->started_ms),
                                     .rcpts = j->results,
                                     .rcpt_count = j->d.rcpt_count};
    struct vr_buf *b = process_frame(f->process);
    ipc_put_result(b, &result);
    assert(!b->too_big); /* inflight_settle bounds the texts */
    struct report *r = calloc(1, sizeof *r);
    assert(r != NULL);
    r->message = j->d.message;
    r->rcpt_count = j->d.rcpt_count;
    r->size = vr_buf_size(b);
    r->payload = malloc(r->size);
    r->indexes = calloc(r->rcpt_count, sizeof *r->indexes);
    assert(r->payload != NULL && r->indexes != NULL);
    memcpy(r->payload, vr_buf_str(b).p, r->size);
    for (uint32_t i = 0; i < r->rcpt_count; i++)
        r->indexes[i] = j->d.rcpts[i].index;
    return r;
}

void inflight_report(struct inflight *f, struct inflight_job *j)
{
    assert(j->open == 0);
    struct report *r = report_new(f, j);
    TAILQ_REMOVE(&f->jobs, j, entry);
    job_free(j);
    TAILQ_INSERT_TAIL(&f->reports, r, entry);
    f->untold++;
    struct peer *queue = process_peer(f->process, IPC_QUEUE);
    if (queue != NULL)
        tell(f, r, queue);
    forget_old(f);
}

/* ---- a queue comes -------------------------------------------------------------------------------------------------- */

static void put_item(struct vr_buf *b, uint64_t message, uint32_t count)
{
    ipc_put_u64(b, message);
    ipc_put_u32(b, count);
}

void inflight_attached(struct inflight *f, struct peer *queue)
{
    forget_old(f);
    struct vr_buf items;
    vr_buf_init(&items, IO_FRAME_MAX - 64);
    uint32_t n = 0;
    struct inflight_job *j;
    struct report *r;
    TAILQ_FOREACH(j, &f->jobs, entry)
    {
        if (vr_buf_size(&items) + 4ull * j->d.rcpt_count > INFLIGHT_MAX)
            break; /* at worst these are delivered twice: a frame has its bound */
        put_item(&items, j->d.message, j->d.rcpt_count);
        for (uint32_t i = 0; i < j->d.rcpt_count; i++)
            ipc_put_u32(&items, j->d.rcpts[i].index);
        n++;
    }
    TAILQ_FOREACH(r, &f->reports, entry)
    {
        if (vr_buf_size(&items) + 4ull * r->rcpt_count > INFLIGHT_MAX)
            break;
        put_item(&items, r->message, r->rcpt_count);
        for (uint32_t i = 0; i < r->rcpt_count; i++)
            ipc_put_u32(&items, r->indexes[i]);
        n++;
    }
    struct vr_buf *b = process_frame(f->process);
    ipc_put_u32(b, n);
    vr_buf_add(b, vr_buf_str(&items));
    vr_buf_fini(&items);
    peer_send(queue, IPC_INFLIGHT, b, -1);
    TAILQ_FOREACH(r, &f->reports, entry)
    tell(f, r, queue);
}

bool inflight_idle(const struct inflight *f)
{
    return TAILQ_EMPTY(&f->jobs) && f->untold == 0;
}

struct inflight_job *inflight_first(const struct inflight *f)
{
    return TAILQ_FIRST(&f->jobs);
}
