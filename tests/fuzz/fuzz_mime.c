/* fuzz_mime.c - any bytes as a message: its structure, what it needs, and its conversion to 7 and 8 bits, in one piece and in many.
 *
 * The bytes of the events are the message. Nothing depends on how it was cut. What the survey says can be converted comes out in the size that it said, with
 * lines and octets that the transport takes, in the same structure, and each part decodes to what it was. What needs nothing comes out as it is.
 *
 * The first byte of the input: 1: line ends become CRLF; the rest: how it is cut.
 */
#include <veredus/mime.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX  (64u << 10)
#define OUTPUT_MAX (16u << 20)

/* Cuts a message into pieces: whole, or of 1 to 16 octets and now and then more. Each piece is a copy of its own, so that ASan sees who looks beyond. */
struct cutter {
    struct vr_str rest;
    uint32_t seed; /* 0: whole */
    char *copy;
};

static bool next_piece(struct cutter *c, struct vr_str *piece)
{
    size_t n = c->rest.n;
    if (c->seed != 0) {
        c->seed = c->seed * 1664525u + 1013904223u;
        n = (c->seed >> 28) == 0 ? 1 + (c->seed >> 16) % 500 : 1 + (c->seed >> 20) % 16;
    }
    free(c->copy);
    c->copy = NULL;
    if (c->rest.n == 0)
        return false;
    *piece = vr_str_sub(c->rest, 0, n);
    c->rest = vr_str_from_pos(c->rest, piece->n);
    c->copy = malloc(piece->n);
    memcpy(c->copy, piece->p, piece->n);
    piece->p = c->copy;
    return true;
}

/* ---- reading ------------------------------------------------------------------------------------------------------- */

static bool comes_in_pieces(enum mime_event_kind kind)
{
    return kind == MIME_FIELD || kind == MIME_BODY || kind == MIME_PREAMBLE || kind == MIME_EPILOGUE;
}

/* Of a leaf: the decoded content goes to `contents`. */
struct walk {
    struct mime_reader reader;
    struct vr_buf *events, *bytes, *contents;
    struct mime_event last;
    struct mime_decoder decoder;
    unsigned depth;
};

static void note_event(struct walk *w, const struct mime_event *ev)
{
    bool same =
        comes_in_pieces(ev->kind) && !ev->first && ev->kind == w->last.kind && ev->part == w->last.part;
    if (!same)
        vr_buf_addf(w->events, "\n%d %u %u %d %d %zu ", ev->kind, ev->part, ev->depth, ev->field, ev->last,
                    ev->body.n);
    assert(ev->bytes.n > 0 || !comes_in_pieces(ev->kind));
    vr_buf_add(w->events, ev->bytes);
    vr_buf_add(w->bytes, ev->bytes);
    w->last = *ev;
}

static void note_content(struct walk *w, const struct mime_event *ev)
{
    const struct mime_part *p = &w->reader.part;
    if (ev->kind == MIME_HEADER_END) {
        mime_decoder_init(&w->decoder, p->encoding);
        vr_buf_addf(w->contents, "\n[%u %u %s/%s %d]", ev->part, ev->depth, p->type, p->subtype, p->shape);
    } else if (ev->kind == MIME_BODY) {
        mime_decode(&w->decoder, ev->bytes, w->contents);
    } else if (ev->kind == MIME_PART_END && p->shape == MIME_LEAF && p->number == ev->part) {
        mime_decode_end(&w->decoder, w->contents);
        vr_buf_addf(w->contents, "[end %u]", ev->part);
    } else if (ev->kind == MIME_BOUNDARY) {
        vr_buf_add(w->contents, ev->bytes);
    }
}

static void check_depth(struct walk *w, const struct mime_event *ev)
{
    if (ev->kind == MIME_PART)
        w->depth++;
    assert(w->depth <= MIME_DEPTH_MAX && (ev->kind == MIME_END || ev->depth < w->depth));
    if (ev->kind == MIME_PART_END)
        w->depth--;
}

static void read_events(struct walk *w)
{
    struct mime_event ev;
    while (mime_reader_next(&w->reader, &ev) != MIME_MORE && ev.kind != MIME_END) {
        check_depth(w, &ev);
        note_event(w, &ev);
        note_content(w, &ev);
    }
}

static void walk(struct vr_str message, uint32_t seed, struct vr_buf *events, struct vr_buf *bytes,
                 struct vr_buf *contents)
{
    static struct walk w;
    struct cutter c = {message, seed, NULL};
    struct vr_str piece;
    memset(&w, 0, sizeof w);
    w.events = events;
    w.bytes = bytes;
    w.contents = contents;
    mime_reader_init(&w.reader);
    while (next_piece(&c, &piece)) {
        mime_reader_feed(&w.reader, piece);
        read_events(&w);
    }
    mime_reader_end(&w.reader);
    read_events(&w);
    assert(w.depth == 0);
}

struct seen {
    struct vr_buf events, bytes, contents;
};

static void see(struct seen *s, struct vr_str message, uint32_t seed)
{
    vr_buf_init(&s->events, 2 * OUTPUT_MAX);
    vr_buf_init(&s->bytes, OUTPUT_MAX);
    vr_buf_init(&s->contents, 2 * OUTPUT_MAX);
    walk(message, seed, &s->events, &s->bytes, &s->contents);
    assert(vr_str_equal(vr_buf_str(&s->bytes), message));
    assert(!s->events.too_big && !s->contents.too_big);
}

static void unsee(struct seen *s)
{
    vr_buf_fini(&s->events);
    vr_buf_fini(&s->bytes);
    vr_buf_fini(&s->contents);
}

static void check_reader(struct vr_str message, uint32_t seed)
{
    struct seen whole, cut;
    see(&whole, message, 0);
    see(&cut, message, seed);
    assert(vr_str_equal(vr_buf_str(&whole.events), vr_buf_str(&cut.events)));
    assert(vr_str_equal(vr_buf_str(&whole.contents), vr_buf_str(&cut.contents)));
    unsee(&whole);
    unsee(&cut);
}

/* ---- converting ---------------------------------------------------------------------------------------------------- */

static void survey(struct mime_survey *s, struct vr_str message, uint32_t seed)
{
    struct cutter c = {message, seed, NULL};
    struct vr_str piece;
    mime_survey_init(s);
    while (next_piece(&c, &piece))
        mime_survey_feed(s, piece);
    mime_survey_end(s);
}

static void take(struct mime_converter *c, struct vr_buf *out)
{
    struct vr_str piece;
    while (mime_convert_next(c, &piece)) {
        assert(piece.n > 0);
        vr_buf_add(out, piece);
    }
}

static void convert(struct vr_buf *out, const struct mime_survey *s, enum mime_transport to,
                    struct vr_str message, uint32_t seed)
{
    static struct mime_converter c;
    struct cutter cut = {message, seed, NULL};
    struct vr_str piece;
    vr_buf_init(out, OUTPUT_MAX);
    mime_convert_init(&c, s, to);
    while (next_piece(&cut, &piece)) {
        mime_convert_feed(&c, piece);
        take(&c, out);
    }
    mime_convert_end(&c);
    take(&c, out);
    assert(!out->too_big);
}

static void check_result(const struct mime_verdict *v, enum mime_transport to, struct vr_str before,
                         struct vr_str after)
{
    static struct mime_survey again;
    const struct mime_verdict *w = &again.verdict;
    struct seen was, is;
    assert(after.n == v->to[to].size);
    assert((v->to[to].changed == 0) == vr_str_equal(before, after));
    assert(v->needs > to || v->labelled > to || v->to[to].changed == 0);
    survey(&again, after, 0);
    assert(w->needs <= to && w->longest_line <= MIME_LINE_MAX && w->parts == v->parts);
    assert(w->labelled <= to || v->is_signed || v->is_encrypted);
    assert(w->to[to].can && w->to[to].changed == 0);
    assert(!w->eight_bit_header || v->eight_bit_header); /* it may have been in a field that was replaced */
    assert(w->has_dkim == v->has_dkim);
    assert(to != MIME_7BIT || v->eight_bit_header || vr_str_is_ascii(after));
    see(&was, before, 0);
    see(&is, after, 0);
    assert(vr_str_equal(vr_buf_str(&was.contents), vr_buf_str(&is.contents)));
    unsee(&was);
    unsee(&is);
}

static void check_obstacle(const struct mime_verdict *v, enum mime_transport to)
{
    struct vr_buf text;
    vr_buf_init(&text, 1000);
    assert(mime_obstacle_text(v, to, &text));
    assert((vr_buf_size(&text) == 0) == v->to[to].can && vr_str_is_ascii(vr_buf_str(&text)));
    assert(v->to[to].can == (v->to[to].obstacle == MIME_FREE) && v->to[to].part < v->parts);
    vr_buf_fini(&text);
}

static void check_conversion(struct vr_str message, uint32_t seed)
{
    static struct mime_survey whole, cut;
    struct vr_buf one, many;
    survey(&whole, message, 0);
    survey(&cut, message, seed);
    assert(memcmp(&whole.verdict, &cut.verdict, sizeof whole.verdict) == 0);
    assert(memcmp(whole.plan, cut.plan, sizeof whole.plan) == 0);
    assert(whole.verdict.size == message.n && whole.verdict.parts > 0);
    for (enum mime_transport to = MIME_7BIT; to < MIME_BINARY; to++) {
        check_obstacle(&whole.verdict, to);
        assert(whole.verdict.needs > to || whole.verdict.to[to].can || whole.verdict.parts > MIME_PARTS_MAX);
        if (!whole.verdict.to[to].can)
            continue;
        convert(&one, &whole, to, message, 0);
        convert(&many, &whole, to, message, seed);
        assert(vr_str_equal(vr_buf_str(&one), vr_buf_str(&many)));
        check_result(&whole.verdict, to, message, vr_buf_str(&one));
        vr_buf_fini(&one);
        vr_buf_fini(&many);
    }
}

/* ---- fields and encodings ------------------------------------------------------------------------------------------ */

static void check_fields(struct vr_str body)
{
    static const char *const names[] = {"boundary", "charset", "filename", "x"};
    struct vr_str type, subtype;
    if (mime_type_parse(body, &type, &subtype))
        assert(type.n > 0 && subtype.n > 0 && vr_str_is_ascii(type) && vr_str_is_ascii(subtype));
    assert(mime_encoding_parse(body) <= MIME_ENCODING_PRIVATE);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct vr_buf value;
        vr_buf_init(&value, i == 3 ? 5 : body.n + 1);
        enum vr_err err = mime_param(body, vr_str_from(names[i]), &value);
        assert(vr_buf_size(&value) <= body.n &&
               (err == VR_OK || vr_buf_size(&value) == 0 || err == VR_ERR_TOO_BIG));
        assert(err != VR_ERR_TOO_BIG || i == 3);
        vr_buf_fini(&value);
    }
}

static void decode(struct vr_buf *out, enum mime_encoding encoding, struct vr_str in, uint32_t seed)
{
    struct mime_decoder d;
    struct cutter c = {in, seed, NULL};
    struct vr_str piece;
    vr_buf_init(out, in.n + 1);
    mime_decoder_init(&d, encoding);
    while (next_piece(&c, &piece))
        assert(mime_decode(&d, piece, out));
    assert(mime_decode_end(&d, out));
}

static void check_decoding(struct vr_str in, uint32_t seed)
{
    for (enum mime_encoding e = MIME_ENCODING_QUOTED_PRINTABLE; e <= MIME_ENCODING_BASE64; e++) {
        struct vr_buf one, many;
        decode(&one, e, in, 0);
        decode(&many, e, in, seed);
        assert(vr_str_equal(vr_buf_str(&one), vr_buf_str(&many)));
        vr_buf_fini(&one);
        vr_buf_fini(&many);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_buf text;
    if (size == 0 || size > INPUT_MAX)
        return 0;
    uint32_t seed = data[0] / 2u + 1;
    vr_buf_init(&text, 2 * INPUT_MAX);
    for (size_t i = 1; i < size; i++) {
        if ((data[0] & 1) && data[i] == '\n' && data[i - 1] != '\r')
            vr_buf_add_byte(&text, '\r');
        vr_buf_add_byte(&text, (char)data[i]);
    }
    struct vr_str message = vr_buf_size(&text) > 0 ? vr_buf_str(&text) : vr_str("", 0);
    check_reader(message, seed);
    check_conversion(message, seed);
    check_decoding(message, seed);
    check_fields(vr_str_sub(message, 0, 2000));
    vr_buf_fini(&text);
    return 0;
}
