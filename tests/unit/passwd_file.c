/* passwd_file.c - files of accounts and the hashes in them. The hashes were made by libxcrypt (Python's crypt), Dovecot's doveadm and libargon2. */
#include "keeper/hashes.h"
#include "keeper/passwd_file.h"

#include "lib_testing.h"

#define SHA512                                                                                               \
    "$6$abcdefghijkl$st1EEqor67KsYLEhfSlVQv4yJS7/4YRnWEmp1G49VH2jIxJcqAsajzhf7vFZuQL39iUJ6Y1UtiqDfQ8DSw.jI1"
#define SHA256   "$5$saltsalt$hl9BvcGsj7AkON13nbqeQHDgRpHyFxt7WDzLoS.OCQ/"
#define YESCRYPT "$y$j9T$abcdefghijkl$9y5j5grwOlXMf8MSlx8J1jTfrXITFHDFoef0FYgXaW6"
#define BCRYPT   "$2b$05$abcdefghijklmnopqrstuu680Yiaj5hFUaJTH/rTAcbA2PQEGfiZu"
#define ARGON2ID                                                                                             \
    "$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$hsX0xzbLC37u0c66l3TwCgj8296eZ74Y3tpSYiZNjHs"
#define ARGON2I                                                                                              \
    "$argon2i$v=19$m=1024,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$LQn1LFR/MdnEhzxEQtTXcRrOYk+ag2rSkTUqLm/j3GE"

/* ---- hashes ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *stored;
    enum hash_kind kind;
    bool weak;
    enum hash_verdict pencil; /* what becomes of this password */
} hashes[] = {
    {SHA512, HASH_CRYPT, false, HASH_RIGHT},
    {"$6$rounds=5000$abcdefgh$BPABm5D7ZFU2YVfMLyE5XRqe91qwdcZ6APg7kB/YBeADxUUqXXhg3mlHBbjpyHcrE9xl/"
     "9BuqqivCjN2qGEi30",
     HASH_CRYPT, false, HASH_RIGHT},
    {SHA256, HASH_CRYPT, false, HASH_RIGHT},
    {YESCRYPT, HASH_CRYPT, false, HASH_RIGHT},
    {BCRYPT, HASH_CRYPT, false, HASH_RIGHT},
    {"$1$saltsalt$wCrc3hcrR95SV83Xh8Z.41", HASH_CRYPT, true, HASH_RIGHT},
    {"abJ32bJMdTsnY", HASH_CRYPT, true, HASH_RIGHT},
    {"{CRYPT}" YESCRYPT, HASH_CRYPT, false, HASH_RIGHT},
    {"{sha512-crypt}" SHA512, HASH_CRYPT, false, HASH_RIGHT},
    {"{SHA512-CRYPT}$6$aVfe7dt3FrToULMd$S3NfYNDLKFWzO5m1.15V/KzUf.Gz2AvPKwF8CMrrnhSx8pKp/"
     "DjovxYV99o//JiMeJkspHR3R86LQJRIyGWSV/",
     HASH_CRYPT, false, HASH_RIGHT},
    {"{SHA256-CRYPT}" SHA256, HASH_CRYPT, false, HASH_RIGHT},
    {"{BLF-CRYPT}$2y$05$3zpArJ1WslA8cZbppXqCHOwbATfaeDgz36PMf0i3eKH7dq/1ADaxS", HASH_CRYPT, false,
     HASH_RIGHT},
    {"{ARGON2ID}" ARGON2ID, HASH_ARGON2, false, HASH_RIGHT},
    {"{ARGON2I}" ARGON2I, HASH_ARGON2, false, HASH_RIGHT},
    {ARGON2ID, HASH_ARGON2, false, HASH_RIGHT},
    {"{PLAIN}pencil", HASH_PLAIN, true, HASH_RIGHT},
    {"{cleartext}pencil", HASH_PLAIN, true, HASH_RIGHT},
    {"{PLAIN}pencils", HASH_PLAIN, true, HASH_WRONG},
    {"{PLAIN}penci", HASH_PLAIN, true, HASH_WRONG},
    /* nobody logs in */
    {"", HASH_LOCKED, false, HASH_WRONG},
    {"*", HASH_LOCKED, false, HASH_WRONG},
    {"!", HASH_LOCKED, false, HASH_WRONG},
    {"!" SHA512, HASH_LOCKED, false, HASH_WRONG},
    {"x", HASH_LOCKED, false, HASH_WRONG},
    {"{CRYPT}", HASH_LOCKED, false, HASH_WRONG},
    {"{PLAIN}", HASH_LOCKED, true, HASH_WRONG},
    /* nobody can */
    {"{MD5}Njc3MTkw", HASH_UNKNOWN, false, HASH_UNUSABLE},
    {"{PLAIN", HASH_UNKNOWN, false, HASH_UNUSABLE},
    {"{}pencil", HASH_UNKNOWN, false, HASH_UNUSABLE},
    {"pencil", HASH_UNKNOWN, true, HASH_UNUSABLE},
    {"a sentence for a password", HASH_UNKNOWN, true, HASH_UNUSABLE},
    {"$6$", HASH_UNKNOWN, false, HASH_UNUSABLE},
    {"$9$abcdefgh$abcdefghijklmnopqrstuvwx", HASH_UNKNOWN, false, HASH_UNUSABLE},
    {"{ARGON2ID}" SHA512, HASH_UNKNOWN, false, HASH_UNUSABLE},
    {"{ARGON2ID}$argon2id$v=19$m=1024,t=1,p=1$nonsense", HASH_ARGON2, false, HASH_UNUSABLE},
};

static void every_scheme(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        struct vr_str stored = vr_str_from(hashes[i].stored), hash;
        bool weak;
        if (hash_kind(stored, &hash, &weak) != hashes[i].kind || weak != hashes[i].weak ||
            hash_verify(stored, VR_STR("pencil")) != hashes[i].pencil)
            fail_msg("%s: kind %d, weak %d, %d", hashes[i].stored, hash_kind(stored, &hash, &weak), weak,
                     hash_verify(stored, VR_STR("pencil")));
        if (hashes[i].pencil == HASH_RIGHT) {
            assert_int_equal(hash_verify(stored, VR_STR("Pencil")), HASH_WRONG);
            assert_int_equal(hash_verify(stored, VR_STR("")), HASH_WRONG);
            assert_int_equal(hash_verify(stored, (struct vr_str){NULL, 0}), HASH_WRONG);
            assert_int_equal(hash_verify(stored, VR_STR("pencil\0")), HASH_WRONG);
        }
    }
}

static void passwords_of_any_form(void **state)
{
    (void)state;
    struct vr_str utf8 = VR_STR("$6$abcdefgh$gFQ4j2hLSmpS.7keFyrqjaz.yP0vtAgLGrbTNijD."
                                "NsUMM77g0a9Cd/xGJ6M85e.y8grpxMBPvccjd7nWeHO./");
    char longer[600];
    memset(longer, 'p', sizeof longer);
    assert_int_equal(hash_verify(utf8, VR_STR("p\xc3\xa4ss w\xc3\xb6rd")), HASH_RIGHT);
    assert_int_equal(hash_verify(VR_STR(SHA512), vr_str(longer, sizeof longer)),
                     HASH_WRONG); /* more than crypt(3) takes */
    /* a long one is not cut off to a shorter one's length */
    char stored[700] = "{PLAIN}";
    memcpy(stored + 7, longer, sizeof longer);
    assert_int_equal(hash_verify(vr_str(stored, 7 + sizeof longer), vr_str(longer, sizeof longer)),
                     HASH_UNUSABLE);
    assert_int_equal(hash_verify(vr_str(stored, 7 + 500), vr_str(longer, 500)), HASH_RIGHT);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static char told[4096];

static void tell(void *arg, int line, bool warning, const char *what)
{
    size_t n = strlen(told);
    (void)arg;
    snprintf(told + n, sizeof told - n, "%d:%s%.30s\n", line, warning ? "warning: " : "", what);
}

static struct passwd_table *table_of(const char *text, const char *domain)
{
    struct vr_buf b;
    vr_buf_init(&b, PASSWD_FILE_MAX);
    vr_buf_add(&b, vr_str_from(text));
    told[0] = '\0';
    struct passwd_table *t = passwd_parse(&b, vr_str_from(domain), tell, NULL);
    assert_int_equal(vr_buf_size(&b), 0);
    vr_buf_fini(&b);
    return t;
}

static void assert_hash(const struct passwd_table *t, const char *account, const char *hash)
{
    const struct passwd_entry *e = passwd_find(t, vr_str_from(account));
    if (hash == NULL) {
        assert_null(e);
        return;
    }
    assert_non_null(e);
    assert_true(vr_str_equal(e->hash, vr_str_from(hash)));
}

static void lines_of_a_file(void **state)
{
    (void)state;
    struct passwd_table *t = table_of("# accounts\n"
                                      "\n"
                                      "Ann@D.test:" YESCRYPT "\n"
                                      "bob@d.test:{PLAIN}secret:1000:1000::/home/bob:/bin/sh\r\n"
                                      "carl:" SHA512 ":18999:0:99999:7:::\n"
                                      "   \n"
                                      "dora@d.test:*\n"
                                      "  # not at the beginning\n"
                                      "nocolon\n"
                                      ":" SHA512 "\n"
                                      "two words@d.test:" SHA512 "\n"
                                      "ann@d.test:" SHA512 "\n"
                                      "eve@d.test:{ROT13}frperg\n"
                                      "last@e.test:" BCRYPT,
                                      "d.test");
    assert_string_equal(told, "4:warning: the password stands here in cl\n"
                              "8:this is no account, and the li\n"
                              "9:this is no account, and the li\n"
                              "10:this is no account, and the li\n"
                              "11:the name is not one of an acco\n"
                              "13:the hash is of no scheme that \n"
                              "12:the account a second time: the\n");
    assert_int_equal(passwd_count(t), 6);
    assert_hash(t, "ann@d.test", YESCRYPT);
    assert_hash(t, "bob@d.test", "{PLAIN}secret");
    assert_hash(t, "carl@d.test", SHA512);
    assert_hash(t, "dora@d.test", "*");
    assert_hash(t, "eve@d.test", "{ROT13}frperg");
    assert_hash(t, "last@e.test", BCRYPT);
    assert_hash(t, "carl", NULL);
    assert_hash(t, "Ann@D.test", NULL); /* who asks, asks in lower case */
    assert_hash(t, "", NULL);
    assert_hash(t, "zoe@d.test", NULL);
    /* what a guess at nobody's password costs is what one at carl's costs */
    assert_true(vr_str_equal(passwd_decoy(t), VR_STR(YESCRYPT)));
    passwd_free(t);
}

static void names_without_a_domain(void **state)
{
    (void)state;
    struct passwd_table *t = table_of("ann:" SHA512 "\nbob@d.test:" SHA512 "\n", "");
    assert_string_equal(told, "1:the name has no domain, and th\n");
    assert_int_equal(passwd_count(t), 1);
    passwd_free(t);
}

static void files_with_nothing_in_them(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "\n\n#\n", "\r\n"};
    for (size_t i = 0; i < 4; i++) {
        struct passwd_table *t = table_of(texts[i], "d.test");
        assert_string_equal(told, "");
        assert_int_equal(passwd_count(t), 0);
        assert_int_equal(passwd_decoy(t).n, 0);
        assert_hash(t, "ann@d.test", NULL);
        passwd_free(t);
    }
}

static void a_large_file(void **state)
{
    (void)state;
    struct vr_buf b;
    vr_buf_init(&b, PASSWD_FILE_MAX);
    for (unsigned i = 0; i < 20000; i++)
        vr_buf_addf(&b, "user%u@d.test:*\n", (i * 7919) % 20000);
    struct passwd_table *t = passwd_parse(&b, VR_STR(""), NULL, NULL);
    assert_int_equal(passwd_count(t), 20000);
    for (unsigned i = 0; i < 20000; i += 13) {
        char name[64];
        snprintf(name, sizeof name, "user%u@d.test", i);
        assert_hash(t, name, "*");
    }
    assert_hash(t, "user20000@d.test", NULL);
    passwd_free(t);
    vr_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scheme),
        cmocka_unit_test(passwords_of_any_form),
        cmocka_unit_test(lines_of_a_file),
        cmocka_unit_test(names_without_a_domain),
        cmocka_unit_test(files_with_nothing_in_them),
        cmocka_unit_test(a_large_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
