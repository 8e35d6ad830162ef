/* password_columns.c - see password_columns.h. libargon2 and SCRAM's derivation hold the passwords.
 *
 * Promise:    a password never reaches the disk.
 * Sources:    RFC 9106 (argon2id; the PHC string format carries its parameters), RFC 5802 §3 and RFC 7677 §4 (SCRAM)
 * Tests:      tests/unit/accounts.c
 */
#include "keeper/password_columns.h"

#include <argon2.h>
#include <stdio.h>
#include <string.h>

#define ARGON2_PASSES    3
#define ARGON2_KIB       65536 /* 64 MiB */
#define ARGON2_LANES     1
#define ARGON2_HASH      32
#define ARGON2_SALT      16
#define ARGON2_TEXT      160
#define SCRAM_ITERATIONS 10000

static enum accounts_result invalid(char error[256], const char *why)
{
    snprintf(error, 256, "%s", why);
    return ACCOUNTS_INVALID;
}

enum accounts_result password_check(struct vr_str password, char error[256])
{
    if (password.n == 0)
        return invalid(error, "the password is empty");
    if (password.n > SASL_PASSWORD_MAX)
        return invalid(error, "the password is too long: at most 1024 bytes");
    if (!vr_utf8_valid(password))
        return invalid(error, "the password is not valid UTF-8");
    for (size_t i = 0; i < password.n; i++)
        if ((unsigned char)password.p[i] < 0x20 || password.p[i] == 0x7f)
            return invalid(error, "the password holds a control character (a tab, a line end, …)");
    return ACCOUNTS_OK;
}

static void bind_blob(sqlite3_stmt *s, int at, const void *p, size_t n)
{
    sqlite3_bind_blob(s, at, p, (int)n, SQLITE_TRANSIENT);
}

/* Four columns from `at` on. */
static bool bind_scram(sqlite3_stmt *s, int at, enum sasl_hash hash, struct vr_str password,
                       const uint8_t salt[16])
{
    struct sasl_scram_keys keys;
    if (sasl_scram_derive(hash, password, salt, SCRAM_ITERATIONS, &keys) != VR_OK)
        return false;
    bind_blob(s, at, keys.salt, keys.salt_n);
    sqlite3_bind_int64(s, at + 1, keys.iterations);
    bind_blob(s, at + 2, keys.stored_key, sasl_hash_size(hash));
    bind_blob(s, at + 3, keys.server_key, sasl_hash_size(hash));
    explicit_bzero(&keys, sizeof keys);
    return true;
}

static bool bind_cram(sqlite3_stmt *s, int at, struct vr_str password)
{
    struct sasl_cram_keys keys;
    if (sasl_cram_derive(password, &keys) != VR_OK)
        return false;
    bind_blob(s, at, &keys, sizeof keys);
    explicit_bzero(&keys, sizeof keys);
    return true;
}

enum accounts_result password_bind(sqlite3_stmt *s, struct vr_str password,
                                   const uint8_t salts[ACCOUNTS_SALTS], bool keep_cram, char error[256])
{
    char encoded[ARGON2_TEXT];
    int status = argon2id_hash_encoded(ARGON2_PASSES, ARGON2_KIB, ARGON2_LANES, password.p, password.n, salts,
                                       ARGON2_SALT, ARGON2_HASH, encoded, sizeof encoded);
    if (status != ARGON2_OK) {
        snprintf(error, 256, "argon2id: %s", argon2_error_message(status));
        return ACCOUNTS_TROUBLE;
    }
    sqlite3_bind_text(s, 1, encoded, -1, SQLITE_TRANSIENT);
    if (!bind_scram(s, 2, SASL_SHA256, password, salts + ARGON2_SALT) ||
        !bind_scram(s, 6, SASL_SHA1, password, salts + ARGON2_SALT + 16))
        return invalid(error, "SCRAM keys cannot be derived from this password");
    if (keep_cram && !bind_cram(s, 10, password)) /* else NULL: what was there goes */
        return invalid(error, "keys of CRAM-MD5 cannot be derived from this password");
    return ACCOUNTS_OK;
}
