/* dkim_store.c - see dkim_store.h: the files of DKIM keys. dkim_ring.c has what is in them.
 *
 * Promise:  a file appears under its name with its owner and mode, whole and durable, or not at all; nobody but its owner ever can read it.
 * Files:    <state>/dkim/DOMAIN (A-labels); .lock, held by who changes something; .new, a file that is being written by him
 * Runs in:  keeper (worker threads; reads only) and `veredus dkim`.
 * Tests:    tests/unit/dkim_store.c
 */
#include "keeper/dkim_store.h"

#include "io/env.h"
#include "io/fs.h"
#include "io/io.h"
#include "io/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_HERE 1024
#define FILE_MAX      (256u << 10)
#define FOLDER_MODE   0700
#define FILE_MODE     0600

static void wipe(struct vr_buf *b)
{
    if (b->p != NULL)
        explicit_bzero(b->p, b->capacity);
    vr_buf_fini(b);
}

static bool path_of(char out[PATH_MAX_HERE], const char *state, struct vr_str name)
{
    int n = snprintf(out, PATH_MAX_HERE, "%s/" DKIM_STORE_FOLDER "%s%.*s", state, name.n > 0 ? "/" : "",
                     VR_STR_ARG(name));
    return n > 0 && n < PATH_MAX_HERE && vr_str_find(name, '/') == VR_NPOS;
}

static enum dkim_store_result trouble(char error[DKIM_STORE_ERROR], const char *what, const char *path,
                                      int status)
{
    bool may_not = status == -EACCES || status == -EPERM;
    snprintf(error, DKIM_STORE_ERROR, "cannot %s %.200s: %s%s", what, path, io_error_text(status),
             may_not && !io_is_root() ? "; run this as root, or as the user whom the server runs as" : "");
    return DKIM_STORE_TROUBLE;
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

/* Of this very text; never 0. */
static uint64_t version_of(struct vr_str text)
{
    return (uint64_t)(text.n + 1) << 32 | vr_crc32c(0, text.p, text.n);
}

static enum dkim_store_result parse(const char *path, struct vr_str domain, struct vr_str text,
                                    struct dkim_ring **out, char error[DKIM_STORE_ERROR])
{
    char why[DKIM_STORE_ERROR] = "memory is out";
    if (dkim_ring_parse(domain, text, out, why) == DKIM_STORE_OK)
        return DKIM_STORE_OK;
    snprintf(error, DKIM_STORE_ERROR,
             "%.200s is no file of DKIM keys any more: %.200s; mend it, or put back one from a backup", path,
             why);
    return DKIM_STORE_TROUBLE;
}

enum dkim_store_result dkim_store_reload(const char *state, struct vr_str domain, uint64_t *version,
                                         struct dkim_ring **out, char error[DKIM_STORE_ERROR])
{
    char path[PATH_MAX_HERE];
    struct vr_buf text;
    *out = NULL;
    if (!path_of(path, state, domain))
        return trouble(error, "read", path, -ENAMETOOLONG);
    vr_buf_init(&text, FILE_MAX);
    int status = io_fs_read_file(path, &text);
    uint64_t now = status >= 0 ? version_of(vr_buf_str(&text)) : 0;
    enum dkim_store_result r = DKIM_STORE_OK;
    if (status == -ENOENT)
        r = DKIM_STORE_NONE;
    else if (status < 0)
        r = trouble(error, "read", path, status);
    else if (now == *version)
        r = DKIM_STORE_SAME;
    else
        r = parse(path, domain, vr_buf_str(&text), out, error);
    *version = r == DKIM_STORE_TROUBLE ? 0 : now;
    wipe(&text);
    return r;
}

enum dkim_store_result dkim_store_load(const char *state, struct vr_str domain, struct dkim_ring **out,
                                       char error[DKIM_STORE_ERROR])
{
    uint64_t version = 0;
    return dkim_store_reload(state, domain, &version, out, error);
}

struct listing {
    bool (*each)(void *arg, struct vr_str domain);
    void *arg;
};

static bool list_one(void *arg, const char *name)
{
    struct listing *l = arg;
    return name[0] == '.' || l->each(l->arg, vr_str_from(name));
}

enum dkim_store_result dkim_store_domains(const char *state, bool (*each)(void *arg, struct vr_str domain),
                                          void *arg, char error[DKIM_STORE_ERROR])
{
    char path[PATH_MAX_HERE];
    struct listing l = {each, arg};
    int status = path_of(path, state, vr_str(NULL, 0)) ? io_fs_list(path, list_one, &l) : -ENAMETOOLONG;
    if (status == -ENOENT)
        return DKIM_STORE_NONE;
    return status < 0 ? trouble(error, "read", path, status) : DKIM_STORE_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

static int give(const char *path, struct dkim_owner owner)
{
    return owner.as_caller ? 0 : io_fs_chown(path, owner.uid, owner.gid);
}

static int make_folder(const char *path, struct dkim_owner owner)
{
    int status = io_fs_mkdir(path, FOLDER_MODE);
    if (status == -EEXIST)
        return 0;
    if (status == 0)
        status = give(path, owner);
    return status == 0 ? io_fs_sync_parent(path) : status;
}

int dkim_store_lock(const char *state, struct dkim_owner owner, char error[DKIM_STORE_ERROR])
{
    char folder[PATH_MAX_HERE], path[PATH_MAX_HERE];
    int status = path_of(folder, state, vr_str(NULL, 0)) && path_of(path, state, VR_STR(".lock"))
                     ? make_folder(folder, owner)
                     : -ENAMETOOLONG;
    if (status < 0) {
        trouble(error, "make the folder", folder, status);
        return status;
    }
    int fd = io_fs_open(path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_NO_FOLLOW, FILE_MODE);
    if (fd < 0) {
        trouble(error, "write in", folder, fd);
        return fd;
    }
    status = io_fs_lock(fd);
    if (status == 0)
        return fd;
    io_fs_close(fd);
    if (status == -EAGAIN)
        snprintf(error, DKIM_STORE_ERROR,
                 "another `veredus dkim` is changing keys; try again when it is done");
    else
        trouble(error, "lock", path, status);
    return status;
}

static int write_aside(const char *path, struct vr_str text, struct dkim_owner owner)
{
    int fd = io_fs_open(path, IO_FS_WRITE | IO_FS_CREATE | IO_FS_EXCLUSIVE | IO_FS_NO_FOLLOW, FILE_MODE);
    if (fd < 0)
        return fd;
    int status = io_fs_write(fd, text.p, text.n);
    if (status >= 0)
        status = io_fs_sync(fd);
    io_fs_close(fd);
    return status < 0 ? status : give(path, owner);
}

static int replace(const char *state, const char *path, struct vr_str text, struct dkim_owner owner)
{
    char aside[PATH_MAX_HERE];
    if (!path_of(aside, state, VR_STR(".new")))
        return -ENAMETOOLONG;
    (void)io_fs_unlink(aside); /* of one who died at it: we hold the lock */
    int status = write_aside(aside, text, owner);
    if (status == 0)
        status = io_fs_rename(aside, path);
    if (status != 0)
        (void)io_fs_unlink(aside);
    return status;
}

enum dkim_store_result dkim_store_save(const char *state, const struct dkim_ring *r, struct dkim_owner owner,
                                       char error[DKIM_STORE_ERROR])
{
    char path[PATH_MAX_HERE];
    struct vr_buf text;
    if (!path_of(path, state, r->domain))
        return trouble(error, "write", path, -ENAMETOOLONG);
    vr_buf_init(&text, FILE_MAX);
    char *room = vr_buf_reserve(&text, FILE_MAX / 4); /* at once: what grows leaves copies behind */
    int status = room != NULL && dkim_ring_write(r, &text) ? 0 : -EFBIG;
    if (status == 0 && r->count == 0) {
        status = io_fs_unlink(path);
        status = status == -ENOENT ? 0 : status;
    } else if (status == 0) {
        status = replace(state, path, vr_buf_str(&text), owner);
    }
    wipe(&text);
    if (status == 0)
        status = io_fs_sync_parent(path);
    return status == 0 ? DKIM_STORE_OK : trouble(error, "write", path, status);
}

/* ---- what is to be published -------------------------------------------------------------------------------------------- */

static bool publish(const struct dkim_ring *r, const struct dkim_stored *k, int64_t now,
                    struct vr_arena *arena, struct dkim_published *out)
{
    struct vr_buf value;
    vr_buf_init(&value, DKIM_STORE_RECORD);
    bool good = dkim_key_record(k->key, &value);
    *out = (struct dkim_published){.name = vr_arena_printf(arena, "%.*s._domainkey.%.*s",
                                                           VR_STR_ARG(k->selector), VR_STR_ARG(r->domain)),
                                   .value = vr_arena_dup(arena, vr_buf_str(&value)),
                                   .selector = vr_arena_dup(arena, k->selector),
                                   .algorithm = dkim_key_algorithm(k->key),
                                   .bits = dkim_key_bits(k->key),
                                   .phase = dkim_phase_of(k, now)};
    vr_buf_fini(&value);
    return good && out->name.n > 0 && out->value.n > 0;
}

static enum dkim_store_result publish_all(const struct dkim_ring *r, int64_t now, struct vr_arena *arena,
                                          const struct dkim_published **out, size_t *count,
                                          char error[DKIM_STORE_ERROR])
{
    struct dkim_published *list = vr_arena_alloc(arena, (r->count + 1) * sizeof *list);
    bool good = list != NULL;
    for (size_t i = 0; good && i < r->count; i++)
        good = publish(r, &r->keys[i], now, arena, &list[i]);
    *out = list;
    *count = good ? r->count : 0;
    if (good)
        return r->count > 0 ? DKIM_STORE_OK : DKIM_STORE_NONE;
    snprintf(error, DKIM_STORE_ERROR, "the DKIM records of %.*s do not fit into memory",
             VR_STR_ARG(r->domain));
    return DKIM_STORE_TROUBLE;
}

enum dkim_store_result dkim_store_records(const char *state, struct vr_str domain, int64_t now,
                                          struct vr_arena *arena, const struct dkim_published **out,
                                          size_t *count, char error[DKIM_STORE_ERROR])
{
    struct dkim_ring *ring = NULL;
    struct vr_str name;
    *out = NULL;
    *count = 0;
    enum dkim_store_result r = dkim_store_domain(arena, domain, &name, error);
    if (r == DKIM_STORE_OK)
        r = dkim_store_load(state, name, &ring, error);
    if (r == DKIM_STORE_OK)
        r = publish_all(ring, now, arena, out, count, error);
    dkim_ring_free(ring);
    return r;
}
