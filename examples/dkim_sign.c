/* dkim_sign.c - a message is signed twice in one pass, with RSA and with Ed25519, and then sealed with ARC, as a list would that sends it on.
 *
 * Where the keys are is left to the owner: dkim_sign_prepare gives a digest of 32 octets, dkim_sign_finish takes the signature. Here dkim_key_sign makes
 * it; in the server another process does. Keys are those of RFC 8463's appendix: never use them.
 */
#include <veredus/authres.h>

#include <stdio.h>

static const char ed25519_secret[] = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
static const char rsa_secret[] = "-----BEGIN RSA PRIVATE KEY-----\n"
                                 "MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi\n"
                                 "Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM\n"
                                 "KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\n"
                                 "AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm\n"
                                 "6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe\n"
                                 "zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy\n"
                                 "6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc\n"
                                 "uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy\n"
                                 "WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd\n"
                                 "WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a\n"
                                 "licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst\n"
                                 "o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe\n"
                                 "uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL\n"
                                 "-----END RSA PRIVATE KEY-----\n";

static const char message[] = "From: Ann <ann@example.org>\r\nTo: list@lists.example\r\nSubject: tomorrow\r\n"
                              "Date: Mon, 23 Nov 2026 16:52:51 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n"
                              "Shall we meet at noon?\r\n";

#define NOW 1795452771 /* the time is an argument */

static struct mail_digest *digest(struct vr_str text)
{
    struct mail_digest *d =
        mail_digest_new(&(struct mail_digest_config){.verify = true, .sign = {[MAIL_CANON_RELAXED] = true}});
    if (d != NULL && (mail_digest_feed(d, text) != VR_OK || mail_digest_end(d) != VR_OK)) {
        mail_digest_free(d);
        return NULL;
    }
    return d;
}

static bool sign(const struct mail_digest *d, const char *secret, const char *selector,
                 struct vr_arena *arena, struct vr_buf *out)
{
    struct dkim_key *key;
    struct dkim_unsigned todo;
    struct vr_str signature;
    const char *why;
    if (dkim_key_load(vr_str_from(secret), &key, &why) != VR_OK) {
        fprintf(stderr, "%s: %s\n", selector, why);
        return false;
    }
    struct dkim_signer signer = {.domain = VR_STR("example.org"),
                                 .selector = vr_str_from(selector),
                                 .algorithm = dkim_key_algorithm(key),
                                 .header_canon = MAIL_CANON_RELAXED,
                                 .body_canon = MAIL_CANON_RELAXED,
                                 .time = NOW,
                                 .lifetime = 7 * 86400};
    bool good = dkim_sign_prepare(d, &signer, vr_str(NULL, 0), arena, &todo) == VR_OK &&
                dkim_key_sign(key, todo.digest, arena, &signature) == VR_OK &&
                dkim_sign_finish(&todo, signature, out);
    dkim_key_free(key);
    return good;
}

static bool seal(const struct mail_digest *d, struct vr_arena *arena, struct vr_buf *out)
{
    struct dkim_key *key;
    struct arc_seal s;
    struct vr_str signature;
    const char *why;
    struct arc_sealer sealer = {.domain = VR_STR("lists.example"),
                                .selector = VR_STR("s3"),
                                .algorithm = DKIM_ED25519_SHA256,
                                .header_canon = MAIL_CANON_RELAXED,
                                .body_canon = MAIL_CANON_RELAXED,
                                .time = NOW,
                                .status = ARC_NONE, /* what arc_validate said when the message came */
                                .authres = VR_STR("lists.example; dkim=pass header.d=example.org; arc=none")};
    if (dkim_key_load(VR_STR(ed25519_secret), &key, &why) != VR_OK)
        return false;
    bool good = arc_seal_begin(d, &sealer, vr_str(NULL, 0), arena, &s) == VR_OK;
    for (int i = 0; i < 2 && good; i++) /* the message, then the set itself */
        good = dkim_key_sign(key, s.digest, arena, &signature) == VR_OK &&
               arc_seal_signed(&s, signature) == VR_OK;
    dkim_key_free(key);
    return good && arc_seal_finish(&s, out);
}

int main(void)
{
    struct vr_arena arena;
    struct vr_buf out;
    vr_arena_init(&arena, 1 << 20);
    vr_buf_init(&out, 1 << 16);
    struct mail_digest *d = digest(VR_STR(message));
    bool good =
        d != NULL && sign(d, rsa_secret, "s1", &arena, &out) && sign(d, ed25519_secret, "s2", &arena, &out);
    vr_buf_add(&out, VR_STR(message));
    mail_digest_free(d);

    struct vr_str with_signatures = vr_arena_dup(&arena, vr_buf_str(&out));
    vr_buf_reset(&out);
    d = digest(with_signatures);
    good = good && d != NULL && seal(d, &arena, &out);
    vr_buf_add(&out, with_signatures);
    mail_digest_free(d);
    printf("%.*s", VR_STR_ARG(vr_buf_str(&out)));
    vr_buf_fini(&out);
    vr_arena_fini(&arena);
    return good ? 0 : 1;
}
