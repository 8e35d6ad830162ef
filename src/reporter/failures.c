/* failures.c - failure reports: one message each, sent at once or not at all.
 *
 * Rules:   (1) one at a time; WAITING_MAX wait in memory, and what waits or is under way when the process ends is lost: these reports are a courtesy
 *          (2) PER_HOUR of one organisation within an hour, by its organisational domain, so that nobody has more by owning many names below it; the rest
 *          is counted, and the number told in the log (3) they go from the null reverse path (RFC 6591 §6.4, RFC 6650 §6): no report answers another
 * States:  waiting -> ASK (consent, by the DNS) -> SEND, one destination after the other -> gone
 * Tests:   tests/unit/reporter.c, tests/e2e/test_reports.py
 */
#include "reporter/inside.h"

#include <veredus/dmarc_failure.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX    64
#define PER_HOUR       10
#define HOUR_US        (3600 * (int64_t)1000000)
#define DOMAINS_MAX    1024 /* that are counted at the same time; further ones get no report */
#define DOMAIN_OCTETS  253
#define ARENA_MAX      (4u << 20)
#define ANSWERS_MAX    512
#define DNS_TIMEOUT_MS 30000
#define SAY_MS         10000

struct failure {
    struct vr_arena arena;
    struct failure_seen seen; /* slices are in the arena */
    struct dmarc_record record;
    struct dns_answer answers[ANSWERS_MAX];
    size_t answer_count;
    struct dmarc_destinations to;
    size_t at;
    struct vr_str message_id;
};

struct failures {
    struct reporter *reporter;
    struct failure *waiting[WAITING_MAX], *current;
    size_t first, count; /* of waiting, a ring */
    struct resolving_ask *ask;
    struct outbox outbox;
    struct io_timer *timer;
    uint64_t limited; /* not sent since the log was told */
    uint64_t number;
    struct window {
        char domain[DOMAIN_OCTETS + 1];
        int64_t since_us; /* of the first report in it */
        unsigned count;   /* 0: free */
    } windows[DOMAINS_MAX];
};

static void failure_free(struct failure *f)
{
    vr_arena_fini(&f->arena);
    free(f);
}

static void say(struct failures *all, enum event_level level, const char *name, struct vr_str to,
                const char *why)
{
    struct event_log *l = all->reporter->log;
    event_begin(l, level, name, why == NULL ? all->outbox.ask : 0);
    event_text(l, "kind", "failure");
    event_str(l, "domain", all->current->seen.message.header_from);
    if (to.n > 0)
        event_str(l, "to", to);
    if (why != NULL)
        event_text(l, "reason", why);
    event_end(l);
}

static void say_limited(void *arg)
{
    struct failures *all = arg;
    struct event_log *l = all->reporter->log;
    if (all->limited == 0)
        return;
    event_begin(l, EVENT_NOTICE, "report.limited", 0);
    event_text(l, "kind", "failure");
    event_u64(l, "messages", all->limited);
    event_text(
        l, "reason",
        "more than 10 of one organisation within an hour, or more than can wait: nothing is sent of these");
    event_end(l);
    all->limited = 0;
}

/* ---- limits ------------------------------------------------------------------------------------------------------------- */

static bool within_limit(struct failures *all, struct vr_str domain)
{
    int64_t now = io_now_us(all->reporter->io);
    struct window *w = NULL;
    for (size_t i = 0; i < DOMAINS_MAX; i++) {
        struct window *one = &all->windows[i];
        if (one->count > 0 && (now < one->since_us || now - one->since_us >= HOUR_US))
            one->count = 0;
        if (one->count > 0 && vr_str_equal_nocase(vr_str_from(one->domain), domain)) {
            one->count += one->count < PER_HOUR + 1;
            return one->count <= PER_HOUR;
        }
        if (one->count == 0 && w == NULL)
            w = one;
    }
    if (w == NULL || domain.n == 0 || domain.n > DOMAIN_OCTETS)
        return false;
    *w = (struct window){.since_us = now, .count = 1};
    memcpy(w->domain, domain.p, domain.n);
    return true;
}

/* ---- sending ------------------------------------------------------------------------------------------------------------ */

static void end(struct failures *all)
{
    failure_free(all->current);
    all->current = NULL;
}

static bool write_message(struct failures *all, struct vr_str to)
{
    const struct reporter *r = all->reporter;
    const struct failure *f = all->current;
    const struct failure_seen *s = &f->seen;
    const struct dmarc_failure failure = {.from = r->from,
                                          .to = to,
                                          .message_id = f->message_id,
                                          .time = io_now_us(r->io) / 1000000,
                                          .authserv_id = r->config->authserv_id,
                                          .kind = (enum dmarc_failure_kind)s->kind,
                                          .delivery = (enum dmarc_failure_delivery)s->delivery,
                                          .verdict = (enum dmarc_verdict)s->message.verdict,
                                          .domain = s->message.header_from,
                                          .source_ip = s->message.source_ip,
                                          .mail_from = s->mail_from,
                                          .arrival = s->message.time_us / 1000000,
                                          .dkim_aligned = s->message.dkim_aligned,
                                          .spf_aligned = s->message.spf_aligned,
                                          .spf_domain = s->message.spf_domain,
                                          .spf_result = s->message.spf_result,
                                          .spf_helo = s->message.spf_helo,
                                          .spf_record = s->spf_record,
                                          .dkim_domain = s->dkim_domain,
                                          .dkim_identity = s->dkim_identity,
                                          .dkim_selector = s->dkim_selector,
                                          .dkim_reason = s->dkim_reason,
                                          .dkim_verdict = (enum dkim_verdict)s->dkim_verdict,
                                          .header = s->header,
                                          .cut = s->cut};
    vr_buf_reset(&all->outbox.message);
    return dmarc_failure_write(&all->outbox.message, &failure);
}

static bool is_repeated(const struct dmarc_destinations *to, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (to->list[i].refused == NULL && vr_str_equal(to->list[i].address, to->list[at].address))
            return true;
    return false;
}

static void send_next(struct failures *all)
{
    struct failure *f = all->current;
    for (; f->at < f->to.count && f->at < REPORT_LIST_MAX; f->at++) {
        const struct dmarc_destination *d = &f->to.list[f->at];
        if (d->refused != NULL)
            say(all, EVENT_NOTICE, "report.refused", d->uri, d->refused);
        else if (is_repeated(&f->to, f->at))
            continue;
        else if (!write_message(all, d->address))
            say(all, EVENT_WARNING, "report.failed", d->address, "it could not be written");
        else if (d->max_octets > 0 && vr_buf_size(&all->outbox.message) > d->max_octets)
            say(all, EVENT_WARNING, "report.failed", d->address, "it is larger than the record allows");
        else {
            outbox_mail(&all->outbox, d->address, false, 0);
            return;
        }
    }
    end(all);
}

static void next(struct failures *all);

static void sent(void *arg, enum outcome o, const char *why)
{
    struct failures *all = arg;
    struct failure *f = all->current;
    say(all, o == SENT ? EVENT_INFO : EVENT_WARNING, o == SENT ? "report.sent" : "report.failed",
        f->to.list[f->at].address, why);
    f->at++;
    send_next(all);
    next(all);
}

/* ---- asking ------------------------------------------------------------------------------------------------------------- */

static void answered(void *arg, const struct dns_answer *answers, size_t n);

static void step(struct failures *all)
{
    struct failure *f = all->current;
    const struct dmarc_destinations_query q = {.method = (enum dmarc_method)f->seen.message.method,
                                               .domain = f->seen.message.policy_domain,
                                               .uris = f->record.ruf,
                                               .uri_count = f->record.ruf_count,
                                               .failure = true,
                                               .answers = f->answers,
                                               .answer_count = f->answer_count};
    bool good = dmarc_destinations(&q, &f->arena, &f->to) == VR_OK;
    if (!good || (f->to.state == DKIM_ASK && f->answer_count + f->to.question_count > ANSWERS_MAX)) {
        say(all, EVENT_WARNING, "report.failed", vr_str(NULL, 0),
            "its record names more addresses than are looked at");
        end(all);
    } else if (f->to.state == DKIM_ASK) {
        all->ask = resolving_ask(all->reporter->resolving, &f->arena, f->to.questions, f->to.question_count,
                                 DNS_TIMEOUT_MS, answered, all);
    } else {
        send_next(all);
    }
}

static void answered(void *arg, const struct dns_answer *answers, size_t n)
{
    struct failures *all = arg;
    struct failure *f = all->current;
    all->ask = NULL;
    for (size_t i = 0; i < n && f->answer_count < ANSWERS_MAX; i++)
        f->answers[f->answer_count++] = answers[i];
    step(all);
    next(all);
}

/* Without a keeper or a queue they wait: at the start, say, receivers may be heard before these are. */
static void next(struct failures *all)
{
    struct process *p = all->reporter->process;
    bool ready = process_peer(p, IPC_QUEUE) != NULL && process_peer(p, IPC_KEEPER) != NULL;
    while (ready && all->current == NULL && all->count > 0) {
        all->current = all->waiting[all->first];
        all->first = (all->first + 1) % WAITING_MAX;
        all->count--;
        step(all);
    }
}

/* ---- all of them --------------------------------------------------------------------------------------------------------- */

struct failures *failures_new(struct reporter *r)
{
    struct failures *all = calloc(1, sizeof *all);
    assert(all != NULL);
    all->reporter = r;
    outbox_init(&all->outbox, r, sent, all);
    all->outbox.null_path = true;
    all->timer = io_timer_new(r->io, say_limited, all);
    io_timer_start(all->timer, SAY_MS, SAY_MS);
    return all;
}

void failures_free(struct failures *all)
{
    if (all == NULL)
        return;
    say_limited(all);
    resolving_cancel(all->ask);
    outbox_fini(&all->outbox);
    io_timer_free(all->timer);
    if (all->current != NULL)
        end(all);
    for (; all->count > 0; all->count--, all->first = (all->first + 1) % WAITING_MAX)
        failure_free(all->waiting[all->first]);
    free(all);
}

void failures_next(struct failures *all)
{
    next(all);
}

struct outbox *failures_outbox(struct failures *all)
{
    return &all->outbox;
}

bool failures_take(struct failures *all, struct vr_str payload)
{
    struct reporter *r = all->reporter;
    struct failure *f = calloc(1, sizeof *f);
    assert(f != NULL);
    vr_arena_init(&f->arena, ARENA_MAX);
    struct ipc_reader reader = ipc_reader(vr_arena_dup(&f->arena, payload));
    const struct dmarc_seen *m = &f->seen.message;
    bool good = ipc_get_failure_seen(&reader, &f->arena, &f->seen) && ipc_done(&reader);
    bool wanted =
        good && dmarc_record_parse(&f->arena, m->record, &f->record) == VR_OK && f->record.ruf_count > 0;
    bool taken = wanted && all->count < WAITING_MAX && within_limit(all, m->organization);
    all->limited += wanted && !taken;
    f->message_id =
        vr_arena_printf(&f->arena, "%lld.%u.%llu.failure@%.*s", (long long)io_now_us(r->io), r->process->slot,
                        (unsigned long long)++all->number, VR_STR_ARG(r->from_domain));
    if (taken) {
        all->waiting[(all->first + all->count++) % WAITING_MAX] = f;
        next(all);
    } else {
        failure_free(f);
    }
    return good;
}
