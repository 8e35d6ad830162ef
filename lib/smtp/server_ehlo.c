/* server_ehlo.c - what a session is offered: the EHLO reply, made of smtp_extensions[], and which parameters are taken (RFC 5321 §4.1.1.1).
 *
 * Promise: what the EHLO reply does not name is not taken, and what it names is.
 * Tests:   tests/transcripts/server/hello-*.txt, tests/unit/smtp_server.c
 */
#include "server_inside.h"

#include <veredus/message.h>

#define HOLD_MAX 86400 /* seconds */

static void add_size(const struct smtp_server *s, struct vr_buf *out)
{
    if (s->config->size_max > 0)
        vr_buf_addf(out, " %llu", (unsigned long long)s->config->size_max);
}

static void add_mechanisms(const struct smtp_server *s, struct vr_buf *out)
{
    vr_buf_addf(out, " %.*s", VR_STR_ARG(server_mechanisms(s)));
}

static void add_deliver_by(const struct smtp_server *s, struct vr_buf *out)
{
    if (s->config->deliver_by_min > 0)
        vr_buf_addf(out, " %u", s->config->deliver_by_min);
}

/* RFC 4865 §3 wants both, how long and until when. */
static void add_future_release(const struct smtp_server *s, struct vr_buf *out)
{
    char date[MESSAGE_RFC3339_SIZE];
    size_t n = message_rfc3339_write(date, (server_unix_time(s) + server_hold_max(s)) * 1000000);
    vr_buf_addf(out, " %u %.*sZ", server_hold_max(s), (int)n - 5, date); /* without milliseconds */
}

static void add_limits(const struct smtp_server *s, struct vr_buf *out)
{
    vr_buf_addf(out, " RCPTMAX=%u", s->config->rcpt_max);
}

static void add_solicit(const struct smtp_server *s, struct vr_buf *out)
{
    if (s->config->solicit.n > 0)
        vr_buf_addf(out, " %.*s", VR_STR_ARG(s->config->solicit));
}

static void add_xclient(const struct smtp_server *s, struct vr_buf *out)
{
    (void)s;
    server_add_x_names(out, false);
}

static void add_xforward(const struct smtp_server *s, struct vr_buf *out)
{
    (void)s;
    server_add_x_names(out, true);
}

/* What stands behind a keyword. */
static const struct {
    enum smtp_extension bit;
    void (*add)(const struct smtp_server *s, struct vr_buf *out);
} values[] = {
    {SMTP_EXT_SIZE, add_size},
    {SMTP_EXT_AUTH, add_mechanisms},
    {SMTP_EXT_DELIVERBY, add_deliver_by},
    {SMTP_EXT_FUTURERELEASE, add_future_release},
    {SMTP_EXT_LIMITS, add_limits},
    {SMTP_EXT_NO_SOLICITING, add_solicit},
    {SMTP_EXT_XCLIENT, add_xclient},
    {SMTP_EXT_XFORWARD, add_xforward},
};

/* Rows of the table that something of this session, besides its owner's word, keeps from being offered. */
static bool is_possible(const struct smtp_server *s, enum smtp_extension bit)
{
    switch (bit) {
    case SMTP_EXT_STARTTLS:
        return s->config->starttls;
    case SMTP_EXT_AUTH:
        return server_auth_offered(s) && !s->authenticated;
    case SMTP_EXT_FUTURERELEASE:
        return server_unix_time(s) > 0;
    case SMTP_EXT_LIMITS: /* RFC 9422 §4: the keyword has at least one limit */
        return s->config->rcpt_max > 0;
    default:
        return true;
    }
}

unsigned smtp_server_offered(const struct smtp_server *s)
{
    unsigned offers = s->config->offers != 0 ? s->config->offers : SMTP_EXT_BASIC, bits = 0;
    for (size_t i = 0; i < smtp_extension_count; i++) {
        const struct smtp_extension_row *row = &smtp_extensions[i];
        bool wanted = row->server & SMTP_WHERE_GRANTED ? s->granted & row->bit : offers & row->bit;
        if (wanted && !(row->server & SMTP_WHERE_TLS && !s->tls) &&
            !(row->server & SMTP_WHERE_CLEAR && s->tls) && is_possible(s, row->bit))
            bits |= row->bit;
    }
    return bits;
}

/* AUTH is offered no longer to who has logged in, or not to strangers; its parameter is a claim that anybody may make (RFC 4954 §5). */
unsigned server_takes(const struct smtp_server *s)
{
    return smtp_server_offered(s) | SMTP_EXT_AUTH;
}

void smtp_server_grant(struct smtp_server *s, unsigned bits)
{
    s->granted = bits;
}

void smtp_server_clock(struct smtp_server *s, int64_t unix_seconds, int64_t now_ms)
{
    s->unix_offset = unix_seconds - now_ms / 1000;
}

int64_t server_unix_time(const struct smtp_server *s)
{
    return s->unix_offset != 0 ? s->unix_offset + s->now / 1000 : 0;
}

uint32_t server_hold_max(const struct smtp_server *s)
{
    return s->config->hold_max > 0 ? s->config->hold_max : HOLD_MAX;
}

void server_answer_ehlo(struct smtp_server *s, struct smtp_reply r)
{
    s->greeted = r.code == 250;
    if (r.code != 250 || !s->extended) {
        server_reply(s, r);
        server_count_refusal(s, r);
        return;
    }
    struct vr_buf *out = &s->out;
    unsigned left = smtp_server_offered(s);
    vr_buf_addf(out, "250%c%.*s\r\n", left != 0 ? '-' : ' ', VR_STR_ARG(r.text));
    for (size_t i = 0; i < smtp_extension_count; i++) {
        const struct smtp_extension_row *row = &smtp_extensions[i];
        if (!(left & row->bit))
            continue;
        left &= ~(unsigned)row->bit;
        vr_buf_addf(out, "250%c%s", left != 0 ? '-' : ' ', row->keyword);
        for (size_t k = 0; k < sizeof values / sizeof *values; k++)
            if (values[k].bit == row->bit)
                values[k].add(s, out);
        vr_buf_add(out, VR_STR("\r\n"));
    }
}
