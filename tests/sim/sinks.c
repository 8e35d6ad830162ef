/* sinks.c - the servers that mail is sent to: the engine of lib/smtp behind simulated connections, with the bad manners of the real world.
 *
 * d0 is healthy always. d1 … d5 now and then defer, hang behind the final dot, or die before or behind their 250. d6's best host does not
 * answer; d7 answers only when the time of faults is over. sender.example takes the reports.
 */
#include "world.h"

#include <veredus/smtp_server.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SENDER DOMAINS

struct sink {
    struct io *io;
    struct smtp_server_config smtp;
    unsigned domain;
    char name[40];
};

struct session {
    struct sink *sink;
    struct io_stream *stream;
    struct smtp_server *engine;
    struct vr_buf data;
    char reverse_path[100];
    char rcpts[100][90];
    unsigned rcpt_count, taken; /* taken: of rcpts, whose 250 is under way */
    bool hangs;
};

static struct sink sinks[DOMAINS + 1][2];

static bool polite(const struct session *s)
{
    return world_calm() || s->sink->domain == 0 || !scenario.network;
}

static void session_end(struct session *s)
{
    io_stream_close(s->stream);
    smtp_server_free(s->engine);
    vr_buf_fini(&s->data);
    free(s);
}

static void take(struct session *s)
{
    for (unsigned i = 0; i < s->rcpt_count; i++) {
        struct vr_str to = vr_str_from(s->rcpts[i]);
        if (s->sink->domain == SENDER)
            oracle_report(vr_str_from(s->reverse_path), to, vr_buf_str(&s->data));
        else
            oracle_delivered(to, vr_buf_str(&s->data));
    }
    s->taken = s->rcpt_count;
}

/* The client goes on, so it has read the 250 for what was taken. */
static void was_read(struct session *s)
{
    for (unsigned i = 0; i < s->taken && s->sink->domain != SENDER; i++)
        oracle_read(vr_str_from(s->rcpts[i]));
    s->taken = 0;
}

static void flush(struct session *s)
{
    struct vr_str out = smtp_server_pending(s->engine);
    if (out.n == 0)
        return;
    io_stream_write(s->stream, out);
    smtp_server_sent(s->engine, out.n);
}

/* The message is whole. False: the session is gone, or silent from now on. */
static bool data_end(struct session *s, const struct smtp_server_event *ev, int64_t now)
{
    if (ev->refusal.code != 0)
        return true;
    uint64_t dice = polite(s) ? 1000 : sim_below(1000);
    if (dice < 20) { /* takes it and dies */
        take(s);
        session_end(s);
        return false;
    }
    if (dice < 40) { /* hangs; takes it or not */
        if (dice < 30)
            take(s);
        s->hangs = true;
        return false;
    }
    if (dice < 70) {
        smtp_server_answer(s->engine, SMTP_REPLY(451, "4.3.0", "not now"), now);
    } else {
        take(s);
        smtp_server_answer(s->engine, SMTP_REPLY(250, "2.0.0", "taken"), now);
    }
    if (dice >= 70 && dice < 80) { /* dies behind its 250 */
        flush(s);
        session_end(s);
        return false;
    }
    s->rcpt_count = 0;
    vr_buf_reset(&s->data);
    return true;
}

static struct smtp_reply rcpt_reply(struct session *s, const char *address)
{
    char mode = 'o';
    unsigned id, k;
    if (s->sink->domain != SENDER)
        sscanf(address, "m%u.%u%c", &id, &k, &mode);
    if (mode == MODE_REFUSED)
        return SMTP_REPLY(550, "5.1.1", "no such user");
    if (mode == MODE_DEFERRED && oracle_attempts(vr_str_from(address)) < 2)
        return SMTP_REPLY(450, "4.2.1", "greylisted");
    if (s->rcpt_count == 100)
        return SMTP_REPLY(452, "4.5.3", "too many");
    return SMTP_REPLY(250, "2.1.5", "fine");
}

static void text_of(struct vr_arena *arena, const struct address *a, char *out, size_t n)
{
    (void)arena;
    snprintf(out, n, "%.*s@%.*s", VR_STR_ARG(a->local), VR_STR_ARG(a->domain));
}

/* True: go on. */
static bool handle(struct session *s, enum smtp_server_event_kind kind, const struct smtp_server_event *ev)
{
    int64_t now = io_monotonic_ms(s->sink->io);
    char address[90];
    switch (kind) {
    case SMTP_SERVER_EHLO:
        smtp_server_answer(s->engine, SMTP_REPLY(250, "", "hello"), now);
        return true;
    case SMTP_SERVER_MAIL:
        was_read(s);
        s->rcpt_count = 0;
        s->reverse_path[0] = '\0';
        if (!ev->mail->reverse_path.null)
            text_of(NULL, &ev->mail->reverse_path, s->reverse_path, sizeof s->reverse_path);
        smtp_server_answer(s->engine, SMTP_REPLY(250, "2.1.0", "fine"), now);
        return true;
    case SMTP_SERVER_RCPT: {
        text_of(NULL, &ev->rcpt->forward_path, address, sizeof address);
        struct smtp_reply r = rcpt_reply(s, address);
        if (r.code == 250)
            memcpy(s->rcpts[s->rcpt_count++], address, sizeof address);
        smtp_server_answer(s->engine, r, now);
        return true;
    }
    case SMTP_SERVER_DATA:
        vr_buf_reset(&s->data);
        smtp_server_answer(s->engine, SMTP_REPLY(354, "", "go ahead"), now);
        return true;
    case SMTP_SERVER_CHUNK:
        vr_buf_add(&s->data, ev->data);
        return true;
    case SMTP_SERVER_DATA_END:
        return data_end(s, ev, now);
    case SMTP_SERVER_STARTTLS:
        flush(s);
        io_stream_start_tls(s->stream, NULL, IO_TLS_OPPORTUNISTIC, vr_str(NULL, 0));
        return false;
    case SMTP_SERVER_CLOSE:
        if (ev->refusal.code == 221)
            was_read(s);
        flush(s);
        session_end(s);
        return false;
    default:
        return true;
    }
}

static void pump(struct session *s)
{
    struct smtp_server_event ev;
    enum smtp_server_event_kind kind;
    while (!s->hangs && (kind = smtp_server_next(s->engine, &ev)) != SMTP_SERVER_IDLE)
        if (!handle(s, kind, &ev))
            return;
    flush(s);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct session *s = arg;
    smtp_server_feed(s->engine, bytes, io_monotonic_ms(s->sink->io));
    pump(s);
}

static void on_ended(void *arg, int status)
{
    struct session *s = arg;
    (void)status;
    session_end(s);
}

static void on_secured(void *arg, int status)
{
    struct session *s = arg;
    if (status != 0) {
        session_end(s);
        return;
    }
    smtp_server_secured(s->engine, io_monotonic_ms(s->sink->io));
    pump(s);
}

static const struct io_stream_ops ops = {.data = on_data, .ended = on_ended, .secured = on_secured};

static void accepted(void *arg, struct io_stream *stream)
{
    struct sink *k = arg;
    if (k->domain == 7 && !polite(&(struct session){.sink = k})) {
        io_stream_close(stream);
        return;
    }
    struct session *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->sink = k;
    s->stream = stream;
    s->engine = smtp_server_new(&k->smtp, false, io_monotonic_ms(k->io));
    vr_buf_init(&s->data, 1u << 20);
    io_stream_set(stream, &ops, s);
    smtp_server_greet(s->engine, SMTP_REPLY(220, "", "at your service"));
    pump(s);
}

static struct io_address address_of(unsigned domain, unsigned host)
{
    return (struct io_address){
        .family = IO_INET, .ip = {10, 1, (uint8_t)domain, (uint8_t)(host + 1)}, .port = 25};
}

void sinks_start(struct io *io)
{
    for (unsigned d = 0; d <= DOMAINS; d++)
        for (unsigned h = 0; h < 2; h++) {
            struct sink *s = &sinks[d][h];
            s->io = io;
            s->domain = d;
            snprintf(s->name, sizeof s->name, "h%u.d%u.example", h, d);
            s->smtp = (struct smtp_server_config){.hostname = vr_str_from(s->name),
                                                  .starttls = d % 2 == 1,
                                                  .rcpt_max = 100,
                                                  .error_max = 1000,
                                                  .size_max = 1u << 20};
            if (d == 6 && h == 0)
                continue; /* nobody there */
            struct io_address a = address_of(d, h);
            int fd = io_listen_fd(&a, false, 0);
            assert(fd >= 0);
            io_listener_new(io, fd, accepted, s);
        }
}

/* ---- the DNS --------------------------------------------------------------------------------------------------------------- */

void sinks_dns(struct vr_str name, enum io_dns_type type, struct io_dns_answer *out, int64_t *delay_us)
{
    static struct io_dns_record records[2];
    static char names[2][40];
    static struct io_address a;
    char text[260];
    unsigned domain, host;
    char rest;
    *delay_us = 200 + (int64_t)sim_below(20000);
    if (scenario.dns && !world_calm() && sim_chance(60000)) {
        *delay_us = (int64_t)sim_below(20000000);
        *out =
            (struct io_dns_answer){.status = IO_DNS_FAILED, .why = "SERVFAIL (simulated)", .canonical = name};
        return;
    }
    if (strangers_dns(name, type, out, delay_us))
        return;
    snprintf(text, sizeof text, "%.*s", VR_STR_ARG(name));
    if (strcmp(text, "sender.example") == 0)
        snprintf(text, sizeof text, "d%u.example", SENDER);
    *out = (struct io_dns_answer){.status = IO_DNS_NXDOMAIN, .canonical = name, .ttl = 300};
    if (sscanf(text, "h%u.d%u.exampl%c", &host, &domain, &rest) == 3 && domain <= DOMAINS && host < 2) {
        a = address_of(domain, host);
        records[0] = (struct io_dns_record){.data = vr_str((const char *)a.ip, 4)};
        out->status = type == IO_DNS_A ? IO_DNS_OK : IO_DNS_NODATA;
        out->records = records;
        out->count = type == IO_DNS_A;
    } else if (sscanf(text, "d%u.exampl%c", &domain, &rest) == 2 && domain <= DOMAINS) {
        for (unsigned h = 0; h < 2; h++) {
            snprintf(names[h], sizeof names[h], "h%u.d%u.example", h, domain);
            records[h] =
                (struct io_dns_record){.name = vr_str_from(names[h]), .preference = (uint16_t)(10 * (h + 1))};
        }
        out->status = type == IO_DNS_MX ? IO_DNS_OK : IO_DNS_NODATA;
        out->records = records;
        out->count = type == IO_DNS_MX ? 2 : 0;
    }
}

/* ---- what becomes of connections ---------------------------------------------------------------------------------------------- */

void sinks_fate(const struct io_address *to, const char *from_title, struct sim_fate *out)
{
    (void)from_title;
    bool healthy = to->ip[0] == 10 && to->ip[1] == 1 && to->ip[2] == 0;
    out->latency_us = 100 + (int64_t)sim_below(healthy ? 2000 : 60000);
    if (!scenario.network || world_calm() || healthy)
        return;
    uint64_t dice = sim_below(1000);
    if (dice < 15)
        out->refused = true;
    else if (dice < 25)
        out->unreachable = true;
    else if (dice < 45)
        out->cut_after_us = (int64_t)sim_below(3000000);
    else if (dice < 65)
        out->cut_after_bytes = 1 + sim_below(1500);
    else if (dice < 75)
        out->stall_after_us = (int64_t)sim_below(3000000);
    else if (dice < 95)
        out->tls_fails = true;
}
