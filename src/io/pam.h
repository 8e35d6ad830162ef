/* pam.h - asking PAM whether a password is right.
 *
 * Each question runs in a child process of its own: what PAM's modules do (block, leak, crash, start helpers) ends with it, and one that
 * takes too long is killed. So the caller must be a process without worker threads, unconfined, and for most modules root.
 */
#ifndef IO_PAM_H
#define IO_PAM_H

#include "io/io.h"

enum io_pam_verdict {
    IO_PAM_YES,
    IO_PAM_NO,     /* wrong password, no such user, account expired or locked: all one to the client */
    IO_PAM_TROUBLE /* nobody knows: ask again later */
};

struct io_pam_question {
    const char *service; /* the file in /etc/pam.d */
    const char *rules;   /* another folder than /etc/pam.d, for tests; NULL */
    struct vr_str user, password;
    struct vr_str client;  /* PAM_RHOST: an IP address; empty: none */
    int64_t timeout_ms;
};

/* answer comes once, from the loop. why: a sentence for the log (PAM's words), "" with YES; lives until the return. */
void io_pam_ask(struct io *io, const struct io_pam_question *q,
                void (*answer)(void *arg, enum io_pam_verdict verdict, const char *why), void *arg);

#endif
