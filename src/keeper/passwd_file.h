/* passwd_file.h - accounts in a file: lines `name:hash`, with more fields behind as in passwd(5), shadow(5) and Dovecot's passwd-file.
 *
 * name: an address, or a local part that `accounts.domain` completes. hash: see hashes.h. Empty lines and lines that begin with # are
 * passed over. Text in, table out: reading the file is the caller's.
 */
#ifndef KEEPER_PASSWD_FILE_H
#define KEEPER_PASSWD_FILE_H

#include <veredus/base.h>

#define PASSWD_FILE_MAX (256u << 20)

struct passwd_entry {
    struct vr_str account; /* in lower case */
    struct vr_str hash;    /* as written, with its scheme */
    int line;
};
struct passwd_table;
/* text: taken over, its buffer is empty afterwards. problem: NULL, or told of each line that is not what it should be; such lines are left out, but for warnings and
 * for hashes of unknown schemes, whose accounts are there and cannot log in. Never NULL. */
struct passwd_table *passwd_parse(struct vr_buf *text, struct vr_str domain,
                                  void (*problem)(void *arg, int line, bool warning, const char *what), void *arg);
void passwd_free(struct passwd_table *t); /* wipes. NULL is fine */
/* account: in lower case. NULL: none. */
const struct passwd_entry *passwd_find(const struct passwd_table *t, struct vr_str account);
/* A hash of the table that costs what others cost, to be verified in vain for an unknown account; empty: there is none. */
struct vr_str passwd_decoy(const struct passwd_table *t);
size_t passwd_count(const struct passwd_table *t);

#endif
