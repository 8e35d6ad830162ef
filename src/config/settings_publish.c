/* settings_publish.c - the keys of a domain that say what it publishes of itself.
 *
 * Records are looked at here as far as to see that they are meant for the key; `veredus dns` reads them to the end.
 * Tests: tests/unit/config.c
 */
#include "config/load.h"

#include <veredus/address.h>

static struct config_published *of(const struct setting *s)
{
    return &((struct config_domain *)s->target)->publish;
}

static size_t count(const struct value *v)
{
    size_t n = 0;
    for (; v != NULL; v = v->next)
        n++;
    return n;
}

void set_published_mx(const struct setting *s)
{
    struct config_published *p = of(s);
    size_t kept = s->adds ? p->mx_count : 0;
    struct vr_str *all = must_alloc(&s->l->c->arena, (kept + count(s->values)) * sizeof *all);
    for (size_t i = 0; i < kept; i++)
        all[i] = p->mx[i];
    p->mx = all;
    p->mx_count = kept;
    for (const struct value *v = s->values; v != NULL; v = v->next)
        if (address_domain_valid(v->text, ADDRESS_ALLOW_UTF8) && vr_str_find(v->text, '.') != VR_NPOS)
            p->mx[p->mx_count++] = ascii_name(&s->l->c->arena, v->text);
        else
            problem_error(&s->l->problems, s->at,
                          "`mx` has \"%.*s\"; expected host names such as \"mail.example.org\"",
                          VR_STR_ARG(v->text));
}

void set_published_record(const struct setting *s)
{
    struct vr_str *field = (struct vr_str *)(void *)((char *)s->target + s->row->offset);
    struct vr_str text = s->values->text;
    bool spf = field == &of(s)->spf;
    bool visible = true;
    for (size_t i = 0; i < text.n; i++)
        visible = visible && text.p[i] >= ' ' && text.p[i] < 0x7f && text.p[i] != '"' && text.p[i] != '\\';
    if (!visible || !vr_str_starts(text, spf ? VR_STR("v=spf1") : VR_STR("v=DMARC1")))
        setting_wrong(s, spf ? "a record such as \"v=spf1 mx -all\""
                             : "a record such as \"v=DMARC1; p=reject; rua=mailto:postmaster@example.org\"");
    else
        *field = must_dup(&s->l->c->arena, text);
}

/* Commas and exclamation marks have a meaning in the record (RFC 8460 §3): they are to be written as %2C and %21. */
static bool report_uri_valid(struct vr_str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] >= 0x7f || text.p[i] == ',' || text.p[i] == '!' ||
            text.p[i] == ';' || text.p[i] == '"' || text.p[i] == '\\')
            return false;
    return (vr_str_starts(text, VR_STR("mailto:")) && vr_str_find(text, '@') != VR_NPOS) ||
           (vr_str_starts(text, VR_STR("https://")) && text.n > 8);
}

void set_tls_reports(const struct setting *s)
{
    struct config_published *p = of(s);
    size_t kept = s->adds ? p->tls_report_count : 0;
    struct vr_str *all = must_alloc(&s->l->c->arena, (kept + count(s->values)) * sizeof *all);
    for (size_t i = 0; i < kept; i++)
        all[i] = p->tls_reports[i];
    p->tls_reports = all;
    p->tls_report_count = kept;
    for (const struct value *v = s->values; v != NULL; v = v->next)
        if (report_uri_valid(v->text))
            p->tls_reports[p->tls_report_count++] = must_dup(&s->l->c->arena, v->text);
        else
            problem_error(&s->l->problems, s->at,
                          "`tls_reports` has \"%.*s\"; expected URIs such as \"mailto:tls@example.org\" or "
                          "\"https://…\", "
                          "with %%2C for a comma",
                          VR_STR_ARG(v->text));
}

void set_mta_sts(const struct setting *s)
{
    static const struct word_value modes[] = {
        {"none", MTA_STS_NONE}, {"testing", MTA_STS_TESTING}, {"enforce", MTA_STS_ENFORCE}};
    int mode;
    if (CHOOSE(s, modes,
               "none, testing (others report what would fail) or enforce (they do not deliver without a good "
               "certificate)",
               &mode))
        of(s)->mta_sts = (enum config_mta_sts)mode;
}

void set_imaps(const struct setting *s)
{
    struct vr_str host = s->values->text;
    size_t colon = vr_str_find(host, ':');
    uint64_t port = 993;
    bool good = colon == VR_NPOS ||
                (vr_str_to_u64(vr_str_from_pos(host, colon + 1), &port) && port > 0 && port < 65536);
    host = colon != VR_NPOS ? vr_str_sub(host, 0, colon) : host;
    if (!good || !address_domain_valid(host, ADDRESS_ALLOW_UTF8)) {
        setting_wrong(s, "a host name such as \"imap.example.org\", with \":port\" when it is not 993");
        return;
    }
    of(s)->imaps_host = ascii_name(&s->l->c->arena, host);
    of(s)->imaps_port = (uint16_t)port;
}
