/* open.c - a report out of what it came in.
 *
 * Of a message every leaf is tried whose type or whose content looks like a report: senders label them as they like.
 *
 * Tests: tests/unit/report.c
 */
#include "inside.h"

#include <veredus/message.h>
#include <veredus/mime.h>
#include <veredus/report.h>

#include <stdlib.h>

#define PART_MAX (32u << 20) /* octets of an attachment */

static const char nothing[] = "there is no report in it: neither XML nor JSON";

/* The kind of what is unpacked, by how it begins. */
static bool kind_of(struct vr_str content, enum report_kind *kind)
{
    if (vr_str_starts(content, VR_STR("\xef\xbb\xbf")))
        content = vr_str_from_pos(content, 3);
    content = vr_str_trim(content);
    if (content.n == 0 || (content.p[0] != '<' && content.p[0] != '{'))
        return false;
    *kind = content.p[0] == '<' ? REPORT_DMARC : REPORT_TLS;
    return true;
}

static enum vr_err open_plain(struct vr_buf *out, struct vr_str in, enum report_kind *kind, const char **why)
{
    size_t before = vr_buf_size(out);
    enum vr_err e = report_unpack(out, in, why);
    if (e == VR_OK && !kind_of(vr_str_from_pos(vr_buf_str(out), before), kind)) {
        *why = nothing;
        e = VR_ERR_NOT_FOUND;
    }
    return e;
}

struct opening {
    struct vr_buf *out;
    enum report_kind *kind;
    const char **why;
    struct mime_decoder decoder;
    struct vr_buf part; /* the leaf that is read, decoded */
    bool skip, too_big;
    enum vr_err error; /* of the part that came nearest */
    bool found;
};

/* Parts for people are no reports, though some begin with "<". */
static bool is_for_people(const struct mime_part *p)
{
    struct vr_str type = vr_str_from(p->type), subtype = vr_str_from(p->subtype);
    return vr_str_equal(type, VR_STR("text")) && !vr_str_equal(subtype, VR_STR("xml"));
}

static void try_part(struct opening *o)
{
    struct vr_buf unpacked;
    const char *why = NULL;
    vr_buf_init(&unpacked, o->out->max);
    enum vr_err e = o->too_big ? VR_ERR_TOO_BIG : open_plain(&unpacked, vr_buf_str(&o->part), o->kind, &why);
    if (e == VR_OK)
        o->found = vr_buf_add(o->out, vr_buf_str(&unpacked));
    if (!o->found && e != VR_ERR_NOT_FOUND) {
        o->error = e == VR_OK ? VR_ERR_TOO_BIG : e;
        *o->why = why != NULL ? why : "the attachment is larger than is read";
    }
    vr_buf_fini(&unpacked);
}

static void take_event(struct opening *o, const struct mime_reader *r, const struct mime_event *ev)
{
    switch (ev->kind) {
    case MIME_HEADER_END:
        vr_buf_reset(&o->part);
        o->too_big = false;
        o->skip = r->part.shape != MIME_LEAF || is_for_people(&r->part);
        mime_decoder_init(&o->decoder, r->part.encoding);
        break;
    case MIME_BODY:
        if (!o->skip && !o->too_big)
            o->too_big = !mime_decode(&o->decoder, ev->bytes, &o->part);
        break;
    case MIME_PART_END:
        if (!o->skip && r->part.shape == MIME_LEAF) {
            o->too_big = !mime_decode_end(&o->decoder, &o->part) || o->too_big;
            if (vr_buf_size(&o->part) > 0 || o->too_big)
                try_part(o);
        }
        o->skip = true;
        break;
    default:
        break;
    }
}

static enum vr_err open_message(struct opening *o, struct vr_str message)
{
    struct mime_reader *r = malloc(sizeof *r);
    struct mime_event ev;
    *o->why = "there was no memory";
    if (r == NULL)
        return VR_ERR_TOO_BIG;
    *o->why = nothing;
    o->error = VR_ERR_NOT_FOUND;
    o->skip = true;
    vr_buf_init(&o->part, PART_MAX);
    mime_reader_init(r);
    mime_reader_feed(r, message);
    while (!o->found && mime_reader_next(r, &ev) != MIME_MORE)
        take_event(o, r, &ev);
    if (!o->found)
        mime_reader_end(r);
    while (!o->found && mime_reader_next(r, &ev) != MIME_END)
        take_event(o, r, &ev);
    vr_buf_fini(&o->part);
    free(r);
    return o->found ? VR_OK : o->error;
}

/* mime_reader knows CRLF only; what was saved to a file has mostly LF. */
static bool with_crlf(struct vr_buf *out, struct vr_str in)
{
    for (size_t at; in.n > 0; in = vr_str_from_pos(in, at)) {
        size_t lf = vr_str_find(in, '\n');
        at = lf == VR_NPOS ? in.n : lf + 1;
        bool bare = lf != VR_NPOS && (lf == 0 || in.p[lf - 1] != '\r');
        if (!vr_buf_add(out, vr_str_sub(in, 0, bare ? lf : at)) || (bare && !vr_buf_add(out, VR_STR("\r\n"))))
            return false;
    }
    return true;
}

static bool is_message(struct vr_str file)
{
    struct header_reader r;
    struct header_field f;
    header_reader_init(&r, file);
    return header_next(&r, &f) && f.name.n > 0 && f.name.p[0] != '<' && f.name.p[0] != '{';
}

enum vr_err report_extract(struct vr_buf *out, struct vr_str file, enum report_kind *kind, const char **why)
{
    struct opening o = {.out = out, .kind = kind, .why = why};
    struct vr_buf crlf;
    if (vr_str_starts(file, VR_STR("From "))) { /* of a mailbox file */
        size_t lf = vr_str_find(file, '\n');
        file = vr_str_from_pos(file, lf == VR_NPOS ? file.n : lf + 1);
    }
    if (!is_message(file))
        return open_plain(out, file, kind, why);
    vr_buf_init(&crlf, 2 * (file.n + 1));
    enum vr_err e = with_crlf(&crlf, file) ? open_message(&o, vr_buf_str(&crlf)) : VR_ERR_TOO_BIG;
    vr_buf_fini(&crlf);
    return e;
}
