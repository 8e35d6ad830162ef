/* forged.c - fields in our name that others wrote: removed before the message is kept (RFC 8601 §5).
 *
 * Whose:      mail of strangers, of who logged in, and of programs of this machine. What trusted networks and LMTP bring may have been written by a server of ours.
 * How:        the header is in memory while it is looked at. A message that goes to a file waits for the end of its header, which is bounded, before it does.
 * Invariant:  nothing of such a message is written before look_at_header() has seen all of its header.
 * Tests:      tests/unit/receiver_verifying.c, tests/e2e/test_verify.py
 */
#include "receiver/session.h"

#include <veredus/authres.h>

#include <assert.h>
#include <string.h>

#define FORGED_ARENA (1u << 20)
#define FORGED_MAX   1000 /* at a time */

bool forged_matters(const struct transaction *t)
{
    const struct session *s = t->session;
    return s != NULL && !s->listener->smtp.lmtp && (!s->trusted || s->user != NULL || s->listener->local);
}

/* The bytes up to the first blank line, and whether there is one. Not header_reader's end: behind a line that is no field, some readers go on, and what they
 * would believe there is no better. */
static struct vr_str header_of(struct vr_str message, bool *ended)
{
    struct vr_str rest = message, line;
    *ended = false;
    while (!*ended && rest.n > 0) {
        size_t lf = vr_str_find(rest, '\n');
        if (lf == VR_NPOS)
            return message;
        line = vr_str_sub(rest, 0, lf);
        rest = vr_str_from_pos(rest, lf + 1);
        *ended = line.n == 0 || (line.n == 1 && line.p[0] == '\r');
    }
    return vr_str_sub(message, 0, message.n - rest.n);
}

/* Skips to where the reader goes on after a line that is no field. False: it has come to the end. */
static bool go_on(struct header_reader *r)
{
    size_t lf = vr_str_find(r->rest, '\n');
    if (!r->malformed || lf == VR_NPOS)
        return false;
    header_reader_init(r, vr_str_from_pos(r->rest, lf + 1));
    return true;
}

enum forged_header forged_header_state(struct vr_str message)
{
    struct header_reader r;
    struct header_field f;
    bool ended;
    header_of(message, &ended);
    if (ended)
        return FORGED_HEADER_ENDED;
    if (message.n < MAIL_DIGEST_HEADER_MAX)
        return FORGED_HEADER_OPEN;
    header_reader_init(&r, message);
    while (header_next(&r, &f))
        ;
    return r.malformed ? FORGED_HEADER_ENDED
                       : FORGED_HEADER_ENDLESS; /* a text without any header is a body */
}

/* Of a part of the header without strange lines in it. */
static void find_in(struct transaction *t, struct vr_arena *arena, struct vr_str part, struct vr_str *found,
                    size_t *count)
{
    const struct config *c = t->receiver->config;
    struct vr_str ids[] = {c->authserv_id, c->hostname};
    struct header_reader r;
    struct header_field *fields, f;
    size_t n = 0;
    if (authres_forged(arena, part, ids, sizeof ids / sizeof *ids, &fields, &n) == VR_OK) {
        for (size_t i = 0; i < n && *count < FORGED_MAX; i++)
            found[(*count)++] = fields[i].raw;
        return;
    }
    header_reader_init(&r, part); /* no memory to tell which: all of them */
    while (*count < FORGED_MAX && header_next(&r, &f))
        if (vr_str_equal_nocase(f.name, VR_STR("Authentication-Results")))
            found[(*count)++] = f.raw;
}

/* In the order of the header; FORGED_MAX: there may be more. */
static size_t find_all(struct transaction *t, struct vr_arena *arena, struct vr_str *found)
{
    bool ended;
    size_t count = 0;
    struct header_reader r;
    struct header_field f;
    header_reader_init(&r, header_of(vr_buf_str(&t->body), &ended));
    do {
        struct vr_str part = r.rest;
        while (header_next(&r, &f))
            ;
        part.n -= r.rest.n;
        if (header_find(part, VR_STR("Authentication-Results"), &f))
            find_in(t, arena, part, found, &count);
    } while (go_on(&r));
    return count;
}

/* Most messages have none: they pay for one look at the names of their fields. */
static bool has_any(const struct transaction *t)
{
    bool ended;
    struct header_reader r;
    struct header_field f;
    header_reader_init(&r, header_of(vr_buf_str(&t->body), &ended));
    do {
        while (header_next(&r, &f))
            if (vr_str_equal_nocase(f.name, VR_STR("Authentication-Results")))
                return true;
    } while (go_on(&r));
    return false;
}

/* In one pass: what stands between two of them moves once. */
static void cut_all(struct transaction *t, const struct vr_str *found, size_t count)
{
    char *to = count > 0 ? (char *)(uintptr_t)found[0].p : NULL;
    const char *end = t->body.p + t->body.end;
    for (size_t i = 0; i < count; i++) {
        const char *from = found[i].p + found[i].n;
        size_t n = (size_t)((i + 1 < count ? found[i + 1].p : end) - from);
        memmove(to, from, n);
        to += n;
        t->body.end -= found[i].n;
        t->body_size -= found[i].n;
    }
}

static void report(const struct transaction *t, size_t count)
{
    struct event_log *l = t->receiver->log;
    event_begin(l, EVENT_NOTICE, "message.forged_results", t->id);
    event_str(l, "client", t->envelope.client);
    if (t->envelope.user.n > 0)
        event_str(l, "user", t->envelope.user);
    event_u64(l, "removed", count);
    event_end(l);
}

void forged_remove(struct transaction *t)
{
    struct vr_arena arena;
    size_t removed = 0, count;
    if (!forged_matters(t) || !has_any(t))
        return;
    vr_arena_init(&arena, FORGED_ARENA);
    struct vr_str *found = vr_arena_alloc(&arena, FORGED_MAX * sizeof *found);
    assert(found != NULL);
    do {
        count = find_all(t, &arena, found);
        removed += count;
        cut_all(t, found, count);
    } while (count == FORGED_MAX); /* once more for the rest of them */
    vr_arena_fini(&arena);
    if (removed > 0)
        report(t, removed);
}
