/* conclude.c - from a signature, its key record and the hashes of the message to a verdict, in the order of RFC 6376 §6.1.2 and §6.1.3.
 *
 * Of several key records under one name the one that verifies counts, else the one that came nearest.
 * What RFC 8301 and the policy refuse is checked all the same: "the signature is right, but" is worth more to a reader than "no".
 *
 * Tests: tests/unit/dkim_verify.c
 */
#include "inside.h"

#include <openssl/err.h>
#include <openssl/rsa.h>

#include <string.h>

#define TOLERANCE 300 /* seconds */

struct trial {
    const struct dkim_query *q;
    const struct sig *s;
    const uint8_t *header_hash;
    size_t header_hash_n;
    struct vr_arena *arena;
    struct conclusion body; /* of the body's hash; pass: it is right */
};

static struct conclusion says(enum dkim_verdict verdict, const char *why)
{
    return (struct conclusion){.verdict = verdict, .why = why};
}

bool conclude_time(const struct sig *s, const struct dkim_query *q, struct conclusion *out)
{
    int64_t tolerance = q->policy.tolerance > 0 ? q->policy.tolerance : TOLERANCE;
    if (s->expires >= 0 && s->expires + tolerance < q->now)
        *out = says(DKIM_PERMERROR, "the signature expired (x=)");
    else if (s->time >= 0 && s->time - tolerance > q->now)
        *out = says(DKIM_PERMERROR, "the signature is of the future (t=)");
    else
        return true;
    return false;
}

/* ---- the body ------------------------------------------------------------------------------------------------------ */

static struct conclusion conclude_body(const struct mail_digest *d, const struct sig *s)
{
    struct body_hash hash;
    if (s->kind == SIG_SEAL)
        return says(DKIM_PASS, NULL);
    if (!digest_body_hash(d, s->body_canon, s->algorithm == DKIM_RSA_SHA1, s->length, &hash))
        return says(DKIM_NEUTRAL, "the body was not hashed for it");
    struct conclusion c = says(DKIM_PASS, NULL);
    if (s->length_given && s->length > hash.length)
        c = says(DKIM_FAIL, "the body is shorter than it was when it was signed (l=)");
    else if (!vr_str_equal(vr_str((const char *)hash.bytes, hash.n), s->bh))
        c = says(DKIM_FAIL, "the body's hash does not match (bh=)");
    if (s->length_given && s->length < hash.length)
        c.unsigned_body = hash.length - s->length;
    return c;
}

/* ---- the signature ---------------------------------------------------------------------------------------------------- */

static bool rsa_verifies(const struct trial *t, EVP_PKEY *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    const EVP_MD *md = t->s->algorithm == DKIM_RSA_SHA1 ? EVP_sha1() : EVP_sha256();
    bool good = ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
                EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
                EVP_PKEY_verify(ctx, (const unsigned char *)t->s->b.p, t->s->b.n, t->header_hash,
                                t->header_hash_n) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

static bool ed25519_verifies(const struct trial *t, EVP_PKEY *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(ctx, (const unsigned char *)t->s->b.p, t->s->b.n, t->header_hash,
                                 t->header_hash_n) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

/* The signature is right. Is it acceptable? */
static struct conclusion acceptable(const struct trial *t, unsigned bits)
{
    const struct dkim_policy *p = &t->q->policy;
    unsigned least = p->rsa_bits > DKIM_RSA_BITS_MIN ? p->rsa_bits : DKIM_RSA_BITS_MIN;
    if (t->s->algorithm == DKIM_RSA_SHA1)
        return says(DKIM_POLICY, "rsa-sha1 is historic (RFC 8301)");
    if (t->s->algorithm == DKIM_RSA_SHA256 && bits < least)
        return says(DKIM_POLICY, bits < DKIM_RSA_BITS_MIN ? "the RSA key has fewer than 1024 bits (RFC 8301)"
                                                          : "the RSA key is too short");
    if (t->s->draft)
        return says(DKIM_POLICY, "made by a draft of DKIM (v=)");
    if (t->body.unsigned_body > 0 && !p->trust_length)
        return says(DKIM_POLICY, "a part of the body is not signed (l=)");
    return says(DKIM_PASS, NULL);
}

static struct conclusion check_signature(const struct trial *t, EVP_PKEY *key, unsigned bits)
{
    if (t->body.verdict != DKIM_PASS)
        return t->body;
    bool good = t->s->algorithm == DKIM_ED25519_SHA256 ? ed25519_verifies(t, key) : rsa_verifies(t, key);
    return good ? acceptable(t, bits) : says(DKIM_FAIL, "the signature does not match");
}

/* ---- key records --------------------------------------------------------------------------------------------------------- */

/* Is the key meant for this? NULL, or why not. */
static const char *unsuitable(const struct trial *t, const struct record *r)
{
    const struct sig *s = t->s;
    const struct tag *h = taglist_find(&r->list, "h"), *services = taglist_find(&r->list, "s");
    bool ed25519 = s->algorithm == DKIM_ED25519_SHA256;
    if (h != NULL && !taglist_has(h->value, s->algorithm == DKIM_RSA_SHA1 ? "sha1" : "sha256"))
        return "the key is not for this hash (h=)";
    if (r->said.revoked)
        return "the key is revoked";
    if (services != NULL && !taglist_has(services->value, "*") && !taglist_has(services->value, "email"))
        return "the key is not for mail (s=)";
    if (r->said.algorithm != (ed25519 ? DKIM_ED25519_SHA256 : DKIM_RSA_SHA256))
        return "the key is of another kind (k=)";
    if (s->kind == SIG_DKIM && r->said.strict && !vr_str_equal(s->i_domain, s->domain))
        return "the key is not for subdomains (t=s)";
    return NULL;
}

static enum vr_err try_record(const struct trial *t, struct vr_str txt, struct conclusion *out)
{
    struct record r;
    enum vr_err e = record_read(t->arena, txt, &r);
    if (e != VR_OK)
        return e;
    const char *why = r.why != NULL ? r.why : unsuitable(t, &r);
    unsigned bits = 0;
    EVP_PKEY *key = why == NULL ? record_public_key(r.said.algorithm, r.said.public_key, &bits, &why) : NULL;
    *out = key == NULL ? says(DKIM_PERMERROR, why) : check_signature(t, key, bits);
    out->bits = bits;
    out->testing = r.said.testing;
    EVP_PKEY_free(key);
    return VR_OK;
}

static enum vr_err try_records(const struct trial *t, const struct dns_answer *answer, struct conclusion *out)
{
    static const int rank[] = {[DKIM_PASS] = 0,    [DKIM_POLICY] = 1,    [DKIM_FAIL] = 2,
                               [DKIM_NEUTRAL] = 3, [DKIM_TEMPERROR] = 3, [DKIM_PERMERROR] = 4};
    *out = says(DKIM_PERMERROR, "there is no key");
    for (size_t i = 0; i < answer->count && i < DKIM_RECORDS_MAX; i++) {
        struct conclusion c;
        enum vr_err e = try_record(t, answer->records[i].data, &c);
        if (e != VR_OK)
            return e;
        if (i == 0 || rank[c.verdict] < rank[out->verdict])
            *out = c;
    }
    return VR_OK;
}

enum vr_err conclude(const struct mail_digest *d, const struct dkim_query *q, const struct sig *s,
                     const struct dns_answer *answer, const uint8_t *header_hash, size_t header_hash_n,
                     struct vr_arena *arena, struct conclusion *out)
{
    enum vr_err e = VR_OK;
    struct trial t = {q, s, header_hash, header_hash_n, arena, conclude_body(d, s)};
    ERR_set_mark(); /* OpenSSL's list of errors is its user's, not ours */
    if (answer->status == DNS_STATUS_OK)
        e = try_records(&t, answer, out);
    else if (answer->status != DNS_STATUS_FAILED)
        *out = says(DKIM_PERMERROR, "there is no key");
    else
        *out = says(DKIM_TEMPERROR, "the DNS does not answer for the key now");
    ERR_pop_to_mark();
    out->unsigned_body = t.body.unsigned_body;
    return e;
}

/* ---- questions ------------------------------------------------------------------------------------------------------------- */

const struct dns_answer *ask(struct questions *qs, const struct dkim_query *q, struct vr_str name)
{
    const struct dns_answer *a = dns_answer_find(q->answers, q->answer_count, name, DNS_TYPE_TXT);
    for (size_t i = 0; a == NULL && i < qs->count; i++)
        if (vr_str_equal_nocase(qs->list[i].name, name))
            return NULL;
    if (a == NULL && qs->count < qs->max)
        qs->list[qs->count++] = (struct dns_question){name, DNS_TYPE_TXT};
    return a;
}
