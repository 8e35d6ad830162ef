/* dovecot_lines.h - Dovecot's authentication protocol, the client's side: lines in, lines out.
 *
 * Source: doc.dovecot.org, "Authentication Protocol" (version 1.1), for auth-client sockets; and the master's request USER for auth-userdb
 * sockets. A line is a word and fields with TABs between them; in a field TAB, LF, CR, NUL and \001 are written as \001 and a letter.
 */
#ifndef KEEPER_DOVECOT_LINES_H
#define KEEPER_DOVECOT_LINES_H

#include <veredus/base.h>

#define DOVECOT_LINE_MAX 8192 /* what Dovecot itself takes */

enum dovecot_word {
    DOVECOT_OTHER,     /* SPID, CUID, COOKIE, MECH of other mechanisms, words of later versions: passed over */
    DOVECOT_VERSION,   /* good: we speak the same */
    DOVECOT_MECH_PLAIN,
    DOVECOT_SPID,      /* the last of a master's greeting */
    DOVECOT_DONE,      /* the last of a client's greeting */
    DOVECOT_OK,        /* id, user: the password is right */
    DOVECOT_FAIL,      /* id, temporary, reason */
    DOVECOT_CONT,      /* id: Dovecot wants more, which PLAIN has not */
    DOVECOT_USER,      /* id, user: there is such a user */
    DOVECOT_NOTFOUND,  /* id */
    DOVECOT_MALFORMED  /* no such protocol: end the connection */
};

struct dovecot_line {
    enum dovecot_word word;
    uint32_t id;
    bool temporary;
    struct vr_str user, reason; /* unescaped; in the arena */
};
/* line: without its LF. */
struct dovecot_line dovecot_read(struct vr_arena *arena, struct vr_str line);

/* What we say first. master: to an auth-userdb socket. */
void dovecot_put_hello(struct vr_buf *out, bool master, int process_id);
/* By PLAIN. client: an IP address, or empty. False: what cannot be said in this protocol (a NUL, too long). */
bool dovecot_put_auth(struct vr_buf *out, uint32_t id, struct vr_str user, struct vr_str password, struct vr_str client);
bool dovecot_put_user(struct vr_buf *out, uint32_t id, struct vr_str user);

#endif
