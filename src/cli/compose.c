/* compose.c - see compose.h. Pure functions: text in, message out.
 *
 * Tests: tests/unit/sendmail_parse.c
 */
#include "cli/compose.h"

#include <veredus/message.h>
#include <veredus/mime.h>

#include <stdlib.h>
#include <string.h>

#define LINE_MAX_OCTETS 998 /* RFC 5322 §2.1.1 */
#define QP_LINE_MAX     76  /* RFC 2045 §6.7 (5) */

/* ---- text ----------------------------------------------------------------------------------------------------------- */

/* As compose_crlf, but a last line without an end stays without. */
static bool compose_crlf_part(struct vr_buf *out, struct vr_str text)
{
    size_t from = 0;
    bool good = true;
    for (size_t i = 0; i < text.n && good; i++) {
        if (text.p[i] != '\n' && text.p[i] != '\r')
            continue;
        good = vr_buf_add(out, vr_str_sub(text, from, i - from)) && vr_buf_add(out, VR_STR("\r\n"));
        if (text.p[i] == '\r' && i + 1 < text.n && text.p[i + 1] == '\n')
            i++;
        from = i + 1;
    }
    return good && vr_buf_add(out, vr_str_from_pos(text, from));
}

bool compose_crlf(struct vr_buf *out, struct vr_str text)
{
    if (!compose_crlf_part(out, text))
        return false;
    bool ended = text.n == 0 || text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r';
    return ended || vr_buf_add(out, VR_STR("\r\n"));
}

/* A lone CR in a field must not become a line end: what stands behind it would be a field of its own, put there by whoever wrote the text. */
static bool add_field(struct vr_buf *out, struct vr_str raw)
{
    size_t from = 0;
    bool good = true;
    for (size_t i = 0; i < raw.n && good; i++) {
        if (raw.p[i] != '\r' || (i + 1 < raw.n && raw.p[i + 1] == '\n'))
            continue;
        good = compose_crlf_part(out, vr_str_sub(raw, from, i - from)) && vr_buf_add_byte(out, ' ');
        from = i + 1;
    }
    struct vr_str rest = vr_str_from_pos(raw, from);
    return good && (rest.n > 0 ? compose_crlf(out, rest) : vr_buf_add(out, VR_STR("\r\n")));
}

bool compose_is_8bit(struct vr_str text)
{
    return !vr_str_is_ascii(text);
}

bool compose_has_utf8_header(struct vr_str message)
{
    struct mime_survey *s = vr_str_is_ascii(message) ? NULL : malloc(sizeof *s);
    if (s == NULL)
        return false;
    mime_survey_init(s);
    mime_survey_feed(s, message);
    mime_survey_end(s);
    bool utf8 = s->verdict.eight_bit_header && s->verdict.header_is_utf8;
    free(s);
    return utf8;
}

struct vr_str compose_before_dot(struct vr_str text, bool *found)
{
    size_t line = 0;
    *found = false;
    while (line < text.n) {
        struct vr_str rest = vr_str_from_pos(text, line);
        if (vr_str_starts(rest, VR_STR(".\n")) || vr_str_starts(rest, VR_STR(".\r\n"))) {
            *found = true;
            return vr_str_sub(text, 0, line);
        }
        size_t end = vr_str_find(rest, '\n');
        if (end == VR_NPOS) {
            *found = vr_str_equal(rest, VR_STR(".")); /* the input ended behind it */
            return *found ? vr_str_sub(text, 0, line) : text;
        }
        line += end + 1;
    }
    return text;
}

/* ---- recipients ------------------------------------------------------------------------------------------------------ */

static bool list_add(struct compose_list *list, struct vr_arena *arena, const struct address *a)
{
    for (size_t i = 0; i < list->count; i++)
        if (address_equal(&list->items[i], a))
            return true;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? list->capacity * 2 : 8;
        struct address *items = vr_arena_alloc(arena, capacity * sizeof *items);
        if (items == NULL)
            return false;
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *a;
    return true;
}

/* "carl" and "carl (Carl C.)" look like a display name to the grammar of messages; to sendmail(1) they are local users. */
static struct vr_str local_user(const struct address_mailbox *m)
{
    struct vr_str name = vr_str_sub(m->name, 0, vr_str_find(m->name, '('));
    name = vr_str_trim(name);
    return m->text.n == 0 && vr_str_find(name, ' ') == VR_NPOS ? name : m->local;
}

static const char no_address[] = "it does not read like ann@example.org";

bool compose_add(struct compose_list *list, struct vr_arena *arena, struct vr_str text,
                 struct vr_str hostname, const char **why)
{
    struct address_mailbox *m = NULL;
    *why = "there are too many recipients";
    if (address_parse_list(arena, text, &m) != VR_OK)
        return false;
    *why = no_address;
    if (m == NULL)
        return false;
    for (; m != NULL; m = m->next) {
        struct address named = {.local = m->local, .domain = m->domain}, checked;
        if (named.domain.n == 0) {
            named.local = local_user(m);
            named.domain = hostname;
        }
        *why = no_address;
        if (named.local.n == 0)
            return false;
        *why = "it reads like two addresses without a comma between them";
        if (vr_str_find(named.local, '@') != VR_NPOS && vr_str_find(named.local, ' ') != VR_NPOS)
            return false;
        /* read again by the grammar of envelopes, which is stricter than that of messages */
        if (address_parse(arena, address_text(arena, &named), ADDRESS_ALLOW_UTF8, &checked, why) != VR_OK)
            return false;
        *why = "there are too many recipients";
        if (!list_add(list, arena, &checked))
            return false;
    }
    return true;
}

/* ---- making a message whole --------------------------------------------------------------------------------------------- */

static bool is_field(const struct header_field *f, const char *name)
{
    return vr_str_equal_nocase(f->name, vr_str_from(name));
}

static bool is_recipient_field(const struct header_field *f, bool resent)
{
    static const char *const names[] = {"To", "Cc", "Bcc"}, *const resent_names[] = {"Resent-To", "Resent-Cc",
                                                                                     "Resent-Bcc"};
    for (size_t i = 0; i < 3; i++)
        if (is_field(f, resent ? resent_names[i] : names[i]))
            return true;
    return false;
}

static bool is_resent(struct vr_str text)
{
    struct header_reader r;
    struct header_field f;
    header_reader_init(&r, text);
    while (header_next(&r, &f))
        if (is_recipient_field(&f, true))
            return true;
    return false;
}

/* mbox(5) files and some programs put a line "From ann Mon Nov 23 …" on top. */
static struct vr_str skip_mbox_line(struct vr_str text)
{
    while (vr_str_starts(text, VR_STR("From ")) || vr_str_starts(text, VR_STR(">From "))) {
        size_t end = vr_str_find(text, '\n');
        text = vr_str_from_pos(text, end == VR_NPOS ? text.n : end + 1);
    }
    return text;
}

static void add_date(struct vr_buf *out, const struct compose *how)
{
    char date[MESSAGE_DATE_SIZE];
    size_t n = message_date_write(date, how->now, 0);
    header_write(out, VR_STR("Date"), vr_str(date, n), false);
}

static void add_message_id(struct vr_buf *out, const struct compose *how)
{
    vr_buf_add(out, VR_STR("Message-ID: <"));
    for (size_t i = 0; i < sizeof how->random; i++)
        vr_buf_addf(out, "%02x", how->random[i]);
    vr_buf_addf(out, "@%.*s>\r\n", VR_STR_ARG(how->hostname));
}

static void add_from(struct vr_buf *out, const struct compose *how)
{
    struct vr_buf value;
    vr_buf_init(&value, 4096);
    if (how->full_name.n > 0)
        address_write_mailbox(&value, how->full_name, how->from);
    else
        vr_buf_add(&value, how->from);
    header_write(out, VR_STR("From"), vr_buf_str(&value), false);
    vr_buf_fini(&value);
}

enum vr_err compose_message(struct vr_buf *out, struct vr_arena *arena, struct vr_str text,
                            const struct compose *how, struct compose_list *recipients, const char **why)
{
    text = skip_mbox_line(text);
    bool resent = is_resent(text), date = false, id = false, from = false;
    struct header_reader r;
    struct header_field f;
    header_reader_init(&r, text);
    while (header_next(&r, &f)) {
        date = date || is_field(&f, "Date");
        id = id || is_field(&f, "Message-ID");
        from = from || is_field(&f, "From");
        if (how->take_recipients && is_recipient_field(&f, resent) && vr_str_trim(f.body).n > 0 &&
            !compose_add(recipients, arena, f.body, how->hostname, why) && *why != no_address)
            return VR_ERR_SYNTAX; /* a field without an address is an empty group: "undisclosed-recipients:;" */
        if (!is_field(&f, "Bcc") && !is_field(&f, "Resent-Bcc"))
            add_field(out, f.raw);
    }
    if (!from)
        add_from(out, how);
    if (!date)
        add_date(out, how);
    if (!id)
        add_message_id(out, how);
    vr_buf_add(out, VR_STR("\r\n"));
    compose_crlf(out, header_body(&r));
    return out->too_big ? VR_ERR_TOO_BIG : VR_OK;
}

/* ---- a message from its parts ---------------------------------------------------------------------------------------------- */

static bool has_long_line(struct vr_str text)
{
    struct vr_str line;
    while (vr_str_split(&text, '\n', &line))
        if (line.n > LINE_MAX_OCTETS)
            return true;
    return false;
}

/* RFC 2045 §6.7: one line, soft breaks included. */
static void add_quoted_printable_line(struct vr_buf *out, struct vr_str line)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t column = 0;
    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        bool blank_at_end = (c == ' ' || c == '\t') && i + 1 == line.n;
        bool plain = ((c >= ' ' && c < 0x7f && c != '=') || c == '\t') && !blank_at_end;
        if (column + (plain ? 1 : 3) > QP_LINE_MAX - 1) {
            vr_buf_add(out, VR_STR("=\r\n"));
            column = 0;
        }
        if (plain) {
            vr_buf_add_byte(out, (char)c);
        } else {
            char code[3] = {'=', hex[c >> 4], hex[c & 15]};
            vr_buf_add(out, vr_str(code, 3));
        }
        column += plain ? 1 : 3;
    }
    vr_buf_add(out, VR_STR("\r\n"));
}

static void add_body(struct vr_buf *out, struct vr_str body)
{
    bool encode = compose_is_8bit(body) || has_long_line(body);
    vr_buf_addf(
        out,
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
        compose_is_8bit(body) ? "utf-8" : "us-ascii", encode ? "quoted-printable" : "7bit");
    if (!encode) {
        compose_crlf(out, body);
        return;
    }
    struct vr_str line;
    while (vr_str_split(&body, '\n', &line)) {
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        add_quoted_printable_line(out, line);
    }
}

static bool add_header(struct vr_buf *out, struct vr_str header)
{
    size_t colon = vr_str_find(header, ':');
    if (colon == VR_NPOS || colon == 0)
        return false;
    for (size_t i = 0; i < colon; i++) /* RFC 5322 §2.2: ftext */
        if (header.p[i] <= ' ' || header.p[i] >= 0x7f)
            return false;
    return header_write(out, vr_str_sub(header, 0, colon), vr_str_trim(vr_str_from_pos(header, colon + 1)),
                        true);
}

static bool is_given(const struct compose_parts *parts, const char *name)
{
    struct vr_str want = vr_str_from(name);
    for (size_t i = 0; i < parts->header_count; i++) {
        struct vr_str h = parts->headers[i];
        if (h.n > want.n && h.p[want.n] == ':' && vr_str_starts_nocase(h, want))
            return true;
    }
    return false;
}

/* With A-labels where that makes it ASCII: a header in UTF-8 would need SMTPUTF8 all the way. */
static void add_address(struct vr_buf *out, const struct address *a)
{
    struct vr_arena scratch;
    struct address ascii;
    vr_arena_init(&scratch, 16384);
    address_write(out, address_to_ascii(&scratch, a, &ascii) ? &ascii : a);
    vr_arena_fini(&scratch);
}

static void add_to(struct vr_buf *out, const struct compose_parts *parts)
{
    struct vr_buf value;
    vr_buf_init(&value, 1u << 20);
    for (size_t i = 0; i < parts->recipient_count; i++) {
        if (i > 0)
            vr_buf_add(&value, VR_STR(", "));
        add_address(&value, &parts->recipients[i]);
    }
    header_write(out, VR_STR("To"), vr_buf_str(&value), false);
    vr_buf_fini(&value);
}

enum vr_err compose_parts(struct vr_buf *out, const struct compose_parts *parts, const struct compose *how,
                          const char **why)
{
    if (!is_given(parts, "From"))
        add_from(out, how);
    if (!is_given(parts, "To"))
        add_to(out, parts);
    if (!is_given(parts, "Subject"))
        header_write(out, VR_STR("Subject"), parts->subject, true);
    if (!is_given(parts, "Date"))
        add_date(out, how);
    if (!is_given(parts, "Message-ID"))
        add_message_id(out, how);
    for (size_t i = 0; i < parts->header_count; i++)
        if (!add_header(out, parts->headers[i])) {
            *why = "a header field reads \"Name: value\"";
            return VR_ERR_SYNTAX;
        }
    add_body(out, parts->body);
    return out->too_big ? VR_ERR_TOO_BIG : VR_OK;
}
