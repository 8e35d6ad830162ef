/* source.c - the text of a configuration: includes laid out, comments blanked, statements found.
 *
 * libConfuse reads the statements one by one (parse.c); here is only decided where each begins and ends, so that an error in one does not hide
 * those in the others, and so that each has the right file and line (libConfuse 3.3 counts a line with a comment twice and forgets
 * the line of an including file). Tokens are libConfuse's: words end at blanks, quotes and any of # { } ( ) = + ,
 * Sections do not nest in this language: one that opens inside of another means that a brace is missing.
 * Tests: tests/unit/config.c, tests/fuzz/fuzz_config.c
 */
#include "config/load.h"

#include "io/fs.h"
#include "io/io.h"

#include <string.h>

#define INCLUDE_DEPTH  8
#define FILE_MAX_BYTES ((size_t)16 << 20)
#define FILES_MAX      1000

enum token_kind {
    TOKEN_END,
    TOKEN_WORD,
    TOKEN_STRING,
    TOKEN_EQUAL,
    TOKEN_PLUS_EQUAL,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_PAREN,
    TOKEN_OTHER
};
struct token {
    enum token_kind kind;
    struct vr_str text; /* a string with its quotes */
    struct place at;
    struct token *next;
};

struct source {
    struct vr_arena *arena;
    struct problems *problems;
    struct token *first, **end;
    unsigned files;
    struct place last; /* of the last token, for what is missing at the end */
};

struct cursor {
    const char *p, *end;
    struct place at;
};

static bool ends_word(char c)
{
    return c == '\0' || strchr(" \t\r\n\"'#{}()=+,", c) != NULL;
}

/* Blanks and comments: "#…", "//…" up to the end of the line, and C comments. */
static void skip_blank(struct source *s, struct cursor *c)
{
    while (c->p < c->end) {
        if (*c->p == '\n') {
            c->at.line++;
            c->p++;
        } else if (*c->p == ' ' || *c->p == '\t' || *c->p == '\r') {
            c->p++;
        } else if (*c->p == '#' || (c->end - c->p >= 2 && c->p[0] == '/' && c->p[1] == '/')) {
            while (c->p < c->end && *c->p != '\n')
                c->p++;
        } else if (c->end - c->p >= 2 && c->p[0] == '/' && c->p[1] == '*') {
            struct place opened = c->at;
            struct vr_str rest = vr_str(c->p + 2, (size_t)(c->end - c->p - 2));
            size_t close = vr_str_find_str(rest, VR_STR("*/"));
            if (close == VR_NPOS)
                problem_error(s->problems, opened, "a comment begins with /* and does not end; expected */");
            const char *stop = close == VR_NPOS ? c->end : rest.p + close + 2;
            for (; c->p < stop; c->p++)
                c->at.line += *c->p == '\n';
        } else {
            break;
        }
    }
}

/* A quoted string ends on its line: a forgotten quote then costs one message and not the rest of the file. */
static struct vr_str take_string(struct source *s, struct cursor *c)
{
    const char *start = c->p;
    char quote = *c->p++;
    while (c->p < c->end && *c->p != quote && *c->p != '\n') {
        if (*c->p == '\\' && c->end - c->p > 1 && c->p[1] != '\n')
            c->p++;
        c->p++;
    }
    if (c->p < c->end && *c->p == quote) {
        c->p++;
        return vr_str(start, (size_t)(c->p - start));
    }
    problem_error(s->problems, c->at, "a quoted text is not closed on its line; expected a %c at its end",
                  quote);
    c->p =
        start + 1; /* likely it was meant to end before the next blank: what follows is then read as usual */
    while (c->p < c->end && !strchr(" \t\r\n", *c->p))
        c->p++;
    struct vr_str text = vr_str(start, (size_t)(c->p - start));
    while (text.n > 1 && text.p[text.n - 1] == '\\') /* it would hide the quote put behind it */
        text.n--;
    char *closed = must_alloc(s->arena, text.n + 1);
    memcpy(closed, text.p, text.n);
    closed[text.n] = quote;
    return vr_str(closed, text.n + 1);
}

static struct token next_token(struct source *s, struct cursor *c)
{
    static const struct {
        char c;
        enum token_kind kind;
    } signs[] = {{'=', TOKEN_EQUAL}, {'{', TOKEN_OPEN}, {'}', TOKEN_CLOSE}, {'(', TOKEN_PAREN}};
    skip_blank(s, c);
    struct token t = {.kind = TOKEN_END, .at = c->at};
    if (c->p >= c->end)
        return t;
    const char *start = c->p;
    if (*c->p == '"' || *c->p == '\'') {
        t.kind = TOKEN_STRING;
        t.text = take_string(s, c);
        return t;
    }
    const char *variable_end = c->end - c->p > 2 && c->p[0] == '$' && c->p[1] == '{'
                                   ? memchr(c->p, '}', (size_t)(c->end - c->p))
                                   : NULL;
    if (variable_end && !memchr(c->p, '\n', (size_t)(variable_end - c->p))) { /* ${VARIABLE} */
        c->p = variable_end + 1;
        t.kind = TOKEN_WORD;
    } else if (!ends_word(*c->p)) {
        while (c->p < c->end && !ends_word(*c->p))
            c->p++;
        t.kind = TOKEN_WORD;
    } else if (c->end - c->p >= 2 && c->p[0] == '+' && c->p[1] == '=') {
        c->p += 2;
        t.kind = TOKEN_PLUS_EQUAL;
    } else {
        t.kind = TOKEN_OTHER;
        for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
            if (*c->p == signs[i].c)
                t.kind = signs[i].kind;
        c->p++;
    }
    t.text = vr_str(start, (size_t)(c->p - start));
    return t;
}

static void lay_out(struct source *s, const char *name, struct vr_str text, unsigned depth);

/* A path in an include is relative to the folder of the file that includes. */
static const char *include_path(struct source *s, const char *from, struct vr_str path)
{
    struct vr_str base = vr_str_from(from);
    size_t slash = vr_str_find_last(base, '/');
    if ((path.n && path.p[0] == '/') || slash == VR_NPOS)
        return must_text(s->arena, path);
    struct vr_buf joined;
    vr_buf_init(&joined, 8192);
    vr_buf_add(&joined, vr_str_sub(base, 0, slash + 1));
    vr_buf_add(&joined, path);
    const char *out = must_text(s->arena, vr_buf_str(&joined));
    vr_buf_fini(&joined);
    return out;
}

static void include_file(struct source *s, struct token include, struct vr_str quoted, unsigned depth)
{
    struct vr_str path = vr_str_sub(quoted, 1, quoted.n - 2);
    const char *name = include_path(s, include.at.file, path);
    if (depth >= INCLUDE_DEPTH) {
        problem_error(s->problems, include.at,
                      "include(\"%s\") is %d levels deep; does the file include itself?", name, depth);
        return;
    }
    if (++s->files > FILES_MAX) {
        if (s->files == FILES_MAX + 1)
            problem_error(s->problems, include.at,
                          "more than %d files are included; does a file include itself?", FILES_MAX);
        return;
    }
    struct vr_buf content;
    vr_buf_init(&content, FILE_MAX_BYTES);
    int status = io_fs_read_file(name, &content);
    if (status < 0)
        problem_error(s->problems, include.at,
                      "cannot read the included file %s: %s; correct the path or its permissions", name,
                      io_error_text(status));
    else
        lay_out(s, name, must_dup(s->arena, vr_buf_str(&content)), depth + 1);
    vr_buf_fini(&content);
}

static void add_token(struct source *s, struct token t)
{
    struct token *copy = must_alloc(s->arena, sizeof *copy);
    *copy = t;
    copy->next = NULL;
    *s->end = copy;
    s->end = &copy->next;
    s->last = t.at;
}

static void lay_out(struct source *s, const char *name, struct vr_str text, unsigned depth)
{
    struct cursor c = {.p = text.p, .end = text.p + text.n, .at = {name, 1}};
    const char *zero = memchr(text.p ? text.p : "", '\0', text.n);
    if (zero) {
        for (const char *at = text.p; at < zero; at++)
            c.at.line += *at == '\n';
        problem_error(s->problems, c.at, "the file contains a zero byte; expected plain text");
        return;
    }
    if (vr_str_starts(text, VR_STR("\xef\xbb\xbf")))
        c.p += 3; /* a byte order mark of some editors */
    for (struct token t = next_token(s, &c); t.kind != TOKEN_END; t = next_token(s, &c)) {
        struct cursor before = c;
        if (t.kind != TOKEN_WORD || !vr_str_equal(t.text, VR_STR("include"))) {
            add_token(s, t);
            continue;
        }
        if (next_token(s, &c).kind != TOKEN_PAREN) { /* some value that happens to be "include" */
            c = before;
            add_token(s, t);
            continue;
        }
        struct token path = next_token(s, &c);
        struct cursor behind = c;
        struct token close = next_token(s, &c);
        bool closed = close.kind == TOKEN_OTHER && close.text.p[0] == ')';
        if (path.kind != TOKEN_STRING || path.text.n < 3 || !closed) {
            problem_error(s->problems, t.at, "include is not complete; expected include(\"file\")");
            c = closed ? c : behind;
            continue;
        }
        include_file(s, t, path.text, depth);
    }
}

/* ---- statements ----------------------------------------------------------------------------------------------- */

struct parser {
    struct source *source;
    struct token *t; /* the next one, NULL at the end */
    struct statement *first, **end;
    const struct statement *open; /* the section we are in */
};

static struct statement *add_statement(struct parser *p, enum statement_kind kind, const struct token *word)
{
    struct statement *s = must_alloc(p->source->arena, sizeof *s);
    s->kind = kind;
    s->word = word->text;
    s->at = word->at;
    *p->end = s;
    p->end = &s->next;
    return s;
}

static void close_section(struct parser *p, const struct token *t)
{
    add_statement(p, STATEMENT_END, t);
    p->open = NULL;
}

/* After an error: on to the next line, or to what can only be the start of something. */
static void skip_line(struct parser *p, int line, const char *file)
{
    while (p->t && p->t->at.line == line && p->t->at.file == file && p->t->kind != TOKEN_CLOSE)
        p->t = p->t->next;
}

static bool is_value(const struct token *t)
{
    return t && (t->kind == TOKEN_WORD || t->kind == TOKEN_STRING);
}

/* Puts the tokens of a value together again, in libConfuse's words, on one line. */
static void key_statement(struct parser *p, const struct token *word)
{
    struct vr_buf text;
    vr_buf_init(&text, (size_t)4 << 20);
    const struct token *sign = p->t;
    vr_buf_add(&text, sign->text);
    p->t = p->t->next;
    bool good = true;
    if (p->t && p->t->kind == TOKEN_OPEN) {
        const struct token *open = p->t;
        for (; p->t && p->t->kind != TOKEN_CLOSE; p->t = p->t->next) {
            if (p->t->kind == TOKEN_EQUAL || (p->t->kind == TOKEN_OPEN && p->t != open))
                break;
            vr_buf_add_byte(&text, ' ');
            vr_buf_add(&text, p->t->text);
        }
        if (p->t && p->t->kind == TOKEN_CLOSE) {
            vr_buf_add(&text, VR_STR(" }"));
            p->t = p->t->next;
        } else {
            problem_error(p->source->problems, open->at, "the list of `%.*s` is not closed; expected }",
                          VR_STR_ARG(word->text));
            good = false;
            if (p->t)
                skip_line(p, p->t->at.line, p->t->at.file);
        }
    } else if (is_value(p->t) &&
               !(p->t->next && p->t->next->kind == TOKEN_EQUAL && p->t->at.line != sign->at.line)) {
        vr_buf_add_byte(&text, ' ');
        vr_buf_add(&text, p->t->text);
        p->t = p->t->next;
    } else {
        problem_error(p->source->problems, sign->at,
                      "`%.*s` has no value; expected a word or a \"text in quotes\" after the =",
                      VR_STR_ARG(word->text));
        good = false;
        skip_line(p, sign->at.line, sign->at.file);
    }
    if (good)
        add_statement(p, STATEMENT_KEY, word)->text = must_dup(p->source->arena, vr_buf_str(&text));
    vr_buf_fini(&text);
}

static void section_statement(struct parser *p, const struct token *word, struct vr_str title)
{
    if (p->open) {
        problem_error(
            p->source->problems, p->open->at,
            "the section `%.*s` is not closed before `%.*s` begins on line %d; expected } before it "
            "(no section stands in another)",
            VR_STR_ARG(p->open->word), VR_STR_ARG(word->text), word->at.line);
        close_section(p, word);
    }
    struct statement *s = add_statement(p, STATEMENT_SECTION, word);
    s->title = title;
    p->open = s;
    p->t = p->t->next; /* the { */
}

static bool section_has_title(struct vr_str name)
{
    for (size_t i = SECTION_LISTEN; i <= SECTION_ROUTE; i++) /* those that may stand several times */
        if (vr_str_equal(name, vr_str_from(section_names[i])))
            return true;
    return false;
}

/* A word without = and {: what should follow depends on what it is. */
static void lonely_word(struct problems *problems, const struct token *word)
{
    bool section = false, key = false;
    for (size_t i = 0; i < config_key_count; i++) {
        section = section || vr_str_equal(word->text, vr_str_from(config_keys[i].section));
        key = key || vr_str_equal(word->text, vr_str_from(config_keys[i].key));
    }
    if (section && !key)
        problem_error(problems, word->at, "`%.*s` is not followed by a {; expected `%.*s%s { … }`",
                      VR_STR_ARG(word->text), VR_STR_ARG(word->text),
                      section_has_title(word->text) ? " \"…\"" : "");
    else
        problem_error(problems, word->at, "`%.*s` is not followed by a value; expected `%.*s = value`",
                      VR_STR_ARG(word->text), VR_STR_ARG(word->text));
}

static void one_statement(struct parser *p)
{
    const struct token *word = p->t;
    struct problems *problems = p->source->problems;
    p->t = p->t->next;
    if (word->kind == TOKEN_CLOSE) {
        if (p->open)
            close_section(p, word);
        else
            problem_error(problems, word->at, "a } closes nothing; expected a key or a section");
        return;
    }
    if (word->kind != TOKEN_WORD) {
        if (word->kind == TOKEN_OTHER && word->text.p[0] == ',')
            problem_error(problems, word->at,
                          "a comma stands between two settings; expected nothing: a new line or a blank "
                          "separates them");
        else
            problem_error(problems, word->at, "`%.*s` is out of place; expected `key = value` or a section",
                          VR_STR_ARG(word->text));
        if (word->kind != TOKEN_OTHER || word->text.p[0] != ',')
            skip_line(p, word->at.line, word->at.file);
        return;
    }
    if (vr_str_equal(word->text, VR_STR(";"))) {
        problem_error(problems, word->at,
                      "a `;` is not needed here; expected a new line or a blank between two settings");
    } else if (p->t && (p->t->kind == TOKEN_EQUAL || p->t->kind == TOKEN_PLUS_EQUAL)) {
        key_statement(p, word);
    } else if (p->t && p->t->kind == TOKEN_OPEN) {
        section_statement(p, word, vr_str(NULL, 0));
    } else if (is_value(p->t) && p->t->next && p->t->next->kind == TOKEN_OPEN) {
        struct vr_str title = p->t->text;
        p->t = p->t->next;
        section_statement(p, word, title);
    } else {
        lonely_word(problems, word);
        skip_line(p, word->at.line, word->at.file);
    }
}

struct statement *source_read(struct vr_arena *arena, struct problems *problems, const char *name,
                              struct vr_str text)
{
    struct source s = {.arena = arena, .problems = problems, .last = {name, 1}};
    s.end = &s.first;
    lay_out(&s, name, text, 0);
    struct parser p = {.source = &s, .t = s.first};
    p.end = &p.first;
    while (p.t)
        one_statement(&p);
    if (p.open)
        problem_error(problems, p.open->at,
                      "the section `%.*s` is not closed; expected } before the end of the file",
                      VR_STR_ARG(p.open->word));
    return p.first;
}
