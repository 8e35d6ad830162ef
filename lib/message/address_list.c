/* address_list.c - the mailboxes of From, To, Cc, … (RFC 5322 §3.4, §4.4), as they are found in the wild.
 *
 * A lenient scanner over the field's body: quoted strings and comments are undone, groups are remembered, RFC 2047 words decoded; what is no
 * address becomes a name without one. Nothing is refused: the caller sees what could be understood.
 * Tests: tests/unit/address.c, tests/conformance/ (mail-parser's address.json)
 */
#include <veredus/address.h>
#include <veredus/message.h>

#include <string.h>

#define TEXT_MAX 65536

struct scanner {
    struct vr_arena *arena;
    struct vr_str rest;
    struct vr_buf text; /* words outside of <>, quotes undone */
    bool
        blank; /* between what text holds and the next word; those inside of quotes are in text (RFC 5322 §3.2.4) */
    struct vr_buf comment;
    struct vr_buf angle; /* what stood in <> */
    bool has_angle;
    struct vr_str group;
    struct address_mailbox *first, **end;
    bool full;
};

static char take(struct scanner *s)
{
    char c = s->rest.p[0];
    s->rest = vr_str_from_pos(s->rest, 1);
    return c;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Words are separated by one blank, however they were folded. */
static void add_blank(struct vr_buf *b)
{
    struct vr_str so_far = vr_buf_str(b);
    if (so_far.n > 0 && so_far.p[so_far.n - 1] != ' ')
        vr_buf_add_byte(b, ' ');
}

/* Before a word is added to the text. */
static void begin_word(struct scanner *s)
{
    if (s->blank && vr_buf_size(&s->text) > 0)
        vr_buf_add_byte(&s->text, ' ');
    s->blank = false;
}

/* comment = "(" *([FWS] ccontent) [FWS] ")" , nested; the outer parentheses are not kept */
static void read_comment(struct scanner *s)
{
    unsigned depth = 1;
    add_blank(&s->comment);
    while (s->rest.n > 0) {
        char c = take(s);
        if (c == '\\' && s->rest.n > 0)
            c = take(s);
        else if (c == '(')
            depth++;
        else if (c == ')' && --depth == 0)
            return;
        if (is_blank(c))
            add_blank(&s->comment);
        else
            vr_buf_add_byte(&s->comment, c);
    }
}

/* quoted-string, into `to`; raw keeps the quotes (inside of an address they mean something) */
static void read_quoted(struct scanner *s, struct vr_buf *to, bool raw)
{
    if (raw)
        vr_buf_add_byte(to, '"');
    while (s->rest.n > 0) {
        char c = take(s);
        if (c == '"')
            break;
        if (c == '\\' && s->rest.n > 0) {
            if (raw)
                vr_buf_add_byte(to, c);
            c = take(s);
        }
        if (c != '\r' && c != '\n')
            vr_buf_add_byte(to, c);
    }
    if (raw)
        vr_buf_add_byte(to, '"');
}

/* Whether the quoted string whose inside begins here is the local part of an address without <>: then its quotes mean something. */
static bool is_local_part(struct vr_str s)
{
    size_t i = 0;
    while (i < s.n && s.p[i] != '"')
        i += s.p[i] == '\\' ? 2 : 1;
    for (i++; i < s.n && is_blank(s.p[i]);)
        i++;
    return i < s.n && s.p[i] == '@';
}

static void read_angle(struct scanner *s)
{
    s->has_angle = true;
    while (s->rest.n > 0) {
        char c = take(s);
        if (c == '>')
            return;
        if (c == '(')
            read_comment(s);
        else if (c == '"')
            read_quoted(s, &s->angle, true);
        else if (!is_blank(c) && c != '<')
            vr_buf_add_byte(&s->angle, c);
    }
}

static bool is_joint(char before, char after)
{
    return before == '@' || before == '.' || after == '@' || after == '.';
}

/* An address without <>: blanks around "@" and "." are obsolete syntax and vanish. Others stay: "ann b@c" must not become the address of
 * somebody else, "annb". */
static struct vr_str squeeze(struct vr_arena *arena, struct vr_str text)
{
    struct vr_str copy = vr_arena_dup(arena, text);
    char *p = (char *)copy.p;
    size_t n = 0;
    bool quoted = false, escaped = false;
    for (size_t i = 0; i < copy.n; i++) {
        if (p[i] == '"' && !escaped)
            quoted = !quoted;
        escaped = quoted && !escaped && p[i] == '\\';
        if (quoted || !is_blank(p[i]) || !is_joint(n > 0 ? p[n - 1] : '@', i + 1 < copy.n ? p[i + 1] : '@'))
            p[n++] = p[i];
    }
    copy.n = n;
    return copy;
}

static void split_address(struct scanner *s, struct address_mailbox *m)
{
    struct vr_str text = m->text;
    size_t colon;
    while (text.n > 0 && text.p[0] == '@' && (colon = vr_str_find(text, ':')) != VR_NPOS)
        text = m->text = vr_str_from_pos(text, colon + 1); /* source route: @a,@b:user@c */
    struct address a;
    const char *why;
    struct vr_arena scratch; /* so that a full arena is not taken for an address that is wrong */
    vr_arena_init(&scratch, 4096);
    bool good = address_parse(&scratch, text, ADDRESS_ALLOW_UTF8, &a, &why) == VR_OK;
    if (good) {
        m->local = vr_arena_dup(s->arena, a.local);
        m->domain = vr_arena_dup(s->arena, a.domain);
        s->full = s->full || m->local.p == NULL || m->domain.p == NULL;
    }
    vr_arena_fini(&scratch);
    if (good)
        return;
    size_t at = vr_str_find_last(text, '@');
    m->local = vr_str_sub(text, 0, at);
    m->domain = at == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(text, at + 1);
}

/* "name (comment)", where the name is what `text` holds */
static struct vr_str with_comment(struct vr_buf *text, struct vr_str comment)
{
    add_blank(text);
    vr_buf_add_byte(text, '(');
    vr_buf_add(text, comment);
    vr_buf_add_byte(text, ')');
    return vr_buf_str(text);
}

static void finish_mailbox(struct scanner *s)
{
    struct vr_str text = vr_str_trim(vr_buf_str(&s->text)), comment = vr_str_trim(vr_buf_str(&s->comment));
    bool bare = !s->has_angle && vr_str_find(text, '@') != VR_NPOS;
    struct vr_str name = bare || text.n == 0 ? vr_str(NULL, 0) : vr_buf_str(&s->text);
    if (s->has_angle || text.n > 0) {
        struct address_mailbox *m = vr_arena_alloc(s->arena, sizeof *m);
        s->full = s->full || m == NULL;
        if (m != NULL) {
            m->group = s->group;
            m->text = bare ? squeeze(s->arena, text) : vr_arena_dup(s->arena, vr_buf_str(&s->angle));
            if (comment.n > 0 && name.n > 0)
                name = with_comment(&s->text, comment);
            else if (comment.n > 0)
                name = comment;
            m->name = header_decode(s->arena, name);
            s->full = s->full || m->text.p == NULL || m->name.p == NULL;
            split_address(s, m);
            if (!s->full) {
                *s->end = m;
                s->end = &m->next;
            }
        }
    }
    vr_buf_reset(&s->text);
    vr_buf_reset(&s->comment);
    vr_buf_reset(&s->angle);
    s->has_angle = s->blank = false;
}

/* "name:" begins a group, unless what stands before is half an address */
static void read_colon(struct scanner *s)
{
    struct vr_str text = vr_str_trim(vr_buf_str(&s->text));
    if (text.n == 0 || s->has_angle || vr_str_find(text, '@') != VR_NPOS) {
        begin_word(s);
        vr_buf_add_byte(&s->text, ':');
        return;
    }
    s->group = header_decode(s->arena, text);
    s->full = s->full || s->group.p == NULL;
    vr_buf_reset(&s->text);
    vr_buf_reset(&s->comment);
    s->blank = false;
}

static void scan(struct scanner *s)
{
    while (s->rest.n > 0 && !s->full) {
        char c = take(s);
        switch (c) {
        case '(':
            read_comment(s);
            break;
        case '"':
            begin_word(s);
            read_quoted(s, &s->text,
                        is_local_part(s->rest) || vr_str_find(vr_buf_str(&s->text), '@') != VR_NPOS);
            break;
        case '<':
            if (s->has_angle) /* two addresses without a comma */
                finish_mailbox(s);
            read_angle(s);
            break;
        case ',':
            finish_mailbox(s);
            break;
        case ';':
            finish_mailbox(s);
            s->group = vr_str(NULL, 0);
            break;
        case ':':
            read_colon(s);
            break;
        default:
            if (is_blank(c)) {
                s->blank = true;
            } else {
                begin_word(s);
                vr_buf_add_byte(&s->text, c);
            }
            break;
        }
    }
    finish_mailbox(s);
}

enum vr_err address_parse_list(struct vr_arena *arena, struct vr_str field_body, struct address_mailbox **out)
{
    struct scanner s = {.arena = arena, .rest = header_first_body(field_body)};
    s.end = &s.first;
    vr_buf_init(&s.text, TEXT_MAX);
    vr_buf_init(&s.comment, TEXT_MAX);
    vr_buf_init(&s.angle, TEXT_MAX);
    scan(&s);
    bool too_big = s.full || s.text.too_big || s.comment.too_big || s.angle.too_big;
    vr_buf_fini(&s.text);
    vr_buf_fini(&s.comment);
    vr_buf_fini(&s.angle);
    *out = s.first;
    return too_big ? VR_ERR_TOO_BIG : VR_OK;
}

/* phrase: atoms with single blanks need no quotes (RFC 5322 §3.2.5) */
static bool needs_quotes(struct vr_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (strchr("()<>[]:;@\\,.\"", name.p[i]) != NULL)
            return true;
    return vr_str_find_str(name, VR_STR("  ")) != VR_NPOS;
}

/* What is not ASCII, and what would be taken for an encoded word: such words, of at most 75 characters (RFC 2047 §2), cut between UTF-8
 * sequences. */
static void write_encoded(struct vr_buf *out, struct vr_str name)
{
    enum { BYTES = 42 }; /* 12 + 56 characters */
    while (name.n > 0) {
        size_t n = name.n < BYTES ? name.n : BYTES;
        while (n > BYTES - 4 && n < name.n && ((unsigned char)name.p[n] & 0xC0) == 0x80)
            n--;
        vr_buf_add(out, VR_STR("=?UTF-8?B?"));
        vr_base64_encode(out, vr_str_sub(name, 0, n));
        vr_buf_add(out, VR_STR("?="));
        name = vr_str_from_pos(name, n);
        if (name.n > 0)
            vr_buf_add_byte(out, ' ');
    }
}

bool address_write_mailbox(struct vr_buf *out, struct vr_str name, struct vr_str addr_spec)
{
    struct vr_buf clean;
    vr_buf_init(&clean, name.n + 1);
    for (size_t i = 0; i < name.n; i++)
        vr_buf_add_byte(&clean, (unsigned char)name.p[i] < 0x20 || name.p[i] == 0x7f ? ' ' : name.p[i]);
    name = vr_str_trim(vr_buf_str(&clean));
    if (name.n == 0) {
        vr_buf_add(out, addr_spec);
    } else if (!vr_str_is_ascii(name) || vr_str_find_str(name, VR_STR("=?")) != VR_NPOS) {
        write_encoded(out, name);
    } else if (needs_quotes(name)) {
        vr_buf_add_byte(out, '"');
        for (size_t i = 0; i < name.n; i++) {
            if (name.p[i] == '"' || name.p[i] == '\\')
                vr_buf_add_byte(out, '\\');
            vr_buf_add_byte(out, name.p[i]);
        }
        vr_buf_add_byte(out, '"');
    } else {
        vr_buf_add(out, name);
    }
    if (name.n > 0)
        vr_buf_addf(out, " <%.*s>", VR_STR_ARG(addr_spec));
    vr_buf_fini(&clean);
    return !out->too_big;
}
