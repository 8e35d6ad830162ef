/* maildir.h - one message into one Maildir, on a worker thread. Internal to src/local/.
 *
 * Promise: when maildir_write returns 0 the message survives power loss; otherwise new/ holds nothing of it.
 * Steps:   folders made where they are missing, and synced up to what is durable -> tmp/NAME written -> synced -> renamed to new/NAME,S=SIZE
 *          -> new/ synced. A crash before the rename leaves a file in tmp/, which Maildir readers remove after 36 hours.
 */
#ifndef LOCAL_MAILDIR_H
#define LOCAL_MAILDIR_H

#include <veredus/base.h>

struct maildir_write {
    const char *folder; /* absolute */
    const char *inbox;  /* `folder` is a folder of this Maildir (Maildir++: its name begins with a dot); NULL: it is one itself */
    const char *name;   /* unique: time.unique.host */
    uint32_t uid, gid;  /* whose files they will be */
    bool become;        /* act as that user (the process is root) */
    bool folder_known;  /* tmp, new and cur were there a moment ago */
    size_t durable;     /* so much of the folder's path, from its start on, is known to be durable */
    struct vr_str head; /* Return-Path, Delivered-To and the fields on top, CRLF line ends */
    struct vr_str body; /* CRLF line ends, but for a binary one; empty when in fd */
    int fd;             /* -1: none */
    uint64_t body_size;
    bool binary; /* BODY=BINARYMIME: content.c says what becomes of it */
    const char *failed_at; /* what was being done, when it failed */
};
int maildir_write(struct maildir_write *w); /* 0 or negative errno. Blocks */

size_t
maildir_parent(const char *path,
               size_t n); /* the length of the parent's part of the path's first n bytes; "/" is its own */

#endif
