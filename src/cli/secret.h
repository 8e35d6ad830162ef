/* secret.h - where a command gets a password or a token from: a file, standard input, or a person. */
#ifndef CLI_SECRET_H
#define CLI_SECRET_H

#include <veredus/base.h>

struct secret_options {
    const char *what;    /* "password": in messages and the prompt */
    const char *user;    /* whose it is; NULL: nobody is asked on the terminal */
    const char *file;    /* its first line; NULL: none */
    bool standard_input; /* its first line */
};
/* Into out, which the caller wipes. False: told on standard error; *code gets the exit code. */
bool secret_read(const struct secret_options *o, struct vr_buf *out, int *code);

#endif
