/* print.c - a configuration as text, with all defaults written out: what `veredus check --print` shows.
 *
 * Promise: the text loads again to the same configuration, but for passwords and tokens, which are never printed.
 * Tests:   tests/unit/config.c
 */
#include "config/load.h"

#include <string.h>

static void put_text(struct vr_buf *out, struct vr_str s)
{
    vr_buf_add_byte(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\' || s.p[i] == '$')
            vr_buf_add_byte(out, '\\');
        vr_buf_add_byte(out, s.p[i]);
    }
    vr_buf_add_byte(out, '"');
}

static void put_line(struct vr_buf *out, const char *key, struct vr_str value)
{
    vr_buf_addf(out, "    %s = ", key);
    put_text(out, value);
    vr_buf_add_byte(out, '\n');
}

static void put_if(struct vr_buf *out, const char *key, struct vr_str value)
{
    if (value.n)
        put_line(out, key, value);
}

void write_amount(struct vr_buf *out, enum config_kind kind, uint64_t v)
{
    static const struct {
        enum config_kind kind;
        uint64_t factor;
        const char *name;
    } units[] = {{CONFIG_SIZE, 1 << 30, "G"},  {CONFIG_SIZE, 1 << 20, "M"}, {CONFIG_SIZE, 1 << 10, "K"},
                 {CONFIG_TIME, 86400000, "d"}, {CONFIG_TIME, 3600000, "h"}, {CONFIG_TIME, 60000, "m"},
                 {CONFIG_TIME, 1000, "s"},     {CONFIG_TIME, 1, "ms"}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (units[i].kind == kind && v != 0 && v % units[i].factor == 0) {
            vr_buf_addf(out, "%llu%s", (unsigned long long)(v / units[i].factor), units[i].name);
            return;
        }
    vr_buf_add_u64(out, v);
}

static void put_next_hop(struct vr_buf *out, const char *key, const struct next_hop *h)
{
    struct vr_buf text;
    vr_buf_init(&text, h->host.n + 64);
    if (h->kind == NEXT_HOP_MX)
        vr_buf_add(&text, VR_STR("mx"));
    else if (h->kind == NEXT_HOP_ERROR)
        vr_buf_addf(&text, "error:%.*s", VR_STR_ARG(h->host));
    else if (h->kind == NEXT_HOP_SMTP && h->tls == NEXT_HOP_TLS_IMPLICIT)
        vr_buf_addf(&text, "smtps:%.*s:%u", VR_STR_ARG(h->host), h->port);
    else
        next_hop_text(&text, h);
    put_line(out, key, vr_buf_str(&text));
    vr_buf_fini(&text);
}

static void put_network(struct vr_buf *out, const struct io_network *n)
{
    struct io_address a = {.family = n->v6 ? IO_INET6 : IO_INET};
    char text[IO_ADDRESS_TEXT];
    memcpy(a.ip, n->ip, sizeof a.ip);
    io_address_ip_text(&a, text);
    vr_buf_addf(out, "\"%s/%u\"", text, n->bits);
}

static void put_networks(struct vr_buf *out, const char *key, const struct config_networks *all)
{
    vr_buf_addf(out, "    %s = {", key);
    for (size_t i = 0; i < all->count; i++) {
        vr_buf_addf(out, "%s", i ? ", " : " ");
        put_network(out, &all->items[i]);
    }
    vr_buf_add(out, VR_STR(" }\n"));
}

static void put_etrn(struct vr_buf *out, const struct config_askers *a)
{
    if (a->networks.count + a->account_count == 0)
        return;
    vr_buf_add(out, VR_STR("    etrn = {"));
    for (size_t i = 0; i < a->networks.count; i++) {
        vr_buf_addf(out, "%s", i ? ", " : " ");
        put_network(out, &a->networks.items[i]);
    }
    for (size_t i = 0; i < a->account_count; i++) {
        vr_buf_addf(out, "%s", i + a->networks.count ? ", " : " ");
        put_text(out, a->accounts[i]);
    }
    vr_buf_add(out, VR_STR(" }\n"));
}

static void put_keywords(struct vr_buf *out, struct vr_str words)
{
    struct vr_str one;
    vr_buf_add(out, VR_STR("    no_soliciting = {"));
    for (const char *comma = " "; vr_str_split(&words, ',', &one); comma = ", ") {
        vr_buf_addf(out, "%s", comma);
        put_text(out, one);
    }
    vr_buf_add(out, VR_STR(" }\n"));
}

static const char *const role_names[] = {[LISTENER_MX] = "mx",
                                         [LISTENER_SUBMISSION] = "submission",
                                         [LISTENER_SUBMISSIONS] = "submissions",
                                         [LISTENER_LMTP] = "lmtp",
                                         [LISTENER_MTA_STS] = "mta-sts"};
static const char *const audience_names[] = {"nobody", "known", "everybody"};
static const char *const mailboxes_names[] = {"accounts", "system", "any"};
static const char *const tls_names[] = {
    [NEXT_HOP_TLS_MAY] = "may",       [NEXT_HOP_TLS_NONE] = "none", [NEXT_HOP_TLS_REQUIRED] = "required",
    [NEXT_HOP_TLS_VERIFY] = "verify", [NEXT_HOP_TLS_DANE] = "dane", [NEXT_HOP_TLS_DANE_ONLY] = "dane-only"};
static const char *const level_names[] = {"debug", "info", "notice", "warning", "error"};

/* The rows of a section that have no title and are of a simple kind. */
static void put_simple(struct vr_buf *out, const struct config *c, const char *section)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *row = &config_keys[i];
        const void *field = (const char *)c + row->offset;
        if (strcmp(row->section, section) != 0 || row->kind == CONFIG_SPECIAL)
            continue;
        if (row->kind == CONFIG_PATH || row->kind == CONFIG_NAME) {
            put_if(out, row->key, vr_str_from(*(const char *const *)field));
            continue;
        }
        if (row->kind == CONFIG_TEXT) {
            put_if(out, row->key, *(const struct vr_str *)field);
            continue;
        }
        vr_buf_addf(out, "    %s = ", row->key);
        if (row->kind == CONFIG_BOOL)
            vr_buf_addf(out, "%s", *(const bool *)field ? "yes" : "no");
        else if (row->kind == CONFIG_SIZE)
            write_amount(out, row->kind, *(const uint64_t *)field);
        else if (row->kind == CONFIG_TIME)
            write_amount(out, row->kind, (uint64_t) * (const int64_t *)field);
        else if (row->kind == CONFIG_PORT)
            vr_buf_add_u64(out, *(const uint16_t *)field);
        else
            vr_buf_add_u64(out, *(const unsigned *)field);
        vr_buf_add_byte(out, '\n');
    }
}

static void put_titled(struct vr_buf *out, const char *section, struct vr_str title)
{
    vr_buf_addf(out, "\n%s ", section);
    put_text(out, title);
    vr_buf_add(out, VR_STR(" {\n"));
}

static void put_texts(struct vr_buf *out, const char *key, const struct vr_str *items, size_t n)
{
    if (n == 0)
        return;
    vr_buf_addf(out, "    %s = {", key);
    for (size_t i = 0; i < n; i++) {
        vr_buf_add(out, i ? VR_STR(", ") : VR_STR(" "));
        put_text(out, items[i]);
    }
    vr_buf_add(out, VR_STR(" }\n"));
}

static void put_published(struct vr_buf *out, const struct config_published *p)
{
    static const char *const modes[] = {"none", "testing", "enforce"};
    put_texts(out, "mx", p->mx, p->mx_count);
    put_if(out, "spf_record", p->spf);
    put_if(out, "dmarc_record", p->dmarc);
    put_texts(out, "tls_reports", p->tls_reports, p->tls_report_count);
    put_line(out, "mta_sts", vr_str_from(modes[p->mta_sts]));
    vr_buf_add(out, VR_STR("    mta_sts_max_age = "));
    write_amount(out, CONFIG_TIME, (uint64_t)p->mta_sts_max_age);
    vr_buf_add_byte(out, '\n');
    if (p->imaps_host.n > 0)
        vr_buf_addf(out, "    imaps = \"%.*s:%u\"\n", VR_STR_ARG(p->imaps_host), p->imaps_port);
}

static void put_verify(struct vr_buf *out, const struct config_verify *v, const char *prefix)
{
    const char *actions[] = {verify_action_names[v->spf], verify_action_names[v->dkim],
                             verify_action_names[v->dmarc]};
    static const char *const names[] = {"spf", "dkim", "dmarc"};
    for (size_t i = 0; i < 3; i++)
        vr_buf_addf(out, "    %s%s = \"%s\"\n", prefix, names[i], actions[i]);
}

static void put_domain(struct vr_buf *out, const struct config_domain *d)
{
    put_titled(out, "domain", d->name);
    if (d->deliver == DELIVER_MAILDIR) {
        vr_buf_add(out, VR_STR("    deliver = "));
        struct vr_buf text;
        vr_buf_init(&text, d->maildir.n + 16);
        vr_buf_addf(&text, "maildir:%.*s", VR_STR_ARG(d->maildir));
        put_text(out, vr_buf_str(&text));
        vr_buf_fini(&text);
        vr_buf_add_byte(out, '\n');
    } else {
        put_next_hop(out, "deliver", &d->next_hop);
    }
    put_line(out, "mailboxes", vr_str_from(mailboxes_names[d->mailboxes]));
    put_if(out, "aliases", vr_str_from(d->aliases_file));
    put_if(out, "virtual", vr_str_from(d->virtual_file));
    put_if(out, "catch_all", d->catch_all);
    put_line(out, "delimiter", vr_str(&d->delimiter, d->delimiter != '\0'));
    put_if(out, "owner", d->owner);
    put_line(out, "sign", d->sign ? VR_STR("yes") : VR_STR("no"));
    put_line(out, "smtputf8", d->smtputf8 ? VR_STR("yes") : VR_STR("no"));
    put_published(out, &d->publish);
    put_etrn(out, &d->etrn);
    put_verify(out, &d->verify, "verify_");
    vr_buf_add(out, VR_STR("}\n"));
}

static void put_addresses(struct vr_buf *out, const char *key, const struct io_address *a)
{
    char text[IO_ADDRESS_TEXT];
    if (a->family == IO_NONE)
        return;
    io_address_ip_text(a, text);
    put_line(out, key, vr_str_from(text));
}

static void put_rate(struct vr_buf *out, const struct config_rate *r)
{
    if (r->count == 0)
        return;
    vr_buf_addf(out, "    rate = \"%u/", r->count);
    write_amount(out, CONFIG_TIME, (uint64_t)r->period_ms);
    vr_buf_add(out, VR_STR("\"\n"));
}

static const char *const chunking_names[] = {
    [CHUNKING_AUTO] = "auto", [CHUNKING_YES] = "yes", [CHUNKING_NO] = "no"};

static void put_route(struct vr_buf *out, const struct config_route *r)
{
    put_titled(out, "route", r->pattern);
    put_next_hop(out, "to", &r->next_hop);
    if (r->next_hop.tls != NEXT_HOP_TLS_IMPLICIT && r->next_hop.kind != NEXT_HOP_ERROR)
        put_line(out, "tls", vr_str_from(tls_names[r->next_hop.tls]));
    put_if(out, "user", r->user);
    if (r->password.n || r->token.n)
        vr_buf_addf(out, "    # the %s is not printed\n", r->token.n ? "token" : "password");
    put_if(out, "mechanism", r->mechanism);
    put_if(out, "tls_certificate", vr_str_from(r->tls_certificate));
    put_if(out, "tls_key", vr_str_from(r->tls_key));
    put_line(out, "chunking", vr_str_from(chunking_names[r->chunking]));
    if (r->concurrency > 0)
        vr_buf_addf(out, "    concurrency = %u\n", r->concurrency);
    put_rate(out, &r->rate);
    put_addresses(out, "source", &r->source);
    put_addresses(out, "source6", &r->source6);
    put_etrn(out, &r->etrn);
    vr_buf_add(out, VR_STR("}\n"));
}

static void put_mechanisms(struct vr_buf *out, unsigned bits)
{
    vr_buf_add(out, VR_STR("    mechanisms = {"));
    for (size_t i = 0, n = 0; i < sasl_mechanism_count; i++)
        if (bits & (unsigned)sasl_mechanisms[i].bit)
            vr_buf_addf(out, "%s\"%s\"", n++ ? ", " : " ", sasl_mechanisms[i].name);
    vr_buf_add(out, VR_STR(" }\n"));
}

static void put_list(struct vr_buf *out, const char *key, const char *const *items)
{
    if (items == NULL)
        return;
    vr_buf_addf(out, "    %s = {", key);
    for (size_t i = 0; items[i] != NULL; i++) {
        vr_buf_add(out, i ? VR_STR(", ") : VR_STR(" "));
        put_text(out, vr_str_from(items[i]));
    }
    vr_buf_add(out, VR_STR(" }\n"));
}

static void put_accounts(struct vr_buf *out, const struct config *c)
{
    static const char *const kinds[] = {"sqlite", "passwd", "pam", "dovecot"};
    vr_buf_add(out, VR_STR("    from = {"));
    for (size_t i = 0; i < c->accounts_count; i++) {
        const struct config_accounts_source *a = &c->accounts[i];
        struct vr_buf text;
        vr_buf_init(&text, 4096);
        vr_buf_addf(&text, "%s%s%s", kinds[a->kind], a->at[0] ? ":" : "", a->at);
        vr_buf_add(out, i ? VR_STR(", ") : VR_STR(" "));
        put_text(out, vr_buf_str(&text));
        vr_buf_fini(&text);
    }
    vr_buf_add(out, VR_STR(" }\n"));
    put_if(out, "domain", c->accounts_domain);
    put_line(out, "pam_name", c->pam_address ? VR_STR("address") : VR_STR("local"));
}

static void put_oauth(struct vr_buf *out, const struct config_oauth *o)
{
    put_if(out, "introspection", vr_str_from(o->introspection));
    put_if(out, "openid_configuration", vr_str_from(o->openid_configuration));
    put_list(out, "jwt_keys", o->jwt_keys);
    put_list(out, "audience", o->audience);
    put_list(out, "scope", o->scopes);
}

static void put_arc(struct vr_buf *out, const struct config *c)
{
    put_line(out, "seal", vr_str_from(arc_seal_names[c->arc_seal]));
    if (c->arc_domain.n > 0)
        put_line(out, "domain", c->arc_domain);
    if (c->arc_trusted_count == 0)
        return;
    vr_buf_add(out, VR_STR("    trusted = {"));
    for (size_t i = 0; i < c->arc_trusted_count; i++) {
        vr_buf_add(out, i ? VR_STR(", ") : VR_STR(" "));
        put_text(out, c->arc_trusted[i]);
    }
    vr_buf_add(out, VR_STR(" }\n"));
}

static void put_special(struct vr_buf *out, const struct config *c, enum section_id id)
{
    if (id == SECTION_AUTHENTICATION) {
        put_mechanisms(out, c->mechanisms);
    } else if (id == SECTION_ACCOUNTS) {
        put_accounts(out, c);
    } else if (id == SECTION_OAUTH) {
        put_oauth(out, &c->oauth);
    } else if (id == SECTION_SRS) {
        put_if(out, "domain", c->srs.domain);
    } else if (id == SECTION_QUEUE) {
        vr_buf_add(out, VR_STR("    retry = {"));
        for (size_t i = 0; i < c->retry_count; i++) {
            vr_buf_addf(out, "%s", i ? ", " : " ");
            write_amount(out, CONFIG_TIME, (uint64_t)c->retry[i]);
        }
        vr_buf_add(out, VR_STR(" }\n"));
    } else if (id == SECTION_SENDING) {
        put_rate(out, &c->rate);
        put_addresses(out, "source", &c->source);
        put_addresses(out, "source6", &c->source6);
    } else if (id == SECTION_DNS && c->dns_servers) {
        vr_buf_add(out, VR_STR("    servers = {"));
        for (const char **s = c->dns_servers; *s; s++)
            vr_buf_addf(out, "%s\"%s\"", s == c->dns_servers ? " " : ", ", *s);
        vr_buf_add(out, VR_STR(" }\n"));
    } else if (id == SECTION_REPORTS) {
        put_if(out, "from", c->reports.from);
    } else if (id == SECTION_VERIFY) {
        put_verify(out, &c->verify, "");
        put_line(out, "dmarc_method",
                 c->verify_dmarc_method == DMARC_PUBLIC_SUFFIX ? VR_STR("public_suffix")
                                                               : VR_STR("tree_walk"));
        put_line(out, "temperror", c->verify_accepts_temperror ? VR_STR("accept") : VR_STR("later"));
        if (c->verify_skip.count > 0)
            put_networks(out, "skip", &c->verify_skip);
        else
            put_line(out, "skip", VR_STR("none"));
    } else if (id == SECTION_ARC) {
        put_arc(out, c);
    } else if (id == SECTION_LOG) {
        put_line(out, "format", vr_str_from(c->log_format == EVENT_JSON ? "json" : "text"));
        put_line(out, "level", vr_str_from(level_names[c->log_level]));
    }
}

static void put_top(struct vr_buf *out, const struct config *c)
{
    put_line(out, "hostname", c->hostname);
    put_if(out, "postmaster", c->postmaster);
    put_networks(out, "trusted", &c->trusted);
    put_networks(out, "xclient", &c->xclient);
    put_networks(out, "xforward", &c->xforward);
    put_line(out, "vrfy", vr_str_from(audience_names[c->vrfy]));
    put_line(out, "expn", vr_str_from(audience_names[c->expn]));
    put_keywords(out, c->no_soliciting);
    put_line(out, "authserv_id", c->authserv_id);
    put_simple(out, c, "");
}

/* Outside of sections nothing is indented. */
static void put_top_flush(struct vr_buf *out, const struct config *c)
{
    struct vr_buf text;
    vr_buf_init(&text, out->max);
    put_top(&text, c);
    struct vr_str rest = vr_buf_str(&text), line;
    while (vr_str_split(&rest, '\n', &line) && line.n > 0) {
        vr_buf_add(out, vr_str_trim(line));
        vr_buf_add_byte(out, '\n');
    }
    out->too_big = out->too_big || text.too_big;
    vr_buf_fini(&text);
}

bool config_print(const struct config *c, struct vr_buf *out)
{
    put_top_flush(out, c);
    for (size_t i = 0; i < c->listener_count + c->web_count; i++) {
        char text[IO_ADDRESS_TEXT];
        io_address_text(&c->listeners[i].address, text);
        put_titled(out, "listen", vr_str_from(text));
        put_line(out, "role", vr_str_from(role_names[c->listeners[i].role]));
        if (c->listeners[i].role == LISTENER_MTA_STS && !c->listeners[i].tls)
            put_line(out, "tls", VR_STR("no"));
        if (c->listeners[i].proxy.count > 0)
            put_networks(out, "proxy", &c->listeners[i].proxy);
        if (c->listeners[i].bare_lf.count > 0)
            put_networks(out, "bare_lf", &c->listeners[i].bare_lf);
        put_if(out, "client_ca", vr_str_from(c->listeners[i].client_ca));
        vr_buf_add(out, VR_STR("}\n"));
    }
    for (size_t i = 0; i < c->tls_count; i++) {
        put_titled(out, "tls", vr_str_from(c->tls[i].names));
        put_line(out, "certificate", vr_str_from(c->tls[i].certificate));
        put_line(out, "key", vr_str_from(c->tls[i].key));
        vr_buf_add(out, VR_STR("}\n"));
    }
    for (size_t i = 0; i < c->domain_count; i++)
        put_domain(out, &c->domains[i]);
    for (size_t i = 0; i < c->route_count; i++)
        put_route(out, &c->routes[i]);
    for (int id = SECTION_LIMITS; id < SECTION_COUNT; id++) {
        vr_buf_addf(out, "\n%s {\n", section_names[id]);
        put_special(out, c, (enum section_id)id);
        put_simple(out, c, section_names[id]);
        vr_buf_add(out, VR_STR("}\n"));
    }
    return !out->too_big;
}
