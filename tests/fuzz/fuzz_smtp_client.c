/* fuzz_smtp_client.c - any bytes as a server, against the client engine.
 *
 * Input: one byte of configuration, then the server's bytes; \x01 stands for "now the client's bytes leave" (and the TLS handshake, when
 * one was asked for, succeeds), \x02 for "now half of them leave". Each input is run twice, with the bytes between two marks at once and one
 * by one: the events must be the same.
 * Checked besides: one verdict a recipient, results only for the accepted, nothing after the end, no password and no mail in clear where
 * that is forbidden, commands that are lines, chunks as long as they say.
 */
#include <veredus/smtp_client.h>

#include <assert.h>
#include <string.h>

#define RCPTS        3
#define MAILS_MAX    3
#define PASSWORD     "Swordfish"
#define PASSWORD_B64 "AHVzZXIAU3dvcmRmaXNo" /* PLAIN of user and PASSWORD */
#define LOGIN_B64    "U3dvcmRmaXNo"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct smtp_client_config config;
    struct smtp_client *client;
    struct vr_buf said; /* since the beginning, or the handshake */
    bool one_by_one, over, handshake_due, tls, utf8, answered;
    unsigned mails;
    bool told[RCPTS], accepted[RCPTS], settled[RCPTS], in_mail;
    uint64_t digest;
    size_t events;
};

static const struct smtp_mail mail = {
    .reverse_path = {VR_STR_INIT("a"), VR_STR_INIT("client.example"), false, false},
    .size = 1000,
    .body = SMTP_BODY_8BITMIME,
    .ret = DSN_RET_FULL,
    .envid = VR_STR_INIT("x"),
    .auth = VR_STR_INIT("<>")};

static const struct smtp_mail binary_mail = {
    .reverse_path = {VR_STR_INIT("a"), VR_STR_INIT("client.example"), false, false},
    .size = 1000,
    .body = SMTP_BODY_BINARYMIME};

static const struct smtp_rcpt rcpts[RCPTS] = {
    {.forward_path = {VR_STR_INIT("r0"), VR_STR_INIT("server.example"), false, false},
     .notify = DSN_NOTIFY_NEVER},
    {.forward_path = {VR_STR_INIT("r\r\n"), VR_STR_INIT("server.example"), false, false}},
    {.forward_path = {VR_STR_INIT("r2"), VR_STR_INIT("server.example"), false, false},
     .orcpt = VR_STR_INIT("rfc822;x")}};

/* The same beyond ASCII. */
static const struct smtp_mail utf8_mail = {.reverse_path = {VR_STR_INIT("a"),
                                                            VR_STR_INIT("b\xc3\xbc"
                                                                        "cher.example"),
                                                            false, true}};

static const struct smtp_rcpt utf8_rcpts[RCPTS] = {
    {.forward_path = {VR_STR_INIT("r0"),
                      VR_STR_INIT("b\xc3\xbc"
                                  "cher.example"),
                      false, true},
     .orcpt = VR_STR_INIT("utf-8;r\xc3\xb6@x.example")},
    {.forward_path = {VR_STR_INIT("r\xf6"), VR_STR_INIT("server.example"), false, true}},
    {.forward_path = {VR_STR_INIT("r\xc3\xb6"), VR_STR_INIT("server.example"), false, true}}};

static void count(struct run *r, const void *bytes, size_t n)
{
    static const uint8_t key[16] = {0};
    r->digest = r->digest * 31 + vr_siphash(key, bytes, n);
}

/* Lines, and behind BDAT as many octets as it says. */
static void check_lines(struct vr_str out)
{
    bool utf8 = false; /* this transaction's MAIL says so */
    while (out.n > 0) {
        size_t end = vr_str_find_str(out, VR_STR("\r\n"));
        assert(end != VR_NPOS);
        struct vr_str line = vr_str_sub(out, 0, end), argument = vr_str_from_pos(line, 5);
        uint64_t octets = 0;
        assert(vr_str_find(line, '\n') == VR_NPOS && vr_str_find(line, '\r') == VR_NPOS);
        if (vr_str_starts(line, VR_STR("MAIL FROM:")))
            utf8 = vr_str_find_str(line, VR_STR(" SMTPUTF8 ")) != VR_NPOS ||
                   vr_str_ends_nocase(line, VR_STR(" SMTPUTF8"));
        assert(utf8 || vr_str_is_ascii(line));
        if (vr_str_starts(line, VR_STR("BDAT "))) {
            bool last = vr_str_ends_nocase(argument, VR_STR(" LAST"));
            assert(vr_str_to_u64(vr_str_sub(argument, 0, argument.n - (last ? 5 : 0)), &octets));
        }
        out = vr_str_from_pos(out, end + 2);
        assert(octets <= out.n);
        out = vr_str_from_pos(out, (size_t)octets);
    }
}

/* What the client has said, as a server sees it. */
static void look_at(struct run *r)
{
    struct vr_str out = vr_buf_str(&r->said);
    bool clear = !r->tls;
    if (clear && r->config.tls == SMTP_CLIENT_TLS_MUST)
        assert(vr_str_find_str(out, VR_STR("MAIL")) == VR_NPOS &&
               vr_str_find_str(out, VR_STR("AUTH")) == VR_NPOS);
    if (clear && !r->config.auth_in_clear)
        assert(vr_str_find_str(out, VR_STR(PASSWORD_B64)) == VR_NPOS &&
               vr_str_find_str(out, VR_STR(LOGIN_B64)) == VR_NPOS);
    check_lines(out);
    vr_buf_reset(&r->said);
}

static void leave(struct run *r, size_t n)
{
    struct vr_str out = vr_str_sub(smtp_client_pending(r->client), 0, n);
    vr_buf_add(&r->said, out);
    count(r, out.p, out.n);
    smtp_client_sent(r->client, out.n);
}

static void on_mark(struct run *r, bool half)
{
    size_t n = smtp_client_pending(r->client).n;
    leave(r, half ? n / 2 : n);
    if (!r->handshake_due || r->over || half)
        return;
    look_at(r);
    r->handshake_due = false;
    r->tls = true;
    smtp_client_secured(r->client, 0);
}

static void check_transaction(const struct run *r)
{
    for (size_t i = 0; i < RCPTS; i++)
        assert(r->told[i] && r->settled[i] == r->accepted[i]);
}

static void begin_mail(struct run *r)
{
    if (r->in_mail)
        check_transaction(r);
    if (++r->mails == MAILS_MAX + 1) {
        bool good = smtp_client_ask(r->client, VR_STR("ETRN example.org"), 0);
        assert(good);
        r->in_mail = false;
        return;
    }
    if (r->mails > MAILS_MAX) {
        assert(r->answered);
        smtp_client_quit(r->client, 0);
        return;
    }
    r->in_mail = true;
    for (size_t i = 0; i < RCPTS; i++)
        r->told[i] = r->accepted[i] = r->settled[i] = false;
    bool binary = r->config.chunking && r->mails == 2;
    if (r->utf8)
        smtp_client_mail(r->client, &utf8_mail, utf8_rcpts, RCPTS, 0);
    else
        smtp_client_mail(r->client, binary ? &binary_mail : &mail, rcpts, RCPTS, 0);
}

/* Small, or several chunks. */
static void give_body(struct run *r, bool large)
{
    static char piece[66000];
    smtp_client_body(r->client, VR_STR("x\r\n.\r\ny\r\n."), 0);
    for (int i = 0; large && i < 3; i++)
        smtp_client_body(r->client, vr_str(piece, sizeof piece), 0);
    smtp_client_body_end(r->client, 0);
}

static void settle(struct run *r, const struct smtp_client_event *ev)
{
    assert(r->in_mail && (ev->index == SIZE_MAX) == !r->config.lmtp);
    for (size_t i = 0; i < RCPTS; i++)
        if (ev->index == i || (ev->index == SIZE_MAX && r->accepted[i])) {
            assert(r->accepted[i] && !r->settled[i]);
            r->settled[i] = true;
        }
}

static void on_event(struct run *r, enum smtp_client_event_kind kind, const struct smtp_client_event *ev)
{
    assert(!r->over);
    for (size_t i = 0; i < ev->text.n; i++)
        assert(((unsigned char)ev->text.p[i] >= 0x20 || ev->text.p[i] == '\n') && ev->text.p[i] != 0x7f);
    if (kind ==
        SMTP_CLIENT_STARTTLS) { /* not counted: bytes behind the 220 spoil it before or after, as they come */
        assert(!r->tls && !r->handshake_due);
        r->handshake_due = true;
        return;
    }
    r->events++;
    count(r, &(uint32_t){kind}, 4);
    count(r, &ev->index, sizeof ev->index);
    count(r, ev->text.p, ev->text.n);
    count(r, ev->enhanced.p, ev->enhanced.n);
    if (ev->command != NULL)
        count(r, ev->command, strlen(ev->command));
    switch (kind) {
    case SMTP_CLIENT_READY:
        begin_mail(r);
        break;
    case SMTP_CLIENT_RCPT_RESULT:
        assert(r->in_mail && ev->index < RCPTS && !r->told[ev->index]);
        r->told[ev->index] = true;
        r->accepted[ev->index] = ev->code / 100 == 2;
        assert(ev->index != 1 || !r->accepted[1]); /* it cannot be sent */
        break;
    case SMTP_CLIENT_BODY:
        assert(r->accepted[0] || r->accepted[2]);
        give_body(r, strcmp(ev->command, "BDAT") == 0 && r->mails != 1);
        break;
    case SMTP_CLIENT_RESULT:
        settle(r, ev);
        break;
    case SMTP_CLIENT_ANSWER:
        assert(r->mails == MAILS_MAX + 1 && !r->answered && ev->code / 100 != 3);
        r->answered = true;
        break;
    case SMTP_CLIENT_FAILED:
    case SMTP_CLIENT_CLOSED:
        r->over = true;
        break;
    default:
        assert(kind == SMTP_CLIENT_REPLY && r->config.trace);
    }
}

static void pump(struct run *r)
{
    struct smtp_client_event ev;
    enum smtp_client_event_kind kind;
    while ((kind = smtp_client_next(r->client, &ev)) != SMTP_CLIENT_IDLE)
        on_event(r, kind, &ev);
}

static void feed(struct run *r, struct vr_str bytes)
{
    size_t step = r->one_by_one ? 1 : bytes.n;
    for (size_t at = 0; at < bytes.n; at += step) {
        smtp_client_feed(r->client, vr_str_sub(bytes, at, step), 0);
        pump(r);
    }
}

static void run(struct run *r, uint8_t flags, struct vr_str script)
{
    struct vr_str part;
    r->config = (struct smtp_client_config){.helo_name = VR_STR("client.example"),
                                            .lmtp = flags & 1,
                                            .tls = flags & 2   ? SMTP_CLIENT_TLS_MUST
                                                   : flags & 4 ? SMTP_CLIENT_TLS_MAY
                                                               : SMTP_CLIENT_TLS_NONE,
                                            .auth_in_clear = flags & 8,
                                            .trace = flags & 16,
                                            .chunking = !(flags & 32) && flags & 64};
    if (flags & 32)
        r->config.user = VR_STR("user"), r->config.password = VR_STR(PASSWORD);
    if (flags & 64)
        r->config.auth_mechanism = VR_STR("LOGIN");
    if ((flags & 32) && (flags & 128)) /* one of two secrets, a certificate, and something to bind to */
        r->config.token = VR_STR(PASSWORD), r->config.certificate = true;
    r->utf8 = flags & 128;
    r->client = smtp_client_new(&r->config, 0);
    if (flags & 128)
        smtp_client_binding(r->client, &(struct sasl_binding){.tls_exporter = VR_STR("exported")});
    vr_buf_init(&r->said, 64u << 20);
    while (vr_str_split(&script, '\x01', &part)) {
        struct vr_str half;
        while (vr_str_split(&part, '\x02', &half)) {
            feed(r, half);
            if (part.n > 0)
                on_mark(r, true);
        }
        on_mark(r, false);
        pump(r);
    }
    smtp_client_eof(r->client);
    pump(r);
    assert(r->over); /* after the end of the connection there is always a verdict … */
    if (!r->handshake_due) {
        vr_buf_add(&r->said, smtp_client_pending(r->client));
        look_at(r);
    }
    smtp_client_tick(r->client, INT64_MAX); /* … and only one */
    pump(r);
    vr_buf_fini(&r->said);
    smtp_client_free(r->client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1u << 16)
        return 0;
    struct vr_str script = vr_str((const char *)data + 1, size - 1);
    for (size_t i = 0, digits = 0; i < script.n;
         i++) { /* SCRAM with millions of iterations is slow, and right */
        digits = script.p[i] >= '0' && script.p[i] <= '9' ? digits + 1 : 0;
        if (digits > 4 && data[0] & 32)
            return 0;
    }
    struct run whole = {0}, bytewise = {.one_by_one = true};
    run(&whole, data[0], script);
    run(&bytewise, data[0], script);
    assert(whole.events == bytewise.events && whole.digest == bytewise.digest);
    return 0;
}
