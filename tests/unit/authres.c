/* authres.c - Authentication-Results: written, read, forged ones found, merged for ARC (RFC 8601). */
#include "auth_testing.h"

/* ---- writing ------------------------------------------------------------------------------------------------------------------------ */

static struct vr_str written(const struct authres *a)
{
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    assert_true(authres_write(&b, a));
    struct vr_str out = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return out;
}

static void what_is_written(void **state)
{
    (void)state;
    const struct authres_property spf[] = {{VR_STR("smtp"), VR_STR("mailfrom"), VR_STR("joe@example.com")},
                                           {VR_STR("smtp"), VR_STR("helo"), VR_STR("mail.example.com")}};
    const struct authres_property dkim[] = {{VR_STR("header"), VR_STR("d"), VR_STR("example.com")},
                                            {VR_STR("header"), VR_STR("b"), VR_STR("ab/cd+ef")},
                                            {VR_STR("header"), VR_STR("i"), VR_STR("@a.example.com")}};
    const struct authres_result results[] = {
        {.method = VR_STR("spf"), .result = VR_STR("pass"), .properties = spf, .property_count = 2},
        {.method = VR_STR("dkim"),
         .version = 1,
         .result = VR_STR("fail"),
         .comment = VR_STR("bad (signature)"),
         .reason = VR_STR("it was changed"),
         .properties = dkim,
         .property_count = 3},
        {.method = VR_STR("dmarc"), .result = VR_STR("none")},
        {.method = VR_STR("arc"), .result = VR_STR("none"), .comment = VR_STR("no chain")},
        {.method = VR_STR("x-own"), .result = VR_STR("pass"), .reason = VR_STR("one")},
    };
    struct authres a = {.id = VR_STR("mx.example.org"), .results = results, .result_count = 5};
    assert_text(written(&a),
                "Authentication-Results: mx.example.org;\r\n"
                " spf=pass smtp.mailfrom=joe@example.com smtp.helo=mail.example.com;\r\n"
                " dkim/1=fail (bad \\(signature\\)) reason=\"it was changed\" header.d=example.com\r\n"
                " header.b=\"ab/cd+ef\" header.i=@a.example.com;\r\n"
                " dmarc=none;\r\n"
                " arc=none (no chain);\r\n"
                " x-own=pass reason=one\r\n");
    a = (struct authres){.id = VR_STR("example.org"), .version = 1};
    assert_text(written(&a), "Authentication-Results: example.org 1; none\r\n"); /* RFC 8601 B.2 */
    a.id = VR_STR("mx one");
    assert_text(written(&a), "Authentication-Results: \"mx one\" 1; none\r\n");
    struct vr_buf small;
    vr_buf_init(&small, 30);
    assert_false(authres_write(&small, &a));
    vr_buf_fini(&small);
}

/* Whatever a value says, the field stays one field, and says the same when it is read. */
static void values_of_strangers(void **state)
{
    (void)state;
    static const struct {
        const char *value, *text, *back;
    } rows[] = {
        {"joe@example.com", "=joe@example.com", NULL},
        {"@example.com", "=@example.com", NULL},
        {"a.b+c@example.com", "=a.b+c@example.com", NULL},
        {"plain", "=plain", NULL},
        {"", "=\"\"", NULL},
        {"two words", "=\"two words\"", NULL},
        {"semi;colon", "=\"semi;colon\"", NULL},
        {"quo\"te\\", "=\"quo\\\"te\\\\\"", NULL},
        {"a@b@c", "=\"a@b@c\"", NULL},
        {"joe@", "=\"joe@\"", NULL},
        {".joe@x.y", "=\".joe@x.y\"", NULL},
        {"joe..a@x.y", "=\"joe..a@x.y\"", NULL},
        {"\"a b\"@x.y", "=\"\\\"a b\\\"@x.y\"", NULL},
        {"a(comment)", "=\"a(comment)\"", NULL},
        {"x\r\nInjected: yes", "=\"x??Injected: yes\"", "x??Injected: yes"},
        {"x\ty", "=\"x?y\"", "x?y"},
        {"b\xc3\xbc"
         "cher.example",
         "=\"b\xc3\xbc"
         "cher.example\"",
         NULL},
        {"b\xff", "=\"b?\"", "b?"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct authres_property p = {VR_STR("smtp"), VR_STR("mailfrom"), vr_str_from(rows[i].value)};
        const struct authres_result r = {.method = VR_STR("spf"),
                                         .result = VR_STR("pass"),
                                         .comment = p.value,
                                         .reason = p.value,
                                         .properties = &p,
                                         .property_count = 1};
        struct authres a = {.id = VR_STR("id.example"), .results = &r, .result_count = 1}, again;
        struct vr_str field = written(&a);
        struct header_reader reader;
        struct header_field f;
        assert_true(has(field, rows[i].text));
        header_reader_init(&reader, field);
        assert_true(header_next(&reader, &f) && f.raw.n == field.n);
        assert_int_equal(authres_parse(&arena, f.body, &again), VR_OK);
        assert_int_equal(again.result_count, 1);
        assert_text(again.results[0].properties[0].value,
                    rows[i].back != NULL ? rows[i].back : rows[i].value);
        assert_text(again.results[0].reason, rows[i].back != NULL ? rows[i].back : rows[i].value);
    }
    char *longer = malloc(5000);
    memset(longer, 'x', 5000);
    memcpy(longer + 399, "\xc3\xbc", 2); /* a character where it is cut */
    const struct authres_property p = {VR_STR("header"), VR_STR("i"), vr_str(longer, 5000)};
    const struct authres_result r = {
        .method = VR_STR("dkim"), .result = VR_STR("pass"), .properties = &p, .property_count = 1};
    struct vr_str field = written(&(struct authres){.id = VR_STR("id"), .results = &r, .result_count = 1});
    assert_true(field.n < 500 && vr_utf8_valid(field));
    free(longer);
}

static void what_is_not_written(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "a b", "a;b", "a=b", "-a", "a\r\n", "\xc3\xbc"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int place = 0; place < 4; place++) {
            struct vr_str b = vr_str_from(bad[i]), good = VR_STR("x");
            const struct authres_property p = {place == 0 ? b : good, place == 1 ? b : good, good};
            const struct authres_result r = {.method = place == 2 ? b : good,
                                             .result = place == 3 ? b : good,
                                             .properties = &p,
                                             .property_count = 1};
            struct vr_buf out;
            vr_buf_init(&out, 1000);
            assert_false(
                authres_write(&out, &(struct authres){.id = good, .results = &r, .result_count = 1}));
            vr_buf_fini(&out);
        }
    struct vr_buf out;
    vr_buf_init(&out, 1000);
    assert_false(authres_write(&out, &(struct authres){.id = vr_str(NULL, 0)}));
    vr_buf_fini(&out);
}

/* ---- reading -------------------------------------------------------------------------------------------------------------------------- */

/* "id version | method/version=result (reason) ptype.property=value …" */
static struct vr_str read_back(struct vr_str body)
{
    struct authres a;
    enum vr_err e = authres_parse(&arena, body, &a);
    if (e != VR_OK)
        return vr_str_from(vr_err_name(e));
    struct vr_buf b;
    vr_buf_init(&b, 65536);
    vr_buf_addf(&b, "%.*s %u", VR_STR_ARG(a.id), a.version);
    for (size_t i = 0; i < a.result_count; i++) {
        const struct authres_result *r = &a.results[i];
        vr_buf_addf(&b, " | %.*s/%u=%.*s", VR_STR_ARG(r->method), r->version, VR_STR_ARG(r->result));
        if (r->reason.n > 0)
            vr_buf_addf(&b, " (%.*s)", VR_STR_ARG(r->reason));
        for (size_t k = 0; k < r->property_count; k++)
            vr_buf_addf(&b, " %.*s.%.*s=%.*s", VR_STR_ARG(r->properties[k].ptype),
                        VR_STR_ARG(r->properties[k].property), VR_STR_ARG(r->properties[k].value));
        assert_true(r->raw.n > 0 && r->raw.p >= body.p && r->raw.p + r->raw.n <= body.p + body.n);
    }
    struct vr_str out = vr_arena_dup(&arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return out;
}

static void what_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *body, *means;
    } rows[] = {
        /* RFC 8601 appendix B */
        {" example.org 1; none", "example.org 1"},
        {" example.com;\r\n          spf=pass smtp.mailfrom=example.net",
         "example.com 0 | spf/0=pass smtp.mailfrom=example.net"},
        {" example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n spf=pass "
         "smtp.mailfrom=example.net",
         "example.com 0 | auth/0=pass smtp.auth=sender@example.net | spf/0=pass smtp.mailfrom=example.net"},
        {" example.com; iprev=pass\r\n policy.iprev=192.0.2.200",
         "example.com 0 | iprev/0=pass policy.iprev=192.0.2.200"},
        {" example.com;\r\n dkim=pass reason=\"good signature\"\r\n header.i=@mail-router.example.net;\r\n "
         "dkim=fail reason=\"bad signature\"\r\n header.i=@newyork.example.com",
         "example.com 0 | dkim/0=pass (good signature) header.i=@mail-router.example.net | dkim/0=fail (bad "
         "signature) header.i=@newyork.example.com"},
        {" foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) "
         "fail\r\n policy (A dot can go here) . (like that) expired\r\n"
         " (this surprised me) = (as I wasn't expecting it) 1362471462",
         "foo.example.net 1 | dkim/1=fail policy.expired=1362471462"}, /* B.7 */
        /* and more */
        {"a; none", "a 0"},
        {"a;none;", "syntax"},
        {"a;b=c;", "a 0 | b/0=c"},
        {"a; b=c; ;d=e", "syntax"},
        {"a; b=c;; d=e", "syntax"},
        {"\"a b\"; c=d", "a b 0 | c/0=d"},
        {"(x(y\\)z)) a (;) ; (;) b = c (;)", "a 0 | b/0=c"},
        {"a; b=c x.y=\"q;r\" ; d=e", "a 0 | b/0=c x.y=q;r | d/0=e"},
        {"a; b=c x.y=\"a b\"@d.e", "a 0 | b/0=c x.y=\"a b\"@d.e"},
        {"a; b=c x.y=<a@b>", "a 0 | b/0=c x.y=<a@b>"},
        {"a; none=pass", "a 0 | none/0=pass"},
        {"a; b=none", "a 0 | b/0=none"},
        {"a", "syntax"},
        {"a;", "syntax"},
        {"a b; c=d", "syntax"},
        {"", "syntax"},
        {"; none", "syntax"},
        {"(a; none", "syntax"},
        {"a; b", "syntax"},
        {"a; b=", "syntax"},
        {"a; =b", "syntax"},
        {"a; b=c d", "syntax"},
        {"a; b=c d.e", "syntax"},
        {"a; b=c d.e=", "syntax"},
        {"a; b=c d.=e", "syntax"},
        {"a; b=c d=e", "syntax"},
        {"a; b/x=c", "syntax"},
        {"\"a; b=c", "syntax"},
        {"a 2; b=c", "unsupported"},
        {"a 0; b=c", "a 0 | b/0=c"},
        {"a 99999999999999999999; b=c", "syntax"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str got = read_back(vr_str_from(rows[i].body));
        if (!vr_str_equal(got, vr_str_from(rows[i].means)))
            fail_msg("row %zu (%s): got \"%.*s\", wanted \"%s\"", i, rows[i].body, VR_STR_ARG(got),
                     rows[i].means);
    }
}

static void bounds_of_reading(void **state)
{
    (void)state;
    struct vr_buf b;
    vr_buf_init(&b, 1 << 16);
    vr_buf_addf(&b, "a");
    for (int i = 0; i < AUTHRES_RESULTS_MAX; i++)
        vr_buf_addf(&b, "; b=c");
    struct authres a;
    assert_int_equal(authres_parse(&arena, vr_buf_str(&b), &a), VR_OK);
    assert_int_equal(a.result_count, AUTHRES_RESULTS_MAX);
    vr_buf_addf(&b, "; b=c");
    assert_int_equal(authres_parse(&arena, vr_buf_str(&b), &a), VR_ERR_TOO_BIG);
    vr_buf_reset(&b);
    vr_buf_addf(&b, "a; b=c");
    for (int i = 0; i < AUTHRES_PROPERTIES_MAX; i++)
        vr_buf_addf(&b, " d.e=f");
    assert_int_equal(authres_parse(&arena, vr_buf_str(&b), &a), VR_OK);
    assert_int_equal(a.results[0].property_count, AUTHRES_PROPERTIES_MAX);
    vr_buf_addf(&b, " d.e=f");
    assert_int_equal(authres_parse(&arena, vr_buf_str(&b), &a), VR_ERR_TOO_BIG);
    struct vr_arena small;
    for (size_t size = 0; size < 20000; size += 400) {
        vr_arena_init(&small, size);
        enum vr_err e = authres_parse(&small, VR_STR("\"a\"; b=c d.e=\"f\""), &a);
        assert_true(e == VR_OK || e == VR_ERR_TOO_BIG);
        vr_arena_fini(&small);
    }
    vr_buf_fini(&b);
}

/* ---- forged fields ------------------------------------------------------------------------------------------------------------------------ */

static void which_must_go(void **state)
{
    (void)state;
    const struct vr_str ids[] = {VR_STR("mx.Example.org"), VR_STR("b\xc3\xbc"
                                                                  "cher.example")};
    static const struct {
        const char *body;
        bool forged;
    } rows[] = {
        {" other.example; spf=pass", false},
        {" example.org; spf=pass", false},
        {" mx.example.org.evil.example; spf=pass", false},
        {" xn--bcher-kvb.example; none", false},
        {" mx.example.org; spf=pass", true},
        {" MX.EXAMPLE.ORG; spf=pass", true},
        {" mx.example.org. ; spf=pass", true},
        {" (x) mx.example.org (y) 1; spf=pass", true},
        {" \"mx.example.org\"; spf=pass", true},
        {" \"mx.exa\\mple.org\"; spf=pass", true},
        {"\r\n mx.example.org\r\n ; spf=pass", true},
        {" mx.example.org", true}, /* cannot be read: a loose reader might */
        {" mx.example.org spf=pass", true},
        {" mx.exam(comment)ple.org; spf=pass", true},
        {" other.example; spf", true},
        {" other.example 2; spf=pass", true}, /* another version */
        {"", true},
        {" b\xc3\xbc"
         "cher.example; none",
         true},
        {" B\xc3\x9c"
         "CHER.example; none",
         true},
        {" xn--bcher-kva.example; none", true},
        {" \xff; none", false},
    };
    struct vr_buf header;
    struct header_field *forged;
    size_t count, wanted = 0;
    vr_buf_init(&header, 1 << 16);
    vr_buf_addf(&header, "Received: x\r\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str one = vr_arena_printf(
            &arena, "%s:%s\r\nFrom: a\r\n\r\nAuthentication-Results: mx.example.org; body=pass\r\n",
            i % 2 ? "Authentication-Results" : "AUTHENTICATION-results ", rows[i].body);
        assert_int_equal(authres_forged(&arena, one, ids, 2, &forged, &count), VR_OK);
        if (count != rows[i].forged)
            fail_msg("row %zu: %s", i, rows[i].body);
        assert_true(count == 0 || forged[0].raw.p == one.p);
        vr_buf_addf(&header, "Authentication-Results:%s\r\n", rows[i].body);
        wanted += rows[i].forged;
    }
    vr_buf_addf(&header, "ARC-Authentication-Results: i=1; mx.example.org; none\r\n\r\n");
    assert_int_equal(authres_forged(&arena, vr_buf_str(&header), ids, 2, &forged, &count), VR_OK);
    assert_int_equal(count, wanted);
    for (size_t i = 1; i < count; i++)
        assert_true(forged[i].raw.p > forged[i - 1].raw.p);
    struct vr_arena small;
    vr_arena_init(&small, 10);
    assert_int_equal(authres_forged(&small, vr_buf_str(&header), ids, 2, &forged, &count), VR_ERR_TOO_BIG);
    assert_int_equal(authres_forged(&small, VR_STR("From: a\r\n\r\n"), ids, 2, &forged, &count), VR_OK);
    assert_int_equal(count, 0);
    vr_arena_fini(&small);
    vr_buf_fini(&header);
}

/* ---- for ARC ---------------------------------------------------------------------------------------------------------------------------------- */

static void merged(void **state)
{
    (void)state;
    static const struct {
        const char *header, *payload;
    } rows[] = {
        {"From: a\r\n", "mx.example; none"},
        {"Authentication-Results: other.example; spf=pass\r\n", "mx.example; none"},
        {"Authentication-Results: mx.example; none\r\n", "mx.example; none"},
        {"Authentication-Results: MX.example; spf=pass (ok)\r\n smtp.mailfrom=a@b;\r\n\tdkim=none\r\nFrom: "
         "a\r\nAuthentication-Results: x; a=b\r\n"
         "Authentication-Results: mx.example 1;\r\n  dmarc=pass (p=none)  \r\nAuthentication-Results: "
         "mx.example; broken\r\n",
         "mx.example;\r\n spf=pass (ok)\r\n smtp.mailfrom=a@b;\r\n dkim=none;\r\n dmarc=pass (p=none)"},
        {"Authentication-Results: mx.example;\n spf=pass\n (x)\n", "mx.example;\r\n spf=pass\r\n (x)"},
        /* a CR alone is a blank, and stays one: without it two words would be one */
        {"Authentication-Results: mx.example; dkim=pass\rheader.d=a.b\r\n",
         "mx.example;\r\n dkim=pass header.d=a.b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_buf out;
        struct authres a;
        vr_buf_init(&out, 4096);
        vr_buf_add(&out, VR_STR("before "));
        assert_true(authres_merge(&out, vr_str_from(rows[i].header), VR_STR("mx.example")));
        assert_text(vr_str_from_pos(vr_buf_str(&out), 7), rows[i].payload);
        assert_int_equal(authres_parse(&arena, vr_str_from_pos(vr_buf_str(&out), 7), &a), VR_OK);
        vr_buf_fini(&out);
    }
    struct vr_buf small;
    vr_buf_init(&small, 20);
    assert_false(authres_merge(&small, VR_STR("Authentication-Results: mx.example; spf=pass\r\n"),
                               VR_STR("mx.example")));
    vr_buf_fini(&small);
}

/* ---- of DKIM and ARC ----------------------------------------------------------------------------------------------------------------------------- */

static void results_of_others(void **state)
{
    (void)state;
    const struct dkim_signature signatures[] = {
        {.verdict = DKIM_PASS,
         .d = VR_STR("example.com"),
         .s = VR_STR("s1"),
         .i = VR_STR("@example.com"),
         .a = VR_STR("rsa-sha256"),
         .b = VR_STR("AbCdEfGh"),
         .algorithm = DKIM_RSA_SHA256,
         .key_bits = 2048,
         .testing = true},
        {.verdict = DKIM_POLICY,
         .reason = VR_STR("a part of the body is not signed (l=)"),
         .d = VR_STR("b.example"),
         .s = VR_STR("s2"),
         .i = VR_STR("x y@b.example"),
         .a = VR_STR("ed25519-sha256"),
         .b = VR_STR("IjKlMnO/"),
         .algorithm = DKIM_ED25519_SHA256,
         .key_bits = 256,
         .unsigned_body = 17},
        {.verdict = DKIM_NEUTRAL, .reason = VR_STR("it is empty")},
    };
    struct dkim_result dkim = {.state = DKIM_DONE, .signatures = signatures, .signature_count = 3};
    size_t count;
    const struct authres_result *r = authres_of_dkim(&arena, &dkim, &count);
    assert_int_equal(count, 3);
    assert_text(written(&(struct authres){.id = VR_STR("mx"), .results = r, .result_count = count}),
                "Authentication-Results: mx;\r\n"
                " dkim=pass (2048-bit key, test mode) header.d=example.com\r\n"
                " header.i=@example.com header.s=s1 header.a=rsa-sha256 header.b=AbCdEfGh;\r\n"
                " dkim=policy\r\n"
                " (a part of the body is not signed \\(l=\\), 17 octets of the body not signed)\r\n"
                " header.d=b.example header.i=\"x y@b.example\" header.s=s2\r\n"
                " header.a=ed25519-sha256 header.b=\"IjKlMnO/\";\r\n"
                " dkim=neutral (it is empty)\r\n");
    r = authres_of_dkim(&arena, &(struct dkim_result){.state = DKIM_DONE}, &count);
    assert_text(written(&(struct authres){.id = VR_STR("mx"), .results = r, .result_count = count}),
                "Authentication-Results: mx;\r\n dkim=none (no signature)\r\n");
    struct arc_result arc = {.state = DKIM_DONE, .status = ARC_PASS, .instances = 3, .oldest_pass = 2};
    r = authres_of_arc(&arena, &arc, VR_STR("2001:db8::1"));
    assert_text(
        written(&(struct authres){.id = VR_STR("mx"), .results = r, .result_count = 1}),
        "Authentication-Results: mx;\r\n arc=pass smtp.remote-ip=\"2001:db8::1\" header.oldest-pass=2\r\n");
    arc = (struct arc_result){
        .state = DKIM_DONE, .status = ARC_FAIL, .reason = VR_STR("a set of the chain is not complete")};
    r = authres_of_arc(&arena, &arc, vr_str(NULL, 0));
    assert_text(written(&(struct authres){.id = VR_STR("mx"), .results = r, .result_count = 1}),
                "Authentication-Results: mx;\r\n arc=fail (a set of the chain is not complete)\r\n");
    struct vr_arena small;
    for (size_t size = 0; size < 3000; size += 100) {
        vr_arena_init(&small, size);
        r = authres_of_dkim(&small, &dkim, &count);
        assert_true(r != NULL || size < 2900);
        authres_of_arc(&small, &arc, VR_STR("192.0.2.1"));
        vr_arena_fini(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_written), T(values_of_strangers), T(what_is_not_written),
        T(what_is_read),    T(bounds_of_reading),   T(which_must_go),
        T(merged),          T(results_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
