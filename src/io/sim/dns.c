/* dns.c - dns.h: questions go to whoever runs the simulation; and what is left of tls.h, whose handshakes net.c plays. */
#include "io/sim/inside.h"

#include "io/certificate.h"
#include "io/fs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_DEFAULT_MS 20000

static void (*answer_question)(struct vr_str name, enum io_dns_type type, struct io_dns_answer *out,
                               int64_t *delay_us);

void sim_on_dns(void (*answer)(struct vr_str name, enum io_dns_type type, struct io_dns_answer *out,
                               int64_t *delay_us))
{
    answer_question = answer;
}

struct io_dns {
    struct io *io;
    struct sim_actor *actor;
    int64_t timeout_us;
};

struct io_dns_query {
    struct io_dns *dns;
    struct event event;
    struct task task;
    char name[260];
    enum io_dns_type type;
    bool late; /* the answer would be */
    void (*answer)(void *arg, const struct io_dns_answer *a);
    void *arg;
};

struct io_dns *io_dns_new(struct io *io, const struct io_dns_config *config, char error[256])
{
    struct io_dns *d = calloc(1, sizeof *d);
    assert(d != NULL);
    d->io = io;
    d->actor = actor_now();
    d->timeout_us = 1000 * (config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_DEFAULT_MS);
    error[0] = '\0';
    return d;
}

void io_dns_free(struct io_dns *d)
{
    free(d);
}

static void answer_task(struct task *t)
{
    struct io_dns_query *q = CONTAINER(t, struct io_dns_query, task);
    struct io_dns_answer a = {.status = IO_DNS_NXDOMAIN};
    int64_t unused = 0;
    a.canonical = vr_str_from(q->name);
    if (q->late)
        a = (struct io_dns_answer){.status = IO_DNS_FAILED, .why = "timed out", .canonical = a.canonical};
    else if (answer_question != NULL)
        answer_question(vr_str_from(q->name), q->type, &a, &unused);
    void (*answer)(void *, const struct io_dns_answer *) = q->answer;
    void *arg = q->arg;
    answer(arg, &a);
    free(q);
}

static void query_due(void *arg)
{
    struct io_dns_query *q = arg;
    io_post(q->dns->io, &q->task);
}

struct io_dns_query *io_dns_ask(struct io_dns *d, struct vr_str name, enum io_dns_type type,
                                void (*answer)(void *arg, const struct io_dns_answer *a), void *arg)
{
    struct io_dns_query *q = calloc(1, sizeof *q);
    assert(q != NULL);
    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    snprintf(q->name, sizeof q->name, "%.*s", VR_STR_ARG(vr_str_sub(name, 0, 255)));
    q->dns = d;
    q->type = type;
    q->answer = answer;
    q->arg = arg;
    q->task.run = answer_task;
    q->event = (struct event){.owner = d->actor, .run = query_due, .arg = q};
    int64_t delay = 500;
    struct io_dns_answer unused = {0};
    if (answer_question != NULL)
        answer_question(vr_str_from(q->name), type, &unused, &delay);
    q->late = delay > d->timeout_us;
    event_start(&q->event, q->late ? d->timeout_us : delay);
    return q;
}

void io_dns_cancel(struct io_dns_query *q)
{
    event_stop(&q->event);
    io_unpost(q->dns->io, &q->task);
    free(q);
}

/* ---- TLS ------------------------------------------------------------------------------------------------------------------------ */

struct io_tls {
    int unused;
};

static struct io_tls *context(char error[256])
{
    struct io_tls *t = calloc(1, sizeof *t);
    assert(t != NULL);
    error[0] = '\0';
    return t;
}

struct io_tls *io_tls_server(const struct io_tls_certificate *certificates, size_t n, char error[256])
{
    (void)certificates, (void)n;
    return context(error);
}

bool io_tls_replace(struct io_tls *server, size_t n, const struct io_tls_certificate *c, char error[256])
{
    (void)server, (void)n, (void)c, (void)error;
    return true;
}

struct io_tls *io_tls_client(const char *ca_file, char error[256])
{
    (void)ca_file;
    return context(error);
}

bool io_tls_ask_clients(struct io_tls *server, const char *ca_file, char error[256])
{
    (void)server, (void)ca_file, (void)error;
    return true;
}

bool io_tls_show(struct io_tls *client, const struct io_tls_certificate *own, char error[256])
{
    (void)client, (void)own, (void)error;
    return true;
}

void io_tls_free(struct io_tls *t)
{
    free(t);
}

/* Nobody looks into them here, but who keeps certificates wants files that can be read. */
int io_tls_self_signed(const char *name, unsigned days, const char *certificate_path, const char *key_path)
{
    (void)name, (void)days;
    int status = io_fs_replace_file(key_path, VR_STR("simulated key\n"), 0600);
    return status == 0 ? io_fs_replace_file(certificate_path, VR_STR("simulated certificate\n"), 0644)
                       : status;
}

bool io_certificate_read(struct vr_arena *arena, struct vr_str pem, struct io_certificate *out,
                         char error[256])
{
    (void)arena, (void)pem, (void)error;
    *out = (struct io_certificate){.not_after = INT64_MAX / 2};
    return true;
}
