/* dmarc_failure.c - failure reports: see dmarc_failure.h.
 *
 * Promise:  nothing of a stranger begins a line, but in the copy of the header: that is a part of its own, the boundary stands nowhere in it, and
 *           what is no plain text of short lines is quoted-printable, where "=_" cannot be (RFC 2045 §6.7 (5)).
 * Tests:    tests/unit/dmarc_failure.c, tests/fuzz/fuzz_dmarc_failure.c
 */
#include "inside.h"

#include <veredus/authres.h>
#include <veredus/dmarc_failure.h>
#include <veredus/message.h>

#include <stdio.h>

#define LINE_MAX_OCTETS 998 /* RFC 5322 §2.1.1 */
#define QUOTED_MAX      700 /* of an SPF record, so that its quotes and its domain fit beside it */
#define QP_LINE         73  /* and an escape: 76 with the "=" */

/* ---- is it wanted? ------------------------------------------------------------------------------------------------------- */

static bool signature_failed(const struct dkim_signature *s)
{
    return !s->testing && (s->verdict == DKIM_FAIL || s->verdict == DKIM_PERMERROR);
}

static bool spf_failed(const struct spf_result *spf)
{
    return spf != NULL &&
           (spf->verdict == SPF_FAIL || spf->verdict == SPF_SOFTFAIL || spf->verdict == SPF_PERMERROR);
}

enum dmarc_failure_kind dmarc_failure_wanted(const struct dmarc_result *r,
                                             const struct dkim_signature *signatures, size_t count,
                                             const struct spf_result *spf, size_t *signature)
{
    size_t failed = 0;
    while (failed < count && !signature_failed(&signatures[failed]))
        failed++;
    *signature = failed < count ? failed : count > 0 ? 0 : VR_NPOS;
    if (r->record == NULL || r->record->ruf_count == 0)
        return DMARC_FAILURE_NONE;
    unsigned fo = r->record->fo;
    bool known = r->verdict == DMARC_FAIL || r->verdict == DMARC_PASS;
    if ((fo & DMARC_FO_ALL) != 0 && r->verdict == DMARC_FAIL)
        return DMARC_FAILURE_DMARC;
    if ((fo & DMARC_FO_ANY) != 0 && known && !(r->spf_aligned && r->dkim_aligned))
        return DMARC_FAILURE_DMARC;
    if ((fo & DMARC_FO_DKIM) != 0 && failed < count)
        return DMARC_FAILURE_DKIM;
    return (fo & DMARC_FO_SPF) != 0 && spf_failed(spf) ? DMARC_FAILURE_SPF : DMARC_FAILURE_NONE;
}

bool dmarc_failure_loops(struct vr_str reverse_path, struct vr_str header)
{
    struct header_reader reader;
    struct header_field f;
    if (reverse_path.n == 0)
        return true;
    header_reader_init(&reader, header);
    while (header_next(&reader, &f)) {
        struct vr_str body = vr_str_trim(f.body);
        if (vr_str_equal_nocase(f.name, VR_STR("Auto-Submitted")) && !vr_str_equal_nocase(body, VR_STR("no")))
            return true;
        if (vr_str_equal_nocase(f.name, VR_STR("Content-Type")) &&
            (vr_str_starts_nocase(body, VR_STR("multipart/report")) ||
             vr_str_starts_nocase(body, VR_STR("message/feedback-report"))))
            return true;
    }
    return false;
}

struct vr_str dmarc_failure_header(struct vr_str header, bool *cut)
{
    size_t end = vr_str_starts(header, VR_STR("\r\n")) ? 0 : vr_str_find_str(header, VR_STR("\r\n\r\n"));
    struct vr_str out = end == VR_NPOS ? header : vr_str_sub(header, 0, end == 0 ? 0 : end + 2);
    *cut = out.n > DMARC_FAILURE_HEADER_MAX;
    if (*cut) {
        size_t line = vr_str_find_last(vr_str_sub(out, 0, DMARC_FAILURE_HEADER_MAX), '\n');
        out = vr_str_sub(out, 0, line == VR_NPOS ? 0 : line + 1);
    }
    return out;
}

/* ---- fields -------------------------------------------------------------------------------------------------------------- */

struct writing {
    struct vr_buf *out;
    struct vr_arena arena;
    const struct dmarc_failure *f;
};

/* message/feedback-report is ASCII. */
static struct vr_str plain(struct writing *w, struct vr_str text)
{
    struct vr_buf b;
    vr_buf_init(&b, DMARC_FAILURE_TEXT_MAX);
    while (text.n > 0 && !b.too_big) {
        uint32_t c;
        bool good = vr_utf8_next(&text, &c);
        if (!good)
            text = vr_str_from_pos(text, 1);
        if (good && c >= 0x20 && c < 0x7f)
            vr_buf_add_byte(&b, (char)c);
        else if (good && c >= 0xa0)
            vr_buf_addf(&b, "\\x{%X}", (unsigned)c);
        else
            vr_buf_add_byte(&b, '?');
    }
    struct vr_str out = vr_arena_dup(&w->arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return out;
}

static void field(struct writing *w, const char *name, struct vr_str value)
{
    value = plain(w, value);
    if (value.n > 0)
        header_write(w->out, vr_str_from(name), value, false);
}

static void date_field(struct writing *w, const char *name, int64_t time)
{
    char date[MESSAGE_DATE_SIZE];
    size_t n = message_date_write(date, time, 0);
    field(w, name, vr_str(date, n));
}

/* A quoted-string (RFC 5322 §3.2.4), cut so that its end is there. */
static struct vr_str quoted(struct writing *w, struct vr_str text)
{
    struct vr_buf b;
    vr_buf_init(&b, QUOTED_MAX);
    text = plain(w, text);
    vr_buf_add_byte(&b, '"');
    for (size_t i = 0; i < text.n && vr_buf_size(&b) + 3 <= QUOTED_MAX; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            vr_buf_add_byte(&b, '\\');
        vr_buf_add_byte(&b, text.p[i]);
    }
    vr_buf_add_byte(&b, '"');
    struct vr_str out = vr_arena_dup(&w->arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return out;
}

/* RFC 6591 §3.1: the result of one method, that of Auth-Failure. */
static bool write_results(struct writing *w)
{
    const struct dmarc_failure *f = w->f;
    struct authres_property p[2] = {{VR_STR("header"), VR_STR("from"), plain(w, f->domain)}};
    struct authres_result r = {.method = VR_STR("dmarc"),
                               .result = vr_str_from(dmarc_verdict_name(f->verdict)),
                               .properties = p,
                               .property_count = 1};
    if (f->kind == DMARC_FAILURE_DKIM) {
        r.method = VR_STR("dkim");
        r.result = vr_str_from(dkim_verdict_name(f->dkim_verdict));
        r.comment = plain(w, f->dkim_reason);
        p[0] = (struct authres_property){VR_STR("header"), VR_STR("d"), plain(w, f->dkim_domain)};
        p[1] = (struct authres_property){VR_STR("header"), VR_STR("s"), plain(w, f->dkim_selector)};
        r.property_count = 2;
    } else if (f->kind == DMARC_FAILURE_SPF) {
        r.method = VR_STR("spf");
        r.result = f->spf_result;
        p[0] = (struct authres_property){VR_STR("smtp"), f->spf_helo ? VR_STR("helo") : VR_STR("mailfrom"),
                                         plain(w, f->spf_domain)};
    }
    const struct authres a = {.id = plain(w, f->authserv_id), .results = &r, .result_count = 1};
    return authres_write(w->out, &a);
}

static bool write_feedback(struct writing *w)
{
    static const char *const kinds[] = {"", "dmarc", "signature", "spf"}, *const deliveries[] = {
                                                                              "delivered", "spam", "reject"};
    const struct dmarc_failure *f = w->f;
    field(w, "Feedback-Type", VR_STR("auth-failure"));
    field(w, "User-Agent", VR_STR("veredus"));
    field(w, "Version", VR_STR("1"));
    field(w, "Auth-Failure", vr_str_from(kinds[f->kind]));
    field(w, "Delivery-Result", vr_str_from(deliveries[f->delivery]));
    field(w, "Identity-Alignment",
          f->dkim_aligned && f->spf_aligned ? VR_STR("dkim, spf")
          : f->dkim_aligned                 ? VR_STR("dkim")
          : f->spf_aligned                  ? VR_STR("spf")
                                            : VR_STR("none"));
    bool good = write_results(w);
    field(
        w, "Original-Mail-From",
        vr_arena_printf(&w->arena, "<%.*s>", VR_STR_ARG(vr_str_sub(plain(w, f->mail_from), 0, QUOTED_MAX))));
    field(w, "Source-IP", f->source_ip);
    field(w, "Reported-Domain", f->domain);
    date_field(w, "Arrival-Date", f->arrival);
    if (f->dkim_domain.n > 0) {
        field(w, "DKIM-Domain", f->dkim_domain);
        field(w, "DKIM-Identity", f->dkim_identity);
        field(w, "DKIM-Selector", f->dkim_selector);
    }
    if (f->spf_domain.n > 0 && f->spf_record.n > 0)
        field(w, "SPF-DNS",
              vr_arena_printf(&w->arena, "txt : %.*s : %.*s",
                              VR_STR_ARG(plain(w, vr_str_sub(f->spf_domain, 0, 255))),
                              VR_STR_ARG(quoted(w, f->spf_record))));
    return good;
}

/* ---- the copy of the header ---------------------------------------------------------------------------------------------- */

static bool is_plain(struct vr_str text)
{
    size_t column = 0;
    for (size_t i = 0; i < text.n; i++) {
        bool end = text.p[i] == '\r' && i + 1 < text.n && text.p[i + 1] == '\n';
        if (!end && (text.p[i] < ' ' || text.p[i] > '~') && text.p[i] != '\t')
            return false;
        column = end ? 0 : column + 1;
        i += end;
        if (column > LINE_MAX_OCTETS)
            return false;
    }
    return true;
}

/* RFC 2045 §6.7 */
static void write_quoted_printable(struct vr_buf *out, struct vr_str text)
{
    size_t column = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool ends = vr_str_starts(vr_str_from_pos(text, i), VR_STR("\r\n")),
             last = i + 1 == text.n || vr_str_starts(vr_str_from_pos(text, i + 1), VR_STR("\r\n"));
        if (ends) {
            vr_buf_add(out, VR_STR("\r\n"));
            column = 0;
            i++;
            continue;
        }
        if (column >= QP_LINE) {
            vr_buf_add(out, VR_STR("=\r\n"));
            column = 0;
        }
        bool blank = c == ' ' || c == '\t', literal = c > ' ' && c <= '~' && c != '=';
        if (literal || (blank && !last)) {
            vr_buf_add_byte(out, c);
            column++;
        } else {
            vr_buf_addf(out, "=%02X", (unsigned)(unsigned char)c);
            column += 3;
        }
    }
}

static void write_copy(struct vr_buf *out, struct vr_str header)
{
    if (is_plain(header)) {
        vr_buf_add(out, VR_STR("Content-Type: text/rfc822-headers\r\n\r\n"));
        vr_buf_add(out, header);
    } else {
        vr_buf_addf(
            out, "Content-Type: text/rfc822-headers%s\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
            vr_utf8_valid(header) ? "; charset=utf-8" : "");
        write_quoted_printable(out, header);
    }
    vr_buf_add(out, VR_STR("\r\n"));
}

/* ---- the message --------------------------------------------------------------------------------------------------------- */

/* One that stands nowhere in the header. */
static struct vr_str boundary_for(struct vr_str header, char out[48])
{
    for (unsigned i = 0;; i++) { /* each that does not do has its place in the header, which ends */
        int n = snprintf(out, 48, "=_veredus_failure_%u_=", i);
        if (vr_str_find_str(header, vr_str(out, (size_t)n)) == VR_NPOS)
            return vr_str(out, (size_t)n);
    }
}

static void write_words(struct writing *w)
{
    const struct dmarc_failure *f = w->f;
    vr_buf_addf(
        w->out,
        "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
        "This is a DMARC failure report of %.*s about one message that names\r\n%.*s\r\nas its author's "
        "domain. The domain's DMARC record asks for it (ruf=).\r\nWhat was found, and the header of the "
        "message%s, are "
        "attached.\r\n",
        VR_STR_ARG(plain(w, report_domain_of(f->from))), VR_STR_ARG(plain(w, f->domain)),
        f->cut ? " (its first\r\n16 KiB)" : "");
}

bool dmarc_failure_write(struct vr_buf *out, const struct dmarc_failure *f)
{
    struct writing w = {.out = out, .f = f};
    char boundary[48];
    vr_arena_init(&w.arena, 65536);
    struct vr_str b = boundary_for(f->header, boundary);
    struct report_mail mail = {.from = f->from,
                               .to = f->to,
                               .subject = vr_arena_printf(&w.arena, "DMARC failure report for %.*s",
                                                          VR_STR_ARG(plain(&w, f->domain))),
                               .message_id = f->message_id,
                               .time = f->time,
                               .multipart = "multipart/report; report-type=feedback-report"};
    report_mail_header(out, &mail, b);
    vr_buf_addf(out, "This is a message of several parts, in the format of MIME.\r\n--%.*s\r\n",
                VR_STR_ARG(b));
    write_words(&w);
    vr_buf_addf(out, "\r\n--%.*s\r\nContent-Type: message/feedback-report\r\n\r\n", VR_STR_ARG(b));
    bool good = write_feedback(&w);
    vr_buf_addf(out, "\r\n--%.*s\r\n", VR_STR_ARG(b));
    write_copy(out, f->header);
    vr_buf_addf(out, "--%.*s--\r\n", VR_STR_ARG(b));
    vr_arena_fini(&w.arena);
    return good && !out->too_big;
}
