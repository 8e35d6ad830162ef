/* intake.c - a message from its first byte to the queue's answer.
 *
 * Promise:    the client hears 250 only after the queue said that the message is durable.
 * Invariants: (1) a transaction that was submitted stays in by_id until the queue has answered, whatever becomes of its session and of the
 *             queue process: a new queue is given it again, under the same id, and knows a repetition by it (2) at most BUFFERED_MAX bytes of
 *             a large body are in memory: the session is paused beyond that
 * States:     INLINE -> ASKED [spill] -> FILE [body_file] ; any -> FAILED (answered 452 or 451 at the end of data)
 * Tests:      tests/e2e/
 */
#include "receiver/session.h"

#include "io/fs.h"

#include <veredus/message.h>

#include <assert.h>
#include <stdlib.h>

#define ENVELOPE_MAX     (1u << 20)
#define BUFFERED_MAX     (512u << 10)
#define LOOK_AGAIN       8192         /* bytes after which the end of a long header is looked for again */
#define WRITE_AT         (128u << 10) /* bytes gathered before a write job is worth it */
#define QUEUE_TIMEOUT_MS 120000       /* without an answer: 451; RFC 5321 §4.5.3.2.6 gives us ten minutes */

/* ---- beginning
 * --------------------------------------------------------------------------------------------------- */

/* What XFORWARD said lives with the transaction: it is told of when the client may be gone. */
static void keep_forwarded(struct transaction *t, const struct smtp_x *x)
{
    if (x == NULL)
        return;
    t->forwarded = *x;
    t->forwarded.name = vr_arena_dup(&t->arena, x->name);
    t->forwarded.helo = vr_arena_dup(&t->arena, x->helo);
    t->forwarded.ident = vr_arena_dup(&t->arena, x->ident);
    t->forwarded.login = vr_str(NULL, 0);
}

struct transaction *transaction_new(struct session *s, const struct smtp_mail *mail)
{
    struct transaction *t = calloc(1, sizeof *t);
    assert(t != NULL);
    t->receiver = s->receiver;
    t->session = s;
    t->fd = -1;
    vr_arena_init(&t->arena, ENVELOPE_MAX);
    vr_buf_init(&t->body, BUFFERED_MAX + s->receiver->config->inline_body + (64u << 10) + 65536);
    vr_buf_init(&t->writing, SIZE_MAX / 2);
    struct envelope *e = &t->envelope;
    if (!mail->reverse_path.null)
        e->reverse_path = address_text(&t->arena, &mail->reverse_path);
    e->body = (uint8_t)mail->body;
    e->ret = (uint8_t)mail->ret;
    e->priority = mail->priority;
    e->asks = (uint8_t)((mail->utf8 ? ENVELOPE_UTF8 : 0) | (mail->require_tls ? ENVELOPE_REQUIRE_TLS : 0) |
                        (mail->by_trace ? ENVELOPE_BY_TRACE : 0));
    e->by = (uint8_t)mail->by;
    int64_t now = io_now_us(s->receiver->io) / 1000000;
    e->deliver_by = mail->by != SMTP_BY_NONE ? now + mail->by_seconds : 0;
    e->hold_until = mail->hold_until;
    t->hold_for = mail->hold_for;
    e->auth = terms_submitter(s, &t->arena, mail->auth);
    e->solicit = vr_arena_dup(&t->arena, mail->solicit);
    e->envid = vr_arena_dup(&t->arena, mail->envid);
    e->user = vr_arena_dup(&t->arena, vr_str_from(s->user));
    e->client = vr_arena_dup(&t->arena, vr_str_from(s->client));
    e->helo = vr_arena_dup(&t->arena, vr_str_from(s->helo));
    keep_forwarded(t, smtp_server_forwarded(s->engine));
    return t;
}

bool transaction_add_rcpt(struct transaction *t, const struct smtp_rcpt *rcpt, bool catch_all)
{
    struct envelope *e = &t->envelope;
    if (e->rcpt_count == t->rcpt_capacity) {
        uint32_t capacity = t->rcpt_capacity > 0 ? t->rcpt_capacity * 2 : 1;
        struct envelope_rcpt *more = vr_arena_alloc(&t->arena, capacity * sizeof *more);
        if (more == NULL)
            return false;
        for (uint32_t i = 0; i < e->rcpt_count; i++)
            more[i] = e->rcpts[i];
        e->rcpts = more;
        t->rcpt_capacity = capacity;
    }
    struct envelope_rcpt r = {.notify = rcpt->notify,
                              .catch_all = catch_all,
                              .rrvs = (uint8_t)rcpt->rrvs,
                              .valid_since = rcpt->valid_since};
    r.address = address_text(&t->arena, &rcpt->forward_path);
    r.orcpt = vr_arena_dup(&t->arena, rcpt->orcpt);
    if (r.address.n == 0 || r.orcpt.n != rcpt->orcpt.n)
        return false;
    e->rcpts[e->rcpt_count++] = r;
    return true;
}

/* A message that somebody signs or verifies is hashed as it streams by. */
static void digest_begin(struct transaction *t)
{
    struct mail_digest_config c = {.verify = verifying_digests(t)};
    t->to_be_sealed = c.verify && sealing_wanted(t);
    c.sign[MAIL_CANON_RELAXED] = t->to_be_sealed || signing_wanted(t->session);
    if (!c.sign[MAIL_CANON_RELAXED] && !c.verify)
        return;
    t->digest = mail_digest_new(&c);
    assert(t->digest != NULL);
}

void transaction_begin_data(struct transaction *t)
{
    struct receiver *r = t->receiver;
    t->envelope.arrival_us = io_now_us(r->io);
    if (t->hold_for > 0) { /* from now on, in whole seconds, rounded up: RFC 4865 §4.2 (5) */
        t->envelope.hold_until = (t->envelope.arrival_us + 999999) / 1000000 + t->hold_for;
        t->envelope.asks |= ENVELOPE_HOLD_FOR;
    }
    digest_begin(t);
    t->id = queue_id_next(&r->last_id, t->envelope.arrival_us, r->process->slot);
    t->envelope.id = t->id;
    HASH_ADD(hh, r->by_id, id, sizeof t->id, t);
}

static void transaction_free(struct transaction *t)
{
    if (t->id != 0)
        HASH_DEL(t->receiver->by_id, t);
    if (t->session != NULL && t->session->transaction == t)
        t->session->transaction = NULL;
    if (t->fd >= 0)
        io_fs_close(t->fd);
    utf8_forget(t);
    signing_forget(t);
    sealing_forget(t);
    verifying_forget(t);
    mail_digest_free(t->digest);
    vr_buf_fini(&t->body);
    vr_buf_fini(&t->writing);
    vr_arena_fini(&t->arena);
    free(t);
}

static void send_id(struct transaction *t, enum ipc_type type)
{
    struct peer *queue = process_peer(t->receiver->process, IPC_QUEUE);
    if (queue == NULL)
        return;
    struct vr_buf *b = process_frame(t->receiver->process);
    ipc_put_u64(b, t->id);
    peer_send(queue, type, b, -1);
}

/* ---- a large body
 * ------------------------------------------------------------------------------------------------ */

static void submit(struct transaction *t);
static void finish(struct transaction *t, struct smtp_reply reply);

/* Our own users' programs may leave these out; a stranger's message is not touched (RFC 6409 §8). */
static void look_at_header(struct transaction *t)
{
    struct header_field f;
    if (t->header_seen || t->session == NULL)
        return;
    t->header_seen = true;
    forged_remove(t);
    solicit_look(t, vr_buf_str(&t->body));
    terms_header(t, vr_buf_str(&t->body));
    owners_look(t, vr_buf_str(&t->body));
    if (!t->session->listener->submission && !t->session->listener->local)
        return;
    t->missing_date = !header_find(vr_buf_str(&t->body), VR_STR("Date"), &f);
    t->missing_message_id = !header_find(vr_buf_str(&t->body), VR_STR("Message-ID"), &f);
}

static const struct smtp_reply reply_endless = {
    552, "5.3.4",
    VR_STR_INIT("the header of the message is too large: 256 KiB and 2,000 fields are the most")};
static const struct smtp_reply reply_no_disk = {
    452, "4.3.1",
    VR_STR_INIT("cannot store the message now, the disk gives errors or is full; try again later")};

static void write_job(void *arg)
{
    struct transaction *t = arg;
    struct vr_str data = vr_buf_str(&t->writing);
    t->write_status = io_fs_pwrite(t->fd, data.p, data.n, t->written);
}

static void advance(struct transaction *t);

static void write_done(void *arg)
{
    struct transaction *t = arg;
    t->busy = false;
    t->written += vr_buf_size(&t->writing);
    vr_buf_release(&t->writing);
    if (t->write_status < 0) {
        t->where = BODY_FAILED;
        event_begin(t->receiver->log, EVENT_ERROR, "body.write_failed", t->id);
        event_text(t->receiver->log, "error", io_error_text(t->write_status));
        event_end(t->receiver->log);
    }
    advance(t);
}

/* The next thing to do for a large body: write what gathered, or submit when all is written. */
static void advance(struct transaction *t)
{
    if (t->busy)
        return;
    if (t->session == NULL && !t->submitted) { /* abandoned while a job ran */
        send_id(t, IPC_BODY_DROP);
        transaction_free(t);
        return;
    }
    size_t waiting = vr_buf_size(&t->body);
    if (t->where == BODY_FAILED) {
        vr_buf_release(&t->body);
        if (t->ended) {
            finish(t, t->endless_header ? reply_endless : reply_no_disk);
            return;
        }
    } else if (t->where == BODY_FILE && (waiting >= WRITE_AT || (t->ended && waiting > 0))) {
        t->writing = t->body;
        vr_buf_init(&t->body, t->writing.max);
        t->busy = true;
        io_work(t->receiver->io, write_job, write_done, t);
    } else if (t->where == BODY_FILE && t->ended && !t->submitted) {
        submit(t); /* which may free it */
        return;
    }
    if (t->session != NULL && !t->submitted)
        session_pump(t->session); /* it may have been paused */
}

static void spill(struct transaction *t)
{
    look_at_header(t);
    t->where = BODY_ASKED;
    t->envelope.large = true;
    send_id(t, IPC_BODY_OPEN); /* without a queue: asked when one attaches */
}

static void body_file(struct transaction *t, int32_t status, int fd)
{
    if (t->where != BODY_ASKED || status != 0 || fd < 0) {
        if (fd >= 0)
            io_fs_close(fd);
        if (t->where == BODY_ASKED)
            t->where = BODY_FAILED;
    } else {
        t->fd = fd;
        t->where = BODY_FILE;
    }
    advance(t);
}

bool transaction_full(const struct transaction *t)
{
    return t->where != BODY_INLINE && vr_buf_size(&t->body) >= BUFFERED_MAX;
}

static void digest_feed(struct transaction *t, struct vr_str data)
{
    if (t->digest == NULL)
        return;
    bool had_header = mail_digest_has_header(t->digest);
    (void)mail_digest_feed(t->digest, data); /* its end says whether that was too much */
    if (!had_header && mail_digest_has_header(t->digest))
        verifying_header(t);
}

/* What goes to the file is not changed any more, so forged.c must have seen the header. */
static void spill_when_header_ended(struct transaction *t)
{
    if (t->header_looked_at > 0 && vr_buf_size(&t->body) - t->header_looked_at < LOOK_AGAIN)
        return; /* who sends a byte at a time does not make us read it all each time */
    t->header_looked_at = vr_buf_size(&t->body);
    enum forged_header header =
        forged_matters(t) ? forged_header_state(vr_buf_str(&t->body)) : FORGED_HEADER_ENDED;
    if (header == FORGED_HEADER_ENDED) {
        spill(t);
    } else if (header == FORGED_HEADER_ENDLESS) {
        t->where = BODY_FAILED;
        t->endless_header = true;
        vr_buf_release(&t->body);
    }
}

void transaction_chunk(struct transaction *t, struct vr_str data)
{
    t->body_size += data.n;
    utf8_look(t, data);
    digest_feed(t, data);
    if (t->where == BODY_FAILED)
        return;
    if (!vr_buf_add(&t->body, data)) { /* more came in one go than a pause could prevent */
        t->where = BODY_FAILED;
        return;
    }
    if (t->where == BODY_INLINE && t->body_size > t->receiver->config->inline_body)
        spill_when_header_ended(t);
    else if (t->where == BODY_FILE && !t->busy && vr_buf_size(&t->body) >= WRITE_AT) {
        t->writing = t->body;
        vr_buf_init(&t->body, t->writing.max);
        t->busy = true;
        io_work(t->receiver->io, write_job, write_done, t);
    }
}

/* ---- submitting
 * -------------------------------------------------------------------------------------------------- */

static void send_submit(struct transaction *t)
{
    struct peer *queue = process_peer(t->receiver->process, IPC_QUEUE);
    if (queue == NULL)
        return;
    struct vr_buf *b = process_frame(t->receiver->process);
    ipc_put_envelope(b, &t->envelope);
    ipc_put_str(b, t->where == BODY_INLINE ? vr_buf_str(&t->body) : vr_str(NULL, 0));
    peer_send(queue, IPC_SUBMIT, b, -1);
}

static void refuse_solicitation(struct transaction *t)
{
    struct event_log *l = t->receiver->log;
    event_begin(l, EVENT_NOTICE, "message.refused", t->id);
    event_str(l, "client", t->envelope.client);
    event_u64(l, "code", 550);
    event_str(l, "solicitation", t->solicits);
    event_end(l);
    finish(t, solicit_refusal(&t->arena, t->solicits));
}

/* RFC 6531 §3.5 */
static void refuse_utf8(struct transaction *t)
{
    struct event_log *l = t->receiver->log;
    event_begin(l, EVENT_NOTICE, "message.refused", t->id);
    event_str(l, "client", t->envelope.client);
    event_u64(l, "code", 554);
    event_text(l, "reply", "a header in UTF-8, for a domain that takes none");
    event_end(l);
    finish(t, SMTP_REPLY(554, "5.6.9",
                         "the message's header is in UTF-8 (SMTPUTF8), and not all of its recipients can be "
                         "given such; send to them without"));
}

static void submit(struct transaction *t)
{
    look_at_header(t);
    t->envelope.body_size = t->body_size;
    if (t->solicits.n > 0) {
        refuse_solicitation(t);
        return;
    }
    if (t->ascii_only && (t->envelope.asks & ENVELOPE_UTF8_HEADER)) {
        refuse_utf8(t);
        return;
    }
    if (verifying_ask(t) || owners_ask(t))
        return;
    if (t->envelope.prefix.n == 0)
        t->envelope.prefix = trace_fields(t, &t->arena);
    if (signing_ask(t) || sealing_ask(t))
        return;
    t->submitted = true;
    t->submitted_ms = io_monotonic_ms(t->receiver->io);
    send_submit(t);
}

void transaction_end(struct transaction *t)
{
    t->ended = true;
    utf8_end(t);
    if (t->where == BODY_INLINE)
        submit(t);
    else
        advance(t);
}

/* The end of a message: the answer to the client, if it is still there. */
static void finish(struct transaction *t, struct smtp_reply reply)
{
    struct session *s = t->session;
    if (s != NULL) {
        s->transaction = NULL;
        t->session = NULL;
    }
    if (t->where != BODY_INLINE && reply.code != 250)
        send_id(t, IPC_BODY_DROP);
    for (uint32_t i = 1; s != NULL && s->listener->smtp.lmtp && i < t->envelope.rcpt_count; i++)
        smtp_server_answer(s->engine, reply,
                           io_monotonic_ms(t->receiver->io)); /* each has one, RFC 2033 §4.2 */
    if (s != NULL)
        session_answer(s, reply);
    transaction_free(t);
}

void transaction_refuse(struct transaction *t, struct smtp_reply reply)
{
    finish(t, reply);
}

void transaction_go_on(struct transaction *t)
{
    if (t->where == BODY_FAILED) /* the queue died meanwhile, and its files with it */
        advance(t);
    else
        submit(t);
}

static void report_forwarded(struct event_log *l, const struct smtp_x *x)
{
    char ip[IO_ADDRESS_TEXT];
    if (x->known & SMTP_X_ADDR) {
        trace_forwarded_ip(x, ip);
        event_text(l, "forwarded_client", ip);
    }
    if (x->name.n > 0)
        event_str(l, "forwarded_name", x->name);
    if (x->helo.n > 0)
        event_str(l, "forwarded_helo", x->helo);
    if (x->ident.n > 0)
        event_str(l, "forwarded_id", x->ident);
}

static void report_accepted(const struct transaction *t)
{
    struct event_log *l = t->receiver->log;
    const struct envelope *e = &t->envelope;
    event_begin(l, EVENT_INFO, "message.accepted", t->id);
    event_str(l, "from", e->reverse_path);
    event_str(l, "client", e->client);
    event_str(l, "helo", e->helo);
    if (e->user.n > 0)
        event_str(l, "user", e->user);
    report_forwarded(l, &t->forwarded);
    if (t->signed_for.n > 0)
        event_str(l, "dkim", t->signed_for);
    if (t->sealed_for.n > 0)
        event_str(l, "arc", t->sealed_for);
    event_u64(l, "size", t->body_size);
    event_u64(l, "recipients", e->rcpt_count);
    event_u64(l, "sync_ms", (uint64_t)(io_monotonic_ms(t->receiver->io) - t->submitted_ms));
    event_end(l);
}

static void submitted(struct transaction *t, uint8_t status)
{
    char id[QUEUE_ID_TEXT], text[64] = "queued as ";
    if (status == IPC_SUBMIT_FULL) {
        finish(t, SMTP_REPLY(452, "4.3.1", "the mail system is full; try again later"));
        return;
    }
    if (status != IPC_SUBMIT_OK) {
        finish(t, SMTP_REPLY(451, "4.3.0", "the message could not be stored; try again later"));
        return;
    }
    report_accepted(t);
    queue_id_text(t->id, id);
    size_t n = 10;
    for (size_t i = 0; id[i] != '\0'; i++)
        text[n++] = id[i];
    finish(t, (struct smtp_reply){250, "2.0.0", vr_str(text, n)});
}

void transaction_abandon(struct transaction *t)
{
    if (t->session != NULL)
        t->session->transaction = NULL;
    t->session = NULL;
    if (t->submitted || t->busy)
        return; /* the queue's answer, or the end of the write, frees it */
    if (t->where != BODY_INLINE)
        send_id(t, IPC_BODY_DROP);
    transaction_free(t);
}

/* ---- the queue's side
 * --------------------------------------------------------------------------------------------- */

void intake_queue_frame(struct receiver *r, uint16_t type, struct vr_str payload, int fd)
{
    struct ipc_reader reader = ipc_reader(payload);
    uint64_t id = ipc_get_u64(&reader);
    struct transaction *t = NULL;
    HASH_FIND(hh, r->by_id, &id, sizeof id, t);
    if (t == NULL && fd >= 0)
        io_fs_close(fd); /* abandoned meanwhile; the queue was told */
    if (t == NULL)
        return;
    if (type == IPC_BODY_FILE)
        body_file(t, (int32_t)ipc_get_u32(&reader), fd);
    else if (type == IPC_SUBMITTED && t->submitted)
        submitted(t, ipc_get_u8(&reader));
}

void intake_queue_attached(struct receiver *r)
{
    struct transaction *t, *next;
    HASH_ITER(hh, r->by_id, t, next)
    {
        if (t->submitted)
            send_submit(t);
        else if (t->where == BODY_ASKED)
            send_id(t, IPC_BODY_OPEN);
    }
}

/* A body file that was being written belonged to the queue that died: the new one has swept it away. */
void intake_queue_lost(struct receiver *r)
{
    struct transaction *t, *next;
    HASH_ITER(hh, r->by_id, t, next)
    {
        if (t->where == BODY_FILE && !t->submitted)
            t->where = BODY_FAILED;
    }
}

void intake_sweep(struct receiver *r)
{
    int64_t now = io_monotonic_ms(r->io);
    struct transaction *t, *next;
    HASH_ITER(hh, r->by_id, t, next)
    {
        bool waits = t->submitted || (t->ended && t->where == BODY_ASKED);
        if (!waits || now - t->submitted_ms < QUEUE_TIMEOUT_MS)
            continue;
        if (t->submitted_ms == 0) {
            t->submitted_ms = now;
            continue;
        }
        finish(t, SMTP_REPLY(451, "4.3.0", "the queue does not answer; try again later"));
    }
}
