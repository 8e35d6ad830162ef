/* mail.c - a message with a report attached.
 *
 * The boundary is constant: the words hold no line that begins with "--", and base64 has no "_".
 *
 * Tests: tests/unit/tlsrpt.c, tests/unit/dmarc_report.c
 */
#include "inside.h"

#include <veredus/message.h>

#include <string.h>

#define BOUNDARY    "=_veredus_report_=" /* RFC 2045 §6.7 (5): "=_" is in no quoted-printable body either */
#define LINE_OCTETS 57                   /* of base64: 76 characters */

struct vr_str report_clean(struct vr_arena *arena, struct vr_str text)
{
    struct vr_buf b;
    vr_buf_init(&b, text.n + 1);
    while (text.n > 0) {
        struct vr_str at = text;
        uint32_t c;
        bool good = vr_utf8_next(&text, &c);
        if (!good)
            text = vr_str_from_pos(text, 1);
        if (!good || c < 0x20 || (c >= 0x7f && c < 0xa0))
            vr_buf_add_byte(&b, '?');
        else
            vr_buf_add(&b, vr_str_sub(at, 0, at.n - text.n));
    }
    struct vr_str out = vr_arena_dup(arena, vr_buf_str(&b));
    vr_buf_fini(&b);
    return out;
}

struct vr_str report_domain_of(struct vr_str address)
{
    size_t at = vr_str_find_last(address, '@');
    return at == VR_NPOS ? address : vr_str_from_pos(address, at + 1);
}

struct vr_str report_filename(struct vr_arena *arena, struct vr_str first, struct vr_str second,
                              int64_t begin, int64_t end, struct vr_str id, const char *suffix)
{
    char plain[65];
    size_t n = 0;
    for (size_t i = 0; i < id.n && n < sizeof plain - 1; i++) {
        char c = vr_lower(id.p[i]);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            plain[n++] = id.p[i];
    }
    return vr_arena_printf(arena, "%.*s!%.*s!%lld!%lld%s%.*s.%s", VR_STR_ARG(first), VR_STR_ARG(second),
                           (long long)begin, (long long)end, n > 0 ? "!" : "", (int)n, plain, suffix);
}

static void field(struct vr_buf *out, const char *name, struct vr_str value)
{
    header_write(out, vr_str_from(name), value, false);
}

void report_mail_header(struct vr_buf *out, const struct report_mail *m, struct vr_str boundary)
{
    char date[MESSAGE_DATE_SIZE];
    size_t n = message_date_write(date, m->time, 0);
    field(out, "From", m->from);
    field(out, "To", m->to);
    field(out, "Subject", m->subject);
    field(out, "Date", vr_str(date, n));
    vr_buf_addf(out, "Message-ID: <%.*s>\r\n", VR_STR_ARG(m->message_id));
    vr_buf_add(out, m->extra);
    vr_buf_addf(out,
                "Auto-Submitted: auto-generated\r\n" /* RFC 3834 §5 */
                "MIME-Version: 1.0\r\nContent-Type: %s;\r\n\tboundary=\"%.*s\"\r\n\r\n",
                m->multipart, VR_STR_ARG(boundary));
}

bool report_mail_write(struct vr_buf *out, const struct report_mail *m)
{
    report_mail_header(out, m, VR_STR(BOUNDARY));
    vr_buf_add(out, VR_STR("This is a message of several parts, in the format of MIME.\r\n"
                           "--" BOUNDARY "\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"));
    vr_buf_add(out, m->words);
    vr_buf_addf(out,
                "\r\n--" BOUNDARY "\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\n"
                "Content-Disposition: attachment;\r\n\tfilename=\"%.*s\"\r\n\r\n",
                m->type, VR_STR_ARG(m->filename));
    for (struct vr_str rest = m->attachment; rest.n > 0; rest = vr_str_from_pos(rest, LINE_OCTETS)) {
        vr_base64_encode(out, vr_str_sub(rest, 0, LINE_OCTETS));
        vr_buf_add(out, VR_STR("\r\n"));
    }
    return vr_buf_add(out, VR_STR("--" BOUNDARY "--\r\n")) && !out->too_big;
}
