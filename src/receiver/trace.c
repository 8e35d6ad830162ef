/* trace.c - the header fields that this hop puts on top: Received (RFC 5321 §4.4), and for our own users'
 * mail the Date and Message-ID that were missing (RFC 6409 §8.1, §8.2).
 */
#include "receiver/session.h"

#include <veredus/message.h>

#include <stdio.h>
#include <string.h>

#define FIELDS_MAX    32768
#define SOLICIT_SHOWN 900 /* a line has its limit, and the keywords cannot be folded */

/* RFC 3848, RFC 6531 §4.3: which protocol it was, SMTPUTF8, TLS and AUTH included. */
static void add_protocol(struct vr_buf *b, const struct transaction *t, bool tls)
{
    const struct session *s = t->session;
    bool extended = smtp_server_is_extended(s->engine), utf8 = t->envelope.asks & ENVELOPE_UTF8;
    bool lmtp = s->listener->smtp.lmtp;
    vr_buf_addf(b, "%s%s%s",
                lmtp       ? (utf8 ? "UTF8LMTP" : "LMTP")
                : utf8     ? "UTF8SMTP"
                : extended ? "ESMTP"
                           : "SMTP",
                extended && tls ? "S" : "", extended && s->user != NULL && !s->listener->local ? "A" : "");
}

/* Whom it is for; with several recipients, naming one would tell the others of it (RFC 5321 §7.6). In UTF-8 only where the message's own header is, for
 * a trace field must not be what makes a message need SMTPUTF8 (RFC 6531 §3.7.3): else in A-labels, or not at all. */
static void add_for(struct vr_buf *b, const struct transaction *t)
{
    struct vr_arena scratch;
    struct address a, ascii;
    const char *why;
    struct vr_str to = t->envelope.rcpt_count == 1 ? t->envelope.rcpts[0].address : vr_str(NULL, 0);
    vr_arena_init(&scratch, 16384);
    if (!vr_str_is_ascii(to) && !(t->envelope.asks & ENVELOPE_UTF8_HEADER)) {
        bool plain = address_parse(&scratch, to, ADDRESS_ALLOW_UTF8, &a, &why) == VR_OK &&
                     address_to_ascii(&scratch, &a, &ascii);
        to = plain ? address_text(&scratch, &ascii) : vr_str(NULL, 0);
    }
    if (to.n > 0)
        vr_buf_addf(b, "\r\n\tfor <%.*s>", VR_STR_ARG(to));
    vr_arena_fini(&scratch);
}

void trace_forwarded_ip(const struct smtp_x *x, char out[IO_ADDRESS_TEXT])
{
    struct io_address a = {.family = x->client.family == 4 ? IO_INET : IO_INET6};
    memcpy(a.ip, x->client.ip, sizeof a.ip);
    io_address_ip_text(&a, out);
}

/* XFORWARD: whose mail a filter hands on. A comment, since the filter's own field says the rest. */
static void add_forwarded(struct vr_buf *b, const struct smtp_x *x)
{
    char ip[IO_ADDRESS_TEXT];
    if (x->known & SMTP_X_ADDR) {
        trace_forwarded_ip(x, ip);
        vr_buf_addf(b, "\r\n\t(forwarded for %.*s%s[%s%s]", VR_STR_ARG(x->name), x->name.n > 0 ? " " : "",
                    vr_str_find(vr_str_from(ip), ':') != VR_NPOS ? "IPv6:" : "", ip);
    } else if (x->ident.n > 0 || x->helo.n > 0) {
        vr_buf_addf(b, "\r\n\t(forwarded");
    } else {
        return;
    }
    if (x->helo.n > 0)
        vr_buf_addf(b, " helo %.*s", VR_STR_ARG(x->helo));
    if (x->ident.n > 0)
        vr_buf_addf(b, " id %.*s", VR_STR_ARG(x->ident));
    vr_buf_add_byte(b, ')');
}

static void add_received(struct vr_buf *b, const struct transaction *t, const char *date)
{
    const struct session *s = t->session;
    const struct config *c = s->receiver->config;
    char id[QUEUE_ID_TEXT];
    queue_id_text(t->id, id);
    struct io_tls_info tls;
    bool secured = io_stream_tls_info(s->stream, &tls);
    if (s->listener->local)
        vr_buf_addf(b, "Received: from %s (local %s)\r\n", s->helo != NULL ? s->helo : "localhost", s->user);
    else if (strcmp(s->client, "unix") == 0)
        vr_buf_addf(b, "Received: from %s (UNIX socket)\r\n", s->helo != NULL ? s->helo : "unknown");
    else
        vr_buf_addf(b, "Received: from %s (%s%s[%s%s])\r\n", s->helo != NULL ? s->helo : "unknown",
                    s->name != NULL ? s->name : "", s->name != NULL ? " " : "",
                    vr_str_find(vr_str_from(s->client), ':') != VR_NPOS ? "IPv6:" : "", s->client);
    vr_buf_addf(b, "\tby %.*s (veredus) with ", VR_STR_ARG(c->hostname));
    add_protocol(b, t, secured);
    if (t->envelope.solicit.n > 0 && t->envelope.solicit.n < SOLICIT_SHOWN) /* RFC 3865 §2.6 */
        vr_buf_addf(b, "\r\n\t(SOLICIT=%.*s)\r\n\t", VR_STR_ARG(t->envelope.solicit));
    vr_buf_addf(b, " id %s", id);
    if (secured)
        vr_buf_addf(b, "\r\n\t(using %s with cipher %s (%u bits)%s)", tls.protocol, tls.cipher, tls.bits,
                    tls.verified ? ", client certificate verified" : "");
    add_forwarded(b, &t->forwarded);
    add_for(b, t);
    if (t->envelope.priority != 0) /* RFC 6710 §4.1, §7 */
        vr_buf_addf(b, "\r\n\tpriority %d", t->envelope.priority);
    vr_buf_addf(b, "; %s\r\n", date);
}

struct vr_str trace_fields(struct transaction *t, struct vr_arena *arena)
{
    const struct config *c = t->session->receiver->config;
    int64_t seconds = t->envelope.arrival_us / 1000000;
    char date[MESSAGE_DATE_SIZE];
    message_date_write(date, seconds, 0);
    struct vr_buf b;
    vr_buf_init(&b, FIELDS_MAX);
    verifying_fields(t, &b);
    add_received(&b, t, date);
    if (t->missing_date)
        vr_buf_addf(&b, "Date: %s\r\n", date);
    if (t->missing_message_id) {
        char id[QUEUE_ID_TEXT];
        queue_id_text(t->id, id);
        vr_buf_addf(&b, "Message-ID: <%s@%.*s>\r\n", id, VR_STR_ARG(c->hostname));
    }
    struct vr_str fields = vr_arena_dup(arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return fields;
}
