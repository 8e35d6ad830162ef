/* dmarc_write.c - aggregate reports in XML (RFC 7489 appendix C), and the message that carries one (§7.2.1.1).
 *
 * Elements stand in the order of the schema, those that RFC 9990 added behind the ones that they belong to.
 *
 * Tests: tests/unit/dmarc_report.c
 */
#include "inside.h"

#include <veredus/dmarc_report.h>

#include <string.h>

static void text(struct vr_buf *out, struct vr_str s)
{
    while (s.n > 0) {
        struct vr_str at = s;
        uint32_t c;
        bool good = vr_utf8_next(&s, &c);
        if (!good)
            s = vr_str_from_pos(s, 1);
        /* what XML 1.0 §2.2 has no place for */
        if (!good || c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xfffe || c == 0xffff)
            vr_buf_add_byte(out, '?');
        else if (c == '&' || c == '<' || c == '>')
            vr_buf_add(out, c == '&' ? VR_STR("&amp;") : c == '<' ? VR_STR("&lt;") : VR_STR("&gt;"));
        else
            vr_buf_add(out, vr_str_sub(at, 0, at.n - s.n));
    }
}

/* Also when it is empty. */
static void required(struct vr_buf *out, const char *name, struct vr_str value)
{
    vr_buf_addf(out, "<%s>", name);
    text(out, value);
    vr_buf_addf(out, "</%s>\n", name);
}

static void element(struct vr_buf *out, const char *name, struct vr_str value)
{
    if (value.n > 0)
        required(out, name, value);
}

static void number(struct vr_buf *out, const char *name, int64_t value)
{
    vr_buf_addf(out, "<%s>%lld</%s>\n", name, (long long)value, name);
}

static void write_policy(struct vr_buf *out, const struct dmarc_report_policy *p)
{
    vr_buf_add(out, VR_STR("<policy_published>\n"));
    required(out, "domain", p->domain);
    element(out, "discovery_method", p->discovery_method);
    element(out, "adkim", p->adkim);
    element(out, "aspf", p->aspf);
    required(out, "p", p->p);
    element(out, "sp", p->sp);
    element(out, "np", p->np);
    element(out, "pct", p->pct);
    element(out, "testing", p->testing);
    element(out, "fo", p->fo);
    vr_buf_add(out, VR_STR("</policy_published>\n"));
}

bool dmarc_report_begin(struct vr_buf *out, const struct dmarc_report *r)
{
    vr_buf_add(out, VR_STR("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback>\n"));
    required(out, "version", r->version.n > 0 ? r->version : VR_STR("1.0"));
    vr_buf_add(out, VR_STR("<report_metadata>\n"));
    required(out, "org_name", r->organization);
    required(out, "email", r->email);
    element(out, "extra_contact_info", r->contact);
    required(out, "report_id", r->id);
    vr_buf_add(out, VR_STR("<date_range>\n"));
    number(out, "begin", r->begin);
    number(out, "end", r->end);
    vr_buf_add(out, VR_STR("</date_range>\n"));
    for (size_t i = 0; i < r->error_count; i++)
        required(out, "error", r->errors[i]);
    element(out, "generator", r->generator);
    vr_buf_add(out, VR_STR("</report_metadata>\n"));
    write_policy(out, &r->policy);
    return !out->too_big;
}

static void write_row(struct vr_buf *out, const struct dmarc_report_record *r)
{
    vr_buf_add(out, VR_STR("<row>\n"));
    required(out, "source_ip", r->source_ip);
    vr_buf_addf(out, "<count>%llu</count>\n<policy_evaluated>\n", (unsigned long long)r->count);
    required(out, "disposition", r->disposition);
    required(out, "dkim", r->dkim);
    required(out, "spf", r->spf);
    for (size_t i = 0; i < r->reason_count; i++) {
        vr_buf_add(out, VR_STR("<reason>\n"));
        required(out, "type", r->reasons[i].type);
        element(out, "comment", r->reasons[i].comment);
        vr_buf_add(out, VR_STR("</reason>\n"));
    }
    vr_buf_add(out, VR_STR("</policy_evaluated>\n</row>\n"));
}

bool dmarc_report_record(struct vr_buf *out, const struct dmarc_report_record *r)
{
    vr_buf_add(out, VR_STR("<record>\n"));
    write_row(out, r);
    vr_buf_add(out, VR_STR("<identifiers>\n"));
    element(out, "envelope_to", r->envelope_to);
    required(out, "envelope_from", r->envelope_from); /* empty for <> */
    required(out, "header_from", r->header_from);
    vr_buf_add(out, VR_STR("</identifiers>\n<auth_results>\n"));
    for (size_t i = 0; i < r->dkim_count; i++) {
        vr_buf_add(out, VR_STR("<dkim>\n"));
        required(out, "domain", r->dkim_results[i].domain);
        element(out, "selector", r->dkim_results[i].selector);
        required(out, "result", r->dkim_results[i].result);
        element(out, "human_result", r->dkim_results[i].human_result);
        vr_buf_add(out, VR_STR("</dkim>\n"));
    }
    for (size_t i = 0; i < r->spf_count; i++) {
        vr_buf_add(out, VR_STR("<spf>\n"));
        required(out, "domain", r->spf_results[i].domain);
        required(out, "scope", r->spf_results[i].scope);
        required(out, "result", r->spf_results[i].result);
        vr_buf_add(out, VR_STR("</spf>\n"));
    }
    vr_buf_add(out, VR_STR("</auth_results>\n</record>\n"));
    return !out->too_big;
}

bool dmarc_report_end(struct vr_buf *out)
{
    return vr_buf_add(out, VR_STR("</feedback>\n")) && !out->too_big;
}

bool dmarc_report_write(struct vr_buf *out, const struct dmarc_report *r)
{
    bool good = dmarc_report_begin(out, r);
    for (size_t i = 0; good && i < r->record_count; i++)
        good = dmarc_report_record(out, &r->records[i]);
    return good && dmarc_report_end(out);
}

struct dmarc_report_policy dmarc_report_policy_of(struct vr_arena *arena, struct vr_str domain,
                                                  const struct dmarc_record *record, enum dmarc_method method)
{
    static const char letters[] = "01ds";
    char fo[8];
    size_t n = 0;
    for (unsigned i = 0; i < 4; i++)
        if ((record->fo & 1u << i) != 0) {
            if (n > 0)
                fo[n++] = ':';
            fo[n++] = letters[i];
        }
    bool list = method == DMARC_PUBLIC_SUFFIX;
    return (struct dmarc_report_policy){.domain = domain,
                                        .adkim = record->adkim_strict ? VR_STR("s") : VR_STR("r"),
                                        .aspf = record->aspf_strict ? VR_STR("s") : VR_STR("r"),
                                        .p = vr_str_from(dmarc_policy_name(record->p)),
                                        .sp = vr_str_from(dmarc_policy_name(record->sp)),
                                        .np = record->np_given ? vr_str_from(dmarc_policy_name(record->np))
                                                               : vr_str(NULL, 0),
                                        .pct = vr_arena_printf(arena, "%u", list ? record->pct : 100),
                                        .fo = vr_arena_dup(arena, vr_str(fo, n)),
                                        .testing = record->testing ? VR_STR("y") : VR_STR("n"),
                                        .discovery_method = list ? VR_STR("psl") : VR_STR("treewalk")};
}

/* ---- the message -------------------------------------------------------------------------------------------------------- */

bool dmarc_report_message(struct vr_buf *out, const struct dmarc_report_mail *m)
{
    struct vr_str submitter = report_domain_of(m->from);
    struct vr_arena arena;
    struct vr_buf words;
    vr_arena_init(&arena, 16384);
    vr_buf_init(&words, 4096);
    vr_buf_addf(&words,
                "This is a DMARC aggregate report of %.*s about mail that\r\nnames %.*s as its author's "
                "domain.\r\n\r\n"
                "Messages: %llu\r\n\r\nThe attached file has the details. Reports are sent since the "
                "domain's DMARC\r\nrecord asks for them (rua=).\r\n",
                VR_STR_ARG(submitter), VR_STR_ARG(m->domain), (unsigned long long)m->messages);
    struct report_mail mail = {
        .from = m->from,
        .to = m->to,
        .subject = vr_arena_printf(&arena, "Report Domain: %.*s Submitter: %.*s Report-ID: <%.*s>",
                                   VR_STR_ARG(m->domain), VR_STR_ARG(submitter), VR_STR_ARG(m->report->id)),
        .message_id = m->message_id,
        .time = m->time,
        .multipart = "multipart/mixed",
        .words = vr_buf_str(&words),
        .type = "application/gzip",
        .filename = report_filename(&arena, submitter, m->domain, m->report->begin, m->report->end,
                                    m->report->id, "xml.gz"),
        .attachment = m->gzip};
    bool good = mail.subject.n > 0 && mail.filename.n > 0 && !words.too_big && report_mail_write(out, &mail);
    vr_buf_fini(&words);
    vr_arena_fini(&arena);
    return good;
}
