/* auth.c - DKIM beside the bare mathematics, in one process and by turns.
 *
 *   bench_auth [ROUNDS [NAME]]      (9) a line a row whose name has NAME in it: name, ours, bare (both a second), ours by bare
 *
 * Rows of 4 KiB messages: signing and verifying from the first byte to the field or the verdict, beside the one public key operation as
 * `openssl speed` does it. Rows of 10 MiB: MiB a second, beside SHA-256 of the same bytes; `text` is words with a few double blanks and tabs, `base64` is
 * what attachments are. Seconds are those of the processor. Rows of OpenDKIM: the same work on the same messages by libopendkim, where it was there when this was built. The figure of a row is the median of
 * the rounds.
 */
#include "opendkim.h"

#include <veredus/dkim.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SMALL  4096
#define LARGE  (10u << 20)
#define ROUNDS 99

struct bench {
    EVP_PKEY *pkey;
    struct dkim_key *key;
    struct vr_buf record;
    struct vr_str small, large; /* messages */
    struct vr_str small_signed, large_signed;
    enum mail_canon canon;
    struct opendkim *peer; /* NULL: there is none */
    unsigned char digest[32], signature[512];
    size_t signature_n;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID,
                  &t); /* other work on the machine takes time from us, not from this clock */
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- messages ------------------------------------------------------------------------------------------------------------- */

static const char head[] =
    "Received: from client.example (client.example [192.0.2.1])\r\n"
    "\tby mx.example.org (veredus) with ESMTPSA id 1x2y3z\r\n"
    "\tfor <ann@example.org>; Mon, 23 Nov 2026 16:52:51 +0000\r\n"
    "From: Bob <bob@example.com>\r\nTo: Ann <ann@example.org>\r\nSubject: a message of some length\r\n"
    "Date: Mon, 23 Nov 2026 16:52:51 +0000\r\nMessage-ID: <1234567890@example.com>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";

static struct vr_str message(size_t size, bool base64)
{
    static const char *const words[] = {"the ", "mail ",        "that ", "was ", "sent ",  "yesterday ",
                                        "to ",  "everybody.  ", "in ",   "a ",   "hurry ", "and\t"};
    struct vr_buf b;
    size_t column = 0;
    unsigned seed = 1;
    vr_buf_init(&b, size + 4096);
    vr_buf_add(&b, vr_str_from(head));
    while (vr_buf_size(&b) < size) {
        seed = seed * 1103515245u + 12345u;
        if (base64) {
            vr_buf_add_byte(&b, "ABCDEFGHIJKLMNOPabcdefghijklmnop"[seed >> 16 & 31]);
            column++;
        } else {
            struct vr_str word = vr_str_from(words[(seed >> 16) % (seed >> 8 & 7 ? 7 : 12)]);
            vr_buf_add(&b, word);
            column += word.n;
        }
        if (column >= 72) {
            while (!base64 && b.p[b.end - 1] == ' ')
                b.end--;
            vr_buf_add(&b, VR_STR("\r\n"));
            column = 0;
        }
    }
    vr_buf_add(&b, VR_STR("\r\n"));
    return vr_buf_str(&b); /* kept until the end */
}

/* ---- ours ------------------------------------------------------------------------------------------------------------------ */

static struct mail_digest *digest(struct vr_str m, bool verify, enum mail_canon canon)
{
    struct mail_digest_config config = {.verify = verify};
    config.sign[canon] = !verify;
    struct mail_digest *d = mail_digest_new(&config);
    while (m.n > 0) {
        struct vr_str piece = vr_str_sub(m, 0, 65536);
        mail_digest_feed(d, piece);
        m = vr_str_from_pos(m, piece.n);
    }
    mail_digest_end(d);
    return d;
}

static void sign(struct bench *b, struct vr_str m, struct vr_buf *out)
{
    struct vr_arena arena;
    struct vr_str signature;
    struct dkim_unsigned u;
    vr_arena_init(&arena, 1 << 20);
    struct mail_digest *d = digest(m, false, b->canon);
    struct dkim_signer signer = {.domain = VR_STR("example.com"),
                                 .selector = VR_STR("s1"),
                                 .algorithm = dkim_key_algorithm(b->key),
                                 .header_canon = b->canon,
                                 .body_canon = b->canon,
                                 .time = 1790000000};
    bool good = dkim_sign_prepare(d, &signer, vr_str(NULL, 0), &arena, &u) == VR_OK &&
                dkim_key_sign(b->key, u.digest, &arena, &signature) == VR_OK &&
                dkim_sign_finish(&u, signature, out);
    assert(good);
    mail_digest_free(d);
    vr_arena_fini(&arena);
}

static void verify(struct bench *b, struct vr_str m)
{
    struct vr_arena arena;
    struct dkim_result r;
    vr_arena_init(&arena, 1 << 20);
    struct mail_digest *d = digest(m, true, b->canon);
    struct dns_record record = {.data = vr_buf_str(&b->record)};
    struct dns_answer answer = {
        .name = VR_STR("s1._domainkey.example.com"), .type = DNS_TYPE_TXT, .records = &record, .count = 1};
    struct dkim_query q = {.now = 1790000001, .answers = &answer, .answer_count = 1};
    bool good = dkim_verify(d, &q, &arena, &r) == VR_OK && r.state == DKIM_DONE && r.signature_count == 1 &&
                r.signatures[0].verdict == DKIM_PASS;
    assert(good);
    mail_digest_free(d);
    vr_arena_fini(&arena);
}

static void ours_sign_small(struct bench *b)
{
    struct vr_buf out;
    vr_buf_init(&out, 8192);
    sign(b, b->small, &out);
    vr_buf_fini(&out);
}

static void ours_verify_small(struct bench *b)
{
    verify(b, b->small_signed);
}

static void ours_hash_large(struct bench *b)
{
    mail_digest_free(digest(b->large, false, b->canon));
}

static void ours_sign_large(struct bench *b)
{
    struct vr_buf out;
    vr_buf_init(&out, 8192);
    sign(b, b->large, &out);
    vr_buf_fini(&out);
}

static void ours_verify_large(struct bench *b)
{
    verify(b, b->large_signed);
}

/* ---- bare ------------------------------------------------------------------------------------------------------------------ */

static bool is_rsa(const struct bench *b)
{
    return EVP_PKEY_base_id(b->pkey) == EVP_PKEY_RSA;
}

static void bare_sign(struct bench *b)
{
    b->signature_n = sizeof b->signature;
    bool good;
    if (is_rsa(b)) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(b->pkey, NULL);
        good = EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
               EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
               EVP_PKEY_sign(ctx, b->signature, &b->signature_n, b->digest, 32) == 1;
        EVP_PKEY_CTX_free(ctx);
    } else {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        good = EVP_DigestSignInit(ctx, NULL, NULL, NULL, b->pkey) == 1 &&
               EVP_DigestSign(ctx, b->signature, &b->signature_n, b->digest, 32) == 1;
        EVP_MD_CTX_free(ctx);
    }
    assert(good);
}

static void bare_verify(struct bench *b)
{
    bool good;
    if (is_rsa(b)) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(b->pkey, NULL);
        good = EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
               EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
               EVP_PKEY_verify(ctx, b->signature, b->signature_n, b->digest, 32) == 1;
        EVP_PKEY_CTX_free(ctx);
    } else {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        good = EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, b->pkey) == 1 &&
               EVP_DigestVerify(ctx, b->signature, b->signature_n, b->digest, 32) == 1;
        EVP_MD_CTX_free(ctx);
    }
    assert(good);
}

static void bare_hash(struct bench *b)
{
    bool good = EVP_Digest(b->large.p, b->large.n, b->digest, NULL, EVP_sha256(), NULL) == 1;
    assert(good);
}

/* ---- OpenDKIM ---------------------------------------------------------------------------------------------------------- */

static void peer_sign_small(struct bench *b)
{
    opendkim_sign(b->peer, b->small);
}

static void peer_verify_small(struct bench *b)
{
    opendkim_verify(b->peer, b->small_signed);
}

static void peer_sign_large(struct bench *b)
{
    opendkim_sign(b->peer, b->large);
}

static void peer_verify_large(struct bench *b)
{
    opendkim_verify(b->peer, b->large_signed);
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------ */

static double rate(struct bench *b, void (*f)(struct bench *))
{
    double begin = now(), spent;
    unsigned n = 0;
    do {
        f(b);
        n++;
        spent = now() - begin;
    } while (spent < 0.05);
    return n / spent;
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static const char *wanted = ""; /* a part of the names of the rows to measure */

static void row(struct bench *b, const char *name, void (*ours)(struct bench *), void (*bare)(struct bench *),
                double unit, size_t rounds)
{
    double a[ROUNDS], c[ROUNDS];
    if (strstr(name, wanted) == NULL)
        return;
    for (size_t i = 0; i < rounds; i++) {
        a[i] = rate(b, ours) * unit;
        c[i] = rate(b, bare) * unit;
    }
    qsort(a, rounds, sizeof *a, order);
    qsort(c, rounds, sizeof *c, order);
    printf("%-28s %12.1f %12.1f %6.2f\n", name, a[rounds / 2], c[rounds / 2], a[rounds / 2] / c[rounds / 2]);
    fflush(stdout);
}

static struct vr_str with_signature(struct bench *b, struct vr_str m)
{
    struct vr_buf out;
    vr_buf_init(&out, m.n + 8192);
    sign(b, m, &out);
    vr_buf_add(&out, m);
    return vr_buf_str(&out);
}

static void load(struct bench *b, EVP_PKEY *pkey)
{
    unsigned char *der = NULL;
    const char *why = NULL;
    int n = i2d_PrivateKey(pkey, &der);
    b->pkey = pkey;
    bool good = n > 0 && dkim_key_load(vr_str((char *)der, (size_t)n), &b->key, &why) == VR_OK;
    assert(good);
    OPENSSL_free(der);
    vr_buf_init(&b->record, 4096);
    dkim_key_record(b->key, &b->record);
    b->canon = MAIL_CANON_RELAXED;
    b->small_signed = with_signature(b, b->small);
    bare_sign(b); /* something for bare_verify */
}

static void meet_peer(struct bench *b)
{
    struct vr_buf pem;
    vr_buf_init(&pem, 8192);
    bool good = dkim_key_pem(b->key, &pem) && vr_buf_add_byte(&pem, '\0');
    assert(good);
    b->peer = opendkim_new(vr_buf_str(&pem).p, vr_buf_str(&b->record));
    vr_buf_fini(&pem);
}

static void unload(struct bench *b)
{
    free((char *)b->small_signed.p);
    vr_buf_fini(&b->record);
    dkim_key_free(b->key);
    EVP_PKEY_free(b->pkey);
}

static void bodies(struct bench *b, const char *what, bool base64, size_t rounds)
{
    static const char *const canons[] = {"simple", "relaxed"};
    char name[64];
    b->large = message(LARGE, base64);
    for (int canon = MAIL_CANON_SIMPLE; canon <= MAIL_CANON_RELAXED; canon++) {
        b->canon = (enum mail_canon)canon;
        b->large_signed = with_signature(b, b->large);
        snprintf(name, sizeof name, "hash-10m-%s-%s", canons[canon], what);
        row(b, name, ours_hash_large, bare_hash, 10, rounds);
        snprintf(name, sizeof name, "sign-10m-%s-%s", canons[canon], what);
        row(b, name, ours_sign_large, bare_hash, 10, rounds);
        snprintf(name, sizeof name, "verify-10m-%s-%s", canons[canon], what);
        row(b, name, ours_verify_large, bare_hash, 10, rounds);
        if (b->peer != NULL && canon == MAIL_CANON_RELAXED) {
            snprintf(name, sizeof name, "sign-10m-%s-opendkim", what);
            row(b, name, ours_sign_large, peer_sign_large, 10, rounds);
            snprintf(name, sizeof name, "verify-10m-%s-opendkim", what);
            row(b, name, ours_verify_large, peer_verify_large, 10, rounds);
        }
        free((char *)b->large_signed.p);
    }
    free((char *)b->large.p);
}

int main(int argc, char **argv)
{
    struct bench b = {.small = message(SMALL, false)};
    size_t rounds = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 9;
    if (rounds < 1 || rounds > ROUNDS)
        rounds = 9;
    if (argc > 2)
        wanted = argv[2];
    printf("%-28s %12s %12s %6s\n", "# a second", "ours", "bare", "ratio");
    load(&b, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    row(&b, "sign-4k-ed25519", ours_sign_small, bare_sign, 1, rounds);
    row(&b, "verify-4k-ed25519", ours_verify_small, bare_verify, 1, rounds);
    unload(&b);
    load(&b, EVP_RSA_gen(2048));
    row(&b, "sign-4k-rsa2048", ours_sign_small, bare_sign, 1, rounds);
    row(&b, "verify-4k-rsa2048", ours_verify_small, bare_verify, 1, rounds);
    meet_peer(&b);
    if (b.peer != NULL) {
        row(&b, "sign-4k-opendkim", ours_sign_small, peer_sign_small, 1, rounds);
        row(&b, "verify-4k-opendkim", ours_verify_small, peer_verify_small, 1, rounds);
    }
    bodies(&b, "text", false, rounds);
    bodies(&b, "base64", true, rounds);
    opendkim_free(b.peer);
    unload(&b);
    free((char *)b.small.p);
    return 0;
}
