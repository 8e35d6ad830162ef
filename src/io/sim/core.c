/* core.c - the heart of the simulator: a heap of events in virtual time, fibers, and chance from one seed.
 *
 * Determinism: events run by time, then by the order of their making; chance is drawn in that order. Nothing else decides anything.
 */
#include "io/sim/inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define POOL_MAX 256

static struct {
    uint64_t state[4];
    int64_t now_us;
    uint64_t seq, ran, digest;
    struct event **heap;
    size_t count, capacity;
    bool stop;
    struct fiber *current;
    struct fiber scheduler; /* only its context */
    TAILQ_HEAD(, fiber) pool;
    unsigned pooled;
} sim;

/* ---- chance (xoshiro256**, Blackman and Vigna; seeded by splitmix64) ----------------------------------------------------- */

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t sim_random(void)
{
    uint64_t *s = sim.state, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t sim_below(uint64_t n)
{
    return n > 1 ? sim_random() % n : 0;
}

bool sim_chance(unsigned per_million)
{
    return per_million > 0 && sim_below(1000000) < per_million;
}

void sim_begin(uint64_t seed)
{
    TAILQ_INIT(&sim.pool);
    for (size_t i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        sim.state[i] = z ^ (z >> 31);
    }
    net_reset();
    disk_reset();
}

/* ---- events ------------------------------------------------------------------------------------------------------------- */

int64_t sim_now_us(void)
{
    return sim.now_us;
}

uint64_t sim_events(void)
{
    return sim.ran;
}

uint64_t sim_digest(void)
{
    return sim.digest;
}

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void place(size_t at, struct event *e)
{
    sim.heap[at] = e;
    e->heap_at = at + 1;
}

static void sift(size_t at)
{
    struct event *e = sim.heap[at];
    while (at > 0 && earlier(e, sim.heap[(at - 1) / 2])) {
        place(at, sim.heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= sim.count)
            break;
        if (child + 1 < sim.count && earlier(sim.heap[child + 1], sim.heap[child]))
            child++;
        if (!earlier(sim.heap[child], e))
            break;
        place(at, sim.heap[child]);
        at = child;
    }
    place(at, e);
}

void event_stop(struct event *e)
{
    if (e->heap_at == 0)
        return;
    size_t at = e->heap_at - 1;
    e->heap_at = 0;
    struct event *last = sim.heap[--sim.count];
    if (last != e) {
        place(at, last);
        sift(at);
    }
}

void event_start(struct event *e, int64_t after_us)
{
    event_stop(e);
    e->at = sim.now_us + (after_us > 0 ? after_us : 0);
    e->seq = ++sim.seq;
    if (sim.count == sim.capacity) {
        size_t own = memory_pause();
        sim.capacity = sim.capacity > 0 ? 2 * sim.capacity : 1024;
        sim.heap = realloc(sim.heap, sim.capacity * sizeof(struct event *));
        assert(sim.heap != NULL);
        memory_resume(own);
    }
    place(sim.count++, e);
    sift(sim.count - 1);
}

struct once {
    struct event event;
    void (*run)(void *arg);
    void *arg;
};

static void once_run(void *arg)
{
    struct once *o = arg;
    void (*run)(void *) = o->run;
    void *run_arg = o->arg;
    free(o);
    run(run_arg);
}

void sim_after(int64_t us, void (*run)(void *arg), void *arg)
{
    size_t own = memory_pause();
    struct once *o = calloc(1, sizeof *o);
    assert(o != NULL);
    memory_resume(own);
    o->run = run;
    o->arg = arg;
    o->event = (struct event){.run = once_run, .arg = o};
    event_start(&o->event, us);
}

void sim_stop(void)
{
    sim.stop = true;
}

bool sim_run(int64_t until_us)
{
    sim.stop = false;
    while (sim.count > 0 && !sim.stop) {
        struct event *e = sim.heap[0];
        if (e->at > until_us) {
            sim.now_us = until_us;
            return false;
        }
        event_stop(e);
        sim.now_us = e->at;
        sim.ran++;
        sim.digest = (sim.digest ^ (uint64_t)e->at ^ e->seq) * 0x100000001b3;
        e->run(e->arg);
    }
    return true;
}

/* ---- fibers ------------------------------------------------------------------------------------------------------------- */

struct fiber *fiber_current(void)
{
    return sim.current;
}

/* ASan must know on which stack it is. */
static void switch_to(struct fiber *from, struct fiber *to, bool forever)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(forever ? NULL : &from->fake_stack, to->stack, to->stack_size);
#endif
    (void)forever;
    sim.current = to == &sim.scheduler ? NULL : to;
    swapcontext(&from->context, &to->context);
#if defined(__SANITIZE_ADDRESS__)
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(from->fake_stack, &bottom, &size);
#endif
}

static void fiber_main(void)
{
    struct fiber *f = sim.current;
#if defined(__SANITIZE_ADDRESS__)
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
    if (sim.scheduler.stack == NULL) {
        sim.scheduler.stack = (char *)bottom;
        sim.scheduler.stack_size = size;
    }
#endif
    f->run(f->arg);
    f->ended = true;
    for (;;)
        switch_to(f, f->caller, true);
}

static void prepare(struct fiber *f)
{
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = f->stack_size;
    makecontext(&f->context, fiber_main, 0);
}

struct fiber *fiber_new(struct sim_actor *a, size_t stack_size, void (*run)(void *arg), void *arg)
{
    struct fiber *f = NULL;
    TAILQ_FOREACH(f, &sim.pool, entry)
    if (f->stack_size == stack_size)
        break;
    char *stack;
    if (f != NULL) {
        TAILQ_REMOVE(&sim.pool, f, entry);
        sim.pooled--;
        stack = f->stack;
    } else {
        size_t own = memory_pause();
        f = malloc(sizeof *f);
        assert(f != NULL);
        memory_resume(own);
        stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                     -1, 0);
        assert(stack != MAP_FAILED);
    }
    *f = (struct fiber){.actor = a, .run = run, .arg = arg, .stack = stack, .stack_size = stack_size};
    prepare(f);
    return f;
}

void fiber_resume(struct fiber *f)
{
    struct fiber *from = sim.current != NULL ? sim.current : &sim.scheduler;
    f->caller = from;
    switch_to(from, f, false);
}

void fiber_yield(void)
{
    struct fiber *f = sim.current;
    switch_to(f, f->caller, f->actor->dead);
}

void fiber_free(struct fiber *f)
{
    assert(f != sim.current);
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(f->stack, f->stack_size);
#endif
    if (sim.pooled < POOL_MAX) {
        TAILQ_INSERT_HEAD(&sim.pool, f, entry);
        sim.pooled++;
        return;
    }
    munmap(f->stack, f->stack_size);
    free(f);
}

/* The events of somebody who died; their memory is about to go. */
void events_drop(const struct sim_actor *owner)
{
    size_t kept = 0, n = sim.count;
    for (size_t i = 0; i < n; i++) {
        struct event *e = sim.heap[i];
        if (e->owner == owner)
            e->heap_at = 0;
        else
            place(kept++, e);
    }
    for (sim.count = 0; sim.count < kept;) { /* anew, one by one */
        sim.count++;
        sift(sim.count - 1);
    }
}
