/* sealing.c - a stranger's message that leaves again is sealed (ARC, RFC 8617): what was found of it goes with it, under our signature, so that the next server need not
 * judge a message by what forwarding did to it.
 *
 * Whose:      mail that was verified (verifying.c), when a recipient leads elsewhere, or all of it (arc.seal).
 * With:       the key of arc.domain; without that, of hostname or the nearest domain above it that has one. No key: no seal. RSA before Ed25519, which few validate.
 * Promise:    no answer from the keeper is 451. A chain that could not be judged, since the DNS did not answer, is left as it is: a seal says cv=fail for good (§5.2.1).
 * Steps:      (sealing_ask) WHO -> MESSAGE -> SEAL -> DONE; each waits for one answer at most, and is left again by transaction_go_on
 * Tests:      tests/unit/receiver_signing.c, tests/e2e/test_arc.py
 */
#include "receiver/signers.h"
#include "receiver/verifying.h"

#include <veredus/authres.h>

#include <assert.h>
#include <stdlib.h>

#define ARENA_MAX     (4u << 20)
#define PAYLOAD_MAX   (64u << 10)
#define FIELDS_MAX    (192u << 10)
#define EXPAND_MAX    (6u << 20)
#define DOMAINS_ABOVE 4

static const struct smtp_reply reply_later = {
    451, "4.3.0", VR_STR_INIT("the message cannot be sealed now; try again later")};

struct sealing {
    struct vr_arena arena;
    enum { WHO, MESSAGE, SEAL, DONE } step;
    struct vr_str domains[DOMAINS_ABOVE];
    size_t domain_count, at;
    struct arc_sealer sealer;
    struct arc_seal seal;
    bool again; /* the key went between two questions: all is done anew, once */
};

void sealing_forget(struct transaction *t)
{
    if (t->sealing == NULL)
        return;
    vr_arena_fini(&t->sealing->arena);
    free(t->sealing);
    t->sealing = NULL;
}

/* ---- is it to be sealed? ------------------------------------------------------------------------------------------------- */

static bool leads_elsewhere(const struct config *c, const struct envelope_rcpt *rcpt)
{
    struct vr_arena arena;
    struct routing_target *targets = NULL;
    struct address a;
    const char *why;
    bool found = false;
    vr_arena_init(&arena, EXPAND_MAX);
    if (routing_expand(c, &arena, rcpt->address, rcpt->catch_all, &targets) == VR_OK)
        for (; !found && targets != NULL; targets = targets->next)
            found = (targets->next_hop.kind == NEXT_HOP_MX || targets->next_hop.kind == NEXT_HOP_SMTP) &&
                    address_parse(&arena, targets->address, ADDRESS_ALLOW_UTF8, &a, &why) == VR_OK &&
                    routing_domain(c, a.domain) == NULL;
    vr_arena_fini(&arena);
    return found;
}

bool sealing_wanted(const struct transaction *t)
{
    const struct config *c = t->receiver->config;
    if (t->verification == NULL || c->arc_seal == ARC_SEAL_NEVER)
        return false;
    bool wanted = c->arc_seal == ARC_SEAL_ALWAYS;
    for (uint32_t i = 0; !wanted && i < t->envelope.rcpt_count; i++)
        wanted = leads_elsewhere(c, &t->envelope.rcpts[i]);
    return wanted;
}

static void report_unsealed(const struct transaction *t, const char *why)
{
    struct event_log *l = t->receiver->log;
    event_begin(l, EVENT_NOTICE, "message.unsealed", t->id);
    event_str(l, "from", t->envelope.reverse_path);
    event_str(l, "client", t->envelope.client);
    event_text(l, "reason", why);
    event_end(l);
}

/* arc.domain, or hostname and what is above it. */
static void find_domains(struct sealing *g, const struct config *c)
{
    struct vr_str name = c->arc_domain.n > 0 ? c->arc_domain : c->hostname;
    name = vr_arena_lower(&g->arena, name);
    do {
        if (vr_str_find(name, '.') == VR_NPOS)
            return;
        g->domains[g->domain_count++] = name;
        name = vr_str_from_pos(name, vr_str_find(name, '.') + 1);
    } while (c->arc_domain.n == 0 && g->domain_count < DOMAINS_ABOVE);
}

/* False: nothing is to be done. */
static bool begin(struct transaction *t)
{
    const struct verification *v = t->verification;
    if (!v->settled || !verification_done(v, CHECK_ARC) || v->arc.sealed_fail)
        return false;
    if (v->arc.temporary) {
        report_unsealed(t, "the DNS does not answer for the chain that came, so nothing can be said of it");
        return false;
    }
    struct sealing *g = t->sealing = calloc(1, sizeof *g);
    assert(g != NULL);
    vr_arena_init(&g->arena, ARENA_MAX);
    find_domains(g, t->receiver->config);
    return true;
}

/* ---- the steps ------------------------------------------------------------------------------------------------------------ */

static bool refuse(struct transaction *t)
{
    policy_refused(t->session, "message.refused", t->envelope.reverse_path,
                   "the keeper does not sign now: see its events");
    transaction_refuse(t, reply_later);
    return true;
}

static const struct ipc_signer *choose(const struct ipc_signers *known)
{
    for (size_t i = 0; i < known->count; i++)
        if (known->list[i].algorithm == DKIM_RSA_SHA256)
            return &known->list[i];
    return known->count > 0 ? &known->list[0] : NULL;
}

/* What our own Authentication-Results field on top says, as the set's. */
static struct vr_str results_of(const struct transaction *t)
{
    struct vr_buf payload;
    vr_buf_init(&payload, PAYLOAD_MAX);
    bool good = authres_merge(&payload, t->envelope.prefix, t->receiver->config->authserv_id);
    struct vr_str out = good ? vr_arena_dup(&t->sealing->arena, vr_buf_str(&payload)) : vr_str(NULL, 0);
    vr_buf_fini(&payload);
    return out;
}

/* With this key. False: it cannot be sealed. */
static bool prepare(struct transaction *t, const struct ipc_signer *key)
{
    struct sealing *g = t->sealing;
    g->sealer = (struct arc_sealer){.domain = g->domains[g->at],
                                    .selector = vr_arena_dup(&g->arena, key->selector),
                                    .algorithm = (enum dkim_algorithm)key->algorithm,
                                    .header_canon = MAIL_CANON_RELAXED,
                                    .body_canon = MAIL_CANON_RELAXED,
                                    .time = io_now_us(t->receiver->io) / 1000000,
                                    .status = t->verification->arc.status,
                                    .authres = results_of(t)};
    enum vr_err e = arc_seal_begin(t->digest, &g->sealer, t->envelope.prefix, &g->arena, &g->seal);
    if (e != VR_OK)
        report_unsealed(t, e == VR_ERR_TOO_BIG ? "the chain has 50 sets already, or its header is too large"
                                               : "its header cannot be sealed");
    return e == VR_OK;
}

/* Looks for the key. True: the keeper must be asked. */
static bool look_for_key(struct transaction *t)
{
    struct sealing *g = t->sealing;
    for (; g->at < g->domain_count; g->at++) {
        const struct ipc_signers *known = signers_known(t->receiver, g->domains[g->at]);
        if (known == NULL)
            return true;
        const struct ipc_signer *key = choose(known);
        if (key != NULL) {
            g->step = prepare(t, key) ? MESSAGE : DONE;
            return false;
        }
    }
    g->step = DONE;
    return false;
}

static bool ask_signature(struct transaction *t)
{
    struct sealing *g = t->sealing;
    struct ipc_signers what = {.count = 1};
    what.list[0] = (struct ipc_signer){(uint8_t)g->sealer.algorithm, g->sealer.selector,
                                       vr_str((const char *)g->seal.digest, sizeof g->seal.digest)};
    return signers_sign(t->session, ASK_SEALING, g->sealer.domain, &what) || refuse(t);
}

bool sealing_ask(struct transaction *t)
{
    if (t->sealing == NULL && (!t->to_be_sealed || !begin(t))) {
        t->to_be_sealed = false;
        return false;
    }
    struct sealing *g = t->sealing;
    if (g->step == WHO && look_for_key(t))
        return signers_ask(t->session, ASK_SEALING, g->domains[g->at]) || refuse(t);
    return (g->step == MESSAGE || g->step == SEAL) && ask_signature(t);
}

/* ---- the keeper's answers -------------------------------------------------------------------------------------------------- */

void sealing_later(struct session *s)
{
    refuse(s->transaction);
}

static bool put_on_top(struct transaction *t)
{
    struct vr_buf fields;
    vr_buf_init(&fields, FIELDS_MAX + t->envelope.prefix.n);
    bool good = arc_seal_finish(&t->sealing->seal, &fields) && vr_buf_add(&fields, t->envelope.prefix);
    struct vr_str all = good ? vr_arena_dup(&t->arena, vr_buf_str(&fields)) : vr_str(NULL, 0);
    vr_buf_fini(&fields);
    if (all.n == 0)
        return false;
    t->envelope.prefix = all;
    t->sealed_for = vr_arena_dup(&t->arena, t->sealing->sealer.domain);
    return true;
}

/* False: it is no signature, or does not fit. */
static bool take_signature(struct transaction *t, struct vr_str signature)
{
    struct sealing *g = t->sealing;
    if (signature.n == 0 || arc_seal_signed(&g->seal, vr_arena_dup(&g->arena, signature)) != VR_OK)
        return false;
    if (g->step == MESSAGE) {
        g->step = SEAL;
        return true;
    }
    g->step = DONE;
    return put_on_top(t);
}

static void signature_came(struct transaction *t, uint8_t answer, const struct ipc_signers *signers)
{
    struct sealing *g = t->sealing;
    if (answer == IPC_NO && !g->again) {
        g->again = true;
        g->step = WHO;
        signers_forget(t->receiver, g->domains[g->at]);
        transaction_go_on(t);
    } else if (answer == IPC_YES && signers->count == 1 && take_signature(t, signers->list[0].bytes)) {
        transaction_go_on(t);
    } else {
        refuse(t);
    }
}

void sealing_frame(struct session *s, uint16_t type, struct ipc_reader *reader)
{
    struct transaction *t = s->transaction;
    struct sealing *g = t->sealing;
    struct ipc_signers signers;
    uint8_t answer = ipc_get_u8(reader);
    ipc_get_signers(reader, &signers);
    if (!ipc_done(reader) || answer == IPC_LATER || (type == IPC_SIGNERS) != (g->step == WHO)) {
        refuse(t);
    } else if (type == IPC_SIGNED) {
        signature_came(t, answer, &signers);
    } else {
        signers_learn(t->receiver, g->domains[g->at], &signers);
        transaction_go_on(t);
    }
}
