/* clean.h - text of strangers made fit for a terminal. */
#ifndef CLI_CLEAN_H
#define CLI_CLEAN_H

#include <veredus/base.h>

#include <stdio.h>

/* Appends text; control characters (C1 too), what turns the direction of writing, and bytes that are no UTF-8 become "?". stays: control bytes that are
 * kept, such as "\n\t". */
bool cli_add_clean(struct vr_buf *out, struct vr_str text, const char *stays);
void cli_put_clean(FILE *file, struct vr_str text, const char *stays);

#endif
