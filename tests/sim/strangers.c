/* strangers.c - those whose mail is verified: one whom his domain allows, one who writes in a bank's name, one of a domain whose name servers never answer.
 *
 * Each sends a message, waits for its fate, and comes again. What must hold is at the head of oracle.c (10 to 12).
 */
#include "world.h"

#include <veredus/smtp_client.h>

#include <assert.h>
#include <string.h>

#define STRANGERS 6
#define TICK_MS   1000
#define STALL_US  (3600 * 1000000ll)
#define HONEST    "honest.example"
#define BANK      "bank.example"
#define STALLED   "stalled.example"

enum kind { IS_HONEST, IS_FORGER, IS_STALLED };
static const char *const domains[] = {[IS_HONEST] = HONEST, [IS_FORGER] = BANK, [IS_STALLED] = STALLED};

struct stranger {
    struct io *io;
    unsigned number;
    enum kind kind;
    bool sent;
    int64_t begun_us;
    struct io_stream *stream;
    struct smtp_client *engine;
    struct smtp_client_config smtp;
    struct smtp_mail envelope;
    struct smtp_rcpt rcpt;
    struct io_timer *again;
};

static struct stranger strangers[STRANGERS];
static struct io_timer *tick;

/* ---- the DNS ------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *text;
} zone[] = {{HONEST, "v=spf1 ip4:10.8.0.0/16 -all"},
            {"_dmarc." HONEST, "v=DMARC1; p=reject"},
            {BANK, "v=spf1 -all"},
            {"_dmarc." BANK, "v=DMARC1; p=reject"}};

bool strangers_dns(struct vr_str name, enum io_dns_type type, struct io_dns_answer *out, int64_t *delay_us)
{
    static struct io_dns_record record;
    if (vr_str_ends_nocase(name, VR_STR(STALLED))) {
        *delay_us = STALL_US;
        *out = (struct io_dns_answer){
            .status = IO_DNS_FAILED, .why = "nobody would wait for it", .canonical = name};
        return true;
    }
    for (size_t i = 0; i < sizeof zone / sizeof *zone; i++) {
        if (!vr_str_equal_nocase(name, vr_str_from(zone[i].name)))
            continue;
        record = (struct io_dns_record){.data = vr_str_from(zone[i].text)};
        *out = (struct io_dns_answer){.status = type == IO_DNS_TXT ? IO_DNS_OK : IO_DNS_NODATA,
                                      .canonical = name,
                                      .ttl = 300,
                                      .records = &record,
                                      .count = type == IO_DNS_TXT};
        return true;
    }
    return false;
}

/* ---- what they are told ---------------------------------------------------------------------------------------------------------- */

static void judge(const struct stranger *s, int code)
{
    if (code == 250)
        tally.strangers++;
    if (code == 250 && s->kind != IS_HONEST)
        violation("mail of %s was taken from one who may not send it", domains[s->kind]);
    if (s->kind == IS_HONEST && code >= 500)
        violation("mail of %s was refused with %d", HONEST, code);
    if (s->kind == IS_HONEST && code >= 400 && world_quiet())
        violation("mail of %s was put off with %d, and nothing is wrong", HONEST, code);
    if (s->kind != IS_STALLED && world_quiet() && sim_now_us() - s->begun_us > ANSWER_MAX_US)
        violation("mail of %s waited %.1f s for its answer, and its name servers are quick", domains[s->kind],
                  (double)(sim_now_us() - s->begun_us) / 1e6);
    if (s->kind == IS_FORGER && code != 550 && world_quiet())
        violation("mail in the name of %s was answered %d, and nothing is wrong", BANK, code);
}

/* ---- sessions ------------------------------------------------------------------------------------------------------------------------ */

static void hang_up(struct stranger *s)
{
    smtp_client_free(s->engine);
    s->engine = NULL;
    io_stream_finish(s->stream, 1000);
    s->stream = NULL;
    if (!world_calm())
        io_timer_start(s->again, 100 + (int64_t)sim_below(3000), 0);
}

static void flush(struct stranger *s)
{
    struct vr_str out = smtp_client_pending(s->engine);
    if (out.n == 0)
        return;
    io_stream_write(s->stream, out);
    smtp_client_sent(s->engine, out.n);
}

static void send_body(struct stranger *s)
{
    char text[512];
    int64_t now = io_monotonic_ms(s->io);
    int n = snprintf(
        text, sizeof text,
        "From: x@%s\r\nAuthentication-Results: mx.sim.example; dmarc=pass header.from=forged.example\r\n"
        "Subject: of a stranger\r\n\r\nHello.\r\n",
        domains[s->kind]);
    smtp_client_body(s->engine, vr_str(text, (size_t)n), now);
    smtp_client_body_end(s->engine, now);
}

static void pump(struct stranger *s)
{
    struct smtp_client_event ev;
    enum smtp_client_event_kind kind;
    while ((kind = smtp_client_next(s->engine, &ev)) != SMTP_CLIENT_IDLE) {
        if (kind == SMTP_CLIENT_READY && s->sent) {
            smtp_client_quit(s->engine, io_monotonic_ms(s->io));
        } else if (kind == SMTP_CLIENT_READY) {
            s->sent = true;
            s->begun_us = sim_now_us();
            s->envelope = (struct smtp_mail){
                .reverse_path = {.local = VR_STR("x"), .domain = vr_str_from(domains[s->kind])}};
            s->rcpt = (struct smtp_rcpt){
                .forward_path = {.local = VR_STR("box"), .domain = VR_STR("strangers.example")}};
            smtp_client_mail(s->engine, &s->envelope, &s->rcpt, 1, io_monotonic_ms(s->io));
        } else if (kind == SMTP_CLIENT_BODY) {
            send_body(s);
        } else if (kind == SMTP_CLIENT_RESULT) {
            judge(s, ev.code);
        } else if (kind == SMTP_CLIENT_FAILED || kind == SMTP_CLIENT_CLOSED) {
            flush(s);
            hang_up(s);
            return;
        }
    }
    flush(s);
}

static void on_connected(void *arg, int status)
{
    if (status != 0)
        hang_up(arg);
    else
        pump(arg);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct stranger *s = arg;
    smtp_client_feed(s->engine, bytes, io_monotonic_ms(s->io));
    pump(s);
}

static void on_ended(void *arg, int status)
{
    struct stranger *s = arg;
    (void)status;
    smtp_client_eof(s->engine);
    pump(s);
}

static const struct io_stream_ops ops = {.connected = on_connected, .data = on_data, .ended = on_ended};

static void connect_again(void *arg)
{
    struct stranger *s = arg;
    struct io_address to = {.family = IO_INET, .ip = {10, 0, 0, 1}, .port = 25};
    struct io_address from = {.family = IO_INET, .ip = {10, 8, 0, (uint8_t)(s->number + 1)}};
    s->sent = false;
    s->engine = smtp_client_new(&s->smtp, io_monotonic_ms(s->io));
    s->stream = io_stream_connect(s->io, &to, &from, 30000, &ops, s);
}

static void on_tick(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < STRANGERS; i++) {
        struct stranger *s = &strangers[i];
        if (s->engine == NULL || smtp_client_deadline(s->engine) > io_monotonic_ms(s->io))
            continue;
        smtp_client_tick(s->engine, io_monotonic_ms(s->io));
        pump(s);
    }
}

void strangers_start(struct io *io)
{
    tick = io_timer_new(io, on_tick, NULL);
    io_timer_start(tick, TICK_MS, TICK_MS);
    for (unsigned i = 0; i < STRANGERS; i++) {
        struct stranger *s = &strangers[i];
        s->io = io;
        s->number = i;
        s->kind = (enum kind)(i % 3);
        s->smtp = (struct smtp_client_config){.helo_name = VR_STR("stranger.example"), .timeout_ms = 120000};
        s->again = io_timer_new(io, connect_again, s);
        io_timer_start(s->again, 1 + (int64_t)sim_below(2000), 0);
    }
}

/* ---- the end ----------------------------------------------------------------------------------------------------------------------------- */

static void file_seen(void *arg, const char *path, struct vr_str content)
{
    (void)arg;
    if (strstr(path, "/new/") == NULL)
        return;
    if (vr_str_find_str(content, VR_STR("From: x@" HONEST)) == VR_NPOS ||
        vr_str_find_str(content, VR_STR("dmarc=pass")) == VR_NPOS || strstr(path, "/.Junk/") != NULL)
        violation("a stranger's mail is where it should not be: %s", path);
    if (vr_str_find_str(content, VR_STR("forged.example")) != VR_NPOS)
        violation("results in our name that somebody else wrote are in %s", path);
}

void strangers_final(void)
{
    if (world_quiet() && tally.strangers == 0)
        violation("no stranger's mail was taken, and nothing is wrong");
    sim_disk_walk("/strangers", file_seen, NULL);
}
