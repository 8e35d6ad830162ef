/* content.h - a message as a mailbox's file holds it. Internal to src/local/. */
#ifndef LOCAL_CONTENT_H
#define LOCAL_CONTENT_H

#include "local/maildir.h"

/* Writes head and body of the message to fd. *size: the bytes of the file. 0 or negative errno. Blocks */
int content_write(const struct maildir_write *m, int fd, uint64_t *size);

#endif
