/* conversations.c - see conversations.h. Each exchange is the sans-I/O machine of sasl.h; here its questions find their answers.
 *
 * Promise:    a client that keeps failing waits alone, whatever the source of its account; passwords and tokens are wiped as soon as they
 *             were checked, and no event ever holds one.
 * States:     talking -> waiting [ask_secret, the client's delay] -> working [ask_now] -> talking | finished
 * Invariants: (1) an exchange has at most one question under way; it outlives the exchange, its pointer back does not
 *             (2) every exchange that was not aborted ends in one IPC_SASL_DONE
 *             (3) `account` is whose exchange it is once a secret was found right, in its canonical form
 * Tests:      tests/unit/keeper.c, tests/unit/keeper_sources.c
 */
#include "keeper/conversations.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS       1024
#define MECHANISM_MAX 32
#define CLIENT_MAX    64

struct conversation {
    struct conversations *all;
    struct peer *peer;
    uint64_t id;
    struct sasl_server *sasl;
    char mechanism[MECHANISM_MAX], client[CLIENT_MAX];
    enum sasl_step wants; /* what is asked when the delay is over */
    bool busy;            /* waiting or working: no step may come */
    struct tokens_check *token;
    struct io_timer *delay;
    char account[ACCOUNT_NAME_MAX];
    size_t account_n;
    char why[256]; /* a source's own reason for its refusal; "": it gave none */
    struct conversation *next;
};

struct conversations {
    struct process *process;
    struct directory *directory;
    struct tokens *tokens;
    struct throttle *throttle;
    const uint8_t *secret;
    struct conversation *buckets[BUCKETS];
    size_t count;
};

struct conversations *conversations_new(struct process *p, struct directory *directory, struct tokens *tokens,
                                        struct throttle *throttle, const uint8_t secret[16])
{
    struct conversations *all = calloc(1, sizeof *all);
    assert(all != NULL);
    all->process = p;
    all->directory = directory;
    all->tokens = tokens;
    all->throttle = throttle;
    all->secret = secret;
    return all;
}

bool conversations_idle(const struct conversations *all)
{
    return all->count == 0;
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

static struct conversation **slot_of(struct conversations *all, const struct peer *peer, uint64_t id)
{
    struct conversation **at = &all->buckets[(id * 31 + peer->slot) % BUCKETS];
    while (*at != NULL && ((*at)->peer != peer || (*at)->id != id))
        at = &(*at)->next;
    return at;
}

static void conversation_free(struct conversation *c)
{
    struct conversations *all = c->all;
    struct conversation **at = slot_of(all, c->peer, c->id);
    if (*at == c) {
        *at = c->next;
        all->count--;
    }
    tokens_cancel(c->token);
    directory_forget(all->directory, c);
    io_timer_free(c->delay);
    sasl_server_free(c->sasl);
    free(c);
}

static void send_done(struct conversations *all, struct peer *peer, uint64_t id, enum ipc_sasl verdict,
                      struct vr_str user)
{
    struct vr_buf *b = process_frame(all->process);
    ipc_put_u64(b, id);
    ipc_put_u8(b, (uint8_t)verdict);
    ipc_put_str(b, user);
    peer_send(peer, IPC_SASL_DONE, b, -1);
}

/* ---- the end of an exchange ---------------------------------------------------------------------------------- */

static void log_end(struct conversation *c, enum ipc_sasl verdict, const char *why, unsigned failures)
{
    struct event_log *log = c->all->process->log;
    event_begin(log, verdict == IPC_SASL_OK ? EVENT_INFO : EVENT_NOTICE,
                verdict == IPC_SASL_OK ? "auth.ok" : "auth.failed", 0);
    event_str(log, "user", c->account_n > 0 ? vr_str(c->account, c->account_n) : sasl_server_user(c->sasl));
    event_text(log, "client", c->client);
    event_text(log, "mechanism", c->mechanism);
    if (verdict != IPC_SASL_OK)
        event_text(log, "reason", verdict == IPC_SASL_BAD && c->why[0] != '\0' ? c->why : why);
    if (failures >= THROTTLE_FREE_FAILURES)
        event_u64(log, "failures", failures);
    event_end(log);
}

static void finish(struct conversation *c, enum ipc_sasl verdict, const char *why)
{
    struct conversations *all = c->all;
    unsigned failures = 0;
    if (verdict == IPC_SASL_OK || verdict == IPC_SASL_BAD)
        failures = throttle_result(all->throttle, vr_str_from(c->client), verdict == IPC_SASL_OK,
                                   io_monotonic_ms(all->process->io));
    log_end(c, verdict, why, failures);
    send_done(all, c->peer, c->id, verdict, vr_str(c->account, verdict == IPC_SASL_OK ? c->account_n : 0));
    conversation_free(c);
}

/* ---- what the sources say ------------------------------------------------------------------------------------- */

static void settle(struct conversation *c, enum sasl_step step, struct vr_str out);

static void set_account(struct conversation *c, struct vr_str name)
{
    struct vr_str account = {0};
    if (!directory_account(c->all->process->config, name, c->account, &account))
        account.n = 0;
    c->account_n = account.n;
}

static void answered(void *keeper, struct account_question *q)
{
    struct conversation *c = q->owner;
    bool good = q->result == ACCOUNTS_OK;
    struct vr_str out = {0};
    enum sasl_step step;
    (void)keeper;
    c->busy = false;
    if (q->result == ACCOUNTS_TROUBLE) {
        finish(c, IPC_SASL_TEMPORARY, q->why);
        return;
    }
    if (!good)
        snprintf(c->why, sizeof c->why, "%s", q->why);
    set_account(c, q->renamed[0] != '\0' ? vr_str_from(q->renamed) : q->account);
    sasl_server_canonical(c->sasl,
                          q->account); /* all forms of a name have one salt, an account's or nobody's */
    if (c->wants == SASL_NEED_PASSWORD)
        step = sasl_server_password_checked(c->sasl, good, &out);
    else if (c->wants == SASL_NEED_SCRAM)
        step = sasl_server_scram_keys(c->sasl, good ? &q->keys : NULL, &out);
    else if (c->wants == SASL_NEED_CRAM)
        step = sasl_server_cram_keys(c->sasl, good ? &q->cram : NULL, &out);
    else
        step = sasl_server_identity_checked(c->sasl, good, &out);
    settle(c, step, out);
}

static void ask_directory(struct conversation *c)
{
    enum account_want want = c->wants == SASL_NEED_PASSWORD           ? ACCOUNT_PASSWORD
                             : c->wants == SASL_NEED_CRAM             ? ACCOUNT_CRAM
                             : c->wants != SASL_NEED_SCRAM            ? ACCOUNT_MAILBOX
                             : sasl_server_hash(c->sasl) == SASL_SHA1 ? ACCOUNT_SCRAM_SHA_1
                                                                      : ACCOUNT_SCRAM;
    directory_ask(c->all->directory, want, sasl_server_user(c->sasl),
                  want == ACCOUNT_PASSWORD ? sasl_server_password(c->sasl) : VR_STR(""),
                  vr_str_from(c->client), answered, c, 0);
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

static void token_settle(struct conversation *c, bool good, const char *why)
{
    struct vr_str out = {0}, account = vr_str(c->account, c->account_n), claimed = sasl_server_user(c->sasl);
    char text[ACCOUNT_NAME_MAX];
    struct vr_str name;
    c->busy = false;
    /* who says "ann" and is ann@example.org says the truth */
    if (directory_account(c->all->process->config, claimed, text, &name) && vr_str_equal(name, account))
        account = claimed;
    if (!good)
        snprintf(c->why, sizeof c->why, "%s", why);
    struct sasl_token_verdict v = {.good = good,
                                   .user = account,
                                   .openid_configuration =
                                       vr_str_from(c->all->process->config->oauth.openid_configuration)};
    enum sasl_step step = sasl_server_token_checked(c->sasl, &v, &out);
    settle(c, step, out);
}

static void token_account_answered(void *keeper, struct account_question *q)
{
    struct conversation *c = q->owner;
    (void)keeper;
    if (q->result == ACCOUNTS_TROUBLE)
        finish(c, IPC_SASL_TEMPORARY, q->why);
    else
        token_settle(c, q->result == ACCOUNTS_OK, "the token is good, and there is no such account here");
}

static void token_answered(void *arg, enum tokens_verdict verdict, struct vr_str account, const char *why)
{
    struct conversation *c = arg;
    if (verdict == TOKENS_GOOD)
        set_account(c, account);
    if (verdict == TOKENS_TROUBLE)
        finish(c, IPC_SASL_TEMPORARY, why);
    else if (verdict == TOKENS_BAD || c->all->process->config->oauth.unknown_accounts)
        token_settle(c, verdict == TOKENS_GOOD, why);
    else
        directory_ask(c->all->directory, ACCOUNT_MAILBOX, account, VR_STR(""), VR_STR(""),
                      token_account_answered, c, 0);
}

static void ask_tokens(struct conversation *c)
{
    if (c->all->tokens == NULL) { /* no key, no endpoint */
        token_settle(c, false, "no token is taken here: there is no section `oauth`");
        return;
    }
    tokens_ask(c->all->tokens, sasl_server_token(c->sasl), &c->token, token_answered, c);
}

/* ---- an exchange's steps --------------------------------------------------------------------------------------- */

static void ask_now(void *arg)
{
    struct conversation *c = arg;
    if (c->wants == SASL_NEED_TOKEN)
        ask_tokens(c);
    else
        ask_directory(c);
}

/* A password, keys or a token are to be looked at: at once, or when the client's turn comes. */
static void ask_secret(struct conversation *c, enum sasl_step wants)
{
    struct conversations *all = c->all;
    c->wants = wants;
    c->busy = true;
    int64_t delay = throttle_delay(all->throttle, vr_str_from(c->client), io_monotonic_ms(all->process->io));
    if (delay < 0) {
        finish(c, IPC_SASL_TEMPORARY, "too many failures from this client: turned away");
    } else if (delay == 0) {
        ask_now(c);
    } else {
        c->delay = io_timer_new(all->process->io, ask_now, c);
        io_timer_start(c->delay, delay, 0);
    }
}

static void settle(struct conversation *c, enum sasl_step step, struct vr_str out)
{
    switch (step) {
    case SASL_CHALLENGE: {
        struct vr_buf *b = process_frame(c->all->process);
        ipc_put_u64(b, c->id);
        ipc_put_str(b, out);
        peer_send(c->peer, IPC_SASL_CHALLENGE, b, -1);
        break;
    }
    case SASL_NEED_PASSWORD:
    case SASL_NEED_SCRAM:
    case SASL_NEED_CRAM:
    case SASL_NEED_TOKEN:
    case SASL_NEED_IDENTITY:
        ask_secret(c, step);
        break;
    case SASL_DONE:
        finish(c, IPC_SASL_OK, "");
        break;
    case SASL_FAILED:
        finish(c, sasl_server_malformed(c->sasl) ? IPC_SASL_MALFORMED : IPC_SASL_BAD,
               sasl_server_why(c->sasl));
        break;
    }
}

static void copy_text(char *out, size_t size, struct vr_str s)
{
    size_t n = s.n < size ? s.n : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = s.p[i];
    out[n] = '\0';
}

static struct sasl_server *sasl_new(struct conversations *all, const struct sasl_start *f)
{
    struct sasl_server_config config = {
        .hostname = all->process->config->hostname,
        .binding = {.tls_exporter = f->tls_exporter,
                    .tls_unique = f->tls_unique,
                    .tls_server_end_point = f->tls_server_end_point},
        .plus_offered = f->plus_offered,
        .identity = f->identity,
    };
    io_random(all->process->io, config.nonce, sizeof config.nonce);
    memcpy(config.fake_key, all->secret, sizeof config.fake_key);
    struct sasl_server *sasl = sasl_server_new(f->mechanism, &config);
    explicit_bzero(&config, sizeof config);
    return sasl;
}

static void start(struct conversations *all, struct peer *peer, const struct sasl_start *f)
{
    struct conversation **at = slot_of(all, peer, f->conversation);
    if (*at != NULL) { /* the receiver began anew without a word */
        conversation_free(*at);
        at = slot_of(all, peer, f->conversation);
    }
    struct sasl_server *sasl = all->count < CONVERSATIONS_MAX ? sasl_new(all, f) : NULL;
    if (sasl == NULL) {
        send_done(all, peer, f->conversation,
                  all->count < CONVERSATIONS_MAX ? IPC_SASL_UNKNOWN_MECHANISM : IPC_SASL_TEMPORARY,
                  VR_STR(""));
        return;
    }
    struct conversation *c = calloc(1, sizeof *c);
    assert(c != NULL);
    *c = (struct conversation){.all = all, .peer = peer, .id = f->conversation, .sasl = sasl};
    copy_text(c->mechanism, sizeof c->mechanism, f->mechanism);
    copy_text(c->client, sizeof c->client, f->client);
    *at = c;
    all->count++;
    struct vr_str out = {0};
    enum sasl_step step = sasl_server_step(sasl, f->initial, f->has_initial, &out);
    settle(c, step, out);
}

static void step(struct conversation *c, struct vr_str response)
{
    if (c->busy) { /* nothing was asked of the client: a receiver that mixes up its exchanges */
        finish(c, IPC_SASL_MALFORMED, "a response came before its challenge");
        return;
    }
    struct vr_str out = {0};
    enum sasl_step next = sasl_server_step(c->sasl, response, true, &out);
    settle(c, next, out);
}

bool conversations_frame(struct conversations *all, struct peer *peer, uint16_t type, struct vr_str payload)
{
    if (type == IPC_SASL_START) {
        struct sasl_start f;
        bool good = ipc_sasl_start_unpack(payload, &f);
        if (good)
            start(all, peer, &f);
        return good;
    }
    struct ipc_reader r = ipc_reader(payload);
    uint64_t id = ipc_get_u64(&r);
    struct vr_str response = type == IPC_SASL_STEP ? ipc_get_str(&r) : VR_STR("");
    if (!ipc_done(&r))
        return false;
    struct conversation *c = *slot_of(all, peer, id);
    if (c == NULL && type == IPC_SASL_STEP) /* ended already, or of a keeper before us */
        send_done(all, peer, id, IPC_SASL_TEMPORARY, VR_STR(""));
    else if (c != NULL && type == IPC_SASL_STEP)
        step(c, response);
    else if (c != NULL)
        conversation_free(c);
    return true;
}

void conversations_peer_gone(struct conversations *all, struct peer *peer)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct conversation **at = &all->buckets[i]; *at != NULL;)
            if ((*at)->peer == peer)
                conversation_free(*at); /* which takes it out of this chain */
            else
                at = &(*at)->next;
}
