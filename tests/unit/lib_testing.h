/* lib_testing.h - what tests of the library share: cmocka's headers, an arena for each test, comparing slices. */
#ifndef TESTS_LIB_TESTING_H
#define TESTS_LIB_TESTING_H

#include <veredus/base.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct vr_arena arena;

static inline int arena_setup(void **state)
{
    (void)state;
    vr_arena_init(&arena, 4u << 20);
    return 0;
}

static inline int arena_teardown(void **state)
{
    (void)state;
    vr_arena_fini(&arena);
    return 0;
}

/* A test with an arena of its own. */
#define T(f) cmocka_unit_test_setup_teardown(f, arena_setup, arena_teardown)

static inline void assert_text(struct vr_str got, const char *wanted)
{
    if (!vr_str_equal(got, vr_str_from(wanted)))
        fail_msg("got \"%.*s\", wanted \"%s\"", VR_STR_ARG(got), wanted);
}

static inline bool has(struct vr_str text, const char *part)
{
    return vr_str_find_str(text, vr_str_from(part)) != VR_NPOS;
}

#endif
