/* received.c - what a Received field says (RFC 5321 §4.4), in the many ways in which servers write it.
 *
 * The stamp is a list of keyword and value, comments in parentheses anywhere, and a date behind the last semicolon.
 * Tests: tests/unit/message.c, tests/conformance/ (mail-parser's received.json)
 */
#include <veredus/message.h>

struct token {
    struct vr_str text;
    bool comment;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next word or comment (without its parentheses). */
static bool next_token(struct vr_str *rest, struct token *t)
{
    while (rest->n > 0 && is_blank(rest->p[0]))
        *rest = vr_str_from_pos(*rest, 1);
    if (rest->n == 0)
        return false;
    size_t n = 0;
    t->comment = rest->p[0] == '(';
    if (t->comment) {
        unsigned depth = 0;
        do {
            depth += rest->p[n] == '(';
            depth -= rest->p[n] == ')';
            n++;
        } while (n < rest->n && depth > 0);
        t->text = vr_str_trim(vr_str_sub(*rest, 1, depth == 0 ? n - 2 : n - 1));
    } else {
        while (n < rest->n && !is_blank(rest->p[n]) && rest->p[n] != '(')
            n++;
        t->text = vr_str_sub(*rest, 0, n);
    }
    *rest = vr_str_from_pos(*rest, n);
    return true;
}

static struct vr_str bare(struct vr_str s)
{
    if (s.n > 1 && s.p[s.n - 1] == ',') /* "by a.example, id 1" */
        s.n--;
    if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
        return vr_str_sub(s, 1, s.n - 2);
    return s;
}

/* The date stands behind the last semicolon that is in no comment. */
static size_t date_mark(struct vr_str s)
{
    unsigned depth = 0;
    size_t mark = VR_NPOS;
    for (size_t i = 0; i < s.n; i++) {
        depth += s.p[i] == '(';
        depth -= s.p[i] == ')' && depth > 0;
        if (s.p[i] == ';' && depth == 0)
            mark = i;
    }
    return mark;
}

static struct vr_str joined(struct vr_arena *arena, struct vr_str a, struct vr_str b)
{
    return a.n == 0 ? b : vr_arena_printf(arena, "%.*s %.*s", VR_STR_ARG(a), VR_STR_ARG(b));
}

enum vr_err received_parse(struct vr_arena *arena, struct vr_str field_body, struct received *out)
{
    *out = (struct received){.time = RECEIVED_NO_TIME};
    field_body = header_first_body(field_body);
    struct vr_str text = header_unfold(arena, field_body);
    if (text.n == 0 && vr_str_trim(field_body).n > 0)
        return VR_ERR_TOO_BIG;
    size_t mark = date_mark(text);
    struct message_date date;
    if (mark != VR_NPOS && message_date_parse(vr_str_from_pos(text, mark + 1), &date) == VR_OK)
        out->time = date.time;
    const struct {
        const char *keyword;
        struct vr_str *value;
    } parts[] = {{"from", &out->from}, {"by", &out->by}, {"via", &out->via},
                 {"with", &out->with}, {"id", &out->id}, {"for", &out->for_}};
    struct vr_str rest = vr_str_sub(text, 0, mark), *wants = NULL, *last = NULL;
    struct token t;
    while (next_token(&rest, &t)) {
        bool keyword = false;
        for (size_t i = 0; i < sizeof parts / sizeof *parts && !t.comment && !keyword; i++)
            if (vr_str_equal_nocase(t.text, vr_str_from(parts[i].keyword))) {
                last = parts[i].value;
                wants = last->n == 0 ? last : NULL;
                keyword = true;
            }
        if (keyword)
            continue;
        if (last == &out->from && (t.comment || (wants == NULL && t.text.p[0] == '['))) {
            out->from_comment = joined(arena, out->from_comment, t.text);
        } else if (t.comment) {
            continue;
        } else if (wants != NULL) {
            *wants = bare(t.text);
            wants = NULL;
        }
    }
    return out->from.n + out->by.n + out->with.n + out->id.n + out->for_.n > 0 ||
                   out->time != RECEIVED_NO_TIME
               ? VR_OK
               : VR_ERR_SYNTAX;
}
