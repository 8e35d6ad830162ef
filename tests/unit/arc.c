/* arc.c - chains: sealed and validated, broken in each way, asked for step by step (RFC 8617). The published suite is in tests/conformance. */
#include "auth_testing.h"

static struct dkim_key *rsa, *ed25519;

static int keys_setup(void **state)
{
    (void)state;
    const char *why;
    return dkim_key_load(VR_STR(RSA_SECRET), &rsa, &why) != VR_OK ||
           dkim_key_load(VR_STR(ED25519_SECRET), &ed25519, &why) != VR_OK;
}

static int keys_teardown(void **state)
{
    (void)state;
    dkim_key_free(rsa);
    dkim_key_free(ed25519);
    return 0;
}

/* ---- validating --------------------------------------------------------------------------------------------------------------------- */

static unsigned rounds, asked;

static struct arc_result validate_with(const struct mail_digest *d, struct dkim_query q,
                                       const struct zone *zone)
{
    struct arc_result r;
    dns.count = 0;
    rounds = asked = 0;
    for (;;) {
        q.answers = dns.answers;
        q.answer_count = dns.count;
        assert_int_equal(arc_validate(d, &q, &arena, &r), VR_OK);
        if (r.state == DKIM_DONE)
            return r;
        assert_true(r.question_count > 0);
        rounds++;
        for (size_t i = 0; i < r.question_count; i++, asked++)
            look_up(&dns, zone, r.questions[i]);
    }
}

static struct arc_result validate(struct vr_str message, const struct zone *zone)
{
    struct mail_digest *d = digest_of(message, 0);
    struct arc_result r = validate_with(d, (struct dkim_query){.now = NOW}, zone);
    mail_digest_free(d);
    r.sets = NULL; /* they point into the message */
    return r;
}

static void assert_status(struct arc_result r, enum arc_status status, const char *reason)
{
    if (r.status != status || !has(r.reason, reason) || (status != ARC_FAIL && r.reason.n > 0))
        fail_msg("got %s (%.*s), wanted %s (%s)", arc_status_name(r.status), VR_STR_ARG(r.reason),
                 arc_status_name(status), reason);
}

/* ---- sealing ------------------------------------------------------------------------------------------------------------------------- */

static struct arc_sealer sealer(const struct dkim_key *key, enum arc_status status)
{
    return (struct arc_sealer){
        .domain = VR_STR("football.example.com"),
        .selector = key == rsa ? VR_STR("test") : VR_STR("brisbane"),
        .algorithm = dkim_key_algorithm(key),
        .header_canon = MAIL_CANON_RELAXED,
        .body_canon = MAIL_CANON_RELAXED,
        .time = NOW,
        .status = status,
        .authres = VR_STR("lists.example.org; spf=pass smtp.mailfrom=a@example.com; arc=none")};
}

static enum vr_err try_seal(const struct dkim_key *key, const struct arc_sealer *a, struct vr_str message,
                            struct vr_str added, struct vr_str *out)
{
    struct arc_seal s;
    struct vr_str signature;
    struct mail_digest *d = digest_of(message, 0);
    enum vr_err e = arc_seal_begin(d, a, added, &arena, &s);
    struct vr_buf fields;
    vr_buf_init(&fields, 1 << 20);
    for (int i = 0; i < 2 && e == VR_OK; i++) {
        assert_false(arc_seal_finish(&s, &fields));
        assert_int_equal(dkim_key_sign(key, s.digest, &arena, &signature), VR_OK);
        e = arc_seal_signed(&s, signature);
    }
    if (e == VR_OK) {
        assert_int_equal(arc_seal_signed(&s, signature), VR_ERR_STATE);
        assert_true(arc_seal_finish(&s, &fields));
        *out = vr_arena_printf(&arena, "%.*s%.*s%.*s", VR_STR_ARG(vr_buf_str(&fields)), VR_STR_ARG(added),
                               VR_STR_ARG(message));
    }
    vr_buf_fini(&fields);
    mail_digest_free(d);
    return e;
}

static struct vr_str seal(const struct dkim_key *key, enum arc_status status, struct vr_str message)
{
    struct arc_sealer a = sealer(key, status);
    struct vr_str out = {0};
    assert_int_equal(try_seal(key, &a, message, vr_str(NULL, 0), &out), VR_OK);
    return out;
}

static void assert_layout(struct vr_str message)
{
    struct header_reader r;
    struct header_field f;
    struct vr_str line;
    static const char *const names[] = {"ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"};
    header_reader_init(&r, message);
    for (int i = 0; i < 3; i++) {
        assert_true(header_next(&r, &f));
        assert_text(f.name, names[i]);
        while (vr_str_split(&f.raw, '\n', &line))
            assert_true(i == 2 || line.n <= 78 + 1);
    }
}

static void a_chain_of_many(void **state)
{
    (void)state;
    struct vr_str message = vr_str_from(MESSAGE);
    assert_status(validate(message, keys), ARC_NONE, "");
    for (unsigned n = 1; n <= 12; n++) {
        const struct dkim_key *key = n % 3 == 0 ? rsa : ed25519;
        message = seal(key, n == 1 ? ARC_NONE : ARC_PASS, message);
        assert_layout(message);
        struct mail_digest *d = digest_of(message, 0);
        struct arc_result r = validate_with(d, (struct dkim_query){.now = NOW}, keys);
        assert_status(r, ARC_PASS, "");
        assert_int_equal(r.instances, n);
        assert_int_equal(r.oldest_pass, 0);
        assert_false(r.sealed_fail);
        for (unsigned i = 0; i < n; i++) {
            assert_text(r.sets[i].domain, "football.example.com");
            assert_text(r.sets[i].selector, (i + 1) % 3 == 0 ? "test" : "brisbane");
            assert_text(r.sets[i].message_domain, "football.example.com");
            assert_text(vr_str_trim(r.sets[i].authres),
                        "lists.example.org; spf=pass smtp.mailfrom=a@example.com; arc=none");
            assert_true(r.sets[i].from_signed);
        }
        mail_digest_free(d);
    }
    /* a hop on the way changed the body: the older signatures of the message break, the chain does not */
    struct vr_str changed = seal(ed25519, ARC_PASS, replaced(message, "Hi.", VR_STR("Ho.")));
    struct arc_result r = validate(changed, keys);
    assert_status(r, ARC_PASS, "");
    assert_int_equal(r.oldest_pass, 13);
}

static void fifty_sets_and_no_more(void **state)
{
    (void)state;
    struct vr_str message = VR_STR("From: a@b\r\n\r\n"), more;
    for (unsigned n = 1; n <= ARC_SETS_MAX; n++) {
        struct vr_arena kept = arena; /* only the newest message is of interest */
        vr_arena_init(&arena, 4 << 20);
        struct vr_str sealed = seal(ed25519, n == 1 ? ARC_NONE : ARC_PASS, message);
        char *copy = malloc(sealed.n);
        memcpy(copy, sealed.p, sealed.n);
        vr_arena_fini(&arena);
        vr_arena_fini(&kept);
        vr_arena_init(&arena, 4 << 20);
        message = vr_arena_dup(&arena, vr_str(copy, sealed.n));
        free(copy);
    }
    struct arc_result r = validate(message, keys);
    assert_status(r, ARC_PASS, "");
    assert_int_equal(r.instances, 50);
    struct arc_sealer a = sealer(ed25519, ARC_PASS);
    assert_int_equal(try_seal(ed25519, &a, message, vr_str(NULL, 0), &more), VR_ERR_TOO_BIG);
    struct vr_str of51 = vr_arena_printf(
        &arena, "ARC-Seal: i=51; a=rsa-sha256; cv=pass; d=a.b; s=c; b=AAAA\r\n%.*s", VR_STR_ARG(message));
    assert_status(validate(of51, keys), ARC_FAIL, "no instance");
}

/* In all pieces, and both forms, with an own list of fields and with fields put on top. */
static void forms_and_fields(void **state)
{
    (void)state;
    const struct vr_str names[] = {VR_STR("from"), VR_STR("subject"), VR_STR("dkim-signature"),
                                   VR_STR("received")};
    for (int form = 0; form < 8; form++) {
        struct arc_sealer a = sealer(form & 1 ? rsa : ed25519, ARC_NONE);
        struct vr_str message = {0};
        a.header_canon = (enum mail_canon)(form >> 1 & 1);
        a.body_canon = (enum mail_canon)(form >> 2 & 1);
        a.unfolded = form & 1;
        a.fields = form & 2 ? names : NULL;
        a.field_count = form & 2 ? 4 : 0;
        assert_int_equal(try_seal(form & 1 ? rsa : ed25519, &a, VR_STR(MESSAGE),
                                  VR_STR("Received: by us\r\nX-Added: 1\r\n"), &message),
                         VR_OK);
        for (size_t piece = 1; piece < 9; piece++) {
            struct mail_digest *d = digest_of(message, piece);
            assert_status(validate_with(d, (struct dkim_query){.now = NOW}, keys), ARC_PASS, "");
            mail_digest_free(d);
        }
        assert_int_equal(validate(replaced(message, "by us", VR_STR("by me")), keys).status,
                         form & 2 ? ARC_FAIL : ARC_PASS);
    }
    struct vr_str signed_message = VR_STR("DKIM-Signature: one\r\nDKIM-Signature: two\r\n" MESSAGE);
    struct vr_str sealed = seal(rsa, ARC_NONE, signed_message);
    assert_true(has(header_unfold(&arena, sealed), "DKIM-Signature: DKIM-Signature") ||
                has(sealed, "DKIM-Signature:DKIM-Signature"));
    assert_int_equal(validate(replaced(sealed, "Signature: two", VR_STR("Signature: 2")), keys).status,
                     ARC_FAIL);
    assert_int_equal(validate(replaced(sealed, "From:", VR_STR("Cc: x\r\nFrom:")), keys).status, ARC_FAIL);
}

/* ---- what may be broken ------------------------------------------------------------------------------------------------------------------ */

/* Of a chain of two sets, `change` by `to`, in the last place where it stands. */
static struct vr_str last_replaced(struct vr_str text, const char *what, const char *by)
{
    struct vr_str from = text, needle = vr_str_from(what);
    size_t at = VR_NPOS, found;
    while ((found = vr_str_find_str(from, needle)) != VR_NPOS) {
        at = (size_t)(from.p - text.p) + found;
        from = vr_str_from_pos(text, at + 1);
    }
    assert_true(at != VR_NPOS);
    return vr_arena_printf(&arena, "%.*s%s%.*s", (int)at, text.p, by,
                           VR_STR_ARG(vr_str_from_pos(text, at + needle.n)));
}

static void broken_chains(void **state)
{
    (void)state;
    struct vr_str message = seal(ed25519, ARC_PASS, seal(ed25519, ARC_NONE, VR_STR(MESSAGE)));
    static const struct {
        bool last; /* of set 1, which stands below */
        const char *change, *to, *reason;
    } rows[] = {
        {false, "Hi.", "Ho.", "newest ARC-Message-Signature: the body's hash"},
        {false, "Is dinner", "Was dinner", "newest ARC-Message-Signature: the signature"},
        {false, "spf=pass", "spf=fail", "newest ARC-Seal: the signature"},
        {true, "spf=pass", "spf=fail", "newest ARC-Seal: the signature"}, /* it covers the older ones */
        {false, "cv=pass", "cv=none", "wrong status"},
        {false, "cv=pass", "cv=fail", "had failed"},
        {false, "cv=pass", "cv=what", "cv="},
        {false, "cv=pass; ", "", "cv= is missing"},
        {true, "cv=none", "cv=pass", "wrong status"},
        {true, "cv=none", "cv=fail", "wrong status"},
        {false, "i=2;", "i=3;", "not complete"},
        {false, "i=2;", "i=1;", "twice"},
        {false, "i=2;", "i=0;", "no instance"},
        {false, "i=2;", "i=51;", "no instance"},
        {false, "i=2;", "i=x;", "no instance"},
        {false, "i=2;", "j=2;", "no instance"},
        {false, "Results: i=2;", "Results: lists; i=2;", "no instance"},
        {false, "Results: i=2;", "Results: i=2", "no instance"},
        {true, "ARC-Seal", "X-Seal", "not complete"},
        {true, "ARC-Message-Signature", "X-Message-Signature", "not complete"},
        {true, "ARC-Authentication-Results", "X-Authentication-Results", "not complete"},
        {false, "ARC-Seal: ", "ARC-Seal: h=from; ", "may not have h="},
        {false, "ARC-Message-Signature: a=ed25519-sha256", "ARC-Message-Signature: a=rsa-sha256",
         "newest ARC-Message-Signature: the key is of another kind"},
        {false, "ARC-Message-Signature: a=ed25519-sha256", "ARC-Message-Signature: a=rsa-poptart",
         "algorithm"},
        {false, "h=From", "h=ARC-Seal:From", "ARC-Seal is signed"},
        {false, "d=football.example.com", "d=soccer.example.com", "there is no key"},
        {false, "s=brisbane", "s=", "s= is no selector"},
        {false, "t=1528637909", "t=1628637909", "future"},
        {false, "t=1528637909", "t=now", "no time"},
        {false, "t=1528637909", "t=1528637908", "signature does not match"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str changed = rows[i].last ? last_replaced(message, rows[i].change, rows[i].to)
                                             : replaced(message, rows[i].change, vr_str_from(rows[i].to));
        assert_false(vr_str_equal(changed, message));
        struct arc_result r = validate(changed, keys);
        if (r.status != ARC_FAIL || !has(r.reason, rows[i].reason))
            fail_msg("row %zu (%s): %s (%.*s)", i, rows[i].to, arc_status_name(r.status),
                     VR_STR_ARG(r.reason));
        assert_false(r.temporary);
        assert_int_equal(r.sealed_fail, strcmp(rows[i].to, "cv=fail") == 0 && !rows[i].last);
    }
    /* harmless: comments around the instance, fields of ARC that nobody knows, an older AMS without From */
    assert_status(validate(vr_arena_printf(&arena, "ARC-Other: i=x\r\n%.*s", VR_STR_ARG(message)), keys),
                  ARC_PASS, "");
    struct arc_sealer a = sealer(ed25519, ARC_NONE);
    a.authres = VR_STR("(hello) lists.example.org 1 ; none");
    struct vr_str commented = {0};
    assert_int_equal(try_seal(ed25519, &a, VR_STR(MESSAGE), vr_str(NULL, 0), &commented), VR_OK);
    assert_status(validate(commented, keys), ARC_PASS, "");
}

static void older_seals(void **state)
{
    (void)state;
    struct vr_str first = seal(rsa, ARC_NONE, VR_STR(MESSAGE));
    struct vr_str bad =
        replaced(first, "cv=none; d=football.example.com",
                 VR_STR("cv=none; d=other.example.com")); /* sealed by somebody without a key */
    assert_false(vr_str_equal(bad, first));
    struct vr_str second = seal(ed25519, ARC_PASS, bad);
    struct arc_result r = validate(second, keys);
    assert_status(r, ARC_FAIL, "an older ARC-Seal: there is no key");
    const struct zone slow[] = {{"brisbane._domainkey.football.example.com", "k=ed25519; p=" ED25519_PUBLIC},
                                {"test._domainkey.football.example.com", "!fail"},
                                {NULL, NULL}};
    second = seal(ed25519, ARC_PASS, first);
    r = validate(second, slow);
    assert_status(r, ARC_FAIL, "the DNS does not answer");
    assert_true(r.temporary);
    const struct zone dead[] = {{"brisbane._domainkey.football.example.com", "!fail"}, {NULL, NULL}};
    r = validate(second, dead);
    assert_status(r, ARC_FAIL, "newest ARC-Message-Signature: the DNS does not answer");
    assert_true(r.temporary);
}

/* ---- asking --------------------------------------------------------------------------------------------------------------------------------- */

static void asked_step_by_step(void **state)
{
    (void)state;
    struct vr_str message = vr_str_from(MESSAGE);
    struct zone zone[9] = {{NULL, NULL}};
    for (unsigned n = 1; n <= 4; n++) { /* each sealed under a name of its own */
        struct arc_sealer a = sealer(ed25519, n == 1 ? ARC_NONE : ARC_PASS);
        a.selector = vr_arena_printf(&arena, "s%u", n);
        zone[n - 1] = (struct zone){vr_arena_printf(&arena, "s%u._domainkey.football.example.com", n).p,
                                    "k=ed25519; p=" ED25519_PUBLIC};
        assert_int_equal(try_seal(ed25519, &a, message, vr_str(NULL, 0), &message), VR_OK);
    }
    assert_status(validate(message, zone), ARC_PASS, "");
    assert_int_equal(rounds, 2);
    assert_int_equal(asked, 4);
    /* whoever has no key for the newest set makes us ask once */
    assert_status(validate(message, zone + 4), ARC_FAIL, "there is no key");
    assert_int_equal(asked, 1);
    /* structure first: nothing is asked of a chain that is none */
    assert_status(validate(replaced(message, "i=4;", VR_STR("i=5;")), zone), ARC_FAIL, "not complete");
    assert_int_equal(asked, 0);
    /* while the body comes */
    struct mail_digest *d = mail_digest_new(&(struct mail_digest_config){.verify = true});
    struct dkim_query q = {.now = NOW};
    struct arc_result r;
    size_t header = vr_str_find_str(message, VR_STR("\r\n\r\n")) + 4;
    assert_int_equal(arc_validate(d, &q, &arena, &r), VR_ERR_STATE);
    mail_digest_feed(d, vr_str_sub(message, 0, header));
    assert_int_equal(arc_validate(d, &q, &arena, &r), VR_OK);
    assert_int_equal(r.state, DKIM_ASK);
    assert_int_equal(r.question_count, 1);
    assert_text(r.questions[0].name, "s4._domainkey.football.example.com");
    dns.count = 0;
    look_up(&dns, zone, r.questions[0]);
    q.answers = dns.answers;
    q.answer_count = 1;
    assert_int_equal(arc_validate(d, &q, &arena, &r), VR_OK);
    assert_int_equal(r.state, DKIM_ASK);
    assert_int_equal(r.question_count, 0);
    mail_digest_feed(d, vr_str_from_pos(message, header));
    mail_digest_end(d);
    assert_status(validate_with(d, (struct dkim_query){.now = NOW}, zone), ARC_PASS, "");
    q.answers = dns.answers;
    q.answer_count = dns.count;
    for (size_t size = 0; size < 131072; size += size < 4000 ? 200 : 4000) {
        struct vr_arena small;
        vr_arena_init(&small, size);
        enum vr_err e = arc_validate(d, &q, &small, &r);
        assert_true(e == VR_ERR_TOO_BIG || (e == VR_OK && r.status == ARC_PASS));
        assert_true(e == VR_OK || size < 120000);
        vr_arena_fini(&small);
    }
    mail_digest_free(d);
}

/* ---- failed chains, and what is refused --------------------------------------------------------------------------------------------------------- */

static void failed_chains(void **state)
{
    (void)state;
    struct vr_str first = seal(rsa, ARC_NONE, VR_STR(MESSAGE)),
                  broken = replaced(first, "Is dinner", VR_STR("Was dinner")), out = {0};
    assert_status(validate(broken, keys), ARC_FAIL, "");
    struct vr_str sealed = seal(ed25519, ARC_FAIL, broken);
    assert_true(has(sealed, "cv=fail"));
    struct arc_result r = validate(sealed, keys);
    assert_status(r, ARC_FAIL, "had failed");
    assert_true(r.sealed_fail);
    assert_int_equal(r.instances, 2);
    /* the seal covers its own set only: it is as right without the others (RFC 8617 §5.1.2) */
    struct vr_str alone = vr_str_sub(sealed, 0, vr_str_find_str(sealed, VR_STR("ARC-Seal: a=rsa")));
    alone = replaced(
        replaced(replaced(replaced(alone, "i=2", VR_STR("i=1")), "i=2", VR_STR("i=1")), "i=2", VR_STR("i=1")),
        "cv=fail", VR_STR("cv=none"));
    assert_status(validate(vr_arena_printf(&arena, "%.*s%s", VR_STR_ARG(alone), MESSAGE), keys), ARC_FAIL,
                  "");
    struct arc_sealer a = sealer(ed25519, ARC_FAIL);
    assert_int_equal(try_seal(ed25519, &a, sealed, vr_str(NULL, 0), &out), VR_ERR_STATE); /* §5.1 step 2 */
}

static void refusals(void **state)
{
    (void)state;
    const struct vr_str arc[] = {VR_STR("From"), VR_STR("arc-Message-Signature")},
                        results[] = {VR_STR("From"), VR_STR("Authentication-Results")},
                        no_from[] = {VR_STR("Subject")};
    const struct {
        const struct vr_str *fields;
        size_t count;
        const char *authres, *domain;
        enum arc_status status;
        enum dkim_algorithm algorithm;
        enum vr_err error;
    } rows[] = {
        {NULL, 0, "a.example; none", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256, VR_OK},
        {arc, 2, "a.example; none", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256, VR_ERR_SYNTAX},
        {results, 2, "a.example; none", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256, VR_ERR_SYNTAX},
        {no_from, 1, "a.example; none", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256, VR_ERR_SYNTAX},
        {NULL, 0, "", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256, VR_ERR_SYNTAX},
        {NULL, 0, "; none", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256, VR_ERR_SYNTAX},
        {NULL, 0, "a.example; spf=pass\r\nreason=x", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256,
         VR_ERR_SYNTAX}, /* it would be a field */
        {NULL, 0, "a.example; spf=pass\n reason=x", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256,
         VR_ERR_SYNTAX},
        {NULL, 0, "a.example; spf=pass\r\n reason=x", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256,
         VR_OK},
        {NULL, 0, "a.example\r\nX: y; none", "football.example.com", ARC_NONE, DKIM_ED25519_SHA256,
         VR_ERR_SYNTAX},
        {NULL, 0, "a.example; none", "football", ARC_NONE, DKIM_ED25519_SHA256, VR_ERR_SYNTAX},
        {NULL, 0, "a.example; none", "football.example.com", ARC_PASS, DKIM_ED25519_SHA256,
         VR_ERR_STATE}, /* there is no chain */
        {NULL, 0, "a.example; none", "football.example.com", ARC_NONE, DKIM_RSA_SHA1, VR_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arc_sealer a = sealer(ed25519, rows[i].status);
        struct vr_str out = {0};
        a.fields = rows[i].fields;
        a.field_count = rows[i].count;
        a.authres = vr_str_from(rows[i].authres);
        a.domain = vr_str_from(rows[i].domain);
        a.algorithm = rows[i].algorithm;
        if (try_seal(ed25519, &a, VR_STR(MESSAGE), vr_str(NULL, 0), &out) != rows[i].error)
            fail_msg("row %zu", i);
    }
    struct arc_sealer a = sealer(ed25519, ARC_NONE);
    struct arc_seal s;
    struct mail_digest *d = mail_digest_new(&(struct mail_digest_config){.sign = {true, true}});
    assert_int_equal(arc_seal_begin(d, &a, vr_str(NULL, 0), &arena, &s), VR_ERR_STATE);
    mail_digest_free(d);
    d = mail_digest_new(&(struct mail_digest_config){.sign = {true, true}, .header_max = 10});
    mail_digest_feed(d, VR_STR(MESSAGE));
    assert_int_equal(arc_seal_begin(d, &a, vr_str(NULL, 0), &arena, &s), VR_ERR_TOO_BIG);
    mail_digest_free(d);
    d = mail_digest_new(&(struct mail_digest_config){.verify = true, .header_max = 10});
    struct dkim_query q = {.now = NOW};
    struct arc_result r;
    mail_digest_feed(d, VR_STR(MESSAGE));
    assert_int_equal(arc_validate(d, &q, &arena, &r), VR_OK);
    assert_status(r, ARC_FAIL, "too large");
    mail_digest_free(d);
    d = digest_of(VR_STR(MESSAGE), 0);
    struct vr_arena small;
    for (size_t size = 0; size < 20000; size += 500) {
        struct vr_str signature = VR_STR("any");
        vr_arena_init(&small, size);
        enum vr_err e = arc_seal_begin(d, &a, vr_str(NULL, 0), &small, &s);
        if (e == VR_OK)
            e = arc_seal_signed(&s, signature);
        if (e == VR_OK)
            e = arc_seal_signed(&s, signature);
        assert_true(e == VR_OK || e == VR_ERR_TOO_BIG);
        vr_arena_fini(&small);
    }
    mail_digest_free(d);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(arc_status_name(ARC_PASS), "pass");
    assert_string_equal(arc_status_name((enum arc_status)9), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_chain_of_many), T(fifty_sets_and_no_more), T(forms_and_fields), T(broken_chains),
        T(older_seals),     T(asked_step_by_step),     T(failed_chains),    T(refusals),
        T(names),
    };
    return cmocka_run_group_tests(tests, keys_setup, keys_teardown);
}
