/* asks.c - what a client may ask: VRFY, EXPN (RFC 5321 §3.5), ETRN (RFC 1985).
 *
 * Promise:    250 to VRFY only when the mailbox exists; nothing to EXPN that is not an alias of ours. ETRN only for domains and routes whose section names the
 *             client's network or account, each domain that it reaches. The engine lets only those ask to whom session_grant() gave it.
 * Tests:      tests/unit/receiver.c, tests/e2e/test_etrn.py, tests/e2e/test_clients.py
 */
#include "receiver/session.h"

#include <veredus/idn.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX        (6u << 20) /* of a list's members */
#define MEMBERS_MAX      500        /* lines of a reply: a client must read them */
#define QUEUE_TIMEOUT_MS 30000

static struct smtp_reply reply_of(uint16_t code, const char *enhanced, struct vr_str text)
{
    return (struct smtp_reply){code, enhanced, text};
}

/* ---- whom is asked about ----------------------------------------------------------------------------------------- */

/* "ann", "ann@example.org", "Ann <ann@example.org>". False: *fault says why. A name alone is one of our domain, when there is but one. */
static bool read_who(const struct config *c, struct vr_arena *arena, struct vr_str argument, bool utf8,
                     struct address *out, struct smtp_reply *fault)
{
    size_t open = vr_str_find_last(argument, '<');
    struct vr_str text = open != VR_NPOS ? vr_str_from_pos(argument, open) : argument, rest;
    const char *why = "";
    bool postmaster =
        vr_str_equal_nocase(text, VR_STR("postmaster")) || vr_str_equal_nocase(text, VR_STR("<postmaster>"));
    if (vr_str_find(text, '@') == VR_NPOS && !postmaster) {
        *fault = c->domain_count == 1
                     ? SMTP_REPLY(550, "5.1.1", "no such name here")
                     : SMTP_REPLY(553, "5.1.3", "which domain? Give the whole address: user@example.org");
        if (c->domain_count != 1 || open != VR_NPOS)
            return false;
        text = vr_arena_printf(arena, "%.*s@%.*s", VR_STR_ARG(text),
                               VR_STR_ARG(utf8 ? c->domains[0].name : c->domains[0].ascii));
    }
    unsigned flags = ADDRESS_ALLOW_BARE | ADDRESS_ALLOW_POSTMASTER | (utf8 ? ADDRESS_ALLOW_UTF8 : 0);
    if (address_parse_path(arena, text, flags, out, &rest, &why) != VR_OK || rest.n > 0) {
        *fault = SMTP_REPLY(501, "5.1.3", "this is no address; the form is VRFY user@example.org");
        return false;
    }
    return true;
}

/* ---- VRFY -------------------------------------------------------------------------------------------------------- */

static void vrfy_found(struct session *s, struct vr_str mailbox)
{
    struct vr_arena arena;
    vr_arena_init(&arena, 4096);
    session_answer(s, reply_of(250, "2.1.5", vr_arena_printf(&arena, "<%.*s>", VR_STR_ARG(mailbox))));
    vr_arena_fini(&arena);
}

static const struct smtp_reply reply_taken = {
    252, "2.1.5", VR_STR_INIT("mail for this address is taken; whether somebody reads it, others decide")};

void asks_vrfy_answered(struct session *s, uint8_t answer)
{
    char *name = s->asked_name;
    s->asked_name = NULL;
    if (answer == IPC_YES)
        vrfy_found(s, vr_str_from(name));
    else if (answer == IPC_NO && s->catch_all)
        session_answer(s, reply_taken);
    else if (answer == IPC_NO)
        session_answer(s, SMTP_REPLY(550, "5.1.1", "no such mailbox here"));
    else
        session_answer(s, SMTP_REPLY(451, "4.3.0", "the accounts cannot be consulted now; try again later"));
    free(name);
}

static void ask_keeper(struct session *s, const struct routing_answer *a)
{
    struct peer *keeper = policy_keeper_for(s, ASK_VRFY);
    if (keeper == NULL)
        return;
    free(s->asked_name);
    s->asked_name = strndup(a->mailbox.p, a->mailbox.n);
    assert(s->asked_name != NULL);
    s->catch_all = a->catch_all;
    struct vr_buf *b = process_frame(s->receiver->process);
    ipc_put_u64(b, s->key);
    ipc_put_u8(b, a->verdict == RCPT_ASK_SYSTEM);
    ipc_put_str(b, a->mailbox);
    peer_send(keeper, IPC_MAILBOX_ASK, b, -1);
}

static void vrfy_foreign(struct session *s)
{
    session_answer(
        s, policy_is_known(s)
               ? SMTP_REPLY(252, "2.1.5", "not an address of ours; mail for it is passed on")
               : SMTP_REPLY(550, "5.7.1", "not an address of ours; mail for it is not taken from you"));
}

void asks_vrfy(struct session *s, struct vr_str argument, bool utf8)
{
    const struct config *c = s->receiver->config;
    struct vr_arena arena;
    struct address who;
    struct routing_answer a;
    struct smtp_reply fault;
    vr_arena_init(&arena, 1u << 16);
    if (!read_who(c, &arena, argument, utf8, &who, &fault))
        session_answer(s, fault);
    else if (routing_check(c, &arena, &who, &a) != VR_OK)
        session_answer(s, SMTP_REPLY(550, "5.1.1", "no such mailbox here"));
    else if (a.verdict == RCPT_FOREIGN)
        vrfy_foreign(s);
    else if (a.verdict != RCPT_KNOWN)
        ask_keeper(s, &a);
    else if (a.domain != NULL && a.domain->mailboxes == MAILBOXES_ANY)
        session_answer(s, reply_taken);
    else
        vrfy_found(s, who.domain.n > 0 ? address_text(&arena, &who) : a.mailbox);
    vr_arena_fini(&arena);
}

/* ---- EXPN -------------------------------------------------------------------------------------------------------- */

/* As this client may be told it: in ASCII, unless it said SMTPUTF8. Empty: there is no such form. */
static struct vr_str shown(struct vr_arena *arena, struct vr_str text, bool utf8)
{
    struct address a, ascii;
    const char *why;
    if (utf8 || vr_str_is_ascii(text))
        return text;
    return address_parse(arena, text, ADDRESS_ALLOW_UTF8, &a, &why) == VR_OK &&
                   address_to_ascii(arena, &a, &ascii)
               ? address_text(arena, &ascii)
               : vr_str(NULL, 0);
}

static const struct smtp_reply reply_hidden = {252, "2.1.5",
                                               VR_STR_INIT("a list, but not one that can be shown here")};

/* RFC 6531 §3.7.4.2 */
static const struct smtp_reply reply_needs_utf8 = {
    252, "2.6.8", VR_STR_INIT("a list with addresses beyond ASCII; ask with SMTPUTF8 to be shown them")};

/* The members as lines of a reply; or, when they are too many, or none that mail could be sent to, why not. */
static struct smtp_reply members(struct vr_arena *arena, const struct routing_target *list, bool utf8)
{
    size_t count = 0;
    bool readable = true;
    struct vr_buf b;
    vr_buf_init(&b, ARENA_MAX / 4);
    for (const struct routing_target *t = list; t != NULL && count <= MEMBERS_MAX; t = t->next) {
        if (t->next_hop.kind == NEXT_HOP_ERROR)
            continue;
        struct vr_str text = shown(arena, t->address, utf8);
        readable = readable && text.n > 0;
        vr_buf_addf(&b, "%s<%.*s>", count++ > 0 ? "\n" : "", VR_STR_ARG(text));
    }
    struct vr_str text = vr_arena_dup(arena, vr_buf_str(&b));
    bool good = count > 0 && count <= MEMBERS_MAX && !b.too_big && text.n > 0;
    vr_buf_fini(&b);
    return !good ? reply_hidden : !readable ? reply_needs_utf8 : reply_of(250, "2.1.5", text);
}

void asks_expn(struct session *s, struct vr_str argument, bool utf8)
{
    const struct config *c = s->receiver->config;
    struct vr_arena arena;
    struct address who;
    struct smtp_reply fault;
    struct routing_target *list = NULL;
    vr_arena_init(&arena, ARENA_MAX);
    if (!read_who(c, &arena, argument, utf8, &who, &fault))
        session_answer(s, fault);
    else if (!routing_is_alias(c, &arena, &who))
        session_answer(s, SMTP_REPLY(550, "5.1.1", "no list or alias of this name here"));
    else if (routing_expand(c, &arena, address_text(&arena, &who), false, &list) == VR_OK)
        session_answer(s, members(&arena, list, utf8));
    else
        session_answer(s, reply_hidden);
    vr_arena_fini(&arena);
}

/* ---- ETRN: who may ----------------------------------------------------------------------------------------------- */

static bool is_asker(const struct session *s, const struct config_askers *a)
{
    struct io_address client;
    bool has_address = session_address(s, &client);
    for (size_t i = 0; has_address && i < a->networks.count; i++)
        if (io_network_contains(&a->networks.items[i], &client))
            return true;
    for (size_t i = 0; !s->listener->local && i < a->account_count; i++)
        if (s->user != NULL && address_same(a->accounts[i], vr_str_from(s->user)))
            return true;
    return false;
}

bool asks_may_etrn(const struct session *s)
{
    const struct config *c = s->receiver->config;
    for (size_t i = 0; c->any_etrn && i < c->domain_count; i++)
        if (is_asker(s, &c->domains[i].etrn))
            return true;
    for (size_t i = 0; c->any_etrn && i < c->route_count; i++)
        if (is_asker(s, &c->routes[i].etrn))
            return true;
    return false;
}

/* Is "a.b.example", or the pattern ".b.example", below "example"? */
static bool is_below(struct vr_str name, struct vr_str node)
{
    return name.n > node.n && vr_str_ends_nocase(name, node) && name.p[name.n - node.n - 1] == '.';
}

/* All that is configured below the node must let the client ask. */
static bool may_ask_below(const struct session *s, struct vr_str node)
{
    const struct config *c = s->receiver->config;
    for (size_t i = 0; i < c->domain_count; i++)
        if (is_below(c->domains[i].ascii, node) && !is_asker(s, &c->domains[i].etrn))
            return false;
    for (size_t i = 0; i < c->route_count; i++)
        if (is_below(c->routes[i].ascii, node) && !is_asker(s, &c->routes[i].etrn))
            return false;
    return true;
}

static bool may_ask(const struct session *s, struct vr_str node)
{
    const struct config_domain *d = routing_domain(s->receiver->config, node);
    const struct config_route *r = d == NULL ? routing_route(s->receiver->config, node) : NULL;
    return (d != NULL && is_asker(s, &d->etrn)) || (r != NULL && is_asker(s, &r->etrn));
}

/* "#name": the destination of the section of this name. */
static bool may_ask_queue(const struct session *s, struct vr_str name, struct next_hop *out)
{
    const struct config *c = s->receiver->config;
    for (size_t i = 0; i < c->domain_count; i++)
        if (idn_equal(c->domains[i].ascii, name))
            return *out = c->domains[i].next_hop, is_asker(s, &c->domains[i].etrn);
    for (size_t i = 0; i < c->route_count; i++)
        if (idn_equal(c->routes[i].ascii, name))
            return *out = c->routes[i].next_hop, is_asker(s, &c->routes[i].etrn);
    return false;
}

/* ---- ETRN: asking the queue ---------------------------------------------------------------------------------------- */

static const struct smtp_reply reply_no_queue = {
    458, "4.3.0", VR_STR_INIT("the queue cannot be asked now; try again later")};

static void ask_queue(struct session *s, enum ipc_flush kind, struct vr_str name)
{
    struct peer *queue = process_peer(s->receiver->process, IPC_QUEUE);
    if (queue == NULL) {
        session_answer(s, reply_no_queue);
        return;
    }
    session_renumber(s);
    s->asking = ASK_FLUSH;
    s->deadline_ms = io_monotonic_ms(s->receiver->io) + QUEUE_TIMEOUT_MS;
    struct vr_buf *b = process_frame(s->receiver->process);
    ipc_put_u64(b, s->key);
    ipc_put_u8(b, (uint8_t)kind);
    ipc_put_str(b, name);
    peer_send(queue, IPC_FLUSH, b, -1);
}

static void ask_destination(struct session *s, struct vr_str name, const struct next_hop *hop)
{
    if (hop->kind == NEXT_HOP_MX) { /* each domain has its own */
        bool below = name.p[0] == '.';
        ask_queue(s, below ? IPC_FLUSH_BELOW : IPC_FLUSH_DOMAIN, vr_str_from_pos(name, below));
        return;
    }
    struct vr_buf b;
    vr_buf_init(&b, 1024);
    next_hop_text(&b, hop);
    ask_queue(s, IPC_FLUSH_DESTINATION, vr_buf_str(&b));
    vr_buf_fini(&b);
}

static void report_etrn(struct session *s, char option, struct vr_str node, bool allowed)
{
    struct event_log *l = s->receiver->log;
    char mark[2] = {option, '\0'};
    event_begin(l, allowed ? EVENT_INFO : EVENT_NOTICE, allowed ? "etrn.asked" : "etrn.refused", 0);
    event_text(l, "client", s->client);
    if (s->user != NULL)
        event_text(l, "user", s->user);
    event_str(l, "for", node);
    if (option != '\0')
        event_text(l, "option", mark);
    event_end(l);
}

void asks_etrn(struct session *s, char option, struct vr_str node)
{
    struct next_hop hop;
    bool allowed = option == '#' ? may_ask_queue(s, node, &hop)
                                 : may_ask(s, node) && (option != '@' || may_ask_below(s, node));
    report_etrn(s, option, node, allowed);
    if (!allowed) {
        session_answer(
            s, SMTP_REPLY(459, "4.7.1",
                          "you may not ask for this; its section of the configuration says who may (etrn)"));
        return;
    }
    free(s->asked_name);
    s->asked_name = strndup(node.p, node.n);
    assert(s->asked_name != NULL);
    if (option == '#')
        ask_destination(s, node, &hop);
    else
        ask_queue(s, option == '@' ? IPC_FLUSH_BELOW : IPC_FLUSH_DOMAIN, node);
}

static void flushed(struct session *s, uint8_t what, uint64_t count)
{
    struct vr_arena arena;
    struct vr_str node = vr_str_from(s->asked_name);
    vr_arena_init(&arena, 4096);
    s->asking = ASK_NOTHING;
    s->deadline_ms = INT64_MAX;
    struct smtp_reply r = reply_no_queue;
    if (what == IPC_FLUSH_COUNTED && count == 0)
        r = reply_of(251, "2.0.0", vr_arena_printf(&arena, "no messages wait for %.*s", VR_STR_ARG(node)));
    else if (what == IPC_FLUSH_COUNTED)
        r = reply_of(253, "2.0.0",
                     vr_arena_printf(&arena, "%llu pending messages for %.*s started",
                                     (unsigned long long)count, VR_STR_ARG(node)));
    else if (what == IPC_FLUSH_STARTED)
        r = reply_of(250, "2.0.0", vr_arena_printf(&arena, "queuing for %.*s started", VR_STR_ARG(node)));
    session_answer(s, r);
    vr_arena_fini(&arena);
}

void asks_queue_frame(struct receiver *r, struct vr_str payload)
{
    struct ipc_reader reader = ipc_reader(payload);
    struct session *s = session_by_key(r, ipc_get_u64(&reader));
    uint8_t what = ipc_get_u8(&reader);
    uint64_t count = ipc_get_u64(&reader);
    if (s != NULL && s->asking == ASK_FLUSH && ipc_done(&reader))
        flushed(s, what, count);
}

void asks_queue_lost(struct receiver *r)
{
    struct session *s, *next;
    HASH_ITER(hh, r->by_key, s, next)
    {
        if (s->asking == ASK_FLUSH)
            flushed(s, IPC_FLUSH_BUSY, 0);
    }
}
