/* accounts.c - the accounts data base: what is stored, what is refused, who sees changes. */
#include "folder_testing.h"

#include "keeper/accounts.h"

#include "io/fs.h"

#include <sqlite3.h>

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t salts[ACCOUNTS_SALTS] = "0123456789abcdefFEDCBA9876543210 another 16 !!!";

static char folder[64], path[96];

static int setup(void **state)
{
    (void)state;
    if (!folder_new(folder))
        return -1;
    snprintf(path, sizeof path, "%s/accounts.db", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static struct accounts *open_new(void)
{
    char error[256] = "";
    struct accounts *a = accounts_open(path, true, error);
    if (a == NULL)
        fail_msg("%s", error);
    return a;
}

static void test_made_private_and_reopened(void **state)
{
    (void)state;
    char error[256];
    assert_null(accounts_open(path, false, error)); /* nothing there */
    assert_non_null(strstr(error, path));
    struct accounts *a = open_new();
    struct io_fs_stat st;
    assert_int_equal(io_fs_stat(path, &st), 0);
    assert_int_equal(st.mode & 0777, 0600);
    uint8_t secret[16], again[16];
    assert_int_equal(accounts_secret(a, secret), ACCOUNTS_OK);
    accounts_close(a);
    a = open_new(); /* create on an existing one opens it */
    assert_int_equal(accounts_secret(a, again), ACCOUNTS_OK);
    assert_memory_equal(secret, again, 16);
    accounts_close(a);
}

static void test_add_verify_change_remove(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    struct vr_str ann = VR_STR("Ann@Example.ORG"), lower = VR_STR("ann@example.org");
    assert_int_equal(accounts_add(a, ann, VR_STR("correct horse"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_add(a, lower, VR_STR("other"), salts), ACCOUNTS_EXISTS);
    assert_int_equal(accounts_exists(a, ann), ACCOUNTS_OK);
    assert_int_equal(accounts_exists(a, VR_STR("bob@example.org")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_verify(a, lower, VR_STR("correct horse")), ACCOUNTS_OK);
    assert_int_equal(accounts_verify(a, lower, VR_STR("Correct horse")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_verify(a, lower, VR_STR("")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_verify(a, VR_STR("bob@example.org"), VR_STR("x")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_set_password(a, ann, VR_STR("new one"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_verify(a, lower, VR_STR("correct horse")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_verify(a, lower, VR_STR("new one")), ACCOUNTS_OK);
    assert_int_equal(accounts_set_password(a, VR_STR("bob@example.org"), VR_STR("x"), salts),
                     ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_remove(a, ann), ACCOUNTS_OK);
    assert_int_equal(accounts_remove(a, ann), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_exists(a, ann), ACCOUNTS_NO_SUCH);
    accounts_close(a);
}

static void test_scram_keys(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    struct sasl_scram_keys stored, derived;
    assert_int_equal(accounts_add(a, VR_STR("ann@example.org"), VR_STR("pencil"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_scram(a, VR_STR("ANN@example.org"), SASL_SHA256, &stored), ACCOUNTS_OK);
    assert_int_equal(sasl_scram_derive(SASL_SHA256, VR_STR("pencil"), salts + 16, 10000, &derived), VR_OK);
    assert_int_equal(stored.iterations, 10000);
    assert_memory_equal(stored.salt, derived.salt, 16);
    assert_memory_equal(stored.stored_key, derived.stored_key, 32);
    assert_memory_equal(stored.server_key, derived.server_key, 32);
    assert_int_equal(accounts_scram(a, VR_STR("bob@example.org"), SASL_SHA256, &stored), ACCOUNTS_NO_SUCH);
    accounts_close(a);
}

static void test_keys_of_each_kind(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    struct vr_str ann = VR_STR("ann@example.org");
    struct sasl_scram_keys stored, derived;
    struct sasl_cram_keys cram, wanted;
    assert_int_equal(accounts_add(a, ann, VR_STR("pencil"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_scram(a, ann, SASL_SHA1, &stored), ACCOUNTS_OK);
    assert_int_equal(sasl_scram_derive(SASL_SHA1, VR_STR("pencil"), salts + 32, 10000, &derived), VR_OK);
    assert_int_equal(stored.hash, SASL_SHA1);
    assert_int_equal(stored.iterations, 10000);
    assert_memory_equal(stored.salt, derived.salt, 16);
    assert_memory_equal(stored.stored_key, derived.stored_key, 20);
    assert_memory_equal(stored.server_key, derived.server_key, 20);
    assert_int_equal(accounts_scram(a, VR_STR("bob@example.org"), SASL_SHA1, &stored), ACCOUNTS_NO_SUCH);
    /* those of CRAM-MD5 only where they are asked for, and gone when the password is set without */
    assert_int_equal(accounts_cram(a, ann, &cram), ACCOUNTS_NO_SUCH);
    accounts_keep_cram(a, true);
    assert_int_equal(accounts_set_password(a, ann, VR_STR("pencil"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_cram(a, ann, &cram), ACCOUNTS_OK);
    assert_int_equal(sasl_cram_derive(VR_STR("pencil"), &wanted), VR_OK);
    assert_memory_equal(&cram, &wanted, sizeof cram);
    assert_int_equal(accounts_cram(a, VR_STR("bob@example.org"), &cram), ACCOUNTS_NO_SUCH);
    accounts_keep_cram(a, false);
    assert_int_equal(accounts_set_password(a, ann, VR_STR("crayon"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_cram(a, ann, &cram), ACCOUNTS_NO_SUCH);
    accounts_close(a);
}

/* A data base as version 1 made it: an account with keys of SCRAM-SHA-256 only. */
static void make_schema_1(void)
{
    sqlite3 *db;
    struct accounts *a = open_new();
    assert_int_equal(accounts_add(a, VR_STR("ann@example.org"), VR_STR("pencil"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_add_send_as(a, VR_STR("ann@example.org"), VR_STR("@x.org")), ACCOUNTS_OK);
    accounts_close(a);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "DROP TRIGGER account_removed; DROP TABLE former;"
                                  "ALTER TABLE account DROP COLUMN scram1_salt;"
                                  "ALTER TABLE account DROP COLUMN scram1_iterations;"
                                  "ALTER TABLE account DROP COLUMN scram1_stored_key;"
                                  "ALTER TABLE account DROP COLUMN scram1_server_key;"
                                  "ALTER TABLE account DROP COLUMN cram_keys;"
                                  "PRAGMA user_version = 1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

static int64_t schema_version(void)
{
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    int64_t version = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return version;
}

static void test_older_schema(void **state)
{
    (void)state;
    char error[256] = "";
    struct vr_str ann = VR_STR("ann@example.org");
    struct sasl_scram_keys keys;
    make_schema_1();
    assert_int_equal(schema_version(), 1);
    struct accounts *a = accounts_open(path, false, error);
    assert_non_null(a);
    assert_int_equal(schema_version(), 3);
    /* all that was there counts; what was not kept is not there, until the password is set */
    assert_int_equal(accounts_verify(a, ann, VR_STR("pencil")), ACCOUNTS_OK);
    assert_int_equal(accounts_scram(a, ann, SASL_SHA256, &keys), ACCOUNTS_OK);
    assert_int_equal(accounts_may_send_as(a, ann, VR_STR("any@x.org")), ACCOUNTS_OK);
    assert_int_equal(accounts_scram(a, ann, SASL_SHA1, &keys), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_set_password(a, ann, VR_STR("crayon"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_scram(a, ann, SASL_SHA1, &keys), ACCOUNTS_OK);
    accounts_close(a);
}

/* A data base that may not be written is read as it is, and brought up to date as soon as somebody may. */
static void test_older_schema_that_is_locked(void **state)
{
    (void)state;
    char error[256] = "";
    struct vr_str ann = VR_STR("ann@example.org");
    struct sasl_scram_keys keys;
    sqlite3 *other;
    make_schema_1();
    struct accounts *reader;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    reader = accounts_open(path, false, error); /* waits a while for the lock, then goes on without */
    assert_non_null(reader);
    assert_int_equal(schema_version(), 1);
    assert_int_equal(accounts_verify(reader, ann, VR_STR("pencil")), ACCOUNTS_OK);
    assert_int_equal(accounts_scram(reader, ann, SASL_SHA256, &keys), ACCOUNTS_OK);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(accounts_scram(reader, ann, SASL_SHA1, &keys), ACCOUNTS_NO_SUCH);
    assert_int_equal(schema_version(), 3);
    struct accounts *writer = open_new();
    assert_int_equal(accounts_set_password(writer, ann, VR_STR("crayon"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_scram(reader, ann, SASL_SHA1, &keys), ACCOUNTS_OK);
    accounts_close(writer);
    accounts_close(reader);
}

static void test_newer_schema(void **state)
{
    (void)state;
    char error[256] = "";
    sqlite3 *db;
    accounts_close(open_new());
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 4", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_null(accounts_open(path, false, error));
    assert_non_null(strstr(error, "was made by a newer veredus (schema 4, this one knows 3)"));
}

static void test_refused_input(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    static const char *const addresses[] = {
        "", "ann", "@example.org", "ann@", "ann @example.org", "ann@-x.org", "a@b\n", "<ann@example.org>"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        assert_int_equal(accounts_add(a, vr_str_from(addresses[i]), VR_STR("x"), salts), ACCOUNTS_INVALID);
        assert_non_null(strstr(accounts_error(a), "is not an address"));
    }
    char big[SASL_PASSWORD_MAX + 1];
    memset(big, 'x', sizeof big);
    struct vr_str passwords[] = {VR_STR(""), VR_STR("a\nb"), VR_STR("a\0b"), VR_STR("\xff\xfe"),
                                 vr_str(big, sizeof big)};
    for (size_t i = 0; i < sizeof passwords / sizeof *passwords; i++) {
        assert_int_equal(accounts_add(a, VR_STR("ann@example.org"), passwords[i], salts), ACCOUNTS_INVALID);
        assert_non_null(strstr(accounts_error(a), "the password"));
    }
    /* questions about nonsense are answered, not refused */
    assert_int_equal(accounts_exists(a, VR_STR("")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_exists(a, VR_STR("x' OR 1=1 --")), ACCOUNTS_NO_SUCH);
    accounts_close(a);
}

static void test_send_as(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    struct vr_str ann = VR_STR("ann@example.org"), bob = VR_STR("bob@example.org");
    assert_int_equal(accounts_add(a, ann, VR_STR("x"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_add(a, bob, VR_STR("y"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_may_send_as(a, ann, VR_STR("Ann@EXAMPLE.org")), ACCOUNTS_OK);
    assert_int_equal(accounts_may_send_as(a, ann, bob), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_may_send_as(a, VR_STR("carl@example.org"), VR_STR("carl@example.org")),
                     ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_add_send_as(a, ann, VR_STR("Sales@example.org")), ACCOUNTS_OK);
    assert_int_equal(accounts_add_send_as(a, ann, VR_STR("sales@example.org")), ACCOUNTS_OK);
    assert_int_equal(accounts_add_send_as(a, ann, VR_STR("@Example.net")), ACCOUNTS_OK);
    assert_int_equal(accounts_add_send_as(a, ann, VR_STR("@")), ACCOUNTS_INVALID);
    assert_int_equal(accounts_add_send_as(a, VR_STR("carl@example.org"), bob), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_may_send_as(a, ann, VR_STR("sales@example.org")), ACCOUNTS_OK);
    assert_int_equal(accounts_may_send_as(a, bob, VR_STR("sales@example.org")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_may_send_as(a, ann, VR_STR("anybody@example.net")), ACCOUNTS_OK);
    assert_int_equal(accounts_may_send_as(a, ann, VR_STR("anybody@sub.example.net")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_may_send_as(a, ann, VR_STR("")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_remove_send_as(a, ann, VR_STR("sales@example.org")), ACCOUNTS_OK);
    assert_int_equal(accounts_remove_send_as(a, ann, VR_STR("sales@example.org")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_may_send_as(a, ann, VR_STR("sales@example.org")), ACCOUNTS_NO_SUCH);
    /* rights die with the account */
    assert_int_equal(accounts_remove(a, ann), ACCOUNTS_OK);
    assert_int_equal(accounts_add(a, ann, VR_STR("x"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_may_send_as(a, ann, VR_STR("anybody@example.net")), ACCOUNTS_NO_SUCH);
    accounts_close(a);
}

struct listed {
    unsigned n;
    char text[256];
};

static bool list_one(void *arg, struct vr_str address, struct vr_str send_as, int64_t created)
{
    struct listed *l = arg;
    size_t at = strlen(l->text);
    snprintf(l->text + at, sizeof l->text - at, "%.*s(%.*s)", VR_STR_ARG(address), VR_STR_ARG(send_as));
    assert_true(created > 1700000000);
    return ++l->n < 2;
}

/* U-labels and A-labels, capitals and composed letters: one account. */
static void test_beyond_ascii(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    static const char *const forms[] = {"jörg@bücher.example", "JÖRG@BÜCHER.example",
                                        "jo\u0308rg@xn--bcher-kva.example", "Jörg@XN--BCHER-KVA.Example"};
    static const char *const others[] = {"jorg@bücher.example", "jörg@bucher.example",
                                         "j\xf6rg@bücher.example"};
    struct vr_str first = vr_str_from(forms[0]);
    assert_int_equal(accounts_add(a, vr_str_from(forms[1]), VR_STR("Paßwort"), salts), ACCOUNTS_OK);
    for (size_t i = 0; i < 4; i++) {
        struct vr_str form = vr_str_from(forms[i]);
        assert_int_equal(accounts_exists(a, form), ACCOUNTS_OK);
        assert_int_equal(accounts_add(a, form, VR_STR("x"), salts), ACCOUNTS_EXISTS);
        assert_int_equal(accounts_may_send_as(a, form, first), ACCOUNTS_OK);
    }
    assert_int_equal(accounts_verify(a, vr_str_from(forms[2]), VR_STR("Paßwort")), ACCOUNTS_OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(accounts_exists(a, vr_str_from(others[i])), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_add(a, vr_str_from(others[2]), VR_STR("x"), salts), ACCOUNTS_INVALID);
    assert_int_equal(accounts_add(a, VR_STR("a@i❤.example"), VR_STR("x"), salts), ACCOUNTS_INVALID);
    assert_non_null(strstr(accounts_error(a), "IDNA"));
    assert_int_equal(accounts_add_send_as(a, first, VR_STR("@straße.example")), ACCOUNTS_OK);
    assert_int_equal(accounts_may_send_as(a, first, VR_STR("wer@xn--strae-oqa.example")), ACCOUNTS_OK);
    assert_int_equal(accounts_may_send_as(a, first, VR_STR("wer@strasse.example")), ACCOUNTS_NO_SUCH);
    struct listed l = {0};
    assert_int_equal(accounts_list(a, list_one, &l), ACCOUNTS_OK);
    assert_string_equal(
        l.text, "jörg@xn--bcher-kva.example(@xn--strae-oqa.example)"); /* address_readable is for people */
    assert_int_equal(accounts_remove(a, vr_str_from(forms[3])), ACCOUNTS_OK);
    assert_int_equal(accounts_exists(a, first), ACCOUNTS_NO_SUCH);
    accounts_close(a);
}

static void test_list(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    struct listed l = {0};
    assert_int_equal(accounts_list(a, list_one, &l), ACCOUNTS_OK);
    assert_int_equal(l.n, 0);
    static const char *const names[] = {"carl@x.org", "ann@x.org", "bob@x.org"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(accounts_add(a, vr_str_from(names[i]), VR_STR("x"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_add_send_as(a, VR_STR("ann@x.org"), VR_STR("z@x.org")), ACCOUNTS_OK);
    assert_int_equal(accounts_add_send_as(a, VR_STR("ann@x.org"), VR_STR("@y.org")), ACCOUNTS_OK);
    assert_int_equal(accounts_list(a, list_one, &l), ACCOUNTS_OK);
    assert_string_equal(l.text, "ann@x.org(@y.org z@x.org)bob@x.org()"); /* stopped after the second */
    accounts_close(a);
}

static void test_changes_are_seen_by_others(void **state)
{
    (void)state;
    char error[256];
    struct accounts *writer = open_new();
    struct accounts *reader = accounts_open(path, false, error);
    assert_non_null(reader);
    struct vr_str ann = VR_STR("ann@example.org");
    assert_int_equal(accounts_exists(reader, ann), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_add(writer, ann, VR_STR("one"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_verify(reader, ann, VR_STR("one")), ACCOUNTS_OK);
    assert_int_equal(accounts_set_password(writer, ann, VR_STR("two"), salts), ACCOUNTS_OK);
    assert_int_equal(accounts_verify(reader, ann, VR_STR("one")), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_verify(reader, ann, VR_STR("two")), ACCOUNTS_OK);
    accounts_close(writer);
    assert_false(accounts_moved(reader));
    io_fs_unlink(path);
    assert_true(accounts_moved(reader));
    accounts_close(reader);
}

static void test_no_password_on_the_disk(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    assert_int_equal(accounts_add(a, VR_STR("ann@example.org"), VR_STR("unmistakable-secret"), salts),
                     ACCOUNTS_OK);
    accounts_close(a);
    struct vr_buf file;
    vr_buf_init(&file, 1u << 20);
    assert_int_equal(io_fs_read_file(path, &file), 0);
    assert_true(vr_str_find_str(vr_buf_str(&file), VR_STR("unmistakable")) == VR_NPOS);
    assert_true(vr_str_find_str(vr_buf_str(&file), VR_STR("$argon2id$v=19$m=65536,t=3,p=1$")) != VR_NPOS);
    vr_buf_fini(&file);
}

static void test_foreign_files(void **state)
{
    (void)state;
    char error[256];
    assert_int_equal(
        io_fs_replace_file(path, VR_STR("this is no data base, only a text that is long enough\n"), 0600), 0);
    assert_null(accounts_open(path, false, error));
    assert_non_null(strstr(error, "cannot read the accounts data base"));
    assert_null(accounts_open(path, true, error));
    assert_int_equal(io_fs_replace_file(path, VR_STR(""), 0600), 0);
    assert_null(accounts_open(
        path, false, error)); /* made, but its schema is not in yet: no answer, rather than "no such" */
    assert_non_null(strstr(error, "is not an accounts data base"));
    struct accounts *a = open_new();
    accounts_close(a);
}

static int64_t since_of(struct accounts *a, const char *address)
{
    int64_t since = -1;
    assert_int_equal(accounts_owner_since(a, vr_str_from(address), &since), ACCOUNTS_OK);
    return since;
}

/* RFC 7293 §9: an address that nobody had before is its owner's for ever back; one that was removed and made anew is not. */
static void test_owners(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    struct vr_str ann = VR_STR("Ann@example.org");
    int64_t since;
    assert_int_equal(accounts_owner_since(a, ann, &since), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_add(a, ann, VR_STR("x"), salts), ACCOUNTS_OK);
    assert_int_equal(since_of(a, "ann@example.org"), ACCOUNTS_OWNER_ALWAYS);
    assert_int_equal(accounts_set_password(a, ann, VR_STR("y"), salts), ACCOUNTS_OK);
    assert_int_equal(since_of(a, "ann@example.org"), ACCOUNTS_OWNER_ALWAYS);
    assert_int_equal(accounts_remove(a, ann), ACCOUNTS_OK);
    assert_int_equal(accounts_owner_since(a, ann, &since), ACCOUNTS_NO_SUCH);
    assert_int_equal(accounts_add(a, ann, VR_STR("x"), salts), ACCOUNTS_OK);
    assert_in_range(since_of(a, "ann@example.org"), 1700000000, 20000000000); /* the day it was made */
    assert_int_equal(accounts_same_owner(a, ann), ACCOUNTS_OK);
    assert_int_equal(since_of(a, "ann@example.org"), ACCOUNTS_OWNER_ALWAYS);
    assert_int_equal(accounts_same_owner(a, VR_STR("bob@example.org")), ACCOUNTS_OK);
    accounts_close(a);
}

static void run_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static const char as_schema_2[] = "DROP TRIGGER account_removed; DROP TABLE former; PRAGMA user_version = 2";
/* Older data bases kept no record of removals: who had an address before its account was made is not known. */
static void test_owners_of_older_schema(void **state)
{
    (void)state;
    struct sasl_scram_keys keys;
    char error[256];
    struct accounts *a = open_new();
    assert_int_equal(accounts_add(a, VR_STR("ann@example.org"), VR_STR("x"), salts), ACCOUNTS_OK);
    accounts_close(a);
    run_sql(as_schema_2);
    run_sql("UPDATE account SET created = 1500000000");
    a = accounts_open(path, false, error);
    assert_non_null(a);
    assert_int_equal(schema_version(), 3);
    assert_int_equal(since_of(a, "ann@example.org"), 1500000000);
    assert_int_equal(accounts_scram(a, VR_STR("ann@example.org"), SASL_SHA1, &keys), ACCOUNTS_OK);
    assert_int_equal(accounts_add(a, VR_STR("new@example.org"), VR_STR("x"), salts), ACCOUNTS_OK);
    assert_int_equal(since_of(a, "new@example.org"), ACCOUNTS_OWNER_ALWAYS);
    accounts_close(a);
}

/* One that cannot be brought up to date is read as it is: what it does not hold is not known. */
static void test_older_schema_stays(void **state)
{
    (void)state;
    struct accounts *a = open_new();
    char error[256];
    assert_int_equal(accounts_add(a, VR_STR("ann@example.org"), VR_STR("x"), salts), ACCOUNTS_OK);
    accounts_close(a);
    run_sql(as_schema_2);
    run_sql("CREATE TABLE former(x)"); /* root may write every file: this is in the way instead */
    a = accounts_open(path, false, error);
    assert_non_null(a);
    struct sasl_scram_keys keys;
    assert_int_equal(since_of(a, "ann@example.org"), ACCOUNTS_OWNER_UNKNOWN);
    assert_int_equal(accounts_scram(a, VR_STR("ann@example.org"), SASL_SHA1, &keys), ACCOUNTS_OK);
    assert_int_equal(schema_version(), 2);
    run_sql("DROP TABLE former");
    assert_in_range(since_of(a, "ann@example.org"), 1700000000, 20000000000); /* brought up to date by now */
    accounts_close(a);
}

#define EACH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_made_private_and_reopened),
        EACH(test_add_verify_change_remove),
        EACH(test_scram_keys),
        EACH(test_keys_of_each_kind),
        EACH(test_older_schema),
        EACH(test_older_schema_that_is_locked),
        EACH(test_newer_schema),
        EACH(test_refused_input),
        EACH(test_send_as),
        EACH(test_beyond_ascii),
        EACH(test_list),
        EACH(test_changes_are_seen_by_others),
        EACH(test_no_password_on_the_disk),
        EACH(test_foreign_files),
        EACH(test_owners),
        EACH(test_owners_of_older_schema),
        EACH(test_older_schema_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
