/* clients.c - those who hand mail to the server: the client engine of lib/smtp, several messages a connection, no patience with 4xx: what was
 * not acknowledged is given up (and may arrive or not), another message is made instead.
 */
#include "world.h"

#include <veredus/smtp_client.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS  24
#define PIECE    16384
#define TICK_MS  1000
#define PAUSE_US 300000

struct client {
    struct io *io;
    unsigned number;
    struct io_stream *stream;
    struct smtp_client *engine;
    struct smtp_client_config smtp;
    bool busy; /* with `mail` */
    bool accepted[RCPT_MAX];
    int64_t begun_us; /* of `mail` */
    uint32_t mail;
    unsigned left; /* messages in this session */
    char sender[80], rcpts[RCPT_MAX][80];
    struct smtp_rcpt paths[RCPT_MAX];
    struct smtp_mail envelope;
    struct io_timer *again;
};

static struct client clients[CLIENTS];
static unsigned sent;
static struct io_timer *tick;

static void connect_again(void *arg);

bool clients_done(void)
{
    if (sent < scenario.messages)
        return false;
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i].busy)
            return false;
    return true;
}

static void hang_up(struct client *c)
{
    smtp_client_free(c->engine);
    c->engine = NULL;
    io_stream_finish(c->stream, 1000);
    c->stream = NULL;
    c->busy = false;
    if (sent < scenario.messages)
        io_timer_start(c->again, 1 + (int64_t)sim_below(PAUSE_US) / 1000, 0);
}

static void flush(struct client *c)
{
    struct vr_str out = smtp_client_pending(c->engine);
    if (out.n == 0)
        return;
    io_stream_write(c->stream, out);
    smtp_client_sent(c->engine, out.n);
}

static struct address address_of(char *text)
{
    char *at = strchr(text, '@');
    return (struct address){.local = vr_str(text, (size_t)(at - text)), .domain = vr_str_from(at + 1)};
}

static void next_mail(struct client *c)
{
    int64_t now = io_monotonic_ms(c->io);
    c->busy = false;
    if (c->left == 0 || sent >= scenario.messages) {
        smtp_client_quit(c->engine, now);
        return;
    }
    c->left--;
    sent++;
    c->busy = true;
    c->mail = mail_new();
    c->begun_us = sim_now_us();
    mail_sender(c->mail, c->sender);
    c->envelope = (struct smtp_mail){.reverse_path = address_of(c->sender)};
    unsigned n = mail_rcpt_count(c->mail);
    for (unsigned k = 0; k < n; k++) {
        mail_rcpt(c->mail, k, c->rcpts[k]);
        c->paths[k] = (struct smtp_rcpt){.forward_path = address_of(c->rcpts[k])};
        c->accepted[k] = false;
    }
    smtp_client_mail(c->engine, &c->envelope, c->paths, n, now);
}

static void send_body(struct client *c)
{
    int64_t now = io_monotonic_ms(c->io);
    struct vr_str content = mail_content(c->mail);
    while (content.n > 0) {
        size_t n = content.n < PIECE ? content.n : PIECE;
        smtp_client_body(c->engine, vr_str(content.p, n), now);
        content = vr_str_from_pos(content, n);
    }
    mail_dot_sent(c->mail);
    smtp_client_body_end(c->engine, now);
}

static void pump(struct client *c)
{
    struct smtp_client_event ev;
    enum smtp_client_event_kind kind;
    while ((kind = smtp_client_next(c->engine, &ev)) != SMTP_CLIENT_IDLE) {
        switch (kind) {
        case SMTP_CLIENT_READY:
            next_mail(c);
            break;
        case SMTP_CLIENT_RCPT_RESULT:
            c->accepted[ev.index] = ev.code == 250;
            break;
        case SMTP_CLIENT_BODY:
            send_body(c);
            break;
        case SMTP_CLIENT_RESULT:
            if (world_quiet() && sim_now_us() - c->begun_us > ANSWER_MAX_US)
                violation("mail %u waited %.1f s for its answer, and needs nobody whom the server waits for",
                          c->mail, (double)(sim_now_us() - c->begun_us) / 1e6);
            for (unsigned k = 0; ev.code == 250 && k < mail_rcpt_count(c->mail); k++)
                if (c->accepted[k])
                    mail_acknowledged(c->mail, k);
            break;
        case SMTP_CLIENT_FAILED:
        case SMTP_CLIENT_CLOSED:
            flush(c);
            hang_up(c);
            return;
        default:
            break;
        }
    }
    flush(c);
}

static void on_connected(void *arg, int status)
{
    struct client *c = arg;
    if (status != 0) {
        hang_up(c);
        return;
    }
    pump(c);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct client *c = arg;
    smtp_client_feed(c->engine, bytes, io_monotonic_ms(c->io));
    pump(c);
}

static void on_ended(void *arg, int status)
{
    struct client *c = arg;
    (void)status;
    smtp_client_eof(c->engine);
    pump(c);
}

static const struct io_stream_ops ops = {.connected = on_connected, .data = on_data, .ended = on_ended};

static void connect_again(void *arg)
{
    struct client *c = arg;
    struct io_address to = {.family = IO_INET, .ip = {10, 0, 0, 1}, .port = 25};
    struct io_address from = {.family = IO_INET, .ip = {10, 9, 0, (uint8_t)(c->number + 1)}};
    c->left = 1 + (unsigned)sim_below(20);
    c->engine = smtp_client_new(&c->smtp, io_monotonic_ms(c->io));
    c->stream = io_stream_connect(c->io, &to, &from, 30000, &ops, c);
}

static void on_tick(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < CLIENTS; i++) {
        struct client *c = &clients[i];
        if (c->engine == NULL || smtp_client_deadline(c->engine) > io_monotonic_ms(c->io))
            continue;
        smtp_client_tick(c->engine, io_monotonic_ms(c->io));
        pump(c);
    }
}

void clients_start(struct io *io)
{
    tick = io_timer_new(io, on_tick, NULL);
    io_timer_start(tick, TICK_MS, TICK_MS);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct client *c = &clients[i];
        c->io = io;
        c->number = i;
        c->smtp = (struct smtp_client_config){.helo_name = VR_STR("client.example"), .timeout_ms = 60000};
        c->again = io_timer_new(io, connect_again, c);
        io_timer_start(c->again, 1 + (int64_t)sim_below(500), 0);
    }
}
