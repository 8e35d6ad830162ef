/* parse.c - what libConfuse makes of one statement: quotes and escapes undone, ${VARIABLE} and ${VARIABLE:-default} put in, lists taken apart.
 *
 * One statement at a time, each in a context of its own: libConfuse stops at its first error, and a second value of an option silently
 * replaces the first. Its messages are worded anew, with what was expected.
 * Tests: tests/unit/config.c, tests/fuzz/fuzz_config.c
 */
#include "config/load.h"

#include "io/env.h"

#include <confuse.h>
#include <stdio.h>
#include <string.h>

static void be_silent(cfg_t *cfg, const char *format, va_list arguments)
{
    (void)cfg;
    (void)format;
    (void)arguments;
}

/* "= value" → the values; count 0 after an error. */
static struct value *read_value(struct vr_arena *arena, struct vr_str text, bool list, struct place at)
{
    cfg_opt_t options[] = {list ? (cfg_opt_t)CFG_STR_LIST("value", NULL, CFGF_NONE)
                                : (cfg_opt_t)CFG_STR("value", NULL, CFGF_NONE),
                           CFG_END()};
    cfg_t *cfg = cfg_init(options, CFGF_NONE);
    struct vr_buf line;
    vr_buf_init(&line, text.n + 16);
    vr_buf_add(&line, VR_STR("value "));
    vr_buf_add(&line, text);
    vr_buf_add_byte(&line, '\n');
    vr_buf_add_byte(&line, '\0');
    struct value *first = NULL, **end = &first;
    if (cfg) {
        cfg_set_error_function(cfg, be_silent);
        if (cfg_parse_buf(cfg, vr_buf_str(&line).p) == CFG_SUCCESS)
            for (unsigned i = 0; i < cfg_size(cfg, "value"); i++) {
                const char *v = cfg_getnstr(cfg, "value", i);
                struct value *one = must_alloc(arena, sizeof *one);
                one->text = must_dup(arena, vr_str_from(v));
                explicit_bzero(
                    (char *)(uintptr_t)v,
                    one->text.n); /* it may be a password, and the heap is shared with every child */
                one->at = at;
                *end = one;
                end = &one->next;
            }
        cfg_free(cfg);
    }
    if (line.p)
        explicit_bzero(line.p, line.capacity);
    vr_buf_fini(&line);
    return first;
}

/* ${NAME} without a default, and no such variable: libConfuse would put nothing in its place. */
static bool variables_are_set(struct problems *p, const struct statement *s, struct vr_str text)
{
    char name[256], quote = '\0';
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '\\' && quote == '"') {
            i++;
        } else if (c == '"' || c == '\'') {
            quote = quote == '\0' ? c : quote == c ? '\0' : quote;
        } else if (c == '$' && quote != '\'' && i + 1 < text.n && text.p[i + 1] == '{') {
            struct vr_str rest = vr_str_from_pos(text, i + 2);
            struct vr_str inner = vr_str_sub(rest, 0, vr_str_find(rest, '}'));
            if (inner.n == rest.n || inner.n >= sizeof name || vr_str_find(inner, ':') != VR_NPOS)
                continue;
            snprintf(name, sizeof name, "%.*s", VR_STR_ARG(inner));
            if (io_env(name) != NULL)
                continue;
            problem_error(p, s->at,
                          "`%.*s` names the environment variable %s, which is not set; expected it in the "
                          "environment, or a default: ${%s:-text}",
                          VR_STR_ARG(s->word), name, name);
            return false;
        }
    }
    return true;
}

struct value *statement_values(struct vr_arena *arena, struct problems *p, const struct statement *s,
                               bool list)
{
    struct vr_str text = s->text;
    struct vr_str written = vr_str_trim(vr_str_from_pos(text, text.p[0] == '+' ? 2 : 1));
    bool braces = written.n && written.p[0] == '{';
    if (braces && !list) {
        problem_error(p, s->at, "`%.*s` has a list; expected one value", VR_STR_ARG(s->word));
        return NULL;
    }
    if (!list && text.p[0] == '+') {
        problem_error(p, s->at, "`%.*s` has one value and cannot be added to; expected = instead of +=",
                      VR_STR_ARG(s->word));
        return NULL;
    }
    if (!braces && written.n > 1 && written.p[0] != '"' && written.p[0] != '\'' &&
        written.p[written.n - 1] == ';') {
        problem_error(p, s->at,
                      "the value of `%.*s` ends with a `;`; expected a new line or a blank after it, or "
                      "quotes around it",
                      VR_STR_ARG(s->word));
        return NULL;
    }
    if (!variables_are_set(p, s, written))
        return NULL;
    struct value *values = read_value(arena, text, list, s->at);
    if (!values && !(braces && vr_str_trim(vr_str_sub(written, 1, written.n - 2)).n == 0))
        problem_error(p, s->at, "the value of `%.*s` cannot be read: %.*s; expected %s", VR_STR_ARG(s->word),
                      VR_STR_ARG(written),
                      list ? "{ \"a\", \"b\" }, with a comma between two values"
                           : "a word or a \"text in quotes\"");
    return values;
}

struct vr_str statement_title(struct vr_arena *arena, struct problems *p, const struct statement *s)
{
    struct vr_buf text;
    vr_buf_init(&text, s->title.n + 2);
    vr_buf_add(&text, VR_STR("= "));
    vr_buf_add(&text, s->title);
    struct value *v = read_value(arena, vr_buf_str(&text), false, s->at);
    vr_buf_fini(&text);
    if (!v) {
        problem_error(p, s->at, "the name of the section `%.*s` cannot be read: %.*s", VR_STR_ARG(s->word),
                      VR_STR_ARG(s->title));
        return vr_str(NULL, 0);
    }
    return v->text;
}
