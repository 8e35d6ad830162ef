/* mime_field.c - what the fields of MIME say: type, parameters, encoding (RFC 2045 §5.1, §6.1, RFC 2231).
 *
 * Promise: whatever stands in a field, something sensible is read or it is said that there is nothing. Loops are bounded by the field's length.
 * Tests:   tests/unit/mime.c
 */
#include <veredus/mime.h>

#include <string.h>

#define SECTIONS_MAX 100 /* RFC 2231 §3 pieces of one value */

/* ---- words ------------------------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The length of a comment at the start of s, with those inside of it (RFC 5322 §3.2.2); all of s when it does not end. */
static size_t comment_length(struct vr_str s)
{
    size_t depth = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\')
            i++;
        else if (s.p[i] == '(')
            depth++;
        else if (s.p[i] == ')' && --depth == 0)
            return i + 1;
    }
    return s.n;
}

static void skip_blanks(struct vr_str *s)
{
    while (s->n > 0 && (is_blank(s->p[0]) || s->p[0] == '('))
        *s = vr_str_from_pos(*s, s->p[0] == '(' ? comment_length(*s) : 1);
}

static bool is_token(char c)
{
    return c > ' ' && c < 0x7f && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

static struct vr_str take_token(struct vr_str *s)
{
    size_t n = 0;
    while (n < s->n && is_token(s->p[n]))
        n++;
    struct vr_str token = vr_str_sub(*s, 0, n);
    *s = vr_str_from_pos(*s, n);
    return token;
}

/* A quoted string with its quotes; to the end of s when the last one is missing. */
static struct vr_str take_quoted(struct vr_str *s)
{
    size_t n = 1;
    while (n < s->n && s->p[n] != '"')
        n += s->p[n] == '\\' ? 2 : 1;
    struct vr_str quoted = vr_str_sub(*s, 0, n < s->n ? n + 1 : s->n);
    *s = vr_str_from_pos(*s, quoted.n);
    return quoted;
}

/* A value as programs write them: many leave out the quotes that "=" or "/" would need. */
static struct vr_str take_value(struct vr_str *s)
{
    size_t n = 0;
    if (s->n > 0 && s->p[0] == '"')
        return take_quoted(s);
    while (n < s->n && s->p[n] != ';' && !is_blank(s->p[n]))
        n++;
    struct vr_str value = vr_str_sub(*s, 0, n);
    *s = vr_str_from_pos(*s, n);
    return value;
}

/* ---- type and encoding -------------------------------------------------------------------------------------------- */

bool mime_type_parse(struct vr_str field_body, struct vr_str *type, struct vr_str *subtype)
{
    struct vr_str s = field_body;
    skip_blanks(&s);
    *type = take_token(&s);
    skip_blanks(&s);
    if (type->n == 0 || s.n == 0 || s.p[0] != '/')
        return false;
    s = vr_str_from_pos(s, 1);
    skip_blanks(&s);
    *subtype = take_token(&s);
    return subtype->n > 0;
}

enum mime_encoding mime_encoding_parse(struct vr_str field_body)
{
    static const struct {
        struct vr_str word;
        enum mime_encoding encoding;
    } words[] = {
        {VR_STR_INIT("7bit"), MIME_ENCODING_7BIT},
        {VR_STR_INIT("8bit"), MIME_ENCODING_8BIT},
        {VR_STR_INIT("binary"), MIME_ENCODING_BINARY},
        {VR_STR_INIT("quoted-printable"), MIME_ENCODING_QUOTED_PRINTABLE},
        {VR_STR_INIT("base64"), MIME_ENCODING_BASE64},
    };
    struct vr_str s = field_body;
    skip_blanks(&s);
    struct vr_str word = take_token(&s);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (vr_str_equal_nocase(word, words[i].word))
            return words[i].encoding;
    return vr_str_starts_nocase(word, VR_STR("x-")) ? MIME_ENCODING_PRIVATE : MIME_ENCODING_UNKNOWN;
}

/* ---- parameters --------------------------------------------------------------------------------------------------- */

struct param {
    struct vr_str name, value; /* the value as it stands, quotes included */
};

/* The next parameter behind a semicolon. What is no parameter is passed over. */
static bool next_param(struct vr_str *s, struct param *p)
{
    while (s->n > 0) {
        skip_blanks(s);
        if (s->n == 0)
            return false;
        if (s->p[0] == '"') {
            take_quoted(s);
            continue;
        }
        bool separator = s->p[0] == ';';
        *s = vr_str_from_pos(*s, 1);
        if (!separator)
            continue;
        skip_blanks(s);
        p->name = take_token(s);
        skip_blanks(s);
        if (p->name.n == 0 || s->n == 0 || s->p[0] != '=')
            continue;
        *s = vr_str_from_pos(*s, 1);
        skip_blanks(s);
        p->value = take_value(s);
        return true;
    }
    return false;
}

static bool find_param(struct vr_str field_body, struct vr_str name, struct vr_str *value)
{
    struct param p;
    while (next_param(&field_body, &p))
        if (vr_str_equal_nocase(p.name, name)) {
            *value = p.value;
            return true;
        }
    return false;
}

static int hex_digit(char c)
{
    char l = vr_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

/* The value without quotes, backslashes and folding; with RFC 2231 §4's "%41" undone when it is extended. */
static void add_value(struct vr_buf *out, struct vr_str value, bool extended)
{
    bool quoted = value.n > 0 && value.p[0] == '"';
    size_t end = value.n;
    if (quoted && end > 1 && value.p[end - 1] == '"')
        end--;
    for (size_t i = quoted; i < end; i++) {
        char c = value.p[i];
        if (c == '\r' || c == '\n')
            continue;
        if (quoted && c == '\\' && i + 1 < end)
            c = value.p[++i];
        if (extended && c == '%' && i + 2 < end && hex_digit(value.p[i + 1]) >= 0 &&
            hex_digit(value.p[i + 2]) >= 0) {
            c = (char)(hex_digit(value.p[i + 1]) * 16 + hex_digit(value.p[i + 2]));
            i += 2;
        }
        vr_buf_add_byte(out, c);
    }
}

/* "charset'language'text" → text. */
static struct vr_str without_charset(struct vr_str value)
{
    size_t first = vr_str_find(value, '\'');
    size_t second = first == VR_NPOS ? VR_NPOS : vr_str_find(vr_str_from_pos(value, first + 1), '\'');
    return second == VR_NPOS ? value : vr_str_from_pos(value, first + 1 + second + 1);
}

/* The piece `section` of RFC 2231 §3 (without a number when it is negative), or its extended form. */
static bool add_section(struct vr_buf *out, struct vr_str field_body, struct vr_str name, int section)
{
    char text[MIME_NAME_MAX + 8];
    struct vr_str value;
    bool found = false;
    if (name.n > MIME_NAME_MAX)
        return false;
    memcpy(text, name.p, name.n);
    size_t n = name.n;
    if (section >= 0) {
        text[n++] = '*';
        if (section >= 10)
            text[n++] = (char)('0' + section / 10);
        text[n++] = (char)('0' + section % 10);
        found = find_param(field_body, vr_str(text, n), &value);
        if (found)
            add_value(out, value, false);
    }
    text[n++] = '*';
    if (found || !find_param(field_body, vr_str(text, n), &value))
        return found;
    if (value.n > 1 && value.p[0] == '"') /* against the grammar, and found in the wild */
        value = vr_str_sub(value, 1, value.n - (value.p[value.n - 1] == '"' ? 2 : 1));
    add_value(out, section <= 0 ? without_charset(value) : value, true);
    return true;
}

enum vr_err mime_param(struct vr_str field_body, struct vr_str name, struct vr_buf *out)
{
    struct vr_str plain;
    bool found = add_section(out, field_body, name, -1);
    for (int section = 0; !found && section < SECTIONS_MAX; section++)
        if (!add_section(out, field_body, name, section)) {
            found = section > 0;
            break;
        }
    if (!found && find_param(field_body, name, &plain)) {
        add_value(out, plain, false);
        found = true;
    }
    return out->too_big ? VR_ERR_TOO_BIG : found ? VR_OK : VR_ERR_NOT_FOUND;
}
