/* load.c - a configuration from a file or a text, with all its problems; its life and end.
 *
 * Promise: config_load_* never fails silently: config is NULL exactly when there are errors, and every error is in the list.
 * Tests:   tests/unit/config.c
 */
#include "config/load.h"

#include "config/aliases.h"
#include "config/index.h"
#include "io/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX_BYTES  ((size_t)1 << 30)
#define PROBLEM_MAX_BYTES ((size_t)1 << 20)
#define FILE_MAX_BYTES    ((size_t)16 << 20)

struct load {
    struct config_load public; /* first: what callers hold */
    struct vr_arena arena;     /* of the problems */
};

static void *must_calloc(size_t n)
{
    void *p = calloc(1, n);
    if (!p)
        abort();
    return p;
}

static struct load *load_new(void)
{
    struct load *load = must_calloc(sizeof *load);
    vr_arena_init(&load->arena, PROBLEM_MAX_BYTES);
    return load;
}

static struct config_load *load_end(struct load *load, struct loader *l)
{
    problems_sort(&l->problems);
    load->public.problems = l->problems.list;
    load->public.errors = l->problems.errors;
    load->public.warnings = l->problems.warnings;
    vr_arena_fini(&l->scratch);
    if (l->c && l->c->run)
        load->public.run = must_text(&load->arena, vr_str_from(l->c->run));
    if (l->c && load->public.errors) {
        config_free(l->c);
        l->c = NULL;
    }
    load->public.config = l->c;
    return &load->public;
}

struct config_load *config_load_text(const char *name, struct vr_str text)
{
    struct load *load = load_new();
    struct loader l = {.main_file = name, .problems = {.arena = &load->arena}};
    vr_arena_init(&l.scratch, CONFIG_MAX_BYTES);
    l.c = must_calloc(sizeof *l.c);
    vr_arena_init(&l.c->arena, CONFIG_MAX_BYTES);
    config_apply(&l, source_read(&l.scratch, &l.problems, name, text));
    routing_index(l.c); /* the checks look domains up too */
    config_check(&l);
    return load_end(load, &l);
}

static const char *way_out(int status)
{
    switch (status) {
    case -ENOENT:
        return "make the file (configuration.md begins with a small one), or give another path";
    case -EACCES:
    case -EPERM:
        return "run this as a user who may read it, such as root";
    case -EFBIG:
        return "expected less than 16 MiB; is it another file?";
    default:
        return "give the path of a file that can be read";
    }
}

struct config_load *config_load_file(const char *path)
{
    if (!path)
        path = CONFIG_DEFAULT_PATH;
    struct vr_buf content;
    vr_buf_init(&content, FILE_MAX_BYTES);
    int status = io_fs_read_file(path, &content);
    struct config_load *out;
    if (status < 0) {
        struct load *load = load_new();
        struct loader l = {.main_file = path, .problems = {.arena = &load->arena}};
        vr_arena_init(&l.scratch, CONFIG_MAX_BYTES);
        problem_error(&l.problems, (struct place){path, 1}, "cannot read the configuration: %s; %s",
                      io_error_text(status), way_out(status));
        out = load_end(load, &l);
    } else {
        out = config_load_text(path, vr_buf_str(&content));
    }
    if (content.p)
        explicit_bzero(content.p, content.capacity); /* it may hold passwords */
    vr_buf_fini(&content);
    return out;
}

struct config *config_take(struct config_load *l)
{
    struct config *c = l->config;
    l->config = NULL;
    return c;
}

void config_load_free(struct config_load *l)
{
    if (!l)
        return;
    struct load *load = (struct load *)l;
    config_free(l->config);
    vr_arena_fini(&load->arena);
    free(load);
}

void config_forget_secrets(struct config *c)
{
    for (size_t i = 0; i < c->route_count; i++) {
        struct vr_str *secrets[] = {&c->routes[i].password, &c->routes[i].token};
        for (size_t k = 0; k < 2; k++) {
            if (secrets[k]->n)
                explicit_bzero((char *)(uintptr_t)secrets[k]->p, secrets[k]->n);
            *secrets[k] = vr_str(NULL, 0);
        }
    }
}

void config_free(struct config *c)
{
    if (!c)
        return;
    config_forget_secrets(c);
    config_forget_srs(c);
    vr_arena_fini(&c->arena);
    free(c);
}
