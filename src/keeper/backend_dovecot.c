/* backend_dovecot.c - Dovecot as a source: passwords over its auth-client socket (always by PLAIN), mailboxes over its auth-userdb socket when there is
 * one (`accounts.dovecot_userdb`).
 *
 * Promise:    a question is sent once, and once more when the connection broke before its answer (Dovecot was reloaded); what has no answer in
 *             `accounts.timeout`, or nobody to give it, is TROUBLE.
 * States:     of a link: DOWN -> GREETING [link_open] -> UP [greeted] -> DOWN [link_lost]
 * Invariants: (1) what is pending was sent when the link is UP, and will be when it becomes so otherwise
 * Tests:      tests/unit/keeper_sources.c (a Dovecot that lies), tests/e2e/test_accounts.py (the real one)
 */
#include "keeper/backend.h"

#include "io/fs.h"
#include "io/stream.h"
#include "keeper/dovecot_lines.h"
#include "keeper/pending.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_MS   500
#define INPUT_MAX  (2 * DOVECOT_LINE_MAX)
#define OUTPUT_MAX (2 * DOVECOT_LINE_MAX)

enum link_state { LINK_DOWN, LINK_GREETING, LINK_UP };

struct link {
    struct backend *backend;
    const char *path;
    bool master; /* the userdb's */
    enum link_state state;
    bool version, plain; /* of the greeting */
    struct io_stream *stream;
    struct vr_buf in;
    struct pending pending;
    struct io_timer *sweep;
};

struct backend {
    struct backend_parts parts;
    struct link passwords, mailboxes;
};

static void link_open(struct link *l);

/* ---- questions over a link -------------------------------------------------------------------------------------- */

static void give_up(struct link *l, struct account_question *q, const char *what)
{
    char why[256];
    snprintf(why, sizeof why, "Dovecot at %.100s: %.130s", l->path, what);
    backend_answer(q, ACCOUNTS_TROUBLE, why);
}

static void sweep(void *arg)
{
    struct link *l = arg;
    struct account_question *q;
    while ((q = pending_expired(&l->pending, io_monotonic_ms(l->backend->parts.process->io))) != NULL)
        give_up(l, q, "no answer in time");
    if (l->pending.count == 0)
        io_timer_stop(l->sweep);
}

static void send_question(struct link *l, const struct pending_slot *slot)
{
    struct vr_buf out;
    struct account_question *q = slot->q;
    struct vr_str client = vr_str_equal(q->client, VR_STR("unix")) ? VR_STR("") : q->client;
    vr_buf_init(&out, OUTPUT_MAX);
    bool good = l->master ? dovecot_put_user(&out, slot->id, q->account)
                          : dovecot_put_auth(&out, slot->id, q->account, q->detail, client);
    if (good)
        io_stream_write(l->stream, vr_buf_str(&out));
    else
        pending_take(&l->pending, slot->id);
    if (out.p != NULL)
        explicit_bzero(out.p, out.capacity);
    vr_buf_fini(&out);
    if (!good) /* no name or password of Dovecot's either */
        backend_answer(q, ACCOUNTS_NO_SUCH, NULL);
}

static void link_ask(struct link *l, struct account_question *q)
{
    struct process *p = l->backend->parts.process;
    uint32_t id = pending_add(&l->pending, q, io_monotonic_ms(p->io) + p->config->accounts_timeout, l);
    if (id == 0) {
        backend_busy(q);
        return;
    }
    if (l->pending.count == 1)
        io_timer_start(l->sweep, SWEEP_MS, SWEEP_MS);
    if (l->state == LINK_UP)
        send_question(l, &l->pending.slots[id % PENDING_MAX]);
    else if (l->state == LINK_DOWN)
        link_open(l);
}

/* ---- the connection ---------------------------------------------------------------------------------------------- */

static void link_down(struct link *l)
{
    io_stream_close(l->stream);
    l->stream = NULL;
    if (l->in.p != NULL)
        explicit_bzero(l->in.p, l->in.capacity);
    vr_buf_reset(&l->in);
    l->state = LINK_DOWN;
    l->version = l->plain = false;
}

/* Those that were sent already go once more over a new connection; all others have waited in vain. */
static void link_lost(struct link *l, const char *what)
{
    bool was_up = l->state == LINK_UP, left = false;
    uint32_t newest = l->pending.last; /* who is answered here may ask anew */
    link_down(l);
    for (size_t i = 0; i < PENDING_MAX && l->pending.count > 0; i++) {
        struct pending_slot *s = &l->pending.slots[i];
        if (s->q == NULL || (int32_t)(s->id - newest) > 0)
            continue;
        if (was_up && !s->again) {
            s->again = true;
            left = true;
        } else {
            give_up(l, pending_take(&l->pending, s->id), what);
        }
    }
    if (left && l->state == LINK_DOWN) /* a new question may have opened it meanwhile */
        link_open(l);
}

static void greeted(struct link *l)
{
    if (!l->version || (!l->master && !l->plain)) {
        link_lost(l, l->version ? "it does not offer PLAIN (auth_mechanisms)" : "it speaks another protocol");
        return;
    }
    l->state = LINK_UP;
    for (size_t i = 0; i < PENDING_MAX && l->state == LINK_UP; i++)
        if (l->pending.slots[i].q != NULL)
            send_question(l, &l->pending.slots[i]);
}

static void take_answer(struct link *l, const struct dovecot_line *line)
{
    struct account_question *q = pending_take(&l->pending, line->id);
    if (q == NULL)
        return; /* given up already */
    char why[256];
    snprintf(why, sizeof why, "it says: %.*s", VR_STR_ARG(vr_str_sub(line->reason, 0, 120)));
    if (line->word == DOVECOT_OK || line->word == DOVECOT_USER) {
        if (line->user.n < sizeof q->renamed && vr_str_find(line->user, '@') != VR_NPOS)
            snprintf(q->renamed, sizeof q->renamed, "%.*s", VR_STR_ARG(line->user));
        backend_answer(q, ACCOUNTS_OK, NULL);
    } else if (line->word == DOVECOT_CONT) {
        give_up(l, q, "it wants more than PLAIN has");
    } else if (line->temporary || (l->master && line->word == DOVECOT_FAIL)) {
        give_up(l, q, line->reason.n > 0 ? why : "it cannot answer now");
    } else {
        backend_answer(q, ACCOUNTS_NO_SUCH, line->reason.n > 0 ? why : NULL);
    }
}

static void take_line(struct link *l, const struct dovecot_line *line)
{
    switch (line->word) {
    case DOVECOT_VERSION:
        l->version = true;
        break;
    case DOVECOT_MECH_PLAIN:
        l->plain = true;
        break;
    case DOVECOT_SPID:
        if (l->master && l->state == LINK_GREETING)
            greeted(l);
        break;
    case DOVECOT_DONE:
        if (!l->master && l->state == LINK_GREETING)
            greeted(l);
        break;
    case DOVECOT_OK:
    case DOVECOT_FAIL:
    case DOVECOT_CONT:
        take_answer(l, line); /* to a master FAIL is an answer too, OK and CONT never come */
        break;
    case DOVECOT_USER:
    case DOVECOT_NOTFOUND:
        if (l->master)
            take_answer(l, line);
        break;
    case DOVECOT_MALFORMED:
        link_lost(l, "it speaks another protocol");
        break;
    case DOVECOT_OTHER:
        break;
    }
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct link *l = arg;
    struct io_stream *stream = l->stream;
    if (!vr_buf_add(&l->in, bytes)) {
        link_lost(l, "a line of its is too long");
        return;
    }
    while (l->stream == stream) { /* an answer may have ended this connection */
        struct vr_str text = vr_buf_str(&l->in);
        size_t end = vr_str_find(text, '\n');
        if (end == VR_NPOS)
            break;
        struct vr_arena arena;
        vr_arena_init(&arena, 4 * DOVECOT_LINE_MAX);
        struct dovecot_line line = dovecot_read(&arena, vr_str_sub(text, 0, end));
        vr_buf_consume(&l->in, end + 1);
        take_line(l, &line);
        vr_arena_fini(&arena);
    }
}

static void on_connected(void *arg, int status)
{
    struct link *l = arg;
    if (status < 0) {
        link_lost(l, io_error_text(status));
        return;
    }
    struct vr_buf out;
    vr_buf_init(&out, 128);
    dovecot_put_hello(&out, l->master, io_process_id());
    io_stream_write(l->stream, vr_buf_str(&out));
    vr_buf_fini(&out);
}

static void on_ended(void *arg, int status)
{
    link_lost(arg, status < 0 ? io_error_text(status) : "it closed the connection");
}

static const struct io_stream_ops link_ops = {.connected = on_connected, .data = on_data, .ended = on_ended};

static void link_open(struct link *l)
{
    struct process *p = l->backend->parts.process;
    struct io_address to = {.family = IO_UNIX};
    snprintf(to.path, sizeof to.path, "%s", l->path);
    l->state = LINK_GREETING;
    l->stream = io_stream_connect(p->io, &to, NULL, p->config->accounts_timeout, &link_ops, l);
}

/* ---- the back end -------------------------------------------------------------------------------------------------- */

static void link_init(struct link *l, struct backend *b, const char *path, bool master)
{
    l->backend = b;
    l->path = path;
    l->master = master;
    vr_buf_init(&l->in, INPUT_MAX);
    l->sweep = io_timer_new(b->parts.process->io, sweep, l);
}

static struct backend *dovecot_make(const struct backend_parts *parts, char error[256])
{
    struct backend *b = calloc(1, sizeof *b);
    const struct config *c = parts->process->config;
    assert(b != NULL);
    (void)error;
    b->parts = *parts;
    link_init(&b->passwords, b, c->accounts[parts->source].at, false);
    link_init(&b->mailboxes, b, c->dovecot_userdb, true);
    return b;
}

static void dovecot_ask(struct backend *b, struct account_question *q)
{
    bool own = address_same(q->account, q->detail);
    if (q->want == ACCOUNT_PASSWORD)
        link_ask(&b->passwords, q);
    else if (q->want == ACCOUNT_SENDER) /* he logged in: Dovecot knows of no other addresses */
        backend_answer(q, own ? ACCOUNTS_OK : ACCOUNTS_NO_SUCH, NULL);
    else if (b->mailboxes.path != NULL)
        link_ask(&b->mailboxes, q);
    else
        backend_answer(q, ACCOUNTS_NO_SUCH, NULL);
}

const struct backend_ops backend_dovecot = {
    .name = "dovecot",
    .wants = 1u << ACCOUNT_PASSWORD | 1u << ACCOUNT_MAILBOX | 1u << ACCOUNT_SENDER,
    .make = dovecot_make,
    .ask = dovecot_ask,
};
