/* settings.c - one value of one key: is it what the key may hold, and where does it go?
 *
 * Most keys are of a simple kind, and their rows of config_keys[] say all. The others have a function in specials[].
 * Each complaint says what was expected.
 * Tests: tests/unit/config.c
 */
#include "config/load.h"

#include <veredus/address.h>
#include <veredus/idn.h>

#include "io/fs.h"

#include <string.h>

/* ---- values of the simple kinds --------------------------------------------------------------------------------- */

void setting_wrong(const struct setting *s, const char *expected)
{
    problem_error(&s->l->problems, s->at, "`%s` is \"%.*s\"; expected %s", s->row->key,
                  VR_STR_ARG(s->values->text), expected);
}

static bool read_amount(const struct config_key *row, struct vr_str text, uint64_t *out)
{
    int64_t ms;
    if (row->kind == CONFIG_SIZE)
        return value_size(text, out);
    if (row->kind == CONFIG_TIME)
        return value_time(text, &ms) && (*out = (uint64_t)ms, true);
    return vr_str_to_u64(text, out);
}

static void store_amount(const struct config_key *row, void *field, uint64_t v)
{
    if (row->kind == CONFIG_SIZE)
        *(uint64_t *)field = v;
    else if (row->kind == CONFIG_TIME)
        *(int64_t *)field = (int64_t)v;
    else if (row->kind == CONFIG_PORT)
        *(uint16_t *)field = (uint16_t)v;
    else
        *(unsigned *)field = (unsigned)v;
}

static void set_amount(const struct setting *s, void *field)
{
    uint64_t v;
    if (read_amount(s->row, s->values->text, &v) && v >= s->row->min && v <= s->row->max) {
        store_amount(s->row, field, v);
        return;
    }
    struct vr_buf expected;
    vr_buf_init(&expected, 256);
    vr_buf_addf(&expected, "%s from ",
                s->row->kind == CONFIG_SIZE   ? "a size in bytes, or with K, M or G,"
                : s->row->kind == CONFIG_TIME ? "a time with its unit (ms, s, m, h or d)"
                                              : "a whole number");
    write_amount(&expected, s->row->kind, s->row->min);
    vr_buf_add(&expected, VR_STR(" to "));
    write_amount(&expected, s->row->kind, s->row->max);
    setting_wrong(s, must_text(&s->l->scratch, vr_buf_str(&expected)));
    vr_buf_fini(&expected);
}

void setting_path(const struct setting *s, void *field)
{
    if (s->values->text.n == 0 || s->values->text.p[0] != '/')
        setting_wrong(s, "a path that begins with /");
    else
        *(const char **)field = must_text(&s->l->c->arena, s->values->text);
}

static void set_bool(const struct setting *s, void *field)
{
    if (!value_bool(s->values->text, field))
        setting_wrong(s, "yes or no");
}

static void set_simple(const struct setting *s)
{
    void *field = (char *)s->target + s->row->offset;
    struct vr_str text = s->values->text;
    switch (s->row->kind) {
    case CONFIG_TEXT:
    case CONFIG_NAME:
        if (text.n == 0)
            setting_wrong(s, "a text that is not empty");
        else if (s->row->kind == CONFIG_TEXT)
            *(struct vr_str *)field = must_dup(&s->l->c->arena, text);
        else
            *(const char **)field = must_text(&s->l->c->arena, text);
        break;
    case CONFIG_PATH:
        setting_path(s, field);
        break;
    case CONFIG_BOOL:
        set_bool(s, field);
        break;
    case CONFIG_SIZE:
    case CONFIG_TIME:
    case CONFIG_COUNT:
    case CONFIG_PORT:
        set_amount(s, field);
        break;
    case CONFIG_SPECIAL:
        break;
    }
}

/* ---- the others ------------------------------------------------------------------------------------------------- */

bool setting_choose(const struct setting *s, const struct word_value *words, size_t n, const char *expected,
                    int *out)
{
    for (size_t i = 0; i < n; i++)
        if (vr_str_equal_nocase(s->values->text, vr_str_from(words[i].word)))
            return *out = words[i].value, true;
    setting_wrong(s, expected);
    return false;
}

static void set_srs_domain(const struct setting *s)
{
    if (!address_domain_valid(s->values->text, ADDRESS_ALLOW_UTF8))
        setting_wrong(s, "a domain of this server, such as \"example.org\"");
    else
        s->l->c->srs.domain = ascii_name(&s->l->c->arena, s->values->text);
}

static void set_hostname(const struct setting *s)
{
    struct io_address ip;
    if (!address_domain_valid(s->values->text, ADDRESS_ALLOW_UTF8) ||
        (io_address_parse(s->values->text, 25, &ip) && ip.family == IO_INET))
        setting_wrong(s, "a domain name such as \"mail.example.org\"");
    else
        s->l->c->hostname = ascii_name(&s->l->c->arena, s->values->text); /* RFC 6531 §3.7.1 */
}

/* An address, completed with `domain` when it has none. */
static bool read_address(const struct setting *s, struct vr_str domain, struct vr_str *out)
{
    struct vr_arena *arena = &s->l->c->arena;
    struct vr_str text = s->values->text;
    if (domain.n && vr_str_find(text, '@') == VR_NPOS)
        text = vr_arena_printf(arena, "%.*s@%.*s", VR_STR_ARG(text), VR_STR_ARG(domain));
    struct address a;
    const char *why = "";
    if (address_parse(arena, text, ADDRESS_ALLOW_UTF8, &a, &why) != VR_OK) {
        problem_error(&s->l->problems, s->at,
                      "`%s` is \"%.*s\", which is no address: %s; expected \"user@example.org\"", s->row->key,
                      VR_STR_ARG(s->values->text), why);
        return false;
    }
    *out = address_text(arena, &a);
    return true;
}

static void set_postmaster(const struct setting *s)
{
    read_address(s, vr_str(NULL, 0), &s->l->c->postmaster);
}

static void set_reports_from(const struct setting *s)
{
    read_address(s, s->l->c->hostname, &s->l->c->reports.from);
}

static void set_role(const struct setting *s)
{
    static const struct word_value roles[] = {{"mx", LISTENER_MX},
                                              {"submission", LISTENER_SUBMISSION},
                                              {"submissions", LISTENER_SUBMISSIONS},
                                              {"lmtp", LISTENER_LMTP},
                                              {"mta-sts", LISTENER_MTA_STS}};
    int role;
    if (CHOOSE(s, roles,
               "mx (mail from other servers), submission (users, STARTTLS), submissions (users, TLS from "
               "the start), lmtp (mail from a server of yours, by LMTP) or mta-sts (policies of your "
               "domains, by "
               "HTTPS)",
               &role))
        ((struct config_listener *)s->target)->role = (enum listener_role)role;
}

static void set_deliver(const struct setting *s)
{
    struct config_domain *d = s->target;
    struct vr_str text = s->values->text;
    if (vr_str_starts(text, VR_STR("maildir:"))) {
        d->deliver = DELIVER_MAILDIR;
        d->maildir = must_dup(&s->l->c->arena, vr_str_from_pos(text, 8));
        return;
    }
    const char *bad = value_next_hop(&s->l->c->arena, text, &d->next_hop);
    if (!bad && d->next_hop.kind != NEXT_HOP_LMTP &&
        (d->next_hop.kind != NEXT_HOP_SMTP || vr_str_starts(text, VR_STR("smtps:"))))
        bad = "a domain is not delivered like this";
    if (bad)
        problem_error(&s->l->problems, s->at,
                      "`deliver` is \"%.*s\": %s; expected \"maildir:/path/{domain}/{local}\", "
                      "\"lmtp:unix:/path\", \"lmtp:host:port\" or \"smtp:host:port\"",
                      VR_STR_ARG(text), bad);
    d->deliver = d->next_hop.kind == NEXT_HOP_LMTP ? DELIVER_LMTP : DELIVER_SMTP;
}

static void set_mailboxes(const struct setting *s)
{
    static const struct word_value kinds[] = {
        {"accounts", MAILBOXES_ACCOUNTS}, {"system", MAILBOXES_SYSTEM}, {"any", MAILBOXES_ANY}};
    int kind;
    if (CHOOSE(s, kinds, "accounts (made with `veredus account`), system (users of this machine) or any",
               &kind))
        ((struct config_domain *)s->target)->mailboxes = (enum mailboxes_kind)kind;
}

static void set_catch_all(const struct setting *s)
{
    struct config_domain *d = s->target;
    read_address(s, d->name, &d->catch_all);
}

static void set_delimiter(const struct setting *s)
{
    struct vr_str text = s->values->text;
    bool good =
        text.n <= 1 && (text.n == 0 || (text.p[0] > ' ' && text.p[0] < 0x7f && !strchr("@\"\\", text.p[0])));
    if (!good)
        setting_wrong(s, "one character such as \"+\" or \"-\", or \"\" for none");
    else
        ((struct config_domain *)s->target)->delimiter = text.n ? text.p[0] : '\0';
}

static bool route_writes_tls(const struct setting *s)
{
    return config_place(s->l, SECTION_ROUTE, (size_t)((struct config_route *)s->target - s->l->c->routes),
                        "tls")
               .file != NULL;
}

/* `tls` as written, against what `to` is: called by whichever of the two stands second. */
static void join_tls(const struct setting *s, enum next_hop_tls tls)
{
    struct config_route *r = s->target;
    bool dane = tls == NEXT_HOP_TLS_DANE || tls == NEXT_HOP_TLS_DANE_ONLY;
    bool demands = tls == NEXT_HOP_TLS_REQUIRED || tls == NEXT_HOP_TLS_VERIFY || dane;
    if (r->next_hop.tls == NEXT_HOP_TLS_IMPLICIT) {
        if (dane)
            problem_error(
                &s->l->problems, s->at,
                "`tls` wants DANE for smtps:, whose certificate is verified by authorities; expected "
                "no `tls`, or `to` with smtp:");
        else if (!demands)
            problem_error(&s->l->problems, s->at,
                          "`tls` turns TLS off for smtps:, which is always under TLS and verified; expected "
                          "no `tls`, or `to` with smtp:");
    } else if (r->next_hop.kind == NEXT_HOP_LMTP && r->next_hop.port == 0) {
        if (demands)
            problem_error(
                &s->l->problems, s->at,
                "`tls` demands TLS on a UNIX socket, where there is none; expected none, or no `tls`");
    } else {
        r->next_hop.tls = tls;
    }
}

static void set_to(const struct setting *s)
{
    struct config_route *r = s->target;
    enum next_hop_tls tls = r->next_hop.tls;
    const char *bad = value_next_hop(&s->l->c->arena, s->values->text, &r->next_hop);
    if (bad)
        problem_error(&s->l->problems, s->at,
                      "`to` is \"%.*s\": %s; expected \"smtp:host:port\", \"smtps:host\", "
                      "\"lmtp:host:port\", \"lmtp:unix:/path\", \"mx\" or \"error:5.7.1 text\"",
                      VR_STR_ARG(s->values->text), bad);
    else if (route_writes_tls(s))
        join_tls(s, tls);
    r->next_hop.route = (uint32_t)(r - s->l->c->routes);
}

static void set_tls(const struct setting *s)
{
    static const struct word_value words[] = {
        {"may", NEXT_HOP_TLS_MAY},       {"none", NEXT_HOP_TLS_NONE}, {"required", NEXT_HOP_TLS_REQUIRED},
        {"verify", NEXT_HOP_TLS_VERIFY}, {"dane", NEXT_HOP_TLS_DANE}, {"dane-only", NEXT_HOP_TLS_DANE_ONLY}};
    int tls;
    if (CHOOSE(s, words,
               "may (when offered), none, required (any certificate), verify (a valid certificate), dane or "
               "dane-only",
               &tls))
        join_tls(s, (enum next_hop_tls)tls);
}

static void set_chunking(const struct setting *s)
{
    static const struct word_value words[] = {
        {"auto", CHUNKING_AUTO}, {"yes", CHUNKING_YES}, {"no", CHUNKING_NO}};
    int chunking;
    if (CHOOSE(s, words, "auto (what is binary), yes (wherever it is offered) or no (never)", &chunking))
        ((struct config_route *)s->target)->chunking = (enum config_chunking)chunking;
}

static void set_retry(const struct setting *s)
{
    size_t n = 0;
    for (const struct value *v = s->values; v; v = v->next)
        n++;
    int64_t *table = must_alloc(&s->l->c->arena, n * sizeof *table), previous = 0;
    size_t count = 0;
    for (const struct value *v = s->values; v; v = v->next) {
        int64_t ms;
        if (!value_time(v->text, &ms) || ms < 1000 || ms > 86400000ll * 10) {
            problem_error(
                &s->l->problems, s->at,
                "`retry` has \"%.*s\"; expected times from 1s to 10d, such as { 1m, 5m, 15m, 30m, 1h }",
                VR_STR_ARG(v->text));
            return;
        }
        if (ms < previous) {
            problem_error(&s->l->problems, s->at,
                          "`retry` goes down at \"%.*s\"; expected each pause to be as long as the one "
                          "before or longer",
                          VR_STR_ARG(v->text));
            return;
        }
        table[count++] = previous = ms;
    }
    if (count > 64) {
        problem_error(&s->l->problems, s->at,
                      "`retry` has %zu times; expected at most 64 (the last one repeats)", count);
        return;
    }
    s->l->c->retry = table;
    s->l->c->retry_count = count;
}

static void set_source(const struct setting *s, enum io_family family, struct io_address *out,
                       const char *expected)
{
    struct vr_str text = s->values->text;
    struct vr_str bracketed = family == IO_INET6 && text.n && text.p[0] != '['
                                  ? vr_arena_printf(&s->l->scratch, "[%.*s]", VR_STR_ARG(text))
                                  : text;
    struct io_address a;
    if (!io_address_parse(bracketed, 1, &a) || a.family != family) {
        setting_wrong(s, expected);
        return;
    }
    a.port = 0;
    *out = a;
}

static struct config_route *route_of(const struct setting *s) /* NULL: the key is of `sending` */
{
    return strcmp(s->row->section, "route") == 0 ? s->target : NULL;
}

static void set_source4(const struct setting *s)
{
    struct config_route *r = route_of(s);
    set_source(s, IO_INET, r != NULL ? &r->source : &s->l->c->source, "an IPv4 address of this machine");
}

static void set_source6(const struct setting *s)
{
    struct config_route *r = route_of(s);
    set_source(s, IO_INET6, r != NULL ? &r->source6 : &s->l->c->source6, "an IPv6 address of this machine");
}

static void set_rate(const struct setting *s)
{
    struct config_route *r = route_of(s);
    struct vr_str text = s->values->text;
    size_t slash = vr_str_find(text, '/');
    uint64_t count;
    int64_t period_ms;
    if (slash == VR_NPOS || !vr_str_to_u64(vr_str_sub(text, 0, slash), &count) || count < 1 ||
        count > 1000000 || !value_time(vr_str_from_pos(text, slash + 1), &period_ms) || period_ms < 1 ||
        period_ms > 86400000ll * 10) {
        setting_wrong(s, "a count and a time, such as \"100/1m\" or \"5/1s\"");
        return;
    }
    *(r != NULL ? &r->rate : &s->l->c->rate) = (struct config_rate){(uint32_t)count, period_ms};
}

static bool dns_server_valid(struct loader *l, struct vr_str text)
{
    struct vr_str host = text;
    size_t at = vr_str_find(text, '@');
    uint64_t port = 53;
    if (at != VR_NPOS) {
        host = vr_str_sub(text, 0, at);
        if (!vr_str_to_u64(vr_str_from_pos(text, at + 1), &port) || port < 1 || port > 65535)
            return false;
    }
    bool v6 = vr_str_find(host, ':') != VR_NPOS;
    struct io_address a;
    return host.n && host.p[0] != '[' &&
           io_address_parse(v6 ? vr_arena_printf(&l->scratch, "[%.*s]", VR_STR_ARG(host)) : host, 53, &a) &&
           (a.family == IO_INET || a.family == IO_INET6);
}

static void set_dns_servers(const struct setting *s)
{
    size_t n = 0;
    for (const struct value *v = s->values; v; v = v->next)
        n++;
    const char **servers = must_alloc(&s->l->c->arena, (n + 1) * sizeof *servers);
    n = 0;
    for (const struct value *v = s->values; v; v = v->next)
        if (dns_server_valid(s->l, v->text))
            servers[n++] = must_text(&s->l->c->arena, v->text);
        else
            problem_error(&s->l->problems, s->at,
                          "`servers` has \"%.*s\"; expected IP addresses such as \"192.0.2.1\" or, with a "
                          "port, \"127.0.0.1@5353\"",
                          VR_STR_ARG(v->text));
    if (n)
        s->l->c->dns_servers = servers;
}

static void set_log_format(const struct setting *s)
{
    static const struct word_value words[] = {{"text", EVENT_KEY_VALUE}, {"json", EVENT_JSON}};
    int format;
    if (CHOOSE(s, words, "text or json", &format))
        s->l->c->log_format = (enum event_format)format;
}

static void set_log_level(const struct setting *s)
{
    static const struct word_value words[] = {{"debug", EVENT_DEBUG},
                                              {"info", EVENT_INFO},
                                              {"notice", EVENT_NOTICE},
                                              {"warning", EVENT_WARNING},
                                              {"error", EVENT_ERROR}};
    int level;
    if (CHOOSE(s, words, "debug, info, notice, warning or error", &level))
        s->l->c->log_level = (enum event_level)level;
}

static const struct {
    const char *section, *key;
    void (*set)(const struct setting *s);
} specials[] = {
    {"", "hostname", set_hostname},
    {"", "postmaster", set_postmaster},
    {"", "trusted", set_networks},
    {"", "xclient", set_networks},
    {"", "xforward", set_networks},
    {"", "vrfy", set_audience},
    {"", "expn", set_audience},
    {"", "no_soliciting", set_no_soliciting},
    {"", "authserv_id", set_authserv_id},
    {"listen", "role", set_role},
    {"listen", "proxy", set_networks},
    {"listen", "bare_lf", set_networks},
    {"domain", "deliver", set_deliver},
    {"domain", "mailboxes", set_mailboxes},
    {"domain", "catch_all", set_catch_all},
    {"domain", "delimiter", set_delimiter},
    {"domain", "etrn", set_etrn},
    {"domain", "mx", set_published_mx},
    {"domain", "spf_record", set_published_record},
    {"domain", "dmarc_record", set_published_record},
    {"domain", "tls_reports", set_tls_reports},
    {"domain", "mta_sts", set_mta_sts},
    {"domain", "imaps", set_imaps},
    {"domain", "verify_spf", set_verify_action},
    {"domain", "verify_dkim", set_verify_action},
    {"domain", "verify_dmarc", set_verify_action},
    {"verify", "spf", set_verify_action},
    {"verify", "dkim", set_verify_action},
    {"verify", "dmarc", set_verify_action},
    {"verify", "dmarc_method", set_verify_dmarc_method},
    {"verify", "temperror", set_verify_temperror},
    {"verify", "skip", set_verify_skip},
    {"arc", "seal", set_arc_seal},
    {"arc", "domain", set_arc_domain},
    {"arc", "trusted", set_arc_trusted},
    {"route", "to", set_to},
    {"route", "tls", set_tls},
    {"route", "password", set_password},
    {"route", "password_file", set_password_file},
    {"route", "token", set_token},
    {"route", "token_file", set_token_file},
    {"route", "mechanism", set_mechanism},
    {"route", "chunking", set_chunking},
    {"route", "rate", set_rate},
    {"route", "source", set_source4},
    {"route", "source6", set_source6},
    {"authentication", "mechanisms", set_mechanisms},
    {"route", "etrn", set_etrn},
    {"accounts", "from", set_accounts_from},
    {"accounts", "domain", set_accounts_domain},
    {"accounts", "pam_name", set_pam_name},
    {"srs", "domain", set_srs_domain},
    {"oauth", "introspection", set_https_url},
    {"oauth", "openid_configuration", set_https_url},
    {"oauth", "jwt_keys", set_jwt_keys},
    {"oauth", "audience", set_token_audience},
    {"oauth", "scope", set_scope},
    {"queue", "retry", set_retry},
    {"sending", "rate", set_rate},
    {"sending", "source", set_source4},
    {"sending", "source6", set_source6},
    {"dns", "servers", set_dns_servers},
    {"reports", "from", set_reports_from},
    {"log", "format", set_log_format},
    {"log", "level", set_log_level},
};

void setting_apply(const struct setting *s)
{
    set_simple(s);
    for (size_t i = 0; s->row->kind == CONFIG_SPECIAL && i < sizeof specials / sizeof specials[0]; i++)
        if (strcmp(specials[i].section, s->row->section) == 0 && strcmp(specials[i].key, s->row->key) == 0)
            specials[i].set(s);
}

void settings_default(struct config *c)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *row = &config_keys[i];
        void *field = (char *)c + row->offset;
        uint64_t amount;
        if (strcmp(row->section, "listen") == 0 || strcmp(row->section, "tls") == 0 ||
            strcmp(row->section, "domain") == 0 || strcmp(row->section, "route") == 0)
            continue;
        if (row->kind == CONFIG_NAME || (row->kind == CONFIG_PATH && row->fallback[0] == '/'))
            *(const char **)field = row->fallback;
        else if ((row->kind == CONFIG_SIZE || row->kind == CONFIG_TIME || row->kind == CONFIG_COUNT ||
                  row->kind == CONFIG_PORT) &&
                 read_amount(row, vr_str_from(row->fallback), &amount))
            store_amount(row, field, amount);
        else if (row->kind == CONFIG_BOOL)
            *(bool *)field = strcmp(row->fallback, "yes") == 0;
    }
    static const int64_t retry[] = {60000, 300000, 900000, 1800000, 3600000};
    c->retry = must_alloc(&c->arena, sizeof retry);
    memcpy(c->retry, retry, sizeof retry);
    c->retry_count = sizeof retry / sizeof retry[0];
    c->log_level = EVENT_INFO;
    default_verify(c);
    for (size_t i = 0; i < sasl_mechanism_count; i++)
        if (sasl_mechanisms[i].bit != SASL_CRAM_MD5)
            c->mechanisms |= (unsigned)sasl_mechanisms[i].bit;
}
