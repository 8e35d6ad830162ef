/* reporter.c - the process that counts what was seen of domains, and tells their owners once a day.
 *
 * Promise:    nobody waits for it: frames are counted or dropped, and none is answered. What was counted survives a restart (but for the last second,
 *             when the machine dies). A report is given up only when its counts were sent, or nobody wants them, or nobody took them for a day.
 * Rules:      (1) one domain at a time, each a job (job.c) (2) a reporter that drains begins none, and leaves the one under way: its counts stay, the next
 *             process makes it anew under the same id
 * Runs as:    the common user; its folder in `state`, and for https: certificates and the network (confinements[] of src/ipc/process.c).
 * Tests:      tests/unit/reporter.c, tests/e2e/test_reports.py
 */
#include "reporter/reporter.h"

#include "io/fs.h"
#include "reporter/inside.h"

#include <veredus/idn.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define TICK_MS   1000
#define DELAY_MAX (4 * 3600) /* seconds (RFC 8460 §4.1) */

static void trouble(struct process *p, const char *name, const char *error)
{
    event_begin(p->log, EVENT_ERROR, name, 0);
    event_text(p->log, "error", error);
    event_end(p->log);
}

static int prepare(struct process *p, void **data)
{
    struct reporter *r = calloc(1, sizeof *r);
    char error[256] = "";
    assert(r != NULL);
    *data = r;
    *r = (struct reporter){.process = p, .config = p->config, .io = p->io, .log = p->log};
    vr_arena_init(&r->arena, 65536);
    r->interval = p->config->reports.interval / 1000;
    if (p->config->reports.tls && (r->http = io_http_new(p->io, p->config->ca_file, error)) == NULL)
        trouble(p, "reporter.no_https", error); /* reports by mail go on */
    const struct config_reports *c = &p->config->reports;
    r->from = c->from.n > 0 ? c->from
                            : vr_arena_printf(&r->arena, "postmaster@%.*s", VR_STR_ARG(p->config->hostname));
    size_t at = vr_str_find_last(r->from, '@');
    if (idn_to_ascii(&r->arena, vr_str_from_pos(r->from, at + 1), &r->from_domain) != VR_OK)
        r->from_domain = p->config->hostname;
    r->organization = c->organization.n > 0 ? c->organization : r->from_domain;
    r->resolving = resolving_new(p);
    return 0;
}

/* ---- reporting -------------------------------------------------------------------------------------------------------- */

void reporter_next(struct reporter *r)
{
    if (r->job == NULL && !r->process->draining && process_peer(r->process, IPC_QUEUE) != NULL)
        job_begin(r);
}

static void tick(void *arg)
{
    struct reporter *r = arg;
    if (r->counts == NULL) /* the last turn of the loop */
        return;
    counts_commit(r->counts);
    if (r->ignored > 0) {
        event_begin(r->log, EVENT_NOTICE, "reporter.ignored", 0);
        event_u64(r->log, "frames", r->ignored);
        event_text(
            r->log, "reason",
            "they were beyond what is counted of a domain, or nonsense, or the disk did not take them");
        event_end(r->log);
        r->ignored = 0;
    }
    reporter_next(r);
}

static void start(struct process *p)
{
    struct reporter *r = p->data;
    char path[400], error[256];
    uint32_t random;
    if (p->config->reports.failures)
        r->failures = failures_new(r);
    snprintf(path, sizeof path, "%s/reports/counts.db", p->config->state);
    r->counts = counts_open(path, error); /* as the user that it runs as */
    if (r->counts == NULL) {              /* mail goes on: nothing is counted until somebody mends it */
        trouble(p, "reporter.no_counts", error);
        return;
    }
    io_random(p->io, &random, sizeof random);
    int64_t spread = r->interval / 6 < DELAY_MAX ? r->interval / 6 : DELAY_MAX;
    r->delay = 1 + (spread > 0 ? random % spread : 0);
    r->tick = io_timer_new(p->io, tick, r);
    io_timer_start(r->tick, TICK_MS, TICK_MS);
}

/* ---- counting ------------------------------------------------------------------------------------------------------------ */

static int64_t period_of(const struct reporter *r, int64_t time_us)
{
    int64_t now = io_now_us(r->io),
            at = time_us > now || time_us < now - r->interval * 1000000 ? now : time_us;
    return at / 1000000 / r->interval * r->interval;
}

static bool seen(struct reporter *r, uint16_t type, struct vr_str payload)
{
    struct ipc_reader reader = ipc_reader(payload);
    struct vr_arena arena;
    struct dmarc_seen d;
    struct tls_seen t;
    bool dmarc = type == IPC_DMARC_SEEN, counted = true;
    vr_arena_init(&arena, SEEN_MAX);
    bool good = dmarc ? ipc_get_dmarc_seen(&reader, &arena, &d) : ipc_get_tls_seen(&reader, &arena, &t);
    good = good && ipc_done(&reader);
    if (r->counts == NULL) /* there is no data base, or this is the last turn of the loop */
        counted = true;
    else if (good && dmarc && r->config->reports.dmarc)
        counted = counts_dmarc(r->counts, period_of(r, d.time_us), r->interval, &d);
    else if (good && !dmarc && r->config->reports.tls)
        counted = counts_tls(r->counts, period_of(r, t.time_us), r->interval, &t);
    r->ignored += !counted;
    vr_arena_fini(&arena);
    return good;
}

/* ---- the process ------------------------------------------------------------------------------------------------------------ */

static void frame(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd)
{
    struct reporter *r = p->data;
    if (fd >= 0)
        io_fs_close(fd);
    switch (type) {
    case IPC_DNS_ANSWERS:
        resolving_frame(r->resolving, payload);
        return;
    case IPC_SIGNERS:
    case IPC_SIGNED:
    case IPC_SUBMITTED:
        if (r->job != NULL) /* each knows its own answers by their numbers */
            outbox_frame(job_outbox(r->job), type, payload);
        if (r->failures != NULL)
            outbox_frame(failures_outbox(r->failures), type, payload);
        return;
    case IPC_FAILURE_SEEN:
        if (r->failures == NULL || failures_take(r->failures, payload))
            return;
        break;
    default:
        if (seen(r, type, payload))
            return;
        break;
    }
    event_begin(p->log, EVENT_ERROR, "reporter.malformed_frame", 0);
    event_text(p->log, "from", ipc_role_name(peer->role));
    event_u64(p->log, "type", type);
    event_end(p->log);
}

static void attached(struct process *p, struct peer *peer)
{
    struct reporter *r = p->data;
    if (peer->role == IPC_RESOLVER)
        resolving_attached(r->resolving);
    if (r->failures != NULL)
        failures_next(r->failures);
}

static void detached(struct process *p, struct peer *peer)
{
    struct reporter *r = p->data;
    if (peer->role == IPC_RESOLVER)
        resolving_lost(r->resolving, peer);
    if (r->job != NULL)
        outbox_lost(job_outbox(r->job), peer->role);
    if (r->failures != NULL)
        outbox_lost(failures_outbox(r->failures), peer->role);
}

/* What senders say while they drain is still counted: the supervisor drains this process after them when the server stops. */
static void drain(struct process *p, int64_t deadline_ms)
{
    struct reporter *r = p->data;
    (void)deadline_ms;
    if (r->job != NULL)
        job_free(r->job);
    failures_free(r->failures);
    r->failures = NULL;
    counts_close(r->counts);
    r->counts = NULL;
    process_exit(p, 0);
}

const struct process_ops reporter_ops = {
    .role = IPC_REPORTER,
    .worker_threads = 1,
    .prepare = prepare,
    .start = start,
    .frame = frame,
    .attached = attached,
    .detached = detached,
    .drain = drain,
};
