/* timer.c - io_timer on libuv's timer heap.
 *
 * Tests: tests/unit/io_loop.c
 */
#include "io/real/real.h"

struct io_timer {
    uv_timer_t uv;
    void (*fire)(void *arg);
    void *arg;
};

static void on_timer(uv_timer_t *uv)
{
    struct io_timer *t = CONTAINER(uv, struct io_timer, uv);
    t->fire(t->arg);
}

struct io_timer *io_timer_new(struct io *io, void (*fire)(void *arg), void *arg)
{
    struct io_timer *t = real_alloc(sizeof *t);
    t->fire = fire;
    t->arg = arg;
    t->uv.data = io;
    uv_timer_init(&io->uv, &t->uv);
    return t;
}

void io_timer_start(struct io_timer *t, int64_t after_ms, int64_t repeat_ms)
{
    struct io *io = t->uv.data;
    if (!io->running)
        uv_update_time(&io->uv); /* start-up may have taken long since the loop last looked at the clock */
    uv_timer_start(&t->uv, on_timer, after_ms > 0 ? (uint64_t)after_ms : 0,
                   repeat_ms > 0 ? (uint64_t)repeat_ms : 0);
}

void io_timer_stop(struct io_timer *t)
{
    uv_timer_stop(&t->uv);
}

static void on_closed(uv_handle_t *h)
{
    free(CONTAINER(h, struct io_timer, uv));
}

void io_timer_free(struct io_timer *t)
{
    if (t != NULL)
        uv_close((uv_handle_t *)&t->uv, on_closed);
}
