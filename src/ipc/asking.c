/* asking.c - see asking.h. */
#include "ipc/asking.h"

void asking_init(struct asking *a)
{
    TAILQ_INIT(&a->open);
    a->last = 0;
}

static void send(struct asking_one *one)
{
    struct asking *a = one->asking;
    struct peer *peer = process_peer(a->process, a->role);
    one->peer = peer;
    if (peer == NULL)
        return; /* one that comes will be asked */
    one->number = ++a->last;
    struct vr_buf *b = process_frame(a->process);
    ipc_put_u64(b, one->number);
    a->pack(one, b);
    peer_send(peer, a->type, b, -1);
}

void asking_begin(struct asking *a, struct asking_one *one, int64_t timeout_ms)
{
    *one = (struct asking_one){.asking = a, .timer = io_timer_new(a->process->io, a->late, one)};
    TAILQ_INSERT_TAIL(&a->open, one, entry);
    io_timer_start(one->timer, timeout_ms > 0 ? timeout_ms : 0, 0);
    send(one);
}

void asking_end(struct asking_one *one)
{
    TAILQ_REMOVE(&one->asking->open, one, entry);
    io_timer_free(one->timer);
}

struct asking_one *asking_find(struct asking *a, uint64_t number)
{
    struct asking_one *one;
    TAILQ_FOREACH(one, &a->open, entry)
    {
        if (one->peer != NULL && one->number == number)
            return one;
    }
    return NULL;
}

void asking_attached(struct asking *a)
{
    asking_lost(a, NULL); /* who waited for somebody */
}

void asking_lost(struct asking *a, const struct peer *gone)
{
    struct asking_one *one;
    TAILQ_FOREACH(one, &a->open, entry)
    {
        if (one->peer == gone)
            send(one);
    }
}
