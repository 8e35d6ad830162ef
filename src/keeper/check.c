/* check.c - see check.h. The files are read as the keeper reads them.
 *
 * Tests: tests/e2e/test_accounts.py
 */
#include "keeper/check.h"

#include "io/fs.h"
#include "keeper/passwd_file.h"
#include "keeper/token_keys.h"

#include <string.h>

#define KEY_FILE_MAX 65536

struct checking {
    const char *file;
    void (*each)(void *arg, const char *file, int line, bool warning, const char *what);
    void *arg;
};

static void tell(void *arg, int line, bool warning, const char *what)
{
    const struct checking *c = arg;
    (void)warning; /* a line that is left out stops nobody but its own account */
    c->each(c->arg, c->file, line, true, what);
}

static void wipe(struct vr_buf *b)
{
    if (b->p != NULL)
        explicit_bzero(b->p, b->capacity);
    vr_buf_fini(b);
}

static void check_passwd(struct checking *k, struct vr_str domain)
{
    struct vr_buf text;
    vr_buf_init(&text, PASSWD_FILE_MAX);
    if (io_fs_read_file(k->file, &text) >= 0) /* else config_check told it */
        passwd_free(passwd_parse(&text, domain, tell, k));
    wipe(&text);
}

static void check_keys(struct checking *k, struct token_keys *keys, bool secret)
{
    struct vr_buf text;
    char error[256];
    vr_buf_init(&text, KEY_FILE_MAX);
    if (io_fs_read_file(k->file, &text) >= 0) {
        struct vr_str rest = vr_buf_str(&text), line = {0};
        if (secret)
            vr_str_split(&rest, '\n', &line);
        bool good = secret ? token_keys_add_secret(keys, vr_str_trim(line), error)
                           : token_keys_add_pem(keys, vr_buf_str(&text), error);
        if (!good)
            k->each(k->arg, k->file, 1, false, error);
    }
    wipe(&text);
}

void keeper_check(const struct config *c,
                  void (*each)(void *arg, const char *file, int line, bool warning, const char *what),
                  void *arg)
{
    struct checking k = {.each = each, .arg = arg};
    for (size_t i = 0; i < c->accounts_count; i++)
        if (c->accounts[i].kind == ACCOUNTS_FROM_PASSWD) {
            k.file = c->accounts[i].at;
            check_passwd(&k, c->accounts_domain);
        }
    struct token_keys *keys = token_keys_new();
    for (const char **path = c->oauth.jwt_keys; path != NULL && *path != NULL; path++) {
        k.file = *path;
        check_keys(&k, keys, false);
    }
    if ((k.file = c->oauth.jwt_secret_file) != NULL)
        check_keys(&k, keys, true);
    token_keys_free(keys);
}
