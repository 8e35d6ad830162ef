/* files.c - fs.h on the simulated disk. In a worker each call takes its time; a process may die before and after each.
 *
 * A full disk lets what is there be overwritten, and nothing grow. After a failed sync the kernel counts pages as clean: they are seen still,
 * and gone with the power.
 */
#include "io/fs.h"

#include "io/sim/disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STDOUT 1
#define STDERR 2

struct file {
    struct object object;
    struct inode *inode;
    uint64_t position;
    bool append;
};

static void file_last(struct object *o)
{
    struct file *f = CONTAINER(o, struct file, object);
    if (f->inode->locked_by == f)
        f->inode->locked_by = NULL;
    inode_drop(f->inode);
    free(f);
}

static struct file *file_of(int fd)
{
    struct object *o = actor_object(fd, OBJECT_FILE);
    return o != NULL ? CONTAINER(o, struct file, object) : NULL;
}

/* What every call does: it is a step, and takes time. */
static void takes(int64_t us)
{
    actor_step();
    actor_sleep(us / 2 + (int64_t)sim_below((uint64_t)us + 1) +
                (int64_t)sim_below((uint64_t)disk_trouble.slow_us + 1));
}

int io_fs_open(const char *path, unsigned flags, unsigned mode)
{
    char last[256];
    takes(10);
    struct inode *folder = disk_parent(path, last), *i = folder != NULL ? disk_find(path) : NULL;
    if (folder == NULL || (i == NULL && !(flags & IO_FS_CREATE)))
        return -ENOENT;
    if (i != NULL && (flags & IO_FS_CREATE) && (flags & IO_FS_EXCLUSIVE))
        return -EEXIST;
    if (i != NULL && i->directory)
        return -EISDIR;
    if (i == NULL) {
        if (disk_trouble.full && sim_below(2) == 0)
            return -ENOSPC;
        i = inode_new(false, mode);
        disk_name(folder, last, i);
    } else {
        i->refs++;
        if (flags & IO_FS_TRUNCATE)
            disk_truncate(i, 0);
    }
    size_t own = memory_pause();
    struct file *f = calloc(1, sizeof *f);
    assert(f != NULL);
    memory_resume(own);
    f->object = (struct object){.kind = OBJECT_FILE, .refs = 1, .last = file_last};
    f->inode = i;
    f->append = flags & IO_FS_APPEND;
    return actor_fd(actor_now(), &f->object);
}

int io_fs_close(int fd)
{
    object_drop(actor_take(fd));
    return 0;
}

int io_fs_dup(int fd)
{
    struct object *o = actor_object_any(fd);
    return o != NULL ? actor_fd(actor_now(), object_hold(o)) : -EBADF;
}

int64_t io_fs_pread(int fd, void *p, size_t n, uint64_t offset)
{
    takes(20);
    const struct file *f = file_of(fd);
    assert(f != NULL);
    const struct content *c = &f->inode->seen;
    if (offset >= c->size)
        return 0;
    size_t some = c->size - offset < n ? (size_t)(c->size - offset) : n;
    memcpy(p, c->bytes + offset, some);
    return (int64_t)some;
}

static int write_at(struct inode *i, const void *p, size_t n, uint64_t offset)
{
    if (disk_trouble.full && offset + n > i->seen.size)
        return -ENOSPC;
    if (sim_chance(disk_trouble.write_fails)) {
        size_t some = (size_t)sim_below(n + 1);
        if (some > 0)
            disk_write(i, offset, p, some);
        return -EIO;
    }
    disk_write(i, offset, p, n);
    return 0;
}

int io_fs_pwrite(int fd, const void *p, size_t n, uint64_t offset)
{
    takes(30);
    struct file *f = file_of(fd);
    assert(f != NULL);
    return write_at(f->inode, p, n, offset);
}

int io_fs_write(int fd, const void *p, size_t n)
{
    if (fd == STDOUT || fd == STDERR) {
        output_write(vr_str(p, n));
        return 0;
    }
    takes(30);
    struct file *f = file_of(fd);
    assert(f != NULL);
    uint64_t at = f->append ? f->inode->seen.size : f->position;
    int status = write_at(f->inode, p, n, at);
    if (status == 0)
        f->position = at + n;
    return status;
}

static int sync_file(int fd)
{
    struct file *f = file_of(fd);
    assert(f != NULL);
    struct inode *i = f->inode;
    uint64_t mark = disk_mark();
    i->refs++;
    takes(sim_chance(5000) ? 30000 : 150);
    int status = sim_chance(disk_trouble.sync_fails) ? -EIO : 0;
    if (status == 0)
        disk_sync(i, mark);
    else
        disk_forget_changes(i);
    inode_drop(i);
    actor_step();
    return status;
}

int io_fs_datasync(int fd)
{
    return sync_file(fd);
}

int io_fs_sync(int fd)
{
    return sync_file(fd);
}

int io_fs_sync_directory(const char *path)
{
    uint64_t mark = disk_mark();
    struct inode *i = disk_find(path);
    if (i == NULL)
        return -ENOENT;
    i->refs++;
    takes(150);
    if (!sim_chance(disk_trouble.sync_fails))
        disk_sync_folder(i, mark);
    else
        mark = 0;
    inode_drop(i);
    actor_step();
    return mark == 0 ? -EIO : 0;
}

int io_fs_sync_parent(const char *path)
{
    char parent[1024];
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
    takes(30);
    struct file *f = file_of(fd);
    assert(f != NULL);
    disk_truncate(f->inode, size);
    return 0;
}

int io_fs_allocate(int fd, uint64_t offset, uint64_t size)
{
    takes(50);
    struct file *f = file_of(fd);
    assert(f != NULL);
    if (offset + size <= f->inode->seen.size)
        return 0;
    if (disk_trouble.full)
        return -ENOSPC;
    disk_truncate(f->inode, offset + size);
    return 0;
}

int io_fs_rename(const char *from, const char *to)
{
    char from_name[256], to_name[256];
    takes(30);
    struct inode *a = disk_parent(from, from_name), *b = disk_parent(to, to_name);
    struct inode *i = a != NULL ? disk_look(a, from_name) : NULL;
    if (i == NULL || b == NULL)
        return -ENOENT;
    disk_rename(a, from_name, b, to_name, i);
    actor_step();
    return 0;
}

int io_fs_link(const char *from, const char *to)
{
    char name[256];
    takes(30);
    struct inode *i = disk_find(from), *folder = disk_parent(to, name);
    if (i == NULL || folder == NULL)
        return -ENOENT;
    if (disk_look(folder, name) != NULL)
        return -EEXIST;
    disk_name(folder, name, i);
    return 0;
}

int io_fs_unlink(const char *path)
{
    char name[256];
    takes(30);
    struct inode *folder = disk_parent(path, name);
    if (folder == NULL || disk_look(folder, name) == NULL)
        return -ENOENT;
    disk_name(folder, name, NULL);
    return 0;
}

int io_fs_mkdir(const char *path, unsigned mode)
{
    char name[256];
    takes(30);
    struct inode *folder = disk_parent(path, name);
    if (folder == NULL)
        return -ENOENT;
    if (name[0] == '\0' || disk_look(folder, name) != NULL)
        return -EEXIST;
    if (disk_trouble.full)
        return -ENOSPC;
    struct inode *i = inode_new(true, mode);
    disk_name(folder, name, i);
    inode_drop(i);
    return 0;
}

int io_fs_mkdir_all(const char *path, unsigned mode)
{
    char part[1024];
    size_t n = strlen(path);
    if (n >= sizeof part)
        return -ENAMETOOLONG;
    for (size_t at = 1; at <= n; at++) {
        if (path[at] != '/' && path[at] != '\0')
            continue;
        memcpy(part, path, at);
        part[at] = '\0';
        int status = io_fs_mkdir(part, mode);
        if (status != 0 && status != -EEXIST)
            return status;
    }
    return 0;
}

static void stat_of(const struct inode *i, struct io_fs_stat *out)
{
    *out = (struct io_fs_stat){.size = i->seen.size,
                               .mtime_us = io_now_us(NULL) - sim_now_us() + i->mtime_us,
                               .mode = i->mode,
                               .is_directory = i->directory,
                               .is_file = !i->directory};
}

int io_fs_stat(const char *path, struct io_fs_stat *out)
{
    takes(5);
    const struct inode *i = disk_find(path);
    if (i == NULL)
        return -ENOENT;
    stat_of(i, out);
    return 0;
}

int io_fs_fstat(int fd, struct io_fs_stat *out)
{
    const struct file *f = file_of(fd);
    if (f == NULL)
        return -EBADF;
    stat_of(f->inode, out);
    return 0;
}

int io_fs_chmod(const char *path, unsigned mode)
{
    struct inode *i = disk_find(path);
    if (i == NULL)
        return -ENOENT;
    i->mode = mode;
    return 0;
}

int io_fs_chown(const char *path, uint32_t uid, uint32_t gid)
{
    (void)uid, (void)gid;
    return disk_find(path) != NULL ? 0 : -ENOENT;
}

int io_fs_lock(int fd)
{
    struct file *f = file_of(fd);
    assert(f != NULL);
    if (f->inode->locked_by != NULL && f->inode->locked_by != f)
        return -EAGAIN;
    f->inode->locked_by = f;
    return 0;
}

int io_fs_free_space(const char *path, uint64_t *bytes, uint64_t *inodes)
{
    (void)path;
    takes(10);
    *bytes = disk_trouble.full ? 0 : 1ull << 40;
    *inodes = 1u << 20;
    return 0;
}

int io_fs_list(const char *path, bool (*each)(void *arg, const char *name), void *arg)
{
    takes(50);
    const struct inode *i = disk_find(path);
    if (i == NULL || !i->directory)
        return -ENOENT;
    size_t n = 0, count = HASH_COUNT(i->names);
    char **names = calloc(count + 1, sizeof *names); /* each() may change the folder */
    assert(names != NULL);
    for (const struct name *at = i->names; at != NULL; at = at->hh.next) {
        names[n] = strdup(at->text);
        assert(names[n] != NULL);
        n++;
    }
    bool more = true;
    for (size_t k = 0; k < n; k++) {
        more = more && each(arg, names[k]);
        free(names[k]);
    }
    free(names);
    return 0;
}

int io_fs_read_file(const char *path, struct vr_buf *out)
{
    const struct inode *i = disk_find(path);
    if (i == NULL)
        return -ENOENT;
    return vr_buf_add(out, vr_str(i->seen.bytes, (size_t)i->seen.size)) ? 0 : -EFBIG;
}

int io_fs_replace_file(const char *path, struct vr_str content, unsigned mode)
{
    char aside[1024], folder[1024];
    snprintf(aside, sizeof aside, "%s.new", path);
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    int fd = io_fs_open(aside, IO_FS_WRITE | IO_FS_CREATE | IO_FS_TRUNCATE, mode);
    if (fd < 0)
        return fd;
    int status = io_fs_write(fd, content.p, content.n);
    if (status == 0)
        status = io_fs_sync(fd);
    io_fs_close(fd);
    if (status == 0)
        status = io_fs_rename(aside, path);
    return status == 0 ? io_fs_sync_directory(folder) : status;
}

int io_fs_become(uint32_t uid, uint32_t gid)
{
    (void)uid, (void)gid;
    return 0;
}

/* ---- users, of whom there is one --------------------------------------------------------------------------------------------- */

static int the_user(struct io_user *out)
{
    *out = (struct io_user){.uid = 1000, .gid = 1000, .name = "user", .home = "/home/user"};
    return 0;
}

int io_user_by_name(const char *name, struct io_user *out)
{
    (void)name;
    return the_user(out);
}

int io_user_by_id(uint32_t uid, struct io_user *out)
{
    (void)uid;
    return the_user(out);
}

int io_host_name(char *out, size_t n)
{
    snprintf(out, n, "sim.example");
    return 0;
}

int io_process_id(void)
{
    return actor_now()->pid;
}

/* ---- standard error ---------------------------------------------------------------------------------------------------------- */

static void (*output)(const char *title, struct vr_str text);

void sim_on_output(void (*line)(const char *title, struct vr_str text))
{
    output = line;
}

void output_write(struct vr_str text)
{
    if (output != NULL)
        output(actor_now()->title, text);
}
