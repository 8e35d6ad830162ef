/* owners.c - mail that is only for who had the mailbox at a time (RFC 7293): the parameter RRVS of RCPT, and the header field of those who cannot give
 * it.
 *
 * The keeper knows since when an account's owner has had its address. Role addresses (RFC 2142) have no owner. What leads elsewhere, and was not looked
 * at here, is asked of the next hop. Of the rest (aliases, catch-alls, system users) nobody can say.
 * Promise:    nothing is delivered here to another owner than the one whom the sender meant.
 * Tests:      tests/unit/receiver_owners.c, tests/e2e/test_extensions.py
 */
#include "receiver/session.h"

#include "keeper/accounts.h"

#include <veredus/message.h>

#define FIELDS_MAX  100 /* a message with more of them is not of this world */
#define FIELD_ARENA 8192

static const struct smtp_reply reply_changed = {
    550, "5.7.17", VR_STR_INIT("the mailbox has had another owner since the time that RRVS gives")};
static const struct smtp_reply reply_untold = {
    550, "5.7.19",
    VR_STR_INIT("it is not known here since when this address has had its owner; to send without this "
                "protection, leave RRVS out")};

static const struct smtp_reply reply_later = {
    451, "4.3.0", VR_STR_INIT("the accounts cannot be consulted now; try again later")};

/* RFC 2142 §3 to §5 */
static bool is_role(struct vr_str address)
{
    static const char *const roles[] = {"info", "marketing", "sales",      "support",    "abuse",
                                        "noc",  "security",  "postmaster", "hostmaster", "usenet",
                                        "news", "webmaster", "www",        "uucp",       "ftp"};
    size_t at = vr_str_find_last(address, '@');
    struct vr_str local = vr_str_sub(address, 0, at == VR_NPOS ? address.n : at);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (vr_str_equal_nocase(local, vr_str_from(roles[i])))
            return true;
    return false;
}

enum owners_of owners_of(const struct session *s, const struct address *rcpt, const struct routing_answer *a)
{
    struct vr_arena *arena = &s->transaction->arena;
    if (a->verdict == RCPT_FOREIGN)
        return OWNERS_ELSEWHERE;
    if (is_role(a->mailbox))
        return OWNERS_NONE;
    if (a->verdict == RCPT_ASK_ACCOUNT)
        return OWNERS_KEEPER;
    bool passed_on = a->domain != NULL && a->domain->mailboxes == MAILBOXES_ANY &&
                     a->domain->next_hop.kind != NEXT_HOP_MAILDIR &&
                     !routing_is_alias(s->receiver->config, arena, rcpt);
    return passed_on ? OWNERS_ELSEWHERE : OWNERS_UNTOLD;
}

const struct smtp_reply *owners_refusal(int64_t since, int64_t valid_since)
{
    if (since == ACCOUNTS_OWNER_UNKNOWN)
        return &reply_untold;
    return since != ACCOUNTS_OWNER_ALWAYS && since > valid_since ? &reply_changed : NULL;
}

/* ---- the header field ------------------------------------------------------------------------------------------ */

struct owner_question {
    struct vr_str mailbox;
    int64_t valid_since;
    struct owner_question *next;
};

/* §3.2: an address, a semicolon, a date. Comments are not undone: with them the field says nothing. */
static bool field_parse(struct vr_arena *arena, struct vr_str body, struct address *who, int64_t *since)
{
    struct vr_str text = header_unfold(arena, body);
    struct message_date date;
    const char *why;
    size_t at = vr_str_find_last(text, ';');
    if (at == VR_NPOS || message_date_parse(vr_str_trim(vr_str_from_pos(text, at + 1)), &date) != VR_OK)
        return false;
    *since = date.time;
    return address_parse(arena, vr_str_trim(vr_str_sub(text, 0, at)), ADDRESS_ALLOW_UTF8, who, &why) == VR_OK;
}

static bool is_recipient(const struct transaction *t, struct vr_str address)
{
    for (uint32_t i = 0; i < t->envelope.rcpt_count; i++)
        if (address_same(t->envelope.rcpts[i].address, address))
            return true;
    return false;
}

/* §5.2 (1) and (2): what it says of recipients whose mailboxes are here is asked, the rest is nothing. */
static void field_take(struct transaction *t, struct vr_str body)
{
    struct address who;
    struct routing_answer a;
    int64_t since;
    if (!field_parse(&t->arena, body, &who, &since) || !is_recipient(t, address_text(&t->arena, &who)) ||
        routing_check(t->receiver->config, &t->arena, &who, &a) != VR_OK ||
        owners_of(t->session, &who, &a) != OWNERS_KEEPER)
        return;
    struct owner_question *q = vr_arena_alloc(&t->arena, sizeof *q);
    if (q == NULL)
        return;
    *q = (struct owner_question){a.mailbox, since, t->owners};
    t->owners = q;
}

void owners_look(struct transaction *t, struct vr_str message)
{
    struct header_reader r;
    struct header_field f;
    unsigned fields = 0;
    if (t->rrvs) /* who knows the parameter says there what he has to say, §5 (1) */
        return;
    header_reader_init(&r, message);
    while (fields < FIELDS_MAX && header_next(&r, &f))
        if (vr_str_equal_nocase(f.name, VR_STR("Require-Recipient-Valid-Since"))) {
            fields++;
            field_take(t, f.body);
        }
}

bool owners_ask(struct transaction *t)
{
    struct session *s = t->session;
    if (t->owners == NULL)
        return false;
    if (process_peer(t->receiver->process, IPC_KEEPER) == NULL) {
        transaction_refuse(t, reply_later);
        return true;
    }
    struct peer *keeper = policy_keeper_for(s, ASK_OWNER);
    struct vr_buf *b = process_frame(t->receiver->process);
    ipc_put_u64(b, s->key);
    ipc_put_u8(b, 0);
    ipc_put_str(b, t->owners->mailbox);
    peer_send(keeper, IPC_MAILBOX_ASK, b, -1);
    return true;
}

void owners_answered(struct session *s, uint8_t answer, int64_t since)
{
    struct transaction *t = s->transaction;
    struct owner_question *q = t->owners;
    t->owners = q->next;
    const struct smtp_reply *no = answer == IPC_YES ? owners_refusal(since, q->valid_since) : NULL;
    if (no != NULL)
        policy_refused(s, "message.refused", q->mailbox, OWNERS_WHY);
    if (no != NULL || answer == IPC_LATER)
        transaction_refuse(t, no != NULL ? *no : reply_later);
    else
        transaction_go_on(t); /* also when it exists no more: that is another's matter */
}
