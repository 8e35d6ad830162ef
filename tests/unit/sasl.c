/* sasl.c - PLAIN, LOGIN and SCRAM-SHA-256, both sides: the RFC's example, each side against the other, and liars on either. */
#include <veredus/sasl.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/sasl/inside.h" /* the example of RFC 7677 has nonces that the public functions cannot make */

static const uint8_t client_nonce[18] = "abcdefghijklmnopqr", server_nonce[18] = "ABCDEFGHIJKLMNOPQR",
                     fake_key[16] = "0123456789abcdef", salt[16] = "saltsaltsaltsalt";

static struct sasl_server *server(const char *mechanism)
{
    struct sasl_server_config config = {.hostname = VR_STR("mail.example.org")};
    memcpy(config.nonce, server_nonce, sizeof config.nonce);
    memcpy(config.fake_key, fake_key, sizeof config.fake_key);
    return sasl_server_new(vr_str_from(mechanism), &config);
}

static struct sasl_client *client(const char *mechanism, const char *user, const char *password)
{
    struct sasl_client_config config = {.user = vr_str_from(user), .password = vr_str_from(password)};
    memcpy(config.nonce, client_nonce, sizeof config.nonce);
    return sasl_client_new(vr_str_from(mechanism), &config);
}

#define assert_str(got, literal) assert_true(vr_str_equal(got, VR_STR(literal)))

/* ---- RFC 7677 §3 -------------------------------------------------------------------------------------------------- */

static void test_rfc_example(void **state)
{
    (void)state;
    static const char auth_message[] =
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    uint8_t salted[SASL_HASH_MAX], key[SASL_HASH_MAX], stored[SASL_HASH_MAX], server_key[SASL_HASH_MAX],
        signature[SASL_HASH_MAX];
    struct vr_buf bytes, text;
    vr_buf_init(&bytes, 64);
    vr_buf_init(&text, 256);
    assert_int_equal(vr_base64_decode(&bytes, VR_STR("W22ZaJ0SNY7soEsUEjb6gQ==")), VR_OK);
    assert_true(scram_salted(SASL_SHA256, VR_STR("pencil"), vr_buf_str(&bytes), 4096, salted));
    assert_true(scram_keys(SASL_SHA256, salted, key, stored, server_key));
    assert_true(scram_hmac(SASL_SHA256, stored, vr_str_from(auth_message), signature));
    for (size_t i = 0; i < 32; i++)
        signature[i] ^= key[i];
    vr_base64_encode(&text, vr_str((const char *)signature, 32));
    assert_str(vr_buf_str(&text), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    vr_buf_reset(&text);
    assert_true(scram_hmac(SASL_SHA256, server_key, vr_str_from(auth_message), signature));
    vr_base64_encode(&text, vr_str((const char *)signature, 32));
    assert_str(vr_buf_str(&text), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");

    struct sasl_scram_keys keys; /* what is stored of the same password and salt */
    assert_int_equal(
        sasl_scram_derive(SASL_SHA256, VR_STR("pencil"), (const uint8_t *)vr_buf_str(&bytes).p, 4096, &keys),
        VR_OK);
    assert_memory_equal(keys.stored_key, stored, 32);
    assert_memory_equal(keys.server_key, server_key, 32);
    assert_int_equal(keys.iterations, 4096);
    vr_buf_fini(&bytes);
    vr_buf_fini(&text);
}

static void test_derive_bounds(void **state)
{
    (void)state;
    struct sasl_scram_keys keys;
    char big[1025];
    memset(big, 'x', sizeof big);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, VR_STR("x"), salt, 4095, &keys), VR_ERR_SYNTAX);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, VR_STR(""), salt, 4096, &keys), VR_ERR_SYNTAX);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, VR_STR("a\0b"), salt, 4096, &keys), VR_ERR_SYNTAX);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, VR_STR("a\nb"), salt, 4096, &keys), VR_ERR_SYNTAX);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, VR_STR("\xff"), salt, 4096, &keys), VR_ERR_SYNTAX);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, vr_str(big, 1025), salt, 4096, &keys), VR_ERR_SYNTAX);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, vr_str(big, 1024), salt, 4096, &keys), VR_OK);
}

/* ---- one side against the other --------------------------------------------------------------------------------------- */

struct account {
    const char *user, *password;
};

/* Runs a whole exchange. The owner knows one account. What either side says may be changed on the way: message number `tampered` (from 0),
 * its last byte but `back`, is replaced. */
struct exchange {
    const char *mechanism, *user, *password;
    struct account account;
    bool no_initial; /* AUTH without initial response, although the mechanism has one */
    int tampered;
    size_t back;
    char put;
};

static void tamper(const struct exchange *e, int *number, struct vr_str *message, char *room)
{
    if ((*number)++ != e->tampered)
        return;
    assert_true(message->n > e->back && message->n <= 4096);
    memcpy(room, message->p, message->n);
    assert_int_not_equal(room[message->n - 1 - e->back], e->put);
    room[message->n - 1 - e->back] = e->put;
    message->p = room;
}

static enum sasl_step ask_owner(const struct exchange *e, struct sasl_server *s, enum sasl_step step,
                                struct vr_str *out)
{
    bool known = vr_str_equal(sasl_server_user(s), vr_str_from(e->account.user));
    struct sasl_scram_keys keys;
    if (step == SASL_NEED_PASSWORD)
        return sasl_server_password_checked(
            s, known && vr_str_equal(sasl_server_password(s), vr_str_from(e->account.password)), out);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, vr_str_from(e->account.password), salt, 4096, &keys),
                     VR_OK);
    return sasl_server_scram_keys(s, known ? &keys : NULL, out);
}

enum outcome { BOTH, SERVER_REFUSED, CLIENT_REFUSED };

static enum outcome run(const struct exchange *e)
{
    struct sasl_server *s = server(e->mechanism);
    struct sasl_client *c = client(e->mechanism, e->user, e->password);
    struct vr_str to_server = {0}, to_client;
    char room[4096];
    enum outcome outcome = CLIENT_REFUSED;
    int number = 0;
    assert_non_null(s);
    assert_non_null(c);
    bool has = !e->no_initial && sasl_client_initial(c, &to_server);
    if (has)
        tamper(e, &number, &to_server, room);
    for (int turns = 0;; turns++) {
        assert_true(turns < 8);
        enum sasl_step step = sasl_server_step(s, to_server, has, &to_client);
        while (step == SASL_NEED_PASSWORD || step == SASL_NEED_SCRAM)
            step = ask_owner(e, s, step, &to_client);
        if (step != SASL_CHALLENGE) {
            outcome = step == SASL_DONE && sasl_client_complete(c) ? BOTH : SERVER_REFUSED;
            if (step == SASL_DONE)
                assert_true(vr_str_equal(sasl_server_user(s), vr_str_from(e->account.user)));
            else
                assert_true(strlen(sasl_server_why(s)) > 10);
            assert_int_equal(sasl_server_password(s).n, 0);
            break;
        }
        if (e->tampered >= 0)
            tamper(e, &number, &to_client, room);
        has = true;
        if (sasl_client_step(c, to_client, &to_server) != VR_OK)
            break;
        if (e->tampered >= 0)
            tamper(e, &number, &to_server, room);
    }
    sasl_server_free(s);
    sasl_client_free(c);
    return outcome;
}

static void test_pairs(void **state)
{
    (void)state;
    static const char *const mechanisms[] = {"PLAIN", "LOGIN", "SCRAM-SHA-256", "scram-sha-256"};
    static const struct account accounts[] = {
        {"user", "pencil"}, {"a=b,c=2C", "p,=q"}, {"j\xc3\xb6rg", "\xc3\xbc"}, {"with blank", " "}};
    for (size_t m = 0; m < sizeof mechanisms / sizeof *mechanisms; m++)
        for (size_t a = 0; a < sizeof accounts / sizeof *accounts; a++)
            for (int no_initial = 0; no_initial < 2; no_initial++) {
                struct exchange e = {.mechanism = mechanisms[m],
                                     .user = accounts[a].user,
                                     .password = accounts[a].password,
                                     .account = accounts[a],
                                     .no_initial = no_initial,
                                     .tampered = -1};
                assert_int_equal(run(&e), BOTH);
                e.password = "another";
                assert_int_equal(run(&e), SERVER_REFUSED);
                e.password = accounts[a].password;
                e.user = "nobody";
                assert_int_equal(run(&e), SERVER_REFUSED);
            }
}

static void test_tampering(void **state)
{
    (void)state;
    static const struct {
        int message;
        size_t back;
        char put;
        enum outcome outcome;
    } rows[] = {
        {0, 0, '!', CLIENT_REFUSED},  /* the client's nonce: it comes back another */
        {1, 0, '7', SERVER_REFUSED},  /* i=4096 -> 4097: the proof is another */
        {1, 3, '1', CLIENT_REFUSED},  /* 1096: below the least */
        {1, 8, '!', CLIENT_REFUSED},  /* the salt is no base64 */
        {1, 35, '!', SERVER_REFUSED}, /* the server's half of the nonce: it is repeated so */
        {2, 4, 'x', SERVER_REFUSED},  /* the proof */
        {3, 4, 'x', CLIENT_REFUSED},  /* the server's signature */
    };
    struct account account = {"user", "pencil"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct exchange e = {.mechanism = "SCRAM-SHA-256",
                             .user = "user",
                             .password = "pencil",
                             .account = account,
                             .tampered = rows[i].message,
                             .back = rows[i].back,
                             .put = rows[i].put};
        enum outcome got = run(&e);
        if (got != rows[i].outcome)
            fail_msg("row %zu: %d", i, got);
    }
}

/* ---- the server against liars ----------------------------------------------------------------------------------------------- */

static void test_plain_messages(void **state)
{
    (void)state;
    static const struct {
        struct vr_str message;
        bool good;
    } rows[] = {
        {VR_STR_INIT("\0user\0pencil"), true},
        {VR_STR_INIT("user\0user\0pencil"), true}, /* authzid is the user: fine */
        {VR_STR_INIT("other\0user\0pencil"), false},
        {VR_STR_INIT("User\0user\0pencil"), false},
        {VR_STR_INIT(""), false},
        {VR_STR_INIT("\0"), false},
        {VR_STR_INIT("\0\0"), false},
        {VR_STR_INIT("\0user"), false},
        {VR_STR_INIT("\0user\0"), false},   /* no password */
        {VR_STR_INIT("\0\0pencil"), false}, /* no user */
        {VR_STR_INIT("user\0\0pencil"), false},
        {VR_STR_INIT("\0user\0pencil\0"), false}, /* a NUL in the password */
        {VR_STR_INIT("\0user\0pen\0cil"), false},
        {VR_STR_INIT("\0us\ner\0pencil"), false},
        {VR_STR_INIT("\0us\xff\0pencil"), false},
        {VR_STR_INIT("\0user\0pen\x7f"), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int challenged = 0; challenged < 2; challenged++) {
            struct sasl_server *s = server("PLAIN");
            struct vr_str out;
            if (challenged) {
                assert_int_equal(sasl_server_step(s, vr_str(NULL, 0), false, &out), SASL_CHALLENGE);
                assert_int_equal(out.n, 0);
            }
            enum sasl_step step = sasl_server_step(s, rows[i].message, true, &out);
            if (step != (rows[i].good ? SASL_NEED_PASSWORD : SASL_FAILED))
                fail_msg("row %zu: %d", i, step);
            if (rows[i].good) {
                assert_str(sasl_server_user(s), "user");
                assert_str(sasl_server_password(s), "pencil");
            }
            sasl_server_free(s);
        }
}

static void test_plain_lengths(void **state)
{
    (void)state;
    for (size_t user = 254; user <= 256; user++)
        for (size_t password = 1023; password <= 1025; password++) {
            char message[2 + 256 + 1025] = {0};
            memset(message + 1, 'u', user);
            memset(message + 2 + user, 'p', password);
            struct sasl_server *s = server("PLAIN");
            struct vr_str out;
            enum sasl_step step = sasl_server_step(s, vr_str(message, 2 + user + password), true, &out);
            assert_int_equal(step, user <= SASL_USER_MAX && password <= SASL_PASSWORD_MAX ? SASL_NEED_PASSWORD
                                                                                          : SASL_FAILED);
            sasl_server_free(s);
        }
}

static void test_login_messages(void **state)
{
    (void)state;
    struct vr_str out;
    struct sasl_server *s = server("LOGIN");
    assert_int_equal(sasl_server_step(s, vr_str(NULL, 0), false, &out), SASL_CHALLENGE);
    assert_str(out, "Username:");
    assert_int_equal(sasl_server_step(s, VR_STR("user"), true, &out), SASL_CHALLENGE);
    assert_str(out, "Password:");
    assert_int_equal(sasl_server_step(s, VR_STR(""), true, &out), SASL_FAILED);
    sasl_server_free(s);
    s = server("LOGIN"); /* the name as initial response */
    assert_int_equal(sasl_server_step(s, VR_STR("user"), true, &out), SASL_CHALLENGE);
    assert_str(out, "Password:");
    assert_int_equal(sasl_server_step(s, VR_STR("pencil"), true, &out), SASL_NEED_PASSWORD);
    assert_int_equal(sasl_server_password_checked(s, true, &out), SASL_DONE);
    assert_int_equal(sasl_server_password(s).n, 0);
    sasl_server_free(s);
    s = server("LOGIN");
    assert_int_equal(sasl_server_step(s, VR_STR("us\0er"), true, &out), SASL_FAILED);
    sasl_server_free(s);
}

static void test_scram_first_messages(void **state)
{
    (void)state;
    static const struct {
        struct vr_str message;
        bool good;
    } rows[] = {
        {VR_STR_INIT("n,,n=user,r=abc"), true},
        {VR_STR_INIT("y,,n=user,r=abc"), true}, /* the client could, and thinks that we cannot: so it is */
        {VR_STR_INIT("p=tls-unique,,n=user,r=abc"), false},
        {VR_STR_INIT("p=tls-exporter,,n=user,r=abc"), false},
        {VR_STR_INIT("n,a=user,n=user,r=abc"), true},
        {VR_STR_INIT("n,a=other,n=user,r=abc"), false},
        {VR_STR_INIT("n,user,n=user,r=abc"), false},
        {VR_STR_INIT("n,,m=ext,n=user,r=abc"), false}, /* reserved: must fail */
        {VR_STR_INIT("n,,n=user,r=abc,x=extension"), true},
        {VR_STR_INIT("n,,n=us=3Der,r=abc"), true},
        {VR_STR_INIT("n,,n=us=2Cer,r=abc"), true},
        {VR_STR_INIT("n,,n=us=er,r=abc"), false},
        {VR_STR_INIT("n,,n=us=2cer,r=abc"), false},
        {VR_STR_INIT("n,,n=user=,r=abc"), false},
        {VR_STR_INIT("n,,n=,r=abc"), false},
        {VR_STR_INIT("n,,n=user,r="), false},
        {VR_STR_INIT("n,,n=user,r=a\x7f"), false},
        {VR_STR_INIT("n,,n=user,r=a b"), false},
        {VR_STR_INIT("n,,n=user"), false},
        {VR_STR_INIT("n,,r=abc,n=user"), false},
        {VR_STR_INIT("n,,n=us\0er,r=abc"), false},
        {VR_STR_INIT("n,,n=\xff,r=abc"), false},
        {VR_STR_INIT("x,,n=user,r=abc"), false},
        {VR_STR_INIT("nn,,n=user,r=abc"), false},
        {VR_STR_INIT("n=user,r=abc"), false},
        {VR_STR_INIT("n,"), false},
        {VR_STR_INIT(","), false},
        {VR_STR_INIT(""), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sasl_server *s = server("SCRAM-SHA-256");
        struct vr_str out;
        enum sasl_step step = sasl_server_step(s, rows[i].message, true, &out);
        if (step != (rows[i].good ? SASL_NEED_SCRAM : SASL_FAILED))
            fail_msg("row %zu (%.*s): %d %s", i, VR_STR_ARG(rows[i].message), step, sasl_server_why(s));
        sasl_server_free(s);
    }
}

/* A server that has sent its first message to "<gs2>n=user,r=abc". */
static struct sasl_server *server_after_first(const char *gs2, struct vr_str *out)
{
    struct sasl_server *s = server("SCRAM-SHA-256");
    struct sasl_scram_keys keys;
    char first[64];
    snprintf(first, sizeof first, "%sn=user,r=abc", gs2);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, VR_STR("pencil"), salt, 4096, &keys), VR_OK);
    assert_int_equal(sasl_server_step(s, vr_str_from(first), true, out), SASL_NEED_SCRAM);
    assert_int_equal(sasl_server_scram_keys(s, &keys, out), SASL_CHALLENGE);
    return s;
}

#define NONCE "abcQUJDREVGR0hJSktMTU5PUFFS"

/* The proof for a final message, as a client that knows the password makes it. */
static void add_proof(struct vr_buf *final, const char *server_first)
{
    uint8_t salted[SASL_HASH_MAX], key[SASL_HASH_MAX], stored[SASL_HASH_MAX], server_key[SASL_HASH_MAX],
        proof[SASL_HASH_MAX];
    struct vr_buf message;
    vr_buf_init(&message, 1024);
    vr_buf_addf(&message, "n=user,r=abc,%s,%.*s", server_first, VR_STR_ARG(vr_buf_str(final)));
    assert_true(scram_salted(SASL_SHA256, VR_STR("pencil"), vr_str((const char *)salt, 16), 4096, salted));
    assert_true(scram_keys(SASL_SHA256, salted, key, stored, server_key));
    assert_true(scram_hmac(SASL_SHA256, stored, vr_buf_str(&message), proof));
    for (size_t i = 0; i < 32; i++)
        proof[i] ^= key[i];
    vr_buf_add(final, VR_STR(",p="));
    vr_base64_encode(final, vr_str((const char *)proof, 32));
    vr_buf_fini(&message);
}

static void test_scram_final_messages(void **state)
{
    (void)state;
    static const struct {
        const char *gs2, *before_proof;
        bool good;
    } rows[] = {
        {"n,,", "c=biws,r=" NONCE, true},        {"y,,", "c=eSws,r=" NONCE, true},
        {"y,,", "c=biws,r=" NONCE, false}, /* the flag was changed on the way: a downgrade */
        {"n,,", "c=eSws,r=" NONCE, false},       {"n,a=user,", "c=bixhPXVzZXIs,r=" NONCE, true},
        {"n,a=user,", "c=biws,r=" NONCE, false}, {"n,,", "c=biws,r=" NONCE ",x=extension", true},
        {"n,,", "c=biws,r=abc", false},          {"n,,", "c=biws,r=" NONCE "x", false},
        {"n,,", "c=biw,r=" NONCE, false},        {"n,,", "c=,r=" NONCE, false},
        {"n,,", "r=" NONCE ",c=biws", false},    {"n,,", "c=biws", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str out;
        struct vr_buf final;
        char server_first[128];
        struct sasl_server *s = server_after_first(rows[i].gs2, &out);
        snprintf(server_first, sizeof server_first, "%.*s", VR_STR_ARG(out));
        assert_string_equal(server_first, "r=" NONCE ",s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096");
        vr_buf_init(&final, 1024);
        vr_buf_add(&final, vr_str_from(rows[i].before_proof));
        add_proof(&final, server_first);
        enum sasl_step step = sasl_server_step(s, vr_buf_str(&final), true, &out);
        if (step != (rows[i].good ? SASL_CHALLENGE : SASL_FAILED))
            fail_msg("row %zu: %d %s", i, step, sasl_server_why(s));
        if (rows[i].good) {
            assert_true(vr_str_starts(out, VR_STR("v=")));
            assert_int_equal(sasl_server_step(s, vr_str("", 0), true, &out), SASL_DONE);
        }
        vr_buf_fini(&final);
        sasl_server_free(s);
    }
}

static void test_scram_bad_proofs(void **state)
{
    (void)state;
    static const char *const tails[] = {"",
                                        ",p=",
                                        ",p=AAAA",
                                        ",p=%%%",
                                        ",p",
                                        ",x=AAAA",
                                        ",p=AAAA,x",
                                        ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                                        ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        struct vr_str out;
        char final[256];
        struct sasl_server *s = server_after_first("n,,", &out);
        snprintf(final, sizeof final, "c=biws,r=" NONCE "%s", tails[i]);
        assert_int_equal(sasl_server_step(s, vr_str_from(final), true, &out), SASL_FAILED);
        sasl_server_free(s);
    }
}

static void test_scram_after_the_end(void **state)
{
    (void)state;
    struct vr_str out;
    struct vr_buf final;
    struct sasl_server *s = server_after_first("n,,", &out);
    vr_buf_init(&final, 1024);
    vr_buf_add(&final, VR_STR("c=biws,r=" NONCE));
    add_proof(&final, "r=" NONCE ",s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096");
    assert_int_equal(sasl_server_step(s, vr_buf_str(&final), true, &out), SASL_CHALLENGE);
    assert_int_equal(sasl_server_step(s, VR_STR("more"), true, &out), SASL_FAILED);
    vr_buf_fini(&final);
    sasl_server_free(s);
}

/* What a stranger sees of a user who does not exist: a salt like the others', the same each time, another for another name or service. */
static void unknown_user(const char *user, const uint8_t key[16], char out[256])
{
    struct sasl_server_config config = {.nonce = "ABCDEFGHIJKLMNOPQR"};
    memcpy(config.fake_key, key, sizeof config.fake_key);
    struct sasl_server *s = sasl_server_new(VR_STR("SCRAM-SHA-256"), &config);
    struct vr_str message;
    char first[64];
    snprintf(first, sizeof first, "n,,n=%s,r=abc", user);
    assert_int_equal(sasl_server_step(s, vr_str_from(first), true, &message), SASL_NEED_SCRAM);
    assert_int_equal(sasl_server_scram_keys(s, NULL, &message), SASL_CHALLENGE);
    snprintf(out, 256, "%.*s", VR_STR_ARG(message));
    sasl_server_free(s);
}

static void test_unknown_users(void **state)
{
    (void)state;
    static const uint8_t other_key[16] = "another service!";
    char a[256], b[256];
    unknown_user("ann", fake_key, a);
    unknown_user("ann", fake_key, b);
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), strlen("r=" NONCE ",s=c2FsdHNhbHRzYWx0c2FsdA==,i=10000"));
    unknown_user("bob", fake_key, b);
    assert_string_not_equal(a, b);
    unknown_user("ann", other_key, b);
    assert_string_not_equal(a, b);
}

/* Keys of zero are no way in: a proof made for them does not hold for a user who is not there. */
static void test_unknown_user_cannot_prove(void **state)
{
    (void)state;
    struct exchange e = {.mechanism = "SCRAM-SHA-256",
                         .user = "nobody",
                         .password = "pencil",
                         .account = {"user", "pencil"},
                         .tampered = -1};
    assert_int_equal(run(&e), SERVER_REFUSED);
}

/* ---- the client against liars ------------------------------------------------------------------------------------------------ */

#define CLIENT_NONCE "YWJjZGVmZ2hpamtsbW5vcHFy"

static void test_scram_server_first(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        bool good;
    } rows[] = {
        {"r=" CLIENT_NONCE "x,s=c2FsdA==,i=4096", true},
        {"r=" CLIENT_NONCE "x,s=c2FsdA==,i=4096,x=extension", true},
        {"r=" CLIENT_NONCE ",s=c2FsdA==,i=4096", false}, /* nothing of its own */
        {"r=other,s=c2FsdA==,i=4096", false},
        {"r=" CLIENT_NONCE "x,s=,i=4096", false},
        {"r=" CLIENT_NONCE "x,s=%%,i=4096", false},
        {"r=" CLIENT_NONCE "x,s=c2FsdA==,i=4095", false},    /* cheap to guess */
        {"r=" CLIENT_NONCE "x,s=c2FsdA==,i=1000001", false}, /* keeps us computing */
        {"r=" CLIENT_NONCE "x,s=c2FsdA==,i=99999999999999999999", false},
        {"r=" CLIENT_NONCE "x,s=c2FsdA==,i=-1", false},
        {"r=" CLIENT_NONCE "x,s=c2FsdA==", false},
        {"m=x,r=" CLIENT_NONCE "x,s=c2FsdA==,i=4096", false},
        {"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", false}, /* the end before the middle */
        {"", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sasl_client *c = client("SCRAM-SHA-256", "user", "pencil");
        struct vr_str out;
        assert_true(sasl_client_initial(c, &out));
        assert_str(out, "n,,n=user,r=" CLIENT_NONCE);
        enum vr_err e = sasl_client_step(c, vr_str_from(rows[i].message), &out);
        if ((e == VR_OK) != rows[i].good)
            fail_msg("row %zu: %s", i, vr_err_name(e));
        assert_false(sasl_client_complete(c));
        sasl_client_free(c);
    }
}

static void test_scram_server_final(void **state)
{
    (void)state;
    static const char *const finals[] = {
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "v=", "v=%", "e=other-error", "", "v=AAAA"};
    for (size_t i = 0; i < sizeof finals / sizeof *finals; i++) {
        struct sasl_client *c = client("SCRAM-SHA-256", "user", "pencil");
        struct vr_str out;
        assert_true(sasl_client_initial(c, &out));
        assert_int_equal(sasl_client_step(c, VR_STR("r=" CLIENT_NONCE "x,s=c2FsdA==,i=4096"), &out), VR_OK);
        assert_int_equal(sasl_client_step(c, vr_str_from(finals[i]), &out), VR_ERR_STATE);
        assert_false(sasl_client_complete(c));
        assert_int_equal(sasl_client_step(c, VR_STR(""), &out), VR_ERR_STATE);
        sasl_client_free(c);
    }
}

static void test_client_plain_login(void **state)
{
    (void)state;
    struct vr_str out;
    struct sasl_client *c = client("PLAIN", "user", "pencil");
    assert_true(sasl_client_initial(c, &out));
    assert_str(out, "\0user\0pencil");
    assert_true(sasl_client_complete(c));
    sasl_client_free(c);
    c = client("PLAIN", "user", "pencil");
    assert_int_equal(sasl_client_step(c, VR_STR("tell me"), &out), VR_ERR_SYNTAX);
    sasl_client_free(c);
    c = client("LOGIN", "user", "pencil");
    assert_false(sasl_client_initial(c, &out));
    assert_int_equal(sasl_client_step(c, VR_STR("User Name\0"), &out), VR_OK);
    assert_str(out, "user");
    assert_false(sasl_client_complete(c));
    assert_int_equal(sasl_client_step(c, VR_STR("Password\0"), &out), VR_OK);
    assert_str(out, "pencil");
    assert_true(sasl_client_complete(c));
    assert_int_equal(sasl_client_step(c, VR_STR("Again:"), &out), VR_ERR_STATE);
    sasl_client_free(c);
}

static void test_not_made(void **state)
{
    (void)state;
    assert_null(server("GSSAPI"));
    assert_null(client("SCRAM-SHA-256-PLUS", "user", "pencil")); /* nothing to bind to */
    assert_null(server(""));
    assert_null(client("GSSAPI", "user", "pencil"));
    assert_null(client("PLAIN", "", "pencil"));
    assert_null(client("PLAIN", "user", ""));
    assert_null(client("PLAIN", "us\ner", "pencil"));
    assert_null(client("PLAIN", "user", "\xc3"));
    assert_null(sasl_client_new(
        VR_STR("PLAIN"), &(struct sasl_client_config){.user = VR_STR("us\0er"), .password = VR_STR("p")}));
    sasl_server_free(NULL);
    sasl_client_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_example),
        cmocka_unit_test(test_derive_bounds),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_tampering),
        cmocka_unit_test(test_plain_messages),
        cmocka_unit_test(test_plain_lengths),
        cmocka_unit_test(test_login_messages),
        cmocka_unit_test(test_scram_first_messages),
        cmocka_unit_test(test_scram_final_messages),
        cmocka_unit_test(test_scram_bad_proofs),
        cmocka_unit_test(test_scram_after_the_end),
        cmocka_unit_test(test_unknown_users),
        cmocka_unit_test(test_unknown_user_cannot_prove),
        cmocka_unit_test(test_scram_server_first),
        cmocka_unit_test(test_scram_server_final),
        cmocka_unit_test(test_client_plain_login),
        cmocka_unit_test(test_not_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
