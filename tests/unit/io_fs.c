/* io_fs.c - tests of src/io/fs.h: files, folders, users. */
#include "io_testing.h"

#include "io/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

struct fixture {
    char folder[64];
    char path[128], other[128];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    folder_make(f->folder);
    snprintf(f->path, sizeof f->path, "%s/file", f->folder);
    snprintf(f->other, sizeof f->other, "%s/other", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    folder_remove(f->folder);
    free(f);
    return 0;
}

static void open_flags(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(io_fs_open(f->path, IO_FS_READ, 0), -ENOENT);
    int fd = io_fs_open(f->path, IO_FS_READ | IO_FS_WRITE | IO_FS_CREATE | IO_FS_EXCLUSIVE, 0600);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(io_fs_open(f->path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_EXCLUSIVE, 0600), -EEXIST);
    assert_int_equal(io_fs_write(fd, "hello ", 6), 0);
    int end = io_fs_open(f->path, IO_FS_WRITE | IO_FS_APPEND, 0);
    assert_int_equal(io_fs_write(end, "world", 5), 0);
    char got[32];
    assert_int_equal(io_fs_pread(fd, got, sizeof got, 0), 11); /* fewer only at the end */
    assert_memory_equal(got, "hello world", 11);
    assert_int_equal(io_fs_pread(fd, got, 4, 100), 0);
    assert_int_equal(io_fs_pwrite(fd, "J", 1, 0), 0);
    assert_int_equal(io_fs_pread(fd, got, 1, 0), 1);
    assert_int_equal(got[0], 'J');
    assert_int_equal(io_fs_write(io_fs_open(f->path, IO_FS_READ, 0), "x", 1), -EBADF);
    assert_int_equal(io_fs_datasync(fd), 0);
    assert_int_equal(io_fs_sync(fd), 0);
    assert_int_equal(io_fs_truncate(fd, 5), 0);
    struct io_fs_stat st;
    assert_int_equal(io_fs_fstat(fd, &st), 0);
    assert_int_equal(st.size, 5);
    assert_int_equal(io_fs_allocate(fd, 0, 100000), 0);
    assert_int_equal(io_fs_fstat(fd, &st), 0);
    assert_int_equal(st.size, 100000);
    int copy = io_fs_dup(fd);
    assert_true(copy >= 0 && (fcntl(copy, F_GETFD) & FD_CLOEXEC));
    assert_int_equal(io_fs_close(copy), 0);
    assert_int_equal(io_fs_close(copy), -EBADF);
    assert_int_equal(io_fs_dup(copy), -EBADF);
    io_fs_close(end);
    end = io_fs_open(f->path, IO_FS_WRITE | IO_FS_TRUNCATE, 0);
    assert_int_equal(io_fs_fstat(end, &st), 0);
    assert_int_equal(st.size, 0);
    io_fs_close(end);
    io_fs_close(fd);
}

static void names(void **state)
{
    struct fixture *f = *state;
    struct io_fs_stat st;
    assert_int_equal(io_fs_replace_file(f->path, VR_STR("content"), 0640), 0);
    assert_int_equal(io_fs_stat(f->path, &st), 0);
    assert_true(st.is_file && !st.is_directory && !st.is_link);
    assert_int_equal(st.mode, 0640);
    assert_int_equal(st.uid, getuid());
    assert_int_equal(st.size, 7);
    assert_true(st.mtime_us > INT64_C(1700000000) * 1000000);
    assert_int_equal(io_fs_link(f->path, f->other), 0);
    assert_int_equal(io_fs_link(f->path, f->other), -EEXIST);
    assert_int_equal(io_fs_unlink(f->path), 0);
    assert_int_equal(io_fs_unlink(f->path), -ENOENT);
    assert_int_equal(io_fs_rename(f->other, f->path), 0);
    assert_int_equal(io_fs_chmod(f->path, 0600), 0);
    assert_int_equal(io_fs_stat(f->path, &st), 0);
    assert_int_equal(st.mode, 0600);
    assert_int_equal(io_fs_chown(f->path, getuid(), getgid()), 0);
    assert_int_equal(symlink(f->path, f->other), 0);
    assert_int_equal(io_fs_stat(f->other, &st), 0);
    assert_true(st.is_link && st.is_file);
    assert_int_equal(io_fs_open(f->other, IO_FS_READ | IO_FS_NO_FOLLOW, 0), -ELOOP);
    assert_int_equal(io_fs_stat("/nonexistent/x", &st), -ENOENT);
    assert_int_equal(io_fs_sync_directory(f->folder), 0);
    assert_int_equal(io_fs_sync_directory("/nonexistent"), -ENOENT);
}

static void folders(void **state)
{
    struct fixture *f = *state;
    char deep[160], a[160], ab[160];
    struct io_fs_stat st;
    snprintf(a, sizeof a, "%s/a", f->folder);
    snprintf(ab, sizeof ab, "%s/a/b", f->folder);
    snprintf(deep, sizeof deep, "%s/a/b/c", f->folder);
    assert_int_equal(io_fs_mkdir(deep, 0700), -ENOENT);
    assert_int_equal(io_fs_mkdir_all(deep, 0700), 0);
    assert_int_equal(io_fs_mkdir_all(deep, 0700), 0);
    assert_int_equal(io_fs_stat(deep, &st), 0);
    assert_true(st.is_directory);
    assert_int_equal(st.mode, 0700);
    assert_int_equal(io_fs_mkdir(deep, 0700), -EEXIST);
    assert_int_equal(io_fs_replace_file(f->path, VR_STR("x"), 0600), 0);
    assert_int_equal(io_fs_mkdir_all(f->path, 0700), -ENOTDIR);
    rmdir(deep);
    rmdir(ab);
    rmdir(a);
}

static bool count_names(void *arg, const char *name)
{
    int *count = arg;
    assert_true(name[0] != '.');
    return ++*count < 3;
}

static void listing(void **state)
{
    struct fixture *f = *state;
    int count = 0;
    assert_int_equal(io_fs_list(f->folder, count_names, &count), 0);
    assert_int_equal(count, 0);
    for (int i = 0; i < 5; i++) {
        char path[100];
        snprintf(path, sizeof path, "%s/f%d", f->folder, i);
        assert_int_equal(io_fs_replace_file(path, VR_STR(""), 0600), 0);
    }
    assert_int_equal(io_fs_list(f->folder, count_names, &count), 0);
    assert_int_equal(count, 3); /* stopped when told to */
    assert_int_equal(io_fs_list("/nonexistent", count_names, &count), -ENOENT);
}

static bool is_aside(void *arg, const char *name)
{
    int *strangers = arg;
    *strangers += strcmp(name, "file") != 0;
    return true;
}

static void whole_files(void **state)
{
    struct fixture *f = *state;
    struct vr_buf b;
    char *large = malloc(300000);
    memset(large, 'L', 300000);
    assert_int_equal(io_fs_replace_file(f->path, VR_STR("old"), 0600), 0);
    assert_int_equal(io_fs_replace_file(f->path, vr_str(large, 300000), 0600), 0);
    vr_buf_init(&b, 300000);
    assert_int_equal(io_fs_read_file(f->path, &b), 0);
    assert_int_equal(vr_buf_size(&b), 300000);
    assert_memory_equal(vr_buf_str(&b).p, large, 300000);
    vr_buf_fini(&b);
    vr_buf_init(&b, 299999);
    assert_int_equal(io_fs_read_file(f->path, &b), -EFBIG);
    assert_int_equal(io_fs_read_file(f->other, &b), -ENOENT);
    vr_buf_fini(&b);
    int strangers = 0;
    assert_int_equal(io_fs_replace_file("/nonexistent/x", VR_STR("x"), 0600), -ENOENT);
    assert_int_equal(io_fs_list(f->folder, is_aside, &strangers), 0);
    assert_int_equal(strangers, 0); /* nothing is left beside it */
    free(large);
}

static void locks(void **state)
{
    struct fixture *f = *state;
    int a = io_fs_open(f->path, IO_FS_WRITE | IO_FS_CREATE, 0600), b = io_fs_open(f->path, IO_FS_WRITE, 0);
    assert_int_equal(io_fs_lock(a), 0);
    assert_int_equal(io_fs_lock(a), 0);
    assert_int_equal(io_fs_lock(b), -EAGAIN);
    io_fs_close(io_fs_open(f->path, IO_FS_READ, 0)); /* does not drop it, as an old POSIX lock would be */
    assert_int_equal(io_fs_lock(b), -EAGAIN);
    io_fs_close(a);
    assert_int_equal(io_fs_lock(b), 0);
    io_fs_close(b);
}

static void full_disk_is_an_error(void **state)
{
    (void)state;
    int fd = io_fs_open("/dev/full", IO_FS_WRITE, 0);
    if (fd < 0)
        skip();
    assert_int_equal(io_fs_write(fd, "x", 1), -ENOSPC);
    assert_int_equal(io_fs_pwrite(fd, "x", 1, 0), -ENOSPC);
    io_fs_close(fd);
}

static void free_space(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes = 0, inodes = 0;
    assert_int_equal(io_fs_free_space(f->folder, &bytes, &inodes), 0);
    assert_true(bytes > 0 && inodes > 0);
    assert_int_equal(io_fs_free_space("/nonexistent", &bytes, &inodes), -ENOENT);
}

static void users(void **state)
{
    struct io_user a, b;
    char name[256];
    (void)state;
    assert_int_equal(io_user_by_name("root", &a), 0);
    assert_int_equal(a.uid, 0);
    assert_string_equal(a.home, "/root");
    assert_int_equal(io_user_by_id(0, &b), 0);
    assert_string_equal(b.name, "root");
    assert_int_equal(io_user_by_name("no-such-user-here", &a), -ENOENT);
    assert_int_equal(io_user_by_id(3999999999u, &a), -ENOENT);
    assert_int_equal(io_host_name(name, sizeof name), 0);
    assert_true(name[0] != '\0');
    assert_int_equal(io_host_name(name, 1), -ENAMETOOLONG);
    assert_int_equal(io_process_id(), getpid());
}

struct becoming {
    const char *path;
    int become, open_root_file, create, back, open_again;
};

static void *as_nobody(void *arg)
{
    struct becoming *b = arg;
    b->become = io_fs_become(65534, 65534);
    b->open_root_file = io_fs_open("/etc/shadow", IO_FS_READ, 0);
    b->create = io_fs_open(b->path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_EXCLUSIVE, 0600);
    b->back = io_fs_become(0, 0);
    b->open_again = io_fs_open("/etc/shadow", IO_FS_READ, 0);
    return NULL;
}

static void becoming_concerns_this_thread_only(void **state)
{
    struct fixture *f = *state;
    if (geteuid() != 0) {
        assert_int_equal(io_fs_become(65534, 65534), -EPERM);
        return;
    }
    struct becoming b = {.path = f->path};
    struct io_fs_stat st;
    pthread_t thread;
    assert_int_equal(chmod(f->folder, 0777), 0);
    assert_int_equal(pthread_create(&thread, NULL, as_nobody, &b), 0);
    pthread_join(thread, NULL);
    assert_int_equal(b.become, 0);
    assert_int_equal(b.open_root_file, -EACCES);
    assert_true(b.create >= 0);
    assert_int_equal(b.back, 0);
    assert_true(b.open_again >= 0);
    assert_int_equal(io_fs_fstat(b.create, &st), 0);
    assert_int_equal(st.uid, 65534);
    assert_int_equal(st.gid, 65534);
    io_fs_close(b.create);
    io_fs_close(b.open_again);
    int fd = io_fs_open("/etc/shadow", IO_FS_READ, 0); /* this thread stayed who it was */
    assert_true(fd >= 0);
    io_fs_close(fd);
    assert_int_equal(setfsuid((uid_t)-1), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(open_flags),
        T(names),
        T(folders),
        T(listing),
        T(whole_files),
        T(locks),
        T(full_disk_is_an_error),
        T(free_space),
        T(users),
        T(becoming_concerns_this_thread_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
