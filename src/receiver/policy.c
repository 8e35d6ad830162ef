/* policy.c - who may send what to whom: never an open relay.
 *
 * Promise:    a recipient outside our own domains is taken only from an authenticated user, a trusted network or a local user; a recipient in
 *             our domains only when somebody will get it. What the keeper must decide is asked, and the session waits alone.
 * Tests:      tests/e2e/, tests/transcripts/server/relay-*.txt
 */
#include "receiver/session.h"

#include "keeper/accounts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEPER_TIMEOUT_MS 60000 /* a password check may wait in line behind others */
#define KNOWN_MS          10000 /* how long a mailbox that the keeper knew is taken as known */
#define KNOWN_MAX         10000

static const struct smtp_reply reply_ok_mail = {250, "2.1.0", VR_STR_INIT("sender ok")};
static const struct smtp_reply reply_ok_rcpt = {250, "2.1.5", VR_STR_INIT("recipient ok")};
static const struct smtp_reply reply_later = {
    451, "4.3.0", VR_STR_INIT("the accounts cannot be consulted now; try again later")};
static const struct smtp_reply reply_too_big = {
    452, "4.5.3", VR_STR_INIT("this transaction is too big; send the rest separately")};

/* ---- mailboxes known a moment ago
 * ----------------------------------------------------------------------------------- */

struct known_mailbox {
    UT_hash_handle hh;
    int64_t until_ms;
    size_t n;
    char address[];
};

static void known_clear(struct receiver *r)
{
    struct known_mailbox *k, *next;
    HASH_ITER(hh, r->known, k, next)
    {
        HASH_DEL(r->known, k);
        free(k);
    }
}

static bool known_find(struct receiver *r, struct vr_str address)
{
    struct known_mailbox *k = NULL;
    HASH_FIND(hh, r->known, address.p, address.n, k);
    if (k == NULL || k->until_ms > io_monotonic_ms(r->io))
        return k != NULL;
    HASH_DEL(r->known, k);
    free(k);
    return false;
}

static void known_add(struct receiver *r, struct vr_str address)
{
    if (address.n == 0 || known_find(r, address))
        return;
    if (HASH_COUNT(r->known) >= KNOWN_MAX)
        known_clear(r);
    struct known_mailbox *k = malloc(sizeof *k + address.n);
    assert(k != NULL);
    k->until_ms = io_monotonic_ms(r->io) + KNOWN_MS;
    k->n = address.n;
    memcpy(k->address, address.p, address.n);
    HASH_ADD_KEYPTR(hh, r->known, k->address, k->n, k);
}

void policy_fini(struct receiver *r)
{
    known_clear(r);
}

/* ---- asking the keeper
 * ------------------------------------------------------------------------------------------------ */

/* The keeper, or NULL after the session was answered that it must come back later. Each question has a number of its own: an answer that
 * comes after its question was given up must not be taken for that to the next one. Only the steps of an exchange keep theirs. */
struct peer *policy_keeper_for(struct session *s, int asking)
{
    struct peer *keeper = process_peer(s->receiver->process, IPC_KEEPER);
    if (keeper == NULL) {
        if (asking == ASK_SENDER)
            transaction_abandon(s->transaction);
        s->conversing = false; /* it ended with the keeper */
        session_answer(s,
                       asking == ASK_SASL
                           ? SMTP_REPLY(454, "4.7.0", "authentication is not available now; try again later")
                           : reply_later);
        return NULL;
    }
    if (!s->conversing)
        session_renumber(s);
    s->conversing = asking == ASK_SASL;
    s->asking = asking;
    s->deadline_ms = io_monotonic_ms(s->receiver->io) + KEEPER_TIMEOUT_MS;
    return keeper;
}

void policy_refused(struct session *s, const char *what, struct vr_str address, const char *why)
{
    struct event_log *l = s->receiver->log;
    event_begin(l, EVENT_NOTICE, what, 0);
    event_text(l, "client", s->client);
    if (s->user != NULL)
        event_text(l, "user", s->user);
    event_str(l, "address", address);
    event_text(l, "reason", why);
    event_end(l);
}

/* ---- MAIL
 * --------------------------------------------------------------------------------------------------------------
 */

/* RFC 6710 §4.1: a change of the priority is told, the new one first. */
void policy_mail_accept(struct session *s)
{
    session_answer(s,
                   s->transaction->lowered
                       ? SMTP_REPLY(250, "2.3.6", "0 is the priority; a higher one is for those who log in")
                       : reply_ok_mail);
}

/* May use this server as its own: what it asks for is what it gets. */
bool policy_is_known(const struct session *s)
{
    return s->trusted || s->listener->local || smtp_server_authenticated(s->engine);
}

/* Strangers may lower their mail's priority, not raise it (RFC 6710 §4.1). */
static void set_priority(struct session *s)
{
    struct envelope *e = &s->transaction->envelope;
    s->transaction->lowered = e->priority > 0 && !policy_is_known(s);
    if (s->transaction->lowered)
        e->priority = 0;
}

static void mail_refuse(struct session *s)
{
    policy_refused(s, "mail.refused", s->transaction->envelope.reverse_path, "not an address of this user");
    transaction_abandon(s->transaction);
    session_answer(s, SMTP_REPLY(553, "5.7.1",
                                 "this account may not send from that address; use your own, or ask the "
                                 "administrator to add it (veredus account change --send-as)"));
}

/* alice+tag@example.org is alice's own where '+' is the delimiter of example.org. */
static bool own_address(const struct config *c, struct vr_arena *arena, struct vr_str address,
                        struct vr_str user)
{
    if (address_same(address, user))
        return true;
    size_t at = vr_str_find_last(address, '@');
    const struct config_domain *d =
        at == VR_NPOS ? NULL : routing_domain(c, vr_str_from_pos(address, at + 1));
    size_t cut =
        d == NULL || d->delimiter == 0 ? VR_NPOS : vr_str_find(vr_str_sub(address, 0, at), d->delimiter);
    if (cut == VR_NPOS)
        return false;
    struct vr_str base = vr_arena_printf(arena, "%.*s@%.*s", (int)cut, address.p, VR_STR_ARG(d->ascii));
    return base.n > 0 && address_same(base, user);
}

static void solicitation_refuse(struct session *s, struct vr_str keyword)
{
    struct vr_arena arena;
    vr_arena_init(&arena, 4096);
    struct event_log *l = s->receiver->log;
    event_begin(l, EVENT_NOTICE, "mail.refused", 0);
    event_text(l, "client", s->client);
    event_str(l, "solicitation", keyword);
    event_text(l, "reason", "a solicitation that is not wanted");
    event_end(l);
    session_answer(s, solicit_refusal(&arena, keyword));
    vr_arena_fini(&arena);
}

void policy_mail(struct session *s, const struct smtp_mail *mail)
{
    const struct config *c = s->receiver->config;
    struct vr_str unwanted = solicit_unwanted(s, mail->solicit);
    if (unwanted.n > 0) {
        solicitation_refuse(s, unwanted);
        return;
    }
    s->transaction = transaction_new(s, mail);
    set_priority(s);
    struct vr_str from = s->transaction->envelope.reverse_path, user = vr_str_from(s->user);
    bool checked = s->listener->submission && !c->any_sender && s->user != NULL && from.n > 0;
    if (!checked || own_address(c, &s->transaction->arena, from, user) || routing_alias_of(c, from, user)) {
        if (!verifying_begin(s->transaction))
            policy_mail_accept(s);
        return;
    }
    struct peer *keeper = policy_keeper_for(s, ASK_SENDER);
    if (keeper == NULL)
        return;
    struct vr_buf *b = process_frame(s->receiver->process);
    ipc_put_u64(b, s->key);
    ipc_put_str(b, user);
    ipc_put_str(b, address_key_of(&s->transaction->arena, from));
    peer_send(keeper, IPC_SENDER_ASK, b, -1);
}

/* ---- RCPT
 * --------------------------------------------------------------------------------------------------------------
 */

/* settled: what RRVS asks was answered here, or has no answer: the next hop is not asked. */
static void rcpt_take(struct session *s, const struct smtp_rcpt *rcpt, bool catch_all, bool settled)
{
    const struct config_domain *d = routing_domain(s->receiver->config, rcpt->forward_path.domain);
    struct smtp_rcpt taken = *rcpt;
    s->transaction->ascii_only |= d != NULL && !d->smtputf8;
    s->transaction->rrvs = s->transaction->rrvs || rcpt->rrvs != SMTP_RRVS_NONE;
    if (settled)
        taken.rrvs = SMTP_RRVS_NONE;
    bool added = transaction_add_rcpt(s->transaction, &taken, catch_all);
    if (added)
        verifying_bind(s->transaction, d);
    session_answer(s, added ? reply_ok_rcpt : reply_too_big);
}

static void rcpt_of_another(struct session *s, const struct smtp_rcpt *rcpt, const struct smtp_reply *reply)
{
    policy_refused(s, "rcpt.refused", address_text(&s->transaction->arena, &rcpt->forward_path), OWNERS_WHY);
    session_answer(s, *reply);
}

/* RFC 6531 §3.5: better now than by a report later. Domains have an ASCII form, so local parts decide; what the header is will be seen. */
static bool refuses_utf8(const struct session *s, const struct config_domain *d, const struct address *to)
{
    struct vr_str from = s->transaction->envelope.reverse_path;
    size_t at = vr_str_find_last(from, '@');
    return d != NULL && !d->smtputf8 &&
           (!vr_str_is_ascii(to->local) || !vr_str_is_ascii(vr_str_sub(from, 0, at)));
}

static void rcpt_utf8(struct session *s, const struct smtp_rcpt *rcpt)
{
    policy_refused(s, "rcpt.refused", address_text(&s->transaction->arena, &rcpt->forward_path),
                   "its domain takes nothing beyond ASCII");
    session_answer(
        s, SMTP_REPLY(553, "5.6.7", "this domain takes mail from and to addresses in ASCII only (SMTPUTF8)"));
}

static void rcpt_unverified(struct session *s, const struct smtp_rcpt *rcpt, struct smtp_reply reply)
{
    struct event_log *l = s->receiver->log;
    event_begin(l, EVENT_NOTICE, "rcpt.refused", 0);
    event_text(l, "client", s->client);
    event_str(l, "from", s->transaction->envelope.reverse_path);
    event_str(l, "address", address_text(&s->transaction->arena, &rcpt->forward_path));
    event_u64(l, "code", reply.code);
    event_str(l, "reason", reply.text);
    event_end(l);
    session_answer(s, reply);
}

static void rcpt_unknown(struct session *s, const struct smtp_rcpt *rcpt)
{
    policy_refused(s, "rcpt.refused", address_text(&s->transaction->arena, &rcpt->forward_path),
                   "no such mailbox");
    session_answer(s, SMTP_REPLY(550, "5.1.1", "no such mailbox here; check the address"));
}

static void rcpt_foreign(struct session *s, const struct smtp_rcpt *rcpt)
{
    if (policy_is_known(s)) {
        rcpt_take(s, rcpt, false, false);
        return;
    }
    policy_refused(s, "rcpt.refused", address_text(&s->transaction->arena, &rcpt->forward_path),
                   "relay denied");
    session_answer(s, SMTP_REPLY(554, "5.7.1",
                                 "relaying denied: this server does not take mail for that domain from "
                                 "you; log in on the submission port to send"));
}

void policy_rcpt(struct session *s, const struct smtp_rcpt *rcpt)
{
    struct receiver *r = s->receiver;
    struct routing_answer a;
    if (s->transaction == NULL ||
        routing_check(r->config, &s->transaction->arena, &rcpt->forward_path, &a) != VR_OK) {
        session_answer(s, reply_too_big);
        return;
    }
    enum srs_verdict srs = srs_rcpt(s, &rcpt->forward_path);
    if (srs != SRS_NONE && srs != SRS_GOOD)
        return;
    if (srs == SRS_NONE && a.verdict == RCPT_FOREIGN) {
        rcpt_foreign(s, rcpt);
        return;
    }
    struct smtp_reply unverified = verifying_rcpt(s->transaction, a.domain);
    if (unverified.code != 0) {
        rcpt_unverified(s, rcpt, unverified);
        return;
    }
    if (srs == SRS_GOOD) {
        rcpt_take(s, rcpt, false, false);
        return;
    }
    if (refuses_utf8(s, a.domain, &rcpt->forward_path)) {
        rcpt_utf8(s, rcpt);
        return;
    }
    enum owners_of owners =
        rcpt->rrvs != SMTP_RRVS_NONE ? owners_of(s, &rcpt->forward_path, &a) : OWNERS_NONE;
    if (a.verdict == RCPT_KNOWN && owners == OWNERS_UNTOLD) {
        rcpt_of_another(s, rcpt, owners_refusal(ACCOUNTS_OWNER_UNKNOWN, 0));
        return;
    }
    if (a.verdict == RCPT_KNOWN || (owners == OWNERS_NONE && known_find(r, a.mailbox))) {
        rcpt_take(s, rcpt, false, owners != OWNERS_ELSEWHERE);
        return;
    }
    struct peer *keeper = policy_keeper_for(s, ASK_MAILBOX);
    if (keeper == NULL)
        return;
    s->rcpt = rcpt;
    s->asked = a.mailbox;
    s->catch_all = a.catch_all;
    s->owner_matters = owners != OWNERS_NONE;
    struct vr_buf *b = process_frame(r->process);
    ipc_put_u64(b, s->key);
    ipc_put_u8(b, a.verdict == RCPT_ASK_SYSTEM);
    ipc_put_str(b, a.mailbox);
    peer_send(keeper, IPC_MAILBOX_ASK, b, -1);
}

/* ---- AUTH
 * --------------------------------------------------------------------------------------------------------------
 */

void policy_auth(struct session *s, struct vr_str mechanism, bool has_initial, struct vr_str initial)
{
    struct peer *keeper = policy_keeper_for(s, ASK_SASL);
    if (keeper == NULL)
        return;
    struct vr_buf *b = process_frame(s->receiver->process);
    struct io_tls_binding binding;
    io_stream_tls_binding(s->stream, &binding);
    struct sasl_start start = {.conversation = s->key,
                               .mechanism = mechanism,
                               .has_initial = has_initial,
                               .initial = initial,
                               .client = vr_str_from(s->client),
                               .plus_offered = login_plus_offered(s, mechanism),
                               .tls_exporter = vr_str((const char *)binding.exporter, binding.exporter_n),
                               .tls_unique = vr_str((const char *)binding.unique, binding.unique_n),
                               .tls_server_end_point =
                                   vr_str((const char *)binding.end_point, binding.end_point_n),
                               .identity = vr_str_from(s->identity)};
    ipc_sasl_start_pack(b, &start);
    explicit_bzero(&binding, sizeof binding);
    peer_send(keeper, IPC_SASL_START, b, -1);
}

void policy_auth_response(struct session *s, struct vr_str response)
{
    struct peer *keeper = policy_keeper_for(s, ASK_SASL);
    if (keeper == NULL)
        return;
    struct vr_buf *b = process_frame(s->receiver->process);
    ipc_put_u64(b, s->key);
    ipc_put_str(b, response);
    peer_send(keeper, IPC_SASL_STEP, b, -1);
}

void policy_auth_cancel(struct session *s)
{
    struct peer *keeper = process_peer(s->receiver->process, IPC_KEEPER);
    if (!s->conversing)
        return;
    s->conversing = false;
    if (keeper == NULL)
        return;
    struct vr_buf *b = process_frame(s->receiver->process);
    ipc_put_u64(b, s->key);
    peer_send(keeper, IPC_SASL_ABORT, b, -1);
}

static void auth_done(struct session *s, uint8_t status, struct vr_str user)
{
    static const struct smtp_reply replies[] = {
        [IPC_SASL_OK] = {235, "2.7.0", VR_STR_INIT("authenticated")},
        [IPC_SASL_BAD] = {535, "5.7.8", VR_STR_INIT("user name or password is wrong")},
        [IPC_SASL_TEMPORARY] = {454, "4.7.0",
                                VR_STR_INIT("authentication is not available now; try again later")},
        [IPC_SASL_UNKNOWN_MECHANISM] = {504, "5.5.4",
                                        VR_STR_INIT("this mechanism is not offered; see the EHLO reply")},
        [IPC_SASL_MALFORMED] = {501, "5.5.2", VR_STR_INIT("the response does not follow the mechanism")},
    };
    if (status >= sizeof replies / sizeof *replies)
        status = IPC_SASL_TEMPORARY;
    s->conversing = false;
    if (status == IPC_SASL_OK) {
        free(s->user);
        s->user = strndup(user.p, user.n);
        assert(s->user != NULL);
        session_grant(s);
    }
    session_answer(s, replies[status]);
}

/* ---- the keeper's answers
 * ----------------------------------------------------------------------------------------------- */

static void mailbox_answered(struct session *s, uint8_t answer, int64_t since)
{
    const struct smtp_rcpt *rcpt = s->rcpt;
    const struct smtp_reply *no = NULL;
    bool taken = answer == IPC_YES || (answer == IPC_NO && s->catch_all);
    if (answer == IPC_YES)
        known_add(s->receiver, s->asked);
    if (taken && s->owner_matters)
        no = owners_refusal(answer == IPC_YES ? since : ACCOUNTS_OWNER_UNKNOWN, rcpt->valid_since);
    if (no != NULL)
        rcpt_of_another(s, rcpt, no);
    else if (taken)
        rcpt_take(s, rcpt, answer == IPC_NO, true);
    else if (answer == IPC_NO)
        rcpt_unknown(s, rcpt);
    else
        session_answer(s, reply_later);
}

static void sender_answered(struct session *s, uint8_t answer)
{
    if (answer == IPC_YES)
        policy_mail_accept(s);
    else if (answer == IPC_NO)
        mail_refuse(s);
    else {
        transaction_abandon(s->transaction);
        session_answer(s, reply_later);
    }
}

static void answered(struct session *s, int asking, uint8_t answer, int64_t owner_since)
{
    if (asking == ASK_MAILBOX)
        mailbox_answered(s, answer, owner_since);
    else if (asking == ASK_OWNER)
        owners_answered(s, answer, owner_since);
    else if (asking == ASK_FROM)
        signing_may(s, answer);
    else if (asking == ASK_SIGNING)
        signing_later(s);
    else if (asking == ASK_SEALING)
        sealing_later(s);
    else if (asking == ASK_SENDER)
        sender_answered(s, answer);
    else if (asking == ASK_IDENTITY)
        login_identified(s, answer);
    else
        asks_vrfy_answered(s, answer);
}

static void answer_came(struct session *s, int asking, struct ipc_reader *reader)
{
    uint8_t answer = ipc_get_u8(reader);
    ipc_get_u32(reader); /* the user of the system and his home are for `local` */
    ipc_get_u32(reader);
    ipc_get_str(reader);
    answered(s, asking, answer, (int64_t)ipc_get_u64(reader));
}

static void settled(struct session *s)
{
    s->asking = ASK_NOTHING;
    s->deadline_ms = INT64_MAX;
}

void policy_keeper_frame(struct receiver *r, uint16_t type, struct vr_str payload)
{
    struct ipc_reader reader = ipc_reader(payload);
    struct session *s = session_by_key(r, ipc_get_u64(&reader));
    if (s == NULL || s->asking == ASK_NOTHING || s->asking == ASK_DNS)
        return; /* the client has gone meanwhile */
    int asking = s->asking;
    settled(s);
    if (type == IPC_SASL_CHALLENGE && asking == ASK_SASL) {
        smtp_server_challenge(s->engine, ipc_get_str(&reader), io_monotonic_ms(r->io));
        session_pump(s);
    } else if (type == IPC_SASL_DONE && asking == ASK_SASL) {
        uint8_t status = ipc_get_u8(&reader);
        auth_done(s, status, ipc_get_str(&reader));
    } else if ((type == IPC_SIGNERS || type == IPC_SIGNED) && asking == ASK_SIGNING) {
        signing_frame(s, type, &reader);
    } else if ((type == IPC_SIGNERS || type == IPC_SIGNED) && asking == ASK_SEALING) {
        sealing_frame(s, type, &reader);
    } else if (type == IPC_ANSWER && asking != ASK_SASL && asking != ASK_FLUSH && asking != ASK_SIGNING &&
               asking != ASK_SEALING) {
        answer_came(s, asking, &reader);
    } else {
        s->asking = asking; /* an answer to something else: go on waiting, the deadline is near */
        s->deadline_ms = io_monotonic_ms(r->io) + KEEPER_TIMEOUT_MS;
    }
}

void policy_keeper_lost(struct receiver *r)
{
    struct session *s, *next;
    HASH_ITER(hh, r->by_key, s, next)
    {
        int asking = s->asking;
        if (asking == ASK_NOTHING || asking == ASK_FLUSH || asking == ASK_DNS)
            continue;
        settled(s);
        if (asking == ASK_SASL)
            auth_done(s, IPC_SASL_TEMPORARY, vr_str(NULL, 0));
        else
            answered(s, asking, IPC_LATER, ACCOUNTS_OWNER_UNKNOWN);
    }
}
