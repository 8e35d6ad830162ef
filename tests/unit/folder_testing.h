/* folder_testing.h - temporary folders of tests. */
#ifndef TESTS_FOLDER_TESTING_H
#define TESTS_FOLDER_TESTING_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A new one below TMPDIR or /tmp; false: it cannot be made. */
static inline bool folder_new(char folder[64])
{
    const char *base = getenv("TMPDIR");
    if (base == NULL || strlen(base) > 32)
        base = "/tmp";
    snprintf(folder, 64, "%s/veredus-test-XXXXXX", base);
    return mkdtemp(folder) != NULL;
}

/* With all that is in it. */
static inline void folder_remove(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char path[512];
        snprintf(path, sizeof path, "%.200s/%.255s", folder, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(path) != 0)
            folder_remove(path);
    }
    if (d != NULL)
        closedir(d);
    rmdir(folder);
}

#endif
