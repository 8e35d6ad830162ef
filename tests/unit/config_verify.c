/* config_verify.c - the keys of `verify` and `arc`, and those of domains that differ. */
#include "config_tools.h"

#define HOST "hostname = \"mail.example.org\"\n"

static void without_any(void **state)
{
    (void)state;
    struct config *c = config_of(HOST "domain \"a.test\" { }");
    assert_int_equal(c->verify.spf, VERIFY_MARK);
    assert_int_equal(c->verify.dkim, VERIFY_MARK);
    assert_int_equal(c->verify.dmarc, VERIFY_REJECT);
    assert_int_equal(c->verify_dmarc_method, DMARC_TREE_WALK);
    assert_int_equal(c->domains[0].verify.dmarc, VERIFY_REJECT);
    assert_true(!c->verify_accepts_temperror && c->verify_timeout == 20000 && c->arc_trusted_count == 0);
    assert_true(c->arc_seal == ARC_SEAL_FORWARDED && c->arc_domain.n == 0);
    assert_true(vr_str_equal(c->authserv_id, VR_STR("mail.example.org")));
    assert_true(c->verify_skip.count == 2 && c->verify_skip.items[0].bits == 8 && c->verify_skip.items[1].v6);
    config_free(c);
    c = config_of(HOST "domain \"a.test\" { }\nverify { skip = none }");
    assert_int_equal(c->verify_skip.count, 0);
    config_free(c);
    c = config_of(HOST "domain \"a.test\" { }\nverify { skip += { \"192.0.2.7\" } }");
    assert_int_equal(c->verify_skip.count, 3);
    config_free(c);
}

static const char all[] = HOST
    "authserv_id = \"Example.org\"\n"
    "domain \"a.test\" { verify_spf = reject verify_dmarc = none }\n"
    "domain \"b.test\" { verify_dkim = quarantine }\n"
    "verify { spf = none dkim = mark dmarc = quarantine dmarc_method = public_suffix temperror = accept "
    "timeout = 5s skip = { \"192.0.2.0/24\" } }\n"
    "arc { seal = always domain = \"Example.ORG\" trusted = { \"Lists.Example\" } trusted += { \"b\xc3\xbc"
    "cher.example\" } }\n";

static void check(const struct config *c)
{
    assert_true(vr_str_equal(c->authserv_id, VR_STR("example.org")));
    assert_true(c->verify.spf == VERIFY_NONE && c->verify.dkim == VERIFY_MARK &&
                c->verify.dmarc == VERIFY_QUARANTINE);
    const struct config_verify *a = &c->domains[0].verify, *b = &c->domains[1].verify;
    assert_true(a->spf == VERIFY_REJECT && a->dkim == VERIFY_MARK && a->dmarc == VERIFY_NONE);
    assert_true(b->spf == VERIFY_NONE && b->dkim == VERIFY_QUARANTINE && b->dmarc == VERIFY_QUARANTINE);
    assert_true(c->verify_any.spf == VERIFY_REJECT && c->verify_any.dkim == VERIFY_QUARANTINE &&
                c->verify_any.dmarc == VERIFY_QUARANTINE);
    assert_true(c->verify_accepts_temperror && c->verify_timeout == 5000);
    assert_int_equal(c->verify_dmarc_method, DMARC_PUBLIC_SUFFIX);
    assert_true(c->verify_skip.count == 1 && c->verify_skip.items[0].bits == 24);
    assert_int_equal(c->arc_trusted_count, 2);
    assert_int_equal(c->arc_seal, ARC_SEAL_ALWAYS);
    assert_true(vr_str_equal(c->arc_domain, VR_STR("example.org")));
    assert_true(vr_str_equal(c->arc_trusted[0], VR_STR("lists.example")));
    assert_true(vr_str_equal(c->arc_trusted[1], VR_STR("xn--bcher-kva.example")));
}

static void all_can_be_set(void **state)
{
    (void)state;
    struct config *c = config_of(all);
    struct vr_buf text;
    check(c);
    vr_buf_init(&text, 1u << 20);
    assert_true(config_print(c, &text));
    config_free(c);
    vr_buf_add_byte(&text, '\0');
    c = config_of(vr_buf_str(&text).p); /* what is printed says the same */
    check(c);
    config_free(c);
    vr_buf_fini(&text);
}

static void wrong_ones_are_told(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"verify { spf = maybe }", "2: `spf` is \"maybe\"; expected reject, quarantine (the Junk folder), "
                                   "mark (Authentication-Results only) or "
                                   "none (not looked at)"},
        {"verify { dmarc_method = psl }",
         "2: `dmarc_method` is \"psl\"; expected tree_walk (RFC 9989) or public_suffix (RFC 7489)"},
        {"verify { temperror = reject }",
         "2: `temperror` is \"reject\"; expected later (451, the sender tries again) or accept"},
        {"verify { timeout = 2m }",
         "2: `timeout` is \"2m\"; expected a time with its unit (ms, s, m, h or d) from 1s to 1m"},
        {"authserv_id = \"a b\"",
         "2: `authserv_id` is \"a b\"; expected a name such as \"mail.example.org\""},
        {"arc { seal = sometimes }", "2: `seal` is \"sometimes\"; expected forwarded, always or never"},
        {"arc { domain = \"org\" }",
         "2: `domain` is \"org\"; expected a domain that has a DKIM key, such as \"example.org\""},
        {"arc { trusted = { \"a..b\" } }", "2: `trusted` has \"a..b\"; expected domains that seal what they "
                                           "forward, such as \"lists.example.org\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256], found[512];
        snprintf(text, sizeof text, HOST "%s\ndomain \"a.test\" { }", rows[i][0]);
        struct config_load *l = config_load_text("t", vr_str_from(text));
        assert_true(l->config == NULL && l->errors == 1);
        snprintf(found, sizeof found, "%d: %s", l->problems->line, l->problems->message);
        assert_string_equal(found, rows[i][1]);
        config_load_free(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_any),
        cmocka_unit_test(all_can_be_set),
        cmocka_unit_test(wrong_ones_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
