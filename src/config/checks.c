/* checks.c - what only shows when the whole configuration is known: duplicates, missing files, contradictions, and defaults that depend on others.
 *
 * Errors are for what would lose, refuse or expose mail; warnings for what works but surprises.
 * Tests: tests/unit/config.c
 */
#include "config/load.h"

#include <veredus/address.h>
#include <veredus/message.h>

#include "config/aliases.h"
#include "config/certificates.h"
#include "config/routing.h"
#include "io/certificate.h"
#include "io/env.h"
#include "io/fs.h"
#include "io/tls.h"

#include <string.h>

static struct place place_or(struct place p, const char *file, int line)
{
    return p.file ? p : (struct place){file, line};
}

/* 0, or why the file cannot be read. */
static int readable(const char *path)
{
    int fd = io_fs_open(path, IO_FS_READ, 0);
    struct io_fs_stat st;
    if (fd < 0)
        return fd;
    int status = io_fs_fstat(fd, &st);
    io_fs_close(fd);
    return status < 0 ? status : 0;
}

bool check_open_to_all(const char *path)
{
    struct io_fs_stat st;
    return io_fs_stat(path, &st) == 0 && (st.mode & 04);
}

void check_file(struct loader *l, struct place at, const char *what, const char *path)
{
    int status = readable(path);
    if (status < 0)
        problem_error(&l->problems, at, "cannot read the %s %s: %s; correct the path or its permissions",
                      what, path, io_error_text(status));
}

/* Names seen before, in order of a hash: duplicates of thousands of domains are found in a blink. */
struct seen_names {
    struct vr_str *names;
    struct place *places;
    size_t mask;
};

static struct seen_names seen_new(struct loader *l, size_t n)
{
    size_t size = 8;
    while (size < n * 2)
        size *= 2;
    struct seen_names s = {.mask = size - 1};
    s.names = must_alloc(&l->scratch, size * sizeof *s.names);
    s.places = must_alloc(&l->scratch, size * sizeof *s.places);
    return s;
}

/* Where the name was before, or NULL; then it is kept. */
static const struct place *seen_before(struct seen_names *s, struct vr_str name, struct place at)
{
    size_t i = vr_crc32c(0, name.p, name.n) & s->mask;
    for (; s->names[i].p; i = (i + 1) & s->mask)
        if (vr_str_equal(s->names[i], name))
            return &s->places[i];
    s->names[i] = name;
    s->places[i] = at;
    return NULL;
}

static void check_host(struct loader *l)
{
    struct config *c = l->c;
    struct place at = place_or(config_place(l, SECTION_TOP, 0, "hostname"), l->main_file, 1);
    if (c->hostname.n == 0) {
        char name[256] = "";
        bool known = io_host_name(name, sizeof name) == 0 && address_domain_valid(vr_str_from(name), 0);
        c->hostname = known ? vr_arena_lower(&c->arena, vr_str_from(name)) : VR_STR("localhost");
        if (config_place(l, SECTION_TOP, 0, "hostname").file)
            return; /* written, and refused already */
    }
    if (vr_str_find(c->hostname, '.') == VR_NPOS)
        problem_warning(&l->problems, at,
                        "the host name is \"%.*s\", without a domain; many servers refuse mail from such a "
                        "name; expected hostname = \"mail.example.org\"",
                        VR_STR_ARG(c->hostname));
}

/* Do the files hold what a listener's clients are verified by? */
static void check_client_ca(struct loader *l, const struct config_listener *x, size_t i)
{
    struct place at = config_place(l, SECTION_LISTEN, i, "client_ca");
    char error[256];
    if (x->role != LISTENER_SUBMISSION && x->role != LISTENER_SUBMISSIONS)
        problem_error(
            &l->problems, at,
            "`client_ca` is for users who log in; expected it with role = submission or submissions");
    struct io_tls *tls = io_tls_client(x->client_ca, error);
    if (tls == NULL)
        problem_error(&l->problems, at, "%s", error);
    io_tls_free(tls);
}

static void check_listeners(struct loader *l)
{
    struct config *c = l->c;
    if (c->listener_count == 0) {
        struct config_listener *x = &c->listeners[c->listener_count++];
        io_address_parse(VR_STR(":25"), 25, &x->address);
        x->role = LISTENER_MX;
        x->file = must_text(&c->arena, vr_str_from(l->main_file));
        x->line = 1;
    }
    struct seen_names seen = seen_new(l, c->listener_count);
    bool warned = false;
    for (size_t i = 0; i < c->listener_count; i++) {
        struct config_listener *x = &c->listeners[i];
        struct place at = {x->file, x->line};
        char text[IO_ADDRESS_TEXT];
        if (x->address.family == IO_NONE)
            continue;
        io_address_text(&x->address, text);
        const struct place *before = x->address.family != IO_UNIX && x->address.port == 0
                                         ? NULL
                                         : seen_before(&seen, must_dup(&l->scratch, vr_str_from(text)), at);
        if (before)
            problem_error(&l->problems, at,
                          "`listen` on %s a second time; it is at %s:%d already; expected each address once",
                          text, before->file, before->line);
        if (x->client_ca)
            check_client_ca(l, x, i);
        if (i < l->sections[SECTION_LISTEN].count) /* not the default one */
            check_web(l, x, i);
        if (x->role == LISTENER_LMTP && x->address.port == 25)
            problem_error(
                &l->problems, at,
                "`listen` on %s speaks LMTP, which is not for port 25 (RFC 2033 §5); expected port 24 "
                "or a UNIX socket",
                text);
        if (x->proxy.count > 0 && x->address.family == IO_UNIX)
            problem_error(&l->problems, config_place(l, SECTION_LISTEN, i, "proxy"),
                          "`proxy` names networks, but clients of the UNIX socket %s have no address; "
                          "expected a `listen` "
                          "on an IP address",
                          text);
        bool users = x->role == LISTENER_SUBMISSION || x->role == LISTENER_SUBMISSIONS;
        if (x->bare_lf.count > 0 && !users)
            problem_error(&l->problems, config_place(l, SECTION_LISTEN, i, "bare_lf"),
                          "`bare_lf` stands on %s, where mail of other servers is taken: messages could be "
                          "smuggled; expected role = submission or submissions",
                          text);
        if (users && c->tls_count == 0 && !warned) {
            warned = true;
            problem_warning(&l->problems, at,
                            "users log in on %s, but there is no tls section: a self-signed certificate is "
                            "made in %s at the first start, which mail programs will warn of; expected tls "
                            "\"%.*s\" { certificate = … key = … }",
                            text, c->state, VR_STR_ARG(c->hostname));
        }
    }
    part_listeners(c);
}

/* Who connects may refuse what has expired; the server starts all the same: some encryption is better than none. */
static void check_dates(struct loader *l, struct place at, const char *path)
{
    struct vr_buf pem;
    struct io_certificate x;
    char error[256], day[MESSAGE_RFC3339_SIZE];
    vr_buf_init(&pem, CERTIFICATE_FILE_MAX);
    int64_t now = io_env_clock_us() / 1000000;
    if (io_fs_read_file(path, &pem) == 0 && io_certificate_read(&l->scratch, vr_buf_str(&pem), &x, error) &&
        x.not_after <= now) {
        message_rfc3339_write(day, x.not_after * 1000000);
        problem_warning(&l->problems, at,
                        "the certificate %s has expired on %.10s; expected a renewed one, with its key", path,
                        day);
    }
    vr_buf_fini(&pem);
}

/* Do the two files hold a certificate and its key? */
static void check_pair(struct loader *l, struct place certificate_at, struct place key_at,
                       const struct config_tls *t)
{
    struct io_tls_certificate pair = {.names = "", .certificate = t->certificate, .key = t->key};
    char error[256];
    struct io_tls *tls = io_tls_server(&pair, 1, error);
    bool certificate = vr_str_starts(vr_str_from(error), VR_STR("cannot read the certificate"));
    if (tls == NULL)
        problem_error(&l->problems, certificate ? certificate_at : key_at, "%s", error);
    else
        check_dates(l, certificate_at, t->certificate);
    io_tls_free(tls);
}

static void check_tls_names(struct loader *l, struct seen_names *seen, size_t i)
{
    const struct config_tls *t = &l->c->tls[i];
    struct place at = {t->file, t->line};
    struct vr_str names = vr_str_from(t->names), name;
    while (vr_str_split(&names, ' ', &name)) {
        const struct place *before =
            name.n > 0 ? seen_before(seen, vr_arena_lower(&l->scratch, name), at) : NULL;
        if (before)
            problem_warning(&l->problems, at,
                            "a certificate for %.*s a second time; the one at %s:%d is used",
                            VR_STR_ARG(name), before->file, before->line);
    }
}

static void check_tls(struct loader *l)
{
    size_t names = 0;
    for (size_t i = 0; i < l->c->tls_count; i++)
        for (const char *at = l->c->tls[i].names; *at != '\0'; at++)
            names += *at == ' ';
    struct seen_names seen = seen_new(l, names + l->c->tls_count);
    for (size_t i = 0; i < l->c->tls_count; i++) {
        const struct config_tls *t = &l->c->tls[i];
        struct place at = {t->file, t->line};
        struct place certificate_at = config_place(l, SECTION_TLS, i, "certificate"),
                     key_at = config_place(l, SECTION_TLS, i, "key");
        if (t->certificate)
            check_file(l, certificate_at, "certificate", t->certificate);
        else if (!certificate_at.file)
            problem_error(&l->problems, at,
                          "`tls` has no certificate; expected certificate = \"/path/fullchain.pem\"");
        if (t->key)
            check_file(l, key_at, "private key", t->key);
        else if (!key_at.file)
            problem_error(&l->problems, at, "`tls` has no key; expected key = \"/path/privkey.pem\"");
        if (t->key && check_open_to_all(t->key))
            problem_warning(
                &l->problems, key_at,
                "everybody on this machine can read the private key %s; expected mode 0600 (chmod 600 %s)",
                t->key, t->key);
        if (t->certificate && t->key && readable(t->certificate) == 0 && readable(t->key) == 0)
            check_pair(l, certificate_at, key_at, t);
        check_tls_names(l, &seen, i);
    }
}

/* ---- domains ------------------------------------------------------------------------------------------------------ */

static void check_maildir(struct loader *l, const struct config_domain *d, struct place at)
{
    static const char *const known[] = {"{domain}", "{local}", "{home}"};
    bool has[3] = {false};
    for (size_t from = 0, open; (open = vr_str_find(vr_str_from_pos(d->maildir, from), '{')) != VR_NPOS;) {
        struct vr_str rest = vr_str_from_pos(d->maildir, from + open);
        size_t close = vr_str_find(rest, '}');
        struct vr_str word = vr_str_sub(rest, 0, close == VR_NPOS ? rest.n : close + 1);
        bool good = false;
        for (size_t k = 0; k < 3; k++)
            if (vr_str_equal(word, vr_str_from(known[k])))
                good = has[k] = true;
        if (!good)
            problem_error(&l->problems, at,
                          "`deliver` has %.*s in its path; expected {local}, {domain} or {home}",
                          VR_STR_ARG(word));
        from += open + word.n;
    }
    if (d->maildir.n == 0 || (d->maildir.p[0] != '/' && !vr_str_starts(d->maildir, VR_STR("{home}"))))
        problem_error(&l->problems, at,
                      "`deliver` has the path \"%.*s\"; expected one that begins with / or {home}",
                      VR_STR_ARG(d->maildir));
    if (has[2] && d->mailboxes != MAILBOXES_SYSTEM)
        problem_error(&l->problems, at,
                      "`deliver` has {home}, but accounts have no home folder; expected {domain}/{local}, or "
                      "mailboxes = system");
    if (!has[1] && !has[2])
        problem_error(&l->problems, at,
                      "`deliver` has the same path for every mailbox; expected {local} in it");
}

static void check_catch_all(struct loader *l, const struct config_domain *d, struct place at)
{
    struct vr_str domain = vr_str_from_pos(d->catch_all, vr_str_find_last(d->catch_all, '@') + 1);
    bool ours = routing_domain(l->c, domain) != NULL;
    if (!ours && domain.n && domain.p[0] != '[' && vr_str_find(domain, '.') == VR_NPOS)
        problem_error(&l->problems, at,
                      "`catch_all` points nowhere: \"%.*s\" is no domain of this server and no name in the "
                      "DNS; expected \"user@%.*s\"",
                      VR_STR_ARG(domain), VR_STR_ARG(d->name));
    if (d->mailboxes == MAILBOXES_ANY)
        problem_warning(&l->problems, at,
                        "`catch_all` is never used: mailboxes = any takes every address already; expected "
                        "one of the two");
}

static void check_domain(struct loader *l, size_t i)
{
    struct config *c = l->c;
    struct config_domain *d = &c->domains[i];
    struct place at = {d->file, d->line}, deliver_at = config_place(l, SECTION_DOMAIN, i, "deliver");
    d->next_hop.domain = d->deliver == DELIVER_SMTP
                             ? UINT32_MAX
                             : (uint32_t)i; /* a relay's destination is shared with others */
    if (!config_place(l, SECTION_DOMAIN, i, "mailboxes").file)
        d->mailboxes = d->deliver == DELIVER_SMTP ? MAILBOXES_ANY : MAILBOXES_ACCOUNTS;
    if (d->deliver == DELIVER_MAILDIR) {
        if (!deliver_at.file)
            d->maildir = vr_arena_printf(&c->arena, "%s/mail/{domain}/{local}", c->state);
        d->next_hop.kind = NEXT_HOP_MAILDIR;
        d->next_hop.host = d->maildir;
        check_maildir(l, d, place_or(deliver_at, at.file, at.line));
    }
    if (d->catch_all.n)
        check_catch_all(l, d, config_place(l, SECTION_DOMAIN, i, "catch_all"));
    struct io_user user;
    if (d->owner.n && io_user_by_name(d->owner.p, &user) < 0)
        problem_error(&l->problems, config_place(l, SECTION_DOMAIN, i, "owner"),
                      "there is no system user \"%.*s\"; expected one (useradd --system %.*s)",
                      VR_STR_ARG(d->owner), VR_STR_ARG(d->owner));
    if (d->owner.n && (d->deliver != DELIVER_MAILDIR || d->mailboxes == MAILBOXES_SYSTEM))
        problem_warning(&l->problems, config_place(l, SECTION_DOMAIN, i, "owner"),
                        "`owner` has no effect here: it is for Maildirs of accounts");
}

static void check_domains(struct loader *l)
{
    struct config *c = l->c;
    struct seen_names seen = seen_new(l, c->domain_count);
    if (c->domain_count == 0)
        problem_warning(&l->problems, (struct place){l->main_file, 1},
                        "there is no domain: mail is only relayed, for users who log in and for `trusted` "
                        "clients; expected domain \"example.org\" { } to receive mail");
    for (size_t i = 0; i < c->domain_count; i++) {
        struct place at = {c->domains[i].file, c->domains[i].line};
        const struct place *before = seen_before(&seen, c->domains[i].ascii, at);
        if (before)
            problem_error(
                &l->problems, at,
                "the domain %.*s a second time; it is at %s:%d already; expected one section for it",
                VR_STR_ARG(c->domains[i].name), before->file, before->line);
        check_domain(l, i);
    }
    for (size_t i = 0; i < c->domain_count; i++)
        aliases_load(c, &c->domains[i], &l->problems, config_place(l, SECTION_DOMAIN, i, "aliases"),
                     config_place(l, SECTION_DOMAIN, i, "virtual"));
}

/* ---- routes ------------------------------------------------------------------------------------------------------- */

/* A certificate for the next hop: both of its files, a pair, and TLS to show it in. */
static void check_certificate(struct loader *l, size_t i)
{
    struct config_route *r = &l->c->routes[i];
    struct place certificate_at = config_place(l, SECTION_ROUTE, i, "tls_certificate"),
                 key_at = config_place(l, SECTION_ROUTE, i, "tls_key");
    if (!certificate_at.file && !key_at.file)
        return;
    if (!r->tls_certificate || !r->tls_key) {
        if (!certificate_at.file || !key_at.file) /* else a complaint was made of its value */
            problem_error(&l->problems, place_or(certificate_at, key_at.file, key_at.line),
                          "one of `tls_certificate` and `tls_key` is missing; expected both");
        return;
    }
    check_file(l, certificate_at, "certificate", r->tls_certificate);
    check_file(l, key_at, "private key", r->tls_key);
    if (readable(r->tls_certificate) == 0 && readable(r->tls_key) == 0)
        check_pair(l, certificate_at, key_at,
                   &(struct config_tls){.certificate = r->tls_certificate, .key = r->tls_key});
    if (check_open_to_all(r->tls_key))
        problem_warning(
            &l->problems, key_at,
            "everybody on this machine can read the private key %s; expected mode 0600 (chmod 600 %s)",
            r->tls_key, r->tls_key);
    if (r->next_hop.tls == NEXT_HOP_TLS_NONE)
        problem_error(&l->problems, certificate_at,
                      "`tls_certificate` is never shown: `tls` is none; expected tls = verify (or required)");
}

/* May what is secret go to this next hop? */
static void check_secret_way(struct loader *l, struct config_route *r, struct place user_at, size_t i)
{
    const char *secret = r->token.n ? "token" : "password";
    if (r->next_hop.kind == NEXT_HOP_MX || r->next_hop.kind == NEXT_HOP_ERROR)
        problem_error(&l->problems, user_at,
                      "a user, but `to` names no host to log in at; expected to = \"smtp:host:port\"");
    if (!config_place(l, SECTION_ROUTE, i, "tls").file && r->next_hop.tls == NEXT_HOP_TLS_MAY)
        r->next_hop.tls = NEXT_HOP_TLS_VERIFY; /* a password goes only to whom it belongs */
    bool clear = r->next_hop.tls == NEXT_HOP_TLS_MAY || r->next_hop.tls == NEXT_HOP_TLS_DANE ||
                 (r->next_hop.tls == NEXT_HOP_TLS_NONE && r->next_hop.port != 0);
    if (clear && l->c->auth_in_clear)
        problem_warning(&l->problems, user_at, "the %s goes over the network without TLS", secret);
    else if (clear)
        problem_error(&l->problems, user_at,
                      "the %s would go over the network without TLS; expected tls = verify (or required)",
                      secret);
}

/* Does the one mechanism that is wanted have what it needs? */
static void check_mechanism(struct loader *l, const struct config_route *r, struct place at)
{
    const struct sasl_mechanism *m = sasl_mechanism_find(r->mechanism);
    if (m == NULL)
        return;
    const char *missing = NULL;
    if (m->secret == SASL_BY_PASSWORD && r->password.n == 0)
        missing = "user and password_file (or password)";
    else if (m->secret == SASL_BY_TOKEN && r->token.n == 0)
        missing = "user and token_file (or token)";
    else if (m->secret == SASL_BY_CERTIFICATE && r->tls_certificate == NULL)
        missing = "tls_certificate and tls_key";
    if (missing)
        problem_error(&l->problems, at, "`mechanism` is %s, which needs %s; expected them beside it", m->name,
                      missing);
}

static void check_login(struct loader *l, size_t i)
{
    static const char *const secrets[] = {"password", "password_file", "token", "token_file"};
    struct config_route *r = &l->c->routes[i];
    struct place user_at = config_place(l, SECTION_ROUTE, i, "user"), secret_at = {NULL, 0};
    for (size_t k = 0; k < 4 && !secret_at.file; k++)
        secret_at = config_place(l, SECTION_ROUTE, i, secrets[k]);
    check_certificate(l, i);
    check_mechanism(l, r, config_place(l, SECTION_ROUTE, i, "mechanism"));
    if (!r->user.n) {
        if (secret_at.file)
            problem_error(&l->problems, secret_at, "a %s without a user; expected user = \"…\" beside it",
                          r->token.n ? "token" : "password");
        return;
    }
    if (!secret_at.file && !r->tls_certificate)
        problem_error(
            &l->problems, user_at,
            "a user without a password; expected password_file = \"/path\" (or password) beside it");
    if (r->password.n && r->token.n)
        problem_error(&l->problems, user_at, "a password and a token are given; expected one of them");
    check_secret_way(l, r, user_at, i);
    struct place in_file = config_place(l, SECTION_ROUTE, i, r->token.n ? "token" : "password");
    if (in_file.file && check_open_to_all(in_file.file))
        problem_warning(&l->problems, in_file,
                        "everybody on this machine can read the %s in this file; expected mode 0600 "
                        "(chmod 600 %s), or %s_file",
                        r->token.n ? "token" : "password", in_file.file, r->token.n ? "token" : "password");
}

static void check_routes(struct loader *l)
{
    struct config *c = l->c;
    struct seen_names seen = seen_new(l, c->route_count);
    for (size_t i = 0; i < c->route_count; i++) {
        struct config_route *r = &c->routes[i];
        struct place at = {r->file, r->line};
        const struct place *before = seen_before(&seen, r->ascii, at);
        if (before)
            problem_error(&l->problems, at,
                          "the route %.*s a second time; it is at %s:%d already; expected one section for it",
                          VR_STR_ARG(r->pattern), before->file, before->line);
        const struct config_domain *own = routing_domain(c, r->pattern);
        if (own)
            problem_warning(&l->problems, at,
                            "this route is never used: %.*s is a domain of this server (%s:%d), and "
                            "`deliver` says where its mail goes",
                            VR_STR_ARG(r->pattern), own->file, own->line);
        if (!config_place(l, SECTION_ROUTE, i, "to").file)
            problem_error(&l->problems, at,
                          "the route %.*s goes nowhere; expected to = \"smtp:host:port\" (or smtps:, lmtp:, "
                          "mx, error:)",
                          VR_STR_ARG(r->pattern));
        else
            check_login(l, i);
    }
}

/* ---- the rest ------------------------------------------------------------------------------------------------------ */

static void check_queue(struct loader *l)
{
    struct config *c = l->c;
    struct place retry_at = config_place(l, SECTION_QUEUE, 0, "retry"),
                 expire_at = config_place(l, SECTION_QUEUE, 0, "expire");
    if (retry_at.file && c->retry_count && c->retry[0] >= c->expire)
        problem_error(&l->problems, retry_at,
                      "the first pause of `retry` is not shorter than `expire`, so nothing would be tried "
                      "twice; expected shorter pauses");
    struct place warning_at = config_place(l, SECTION_QUEUE, 0, "delay_warning");
    if (c->delay_warning >= c->expire && (warning_at.file || expire_at.file))
        problem_warning(&l->problems, place_or(warning_at, expire_at.file, expire_at.line),
                        "`delay_warning` is not before `expire`, so no such warning will be sent; expected a "
                        "shorter time, or 0");
    struct place inline_at = config_place(l, SECTION_QUEUE, 0, "inline_body");
    if (c->inline_body * 2 > c->segment_size)
        problem_error(&l->problems, place_or(inline_at, l->main_file, 1),
                      "`inline_body` is more than half of `segment_size`; expected a smaller one");
}

static void check_srs(struct loader *l)
{
    const struct config_srs *srs = &l->c->srs;
    struct place at = config_place(l, SECTION_SRS, 0, "domain"),
                 secret_at = config_place(l, SECTION_SRS, 0, "secret_file");
    if (srs->domain.n == 0) {
        if (srs->secret_file)
            problem_error(&l->problems, secret_at,
                          "the section `srs` has no `domain`, so no reverse path is rewritten; expected "
                          "domain = \"example.org\", a domain of this server");
        return;
    }
    if (routing_domain(l->c, srs->domain) == NULL)
        problem_warning(&l->problems, at,
                        "%.*s is no domain of this server, so nothing but reports will be taken for it, not "
                        "even mail for its postmaster; expected a section domain \"%.*s\" too",
                        VR_STR_ARG(srs->domain), VR_STR_ARG(srs->domain));
    if (srs->secret_file) {
        check_file(l, secret_at, "secret of SRS addresses", srs->secret_file);
        if (check_open_to_all(srs->secret_file))
            problem_warning(
                &l->problems, secret_at,
                "everybody on this machine can read the secret of SRS addresses %s, and who knows it "
                "can send mail through this server; expected mode 0600 (chmod 600 %s)",
                srs->secret_file, srs->secret_file);
    }
}

/* Only those that were named: without root nobody needs them, and who installs veredus gets the default ones. */
static void check_users(struct loader *l)
{
    const struct {
        const char *key, *name;
    } users[] = {{"user", l->c->user}, {"user_keeper", l->c->user_keeper}, {"user_queue", l->c->user_queue}};
    struct io_user user;
    for (size_t i = 0; i < sizeof users / sizeof *users; i++) {
        struct place at = config_place(l, SECTION_PROCESSES, 0, users[i].key);
        if (at.file && users[i].name && io_user_by_name(users[i].name, &user) < 0)
            problem_warning(
                &l->problems, at,
                "there is no system user \"%s\", which `veredus serve` needs when root starts it; "
                "expected one (useradd --system %s)",
                users[i].name, users[i].name);
    }
}

void config_check(struct loader *l)
{
    check_host(l);
    settle_verify(l->c);
    check_tls(l);
    check_listeners(l);
    check_domains(l);
    check_routes(l);
    check_accounts(l);
    check_oauth(l);
    check_srs(l);
    check_queue(l);
    check_users(l);
    if (l->c->ca_file)
        check_file(l, config_place(l, SECTION_SENDING, 0, "ca_file"), "file of certificate authorities",
                   l->c->ca_file);
    if (l->c->trust_anchor)
        check_file(l, config_place(l, SECTION_DNS, 0, "trust_anchor"), "trust anchor", l->c->trust_anchor);
}
