/* authres.c - writing Authentication-Results (RFC 8601 §2.2). See authres.h.
 *
 * Each result begins a line. Values come from strangers: what is no token or plain address is quoted, what could end a line is replaced, and what would
 * make a line longer than any server takes is cut.
 *
 * Tests: tests/unit/authres.c
 */
#include <veredus/authres.h>

#define LINE_WANTED 78  /* RFC 5322 §2.1.1 */
#define VALUE_MAX   400 /* octets of a value; escaped twice that */
#define PIECE_MAX   2000

struct writer {
    struct vr_buf *out;
    size_t column;
    bool good;
};

static bool is_letter_or_digit(char c)
{
    char l = vr_lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9');
}

/* Keyword (RFC 5321 §4.1.2), and underscores, which some registered names of others have. */
static bool is_keyword(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_letter_or_digit(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
    return s.n > 0 && is_letter_or_digit(s.p[0]);
}

/* token of RFC 2045 §5.1 */
static bool is_token(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || vr_str_find(VR_STR("()<>@,;:\\\"/[]?="), (char)c) != VR_NPOS)
            return false;
    }
    return s.n > 0;
}

/* [local-part] "@" domain-name with a local part that needs no quotes (RFC 5321 Dot-string). */
static bool is_plain_address(struct vr_str s)
{
    size_t at = vr_str_find(s, '@');
    bool dot = true;
    if (at == VR_NPOS || at + 1 == s.n)
        return false;
    for (size_t i = 0; i < at; i++) {
        bool atext =
            is_letter_or_digit(s.p[i]) || vr_str_find(VR_STR("!#$%&'*+-/=?^_`{|}~"), s.p[i]) != VR_NPOS;
        if (!atext && (s.p[i] != '.' || dot))
            return false;
        dot = s.p[i] == '.';
    }
    for (size_t i = at + 1; i < s.n; i++)
        if (!is_letter_or_digit(s.p[i]) && s.p[i] != '-' && s.p[i] != '_' &&
            (s.p[i] != '.' || s.p[i - 1] == '.'))
            return false;
    return at == 0 || !dot;
}

/* Bytes that are neither control bytes nor broken UTF-8, with `special` ones escaped. */
static void add_escaped(struct vr_buf *out, struct vr_str s, struct vr_str special)
{
    if (s.n > VALUE_MAX)
        s.n = VALUE_MAX;
    while (s.n > 0 && ((unsigned char)s.p[s.n - 1] & 0xC0) == 0x80 && !vr_utf8_valid(s))
        s.n--; /* a character that was cut */
    bool utf8 = vr_utf8_valid(s);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < ' ' || c == 0x7f || (c >= 0x80 && !utf8)) {
            vr_buf_add_byte(out, '?');
            continue;
        }
        if (vr_str_find(special, (char)c) != VR_NPOS)
            vr_buf_add_byte(out, '\\');
        vr_buf_add_byte(out, (char)c);
    }
}

static void add_value(struct vr_buf *out, struct vr_str s, bool address)
{
    if (s.n <= VALUE_MAX && (is_token(s) || (address && is_plain_address(s)))) {
        vr_buf_add(out, s);
        return;
    }
    vr_buf_add_byte(out, '"');
    add_escaped(out, s, VR_STR("\"\\"));
    vr_buf_add_byte(out, '"');
}

/* ---- lines ---------------------------------------------------------------------------------------------------------- */

/* Puts a piece behind a blank, or on the next line. */
static void put(struct writer *w, struct vr_buf *piece, bool new_line)
{
    size_t n = vr_buf_size(piece);
    w->good &= !piece->too_big;
    if (new_line || w->column + 1 + n > LINE_WANTED) {
        w->good &= vr_buf_add(w->out, VR_STR("\r\n "));
        w->column = 1;
    } else {
        w->good &= vr_buf_add_byte(w->out, ' ');
        w->column++;
    }
    w->good &= vr_buf_add(w->out, vr_buf_str(piece));
    w->column += n;
    vr_buf_reset(piece);
}

static void write_result(struct writer *w, const struct authres_result *r, bool last)
{
    struct vr_buf piece;
    vr_buf_init(&piece, PIECE_MAX);
    w->good &= is_keyword(r->method) && is_keyword(r->result);
    vr_buf_add(&piece, r->method);
    if (r->version > 0)
        vr_buf_addf(&piece, "/%u", r->version);
    vr_buf_addf(&piece, "=%.*s", VR_STR_ARG(r->result));
    bool more = r->comment.n > 0 || r->reason.n > 0 || r->property_count > 0;
    if (!more && !last)
        vr_buf_add_byte(&piece, ';');
    put(w, &piece, true);
    if (r->comment.n > 0) {
        vr_buf_add_byte(&piece, '(');
        add_escaped(&piece, r->comment, VR_STR("()\\"));
        vr_buf_addf(&piece, ")%s", !last && r->reason.n == 0 && r->property_count == 0 ? ";" : "");
        put(w, &piece, false);
    }
    if (r->reason.n > 0) {
        vr_buf_add(&piece, VR_STR("reason="));
        add_value(&piece, r->reason, false);
        vr_buf_addf(&piece, "%s", !last && r->property_count == 0 ? ";" : "");
        put(w, &piece, false);
    }
    for (size_t i = 0; i < r->property_count; i++) {
        const struct authres_property *p = &r->properties[i];
        w->good &= is_keyword(p->ptype) && is_keyword(p->property);
        vr_buf_addf(&piece, "%.*s.%.*s=", VR_STR_ARG(p->ptype), VR_STR_ARG(p->property));
        add_value(&piece, p->value, true);
        vr_buf_addf(&piece, "%s", !last && i + 1 == r->property_count ? ";" : "");
        put(w, &piece, false);
    }
    vr_buf_fini(&piece);
}

static bool write_payload(struct vr_buf *out, const struct authres *a, size_t column)
{
    struct writer w = {.out = out, .column = column, .good = a->id.n > 0};
    size_t before = vr_buf_size(out);
    add_value(out, a->id, false);
    if (a->version > 0)
        vr_buf_addf(out, " %u", a->version);
    vr_buf_addf(out, ";%s", a->result_count == 0 ? " none" : "");
    w.column += vr_buf_size(out) - before;
    for (size_t i = 0; i < a->result_count; i++)
        write_result(&w, &a->results[i], i + 1 == a->result_count);
    return w.good && !out->too_big;
}

bool authres_payload(struct vr_buf *out, const struct authres *a)
{
    return write_payload(out, a, 0);
}

bool authres_write(struct vr_buf *out, const struct authres *a)
{
    static const struct vr_str name = VR_STR_INIT("Authentication-Results: ");
    return vr_buf_add(out, name) && write_payload(out, a, name.n) && vr_buf_add(out, VR_STR("\r\n"));
}
