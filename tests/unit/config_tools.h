/* config_tools.h - for the tests of src/config/: a folder that vanishes, files in it, and the problems of a load as one text. */
#ifndef TESTS_CONFIG_TOOLS_H
#define TESTS_CONFIG_TOOLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/config.h"
#include "config/routing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOOLS_FILES 32
static char tools_folder[256];
static char tools_files[TOOLS_FILES][512];
static int tools_count;

static __attribute__((unused)) int folder_make(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(tools_folder, sizeof tools_folder, "%s/veredus-config-XXXXXX", base ? base : "/tmp");
    tools_count = 0;
    return mkdtemp(tools_folder) ? 0 : -1;
}

static __attribute__((unused)) int folder_remove(void **state)
{
    (void)state;
    for (int i = 0; i < tools_count; i++)
        unlink(tools_files[i]);
    return rmdir(tools_folder);
}

/* Writes a file into the folder (mode 0600); "$" in its text becomes the folder. Returns its path. */
static __attribute__((unused)) const char *file_write(const char *name, const char *text)
{
    assert_in_range(tools_count, 0, TOOLS_FILES - 1);
    char *path = tools_files[tools_count++];
    snprintf(path, sizeof tools_files[0], "%s/%s", tools_folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (const char *c = text; *c; c++)
        if (*c == '$')
            fputs(tools_folder, f);
        else
            fputc(*c, f);
    fclose(f);
    chmod(path, 0600);
    return path;
}

/* "name:line: [warning: ]message\n" for each problem; the folder is left out of names and messages. */
static __attribute__((unused)) char *problems_text(const struct config_load *l)
{
    static char out[65536];
    size_t n = 0, folder = strlen(tools_folder);
    char line[4096];
    out[0] = '\0';
    for (const struct config_problem *p = l->problems; p; p = p->next) {
        snprintf(line, sizeof line, "%s:%d: %s%s\n", p->file, p->line, p->warning ? "warning: " : "",
                 p->message);
        for (const char *c = line; *c && n + 1 < sizeof out;) {
            if (folder && strncmp(c, tools_folder, folder) == 0 && c[folder] == '/')
                c += folder + 1;
            else
                out[n++] = *c++;
        }
    }
    out[n] = '\0';
    return out;
}

/* "file:line " for each error, in order. */
static __attribute__((unused)) char *error_places(const struct config_load *l)
{
    static char out[8192];
    size_t n = 0;
    out[0] = '\0';
    for (const struct config_problem *p = l->problems; p; p = p->next) {
        const char *slash = strrchr(p->file, '/');
        if (!p->warning)
            n += (size_t)snprintf(out + n, sizeof out - n, "%s:%d ", slash ? slash + 1 : p->file, p->line);
    }
    return out;
}

/* A text that must load without errors. */
static __attribute__((unused)) struct config *config_of(const char *text)
{
    struct config_load *l = config_load_text("test.conf", vr_str_from(text));
    if (l->errors)
        print_error("%s", problems_text(l));
    assert_int_equal(l->errors, 0);
    struct config *c = config_take(l);
    config_load_free(l);
    return c;
}

#endif
