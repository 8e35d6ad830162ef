/* web.c - serves https://mta-sts.DOMAIN/.well-known/mta-sts.txt for our own domains, and nothing else.
 *
 * Promise:    what is served was made before the first byte of a stranger was heard; nothing of a request reaches a file, a path or another
 *             process: this one speaks with nobody.
 * Bounds:     VISITORS_MAX connections, VISITORS_EACH of one address, HEAD_MS for handshake and request, WEB_HEAD_MAX octets. One answer a connection.
 * Runs as:    the common user, no file system, no new sockets; only when a `listen` has role = mta-sts.
 * Tests:      tests/unit/web_request.c, tests/e2e/test_mta_sts_served.py
 *
 * Not libmicrohttpd: it has sockets and TLS (GnuTLS) of its own, so that certificates would have to be chosen and exchanged in a second way, and
 * nothing of it would go through src/io.
 */
#include "web/web.h"

#include "config/certificates.h"
#include "config/published.h"
#include "io/stream.h"
#include "io/tls.h"
#include "web/request.h"

#include <veredus/message.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define VISITORS_MAX  512
#define VISITORS_EACH 16
#define HEAD_MS       10000
#define LINGER_MS     2000
#define SWEEP_MS      1000
#define POLICY_PATH   "/.well-known/mta-sts.txt"
#define POLICY_MAX    (64u << 10)

struct policy {
    struct vr_str domain; /* A-labels */
    struct vr_buf text;
};

struct place { /* a listener */
    struct web *web;
    struct io_listener *listener;
    bool tls;
};

struct visitor {
    struct place *place;
    struct io_stream *stream;
    struct io_address address;
    struct vr_buf head;
    size_t searched;
    int64_t deadline_ms;
    LIST_ENTRY(visitor) entry;
};

struct web {
    struct process *process;
    struct io_tls *tls; /* NULL: nobody needs it */
    struct policy *policies;
    size_t policy_count;
    struct place *places;
    LIST_HEAD(visitor_list, visitor) visitors;
    size_t visitor_count;
    struct io_timer *sweep;
};

/* ---- visitors ------------------------------------------------------------------------------------------------------ */

static void exit_when_idle(struct web *w)
{
    if (w->process->draining && w->visitor_count == 0)
        process_exit(w->process, 0);
}

static void visitor_end(struct visitor *v)
{
    struct web *w = v->place->web;
    io_stream_finish(v->stream, LINGER_MS);
    LIST_REMOVE(v, entry);
    w->visitor_count--;
    vr_buf_fini(&v->head);
    free(v);
    exit_when_idle(w);
}

static const char *reason_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } rows[] = {{200, "OK"},
                {400, "Bad Request"},
                {404, "Not Found"},
                {405, "Method Not Allowed"},
                {431, "Request Header Fields Too Large"},
                {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status)
            return rows[i].text;
    return "Error";
}

static void answer(struct visitor *v, unsigned status, bool head, struct vr_str body)
{
    struct vr_buf out;
    char date[MESSAGE_DATE_SIZE];
    size_t n = message_date_write(date, io_now_us(v->place->web->process->io) / 1000000, 0);
    vr_buf_init(&out, POLICY_MAX + 1024);
    vr_buf_addf(&out, "HTTP/1.1 %u %s\r\n", status, reason_of(status));
    vr_buf_addf(&out, "Date: %.*s GMT\r\n", (int)(n > 6 ? n - 6 : 0),
                date); /* RFC 9110 §5.6.7: the zone by name */
    vr_buf_addf(&out, "Content-Type: text/plain\r\nContent-Length: %zu\r\n", body.n);
    if (status == 405)
        vr_buf_add(&out, VR_STR("Allow: GET, HEAD\r\n"));
    vr_buf_add(&out, VR_STR("Connection: close\r\n\r\n"));
    if (!head)
        vr_buf_add(&out, body);
    io_stream_write(v->stream, vr_buf_str(&out));
    vr_buf_fini(&out);
}

static const struct policy *find(const struct web *w, struct vr_str host)
{
    const struct vr_str begin = VR_STR("mta-sts.");
    if (!vr_str_starts_nocase(host, begin))
        return NULL;
    struct vr_str domain = vr_str_from_pos(host, begin.n);
    if (domain.n > 0 && domain.p[domain.n - 1] == '.')
        domain.n--;
    for (size_t i = 0; i < w->policy_count; i++)
        if (vr_str_equal_nocase(w->policies[i].domain, domain))
            return &w->policies[i];
    return NULL;
}

static void tell(struct visitor *v, struct vr_str host, unsigned status)
{
    struct event_log *log = v->place->web->process->log;
    char client[IO_ADDRESS_TEXT];
    io_address_ip_text(&v->address, client);
    event_begin(log, status == 200 ? EVENT_INFO : EVENT_DEBUG,
                status == 200 ? "policy.served" : "policy.refused", 0);
    event_text(log, "client", client);
    event_str(log, "host", host);
    event_u64(log, "status", status);
    event_end(log);
}

static void respond(struct visitor *v, struct vr_str head)
{
    struct web_request r;
    struct io_tls_info info;
    web_request_parse(head, &r);
    if (r.status == 0 && r.host.n == 0 && io_stream_tls_info(v->stream, &info))
        r.host = vr_str_from(info.server_name);
    const struct policy *p =
        r.status == 0 && vr_str_equal(r.path, VR_STR(POLICY_PATH)) ? find(v->place->web, r.host) : NULL;
    unsigned status = r.status != 0 ? r.status : p != NULL ? 200 : 404;
    answer(v, status, r.head, p != NULL ? vr_buf_str(&p->text) : VR_STR("there is no policy here\n"));
    tell(v, r.host, status);
    visitor_end(v);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct visitor *v = arg;
    size_t room = WEB_HEAD_MAX - vr_buf_size(&v->head);
    vr_buf_add(&v->head, vr_str_sub(bytes, 0, room)); /* what stands behind the head is not ours to answer */
    struct vr_str all = vr_buf_str(&v->head);
    size_t end = web_head_end(all, v->searched);
    v->searched = all.n;
    if (end != VR_NPOS) {
        respond(v, vr_str_sub(all, 0, end));
    } else if (all.n == WEB_HEAD_MAX) {
        answer(v, 431, false, VR_STR("the request is too long\n"));
        tell(v, vr_str(NULL, 0), 431);
        visitor_end(v);
    }
}

static void on_ended(void *arg, int status)
{
    (void)status;
    visitor_end(arg);
}

static void on_secured(void *arg, int status)
{
    if (status != 0)
        visitor_end(arg);
}

static const struct io_stream_ops visitor_ops = {.data = on_data, .ended = on_ended, .secured = on_secured};

static size_t count_from(const struct web *w, const struct io_address *address)
{
    const struct visitor *v;
    size_t n = 0;
    LIST_FOREACH(v, &w->visitors, entry)
    {
        n += v->address.family == address->family &&
             memcmp(v->address.ip, address->ip, sizeof address->ip) == 0;
    }
    return n;
}

static void accepted(void *arg, struct io_stream *stream)
{
    struct place *place = arg;
    struct web *w = place->web;
    struct io_address address;
    io_stream_peer(stream, &address);
    /* A reverse proxy has one address for all that it speaks for. */
    if (w->visitor_count >= VISITORS_MAX || (place->tls && count_from(w, &address) >= VISITORS_EACH)) {
        io_stream_close(stream);
        return;
    }
    struct visitor *v = calloc(1, sizeof *v);
    assert(v != NULL);
    *v = (struct visitor){.place = place,
                          .stream = stream,
                          .address = address,
                          .deadline_ms = io_monotonic_ms(w->process->io) + HEAD_MS};
    vr_buf_init(&v->head, WEB_HEAD_MAX);
    LIST_INSERT_HEAD(&w->visitors, v, entry);
    w->visitor_count++;
    io_stream_set(stream, &visitor_ops, v);
    if (place->tls)
        io_stream_start_tls(stream, w->tls, IO_TLS_OPPORTUNISTIC, vr_str(NULL, 0));
}

static void sweep(void *arg)
{
    struct web *w = arg;
    struct visitor *v, *next;
    int64_t now = io_monotonic_ms(w->process->io);
    for (v = LIST_FIRST(&w->visitors); v != NULL; v = next) {
        next = LIST_NEXT(v, entry);
        if (now >= v->deadline_ms)
            visitor_end(v);
    }
}

/* ---- the process ------------------------------------------------------------------------------------------------------- */

static void make_policies(struct web *w)
{
    const struct config *c = w->process->config;
    w->policies = calloc(c->domain_count + 1, sizeof *w->policies);
    assert(w->policies != NULL);
    for (size_t i = 0; i < c->domain_count; i++) {
        struct policy *p = &w->policies[w->policy_count];
        vr_buf_init(&p->text, POLICY_MAX);
        p->domain = c->domains[i].ascii;
        if (published_mta_sts(c, &c->domains[i], &p->text))
            w->policy_count++;
        else
            vr_buf_fini(&p->text);
    }
}

static bool make_tls(struct web *w)
{
    struct process *p = w->process;
    char error[256] = "";
    struct certificates *read = p->certificates == NULL ? certificates_load(p->config, error) : NULL;
    const struct certificates *all = read != NULL ? read : p->certificates;
    struct io_tls_certificate *list = calloc(all != NULL ? all->count : 1, sizeof *list);
    assert(list != NULL);
    for (size_t i = 0; all != NULL && i < all->count; i++)
        list[i] = certificate_pair(&all->items[i]);
    if (all != NULL)
        w->tls = io_tls_server(list, all->count, error);
    free(list);
    certificates_free(read);
    if (p->certificates != NULL) /* OpenSSL has its own */
        certificates_forget_keys(p->certificates);
    if (w->tls != NULL)
        return true;
    event_begin(p->log, EVENT_ERROR, "tls.load_failed", 0);
    event_text(p->log, "error", error);
    event_end(p->log);
    return false;
}

static int prepare(struct process *p, void **data)
{
    struct web *w = calloc(1, sizeof *w);
    assert(w != NULL);
    *data = w;
    w->process = p;
    LIST_INIT(&w->visitors);
    make_policies(w);
    return make_tls(w) ? 0 : 78; /* EX_CONFIG */
}

static void start(struct process *p)
{
    struct web *w = p->data;
    const struct config *c = p->config;
    assert(p->listen_count == c->web_count);
    w->places = calloc(c->web_count + 1, sizeof *w->places);
    assert(w->places != NULL);
    for (size_t i = 0; i < c->web_count; i++) {
        struct place *place = &w->places[i];
        place->web = w;
        place->tls = c->listeners[c->listener_count + i].tls;
        place->listener = io_listener_new(p->io, p->listen_fds[i], accepted, place);
    }
    w->sweep = io_timer_new(p->io, sweep, w);
    io_timer_start(w->sweep, SWEEP_MS, SWEEP_MS);
}

static void certificate(struct process *p, uint32_t n, struct vr_str chain, struct vr_str key)
{
    struct web *w = p->data;
    struct io_tls_certificate pair = {
        .certificate = "of the frame", .key = "of the frame", .certificate_pem = chain, .key_pem = key};
    char error[256] = "";
    if (p->certificates != NULL && n < p->certificates->count && io_tls_replace(w->tls, n, &pair, error))
        return;
    event_begin(p->log, EVENT_ERROR, "tls.load_failed", 0);
    event_text(p->log, "error", error);
    event_end(p->log);
}

static void drain(struct process *p, int64_t deadline_ms)
{
    struct web *w = p->data;
    (void)deadline_ms;
    for (size_t i = 0; i < p->config->web_count; i++)
        io_listener_close(w->places[i].listener);
    exit_when_idle(w);
}

const struct process_ops web_ops = {
    .role = IPC_WEB,
    .worker_threads = 1,
    .prepare = prepare,
    .start = start,
    .drain = drain,
    .certificate = certificate,
};
