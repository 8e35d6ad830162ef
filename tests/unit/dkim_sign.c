/* dkim_sign.c - making signatures: they verify, nothing can be added, the layout of the field, keys. */
#include "auth_testing.h"

static struct dkim_key *rsa, *ed25519;

static int keys_setup(void **state)
{
    (void)state;
    const char *why = NULL;
    assert_int_equal(dkim_key_load(VR_STR(RSA_SECRET), &rsa, &why), VR_OK);
    assert_null(why);
    assert_int_equal(dkim_key_load(VR_STR(ED25519_SECRET), &ed25519, &why), VR_OK);
    assert_null(why);
    return 0;
}

static int keys_teardown(void **state)
{
    (void)state;
    dkim_key_free(rsa);
    dkim_key_free(ed25519);
    dkim_key_free(NULL);
    return 0;
}

static struct dkim_signer signer(const struct dkim_key *key)
{
    return (struct dkim_signer){.domain = VR_STR("football.example.com"),
                                .selector = key == rsa ? VR_STR("test") : VR_STR("brisbane"),
                                .algorithm = dkim_key_algorithm(key),
                                .header_canon = MAIL_CANON_RELAXED,
                                .body_canon = MAIL_CANON_RELAXED,
                                .time = NOW};
}

/* The field, with its line end. */
static struct vr_str field_for(const struct mail_digest *d, const struct dkim_key *key,
                               const struct dkim_signer *s, struct vr_str added)
{
    struct dkim_unsigned u;
    struct vr_str signature;
    struct vr_buf out;
    vr_buf_init(&out, 65536);
    assert_int_equal(dkim_sign_prepare(d, s, added, &arena, &u), VR_OK);
    assert_int_equal(dkim_key_sign(key, u.digest, &arena, &signature), VR_OK);
    assert_true(dkim_sign_finish(&u, signature, &out));
    struct vr_str field = vr_arena_dup(&arena, vr_buf_str(&out));
    vr_buf_fini(&out);
    return field;
}

static struct vr_str signed_by(const struct dkim_key *key, const struct dkim_signer *s, struct vr_str message)
{
    struct mail_digest *d = digest_of(message, 0);
    struct vr_str field = field_for(d, key, s, vr_str(NULL, 0));
    mail_digest_free(d);
    return vr_arena_printf(&arena, "%.*s%.*s", VR_STR_ARG(field), VR_STR_ARG(message));
}

static void assert_lines(struct vr_str field)
{
    struct vr_str line;
    bool first = true;
    while (vr_str_split(&field, '\n', &line)) {
        assert_true(line.n <= 78 + 1 && line.n > 2 && line.p[line.n - 1] == '\r');
        assert_true(first || line.p[0] == ' ');
        assert_true(vr_str_trim(line).n > 0 && line.p[line.n - 2] != ' ');
        first = false;
    }
}

/* ---- what is signed verifies ---------------------------------------------------------------------------------------------------- */

static void all_forms_verify(void **state)
{
    (void)state;
    const struct dkim_key *const both[] = {rsa, ed25519};
    for (size_t k = 0; k < 2; k++)
        for (int form = 0; form < 4; form++) {
            struct dkim_signer s = signer(both[k]);
            s.header_canon = (enum mail_canon)(form & 1);
            s.body_canon = (enum mail_canon)(form >> 1);
            struct vr_str message = signed_by(both[k], &s, vr_str_from(MESSAGE));
            struct dkim_result r = verify(message, keys);
            assert_int_equal(r.signature_count, 1);
            assert_verdict(&r.signatures[0], DKIM_PASS, "");
            assert_int_equal(r.signatures[0].time, NOW);
            assert_lines(vr_str_sub(message, 0, message.n - sizeof MESSAGE + 1));
            assert_true(
                vr_str_equal(message, signed_by(both[k], &s, vr_str_from(MESSAGE)))); /* the same each time */
            /* blanks: relaxed forms do not care, simple ones do */
            r = verify(replaced(message, "Is dinner", VR_STR("Is  dinner")), keys);
            assert_int_equal(r.signatures[0].verdict,
                             s.header_canon == MAIL_CANON_RELAXED ? DKIM_PASS : DKIM_FAIL);
            r = verify(replaced(message, "Hi.", VR_STR("Hi. ")), keys);
            assert_int_equal(r.signatures[0].verdict,
                             s.body_canon == MAIL_CANON_RELAXED ? DKIM_PASS : DKIM_FAIL);
            r = verify(replaced(message, "Hi.", VR_STR("Ho.")), keys);
            assert_int_equal(r.signatures[0].verdict, DKIM_FAIL);
            r = verify(replaced(message, "Is dinner", VR_STR("is dinner")), keys);
            assert_int_equal(r.signatures[0].verdict, DKIM_FAIL);
        }
}

/* Two signatures of one pass over the message (RFC 8463 §6). */
static void dual_signatures(void **state)
{
    (void)state;
    struct mail_digest *d = digest_of(vr_str_from(MESSAGE), 1);
    struct dkim_signer a = signer(rsa), b = signer(ed25519);
    struct vr_str first = field_for(d, rsa, &a, vr_str(NULL, 0)), second = field_for(d, ed25519, &b, first);
    mail_digest_free(d);
    struct dkim_result r =
        verify(vr_arena_printf(&arena, "%.*s%.*s%s", VR_STR_ARG(second), VR_STR_ARG(first), MESSAGE), keys);
    assert_int_equal(r.signature_count, 2);
    assert_verdict(&r.signatures[0], DKIM_PASS, "");
    assert_verdict(&r.signatures[1], DKIM_PASS, "");
    assert_int_equal(r.signatures[0].algorithm, DKIM_ED25519_SHA256);
}

static void no_body_no_line_end(void **state)
{
    (void)state;
    static const char *const messages[] = {"From: a\r\n\r\n", "From: a\r\n", "From: a", "From: a\r\n\r\nx",
                                           "From: a\r\n\r\n\r\n\r\n \r\n"};
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        for (int form = 0; form < 4; form++) {
            struct dkim_signer s = signer(ed25519);
            s.header_canon = (enum mail_canon)(form & 1);
            s.body_canon = (enum mail_canon)(form >> 1);
            struct dkim_result r = verify(signed_by(ed25519, &s, vr_str_from(messages[i])), keys);
            assert_verdict(&r.signatures[0], DKIM_PASS, "");
        }
}

/* ---- which fields ------------------------------------------------------------------------------------------------------------------ */

static void what_may_be_added(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        bool may;
    } rows[] = {
        {"From: other@example.com\r\n", false},
        {"Subject: other\r\n", false},
        {"To: other@example.com\r\n", false},
        {"Cc: other@example.com\r\n", false}, /* there was none */
        {"Reply-To: other@example.com\r\n", false},
        {"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\n", false},
        {"Message-ID: <x@y>\r\n", false},
        {"MIME-Version: 1.0\r\n", false},
        {"Content-Type: text/html\r\n", false},
        {"Content-Transfer-Encoding: base64\r\n", false},
        {"In-Reply-To: <x@y>\r\n", false},
        {"References: <x@y>\r\n", false},
        {"Received: from a by b\r\n", true},
        {"Return-Path: <a@b>\r\n", true},
        {"List-Id: <a.b>\r\n", true},
        {"List-Unsubscribe: <mailto:a@b>\r\n", true},
        {"Sender: list@example.com\r\n", true},
        {"Resent-From: a@b\r\n", true},
        {"Authentication-Results: b; none\r\n", true},
        {"X-Spam-Status: no\r\n", true},
    };
    struct dkim_signer s = signer(ed25519);
    struct vr_str message = signed_by(ed25519, &s, vr_str_from(MESSAGE));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dkim_result r =
            verify(vr_arena_printf(&arena, "%s%.*s", rows[i].field, VR_STR_ARG(message)), keys);
        if (r.signatures[0].verdict != (rows[i].may ? DKIM_PASS : DKIM_FAIL))
            fail_msg("%s: %s", rows[i].field, dkim_verdict_name(r.signatures[0].verdict));
    }
}

static void present_fields_are_signed(void **state)
{
    (void)state;
    static const char header[] = "Received: x\r\nList-Id: <l.example>\r\nList-Unsubscribe: "
                                 "<mailto:u@l.example>\r\nSender: s@l.example\r\nResent-To: r@x\r\n"
                                 "Resent-To: q@x\r\nReferences: <1@x>\r\nComments: none\r\nFrom: a@b\r\n\r\n";
    struct dkim_signer s = signer(ed25519);
    struct vr_str message = signed_by(ed25519, &s, vr_str_from(header));
    static const char *const changes[][2] = {{"<l.example>", "<m.example>"},
                                             {"u@l", "v@l"},
                                             {"s@l", "t@l"},
                                             {"r@x", "z@x"},
                                             {"q@x", "z@x"},
                                             {"1@x", "2@x"}};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(
            verify(replaced(message, changes[i][0], vr_str_from(changes[i][1])), keys).signatures[0].verdict,
            DKIM_FAIL);
    static const char *const harmless[][2] = {{"Received: x", "Received: y"},
                                              {"Comments: none", "Comments: some"}};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(verify(replaced(message, harmless[i][0], vr_str_from(harmless[i][1])), keys)
                             .signatures[0]
                             .verdict,
                         DKIM_PASS);
    struct vr_str h = header_unfold(&arena, vr_str_from_pos(message, vr_str_find_str(message, VR_STR("h="))));
    assert_true(vr_str_starts(h, VR_STR("h=From:From:Sender:Reply-To:To:Cc:Subject:")) &&
                has(h, "Resent-To:"));
}

/* Fields that were put on top while the message was under way, as they will stand. */
static void added_fields(void **state)
{
    (void)state;
    struct mail_digest *d = digest_of(VR_STR("To: b@example.net\r\nSubject: x\r\n\r\nbody\r\n"), 4);
    struct dkim_signer s = signer(ed25519);
    struct dkim_unsigned u;
    assert_int_equal(dkim_sign_prepare(d, &s, vr_str(NULL, 0), &arena, &u), VR_ERR_SYNTAX); /* no From */
    struct vr_str added = VR_STR(
        "Received: by us\r\nFrom: a@football.example.com\r\nDate: Fri, 11 Jul 2003\r\n 21:00:37 -0700\r\n");
    struct vr_str field = field_for(d, ed25519, &s, added);
    struct vr_str rest = VR_STR("To: b@example.net\r\nSubject: x\r\n\r\nbody\r\n");
    struct dkim_result r = verify(
        vr_arena_printf(&arena, "%.*s%.*s%.*s", VR_STR_ARG(field), VR_STR_ARG(added), VR_STR_ARG(rest)),
        keys);
    assert_verdict(&r.signatures[0], DKIM_PASS, "");
    mail_digest_free(d);
}

static void a_list_of_ones_own(void **state)
{
    (void)state;
    const struct vr_str names[] = {VR_STR("from"), VR_STR("X-Thing"), VR_STR("SUBJECT"), VR_STR("x-thing")};
    struct dkim_signer s = signer(ed25519);
    s.fields = names;
    s.field_count = 4;
    struct vr_str message =
        signed_by(ed25519, &s, VR_STR("X-Thing: 1\r\nX-Thing: 2\r\nFrom: a\r\nSubject: s\r\nTo: t\r\n\r\n"));
    assert_true(has(message, "h=from:X-Thing:SUBJECT:x-thing;"));
    assert_verdict(&verify(message, keys).signatures[0], DKIM_PASS, "");
    assert_int_equal(verify(replaced(message, "To: t", VR_STR("To: u")), keys).signatures[0].verdict,
                     DKIM_PASS);
    assert_int_equal(verify(replaced(message, "Thing: 1", VR_STR("Thing: 3")), keys).signatures[0].verdict,
                     DKIM_FAIL);
    static const struct {
        const char *names[3];
        size_t count;
    } wrong[] = {{{"Subject"}, 1},     {{"From", "Sub ject"}, 2}, {{"From", ""}, 2}, {{"From", "a:b"}, 2},
                 {{"From", "a;b"}, 2}, {{"From", "\xc3\xbc"}, 2}, {{NULL}, 0}};
    struct mail_digest *d = digest_of(vr_str_from(MESSAGE), SIZE_MAX);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct vr_str list[3] = {vr_str_from(wrong[i].names[0]), vr_str_from(wrong[i].names[1]), {0}};
        struct dkim_unsigned u;
        s.fields = list;
        s.field_count = wrong[i].count;
        assert_int_equal(dkim_sign_prepare(d, &s, vr_str(NULL, 0), &arena, &u), VR_ERR_SYNTAX);
    }
    mail_digest_free(d);
}

/* ---- tags ----------------------------------------------------------------------------------------------------------------------------- */

static void tags_of_the_field(void **state)
{
    (void)state;
    struct dkim_signer s = signer(ed25519);
    s.lifetime = 3600;
    s.identity = VR_STR("joe; the=man@mail.football.example.com");
    struct vr_str message = signed_by(ed25519, &s, vr_str_from(MESSAGE));
    struct dkim_result r = verify(message, keys);
    assert_verdict(&r.signatures[0], DKIM_PASS, "");
    assert_text(r.signatures[0].i, "joe; the=man@mail.football.example.com");
    assert_int_equal(r.signatures[0].expires, NOW + 3600);
    assert_true(vr_str_starts(message, VR_STR("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n "
                                              "d=football.example.com; s=brisbane;")));
    assert_true(has(message, "i=joe=3B=20the=3Dman@mail.football.example.com;"));
    s = signer(ed25519);
    s.time = -1;
    s.lifetime = 3600; /* from when? */
    message = signed_by(ed25519, &s, vr_str_from(MESSAGE));
    assert_false(has(message, " t=") || has(message, " x=") || has(message, " i="));
    s.domain = VR_STR("B\xc3\xbc"
                      "cher.example");
    s.identity = VR_STR("j\xc3\xb6rg@b\xc3\xbc"
                        "cher.example");
    message = signed_by(ed25519, &s, vr_str_from(MESSAGE));
    assert_true(has(message, "d=xn--bcher-kva.example;") &&
                has(message, "i=j\xc3\xb6rg@xn--bcher-kva.example;"));
    const struct zone zone[] = {{"brisbane._domainkey.xn--bcher-kva.example", "k=ed25519; p=" ED25519_PUBLIC},
                                {NULL, NULL}};
    assert_verdict(&verify(message, zone).signatures[0], DKIM_PASS, "");
}

static void long_names_are_folded(void **state)
{
    (void)state;
    struct dkim_signer s = signer(rsa);
    s.domain =
        VR_STR("a-rather-long-label-of-a-domain-name.and-another-one-that-makes-it-longer.example.com");
    s.selector = VR_STR("a-selector-with-a-name-that-is-nearly-as-long-as-a-label-can-be");
    struct vr_str message = signed_by(rsa, &s, vr_str_from(MESSAGE));
    struct vr_str name =
        vr_arena_printf(&arena, "%.*s._domainkey.%.*s", VR_STR_ARG(s.selector), VR_STR_ARG(s.domain));
    const struct zone zone[] = {{name.p, "p=" RSA_PUBLIC}, {NULL, NULL}};
    assert_verdict(&verify(message, zone).signatures[0], DKIM_PASS, "");
    struct vr_str line;
    while (vr_str_split(&message, '\n', &line) && !vr_str_starts(line, VR_STR("From:")))
        assert_true(line.n <= 90); /* a name is not broken */
}

/* ---- what is refused -------------------------------------------------------------------------------------------------------------------- */

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *domain, *selector, *identity;
        enum dkim_algorithm algorithm;
        enum vr_err error;
    } rows[] = {
        {"football.example.com", "test", "", DKIM_RSA_SHA256, VR_OK},
        {"com", "test", "", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"", "test", "", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"foot ball.example.com", "test", "", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"football.example.com;x=1", "test", "", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"football.example.com\r\nX: y", "test", "", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"football.example.com", "", "", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"football.example.com", "a..b", "", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"football.example.com", "test", "joe", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"football.example.com", "test", "joe@example.com", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"football.example.com", "test", "joe@xfootball.example.com", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"football.example.com", "test", "\xff@football.example.com", DKIM_RSA_SHA256, VR_ERR_SYNTAX},
        {"football.example.com", "test", "", DKIM_RSA_SHA1, VR_ERR_UNSUPPORTED},
        {"football.example.com", "test", "", DKIM_ALGORITHM_UNKNOWN, VR_ERR_UNSUPPORTED},
    };
    struct mail_digest *d = digest_of(vr_str_from(MESSAGE), SIZE_MAX);
    struct dkim_unsigned u;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dkim_signer s = {.domain = vr_str_from(rows[i].domain),
                                .selector = vr_str_from(rows[i].selector),
                                .identity = vr_str_from(rows[i].identity),
                                .algorithm = rows[i].algorithm};
        if (dkim_sign_prepare(d, &s, vr_str(NULL, 0), &arena, &u) != rows[i].error)
            fail_msg("row %zu", i);
    }
    struct dkim_signer s = signer(rsa);
    struct vr_buf small;
    assert_int_equal(dkim_sign_prepare(d, &s, vr_str(NULL, 0), &arena, &u), VR_OK);
    vr_buf_init(&small, 100);
    assert_false(dkim_sign_finish(&u, VR_STR("signature"), &small));
    assert_int_equal(vr_buf_size(&small), 0);
    vr_buf_fini(&small);
    vr_buf_init(&small, 100000);
    assert_false(dkim_sign_finish(&u, vr_str(NULL, 0), &small));
    vr_buf_fini(&small);
    mail_digest_free(d);
    d = mail_digest_new(&(struct mail_digest_config){.sign = {[MAIL_CANON_SIMPLE] = true}});
    mail_digest_feed(d, vr_str_from(MESSAGE));
    assert_int_equal(dkim_sign_prepare(d, &s, vr_str(NULL, 0), &arena, &u), VR_ERR_STATE); /* not ended */
    mail_digest_end(d);
    assert_int_equal(dkim_sign_prepare(d, &s, vr_str(NULL, 0), &arena, &u),
                     VR_ERR_STATE); /* not hashed in this form */
    s.body_canon = MAIL_CANON_SIMPLE;
    assert_int_equal(dkim_sign_prepare(d, &s, vr_str(NULL, 0), &arena, &u), VR_OK);
    for (size_t size = 0; size < 20000; size += 500) {
        struct vr_arena little;
        vr_arena_init(&little, size);
        enum vr_err e = dkim_sign_prepare(d, &s, vr_str(NULL, 0), &little, &u);
        assert_true(e == VR_OK || e == VR_ERR_TOO_BIG);
        vr_arena_fini(&little);
    }
    mail_digest_free(d);
}

/* ---- keys --------------------------------------------------------------------------------------------------------------------------------- */

static struct vr_str der_of(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int n = i2d_PrivateKey(key, &der);
    assert_true(n > 0);
    struct vr_str out = vr_arena_dup(&arena, vr_str((char *)der, (size_t)n));
    OPENSSL_free(der);
    return out;
}

static struct vr_str pkcs8_of(EVP_PKEY *key, bool pem, const char *passphrase)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL;
    int n = (int)strlen(passphrase);
    const EVP_CIPHER *cipher = n > 0 ? EVP_aes_128_cbc() : NULL;
    if (pem)
        assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, passphrase, n, NULL, NULL), 1);
    else
        assert_int_equal(i2d_PKCS8PrivateKey_bio(bio, key, cipher, passphrase, n, NULL, NULL), 1);
    long size = BIO_get_mem_data(bio, &data);
    struct vr_str out = vr_arena_dup(&arena, vr_str(data, (size_t)size));
    BIO_free(bio);
    return out;
}

static void forms_of_keys(void **state)
{
    (void)state;
    EVP_PKEY *ed = ed25519_key(), *weak = EVP_RSA_gen(512), *good = EVP_RSA_gen(2048),
             *curve = EVP_EC_gen("P-256");
    struct vr_buf raw;
    vr_buf_init(&raw, 64);
    vr_base64_decode(&raw, VR_STR(ED25519_SECRET));
    const struct {
        struct vr_str text;
        enum vr_err error;
        enum dkim_algorithm algorithm;
        unsigned bits;
        const char *why;
    } rows[] = {
        {VR_STR(RSA_SECRET), VR_OK, DKIM_RSA_SHA256, 1024, NULL},
        {der_of(good), VR_OK, DKIM_RSA_SHA256, 2048, NULL},
        {pkcs8_of(good, true, ""), VR_OK, DKIM_RSA_SHA256, 2048, NULL},
        {pkcs8_of(good, false, ""), VR_OK, DKIM_RSA_SHA256, 2048, NULL},
        {pkcs8_of(ed, true, ""), VR_OK, DKIM_ED25519_SHA256, 256, NULL},
        {pkcs8_of(ed, false, ""), VR_OK, DKIM_ED25519_SHA256, 256, NULL},
        {vr_buf_str(&raw), VR_OK, DKIM_ED25519_SHA256, 256, NULL},
        {VR_STR(ED25519_SECRET "\n"), VR_OK, DKIM_ED25519_SHA256, 256, NULL},
        {pkcs8_of(good, true, "secret"), VR_ERR_SYNTAX, 0, 0, "passphrase"},
        {der_of(weak), VR_ERR_UNSUPPORTED, 0, 0, "fewer than 1024"},
        {der_of(curve), VR_ERR_UNSUPPORTED, 0, 0, "neither RSA nor Ed25519"},
        {VR_STR(""), VR_ERR_SYNTAX, 0, 0, "no private key"},
        {VR_STR("v=DKIM1; p=" RSA_PUBLIC), VR_ERR_SYNTAX, 0, 0, "no private key"},
        {VR_STR("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"), VR_ERR_SYNTAX, 0,
         0, "no private key"},
        {VR_STR("AAAA"), VR_ERR_SYNTAX, 0, 0, "no private key"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dkim_key *k = NULL;
        const char *why = NULL;
        if (dkim_key_load(rows[i].text, &k, &why) != rows[i].error)
            fail_msg("row %zu: %s", i, why);
        assert_true((k != NULL) == (rows[i].error == VR_OK) && (why == NULL) == (rows[i].error == VR_OK));
        if (k == NULL) {
            assert_true(has(vr_str_from(why), rows[i].why));
            continue;
        }
        assert_int_equal(dkim_key_algorithm(k), rows[i].algorithm);
        assert_int_equal(dkim_key_bits(k), rows[i].bits);
        dkim_key_free(k);
    }
    assert_int_equal(ERR_peek_error(), 0); /* OpenSSL's list is as it was */
    vr_buf_fini(&raw);
    EVP_PKEY_free(ed);
    EVP_PKEY_free(weak);
    EVP_PKEY_free(good);
    EVP_PKEY_free(curve);
}

static void records_of_keys(void **state)
{
    (void)state;
    struct vr_buf out;
    vr_buf_init(&out, 4096);
    assert_true(dkim_key_record(ed25519, &out));
    assert_text(vr_buf_str(&out), "v=DKIM1; k=ed25519; p=" ED25519_PUBLIC);
    vr_buf_reset(&out);
    assert_true(dkim_key_record(rsa, &out));
    assert_text(vr_buf_str(&out), "v=DKIM1; k=rsa; p=" RSA_PUBLIC);
    vr_buf_fini(&out);
    vr_buf_init(&out, 20);
    assert_false(dkim_key_record(rsa, &out));
    vr_buf_fini(&out);
}

/* What is written is read again as the same key. */
static void keys_as_pem(void **state)
{
    (void)state;
    const struct dkim_key *const both[] = {ed25519, rsa};
    for (size_t i = 0; i < 2; i++) {
        struct dkim_key *again;
        struct vr_buf pem, one, two;
        const char *why;
        vr_buf_init(&pem, 8192);
        vr_buf_init(&one, 4096);
        vr_buf_init(&two, 4096);
        assert_true(dkim_key_pem(both[i], &pem));
        assert_true(vr_str_starts(vr_buf_str(&pem), VR_STR("-----BEGIN PRIVATE KEY-----\n")));
        assert_int_equal(dkim_key_load(vr_buf_str(&pem), &again, &why), VR_OK);
        assert_true(dkim_key_record(both[i], &one) && dkim_key_record(again, &two));
        assert_true(vr_str_equal(vr_buf_str(&one), vr_buf_str(&two)));
        dkim_key_free(again);
        vr_buf_fini(&pem);
        vr_buf_init(&pem, 40);
        assert_false(dkim_key_pem(both[i], &pem));
        vr_buf_fini(&pem);
        vr_buf_fini(&one);
        vr_buf_fini(&two);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

/* RSA by PKCS #1 v1.5 and Ed25519 both give one signature for one digest. */
static void the_signature_is_deterministic(void **state)
{
    (void)state;
    struct vr_str one, two, other;
    uint8_t digest[DKIM_DIGEST] = {1, 2, 3};
    assert_int_equal(dkim_key_sign(ed25519, digest, &arena, &one), VR_OK);
    assert_int_equal(dkim_key_sign(ed25519, digest, &arena, &two), VR_OK);
    assert_int_equal(one.n, 64);
    assert_true(vr_str_equal(one, two));
    assert_int_equal(dkim_key_sign(rsa, digest, &arena, &one), VR_OK);
    assert_int_equal(dkim_key_sign(rsa, digest, &arena, &two), VR_OK);
    assert_int_equal(one.n, 128);
    assert_true(vr_str_equal(one, two));
    digest[0]++;
    assert_int_equal(dkim_key_sign(rsa, digest, &arena, &other), VR_OK);
    assert_false(vr_str_equal(one, other));
    struct vr_arena none;
    vr_arena_init(&none, 10);
    assert_int_equal(dkim_key_sign(rsa, digest, &none, &other), VR_ERR_TOO_BIG);
    vr_arena_fini(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(all_forms_verify),
        T(dual_signatures),
        T(no_body_no_line_end),
        T(what_may_be_added),
        T(present_fields_are_signed),
        T(added_fields),
        T(a_list_of_ones_own),
        T(tags_of_the_field),
        T(long_names_are_folded),
        T(refusals),
        T(forms_of_keys),
        T(records_of_keys),
        T(keys_as_pem),
        T(the_signature_is_deterministic),
    };
    return cmocka_run_group_tests(tests, keys_setup, keys_teardown);
}
