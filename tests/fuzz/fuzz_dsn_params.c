/* fuzz_dsn_params.c - any bytes as the parameters of MAIL and RCPT, as xtext, NOTIFY, ORCPT, ENVID and status; and a report made of any bytes.
 *
 * What is taken is taken again when it is written, and holds nothing that could break a line. A report has its three parts, lines within the limits, and no line
 * or field that a stranger chose. '|' separates the pieces of a report.
 */
#include <veredus/dsn.h>
#include <veredus/message.h>
#include <veredus/smtp.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BOUNDARY "=_fuzz0123456789"

static void check_xtext(struct vr_str in)
{
    struct vr_buf plain, again, other;
    vr_buf_init(&plain, in.n + 1);
    vr_buf_init(&again, 3 * in.n + 1);
    vr_buf_init(&other, 3 * in.n + 1);
    if (dsn_xtext_decode(&plain, in) == VR_OK) { /* what is undone and done again says the same */
        struct vr_str text = vr_buf_str(&plain);
        for (size_t i = 0; i < text.n; i++)
            assert((unsigned char)text.p[i] >= 0x20 && text.p[i] != 0x7f);
        assert(dsn_xtext_encode(&again, text));
        assert(dsn_xtext_decode(&other, vr_buf_str(&again)) == VR_OK);
        assert(vr_str_equal(vr_buf_str(&other), text));
    }
    vr_buf_reset(&again);
    assert(dsn_xtext_encode(&again, in)); /* any bytes can be encoded, to what fits into a command */
    struct vr_str coded = vr_buf_str(&again);
    for (size_t i = 0; i < coded.n; i++)
        assert(coded.p[i] > ' ' && coded.p[i] <= '~' && coded.p[i] != '=');
    vr_buf_fini(&plain);
    vr_buf_fini(&again);
    vr_buf_fini(&other);
}

static void check_notify(unsigned notify)
{
    struct vr_buf b;
    unsigned again;
    vr_buf_init(&b, 100);
    assert(notify < 16 && (!(notify & DSN_NOTIFY_NEVER) || notify == DSN_NOTIFY_NEVER));
    assert(dsn_notify_write(&b, notify));
    assert(notify == 0 || (dsn_notify_parse(vr_buf_str(&b), &again) == VR_OK && again == notify));
    vr_buf_fini(&b);
}

static void check_fault(enum vr_err e, uint16_t code, const char *enhanced, const char *why)
{
    if (e == VR_OK) {
        assert(code == 0);
        return;
    }
    assert(code == 501 || code == 555 || code == 452);
    assert(enhanced != NULL && enhanced[0] == (code == 452 ? '4' : '5') && why != NULL && strlen(why) > 10);
}

static void check_params(struct vr_str in, size_t memory)
{
    struct vr_arena arena;
    uint16_t code;
    const char *enhanced, *why;
    struct smtp_mail m = {0};
    struct smtp_rcpt r = {0};
    vr_arena_init(&arena, memory);
    enum vr_err e = smtp_mail_params(&arena, in, ~0u, &m, &code, &enhanced, &why);
    check_fault(e, code, enhanced, why);
    if (e == VR_OK) {
        assert(m.envid.n == 0 || dsn_envid_check(m.envid) == VR_OK);
        assert(vr_str_find(m.auth, '\r') == VR_NPOS && vr_str_find(m.auth, '\n') == VR_NPOS);
    }
    e = smtp_rcpt_params(&arena, in, ~0u, &r, &code, &enhanced, &why);
    check_fault(e, code, enhanced, why);
    if (e == VR_OK) {
        assert(r.orcpt.n == 0 || dsn_orcpt_check(r.orcpt, true) == VR_OK);
        check_notify(r.notify);
    }
    vr_arena_fini(&arena);
}

/* ---- addresses of reports, RFC 6533 §3 ------------------------------------------------------------------------------------ */

static void check_orcpt(struct vr_str in)
{
    struct vr_buf out;
    struct vr_str type;
    vr_buf_init(&out, 4096);
    bool good = dsn_orcpt_check(in, true) == VR_OK;
    assert(good || dsn_orcpt_check(in, false) != VR_OK);
    assert((dsn_orcpt_decode(&out, in, &type) == VR_OK) == good);
    if (good) {
        assert(in.n <= 500 && type.n > 0 && in.p[type.n] == ';');
        vr_buf_reset(&out);
        assert(dsn_orcpt_ascii(&out, in) && vr_str_is_ascii(vr_buf_str(&out)));
        if (vr_buf_size(&out) <= 500)
            assert(dsn_orcpt_check(vr_buf_str(&out), false) == VR_OK);
    }
    vr_buf_fini(&out);
}

static void check_unitext(struct vr_str in)
{
    struct vr_buf plain, encoded, again;
    vr_buf_init(&plain, 4 * in.n + 1);
    vr_buf_init(&encoded, 16 * in.n + 1);
    vr_buf_init(&again, 4 * in.n + 1);
    if (dsn_unitext_decode(&plain, in) == VR_OK) {
        assert(vr_utf8_valid(vr_buf_str(&plain)) && vr_buf_size(&plain) <= in.n);
        assert(dsn_unitext_encode(&encoded, vr_buf_str(&plain), true) &&
               vr_str_is_ascii(vr_buf_str(&encoded)));
        assert(dsn_unitext_decode(&again, vr_buf_str(&encoded)) == VR_OK);
        assert(vr_str_equal(vr_buf_str(&plain), vr_buf_str(&again)));
    } else {
        assert(vr_buf_size(&plain) == 0);
    }
    vr_buf_fini(&plain);
    vr_buf_fini(&encoded);
    vr_buf_fini(&again);
}

/* ---- reports ------------------------------------------------------------------------------------------------------------ */

static size_t count_lines(struct vr_str text, struct vr_str wanted)
{
    size_t n = 0;
    struct vr_str line;
    while (vr_str_split(&text, '\n', &line))
        n += vr_str_equal(vr_str_trim(line), wanted) && vr_str_starts(line, wanted);
    return n;
}

/* All lines end in CRLF and nothing else; those before the original are short and printable. */
static void check_report_lines(struct vr_str text, struct vr_str before_original, bool utf8)
{
    assert(vr_utf8_valid(before_original));
    for (size_t i = 0; i < text.n; i++) {
        assert(text.p[i] != '\n' || (i > 0 && text.p[i - 1] == '\r'));
        assert(text.p[i] != '\r' || (i + 1 < text.n && text.p[i + 1] == '\n'));
    }
    struct vr_str line;
    while (vr_str_split(&before_original, '\n', &line)) {
        assert(line.n <= 998 + 1);
        for (size_t i = 0; i + 1 < line.n; i++)
            assert(line.p[i] == '\t' || (line.p[i] >= 0x20 && line.p[i] < 0x7f) || (line.p[i] < 0 && utf8));
    }
}

static size_t fields_of(struct vr_str block, struct vr_str *rest)
{
    struct header_reader r;
    struct header_field f;
    size_t n = 0;
    header_reader_init(&r, block);
    while (header_next(&r, &f))
        n++;
    assert(!r.malformed);
    *rest = header_body(&r);
    return n;
}

static void check_report(struct vr_str text, const struct dsn *d)
{
    static const char *const types[2][2] = {{"text/rfc822-headers", "message/rfc822"},
                                            {"message/global-headers", "message/global"}};
    char type[100], status[160];
    struct vr_str rest;
    snprintf(type, sizeof type, "\r\n--" BOUNDARY "\r\nContent-Type: %s\r\n",
             types[d->original_utf8][d->original_is_whole]);
    snprintf(status, sizeof status, "\r\n--" BOUNDARY "\r\nContent-Type: message/%sdelivery-status\r\n%s\r\n",
             d->utf8 ? "global-" : "", d->utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "");
    size_t at = vr_str_find_str(text, vr_str_from(type)), begin = vr_str_find_str(text, vr_str_from(status));
    assert(at != VR_NPOS && begin != VR_NPOS && begin < at);
    check_report_lines(text, vr_str_sub(text, 0, at + 2), d->utf8);
    assert(d->utf8 || !d->original_utf8 || vr_str_is_ascii(text)); /* RFC 6533 §4.5 */
    if (vr_str_find_str(d->original, VR_STR(BOUNDARY)) == VR_NPOS) {
        assert(count_lines(text, VR_STR("--" BOUNDARY)) == 3);
        assert(count_lines(text, VR_STR("--" BOUNDARY "--")) == 1);
    }
    size_t outer = fields_of(text, &rest);
    assert(outer == 8 || (outer == 9 && (d->utf8 || !vr_str_is_ascii(text))));
    size_t of_message = fields_of(vr_str_from_pos(text, begin + strlen(status)), &rest);
    assert(of_message == 3 || of_message == 4); /* with ENVID */
    size_t of_recipient = fields_of(rest, &rest);
    assert(of_recipient >= 4 && of_recipient <= 8);
    assert(vr_str_starts(rest, VR_STR("--" BOUNDARY "\r\n")));
}

static struct vr_str piece(struct vr_str *rest)
{
    struct vr_str p = VR_STR("");
    vr_str_split(rest, '|', &p);
    return p;
}

static void build_report(struct vr_str in)
{
    unsigned kind = in.n > 0 ? (unsigned char)in.p[0] : 0;
    struct dsn_recipient r = {.action = kind % 5,
                              .status = VR_STR("5.0.0"),
                              .last_attempt = 1795452771,
                              .will_retry_until = 1795459999,
                              .diagnostic_is_smtp = kind & 8};
    struct dsn d = {.queue_id = VR_STR("0F3K"),
                    .arrival_date = 1795452000,
                    .now = 1795452771,
                    .message_id = VR_STR("1@mail.d.test"),
                    .boundary = VR_STR(BOUNDARY),
                    .recipients = &r,
                    .recipient_count = 1,
                    .original_is_whole = kind & 16,
                    .original_utf8 = kind & 32,
                    .utf8 = kind & 64};
    r.final_recipient = piece(&in);
    r.diagnostic = piece(&in);
    r.remote_mta = piece(&in);
    r.orcpt = piece(&in);
    d.envid = piece(&in);
    d.to = piece(&in);
    d.reporting_mta = vr_str_sub(piece(&in), 0, 255);
    d.original = in;
    struct vr_buf out;
    vr_buf_init(&out, 8 * in.n + 65536);
    assert(dsn_build(&out, &d) == VR_OK);
    check_report(vr_buf_str(&out), &d);
    vr_buf_fini(&out);
    vr_buf_init(&out, 700);
    assert(dsn_build(&out, &d) == VR_ERR_TOO_BIG && vr_buf_size(&out) <= 700);
    vr_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 20000)
        return 0;
    struct vr_str in = vr_str(size > 0 ? (const char *)data : "", size), status;
    unsigned notify;
    check_xtext(in);
    check_params(in, 1u << 16);
    check_params(in, 0);
    if (dsn_notify_parse(in, &notify) == VR_OK)
        check_notify(notify);
    check_orcpt(in);
    check_unitext(in);
    if (dsn_status_find(in, &status))
        assert(status.p == in.p && status.n >= 5 && status.n <= 9);
    build_report(in);
    return 0;
}
