/* certificates.c - tests of the certificates that follow their files: src/config/certificates.h. */
#include "io_testing.h"

#include "config/certificates.h"
#include "io/tls.h"

static char folder[64], paths[6][128]; /* pairs 0/1, 2/3 that were made, 4/5 that are configured */
static struct config *config;
static struct certificates *all;

static void copy(int from, int to)
{
    struct vr_buf b;
    vr_buf_init(&b, 1 << 16);
    assert_int_equal(io_fs_read_file(paths[from], &b), 0);
    assert_int_equal(io_fs_replace_file(paths[to], vr_buf_str(&b), 0600), 0);
    vr_buf_fini(&b);
}

static int setup(void **state)
{
    char text[1024], error[256] = "";
    (void)state;
    folder_make(folder);
    for (int i = 0; i < 6; i++)
        snprintf(paths[i], sizeof paths[i], "%s/%d", folder, i);
    assert_int_equal(io_tls_self_signed("one.test", 30, paths[0], paths[1]), 0);
    assert_int_equal(io_tls_self_signed("two.test", 30, paths[2], paths[3]), 0);
    copy(0, 4);
    copy(1, 5);
    snprintf(text, sizeof text,
             "hostname = \"h.test\"\nstate = \"%s\"\ntls \"x.test\" { certificate = \"%s\"\nkey = \"%s\" }",
             folder, paths[4], paths[5]);
    struct config_load *l = config_load_text("t", vr_str_from(text));
    if (l->config == NULL)
        fail_msg("%s", l->problems->message);
    config = config_take(l);
    config_load_free(l);
    all = certificates_load(config, error);
    if (all == NULL)
        fail_msg("%s", error);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    certificates_free(all);
    config_free(config);
    folder_remove(folder);
    return 0;
}

static bool holds(int chain, int key)
{
    struct vr_buf b[2];
    bool same = true;
    int from[2] = {chain, key};
    const struct vr_buf *has[2] = {&all->items[0].chain, &all->items[0].key};
    for (int i = 0; i < 2; i++) {
        vr_buf_init(&b[i], 1 << 16);
        assert_int_equal(io_fs_read_file(paths[from[i]], &b[i]), 0);
        same = same && vr_str_equal(vr_buf_str(&b[i]), vr_buf_str(has[i]));
        vr_buf_fini(&b[i]);
    }
    return same;
}

static void expect(enum certificates_news news)
{
    char error[256] = "no error";
    enum certificates_news got = certificates_look(all, 0, error);
    if (got != news)
        fail_msg("%d instead of %d: %s", got, news, error);
}

static void a_change_counts_when_it_has_settled(void **state)
{
    (void)state;
    assert_int_equal(all->count, 1);
    assert_string_equal(all->items[0].names, "x.test");
    assert_true(holds(0, 1));
    expect(CERTIFICATES_SAME);
    copy(2, 4); /* the certificate is there, its key not yet */
    expect(CERTIFICATES_SAME);
    copy(3, 5);
    expect(CERTIFICATES_SAME);
    assert_true(holds(0, 1));
    expect(CERTIFICATES_REPLACED);
    assert_true(holds(2, 3));
    expect(CERTIFICATES_SAME);
}

static void what_cannot_be_used_is_refused_once(void **state)
{
    char error[256] = "";
    (void)state;
    copy(2, 4);
    expect(CERTIFICATES_SAME);
    expect(CERTIFICATES_REFUSED);
    expect(CERTIFICATES_SAME);
    assert_true(holds(0, 1));
    assert_int_equal(io_fs_unlink(paths[5]), 0);
    expect(CERTIFICATES_SAME);
    assert_int_equal(certificates_look(all, 0, error), CERTIFICATES_REFUSED);
    assert_non_null(strstr(error, "cannot read the private key"));
    expect(CERTIFICATES_SAME);
    assert_int_equal(io_fs_replace_file(paths[5], VR_STR(""), 0600), 0);
    expect(CERTIFICATES_SAME);
    assert_int_equal(certificates_look(all, 0, error), CERTIFICATES_REFUSED);
    assert_non_null(strstr(error, "is empty"));
    assert_true(holds(0, 1));
    copy(3, 5);
    expect(CERTIFICATES_SAME);
    expect(CERTIFICATES_REPLACED);
    assert_true(holds(2, 3));
}

static void the_same_again_is_no_news(void **state)
{
    (void)state;
    copy(0, 4); /* another file with the same bytes */
    copy(1, 5);
    expect(CERTIFICATES_SAME);
    expect(CERTIFICATES_SAME);
    copy(2, 4); /* changed and changed back between two looks */
    copy(0, 4);
    expect(CERTIFICATES_SAME);
    expect(CERTIFICATES_SAME);
    assert_true(holds(0, 1));
}

static void a_file_that_is_too_large(void **state)
{
    char error[256] = "";
    static char big[CERTIFICATE_FILE_MAX + 1];
    (void)state;
    memset(big, 'x', sizeof big);
    assert_int_equal(io_fs_replace_file(paths[4], vr_str(big, sizeof big), 0600), 0);
    expect(CERTIFICATES_SAME);
    assert_int_equal(certificates_look(all, 0, error), CERTIFICATES_REFUSED);
    assert_non_null(strstr(error, "File too large"));
    assert_true(holds(0, 1));
}

static void keys_are_forgotten(void **state)
{
    (void)state;
    certificates_forget_keys(all);
    assert_int_equal(vr_buf_size(&all->items[0].key), 0);
    assert_true(vr_buf_size(&all->items[0].chain) > 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_change_counts_when_it_has_settled),
        T(what_cannot_be_used_is_refused_once),
        T(the_same_again_is_no_news),
        T(a_file_that_is_too_large),
        T(keys_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
