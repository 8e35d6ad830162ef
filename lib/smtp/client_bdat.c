/* client_bdat.c - a message on its way out in chunks: BDAT (RFC 3030 §2; LMTP: RFC 2033 §4.3).
 *
 * Rules:  (1) no BDAT before all replies to RCPT are in (§2), so that there is somebody to take it
 *         (2) small pieces of the owner's gather to chunks of CHUNK_SIZE, larger ones are chunks; several may be out where the server offers
 *         PIPELINING, else one. What completes the size that the owner told waits for LAST, so that this is no chunk of its own
 *         (3) LAST leaves when all chunks before it were taken: no server can make a message of the rest behind a chunk that it refused, and
 *         the number of replies is always known
 *         (4) behind a refusal the chunk that is on its way leaves whole, since its size was said, and no other; then RSET.
 * States: CHUNKS -> LAST [smtp_client_body_end, all replies are in] -> READY ; CHUNKS -> DRAIN [a refusal] -> RSET -> READY
 * Tests:  tests/unit/smtp_client_bdat.c, tests/unit/smtp_pair.c, tests/fuzz/fuzz_smtp_client.c
 */
#include "client_inside.h"

#define CHUNK_SIZE (64u << 10)

bool client_wants_bdat(const struct smtp_client *c)
{
    bool binary = c->tx.mail->body == SMTP_BODY_BINARYMIME;
    return (c->offers & SMTP_EXT_CHUNKING) && (c->config->chunking || binary);
}

static size_t window(const struct smtp_client *c)
{
    return c->tx.grouped ? CLIENT_CHUNKS_OUT : 1; /* PIPELINING or not */
}

/* Bytes of this message that have left. */
static uint64_t left(const struct smtp_client *c)
{
    return c->tx.queued - vr_buf_size(&c->out);
}

static uint64_t *chunk_end(struct smtp_client *c, size_t i)
{
    return &c->tx.ends[(c->tx.first + i) % CLIENT_CHUNKS_OUT];
}

/* No chunk whose reply is awaited has left whole: what comes now answers nothing. */
bool client_chunks_early(const struct smtp_client *c)
{
    return c->tx.out == 0 || c->tx.ends[c->tx.first] > left(c);
}

/* What was held, and these bytes. */
static void send_chunk(struct smtp_client *c, struct vr_str bytes, bool last)
{
    struct client_transaction *t = &c->tx;
    size_t before = vr_buf_size(&c->out);
    if (t->out == 0 && vr_buf_size(&c->in) > 0) /* fed, and not looked at yet */
        c->begun = c->early = true;
    vr_buf_addf(&c->out, "BDAT %zu%s\r\n", vr_buf_size(&c->chunk) + bytes.n, last ? " LAST" : "");
    vr_buf_add(&c->out, vr_buf_str(&c->chunk));
    vr_buf_add(&c->out, bytes);
    vr_buf_reset(&c->chunk);
    t->queued += vr_buf_size(&c->out) - before;
    if (last)
        client_stage(c, STAGE_LAST);
    else
        *chunk_end(c, t->out++) = t->queued;
    if (c->out.too_big)
        client_fail_later(c, "4.3.0", "the message was given faster than it was sent; memory is bounded");
}

void client_chunks_begin(struct smtp_client *c)
{
    c->tx.queued = vr_buf_size(&c->out);
    client_stage(c, STAGE_CHUNKS);
}

void client_chunks_add(struct smtp_client *c, struct vr_str bytes)
{
    struct client_transaction *t = &c->tx;
    t->given += bytes.n;
    bool complete = t->given == t->mail->size; /* were it not, the next piece says so */
    if (!complete && vr_buf_size(&c->chunk) + bytes.n >= CHUNK_SIZE && t->out < window(c))
        send_chunk(c, bytes, false);
    else if (!vr_buf_add(&c->chunk, bytes))
        client_fail_later(c, "4.3.0", "the message was given faster than it was sent; memory is bounded");
}

/* What a reply, or the end, allows to leave. */
static void send_due(struct smtp_client *c)
{
    struct client_transaction *t = &c->tx;
    if (t->ended && t->out == 0)
        send_chunk(c, vr_str(NULL, 0), true);
    else if (!t->ended && vr_buf_size(&c->chunk) >= CHUNK_SIZE && t->out < window(c))
        send_chunk(c, vr_str(NULL, 0), false);
}

void client_chunks_end(struct smtp_client *c)
{
    c->tx.ended = true;
    send_due(c);
}

size_t smtp_client_held(const struct smtp_client *c)
{
    return vr_buf_size(&c->chunk);
}

/* ---- replies ------------------------------------------------------------------------------------------------------- */

static void replied(struct smtp_client *c)
{
    c->tx.first = (c->tx.first + 1) % CLIENT_CHUNKS_OUT;
    c->tx.out--;
}

/* Rule (4). `from`: where the first of the chunks that are out begins. */
static void take_back(struct smtp_client *c, uint64_t from)
{
    struct client_transaction *t = &c->tx;
    size_t keep = 0;
    for (; keep < t->out && from < left(c); keep++)
        from = *chunk_end(c, keep);
    uint64_t cut = from > left(c) ? from : left(c);
    t->out = keep;
    c->out.end -= (size_t)(t->queued - cut);
    t->queued = cut;
    vr_buf_reset(&c->chunk);
}

enum smtp_client_event_kind client_on_chunk(struct smtp_client *c, const struct client_reply *r,
                                            struct smtp_client_event *ev)
{
    struct client_transaction *t = &c->tx;
    if (r->code / 100 == 3)
        return client_fail_odd(c, ev, r);
    uint64_t end = t->ends[t->first];
    replied(c);
    if (r->code < 400) {
        send_due(c);
        return SMTP_CLIENT_IDLE;
    }
    t->failed = true;
    enum smtp_client_event_kind told = client_message_refused(c, r, ev);
    take_back(c, end);
    if (t->out > 0)
        client_stage(c, STAGE_DRAIN);
    else
        client_reset(c);
    return told;
}

enum smtp_client_event_kind client_on_drain(struct smtp_client *c, const struct client_reply *r,
                                            struct smtp_client_event *ev)
{
    if (r->code / 100 == 3)
        return client_fail_odd(c, ev, r);
    replied(c);
    if (c->tx.out == 0)
        client_reset(c);
    return SMTP_CLIENT_IDLE;
}
