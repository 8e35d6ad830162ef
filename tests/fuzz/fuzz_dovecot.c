/* fuzz_dovecot.c - any bytes as what a Dovecot says: every line has a meaning, and names in it are as short as the line. What we say is one line, whatever the name. */
#include "keeper/dovecot_lines.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(struct vr_str line)
{
    struct vr_arena arena;
    vr_arena_init(&arena, 4 * DOVECOT_LINE_MAX);
    struct dovecot_line l = dovecot_read(&arena, line);
    assert(l.word <= DOVECOT_MALFORMED);
    assert(l.id <= INT32_MAX);
    assert(l.user.n <= line.n && l.reason.n <= line.n);
    vr_arena_fini(&arena);
}

static void check_said(struct vr_str user, struct vr_str rest)
{
    struct vr_buf out;
    for (int kind = 0; kind < 2; kind++) {
        vr_buf_init(&out, 4 * DOVECOT_LINE_MAX);
        if (kind == 0 ? dovecot_put_user(&out, 7, user) : dovecot_put_auth(&out, 7, user, rest, user)) {
            struct vr_str said = vr_buf_str(&out);
            assert(said.n <= DOVECOT_LINE_MAX);
            assert(vr_str_find(said, '\n') == said.n - 1); /* nothing begins another line */
            assert(memchr(said.p, '\0', said.n) == NULL);
            size_t tabs = 0;
            for (size_t i = 0; i < said.n; i++)
                tabs += said.p[i] == '\t';
            assert(tabs == (kind == 0 ? 3u : 5u + (user.n > 0)));
        }
        vr_buf_fini(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_str all = vr_str((const char *)data, size), rest = all, line;
    if (size > DOVECOT_LINE_MAX)
        return 0;
    while (vr_str_split(&rest, '\n', &line))
        check_line(line);
    size_t half = size / 2;
    check_said(vr_str_sub(all, 0, half), vr_str_from_pos(all, half));
    return 0;
}
