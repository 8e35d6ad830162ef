/* env.c - see env.h. */
#include "io/env.h"

#include <sched.h>
#include <stdlib.h>
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
