/* io_certificate.c - tests of what is read out of certificates: src/io/certificate.h. */
#include "io_testing.h"

#include "io/certificate.h"
#include "io/fs.h"
#include "io/tls.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

static struct vr_arena arena;

static int setup(void **state)
{
    (void)state;
    vr_arena_init(&arena, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vr_arena_fini(&arena);
    return 0;
}

/* A certificate of `name`, signed by `issuer` (NULL: itself), with `key`. The PEM text is the arena's. */
struct made {
    X509 *x;
    EVP_PKEY *key;
    struct vr_str pem;
};

static void extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static struct made make(const char *name, EVP_PKEY *key, const struct made *issuer, const char *san,
                        bool authority, int64_t from, int64_t to)
{
    struct made m = {.x = X509_new(), .key = key};
    X509_set_version(m.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(m.x), 7);
    ASN1_TIME_set(X509_getm_notBefore(m.x), (time_t)from);
    ASN1_TIME_set(X509_getm_notAfter(m.x), (time_t)to);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(m.x), "CN", MBSTRING_UTF8, (const unsigned char *)name,
                               -1, -1, 0);
    X509_set_issuer_name(m.x, X509_get_subject_name(issuer != NULL ? issuer->x : m.x));
    X509_set_pubkey(m.x, key);
    extension(m.x, NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (san != NULL)
        extension(m.x, NID_subject_alt_name, san);
    EVP_PKEY *by = issuer != NULL ? issuer->key : key;
    assert_true(X509_sign(m.x, by, EVP_PKEY_get_base_id(by) == EVP_PKEY_ED25519 ? NULL : EVP_sha256()) > 0);
    BIO *out = BIO_new(BIO_s_mem());
    char *p;
    PEM_write_bio_X509(out, m.x);
    long n = BIO_get_mem_data(out, &p);
    m.pem = vr_arena_dup(&arena, vr_str(p, (size_t)n));
    BIO_free(out);
    return m;
}

static void unmake(struct made *m)
{
    X509_free(m->x);
    EVP_PKEY_free(m->key);
}

static struct vr_str joined(struct vr_str a, struct vr_str b)
{
    return vr_arena_printf(&arena, "%.*s%.*s", VR_STR_ARG(a), VR_STR_ARG(b));
}

static void facts(void **state)
{
    struct io_certificate c;
    char error[256];
    (void)state;
    struct made m = make("mail.test", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL,
                         "DNS:mail.test,DNS:*.wild.test,IP:192.0.2.7,IP:2001:db8::7,email:x@y.test", false,
                         1000000000, 2000000000);
    assert_true(io_certificate_read(&arena, m.pem, &c, error));
    assert_true(vr_str_equal(c.subject, VR_STR("CN=mail.test")));
    assert_true(vr_str_equal(c.issuer, VR_STR("CN=mail.test")));
    assert_int_equal(c.not_before, 1000000000);
    assert_int_equal(c.not_after, 2000000000);
    assert_true(c.self_signed);
    assert_int_equal(c.chain, 0);
    assert_string_equal(c.key, "Ed25519");
    static const char *const names[] = {"mail.test", "*.wild.test", "192.0.2.7", "2001:db8::7"};
    assert_int_equal(c.name_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(vr_str_equal(c.names[i], vr_str_from(names[i])));
    static const struct {
        const char *host;
        bool is;
    } hosts[] = {{"mail.test", true},      {"MAIL.Test", true},  {"a.wild.test", true},
                 {"a.b.wild.test", false}, {"wild.test", false}, {"other.test", false}};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        assert_int_equal(io_certificate_is_for(&c, vr_str_from(hosts[i].host)), hosts[i].is);
    unsigned char *spki = NULL, digest[32];
    int n = i2d_PUBKEY(m.key, &spki);
    EVP_Digest(spki, (size_t)n, digest, NULL, EVP_sha256(), NULL);
    assert_memory_equal(c.tlsa_3_1_1, digest, 32);
    OPENSSL_free(spki);
    unmake(&m);
}

static void kinds_of_keys(void **state)
{
    struct io_certificate c;
    char error[256];
    (void)state;
    struct {
        EVP_PKEY *key;
        const char *text;
    } rows[] = {{EVP_RSA_gen(2048), "RSA 2048"},
                {EVP_EC_gen("P-256"), "EC P-256"},
                {EVP_EC_gen("P-384"), "EC P-384"},
                {EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "Ed25519"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made m = make("only a common name", rows[i].key, NULL, NULL, false, 0, 2000000000);
        assert_true(io_certificate_read(&arena, m.pem, &c, error));
        assert_string_equal(c.key, rows[i].text);
        assert_int_equal(c.name_count, 0); /* blanks: no name of a host */
        unmake(&m);
    }
    struct made m = make("cn.test", EVP_EC_gen("P-256"), NULL, NULL, false, 0, 2000000000);
    assert_true(io_certificate_read(&arena, m.pem, &c, error));
    assert_int_equal(c.name_count, 1); /* without subjectAltName it counts */
    assert_true(io_certificate_is_for(&c, VR_STR("cn.test")));
    unmake(&m);
}

static void what_cannot_be_read(void **state)
{
    static const char *const rows[] = {"", "nothing",
                                       "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                                       "-----BEGIN CERTIFICATE-----\n"};
    struct io_certificate c;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char error[256] = "";
        assert_false(io_certificate_read(&arena, vr_str_from(rows[i]), &c, error));
        assert_non_null(strstr(error, "no certificate in PEM"));
        assert_true(io_certificate_chain_problem(vr_str_from(rows[i]), NULL, 0, error));
    }
}

static void chains(void **state)
{
    char folder[64], path[128], why[256];
    const int64_t now = 1500000000;
    (void)state;
    folder_make(folder);
    snprintf(path, sizeof path, "%s/ca.pem", folder);
    struct made root = make("Root", EVP_EC_gen("P-256"), NULL, NULL, true, 0, 2000000000);
    struct made middle = make("Middle", EVP_EC_gen("P-256"), &root, NULL, true, 0, 1600000000);
    struct made leaf = make("mail.test", EVP_EC_gen("P-256"), &middle, "DNS:mail.test", false, 0, 2000000000);
    struct made alone = make("alone.test", EVP_EC_gen("P-256"), NULL, "DNS:alone.test", false, 0, 2000000000);
    assert_int_equal(io_fs_replace_file(path, root.pem, 0600), 0);
    struct vr_str whole = joined(leaf.pem, middle.pem);
    const struct {
        struct vr_str pem;
        int64_t at;
        const char *why; /* NULL: nothing */
    } rows[] = {
        {whole, now, NULL},
        {joined(whole, root.pem), now, NULL},
        {leaf.pem, now, "the certificate of its issuer (Middle) is neither in the file"},
        {joined(leaf.pem, root.pem), now, "certificate 2 of the file (Root) did not sign the one before it"},
        {joined(joined(leaf.pem, root.pem), middle.pem), now, "certificate 2 of the file (Root)"},
        {whole, 1700000000, "the intermediate certificate Middle has expired"},
        {root.pem, now, NULL}, /* trusted as it is */
        {alone.pem, now, "nobody but itself"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool wrong = io_certificate_chain_problem(rows[i].pem, path, rows[i].at, why);
        if (wrong != (rows[i].why != NULL) || (wrong && strstr(why, rows[i].why) == NULL))
            fail_msg("row %zu: \"%s\"", i, why);
    }
    struct io_certificate c;
    assert_true(io_certificate_read(&arena, whole, &c, why));
    assert_int_equal(c.chain, 1);
    assert_false(c.self_signed);
    assert_true(vr_str_equal(c.issuer, VR_STR("CN=Middle")));
    struct made stranger = make("Other", EVP_EC_gen("P-256"), NULL, NULL, true, 0, 2000000000);
    struct made theirs = make("x.test", EVP_EC_gen("P-256"), &stranger, NULL, false, 0, 2000000000);
    assert_true(io_certificate_chain_problem(joined(theirs.pem, stranger.pem), path, now, why));
    assert_non_null(strstr(why, "its authority (Other) is none that this machine trusts"));
    struct made *all[] = {&root, &middle, &leaf, &alone, &stranger, &theirs};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        unmake(all[i]);
    folder_remove(folder);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {T(facts), T(kinds_of_keys), T(what_cannot_be_read), T(chains)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
