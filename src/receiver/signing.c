/* signing.c - mail of our users is signed (DKIM, RFC 6376) before the queue has it. The keys are the keeper's; it is asked who signs, then for the signatures.
 *
 * Whose:     those who may use this server as their own: who logged in, trusted networks, programs of this machine.
 * For whom:  the domain of From; when no key is there for it, or this account may not write in its name, the domain of the reverse-path; else it goes as it is.
 *            A user who logged in writes in the name of his own domain, of the sender address that he was let use, and of what the keeper says he may send as.
 * Promise:   no answer from the keeper is 451, never a message without its signature. What cannot be signed (no From, more than one, a header beyond all bounds) goes
 *            unsigned, and the log says so.
 * Steps:     (signing_ask) MAY -> WHO -> SIGN -> DONE; each waits for one answer at most, and is left again by transaction_go_on
 * Tests:     tests/unit/receiver_signing.c, tests/e2e/test_sign.py
 */
#include "receiver/signers.h"

#include <veredus/idn.h>
#include <veredus/message.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX  (4u << 20)
#define FIELDS_MAX (64u << 10)

static const struct smtp_reply reply_later = {
    451, "4.3.0", VR_STR_INIT("the message cannot be signed now; try again later")};

struct signing {
    struct vr_arena arena;
    enum { MAY, WHO, SIGN, DONE } step;
    struct vr_str domains[2]; /* tried in this order; A-labels in lower case */
    size_t domain_count, at;
    struct vr_str from; /* MAY: may this account use it? domains[0] is its domain */
    struct {
        struct vr_str selector;
        struct dkim_unsigned field;
        enum dkim_algorithm algorithm;
    } keys[IPC_SIGNERS_MAX];
    size_t key_count;
    bool again; /* a key went between two questions: asked anew, once */
};

bool signing_wanted(const struct session *s)
{
    return policy_is_known(s) && !s->listener->smtp.lmtp;
}

void signing_forget(struct transaction *t)
{
    if (t->signing == NULL)
        return;
    vr_arena_fini(&t->signing->arena);
    free(t->signing);
    t->signing = NULL;
}

/* ---- for whom --------------------------------------------------------------------------------------------------- */

static void report_unsigned(const struct transaction *t, const char *why)
{
    struct event_log *l = t->receiver->log;
    event_begin(l, EVENT_WARNING, "message.unsigned", t->id);
    event_str(l, "from", t->envelope.reverse_path);
    event_str(l, "client", t->envelope.client);
    event_text(l, "reason", why);
    event_end(l);
}

/* The one From field, or the empty slice. RFC 5322 §3.6: there is exactly one. */
static struct vr_str from_field(struct vr_str header)
{
    struct header_field f;
    bool one = header_count(header, VR_STR("From")) == 1 && header_find(header, VR_STR("From"), &f);
    return one ? f.body : vr_str(NULL, 0);
}

static struct vr_str ascii_domain(struct vr_arena *arena, struct vr_str domain)
{
    struct vr_str out;
    bool good = domain.n > 0 && domain.n <= IDN_NAME_MAX && idn_to_ascii(arena, domain, &out) == VR_OK &&
                address_domain_valid(out, 0) && vr_str_find(out, '.') != VR_NPOS;
    return good ? out : vr_str(NULL, 0);
}

static struct vr_str domain_of(struct vr_arena *arena, struct vr_str address)
{
    size_t at = vr_str_find_last(address, '@');
    return at == VR_NPOS ? vr_str(NULL, 0) : ascii_domain(arena, vr_str_from_pos(address, at + 1));
}

static bool is_off(const struct transaction *t, struct vr_str domain)
{
    const struct config_domain *d = routing_domain(t->receiver->config, domain);
    return d != NULL && !d->sign;
}

static void add_domain(struct signing *g, struct vr_str domain)
{
    if (domain.n > 0 && (g->domain_count == 0 || !vr_str_equal(g->domains[0], domain)))
        g->domains[g->domain_count++] = domain;
}

/* A user who logged in does not write in the name of every domain that is here. */
static bool must_ask(const struct transaction *t, struct vr_str domain, struct vr_str reverse)
{
    const struct session *s = t->session;
    bool checked = s->listener->submission && !t->receiver->config->any_sender && s->user != NULL;
    return checked && !vr_str_equal(domain, reverse) &&
           !vr_str_equal(domain, domain_of(&t->signing->arena, vr_str_from(s->user)));
}

/* False: it is not to be signed. */
static bool find_domains(struct transaction *t, struct vr_str from)
{
    struct signing *g = t->signing;
    struct address_mailbox *author = NULL;
    struct vr_str reverse = domain_of(&g->arena, t->envelope.reverse_path), domain = {0};
    if (address_parse_list(&g->arena, from, &author) == VR_OK && author != NULL)
        domain = ascii_domain(&g->arena, author->domain);
    if (domain.n > 0 && is_off(t, domain))
        return false;
    add_domain(g, domain);
    if (domain.n > 0 && must_ask(t, domain, reverse)) {
        struct vr_str text =
            vr_arena_printf(&g->arena, "%.*s@%.*s", VR_STR_ARG(author->local), VR_STR_ARG(author->domain));
        g->from = address_key_of(&g->arena, text);
    }
    if (reverse.n > 0 && !is_off(t, reverse))
        add_domain(g, reverse);
    return g->domain_count > 0;
}

/* False: there is nothing to sign, or it cannot be. */
static bool begin(struct transaction *t)
{
    const char *why = NULL;
    if (mail_digest_end(t->digest) != VR_OK)
        why = "its header is too large to be signed";
    struct vr_str header = mail_digest_header(t->digest), from = from_field(header);
    if (why == NULL && from.n == 0)
        why = header_count(header, VR_STR("From")) > 1 ? "it has more than one From field" : "it has no From";
    t->signing = calloc(1, sizeof *t->signing);
    assert(t->signing != NULL);
    vr_arena_init(&t->signing->arena, ARENA_MAX);
    bool wanted = why == NULL && find_domains(t, from);
    t->signing->step = wanted ? MAY : DONE;
    if (why != NULL)
        report_unsigned(t, why);
    return wanted;
}

/* ---- the steps --------------------------------------------------------------------------------------------------- */

static bool refuse(struct transaction *t)
{
    policy_refused(t->session, "message.refused", t->envelope.reverse_path,
                   "the keeper does not sign now: see its events");
    transaction_refuse(t, reply_later);
    return true;
}

static bool ask_whether_he_may(struct transaction *t)
{
    struct session *s = t->session;
    if (process_peer(t->receiver->process, IPC_KEEPER) == NULL)
        return refuse(t);
    struct peer *keeper = policy_keeper_for(s, ASK_FROM);
    struct vr_buf *b = process_frame(t->receiver->process);
    ipc_put_u64(b, s->key);
    ipc_put_str(b, vr_str_from(s->user));
    ipc_put_str(b, t->signing->from);
    peer_send(keeper, IPC_SENDER_ASK, b, -1);
    return true;
}

static bool prepare(struct transaction *t, const struct ipc_signers *signers, struct ipc_signers *ask)
{
    struct signing *g = t->signing;
    enum vr_err e = VR_OK;
    g->key_count = 0;
    ask->count = 0;
    for (size_t i = 0; e == VR_OK && i < signers->count; i++) {
        struct vr_str selector = vr_arena_dup(&g->arena, signers->list[i].selector);
        struct dkim_signer signer = {.domain = g->domains[g->at],
                                     .selector = selector,
                                     .algorithm = (enum dkim_algorithm)signers->list[i].algorithm,
                                     .header_canon = MAIL_CANON_RELAXED,
                                     .body_canon = MAIL_CANON_RELAXED,
                                     .time = io_now_us(t->receiver->io) / 1000000};
        g->keys[i].algorithm = signer.algorithm;
        g->keys[i].selector = selector;
        e = dkim_sign_prepare(t->digest, &signer, t->envelope.prefix, &g->arena, &g->keys[i].field);
        ask->list[ask->count++] = (struct ipc_signer){
            signers->list[i].algorithm, selector,
            vr_str((const char *)g->keys[i].field.digest, sizeof g->keys[i].field.digest)};
        g->key_count++;
    }
    if (e != VR_OK)
        report_unsigned(t, e == VR_ERR_TOO_BIG ? "its header is too large to be signed"
                                               : "its header cannot be signed");
    return e == VR_OK;
}

/* WHO: the next domain that has keys. True: the keeper must be asked. */
static bool look_for_keys(struct transaction *t)
{
    struct signing *g = t->signing;
    for (; g->at < g->domain_count; g->at++) {
        const struct ipc_signers *known = signers_known(t->receiver, g->domains[g->at]);
        if (known == NULL)
            return true;
        if (known->count > 0) {
            g->step = SIGN;
            return false;
        }
    }
    g->step = DONE;
    return false;
}

static bool sign(struct transaction *t)
{
    struct signing *g = t->signing;
    struct ipc_signers ask;
    const struct ipc_signers *known = signers_known(t->receiver, g->domains[g->at]);
    g->step = DONE;
    if (known == NULL || known->count == 0 || !prepare(t, known, &ask))
        return false;
    g->step = SIGN;
    return signers_sign(t->session, ASK_SIGNING, g->domains[g->at], &ask) || refuse(t);
}

bool signing_ask(struct transaction *t)
{
    if (t->digest == NULL || !signing_wanted(t->session) || (t->signing == NULL && !begin(t)))
        return false;
    struct signing *g = t->signing;
    if (g->step == MAY && g->from.n > 0)
        return ask_whether_he_may(t);
    if (g->step == MAY)
        g->step = WHO;
    if (g->step == WHO && look_for_keys(t))
        return signers_ask(t->session, ASK_SIGNING, g->domains[g->at]) || refuse(t);
    return g->step == SIGN && sign(t);
}

/* ---- the keeper's answers -------------------------------------------------------------------------------------------- */

void signing_may(struct session *s, uint8_t answer)
{
    struct transaction *t = s->transaction;
    struct signing *g = t->signing;
    if (answer == IPC_LATER) {
        refuse(t);
        return;
    }
    g->step = WHO;
    if (answer == IPC_NO) /* not his to speak for; the reverse-path is */
        g->at = 1;
    transaction_go_on(t);
}

void signing_later(struct session *s)
{
    refuse(s->transaction);
}

static bool put_on_top(struct transaction *t, const struct ipc_signers *signatures)
{
    struct signing *g = t->signing;
    struct vr_buf fields;
    bool good = signatures->count == g->key_count;
    vr_buf_init(&fields, FIELDS_MAX + t->envelope.prefix.n);
    for (size_t i = 0; good && i < g->key_count; i++)
        good = signatures->list[i].bytes.n > 0 &&
               dkim_sign_finish(&g->keys[i].field, signatures->list[i].bytes, &fields);
    good = good && vr_buf_add(&fields, t->envelope.prefix);
    struct vr_str all = good ? vr_arena_dup(&t->arena, vr_buf_str(&fields)) : vr_str(NULL, 0);
    vr_buf_fini(&fields);
    if (all.n == 0)
        return false;
    t->envelope.prefix = all;
    t->signed_for = vr_arena_dup(&t->arena, g->domains[g->at]);
    return true;
}

static void signatures_came(struct transaction *t, uint8_t answer, const struct ipc_signers *signatures)
{
    struct signing *g = t->signing;
    if (answer == IPC_NO && !g->again) {
        g->again = true;
        g->step = WHO;
        signers_forget(t->receiver, g->domains[g->at]);
        transaction_go_on(t);
        return;
    }
    g->step = DONE;
    if (answer == IPC_YES && put_on_top(t, signatures))
        transaction_go_on(t);
    else
        refuse(t);
}

void signing_frame(struct session *s, uint16_t type, struct ipc_reader *reader)
{
    struct transaction *t = s->transaction;
    struct signing *g = t->signing;
    struct ipc_signers signers;
    uint8_t answer = ipc_get_u8(reader);
    ipc_get_signers(reader, &signers);
    bool expected = (type == IPC_SIGNERS) == (g->step == WHO);
    if (!ipc_done(reader) || answer == IPC_LATER || !expected) {
        refuse(t);
    } else if (type == IPC_SIGNED) {
        signatures_came(t, answer, &signers);
    } else {
        signers_learn(t->receiver, g->domains[g->at], &signers);
        transaction_go_on(t);
    }
}
