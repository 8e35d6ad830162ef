/* sasl_mechanisms.c - the table of mechanisms, examples of the RFCs, and each mechanism with both sides: what is right, what is wrong, what a stranger may tell. */
#include "sasl_exchange.h"

#include "lib/sasl/inside.h" /* the examples have nonces that the public functions cannot make */

/* ---- the table ----------------------------------------------------------------------------------------------------- */

static void test_table(void **state)
{
    (void)state;
    unsigned all = 0;
    struct vr_buf names;
    vr_buf_init(&names, 256);
    for (size_t i = 0; i < sasl_mechanism_count; i++) {
        const struct sasl_mechanism *m = &sasl_mechanisms[i];
        assert_int_equal(m->bit, 1u << i); /* the order of the bits is that of the table */
        assert_ptr_equal(sasl_mechanism_find(vr_str_from(m->name)), m);
        assert_true(!m->reveals || m->needs_tls);
        assert_true(!m->plus || m->needs_tls);
        assert_int_equal(m->plus, strstr(m->name, "-PLUS") != NULL);
        all |= (unsigned)m->bit;
    }
    assert_ptr_equal(sasl_mechanism_find(VR_STR("scram-sha-1-plus")), &sasl_mechanisms[1]);
    assert_null(sasl_mechanism_find(VR_STR("")));
    assert_null(sasl_mechanism_find(VR_STR("GSSAPI")));
    assert_null(sasl_mechanism_find(VR_STR("PLAIN ")));
    assert_int_equal(sasl_mechanism_bits(VR_STR("LOGIN  plain GSSAPI\tx SCRAM-SHA-1 ")),
                     SASL_LOGIN | SASL_PLAIN | SASL_SCRAM_SHA_1);
    assert_int_equal(sasl_mechanism_bits(VR_STR("")), 0);
    assert_true(sasl_mechanism_names(&names, SASL_PLAIN | SASL_SCRAM_SHA_256 | SASL_CRAM_MD5));
    assert_str(vr_buf_str(&names), "SCRAM-SHA-256 PLAIN CRAM-MD5");
    vr_buf_reset(&names);
    assert_true(sasl_mechanism_names(&names, all));
    assert_int_equal(sasl_mechanism_bits(vr_buf_str(&names)), all);
    vr_buf_reset(&names);
    assert_true(sasl_mechanism_names(&names, 0));
    assert_int_equal(vr_buf_size(&names), 0);
    vr_buf_fini(&names);
}

/* ---- examples ------------------------------------------------------------------------------------------------------- */

/* RFC 5802 §5: the proof and the signature of SCRAM-SHA-1. */
static void test_rfc5802(void **state)
{
    (void)state;
    static const char auth_message[] =
        "n=user,r=fyko+d2lbbFgONRv9qkxdawL,"
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,"
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    uint8_t salted[SASL_HASH_MAX], key[SASL_HASH_MAX], stored[SASL_HASH_MAX], server[SASL_HASH_MAX],
        signature[SASL_HASH_MAX];
    struct vr_buf salt, text;
    vr_buf_init(&salt, 64);
    vr_buf_init(&text, 64);
    assert_int_equal(vr_base64_decode(&salt, VR_STR("QSXCR+Q6sek8bf92")), VR_OK);
    assert_true(scram_salted(SASL_SHA1, VR_STR("pencil"), vr_buf_str(&salt), 4096, salted));
    assert_true(scram_keys(SASL_SHA1, salted, key, stored, server));
    assert_true(scram_hmac(SASL_SHA1, stored, vr_str_from(auth_message), signature));
    for (size_t i = 0; i < 20; i++)
        signature[i] ^= key[i];
    vr_base64_encode(&text, vr_str((const char *)signature, 20));
    assert_str(vr_buf_str(&text), "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    vr_buf_reset(&text);
    assert_true(scram_hmac(SASL_SHA1, server, vr_str_from(auth_message), signature));
    vr_base64_encode(&text, vr_str((const char *)signature, 20));
    assert_str(vr_buf_str(&text), "rmF9pqV8S7suAoZWja4dJRkFsKQ=");
    vr_buf_fini(&salt);
    vr_buf_fini(&text);
}

/* RFC 2195 §2, and a password that is longer than a block of MD5 (computed with Python's hmac). */
static void test_rfc2195(void **state)
{
    (void)state;
    static const struct {
        const char *password, *digest;
    } rows[] = {
        {"tanstaaftanstaaf", "b913a602c7eda7a495b4e6e7334d3890"},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         "e312a838fda8519ba3375ef540f330b4"}, /* a whole block */
        {"01234567890123456789012345678901234567890123456789012345678901234567890123456789",
         "bd0870667813a126e84d72b27e5d6dc1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sasl_cram_keys keys;
        char digest[33] = "";
        assert_int_equal(sasl_cram_derive(vr_str_from(rows[i].password), &keys), VR_OK);
        assert_true(cram_digest(&keys, VR_STR("<1896.697170952@postoffice.reston.mci.net>"), digest));
        assert_string_equal(digest, rows[i].digest);
    }
    struct sasl_cram_keys keys;
    assert_int_equal(sasl_cram_derive(VR_STR(""), &keys), VR_ERR_SYNTAX);
    assert_int_equal(sasl_cram_derive(VR_STR("a\0b"), &keys), VR_ERR_SYNTAX);
    /* the octets are those of Dovecot's {CRAM-MD5} for the password "pencil" (doveadm pw -s CRAM-MD5) */
    static const uint8_t dovecot[32] = {0x7f, 0x47, 0xac, 0xe0, 0xe2, 0xaf, 0x8f, 0x6c, 0xde, 0xb7, 0x2c,
                                        0x03, 0x24, 0x3a, 0x8c, 0x87, 0x83, 0x4e, 0x19, 0x10, 0x41, 0x64,
                                        0xd6, 0xa4, 0x2d, 0xe7, 0x2d, 0x24, 0x3a, 0xdb, 0x40, 0x80};
    assert_int_equal(sasl_cram_derive(VR_STR("pencil"), &keys), VR_OK);
    assert_memory_equal(keys.outer, dovecot, 16);
    assert_memory_equal(keys.inner, dovecot + 16, 16);
}

/* RFC 7628 §4.1 and §4.3. */
static void test_rfc7628(void **state)
{
    (void)state;
    static const char good[] = "n,a=user@example.com,\1host=server.example.com\1port=143\1auth=Bearer "
                               "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1",
                      empty[] = "n,a=user@example.com,\1host=server.example.com\1port=143\1auth=\1\1";
    struct vr_str out;
    struct sasl_server *s = server_with("OAUTHBEARER", (struct sasl_server_config){0});
    assert_int_equal(sasl_server_step(s, vr_str_from(good), true, &out), SASL_NEED_TOKEN);
    assert_str(sasl_server_user(s), "user@example.com");
    assert_str(sasl_server_token(s), "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
    struct sasl_token_verdict verdict = {.good = true, .user = VR_STR("User@Example.com")};
    assert_int_equal(sasl_server_token_checked(s, &verdict, &out), SASL_DONE);
    assert_str(sasl_server_user(s), "User@Example.com"); /* the owner's word counts */
    assert_int_equal(sasl_server_token(s).n, 0);
    sasl_server_free(s);

    s = server_with("OAUTHBEARER", (struct sasl_server_config){0});
    assert_int_equal(sasl_server_step(s, vr_str_from(empty), true, &out), SASL_NEED_TOKEN);
    assert_int_equal(sasl_server_token(s).n, 0);
    verdict = (struct sasl_token_verdict){.good = true, /* cannot be: there is none */
                                          .user = VR_STR("user@example.com"),
                                          .scope = VR_STR("example_scope"),
                                          .openid_configuration =
                                              VR_STR("https://example.com/.well-known/openid-configuration")};
    assert_int_equal(sasl_server_token_checked(s, &verdict, &out), SASL_CHALLENGE);
    assert_str(out, "{\"status\":\"invalid_token\",\"scope\":\"example_scope\",\"openid-configuration\":"
                    "\"https://example.com/.well-known/openid-configuration\"}");
    assert_int_equal(sasl_server_step(s, VR_STR("\1"), true, &out), SASL_FAILED);
    assert_string_equal(sasl_server_why(s), "there is no token");
    assert_false(sasl_server_malformed(s));
    sasl_server_free(s);

    struct sasl_client_config config = {.user = VR_STR("user@example.com"),
                                        .token = VR_STR("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="),
                                        .host = VR_STR("server.example.com"),
                                        .port = 143};
    struct sasl_client *c = sasl_client_new(VR_STR("oauthbearer"), &config);
    assert_true(sasl_client_initial(c, &out));
    assert_true(vr_str_equal(out, vr_str_from(good)));
    sasl_client_free(c);
}

/* ---- each mechanism -------------------------------------------------------------------------------- */

/* Each mechanism with what is right, and with one thing wrong. */
static void test_pairs(void **state)
{
    (void)state;
    const struct sasl_binding bound = {.tls_exporter = VR_STR("exported"),
                                       .tls_server_end_point = VR_STR("hash")};
    for (size_t i = 0; i < sasl_mechanism_count; i++) {
        const struct sasl_mechanism *m = &sasl_mechanisms[i];
        for (int no_initial = 0; no_initial < 2; no_initial++) {
            const struct exchange right = {.mechanism = m->name,
                                           .user = ann.user,
                                           .password = ann.password,
                                           .token = ann.token,
                                           .ours = bound,
                                           .theirs = bound,
                                           .identity = "ann@example.org",
                                           .no_initial = no_initial};
            struct exchange e = right;
            if (run(&e) != BOTH)
                fail_msg("%s: %s", m->name, e.why);
            assert_string_equal(e.got, ann.user);
            e = right, e.user = "bob@example.org";
            assert_int_equal(run(&e), SERVER_REFUSED);
            assert_true(strlen(e.why) > 10);
            e = right, e.password = "pencils", e.token = "ya29.other", e.identity = "bob@example.org";
            assert_int_equal(run(&e), SERVER_REFUSED);
        }
    }
}

/* What a stranger sees of an unknown user is what he sees of a wrong password. */
static void test_no_enumeration(void **state)
{
    (void)state;
    static const char *const mechanisms[] = {"CRAM-MD5", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"};
    for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++) {
        struct exchange wrong = {.mechanism = mechanisms[i],
                                 .user = ann.user,
                                 .password = "pencils",
                                 .token = "other"},
                        unknown = wrong;
        unknown.user = "bob@example.org";
        assert_int_equal(run(&wrong), SERVER_REFUSED);
        assert_int_equal(run(&unknown), SERVER_REFUSED);
        assert_string_equal(wrong.challenge, unknown.challenge);
    }
}

/* Unknown users have salts of their own for each hash: a client cannot tell them from accounts, which have that too. */
static void test_fake_salts(void **state)
{
    (void)state;
    static const char *const mechanisms[] = {"SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1"};
    char first[4][256];
    for (size_t i = 0; i < 4; i++) {
        struct vr_str out;
        struct sasl_server *s =
            server_with(mechanisms[i], (struct sasl_server_config){.fake_iterations = 5000});
        assert_int_equal(sasl_server_step(s, VR_STR("n,,n=bob,r=abc"), true, &out), SASL_NEED_SCRAM);
        assert_int_equal(sasl_server_hash(s), i % 2 == 0 ? SASL_SHA256 : SASL_SHA1);
        assert_int_equal(sasl_server_scram_keys(s, NULL, &out), SASL_CHALLENGE);
        assert_true(vr_str_ends_nocase(out, VR_STR(",i=5000")));
        keep(first[i], sizeof first[i], out);
        sasl_server_free(s);
    }
    assert_string_equal(first[0], first[2]);
    assert_string_equal(first[1], first[3]);
    assert_string_not_equal(first[0], first[1]);
}

/* Keys of another hash are none. */
static void test_keys_of_another_hash(void **state)
{
    (void)state;
    struct sasl_scram_keys keys;
    struct vr_str out;
    struct sasl_server *s = server_with("SCRAM-SHA-1", (struct sasl_server_config){0});
    assert_int_equal(sasl_scram_derive(SASL_SHA256, VR_STR("pencil"), SASL_OWNER_SALT, 4096, &keys), VR_OK);
    assert_int_equal(keys.hash, SASL_SHA256);
    assert_int_equal(sasl_server_step(s, VR_STR("n,,n=ann,r=abc"), true, &out), SASL_NEED_SCRAM);
    assert_int_equal(sasl_server_scram_keys(s, &keys, &out), SASL_CHALLENGE);
    assert_true(vr_str_find_str(out, VR_STR(",i=10000")) != VR_NPOS); /* those of nobody */
    sasl_server_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),      cmocka_unit_test(test_rfc5802),
        cmocka_unit_test(test_rfc2195),    cmocka_unit_test(test_rfc7628),
        cmocka_unit_test(test_pairs),      cmocka_unit_test(test_no_enumeration),
        cmocka_unit_test(test_fake_salts), cmocka_unit_test(test_keys_of_another_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
