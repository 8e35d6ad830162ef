/* sts.c - see sts.h. */
#include "sender/sts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define PATIENCE_MS                                                                                          \
    120000 /* the resolver's own limits, for the DNS twice and the policy host, are less together */

struct sts_ask {
    struct sts_asks *owner;
    uint64_t number;         /* in frames: another one each time that it is asked */
    const struct peer *peer; /* who was asked; NULL: nobody yet */
    struct io_timer *timer;
    void (*answered)(void *arg, const struct sts_answer *a);
    void *arg;
    TAILQ_ENTRY(sts_ask) entry;
    size_t n;
    char domain[];
};

struct sts_asks {
    struct process *process;
    TAILQ_HEAD(sts_list, sts_ask) asks;
    uint64_t last;
};

struct sts_asks *sts_new(struct process *p)
{
    struct sts_asks *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->process = p;
    TAILQ_INIT(&s->asks);
    return s;
}

void sts_cancel(struct sts_ask *a)
{
    if (a == NULL)
        return;
    TAILQ_REMOVE(&a->owner->asks, a, entry);
    io_timer_free(a->timer);
    free(a);
}

static void settle(struct sts_ask *a, const struct sts_answer *answer)
{
    void (*answered)(void *, const struct sts_answer *) = a->answered;
    void *arg = a->arg;
    sts_cancel(a);
    answered(arg, answer);
}

static void on_late(void *arg)
{
    settle(arg, &(struct sts_answer){.status = STS_UNKNOWN,
                                     .why = VR_STR("the process that keeps the policies does not answer")});
}

static void send(struct sts_ask *a)
{
    struct process *p = a->owner->process;
    struct peer *peer = process_peer(p, IPC_RESOLVER);
    a->peer = peer;
    if (peer == NULL)
        return; /* one that comes will be asked */
    a->number = ++a->owner->last;
    struct vr_buf *b = process_frame(p);
    ipc_put_u64(b, a->number);
    ipc_put_str(b, vr_str(a->domain, a->n));
    peer_send(peer, IPC_STS_ASK, b, -1);
}

struct sts_ask *sts_ask(struct sts_asks *s, struct vr_str domain,
                        void (*answered)(void *arg, const struct sts_answer *a), void *arg)
{
    struct sts_ask *a = calloc(1, sizeof *a + domain.n + 1);
    assert(a != NULL);
    a->owner = s;
    a->answered = answered;
    a->arg = arg;
    a->n = domain.n;
    memcpy(a->domain, domain.p, domain.n);
    TAILQ_INSERT_TAIL(&s->asks, a, entry);
    a->timer = io_timer_new(s->process->io, on_late, a);
    io_timer_start(a->timer, PATIENCE_MS, 0);
    send(a);
    return a;
}

void sts_frame(struct sts_asks *s, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    uint64_t number = ipc_get_u64(&r);
    uint8_t status = ipc_get_u8(&r);
    struct sts_answer answer = {.id = ipc_get_str(&r), .policy = ipc_get_str(&r), .why = ipc_get_str(&r)};
    struct sts_ask *a;
    TAILQ_FOREACH(a, &s->asks, entry)
    {
        if (a->number == number)
            break;
    }
    if (a == NULL) /* too late, or cancelled */
        return;
    bool good = ipc_done(&r) && status <= IPC_STS_LATER;
    answer.status = !good                      ? STS_UNKNOWN
                    : status == IPC_STS_FOUND  ? STS_FOUND
                    : status == IPC_STS_NONE   ? STS_NONE
                    : status == IPC_STS_UNSURE ? STS_UNSURE
                                               : STS_UNKNOWN;
    settle(a, &answer);
}

void sts_attached(struct sts_asks *s)
{
    struct sts_ask *a;
    TAILQ_FOREACH(a, &s->asks, entry)
    {
        if (a->peer == NULL)
            send(a);
    }
}

void sts_lost(struct sts_asks *s, const struct peer *gone)
{
    struct sts_ask *a;
    TAILQ_FOREACH(a, &s->asks, entry)
    {
        if (a->peer == gone)
            send(a);
    }
}
