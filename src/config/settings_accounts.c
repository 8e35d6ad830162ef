/* settings_accounts.c - the values of the sections `accounts` and `oauth` that have a form of their own.
 *
 * Tests: tests/unit/config_accounts.c
 */
#include "config/load.h"

#include <veredus/address.h>

#include <string.h>

/* ---- accounts --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    enum accounts_from kind;
    const char *expected; /* behind the colon; NULL: there is none */
} kinds[] = {
    {"sqlite", ACCOUNTS_FROM_SQLITE, NULL},
    {"passwd", ACCOUNTS_FROM_PASSWD, "the path of a file: \"passwd:/etc/veredus/users\""},
    {"pam", ACCOUNTS_FROM_PAM, "the name of a file in /etc/pam.d: \"pam:veredus\""},
    {"dovecot", ACCOUNTS_FROM_DOVECOT, "the path of a socket: \"dovecot:/run/dovecot/auth-client\""},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* A name that can be nothing but a file in /etc/pam.d. */
static bool is_service(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = vr_lower(s.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' &&
            !(c == '.' && i > 0))
            return false;
    }
    return s.n > 0 && s.n < 64;
}

static bool fits(enum accounts_from kind, struct vr_str at)
{
    struct io_address a;
    if (kind == ACCOUNTS_FROM_PAM)
        return is_service(at);
    return at.n > 1 && at.p[0] == '/' && memchr(at.p, '\0', at.n) == NULL &&
           (kind != ACCOUNTS_FROM_DOVECOT || at.n < sizeof a.path);
}

static bool read_source(const struct setting *s, struct vr_str text, struct config_accounts_source *out)
{
    size_t colon = vr_str_find(text, ':');
    struct vr_str word = vr_str_sub(text, 0, colon == VR_NPOS ? text.n : colon);
    struct vr_str at = colon == VR_NPOS ? VR_STR("") : vr_str_from_pos(text, colon + 1);
    size_t i = 0;
    while (i < KINDS && !vr_str_equal(word, vr_str_from(kinds[i].word)))
        i++;
    if (i == KINDS)
        problem_error(&s->l->problems, s->at,
                      "`from` has \"%.*s\"; expected sqlite, \"passwd:/path\", \"pam:service\" or "
                      "\"dovecot:/path\"",
                      VR_STR_ARG(text));
    else if (kinds[i].expected == NULL && colon != VR_NPOS)
        problem_error(&s->l->problems, s->at, "`from` has \"%.*s\"; expected %s, with nothing behind it",
                      VR_STR_ARG(text), kinds[i].word);
    else if (kinds[i].expected != NULL && !fits(kinds[i].kind, at))
        problem_error(&s->l->problems, s->at, "`from` has \"%.*s\"; expected %s", VR_STR_ARG(text),
                      kinds[i].expected);
    else {
        *out = (struct config_accounts_source){kinds[i].kind, must_text(&s->l->c->arena, at)};
        return true;
    }
    return false;
}

void set_accounts_from(const struct setting *s)
{
    struct config *c = s->l->c;
    if (c->accounts == NULL)
        c->accounts = must_alloc(&c->arena, ACCOUNTS_SOURCES_MAX * sizeof *c->accounts);
    for (const struct value *v = s->values; v; v = v->next) {
        struct config_accounts_source one;
        if (!read_source(s, v->text, &one))
            continue;
        for (size_t i = 0; i < c->accounts_count; i++)
            if (c->accounts[i].kind == one.kind && strcmp(c->accounts[i].at, one.at) == 0) {
                problem_error(&s->l->problems, s->at, "`from` has \"%.*s\" twice; expected it once",
                              VR_STR_ARG(v->text));
                return;
            }
        if (c->accounts_count == ACCOUNTS_SOURCES_MAX) {
            problem_error(&s->l->problems, s->at, "`from` has more than %d sources; expected fewer",
                          ACCOUNTS_SOURCES_MAX);
            return;
        }
        c->accounts[c->accounts_count++] = one;
    }
}

void set_accounts_domain(const struct setting *s)
{
    struct vr_str text = s->values->text;
    if (!address_domain_valid(text, ADDRESS_ALLOW_UTF8))
        problem_error(&s->l->problems, s->at,
                      "`domain` is \"%.*s\"; expected a domain name such as \"example.org\"",
                      VR_STR_ARG(text));
    else
        s->l->c->accounts_domain = vr_arena_lower(&s->l->c->arena, text);
}

void set_pam_name(const struct setting *s)
{
    struct vr_str text = s->values->text;
    s->l->c->pam_address = vr_str_equal_nocase(text, VR_STR("address"));
    if (!s->l->c->pam_address && !vr_str_equal_nocase(text, VR_STR("local")))
        problem_error(&s->l->problems, s->at,
                      "`pam_name` is \"%.*s\"; expected local (ann) or address (ann@example.org)",
                      VR_STR_ARG(text));
}

/* ---- oauth ------------------------------------------------------------------------------------------------------- */

/* A secret goes there: nothing but https, and nothing that curl would read otherwise than a person. */
static bool is_https_url(struct vr_str text)
{
    if (!vr_str_starts(text, VR_STR("https://")))
        return false;
    struct vr_str rest = vr_str_from_pos(text, 8);
    size_t end = 0;
    while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?')
        end++;
    struct vr_str authority = vr_str_sub(rest, 0, end);
    for (size_t i = 0; i < rest.n; i++)
        if ((unsigned char)rest.p[i] <= ' ' || (unsigned char)rest.p[i] >= 0x7f ||
            strchr("\"<>\\^`{|}#", rest.p[i]))
            return false;
    struct vr_str host = authority;
    size_t colon = vr_str_find_last(authority, ':');
    uint64_t port = 443;
    if (colon != VR_NPOS && (authority.p[authority.n - 1] != ']')) {
        host = vr_str_sub(authority, 0, colon);
        if (!vr_str_to_u64(vr_str_from_pos(authority, colon + 1), &port) || port == 0 || port > 65535)
            return false;
    }
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        return vr_str_find(host, '@') == VR_NPOS;
    return address_domain_valid(host, 0);
}

void set_https_url(const struct setting *s)
{
    struct vr_str text = s->values->text;
    if (is_https_url(text))
        *(const char **)((char *)s->target + s->row->offset) = must_text(&s->l->c->arena, text);
    else
        problem_error(
            &s->l->problems, s->at,
            "`%s` is \"%.*s\"; expected a URL such as \"https://login.example.org/oauth2/introspect\" "
            "(a name and a secret stand in client_id and client_secret_file)",
            s->row->key, VR_STR_ARG(text));
}

/* The values behind those that were there already. valid: NULL, or what each must be. */
static void add_texts(const struct setting *s, const char ***list, bool (*valid)(struct vr_str),
                      const char *expected)
{
    struct vr_arena *arena = &s->l->c->arena;
    size_t n = 0;
    const char **all = must_alloc(arena, (OAUTH_LIST_MAX + 1) * sizeof *all);
    for (; *list != NULL && (*list)[n] != NULL; n++)
        all[n] = (*list)[n];
    for (const struct value *v = s->values; v; v = v->next) {
        if (!valid(v->text)) {
            problem_error(&s->l->problems, s->at, "`%s` has \"%.*s\"; expected %s", s->row->key,
                          VR_STR_ARG(v->text), expected);
            continue;
        }
        if (n == OAUTH_LIST_MAX) {
            problem_error(&s->l->problems, s->at, "`%s` has more than %d values; expected fewer", s->row->key,
                          OAUTH_LIST_MAX);
            return;
        }
        all[n++] = must_text(arena, v->text);
    }
    if (n > 0)
        *list = all;
}

static bool is_path(struct vr_str s)
{
    return s.n > 1 && s.p[0] == '/';
}

static bool is_text(struct vr_str s)
{
    return s.n > 0;
}

/* A scope-token of RFC 6749 §3.3. */
static bool is_scope(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return s.n > 0;
}

void set_jwt_keys(const struct setting *s)
{
    add_texts(s, &s->l->c->oauth.jwt_keys, is_path, "paths that begin with /");
}

void set_token_audience(const struct setting *s)
{
    add_texts(s, &s->l->c->oauth.audience, is_text, "texts that are not empty");
}

void set_scope(const struct setting *s)
{
    add_texts(s, &s->l->c->oauth.scopes, is_scope, "words of a scope, such as { \"openid\", \"smtp\" }");
}
