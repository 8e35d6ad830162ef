/* mail_digest.c - see mail_digest.h.
 *
 * States:     HEADER -> BODY [header_complete] -> ENDED [mail_digest_end]; TOO_BIG is final
 * Invariants: (1) `header` does not change after header_complete: the index and its callers point into it
 *             (2) each canonical form that somebody needs has a lane; each lane feeds its hashes with the same bytes
 *             (3) marks of a lane (l=) are sorted; those below `passed` have their digests
 * Does not:   judge. What it reads of signatures are a=, c= and l=.
 * Source:     RFC 6376 §3.7
 * Tests:      tests/unit/mail_digest.c
 */
#include "inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MARKS_MAX (DKIM_SIGNATURES_MAX + ARC_SETS_MAX) /* at most one of each signature, in each lane */
#define PARSE_MAX (256u << 10)

enum hash_kind { HASH_SHA256, HASH_SHA1, HASHES };

struct mark {
    uint64_t length;
    uint8_t digest[HASHES][32];
};

struct lane {
    bool used;
    struct canon_body body;
    EVP_MD_CTX *ctx[HASHES]; /* NULL: not needed */
    uint8_t digest[HASHES][32];
    uint64_t length; /* canonical octets so far */
    size_t mark_count, passed;
    struct mark *marks;
    struct mail_digest *d;
};

struct mail_digest {
    struct mail_digest_config config;
    enum { HEADER, BODY, ENDED, TOO_BIG } state;
    bool failed; /* memory was out */
    struct vr_buf header;
    size_t line;    /* where the line that is being read begins */
    size_t scanned; /* up to here there is no line end in it */
    size_t fields;
    struct header_entry *entries;
    struct header_index index;
    struct lane lanes[2]; /* by enum mail_canon */
    EVP_MD_CTX *snapshot;
    uint64_t body_size;
};

static const size_t hash_sizes[HASHES] = {[HASH_SHA256] = 32, [HASH_SHA1] = 20};

struct mail_digest *mail_digest_new(const struct mail_digest_config *config)
{
    struct mail_digest *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->config = *config;
    vr_buf_init(&d->header, config->header_max > 0 ? config->header_max : MAIL_DIGEST_HEADER_MAX);
    for (int canon = 0; canon < 2; canon++) {
        d->lanes[canon].d = d;
        d->lanes[canon].body.canon = (enum mail_canon)canon;
    }
    return d;
}

void mail_digest_free(struct mail_digest *d)
{
    if (d == NULL)
        return;
    for (int canon = 0; canon < 2; canon++) {
        for (int kind = 0; kind < HASHES; kind++)
            EVP_MD_CTX_free(d->lanes[canon].ctx[kind]);
        free(d->lanes[canon].marks);
    }
    EVP_MD_CTX_free(d->snapshot);
    free(d->entries);
    vr_buf_fini(&d->header);
    free(d);
}

/* ---- the body's hashes -------------------------------------------------------------------------------------------- */

static void update(struct lane *l, struct vr_str bytes)
{
    for (int kind = 0; kind < HASHES; kind++)
        if (l->ctx[kind] != NULL && bytes.n > 0 && EVP_DigestUpdate(l->ctx[kind], bytes.p, bytes.n) != 1)
            l->d->failed = true;
    l->length += bytes.n;
}

/* Marks at the lane's length get the digest of what came so far. */
static void take_marks(struct lane *l)
{
    for (; l->passed < l->mark_count && l->marks[l->passed].length == l->length; l->passed++)
        for (int kind = 0; kind < HASHES; kind++)
            if (l->ctx[kind] != NULL &&
                (EVP_MD_CTX_copy_ex(l->d->snapshot, l->ctx[kind]) != 1 ||
                 EVP_DigestFinal_ex(l->d->snapshot, l->marks[l->passed].digest[kind], NULL) != 1))
                l->d->failed = true;
}

static void lane_sink(void *arg, struct vr_str bytes)
{
    struct lane *l = arg;
    while (bytes.n > 0) {
        take_marks(l);
        uint64_t left = l->passed < l->mark_count ? l->marks[l->passed].length - l->length : UINT64_MAX;
        size_t n = left < bytes.n ? (size_t)left : bytes.n;
        update(l, vr_str_sub(bytes, 0, n));
        bytes = vr_str_from_pos(bytes, n);
    }
}

static void lane_end(struct lane *l)
{
    canon_body_end(&l->body, lane_sink, l);
    take_marks(l);
    for (int kind = 0; kind < HASHES; kind++)
        if (l->ctx[kind] != NULL && EVP_DigestFinal_ex(l->ctx[kind], l->digest[kind], NULL) != 1)
            l->d->failed = true;
}

/* ---- what is needed ------------------------------------------------------------------------------------------------ */

static void need_mark(struct lane *l, uint64_t length)
{
    size_t at = 0;
    if (l->marks == NULL)
        l->marks = calloc(MARKS_MAX, sizeof *l->marks);
    if (l->marks == NULL) {
        l->d->failed = true;
        return;
    }
    while (at < l->mark_count && l->marks[at].length < length)
        at++;
    if (at < l->mark_count && l->marks[at].length == length)
        return;
    assert(l->mark_count < MARKS_MAX);
    memmove(&l->marks[at + 1], &l->marks[at], (l->mark_count - at) * sizeof *l->marks);
    l->marks[at].length = length;
    l->mark_count++;
}

static void need(struct mail_digest *d, enum mail_canon canon, enum hash_kind kind, uint64_t length)
{
    struct lane *l = &d->lanes[canon];
    l->used = true;
    if (l->ctx[kind] == NULL) {
        l->ctx[kind] = EVP_MD_CTX_new();
        const EVP_MD *md = kind == HASH_SHA1 ? EVP_sha1() : EVP_sha256();
        if (l->ctx[kind] == NULL || EVP_DigestInit_ex(l->ctx[kind], md, NULL) != 1)
            d->failed = true;
    }
    if (length != UINT64_MAX)
        need_mark(l, length);
    if (l->mark_count > 0 && d->snapshot == NULL && (d->snapshot = EVP_MD_CTX_new()) == NULL)
        d->failed = true;
}

static void need_of_signature(struct mail_digest *d, enum sig_kind kind, const struct header_entry *e)
{
    struct vr_arena arena;
    struct sig s;
    vr_arena_init(&arena, PARSE_MAX + 2 * e->raw.n);
    if (sig_parse(&arena, kind, e, &s) == VR_OK && !s.bad) {
        enum hash_kind hash_kind = s.algorithm == DKIM_RSA_SHA1 ? HASH_SHA1 : HASH_SHA256;
        need(d, s.body_canon, hash_kind, s.length);
        if (kind == SIG_MESSAGE && !s.canon_given) /* see arc_validate.c */
            need(d, MAIL_CANON_RELAXED, hash_kind, s.length);
    }
    vr_arena_fini(&arena);
}

static void find_needs(struct mail_digest *d)
{
    size_t signatures = 0, sets = 0;
    for (size_t i = 0; d->config.verify && i < d->index.count; i++) {
        const struct header_entry *e = &d->index.entries[i];
        if (header_is(e, VR_STR("DKIM-Signature")) && signatures++ < DKIM_SIGNATURES_MAX)
            need_of_signature(d, SIG_DKIM, e);
        else if (header_is(e, VR_STR("ARC-Message-Signature")) && sets++ < ARC_SETS_MAX)
            need_of_signature(d, SIG_MESSAGE, e);
    }
    for (int canon = 0; canon < 2; canon++)
        if (d->config.sign[canon])
            need(d, (enum mail_canon)canon, HASH_SHA256, UINT64_MAX);
}

/* ---- the header ----------------------------------------------------------------------------------------------------- */

uint32_t header_key(struct vr_str name)
{
    uint32_t key = 2166136261u;
    for (size_t i = 0; i < name.n; i++)
        key = (key ^ (unsigned char)vr_lower(name.p[i])) * 16777619u;
    return key;
}

bool header_is(const struct header_entry *e, struct vr_str name)
{
    return e->name.n == name.n && vr_str_equal_nocase(e->name, name);
}

static size_t fill_entries(struct vr_str text, struct header_entry *entries, size_t max)
{
    struct header_reader r;
    struct header_field f;
    size_t n = 0;
    header_reader_init(&r, text);
    while (n < max && header_next(&r, &f))
        entries[n++] = (struct header_entry){f.raw, f.name, f.body, header_key(f.name)};
    return n;
}

/* The header's text is in d->header, with the blank line if there is one. */
static enum vr_err header_complete(struct mail_digest *d)
{
    d->entries = calloc(d->fields > 0 ? d->fields : 1, sizeof *d->entries);
    if (d->entries == NULL) {
        d->state = TOO_BIG;
        return VR_ERR_TOO_BIG;
    }
    d->index.entries = d->entries;
    d->index.count = fill_entries(vr_buf_str(&d->header), d->entries, d->fields);
    d->state = BODY;
    find_needs(d);
    return VR_OK;
}

/* Is it a line of the header? The first that is none begins the body, like header_reader's `malformed`. */
static bool is_header_line(struct mail_digest *d, struct vr_str line)
{
    struct header_reader r;
    struct header_field f;
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return d->fields > 0;
    header_reader_init(&r, line);
    if (!header_next(&r, &f))
        return false;
    d->fields++;
    return true;
}

/* Looks at the lines that are complete. Returns true when the header ends; *used: how many octets of it belong to the header. */
static bool find_header_end(struct mail_digest *d, size_t *used)
{
    struct vr_str all = vr_buf_str(&d->header);
    for (;;) {
        size_t lf = vr_str_find(vr_str_from_pos(all, d->scanned), '\n');
        if (lf == VR_NPOS) {
            d->scanned = all.n;
            return false;
        }
        size_t end = d->scanned + lf + 1;
        struct vr_str line = vr_str_sub(all, d->line, end - d->line);
        bool blank = vr_str_equal(line, VR_STR("\n")) || vr_str_equal(line, VR_STR("\r\n"));
        if (blank || !is_header_line(d, line)) {
            *used = blank ? end : d->line;
            return true;
        }
        d->line = d->scanned = end;
    }
}

static enum vr_err too_big(struct mail_digest *d)
{
    d->state = TOO_BIG;
    vr_buf_release(&d->header);
    return VR_ERR_TOO_BIG;
}

static void feed_body(struct mail_digest *d, struct vr_str bytes)
{
    d->body_size += bytes.n;
    for (int canon = 0; canon < 2; canon++)
        if (d->lanes[canon].used)
            canon_body_feed(&d->lanes[canon].body, bytes, lane_sink, &d->lanes[canon]);
}

/* The header ends at `used`; what is behind it in the buffer is of the body, and stays where it is (invariant 1). */
static enum vr_err begin_body(struct mail_digest *d, size_t used)
{
    struct vr_str body = vr_str_from_pos(vr_buf_str(&d->header), used);
    d->header.end = d->header.start + used;
    if (d->fields > MAIL_DIGEST_FIELDS_MAX)
        return too_big(d);
    enum vr_err e = header_complete(d);
    if (e == VR_OK)
        feed_body(d, body);
    return e;
}

/* A piece that is not longer than 4 KiB, so that the bound is one of the header, not of what came together with its end. */
static enum vr_err feed_header(struct mail_digest *d, struct vr_str *bytes)
{
    struct vr_str piece = vr_str_sub(*bytes, 0, 4096);
    size_t room = d->header.max - vr_buf_size(&d->header), used;
    bool cut = piece.n > room;
    piece = vr_str_sub(piece, 0, room);
    if (piece.n > 0 && !vr_buf_add(&d->header, piece))
        return too_big(d);
    *bytes = vr_str_from_pos(*bytes, piece.n);
    if (find_header_end(d, &used))
        return begin_body(d, used);
    return cut || d->fields > MAIL_DIGEST_FIELDS_MAX ? too_big(d) : VR_OK;
}

enum vr_err mail_digest_feed(struct mail_digest *d, struct vr_str bytes)
{
    while (d->state == HEADER && bytes.n > 0)
        feed_header(d, &bytes);
    if (d->state == TOO_BIG || d->state == ENDED)
        return d->state == TOO_BIG ? VR_ERR_TOO_BIG : VR_ERR_STATE;
    if (bytes.n > 0)
        feed_body(d, bytes);
    return VR_OK;
}

/* The last line has no end: it is a line of the header all the same, or the first of the body. A lone CR is nothing. */
static void end_header(struct mail_digest *d)
{
    struct vr_str all = vr_buf_str(&d->header), line = vr_str_from_pos(all, d->line);
    bool header = line.n > 0 && is_header_line(d, line);
    if (!header && vr_str_equal(line, VR_STR("\r")))
        d->header.end--;
    begin_body(d, header ? all.n : d->line);
}

enum vr_err mail_digest_end(struct mail_digest *d)
{
    if (d->state == HEADER)
        end_header(d);
    if (d->state == TOO_BIG || d->state == ENDED)
        return d->state == TOO_BIG ? VR_ERR_TOO_BIG : VR_ERR_STATE;
    for (int canon = 0; canon < 2; canon++)
        if (d->lanes[canon].used)
            lane_end(&d->lanes[canon]);
    d->state = d->failed ? TOO_BIG : ENDED;
    return d->failed ? VR_ERR_TOO_BIG : VR_OK;
}

/* ---- what is known ---------------------------------------------------------------------------------------------------- */

bool mail_digest_has_header(const struct mail_digest *d)
{
    return d->state == BODY || d->state == ENDED;
}

bool mail_digest_ended(const struct mail_digest *d)
{
    return d->state == ENDED;
}

struct vr_str mail_digest_header(const struct mail_digest *d)
{
    return mail_digest_has_header(d) ? vr_buf_str(&d->header) : vr_str(NULL, 0);
}

uint64_t mail_digest_body_size(const struct mail_digest *d)
{
    return d->body_size;
}

const struct header_index *digest_index(const struct mail_digest *d)
{
    return &d->index;
}

bool digest_too_big(const struct mail_digest *d)
{
    return d->state == TOO_BIG;
}

bool digest_verifies(const struct mail_digest *d)
{
    return d->config.verify;
}

enum vr_err header_index_join(const struct mail_digest *d, struct vr_str added, struct vr_arena *arena,
                              struct header_index *out)
{
    size_t most = 1;
    for (size_t i = 0; i < added.n; i++)
        most += added.p[i] == '\n';
    struct header_entry *entries = vr_arena_alloc(arena, (d->index.count + most) * sizeof *entries);
    if (entries == NULL)
        return VR_ERR_TOO_BIG;
    size_t n = fill_entries(added, entries, most);
    memcpy(entries + n, d->index.entries, d->index.count * sizeof *entries);
    *out = (struct header_index){entries, n + d->index.count};
    return VR_OK;
}

bool digest_body_hash(const struct mail_digest *d, enum mail_canon canon, bool sha1, uint64_t length,
                      struct body_hash *out)
{
    const struct lane *l = &d->lanes[canon];
    enum hash_kind kind = sha1 ? HASH_SHA1 : HASH_SHA256;
    if (d->state != ENDED || l->ctx[kind] == NULL)
        return false;
    const uint8_t *digest = length >= l->length ? l->digest[kind] : NULL;
    for (size_t i = 0; digest == NULL && i < l->mark_count; i++)
        if (l->marks[i].length == length)
            digest = l->marks[i].digest[kind];
    if (digest == NULL)
        return false;
    out->n = hash_sizes[kind];
    out->length = l->length;
    memcpy(out->bytes, digest, out->n);
    return true;
}
