/* checks_accounts.c - what only shows when `accounts` and `oauth` are known as a whole.
 *
 * Tests: tests/unit/config_accounts.c
 */
#include "config/load.h"

#include "io/fs.h"

#include <veredus/sasl.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool config_has_accounts(const struct config *c, enum accounts_from kind)
{
    for (size_t i = 0; i < c->accounts_count; i++)
        if (c->accounts[i].kind == kind)
            return true;
    return false;
}

bool config_has_keys(const struct config *c)
{
    for (size_t i = 0; i < c->accounts_count; i++)
        if (c->accounts[i].kind != ACCOUNTS_FROM_SQLITE)
            return false;
    return true;
}

bool config_has_oauth(const struct config *c)
{
    return c->oauth.introspection != NULL || c->oauth.jwt_keys != NULL || c->oauth.jwt_secret_file != NULL;
}

/* The keeper reads it again whenever it changed, as its own user. */
static void check_for_keeper(struct loader *l, struct place at, const char *path)
{
    struct io_fs_stat st;
    struct io_user keeper;
    if (io_fs_stat(path, &st) < 0)
        return; /* check_file told it */
    if (check_open_to_all(path)) {
        problem_warning(
            &l->problems, at,
            "everybody on this machine can read the password hashes in %s; expected mode 0640 and "
            "the group of %s (chgrp %s %s; chmod 640 %s)",
            path, l->c->user_keeper, l->c->user_keeper, path, path);
        return;
    }
    if (io_user_by_name(l->c->user_keeper, &keeper) < 0)
        return; /* not installed yet, or never: --foreground */
    bool mine = (st.uid == keeper.uid && (st.mode & 0400)) || (st.gid == keeper.gid && (st.mode & 040));
    if (!mine)
        problem_warning(&l->problems, at,
                        "the user %s, who keeps accounts when root starts veredus, cannot read %s; expected "
                        "its group and mode 0640 (chgrp %s %s; chmod 640 %s)",
                        l->c->user_keeper, path, l->c->user_keeper, path, path);
}

static void check_socket(struct loader *l, struct place at, const char *path)
{
    struct io_fs_stat st;
    int status = io_fs_stat(path, &st);
    if (status < 0)
        problem_warning(
            &l->problems, at,
            "there is no socket %s (%s): log-ins are put off until Dovecot has made it; expected a "
            "unix_listener of Dovecot's section `service auth`",
            path, io_error_text(status));
    else if (st.is_file || st.is_directory)
        problem_error(&l->problems, at,
                      "%s is no socket; expected the one that Dovecot's `service auth` makes", path);
}

static void check_service(struct loader *l, struct place at, const char *service)
{
    char path[128];
    struct io_fs_stat st;
    snprintf(path, sizeof path, "/etc/pam.d/%s", service);
    if (io_fs_stat(path, &st) == -ENOENT)
        problem_warning(&l->problems, at,
                        "there is no file %s, so PAM uses its rules for others (/etc/pam.d/other); expected "
                        "the file, with lines `auth` and `account`",
                        path);
}

/* How many of the sources do not say whether a mailbox is there. */
static size_t silent_sources(const struct config *c, const char **out)
{
    size_t silent = 0;
    const char *why = "";
    for (size_t i = 0; i < c->accounts_count; i++) {
        enum accounts_from kind = c->accounts[i].kind;
        if (kind == ACCOUNTS_FROM_DOVECOT && c->dovecot_userdb == NULL)
            why = "Dovecot's socket for log-ins does not say which mailboxes exist; expected "
                  "dovecot_userdb = \"/run/dovecot/auth-userdb\"";
        else if (kind == ACCOUNTS_FROM_PAM && c->pam_address)
            why = "PAM does not say which mailboxes exist; expected pam_name = local, or another source "
                  "beside it";
        else
            continue;
        silent++;
    }
    *out = why;
    return silent;
}

/* Without anybody who knows all mail would be refused. */
static void check_mailboxes(struct loader *l, struct place from_at)
{
    const struct config *c = l->c;
    const char *why;
    size_t silent = silent_sources(c, &why), i;
    for (i = 0; silent > 0 && i < c->domain_count; i++) {
        const struct config_domain *d = &c->domains[i];
        if (d->mailboxes != MAILBOXES_ACCOUNTS)
            continue;
        if (silent == c->accounts_count)
            problem_error(&l->problems, from_at,
                          "no mailbox of %.*s would be found, and all mail refused: %s", VR_STR_ARG(d->name),
                          why);
        else
            problem_warning(&l->problems, from_at, "mail for some users of %.*s may be refused: %s",
                            VR_STR_ARG(d->name), why);
        return;
    }
}

void check_accounts(struct loader *l)
{
    struct config *c = l->c;
    struct place from_at = config_place(l, SECTION_ACCOUNTS, 0, "from");
    if (c->accounts_count == 0) {
        c->accounts = must_alloc(&c->arena, sizeof *c->accounts);
        c->accounts[c->accounts_count++] = (struct config_accounts_source){ACCOUNTS_FROM_SQLITE, ""};
    }
    if (c->accounts_domain.n == 0 && c->domain_count == 1)
        c->accounts_domain = c->domains[0].name;
    for (size_t i = 0; i < c->accounts_count; i++) {
        const struct config_accounts_source *a = &c->accounts[i];
        if (a->kind == ACCOUNTS_FROM_PASSWD) {
            check_file(l, from_at, "file of accounts", a->at);
            check_for_keeper(l, from_at, a->at);
        } else if (a->kind == ACCOUNTS_FROM_DOVECOT) {
            check_socket(l, from_at, a->at);
        } else if (a->kind == ACCOUNTS_FROM_PAM) {
            check_service(l, from_at, a->at);
        }
    }
    struct place userdb_at = config_place(l, SECTION_ACCOUNTS, 0, "dovecot_userdb"),
                 pam_at = config_place(l, SECTION_ACCOUNTS, 0, "pam_name");
    if (c->dovecot_userdb && !config_has_accounts(c, ACCOUNTS_FROM_DOVECOT))
        problem_warning(&l->problems, userdb_at,
                        "`dovecot_userdb` has no effect: no account comes from Dovecot; expected "
                        "\"dovecot:/path\" in `from`");
    else if (c->dovecot_userdb && strlen(c->dovecot_userdb) >= sizeof((struct io_address *)NULL)->path)
        problem_error(&l->problems, userdb_at,
                      "`dovecot_userdb` is longer than the path of a socket can be; expected a shorter one");
    else if (c->dovecot_userdb)
        check_socket(l, userdb_at, c->dovecot_userdb);
    if (c->pam_address && !config_has_accounts(c, ACCOUNTS_FROM_PAM))
        problem_warning(&l->problems, pam_at,
                        "`pam_name` has no effect: no account comes from PAM; expected \"pam:service\" in "
                        "`from`");
    if (from_at.file)
        check_mailboxes(l, from_at);
}

/* ---- oauth ------------------------------------------------------------------------------------------------------- */

static void check_secret_file(struct loader *l, struct place at, const char *what, const char *path)
{
    check_file(l, at, what, path);
    if (check_open_to_all(path))
        problem_warning(&l->problems, at,
                        "everybody on this machine can read the %s %s; expected mode 0600 (chmod 600 %s)",
                        what, path, path);
}

static bool written(const struct loader *l, const char *key)
{
    return config_place(l, SECTION_OAUTH, 0, key).file != NULL;
}

static void check_endpoint(struct loader *l)
{
    const struct config_oauth *o = &l->c->oauth;
    static const char *const only[] = {"client_id", "client_secret_file", "ca_file"};
    for (size_t i = 0; o->introspection == NULL && i < sizeof only / sizeof only[0]; i++)
        if (written(l, only[i]))
            problem_warning(&l->problems, config_place(l, SECTION_OAUTH, 0, only[i]),
                            "`%s` has no effect: no endpoint is asked; expected `introspection` beside it",
                            only[i]);
    if (o->client_secret_file)
        check_secret_file(l, config_place(l, SECTION_OAUTH, 0, "client_secret_file"), "client's secret",
                          o->client_secret_file);
    if (o->ca_file)
        check_file(l, config_place(l, SECTION_OAUTH, 0, "ca_file"), "file of certificate authorities",
                   o->ca_file);
    if ((o->client_id.n > 0) != (o->client_secret_file != NULL))
        problem_error(&l->problems,
                      config_place(l, SECTION_OAUTH, 0, o->client_id.n ? "client_id" : "client_secret_file"),
                      "`client_id` and `client_secret_file` belong together; expected both or none");
}

/* A client takes the best that is offered, and would fail by it where nobody has the keys for it, or can tell a good token. */
static void check_mechanisms(struct loader *l)
{
    struct config *c = l->c;
    for (size_t i = 0; i < sasl_mechanism_count; i++) {
        const struct sasl_mechanism *m = &sasl_mechanisms[i];
        bool by_keys = m->secret == SASL_BY_PASSWORD && !m->reveals;
        if ((by_keys && !config_has_keys(c)) || (m->secret == SASL_BY_TOKEN && !config_has_oauth(c)))
            c->mechanisms &= ~(unsigned)m->bit;
    }
    struct place at = config_place(l, SECTION_AUTHENTICATION, 0, "mechanisms");
    if (c->mechanisms == 0 && at.file)
        problem_error(&l->problems, at, "nobody could log in: %s; expected other mechanisms beside these",
                      config_has_keys(c)
                          ? "no token can be checked (there is no section `oauth`)"
                          : "not all accounts have keys for SCRAM and CRAM-MD5 (see `accounts.from`)");
}

void check_oauth(struct loader *l)
{
    const struct config_oauth *o = &l->c->oauth;
    static const char *const any[] = {"issuer", "audience", "scope"};
    struct place at = {NULL, 0};
    for (size_t i = 0; i < sizeof any / sizeof any[0]; i++)
        if (!at.file)
            at = config_place(l, SECTION_OAUTH, 0, any[i]);
    bool used = config_has_oauth(l->c), refused = written(l, "introspection") || written(l, "jwt_keys");
    if (!used && !refused && at.file)
        problem_error(&l->problems, at,
                      "nothing says which tokens are good; expected `introspection`, `jwt_keys` or "
                      "`jwt_secret_file` in this section");
    check_endpoint(l);
    check_mechanisms(l);
    struct place keys_at = config_place(l, SECTION_OAUTH, 0, "jwt_keys");
    for (const char **key = o->jwt_keys; key != NULL && *key != NULL; key++)
        check_file(l, keys_at, "public key", *key);
    if (o->jwt_secret_file)
        check_secret_file(l, config_place(l, SECTION_OAUTH, 0, "jwt_secret_file"), "secret of tokens",
                          o->jwt_secret_file);
    const char *why;
    if (used && !o->unknown_accounts && silent_sources(l->c, &why) == l->c->accounts_count)
        problem_error(&l->problems, config_place(l, SECTION_ACCOUNTS, 0, "from"),
                      "no token would let anybody in, since no source knows the account: %s; or "
                      "unknown_accounts = yes in the section `oauth`",
                      why);
    if (used && o->audience == NULL && o->scopes == NULL) {
        struct place first = written(l, "introspection") ? config_place(l, SECTION_OAUTH, 0, "introspection")
                             : keys_at.file              ? keys_at
                                            : config_place(l, SECTION_OAUTH, 0, "jwt_secret_file");
        problem_warning(&l->problems, first,
                        "a token that was given to any other service would log in here; expected "
                        "audience = \"…\", as the issuer writes it into tokens for this server");
    }
}
