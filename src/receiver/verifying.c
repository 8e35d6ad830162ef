/* verifying.c - SPF, DKIM, ARC and DMARC of strangers' mail: what must be asked of the DNS is asked while the message streams in; who waits waits alone.
 *
 * Whose:      clients of `mx` listeners that neither logged in nor are trusted, nor of verify.skip (this machine). Nobody else's message is looked at, nor hashed.
 * Steps:      HELO and MAIL at MAIL; DKIM and ARC when the header is complete; DMARC when all of these are known. Each check asks on its own, so that a name server that is
 *             silent for one costs the others nothing; each has verify.timeout for all that it asks.
 * Waiting:    at MAIL only where a domain rejects by SPF; else at the end of the data.
 * Promise:    what the DNS did not say is temperror, never a pass, and never "none".
 * RFC:        7208 §2.2, 4.6.4; 6376 §6; 8617 §5.2; 9989 §5.3
 * Tests:      tests/unit/receiver_verifying.c, tests/e2e/test_verify.py, tests/sim/
 */
#include "receiver/verifying.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX    40   /* more than any check needs */
#define ANSWERS_MAX   2000 /* likewise */
#define ANSWERS_ARENA (8u << 20)
#define CHECK_ARENA   (2u << 20) /* twice the largest header, and what dkim.h and arc.h want besides */

static void verifying_pump(struct verification *v);

/* ---- one call of each check: its open questions, or its result ------------------------------------------------------------ */

enum step { STEP_DONE, STEP_ASK, STEP_LATER /* more of the message must come first */ };
struct questions {
    const struct dns_question *list;
    size_t count;
};

/* A check of which the bounds are reached has no result that anybody could use. */
#define OUT_OF_BOUNDS "the answers of the DNS are beyond all bounds"
static const struct vr_str out_of_bounds = VR_STR_INIT(OUT_OF_BOUNDS);

/* It stands for all of them. */
static const struct dkim_signature no_signature_known = {
    .verdict = DKIM_TEMPERROR, .reason = VR_STR_INIT(OUT_OF_BOUNDS), .time = -1, .expires = -1};

static enum step spf_step(struct check *c, struct questions *q)
{
    struct verification *v = c->of;
    struct spf_result *r = &v->spf[c->kind];
    struct spf_query query = {.client = v->client,
                              .helo = v->helo,
                              .sender = v->sender,
                              .identity = c->kind == CHECK_HELO ? SPF_HELO : SPF_MAIL_FROM,
                              .receiver = v->transaction->receiver->config->hostname,
                              .now = io_now_us(v->transaction->receiver->io) / 1000000,
                              .answers = v->answers,
                              .answer_count = v->answer_count};
    bool good = !c->given_up && spf_check(&query, &c->arena, r) == VR_OK;
    if (!good)
        *r = (struct spf_result){.state = SPF_DONE, .verdict = SPF_TEMPERROR, .reason = out_of_bounds};
    *q = (struct questions){r->questions, r->question_count};
    return r->state == SPF_DONE ? STEP_DONE : STEP_ASK;
}

static struct dkim_query dkim_query_of(const struct verification *v)
{
    return (struct dkim_query){.now = io_now_us(v->transaction->receiver->io) / 1000000,
                               .answers = v->answers,
                               .answer_count = v->answer_count};
}

static enum step dkim_step(struct check *c, struct questions *q)
{
    struct verification *v = c->of;
    struct dkim_query query = dkim_query_of(v);
    if (!mail_digest_has_header(v->transaction->digest))
        return STEP_LATER;
    v->dkim_unknown =
        c->given_up || dkim_verify(v->transaction->digest, &query, &c->arena, &v->dkim) != VR_OK;
    if (v->dkim_unknown)
        v->dkim =
            (struct dkim_result){.state = DKIM_DONE, .signatures = &no_signature_known, .signature_count = 1};
    *q = (struct questions){v->dkim.questions, v->dkim.question_count};
    return v->dkim.state == DKIM_DONE ? STEP_DONE : q->count > 0 ? STEP_ASK : STEP_LATER;
}

static enum step arc_step(struct check *c, struct questions *q)
{
    struct verification *v = c->of;
    struct dkim_query query = dkim_query_of(v);
    if (!mail_digest_has_header(v->transaction->digest))
        return STEP_LATER;
    if (c->given_up || arc_validate(v->transaction->digest, &query, &c->arena, &v->arc) != VR_OK)
        v->arc = (struct arc_result){
            .state = DKIM_DONE, .status = ARC_FAIL, .reason = out_of_bounds, .temporary = true};
    *q = (struct questions){v->arc.questions, v->arc.question_count};
    return v->arc.state == DKIM_DONE ? STEP_DONE : q->count > 0 ? STEP_ASK : STEP_LATER;
}

static enum step dmarc_step(struct check *c, struct questions *q)
{
    struct verification *v = c->of;
    for (enum check_kind k = 0; k < CHECK_DMARC; k++)
        if (v->checks[k].wanted && !v->checks[k].done)
            return STEP_LATER;
    const struct spf_result *spf = verification_spf(v);
    bool good =
        !c->given_up && dmarc_from(&c->arena, mail_digest_header(v->transaction->digest), &v->from) == VR_OK;
    struct dmarc_query query = {.method = v->transaction->receiver->config->verify_dmarc_method,
                                .from = &v->from,
                                .spf_pass = spf != NULL && spf->verdict == SPF_PASS,
                                .spf_temperror = spf != NULL && spf->verdict == SPF_TEMPERROR,
                                .spf_domain = spf != NULL ? spf->domain : vr_str(NULL, 0),
                                .signatures = v->dkim.signatures,
                                .signature_count = v->dkim.signature_count,
                                .dkim_temperror = v->dkim_unknown,
                                .sample = v->sample,
                                .answers = v->answers,
                                .answer_count = v->answer_count};
    if (!good || dmarc_evaluate(&query, &c->arena, &v->dmarc) != VR_OK)
        v->dmarc =
            (struct dmarc_result){.state = DKIM_DONE, .verdict = DMARC_TEMPERROR, .reason = out_of_bounds};
    *q = (struct questions){v->dmarc.questions, v->dmarc.question_count};
    return v->dmarc.state == DKIM_DONE ? STEP_DONE : q->count > 0 ? STEP_ASK : STEP_LATER;
}

static enum step (*const steps[CHECK_COUNT])(struct check *c,
                                             struct questions *q) = {[CHECK_HELO] = spf_step,
                                                                     [CHECK_MAIL_FROM] = spf_step,
                                                                     [CHECK_DKIM] = dkim_step,
                                                                     [CHECK_ARC] = arc_step,
                                                                     [CHECK_DMARC] = dmarc_step};

/* ---- asking ----------------------------------------------------------------------------------------------------------------- */

static bool answers_add(struct verification *v, const struct dns_answer *answers, size_t n)
{
    if (v->answer_count + n > ANSWERS_MAX)
        return false;
    if (v->answer_count + n > v->answer_capacity) {
        v->answer_capacity = (v->answer_count + n) * 2;
        v->answers = realloc(v->answers, v->answer_capacity * sizeof *v->answers);
        assert(v->answers != NULL);
    }
    for (size_t i = 0; i < n; i++)
        v->answers[v->answer_count++] = answers[i];
    return true;
}

static void on_answers(void *arg, const struct dns_answer *answers, size_t n)
{
    struct check *c = arg;
    c->ask = NULL;
    c->waited_ms += io_monotonic_ms(c->of->transaction->receiver->io) - c->asked_ms;
    c->given_up = n == 0 || !answers_add(c->of, answers, n);
    verifying_pump(c->of);
}

static void check_run(struct check *c)
{
    struct verification *v = c->of;
    struct receiver *r = v->transaction->receiver;
    struct questions q = {0};
    if (!c->wanted || c->done || c->ask != NULL)
        return;
    if (++c->rounds > ROUNDS_MAX)
        c->given_up = true;
    vr_arena_reset(&c->arena);
    enum step step = steps[c->kind](c, &q);
    c->done = step == STEP_DONE;
    if (step == STEP_LATER)
        c->rounds--; /* it was no answer that brought us here */
    if (step != STEP_ASK)
        return;
    c->asked_ms = io_monotonic_ms(r->io);
    c->ask = resolving_ask(r->resolving, &v->memory, q.list, q.count,
                           r->config->verify_timeout - c->waited_ms, on_answers, c);
}

static bool spf_is_done(const struct verification *v)
{
    return (!v->checks[CHECK_HELO].wanted || v->checks[CHECK_HELO].done) &&
           (!v->checks[CHECK_MAIL_FROM].wanted || v->checks[CHECK_MAIL_FROM].done);
}

static bool all_is_done(const struct verification *v)
{
    for (size_t i = 0; i < CHECK_COUNT; i++)
        if (v->checks[i].wanted && !v->checks[i].done)
            return false;
    return true;
}

static void checks_run(struct verification *v)
{
    for (size_t i = 0; i < CHECK_COUNT; i++)
        check_run(&v->checks[i]);
}

/* May free the session, and v with it. */
static void verifying_pump(struct verification *v)
{
    struct session *s = v->transaction->session;
    checks_run(v);
    bool mail = v->waits == WAITS_AT_MAIL && spf_is_done(v), end = v->waits == WAITS_AT_END && all_is_done(v);
    if (!mail && !end)
        return;
    v->waits = WAITS_NOT;
    s->asking = ASK_NOTHING;
    if (mail)
        policy_mail_accept(s);
    else
        transaction_go_on(v->transaction);
}

static void wait_for(struct verification *v, int where)
{
    struct session *s = v->transaction->session;
    session_renumber(s); /* what the keeper was asked before is of no concern any more */
    s->asking = ASK_DNS;
    s->deadline_ms = INT64_MAX; /* each question has its own */
    v->waits = where;
}

/* ---- beginning and end -------------------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct config_verify *w)
{
    return w->spf > VERIFY_NONE || w->dkim > VERIFY_NONE || w->dmarc > VERIFY_NONE;
}

static bool is_stranger(const struct session *s)
{
    const struct listener *l = s->listener;
    return !l->submission && !l->local && !l->smtp.lmtp && !policy_is_known(s) &&
           !session_is_of(s, &s->receiver->config->verify_skip);
}

/* Who is to be judged: a filter's XFORWARD says whose mail it is. False: nobody knows his address, so SPF has nothing to say. */
static bool find_client(struct verification *v)
{
    const struct transaction *t = v->transaction;
    const struct smtp_x *x = &t->forwarded;
    struct io_address a;
    if (x->known & SMTP_X_ADDR) {
        v->client.family = (uint8_t)x->client.family;
        memcpy(v->client.ip, x->client.ip, sizeof v->client.ip);
        v->helo = x->helo;
        a = (struct io_address){.family = x->client.family == 4 ? IO_INET : IO_INET6};
        memcpy(a.ip, x->client.ip, sizeof a.ip);
    } else if (session_address(t->session, &a)) {
        v->client.family = a.family == IO_INET ? 4 : 6;
        memcpy(v->client.ip, a.ip, sizeof v->client.ip);
        v->helo = t->envelope.helo;
    } else {
        return false;
    }
    char text[IO_ADDRESS_TEXT];
    io_address_ip_text(&a, text);
    v->client_text = vr_arena_dup(&v->memory, vr_str_from(text));
    return true;
}

static void verification_new(struct transaction *t)
{
    struct verification *v = calloc(1, sizeof *v);
    assert(v != NULL);
    t->verification = v;
    v->transaction = t;
    v->wants = t->receiver->config->verify_any;
    v->sender = t->envelope.reverse_path;
    vr_arena_init(&v->memory, ANSWERS_ARENA);
    uint32_t dice;
    io_random(t->receiver->io, &dice, sizeof dice);
    v->sample = dice % 100;
    for (enum check_kind k = 0; k < CHECK_COUNT; k++) {
        v->checks[k] = (struct check){.of = v, .kind = k};
        vr_arena_init(&v->checks[k].arena, CHECK_ARENA);
    }
}

bool verifying_begin(struct transaction *t)
{
    const struct config_verify *any = &t->receiver->config->verify_any;
    if (!is_stranger(t->session) || !is_wanted(any))
        return false;
    verification_new(t);
    struct verification *v = t->verification;
    bool spf = (any->spf > VERIFY_NONE || any->dmarc > VERIFY_NONE) && find_client(v);
    v->checks[CHECK_HELO].wanted = spf;
    v->checks[CHECK_MAIL_FROM].wanted = spf && v->sender.n > 0;
    checks_run(v);
    if (any->spf != VERIFY_REJECT || spf_is_done(v))
        return false;
    wait_for(v, WAITS_AT_MAIL);
    return true;
}

static bool differs(const struct config_verify *a, const struct config_verify *b)
{
    return a->spf != b->spf || a->dkim != b->dkim || a->dmarc != b->dmarc;
}

struct smtp_reply verifying_rcpt(struct transaction *t, const struct config_domain *d)
{
    struct verification *v = t->verification;
    const struct config_verify *wants = d != NULL ? &d->verify : &t->receiver->config->verify;
    if (v == NULL)
        return (struct smtp_reply){0};
    if (v->bound && differs(wants, &v->wants)) /* a message has one fate */
        return SMTP_REPLY(452, "4.5.3",
                          "this recipient's domain verifies mail in another way; send to it separately");
    return verdicts_rcpt(v, wants);
}

void verifying_bind(struct transaction *t, const struct config_domain *d)
{
    struct verification *v = t->verification;
    if (v == NULL)
        return;
    v->wants = d != NULL ? d->verify : t->receiver->config->verify;
    v->bound = true;
}

bool verifying_digests(struct transaction *t)
{
    struct verification *v = t->verification;
    if (v == NULL || (v->wants.dkim <= VERIFY_NONE && v->wants.dmarc <= VERIFY_NONE))
        return false;
    v->checks[CHECK_DKIM].wanted = v->checks[CHECK_ARC].wanted = true;
    v->checks[CHECK_DMARC].wanted = v->wants.dmarc > VERIFY_NONE;
    return true;
}

void verifying_header(struct transaction *t)
{
    struct verification *v = t->verification;
    if (v == NULL)
        return;
    check_run(&v->checks[CHECK_DKIM]);
    check_run(&v->checks[CHECK_ARC]);
}

static const struct smtp_reply reply_endless = {
    552, "5.3.4",
    VR_STR_INIT(
        "the header of the message is too large to be verified: 256 KiB and 2,000 fields are the most")};

bool verifying_ask(struct transaction *t)
{
    struct verification *v = t->verification;
    if (v == NULL || v->settled)
        return false;
    if (t->digest != NULL && !mail_digest_ended(t->digest) &&
        mail_digest_end(t->digest) != VR_OK) { /* nobody could say what is in it, nor who wrote it */
        policy_refused(t->session, "message.refused", t->envelope.reverse_path,
                       "its header is too large to be verified");
        transaction_refuse(t, reply_endless);
        return true;
    }
    if (!is_wanted(&v->wants)) /* other domains want to know */
        return false;
    checks_run(v);
    if (!all_is_done(v)) {
        wait_for(v, WAITS_AT_END);
        return true;
    }
    v->settled = true;
    struct smtp_reply reply = verdicts_settle(v);
    if (reply.code == 0)
        return false;
    transaction_refuse(t, reply);
    return true;
}

void verifying_forget(struct transaction *t)
{
    struct verification *v = t->verification;
    if (v == NULL)
        return;
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        resolving_cancel(v->checks[i].ask);
        vr_arena_fini(&v->checks[i].arena);
    }
    vr_arena_fini(&v->memory);
    free(v->answers);
    free(v);
    t->verification = NULL;
}

/* ---- what is known -------------------------------------------------------------------------------------------------------------- */

bool verification_done(const struct verification *v, enum check_kind kind)
{
    return v->checks[kind].wanted && v->checks[kind].done;
}

const struct spf_result *verification_spf(const struct verification *v)
{
    enum check_kind kind = v->checks[CHECK_MAIL_FROM].wanted ? CHECK_MAIL_FROM : CHECK_HELO;
    return verification_done(v, kind) ? &v->spf[kind] : NULL;
}
