/* config_srs.c - the section `srs`: what it may hold, its secrets, and the way of addresses by it. */
#include "config_tools.h"

#include <veredus/address.h>

#define HEAD "hostname = mx.own.test state = \"$/state\"\ndomain \"own.test\" { aliases = \"$/aliases\" }\n"
#define NOW  1795831240 /* when postsrsd made the addresses below */

static struct config *load(const char *name, const char *more, const char *problems)
{
    char text[1024];
    file_write("aliases", "joe: joe@far.test\n");
    snprintf(text, sizeof text, HEAD "%s\n", more);
    struct config_load *l = config_load_file(file_write(name, text));
    assert_string_equal(problems_text(l), problems);
    struct config *c = config_take(l);
    config_load_free(l);
    return c;
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    static const char *const wrongs[][2] = {
        {"srs { domain = \"a b\" }",
         "c:3: `domain` is \"a b\"; expected a domain of this server, such as \"example.org\"\n"},
        {"srs { secret_file = \"$/aliases\" }",
         "c:3: the section `srs` has no `domain`, so no reverse path is rewritten; expected domain = "
         "\"example.org\", a domain of "
         "this server\n"},
        {"srs { domain = own.test max_age = 1h }",
         "c:3: `max_age` is \"1h\"; expected a time with its unit (ms, s, m, h or d) from 1d to 1000d\n"},
        {"srs { domain = own.test secret_file = \"$/none\" }",
         "c:3: cannot read the secret of SRS addresses none: No such file or directory; correct the "
         "path or its permissions\n"},
        {"srs { domain = other.test }", "c:3: warning: other.test is no domain of this server, so nothing "
                                        "but reports will be taken for it, not even mail for "
                                        "its postmaster; expected a section domain \"other.test\" too\n"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        config_free(load("c", wrongs[i][0], wrongs[i][1]));
    }
}

static void secrets_are_read(void **state)
{
    (void)state;
    char error[512], path[400];
    const char *secret = file_write("secret", "first\r\n\n  second \n");
    struct config *c = load("c", "srs { domain = own.test secret_file = \"$/secret\" max_age = 10d }", "");
    config_srs_path(c, path);
    assert_string_equal(path, secret);
    assert_true(config_srs_read(c, error));
    struct srs srs = config_srs(c);
    assert_int_equal(srs.secret_count, 2);
    assert_true(vr_str_equal(srs.secrets[0], VR_STR("first")) &&
                vr_str_equal(srs.secrets[1], VR_STR("second")));
    assert_int_equal(srs.max_age, 10);
    assert_true(config_srs_read(c, error)); /* again: not twice as many */
    assert_int_equal(config_srs(c).secret_count, 2);
    const char *kept = c->srs.secrets[0].p;
    config_forget_srs(c);
    assert_int_equal(kept[0], 0);
    assert_int_equal(config_srs(c).secret_count, 0);

    file_write("secret", "\n \n");
    assert_false(config_srs_read(c, error));
    assert_non_null(strstr(error, "is empty"));
    file_write("secret", "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    assert_false(config_srs_read(c, error));
    assert_non_null(strstr(error, "more than 8"));
    unlink(secret);
    assert_false(config_srs_read(c, error));
    assert_non_null(strstr(error, "No such file"));
    struct vr_buf printed;
    vr_buf_init(&printed, 1 << 20);
    assert_true(config_print(c, &printed));
    vr_buf_add_byte(&printed, '\0');
    assert_non_null(strstr(vr_buf_str(&printed).p, "srs {\n    domain = \"own.test\"\n"));
    vr_buf_fini(&printed);
    config_free(c);
    c = load("c2", "", "");
    assert_true(config_srs_read(c, error)); /* nothing to read */
    config_srs_path(c, path);
    assert_non_null(strstr(path, "/state/srs.secret"));
    config_free(c);
}

static struct config *with_secret(void)
{
    char error[512];
    file_write("secret", "tops3cret\n");
    struct config *c =
        load("c", "domain \"fwd.test\" { }\nsrs { domain = fwd.test secret_file = \"$/secret\" }", "");
    assert_true(config_srs_read(c, error));
    return c;
}

static void reverse_paths_are_rewritten(void **state)
{
    (void)state;
    static const char *const all[][2] = {
        {"ann@example.org", "SRS0=gMPl=JR=example.org=ann@fwd.test"},
        {"", ""},             /* a report */
        {"ann@own.test", ""}, /* of our domains */
        {"ann@FWD.test", ""},
        {"no address", ""},
    };
    struct config *c = with_secret();
    struct vr_arena arena;
    vr_arena_init(&arena, 1 << 16);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct vr_str got = routing_srs_forward(c, &arena, vr_str_from(all[i][0]), NOW);
        if (!vr_str_equal(got, vr_str_from(all[i][1])))
            fail_msg("%s: %.*s", all[i][0], VR_STR_ARG(got));
    }
    config_forget_srs(c); /* a process without the secrets rewrites nothing, and takes nothing for good */
    assert_int_equal(routing_srs_forward(c, &arena, VR_STR("ann@example.org"), NOW).n, 0);
    struct address a = {.local = VR_STR("SRS0=gMPl=JR=example.org=ann"), .domain = VR_STR("fwd.test")}, out;
    assert_int_equal(routing_srs(c, &arena, &a, NOW, &out), SRS_FORGED);
    vr_arena_fini(&arena);
    config_free(c);
}

static void addresses_that_come_back(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        int days; /* later; negative: age does not count */
        enum srs_verdict verdict;
        const char *target; /* of routing_expand, which does not look at the age */
    } all[] = {
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", 0, SRS_GOOD, "ann@example.org"},
        {"SRS0=gMPl=JR=example.org=ann@FWD.test", 21, SRS_GOOD, "ann@example.org"},
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", 22, SRS_EXPIRED, "ann@example.org"},
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", 500, SRS_EXPIRED, "ann@example.org"},
        {"SRS0=gMPl=JR=example.org=ann@fwd.test", -1, SRS_GOOD, "ann@example.org"},
        {"SRS1=QjnD=other.test==abcd=EF=example.org=ann@fwd.test", 0, SRS_GOOD,
         "SRS0=abcd=EF=example.org=ann@other.test"},
        {"SRS0=XXXX=JR=example.org=ann@fwd.test", 0, SRS_FORGED, "srs0=xxxx=jr=example.org=ann@fwd.test"},
        {"SRS0=gMPl@fwd.test", 0, SRS_BROKEN, "srs0=gmpl@fwd.test"},
        {"ann@fwd.test", 0, SRS_NONE, "ann@fwd.test"},
        {"SRS0=gMPl=JR=example.org=ann@own.test", 0, SRS_NONE, "srs0=gmpl=jr=example.org=ann@own.test"},
        {"SRS0=gMPl=JR=example.org=ann@foreign.test", 0, SRS_NONE,
         "SRS0=gMPl=JR=example.org=ann@foreign.test"},
    };
    struct config *c = with_secret();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct vr_arena arena;
        struct address a, out;
        struct routing_target *targets;
        const char *why;
        vr_arena_init(&arena, 1 << 20);
        assert_int_equal(address_parse(&arena, vr_str_from(all[i].address), 0, &a, &why), VR_OK);
        enum srs_verdict v =
            routing_srs(c, &arena, &a, all[i].days < 0 ? -1 : NOW + all[i].days * 86400, &out);
        if (v != all[i].verdict)
            fail_msg("%s after %d days: %s", all[i].address, all[i].days, srs_verdict_name(v));
        assert_int_equal(routing_expand(c, &arena, vr_str_from(all[i].address), false, &targets), VR_OK);
        assert_null(targets->next);
        if (!vr_str_equal_nocase(targets->address, vr_str_from(all[i].target)))
            fail_msg("%s: %.*s", all[i].address, VR_STR_ARG(targets->address));
        vr_arena_fini(&arena);
    }
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_wrong_is_told, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(secrets_are_read, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(reverse_paths_are_rewritten, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(addresses_that_come_back, folder_make, folder_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
