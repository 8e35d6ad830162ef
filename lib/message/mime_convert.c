/* mime_convert.c - the second pass of a conversion: the message, part by part, as the survey has planned it (RFC 2045, 3030 §3, 6152).
 *
 * Promise: what the plan does not name comes out as it is, without being copied; memory is the struct; the result does not depend on how the
 *          message was cut; its size is what the survey said.
 * Tests:   tests/unit/mime_convert.c, tests/fuzz/fuzz_mime.c, tests/e2e/test_routing.py
 */
#include "mime_inside.h"

#include <assert.h>
#include <string.h>

struct vr_str mime_encoding_line(unsigned plan, enum mime_transport to)
{
    if (!plan_encodes(plan))
        return to == MIME_7BIT ? VR_STR("Content-Transfer-Encoding: 7bit\r\n")
                               : VR_STR("Content-Transfer-Encoding: 8bit\r\n");
    return (plan & ~1u) == PLAN_QP ? VR_STR("Content-Transfer-Encoding: quoted-printable\r\n")
                                   : VR_STR("Content-Transfer-Encoding: base64\r\n");
}

/* RFC 1428 §3: what nobody labelled is "unknown-8bit"; but octets that are all UTF-8 are hardly anything else. */
struct vr_str mime_type_line(unsigned plan)
{
    return plan & PLAN_UTF8 ? VR_STR("Content-Type: text/plain; charset=utf-8\r\n")
                            : VR_STR("Content-Type: text/plain; charset=unknown-8bit\r\n");
}

void mime_convert_init(struct mime_converter *c, const struct mime_survey *survey, enum mime_transport to)
{
    assert(to < MIME_BINARY && survey->verdict.to[to].can);
    memset(c, 0, sizeof *c);
    mime_reader_init(&c->reader);
    c->survey = survey;
    c->to = to;
}

void mime_convert_feed(struct mime_converter *c, struct vr_str bytes)
{
    mime_reader_feed(&c->reader, bytes);
}

void mime_convert_end(struct mime_converter *c)
{
    mime_reader_end(&c->reader);
}

static unsigned plan_of(const struct mime_converter *c, uint32_t part)
{
    return part < MIME_PARTS_MAX ? c->survey->plan[part] >> (4 * c->to) & 15 : PLAN_KEEP;
}

static bool in_a_boundary(const struct mime_reader *r, char octet)
{
    for (unsigned i = 0; i < r->depth; i++)
        if (memchr(r->levels[i].boundary, octet, r->levels[i].boundary_n) != NULL)
            return true;
    return false;
}

/* An octet that no delimiter has, so that what stands in its place cannot make one. DEL is in no boundary. */
static char instead(const struct mime_reader *r)
{
    const char *candidate = "?#*!";
    while (*candidate != '\0' && in_a_boundary(r, *candidate))
        candidate++;
    return *candidate != '\0' ? *candidate : '\x7f';
}

static void begin_cleaning(struct mime_converter *c)
{
    c->cleaner = (struct mime_cleaner){.eight_bit = c->to == MIME_8BIT, .instead = instead(&c->reader)};
}

/* ---- events: each writes to the sink, or leaves in event.bytes what may pass as it is --------------------------------------- */

static void put(struct mime_sink *out, struct vr_str text)
{
    assert(out->room - out->n >= text.n);
    memcpy(out->p + out->n, text.p, text.n);
    out->n += text.n;
}

static void pass_nothing(struct mime_converter *c)
{
    c->event.bytes = vr_str(NULL, 0);
}

static void on_part(struct mime_converter *c, struct mime_sink *out)
{
    (void)out;
    c->action = (uint8_t)plan_of(c, c->event.part);
    c->labelled = false;
}

static void on_field(struct mime_converter *c, struct mime_sink *out)
{
    if (c->event.field != MIME_FIELD_CONTENT_TRANSFER_ENCODING || !plan_relabels(c->action))
        return;
    if (!c->labelled)
        put(out, mime_encoding_line(c->action, c->to));
    c->labelled = true;
    pass_nothing(c);
}

static void on_header_end(struct mime_converter *c, struct mime_sink *out)
{
    const struct mime_part *p = &c->reader.part;
    struct vr_str blank_line = c->event.bytes;
    begin_cleaning(c);
    c->qp = (struct mime_qp){.repair = c->action == PLAN_REPAIR};
    c->base64 = (struct mime_base64){0};
    if (!plan_rewrites(c->action))
        return;
    if (plan_encodes(c->action) && p->is_message && !p->has_version)
        put(out, VR_STR(MIME_VERSION_LINE));
    if (plan_encodes(c->action) && p->is_message && !p->has_type)
        put(out, mime_type_line(c->action));
    if (plan_encodes(c->action) && !c->labelled)
        put(out, mime_encoding_line(c->action, c->to));
    put(out, blank_line.n > 0 ? blank_line : VR_STR("\r\n"));
    pass_nothing(c);
}

static void on_body(struct mime_converter *c, struct mime_sink *out)
{
    size_t taken;
    if (!plan_rewrites(c->action))
        return;
    c->passes = false;
    if (c->action == PLAN_CLEAN)
        taken = mime_clean_put(&c->cleaner, out, c->event.bytes);
    else if (c->action == PLAN_REPAIR || (c->action & ~1u) == PLAN_QP)
        taken = mime_qp_put(&c->qp, out, c->event.bytes);
    else
        taken = mime_base64_put(&c->base64, out, c->event.bytes);
    c->event.bytes = vr_str_from_pos(c->event.bytes, taken);
}

static void on_padding(struct mime_converter *c, struct mime_sink *out)
{
    if (!(plan_of(c, c->event.part) & PLAN_CLEAN))
        return;
    if (!c->cleaning)
        begin_cleaning(c);
    c->cleaning = true;
    c->passes = false;
    c->event.bytes = vr_str_from_pos(c->event.bytes, mime_clean_put(&c->cleaner, out, c->event.bytes));
}

static void on_boundary(struct mime_converter *c, struct mime_sink *out)
{
    if (c->cleaning)
        mime_clean_end(&c->cleaner, out);
    c->cleaning = false;
}

static void on_part_end(struct mime_converter *c, struct mime_sink *out)
{
    const struct mime_part *p = &c->reader.part;
    enum mime_follows follows = c->event.last ? FOLLOWS_NOTHING : FOLLOWS_DELIMITER;
    on_boundary(c, out);
    if (c->event.part != p->number || p->shape != MIME_LEAF)
        return;
    if (c->action == PLAN_CLEAN)
        mime_clean_end(&c->cleaner, out);
    else if (c->action == PLAN_REPAIR || (c->action & ~1u) == PLAN_QP)
        mime_qp_end(&c->qp, out, follows);
    else if (plan_encodes(c->action))
        mime_base64_end(&c->base64, out, follows);
}

static void (*const handlers[])(struct mime_converter *c, struct mime_sink *out) = {
    [MIME_PART] = on_part,         [MIME_FIELD] = on_field,
    [MIME_FIELD_END] = NULL,       [MIME_HEADER_END] = on_header_end,
    [MIME_BODY] = on_body,         [MIME_PREAMBLE] = on_padding,
    [MIME_EPILOGUE] = on_padding,  [MIME_BOUNDARY] = on_boundary,
    [MIME_PART_END] = on_part_end,
};

bool mime_convert_next(struct mime_converter *c, struct vr_str *piece)
{
    for (;;) {
        struct mime_sink out = {.p = c->out, .room = sizeof c->out};
        if (c->event.bytes.n > 0 && c->passes) {
            *piece = c->event.bytes;
            c->event.bytes = vr_str(NULL, 0);
            return true;
        }
        if (c->event.bytes.n == 0) {
            enum mime_event_kind kind = mime_reader_next(&c->reader, &c->event);
            if (kind == MIME_MORE || kind == MIME_END) {
                c->event = (struct mime_event){.kind = kind};
                return false;
            }
            c->passes = true;
        }
        if (handlers[c->event.kind] != NULL)
            handlers[c->event.kind](c, &out);
        if (out.n > 0) {
            *piece = vr_str(c->out, (size_t)out.n);
            return true;
        }
    }
}
