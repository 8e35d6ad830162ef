/* fuzz_passwd.c - any bytes as a file of accounts: each account is found by its name, and is there once; no hash is taken for one of another kind. Hashes are
 * verified only where that is cheap. */
#include "keeper/hashes.h"
#include "keeper/passwd_file.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
    size_t lines;
};

static void tell(void *arg, int line, bool warning, const char *what)
{
    struct told *t = arg;
    (void)warning;
    assert(line >= 1 && what[0] != '\0');
    t->lines++;
}

static void check_hash(struct vr_str stored)
{
    struct vr_str hash;
    bool weak;
    enum hash_kind kind = hash_kind(stored, &hash, &weak);
    assert(hash.n <= stored.n);
    if (kind == HASH_LOCKED || kind == HASH_UNKNOWN) {
        assert(hash_verify(stored, VR_STR("pencil")) != HASH_RIGHT);
        assert(hash_verify(stored, stored) != HASH_RIGHT);
    } else if (kind == HASH_PLAIN) {
        assert(hash_verify(stored, hash) == HASH_RIGHT);
        assert(hash_verify(stored, VR_STR("")) == HASH_WRONG);
    } else {
        assert(stored.n < HASH_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_str all = vr_str((const char *)data, size);
    struct told told = {0};
    struct vr_buf text;
    vr_buf_init(&text, PASSWD_FILE_MAX);
    vr_buf_add(&text, all);
    struct passwd_table *t = passwd_parse(&text, VR_STR("d.test"), tell, &told);
    vr_buf_fini(&text);
    size_t lines = 1, found = 0;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    assert(passwd_count(t) <= lines && told.lines <= 2 * lines);
    struct vr_str rest = all, line;
    for (int number = 1; vr_str_split(&rest, '\n', &line); number++) {
        struct vr_str name = vr_str_sub(line, 0, vr_str_find(line, ':'));
        const struct passwd_entry *e = passwd_find(t, name);
        if (e != NULL) {
            assert(vr_str_equal(e->account, name) && e->line >= 1 && e->line <= (int)lines);
            found += e->line == number;
        }
        check_hash(
            vr_str_from_pos(line, vr_str_find(line, ':') == VR_NPOS ? line.n : vr_str_find(line, ':') + 1));
    }
    assert(found <= passwd_count(t));
    check_hash(all);
    struct vr_str decoy = passwd_decoy(t), hash;
    bool weak;
    assert(decoy.n == 0 || hash_kind(decoy, &hash, &weak) == HASH_CRYPT ||
           hash_kind(decoy, &hash, &weak) == HASH_ARGON2);
    passwd_free(t);
    return 0;
}
