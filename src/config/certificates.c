/* certificates.c - see certificates.h. */
#include "config/certificates.h"

#include "io/tls.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct io_tls_certificate certificate_pair(const struct certificate *c)
{
    return (struct io_tls_certificate){.names = c->names,
                                       .certificate = c->chain_path,
                                       .key = c->key_path,
                                       .certificate_pem = vr_buf_str(&c->chain),
                                       .key_pem = vr_buf_str(&c->key)};
}

static void wipe(struct vr_buf *b)
{
    volatile char *p = b->p; /* not to be optimised away */
    for (size_t i = 0; p != NULL && i < b->capacity; i++)
        p[i] = 0;
    vr_buf_release(b);
}

/* Straight into a buffer that does not grow: no copies of a key are left in memory that was given back. */
static int read_whole(const char *path, struct vr_buf *out)
{
    struct io_fs_stat st;
    int fd = io_fs_open(path, IO_FS_READ, 0);
    if (fd < 0)
        return fd;
    int64_t status = io_fs_fstat(fd, &st);
    char *room = status == 0 ? vr_buf_reserve(out, (size_t)st.size + 1) : NULL;
    if (status == 0)
        status = room != NULL ? io_fs_pread(fd, room, (size_t)st.size + 1, 0) : -EFBIG;
    io_fs_close(fd);
    if (status > 0)
        vr_buf_filled(out, (size_t)status);
    return status < 0 ? (int)status : 0;
}

static bool read_file(const char *what, const char *path, struct vr_buf *out, char error[256])
{
    int status = read_whole(path, out);
    if (status == 0 && vr_buf_size(out) == 0)
        snprintf(error, 256, "the %s %s is empty", what, path);
    else if (status != 0)
        snprintf(error, 256, "cannot read the %s %s: %s", what, path, io_error_text(status));
    return status == 0 && vr_buf_size(out) > 0;
}

/* Into two buffers; they hold a pair that can be used when it is true. */
static bool read_pair(const struct certificate *c, struct vr_buf *chain, struct vr_buf *key, char error[256])
{
    if (!read_file("certificate", c->chain_path, chain, error) ||
        !read_file("private key", c->key_path, key, error))
        return false;
    struct certificate tried = *c;
    tried.chain = *chain;
    tried.key = *key;
    struct io_tls_certificate pair = certificate_pair(&tried);
    struct io_tls *tls = io_tls_server(&pair, 1, error);
    io_tls_free(tls);
    return tls != NULL;
}

static struct certificate_stamp stamp_of(const char *path)
{
    struct io_fs_stat st = {0};
    int status = io_fs_stat(path, &st);
    return (struct certificate_stamp){
        .status = status, .size = st.size, .inode = st.inode, .mtime_us = st.mtime_us};
}

static bool same_stamp(const struct certificate_stamp *a, const struct certificate_stamp *b)
{
    return a->status == b->status && a->size == b->size && a->inode == b->inode && a->mtime_us == b->mtime_us;
}

static bool same_stamps(const struct certificate_stamp a[2], const struct certificate_stamp b[2])
{
    return same_stamp(&a[0], &b[0]) && same_stamp(&a[1], &b[1]);
}

struct certificates *certificates_load(const struct config *c, char error[256])
{
    struct certificates *all = calloc(1, sizeof *all);
    assert(all != NULL);
    all->count = c->tls_count > 0 ? c->tls_count : 1;
    all->items = calloc(all->count, sizeof *all->items);
    assert(all->items != NULL);
    snprintf(all->self_signed[0], sizeof all->self_signed[0], "%s/self-signed.pem", c->state);
    snprintf(all->self_signed[1], sizeof all->self_signed[1], "%s/self-signed.key", c->state);
    bool good = true;
    for (size_t i = 0; i < all->count; i++) { /* all of them, so that it can be freed */
        struct certificate *x = &all->items[i];
        bool own = c->tls_count > 0;
        x->names = own ? c->tls[i].names : "";
        x->chain_path = own ? c->tls[i].certificate : all->self_signed[0];
        x->key_path = own ? c->tls[i].key : all->self_signed[1];
        vr_buf_init(&x->chain, CERTIFICATE_FILE_MAX);
        vr_buf_init(&x->key, CERTIFICATE_FILE_MAX);
        x->known[0] = x->fresh[0] =
            stamp_of(x->chain_path); /* before: what is changed meanwhile is seen later */
        x->known[1] = x->fresh[1] = stamp_of(x->key_path);
        good = good && read_pair(x, &x->chain, &x->key, error);
    }
    if (good)
        return all;
    certificates_free(all);
    return NULL;
}

void certificates_forget_keys(struct certificates *all)
{
    for (size_t i = 0; i < all->count; i++)
        wipe(&all->items[i].key);
}

void certificates_free(struct certificates *all)
{
    if (all == NULL)
        return;
    certificates_forget_keys(all);
    for (size_t i = 0; i < all->count; i++)
        vr_buf_fini(&all->items[i].chain);
    free(all->items);
    free(all);
}

enum certificates_news certificates_look(struct certificates *all, size_t i, char error[256])
{
    struct certificate *c = &all->items[i];
    struct certificate_stamp now[2] = {stamp_of(c->chain_path), stamp_of(c->key_path)};
    bool settled = same_stamps(now, c->fresh);
    memcpy(c->fresh, now, sizeof now);
    if (same_stamps(now, c->known) || !settled)
        return CERTIFICATES_SAME;
    memcpy(c->known, now, sizeof now);
    struct vr_buf chain, key;
    vr_buf_init(&chain, CERTIFICATE_FILE_MAX);
    vr_buf_init(&key, CERTIFICATE_FILE_MAX);
    enum certificates_news news = CERTIFICATES_REFUSED;
    if (read_pair(c, &chain, &key, error)) {
        bool same = vr_str_equal(vr_buf_str(&chain), vr_buf_str(&c->chain)) &&
                    vr_str_equal(vr_buf_str(&key), vr_buf_str(&c->key));
        news = same ? CERTIFICATES_SAME : CERTIFICATES_REPLACED;
    }
    if (news == CERTIFICATES_REPLACED) {
        struct vr_buf old[2] = {c->chain, c->key};
        c->chain = chain;
        c->key = key;
        chain = old[0];
        key = old[1];
    }
    vr_buf_fini(&chain);
    wipe(&key);
    vr_buf_fini(&key);
    return news;
}
