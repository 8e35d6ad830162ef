/* login.c - the keys that say how one logs in: passwords, tokens and mechanisms.
 *
 * Promise: what was secret stays in the configuration alone: the text that it was read from is wiped.
 * Tests:   tests/unit/config.c
 */
#include "config/load.h"

#include "io/fs.h"

#include <string.h>

#define SECRET_FILE_MAX (SASL_TOKEN_MAX + 4096)

/* A password or token of a route, in the file itself or in one of its own. */
static void set_secret(const struct setting *s, struct vr_str *out, const char *what)
{
    if (out->n)
        problem_error(&s->l->problems, s->at, "a %s and a %s file are given; expected one of them", what,
                      what);
    else if (s->values->text.n == 0)
        problem_error(&s->l->problems, s->at, "`%s` is empty; expected a text (or %s_file)", what, what);
    else
        *out = must_dup(&s->l->c->arena, s->values->text);
    explicit_bzero((char *)(uintptr_t)s->values->text.p, s->values->text.n);
}

static void set_secret_file(const struct setting *s, struct vr_str *out, const char *what)
{
    const char *path = NULL;
    setting_path(s, &path);
    if (!path)
        return;
    struct vr_buf content;
    vr_buf_init(&content, SECRET_FILE_MAX);
    vr_buf_reserve(&content, SECRET_FILE_MAX); /* growing would leave copies behind */
    int status = io_fs_read_file(path, &content);
    struct vr_str rest = vr_buf_str(&content), line = {NULL, 0};
    vr_str_split(&rest, '\n', &line);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (status < 0)
        problem_error(&s->l->problems, s->at,
                      "cannot read the %s file %s: %s; correct the path or its permissions", what, path,
                      io_error_text(status));
    else if (line.n == 0)
        problem_error(&s->l->problems, s->at, "the first line of the %s file %s is empty; expected the %s",
                      what, path, what);
    else if (out->n)
        problem_error(&s->l->problems, s->at, "a %s and a %s file are given; expected one of them", what,
                      what);
    else
        *out = must_dup(&s->l->c->arena, line);
    if (content.p)
        explicit_bzero(content.p, content.capacity);
    vr_buf_fini(&content);
    struct io_fs_stat st;
    if (status >= 0 && io_fs_stat(path, &st) == 0 && (st.mode & 04))
        problem_warning(
            &s->l->problems, s->at,
            "everybody on this machine can read the %s file %s; expected mode 0600 (chmod 600 %s)", what,
            path, path);
}

void set_password(const struct setting *s)
{
    set_secret(s, &((struct config_route *)s->target)->password, "password");
}

void set_password_file(const struct setting *s)
{
    set_secret_file(s, &((struct config_route *)s->target)->password, "password");
}

void set_token(const struct setting *s)
{
    set_secret(s, &((struct config_route *)s->target)->token, "token");
}

void set_token_file(const struct setting *s)
{
    set_secret_file(s, &((struct config_route *)s->target)->token, "token");
}

/* NULL after a complaint. */
static const struct sasl_mechanism *read_mechanism(const struct setting *s, struct vr_str name)
{
    const struct sasl_mechanism *m = sasl_mechanism_find(name);
    if (m != NULL)
        return m;
    struct vr_buf known;
    vr_buf_init(&known, 512);
    sasl_mechanism_names(&known, ~0u);
    problem_error(&s->l->problems, s->at, "`%s` has \"%.*s\"; expected one of %.*s", s->row->key,
                  VR_STR_ARG(name), VR_STR_ARG(vr_buf_str(&known)));
    vr_buf_fini(&known);
    return NULL;
}

void set_mechanism(const struct setting *s)
{
    const struct sasl_mechanism *m = read_mechanism(s, s->values->text);
    if (m != NULL)
        ((struct config_route *)s->target)->mechanism = vr_str_from(m->name);
}

void set_mechanisms(const struct setting *s)
{
    unsigned bits = s->adds ? s->l->c->mechanisms : 0;
    for (const struct value *v = s->values; v; v = v->next) {
        const struct sasl_mechanism *m = read_mechanism(s, v->text);
        bits |= m != NULL ? (unsigned)m->bit : 0;
    }
    s->l->c->mechanisms = bits;
}
