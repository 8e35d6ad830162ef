/* trace.h - the dialogue for a person: "->" what we sent, "<-" what came, "**" what happened. On standard error. */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H

#include "io/io.h"

struct trace {
    const struct io *io;
    int64_t start_ms;
    bool on, colours;
    bool secret;          /* an AUTH exchange is under way: what we send is not shown */
    struct vr_buf sent, received; /* lines that have not ended yet */
};

void trace_init(struct trace *t, const struct io *io, bool on);
void trace_fini(struct trace *t);
/* Bytes in any split; shown line by line, with the seconds since trace_init. */
void trace_sent(struct trace *t, struct vr_str bytes);
void trace_received(struct trace *t, struct vr_str bytes);
void trace_note(struct trace *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a line of ours becomes in the trace: "AUTH PLAIN" keeps its mechanism and hides the rest, answers to challenges hide all.
 * Follows *secret from AUTH to its end (which trace_received sees). */
void trace_mask(struct vr_buf *out, struct vr_str line, bool *secret);

#endif
