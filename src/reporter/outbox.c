/* outbox.c - one message on its way: signed by the keeper where there is a key, then the queue's. Or one POST.
 *
 * Promise:    `done` comes once for each begin, from the loop; SENT means that the queue has it durably (or that the server said 2xx).
 * States:     OUT_IDLE -> OUT_WHO [ask_who] -> OUT_SIGN [sign] -> OUT_QUEUE [submit] -> OUT_DONE ; OUT_POST -> OUT_DONE
 * Tests:      tests/unit/reporter.c, tests/e2e/test_reports.py
 */
#include "reporter/inside.h"

#include "config/routing.h"

#include <veredus/smtp.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 60000
#define ARENA_MAX   (4u << 20)

static void fire(void *arg)
{
    struct outbox *o = arg;
    if (o->step != OUT_DONE) {
        io_http_cancel(o->call);
        o->call = NULL;
        o->outcome = LATER;
        o->why = "no answer came in time";
    }
    o->step = OUT_IDLE;
    o->done(o->arg, o->outcome, o->why);
}

static void end(struct outbox *o, enum outcome outcome, const char *why)
{
    o->step = OUT_DONE;
    o->outcome = outcome;
    o->why = why;
    io_timer_start(o->timer, 0, 0); /* done comes from the loop */
}

void outbox_init(struct outbox *o, struct reporter *r,
                 void (*done)(void *arg, enum outcome o, const char *why), void *arg)
{
    *o = (struct outbox){.reporter = r, .done = done, .arg = arg};
    o->timer = io_timer_new(r->io, fire, o);
    vr_arena_init(&o->arena, ARENA_MAX);
    vr_buf_init(&o->message, REPORT_MESSAGE_MAX);
    vr_buf_init(&o->prefix, 65536);
}

void outbox_fini(struct outbox *o)
{
    if (o->call != NULL)
        io_http_cancel(o->call);
    io_timer_free(o->timer);
    mail_digest_free(o->digest);
    vr_buf_fini(&o->message);
    vr_buf_fini(&o->prefix);
    vr_arena_fini(&o->arena);
}

/* ---- the queue ------------------------------------------------------------------------------------------------------- */

static void submit(struct outbox *o)
{
    struct reporter *r = o->reporter;
    struct peer *queue = process_peer(r->process, IPC_QUEUE);
    struct envelope_rcpt rcpt = {.address = o->to, .notify = DSN_NOTIFY_NEVER};
    int64_t now = io_now_us(r->io);
    if (queue == NULL) {
        end(o, LATER, "the queue is not there");
        return;
    }
    o->ask = queue_id_next(&r->last_id, now, r->process->slot);
    struct envelope e = {.id = o->ask,
                         .arrival_us = now,
                         .reverse_path = o->null_path ? vr_str(NULL, 0) : r->from,
                         .body = SMTP_BODY_7BIT,
                         .user = VR_STR("reporter"),
                         .client = VR_STR("reporter"),
                         .helo = r->config->hostname,
                         .prefix = vr_buf_str(&o->prefix),
                         .body_size = vr_buf_size(&o->message),
                         .rcpts = &rcpt,
                         .rcpt_count = 1,
                         .asks = o->asks};
    struct vr_buf *b = process_frame(r->process);
    ipc_put_envelope(b, &e);
    ipc_put_str(b, vr_buf_str(&o->message));
    o->step = OUT_QUEUE;
    peer_send(queue, IPC_SUBMIT, b, -1);
}

/* ---- the signature -------------------------------------------------------------------------------------------------------- */

static void unsigned_mail(struct outbox *o)
{
    if (o->must_sign) {
        end(o, NEVER,
            "there is no DKIM key for the domain of reports.from, and such a report must be signed (RFC "
            "8460): veredus dkim keygen");
        return;
    }
    submit(o);
}

static void ask_who(struct outbox *o)
{
    struct reporter *r = o->reporter;
    const struct config_domain *d = routing_domain(r->config, r->from_domain);
    struct peer *keeper = process_peer(r->process, IPC_KEEPER);
    if (d != NULL && !d->sign) {
        unsigned_mail(o);
        return;
    }
    if (keeper == NULL) {
        end(o, LATER, "the keeper is not there to sign it");
        return;
    }
    o->ask = ++r->last_ask;
    o->step = OUT_WHO;
    struct vr_buf *b = process_frame(r->process);
    ipc_put_u64(b, o->ask);
    ipc_put_str(b, r->from_domain);
    peer_send(keeper, IPC_SIGNERS_ASK, b, -1);
}

static bool prepare(struct outbox *o, const struct ipc_signers *signers, struct ipc_signers *ask)
{
    *ask = (struct ipc_signers){.count = 0};
    o->field_count = 0;
    for (size_t i = 0; i < signers->count; i++) {
        struct vr_str selector = vr_arena_dup(&o->arena, signers->list[i].selector);
        const struct dkim_signer s = {.domain = o->reporter->from_domain,
                                      .selector = selector,
                                      .algorithm = (enum dkim_algorithm)signers->list[i].algorithm,
                                      .header_canon = MAIL_CANON_RELAXED,
                                      .body_canon = MAIL_CANON_RELAXED,
                                      .time = io_now_us(o->reporter->io) / 1000000};
        struct dkim_unsigned *u = &o->fields[o->field_count++];
        if (dkim_sign_prepare(o->digest, &s, vr_str(NULL, 0), &o->arena, u) != VR_OK)
            return false;
        ask->list[ask->count++] = (struct ipc_signer){signers->list[i].algorithm, selector,
                                                      vr_str((const char *)u->digest, sizeof u->digest)};
    }
    return true;
}

static void sign(struct outbox *o, const struct ipc_signers *signers)
{
    struct ipc_signers ask;
    struct peer *keeper = process_peer(o->reporter->process, IPC_KEEPER);
    if (keeper == NULL || !prepare(o, signers, &ask)) {
        end(o, LATER, "it could not be signed");
        return;
    }
    o->ask = ++o->reporter->last_ask;
    o->step = OUT_SIGN;
    struct vr_buf *b = process_frame(o->reporter->process);
    ipc_put_u64(b, o->ask);
    ipc_put_str(b, o->reporter->from_domain);
    ipc_put_signers(b, &ask);
    peer_send(keeper, IPC_SIGN_ASK, b, -1);
}

static void signed_by(struct outbox *o, enum ipc_answer answer, const struct ipc_signers *signatures)
{
    if (answer == IPC_NO && !o->again) { /* a key went meanwhile */
        o->again = true;
        ask_who(o);
        return;
    }
    bool good = answer == IPC_YES && signatures->count == o->field_count;
    for (size_t i = 0; good && i < o->field_count; i++)
        good = signatures->list[i].bytes.n > 0 &&
               dkim_sign_finish(&o->fields[i], signatures->list[i].bytes, &o->prefix);
    if (good)
        submit(o);
    else
        end(o, LATER, "the keeper did not sign it");
}

static void keeper_frame(struct outbox *o, uint16_t type, struct ipc_reader *reader)
{
    struct ipc_signers signers;
    enum ipc_answer answer = (enum ipc_answer)ipc_get_u8(reader);
    ipc_get_signers(reader, &signers);
    if (!ipc_done(reader) || (type == IPC_SIGNERS) != (o->step == OUT_WHO))
        return;
    if (answer == IPC_LATER)
        end(o, LATER, "the keeper does not sign now");
    else if (type == IPC_SIGNED)
        signed_by(o, answer, &signers);
    else if (answer == IPC_YES && signers.count > 0)
        sign(o, &signers);
    else
        unsigned_mail(o);
}

void outbox_frame(struct outbox *o, uint16_t type, struct vr_str payload)
{
    struct ipc_reader reader = ipc_reader(payload);
    uint64_t ask = ipc_get_u64(&reader);
    if (reader.bad || ask != o->ask) /* an answer that came too late */
        return;
    if (type == IPC_SUBMITTED && o->step == OUT_QUEUE) {
        enum ipc_submitted what = (enum ipc_submitted)ipc_get_u8(&reader);
        end(o, what == IPC_SUBMIT_OK ? SENT : LATER,
            what == IPC_SUBMIT_OK ? NULL : "the queue does not take it now");
    } else if (type != IPC_SUBMITTED && (o->step == OUT_WHO || o->step == OUT_SIGN)) {
        keeper_frame(o, type, &reader);
    }
}

void outbox_lost(struct outbox *o, enum ipc_role role)
{
    if (role == IPC_QUEUE && o->step == OUT_QUEUE)
        end(o, LATER, "the queue died"); /* it may have it: then the report comes twice, with the same id */
    else if (role == IPC_KEEPER && (o->step == OUT_WHO || o->step == OUT_SIGN))
        end(o, LATER, "the keeper died");
}

void outbox_mail(struct outbox *o, struct vr_str to, bool must_sign, uint8_t asks)
{
    static const struct mail_digest_config config = {.sign = {[MAIL_CANON_RELAXED] = true}};
    vr_arena_reset(&o->arena);
    vr_buf_reset(&o->prefix);
    o->to = vr_arena_dup(&o->arena, to);
    o->must_sign = must_sign;
    o->again = false;
    o->asks = asks;
    mail_digest_free(o->digest);
    o->digest = mail_digest_new(&config);
    assert(o->digest != NULL);
    io_timer_start(o->timer, PATIENCE_MS, 0);
    if (mail_digest_feed(o->digest, vr_buf_str(&o->message)) != VR_OK || mail_digest_end(o->digest) != VR_OK)
        end(o, NEVER, "it could not be signed");
    else
        ask_who(o);
}

/* ---- https ------------------------------------------------------------------------------------------------------------------ */

static void posted(void *arg, const struct io_http_answer *a)
{
    struct outbox *o = arg;
    o->call = NULL;
    if (a->status >= 200 && a->status < 300)
        end(o, SENT, NULL);
    else if (a->status == 0)
        end(o, LATER, "there was no connection to the server");
    else /* 4xx but "too many", "timeout": it will say so again (RFC 8460 §5.4) */
        end(o, a->status >= 500 || a->status == 429 || a->status == 408 ? LATER : NEVER,
            "the server did not take it");
}

void outbox_post(struct outbox *o, struct vr_str url, struct vr_str gzip)
{
    vr_arena_reset(&o->arena);
    io_timer_start(o->timer, PATIENCE_MS + 1000, 0);
    o->step = OUT_POST;
    struct io_http_request r = {.url = vr_arena_dup(&o->arena, url).p,
                                .body = gzip,
                                .content_type = "application/tlsrpt+gzip",
                                .timeout_ms = PATIENCE_MS,
                                .answer_max = 65536};
    o->call =
        o->reporter->http != NULL && r.url != NULL ? io_http_ask(o->reporter->http, &r, posted, o) : NULL;
    if (o->call == NULL)
        end(o, LATER, "no https request can be made now");
}
