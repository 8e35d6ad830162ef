/* disk.h - the disk under the simulator's files: what is written, and what would be there after a loss of power. Internal to src/io/sim/.
 *
 * Each file has two contents: the one that processes see, and the durable one; between them the changes since the last sync, in order. The
 * same for folders: names that are seen and names that are durable. A power loss keeps any part of what was not synced: a write whole,
 * not at all, or in some of its sectors; a name or not; never half a rename.
 */
#ifndef IO_SIM_DISK_H
#define IO_SIM_DISK_H

#include "io/sim/inside.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <uthash.h>
#pragma GCC diagnostic pop

struct inode;

struct name {
    UT_hash_handle hh;
    struct inode *inode;
    char text[];
};

struct change {
    TAILQ_ENTRY(change) entry;
    uint64_t seq;
    bool truncate; /* to `offset` bytes; else a write */
    uint64_t offset;
    size_t n;
    char bytes[];
};

struct content {
    char *bytes;
    uint64_t size, capacity;
};

struct inode {
    TAILQ_ENTRY(inode) entry;
    unsigned refs; /* names (seen and durable), descriptors, changes of folders */
    bool directory;
    uint32_t mode;
    int64_t mtime_us;
    struct content seen, durable;
    TAILQ_HEAD(, change) changes;
    struct name *names, *durable_names;
    const void *locked_by;
};

extern struct sim_disk_trouble disk_trouble;

struct inode *disk_find(const char *path); /* NULL: there is none */
/* The folder that holds the last part of the path, which is copied to `last`. NULL: no such folder. */
struct inode *disk_parent(const char *path, char last[256]);
struct inode *disk_look(const struct inode *folder, const char *name);
struct inode *inode_new(bool directory, uint32_t mode);
void inode_drop(struct inode *i);
/* Names: inode NULL takes the name away. Two changes of one rename are one. */
void disk_name(struct inode *folder, const char *name, struct inode *i);
void disk_rename(struct inode *from_folder, const char *from, struct inode *to_folder, const char *to,
                 struct inode *i);
void disk_write(struct inode *i, uint64_t offset, const void *bytes, size_t n);
void disk_truncate(struct inode *i, uint64_t size);
uint64_t disk_mark(void); /* changes so far: a sync that begins now promises these */
void disk_sync(struct inode *i, uint64_t mark);
void disk_forget_changes(struct inode *i); /* a failed sync: they count as clean */
void disk_sync_folder(struct inode *folder, uint64_t mark);

#endif
