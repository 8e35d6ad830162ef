/* srs.c - the secrets of SRS addresses (srs.h): a file with one in each line.
 *
 * The supervisor reads them before it forks; receivers know an address by them that comes back, the queue makes such addresses. All others wipe them.
 * Tests: tests/unit/config_srs.c
 */
#include "config/config.h"

#include "io/fs.h"

#include <stdio.h>
#include <string.h>

#define FILE_MAX 65536
#define DAY_MS   86400000

void config_srs_path(const struct config *c, char out[400])
{
    if (c->srs.secret_file != NULL)
        snprintf(out, 400, "%s", c->srs.secret_file);
    else
        snprintf(out, 400, "%s/srs.secret", c->state);
}

static bool take_lines(struct config *c, struct vr_str text)
{
    struct vr_str line;
    while (vr_str_split(&text, '\n', &line)) {
        line = vr_str_trim(line);
        if (line.n == 0)
            continue;
        if (c->srs.secret_count == SRS_SECRETS_MAX)
            return false;
        struct vr_str secret = vr_arena_dup(&c->arena, line);
        if (secret.p == NULL)
            return false;
        c->srs.secrets[c->srs.secret_count++] = secret;
    }
    return true;
}

bool config_srs_read(struct config *c, char error[512])
{
    char path[400];
    struct vr_buf content;
    if (c->srs.domain.n == 0)
        return true;
    config_srs_path(c, path);
    config_forget_srs(c);
    vr_buf_init(&content, FILE_MAX);
    int status = io_fs_read_file(path, &content);
    bool good = status == 0 && take_lines(c, vr_buf_str(&content)) && c->srs.secret_count > 0;
    if (status != 0)
        snprintf(error, 512, "cannot read the secret of SRS addresses %s: %s", path, io_error_text(status));
    else if (c->srs.secret_count == 0)
        snprintf(error, 512,
                 "the file of secrets of SRS addresses %s is empty: write a line of random letters into it",
                 path);
    else if (!good)
        snprintf(error, 512,
                 "the file %s has more than %d secrets of SRS addresses: take the oldest ones out", path,
                 SRS_SECRETS_MAX);
    if (content.p != NULL)
        explicit_bzero(content.p, content.capacity);
    vr_buf_fini(&content);
    return good;
}

void config_forget_srs(struct config *c)
{
    for (size_t i = 0; i < c->srs.secret_count; i++)
        explicit_bzero((char *)(uintptr_t)c->srs.secrets[i].p, c->srs.secrets[i].n);
    c->srs.secret_count = 0;
}

struct srs config_srs(const struct config *c)
{
    return (struct srs){.domain = c->srs.domain,
                        .secrets = c->srs.secrets,
                        .secret_count = c->srs.secret_count,
                        .max_age = (unsigned)(c->srs.max_age / DAY_MS)};
}
