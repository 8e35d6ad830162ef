/* client_body.c - the text of a message on its way out: dots doubled, CRLF before the last dot (RFC 5321 §4.1.1.4, §4.5.2); by BDAT as it is,
 * but with its last CRLF (client_bdat.c has the chunks).
 *
 * Promise: no byte of a message can end it before its end. So a dot is doubled behind a bare CR or LF too: some servers take
 *          those for line ends, and what followed would be commands (SMTP smuggling).
 * Tests:   tests/unit/smtp_client.c, tests/unit/smtp_pair.c
 */
#include "client_inside.h"

#include <assert.h>

/* Dots are rarer than line ends: looking for them moves large pieces. */
static void add_stuffed(struct vr_buf *out, struct vr_str bytes, char last)
{
    size_t done = 0, from = 0;
    vr_buf_reserve(out, bytes.n + 64);
    for (size_t dot; (dot = vr_str_find(vr_str_from_pos(bytes, from), '.')) != VR_NPOS; from = dot + 1) {
        dot += from;
        char before = dot > 0 ? bytes.p[dot - 1] : last;
        if (before != '\n' && before != '\r')
            continue;
        vr_buf_add(out, vr_str_sub(bytes, done, dot - done));
        vr_buf_add_byte(out, '.');
        done = dot;
    }
    vr_buf_add(out, vr_str_from_pos(bytes, done));
}

void smtp_client_body(struct smtp_client *c, struct vr_str bytes, int64_t now_ms)
{
    struct client_transaction *t = &c->tx;
    c->now = now_ms;
    if (c->stage == STAGE_DEAD || t->failed || bytes.n == 0)
        return; /* the session broke, or the message was refused, while the owner was reading */
    assert(c->stage == (t->bdat ? STAGE_CHUNKS : STAGE_BODY) && !t->ended);
    if (t->bdat)
        client_chunks_add(c, bytes);
    else
        add_stuffed(&c->out, bytes, t->last);
    char before = bytes.n > 1 ? bytes.p[bytes.n - 2] : t->last;
    t->last = bytes.p[bytes.n - 1];
    t->crlf = before == '\r' && t->last == '\n';
    if (c->out.too_big)
        client_fail_later(c, "4.3.0", "the message was given faster than it was sent; memory is bounded");
}

void smtp_client_body_end(struct smtp_client *c, int64_t now_ms)
{
    struct client_transaction *t = &c->tx;
    c->now = now_ms;
    if (c->stage == STAGE_DEAD || t->failed)
        return;
    assert(c->stage == (t->bdat ? STAGE_CHUNKS : STAGE_BODY) && !t->ended);
    if (!t->crlf && t->mail->body != SMTP_BODY_BINARYMIME)
        vr_buf_add(t->bdat ? &c->chunk : &c->out, t->last == '\r' ? VR_STR("\n") : VR_STR("\r\n"));
    if (t->bdat) {
        client_chunks_end(c);
        return;
    }
    vr_buf_add(&c->out, VR_STR(".\r\n"));
    if (vr_buf_size(&c->in) > 0) /* fed, and not looked at yet */
        c->begun = c->early = true;
    client_stage(c, STAGE_DOT);
    if (c->out.too_big)
        client_fail_later(c, "4.3.0", "the message was given faster than it was sent; memory is bounded");
}
