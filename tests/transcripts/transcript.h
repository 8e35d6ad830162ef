/* transcript.h - a transcript in memory: its configuration and its steps, see README.md. */
#ifndef TESTS_TRANSCRIPT_H
#define TESTS_TRANSCRIPT_H

#include <veredus/smtp_server.h>

enum step_kind {
    STEP_CLIENT, /* bytes that the client sends */
    STEP_SERVER, /* the pattern of a line that the server says */
    STEP_TLS,    /* the handshake is done */
    STEP_EOF,    /* the client closes its side */
    STEP_WAIT,   /* so many milliseconds pass */
    STEP_FACT    /* what must be so at the end */
};

struct step {
    enum step_kind kind;
    unsigned line; /* in the file */
    struct vr_str text;
    int64_t wait_ms;
    bool any; /* of the server: all lines that match, be there none or many */
};

struct transcript {
    const char *path;
    struct vr_str title;
    struct smtp_server_config config;
    struct smtp_reply greeting;
    bool bare_lf;         /* is allowed */
    unsigned granted;     /* enum smtp_extension */
    int64_t unix_seconds; /* 0: the engine is not told the time of day */
    bool implicit_tls;
    bool tcp; /* may be run against a server that is not of our making */
    struct step *steps;
    size_t count;
    struct vr_arena arena;
    unsigned error_line; /* where reading failed, and why */
    const char *error;
};

bool transcript_read(struct transcript *t, const char *path);
void transcript_free(struct transcript *t);
/* Does the text follow the pattern, in which each '*' stands for any run of bytes? */
bool pattern_matches(struct vr_str pattern, struct vr_str text);

/* Has each reply its enhanced status (RFC 2034 §4, RFC 5248)? All 2xx, 4xx and 5xx but the greeting (that
 * of XCLIENT too) and the replies to EHLO, HELO and LHLO. One for each run; the lines in their order. */
struct status_check {
    unsigned lines, hellos, xclients; /* lines so far; commands that may have a reply without */
    unsigned plain_hellos, greetings; /* such replies so far */
};
struct status_check status_check_of(const struct transcript *t);
bool status_check_line(struct status_check *s,
                       struct vr_str line); /* false: it lacks one, or has one of another class */

/* The ways of running one. A failure is described on standard error; the output and the facts of the first way are kept in *seen for
 * the other ways to be compared with. */
enum way { WAY_CHUNK, WAY_BYTES, WAY_SPLITS, WAY_COUNT };
extern const char *const way_names[WAY_COUNT];
bool engine_run(const struct transcript *t, enum way way, uint64_t seed, struct vr_buf *seen);
bool tcp_run(const struct transcript *t, const char *host, const char *port);

#endif
