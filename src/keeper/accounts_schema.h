/* accounts_schema.h - the tables of the accounts data base and their versions. Not for other folders. */
#ifndef KEEPER_ACCOUNTS_SCHEMA_H
#define KEEPER_ACCOUNTS_SCHEMA_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#define ACCOUNTS_SCHEMA 3 /* 1: without the keys of SCRAM-SHA-1 and CRAM-MD5; 2: without former owners */

/* Makes the tables where there are none (create), brings older ones up to date where that may be; *version: what there is now, 1 to
 * ACCOUNTS_SCHEMA. False: this is no data base of ours, or a newer one; a sentence says which. */
bool accounts_schema_check(sqlite3 *db, const char *path, bool create, int64_t *version, char error[256]);
/* Tries again what could not be done then; *version as it is now. */
void accounts_schema_upgrade(sqlite3 *db, int64_t *version);

#endif
