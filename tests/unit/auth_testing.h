/* auth_testing.h - what the tests of mail authentication share: the keys of RFC 8463, a small DNS, messages fed in pieces, and signatures made in the slow and obvious
 * way, so that the library is not held against itself. */
#ifndef TESTS_AUTH_TESTING_H
#define TESTS_AUTH_TESTING_H

#include <veredus/authres.h>

#include "lib_testing.h"

#include <openssl/evp.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define NOW 1528637909

/* RFC 8463 appendix A */
#define ED25519_SECRET "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
#define ED25519_PUBLIC "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
#define RSA_PUBLIC                                                                                           \
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/"  \
    "byYzCNb3W91y3FutACDfzwQ"                                                                                \
    "/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
#define RSA_SECRET                                                                                           \
    "-----BEGIN RSA PRIVATE KEY-----\n"                                                                      \
    "MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi\n"                                     \
    "Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM\n"                                     \
    "KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\n"                                     \
    "AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm\n"                                     \
    "6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe\n"                                     \
    "zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy\n"                                     \
    "6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc\n"                                     \
    "uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy\n"                                     \
    "WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd\n"                                     \
    "WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a\n"                                     \
    "licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst\n"                                     \
    "o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe\n"                                     \
    "uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL\n"                                                         \
    "-----END RSA PRIVATE KEY-----\n"

#define MESSAGE                                                                                              \
    "From: Joe SixPack <joe@football.example.com>\r\n"                                                       \
    "To: Suzie Q <suzie@shopping.example.net>\r\n"                                                           \
    "Subject: Is dinner ready?\r\n"                                                                          \
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"                                                        \
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"                                       \
    "\r\n"                                                                                                   \
    "Hi.\r\n"                                                                                                \
    "\r\n"                                                                                                   \
    "We lost the game.  Are you hungry yet?\r\n"                                                             \
    "\r\n"                                                                                                   \
    "Joe.\r\n"

/* ---- random numbers, the same in each run ---------------------------------------------------------------------------------- */

static uint64_t random_state = 1;

static inline uint32_t random_below(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % n;
}

/* ---- messages ------------------------------------------------------------------------------------------------------------------ */

/* Pieces of `piece` octets; 0: of random sizes. */
static inline void feed(struct mail_digest *d, struct vr_str message, size_t piece)
{
    while (message.n > 0) {
        size_t n = piece > 0 ? piece : 1 + random_below(message.n < 90 ? 9 : 300);
        char *exact = malloc(n < message.n ? n : message.n); /* so that a read beyond it is seen */
        struct vr_str part = vr_str_sub(message, 0, n);
        memcpy(exact, part.p, part.n);
        if (mail_digest_feed(d, vr_str(exact, part.n)) != VR_OK) {
            free(exact);
            return;
        }
        free(exact);
        message = vr_str_from_pos(message, part.n);
    }
}

static inline struct mail_digest *digest_of(struct vr_str message, size_t piece)
{
    struct mail_digest *d =
        mail_digest_new(&(struct mail_digest_config){.verify = true, .sign = {true, true}});
    assert_non_null(d);
    feed(d, message, piece);
    mail_digest_end(d);
    return d;
}

/* ---- the DNS -------------------------------------------------------------------------------------------------------------------- */

/* txt NULL: "!fail" as the name's only record means that there is no answer. Several rows with one name are several records. */
struct zone {
    const char *name, *txt;
};

#define KNOWN_MAX 128
struct known {
    struct dns_answer answers[KNOWN_MAX];
    struct dns_record records[KNOWN_MAX][10];
    size_t count;
};

static inline void look_up(struct known *k, const struct zone *zone, struct dns_question q)
{
    struct dns_answer *a = &k->answers[k->count];
    assert_true(k->count < KNOWN_MAX);
    assert_int_equal(q.type, DNS_TYPE_TXT);
    for (size_t i = 0; i < k->count; i++) /* nothing is asked twice */
        assert_false(vr_str_equal_nocase(k->answers[i].name, q.name));
    *a = (struct dns_answer){.name = q.name, .type = q.type, .status = DNS_STATUS_NXDOMAIN};
    for (; zone->name != NULL; zone++) {
        if (!vr_str_equal_nocase(vr_str_from(zone->name), q.name))
            continue;
        a->status = DNS_STATUS_OK;
        if (strcmp(zone->txt, "!fail") == 0)
            a->status = DNS_STATUS_FAILED;
        else if (strcmp(zone->txt, "!none") == 0)
            a->status = DNS_STATUS_NODATA;
        else
            k->records[k->count][a->count++].data = vr_str_from(zone->txt);
    }
    a->records = k->records[k->count++];
}

static const struct zone keys[] = {
    {"brisbane._domainkey.football.example.com", "v=DKIM1; k=ed25519; p=" ED25519_PUBLIC},
    {"test._domainkey.football.example.com", "v=DKIM1; k=rsa; p=" RSA_PUBLIC},
    {NULL, NULL},
};

static struct known dns;

/* Asks until there are verdicts. */
static inline struct dkim_result verify_with(const struct mail_digest *d, struct dkim_query q,
                                             const struct zone *zone)
{
    struct dkim_result r;
    dns.count = 0;
    for (;;) {
        q.answers = dns.answers;
        q.answer_count = dns.count;
        assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_OK);
        if (r.state == DKIM_DONE)
            return r;
        assert_true(r.question_count > 0);
        for (size_t i = 0; i < r.question_count; i++)
            look_up(&dns, zone, r.questions[i]);
    }
}

static inline struct dkim_result verify(struct vr_str message, const struct zone *zone)
{
    struct mail_digest *d = digest_of(message, SIZE_MAX);
    struct dkim_result r = verify_with(d, (struct dkim_query){.now = NOW}, zone);
    struct dkim_signature *kept =
        vr_arena_alloc(&arena, sizeof *kept * (r.signature_count + 1)); /* without the message */
    for (size_t i = 0; i < r.signature_count; i++) {
        kept[i] = r.signatures[i];
        kept[i].d = vr_arena_dup(&arena, kept[i].d);
        kept[i].s = vr_arena_dup(&arena, kept[i].s);
        kept[i].a = vr_arena_dup(&arena, kept[i].a);
        kept[i].field = vr_arena_dup(&arena, kept[i].field);
    }
    r.signatures = kept;
    mail_digest_free(d);
    return r;
}

static inline void assert_verdict(const struct dkim_signature *s, enum dkim_verdict verdict,
                                  const char *reason)
{
    if (s->verdict != verdict || !has(s->reason, reason) || (reason[0] == '\0' && s->reason.n > 0))
        fail_msg("got %s (%.*s), wanted %s (%s)", dkim_verdict_name(s->verdict), VR_STR_ARG(s->reason),
                 dkim_verdict_name(verdict), reason);
}

/* ---- the slow and obvious way ------------------------------------------------------------------------------------------------------- */

/* RFC 6376 §3.4.4 by its words: one line after the other. Or §3.4.3. */
static inline struct vr_str slow_body(struct vr_str body, bool relaxed)
{
    struct vr_buf out;
    vr_buf_init(&out, body.n * 2 + 16);
    bool ended = body.n == 0;
    while (body.n > 0) {
        size_t end = vr_str_find_str(body, VR_STR("\r\n"));
        struct vr_str line = vr_str_sub(body, 0, end);
        ended = end != VR_NPOS;
        body = vr_str_from_pos(body, ended ? end + 2 : body.n);
        size_t before = vr_buf_size(&out);
        for (size_t i = 0; i < line.n; i++) {
            bool blank = line.p[i] == ' ' || line.p[i] == '\t';
            if (relaxed && blank && i + 1 < line.n && (line.p[i + 1] == ' ' || line.p[i + 1] == '\t'))
                continue;
            vr_buf_add_byte(&out, relaxed && blank ? ' ' : line.p[i]);
        }
        if (relaxed && vr_buf_size(&out) > before && out.p[out.end - 1] == ' ')
            out.end--;
        vr_buf_add(&out, VR_STR("\r\n"));
    }
    while (vr_str_ends_nocase(vr_buf_str(&out), VR_STR("\r\n")))
        out.end -= 2;
    if (!relaxed || vr_buf_size(&out) > 0)
        vr_buf_add(&out, VR_STR("\r\n"));
    struct vr_str result = vr_arena_dup(&arena, vr_buf_str(&out));
    vr_buf_fini(&out);
    return result;
}

/* A whole field without its last line end, or what it is in relaxed form. */
static inline void slow_field(struct vr_buf *out, struct vr_str field, bool relaxed)
{
    size_t colon = vr_str_find(field, ':');
    if (!relaxed) {
        vr_buf_add(out, field);
        return;
    }
    struct vr_str name = vr_arena_lower(&arena, vr_str_trim(vr_str_sub(field, 0, colon)));
    struct vr_str value = header_unfold(&arena, vr_str_from_pos(field, colon + 1)); /* also trims */
    vr_buf_addf(out, "%.*s:", VR_STR_ARG(name));
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] != ' ' && value.p[i] != '\t')
            vr_buf_add_byte(out, value.p[i]);
        else if (value.p[i - 1] != ' ' && value.p[i - 1] != '\t')
            vr_buf_add_byte(out, ' ');
}

/* The fields of h= from the bottom, each once. */
static inline void slow_fields(struct vr_buf *out, struct vr_str header, struct vr_str h, bool relaxed)
{
    struct header_field all[64];
    struct header_reader r;
    size_t n = 0;
    bool used[64] = {false};
    struct vr_str name;
    header_reader_init(&r, header);
    while (n < 64 && header_next(&r, &all[n]))
        n++;
    while (vr_str_split(&h, ':', &name))
        for (size_t i = n; i-- > 0;)
            if (!used[i] && vr_str_equal_nocase(all[i].name, vr_str_trim(name))) {
                used[i] = true;
                slow_field(out, vr_str_sub(all[i].raw, 0, all[i].raw.n - 2), relaxed);
                vr_buf_add(out, VR_STR("\r\n"));
                break;
            }
}

static inline struct vr_str slow_base64(struct vr_str in)
{
    struct vr_buf b;
    vr_buf_init(&b, 8192);
    assert_true(vr_base64_encode(&b, in));
    struct vr_str out = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return out;
}

static inline struct vr_str slow_sign(EVP_PKEY *key, const EVP_MD *md, struct vr_str text)
{
    unsigned char hash[64], signature[1100];
    unsigned hash_n;
    size_t n = sizeof signature;
    assert_int_equal(EVP_Digest(text.p, text.n, hash, &hash_n, md, NULL), 1);
    if (EVP_PKEY_base_id(key) == EVP_PKEY_ED25519) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestSignInit(ctx, NULL, NULL, NULL, key), 1);
        assert_int_equal(EVP_DigestSign(ctx, signature, &n, hash, hash_n), 1);
        EVP_MD_CTX_free(ctx);
    } else {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
        assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, md), 1);
        assert_int_equal(EVP_PKEY_sign(ctx, signature, &n, hash, hash_n), 1);
        EVP_PKEY_CTX_free(ctx);
    }
    return slow_base64(vr_str((char *)signature, n));
}

static inline EVP_PKEY *ed25519_key(void)
{
    struct vr_buf b;
    vr_buf_init(&b, 64);
    assert_int_equal(vr_base64_decode(&b, VR_STR(ED25519_SECRET)), VR_OK);
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (unsigned char *)b.p, 32);
    vr_buf_fini(&b);
    assert_non_null(key);
    return key;
}

static inline struct vr_str replaced(struct vr_str text, const char *what, struct vr_str by)
{
    size_t at = vr_str_find_str(text, vr_str_from(what));
    if (at == VR_NPOS)
        return text;
    return vr_arena_printf(&arena, "%.*s%.*s%.*s", (int)at, text.p, VR_STR_ARG(by),
                           VR_STR_ARG(vr_str_from_pos(text, at + strlen(what))));
}

/* A DKIM-Signature (or another field of that kind) from a template in which $BH and $B stand for the hash and the signature; `length` of the canonical body are
 * hashed. h: what stands in the template's h=. Returns the field and the message behind it. */
static inline struct vr_str slow_signed(EVP_PKEY *key, const EVP_MD *md, const char *template, const char *h,
                                        bool relaxed_header, bool relaxed_body, size_t length,
                                        struct vr_str message)
{
    size_t blank = vr_str_find_str(message, VR_STR("\r\n\r\n"));
    struct vr_str header = vr_str_sub(message, 0, blank + 2), body = vr_str_from_pos(message, blank + 4);
    unsigned char hash[64];
    unsigned hash_n;
    struct vr_str canonical = vr_str_sub(slow_body(body, relaxed_body), 0, length);
    assert_int_equal(EVP_Digest(canonical.p, canonical.n, hash, &hash_n, md, NULL), 1);
    struct vr_str field = replaced(vr_str_from(template), "$BH", slow_base64(vr_str((char *)hash, hash_n)));
    struct vr_buf text;
    vr_buf_init(&text, 1 << 20);
    slow_fields(&text, header, vr_str_from(h), relaxed_header);
    slow_field(&text, replaced(field, "$B", vr_str("", 0)), relaxed_header);
    field = replaced(field, "$B", slow_sign(key, md, vr_buf_str(&text)));
    vr_buf_fini(&text);
    return vr_arena_printf(&arena, "%.*s\r\n%.*s", VR_STR_ARG(field), VR_STR_ARG(message));
}

#endif
