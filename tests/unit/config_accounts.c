/* config_accounts.c - the sections `accounts` and `oauth`: what they may hold, and what is said of what they may not. */
#include "config_tools.h"

#include <veredus/sasl.h>

#define HEAD "hostname = \"mx.test.example\"\ndomain \"a.test\" { }\n"

static const struct {
    const char *text, *expected; /* a part of the problems, "$" is the folder; "": none at all */
} wrongs[] = {
    {"accounts { }", ""},
    {"accounts { from = sqlite }", ""},
    {"accounts { from = { sqlite, sqlite } }", "3: `from` has \"sqlite\" twice"},
    {"accounts { from = ldap }", "3: `from` has \"ldap\"; expected sqlite, \"passwd:/path\""},
    {"accounts { from = \"sqlite:/x\" }",
     "3: `from` has \"sqlite:/x\"; expected sqlite, with nothing behind it"},
    {"accounts { from = passwd }", "3: `from` has \"passwd\"; expected the path of a file"},
    {"accounts { from = \"passwd:users\" }", "expected the path of a file"},
    {"accounts { from = \"passwd:$/none\" }", "3: cannot read the file of accounts $/none: No such file"},
    {"accounts { from = \"passwd:$/open\" }",
     "3: warning: everybody on this machine can read the password hashes in $/open"},
    {"accounts { from = \"pam:\" }", "expected the name of a file in /etc/pam.d"},
    {"accounts { from = \"pam:../x\" }", "expected the name of a file in /etc/pam.d"},
    {"accounts { from = \"pam:a/b\" }", "expected the name of a file in /etc/pam.d"},
    {"accounts { from = \"pam:.hidden\" }", "expected the name of a file in /etc/pam.d"},
    {"accounts { from = \"pam:veredus-no-such\" }",
     "3: warning: there is no file /etc/pam.d/veredus-no-such"},
    {"accounts { from = \"dovecot:x\" }", "expected the path of a socket"},
    {"accounts { from = "
     "\"dovecot:/"
     "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012"
     "01234"
     "345\" }",
     "expected the path of a socket"},
    {"accounts { from = \"dovecot:$/none\"\n dovecot_userdb = "
     "\"/"
     "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012"
     "3456789\" }",
     "4: `dovecot_userdb` is longer than the path of a socket can be"},
    {"accounts { from = \"dovecot:$/none\"\n dovecot_userdb = \"$/none\" }",
     "3: warning: there is no socket $/none"},
    {"accounts { from = \"dovecot:$/closed\"\n dovecot_userdb = \"$/closed\" }", "3: $/closed is no socket"},
    {"accounts { from = \"dovecot:$/none\" }",
     "3: no mailbox of a.test would be found, and all mail refused: Dovecot's"},
    {"accounts { from = { sqlite, \"dovecot:$/none\" } }",
     "3: warning: mail for some users of a.test may be refused"},
    {"accounts { from = \"pam:other\"\n pam_name = address }",
     "3: no mailbox of a.test would be found, and all mail refused: PAM does not say"},
    {"accounts { pam_name = address }", "3: warning: `pam_name` has no effect"},
    {"accounts { pam_name = both }", "3: `pam_name` is \"both\"; expected local"},
    {"accounts { dovecot_userdb = \"$/none\" }", "3: warning: `dovecot_userdb` has no effect"},
    {"accounts { domain = \"a b\" }", "3: `domain` is \"a b\"; expected a domain name"},
    {"accounts { timeout = 2m }", "3: `timeout` is \"2m\"; expected a time"},
    {"accounts { smtpd_sasl_path = x }", "it is Postfix's name; here it is `accounts.from`"},
    {"accounts { from = { \"passwd:/1\", \"passwd:/2\", \"passwd:/3\", \"passwd:/4\", \"passwd:/5\", "
     "\"passwd:/6\", \"passwd:/7\", \"passwd:/8\", sqlite } }",
     "3: `from` has more than 8 sources"},
    {"accounts { from = { sqlite, \"pam:other\" } }\nauthentication { mechanisms = { \"SCRAM-SHA-256\", "
     "\"CRAM-MD5\" } }",
     "4: nobody could log in: not all accounts have keys"},
    {"authentication { mechanisms = { \"OAUTHBEARER\" } }",
     "3: nobody could log in: no token can be checked"},
    {"oauth { }", ""},
    {"oauth { issuer = x }", "3: nothing says which tokens are good; expected `introspection`"},
    {"oauth { introspection = \"http://a.test/x\"\n audience = x }",
     "3: `introspection` is \"http://a.test/x\"; expected a URL such as \"https://"},
    {"oauth { introspection = \"https://user:pw@a.test/\"\n audience = x }", "3: `introspection`"},
    {"oauth { introspection = \"https://a.test:99999/\"\n audience = x }", "3: `introspection`"},
    {"oauth { introspection = \"https://a.test:x/\"\n audience = x }", "3: `introspection`"},
    {"oauth { introspection = \"https://\"\n audience = x }", "3: `introspection`"},
    {"oauth { introspection = \"https:///x\"\n audience = x }", "3: `introspection`"},
    {"oauth { introspection = \"https://a.test/x y\"\n audience = x }", "3: `introspection`"},
    {"oauth { introspection = \"https://a.test/#x\"\n audience = x }", "3: `introspection`"},
    {"oauth { introspection = \"file:///etc/passwd\"\n audience = x }", "3: `introspection`"},
    {"oauth { introspection = \"https://a.test\"\n audience = x }", ""},
    {"oauth { introspection = \"https://a.test:8443/x/y?z=1\"\n scope = x }", ""},
    {"oauth { introspection = \"https://[::1]:8443/x\"\n audience = x }", ""},
    {"oauth { introspection = \"https://192.0.2.1/x\"\n audience = x }", ""},
    {"oauth { introspection = \"https://a.test/\" }",
     "3: warning: a token that was given to any other service would log in here"},
    {"oauth { introspection = \"https://a.test/\"\n audience = x\n client_id = me }",
     "5: `client_id` and `client_secret_file` belong together"},
    {"oauth { introspection = \"https://a.test/\"\n audience = x\n client_secret_file = \"$/closed\" }",
     "belong together"},
    {"oauth { introspection = \"https://a.test/\"\n audience = x\n client_id = me\n client_secret_file = "
     "\"$/none\" }",
     "6: cannot read the client's secret $/none"},
    {"oauth { introspection = \"https://a.test/\"\n audience = x\n client_id = me\n client_secret_file = "
     "\"$/open\" }",
     "6: warning: everybody on this machine can read the client's secret $/open"},
    {"oauth { introspection = \"https://a.test/\"\n audience = x\n ca_file = \"$/none\" }",
     "5: cannot read the file of certificate authorities"},
    {"oauth { jwt_keys = \"$/closed\"\n audience = x\n ca_file = \"$/closed\" }",
     "5: warning: `ca_file` has no effect: no endpoint is asked"},
    {"oauth { jwt_keys = { \"$/closed\", \"$/none\" }\n audience = x }",
     "3: cannot read the public key $/none"},
    {"oauth { jwt_keys = \"keys.pem\"\n audience = x }",
     "3: `jwt_keys` has \"keys.pem\"; expected paths that begin with /"},
    {"oauth { jwt_secret_file = \"$/open\"\n audience = x }",
     "3: warning: everybody on this machine can read the secret of tokens $/open"},
    {"oauth { jwt_keys = \"$/closed\" }", "3: warning: a token that was given to any other service"},
    {"oauth { jwt_keys = \"$/closed\"\n scope = \"openid smtp\" }",
     "4: `scope` has \"openid smtp\"; expected words of a scope"},
    {"oauth { jwt_keys = \"$/closed\"\n audience = \"\" }",
     "4: `audience` has \"\"; expected texts that are not empty"},
    {"oauth { jwt_keys = \"$/closed\"\n audience = x\n cache = 2d }", "5: `cache` is \"2d\""},
    {"accounts { from = \"dovecot:$/none\" }\noauth { jwt_keys = \"$/closed\"\n audience = x }",
     "3: no token would let anybody in"},
};

static char *with_folder(const char *text)
{
    static char out[4096];
    out[0] = '\0';
    size_t n = 0;
    for (; *text != '\0' && n + sizeof tools_folder < sizeof out; text++)
        n += (size_t)(*text == '$' ? snprintf(out + n, sizeof out - n, "%s", tools_folder)
                                   : snprintf(out + n, sizeof out - n, "%c", *text));
    return out;
}

static void each_mistake_is_told(void **state)
{
    (void)state;
    file_write("closed", "x\n");
    chmod(file_write("open", "x\n"), 0644);
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        char text[4608];
        snprintf(text, sizeof text, HEAD "%s\n", with_folder(wrongs[i].text));
        struct config_load *l = config_load_text("test.conf", vr_str_from(text));
        char told[8192] = "";
        for (const struct config_problem *p = l->problems; p != NULL; p = p->next) {
            size_t n = strlen(told);
            snprintf(told + n, sizeof told - n, "%d: %s%s\n", p->line, p->warning ? "warning: " : "",
                     p->message);
        }
        const char *expected = with_folder(wrongs[i].expected);
        bool good = expected[0] != '\0' ? strstr(told, expected) != NULL : l->errors + l->warnings == 0;
        if (!good)
            fail_msg("%s\nsays: %sexpected: %s", text, told, expected);
        config_load_free(l);
    }
}

static void everything_can_be_set(void **state)
{
    (void)state;
    file_write("users", "ann:*\n");
    file_write("key", "x\n");
    char text[4096];
    snprintf(text, sizeof text, "%s",
             with_folder(HEAD
                         "domain \"b.test\" { }\naccounts { from = { \"passwd:$/users\", sqlite }\n from += "
                         "{ \"dovecot:$/d\", \"pam:other\" }\n"
                         " domain = \"B.test\"\n dovecot_userdb = \"$/u\"\n timeout = 7s }\n"
                         "oauth { introspection = \"https://a.test/i\"\n client_id = \"me\"\n "
                         "client_secret_file = \"$/key\"\n ca_file = \"$/key\"\n"
                         " jwt_keys = { \"$/key\", \"$/users\" }\n jwt_secret_file = \"$/key\"\n issuer = "
                         "\"https://a.test\"\n audience = { a, b }\n"
                         " audience += { c }\n scope = smtp\n claim = sub\n unknown_accounts = yes\n cache = "
                         "0\n timeout = 900ms\n"
                         " openid_configuration = \"https://a.test/.well-known/openid-configuration\" }\n"));
    struct config *c = config_of(text);
    assert_int_equal(c->accounts_count, 4);
    assert_int_equal(c->accounts[0].kind, ACCOUNTS_FROM_PASSWD);
    assert_non_null(strstr(c->accounts[0].at, "/users"));
    assert_int_equal(c->accounts[1].kind, ACCOUNTS_FROM_SQLITE);
    assert_int_equal(c->accounts[2].kind, ACCOUNTS_FROM_DOVECOT);
    assert_int_equal(c->accounts[3].kind, ACCOUNTS_FROM_PAM);
    assert_string_equal(c->accounts[3].at, "other");
    assert_true(vr_str_equal(c->accounts_domain, VR_STR("b.test")));
    assert_int_equal(c->accounts_timeout, 7000);
    assert_false(c->pam_address);
    assert_false(config_has_keys(c));
    assert_true(config_has_oauth(c));
    assert_true(config_has_accounts(c, ACCOUNTS_FROM_PAM));
    assert_int_equal(c->mechanisms,
                     SASL_PLAIN | SASL_LOGIN | SASL_EXTERNAL | SASL_OAUTHBEARER | SASL_XOAUTH2);
    assert_string_equal(c->oauth.introspection, "https://a.test/i");
    assert_string_equal(c->oauth.audience[2], "c");
    assert_null(c->oauth.audience[3]);
    assert_string_equal(c->oauth.scopes[0], "smtp");
    assert_string_equal(c->oauth.claim, "sub");
    assert_true(c->oauth.unknown_accounts);
    assert_int_equal(c->oauth.cache, 0);
    assert_int_equal(c->oauth.timeout, 900);
    /* what is printed loads again to the same */
    struct vr_buf once, twice;
    vr_buf_init(&once, 1 << 20);
    vr_buf_init(&twice, 1 << 20);
    assert_true(config_print(c, &once));
    vr_buf_add_byte(&once, '\0');
    struct config *again = config_of(vr_buf_str(&once).p);
    assert_true(config_print(again, &twice));
    vr_buf_add_byte(&twice, '\0');
    assert_string_equal(vr_buf_str(&once).p, vr_buf_str(&twice).p);
    vr_buf_fini(&once);
    vr_buf_fini(&twice);
    config_free(again);
    config_free(c);
}

static void without_the_sections(void **state)
{
    (void)state;
    struct config *c = config_of(HEAD);
    assert_int_equal(c->accounts_count, 1);
    assert_int_equal(c->accounts[0].kind, ACCOUNTS_FROM_SQLITE);
    assert_true(vr_str_equal(c->accounts_domain, VR_STR("a.test"))); /* the only one */
    assert_int_equal(c->accounts_timeout, 20000);
    assert_true(config_has_keys(c));
    assert_false(config_has_oauth(c));
    assert_true(c->mechanisms & SASL_SCRAM_SHA_256);
    assert_false(c->mechanisms & (SASL_OAUTHBEARER | SASL_XOAUTH2));
    assert_string_equal(c->oauth.claim, "email");
    config_free(c);
    c = config_of(HEAD "domain \"b.test\" { }\n");
    assert_int_equal(c->accounts_domain.n, 0); /* whose ann would it be? */
    config_free(c);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, folder_make, folder_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(each_mistake_is_told),
        EACH(everything_can_be_set),
        EACH(without_the_sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
