/* mime_survey.c - the first pass of a conversion: what a message needs, and what becomes of each part for 7bit and for 8bit.
 *
 * Promise: the plan and the sizes are those of mime_convert.c, to the octet; nothing within multipart/signed or multipart/encrypted is in the plan.
 * How:     a leaf is decided on at its end, when all of it was seen; a multipart at its end, too, for its preamble and epilogue.
 * Tests:   tests/unit/mime_convert.c, tests/fuzz/fuzz_mime.c
 */
#include "mime_inside.h"

#include <string.h>

static const enum mime_transport targets[] = {MIME_7BIT, MIME_8BIT};

void mime_survey_init(struct mime_survey *s)
{
    memset(s, 0, sizeof *s);
    mime_reader_init(&s->reader);
    s->verdict.header_is_utf8 = true;
    s->verdict.to[MIME_7BIT].can = s->verdict.to[MIME_8BIT].can = true;
}

static void raise(enum mime_transport *t, enum mime_transport to)
{
    if (to > *t)
        *t = to;
}

/* What a stretch that is no header says about the message. */
static void note_scan(struct mime_verdict *v, const struct mime_scan *t, enum mime_transport needs)
{
    raise(&v->needs, needs);
    v->eight_bit |= t->eight_bit;
    v->nul |= t->nul;
    v->bare |= t->bare;
    if (t->longest > v->longest_line)
        v->longest_line = t->longest;
}

/* ---- the plan ----------------------------------------------------------------------------------------------------- */

/* What the conversion does to one entity. */
struct entity {
    const struct mime_survey_level *level;
    const struct mime_part *part; /* of a leaf; NULL: of a composite, whose header is no longer at hand */
    uint32_t number;
    unsigned depth;
    enum mime_follows follows;
};

static void forbid(struct mime_survey *s, const struct entity *e, enum mime_transport to,
                   enum mime_obstacle obstacle)
{
    struct mime_conversion *c = &s->verdict.to[to];
    size_t n = 0;
    if (!c->can)
        return;
    c->can = false;
    c->obstacle = obstacle;
    c->part = e->number;
    if (s->protected_depth > 0)
        c->within = s->reader.levels[s->protected_depth - 1].part;
    if (e->part == NULL) {
        strcpy(c->type, "multipart");
        return;
    }
    n = strlen(e->part->type);
    memcpy(c->type, e->part->type, n);
    c->type[n] = '/';
    strcpy(c->type + n + 1, e->part->subtype);
}

static void plan(struct mime_survey *s, const struct entity *e, enum mime_transport to, unsigned what)
{
    struct mime_conversion *c = &s->verdict.to[to];
    if (what == PLAN_KEEP)
        return;
    if (e->number >= MIME_PARTS_MAX) {
        forbid(s, e, to, MIME_TOO_MANY_PARTS);
        return;
    }
    s->plan[e->number] |= (uint8_t)(what << (4 * to));
    c->changed++;
}

/* How much longer the header gets. */
static int64_t header_growth(const struct entity *e, enum mime_transport to, unsigned what)
{
    const struct mime_survey_level *l = e->level;
    int64_t growth = plan_rewrites(what) && l->no_blank_line ? 2 : 0;
    if (plan_relabels(what))
        growth += (int64_t)mime_encoding_line(what, to).n - (int64_t)l->encoding_octets;
    if (!plan_encodes(what) || !e->part->is_message)
        return growth;
    if (!e->part->has_version)
        growth += (int64_t)strlen(MIME_VERSION_LINE);
    if (!e->part->has_type)
        growth += (int64_t)mime_type_line(what).n;
    return growth;
}

static enum mime_transport label_of(enum mime_encoding e)
{
    return e == MIME_ENCODING_BINARY ? MIME_BINARY : e == MIME_ENCODING_8BIT ? MIME_8BIT : MIME_7BIT;
}

/* ---- leaves --------------------------------------------------------------------------------------------------------- */

static enum mime_obstacle leaf_obstacle(const struct mime_survey *s, const struct mime_part *p)
{
    bool message = strcmp(p->type, "message") == 0 && strncmp(p->subtype, "global", 6) != 0;
    if (s->protected_depth > 0)
        return s->protection;
    if (p->encoding == MIME_ENCODING_PRIVATE)
        return MIME_PRIVATE_ENCODING;
    if (p->encoding == MIME_ENCODING_QUOTED_PRINTABLE || p->encoding == MIME_ENCODING_BASE64)
        return MIME_FREE;
    if (p->opaque)
        return MIME_UNKNOWN_STRUCTURE;
    return message ? MIME_MESSAGE_TYPE : MIME_FREE;
}

/* How a leaf is encoded, and how many octets it has then. */
static unsigned leaf_encoding(const struct mime_survey *s, const struct mime_part *p,
                              enum mime_follows follows, uint64_t *size)
{
    const struct mime_scan *t = &s->text;
    uint64_t base64 = mime_base64_size(t->octets, follows);
    unsigned utf8 = t->eight_bit && mime_utf8_end(&s->text_utf8) ? PLAN_UTF8 : 0;
    if (p->encoding == MIME_ENCODING_BASE64) {
        *size = t->octets + 3 * t->breaks;
        return PLAN_CLEAN;
    }
    *size = s->qp_size;
    if (p->encoding == MIME_ENCODING_QUOTED_PRINTABLE)
        return PLAN_REPAIR;
    if (strcmp(p->type, "text") == 0 && !t->nul && !t->bare && s->qp_size <= 2 * t->octets)
        return PLAN_QP | utf8;
    *size = base64;
    return PLAN_BASE64 | utf8;
}

/* A binary body that ends the message without a line end gets one in a transport of lines (RFC 5321 §4.1.1.4). */
static enum mime_transport leaf_needs(const struct mime_survey *s, const struct mime_part *p,
                                      enum mime_follows follows)
{
    const struct mime_scan *t = &s->text;
    if (p->encoding == MIME_ENCODING_BINARY && follows == FOLLOWS_NOTHING && t->octets > 0 && !t->ends_line)
        return MIME_BINARY;
    return mime_scan_needs(t);
}

static bool wants_qp_size(const struct mime_part *p)
{
    if (p->encoding == MIME_ENCODING_QUOTED_PRINTABLE)
        return true;
    return strcmp(p->type, "text") == 0 && p->encoding <= MIME_ENCODING_UNKNOWN;
}

static void begin_leaf(struct mime_survey *s)
{
    s->text = (struct mime_scan){0};
    s->text_utf8 = (struct mime_utf8){0};
    s->qp = (struct mime_qp){.repair = s->reader.part.encoding == MIME_ENCODING_QUOTED_PRINTABLE};
    s->qp_size = 0;
}

static void add_leaf(struct mime_survey *s, struct vr_str bytes)
{
    struct mime_sink count = {.n = s->qp_size};
    mime_scan_add(&s->text, bytes);
    if (s->text.eight_bit)
        mime_utf8_add(&s->text_utf8, bytes);
    if (!wants_qp_size(&s->reader.part))
        return;
    mime_qp_put(&s->qp, &count, bytes);
    s->qp_size = count.n;
}

static void plan_leaf(struct mime_survey *s, const struct entity *e)
{
    const struct mime_part *p = e->part;
    struct mime_sink count = {.n = s->qp_size};
    mime_scan_end(&s->text);
    mime_qp_end(&s->qp, &count, e->follows);
    s->qp_size = count.n;
    enum mime_transport needs = leaf_needs(s, p, e->follows);
    note_scan(&s->verdict, &s->text, needs);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        enum mime_transport to = targets[i];
        enum mime_obstacle obstacle = leaf_obstacle(s, p);
        unsigned what = PLAN_KEEP;
        uint64_t size = s->text.octets;
        if (needs > to && obstacle != MIME_FREE)
            forbid(s, e, to, obstacle);
        else if (needs > to)
            what = leaf_encoding(s, p, e->follows, &size);
        else if (label_of(p->encoding) > to && s->protected_depth == 0)
            what = PLAN_LABEL;
        plan(s, e, to, what);
        s->growth[to] += header_growth(e, to, what) + (int64_t)(size - s->text.octets);
    }
}

/* ---- multipart and message/rfc822 --------------------------------------------------------------------------------------- */

static void end_padding(struct mime_survey *s, struct mime_survey_level *l)
{
    mime_scan_end(&s->padding);
    raise(&l->padding, mime_scan_needs(&s->padding));
    l->padding_breaks += s->padding.breaks;
    note_scan(&s->verdict, &s->padding, l->padding);
    s->padding = (struct mime_scan){0};
}

/* A message/rfc822 without a blank line is a bad header and a message without one; the fields that the latter may get must not end in the former. */
static bool needs_blank_line(const struct mime_survey *s, const struct entity *e, enum mime_transport to)
{
    uint32_t inner = e->number + 1;
    return !e->level->multipart && e->level->no_blank_line && inner < MIME_PARTS_MAX &&
           plan_rewrites(s->plan[inner] >> (4 * to) & 15);
}

static void plan_composite(struct mime_survey *s, const struct entity *e)
{
    const struct mime_survey_level *l = e->level;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        enum mime_transport to = targets[i];
        unsigned what = needs_blank_line(s, e, to) ? PLAN_CLEAN : PLAN_KEEP;
        if (l->padding > to && (s->protected_depth > 0 || !l->delimited)) {
            forbid(s, e, to, s->protected_depth > 0 ? s->protection : MIME_UNKNOWN_STRUCTURE);
        } else if (l->padding > to) {
            what = PLAN_CLEAN;
            s->verdict.to[to].replaces = true;
            s->growth[to] += (int64_t)(3 * l->padding_breaks);
        }
        if (label_of(l->encoding) > to && s->protected_depth == 0)
            what |= PLAN_LABEL;
        plan(s, e, to, what);
        s->growth[to] += header_growth(e, to, what);
    }
}

static void begin_protection(struct mime_survey *s, unsigned depth)
{
    const struct mime_part *p = &s->reader.part;
    bool is_signed = p->shape == MIME_MULTIPART && strcmp(p->subtype, "signed") == 0;
    bool is_encrypted = p->shape == MIME_MULTIPART && strcmp(p->subtype, "encrypted") == 0;
    s->verdict.is_signed |= is_signed;
    s->verdict.is_encrypted |= is_encrypted;
    if (s->protected_depth > 0 || (!is_signed && !is_encrypted))
        return;
    s->protected_depth = depth + 1;
    s->protection = is_signed ? MIME_IN_SIGNED : MIME_IN_ENCRYPTED;
}

/* ---- events ------------------------------------------------------------------------------------------------------------- */

static void on_part(struct mime_survey *s, const struct mime_event *ev)
{
    s->levels[ev->depth] = (struct mime_survey_level){0};
    s->field = (struct mime_scan){0};
    s->field_utf8 = (struct mime_utf8){0};
    s->verdict.parts++;
}

static void on_field(struct mime_survey *s, const struct mime_event *ev)
{
    mime_scan_add(&s->field, ev->bytes);
    if (s->field.eight_bit)
        mime_utf8_add(&s->field_utf8, ev->bytes);
    if (ev->field == MIME_FIELD_CONTENT_TRANSFER_ENCODING)
        s->levels[ev->depth].encoding_octets += ev->bytes.n;
    s->verdict.has_dkim |= ev->field == MIME_FIELD_DKIM_SIGNATURE && ev->part == 0;
}

static void on_header_end(struct mime_survey *s, const struct mime_event *ev)
{
    struct mime_survey_level *l = &s->levels[ev->depth];
    struct mime_verdict *v = &s->verdict;
    const struct entity e = {.level = l, .part = &s->reader.part, .number = ev->part, .depth = ev->depth};
    mime_scan_end(&s->field);
    if (s->field.longest > v->longest_header_line)
        v->longest_header_line = s->field.longest;
    v->eight_bit_header |= s->field.eight_bit;
    v->header_is_utf8 &= mime_utf8_end(&s->field_utf8);
    if (s->field.nul || s->field.bare) {
        v->needs = MIME_BINARY;
        forbid(s, &e, MIME_7BIT, MIME_IN_HEADER);
        forbid(s, &e, MIME_8BIT, MIME_IN_HEADER);
    }
    l->encoding = s->reader.part.encoding;
    l->multipart = s->reader.part.shape == MIME_MULTIPART;
    l->no_blank_line = ev->bytes.n == 0;
    raise(&v->labelled, label_of(l->encoding));
    begin_protection(s, ev->depth);
    if (s->reader.part.shape == MIME_LEAF)
        begin_leaf(s);
    s->padding = (struct mime_scan){0};
}

static void on_boundary(struct mime_survey *s, const struct mime_event *ev)
{
    struct mime_survey_level *l = &s->levels[ev->depth];
    l->delimited = true;
    end_padding(s, l);
}

static void on_part_end(struct mime_survey *s, const struct mime_event *ev)
{
    struct mime_survey_level *l = &s->levels[ev->depth];
    bool leaf = ev->part == s->reader.part.number && s->reader.part.shape == MIME_LEAF;
    const struct entity e = {.level = l,
                             .part = leaf ? &s->reader.part : NULL,
                             .number = ev->part,
                             .depth = ev->depth,
                             .follows = ev->last ? FOLLOWS_NOTHING : FOLLOWS_DELIMITER};
    if (l->multipart)
        end_padding(s, l);
    if (leaf)
        plan_leaf(s, &e);
    else
        plan_composite(s, &e);
    if (s->protected_depth == ev->depth + 1)
        s->protected_depth = 0;
}

static void run(struct mime_survey *s)
{
    struct mime_event ev;
    enum mime_event_kind kind;
    while ((kind = mime_reader_next(&s->reader, &ev)) != MIME_MORE && kind != MIME_END) {
        if (kind == MIME_PART)
            on_part(s, &ev);
        else if (kind == MIME_FIELD)
            on_field(s, &ev);
        else if (kind == MIME_HEADER_END)
            on_header_end(s, &ev);
        else if (kind == MIME_BODY)
            add_leaf(s, ev.bytes);
        else if (kind == MIME_PREAMBLE || kind == MIME_EPILOGUE)
            mime_scan_add(&s->padding, ev.bytes);
        else if (kind == MIME_BOUNDARY)
            on_boundary(s, &ev);
        else if (kind == MIME_PART_END)
            on_part_end(s, &ev);
    }
}

void mime_survey_feed(struct mime_survey *s, struct vr_str bytes)
{
    s->verdict.size += bytes.n;
    mime_reader_feed(&s->reader, bytes);
    run(s);
}

void mime_survey_end(struct mime_survey *s)
{
    struct mime_verdict *v = &s->verdict;
    mime_reader_end(&s->reader);
    run(s);
    v->notes = s->reader.notes;
    v->header_is_utf8 &= v->eight_bit_header;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        v->to[targets[i]].size = v->size + (uint64_t)s->growth[targets[i]];
}

/* ---- words ---------------------------------------------------------------------------------------------------------------- */

const char *mime_transport_name(enum mime_transport t)
{
    static const char *const names[] = {"7bit", "8bit", "binary"};
    return names[t];
}

static void add_part(struct vr_buf *out, uint32_t part)
{
    if (part == 0)
        vr_buf_add(out, VR_STR("the message itself"));
    else
        vr_buf_addf(out, "part %u", part);
}

bool mime_obstacle_text(const struct mime_verdict *v, enum mime_transport to, struct vr_buf *out)
{
    static const char *const texts[] = {
        [MIME_IN_SIGNED] = "is signed (multipart/signed): to encode it would break the signature",
        [MIME_IN_ENCRYPTED] = "is within multipart/encrypted, which must stay as it is",
        [MIME_PRIVATE_ENCODING] = "has a Content-Transfer-Encoding of its own, which nobody else can undo",
        [MIME_MESSAGE_TYPE] = "has a type that must not be encoded",
        [MIME_UNKNOWN_STRUCTURE] = "is a multipart whose parts cannot be told apart",
        [MIME_TOO_MANY_PARTS] = "comes behind more parts than are looked at",
        [MIME_IN_HEADER] = "has a NUL, or a CR or LF that ends no line, in its header",
    };
    const struct mime_conversion *c = &v->to[to];
    if (c->can)
        return !out->too_big;
    add_part(out, c->part);
    vr_buf_addf(out, " (%s) %s", c->type, texts[c->obstacle]);
    return !out->too_big;
}
