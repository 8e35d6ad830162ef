/* io_loop.c - tests of src/io/io.h: turns, timers, workers, signals, clocks, randomness. */
#include "io_testing.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

struct log {
    struct io *io;
    char text[64];
    struct io_timer *timer;
    int count;
};

static void note(struct log *l, char c)
{
    size_t n = strlen(l->text);
    assert_true(n + 1 < sizeof l->text);
    l->text[n] = c;
    l->text[n + 1] = '\0';
}

static void first(void *arg)
{
    note(arg, '1');
}
static void second(void *arg)
{
    note(arg, '2');
}
static void third_and_stop(void *arg)
{
    struct log *l = arg;
    note(l, '3');
    io_stop(l->io);
}

static void timers_fire_in_order(void **state)
{
    (void)state;
    struct io *io = io_new(1);
    struct log l = {.io = io};
    struct io_timer *c = io_timer_new(io, third_and_stop, &l), *a = io_timer_new(io, first, &l),
                    *b = io_timer_new(io, second, &l), *never = io_timer_new(io, second, &l);
    io_timer_start(c, 30, 0);
    io_timer_start(a, 1, 0);
    io_timer_start(b, 500, 0);
    io_timer_start(b, 10, 0); /* moves it */
    io_timer_start(never, 5, 0);
    io_timer_stop(never);
    int64_t before = io_monotonic_ms(io);
    run_guarded(io);
    assert_string_equal(l.text, "123");
    assert_true(io_monotonic_ms(io) - before >= 29);
    io_timer_free(a);
    io_timer_free(b);
    io_timer_free(c);
    io_timer_free(never);
    io_timer_free(NULL);
    io_free(io);
}

static void repeat(void *arg)
{
    struct log *l = arg;
    if (++l->count == 3) {
        io_timer_free(l->timer); /* from inside its own callback */
        io_stop(l->io);
    }
}

static void timer_repeats_and_is_freed_inside(void **state)
{
    (void)state;
    struct io *io = io_new(1);
    struct log l = {.io = io};
    l.timer = io_timer_new(io, repeat, &l);
    io_timer_start(l.timer, 1, 2);
    run_guarded(io);
    run_for(io, 10);
    assert_int_equal(l.count, 3);
    io_free(io);
}

static void hook_a(void *arg)
{
    note(arg, 'a');
}
static void hook_b(void *arg)
{
    note(arg, 'b');
}

static void hooks_run_at_the_end_of_the_last_turn(void **state)
{
    (void)state;
    struct io *io = io_new(1);
    struct log l = {.io = io};
    struct io_timer *t = io_timer_new(io, third_and_stop, &l);
    io_on_turn_end(io, hook_a, &l);
    io_on_turn_end(io, hook_b, &l);
    io_timer_start(t, 5, 0);
    run_guarded(io);
    char *stopped = strchr(l.text, '3');
    assert_non_null(stopped);
    assert_memory_equal(stopped, "3ab", 3); /* what the stopping turn gathered is still written */
    assert_true(stopped - l.text >= 2);     /* and a turn before it slept had its end, too */
    io_timer_free(t);
    io_free(io);
}

struct job {
    struct io *io;
    pthread_t worker;
    bool worked;
    int *left;
};

static void work(void *arg)
{
    struct job *j = arg;
    j->worker = pthread_self();
    j->worked = true;
}

static void done(void *arg)
{
    struct job *j = arg;
    assert_true(j->worked);
    assert_false(pthread_equal(j->worker, pthread_self()));
    if (--*j->left == 0)
        io_stop(j->io);
}

static void work_runs_elsewhere_and_comes_back(void **state)
{
    (void)state;
    struct io *io = io_new(3);
    struct job jobs[20];
    int left = 20;
    for (int i = 0; i < 20; i++) {
        jobs[i] = (struct job){.io = io, .left = &left};
        io_work(io, work, done, &jobs[i]);
    }
    run_guarded(io);
    assert_int_equal(left, 0);
    assert_string_equal(getenv("UV_THREADPOOL_SIZE"), "3");
    io_free(io);
}

static void caught(void *arg, int signum)
{
    struct log *l = arg;
    l->count = signum;
    io_stop(l->io);
}

static void signals_come_as_callbacks(void **state)
{
    (void)state;
    struct io *io = io_new(1);
    struct log l = {.io = io};
    io_on_signal(io, SIGUSR2, caught, &l);
    kill(getpid(), SIGUSR2);
    run_guarded(io);
    assert_int_equal(l.count, SIGUSR2);
    io_free(io);
}

static void clocks_and_randomness(void **state)
{
    (void)state;
    struct io *io = io_new(1);
    unsigned char a[32] = {0}, b[32] = {0}, none[32] = {0};
    assert_true(io_now_us(io) > INT64_C(1700000000) * 1000000);
    io_random(io, a, sizeof a);
    io_random(io, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, none, sizeof a);
    assert_string_equal(io_error_text(-ENOENT), "No such file or directory");
    assert_string_equal(io_error_text(-999999), "unknown error");
    io_free(io);
}

static void stop_before_run_ends_it_at_once(void **state)
{
    (void)state;
    struct io *io = io_new(1);
    io_stop(io);
    io_run(io);
    io_free(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order),
        cmocka_unit_test(timer_repeats_and_is_freed_inside),
        cmocka_unit_test(hooks_run_at_the_end_of_the_last_turn),
        cmocka_unit_test(work_runs_elsewhere_and_comes_back),
        cmocka_unit_test(signals_come_as_callbacks),
        cmocka_unit_test(clocks_and_randomness),
        cmocka_unit_test(stop_before_run_ends_it_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
