/* directory.c - see directory.h.
 *
 * Invariants: (1) a question is in the list from directory_ask until it was answered; one source has it at a time
 *             (2) a question whose asker left is still answered by whoever has it, and then ends
 * Tests:      tests/unit/keeper_sources.c
 */
#include "keeper/backend.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_ARENA 16384

static const struct backend_ops *const kinds[] = {
    [ACCOUNTS_FROM_SQLITE] = &backend_sqlite,
    [ACCOUNTS_FROM_PASSWD] = &backend_passwd,
    [ACCOUNTS_FROM_PAM] = &backend_pam,
    [ACCOUNTS_FROM_DOVECOT] = &backend_dovecot,
};

struct source {
    const struct backend_ops *ops;
    struct backend *backend;
    const char *at;
    char reported[256];             /* trouble that was told already; "": none */
    enum account_want reported_for; /* what was asked then */
};

struct directory {
    struct process *process;
    void *keeper;
    struct source sources[ACCOUNTS_SOURCES_MAX];
    size_t count;
    struct account_question *questions;
};

struct directory *directory_new(struct process *p, const char *path, struct lookups *lookups,
                                struct hashing *hashing, void *keeper, char error[256])
{
    const struct config *c = p->config;
    struct directory *d = calloc(1, sizeof *d);
    assert(d != NULL && c->accounts_count <= ACCOUNTS_SOURCES_MAX);
    d->process = p;
    d->keeper = keeper;
    for (; d->count < c->accounts_count; d->count++) {
        struct source *s = &d->sources[d->count];
        struct backend_parts parts = {p, path, lookups, hashing, (uint32_t)d->count};
        *s = (struct source){.ops = kinds[c->accounts[d->count].kind], .at = c->accounts[d->count].at};
        s->backend = s->ops->make(&parts, error);
        if (s->backend == NULL)
            return NULL; /* the process ends now */
    }
    return d;
}

bool directory_account(const struct config *c, struct vr_str name, char out[ACCOUNT_NAME_MAX],
                       struct vr_str *account)
{
    struct vr_arena arena;
    vr_arena_init(&arena, NAME_ARENA);
    if (vr_str_find(name, '@') == VR_NPOS && c->accounts_domain.n > 0)
        name = vr_arena_printf(&arena, "%.*s@%.*s", VR_STR_ARG(name), VR_STR_ARG(c->accounts_domain));
    struct vr_str key = address_key_of(&arena, name);
    bool fits = key.p != NULL && key.n <= ACCOUNT_NAME_MAX;
    if (fits)
        memcpy(out, key.p, key.n);
    *account = vr_str(out, fits ? key.n : 0);
    vr_arena_fini(&arena);
    return fits;
}

/* ---- trouble -------------------------------------------------------------------------------------------------- */

/* Once for each new reason, and once when such a question was answered again. why: "": it was answered. */
static void report(struct directory *d, struct source *s, enum account_want want, const char *why)
{
    struct event_log *log = d->process->log;
    bool over = why[0] == '\0';
    if (strcmp(why, s->reported) == 0 || (over && want != s->reported_for))
        return;
    s->reported_for = want;
    snprintf(s->reported, sizeof s->reported, "%s", why);
    event_begin(log, over ? EVENT_NOTICE : EVENT_ERROR, over ? "accounts.again" : "accounts.trouble", 0);
    event_text(log, "source", s->ops->name);
    if (s->at[0] != '\0')
        event_text(log, "at", s->at);
    if (!over) {
        event_text(log, "error", why);
        event_text(log, "next", "log-ins and own recipients are put off (4xx) until it can be asked again");
    }
    event_end(log);
}

/* ---- questions ------------------------------------------------------------------------------------------------ */

static void question_end(struct directory *d, struct account_question *q, enum accounts_result result)
{
    q->result = result;
    *q->at = q->next;
    if (q->next != NULL)
        q->next->at = q->at;
    if (q->owner != NULL)
        q->answered(d->keeper, q);
    explicit_bzero(&q->keys, sizeof q->keys);
    explicit_bzero(&q->cram, sizeof q->cram);
    explicit_bzero(q->bytes, q->n);
    free(q);
}

/* To the next source that can be asked such a thing, or to the end. */
static void ask_next(struct directory *d, struct account_question *q)
{
    for (; q->asking < d->count; q->asking++) {
        struct source *s = &d->sources[q->asking];
        if (s->ops->wants & 1u << q->want) {
            s->ops->ask(s->backend, q);
            return;
        }
    }
    question_end(d, q, q->trouble ? ACCOUNTS_TROUBLE : ACCOUNTS_NO_SUCH);
}

void backend_answer(struct account_question *q, enum accounts_result result, const char *why)
{
    struct directory *d = q->directory;
    struct source *s = &d->sources[q->asking];
    assert(result != ACCOUNTS_TROUBLE || why != NULL);
    q->job = NULL;
    report(d, s, q->want, result == ACCOUNTS_TROUBLE ? why : "");
    if (why != NULL && (result == ACCOUNTS_TROUBLE || !q->trouble))
        snprintf(q->why, sizeof q->why, "%s", why);
    q->trouble = q->trouble || result == ACCOUNTS_TROUBLE;
    if (result == ACCOUNTS_OK || q->owner == NULL) {
        question_end(d, q, result);
        return;
    }
    q->asking++;
    ask_next(d, q);
}

void backend_busy(struct account_question *q)
{
    backend_answer(q, ACCOUNTS_TROUBLE, "too many questions at a time");
}

static struct vr_str put(char **at, struct vr_str s)
{
    char *p = *at;
    memcpy(p, s.n > 0 ? s.p : "", s.n);
    *at += s.n;
    return vr_str(p, s.n);
}

void directory_ask(struct directory *d, enum account_want want, struct vr_str name, struct vr_str detail,
                   struct vr_str client, void (*answered)(void *keeper, struct account_question *q),
                   void *owner, uint64_t ask)
{
    char text[ACCOUNT_NAME_MAX];
    struct vr_str account;
    bool fits = directory_account(d->process->config, name, text, &account);
    if (!fits)
        account = VR_STR(""); /* nobody's */
    size_t n = account.n + detail.n + client.n;
    struct account_question *q = calloc(1, sizeof *q + n);
    assert(q != NULL && owner != NULL);
    *q = (struct account_question){
        .want = want, .answered = answered, .owner = owner, .ask = ask, .directory = d, .n = n};
    char *at = q->bytes;
    q->account = put(&at, account);
    q->detail = put(&at, detail);
    q->client = put(&at, client);
    q->next = d->questions;
    q->at = &d->questions;
    if (q->next != NULL)
        q->next->at = &q->next;
    d->questions = q;
    ask_next(d, q);
}

void directory_forget(struct directory *d, const void *owner)
{
    for (struct account_question *q = d->questions; q != NULL; q = q->next)
        if (q->owner == owner) {
            q->owner = NULL;
            if (q->job != NULL)
                q->job->abandoned = true;
        }
}

bool directory_idle(const struct directory *d)
{
    return d->questions == NULL;
}

/* ---- the pam process --------------------------------------------------------------------------------------------- */

bool directory_frame(struct directory *d, struct peer *peer, uint16_t type, struct vr_str payload)
{
    (void)peer;
    for (size_t i = 0; i < d->count; i++) {
        bool mine = false;
        if (d->sources[i].ops->frame == NULL)
            continue;
        if (!d->sources[i].ops->frame(d->sources[i].backend, type, payload, &mine))
            return false;
        if (mine)
            return true;
    }
    return true; /* to a question that was given up */
}

void directory_detached(struct directory *d, struct peer *peer)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->sources[i].ops->detached != NULL)
            d->sources[i].ops->detached(d->sources[i].backend, peer);
}
