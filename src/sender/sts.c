/* sts.c - see sts.h. */
#include "sender/sts.h"

#include "ipc/asking.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS                                                                                          \
    120000 /* the resolver's own limits, for the DNS twice and the policy host, are less together */

struct sts_ask {
    struct asking_one one;
    void (*answered)(void *arg, const struct sts_answer *a);
    void *arg;
    size_t n;
    char domain[];
};

struct sts_asks {
    struct asking asking;
};

void sts_cancel(struct sts_ask *a)
{
    if (a == NULL)
        return;
    asking_end(&a->one);
    free(a);
}

static void settle(struct sts_ask *a, const struct sts_answer *answer)
{
    void (*answered)(void *, const struct sts_answer *) = a->answered;
    void *arg = a->arg;
    sts_cancel(a);
    answered(arg, answer);
}

static void on_late(void *ask)
{
    settle(ask, &(struct sts_answer){.status = STS_UNKNOWN,
                                     .why = VR_STR("the process that keeps the policies does not answer")});
}

static void pack(const struct asking_one *one, struct vr_buf *frame)
{
    const struct sts_ask *a = (const struct sts_ask *)one;
    ipc_put_str(frame, vr_str(a->domain, a->n));
}

struct sts_asks *sts_new(struct process *p)
{
    struct sts_asks *s = calloc(1, sizeof *s);
    assert(s != NULL);
    s->asking = (struct asking){
        .process = p, .role = IPC_RESOLVER, .type = IPC_STS_ASK, .pack = pack, .late = on_late};
    asking_init(&s->asking);
    return s;
}

struct sts_ask *sts_ask(struct sts_asks *s, struct vr_str domain,
                        void (*answered)(void *arg, const struct sts_answer *a), void *arg)
{
    struct sts_ask *a = calloc(1, sizeof *a + domain.n + 1);
    assert(a != NULL);
    a->answered = answered;
    a->arg = arg;
    a->n = domain.n;
    memcpy(a->domain, domain.p, domain.n);
    asking_begin(&s->asking, &a->one, PATIENCE_MS);
    return a;
}

void sts_frame(struct sts_asks *s, struct vr_str payload)
{
    struct ipc_reader r = ipc_reader(payload);
    struct sts_ask *a = (struct sts_ask *)asking_find(&s->asking, ipc_get_u64(&r));
    uint8_t status = ipc_get_u8(&r);
    struct sts_answer answer = {.id = ipc_get_str(&r), .policy = ipc_get_str(&r), .why = ipc_get_str(&r)};
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
    asking_attached(&s->asking);
}

void sts_lost(struct sts_asks *s, const struct peer *gone)
{
    asking_lost(&s->asking, gone);
}
