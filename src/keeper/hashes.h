/* hashes.h - password hashes as other programs write them: crypt(5) and Dovecot's {SCHEME}. Slow on purpose: for worker threads.
 *
 * {CRYPT}, {SHA512-CRYPT}, {SHA256-CRYPT}, {BLF-CRYPT} and what begins with "$" go to libxcrypt; {ARGON2ID} and {ARGON2I} to libargon2; {PLAIN} and
 * {CLEARTEXT} are the password itself. Without a scheme: crypt(5). Schemes are compared without regard to case.
 */
#ifndef KEEPER_HASHES_H
#define KEEPER_HASHES_H

#include <veredus/base.h>

#define HASH_MAX 512 /* the longest that is kept */

enum hash_kind {
    HASH_LOCKED,  /* "", "*", "!…", "x": there is a mailbox, and nobody logs in with a password */
    HASH_CRYPT,
    HASH_ARGON2,
    HASH_PLAIN,
    HASH_UNKNOWN  /* a scheme that this program does not know, or a hash that is none */
};
/* hash: behind the scheme. weak: works, but guessing is cheap (DES, MD5, plain text). */
enum hash_kind hash_kind(struct vr_str stored, struct vr_str *hash, bool *weak);

enum hash_verdict { HASH_RIGHT, HASH_WRONG, HASH_UNUSABLE /* HASH_UNKNOWN, or no memory for it */ };
/* Takes as long for a wrong password as for the right one. A locked hash is WRONG. */
enum hash_verdict hash_verify(struct vr_str stored, struct vr_str password);

#endif
