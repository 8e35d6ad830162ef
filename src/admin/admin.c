/* admin.c - the control socket: one JSON request a connection, answered by the queue, or, what concerns certificates, here. The client (veredus queue, mailq,
 * veredus tls) connects to
 * <run>/control, writes one JSON object and a line feed, and reads lines of JSON until the end of the stream (src/queue/control.c says which;
 * an answer that could not be finished ends with a line {"error": "…", "again": true}, before which a line may be cut off). It keeps its
 * own side open meanwhile: who closes it has left, and what he asked for ends where it is. The socket's mode says who may: its owner.
 *
 * Here:       {"op": "tls"} → a line for each certificate that the receivers show: {"names": "…", "certificate": path, "key": path, "pem": the chain}, then
 *             {"end": true, "hostname": "…"}.
 * Back-pressure: the queue hears how much of an answer each client has taken and sends only so much ahead, so a client that does not
 *             read costs little memory here and none there, however long the answer.
 * Runs as:    the common user, no file system, no network.
 * Tests:      tests/e2e/test_tools.py
 */
#include "admin/admin.h"

#include "config/certificates.h"
#include "io/stream.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define REQUEST_MAX (1u << 20)
#define OWN_MAX     256 /* requests that are answered here are short */
#define TIMEOUT_MS  30000
#define LINGER_MS   5000
#define SWEEP_MS    1000

struct client {
    struct admin *admin;
    struct io_stream *stream;
    uint64_t request;   /* 0: not sent yet */
    struct peer *queue; /* that has it */
    uint64_t untold;    /* bytes of its parts that the queue does not know to be taken */
    int64_t since_ms;
    struct vr_buf line;
    LIST_ENTRY(client) entry;
};

struct admin {
    struct process *process;
    struct io_listener *listener;
    LIST_HEAD(client_list, client) clients;
    uint64_t last_request;
    struct io_timer *sweep;
};

static void finished(struct admin *a)
{
    if (a->process->draining && LIST_EMPTY(&a->clients))
        process_exit(a->process, 0);
}

static void client_end(struct client *c, struct vr_str last_words)
{
    struct admin *a = c->admin;
    io_stream_write(c->stream, last_words);
    io_stream_finish(c->stream, LINGER_MS);
    LIST_REMOVE(c, entry);
    vr_buf_fini(&c->line);
    free(c);
    finished(a);
}

/* ---- certificates ---------------------------------------------------------------------------------------------- */

static bool is_ours(struct vr_str json)
{
    json_t *request = json.n <= OWN_MAX ? json_loadb(json.p, json.n, 0, NULL) : NULL;
    const char *op = json_string_value(json_object_get(request, "op"));
    bool ours = op != NULL && strcmp(op, "tls") == 0;
    json_decref(request);
    return ours;
}

static void say_line(struct client *c, json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT);
    assert(
        text !=
        NULL); /* paths and names were read from a text in UTF-8, or json_stringn gave NULL and the field lacks */
    io_stream_write(c->stream, vr_str_from(text));
    io_stream_write(c->stream, VR_STR("\n"));
    free(text);
    json_decref(line);
}

static void tell_certificates(struct client *c)
{
    const struct process *p = c->admin->process;
    for (size_t i = 0; p->certificates != NULL && i < p->certificates->count; i++) {
        const struct certificate *x = &p->certificates->items[i];
        struct vr_str pem = vr_buf_str(&x->chain);
        json_t *line = json_object();
        json_object_set_new(line, "names", json_string(x->names));
        json_object_set_new(line, "certificate", json_string(x->chain_path));
        json_object_set_new(line, "key", json_string(x->key_path));
        json_object_set_new(line, "pem", json_stringn(pem.p, pem.n));
        say_line(c, line);
    }
    json_t *end = json_object();
    json_object_set_new(end, "end", json_true());
    json_object_set_new(end, "hostname", json_stringn(p->config->hostname.p, p->config->hostname.n));
    say_line(c, end);
    client_end(c, vr_str(NULL, 0));
}

static void certificate(struct process *p, uint32_t n, struct vr_str chain, struct vr_str key)
{
    (void)key;
    if (p->certificates == NULL || n >= p->certificates->count)
        return;
    vr_buf_reset(&p->certificates->items[n].chain);
    vr_buf_add(&p->certificates->items[n].chain, chain);
}

static void client_request(struct client *c, struct vr_str json)
{
    if (is_ours(json)) {
        tell_certificates(c);
        return;
    }
    struct peer *queue = process_peer(c->admin->process, IPC_QUEUE);
    if (queue == NULL) {
        client_end(
            c, VR_STR("{\"error\":\"the queue is being started; try again in a moment\",\"again\":true}\n"));
        return;
    }
    c->request = ++c->admin->last_request;
    c->queue = queue;
    struct vr_buf *b = process_frame(c->admin->process);
    ipc_put_u64(b, c->request);
    ipc_put_str(b, json);
    peer_send(queue, IPC_CONTROL, b, -1);
}

static void on_data(void *arg, struct vr_str bytes)
{
    struct client *c = arg;
    if (c->request != 0)
        return; /* one request a connection */
    if (!vr_buf_add(&c->line, bytes)) {
        client_end(c, VR_STR("{\"error\":\"the request is larger than 1 MiB; name fewer messages\"}\n"));
        return;
    }
    size_t end = vr_str_find(vr_buf_str(&c->line), '\n');
    if (end != VR_NPOS)
        client_request(c, vr_str_sub(vr_buf_str(&c->line), 0, end));
}

static void tell_queue(struct client *c, enum ipc_type type)
{
    struct vr_buf *b = process_frame(c->admin->process);
    ipc_put_u64(b, c->request);
    if (type == IPC_CONTROL_TAKEN)
        ipc_put_u64(b, c->untold);
    c->untold = 0;
    peer_send(c->queue, type, b, -1);
}

static void on_ended(void *arg, int status)
{
    struct client *c = arg;
    (void)status;
    if (c->request != 0)
        tell_queue(c, IPC_CONTROL_CANCEL);
    client_end(c, vr_str(NULL, 0));
}

static void on_drained(void *arg)
{
    struct client *c = arg;
    c->since_ms = io_monotonic_ms(c->admin->process->io); /* what it had to read took its time */
    if (c->untold > 0)
        tell_queue(c, IPC_CONTROL_TAKEN);
}

static const struct io_stream_ops client_ops = {.data = on_data, .ended = on_ended, .drained = on_drained};

static void accepted(void *arg, struct io_stream *stream)
{
    struct admin *a = arg;
    struct client *c = calloc(1, sizeof *c);
    assert(c != NULL);
    c->admin = a;
    c->stream = stream;
    c->since_ms = io_monotonic_ms(a->process->io);
    vr_buf_init(&c->line, REQUEST_MAX);
    LIST_INSERT_HEAD(&a->clients, c, entry);
    io_stream_set(stream, &client_ops, c);
}

static void frame(struct process *p, struct peer *peer, uint16_t type, struct vr_str payload, int fd)
{
    struct admin *a = p->data;
    (void)peer, (void)type, (void)fd;
    struct ipc_reader r = ipc_reader(payload);
    uint64_t request = ipc_get_u64(&r);
    bool last = ipc_get_u8(&r) != 0;
    struct vr_str text = ipc_get_str(&r);
    struct client *c;
    LIST_FOREACH(c, &a->clients, entry)
    {
        if (c->request != request)
            continue;
        c->since_ms = io_monotonic_ms(p->io);
        if (last) {
            client_end(c, text);
            return;
        }
        c->untold += text.n;
        io_stream_write(c->stream, text);
        if (c->untold > 0 && io_stream_unsent(c->stream) == 0)
            tell_queue(c, IPC_CONTROL_TAKEN); /* else: on_drained */
        return;
    }
}

static void detached(struct process *p, struct peer *peer)
{
    struct admin *a = p->data;
    struct client *c, *next;
    for (c = LIST_FIRST(&a->clients); c != NULL; c = next) {
        next = LIST_NEXT(c, entry);
        if (c->request != 0 && c->queue == peer) /* its last part may have ended within a line */
            client_end(
                c,
                VR_STR("\n{\"error\":\"the queue was started anew before all was told or done; ask again\","
                       "\"again\":true}\n"));
    }
}

/* Ends those that wait too long for a request or for the queue. Who does not read what there is may take his time: a pager. */
static void sweep(void *arg)
{
    struct admin *a = arg;
    struct client *c, *next;
    int64_t now = io_monotonic_ms(a->process->io);
    for (c = LIST_FIRST(&a->clients); c != NULL; c = next) {
        next = LIST_NEXT(c, entry);
        if (now - c->since_ms < TIMEOUT_MS || io_stream_unsent(c->stream) > 0)
            continue;
        if (c->request != 0)
            tell_queue(c, IPC_CONTROL_CANCEL);
        client_end(c, VR_STR("\n{\"error\":\"no answer within 30 s; ask again\",\"again\":true}\n"));
    }
}

static int prepare(struct process *p, void **data)
{
    struct admin *a = calloc(1, sizeof *a);
    assert(a != NULL);
    a->process = p;
    LIST_INIT(&a->clients);
    *data = a;
    return 0;
}

static void start(struct process *p)
{
    struct admin *a = p->data;
    assert(p->listen_count == 1);
    a->listener = io_listener_new(p->io, p->listen_fds[0], accepted, a);
    a->sweep = io_timer_new(p->io, sweep, a);
    io_timer_start(a->sweep, SWEEP_MS, SWEEP_MS);
}

static void drain(struct process *p, int64_t deadline_ms)
{
    struct admin *a = p->data;
    (void)deadline_ms;
    io_listener_close(a->listener);
    finished(a);
}

const struct process_ops admin_ops = {
    .role = IPC_ADMIN,
    .worker_threads = 1,
    .prepare = prepare,
    .start = start,
    .frame = frame,
    .detached = detached,
    .drain = drain,
    .certificate = certificate,
};
