/* usage.c - what the commands share: what is said to a wrong command line (one line, not a page in which the reason is lost); when colours are used. */
#include "cli/cli.h"

#include "io/env.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

int cli_wrong_usage(const char *self, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "%s: ", self);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return cli_wrong_option(self);
}

int cli_wrong_option(const char *self)
{
    fprintf(stderr, "`%s --help` tells more\n", self);
    return EX_USAGE;
}

bool cli_coloured(int fd)
{
    return io_is_coloured(fd);
}
