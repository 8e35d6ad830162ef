/* buffer_testing.h - lib_testing.h with a buffer beside the arena, and looking for a part of a text. */
#ifndef TESTS_BUFFER_TESTING_H
#define TESTS_BUFFER_TESTING_H

#include "lib_testing.h"

static struct vr_buf buf;

static inline int setup(void **state)
{
    vr_buf_init(&buf, 4u << 20);
    return arena_setup(state);
}

static inline int teardown(void **state)
{
    vr_buf_fini(&buf);
    return arena_teardown(state);
}

static inline void assert_str(struct vr_str a, struct vr_str b)
{
    if (!vr_str_equal(a, b))
        fail_msg("\"%.*s\" is not \"%.*s\"", VR_STR_ARG(a), VR_STR_ARG(b));
}

static inline void assert_has(struct vr_str text, const char *part)
{
    if (vr_str_find_str(text, vr_str_from(part)) == VR_NPOS)
        fail_msg("\"%s\" is not in: %.*s", part, VR_STR_ARG(text));
}

#endif
