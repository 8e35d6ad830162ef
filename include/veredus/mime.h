/* mime.h - the structure of a message (MIME), and its conversion for a next hop that takes less (RFC 2045, 2046, 2183, 2231, 3030, 6152).
 *
 * Everything here streams: bytes in any pieces, state of a fixed size (plain data, which owns nothing), and what comes out does not depend
 * on how the bytes were cut. Line ends are CRLF, as SMTP has them: a CR or LF alone is content, never the end of a line.
 *
 * Three layers, each usable without the next:
 *
 *   mime_reader   bytes → events: parts, fields, bodies, delimiters. The bytes of all events, in order, are the message. Input that is no
 *                 MIME never fails: what cannot be understood is opaque content, and a note says so
 *   mime_survey   the first pass of a conversion: what the message needs of its transport, what would be changed in each part, whether that
 *                 can be done without loss, how large the result will be
 *   mime_convert  the second pass: the message, re-encoded part by part; what needs no change comes out byte for byte
 *
 *     mime_survey_init(&s);                        mime_convert_init(&c, &s, MIME_7BIT);
 *     mime_survey_feed(&s, bytes)…                 mime_convert_feed(&c, bytes); while (mime_convert_next(&c, &piece)) send(piece); …
 *     mime_survey_end(&s);                         mime_convert_end(&c);         while (mime_convert_next(&c, &piece)) send(piece);
 *     s.verdict.to[MIME_7BIT].can …
 *
 * Tests: tests/unit/mime.c, tests/unit/mime_convert.c, tests/fuzz/fuzz_mime.c, tests/e2e/test_routing.py
 */
#ifndef VEREDUS_MIME_H
#define VEREDUS_MIME_H

#include <veredus/base.h>

/* ---- fields ------------------------------------------------------------------------------------------------- */

/* RFC 2045 §6. The first four are identity: the body is what it is. */
enum mime_encoding {
    MIME_ENCODING_7BIT = 0, /* also when the field is absent (§6.1) */
    MIME_ENCODING_8BIT,
    MIME_ENCODING_BINARY,
    MIME_ENCODING_UNKNOWN, /* a word that is none ("8-bit", "utf-8"): programs write such, and mean nothing by it */
    MIME_ENCODING_QUOTED_PRINTABLE,
    MIME_ENCODING_BASE64,
    MIME_ENCODING_PRIVATE /* x-…: an encoding that only others know (§6.3) */
};

/* Of the body of a Content-Transfer-Encoding field, comments and all. */
enum mime_encoding mime_encoding_parse(struct vr_str field_body);
/* "text/plain; charset=x" → "text", "plain", slices of field_body. False when it does not begin with type "/" subtype; such a part is read as
 * text/plain (RFC 2045 §5.2). */
bool mime_type_parse(struct vr_str field_body, struct vr_str *type, struct vr_str *subtype);
/* Appends to out the value of a parameter of Content-Type or Content-Disposition (RFC 2183), name without case: quotes, comments, folding and
 * RFC 2231's pieces and percent signs are undone; the character set that RFC 2231 §4 names is left out. Values without quotes that should have
 * them are taken up to the next blank or semicolon. VR_ERR_NOT_FOUND; VR_ERR_TOO_BIG when out's maximum is too small (out has what fitted). */
enum vr_err mime_param(struct vr_str field_body, struct vr_str name, struct vr_buf *out);

/* ---- reading ------------------------------------------------------------------------------------------------ */

#define MIME_DEPTH_MAX    100  /* entities within one another; what is deeper is opaque */
#define MIME_BOUNDARY_MAX 200  /* RFC 2046 §5.1.1 has 70 */
#define MIME_NAME_MAX     127  /* of a type or subtype: RFC 6838 §4.2; a longer one reads as application/octet-stream */
#define MIME_VALUE_MAX    8192 /* of a Content-* field that is kept whole; the rest of a longer one is not looked at */
#define MIME_HELD_MAX     288  /* bytes that wait for those which decide what they are */

enum mime_event_kind {
    MIME_MORE = 0,   /* all that was fed is used: feed, or end */
    MIME_PART,       /* an entity begins, its header follows. The message itself is part 0 */
    MIME_FIELD,      /* bytes of a field: first its name with the colon (ev.first), then its body with the line ends, in any pieces */
    MIME_FIELD_END,  /* no bytes; ev.body: the body of a Content-* or MIME-Version field, cut at MIME_VALUE_MAX; else empty */
    MIME_HEADER_END, /* the blank line; no bytes when there is none. reader.part says from here on what was learnt */
    MIME_BODY,       /* a leaf's content as it stands, encoded or not */
    MIME_PREAMBLE,   /* of a multipart: before the first delimiter */
    MIME_BOUNDARY,   /* a delimiter, with the CRLF before it and the one behind it (RFC 2046 §5.1.1). ev.last: it closes its multipart */
    MIME_EPILOGUE,   /* of a multipart: behind its last delimiter */
    MIME_PART_END,   /* no bytes. ev.last: the message ended here, no delimiter follows */
    MIME_END         /* after mime_reader_end, when everything has been told. Stays */
};

enum mime_field {
    MIME_FIELD_OTHER = 0,
    MIME_FIELD_CONTENT_TYPE,
    MIME_FIELD_CONTENT_TRANSFER_ENCODING,
    MIME_FIELD_MIME_VERSION,
    MIME_FIELD_CONTENT_OTHER, /* Content-Disposition, Content-ID, … */
    MIME_FIELD_DKIM_SIGNATURE
};

enum mime_shape {
    MIME_LEAF,
    MIME_MULTIPART, /* has a boundary that can be looked for */
    MIME_MESSAGE    /* message/rfc822 that is not encoded: a part with the message's header follows */
};

enum mime_note {                    /* bits */
    MIME_NOTE_BAD_HEADER = 1,       /* a line that is neither a field nor blank: the body begins with it */
    MIME_NOTE_BAD_TYPE = 2,         /* Content-Type says no type: read as text/plain */
    MIME_NOTE_NO_BOUNDARY = 4,      /* a multipart without a boundary that can be used: opaque */
    MIME_NOTE_TOO_DEEP = 8,         /* beyond MIME_DEPTH_MAX: opaque */
    MIME_NOTE_UNCLOSED = 16,        /* a multipart without its last delimiter */
    MIME_NOTE_LONG_FIELD = 32,      /* a Content-* field beyond MIME_VALUE_MAX */
    MIME_NOTE_REPEATED_FIELD = 64,  /* Content-Type or Content-Transfer-Encoding twice: the first counts */
    MIME_NOTE_ENCODED_COMPOSITE = 128 /* a multipart or message that says quoted-printable or base64 (against RFC 2045 §6.4) */
};

/* What the header of an entity said. */
struct mime_part {
    uint32_t number; /* in order of appearance, from 0 */
    bool is_message; /* its header is a message's: part 0, and what stands in message/rfc822 */
    bool has_type, has_encoding, has_version; /* the fields are there, whatever they say */
    bool bad_header;                          /* MIME_NOTE_BAD_HEADER for this one */
    bool opaque;                              /* a multipart or message whose inside cannot be told apart: a leaf */
    enum mime_shape shape;
    enum mime_encoding encoding;
    char type[MIME_NAME_MAX + 1], subtype[MIME_NAME_MAX + 1]; /* lower case, NUL-terminated, defaults applied (RFC 2045 §5.2, 2046 §5.1.5) */
    unsigned notes;
};

struct mime_event {
    enum mime_event_kind kind;
    uint32_t part;         /* the entity it belongs to */
    unsigned depth;        /* of that entity; 0: the message */
    struct vr_str bytes;   /* of the message. Valid until the next call */
    enum mime_field field; /* FIELD, FIELD_END */
    bool first, last;
    struct vr_str body;    /* FIELD_END */
};

struct mime_level { /* an open entity */
    uint32_t part;
    uint8_t state;      /* of lib/message/mime_reader.c */
    uint8_t boundary_n; /* 0: no delimiter of it is looked for (any more) */
    bool digest;
    char boundary[MIME_BOUNDARY_MAX];
};

/* Plain data: copy, move or drop it as you like, while nothing that was fed is unread. Read `part`, `notes` and `levels`; the rest is the
 * reader's own. */
struct mime_reader {
    struct mime_part part; /* the last header that was read; of a leaf until its PART_END */
    unsigned notes;        /* enum mime_note bits of all parts so far */
    uint32_t part_count;
    unsigned depth;        /* levels in use */
    struct mime_level levels[MIME_DEPTH_MAX];

    unsigned open;         /* boundaries that are looked for */
    unsigned keep;         /* levels that stay when the delimiter that was found has ended the others; 0: none was found */
    size_t delimiter_n;    /* its length */
    bool closes;           /* it closes its multipart */
    bool ended, part_due, field_open, in_field, collect, last_cr;
    uint8_t line;          /* where in a line we are; of lib/message/mime_reader.c */
    enum mime_field field;
    size_t boundary_n, held_n, value_n;
    struct vr_str in;
    char boundary[MIME_BOUNDARY_MAX], held[MIME_HELD_MAX], value[MIME_VALUE_MAX];
};

void mime_reader_init(struct mime_reader *r);
/* The bytes must stay until mime_reader_next has returned MIME_MORE; feed only then. */
void mime_reader_feed(struct mime_reader *r, struct vr_str bytes);
void mime_reader_end(struct mime_reader *r); /* the message is over */
enum mime_event_kind mime_reader_next(struct mime_reader *r, struct mime_event *ev);

/* ---- decoding ----------------------------------------------------------------------------------------------- */

/* Undoes quoted-printable (RFC 2045 §6.7) or base64 (§6.8), streaming and lenient: what is no base64 is passed over, what is no
 * quoted-printable stays as it is, blanks at the end of a quoted-printable line go. Other encodings pass through. */
struct mime_decoder {
    enum mime_encoding encoding;
    bool done; /* base64: the padding was met */
    size_t held_n, value_n;
    uint32_t value;
    char held[256];
};

void mime_decoder_init(struct mime_decoder *d, enum mime_encoding encoding);
/* Appends what the bytes decode to: no more than they are and sizeof held. False when it does not fit into out's maximum. */
bool mime_decode(struct mime_decoder *d, struct vr_str bytes, struct vr_buf *out);
bool mime_decode_end(struct mime_decoder *d, struct vr_buf *out);

/* ---- surveying ---------------------------------------------------------------------------------------------- */

/* What a transport must take (RFC 2045 §2.7 to §2.9), from the least to the most. */
enum mime_transport {
    MIME_7BIT,  /* lines of at most 998 octets from 1 to 127, CR and LF only as CRLF */
    MIME_8BIT,  /* octets beyond 127 too: 8BITMIME (RFC 6152) */
    MIME_BINARY /* anything: BINARYMIME (RFC 3030) */
};

/* Why a message cannot be converted. */
enum mime_obstacle {
    MIME_FREE = 0,
    MIME_IN_SIGNED,          /* within multipart/signed: any change breaks the signature (RFC 1847 §2.1) */
    MIME_IN_ENCRYPTED,       /* within multipart/encrypted: to be left alone (RFC 1847 §2.2) */
    MIME_PRIVATE_ENCODING,   /* x-…: what it means would be lost with the word */
    MIME_MESSAGE_TYPE,       /* message/partial, message/external-body and others that must not be encoded (RFC 2045 §6.4, 2046 §5.2) */
    MIME_UNKNOWN_STRUCTURE,  /* a multipart whose parts cannot be told apart (no boundary, none found, too deep) */
    MIME_TOO_MANY_PARTS,     /* beyond MIME_PARTS_MAX */
    MIME_IN_HEADER           /* NUL, bare CR or bare LF in a header */
};

#define MIME_PARTS_MAX 8192 /* parts that the plan has room for: those behind pass only when they need no change */
#define MIME_LINE_MAX  998  /* octets without the CRLF: RFC 2045 §2.7, RFC 5322 §2.1.1 */

/* The conversion to one transport. */
struct mime_conversion {
    bool can;                     /* without loss; also when there is nothing to do */
    bool replaces;                /* octets of a preamble or epilogue, which are not part of the content (RFC 2046 §5.1.1), become '?' */
    uint32_t changed;             /* parts with another header or body afterwards; 0: the result is the message itself */
    uint64_t size;                /* octets of the result, exactly, when it can be done */
    enum mime_obstacle obstacle;  /* !can: the first one, … */
    uint32_t part;                /* … the part where it is, */
    uint32_t within;              /* … and the multipart/signed or multipart/encrypted around that */
    char type[2 * MIME_NAME_MAX + 2]; /* … and the part's type, "text/plain" */
};

/* What the message needs and what can be done about it. Octets of header fields count only in the fields that say so. */
struct mime_verdict {
    enum mime_transport needs;    /* by the octets of bodies, preambles and epilogues (and MIME_BINARY with MIME_IN_HEADER's) */
    enum mime_transport labelled; /* the most that a Content-Transfer-Encoding claims; may be more than is needed */
    bool eight_bit, nul, bare;    /* what makes it so: octets beyond 127; NUL; a CR or LF alone (and longest_line) */
    bool eight_bit_header;        /* octets beyond ASCII in a header: needs SMTPUTF8 (RFC 6532), is never converted */
    bool header_is_utf8;          /* … and all of them are UTF-8 */
    bool is_signed, is_encrypted; /* multipart/signed, multipart/encrypted are in it somewhere */
    bool has_dkim;                /* a DKIM-Signature at the top: conversion breaks it (RFC 6376 §5.3) */
    uint64_t size;                /* of the message */
    uint64_t longest_line, longest_header_line; /* octets without the CRLF */
    uint32_t parts;
    unsigned notes;               /* enum mime_note */
    struct mime_conversion to[2]; /* [MIME_7BIT], [MIME_8BIT] */
};

/* A UTF-8 check in pieces. */
struct mime_utf8 {
    bool bad;
    uint8_t more, low, high; /* continuation octets to come, bounds of the next */
};

/* Lines and octets of a stretch of the message. */
struct mime_scan {
    uint64_t octets, line, longest;
    uint64_t breaks; /* line ends to put in so that no line is beyond MIME_LINE_MAX */
    bool eight_bit, nul, bare, cr, ends_line; /* bare: a CR or LF alone; cr: the last octet was CR; ends_line: the last two were CRLF */
};

/* Encoders under way. */
struct mime_qp {
    bool repair; /* what is quoted-printable already stays */
    uint8_t column, held_n;
    char held[8];
};
struct mime_base64 {
    uint8_t column, held_n;
    char held[4];
};
struct mime_cleaner {
    uint16_t column;
    bool cr, eight_bit; /* a CR waits for its LF; octets beyond ASCII may stay */
    char instead;
};

struct mime_survey { /* plain data, too */
    struct mime_verdict verdict;
    struct mime_reader reader;
    struct mime_scan field, text, padding;
    struct mime_utf8 field_utf8, text_utf8;
    struct mime_qp qp;
    uint64_t qp_size;
    int64_t growth[2];
    unsigned protected_depth; /* of the outermost multipart/signed or multipart/encrypted that is open, plus 1; 0: none */
    enum mime_obstacle protection; /* … and which of the two it is */
    struct mime_survey_level {
        uint64_t encoding_octets; /* of its Content-Transfer-Encoding fields */
        enum mime_encoding encoding;
        enum mime_transport padding;
        uint64_t padding_breaks;
        bool multipart, delimited, no_blank_line;
    } levels[MIME_DEPTH_MAX];
    uint8_t plan[MIME_PARTS_MAX]; /* of each part: what to do for 7bit, and << 4 for 8bit; of lib/message/mime_inside.h */
};

void mime_survey_init(struct mime_survey *s);
void mime_survey_feed(struct mime_survey *s, struct vr_str bytes); /* all taken */
void mime_survey_end(struct mime_survey *s);                       /* now the verdict is whole */
/* Appends a sentence that says why the message cannot be converted, fit for a reply or a report: "part 3 (text/plain) is within
 * multipart/signed …". Nothing when it can. ASCII, no line ends. */
bool mime_obstacle_text(const struct mime_verdict *v, enum mime_transport to, struct vr_buf *out);
const char *mime_transport_name(enum mime_transport t); /* "7bit", "8bit", "binary" */

/* ---- converting --------------------------------------------------------------------------------------------- */

/* The rules, in order, for what is more than the transport takes (or, of a part that is to be changed anyway, claims to be):
 *
 *   text/…                        quoted-printable; base64 when it would double (half of it is 8-bit), or has NUL, bare CR or bare LF, as no text has
 *   other leaves                  base64
 *   quoted-printable, base64      stay so; octets and lines that must not be in them are mended so that they decode to the same
 *   multipart, message/rfc822     never encoded: what is in them is; "8bit" and "binary" in their headers become what is true now
 *   message/global…               base64 (RFC 6532 §3.5); other message/… types: MIME_MESSAGE_TYPE
 *   preamble, epilogue            octets that cannot go become '?', long lines are broken (not content; told by `replaces`)
 *   header fields                 stay. A Content-Transfer-Encoding is replaced where it stands, or put at the end of the header; a message
 *                                 without Content-Type gets one, with charset=utf-8 when its body is that, else unknown-8bit (RFC 1428 §3),
 *                                 and MIME-Version when it lacks that
 *
 * With needs and labelled both within the transport, the message comes out as it is. */
struct mime_converter {
    struct mime_reader reader;
    const struct mime_survey *survey;
    enum mime_transport to;
    struct mime_event event; /* being worked on: event.bytes is what is left of it */
    uint8_t action;          /* for the part at hand; of lib/message/mime_inside.h */
    bool passes;             /* what is left of the event goes out as it is */
    bool labelled, cleaning; /* the part's Content-Transfer-Encoding is written; a preamble or epilogue is being cleaned */
    struct mime_qp qp;
    struct mime_base64 base64;
    struct mime_cleaner cleaner;
    char out[1024];
};

/* `to` is MIME_7BIT or MIME_8BIT; the survey, which must have been of the same bytes and outlive the converter, says that it can be done. */
void mime_convert_init(struct mime_converter *c, const struct mime_survey *survey, enum mime_transport to);
/* The bytes must stay until mime_convert_next has returned false; feed only then. */
void mime_convert_feed(struct mime_converter *c, struct vr_str bytes);
void mime_convert_end(struct mime_converter *c);
/* The next piece of the result, not empty: of what was fed where it needs no change (nothing is copied), else of the converter's own. Valid
 * until the next call. False: feed, or end; after the end: the result is whole. */
bool mime_convert_next(struct mime_converter *c, struct vr_str *piece);

#endif
