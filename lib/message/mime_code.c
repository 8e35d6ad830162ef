/* mime_code.c - bodies on their way into 7 or 8 bits: quoted-printable, base64, and what is merely cleaned (RFC 2045 §6.7, §6.8).
 *
 * Promise: what is written decodes to what was read, octet for octet; its lines have at most 76 octets; no line of it can be a delimiter that was none
 *          before ("--" at the start of a line is never written), none begins with "From " or "." (RFC 2049 §3); the result does not depend on
 *          how the input was cut, since an octet is looked at only when those behind it that matter are known.
 * Tests:   tests/unit/mime_convert.c, tests/fuzz/fuzz_mime.c
 */
#include "mime_inside.h"

#include <assert.h>
#include <string.h>

#define LINE  76
#define AHEAD 5 /* octets from where we are that decide what is done there: "From ", or "=41" and CRLF */

static bool has_room(const struct mime_sink *s)
{
    return s->p == NULL || s->room - s->n >= MIME_SINK_MIN;
}

static void put(struct mime_sink *s, struct vr_str bytes)
{
    if (s->p != NULL)
        memcpy(s->p + s->n, bytes.p, bytes.n);
    s->n += bytes.n;
}

static void put_byte(struct mime_sink *s, char c)
{
    if (s->p != NULL)
        s->p[s->n] = c;
    s->n++;
}

/* ---- quoted-printable ------------------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

static bool is_plain(char c)
{
    return (c >= ' ' && c <= '~' && c != '=') || c == '\t';
}

/* What must not stand at the beginning of a line, though it could elsewhere. */
static bool is_bad_start(struct vr_str rest)
{
    return vr_str_starts(rest, VR_STR(".")) || vr_str_starts(rest, VR_STR("--")) ||
           vr_str_starts(rest, VR_STR("From "));
}

static bool ends_line(struct vr_str rest, size_t at, enum mime_follows follows)
{
    return vr_str_starts(vr_str_from_pos(rest, at), VR_STR("\r\n")) ||
           (rest.n == at && follows != FOLLOWS_MORE);
}

/* Are these all plain, and no tabs? Eight at a time. */
static bool all_plain(struct vr_str s)
{
    const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
    uint64_t word, bad = 0;
    size_t i = 0;
    for (; i + sizeof word <= s.n; i += sizeof word) {
        memcpy(&word, s.p + i, sizeof word);
        uint64_t equals = word ^ (ones * '='), del = word ^ (ones * 0x7f);
        bad |= word | ((word - ones * ' ') & ~word) | ((equals - ones) & ~equals) | ((del - ones) & ~del);
    }
    bool good = (bad & tops) == 0;
    for (; i < s.n; i++)
        good &= is_plain(s.p[i]) && s.p[i] != '\t';
    return good;
}

/* The length of a whole line at the start of `rest` that is its own encoding; 0: there is none. Only faster than going through it. */
static size_t plain_line(struct vr_str rest)
{
    size_t lf = vr_str_find(vr_str_sub(rest, 0, LINE + 2), '\n');
    if (lf == VR_NPOS || lf == 0 || rest.p[lf - 1] != '\r' || is_bad_start(rest))
        return 0;
    if (lf > 1 && is_blank(rest.p[lf - 2]))
        return 0;
    return all_plain(vr_str_sub(rest, 0, lf - 1)) ? lf + 1 : 0;
}

/* How many octets at the start of `rest` stand for themselves wherever the line may end. Only faster, too. */
static size_t plain_run(const struct mime_qp *q, struct vr_str rest)
{
    size_t n = 0, room = LINE - 1 - q->column;
    if (q->column == 0 && is_bad_start(rest))
        return 0;
    while (n < room && n + AHEAD <= rest.n && is_plain(rest.p[n]) &&
           (!is_blank(rest.p[n]) || is_plain(rest.p[n + 1])))
        n++;
    return n;
}

/* What is written for the octets at the start of `rest`. */
struct token {
    char text[3];
    uint8_t n, taken;
};

static struct token literal(struct vr_str rest, uint8_t n)
{
    struct token t = {.n = n, .taken = n};
    memcpy(t.text, rest.p, n);
    return t;
}

static struct token escaped(char c)
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned char byte = (unsigned char)c;
    return (struct token){.text = {'=', digits[byte >> 4], digits[byte & 15]}, .n = 3, .taken = 1};
}

/* "=" in what claims to be quoted-printable. Before a blank it may be a soft line break with blanks behind it. */
static struct token equals_sign(struct vr_str rest)
{
    if (rest.n >= 3 && is_hex(rest.p[1]) && is_hex(rest.p[2]))
        return literal(rest, 3);
    if (rest.n == 1 || is_blank(rest.p[1]))
        return literal(rest, rest.n == 1 ? 1 : 2);
    return escaped('=');
}

static struct token token_at(const struct mime_qp *q, struct vr_str rest, enum mime_follows follows)
{
    char c = rest.p[0];
    if (q->repair && c == '=')
        return equals_sign(rest);
    if (!is_plain(c) || (q->column == 0 && is_bad_start(rest)))
        return escaped(c);
    if (is_blank(c) && !q->repair && ends_line(rest, 1, follows))
        return escaped(c); /* rule (3): blanks at the end of a line do not last */
    return literal(rest, 1);
}

/* A whole line or a run of octets as they are: returns how many; 0: it must be gone through. */
static size_t copy_plain(struct mime_qp *q, struct mime_sink *sink, struct vr_str rest)
{
    size_t line = q->column == 0 ? plain_line(rest) : 0;
    size_t n = line > 0 ? line : q->column < LINE - 1 ? plain_run(q, rest) : 0;
    put(sink, vr_str_sub(rest, 0, n));
    q->column = line > 0 ? 0 : (uint8_t)(q->column + n);
    return n;
}

static size_t break_line(struct mime_qp *q, struct mime_sink *sink, struct vr_str with, size_t taken)
{
    put(sink, with);
    q->column = 0;
    return taken;
}

/* One step at the start of `rest`: returns how much of it was taken, which is nothing when a soft line break had to come first. */
static size_t qp_step(struct mime_qp *q, struct mime_sink *sink, struct vr_str rest,
                      enum mime_follows follows)
{
    size_t n = copy_plain(q, sink, rest);
    if (n > 0)
        return n;
    if (vr_str_starts(rest, VR_STR("\r\n")))
        return break_line(q, sink, VR_STR("\r\n"), 2);
    if (q->repair && vr_str_starts(rest, VR_STR("=\r\n")))
        return break_line(q, sink, VR_STR("=\r\n"), 3);
    if (q->repair && vr_str_starts(rest, VR_STR("=\n"))) /* readers take it for one, too */
        return break_line(q, sink, VR_STR("=\r\n"), 2);
    struct token t = token_at(q, rest, follows);
    bool last = ends_line(rest, t.taken, follows) && !(rest.n == t.taken && follows == FOLLOWS_NOTHING);
    if (q->column + t.n > (last ? LINE : LINE - 1))
        return break_line(q, sink, VR_STR("=\r\n"), 0);
    put(sink, vr_str(t.text, t.n));
    q->column = (uint8_t)(q->column + t.n);
    return t.taken;
}

static size_t qp_run(struct mime_qp *q, struct mime_sink *sink, struct vr_str in, size_t until,
                     enum mime_follows follows)
{
    size_t i = 0;
    while (i < until && (in.n - i >= AHEAD || follows != FOLLOWS_MORE) && has_room(sink))
        i += qp_step(q, sink, vr_str_from_pos(in, i), follows);
    return i;
}

static void hold(struct mime_qp *q, struct vr_str rest)
{
    assert(rest.n <= sizeof q->held);
    memmove(q->held, rest.p, rest.n);
    q->held_n = (uint8_t)rest.n;
}

/* What is held, with as much of `in` as it takes to be done with it. Returns how much of `in` that was. */
static size_t qp_held(struct mime_qp *q, struct mime_sink *sink, struct vr_str in)
{
    char joint[sizeof q->held + AHEAD];
    size_t held = q->held_n, n = held + (in.n < AHEAD ? in.n : AHEAD);
    memcpy(joint, q->held, held);
    memcpy(joint + held, in.p, n - held);
    size_t done = qp_run(q, sink, vr_str(joint, n), held, FOLLOWS_MORE);
    if (done >= held) {
        q->held_n = 0;
        return done - held;
    }
    bool wait = has_room(sink); /* for more input, else for room */
    hold(q, vr_str(joint + done, (wait ? n : held) - done));
    return wait ? in.n : 0;
}

size_t mime_qp_put(struct mime_qp *q, struct mime_sink *sink, struct vr_str in)
{
    size_t taken = 0;
    if (in.n == 0)
        return 0;
    if (q->held_n > 0) {
        taken = qp_held(q, sink, in);
        if (q->held_n > 0)
            return taken;
    }
    taken += qp_run(q, sink, vr_str_from_pos(in, taken), in.n - taken, FOLLOWS_MORE);
    if (!has_room(sink))
        return taken;
    hold(q, vr_str_from_pos(in, taken));
    return in.n;
}

void mime_qp_end(struct mime_qp *q, struct mime_sink *sink, enum mime_follows follows)
{
    char rest[sizeof q->held];
    size_t n = q->held_n;
    memcpy(rest, q->held, n);
    q->held_n = 0;
    for (size_t i = 0; i < n;)
        i += qp_step(q, sink, vr_str(rest + i, n - i), follows);
    if (follows == FOLLOWS_NOTHING && q->column > 0 && !q->repair)
        put(sink, VR_STR("=\r\n")); /* the CRLF that ends the message is none of the content's */
    q->column = 0;
}

/* ---- base64 ----------------------------------------------------------------------------------------------------------- */

static void put_group(struct mime_base64 *b, struct mime_sink *sink, const char *p, size_t n)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char in[3] = {0};
    memcpy(in, p, n);
    if (b->column == LINE) {
        put(sink, VR_STR("\r\n"));
        b->column = 0;
    }
    const char out[] = {alphabet[in[0] >> 2], alphabet[(in[0] & 3) << 4 | in[1] >> 4],
                        n > 1 ? alphabet[(in[1] & 15) << 2 | in[2] >> 6] : '=',
                        n > 2 ? alphabet[in[2] & 63] : '='};
    put(sink, vr_str(out, 4));
    b->column = (uint8_t)(b->column + 4);
}

size_t mime_base64_put(struct mime_base64 *b, struct mime_sink *sink, struct vr_str in)
{
    size_t i = 0;
    while (i < in.n && has_room(sink)) {
        if (b->held_n == 0 && in.n - i >= 3) {
            put_group(b, sink, in.p + i, 3);
            i += 3;
            continue;
        }
        b->held[b->held_n++] = in.p[i++];
        if (b->held_n == 3) {
            put_group(b, sink, b->held, 3);
            b->held_n = 0;
        }
    }
    return i;
}

void mime_base64_end(struct mime_base64 *b, struct mime_sink *sink, enum mime_follows follows)
{
    if (b->held_n > 0)
        put_group(b, sink, b->held, b->held_n);
    if (b->column > 0 && follows == FOLLOWS_NOTHING)
        put(sink, VR_STR("\r\n"));
    *b = (struct mime_base64){0};
}

uint64_t mime_base64_size(uint64_t octets, enum mime_follows follows)
{
    uint64_t characters = (octets + 2) / 3 * 4;
    if (octets == 0)
        return 0;
    return characters + (characters - 1) / LINE * 2 + (follows == FOLLOWS_NOTHING ? 2 : 0);
}

/* ---- cleaning --------------------------------------------------------------------------------------------------------- */

static void put_clean(struct mime_cleaner *c, struct mime_sink *sink, char byte)
{
    if (c->column == MIME_LINE_MAX) {
        put(sink, VR_STR("\r\n ")); /* the blank: what follows must not become a delimiter */
        c->column = 1;
    }
    put_byte(sink, byte);
    c->column++;
}

size_t mime_clean_put(struct mime_cleaner *c, struct mime_sink *sink, struct vr_str in)
{
    size_t i = 0;
    for (; i < in.n && has_room(sink); i++) {
        char byte = in.p[i];
        if (c->cr && byte == '\n') {
            put(sink, VR_STR("\r\n"));
            c->cr = false;
            c->column = 0;
            continue;
        }
        if (c->cr)
            put_clean(c, sink, c->instead);
        c->cr = byte == '\r';
        if (!c->cr)
            put_clean(c, sink,
                      byte == '\0' || byte == '\n' || ((byte & 0x80) != 0 && !c->eight_bit) ? c->instead
                                                                                            : byte);
    }
    return i;
}

void mime_clean_end(struct mime_cleaner *c, struct mime_sink *sink)
{
    if (c->cr)
        put_clean(c, sink, c->instead);
    c->cr = false;
    c->column = 0;
}
