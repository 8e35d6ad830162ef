/* fs.c - files: system calls with EINTR and short transfers handled.
 *
 * Runs in:  start-up, or worker threads (io_work); everything here blocks.
 * Tests:    tests/unit/io_fs.c
 */
#include "io/fs.h"

#include "io/real/real.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* 0, or what errno says. */
static int result(int r)
{
    return r == 0 ? 0 : -errno;
}

/* ---- descriptors ----------------------------------------------------------------------------------------- */

int io_fs_open(const char *path, unsigned flags, unsigned mode)
{
    static const struct {
        unsigned ours;
        int theirs;
    } table[] = {{IO_FS_CREATE, O_CREAT},
                 {IO_FS_EXCLUSIVE, O_EXCL},
                 {IO_FS_TRUNCATE, O_TRUNC},
                 {IO_FS_APPEND, O_APPEND},
                 {IO_FS_NO_FOLLOW, O_NOFOLLOW}};
    int o = O_CLOEXEC | O_NOCTTY;
    o |= (flags & IO_FS_WRITE) == 0 ? O_RDONLY : (flags & IO_FS_READ) ? O_RDWR : O_WRONLY;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (flags & table[i].ours)
            o |= table[i].theirs;
    int fd;
    do
        fd = open(path, o, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    return fd >= 0 ? fd : -errno;
}

int io_fs_close(int fd)
{
    /* Linux releases the descriptor even when it answers EINTR: a second close might hit somebody else's. */
    return close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

int64_t io_fs_pread(int fd, void *p, size_t n, uint64_t offset)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (char *)p + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

int io_fs_pwrite(int fd, const void *p, size_t n, uint64_t offset)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = pwrite(fd, (const char *)p + done, n - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        done += (size_t)put;
    }
    return 0;
}

int io_fs_write(int fd, const void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(fd, (const char *)p + done, n - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        done += (size_t)put;
    }
    return 0;
}

int io_fs_datasync(int fd)
{
    return result(fdatasync(fd));
}

int io_fs_sync(int fd)
{
    return result(fsync(fd));
}

int io_fs_sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = result(fsync(fd));
    close(fd);
    return status;
}

int io_fs_sync_parent(const char *path)
{
    char parent[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (n >= sizeof parent)
        return -ENAMETOOLONG;
    memcpy(parent, path, n);
    parent[n] = '\0';
    return io_fs_sync_directory(n > 0 ? parent : ".");
}

int io_fs_truncate(int fd, uint64_t size)
{
    int r;
    do
        r = ftruncate(fd, (off_t)size);
    while (r != 0 && errno == EINTR);
    return result(r);
}

int io_fs_allocate(int fd, uint64_t offset, uint64_t size)
{
    int r;
    do
        r = posix_fallocate(fd, (off_t)offset, (off_t)size);
    while (r == EINTR);
    return -r;
}

int io_fs_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy >= 0 ? copy : -errno;
}

int io_fs_lock(int fd)
{
    /* Of the open file, not of the process: a close of another descriptor of the same file does not drop it. */
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &l) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

/* ---- names ----------------------------------------------------------------------------------------------- */

int io_fs_rename(const char *from, const char *to)
{
    return result(rename(from, to));
}

int io_fs_link(const char *from, const char *to)
{
    return result(link(from, to));
}

int io_fs_unlink(const char *path)
{
    return result(unlink(path));
}

int io_fs_mkdir(const char *path, unsigned mode)
{
    return result(mkdir(path, (mode_t)mode));
}

int io_fs_mkdir_all(const char *path, unsigned mode)
{
    char part[4096];
    size_t n = strlen(path);
    struct stat st;
    if (n >= sizeof part)
        return -ENAMETOOLONG;
    memcpy(part, path, n + 1);
    for (char *p = part + 1; n > 0 && *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(part, (mode_t)mode) != 0 && errno != EEXIST && stat(part, &st) != 0)
            return -errno;
        *p = '/';
    }
    if (mkdir(part, (mode_t)mode) == 0)
        return 0;
    int error = errno;
    if (stat(part, &st) != 0)
        return -error;
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static void fill_stat(const struct stat *st, struct io_fs_stat *out)
{
    *out = (struct io_fs_stat){.size = (uint64_t)st->st_size,
                               .inode = (uint64_t)st->st_ino,
                               .mtime_us = (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000,
                               .mode = st->st_mode & 07777,
                               .uid = st->st_uid,
                               .gid = st->st_gid,
                               .is_directory = S_ISDIR(st->st_mode),
                               .is_file = S_ISREG(st->st_mode),
                               .is_link = S_ISLNK(st->st_mode)};
}

int io_fs_stat(const char *path, struct io_fs_stat *out)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return -errno;
    bool link = S_ISLNK(st.st_mode);
    if (link && stat(path, &st) != 0)
        return -errno;
    fill_stat(&st, out);
    out->is_link = link;
    return 0;
}

int io_fs_fstat(int fd, struct io_fs_stat *out)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    fill_stat(&st, out);
    return 0;
}

int io_fs_chmod(const char *path, unsigned mode)
{
    return result(chmod(path, (mode_t)mode));
}

int io_fs_chown(const char *path, uint32_t uid, uint32_t gid)
{
    return result(chown(path, uid, gid));
}

int io_fs_free_space(const char *path, uint64_t *bytes, uint64_t *inodes)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0)
        return -errno;
    *bytes = (uint64_t)st.f_bavail * st.f_frsize;
    /* File systems without a fixed number of inodes (btrfs) say 0 of 0. */
    *inodes = st.f_files == 0 ? UINT64_MAX : st.f_favail;
    return 0;
}

int io_fs_list(const char *path, bool (*each)(void *arg, const char *name), void *arg)
{
    DIR *d = opendir(path);
    if (d == NULL)
        return -errno;
    int status = 0;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (e == NULL) {
            status = -errno;
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (!each(arg, e->d_name))
            break;
    }
    closedir(d);
    return status;
}

/* ---- whole files ----------------------------------------------------------------------------------------- */

int io_fs_read_file(const char *path, struct vr_buf *out)
{
    int fd = io_fs_open(path, IO_FS_READ, 0);
    if (fd < 0)
        return fd;
    char part[16384];
    int status = 0;
    for (;;) {
        ssize_t got = read(fd, part, sizeof part);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = -errno;
        if (got <= 0)
            break;
        if (!vr_buf_add(out, vr_str(part, (size_t)got))) {
            status = -EFBIG;
            break;
        }
    }
    close(fd);
    explicit_bzero(part, sizeof part); /* it may be a secret, and processes are forked later */
    return status;
}

/* The file's name until it is complete: unguessable, so that nobody can have prepared it. */
static int open_aside(const char *path, unsigned mode, char aside[4096])
{
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return -errno;
    if (snprintf(aside, 4096, "%s.%016llx", path, (unsigned long long)number) >= 4096)
        return -ENAMETOOLONG;
    int fd = io_fs_open(aside, IO_FS_WRITE | IO_FS_CREATE | IO_FS_EXCLUSIVE | IO_FS_NO_FOLLOW, mode);
    if (fd >= 0 && fchmod(fd, (mode_t)mode) != 0) { /* whatever the umask */
        int status = -errno;
        close(fd);
        unlink(aside);
        return status;
    }
    return fd;
}

int io_fs_replace_file(const char *path, struct vr_str content, unsigned mode)
{
    char aside[4096], folder[4096];
    int fd = open_aside(path, mode, aside);
    if (fd < 0)
        return fd;
    int status = io_fs_write(fd, content.p, content.n);
    if (status == 0)
        status = io_fs_sync(fd);
    int closed = io_fs_close(fd);
    if (status == 0)
        status = closed;
    if (status == 0)
        status = io_fs_rename(aside, path);
    if (status != 0) {
        unlink(aside);
        return status;
    }
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s",
             slash == path   ? 1
             : slash != NULL ? (int)(slash - path)
                             : 1,
             slash != NULL ? path : ".");
    return io_fs_sync_directory(folder);
}

/* ---- whose files ----------------------------------------------------------------------------------------- */

/* setfsuid(2) is a thread's own; for setgroups(2) the C library would tell all threads, so the call is made raw. */
int io_fs_become(uint32_t uid, uint32_t gid)
{
    if (geteuid() != 0)
        return -EPERM;
    if (uid == 0) {
        setfsuid(0);
        setfsgid(gid);
        return 0; /* groups: root needs none */
    }
    setfsuid(0);
    if (syscall(SYS_setgroups, 0, NULL) != 0)
        return -errno;
    setfsgid(gid);
    setfsuid(uid);
    /* These two report nothing: ask again, by an impossible change. */
    if ((uint32_t)setfsgid((gid_t)-1) == gid && (uint32_t)setfsuid((uid_t)-1) == uid)
        return 0;
    setfsuid(0);
    setfsgid(0);
    return -EPERM;
}
