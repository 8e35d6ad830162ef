/* io_testing.h - what the tests of src/io share: a loop with a guard against hanging, temporary folders. */
#ifndef TESTS_IO_TESTING_H
#define TESTS_IO_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "folder_testing.h"

#include "io/io.h"

#define GUARD_MS 20000

static inline void guard_fired(void *arg)
{
    (void)arg;
    fprintf(stderr, "the test's loop ran for %d ms without coming to its end\n", GUARD_MS);
    abort();
}

/* Runs the loop until something calls io_stop; aborts when nothing does. */
static inline void run_guarded(struct io *io)
{
    struct io_timer *guard = io_timer_new(io, guard_fired, NULL);
    io_timer_start(guard, GUARD_MS, 0);
    io_run(io);
    io_timer_free(guard);
}

static inline void stop_loop(void *io)
{
    io_stop(io);
}

/* Runs the loop for a while. */
static inline void run_for(struct io *io, int64_t ms)
{
    struct io_timer *t = io_timer_new(io, stop_loop, io);
    io_timer_start(t, ms, 0);
    run_guarded(io);
    io_timer_free(t);
}

static inline void folder_make(char folder[64])
{
    assert_true(folder_new(folder));
}

#endif
