/* dkim_ring.c - see dkim_store.h: the keys of one domain, and the text that they are stored as.
 *
 *     # a comment
 *     key SELECTOR created=N from=N until=N keep=N      N: seconds since 1970, or "-"
 *     -----BEGIN PRIVATE KEY-----
 *     …
 *     -----END PRIVATE KEY-----
 *
 * Tests: tests/unit/dkim_store.c, tests/fuzz/fuzz_dkim_store.c
 */
#include "keeper/dkim_store.h"

#include <veredus/address.h>
#include <veredus/idn.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX  16384
#define UNDER      "._domainkey."
#define TIME_COUNT 4

static const char *const time_names[TIME_COUNT] = {"created", "from", "until", "keep"};

const char *dkim_phase_name(enum dkim_phase p)
{
    static const char *const names[] = {[DKIM_WAITING] = "published",
                                        [DKIM_SIGNING] = "active",
                                        [DKIM_RETIRING] = "retiring",
                                        [DKIM_RETIRED] = "retired"};
    return names[p];
}

enum dkim_phase dkim_phase_of(const struct dkim_stored *k, int64_t now)
{
    if (now < k->from)
        return DKIM_WAITING;
    if (now < k->until)
        return DKIM_SIGNING;
    return now < k->keep ? DKIM_RETIRING : DKIM_RETIRED;
}

bool dkim_is_weak(const struct dkim_stored *k)
{
    return dkim_key_algorithm(k->key) == DKIM_RSA_SHA256 && dkim_key_bits(k->key) < DKIM_BITS_NEW;
}

enum dkim_store_result dkim_store_domain(struct vr_arena *arena, struct vr_str domain, struct vr_str *out,
                                         char error[DKIM_STORE_ERROR])
{
    bool good = domain.n <= IDN_NAME_MAX && idn_to_ascii(arena, domain, out) == VR_OK &&
                address_domain_valid(*out, 0) && vr_str_find(*out, '.') != VR_NPOS && out->p[0] != '.';
    if (good)
        return DKIM_STORE_OK;
    snprintf(error, DKIM_STORE_ERROR, "\"%.*s\" is no domain; keys are made for one such as example.org",
             (int)(domain.n < 300 ? domain.n : 300), domain.p != NULL ? domain.p : "");
    return DKIM_STORE_INVALID;
}

/* ---- the ring -------------------------------------------------------------------------------------------------------- */

struct dkim_ring *dkim_ring_new(struct vr_str domain)
{
    struct dkim_ring *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    vr_arena_init(&r->arena, ARENA_MAX);
    r->domain = vr_arena_dup(&r->arena, domain);
    return r;
}

void dkim_ring_free(struct dkim_ring *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->count; i++)
        dkim_key_free(r->keys[i].key);
    vr_arena_fini(&r->arena);
    free(r);
}

struct dkim_stored *dkim_ring_find(struct dkim_ring *r, struct vr_str selector)
{
    for (size_t i = 0; i < r->count; i++)
        if (vr_str_equal_nocase(r->keys[i].selector, selector))
            return &r->keys[i];
    return NULL;
}

static enum dkim_store_result invalid(char error[DKIM_STORE_ERROR], struct vr_str selector, const char *what)
{
    snprintf(error, DKIM_STORE_ERROR, "the selector \"%.*s\" %s", (int)(selector.n < 200 ? selector.n : 200),
             selector.p != NULL ? selector.p : "", what);
    return DKIM_STORE_INVALID;
}

enum dkim_store_result dkim_ring_add(struct dkim_ring *r, struct vr_str selector, struct vr_str text,
                                     int64_t now, struct dkim_stored **out, char error[DKIM_STORE_ERROR])
{
    const char *why;
    struct dkim_key *key;
    struct vr_str name = {0};
    if (selector.n > IDN_NAME_MAX || idn_to_ascii(&r->arena, selector, &name) != VR_OK ||
        !address_domain_valid(name, 0))
        return invalid(error, selector, "is none: it has letters, digits and \"-\", as a label of the DNS");
    if (name.n + strlen(UNDER) + r->domain.n > ADDRESS_DOMAIN_MAX)
        return invalid(error, selector, "is too long for this domain: the record's name would be none");
    if (dkim_ring_find(r, name) != NULL)
        return invalid(error, selector, "has a key already; a new key wants a new selector");
    if (r->count == DKIM_STORE_KEYS)
        return invalid(error, selector,
                       "is one too many: a domain has at most 16 keys; `veredus dkim remove` takes old ones");
    if (dkim_key_load(text, &key, &why) != VR_OK) {
        snprintf(error, DKIM_STORE_ERROR, "%s", why);
        return DKIM_STORE_INVALID;
    }
    struct dkim_stored *k = &r->keys[r->count++];
    *k = (struct dkim_stored){name, key, now, DKIM_NEVER, DKIM_NEVER, DKIM_NEVER};
    if (out != NULL)
        *out = k;
    return DKIM_STORE_OK;
}

void dkim_ring_remove(struct dkim_ring *r, struct dkim_stored *k, int64_t now)
{
    size_t at = (size_t)(k - r->keys);
    for (size_t i = 0; k->from > now && k->from < DKIM_NEVER && i < r->count; i++) {
        struct dkim_stored *before = &r->keys[i];
        if (before->until == k->from && dkim_key_algorithm(before->key) == dkim_key_algorithm(k->key))
            before->until = before->keep = DKIM_NEVER;
    }
    dkim_key_free(k->key);
    memmove(k, k + 1, (r->count - at - 1) * sizeof *k);
    r->count--;
}

struct dkim_stored *dkim_ring_signer(struct dkim_ring *r, enum dkim_algorithm a, int64_t now)
{
    struct dkim_stored *best = NULL;
    for (size_t i = 0; i < r->count; i++) {
        struct dkim_stored *k = &r->keys[i];
        if (dkim_key_algorithm(k->key) == a && dkim_phase_of(k, now) == DKIM_SIGNING &&
            (best == NULL || k->from >= best->from))
            best = k;
    }
    return best;
}

void dkim_ring_activate(struct dkim_ring *r, struct dkim_stored *next, int64_t at, int64_t keep)
{
    enum dkim_algorithm a = dkim_key_algorithm(next->key);
    for (size_t i = 0; i < r->count; i++) {
        struct dkim_stored *k = &r->keys[i];
        if (k == next || dkim_key_algorithm(k->key) != a || k->until <= at || k->from > at)
            continue;
        k->until = at;
        k->keep = at + keep;
    }
    next->from = at;
    next->until = next->keep = DKIM_NEVER;
}

/* ---- the text -------------------------------------------------------------------------------------------------------- */

static int64_t *time_at(struct dkim_stored *k, size_t i)
{
    int64_t *const times[TIME_COUNT] = {&k->created, &k->from, &k->until, &k->keep};
    return times[i];
}

bool dkim_ring_write(const struct dkim_ring *r, struct vr_buf *out)
{
    vr_buf_addf(out, "# DKIM keys of %.*s, written by `veredus dkim`. They are private.\n",
                VR_STR_ARG(r->domain));
    for (size_t i = 0; i < r->count; i++) {
        struct dkim_stored k = r->keys[i];
        vr_buf_addf(out, "key %.*s", VR_STR_ARG(k.selector));
        for (size_t t = 0; t < TIME_COUNT; t++)
            if (*time_at(&k, t) == DKIM_NEVER)
                vr_buf_addf(out, " %s=-", time_names[t]);
            else
                vr_buf_addf(out, " %s=%lld", time_names[t], (long long)*time_at(&k, t));
        vr_buf_add_byte(out, '\n');
        if (!dkim_key_pem(k.key, out))
            return false;
    }
    return !out->too_big;
}

struct reading {
    struct dkim_ring *ring;
    struct vr_str text; /* all of it */
    struct dkim_stored times;
    struct vr_str selector; /* of the "key" line whose PEM comes; empty: none */
    const char *pem;        /* where it began; NULL: not yet */
    char *error;
};

static bool wrong(const struct reading *r, unsigned line, const char *what)
{
    snprintf(r->error, DKIM_STORE_ERROR, "line %u: %.480s", line, what);
    return false;
}

static bool read_times(struct reading *r, struct vr_str rest)
{
    struct vr_str word;
    r->times = (struct dkim_stored){.created = -1, .from = -1, .until = -1, .keep = -1};
    while (vr_str_split(&rest, ' ', &word)) {
        size_t equals = vr_str_find(word, '='), t = 0;
        struct vr_str name = vr_str_sub(word, 0, equals), value = vr_str_from_pos(word, equals + 1);
        uint64_t n = DKIM_NEVER;
        while (t < TIME_COUNT && !vr_str_equal(name, vr_str_from(time_names[t])))
            t++;
        if (equals == VR_NPOS || t == TIME_COUNT || *time_at(&r->times, t) != -1 ||
            (!vr_str_equal(value, VR_STR("-")) && (!vr_str_to_u64(value, &n) || n >= DKIM_NEVER)))
            return false;
        *time_at(&r->times, t) = (int64_t)n;
    }
    const struct dkim_stored *k = &r->times;
    return k->created >= 0 && k->from >= 0 && k->until >= 0 && k->keep >= 0;
}

static bool read_head(struct reading *r, struct vr_str line, unsigned number)
{
    struct vr_str rest = vr_str_from_pos(line, 4);
    if (!vr_str_split(&rest, ' ', &r->selector) || r->selector.n == 0 || !read_times(r, rest))
        return wrong(r, number, "expected: key SELECTOR created=N from=N until=N keep=N");
    return true;
}

static bool read_end(struct reading *r, struct vr_str line, unsigned number)
{
    char why[DKIM_STORE_ERROR];
    struct dkim_stored *k;
    struct vr_str pem = vr_str(r->pem, (size_t)(line.p + line.n - r->pem));
    if (dkim_ring_add(r->ring, r->selector, pem, 0, &k, why) != DKIM_STORE_OK)
        return wrong(r, number, why);
    for (size_t t = 0; t < TIME_COUNT; t++)
        *time_at(k, t) = *time_at(&r->times, t);
    r->selector = vr_str(NULL, 0);
    r->pem = NULL;
    return true;
}

static bool read_line(struct reading *r, struct vr_str line, unsigned number)
{
    if (r->pem != NULL)
        return !vr_str_starts(line, VR_STR("-----END")) || read_end(r, line, number);
    if (line.n == 0 || line.p[0] == '#')
        return true;
    if (r->selector.n == 0 && vr_str_starts(line, VR_STR("key ")))
        return read_head(r, line, number);
    if (r->selector.n == 0 || !vr_str_starts(line, VR_STR("-----BEGIN")))
        return wrong(r, number, "expected a line \"key …\" and its PEM");
    r->pem = line.p;
    return true;
}

enum dkim_store_result dkim_ring_parse(struct vr_str domain, struct vr_str text, struct dkim_ring **out,
                                       char error[DKIM_STORE_ERROR])
{
    struct reading r = {.ring = dkim_ring_new(domain), .text = text, .error = error};
    struct vr_str line;
    unsigned number = 0;
    bool good = r.ring != NULL;
    *out = NULL;
    while (good && vr_str_split(&text, '\n', &line))
        good = read_line(&r, line, ++number);
    if (good && r.selector.n > 0)
        good = wrong(&r, number, "the file ends within a key");
    if (!good) {
        dkim_ring_free(r.ring);
        return DKIM_STORE_TROUBLE;
    }
    *out = r.ring;
    return DKIM_STORE_OK;
}

/* ---- what is to be published -------------------------------------------------------------------------------------------- */

bool dkim_zone_line(struct vr_buf *out, const struct dkim_published *p)
{
    vr_buf_addf(out, "%.*s. IN TXT (", VR_STR_ARG(p->name));
    for (size_t at = 0; at < p->value.n; at += 255) {
        struct vr_str part = vr_str_sub(p->value, at, 255);
        vr_buf_addf(out, " \"%.*s\"", VR_STR_ARG(part));
    }
    return vr_buf_add(out, VR_STR(" )\n"));
}

bool dkim_key_make(enum dkim_algorithm a, unsigned bits, struct vr_buf *out)
{
    EVP_PKEY *pkey = a == DKIM_ED25519_SHA256 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                              : EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
    BIO *bio = BIO_new(BIO_s_secmem());
    char *text = NULL;
    bool good = pkey != NULL && bio != NULL &&
                PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1;
    long n = good ? BIO_get_mem_data(bio, &text) : 0;
    good = n > 0 && vr_buf_add(out, vr_str(text, (size_t)n));
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return good;
}
