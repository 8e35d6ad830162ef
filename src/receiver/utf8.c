/* utf8.c - is a header of the message in UTF-8 (RFC 6532)? Asked of those whose client said SMTPUTF8.
 *
 * Why: SMTPUTF8 says that a message may need a server which knows it (RFC 6531 §3.6); many are ASCII all the same, and may then go anywhere. A header
 * beyond ASCII may not, "at any level within its MIME structure" (§3.2). So the message is read while it comes, until the first such byte.
 * Not looked at: what a stranger sends without SMTPUTF8. Bytes beyond ASCII in its header are no one's standard, old, and passed on as they came.
 * Tests: tests/unit/receiver.c
 */
#include "receiver/session.h"

#include <veredus/mime.h>

#include <assert.h>
#include <stdlib.h>

void utf8_forget(struct transaction *t)
{
    free(t->mime);
    t->mime = NULL;
}

static void look(struct transaction *t)
{
    struct mime_event ev;
    enum mime_event_kind kind;
    while ((kind = mime_reader_next(t->mime, &ev)) != MIME_MORE && kind != MIME_END) {
        if (kind != MIME_FIELD || vr_str_is_ascii(ev.bytes))
            continue;
        t->envelope.asks |= ENVELOPE_UTF8_HEADER;
        utf8_forget(t);
        return;
    }
}

static bool is_open(const struct transaction *t)
{
    return (t->envelope.asks & (ENVELOPE_UTF8 | ENVELOPE_UTF8_HEADER)) == ENVELOPE_UTF8;
}

void utf8_look(struct transaction *t, struct vr_str data)
{
    if (!is_open(t))
        return;
    if (t->mime == NULL) {
        t->mime = malloc(sizeof *t->mime);
        assert(t->mime != NULL);
        mime_reader_init(t->mime);
    }
    mime_reader_feed(t->mime, data);
    look(t);
}

void utf8_end(struct transaction *t)
{
    if (t->mime == NULL)
        return;
    mime_reader_end(t->mime);
    look(t);
    utf8_forget(t);
}
