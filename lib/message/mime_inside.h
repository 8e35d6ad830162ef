/* mime_inside.h - what the files of the MIME module share: the plan of a conversion, scanning, the encoders. */
#ifndef MIME_INSIDE_H
#define MIME_INSIDE_H

#include <veredus/mime.h>

/* What is done to a part: bits, of which a leaf has one at most (and _UTF8). */
enum mime_plan {
    PLAN_KEEP = 0,
    PLAN_LABEL = 1,  /* the header says 7bit or 8bit instead of what it says */
    PLAN_CLEAN = 2,  /* a multipart's preamble and epilogue, a leaf's base64; message/rfc822's blank line */
    PLAN_QP = 4,     /* encoded */
    PLAN_BASE64 = 6, /* encoded */
    PLAN_UTF8 = 1,   /* beside an encoding: a Content-Type that is put in says utf-8 */
    PLAN_REPAIR = 8  /* quoted-printable that is none throughout */
};

static inline bool plan_encodes(unsigned plan)
{
    return (plan & ~1u) == PLAN_QP || (plan & ~1u) == PLAN_BASE64;
}

static inline bool plan_relabels(unsigned plan)
{
    return plan_encodes(plan) || (plan & PLAN_LABEL);
}

/* The body is another afterwards, so a blank line must stand before it (its first line may look like a field then). */
static inline bool plan_rewrites(unsigned plan)
{
    return plan > PLAN_LABEL;
}

/* The fields that a conversion writes. */
struct vr_str mime_encoding_line(unsigned plan, enum mime_transport to);
#define MIME_VERSION_LINE "MIME-Version: 1.0\r\n"
struct vr_str mime_type_line(unsigned plan);

/* ---- scanning ------------------------------------------------------------------------------------------------ */

void mime_scan_add(struct mime_scan *s, struct vr_str bytes);
void mime_scan_end(struct mime_scan *s); /* nothing follows in this stretch */
enum mime_transport mime_scan_needs(const struct mime_scan *s);
void mime_utf8_add(struct mime_utf8 *u, struct vr_str bytes);
bool mime_utf8_end(const struct mime_utf8 *u); /* it was UTF-8, and no sequence is open */

/* ---- encoding ------------------------------------------------------------------------------------------------ */

/* Where an encoder writes to. */
struct mime_sink {
    char *p; /* NULL: only counted */
    size_t room;
    uint64_t n;
};
#define MIME_SINK_MIN 128 /* room that lets an encoder go on */

/* What follows the content. */
enum mime_follows {
    FOLLOWS_MORE,
    FOLLOWS_DELIMITER, /* and the CRLF that belongs to it */
    FOLLOWS_NOTHING    /* the message is over */
};

/* Each takes of `in` what the sink has room for (all when it only counts) and returns how much; the _end needs MIME_SINK_MIN. */
size_t mime_qp_put(struct mime_qp *q, struct mime_sink *sink, struct vr_str in);
void mime_qp_end(struct mime_qp *q, struct mime_sink *sink, enum mime_follows follows);
size_t mime_base64_put(struct mime_base64 *b, struct mime_sink *sink, struct vr_str in);
void mime_base64_end(struct mime_base64 *b, struct mime_sink *sink, enum mime_follows follows);
uint64_t mime_base64_size(uint64_t octets, enum mime_follows follows);
size_t mime_clean_put(struct mime_cleaner *c, struct mime_sink *sink, struct vr_str in);
void mime_clean_end(struct mime_cleaner *c, struct mime_sink *sink);

#endif
