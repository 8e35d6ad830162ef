/* aliases.c - tests of alias files and virtual tables: what is read, and every problem with its file and line. */
#include "config_tools.h"

/* The targets of an address, as "address>where address>where …"; where is mx, maildir:<mailbox>, or the error text. */
static const char *expansion(const struct config *c, const char *address)
{
    static char out[65536];
    struct vr_arena arena;
    struct routing_target *t = NULL;
    size_t n = 0;
    vr_arena_init(&arena, 1 << 24);
    assert_int_equal(routing_expand(c, &arena, vr_str_from(address), false, &t), VR_OK);
    assert_non_null(t);
    out[0] = '\0';
    for (; t; t = t->next) {
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%.*s", n ? " " : "", VR_STR_ARG(t->address));
        if (t->next_hop.kind == NEXT_HOP_ERROR)
            n += (size_t)snprintf(out + n, sizeof out - n, ">%.5s", t->next_hop.host.p);
        else if (t->next_hop.kind == NEXT_HOP_MAILDIR)
            n += (size_t)snprintf(out + n, sizeof out - n, ">%.*s", VR_STR_ARG(t->mailbox));
    }
    vr_arena_fini(&arena);
    return out;
}

static struct config_load *load_with(const char *key, const char *path)
{
    char text[1024];
    snprintf(text, sizeof text,
             "hostname = \"mail.a.test\"\ndomain \"a.test\" { %s = \"%s\" }\ndomain \"b.test\" { }\n", key,
             path);
    return config_load_text("main.conf", vr_str_from(text));
}

static void an_alias_file_is_read(void **state)
{
    (void)state;
    file_write("list", "# members\nann, bob@c.test\n\n  \"carl c\"@c.test\n:include:$/list2\n");
    file_write("list2", "dora\n");
    const char *path = file_write("aliases", "# a comment\n"
                                             "\n"
                                             "Root: ann\n"
                                             "  # a comment inside\n"
                                             "webmaster:\tann,\n"
                                             "\tbob@c.test ,\n"
                                             "    <dora@A.test>\n"
                                             "\"with blank\": ann\n"
                                             "quoted@b: ann\n"
                                             "full@a.test: ann\n"
                                             "everyone: :include:$/list, eve\n"
                                             "quotedlist: \":include:$/list2\"\n"
                                             "keep: \\keep, copy@c.test\n"
                                             "joe: joe, archive@c.test\n"
                                             "ann+special: bob\r\n"
                                             "space : ann\n"
                                             "\"a:b\": ann");
    struct config_load *l = load_with("aliases", path);
    assert_string_equal(problems_text(l), "aliases:9: warning: \"quoted@b\" is never used: b is no domain of "
                                          "this server; expected an address of a.test\n");
    static const struct {
        const char *address, *targets;
    } rows[] = {
        {"root@a.test", "ann@a.test>ann@a.test"},
        {"ROOT@A.TEST", "ann@a.test>ann@a.test"},
        {"webmaster@a.test", "ann@a.test>ann@a.test bob@c.test dora@a.test>dora@a.test"},
        {"\"with blank\"@a.test", "ann@a.test>ann@a.test"},
        {"full@a.test", "ann@a.test>ann@a.test"},
        {"everyone@a.test",
         "ann@a.test>ann@a.test bob@c.test \"carl c\"@c.test dora@a.test>dora@a.test eve@a.test>eve@a.test"},
        {"quotedlist@a.test", "dora@a.test>dora@a.test"},
        {"keep@a.test", "keep@a.test>keep@a.test copy@c.test"},
        {"joe@a.test", "joe@a.test>joe@a.test archive@c.test"},
        {"joe+x@a.test", "joe@a.test>joe@a.test archive@c.test"},
        {"ann+special@a.test", "bob@a.test>bob@a.test"},
        {"ann+other@a.test", "ann+other@a.test>ann@a.test"},
        {"space@a.test", "ann@a.test>ann@a.test"},
        {"\"a:b\"@a.test", "ann@a.test>ann@a.test"},
        {"root@b.test", "root@b.test>root@b.test"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(expansion(l->config, rows[i].address), rows[i].targets);
    config_load_free(l);
}

static void every_problem_of_an_alias_file_is_told(void **state)
{
    (void)state;
    file_write("list", "ann\n|run\nnot an address at all@\n");
    const char *path = file_write("aliases", "\tindented: ann\n"
                                             "no colon here\n"
                                             "empty:\n"
                                             "pipe: \"|/usr/bin/vacation ann\", ann\n"
                                             "file: /var/mail/x\n"
                                             "pipe: ann\n"
                                             "bad: ann@b..test,\n"
                                             "   ok\n"
                                             "list: :include:$/list\n"
                                             "gone: :include:/nonexistent/list\n"
                                             "relative: :include:list\n"
                                             ": ann\n");
    struct config_load *l = load_with("aliases", path);
    char *text = problems_text(l);
    static const char *const wanted[] = {
        "aliases:1: a line that begins with a blank continues the one before, but there is none",
        "aliases:2: the line \"no colon here\" is not understood; expected name: target, target",
        "aliases:3: `empty` has no targets",
        ("aliases:4: warning: `pipe` goes to \"|/usr/bin/vacation ann\", but pipes and files are not "
         "delivered to by this version; the recipient `pipe` will be refused"),
        "aliases:5: warning: `file` goes to \"/var/mail/x\", but pipes and files",
        "aliases:6: warning: `pipe` a second time; the one at aliases:4 is used",
        "aliases:7: the target \"ann@b..test\" of `bad` is no address",
        "aliases:10: cannot read the list /nonexistent/list of the alias `gone`: No such file",
        "aliases:11: :include: has \"list\"; expected a path that begins with /",
        "aliases:12: the line \": ann\" is not understood",
        "list:2: warning: `list` goes to \"|run\"",
        "list:3: the target \"not an address at all@\" of `list` is no address",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (strncmp(text, wanted[i], strlen(wanted[i])) != 0)
            print_error("wanted %s\nfound  %s", wanted[i], text);
        assert_int_equal(strncmp(text, wanted[i], strlen(wanted[i])), 0);
        text = strchr(text, '\n') + 1;
    }
    assert_string_equal(text, "");
    assert_null(l->config);
    config_load_free(l);
}

static void pipes_and_files_refuse_their_mail(void **state)
{
    (void)state;
    const char *path =
        file_write("aliases", "pipe: \"|/bin/x\"\nfile: /var/mail/x\nboth: |x, ann\nnested: pipe, ann\n");
    struct config_load *l = load_with("aliases", path);
    assert_int_equal(l->errors, 0);
    assert_int_equal(l->warnings, 3);
    assert_string_equal(expansion(l->config, "pipe@a.test"), "pipe@a.test>5.3.5");
    assert_string_equal(expansion(l->config, "file@a.test"), "file@a.test>5.3.5");
    assert_string_equal(expansion(l->config, "both@a.test"), "both@a.test>5.3.5 ann@a.test>ann@a.test");
    assert_string_equal(expansion(l->config, "nested@a.test"), "pipe@a.test>5.3.5 ann@a.test>ann@a.test");
    config_load_free(l);
}

static void an_include_list_that_includes_itself_ends(void **state)
{
    (void)state;
    file_write("list", "ann\n:include:$/list\n");
    const char *path = file_write("aliases", "all: :include:$/list\n");
    struct config_load *l = load_with("aliases", path);
    assert_int_equal(l->errors, 1);
    assert_string_equal(error_places(l), "list:2 ");
    config_load_free(l);
}

static void a_virtual_table_is_read(void **state)
{
    (void)state;
    const char *path = file_write("virtual", "# comment\n"
                                             "a.test          anything\n"
                                             "ann@a.test      ann@c.test, Ann@B.test\n"
                                             "bob@A.test      bob,\n"
                                             "\tkeep@c.test\n"
                                             "other@b.test    x@c.test\n"
                                             "@b.test         y@c.test\n"
                                             "\"q q\"@a.test    z@c.test\n"
                                             "@a.test         rest@c.test, ann\n"
                                             "@a.test         second@c.test\n"
                                             "u@nobody.test   x@c.test\n"
                                             "@nobody.test    x@c.test\n"
                                             "lonely@a.test\n");
    struct config_load *l = load_with("virtual", path);
    assert_string_equal(
        problems_text(l),
        "virtual:10: warning: \"@a.test\" a second time; the one at virtual:9 is used\n"
        "virtual:11: warning: \"u@nobody.test\" is never used: nobody.test is no domain of this server; "
        "expected an address of a.test\n"
        "virtual:12: warning: \"@nobody.test\" is never used: it is no domain of this server\n"
        "virtual:13: the line \"lonely@a.test\" is not understood; expected address  target, target\n");
    config_load_free(l);
    path = file_write("good", "ann@a.test ann@c.test, Ann@B.test\nbob@a.test bob\n\t, keep@c.test\n@a.test "
                              "rest@c.test\n\"q q\"@a.test z@c.test\n");
    l = load_with("virtual", path);
    assert_string_equal(problems_text(l), "");
    assert_string_equal(expansion(l->config, "ann+x@a.test"), "ann@c.test Ann@b.test>ann@b.test");
    assert_string_equal(expansion(l->config, "bob@a.test"), "bob@a.test>bob@a.test keep@c.test");
    assert_string_equal(expansion(l->config, "\"Q q\"@a.test"), "z@c.test");
    config_load_free(l);
    l = load_with("virtual", file_write("bad", "ann@a.test ann@c.test copy@c.test\nbob@a.test: bob\n"));
    assert_string_equal(error_places(l), "bad:1 bad:2 ");
    config_load_free(l);
}

static void virtual_goes_before_aliases(void **state)
{
    (void)state;
    const char *aliases = file_write("aliases", "ann: from-aliases@c.test\nbob: bob-aliases@c.test\n");
    char text[2048];
    const char *virtual = file_write("virtual", "ann@a.test from-virtual@c.test\n@a.test rest@c.test\n");
    snprintf(text, sizeof text,
             "hostname = \"mail.a.test\"\ndomain \"a.test\" { aliases = \"%s\" virtual = \"%s\" }\n"
             "domain \"any.test\" { mailboxes = any virtual = \"%s\" }\n",
             aliases, virtual, file_write("any", "@any.test all@c.test\nme@any.test me@any.test\n"));
    struct config *c = config_of(text);
    assert_string_equal(expansion(c, "ann@a.test"), "from-virtual@c.test");
    assert_string_equal(expansion(c, "bob@a.test"), "bob-aliases@c.test");
    assert_string_equal(expansion(c, "who@a.test"),
                        "who@a.test>who@a.test"); /* the account decides, then the catch-all */
    assert_string_equal(expansion(c, "who@any.test"), "all@c.test");
    assert_string_equal(expansion(c, "me@any.test"), "me@any.test>me@any.test");
    config_free(c);
}

static void a_large_table_is_found_in(void **state)
{
    (void)state;
    static char text[1 << 20];
    size_t n = 0;
    for (int i = 0; i < 20000; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "user%d: box%d@c.test\n", i, i);
    struct config_load *l = load_with("aliases", file_write("big", text));
    assert_int_equal(l->errors + l->warnings, 0);
    assert_string_equal(expansion(l->config, "user0@a.test"), "box0@c.test");
    assert_string_equal(expansion(l->config, "user19999@a.test"), "box19999@c.test");
    assert_string_equal(expansion(l->config, "user20000@a.test"), "user20000@a.test>user20000@a.test");
    config_load_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_alias_file_is_read, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(every_problem_of_an_alias_file_is_told, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(pipes_and_files_refuse_their_mail, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(an_include_list_that_includes_itself_ends, folder_make,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(a_virtual_table_is_read, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(virtual_goes_before_aliases, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(a_large_table_is_found_in, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
