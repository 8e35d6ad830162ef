/* dovecot_lines.c - see dovecot_lines.h.
 *
 * Tests: tests/unit/dovecot_lines.c, tests/fuzz/fuzz_dovecot.c
 */
#include "keeper/dovecot_lines.h"

#include <string.h>

#define ESCAPE '\001'

/* ---- reading -------------------------------------------------------------------------------------------------- */

static struct vr_str unescape(struct vr_arena *arena, struct vr_str s)
{
    char *out = vr_arena_alloc(arena, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; out != NULL && i < s.n; i++) {
        char c = s.p[i];
        if (c == ESCAPE && i + 1 < s.n) {
            c = s.p[++i];
            c = c == '0' ? '\0' : c == '1' ? ESCAPE : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'n' ? '\n' : c;
        }
        out[n++] = c;
    }
    return vr_str(out, n);
}

static bool read_id(struct vr_str *rest, uint32_t *id)
{
    struct vr_str field;
    uint64_t n;
    if (!vr_str_split(rest, '\t', &field) || !vr_str_to_u64(field, &n) || n > INT32_MAX)
        return false;
    *id = (uint32_t)n;
    return true;
}

static void read_parameters(struct vr_arena *arena, struct vr_str rest, struct dovecot_line *out)
{
    struct vr_str field;
    while (vr_str_split(&rest, '\t', &field)) {
        if (vr_str_starts(field, VR_STR("user=")))
            out->user = unescape(arena, vr_str_from_pos(field, 5));
        else if (vr_str_starts(field, VR_STR("reason=")))
            out->reason = unescape(arena, vr_str_from_pos(field, 7));
        else if (vr_str_equal(field, VR_STR("temp")) || vr_str_equal(field, VR_STR("code=temp_fail")))
            out->temporary = true;
    }
}

static void read_version(struct vr_str rest, struct dovecot_line *out)
{
    struct vr_str major;
    if (!vr_str_split(&rest, '\t', &major) || !vr_str_equal(major, VR_STR("1")))
        out->word = DOVECOT_MALFORMED;
}

static void read_mech(struct vr_str rest, struct dovecot_line *out)
{
    struct vr_str name;
    if (!vr_str_split(&rest, '\t', &name) || !vr_str_equal_nocase(name, VR_STR("PLAIN")))
        out->word = DOVECOT_OTHER;
}

static const struct {
    const char *name;
    enum dovecot_word word;
    bool has_id;
} words[] = {
    {"VERSION", DOVECOT_VERSION, false},
    {"MECH", DOVECOT_MECH_PLAIN, false},
    {"SPID", DOVECOT_SPID, false},
    {"DONE", DOVECOT_DONE, false},
    {"OK", DOVECOT_OK, true},
    {"FAIL", DOVECOT_FAIL, true},
    {"CONT", DOVECOT_CONT, true},
    {"USER", DOVECOT_USER, true},
    {"NOTFOUND", DOVECOT_NOTFOUND, true},
};

struct dovecot_line dovecot_read(struct vr_arena *arena, struct vr_str line)
{
    struct dovecot_line out = {.word = DOVECOT_OTHER};
    struct vr_str rest = line, name = {0};
    vr_str_split(&rest, '\t', &name);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!vr_str_equal(name, vr_str_from(words[i].name)))
            continue;
        out.word = words[i].word;
        if (words[i].has_id && !read_id(&rest, &out.id)) {
            out.word = DOVECOT_MALFORMED;
            return out;
        }
        if (out.word == DOVECOT_VERSION)
            read_version(rest, &out);
        else if (out.word == DOVECOT_MECH_PLAIN)
            read_mech(rest, &out);
        else if (out.word == DOVECOT_USER) /* its name is a field of its own */
            out.user = unescape(arena, vr_str_sub(rest, 0, vr_str_find(rest, '\t')));
        else if (words[i].has_id)
            read_parameters(arena, rest, &out);
    }
    return out;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

static void put_escaped(struct vr_buf *out, struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        static const char special[] = {'\0', ESCAPE, '\t', '\r', '\n'}, letters[] = "01trn";
        const char *at = memchr(special, s.p[i], sizeof special);
        if (at != NULL)
            vr_buf_add_byte(out, ESCAPE);
        vr_buf_add_byte(out, at != NULL ? letters[at - special] : s.p[i]);
    }
}

void dovecot_put_hello(struct vr_buf *out, bool master, int process_id)
{
    vr_buf_add(out, VR_STR("VERSION\t1\t1\n"));
    if (!master)
        vr_buf_addf(out, "CPID\t%d\n", process_id);
}

static bool ended(struct vr_buf *out, size_t before)
{
    vr_buf_add_byte(out, '\n');
    return !out->too_big && vr_buf_size(out) - before <= DOVECOT_LINE_MAX;
}

bool dovecot_put_auth(struct vr_buf *out, uint32_t id, struct vr_str user, struct vr_str password,
                      struct vr_str client)
{
    size_t before = vr_buf_size(out);
    if ((user.n > 0 && memchr(user.p, '\0', user.n) != NULL) ||
        (password.n > 0 && memchr(password.p, '\0', password.n) != NULL))
        return false;
    struct vr_buf plain;
    vr_buf_init(&plain, DOVECOT_LINE_MAX);
    vr_buf_add_byte(&plain, '\0');
    vr_buf_add(&plain, user);
    vr_buf_add_byte(&plain, '\0');
    vr_buf_add(&plain, password);
    /* secured: whether a password may go over the network in clear was decided where it came in */
    vr_buf_addf(out, "AUTH\t%u\tPLAIN\tservice=smtp\tsecured", (unsigned)id);
    if (client.n > 0) {
        vr_buf_add(out, VR_STR("\trip="));
        put_escaped(out, client);
    }
    vr_buf_add(out, VR_STR("\tresp=")); /* must be the last field */
    bool good = !plain.too_big && vr_base64_encode(out, vr_buf_str(&plain));
    if (plain.p != NULL)
        explicit_bzero(plain.p, plain.capacity);
    vr_buf_fini(&plain);
    return ended(out, before) && good;
}

bool dovecot_put_user(struct vr_buf *out, uint32_t id, struct vr_str user)
{
    size_t before = vr_buf_size(out);
    if (user.n > 0 && memchr(user.p, '\0', user.n) != NULL)
        return false;
    vr_buf_addf(out, "USER\t%u\t", (unsigned)id);
    put_escaped(out, user);
    vr_buf_add(out, VR_STR("\tservice=smtp"));
    return ended(out, before);
}
