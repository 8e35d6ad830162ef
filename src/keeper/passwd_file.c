/* passwd_file.c - see passwd_file.h.
 *
 * Invariants: (1) entries are in the order of their names, each name once: the first line that has it
 *             (2) slices point into the table's text or arena
 * Tests:      tests/unit/passwd_file.c, tests/fuzz/fuzz_passwd.c
 */
#include "keeper/passwd_file.h"

#include "keeper/hashes.h"

#include <veredus/address.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct passwd_table {
    struct vr_buf text;
    struct vr_arena names;
    struct passwd_entry *entries;
    size_t count, capacity;
    struct vr_str decoy;
};

struct reading {
    struct passwd_table *table;
    struct vr_str domain;
    int line;
    void (*problem)(void *arg, int line, bool warning, const char *what);
    void *arg;
};

static void complain(const struct reading *r, int line, bool warning, const char *what)
{
    if (r->problem != NULL)
        r->problem(r->arg, line, warning, what);
}

/* The account's name in its canonical form; {NULL,0} after a complaint. */
static struct vr_str read_name(struct reading *r, struct vr_str name)
{
    struct vr_arena scratch;
    struct address parsed;
    const char *why = "it is too long";
    struct vr_str account = {NULL, 0};
    bool bare = vr_str_find(name, '@') == VR_NPOS;
    if (bare && r->domain.n == 0) {
        complain(r, r->line, false,
                 "the name has no domain, and the line is left out; expected an address, or `domain` in the "
                 "section `accounts`");
        return account;
    }
    vr_arena_init(&scratch, 16384);
    if (bare)
        name = vr_arena_printf(&scratch, "%.*s@%.*s", VR_STR_ARG(name), VR_STR_ARG(r->domain));
    if (name.p != NULL && address_parse(&scratch, name, ADDRESS_ALLOW_UTF8, &parsed, &why) == VR_OK)
        account = vr_arena_dup(&r->table->names, address_key(&scratch, &parsed));
    vr_arena_fini(&scratch);
    if (account.p == NULL) {
        char text[256];
        snprintf(
            text, sizeof text,
            "the name is not one of an account (%s), and the line is left out; expected ann@example.org:hash",
            why);
        complain(r, r->line, false, text);
    }
    return account;
}

static void judge_hash(struct reading *r, struct vr_str stored)
{
    struct vr_str hash;
    bool weak;
    switch (hash_kind(stored, &hash, &weak)) {
    case HASH_UNKNOWN:
        complain(
            r, r->line, false,
            "the hash is of no scheme that is known here, and nobody can log in with it; expected one of "
            "crypt(5) such as $y$… or $6$…, or {ARGON2ID}, {SHA512-CRYPT}, {BLF-CRYPT}");
        break;
    case HASH_PLAIN:
        complain(r, r->line, true,
                 "the password stands here in clear; expected a hash, as `mkpasswd` makes it");
        break;
    case HASH_CRYPT:
        if (weak)
            complain(r, r->line, true,
                     "the hash is of an old scheme whose passwords are found quickly; expected $y$… or $6$…");
        /* fall through */
    case HASH_ARGON2:
        if (r->table->decoy.n == 0)
            r->table->decoy = stored;
        break;
    case HASH_LOCKED:
        break;
    }
}

static void entry_add(struct passwd_table *t, struct passwd_entry e)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity > 0 ? 2 * t->capacity : 64;
        t->entries = realloc(t->entries, t->capacity * sizeof *t->entries);
        assert(t->entries != NULL);
    }
    t->entries[t->count++] = e;
}

static void read_line(struct reading *r, struct vr_str line)
{
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (vr_str_trim(line).n == 0 || line.p[0] == '#')
        return;
    size_t colon = vr_str_find(line, ':');
    if (colon == VR_NPOS || colon == 0) {
        complain(r, r->line, false, "this is no account, and the line is left out; expected name:hash");
        return;
    }
    struct vr_str account = read_name(r, vr_str_sub(line, 0, colon)), hash = vr_str_from_pos(line, colon + 1);
    if (account.p == NULL)
        return;
    size_t end = vr_str_find(hash, ':');
    hash.n = end == VR_NPOS ? hash.n : end;
    judge_hash(r, hash);
    entry_add(r->table, (struct passwd_entry){account, hash, r->line});
}

static int by_account(const void *a, const void *b)
{
    const struct passwd_entry *x = a, *y = b;
    int order = vr_str_compare(x->account, y->account);
    return order != 0 ? order : x->line < y->line ? -1 : x->line > y->line;
}

static void sort(struct reading *r)
{
    struct passwd_table *t = r->table;
    size_t kept = 0;
    if (t->count > 1)
        qsort(t->entries, t->count, sizeof *t->entries, by_account);
    for (size_t i = 0; i < t->count; i++) {
        if (kept == 0 || !vr_str_equal(t->entries[kept - 1].account, t->entries[i].account)) {
            t->entries[kept++] = t->entries[i];
            continue;
        }
        char text[128];
        snprintf(text, sizeof text, "the account a second time: the one in line %d counts; expected it once",
                 t->entries[kept - 1].line);
        complain(r, t->entries[i].line, false, text);
    }
    t->count = kept;
}

struct passwd_table *passwd_parse(struct vr_buf *text, struct vr_str domain,
                                  void (*problem)(void *arg, int line, bool warning, const char *what),
                                  void *arg)
{
    struct passwd_table *t = calloc(1, sizeof *t);
    assert(t != NULL);
    t->text = *text;
    vr_buf_init(text, text->max);
    vr_arena_init(&t->names, 2 * PASSWD_FILE_MAX);
    struct reading r = {.table = t, .domain = domain, .problem = problem, .arg = arg};
    struct vr_str rest = vr_buf_str(&t->text), line;
    while (vr_str_split(&rest, '\n', &line)) {
        r.line++;
        read_line(&r, line);
    }
    sort(&r);
    return t;
}

void passwd_free(struct passwd_table *t)
{
    if (t == NULL)
        return;
    if (t->text.p != NULL)
        explicit_bzero(t->text.p, t->text.capacity);
    vr_buf_fini(&t->text);
    vr_arena_fini(&t->names);
    free(t->entries);
    free(t);
}

const struct passwd_entry *passwd_find(const struct passwd_table *t, struct vr_str account)
{
    for (size_t low = 0, high = t->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = vr_str_compare(account, t->entries[middle].account);
        if (order == 0)
            return &t->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

struct vr_str passwd_decoy(const struct passwd_table *t)
{
    return t->decoy;
}

size_t passwd_count(const struct passwd_table *t)
{
    return t->count;
}
