/* message.h - the header of a message: reading fields, writing fields, dates (RFC 5322).
 *
 * A message is a slice; reading never copies or changes it. Line ends may be CRLF or LF.
 * Tests: tests/unit/message.c, tests/conformance/ (mail-parser's dates and Received lines)
 */
#ifndef VEREDUS_MESSAGE_H
#define VEREDUS_MESSAGE_H

#include <veredus/base.h>

/* One field of a header, as it stands. */
struct header_field {
    struct vr_str name; /* without the colon; trailing blanks before the colon are not part of it */
    struct vr_str body; /* what follows the colon, folding kept, the last line end not included */
    struct vr_str raw;  /* the whole field with its last line end */
};

struct header_reader {
    struct vr_str rest;
    bool done;      /* the blank line, the end of input, or a line that is no field was met */
    bool malformed; /* a line that is neither a field nor a continuation: the body starts there */
};

void header_reader_init(struct header_reader *r, struct vr_str message);
bool header_next(struct header_reader *r, struct header_field *field); /* false at the end */
/* After header_next returned false: what follows the blank line. */
struct vr_str header_body(const struct header_reader *r);

/* The first field with this name (without case); false when there is none. */
bool header_find(struct vr_str message, struct vr_str name, struct header_field *field);
unsigned header_count(struct vr_str message, struct vr_str name);
/* Of text that may go on behind a field: the body of one field. It ends at the first line end that no blank follows. */
struct vr_str header_first_body(struct vr_str text);
/* The field's body with folding undone (RFC 5322 §2.2.3) and blanks trimmed. */
struct vr_str header_unfold(struct vr_arena *arena, struct vr_str field_body);
/* RFC 2047 encoded words undone, to UTF-8; what cannot be decoded stays as it is. */
struct vr_str header_decode(struct vr_arena *arena, struct vr_str text);

/* Appends "Name: body\r\n", folded at blanks so that lines stay within 78 octets where possible, 998 always. CR, LF
 * and NUL in the body become blanks: nothing that a stranger said can start a new field. Non-ASCII text of an
 * unstructured field is RFC 2047-encoded when encode is set. */
bool header_write(struct vr_buf *out, struct vr_str name, struct vr_str body, bool encode);

/* What a Received field says (RFC 5321 §4.4). Absent parts are empty. */
struct received {
    struct vr_str from;         /* the name that the client gave */
    struct vr_str from_comment; /* the TCP-info behind it: what is in parentheses or brackets, joined by blanks */
    struct vr_str by;
    struct vr_str via;
    struct vr_str with;
    struct vr_str id;
    struct vr_str for_; /* without < > */
    int64_t time;       /* seconds since 1970, or RECEIVED_NO_TIME */
};
#define RECEIVED_NO_TIME INT64_MIN
enum vr_err received_parse(struct vr_arena *arena, struct vr_str field_body, struct received *out);

/* ---- dates ------------------------------------------------------------------------------------------------- */

struct message_date {
    int64_t time;       /* seconds since 1970-01-01 UTC */
    int zone_minutes;   /* east of UTC */
};
/* RFC 5322 §3.3 with the obsolete forms of §4.3 and what the wild writes. VR_ERR_SYNTAX when it is no date. */
enum vr_err message_date_parse(struct vr_str text, struct message_date *out);
/* "Mon, 23 Nov 2026 16:52:51 +0000"; returns bytes written without the NUL (31 at the most). No environment is read. */
#define MESSAGE_DATE_SIZE 32
size_t message_date_write(char out[MESSAGE_DATE_SIZE], int64_t time, int zone_minutes);
/* RFC 3339, UTC, for logs: "2026-11-23T16:52:51.123Z". */
#define MESSAGE_RFC3339_SIZE 32
size_t message_rfc3339_write(char out[MESSAGE_RFC3339_SIZE], int64_t time_us);
/* RFC 3339 §5.6 date-time, with any offset; *time in seconds since 1970, fractions dropped. VR_ERR_SYNTAX for anything else, and for days that no
 * month has. */
enum vr_err message_rfc3339_parse(struct vr_str text, int64_t *time);

#endif
