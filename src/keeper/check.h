/* check.h - for `veredus check`: what is wrong in the files that the sections `accounts` and `oauth` name. */
#ifndef KEEPER_CHECK_H
#define KEEPER_CHECK_H

#include "config/config.h"

/* each: told of every fault, in the order of files and lines; warning: the server starts all the same, without what the line says. Blocks. */
void keeper_check(const struct config *c,
                  void (*each)(void *arg, const char *file, int line, bool warning, const char *what), void *arg);

#endif
