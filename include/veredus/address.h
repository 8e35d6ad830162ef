/* address.h - SMTP paths (RFC 5321 §4.1.2, RFC 6531 §3.3) and message mailboxes (RFC 5322 §3.4).
 *
 * Beyond ASCII: a domain is written as its user wrote it (U-labels or A-labels) and compared by its A-labels (idn.h); the local part of a
 * stranger's address is compared byte for byte, for only its own server knows what it means; of our own domains' local parts case and
 * normalization do not count (address_fold).

 * Does not resolve, rewrite or decide anything. Source routes are read and ignored (RFC 5321 §4.1.1.3, app. C).
 * Tests: tests/unit/address.c, tests/conformance/ (isemail, mail-parser)
 */
#ifndef VEREDUS_ADDRESS_H
#define VEREDUS_ADDRESS_H

#include <veredus/base.h>

#define ADDRESS_LOCAL_MAX  64  /* octets, RFC 5321 §4.5.3.1.1 */
#define ADDRESS_LOCAL_SRS_MAX 200 /* of one that begins like an SRS address (srs.h): it has a whole address in it, so limits of that length do not suit it */
#define ADDRESS_DOMAIN_MAX 255 /* octets, RFC 5321 §4.5.3.1.2 */
#define ADDRESS_PATH_MAX   256 /* octets with "<" and ">", RFC 5321 §4.5.3.1.3 */

/* A mailbox. Slices point into the arena given to the parser. */
struct address {
    struct vr_str local;  /* quoted string undone: the bytes that are meant */
    struct vr_str domain; /* as written (case kept); a literal with its brackets: "[192.0.2.1]". Empty for the bare
                             <postmaster> of RFC 5321 §4.1.1.3 */
    bool null;            /* the empty reverse-path "<>" */
    bool utf8;            /* a byte >= 0x80 occurs: needs SMTPUTF8 */
};

enum address_flags {
    ADDRESS_ALLOW_NULL = 1,       /* "<>" */
    ADDRESS_ALLOW_POSTMASTER = 2, /* "<postmaster>" without a domain, in any case */
    ADDRESS_ALLOW_UTF8 = 4,       /* RFC 6531 §3.3: valid UTF-8 without control characters, domains that IDNA 2008 knows */
    ADDRESS_ALLOW_BARE = 8        /* without "<" and ">" (the command line, lenient clients) */
};

/* Reads a path at the start of `in`. *rest gets what follows it.
 * VR_ERR_SYNTAX: not a path; VR_ERR_TOO_BIG: a limit above. *why (never NULL on error) is a sentence for a reply,
 * such as "domain label may not start with a hyphen". */
enum vr_err address_parse_path(struct vr_arena *arena, struct vr_str in, unsigned flags, struct address *out,
                               struct vr_str *rest, const char **why);

/* The whole of `in` is a mailbox without angle brackets: "user@example.org" (what a command line or table holds). */
enum vr_err address_parse(struct vr_arena *arena, struct vr_str in, unsigned flags, struct address *out,
                          const char **why);

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" → 4 or 16 bytes in network order. family gets 4 or 6. */
bool address_literal(struct vr_str domain, uint8_t bytes[16], int *family);
/* The whole of `text` is an IP address as other protocols write it: "192.0.2.1" (no leading zeros, which some read as octal) or "2001:db8::1"
 * (RFC 4291 §2.2, no brackets, no zone). */
bool address_ip_parse(struct vr_str text, uint8_t bytes[16], int *family);
/* A domain name by RFC 5321 §4.1.2 (letters, digits, inner hyphens, underscores tolerated; labels 1..63, total 255,
 * no trailing dot; with ADDRESS_ALLOW_UTF8 also U-labels, and then the limits are those of its A-labels too). */
bool address_domain_valid(struct vr_str domain, unsigned flags);

/* Appends local@domain, the local part quoted where RFC 5321 requires it. Nothing for null. */
bool address_write(struct vr_buf *out, const struct address *a);
/* The same into the arena: the canonical text by which a mailbox is stored. A domain of ASCII in lower case, another in U-labels (so that
 * "BÜCHER.example" is "bücher.example"). {NULL,0} when the arena is full, or for parts that
 * no parser of paths would have taken and that are too long. */
struct vr_str address_text(struct vr_arena *arena, const struct address *a);
/* Domains without case, by their A-labels; local parts byte for byte. */
bool address_equal(const struct address *a, const struct address *b);
/* What a server without SMTPUTF8 can be given: *out is the same mailbox with its domain in A-labels. False: the local part is not ASCII, so there is
 * no such form (RFC 6531 §3.2); or the arena is full. */
bool address_to_ascii(struct vr_arena *arena, const struct address *a, struct address *out);

/* How local parts of our own domains are compared, and their mailboxes named: in lower case and NFC (RFC 5198 §3), so that "Jörg" is found
 * whichever way a keyboard writes it. Letters that are more than case apart ("ß" and "ss", "ı" and "i") stay apart. What is not UTF-8 is only lowered
 * as ASCII. {NULL,0} when the arena is full. */
struct vr_str address_fold(struct vr_arena *arena, struct vr_str local);
/* The text by which a mailbox of an own domain is known: local part folded, domain in A-labels and lower case. {NULL,0} as for address_text. */
struct vr_str address_key(struct vr_arena *arena, const struct address *a);
/* The same of a text that may be no address: an address's key; anything else ("ann", "@bücher.example") with what stands before its last "@"
 * folded, and what stands behind it in A-labels where it is a domain. */
struct vr_str address_key_of(struct vr_arena *arena, struct vr_str text);
/* A key as people read it: the domain behind its last "@" in U-labels (idn_to_unicode). {NULL,0} when the arena is full. */
struct vr_str address_readable(struct vr_arena *arena, struct vr_str key);
/* Have both texts the same key? Without an arena. */
bool address_same(struct vr_str a, struct vr_str b);

/* ---- RFC 5322 ------------------------------------------------------------------------------------------------ */

struct address_mailbox {
    struct vr_str name;       /* display name, quotes and RFC 2047 words undone, UTF-8; empty when there is none */
    struct vr_str local;
    struct vr_str domain;
    struct vr_str text;       /* the addr-spec as it stands in the message, for lenient readers */
    struct vr_str group;      /* the group's display name; empty outside of groups */
    struct address_mailbox *next;
};

/* Reads the body of From, To, Cc, … : mailboxes, groups, comments, folding, obsolete forms (RFC 5322 §4.4), and what
 * is found in the wild, leniently: what cannot be understood is skipped. *out is NULL when there is none.
 * VR_ERR_TOO_BIG when the arena is full. */
enum vr_err address_parse_list(struct vr_arena *arena, struct vr_str field_body, struct address_mailbox **out);

/* Appends "Name <local@domain>", the name quoted or RFC 2047-encoded where it must be. */
bool address_write_mailbox(struct vr_buf *out, struct vr_str name, struct vr_str addr_spec);

#endif
