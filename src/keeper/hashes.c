/* hashes.c - see hashes.h.
 *
 * Sources:    crypt(5), crypt_checksalt(3); doc.dovecot.org, "Password Schemes".
 * Tests:      tests/unit/passwd_file.c, tests/fuzz/fuzz_passwd.c
 */
#include "keeper/hashes.h"

#include <argon2.h>
#include <assert.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum hash_kind kind;
    bool weak;
} schemes[] = {
    {"CRYPT", HASH_CRYPT, false},        {"SHA512-CRYPT", HASH_CRYPT, false},
    {"SHA256-CRYPT", HASH_CRYPT, false}, {"BLF-CRYPT", HASH_CRYPT, false},
    {"ARGON2ID", HASH_ARGON2, false},    {"ARGON2I", HASH_ARGON2, false},
    {"PLAIN", HASH_PLAIN, true},         {"CLEARTEXT", HASH_PLAIN, true},
    {"MD5-CRYPT", HASH_CRYPT, true},     {"DES-CRYPT", HASH_CRYPT, true},
};

/* NUL-terminated, for libraries. */
static bool text_of(struct vr_str s, char *out, size_t size)
{
    if (s.n >= size || (s.n > 0 && memchr(s.p, '\0', s.n) != NULL))
        return false;
    memcpy(out, s.n > 0 ? s.p : "", s.n);
    out[s.n] = '\0';
    return true;
}

static bool is_locked(struct vr_str s)
{
    return s.n == 0 || s.p[0] == '*' || s.p[0] == '!' || (s.n == 1 && (s.p[0] == 'x' || s.p[0] == '-'));
}

/* crypt(3) would take nearly any text for the salt of DES: what has not the form of a hash is none. */
static bool is_des(struct vr_str hash)
{
    for (size_t i = 0; i < hash.n; i++) {
        char c = vr_lower(hash.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '.' && c <= '9') && !(c == '_' && i == 0))
            return false;
    }
    return hash.n == (hash.p[0] == '_' ? 20 : 13);
}

static enum hash_kind crypt_kind(struct vr_str hash, bool *weak)
{
    char text[HASH_MAX];
    if (!text_of(hash, text, sizeof text))
        return HASH_UNKNOWN;
    int status = crypt_checksalt(text);
    static const char *const old[] = {"$1$", "$3$", "$md5", "$sha1$"};
    *weak = *weak || text[0] != '$';
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++)
        *weak = *weak || vr_str_starts(hash, vr_str_from(old[i]));
    bool known =
        status == CRYPT_SALT_OK || status == CRYPT_SALT_METHOD_LEGACY || status == CRYPT_SALT_TOO_CHEAP;
    return known && (text[0] != '$' ? is_des(hash) : hash.n >= 20) ? HASH_CRYPT : HASH_UNKNOWN;
}

enum hash_kind hash_kind(struct vr_str stored, struct vr_str *hash, bool *weak)
{
    enum hash_kind kind = HASH_CRYPT;
    *hash = stored;
    *weak = false;
    if (stored.n >= HASH_MAX)
        return HASH_UNKNOWN;
    if (stored.n > 0 && stored.p[0] == '{') {
        size_t end = vr_str_find(stored, '}'), i = 0, n = sizeof schemes / sizeof schemes[0];
        struct vr_str name = vr_str_sub(stored, 1, end == VR_NPOS ? 0 : end - 1);
        while (i < n && !vr_str_equal_nocase(name, vr_str_from(schemes[i].name)))
            i++;
        if (end == VR_NPOS || i == n)
            return HASH_UNKNOWN;
        kind = schemes[i].kind;
        *weak = schemes[i].weak;
        *hash = vr_str_from_pos(stored, end + 1);
    }
    if (kind == HASH_PLAIN)
        return hash->n > 0 ? HASH_PLAIN : HASH_LOCKED;
    if (is_locked(*hash))
        return HASH_LOCKED;
    if (kind == HASH_ARGON2 || vr_str_starts(*hash, VR_STR("$argon2")))
        return hash->n < HASH_MAX && (vr_str_starts(*hash, VR_STR("$argon2id$")) ||
                                      vr_str_starts(*hash, VR_STR("$argon2i$")))
                   ? HASH_ARGON2
                   : HASH_UNKNOWN;
    return crypt_kind(*hash, weak);
}

static enum hash_verdict verify_crypt(const char *hash, const char *password)
{
    struct crypt_data *data = calloc(1, sizeof *data);
    assert(data != NULL);
    const char *made = crypt_rn(password, hash, data, sizeof *data);
    size_t n = strlen(hash);
    bool right = made != NULL && strlen(made) == n && CRYPTO_memcmp(made, hash, n) == 0;
    explicit_bzero(data, sizeof *data);
    free(data);
    return right ? HASH_RIGHT : HASH_WRONG;
}

static enum hash_verdict verify_argon2(const char *hash, struct vr_str password)
{
    argon2_type type = strncmp(hash, "$argon2id$", 10) == 0 ? Argon2_id : Argon2_i;
    int status = argon2_verify(hash, password.p, password.n, type);
    return status == ARGON2_OK ? HASH_RIGHT : status == ARGON2_VERIFY_MISMATCH ? HASH_WRONG : HASH_UNUSABLE;
}

enum hash_verdict hash_verify(struct vr_str stored, struct vr_str password)
{
    char text[HASH_MAX], clear[CRYPT_MAX_PASSPHRASE_SIZE];
    struct vr_str hash;
    bool weak;
    enum hash_kind kind = hash_kind(stored, &hash, &weak);
    enum hash_verdict verdict = HASH_WRONG;
    if (kind == HASH_UNKNOWN)
        return HASH_UNUSABLE;
    if (kind == HASH_LOCKED)
        return HASH_WRONG;
    if (kind == HASH_PLAIN)
        return hash.n == password.n && CRYPTO_memcmp(hash.p, password.p, hash.n) == 0 ? HASH_RIGHT
                                                                                      : HASH_WRONG;
    text_of(hash, text, sizeof text); /* hash_kind saw that it fits */
    if (kind == HASH_ARGON2)
        verdict = password.p != NULL ? verify_argon2(text, password) : HASH_WRONG;
    else if (text_of(password, clear, sizeof clear)) /* crypt(3) takes no longer ones */
        verdict = verify_crypt(text, clear);
    explicit_bzero(clear, sizeof clear);
    return verdict;
}
