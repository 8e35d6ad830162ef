/* dkim_verify.c - DKIM signatures from the RFCs and made by hand: verdicts, errors, key records, questions, splits. */
#include "auth_testing.h"

#define RSA_FIELD_TEMPLATE                                                                                   \
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com; "                     \
    "i=@football.example.com;\r\n q=dns/txt; s=test; t=1528637909; "                                         \
    "h=from : to : subject :\r\n date : message-id : from : subject : date;\r\n bh=$BH;\r\n b=$B"

static EVP_PKEY *ed25519, *rsa;

static int keys_setup(void **state)
{
    (void)state;
    BIO *bio = BIO_new_mem_buf(RSA_SECRET, -1);
    rsa = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    ed25519 = ed25519_key();
    return rsa != NULL ? 0 : -1;
}

static int keys_teardown(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ed25519);
    return 0;
}

/* ---- the examples of the RFCs --------------------------------------------------------------------------------------------------- */

/* RFC 6376 appendix A.2; as it was signed: six blanks in the folding, one behind "game." */
static const char rfc6376[] = "DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;\r\n"
                              "      c=simple/simple; q=dns/txt; i=joe@football.example.com;\r\n"
                              "      h=Received : From : To : Subject : Date : Message-ID;\r\n"
                              "      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
                              "      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB\r\n"
                              "      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut\r\n"
                              "      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV\r\n"
                              "      4bmp/YzhwvcubU4=;\r\n"
                              "Received: from client1.football.example.com  [192.0.2.1]\r\n"
                              "      by submitserver.example.com with SUBMISSION;\r\n"
                              "      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)\r\n"
                              "From: Joe SixPack <joe@football.example.com>\r\n"
                              "To: Suzie Q <suzie@shopping.example.net>\r\n"
                              "Subject: Is dinner ready?\r\n"
                              "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
                              "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
                              "\r\n"
                              "Hi.\r\n\r\nWe lost the game. Are you hungry yet?\r\n\r\nJoe.\r\n";

/* appendix C */
static const struct zone rfc6376_zone[] = {
    {"brisbane._domainkey.example.com", "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQ"
                                        "KBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt"
                                        "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v"
                                        "/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi"
                                        "tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"},
    {NULL, NULL},
};

static void rfc6376_appendix_a(void **state)
{
    (void)state;
    struct dkim_result r = verify(vr_str_from(rfc6376), rfc6376_zone);
    assert_int_equal(r.signature_count, 1);
    assert_verdict(&r.signatures[0], DKIM_PASS, "");
    assert_text(r.signatures[0].domain, "example.com");
    assert_text(r.signatures[0].i, "joe@football.example.com");
    assert_text(r.signatures[0].b, "AuUoFEfD");
    assert_int_equal(r.signatures[0].key_bits, 1024);
    assert_int_equal(r.signatures[0].time, -1);
    struct vr_str changed = replaced(vr_str_from(rfc6376), "dinner ready", VR_STR("Dinner ready"));
    r = verify(changed, rfc6376_zone);
    assert_verdict(&r.signatures[0], DKIM_FAIL, "signature does not match");
    changed = replaced(vr_str_from(rfc6376), "hungry", VR_STR("angry"));
    r = verify(changed, rfc6376_zone);
    assert_verdict(&r.signatures[0], DKIM_FAIL, "body's hash does not match");
    /* new fields on top, and empty lines at the end, change nothing */
    changed = vr_arena_printf(&arena, "Received: by us\r\n%s\r\n\r\n", rfc6376);
    assert_verdict(&verify(changed, rfc6376_zone).signatures[0], DKIM_PASS, "");
}

/* RFC 8463 appendix A.3 */
#define RFC8463                                                                                              \
    "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"                                          \
    " d=football.example.com; i=@football.example.com;\r\n"                                                  \
    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"                                                \
    " subject : date : message-id : from : subject : date;\r\n"                                              \
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"                                                  \
    " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n"                                        \
    " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n"                                                                  \
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"                                              \
    " d=football.example.com; i=@football.example.com;\r\n"                                                  \
    " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"                                          \
    " date : message-id : from : subject : date;\r\n"                                                        \
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"                                                  \
    " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"                                        \
    " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"                                        \
    " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n" MESSAGE

static void rfc8463_appendix_a(void **state)
{
    (void)state;
    struct vr_str message = vr_str_from(RFC8463);
    for (size_t piece = 1; piece <= message.n; piece += piece < 20 ? 1 : 97) {
        struct mail_digest *d = digest_of(message, piece);
        struct dkim_result r = verify_with(d, (struct dkim_query){.now = NOW}, keys);
        assert_int_equal(r.signature_count, 2);
        for (size_t i = 0; i < 2; i++) {
            assert_verdict(&r.signatures[i], DKIM_PASS, "");
            assert_text(r.signatures[i].domain, "football.example.com");
            assert_text(r.signatures[i].d, "football.example.com");
            assert_text(r.signatures[i].i, "@football.example.com");
            assert_int_equal(r.signatures[i].time, 1528637909);
            assert_int_equal(r.signatures[i].expires, -1);
        }
        assert_text(r.signatures[0].a, "ed25519-sha256");
        assert_text(r.signatures[0].s, "brisbane");
        assert_text(r.signatures[0].b, "/gCrinpc");
        assert_int_equal(r.signatures[0].algorithm, DKIM_ED25519_SHA256);
        assert_int_equal(r.signatures[1].algorithm, DKIM_RSA_SHA256);
        assert_int_equal(r.signatures[1].key_bits, 1024);
        mail_digest_free(d);
    }
    /* the slow way gives the RFC's own signatures, so it may be held against the library */
    struct vr_str slow = slow_signed(rsa, EVP_sha256(), RSA_FIELD_TEMPLATE,
                                     "from:to:subject:date:message-id:from:subject:date", true, true,
                                     SIZE_MAX, vr_str_from(MESSAGE));
    assert_true(has(slow, "bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="));
    assert_true(has(
        slow, "b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tF"));
}

/* ---- every split gives the same -------------------------------------------------------------------------------------------------- */

static struct vr_str told(const struct dkim_result *r)
{
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    for (size_t i = 0; i < r->signature_count; i++) {
        const struct dkim_signature *s = &r->signatures[i];
        vr_buf_addf(&b, "%s (%.*s) %.*s %.*s %.*s %u %llu;", dkim_verdict_name(s->verdict),
                    VR_STR_ARG(s->reason), VR_STR_ARG(s->d), VR_STR_ARG(s->s), VR_STR_ARG(s->b), s->key_bits,
                    (unsigned long long)s->unsigned_body);
    }
    struct vr_str out = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return out;
}

/* simple and relaxed, both hashes, and three l=: all at once, in all cuts into two. */
static void every_split(void **state)
{
    (void)state;
    struct vr_str message = VR_STR("From: a@football.example.com\r\nSubject:  x\r\n y\r\n\r\n one \t two "
                                   "\r\n\r\n\t\r\nthree\r\n \r\n\r\n");
    static const struct {
        const char *canon;
        bool sha1, header, body;
        size_t length;
    } rows[] = {{"simple/simple", false, false, false, SIZE_MAX}, {"relaxed", false, true, false, SIZE_MAX},
                {"relaxed/relaxed", true, true, true, SIZE_MAX},  {"simple/relaxed", false, false, true, 9},
                {"simple/simple", true, false, false, 0},         {"simple/relaxed", false, false, true, 21}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str length =
            rows[i].length != SIZE_MAX ? vr_arena_printf(&arena, "l=%zu; ", rows[i].length) : VR_STR("");
        struct vr_str field =
            vr_arena_printf(&arena,
                            "DKIM-Signature: v=1; a=rsa-%s; c=%s; d=football.example.com; s=test; "
                            "%.*sh=from:subject; bh=$BH; b=$B",
                            rows[i].sha1 ? "sha1" : "sha256", rows[i].canon, VR_STR_ARG(length));
        message = slow_signed(rsa, rows[i].sha1 ? EVP_sha1() : EVP_sha256(), field.p, "from:subject",
                              rows[i].header, rows[i].body, rows[i].length, message);
    }
    struct mail_digest *d = digest_of(message, SIZE_MAX);
    struct dkim_result r = verify_with(d, (struct dkim_query){.now = NOW}, keys);
    struct vr_str whole = told(&r);
    assert_int_equal(r.signature_count, 6);
    assert_verdict(&r.signatures[5], DKIM_PASS, "");
    assert_verdict(&r.signatures[4], DKIM_PASS, "");
    assert_verdict(&r.signatures[3], DKIM_POLICY, "rsa-sha1");
    assert_verdict(&r.signatures[2], DKIM_POLICY, "not signed (l=)");
    assert_verdict(&r.signatures[1], DKIM_POLICY, "rsa-sha1");
    assert_verdict(&r.signatures[0], DKIM_PASS, ""); /* l= covers all: " one two\r\n\r\n\r\nthree\r\n" */
    assert_int_equal(r.signatures[2].unsigned_body, 21 - 9);
    assert_int_equal(r.signatures[1].unsigned_body, 28);
    assert_int_equal(r.signatures[0].unsigned_body, 0);
    mail_digest_free(d);
    for (size_t cut = 0; cut <= message.n; cut++) {
        d = mail_digest_new(&(struct mail_digest_config){.verify = true});
        if (cut > 0)
            assert_int_equal(mail_digest_feed(d, vr_str_sub(message, 0, cut)), VR_OK);
        assert_int_equal(mail_digest_feed(d, vr_str_from_pos(message, cut)), VR_OK);
        assert_int_equal(mail_digest_end(d), VR_OK);
        struct vr_arena kept = arena;
        vr_arena_init(&arena, 1 << 20);
        r = verify_with(d, (struct dkim_query){.now = NOW}, keys);
        assert_true(vr_str_equal(told(&r), whole));
        vr_arena_fini(&arena);
        arena = kept;
        mail_digest_free(d);
    }
}

/* ---- what may be wrong with a field ------------------------------------------------------------------------------------------------ */

#define GOOD                                                                                                 \
    "v=1; a=rsa-sha256; c=relaxed/relaxed; d=football.example.com; s=test; h=from:to:subject:date; bh=$BH; " \
    "b=$B"

/* `change` by `to` in the field above, before it is signed: so nothing is wrong but what the row tells. */
static const struct {
    const char *change, *to;
    enum dkim_verdict verdict;
    const char *reason;
} fields[] = {
    {"", "", DKIM_PASS, ""},
    {"v=1; ", "", DKIM_POLICY, "draft"},
    {"v=1", "v=0.5", DKIM_POLICY, "draft"},
    {"v=1", "v=2", DKIM_NEUTRAL, "v="},
    {"v=1", "v=", DKIM_NEUTRAL, "v="},
    {"v=1", "v=01", DKIM_NEUTRAL, "v="},
    {"v=1", "V=1", DKIM_POLICY, "draft"}, /* tags are case-sensitive: this one is unknown */
    {"a=rsa-sha256; ", "", DKIM_NEUTRAL, "a= is missing"},
    {"a=rsa-sha256", "a=", DKIM_NEUTRAL, "a="},
    {"a=rsa-sha256", "a=rsa-md5", DKIM_NEUTRAL, "a="},
    {"a=rsa-sha256", "a=RSA-SHA256", DKIM_NEUTRAL, "a="},
    {"a=rsa-sha256", "a=ed25519-sha256", DKIM_PERMERROR, "another kind"},
    {"c=relaxed/relaxed", "c=", DKIM_NEUTRAL, "c="},
    {"c=relaxed/relaxed", "c=relaxed/nowsp", DKIM_NEUTRAL, "c="},
    {"c=relaxed/relaxed", "c=relaxed/", DKIM_NEUTRAL, "c="},
    {"c=relaxed/relaxed", "c=/relaxed", DKIM_NEUTRAL, "c="},
    {"c=relaxed/relaxed", "c=relaxed/relaxed/relaxed", DKIM_NEUTRAL, "c="},
    {"d=football.example.com; ", "", DKIM_NEUTRAL, "d= is missing"},
    {"d=football.example.com", "d=", DKIM_NEUTRAL, "d="},
    {"d=football.example.com", "d=com", DKIM_NEUTRAL, "d="},
    {"d=football.example.com", "d=football..com", DKIM_NEUTRAL, "d="},
    {"d=football.example.com", "d=football.example.com.", DKIM_NEUTRAL, "d="},
    {"d=football.example.com", "d=foot ball.example.com", DKIM_NEUTRAL, "d="},
    {"d=football.example.com", "d=[192.0.2.1]", DKIM_NEUTRAL, "d="},
    {"d=football.example.com", "d=FOOTBALL.Example.com", DKIM_PASS, ""},
    {"d=football.example.com", "d=other.example.com", DKIM_PERMERROR, "there is no key"},
    {"s=test; ", "", DKIM_NEUTRAL, "s= is missing"},
    {"s=test", "s=", DKIM_NEUTRAL, "s="},
    {"s=test", "s=te..st", DKIM_NEUTRAL, "s="},
    {"s=test", "s=te/st", DKIM_NEUTRAL, "s="},
    {"s=test", "s=none", DKIM_PERMERROR, "there is no key"},
    {"s=test", "s=nodata", DKIM_PERMERROR, "there is no key"},
    {"s=test", "s=slow", DKIM_TEMPERROR, "does not answer"},
    {"h=from:to:subject:date; ", "", DKIM_NEUTRAL, "h= is missing"},
    {"h=from:to:subject:date", "h=", DKIM_NEUTRAL, "h="},
    {"h=from:to:subject:date", "h=to:subject:date", DKIM_PERMERROR, "From is not signed"},
    {"h=from:to:subject:date", "h=from::date", DKIM_NEUTRAL, "h="},
    {"h=from:to:subject:date", "h=from:", DKIM_NEUTRAL, "h="},
    {"h=from:to:subject:date", "h=from:su bject", DKIM_NEUTRAL, "h="},
    {"h=from:to:subject:date", "h= From\r\n\t: TO :subject\r\n :date", DKIM_PASS, ""},
    {"bh=$BH; ", "", DKIM_NEUTRAL, "bh= is missing"},
    {"bh=$BH", "bh=", DKIM_NEUTRAL, "bh="},
    {"bh=$BH", "bh=????", DKIM_NEUTRAL, "bh="},
    {"bh=$BH", "bh=AAAA", DKIM_NEUTRAL, "size"},
    {"bh=$BH", "bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", DKIM_FAIL, "body's hash does not match"},
    {"; b=$B", "", DKIM_NEUTRAL, "b= is missing"},
    {"b=$B", "b=", DKIM_NEUTRAL, "b="},
    {"b=$B", "b=?", DKIM_NEUTRAL, "b="},
    {"b=$B", "b=AAAA", DKIM_FAIL, "signature does not match"},
    {"b=$B", "b=$B;", DKIM_PASS, ""},
    {"b=$B", "b=$B; \t", DKIM_PASS, ""},
    {"b=$B", "b=$B;;", DKIM_NEUTRAL, "no \"=\""},
    {"s=test", "s=test; i=joe@football.example.com", DKIM_PASS, ""},
    {"s=test", "s=test; i=@a.b.FOOTBALL.example.com", DKIM_PASS, ""},
    {"s=test", "s=test; i=j=6F=65@football.example.com", DKIM_PASS, ""},
    {"s=test", "s=test; i=joe=40football.example.com", DKIM_PASS, ""},
    {"s=test", "s=test; i=joe@example.com", DKIM_PERMERROR, "i= is not below d="},
    {"s=test", "s=test; i=joe@notfootball.example.com", DKIM_PERMERROR, "i= is not below d="},
    {"s=test", "s=test; i=football.example.com", DKIM_NEUTRAL, "i="},
    {"s=test", "s=test; i=joe@", DKIM_NEUTRAL, "i="},
    {"s=test", "s=test; i=j=4@football.example.com", DKIM_NEUTRAL, "i="},
    {"s=test", "s=test; i=j=00@football.example.com", DKIM_NEUTRAL, "i="},
    {"s=test", "s=test; q=dns/txt", DKIM_PASS, ""},
    {"s=test", "s=test; q=http : dns/txt", DKIM_PASS, ""},
    {"s=test", "s=test; q=dns", DKIM_NEUTRAL, "q="},
    {"s=test", "s=test; q=http", DKIM_NEUTRAL, "q="},
    {"s=test", "s=test; t=1528637909", DKIM_PASS, ""},
    {"s=test", "s=test; t=1528638208", DKIM_PASS, ""}, /* within the tolerance */
    {"s=test", "s=test; t=1528638210", DKIM_PERMERROR, "future"},
    {"s=test", "s=test; t=999999999999", DKIM_PERMERROR, "future"},
    {"s=test", "s=test; t=1234567890123", DKIM_NEUTRAL, "t="},
    {"s=test", "s=test; t=-1", DKIM_NEUTRAL, "t="},
    {"s=test", "s=test; t=", DKIM_NEUTRAL, "t="},
    {"s=test", "s=test; t=1 2", DKIM_NEUTRAL, "t="},
    {"s=test", "s=test; x=1528637910", DKIM_PASS, ""},
    {"s=test", "s=test; x=1528637609", DKIM_PASS, ""},
    {"s=test", "s=test; x=1528637608", DKIM_PERMERROR, "expired"},
    {"s=test", "s=test; t=5; x=5", DKIM_NEUTRAL, "expired when it was made"},
    {"s=test", "s=test; t=1528637000; x=1528639000", DKIM_PASS, ""},
    {"s=test", "s=test; x=soon", DKIM_NEUTRAL, "x="},
    {"s=test", "s=test; l=", DKIM_NEUTRAL, "l="},
    {"s=test", "s=test; l=-1", DKIM_NEUTRAL, "l="},
    {"s=test", "s=test; l=1000", DKIM_FAIL, "shorter"},
    {"s=test", "s=test; l=99999999999999999999999999", DKIM_FAIL, "shorter"},
    {"s=test", "s=test; z=From:joe@football.example.com|Subject:Is=20dinner=20ready", DKIM_PASS, ""},
    {"s=test", "s=test; unknown_1=what else", DKIM_PASS, ""},
    {"s=test", "s=test; s=test", DKIM_NEUTRAL, "twice"},
    {"s=test", "s=test; 1x=a", DKIM_NEUTRAL, "name"},
    {"s=test", "s=test; =a", DKIM_NEUTRAL, "name"},
    {"s=test", "s=test; x-y=a", DKIM_NEUTRAL, "name"},
    {"s=test", "s=test; ; t=1", DKIM_NEUTRAL, "no \"=\""},
    {"s=test", "s=test; y=a\x01", DKIM_NEUTRAL, "character"},
    {"s=test", "s=test; y=\xff", DKIM_NEUTRAL, "character"},
    {"s=test",
     "s=test; y=b\xc3\xbc"
     "cher",
     DKIM_PASS, ""}, /* RFC 8616 */
    {"s=test", "s = test", DKIM_PASS, ""},
    {"s=test", "s=\r\n\ttest\r\n ", DKIM_PASS, ""},
    {GOOD, "", DKIM_NEUTRAL, "no \"=\""},
    {GOOD, "synerr", DKIM_NEUTRAL, "no \"=\""},
};

static const struct zone more_keys[] = {
    {"test._domainkey.football.example.com", "v=DKIM1; k=rsa; p=" RSA_PUBLIC},
    {"slow._domainkey.football.example.com", "!fail"},
    {"nodata._domainkey.football.example.com", "!none"},
    {NULL, NULL},
};

static void faults_of_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct vr_str field =
            vr_arena_printf(&arena, "DKIM-Signature: %.*s",
                            VR_STR_ARG(replaced(VR_STR(GOOD), fields[i].change, vr_str_from(fields[i].to))));
        const char *h =
            strstr(fields[i].to, "h=") == fields[i].to ? fields[i].to + 2 : "from:to:subject:date";
        struct vr_str message =
            slow_signed(rsa, EVP_sha256(), field.p, h, true, true, SIZE_MAX, vr_str_from(MESSAGE));
        struct dkim_result r = verify(message, more_keys);
        assert_int_equal(r.signature_count, 1);
        if (r.signatures[0].verdict != fields[i].verdict || !has(r.signatures[0].reason, fields[i].reason) ||
            (fields[i].reason[0] == '\0' && r.signatures[0].reason.n > 0))
            fail_msg("row %zu (%s): got %s (%.*s), wanted %s (%s)", i, fields[i].to,
                     dkim_verdict_name(r.signatures[0].verdict), VR_STR_ARG(r.signatures[0].reason),
                     dkim_verdict_name(fields[i].verdict), fields[i].reason);
        vr_arena_reset(&arena);
    }
}

/* The blanks around b= and inside of it are no part of what is signed, in simple form neither. */
static void blanks_around_the_signature(void **state)
{
    (void)state;
    struct vr_str message =
        slow_signed(rsa, EVP_sha256(),
                    "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; h=from; b=$B; bh=$BH",
                    "from", false, false, SIZE_MAX, vr_str_from(MESSAGE));
    assert_verdict(&verify(message, keys).signatures[0], DKIM_PASS, "");
    size_t at = vr_str_find_str(message, VR_STR(" b=")) + 3;
    struct vr_str folded = vr_arena_printf(&arena, "%.*s \r\n\t%.*s\r\n %.*s", (int)at, message.p, 20,
                                           message.p + at, VR_STR_ARG(vr_str_from_pos(message, at + 20)));
    assert_verdict(&verify(folded, keys).signatures[0], DKIM_PASS, "");
    folded = vr_arena_printf(&arena, "%.*s %.*s", (int)at - 3, message.p,
                             VR_STR_ARG(vr_str_from_pos(message, at - 3)));
    assert_verdict(&verify(folded, keys).signatures[0], DKIM_FAIL, "signature does not match");
}

/* ---- which fields are signed ---------------------------------------------------------------------------------------------------------- */

/* The message is signed with h, then changed, then verified. */
static void fields_that_are_signed(void **state)
{
    (void)state;
    static const struct {
        const char *header, *h, *changed;
        enum dkim_verdict verdict;
    } rows[] = {
        {"From: a\r\nX: 1\r\nX: 2\r\n", "from:x", "From: a\r\nX: 1\r\nX: 2\r\n", DKIM_PASS},
        {"From: a\r\nX: 1\r\nX: 2\r\n", "from:x", "From: a\r\nX: 9\r\nX: 2\r\n",
         DKIM_PASS}, /* the last one is signed */
        {"From: a\r\nX: 1\r\nX: 2\r\n", "from:x", "X: 2\r\nFrom: a\r\n", DKIM_PASS},
        {"From: a\r\nX: 1\r\nX: 2\r\n", "from:x", "From: a\r\nX: 2\r\nX: 1\r\n", DKIM_FAIL},
        {"From: a\r\nX: 1\r\nX: 2\r\n", "from:x:x", "From: a\r\nX: 1\r\nX: 2\r\n", DKIM_PASS},
        {"From: a\r\nX: 1\r\nX: 2\r\n", "from:x:x", "From: a\r\nX: 9\r\nX: 2\r\n", DKIM_FAIL},
        {"From: a\r\nX: 1\r\nX: 2\r\n", "from:x:x", "X: 0\r\nFrom: a\r\nX: 1\r\nX: 2\r\n", DKIM_PASS},
        {"From: a\r\nX: 1\r\nX: 2\r\n", "from:x:x:x", "From: a\r\nX: 1\r\nX: 2\r\n",
         DKIM_PASS}, /* once more than there are */
        {"From: a\r\nX: 1\r\nX: 2\r\n", "from:x:x:x", "X: 0\r\nFrom: a\r\nX: 1\r\nX: 2\r\n", DKIM_FAIL},
        {"From: a\r\n", "from:y", "From: a\r\n", DKIM_PASS}, /* none is there */
        {"From: a\r\n", "from:y", "From: a\r\nY:\r\n", DKIM_FAIL},
        {"From: a\r\n", "from:from", "From: a\r\n", DKIM_PASS},
        {"From: a\r\n", "from:from", "From: b\r\nFrom: a\r\n", DKIM_FAIL},
        {"From: a\r\n", "from", "From: b\r\nFrom: a\r\n", DKIM_PASS}, /* what over-signing is good for */
        {"From: a\r\nDKIM-Signature: x\r\n", "from:dkim-signature", "From: a\r\nDKIM-Signature: x\r\n",
         DKIM_PASS}, /* others, never itself */
        {"From: a\r\nDKIM-Signature: x\r\n", "from:dkim-signature", "From: a\r\nDKIM-Signature: y\r\n",
         DKIM_FAIL},
        {"From: a\r\n", "from:dkim-signature", "From: a\r\n", DKIM_PASS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str message = vr_arena_printf(&arena, "%s\r\nbody\r\n", rows[i].header);
        struct vr_str field = vr_arena_printf(&arena,
                                              "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; "
                                              "d=football.example.com; s=test; h=%s; bh=$BH; b=$B",
                                              rows[i].h);
        message = slow_signed(rsa, EVP_sha256(), field.p, rows[i].h, false, false, SIZE_MAX, message);
        size_t own = vr_str_find(message, '\n') + 1;
        message = vr_arena_printf(&arena, "%.*s%s\r\nbody\r\n", (int)own, message.p, rows[i].changed);
        struct dkim_result r = verify(message, keys);
        if (r.signatures[0].verdict != rows[i].verdict)
            fail_msg("row %zu: %s (%.*s)", i, dkim_verdict_name(r.signatures[0].verdict),
                     VR_STR_ARG(r.signatures[0].reason));
    }
}

static void too_many_names(void **state)
{
    (void)state;
    struct vr_buf h;
    vr_buf_init(&h, 1 << 16);
    vr_buf_add(&h, VR_STR("from"));
    for (int i = 0; i < 499; i++)
        vr_buf_add(&h, VR_STR(":x"));
    for (int i = 0; i < 2; i++) {
        struct vr_str names = vr_arena_dup(&arena, vr_buf_str(&h));
        struct vr_str field = vr_arena_printf(
            &arena, "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; h=%.*s; bh=$BH; b=$B",
            VR_STR_ARG(names));
        struct vr_str message =
            slow_signed(rsa, EVP_sha256(), field.p, names.p, false, false, SIZE_MAX, vr_str_from(MESSAGE));
        assert_verdict(&verify(message, keys).signatures[0], i == 0 ? DKIM_PASS : DKIM_NEUTRAL,
                       i == 0 ? "" : "too many names");
        vr_buf_add(&h, VR_STR(":x"));
    }
    vr_buf_fini(&h);
}

/* ---- key records ------------------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *txt;
    enum dkim_verdict verdict;
    const char *reason;
} records[] = {
    {"v=DKIM1; k=rsa; p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"v = DKIM1 ; p = " RSA_PUBLIC " ; ", DKIM_PASS, ""},
    {"k=rsa; p=" RSA_PUBLIC "; g=; n=a note; x1 = extra", DKIM_PASS, ""}, /* g= was of RFC 4871 */
    {"v=DKIM1; g=nobody; p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id "
     "Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lx\t"
     "j+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
     DKIM_PASS, ""},
    {"v=DKIM1; t=s; p=" RSA_PUBLIC, DKIM_PERMERROR, "subdomains"},
    {"v=DKIM1; t=y; p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"v=DKIM1; t=y:n:extra; p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"v=DKIM1; s=email; p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"v=DKIM1; s=*; p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"v=DKIM1; s=web : email : fine; p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"v=DKIM1; s=chat; p=" RSA_PUBLIC, DKIM_PERMERROR, "not for mail"},
    {"v=DKIM1; h=sha256; p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"v=DKIM1; h=sha1 :sha256:sha512; p=" RSA_PUBLIC, DKIM_PASS, ""},
    {"v=DKIM1; h=sha1; p=" RSA_PUBLIC, DKIM_PERMERROR, "hash"},
    {"v=DKIM1; h=; p=" RSA_PUBLIC, DKIM_PERMERROR, "hash"},
    {"v=DKIM1; p=", DKIM_PERMERROR, "revoked"},
    {"v=DKIM1; p= ; k=rsa", DKIM_PERMERROR, "revoked"},
    {"v=DKIM1; h=sha1; p=", DKIM_PERMERROR, "hash"}, /* RFC 6376 §6.1.2: in this order */
    {"v=DKIM1; k=ed25519; p=" ED25519_PUBLIC, DKIM_PERMERROR, "another kind"},
    {"v=DKIM1; k=foobar; p=" RSA_PUBLIC, DKIM_PERMERROR, "another kind"},
    {"v=DKIM1; k=RSA; p=" RSA_PUBLIC, DKIM_PERMERROR, "another kind"},
    {"v=DKIM1", DKIM_PERMERROR, "grammar"},
    {"v=DKIM2; p=" RSA_PUBLIC, DKIM_PERMERROR, "grammar"},
    {"v=DKIM1.0; p=" RSA_PUBLIC, DKIM_PERMERROR, "grammar"},
    {"v=dkim1; p=" RSA_PUBLIC, DKIM_PERMERROR, "grammar"},
    {"p=" RSA_PUBLIC "; v=DKIM1", DKIM_PERMERROR, "grammar"},
    {"k=rsa; t; p=" RSA_PUBLIC, DKIM_PERMERROR, "grammar"},
    {"v=DKIM1; p=" RSA_PUBLIC "; p=" RSA_PUBLIC, DKIM_PERMERROR, "grammar"},
    {"", DKIM_PERMERROR, "grammar"},
    {"v=spf1 -all", DKIM_PERMERROR, "grammar"},
    {"v=DKIM1; p=????", DKIM_PERMERROR, "no base64"},
    {"v=DKIM1; p=AAAA", DKIM_PERMERROR, "no RSA key"},
    {"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTz", DKIM_PERMERROR, "no RSA key"},
    {"v=DKIM1; p=" ED25519_PUBLIC, DKIM_PERMERROR, "no RSA key"},
    {"v=DKIM1; p=MAYCAQACAQM=", DKIM_PERMERROR, "no RSA key"},         /* a modulus of 0 */
    {"v=DKIM1; p=MAYCAf8CAQM=", DKIM_PERMERROR, "no RSA key"},         /* a negative one */
    {"v=DKIM1; p=MAYCAQMCAQM=", DKIM_FAIL, ""},                        /* one of two bits */
    {"v=DKIM1; p=MAYCAQMCAQMA", DKIM_PERMERROR, "no RSA key"},         /* something behind it */
    {"v=DKIM1; p=MA4CAQMCCQEAAAAAAAAAAQ==", DKIM_PERMERROR, "larger"}, /* an exponent of 65 bits */
    /* RSAPublicKey, as RFC 6376 has it, without the wrapping */
    {"v=DKIM1; "
     "p=MIGJAoGBAOQeU5CgFPNZGIazlXo2k/eJ1jpaTTxrmqF1HrDLlt04pvaMtCJj8nXoliLRC/H9vJjMI1vdb3XLcW60AI"
     "N/PBD8EL97/y4GwJH7LPUvGP48vqUe+owqszesbiGy1PlCO8c70/OjFnJVgvMF87YR4Lcincb7aSvI5MgpP6X8rjDdAgMBAAE=",
     DKIM_PASS, ""},
};

static void kinds_of_records(void **state)
{
    (void)state;
    struct vr_str message = slow_signed(rsa, EVP_sha256(),
                                        "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; "
                                        "i=@a.football.example.com; s=test; h=from; bh=$BH; b=$B",
                                        "from", false, false, SIZE_MAX, vr_str_from(MESSAGE));
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct zone zone[] = {{"test._domainkey.football.example.com", records[i].txt}, {NULL, NULL}};
        struct dkim_result r = verify(message, zone);
        if (r.signatures[0].verdict != records[i].verdict || !has(r.signatures[0].reason, records[i].reason))
            fail_msg("row %zu (%.40s): %s (%.*s)", i, records[i].txt,
                     dkim_verdict_name(r.signatures[0].verdict), VR_STR_ARG(r.signatures[0].reason));
        assert_int_equal(r.signatures[0].testing, strstr(records[i].txt, "t=y") != NULL);
        struct dkim_record record;
        const char *why = NULL;
        enum vr_err e = dkim_record_parse(&arena, vr_str_from(records[i].txt), &record, &why);
        assert_true(e == VR_OK ? why == NULL : e == VR_ERR_SYNTAX && why != NULL);
        assert_true(records[i].verdict != DKIM_PASS ||
                    (e == VR_OK && record.bits == 1024 && record.algorithm == DKIM_RSA_SHA256));
    }
    struct dkim_record record;
    const char *why = NULL;
    assert_int_equal(
        dkim_record_parse(&arena, VR_STR("v=DKIM1; k=ed25519; t=y:s; p=" ED25519_PUBLIC), &record, &why),
        VR_OK);
    assert_true(record.testing && record.strict && !record.revoked && record.bits == 256 &&
                record.public_key.n == 32);
    assert_int_equal(dkim_record_parse(&arena, VR_STR("p="), &record, &why), VR_OK);
    assert_true(record.revoked && record.bits == 0);
    assert_int_equal(dkim_record_parse(&arena, VR_STR("p=" RSA_PUBLIC "; v=DKIM1"), &record, &why),
                     VR_ERR_SYNTAX);
    assert_true(has(vr_str_from(why), "first"));
    assert_int_equal(
        dkim_record_parse(&arena,
                          VR_STR("k=ed25519; p=MCowBQYDK2VwAyEA3SUqa9UbfciWkk7tlcJ9P1VD5pXAasg0JUn/OgjVbKE="),
                          &record, &why),
        VR_ERR_SYNTAX);
    assert_true(has(vr_str_from(why), "32 octets"));
}

/* A record of something else beside the key, two keys while one goes. */
static void several_records(void **state)
{
    (void)state;
    struct vr_str message = slow_signed(rsa, EVP_sha256(), RSA_FIELD_TEMPLATE,
                                        "from:to:subject:date:message-id:from:subject:date", true, true,
                                        SIZE_MAX, vr_str_from(MESSAGE));
    static const char name[] = "test._domainkey.football.example.com", good[] = "v=DKIM1; p=" RSA_PUBLIC,
                      spf[] = "v=spf1 -all",
                      other[] = "v=DKIM1; "
                                "p=MIGJAoGBALVI635dLK4cJJAH3Lx6upo3X/"
                                "Lm1tQz3mezcWTA3BUBnyIsdnRf57aD5BtNmhPrYYDlWlzw3UgnKisIxktkk5+"
                                "iMQMlFtAS10JB8L3YadXNJY+JBcbeSi5TgJe4WFz"
                                "NgW95FWDAuSTRXSWZfA/8xjflbTLDx0euFZOM7C4T0GwLAgMBAAE=";
    const struct zone both[] = {{name, spf}, {name, other}, {name, good}, {NULL, NULL}};
    assert_verdict(&verify(message, both).signatures[0], DKIM_PASS, "");
    const struct zone wrong[] = {{name, spf}, {name, other}, {NULL, NULL}};
    assert_verdict(&verify(message, wrong).signatures[0], DKIM_FAIL, "signature does not match");
    const struct zone none[] = {{name, spf}, {name, "v=DKIM1; p="}, {NULL, NULL}};
    assert_verdict(&verify(message, none).signatures[0], DKIM_PERMERROR, "grammar");
    const struct zone many[] = {{name, spf}, {name, spf}, {name, spf}, {name, spf},  {name, spf},
                                {name, spf}, {name, spf}, {name, spf}, {name, good}, {NULL, NULL}};
    assert_verdict(&verify(message, many).signatures[0], DKIM_PERMERROR, "grammar"); /* eight are tried */
}

/* ---- policy ------------------------------------------------------------------------------------------------------------------------------- */

static void what_the_policy_says(void **state)
{
    (void)state;
    struct vr_str limited = slow_signed(rsa, EVP_sha256(),
                                        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; "
                                        "d=football.example.com; s=test; l=5; h=from; bh=$BH; b=$B",
                                        "from", true, true, 5, vr_str_from(MESSAGE));
    struct mail_digest *d = digest_of(limited, 1);
    struct dkim_query q = {.now = NOW};
    struct dkim_result r = verify_with(d, q, keys);
    assert_verdict(&r.signatures[0], DKIM_POLICY, "not signed (l=)");
    assert_true(r.signatures[0].length_given);
    assert_int_equal(r.signatures[0].unsigned_body, 49);
    q.policy.trust_length = true;
    r = verify_with(d, q, keys);
    assert_verdict(&r.signatures[0], DKIM_PASS, "");
    assert_int_equal(r.signatures[0].unsigned_body, 49);
    q.policy.rsa_bits = 2048;
    r = verify_with(d, q, keys);
    assert_verdict(&r.signatures[0], DKIM_POLICY, "too short");
    assert_int_equal(r.signatures[0].key_bits, 1024);
    mail_digest_free(d);

    EVP_PKEY *weak = EVP_RSA_gen(768);
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(weak, &der);
    struct vr_str record =
        vr_arena_printf(&arena, "v=DKIM1; p=%.*s", VR_STR_ARG(slow_base64(vr_str((char *)der, (size_t)n))));
    OPENSSL_free(der);
    struct zone zone[] = {{"test._domainkey.football.example.com", record.p}, {NULL, NULL}};
    struct vr_str message =
        slow_signed(weak, EVP_sha256(),
                    "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; h=from; bh=$BH; b=$B",
                    "from", false, false, SIZE_MAX, vr_str_from(MESSAGE));
    EVP_PKEY_free(weak);
    assert_verdict(&verify(message, zone).signatures[0], DKIM_POLICY, "fewer than 1024");
    assert_verdict(&verify(replaced(message, "dinner", VR_STR("lunch")), zone).signatures[0], DKIM_POLICY,
                   "1024"); /* Subject is not signed */
    assert_verdict(&verify(replaced(message, "Joe Six", VR_STR("Jim Six")), zone).signatures[0], DKIM_FAIL,
                   "signature does not match");
    q = (struct dkim_query){.now = NOW, .policy.tolerance = 1};
    d = digest_of(slow_signed(rsa, EVP_sha256(),
                              "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; "
                              "t=1528637911; h=from; bh=$BH; b=$B",
                              "from", false, false, SIZE_MAX, vr_str_from(MESSAGE)),
                  3);
    assert_verdict(&verify_with(d, q, keys).signatures[0], DKIM_PERMERROR, "future");
    mail_digest_free(d);
}

/* ---- several signatures ---------------------------------------------------------------------------------------------------------------------- */

static void many_signatures(void **state)
{
    (void)state;
    struct vr_str message = vr_str_from(MESSAGE);
    for (int i = 0; i < 18; i++) {
        struct vr_str field = vr_arena_printf(
            &arena,
            "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; t=%d; h=from; bh=$BH; b=$B",
            i);
        message = slow_signed(rsa, EVP_sha256(), field.p, "from", false, false, SIZE_MAX, message);
    }
    struct mail_digest *d = digest_of(message, 1000);
    struct dkim_query q = {.now = NOW};
    struct dkim_result r;
    assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_OK);
    assert_int_equal(r.state, DKIM_ASK);
    assert_int_equal(r.question_count, 1); /* one key: asked once */
    assert_text(r.questions[0].name, "test._domainkey.football.example.com");
    assert_int_equal(r.questions[0].type, DNS_TYPE_TXT);
    r = verify_with(d, q, keys);
    assert_int_equal(r.signature_count, DKIM_SIGNATURES_MAX);
    assert_int_equal(r.ignored, 2);
    for (size_t i = 0; i < r.signature_count; i++) {
        assert_verdict(&r.signatures[i], DKIM_PASS, "");
        assert_int_equal(r.signatures[i].time, 17 - (int)i); /* from the top */
    }
    q.policy.signatures = 3;
    r = verify_with(d, q, keys);
    assert_int_equal(r.signature_count, 3);
    assert_int_equal(r.ignored, 15);
    q.policy.signatures = 1000;
    assert_int_equal(verify_with(d, q, keys).signature_count, DKIM_SIGNATURES_MAX);
    mail_digest_free(d);
    r = verify(vr_str_from(MESSAGE), keys);
    assert_int_equal(r.signature_count, 0);
}

static void beginnings_of_signatures(void **state)
{
    (void)state;
    struct vr_str message = vr_arena_printf(&arena,
                                            "DKIM-Signature: b=AAAABBBBCCCC\r\nDKIM-Signature: b=AAAABB\r\n "
                                            "BBDD DD\r\nDKIM-Signature: b=EEEEFFFFGGGG\r\n"
                                            "DKIM-Signature: b=AAAA\r\nDKIM-Signature: b=EEEEFFFFGGGG\r\n%s",
                                            MESSAGE);
    static const char *const wanted[] = {"AAAABBBBC", "AAAABBBBD", "EEEEFFFF", "AAAA",
                                         "EEEEFFFF"}; /* equal ones cannot be told apart */
    struct dkim_result r = verify(message, keys);
    for (size_t i = 0; i < 5; i++)
        assert_text(r.signatures[i].b, wanted[i]);
}

/* ---- asking ----------------------------------------------------------------------------------------------------------------------------------- */

static void questions_and_moments(void **state)
{
    (void)state;
    struct dkim_query q = {.now = NOW};
    struct dkim_result r;
    struct mail_digest *d = mail_digest_new(&(struct mail_digest_config){.verify = true});
    struct vr_str message = vr_str_from(RFC8463);
    size_t header = vr_str_find_str(message, VR_STR("\r\n\r\n")) + 4;
    assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_ERR_STATE);
    mail_digest_feed(d, vr_str_sub(message, 0, header - 1));
    assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_ERR_STATE);
    mail_digest_feed(d, vr_str_sub(message, header - 1, 1));
    assert_int_equal(dkim_verify(d, &q, &arena, &r),
                     VR_OK); /* the header is complete: keys can be asked for while the body comes */
    assert_int_equal(r.state, DKIM_ASK);
    assert_int_equal(r.question_count, 2);
    dns.count = 0;
    look_up(&dns, keys, r.questions[0]);
    q.answers = dns.answers;
    q.answer_count = 1;
    assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_OK);
    assert_int_equal(r.question_count, 1);
    look_up(&dns, keys, r.questions[0]);
    q.answer_count = 2;
    assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_OK);
    assert_int_equal(r.state, DKIM_ASK); /* nothing to ask, but the body is not there */
    assert_int_equal(r.question_count, 0);
    mail_digest_feed(d, vr_str_from_pos(message, header));
    assert_int_equal(mail_digest_end(d), VR_OK);
    assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_OK);
    assert_int_equal(r.state, DKIM_DONE);
    assert_verdict(&r.signatures[0], DKIM_PASS, "");
    struct vr_arena small; /* whatever its size: a verdict, or an error */
    for (size_t size = 0; size < 65536; size += size < 2000 ? 100 : 1000) {
        vr_arena_init(&small, size);
        enum vr_err e = dkim_verify(d, &q, &small, &r);
        assert_true(e == VR_ERR_TOO_BIG || (e == VR_OK && r.signatures[1].verdict == DKIM_PASS));
        assert_true(e == VR_OK || size < 64000);
        vr_arena_fini(&small);
    }
    mail_digest_free(d);
    d = mail_digest_new(&(struct mail_digest_config){.sign = {true}});
    mail_digest_feed(d, message);
    mail_digest_end(d);
    assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_ERR_STATE); /* it was not to verify */
    mail_digest_free(d);
}

/* A field that breaks its grammar is not asked about; what it says is told all the same. */
static void what_is_told_of_bad_fields(void **state)
{
    (void)state;
    struct mail_digest *d =
        digest_of(vr_arena_printf(&arena,
                                  "DKIM-Signature: v=9; a=rsa-sha256; d=football.example.com; s=test; "
                                  "h=from; bh=x; b=AAAAAAAA\r\n%s",
                                  MESSAGE),
                  5);
    struct dkim_query q = {.now = NOW};
    struct dkim_result r;
    assert_int_equal(dkim_verify(d, &q, &arena, &r), VR_OK);
    assert_int_equal(r.state, DKIM_DONE);
    assert_verdict(&r.signatures[0], DKIM_NEUTRAL, "v=");
    assert_text(r.signatures[0].domain, "football.example.com");
    assert_text(r.signatures[0].b, "AAAAAAAA");
    assert_true(has(r.signatures[0].field, "DKIM-Signature: v=9"));
    mail_digest_free(d);
}

/* RFC 8616 §5: U-labels; the key is asked for by A-labels. */
static void internationalised(void **state)
{
    (void)state;
    static const struct zone zone[] = {{"xn--schlssel-95a._domainkey.xn--bcher-kva.example", "p=" RSA_PUBLIC},
                                       {NULL, NULL}};
    struct vr_str message = VR_STR("From: j\xc3\xb6rg@b\xc3\xbc"
                                   "cher.example\r\nSubject: gr\xc3\xbc\xc3\x9f"
                                   "e\r\n\r\nHallo\r\n");
    static const char *const identities[] = {"",
                                             "i=j\xc3\xb6rg@b\xc3\xbc"
                                             "cher.example; ",
                                             "i=@xn--bcher-kva.example; ",
                                             "i=@mail.B\xc3\x9c"
                                             "CHER.example; "};
    for (size_t i = 0; i < 4; i++) {
        struct vr_str field =
            vr_arena_printf(&arena,
                            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=b\xc3\xbc"
                            "cher.example; %ss=schl\xc3\xbcssel; h=from:subject; bh=$BH; b=$B",
                            identities[i]);
        struct dkim_result r = verify(
            slow_signed(rsa, EVP_sha256(), field.p, "from:subject", true, true, SIZE_MAX, message), zone);
        assert_verdict(&r.signatures[0], DKIM_PASS, "");
        assert_text(r.signatures[0].domain, "xn--bcher-kva.example");
        assert_text(r.signatures[0].d, "b\xc3\xbc"
                                       "cher.example");
    }
    struct dkim_result r =
        verify(slow_signed(rsa, EVP_sha256(),
                           "DKIM-Signature: v=1; a=rsa-sha256; d=b\xc3\xbc"
                           "cher.example; i=@bucher.example; s=schl\xc3\xbcssel; h=from; bh=$BH; b=$B",
                           "from", false, false, SIZE_MAX, message),
               zone);
    assert_verdict(&r.signatures[0], DKIM_PERMERROR, "i= is not below d=");
}

static void names_of_verdicts(void **state)
{
    (void)state;
    assert_string_equal(dkim_verdict_name(DKIM_PERMERROR), "permerror");
    assert_string_equal(dkim_verdict_name((enum dkim_verdict)99), "");
    assert_string_equal(dkim_algorithm_name(DKIM_ED25519_SHA256), "ed25519-sha256");
    assert_string_equal(dkim_algorithm_name((enum dkim_algorithm)99), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(rfc6376_appendix_a),
        T(rfc8463_appendix_a),
        T(every_split),
        T(faults_of_fields),
        T(blanks_around_the_signature),
        T(fields_that_are_signed),
        T(too_many_names),
        T(kinds_of_records),
        T(several_records),
        T(what_the_policy_says),
        T(many_signatures),
        T(beginnings_of_signatures),
        T(questions_and_moments),
        T(what_is_told_of_bad_fields),
        T(internationalised),
        T(names_of_verdicts),
    };
    return cmocka_run_group_tests(tests, keys_setup, keys_teardown);
}
