/* accounts.c - see accounts.h. SQLite holds the accounts; what a password becomes is password_columns.c's.
 *
 * Promise:    every call either happened as a whole or not at all; an answer about an unknown account takes
 *             as long as one about a known account.
 * Journal:    a rollback journal, not WAL: readers then need no shared-memory file, so the keeper's user reads what root's command line wrote,
 *             and SQLite gives the journal the owner and mode of the data base.
 * Runs in:    keeper (worker threads; one struct accounts per thread at a time) and `veredus account`.
 * Tests:      tests/unit/accounts.c
 */
#include "keeper/accounts.h"

#include "keeper/accounts_schema.h"
#include "keeper/password_columns.h"

#include "io/fs.h"
#include "io/io.h"

#include <veredus/address.h>

#include <argon2.h>
#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_TIMEOUT_MS  5000
#define ARGON2_TEXT      160
#define ADDRESS_TEXT_MAX 512
#define ADDRESS_ARENA    4096

enum statement {
    ADD,
    REMOVE,
    SET_PASSWORD,
    ADD_SEND_AS,
    REMOVE_SEND_AS,
    LIST,
    EXISTS,
    PASSWORD,
    SCRAM,
    SCRAM1,
    CRAM,
    MAY_SEND_AS,
    OWNER,
    SAME_OWNER,
    SECRET,
    STATEMENT_COUNT
};

static const char *const statements[STATEMENT_COUNT] = {
    [ADD] = "INSERT INTO account(password, scram_salt, scram_iterations, scram_stored_key, scram_server_key,"
            " scram1_salt, scram1_iterations, scram1_stored_key, scram1_server_key, cram_keys, address)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [REMOVE] = "DELETE FROM account WHERE address = ?",
    [SET_PASSWORD] =
        "UPDATE account SET password = ?, scram_salt = ?, scram_iterations = ?, scram_stored_key = ?,"
        " scram_server_key = ?, scram1_salt = ?, scram1_iterations = ?, scram1_stored_key = ?,"
        " scram1_server_key = ?, cram_keys = ? WHERE address = ?",
    [ADD_SEND_AS] = "INSERT OR IGNORE INTO send_as(account, address) VALUES(?, ?)",
    [REMOVE_SEND_AS] = "DELETE FROM send_as WHERE account = ? AND address = ?",
    [LIST] = "SELECT address, created, (SELECT group_concat(address, ' ') FROM"
             " (SELECT address FROM send_as WHERE account = a.address ORDER BY address)) FROM account a "
             "ORDER BY address",
    [EXISTS] = "SELECT 1 FROM account WHERE address = ?",
    [PASSWORD] = "SELECT password FROM account WHERE address = ?",
    [SCRAM] = "SELECT scram_salt, scram_iterations, scram_stored_key, scram_server_key FROM account WHERE "
              "address = ?",
    [SCRAM1] = "SELECT scram1_salt, scram1_iterations, scram1_stored_key, scram1_server_key FROM account"
               " WHERE address = ? AND scram1_salt IS NOT NULL",
    [CRAM] = "SELECT cram_keys FROM account WHERE address = ? AND cram_keys IS NOT NULL",
    /* "@example.org" in send_as stands for every address of the domain */
    [MAY_SEND_AS] = "SELECT 1 FROM account WHERE address = ?1 AND (?1 = ?2 OR EXISTS"
                    " (SELECT 1 FROM send_as WHERE account = ?1 AND address IN (?2, ?3)))",
    [OWNER] = "SELECT created, EXISTS(SELECT 1 FROM former WHERE address = a.address) FROM account a WHERE"
              " address = ?",
    [SAME_OWNER] = "DELETE FROM former WHERE address = ?",
    [SECRET] = "SELECT value FROM secret WHERE id = 1",
};

struct accounts {
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENT_COUNT];
    char *path;
    int64_t version; /* of the schema: an older one that may not be written stays so */
    bool keep_cram;
    char error[256];
};

/* ---- opening
 * ------------------------------------------------------------------------------------------------ */

struct accounts *accounts_open(const char *path, bool create, char error[256])
{
    if (create) { /* SQLite would make it readable for all */
        int fd = io_fs_open(path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_EXCLUSIVE | IO_FS_NO_FOLLOW, 0600);
        if (fd < 0 && fd != -EEXIST) {
            snprintf(error, 256, "cannot make the accounts data base %s: %s", path, io_error_text(fd));
            return NULL;
        }
        if (fd >= 0)
            io_fs_close(fd);
    }
    struct accounts *a = calloc(1, sizeof *a);
    assert(a != NULL);
    a->path = strdup(path);
    assert(a->path != NULL);
    int flags = SQLITE_OPEN_READWRITE |
                SQLITE_OPEN_NOMUTEX; /* falls back to reading when the file may not be written */
    if (sqlite3_open_v2(path, &a->db, flags, NULL) != SQLITE_OK) {
        snprintf(error, 256, "cannot open the accounts data base %s: %s", path,
                 a->db != NULL ? sqlite3_errmsg(a->db) : "out of memory");
        accounts_close(a);
        return NULL;
    }
    sqlite3_busy_timeout(a->db, BUSY_TIMEOUT_MS);
    if (!accounts_schema_check(a->db, path, create, &a->version, error)) {
        accounts_close(a);
        return NULL;
    }
    sqlite3_exec(a->db, "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF",
                 NULL, NULL, NULL);
    return a;
}

void accounts_close(struct accounts *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(a->prepared[i]);
    sqlite3_close(a->db);
    free(a->path);
    free(a);
}

const char *accounts_error(const struct accounts *a)
{
    return a->error;
}

void accounts_keep_cram(struct accounts *a, bool keep)
{
    a->keep_cram = keep;
}

bool accounts_moved(const struct accounts *a)
{
    int moved = 0;
    return sqlite3_file_control(a->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

/* ---- helpers
 * ------------------------------------------------------------------------------------------------ */

static enum accounts_result trouble(struct accounts *a)
{
    snprintf(a->error, sizeof a->error, "accounts data base %s: %s", a->path, sqlite3_errmsg(a->db));
    return ACCOUNTS_TROUBLE;
}

static enum accounts_result invalid(struct accounts *a, const char *why)
{
    snprintf(a->error, sizeof a->error, "%s", why);
    return ACCOUNTS_INVALID;
}

static sqlite3_stmt *statement(struct accounts *a, enum statement which)
{
    sqlite3_stmt **s = &a->prepared[which];
    if (*s == NULL &&
        sqlite3_prepare_v3(a->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL) != SQLITE_OK)
        return NULL;
    return *s;
}

/* Has the data base what came with this schema? One that could not be written when it was opened may have been brought up to date since. */
static bool has_schema(struct accounts *a, int64_t version)
{
    if (a->version < version)
        accounts_schema_upgrade(a->db, &a->version);
    return a->version >= version;
}

static void bind_text(sqlite3_stmt *s, int at, struct vr_str text)
{
    sqlite3_bind_text(s, at, text.n > 0 ? text.p : "", (int)text.n, SQLITE_TRANSIENT);
}

/* An open read would keep the next writer waiting: every statement is reset before the caller goes on. */
static void statement_done(sqlite3_stmt *s)
{
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
}

/* For statements that give one row or none. OK with the row standing (then statement_done), NO_SUCH, TROUBLE.
 */
static enum accounts_result first_row(struct accounts *a, sqlite3_stmt *s)
{
    int status = sqlite3_step(s);
    if (status == SQLITE_ROW)
        return ACCOUNTS_OK;
    enum accounts_result r = status == SQLITE_DONE ? ACCOUNTS_NO_SUCH : trouble(a);
    statement_done(s);
    return r;
}

/* For statements that change; *changes gets the number of rows. */
static enum accounts_result change(struct accounts *a, sqlite3_stmt *s, int *changes)
{
    int status = sqlite3_step(s);
    enum accounts_result r = ACCOUNTS_OK;
    if (status == SQLITE_CONSTRAINT)
        r = ACCOUNTS_EXISTS;
    else if (status != SQLITE_DONE)
        r = trouble(a);
    *changes = r == ACCOUNTS_OK ? sqlite3_changes(a->db) : 0;
    statement_done(s);
    return r;
}

struct lowered {
    char text[ADDRESS_TEXT_MAX];
    struct vr_str str;
};

/* What is looked up: the key of an address (address_key_of), whatever it is; too long for an address means no such account. */
static bool lower(struct vr_str in, struct lowered *out)
{
    struct vr_arena arena;
    if (in.n == 0 || in.n > sizeof out->text)
        return false;
    vr_arena_init(&arena, ADDRESS_ARENA);
    struct vr_str key = address_key_of(&arena, in);
    bool fits = key.n > 0 && key.n <= sizeof out->text;
    if (fits)
        memcpy(out->text, key.p, key.n);
    out->str = vr_str(out->text, fits ? key.n : 0);
    vr_arena_fini(&arena);
    return fits;
}

/* What is stored: a checked address in its canonical form. */
static enum accounts_result canonical(struct accounts *a, struct vr_str in, struct lowered *out)
{
    struct vr_arena arena;
    vr_arena_init(&arena, ADDRESS_ARENA);
    struct address address;
    const char *why = "it is too long";
    enum vr_err e = address_parse(&arena, in, ADDRESS_ALLOW_UTF8, &address, &why);
    bool good = e == VR_OK && lower(address_text(&arena, &address), out);
    if (!good)
        snprintf(a->error, sizeof a->error, "\"%.*s\" is not an address like user@example.org: %s",
                 (int)(in.n < 80 ? in.n : 80), in.n > 0 ? in.p : "", why);
    vr_arena_fini(&arena);
    return good ? ACCOUNTS_OK : ACCOUNTS_INVALID;
}

static enum accounts_result canonical_send_as(struct accounts *a, struct vr_str in, struct lowered *out)
{
    if (!vr_str_starts(in, VR_STR("@")))
        return canonical(a, in, out);
    if (!address_domain_valid(vr_str_from_pos(in, 1), ADDRESS_ALLOW_UTF8) || !lower(in, out))
        return invalid(a, "after \"@\" a domain name is expected, such as @example.org");
    return ACCOUNTS_OK;
}

/* ---- changes
 * ------------------------------------------------------------------------------------------------ */

static enum accounts_result write_password(struct accounts *a, enum statement which, struct vr_str address,
                                           struct vr_str password, const uint8_t salts[ACCOUNTS_SALTS],
                                           int *changes)
{
    struct lowered name;
    enum accounts_result r = canonical(a, address, &name);
    if (r == ACCOUNTS_OK)
        r = password_check(password, a->error);
    if (r != ACCOUNTS_OK)
        return r;
    if (!has_schema(a, 2))
        return trouble(a);
    sqlite3_stmt *s = statement(a, which);
    if (s == NULL)
        return trouble(a);
    r = password_bind(s, password, salts, a->keep_cram, a->error);
    if (r != ACCOUNTS_OK) {
        statement_done(s);
        return r;
    }
    bind_text(s, 11, name.str);
    return change(a, s, changes);
}

enum accounts_result accounts_add(struct accounts *a, struct vr_str address, struct vr_str password,
                                  const uint8_t salts[ACCOUNTS_SALTS])
{
    int changes;
    /* asked first: hashing takes a while, and the answer of the constraint would come after it */
    if (accounts_exists(a, address) == ACCOUNTS_OK)
        return ACCOUNTS_EXISTS;
    return write_password(a, ADD, address, password, salts, &changes);
}

enum accounts_result accounts_set_password(struct accounts *a, struct vr_str address, struct vr_str password,
                                           const uint8_t salts[ACCOUNTS_SALTS])
{
    int changes = 0;
    enum accounts_result r = accounts_exists(a, address);
    if (r == ACCOUNTS_OK)
        r = write_password(a, SET_PASSWORD, address, password, salts, &changes);
    return r == ACCOUNTS_OK && changes == 0 ? ACCOUNTS_NO_SUCH : r;
}

enum accounts_result accounts_remove(struct accounts *a, struct vr_str address)
{
    struct lowered name;
    if (!lower(address, &name))
        return ACCOUNTS_NO_SUCH;
    sqlite3_stmt *s = statement(a, REMOVE);
    if (s == NULL)
        return trouble(a);
    bind_text(s, 1, name.str);
    int changes;
    enum accounts_result r = change(a, s, &changes);
    return r == ACCOUNTS_OK && changes == 0 ? ACCOUNTS_NO_SUCH : r;
}

enum accounts_result accounts_same_owner(struct accounts *a, struct vr_str address)
{
    struct lowered name;
    if (!lower(address, &name))
        return ACCOUNTS_NO_SUCH;
    sqlite3_stmt *s = has_schema(a, 3) ? statement(a, SAME_OWNER) : NULL;
    if (s == NULL)
        return trouble(a);
    int changes;
    bind_text(s, 1, name.str);
    return change(a, s, &changes);
}

static enum accounts_result change_send_as(struct accounts *a, enum statement which, struct vr_str account,
                                           struct vr_str extra, int *changes)
{
    struct lowered name, other;
    enum accounts_result r = accounts_exists(a, account);
    if (r == ACCOUNTS_OK)
        r = canonical_send_as(a, extra, &other);
    if (r != ACCOUNTS_OK)
        return r;
    sqlite3_stmt *s = statement(a, which);
    if (s == NULL || !lower(account, &name))
        return trouble(a);
    bind_text(s, 1, name.str);
    bind_text(s, 2, other.str);
    return change(a, s, changes);
}

enum accounts_result accounts_add_send_as(struct accounts *a, struct vr_str address, struct vr_str extra)
{
    int changes;
    enum accounts_result r = change_send_as(a, ADD_SEND_AS, address, extra, &changes);
    return r == ACCOUNTS_EXISTS ? ACCOUNTS_NO_SUCH
                                : r; /* the account was removed in between: its key is missing */
}

enum accounts_result accounts_remove_send_as(struct accounts *a, struct vr_str address, struct vr_str extra)
{
    int changes = 0;
    enum accounts_result r = change_send_as(a, REMOVE_SEND_AS, address, extra, &changes);
    return r == ACCOUNTS_OK && changes == 0 ? ACCOUNTS_NO_SUCH : r;
}

/* ---- questions
 * ---------------------------------------------------------------------------------------------- */

static struct vr_str column_str(sqlite3_stmt *s, int at)
{
    const void *p = sqlite3_column_blob(s, at);
    return vr_str(p, (size_t)sqlite3_column_bytes(s, at));
}

enum accounts_result accounts_list(struct accounts *a,
                                   bool (*each)(void *arg, struct vr_str address,
                                                struct vr_str send_as_joined, int64_t created),
                                   void *arg)
{
    sqlite3_stmt *s = statement(a, LIST);
    if (s == NULL)
        return trouble(a);
    int status;
    while ((status = sqlite3_step(s)) == SQLITE_ROW)
        if (!each(arg, column_str(s, 0), column_str(s, 2), sqlite3_column_int64(s, 1)))
            break;
    enum accounts_result r = status == SQLITE_DONE || status == SQLITE_ROW ? ACCOUNTS_OK : trouble(a);
    statement_done(s);
    return r;
}

/* Runs a question about one account; the row stands when OK comes back. */
static enum accounts_result ask(struct accounts *a, enum statement which, struct vr_str address,
                                sqlite3_stmt **out)
{
    struct lowered name;
    if (!lower(address, &name))
        return ACCOUNTS_NO_SUCH;
    *out = statement(a, which);
    if (*out == NULL)
        return trouble(a);
    bind_text(*out, 1, name.str);
    return first_row(a, *out);
}

enum accounts_result accounts_exists(struct accounts *a, struct vr_str address)
{
    sqlite3_stmt *s;
    enum accounts_result r = ask(a, EXISTS, address, &s);
    if (r == ACCOUNTS_OK)
        statement_done(s);
    return r;
}

enum accounts_result accounts_owner_since(struct accounts *a, struct vr_str address, int64_t *since)
{
    sqlite3_stmt *s;
    bool told = has_schema(a, 3);
    *since = ACCOUNTS_OWNER_UNKNOWN;
    enum accounts_result r = ask(a, told ? OWNER : EXISTS, address, &s);
    if (r != ACCOUNTS_OK)
        return r;
    if (told)
        *since = sqlite3_column_int(s, 1) != 0 ? sqlite3_column_int64(s, 0) : ACCOUNTS_OWNER_ALWAYS;
    statement_done(s);
    return r;
}

enum accounts_result accounts_verify(struct accounts *a, struct vr_str address, struct vr_str password)
{
    /* The same work for an unknown account: a hash with our parameters that no password has. */
    char encoded[ARGON2_TEXT] = "$argon2id$v=19$m=65536,t=3,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
                                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    sqlite3_stmt *s;
    enum accounts_result r = ask(a, PASSWORD, address, &s);
    if (r == ACCOUNTS_TROUBLE)
        return r;
    if (r == ACCOUNTS_OK) {
        snprintf(encoded, sizeof encoded, "%.*s", VR_STR_ARG(column_str(s, 0)));
        statement_done(s); /* before the slow part: no lock is held while argon2 works */
    }
    int status = argon2id_verify(encoded, password.n > 0 ? password.p : "", password.n);
    explicit_bzero(encoded, sizeof encoded);
    if (status == ARGON2_OK)
        return r;
    if (status == ARGON2_VERIFY_MISMATCH)
        return ACCOUNTS_NO_SUCH;
    snprintf(a->error, sizeof a->error, "argon2id: %s", argon2_error_message(status));
    return ACCOUNTS_TROUBLE;
}

static enum accounts_result damaged(struct accounts *a, const char *what)
{
    snprintf(a->error, sizeof a->error, "accounts data base %s: the %s keys of an account are damaged",
             a->path, what);
    return ACCOUNTS_TROUBLE;
}

enum accounts_result accounts_scram(struct accounts *a, struct vr_str address, enum sasl_hash hash,
                                    struct sasl_scram_keys *out)
{
    sqlite3_stmt *s;
    if (hash != SASL_SHA256 && !has_schema(a, 2))
        return ACCOUNTS_NO_SUCH;
    enum accounts_result r = ask(a, hash == SASL_SHA256 ? SCRAM : SCRAM1, address, &s);
    if (r != ACCOUNTS_OK)
        return r;
    size_t size = sasl_hash_size(hash);
    struct vr_str salt = column_str(s, 0), stored = column_str(s, 2), server = column_str(s, 3);
    *out = (struct sasl_scram_keys){.hash = hash, .salt_n = salt.n};
    if (salt.n == 16 && stored.n == size && server.n == size) {
        memcpy(out->salt, salt.p, salt.n);
        memcpy(out->stored_key, stored.p, size);
        memcpy(out->server_key, server.p, size);
        out->iterations = (uint32_t)sqlite3_column_int64(s, 1);
    } else {
        r = damaged(a, "SCRAM");
    }
    statement_done(s);
    return r;
}

enum accounts_result accounts_cram(struct accounts *a, struct vr_str address, struct sasl_cram_keys *out)
{
    sqlite3_stmt *s;
    if (!has_schema(a, 2))
        return ACCOUNTS_NO_SUCH;
    enum accounts_result r = ask(a, CRAM, address, &s);
    if (r != ACCOUNTS_OK)
        return r;
    struct vr_str keys = column_str(s, 0);
    if (keys.n == sizeof *out)
        memcpy(out, keys.p, sizeof *out);
    else
        r = damaged(a, "CRAM-MD5");
    statement_done(s);
    return r;
}

enum accounts_result accounts_may_send_as(struct accounts *a, struct vr_str account, struct vr_str address)
{
    struct lowered name, other;
    if (!lower(account, &name) || !lower(address, &other))
        return ACCOUNTS_NO_SUCH;
    sqlite3_stmt *s = statement(a, MAY_SEND_AS);
    if (s == NULL)
        return trouble(a);
    size_t at = vr_str_find_last(other.str, '@');
    bind_text(s, 1, name.str);
    bind_text(s, 2, other.str);
    if (at != VR_NPOS) /* else NULL, which is equal to nothing */
        bind_text(s, 3, vr_str_from_pos(other.str, at));
    enum accounts_result r = first_row(a, s);
    if (r == ACCOUNTS_OK)
        statement_done(s);
    return r;
}

enum accounts_result accounts_secret(struct accounts *a, uint8_t out[16])
{
    sqlite3_stmt *s = statement(a, SECRET);
    if (s == NULL)
        return trouble(a);
    enum accounts_result r = first_row(a, s);
    if (r != ACCOUNTS_OK)
        return r;
    struct vr_str value = column_str(s, 0);
    if (value.n == 16) {
        memcpy(out, value.p, 16);
    } else {
        snprintf(a->error, sizeof a->error, "accounts data base %s: its secret is damaged", a->path);
        r = ACCOUNTS_TROUBLE;
    }
    statement_done(s);
    return r;
}
