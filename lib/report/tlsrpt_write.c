/* tlsrpt_write.c - the report in JSON (RFC 8460 §4.4), and the message that carries it (§5.3).
 *
 * Tests: tests/unit/tlsrpt.c
 */
#include "inside.h"

#include <veredus/idn.h>
#include <veredus/message.h>
#include <veredus/tlsrpt.h>

#include <string.h>

struct writer {
    struct vr_buf *out;
    bool bad, first; /* a text is not UTF-8; no member yet */
};

static void text(struct writer *w, struct vr_str s)
{
    w->bad = w->bad || !vr_utf8_valid(s);
    vr_buf_add_byte(w->out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            vr_buf_addf(w->out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            vr_buf_addf(w->out, "\\u%04x", c);
        else
            vr_buf_add_byte(w->out, (char)c);
    }
    vr_buf_add_byte(w->out, '"');
}

static void name(struct writer *w, const char *n)
{
    vr_buf_addf(w->out, "%s\"%s\":", w->first ? "" : ",", n);
    w->first = false;
}

static void open_with(struct writer *w, char c)
{
    vr_buf_add_byte(w->out, c);
    w->first = true;
}

static void close_with(struct writer *w, char c)
{
    vr_buf_add_byte(w->out, c);
    w->first = false;
}

static void member(struct writer *w, const char *n, struct vr_str s)
{
    if (s.n == 0)
        return;
    name(w, n);
    text(w, s);
}

static void count(struct writer *w, const char *n, uint64_t value)
{
    name(w, n);
    vr_buf_add_u64(w->out, value);
}

static void date(struct writer *w, const char *n, int64_t time)
{
    char out[MESSAGE_RFC3339_SIZE];
    if (time < 0 || time > 253402300799) { /* the year 9999 */
        w->bad = true;
        return;
    }
    message_rfc3339_write(out, time * 1000000);
    name(w, n);
    vr_buf_addf(w->out, "\"%.19sZ\"", out); /* without the fraction */
}

static void list(struct writer *w, const char *n, const struct vr_str *items, size_t items_n)
{
    if (items_n == 0)
        return;
    name(w, n);
    vr_buf_add_byte(w->out, '[');
    for (size_t i = 0; i < items_n; i++) {
        if (i > 0)
            vr_buf_add_byte(w->out, ',');
        text(w, items[i]);
    }
    vr_buf_add_byte(w->out, ']');
}

static void write_detail(struct writer *w, const struct tlsrpt_detail *d)
{
    open_with(w, '{');
    member(w, "result-type", d->result_type);
    member(w, "sending-mta-ip", d->sending_ip);
    member(w, "receiving-mx-hostname", d->mx_hostname);
    member(w, "receiving-mx-helo", d->mx_helo);
    member(w, "receiving-ip", d->receiving_ip);
    count(w, "failed-session-count", d->sessions);
    member(w, "additional-information", d->information);
    member(w, "failure-reason-code", d->reason);
    close_with(w, '}');
}

static void write_policy(struct writer *w, const struct tlsrpt_policy *p)
{
    open_with(w, '{');
    name(w, "policy");
    open_with(w, '{');
    member(w, "policy-type", p->type);
    list(w, "policy-string", p->strings, p->string_count);
    member(w, "policy-domain", p->domain);
    list(w, "mx-host", p->mx_hosts, p->mx_count);
    close_with(w, '}');
    name(w, "summary");
    open_with(w, '{');
    count(w, "total-successful-session-count", p->successful);
    count(w, "total-failure-session-count", p->failed);
    close_with(w, '}');
    if (p->detail_count > 0) {
        name(w, "failure-details");
        vr_buf_add_byte(w->out, '[');
        for (size_t i = 0; i < p->detail_count; i++) {
            if (i > 0)
                vr_buf_add_byte(w->out, ',');
            write_detail(w, &p->details[i]);
        }
        close_with(w, ']');
    }
    close_with(w, '}');
}

enum vr_err tlsrpt_write(struct vr_buf *out, const struct tlsrpt_report *r)
{
    struct writer w = {.out = out};
    open_with(&w, '{');
    member(&w, "organization-name", r->organization);
    name(&w, "date-range");
    open_with(&w, '{');
    date(&w, "start-datetime", r->begin);
    date(&w, "end-datetime", r->end);
    close_with(&w, '}');
    member(&w, "contact-info", r->contact);
    member(&w, "report-id", r->id);
    name(&w, "policies");
    vr_buf_add_byte(out, '[');
    for (size_t i = 0; i < r->policy_count; i++) {
        if (i > 0)
            vr_buf_add_byte(out, ',');
        write_policy(&w, &r->policies[i]);
    }
    vr_buf_add(out, VR_STR("]}"));
    return w.bad ? VR_ERR_SYNTAX : out->too_big ? VR_ERR_TOO_BIG : VR_OK;
}

/* ---- the message -------------------------------------------------------------------------------------------------------- */

struct vr_str tlsrpt_filename(struct vr_arena *arena, struct vr_str sender, struct vr_str domain,
                              int64_t begin, int64_t end, struct vr_str id)
{
    return report_filename(arena, sender, domain, begin, end, id, "json.gz");
}

static void write_words(struct vr_buf *out, const struct tlsrpt_mail *m, struct vr_str submitter)
{
    uint64_t good = 0, bad = 0;
    for (size_t i = 0; i < m->report->policy_count; i++) {
        good += m->report->policies[i].successful;
        bad += m->report->policies[i].failed;
    }
    vr_buf_addf(
        out,
        "This is a report of %.*s about TLS with the mail servers of\r\n%.*s (RFC 8460).\r\n\r\n"
        "Sessions with TLS as the domain's policy wants it: %llu\r\nSessions that failed: %llu\r\n\r\n"
        "The attached file has the details.\r\n",
        VR_STR_ARG(submitter), VR_STR_ARG(m->domain), (unsigned long long)good, (unsigned long long)bad);
}

bool tlsrpt_message(struct vr_buf *out, const struct tlsrpt_mail *m)
{
    struct vr_str submitter = report_domain_of(m->from);
    struct vr_arena arena;
    struct vr_buf words, extra;
    vr_arena_init(&arena, 16384);
    vr_buf_init(&words, 4096);
    vr_buf_init(&extra, 4096);
    write_words(&words, m, submitter);
    header_write(&extra, VR_STR("TLS-Report-Domain"), m->domain, false);
    header_write(&extra, VR_STR("TLS-Report-Submitter"), submitter, false);
    vr_buf_add(&extra, VR_STR("TLS-Required: No\r\n"));
    struct report_mail mail = {
        .from = m->from,
        .to = m->to,
        .subject = vr_arena_printf(&arena, "Report Domain: %.*s Submitter: %.*s Report-ID: <%.*s>",
                                   VR_STR_ARG(m->domain), VR_STR_ARG(submitter), VR_STR_ARG(m->message_id)),
        .message_id = m->message_id,
        .time = m->time,
        .multipart = "multipart/report; report-type=\"tlsrpt\"",
        .extra = vr_buf_str(&extra),
        .words = vr_buf_str(&words),
        .type = "application/tlsrpt+gzip",
        .filename =
            tlsrpt_filename(&arena, submitter, m->domain, m->report->begin, m->report->end, m->report->id),
        .attachment = m->gzip};
    bool good = mail.subject.n > 0 && mail.filename.n > 0 && !words.too_big && !extra.too_big &&
                report_mail_write(out, &mail);
    vr_buf_fini(&extra);
    vr_buf_fini(&words);
    vr_arena_fini(&arena);
    return good;
}
