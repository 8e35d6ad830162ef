/* routing.c - tests of routing: own and foreign domains, delimiters, routes, catch-all, postmaster, alias loops, open relay forms. */
#include "config_tools.h"

#include <veredus/address.h>

static const char configuration[] =
    "hostname = \"mail.own.test\" state = \"/state\"\n"
    "domain \"own.test\" { aliases = \"$/aliases\" catch_all = \"rest\" }\n"
    "domain \"plain.test\" { }\n"
    "domain \"sys.test\" { mailboxes = system delimiter = \"-\" deliver = \"maildir:{home}/Maildir\" }\n"
    "domain \"any.test\" { mailboxes = any delimiter = \"\" deliver = \"lmtp:unix:/run/lmtp\" }\n"
    "domain \"relay.test\" { deliver = \"smtp:inner.test:2525\" }\n"
    "domain \"virtual.test\" { virtual = \"$/virtual\" }\n"
    "route \"exact.test\" { to = \"smtp:exact-hop.test:25\" }\n"
    "route \".exact.test\" { to = \"smtp:below-hop.test\" }\n"
    "route \".deep.exact.test\" { to = \"smtp:deep-hop.test\" tls = verify }\n"
    "route \"mx.test\" { to = mx tls = required }\n"
    "route \"closed.test\" { to = \"error:5.7.1 not there\" }\n";
static const char aliases[] = "root: ann\n"
                              "chain1: chain2\nchain2: chain3\nchain3: ann, chain1\n"
                              "loop1: loop2\nloop2: loop1\n"
                              "self: self\n"
                              "keep: keep, out@foreign.test\n"
                              "group: ann, bob@foreign.test, chain1, ann, bob@FOREIGN.test\n"
                              "ann+lists: lists@foreign.test\n"
                              "cross: x@virtual.test\n"
                              "postmaster: ann\n"
                              "pipe: |x\n";
static const char virtual[] = "x@virtual.test cross@own.test, y\nback@virtual.test "
                              "back@virtual.test\n@virtual.test all@foreign.test\n";

static struct config *c;

static int load(void **state)
{
    (void)state;
    if (folder_make(state) != 0)
        return -1;
    file_write("aliases", aliases);
    file_write("virtual", virtual);
    struct config_load *l = config_load_file(file_write("veredus.conf", configuration));
    if (l->errors)
        print_error("%s", problems_text(l));
    c = config_take(l);
    config_load_free(l);
    return c ? 0 : -1;
}

static int unload(void **state)
{
    config_free(c);
    return folder_remove(state);
}

/* ---- is it ours? ----------------------------------------------------------------------------------------------------- */

static void recipients_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        enum routing_rcpt verdict;
        const char *mailbox;
        bool catch_all;
    } rows[] = {
        {"root@own.test", RCPT_KNOWN, "root@own.test", false},
        {"ROOT@Own.Test", RCPT_KNOWN, "root@own.test", false},
        {"root+x@own.test", RCPT_KNOWN, "root@own.test", false},
        {"Ann@own.test", RCPT_ASK_ACCOUNT, "ann@own.test", true},
        {"ann+a+b@own.test", RCPT_ASK_ACCOUNT, "ann@own.test", true},
        {"ann+lists@own.test", RCPT_KNOWN, "ann@own.test", false},
        {"+ann@own.test", RCPT_ASK_ACCOUNT, "+ann@own.test", true},
        {"ann@plain.test", RCPT_ASK_ACCOUNT, "ann@plain.test", false},
        {"ann-x@sys.test", RCPT_ASK_SYSTEM, "ann@sys.test", false},
        {"ann+x@sys.test", RCPT_ASK_SYSTEM, "ann+x@sys.test", false},
        {"who+x@any.test", RCPT_KNOWN, "who+x@any.test", false},
        {"who@relay.test", RCPT_KNOWN, "who@relay.test", false},
        {"x@virtual.test", RCPT_KNOWN, "x@virtual.test", false},
        {"z@virtual.test", RCPT_ASK_ACCOUNT, "z@virtual.test", true},
        {"postmaster@plain.test", RCPT_KNOWN, "postmaster@plain.test", false},
        {"PostMaster+x@sys.test", RCPT_ASK_SYSTEM, "postmaster+x@sys.test", false},
        {"PostMaster-x@sys.test", RCPT_KNOWN, "postmaster@sys.test", false},
        {"ann@foreign.test", RCPT_FOREIGN, NULL, false},
        {"ann@sub.own.test", RCPT_FOREIGN, NULL, false},
        {"ann@xown.test", RCPT_FOREIGN, NULL, false},
        {"postmaster@foreign.test", RCPT_FOREIGN, NULL, false},
        {"ann@[127.0.0.1]", RCPT_FOREIGN, NULL, false},
        {"ann@[IPv6:::1]", RCPT_FOREIGN, NULL, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct vr_arena arena;
        struct address a;
        struct routing_answer answer;
        const char *why;
        vr_arena_init(&arena, 1 << 16);
        assert_int_equal(address_parse(&arena, vr_str_from(rows[i].address), 0, &a, &why), VR_OK);
        assert_int_equal(routing_check(c, &arena, &a, &answer), VR_OK);
        if (answer.verdict != rows[i].verdict || answer.catch_all != rows[i].catch_all)
            print_error("%s: verdict %d, catch-all %d\n", rows[i].address, answer.verdict, answer.catch_all);
        assert_int_equal(answer.verdict, rows[i].verdict);
        assert_int_equal(answer.catch_all, rows[i].catch_all);
        assert_true((answer.domain == NULL) == (rows[i].verdict == RCPT_FOREIGN));
        if (rows[i].mailbox)
            assert_true(vr_str_equal(answer.mailbox, vr_str_from(rows[i].mailbox)));
        vr_arena_fini(&arena);
    }
}

/* RFC 5321 §4.5.1 */
static void postmaster_without_a_domain_is_ours(void **state)
{
    (void)state;
    struct vr_arena arena;
    struct routing_answer answer;
    vr_arena_init(&arena, 1 << 16);
    struct address a = {.local = VR_STR("PostMaster")};
    assert_int_equal(routing_check(c, &arena, &a, &answer), VR_OK);
    assert_int_equal(answer.verdict, RCPT_KNOWN);
    a.local = VR_STR("root");
    assert_int_equal(routing_check(c, &arena, &a, &answer), VR_ERR_SYNTAX);
    vr_arena_fini(&arena);
}

/* What once made relays open: the domain alone decides, whatever the local part says. */
static void forms_of_relaying_through_the_local_part(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool foreign;
    } rows[] = {
        {"<victim%foreign.test@own.test>", false},
        {"<victim@foreign.test@own.test>", true}, /* not an address at all */
        {"<\"victim@foreign.test\"@own.test>", false},
        {"<\"victim%foreign.test\"@own.test>", false},
        {"<foreign.test!victim@own.test>", false},
        {"<@own.test:victim@foreign.test>", true},
        {"<@own.test,@plain.test:victim@foreign.test>", true},
        {"<victim@foreign.test>", true},
        {"<victim@[192.0.2.1]>", true},
        {"<foreign.test!victim>", true},
        {"<victim%foreign.test@[127.0.0.1]>", true},
        {"<victim@own.test.>", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct vr_arena arena;
        struct address a;
        struct vr_str rest;
        struct routing_answer answer;
        const char *why;
        vr_arena_init(&arena, 1 << 16);
        if (address_parse_path(&arena, vr_str_from(rows[i].path), ADDRESS_ALLOW_POSTMASTER, &a, &rest,
                               &why) == VR_OK &&
            rest.n == 0) {
            assert_int_equal(routing_check(c, &arena, &a, &answer), VR_OK);
            if ((answer.verdict == RCPT_FOREIGN) != rows[i].foreign)
                print_error("%s\n", rows[i].path);
            assert_int_equal(answer.verdict == RCPT_FOREIGN, rows[i].foreign);
            if (!rows[i]
                     .foreign) { /* and it stays here: the catch-all or the mailbox, never the host inside */
                struct routing_target *t;
                assert_int_equal(routing_expand(c, &arena, address_text(&arena, &a), false, &t), VR_OK);
                assert_null(t->next);
                assert_int_equal(t->next_hop.kind, NEXT_HOP_MAILDIR);
                assert_true(vr_str_ends_nocase(t->mailbox, VR_STR("@own.test")));
            }
        } else {
            assert_true(rows[i].foreign); /* refused before routing is asked */
        }
        vr_arena_fini(&arena);
    }
}

/* ---- where does it go? ------------------------------------------------------------------------------------------------ */

/* "address>next hop[/mailbox]" for each target; "!" before a verified or required TLS. */
static const char *where(const char *address, bool catch_all)
{
    static char out[65536];
    struct vr_arena arena;
    struct routing_target *t = NULL;
    size_t n = 0;
    vr_arena_init(&arena, 1 << 24);
    assert_int_equal(routing_expand(c, &arena, vr_str_from(address), catch_all, &t), VR_OK);
    assert_non_null(t);
    out[0] = '\0';
    for (; t; t = t->next) {
        struct vr_buf hop;
        vr_buf_init(&hop, 1024);
        assert_true(next_hop_text(&hop, &t->next_hop));
        n +=
            (size_t)snprintf(out + n, sizeof out - n, "%s%.*s>%s%.*s", n ? " | " : "", VR_STR_ARG(t->address),
                             t->next_hop.tls ? "!" : "", VR_STR_ARG(vr_buf_str(&hop)));
        if (t->next_hop.kind == NEXT_HOP_MAILDIR)
            n += (size_t)snprintf(out + n, sizeof out - n, "/%.*s", VR_STR_ARG(t->mailbox));
        vr_buf_fini(&hop);
    }
    vr_arena_fini(&arena);
    return out;
}

static void recipients_are_expanded(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool catch_all;
        const char *targets;
    } rows[] = {
        {"ann@own.test", false, "ann@own.test>maildir/ann@own.test"},
        {"Ann+X@OWN.test", false, "Ann+X@own.test>maildir/ann@own.test"},
        {"root@own.test", false, "ann@own.test>maildir/ann@own.test"},
        {"ann+lists@own.test", false, "lists@foreign.test>mx:foreign.test"},
        {"ann+LISTS@own.test", false, "lists@foreign.test>mx:foreign.test"},
        {"chain1@own.test", false, "ann@own.test>maildir/ann@own.test"},
        {"loop1@own.test", false,
         "loop1@own.test>error:5.4.6 alias loop: loop1@own.test leads back to itself and to no mailbox"},
        {"self@own.test", false, "self@own.test>maildir/self@own.test"},
        {"keep@own.test", false, "keep@own.test>maildir/keep@own.test | out@foreign.test>mx:foreign.test"},
        {"keep+x@own.test", false, "keep@own.test>maildir/keep@own.test | out@foreign.test>mx:foreign.test"},
        {"group@own.test", false, "ann@own.test>maildir/ann@own.test | bob@foreign.test>mx:foreign.test"},
        {"cross@own.test", false, "y@virtual.test>maildir/y@virtual.test"},
        {"back@virtual.test", false, "back@virtual.test>maildir/back@virtual.test"},
        {"nobody@own.test", true, "rest@own.test>maildir/rest@own.test"},
        {"nobody@virtual.test", true, "all@foreign.test>mx:foreign.test"},
        {"nobody@plain.test", true, "nobody@plain.test>maildir/nobody@plain.test"},
        {"ann-x@sys.test", false, "ann-x@sys.test>maildir/ann@sys.test"},
        {"who+x@any.test", false, "who+x@any.test>!lmtp:unix:/run/lmtp"},
        {"who@relay.test", false, "who@relay.test>smtp:inner.test:2525"},
        {"postmaster@relay.test", false, "postmaster@relay.test>smtp:inner.test:2525"},
        {"postmaster@own.test", false, "ann@own.test>maildir/ann@own.test"},
        {"postmaster@plain.test", false, "postmaster@plain.test>maildir/postmaster"},
        {"Postmaster", false, "Postmaster>maildir/postmaster"},
        {"a@foreign.test", false, "a@foreign.test>mx:foreign.test"},
        {"A@Foreign.TEST", false, "A@foreign.test>mx:foreign.test"},
        {"a@[192.0.2.1]", false, "a@[192.0.2.1]>mx:[192.0.2.1]"},
        {"a@exact.test", false, "a@exact.test>smtp:exact-hop.test:25"},
        {"a@EXACT.test", false, "a@exact.test>smtp:exact-hop.test:25"},
        {"a@sub.exact.test", false, "a@sub.exact.test>smtp:below-hop.test:25"},
        {"a@a.b.exact.test", false, "a@a.b.exact.test>smtp:below-hop.test:25"},
        {"a@deep.exact.test", false, "a@deep.exact.test>smtp:below-hop.test:25"},
        {"a@x.deep.exact.test", false, "a@x.deep.exact.test>!smtp:deep-hop.test:25"},
        {"a@notexact.test", false, "a@notexact.test>mx:notexact.test"},
        {"a@mx.test", false, "a@mx.test>!mx:mx.test"},
        {"a@closed.test", false, "a@closed.test>error:5.7.1 not there"},
        {"a@b@c", false, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *found = where(rows[i].address, rows[i].catch_all);
        if (rows[i].targets)
            assert_string_equal(found, rows[i].targets);
        else
            assert_non_null(strstr(found, ">error:5.1.3 the address is not valid"));
    }
}

static void next_hops_know_where_they_come_from(void **state)
{
    (void)state;
    struct vr_arena arena;
    struct routing_target *t;
    vr_arena_init(&arena, 1 << 20);
    assert_int_equal(routing_expand(c, &arena, VR_STR("ann@sys.test"), false, &t), VR_OK);
    assert_int_equal(t->next_hop.domain, 2);
    assert_true(vr_str_equal(t->next_hop.host, VR_STR("{home}/Maildir")));
    assert_int_equal(routing_expand(c, &arena, VR_STR("ann@any.test"), false, &t), VR_OK);
    assert_int_equal(t->next_hop.domain, 3);
    assert_int_equal(routing_expand(c, &arena, VR_STR("ann@relay.test"), false, &t), VR_OK);
    assert_int_equal(t->next_hop.domain, UINT32_MAX);
    assert_int_equal(t->next_hop.route, UINT32_MAX);
    assert_int_equal(routing_expand(c, &arena, VR_STR("ann@x.deep.exact.test"), false, &t), VR_OK);
    assert_int_equal(t->next_hop.route, 2);
    assert_int_equal(t->next_hop.tls, NEXT_HOP_TLS_VERIFY);
    assert_int_equal(routing_expand(c, &arena, VR_STR("postmaster"), false, &t), VR_OK);
    assert_int_equal(t->next_hop.domain, UINT32_MAX);
    assert_true(vr_str_equal(t->next_hop.host, VR_STR("/state/postmaster")));
    vr_arena_fini(&arena);
}

static void a_configured_postmaster_gets_it_all(void **state)
{
    (void)state;
    struct config *before = c;
    c = config_of("hostname = \"mail.a.test\" postmaster = \"Admin@a.test\"\ndomain \"a.test\" { }\ndomain "
                  "\"b.test\" { }\nroute \"*\" { to = \"smtp:smart.test\" }");
    assert_string_equal(where("postmaster", false), "Admin@a.test>maildir/admin@a.test");
    assert_string_equal(where("POSTMASTER@b.test", false), "Admin@a.test>maildir/admin@a.test");
    assert_string_equal(where("x@anywhere.test", false), "x@anywhere.test>smtp:smart.test:25");
    assert_string_equal(where("x@[192.0.2.1]", false), "x@[192.0.2.1]>smtp:smart.test:25");
    config_free(c);
    c = config_of("hostname = \"mail.a.test\" postmaster = \"postmaster@a.test\"\ndomain \"a.test\" { "
                  "}\ndomain \"b.test\" { }");
    assert_string_equal(where("postmaster", false), "postmaster@a.test>maildir/postmaster@a.test");
    assert_string_equal(where("postmaster@a.test", false), "postmaster@a.test>maildir/postmaster@a.test");
    assert_string_equal(where("postmaster@b.test", false), "postmaster@a.test>maildir/postmaster@a.test");
    config_free(c);
    c = before;
}

static void bounds_of_an_expansion(void **state)
{
    (void)state;
    static char text[1 << 20], conf[1024];
    struct config *before = c;
    size_t n = 0;
    for (int i = 0; i < 60; i++) /* a chain of 60 names */
        n += (size_t)snprintf(text + n, sizeof text - n, "n%d: n%d\n", i, i + 1);
    n += (size_t)snprintf(text + n, sizeof text - n, "many: u0");
    for (int i = 1; i <= 10000; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, ",\n u%d", i);
    n += (size_t)snprintf(text + n, sizeof text - n, "\nenough: u0");
    for (int i = 1; i < 10000; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, ",\n u%d", i);
    snprintf(conf, sizeof conf, "hostname = \"mail.a.test\"\ndomain \"a.test\" { aliases = \"%s\" }",
             file_write("large", text));
    c = config_of(conf);
    assert_non_null(strstr(where("n0@a.test", false), "error:5.4.6"));
    assert_string_equal(where("n20@a.test", false), "n60@a.test>maildir/n60@a.test");
    assert_string_equal(where("many@a.test", false),
                        "many@a.test>error:5.5.3 many@a.test leads to more than 10000 recipients");
    struct vr_arena arena;
    struct routing_target *t;
    vr_arena_init(&arena, 1 << 24);
    assert_int_equal(routing_expand(c, &arena, VR_STR("enough@a.test"), false, &t), VR_OK);
    for (n = 0; t; t = t->next)
        n++;
    assert_int_equal(n, 10000);
    vr_arena_fini(&arena);
    vr_arena_init(&arena, 20000); /* too small: told, not cut */
    assert_int_equal(routing_expand(c, &arena, VR_STR("enough@a.test"), false, &t), VR_ERR_TOO_BIG);
    assert_null(t);
    vr_arena_fini(&arena);
    config_free(c);
    c = before;
}

static void who_may_send_as_an_alias(void **state)
{
    (void)state;
    static const struct {
        const char *alias, *account;
        bool may;
    } rows[] = {
        {"root@own.test", "ann@own.test", true},
        {"ROOT@own.test", "Ann@Own.test", true},
        {"group@own.test", "ann@own.test", true},
        {"root@own.test", "bob@own.test", false},
        {"chain1@own.test", "ann@own.test", false}, /* one step only */
        {"chain3@own.test", "ann@own.test", true},
        {"ann+news@own.test", "ann@own.test", true},
        {"ann+lists@own.test", "ann@own.test", false}, /* an alias of its own */
        {"annx@own.test", "ann@own.test", false},
        {"pipe@own.test", "ann@own.test", false},
        {"root@foreign.test", "ann@own.test", false},
        {"nobody@own.test", "rest@own.test", false}, /* the catch-all gives no right */
        {"", "ann@own.test", false},
        {"root", "ann@own.test", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(routing_alias_of(c, vr_str_from(rows[i].alias), vr_str_from(rows[i].account)),
                         rows[i].may);
}

static void domains_are_found_among_thousands(void **state)
{
    (void)state;
    static char text[1 << 20];
    size_t n = (size_t)snprintf(text, sizeof text, "hostname = \"mail.a.test\"\n");
    for (int i = 0; i < 5000; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "domain \"d%d.test\" { }\nroute \"r%d.test\" { to = mx }\n", i, i);
    struct config *many = config_of(text);
    assert_ptr_equal(routing_domain(many, VR_STR("D4321.test")), &many->domains[4321]);
    assert_null(routing_domain(many, VR_STR("d5000.test")));
    assert_null(routing_domain(many, VR_STR("r1.test")));
    assert_null(routing_domain(many, VR_STR("")));
    config_free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipients_are_checked),
        cmocka_unit_test(postmaster_without_a_domain_is_ours),
        cmocka_unit_test(forms_of_relaying_through_the_local_part),
        cmocka_unit_test(recipients_are_expanded),
        cmocka_unit_test(next_hops_know_where_they_come_from),
        cmocka_unit_test(a_configured_postmaster_gets_it_all),
        cmocka_unit_test(bounds_of_an_expansion),
        cmocka_unit_test(who_may_send_as_an_alias),
        cmocka_unit_test(domains_are_found_among_thousands),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
