/* title.c - the process's name in ps(1) and top(1).
 *
 * The usual trick writes over argv, which others may still point into. Here the kernel is told of another piece of memory
 * (prctl PR_SET_MM_MAP, prctl(2)); where it refuses, only the short name (15 bytes) is set.
 * Tests: tests/unit/io_process.c
 */
#include "io/real/title.h"

#include <fcntl.h>
#include <linux/prctl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TITLE_MAX 256u

/* The fields of /proc/self/stat (proc(5)) that a struct prctl_mm_map wants: their numbers, from 1. */
static bool memory_map(struct prctl_mm_map *m)
{
    char text[2048];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    char *p = strrchr(text, ')'); /* the command's name may hold blanks */
    if (p == NULL)
        return false;
    uint64_t field[53] = {0};
    int i = 3;
    for (p = strtok(p + 1, " "); p != NULL && i < 53; p = strtok(NULL, " "))
        field[i++] = strtoull(p, NULL, 10);
    if (i < 52)
        return false;
    *m = (struct prctl_mm_map){.start_code = field[26],
                               .end_code = field[27],
                               .start_data = field[45],
                               .end_data = field[46],
                               .start_brk = field[47],
                               .brk = (uint64_t)(uintptr_t)sbrk(0),
                               .start_stack = field[28],
                               .arg_start = field[48],
                               .arg_end = field[49],
                               .env_start = field[50],
                               .env_end = field[51],
                               .exe_fd = UINT32_MAX};
    return true;
}

void process_title_set(const char *title)
{
    char text[TITLE_MAX];
    struct prctl_mm_map map;
    snprintf(text, sizeof text, "vd-%s", title);
    prctl(PR_SET_NAME, text);
    int n = snprintf(text, sizeof text, "veredus: %s", title);
    if (n <= 0 || n >= (int)sizeof text || !memory_map(&map))
        return;
    char *place = mmap(NULL, TITLE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        return;
    memcpy(place, text, (size_t)n + 1);
    map.arg_start = (uint64_t)(uintptr_t)place;
    map.arg_end = map.arg_start + (uint64_t)n + 1;
    if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0) != 0)
        munmap(place, TITLE_MAX);
}
