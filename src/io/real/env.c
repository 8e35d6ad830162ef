/* env.c - see env.h.
 *
 * Tests: tests/unit/event.c
 */
#include "io/env.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *io_env(const char *name)
{
    return getenv(name);
}

bool io_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

bool io_is_coloured(int fd)
{
    const char *no = getenv("NO_COLOR"),
               *terminal = getenv("TERM"); /* https://no-color.org/: set and not empty */
    return io_is_terminal(fd) && (no == NULL || *no == '\0') &&
           (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

/* The variable is inherited by all that is started below a service, also when its output goes elsewhere: so
 * device and inode decide. */
bool io_is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat st;
    if (stream == NULL || fstat(fd, &st) != 0)
        return false;
    snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, own) == 0;
}

unsigned io_core_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? (unsigned)n : 1;
}

int64_t io_env_clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void io_env_random(void *out, size_t n)
{
    char *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0) {
            assert(errno == EINTR); /* nothing else on Linux since 3.17; without randomness nothing may go on */
            continue;
        }
        p += got;
        n -= (size_t)got;
    }
}
