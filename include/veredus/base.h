/* base.h - slices, arenas and bounded buffers: what every module of libveredus is written with.
 *
 * Promise:    no function here calls the system; memory comes from malloc, always under a maximum that the caller
 *             set. Data that does not fit is reported ("too big"), never cut silently.
 * Lifetimes:  a vr_str owns nothing; a vr_arena owns all that was allocated from it; a vr_buf owns its bytes.
 * Tests:      tests/unit/base.c
 */
#ifndef VEREDUS_BASE_H
#define VEREDUS_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a function that can fail returns. 0 is fine. A peer's fault is data (an event, a reply), not one of these. */
enum vr_err {
    VR_OK = 0,
    VR_ERR_SYNTAX,      /* the input does not follow its grammar */
    VR_ERR_TOO_BIG,     /* a bound given by the caller or by the RFC was reached */
    VR_ERR_UNSUPPORTED, /* well-formed, but not something this version does */
    VR_ERR_STATE,       /* the call is not allowed now */
    VR_ERR_NOT_FOUND
};

/* The name of an error, for logs and tests: "ok", "syntax", … Never NULL. */
const char *vr_err_name(enum vr_err e);

/* ---- slices ---------------------------------------------------------------------------------------------- */

/* Bytes that somebody else owns. p may be NULL when n is 0. Not NUL-terminated. */
struct vr_str {
    const char *p;
    size_t n;
};

#define VR_STR(literal) ((struct vr_str){(literal), sizeof(literal) - 1})
#define VR_STR_INIT(literal) {(literal), sizeof(literal) - 1} /* the same for static tables */
#define VR_STR_ARG(s)   (int)(s).n, (s).p ? (s).p : "" /* for "%.*s" */

struct vr_str vr_str(const char *p, size_t n);
struct vr_str vr_str_from(const char *nul_terminated); /* NULL gives the empty slice */
bool vr_str_equal(struct vr_str a, struct vr_str b);
bool vr_str_equal_nocase(struct vr_str a, struct vr_str b); /* ASCII letters only, as SMTP has it */
int vr_str_compare(struct vr_str a, struct vr_str b);       /* memcmp order, then length */
bool vr_str_starts(struct vr_str s, struct vr_str prefix);
bool vr_str_starts_nocase(struct vr_str s, struct vr_str prefix);
bool vr_str_ends_nocase(struct vr_str s, struct vr_str suffix);
struct vr_str vr_str_from_pos(struct vr_str s, size_t from);            /* s[from..], clipped */
struct vr_str vr_str_sub(struct vr_str s, size_t from, size_t length); /* clipped to s */
struct vr_str vr_str_trim(struct vr_str s);                             /* SP, HTAB, CR, LF at both ends */
#define VR_NPOS ((size_t)-1)
size_t vr_str_find(struct vr_str s, char c);      /* index of the first, or VR_NPOS */
size_t vr_str_find_last(struct vr_str s, char c); /* index of the last, or VR_NPOS */
size_t vr_str_find_str(struct vr_str s, struct vr_str needle);
/* Takes the text before the next `sep` off *rest (the whole of it when there is none). False when *rest is empty. */
bool vr_str_split(struct vr_str *rest, char sep, struct vr_str *part);
/* Decimal digits only, whole slice, no sign. False on anything else and on overflow. */
bool vr_str_to_u64(struct vr_str s, uint64_t *out);
bool vr_utf8_valid(struct vr_str s);
/* Takes the character at the start of *rest off. False, and *rest stays: there is none, or it is not UTF-8 (RFC 3629 §4). */
bool vr_utf8_next(struct vr_str *rest, uint32_t *character);
bool vr_str_is_ascii(struct vr_str s); /* every byte < 0x80 */
char vr_lower(char c);                 /* ASCII */

/* ---- arenas ---------------------------------------------------------------------------------------------- */

/* Memory that dies together. Nothing is allocated until first use, so an unused arena costs only this struct.
 * Free space is poisoned under ASan. */
struct vr_arena {
    struct vr_arena_block *head;
    size_t used; /* bytes handed out and held in blocks, for the bound */
    size_t max;
};

void vr_arena_init(struct vr_arena *a, size_t max_bytes);
void vr_arena_fini(struct vr_arena *a);
void vr_arena_reset(struct vr_arena *a);               /* frees everything; the arena stays usable */
void *vr_arena_alloc(struct vr_arena *a, size_t n);    /* zeroed, 16-aligned; NULL when over max */
/* Copies; the copy is also NUL-terminated one past its end (for handing to libraries). {NULL,0} when over max and
 * n > 0. */
struct vr_str vr_arena_dup(struct vr_arena *a, struct vr_str s);
struct vr_str vr_arena_lower(struct vr_arena *a, struct vr_str s); /* a copy in ASCII lower case */
struct vr_str vr_arena_printf(struct vr_arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- buffers --------------------------------------------------------------------------------------------- */

/* Bytes gathered at the end and taken from the front, never more than `max`. Once something did not fit, `too_big`
 * stays set until reset and the buffer holds what fitted before: check it once at the end of a series. */
struct vr_buf {
    char *p;
    size_t start; /* first live byte */
    size_t end;   /* one past the last live byte */
    size_t capacity;
    size_t max;
    bool too_big;
};

void vr_buf_init(struct vr_buf *b, size_t max_bytes);
void vr_buf_fini(struct vr_buf *b);
void vr_buf_reset(struct vr_buf *b);   /* empties, keeps the memory */
void vr_buf_release(struct vr_buf *b); /* empties and frees the memory (an idle session holds none) */
struct vr_str vr_buf_str(const struct vr_buf *b);
size_t vr_buf_size(const struct vr_buf *b);
bool vr_buf_add(struct vr_buf *b, struct vr_str s); /* all or nothing; false sets too_big */
bool vr_buf_add_byte(struct vr_buf *b, char c);
bool vr_buf_addf(struct vr_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool vr_buf_add_u64(struct vr_buf *b, uint64_t decimal);
void vr_buf_consume(struct vr_buf *b, size_t n); /* drops n bytes from the front; asserts n <= size */
/* Room for n more bytes at the end (NULL when over max), to be declared filled with vr_buf_filled. */
char *vr_buf_reserve(struct vr_buf *b, size_t n);
void vr_buf_filled(struct vr_buf *b, size_t n);

/* ---- codes ----------------------------------------------------------------------------------------------- */

/* RFC 4648 §4 with padding. Decoding is strict: no blanks, padding required, unused bits zero. */
bool vr_base64_encode(struct vr_buf *out, struct vr_str in);
enum vr_err vr_base64_decode(struct vr_buf *out, struct vr_str in);

/* CRC-32C (Castagnoli), by the processor's instruction where there is one. Start with crc = 0; chain by passing the
 * previous result. */
uint32_t vr_crc32c(uint32_t crc, const void *data, size_t n);

/* SipHash-2-4: a keyed hash for tables whose keys come from strangers. */
uint64_t vr_siphash(const uint8_t key[16], const void *data, size_t n);

#endif
