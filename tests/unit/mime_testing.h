/* mime_testing.h - what the tests of the MIME module share: texts with "\n" become messages with CRLF. */
#ifndef TESTS_MIME_TESTING_H
#define TESTS_MIME_TESTING_H

#include "lib_testing.h"

#include <veredus/mime.h>

/* "\n" → CRLF; "\r" stays alone. */
static inline struct vr_str crlf(struct vr_str text)
{
    struct vr_buf b;
    vr_buf_init(&b, 1u << 20);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\n')
            vr_buf_add_byte(&b, '\r');
        vr_buf_add_byte(&b, text.p[i]);
    }
    struct vr_str copy = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return copy;
}

/* A text of a table, which may hold NULs. */
#define TEXT(literal) VR_STR_INIT(literal)

/* The ways in which a message is cut: whole, in octets, in two pieces at any place. */
#define EVERY_CUT(message, cut)                                                                              \
    size_t cut = 0;                                                                                          \
    cut <= (message).n + 1;                                                                                  \
    cut++

static inline struct vr_str cut_piece(struct vr_str *rest, size_t cut, size_t whole)
{
    size_t n = cut == 0 ? rest->n : cut > whole ? 1 : rest->n == whole ? cut : rest->n;
    struct vr_str piece = vr_str_sub(*rest, 0, n);
    *rest = vr_str_from_pos(*rest, n);
    return piece;
}

#endif
