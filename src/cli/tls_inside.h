/* tls_inside.h - which certificates the server shows, for `veredus tls` and `veredus dns`. */
#ifndef CLI_TLS_INSIDE_H
#define CLI_TLS_INSIDE_H

#include "config/config.h"

struct tls_shown {
    const char *names, *chain_path, *key_path;
    struct vr_str pem;
    bool loaded; /* by the running server; else: it is what the file holds */
};

struct tls_source {
    const char *self, *run;      /* run: where the server's sockets are */
    const struct config *config; /* for the files; NULL: it cannot be used */
    bool files;                  /* the server is not asked */
    /* A certificate; what it is given lives until the return. */
    void (*each)(void *arg, const struct tls_shown *t);
    void *arg;
    bool absent;  /* out: the server does not run */
    bool trouble; /* out: a file could not be read; a message was written */
};
/* EX_OK, EX_CONFIG (the files are wanted, and there is no configuration), or what asking the server came to, said already. */
int tls_each(struct tls_source *s);

#endif
