/* settings_clients.c - the keys that say who may do what: networks, audiences, who may ask for mail, what is not wanted.
 *
 * Tests: tests/unit/config.c
 */
#include "config/load.h"

#include <string.h>

#define SOLICIT_MAX 1000 /* octets of all keywords with their commas, RFC 3865 §2.2 */

static size_t count(const struct value *v)
{
    size_t n = 0;
    for (; v; v = v->next)
        n++;
    return n;
}

static void *field_of(const struct setting *s)
{
    return (char *)s->target + s->row->offset;
}

/* ---- networks --------------------------------------------------------------------------------------------------- */

static void make_room(const struct setting *s, struct config_networks *all)
{
    struct io_network *items = must_alloc(&s->l->c->arena, (all->count + count(s->values)) * sizeof *items);
    if (all->count)
        memcpy(items, all->items, all->count * sizeof *items);
    all->items = items;
}

/* The whole Internet is never meant: what it would be. */
static const char *danger_of(const char *key)
{
    static const struct {
        const char *key, *danger;
    } rows[] = {{"trusted", "an open relay"},
                {"bare_lf", "messages could be smuggled"},
                {"skip", "nothing would be verified"},
                {"xforward", "anybody could write what he wants into the log"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].key, key) == 0)
            return rows[i].danger;
    return "anybody could say that he is anybody";
}

void set_networks(const struct setting *s)
{
    struct config_networks *all = field_of(s);
    make_room(s, all);
    for (const struct value *v = s->values; v; v = v->next) {
        struct io_network *network = &all->items[all->count];
        if (!io_network_parse(v->text, network))
            problem_error(&s->l->problems, s->at,
                          "`%s` has \"%.*s\"; expected a network such as \"192.0.2.0/24\", \"::1\" or "
                          "\"2001:db8::/32\"",
                          s->row->key, VR_STR_ARG(v->text));
        else if (network->bits == 0)
            problem_error(
                &s->l->problems, s->at,
                "`%s` has \"%.*s\", which is the whole Internet: %s; expected your own networks only",
                s->row->key, VR_STR_ARG(v->text), danger_of(s->row->key));
        else
            all->count++;
    }
}

/* ---- audiences -------------------------------------------------------------------------------------------------- */

void set_audience(const struct setting *s)
{
    static const struct word_value words[] = {
        {"nobody", AUDIENCE_NOBODY}, {"known", AUDIENCE_KNOWN}, {"everybody", AUDIENCE_EVERYBODY}};
    bool lists =
        strcmp(s->row->key, "expn") == 0; /* nobody shows the members of a list to strangers, RFC 5321 §7.3 */
    int audience;
    if (setting_choose(s, words, lists ? 2 : 3,
                       lists ? "nobody or known (who logged in, `trusted` clients)"
                             : "nobody, known (who logged in, `trusted` clients) or everybody",
                       &audience))
        *(enum config_audience *)field_of(s) = (enum config_audience)audience;
}

/* ---- ETRN ------------------------------------------------------------------------------------------------------- */

static void add_account(const struct setting *s, struct config_askers *all, struct vr_str account)
{
    struct vr_str *accounts = must_alloc(&s->l->c->arena, (all->account_count + 1) * sizeof *accounts);
    if (all->account_count)
        memcpy(accounts, all->accounts, all->account_count * sizeof *accounts);
    accounts[all->account_count++] = vr_arena_lower(&s->l->c->arena, account);
    all->accounts = accounts;
}

void set_etrn(const struct setting *s)
{
    struct config_askers *all = field_of(s);
    make_room(s, &all->networks);
    for (const struct value *v = s->values; v; v = v->next) {
        size_t at = vr_str_find(v->text, '@');
        if (at != VR_NPOS && at > 0 && at + 1 < v->text.n)
            add_account(s, all, v->text);
        else if (io_network_parse(v->text, &all->networks.items[all->networks.count]))
            all->networks.count++;
        else
            problem_error(
                &s->l->problems, s->at,
                "`etrn` has \"%.*s\"; expected networks such as \"192.0.2.0/24\" and accounts such as "
                "\"branch@example.org\"",
                VR_STR_ARG(v->text));
    }
    s->l->c->any_etrn = true;
}

/* ---- NO-SOLICITING ---------------------------------------------------------------------------------------------- */

/* word = ALPHA 0*("." / "-" / "_" / ":" / ALPHA / DIGIT) */
static bool keyword_valid(struct vr_str word)
{
    for (size_t i = 0; i < word.n; i++) {
        char c = vr_lower(word.p[i]);
        bool letter = c >= 'a' && c <= 'z';
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || (c != '\0' && strchr(".-_:", c)))))
            return false;
    }
    return word.n > 0;
}

void set_no_soliciting(const struct setting *s)
{
    struct vr_str *all = field_of(s);
    for (const struct value *v = s->values; v; v = v->next) {
        if (!keyword_valid(v->text)) {
            problem_error(&s->l->problems, s->at,
                          "`no_soliciting` has \"%.*s\"; expected keywords such as \"org.example:ADV\"",
                          VR_STR_ARG(v->text));
            continue;
        }
        *all = vr_arena_printf(&s->l->c->arena, "%.*s%s%.*s", VR_STR_ARG(*all), all->n ? "," : "",
                               VR_STR_ARG(v->text));
    }
    if (all->n >= SOLICIT_MAX)
        problem_error(
            &s->l->problems, s->at,
            "`no_soliciting` has keywords of %zu characters; expected fewer than 1000 (RFC 3865 §2.2)",
            all->n);
}
