/* dsn.c - building a delivery status notification: multipart/report (RFC 6522) with message/delivery-status (RFC 3464), or with
 * message/global-delivery-status (RFC 6533).
 *
 * Rule: whatever came from outside (replies, addresses, host names, ENVID, ORCPT) goes through field() or clean(), so that it can neither
 * start a line nor a part. The original stands between boundaries that the caller made of randomness.
 * Tests: tests/unit/dsn.c
 */
#include <veredus/dsn.h>
#include <veredus/message.h>

#include "mime_inside.h"

#include <string.h>

#define VALUE_MAX 2000 /* octets of one value; what a hostile server says need not be repeated whole */

static const struct {
    const char *word; /* RFC 3464 §2.3.3 */
    const char *subject;
    const char *text;   /* what happened */
    const char *advice; /* what to do next */
} actions[] = {
    [DSN_FAILED] =
        {"failed", "Undelivered mail", "could not be delivered to:",
         "It will not be tried again. Check the address and what the server said; then send it anew."},
    [DSN_DELAYED] = {"delayed", "Delayed mail (still being tried)", "could not be delivered yet to:",
                     "You need not do anything: it is tried again. You will hear if it finally fails."},
    [DSN_DELIVERED] = {"delivered", "Mail delivered", "was delivered, as you asked to be told, to:", ""},
    [DSN_RELAYED] = {"relayed", "Mail relayed",
                     "was handed on to the next mail server, for:", "You may hear no more of it."},
    [DSN_EXPANDED] = {"expanded", "Mail expanded",
                      "was handed on to the several addresses behind:", "You may hear no more of it."},
};

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* With utf8 what is UTF-8 stays; else, and for what is none, "?". */
static void add_clean(struct vr_buf *out, struct vr_str s, bool utf8)
{
    s = vr_str_sub(s, 0, VALUE_MAX);
    while (s.n > 0) {
        struct vr_str at = s;
        uint32_t c;
        bool good = vr_utf8_next(&s, &c);
        if (!good)
            s = vr_str_from_pos(s, 1);
        if (!good || (c >= 0x80 && !utf8))
            vr_buf_add_byte(out, '?');
        else if (is_control(c))
            vr_buf_add_byte(out, ' ');
        else
            vr_buf_add(out, vr_str_sub(at, 0, at.n - s.n));
    }
}

/* "Name: prefix value" with everything that could break a line made blank. */
static void field_in(struct vr_buf *out, const char *name, const char *prefix, struct vr_str value, bool utf8)
{
    struct vr_buf body;
    vr_buf_init(&body, VALUE_MAX + 64);
    vr_buf_add(&body, vr_str_from(prefix));
    add_clean(&body, value, utf8);
    header_write(out, vr_str_from(name), vr_buf_str(&body), false);
    vr_buf_fini(&body);
}

static void field(struct vr_buf *out, const char *name, const char *prefix, struct vr_str value)
{
    field_in(out, name, prefix, value, false);
}

static void date_field(struct vr_buf *out, const char *name, int64_t time)
{
    char text[MESSAGE_DATE_SIZE];
    size_t n = message_date_write(text, time, 0);
    field(out, name, "", vr_str(text, n));
}

/* ENVID travels as xtext and is reported undone (RFC 3464 §2.2.1). */
static void envid_field(struct vr_buf *out, struct vr_str xtext)
{
    struct vr_buf plain;
    vr_buf_init(&plain, VALUE_MAX);
    if (dsn_xtext_decode(&plain, xtext) == VR_OK)
        field(out, "Original-Envelope-Id", "", vr_buf_str(&plain));
    vr_buf_fini(&plain);
}

/* An address, of the type "utf-8" where it is not ASCII (RFC 6533 §3, §4.1). */
static void recipient_field(struct vr_buf *out, struct vr_str address, bool utf8)
{
    struct vr_buf encoded;
    vr_buf_init(&encoded, 16 * VALUE_MAX);
    bool ascii = vr_str_is_ascii(address);
    if (!ascii && !utf8 && dsn_unitext_encode(&encoded, address, true))
        address = vr_buf_str(&encoded);
    field_in(out, "Final-Recipient", ascii ? "rfc822; " : "utf-8; ", address, utf8);
    vr_buf_fini(&encoded);
}

/* ORCPT is reported as it was meant (RFC 3464 §2.3.1); of the type "utf-8" in its 7-bit form where the report is (RFC 6533 §3). */
static void orcpt_field(struct vr_buf *out, struct vr_str orcpt, bool utf8)
{
    struct vr_buf plain, text;
    struct vr_str type;
    vr_buf_init(&plain, VALUE_MAX);
    vr_buf_init(&text, 16 * VALUE_MAX);
    bool good = dsn_orcpt_decode(&plain, orcpt, &type) == VR_OK;
    if (good && !utf8 && vr_str_equal_nocase(type, VR_STR("utf-8")))
        good = dsn_orcpt_ascii(&text, orcpt);
    else if (good)
        vr_buf_addf(&text, "%.*s;%.*s", VR_STR_ARG(type), VR_STR_ARG(vr_buf_str(&plain)));
    if (good)
        field_in(out, "Original-Recipient", "", vr_buf_str(&text), utf8);
    vr_buf_fini(&text);
    vr_buf_fini(&plain);
}

static enum dsn_action main_action(const struct dsn *d)
{
    enum dsn_action worst =
        DSN_EXPANDED; /* the enum stands in the order of what matters most to the reader */
    for (size_t i = 0; i < d->recipient_count; i++)
        if (d->recipients[i].action < worst)
            worst = d->recipients[i].action;
    return worst;
}

/* The original goes into the report as it is, and is not ASCII. */
static bool is_8bit(const struct dsn *d)
{
    return !vr_str_is_ascii(d->original) && (d->utf8 || !d->original_utf8);
}

static void write_header(struct vr_buf *out, const struct dsn *d, enum dsn_action action)
{
    char date[MESSAGE_DATE_SIZE];
    size_t n = message_date_write(date, d->now, 0);
    struct vr_buf from;
    vr_buf_init(&from, 512);
    vr_buf_addf(&from, "Mail Delivery System <MAILER-DAEMON@%.*s>", VR_STR_ARG(d->reporting_mta));
    field(out, "From", "", vr_buf_str(&from));
    vr_buf_fini(&from);
    field_in(out, "To", "", d->to, d->utf8);
    field(out, "Subject", "", vr_str_from(actions[action].subject));
    field(out, "Date", "", vr_str(date, n));
    vr_buf_addf(out, "Message-ID: <%.*s>\r\n", VR_STR_ARG(d->message_id));
    vr_buf_add(out, VR_STR("Auto-Submitted: auto-replied\r\n" /* RFC 3834 §5 */
                           "MIME-Version: 1.0\r\n"));
    if (d->tls_optional)
        vr_buf_add(out, VR_STR("TLS-Required: No\r\n"));
    if (d->utf8 || is_8bit(d)) /* what holds 8-bit parts is 8bit itself: RFC 2045 §6.4 */
        vr_buf_add(out, VR_STR("Content-Transfer-Encoding: 8bit\r\n"));
    vr_buf_addf(out,
                "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%.*s\"\r\n\r\n",
                VR_STR_ARG(d->boundary));
}

/* A stranger's words in the part for people: cut into short lines that begin with blanks. None is over the 998 octets of RFC 5322 §2.1.1. */
static void add_line(struct vr_buf *out, const char *label, struct vr_str value, const char *end)
{
    enum { WIDTH = 76, LONGEST = 900 };
    struct vr_buf clean;
    vr_buf_init(&clean, VALUE_MAX);
    add_clean(&clean, value, true);
    struct vr_str rest = vr_str_trim(vr_buf_str(&clean));
    vr_buf_addf(out, "%s", label);
    for (size_t column = strlen(label);; column = 6) {
        size_t n = rest.n;
        if (column + n > WIDTH) {
            size_t blank = vr_str_find_last(vr_str_sub(rest, 0, WIDTH - column), ' ');
            n = blank != VR_NPOS && blank > 0 ? blank : vr_str_find(rest, ' ');
            n = n > LONGEST ? LONGEST : n;
            while (n < rest.n && ((unsigned char)rest.p[n] & 0xc0) == 0x80) /* not within a character */
                n--;
        }
        vr_buf_add(out, vr_str_sub(rest, 0, n));
        rest = vr_str_trim(vr_str_from_pos(rest, n));
        if (rest.n == 0)
            break;
        vr_buf_add(out, VR_STR("\r\n      "));
    }
    vr_buf_addf(out, "%s\r\n", end);
    vr_buf_fini(&clean);
}

static void write_recipient_text(struct vr_buf *out, const struct dsn_recipient *r)
{
    add_line(out, "  <", r->final_recipient, ">");
    if (r->remote_mta.n > 0)
        add_line(out, "    server: ", r->remote_mta, "");
    if (r->diagnostic.n > 0)
        add_line(out, r->diagnostic_is_smtp ? "    it said: " : "    reason: ", r->diagnostic, "");
    if (r->status.n > 2 && vr_str_equal(vr_str_from_pos(r->status, 1), VR_STR(".4.7"))) /* RFC 3463 §3.5 */
        vr_buf_add(out, VR_STR("    the time for its delivery is over\r\n"));
    if (r->action == DSN_DELAYED && r->will_retry_until > 0) {
        char date[MESSAGE_DATE_SIZE];
        size_t n = message_date_write(date, r->will_retry_until, 0);
        vr_buf_addf(out, "    tried until: %.*s\r\n", (int)n, date);
    }
}

static void write_words(struct vr_buf *out, const struct dsn *d)
{
    vr_buf_add(out, VR_STR("This is the mail system at "));
    add_clean(out, d->reporting_mta, false);
    vr_buf_add(out, VR_STR(".\r\n"));
    for (size_t a = 0; a < sizeof actions / sizeof *actions; a++) {
        bool any = false;
        for (size_t i = 0; i < d->recipient_count; i++) {
            if ((size_t)d->recipients[i].action != a)
                continue;
            if (!any)
                vr_buf_addf(out, "\r\nYour message %s\r\n\r\n", actions[a].text);
            any = true;
            write_recipient_text(out, &d->recipients[i]);
        }
        if (any && actions[a].advice[0] != '\0')
            vr_buf_addf(out, "\r\n%s\r\n", actions[a].advice);
    }
    vr_buf_addf(out, "\r\nIf you ask your mail administrator, name this: %.*s\r\n\r\n",
                VR_STR_ARG(d->queue_id));
}

static void add_quoted_printable(struct vr_buf *out, struct vr_str text)
{
    char space[4096];
    struct mime_qp qp = {0};
    struct mime_sink sink = {.p = space, .room = sizeof space};
    while (text.n > 0) {
        text = vr_str_from_pos(text, mime_qp_put(&qp, &sink, text));
        vr_buf_add(out, vr_str(space, (size_t)sink.n));
        sink.n = 0;
    }
    mime_qp_end(&qp, &sink, FOLLOWS_DELIMITER);
    vr_buf_add(out, vr_str(space, (size_t)sink.n));
}

/* "--boundary", type, encoding, blank line */
static void begin_part(struct vr_buf *out, const struct dsn *d, const char *type, const char *encoding)
{
    vr_buf_addf(out, "--%.*s\r\nContent-Type: %s\r\n", VR_STR_ARG(d->boundary), type);
    if (encoding != NULL)
        vr_buf_addf(out, "Content-Transfer-Encoding: %s\r\n", encoding);
    vr_buf_add(out, VR_STR("\r\n"));
}

static void write_text(struct vr_buf *out, const struct dsn *d)
{
    struct vr_buf words;
    vr_buf_init(&words, out->max);
    write_words(&words, d);
    struct vr_str text = vr_buf_str(&words);
    if (vr_str_is_ascii(text)) {
        begin_part(out, d, "text/plain; charset=us-ascii", NULL);
        vr_buf_add(out, text);
    } else {
        begin_part(out, d, "text/plain; charset=utf-8", d->utf8 ? "8bit" : "quoted-printable");
        if (d->utf8)
            vr_buf_add(out, text);
        else
            add_quoted_printable(out, text);
    }
    out->too_big = out->too_big || words.too_big;
    vr_buf_fini(&words);
}

static void write_status_of(struct vr_buf *out, const struct dsn_recipient *r, bool utf8)
{
    vr_buf_add(out, VR_STR("\r\n"));
    if (r->orcpt.n > 0)
        orcpt_field(out, r->orcpt, utf8);
    recipient_field(out, r->final_recipient, utf8);
    field(out, "Action", "", vr_str_from(actions[r->action].word));
    field(out, "Status", "", r->status);
    if (r->remote_mta.n > 0)
        field(out, "Remote-MTA", "dns; ", r->remote_mta);
    if (r->diagnostic.n > 0)
        field_in(out, "Diagnostic-Code", r->diagnostic_is_smtp ? "smtp; " : "x-veredus; ", r->diagnostic,
                 utf8);
    if (r->last_attempt > 0)
        date_field(out, "Last-Attempt-Date", r->last_attempt);
    if (r->action == DSN_DELAYED && r->will_retry_until > 0)
        date_field(out, "Will-Retry-Until", r->will_retry_until);
}

static void write_status(struct vr_buf *out, const struct dsn *d)
{
    begin_part(out, d, d->utf8 ? "message/global-delivery-status" : "message/delivery-status",
               d->utf8 ? "8bit" : NULL);
    if (d->envid.n > 0) /* in the order of RFC 3464 §2.2 */
        envid_field(out, d->envid);
    field(out, "Reporting-MTA", "dns; ", d->reporting_mta);
    if (d->arrival_date > 0)
        date_field(out, "Arrival-Date", d->arrival_date);
    if (d->deliver_by > 0)
        date_field(out, "Deliver-By-Date", d->deliver_by);
    if (d->future_release.n > 0)
        field(out, "Future-Release-Request", "", d->future_release);
    field(out, "X-Veredus-Queue-Id", "", d->queue_id);
    for (size_t i = 0; i < d->recipient_count; i++)
        write_status_of(out, &d->recipients[i], d->utf8);
    vr_buf_add(out, VR_STR("\r\n"));
}

/* A CR without its LF could end a line at the next server, and no text has a NUL: they become blanks. */
static void add_original_line(struct vr_buf *out, struct vr_str line)
{
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] != '\r' && line.p[i] != '\0')
            continue;
        vr_buf_add(out, vr_str_sub(line, 0, i));
        vr_buf_add_byte(out, ' ');
        line = vr_str_from_pos(line, i + 1);
        i = (size_t)-1;
    }
    vr_buf_add(out, line);
    vr_buf_add(out, VR_STR("\r\n"));
}

/* The original with CRLF line ends, whatever it had. */
static void add_original(struct vr_buf *out, struct vr_str s)
{
    while (s.n > 0) {
        size_t lf = vr_str_find(s, '\n');
        struct vr_str line = vr_str_sub(s, 0, lf);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        add_original_line(out, line);
        s = lf == VR_NPOS ? vr_str(NULL, 0) : vr_str_from_pos(s, lf + 1);
    }
}

static void write_original(struct vr_buf *out, const struct dsn *d)
{
    static const char *const types[2][2] = {{"text/rfc822-headers", "message/rfc822"},
                                            {"message/global-headers", "message/global"}};
    bool encode = d->original_utf8 && !d->utf8; /* RFC 6533 §4.5 */
    begin_part(out, d, types[d->original_utf8][d->original_is_whole],
               encode       ? "quoted-printable"
               : is_8bit(d) ? "8bit"
                            : NULL);
    if (encode) {
        struct vr_buf plain;
        vr_buf_init(&plain, out->max);
        add_original(&plain, d->original);
        add_quoted_printable(out, vr_buf_str(&plain));
        out->too_big = out->too_big || plain.too_big;
        vr_buf_fini(&plain);
    } else {
        add_original(out, d->original);
    }
    vr_buf_addf(out, "\r\n--%.*s--\r\n", VR_STR_ARG(d->boundary));
}

enum vr_err dsn_build(struct vr_buf *out, const struct dsn *d)
{
    write_header(out, d, main_action(d));
    write_text(out, d);
    write_status(out, d);
    write_original(out, d);
    return out->too_big ? VR_ERR_TOO_BIG : VR_OK;
}

static size_t digits_at(struct vr_str s)
{
    size_t n = 0;
    while (n < s.n && n < 3 && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

bool dsn_status_find(struct vr_str text, struct vr_str *status)
{
    if (text.n < 5 || text.p[1] != '.' || (text.p[0] != '2' && text.p[0] != '4' && text.p[0] != '5'))
        return false;
    size_t subject = digits_at(vr_str_from_pos(text, 2));
    size_t dot = 2 + subject;
    if (subject == 0 || dot >= text.n || text.p[dot] != '.')
        return false;
    size_t detail = digits_at(vr_str_from_pos(text, dot + 1));
    size_t end = dot + 1 + detail;
    if (detail == 0 || (end < text.n && text.p[end] != ' ' && text.p[end] != '\n' && text.p[end] != '\t'))
        return false;
    *status = vr_str_sub(text, 0, end);
    return true;
}
