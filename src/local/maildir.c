/* maildir.c - see maildir.h. */
#include "local/maildir.h"

#include "io/fs.h"
#include "io/io.h"
#include "local/content.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 1024
#define NO_ENTRY       (-ENOENT)

size_t maildir_parent(const char *path, size_t n)
{
    while (n > 1 && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n;
}

/* The length of the longest part of the path that stands already. */
static size_t standing(const char *folder)
{
    char path[PATH_MAX_BYTES];
    struct io_fs_stat st;
    size_t n = strlen(folder);
    memcpy(path, folder, n + 1);
    while (n > 1 && io_fs_stat(path, &st) != 0)
        path[n = maildir_parent(path, n)] = '\0';
    return n;
}

/* A message is not durable in a folder whose own name is not: syncs from the folder up to the first one that stood before and is known to be
 * durable. That it stands does not say so: who made it may have died, or the disk may have failed, before it was synced. One of them may be
 * somebody else's, who does not let us read it: then his file system must do. */
static int sync_folders(const char *folder, size_t stood)
{
    char path[PATH_MAX_BYTES];
    size_t n = strlen(folder);
    memcpy(path, folder, n + 1);
    int status = io_fs_sync_directory(path);
    while (status == 0 && n > stood && n > 1) {
        path[n = maildir_parent(path, n)] = '\0';
        status = io_fs_sync_directory(path);
        if (status == -EACCES)
            return 0;
    }
    return status;
}

static int make_maildir(const char *folder, bool *made)
{
    static const char *const names[] = {"tmp", "new", "cur"};
    char path[PATH_MAX_BYTES];
    struct io_fs_stat st;
    int status = 0;
    for (size_t i = 0; status == 0 && i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        *made = *made || io_fs_stat(path, &st) != 0;
        status = io_fs_mkdir_all(path, 0700);
    }
    return status;
}

/* An empty file says that this is a folder of the Maildir around it, and not another Maildir (Maildir++). */
static int mark_folder(const char *folder, bool *made)
{
    char path[PATH_MAX_BYTES];
    struct io_fs_stat st;
    snprintf(path, sizeof path, "%s/maildirfolder", folder);
    if (io_fs_stat(path, &st) == 0)
        return 0;
    *made = true;
    int fd = io_fs_open(path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_NO_FOLLOW, 0600);
    return fd < 0 ? fd : io_fs_close(fd);
}

static int make_folders(const struct maildir_write *m)
{
    bool made = false;
    size_t whole = strlen(m->folder), stood = standing(m->folder);
    int status = m->inbox != NULL ? make_maildir(m->inbox, &made) : 0;
    if (status == 0)
        status = make_maildir(m->folder, &made);
    if (status == 0 && m->inbox != NULL)
        status = mark_folder(m->folder, &made);
    if (status != 0 || (!made && m->durable == whole))
        return status;
    return sync_folders(m->folder, stood < m->durable ? stood : m->durable);
}

static int deliver(struct maildir_write *m)
{
    char tmp[PATH_MAX_BYTES], new_folder[PATH_MAX_BYTES], new[PATH_MAX_BYTES + 32];
    uint64_t size = 0;
    if (strlen(m->folder) + strlen(m->name) + 40 > sizeof tmp)
        return -ENAMETOOLONG;
    snprintf(tmp, sizeof tmp, "%s/tmp/%s", m->folder, m->name);
    snprintf(new_folder, sizeof new_folder, "%s/new", m->folder);
    m->failed_at = "making the folders";
    int status = m->folder_known ? 0 : make_folders(m);
    if (status != 0)
        return status;
    m->failed_at = "creating a file in tmp";
    const unsigned flags = IO_FS_WRITE | IO_FS_CREATE | IO_FS_EXCLUSIVE | IO_FS_NO_FOLLOW;
    int fd = io_fs_open(tmp, flags, 0600);
    if (fd == NO_ENTRY && m->folder_known) { /* somebody removed the Maildir meanwhile */
        status = make_folders(m);
        fd = status == 0 ? io_fs_open(tmp, flags, 0600) : status;
    }
    if (fd < 0)
        return fd;
    m->failed_at = "writing the message";
    status = content_write(m, fd, &size);
    if (status == 0)
        status = io_fs_sync(fd);
    int closed = io_fs_close(fd);
    status = status != 0 ? status : closed;
    snprintf(new, sizeof new, "%s/%s,S=%llu", new_folder, m->name, (unsigned long long)size);
    if (status == 0) {
        m->failed_at = "moving the message to new";
        status = io_fs_rename(tmp, new);
    }
    if (status != 0) {
        io_fs_unlink(tmp);
        return status;
    }
    m->failed_at = "syncing the folder new";
    status = io_fs_sync_directory(new_folder);
    if (status != 0)
        io_fs_unlink(new); /* not known to be durable: it will be tried again, and must not be there twice */
    return status;
}

int maildir_write(struct maildir_write *w)
{
    int status = w->become ? io_fs_become(w->uid, w->gid) : 0;
    w->failed_at = "becoming the owner";
    if (status == 0)
        status = deliver(w);
    if (w->become)
        io_fs_become(0, 0);
    return status;
}
