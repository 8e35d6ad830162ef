/* resolving.c - see resolving.h. */
#include "ipc/resolving.h"

#include "ipc/asking.h"

#include <assert.h>
#include <stdlib.h>

struct resolving_ask {
    struct asking_one one;
    struct vr_arena *arena;
    struct dns_question *questions;
    size_t count, asked; /* asked: the first of them, which go into the frame */
    void (*answered)(void *arg, const struct dns_answer *answers, size_t n);
    void *arg;
};

struct resolving {
    struct asking asking;
};

void resolving_cancel(struct resolving_ask *a)
{
    if (a == NULL)
        return;
    asking_end(&a->one);
    free(a->questions);
    free(a);
}

/* Of the answers those to our questions, by name and type: what was not asked is not taken, what was not answered has failed. */
static void settle(struct resolving_ask *a, const struct dns_answer *known, size_t known_count,
                   struct vr_str why)
{
    struct dns_answer *out = vr_arena_alloc(a->arena, (a->count + 1) * sizeof *out);
    for (size_t i = 0; out != NULL && i < a->count; i++) {
        const struct dns_answer *k =
            dns_answer_find(known, known_count, a->questions[i].name, a->questions[i].type);
        out[i] = k != NULL ? *k : dns_answer_failed(a->questions[i], why);
        out[i].name = vr_arena_dup(a->arena, a->questions[i].name);
    }
    void (*answered)(void *, const struct dns_answer *, size_t) = a->answered;
    void *arg = a->arg;
    size_t n = out != NULL ? a->count : 0; /* the arena is full: the owner's next call says so */
    resolving_cancel(a);
    answered(arg, out, n);
}

static void on_late(void *ask)
{
    settle(ask, NULL, 0, VR_STR("the DNS did not answer in time"));
}

static void pack(const struct asking_one *one, struct vr_buf *frame)
{
    const struct resolving_ask *a = (const struct resolving_ask *)one;
    ipc_put_questions(frame, a->questions, a->asked);
}

struct resolving *resolving_new(struct process *p)
{
    struct resolving *r = calloc(1, sizeof *r);
    assert(r != NULL);
    r->asking = (struct asking){
        .process = p, .role = IPC_RESOLVER, .type = IPC_DNS_ASK, .pack = pack, .late = on_late};
    asking_init(&r->asking);
    return r;
}

void resolving_free(struct resolving *r)
{
    while (r != NULL && !TAILQ_EMPTY(&r->asking.open))
        resolving_cancel((struct resolving_ask *)TAILQ_FIRST(&r->asking.open));
    free(r);
}

struct resolving_ask *resolving_ask(struct resolving *r, struct vr_arena *arena,
                                    const struct dns_question *questions, size_t n, int64_t timeout_ms,
                                    void (*answered)(void *arg, const struct dns_answer *answers, size_t n),
                                    void *arg)
{
    struct resolving_ask *a = calloc(1, sizeof *a);
    assert(a != NULL);
    *a = (struct resolving_ask){.arena = arena,
                                .count = n,
                                .asked = n < DNS_ASK_MAX ? n : DNS_ASK_MAX,
                                .answered = answered,
                                .arg = arg};
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += questions[i].name.n;
    a->questions = calloc(1, (n + 1) * sizeof *a->questions + bytes);
    assert(a->questions != NULL);
    char *at = (char *)(a->questions + n + 1);
    for (size_t i = 0; i < n; i++) {
        struct vr_str name = questions[i].name;
        a->questions[i] = (struct dns_question){.name = vr_str(at, name.n), .type = questions[i].type};
        for (size_t k = 0; k < name.n; k++)
            *at++ = name.p[k];
    }
    asking_begin(&r->asking, &a->one, timeout_ms);
    return a;
}

void resolving_frame(struct resolving *r, struct vr_str payload)
{
    struct ipc_reader reader = ipc_reader(payload);
    struct resolving_ask *a = (struct resolving_ask *)asking_find(&r->asking, ipc_get_u64(&reader));
    if (a == NULL) /* too late, or cancelled */
        return;
    struct dns_answer *answers = NULL;
    size_t n = 0;
    bool good = ipc_get_answers(&reader, a->arena, &answers, &n) && ipc_done(&reader);
    settle(a, answers, good ? n : 0,
           good ? VR_STR("too many questions at a time") : VR_STR("the answers are too big"));
}

void resolving_attached(struct resolving *r)
{
    asking_attached(&r->asking);
}

void resolving_lost(struct resolving *r, const struct peer *gone)
{
    asking_lost(&r->asking, gone);
}
