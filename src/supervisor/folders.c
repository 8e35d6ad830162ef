/* folders.c - see folders.h. One table row per folder. */
#include "supervisor/folders.h"

#include "io/env.h"
#include "io/fs.h"
#include "io/process.h"
#include "io/tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SELF_SIGNED_DAYS 3650
#define SECRET_BYTES     24
#define EXIT_NO_USER     78 /* EX_CONFIG */
#define EXIT_CANNOT_MAKE 73 /* EX_CANTCREAT */

enum owner { OWNER_ROOT, OWNER_COMMON, OWNER_KEEPER, OWNER_QUEUE };

static bool owner_ids(const struct config *c, enum owner owner, struct io_user *out, char error[512])
{
    const char *name = owner == OWNER_COMMON   ? c->user
                       : owner == OWNER_KEEPER ? c->user_keeper
                                               : c->user_queue;
    *out = (struct io_user){0};
    if (owner == OWNER_ROOT || io_user_by_name(name, out) == 0)
        return true;
    snprintf(error, 512,
             "there is no user \"%s\": make it (useradd --system --no-create-home --shell /usr/sbin/nologin "
             "%s), name "
             "another one in the section \"processes\", or start with --foreground",
             name, name);
    return false;
}

static int make(const struct config *c, const char *path, unsigned mode, enum owner owner, bool foreground,
                char error[512])
{
    int status = io_fs_mkdir_all(path, mode);
    struct io_user user = {0};
    (void)io_fs_sync_parent(
        path); /* mail is not safe in a folder that a loss of power may take; if we may not, somebody else made it */
    if (status == 0 && !foreground && !owner_ids(c, owner, &user, error))
        return EXIT_NO_USER;
    if (status == 0 && !foreground)
        status = io_fs_chown(path, user.uid, user.gid);
    if (status == 0)
        status = io_fs_chmod(path, mode);
    if (status == 0)
        return 0;
    snprintf(error, 512, "cannot prepare the folder %s: %s%s", path, io_error_text(status),
             io_is_root() ? "" : " (not root: choose folders of your own with spool, state and run)");
    return EXIT_CANNOT_MAKE;
}

static bool self_signed(const struct config *c, char error[512])
{
    char certificate[400], key[400], host[256];
    snprintf(certificate, sizeof certificate, "%s/self-signed.pem", c->state);
    snprintf(key, sizeof key, "%s/self-signed.key", c->state);
    snprintf(host, sizeof host, "%.*s", VR_STR_ARG(c->hostname));
    struct io_fs_stat st;
    if (c->tls_count > 0 || (io_fs_stat(certificate, &st) == 0 && io_fs_stat(key, &st) == 0))
        return true;
    int status = io_tls_self_signed(host, SELF_SIGNED_DAYS, certificate, key);
    if (status != 0)
        snprintf(error, 512, "cannot write the self-signed certificate %s: %s", certificate,
                 io_error_text(status));
    return status == 0;
}

static int write_secret(const char *path)
{
    uint8_t random[SECRET_BYTES];
    struct vr_buf text;
    vr_buf_init(&text, 2 * SECRET_BYTES);
    io_env_random(random, sizeof random);
    vr_base64_encode(&text, vr_str((const char *)random, sizeof random));
    vr_buf_add_byte(&text, '\n');
    int fd = io_fs_open(path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_EXCLUSIVE, 0600);
    int status = fd < 0 ? fd : io_fs_write(fd, vr_buf_str(&text).p, vr_buf_size(&text));
    if (fd >= 0) {
        if (status == 0)
            status = io_fs_sync(fd);
        io_fs_close(fd);
        if (status == 0)
            status = io_fs_sync_parent(path);
    }
    explicit_bzero(random, sizeof random);
    explicit_bzero(text.p, text.capacity);
    vr_buf_fini(&text);
    return status == -EEXIST ? 0 : status;
}

/* What addresses of forwarded mail are signed with; a file that was named is the administrator's. */
static bool srs_secret(const struct config *c, char error[512])
{
    char path[400];
    struct io_fs_stat st;
    config_srs_path(c, path);
    if (c->srs.domain.n == 0 || c->srs.secret_file != NULL || io_fs_stat(path, &st) == 0)
        return true;
    int status = write_secret(path);
    if (status != 0)
        snprintf(error, 512, "cannot write the secret of SRS addresses %s: %s", path, io_error_text(status));
    return status == 0;
}

int folders_prepare(const struct config *c, bool foreground, char error[512])
{
    char mail[400], postmaster[400], reports[400], policies[400];
    int status;
    snprintf(mail, sizeof mail, "%s/mail", c->state);
    snprintf(postmaster, sizeof postmaster, "%s/postmaster", c->state);
    snprintf(reports, sizeof reports, "%s/reports", c->state);
    snprintf(policies, sizeof policies, "%s/mta-sts", c->state);
    const struct {
        const char *path;
        unsigned mode;
        enum owner owner;
    } folders[] = {
        {c->spool, 0700, OWNER_QUEUE}, {c->state, 0711, OWNER_KEEPER}, /* others pass through to mail/ and
                                                                          postmaster/; the data base is 0600
                                                                        */
        {c->run, 0755, OWNER_ROOT},    {mail, 0711, OWNER_COMMON},     {postmaster, 0700, OWNER_COMMON},
        {reports, 0700, OWNER_COMMON}, {policies, 0700, OWNER_COMMON},
    };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if ((status = make(c, folders[i].path, folders[i].mode, folders[i].owner, foreground, error)) != 0)
            return status;
    return self_signed(c, error) && srs_secret(c, error) ? 0 : EXIT_CANNOT_MAKE;
}
