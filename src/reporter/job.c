/* job.c - the reports of one domain and period, from "is anybody interested?" to the last destination.
 *
 * States:     ASK (record or consent, by the DNS) -> SEND, one destination after the other -> end: dropped when one of them took it or all refused for
 *             good, else postponed, up to REPORT_ATTEMPTS times (RFC 8460 §5.5: for a day)
 * Tests:      tests/unit/reporter.c, tests/e2e/test_reports.py
 */
#include "reporter/inside.h"

#include <veredus/message.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX      (64u << 20)
#define DNS_TIMEOUT_MS 30000
#define ANSWERS_MAX    512

struct destination {
    struct vr_str uri, address; /* address empty: the URI is https: */
    uint64_t max_octets;
};

struct job {
    struct reporter *reporter;
    struct counts_domain domain;
    struct vr_arena arena;
    struct dmarc_record record; /* DMARC */
    struct dns_answer answers[ANSWERS_MAX];
    size_t answer_count;
    struct resolving_ask *ask;
    struct destination list[REPORT_LIST_MAX];
    size_t count, at;
    struct content content;
    struct outbox outbox;
    bool sent, later; /* somebody took it; somebody may take it later */
};

/* ---- the end ----------------------------------------------------------------------------------------------------------- */

void job_free(struct job *j)
{
    resolving_cancel(j->ask);
    outbox_fini(&j->outbox);
    vr_buf_fini(&j->content.gzip);
    vr_arena_fini(&j->arena);
    if (j->reporter->job == j)
        j->reporter->job = NULL;
    free(j);
}

struct outbox *job_outbox(struct job *j)
{
    return &j->outbox;
}

static void say(struct job *j, enum event_level level, const char *name, struct vr_str to, const char *why)
{
    struct event_log *l = j->reporter->log;
    char begin[MESSAGE_RFC3339_SIZE];
    event_begin(l, level, name,
                j->outbox.step == OUT_IDLE && strcmp(name, "report.sent") == 0 && j->list[j->at].address.n > 0
                    ? j->outbox.ask
                    : 0);
    event_text(l, "kind", j->domain.kind == COUNTS_DMARC ? "dmarc" : "tls");
    event_str(l, "domain", j->domain.domain);
    event_str(l, "period", vr_str(begin, message_rfc3339_write(begin, j->domain.period * 1000000)));
    if (to.n > 0)
        event_str(l, "to", to);
    if (why != NULL)
        event_text(l, "reason", why);
    else
        event_u64(l, j->domain.kind == COUNTS_DMARC ? "messages" : "sessions", j->content.sessions);
    event_end(l);
}

static void job_ended(struct job *j)
{
    struct reporter *r = j->reporter;
    int64_t now = io_now_us(r->io) / 1000000;
    if (!j->sent && j->later && j->domain.attempts + 1 < REPORT_ATTEMPTS)
        counts_postpone(r->counts, &j->domain, now + (r->interval / 24 << j->domain.attempts) + 1);
    else {
        if (!j->sent && j->later)
            say(j, EVENT_WARNING, "report.given_up", vr_str(NULL, 0), "no destination took it in time");
        counts_drop(r->counts, &j->domain);
    }
    job_free(j);
    reporter_next(r);
}

/* ---- sending ------------------------------------------------------------------------------------------------------------ */

static void send_next(struct job *j);

static void sent(void *arg, enum outcome o, const char *why)
{
    struct job *j = arg;
    const struct destination *d = &j->list[j->at];
    j->sent = j->sent || o == SENT;
    j->later = j->later || o == LATER;
    say(j,
        o == SENT    ? EVENT_INFO
        : o == LATER ? EVENT_NOTICE
                     : EVENT_WARNING,
        o == SENT    ? "report.sent"
        : o == LATER ? "report.postponed"
                     : "report.failed",
        d->address.n > 0 ? d->address : d->uri, why);
    j->at++;
    send_next(j);
}

static void send_next(struct job *j)
{
    bool tls = j->domain.kind == COUNTS_TLS;
    for (; j->at < j->count; j->at++) {
        const struct destination *d = &j->list[j->at];
        if (d->address.n == 0) {
            outbox_post(&j->outbox, d->uri, vr_buf_str(&j->content.gzip));
            return;
        }
        if (!content_message(j->reporter, &j->domain, &j->content, d->address, &j->outbox.message)) {
            say(j, EVENT_WARNING, "report.failed", d->address, "it is too large for a message");
            continue;
        }
        if (d->max_octets > 0 && vr_buf_size(&j->outbox.message) > d->max_octets) {
            say(j, EVENT_WARNING, "report.failed", d->address, "it is larger than the record allows");
            continue;
        }
        /* a report about TLS that fails must arrive without it (RFC 8460 §3) */
        outbox_mail(&j->outbox, d->address, tls, tls ? ENVELOPE_TLS_OPTIONAL : 0);
        return;
    }
    job_ended(j);
}

static void send_all(struct job *j)
{
    if (j->count > 0 && !content_make(j->reporter, &j->arena, &j->domain, &j->record, &j->content)) {
        say(j, EVENT_WARNING, "report.failed", vr_str(NULL, 0), "it could not be written");
        j->count = 0;
    }
    send_next(j);
}

static void add(struct job *j, struct destination d)
{
    for (size_t i = 0; i < j->count; i++)
        if (vr_str_equal(j->list[i].address, d.address) && vr_str_equal(j->list[i].uri, d.uri))
            return;
    if (j->count < REPORT_LIST_MAX)
        j->list[j->count++] = d;
}

/* ---- asking ---------------------------------------------------------------------------------------------------------------- */

static void step(struct job *j);

static void answered(void *arg, const struct dns_answer *answers, size_t n)
{
    struct job *j = arg;
    j->ask = NULL;
    for (size_t i = 0; i < n && j->answer_count < ANSWERS_MAX; i++)
        j->answers[j->answer_count++] = answers[i];
    step(j);
}

static void ask(struct job *j, const struct dns_question *questions, size_t n)
{
    if (j->answer_count + n > ANSWERS_MAX) {
        say(j, EVENT_WARNING, "report.failed", vr_str(NULL, 0), "its record makes us ask the DNS too much");
        job_ended(j);
        return;
    }
    j->ask = resolving_ask(j->reporter->resolving, &j->arena, questions, n, DNS_TIMEOUT_MS, answered, j);
}

static void step_dmarc(struct job *j)
{
    struct dmarc_destinations d;
    const struct dmarc_destinations_query q = {.method = (enum dmarc_method)j->domain.method,
                                               .domain = j->domain.domain,
                                               .uris = j->record.rua,
                                               .uri_count = j->record.rua_count,
                                               .answers = j->answers,
                                               .answer_count = j->answer_count};
    if (dmarc_destinations(&q, &j->arena, &d) != VR_OK) {
        say(j, EVENT_WARNING, "report.failed", vr_str(NULL, 0),
            "its record names more addresses than are looked at");
        job_ended(j);
        return;
    }
    if (d.state == DKIM_ASK) {
        ask(j, d.questions, d.question_count);
        return;
    }
    for (size_t i = 0; i < d.count; i++) {
        j->later = j->later || d.list[i].temporary;
        if (d.list[i].refused != NULL)
            say(j, EVENT_NOTICE, "report.refused", d.list[i].uri, d.list[i].refused);
        else
            add(j, (struct destination){d.list[i].uri, d.list[i].address, d.list[i].max_octets});
    }
    send_all(j);
}

static void add_tls(struct job *j, struct vr_str uri)
{
    struct destination d = {.uri = uri};
    if (vr_str_starts_nocase(uri, VR_STR("https:")))
        add(j, d);
    else if (dmarc_mailto(&j->arena, uri, &d.address) == VR_OK)
        add(j, d);
    else
        say(j, EVENT_NOTICE, "report.refused", uri, "it is no address");
}

static void step_tls(struct job *j)
{
    struct tlsrpt_record record;
    struct dns_question q = tlsrpt_question(&j->arena, j->domain.domain);
    const struct dns_answer *a = dns_answer_find(j->answers, j->answer_count, q.name, q.type);
    if (a == NULL) {
        ask(j, &q, 1);
        return;
    }
    enum vr_err e = tlsrpt_find(&j->arena, a, &record);
    j->later = e == VR_ERR_STATE;
    for (size_t i = 0; e == VR_OK && i < record.rua_count; i++)
        add_tls(j, record.rua[i]);
    send_all(j);
}

static void step(struct job *j)
{
    if (j->domain.kind == COUNTS_TLS)
        step_tls(j);
    else
        step_dmarc(j);
}

bool job_begin(struct reporter *r)
{
    struct job *j = calloc(1, sizeof *j);
    assert(j != NULL);
    j->reporter = r;
    vr_arena_init(&j->arena, ARENA_MAX);
    vr_buf_init(&j->content.gzip, REPORT_MESSAGE_MAX);
    outbox_init(&j->outbox, r, sent, j);
    r->job = j;
    int64_t now = io_now_us(r->io) / 1000000;
    counts_commit(r->counts);
    while (counts_next(r->counts, now, now - r->delay, &j->arena, &j->domain)) {
        bool wanted = j->domain.kind == COUNTS_TLS ? r->config->reports.tls : r->config->reports.dmarc;
        if (wanted && j->domain.kind == COUNTS_DMARC)
            wanted = dmarc_record_parse(&j->arena, j->domain.record, &j->record) == VR_OK &&
                     j->record.rua_count > 0;
        if (wanted) {
            step(j);
            return true;
        }
        counts_drop(r->counts, &j->domain); /* nobody asked for it */
        vr_arena_reset(&j->arena);
    }
    job_free(j);
    return false;
}
