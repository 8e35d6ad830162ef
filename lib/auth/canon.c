/* canon.c - see canon.h. Canonicalisation should cost little beside the hash that follows it.
 *
 * A body in simple form is what came, but for the line ends at its end; it goes to the sink as it stands, in pieces that are as long as possible, and only the line
 * ends at the end of each are held back (`feed_lines`).
 * Relaxed form is the same after blanks were squeezed: of a run of them only the last stays, as a blank, and none before a line end. `squeeze` does that
 * for 64 octets at a time, without a look at each: which octets go is a mask, and what is between them is moved as a whole.
 *
 * Source: RFC 6376 §3.4.3, §3.4.4 (bodies), §3.4.1, §3.4.2 (header fields).
 * Tests:  tests/unit/mail_digest.c (forms and splits, against a form made byte by byte), tests/bench/auth.c
 */
#include "canon.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const struct vr_str crlf = VR_STR_INIT("\r\n");

/* ---- the end of a body ----------------------------------------------------------------------------------------------- */

/* Lines that were held back turn out to be inside of the body. */
static void release_lines(struct canon_body *c, canon_sink *sink, void *arg)
{
    static const char many[] = "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
    const uint64_t most = (sizeof many - 1) / 2;
    while (c->lines > 0) {
        uint64_t n = c->lines < most ? c->lines : most;
        sink(arg, vr_str(many, (size_t)n * 2));
        c->lines -= n;
    }
}

/* A CR was held back: is it half of a line end? Takes the other half off *in. */
static void resolve_cr(struct canon_body *c, struct vr_str *in, canon_sink *sink, void *arg)
{
    c->cr = false;
    if (in->n > 0 && in->p[0] == '\n') {
        c->lines++;
        *in = vr_str_from_pos(*in, 1);
        return;
    }
    release_lines(c, sink, arg);
    sink(arg, VR_STR("\r"));
    c->content = true;
}

static void feed_lines(struct canon_body *c, struct vr_str in, canon_sink *sink, void *arg)
{
    if (c->cr && in.n > 0)
        resolve_cr(c, &in, sink, arg);
    while (in.n >= 2 && in.p[0] == '\r' && in.p[1] == '\n') {
        c->lines++;
        in = vr_str_from_pos(in, 2);
    }
    if (in.n > 0 && in.p[in.n - 1] == '\r') {
        c->cr = true;
        in.n--;
    }
    if (in.n == 0)
        return;
    release_lines(c, sink, arg); /* in does not begin with a line end */
    while (in.n >= 2 && in.p[in.n - 1] == '\n' && in.p[in.n - 2] == '\r') {
        in.n -= 2;
        c->lines++;
    }
    sink(arg, in);
    c->content = true;
}

/* ---- blanks ----------------------------------------------------------------------------------------------------------- */

#define BLOCK 64
#define BLOCK_SEE                                                                                            \
    130 /* what a block may look at: itself, two octets behind it, and as much again where octets are moved */

typedef unsigned char octets __attribute__((vector_size(16)));

static inline octets load(const char *p)
{
    octets v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* A bit for each octet of v that is not 0 (then it is 0xFF); bit 0 is the first. */
static inline uint64_t bits(octets v)
{
#if defined(__SSE2__)
    return (uint64_t)(unsigned)_mm_movemask_epi8((__m128i)v);
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t half[2];
    memcpy(half, &v, sizeof v);
    for (size_t i = 0; i < 2; i++) /* one bit of each octet, gathered in the highest octet */
        half[i] = (half[i] & 0x0101010101010101u) * 0x0102040810204080u >> 56;
    return half[0] | half[1] << 8;
#else
    uint64_t out = 0;
    for (size_t i = 0; i < sizeof v; i++)
        out |= (uint64_t)(v[i] & 1) << i;
    return out;
#endif
}

static inline uint64_t bits_where(const char *p, unsigned char c)
{
    return bits((octets)(load(p) == c)) | bits((octets)(load(p + 16) == c)) << 16 |
           bits((octets)(load(p + 32) == c)) << 32 | bits((octets)(load(p + 48) == c)) << 48;
}

/* Copies 16 octets, a TAB as a blank, and tells of its blanks and CRs. */
static inline void copy_16(const char *p, char *out, uint64_t *blanks, uint64_t *crs)
{
    octets v = load(p), tabs = (octets)(v == '\t');
    *blanks = bits((octets)(v == ' ') | tabs);
    *crs = bits((octets)(v == '\r'));
    v ^= tabs & (unsigned char)('\t' ^ ' ');
    memcpy(out, &v, sizeof v);
}

static inline __attribute__((always_inline)) void copy_block(const char *p, char *out, uint64_t *blanks,
                                                             uint64_t *crs)
{
    uint64_t b[4], c[4];
    copy_16(p, out, &b[0], &c[0]);
    copy_16(p + 16, out + 16, &b[1], &c[1]);
    copy_16(p + 32, out + 32, &b[2], &c[2]);
    copy_16(p + 48, out + 48, &b[3], &c[3]);
    *blanks = b[0] | b[1] << 16 | b[2] << 32 | b[3] << 48;
    *crs = c[0] | c[1] << 16 | c[2] << 32 | c[3] << 48;
}

/* 64 octets at p, of which BLOCK_SEE can be read. Returns the end of what was written; NULL: there is a CR without LF behind a blank, which only a
 * look at each octet can settle. */
static inline __attribute__((always_inline)) char *squeeze_block(const char *p, char *out)
{
    uint64_t blanks, crs, unused;
    copy_block(p, out, &blanks, &crs);
    uint64_t before_blank = blanks >> 1 | (uint64_t)(p[BLOCK] == ' ' || p[BLOCK] == '\t') << 63;
    uint64_t before_cr = crs >> 1 | (uint64_t)(p[BLOCK] == '\r') << 63;
    uint64_t gone = blanks & (before_blank | before_cr);
    if (gone == 0)
        return out + BLOCK;
    if (gone & before_cr & ~bits_where(p + 2, '\n'))
        return NULL;
    size_t from = 0;
    for (
        ; gone != 0;
        gone &=
        gone -
        1) { /* what stands behind one that goes is moved up: more than is wanted, the rest is written over */
        size_t k = (size_t)__builtin_ctzll(gone);
        out += k - from;
        from = k + 1;
        copy_block(p + from, out, &unused, &unused);
    }
    return out + (BLOCK - from);
}

/* One octet, when what came before or what follows is not there to be looked at. Writes at most 3. */
static char *squeeze_octet(struct canon_body *c, char octet, char *out)
{
    if (c->blank_cr) {
        if (octet != '\n')
            *out++ = ' ';
        *out++ = '\r';
        c->blank = c->blank_cr = false;
    }
    if (octet == ' ' || octet == '\t') {
        c->blank = true;
    } else if (octet == '\r' && c->blank) {
        c->blank_cr = true;
    } else {
        if (c->blank)
            *out++ = ' ';
        c->blank = false;
        *out++ = octet;
    }
    return out;
}

static void feed_relaxed(struct canon_body *c, struct vr_str in, canon_sink *sink, void *arg)
{
    char buffer[4096], *const full = buffer + sizeof buffer - 2 * BLOCK;
    const char *p = in.p, *end = p + in.n;
    while (p < end) {
        char *out = buffer;
        while (p < end && out < full) {
            char *after = !c->blank && end - p >= BLOCK_SEE ? squeeze_block(p, out) : NULL;
            if (after != NULL) {
                out = after;
                p += BLOCK;
            } else {
                out = squeeze_octet(c, *p++, out);
            }
        }
        feed_lines(c, vr_str(buffer, (size_t)(out - buffer)), sink, arg);
    }
}

void canon_body_feed(struct canon_body *c, struct vr_str in, canon_sink *sink, void *arg)
{
    if (in.n == 0)
        return;
    if (c->canon == MAIL_CANON_RELAXED)
        feed_relaxed(c, in, sink, arg);
    else
        feed_lines(c, in, sink, arg);
}

void canon_body_end(struct canon_body *c, canon_sink *sink, void *arg)
{
    struct vr_str nothing = {0};
    if (c->blank_cr) /* a CR at the very end is no line end: the blank before it stays */
        feed_lines(c, VR_STR(" \r"), sink, arg);
    if (c->cr)
        resolve_cr(c, &nothing, sink, arg);
    if (c->canon == MAIL_CANON_SIMPLE || c->content)
        sink(arg, crlf);
}

/* ---- the hash of a header ------------------------------------------------------------------------------------------ */

void canon_hash_init(struct canon_hash *h, bool sha1)
{
    h->ctx = EVP_MD_CTX_new();
    h->staged = 0;
    h->failed = h->ctx == NULL || EVP_DigestInit_ex(h->ctx, sha1 ? EVP_sha1() : EVP_sha256(), NULL) != 1;
}

static void flush(struct canon_hash *h)
{
    if (!h->failed && EVP_DigestUpdate(h->ctx, h->stage, h->staged) != 1)
        h->failed = true;
    h->staged = 0;
}

static inline void add_byte(struct canon_hash *h, char c)
{
    if (h->staged == sizeof h->stage)
        flush(h);
    h->stage[h->staged++] = (unsigned char)c;
}

void canon_hash_add(struct canon_hash *h, struct vr_str bytes)
{
    if (bytes.n > sizeof h->stage - h->staged)
        flush(h);
    if (bytes.n > sizeof h->stage) {
        if (!h->failed && EVP_DigestUpdate(h->ctx, bytes.p, bytes.n) != 1)
            h->failed = true;
    } else if (bytes.n > 0) {
        memcpy(h->stage + h->staged, bytes.p, bytes.n);
        h->staged += bytes.n;
    }
}

size_t canon_hash_fini(struct canon_hash *h, uint8_t out[EVP_MAX_MD_SIZE])
{
    unsigned n = 0;
    flush(h);
    if (!h->failed && EVP_DigestFinal_ex(h->ctx, out, &n) != 1)
        h->failed = true;
    EVP_MD_CTX_free(h->ctx);
    h->ctx = NULL;
    return h->failed ? 0 : n;
}

/* ---- header fields -------------------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Part of a field's value: runs of blanks (with the folding between them) become one, as soon as something follows. */
static void add_relaxed(struct canon_hash *h, struct vr_str part, bool *begun, bool *blank)
{
    for (size_t i = 0; i < part.n; i++) {
        char c = part.p[i];
        bool folding = c == '\n' || (c == '\r' && i + 1 < part.n && part.p[i + 1] == '\n');
        if (folding)
            continue; /* the blank that must follow counts */
        if (c == ' ' || c == '\t') {
            *blank = *begun;
            continue;
        }
        if (*blank)
            add_byte(h, ' ');
        *blank = false;
        *begun = true;
        add_byte(h, c);
    }
}

void canon_field_add(struct canon_hash *h, enum mail_canon canon, const struct canon_field *field)
{
    struct vr_str raw = field->raw;
    if (raw.n > 0 && raw.p[raw.n - 1] == '\n')
        raw.n--;
    if (raw.n > 0 && raw.p[raw.n - 1] == '\r')
        raw.n--;
    size_t from = field->cut_from < raw.n ? field->cut_from : raw.n,
           to = field->cut_to < raw.n ? field->cut_to : raw.n;
    if (canon == MAIL_CANON_SIMPLE) {
        canon_hash_add(h, vr_str_sub(raw, 0, from));
        canon_hash_add(h, vr_str_from_pos(raw, to));
    } else {
        size_t colon = vr_str_find(raw, ':'), name = colon;
        while (name > 0 && is_blank(raw.p[name - 1]))
            name--;
        for (size_t i = 0; i < name; i++)
            add_byte(h, vr_lower(raw.p[i]));
        add_byte(h, ':');
        bool begun = false, blank = false;
        size_t value = from > colon ? from - colon - 1 : 0;
        add_relaxed(h, vr_str_sub(raw, colon + 1, value), &begun, &blank);
        add_relaxed(h, vr_str_from_pos(raw, to > colon ? to : colon + 1), &begun, &blank);
    }
    if (!field->last)
        canon_hash_add(h, crlf);
}
