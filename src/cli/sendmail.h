/* sendmail.h - the parts of sendmail(1): its command line, read; -bs. */
#ifndef CLI_SENDMAIL_H
#define CLI_SENDMAIL_H

#include "io/stream.h"

#include <veredus/base.h>
#include <veredus/dsn.h>

enum sendmail_mode {
    SENDMAIL_DELIVER, /* -bm, the default */
    SENDMAIL_SMTP,    /* -bs */
    SENDMAIL_LIST,    /* -bp */
    SENDMAIL_ALIASES, /* -bi, -I */
    SENDMAIL_FLUSH,   /* -q, -qI, -qR, -qS */
    SENDMAIL_USAGE    /* --help */
};

struct sendmail_options {
    enum sendmail_mode mode;
    bool take_recipients;   /* -t */
    bool dot_is_text;       /* -i, -oi */
    bool verbose;           /* -v */
    bool declared_8bit;     /* -B8BITMIME */
    const char *sender;     /* -f, -r; NULL: the caller */
    const char *full_name;  /* -F */
    unsigned notify;        /* -N, enum dsn_notify bits */
    enum dsn_ret ret;       /* -R */
    const char *envid;      /* -V */
    const char *config;     /* -C; NULL: the default */
    char flush_by;          /* FLUSH: 'I', 'R', 'S', or 0 for all … */
    const char *flush_what; /* … and of which */
    char **recipients;      /* the rest of argv */
    int recipient_count;
};

/* 0, or EX_USAGE with a sentence. argv is reordered: options first. */
int sendmail_parse(int argc, char **argv, struct sendmail_options *out, char error[256]);

/* -bs: standard input and output as a session with the server at `to`. The exit code; -1 when there was no connection, with *status. */
int sendmail_smtp(const struct io_address *to, int *status);

#endif
