/* disk.c - see disk.h. */
#include "io/sim/disk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u

/* A change of names that is not durable yet. */
struct renaming {
    TAILQ_ENTRY(renaming) entry;
    uint64_t seq;
    struct inode *folder[2], *inode[2]; /* [1] of a rename: the old name, which goes */
    char *name[2];
    unsigned count;
};

struct sim_disk_trouble disk_trouble;
static TAILQ_HEAD(, inode) inodes;
static TAILQ_HEAD(, renaming) renamings;
static struct inode *root;
static uint64_t last_change;

static void *disk_alloc(size_t n)
{
    size_t own = memory_pause();
    void *p = calloc(1, n);
    assert(p != NULL);
    memory_resume(own);
    return p;
}

void sim_disk_trouble(const struct sim_disk_trouble *t)
{
    disk_trouble = *t;
}

/* ---- contents ----------------------------------------------------------------------------------------------------------- */

static void content_size(struct content *c, uint64_t size)
{
    if (size > c->capacity) {
        size_t own = memory_pause();
        c->capacity = size < 4096 ? 4096 : size + size / 4;
        c->bytes = realloc(c->bytes, c->capacity);
        assert(c->bytes != NULL);
        memory_resume(own);
    }
    if (size > c->size)
        memset(c->bytes + c->size, 0, size - c->size);
    c->size = size;
}

static void content_write(struct content *c, uint64_t offset, const void *bytes, size_t n)
{
    if (offset + n > c->size)
        content_size(c, offset + n);
    if (n > 0)
        memcpy(c->bytes + offset, bytes, n);
}

static void change_apply(struct inode *i, const struct change *c)
{
    if (c->truncate)
        content_size(&i->durable, c->offset);
    else
        content_write(&i->durable, c->offset, c->bytes, c->n);
}

static void change_add(struct inode *i, bool truncate, uint64_t offset, const void *bytes, size_t n)
{
    struct change *c = disk_alloc(sizeof *c + n);
    c->seq = ++last_change;
    c->truncate = truncate;
    c->offset = offset;
    c->n = n;
    if (n > 0)
        memcpy(c->bytes, bytes, n);
    TAILQ_INSERT_TAIL(&i->changes, c, entry);
    i->mtime_us = sim_now_us();
}

void disk_write(struct inode *i, uint64_t offset, const void *bytes, size_t n)
{
    content_write(&i->seen, offset, bytes, n);
    change_add(i, false, offset, bytes, n);
}

void disk_truncate(struct inode *i, uint64_t size)
{
    content_size(&i->seen, size);
    change_add(i, true, size, NULL, 0);
}

uint64_t disk_mark(void)
{
    return last_change;
}

void disk_sync(struct inode *i, uint64_t mark)
{
    struct change *c;
    while ((c = TAILQ_FIRST(&i->changes)) != NULL && c->seq <= mark) {
        change_apply(i, c);
        TAILQ_REMOVE(&i->changes, c, entry);
        free(c);
    }
}

void disk_forget_changes(struct inode *i)
{
    struct change *c;
    while ((c = TAILQ_FIRST(&i->changes)) != NULL) {
        TAILQ_REMOVE(&i->changes, c, entry);
        free(c);
    }
}

/* ---- inodes and names ----------------------------------------------------------------------------------------------------- */

struct inode *inode_new(bool directory, uint32_t mode)
{
    struct inode *i = disk_alloc(sizeof *i);
    i->refs = 1;
    i->directory = directory;
    i->mode = mode;
    i->mtime_us = sim_now_us();
    TAILQ_INIT(&i->changes);
    TAILQ_INSERT_TAIL(&inodes, i, entry);
    return i;
}

void inode_drop(struct inode *i)
{
    assert(i->refs > 0);
    if (--i->refs > 0)
        return;
    assert(i->names == NULL && i->durable_names == NULL);
    disk_forget_changes(i);
    TAILQ_REMOVE(&inodes, i, entry);
    free(i->seen.bytes);
    free(i->durable.bytes);
    free(i);
}

static struct name *name_find(struct name *table, const char *text)
{
    struct name *n = NULL;
    HASH_FIND_STR(table, text, n);
    return n;
}

static void name_set(struct name **table, const char *text, struct inode *i)
{
    size_t own = memory_pause();
    struct name *n = name_find(*table, text);
    if (i != NULL)
        i->refs++;
    if (n != NULL) {
        inode_drop(n->inode);
        n->inode = i;
        if (i == NULL) {
            HASH_DEL(*table, n);
            free(n);
        }
    } else if (i != NULL) {
        n = disk_alloc(sizeof *n + strlen(text) + 1);
        n->inode = i;
        memcpy(n->text, text, strlen(text) + 1);
        HASH_ADD_STR(*table, text, n);
    }
    memory_resume(own);
}

static void renaming_part(struct renaming *r, struct inode *folder, const char *name, struct inode *i)
{
    unsigned k = r->count++;
    folder->refs++;
    if (i != NULL)
        i->refs++;
    r->folder[k] = folder;
    r->inode[k] = i;
    r->name[k] = disk_alloc(strlen(name) + 1);
    memcpy(r->name[k], name, strlen(name) + 1);
    name_set(&folder->names, name, i);
    folder->mtime_us = sim_now_us();
}

static struct renaming *renaming_new(void)
{
    struct renaming *r = disk_alloc(sizeof *r);
    r->seq = ++last_change;
    TAILQ_INSERT_TAIL(&renamings, r, entry);
    return r;
}

void disk_name(struct inode *folder, const char *name, struct inode *i)
{
    renaming_part(renaming_new(), folder, name, i);
}

void disk_rename(struct inode *from_folder, const char *from, struct inode *to_folder, const char *to,
                 struct inode *i)
{
    struct renaming *r = renaming_new();
    renaming_part(r, to_folder, to, i);
    renaming_part(r, from_folder, from, NULL);
}

static void renaming_end(struct renaming *r, bool durable)
{
    for (unsigned k = 0; k < r->count; k++) {
        if (durable)
            name_set(&r->folder[k]->durable_names, r->name[k], r->inode[k]);
        free(r->name[k]);
    }
    for (unsigned k = 0; k < r->count; k++) {
        if (r->inode[k] != NULL)
            inode_drop(r->inode[k]);
        inode_drop(r->folder[k]);
    }
    TAILQ_REMOVE(&renamings, r, entry);
    free(r);
}

void disk_sync_folder(struct inode *folder, uint64_t mark)
{
    struct renaming *r, *next;
    for (r = TAILQ_FIRST(&renamings); r != NULL && r->seq <= mark; r = next) {
        next = TAILQ_NEXT(r, entry);
        bool concerns = r->folder[0] == folder || (r->count > 1 && r->folder[1] == folder);
        if (concerns)
            renaming_end(r, true);
    }
}

/* ---- the whole ----------------------------------------------------------------------------------------------------------------- */

void disk_reset(void)
{
    TAILQ_INIT(&inodes);
    TAILQ_INIT(&renamings);
    root = inode_new(true, 0755);
    disk_trouble = (struct sim_disk_trouble){0};
}

struct inode *disk_look(const struct inode *folder, const char *name)
{
    const struct name *n = name_find(folder->names, name);
    return n != NULL ? n->inode : NULL;
}

struct inode *disk_parent(const char *path, char last[256])
{
    struct inode *at = root;
    last[0] = '\0';
    while (at != NULL) {
        while (*path == '/')
            path++;
        size_t n = strcspn(path, "/");
        if (n == 0 || n >= 256)
            return at;
        if (last[0] != '\0') {
            at = disk_look(at, last);
            if (at == NULL || !at->directory)
                return NULL;
        }
        memcpy(last, path, n);
        last[n] = '\0';
        path += n;
    }
    return at;
}

struct inode *disk_find(const char *path)
{
    char last[256];
    struct inode *folder = disk_parent(path, last);
    return folder == NULL ? NULL : last[0] == '\0' ? folder : disk_look(folder, last);
}

static bool half(void)
{
    return sim_below(2) == 0;
}

/* A write that was under way: whole, or some of its sectors, in any order. */
static void torn(struct inode *i, struct change *c)
{
    if (c->truncate || half()) {
        if (half())
            change_apply(i, c);
        return;
    }
    if (half()) { /* a prefix, at any byte */
        c->n = (size_t)sim_below(c->n + 1);
        change_apply(i, c);
        return;
    }
    for (size_t at = 0; at < c->n; at += SECTOR)
        if (half())
            content_write(&i->durable, c->offset + at, c->bytes + at,
                          c->n - at < SECTOR ? c->n - at : SECTOR);
}

static void forget(struct inode *i)
{
    struct change *c;
    while ((c = TAILQ_FIRST(&i->changes)) != NULL) {
        torn(i, c);
        TAILQ_REMOVE(&i->changes, c, entry);
        free(c);
    }
    content_size(&i->seen, 0);
    content_write(&i->seen, 0, i->durable.bytes, (size_t)i->durable.size);
    i->locked_by = NULL;
}

static void names_clear(struct name **table)
{
    struct name *n, *next;
    HASH_ITER(hh, *table, n, next)
    {
        HASH_DEL(*table, n);
        inode_drop(n->inode);
        free(n);
    }
}

static void names_as_durable(struct inode *folder)
{
    struct name *n, *next;
    names_clear(&folder->names);
    HASH_ITER(hh, folder->durable_names, n, next)
    {
        name_set(&folder->names, n->text, n->inode);
    }
}

void disk_power_loss(void)
{
    size_t own = memory_pause();
    struct renaming *r;
    while ((r = TAILQ_FIRST(&renamings)) != NULL)
        renaming_end(r, half());
    struct inode *i, *next;
    TAILQ_FOREACH(i, &inodes, entry)
    i->refs++; /* none goes while we walk */
    TAILQ_FOREACH(i, &inodes, entry)
    {
        if (i->directory)
            names_as_durable(i);
        else
            forget(i);
    }
    for (i = TAILQ_FIRST(&inodes); i != NULL; i = next) {
        next = TAILQ_NEXT(i, entry);
        if (i->directory && i->refs == 1 &&
            i != root) { /* a folder whose name was lost: what is in it, too */
            names_clear(&i->names);
            names_clear(&i->durable_names);
        }
        inode_drop(i);
    }
    memory_resume(own);
}

static void walk(const struct inode *folder, char *path, size_t n,
                 void (*each)(void *arg, const char *path, struct vr_str content), void *arg)
{
    const struct name *at;
    for (at = folder->names; at != NULL; at = at->hh.next) {
        int more = snprintf(path + n, 1024 - n, "/%s", at->text);
        assert(more > 0 && n + (size_t)more < 1024);
        if (at->inode->directory)
            walk(at->inode, path, n + (size_t)more, each, arg);
        else
            each(arg, path, vr_str(at->inode->seen.bytes, (size_t)at->inode->seen.size));
    }
    path[n] = '\0';
}

void sim_disk_walk(const char *folder, void (*each)(void *arg, const char *path, struct vr_str content),
                   void *arg)
{
    char path[1024];
    struct inode *i = disk_find(folder);
    snprintf(path, sizeof path, "%s", folder);
    if (i != NULL && i->directory)
        walk(i, path, strlen(path), each, arg);
}
