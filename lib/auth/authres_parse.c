/* authres_parse.c - reading Authentication-Results (RFC 8601 §2.2), and finding the forged ones (§5). See authres.h.
 *
 * A little more is taken than the grammar has, as it is found in the wild: any characters but blanks, ";", "(" and quotes in a value, a ";" at the end.
 *
 * Tests: tests/unit/authres.c
 */
#include "inside.h"

#include <veredus/authres.h>
#include <veredus/idn.h>

#include <string.h>

/* ---- words ------------------------------------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What follows the comment at the start of s. */
static struct vr_str skip_comment(struct vr_str s)
{
    size_t depth = 0, i = 0;
    for (; i < s.n; i++) {
        if (s.p[i] == '\\' && i + 1 < s.n)
            i++;
        else if (s.p[i] == '(')
            depth++;
        else if (s.p[i] == ')' && --depth == 0)
            return vr_str_from_pos(s, i + 1);
    }
    return vr_str_from_pos(s, s.n);
}

struct vr_str cfws_skip(struct vr_str s)
{
    while (s.n > 0 && (is_blank(s.p[0]) || s.p[0] == '('))
        s = s.p[0] == '(' ? skip_comment(s) : vr_str_from_pos(s, 1);
    return s;
}

struct parser {
    struct vr_arena *arena;
    struct vr_str rest;
    bool too_big;
};

static bool take(struct parser *p, char c)
{
    p->rest = cfws_skip(p->rest);
    if (p->rest.n == 0 || p->rest.p[0] != c)
        return false;
    p->rest = vr_str_from_pos(p->rest, 1);
    return true;
}

/* Letters, digits, "-", "_". */
static bool take_keyword(struct parser *p, struct vr_str *out)
{
    size_t n = 0;
    p->rest = cfws_skip(p->rest);
    for (; n < p->rest.n; n++) {
        char c = p->rest.p[n], l = vr_lower(c);
        if (!(l >= 'a' && l <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
            break;
    }
    *out = vr_str_sub(p->rest, 0, n);
    p->rest = vr_str_from_pos(p->rest, n);
    return n > 0;
}

static bool take_number(struct parser *p, unsigned *out)
{
    uint64_t n;
    size_t digits = 0;
    struct vr_str rest = cfws_skip(p->rest);
    while (digits < rest.n && rest.p[digits] >= '0' && rest.p[digits] <= '9')
        digits++;
    if (!vr_str_to_u64(vr_str_sub(rest, 0, digits), &n))
        return false;
    *out = n > 1000000 ? 1000000 : (unsigned)n;
    p->rest = vr_str_from_pos(rest, digits);
    return true;
}

/* The quoted string at the start, undone. */
static bool take_quoted(struct parser *p, struct vr_str *out)
{
    struct vr_str copy = vr_arena_dup(p->arena, p->rest);
    size_t n = 0;
    p->too_big |= copy.n == 0;
    for (size_t i = 1; i < copy.n; i++) {
        if (copy.p[i] == '"') {
            *out = vr_str(copy.p, n);
            p->rest = vr_str_from_pos(p->rest, i + 1);
            return true;
        }
        if (copy.p[i] == '\r' || copy.p[i] == '\n') /* folding; the blank behind it counts */
            continue;
        if (copy.p[i] == '\\' && i + 1 < copy.n)
            i++;
        ((char *)copy.p)[n++] = copy.p[i];
    }
    return false;
}

/* token / quoted-string, and addresses: all up to a blank, ";" or "(". */
static bool take_value(struct parser *p, struct vr_str *out)
{
    p->rest = cfws_skip(p->rest);
    struct vr_str begin = p->rest;
    if (p->rest.n > 0 && p->rest.p[0] == '"') {
        if (!take_quoted(p, out))
            return false;
        if (p->rest.n == 0 || p->rest.p[0] != '@')
            return true;
    }
    size_t n = (size_t)(p->rest.p - begin.p); /* "a b"@example.org: as it stands */
    while (n < begin.n && !is_blank(begin.p[n]) && begin.p[n] != ';' && begin.p[n] != '(' &&
           begin.p[n] != '"')
        n++;
    *out = vr_str_sub(begin, 0, n);
    p->rest = vr_str_from_pos(begin, n);
    return n > 0;
}

/* ---- results ---------------------------------------------------------------------------------------------------------- */

static bool take_property(struct parser *p, struct vr_str ptype, struct authres_result *r,
                          struct authres_property *list)
{
    struct authres_property *to = &list[r->property_count];
    if (r->property_count == AUTHRES_PROPERTIES_MAX) {
        p->too_big = true;
        return false;
    }
    to->ptype = ptype;
    if (!take_keyword(p, &to->property) || !take(p, '=') || !take_value(p, &to->value))
        return false;
    r->property_count++;
    return true;
}

/* methodspec [reasonspec] *propspec */
static bool take_result(struct parser *p, struct authres_result *r)
{
    struct authres_property list[AUTHRES_PROPERTIES_MAX];
    struct vr_str word;
    if (!take_keyword(p, &r->method) || (take(p, '/') && !take_number(p, &r->version)) || !take(p, '=') ||
        !take_keyword(p, &r->result))
        return false;
    for (;;) {
        p->rest = cfws_skip(p->rest);
        if (p->rest.n == 0 || p->rest.p[0] == ';')
            break;
        if (!take_keyword(p, &word))
            return false;
        if (take(p, '.')) {
            if (!take_property(p, word, r, list))
                return false;
        } else if (!vr_str_equal_nocase(word, VR_STR("reason")) || !take(p, '=') ||
                   !take_value(p, &r->reason)) {
            return false;
        }
    }
    struct authres_property *kept =
        r->property_count > 0 ? vr_arena_alloc(p->arena, r->property_count * sizeof *kept) : list;
    p->too_big |= kept == NULL;
    if (kept != NULL && kept != list)
        memcpy(kept, list, r->property_count * sizeof *kept);
    r->properties = kept != list ? kept : NULL;
    return kept != NULL;
}

/* ";" none, or ";" result … */
static bool take_results(struct parser *p, struct authres *out, struct authres_result *results)
{
    struct parser ahead = *p;
    struct vr_str word;
    if (take(&ahead, ';') && take_keyword(&ahead, &word) && vr_str_equal_nocase(word, VR_STR("none")) &&
        cfws_skip(ahead.rest).n == 0)
        return true;
    while (take(p, ';')) {
        struct vr_str begin = cfws_skip(p->rest);
        if (begin.n == 0 && out->result_count > 0) /* a ";" at the end */
            return true;
        if (out->result_count == AUTHRES_RESULTS_MAX) {
            p->too_big = true;
            return false;
        }
        struct authres_result *r = &results[out->result_count];
        *r = (struct authres_result){0};
        begin = vr_str_trim(p->rest);
        if (!take_result(p, r))
            return false;
        r->raw = vr_str_trim(vr_str_sub(begin, 0, (size_t)(p->rest.p - begin.p)));
        out->result_count++;
    }
    return out->result_count > 0 && cfws_skip(p->rest).n == 0;
}

enum vr_err authres_parse(struct vr_arena *arena, struct vr_str body, struct authres *out)
{
    struct parser p = {.arena = arena, .rest = body};
    *out = (struct authres){0};
    if (!take_value(&p, &out->id))
        return p.too_big ? VR_ERR_TOO_BIG : VR_ERR_SYNTAX;
    take_number(&p, &out->version);
    if (out->version > 1)
        return VR_ERR_UNSUPPORTED;
    struct authres_result *results = vr_arena_alloc(arena, AUTHRES_RESULTS_MAX * sizeof *results);
    if (results == NULL)
        return VR_ERR_TOO_BIG;
    bool good = take_results(&p, out, results);
    out->results = results;
    return p.too_big ? VR_ERR_TOO_BIG : good ? VR_OK : VR_ERR_SYNTAX;
}

/* ---- forged fields ------------------------------------------------------------------------------------------------------ */

static bool is_authres(const struct header_field *f)
{
    return vr_str_equal_nocase(f->name, VR_STR("Authentication-Results"));
}

static struct vr_str without_dot(struct vr_str id)
{
    return vr_str_ends_nocase(id, VR_STR(".")) ? vr_str_sub(id, 0, id.n - 1) : id;
}

static bool is_ours(struct vr_str id, const struct vr_str *ids, size_t id_count)
{
    for (size_t i = 0; i < id_count; i++)
        if (idn_equal(without_dot(id), without_dot(ids[i])))
            return true;
    return false;
}

/* May it stay? */
static bool is_foreign(struct vr_str body, const struct vr_str *ids, size_t id_count)
{
    struct vr_arena arena;
    struct authres a;
    vr_arena_init(&arena, (256u << 10) + 2 * body.n);
    bool foreign = authres_parse(&arena, body, &a) == VR_OK && !is_ours(a.id, ids, id_count);
    vr_arena_fini(&arena);
    return foreign;
}

enum vr_err authres_forged(struct vr_arena *arena, struct vr_str header, const struct vr_str *ids,
                           size_t id_count, struct header_field **out, size_t *count)
{
    struct header_reader r;
    struct header_field f;
    size_t all = header_count(header, VR_STR("Authentication-Results"));
    *count = 0;
    *out = all > 0 ? vr_arena_alloc(arena, all * sizeof **out) : NULL;
    if (all > 0 && *out == NULL)
        return VR_ERR_TOO_BIG;
    header_reader_init(&r, header);
    while (header_next(&r, &f))
        if (is_authres(&f) && !is_foreign(f.body, ids, id_count))
            (*out)[(*count)++] = f;
    return VR_OK;
}

/* ---- for ARC -------------------------------------------------------------------------------------------------------------- */

/* As it stands; its lines end in CRLF, and a CR alone, which was read as a blank, is one. */
static void add_folded(struct vr_buf *out, struct vr_str raw)
{
    for (size_t i = 0; i < raw.n; i++)
        if (raw.p[i] == '\n')
            vr_buf_add(out, VR_STR("\r\n"));
        else if (raw.p[i] != '\r')
            vr_buf_add_byte(out, raw.p[i]);
        else if (i + 1 == raw.n || raw.p[i + 1] != '\n')
            vr_buf_add_byte(out, ' ');
}

bool authres_merge(struct vr_buf *out, struct vr_str header, struct vr_str id)
{
    struct header_reader r;
    struct header_field f;
    struct authres none = {.id = id};
    size_t start = vr_buf_size(out);
    bool good = authres_payload(out, &none), any = false;
    size_t empty = vr_buf_size(out);
    header_reader_init(&r, header);
    while (good && header_next(&r, &f)) {
        struct vr_arena arena;
        struct authres a;
        vr_arena_init(&arena, (256u << 10) + 2 * f.body.n);
        if (is_authres(&f) && authres_parse(&arena, f.body, &a) == VR_OK && is_ours(a.id, &id, 1))
            for (size_t i = 0; i < a.result_count; i++, any = true) {
                if (!any) /* in place of "none" */
                    out->end -= empty - start > 5 ? 5 : 0;
                vr_buf_add(out, any ? VR_STR(";\r\n ") : VR_STR("\r\n "));
                add_folded(out, a.results[i].raw);
            }
        vr_arena_fini(&arena);
    }
    return good && !out->too_big;
}
