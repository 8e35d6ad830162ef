/* server_bdat.c - messages in counted chunks: BDAT (RFC 3030; LMTP: RFC 2033 §4.3).
 *
 * Promise:    octets of a chunk are never taken for commands. Whatever speaks against a BDAT, as many octets as it named are read and
 *             thrown away before its refusal is said (RFC 3030 §2); when it does not say how many, the session ends.
 * Invariants: (1) every BDAT has one reply, behind its octets (LMTP, LAST: one for each accepted recipient, so perhaps none)
 *             (2) a refused BDAT spoils its transaction: no later chunk can make half a message of it. BDATs of the same pipeline are refused
 *             too; RSET, EHLO or the chunk that says LAST makes room for another MAIL
 *             (3) chunks leave memory as they come, however large they say they are.
 * States:     COMMANDS -> IN_CHUNK [server_bdat] -> COMMANDS [chunk_end]
 * Tests:      tests/transcripts/server/bdat*.txt, tests/unit/smtp_server.c, tests/unit/smtp_pair.c, tests/fuzz/fuzz_smtp_server.c
 */
#include "server_inside.h"

#include <stdio.h>

static const struct vr_str verb = VR_STR_INIT("BDAT");

static const struct smtp_reply not_served = {502, "5.5.1", VR_STR_INIT("this command is not served here")};
static const struct smtp_reply bad_form = {
    501, "5.5.4", VR_STR_INIT("the form is BDAT SIZE or BDAT SIZE LAST, the size in decimal digits")};
static const struct smtp_reply lost_place = {
    421, "4.7.0", VR_STR_INIT("without a size, what follows cannot be told from commands; closing")};
static const struct smtp_reply no_ehlo = {503, "5.5.1", VR_STR_INIT("say EHLO first")};
static const struct smtp_reply no_mail = {503, "5.5.1", VR_STR_INIT("MAIL and RCPT first")};
static const struct smtp_reply no_rcpt = {554, "5.5.1", VR_STR_INIT("no valid recipients")};
static const struct smtp_reply no_rcpt_lmtp = {503, "5.5.1", VR_STR_INIT("no valid recipients")};

const struct smtp_reply server_spoiled = {
    503, "5.5.1", VR_STR_INIT("the message was refused before; send RSET, then begin again")};

bool server_is_bdat(const struct smtp_server *s, struct vr_str line)
{
    while (line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t'))
        line = vr_str_from_pos(line, 1);
    return vr_str_starts_nocase(line, verb) && (smtp_server_offered(s) & SMTP_EXT_CHUNKING);
}

enum smtp_server_event_kind server_bdat_bad(struct smtp_server *s, struct vr_str line,
                                            struct smtp_server_event *ev)
{
    ev->refusal = bad_form;
    ev->data = vr_str_sub(line, 0, 64);
    server_reply(s, bad_form);
    server_reply(s, lost_place);
    server_close(s, 421);
    return SMTP_SERVER_COMMAND_REFUSED;
}

/* "10", "10 LAST" */
static bool parse(struct vr_str argument, uint64_t *size, bool *last)
{
    size_t blank = vr_str_find(argument, ' ');
    struct vr_str marker = blank == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(argument, blank);
    while (marker.n > 0 && marker.p[0] == ' ')
        marker = vr_str_from_pos(marker, 1);
    *last = vr_str_equal_nocase(marker, VR_STR("LAST"));
    return vr_str_to_u64(vr_str_sub(argument, 0, blank), size) && (*last || marker.n == 0);
}

/* The sum is known before the octets come. */
static bool too_large(const struct smtp_server *s, uint64_t size)
{
    uint64_t so_far = s->by_bdat ? s->text.size : 0;
    uint64_t max = s->config->size_max > 0 ? s->config->size_max : UINT64_MAX;
    return so_far > max || size > max - so_far;
}

static struct smtp_reply what_speaks_against(struct smtp_server *s)
{
    if (!s->greeted || !s->extended)
        return no_ehlo;
    if (s->spoiled)
        return server_spoiled;
    if (!s->in_mail)
        return no_mail;
    if (s->rcpts == 0)
        return s->config->lmtp ? no_rcpt_lmtp : no_rcpt;
    return too_large(s, s->chunk.size) ? server_too_large : (struct smtp_reply){0};
}

enum smtp_server_event_kind server_bdat(struct smtp_server *s, struct vr_str line, struct vr_str argument,
                                        struct smtp_server_event *ev)
{
    if (!(smtp_server_offered(s) & SMTP_EXT_CHUNKING))
        return server_refuse(s, ev, line, not_served);
    s->chunk = (struct server_chunk){.silent = s->spoiled};
    if (!parse(argument, &s->chunk.size, &s->chunk.last))
        return server_bdat_bad(s, line, ev);
    s->chunk.left = s->chunk.size;
    s->chunk.refusal = what_speaks_against(s);
    s->state = SERVER_IN_CHUNK;
    if (s->chunk.refusal.code != 0 || s->by_bdat)
        return SMTP_SERVER_IDLE;
    server_text_begin(s);
    return server_await(s, SMTP_SERVER_DATA);
}

void server_bdat_answered(struct smtp_server *s, struct smtp_reply r)
{
    s->by_bdat = r.code == 0 || r.code == 354; /* of which the client hears nothing: it sends already */
    if (s->by_bdat)
        return;
    s->chunk.owners = true;
    s->chunk.refusal = r; /* said when the octets have come, and what it points to may be gone then */
    s->chunk.refusal.text = vr_arena_dup(&s->arena, r.text);
    s->chunk.refusal.enhanced =
        r.enhanced != NULL ? vr_arena_dup(&s->arena, vr_str_from(r.enhanced)).p : NULL;
}

/* ---- the end of a chunk ------------------------------------------------------------------------------------------- */

/* Invariant (2). The owner hears that the message is lost, if it had one. */
static enum smtp_server_event_kind spoil(struct smtp_server *s, struct smtp_server_event *ev,
                                         struct smtp_reply r, bool last)
{
    bool had = s->in_mail;
    ev->refusal = r;
    if (s->chunk.owners) /* its words go with the transaction, and the owner knows them */
        ev->refusal = (struct smtp_reply){r.code, NULL, VR_STR("refused in answer to DATA")};
    ev->data = verb;
    s->spoiled = !last;
    s->spoiled_rcpts = last ? 0 : s->rcpts;
    server_transaction_end(s);
    server_count_refusal(s, r);
    return had ? SMTP_SERVER_DATA_END : SMTP_SERVER_COMMAND_REFUSED;
}

enum smtp_server_event_kind server_spoil(struct smtp_server *s, struct smtp_server_event *ev,
                                         struct smtp_reply r)
{
    server_reply(s, r);
    return spoil(s, ev, r, false);
}

static unsigned replies_to(const struct smtp_server *s)
{
    if (!s->config->lmtp || !s->chunk.last || !s->greeted)
        return 1;
    return s->chunk.silent ? s->spoiled_rcpts : s->rcpts; /* RFC 2033 §4.3 */
}

static enum smtp_server_event_kind refused(struct smtp_server *s, struct smtp_server_event *ev,
                                           struct smtp_reply r)
{
    for (unsigned n = replies_to(s); n > 0; n--)
        server_reply(s, r);
    if (!s->chunk.silent)
        return spoil(s, ev, r, s->chunk.last);
    if (s->chunk.last) {
        s->spoiled = false;
        s->spoiled_rcpts = 0;
    }
    return SMTP_SERVER_IDLE; /* one fault, told already: the rest of its pipeline is no other (RFC 3030 §2) */
}

static enum smtp_server_event_kind chunk_end(struct smtp_server *s, struct smtp_server_event *ev)
{
    if (s->chunk.last && s->chunk.refusal.code == 0)
        server_text_end(s);
    struct smtp_reply r = s->chunk.refusal.code != 0 ? s->chunk.refusal : server_text_verdict(s);
    s->state = SERVER_COMMANDS;
    if (r.code != 0)
        return refused(s, ev, r);
    if (s->chunk.last) {
        s->replies_due = s->rcpts;
        return server_await(s, SMTP_SERVER_DATA_END);
    }
    if (s->chunk.size > 0)
        s->commands--; /* a message in many pieces is no flood; size_max bounds it */
    char text[48];
    int n = snprintf(text, sizeof text, "%llu octets received", (unsigned long long)s->chunk.size);
    server_reply(s, (struct smtp_reply){250, "2.0.0", vr_str(text, (size_t)n)});
    return SMTP_SERVER_IDLE;
}

enum smtp_server_event_kind server_bdat_next(struct smtp_server *s, struct smtp_server_event *ev)
{
    struct vr_str text = vr_buf_str(&s->in);
    if (s->chunk.left == 0)
        return chunk_end(s, ev);
    if (text.n > s->chunk.left)
        text = vr_str_sub(text, 0, (size_t)s->chunk.left);
    s->take = text.n;
    s->scanned = 0;
    s->chunk.left -= text.n;
    if (s->chunk.refusal.code != 0 || text.n == 0)
        return SMTP_SERVER_IDLE; /* take > 0 makes the caller go on */
    server_text_add(s, text);
    if (s->text.faults != 0)
        return SMTP_SERVER_IDLE;
    ev->data = text;
    return SMTP_SERVER_CHUNK;
}
