/* dkim_store.c - the store of DKIM keys: what is on disk, who may read it, rotation over time, what is to be published. */
#include "folder_testing.h"

#include "keeper/dkim_store.h"

#include "io/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define DAY 86400
#define NOW 1800000000

static const struct dkim_owner mine = {.as_caller = true};
static char folder[64], error[DKIM_STORE_ERROR];
static struct vr_arena arena;
static struct vr_buf rsa, ed25519; /* keys are dear: made once */

static int make_keys(void **state)
{
    (void)state;
    vr_buf_init(&rsa, 8192);
    vr_buf_init(&ed25519, 8192);
    return dkim_key_make(DKIM_RSA_SHA256, 2048, &rsa) && dkim_key_make(DKIM_ED25519_SHA256, 0, &ed25519) ? 0
                                                                                                         : -1;
}

static int free_keys(void **state)
{
    (void)state;
    vr_buf_fini(&rsa);
    vr_buf_fini(&ed25519);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    vr_arena_init(&arena, 1u << 20);
    error[0] = '\0';
    return folder_new(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    vr_arena_fini(&arena);
    folder_remove(folder);
    return 0;
}

static struct dkim_stored *add(struct dkim_ring *r, const char *selector, const struct vr_buf *pem)
{
    struct dkim_stored *k;
    if (dkim_ring_add(r, vr_str_from(selector), vr_buf_str(pem), NOW, &k, error) != DKIM_STORE_OK)
        fail_msg("%s", error);
    return k;
}

/* One key of each algorithm that signs. */
static void store_two(void)
{
    struct dkim_ring *r = dkim_ring_new(VR_STR("example.org"));
    dkim_ring_activate(r, add(r, "one", &rsa), NOW, 7 * DAY);
    dkim_ring_activate(r, add(r, "two", &ed25519), NOW, 7 * DAY);
    int lock = dkim_store_lock(folder, mine, error);
    assert_true(lock >= 0);
    assert_int_equal(dkim_store_save(folder, r, mine, error), DKIM_STORE_OK);
    io_fs_close(lock);
    dkim_ring_free(r);
}

static unsigned mode_of(const char *name)
{
    char path[160];
    struct io_fs_stat st;
    snprintf(path, sizeof path, "%s/dkim%s%s", folder, name[0] != '\0' ? "/" : "", name);
    assert_int_equal(io_fs_stat(path, &st), 0);
    return st.mode & 0777;
}

static void test_stored_and_read_again(void **state)
{
    (void)state;
    struct dkim_ring *r;
    assert_int_equal(dkim_store_load(folder, VR_STR("example.org"), &r, error), DKIM_STORE_NONE);
    store_two();
    assert_int_equal(mode_of(""), 0700);
    assert_int_equal(mode_of("example.org"), 0600);
    assert_int_equal(dkim_store_load(folder, VR_STR("example.org"), &r, error), DKIM_STORE_OK);
    assert_int_equal(r->count, 2);
    assert_true(vr_str_equal(r->keys[0].selector, VR_STR("one")));
    assert_int_equal(dkim_key_algorithm(r->keys[0].key), DKIM_RSA_SHA256);
    assert_int_equal(dkim_key_bits(r->keys[0].key), 2048);
    assert_int_equal(dkim_key_algorithm(r->keys[1].key), DKIM_ED25519_SHA256);
    assert_true(r->keys[0].created == NOW && r->keys[0].from == NOW && r->keys[0].until == DKIM_NEVER);
    /* the same key: what it signs is what it signed before */
    struct dkim_key *before;
    const char *why;
    uint8_t digest[DKIM_DIGEST] = "a digest of thirty-two octets !";
    struct vr_str a, b;
    assert_int_equal(dkim_key_load(vr_buf_str(&rsa), &before, &why), VR_OK);
    assert_int_equal(dkim_key_sign(before, digest, &arena, &a), VR_OK);
    assert_int_equal(dkim_key_sign(r->keys[0].key, digest, &arena, &b), VR_OK);
    assert_true(vr_str_equal(a, b));
    dkim_key_free(before);
    dkim_ring_free(r);
}

static void test_a_change_is_seen_and_only_that(void **state)
{
    (void)state;
    uint64_t version = 0;
    struct dkim_ring *r, *again;
    store_two();
    assert_int_equal(dkim_store_reload(folder, VR_STR("example.org"), &version, &r, error), DKIM_STORE_OK);
    assert_int_equal(dkim_store_reload(folder, VR_STR("example.org"), &version, &again, error),
                     DKIM_STORE_SAME);
    assert_null(again);
    r->keys[0].until = NOW + 1;
    assert_int_equal(dkim_store_save(folder, r, mine, error), DKIM_STORE_OK);
    dkim_ring_free(r);
    assert_int_equal(dkim_store_reload(folder, VR_STR("example.org"), &version, &r, error), DKIM_STORE_OK);
    assert_true(r->keys[0].until == NOW + 1);
    while (r->count > 0)
        dkim_ring_remove(r, r->keys, NOW);
    assert_int_equal(dkim_store_save(folder, r, mine, error), DKIM_STORE_OK);
    dkim_ring_free(r);
    assert_int_equal(dkim_store_reload(folder, VR_STR("example.org"), &version, &r, error), DKIM_STORE_NONE);
    assert_int_equal(version, 0);
}

/* The life of a ring: made, rotated with an overlap, the old key retired. */
static void test_rotation_over_time(void **state)
{
    (void)state;
    static const struct {
        int64_t after;
        enum dkim_phase old, new;
        const char *signer;
    } rows[] = {
        {0, DKIM_SIGNING, DKIM_WAITING, "old"},        {2 * DAY - 1, DKIM_SIGNING, DKIM_WAITING, "old"},
        {2 * DAY, DKIM_RETIRING, DKIM_SIGNING, "new"}, {9 * DAY - 1, DKIM_RETIRING, DKIM_SIGNING, "new"},
        {9 * DAY, DKIM_RETIRED, DKIM_SIGNING, "new"},  {1000 * DAY, DKIM_RETIRED, DKIM_SIGNING, "new"},
    };
    struct dkim_ring *r = dkim_ring_new(VR_STR("example.org"));
    struct vr_buf other;
    vr_buf_init(&other, 8192);
    assert_true(dkim_key_make(DKIM_RSA_SHA256, 2048, &other));
    dkim_ring_activate(r, add(r, "old", &rsa), NOW - 100, 7 * DAY);
    struct dkim_stored *new = add(r, "new", &other);
    assert_int_equal(dkim_phase_of(new, INT64_MAX - 1), DKIM_WAITING); /* until somebody says when */
    dkim_ring_activate(r, new, NOW + 2 * DAY, 7 * DAY);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t at = NOW + rows[i].after;
        assert_int_equal(dkim_phase_of(&r->keys[0], at), rows[i].old);
        assert_int_equal(dkim_phase_of(&r->keys[1], at), rows[i].new);
        assert_true(
            vr_str_equal(dkim_ring_signer(r, DKIM_RSA_SHA256, at)->selector, vr_str_from(rows[i].signer)));
    }
    assert_null(dkim_ring_signer(r, DKIM_ED25519_SHA256, NOW));
    assert_null(dkim_ring_signer(r, DKIM_RSA_SHA256, NOW - 101));
    /* sooner than planned */
    dkim_ring_activate(r, &r->keys[1], NOW + 5, DAY);
    assert_int_equal(dkim_phase_of(&r->keys[0], NOW + 5), DKIM_RETIRING);
    assert_int_equal(dkim_phase_of(&r->keys[0], NOW + 5 + DAY), DKIM_RETIRED);
    dkim_ring_free(r);
    vr_buf_fini(&other);
}

/* A successor that is taken back before its time leaves no hole: who signs goes on. */
static void test_a_plan_is_taken_back(void **state)
{
    (void)state;
    struct dkim_ring *r = dkim_ring_new(VR_STR("example.org"));
    struct vr_buf other;
    vr_buf_init(&other, 8192);
    assert_true(dkim_key_make(DKIM_ED25519_SHA256, 0, &other));
    dkim_ring_activate(r, add(r, "old", &ed25519), NOW - 100, DAY);
    dkim_ring_activate(r, add(r, "beside", &rsa), NOW - 100, DAY);
    dkim_ring_activate(r, add(r, "new", &other), NOW + DAY, DAY);
    assert_int_equal(dkim_phase_of(&r->keys[0], NOW + DAY), DKIM_RETIRING);
    dkim_ring_remove(r, &r->keys[2], NOW);
    assert_int_equal(r->count, 2);
    assert_int_equal(dkim_phase_of(&r->keys[0], NOW + 100 * DAY), DKIM_SIGNING);
    /* one whose time has come is another matter: its predecessor stays retired */
    dkim_ring_activate(r, add(r, "new", &other), NOW, DAY);
    dkim_ring_remove(r, &r->keys[2], NOW + 1);
    assert_int_equal(dkim_phase_of(&r->keys[0], NOW + 1), DKIM_RETIRING);
    dkim_ring_free(r);
    vr_buf_fini(&other);
}

/* An Ed25519 key beside an RSA key takes nothing from it. */
static void test_algorithms_do_not_meet(void **state)
{
    (void)state;
    struct dkim_ring *r = dkim_ring_new(VR_STR("example.org"));
    dkim_ring_activate(r, add(r, "a", &rsa), NOW, DAY);
    dkim_ring_activate(r, add(r, "b", &ed25519), NOW + 1, DAY);
    assert_true(r->keys[0].until == DKIM_NEVER);
    assert_non_null(dkim_ring_signer(r, DKIM_RSA_SHA256, NOW + 2));
    assert_non_null(dkim_ring_signer(r, DKIM_ED25519_SHA256, NOW + 2));
    dkim_ring_free(r);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *selector, *text, *says;
    } rows[] = {
        {"", NULL, "is none"},
        {"a b", NULL, "is none"},
        {"-", NULL, "is none"},
        {"one", NULL, "has a key already"},
        {"ONE", NULL, "has a key already"},
        {"x", "no key", "no private key"},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL, "is none"},
    };
    struct dkim_ring *r = dkim_ring_new(VR_STR("example.org"));
    add(r, "one", &rsa);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str text = rows[i].text != NULL ? vr_str_from(rows[i].text) : vr_buf_str(&ed25519);
        assert_int_equal(dkim_ring_add(r, vr_str_from(rows[i].selector), text, NOW, NULL, error),
                         DKIM_STORE_INVALID);
        if (strstr(error, rows[i].says) == NULL)
            fail_msg("\"%s\": %s", rows[i].selector, error);
    }
    for (unsigned i = 0; r->count < DKIM_STORE_KEYS; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%u", i);
        add(r, name, &ed25519);
    }
    assert_int_equal(dkim_ring_add(r, VR_STR("more"), vr_buf_str(&ed25519), NOW, NULL, error),
                     DKIM_STORE_INVALID);
    assert_non_null(strstr(error, "at most 16"));
    dkim_ring_free(r);
}

static void test_names_of_domains(void **state)
{
    (void)state;
    static const struct {
        const char *given, *stored; /* NULL: no domain */
    } rows[] = {
        {"Example.ORG", "example.org"},
        {"b\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example"},
        {"org", NULL},
        {"", NULL},
        {"../accounts", NULL},
        {".lock", NULL},
        {"a/b.example", NULL},
        {"[192.0.2.1]", NULL},
        {"a..b", NULL},
        {"-", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vr_str out;
        enum dkim_store_result r = dkim_store_domain(&arena, vr_str_from(rows[i].given), &out, error);
        assert_int_equal(r, rows[i].stored != NULL ? DKIM_STORE_OK : DKIM_STORE_INVALID);
        if (rows[i].stored != NULL)
            assert_true(vr_str_equal(out, vr_str_from(rows[i].stored)));
        else
            assert_non_null(strstr(error, "no domain"));
    }
}

static void test_damaged_files_are_told_of(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"# fine\nnonsense\n", "line 2: expected a line"},
        {"key a created=1 from=1 until=- keep=-\n", "ends within a key"},
        {"key a created=1 from=1 until=-\n", "line 1: expected: key"},
        {"key a created=1 from=1 until=- keep=- more=1\n", "line 1: expected: key"},
        {"key a created=1 from=1 from=1 until=- keep=-\n", "line 1: expected: key"},
        {"key a created=1 from=99999999999999999999 until=- keep=-\n", "line 1: expected: key"},
        {"key a created=1 from=1 until=- keep=-\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE "
         "KEY-----\n",
         "line 4: this is no private key"},
        {"key a created=1 from=1 until=- keep=-\n-----BEGIN PRIVATE KEY-----\nAAAA\n", "ends within a key"},
    };
    char path[160];
    struct dkim_ring *r;
    store_two();
    snprintf(path, sizeof path, "%s/dkim/example.org", folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(io_fs_replace_file(path, vr_str_from(rows[i].text), 0600), 0);
        assert_int_equal(dkim_store_load(folder, VR_STR("example.org"), &r, error), DKIM_STORE_TROUBLE);
        if (strstr(error, rows[i].says) == NULL || strstr(error, path) == NULL)
            fail_msg("row %zu: %s", i, error);
    }
    char big[300 << 10];
    memset(big, '#', sizeof big);
    assert_int_equal(io_fs_replace_file(path, vr_str(big, sizeof big), 0600), 0);
    assert_int_equal(dkim_store_load(folder, VR_STR("example.org"), &r, error), DKIM_STORE_TROUBLE);
}

static void test_one_changes_at_a_time(void **state)
{
    (void)state;
    int first = dkim_store_lock(folder, mine, error);
    assert_true(first >= 0);
    assert_true(dkim_store_lock(folder, mine, error) < 0);
    assert_non_null(strstr(error, "try again"));
    io_fs_close(first);
    first = dkim_store_lock(folder, mine, error);
    assert_true(first >= 0);
    io_fs_close(first);
}

static void test_what_a_dead_writer_left_is_no_hindrance(void **state)
{
    (void)state;
    char path[160];
    store_two();
    snprintf(path, sizeof path, "%s/dkim/.new", folder);
    assert_int_equal(io_fs_replace_file(path, VR_STR("half a ke"), 0644), 0);
    store_two();
    struct dkim_ring *r;
    assert_int_equal(dkim_store_load(folder, VR_STR("example.org"), &r, error), DKIM_STORE_OK);
    dkim_ring_free(r);
    assert_int_equal(mode_of("example.org"), 0600);
}

static bool count_domain(void *arg, struct vr_str domain)
{
    unsigned *n = arg;
    (*n)++;
    return vr_str_equal(domain, VR_STR("example.org"));
}

static void test_domains_are_listed(void **state)
{
    (void)state;
    unsigned n = 0;
    assert_int_equal(dkim_store_domains(folder, count_domain, &n, error), DKIM_STORE_NONE);
    store_two(); /* and .lock, which is none */
    assert_int_equal(dkim_store_domains(folder, count_domain, &n, error), DKIM_STORE_OK);
    assert_int_equal(n, 1);
}

static void test_what_is_published(void **state)
{
    (void)state;
    const struct dkim_published *p;
    size_t n;
    assert_int_equal(dkim_store_records(folder, VR_STR("example.org"), NOW, &arena, &p, &n, error),
                     DKIM_STORE_NONE);
    store_two();
    assert_int_equal(dkim_store_records(folder, VR_STR("EXAMPLE.org"), NOW, &arena, &p, &n, error),
                     DKIM_STORE_OK);
    assert_int_equal(n, 2);
    assert_true(vr_str_equal(p[0].name, VR_STR("one._domainkey.example.org")));
    assert_true(vr_str_starts(p[0].value, VR_STR("v=DKIM1; k=rsa; p=MIIB")));
    assert_true(vr_str_starts(p[1].value, VR_STR("v=DKIM1; k=ed25519; p=")));
    assert_int_equal(p[0].phase, DKIM_SIGNING);
    struct dkim_record record;
    const char *why;
    assert_int_equal(dkim_record_parse(&arena, p[0].value, &record, &why), VR_OK);
    assert_int_equal(record.bits, 2048);
    struct vr_buf zone;
    vr_buf_init(&zone, 4096);
    assert_true(dkim_zone_line(&zone, &p[0]));
    struct vr_str text = vr_buf_str(&zone), word;
    assert_true(vr_str_starts(text, VR_STR("one._domainkey.example.org. IN TXT ( \"v=DKIM1; k=rsa; p=")));
    size_t strings = 0;
    for (bool inside = false; vr_str_split(&text, '"', &word); inside = !inside)
        if (inside) {
            assert_true(word.n <= 255);
            strings++;
        }
    assert_int_equal(strings, 2);
    vr_buf_fini(&zone);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_stored_and_read_again),  TEST(test_a_change_is_seen_and_only_that),
        TEST(test_rotation_over_time),     TEST(test_a_plan_is_taken_back),
        TEST(test_algorithms_do_not_meet), TEST(test_what_is_refused),
        TEST(test_names_of_domains),       TEST(test_damaged_files_are_told_of),
        TEST(test_one_changes_at_a_time),  TEST(test_what_a_dead_writer_left_is_no_hindrance),
        TEST(test_domains_are_listed),     TEST(test_what_is_published),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
