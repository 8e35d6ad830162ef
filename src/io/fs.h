/* fs.h - files. All calls block: use them before io_run (start-up), or inside io_work.
 *
 * Returns: 0 or a count on success, else a negative errno. EINTR and short transfers are handled inside.
 */
#ifndef IO_FS_H
#define IO_FS_H

#include <veredus/base.h>

enum io_fs_open {
    IO_FS_READ = 1,
    IO_FS_WRITE = 2,
    IO_FS_CREATE = 4,
    IO_FS_EXCLUSIVE = 8,
    IO_FS_TRUNCATE = 16,
    IO_FS_APPEND = 32,
    IO_FS_NO_FOLLOW = 64
};

struct io_fs_stat {
    uint64_t size;
    uint64_t inode; /* another file under the same name has another one; 0: not known */
    int64_t mtime_us;
    uint32_t mode, uid, gid;
    bool is_directory, is_file, is_link;
};

int io_fs_open(const char *path, unsigned flags, unsigned mode); /* a descriptor, close-on-exec */
int io_fs_close(int fd);
int64_t io_fs_pread(int fd, void *p, size_t n, uint64_t offset); /* fewer than n only at the end of the file */
int io_fs_pwrite(int fd, const void *p, size_t n, uint64_t offset);
int io_fs_write(int fd, const void *p, size_t n); /* at the file's position (or its end with APPEND) */
int io_fs_datasync(int fd); /* after a failure the data counts as lost: never retry as if pages were still dirty */
int io_fs_sync(int fd);
int io_fs_sync_directory(const char *path);
int io_fs_sync_parent(const char *path); /* the folder that holds it: its name is durable then */
int io_fs_truncate(int fd, uint64_t size);
int io_fs_allocate(int fd, uint64_t offset, uint64_t size); /* blocks reserved and the size set */
int io_fs_rename(const char *from, const char *to);
int io_fs_link(const char *from, const char *to);
int io_fs_unlink(const char *path);
int io_fs_mkdir(const char *path, unsigned mode); /* -EEXIST when it stands */
int io_fs_mkdir_all(const char *path, unsigned mode); /* with parents; fine when it stands */
int io_fs_stat(const char *path, struct io_fs_stat *out);
int io_fs_fstat(int fd, struct io_fs_stat *out);
int io_fs_chmod(const char *path, unsigned mode);
int io_fs_chown(const char *path, uint32_t uid, uint32_t gid);
int io_fs_lock(int fd); /* exclusive, whole file, not waiting: -EAGAIN when another holds it */
int io_fs_free_space(const char *path, uint64_t *bytes, uint64_t *inodes);
/* Calls each(arg, name) for every entry but "." and ".."; stops when it returns false. */
int io_fs_list(const char *path, bool (*each)(void *arg, const char *name), void *arg);
/* The whole file into out (whose max bounds it: -EFBIG). */
int io_fs_read_file(const char *path, struct vr_buf *out);
/* Written aside, synced, renamed over path, folder synced. */
int io_fs_replace_file(const char *path, struct vr_str content, unsigned mode);
/* A descriptor duplicated (for handing on). */
int io_fs_dup(int fd);

/* This thread acts on files as uid/gid (with no supplementary groups) until io_fs_become(0, 0). Root only: -EPERM. */
int io_fs_become(uint32_t uid, uint32_t gid);

/* The user data base. -ENOENT when there is none. */
struct io_user {
    uint32_t uid, gid;
    char name[64];
    char home[256];
};
int io_user_by_name(const char *name, struct io_user *out);
int io_user_by_id(uint32_t uid, struct io_user *out);
int io_host_name(char *out, size_t n); /* fully qualified where the system knows it */
int io_process_id(void);

#endif
