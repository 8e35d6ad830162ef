/* srs.c - see srs.h.
 *
 * The hash is over what it protects, one part behind the other, in ASCII lower case: day, domain and local part of an SRS0; host and rest of an SRS1.
 * That is what libsrs2 does, so that veredus and a postsrsd with the same secret read each other's addresses.
 *
 * Tests: tests/unit/srs.c
 */
#include <veredus/srs.h>

#include <veredus/idn.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string.h>

#define DAY         86400
#define DAYS        1024 /* of two letters */
#define DIGEST_SIZE 20
#define TEXT_MAX    512

static const char day_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static bool is_separator(char c)
{
    return c == '=' || c == '+' || c == '-';
}

/* 0 or 1: SRS0 or SRS1; -1: neither. */
static int generation(struct vr_str local)
{
    if (local.n < 5 || !vr_str_starts_nocase(local, VR_STR("SRS")) || !is_separator(local.p[4]))
        return -1;
    return local.p[3] == '0' ? 0 : local.p[3] == '1' ? 1 : -1;
}

bool srs_is(struct vr_str local)
{
    return generation(local) >= 0;
}

const char *srs_verdict_name(enum srs_verdict v)
{
    static const char *const names[] = {"none", "good", "broken", "forged", "expired"};
    return (size_t)v < sizeof names / sizeof names[0] ? names[v] : "none";
}

/* ---- hashes ------------------------------------------------------------------------------------------------------------ */

/* The whole hash in base64, 28 letters. False: the parts are longer than any address. */
static bool hash_of(struct vr_str secret, const struct vr_str *parts, size_t count, char out[32])
{
    char text[TEXT_MAX];
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_n = sizeof digest;
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n > sizeof text - n)
            return false;
        for (size_t k = 0; k < parts[i].n; k++)
            text[n++] = vr_lower(parts[i].p[k]);
    }
    if (HMAC(EVP_sha1(), secret.n > 0 ? secret.p : "", (int)secret.n, (const uint8_t *)text, n, digest,
             &digest_n) == NULL ||
        digest_n != DIGEST_SIZE)
        return false;
    EVP_EncodeBlock((uint8_t *)out, digest, DIGEST_SIZE);
    return true;
}

static unsigned hash_letters(const struct srs *srs)
{
    unsigned n = srs->hash == 0 ? SRS_HASH : srs->hash;
    return n > SRS_HASH_MAX ? SRS_HASH_MAX : n;
}

/* The time that it takes tells nothing of where they differ. */
static bool same_letters(struct vr_str a, const char *b)
{
    unsigned differ = 0;
    for (size_t i = 0; i < a.n; i++)
        differ |= (unsigned char)vr_lower(a.p[i]) ^ (unsigned char)vr_lower(b[i]);
    return differ == 0;
}

static bool is_ours(const struct srs *srs, struct vr_str hash, const struct vr_str *parts, size_t count)
{
    bool found = false;
    if (hash.n < hash_letters(srs) || hash.n > SRS_HASH_MAX)
        return false;
    for (size_t i = 0; i < srs->secret_count; i++) {
        char whole[32];
        found |= hash_of(srs->secrets[i], parts, count, whole) && same_letters(hash, whole);
    }
    return found;
}

/* ---- days -------------------------------------------------------------------------------------------------------------- */

static void day_write(int64_t now, char out[2])
{
    unsigned day = (unsigned)((uint64_t)now / DAY % DAYS);
    out[0] = day_letters[day >> 5];
    out[1] = day_letters[day & 31];
}

/* How many days ago; -1: not a day. Days come round after 1024; tomorrow is today, by another clock. */
static int day_age(struct vr_str day, int64_t now)
{
    unsigned then = 0;
    if (day.n != 2)
        return -1;
    for (size_t i = 0; i < 2; i++) {
        char c = vr_lower(day.p[i]);
        if (c >= 'a' && c <= 'z')
            then = then << 5 | (unsigned)(c - 'a');
        else if (c >= '2' && c <= '7')
            then = then << 5 | (unsigned)(c - '2' + 26);
        else
            return -1;
    }
    unsigned age = ((unsigned)((uint64_t)now / DAY % DAYS) + DAYS - then) % DAYS;
    return age == DAYS - 1 ? 0 : (int)age;
}

/* ---- there --------------------------------------------------------------------------------------------------------------- */

static bool has_secrets(const struct srs *srs)
{
    return srs->secret_count > 0 && srs->secret_count <= SRS_SECRETS_MAX;
}

/* SRS1: `host` is the first forwarder, `rest` its local part without "SRS0", so it begins with a separator. */
static struct vr_str again(const struct srs *srs, struct vr_str host, struct vr_str rest,
                           struct vr_arena *arena)
{
    char hash[32];
    const struct vr_str parts[] = {host, rest};
    if (!hash_of(srs->secrets[0], parts, 2, hash))
        return vr_str(NULL, 0);
    return vr_arena_printf(arena, "SRS1=%.*s=%.*s=%.*s", (int)hash_letters(srs), hash, VR_STR_ARG(host),
                           VR_STR_ARG(rest));
}

static struct vr_str first(const struct srs *srs, struct vr_str local, struct vr_str domain, int64_t now,
                           struct vr_arena *arena)
{
    char hash[32], day[2];
    day_write(now, day);
    const struct vr_str parts[] = {vr_str(day, 2), domain, local};
    if (!hash_of(srs->secrets[0], parts, 3, hash))
        return vr_str(NULL, 0);
    return vr_arena_printf(arena, "SRS0=%.*s=%.2s=%.*s=%.*s", (int)hash_letters(srs), hash, day,
                           VR_STR_ARG(domain), VR_STR_ARG(local));
}

/* Takes what stands before the next "=" off. False: there is none, or nothing stands before it. */
static bool take(struct vr_str *rest, struct vr_str *part)
{
    size_t at = vr_str_find(*rest, '=');
    if (at == VR_NPOS || at == 0)
        return false;
    *part = vr_str_sub(*rest, 0, at);
    *rest = vr_str_from_pos(*rest, at + 1);
    return true;
}

enum vr_err srs_forward(const struct srs *srs, const struct address *sender, int64_t now,
                        struct vr_arena *arena, struct address *out)
{
    struct vr_str domain, local, hash, host, rest = vr_str_from_pos(sender->local, 5);
    if (!has_secrets(srs))
        return VR_ERR_SYNTAX;
    if (sender->null || sender->local.n == 0 || sender->domain.n == 0 ||
        idn_equal(sender->domain, srs->domain))
        return VR_ERR_STATE;
    if (idn_to_ascii(arena, sender->domain, &domain) != VR_OK)
        return VR_ERR_TOO_BIG;
    int which = generation(sender->local);
    if (which == 0 && sender->local.n > 5)
        local = again(srs, domain, vr_str_from_pos(sender->local, 4), arena);
    else if (which == 1 && take(&rest, &hash) && take(&rest, &host) && address_domain_valid(host, 0) &&
             rest.n > 1 && is_separator(rest.p[0]))
        local = again(srs, host, rest, arena); /* a bounce goes from us straight to the first forwarder */
    else
        local = first(srs, sender->local, domain, now, arena);
    *out = (struct address){.local = local, .domain = srs->domain, .utf8 = !vr_str_is_ascii(local)};
    struct vr_str text = local.n > 0 ? address_text(arena, out) : local; /* as it is written: quotes count */
    bool fits = text.n > 0 && text.n <= ADDRESS_LOCAL_SRS_MAX + 1 + srs->domain.n;
    return fits ? VR_OK : VR_ERR_TOO_BIG;
}

/* ---- and back -------------------------------------------------------------------------------------------------------------- */

/* What came out of a hash that is ours was an address once; with a leaked secret it need not be one. */
static bool leads_to(struct vr_arena *arena, struct vr_str local, struct vr_str domain, struct address *out)
{
    const char *why;
    struct address whole = {.local = local, .domain = domain};
    struct vr_str text = address_text(arena, &whole);
    return local.n > 0 && text.n > 0 && address_parse(arena, text, ADDRESS_ALLOW_UTF8, out, &why) == VR_OK &&
           vr_str_is_ascii(out->domain);
}

static enum srs_verdict reverse_first(const struct srs *srs, struct vr_str rest, int64_t now,
                                      struct vr_arena *arena, struct address *out)
{
    struct vr_str hash, day, domain;
    if (!take(&rest, &hash) || !take(&rest, &day) || !take(&rest, &domain) || rest.n == 0)
        return SRS_BROKEN;
    const struct vr_str parts[] = {day, domain, rest};
    if (!is_ours(srs, hash, parts, 3))
        return SRS_FORGED;
    int age = day_age(day, now);
    if (age < 0 || (unsigned)age > (srs->max_age == 0 ? SRS_MAX_AGE : srs->max_age))
        return SRS_EXPIRED;
    return leads_to(arena, rest, domain, out) ? SRS_GOOD : SRS_BROKEN;
}

static enum srs_verdict reverse_again(const struct srs *srs, struct vr_str rest, struct vr_arena *arena,
                                      struct address *out)
{
    struct vr_str hash, host;
    if (!take(&rest, &hash) || !take(&rest, &host) || rest.n < 2 || !is_separator(rest.p[0]))
        return SRS_BROKEN;
    const struct vr_str parts[] = {host, rest};
    if (!is_ours(srs, hash, parts, 2))
        return SRS_FORGED;
    struct vr_str local = vr_arena_printf(arena, "SRS0%.*s", VR_STR_ARG(rest));
    return leads_to(arena, local, host, out) ? SRS_GOOD : SRS_BROKEN;
}

enum srs_verdict srs_reverse(const struct srs *srs, struct vr_str local, int64_t now, struct vr_arena *arena,
                             struct address *out)
{
    int which = generation(local);
    *out = (struct address){.local = local};
    if (which < 0)
        return SRS_NONE;
    if (!has_secrets(srs))
        return SRS_FORGED;
    local = vr_str_from_pos(local, 5);
    return which == 0 ? reverse_first(srs, local, now, arena, out) : reverse_again(srs, local, arena, out);
}
