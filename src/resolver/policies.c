/* policies.c - see policies.h.
 *
 * Promise:    each question is answered once. A policy that was fetched and has not expired holds, whatever happens to DNS, policy host or this process (RFC 8461 §3.3).
 * States:     of a lookup: LOADING (its file) -> DECIDING (record, addresses of the policy host, fetch) -> answered -> STORING, if there is something new -> gone.
 *             Questions about a domain that is looked up already join it until it has answered.
 * Files:      <state>/mta-sts/<domain>, written aside and renamed; old ones are refreshed once a day while mail uses them, expired ones removed [sweep].
 * Runs in:    resolver. Files are read and written by a worker thread.
 * Tests:      tests/unit/resolver_policies.c, tests/e2e/test_transport.py
 */
#include "resolver/policies.h"

#include "io/fs.h"
#include "io/http.h"
#include "ipc/answers.h"
#include "resolver/policy_file.h"

#include <veredus/address.h>

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define FETCH_MS        30000
#define LOOKUP_ARENA    (1u << 20)
#define ADDRESSES_MAX   8 /* of the policy host, of each family */
#define FAILURES_MAX    256
#define DAY             86400
#define USED_FOR        (14 * DAY) /* a policy that no mail asked for is not refreshed longer */
#define FIRST_SWEEP_MS  10000
#define SWEEP_MS        3600000
#define REFRESHES_MAX   32 /* of one sweep */
#define PATH_MAX_LENGTH 1400

struct waiter {
    struct peer *peer;
    uint64_t ask;
    TAILQ_ENTRY(waiter) entry;
};

enum state { LOADING, DECIDING, STORING };

struct lookup {
    struct policies *owner;
    enum state state;
    bool refresh;
    char domain[256];
    TAILQ_HEAD(waiter_list, waiter) waiters;
    struct vr_arena arena;
    /* its file; the worker's while LOADING and STORING */
    char path[PATH_MAX_LENGTH];
    struct vr_buf file;
    int file_status;
    /* what is known */
    struct policy_file kept;
    bool has_kept;
    struct dns_question question;
    struct dns_answer record;
    bool has_record;
    struct vr_str url;
    char host[272];
    struct io_dns_query *queries[2];
    struct dns_answer addresses[2];
    unsigned open;
    struct io_http_call *call;
    struct mtasts_fetched fetched;
    bool has_fetched;
    TAILQ_ENTRY(lookup) entry;
};

struct failure {
    char domain[256];
    char id[MTASTS_ID_MAX + 1];
    int64_t failed_at;
};

struct policies {
    struct process *process;
    struct io_dns *dns;
    struct io_http *http; /* NULL: sending.mta_sts is no */
    TAILQ_HEAD(lookup_list, lookup) lookups;
    size_t lookup_count;
    struct failure failures[FAILURES_MAX]; /* a ring */
    size_t failure_at;
    struct io_timer *timer;
    char folder[PATH_MAX_LENGTH - 260];
    void (*idle)(void *arg);
    void *arg;
    /* the sweep, the worker's while it runs */
    bool sweeping;
    int64_t sweep_now;
    char due[REFRESHES_MAX][256];
    size_t due_count;
};

static int64_t now_s(const struct policies *s)
{
    return io_now_us(s->process->io) / 1000000;
}

static void event_for(struct lookup *l, enum event_level level, const char *name)
{
    event_begin(l->owner->process->log, level, name, 0);
    event_text(l->owner->process->log, "domain", l->domain);
}

/* ---- failures: the host is left alone for a while --------------------------------------------------------------------- */

static struct failure *failure_of(struct policies *s, const char *domain)
{
    for (size_t i = 0; i < FAILURES_MAX; i++)
        if (strcmp(s->failures[i].domain, domain) == 0)
            return &s->failures[i];
    return NULL;
}

static void failure_note(struct policies *s, const char *domain, struct vr_str id)
{
    struct failure *f = failure_of(s, domain);
    if (f == NULL)
        f = &s->failures[s->failure_at++ % FAILURES_MAX];
    snprintf(f->domain, sizeof f->domain, "%s", domain);
    snprintf(f->id, sizeof f->id, "%.*s", VR_STR_ARG(id));
    f->failed_at = now_s(s);
}

/* ---- the end of a lookup ------------------------------------------------------------------------------------------------ */

static void lookup_free(struct lookup *l)
{
    struct policies *s = l->owner;
    struct waiter *w;
    while ((w = TAILQ_FIRST(&l->waiters)) != NULL) {
        TAILQ_REMOVE(&l->waiters, w, entry);
        free(w);
    }
    TAILQ_REMOVE(&s->lookups, l, entry);
    s->lookup_count--;
    vr_buf_fini(&l->file);
    vr_arena_fini(&l->arena);
    free(l);
    if (policies_idle(s))
        s->idle(s->arg);
}

static void reply(struct peer *peer, uint64_t ask, enum ipc_sts status, struct vr_str id,
                  struct vr_str policy, struct vr_str why)
{
    struct vr_buf *b = process_frame(peer->process);
    ipc_put_u64(b, ask);
    ipc_put_u8(b, (uint8_t)status);
    ipc_put_str(b, id);
    ipc_put_str(b, policy);
    ipc_put_str(b, why);
    peer_send(peer, IPC_STS_POLICY, b, -1);
}

static void answer_all(struct lookup *l, enum ipc_sts status, struct vr_str id, struct vr_str policy,
                       struct vr_str why)
{
    struct waiter *w;
    while ((w = TAILQ_FIRST(&l->waiters)) != NULL) {
        TAILQ_REMOVE(&l->waiters, w, entry);
        reply(w->peer, w->ask, status, id, policy, why);
        free(w);
    }
}

static void answer_later(struct lookup *l, struct vr_str why)
{
    answer_all(l, IPC_STS_LATER, VR_STR(""), VR_STR(""), why);
    lookup_free(l);
}

/* ---- files ---------------------------------------------------------------------------------------------------------------- */

static void store_work(void *arg)
{
    struct lookup *l = arg;
    l->file_status = io_fs_replace_file(l->path, vr_buf_str(&l->file), 0600);
}

static void store_done(void *arg)
{
    struct lookup *l = arg;
    if (l->file_status < 0) {
        event_for(l, EVENT_ERROR, "sts.not_kept");
        event_text(l->owner->process->log, "file", l->path);
        event_text(l->owner->process->log, "error", io_error_text(l->file_status));
        event_text(l->owner->process->log, "next", "the policy is fetched again for the next message");
        event_end(l->owner->process->log);
    }
    lookup_free(l);
}

static void store(struct lookup *l, const struct policy_file *f)
{
    vr_buf_reset(&l->file);
    if (!policy_file_write(&l->file, f)) { /* cannot be: it was read by the same rules */
        lookup_free(l);
        return;
    }
    l->state = STORING;
    io_work(l->owner->process->io, store_work, store_done, l);
}

/* ---- deciding ------------------------------------------------------------------------------------------------------------- */

static void decide(struct lookup *l);

static void record_came(void *arg, const struct io_dns_answer *a)
{
    struct lookup *l = arg;
    l->queries[0] = NULL;
    l->record = dns_answer_from(&l->arena, l->question, a);
    l->has_record = true;
    decide(l);
}

static void ask_record(struct lookup *l, const struct dns_question *q)
{
    l->question = (struct dns_question){vr_arena_dup(&l->arena, q->name), q->type};
    l->queries[0] = io_dns_ask(l->owner->dns, l->question.name, (enum io_dns_type)q->type, record_came, l);
}

static void fetch_failed(struct lookup *l, const char *why)
{
    l->fetched = (struct mtasts_fetched){.error = vr_arena_dup(&l->arena, vr_str_from(why))};
    l->has_fetched = true;
    decide(l);
}

static void policy_came(void *arg, const struct io_http_answer *a)
{
    struct lookup *l = arg;
    l->call = NULL;
    if (a->status == 0) {
        fetch_failed(l, a->error);
        return;
    }
    l->fetched =
        (struct mtasts_fetched){.status = a->status,
                                .content_type = vr_arena_dup(&l->arena, vr_str_from(a->content_type)),
                                .body = vr_arena_dup(&l->arena, a->body)};
    l->has_fetched = true;
    decide(l);
}

static size_t add_addresses(struct vr_buf *out, const struct dns_answer *a)
{
    size_t n = 0;
    for (; a->status == DNS_STATUS_OK && n < a->count && n < ADDRESSES_MAX; n++) {
        const struct dns_address *from = &a->records[n].address;
        struct io_address address = {.family = from->family == 4 ? IO_INET : IO_INET6};
        char text[IO_ADDRESS_TEXT];
        memcpy(address.ip, from->ip, sizeof address.ip);
        io_address_ip_text(&address, text);
        vr_buf_addf(out, from->family == 4 ? ",%s" : ",[%s]", text);
    }
    return n;
}

/* libcurl is told where the host is: by the same DNS as everything else. */
static void fetch(struct lookup *l)
{
    struct policies *s = l->owner;
    struct vr_buf at, list;
    char where[IO_HTTP_RESOLVE_MAX];
    vr_buf_init(&list, sizeof where);
    size_t n = add_addresses(&list, &l->addresses[1]) + add_addresses(&list, &l->addresses[0]);
    at = list;
    if (n > 0)
        vr_buf_consume(&at, 1);
    snprintf(where, sizeof where, "%s:%u:%.*s", l->host, (unsigned)s->process->config->mta_sts_port,
             VR_STR_ARG(vr_buf_str(&at)));
    vr_buf_fini(&list);
    if (n == 0) {
        bool failed =
            l->addresses[0].status == DNS_STATUS_FAILED || l->addresses[1].status == DNS_STATUS_FAILED;
        fetch_failed(l, failed ? "the DNS does not answer for the addresses of its host"
                               : "its host has no address in the DNS");
        return;
    }
    struct io_http_request r = {.url = l->url.p,
                                .resolve = where,
                                .accept = "text/plain",
                                .timeout_ms = FETCH_MS,
                                .answer_max = MTASTS_POLICY_MAX};
    l->call = io_http_ask(s->http, &r, policy_came, l);
    if (l->call == NULL)
        fetch_failed(l, "too many policies are fetched at this time");
}

static void address_came(struct lookup *l, size_t i, enum dns_type type, const struct io_dns_answer *a)
{
    l->queries[i] = NULL;
    l->addresses[i] = dns_answer_from(&l->arena, (struct dns_question){vr_str_from(l->host), type}, a);
    if (--l->open == 0)
        fetch(l);
}

static void v4_came(void *arg, const struct io_dns_answer *a)
{
    address_came(arg, 0, DNS_TYPE_A, a);
}

static void v6_came(void *arg, const struct io_dns_answer *a)
{
    address_came(arg, 1, DNS_TYPE_AAAA, a);
}

static void find_host(struct lookup *l, struct vr_str url)
{
    l->url = vr_arena_dup(&l->arena, url); /* with a NUL behind it */
    snprintf(l->host, sizeof l->host, "mta-sts.%s", l->domain);
    l->open = 2;
    l->queries[0] = io_dns_ask(l->owner->dns, vr_str_from(l->host), IO_DNS_A, v4_came, l);
    l->queries[1] = io_dns_ask(l->owner->dns, vr_str_from(l->host), IO_DNS_AAAA, v6_came, l);
}

static void tell(struct lookup *l, const struct mtasts_result *r)
{
    struct event_log *log = l->owner->process->log;
    bool applies = r->verdict == MTASTS_APPLY;
    if (r->fresh) {
        event_for(l, EVENT_INFO, "sts.fetched");
        event_str(log, "id", r->id);
        event_text(log, "mode", mtasts_mode_name(r->policy.mode));
        event_u64(log, "max_age", r->policy.max_age);
        event_end(log);
    } else if (r->failed) {
        event_for(l, EVENT_NOTICE, "sts.failed");
        event_str(log, "error", r->text);
        event_text(log, "next",
                   applies ? "the policy that is kept holds until it expires"
                           : "mail goes as to a domain without MTA-STS (RFC 8461, 3.3)");
        event_end(log);
    }
}

static void conclude(struct lookup *l, const struct mtasts_result *r)
{
    struct policies *s = l->owner;
    bool asked = !TAILQ_EMPTY(&l->waiters);
    struct vr_buf text;
    tell(l, r);
    if (r->failed)
        failure_note(s, l->domain, r->failed_id);
    vr_buf_init(&text, MTASTS_POLICY_MAX * 2);
    if (r->verdict == MTASTS_APPLY && !mtasts_policy_write(&text, &r->policy)) {
        vr_buf_fini(&text);
        answer_later(l, VR_STR("the policy is too large"));
        return;
    }
    answer_all(l,
               r->verdict == MTASTS_APPLY ? IPC_STS_FOUND
               : r->unsure                ? IPC_STS_UNSURE
                                          : IPC_STS_NONE,
               r->id, vr_buf_str(&text), r->text);
    vr_buf_fini(&text);
    struct policy_file f = l->kept;
    int64_t now = now_s(s);
    if (r->fresh)
        f = (struct policy_file){{r->id, now, r->policy}, asked || !l->has_kept ? now : l->kept.used_at};
    else if (r->verdict == MTASTS_APPLY && asked && now - f.used_at >= DAY)
        f.used_at = now;
    else {
        lookup_free(l);
        return;
    }
    store(l, &f);
}

static void decide(struct lookup *l)
{
    const struct failure *f = failure_of(l->owner, l->domain);
    struct mtasts_failure failure = {0};
    struct mtasts_query q = {.domain = vr_str_from(l->domain),
                             .now = now_s(l->owner),
                             .port = l->owner->process->config->mta_sts_port,
                             .refresh = l->refresh,
                             .answers = &l->record,
                             .answer_count = l->has_record,
                             .known = l->has_kept ? &l->kept.known : NULL,
                             .fetched = l->has_fetched ? &l->fetched : NULL};
    struct mtasts_result r;
    if (q.port == 443)
        q.port = 0;
    if (f != NULL) {
        failure = (struct mtasts_failure){vr_str_from(f->id), f->failed_at};
        q.failure = &failure;
    }
    if (mtasts_decide(&q, &l->arena, &r) != VR_OK)
        answer_later(l, VR_STR("the policy or the answers of the DNS are too large"));
    else if (r.verdict == MTASTS_ASK)
        ask_record(l, &r.question);
    else if (r.verdict == MTASTS_FETCH)
        find_host(l, r.url);
    else
        conclude(l, &r);
}

/* ---- the beginning of a lookup ---------------------------------------------------------------------------------------------- */

static void load_work(void *arg)
{
    struct lookup *l = arg;
    l->file_status = io_fs_read_file(l->path, &l->file);
}

static void load_done(void *arg)
{
    struct lookup *l = arg;
    struct event_log *log = l->owner->process->log;
    l->state = DECIDING;
    if (l->file_status < 0 && l->file_status != -ENOENT) { /* an enforced policy may stand there */
        event_for(l, EVENT_ERROR, "sts.unreadable");
        event_text(log, "file", l->path);
        event_text(log, "error", io_error_text(l->file_status));
        event_text(log, "next", "mail for the domain waits");
        event_end(log);
        answer_later(l, VR_STR("the policy that is kept cannot be read"));
        return;
    }
    if (l->file_status >= 0) {
        struct vr_str text = vr_arena_dup(&l->arena, vr_buf_str(&l->file));
        l->has_kept = policy_file_parse(&l->arena, text, &l->kept);
        if (!l->has_kept) {
            event_for(l, EVENT_ERROR, "sts.damaged");
            event_text(log, "file", l->path);
            event_text(log, "next", "the policy is fetched again");
            event_end(log);
        }
    }
    decide(l);
}

static struct lookup *lookup_new(struct policies *s, const char *domain, bool refresh)
{
    struct lookup *l = calloc(1, sizeof *l);
    assert(l != NULL);
    l->owner = s;
    l->refresh = refresh;
    snprintf(l->domain, sizeof l->domain, "%s", domain);
    snprintf(l->path, sizeof l->path, "%s/%s", s->folder, domain);
    TAILQ_INIT(&l->waiters);
    vr_arena_init(&l->arena, LOOKUP_ARENA);
    vr_buf_init(&l->file, POLICY_FILE_MAX);
    TAILQ_INSERT_TAIL(&s->lookups, l, entry);
    s->lookup_count++;
    io_work(s->process->io, load_work, load_done, l);
    return l;
}

static struct lookup *lookup_of(struct policies *s, const char *domain)
{
    struct lookup *l;
    TAILQ_FOREACH(l, &s->lookups, entry)
    {
        if (l->state != STORING && strcmp(l->domain, domain) == 0)
            return l;
    }
    return NULL;
}

bool policies_ask(struct policies *s, struct peer *peer, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    uint64_t ask = ipc_get_u64(&r);
    struct vr_str domain = ipc_get_str(&r), none = VR_STR("");
    char name[256] = "";
    if (!ipc_done(&r))
        return false;
    if (s->http == NULL || domain.n >= sizeof name ||
        !address_domain_valid(domain, 0)) { /* a literal has none */
        reply(peer, ask, IPC_STS_NONE, none, none, none);
        return true;
    }
    for (size_t i = 0; i < domain.n; i++)
        name[i] = vr_lower(domain.p[i]);
    struct lookup *l = lookup_of(s, name);
    if (l == NULL && s->lookup_count >= POLICIES_LOOKUPS_MAX) {
        reply(peer, ask, IPC_STS_LATER, none, none, VR_STR("too many policies are looked for at this time"));
        return true;
    }
    if (l == NULL)
        l = lookup_new(s, name, false);
    struct waiter *w = calloc(1, sizeof *w);
    assert(w != NULL);
    w->peer = peer;
    w->ask = ask;
    TAILQ_INSERT_TAIL(&l->waiters, w, entry);
    return true;
}

void policies_forget(struct policies *s, const struct peer *peer)
{
    struct lookup *l;
    struct waiter *w, *next;
    TAILQ_FOREACH(l, &s->lookups, entry)
    {
        for (w = TAILQ_FIRST(&l->waiters); w != NULL; w = next) {
            next = TAILQ_NEXT(w, entry);
            if (w->peer != peer)
                continue;
            TAILQ_REMOVE(&l->waiters, w, entry);
            free(w);
        }
    }
}

bool policies_idle(const struct policies *s)
{
    return s->lookup_count == 0 && !s->sweeping;
}

/* ---- looking after what is kept ------------------------------------------------------------------------------------------------ */

static bool sweep_file(void *arg, const char *name)
{
    struct policies *s = arg;
    char path[PATH_MAX_LENGTH];
    struct vr_buf text;
    struct vr_arena arena;
    struct policy_file f;
    if (!address_domain_valid(vr_str_from(name), 0)) /* one that is being written */
        return true;
    snprintf(path, sizeof path, "%s/%.255s", s->folder, name);
    vr_buf_init(&text, POLICY_FILE_MAX);
    vr_arena_init(&arena, LOOKUP_ARENA);
    if (io_fs_read_file(path, &text) >= 0 && policy_file_parse(&arena, vr_buf_str(&text), &f)) {
        int64_t age = s->sweep_now - f.known.fetched_at;
        if (age >= (int64_t)f.known.policy.max_age)
            io_fs_unlink(path);
        else if (age >= MTASTS_REFRESH_AFTER && s->sweep_now - f.used_at < USED_FOR)
            snprintf(s->due[s->due_count++], sizeof s->due[0], "%.255s", name);
    }
    vr_arena_fini(&arena);
    vr_buf_fini(&text);
    return s->due_count < REFRESHES_MAX;
}

static void sweep_work(void *arg)
{
    struct policies *s = arg;
    io_fs_list(s->folder, sweep_file, s);
}

static void sweep_done(void *arg)
{
    struct policies *s = arg;
    s->sweeping = false;
    for (size_t i = 0; i < s->due_count && !s->process->draining; i++)
        if (lookup_of(s, s->due[i]) == NULL)
            lookup_new(s, s->due[i], true);
    if (policies_idle(s))
        s->idle(s->arg);
}

static void sweep(void *arg)
{
    struct policies *s = arg;
    if (s->sweeping || s->process->draining)
        return;
    s->sweeping = true;
    s->sweep_now = now_s(s);
    s->due_count = 0;
    io_work(s->process->io, sweep_work, sweep_done, s);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------ */

struct policies *policies_new(struct process *p, struct io_dns *dns, void (*idle)(void *arg), void *arg,
                              char error[256])
{
    struct policies *s = calloc(1, sizeof *s);
    assert(s != NULL);
    *s = (struct policies){.process = p, .dns = dns, .idle = idle, .arg = arg};
    TAILQ_INIT(&s->lookups);
    snprintf(s->folder, sizeof s->folder, "%.*s/mta-sts", (int)(sizeof s->folder - 9), p->config->state);
    if (p->config->mta_sts && (s->http = io_http_new(p->io, p->config->ca_file, error)) == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

void policies_start(struct policies *s)
{
    if (s->http == NULL)
        return;
    s->timer = io_timer_new(s->process->io, sweep, s);
    io_timer_start(s->timer, FIRST_SWEEP_MS, SWEEP_MS);
}
