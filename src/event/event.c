/* event.c - see event.h. One buffer of lines; written whole at the end of the loop's turn.
 *
 * Promise:  a line is whole, one line and bounded, whatever strangers put into its values: what could end it, begin another key, or
 *           speak to a terminal is escaped. Silenced lines cost a comparison.
 * Not done here: rotation and shipping (journald's, the supervisor of the container's).
 * Tests: tests/unit/event.c
 */
#include "event/event.h"

#include "io/env.h"
#include "io/fs.h"
#include "ipc/ipc.h"

#include <veredus/message.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_MAX     (1u << 20)
#define FLUSH_AT       (64u << 10)
#define VALUE_MAX      1024        /* bytes of one value; longer ones are cut and marked with ... */
#define LINE_MAX       (64u << 10) /* of one line; values behind it are left out, and cut=yes says so */
#define STANDARD_ERROR 2

struct event_log {
    struct io *io;
    const char *process;
    enum event_format format;
    enum event_level level;
    bool priorities; /* "<6>" for the journal */
    bool colours;
    bool open; /* between begin and end, and not silenced */
    bool cut;  /* values of this line were left out */
    size_t line_start;
    struct vr_buf lines; /* below FLUSH_AT + LINE_MAX + one value, so nothing is ever too big for it */
};

static const struct {
    const char *name;
    const char *priority; /* sd-daemon(3) */
    const char *colour;
} levels[] = {
    [EVENT_DEBUG] = {"debug", "<7>", "\033[2m"},    [EVENT_INFO] = {"info", "<6>", "\033[32m"},
    [EVENT_NOTICE] = {"notice", "<5>", "\033[36m"}, [EVENT_WARNING] = {"warning", "<4>", "\033[33m"},
    [EVENT_ERROR] = {"error", "<3>", "\033[31m"},
};

static void flush_hook(void *arg)
{
    event_log_flush(arg);
}

struct event_log *event_log_new(struct io *io, const char *process, enum event_format format,
                                enum event_level level)
{
    struct event_log *l = calloc(1, sizeof *l);
    assert(l != NULL);
    l->io = io;
    l->process = process;
    l->format = format;
    l->level = level;
    l->priorities = io_is_journal(STANDARD_ERROR);
    l->colours = format == EVENT_KEY_VALUE && io_is_coloured(STANDARD_ERROR);
    vr_buf_init(&l->lines, BUFFER_MAX);
    if (io != NULL)
        io_on_turn_end(io, flush_hook, l);
    return l;
}

void event_log_free(struct event_log *l)
{
    if (l == NULL)
        return;
    event_log_flush(l);
    if (l->io != NULL)
        io_off_turn_end(l->io, flush_hook, l);
    vr_buf_fini(&l->lines);
    free(l);
}

void event_log_flush(struct event_log *l)
{
    struct vr_str lines = vr_buf_str(&l->lines);
    if (lines.n == 0)
        return;
    (void)io_fs_write(STANDARD_ERROR, lines.p,
                      lines.n); /* nobody is left to tell when standard error is gone */
    vr_buf_reset(&l->lines);
}

static void add_escaped_byte(struct vr_buf *b, unsigned char c, bool json)
{
    if (c == '"' || c == '\\') {
        vr_buf_add_byte(b, '\\');
        vr_buf_add_byte(b, (char)c);
    } else if (c < 0x20 || c == 0x7f) {
        vr_buf_addf(b, json ? "\\u%04x" : "\\x%02x", c);
    } else {
        vr_buf_add_byte(b, (char)c);
    }
}

/* Characters beyond ASCII that are no letters: C1 controls (U+009B begins a terminal's command as ESC [ does), line and paragraph
 * separators, and those that turn the direction of what follows. Bytes of the one at p, 0 when it is none; s is valid UTF-8. */
static size_t unsafe_length(struct vr_str s, unsigned *code)
{
    const unsigned char *p = (const unsigned char *)s.p;
    if (s.n >= 2 && p[0] == 0xc2 && p[1] < 0xa0) {
        *code = p[1];
        return 2;
    }
    if (s.n < 3 || p[0] != 0xe2 || (p[1] != 0x80 && p[1] != 0x81))
        return 0;
    *code = 0x2000u + (p[1] - 0x80u) * 64 + (p[2] - 0x80u);
    bool unsafe = (*code >= 0x2028 && *code <= 0x202e) || (*code >= 0x2066 && *code <= 0x2069);
    return unsafe ? 3 : 0;
}

/* JSON is text: bytes that are no UTF-8 are told as the characters of the same number. */
static void add_unsafe(struct vr_buf *b, struct vr_str s, unsigned code, bool json)
{
    for (size_t i = 0; i < (json ? 0 : s.n); i++)
        vr_buf_addf(b, "\\x%02x", (unsigned char)s.p[i]);
    if (json)
        vr_buf_addf(b, "\\u%04x", code);
}

static void add_quoted(struct vr_buf *b, struct vr_str s, bool json)
{
    bool valid = vr_utf8_valid(s);
    vr_buf_add_byte(b, '"');
    for (size_t i = 0; i < s.n;) {
        unsigned code = (unsigned char)s.p[i];
        size_t n = code < 0x80 ? 0 : valid ? unsafe_length(vr_str_from_pos(s, i), &code) : 1;
        if (n > 0)
            add_unsafe(b, vr_str_sub(s, i, n), code, json);
        else
            add_escaped_byte(b, (unsigned char)s.p[i], json);
        i += n > 0 ? n : 1;
    }
}

static bool is_plain(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return s.n > 0;
}

/* At most VALUE_MAX bytes, and no half of a character at their end. */
static struct vr_str clip(struct vr_str s)
{
    size_t n = VALUE_MAX;
    if (s.n <= n)
        return s;
    for (int i = 0; i < 3 && ((unsigned char)s.p[n] & 0xc0) == 0x80; i++)
        n--;
    return vr_str(s.p, n);
}

static void add_value(struct event_log *l, struct vr_str whole)
{
    struct vr_str s = clip(whole);
    bool quoted = l->format == EVENT_JSON || !is_plain(s);
    if (quoted)
        add_quoted(&l->lines, s, l->format == EVENT_JSON);
    else
        vr_buf_add(&l->lines, s);
    if (s.n < whole.n)
        vr_buf_add(&l->lines, VR_STR("..."));
    if (quoted)
        vr_buf_add_byte(&l->lines, '"');
}

static bool line_full(struct event_log *l)
{
    l->cut |= vr_buf_size(&l->lines) - l->line_start > LINE_MAX;
    return l->cut;
}

static void add_key(struct event_log *l, const char *key)
{
    if (l->format == EVENT_JSON)
        vr_buf_addf(&l->lines, ",\"%s\":", key);
    else
        vr_buf_addf(&l->lines, " %s=", key);
}

void event_begin(struct event_log *l, enum event_level level, const char *name, uint64_t queue_id)
{
    assert(!l->open);
    if (level < l->level)
        return;
    if (vr_buf_size(&l->lines) > FLUSH_AT)
        event_log_flush(l);
    l->open = true;
    l->cut = false;
    l->line_start = vr_buf_size(&l->lines);
    char time[MESSAGE_RFC3339_SIZE];
    size_t n = message_rfc3339_write(time, l->io != NULL ? io_now_us(l->io) : io_env_clock_us());
    if (l->format == EVENT_JSON) {
        vr_buf_addf(&l->lines, "%s{\"time\":\"%.*s\",\"level\":\"%s\",\"process\":\"%s\",\"event\":\"%s\"",
                    l->priorities ? levels[level].priority : "", (int)n, time, levels[level].name, l->process,
                    name);
    } else {
        vr_buf_addf(&l->lines, "%s%.*s %s%s%s %s %s", l->priorities ? levels[level].priority : "", (int)n,
                    time, l->colours ? levels[level].colour : "", levels[level].name,
                    l->colours ? "\033[0m" : "", l->process, name);
    }
    if (queue_id != 0) {
        char id[QUEUE_ID_TEXT];
        queue_id_text(queue_id, id);
        event_text(l, "id", id);
    }
}

void event_str(struct event_log *l, const char *key, struct vr_str value)
{
    if (!l->open || line_full(l))
        return;
    add_key(l, key);
    add_value(l, value);
}

void event_text(struct event_log *l, const char *key, const char *value)
{
    event_str(l, key, vr_str_from(value));
}

void event_u64(struct event_log *l, const char *key, uint64_t value)
{
    if (!l->open || line_full(l))
        return;
    add_key(l, key);
    vr_buf_add_u64(&l->lines, value);
}

void event_end(struct event_log *l)
{
    if (!l->open)
        return;
    if (l->cut) {
        add_key(l, "cut");
        add_value(l, VR_STR("yes"));
    }
    if (l->format == EVENT_JSON)
        vr_buf_add_byte(&l->lines, '}');
    vr_buf_add_byte(&l->lines, '\n');
    l->open = false;
    if (l->io == NULL) /* no loop: no end of a turn */
        event_log_flush(l);
}
