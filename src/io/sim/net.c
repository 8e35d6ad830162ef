/* net.c - stream.h: connections whose bytes take their time, in pieces, and whose fate is decided when they are made.
 *
 * Order: bytes of one direction arrive in order; an orderly end arrives behind them, a reset at once.
 * TLS:   both sides start it, then it stands (or fails, by fate); bytes stay as they are. Bytes that came in clear before it are an error.
 */
#include "io/sim/inside.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW     (64u << 10) /* the kernel takes so much before the other side has read it */
#define LATENCY_US 200
#define READ_MAX   (64u << 10)
#define FIRST_PORT 40000

struct end;

struct listening {
    struct object object;
    TAILQ_ENTRY(listening) entry;
    struct io_address address;
    TAILQ_HEAD(, end) backlog;
    struct io_listener *user[8]; /* processes that accept from it */
    unsigned users;
};

/* One direction's far side: what arrived, who reads it. Lives as long as its connection. */
struct end {
    TAILQ_ENTRY(end) entry; /* backlog */
    struct connection *connection;
    struct end *peer;
    struct io_stream *stream; /* NULL: in the backlog, or given up */
    bool server;
    struct io_address local, remote;
    char *in;
    size_t in_n, in_capacity;
    size_t under_way; /* bytes said by this end that the other side has not read */
    int64_t last_at;
    bool said_end;  /* by this end */
    bool heard_end; /* the other's reached this one */
    bool gone;      /* this end was closed */
    bool wants_tls;
};

struct connection {
    struct end client, server;
    struct sim_fate fate;
    bool reset, stalled;
    struct event cut, stall;
    unsigned pieces; /* in the heap */
    uint64_t said;   /* bytes by the server */
};

struct piece {
    struct event event;
    struct end *to;
    bool end;
    size_t n;
    char bytes[];
};

struct io_stream {
    struct attachment attachment;
    struct io *io;
    struct end *end; /* NULL: not connected (yet) */
    const struct io_stream_ops *ops;
    void *arg;
    struct vr_buf out; /* of this turn */
    struct task flush, hear, tell;
    struct event timeout;
    struct io_address local, remote;
    int connected; /* status to be told; 1: none */
    bool standing; /* connected, and said so */
    bool paused, ended, dead, drain_due, secure_due, tls;
    int refused; /* what connect_fails will tell */
    int secured;
    char server_name[256];
    char tls_error[96];
};

struct io_listener {
    struct attachment attachment;
    struct io *io;
    struct listening *listening;
    struct task task;
    void (*accept)(void *arg, struct io_stream *s);
    void *arg;
    bool paused, dead;
};

static TAILQ_HEAD(, listening) listenings;
static void (*choose_fate)(const struct io_address *to, const char *from_title, struct sim_fate *out);
static uint16_t last_port;

void net_reset(void)
{
    TAILQ_INIT(&listenings);
    last_port = FIRST_PORT;
}

void sim_on_connect(void (*choose)(const struct io_address *to, const char *from_title, struct sim_fate *out))
{
    choose_fate = choose;
}

static void *sim_alloc(size_t n)
{
    size_t own = memory_pause();
    void *p = calloc(1, n);
    assert(p != NULL);
    memory_resume(own);
    return p;
}

/* ---- connections ------------------------------------------------------------------------------------------------------------ */

static void connection_release(struct connection *c)
{
    if (c->pieces > 0 || !c->client.gone || !c->server.gone)
        return;
    event_stop(&c->cut);
    event_stop(&c->stall);
    free(c->client.in);
    free(c->server.in);
    free(c);
}

static void wake_reader(struct end *e)
{
    struct io_stream *s = e->stream;
    if (s != NULL && !s->dead)
        io_post(s->io, &s->hear);
}

static void connection_reset(struct connection *c)
{
    if (c->reset)
        return;
    c->reset = true;
    wake_reader(&c->client);
    wake_reader(&c->server);
}

static void cut(void *arg)
{
    connection_reset(arg);
}

static void stall(void *arg)
{
    ((struct connection *)arg)->stalled = true;
}

static void piece_arrives(void *arg)
{
    struct piece *p = arg;
    struct end *e = p->to;
    struct connection *c = e->connection;
    c->pieces--;
    if (e->gone || c->reset || c->stalled) {
        if (e->gone && !c->stalled)
            e->peer->under_way -= p->n;
        bool answered_by_reset = e->gone && p->n > 0 && !e->peer->gone && sim_chance(500000);
        free(p);
        if (answered_by_reset)
            connection_reset(c);
        connection_release(c);
        return;
    }
    if (p->end) {
        e->heard_end = true;
    } else {
        if (e->in_n + p->n > e->in_capacity) {
            size_t own = memory_pause();
            e->in_capacity = 2 * (e->in_n + p->n);
            e->in = realloc(e->in, e->in_capacity);
            assert(e->in != NULL);
            memory_resume(own);
        }
        memcpy(e->in + e->in_n, p->bytes, p->n);
        e->in_n += p->n;
    }
    free(p);
    wake_reader(e);
}

static void say(struct end *from, struct vr_str bytes, bool end)
{
    struct connection *c = from->connection;
    struct piece *p = sim_alloc(sizeof *p + bytes.n);
    int64_t latency = c->fate.latency_us > 0 ? c->fate.latency_us : LATENCY_US, now = sim_now_us();
    int64_t at = now + latency / 2 + (int64_t)sim_below((uint64_t)latency + 1);
    if (at < from->last_at)
        at = from->last_at;
    from->last_at = at;
    p->to = from->peer;
    p->end = end;
    p->n = bytes.n;
    if (bytes.n > 0)
        memcpy(p->bytes, bytes.p, bytes.n);
    p->event = (struct event){.run = piece_arrives, .arg = p};
    c->pieces++;
    from->under_way += bytes.n;
    if (from->server)
        c->said += bytes.n;
    event_start(&p->event, at - now);
    if (from->server && c->fate.cut_after_bytes > 0 && c->said >= c->fate.cut_after_bytes)
        connection_reset(c); /* what is on its way is lost */
}

static void say_all(struct end *from, struct vr_str bytes)
{
    while (bytes.n > 0) {
        size_t n = bytes.n < 1448 || !sim_chance(300000) ? bytes.n : 1 + (size_t)sim_below(bytes.n);
        say(from, vr_str(bytes.p, n), false);
        bytes = vr_str_from_pos(bytes, n);
    }
}

static void end_close(struct end *e, bool in_order)
{
    if (e->gone)
        return;
    if (!e->connection->reset && !e->said_end) {
        e->said_end = true;
        if (in_order)
            say(e, vr_str(NULL, 0), true);
        else
            connection_reset(e->connection);
    }
    e->gone = true;
    e->stream = NULL;
    connection_release(e->connection);
}

/* ---- streams ----------------------------------------------------------------------------------------------------------------- */

static void flush_task(struct task *t)
{
    struct io_stream *s = CONTAINER(t, struct io_stream, flush);
    struct end *e = s->end;
    if (e == NULL || (e->wants_tls && !s->tls))
        return; /* waits for the connection, or the handshake */
    if (vr_buf_size(&s->out) > 0)
        actor_step();
    if (!e->connection->reset)
        say_all(e, vr_buf_str(&s->out));
    vr_buf_reset(&s->out);
    if (e->under_way <= WINDOW && !s->ended) {
        s->drain_due = true;
        io_post(s->io, &s->tell);
    }
}

static void tls_settle(struct connection *c)
{
    if (!c->client.wants_tls || !c->server.wants_tls)
        return;
    struct io_stream *both[2] = {c->client.stream, c->server.stream};
    for (size_t i = 0; i < 2; i++) {
        struct io_stream *s = both[i];
        if (s == NULL || s->dead || s->secure_due || s->tls)
            continue;
        s->secure_due = true;
        s->secured = c->fate.tls_fails || s->end->in_n > 0 ? -EPROTO : 0;
        if (s->secured != 0)
            snprintf(s->tls_error, sizeof s->tls_error, "the handshake failed (simulated)");
        io_post(s->io, &s->tell);
    }
}

/* What is not data: connected, secured, drained. */
static void tell_task(struct task *t)
{
    struct io_stream *s = CONTAINER(t, struct io_stream, tell);
    if (s->dead) {
        vr_buf_fini(&s->out);
        free(s);
        return;
    }
    if (s->connected <= 0) {
        int status = s->connected;
        s->connected = 1;
        s->standing = status == 0;
        s->ended = status != 0;
        io_post(s->io, &s->hear);
        s->ops->connected(s->arg, status);
    }
    if (!s->dead && s->secure_due) {
        s->secure_due = false;
        s->tls = s->secured == 0;
        if (s->secured != 0)
            s->ended = true;
        else if (vr_buf_size(&s->out) > 0)
            io_flush_later(s->io, &s->flush);
        if (s->secured == 0)
            io_post(s->io, &s->hear);
        s->ops->secured(s->arg, s->secured);
    }
    if (!s->dead && s->drain_due) {
        s->drain_due = false;
        if (!s->ended && io_stream_unsent(s) == 0 && s->ops->drained != NULL)
            s->ops->drained(s->arg);
    }
}

static void tell_ended(struct io_stream *s, int status)
{
    s->ended = true;
    struct end *e = s->end;
    if (e->wants_tls && !s->tls && s->ops->secured != NULL) { /* in the handshake */
        snprintf(s->tls_error, sizeof s->tls_error, "the connection was lost (simulated)");
        s->ops->secured(s->arg, status != 0 ? status : -ECONNRESET);
        return;
    }
    s->ops->ended(s->arg, status);
}

static void hear_task(struct task *t)
{
    struct io_stream *s = CONTAINER(t, struct io_stream, hear);
    struct end *e = s->end;
    if (e == NULL || s->ops == NULL || !s->standing || s->paused || s->ended)
        return;
    if (e->wants_tls && !s->tls && !e->connection->reset && !e->heard_end)
        return;
    if (e->connection->reset) { /* what had not been read is lost */
        tell_ended(s, -ECONNRESET);
        return;
    }
    if (e->in_n > 0) {
        char *bytes = e->in;
        size_t n = e->in_n;
        e->in = NULL;
        e->in_n = e->in_capacity = 0;
        e->peer->under_way -= n;
        struct io_stream *other = e->peer->stream;
        if (other != NULL && !other->dead && e->peer->under_way <= WINDOW) {
            other->drain_due = true;
            io_post(other->io, &other->tell);
        }
        bool last = e->heard_end;
        s->ops->data(s->arg, vr_str(bytes, n));
        free(bytes);
        if (!s->dead && last)
            io_post(s->io, &s->hear);
        return;
    }
    if (e->heard_end)
        tell_ended(s, 0);
}

static void stream_release(struct attachment *a)
{
    struct io_stream *s = CONTAINER(a, struct io_stream, attachment);
    event_stop(&s->timeout);
    if (s->end != NULL)
        end_close(s->end, !sim_chance(300000));
    s->end = NULL;
}

static struct io_stream *stream_new(struct io *io)
{
    struct io_stream *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->io = io;
    s->connected = 1;
    vr_buf_init(&s->out, 512u << 20);
    s->flush.run = flush_task;
    s->hear.run = hear_task;
    s->tell.run = tell_task;
    s->attachment.release = stream_release;
    TAILQ_INSERT_TAIL(&io_actor(io)->attachments, &s->attachment, entry);
    return s;
}

void io_stream_set(struct io_stream *s, const struct io_stream_ops *ops, void *arg)
{
    s->ops = ops;
    s->arg = arg;
    io_post(s->io, &s->hear);
}

/* It is freed in the next turn: its own callback may be on the stack above us. */
static void stream_bury(struct io_stream *s)
{
    s->dead = true;
    io_unpost(s->io, &s->flush);
    io_unpost(s->io, &s->hear);
    io_unpost(s->io, &s->tell);
    event_stop(&s->timeout);
    TAILQ_REMOVE(&io_actor(s->io)->attachments, &s->attachment, entry);
    io_post(s->io, &s->tell);
}

void io_stream_close(struct io_stream *s)
{
    if (s == NULL)
        return;
    assert(!s->dead);
    if (s->end != NULL) {
        if (vr_buf_size(&s->out) > 0 && !s->end->connection->reset && (!s->end->wants_tls || s->tls))
            say_all(s->end, vr_buf_str(&s->out));
        end_close(s->end, s->end->in_n == 0);
        s->end = NULL;
    }
    stream_bury(s);
}

void io_stream_finish(struct io_stream *s, int64_t linger_ms)
{
    (void)linger_ms; /* what was said goes on its way without us */
    if (s == NULL)
        return;
    assert(!s->dead);
    if (s->end != NULL) {
        if (vr_buf_size(&s->out) > 0 && !s->end->connection->reset && (!s->end->wants_tls || s->tls))
            say_all(s->end, vr_buf_str(&s->out));
        end_close(s->end, true);
        s->end = NULL;
    }
    stream_bury(s);
}

void io_stream_pause(struct io_stream *s, bool paused)
{
    s->paused = paused;
    if (!paused)
        io_post(s->io, &s->hear);
}

void io_stream_write(struct io_stream *s, struct vr_str bytes)
{
    if (s->ended || bytes.n == 0)
        return;
    bool taken = vr_buf_add(&s->out, bytes);
    assert(taken);
    io_flush_later(s->io, &s->flush);
}

size_t io_stream_unsent(const struct io_stream *s)
{
    size_t waiting = vr_buf_size(&s->out);
    if (s->end == NULL)
        return waiting;
    return waiting + (s->end->under_way > WINDOW ? s->end->under_way - WINDOW : 0);
}

void io_stream_peer(const struct io_stream *s, struct io_address *out)
{
    *out = s->remote;
}

void io_stream_local(const struct io_stream *s, struct io_address *out)
{
    *out = s->local;
}

bool io_stream_peer_user(const struct io_stream *s, uint32_t *uid, char *name, size_t name_size)
{
    (void)s;
    *uid = 0;
    snprintf(name, name_size, "root");
    return true;
}

/* ---- TLS ----------------------------------------------------------------------------------------------------------------------- */

void io_stream_start_tls(struct io_stream *s, struct io_tls *context, enum io_tls_verify verify,
                         struct vr_str name)
{
    (void)context, (void)verify;
    snprintf(s->server_name, sizeof s->server_name, "%.*s",
             VR_STR_ARG(vr_str_sub(name, 0, sizeof s->server_name - 1)));
    if (s->end == NULL || s->ended)
        return;
    if (vr_buf_size(&s->out) > 0 && !s->end->connection->reset) /* in clear still */
        say_all(s->end, vr_buf_str(&s->out));
    vr_buf_reset(&s->out);
    s->paused = false;
    s->end->wants_tls = true;
    tls_settle(s->end->connection);
    io_post(s->io, &s->hear);
}

/* A simulated handshake has no bytes: what was received is something else. */
void io_stream_start_tls_with(struct io_stream *s, struct io_tls *context, struct vr_str received)
{
    if (received.n > 0 && s->end != NULL)
        s->end->connection->fate.tls_fails = true;
    io_stream_start_tls(s, context, IO_TLS_OPPORTUNISTIC, vr_str(NULL, 0));
}

void io_stream_start_tls_dane(struct io_stream *s, struct io_tls *context, const struct vr_str *names,
                              size_t name_count, const struct vr_str *tlsa, size_t n)
{
    (void)name_count, (void)tlsa, (void)n;
    io_stream_start_tls(s, context, IO_TLS_OPPORTUNISTIC, names[0]);
}

bool io_stream_tls_info(const struct io_stream *s, struct io_tls_info *out)
{
    *out = (struct io_tls_info){.bits = 256};
    if (!s->tls)
        return false;
    snprintf(out->protocol, sizeof out->protocol, "TLSv1.3");
    snprintf(out->cipher, sizeof out->cipher, "TLS_SIMULATED");
    snprintf(out->server_name, sizeof out->server_name, "%s", s->server_name);
    return true;
}

/* The same at both ends: nobody stands between in this world. */
bool io_stream_tls_binding(const struct io_stream *s, struct io_tls_binding *out)
{
    *out = (struct io_tls_binding){0};
    if (!s->tls)
        return false;
    memset(out->exporter, 's', sizeof out->exporter);
    out->exporter_n = sizeof out->exporter;
    return true;
}

bool io_stream_tls_peer_addresses(const struct io_stream *s, struct vr_buf *out)
{
    (void)s, (void)out; /* no certificates here */
    return false;
}

const char *io_stream_tls_error(const struct io_stream *s)
{
    return s->tls_error;
}

/* ---- listening ------------------------------------------------------------------------------------------------------------------ */

static bool same_place(const struct io_address *a, const struct io_address *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0 &&
           strcmp(a->path, b->path) == 0;
}

static void wake_listeners(struct listening *l)
{
    for (unsigned i = 0; i < l->users; i++)
        if (!l->user[i]->paused)
            io_post(l->user[i]->io, &l->user[i]->task);
}

static void listening_last(struct object *o)
{
    struct listening *l = CONTAINER(o, struct listening, object);
    struct end *e;
    while ((e = TAILQ_FIRST(&l->backlog)) != NULL) {
        TAILQ_REMOVE(&l->backlog, e, entry);
        end_close(e, false);
    }
    TAILQ_REMOVE(&listenings, l, entry);
    free(l);
}

int io_listen_fd(const struct io_address *a, bool reuse_port, unsigned unix_mode)
{
    (void)unix_mode;
    struct listening *l;
    actor_step();
    TAILQ_FOREACH(l, &listenings, entry)
    if (!reuse_port && same_place(&l->address, a))
        return -EADDRINUSE;
    l = sim_alloc(sizeof *l);
    l->object = (struct object){.kind = OBJECT_LISTENER, .refs = 1, .last = listening_last};
    l->address = *a;
    if (a->port == 0 && a->family != IO_UNIX)
        l->address.port = last_port++;
    TAILQ_INIT(&l->backlog);
    TAILQ_INSERT_TAIL(&listenings, l, entry);
    return actor_fd(actor_now(), &l->object);
}

int io_listen_address(int fd, struct io_address *out)
{
    struct object *o = actor_object(fd, OBJECT_LISTENER);
    if (o == NULL)
        return -EBADF;
    *out = CONTAINER(o, struct listening, object)->address;
    return 0;
}

static void accept_task(struct task *t)
{
    struct io_listener *l = CONTAINER(t, struct io_listener, task);
    if (l->dead) {
        free(l);
        return;
    }
    struct end *e;
    while (!l->dead && !l->paused && (e = TAILQ_FIRST(&l->listening->backlog)) != NULL) {
        TAILQ_REMOVE(&l->listening->backlog, e, entry);
        struct io_stream *s = stream_new(l->io);
        s->end = e;
        e->stream = s;
        s->local = e->local;
        s->remote = e->remote;
        s->standing = true;
        actor_step();
        l->accept(l->arg, s);
    }
}

static void listener_release(struct attachment *a)
{
    struct io_listener *l = CONTAINER(a, struct io_listener, attachment);
    struct listening *place = l->listening;
    for (unsigned i = 0; i < place->users; i++)
        if (place->user[i] == l) {
            place->user[i] = place->user[--place->users];
            break;
        }
    object_drop(&place->object);
}

struct io_listener *io_listener_new(struct io *io, int fd, void (*accept)(void *arg, struct io_stream *s),
                                    void *arg)
{
    struct object *o = actor_take(fd);
    assert(o->kind == OBJECT_LISTENER);
    struct io_listener *l = calloc(1, sizeof *l);
    assert(l != NULL);
    *l = (struct io_listener){
        .io = io, .listening = CONTAINER(o, struct listening, object), .accept = accept, .arg = arg};
    l->task.run = accept_task;
    l->attachment.release = listener_release;
    TAILQ_INSERT_TAIL(&io_actor(io)->attachments, &l->attachment, entry);
    assert(l->listening->users < 8);
    l->listening->user[l->listening->users++] = l;
    io_post(io, &l->task);
    return l;
}

void io_listener_pause(struct io_listener *l, bool paused)
{
    l->paused = paused;
    if (!paused)
        io_post(l->io, &l->task);
}

void io_listener_close(struct io_listener *l)
{
    if (l == NULL)
        return;
    TAILQ_REMOVE(&io_actor(l->io)->attachments, &l->attachment, entry);
    listener_release(&l->attachment);
    l->dead = true;
    io_post(l->io, &l->task);
}

/* ---- connecting ------------------------------------------------------------------------------------------------------------------- */

static struct listening *listening_at(const struct io_address *to)
{
    struct listening *l, *found = NULL;
    unsigned n = 0;
    TAILQ_FOREACH(l, &listenings, entry)
    if (same_place(&l->address, to) && sim_below(++n) == 0) /* each of them as likely */
        found = l;
    return found;
}

static void connect_due(void *arg)
{
    struct io_stream *s = arg;
    s->connected = s->refused;
    io_post(s->io, &s->tell);
}

static void connect_fails(struct io_stream *s, int status, int64_t after_us)
{
    s->refused = status;
    s->timeout = (struct event){.owner = io_actor(s->io), .run = connect_due, .arg = s};
    event_start(&s->timeout, after_us);
}

static void connect_arrives(void *arg)
{
    struct io_stream *s = arg;
    struct listening *l = listening_at(&s->remote);
    if (l == NULL) {
        s->connected = -ECONNREFUSED;
        io_post(s->io, &s->tell);
        return;
    }
    s->end->connection->server.gone = false;
    TAILQ_INSERT_TAIL(&l->backlog, &s->end->connection->server, entry);
    s->connected = 0;
    io_post(s->io, &s->tell);
    wake_listeners(l);
}

struct io_stream *io_stream_connect(struct io *io, const struct io_address *to, const struct io_address *from,
                                    int64_t timeout_ms, const struct io_stream_ops *ops, void *arg)
{
    struct sim_fate fate = {0};
    struct io_stream *s = stream_new(io);
    s->ops = ops;
    s->arg = arg;
    s->remote = *to;
    s->local = from != NULL ? *from : (struct io_address){.family = to->family, .ip = {127, 0, 0, 1}};
    s->local.port = last_port++;
    actor_step();
    if (choose_fate != NULL)
        choose_fate(to, io_actor(io)->title, &fate);
    int64_t latency = fate.latency_us > 0 ? fate.latency_us : LATENCY_US;
    if (fate.unreachable || fate.refused || listening_at(to) == NULL) {
        connect_fails(s, fate.unreachable ? -ETIMEDOUT : -ECONNREFUSED,
                      fate.unreachable ? timeout_ms * 1000 : 2 * latency);
        return s;
    }
    struct connection *c = sim_alloc(sizeof *c);
    c->fate = fate;
    c->client =
        (struct end){.connection = c, .peer = &c->server, .stream = s, .local = s->local, .remote = *to};
    c->server =
        (struct end){.connection = c, .peer = &c->client, .server = true, .local = *to, .remote = s->local};
    c->cut = (struct event){.run = cut, .arg = c};
    c->stall = (struct event){.run = stall, .arg = c};
    if (fate.cut_after_us > 0)
        event_start(&c->cut, fate.cut_after_us);
    if (fate.stall_after_us > 0)
        event_start(&c->stall, fate.stall_after_us);
    s->end = &c->client;
    c->server.gone = true; /* until somebody can accept it */
    s->timeout = (struct event){.owner = io_actor(io), .run = connect_arrives, .arg = s};
    event_start(&s->timeout, latency);
    return s;
}
