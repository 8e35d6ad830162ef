/* mime_reader.c - bytes of a message → its parts, fields, bodies and delimiters (RFC 2045, 2046).
 *
 * Promise:    the bytes of the events, in order, are the message, however it was cut; memory is the struct; nothing is an error.
 * States:     of each open entity: HEADER -> LEAF, PREAMBLE (multipart) or CHILD (message/rfc822) at the end of its header; PREAMBLE or CHILD
 *             -> CHILD at a delimiter, -> EPILOGUE at the last one. The innermost level is the one that reads, and is never a CHILD.
 * Invariants: (1) what waits in `held` is the beginning of a line (with the CRLF before it) that may yet become a delimiter or a field; it has no
 *             CRLF but that first one (2) bytes that were given out as content never end in CR or CRLF while a delimiter could follow: those
 *             are held, since they belong to the delimiter (RFC 2046 §5.1.1)
 * Delimiters: a whole line of "--", boundary, "--" perhaps, blanks; the innermost boundary first. RFC 2046 §5.1.1 would let a line do that only
 *             begins so; but then a boundary that is the beginning of another would end the wrong multipart, and readers of today compare lines.
 *             A multipart ends at a delimiter of one around it, too (§5.1.2), and at the end of the message.
 * Tests:      tests/unit/mime.c, tests/fuzz/fuzz_mime.c
 */
#include <veredus/mime.h>

#include <assert.h>
#include <string.h>

#define FIELD_NAME_MAX 256
#define PADDING_MAX    64 /* blanks behind a delimiter */
#define DELIMITER_MAX  (MIME_BOUNDARY_MAX + 2 + PADDING_MAX)

enum level_state { HEADER, LEAF, PREAMBLE, EPILOGUE, CHILD };
enum line_state {
    AT_START, /* of a line: what was before it is told */
    AT_CRLF,  /* of what may be a CRLF and a line behind it */
    WITHIN
};

void mime_reader_init(struct mime_reader *r)
{
    *r = (struct mime_reader){.part_due = true};
}

void mime_reader_feed(struct mime_reader *r, struct vr_str bytes)
{
    assert(r->in.n == 0 && !r->ended);
    r->in = bytes;
}

void mime_reader_end(struct mime_reader *r)
{
    assert(r->in.n == 0);
    r->ended = true;
}

static struct mime_level *top(struct mime_reader *r)
{
    return &r->levels[r->depth - 1];
}

static enum mime_event_kind tell(struct mime_reader *r, struct mime_event *ev, enum mime_event_kind kind,
                                 struct vr_str bytes)
{
    *ev = (struct mime_event){.kind = kind, .bytes = bytes, .depth = r->depth - 1, .part = top(r)->part};
    return kind;
}

/* n bytes of what was held, all of it then, or else of what was fed. */
static struct vr_str take(struct mime_reader *r, size_t n)
{
    if (r->held_n > 0) {
        assert(n == r->held_n);
        r->held_n = 0;
        return vr_str(r->held, n);
    }
    struct vr_str taken = vr_str_sub(r->in, 0, n);
    r->in = vr_str_from_pos(r->in, n);
    return taken;
}

/* ---- looking at the beginning of a line ------------------------------------------------------------------------------- */

enum looks {
    LOOKS_MORE, /* cannot be said yet */
    LOOKS_NO,   /* no delimiter; in a header: no field either */
    LOOKS_DELIMITER,
    LOOKS_BLANK,
    LOOKS_FOLDED,
    LOOKS_FIELD,
    LOOKS_FROM /* a line of a mailbox file, "From x Mon …": in the header, but no field */
};

struct look {
    enum looks what;
    size_t n;       /* how many bytes are it */
    unsigned level; /* LOOKS_DELIMITER */
    bool closes;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool all_blank(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_blank(s.p[i]))
            return false;
    return true;
}

/* May `text`, which follows "--", be a delimiter of this boundary, or become one when the line is not whole? */
static bool fits(struct vr_str text, struct vr_str boundary, bool whole, bool *closes)
{
    size_t common = text.n < boundary.n ? text.n : boundary.n;
    if (memcmp(text.p, boundary.p, common) != 0)
        return false;
    if (text.n < boundary.n)
        return !whole;
    struct vr_str rest = vr_str_from_pos(text, boundary.n);
    *closes = vr_str_starts(rest, VR_STR("--"));
    return all_blank(*closes ? vr_str_from_pos(rest, 2) : rest) ||
           (!whole && vr_str_equal(rest, VR_STR("-")));
}

static struct look find_level(const struct mime_reader *r, struct vr_str text, bool whole)
{
    struct look l = {.what = LOOKS_NO};
    for (l.level = r->depth; l.level-- > 0;) {
        const struct mime_level *level = &r->levels[l.level];
        if (level->boundary_n > 0 &&
            fits(text, vr_str(level->boundary, level->boundary_n), whole, &l.closes)) {
            l.what = whole ? LOOKS_DELIMITER : LOOKS_MORE;
            break;
        }
    }
    return l;
}

/* `line` begins where a line does. */
static struct look look_at_line(const struct mime_reader *r, struct vr_str line, bool final)
{
    const struct look no = {.what = LOOKS_NO}, more = {.what = final ? LOOKS_NO : LOOKS_MORE};
    if (!vr_str_starts(VR_STR("--"), vr_str_sub(line, 0, 2)))
        return no;
    if (line.n < 2)
        return more;
    struct vr_str text = vr_str_sub(line, 2, DELIMITER_MAX);
    size_t cr = vr_str_find(text, '\r');
    bool whole = cr != VR_NPOS || (final && line.n == 2 + text.n);
    if (cr == VR_NPOS && !whole && text.n == DELIMITER_MAX)
        return no;
    struct look l = find_level(r, vr_str_sub(text, 0, cr), whole);
    if (l.what != LOOKS_DELIMITER || cr == VR_NPOS) {
        l.n = line.n;
        return l;
    }
    if (2 + cr + 1 == line.n)
        return more;
    l.n = 2 + cr + 2;
    return line.p[2 + cr + 1] == '\n' ? l : no;
}

static struct look look_at_text(const struct mime_reader *r, struct vr_str view, bool final)
{
    size_t before = r->line == AT_CRLF ? 2 : 0;
    struct look l = {.what = LOOKS_NO};
    if (!vr_str_starts(VR_STR("\r\n"), vr_str_sub(view, 0, before)))
        return l;
    if (view.n < before) {
        l.what = final ? LOOKS_NO : LOOKS_MORE;
        return l;
    }
    l = look_at_line(r, vr_str_from_pos(view, before), final);
    l.n += before;
    return l;
}

/* RFC 5322 §3.6.8, §4.5.1; Postfix and Python pass over a mailbox's From line in the same way. */
static struct look look_at_field(struct vr_str view, bool final)
{
    struct look l = {.what = LOOKS_NO};
    size_t name = 0;
    view = vr_str_sub(view, 0, FIELD_NAME_MAX);
    while (name < view.n && view.p[name] > ' ' && view.p[name] < 0x7f && view.p[name] != ':')
        name++;
    size_t colon = name;
    while (colon < view.n && is_blank(view.p[colon]))
        colon++;
    struct vr_str word = vr_str_sub(view, 0, name);
    bool from = colon > name && (vr_str_equal(word, VR_STR("From")) || vr_str_equal(word, VR_STR(">From")));
    if (colon == view.n && colon < FIELD_NAME_MAX && !final)
        l.what = LOOKS_MORE;
    else if (name > 0 && colon < view.n && view.p[colon] == ':')
        l = (struct look){.what = LOOKS_FIELD, .n = colon + 1};
    else if (from)
        l = (struct look){.what = LOOKS_FROM, .n = colon};
    return l;
}

static struct look look_at_header(const struct mime_reader *r, struct vr_str view, bool final)
{
    struct look l = {.what = final ? LOOKS_NO : LOOKS_MORE};
    if (view.n == 0 || (view.n == 1 && view.p[0] == '\r'))
        return l;
    if (is_blank(view.p[0]))
        return (struct look){.what = LOOKS_FOLDED};
    if (vr_str_starts(view, VR_STR("\r\n")))
        return (struct look){.what = LOOKS_BLANK, .n = 2};
    if (r->open > 0 && (l = look_at_line(r, view, final)).what != LOOKS_NO)
        return l;
    return look_at_field(view, final);
}

/* Looks at what is held and fed until it can be said what it is. What cannot be said yet is held; afterwards nothing that was fed is left. When
 * the answer is not about all that is held, the byte that told it is given back. */
static struct look look(struct mime_reader *r)
{
    bool header = top(r)->state == HEADER, added = false;
    for (;;) {
        struct vr_str view = r->held_n > 0 ? vr_str(r->held, r->held_n) : r->in;
        bool final = r->ended;
        struct look l = header ? look_at_header(r, view, final) : look_at_text(r, view, final);
        if (l.what != LOOKS_MORE) {
            if (added && (l.what == LOOKS_NO || (l.what == LOOKS_FROM && l.n < r->held_n))) {
                r->held_n--;
                r->in = vr_str(r->in.p - 1, r->in.n + 1);
            }
            return l;
        }
        size_t n = r->held_n == 0 ? r->in.n : r->in.n > 0;
        if (n == 0)
            return l;
        assert(r->held_n + n <= MIME_HELD_MAX);
        added = r->held_n > 0;
        memcpy(r->held + r->held_n, r->in.p, n);
        r->held_n += n;
        r->in = vr_str_from_pos(r->in, n);
        if (!added)
            return l;
    }
}

/* ---- entities --------------------------------------------------------------------------------------------------------- */

static enum mime_event_kind begin_part(struct mime_reader *r, struct mime_event *ev)
{
    bool inner = r->depth > 0;
    bool digest = inner && top(r)->digest;
    bool is_message = !inner || top(r)->boundary_n == 0;
    r->levels[r->depth++] = (struct mime_level){.part = r->part_count++, .state = HEADER};
    r->part = (struct mime_part){.number = top(r)->part,
                                 .is_message = is_message,
                                 .type = "text",
                                 .subtype = "plain",
                                 .encoding = MIME_ENCODING_7BIT};
    if (digest) { /* RFC 2046 §5.1.5 */
        strcpy(r->part.type, "message");
        strcpy(r->part.subtype, "rfc822");
    }
    r->part_due = r->field_open = r->in_field = false;
    r->boundary_n = 0;
    r->line = AT_START;
    return tell(r, ev, MIME_PART, vr_str(NULL, 0));
}

static enum mime_event_kind end_part(struct mime_reader *r, struct mime_event *ev)
{
    tell(r, ev, MIME_PART_END, vr_str(NULL, 0));
    ev->last = r->ended && r->keep == 0;
    if (top(r)->boundary_n > 0) {
        r->open--;
        r->notes |= MIME_NOTE_UNCLOSED;
    }
    r->depth--;
    return ev->kind;
}

/* A delimiter was found: what is within its multipart ends, then comes the delimiter itself. */
static enum mime_event_kind at_delimiter(struct mime_reader *r, struct mime_event *ev)
{
    if (r->depth > r->keep)
        return end_part(r, ev);
    struct mime_level *level = top(r);
    tell(r, ev, MIME_BOUNDARY, take(r, r->delimiter_n));
    ev->last = r->closes;
    r->keep = 0;
    r->line = AT_START;
    if (r->closes) {
        level->boundary_n = 0;
        level->state = EPILOGUE;
        r->open--;
    } else {
        level->state = CHILD;
        r->part_due = true;
    }
    return ev->kind;
}

/* ---- header ----------------------------------------------------------------------------------------------------------- */

static enum mime_field field_of(struct vr_str name)
{
    static const struct {
        struct vr_str name;
        enum mime_field field;
    } fields[] = {
        {VR_STR_INIT("content-type"), MIME_FIELD_CONTENT_TYPE},
        {VR_STR_INIT("content-transfer-encoding"), MIME_FIELD_CONTENT_TRANSFER_ENCODING},
        {VR_STR_INIT("mime-version"), MIME_FIELD_MIME_VERSION},
        {VR_STR_INIT("dkim-signature"), MIME_FIELD_DKIM_SIGNATURE},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (vr_str_equal_nocase(name, fields[i].name))
            return fields[i].field;
    return vr_str_starts_nocase(name, VR_STR("content-")) ? MIME_FIELD_CONTENT_OTHER : MIME_FIELD_OTHER;
}

static void note(struct mime_reader *r, unsigned bit)
{
    r->notes |= bit;
    r->part.notes |= bit;
}

static void store_name(char out[MIME_NAME_MAX + 1], struct vr_str name)
{
    for (size_t i = 0; i < name.n; i++)
        out[i] = vr_lower(name.p[i]);
    out[name.n] = '\0';
}

/* A boundary that lines can be compared with: printable, no blank at its end (RFC 2046 §5.1.1). */
static void store_boundary(struct mime_reader *r, struct vr_str field_body)
{
    struct vr_buf b;
    vr_buf_init(&b, MIME_BOUNDARY_MAX);
    enum vr_err err = mime_param(field_body, VR_STR("boundary"), &b);
    struct vr_str boundary = vr_buf_str(&b);
    while (boundary.n > 0 && is_blank(boundary.p[boundary.n - 1]))
        boundary.n--;
    for (size_t i = 0; i < boundary.n; i++)
        if (boundary.p[i] < ' ' || boundary.p[i] > '~')
            err = VR_ERR_SYNTAX;
    if (err == VR_OK && boundary.n > 0) {
        memcpy(r->boundary, boundary.p, boundary.n);
        r->boundary_n = boundary.n;
    }
    vr_buf_fini(&b);
}

static void read_type(struct mime_reader *r, struct vr_str field_body)
{
    struct mime_part *p = &r->part;
    struct vr_str type, subtype;
    if (p->has_type) {
        note(r, MIME_NOTE_REPEATED_FIELD);
        return;
    }
    p->has_type = true;
    bool good = mime_type_parse(field_body, &type, &subtype);
    if (!good) {
        note(r, MIME_NOTE_BAD_TYPE);
        type = VR_STR("text");
        subtype = VR_STR("plain");
    } else if (type.n > MIME_NAME_MAX || subtype.n > MIME_NAME_MAX) {
        type = VR_STR("application");
        subtype = VR_STR("octet-stream");
    }
    store_name(p->type, type);
    store_name(p->subtype, subtype);
    if (strcmp(p->type, "multipart") == 0)
        store_boundary(r, field_body);
}

static void read_encoding(struct mime_reader *r, struct vr_str field_body)
{
    if (r->part.has_encoding)
        note(r, MIME_NOTE_REPEATED_FIELD);
    else
        r->part.encoding = mime_encoding_parse(field_body);
    r->part.has_encoding = true;
}

static enum mime_event_kind end_field(struct mime_reader *r, struct mime_event *ev)
{
    struct vr_str body = vr_str(r->value, r->value_n);
    r->field_open = false;
    if (r->field == MIME_FIELD_CONTENT_TYPE)
        read_type(r, body);
    else if (r->field == MIME_FIELD_CONTENT_TRANSFER_ENCODING)
        read_encoding(r, body);
    else if (r->field == MIME_FIELD_MIME_VERSION)
        r->part.has_version = true;
    tell(r, ev, MIME_FIELD_END, vr_str(NULL, 0));
    ev->field = r->field;
    ev->body = vr_str_trim(body);
    return ev->kind;
}

static void begin_field(struct mime_reader *r, enum mime_field field)
{
    r->field = field;
    r->field_open = r->in_field = true;
    r->collect = field != MIME_FIELD_OTHER && field != MIME_FIELD_DKIM_SIGNATURE;
    r->value_n = 0;
    r->last_cr = false;
}

static void collect(struct mime_reader *r, struct vr_str bytes)
{
    size_t room = MIME_VALUE_MAX - r->value_n;
    if (bytes.n > room)
        note(r, MIME_NOTE_LONG_FIELD);
    bytes = vr_str_sub(bytes, 0, room);
    memcpy(r->value + r->value_n, bytes.p, bytes.n);
    r->value_n += bytes.n;
}

/* Bytes of a field up to the end of its line, or as many as there are. */
static enum mime_event_kind read_field(struct mime_reader *r, struct mime_event *ev)
{
    struct vr_str from = r->in;
    size_t n = from.n;
    for (size_t at = 0, lf; (lf = vr_str_find(vr_str_from_pos(from, at), '\n')) != VR_NPOS; at += lf + 1) {
        size_t i = at + lf;
        if (i > 0 ? from.p[i - 1] == '\r' : r->last_cr) {
            r->in_field = false; /* a folded line goes on with it */
            n = i + 1;
            break;
        }
    }
    r->last_cr = from.p[n - 1] == '\r';
    if (r->collect)
        collect(r, vr_str_sub(from, 0, n));
    tell(r, ev, MIME_FIELD, take(r, n));
    ev->field = r->field;
    return ev->kind;
}

static bool is_composite_encoding(enum mime_encoding e)
{
    return e == MIME_ENCODING_QUOTED_PRINTABLE || e == MIME_ENCODING_BASE64 || e == MIME_ENCODING_PRIVATE;
}

/* What the part is, from all that its header said; the level is made ready for what follows. */
static void choose_shape(struct mime_reader *r)
{
    struct mime_part *p = &r->part;
    struct mime_level *level = top(r);
    bool multipart = strcmp(p->type, "multipart") == 0, encoded = is_composite_encoding(p->encoding);
    bool message = strcmp(p->type, "message") == 0 && strcmp(p->subtype, "rfc822") == 0;
    level->state = LEAF;
    if (!multipart && !message)
        return;
    if (encoded)
        note(r, MIME_NOTE_ENCODED_COMPOSITE);
    p->opaque = true;
    if (message && encoded)
        return;
    if (multipart && r->boundary_n == 0) {
        note(r, MIME_NOTE_NO_BOUNDARY);
    } else if (r->depth == MIME_DEPTH_MAX) {
        note(r, MIME_NOTE_TOO_DEEP);
    } else {
        p->opaque = false;
        p->shape = multipart ? MIME_MULTIPART : MIME_MESSAGE;
        level->state = multipart ? PREAMBLE : CHILD;
    }
    if (p->shape == MIME_MULTIPART) {
        level->digest = strcmp(p->subtype, "digest") == 0;
        level->boundary_n = (uint8_t)r->boundary_n;
        memcpy(level->boundary, r->boundary, r->boundary_n);
        r->open++;
    }
    r->part_due = p->shape == MIME_MESSAGE;
}

static enum mime_event_kind end_header(struct mime_reader *r, struct mime_event *ev, const struct look *l)
{
    struct vr_str bytes = vr_str(NULL, 0);
    if (l->what == LOOKS_BLANK)
        bytes = take(r, l->n);
    else if (l->what == LOOKS_NO && r->held_n + r->in.n > 0) {
        note(r, MIME_NOTE_BAD_HEADER);
        r->part.bad_header = true;
    }
    choose_shape(r);
    r->line = AT_START;
    return tell(r, ev, MIME_HEADER_END, bytes);
}

static enum mime_event_kind read_header(struct mime_reader *r, struct mime_event *ev)
{
    if (r->in_field && r->in.n > 0)
        return read_field(r, ev);
    if (r->in_field && !r->ended)
        return MIME_MORE;
    r->in_field = false;
    struct look l = look(r);
    if (l.what == LOOKS_MORE)
        return MIME_MORE;
    if (l.what == LOOKS_FOLDED) {
        if (!r->field_open)
            begin_field(r, MIME_FIELD_OTHER); /* of nothing */
        r->in_field = true;
        r->last_cr = false;
        return read_field(r, ev);
    }
    if (r->field_open)
        return end_field(r, ev);
    if (l.what != LOOKS_FIELD && l.what != LOOKS_FROM)
        return end_header(r, ev, &l);
    struct vr_str name = take(r, l.n);
    begin_field(r, l.what == LOOKS_FIELD ? field_of(vr_str_trim(vr_str_sub(name, 0, name.n - 1)))
                                         : MIME_FIELD_OTHER);
    tell(r, ev, MIME_FIELD, name);
    ev->field = r->field;
    ev->first = true;
    return ev->kind;
}

/* ---- bodies ----------------------------------------------------------------------------------------------------------- */

static enum mime_event_kind tell_text(struct mime_reader *r, struct mime_event *ev, size_t n)
{
    static const enum mime_event_kind kinds[] = {
        [LEAF] = MIME_BODY, [PREAMBLE] = MIME_PREAMBLE, [EPILOGUE] = MIME_EPILOGUE};
    return tell(r, ev, kinds[top(r)->state], take(r, n));
}

/* Where in what was fed, at or behind `from`, a CRLF stands that may belong to a delimiter; its length when there is none. "-" is rarer than line
 * ends, and in base64 there is none: looking for it moves large pieces. */
static size_t find_delimiter(struct vr_str s, size_t from)
{
    for (size_t dash; (dash = vr_str_find(vr_str_from_pos(s, from), '-')) != VR_NPOS; from += dash + 1) {
        size_t i = from + dash;
        if (i >= 2 && s.p[i - 1] == '\n' && s.p[i - 2] == '\r' && (i + 1 == s.n || s.p[i + 1] == '-'))
            return i - 2;
    }
    if (s.n >= 2 && s.p[s.n - 1] == '\n' && s.p[s.n - 2] == '\r')
        return s.n - 2;
    return s.n > 0 && s.p[s.n - 1] == '\r' ? s.n - 1 : s.n;
}

static enum mime_event_kind read_text(struct mime_reader *r, struct mime_event *ev)
{
    size_t from = 0;
    if (r->open == 0) {
        size_t n = r->held_n > 0 ? r->held_n : r->in.n;
        return n > 0 ? tell_text(r, ev, n) : MIME_MORE;
    }
    for (;;) {
        if (r->line != WITHIN) {
            struct look l = look(r);
            if (l.what == LOOKS_MORE)
                return MIME_MORE;
            if (l.what == LOOKS_DELIMITER) {
                r->keep = l.level + 1;
                r->delimiter_n = l.n;
                r->closes = l.closes;
                return at_delimiter(r, ev);
            }
            from = r->line == AT_CRLF ? 3 : 0; /* not the same again */
            r->line = WITHIN;
            if (r->held_n > 0)
                return tell_text(r, ev, r->held_n);
        }
        if (r->in.n == 0)
            return MIME_MORE;
        size_t n = find_delimiter(r->in, from);
        r->line = n < r->in.n ? AT_CRLF : WITHIN;
        if (n > 0)
            return tell_text(r, ev, n);
    }
}

enum mime_event_kind mime_reader_next(struct mime_reader *r, struct mime_event *ev)
{
    if (r->keep > 0)
        return at_delimiter(r, ev);
    if (r->part_due)
        return begin_part(r, ev);
    enum mime_event_kind kind = MIME_MORE;
    if (r->depth > 0)
        kind = top(r)->state == HEADER ? read_header(r, ev) : read_text(r, ev);
    if (kind == MIME_MORE && r->ended && r->depth > 0)
        kind = end_part(r, ev);
    if (kind == MIME_MORE && r->ended)
        kind = MIME_END;
    ev->kind = kind;
    return kind;
}
