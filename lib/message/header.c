/* header.c - the fields of a header: reading them where they stand, writing them folded (RFC 5322 §2.2, §3.6).
 *
 * Tests: tests/unit/message.c
 */
#include <veredus/message.h>

#include <string.h>

#define LINE_WANTED 78 /* RFC 5322 §2.1.1 */
#define LINE_MAX    998

void header_reader_init(struct header_reader *r, struct vr_str message)
{
    *r = (struct header_reader){.rest = message};
}

/* The next line of s with its line end; a last line without one is a line too. */
static struct vr_str line_of(struct vr_str s)
{
    size_t lf = vr_str_find(s, '\n');
    return vr_str_sub(s, 0, lf == VR_NPOS ? s.n : lf + 1);
}

static struct vr_str without_line_end(struct vr_str line)
{
    if (line.n > 0 && line.p[line.n - 1] == '\n')
        line.n--;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

/* ftext: printable US-ASCII without ":" (RFC 5322 §3.6.8); the colon may stand behind blanks (§4.5.1). */
static bool split_name(struct vr_str line, struct header_field *field)
{
    size_t n = 0;
    while (n < line.n && line.p[n] > ' ' && line.p[n] < 0x7f && line.p[n] != ':')
        n++;
    size_t colon = n;
    while (colon < line.n && (line.p[colon] == ' ' || line.p[colon] == '\t'))
        colon++;
    if (n == 0 || colon == line.n || line.p[colon] != ':')
        return false;
    field->name = vr_str_sub(line, 0, n);
    field->body = vr_str_from_pos(line, colon + 1);
    return true;
}

bool header_next(struct header_reader *r, struct header_field *field)
{
    if (r->done)
        return false;
    struct vr_str line = line_of(r->rest), content = without_line_end(line);
    if (content.n == 0) { /* the blank line, or the end of input */
        r->done = true;
        r->rest = vr_str_from_pos(r->rest, line.n);
        return false;
    }
    if (!split_name(content, field)) {
        r->done = r->malformed = true;
        return false;
    }
    struct vr_str rest = vr_str_from_pos(r->rest, line.n);
    size_t n = line.n;
    while (rest.n > 0 && (rest.p[0] == ' ' || rest.p[0] == '\t')) {
        struct vr_str more = line_of(rest);
        n += more.n;
        rest = vr_str_from_pos(rest, more.n);
    }
    field->raw = vr_str_sub(r->rest, 0, n);
    struct vr_str whole = without_line_end(field->raw);
    field->body.n = (size_t)(whole.p + whole.n - field->body.p);
    r->rest = rest;
    return true;
}

struct vr_str header_body(const struct header_reader *r)
{
    return r->rest;
}

bool header_find(struct vr_str message, struct vr_str name, struct header_field *field)
{
    struct header_reader r;
    header_reader_init(&r, message);
    while (header_next(&r, field))
        if (vr_str_equal_nocase(field->name, name))
            return true;
    return false;
}

unsigned header_count(struct vr_str message, struct vr_str name)
{
    struct header_reader r;
    struct header_field field;
    unsigned n = 0;
    header_reader_init(&r, message);
    while (header_next(&r, &field))
        n += vr_str_equal_nocase(field.name, name);
    return n;
}

struct vr_str header_first_body(struct vr_str text)
{
    for (size_t i = 0; i + 1 < text.n; i++)
        if (text.p[i] == '\n' && text.p[i + 1] != ' ' && text.p[i + 1] != '\t')
            return vr_str_sub(text, 0, i);
    return text;
}

struct vr_str header_unfold(struct vr_arena *arena, struct vr_str field_body)
{
    struct vr_str copy = vr_arena_dup(arena, vr_str_trim(field_body));
    char *p = (char *)copy.p;
    size_t n = 0;
    for (size_t i = 0; i < copy.n; i++)
        if (p[i] != '\r' && p[i] != '\n') /* the blank that follows the line end stays (§2.2.3) */
            p[n++] = p[i];
    copy.n = n;
    return copy;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

/* Appends one line's worth of `word`s; a blank may become a fold, so control bytes become blanks first. */
struct folder {
    struct vr_buf *out;
    size_t column;
};

static void add_word(struct folder *f, struct vr_str blanks, struct vr_str word)
{
    blanks = vr_str_sub(blanks, 0, LINE_WANTED); /* more of them say nothing, and could fill a line */
    if (f->column > 1 && f->column + blanks.n + word.n > LINE_WANTED && blanks.n > 0) {
        vr_buf_add(f->out, VR_STR("\r\n"));
        f->column = 0;
    }
    vr_buf_add(f->out, blanks);
    f->column += blanks.n;
    while (f->column + word.n >
           LINE_MAX) { /* one word that no line can hold: broken by force, nothing else may be */
        size_t part = f->column < LINE_MAX ? LINE_MAX - f->column : 0;
        for (int i = 0; i < 3 && part > 0 && ((unsigned char)word.p[part] & 0xC0) == 0x80; i++)
            part--; /* not within a UTF-8 sequence */
        vr_buf_add(f->out, vr_str_sub(word, 0, part));
        vr_buf_add(f->out, VR_STR("\r\n "));
        word = vr_str_from_pos(word, part);
        f->column = 1;
    }
    vr_buf_add(f->out, word);
    f->column += word.n;
}

static size_t blanks_at(struct vr_str s)
{
    size_t n = 0;
    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t'))
        n++;
    return n;
}

static size_t word_at(struct vr_str s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
        n++;
    return n;
}

static void write_folded(struct folder *f, struct vr_str text)
{
    while (text.n > 0) {
        size_t blanks = blanks_at(text);
        size_t word = word_at(vr_str_from_pos(text, blanks));
        if (word == 0)
            return; /* blanks at the end say nothing, and a line of blanks would be obsolete folding */
        add_word(f, vr_str_sub(text, 0, blanks), vr_str_sub(text, blanks, word));
        text = vr_str_from_pos(text, blanks + word);
    }
}

/* RFC 2047 §4.1, Q-free: B encoding in words of at most 75 characters, cut between UTF-8 sequences. */
static void write_encoded(struct folder *f, struct vr_str text)
{
    enum { BYTES = 42 }; /* 12 + 56 characters */
    struct vr_str blank = VR_STR(" ");
    struct vr_buf word;
    vr_buf_init(&word, 128);
    while (text.n > 0) {
        size_t n = text.n < BYTES ? text.n : BYTES;
        while (n > 1 && n < text.n && ((unsigned char)text.p[n] & 0xC0) == 0x80)
            n--;
        vr_buf_reset(&word);
        vr_buf_add(&word, VR_STR("=?UTF-8?B?"));
        vr_base64_encode(&word, vr_str_sub(text, 0, n));
        vr_buf_add(&word, VR_STR("?="));
        add_word(f, blank, vr_buf_str(&word));
        text = vr_str_from_pos(text, n);
    }
    vr_buf_fini(&word);
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

bool header_write(struct vr_buf *out, struct vr_str name, struct vr_str body, bool encode)
{
    struct folder f = {.out = out, .column = name.n + 1};
    struct vr_buf clean;
    vr_buf_init(&clean, body.n + 2);
    vr_buf_add_byte(&clean, ' ');
    for (size_t i = 0; i < body.n; i++)
        vr_buf_add_byte(&clean, is_control(body.p[i]) ? ' ' : body.p[i]);
    struct vr_str text = vr_buf_str(&clean);
    while (text.n > 0 && text.p[text.n - 1] == ' ')
        text.n--;
    vr_buf_add(out, name);
    vr_buf_add_byte(out, ':');
    if (encode && !vr_str_is_ascii(text))
        write_encoded(&f, vr_str_trim(text));
    else
        write_folded(&f, text);
    vr_buf_add(out, VR_STR("\r\n"));
    vr_buf_fini(&clean);
    return !out->too_big;
}
