/* compose.h - what a command makes of the text it was given before it is sent: line ends, missing fields, recipients from the
 * header, Bcc taken out (RFC 5322, RFC 6409 §8).
 */
#ifndef CLI_COMPOSE_H
#define CLI_COMPOSE_H

#include <veredus/address.h>
#include <veredus/base.h>

#define COMPOSE_MAX (1u << 30) /* bytes of a message */

/* Appends text with CRLF line ends: LF, CRLF and a lone CR each end a line. A last line without an end gets one. */
bool compose_crlf(struct vr_buf *out, struct vr_str text);
/* Is a byte >= 0x80 in it? */
bool compose_is_8bit(struct vr_str text);
/* Is a header of the message in UTF-8, be it that of a part? Then it needs SMTPUTF8 (RFC 6532). Bytes that are none are old, and are not announced. */
bool compose_has_utf8_header(struct vr_str message);
/* The text before a line that is a single dot; *found tells whether there was one. */
struct vr_str compose_before_dot(struct vr_str text, bool *found);

struct compose_list {
    struct address *items;
    size_t count, capacity;
};
/* Adds what an argument or a header field names: "ann", "ann@example.org", "Ann <ann@example.org>, bob". Local names get @hostname. An
 * address that is there already is not added again. False: nothing usable in it, or one that is no address (*why says what). */
bool compose_add(struct compose_list *list, struct vr_arena *arena, struct vr_str text, struct vr_str hostname, const char **why);

struct compose {
    struct vr_str hostname;
    struct vr_str from;      /* address for a missing From */
    struct vr_str full_name; /* for a missing From; empty: none */
    int64_t now;             /* seconds since 1970 */
    uint8_t random[12];      /* for a missing Message-ID */
    bool take_recipients;    /* sendmail -t: of To, Cc and Bcc (of the Resent- ones when there are such) */
};
/* Appends the message, made whole, to out. VR_ERR_TOO_BIG; VR_ERR_SYNTAX when a recipient in the header is no address (*why). */
enum vr_err compose_message(struct vr_buf *out, struct vr_arena *arena, struct vr_str text, const struct compose *how,
                            struct compose_list *recipients, const char **why);

/* A message from its parts. */
struct compose_parts {
    struct vr_str subject, body;
    const struct vr_str *headers; /* "Name: value" */
    size_t header_count;
    const struct address *recipients;
    size_t recipient_count;
};
/* The body is UTF-8 text; sent quoted-printable when it holds more than ASCII or long lines (RFC 2045 §6.7), so that any server takes it.
 * VR_ERR_SYNTAX: a header that is no "Name: value" (*why). */
enum vr_err compose_parts(struct vr_buf *out, const struct compose_parts *parts, const struct compose *how, const char **why);

#endif
