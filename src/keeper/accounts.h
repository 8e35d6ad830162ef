/* accounts.h - the accounts data base: an SQLite file that the keeper reads and `veredus account` writes.
 *
 * An account is an address: it may log in, it has a mailbox, it may send as itself and as the addresses given to it. Names are kept as keys
 * (address_key): in lower case and NFC, domains in A-labels; every call takes any form of them. Passwords are kept as argon2id (PHC string) and as the keys of SCRAM-SHA-256 and SCRAM-SHA-1, never in clear; where CRAM-MD5 is
 * wanted, also as its keys. All calls block.
 */
#ifndef KEEPER_ACCOUNTS_H
#define KEEPER_ACCOUNTS_H

#include <veredus/base.h>
#include <veredus/sasl.h>

struct accounts;
#define ACCOUNTS_SALTS 48 /* of argon2id, SCRAM-SHA-256 and SCRAM-SHA-1: 16 octets each, random */

/* Opens (create: makes it, 0600, with its schema). A data base of an older schema is brought up to date if it may be written, else read as it
 * is. NULL on failure, with a sentence that names the file. */
struct accounts *accounts_open(const char *path, bool create, char error[256]);
void accounts_close(struct accounts *a);
const char *accounts_error(const struct accounts *a); /* of the last call that failed */
/* Has the file under this path been replaced or removed since it was opened (a backup put back)? Then open it anew. */
bool accounts_moved(const struct accounts *a);

enum accounts_result { ACCOUNTS_OK, ACCOUNTS_NO_SUCH, ACCOUNTS_EXISTS, ACCOUNTS_INVALID, ACCOUNTS_TROUBLE };
/* From now on passwords are (not: the default) also kept as keys of CRAM-MD5: `authentication.cram_md5`. */
void accounts_keep_cram(struct accounts *a, bool keep);
/* INVALID: not an address, or a password that SASL could not carry. */
enum accounts_result accounts_add(struct accounts *a, struct vr_str address, struct vr_str password, const uint8_t salts[ACCOUNTS_SALTS]);
/* The address is remembered as one that somebody had: who gets it next is not him, unless accounts_same_owner says so. */
enum accounts_result accounts_remove(struct accounts *a, struct vr_str address);
/* Whoever had this address before is who has it now; OK as well when nobody had. */
enum accounts_result accounts_same_owner(struct accounts *a, struct vr_str address);
enum accounts_result accounts_set_password(struct accounts *a, struct vr_str address, struct vr_str password, const uint8_t salts[ACCOUNTS_SALTS]);
/* extra: an address, or "@example.org" for all of a domain. Adding what is there already is fine. */
enum accounts_result accounts_add_send_as(struct accounts *a, struct vr_str address, struct vr_str extra);
enum accounts_result accounts_remove_send_as(struct accounts *a, struct vr_str address, struct vr_str extra);
/* In the order of the addresses; send_as_joined: separated by blanks; created: seconds since 1970. each returns false to stop. */
enum accounts_result accounts_list(struct accounts *a, bool (*each)(void *arg, struct vr_str address, struct vr_str send_as_joined, int64_t created), void *arg);

enum accounts_result accounts_exists(struct accounts *a, struct vr_str address);
#define ACCOUNTS_OWNER_UNKNOWN 0
#define ACCOUNTS_OWNER_ALWAYS  1
/* Since when the account's owner has had the address for himself, in seconds since 1970 (RFC 7293 §9): the day it was made when there was an owner
 * before; ALWAYS when there was none. UNKNOWN: a data base of an older schema that may not be written. OK, NO_SUCH, TROUBLE as accounts_exists. */
enum accounts_result accounts_owner_since(struct accounts *a, struct vr_str address, int64_t *since);
/* Verifies in constant time also when there is no such account. ACCOUNTS_OK, ACCOUNTS_NO_SUCH (wrong password as well), ACCOUNTS_TROUBLE. */
enum accounts_result accounts_verify(struct accounts *a, struct vr_str address, struct vr_str password);
/* NO_SUCH: no such account, or none of these keys (its password was set before they were kept). */
enum accounts_result accounts_scram(struct accounts *a, struct vr_str address, enum sasl_hash hash, struct sasl_scram_keys *out);
enum accounts_result accounts_cram(struct accounts *a, struct vr_str address, struct sasl_cram_keys *out);
enum accounts_result accounts_may_send_as(struct accounts *a, struct vr_str account, struct vr_str address);
/* A secret of this data base, made with it: for the salts of unknown users. */
enum accounts_result accounts_secret(struct accounts *a, uint8_t out[16]);

#endif
