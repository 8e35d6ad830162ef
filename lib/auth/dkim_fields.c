/* dkim_fields.c - which fields are signed, and how a signature's own field is laid out.
 *
 * Default (RFC 6376 §5.4): the fields that a reader sees or that decide how the body is shown. Those marked `once_more` are listed once more than
 * they occur, so that none can be added without breaking the signature; they are fields that nobody adds on the way. Fields that
 * lists and those who resend add are signed where they are, and may be added. Not signed: what changes on the way (Return-Path,
 * Received, Authentication-Results) and what occurs several times by nature (Comments, Keywords).
 *
 * Tests: tests/unit/dkim_sign.c
 */
#include "inside.h"

#include <inttypes.h>
#include <stdio.h>

#define LINE_WANTED 78 /* RFC 5322 §2.1.1 */

static const struct {
    const char *name;
    bool once_more;
} defaults[] = {
    {"From", true},
    {"Sender", false},
    {"Reply-To", true},
    {"To", true},
    {"Cc", true},
    {"Subject", true},
    {"Date", true},
    {"Message-ID", true},
    {"In-Reply-To", true},
    {"References", true},
    {"MIME-Version", true},
    {"Content-Type", true},
    {"Content-Transfer-Encoding", true},
    {"Content-ID", false},
    {"Content-Description", false},
    {"Content-Disposition", false},
    {"Content-Language", false},
    {"Resent-Date", false},
    {"Resent-From", false},
    {"Resent-Sender", false},
    {"Resent-To", false},
    {"Resent-Cc", false},
    {"Resent-Message-ID", false},
    {"List-Id", false},
    {"List-Help", false},
    {"List-Unsubscribe", false},
    {"List-Unsubscribe-Post", false},
    {"List-Subscribe", false},
    {"List-Post", false},
    {"List-Owner", false},
    {"List-Archive", false},
    {"Autocrypt", false},
    {"Feedback-ID", false},
};
#define DEFAULTS (sizeof defaults / sizeof *defaults)

static size_t count_of(const struct header_index *index, struct vr_str name)
{
    size_t n = 0;
    for (size_t i = 0; i < index->count; i++)
        n += header_is(&index->entries[i], name);
    return n;
}

static bool may_be_signed(struct vr_str name, enum sig_kind kind)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] >= 0x7f || name.p[i] == ':' || name.p[i] == ';')
            return false;
    if (kind == SIG_MESSAGE && (vr_str_starts_nocase(name, VR_STR("ARC-")) ||
                                vr_str_equal_nocase(name, VR_STR("Authentication-Results"))))
        return false; /* RFC 8617 §4.1.2 */
    return name.n > 0;
}

/* Gathers names, or only counts them. */
struct names {
    struct vr_str *list;
    size_t count;
};

static void repeat(struct names *names, const char *name, size_t times)
{
    for (size_t i = 0; i < times; i++, names->count++)
        if (names->list != NULL)
            names->list[names->count] = vr_str_from(name);
}

static void default_names(const struct header_index *index, enum sig_kind kind, struct names *names)
{
    names->count = 0;
    for (size_t i = 0; i < DEFAULTS; i++)
        repeat(names, defaults[i].name,
               count_of(index, vr_str_from(defaults[i].name)) + defaults[i].once_more);
    if (kind == SIG_MESSAGE) /* RFC 8617 §4.1.2 */
        repeat(names, "DKIM-Signature", count_of(index, VR_STR("DKIM-Signature")));
}

enum vr_err sign_fields(const struct header_index *index, enum sig_kind kind, const struct vr_str *given,
                        size_t given_count, struct vr_arena *arena, const struct vr_str **out, size_t *count)
{
    struct names names = {0};
    bool from = false;
    for (size_t i = 0; given != NULL && i < given_count; i++) {
        if (!may_be_signed(given[i], kind))
            return VR_ERR_SYNTAX;
        from |= vr_str_equal_nocase(given[i], VR_STR("From"));
    }
    if ((given != NULL && !from) || count_of(index, VR_STR("From")) == 0)
        return VR_ERR_SYNTAX;
    *out = given;
    *count = given_count;
    if (given != NULL)
        return given_count > SIG_NAMES_MAX ? VR_ERR_TOO_BIG : VR_OK;
    default_names(index, kind, &names);
    if (names.count > SIG_NAMES_MAX)
        return VR_ERR_TOO_BIG;
    names.list = vr_arena_alloc(arena, names.count * sizeof *names.list);
    if (names.list == NULL)
        return VR_ERR_TOO_BIG;
    default_names(index, kind, &names);
    *out = names.list;
    *count = names.count;
    return VR_OK;
}

/* ---- layout --------------------------------------------------------------------------------------------------------- */

void field_begin(struct field_writer *w, struct vr_buf *out, const char *name)
{
    w->out = out;
    w->column = vr_str_from(name).n + 1;
    w->first = true;
    vr_buf_addf(out, "%s:", name);
}

static void new_line(struct field_writer *w)
{
    vr_buf_add(w->out, VR_STR("\r\n "));
    w->column = 1;
}

/* The place for a tag of n octets: behind the last one, or on a line of its own. */
static void place(struct field_writer *w, size_t n)
{
    if (!w->first) {
        vr_buf_add_byte(w->out, ';');
        w->column++;
    }
    w->first = false;
    if (w->column + 1 + n + 1 > LINE_WANTED) {
        new_line(w);
    } else {
        vr_buf_add_byte(w->out, ' ');
        w->column++;
    }
}

void field_tag(struct field_writer *w, const char *name, struct vr_str value)
{
    size_t n = vr_str_from(name).n + 1 + value.n;
    place(w, n);
    vr_buf_addf(w->out, "%s=", name);
    vr_buf_add(w->out, value);
    w->column += n;
}

void field_tag_number(struct field_writer *w, const char *name, int64_t value)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRId64, value);
    field_tag(w, name, vr_str(digits, (size_t)n));
}

void field_tag_names(struct field_writer *w, const char *name, const struct vr_str *names, size_t count)
{
    size_t n = vr_str_from(name).n + 1;
    for (size_t i = 0; i < count; i++)
        n += names[i].n + (i > 0);
    place(w, n);
    vr_buf_addf(w->out, "%s=", name);
    w->column += vr_str_from(name).n + 1;
    for (size_t i = 0; i < count; i++) {
        if (w->column + names[i].n + 1 > LINE_WANTED && i > 0)
            new_line(w);
        vr_buf_add(w->out, names[i]);
        if (i + 1 < count)
            vr_buf_add_byte(w->out, ':');
        w->column += names[i].n + 1;
    }
}

void field_signature(struct field_writer *w)
{
    w->column = LINE_WANTED; /* on a line of its own */
    field_tag(w, "b", vr_str(NULL, 0));
}

void field_resume(struct field_writer *w, struct vr_buf *out)
{
    w->out = out;
    w->first = false;
    w->column =
        LINE_WANTED; /* how long the signature before it will be is not known: the next tag begins a line */
}
