/* event.h - the one event stream: one structured line per step of a message's way.
 *
 * key=value on a terminal and to the journal (standard error), JSON when the configuration says so. Values of strangers are escaped: nothing
 * of them can start a line or a key, or speak to a terminal. A value is cut at 1 KiB ("..." at its end), a line at 64 KiB (cut=yes). Lines gather and leave in one write at the end of the loop's turn, whole lines only.
 *
 *     2026-11-23T16:52:51.123Z info receiver message.accepted id=0F3K… from=a@b size=4096 recipients=2
 */
#ifndef EVENT_EVENT_H
#define EVENT_EVENT_H

#include "io/io.h"
#include <veredus/base.h>

enum event_level { EVENT_DEBUG, EVENT_INFO, EVENT_NOTICE, EVENT_WARNING, EVENT_ERROR };
enum event_format { EVENT_KEY_VALUE, EVENT_JSON };

struct event_log;
/* process: "receiver". io NULL (the supervisor): each line is written at once. level: below it nothing is written. Colours (of the level's word)
 * only on a terminal that shows them, unless NO_COLOR is set. When standard error is systemd's journal, lines begin with the priority "<6>". The log
 * is freed before its io. */
struct event_log *event_log_new(struct io *io, const char *process, enum event_format format, enum event_level level);
void event_log_free(struct event_log *l);
void event_log_flush(struct event_log *l);

/* event_begin … event_str/… … event_end: one line. id 0: none. When the level is silenced all of it is cheap. */
void event_begin(struct event_log *l, enum event_level level, const char *name, uint64_t queue_id);
void event_str(struct event_log *l, const char *key, struct vr_str value);
void event_text(struct event_log *l, const char *key, const char *value);
void event_u64(struct event_log *l, const char *key, uint64_t value);
void event_end(struct event_log *l);

#endif
