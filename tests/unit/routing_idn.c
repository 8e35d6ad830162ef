/* routing_idn.c - own domains, routes, aliases and hosts in U-labels and A-labels; local parts beyond ASCII. */
#include "config_tools.h"

#include <veredus/address.h>

static const char configuration[] =
    "hostname = \"mail.bücher.test\" state = \"/state\" postmaster = \"jörg@BÜCHER.test\"\n"
    "domain \"BÜCHER.test\" { deliver = \"maildir:/m/{domain}/{local}\" aliases = \"$/aliases\" virtual = "
    "\"$/virtual\" }\n"
    "domain \"xn--mller-kva.test\" { deliver = \"smtp:innen.müller.test:2525\" }\n"
    "route \"straße.test\" { to = \"smtp:relais.straße.test\" }\n"
    "route \".XN--strae-oqa.test\" { to = mx tls = required }\n";
static const char aliases[] =
    "jörg: Jörg, archiv@MÜLLER.test\n"
    "BÜRO: jo\u0308rg\n"
    "chef@xn--bcher-kva.test: büro\n"
    "ΟΔΌΣ: δοκιμή@παράδειγμα.δοκιμή, δοκιμή@xn--hxajbheg2az3al.xn--jxalpdlp, δοκιμή@ΠΑΡΆΔΕΙΓΜΑ.δοκιμή\n"
    "fehler@andere.test: jörg\n";
static const char virtual[] = "info@bücher.test büro\n@XN--bcher-kva.test rest\n";

static struct config *c;
static char *said;

static int load(void **state)
{
    if (folder_make(state) != 0)
        return -1;
    file_write("aliases", aliases);
    file_write("virtual", virtual);
    struct config_load *l = config_load_file(file_write("veredus.conf", configuration));
    said = strdup(problems_text(l));
    if (l->errors)
        print_error("%s", said);
    c = config_take(l);
    config_load_free(l);
    return c ? 0 : -1;
}

static int unload(void **state)
{
    free(said);
    config_free(c);
    return folder_remove(state);
}

static void assert_slice(struct vr_str got, const char *wanted)
{
    if (!vr_str_equal(got, vr_str_from(wanted)))
        fail_msg("got \"%.*s\", wanted \"%s\"", VR_STR_ARG(got), wanted);
}

static void names_are_kept_in_both_forms(void **state)
{
    (void)state;
    assert_slice(c->hostname, "mail.xn--bcher-kva.test"); /* what EHLO says: RFC 6531 §3.7.1 */
    assert_slice(c->postmaster, "jörg@bücher.test");
    assert_slice(c->domains[0].name, "bücher.test");
    assert_slice(c->domains[0].ascii, "xn--bcher-kva.test");
    assert_slice(c->domains[1].name, "xn--mller-kva.test"); /* as it was written */
    assert_slice(c->domains[1].ascii, "xn--mller-kva.test");
    assert_slice(c->domains[1].next_hop.host, "innen.xn--mller-kva.test"); /* what the DNS is asked for */
    assert_slice(c->routes[0].next_hop.host, "relais.xn--strae-oqa.test");
    assert_slice(c->routes[1].pattern, ".xn--strae-oqa.test");
    assert_non_null(strstr(said, "\"fehler@andere.test\" is never used"));
}

static void domains_are_found_by_either_form(void **state)
{
    (void)state;
    static const struct {
        const char *domain;
        int index; /* -1: not ours */
    } rows[] = {{"bücher.test", 0},
                {"BÜCHER.TEST", 0},
                {"xn--bcher-kva.test", 0},
                {"XN--Bcher-KVA.test", 0},
                {"bu\u0308cher.test", 0},
                {"bücher。test", 0},
                {"müller.test", 1},
                {"xn--mller-kva.test", 1},
                {"bucher.test", -1},
                {"mail.bücher.test", -1},
                {"i❤.test", -1},
                {"b\xfc"
                 "cher.test",
                 -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct config_domain *d = routing_domain(c, vr_str_from(rows[i].domain));
        if (d != (rows[i].index < 0 ? NULL : &c->domains[rows[i].index]))
            fail_msg("%s", rows[i].domain);
    }
}

static void recipients_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        enum routing_rcpt verdict;
        const char *mailbox;
    } rows[] = {{"jörg@bücher.test", RCPT_KNOWN, "jörg@xn--bcher-kva.test"},
                {"JÖRG+x@xn--bcher-kva.test", RCPT_KNOWN, "jörg@xn--bcher-kva.test"},
                {"Jo\u0308rg@BÜCHER.test", RCPT_KNOWN, "jörg@xn--bcher-kva.test"},
                {"Büro@bücher.test", RCPT_KNOWN, "büro@xn--bcher-kva.test"},
                {"chef@bücher.test", RCPT_KNOWN, "chef@xn--bcher-kva.test"},
                {"info@xn--bcher-kva.test", RCPT_KNOWN, "info@xn--bcher-kva.test"},
                {"ÜNbekannt@bücher.test", RCPT_ASK_ACCOUNT, "ünbekannt@xn--bcher-kva.test"},
                {"wer@müller.test", RCPT_KNOWN, NULL},
                {"wer@straße.test", RCPT_FOREIGN, NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_arena arena;
        struct address a;
        struct routing_answer answer;
        const char *why;
        vr_arena_init(&arena, 1 << 16);
        assert_int_equal(address_parse(&arena, vr_str_from(rows[i].address), ADDRESS_ALLOW_UTF8, &a, &why),
                         VR_OK);
        assert_int_equal(routing_check(c, &arena, &a, &answer), VR_OK);
        if (answer.verdict != rows[i].verdict)
            fail_msg("%s: %d", rows[i].address, (int)answer.verdict);
        if (rows[i].mailbox)
            assert_slice(answer.mailbox, rows[i].mailbox);
        vr_arena_fini(&arena);
    }
}

/* "address>host or mailbox; …" */
static void assert_expands(const char *address, const char *wanted)
{
    struct vr_arena arena;
    struct routing_target *t = NULL;
    struct vr_buf out;
    vr_arena_init(&arena, 1 << 22);
    vr_buf_init(&out, 65536);
    assert_int_equal(routing_expand(c, &arena, vr_str_from(address), false, &t), VR_OK);
    for (; t; t = t->next) {
        struct vr_str where = t->next_hop.kind == NEXT_HOP_MAILDIR ? t->mailbox : t->next_hop.host;
        vr_buf_addf(&out, "%.*s>%.*s;", VR_STR_ARG(t->address), VR_STR_ARG(where));
    }
    if (!vr_str_equal(vr_buf_str(&out), vr_str_from(wanted)))
        fail_msg("%s: got %.*s, wanted %s", address, VR_STR_ARG(vr_buf_str(&out)), wanted);
    vr_buf_fini(&out);
    vr_arena_fini(&arena);
}

static void recipients_are_expanded(void **state)
{
    (void)state;
    /* an alias that names itself means its mailbox, however either is spelt; what is written goes on as it was written */
    assert_expands("jörg@bücher.test",
                   "Jörg@bücher.test>jörg@xn--bcher-kva.test;archiv@müller.test>innen.xn--mller-kva.test;");
    assert_expands("CHEF@XN--BCHER-KVA.TEST",
                   "Jörg@bücher.test>jörg@xn--bcher-kva.test;archiv@müller.test>innen.xn--mller-kva.test;");
    /* three spellings of one mailbox are one recipient */
    assert_expands("οδός@bücher.test", "δοκιμή@παράδειγμα.δοκιμή>xn--hxajbheg2az3al.xn--jxalpdlp;");
    assert_expands("x@STRASSE.test", "x@strasse.test>strasse.test;"); /* another domain: ß is not ss */
    assert_expands("x@STRAße.TEST", "x@straße.test>relais.xn--strae-oqa.test;");
    assert_expands("x@xn--strae-oqa.test", "x@xn--strae-oqa.test>relais.xn--strae-oqa.test;");
    assert_expands("x@a.straße.test", "x@a.straße.test>a.xn--strae-oqa.test;"); /* by .XN--strae-oqa.test */
    assert_expands("ü@例え.テスト", "ü@例え.テスト>xn--r8jz45g.xn--zckzah;");
    assert_expands("postmaster@bücher.test",
                   "Jörg@bücher.test>jörg@xn--bcher-kva.test;archiv@müller.test>innen.xn--mller-kva.test;");
}

static void who_may_send_as_an_alias(void **state)
{
    (void)state;
    static const struct {
        const char *alias, *account;
        bool may;
    } rows[] = {{"JÖRG@bücher.test", "jörg@xn--bcher-kva.test", true},
                {"büro@xn--bcher-kva.test", "jörg@bücher.test", true},
                {"ann+ö@bücher.test", "ann@xn--bcher-kva.test", true},
                {"ünbekannt+x@bücher.test", "ünbekannt@xn--bcher-kva.test", true},
                {"ünbekannt+x@bücher.test", "unbekannt@xn--bcher-kva.test", false},
                {"büro@bücher.test", "ann@xn--bcher-kva.test", false},
                {"jörg@andere.test", "jörg@xn--bcher-kva.test", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (routing_alias_of(c, vr_str_from(rows[i].alias), vr_str_from(rows[i].account)) != rows[i].may)
            fail_msg("%s as %s", rows[i].account, rows[i].alias);
}

static void the_same_domain_twice_is_an_error(void **state)
{
    (void)state;
    struct config_load *l = config_load_text(
        "t.conf", VR_STR("hostname = \"m.x.test\"\ndomain \"bücher.test\" { }\n"
                         "domain \"xn--bcher-kva.test\" { }\n"
                         "route \"straße.test\" { to = mx }\nroute \"XN--STRAE-OQA.test\" { to = mx }\n"
                         "domain \"i❤.test\" { }\nroute \"x。\" { to = mx }\n"));
    const char *text = problems_text(l);
    assert_non_null(strstr(text, "t.conf:3: the domain xn--bcher-kva.test a second time; it is at t.conf:2"));
    assert_non_null(strstr(text, "t.conf:5: the route xn--strae-oqa.test a second time; it is at t.conf:4"));
    assert_non_null(strstr(text, "t.conf:6: `domain` has \"i❤.test\"; expected a domain name"));
    assert_non_null(strstr(text, "t.conf:7: `route` has"));
    config_load_free(l);
}

static void what_is_printed_loads_again(void **state)
{
    (void)state;
    struct vr_buf first, second;
    vr_buf_init(&first, 1 << 20);
    vr_buf_init(&second, 1 << 20);
    assert_true(config_print(c, &first));
    assert_true(vr_str_find_str(vr_buf_str(&first), VR_STR("domain \"bücher.test\"")) != VR_NPOS);
    struct config_load *l = config_load_text("printed", vr_buf_str(&first));
    assert_int_equal(l->errors, 0);
    assert_true(config_print(l->config, &second));
    assert_true(vr_str_equal(vr_buf_str(&first), vr_buf_str(&second)));
    config_load_free(l);
    vr_buf_fini(&first);
    vr_buf_fini(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_kept_in_both_forms), cmocka_unit_test(domains_are_found_by_either_form),
        cmocka_unit_test(recipients_are_checked),       cmocka_unit_test(recipients_are_expanded),
        cmocka_unit_test(who_may_send_as_an_alias),     cmocka_unit_test(the_same_domain_twice_is_an_error),
        cmocka_unit_test(what_is_printed_loads_again),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
