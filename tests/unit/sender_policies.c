/* sender_policies.c - how much TLS each host must do, from tables; and the questions for MTA-STS policies, with a resolver that this test plays. */
#include "sender/inside.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- what a host must do ------------------------------------------------------------------------------------------------------ */

enum { D_NOT, D_NOTHING, D_ENCRYPT, D_VERIFY, D_LATER };
enum { S_NOT, S_NONE, S_TESTING, S_ENFORCE, S_OTHER /* enforced, and names another host */, S_OTHER_TESTING };

static const struct row {
    enum next_hop_tls tls;
    int dane, sts;
    bool mx_secure, strict;
    const char *wanted; /* level, policy, "dns-id", "named"; or what the refusal says */
} rows[] = {
    {NEXT_HOP_TLS_MAY, D_NOT, S_NOT, false, false, "may none"},
    {NEXT_HOP_TLS_MAY, D_NOTHING, S_NONE, true, false, "may none named"},
    {NEXT_HOP_TLS_NONE, D_NOT, S_NOT, false, false, "never none"},
    {NEXT_HOP_TLS_REQUIRED, D_NOTHING, S_NOT, false, false, "encrypt none"},
    {NEXT_HOP_TLS_VERIFY, D_NOT, S_NOT, false, false, "authority none"},
    {NEXT_HOP_TLS_IMPLICIT, D_NOT, S_NOT, true, false, "authority none named"},
    /* DANE */
    {NEXT_HOP_TLS_MAY, D_VERIFY, S_NOT, true, false, "dane dane named"},
    {NEXT_HOP_TLS_MAY, D_VERIFY, S_NOT, false, false, "dane dane"},
    {NEXT_HOP_TLS_MAY, D_ENCRYPT, S_NOT, true, false, "encrypt dane named"},
    {NEXT_HOP_TLS_REQUIRED, D_VERIFY, S_NOT, true, false, "dane dane named"},
    {NEXT_HOP_TLS_MAY, D_LATER, S_NOT, true, false, "! the DNS is silent"},
    {NEXT_HOP_TLS_DANE, D_NOTHING, S_NOT, true, false, "may none named"},
    {NEXT_HOP_TLS_DANE_ONLY, D_VERIFY, S_NOT, true, false, "dane dane named"},
    {NEXT_HOP_TLS_DANE_ONLY, D_VERIFY, S_NOT, false, false, "! are not signed"},
    {NEXT_HOP_TLS_DANE_ONLY, D_NOTHING, S_NOT, true, false, "! no records"},
    {NEXT_HOP_TLS_DANE_ONLY, D_ENCRYPT, S_NOT, true, false, "! none of its TLSA records can be used"},
    {NEXT_HOP_TLS_DANE_ONLY, D_LATER, S_NOT, true, false, "! the DNS is silent"},
    {NEXT_HOP_TLS_DANE_ONLY, D_NOT, S_NOT, true, false, "! is no name"},
    /* MTA-STS */
    {NEXT_HOP_TLS_MAY, D_NOTHING, S_ENFORCE, false, false, "authority sts dns-id named"},
    {NEXT_HOP_TLS_MAY, D_NOTHING, S_OTHER, false, false, "! does not name the host mx.a.test"},
    {NEXT_HOP_TLS_MAY, D_NOTHING, S_OTHER, true, false,
     "! does not name the host"}, /* signed MX records are no DANE */
    {NEXT_HOP_TLS_MAY, D_NOTHING, S_TESTING, false, false, "may sts-testing named"},
    {NEXT_HOP_TLS_MAY, D_NOTHING, S_OTHER_TESTING, false, false, "may sts-testing"},
    {NEXT_HOP_TLS_MAY, D_ENCRYPT, S_ENFORCE, true, false,
     "authority sts dns-id named"}, /* none of the two is less */
    /* both: DANE decides about the certificate, and about the names too where it can */
    {NEXT_HOP_TLS_MAY, D_VERIFY, S_ENFORCE, true, false, "dane dane named"},
    {NEXT_HOP_TLS_MAY, D_VERIFY, S_OTHER, true, false, "dane dane named"},
    {NEXT_HOP_TLS_MAY, D_VERIFY, S_OTHER, false, false, "! does not name the host"},
    {NEXT_HOP_TLS_MAY, D_VERIFY, S_ENFORCE, false, false, "dane dane named"},
    {NEXT_HOP_TLS_MAY, D_LATER, S_ENFORCE, true, false, "! the DNS is silent"},
    /* REQUIRETLS */
    {NEXT_HOP_TLS_MAY, D_NOTHING, S_NOT, true, true, "authority none named"},
    {NEXT_HOP_TLS_NONE, D_NOT, S_NOT, true, true, "authority none named"},
    {NEXT_HOP_TLS_MAY, D_NOTHING, S_TESTING, false, true, "authority sts-testing named"},
    {NEXT_HOP_TLS_MAY, D_VERIFY, S_NOT, true, true, "dane dane named"},
    {NEXT_HOP_TLS_MAY, D_ENCRYPT, S_NOT, true, true, "authority dane named"},
};

static void hosts_and_their_policies(void **state)
{
    (void)state;
    static const char *const levels[] = {"never", "may", "encrypt", "authority", "dane"};
    static const enum dane_verdict verdicts[] = {DANE_ASK, DANE_NOTHING, DANE_ENCRYPT, DANE_VERIFY,
                                                 DANE_LATER};
    const struct vr_str host = VR_STR("mx.a.test"), other = VR_STR("mx.b.test"), record = VR_STR("\3\1\1x");
    struct vr_arena arena;
    vr_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        bool others = r->sts >= S_OTHER;
        const struct mtasts_policy sts = {r->sts == S_NONE                           ? MTASTS_NONE
                                          : r->sts == S_ENFORCE || r->sts == S_OTHER ? MTASTS_ENFORCE
                                                                                     : MTASTS_TESTING,
                                          1000, others ? &other : &host, 1};
        const struct dane_result dane = {.verdict = verdicts[r->dane],
                                         .text = r->dane == D_LATER ? VR_STR("the DNS is silent")
                                                                    : VR_STR("no records"),
                                         .names = &host,
                                         .name_count = r->dane == D_VERIFY,
                                         .records = &record,
                                         .record_count = r->dane == D_VERIFY};
        const struct policy_facts facts = {.wishes = {.strict = r->strict, .tls = r->tls},
                                           .domain = VR_STR("a.test"),
                                           .host = host,
                                           .by_mx = true,
                                           .mx_secure = r->mx_secure,
                                           .dane = r->dane != D_NOT ? &dane : NULL,
                                           .sts = r->sts != S_NOT ? &sts : NULL};
        const struct host_care *h = policy_of_host(&arena, &facts);
        struct vr_str told = h->refused.n > 0
                                 ? vr_arena_printf(&arena, "! %.*s", VR_STR_ARG(h->refused))
                                 : vr_arena_printf(&arena, "%s %s%s%s", levels[h->level], policy_name(h),
                                                   h->dns_id ? " dns-id" : "", h->named ? " named" : "");
        bool refusal = r->wanted[0] == '!';
        bool good = refusal ? h->refused.n > 0 && vr_str_find_str(told, vr_str_from(r->wanted + 2)) != VR_NPOS
                            : vr_str_equal(told, vr_str_from(r->wanted));
        if (!good)
            fail_msg("row %zu (%s): %.*s", i, r->wanted, VR_STR_ARG(told));
        assert_true((h->level == CARE_DANE && h->refused.n == 0) <=
                    (h->record_count == 1 && h->name_count == 1));
        assert_true(h->record_count == 0 || h->records[0].p != record.p); /* copied */
    }
    vr_arena_fini(&arena);
}

/* ---- asking the resolver ----------------------------------------------------------------------------------------------------- */

static struct io *io;
static struct process process;
static struct peer peers[2];
static struct io_channel *resolvers[2]; /* the test's ends */
static struct sts_asks *asks;
static uint64_t asked[2][8];
static size_t asked_count[2];
static char domains[2][8][64];
static struct {
    enum sts_status status;
    char id[40], why[100];
} answers[8];
static size_t answer_count;

static void on_ask(void *arg, uint16_t type, struct vr_str payload, int fd)
{
    size_t which = (size_t)(uintptr_t)arg;
    struct ipc_reader r = ipc_reader(payload);
    struct vr_str text;
    assert_int_equal(fd, -1);
    assert_int_equal(type, IPC_STS_ASK);
    asked[which][asked_count[which]] = ipc_get_u64(&r);
    text = ipc_get_str(&r);
    snprintf(domains[which][asked_count[which]], 64, "%.*s", VR_STR_ARG(text));
    assert_true(ipc_done(&r));
    asked_count[which]++;
    io_stop(io);
}

static void on_timeout(void *arg)
{
    (void)arg;
    io_stop(io);
}

static void run(int64_t ms)
{
    struct io_timer *t = io_timer_new(io, on_timeout, NULL);
    io_timer_start(t, ms, 0);
    io_run(io);
    io_timer_free(t);
}

static void on_end(void *arg, int status)
{
    (void)arg, (void)status;
}

static void on_answer(void *arg, const struct sts_answer *a)
{
    size_t which = (size_t)(uintptr_t)arg;
    answers[which].status = a->status;
    snprintf(answers[which].id, sizeof answers[0].id, "%.*s", VR_STR_ARG(a->id));
    snprintf(answers[which].why, sizeof answers[0].why, "%.*s", VR_STR_ARG(a->why));
    answer_count++;
}

static void attach(size_t which)
{
    static const struct io_channel_ops ours = {on_ask, on_end}, theirs = {on_ask, on_end};
    int fds[2];
    assert_int_equal(io_channel_pair(fds), 0);
    peers[which] = (struct peer){.process = &process, .role = IPC_RESOLVER, .slot = (uint32_t)which + 1};
    peers[which].channel = io_channel_new(io, fds[0], &theirs, NULL);
    resolvers[which] = io_channel_new(io, fds[1], &ours, (void *)which);
    process.peers = &peers[which];
    sts_attached(asks);
}

static void answer(uint64_t number, uint8_t status, const char *id, const char *why)
{
    struct vr_buf b;
    vr_buf_init(&b, 1000);
    ipc_put_u64(&b, number);
    ipc_put_u8(&b, status);
    ipc_put_str(&b, vr_str_from(id));
    ipc_put_str(&b, VR_STR(""));
    ipc_put_str(&b, vr_str_from(why));
    sts_frame(asks, vr_buf_str(&b));
    vr_buf_fini(&b);
}

static void questions_and_answers(void **state)
{
    (void)state;
    io = io_new(1);
    process = (struct process){.io = io};
    vr_buf_init(&process.scratch, 4096);
    asks = sts_new(&process);
    char name[] = "first.test";
    sts_ask(asks, vr_str_from(name), on_answer, (void *)0);
    memset(name, 'x', 5); /* it was copied */
    attach(0);            /* who comes later is asked */
    run(5000);
    assert_int_equal(asked_count[0], 1);
    assert_string_equal(domains[0][0], "first.test");
    answer(asked[0][0] + 7, IPC_STS_FOUND, "x", ""); /* not asked */
    assert_int_equal(answer_count, 0);
    answer(asked[0][0], IPC_STS_FOUND, "id1", "");
    answer(asked[0][0], IPC_STS_FOUND, "id2", ""); /* once */
    assert_int_equal(answer_count, 1);
    assert_int_equal(answers[0].status, STS_FOUND);
    assert_string_equal(answers[0].id, "id1");
    static const struct {
        uint8_t said;
        enum sts_status meant;
    } meanings[] = {{IPC_STS_NONE, STS_NONE},
                    {IPC_STS_UNSURE, STS_UNSURE},
                    {IPC_STS_LATER, STS_UNKNOWN},
                    {99, STS_UNKNOWN}};
    for (size_t i = 0; i < 4; i++) {
        sts_ask(asks, VR_STR("more.test"), on_answer, (void *)1);
        run(5000);
        answer(asked[0][1 + i], meanings[i].said, "", "why");
        assert_int_equal(answers[1].status, meanings[i].meant);
        assert_string_equal(answers[1].why, "why");
    }
    struct sts_ask *cancelled = sts_ask(asks, VR_STR("cancelled.test"), on_answer, (void *)3);
    run(5000);
    sts_ask(asks, VR_STR("second.test"), on_answer, (void *)2);
    run(5000);
    assert_int_equal(asked_count[0], 7);
    sts_cancel(cancelled);
    sts_cancel(NULL);
    process.peers = NULL; /* the resolver dies; the next one is asked what is open */
    sts_lost(asks, &peers[0]);
    attach(1);
    run(5000);
    assert_int_equal(asked_count[1], 1);
    assert_string_equal(domains[1][0], "second.test");
    answer(asked[0][6], IPC_STS_NONE, "", ""); /* the dead one's word */
    assert_int_equal(answer_count, 5);
    answer(asked[1][0], IPC_STS_FOUND, "id3", "");
    assert_int_equal(answer_count, 6);
    assert_string_equal(answers[2].id, "id3");
    for (size_t i = 0; i < 2; i++) {
        io_channel_close(resolvers[i]);
        io_channel_close(peers[i].channel);
    }
    vr_buf_fini(&process.scratch);
    free(asks);
    io_free(io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hosts_and_their_policies),
                                       cmocka_unit_test(questions_and_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
