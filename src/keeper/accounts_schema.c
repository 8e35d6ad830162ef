/* accounts_schema.c - see accounts_schema.h.
 *
 * Promise:    a data base is made or brought up to date as a whole or not at all, whoever comes at the same time.
 * Tests:      tests/unit/accounts.c
 */
#include "keeper/accounts_schema.h"

#include <stdio.h>

#define APPLICATION_ID 0x76657261 /* "vera", for file(1) */

/* Who has an address may not always have had it (RFC 7293): an address in `former` had an owner before its account was made. However an account goes,
 * its address is written there. */
#define FORMER_OWNERS                                                                                        \
    "CREATE TABLE former("                                                                                   \
    " address TEXT PRIMARY KEY NOT NULL,"                                                                    \
    " removed INTEGER NOT NULL"                                                                              \
    ") WITHOUT ROWID;"                                                                                       \
    "CREATE TRIGGER account_removed AFTER DELETE ON account BEGIN"                                           \
    " INSERT OR REPLACE INTO former VALUES(OLD.address, CAST(strftime('%s','now') AS INTEGER));"             \
    " END;"

static const char schema[] = "CREATE TABLE account("
                             " address TEXT PRIMARY KEY NOT NULL,"
                             " password TEXT NOT NULL,"
                             " scram_salt BLOB NOT NULL,"
                             " scram_iterations INTEGER NOT NULL,"
                             " scram_stored_key BLOB NOT NULL,"
                             " scram_server_key BLOB NOT NULL,"
                             " created INTEGER NOT NULL DEFAULT (CAST(strftime('%s','now') AS INTEGER)),"
                             " scram1_salt BLOB,"
                             " scram1_iterations INTEGER,"
                             " scram1_stored_key BLOB,"
                             " scram1_server_key BLOB,"
                             " cram_keys BLOB"
                             ") WITHOUT ROWID;"
                             "CREATE TABLE send_as("
                             " account TEXT NOT NULL REFERENCES account(address) ON DELETE CASCADE,"
                             " address TEXT NOT NULL,"
                             " PRIMARY KEY(account, address)"
                             ") WITHOUT ROWID;"
                             "CREATE TABLE secret(id INTEGER PRIMARY KEY CHECK(id = 1), value BLOB NOT NULL);"
                             "INSERT INTO secret VALUES(1, randomblob(16));" FORMER_OWNERS;

/* From schema 1, which had the keys of SCRAM-SHA-256 only. An account has none of the others until its password is set anew. */
static const char from_schema_1[] = "ALTER TABLE account ADD COLUMN scram1_salt BLOB;"
                                    "ALTER TABLE account ADD COLUMN scram1_iterations INTEGER;"
                                    "ALTER TABLE account ADD COLUMN scram1_stored_key BLOB;"
                                    "ALTER TABLE account ADD COLUMN scram1_server_key BLOB;"
                                    "ALTER TABLE account ADD COLUMN cram_keys BLOB;";

/* From schema 2, which kept no record of removals: there may have been an owner before each account. */
static const char from_schema_2[] = FORMER_OWNERS "INSERT INTO former SELECT address, created FROM account;";

static const char *const from_schema[ACCOUNTS_SCHEMA] = {NULL, from_schema_1, from_schema_2};

static bool read_number(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *s = NULL;
    bool good = sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW;
    if (good)
        *out = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return good;
}

/* Two `veredus account add` may start at once on an empty file: who comes second finds the schema made. */
static bool schema_make(sqlite3 *db, const char *path, char error[256])
{
    char finish[128];
    snprintf(finish, sizeof finish, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
             ACCOUNTS_SCHEMA);
    int64_t version = 0;
    if (sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK &&
        read_number(db, "PRAGMA user_version", &version) &&
        (version != 0 || (sqlite3_exec(db, schema, NULL, NULL, NULL) == SQLITE_OK &&
                          sqlite3_exec(db, finish, NULL, NULL, NULL) == SQLITE_OK)) &&
        sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return true;
    snprintf(error, 256, "cannot make the accounts data base %s: %s", path, sqlite3_errmsg(db));
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

void accounts_schema_upgrade(sqlite3 *db, int64_t *version)
{
    char finish[64];
    snprintf(finish, sizeof finish, "PRAGMA user_version = %d", ACCOUNTS_SCHEMA);
    read_number(db, "PRAGMA user_version", version); /* somebody else may have done it */
    if (*version < 1 || *version >= ACCOUNTS_SCHEMA || sqlite3_db_readonly(db, "main") != 0 ||
        sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return;
    bool good = read_number(db, "PRAGMA user_version", version) && *version >= 1;
    for (int64_t v = *version; good && v < ACCOUNTS_SCHEMA; v++)
        good = sqlite3_exec(db, from_schema[v], NULL, NULL, NULL) == SQLITE_OK;
    good = good && (*version >= ACCOUNTS_SCHEMA || sqlite3_exec(db, finish, NULL, NULL, NULL) == SQLITE_OK) &&
           sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    if (!good)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    read_number(db, "PRAGMA user_version", version);
}

bool accounts_schema_check(sqlite3 *db, const char *path, bool create, int64_t *out, char error[256])
{
    int64_t version = 0, tables = 0;
    bool readable = read_number(db, "PRAGMA user_version", &version) &&
                    read_number(db, "SELECT count(*) FROM sqlite_master", &tables);
    if (readable && create && version == 0 && tables == 0) {
        if (!schema_make(db, path, error))
            return false;
        readable = read_number(db, "PRAGMA user_version", &version);
    }
    if (!readable)
        snprintf(error, 256, "cannot read the accounts data base %s: %s", path, sqlite3_errmsg(db));
    else if (version == 0)
        snprintf(error, 256,
                 "%s is not an accounts data base of veredus: move it away and run `veredus account add`",
                 path);
    else if (version > ACCOUNTS_SCHEMA)
        snprintf(error, 256,
                 "%s was made by a newer veredus (schema %d, this one knows %d): update this program", path,
                 (int)version, ACCOUNTS_SCHEMA);
    if (!readable || version <= 0 || version > ACCOUNTS_SCHEMA)
        return false;
    *out = version;
    accounts_schema_upgrade(db, out);
    return true;
}
