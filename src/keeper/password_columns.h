/* password_columns.h - what a password becomes in the accounts data base. Not for other folders. */
#ifndef KEEPER_PASSWORD_COLUMNS_H
#define KEEPER_PASSWORD_COLUMNS_H

#include "keeper/accounts.h"

#include <sqlite3.h>

/* Could it be one? INVALID with the reason. */
enum accounts_result password_check(struct vr_str password, char error[256]);
/* Binds the ten columns that a password becomes, at 1 to 10; keep_cram: with the keys of CRAM-MD5. Takes the time of a hash. OK, INVALID, TROUBLE. */
enum accounts_result password_bind(sqlite3_stmt *s, struct vr_str password, const uint8_t salts[ACCOUNTS_SALTS], bool keep_cram, char error[256]);

#endif
